//! The line: `ENQ`, `EOT` and frames `STX FN text ETX|ETB C1 C2 CR LF` (E1381 / LIS1-A).
//!
//! In: bytes, cut anywhere. Out: [`Piece`]s. How the bytes were cut never changes what comes out,
//! but time may: what stands at the end of the bytes so far is told by [`Wire::finish`], which the
//! driver calls when the line has been quiet for a while.
//!
//! A frame is whole only with its line end behind it: who answers while the analyser still sends
//! gives an answer that it takes for that of the next frame. Where an analyser leaves CR or LF out,
//! the next byte, or the quiet, ends it.
//!
//! Inside a frame `ENQ` and `EOT` may be damaged text or an analyser that begins anew. Silence
//! tells them apart: they count only where a frame's beginning or nothing follows them.
//!
//! The checksum was reckoned anew wherever one is public with its text. The frames in the tests of
//! `python-astm` and `astmio` (BSD) are among the vectors. Of the captures of `senaite.astm` (GPLv2, so none
//! of their text is here) those of Afinion 2 (`F2`), DCA Vantage (`43`), cobas c311 (`06`) and c111 (`D6`),
//! XP-100 (`57`), XN-550 (`C5`), `GeneXpert` (`42`), all 28 frames of Pentra XLR and the last 11 of Yumizen
//! H500 are right, with a CR behind each record but the last one of c111. Not reckoned, or not right as
//! published:
//!
//! - the other frames of Yumizen H500 (32 kB in all); mini VIDAS and Spotchem EL send no such frames;
//! - one of 48 frames of an XN-550 that sends each record in its own, the patient's: over the text as
//!   published it would be `98`, and `94` stands there;
//! - `CF`, which `python-astm` gives for a name in Chinese: it adds characters, and a line has bytes (`4B`);
//! - `2F` behind `2A|0` with ETB in the tests of `astmio`: it is that of ETX, with ETB it would be `43`.

use std::collections::VecDeque;

pub(super) const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const EOT: u8 = 0x04;
const ENQ: u8 = 0x05;
const ACK: u8 = 0x06;
const NAK: u8 = 0x15;
const ETB: u8 = 0x17;

/// What came over the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The analyser wants to send.
    Enq,
    /// The analyser has ended.
    Eot,
    /// A frame whose checksum is right.
    Frame(Frame),
    /// A frame that is none.
    Broken(Defect),
    /// So many bytes outside any frame, and whether the end of a frame is among them: then its
    /// beginning was lost, and the analyser waits for an answer.
    Noise(usize, bool),
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// 0 to 7.
    pub(super) number: u8,
    /// What it carries.
    pub(super) text: Vec<u8>,
    /// Whether it ends in ETX: the records in it end with it. With ETB the text goes on.
    pub(super) is_last: bool,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Its checksum is another, or no hex digits stand where it should be.
    Checksum,
    /// Its number is not one of 0 to 7.
    Number,
    /// It does not end.
    CutOff,
    /// It is longer than any frame of this analyser may be.
    TooLong,
}

/// Where in a frame the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Outside,
    Inside,
    /// Behind ETX or ETB; the checksum's first digit comes.
    Sum,
    /// Its second.
    SecondSum,
    /// Behind the checksum; CR and LF come.
    Tail,
}

/// The framer.
#[derive(Debug)]
pub(super) struct Wire {
    longest: usize,
    at: At,
    /// From the frame number on, the checksum included.
    held: Vec<u8>,
    noise: usize,
    has_noise_end: bool,
    ready: VecDeque<Piece>,
}

impl Wire {
    /// A framer for frames of at most so many bytes of text.
    pub(super) const fn new(longest: usize) -> Self {
        Self {
            longest,
            at: At::Outside,
            held: Vec::new(),
            noise: 0,
            has_noise_end: false,
            ready: VecDeque::new(),
        }
    }

