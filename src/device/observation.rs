//! The normal form: what every driver makes of what its device said.

use std::fmt;

use super::decimal::Decimal;
use super::nomenclature::{Metric, Unit};

/// One reading, alarm or state of one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What was observed.
    pub metric: &'static Metric,
    /// Which of several like parts of the device: pump slot, channel; 0 when there is one.
    pub channel: u8,
    /// What it came to.
    pub value: Value,
    /// The unit of a number, as the device gave it.
    pub unit: &'static Unit,
    /// How the value was got, where the device says (11073 supplemental type, for instance
    /// `MDC_MODALITY_SPOT`); 0 when it does not.
    pub modality: u32,
    /// Setting, measurement, state or alarm.
    pub kind: Kind,
    /// The device's own number of the record that it came out of: what one record says stands together by
    /// it, and what a device stored is in its own order by it.
    pub record: Option<u32>,
    /// The device's own time, raw.
    pub device_time: Option<DeviceTime>,
    /// Whether the value is final.
    pub status: Status,
    /// What the device says against the value.
    pub quality: Quality,
}

/// The value of an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number with its precision.
    Decimal(Decimal),
    /// No value, and why.
    Absent(Absent),
    /// A word of the device's own vocabulary: a mode, a syringe brand, a drug name. At most
    /// [`MAX_TEXT`] bytes.
    Text(String),
    /// Bits of the device's own vocabulary, as sent.
    Bits(u32),
    /// An alarm condition.
    Alarm(Alarm),
    /// A stretch of a waveform.
    Samples(Samples),
}

/// A stretch of a waveform: samples at equal distances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    /// From one sample to the next, in microseconds.
    pub period_us: u32,
    /// Each sample times 10 to this power is its value in the observation's unit.
    pub exponent: i8,
    /// At most [`MAX_SAMPLES`] of them; [`Samples::MISSING`] where the device had none.
    pub values: Vec<i16>,
}

impl Samples {
    /// Stands where the device had no sample.
    pub const MISSING: i16 = i16::MIN;
}

/// The most samples in one observation.
pub const MAX_SAMPLES: usize = 1024;

/// The longest text a device may put into one observation, in bytes; longer is cut by the driver.
pub const MAX_TEXT: usize = 256;

/// Why there is no value: the codes of FHIR `data-absent-reason` that the HL7 PHD guide assigns to
/// the special values of IEEE 11073 floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// NaN.
    NotANumber,
    /// +INFINITY.
    PositiveInfinity,
    /// -INFINITY.
    NegativeInfinity,
    /// `NRes`, reserved values, a value the device calls invalid.
    Error,
    /// The device has nothing to say at the moment (`---`, sensor off).
    Unknown,
}

impl Absent {
    /// The FHIR code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotANumber => "not-a-number",
            Self::PositiveInfinity => "positive-infinity",
            Self::NegativeInfinity => "negative-infinity",
            Self::Error => "error",
            Self::Unknown => "unknown",
        }
    }
}

/// An alarm condition of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The device's own code, for instance `AL_OCCLU`.
    pub code: String,
    /// In words, for a person.
    pub text: String,
    /// Begins or ends.
    pub phase: Phase,
    /// How urgent.
    pub priority: Priority,
    /// Whether somebody has silenced it at the device (11073 `MDC_ATTR_ALARM_INACTIVATION_STATE`).
    pub is_silenced: bool,
}

/// Whether an alarm condition begins, changes or ends (11073 `MDC_ATTR_EVENT_PHASE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The condition began.
    Start,
    /// It is still on, and its urgency or its silence has changed.
    Update,
    /// The condition ended.
    End,
}

impl Phase {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Update => "update",
            Self::End => "end",
        }
    }
}

/// The urgency of an alarm (IEC 60601-1-8; IHE PCD-04 `PH`, `PM`, `PL`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// The device does not say.
    Unstated,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
}

impl Priority {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unstated => "unstated",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// What sort of observation it is; decides the lane and the FHIR category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What the device measured.
    Measurement,
    /// What it is set to.
    Setting,
    /// The state it is in.
    State,
    /// An alarm.
    Alarm,
    /// A waveform.
    Wave,
}

impl Kind {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measurement => "measurement",
            Self::Setting => "setting",
            Self::State => "state",
            Self::Alarm => "alarm",
            Self::Wave => "wave",
        }
    }

    /// The lane that carries it.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Alarm => Lane::Alarm,
            Self::Wave => Lane::Bulk,
            Self::Measurement | Self::Setting | Self::State => Lane::Vital,
        }
    }
}

