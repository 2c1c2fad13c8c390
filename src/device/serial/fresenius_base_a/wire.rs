//! What goes over the line: frames with a checksum, and single control characters between them.
//!
//! In: bytes. Out: [`Item`]s: a life sign asked for (ENQ), a frame accepted (ACK) or refused (NAK and
//! a character that says why), a frame, or what is none. A frame is STX, the address or origin (one
//! digit), the message, two hex digits, ETX; the hex digits are FF less the sum of everything between
//! STX and them. ENQ may come anywhere, even within a frame: no frame holds a control character.
//!
//! Source of the facts: the protocol as infupy's host speaks it (`backends/fresenius.py`).

use crate::device::FaultKind;
use crate::device::framing::{Break, Delimited, Delimiters, Piece};
use crate::device::serial::printable;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
const DC4: u8 = 0x14;

/// The longest frame without its end: STX, address, a message of 80 characters, checksum.
const LONGEST: usize = 84;

const DELIMITERS: Delimiters = Delimiters {
    start: Some(STX),
    ends: &[ETX],
    abort: None,
    longest: LONGEST,
    is_whole: |span| content(span).is_some(),
};

/// What came over the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// ENQ: the base asks for a life sign.
    LifeSign,
    /// ACK: the last frame was taken.
    Accepted,
    /// NAK: the last frame was not taken, for the reason behind this character.
    Refused(u8),
    /// A frame, or what is none.
    Piece(Piece),
}

/// Tells items apart.
#[derive(Debug)]
pub(super) struct Wire {
    framer: Delimited,
    is_after_nak: bool,
}

impl Wire {
    pub(super) const fn new() -> Self {
        Self { framer: Delimited::new(DELIMITERS), is_after_nak: false }
    }

    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Item> {
        while let Some((&byte, rest)) = input.split_first() {
            let is_reason = std::mem::take(&mut self.is_after_nak) && byte.is_ascii_digit();
            match byte {
                ENQ | ACK => {
                    *input = rest;
                    return Some(if byte == ENQ { Item::LifeSign } else { Item::Accepted });
                }
                // A host's life sign, in a capture of both sides.
                DC4 => *input = rest,
                NAK => {
                    *input = rest;
                    self.is_after_nak = true;
                }
                _ if is_reason => {
                    *input = rest;
                    return Some(Item::Refused(byte));
                }
                _ => {
                    let one = [byte];
                    let mut left = one.as_slice();
                    let piece = self.framer.take(&mut left);
                    if left.is_empty() {
                        *input = rest;
                    }
                    if let Some(piece) = piece {
                        return Some(Item::Piece(piece));
                    }
                }
            }
        }
        None
    }

    /// Says what is left when the input has ended.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        self.framer.finish()
    }
}

/// A whole frame around an address and a message.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    [&[STX], message, checksum(message).as_slice(), &[ETX]].concat()
}

/// What stands between STX and the checksum, if the checksum is right and nothing but the characters
/// of the protocol (20 to 7D hex) is in it.
pub(super) fn content(span: &[u8]) -> Option<&[u8]> {
    let body = span.strip_prefix(&[STX])?;
    let (message, sum) = body.split_at_checked(body.len().checked_sub(2)?)?;
    let is_whole = !message.is_empty()
        && checksum(message) == sum
        && message.iter().all(|byte| (0x20..=0x7D).contains(byte));
    is_whole.then_some(message)
}

fn checksum(bytes: &[u8]) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let rest = 0xFF - bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    [rest >> 4, rest & 0xF].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?'))
}

/// The kind of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// `C`: the answer to a command.
    Done,
    /// `I`: the command is refused.
    Refused,
    /// `E` or `M`: said without being asked.
    Unasked(u8),
}