    /// Forgets everything that it holds.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.longest);
    }

    /// Whether a frame has begun and not come to its checksum yet.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self.at, At::Inside | At::Sum | At::SecondSum)
    }

    /// Whether something waits for the next byte, or for [`Wire::finish`].
    pub(super) fn is_waiting(&self) -> bool {
        self.at != At::Outside || self.noise > 0
    }

    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Piece> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(piece);
            }
            let (&byte, rest) = input.split_first()?;
            *input = rest;
            self.push(byte);
        }
    }

    /// Says what stands at the end when nothing more comes. To be called until it gives `None`.
    pub(super) fn finish(&mut self) -> Option<Piece> {
        match self.at {
            At::Outside => self.end_noise(),
            At::Inside | At::Sum | At::SecondSum => self.cut_off(),
            At::Tail => self.end_frame(),
        }
        self.ready.pop_front()
    }

    fn push(&mut self, byte: u8) {
        match (self.at, byte) {
            (At::Tail, b'\r') => {}
            (At::Tail, b'\n') => self.end_frame(),
            (At::Tail, _) => {
                self.end_frame();
                self.push_outside(byte);
            }
            (At::Outside, _) => self.push_outside(byte),
            (At::Inside | At::Sum | At::SecondSum, STX) => {
                self.cut_off();
                self.at = At::Inside;
            }
            (At::Inside, _) => self.push_inside(byte),
            (At::Sum | At::SecondSum, _) => {
                self.held.push(byte);
                self.at = if self.at == At::Sum { At::SecondSum } else { At::Tail };
            }
        }
    }

    fn push_outside(&mut self, byte: u8) {
        match byte {
            STX => {
                self.end_noise();
                self.at = At::Inside;
            }
            ENQ | EOT => {
                self.end_noise();
                self.ready.push_back(if byte == ENQ { Piece::Enq } else { Piece::Eot });
            }
            // Line ends between frames; the host's side of a capture of both.
            b'\r' | b'\n' | ACK | NAK if self.noise == 0 => {}
            _ => {
                self.noise = self.noise.saturating_add(1);
                self.has_noise_end |= matches!(byte, ETX | ETB);
            }
        }
    }

    fn push_inside(&mut self, byte: u8) {
        // The number stands before the text.
        if self.held.len() > self.longest {
            self.held.clear();
            self.at = At::Outside;
            self.ready.push_back(Piece::Broken(Defect::TooLong));
            return;
        }
        self.held.push(byte);
        if matches!(byte, ETX | ETB) {
            self.at = At::Sum;
        }
    }

    fn end_noise(&mut self) {
        let count = std::mem::take(&mut self.noise);
        let has_end = std::mem::take(&mut self.has_noise_end);
        if count > 0 {
            self.ready.push_back(Piece::Noise(count, has_end));
        }
    }

    /// The frame was left; ENQ or EOT as its last byte was meant.
    fn cut_off(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.at = At::Outside;
        self.ready.push_back(Piece::Broken(Defect::CutOff));
        match held.last() {
            Some(&ENQ) => self.ready.push_back(Piece::Enq),
            Some(&EOT) => self.ready.push_back(Piece::Eot),
            Some(_) | None => {}
        }
    }

    fn end_frame(&mut self) {
        self.at = At::Outside;
        let held = std::mem::take(&mut self.held);
        self.ready.push_back(read(&held).map_or_else(Piece::Broken, Piece::Frame));
    }
}

/// Reads number, text, end and checksum.
fn read(held: &[u8]) -> Result<Frame, Defect> {
    let (summed, sum) = held.split_last_chunk::<2>().ok_or(Defect::Checksum)?;
    let [high, low] = sum.map(|digit| char::from(digit).to_digit(16));
    let said = high.zip(low).map(|(high, low)| high * 16 + low).ok_or(Defect::Checksum)?;
    if said != u32::from(checksum(summed)) {
        return Err(Defect::Checksum);
    }
    match summed {
        [number @ b'0'..=b'7', text @ .., end] => {
            Ok(Frame { number: number - b'0', text: text.to_vec(), is_last: *end == ETX })
        }
        _ => Err(Defect::Number),
    }
}

/// The sum of all bytes from the frame number to ETX or ETB, both included, modulo 256.
pub(super) fn checksum(summed: &[u8]) -> u8 {
    summed.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}
