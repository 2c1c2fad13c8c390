//! Glucose (0x1808): a meter's stored measurements with their context.
//!
//! Glucose Measurement 2A18 and Glucose Measurement Context 2A34 (GATT Specification Supplement; Glucose
//! Service). The text of the profile was not at hand: that context follows its measurement, and that records
//! come by the Record Access Control Point only, is from memory. Codes: 11073-10417 terms as two open
//! implementations have them, those of types 1 and 8 as the HL7 PHD guide has them.
//!
//! Choices:
//! - *Concentration.* On the wire it is kg/L or mol/L; the decimal point is moved to mg/dL or mmol/L, exactly. A
//!   negative one (0xFFFF is -0.1 kg/L, not "no number") is no concentration: `error`, flagged `invalid`.
//! - *Never a clinical value.* Of control solution (type 10) no number leaves the decoder: `error`, flagged
//!   `test`. A reserved type, and the reserved meal 6 by which `CareSens` meters mark what is not glucose
//!   (ketones), is a result under a private code: the number stays, nobody takes it for glucose.
//! - *Joined.* A measurement that announces a context waits for it until the end of the transfer or of the
//!   connection, or until too many wait ([`waiting`]); so does a context that comes before its measurement. One whose
//!   measurement does not come is given and told, and is not the record: that is still to come. Records are given in
//!   the order in which they came. What one record says has one record number (the sequence
//!   number) and one time. A context that comes later still is given by itself; where it says that a result was
//!   none of glucose that was given as one, that is told.
//! - *Time.* Base time and offset stay apart ([`DeviceTime::offset`]); user-facing time is their sum. A change of the
//!   meter's clock changes the offset of later records, so base time tells records of one number apart. Year 0
//!   ("unknown") and a time that no calendar has (month 13 is on sale) stay as they came and place nothing. Both,
//!   and the status "time fault", are flagged `clock-not-set`.
//! - *Status* bits stand as they came under the meter's status code and as flags on the result. They say how it
//!   was when that record was made, maybe last week: they are no alarms of now.
//! - *Enumerations* (location, meal, tester, health) are words; a reserved one is `reserved` and its number.

use std::collections::VecDeque;

use super::octets::Octets;
use super::octets::is_calendar_time;
use crate::device::catalogue::{BleProfile, Class, Decoder, Stored};
use crate::device::nomenclature::{
    CONC_GLU_ARTERIAL_PLASMA, CONC_GLU_ARTERIAL_WHOLEBLOOD, CONC_GLU_CAPILLARY_PLASMA,
    CONC_GLU_CAPILLARY_WHOLEBLOOD, CONC_GLU_CONTROL, CONC_GLU_GEN, CONC_GLU_ISF,
    CONC_GLU_UNDETERMINED_PLASMA, CONC_GLU_UNDETERMINED_WHOLEBLOOD, CONC_GLU_VENOUS_PLASMA,
    CONC_GLU_VENOUS_WHOLEBLOOD, DIMENSIONLESS, GRAM, MILLIGRAM, MILLIGRAM_PER_DECILITRE, MILLILITRE,
    MILLIMOLE_PER_LITRE, Metric, PERCENT, SECOND, Unit,
};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::Filter;
use codes::{
    CARBOHYDRATE, EXERCISE_DURATION, EXERCISE_INTENSITY, HBA1C, HEALTH, HEALTHS, LOCATIONS, MEAL,
    MEAL_OF_OTHERS, MEALS, MEDICATION, METER_STATUS, NOT_GLUCOSE, SAMPLE_LOCATION, TESTER, TESTERS, TYPES,
    word,
};

use status::{Flags, MeterStatus};
use waiting::{Record, Waiting};

mod codes;
mod status;
mod waiting;