/// What a whole frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer: who gave it, of what kind, and what stands behind the first semicolon.
    Answer {
        /// 0 is the base, 1 to 5 a module.
        origin: u8,
        /// Of what kind.
        status: Status,
        /// What it says.
        message: Option<String>,
    },
    /// A host's command, in a capture of both sides: to whom, and its words.
    Command {
        /// 0 is the base, 1 to 5 a module.
        address: u8,
        /// Command and argument.
        words: String,
    },
    /// Neither.
    Other,
}

/// Reads the content of a whole frame.
pub(super) fn heard(content: &[u8]) -> Heard {
    let Some((&digit @ b'0'..=b'5', words)) = content.split_first() else { return Heard::Other };
    let (origin, words) = (digit - b'0', printable(words).unwrap_or_default());
    let (head, message) = match words.split_once(';') {
        Some((head, message)) => (head, Some(message.to_owned())),
        None => (words.as_str(), None),
    };
    let status = match (head, &message) {
        ("C", _) => Status::Done,
        ("I", _) => Status::Refused,
        ("E", Some(_)) => Status::Unasked(b'E'),
        ("M", Some(_)) => Status::Unasked(b'M'),
        _ => return Heard::Command { address: origin, words },
    };
    Heard::Answer { origin, status, message }
}

/// The variables of an answer, each a small letter and hex digits. `None` when it is anything else.
pub(super) fn variables(message: &str) -> Option<Vec<(u8, &str)>> {
    let variable = |item: &'_ str| -> bool {
        let Some((letter, digits)) = item.as_bytes().split_first() else { return false };
        letter.is_ascii_lowercase()
            && (1..=16).contains(&digits.len())
            && digits.iter().all(u8::is_ascii_hexdigit)
    };
    let split = |item| {
        let (letter, digits) = str::split_at_checked(item, 1)?;
        variable(item).then_some((letter.bytes().next()?, digits))
    };
    message.split(';').map(split).collect()
}

/// What is wrong with a piece that is no frame, in words.
pub(super) fn fault_of(piece: &Piece) -> (FaultKind, String) {
    let (span, why) = match piece {
        Piece::Broken(span, why) => (span, why),
        Piece::Noise(count) => return (FaultKind::Framing, format!("{count} bytes belong to no frame")),
        Piece::Frame(span) => return (FaultKind::Malformed, format!("{} bytes say nothing", span.len())),
    };
    let length = span.len();
    match why {
        Break::Refused if is_sum_wrong(span) => {
            (FaultKind::Checksum, format!("the checksum of a frame of {length} bytes is wrong"))
        }
        Break::Refused => (FaultKind::Framing, format!("{length} bytes up to an ETX are no frame")),
        Break::TooLong => (FaultKind::Framing, format!("a frame does not end within {length} bytes")),
        Break::Aborted | Break::CutOff => {
            (FaultKind::Framing, format!("a frame is cut off after {length} bytes"))
        }
    }
}

/// Whether a span that is no frame has all but the right checksum: then its sender is asked again.
pub(super) fn is_sum_wrong(span: &[u8]) -> bool {
    let Some((message, sum)) = span.len().checked_sub(2).and_then(|at| span.split_at_checked(at)) else {
        return false;
    };
    message.len() > 1 && sum.iter().all(u8::is_ascii_hexdigit)
}

/// What the characters behind NAK mean.
pub(super) fn link_error(reason: u8) -> &'static str {
    match reason {
        b'1' => "a character was not received right",
        b'2' => "the checksum was wrong",
        b'4' => "there is nobody at this address",
        b'5' => "the acknowledgement came too late",
        b'6' => "the receiver was not ready",
        b'7' => "the length of the frame was wrong",
        b'8' => "a control character was within the frame",
        _ => "no reason that is known",
    }
}

