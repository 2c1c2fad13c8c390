//! The records of a pump's history (2B28): their numbers, their time, and those that come in two parts.
//!
//! In: a value without its checksum. Out: observations with the record's number, and faults beside them.
//! Insulin Delivery Service 1.0.2: event type, sequence number, relative offset, up to ten octets of data.
//!
//! - *Numbers* go up by one for the life of the pump. A jump is told: what was between is lost or deleted.
//! - *Time.* An event states seconds since the last reference time; its time is that plus these. While the
//!   clock is lost, before the first reference time, and after a jump, which may have swallowed one, there is
//!   no time, and the seconds are told as they came. A lost clock is found again when somebody sets it: a
//!   reference time that the pump writes periodically only goes on from its default. A reference time
//!   that is no date of a calendar gives none either.
//! - *Two parts.* The first part of an event waits for the record after it. If that is the second part, both
//!   are told together under the first one's number; if not, or the transfer ends, the first part is told
//!   alone. When it comes again with its second part, after a connection that broke in between, it says the
//!   same under the same number. A second part does not repeat the number of its bolus: that it comes next is
//!   all that joins them. What was programmed and what was delivered of a bolus both carry its number.
//! - *Where to begin.* Only behind a reference time do records have their time. A transfer that is to say of
//!   them the same as the one before has to begin at the record of one ([`codes::CLOCK`]).
//! - A record that cannot be read is refused with its number in the fault.

use super::codes;
use super::events::{self, BASE_OFFSET, REFERENCE_TIME};
use super::hamming::{is_allowed, prohibited};
use super::protection::ended;
use super::status::MAKERS;
use super::{number, state};
use crate::device::ble::octets::Octets;
use crate::device::nomenclature as mdc;
use crate::device::observation::{DeviceTime, Observation, Quality};
use crate::device::{Fault, FaultKind};

/// The octets before the data of an event.
const HEADER: usize = 8;
/// The most octets of data.
const DATA_MAX: usize = 10;

/// What is known of the pump's clock while its records come.
#[derive(Clone, Copy, Debug, Default)]
enum Clock {
    /// No reference time has come.
    #[default]
    Unknown,
    /// The pump lost its time and nobody has set it since.
    Lost,
    /// The last reference time.
    Known(DeviceTime),
}

/// The history as it comes.
#[derive(Debug, Default)]
pub(super) struct History {
    last: Option<u32>,
    clock: Clock,
    first_part: Option<FirstPart>,
}

#[derive(Debug)]
struct FirstPart {
    sequence: u32,
    second: u16,
    observations: Vec<Observation>,
}

/// One record.
struct Record<'a> {
    kind: u16,
    sequence: u32,
    offset: u16,
    data: &'a [u8],
}

impl<'a> Record<'a> {
    fn read(value: &'a [u8]) -> Result<Self, Fault> {
        let mut octets = Octets::new("IDD history data", value)?;
        let kind = octets.u16("event type")?;
        let (low, high) = (octets.u16("sequence number")?, octets.u16("sequence number")?);
        let sequence = u32::from(high) << 16 | u32::from(low);
        let offset = octets.u16("relative offset")?;
        let data = value.get(HEADER..).unwrap_or_default();
        if data.len() > DATA_MAX {
            let detail = format!("history record {sequence} has {} octets of data", data.len());
            return Err(Fault::new(FaultKind::Malformed, detail));
        }
        Ok(Self { kind, sequence, offset, data })
    }
}

impl History {
    /// Takes one record. What is told beside it goes to `faults`.
    pub(super) fn take(&mut self, value: &[u8], faults: &mut Vec<Fault>) -> Result<Vec<Observation>, Fault> {
        let record = Record::read(value)?;
        self.follow(record.sequence, faults);
        self.observations(&record).map_err(|fault| {
            let sequence = record.sequence;
            Fault::new(fault.kind, format!("history record {sequence}: {}", fault.detail))
        })
    }

    /// What still waits for its second part.
    pub(super) fn end(&mut self) -> Vec<Observation> {
        self.first_part.take().map(|part| part.observations).unwrap_or_default()
    }

