//! Who may speak and what may leave: default deny.
//!
//! In: the [`Report`]s of the device sessions. Out: [`Admitted`] observations, and for everything
//! else a [`Refusal`] that is counted and visible. Pure: `now` comes with each report.
//!
//! What never happens: an observation passes before its device has proved who it is on the present
//! connection (or its rule says that the link alone vouches); one passes after its device said that
//! it is another one, until it says that it is the right one; an element passes that the device's
//! rule does not list. [`Admitted`] can only be made here, so what was not admitted cannot be stored
//! or sent.
//!
//! Silence is data: when nothing of a device was admitted for longer than its rule says it may be
//! quiet, the gate itself says so (see `silence`), and when it is over, from when to when it was. That a
//! device is another one, and that the right one is there again, is an [`Event`]: it
//! goes to a topic of the gateway, as nothing may leave under the name of a device that is not there.
//!
//! A device may be in quarantine by an advisory (see [`hold`]): then nothing of it passes, alarms neither, and each
//! alarm that is kept back is told.
//!
//! A value outside what is plausible is flagged and passes: dropping it would hide the moment at
//! which a person should look.

mod change;
pub mod event;
pub mod hold;
mod identity;
mod open;
mod silence;
mod state;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::device::nomenclature::{FAHRENHEIT, INCH, KILOPASCAL, METRE, Metric, POUND, Unit};
use crate::device::observation::{Lane, Observation, Quality, Value};
use crate::device::{DeviceIndex, Identity, Report, ReportBody};
use crate::time::Now;

pub use change::Misplaced;
use event::{Event, Word};
use hold::Holds;
pub use identity::{Mismatch, mismatch};
pub use state::{DeviceState, LinkState, RefusalKind, should_log};

/// What is known of a device before it says a word; travels with its readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCard {
    /// The device's name in configuration and topics: `[a-z0-9-]{1,32}`.
    pub id: String,
    /// The driver or profiles, for instance `alaris-asena` or `heart-rate`.
    pub model: String,
    /// HMAC-SHA-256 of the asset's tag under the ward key, first 16 bytes, hex: the identity that
    /// leaves the gateway.
    pub pseudonym: String,
    /// The pseudonym of the place of which it speaks, where it is a sensor of a place (a room, a refrigerator).
    pub location: Option<String>,
    /// Whether the link is encrypted and bonded (`bonded`), open by explicit rule (`open`), or a
    /// wire (`serial`).
    pub security: &'static str,
}

/// What the allowlist says of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Its card.
    pub card: DeviceCard,
    /// What the device must say of itself. A field that is given here must be stated and equal;
    /// a field that is not is recorded only.
    pub expects: Identity,
    /// Whether observations may pass although the device cannot say who it is (its protocol has no
    /// identity, or its rule says so): then the port or address alone vouches.
    pub trust: Trust,
    /// The elements that may leave.
    pub elements: Vec<&'static Metric>,
    /// The device behind whose port it is, when it is a part of one. Where the link alone vouches for
    /// the part, that device must be the right one: a place in another rack vouches for nothing.
    pub behind: Option<DeviceIndex>,
    /// How long a device that is well may give no reading, nor a part behind its port. Longer is told.
    /// `None`: any time.
    pub quiet: Option<Duration>,
}

/// What vouches for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It must state the identity that its rule expects.
    ReportedIdentity,
    /// Its port or address alone.
    LinkOnly,
}

/// An observation that may leave (or the gate's own word about a device), with its number within its device and this run of the daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    device: DeviceIndex,
    seq: u64,
    at: Now,
    observation: Observation,
}

impl Admitted {
    /// Whose.
    pub const fn device(&self) -> DeviceIndex {
        self.device
    }

    /// 1, 2, 3, ... within its device and this run of the daemon: a gap is a loss.
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// When the gateway knew.
    pub const fn at(&self) -> Now {
        self.at
    }

    /// What.
    pub const fn observation(&self) -> &Observation {
        &self.observation
    }

    /// The lane that carries it.
    pub const fn lane(&self) -> Lane {
        self.observation.kind.lane()
    }
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It may leave.
    Admit(Admitted),
    /// It may not, and why. Counted.
    Refuse(Refusal),
    /// It is not to leave under the device's name, but to be told.
    Tell(Event),
    /// It was taken note of (link up or down, a fault, an identity that is as expected).
    Noted,
}

