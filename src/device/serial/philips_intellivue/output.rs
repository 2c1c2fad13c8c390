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

/// What was told of one monitor.
#[derive(Debug, Default)]
pub(super) struct Output {
    alarms: Alarms,
    /// Whose alarms and channels those are: its system id, else its serial number.
    owner: Option<String>,
    /// The objects of each element, by its code.
    channels: BTreeMap<u32, Vec<(u16, u16)>>,
    shown: BTreeMap<(u32, u8), Observation>,
    strangers: BTreeSet<String>,
    has_told_of_patient: bool,
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
    pub(super) fn handle_identity(&mut self, owner: Option<&str>) {
        if self.owner.as_deref() != owner {
            self.alarms.forget();
            self.channels.clear();
            self.shown.clear();
            self.owner = owner.map(str::to_owned);
        }
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
        let has_readings = !found.readings.is_empty();
        let mut said: Vec<Observation> =
            found.readings.into_iter().filter_map(|one| self.place(one)).collect();
        if has_readings {
            let fresh: BTreeMap<(u32, u8), Observation> =
                said.iter().map(|one| ((one.metric.code, one.channel), one.clone())).collect();
            if is_whole {
                let gone = self.shown.iter().filter(|(place, _)| !fresh.contains_key(place));
                said.extend(gone.map(|(_, last)| absent(last)));
                self.shown = fresh;
            } else {
                self.shown.extend(fresh);
            }
        }
        said.extend(self.alarms.handle(found.alerts));
        said
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
