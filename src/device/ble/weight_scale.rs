//! Weight Scale (0x181D): scales, with body height and body mass index where they know the height.
//!
//! Weight Measurement 2A9D (GATT Specification Supplement, "Weight Measurement"): flags; the weight in steps of
//! 0.005 kg or 0.01 lb; the time; the user; body mass index and height.
//!
//! Choices:
//! - *Unsuccessful.* A weight of 0xFFFF is no weight (from memory, Weight Scale Service 3.2.1; as a number it
//!   would be 327.675 kg or 655.35 lb): `error`, flagged `invalid`. So are body mass index and height that come
//!   with it: what a measurement says that did not succeed is no result.
//! - *User.* The index of a person in the scale's memory is told as a state behind the values, unless it is 0xFF,
//!   "unknown": a scale that is asked by consent gives what it keeps, and not of one person only.
//! - *Unit.* As sent; a height in steps of a millimetre is given in centimetres, exactly.
//! - *Reserved flags* are ignored. One maker is known to mark weights below zero with bit 4: such a scale must
//!   not be listed, as its negative weights would be read as positive ones.

use super::consent::USER_INDEX;
use super::occasion::Occasion;
use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Plain};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{
    CENTIMETRE, INCH, KILOGRAM, KILOGRAM_PER_M2, LEN_BODY_ACTUAL, MASS_BODY_ACTUAL, POUND,
    RATIO_MASS_BODY_LEN_SQ, Unit,
};
use crate::device::observation::{Absent, Observation, Quality, Status, Value};
use crate::link::Characteristic;

const SERVICE: u16 = 0x181D;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A9D };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "weight-scale",
    title: "Weight Scale",
    class: Class::Monitor,
    service: SERVICE,
    asks: &[],
    subscribes: &[MEASUREMENT],
    episodic: &[MEASUREMENT],
    stored: None,
    reads: &[&MASS_BODY_ACTUAL, &RATIO_MASS_BODY_LEN_SQ, &LEN_BODY_ACTUAL, &USER_INDEX],
    decoder: || Box::new(Plain(decode)),
};

const IS_IMPERIAL: u8 = 1;
const TIME_PRESENT: u8 = 1 << 1;
const USER_PRESENT: u8 = 1 << 2;
const INDEX_AND_HEIGHT_PRESENT: u8 = 1 << 3;

/// What stands for a measurement that did not succeed.
pub(super) const UNSUCCESSFUL: u16 = 0xFFFF;

/// In which units a scale speaks.
#[derive(Clone, Copy)]
pub(super) enum System {
    /// Kilograms and metres.
    Metric,
    /// Pounds and inches.
    Imperial,
}

impl System {
    /// From the flag.
    pub(super) const fn of_flag(is_imperial: bool) -> Self {
        if is_imperial { Self::Imperial } else { Self::Metric }
    }

    /// A mass: steps of 0.005 kg or of 0.01 lb.
    pub(super) fn mass(self, steps: u16) -> (Value, &'static Unit) {
        match self {
            Self::Metric => (Value::Decimal(Decimal::new(i64::from(steps) * 5, -3)), &KILOGRAM),
            Self::Imperial => (tenths(steps, -2), &POUND),
        }
    }

    /// A length: steps of 0.001 m, which is 0.1 cm, or of 0.1 in.
    pub(super) fn length(self, steps: u16) -> (Value, &'static Unit) {
        match self {
            Self::Metric => (tenths(steps, -1), &CENTIMETRE),
            Self::Imperial => (tenths(steps, -1), &INCH),
        }
    }
}

/// A number in steps of a power of ten.
pub(super) fn tenths(steps: u16, exponent: i8) -> Value {
    Value::Decimal(Decimal::new(i64::from(steps), exponent))
}

fn decode(characteristic: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
    if characteristic != MEASUREMENT {
        return Err(super::not_of_this_profile(characteristic, &PROFILE));
    }
    let mut octets = Octets::new("weight measurement", value)?;
    let flags = octets.u8("flags")?;
    let has = |flag: u8| flags & flag != 0;
    let system = System::of_flag(has(IS_IMPERIAL));
    let weight = octets.u16("weight")?;
    let mut occasion = Occasion::new(Status::Final);
    if has(TIME_PRESENT) {
        occasion.take_time(octets.date_time("time")?);
    }
    let user = if has(USER_PRESENT) { Some(octets.u8("user")?) } else { None };
    let is_unsuccessful = weight == UNSUCCESSFUL;
    if is_unsuccessful {
        occasion.flag(Quality::INVALID);
    }
    let gate = |number: Value| if is_unsuccessful { Value::Absent(Absent::Error) } else { number };
    let (number, unit) = system.mass(weight);
    let mut observations = vec![occasion.measured(&MASS_BODY_ACTUAL, gate(number), unit)];
    if has(INDEX_AND_HEIGHT_PRESENT) {
        let index = tenths(octets.u16("body mass index")?, -1);
        let (height, unit) = system.length(octets.u16("height")?);
        observations.push(occasion.measured(&RATIO_MASS_BODY_LEN_SQ, gate(index), &KILOGRAM_PER_M2));
        observations.push(occasion.measured(&LEN_BODY_ACTUAL, gate(height), unit));
    }
    observations.extend(occasion.of_user(user));
    Ok(observations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_of_a_measurement_that_did_not_succeed_is_a_result() {
        let said = decode(MEASUREMENT, &[0x08, 0xFF, 0xFF, 0xE6, 0x00, 0x08, 0x07]).unwrap();
        assert_eq!(said.len(), 3);
        for said in said {
            assert_eq!((said.value, said.quality), (Value::Absent(Absent::Error), Quality::INVALID));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            flags in any::<u8>(),
            weight in 0u16..0xFFFF,
            index in any::<u16>(),
            height in any::<u16>(),
            user in any::<u8>(),
        ) {
            let mut value = vec![flags];
            value.extend(weight.to_le_bytes());
            if flags & 2 != 0 {
                value.extend([0xEA, 7, 11, 22, 23, 30, 0]);
            }
            if flags & 4 != 0 {
                value.push(user);
            }
            if flags & 8 != 0 {
                value.extend(index.to_le_bytes().into_iter().chain(height.to_le_bytes()));
            }
            // In whole thousandths of a unit.
            let step = if flags & 1 == 0 { 5 } else { 10 };
            let mut expected = vec![(188_736, i64::from(weight) * step)];
            if flags & 8 != 0 {
                expected.push((188_752, i64::from(index) * 100));
                expected.push((188_740, i64::from(height) * 100));
            }
            if flags & 4 != 0 && user != 0xFF {
                expected.push((67_113_313, i64::from(user) * 1_000));
            }
            let read = decode(MEASUREMENT, &value).unwrap();
            let thousandths = |said: &Observation| {
                let Value::Decimal(Decimal { mantissa, exponent }) = said.value else {
                    panic!("{said:?} is no number")
                };
                mantissa * 10i64.pow(u32::try_from(i16::from(exponent) + 3).unwrap())
            };
            let said: Vec<_> = read.iter().map(|said| (said.metric.code, thousandths(said))).collect();
            prop_assert_eq!(said, expected);
            prop_assert!(read.iter().all(|said| said.device_time.is_some() == (flags & 2 != 0)));
            for length in 0..value.len() {
                prop_assert!(decode(MEASUREMENT, &value[..length]).is_err());
            }
        }
    }
}