/// Why something may not leave.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The device has not said who it is on this connection.
    #[error("{device} has not said who it is on this connection: nothing of it passes until it has")]
    Unidentified {
        /// The device's id.
        device: String,
    },
    /// The device says it is another one. Everything from it is refused until it is the right one.
    #[error("{device} says its {field} is {stated:?}, the allowlist says {expected:?}: quarantined")]
    Mismatch {
        /// The device's id.
        device: String,
        /// Which part of the identity.
        field: &'static str,
        /// What the device said.
        stated: String,
        /// What the allowlist says.
        expected: String,
    },
    /// A part of the device that the allowlist does not have.
    #[error("place {part} behind {device} is not in the allowlist: nothing of it passes")]
    Part {
        /// The id of the device behind whose port it is.
        device: String,
        /// Its number.
        part: u8,
    },
    /// It is in quarantine by an advisory. Everything from it is refused until that is lifted.
    #[error("{device} is in quarantine by advisory {advisory}, nothing of it passes: {reason}")]
    Held {
        /// The device's id.
        device: String,
        /// The advisory.
        advisory: String,
        /// Who wants it so, and why.
        reason: String,
    },
    /// The element is not in the device's list.
    #[error("{device} may not report {reference}: add it to the device's `elements` if it should")]
    Element {
        /// The device's id.
        device: String,
        /// The element's reference id.
        reference: &'static str,
    },
}

impl Refusal {
    /// Whether it was refused because of who the device is. The right device would have been heard: what was
    /// refused must not count as taken, or whoever sent it forgets it.
    pub const fn is_of_identity(&self) -> bool {
        match self {
            // A quarantine is lifted one day: what a device keeps until then is not lost.
            Self::Unidentified { .. } | Self::Mismatch { .. } | Self::Held { .. } => true,
            Self::Part { .. } | Self::Element { .. } => false,
        }
    }

    /// The kind, for counting.
    pub const fn kind(&self) -> RefusalKind {
        match self {
            Self::Unidentified { .. } => RefusalKind::Unidentified,
            Self::Mismatch { .. } => RefusalKind::Mismatch,
            Self::Part { .. } => RefusalKind::Part,
            Self::Element { .. } => RefusalKind::Element,
            Self::Held { .. } => RefusalKind::Held,
        }
    }
}

/// The gate. One for the whole daemon, in the one task that writes to the store.
pub struct Gatekeeper {
    /// One that was taken off the allowlist is there until the last word of it was fetched.
    places: BTreeMap<DeviceIndex, Place>,
    /// How many places were ever given: none is given twice in a run.
    given: usize,
    /// How many observations were admitted of devices that were forgotten, by their ids: whoever is listed again
    /// goes on counting.
    counted: BTreeMap<String, u64>,
    unlisted: u64,
    worth_logging: bool,
    /// When the first look at the silence was taken: nothing was known before.
    begun: Option<Now>,
    /// The gate's own words that were not fetched yet.
    words: VecDeque<Word>,
    /// Devices in quarantine by an advisory.
    holds: Holds,
}

/// A place that is given.
struct Place {
    rule: Arc<DeviceRule>,
    state: DeviceState,
}

impl Gatekeeper {
    /// From the allowlist; a device's place in it is its [`DeviceIndex`].
    pub fn new(rules: Vec<DeviceRule>) -> Self {
        let given = rules.len();
        let places =
            rules.into_iter().map(|rule| Place { rule: Arc::new(rule), state: DeviceState::default() });
        Self {
            places: (0..).map(DeviceIndex).zip(places).collect(),
            given,
            counted: BTreeMap::new(),
            unlisted: 0,
            worth_logging: false,
            begun: None,
            words: VecDeque::new(),
            holds: Holds::new(),
        }
    }

    /// Decides on one report.
    pub fn handle_report(&mut self, report: Report) -> Verdict {
        let (is_identity, at) = (matches!(report.body, ReportBody::Identity(_)), report.at);
        let verdict = self.judge(report);
        if is_identity {
            // What was kept back is told before anything else passes: the next word may be that it is over.
            self.handle_kept_back(at);
        }
        verdict
    }

    fn judge(&mut self, report: Report) -> Verdict {
        let doubt = self.doubt_of_place(report.device);
        let place = self.places.get_mut(&report.device).filter(|place| !place.state.is_retired());
        let Some(Place { rule, state }) = place else {
            let place = report.device.0;
            self.unlisted = self.unlisted.saturating_add(1);
            self.worth_logging = should_log(self.unlisted);
            return Verdict::Refuse(Refusal::Unidentified { device: format!("#{place}") });
        };
        let mut signs = [None; 2];
        let verdict = match report.body {
            ReportBody::Up => {
                self.words.extend(state.handle_up(rule, report.at).map(Word::Event));
                Verdict::Noted
            }
            // The gate holds nothing back.
            ReportBody::Commit => Verdict::Noted,
            ReportBody::Insecure => {
                self.words.extend(state.handle_insecure(rule, report.at).map(Word::Event));
                Verdict::Noted
            }
            ReportBody::Down(reason) => {
                state.handle_down(reason, report.at);
                Verdict::Noted
            }
            ReportBody::Identity(stated) => {
                let (verdict, event) = state.handle_identity(rule, stated, report.at);
                self.words.extend(event.map(Word::Event));
                verdict
            }
            ReportBody::Unlisted(part) => {
                let device = rule.card.id.clone();
                state.refuse(Refusal::Part { device, part: part.0 })
            }
            ReportBody::Pin(_, pin) => doubt
                .or_else(|| state.doubt(rule))
                .map_or_else(|| state::handle_pin(rule, pin, report.at), Verdict::Refuse),
            ReportBody::Observation(_, observation) => {
                let verdict = match doubt {
                    Some(refusal) => state.refuse_observation(rule, refusal, &observation),
                    None => state.handle_observation(
                        rule,
                        flag_implausible(observation),
                        report.device,
                        report.at,
                    ),
                };
                if matches!(verdict, Verdict::Admit(_)) {
                    signs = [Some(report.device), rule.behind];
                }
                verdict
            }
            ReportBody::Fault(fault) => {
                state.handle_fault(fault.kind);
                Verdict::Noted
            }
        };
        self.worth_logging = state.is_worth_logging();
        for device in signs.into_iter().flatten() {
            self.handle_sign(device, report.at);
        }
        verdict
    }

