//! What stands in the replies of a MEDIBUS device.
//!
//! In: the data of one reply whose check was right. Out: codes with their values, alarms, texts, the
//! date, the identification. Layouts: MEDIBUS 6.00 as mdpnp (`Medibus.java`) and wokai/xenon read it:
//! measured data 2 + 4, settings 2 + 5, alarms 1 + 2 + 12, texts 2 + 1 + n + ETX. A reply whose length
//! does not fit its layout says nothing at all: half a list of alarms would end the other half.

use std::collections::BTreeMap;

use super::texts::{Topic, topic};
use crate::device::Identity;
use crate::device::decimal::Decimal;
use crate::device::observation::{Absent, DeviceTime, Value};
use crate::device::serial::{printable, text};

/// A reply that does not have the layout of its kind.
pub(super) const NO_LAYOUT: &str = "its length does not fit its layout";

/// One measured value or setting: its code, and its value if that can be read.
pub(super) type Reading = (u8, Option<Value>);

/// Reads codes with values of `width` characters.
pub(super) fn readings(data: &[u8], width: usize) -> Result<Vec<Reading>, &'static str> {
    let entries = data.chunks_exact(2 + width);
    if !entries.remainder().is_empty() {
        return Err(NO_LAYOUT);
    }
    entries
        .map(|entry| {
            let (code, value) = entry.split_at_checked(2).ok_or(NO_LAYOUT)?;
            Ok((hex(code).ok_or("a code is not two hex digits")?, value_of(value)))
        })
        .collect()
}

/// A number with blanks wherever there is no digit (`" 1.2"`, `"-  5"`); nothing but blanks, dashes or stars
/// is no value.
fn value_of(field: &[u8]) -> Option<Value> {
    let digits: String = field.iter().filter(|byte| **byte != b' ').copied().map(char::from).collect();
    if digits.chars().all(|digit| matches!(digit, '-' | '*')) {
        return Some(Value::Absent(Absent::Unknown));
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |rest| ("-", rest));
    let zero = if digits.starts_with('.') { "0" } else { "" };
    let digits = digits.strip_suffix('.').unwrap_or(digits);
    format!("{sign}{zero}{digits}").parse::<Decimal>().ok().map(Value::Decimal)
}

/// One alarm that is on: priority (1 to 31, the highest is 31), code, the device's phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) priority: Option<u8>,
    pub(super) code: u8,
    pub(super) phrase: String,
}

/// Reads the alarms that are on.
pub(super) fn alarms(data: &[u8]) -> Result<Vec<Entry>, &'static str> {
    let entries = data.chunks_exact(15);
    if !entries.remainder().is_empty() {
        return Err(NO_LAYOUT);
    }
    entries
        .map(|entry| {
            let ([priority], rest) = entry.split_first_chunk::<1>().ok_or(NO_LAYOUT)?;
            let (code, phrase) = rest.split_at_checked(2).ok_or(NO_LAYOUT)?;
            let phrase = printable(phrase).ok_or("a phrase holds control characters")?;
            Ok(Entry {
                priority: priority.checked_sub(b'0').filter(|priority| (1..=31).contains(priority)),
                code: hex(code).ok_or("a code is not two hex digits")?,
                phrase: phrase.trim().to_owned(),
            })
        })
        .collect()
}

/// What the text messages say, and the codes that nobody knows. Words about the patient and words of unknown codes
/// are dropped here.
pub(super) fn texts(mut data: &[u8]) -> Result<(BTreeMap<u8, String>, Vec<u8>), &'static str> {
    let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
    while let Some(([high, low, length], rest)) = data.split_first_chunk::<3>() {
        let code = hex(&[*high, *low]).ok_or("a code is not two hex digits")?;
        let length = length.checked_sub(b'0').ok_or(NO_LAYOUT)?;
        let (words, rest) = rest.split_at_checked(usize::from(length)).ok_or(NO_LAYOUT)?;
        data = rest.strip_prefix(b"\x03").ok_or(NO_LAYOUT)?;
        match topic(code) {
            Topic::Mode | Topic::State => {
                let words = printable(words).ok_or("a text holds control characters")?;
                known.insert(code, text(&words));
            }
            Topic::Patient => {}
            Topic::Unknown => unknown.push(code),
        }
    }
    if data.is_empty() { Ok((known, unknown)) } else { Err(NO_LAYOUT) }
}

const MONTHS: [(&str, u8); 15] = [
    ("JAN", 1),
    ("FEB", 2),
    ("MAR", 3),
    ("APR", 4),
    ("MAI", 5),
    ("MAY", 5),
    ("JUN", 6),
    ("JUL", 7),
    ("AUG", 8),
    ("SEP", 9),
    ("OKT", 10),
    ("OCT", 10),
    ("NOV", 11),
    ("DEZ", 12),
    ("DEC", 12),
];

/// Reads `hh:mm:ssdd-MMM-yy`, with German or English months, blanks anywhere, and without seconds where the
/// device leaves them out (Evita XL).
pub(super) fn clock(data: &[u8]) -> Option<DeviceTime> {
    let words = printable(data)?.to_uppercase();
    let (before, rest) = words.split_once('-')?;
    let (month, year) = rest.split_once('-')?;
    let month = MONTHS.iter().find(|(name, _)| *name == month.trim())?.1;
    let year: u16 = number(year)?;
    let (hour, rest) = before.split_once(':')?;
    // Two digits each; the day takes what is left.
    let (minute, second, day) = if let Some((minute, rest)) = rest.split_once(':') {
        let (second, day) = rest.split_at_checked(2)?;
        (minute, number(second)?, day)
    } else {
        let (minute, day) = rest.split_at_checked(2)?;
        (minute, 0, day)
    };
    let time = DeviceTime {
        year: if year < 100 { year + 2000 } else { year },
        month,
        day: number(day)?,
        hour: number(hour)?,
        minute: number(minute)?,
        second,
        ..DeviceTime::default()
    };
    let is_possible = (1..=31).contains(&time.day) && time.hour < 24 && time.minute < 60 && time.second < 60;
    is_possible.then_some(time)
}

