//! The driver of every BLE device: asks it who it is, subscribes, decodes.
//!
//! In: the events of a BLE link. Out: reads and subscriptions, the identity, observations, faults.
//! On every connection, in this order: the Device Information strings are read; when all reads have
//! ended the identity is given; then what the profiles ask for is read (features, the start of a session),
//! and their characteristics are subscribed to. So no reading
//! can come before the identity; a value that arrives earlier all the same (left over from an older
//! subscription) is dropped and reported.
//!
//! What can go wrong: a string that cannot be read is "not stated" and reported, whether it matters is
//! for the allowlist to say. A subscription that fails, a profile of which the device offers nothing,
//! reads or subscriptions that never end, a stream that falls silent, a device that no longer
//! answers the hourly question who it is: each is reported and ends the connection, and the session
//! connects anew. A value that cannot be decoded is reported and the stream goes on.
//!
//! Its revisions and what it offers are asked for behind all subscriptions and compared with before (`pins`).
//! A service that keeps records has them fetched besides (`records`): its control point is subscribed to
//! behind all data, and asked when everything is subscribed to. What goes wrong with that is reported and costs
//! the connection only where nothing answers any more.
//!
//! What never happens: anything is written to the device but to the control point of its records, what a
//! decoder wants of the few writes there are, the consent of a user, where one is given, and the time of its
//! clock, where its entry says so.

mod alarms;
mod besides;
mod consent;
mod identity;
mod pins;
mod set_clock;
mod stored;
mod subscriptions;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::records::Shelf;
use super::set_clock::Wanted;
use crate::device::catalogue::{BleProfile, Decoder};
use crate::device::observation::Observation;
use crate::device::settings::Settings;
use crate::device::{Action, Driver, Fault, FaultKind, Identity, Ticket};
use crate::link::gatt::{CURRENT_TIME, USER_CONTROL, att_error};
use crate::link::{Characteristic, LinkCommand, LinkEvent, NOT_OFFERED};
use crate::time::{Mono, Now};
use alarms::Open;
use besides::Besides;
use consent::Consenting;
use identity::Asked;
use pins::Pins;
use set_clock::ClockSetting;
use stored::Way;

/// How long reading the identity may take, and again how long subscribing may take: four reads at
/// the link's own limit of ten seconds each, and some room.
pub const SETUP_LIMIT: Duration = Duration::from_secs(60);

/// After this much silence a streaming connection is given up. Heart rate sensors and continuous
/// oximeters send about once a second; a minute without one value is a stream that died while the
/// radio link stayed up.
pub const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// How often the device is asked again who it is: a device that was exchanged under the same
/// address is found within the hour, and so is a connection that no longer carries anything.
pub const IDENTITY_PERIOD: Duration = Duration::from_secs(3_600);

/// Device Information strings are cut to this many characters; the longest serial numbers seen
/// have about twenty.
const MAX_STRING: usize = 64;

const DEVICE_INFORMATION: u16 = 0x180A;

/// Maker, model, serial number, firmware revision (DIS 1.2): the order of the fields of [`Asked`].
const STRINGS: [u16; 4] = [0x2A29, 0x2A24, 0x2A25, 0x2A26];

/// The driver of a device with one or more profiles.
pub struct Collector {
    profiles: Vec<Profile>,
    phase: Phase,
    /// When the present phase is given up, or the stream counts as silent.
    deadline: Option<Mono>,
    /// When to ask again who it is.
    identify_at: Option<Mono>,
    asked: Option<Asked>,
    identity: Identity,
    /// What was asked of the device for its profiles and has not been answered.
    asking: BTreeSet<Characteristic>,
    subscriptions: Vec<Subscription>,
    actions: VecDeque<Action>,
    /// Where what was passed on is by now.
    way: Way,
    /// Who what is remembered is of, as a hash.
    owner: Option<u64>,
    besides: Besides,
    consent: Consenting,
    setting: ClockSetting,
    pins: Pins,
    open: Open,
    /// The services of which something that was asked for came.
    answered: BTreeSet<u16>,
}

/// A profile, its decoder of the present connection, and the records that its service keeps.
struct Profile {
    row: &'static BleProfile,
    decoder: Box<dyn Decoder>,
    shelf: Option<Shelf>,
}

