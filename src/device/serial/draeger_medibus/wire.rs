//! The frames of MEDIBUS: ESC (command) or SOH (reply), a code, data, two hex digits, CR.
//!
//! In: bytes as they come. Out: [`Piece`]s: frames, and what was not one. The check is the sum of all
//! bytes from ESC or SOH on, modulo 256, as two upper-case hex digits.
//!
//! Three things may stand anywhere, within a frame too: bytes from 80 on, which belong to the real-time
//! stream and are left out first of all; DC1 and DC3, which mean nothing here; and a whole command of the
//! device within one of its replies, which then goes on where it was. CAN calls a frame off.
//!
//! What never happens: a reply whose start or end was lost takes the next one with it. A reply never
//! stands in a reply, so a second SOH ends the first.

use crate::device::FaultKind;

const SOH: u8 = 0x01;
const ESC: u8 = 0x1B;

/// The longest frame: the protocol allows a reply 3,845 bytes.
const LONGEST: usize = 4_096;

/// What the framer makes of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole frame.
    Frame(Frame),
    /// A command that ended, with a wrong check.
    CorruptCommand,
    /// Anything else that was not a frame, in words.
    Broken(FaultKind, String),
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// A command, else a reply.
    pub(super) is_command: bool,
    /// What it is about.
    pub(super) code: u8,
    /// What stands between the code and the check.
    pub(super) data: Vec<u8>,
}

/// Puts frames together: a reply and a command within it at most.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// A reply, from its SOH on.
    reply: Option<Vec<u8>>,
    /// A command, from its ESC on; the inner one of the two.
    command: Option<Vec<u8>>,
    outside: usize,
}

impl Framer {
    /// Whether a reply has begun and not ended.
    pub(super) const fn is_in_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Takes all bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for byte in bytes {
            self.push(*byte, &mut pieces);
        }
        pieces
    }

    /// Says what is left when the input has ended.
    pub(super) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.tell_noise(&mut pieces);
        for open in [self.reply.take(), self.command.take()].into_iter().flatten() {
            let detail = format!("a frame is cut off after {} bytes", open.len());
            pieces.push(Piece::Broken(FaultKind::Framing, detail));
        }
        pieces
    }

    fn push(&mut self, byte: u8, pieces: &mut Vec<Piece>) {
        match byte {
            0x80.. | 0x11 | 0x13 => {}
            SOH => {
                self.tell_noise(pieces);
                Self::tear(&mut self.command, pieces);
                Self::tear(&mut self.reply, pieces);
                self.reply = Some(vec![SOH]);
            }
            ESC => {
                self.tell_noise(pieces);
                Self::tear(&mut self.command, pieces);
                self.command = Some(vec![ESC]);
            }
            0x18 => {
                if let Some(open) = self.command.take().or_else(|| self.reply.take()) {
                    let detail = format!("the device called a frame off (CAN) after {} bytes", open.len());
                    pieces.push(Piece::Broken(FaultKind::Framing, detail));
                }
            }
            b'\r' => match self.command.take().or_else(|| self.reply.take()) {
                Some(span) => pieces.push(read(&span)),
                None => self.outside = self.outside.saturating_add(1),
            },
            // A capture that went through a terminal has it behind CR.
            b'\n' if self.command.is_none() && self.reply.is_none() => {}
            _ => self.extend(byte, pieces),
        }
    }

    fn extend(&mut self, byte: u8, pieces: &mut Vec<Piece>) {
        let open = if self.command.is_some() { &mut self.command } else { &mut self.reply };
        let Some(span) = open else {
            self.outside = self.outside.saturating_add(1);
            return;
        };
        span.push(byte);
        if span.len() > LONGEST {
            let detail = format!("a frame does not end within {} bytes", span.len());
            pieces.push(Piece::Broken(FaultKind::Framing, detail));
            *open = None;
        }
    }

    fn tell_noise(&mut self, pieces: &mut Vec<Piece>) {
        let count = std::mem::take(&mut self.outside);
        if count > 0 {
            pieces.push(Piece::Broken(FaultKind::Framing, format!("{count} bytes belong to no frame")));
        }
    }

    fn tear(open: &mut Option<Vec<u8>>, pieces: &mut Vec<Piece>) {
        if let Some(span) = open.take() {
            let detail = format!("a frame of {} bytes has no end", span.len());
            pieces.push(Piece::Broken(FaultKind::Framing, detail));
        }
    }
}

