//! What goes on beside the values: the device's own clock, and what a decoder has to write.

use super::{Collector, Phase};
use crate::device::ble::clock;
use crate::device::observation::Observation;
use crate::device::placing::ahead;
use crate::device::{Action, FaultKind};
use crate::link::gatt::CURRENT_TIME;
use crate::link::{Characteristic, LinkCommand, NOT_OFFERED};
use crate::time::Now;

/// The clock of the present connection, and the write that is on its way.
#[derive(Default)]
pub(super) struct Besides {
    /// By how many milliseconds the device's clock is ahead of the gateway's; `None`: it was not read, or
    /// was never set.
    ahead: Option<i64>,
    writing: Option<Characteristic>,
}

impl Collector {
    /// What was told was another device's, or was told to nobody.
    pub(super) fn forget_alarms(&mut self) {
        self.drop_edges();
        for alarms in self.profiles.iter_mut().filter_map(|profile| profile.decoder.alarms()) {
            alarms.forget();
        }
    }

    /// Takes note of the device's clock, when that was what was read.
    pub(super) fn handle_clock(&mut self, of: Characteristic, value: &[u8], now: Now) {
        if of == CURRENT_TIME {
            self.besides.ahead = clock::read(value).ok().and_then(|time| ahead(time, now));
        }
    }

    /// With what is known of the clock that made their stamps. A decoder that knows better is not overruled.
    pub(super) fn stamped(&self, mut said: Vec<Observation>) -> Vec<Observation> {
        for time in said.iter_mut().filter_map(|observation| observation.device_time.as_mut()) {
            // With a zone or an offset of its own a stamp may be of another clock than the one that was read.
            let is_plain = time.ticks.is_none() && time.zone.is_none() && time.offset.is_none();
            if is_plain && !time.is_of_older_timeline {
                time.ahead = time.ahead.or(self.besides.ahead);
            }
        }
        said
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
