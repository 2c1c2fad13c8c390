//! Pulse Oximeter (0x1822): spot-check and continuous.
//!
//! PLX Spot-Check Measurement 2A5E, PLX Continuous Measurement 2A5F and PLX Features 2A60 (PLXS 1.0.1, 3.1 to
//! 3.3).
//!
//! Choices:
//! - *Modality.* Spot-check values are marked 150588, the fast and slow pairs 150580 and 150584; the
//!   normal pair of a continuous value carries none.
//! - *Never a clinical value.* When the measurement status says demonstration, testing, unavailable
//!   or invalid, no number leaves the decoder. The observation stays, without value: `error`, flagged
//!   `demonstration`, `test` or `invalid`; or, for unavailable alone, `unknown`, flagged `invalid`. A
//!   special value (NaN, ...) keeps its own reason.
//! - *Preliminary* is an early estimate, a signal that is still being analysed, and a measurement
//!   that is ongoing and neither validated nor fully qualified.
//! - *Measurement status* is told by itself too, as its assigned bits, where one is set that no flag expresses:
//!   ongoing, early estimate, validated, fully qualified (bits 5 to 8).
//! - *Device and sensor status* becomes quality flags on every value, and one observation of its own:
//!   its 16 assigned bits are those of 11073-10404 (150604), the most significant one being bit 0
//!   there. The reserved upper octet is left out.
//! - *Stored spot-checks* are fetched where the features say that there are such, or could not be read. They
//!   have no number and are flagged `stored`: by their status, and while a transfer runs by that alone. PLXS: a
//!   stored one counts as transmitted with the confirmation of its indication, which BlueZ gives by itself,
//!   and is not sent again; so nothing has to be deleted, and what a power cut takes between that
//!   confirmation and this gateway's disk is lost.
//! - *Time* stays as it came. Year 0 is the device's word for "unknown": no time. A time that no
//!   calendar has (month 13 is on sale) stays too; like year 0 and the clock-not-set flag it is
//!   flagged `clock-not-set`, the one word for "do not go by its clock".

use super::octets::{Octets, is_calendar_time};
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder, Stored};
use crate::device::nomenclature::{
    DIMENSIONLESS, Metric, PER_MINUTE, PERCENT, PERFUSION, PULSE_OXIM_RATE, PULSE_OXIM_STATUS, SPO2, Unit,
};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::link::Characteristic;
use crate::link::gatt::Filter;

const SERVICE: u16 = 0x1822;
const SPOT_CHECK: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A5E };
const CONTINUOUS: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A5F };
const FEATURES: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A60 };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "pulse-oximeter",
    title: "Pulse Oximeter",
    service: SERVICE,
    class: Class::Monitor,
    asks: &[FEATURES],
    subscribes: &[SPOT_CHECK, CONTINUOUS],
    episodic: &[SPOT_CHECK],
    stored: Some(Stored::RecordAccess { filter: Filter::None }),
    reads: &[&SPO2, &PULSE_OXIM_RATE, &PERFUSION, &PULSE_OXIM_STATUS, &MEASUREMENT_STATUS],
    decoder: || Box::new(Oximeter { keeps_records: true }),
};

/// The assigned bits (5 to 15) of the measurement status. A code of our private block.
static MEASUREMENT_STATUS: Metric = Metric {
    code: 67_113_569,
    reference: "BLE_OXIMETER_MEASUREMENT_STATUS",
    label: "oximeter measurement status",
    loinc: None,
    plausible: None,
};

/// 11073-10404 modalities: `MDC_MODALITY_FAST`, `_SLOW`, `_SPOT`; and none stated.
const FAST: u32 = 150_580;
const SLOW: u32 = 150_584;
const SPOT: u32 = 150_588;
const UNSTATED: u32 = 0;

/// One connected oximeter.
struct Oximeter {
    keeps_records: bool,
}

