//! One line of ASCII 1: `02/22/16 22:47:45 SN=0000056661 SPO2=098% BPM=097 PI=03.60% ... EXC=000800`.
//!
//! In: the bytes of a line, its end left out. Out: what it says, or in which way it is not a line.

use crate::device::decimal::Decimal;
use crate::device::framing::Delimiters;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, DeviceTime, Value};

/// The longest line. With every key of the colour-display models it is under 220 bytes.
const LONGEST: usize = 320;

/// The most keys of a line; the longest known has 15.
const KEYS_MAX: usize = 32;

/// How lines are told apart.
pub(super) const DELIMITERS: Delimiters = Delimiters {
    start: None,
    ends: b"\r\n",
    abort: None,
    longest: LONGEST,
    is_whole: |span| Line::read(span).is_ok(),
};

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// The oximeter's own time; `None` when its month or day is none.
    pub(super) time: Option<DeviceTime>,
    /// The serial number; `None` when the oximeter shows dashes.
    pub(super) serial: Option<String>,
    /// The readings, in the order of the line.
    pub(super) readings: Vec<(&'static Metric, &'static Unit, Value)>,
    /// The alarm word.
    pub(super) alarms: u32,
    /// The exception word.
    pub(super) exceptions: u32,
    /// The second exception word, where the model has one.
    pub(super) exceptions1: Option<u32>,
    /// Keys that are not known.
    pub(super) unknown: Vec<String>,
    /// Keys whose values are not as wide as they should be.
    pub(super) unreadable: Vec<&'static str>,
}

/// A key that carries a reading.
struct Key {
    name: &'static str,
    metric: &'static Metric,
    unit: &'static Unit,
    /// How many digits stand before and after the point, for each way in which it is written.
    widths: &'static [(usize, usize)],
    /// Whether a line without it, or with another width, is no line at all.
    is_required: bool,
}

const fn key(
    name: &'static str,
    metric: &'static Metric,
    unit: &'static Unit,
    widths: &'static [(usize, usize)],
) -> Key {
    Key { name, metric, unit, widths, is_required: false }
}

static KEYS: [Key; 10] = [
    Key { is_required: true, ..key("SPO2", &mdc::SPO2, &mdc::PERCENT, &[(3, 0)]) },
    Key { is_required: true, ..key("BPM", &mdc::PULSE_OXIM_RATE, &mdc::PER_MINUTE, &[(3, 0)]) },
    key("PI", &mdc::PERFUSION, &mdc::PERCENT, &[(2, 2)]),
    key("SPCO", &mdc::MASIMO_SPCO, &mdc::PERCENT, &[(2, 1), (2, 0)]),
    key("SPMET", &mdc::MASIMO_SPMET, &mdc::PERCENT, &[(2, 1)]),
    key("SPHB", &mdc::MASIMO_SPHB, &mdc::DIMENSIONLESS, &[(2, 1)]),
    key("SPOC", &mdc::MASIMO_SPOC, &mdc::DIMENSIONLESS, &[(2, 0), (2, 1)]),
    key("DESAT", &mdc::MASIMO_DESAT, &mdc::DIMENSIONLESS, &[(2, 0)]),
    key("PIDELTA", &mdc::MASIMO_PIDELTA, &mdc::DIMENSIONLESS, &[(2, 0)]),
    key("PVI", &mdc::MASIMO_PVI, &mdc::PERCENT, &[(3, 0)]),
];

