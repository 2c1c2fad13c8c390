//! The lines of the oximeter's ASCII output.
//!
//! In: the bytes of a line, its end left out. Out: what it says, or in which way it is no line.
//!
//! Forms (mdpnp `nellcor-n595.spec`; operator's manuals of N-395, p. 100, and NPB-290, pp. 74 and 77):
//! `N-395 VERSION 2.0.0.0 CRC: XXXX SpO2 Limit: 70-100% PR Limit: 60-160BPM`; with `TREND` in the place of
//! the CRC before a printout of the memory, with `INFO` before an instrument's data; of N-595 besides
//! `ADULT 0SAT-S SPO2 RESP MODE: NORMAL`; `TIME %SPO2 BPM PA Status`;
//! `12-NOV-98 14:00:05 100 120 50 PH`.

use crate::device::decimal::Decimal;
use crate::device::framing::Delimiters;
use crate::device::observation::{Absent, DeviceTime, Value};

/// The longest line; the longest known has 81 characters.
const LONGEST: usize = 160;

/// The most status codes in a line: all of them.
const CODES_MAX: usize = 13;

/// How lines are told apart.
pub(super) const DELIMITERS: Delimiters = Delimiters {
    start: None,
    ends: b"\r\n",
    abort: None,
    longest: LONGEST,
    is_whole: |span| Line::read(span).is_ok(),
};

/// What a line is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// The first line of a heading.
    Heading(Heading),
    /// The further line of a heading that N-595 has.
    Mode(Mode),
    /// A reading.
    Data(Data),
    /// The names of the columns, a blank line, the end of a printout: nothing to tell.
    Nothing,
    /// The end of a printout of the memory.
    EndOfTrend,
    /// The oximeter waits for somebody at a terminal.
    Interactive,
}

/// A heading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heading {
    /// For instance `N-395`.
    pub(super) model: String,
    /// For instance `2.0.0.0`.
    pub(super) version: String,
    /// Whether what follows comes out of the oximeter's memory.
    pub(super) is_trend: bool,
    /// SpO2 low and high, pulse rate low and high.
    pub(super) limits: Option<[Decimal; 4]>,
}

/// How an N-595 is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mode {
    /// `ADULT` or `NEO`.
    pub(super) limits: String,
    /// Percent seconds.
    pub(super) sat_seconds: Decimal,
    /// `NORMAL` or `FAST`.
    pub(super) response: String,
}

/// A reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Data {
    /// The oximeter's own time; `None` when its date is none.
    pub(super) time: Option<DeviceTime>,
    /// SpO2, pulse rate, pulse amplitude.
    pub(super) values: [Reading; 3],
    /// The status codes.
    pub(super) codes: Vec<&'static str>,
}

/// One of the three values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The number, or that there is none.
    pub(super) value: Value,
    /// Whether the oximeter marks it as beyond its limits.
    pub(super) is_beyond: bool,
}

/// Every status code.
pub(super) const CODES: [&str; 13] =
    ["AO", "AS", "LB", "LM", "LP", "MO", "PH", "PL", "PS", "SH", "SL", "SD", "SO"];

impl Line {
    /// Reads a line. The error says why it is none, without its values.
    pub(super) fn read(span: &[u8]) -> Result<Self, &'static str> {
        if span.len() > LONGEST {
            return Err("it is too long");
        }
        let text = std::str::from_utf8(span).ok().filter(|text| text.is_ascii());
        let text = text.ok_or("it holds bytes that are no text")?;
        if text.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Err("it holds control characters");
        }
        let words: Vec<&str> = text.split_ascii_whitespace().take(CODES_MAX + 6).collect();
        match words.as_slice() {
            [] => Ok(Self::Nothing),
            ["TIME", "%SPO2" | "%SpO2", "BPM", "PA"] | ["TIME", "%SPO2" | "%SpO2", "BPM", "PA", "Status"] => {
                Ok(Self::Nothing)
            }
            ["Output", "Complete"] => Ok(Self::EndOfTrend),
            ["Command?"] | [_, "Interactive", "Mode"] => Ok(Self::Interactive),
            [_, "VERSION", ..] => heading(&words).map(Self::Heading),
            [limits, sat, "SPO2", "RESP", "MODE:", response, ..] => mode(limits, sat, response),
            [date, time, spo2, pulse, amplitude, codes @ ..] => {
                data((date, time), [spo2, pulse, amplitude], codes).map(Self::Data)
            }
            [_, ..] => Err("it is no line of the ASCII output"),
        }
    }
}