impl Decoder for Oximeter {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        match (of, value) {
            (FEATURES, Some(value)) => self.keeps_records = features(value)?,
            // Not said: its control point says it, or is not there.
            (FEATURES, None) => {}
            (other, _) => return Err(super::not_of_this_profile(other, &PROFILE)),
        }
        Ok(Vec::new())
    }

    fn keeps_records(&self) -> bool {
        self.keeps_records
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        match of {
            SPOT_CHECK => spot_check(value),
            CONTINUOUS => continuous(value),
            other => Err(super::not_of_this_profile(other, &PROFILE)),
        }
    }
}

/// Whether spot-checks are stored (PLXS 3.3.1.1, bit 2). What else is supported shows in the values.
fn features(value: &[u8]) -> Result<bool, Fault> {
    let mut octets = Octets::new("oximeter features", value)?;
    let supported = octets.u16("supported features")?;
    if supported & 1 != 0 {
        octets.u16("supported measurement status")?;
    }
    if supported & 1 << 1 != 0 {
        octets.u24("supported device and sensor status")?;
    }
    Ok(supported & 1 << 2 != 0)
}

fn spot_check(value: &[u8]) -> Result<Vec<Observation>, Fault> {
    let mut octets = Octets::new("spot-check measurement", value)?;
    let flags = Flags(octets.u8("flags")?);
    let mut reading = Reading::default();
    reading.push(SPOT, &mut octets)?;
    if flags.has(0) {
        reading.take_time(octets.date_time("time")?);
    }
    reading.take_status(flags.has(1), flags.has(2), &mut octets)?;
    if flags.has(3) {
        reading.push_index(SPOT, &mut octets)?;
    }
    if flags.has(4) {
        reading.quality = reading.quality.with(Quality::CLOCK_NOT_SET);
    }
    Ok(reading.observations())
}

fn continuous(value: &[u8]) -> Result<Vec<Observation>, Fault> {
    let mut octets = Octets::new("continuous measurement", value)?;
    let flags = Flags(octets.u8("flags")?);
    let mut reading = Reading::default();
    reading.push(UNSTATED, &mut octets)?;
    if flags.has(0) {
        reading.push(FAST, &mut octets)?;
    }
    if flags.has(1) {
        reading.push(SLOW, &mut octets)?;
    }
    reading.take_status(flags.has(2), flags.has(3), &mut octets)?;
    if flags.has(4) {
        reading.push_index(UNSTATED, &mut octets)?;
    }
    Ok(reading.observations())
}

/// The first octet: which fields follow.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 != 0
    }
}

/// A number with what is said of it alone.
struct Number {
    metric: &'static Metric,
    unit: &'static Unit,
    value: Value,
    modality: u32,
}

/// One measurement while it is being read: its numbers, and what is said of all of them.
#[derive(Default)]
struct Reading {
    values: Vec<Number>,
    time: Option<DeviceTime>,
    measurement: MeasurementStatus,
    sensor: Option<SensorStatus>,
    quality: Quality,
}

impl Reading {
    /// A pair of oxygen saturation and pulse rate.
    fn push(&mut self, modality: u32, octets: &mut Octets<'_>) -> Result<(), Fault> {
        let saturation = octets.sfloat("oxygen saturation")?;
        let rate = octets.sfloat("pulse rate")?;
        self.values.push(Number { metric: &SPO2, unit: &PERCENT, value: saturation, modality });
        self.values.push(Number { metric: &PULSE_OXIM_RATE, unit: &PER_MINUTE, value: rate, modality });
        Ok(())
    }

    /// The pulse amplitude index.
    fn push_index(&mut self, modality: u32, octets: &mut Octets<'_>) -> Result<(), Fault> {
        let value = octets.sfloat("pulse amplitude index")?;
        self.values.push(Number { metric: &PERFUSION, unit: &PERCENT, value, modality });
        Ok(())
    }

    fn take_time(&mut self, time: DeviceTime) {
        self.time = (time.year != 0).then_some(time);
        if !is_calendar_time(time) {
            self.quality = self.quality.with(Quality::CLOCK_NOT_SET);
        }
    }

