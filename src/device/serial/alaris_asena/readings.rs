//! What the replies of the Asena pumps say, in the normal form.
//!
//! In: the fields of a whole reply, the keyword first. Out: observations, and a fault for each
//! field that cannot be read; one bad field does not cost the others. Values keep their digits.
//!
//! The rate is a *setting*: a syringe pump has no flow sensor, it tells at what rate it drives its
//! plunger (0 on hold). The volume infused and the pressure are *measurements*.

use super::super::{Faults, observation, text};
use crate::device::FaultKind;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, Kind, Observation, Value};

/// The number of fields of `INF` up to the time left; the log's type and last id follow.
const INF_FIELDS: usize = 12;

/// The full status: serial number, alarm flag and readings.
pub(super) struct Status<'a> {
    /// The serial number of the pump that speaks.
    pub(super) serial: &'a str,
    /// Whether the pump says that it has an alarm.
    pub(super) has_alarm: bool,
    fields: &'a [String],
}

impl<'a> Status<'a> {
    /// Reads the fields of `INF`; `None` when there are too few or the serial number is missing.
    pub(super) fn read(fields: &'a [String]) -> Option<Self> {
        let serial = fields.get(1).map(|field| field.trim()).filter(|field| !field.is_empty())?;
        let has_alarm = fields.get(2).is_some_and(|flag| flag == "A");
        (fields.len() >= INF_FIELDS).then_some(Self { serial, has_alarm, fields })
    }

    /// The readings.
    pub(super) fn observations(&self, faults: &mut Faults) -> Vec<Observation> {
        let field = |at: usize| self.fields.get(at).map_or("", |field| field.trim());
        let words = |metric, at| observation(metric, word(field(at)), &mdc::DIMENSIONLESS, Kind::State);
        let mut said = vec![words(&mdc::PUMP_MODE, 3)];
        said.extend(number(&mdc::FLOW_FLUID_PUMP, field(4), field(5), Kind::Setting, faults));
        said.push(words(&mdc::DRUG_NAME, 6));
        said.extend(number(&mdc::VOL_FLUID_DELIV, field(7), field(8), Kind::Measurement, faults));
        said.extend(number(&mdc::PRESS_FLUID_ACT, field(9), field(10), Kind::Measurement, faults));
        said.extend(time_left(field(11), faults));
        said
    }
}

/// The volume to be infused: `INF_VTBI^ACTIV^11.000^ml^STOP`, empty when the limit is off.
pub(super) fn vtbi(fields: &[String], faults: &mut Faults) -> Vec<Observation> {
    let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
    let mut said = Vec::new();
    if field(2).is_empty() {
        // Not "unknown": the pump says that there is no limit.
        let off = Value::Text("off".to_owned());
        said.push(observation(&mdc::VOL_FLUID_TBI, off, &mdc::DIMENSIONLESS, Kind::Setting));
    } else {
        said.extend(number(&mdc::VOL_FLUID_TBI, field(2), field(3), Kind::Setting, faults));
    }
    if !field(4).is_empty() {
        let action = word(field(4));
        said.push(observation(&mdc::ALARIS_VTBI_ACTION, action, &mdc::DIMENSIONLESS, Kind::Setting));
    }
    said
}

/// A reply that holds one number and its unit: `INF_RATE^0.10^ml/h`, `INF_VI^..^ml`.
pub(super) fn single(
    fields: &[String],
    metric: &'static Metric,
    kind: Kind,
    faults: &mut Faults,
) -> Vec<Observation> {
    let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
    number(metric, field(1), field(2), kind, faults).into_iter().collect()
}

/// The syringe: `SYRINGE_STATUS^BD PLASTIPAK^ 50^CONF`. The size has no unit in the reply; syringes
/// are told apart by millilitres.
pub(super) fn syringe(fields: &[String], faults: &mut Faults) -> Vec<Observation> {
    let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
    let make = observation(&mdc::ALARIS_SYRINGE, word(field(1)), &mdc::DIMENSIONLESS, Kind::Setting);
    let size = number(&mdc::VOL_SYRINGE, field(2), "ml", Kind::Setting, faults);
    [make].into_iter().chain(size).collect()
}

/// Whether somebody controls the pump by its serial line. This gateway never asks: the reply is
/// found in captures of a line on which another host speaks.
pub(super) fn remote_control(fields: &[String]) -> Vec<Observation> {
    let state = word(fields.get(1).map_or("", |field| field.trim()));
    vec![observation(&mdc::ALARIS_REMOTE_CONTROL, state, &mdc::DIMENSIONLESS, Kind::State)]
}

fn word(field: &str) -> Value {
    if field.is_empty() { Value::Absent(Absent::Unknown) } else { Value::Text(text(field)) }
}

fn number(
    metric: &'static Metric,
    value: &str,
    unit: &str,
    kind: Kind,
    faults: &mut Faults,
) -> Option<Observation> {
    let Some(unit) = unit_of(unit) else {
        let detail = format!("{} comes in an unknown unit {unit:?}: not passed on", metric.reference);
        faults.add(FaultKind::Malformed, detail);
        return None;
    };
    let value = if is_blank(value) {
        Value::Absent(Absent::Unknown)
    } else if let Ok(decimal) = value.parse::<Decimal>() {
        Value::Decimal(decimal)
    } else {
        faults.add(FaultKind::Malformed, format!("{} is not a number: not passed on", metric.reference));
        return None;
    };
    Some(observation(metric, value, unit, kind))
}

/// `00:04:09` becomes seconds; `24+`, which is no number of seconds, stays as the pump says it.
fn time_left(field: &str, faults: &mut Faults) -> Option<Observation> {
    let value = if is_blank(field) {
        Value::Absent(Absent::Unknown)
    } else if let Some(seconds) = seconds(field) {
        Value::Decimal(Decimal::whole(seconds))
    } else if field == "24+" {
        let more = Value::Text("24+".to_owned());
        return Some(observation(&mdc::TIME_PD_REMAIN, more, &mdc::DIMENSIONLESS, Kind::Measurement));
    } else {
        faults.add(FaultKind::Malformed, "the time left is neither HH:MM:SS nor 24+: not passed on");
        return None;
    };
    Some(observation(&mdc::TIME_PD_REMAIN, value, &mdc::SECOND, Kind::Measurement))
}

fn seconds(field: &str) -> Option<u32> {
    let mut parts = field.split(':').map(|part| {
        let two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        two_digits.then(|| part.parse::<u32>().ok()).flatten()
    });
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    (parts.next().is_none() && minutes < 60 && seconds < 60).then(|| hours * 3_600 + minutes * 60 + seconds)
}

fn is_blank(field: &str) -> bool {
    field.bytes().all(|byte| b"-:. ".contains(&byte))
}

fn unit_of(name: &str) -> Option<&'static Unit> {
    Some(match name {
        "ml/h" => &mdc::MILLILITRE_PER_HOUR,
        "ml" => &mdc::MILLILITRE,
        "mmHg" => &mdc::MMHG,
        "kPa" => &mdc::KILOPASCAL,
        "mbar" => &mdc::MILLIBAR,
        _ => return None,
    })
}
