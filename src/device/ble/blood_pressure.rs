//! Blood Pressure (0x1810): cuffs on arm and wrist.
//!
//! Blood Pressure Measurement 2A35, Intermediate Cuff Pressure 2A36, and their enhanced forms 2B34 and 2B35
//! (GATT Specification Supplement, the sections of these names): flags; one or three SFLOATs in mmHg or kPa;
//! the time; the pulse rate; the user; the measurement status; in the enhanced forms the time as the device
//! shows it, last. Blood Pressure Feature 2A49 is read on every connection and given out: without it nobody
//! knows whether a monitor that says nothing of a loose cuff could have.
//!
//! Choices:
//! - *User.* The index of a person in the monitor's memory is told as a state behind the values, unless it is 0xFF,
//!   "unknown".
//! - *Failed measurements.* Without a systolic or a diastolic number there is no blood pressure (a monitor
//!   on sale then sends its last cuff pressure as the systolic one): what was sent stays, preliminary and
//!   flagged `invalid`. A mean pressure that is missing alone is normal.
//! - *Sanity.* A systolic pressure that is not above the diastolic one, and kilopascals out of 3 to 40 (which are
//!   millimetres of mercury under the wrong flag) are flagged `implausible` here: policy looks at one number at
//!   a time, and by bounds in mmHg.
//! - *Intermediate cuff pressure* has a code of its own and is preliminary. The two numbers after it in 2A36
//!   are unused, NaN or 0 on sale, and left out.
//! - *2B35* has one SFLOAT where 2A36 has three. As others read three there, a value with octets to spare
//!   could be either and is refused, unlike in the other forms, where they are kept out.
//! - *Unit.* As sent; kilopascals are not converted.
//! - *Measurement status.* Movement is `poor-signal`, a loose cuff `sensor`, an irregular pulse and a wrong
//!   position `questionable`; a pulse rate out of range says nothing against the values. The assigned bits
//!   are an observation of their own; reserved ones (real monitors set them) are left out.
//! - *Enhanced time* is seconds since 1900 or 2000, by flag. Beside a time stamp, the user-facing time is
//!   given as its offset, if that is whole minutes (which it is by what it is for: time zones and summer
//!   time); an offset that is not is left out, not rounded. Alone it is the time.
//!
//! What of this is from memory, not from a text at hand: that 2B34 is indicated and 2B35 notified. Nothing
//! here depends on it.

use time::OffsetDateTime;

use super::consent::USER_INDEX;
use super::occasion::Occasion;
use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::nomenclature::{
    BLOOD_PRESSURE_MEASUREMENT_STATUS, KILOPASCAL, MMHG, Metric, PER_MINUTE, PRESS_BLD_NONINV_DIA,
    PRESS_BLD_NONINV_MEAN, PRESS_BLD_NONINV_SYS, PULS_RATE_NON_INV,
};
use crate::device::observation::{DeviceTime, Observation, Quality, Status, Value};
use crate::link::Characteristic;

const SERVICE: u16 = 0x1810;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A35 };
const CUFF: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A36 };
const FEATURE: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A49 };
const ENHANCED_MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B34 };
const ENHANCED_CUFF: Characteristic = Characteristic { service: SERVICE, uuid: 0x2B35 };

#[expect(dead_code, unreachable_pub, reason = "the macro makes tables that are shared by all, too")]
mod codes {
    //! Codes of our private block from `0x0400_1041` on.

    use crate::device::nomenclature::rows;

    rows! { Metric CODES:
        /// What the monitor can say, as sent: the bits of Blood Pressure Feature.
        FEATURES = { code: 67_113_025, reference: "BLE_BLOOD_PRESSURE_FEATURES", label: "what the blood pressure monitor can say", loinc: None, plausible: None };
        /// The pressure in the cuff while it measures: no blood pressure.
        CUFF_PRESSURE = { code: 67_113_026, reference: "BLE_CUFF_PRESSURE", label: "cuff pressure", loinc: None, plausible: Some((0, 400)) };
    }
}

