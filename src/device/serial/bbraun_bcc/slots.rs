//! The pumps of a rack: who stands in which slot, and whose a reading is.
//!
//! In: segments of one slot. Out: identities, readings, the edges of alarms, word that a pump is gone.
//!
//! A reading is told only under a serial number that was stated in the same segment, or, when the
//! rack's blocks cut a pump in two, on both sides of it: what has no serial number of its own waits
//! until the slot states one again, and is dropped unless it is the one that was stated before. A new
//! pump (`GNNEW`), a removed one, a doubt of the line: what waits is dropped.

use std::collections::BTreeMap;

use super::places::name;
use super::readings::{self, Meaning, Reading};
use super::reply::Segment;
use crate::device::alarms::{AlarmEdges, Raised};
use crate::device::nomenclature as mdc;
use crate::device::observation::{DeviceTime, Observation, Priority};
use crate::device::serial::{Faults, text};
use crate::device::{Action, FaultKind, Identity, Part};

/// The most segments of one slot that wait for a serial number.
const HELD_MAX: usize = 4;

/// The alarm that a pump was taken out of its slot (`GNERR` 39).
const REMOVED: &str = "bcc:GNERR39";

/// What goes out.
pub(super) struct Out<'a> {
    pub(super) actions: &'a mut Vec<Action>,
    pub(super) faults: &'a mut Faults,
}

/// How a segment is to be taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) meaning: Meaning,
    /// When the rack said it.
    pub(super) time: Option<DeviceTime>,
    /// Whether what states no serial number may wait for one.
    pub(super) may_wait: bool,
}

/// One slot.
#[derive(Debug, Default)]
struct Slot {
    /// Who last stood there, kept over a reconnect.
    known: Option<Identity>,
    /// Whether that was told on this connection, and the pump is not gone since.
    is_told: bool,
    /// Whether nothing speaks against it since it was last stated.
    is_sure: bool,
    /// Whether the reply that comes in has said anything of it.
    is_seen: bool,
    held: Vec<Reading>,
    /// What is on at the pump that last stood there.
    alarms: AlarmEdges,
}

/// All slots of which anything was said.
#[derive(Debug, Default)]
pub(super) struct Slots(BTreeMap<Part, Slot>);

impl Slots {
    /// A new connection: everybody has to say again who they are. Alarms are kept: they are compared
    /// once the same pump speaks again, so that one that ended meanwhile gets its end.
    pub(super) fn handle_up(&mut self) {
        for slot in self.0.values_mut() {
            let (known, alarms) = (slot.known.take(), std::mem::take(&mut slot.alarms));
            *slot = Slot { known, alarms, ..Slot::default() };
        }
    }

    /// The line is in doubt: what waits for a serial number waits in vain.
    pub(super) fn handle_doubt(&mut self, faults: &mut Faults) {
        for (part, slot) in &mut self.0 {
            slot.lose_sight(*part, faults);
        }
    }

    /// Another rack speaks, or the same one under another name: everybody has to say again who they are.
    /// Alarms are kept as over a new connection.
    pub(super) fn handle_other_rack(&mut self, actions: &mut Vec<Action>) {
        let gone = self.0.iter().filter(|(_, slot)| slot.is_told);
        actions
            .extend(gone.map(|(part, _)| Action::Gone(*part, "another rack answers on the port".to_owned())));
        self.handle_up();
    }

    /// A reply to a question for everything begins.
    pub(super) fn handle_reply_begin(&mut self) {
        self.0.values_mut().for_each(|slot| slot.is_seen = false);
    }

    /// A reply has ended: the slots that have to be asked alone, because a pump is not in it or part
    /// of what it said still waits.
    pub(super) fn unsettled(&self) -> impl Iterator<Item = Part> {
        let is_unsettled = |slot: &Slot| (slot.is_told && !slot.is_seen) || !slot.held.is_empty();
        self.0.iter().filter(move |(_, slot)| is_unsettled(slot)).map(|(part, _)| *part)
    }

    /// Whether a slot was spoken of in this reply.
    pub(super) fn is_seen(&self, part: Part) -> bool {
        self.0.get(&part).is_some_and(|slot| slot.is_seen)
    }

    /// Takes a segment that is no error.
    pub(super) fn handle_segment(
        &mut self,
        part: Part,
        segment: &Segment,
        manner: Manner,
        out: &mut Out<'_>,
    ) {
        let slot = self.0.entry(part).or_default();
        slot.is_seen = true;
        if segment.get("GNNEW").is_some() {
            slot.lose_sight(part, out.faults);
        }
        let Ok(serial) = slot.stated(segment) else {
            let detail = format!(
                "INSERNUM and INNR of slot {} do not agree, or are none: whose its readings are is not known",
                name(part)
            );
            out.faults.add(FaultKind::Malformed, detail);
            slot.lose_sight(part, out.faults);
            return;
        };
        let mut reading = readings::pump(segment, manner.meaning, out.faults);
        reading.observations.iter_mut().for_each(|said| said.device_time = manner.time);
        let Some(serial) = serial else {
            slot.hold(part, reading, manner, out.faults);
            return;
        };
        let is_same = slot.is_sure && slot.serial() == Some(serial.as_str());
        if !is_same {
            slot.lose_sight(part, out.faults);
        }
        let model = segment.get("GNNEW").or_else(|| segment.get("GNMODEL")).map(text);
        slot.identify(part, serial, model, out.actions);
        slot.is_sure = true;
        for waited in std::mem::take(&mut slot.held) {
            slot.tell(part, waited, out.actions);
        }
        slot.tell(part, reading, out.actions);
    }