const SERVICE: u16 = 0x1808;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A18 };
const CONTEXT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A34 };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "glucose",
    title: "Glucose",
    service: SERVICE,
    class: Class::Monitor,
    asks: &[],
    subscribes: &[MEASUREMENT, CONTEXT],
    episodic: &[MEASUREMENT, CONTEXT],
    stored: Some(Stored::RecordAccess { filter: Filter::Short }),
    reads: &[
        &CONC_GLU_GEN,
        &CONC_GLU_CAPILLARY_WHOLEBLOOD,
        &CONC_GLU_CAPILLARY_PLASMA,
        &CONC_GLU_VENOUS_WHOLEBLOOD,
        &CONC_GLU_VENOUS_PLASMA,
        &CONC_GLU_ARTERIAL_WHOLEBLOOD,
        &CONC_GLU_ARTERIAL_PLASMA,
        &CONC_GLU_UNDETERMINED_WHOLEBLOOD,
        &CONC_GLU_UNDETERMINED_PLASMA,
        &CONC_GLU_ISF,
        &CONC_GLU_CONTROL,
        &NOT_GLUCOSE,
        &SAMPLE_LOCATION,
        &METER_STATUS,
        &CARBOHYDRATE,
        &MEAL,
        &TESTER,
        &HEALTH,
        &EXERCISE_DURATION,
        &EXERCISE_INTENSITY,
        &MEDICATION,
        &HBA1C,
    ],
    decoder: || Box::new(Meter::default()),
};

/// So many records are remembered for a context that comes late.
const RECENT: usize = 128;

/// Joins measurements with their context.
#[derive(Default)]
struct Meter {
    waiting: Waiting,
    /// The latest records that were given, for a context that comes late.
    recent: VecDeque<Given>,
    /// The numbers of contexts that were given without their measurement.
    lone: VecDeque<u32>,
    faults: VecDeque<Fault>,
}

/// What is remembered of a record that was given.
#[derive(Clone, Copy)]
struct Given {
    number: u16,
    time: DeviceTime,
    quality: Quality,
    /// It was given as a result of glucose.
    is_glucose: bool,
}

impl Decoder for Meter {
    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        match of {
            MEASUREMENT => self.waiting.take_measurement(Measurement::read(value)?),
            CONTEXT => {
                let context = Context::read(value)?;
                if !self.waiting.has(context.number) && self.given(context.number).is_some() {
                    return Ok(self.give_context(context));
                }
                self.waiting.take_context(context);
            }
            other => return Err(super::not_of_this_profile(other, &PROFILE)),
        }
        let mut said = Vec::new();
        while let Some(record) = self.waiting.poll_ready() {
            said.extend(self.give(record));
        }
        Ok(said)
    }

    fn handle_end(&mut self) -> Vec<Observation> {
        let mut said = Vec::new();
        while let Some(record) = self.waiting.poll() {
            said.extend(self.give(record));
        }
        said
    }

    fn poll_lone(&mut self) -> Option<u32> {
        self.lone.pop_front()
    }

    fn poll_fault(&mut self) -> Option<Fault> {
        self.faults.pop_front()
    }
}

impl Meter {
    fn given(&self, number: u16) -> Option<Given> {
        self.recent.iter().copied().find(|given| given.number == number)
    }

    fn give(&mut self, record: Record) -> Vec<Observation> {
        let Record { measurement, context } = record;
        let mut said = Vec::new();
        if let Some(measurement) = measurement {
            let is_not_glucose = context.as_ref().is_some_and(|context| context.is_not_glucose);
            let (number, time, quality) = (measurement.number, measurement.time, measurement.time_quality());
            said = measurement.observations(is_not_glucose);
            let is_result = |of: &&'static Metric| TYPES.contains(of) && **of != CONC_GLU_CONTROL;
            let is_glucose = said.iter().any(|said| is_result(&said.metric));
            self.recent.truncate(RECENT - 1);
            self.recent.push_front(Given { number, time, quality, is_glucose });
        } else if let Some(context) = &context {
            let detail = format!("the context of record {} came without its measurement", context.number);
            self.faults.push_back(Fault::new(FaultKind::Unexpected, detail));
            self.lone.push_back(context.number.into());
        }
        said.extend(context.into_iter().flat_map(|context| self.give_context(context)));
        said
    }

    /// With the time of its record, where that was given.
    fn give_context(&mut self, context: Context) -> Vec<Observation> {
        let number = context.number;
        let given = self.given(number);
        if context.is_not_glucose && given.is_some_and(|given| given.is_glucose) {
            let detail = format!(
                "record {number} was given as glucose before its context came, which says that it is none"
            );
            self.faults.push_back(Fault::new(FaultKind::Unexpected, detail));
        }
        let (time, quality) = given.map(|given| (Some(given.time), given.quality)).unwrap_or_default();
        context.items.into_iter().map(|item| item.observation(number, time, quality)).collect()
    }
}