fn read(span: &[u8]) -> Piece {
    let length = span.len();
    let parts = length.checked_sub(2).and_then(|at| span.split_at_checked(at));
    let Some(([start, code, data @ ..], check)) = parts else {
        return Piece::Broken(FaultKind::Framing, format!("a frame of {length} bytes is too short"));
    };
    let is_command = *start == ESC;
    let sum = span.iter().take(length - 2).fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    if hex_digits(sum) == check {
        return Piece::Frame(Frame { is_command, code: *code, data: data.to_vec() });
    }
    if is_command && check.iter().all(u8::is_ascii_hexdigit) {
        return Piece::CorruptCommand;
    }
    Piece::Broken(FaultKind::Checksum, format!("the checksum of a frame of {length} bytes is wrong"))
}

fn hex_digits(sum: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [sum >> 4, sum & 0xF].map(|digit| DIGITS.get(usize::from(digit)).copied().unwrap_or(b'?'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(start: u8, code: u8, data: &[u8]) -> Vec<u8> {
        let body = [&[start, code], data].concat();
        let sum = body.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 256;
        [body, format!("{sum:02X}\r").into_bytes()].concat()
    }

    fn frames(pieces: Vec<Piece>) -> Vec<(bool, u8, String)> {
        pieces
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Frame(Frame { is_command, code, data }) => {
                    Some((is_command, code, String::from_utf8(data).unwrap()))
                }
                Piece::CorruptCommand | Piece::Broken(..) => None,
            })
            .collect()
    }

    #[test]
    fn published_frames_are_whole() {
        let published = b"\x1BQ6C\r\x1B04B\r\x01Q52\r\x01031\r\x1BR6D\r\x01\x1516\r\x1BU70\r";
        let pieces = Framer::default().take(published);
        assert_eq!(frames(pieces).iter().map(|frame| frame.1).collect::<Vec<_>>(), b"Q0Q0R\x15U");
    }

    #[test]
    fn a_command_within_a_reply_leaves_the_reply_whole() {
        let reply = frame(SOH, 0x24, b"07 1.2");
        for at in 2..reply.len() {
            let (head, tail) = reply.split_at(at);
            let mixed = [head, &frame(ESC, 0x52, b""), tail].concat();
            let read = frames(Framer::default().take(&mixed));
            assert_eq!(read, [(true, 0x52, String::new()), (false, 0x24, "07 1.2".to_owned())], "at {at}");
        }
    }

    #[test]
    fn a_corrupt_command_within_a_reply_leaves_the_reply_whole() {
        let reply = frame(SOH, 0x24, b"07 1.2");
        let (head, tail) = reply.split_at(4);
        let pieces = Framer::default().take(&[head, b"\x1BR6E\r", tail].concat());
        assert_eq!(pieces[0], Piece::CorruptCommand);
        assert_eq!(frames(pieces), [(false, 0x24, "07 1.2".to_owned())]);
    }

    #[test]
    fn a_torn_reply_costs_only_itself() {
        let whole = frame(SOH, 0x27, b"");
        let pieces = Framer::default().take(&[b"\x01$07 1".as_slice(), &whole, &whole].concat());
        assert_eq!(frames(pieces).len(), 2);
    }

    proptest! {
        #[test]
        fn the_stream_and_the_cuts_change_nothing(
            data in "[ -~]{0,60}", stream in proptest::collection::vec((any::<proptest::sample::Index>(), 0x80u8..), 0..40)
        ) {
            let mut mixed = frame(SOH, 0x24, data.as_bytes());
            for (at, byte) in stream {
                mixed.insert(at.index(mixed.len()), byte);
            }
            mixed.insert(3, 0x11);
            let mut framer = Framer::default();
            let pieces = mixed.iter().flat_map(|byte| framer.take(&[*byte])).collect();
            prop_assert_eq!(frames(pieces), [(false, 0x24, data)]);
        }

        #[test]
        fn no_changed_byte_passes(data in "[ -~]{1,40}", at in any::<proptest::sample::Index>(), to in 0x20u8..0x7F) {
            let mut span = frame(SOH, 0x24, data.as_bytes());
            let at = at.index(span.len() - 1);
            prop_assume!(span[at] != to);
            span[at] = to;
            prop_assert_eq!(frames(Framer::default().take(&span)), []);
        }

        #[test]
        fn nothing_panics_or_hoards(bytes in proptest::collection::vec(any::<u8>(), 0..9_000)) {
            let mut framer = Framer::default();
            framer.take(&bytes);
            let held = [&framer.reply, &framer.command].into_iter().flatten().map(Vec::len).sum::<usize>();
            prop_assert!(held <= 2 * LONGEST);
            framer.finish();
        }
    }
}
