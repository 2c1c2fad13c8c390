//! Generic Health Sensor (0x1840): any sensor, by the types of the nomenclature.
//!
//! Live Health Observations 2B8B and Stored Health Observations 2BDD, both in segments (`segments.rs`); a
//! stored one begins with its record number, u32. Health Sensor Features 2BF3 are read on every connection.
//! The sensor sends nothing live before the GHS Control Point 2BF4 has told it to; its answers are indicated
//! there: 80 done, 81 busy, 82 error. The clock of its stamps, Current Elapsed Time 2BF2 of the Elapsed Time Service,
//! is read when the subscriptions stand, ahead of the records that it places (`elapsed_time.rs`).
//!
//! The Generic Health Sensor Service 1.0 itself was not at hand. What is here is what independent sources
//! have alike: ST's example sensor (the octets of its README), Realtek's `ghss_gatt_svc`, Philips' sensor
//! simulator (a draft: other class numbers), B. Reinhold's Nordic sensors (types and units). Where they
//! differ, or say nothing, the value is refused:
//! - *Length* counts the octets behind class and length (ST). A draft counted the whole observation: such
//!   a value is refused with these words.
//! - *Samples* with their highest bit set: nothing says whether it is a sign. More than one sample per
//!   period: nothing says how they lie.
//! - *Bits* of a state are taken as little-endian, like every field of GATT; no number is made of them.
//!
//! Choices:
//! - *Types and units* that are not in the tables of `types.rs` are told by their code and left out; what
//!   stands beside them in a compound or a bundle is given. The features are held against the same tables:
//!   what a sensor will send in vain is told when it connects.
//! - *The patient*, an index into the sensor's own list of persons, is read over and goes nowhere: whose
//!   reading it is, is known by other means than a number of the device.
//! - *A bundle's* time holds for what is in it and has none of its own. What its status and its supplemental
//!   types say is never taken back.
//! - *Measurement status* becomes quality flags, `preliminary` (early estimate), the kind `setting`; test
//!   data, invalid and not available give no number. Manually entered, threshold error and thresholding
//!   disabled are told as bits by themselves, behind what they were sent with.
//! - *Supplemental types* that say how a value was got become its modality; those that say more of a glucose
//!   sample (fasting, who measured) are told behind the value; others are left out. Those of a bundle hold for
//!   what is in it, beside its own.
//! - *Control solution*, wherever a message says it (by a type, a value, a supplemental type, an attribute), makes
//!   all its numbers test data.
//! - *Left out:* duration, observation ids and relations, further attributes. The Unique Device Identifier
//!   2BFF is not read: who a device is, its Device Information says.

mod observation;
mod status;
mod types;
mod value;

use std::collections::VecDeque;

use super::octets::Octets;
use super::segments::{Joined, Segments};
use crate::device::catalogue::{BleProfile, Class, Decoder, Stored};
use crate::device::observation::Observation;
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::{CURRENT_ELAPSED_TIME, Filter, GattWrite, HEALTH_SENSOR_CONTROL};
use crate::time::Mono;

const SERVICE: u16 = 0x1840;
const LIVE: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B8B };
const STORED: Characteristic = Characteristic { service: SERVICE, uuid: 0x2BDD };
const FEATURES: Characteristic = Characteristic { service: SERVICE, uuid: 0x2BF3 };

/// The catalogue row. All of it is episodic: what the sensor measures, and how often, is its own affair.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "generic-health-sensor",
    title: "Generic Health Sensor",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[FEATURES],
    subscribes: &[LIVE, STORED, HEALTH_SENSOR_CONTROL],
    episodic: &[LIVE, STORED, HEALTH_SENSOR_CONTROL],
    stored: Some(Stored::RecordAccess { filter: Filter::Long }),
    reads: types::READS,
    decoder: || Box::new(HealthSensor::new()),
};

// Answers of the GHS Control Point.
const DONE: u8 = 0x80;
const BUSY: u8 = 0x81;
const ERROR: u8 = 0x82;