    fn take_status(&mut self, measurement: bool, sensor: bool, octets: &mut Octets<'_>) -> Result<(), Fault> {
        if measurement {
            self.measurement = MeasurementStatus(octets.u16("measurement status")?);
            self.quality = self.quality.with(self.measurement.quality());
        }
        if sensor {
            let status = SensorStatus(octets.u24("device and sensor status")?);
            self.quality = self.quality.with(status.quality());
            self.sensor = Some(status);
        }
        Ok(())
    }

    fn observations(self) -> Vec<Observation> {
        let analysing = self.sensor.is_some_and(SensorStatus::is_analysing);
        let preliminary = analysing || self.measurement.is_preliminary();
        let status = if preliminary { Status::Preliminary } else { Status::Final };
        let observe = |number: Number, kind| Observation {
            metric: number.metric,
            channel: 0,
            value: number.value,
            unit: number.unit,
            modality: number.modality,
            kind,
            record: None,
            device_time: self.time,
            status,
            quality: self.quality,
        };
        let measured = self.values.into_iter().map(|number| {
            let value = self.measurement.gate(number.value);
            observe(Number { value, ..number }, Kind::Measurement)
        });
        let words = [
            (&MEASUREMENT_STATUS, self.measurement.unexpressed()),
            (&PULSE_OXIM_STATUS, self.sensor.map(SensorStatus::assigned)),
        ];
        let stated = words.into_iter().filter_map(|(metric, bits)| {
            let value = Value::Bits(bits?);
            Some(observe(Number { metric, unit: &DIMENSIONLESS, value, modality: UNSTATED }, Kind::State))
        });
        measured.chain(stated).collect()
    }
}

/// PLXS 3.1.1.5, Measurement Status. Bits 0-4 are reserved.
#[derive(Clone, Copy, Default)]
struct MeasurementStatus(u16);

impl MeasurementStatus {
    const ONGOING: u16 = 1 << 5;
    const EARLY_ESTIMATE: u16 = 1 << 6;
    const VALIDATED: u16 = 1 << 7;
    const FULLY_QUALIFIED: u16 = 1 << 8;
    const FROM_STORAGE: u16 = 1 << 9;
    const DEMONSTRATION: u16 = 1 << 10;
    const TESTING: u16 = 1 << 11;
    const CALIBRATING: u16 = 1 << 12;
    const UNAVAILABLE: u16 = 1 << 13;
    const QUESTIONABLE: u16 = 1 << 14;
    const INVALID: u16 = 1 << 15;

    const ASSIGNED: u16 = 0xFFE0;

    const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// The bits to be told by themselves, where one of them is set that no flag of an observation expresses.
    fn unexpressed(self) -> Option<u32> {
        let told = Self::ONGOING | Self::EARLY_ESTIMATE | Self::VALIDATED | Self::FULLY_QUALIFIED;
        self.has(told).then_some(u32::from(self.0 & Self::ASSIGNED))
    }

    /// The number, unless the device itself says that it is none of the patient's.
    fn gate(self, value: Value) -> Value {
        if !matches!(value, Value::Decimal(_)) {
            return value;
        }
        if self.has(Self::DEMONSTRATION | Self::TESTING | Self::INVALID) {
            return Value::Absent(Absent::Error);
        }
        if self.has(Self::UNAVAILABLE) { Value::Absent(Absent::Unknown) } else { value }
    }

    const fn is_preliminary(self) -> bool {
        self.has(Self::EARLY_ESTIMATE)
            || self.has(Self::ONGOING) && !self.has(Self::VALIDATED | Self::FULLY_QUALIFIED)
    }

    fn quality(self) -> Quality {
        flags_of(
            u32::from(self.0),
            &[
                (Self::FROM_STORAGE.into(), Quality::STORED),
                (Self::DEMONSTRATION.into(), Quality::DEMONSTRATION),
                (Self::TESTING.into(), Quality::TEST),
                (Self::CALIBRATING.into(), Quality::CALIBRATING),
                (Self::UNAVAILABLE.into(), Quality::INVALID),
                (Self::QUESTIONABLE.into(), Quality::QUESTIONABLE),
                (Self::INVALID.into(), Quality::INVALID),
            ],
        )
    }
}

