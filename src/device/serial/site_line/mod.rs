//! ASCII devices that nobody wrote a driver for: read by a description in the configuration of the site.
//!
//! In: lines, and a [`Description`] of them. Out: what the description makes of them, every observation with
//! [`Quality::SITE_CONFIGURED`], which travels with the record in every format; and the driver's name, which the
//! device's card carries, begins with `site:`. Both say: not this program vouches for what it means, but who wrote
//! the description.
//!
//! What is sent is what the description lists, byte for byte, and nothing else (see [`RawDescription::judge`] for what it may
//! list). Whoever writes a poll answers for what the device does with it.
//!
//! A line counts only when all of it is as described. Without a checksum a digit that the line turned into another
//! digit passes, and so does a digit that is lost: `pieces`, suffixes and columns in the description make that
//! rarer. Where a line tells the serial number, nothing is told before it is known on this connection, nor after
//! a poll without an answer or half an hour until it was told again; another number counts only when two lines in a row have it, unless lines have
//! a checksum. Lines that do not carry the number themselves are told under the last one: a cable that moves to
//! another device is seen when that tells its own.
//!
//! What never happens: an observation that does not say that the site described it; a word that the description does
//! not list, so no text of a patient; a fault that holds what the device said.

mod describe;
mod judge;
mod judge_lines;
mod raw;
mod read;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::framing::{Break, Delimited, Piece};
#[cfg(doc)]
use crate::device::observation::Quality;
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{LinkCommand, LinkEvent, RequestId};
use crate::time::{Mono, Now};
use describe::Checksum;
use read::{Read, Said};

pub use describe::Description;
pub use judge::{PREFIX, Problem};
pub use raw::{RawDescription, RawField, RawFrame, RawLine, RawPoll};

/// How long everything is thrown away after `Up` by a device that is polled.
const SETTLE: Duration = Duration::from_millis(500);

