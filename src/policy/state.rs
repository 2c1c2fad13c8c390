//! What is known of one device: its link, who it said it is, what was counted.

use std::collections::{BTreeMap, BTreeSet};

use super::change::expects_the_same;
use super::event::{Detection, Event};
use super::hold::{Hold, KeptBack};
use super::identity::mismatch;
use super::open::{self, Open};
use super::silence::Watch;
use super::{Admitted, DeviceRule, Refusal, Trust, Verdict, hold};
use crate::device::observation::{Observation, Phase, Value};
use crate::device::pin::Pin;
use crate::device::{DeviceIndex, FaultKind, Identity};
use crate::time::Now;

/// Whether the link is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// It has not been up since the daemon started.
    #[default]
    Never,
    /// It is up.
    Up,
    /// It is down, and why.
    Down(String),
}

/// The kinds of refusals, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// See [`Refusal::Unidentified`].
    Unidentified,
    /// See [`Refusal::Mismatch`].
    Mismatch,
    /// See [`Refusal::Part`].
    Part,
    /// See [`Refusal::Element`].
    Element,
    /// See [`Refusal::Held`].
    Held,
}

impl RefusalKind {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unidentified => "unidentified",
            Self::Mismatch => "mismatch",
            Self::Part => "part",
            Self::Element => "element",
            Self::Held => "advisory",
        }
    }
}

/// The most alarms of one device that are kept apart: one is enough to say that one is on.
const MOST_ALARMS: usize = 256;

/// Whether something that happened `count` times should be logged this time: at 1, 10, 100, ...
pub const fn should_log(count: u64) -> bool {
    let mut power: u64 = 1;
    while power < count {
        power = match power.checked_mul(10) {
            Some(next) => next,
            None => return false,
        };
    }
    power == count
}

/// Whether it is on the allowlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    #[default]
    Listed,
    /// It was taken off, and the same device goes on under another entry.
    GoesOn,
    /// It was taken off.
    Gone,
}

/// What is known of one device. Read through the methods; changed by the gatekeeper alone.
#[derive(Clone, Debug, Default)]
pub struct DeviceState {
    link: LinkState,
    link_since: Option<Now>,
    stated: Option<Identity>,
    quarantine: Option<Refusal>,
    /// The keys that its rule demands were not there when it was last tried.
    is_insecure: bool,
    /// How often they were not there.
    insecure: u64,
    identified: bool,
    last_reading: Option<Now>,
    admitted: u64,
    refused: BTreeMap<RefusalKind, u64>,
    faults: BTreeMap<FaultKind, u64>,
    worth_logging: bool,
    /// The alarms that are on, passed on or not, by code and channel: as many as are kept.
    alarms: BTreeSet<(String, u8)>,
    /// Its signs of life.
    watch: Watch,
    /// Its alarms that were told and are on.
    pub(super) open: Open,
    /// How often the link came up since the device last proved who it is or gave a reading.
    fruitless: u64,
    standing: Standing,
    /// Why nothing of it passes by an advisory.
    pub(super) held: Option<Hold>,
    pub(super) kept_back: KeptBack,
}

/// What a device is, which was not known before: told when something else was.
pub(super) fn handle_pin(rule: &DeviceRule, pin: Pin, at: Now) -> Verdict {
    let Some(detail) = pin.change else { return Verdict::Noted };
    let device = rule.card.id.clone();
    Verdict::Tell(Event { detection: pin.of.into(), phase: Phase::Start, device, detail, at })
}

