//! Whether a gateway is as well under a new bundle as it was before: what decides a trial.
//!
//! In: what held before the bundle was applied, what is measured now, and how long the trial has run. Out:
//! wait, commit, or roll back with the condition that does not hold. Every condition is asked for only if it
//! held before: a bundle is not blamed for a broker that was away already, but it may not be the reason that
//! the gateway goes silent. So one that says where the uplink goes, or what it trusts there, has to prove that in
//! any case: with a broker that was away before, a wrong one would look no worse.
//!
//! What is counted is counted from the trial's beginning on, and so won with its settings. Each trial puts a record
//! of its own into the store (that it begins is an event): so there is something to be written, read again and
//! taken, also where no device speaks. A device that speaks too seldom to be heard twice within the trial (a monitor that
//! is quiet for a day) proves nothing by its silence: it is named as not proven and decides nothing.
//!
//! What held before is kept with the change ([`Change::begin`](super::change::Change::begin)), so that a power
//! cut during the trial does not lose it. The trial's time begins anew at a start.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Mono;

/// How long things may take. A bundle may lengthen them; the floor of the gateway says how little is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a trial runs before it can be stood.
    pub trial: Duration,
    /// Within what the broker must have taken a record of its own.
    pub uplink: Duration,
    /// The most resident memory, in bytes.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { trial: Duration::from_secs(300), uplink: Duration::from_secs(120), memory: 64 << 20 }
    }
}

/// Between what the limits of a bundle may lie. It is the gateway's own and no bundle changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The least.
    pub least: Limits,
    /// The most.
    pub most: Limits,
}

impl Default for Floor {
    /// A trial is not shorter than five minutes, and not so long that nobody waits for its end. Four times the
    /// memory is the most that a bundle may allow.
    fn default() -> Self {
        let least =
            Limits { trial: Duration::from_secs(300), uplink: Duration::from_secs(30), memory: 16 << 20 };
        let most =
            Limits { trial: Duration::from_secs(3_600), uplink: Duration::from_secs(600), memory: 256 << 20 };
        Self { least, most }
    }
}

impl Limits {
    /// As near to what is wanted as the floor lets it. The uplink has no longer than the trial.
    #[must_use]
    pub fn clamped(self, floor: &Floor) -> Self {
        let Floor { least, most } = floor;
        let trial = self.trial.min(most.trial).max(least.trial);
        let uplink = self.uplink.min(most.uplink).max(least.uplink).min(trial);
        Self { trial, uplink, memory: self.memory.min(most.memory).max(least.memory) }
    }
}

/// What a device takes beside its id: two commas, and the longest time, of 20 digits.
const QUIET: usize = 22;

/// The most bytes that the devices of a baseline take as JSON.
const MOST_IDS: usize = 24 * 1_024;

/// What held before a trial: as much of [`Vitals`] as a trial is judged by, to be kept with the change.
#[expect(clippy::struct_excessive_bools, reason = "each is one measurement, none excludes another")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Whether there was a connection to the broker, then or a moment before.
    pub is_uplink_up: bool,
    /// Whether the broker let everything be written that was sent. What was kept before this was asked for says no.
    #[serde(default)]
    pub is_authorised: bool,
    /// Whether the bundle has the uplink go elsewhere, or trust others there: what was before says nothing of it.
    #[serde(default)]
    pub is_uplink_another: bool,
    /// Whether the store kept what was written.
    pub is_store_sound: bool,
    /// The devices that spoke.
    pub devices: Vec<String>,
    /// How long each of them might be quiet, in seconds, in the same order: by that it is judged, as a bundle that
    /// lets a device be quiet for longer would otherwise excuse its own silence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quiet: Vec<u64>,
    /// Values that were understood.
    pub decoded: u64,
    /// Values that were not.
    pub undecoded: u64,
    /// Whether memory was within its bound.
    pub is_memory_within: bool,
    /// Whether every part moved.
    pub is_alive: bool,
    /// Whether the certificate was good.
    pub is_certificate_good: bool,
}

impl Baseline {
    /// Of what was measured just before the bundle is applied. A device spoke if it did within twice the time
    /// that it may be quiet.
    pub fn of(before: &Vitals, limits: &Limits) -> Self {
        let spoke = |device: &&DeviceVitals| {
            device.since_reading.is_some_and(|ago| ago <= device.quiet.saturating_mul(2))
        };
        let spoke: Vec<&DeviceVitals> = before.devices.iter().filter(spoke).collect();
        Self::bounded(Self {
            is_uplink_up: before.is_uplink_up || before.was_uplink_up,
            is_authorised: before.is_authorised,
            is_uplink_another: false,
            is_store_sound: before.is_store_sound,
            devices: spoke.iter().map(|device| device.id.clone()).collect(),
            quiet: spoke.iter().map(|device| device.quiet.as_secs()).collect(),
            decoded: before.decoded,
            undecoded: before.undecoded,
            is_memory_within: before.memory <= limits.memory,
            is_alive: before.is_alive,
            is_certificate_good: before.is_certificate_good,
        })
    }