/// The three lanes of the spool, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Alarms: sent before everything, reserved disk, last to be dropped.
    Alarm,
    /// Trends, spot measurements, pump state.
    Vital,
    /// Waveforms.
    Bulk,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Alarm, Self::Vital, Self::Bulk];

    /// As shown to people and machines, and as the name of its folder.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Vital => "vital",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the device calls a value final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Final.
    Final,
    /// Still being worked on (early estimate, intermediate, measurement ongoing).
    Preliminary,
}

impl Status {
    /// The FHIR `Observation.status` code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "final",
            Self::Preliminary => "preliminary",
        }
    }
}

/// What the device, or a plausibility bound, says against a value: a set of flags.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Quality(u16);

impl Quality {
    /// Nothing against it.
    pub const GOOD: Self = Self(0);
    /// The device calls it questionable.
    pub const QUESTIONABLE: Self = Self(1);
    /// The device calls it invalid.
    pub const INVALID: Self = Self(1 << 1);
    /// Made by a demonstration: never a clinical value.
    pub const DEMONSTRATION: Self = Self(1 << 2);
    /// Made by a test: never a clinical value.
    pub const TEST: Self = Self(1 << 3);
    /// The device is calibrating.
    pub const CALIBRATING: Self = Self(1 << 4);
    /// Weak or irregular signal, motion, low perfusion, interference.
    pub const POOR_SIGNAL: Self = Self(1 << 5);
    /// Sensor off, disconnected, defective or unknown.
    pub const SENSOR: Self = Self(1 << 6);
    /// Came out of the device's storage, not live.
    pub const STORED: Self = Self(1 << 7);
    /// The device says that its clock was never set.
    pub const CLOCK_NOT_SET: Self = Self(1 << 8);
    /// Outside what is plausible for the element (flagged by policy, not dropped).
    pub const IMPLAUSIBLE: Self = Self(1 << 9);
    /// Read by a description out of the configuration of the site, not by a driver of this program: who
    /// wrote the description answers for what it says.
    pub const SITE_CONFIGURED: Self = Self(1 << 10);

    const NAMES: [(Self, &'static str); 11] = [
        (Self::QUESTIONABLE, "questionable"),
        (Self::INVALID, "invalid"),
        (Self::DEMONSTRATION, "demonstration"),
        (Self::TEST, "test"),
        (Self::CALIBRATING, "calibrating"),
        (Self::POOR_SIGNAL, "poor-signal"),
        (Self::SENSOR, "sensor"),
        (Self::STORED, "stored"),
        (Self::CLOCK_NOT_SET, "clock-not-set"),
        (Self::IMPLAUSIBLE, "implausible"),
        (Self::SITE_CONFIGURED, "site-configured"),
    ];

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }

    /// As stored.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// From what was stored.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// What a device says of when: its own clock's reading, local to the device, kept exactly as it came,
/// and beside it what is known of that clock. None of it ever replaces another part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTime {
    /// Year; 0 is unknown.
    pub year: u16,
    /// Month 1-12; 0 is unknown.
    pub month: u8,
    /// Day 1-31; 0 is unknown.
    pub day: u8,
    /// Hour.
    pub hour: u8,
    /// Minute.
    pub minute: u8,
    /// Second.
    pub second: u8,
    /// Thousandths of a second.
    pub millis: u16,
    /// Milliseconds on a counter of the device that is no calendar; the calendar fields are 0 then.
    pub ticks: Option<u64>,
    /// Minutes between the clock and what the device shows its user: to be added for the user-facing time.
    pub offset: Option<i16>,
    /// Quarters of an hour from UTC to the clock, daylight saving time included, where the device says.
    pub zone: Option<i8>,
    /// By how many milliseconds the device's clock (or counter, since 1970-01-01) was ahead of the gateway's
    /// when both were read on the same connection: without this the stamp cannot be placed.
    pub ahead: Option<i64>,
    /// The clock was set since: the stamp is of an older timeline, and `ahead` says nothing of it.
    pub is_of_older_timeline: bool,
}

impl DeviceTime {
    /// Whether anything is known of the clock beside its reading.
    pub const fn says_more(&self) -> bool {
        self.offset.is_some()
            || self.zone.is_some()
            || self.ahead.is_some()
            || self.ticks.is_some()
            || self.is_of_older_timeline
    }
}

impl fmt::Display for DeviceTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second, millis, .. } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if *millis == 0 { Ok(()) } else { write!(f, ".{millis:03}") }
    }
}