/// One thing that a record says.
struct Item {
    metric: &'static Metric,
    unit: &'static Unit,
    value: Value,
    modality: u32,
    kind: Kind,
    quality: Quality,
}

impl Item {
    const fn measured(metric: &'static Metric, unit: &'static Unit, value: Value) -> Self {
        Self { metric, unit, value, modality: 0, kind: Kind::Measurement, quality: Quality::GOOD }
    }

    const fn state(metric: &'static Metric, value: Value) -> Self {
        Self { metric, unit: &DIMENSIONLESS, value, modality: 0, kind: Kind::State, quality: Quality::GOOD }
    }

    fn observation(self, number: u16, device_time: Option<DeviceTime>, quality: Quality) -> Observation {
        Observation {
            metric: self.metric,
            channel: 0,
            value: self.value,
            unit: self.unit,
            modality: self.modality,
            kind: self.kind,
            record: Some(number.into()),
            device_time,
            status: Status::Final,
            quality: self.quality.with(quality),
        }
    }
}

/// A Glucose Measurement.
struct Measurement {
    number: u16,
    time: DeviceTime,
    clock_is_right: bool,
    result: Option<(Value, &'static Unit, u8)>,
    location: Option<u8>,
    status: Option<MeterStatus>,
    announces_context: bool,
}

impl Measurement {
    fn read(value: &[u8]) -> Result<Self, Fault> {
        let mut octets = Octets::new("glucose measurement", value)?;
        let flags = Flags(octets.u8("flags")?);
        let number = octets.u16("sequence number")?;
        let base = octets.date_time("base time")?;
        let offset = if flags.has(0) { Some(octets.u16("time offset")?.cast_signed()) } else { None };
        let time = DeviceTime { offset, ..base };
        let (mut result, mut location) = (None, None);
        if flags.has(1) {
            let (shift, unit) =
                if flags.has(2) { (3, &MILLIMOLE_PER_LITRE) } else { (5, &MILLIGRAM_PER_DECILITRE) };
            let value = shifted(octets.sfloat("concentration")?, shift);
            let nibbles = octets.u8("type and sample location")?;
            result = Some((value, unit, nibbles & 0x0F));
            location = Some(nibbles >> 4);
        }
        let status = if flags.has(3) { Some(MeterStatus(octets.u16("sensor status")?)) } else { None };
        Ok(Self {
            number,
            time,
            clock_is_right: is_calendar_time(base)
                && !status.is_some_and(|status| status.has(MeterStatus::TIME)),
            result,
            location,
            status,
            announces_context: flags.has(4),
        })
    }

    const fn time_quality(&self) -> Quality {
        if self.clock_is_right { Quality::GOOD } else { Quality::CLOCK_NOT_SET }
    }

    fn observations(self, is_not_glucose: bool) -> Vec<Observation> {
        let (number, time, clock) = (self.number, Some(self.time), self.time_quality());
        let mut result = self.result(is_not_glucose);
        if let Some(status) = self.status {
            result.quality = result.quality.with(status.quality());
        }
        let location = self.location.map(|location| Item::state(&SAMPLE_LOCATION, word(location, LOCATIONS)));
        let status = self.status.map(|status| Item::state(&METER_STATUS, Value::Bits(status.0.into())));
        let items = [Some(result), location, status].into_iter().flatten();
        items.map(|item| item.observation(number, time, clock)).collect()
    }