    /// Something of a device, or of a part behind its port, was admitted.
    fn handle_sign(&mut self, device: DeviceIndex, at: Now) {
        if let Some(Place { rule, state }) = self.places.get_mut(&device) {
            let told = state.handle_sign(rule, self.begun, (device, at));
            self.words.extend(told.into_iter().map(Word::Of));
        }
    }

    /// Looks for devices of which nothing was admitted for too long. To be called about once a second, and
    /// only when every report up to `now` was handled: what waits to be taken was not silence.
    pub fn handle_silence(&mut self, now: Now) {
        let begun = *self.begun.get_or_insert(now);
        for (device, Place { rule, state }) in &mut self.places {
            if state.is_retired() {
                continue;
            }
            let told = state.handle_silence(rule, begun, (*device, now));
            self.words.extend(told.map(Word::Of));
        }
        self.handle_kept_back(now);
    }

    /// The gate's own words: the edges of a device's silence, and events. To be asked after every report and
    /// every look at the silence, until it gives `None`.
    pub fn poll_words(&mut self) -> Option<Word> {
        let word = self.words.pop_front();
        if word.is_none() {
            self.forget_retired();
        }
        word
    }

    /// How many of them wait.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// Why the place of a part that proved nothing itself does not vouch for it at the moment: the device
    /// behind whose port it is has not said who it is, or is another one.
    fn doubt_of_place(&self, device: DeviceIndex) -> Option<Refusal> {
        let Place { rule, state } = self.places.get(&device)?;
        let behind = rule.behind?;
        let has_proved = state.is_identified() && rule.expects != Identity::default();
        if rule.trust == Trust::ReportedIdentity || has_proved {
            return None;
        }
        match self.places.get(&behind) {
            Some(Place { rule, state }) if !state.is_retired() => state.doubt(rule),
            // Cannot be: the configuration made both, and both go together. What nobody vouches for does not pass.
            Some(_) | None => Some(Refusal::Unidentified { device: rule.card.id.clone() }),
        }
    }

    /// Whether the refusal or fault that the last report led to should be written to the log: its
    /// count within its device and kind is 1, 10, 100, ... A flood costs a logarithm of lines.
    pub const fn is_worth_logging(&self) -> bool {
        self.worth_logging
    }

    /// What is known of every device of the allowlist, in the order of their index.
    pub fn snapshot(&self) -> impl Iterator<Item = (&Arc<DeviceRule>, &DeviceState)> {
        let listed = self.places.values().filter(|place| !place.state.is_retired());
        listed.map(|Place { rule, state }| (rule, state))
    }

    /// What is known of one device, also when it was taken off the allowlist and a word of it is still to be fetched.
    pub fn of(&self, device: DeviceIndex) -> Option<(&DeviceRule, &DeviceState)> {
        let Place { rule, state } = self.places.get(&device)?;
        Some((rule, state))
    }

    /// Of how many places anything is known: those of the allowlist, and those that were taken off it just now.
    pub fn places(&self) -> usize {
        self.places.len()
    }

    /// How many reports named a device that is not in the allowlist. Only a session that could not be ended
    /// in time when its device was taken off can be behind that; otherwise it is a defect of this program.
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }
}

/// Units in which a device may be set to show what is usually shown in others: the bounds of an element are
/// in the usual one, and say nothing of these.
const UNUSUAL: [&Unit; 5] = [&FAHRENHEIT, &POUND, &INCH, &METRE, &KILOPASCAL];

/// Sets [`Quality::IMPLAUSIBLE`] on a number outside its element's bounds.
fn flag_implausible(mut observation: Observation) -> Observation {
    if UNUSUAL.contains(&observation.unit) {
        return observation;
    }
    if let (Value::Decimal(value), Some((least, most))) = (&observation.value, observation.metric.plausible) {
        let value = value.approximate();
        if value < f64::from(least) || value > f64::from(most) {
            observation.quality = observation.quality.with(Quality::IMPLAUSIBLE);
        }
    }
    observation
}
