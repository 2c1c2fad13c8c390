//! What the fields of a report say, in the normal form.
//!
//! In: a whole report. Out: observations, each with the ventilator's own time, and a fault for each
//! field that cannot be read; one bad field does not cost the others. Values keep their digits.
//!
//! A measurement that is blank has no value at the moment and is told so; a setting that is blank does not
//! apply in the mode and is left out. The patient's ideal body weight and the circuit (adult, neonatal) are
//! the patient's own and are not read. Neither are the results of pause manoeuvres: they stand in every
//! report and no field says when they were got.

use super::codes::{
    IE_EXPIRATORY, LIMIT_MINUTE_VOL_LOW, LIMIT_PRESS_HIGH, LIMIT_RESP_RATE_HIGH, MANDATORY_TYPE,
    MINUTE_VOL_SPONT, PRESS_END_INSP, PRESS_MEAN, SET_INSP_PRESSURE, SET_INSP_TIME, SET_O2, SET_PEAK_FLOW,
    SET_PEEP, SET_RESP_RATE, SET_SUPPORT_PRESSURE, SET_TIDAL_VOL, SPONTANEOUS_TYPE, VENT_TYPE, VOL_INSPIRED,
};
use super::wire::{Form, Report};
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Value};
use crate::device::serial::{Faults, observation, text};
use crate::device::{FaultKind, Identity};

/// A field that carries a number or a word.
struct Row {
    /// Its number in `MISCA`; 0 where that has none.
    short: usize,
    /// Its number in `MISCF`; 0 where that has none.
    full: usize,
    metric: &'static Metric,
    /// The unit of a number; a word has none.
    unit: Option<&'static Unit>,
    kind: Kind,
}

const fn measured(short: usize, full: usize, metric: &'static Metric, unit: &'static Unit) -> Row {
    Row { short, full, metric, unit: Some(unit), kind: Kind::Measurement }
}

const fn set(short: usize, full: usize, metric: &'static Metric, unit: &'static Unit) -> Row {
    Row { short, full, metric, unit: Some(unit), kind: Kind::Setting }
}

const fn word(short: usize, full: usize, metric: &'static Metric) -> Row {
    Row { short, full, metric, unit: None, kind: Kind::Setting }
}

/// Numbers of fields: mdpnp `pb840.fields`, and `pb840.cpp` of the same project for the words of the manual.
static ROWS: [Row; 26] = [
    word(9, 9, &mdc::VENT_MODE),
    word(0, 8, &VENT_TYPE),
    word(0, 10, &MANDATORY_TYPE),
    word(0, 11, &SPONTANEOUS_TYPE),
    measured(34, 70, &mdc::RESP_RATE, &mdc::RESP_PER_MINUTE),
    measured(35, 71, &mdc::VOL_AWAY_TIDAL, &mdc::LITRE),
    measured(36, 72, &mdc::VOL_MINUTE_AWAY_EXP, &mdc::LITRE_PER_MINUTE),
    measured(37, 89, &MINUTE_VOL_SPONT, &mdc::LITRE_PER_MINUTE),
    measured(38, 73, &mdc::PRESS_AWAY_INSP_PEAK, &mdc::CMH2O),
    measured(39, 74, &PRESS_MEAN, &mdc::CMH2O),
    measured(40, 69, &PRESS_END_INSP, &mdc::CMH2O),
    measured(0, 87, &mdc::PRESS_AWAY_END_EXP_POS, &mdc::CMH2O),
    measured(41, 75, &IE_EXPIRATORY, &mdc::DIMENSIONLESS),
    measured(0, 77, &mdc::CONC_AWAY_O2_INSP, &mdc::PERCENT),
    measured(0, 78, &VOL_INSPIRED, &mdc::LITRE),
    set(10, 13, &SET_RESP_RATE, &mdc::RESP_PER_MINUTE),
    set(11, 14, &SET_TIDAL_VOL, &mdc::LITRE),
    set(12, 15, &SET_PEAK_FLOW, &mdc::LITRE_PER_MINUTE),
    set(13, 16, &SET_O2, &mdc::PERCENT),
    set(15, 18, &SET_PEEP, &mdc::CMH2O),
    set(26, 31, &SET_SUPPORT_PRESSURE, &mdc::CMH2O),
    set(85, 46, &SET_INSP_PRESSURE, &mdc::CMH2O),
    set(86, 47, &SET_INSP_TIME, &mdc::SECOND),
    set(42, 34, &LIMIT_PRESS_HIGH, &mdc::CMH2O),
    set(46, 37, &LIMIT_MINUTE_VOL_LOW, &mdc::LITRE_PER_MINUTE),
    set(47, 42, &LIMIT_RESP_RATE_HIGH, &mdc::RESP_PER_MINUTE),
];