impl Line {
    /// Reads a line. The error says why it is none, without its values.
    pub(super) fn read(span: &[u8]) -> Result<Self, &'static str> {
        // The cheap test first: the framer asks at every byte of a noisy span.
        if !span.first().is_some_and(u8::is_ascii_digit) || span.len() > LONGEST {
            return Err("it does not begin with a date");
        }
        let text = std::str::from_utf8(span).map_err(|_| "it holds bytes that are no text")?;
        let mut words = text.split(' ').filter(|word| !word.is_empty());
        let date = numbers(words.next().unwrap_or_default(), '/').ok_or("it does not begin with a date")?;
        let clock = numbers(words.next().unwrap_or_default(), ':').ok_or("its second word is not a time")?;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for word in words {
            let (name, value) = word.split_once('=').ok_or("a word of it is not key=value")?;
            if pairs.iter().any(|(earlier, _)| *earlier == name) {
                return Err("a key stands in it twice");
            }
            if name.is_empty() || value.is_empty() || value.contains('=') || pairs.len() == KEYS_MAX {
                return Err("a word of it is not key=value");
            }
            pairs.push((name, value));
        }
        Self::from_pairs(device_time(date, clock), &pairs)
    }

    fn from_pairs(time: Option<DeviceTime>, pairs: &[(&str, &str)]) -> Result<Self, &'static str> {
        let value_of = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let mut line = Self {
            time,
            serial: serial(value_of("SN").ok_or("it has no serial number (SN)")?)?,
            readings: Vec::new(),
            alarms: hex(value_of("ALARM").ok_or("it has no ALARM")?, 4).ok_or("ALARM is not hex")?,
            exceptions: hex(value_of("EXC").ok_or("it has no EXC")?, 6).ok_or("EXC is not hex")?,
            exceptions1: None,
            unknown: Vec::new(),
            unreadable: Vec::new(),
        };
        for required in KEYS.iter().filter(|key| key.is_required) {
            value_of(required.name).ok_or("it has no SPO2 or no BPM")?;
        }
        for &(name, value) in pairs {
            line.take(name, value)?;
        }
        Ok(line)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        if let Some(key) = KEYS.iter().find(|key| key.name == name) {
            match reading(value, key) {
                Some(value) => self.readings.push((key.metric, key.unit, value)),
                None if key.is_required => return Err("SPO2 or BPM is not as wide as it should be"),
                None => self.unreadable.push(key.name),
            }
            return Ok(());
        }
        match name {
            // RESVD is a place that the colour-display models keep free.
            "SN" | "ALARM" | "EXC" | "RESVD" => {}
            "EXC1" => match hex(value, 6) {
                Some(bits) => self.exceptions1 = Some(bits),
                None => self.unreadable.push("EXC1"),
            },
            other => self.unknown.push(other.chars().take(16).collect()),
        }
        Ok(())
    }
}

/// A value of a key: dashes are no value; a percent sign may stand behind it.
fn reading(value: &str, key: &Key) -> Option<Value> {
    let digits = value.strip_suffix('%').unwrap_or(value);
    let (sign, digits) = match digits.split_at_checked(1) {
        Some((sign @ ("+" | "-"), rest)) if key.name == "PIDELTA" => (sign, rest),
        _ => ("", digits),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_written_so = key.widths.contains(&(whole.len(), fraction.len()));
    if !is_written_so || digits.ends_with('.') {
        return None;
    }
    if whole.bytes().chain(fraction.bytes()).all(|byte| byte == b'-') {
        return Some(Value::Absent(Absent::Unknown));
    }
    format!("{sign}{digits}").parse::<Decimal>().ok().map(Value::Decimal)
}

fn serial(value: &str) -> Result<Option<String>, &'static str> {
    // Ten characters; a shorter one was torn.
    if value.len() != 10 {
        return Err("its serial number is not ten characters long");
    }
    if value.bytes().all(|byte| byte == b'-') {
        return Ok(None);
    }
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(Some(value.to_owned()));
    }
    Err("its serial number is not ten letters or digits")
}

fn hex(value: &str, least: usize) -> Option<u32> {
    let fits = (least..=8).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u32::from_str_radix(value, 16).ok()).flatten()
}

/// Three numbers of two digits.
fn numbers(word: &str, separator: char) -> Option<[u8; 3]> {
    let mut parts = word.split(separator).map(|part| {
        let is_two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_two_digits.then(|| part.parse::<u8>().ok()).flatten()
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

fn device_time([month, day, year]: [u8; 3], [hour, minute, second]: [u8; 3]) -> Option<DeviceTime> {
    let is_a_time =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    is_a_time.then(|| DeviceTime {
        year: 2000 + u16::from(year),
        month,
        day,
        hour,
        minute,
        second,
        ..DeviceTime::default()
    })
}
