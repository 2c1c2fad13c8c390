//! The ASCII messages of the CIE protocol: text, two hex digits, EOT.
//!
//! In: bytes, cut anywhere. Out: the text of each whole message without its checksum. The checksum
//! is the XOR of all bytes of the text, as two upper-case hex digits (CIE manual 65 43 388, message
//! format). XON and XOFF are no part of a message and are taken out wherever they stand.
//!
//! A message has no start byte, and one in 256 of all spans has a right XOR by chance. So nothing is
//! looked for behind noise: what ends in EOT is whole from the EOT before, or broken. A reply that noise
//! spoils is asked for again.

use crate::device::FaultKind;

/// Ends a message.
const EOT: u8 = 0x04;
/// Calls off what is under way.
const ESC: u8 = 0x1B;
const XON: u8 = 0x11;
const XOFF: u8 = 0x13;

/// The longest message: 50 channels of four digits are 200 bytes, the configuration of one channel under
/// 80. The configuration of all channels in one message is only found in captures.
pub(super) const LONGEST: usize = 8_192;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The text of a message whose checksum is right.
    Text(String),
    /// What is no message.
    Broken(FaultKind, String),
}

/// Finds messages.
#[derive(Debug, Default)]
pub(super) struct Lines {
    span: Vec<u8>,
    /// Bytes in the span that no message holds, and bytes that it had no room for.
    foreign: usize,
}

impl Lines {
    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Piece> {
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            match byte {
                EOT => {
                    if let Some(piece) = self.finish() {
                        return Some(piece);
                    }
                }
                ESC => self.reset(),
                XON | XOFF => {}
                b' '..=b'~' if self.span.len() < LONGEST => self.span.push(byte),
                _ => self.foreign = self.foreign.saturating_add(1),
            }
        }
        None
    }

    /// Ends the message that is under way.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        let span = std::mem::take(&mut self.span);
        let foreign = std::mem::take(&mut self.foreign);
        let length = span.len().saturating_add(foreign);
        if length == 0 {
            return None;
        }
        Some(match body(&span) {
            _ if foreign > 0 => {
                Piece::Broken(FaultKind::Framing, format!("{length} bytes that are no message"))
            }
            Some(text) => Piece::Text(text),
            None => Piece::Broken(
                FaultKind::Checksum,
                format!("the checksum of a message of {length} bytes is wrong or missing"),
            ),
        })
    }

    /// Forgets what is under way.
    pub(super) fn reset(&mut self) {
        self.span.clear();
        self.foreign = 0;
    }

    /// How many bytes it holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.span.len()
    }
}

/// The text of a span without its checksum. What the interface says in BASIC mode has none.
pub(super) fn body(span: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(span).ok()?;
    if matches!(text, "*" | "HO" | "900PCI") || is_bare_error(text) {
        return Some(text.to_owned());
    }
    let (content, sum) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let is_right = !content.is_empty() && sum.as_bytes() == digits(xor(content.as_bytes()));
    is_right.then(|| content.to_owned())
}

/// An error without a checksum. `ER17` has to be known for one: 17 is the checksum of `ER`.
fn is_bare_error(text: &str) -> bool {
    text.len() == 4
        && text.strip_prefix("ER").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// A whole message: text, checksum, EOT.
pub(super) fn message(text: &str) -> Vec<u8> {
    [text.as_bytes(), &digits(xor(text.as_bytes())), &[EOT]].concat()
}

/// The XOR of all bytes.
pub(super) fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

fn digits(sum: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [sum >> 4, sum & 0xF].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<Piece> {
        let (mut lines, mut input) = (Lines::default(), bytes);
        std::iter::from_fn(|| lines.take(&mut input)).collect()
    }

    #[test]
    fn published_checksums_are_right() {
        for (text, sum) in [
            ("ER17", "11"),
            ("RCTY", "1C"),
            ("RSEN", "0A"),
            ("RSTI", "1C"),
            ("SSMP020", "2F"),
            ("RADC", "14"),
            ("*", "2A"),
            ("ER20", "15"),
            ("BER20", "57"),
            ("RADAB", "54"),
            ("RADAS", "45"),
            ("RADAA", "57"),
            ("RHVE", "09"),
            ("RTIM", "02"),
            ("SPVE003", "23"),
            ("RBAT", "05"),
            ("RCCO", "1D"),
            ("RSWV", "00"),
            ("SDADB201200204205207206209", "6A"),
        ] {
            let framed = format!("{text}{sum}\x04").into_bytes();
            assert_eq!(message(text), framed, "{text}");
            assert_eq!(read(&framed), [Piece::Text(text.to_owned())], "{text}");
        }
    }

    #[test]
    fn an_error_needs_no_checksum() {
        assert_eq!(read(b"ER17\x04ER1711\x04"), vec![Piece::Text("ER17".to_owned()); 2]);
    }

    #[test]
    fn flow_control_is_no_part_of_a_message() {
        assert_eq!(read(b"\x11RS\x13EN0\x11A\x04\x13"), [Piece::Text("RSEN".to_owned())]);
    }

    #[test]
    fn escape_calls_off_what_stands_before_it() {
        assert_eq!(read(b"01230\x1B\x04*\x04"), [Piece::Text("*".to_owned())]);
    }

    #[test]
    fn no_message_is_looked_for_behind_noise() {
        let pieces = read(b"\x80\x7FRSEN0A\x04RSEN0a\x04\x04RSEN\x04");
        let kinds: Vec<FaultKind> = pieces
            .iter()
            .filter_map(|piece| if let Piece::Broken(kind, _) = piece { Some(*kind) } else { None })
            .collect();
        assert_eq!(kinds, [FaultKind::Framing, FaultKind::Checksum, FaultKind::Checksum]);
    }

    #[test]
    fn memory_is_bounded_whatever_comes_in() {
        let mut lines = Lines::default();
        let endless = vec![b'0'; 3 * LONGEST];
        assert_eq!(lines.take(&mut endless.as_slice()), None);
        assert_eq!(lines.held(), LONGEST);
        assert!(matches!(lines.take(&mut b"\x04".as_slice()), Some(Piece::Broken(FaultKind::Framing, _))));
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read_again(text in "[ -~]{1,60}") {
            prop_assert_eq!(read(&message(&text)), [Piece::Text(text)]);
        }

        #[test]
        fn no_flipped_bit_passes(text in "[A-Z0-9]{2,60}", at in any::<proptest::sample::Index>(), bit in 0u8..8) {
            let mut framed = message(&text);
            let at = at.index(framed.len() - 1);
            framed[at] ^= 1 << bit;
            let is_read = read(&framed).contains(&Piece::Text(text));
            prop_assert!(!is_read);
        }
    }
}
