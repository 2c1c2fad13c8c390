//! From a stream of bytes to frames, and back into step after noise.
//!
//! In: bytes, any number, cut anywhere. Out: [`Piece`]s: whole frames, and what was not one. A
//! framer holds at most [`Delimited::bound`] or [`Measured::bound`] bytes, whatever comes in, and how
//! the bytes were cut never changes what comes out.
//!
//! What never happens: noise before a good frame makes the framer lose it. A span that ends where
//! a frame could end is tried from every place where one could have begun, the earliest first, and
//! the protocol's own check decides; so a torn frame, a start byte out of the air or an endless run
//! of bytes costs only itself.

/// What a framer makes of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame: from its start byte (if the protocol has one) up to its end byte, which is
    /// left out.
    Frame(Vec<u8>),
    /// What looked like a frame and was not one.
    Broken(Vec<u8>, Break),
    /// So many bytes that belong to no frame.
    Noise(usize),
}

/// Why a span is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// It ended, but the protocol's check refuses it.
    Refused,
    /// It is longer than any frame of the protocol.
    TooLong,
    /// The other side called it off.
    Aborted,
    /// The input ended within it.
    CutOff,
}

/// How frames of a protocol are told apart by bytes that stand at their ends.
#[derive(Clone, Copy, Debug)]
pub struct Delimiters {
    /// The byte that begins a frame; without one a frame begins where the last one ended.
    pub start: Option<u8>,
    /// The bytes of which each ends a frame.
    pub ends: &'static [u8],
    /// The byte that calls off the frame in which it stands.
    pub abort: Option<u8>,
    /// The longest frame, in bytes, its end left out.
    pub longest: usize,
    /// Whether a span is a whole frame: checksum, if there is one, and form.
    pub is_whole: fn(&[u8]) -> bool,
}

/// A framer for protocols whose frames end in a certain byte.
#[derive(Debug)]
pub struct Delimited {
    delimiters: Delimiters,
    span: Vec<u8>,
    outside: usize,
}

impl Delimited {
    /// An empty framer.
    pub const fn new(delimiters: Delimiters) -> Self {
        Self { delimiters, span: Vec::new(), outside: 0 }
    }

    /// The most bytes that it ever holds. Twice the longest frame: when a run of bytes has no end,
    /// the older half goes, so that a frame that began in the younger one is not lost.
    pub const fn bound(&self) -> usize {
        2 * self.delimiters.longest
    }

    /// How many bytes it holds.
    pub const fn held(&self) -> usize {
        self.span.len()
    }

    /// Forgets everything that it holds.
    pub fn reset(&mut self) {
        self.span.clear();
        self.outside = 0;
    }

    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Piece> {
        while let Some((&byte, rest)) = input.split_first() {
            if self.delimiters.ends.contains(&byte) && !self.span.is_empty() {
                let piece = self.end();
                // A broken stretch before a good frame is told first; the end byte stays for it.
                if self.span.is_empty() {
                    *input = rest;
                }
                return Some(piece);
            }
            *input = rest;
            if let Some(piece) = self.push(byte) {
                return Some(piece);
            }
        }
        None
    }

    /// Says what is left when the input has ended.
    pub fn finish(&mut self) -> Option<Piece> {
        if !self.span.is_empty() {
            return Some(Piece::Broken(std::mem::take(&mut self.span), Break::CutOff));
        }
        (self.outside > 0).then(|| Piece::Noise(std::mem::take(&mut self.outside)))
    }

    fn push(&mut self, byte: u8) -> Option<Piece> {
        if self.delimiters.abort == Some(byte) {
            let called_off = std::mem::take(&mut self.span);
            return (!called_off.is_empty()).then_some(Piece::Broken(called_off, Break::Aborted));
        }
        if self.span.is_empty() {
            if self.delimiters.ends.contains(&byte) {
                return None;
            }
            if !self.may_start(byte) {
                self.outside = self.outside.saturating_add(1);
                return None;
            }
            self.span.push(byte);
            return (self.outside > 0).then(|| Piece::Noise(std::mem::take(&mut self.outside)));
        }
        self.span.push(byte);
        if self.span.len() < self.bound() {
            return None;
        }
        let kept_from = (self.delimiters.longest..self.span.len())
            .find(|&at| self.span.get(at).is_some_and(|&byte| self.may_start(byte)))
            .unwrap_or(self.span.len());
        let kept = self.span.split_off(kept_from);
        Some(Piece::Broken(std::mem::replace(&mut self.span, kept), Break::TooLong))
    }

