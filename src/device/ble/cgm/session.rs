//! When a session began, and when a minute of it was.
//!
//! CGM Session Start Time 2AAA: a Date Time, the zone in quarters of an hour from UTC, the daylight saving time
//! in the same quarters (GATT Specification Supplement, "CGM Session Start Time", "Time Zone", "DST Offset"; one
//! published parser takes the zone for minutes, which it is not). Everything else counts minutes from there.

use time::{Date, Duration, Month, PrimitiveDateTime, Time};

use crate::device::ble::records::Hash;
use crate::device::observation::DeviceTime;

/// Milliseconds in a minute.
const MINUTE: u64 = 60_000;

/// The zone octet of a device that does not know its zone.
const ZONE_UNKNOWN: i8 = -128;

/// What 2AAA says, exactly as it came. Two that differ are two sessions, or one whose clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionStart {
    /// The date and time, raw.
    pub(super) at: DeviceTime,
    /// Quarters of an hour from UTC, or -128.
    pub(super) zone: i8,
    /// 0, 2, 4 or 8 quarters of an hour; anything else says nothing.
    pub(super) daylight: u8,
}

impl SessionStart {
    /// Quarters of an hour from UTC with daylight saving time, where both are said.
    pub(super) fn zone(self) -> Option<i8> {
        let daylight = match self.daylight {
            0 => 0,
            2 => 2,
            4 => 4,
            8 => 8,
            _ => return None,
        };
        let is_known = self.zone != ZONE_UNKNOWN && (-48..=56).contains(&self.zone);
        is_known.then(|| self.zone.checked_add(daylight))?
    }