    /// A pump is not there any more.
    pub(super) fn handle_gone(&mut self, part: Part, why: &str, is_removed: bool, out: &mut Out<'_>) {
        let slot = self.0.entry(part).or_default();
        slot.is_seen = true;
        slot.lose_sight(part, out.faults);
        if !std::mem::take(&mut slot.is_told) {
            return;
        }
        if is_removed {
            let edges = slot.alarms.handle_one(REMOVED, Some(removed()));
            out.actions.extend(edges.into_iter().map(|edge| Action::Observe(part, edge)));
        }
        out.actions.push(Action::Gone(part, why.to_owned()));
    }
}

impl Slot {
    fn serial(&self) -> Option<&str> {
        self.known.as_ref()?.serial.as_deref()
    }

    /// The serial number that a segment states: `INSERNUM`, and the low word of `INNR`, which has to
    /// be the same. The error: it states something that cannot be.
    fn stated(&self, segment: &Segment) -> Result<Option<String>, ()> {
        let serial = match segment.get("INSERNUM") {
            Some(digits) => Some((digits, decimal(digits).ok_or(())?)),
            None => None,
        };
        let low = match segment.get("INNR") {
            Some(digits) => Some(low_word(digits).ok_or(())?),
            None => None,
        };
        Ok(match (serial, low) {
            (None, None) => None,
            (Some((_, 0)), _) | (None, Some(0)) => return Err(()),
            (Some((digits, number)), low) if low.is_none_or(|low| number & 0xFFFF == low) => {
                Some(digits.to_owned())
            }
            (Some(_), _) => return Err(()),
            (None, Some(low)) => {
                let known =
                    self.serial().filter(|known| decimal(known).is_some_and(|all| all & 0xFFFF == low));
                Some(known.map_or_else(|| low.to_string(), str::to_owned))
            }
        })
    }

    /// Whatever waits here may be of another pump than the one that speaks next.
    fn lose_sight(&mut self, part: Part, faults: &mut Faults) {
        self.is_sure = false;
        if !std::mem::take(&mut self.held).is_empty() {
            let detail =
                format!("readings of slot {} were not followed by a serial number: dropped", name(part));
            faults.add(FaultKind::Unexpected, detail);
        }
    }

    /// Keeps what states no serial number until the slot states one.
    fn hold(&mut self, part: Part, reading: Reading, manner: Manner, faults: &mut Faults) {
        if reading.is_empty() || (self.is_sure && !manner.may_wait) {
            return;
        }
        if self.is_sure && self.held.len() < HELD_MAX {
            self.held.push(reading);
            return;
        }
        let detail = format!("readings of slot {} come without a serial number: dropped", name(part));
        faults.add(FaultKind::Unexpected, detail);
    }

    /// Tells who stands here, if it was not told or is another.
    fn identify(&mut self, part: Part, serial: String, model: Option<String>, actions: &mut Vec<Action>) {
        let is_same = self.serial() == Some(serial.as_str());
        if !is_same {
            // The alarms were another pump's.
            self.alarms.forget();
            if std::mem::take(&mut self.is_told) {
                actions.push(Action::Gone(part, "another pump stands in the slot".to_owned()));
            }
        }
        let before = self.known.take().filter(|_| is_same);
        let model = model.or_else(|| before.as_ref()?.model.clone());
        let identity = Identity { model, serial: Some(serial), ..Identity::default() };
        if !self.is_told || before.as_ref() != Some(&identity) {
            actions.push(Action::Identify(part, identity.clone()));
        }
        self.known = Some(identity);
        self.is_told = true;
        let back = self.alarms.handle_one(REMOVED, None);
        actions.extend(back.into_iter().map(|edge| Action::Observe(part, edge)));
    }

    /// Tells a reading, and what it changes in the alarms.
    fn tell(&mut self, part: Part, reading: Reading, actions: &mut Vec<Action>) {
        let observe = |said: Observation| Action::Observe(part, said);
        actions.extend(reading.observations.into_iter().map(observe));
        let mut level = self.alarms.on().clone();
        for (number, is_on) in reading.flags {
            let code = format!("bcc:INA{number}");
            if is_on {
                level.insert(code, raised(number));
            } else {
                level.remove(&code);
            }
        }
        actions.extend(self.alarms.handle_level(level).into_iter().map(observe));
    }
}

/// What the alarm flags stand for one by one is not public, nor is their urgency.
fn raised(number: u8) -> Raised {
    let text = format!("alarm INA{number}: what it stands for is shown at the pump");
    Raised { metric: &mdc::EVT_ALARM, priority: Priority::Unstated, text, is_silenced: false }
}

fn removed() -> Raised {
    let text = "the pump was taken out of its slot".to_owned();
    Raised { metric: &mdc::EVT_COMM_LOST, priority: Priority::Unstated, text, is_silenced: false }
}

fn decimal(digits: &str) -> Option<u64> {
    let is_number = (1..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

fn low_word(digits: &str) -> Option<u64> {
    let is_number = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u64::from_str_radix(digits, 16).ok()).flatten().map(|all| all & 0xFFFF)
}
