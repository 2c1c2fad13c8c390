//! Elapsed Time: how a generic health sensor says when, and the clock of the Elapsed Time Service (0x183F).
//!
//! Nine octets (GATT Specification Supplement, "Elapsed Time"): flags (bit 0 tick counter, bit 1 UTC, bits
//! 2-3 resolution 1 s, 100 ms, 1 ms, 100 us, bit 4 zone and daylight saving time used, bit 5 current
//! timeline); the count, 48 bits, since 2000-01-01 unless it is a tick counter; the source that the clock
//! was set by; zone and daylight saving time in quarters of an hour. Current Elapsed Time 2BF2 is these nine,
//! the clock's status (bit 0 needs setting) and its capabilities: eleven octets after Philips' sensor
//! simulator; the Elapsed Time Service itself was not at hand.
//!
//! It is read on every connection once the subscriptions stand, and says what a stamp of that clock is ahead:
//!
//! | its clock | the stamp | what it is ahead |
//! | --- | --- | --- |
//! | a tick counter | a tick counter | as the clock was |
//! | a calendar | with the same zone, or both without | as the clock was |
//! | a calendar with a zone | with another zone | as the clock was, and what the zones differ by |
//! | a calendar with a zone, or without | without a zone, or with | not |
//! | either | of the other kind, or of an older timeline | not |
//! | not on its own current timeline | any | not |
//!
//! Choices:
//! - A clock in UTC keeps UTC in its calendar fields, with `zone` 0; its zone octet, where it is used, is
//!   what is to be added for the local time: `offset`, in minutes. A clock in local time has it as `zone`.
//! - A tick counter, and a count that lies behind the year 9999, is no calendar: `ticks`, in milliseconds.
//! - Tenths of a millisecond are cut off.
//! - A clock whose source octet says that it is not synchronised (7: two openly licensed tables of the source
//!   have it alike) is flagged `clock-not-set`, the one word for "do not go by its clock"; a tick counter is
//!   none. By what else it was set is left out.

use super::octets::Octets;
use crate::device::observation::{DeviceTime, Quality};
use crate::device::placing::ahead;
use crate::device::{Fault, FaultKind};
use crate::time::Now;

const TICKS: u8 = 1;
const UTC: u8 = 1 << 1;
const ZONE_USED: u8 = 1 << 4;
const CURRENT_TIMELINE: u8 = 1 << 5;

const NEEDS_SETTING: u8 = 1;

const NOT_SYNCHRONISED: u8 = 7;

/// The zone of a clock that does not know its own (GATT Specification Supplement, "Time Zone").
const ZONE_UNKNOWN: i8 = -128;

/// What a Current Elapsed Time says: the device's clock at the moment of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ElapsedClock {
    /// The clock.
    pub(super) time: DeviceTime,
    /// It asks to be set.
    pub(super) needs_setting: bool,
}

impl ElapsedClock {
    /// By how many milliseconds this clock was ahead of the gateway's, which read it `at` that moment, when it made
    /// a stamp. `None`: that cannot be said.
    pub(super) fn lead(&self, stamp: DeviceTime, at: Now) -> Option<i64> {
        const QUARTER: i64 = 900_000;
        if self.time.is_of_older_timeline || stamp.is_of_older_timeline {
            return None;
        }
        let clock = ahead(self.time, at)?;
        let further = match (self.time.zone, stamp.zone) {
            _ if self.time.ticks.is_some() != stamp.ticks.is_some() => return None,
            (None, None) => 0,
            (Some(zone), Some(of_stamp)) => (i64::from(of_stamp) - i64::from(zone)) * QUARTER,
            (None, Some(_)) | (Some(_), None) => return None,
        };
        clock.checked_add(further)
    }
}

/// Reads a Current Elapsed Time (2BF2).
pub(super) fn clock(value: &[u8]) -> Result<ElapsedClock, Fault> {
    let mut octets = Octets::new("current elapsed time", value)?;
    let elapsed = Elapsed::read(&mut octets)?;
    let status = octets.u8("clock status")?;
    octets.u8("clock capabilities")?;
    if !octets.is_empty() {
        let detail = format!("current elapsed time has {} octets after its capabilities", octets.left());
        return Err(Fault::new(FaultKind::Malformed, detail));
    }
    Ok(ElapsedClock { time: elapsed.device_time(), needs_setting: status & NEEDS_SETTING != 0 })
}

/// Reads an Elapsed Time within a value, and what it says against itself.
pub(super) fn elapsed_time(octets: &mut Octets<'_>) -> Result<(DeviceTime, Quality), Fault> {
    let elapsed = Elapsed::read(octets)?;
    let is_clock_unset = !elapsed.has(TICKS) && elapsed.source == NOT_SYNCHRONISED;
    let quality = if is_clock_unset { Quality::CLOCK_NOT_SET } else { Quality::GOOD };
    Ok((elapsed.device_time(), quality))
}