fn number<T: std::str::FromStr>(words: &str) -> Option<T> {
    let digits = words.trim();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Reads `8056'Primus'04.53:04.03`: a number of the kind of device, its name, revisions of the device and of
/// its MEDIBUS. There is no serial number.
pub(super) fn identity(data: &[u8]) -> Option<Identity> {
    let words = printable(data)?;
    let (number, rest) = words.split_once('\'')?;
    let (name, revision) = rest.split_once('\'')?;
    let (number, name, revision) = (number.trim(), name.trim(), revision.trim());
    if number.is_empty() || name.is_empty() {
        return None;
    }
    Some(Identity {
        model: Some(text(&format!("{number} {name}"))),
        firmware: (!revision.is_empty()).then(|| text(revision)),
        ..Identity::default()
    })
}

/// Two hex digits; a leading zero may be a blank.
fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| {
        let digit = if *digit == b' ' { 0 } else { char::from(*digit).to_digit(16)? };
        Some((value << 4) | u8::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decimal(words: &str) -> Value {
        Value::Decimal(words.parse().unwrap())
    }

    #[test]
    fn values_keep_their_decimals_and_blanks_are_no_value() {
        for (field, value) in
            [(" 1.2", "1.2"), ("  12", "12"), ("-  5", "-5"), ("0.50", "0.50"), (" .50", "0.50")]
        {
            assert_eq!(value_of(field.as_bytes()), Some(decimal(value)), "{field}");
        }
        assert_eq!(value_of(b" 12."), Some(decimal("12")));
        for field in ["    ", "----", "****"] {
            assert_eq!(value_of(field.as_bytes()), Some(Value::Absent(Absent::Unknown)));
        }
        assert_eq!(value_of(b"1A.2"), None);
    }

    #[test]
    fn a_reply_that_does_not_fit_its_layout_says_nothing() {
        assert_eq!(readings(b"07 1.2B", 4), Err(NO_LAYOUT));
        assert_eq!(readings(b"GG 1.2", 4), Err("a code is not two hex digits"));
        assert_eq!(alarms(b"310PAW HIGH    3"), Err(NO_LAYOUT));
        assert_eq!(texts(b"0E5BIPAP"), Err(NO_LAYOUT));
        assert_eq!(texts(b"0E"), Err(NO_LAYOUT));
        assert_eq!((readings(b"", 4), alarms(b"")), (Ok(Vec::new()), Ok(Vec::new())));
    }

    #[test]
    fn alarms_have_the_devices_priority_and_phrase() {
        let entry = |priority, code, phrase: &str| Entry { priority, code, phrase: phrase.to_owned() };
        let read = alarms(b"O10PAW HIGH    19AGETRENNT    ").unwrap();
        assert_eq!(read, [entry(Some(31), 0x10, "PAW HIGH"), entry(Some(1), 0x9A, "GETRENNT")]);
        assert_eq!(alarms(b"010            ").unwrap(), [entry(None, 0x10, "")]);
    }

    #[test]
    fn no_word_about_the_patient_is_kept() {
        let (known, unknown) = texts(b"605ERIKA\x03617CANARY!\x030E5BIPAP\x03EE2XY\x03420\x03").unwrap();
        assert_eq!(known, BTreeMap::from([(0x0E, "BIPAP".to_owned())]));
        assert_eq!(unknown, [0xEE]);
    }

    /// The five forms of mdpnp's test, and the others that the page of facts has.
    #[test]
    fn every_form_of_the_date_is_read() {
        let at = |second| DeviceTime {
            year: 2014,
            month: 10,
            day: 7,
            hour: 9,
            minute: 33,
            second,
            ..DeviceTime::default()
        };
        for words in
            [" 9:33 7-OCT-14", " 9:33:00 7-OKT-14", " 9:33 07-OCT-14", "09:33 7-OKT-14", "09:33:00 07-OKT-14"]
        {
            assert_eq!(clock(words.as_bytes()), Some(at(0)), "{words}");
        }
        assert_eq!(clock(b"09:33:1507-OCT-14"), Some(at(15)));
        assert_eq!(clock(b"09:3307-OCT-14"), Some(at(0)));
        for words in
            ["09:33:15", "09:33:15 07-XXX-14", "29:33 07-OCT-14", "", "--", "9:33 0-OCT-14", "+9:33 1-OCT-14"]
        {
            assert_eq!(clock(words.as_bytes()), None, "{words}");
        }
    }

    #[test]
    fn the_identification_is_read() {
        let read = identity(b"8056'Primus'04.53:04.03").unwrap();
        assert_eq!(
            (read.model.as_deref(), read.firmware.as_deref()),
            (Some("8056 Primus"), Some("04.53:04.03"))
        );
        assert_eq!(read.serial, None);
        assert_eq!(identity(b"0161'ICE'04.03      ").unwrap().firmware.as_deref(), Some("04.03"));
        for nothing in ["", "8056", "8056'Primus", "8056''1", "'Primus'1", "80\x0056'Primus'"] {
            assert_eq!(identity(nothing.as_bytes()), None, "{nothing:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(data in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (readings(&data, 4), readings(&data, 5), alarms(&data), texts(&data), clock(&data), identity(&data));
        }
    }
}