impl DeviceState {
    /// Of a device that is put on the allowlist while the gate is open. `before`: the last entry of the same id that
    /// is not forgotten, and what is known of it. `counted`: how many observations were admitted of those that are.
    pub(super) fn listed(
        rule: &DeviceRule,
        (before, counted): (Option<(&DeviceRule, &Self)>, u64),
        now: Now,
    ) -> Self {
        let fresh = Self { watch: Watch::listed(now), admitted: counted, ..Self::default() };
        let Some((before, known)) = before else { return fresh };
        let fresh = Self { admitted: known.admitted.max(counted), is_insecure: known.is_insecure, ..fresh };
        if !expects_the_same(before, rule) {
            return fresh;
        }
        let watch =
            if known.standing == Standing::GoesOn { known.watch.clone() } else { fresh.watch.clone() };
        Self { stated: known.stated.clone(), quarantine: known.quarantine.clone(), watch, ..fresh }
    }

    /// It was taken off the allowlist: its alarms that are on are told to be over, as nobody who told of them sees
    /// their end. A silence too, but where the same device goes on (`goes_on`): nothing was heard of it.
    pub(super) fn handle_retired(
        &mut self,
        goes_on: bool,
        (device, now): (DeviceIndex, Now),
    ) -> Vec<Admitted> {
        self.standing = if goes_on { Standing::GoesOn } else { Standing::Gone };
        let silence = if goes_on { None } else { self.watch.handle_dropped(now) };
        let over: Vec<_> = self.open.end(open::TEXT).chain(silence).collect();
        over.into_iter().map(|one| self.numbered(one, device, now)).collect()
    }

    /// What is told to be over does not go on with another entry.
    pub(super) fn forget_quarantine(&mut self) -> bool {
        self.quarantine.take().is_some()
    }

    /// The same of its bond.
    pub(super) const fn forget_insecure(&mut self) -> bool {
        std::mem::replace(&mut self.is_insecure, false)
    }

    /// Whether it was taken off the allowlist.
    pub(super) const fn is_retired(&self) -> bool {
        !matches!(self.standing, Standing::Listed)
    }

    /// Whether the link is there.
    pub const fn link(&self) -> &LinkState {
        &self.link
    }

    /// When the link last came up or went down.
    pub const fn link_since(&self) -> Option<Now> {
        self.link_since
    }

    /// What the device last said of itself, on whichever connection.
    pub const fn stated(&self) -> Option<&Identity> {
        self.stated.as_ref()
    }

    /// Whether an alarm of it is on, as far as is known: one that is not connected, or silent for longer than it
    /// may be, says nothing of its alarms. One in quarantine does not keep the fleet waiting: whoever has it in hand
    /// could keep away the bundle that mends it.
    pub fn is_in_alarm(&self) -> bool {
        self.held.is_none()
            && !self.alarms.is_empty()
            && self.link == LinkState::Up
            && self.watch.silent_since().is_none()
    }

    /// Whether it has proved on the present connection that it is the right one.
    pub const fn is_identified(&self) -> bool {
        self.identified
    }

    /// Why everything of it is refused, when it said that it is another device.
    pub const fn quarantine(&self) -> Option<&Refusal> {
        self.quarantine.as_ref()
    }

    /// When the last observation of it was admitted.
    pub const fn last_reading(&self) -> Option<Now> {
        self.last_reading
    }

    /// How many of its observations were admitted, the gate's own words about it included.
    pub const fn admitted(&self) -> u64 {
        self.admitted
    }

    /// How often something was refused, by kind.
    pub const fn refused(&self) -> &BTreeMap<RefusalKind, u64> {
        &self.refused
    }

    /// How often something was wrong with what came in, by kind.
    pub const fn faults(&self) -> &BTreeMap<FaultKind, u64> {
        &self.faults
    }

    /// Since when nothing is known of it, while that is longer than it may be quiet.
    pub fn silent_since(&self) -> Option<Now> {
        self.watch.silent_since()
    }

    /// Whether it is not connected to, as its bond is not what its rule demands.
    pub const fn is_insecure(&self) -> bool {
        self.is_insecure
    }

    /// How often that was so when it was to be connected to.
    pub const fn insecure(&self) -> u64 {
        self.insecure
    }

    /// How often it was longer than it may be.
    pub const fn silences(&self) -> u64 {
        self.watch.silences()
    }

