//! The frames of the MIB/RS232 link: C0, header, user data, FCS, C1.
//!
//! In: a span that begins with C0, its C1 left out. Out: the user data, or nothing. C0, C1 and 7D
//! stand within a frame as 7D and the byte with its bit 5 turned over, in the FCS too; `7D C1`
//! calls the frame off; a C0 within it begins another one. The FCS is FCS-16/X-25 over header and
//! user data, low byte first. Source: the facts of `PhilipsIntellivueFrame`,
//! `TransparencyByteUnescapedStream` (mindleaving/patient-monitor-datalogger) and of the FCS tests
//! of mdpnp.

use crate::device::FaultKind;
use crate::device::framing::{Break, Delimiters, Piece};

const BEGIN: u8 = 0xC0;
const END: u8 = 0xC1;
const ESCAPE: u8 = 0x7D;
const FLIP: u8 = 0x20;

/// Protocol id and message type of Data Export.
const DATA_EXPORT: [u8; 2] = [0x11, 0x01];

/// The longest frame. A command is at most 1000 bytes on this link (1364 on the network, for
/// captures), its headers 30, and each byte may be escaped.
const LONGEST: usize = 3_000;

/// What a checked frame and its FCS together leave in the register.
const RESIDUE: u16 = 0xF0B8;

/// How frames are told apart.
pub(super) const DELIMITERS: Delimiters = Delimiters {
    start: Some(BEGIN),
    ends: &[END],
    abort: None,
    longest: LONGEST,
    is_whole: |span| checked(span).is_some(),
};

/// The user data of a whole frame; an error is in words for a person.
pub(super) fn user_data(span: &[u8]) -> Result<Vec<u8>, (FaultKind, &'static str)> {
    let mut content = checked(span).ok_or((FaultKind::Checksum, "a frame's FCS is wrong"))?;
    let header = content.get(..2).unwrap_or_default();
    if header != DATA_EXPORT {
        return Err((FaultKind::Unexpected, "a frame of another protocol than Data Export"));
    }
    let stated = content.get(2..4).and_then(|bytes| bytes.try_into().ok()).map(u16::from_be_bytes);
    if stated.map(usize::from) != content.len().checked_sub(4) {
        return Err((FaultKind::Malformed, "a frame holds more or less than its header says"));
    }
    Ok(content.split_off(4))
}

/// A whole frame around user data.
pub(super) fn frame(user_data: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(user_data.len()).ok()?;
    let content = [&DATA_EXPORT[..], &length.to_be_bytes(), user_data].concat();
    let check = !fcs(&content);
    let mut bytes = vec![BEGIN];
    for byte in content.into_iter().chain(check.to_le_bytes()) {
        match byte {
            BEGIN | END | ESCAPE => bytes.extend([ESCAPE, byte ^ FLIP]),
            plain => bytes.push(plain),
        }
    }
    bytes.push(END);
    Some(bytes)
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
        Break::Refused | Break::Aborted if span.ends_with(&[ESCAPE]) => {
            (FaultKind::Framing, format!("a frame was called off after {length} bytes"))
        }
        Break::Refused if plain(span).is_some_and(|content| content.len() > 2) => {
            (FaultKind::Checksum, format!("the FCS of a frame of {length} bytes is wrong"))
        }
        Break::Refused | Break::Aborted => {
            (FaultKind::Framing, format!("{length} bytes before an end are no frame"))
        }
        Break::TooLong => (FaultKind::Framing, format!("a frame does not end within {length} bytes")),
        Break::CutOff => (FaultKind::Framing, format!("a frame is cut off after {length} bytes")),
    }
}

/// Header and user data of a span whose FCS is right.
fn checked(span: &[u8]) -> Option<Vec<u8>> {
    let mut content = plain(span)?;
    let kept = content.len().checked_sub(2).filter(|kept| *kept >= 2)?;
    if fcs(&content) != RESIDUE {
        return None;
    }
    content.truncate(kept);
    Some(content)
}

/// A span without its C0 and its escapes. `None` when another frame begins within it, or it ends in
/// the midst of an escape.
fn plain(span: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = span.strip_prefix(&[BEGIN])?.iter();
    let mut content = Vec::with_capacity(span.len());
    while let Some(&byte) = bytes.next() {
        match byte {
            BEGIN | END => return None,
            ESCAPE => content.push(bytes.next().filter(|next| **next != BEGIN)? ^ FLIP),
            plain => content.push(plain),
        }
    }
    Some(content)
}

/// CRC-16 with the reflected polynomial 8408 and the register full of ones, not turned over at the end.
fn fcs(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |register, &byte| {
        (0..8).fold(register ^ u16::from(byte), |register: u16, _| {
            let shifted = register >> 1;
            if register & 1 == 0 { shifted } else { shifted ^ 0x8408 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fcs_is_that_of_published_frames() {
        // mdpnp, TestFCSOutputStream: without the header of Data Export.
        assert_eq!(checked(&[0xC0, 0x3A, 0x71, 0x9B, 0x26]), Some(vec![0x3A, 0x71]));
        assert_eq!(checked(&[0xC0, 0x3A, 0x91, 0x95, 0x7D, 0xE1]), Some(vec![0x3A, 0x91]));
        assert_eq!(checked(&[0xC0, 0x3A, 0x91, 0x95, 0xE1]), None);
    }

    #[test]
    fn a_frame_that_begins_within_another_is_not_a_part_of_it() {
        assert_eq!(plain(&[0xC0, 1, 0xC0, 2]), None);
        assert_eq!(plain(&[0xC0, 1, 0x7D]), None);
        assert_eq!(plain(&[0xC0, 0x7D, 0x5D, 0x7D, 0xE0]), Some(vec![0x7D, 0xC0]));
    }

    #[test]
    fn what_the_header_says_is_held_against_what_came() {
        let whole = frame(&[1, 2, 3]).unwrap();
        assert_eq!(user_data(&whole[..whole.len() - 1]), Ok(vec![1, 2, 3]));
        let mut content = vec![0x11, 0x01, 0, 4, 1, 2, 3];
        content.extend((!fcs(&content)).to_le_bytes());
        content.insert(0, BEGIN);
        assert_eq!(user_data(&content).unwrap_err().0, FaultKind::Malformed);
        content[2] ^= 4;
        assert_eq!(user_data(&content).unwrap_err().0, FaultKind::Checksum);
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_frame_comes_out_again(data in proptest::collection::vec(any::<u8>(), 0..1_000)) {
            let whole = frame(&data).unwrap();
            prop_assert!(!whole[1..whole.len() - 1].iter().any(|byte| [BEGIN, END].contains(byte)));
            prop_assert!(whole.len() <= LONGEST);
            prop_assert_eq!(user_data(&whole[..whole.len() - 1]), Ok(data));
        }
    }
}
