//! From what answers say to what the session is told.
//!
//! In: whole answers. Out: observations. Several objects can report the same element (two temperatures
//! without a name of their own, a pulse from several pressures): they are told apart by the channel, in
//! the order in which they were first seen.
//!
//! A reading that was there and is not in the next whole answer (its module was pulled) is told once more
//! as absent.

use std::collections::{BTreeMap, BTreeSet};

use super::alarms::Alarms;
use super::objects::{Found, Reading};
use crate::device::FaultKind;
use crate::device::observation::{Absent, Observation, Quality, Value};
use crate::device::serial::Faults;

/// The most objects of one element.
const CHANNELS_MAX: usize = 32;

/// The most unknown identifiers that are told and remembered on one connection.
const STRANGERS_MAX: usize = 256;

/// Answers without any numeric, one after the other, after which there is nothing to show any more. Behind
/// an answer in parts comes one such answer that only ends it, and parts can be lost.
const EMPTY_MAX: u32 = 3;

/// A monitor: its system id and its serial number.
type Owner = (Option<String>, Option<String>);

/// What was told of one monitor.
#[derive(Debug, Default)]
pub(super) struct Output {
    alarms: Alarms,
    /// Whose alarms and channels those are.
    owner: Owner,
    /// The objects of each element, by its code.
    channels: BTreeMap<u32, Vec<(u16, u16)>>,
    shown: BTreeMap<(u32, u8), Observation>,
    strangers: BTreeSet<String>,
    has_told_of_patient: bool,
    /// Answers to polls of numerics without any, one after the other.
    empty: u32,
}

impl Output {
    /// A new connection: what was told once is told once more. Alarms and channels stay until the
    /// monitor has said who it is.
    pub(super) fn handle_up(&mut self) {
        self.shown.clear();
        self.strangers.clear();
        self.has_told_of_patient = false;
    }

    /// The monitor has said who it is.
    pub(super) fn handle_identity(&mut self, system_id: Option<&str>, serial: Option<&str>) {
        let (system_before, serial_before) = (self.owner.0.as_deref(), self.owner.1.as_deref());
        // In a capture the serial number can come later than the system id: still the same monitor.
        let is_stated_later = system_id.is_some() && (serial.is_none() || serial_before.is_none());
        if system_before != system_id || (serial_before != serial && !is_stated_later) {
            self.alarms.forget();
            self.channels.clear();
            self.shown.clear();
            self.owner.1 = None;
        }
        let serial = serial.map(str::to_owned).or(self.owner.1.take());
        self.owner = (system_id.map(str::to_owned), serial);
    }

    /// A part of an answer to a poll of numerics, with so many objects.
    pub(super) fn count_objects(&mut self, objects: usize) {
        self.empty = if objects == 0 { self.empty.saturating_add(1) } else { 0 };
    }

    /// What an answer says against itself.
    pub(super) fn complain(&mut self, found: &Found, faults: &mut Faults) {
        for words in &found.strangers {
            if self.strangers.len() < STRANGERS_MAX && self.strangers.insert(words.clone()) {
                faults.add(FaultKind::Unexpected, words.clone());
            }
        }
        if found.has_patient && !std::mem::replace(&mut self.has_told_of_patient, true) {
            let words = "the monitor sent data of its patient, which nobody asked for: thrown away unread";
            faults.add(FaultKind::Unexpected, words);
        }
    }

    /// The readings and edges of an answer.
    pub(super) fn tell(&mut self, found: Found, is_whole: bool) -> Vec<Observation> {
        let is_whole = is_whole && !found.is_damaged;
        self.make_room(&found.readings);
        let mut said: Vec<Observation> =
            found.readings.into_iter().filter_map(|one| self.place(one)).collect();
        if found.has_numerics {
            let fresh: BTreeMap<(u32, u8), Observation> =
                said.iter().map(|one| ((one.metric.code, one.channel), one.clone())).collect();
            if is_whole {
                let gone = self.shown.iter().filter(|(place, _)| !fresh.contains_key(place));
                said.extend(gone.map(|(_, last)| absent(last)));
                self.shown = fresh;
            } else {
                self.shown.extend(fresh);
            }
        } else if self.empty >= EMPTY_MAX && is_whole {
            said.extend(std::mem::take(&mut self.shown).values().map(absent));
        }
        said.extend(self.alarms.handle(found.alerts));
        said
    }