impl Profile {
    fn new(row: &'static BleProfile, settings: &Settings) -> Self {
        Self { row, decoder: (row.decoder)(), shelf: Shelf::of(row, settings) }
    }

    /// The control point of its records.
    fn control(&self) -> Option<Characteristic> {
        self.shelf.as_ref().map(Shelf::control)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No connection, or one that is being given up.
    Down,
    /// The Device Information strings are being read.
    Identifying,
    /// What the profiles ask for is being read.
    Asking,
    /// Subscriptions are being made; values may already come.
    Subscribing,
    /// Values come.
    Running,
}

struct Subscription {
    characteristic: Characteristic,
    outcome: Outcome,
    /// It is a control point: speaks only when asked, and the connection can do without.
    is_control: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Subscribed,
    NotOffered,
}

impl Collector {
    /// A device that offers these profiles, with nothing set for it.
    pub fn new(profiles: Vec<&'static BleProfile>) -> Self {
        Self::with(profiles, &Settings::default())
    }

    /// A device that offers these profiles.
    pub fn with(profiles: Vec<&'static BleProfile>, settings: &Settings) -> Self {
        let setting = ClockSetting::new(Wanted::of(&profiles, settings));
        Self {
            profiles: profiles.into_iter().map(|row| Profile::new(row, settings)).collect(),
            phase: Phase::Down,
            deadline: None,
            identify_at: None,
            asked: None,
            identity: Identity::default(),
            asking: BTreeSet::new(),
            subscriptions: Vec::new(),
            actions: VecDeque::new(),
            way: Way::default(),
            owner: None,
            besides: Besides::default(),
            consent: Consenting::default(),
            setting,
            pins: Pins::default(),
            open: Open::default(),
            answered: BTreeSet::new(),
        }
    }

    /// What was known of the connection is void. What is known of records stays.
    fn reset(&mut self) {
        // What was observed was counted, and is told all the same.
        self.actions.retain(|action| !matches!(action, Action::Command(_)));
        if self.phase != Phase::Down {
            self.end_records();
        }
        self.phase = Phase::Down;
        self.deadline = None;
        self.identify_at = None;
        self.asked = None;
        self.identity = Identity::default();
        self.asking.clear();
        self.subscriptions.clear();
        self.besides = Besides::default();
        self.consent.forget();
        self.setting.forget();
        self.pins.handle_down();
        self.answered.clear();
        for profile in &mut self.profiles {
            let on = profile.decoder.alarms().map(std::mem::take);
            profile.decoder = (profile.row.decoder)();
            if let (Some(on), Some(alarms)) = (on, profile.decoder.alarms()) {
                *alarms = on;
            }
        }
    }

    /// Reads what the profiles ask for; when there is nothing, or it has come, subscribes.
    fn ask(&mut self, now: Mono) {
        self.phase = Phase::Asking;
        self.deadline = Some(now + SETUP_LIMIT);
        self.asking = self.profiles.iter().flat_map(|profile| profile.row.asks).copied().collect();
        let reads = self.asking.iter().map(|of| Action::Command(LinkCommand::Read(*of)));
        self.actions.extend(reads);
        if self.asking.is_empty() {
            self.subscribe(now);
        }
    }

    /// Hands an answer to the decoder whose profile asked. What the device does not offer is normal; what
    /// it did not give is told, and the decoder does without.
    fn handle_answer(&mut self, of: Characteristic, result: &Result<Bytes, String>, now: Now) {
        if !self.asking.remove(&of) {
            return self.report(FaultKind::Unexpected, format!("a read of {of:?} that nobody asked for"));
        }
        self.go_on_with_asking(of);
        let value = match result {
            Ok(value) => {
                self.answered.insert(of.service);
                self.handle_clock(of, value, now);
                self.check_clock(of, now);
                Some(value.as_ref())
            }
            // Refused is an answer. What got none may be answered on the next connection.
            Err(reason)
                if reason != NOT_OFFERED && self.phase == Phase::Asking && att_error(reason).is_none() =>
            {
                return self.give_up(FaultKind::Timeout, format!("{of:?} could not be read: {reason}"));
            }
            // The records would be told without what makes them whole.
            Err(reason)
                if reason != NOT_OFFERED && att_error(reason).is_none() && self.is_held_for(of.service) =>
            {
                return self.give_up(FaultKind::Timeout, format!("{of:?} could not be read: {reason}"));
            }
            Err(reason) => {
                if reason != NOT_OFFERED {
                    self.report(FaultKind::Refused, format!("{of:?} could not be read: {reason}"));
                }
                None
            }
        };
        let place = self.profiles.iter().position(|profile| profile.row.service == of.service);
        if let Some((place, profile)) = place.and_then(|place| Some((place, self.profiles.get_mut(place)?))) {
            if let Some(shelf) = &mut profile.shelf {
                shelf.handle_read(of, value);
            }
            let outcome = profile.decoder.handle_read(of, value);
            self.take(place, of, outcome);
        }
        if self.phase == Phase::Asking && self.asking.is_empty() {
            self.subscribe(now.mono);
        }
    }

