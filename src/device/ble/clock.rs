//! Current Time (service 0x1805), characteristic 2A2B (GATT Specification Supplement, "Current Time"): the
//! device's own clock, read on every connection before anything is subscribed to, and notified when it is set.
//!
//! Ten octets: Date Time (7), day of the week, 1/256 s, the reason of the last adjustment. The clock is local
//! to the device and has no zone.
//!
//! It is an observation of its own (`MDC_ATTR_TIME_ABS`, the coincident time stamp of the HL7 PHD guide): the
//! device's reading at the moment at which the gateway had it. By it every other stamp of the same connection
//! is placed on the gateway's timeline (`device/placing.rs`); without it what comes out of a device's storage
//! has no time. A clock that was never set (year, month or day 0) is told as `unknown`, flagged `clock-not-set`;
//! one that shows what no clock shows (month 13, hour 24, February 30) as `error`, flagged `invalid` besides. Both
//! stay raw beside it, and place nothing.
//!
//! Why the clock was adjusted is told by itself, as its four assigned bits (manually, by an external reference,
//! change of the time zone, of daylight saving time), when one of them is set.

use super::octets::{Octets, is_calendar_time};
use crate::device::Fault;
use crate::device::catalogue::{BleProfile, Class, Decoder};
use crate::device::nomenclature::{DIMENSIONLESS, Metric, TIME_ABS};
use crate::device::observation::{Absent, DeviceTime, Kind, Observation, Quality, Status, Value};
use crate::link::Characteristic;
use crate::link::gatt::CURRENT_TIME;
use crate::time::civil_millis;

/// Why the clock was adjusted. A code of our private block.
static ADJUST_REASON: Metric = Metric {
    code: 67_113_601,
    reference: "BLE_CLOCK_ADJUST_REASON",
    label: "why the clock was adjusted",
    loinc: None,
    plausible: None,
};

/// The reasons that have a meaning.
const REASONS: u8 = 0b1111;

/// The catalogue row.
pub(super) static PROFILE: BleProfile = BleProfile {
    name: "current-time",
    title: "Current Time",
    service: CURRENT_TIME.service,
    class: Class::Monitor,
    asks: &[CURRENT_TIME],
    subscribes: &[CURRENT_TIME],
    episodic: &[CURRENT_TIME],
    stored: None,
    reads: &[&TIME_ABS, &ADJUST_REASON],
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
        let (time, reason) = whole(value)?;
        let stated = |metric, value, quality| Observation {
            metric,
            channel: 0,
            value,
            unit: &DIMENSIONLESS,
            modality: 0,
            kind: Kind::State,
            record: None,
            device_time: Some(time),
            status: Status::Final,
            quality,
        };
        let (shown, quality) = reading(time);
        let mut said = vec![stated(&TIME_ABS, shown, quality)];
        if reason & REASONS != 0 {
            said.push(stated(&ADJUST_REASON, Value::Bits((reason & REASONS).into()), quality));
        }
        Ok(said)
    }
}

/// What a Current Time says.
pub(super) fn read(value: &[u8]) -> Result<DeviceTime, Fault> {
    whole(value).map(|(time, _)| time)
}

fn whole(value: &[u8]) -> Result<(DeviceTime, u8), Fault> {
    let mut octets = Octets::new("current time", value)?;
    let time = octets.date_time("date and time")?;
    octets.u8("day of the week")?;
    let fractions = octets.u8("1/256 s")?;
    let reason = octets.u8("reason of the adjustment")?;
    // 255/256 s are 996 ms: no more decimals than the clock has.
    let millis = u16::try_from(u32::from(fractions) * 1_000 / 256).unwrap_or_default();
    Ok((DeviceTime { millis, ..time }, reason))
}

fn reading(time: DeviceTime) -> (Value, Quality) {
    let DeviceTime { year, month, day, hour, minute, second, millis, .. } = time;
    if year == 0 || month == 0 || day == 0 {
        return (Value::Absent(Absent::Unknown), Quality::CLOCK_NOT_SET);
    }
    let is_on_calendar =
        is_calendar_time(time) && civil_millis((year, month, day), (hour, minute, second, millis)).is_some();
    if is_on_calendar {
        (Value::Text(time.to_string()), Quality::GOOD)
    } else {
        (Value::Absent(Absent::Error), Quality::INVALID.with(Quality::CLOCK_NOT_SET))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_no_clock_shows_is_invalid_and_stays_raw() {
        for (at, octet) in [(2, 13), (3, 32), (4, 24), (5, 60), (6, 60), (1, 0x40)] {
            let mut value = [0xEA, 0x07, 12, 31, 23, 59, 59, 4, 0, 1];
            value[at] = octet;
            let said = Clock.handle_value(CURRENT_TIME, &value).unwrap();
            assert_eq!(said[0].value, Value::Absent(Absent::Error), "octet {at}");
            assert!(said.iter().all(|said| said.quality.has(Quality::INVALID)), "octet {at}");
            assert_eq!(said[0].device_time, Some(read(&value).unwrap()));
        }
    }

    proptest! {
        #[test]
        fn a_clock_reads_as_it_was_written(year: u16, rest: [u8; 5], day: u8, fractions: u8, reason: u8) {
            let mut value = year.to_le_bytes().to_vec();
            value.extend(rest);
            value.extend([day, fractions, reason]);
            let read = read(&value).unwrap();
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
