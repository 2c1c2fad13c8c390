//! The blocks of BCC: SOH, length, STX, bed id, `/1/1>`, data, ETX or ETB, checksum, EOT.
//!
//! In: a span that begins with SOH, its EOT left out. Out: the block's bed id and data, or nothing.
//! The length (five digits) counts every byte from SOH to EOT; the checksum (five digits) is the sum
//! of the bytes from SOH to ETX or ETB, modulo 256. With character stuffing `d`, `D`, `e` and `E` go
//! over the line as `ex`, `EX`, `ee` and `EE`; length and checksum are of what was there before.

use std::borrow::Cow;

use crate::device::FaultKind;
use crate::device::framing::{Break, Delimiters, Piece};

pub(super) const SOH: u8 = 0x01;
const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ETB: u8 = 0x17;
const EOT: u8 = 0x04;

/// The longest block, in bytes, before stuffing. Published ones, of a pump with 50 parameters, have
/// under 1,200; so many more take 4.3 s at 9,600 baud, which is within the patience for a block.
const LONGEST: usize = 4_096;

/// What ends a span. ACK and NAK stand between blocks, in captures of both sides of the line.
const ENDS: &[u8] = &[EOT, 0x06, 0x15];

/// How blocks are told apart on a line without character stuffing.
pub(super) const PLAIN: Delimiters = Delimiters {
    start: Some(SOH),
    ends: ENDS,
    abort: None,
    longest: LONGEST,
    is_whole: |span| block(span).is_some(),
};

/// How blocks are told apart on a line with character stuffing.
pub(super) const STUFFED: Delimiters = Delimiters {
    longest: 2 * LONGEST,
    is_whole: |span| has_head(span) && plain(span).is_some_and(|plain| block(&plain).is_some()),
    ..PLAIN
};

/// What a whole block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// Who speaks, or is spoken to.
    pub(super) bed: &'a [u8],
    /// The request, or the quadruples of a reply.
    pub(super) data: &'a [u8],
    /// Whether no more blocks follow.
    pub(super) is_last: bool,
}

/// Reads a span without stuffing. `None`: it is no whole block.
pub(super) fn block(span: &[u8]) -> Option<Block<'_>> {
    let (text, end, sum) = parts(span)?;
    let summed = span.get(..span.len().checked_sub(5)?)?;
    if number(sum)? != usize::from(checksum(summed)) {
        return None;
    }
    let is_last = match end {
        ETX => true,
        ETB => false,
        _ => return None,
    };
    // No bed id holds a `>`.
    let at = text.iter().position(|&byte| byte == b'>')?;
    let (head, data) = (text.get(..at)?, text.get(at.checked_add(1)?..)?);
    let bed = head.strip_suffix(b"/1/1")?;
    is_bed(bed).then_some(Block { bed, data, is_last })
}

/// Whether bytes can be a bed id.
pub(super) fn is_bed(bytes: &[u8]) -> bool {
    let is_of_it = |byte: &u8| matches!(byte, 0x2F..=0x39 | 0x41..=0x7A);
    (1..=15).contains(&bytes.len()) && bytes.iter().all(is_of_it)
}

/// Makes a block of one request.
pub(super) fn framed(bed: &[u8], data: &[u8]) -> Vec<u8> {
    let length = 1 + 5 + 1 + bed.len() + 5 + data.len() + 1 + 5 + 1;
    let length = format!("{length:05}");
    let mut frame = [&[SOH], length.as_bytes(), &[STX], bed, b"/1/1>", data, &[ETX]].concat();
    let sum = format!("{:05}", checksum(&frame));
    frame.extend_from_slice(sum.as_bytes());
    frame.push(EOT);
    frame
}

/// As it goes over a line with character stuffing.
pub(super) fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'd' => out.extend_from_slice(b"ex"),
            b'D' => out.extend_from_slice(b"EX"),
            b'e' => out.extend_from_slice(b"ee"),
            b'E' => out.extend_from_slice(b"EE"),
            other => out.push(other),
        }
    }
    out
}

