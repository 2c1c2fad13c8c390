//! What the objects of an answer say, in the normal form.
//!
//! In: an answer to a poll, or the attributes of the MDS-Create event. Out: readings, lists of alerts,
//! what the monitor says of itself; and what could not be read. One bad attribute does not cost the
//! others.
//!
//! What never happens: an attribute of a patient is looked at. Only the attributes named here are
//! read, by their number; the objects of the class of patient demographics are not opened, only counted.

use std::collections::BTreeSet;

use super::alarms::{self, Alerts};
use super::codes;
use super::messages::{Answer, Object};
use super::reader::Reader;
use crate::device::FaultKind;
use crate::device::medfloat;
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::device::serial::{Faults, observation, printable, text};

/// The class of numerics.
pub(super) const NUMERIC: u16 = 6;
const MDS: u16 = 33;
const PATIENT: u16 = 42;
const ALERT_MONITOR: u16 = 54;

const PATIENT_ALERTS: u16 = 0x0902;
const TECHNICAL_ALERTS: u16 = 0x0904;
const ALERT_CONDITION: u16 = 0x0916;
const MODEL: u16 = 0x0928;
const PRODUCTION: u16 = 0x092D;
const METRIC_SPECIFICATION: u16 = 0x093F;
const COMPOUND_VALUE: u16 = 0x094B;
const VALUE: u16 = 0x0950;
const SYSTEM_ID: u16 = 0x0984;
const TIME_STAMP: u16 = 0x0990;

/// The bytes of one observed value: identifier, state, unit, number.
const VALUE_LENGTH: usize = 10;

/// What an answer says.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) readings: Vec<Reading>,
    pub(super) alerts: Alerts,
    pub(super) model: Option<(String, String)>,
    pub(super) system_id: Option<String>,
    pub(super) production: Option<Production>,
    /// Identifiers and units that have no row, in words.
    pub(super) strangers: BTreeSet<String>,
    /// Whether it holds data of a patient, which were thrown away.
    pub(super) has_patient: bool,
    /// Whether it holds numerics, known ones or not.
    pub(super) has_numerics: bool,
    /// Whether a reading of it could not be read: one that is missing then was not taken away.
    pub(super) is_damaged: bool,
}

/// A reading and the object that it is of.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) object: (u16, u16),
    pub(super) observation: Observation,
}

/// What the production specification says of the product as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Production {
    pub(super) serial: Option<String>,
    pub(super) software: Option<String>,
}

impl Found {
    /// Reads an answer.
    pub(super) fn read(answer: &Answer<'_>, faults: &mut Faults) -> Self {
        let mut found = Self::default();
        for object in &answer.objects {
            match answer.class {
                NUMERIC => found.numeric(object, answer.absolute, faults),
                ALERT_MONITOR => found.alert_monitor(object, faults),
                MDS => found.mds(&object.attributes, faults),
                PATIENT => found.has_patient = true,
                _ => {}
            }
        }
        found
    }

    /// Reads what the monitor says of itself.
    pub(super) fn mds(&mut self, attributes: &[(u16, &[u8])], faults: &mut Faults) {
        for (id, value) in attributes {
            let is_read = match *id {
                MODEL => model(value).map(|model| self.model = Some(model)),
                SYSTEM_ID => system_id(value).map(|id| self.system_id = Some(id)),
                PRODUCTION => production(value).map(|said| self.production = Some(said)),
                _ => Some(()),
            };
            if is_read.is_none() {
                faults.add(FaultKind::Malformed, format!("attribute {id:04X} of the monitor cannot be read"));
            }
        }
    }

    /// Adds what another part of the same answer says.
    pub(super) fn merge(&mut self, other: Self) {
        self.readings.extend(other.readings);
        self.alerts.merge(other.alerts);
        self.model = other.model.or(self.model.take());
        self.system_id = other.system_id.or(self.system_id.take());
        self.production = other.production.or(self.production.take());
        self.strangers.extend(other.strangers);
        self.has_patient |= other.has_patient;
        self.has_numerics |= other.has_numerics;
        self.is_damaged |= other.is_damaged;
    }

    fn alert_monitor(&mut self, object: &Object<'_>, faults: &mut Faults) {
        let find =
            |wanted: u16| object.attributes.iter().find(|(id, _)| *id == wanted).map(|(_, value)| *value);
        let (no_patient, no_technical) = find(ALERT_CONDITION).map_or((false, false), alarms::none_of);
        if no_patient && find(PATIENT_ALERTS).is_none() {
            self.alerts.patient.get_or_insert_default();
        }
        if no_technical && find(TECHNICAL_ALERTS).is_none() {
            self.alerts.technical.get_or_insert_default();
        }
        for (id, value) in &object.attributes {
            let list = match *id {
                PATIENT_ALERTS => &mut self.alerts.patient,
                TECHNICAL_ALERTS => &mut self.alerts.technical,
                _ => continue,
            };
            match alarms::entries(value) {
                Some(entries) => list.get_or_insert_default().extend(entries),
                None => faults.add(FaultKind::Malformed, "a list of alerts cannot be read: not passed on"),
            }
        }
    }