    /// A module that is plugged in again may come as another object: where all channels of an element are
    /// given away, those of objects that are not there any more are free.
    fn make_room(&mut self, readings: &[Reading]) {
        for reading in readings {
            let code = reading.observation.metric.code;
            let objects = self.channels.entry(code).or_default();
            if objects.len() < CHANNELS_MAX || objects.contains(&reading.object) {
                continue;
            }
            let is_free = |place: usize, object: &(u16, u16)| {
                let is_there = readings
                    .iter()
                    .any(|other| other.observation.metric.code == code && other.object == *object);
                let is_shown =
                    u8::try_from(place).is_ok_and(|channel| self.shown.contains_key(&(code, channel)));
                !is_there && !is_shown
            };
            let free = objects.iter().enumerate().find(|(place, object)| is_free(*place, object));
            let free = free.map(|(place, _)| place);
            if let Some(object) = free.and_then(|place| objects.get_mut(place)) {
                *object = reading.object;
            }
        }
    }

    fn place(&mut self, reading: Reading) -> Option<Observation> {
        let objects = self.channels.entry(reading.observation.metric.code).or_default();
        let place = match objects.iter().position(|object| *object == reading.object) {
            Some(place) => place,
            None if objects.len() < CHANNELS_MAX => {
                objects.push(reading.object);
                objects.len().saturating_sub(1)
            }
            None => return None,
        };
        let channel = u8::try_from(place).ok()?;
        Some(Observation { channel, ..reading.observation })
    }
}

/// Nothing is there any more where something was.
fn absent(last: &Observation) -> Observation {
    let quality = last.quality.with(Quality::SENSOR);
    Observation { value: Value::Absent(Absent::Unknown), device_time: None, quality, ..last.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::decimal::Decimal;
    use crate::device::nomenclature as mdc;
    use crate::device::observation::Kind;
    use crate::device::serial::observation;

    fn found(handles: &[u16]) -> Found {
        let reading = |handle: &u16| {
            let value = Value::Decimal(Decimal::whole(60));
            let said = observation(&mdc::PULS_RATE, value, &mdc::PER_MINUTE, Kind::Measurement);
            Reading { object: (1, *handle), observation: said }
        };
        Found { readings: handles.iter().map(reading).collect(), has_numerics: true, ..Found::default() }
    }

    #[test]
    fn a_module_that_comes_with_another_handle_each_time_is_never_left_out() {
        let mut output = Output::default();
        for handle in 0..200 {
            let said = output.tell(found(&[7_000, handle]), true);
            let values = said.iter().filter(|one| matches!(one.value, Value::Decimal(_)));
            assert_eq!(values.clone().count(), 2, "{handle}: {said:?}");
            assert_eq!(values.map(|one| one.channel).collect::<Vec<_>>()[0], 0);
            assert!(output.channels.values().all(|objects| objects.len() <= CHANNELS_MAX));
        }
    }

    #[test]
    fn alerts_of_another_serial_number_are_forgotten() {
        let mut output = Output::default();
        output.handle_identity(Some("0909"), None);
        let _ = output.tell(found(&[1]), true);
        // In a capture the serial number can come later.
        output.handle_identity(Some("0909"), Some("DE1"));
        assert_eq!(output.shown.len(), 1);
        output.handle_identity(Some("0909"), Some("DE2"));
        assert_eq!(output.shown.len(), 0);
    }
}