    /// The same with no more devices than fit into the state; those that are left out decide nothing.
    pub(super) fn bounded(mut self) -> Self {
        let mut bytes = 0usize;
        self.devices.retain(|id| {
            bytes = bytes.saturating_add(serde_json::to_string(id).map_or(MOST_IDS, |id| id.len() + QUIET));
            bytes <= MOST_IDS
        });
        self.quiet.truncate(self.devices.len());
        self
    }
}

/// What is measured of a gateway.
#[expect(clippy::struct_excessive_bools, reason = "each is one measurement, none excludes another")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Whether there is a connection: its CONNACK came.
    pub is_uplink_up: bool,
    /// Whether there was one a moment ago: a broker that ends connections, or a network that stumbles, excuses no bundle.
    pub was_uplink_up: bool,
    /// Whether the broker's access list lets everything be written that is sent: it may take the events of this
    /// gateway and refuse its readings.
    pub is_authorised: bool,
    /// Records of the lanes that the broker has taken (PUBACK) since the measurement began. What it takes beside them, as
    /// heartbeats, proves nothing: it may refuse every reading.
    pub taken: u64,
    /// Records that became durable in the store since the measurement began.
    pub kept: u64,
    /// What was read of the store and sent since the measurement began.
    pub read: u64,
    /// Whether the store has no trouble with what is written to it or read from it.
    pub is_store_sound: bool,
    /// The devices that the configuration names.
    pub devices: Vec<DeviceVitals>,
    /// Values that were understood, and that were not, since the measurement began.
    pub decoded: u64,
    /// What could not be understood.
    pub undecoded: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Whether every part of the daemon moves.
    pub is_alive: bool,
    /// Whether the certificate is still good.
    pub is_certificate_good: bool,
}

/// What is measured of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceVitals {
    /// Its id.
    pub id: String,
    /// How long ago it gave its newest reading; none: never.
    pub since_reading: Option<Duration>,
    /// How long it may give none before that is told.
    pub quiet: Duration,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The broker takes what is sent.
    Uplink,
    /// The store keeps what is written.
    Store,
    /// Every device is back.
    Devices,
    /// What devices say is understood.
    Decoding,
    /// Memory is within its bound.
    Memory,
    /// Every part moves.
    Alive,
    /// The certificate is good.
    Certificate,
}

impl Condition {
    /// The word of reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Store => "store",
            Self::Devices => "devices",
            Self::Decoding => "decoding",
            Self::Memory => "memory",
            Self::Alive => "alive",
            Self::Certificate => "certificate",
        }
    }
}

/// What a condition that does not hold means for the trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It has failed.
    Ends,
    /// It may still come; at the end of the trial it has failed.
    MayCome,
    /// The trial is too short to tell: it decides nothing.
    Unproven,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Which one.
    pub condition: Condition,
    /// What is seen.
    pub seen: String,
    /// What that means.
    pub weight: Weight,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.condition.as_str(), self.seen)
    }
}

/// What a trial has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on; what does not hold yet.
    Wait(Vec<Failing>),
    /// It is stood; what could not be proven.
    Commit(Vec<Failing>),
    /// It failed.
    RollBack(Failing),
}

/// A trial from its beginning, or from the start that it was begun anew by.
#[derive(Clone, Debug)]
pub struct Trial {
    baseline: Baseline,
    limits: Limits,
    began: Mono,
}

impl Trial {
    /// A trial that begins now. The limits are those of [`Limits::clamped`].
    pub const fn new(baseline: Baseline, limits: Limits, now: Mono) -> Self {
        Self { baseline, limits, began: now }
    }

    /// What the trial has come to. Whoever is told [`Step::Commit`] or [`Step::RollBack`] makes that durable
    /// and drops the trial; until then the answer may change with the vitals.
    pub fn handle_vitals(&self, vitals: &Vitals, now: Mono) -> Step {
        judge(&self.baseline, vitals, now.since(self.began), &self.limits)
    }

    /// When it ends at the latest: vitals of then or later are never answered by [`Step::Wait`].
    pub fn ends_at(&self) -> Mono {
        self.began + self.limits.trial
    }
}