    /// Whether records of a service wait for an answer.
    fn is_held_for(&self, service: u16) -> bool {
        self.profiles.iter().any(|profile| profile.row.service == service && profile.decoder.holds_back())
    }

    /// What a decoder made, and what it wants to know besides.
    fn take(&mut self, place: usize, of: Characteristic, outcome: Result<Vec<Observation>, Fault>) {
        self.handle_numbering(place);
        match outcome {
            Ok(observations) => self.pass_on(place, Some(of), observations),
            Err(fault) => self.actions.push_back(Action::Report(fault)),
        }
        self.go_on_with_decoders(Some(of));
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8], at: Now) {
        let now = at.mono;
        match self.phase {
            Phase::Down => return,
            Phase::Identifying | Phase::Asking => {
                let detail = format!("a value of {of:?} before the device said who it is: dropped");
                return self.report(FaultKind::Unexpected, detail);
            }
            Phase::Subscribing => {}
            // A clock that ticks is no stream.
            Phase::Running if of == CURRENT_TIME => {}
            Phase::Running => self.deadline = self.silence_deadline(now),
        }
        self.handle_clock(of, value, at);
        if self.profiles.iter().any(|profile| profile.control() == Some(of)) {
            return self.handle_control(of, value, now);
        }
        if of == USER_CONTROL {
            return self.handle_consent(value);
        }
        let place = self.profiles.iter().position(|profile| profile.row.subscribes.contains(&of));
        let Some((place, profile)) = place.and_then(|place| Some((place, self.profiles.get_mut(place)?)))
        else {
            return self
                .report(FaultKind::Unexpected, format!("a value of {of:?}, which nobody subscribed to"));
        };
        let outcome =
            profile.decoder.handle_value(of, value).map(|said| self.consent.released(of, value, said));
        if let Some(shelf) = &mut profile.shelf {
            shelf.handle_value(of, outcome.as_deref().ok(), now);
            if outcome.is_err() {
                shelf.handle_unreadable(of);
            }
        }
        // BlueZ has confirmed the indication already: the device keeps no copy. Of a record with a number it does.
        let keeps = profile.shelf.as_ref().is_some_and(Shelf::has_numbers);
        let is_kept = |said: &Vec<Observation>| keeps && said.iter().all(|one| one.record.is_some());
        let is_single = of != CURRENT_TIME && profile.row.episodic.contains(&of);
        let at_once = is_single && !outcome.as_ref().is_ok_and(is_kept);
        self.take(place, of, outcome);
        if at_once {
            self.actions.push_back(Action::Commit);
        }
    }

    /// What is not stored is not taken.
    fn refuse(&mut self, ticket: Ticket) {
        self.pins.handle_refused(ticket);
        for shelf in self.profiles.iter_mut().filter_map(|profile| profile.shelf.as_mut()) {
            shelf.handle_refused();
        }
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }

    /// Reports why and hangs up; what still comes of this connection is ignored.
    fn give_up(&mut self, kind: FaultKind, detail: String) {
        self.report(kind, detail);
        self.end_records();
        self.actions.push_back(Action::Command(LinkCommand::HangUp));
        self.phase = Phase::Down;
        self.deadline = None;
        self.identify_at = None;
        self.asked = None;
        self.asking.clear();
        self.consent.forget();
    }
}