    /// The span has come to an end byte: a frame, or a broken stretch with perhaps a frame behind.
    fn end(&mut self) -> Piece {
        let begins = (0..self.span.len()).find(|&at| {
            self.span.get(at..).is_some_and(|tail| {
                tail.first().is_some_and(|&byte| self.may_start(byte))
                    && tail.len() <= self.delimiters.longest
                    && (self.delimiters.is_whole)(tail)
            })
        });
        match begins {
            Some(0) => Piece::Frame(std::mem::take(&mut self.span)),
            Some(at) => {
                let frame = self.span.split_off(at);
                Piece::Broken(std::mem::replace(&mut self.span, frame), Break::Refused)
            }
            None => Piece::Broken(std::mem::take(&mut self.span), Break::Refused),
        }
    }

    fn may_start(&self, byte: u8) -> bool {
        self.delimiters.start.is_none_or(|start| start == byte)
    }
}

/// What stands at the front of the bytes so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Perhaps a frame, but more bytes are needed to say.
    More,
    /// A whole frame of so many bytes, checksum and all.
    Frame(usize),
    /// No frame begins at the first byte.
    Nothing,
}

/// A framer for protocols whose frames say how long they are, or are all of one length.
///
/// A byte out of the air can look like the head of a long frame; then a good frame behind it comes
/// out only when enough bytes have come to see through it. It is late, never lost.
#[derive(Debug)]
pub struct Measured {
    longest: usize,
    measure: fn(&[u8]) -> Measure,
    held: Vec<u8>,
    noise: usize,
}

impl Measured {
    /// An empty framer for frames of at most `longest` bytes.
    pub const fn new(longest: usize, measure: fn(&[u8]) -> Measure) -> Self {
        Self { longest, measure, held: Vec::new(), noise: 0 }
    }

    /// The most bytes that it ever holds.
    pub const fn bound(&self) -> usize {
        self.longest
    }

    /// How many bytes it holds.
    pub const fn held(&self) -> usize {
        self.held.len()
    }

    /// Forgets everything that it holds.
    pub fn reset(&mut self) {
        self.held.clear();
        self.noise = 0;
    }

    /// Takes bytes off the front of `input` until there is something to say. `None`: all taken.
    pub fn take(&mut self, input: &mut &[u8]) -> Option<Piece> {
        loop {
            match (self.measure)(&self.held) {
                Measure::Frame(length) if length > 0 && length <= self.held.len() => {
                    if self.noise > 0 {
                        return Some(Piece::Noise(std::mem::take(&mut self.noise)));
                    }
                    let rest = self.held.split_off(length);
                    return Some(Piece::Frame(std::mem::replace(&mut self.held, rest)));
                }
                Measure::More | Measure::Frame(_) if self.held.len() < self.longest => {
                    let (&byte, rest) = input.split_first()?;
                    *input = rest;
                    self.held.push(byte);
                }
                Measure::Nothing if self.held.is_empty() => {
                    let (&byte, rest) = input.split_first()?;
                    *input = rest;
                    self.held.push(byte);
                }
                Measure::More | Measure::Frame(_) | Measure::Nothing => {
                    self.held.remove(0);
                    self.noise = self.noise.saturating_add(1);
                }
            }
        }
    }

    /// Says what is left when the input has ended.
    pub fn finish(&mut self) -> Option<Piece> {
        if self.noise > 0 {
            return Some(Piece::Noise(std::mem::take(&mut self.noise)));
        }
        (!self.held.is_empty()).then(|| Piece::Broken(std::mem::take(&mut self.held), Break::CutOff))
    }
}

#[cfg(test)]
mod tests;