use codes::{CUFF_PRESSURE, FEATURES};

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "blood-pressure",
    title: "Blood Pressure",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[FEATURE],
    subscribes: &[MEASUREMENT, CUFF, ENHANCED_MEASUREMENT, ENHANCED_CUFF],
    episodic: &[MEASUREMENT, CUFF, ENHANCED_MEASUREMENT, ENHANCED_CUFF],
    stored: None,
    reads: &[
        &PRESS_BLD_NONINV_SYS,
        &PRESS_BLD_NONINV_DIA,
        &PRESS_BLD_NONINV_MEAN,
        &PULS_RATE_NON_INV,
        &BLOOD_PRESSURE_MEASUREMENT_STATUS,
        &CUFF_PRESSURE,
        &FEATURES,
        &USER_INDEX,
    ],
    decoder: || Box::new(Monitor),
};

const IS_KILOPASCAL: u8 = 1;
const TIME_PRESENT: u8 = 1 << 1;
const PULSE_PRESENT: u8 = 1 << 2;
const USER_PRESENT: u8 = 1 << 3;
const STATUS_PRESENT: u8 = 1 << 4;
/// In the enhanced forms only.
const USER_FACING_TIME_PRESENT: u8 = 1 << 5;
/// In the enhanced forms only.
const IS_SINCE_2000: u8 = 1 << 6;

/// 1900-01-01 and 2000-01-01 in seconds since 1970-01-01.
const EPOCH_1900: i64 = -2_208_988_800;
const EPOCH_2000: i64 = 946_684_800;

struct Monitor;

impl Decoder for Monitor {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        if of != FEATURE {
            return Err(super::not_of_this_profile(of, &PROFILE));
        }
        let Some(value) = value else { return Ok(Vec::new()) };
        let mut octets = Octets::new("blood pressure feature", value)?;
        let features = octets.u16("features")?;
        octets.end()?;
        Ok(vec![Occasion::new(Status::Final).stated(&FEATURES, features.into())])
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let form = match of {
            MEASUREMENT => Form { what: "blood pressure measurement", is_cuff: false, is_enhanced: false },
            CUFF => Form { what: "intermediate cuff pressure", is_cuff: true, is_enhanced: false },
            ENHANCED_MEASUREMENT => {
                Form { what: "enhanced blood pressure measurement", is_cuff: false, is_enhanced: true }
            }
            ENHANCED_CUFF => {
                Form { what: "enhanced intermediate cuff pressure", is_cuff: true, is_enhanced: true }
            }
            other => return Err(super::not_of_this_profile(other, &PROFILE)),
        };
        form.read(value)
    }
}

/// One of the four forms of a measurement.
struct Form {
    what: &'static str,
    /// The pressure in the cuff, not that of the blood.
    is_cuff: bool,
    /// Times in seconds, and the user-facing one last.
    is_enhanced: bool,
}