/// Decides a trial that has run for `since`.
pub fn judge(before: &Baseline, now: &Vitals, since: Duration, limits: &Limits) -> Step {
    let mut failing = failing(before, now, since, limits);
    let is_over = since >= limits.trial;
    let ends = |failing: &Failing| match failing.weight {
        Weight::Ends => true,
        Weight::MayCome => is_over,
        Weight::Unproven => false,
    };
    match failing.iter().position(ends) {
        Some(place) => Step::RollBack(failing.swap_remove(place)),
        None if is_over => Step::Commit(failing),
        None => Step::Wait(failing),
    }
}

const fn until(deadline: bool) -> Weight {
    if deadline { Weight::Ends } else { Weight::MayCome }
}

fn failing(before: &Baseline, now: &Vitals, since: Duration, limits: &Limits) -> Vec<Failing> {
    let mut failing = Vec::new();
    let mut fails = |condition, seen: String, weight| failing.push(Failing { condition, seen, weight });
    let is_uplink_asked = before.is_uplink_up || before.is_uplink_another;
    if is_uplink_asked && !(now.is_uplink_up && now.taken > 0) {
        let seen =
            if now.is_uplink_up { "nothing of this trial was taken by the broker" } else { "no connection" };
        let seen = format!("{seen} after {} s", since.as_secs());
        fails(Condition::Uplink, seen, until(since >= limits.uplink));
    } else if (before.is_authorised || before.is_uplink_another) && !now.is_authorised {
        let seen = format!("the broker's access list forbids what is sent, after {} s", since.as_secs());
        fails(Condition::Uplink, seen, until(since >= limits.uplink));
    }
    if before.is_store_sound && !now.is_store_sound {
        fails(Condition::Store, "it has trouble".to_owned(), Weight::Ends);
    } else if before.is_store_sound
        && let Some(seen) = unproven_store(now)
    {
        fails(Condition::Store, format!("{seen} after {} s", since.as_secs()), until(since >= limits.uplink));
    }
    let quiet =
        before.quiet.iter().map(|secs| Some(Duration::from_secs(*secs))).chain(std::iter::repeat(None));
    let spoke: BTreeMap<&str, Option<Duration>> =
        before.devices.iter().map(String::as_str).zip(quiet).collect();
    for device in &now.devices {
        let Some(quiet) = spoke.get(device.id.as_str()) else { continue };
        if let Some((seen, weight)) = silent(device, quiet.unwrap_or(device.quiet), since, limits) {
            fails(Condition::Devices, seen, weight);
        }
    }
    if let Some(seen) = garbled(before, now) {
        fails(Condition::Decoding, seen, Weight::MayCome);
    }
    if before.is_memory_within && now.memory > limits.memory {
        let (used, allowed) = (now.memory >> 20, limits.memory >> 20);
        fails(Condition::Memory, format!("{used} MiB are used, {allowed} are allowed"), Weight::Ends);
    }
    if before.is_alive && !now.is_alive {
        fails(Condition::Alive, "a part of the daemon stands still".to_owned(), Weight::Ends);
    }
    if before.is_certificate_good && !now.is_certificate_good {
        fails(Condition::Certificate, "the certificate is no longer good".to_owned(), Weight::Ends);
    }
    failing
}

/// What the store has not shown yet. The record of the trial's own beginning is written and flushed by the one
/// writer; what waits is read, opened and authenticated by the one reader, which only works for a connection. Where
/// there is none, nothing is known of reading but that it has no trouble.
fn unproven_store(now: &Vitals) -> Option<&'static str> {
    if now.kept == 0 {
        return Some("nothing was made durable");
    }
    (now.is_uplink_up && now.read == 0).then_some("nothing was read again")
}

/// A device that spoke before and has not spoken since. It has twice the time that it might be quiet before the
/// trial; if the trial is shorter than that, its silence says nothing. One that the bundle adds has nothing to prove.
fn silent(
    device: &DeviceVitals,
    quiet: Duration,
    since: Duration,
    limits: &Limits,
) -> Option<(String, Weight)> {
    if device.since_reading.is_some_and(|ago| ago <= since) {
        return None;
    }
    let deadline = quiet.saturating_mul(2);
    let weight = if deadline > limits.trial { Weight::Unproven } else { until(since >= deadline) };
    Some((format!("{} has given nothing for {} s", device.id, since.as_secs()), weight))
}

/// As many as before, twice over, and a handful: one garbled frame is no reason to take a ward's bundle back.
fn garbled(before: &Baseline, now: &Vitals) -> Option<String> {
    let share = |decoded: u64, undecoded: u64| {
        let of = decoded.saturating_add(undecoded).max(1);
        (undecoded.saturating_mul(1_000) / of, of)
    };
    let (was, _) = share(before.decoded, before.undecoded);
    let (is, of) = share(now.decoded, now.undecoded);
    let fails = now.undecoded > 5 && is > was.saturating_mul(2).saturating_add(10);
    fails.then(|| format!("{} of {of} values were not understood", now.undecoded))
}
