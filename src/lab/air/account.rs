//! What a device showed, what of it came over the air, and what was heard behind the gate.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::octets::plain;
use crate::device::observation::{DeviceTime, Observation, Value};

/// What makes a value the same as another one: the consumer's rule, element, record, device time, value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) code: u32,
    pub(super) record: Option<u32>,
    /// Empty when it cannot be told by when.
    pub(super) time: String,
    pub(super) value: String,
}

impl Key {
    /// Of what was heard; `None` for what is no plain value.
    pub(super) fn of(said: &Observation) -> Option<Self> {
        let value = match &said.value {
            Value::Decimal(number) => plain(&number.to_string()),
            Value::Text(text) => text.clone(),
            Value::Absent(_) => "-".to_owned(),
            Value::Bits(_) | Value::Alarm(_) | Value::Samples(_) => return None,
        };
        let time = said.device_time.map(stamp).unwrap_or_default();
        Some(Self { code: said.metric.code, record: said.record, time, value })
    }

    /// Whether two of it can be told from the same one twice.
    const fn is_one_of_its_kind(&self) -> bool {
        self.record.is_some() || !self.time.is_empty()
    }
}

/// Empty for a clock that is not set.
fn stamp(time: DeviceTime) -> String {
    if time.ticks.is_some() || time.year == 0 {
        return String::new();
    }
    time.offset.map_or_else(|| time.to_string(), |offset| format!("{time}+{offset}"))
}

/// What became of one value.
#[derive(Clone, Debug, Default)]
struct Entry {
    /// How often it has to be heard, at least.
    due: u32,
    /// How often it came over the air.
    arrived: u32,
    /// How often it was heard behind the gate.
    heard: u32,
    /// Of these, what a gateway may leave out: the device had not said who it is.
    excused: u32,
    /// How often it was heard without the time at which it was: a device that could not say it, once.
    untimed: u32,
    is_record: bool,
}

/// All values of one device.
#[derive(Debug, Default)]
pub(super) struct Account {
    entries: BTreeMap<Key, Entry>,
    /// The elements that the device shows; others stand beside them.
    judged: BTreeSet<u32>,
    /// How often what was remembered of records may have been forgotten.
    pub(super) forgets: u32,
    pub(super) connections: u64,
    pub(super) faults: u64,
    /// When all was last not well, and how long that may still be felt.
    pub(super) unwell_until: u64,
    pub(super) wrong: Vec<String>,
}

/// What became of one device.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// What it is.
    pub name: String,
    /// The profile that reads it.
    pub profile: &'static str,
    /// Values that had to be heard.
    pub due: u64,
    /// Values that came over the air, some of them again.
    pub arrived: u64,
    /// What the gate admitted of them.
    pub heard: u64,
    /// Of these, what a consumer takes out as the same.
    pub duplicates: u64,
    /// Values that had to be heard and were not.
    pub missing: u64,
    /// Values that are only sent, and came when the device had not been able to say who it is: refused.
    pub refused: u64,
    /// Connections.
    pub connections: u64,
    /// Faults.
    pub faults: u64,
}

impl Account {
    fn entry(&mut self, key: &Key) -> &mut Entry {
        self.judged.insert(key.code);
        self.entries.entry(key.clone()).or_default()
    }

    /// It was shown.
    pub(super) fn note_shown(&mut self, key: &Key, is_record: bool) {
        self.entry(key).is_record |= is_record;
    }

    /// It came over the air, complete.
    pub(super) fn note_arrival(&mut self, key: &Key) {
        self.entry(key).arrived += 1;
    }

    /// It has to be heard.
    pub(super) fn note_due(&mut self, key: &Key) {
        self.entry(key).due += 1;
    }

    /// It was heard before the device had said who it is, or after it had not.
    pub(super) fn note_refusal(&mut self, said: &Observation) {
        let entry = Key::of(said).and_then(|key| self.entries.get_mut(&key));
        if let Some(entry) = entry.filter(|entry| !entry.is_record) {
            entry.excused += 1;
        }
    }

    /// Whether it is one of the values that are judged.
    pub(super) fn knows(&self, said: &Observation) -> bool {
        Key::of(said).is_some_and(|key| self.entries.contains_key(&key))
    }

    /// The gate admitted it. What stands beside values (a status, features) is not judged.
    pub(super) fn note_heard(&mut self, said: &Observation) {
        let Some(key) = Key::of(said).filter(|key| self.judged.contains(&key.code)) else { return };
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.heard += 1;
        } else if let Some(entry) = self.of_unknown_time(&key) {
            entry.untimed += 1;
        } else {
            self.wrong.push(format!("{key:?} was heard, and never shown"));
        }
    }

    /// The same record, of which the time is known.
    fn of_unknown_time(&mut self, key: &Key) -> Option<&mut Entry> {
        let is_same =
            |known: &Key| (known.code, known.record, &known.value) == (key.code, key.record, &key.value);
        let is_of_none = key.record.is_some() && key.time.is_empty();
        self.entries.iter_mut().rev().find(|(known, _)| is_of_none && is_same(known)).map(|(_, entry)| entry)
    }

    /// Everything that does not fit, and the sums.
    pub(super) fn close(&mut self, row: Row) -> (Row, Vec<String>) {
        let mut row = Row { connections: self.connections, faults: self.faults, ..row };
        let mut wrong = std::mem::take(&mut self.wrong);
        for (key, entry) in &self.entries {
            let is_one = key.is_one_of_its_kind();
            let due = if is_one { entry.due.min(1) } else { entry.due };
            let due = due.saturating_sub(if entry.is_record { 0 } else { entry.excused });
            let missing = due.saturating_sub(entry.heard + entry.untimed);
            if entry.untimed > 0 && entry.heard > 0 {
                wrong.push(format!("{key:?} was heard with its time and without: it cannot be taken out"));
            }
            row.due += u64::from(due);
            row.arrived += u64::from(entry.arrived);
            row.heard += u64::from(entry.heard + entry.untimed);
            row.refused += u64::from(entry.excused);
            row.missing += u64::from(missing);
            if is_one {
                row.duplicates += u64::from(entry.heard.saturating_sub(1));
            }
            if missing > 0 {
                wrong.push(format!("{key:?} was heard {} times, and had to be {due} times", entry.heard));
            }
            let most = if entry.is_record { entry.arrived.min(1 + self.forgets) } else { entry.arrived };
            if entry.heard > most {
                wrong.push(format!("{key:?} was heard {} times, and came {most} times", entry.heard));
            }
        }
        (row, wrong)
    }
}
