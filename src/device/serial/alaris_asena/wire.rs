//! The frames of the Asena protocol: `!` message `|` CRC CR.
//!
//! In: a span that begins with `!`, its CR left out. Out: the message's fields, or nothing. The
//! CRC is CRC-16/CCITT-FALSE over the text strictly between `!` and `|`, as four upper-case hex
//! digits; ESC calls a frame off.

use crate::device::FaultKind;
use crate::device::framing::{Break, Delimiters, Piece};
use crate::device::serial::printable;

/// The longest frame. The full status with a drug name of 64 characters is under 200 bytes.
const LONGEST: usize = 512;

/// How frames are told apart. LF ends one too: a capture that went through a terminal has it in
/// the place of CR, and no frame holds it.
pub(super) const DELIMITERS: Delimiters = Delimiters {
    start: Some(b'!'),
    ends: b"\r\n",
    abort: Some(0x1B),
    longest: LONGEST,
    is_whole: |span| content(span).is_some(),
};

/// The message's fields, the keyword first. `None`: wrong CRC, wrong form or control characters.
pub(super) fn fields(span: &[u8]) -> Option<Vec<String>> {
    Some(printable(content(span)?)?.split('^').map(str::to_owned).collect())
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
        Break::Refused if has_checksum(span) => {
            (FaultKind::Checksum, format!("the CRC of a frame of {length} bytes is wrong"))
        }
        Break::Refused => (FaultKind::Framing, format!("a frame of {length} bytes has no CRC")),
        Break::TooLong => (FaultKind::Framing, format!("a frame does not end within {length} bytes")),
        Break::Aborted => {
            (FaultKind::Framing, format!("the pump called a frame off (ESC) after {length} bytes"))
        }
        Break::CutOff => (FaultKind::Framing, format!("a frame is cut off after {length} bytes")),
    }
}

/// Whether a span that is not whole at least has a checksum in its place, which then is wrong.
fn has_checksum(span: &[u8]) -> bool {
    matches!(parts(span), Some((_, sum)) if sum.iter().all(u8::is_ascii_hexdigit))
}

fn content(span: &[u8]) -> Option<&[u8]> {
    let (message, sum) = parts(span)?;
    (hex_digits(crc(message)) == sum).then_some(message)
}

fn parts(span: &[u8]) -> Option<(&[u8], &[u8])> {
    let body = span.strip_prefix(b"!")?;
    let (message, tail) = body.split_at_checked(body.len().checked_sub(5)?)?;
    Some((message, tail.strip_prefix(b"|")?))
}

fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc: u16, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
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

    fn framed(message: &str) -> Vec<u8> {
        let sum = hex_digits(crc(message.as_bytes()));
        [b"!", message.as_bytes(), b"|", &sum].concat()
    }

    #[test]
    fn the_check_value_of_the_crc_is_right() {
        assert_eq!(crc(b"123456789"), 0x29B1);
    }

    #[test]
    fn a_security_code_is_the_same_crc() {
        assert_eq!(&hex_digits(crc(b"8002-51740")), b"3CC1");
    }

    #[test]
    fn fields_are_split_at_carets_and_blanks_are_kept() {
        let fields = fields(b"!ALARM^AL_NOALM^ ^ |C73B").unwrap();
        assert_eq!(fields, ["ALARM", "AL_NOALM", " ", " "]);
    }

    #[test]
    fn lower_case_and_missing_checksums_are_refused() {
        assert_eq!(fields(b"!INST_SERIALNO|457d"), None);
        assert!(has_checksum(b"!INST_SERIALNO|457d"));
        assert_eq!(fields(b"!INST_SERIALNO"), None);
        assert!(!has_checksum(b"!INST_SERIALNO"));
        assert_eq!(fields(b"!|"), None);
        assert_eq!(fields(b""), None);
    }

    proptest! {
        #[test]
        fn what_was_framed_is_read_again(message in "[A-Z_]{1,10}(\\^[ -\\[\\]\\]_-~]{0,12}){0,8}") {
            let read = fields(&framed(&message)).unwrap();
            prop_assert_eq!(read.join("^"), message);
        }

        #[test]
        fn no_flipped_bit_passes(message in "[A-Z_^0-9.]{1,60}", at in any::<proptest::sample::Index>(), bit in 0u8..8) {
            let mut span = framed(&message);
            let at = at.index(span.len() - 1) + 1;
            span[at] ^= 1 << bit;
            prop_assert_eq!(fields(&span), None);
        }

        #[test]
        fn nothing_panics(span in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (fields(&span), has_checksum(&span));
        }
    }
}