/// Who sent a report: `840 3510012345`, the model and the number of the ventilator. `None` when the
/// field is blank.
pub(super) fn identity(report: &Report) -> Option<Identity> {
    let id = report.field(6);
    let (model, serial) = match id.split_once(' ') {
        Some((model @ ("840" | "980"), serial)) => (Some(model.to_owned()), serial.trim()),
        Some(_) | None => (None, id.trim()),
    };
    let is_number = !serial.is_empty() && serial.bytes().all(|byte| byte.is_ascii_graphic());
    is_number.then(|| Identity { model, serial: Some(serial.to_owned()), ..Identity::default() })
}

/// The ventilator's own time, to the minute.
pub(super) fn time(report: &Report) -> Option<DeviceTime> {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    let date = match report.form {
        Form::Short => report.field(8),
        Form::Full => report.field(7),
    };
    let mut parts = date.split(' ');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    let month = u8::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let (day, year) = (day.parse::<u8>().ok()?, year.parse::<u16>().ok()?);
    let (hour, minute) = report.field(5).split_once(':')?;
    let (hour, minute) = (hour.parse::<u8>().ok()?, minute.parse::<u8>().ok()?);
    let is_a_time = (1..=31).contains(&day) && hour < 24 && minute < 60;
    is_a_time.then_some(DeviceTime { year, month, day, hour, minute, second: 0, ..DeviceTime::default() })
}

/// The readings and settings of a report.
pub(super) fn observations(report: &Report, faults: &mut Faults) -> Vec<Observation> {
    let time = time(report);
    let number = |row: &Row| match report.form {
        Form::Short => row.short,
        Form::Full => row.full,
    };
    let rows = ROWS.iter().filter(|row| number(row) > 0);
    let said = rows.filter_map(|row| read(row, report.field(number(row)), faults));
    said.map(|said| Observation { device_time: time, ..said }).collect()
}

fn read(row: &Row, field: &str, faults: &mut Faults) -> Option<Observation> {
    let field = field.trim();
    let Some(unit) = row.unit else {
        let said = || observation(row.metric, Value::Text(text(field)), &mdc::DIMENSIONLESS, row.kind);
        return (!field.is_empty()).then(said);
    };
    if field.is_empty() {
        let absent = || observation(row.metric, Value::Absent(Absent::Unknown), unit, row.kind);
        return (row.kind == Kind::Measurement).then(absent);
    }
    if field == "OFF" && row.kind == Kind::Setting {
        return Some(observation(row.metric, Value::Text(field.to_owned()), &mdc::DIMENSIONLESS, row.kind));
    }
    if let Ok(value) = field.parse::<Decimal>() {
        return Some(observation(row.metric, Value::Decimal(value), unit, row.kind));
    }
    faults.add(FaultKind::Malformed, format!("{} is not a number: not passed on", row.metric.reference));
    None
}

#[cfg(test)]
mod tests {
    use super::super::codes::CODES;
    use super::*;

    #[test]
    fn every_private_code_is_read_and_every_row_is_in_the_catalogue() {
        let reads = super::super::MODEL.reads;
        assert!(CODES.iter().all(|code| reads.contains(code)));
        assert!(ROWS.iter().all(|row| reads.contains(&row.metric)));
        assert!(CODES.iter().all(|code| ROWS.iter().any(|row| row.metric == *code)));
    }
}