    /// The reference time holds for the records that follow it without a gap.
    fn follow(&mut self, sequence: u32, faults: &mut Vec<Fault>) {
        let before = self.last.replace(sequence);
        let Some(before) = before.filter(|before| *before != sequence) else { return };
        if before.checked_add(1) == Some(sequence) {
            return;
        }
        if sequence < before || matches!(self.clock, Clock::Known(_)) {
            self.clock = Clock::Unknown;
        }
        if sequence > before {
            let detail = format!("history record {sequence} follows {before}: those between did not come");
            faults.push(Fault::new(FaultKind::Unexpected, detail));
        }
    }

    fn observations(&mut self, record: &Record<'_>) -> Result<Vec<Observation>, Fault> {
        let Record { kind, sequence, offset, data } = *record;
        if !is_allowed(kind) && !MAKERS.contains(&kind) {
            return Err(prohibited("event type", kind));
        }
        let observations = if matches!(kind, REFERENCE_TIME | BASE_OFFSET) {
            self.reference_time(record)?
        } else {
            let mut read = events::read(kind, data)?;
            self.stamp(&mut read, offset);
            read
        };
        Ok(self.join(kind, sequence, observations))
    }

    /// Joins a second part to its first; keeps a first part.
    fn join(&mut self, kind: u16, sequence: u32, observations: Vec<Observation>) -> Vec<Observation> {
        let (mut out, number) = match self.first_part.take() {
            None => (Vec::new(), sequence),
            // The same record again.
            Some(part) if part.sequence == sequence => (Vec::new(), sequence),
            Some(part) if part.second == kind && part.sequence.checked_add(1) == Some(sequence) => {
                (part.observations, part.sequence)
            }
            Some(part) => (part.observations, sequence),
        };
        let observations = stored(observations, number);
        if let Some(second) = events::second_part(kind) {
            self.first_part = Some(FirstPart { sequence, second, observations });
        } else {
            out.extend(observations);
        }
        out
    }

    /// A reference time: Date Time with zone and daylight saving time, or with an offset in minutes.
    fn reference_time(&mut self, record: &Record<'_>) -> Result<Vec<Observation>, Fault> {
        const SET: u8 = 0x33;
        const LOST: u8 = 0x55;
        let was_lost = matches!(self.clock, Clock::Lost);
        if !was_lost {
            // Unless this one can be read, what follows has no time.
            self.clock = Clock::Unknown;
        }
        let what = events::name(record.kind);
        let mut octets = Octets::new(what, record.data)?;
        let (reason, word) = events::reason(&mut octets)?;
        let mut time = octets.date_time("date and time")?;
        if record.kind == BASE_OFFSET {
            time.offset = Some(octets.u16("offset")?.cast_signed());
        } else {
            let (zone, daylight) = (octets.u8("time zone")?.cast_signed(), octets.u8("DST offset")?);
            time.zone = quarters(zone, daylight);
        }
        ended(what, &octets)?;
        let is_lost = reason == LOST || was_lost && reason != SET;
        self.clock = if is_lost { Clock::Lost } else { Clock::Known(time) };
        let is_unset = is_lost || after(time, 0).is_none();
        let quality = if is_unset { Quality::CLOCK_NOT_SET } else { Quality::GOOD };
        let mut out = vec![state(&codes::CLOCK, word), seconds(record.offset)];
        for said in &mut out {
            said.device_time = Some(time);
            said.quality = quality;
        }
        Ok(out)
    }

    /// Gives an event its time, or its seconds.
    fn stamp(&self, observations: &mut Vec<Observation>, offset: u16) {
        let (time, quality) = match self.clock {
            Clock::Unknown => (None, Quality::GOOD),
            Clock::Lost => (None, Quality::CLOCK_NOT_SET),
            Clock::Known(reference) => match after(reference, offset) {
                Some(time) => (Some(time), Quality::GOOD),
                None => (None, Quality::CLOCK_NOT_SET),
            },
        };
        if time.is_none() {
            observations.push(seconds(offset));
        }
        for said in observations {
            said.device_time = time;
            said.quality = said.quality.with(quality);
        }
    }
}

/// Whether an observation is of a reference time that says by itself when what follows was. One that goes on while
/// the clock is lost does not: what it means depends on the records before it.
pub(super) fn is_anchor(said: &Observation) -> bool {
    said.metric.code == codes::CLOCK.code && !said.quality.has(Quality::CLOCK_NOT_SET)
}

fn stored(mut observations: Vec<Observation>, sequence: u32) -> Vec<Observation> {
    for said in &mut observations {
        said.record = Some(sequence);
        said.quality = said.quality.with(Quality::STORED);
    }
    observations
}

