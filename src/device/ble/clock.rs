//! Current Time (service 0x1805), characteristic 2A2B (GATT Specification Supplement, "Current Time"): the
//! device's own clock, read on every connection before anything is subscribed to.
//!
//! Ten octets: Date Time (7), day of the week, 1/256 s, the reason of the last adjustment. The clock is local
//! to the device and has no zone.
//!
//! It is an observation of its own (`MDC_ATTR_TIME_ABS`, the coincident time stamp of the HL7 PHD guide): the
//! device's reading at the moment at which the gateway had it. By it every other stamp of the same connection
//! is placed on the gateway's timeline (`device/placing.rs`); without it what comes out of a device's storage
//! has no time. A clock that was never set (year 0) is told as such and places nothing.

use super::octets::Octets;
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::nomenclature::{DIMENSIONLESS, TIME_ABS};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::link::Characteristic;
use crate::link::gatt::CURRENT_TIME;

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "current-time",
    title: "Current Time",
    service: CURRENT_TIME.service,
    class: Class::Monitor,
    asks: &[CURRENT_TIME],
    subscribes: &[],
    episodic: &[],
    stored: None,
    reads: &[&TIME_ABS],
    decoder: || Box::new(Clock),
};

struct Clock;

impl Decoder for Clock {
    fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) -> Result<Vec<Observation>, Fault> {
        value.map_or_else(|| Ok(Vec::new()), |value| self.handle_value(of, value))
    }

    fn handle_value(&mut self, of: Characteristic, value: &[u8]) -> Result<Vec<Observation>, Fault> {
        if of != CURRENT_TIME {
            return Err(super::not_of_this_profile(of, &PROFILE));
        }
        read(value).map(|time| vec![reading(time)])
    }
}

/// What a Current Time says.
pub(super) fn read(value: &[u8]) -> Result<DeviceTime, Fault> {
    let mut octets = Octets::new("current time", value)?;
    let time = octets.date_time("date and time")?;
    octets.u8("day of the week")?;
    let fractions = octets.u8("1/256 s")?;
    octets.u8("reason of the adjustment")?;
    // 255/256 s are 996 ms: no more decimals than the clock has.
    let millis = u16::try_from(u32::from(fractions) * 1_000 / 256).unwrap_or_default();
    Ok(DeviceTime { millis, ..time })
}

fn reading(time: DeviceTime) -> Observation {
    let is_set = time.year != 0 && time.month != 0 && time.day != 0;
    Observation {
        metric: &TIME_ABS,
        channel: 0,
        value: if is_set { Value::Text(time.to_string()) } else { Value::Absent(Absent::Unknown) },
        unit: &DIMENSIONLESS,
        modality: 0,
        kind: Kind::State,
        record: None,
        device_time: Some(time),
        status: Status::Final,
        quality: if is_set { Quality::GOOD } else { Quality::CLOCK_NOT_SET },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_clock_reads_as_it_was_written(year: u16, rest: [u8; 5], day: u8, fractions: u8, reason: u8) {
            let mut value = year.to_le_bytes().to_vec();
            value.extend(rest);
            value.extend([day, fractions, reason]);
            let read = super::read(&value).unwrap();
            let [month, day, hour, minute, second] = rest;
            prop_assert_eq!((read.year, read.month, read.day), (year, month, day));
            prop_assert_eq!((read.hour, read.minute, read.second), (hour, minute, second));
            prop_assert!(read.millis < 1_000 && (u32::from(read.millis) * 256).div_ceil(1_000) == u32::from(fractions));
            for length in 0..value.len() {
                prop_assert!(super::read(&value[..length]).is_err());
            }
        }
    }
}