impl Driver for Collector {
    fn handle_event(&mut self, event: &LinkEvent, at: Now) {
        let now = at.mono;
        match event {
            LinkEvent::Up => {
                self.reset();
                self.phase = Phase::Identifying;
                self.deadline = Some(now + SETUP_LIMIT);
                self.ask_who_it_is(now);
            }
            LinkEvent::Down(_) => self.reset(),
            LinkEvent::ReadDone(..) | LinkEvent::Subscribed(..) | LinkEvent::Written(..)
                if self.phase == Phase::Down => {}
            LinkEvent::Written(to, result) => {
                let is_known = self.handle_wanted_write(*to, result)
                    || self.handle_consent_written(*to, result)
                    || self.handle_clock_written(*to, result);
                if !is_known {
                    self.handle_written(*to, result, now);
                }
            }
            LinkEvent::ReadDone(of, result) if self.handle_pinned(*of, result) => {}
            LinkEvent::ReadDone(of, result) if of.service == DEVICE_INFORMATION => {
                self.handle_read(*of, result, now);
            }
            LinkEvent::ReadDone(of, result) => self.handle_answer(*of, result, at),
            LinkEvent::Subscribed(to, result) => self.handle_subscribed(*to, result, now),
            LinkEvent::Value(of, value) => self.handle_value(*of, value, at),
            LinkEvent::Bytes(bytes) => {
                let count = bytes.len();
                self.report(FaultKind::Unexpected, format!("{count} bytes that belong to no characteristic"));
            }
        }
        self.go_on_with_time(now);
        self.go_on_with_writes();
        self.go_on_with_records(now);
        if self.pins.is_due() {
            self.ask_what_it_is();
        }
        self.set_clock(at);
    }

    fn handle_timeout(&mut self, at: Now) {
        let now = at.mono;
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let detail = match self.phase {
                Phase::Running => "no value for a minute",
                Phase::Asking => "reading what its profiles ask for did not end in time",
                Phase::Subscribing => "subscribing did not end in time",
                Phase::Down | Phase::Identifying => "reading who it is did not end in time",
            };
            return self.give_up(FaultKind::Timeout, detail.to_owned());
        }
        if self.identify_at.is_some_and(|at| now >= at) {
            if self.asked.is_some() {
                return self.give_up(FaultKind::Timeout, "it no longer says who it is".to_owned());
            }
            self.ask_who_it_is(now);
        }
        for shelf in self.profiles.iter_mut().filter_map(|profile| profile.shelf.as_mut()) {
            shelf.handle_timeout(now);
        }
        self.handle_consent_timeout(now);
        self.go_on_with_time(now);
        self.go_on_with_writes();
        self.go_on_with_records(now);
        self.set_clock(at);
    }

    fn handle_durable(&mut self, through: Ticket, now: Now) {
        self.way.handle_durable(through);
        let has_pins = self.pins.handle_durable(through);
        if self.keep_alarms() || has_pins {
            self.remember();
        }
        self.go_on_with_records(now.mono);
        self.set_clock(now);
    }

    fn handle_refused(&mut self, ticket: Ticket, _: Now) {
        self.refuse(ticket);
        self.forget_alarms();
    }

    fn handle_held(&mut self, ticket: Ticket, _: Now) {
        self.refuse(ticket);
        self.hold_alarms();
    }

    fn handle_ticket(&mut self, ticket: Ticket) {
        // By what was handed over last.
        if !self.way.handle_ticket(ticket) {
            self.pins.handle_ticket(ticket);
        }
    }

    fn recall(&mut self, memo: &[u8]) {
        self.recall_records(memo);
    }

    fn handle_other_entry(&mut self) {
        self.drop_told_alarms();
    }

    fn poll_timeout(&self) -> Option<Mono> {
        let shelves = self.profiles.iter().filter_map(|profile| profile.shelf.as_ref()?.poll_timeout());
        let decoders = self.poll_decoders().into_iter().chain(self.consent.poll_timeout());
        self.deadline.into_iter().chain(self.identify_at).chain(shelves).chain(decoders).min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        let action = self.actions.pop_front()?;
        if matches!(action, Action::Observe(..)) {
            self.way.leave();
        }
        Some(action)
    }
}

#[cfg(test)]
mod tests;