/// PLXS 3.1.1.6, Device and Sensor Status. Bits 16-23 are reserved.
#[derive(Clone, Copy)]
struct SensorStatus(u32);

impl SensorStatus {
    const EXTENDED_DISPLAY_UPDATE: u32 = 1;
    const EQUIPMENT_MALFUNCTION: u32 = 1 << 1;
    /// Irregularity, inadequate, poor, low perfusion, erratic, non-pulsatile (bits 2-7), interference.
    const WEAK_SIGNAL: u32 = 0b1111_1100 | 1 << 10;
    const QUESTIONABLE_PULSE: u32 = 1 << 8;
    const ANALYSIS_ONGOING: u32 = 1 << 9;
    /// Unconnected to user, unknown sensor, displaced, malfunctioning, disconnected (bits 11-15).
    const NO_SENSOR: u32 = 0b1111_1000_0000_0000;

    /// The bits that have a meaning.
    const fn assigned(self) -> u32 {
        self.0 & 0xFFFF
    }

    const fn is_analysing(self) -> bool {
        self.0 & Self::ANALYSIS_ONGOING != 0
    }

    fn quality(self) -> Quality {
        flags_of(
            self.0,
            &[
                // An extended display update is an older value that is being held.
                (Self::EXTENDED_DISPLAY_UPDATE | Self::QUESTIONABLE_PULSE, Quality::QUESTIONABLE),
                (Self::WEAK_SIGNAL, Quality::POOR_SIGNAL),
                (Self::EQUIPMENT_MALFUNCTION, Quality::SENSOR.with(Quality::QUESTIONABLE)),
                (Self::NO_SENSOR, Quality::SENSOR),
            ],
        )
    }
}

/// The flags of all rows of which at least one bit is set.
fn flags_of(bits: u32, rows: &[(u32, Quality)]) -> Quality {
    rows.iter()
        .filter(|(any_of, _)| bits & any_of != 0)
        .fold(Quality::GOOD, |quality, (_, flag)| quality.with(*flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_say_whether_spot_checks_are_stored() {
        for (value, keeps) in [
            (&[0x04, 0x00][..], true),
            (&[0x00, 0x00], false),
            (&[0x05, 0x00, 0xE0, 0xFF], true),
            (&[0x03, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0x00], false),
            (&[0x07, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0x00], true),
        ] {
            let mut oximeter = Oximeter { keeps_records: true };
            assert_eq!(oximeter.handle_read(FEATURES, Some(value)), Ok(Vec::new()));
            assert_eq!(oximeter.keeps_records(), keeps, "{value:?}");
        }
    }

    /// Every assigned bit of the measurement status shows somewhere, and no reserved one.
    #[test]
    fn no_bit_of_the_measurement_status_is_lost() {
        let of = |status: u16| {
            let [low, high] = status.to_le_bytes();
            spot_check(&[0x02, 97, 0, 72, 0, low, high]).unwrap()
        };
        let plain = of(0);
        assert_eq!(plain.len(), 2);
        for bit in 0..16u16 {
            let said = of(1 << bit);
            assert_eq!(said == plain, bit < 5, "bit {bit}");
            let told = said.get(2).map(|said| said.value.clone());
            assert_eq!(told, (5..=8).contains(&bit).then_some(Value::Bits(1 << bit)), "bit {bit}");
        }
        assert_eq!(of(0xFFFF)[2].value, Value::Bits(0xFFE0));
    }

    #[test]
    fn features_that_are_not_whole_are_refused_and_its_records_are_asked_for() {
        for value in [&[][..], &[4], &[5, 0, 0xE0], &[7, 0, 0xE0, 0xFF, 0xFF, 0xFF]] {
            let mut oximeter = Oximeter { keeps_records: true };
            assert!(oximeter.handle_read(FEATURES, Some(value)).is_err(), "{value:?}");
            assert!(oximeter.keeps_records());
        }
        let mut oximeter = Oximeter { keeps_records: true };
        assert_eq!(oximeter.handle_read(FEATURES, None), Ok(Vec::new()));
        assert!(oximeter.keeps_records());
    }
}
