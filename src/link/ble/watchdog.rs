//! When a radio that hears nothing is helped, and how: decided here, done in the central.
//!
//! In: that an advertisement was heard, that a link delivered, how many of the listed devices are
//! connected, whether the scan could be started, and `now`. Out: steps, each harder than the one before: the scan
//! is started again, the adapter is switched off and on, somebody with the right to do so is asked to
//! reset the USB device. Scans are known to stop without a word (bluez issues 1126 and 1554, btleplug
//! issue 332).
//!
//! A period without a word is needed for each step. After the last one it begins anew, with a pause
//! that grows: a place where nothing is on the air must not be switched off and on for ever.
//!
//! What never happens: a step while every listed device is connected, as nothing is missed then; a
//! power cycle or a reset while a device is connected and the scan can be started, however quiet the device:
//! a radio that is deaf altogether would have lost it within the supervision timeout, so the scan alone is
//! started again. Nor while a link delivers, whatever becomes of the scan.

use std::time::Duration;

use crate::backoff::{Backoff, Bounds, Random};
use crate::time::Mono;

/// The pause after a whole ladder, and how long the radio must hear before the pause is short again.
const PAUSE: Bounds = Bounds {
    first: Duration::from_secs(5 * 60),
    most: Duration::from_secs(6 * 3_600),
    healthy_after: Duration::from_secs(30 * 60),
};

/// How soon a scan that could not be started is tried again: `bluetoothd` answers `InProgress` and
/// `NotReady` for as long as it is busy with the adapter, about a second.
const START_AGAIN: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Stop the scan and start it again.
    RestartScan,
    /// Switch the adapter off and on again.
    PowerCycle,
    /// Ask for a reset of the adapter's USB device.
    AskUsbReset,
}

/// How often each step was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) restarts: u64,
    pub(super) power_cycles: u64,
    pub(super) usb_resets_asked: u64,
}

/// The state of one adapter's watch.
pub(super) struct Watchdog {
    period: Duration,
    next: Step,
    /// From when on the silence counts: the last advertisement, step or start.
    since: Mono,
    /// On top of the period, after a whole ladder.
    pause: Duration,
    start_again: Option<Mono>,
    /// The last start of the scan did not succeed.
    is_refused: bool,
    connected: usize,
    listed: usize,
    delivered: Option<Mono>,
    heard: Option<Mono>,
    is_hearing: bool,
    wants_usb_reset: bool,
    backoff: Backoff,
    counts: Counts,
}

impl Watchdog {
    /// A watch over so many listed devices, which takes a step after each `period` of silence.
    pub(super) const fn new(period: Duration, listed: usize, now: Mono) -> Self {
        Self {
            period,
            next: Step::RestartScan,
            since: now,
            pause: Duration::ZERO,
            start_again: None,
            is_refused: false,
            connected: 0,
            listed,
            delivered: None,
            heard: None,
            is_hearing: false,
            wants_usb_reset: false,
            backoff: Backoff::new(PAUSE),
            counts: Counts { restarts: 0, power_cycles: 0, usb_resets_asked: 0 },
        }
    }

    /// Anybody was heard, listed or not.
    pub(super) fn handle_advert(&mut self, now: Mono) {
        self.heard = Some(now);
        self.since = now;
        self.next = Step::RestartScan;
        self.pause = Duration::ZERO;
        self.start_again = None;
        self.wants_usb_reset = false;
        if !std::mem::replace(&mut self.is_hearing, true) {
            self.backoff.handle_up(now);
        }
    }

    /// A link came up, or something came over one.
    pub(super) fn handle_delivery(&mut self, now: Mono) {
        self.delivered = Some(now);
    }

    /// So many of the listed devices are connected.
    pub(super) fn handle_connected(&mut self, connected: usize, now: Mono) {
        // While nothing was missed nothing could be silent.
        if !self.is_missing_some() {
            self.since = self.since.max(now);
        }
        self.connected = connected;
    }

    /// So many devices are listed from now on.
    pub(super) fn handle_listed(&mut self, listed: usize, now: Mono) {
        // While nothing was missed nothing could be silent.
        if !self.is_missing_some() {
            self.since = self.since.max(now);
        }
        self.listed = listed;
    }

    /// The scan was started, or could not be.
    pub(super) fn handle_scan(&mut self, started: Result<(), ()>, now: Mono) {
        self.is_refused = started.is_err();
        match started {
            // The silence before was no silence of this scan.
            Ok(()) => (self.since, self.start_again) = (self.since.max(now), None),
            // The rest of the ladder does not wait for a scan that cannot be started.
            Err(()) => self.start_again = Some(now + START_AGAIN),
        }
    }

    /// The step that is due, if one is. It counts as taken.
    pub(super) fn poll_step(&mut self, now: Mono, random: &mut dyn Random) -> Option<Step> {
        if self.start_again.is_some_and(|at| at <= now) {
            self.start_again = None;
            self.counts.restarts += 1;
            return Some(Step::RestartScan);
        }
        if self.due().is_none_or(|at| now < at) {
            return None;
        }
        self.since = now;
        self.pause = Duration::ZERO;
        if self.next != Step::RestartScan && self.is_of_use(now) {
            self.counts.restarts += 1;
            return Some(Step::RestartScan);
        }
        let step = self.next;
        match step {
            Step::RestartScan => {
                self.counts.restarts += 1;
                self.next = Step::PowerCycle;
            }
            Step::PowerCycle => {
                self.counts.power_cycles += 1;
                self.next = Step::AskUsbReset;
            }
            Step::AskUsbReset => {
                self.counts.usb_resets_asked += 1;
                self.next = Step::RestartScan;
                self.is_hearing = false;
                self.wants_usb_reset = true;
                self.pause = self.backoff.handle_failure(now, random);
            }
        }
        Some(step)
    }

    /// When to ask for the next step; `None` while there is nothing to wait for.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.due().into_iter().chain(self.start_again).min()
    }

    /// When somebody was last heard.
    pub(super) const fn heard(&self) -> Option<Mono> {
        self.heard
    }

    /// Whether a reset was asked for and nothing was heard since.
    pub(super) const fn wants_usb_reset(&self) -> bool {
        self.wants_usb_reset
    }

    /// How often each step was taken.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    fn due(&self) -> Option<Mono> {
        self.is_missing_some().then(|| self.since + self.period + self.pause)
    }

    const fn is_missing_some(&self) -> bool {
        self.connected < self.listed
    }

    /// Whether the radio serves a connection that a harder step would cut.
    fn is_of_use(&self, now: Mono) -> bool {
        let is_delivering = self.delivered.is_some_and(|at| now.since(at) < self.period);
        self.connected > 0 && (!self.is_refused || is_delivering)
    }
}

#[cfg(test)]
mod tests;