    /// A record without a concentration is a record all the same.
    fn result(&self, is_not_glucose: bool) -> Item {
        let Some((value, unit, kind)) = self.result.clone() else {
            return Item::measured(&CONC_GLU_GEN, &MILLIGRAM_PER_DECILITRE, Value::Absent(Absent::Unknown));
        };
        let known = usize::from(kind).checked_sub(1).and_then(|place| TYPES.get(place).copied());
        let (metric, quality) = match known {
            // Type 10 says so, and so does location 4.
            _ if self.location == Some(CONTROL_SOLUTION) => (&CONC_GLU_CONTROL, Quality::TEST),
            Some(metric) if metric.code == CONC_GLU_CONTROL.code => (metric, Quality::TEST),
            Some(metric) if !is_not_glucose => (metric, Quality::GOOD),
            Some(_) | None => (&NOT_GLUCOSE, Quality::QUESTIONABLE),
        };
        let is_negative = matches!(&value, Value::Decimal(number) if number.mantissa < 0);
        let quality = if is_negative { quality.with(Quality::INVALID) } else { quality };
        let is_withheld = is_negative || quality.has(Quality::TEST);
        let is_number = matches!(value, Value::Decimal(_));
        let value = if is_number && is_withheld { Value::Absent(Absent::Error) } else { value };
        Item { quality, ..Item::measured(metric, unit, value) }
    }
}

/// The sample location that is none: a control solution was measured.
const CONTROL_SOLUTION: u8 = 4;

/// A Glucose Measurement Context.
struct Context {
    number: u16,
    items: Vec<Item>,
    is_not_glucose: bool,
}

impl Context {
    fn read(value: &[u8]) -> Result<Self, Fault> {
        let mut octets = Octets::new("glucose measurement context", value)?;
        let flags = Flags(octets.u8("flags")?);
        let number = octets.u16("sequence number")?;
        let mut context = Self { number, items: Vec::new(), is_not_glucose: false };
        if flags.has(7) {
            octets.u8("extended flags")?;
        }
        if flags.has(0) {
            let kind = octets.u8("carbohydrate kind")?;
            let grams = shifted(octets.sfloat("carbohydrate")?, 3);
            context.push_amount(&CARBOHYDRATE, &GRAM, grams, (kind, 7));
        }
        if flags.has(1) {
            let meal = octets.u8("meal")?;
            context.is_not_glucose = meal == MEAL_OF_OTHERS;
            context.items.push(Item::state(&MEAL, word(meal, MEALS)));
        }
        if flags.has(2) {
            let nibbles = octets.u8("tester and health")?;
            context.items.push(Item::state(&TESTER, word(nibbles & 0x0F, TESTERS)));
            context.items.push(Item::state(&HEALTH, word(nibbles >> 4, HEALTHS)));
        }
        if flags.has(3) {
            let duration = match octets.u16("exercise duration")? {
                // More than can be said.
                u16::MAX => Value::Absent(Absent::PositiveInfinity),
                seconds => Value::Decimal(crate::device::decimal::Decimal::whole(seconds)),
            };
            let intensity =
                Value::Decimal(crate::device::decimal::Decimal::whole(octets.u8("exercise intensity")?));
            context.items.push(Item::measured(&EXERCISE_DURATION, &SECOND, duration));
            context.items.push(Item::measured(&EXERCISE_INTENSITY, &PERCENT, intensity));
        }
        if flags.has(4) {
            let kind = octets.u8("medication kind")?;
            let amount = octets.sfloat("medication")?;
            let (amount, unit) = if flags.has(5) {
                (shifted(amount, 3), &MILLILITRE)
            } else {
                (shifted(amount, 6), &MILLIGRAM)
            };
            context.push_amount(&MEDICATION, unit, amount, (kind, 5));
        }
        if flags.has(6) {
            let share = octets.sfloat("HbA1c")?;
            context.items.push(Item::measured(&HBA1C, &PERCENT, share));
        }
        Ok(context)
    }

    /// An amount whose kind is the metric's code and four for each step; kinds behind the last are reserved.
    fn push_amount(
        &mut self,
        metric: &'static Metric,
        unit: &'static Unit,
        value: Value,
        (kind, last): (u8, u8),
    ) {
        let is_known = (1..=last).contains(&kind);
        let modality = if is_known { metric.code + 4 * u32::from(kind) } else { 0 };
        let quality = if is_known { Quality::GOOD } else { Quality::QUESTIONABLE };
        self.items.push(Item { modality, quality, ..Item::measured(metric, unit, value) });
    }
}

/// The same number with its point moved: exact. What leaves the range is no number.
fn shifted(value: Value, places: i8) -> Value {
    let Value::Decimal(number) = value else { return value };
    number.shifted(places).map_or(Value::Absent(Absent::Error), Value::Decimal)
}

#[cfg(test)]
mod tests;