impl Form {
    fn read(&self, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        let mut octets = Octets::new(self.what, value)?;
        let flags = octets.u8("flags")?;
        let has = |flag: u8| flags & flag != 0;
        let pressures = self.pressures(&mut octets)?;
        let mut occasion = Occasion::new(Status::Final);
        if self.is_cuff {
            occasion.is_not_final();
        } else if pressures.iter().take(2).any(|(_, pressure)| matches!(pressure, Value::Absent(_))) {
            occasion.is_not_final();
            occasion.flag(Quality::INVALID);
        }
        if !self.is_cuff && is_implausible(&pressures, has(IS_KILOPASCAL)) {
            occasion.flag(Quality::IMPLAUSIBLE);
        }

        let mut base = None;
        if has(TIME_PRESENT) && self.is_enhanced {
            base = Some(octets.u32("time")?);
        } else if has(TIME_PRESENT) {
            occasion.take_time(octets.date_time("time")?);
        }
        let pulse = if has(PULSE_PRESENT) { Some(octets.sfloat("pulse rate")?) } else { None };
        let user = if has(USER_PRESENT) { Some(octets.u8("user")?) } else { None };
        let status = if has(STATUS_PRESENT) { Some(MeasurementStatus(octets.u16("status")?)) } else { None };
        if self.is_enhanced {
            let shown =
                if has(USER_FACING_TIME_PRESENT) { Some(octets.u32("user-facing time")?) } else { None };
            let epoch = if has(IS_SINCE_2000) { EPOCH_2000 } else { EPOCH_1900 };
            if let Some(time) = enhanced_time(base, shown, epoch) {
                occasion.take_time(time);
            }
            if self.is_cuff {
                octets.end()?;
            }
        }
        occasion.flag(status.map_or(Quality::GOOD, MeasurementStatus::quality));

        let unit = if has(IS_KILOPASCAL) { &KILOPASCAL } else { &MMHG };
        let pressures = pressures.into_iter().map(|(metric, value)| occasion.measured(metric, value, unit));
        let pulse = pulse.map(|rate| occasion.measured(&PULS_RATE_NON_INV, rate, &PER_MINUTE));
        let stated =
            status.map(|status| occasion.stated(&BLOOD_PRESSURE_MEASUREMENT_STATUS, status.assigned()));
        Ok(pressures.chain(pulse).chain(stated).chain(occasion.of_user(user)).collect())
    }

    fn pressures(&self, octets: &mut Octets<'_>) -> Result<Vec<(&'static Metric, Value)>, Fault> {
        if !self.is_cuff {
            return Ok(vec![
                (&PRESS_BLD_NONINV_SYS, octets.sfloat("systolic pressure")?),
                (&PRESS_BLD_NONINV_DIA, octets.sfloat("diastolic pressure")?),
                (&PRESS_BLD_NONINV_MEAN, octets.sfloat("mean pressure")?),
            ]);
        }
        let pressure = octets.sfloat("cuff pressure")?;
        if !self.is_enhanced {
            octets.u16("first unused number")?;
            octets.u16("second unused number")?;
        }
        Ok(vec![(&CUFF_PRESSURE, pressure)])
    }
}

