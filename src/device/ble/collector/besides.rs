//! What goes on beside the values: the device's own clock, and what a decoder has to write.

use std::collections::BTreeSet;

use super::{Collector, Phase};
use crate::device::ble::clock;
use crate::device::ble::elapsed_time::{self, ElapsedClock};
use crate::device::ble::set_clock::is_trusted;
use crate::device::observation::{DeviceTime, Observation};
use crate::device::placing::{SLACK, ahead, lead, millis};
use crate::device::{Action, FaultKind};
use crate::link::gatt::{CURRENT_ELAPSED_TIME, CURRENT_TIME, HEALTH_SENSOR_CONTROL};
use crate::link::{Characteristic, LinkCommand, NOT_OFFERED};
use crate::time::{Mono, Now};

/// The clock of the present connection, what decoders want, and the write that is on its way.
#[derive(Default)]
pub(super) struct Besides {
    clock: Clock,
    /// The clock of a generic health sensor, and when it was read.
    elapsed: Option<(ElapsedClock, Now)>,
    writing: Option<Characteristic>,
    /// Wanted while it was being read: that read may have been answered before what it is wanted for.
    again: BTreeSet<Characteristic>,
    /// The decoders were told the time on this connection.
    is_timed: bool,
}

impl Besides {
    /// By how much the device's clock was ahead when it was read last (`None`: it showed no date), and whether
    /// the gateway's could be trusted then. `None`: it was not read on this connection.
    pub(super) fn clock_reading(&self) -> Option<(Option<i64>, bool)> {
        self.clock.is_known.then_some((self.clock.ahead, self.clock.is_trusted))
    }

    /// What was read of the clock of a generic health sensor is void; whether something was.
    pub(super) const fn forget_elapsed(&mut self) -> bool {
        self.elapsed.take().is_some()
    }

    /// Whether the end of a write is awaited.
    pub(super) const fn is_writing(&self) -> bool {
        self.writing.is_some()
    }
}

/// What is known of the device's clock.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    is_known: bool,
    /// It was read by a clock of the gateway's that could be trusted.
    is_trusted: bool,
    /// By how many milliseconds it is ahead of the gateway's; `None`: it was not read, or was never set.
    ahead: Option<i64>,
    /// When it was set last on this connection, by the gateway's clock, and what it was ahead before; `None`: it was
    /// set, or not read, before that too, and an older stamp may be of any clock.
    was_set: Option<(i64, Option<i64>)>,
}

impl Clock {
    /// Takes another reading. One that goes on from the last has not been set.
    fn take(&mut self, ahead: Option<i64>, now: Now) {
        let goes_on = match (self.ahead, ahead) {
            (Some(before), Some(ahead)) => u128::from(before.abs_diff(ahead)) <= SLACK.as_millis(),
            (before, ahead) => before == ahead,
        };
        if self.is_known && !goes_on {
            let before = if self.was_set.is_some() { None } else { self.ahead };
            self.was_set = Some((now.wall.as_millis(), before));
        }
        (self.is_known, self.ahead, self.is_trusted) = (true, ahead, is_trusted(now));
    }

    /// By how much it was ahead when it made this stamp. A clock that was set on this connection: only
    /// where one of the two, before and since, is out of the question.
    fn ahead_of(&self, stamp: DeviceTime) -> Option<i64> {
        let now = self.ahead.and_then(|ahead| lead(stamp, ahead));
        let Some((set, before)) = self.was_set else { return now };
        let slack = i64::try_from(SLACK.as_millis()).unwrap_or(i64::MAX);
        let placed = |lead: i64| millis(stamp)?.checked_sub(lead);
        let before = before.and_then(|before| lead(stamp, before))?;
        let may_be_since = now.and_then(placed).is_some_and(|at| at >= set.saturating_sub(slack));
        let may_be_before = placed(before).is_some_and(|at| at <= set.saturating_add(slack));
        match (may_be_before, may_be_since) {
            (true, false) => Some(before),
            (false, true) => now,
            (true, true) | (false, false) => None,
        }
    }
}

impl Collector {
    /// What was told was another device's, or was told to nobody: alarms, and what a consent released.
    pub(super) fn forget_alarms(&mut self) {
        self.drop_edges();
        self.consent.forget_readings();
        for alarms in self.profiles.iter_mut().filter_map(|profile| profile.decoder.alarms()) {
            alarms.forget();
        }
        self.take_up_alarms();
    }

    /// What was told is kept back at the gate, where it is known by its edges: none is told twice, and each is told to
    /// be over. What a consent released was told to nobody.
    pub(super) fn hold_alarms(&mut self) {
        self.consent.forget_readings();
        if self.untell_alarms() {
            self.remember();
        }
    }

