//! Devices in quarantine by an advisory: nothing of them passes.
//!
//! In: which devices, and by which advisory. Out: refusals of all that they say, and an [`Event`] when it begins and
//! ends. A quarantine is never an advisory's doing alone: a person has named the device, its model or its maker in a
//! document that several have signed.
//!
//! **Alarms** do not pass either. What a device says that is believed to be in somebody else's hands is worth nothing,
//! a forged alarm least of all, and whoever signs a quarantine is promised no record of the device. But that an alarm
//! is on at a bed is never lost in silence: each that begins is told at once as an event (one every ten seconds
//! at most, with the number of those since), without what the device says of it. Those that were told and are on when
//! the quarantine begins are told to end, as nobody will see their end, with a text that says so. When the quarantine is
//! lifted, those that are on are told as they began.

use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::{Detection, Event, Word};
use super::open::Open;
use super::state::DeviceState;
use super::{DeviceRule, Gatekeeper, Place, Refusal};
use crate::device::DeviceIndex;
use crate::device::observation::{Observation, Phase, Value};
use crate::time::{Mono, Now};

/// How often at most it is told of one device that alarms of it were not passed on.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The text of the edge that ends an alarm that is on when the quarantine begins.
const TEXT: &str =
    "the device is in quarantine by an advisory since this is on: whether it is over is not known here";

/// Why nothing of a device passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    /// `document.tracking.id` of the advisory.
    pub advisory: String,
    /// Who wants it so and why, in words.
    pub reason: String,
}

/// All of them, by the device's id.
pub type Holds = BTreeMap<String, Hold>;

/// The alarms of one device that were not passed on.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptBack {
    /// Whether they are kept back now.
    is_active: bool,
    /// Those that are on.
    on: Open,
    /// How many began that nobody was told of yet, and when it was told last.
    owed: (u32, Option<Mono>),
}

impl KeptBack {
    /// Takes note of what is not passed on. What a device tells of the past is no alarm now. One that has not proved who
    /// it is (`is_proven`) is told of, but nothing is kept that would be passed on under the name of the right one.
    fn handle_refused(&mut self, rule: &DeviceRule, observation: &Observation, is_proven: bool) {
        let (Value::Alarm(alarm), None) = (&observation.value, &observation.record) else { return };
        if !rule.elements.iter().any(|metric| metric.code == observation.metric.code) {
            return;
        }
        let is_new = alarm.phase != Phase::End && !self.on.has(observation);
        if is_proven {
            self.on.handle_admitted(observation);
        }
        self.owed.0 = self.owed.0.saturating_add(u32::from(is_new));
    }

    /// What is to be told of it now.
    fn poll_event(&mut self, rule: &DeviceRule, at: Now) -> Option<Event> {
        let (owed, told) = self.owed;
        let is_due = told.is_none_or(|told| at.mono.since(told) >= TELL_EVERY);
        if owed == 0 || !is_due {
            return None;
        }
        self.owed = (0, Some(at.mono));
        let detail = format!("{owed} alarm(s) of it began and are not passed on: look at the device");
        Some(event(Phase::Update, rule, detail, at))
    }
}

fn event(phase: Phase, rule: &DeviceRule, detail: String, at: Now) -> Event {
    Event { detection: Detection::Quarantine, phase, device: rule.card.id.clone(), detail, at }
}

impl DeviceState {
    /// Why nothing of it passes by an advisory.
    pub const fn hold(&self) -> Option<&Hold> {
        self.held.as_ref()
    }

    /// As [`Self::hold`], in words.
    pub fn hold_refusal(&self, rule: &DeviceRule) -> Option<Refusal> {
        let Hold { advisory, reason } = self.held.clone()?;
        Some(Refusal::Held { device: rule.card.id.clone(), advisory, reason })
    }