/// The decoder of one connection.
struct HealthSensor {
    live: Segments,
    stored: Segments,
    /// Whether the sensor has still to be told to send what it measures.
    is_to_be_started: bool,
    is_clock_due: bool,
    faults: VecDeque<Fault>,
}

impl HealthSensor {
    const fn new() -> Self {
        Self {
            live: Segments::new("live health observation"),
            stored: Segments::new("stored health observation"),
            is_to_be_started: true,
            is_clock_due: false,
            faults: VecDeque::new(),
        }
    }

    /// What a segment came to; a fault beside observations waits for [`Decoder::poll_fault`].
    fn handle_segment(&mut self, joined: Joined, is_stored: bool) -> Result<Vec<Observation>, Fault> {
        let Joined { whole, fault } = joined;
        let Some(message) = whole else { return fault.map_or(Ok(Vec::new()), Err) };
        self.faults.extend(fault);
        let found = if is_stored { read_stored(&message) } else { observation::read(&message, None) }?;
        let fault = found.fault();
        match fault {
            Some(fault) if found.observations.is_empty() => Err(fault),
            fault => {
                self.faults.extend(fault);
                Ok(found.observations)
            }
        }
    }
}

impl Decoder for HealthSensor {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        match (of, value) {
            (FEATURES, Some(value)) => features(value).map(|()| Vec::new()),
            (FEATURES, None) => Ok(Vec::new()),
            (other, _) => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        match of {
            LIVE => {
                let joined = self.live.handle(value);
                self.handle_segment(joined, false)
            }
            STORED => {
                let joined = self.stored.handle(value);
                self.handle_segment(joined, true)
            }
            HEALTH_SENSOR_CONTROL => answer(value).map(|()| Vec::new()),
            other => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }

    fn handle_end(&mut self) -> Vec<Observation> {
        self.faults.extend(self.stored.finish());
        Vec::new()
    }

    fn handle_timeout(&mut self, _: Mono) {
        self.is_clock_due = true;
    }

    fn poll_ask(&mut self) -> Option<Characteristic> {
        std::mem::take(&mut self.is_clock_due).then_some(CURRENT_ELAPSED_TIME)
    }

    fn poll_write(&mut self) -> Option<GattWrite> {
        std::mem::take(&mut self.is_to_be_started).then(|| GattWrite::live_observations(true)).flatten()
    }

    fn poll_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front()
    }
}

fn read_stored(message: &[u8]) -> Result<observation::Found, Fault> {
    let mut octets = Octets::reassembled("stored health observation", message);
    let record = octets.u32("record number")?;
    observation::read(octets.bytes(octets.left(), "observation")?, Some(record))
}

/// Health Sensor Features: flags (bit 0 device specialisations present), the types that it reports, and the
/// specialisations, which say nothing more.
fn features(value: &[u8]) -> Result<(), Fault> {
    let mut octets = Octets::new("health sensor features", value)?;
    octets.u8("flags")?;
    let count = octets.u8("number of observation types")?;
    let announced = value::codes(count, "observation type", &mut octets)?;
    let unknown: Vec<String> =
        announced.iter().filter(|code| !types::is_known(**code)).map(u32::to_string).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let detail = format!("it reports types that are not filed here: {}", unknown.join(", "));
    Err(Fault::new(FaultKind::Unexpected, detail))
}

/// What the sensor answers to having been told to send.
fn answer(value: &[u8]) -> Result<(), Fault> {
    let why = match Octets::new("health sensor answer", value)?.u8("code")? {
        DONE => return Ok(()),
        BUSY => "it is busy".to_owned(),
        ERROR => "an error".to_owned(),
        other => format!("an answer {other:#04x}, which is not known"),
    };
    Err(Fault::new(FaultKind::Refused, format!("the sensor does not send live observations: {why}")))
}

#[cfg(test)]
mod tests;
