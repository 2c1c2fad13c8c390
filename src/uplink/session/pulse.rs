//! When the next heartbeat goes out.
//!
//! At once after connecting, then at a steady pace; the next only after the last was answered, so none
//! ever waits behind another. A heartbeat is no alarm: it takes a place in the window like a reading does,
//! and waits like one.

use std::time::Duration;

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