/// `N-395 VERSION 2.0.0.0 CRC: XXXX SpO2 Limit: 70-100% PR Limit: 60-160BPM`. A blank may stand behind
/// each colon and each hyphen.
fn heading(words: &[&str]) -> Result<Heading, &'static str> {
    let (Some(model), Some(version)) = (words.first(), words.get(2)) else {
        return Err("its heading has no version");
    };
    let is_version = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = model.strip_prefix("N-").or_else(|| model.strip_prefix("NPB-")).unwrap_or_default();
    if !is_version || limit(number).is_none() || number.len() != 3 {
        return Err("its heading has no model or no version");
    }
    let rest = words.get(3..).unwrap_or_default();
    let is_trend = rest.first() == Some(&"TREND");
    let is_info = rest.first() == Some(&"INFO");
    let has_crc = rest.first().is_some_and(|word| word.starts_with("CRC:"));
    if !(is_trend || is_info || has_crc) {
        return Err("its heading has neither CRC nor TREND nor INFO");
    }
    let joined = rest.concat();
    let limits = match joined.split_once("SpO2Limit:") {
        Some((_, limits)) => Some(read_limits(limits).ok_or("the limits of its heading cannot be read")?),
        None if is_info => None,
        None => return Err("its heading has no limits"),
    };
    Ok(Heading { model: (*model).to_owned(), version: (*version).to_owned(), is_trend, limits })
}

/// `70-100%PRLimit:60-160BPM`
fn read_limits(limits: &str) -> Option<[Decimal; 4]> {
    let (spo2, pulse) = limits.split_once("%PRLimit:")?;
    let (spo2_low, spo2_high) = spo2.split_once('-')?;
    let (pulse_low, pulse_high) = pulse.split_once("BPM")?.0.split_once('-')?;
    Some([limit(spo2_low)?, limit(spo2_high)?, limit(pulse_low)?, limit(pulse_high)?])
}

fn limit(digits: &str) -> Option<Decimal> {
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// `ADULT 0SAT-S SPO2 RESP MODE: NORMAL`
fn mode(limits: &str, sat: &str, response: &str) -> Result<Line, &'static str> {
    let seconds = sat.strip_suffix("SAT-S").and_then(limit).ok_or("its SatSeconds cannot be read")?;
    let is_known = ["ADULT", "NEO"].contains(&limits) && ["NORMAL", "FAST"].contains(&response);
    let mode = Mode { limits: limits.to_owned(), sat_seconds: seconds, response: response.to_owned() };
    is_known.then_some(Line::Mode(mode)).ok_or("its modes are not known")
}

fn data((date, time): (&str, &str), values: [&str; 3], codes: &[&str]) -> Result<Data, &'static str> {
    let [spo2, pulse, amplitude] = values;
    let time = device_time(date, time)?;
    let values = [reading(spo2, 100)?, reading(pulse, 300)?, reading(amplitude, 999)?];
    let mut known = Vec::new();
    for code in codes {
        let code =
            CODES.iter().find(|known| *known == code).ok_or("it holds a status code that is not known")?;
        if known.contains(code) {
            return Err("a status code stands in it twice");
        }
        known.push(*code);
    }
    Ok(Data { time, values, codes: known })
}

/// `100`, `82*`, `---`.
fn reading(word: &str, most: u16) -> Result<Reading, &'static str> {
    let (digits, is_beyond) = word.strip_suffix('*').map_or((word, false), |digits| (digits, true));
    if digits == "---" {
        return Ok(Reading { value: Value::Absent(Absent::Unknown), is_beyond });
    }
    let is_number = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { digits.parse::<u16>().ok() } else { None };
    let number = number.filter(|number| *number <= most).ok_or("a value of it is none")?;
    Ok(Reading { value: Value::Decimal(Decimal::whole(number)), is_beyond })
}

/// `12-NOV-98 14:00:05`. A date that is of the right form and impossible is a clock that is not set.
fn device_time(date: &str, time: &str) -> Result<Option<DeviceTime>, &'static str> {
    const MONTHS: [&str; 12] =
        ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    const NO_DATE: &str = "it does not begin with a date and a time";
    let mut parts = date.split('-');
    let (Some(day), Some(month), Some(year), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NO_DATE);
    };
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month)).ok_or(NO_DATE)?;
    let month = u8::try_from(month + 1).map_err(|_| NO_DATE)?;
    let (day, year) = (two_digits(day).ok_or(NO_DATE)?, two_digits(year).ok_or(NO_DATE)?);
    let mut parts = time.split(':').map(two_digits);
    let (Some(Some(hour)), Some(Some(minute)), Some(Some(second)), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NO_DATE);
    };
    // The oximeters are of 1997 and later.
    let year = u16::from(year) + if year >= 90 { 1900 } else { 2000 };
    let is_a_time = (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    Ok(is_a_time.then_some(DeviceTime { year, month, day, hour, minute, second, ..DeviceTime::default() }))
}

fn two_digits(word: &str) -> Option<u8> {
    let is_number = word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| word.parse().ok()).flatten()
}