    fn numeric(&mut self, object: &Object<'_>, absolute: &[u8], faults: &mut Faults) {
        self.has_numerics = true;
        let find =
            |wanted: u16| object.attributes.iter().find(|(id, _)| *id == wanted).map(|(_, value)| *value);
        let time = find(TIME_STAMP).and_then(device_time).or_else(|| device_time(absolute));
        let kind = find(METRIC_SPECIFICATION).map_or(Kind::Measurement, kind);
        let mut values: Vec<&[u8]> = find(VALUE).into_iter().collect();
        if let Some(compound) = find(COMPOUND_VALUE) {
            match Reader::new(compound).list() {
                Some((count, list)) if list.rest().len() == usize::from(count) * VALUE_LENGTH => {
                    values.extend(list.rest().chunks(VALUE_LENGTH));
                }
                Some(_) | None => {
                    faults.add(FaultKind::Malformed, "a compound value has another length than it says");
                    self.is_damaged = true;
                }
            }
        }
        for value in values {
            match self.observed(value, kind) {
                Ok(Some(mut observation)) => {
                    observation.device_time = time;
                    let object = (object.context, object.handle);
                    self.readings.push(Reading { object, observation });
                }
                Ok(None) => {}
                Err(TooShort) => {
                    faults.add(FaultKind::Malformed, "a numeric value is too short: not passed on");
                    self.is_damaged = true;
                }
            }
        }
    }

    /// One observed value. `Ok(None)`: whole, but of no known element or in no known unit.
    fn observed(&mut self, value: &[u8], kind: Kind) -> Result<Option<Observation>, TooShort> {
        let (physio, state, unit, number) = fields(value).ok_or(TooShort)?;
        let Some(metric) = codes::metric(physio) else {
            self.strangers.insert(format!("physiological identifier {physio} has no row: not passed on"));
            return Ok(None);
        };
        let Some(unit) = codes::unit(unit) else {
            let words = format!("{} comes in unit {unit}, which has no row: not passed on", metric.reference);
            self.strangers.insert(words);
            return Ok(None);
        };
        let (value, quality, status) = judged(state, float(number));
        let observation = observation(metric, value, unit, kind);
        Ok(Some(Observation { status, quality, ..observation }))
    }
}

/// A value is shorter than a value is.
struct TooShort;

/// Identifier, state, unit and number of an observed value.
fn fields(value: &[u8]) -> Option<(u16, u16, u16, u32)> {
    let mut reader = Reader::new(value);
    Some((reader.u16()?, reader.u16()?, reader.u16()?, reader.u32()?))
}

/// The special numbers have a mantissa of their own, whatever the exponent.
fn float(bits: u32) -> Value {
    match medfloat::float(bits & 0x00FF_FFFF) {
        special @ Value::Absent(_) => special,
        Value::Decimal(_) | Value::Text(_) | Value::Bits(_) | Value::Alarm(_) | Value::Samples(_) => {
            medfloat::float(bits)
        }
    }
}

/// What the state of a measurement makes of its value.
fn judged(state: u16, value: Value) -> (Value, Quality, Status) {
    const FLAGS: [(u16, Quality); 5] = [
        (0x8000, Quality::INVALID),
        (0x4000, Quality::QUESTIONABLE),
        (0x1000, Quality::CALIBRATING),
        (0x0800, Quality::TEST),
        (0x0400, Quality::DEMONSTRATION),
    ];
    let is_set = |bit: u16| state & bit != 0;
    let flags = FLAGS.into_iter().filter(|(bit, _)| is_set(*bit));
    let quality = flags.fold(Quality::GOOD, |all, (_, flag)| all.with(flag));
    let value = if is_set(0x2000) {
        Value::Absent(Absent::Unknown)
    } else if is_set(0x8000) {
        Value::Absent(Absent::Error)
    } else {
        value
    };
    // An early estimate, or a measurement under way.
    let status = if is_set(0x0040) || is_set(0x0020) { Status::Preliminary } else { Status::Final };
    (value, quality, status)
}

/// What the category in the metric's specification says: settings are not measured.
fn kind(specification: &[u8]) -> Kind {
    let mut reader = Reader::new(specification);
    let _period = reader.u32();
    match reader.u16() {
        // Automatic and manual settings, limits of alarms.
        Some(3 | 4 | 130) => Kind::Setting,
        Some(_) | None => Kind::Measurement,
    }
}