/// How long an answer to a poll may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a serial number holds without being told again.
const SERIAL_HOLDS: Duration = Duration::from_secs(1_800);

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// Connected; the line is opened again when nothing whole comes until then.
    Connected { quiet_until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct SiteLine {
    description: &'static Description,
    framer: Delimited,
    phase: Phase,
    /// Whether the next line may be the tail of one that began before the connection.
    is_first_line: bool,
    /// When each poll is due.
    due: Vec<Mono>,
    /// Until when the answer to a poll is waited for.
    waiting: Option<Mono>,
    /// Who speaks, and until when that holds.
    known: Option<(Identity, Mono)>,
    /// Somebody else, whom one line alone named.
    doubtful: Option<Identity>,
    actions: VecDeque<Action>,
}

impl SiteLine {
    fn new(description: &'static Description) -> Self {
        Self {
            description,
            framer: Delimited::new(read::delimiters(description)),
            phase: Phase::Listening,
            is_first_line: false,
            due: Vec::new(),
            waiting: None,
            known: None,
            doubtful: None,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        *self = Self::new(self.description);
        self.is_first_line = true;
        self.phase = if self.description.polls.is_empty() {
            Phase::Connected { quiet_until: now + self.description.quiet }
        } else {
            Phase::Settling { until: now + SETTLE }
        };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        if matches!(self.phase, Phase::Closed | Phase::Settling { .. }) {
            return;
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, now, &mut faults);
        }
        self.actions.extend(faults.into_actions());
        self.ask_next(now);
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        let may_be_a_tail = std::mem::take(&mut self.is_first_line);
        match piece {
            Piece::Frame(span) => {
                // What shows that a line is whole: a start byte, a checksum, or its beginning.
                let has_mark =
                    self.description.start.is_some() || self.description.checksum != Checksum::None;
                let is_unmarked =
                    !has_mark && self.description.lines.iter().any(|line| line.starts.is_empty());
                match read::read(self.description, span) {
                    Read::Line(_) if may_be_a_tail && is_unmarked => {}
                    Read::Line(said) => self.handle_line(said, now, faults),
                    Read::Ignored => self.handle_life(now),
                    Read::Unknown | Read::Bad(_) if may_be_a_tail => {}
                    Read::Unknown => faults.add(FaultKind::Unexpected, "a line that is not described"),
                    Read::Bad(why) => faults.add(FaultKind::Malformed, why),
                }
            }
            Piece::Broken(..) if may_be_a_tail => {}
            Piece::Broken(span, why) => {
                let length = span.len();
                match why {
                    Break::Refused if self.description.checksum != Checksum::None => {
                        faults.add(FaultKind::Checksum, format!("the checksum of {length} bytes is wrong"));
                    }
                    Break::Refused => {
                        faults.add(FaultKind::Framing, format!("{length} bytes are no line of text"));
                    }
                    Break::TooLong | Break::Aborted => {
                        let detail =
                            format!("no end of line in {length} bytes: check `ends` and the baud rate");
                        faults.add(FaultKind::Framing, detail);
                    }
                    Break::CutOff => {
                        faults.add(FaultKind::Framing, format!("a line is cut off after {length} bytes"));
                    }
                }
            }
            Piece::Noise(count) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no line"));
            }
        }
    }

    /// Something whole came.
    fn handle_life(&mut self, now: Mono) {
        self.waiting = None;
        if let Phase::Connected { quiet_until } = &mut self.phase {
            *quiet_until = now + self.description.quiet;
        }
    }

    fn handle_line(&mut self, said: Said, now: Mono, faults: &mut Faults) {
        self.handle_life(now);
        if !self.is_from_known(said.serial, now, faults) {
            return;
        }
        self.actions.extend(said.observations.into_iter().map(Action::observe));
    }

    /// Whether it is known whose line it is.
    fn is_from_known(&mut self, serial: Option<String>, now: Mono, faults: &mut Faults) -> bool {
        if !self.description.states_serial() {
            if self.known.is_none() {
                self.identify(Identity::default(), now);
            }
            return true;
        }
        let Some(serial) = serial else {
            let holds = self.known.as_ref().is_some_and(|(_, until)| now < *until) && self.doubtful.is_none();
            if !holds {
                faults.add(FaultKind::Unexpected, "a line before the serial number is known: not passed on");
            }
            return holds;
        };
        let said = Identity { serial: Some(serial), ..Identity::default() };
        if let Some((_, until)) = self.known.as_mut().filter(|(known, _)| *known == said) {
            *until = now + SERIAL_HOLDS;
            self.doubtful = None;
            return true;
        }
        let is_sure = self.description.checksum != Checksum::None
            || self.known.is_none()
            || self.phase == Phase::Listening
            || self.doubtful.as_ref() == Some(&said);
        if !is_sure {
            self.doubtful = Some(said);
            faults.add(FaultKind::Unexpected, "a line has another serial number: held until the next one");
            return false;
        }
        self.identify(said, now);
        true
    }

    fn identify(&mut self, said: Identity, now: Mono) {
        self.doubtful = None;
        self.known = Some((said.clone(), now + SERIAL_HOLDS));
        self.actions.push_back(Action::identify(said));
    }

    /// In a silence the cable can have gone to another device: who it is has to be told again, so everything is
    /// asked again.
    fn doubt(&mut self, now: Mono) {
        if let Some((_, until)) = &mut self.known
            && self.description.states_serial()
        {
            *until = now;
            self.due.fill(now);
        }
    }

    /// Sends the poll that has been due for the longest, when no answer is waited for.
    fn ask_next(&mut self, now: Mono) {
        if self.waiting.is_some() || !matches!(self.phase, Phase::Connected { .. }) {
            return;
        }
        let due = self.due.iter().enumerate().filter(|(_, due)| **due <= now).min_by_key(|(_, due)| **due);
        let Some(place) = due.map(|(place, _)| place) else { return };
        let (Some(poll), Some(due)) = (self.description.polls.get(place), self.due.get_mut(place)) else {
            return;
        };
        *due = now + poll.every;
        self.waiting = Some(now + PATIENCE);
        if let Ok(id) = u8::try_from(place) {
            self.actions.push_back(Action::Command(LinkCommand::Send(RequestId(id))));
        }
    }

    fn report(&mut self, kind: FaultKind, detail: impl Into<String>) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }
}

impl Driver for SiteLine {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) if self.phase == Phase::Listening => {
                if let Some(piece) = self.framer.finish() {
                    let mut faults = Faults::default();
                    self.handle_piece(&piece, now.mono, &mut faults);
                    self.actions.extend(faults.into_actions());
                }
            }
            LinkEvent::Down(_) => self.phase = Phase::Closed,
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = now.mono;
        match self.phase {
            Phase::Settling { until } if until <= now => {
                self.phase = Phase::Connected { quiet_until: now + self.description.quiet };
                self.is_first_line = false;
                self.due = vec![now; self.description.polls.len()];
            }
            Phase::Connected { quiet_until } if quiet_until <= now => {
                let seconds = self.description.quiet.as_secs();
                self.report(
                    FaultKind::Timeout,
                    format!("no described line in {seconds} s, the line is opened again: check cable and description"),
                );
                self.actions.push_back(Action::Command(LinkCommand::HangUp));
                self.phase = Phase::Closed;
            }
            Phase::Connected { .. } if self.waiting.is_some_and(|until| until <= now) => {
                self.waiting = None;
                self.report(FaultKind::Timeout, "no described line came after a poll");
                self.doubt(now);
            }
            Phase::Listening | Phase::Settling { .. } | Phase::Connected { .. } | Phase::Closed => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } => Some(until),
            Phase::Connected { quiet_until } => {
                let next = self.waiting.or_else(|| self.due.iter().min().copied());
                Some(next.map_or(quiet_until, |next| next.min(quiet_until)))
            }
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
