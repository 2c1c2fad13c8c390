//! When it was: a device's own stamp on the gateway's timeline.
//!
//! In: an observation and the moment at which the gateway had it. Out: that moment, another one before
//! it, or that nobody can say. The rules are those of the HL7 PHD guide ("The Coincident Timestamp") for a
//! gateway that is better synchronised than its devices:
//!
//! | the device's stamp | when it was |
//! | --- | --- |
//! | none, the reading is live | when it was received |
//! | none, the reading was stored | nobody can say (the guide would take the time of reception) |
//! | current timeline, and its clock was read on the same connection | the stamp, less what the clock was ahead |
//! | of an older timeline (the clock was set since) | nobody can say |
//! | its clock cannot be read, the reading is live | when it was received |
//! | its clock cannot be read, the reading was stored | nobody can say |
//! | no date (year 0, month 13, a day that is not in the month) | as if its clock could not be read |
//! | placed after the moment of reception | nobody can say: the clock was set in between |
//!
//! A clock that was read has no zone; a stamp may have one. What the clock was ahead then holds for the stamp
//! ([`lead`]):
//!
//! | the device's stamp | what the clock was ahead holds for it |
//! | --- | --- |
//! | local, without a zone | as it is |
//! | local, with a zone | as it is |
//! | in UTC, with what is to be added for the local time | less what is to be added |
//! | of either, and without it the clock is wrong by a step of daylight saving time | not: the zone may be another since |
//! | with a zone of 0 and nothing to be added: local or UTC | as it is if the clock is right, else not |
//! | with something to be added for the user-facing time, without a zone | not: the base time is another clock |
//! | with a zone, or something to be added, that no place on earth has | not |
//! | a counter | not |
//!
//! What never happens: the raw stamp is changed; a time is made up.

use std::time::Duration;

use super::observation::{DeviceTime, Observation, Quality};
use crate::time::{Now, Wall, civil_millis};

/// By how much a stamp may be placed after its reception: clocks are read to the second, and the device's
/// answer was on its way for a while.
pub const SLACK: Duration = Duration::from_secs(5);

/// When something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// When the gateway received it.
    Received,
    /// Then, by the device's own stamp.
    At(Wall),
    /// Nobody can say.
    Unknown,
}

/// When an observation was made that the gateway received at `at`.
pub fn place(observation: &Observation, at: Now) -> Placed {
    let stamp = match observation.device_time {
        Some(time) if time.is_of_older_timeline => return Placed::Unknown,
        Some(time) => millis(time).zip(time.ahead),
        None => None,
    };
    let Some((stamp, ahead)) = stamp else {
        let is_stored = observation.quality.has(Quality::STORED);
        return if is_stored { Placed::Unknown } else { Placed::Received };
    };
    let (Some(placed), slack) = (stamp.checked_sub(ahead), i64::try_from(SLACK.as_millis()).unwrap_or(0))
    else {
        return Placed::Unknown;
    };
    let received = at.wall.as_millis();
    if placed > received.saturating_add(slack) {
        return Placed::Unknown;
    }
    Placed::At(Wall::from_millis(placed.min(received)))
}

/// By how much a clock that reads `time` is ahead of the gateway's at the same moment, in milliseconds.
pub fn ahead(time: DeviceTime, now: Now) -> Option<i64> {
    millis(time)?.checked_sub(now.wall.as_millis())
}

/// By how much the clock that made a stamp is ahead of the gateway's, by another reading of the device's local
/// clock: that was `local` milliseconds ahead. `None`: that says nothing of this stamp.
pub fn lead(stamp: DeviceTime, local: i64) -> Option<i64> {
    if stamp.ticks.is_some() || stamp.is_of_older_timeline {
        return None;
    }
    let quarters = |quarters: i8| i64::from(quarters) * QUARTER;
    let (zone, is_utc) = match (stamp.zone, stamp.offset) {
        (None, None) => return Some(local),
        // Either a local clock in that zone or one in UTC, which is the same where the clock is right.
        (Some(0), None) => return Some(local).filter(|local| local.abs() <= QUARTER / 2),
        (Some(zone), None) => (quarters(zone), false),
        (Some(0), Some(offset)) => (i64::from(offset) * MINUTE, true),
        (None | Some(_), Some(_)) => return None,
    };
    if !(WESTERNMOST * QUARTER..=EASTERNMOST * QUARTER).contains(&zone) {
        return None;
    }
    let wrong_by = local.checked_sub(zone)?;
    let is_step = |quarters: i64| wrong_by.abs().abs_diff(quarters * QUARTER) <= QUARTER.unsigned_abs() / 2;
    if DAYLIGHT_STEPS.into_iter().any(is_step) {
        return None;
    }
    Some(if is_utc { wrong_by } else { local })
}

