//! Instants and stamps as plain values.
//!
//! Nothing here samples a clock. `host::clock` is the one place that does; everything else takes
//! [`Now`] as an argument, so that a test can say what time it is.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Time since boot, suspended time included (`CLOCK_BOOTTIME`). The only time that timers,
/// retention and order are decided by: it cannot be set, so it cannot jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// From nanoseconds since boot.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let nanos = u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Wall time: milliseconds since 1970-01-01T00:00:00Z. Data, never compared with [`Mono`], and
/// nothing is ordered, expired or deleted by it alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

impl Wall {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads `2026-11-21T23:40:00.250Z`, or less of it down to `2026-11-21`; always UTC.
    pub fn read(text: &str) -> Option<Self> {
        let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
        let mut parts = date.splitn(3, '-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let month = Month::try_from(number(month, 2)?).ok()?;
        let year = i32::from(u16::try_from(digits(year, 4)?).ok()?);
        let date = Date::from_calendar_date(year, month, number(day, 2)?).ok()?;
        let (clock, millis) = clock.strip_suffix('Z').unwrap_or(clock).split_once('.').unwrap_or((clock, ""));
        let clock = clock.strip_suffix('Z').unwrap_or(clock);
        let millis = if millis.is_empty() { 0 } else { u16::try_from(digits(millis, 3)?).ok()? };
        let time = if clock.is_empty() {
            Time::MIDNIGHT
        } else {
            let mut parts = clock.splitn(3, ':');
            let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
            let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
            Time::from_hms_milli(hour, minute, second, millis).ok()?
        };
        let nanos = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp_nanos();
        i64::try_from(nanos / 1_000_000).ok().map(Self::from_millis)
    }
}

/// RFC 3339 in UTC with milliseconds, as FHIR `dateTime` wants it. A value that has no year of four
/// digits is shown as the epoch: no clock of ours can produce one.
impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, clock, millis) = (time.date(), time.time(), time.millisecond());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{millis:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            clock.hour(),
            clock.minute(),
            clock.second(),
        )
    }
}

fn number(text: &str, length: usize) -> Option<u8> {
    u8::try_from(digits(text, length)?).ok()
}

/// A number of exactly so many digits.
fn digits(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Year, month, day and hour, minute, second, millisecond in milliseconds since 1970, as if they were UTC.
/// `None`: there is no such moment.
pub fn civil_millis(date: (u16, u8, u8), clock: (u8, u8, u8, u16)) -> Option<i64> {
    let ((year, month, day), (hour, minute, second, millis)) = (date, clock);
    let date = Date::from_calendar_date(i32::from(year), Month::try_from(month).ok()?, day).ok()?;
    let moment = date.with_hms_milli(hour, minute, second, millis).ok()?.assume_utc();
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

/// What a calendar shows: year, month and day; hour, minute, second, millisecond; the day of the week, 1 for Monday.
pub type Civil = ((u16, u8, u8), (u8, u8, u8, u16), u8);

/// The other way round: what so many milliseconds since 1970 are on the calendar, as if they were UTC. `None`: no
/// year of four digits.
pub fn civil(millis: i64) -> Option<Civil> {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000).ok()?;
    let (date, clock) = (moment.date(), moment.time());
    let date_of = (u16::try_from(date.year()).ok()?, u8::from(date.month()), date.day());
    let clock = (clock.hour(), clock.minute(), clock.second(), clock.millisecond());
    Some((date_of, clock, date.weekday().number_from_monday()))
}

/// Whether the kernel says that the wall clock follows a reference (`adjtimex`, `STA_UNSYNC`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClockSync {
    /// The clock follows a reference, with a stated maximum error.
    Synced,
    /// It does not, or nobody can say.
    #[default]
    Unsynced,
}

/// Everything the gateway's clock says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since boot.
    pub mono: Mono,
    /// Wall time.
    pub wall: Wall,
    /// Whether the wall time can be trusted.
    pub sync: ClockSync,
    /// The kernel's maximum error of the wall time, in microseconds.
    pub max_error_us: u32,
}

/// The kernel's random id of this boot: stamps of one boot can be placed by offset afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

/// Says what time it is. Two implementors: the system's clock and the tests'.
pub trait Clock: Send + Sync {
    /// The time at this moment.
    fn now(&self) -> Now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_is_shown_as_fhir_wants_it() {
        assert_eq!(Wall::from_millis(1_795_304_400_250).to_string(), "2026-11-21T23:40:00.250Z");
        assert_eq!(Wall::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_calendar_has_its_days_of_the_week() {
        // `date -u -d @1795304400`: Saturday.
        assert_eq!(civil(1_795_304_400_250), Some(((2026, 11, 21), (23, 40, 0, 250), 6)));
        assert_eq!(civil(-1), Some(((1969, 12, 31), (23, 59, 59, 999), 3)));
        assert_eq!(civil(i64::MAX), None);
    }

    #[test]
    fn time_since_the_future_is_zero() {
        let early = Mono::from_nanos(5);
        assert_eq!(early.since(early + Duration::from_secs(1)), Duration::ZERO);
        assert_eq!((early + Duration::from_secs(1)).since(early), Duration::from_secs(1));
    }
}