struct Elapsed {
    flags: u8,
    /// Milliseconds.
    count: u64,
    /// By what the clock was set.
    source: u8,
    zone: i8,
}

impl Elapsed {
    fn read(octets: &mut Octets<'_>) -> Result<Self, Fault> {
        let flags = octets.u8("time flags")?;
        let count = octets.u48("time")?;
        let source = octets.u8("time source")?;
        let zone = octets.u8("time zone")?.cast_signed();
        // 48 bits times 1,000 stay far below 64 bits.
        let count = match flags >> 2 & 0b11 {
            0 => count * 1_000,
            1 => count * 100,
            2 => count,
            _ => count / 10,
        };
        Ok(Self { flags, count, source, zone })
    }

    const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn device_time(&self) -> DeviceTime {
        let zone = (self.has(ZONE_USED) && self.zone != ZONE_UNKNOWN).then_some(self.zone);
        let calendar = if self.has(TICKS) { None } else { calendar(self.count) };
        let clock = calendar.unwrap_or(DeviceTime { ticks: Some(self.count), ..DeviceTime::default() });
        let (offset, zone) = match (calendar, self.has(UTC)) {
            (None, _) => (None, None),
            (Some(_), true) => (zone.map(|quarters| i16::from(quarters) * 15), Some(0)),
            (Some(_), false) => (None, zone),
        };
        DeviceTime { offset, zone, is_of_older_timeline: !self.has(CURRENT_TIMELINE), ..clock }
    }
}