    /// It as a number: stands in files, so it may never change.
    pub(super) fn hash(self) -> u32 {
        let DeviceTime { year, month, day, hour, minute, second, .. } = self.at;
        let mut hash = Hash::default();
        hash.octets(&year.to_le_bytes());
        hash.octets(&[month, day, hour, minute, second, self.zone.cast_unsigned(), self.daylight]);
        let [a, b, c, d, ..] = hash.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The start on the calendar. Year 0 is "unknown", and so are month 0 and day 0: nothing can be counted from
    /// them. (Years before 1582 no Date Time can say.)
    pub(super) fn on_calendar(self) -> Option<PrimitiveDateTime> {
        let DeviceTime { year, month, day, hour, minute, second, .. } = self.at;
        if !(1582..=9999).contains(&year) {
            return None;
        }
        let date = Date::from_calendar_date(i32::from(year), Month::try_from(month).ok()?, day).ok()?;
        Some(PrimitiveDateTime::new(date, Time::from_hms(hour, minute, second).ok()?))
    }

    /// The start as a stamp; `None` when the device says that it does not know it.
    pub(super) fn stamp(self) -> Option<DeviceTime> {
        (self.at.year != 0).then(|| DeviceTime { zone: self.zone(), ..self.at })
    }
}

/// When the minute `offset` of a session was: on the calendar where the start is known, else on the device's own
/// counter, which begins with the session.
pub(super) fn time_of(start: Option<SessionStart>, offset: u16) -> DeviceTime {
    let counted = DeviceTime { ticks: Some(u64::from(offset) * MINUTE), ..DeviceTime::default() };
    start.and_then(|start| on_calendar(start, offset)).unwrap_or(counted)
}

fn on_calendar(start: SessionStart, offset: u16) -> Option<DeviceTime> {
    let at = start.on_calendar()?.checked_add(Duration::minutes(i64::from(offset)))?;
    let (hour, minute, second) = at.as_hms();
    Some(DeviceTime {
        year: u16::try_from(at.year()).ok()?,
        month: at.month().into(),
        day: at.day(),
        hour,
        minute,
        second,
        zone: start.zone(),
        ..DeviceTime::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start(year: u16, [month, day, hour, minute, second]: [u8; 5]) -> SessionStart {
        let at = DeviceTime { year, month, day, hour, minute, second, ..DeviceTime::default() };
        SessionStart { at, zone: 4, daylight: 4 }
    }

    #[test]
    fn minutes_go_over_the_ends_of_months_and_years() {
        for (year, rest, offset, shown) in [
            (2018, [4, 24, 13, 8, 24], 0, "2018-04-24T13:08:24"),
            (2018, [4, 24, 13, 8, 24], 1, "2018-04-24T13:09:24"),
            (2023, [2, 28, 23, 59, 59], 1, "2023-03-01T00:00:59"),
            (2024, [2, 28, 23, 59, 59], 1, "2024-02-29T00:00:59"),
            (2024, [2, 29, 23, 59, 0], 1, "2024-03-01T00:00:00"),
            (1900, [2, 28, 23, 0, 0], 60, "1900-03-01T00:00:00"),
            (2000, [2, 28, 23, 0, 0], 60, "2000-02-29T00:00:00"),
            (2025, [12, 31, 23, 55, 0], 5, "2026-01-01T00:00:00"),
            (2024, [1, 17, 0, 0, 0], 65_535, "2024-03-02T12:15:00"),
        ] {
            let time = time_of(Some(start(year, rest)), offset);
            assert_eq!((time.to_string().as_str(), time.zone, time.ticks), (shown, Some(8), None));
        }
    }

    #[test]
    fn from_what_is_no_date_only_the_counter_is_left() {
        let nowhere = [
            (0, [4, 24, 1, 1, 1]),
            (2018, [13, 1, 1, 1, 1]),
            (2018, [0, 1, 1, 1, 1]),
            (2018, [1, 0, 1, 1, 1]),
        ];
        let no_day =
            [(2023, [2, 29, 1, 1, 1]), (2018, [1, 1, 24, 0, 0]), (2018, [1, 1, 0, 60, 0]), (1581, [1; 5])];
        let no_end = [(9999, [12, 31, 23, 59, 0])];
        for (year, rest) in nowhere.into_iter().chain(no_day).chain(no_end) {
            let time = time_of(Some(start(year, rest)), 7);
            let counted = DeviceTime { ticks: Some(420_000), ..DeviceTime::default() };
            assert_eq!(time, counted, "{year} {rest:?}");
        }
        assert_eq!(time_of(None, 65_535).ticks, Some(3_932_100_000));
    }

    #[test]
    fn the_zone_is_told_with_daylight_saving_time_or_not_at_all() {
        for (zone, daylight, told) in [
            (8, 0, Some(8)),
            (8, 4, Some(12)),
            (-14, 2, Some(-12)),
            (56, 8, Some(64)),
            (-48, 0, Some(-48)),
            (-128, 0, None),
            (8, 255, None),
            (8, 3, None),
            (57, 0, None),
            (-49, 0, None),
        ] {
            let said = SessionStart { zone, daylight, ..start(2018, [1; 5]) };
            assert_eq!(said.zone(), told, "{zone} {daylight}");
        }
    }

    /// Days since 0000-03-01, counted by the rule of the calendar: another way than the one under test.
    fn days(year: i64, month: i64, day: i64) -> i64 {
        let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let whole: i64 = (1582..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
        let months: i64 = lengths.iter().take(usize::try_from(month - 1).unwrap()).sum();
        whole + months + i64::from(month > 2 && is_leap(year)) + day
    }

    proptest! {
        #[test]
        fn a_minute_is_as_far_from_the_start_as_it_says(
            year in 1582u16..9998, month in 1u8..=12, day in 1u8..=28,
            hour in 0u8..24, minute in 0u8..60, second in 0u8..60, offset in any::<u16>(),
        ) {
            let start = start(year, [month, day, hour, minute, second]);
            let seconds = |time: DeviceTime| {
                let day = days(time.year.into(), time.month.into(), time.day.into());
                ((day * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute)) * 60 + i64::from(time.second)
            };
            let time = time_of(Some(start), offset);
            prop_assert_eq!(seconds(time) - seconds(start.at), i64::from(offset) * 60);
        }
    }
}