/// Milliseconds in a minute.
const MINUTE: i64 = 60_000;

/// Milliseconds in a quarter of an hour, in which zones are counted.
const QUARTER: i64 = 15 * MINUTE;

/// The least zone that there is, and the greatest with the most that daylight saving time adds (GATT Specification
/// Supplement, "Time Zone": -48 to 56 quarters of an hour; "DST Offset": up to 8).
const WESTERNMOST: i64 = -48;
const EASTERNMOST: i64 = 56 + 8;

/// Quarters of an hour by which daylight saving time moves a clock (GATT Specification Supplement, "DST Offset").
const DAYLIGHT_STEPS: [i64; 3] = [2, 4, 8];

/// The reading in milliseconds since 1970, as if it were UTC; of a counter, its own.
pub(super) fn millis(time: DeviceTime) -> Option<i64> {
    if let Some(ticks) = time.ticks {
        return i64::try_from(ticks).ok();
    }
    let date = (time.year, time.month, time.day);
    let clock = (time.hour, time.minute, time.second, time.millis);
    if time.year == 0 { None } else { civil_millis(date, clock) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::decimal::Decimal;
    use crate::device::nomenclature as mdc;
    use crate::device::observation::{Kind, Status, Value};

    const NOON: i64 = 1_795_435_200_000; // 2026-11-23T12:00:00Z

    fn at(millis: i64) -> Now {
        Now { wall: Wall::from_millis(millis), ..Now::default() }
    }

    fn stamped(device_time: Option<DeviceTime>, quality: Quality) -> Observation {
        Observation {
            metric: &mdc::SPO2,
            channel: 0,
            value: Value::Decimal(Decimal::whole(97u8)),
            unit: &mdc::PERCENT,
            modality: 0,
            kind: Kind::Measurement,
            record: None,
            device_time,
            status: Status::Final,
            quality,
        }
    }

    fn eleven() -> DeviceTime {
        DeviceTime { year: 2026, month: 11, day: 23, hour: 11, ..DeviceTime::default() }
    }

    /// Twelve rows: what the stamp is, whether it was stored, and when it was.
    #[test]
    fn the_truth_table_of_the_guide() {
        let hour = 3_600_000;
        let stored = Quality::STORED;
        let good = Quality::GOOD;
        let ahead = |ms| DeviceTime { ahead: Some(ms), ..eleven() };
        let ticks = |ticks, ahead| DeviceTime { ticks: Some(ticks), ahead, ..DeviceTime::default() };
        let rows = [
            ("no stamp, live", None, good, Placed::Received),
            ("no stamp, stored", None, stored, Placed::Unknown),
            ("clock right", Some(ahead(0)), stored, Placed::At(Wall::from_millis(NOON - hour))),
            (
                "clock six minutes behind",
                Some(ahead(-360_000)),
                stored,
                Placed::At(Wall::from_millis(NOON - hour + 360_000)),
            ),
            (
                "clock in 2017",
                Some(DeviceTime { year: 2017, ahead: Some(-3_287 * 86_400_000), ..eleven() }),
                stored,
                Placed::At(Wall::from_millis(NOON - hour)),
            ),
            (
                "older timeline",
                Some(DeviceTime { is_of_older_timeline: true, ..ahead(0) }),
                stored,
                Placed::Unknown,
            ),
            ("clock unreadable, live", Some(eleven()), good, Placed::Received),
            ("clock unreadable, stored", Some(eleven()), stored, Placed::Unknown),
            ("month 13, stored", Some(DeviceTime { month: 13, ..ahead(0) }), stored, Placed::Unknown),
            ("year 0, live", Some(DeviceTime { year: 0, ..ahead(0) }), good, Placed::Received),
            (
                "counter with anchor",
                Some(ticks(108_000, Some(100_000 - (NOON - 9_000)))),
                stored,
                Placed::At(Wall::from_millis(NOON - 1_000)),
            ),
            ("after its reception", Some(ahead(-2 * hour)), stored, Placed::Unknown),
        ];
        for (name, time, quality, expected) in rows {
            assert_eq!(place(&stamped(time, quality), at(NOON)), expected, "{name}");
        }
        assert_eq!(place(&stamped(Some(ticks(5, None)), stored), at(NOON)), Placed::Unknown);
    }

    /// Twenty more rows: the stamp's zone and offset, what the local clock was ahead, in minutes, and what holds.
    #[test]
    fn the_truth_table_of_zones() {
        let berlin = 60;
        let rows = [
            ("no zone, whatever the clock", None, None, 61, Some(61)),
            ("local, clock right", Some(4), None, berlin + 3, Some(berlin + 3)),
            ("local, clock of 2017", Some(4), None, -4_733_280, Some(-4_733_280)),
            ("local, an hour since", Some(4), None, berlin + 60, None),
            ("local, an hour before", Some(4), None, berlin - 62, None),
            ("UTC, clock right", Some(0), Some(60), berlin + 3, Some(3)),
            ("UTC, clock six hours behind", Some(0), Some(60), berlin - 360, Some(-360)),
            ("UTC, an hour since", Some(0), Some(60), berlin + 60, None),
            ("zone 0, clock right", Some(0), None, -7, Some(-7)),
            ("zone 0, clock an hour off", Some(0), None, 60, None),
            ("zone 0, clock a day off", Some(0), None, 1_440, None),
            ("a user-facing offset", None, Some(60), berlin, None),
            ("zone and offset", Some(4), Some(60), berlin, None),
            ("zone not known", Some(-128), None, -1_920, None),
            ("UTC, the most westerly zone", Some(0), Some(-720), -717, Some(3)),
            ("UTC, beyond it", Some(0), Some(-735), -735, None),
            ("UTC, zone not known", Some(0), Some(-1_920), 0, None),
            ("the most easterly zone in summer", Some(64), None, 963, Some(963)),
            ("beyond it", Some(65), None, 978, None),
            ("UTC, beyond it in the east", Some(0), Some(975), 975, None),
        ];
        for (name, zone, offset, local, expected) in rows {
            let stamp = DeviceTime { offset, zone, ..eleven() };
            let minutes = |minutes: i64| minutes * 60_000;
            assert_eq!(lead(stamp, minutes(local)), expected.map(minutes), "{name}");
            assert_eq!(lead(DeviceTime { ticks: Some(5), ..stamp }, minutes(local)), None, "{name}");
            let older = DeviceTime { is_of_older_timeline: true, ..stamp };
            assert_eq!(lead(older, minutes(local)), None, "{name}");
        }
        let extreme = DeviceTime { zone: Some(4), ..eleven() };
        assert_eq!(lead(extreme, i64::MIN), None);
        assert!(lead(extreme, i64::MAX).is_some());
    }

    /// A stamp in UTC and one in local time of one moment are placed at one moment.
    #[test]
    fn local_and_utc_stamps_are_placed_alike() {
        // The local clock, an hour from UTC, is five minutes ahead of its zone; it shows 13:05 at noon.
        let local = 65 * 60_000;
        let stamp = |hour, minute, zone, offset| DeviceTime { hour, minute, offset, zone, ..eleven() };
        for stamp in [stamp(12, 5, Some(4), None), stamp(11, 5, Some(0), Some(60)), stamp(12, 5, None, None)]
        {
            let stamp = DeviceTime { ahead: lead(stamp, local), ..stamp };
            let placed = place(&stamped(Some(stamp), Quality::STORED), at(NOON));
            assert_eq!(placed, Placed::At(Wall::from_millis(NOON - 3_600_000)), "{stamp:?}");
        }
    }

    #[test]
    fn a_clock_read_to_the_second_does_not_place_a_reading_in_the_future() {
        let time = DeviceTime { ahead: Some(-3_603_000), ..eleven() };
        assert_eq!(place(&stamped(Some(time), Quality::GOOD), at(NOON)), Placed::At(Wall::from_millis(NOON)));
    }

    #[test]
    fn what_a_clock_is_ahead_is_what_places_its_stamps() {
        let read =
            DeviceTime { year: 2026, month: 11, day: 23, hour: 12, minute: 6, ..DeviceTime::default() };
        assert_eq!(ahead(read, at(NOON)), Some(360_000));
        assert_eq!(ahead(DeviceTime::default(), at(NOON)), None, "an unset clock anchors nothing");
        let most = DeviceTime { ticks: Some(u64::MAX), ..DeviceTime::default() };
        assert_eq!(ahead(most, at(NOON)), None);
        let extreme = DeviceTime { ahead: Some(i64::MIN), ..eleven() };
        assert_eq!(place(&stamped(Some(extreme), Quality::STORED), at(NOON)), Placed::Unknown);
    }
}