/// The calendar of so many milliseconds since 2000-01-01; `None` behind the year 9999.
fn calendar(count: u64) -> Option<DeviceTime> {
    const DAY: u64 = 86_400_000;
    let (mut days, of_day) = (count / DAY, count % DAY);
    // 400 years have 146,097 days, and 2000 begins such a stretch.
    let mut year = 2000u64.checked_add(days / 146_097 * 400).filter(|year| *year <= 9999)?;
    days %= 146_097;
    while days >= length_of_year(year) {
        days -= length_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= length_of_month(year, month) {
        days -= length_of_month(year, month);
        month += 1;
    }
    let part = |unit: u64, range: u64| u8::try_from(of_day / unit % range).unwrap_or(0);
    Some(DeviceTime {
        year: u16::try_from(year).ok().filter(|year| *year <= 9999)?,
        month,
        day: u8::try_from(days + 1).ok()?,
        hour: part(3_600_000, 24),
        minute: part(60_000, 60),
        second: part(1_000, 60),
        millis: u16::try_from(of_day % 1_000).ok()?,
        ..DeviceTime::default()
    })
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

const fn length_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn length_of_month(year: u64, month: u8) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;
    use proptest::prelude::*;

    fn value(flags: u8, count: u64, zone: i8, tail: &[u8]) -> Vec<u8> {
        let mut out = vec![flags];
        out.extend(&count.to_le_bytes()[..6]);
        out.extend([6, zone.cast_unsigned()]);
        out.extend(tail);
        out
    }

    fn read(flags: u8, count: u64, zone: i8) -> DeviceTime {
        elapsed_time(&mut Octets::reassembled("value", &value(flags, count, zone, &[]))).unwrap().0
    }

    #[test]
    fn the_published_time_is_in_utc_on_the_current_timeline() {
        // ST's example sensor: 690,724,210 s.
        let time =
            elapsed_time(&mut Octets::reassembled("value", &[0x22, 0x72, 0x9D, 0x2B, 0x29, 0, 0, 6, 0]))
                .unwrap()
                .0;
        // date -u -d @$((946684800 + 690724210))
        assert_eq!(time.to_string(), "2021-11-20T11:50:10");
        assert_eq!((time.zone, time.offset, time.ticks), (Some(0), None, None));
        assert!(!time.is_of_older_timeline);
    }

    #[test]
    fn every_resolution_reads_to_the_millisecond() {
        // 2024-02-29T12:34:56.789 UTC is 1,709,210,096.789 s after 1970.
        let millis = 1_709_210_096_789 - 946_684_800_000;
        for (flags, count, shown) in [
            (0x22, millis / 1_000, "2024-02-29T12:34:56"),
            (0x26, millis / 100, "2024-02-29T12:34:56.700"),
            (0x2A, millis, "2024-02-29T12:34:56.789"),
            (0x2E, millis * 10 + 9, "2024-02-29T12:34:56.789"),
        ] {
            assert_eq!(read(flags, count, 0).to_string(), shown);
        }
    }

    #[test]
    fn the_zone_belongs_to_a_local_clock_and_is_an_offset_of_one_in_utc() {
        let local = read(0x30, 0, -14);
        assert_eq!((local.zone, local.offset), (Some(-14), None));
        let utc = read(0x32, 0, 22);
        assert_eq!((utc.zone, utc.offset), (Some(0), Some(330)));
        let unused = read(0x20, 0, 22);
        assert_eq!((unused.zone, unused.offset), (None, None));
        assert_eq!(unused.to_string(), "2000-01-01T00:00:00");
        // A zone that is not known.
        let (local, utc) = (read(0x30, 0, -128), read(0x32, 0, -128));
        assert_eq!((local.offset, local.zone, utc.offset, utc.zone), (None, None, None, Some(0)));
    }

    #[test]
    fn a_counter_and_a_time_without_calendar_stay_ticks() {
        let counter = read(0x29, 123_456, 4);
        assert_eq!((counter.ticks, counter.year, counter.zone), (Some(123_456), 0, None));
        assert!(read(0x01, 5, 0).is_of_older_timeline);
        assert_eq!(read(0x01, 5, 0).ticks, Some(5_000));
        let last = 252_455_616_000 - 1;
        assert_eq!(read(0x22, last, 0).to_string(), "9999-12-31T23:59:59");
        assert_eq!(read(0x22, last + 1, 0).ticks, Some((last + 1) * 1_000));
        let most = (1 << 48) - 1;
        assert_eq!(read(0x22, most, 0).ticks, Some(most * 1_000));
    }

    #[test]
    fn a_clock_has_eleven_octets() {
        let whole = value(0x22, 690_724_210, 0, &[1, 3]);
        let read = clock(&whole).unwrap();
        assert_eq!(read.time.to_string(), "2021-11-20T11:50:10");
        assert!(read.needs_setting);
        assert!(!clock(&value(0x22, 0, 0, &[2, 0])).unwrap().needs_setting);
        assert_eq!(clock(&value(0x01, 7, 0, &[0, 0])).unwrap().time.ticks, Some(7_000));
        for length in 0..whole.len() {
            assert_eq!(clock(&whole[..length]).unwrap_err().kind, FaultKind::Malformed);
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(clock(&longer).unwrap_err().detail.contains("after its capabilities"));
    }

    #[test]
    fn a_stamp_is_ahead_by_what_its_clock_was() {
        // Read a minute after 2000 by the gateway.
        let at = Now { wall: Wall::from_millis(946_684_860_000), ..Now::default() };
        let ahead = |flags, zone, stamp_flags, stamp_zone| {
            // The clock shows five minutes of 2000.
            let clock = clock(&value(flags, 300, zone, &[0, 0])).unwrap();
            clock.lead(read(stamp_flags, 7, stamp_zone), at).map(|ahead| ahead / 1_000)
        };
        let rows = [
            ("UTC, its zone unused", 0x22, 0, 0x22, 0, Some(240)),
            ("UTC, its zone another by now", 0x32, 4, 0x32, 8, Some(240)),
            ("local without a zone", 0x20, 0, 0x20, 0, Some(240)),
            ("local in the same zone", 0x30, 4, 0x30, 4, Some(240)),
            ("local, summer time since", 0x30, 4, 0x30, 8, Some(240 + 3_600)),
            ("local by a clock in UTC", 0x32, 4, 0x30, -4, Some(240 - 3_600)),
            ("local by one without a zone", 0x20, 0, 0x30, 4, None),
            ("without a zone by one with", 0x30, 4, 0x20, 0, None),
            ("ticks", 0x21, 0, 0x21, 0, Some(300 - 946_684_860)),
            ("ticks by a calendar", 0x22, 0, 0x21, 0, None),
            ("ticks by a calendar without a zone", 0x20, 0, 0x21, 0, None),
            ("a calendar by ticks", 0x21, 0, 0x20, 0, None),
            ("an older timeline", 0x22, 0, 0x02, 0, None),
            ("a clock of an older timeline", 0x02, 0, 0x22, 0, None),
        ];
        for (name, flags, zone, stamp_flags, stamp_zone, expected) in rows {
            assert_eq!(ahead(flags, zone, stamp_flags, stamp_zone), expected, "{name}");
        }
    }

    proptest! {
        /// Backwards, by another way: counting days month by month from 2000.
        #[test]
        fn a_calendar_reads_back_as_its_count(count in 0u64..252_455_616_000_000) {
            let time = calendar(count).unwrap();
            let has_29 = |year: u64| {
                let is_leap = year.is_multiple_of(400) || !year.is_multiple_of(100) && year.is_multiple_of(4);
                u64::from(is_leap)
            };
            let year = u64::from(time.year);
            let lengths = [31, 28 + has_29(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            prop_assert!((1..=12).contains(&time.month) && time.day >= 1);
            let (before, month) = lengths.split_at(usize::from(time.month) - 1);
            prop_assert!(u64::from(time.day) <= month[0]);
            let years: u64 = (2000..year).map(|year| 365 + has_29(year)).sum();
            let days = years + before.iter().sum::<u64>() + u64::from(time.day) - 1;
            let hours = days * 24 + u64::from(time.hour);
            let seconds = (hours * 60 + u64::from(time.minute)) * 60 + u64::from(time.second);
            prop_assert_eq!(seconds * 1_000 + u64::from(time.millis), count);
        }
    }
}