    /// Tells of a silence that is due, once.
    pub(super) fn handle_silence(
        &mut self,
        rule: &DeviceRule,
        begun: Now,
        (device, now): (DeviceIndex, Now),
    ) -> Option<Admitted> {
        if self.quarantine.is_some() || self.held.is_some() {
            return None;
        }
        let told = self.watch.handle_silence(rule.quiet?, Some(begun), now)?;
        Some(self.numbered(told, device, now))
    }

    /// Takes note that a reading of it, or of a part behind its port, was admitted.
    pub(super) fn handle_sign(
        &mut self,
        rule: &DeviceRule,
        begun: Option<Now>,
        (device, at): (DeviceIndex, Now),
    ) -> Vec<Admitted> {
        if self.quarantine.is_some() || self.held.is_some() {
            // Parts that prove themselves say nothing of the rack that should be there.
            return Vec::new();
        }
        let told = self.watch.handle_sign(rule.quiet, begun, at);
        told.into_iter().map(|one| self.numbered(one, device, at)).collect()
    }

    pub(super) fn numbered(&mut self, observation: Observation, device: DeviceIndex, at: Now) -> Admitted {
        self.admitted = self.admitted.saturating_add(1);
        Admitted { device, seq: self.admitted, at, observation }
    }

    pub(super) const fn is_worth_logging(&self) -> bool {
        self.worth_logging
    }

    /// A new connection: the other end may be another device. A quarantine stays until the right
    /// device speaks, or unplugging for a second would lift it where the link alone vouches.
    pub(super) fn handle_up(&mut self, rule: &DeviceRule, at: Now) -> Option<Event> {
        self.link = LinkState::Up;
        self.link_since = Some(at);
        self.identified = false;
        // A port opens also when nobody is at its other end: that is one event, however often.
        self.fruitless = self.fruitless.saturating_add(1);
        self.worth_logging = should_log(self.fruitless);
        let was_insecure = std::mem::take(&mut self.is_insecure);
        was_insecure.then(|| Event {
            detection: Detection::Bond,
            phase: Phase::End,
            device: rule.card.id.clone(),
            detail: "it was connected with the keys that its rule demands".to_owned(),
            at,
        })
    }

    /// The keys that its rule demands are not there: told once, until it is connected with them.
    pub(super) fn handle_insecure(&mut self, rule: &DeviceRule, at: Now) -> Option<Event> {
        let is_new = !std::mem::replace(&mut self.is_insecure, true);
        self.insecure = self.insecure.saturating_add(1);
        is_new.then(|| Event {
            detection: Detection::Bond,
            phase: Phase::Start,
            device: rule.card.id.clone(),
            detail: "it is not connected and nothing of it is read; look whether it was reset or exchanged, \
                     then pair it: wardline pair"
                .to_owned(),
            at,
        })
    }

    /// What a driver still says about the connection that just ended (a communication-lost alarm)
    /// belongs to it, so the identity stays until the next connection.
    /// A device that stays away is one event, not one for each attempt.
    pub(super) fn handle_down(&mut self, reason: String, at: Now) {
        let down = LinkState::Down(reason);
        self.worth_logging = self.link != down && (self.fruitless <= 1 || should_log(self.fruitless));
        if self.link == LinkState::Up || self.link_since.is_none() {
            self.link_since = Some(at);
        }
        self.link = down;
    }

