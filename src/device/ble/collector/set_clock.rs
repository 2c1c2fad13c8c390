//! Setting the device's clock: at most once on a connection, when nothing else is under way.
//!
//! Behind the stored records: all that the device announced have come and are durable, so that what it stamps from
//! then on is never fetched together with what it stamped before. What it stamped before keeps the clock as it was
//! (`besides`). A value that waits behind other requests would be late, so that nothing may be awaited when it is
//! written. Afterwards the clock is read again, by which every later stamp is placed.
//!
//! Current Time Service 1.1: ATT error 0x80 says that the device took the time and ignored other fields.

use super::{Collector, Outcome, Phase};
use crate::device::ble::set_clock::{Wanted, is_trusted};
use crate::device::{Action, FaultKind};
use crate::link::gatt::{CURRENT_ELAPSED_TIME, CURRENT_TIME, GattWrite, att_error};
use crate::link::{Characteristic, LinkCommand};
use crate::time::Now;

/// Some of the fields were not taken.
const FIELDS_IGNORED: u8 = 0x80;

/// What is to be shown, and how far that is on this connection.
#[derive(Default)]
pub(super) struct ClockSetting {
    wanted: Option<Wanted>,
    step: Step,
    /// Read again because the reading before was of no use; once on a connection.
    was_read_again: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    /// Not written yet.
    #[default]
    Waits,
    Written,
    /// Being read again.
    Reads,
    /// Nothing more on this connection.
    Over,
}

impl ClockSetting {
    pub(super) fn new(wanted: Option<Wanted>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// The same for a new connection.
    pub(super) const fn forget(&mut self) {
        self.step = Step::Waits;
        self.was_read_again = false;
    }

    /// The records of this connection cannot be had.
    pub(super) const fn bar(&mut self) {
        self.step = Step::Over;
    }
}

impl Collector {
    /// Sets the clock, if that is wanted and the moment for it.
    pub(super) fn set_clock(&mut self, now: Now) {
        let Some(wanted) = self.setting.wanted else { return };
        let is_moment = self.phase == Phase::Running && self.setting.step == Step::Waits && is_trusted(now);
        if !is_moment || self.is_awaiting() || !self.has_fetched_all() {
            return;
        }
        let Some((ahead, was_trusted)) = self.besides.clock_reading() else { return };
        if !was_trusted {
            // What it was ahead was told by a clock of ours that may itself have been wrong.
            if !std::mem::replace(&mut self.setting.was_read_again, true) {
                self.read_clock(CURRENT_TIME);
            }
        } else if wanted.is_wrong(ahead) {
            let write = GattWrite::current_time(now.wall, wanted.offset);
            self.setting.step = if write.is_some() { Step::Written } else { Step::Over };
            self.actions.extend(write.map(|write| Action::Command(LinkCommand::Write(write))));
        }
    }

    /// Whether an answer is awaited: what is written now would be late.
    fn is_awaiting(&self) -> bool {
        let is_asking = !self.asking.is_empty() || self.asked.is_some() || self.pins.is_asking();
        is_asking || self.besides.is_writing() || self.consent.poll_timeout().is_some()
    }

    fn has_fetched_all(&self) -> bool {
        self.profiles.iter().filter_map(|profile| profile.shelf.as_ref()).all(|shelf| {
            let mut there = self.subscriptions.iter().filter(|entry| entry.outcome == Outcome::Subscribed);
            !there.any(|entry| entry.characteristic == shelf.control()) || shelf.is_fetched()
        })
    }

    fn read_clock(&mut self, of: Characteristic) {
        if self.asking.insert(of) {
            self.actions.push_back(Action::Command(LinkCommand::Read(of)));
        }
    }

    /// Takes the end of the write; `false` when it was another one.
    pub(super) fn handle_clock_written(&mut self, to: Characteristic, result: &Result<(), String>) -> bool {
        if to != CURRENT_TIME || self.setting.step != Step::Written {
            return false;
        }
        match result {
            Ok(()) => {}
            Err(reason) if att_error(reason) == Some(FIELDS_IGNORED) => {
                let detail =
                    "the device's clock was set; it ignored some of the fields, its clock is read again";
                self.report(FaultKind::Unexpected, detail.to_owned());
            }
            Err(reason) => {
                self.setting.step = Step::Over;
                let detail = format!(
                    "the device's clock cannot be set: {reason}: if it never can, remove `settings.set_clock`"
                );
                self.report(FaultKind::Refused, detail);
                return true;
            }
        }
        self.setting.step = Step::Reads;
        self.read_clock(CURRENT_TIME);
        // A device has one clock, in whatever service it shows it.
        if self.besides.forget_elapsed() {
            self.read_clock(CURRENT_ELAPSED_TIME);
        }
        true
    }

    /// Takes note of the answer to the read behind the write.
    pub(super) fn check_clock(&mut self, of: Characteristic, now: Now) {
        if of != CURRENT_TIME || self.setting.step != Step::Reads {
            return;
        }
        self.setting.step = Step::Over;
        let ahead = self.besides.clock_reading().and_then(|(ahead, _)| ahead);
        if is_trusted(now) && self.setting.wanted.is_some_and(|wanted| wanted.is_wrong(ahead)) {
            let detail = "the device's clock was set and is still wrong: look at `settings.set_clock`";
            self.report(FaultKind::Refused, detail.to_owned());
        }
    }
}
