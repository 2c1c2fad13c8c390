//! The lines of the `DataPort`: fields that each end in a semicolon, four hex digits, CR.
//!
//! In: a span, its end left out. Out: the pump's number and its fields, or nothing. The digits are
//! CRC-16/KERMIT over everything before them, the high byte first; that of the requests is verified by a
//! published frame, that of the replies is taken to be the same (a setting switches its check off).

use crate::device::FaultKind;
use crate::device::framing::{Break, Delimiters, Piece};
use crate::device::serial::printable;

/// The longest line that is taken; hosts in the field take 256 bytes.
const LONGEST: usize = 200;

/// A reply is longer than this; anything shorter is a rest of one.
const SHORTEST: usize = 10;

/// How lines are told apart when the CRC of a reply counts.
pub(super) const CHECKED: Delimiters =
    Delimiters { start: None, ends: b"\r\n", abort: None, longest: LONGEST, is_whole: is_checked };

/// How lines are told apart by their form alone.
pub(super) const UNCHECKED: Delimiters =
    Delimiters { start: None, ends: b"\r\n", abort: None, longest: LONGEST, is_whole: is_formed };

/// What a whole line is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A pump's reply: its number (0 answers a probe), and the fields behind it without the CRC.
    Reply(u8, Vec<String>),
    /// A host's request, in a capture of both sides.
    Request,
}

/// Reads a line.
pub(super) fn read(span: &[u8]) -> Option<Line> {
    let (message, _) = parts(span)?;
    if message.starts_with(b"T@") {
        return Some(Line::Request);
    }
    let text = printable(message)?;
    let mut fields = text.strip_suffix(';')?.split(';').map(str::to_owned);
    let number = match fields.next()?.as_str() {
        "F0" => 0,
        "F1" => 1,
        "F2" => 2,
        "F3" => 3,
        _ => return None,
    };
    Some(Line::Reply(number, fields.collect()))
}

fn is_formed(span: &[u8]) -> bool {
    span.len() > SHORTEST && read(span).is_some()
}

fn is_checked(span: &[u8]) -> bool {
    is_formed(span) && parts(span).is_some_and(|(message, sum)| hex_digits(crc(message)) == sum)
}

/// What the CRC is over, and the CRC.
fn parts(span: &[u8]) -> Option<(&[u8], &[u8])> {
    let (message, sum) = span.split_at_checked(span.len().checked_sub(4)?)?;
    let is_sum = sum.iter().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte));
    (is_sum && message.ends_with(b";")).then_some((message, sum))
}

/// Whether a line that was refused may be the answer to the probe: hosts in the field look for `ST` behind
/// two characters, and no more of it is public.
pub(super) fn is_status(span: &[u8]) -> bool {
    span.iter().all(|byte| !byte.is_ascii_control())
        && span.get(1..6).or(span.get(1..)).is_some_and(|start| start.windows(2).any(|two| two == b"ST"))
}

/// What is wrong with a piece that is no line, in words.
pub(super) fn fault_of(piece: &Piece) -> (FaultKind, String) {
    let (span, why) = match piece {
        Piece::Broken(span, why) => (span, why),
        Piece::Noise(count) => return (FaultKind::Framing, format!("{count} bytes belong to no line")),
        Piece::Frame(span) => return (FaultKind::Malformed, format!("{} bytes say nothing", span.len())),
    };
    let length = span.len();
    match why {
        Break::Refused if is_formed(span) => {
            (FaultKind::Checksum, format!("the CRC of a line of {length} bytes is wrong"))
        }
        Break::Refused => (FaultKind::Framing, format!("{length} bytes are no reply of a pump")),
        Break::TooLong => (FaultKind::Framing, format!("a line does not end within {length} bytes")),
        Break::Aborted | Break::CutOff => {
            (FaultKind::Framing, format!("a line is cut off after {length} bytes"))
        }
    }
}

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc: u16, _| {
            let shifted = crc >> 1;
            if crc & 1 == 0 { shifted } else { shifted ^ 0x8408 }
        })
    })
}

fn hex_digits(crc: u16) -> [u8; 4] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [12, 8, 4, 0].map(|shift| DIGITS.get(usize::from(crc >> shift & 0xF)).copied().unwrap_or(b'?'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lined(message: &str) -> Vec<u8> {
        [message.as_bytes(), &hex_digits(crc(message.as_bytes()))].concat()
    }

    #[test]
    fn the_crc_is_that_of_the_published_and_computed_frames() {
        assert_eq!(crc(b"123456789"), 0x2189);
        for line in
            ["T@0;ISTA;2FAD", "T@1;IDV1;VT1;TV1;DN1;85E7", "T@1;IALR;STA;8097", "T@2;IDV1;VT1;TV1;DN1;382D"]
        {
            assert_eq!(lined(&line[..line.len() - 4]), line.as_bytes());
            assert!(is_checked(line.as_bytes()));
            assert_eq!(read(line.as_bytes()), Some(Line::Request));
        }
    }

    #[test]
    fn a_reply_is_its_number_and_its_fields() {
        let fields = ["x", "R125", "500", "", "DOPAMINE"].map(str::to_owned).to_vec();
        assert_eq!(read(&lined("F3;x;R125;500;;DOPAMINE;")), Some(Line::Reply(3, fields)));
        for wrong in ["F4;x;1;2;3;D;", "G1;x;1;2;3;D;", "F1 x 1 2 3 D", "F1;x;1;2;3;\x07;"] {
            assert!(!is_checked(&lined(wrong)), "{wrong}");
        }
        assert!(!is_checked(&lined("F1;a;b")), "it is too short");
    }

    #[test]
    fn the_crc_is_padded_to_four_digits() {
        let padded =
            (0..1_000).map(|n| lined(&format!("F1;x;{n};OK;"))).find(|line| line[line.len() - 4] == b'0');
        assert!(is_checked(&padded.unwrap()));
    }

    #[test]
    fn the_answer_to_a_probe_has_st_near_its_start() {
        assert!(is_status(b"F0STA") && is_status(b"F0;ST;x") && is_status(b"zzST"));
        assert!(
            !is_status(b"F1;x;0;0;STOP") && !is_status(b"S") && !is_status(b"") && !is_status(b"z\x00ST")
        );
    }

    proptest! {
        #[test]
        fn no_flipped_bit_passes(message in "F[1-3];[a-z]?;[rR]?[0-9]{1,4};[0-9.]{1,5};[0-9]{1,4};[A-Z ]{0,12};", at in any::<proptest::sample::Index>(), bit in 0u8..8) {
            let mut line = lined(&message);
            prop_assert!(is_checked(&line));
            let at = at.index(line.len());
            line[at] ^= 1 << bit;
            prop_assert!(!is_checked(&line));
        }

        #[test]
        fn nothing_panics(span in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (is_checked(&span), is_formed(&span), is_status(&span), read(&span));
        }
    }
}