    /// The event is an edge: of a device that goes on to say that it is another one there is no second.
    pub(super) fn handle_identity(
        &mut self,
        rule: &DeviceRule,
        stated: Identity,
        at: Now,
    ) -> (Verdict, Option<Event>) {
        let event = |phase, detail| {
            let device = rule.card.id.clone();
            Event { detection: Detection::Identity, phase, device, detail, at }
        };
        let found = mismatch(&rule.expects, &stated);
        let changed = self.stated.as_ref() != Some(&stated);
        self.stated = Some(stated);
        let Some(found) = found else {
            self.worth_logging = changed || !self.identified;
            self.identified = true;
            self.fruitless = 0;
            let over = self.quarantine.take().map(|_| {
                event(Phase::End, "the device that the allowlist expects is there again".to_owned())
            });
            return (Verdict::Noted, over);
        };
        let refusal = Refusal::Mismatch {
            device: rule.card.id.clone(),
            field: found.field,
            stated: found.stated,
            expected: found.expected,
        };
        self.identified = false;
        let begun = self.quarantine.replace(refusal.clone()).is_none().then(|| {
            let field = found.field;
            let detail = format!(
                "its {field} is not the one in the allowlist: nothing of it passes until the right device speaks; what it said is in the status and the log of the gateway"
            );
            event(Phase::Start, detail)
        });
        (self.refuse(refusal), begun)
    }

    /// Why nothing of it may pass at the moment, whatever it is.
    pub(super) fn doubt(&self, rule: &DeviceRule) -> Option<Refusal> {
        if self.quarantine.is_some() {
            return self.quarantine.clone();
        }
        if self.held.is_some() {
            return self.hold_refusal(rule);
        }
        (!self.is_proven(rule)).then(|| Refusal::Unidentified { device: rule.card.id.clone() })
    }

    /// Whether it has proved who it is, as far as it has to.
    pub(super) fn is_proven(&self, rule: &DeviceRule) -> bool {
        self.identified || rule.trust != Trust::ReportedIdentity
    }

    pub(super) fn handle_observation(
        &mut self,
        rule: &DeviceRule,
        observation: Observation,
        device: DeviceIndex,
        at: Now,
    ) -> Verdict {
        if let Some(refusal) = self.doubt(rule) {
            return self.refuse_observation(rule, refusal, &observation);
        }
        // An alarm at a bed is one, whether it is passed on or not.
        self.note_alarm(&observation);
        if !rule.elements.iter().any(|metric| metric.code == observation.metric.code) {
            let reference = observation.metric.reference;
            return self.refuse(Refusal::Element { device: rule.card.id.clone(), reference });
        }
        self.last_reading = Some(at);
        self.fruitless = 0;
        self.worth_logging = false;
        self.open.handle_admitted(&observation);
        Verdict::Admit(self.numbered(observation, device, at))
    }

    /// What is refused by an advisory may be an alarm at a bed: that is kept in mind.
    pub(super) fn refuse_observation(
        &mut self,
        rule: &DeviceRule,
        refusal: Refusal,
        observation: &Observation,
    ) -> Verdict {
        if hold::is_hold(&refusal) {
            self.note_alarm(observation);
            self.keep_back(rule, observation);
            if !self.is_proven(rule) {
                // Its driver must not take it for known, as nobody keeps it in mind.
                return self.refuse(Refusal::Unidentified { device: rule.card.id.clone() });
            }
        }
        self.refuse(refusal)
    }

    /// What a device tells of the past is no alarm now.
    fn note_alarm(&mut self, observation: &Observation) {
        let (Value::Alarm(alarm), None) = (&observation.value, &observation.record) else { return };
        let key = (alarm.code.clone(), observation.channel);
        match alarm.phase {
            Phase::End => drop(self.alarms.remove(&key)),
            Phase::Start | Phase::Update if self.alarms.len() < MOST_ALARMS => drop(self.alarms.insert(key)),
            Phase::Start | Phase::Update => {}
        }
    }

    pub(super) fn handle_fault(&mut self, kind: FaultKind) {
        let count = self.faults.entry(kind).or_default();
        *count = count.saturating_add(1);
        self.worth_logging = should_log(*count);
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) -> Verdict {
        let count = self.refused.entry(refusal.kind()).or_default();
        *count = count.saturating_add(1);
        self.worth_logging = should_log(*count);
        Verdict::Refuse(refusal)
    }
}
