//! The binary messages of the CIE protocol: what `RADC` streams.
//!
//! In: bytes, cut anywhere. Out: whole blocks whose checksum is right. A block ends with 7F and one
//! byte, the XOR of everything before it, the 7F included. Curves: 81 and a phase, 80 and a value of
//! 16 bits, or a signed difference of 8 bits (82 to 7E); breaths, settings, trends and alarms: a
//! letter and values of 16 bits; errors: E0 and a number (CIE manual 65 43 388, data acquisition).
//!
//! 7F can stand within a value, so a block is read from its first byte on. One that turns out to be wrong is
//! dropped with all that it took, and nothing is looked for within it: among hundreds of places one
//! would have a right XOR by chance. What is lost is at most the block and the one behind it.

use super::wire::xor;

const END: u8 = 0x7F;
const VALUE: u8 = 0x80;
const PHASE: u8 = 0x81;
const ERROR: u8 = 0xE0;

/// The longest block. Curves last as long as a breath: this is over 15 s at the full speed of the
/// line, and over a minute of four curves.
pub(super) const LONGEST: usize = 16_384;

/// The longest block of values: a letter, 50 channels, the end.
const VALUES_LONGEST: usize = 103;

/// The longest text within a stream, an error: `ER17` and its checksum.
const TEXT_LONGEST: usize = 16;

/// No value.
pub(super) const MISSING: u16 = 0x7EFF;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Curves: everything before the end flag.
    Curve(Vec<u8>),
    /// A letter and its values.
    Values(u8, Vec<u16>),
    /// An error.
    Error(u8),
    /// An ASCII message without its EOT, checksum unread.
    Text(Vec<u8>),
    /// A block of so many bytes whose checksum is wrong.
    Refused(usize),
    /// A block that does not end.
    TooLong(usize),
    /// So many bytes that belong to no block.
    Noise(usize),
    /// ESC or EOT between two blocks: the host's word.
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Phase,
    High,
    Low,
    Delta,
    First,
    Second,
    ErrorNumber,
    ErrorEnd,
    Check,
    Text,
}

/// Finds blocks.
#[derive(Debug)]
pub(super) struct Stream {
    span: Vec<u8>,
    state: State,
    noise: usize,
}

impl Stream {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { span: Vec::new(), state: State::Between, noise: 0 }
    }

    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Block> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            let block = if self.state == State::Between { self.begin(byte) } else { self.go_on(byte) };
            if block.is_some() {
                return block;
            }
        }
        None
    }

    /// Says what is left when the input has ended.
    pub(super) fn finish(&mut self) -> Option<Block> {
        let left = self.span.len() + std::mem::take(&mut self.noise);
        self.span.clear();
        self.state = State::Between;
        (left > 0).then_some(Block::TooLong(left))
    }

    fn begin(&mut self, byte: u8) -> Option<Block> {
        self.state = match byte {
            PHASE => State::Phase,
            VALUE => State::High,
            b'B' | b'S' | b'A' | b'E' | b'T' => State::First,
            ERROR => State::ErrorNumber,
            b'*' => State::Text,
            // XON and XOFF.
            0x11 | 0x13 => return None,
            0x1B | 0x04 => return Some(Block::Host),
            _ => {
                self.noise = self.noise.saturating_add(1);
                return None;
            }
        };
        self.span.push(byte);
        (self.noise > 0).then(|| Block::Noise(std::mem::take(&mut self.noise)))
    }

    fn go_on(&mut self, byte: u8) -> Option<Block> {
        if self.state == State::Text && byte == 0x04 {
            self.state = State::Between;
            return Some(Block::Text(std::mem::take(&mut self.span)));
        }
        let before = self.span.len();
        self.span.push(byte);
        self.state = match (self.state, byte) {
            (State::High, _) => State::Low,
            (State::Delta, VALUE) => State::High,
            (State::Delta, PHASE) => State::Phase,
            (State::Delta | State::First | State::ErrorEnd, END) => State::Check,
            (State::Delta | State::Phase | State::Low, _) => State::Delta,
            // `ER17` instead of a block of alarms: no alarm has a value that begins with this byte.
            (State::First, b'R') if before == 1 && self.span.first() == Some(&b'E') => State::Text,
            (State::First, _) => State::Second,
            (State::Second, _) => State::First,
            (State::ErrorNumber, _) => State::ErrorEnd,
            (State::Text, _) => State::Text,
            (State::Check | State::ErrorEnd | State::Between, _) => return Some(self.end()),
        };
        let longest = match self.state {
            State::First | State::Second => VALUES_LONGEST,
            State::Text => TEXT_LONGEST,
            State::Between
            | State::Phase
            | State::High
            | State::Low
            | State::Delta
            | State::ErrorNumber
            | State::ErrorEnd
            | State::Check => LONGEST,
        };
        if self.span.len() <= longest {
            return None;
        }
        self.state = State::Between;
        Some(Block::TooLong(std::mem::take(&mut self.span).len()))
    }

    /// The checksum has come: a block or none.
    fn end(&mut self) -> Block {
        self.state = State::Between;
        let mut span = std::mem::take(&mut self.span);
        let length = span.len();
        if xor(&span) != 0 || length < 3 {
            return Block::Refused(length);
        }
        span.truncate(length.saturating_sub(2));
        match span.split_first() {
            Some((&(VALUE | PHASE), _)) => Block::Curve(span),
            Some((&ERROR, [number])) => Block::Error(*number),
            Some((&letter, values)) if values.len().is_multiple_of(2) => Block::Values(letter, words(values)),
            Some(_) | None => Block::Refused(length),
        }
    }
}