/// A time in binary coded decimals: century, year, month, day, hour, minute, second, fraction. All ones
/// where the monitor has none.
fn device_time(bytes: &[u8]) -> Option<DeviceTime> {
    let digits = bytes.iter().map(|byte| {
        let (tens, ones) = (byte >> 4, byte & 0xF);
        (tens < 10 && ones < 10).then(|| tens * 10 + ones)
    });
    let fields: Vec<u8> = digits.take(7).collect::<Option<_>>()?;
    let &[century, year, month, day, hour, minute, second] = fields.as_slice() else { return None };
    let is_possible = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    let year = u16::from(century) * 100 + u16::from(year);
    (is_possible && second < 60).then_some(DeviceTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        ..DeviceTime::default()
    })
}

/// Maker and model.
fn model(value: &[u8]) -> Option<(String, String)> {
    let mut reader = Reader::new(value);
    Some((label(reader.sized()?.rest()), label(reader.sized()?.rest())))
}

/// The system id: octets without a meaning of their own, as hex digits.
fn system_id(value: &[u8]) -> Option<String> {
    let id = Reader::new(value).sized()?;
    let digits = id.rest().iter().take(32).fold(String::new(), |digits, byte| format!("{digits}{byte:02X}"));
    (!digits.is_empty()).then_some(digits)
}

/// The entries of the production specification: kind of entry, component, label.
fn production(value: &[u8]) -> Option<Production> {
    const SERIAL_NUMBER: u16 = 1;
    const SOFTWARE_REVISION: u16 = 4;
    const PRODUCT: u16 = 0x0008;
    const APPLICATION: u16 = 0x0058;
    let (count, mut list) = Reader::new(value).list()?;
    let mut said = Production::default();
    for _ in 0..count {
        let (kind, component) = (list.u16()?, list.u16()?);
        let words = Some(label(list.sized()?.rest())).filter(|words| !words.is_empty());
        match (kind, component) {
            (SERIAL_NUMBER, PRODUCT) => said.serial = words,
            (SOFTWARE_REVISION, APPLICATION) => said.software = words,
            _ => {}
        }
    }
    Some(said)
}

/// A label: filled up with zeros and spaces.
fn label(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let words = bytes.get(..end).and_then(printable).unwrap_or_default();
    text(words.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::decimal::Decimal;

    #[test]
    fn the_special_numbers_are_special_whatever_the_exponent() {
        for (bits, why) in [
            (0x007F_FFFF, Absent::NotANumber),
            (0xFE7F_FFFF, Absent::NotANumber),
            (0x0080_0000, Absent::Error),
            (0x017F_FFFE, Absent::PositiveInfinity),
            (0xFF80_0002, Absent::NegativeInfinity),
        ] {
            assert_eq!(float(bits), Value::Absent(why), "{bits:08X}");
        }
        assert_eq!(float(0xFF00_03B6), Value::Decimal(Decimal::new(950, -1)));
        assert_eq!(float(0xFEFF_FFFE), Value::Decimal(Decimal::new(-2, -2)));
    }

    #[test]
    fn every_bit_of_the_state_is_told() {
        let of = |state| judged(state, Value::Decimal(Decimal::whole(60)));
        let there = Value::Decimal(Decimal::whole(60));
        for (state, value, quality, status) in [
            (0x0000, there.clone(), Quality::GOOD, Status::Final),
            (0x8000, Value::Absent(Absent::Error), Quality::INVALID, Status::Final),
            (0x4000, there.clone(), Quality::QUESTIONABLE, Status::Final),
            (0x2000, Value::Absent(Absent::Unknown), Quality::GOOD, Status::Final),
            (0x1000, there.clone(), Quality::CALIBRATING, Status::Final),
            (0x0800, there.clone(), Quality::TEST, Status::Final),
            (0x0400, there.clone(), Quality::DEMONSTRATION, Status::Final),
            (0x0080, there.clone(), Quality::GOOD, Status::Final),
            (0x0040, there.clone(), Quality::GOOD, Status::Preliminary),
            (0x0020, there.clone(), Quality::GOOD, Status::Preliminary),
            (0x0003, there, Quality::GOOD, Status::Final),
        ] {
            assert_eq!(of(state), (value, quality, status), "{state:04X}");
        }
        assert!(of(0xA400).1.has(Quality::DEMONSTRATION.with(Quality::INVALID)));
    }

    #[test]
    fn a_time_that_cannot_be_is_none() {
        let time = device_time(&[0x20, 0x18, 0x01, 0x06, 0x20, 0x06, 0x04, 0x00]).unwrap();
        assert_eq!(time.to_string(), "2018-01-06T20:06:04");
        for bytes in
            [[0xFF; 8], [0x20, 0x18, 0x13, 0x06, 0x20, 0x06, 0x04, 0], [0x20, 0x18, 1, 6, 0x24, 0, 0, 0]]
        {
            assert_eq!(device_time(&bytes), None);
        }
        assert_eq!(device_time(&[0x20]), None);
    }
}