    /// Takes note of the device's clock, when that was what was read.
    pub(super) fn handle_clock(&mut self, of: Characteristic, value: &[u8], now: Now) {
        if of == CURRENT_TIME
            && let Ok(time) = clock::read(value)
        {
            self.besides.clock.take(ahead(time, now), now);
        }
        if of == CURRENT_ELAPSED_TIME {
            match elapsed_time::clock(value) {
                Ok(clock) => {
                    if clock.needs_setting {
                        let detail = "the sensor says that its clock has to be set".to_owned();
                        self.report(FaultKind::Unexpected, detail);
                    }
                    self.besides.elapsed = Some((clock, now));
                }
                Err(fault) => self.actions.push_back(Action::Report(fault)),
            }
        }
    }

    /// With what is known of the clock that made their stamps. A decoder that knows better is not overruled.
    pub(super) fn stamped(&self, place: usize, mut said: Vec<Observation>) -> Vec<Observation> {
        let row = self.profiles.get(place).map(|profile| profile.row);
        let stamps_by_elapsed = row.is_some_and(|row| row.service == HEALTH_SENSOR_CONTROL.service);
        let elapsed = self.besides.elapsed.filter(|_| stamps_by_elapsed);
        for time in said.iter_mut().filter_map(|observation| observation.device_time.as_mut()) {
            let lead = || match elapsed {
                Some((clock, at)) => clock.lead(*time, at),
                None => self.besides.clock.ahead_of(*time),
            };
            time.ahead = time.ahead.or_else(lead);
        }
        said
    }

    /// Tells what went wrong beside the values, and has read what the decoders want.
    pub(super) fn go_on_with_decoders(&mut self, of: Option<Characteristic>) {
        for profile in &mut self.profiles {
            while let Some(fault) = profile.decoder.poll_fault() {
                let of =
                    of.filter(|of| profile.shelf.as_ref().is_some_and(|shelf| shelf.service() == of.service));
                if let (Some(of), Some(shelf)) = (of, &mut profile.shelf) {
                    // A part of it, or of what came before.
                    shelf.handle_unreadable(of);
                }
                self.actions.push_back(Action::Report(fault));
            }
            while let Some(of) = profile.decoder.poll_ask() {
                if self.asking.insert(of) {
                    self.actions.push_back(Action::Command(LinkCommand::Read(of)));
                } else {
                    self.besides.again.insert(of);
                }
            }
        }
    }

    /// A read has ended: does it once more if that was wanted meanwhile.
    pub(super) fn go_on_with_asking(&mut self, of: Characteristic) {
        if self.besides.again.remove(&of) && self.phase == Phase::Running {
            self.asking.insert(of);
            self.actions.push_back(Action::Command(LinkCommand::Read(of)));
        }
    }

    /// Tells the decoders the time, when the subscriptions stand and whenever one wants to know it.
    pub(super) fn go_on_with_time(&mut self, now: Mono) {
        if self.phase != Phase::Running {
            return;
        }
        let is_first = !std::mem::replace(&mut self.besides.is_timed, true);
        let decoders = self.profiles.iter_mut().map(|profile| &mut profile.decoder);
        let mut is_due = false;
        for decoder in decoders {
            if is_first || decoder.poll_timeout().is_some_and(|at| now >= at) {
                decoder.handle_timeout(now);
                is_due = true;
            }
        }
        if is_due {
            self.go_on_with_decoders(None);
        }
    }

    /// When a decoder wants to be told the time.
    pub(super) fn poll_decoders(&self) -> Option<Mono> {
        let is_running = self.phase == Phase::Running;
        let decoders = self.profiles.iter().filter(|_| is_running);
        decoders.filter_map(|profile| profile.decoder.poll_timeout()).min()
    }

    /// Has the next thing written that a decoder wants, when all subscriptions stand: one after the other.
    pub(super) fn go_on_with_writes(&mut self) {
        if self.phase != Phase::Running || self.besides.writing.is_some() {
            return;
        }
        let wanted = self.profiles.iter_mut().find_map(|profile| profile.decoder.poll_write());
        if let Some(write) = wanted {
            self.besides.writing = Some(write.to());
            self.actions.push_back(Action::Command(LinkCommand::Write(write)));
        }
    }

    /// Takes the end of a write that a decoder wanted; `false` when it was none of these. A device that does
    /// not offer it, or refuses, is told of, and the connection goes on without.
    pub(super) fn handle_wanted_write(&mut self, to: Characteristic, result: &Result<(), String>) -> bool {
        if self.besides.writing != Some(to) {
            return false;
        }
        self.besides.writing = None;
        if let Err(reason) = result
            && reason != NOT_OFFERED
        {
            self.report(FaultKind::Refused, format!("{to:?} could not be written: {reason}"));
        }
        true
    }
}