/// What the codes of refused commands mean.
pub(super) fn command_error(code: &str) -> &'static str {
    match code {
        "01" => "the command is unknown",
        "02" => "not in this mode",
        "03" => "not in this state",
        "04" => "its form is wrong",
        "05" | "06" | "07" | "09" | "22" => "the operating mode does not allow it",
        "08" => "a parameter is out of its bounds",
        "0A" => "the identifier is not used",
        "0B" => "the identifier is wrong",
        "0C" => "the message is too long",
        "0D" => "the session with the base is not open",
        "0E" => "the base cannot speak with the module",
        "12" => "there is an alarm",
        "1E" => "the session with the module is not open",
        "1F" => "a module is not under manual control",
        "20" => "not on this port: use another socket of the base, or set the port to PCBM",
        "24" => "the kind of connection is wrong",
        "25" => "the number of the drug is wrong",
        _ => "a reason without a description",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_frames_of_the_facts_are_the_same() {
        for (message, hex) in [
            ("0DC", "0230444334 3803"),
            ("1DC", "0231444334 3703"),
            ("1LE;dr", "02314C453B6472 324303"),
            ("1FC", "0231464334 3503"),
            ("1C;d0023;r00000BB8", "0231433B64303032333B723030303030424238 434503"),
        ] {
            let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
            let bytes: Vec<u8> = digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            assert_eq!(framed(message.as_bytes()), bytes, "{message}");
        }
    }

    #[test]
    fn answers_commands_and_neither_are_told_apart() {
        let answer = |origin, status, message: Option<&str>| Heard::Answer {
            origin,
            status,
            message: message.map(str::to_owned),
        };
        assert_eq!(heard(b"1C"), answer(1, Status::Done, None));
        assert_eq!(heard(b"0C;b05"), answer(0, Status::Done, Some("b05")));
        assert_eq!(heard(b"5I;0E"), answer(5, Status::Refused, Some("0E")));
        assert_eq!(heard(b"2E;r1"), answer(2, Status::Unasked(b'E'), Some("r1")));
        // An echo of the host, and a command that begins with a letter of an answer.
        assert!(matches!(heard(b"2E"), Heard::Command { address: 2, .. }));
        assert!(matches!(heard(b"1MO;2"), Heard::Command { address: 1, .. }));
        assert_eq!(heard(b"6C"), Heard::Other);
        assert_eq!(heard(b"C;d1"), Heard::Other);
    }

    #[test]
    fn variables_are_letters_with_hex_digits_and_nothing_else() {
        assert_eq!(variables("d0023;r00000BB8"), Some(vec![(b'd', "0023"), (b'r', "00000BB8")]));
        for wrong in ["", "d", "d00G3", "D0023", "d0023;", "PROPOFOL", "d0023;r 1"] {
            assert_eq!(variables(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_life_sign_within_a_frame_does_not_break_it() {
        let mut frame = framed(b"1C;d0023");
        frame.insert(4, ENQ);
        let mut wire = Wire::new();
        let mut input = frame.as_slice();
        assert_eq!(wire.take(&mut input), Some(Item::LifeSign));
        assert!(matches!(wire.take(&mut input), Some(Item::Piece(Piece::Frame(_)))));
        assert_eq!(wire.take(&mut input), None);
    }

    #[test]
    fn a_reason_counts_behind_nak_only() {
        let mut wire = Wire::new();
        let mut input: &[u8] = &[NAK, b'2', ACK, NAK, STX];
        assert_eq!(wire.take(&mut input), Some(Item::Refused(b'2')));
        assert_eq!(wire.take(&mut input), Some(Item::Accepted));
        assert_eq!(wire.take(&mut input), None);
    }

    proptest! {
        #[test]
        fn no_flipped_bit_passes(message in "[0-5]C;[ -}]{0,70}", at in any::<proptest::sample::Index>(), bit in 0u8..7) {
            let mut frame = framed(message.as_bytes());
            frame.pop();
            prop_assert!(content(&frame).is_some());
            let at = at.index(frame.len() - 1) + 1;
            frame[at] ^= 1 << bit;
            prop_assert_eq!(content(&frame), None);
        }
    }
}