/// As it was before character stuffing; `None` when an `e` or `E` is followed by something else.
pub(super) fn plain(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(&byte) = rest.next() {
        out.push(match byte {
            b'e' | b'E' => match (byte, rest.next()?) {
                (b'e', b'x') => b'd',
                (b'E', b'X') => b'D',
                (b'e', b'e') => b'e',
                (b'E', b'E') => b'E',
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

/// What is wrong with a piece that is no block, in words.
pub(super) fn fault_of(piece: &Piece, is_stuffed: bool) -> (FaultKind, String) {
    let (span, why) = match piece {
        Piece::Broken(span, why) => (span, why),
        Piece::Noise(count) => return (FaultKind::Framing, format!("{count} bytes belong to no block")),
        Piece::Frame(span) => return (FaultKind::Malformed, format!("{} bytes say nothing", span.len())),
    };
    let length = span.len();
    let plain = if is_stuffed { plain(span).map(Cow::Owned) } else { Some(Cow::Borrowed(span.as_slice())) };
    match (why, plain) {
        (Break::Refused, None) => {
            (FaultKind::Framing, format!("a block of {length} bytes breaks the rule of character stuffing"))
        }
        (Break::Refused, Some(plain)) if has_wrong_sum(&plain) => {
            (FaultKind::Checksum, format!("the checksum of a block of {length} bytes is wrong"))
        }
        (Break::Refused, Some(_)) => {
            (FaultKind::Framing, format!("{length} bytes are no whole block: its length or form is wrong"))
        }
        (Break::TooLong, _) => (FaultKind::Framing, format!("a block does not end within {length} bytes")),
        (Break::Aborted | Break::CutOff, _) => {
            (FaultKind::Framing, format!("a block is cut off after {length} bytes"))
        }
    }
}

/// Whether a span that is no whole block has the form of one, its checksum apart.
fn has_wrong_sum(span: &[u8]) -> bool {
    matches!(parts(span), Some((_, ETX | ETB, _)))
        && parts(span).and_then(|(_, _, sum)| number(sum))
            != span.get(..span.len().saturating_sub(5)).map(|summed| usize::from(checksum(summed)))
}

/// The text, the byte that ends it, and the checksum's digits, of a span whose length is right.
fn parts(span: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let rest = span.strip_prefix(&[SOH])?;
    let (length, rest) = rest.split_at_checked(5)?;
    // The EOT is not in the span.
    if number(length)? != span.len().checked_add(1)? {
        return None;
    }
    let body = rest.strip_prefix(&[STX])?;
    let (text, tail) = body.split_at_checked(body.len().checked_sub(6)?)?;
    let (&end, sum) = tail.split_first()?;
    Some((text, end, sum))
}

/// Whether a span begins as a block does; the digits are never stuffed.
fn has_head(span: &[u8]) -> bool {
    span.get(1..6).is_some_and(|digits| number(digits).is_some()) && span.get(6) == Some(&STX)
}

fn number(digits: &[u8]) -> Option<usize> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, &byte| sum.wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Published, and recomputed from what is published.
    const FRAMES: [(&[u8], &[u8], &[u8]); 4] = [
        (b"1", b"ADMIN:ALIVE", b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04"),
        (b"ComSystem", b"ADMIN:VERSION", b"\x0100041\x02ComSystem/1/1>ADMIN:VERSION\x0300102\x04"),
        (b"ComSystem", b"MEM:GET", b"\x0100035\x02ComSystem/1/1>MEM:GET\x0300153\x04"),
        (b"ComSystem", b"MEM:GETSLOT#11", b"\x0100042\x02ComSystem/1/1>MEM:GETSLOT#11\x0300094\x04"),
    ];

    #[test]
    fn published_frames_are_made_and_read() {
        for (bed, data, frame) in FRAMES {
            assert_eq!(framed(bed, data), frame);
            let (_, span) = frame.split_last().unwrap();
            assert_eq!(block(span), Some(Block { bed, data, is_last: true }));
        }
    }

    #[test]
    fn stuffing_is_outside_of_length_and_checksum() {
        assert_eq!(stuffed(&framed(b"1", b"ADMIN:ALIVE")), b"\x0100031\x021/1/1>AEXMIN:ALIVEE\x0300061\x04");
        assert_eq!(plain(b"exEXeeEE").as_deref(), Some(&b"dDeE"[..]));
        for wrong in [&b"eX"[..], b"Ex", b"eE", b"Ee", b"ea", b"e"] {
            assert_eq!(plain(wrong), None);
        }
    }

    #[test]
    fn a_bed_id_can_hold_slashes_and_nothing_that_ends_it() {
        let frame = framed(b"a/1/1", b"MEM:GET");
        assert_eq!(block(&frame[..frame.len() - 1]).unwrap().bed, b"a/1/1");
        for wrong in [&b""[..], b"0123456789abcdef", b"bed>1", b"bed:1", b"bed 1", b"bed\x031", b"b\xC3\xA4"]
        {
            assert!(!is_bed(wrong));
        }
    }

    #[test]
    fn the_length_counts_bytes() {
        let frame = framed(b"ComSystem", "215,50113,INSOLSN,Arteren\u{E021}".as_bytes());
        assert_eq!(frame.len(), 1 + 5 + 1 + 9 + 5 + 28 + 1 + 5 + 1);
        assert!(block(&frame[..frame.len() - 1]).is_some());
    }

    proptest! {
        #[test]
        fn no_changed_byte_passes(data in "[ -=?-~]{1,60}", at in any::<proptest::sample::Index>(), change in 1u8..=255) {
            let mut span = framed(b"ComSystem", data.as_bytes());
            span.pop();
            // The last five are the checksum's own digits: there another spelling may be the same number.
            let at = at.index(span.len());
            span[at] = span[at].wrapping_add(change);
            prop_assert_eq!(block(&span), None);
        }

        #[test]
        fn what_was_stuffed_is_read_again(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(plain(&stuffed(&bytes)), Some(bytes));
        }

        #[test]
        fn nothing_panics(span in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (block(&span), plain(&span), has_wrong_sum(&span));
        }
    }
}
