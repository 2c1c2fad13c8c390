//! Heart Rate (0x180D): belts, wrist and ear sensors.
//!
//! Heart Rate Measurement 2A37 (GATT Specification Supplement, "Heart Rate Measurement"): flags;
//! the rate as one or two octets; the energy expended; RR intervals to the end of the value. Only
//! notified: what is missed while disconnected is lost at the source.
//!
//! Choices:
//! - *Contact.* A device that can tell and says "no contact" keeps its number, flagged `sensor`.
//!   A device that cannot tell has nothing said against it.
//! - *RR intervals* are given in milliseconds, exactly (1/1024 s has at most seven decimals), the
//!   oldest first, as sent. They carry the contact flag too.
//! - *Energy* of 0xFFFF is where the counter stops: the number stays and is flagged `questionable`,
//!   as the true one is that or more.

use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Plain};
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{
    ENERGY_EXPENDED, HEART_RATE, KILOJOULE, MILLISECOND, Metric, PER_MINUTE, RR_INTERVAL, Unit,
};
use crate::device::observation::{Kind, Observation, Quality, Status, Value};
use crate::link::Characteristic;

const SERVICE: u16 = 0x180D;
const MEASUREMENT: Characteristic = Characteristic { service: SERVICE, uuid: 0x2A37 };

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "heart-rate",
    title: "Heart Rate",
    service: SERVICE,
    class: Class::Monitor,
    asks: &[],
    subscribes: &[MEASUREMENT],
    episodic: &[],
    stored: None,
    reads: &[&HEART_RATE, &RR_INTERVAL, &ENERGY_EXPENDED],
    decoder: || Box::new(Plain(decode)),
};

const RATE_IS_16_BIT: u8 = 1;
const CONTACT_SUPPORTED: u8 = 1 << 2;
const CONTACT_DETECTED: u8 = 1 << 1;
const ENERGY_PRESENT: u8 = 1 << 3;
const RR_PRESENT: u8 = 1 << 4;

/// Where the energy counter stops.
const ENERGY_SATURATED: u16 = 0xFFFF;

fn decode(characteristic: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
    if characteristic != MEASUREMENT {
        return Err(super::not_of_this_profile(characteristic, &PROFILE));
    }
    let mut octets = Octets::new("heart rate measurement", value)?;
    let flags = octets.u8("flags")?;
    let has = |flag: u8| flags & flag != 0;
    let contact =
        if has(CONTACT_SUPPORTED) && !has(CONTACT_DETECTED) { Quality::SENSOR } else { Quality::GOOD };

    let rate = if has(RATE_IS_16_BIT) { octets.u16("rate")? } else { u16::from(octets.u8("rate")?) };
    let mut observations = vec![measured(&HEART_RATE, Decimal::whole(rate), &PER_MINUTE, contact)];
    if has(ENERGY_PRESENT) {
        let energy = octets.u16("energy expended")?;
        let quality = if energy == ENERGY_SATURATED { Quality::QUESTIONABLE } else { Quality::GOOD };
        observations.push(measured(&ENERGY_EXPENDED, Decimal::whole(energy), &KILOJOULE, quality));
    }
    if has(RR_PRESENT) {
        // The field is announced, so one interval at least must be there.
        let first = octets.u16("first RR interval")?;
        observations.push(measured(&RR_INTERVAL, milliseconds(first), &MILLISECOND, contact));
        while !octets.is_empty() {
            let next = octets.u16("RR interval")?;
            observations.push(measured(&RR_INTERVAL, milliseconds(next), &MILLISECOND, contact));
        }
    }
    Ok(observations)
}

fn measured(metric: &'static Metric, number: Decimal, unit: &'static Unit, quality: Quality) -> Observation {
    Observation {
        metric,
        channel: 0,
        value: Value::Decimal(number),
        unit,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality,
    }
}

/// 1/1024 s in milliseconds: 1000/1024 is exactly 0.9765625. Shown with no more decimals than needed.
fn milliseconds(ticks: u16) -> Decimal {
    let mut mantissa = i64::from(ticks) * 9_765_625;
    let mut exponent = -7;
    while exponent < 0 && mantissa % 10 == 0 {
        mantissa /= 10;
        exponent += 1;
    }
    Decimal::new(mantissa, exponent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn milliseconds_are_exact() {
        for (ticks, shown) in
            [(0, "0"), (1, "0.9765625"), (33, "32.2265625"), (460, "449.21875"), (1024, "1000")]
        {
            assert_eq!(milliseconds(ticks).to_string(), shown);
        }
        for ticks in 0..=u16::MAX {
            let Decimal { mantissa, exponent } = milliseconds(ticks);
            // value * 1024 == ticks * 1000, in units of 10^-7.
            let scale = 10i64.pow(u32::from((exponent + 7).unsigned_abs()));
            assert_eq!(mantissa * scale * 1024, i64::from(ticks) * 10_000_000_000);
        }
    }

    /// Writes a value as the specification lays it out.
    fn encode(rate: u16, wide: bool, energy: Option<u16>, intervals: &[u16], other_flags: u8) -> Vec<u8> {
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = flag(wide, 1) | flag(energy.is_some(), 8) | flag(!intervals.is_empty(), 16);
        let mut out = vec![flags | other_flags];
        out.extend(if wide { rate.to_le_bytes().to_vec() } else { vec![rate.to_le_bytes()[0]] });
        out.extend(energy.into_iter().chain(intervals.iter().copied()).flat_map(u16::to_le_bytes));
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            rate in any::<u16>(),
            wide in any::<bool>(),
            energy in proptest::option::of(any::<u16>()),
            intervals in proptest::collection::vec(any::<u16>(), 0..20),
            reserved in 0u8..8,
        ) {
            let rate = if wide { rate } else { rate & 0xFF };
            let value = encode(rate, wide, energy, &intervals, reserved << 5);
            let read = decode(MEASUREMENT, &value).unwrap();
            let mut expected = vec![(&HEART_RATE, Decimal::whole(rate))];
            expected.extend(energy.map(|energy| (&ENERGY_EXPENDED, Decimal::whole(energy))));
            expected.extend(intervals.iter().map(|ticks| (&RR_INTERVAL, milliseconds(*ticks))));
            prop_assert_eq!(read.len(), expected.len());
            for (observation, (metric, number)) in read.iter().zip(expected) {
                prop_assert_eq!(observation.metric, metric);
                prop_assert_eq!(&observation.value, &Value::Decimal(number));
            }
            // Cut anywhere, it is refused, but at the end of a whole RR interval that is not the first.
            for length in 0..value.len() {
                let whole_intervals = length + 2 * intervals.len() > value.len() && (value.len() - length).is_multiple_of(2);
                prop_assert_eq!(decode(MEASUREMENT, &value[..length]).is_ok(), whole_intervals);
            }
        }
    }
}