fn seconds(offset: u16) -> Observation {
    Observation { unit: &mdc::SECOND, ..number(&codes::EVENT_OFFSET, offset) }
}

/// Zone and daylight saving time are both quarters of an hour; -128 and 255 are unknown.
fn quarters(zone: i8, daylight: u8) -> Option<i8> {
    if zone == i8::MIN || !matches!(daylight, 0 | 2 | 4 | 8) {
        return None;
    }
    zone.checked_add_unsigned(daylight)
}

/// A time, so many seconds later. `None` when it is none that a calendar has.
fn after(time: DeviceTime, seconds: u16) -> Option<DeviceTime> {
    let DeviceTime { year, month, day, hour, minute, second, .. } = time;
    let in_calendar = (1582..=9999).contains(&year) && (1..=days_of(year, month)).contains(&day);
    if !in_calendar || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let total = u32::from(hour) * 3_600 + u32::from(minute) * 60 + u32::from(second) + u32::from(seconds);
    let part = |value: u32| u8::try_from(value).ok();
    let (hour, minute, second) = (part(total / 3_600 % 24)?, part(total / 60 % 60)?, part(total % 60)?);
    // At most eighteen hours are added: a day or none.
    let (year, month, day) = match (total / 86_400, day < days_of(year, month)) {
        (0, _) => (year, month, day),
        (_, true) => (year, month, day.checked_add(1)?),
        (_, false) if month == 12 => (year.checked_add(1)?, 1, 1),
        (_, false) => (year, month.checked_add(1)?, 1),
    };
    Some(DeviceTime { year, month, day, hour, minute, second, ..time })
}

/// The days of a month of the Gregorian calendar; 0 when there is no such month.
const fn days_of(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(400) || year.is_multiple_of(4) && !year.is_multiple_of(100) => 29,
        2 => 28,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn time(of: (u16, u8, u8), hour: u8, minute: u8, second: u8) -> DeviceTime {
        let (year, month, day) = of;
        DeviceTime { year, month, day, hour, minute, second, ..DeviceTime::default() }
    }

    #[test]
    fn seconds_go_over_the_ends_of_days_months_and_years() {
        for (from, seconds, to) in [
            (time((2026, 1, 2), 3, 4, 5), 0, "2026-01-02T03:04:05"),
            (time((2026, 1, 2), 3, 4, 5), 3_600, "2026-01-02T04:04:05"),
            (time((2026, 12, 31), 23, 59, 59), 1, "2027-01-01T00:00:00"),
            (time((2024, 2, 28), 12, 0, 0), 43_200, "2024-02-29T00:00:00"),
            (time((2023, 2, 28), 12, 0, 0), 65_535, "2023-03-01T06:12:15"),
            (time((2100, 2, 28), 23, 0, 0), 3_600, "2100-03-01T00:00:00"),
        ] {
            assert_eq!(after(from, seconds).unwrap().to_string(), to);
        }
        for none in [time((0, 1, 1), 0, 0, 0), time((2026, 13, 1), 0, 0, 0), time((2026, 2, 29), 0, 0, 0)] {
            assert_eq!(after(none, 0), None);
        }
        assert_eq!(after(time((2026, 1, 1), 24, 0, 0), 0), None);
    }

    #[test]
    fn zones_are_quarters_and_unknown_ones_are_none() {
        assert_eq!(quarters(4, 4), Some(8));
        assert_eq!(quarters(-1, 2), Some(1));
        assert_eq!(quarters(-128, 4), None);
        assert_eq!(quarters(4, 255), None);
        assert_eq!(quarters(4, 3), None);
    }

    proptest! {
        #[test]
        fn seconds_add_up_as_in_the_calendar(year in 1600i32..2400, day in 1u16..=365, second in 0u32..86_400, seconds: u16) {
            let date = ::time::Date::from_ordinal_date(year, day).unwrap();
            let start = date.midnight() + ::time::Duration::seconds(second.into());
            let as_device = |at: ::time::PrimitiveDateTime| {
                let date = (u16::try_from(at.year()).unwrap(), at.month().into(), at.day());
                time(date, at.hour(), at.minute(), at.second())
            };
            let end = start + ::time::Duration::seconds(seconds.into());
            prop_assert_eq!(after(as_device(start), seconds), Some(as_device(end)));
        }
    }
}
