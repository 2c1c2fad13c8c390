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
//! What never happens: anything is written to the device.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::device::catalogue::{BleProfile, Decoder};
use crate::device::observation::Observation;
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{Characteristic, LinkCommand, LinkEvent, NOT_OFFERED};
use crate::time::{Mono, Now};

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
}

/// A profile and its decoder of the present connection.
struct Profile {
    row: &'static BleProfile,
    decoder: Box<dyn Decoder>,
}

impl Profile {
    fn new(row: &'static BleProfile) -> Self {
        Self { row, decoder: (row.decoder)() }
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

/// The answers to the question who the device is; `None` is one that has not come yet.
#[derive(Default)]
struct Asked([Option<Result<Option<String>, String>>; STRINGS.len()]);

struct Subscription {
    characteristic: Characteristic,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Pending,
    Subscribed,
    NotOffered,
}

impl Collector {
    /// A device that offers these profiles.
    pub fn new(profiles: Vec<&'static BleProfile>) -> Self {
        Self {
            profiles: profiles.into_iter().map(Profile::new).collect(),
            phase: Phase::Down,
            deadline: None,
            identify_at: None,
            asked: None,
            identity: Identity::default(),
            asking: BTreeSet::new(),
            subscriptions: Vec::new(),
            actions: VecDeque::new(),
        }
    }

    fn reset(&mut self) {
        let profiles = self.profiles.iter().map(|profile| profile.row).collect();
        // What a record still waited for does not come any more.
        let late = self.profiles.iter_mut().flat_map(|profile| profile.decoder.handle_end());
        let late: Vec<Action> = late.map(Action::observe).filter(|_| self.phase != Phase::Down).collect();
        *self = Self::new(profiles);
        self.actions.extend(late);
    }

    fn ask_who_it_is(&mut self, now: Mono) {
        self.asked = Some(Asked::default());
        self.identify_at = Some(now + IDENTITY_PERIOD);
        self.actions.extend(strings().map(|string| Action::Command(LinkCommand::Read(string))));
    }

    fn handle_read(&mut self, of: Characteristic, result: &Result<Bytes, String>, now: Mono) {
        let answer = match result {
            Ok(value) => Ok(readable(value)),
            Err(reason) if reason == NOT_OFFERED => Ok(None),
            Err(reason) => Err(reason.clone()),
        };
        let place = strings().position(|string| string == of);
        let slot = place.and_then(|place| self.asked.as_mut()?.0.get_mut(place));
        let Some(slot @ None) = slot else {
            return self.report(FaultKind::Unexpected, format!("a read of {of:?} that nobody asked for"));
        };
        *slot = Some(answer);
        if let Some(asked) = self.asked.take_if(|asked| asked.0.iter().all(Option::is_some)) {
            self.conclude_identity(asked, now);
        }
    }

    /// All answers are there. A string that could not be read is "not stated" on a new connection,
    /// and stays what it was on one that was identified before.
    fn conclude_identity(&mut self, asked: Asked, now: Mono) {
        let first = self.phase == Phase::Identifying;
        let mut stated = [const { None }; STRINGS.len()];
        let before = self.identity.clone();
        let before = [before.maker, before.model, before.serial, before.firmware];
        let mut failures = 0;
        for (((slot, answer), before), string) in stated.iter_mut().zip(asked.0).zip(before).zip(strings()) {
            *slot = match answer {
                Some(Ok(text)) => text,
                Some(Err(reason)) => {
                    failures += 1;
                    self.report(FaultKind::Refused, format!("{string:?} could not be read: {reason}"));
                    if first { None } else { before }
                }
                None => before,
            };
        }
        if !first && failures == STRINGS.len() {
            return self.give_up(FaultKind::Timeout, "it no longer says who it is".to_owned());
        }
        let [maker, model, serial, firmware] = stated;
        let identity = Identity { maker, model, serial, firmware };
        if first || identity != self.identity {
            self.identity = identity.clone();
            self.actions.push_back(Action::identify(identity));
        }
        if first {
            self.ask(now);
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
    fn handle_answer(&mut self, of: Characteristic, result: &Result<Bytes, String>, now: Mono) {
        if !self.asking.remove(&of) {
            return self.report(FaultKind::Unexpected, format!("a read of {of:?} that nobody asked for"));
        }
        let value = match result {
            Ok(value) => Some(value.as_ref()),
            Err(reason) => {
                if reason != NOT_OFFERED {
                    self.report(FaultKind::Refused, format!("{of:?} could not be read: {reason}"));
                }
                None
            }
        };
        if let Some(profile) = self.profiles.iter_mut().find(|profile| profile.row.service == of.service) {
            let outcome = profile.decoder.handle_read(of, value);
            self.take(outcome);
        }
        if self.phase == Phase::Asking && self.asking.is_empty() {
            self.subscribe(now);
        }
    }

    /// What a decoder made, and what it wants to know besides.
    fn take(&mut self, outcome: Result<Vec<Observation>, Fault>) {
        match outcome {
            Ok(observations) => self.actions.extend(observations.into_iter().map(Action::observe)),
            Err(fault) => self.actions.push_back(Action::Report(fault)),
        }
        for profile in &mut self.profiles {
            while let Some(fault) = profile.decoder.poll_fault() {
                self.actions.push_back(Action::Report(fault));
            }
            while let Some(of) = profile.decoder.poll_ask() {
                if self.asking.insert(of) {
                    self.actions.push_back(Action::Command(LinkCommand::Read(of)));
                }
            }
        }
    }

    fn subscribe(&mut self, now: Mono) {
        self.phase = Phase::Subscribing;
        self.deadline = Some(now + SETUP_LIMIT);
        let wanted = self.profiles.iter().flat_map(|profile| profile.row.subscribes);
        self.subscriptions = wanted
            .map(|characteristic| Subscription { characteristic: *characteristic, outcome: Outcome::Pending })
            .collect();
        let commands = self.subscriptions.iter().map(|wanted| LinkCommand::Subscribe(wanted.characteristic));
        self.actions.extend(commands.map(Action::Command));
    }

    fn handle_subscribed(&mut self, to: Characteristic, result: &Result<(), String>, now: Mono) {
        let pending =
            |entry: &&mut Subscription| entry.characteristic == to && entry.outcome == Outcome::Pending;
        let Some(entry) = self.subscriptions.iter_mut().find(pending) else {
            return self.report(FaultKind::Unexpected, format!("a subscription to {to:?} that nobody made"));
        };
        entry.outcome = match result {
            Ok(()) => Outcome::Subscribed,
            Err(reason) if reason == NOT_OFFERED => Outcome::NotOffered,
            Err(reason) => {
                let detail = format!("{to:?} could not be subscribed to: {reason}");
                return self.give_up(FaultKind::Refused, detail);
            }
        };
        if self.subscriptions.iter().all(|entry| entry.outcome != Outcome::Pending) {
            self.conclude_subscriptions(now);
        }
    }

    /// A profile may leave some of its characteristics out, but not all.
    fn conclude_subscriptions(&mut self, now: Mono) {
        let offers = |profile: &&Profile| {
            self.subscriptions.iter().any(|entry| {
                entry.outcome == Outcome::Subscribed && profile.row.subscribes.contains(&entry.characteristic)
            })
        };
        if let Some(profile) = self.profiles.iter().find(|profile| !offers(profile)) {
            let (service, title) = (profile.row.service, profile.row.title);
            let detail = format!("it offers nothing of {title} ({service:04X}): correct its `profiles`");
            return self.give_up(FaultKind::Refused, detail);
        }
        self.phase = Phase::Running;
        self.deadline = self.silence_deadline(now);
    }

    fn silence_deadline(&self, now: Mono) -> Option<Mono> {
        let is_episodic =
            |of: &Characteristic| self.profiles.iter().any(|profile| profile.row.episodic.contains(of));
        let streams = self
            .subscriptions
            .iter()
            .any(|entry| entry.outcome == Outcome::Subscribed && !is_episodic(&entry.characteristic));
        streams.then(|| now + SILENCE_LIMIT)
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8], now: Mono) {
        match self.phase {
            Phase::Down => return,
            Phase::Identifying | Phase::Asking => {
                let detail = format!("a value of {of:?} before the device said who it is: dropped");
                return self.report(FaultKind::Unexpected, detail);
            }
            Phase::Subscribing => {}
            Phase::Running => self.deadline = self.silence_deadline(now),
        }
        let known = |profile: &&mut Profile| profile.row.subscribes.contains(&of);
        let Some(profile) = self.profiles.iter_mut().find(known) else {
            return self
                .report(FaultKind::Unexpected, format!("a value of {of:?}, which nobody subscribed to"));
        };
        let outcome = profile.decoder.handle_value(of, value);
        self.take(outcome);
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }

    /// Reports why and hangs up; what still comes of this connection is ignored.
    fn give_up(&mut self, kind: FaultKind, detail: String) {
        self.report(kind, detail);
        self.actions.push_back(Action::Command(LinkCommand::HangUp));
        self.phase = Phase::Down;
        self.deadline = None;
        self.identify_at = None;
        self.asked = None;
        self.asking.clear();
    }
}

impl Driver for Collector {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        let now = now.mono;
        match event {
            LinkEvent::Up => {
                self.reset();
                self.phase = Phase::Identifying;
                self.deadline = Some(now + SETUP_LIMIT);
                self.ask_who_it_is(now);
            }
            LinkEvent::Down(_) => self.reset(),
            LinkEvent::ReadDone(..) | LinkEvent::Subscribed(..) if self.phase == Phase::Down => {}
            LinkEvent::Written(..) if self.phase == Phase::Down => {}
            LinkEvent::Written(to, _) => {
                self.report(FaultKind::Unexpected, format!("a write to {to:?} that nobody made"));
            }
            LinkEvent::ReadDone(of, result) if of.service == DEVICE_INFORMATION => {
                self.handle_read(*of, result, now);
            }
            LinkEvent::ReadDone(of, result) => self.handle_answer(*of, result, now),
            LinkEvent::Subscribed(to, result) => self.handle_subscribed(*to, result, now),
            LinkEvent::Value(of, value) => self.handle_value(*of, value, now),
            LinkEvent::Bytes(bytes) => {
                let count = bytes.len();
                self.report(FaultKind::Unexpected, format!("{count} bytes that belong to no characteristic"));
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = now.mono;
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
    }

    fn poll_timeout(&self) -> Option<Mono> {
        self.deadline.into_iter().chain(self.identify_at).min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

fn strings() -> impl Iterator<Item = Characteristic> {
    STRINGS.into_iter().map(|uuid| Characteristic { service: DEVICE_INFORMATION, uuid })
}

/// A Device Information string as a person would read it. DIS demands UTF-8 without saying how it
/// ends, and devices pad with NULs and blanks; control characters are left out.
fn readable(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    let text = String::from_utf8_lossy(value.get(..end)?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_STRING).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
