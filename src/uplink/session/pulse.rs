//! When the next heartbeat goes out, and the next notice.
//!
//! At once after connecting, then at a steady pace; the next only after the last was answered, so none
//! ever waits behind another. A heartbeat is no alarm: it takes a place in the window like a reading does,
//! and waits like one. A notice, whatever it says, keeps to the same rules, but goes when there is one and not
//! at a pace.

use std::time::Duration;

use super::{Session, Stream};
use crate::time::Mono;

/// How long a heartbeat waits for the alarm lane to be drained. Beyond that it goes between two alarms:
/// an alarm lane that cannot be drained is what a heartbeat is to tell of.
const WAITS_FOR_ALARMS: Duration = Duration::from_secs(5);

/// The pace.
#[derive(Debug)]
pub(super) struct Pulse {
    /// `None`: there are no heartbeats.
    every: Option<Duration>,
    due: Option<Mono>,
    flying: Option<Mono>,
}

impl Pulse {
    pub(super) const fn new(every: Option<Duration>) -> Self {
        Self { every, due: None, flying: None }
    }

    /// A connection came up.
    pub(super) fn handle_connected(&mut self, now: Mono) {
        self.due = self.every.map(|_| now);
    }

    /// The connection is gone (or was given up and made anew): so is what was to be answered on it.
    pub(super) fn handle_restart(&mut self, connected: bool) {
        self.flying = None;
        self.due = self.due.filter(|_| connected);
    }

    /// One waits to go out.
    fn ask(&mut self, now: Mono) {
        self.due.get_or_insert(now);
    }

    /// From when on one may start, as things are with the alarms.
    pub(super) fn may_start_at(&self, alarms_drained: bool) -> Option<Mono> {
        let due = self.due.filter(|_| self.flying.is_none())?;
        Some(if alarms_drained { due } else { due + WAITS_FOR_ALARMS })
    }

    /// One goes out.
    pub(super) fn start(&mut self, now: Mono) {
        self.flying = Some(now);
        self.due = self.every.map(|every| now + every);
    }

    /// It was answered.
    pub(super) fn handle_answer(&mut self) {
        self.flying = None;
    }

    /// Since when one waits for its answer.
    pub(super) const fn flying(&self) -> Option<Mono> {
        self.flying
    }
}

impl Session {
    /// Whether a heartbeat is to go out now. The caller then sends one, and calls
    /// [`Session::handle_heartbeat`] when it is answered.
    pub fn poll_heartbeat(&mut self, now: Mono) -> bool {
        let starts = self.start_at(&self.pulse).is_some_and(|at| at <= now);
        if starts {
            self.pulse.start(now);
        }
        starts
    }

    /// Takes the PUBACK of a heartbeat, whatever it says: the next one is a new one.
    pub fn handle_heartbeat(&mut self) {
        self.pulse.handle_answer();
    }

    /// Whether the notice that waits is to go out now. The caller then sends it, and calls
    /// [`Session::handle_notice`] when it is answered or could not be sent.
    pub fn poll_notice(&mut self, now: Mono) -> bool {
        self.notice.ask(now);
        let starts = self.start_at(&self.notice).is_some_and(|at| at <= now);
        if starts {
            self.notice.start(now);
        }
        starts
    }

    /// Takes the PUBACK of a notice, whatever it says.
    pub fn handle_notice(&mut self) {
        self.notice.handle_answer();
    }

    /// From when on one may start, if nothing changes.
    pub(super) fn start_at(&self, pulse: &Pulse) -> Option<Mono> {
        if !self.connected || !self.queue(Stream::Alarm).is_empty() || self.is_full() {
            return None;
        }
        pulse.may_start_at(self.alarms_drained)
    }
}
