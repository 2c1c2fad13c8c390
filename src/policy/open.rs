//! The alarms of one device that were told to begin and not to end.
//!
//! In: every admitted observation. Out: when the device's entry goes or changes, the edge that ends each that is
//! still on. Whoever waits for the end of an alarm would wait for ever: the session that could see it is gone, and
//! the next may speak under another name. A driver that finds it still on says so anew.
//!
//! Kept are [`MOST`] alarms of a device, more than any device has on at once: one that makes up codes must not
//! fill the memory. What is beyond that is not told to end here.

use std::collections::BTreeMap;

use crate::device::observation::{Observation, Phase, Value};

/// How many are kept.
pub(super) const MOST: usize = 256;

/// The text of the edge that ends one when its entry goes.
pub(super) const TEXT: &str = "the device's entry in the allowlist was taken away or changed while this was on: whether it is \
                    over is not known";

/// Those that are on, by element, channel and code.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(BTreeMap<(u32, u16, String), Observation>);

impl Open {
    /// Takes note of an observation that was admitted.
    pub(super) fn handle_admitted(&mut self, observation: &Observation) {
        let Value::Alarm(alarm) = &observation.value else { return };
        let key = (observation.metric.code, u16::from(observation.channel), alarm.code.clone());
        match alarm.phase {
            Phase::End => drop(self.0.remove(&key)),
            Phase::Start | Phase::Update if self.0.len() < MOST || self.0.contains_key(&key) => {
                self.0.insert(key, observation.clone());
            }
            Phase::Start | Phase::Update => {}
        }
    }

    /// Ends them all. The edges are the gateway's own: they are of no record and have no time of the device.
    pub(super) fn end(&mut self, text: &'static str) -> impl Iterator<Item = Observation> + use<> {
        std::mem::take(&mut self.0).into_values().map(move |mut observation| {
            if let Value::Alarm(alarm) = &mut observation.value {
                alarm.phase = Phase::End;
                text.clone_into(&mut alarm.text);
            }
            Observation { record: None, device_time: None, ..observation }
        })
    }

    /// Takes those of another that are not known here.
    pub(super) fn merge(&mut self, other: &Self) {
        for (key, observation) in &other.0 {
            if self.0.len() < MOST {
                self.0.entry(key.clone()).or_insert_with(|| observation.clone());
            }
        }
    }

    /// Whether this one is on.
    pub(super) fn has(&self, observation: &Observation) -> bool {
        let Value::Alarm(alarm) = &observation.value else { return false };
        self.0.contains_key(&(observation.metric.code, u16::from(observation.channel), alarm.code.clone()))
    }

    /// As they were last told.
    pub(super) fn into_observations(self) -> impl Iterator<Item = Observation> {
        self.0.into_values().map(|observation| Observation { device_time: None, ..observation })
    }
}