/// Whether no blood pressure is like this, as far as numbers are there.
fn is_implausible(pressures: &[(&'static Metric, Value)], is_kilopascal: bool) -> bool {
    let number = |(_, value): &(_, Value)| match value {
        Value::Decimal(number) => Some(number.approximate()),
        Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Alarm(_) | Value::Samples(_) => None,
    };
    let is_out = |number: f64| is_kilopascal && !(3.0..=40.0).contains(&number);
    let is_upside_down = match pressures {
        [systolic, diastolic, ..] => number(systolic).zip(number(diastolic)).is_some_and(|(s, d)| s <= d),
        _ => false,
    };
    is_upside_down || pressures.iter().filter_map(number).any(is_out)
}

/// The time of an enhanced form: the time stamp with the way from it to what the device shows, else what it
/// shows.
fn enhanced_time(base: Option<u32>, shown: Option<u32>, epoch: i64) -> Option<DeviceTime> {
    let mut time = calendar(epoch + i64::from(base.or(shown)?))?;
    if let (Some(base), Some(shown)) = (base, shown) {
        let seconds = i64::from(shown) - i64::from(base);
        time.offset = if seconds % 60 == 0 { i16::try_from(seconds / 60).ok() } else { None };
    }
    Some(time)
}

/// The calendar's word for a second since 1970-01-01.
fn calendar(seconds: i64) -> Option<DeviceTime> {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok()?;
    Some(DeviceTime {
        year: u16::try_from(time.year()).ok()?,
        month: time.month().into(),
        day: time.day(),
        hour: time.hour(),
        minute: time.minute(),
        second: time.second(),
        ..DeviceTime::default()
    })
}

/// Measurement Status. Bits 6-15 are reserved.
#[derive(Clone, Copy)]
struct MeasurementStatus(u16);

impl MeasurementStatus {
    const BODY_MOVED: u16 = 1;
    const CUFF_TOO_LOOSE: u16 = 1 << 1;
    const IRREGULAR_PULSE: u16 = 1 << 2;
    const WRONG_POSITION: u16 = 1 << 5;

    /// The bits that have a meaning.
    fn assigned(self) -> u32 {
        u32::from(self.0 & 0x3F)
    }

    fn quality(self) -> Quality {
        [
            (Self::BODY_MOVED, Quality::POOR_SIGNAL),
            (Self::CUFF_TOO_LOOSE, Quality::SENSOR),
            (Self::IRREGULAR_PULSE | Self::WRONG_POSITION, Quality::QUESTIONABLE),
        ]
        .into_iter()
        .filter(|(any_of, _)| self.0 & any_of != 0)
        .fold(Quality::GOOD, |quality, (_, flag)| quality.with(flag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::FaultKind;
    use crate::device::decimal::Decimal;
    use proptest::prelude::*;

    #[test]
    fn the_features_are_given_out_as_read_and_only_whole() {
        let read = |value: Option<&[u8]>| Monitor.handle_read(FEATURE, value);
        let said = read(Some(&[0x3F, 0x01])).unwrap();
        assert_eq!((said[0].metric, &said[0].value), (&FEATURES, &Value::Bits(0x13F)));
        assert_eq!(read(None), Ok(Vec::new()));
        for value in [&[][..], &[1], &[1, 2, 3]] {
            assert_eq!(read(Some(value)).unwrap_err().kind, FaultKind::Malformed);
        }
        let fault = Monitor.handle_read(MEASUREMENT, Some(&[1, 2])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Unexpected);
    }

    #[test]
    fn an_enhanced_time_counts_from_either_epoch() {
        // To 1966 there are 16 leap years, to 2000 there are 24: 1900 was none.
        for (seconds, epoch, shown) in [
            (0, EPOCH_1900, "1900-01-01T00:00:00"),
            (0, EPOCH_2000, "2000-01-01T00:00:00"),
            (36_524 * 86_400, EPOCH_1900, "2000-01-01T00:00:00"),
            (24_106 * 86_400 + 3_661, EPOCH_1900, "1966-01-01T01:01:01"),
            (59 * 86_400 + 86_399, EPOCH_2000, "2000-02-29T23:59:59"),
            (u32::MAX, EPOCH_1900, "2036-02-07T06:28:15"),
            (u32::MAX, EPOCH_2000, "2136-02-07T06:28:15"),
        ] {
            assert_eq!(enhanced_time(Some(seconds), None, epoch).unwrap().to_string(), shown);
            assert_eq!(enhanced_time(None, Some(seconds), epoch).unwrap().to_string(), shown);
        }
        assert_eq!(enhanced_time(None, None, EPOCH_2000), None);
    }

    #[test]
    fn the_user_facing_time_is_an_offset_in_whole_minutes_or_none() {
        let offset = |shown: u32| {
            let time = enhanced_time(Some(10_000_000), Some(shown), EPOCH_2000).unwrap();
            assert_eq!(time.to_string(), "2000-04-25T17:46:40");
            time.offset
        };
        assert_eq!(offset(10_000_000), Some(0));
        assert_eq!(offset(10_007_200), Some(120));
        assert_eq!(offset(9_981_000), None);
        assert_eq!(offset(9_982_000), Some(-300));
        assert_eq!(offset(10_000_001), None);
        assert_eq!(offset(10_000_000 + 60 * 32_767), Some(32_767));
        assert_eq!(offset(10_000_000 + 60 * 32_768), None);
        assert_eq!(enhanced_time(None, Some(5), EPOCH_2000).unwrap().offset, None);
    }

    /// Writes a number as an SFLOAT.
    fn sfloat(mantissa: i16, exponent: i8) -> [u8; 2] {
        let bits = i32::from(exponent).rem_euclid(16) * 4096 + i32::from(mantissa).rem_euclid(4096);
        u16::try_from(bits).unwrap().to_le_bytes()
    }

    /// Writes a value as the specification lays it out.
    fn encode(
        of: Characteristic,
        flags: u8,
        numbers: [(i16, i8); 4],
        times: [u32; 2],
        status: u16,
    ) -> Vec<u8> {
        let is_enhanced = [ENHANCED_MEASUREMENT, ENHANCED_CUFF].contains(&of);
        let [first, second, third, pulse] = numbers.map(|(mantissa, exponent)| sfloat(mantissa, exponent));
        let mut out = vec![flags];
        out.extend(first);
        if of != ENHANCED_CUFF {
            out.extend(second.into_iter().chain(third));
        }
        if flags & 0x02 != 0 {
            let date = [0xEA, 7, 11, 22, 23, 30, 0];
            out.extend(if is_enhanced { times[0].to_le_bytes().to_vec() } else { date.to_vec() });
        }
        if flags & 0x04 != 0 {
            out.extend(pulse);
        }
        if flags & 0x08 != 0 {
            out.push(0xA5);
        }
        if flags & 0x10 != 0 {
            out.extend(status.to_le_bytes());
        }
        if is_enhanced && flags & 0x20 != 0 {
            out.extend(times[1].to_le_bytes());
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            form in 0usize..4,
            flags in any::<u8>(),
            numbers in any::<[(u16, u8); 4]>(),
            times in any::<[u32; 2]>(),
            status in any::<u16>(),
        ) {
            let of = PROFILE.subscribes[form];
            let number = |(mantissa, exponent): (u16, u8)| {
                (i16::try_from(mantissa % 4000).unwrap() - 2000, i8::try_from(exponent % 16).unwrap() - 8)
            };
            let numbers = numbers.map(number);
            let value = encode(of, flags, numbers, times, status);
            let read = Monitor.handle_value(of, &value).unwrap();
            let decimal = |(mantissa, exponent): (i16, i8)| {
                Value::Decimal(Decimal::new(i64::from(mantissa), exponent))
            };
            let [first, second, third, pulse] = numbers.map(decimal);
            let mut expected = if form % 2 == 0 {
                let metrics = [&PRESS_BLD_NONINV_SYS, &PRESS_BLD_NONINV_DIA, &PRESS_BLD_NONINV_MEAN];
                metrics.into_iter().zip([first, second, third]).collect::<Vec<_>>()
            } else {
                vec![(&CUFF_PRESSURE, first)]
            };
            let unit = if flags & 1 == 0 { "mm[Hg]" } else { "kPa" };
            prop_assert!(read.iter().take(expected.len()).all(|said| said.unit.ucum == unit));
            if flags & 4 != 0 {
                expected.push((&PULS_RATE_NON_INV, pulse));
            }
            if flags & 16 != 0 {
                expected.push((&BLOOD_PRESSURE_MEASUREMENT_STATUS, Value::Bits(u32::from(status % 64))));
            }
            if flags & 8 != 0 {
                expected.push((&USER_INDEX, Value::Decimal(Decimal::whole(165u8))));
            }
            let said: Vec<_> = read.iter().map(|said| (said.metric, said.value.clone())).collect();
            prop_assert_eq!(said, expected);
            let has_time = flags & 2 != 0 || form > 1 && flags & 0x20 != 0;
            prop_assert!(read.iter().all(|said| said.device_time.is_some() == has_time));
            prop_assert!(read.iter().all(|said| (said.status == Status::Preliminary) == (form % 2 == 1)));
            for length in 0..value.len() {
                prop_assert!(Monitor.handle_value(of, &value[..length]).is_err());
            }
        }
    }
}