fn words(bytes: &[u8]) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect()
}

/// What a block of curves holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Curves {
    /// The raw samples of each curve; `None` where the ventilator had none.
    pub(super) samples: Vec<Vec<Option<u16>>>,
    /// The phase at each sample: 10 inspiration, 20 pause, 30 expiration (hex); `None` before the first.
    pub(super) phases: Vec<Option<u8>>,
}

/// Reads a block of so many curves, whose samples take turns. The error says what is wrong with it.
pub(super) fn curves(block: &[u8], count: usize, phase: Option<u8>) -> Result<Curves, &'static str> {
    let mut read = Curves { samples: vec![Vec::new(); count], phases: Vec::new() };
    let mut last: Vec<Option<Option<u16>>> = vec![None; count];
    let (mut phase, mut turn, mut rest) = (phase, 0usize, block);
    while let Some((&byte, behind)) = rest.split_first() {
        let before = last.get(turn).copied().flatten();
        let sample = match (byte, behind) {
            (PHASE, [next @ (0x10 | 0x20 | 0x30), behind @ ..]) => {
                phase = Some(*next);
                rest = behind;
                continue;
            }
            (PHASE, _) => return Err("a block of curves has an unknown phase"),
            (VALUE, [high, low, behind @ ..]) => {
                rest = behind;
                let value = u16::from_be_bytes([*high, *low]);
                (value != MISSING).then_some(value)
            }
            (VALUE, _) => return Err("a block of curves ends within a value"),
            (delta, behind) => {
                rest = behind;
                let before = before.ok_or("a curve begins with a difference")?;
                let moved = before.map(|value| value.checked_add_signed(i16::from(delta.cast_signed())));
                if moved == Some(None) {
                    return Err("a curve leaves its range");
                }
                moved.flatten()
            }
        };
        let (Some(samples), Some(last)) = (read.samples.get_mut(turn), last.get_mut(turn)) else {
            return Err("a block of curves although no curve was asked for");
        };
        samples.push(sample);
        *last = Some(sample);
        if turn == 0 {
            read.phases.push(phase);
        }
        turn = (turn + 1) % count.max(1);
    }
    // Whose turn it would be in the next block is not known: rather none than one curve in the other's place.
    if turn == 0 { Ok(read) } else { Err("the curves of a block are not equally long") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(content: &[u8]) -> Vec<u8> {
        let mut block = content.to_vec();
        block.push(END);
        block.push(xor(&block));
        block
    }

    fn read(bytes: &[u8]) -> Vec<Block> {
        let (mut stream, mut input) = (Stream::new(), bytes);
        let mut blocks: Vec<Block> = std::iter::from_fn(|| stream.take(&mut input)).collect();
        blocks.extend(stream.finish());
        blocks
    }

    #[test]
    fn breaths_stand_between_curves() {
        // The breath is one of a recorded stream; its checksum is the ventilator's own.
        let breath = [b'B', 0x00, 0xA7, 0x00, 0xD0, 0x03, 0xE8, 0x7F, 0xA1];
        let first = block(&[PHASE, 0x10, VALUE, 0x30, 0x7F, 0x05, 0xFB]);
        let bytes = [first, breath.to_vec(), vec![0x13], block(&[VALUE, 0x30, 0x87, 0x0C])].concat();
        assert_eq!(
            read(&bytes),
            [
                Block::Curve(vec![PHASE, 0x10, VALUE, 0x30, 0x7F, 0x05, 0xFB]),
                Block::Values(b'B', vec![0xA7, 0xD0, 0x3E8]),
                Block::Curve(vec![VALUE, 0x30, 0x87, 0x0C]),
            ]
        );
    }

    #[test]
    fn differences_follow_a_value_and_know_their_phase() {
        let content =
            [PHASE, 0x10, VALUE, 0x10, 0x00, 0x05, 0x82, PHASE, 0x30, 0x7E, VALUE, 0x7E, 0xFF, 0x01];
        let read = curves(&content, 1, None).unwrap();
        let samples = [Some(0x1000), Some(0x1005), Some(0x1005 - 126), Some(0x1005), None, None];
        assert_eq!(read.samples, [samples.to_vec()]);
        let phases = [Some(0x10), Some(0x10), Some(0x10), Some(0x30), Some(0x30), Some(0x30)];
        assert_eq!(read.phases, phases);
    }

    #[test]
    fn two_curves_take_turns_and_end_together() {
        let content = [VALUE, 0x10, 0x00, VALUE, 0x01, 0x00, 0x01, 0xFF];
        let read = curves(&content, 2, Some(0x20)).unwrap();
        assert_eq!(read.samples, [vec![Some(0x1000), Some(0x1001)], vec![Some(0x100), Some(0xFF)]]);
        assert_eq!(read.phases, [Some(0x20), Some(0x20)]);
        assert!(curves(&content, 3, None).is_err());
        assert!(curves(&content, 0, None).is_err());
        assert!(curves(&[0x01], 1, None).is_err());
        assert!(curves(&[VALUE, 0x00, 0x00, 0xFF], 1, None).is_err());
    }

    #[test]
    fn errors_come_in_two_forms() {
        let bytes = [vec![ERROR, 0x11, END, 0x8E], b"ER1950\x04*2A\x04".to_vec()].concat();
        let expected = [Block::Error(17), Block::Text(b"ER1950".to_vec()), Block::Text(b"*2A".to_vec())];
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn a_wrong_block_costs_itself_and_memory_is_bounded() {
        let good = block(&[b'E', 0, 0, 0, 1, 0, 2]);
        let mut wrong = block(&[b'S', 0, 1, 0, 2]);
        wrong[2] ^= 1;
        let found = read(&[wrong, vec![0x00, 0xFF], good].concat());
        assert_eq!(found, [Block::Refused(7), Block::Noise(2), Block::Values(b'E', vec![0, 1, 2])]);
        let mut stream = Stream::new();
        let endless = [vec![VALUE, 0, 0], vec![0; 3 * LONGEST]].concat();
        let mut input = endless.as_slice();
        while stream.take(&mut input).is_some() {}
        assert!(stream.span.len() <= LONGEST);
    }

    proptest! {
        #[test]
        fn no_cut_changes_what_is_read_and_nothing_panics(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(VALUE), Just(END), Just(b'B')], 0..400), at in any::<proptest::sample::Index>()) {
            let at = at.index(bytes.len() + 1);
            let mut stream = Stream::new();
            let mut blocks = Vec::new();
            for mut part in [&bytes[..at], &bytes[at..]] {
                while let Some(block) = stream.take(&mut part) {
                    blocks.push(block);
                }
            }
            blocks.extend(stream.finish());
            prop_assert_eq!(blocks, read(&bytes));
            let _ = curves(&bytes, 2, None);
        }
    }
}