    /// From here on this holds.
    fn handle_hold(&mut self, rule: &DeviceRule, hold: Option<&Hold>, at: Now) -> Option<Event> {
        let was = mem::replace(&mut self.held, hold.cloned());
        match (was, hold) {
            (None, Some(Hold { advisory, .. })) => {
                let detail = format!(
                    "nothing of it is passed on, alarms neither, by {advisory}: look after its patient at the device"
                );
                Some(event(Phase::Start, rule, detail, at))
            }
            (Some(_), None) => {
                Some(event(Phase::End, rule, "what it says is passed on again".to_owned(), at))
            }
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    /// What stood when the daemon ended stands, without a word.
    fn go_on_with_hold(&mut self, hold: Option<&Hold>) {
        self.held = hold.cloned();
    }

    /// A device is listed. `before`: what was known of the same under another entry. `true`: that it is in quarantine
    /// is to be told. Which alarms are on is not taken over: the driver of the new entry says it anew, and knows of no
    /// other's end.
    pub(super) fn inherit(&mut self, hold: Option<&Hold>, before: Option<&Self>) -> bool {
        self.held = hold.cloned();
        if let Some(before) = before {
            let KeptBack { is_active, owed, on: _ } = before.kept_back;
            self.kept_back = KeptBack { is_active, owed, on: Open::default() };
        }
        hold.is_some() && before.is_none_or(|before| before.held.is_none())
    }

    /// It is not listed any more. `true`: it was in quarantine.
    pub(super) fn forget_hold(&mut self) -> bool {
        self.kept_back = KeptBack::default();
        self.held.take().is_some()
    }

    /// What it says is kept back from here on: those that were told to be on have no end that anybody would see.
    fn begin_to_keep(&mut self, (device, at): (DeviceIndex, Now)) -> Vec<Word> {
        self.kept_back.is_active = true;
        self.kept_back.on.merge(&self.open);
        let over: Vec<_> = self.open.end(TEXT).collect();
        over.into_iter().map(|one| Word::Of(self.numbered(one, device, at))).collect()
    }

    /// What is refused may be an alarm at a bed.
    pub(super) fn keep_back(&mut self, rule: &DeviceRule, observation: &Observation) {
        let is_proven = self.is_proven(rule);
        self.kept_back.handle_refused(rule, observation, is_proven);
    }

    /// The alarms that were not passed on and are on: nothing keeps them back any more.
    fn let_go(&mut self, rule: &DeviceRule, (device, at): (DeviceIndex, Now)) -> Vec<Word> {
        self.kept_back.is_active = false;
        let on = mem::take(&mut self.kept_back.on);
        on.into_observations()
            .filter(|one| rule.elements.iter().any(|metric| metric.code == one.metric.code))
            .map(|observation| {
                self.open.handle_admitted(&observation);
                Word::Of(self.numbered(observation, device, at))
            })
            .collect()
    }
}

impl Gatekeeper {
    /// These were in quarantine when the daemon ended: that was told, and is told to be over when it is.
    #[must_use]
    pub fn with_holds(mut self, holds: Holds) -> Self {
        for Place { rule, state } in self.places.values_mut() {
            state.go_on_with_hold(holds.get(&rule.card.id));
        }
        self.holds = holds;
        self
    }

    /// From here on nothing passes of these devices, and of all others what their rules say.
    pub fn handle_holds(&mut self, holds: Holds, now: Now) {
        self.holds = holds;
        for Place { rule, state } in self.places.values_mut().filter(|place| !place.state.is_retired()) {
            let told = state.handle_hold(rule, self.holds.get(&rule.card.id), now);
            self.words.extend(told.map(Word::Event));
        }
        self.handle_kept_back(now);
    }

    /// Tells of alarms that are kept back, and passes on those that are not any more. To be called now and then.
    pub(super) fn handle_kept_back(&mut self, now: Now) {
        let listed = self.places.iter().filter(|(_, place)| !place.state.is_retired());
        let listed: Vec<_> = listed.map(|(device, _)| *device).collect();
        for device in listed {
            let of_place = self.doubt_of_place(device);
            let Some(Place { rule, state }) = self.places.get_mut(&device) else { continue };
            let words = match (of_place.or_else(|| state.doubt(rule)), state.kept_back.is_active) {
                (Some(doubt), false) if is_hold(&doubt) => state.begin_to_keep((device, now)),
                (None, true) => state.let_go(rule, (device, now)),
                // One that does not prove who it is, is not let go either.
                (Some(_) | None, _) => Vec::new(),
            };
            self.words.extend(words);
            self.words.extend(state.kept_back.poll_event(rule, now).map(Word::Event));
        }
    }

    /// The quarantine of a device that begins.
    pub(super) fn hold_of(&self, rule: &DeviceRule) -> Option<&Hold> {
        self.holds.get(&rule.card.id)
    }
}

/// Tells that a device begins which is in quarantine already, or ends as such.
pub(super) fn told(rule: &DeviceRule, phase: Phase, at: Now) -> Word {
    let detail = match phase {
        Phase::End => "its entry in the allowlist was taken away",
        Phase::Start | Phase::Update => "nothing of it is passed on, alarms neither",
    };
    Word::Event(event(phase, rule, detail.to_owned(), at))
}

/// Whether it is refused by an advisory, its own or that of the device behind whose port it is: then alarms are kept back.
pub(super) const fn is_hold(doubt: &Refusal) -> bool {
    matches!(doubt, Refusal::Held { .. })
}
