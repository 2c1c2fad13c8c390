//! What the parameters of a pump and of the rack say, in the normal form.
//!
//! In: the parameters of one segment; `_NV` (no valid value) and `_NA` (not available) say nothing.
//! Out: observations in a fixed order, alarm flags, and a fault for each parameter that cannot be
//! read; one bad parameter does not cost the others. Values keep their digits.
//!
//! The mode flags `INM1` to `INM8` are an inference from captures (in every published block `INM3` is
//! 1 exactly when the rate is not 0): what is made of them is marked questionable unless the setting
//! `modes` says that somebody has compared them with the pumps. While the pump does not reckon in
//! doses (`INDOCAL` 0) it sends 0 as concentration and dose rate: no value, not a dose of nothing.
//!
//! Characters beyond ASCII stand in names as UTF-8, or spelled out byte by byte: `<EE><80><A1>`. The
//! published block with such a name has the length and the checksum of the spelling, though its source
//! speaks of bytes; both are read.
//!
//! Not passed on: the barcode that was scanned last (`FMBANY`: it can be a patient's), and what has no
//! known meaning (`FMSTAT`, `FMRSTAT`, `FMDONGLE`, `DSSTATUS`, `INDTNR`).

use super::codes;
use super::places;
use super::reply::Segment;
use super::units::unit_of;
use crate::device::FaultKind;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, Kind, Observation, Quality, Value};
use crate::device::serial::{Faults, observation, text};
use crate::device::settings::Settings;

/// What is known by name and not passed on, or read elsewhere.
const NAMES: [&str; 19] = [
    "FMSTAT", "FMRSTAT", "FMDONGLE", "FMBANY", "INDTNR", "DSSTATUS", "FMNOR", "FMRT", "GNNEW", "GNMODEL",
    "GNACK", "GNERR", "INSERNUM", "INNR", "INDOCAL", "INDCON", "INDCONU", "INDORT", "INDORTU",
];

/// A parameter that is a number in a known unit.
struct Number(&'static str, &'static Metric, &'static Unit, Kind);

static NUMBERS: [Number; 11] = [
    Number("INRT", &mdc::FLOW_FLUID_PUMP, &mdc::MILLILITRE_PER_HOUR, Kind::Setting),
    Number("INVI", &mdc::VOL_FLUID_DELIV, &mdc::MILLILITRE, Kind::Measurement),
    Number("INTIME", &codes::INFUSION_TIME, &mdc::MINUTE, Kind::Measurement),
    Number("INVOLACT", &codes::VOLUME_LEFT, &mdc::MILLILITRE, Kind::Measurement),
    Number("INSYR", &mdc::VOL_SYRINGE, &mdc::MILLILITRE, Kind::Setting),
    Number("INBORT", &codes::BOLUS_RATE, &mdc::MILLILITRE_PER_HOUR, Kind::Setting),
    Number("INBOVAL", &mdc::VOL_FLUID_BOLUS, &mdc::MILLILITRE, Kind::Measurement),
    Number("INBOCNT", &codes::BOLUS_COUNT, &mdc::DIMENSIONLESS, Kind::Measurement),
    Number("INP1", &codes::PRESSURE_LEVEL, &mdc::DIMENSIONLESS, Kind::Setting),
    Number("INP2", &codes::PRESSURE_PERCENT, &mdc::PERCENT, Kind::Measurement),
    Number("INSTBY", &mdc::TIME_PD_FLUID_STANDBY_REMAIN, &mdc::MINUTE, Kind::Measurement),
];

/// The parameters that are words.
static WORDS: [(&str, &Metric); 3] =
    [("INSOL", &mdc::DRUG_NAME), ("INSOLSN", &codes::DRUG_SHORT), ("INSOLID", &codes::DRUG_ID)];

/// How many mode flags a pump has.
const MODE_FLAGS: u8 = 12;

/// Stands in `INRMT` when there is no time left to tell.
const NO_TIME: &str = "65535";

/// What the settings say of what the public facts leave open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    modes: Modes,
    /// The flag that says that the pump keeps the vein open.
    kvo: Option<u32>,
    time_left: &'static Unit,
}

/// What is made of the mode flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Modes {
    /// A state, marked questionable.
    Inferred,
    /// A state: somebody has compared it with the pumps.
    Confirmed,
    /// Nothing: the bits are passed on alone.
    Raw,
}

impl Meaning {
    pub(super) fn of(settings: &Settings) -> Self {
        let modes = match settings.word("modes") {
            "confirmed" => Modes::Confirmed,
            "raw" => Modes::Raw,
            _ => Modes::Inferred,
        };
        let kvo = settings.word("kvo_flag").strip_prefix("INM").and_then(|number| number.parse().ok());
        let time_left = if settings.word("time_left_unit") == "min" { &mdc::MINUTE } else { &mdc::SECOND };
        Self { modes, kvo, time_left }
    }
}

/// What one segment of a pump says.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) observations: Vec<Observation>,
    /// Alarm flags by number, and whether each is on.
    pub(super) flags: Vec<(u8, bool)>,
}

impl Reading {
    pub(super) const fn is_empty(&self) -> bool {
        self.observations.is_empty() && self.flags.is_empty()
    }
}

/// Reads one segment of a pump.
pub(super) fn pump(segment: &Segment, meaning: Meaning, faults: &mut Faults) -> Reading {
    let mut observations = modes(segment, meaning, faults);
    for Number(name, metric, unit, kind) in &NUMBERS {
        observations
            .extend(number(segment, name, faults).map(|value| observation(metric, value, unit, *kind)));
    }
    for (name, metric) in WORDS {
        let word = segment.get(name).map(|word| Value::Text(text(&unescaped(word))));
        observations.extend(word.map(|word| observation(metric, word, &mdc::DIMENSIONLESS, Kind::State)));
    }
    observations.extend(time_left(segment, meaning, faults));
    observations.extend(doses(segment, faults));
    Reading { observations, flags: alarm_flags(segment, faults) }
}

/// Reads one segment of the rack itself.
pub(super) fn rack(segment: &Segment, faults: &mut Faults) -> Vec<Observation> {
    let pillars = number(segment, "FMNOR", faults)
        .map(|value| observation(&codes::PILLARS, value, &mdc::DIMENSIONLESS, Kind::State));
    let seconds = i64::try_from(segment.seconds).ok().map(|seconds| Value::Decimal(Decimal::whole(seconds)));
    let uptime = seconds.map(|value| observation(&codes::UPTIME, value, &mdc::SECOND, Kind::State));
    pillars.into_iter().chain(uptime).collect()
}

/// Whether the name of a parameter is known.
pub(super) fn is_known(name: &str) -> bool {
    let is_flag =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|number| flag_number(number).is_some());
    NAMES.contains(&name)
        || name == "INRMT"
        || NUMBERS.iter().any(|Number(known, ..)| *known == name)
        || WORDS.iter().any(|(known, _)| *known == name)
        || is_flag("INM")
        || is_flag("INA")
}

/// The state, the flags themselves, the power.
fn modes(segment: &Segment, meaning: Meaning, faults: &mut Faults) -> Vec<Observation> {
    let flags = flags(segment, "INM", faults);
    let flag =
        |number: u32| flags.iter().find(|(known, _)| u32::from(*known) == number).map(|(_, is_set)| *is_set);
    let mut said = Vec::new();
    if meaning.modes != Modes::Raw {
        let quality = if meaning.modes == Modes::Confirmed { Quality::GOOD } else { Quality::QUESTIONABLE };
        let mut state = |metric, word: &str| {
            let value = Value::Text(word.to_owned());
            let plain = observation(metric, value, &mdc::DIMENSIONLESS, Kind::State);
            said.push(Observation { quality, ..plain });
        };
        if let (Some(bolus), Some(infusing), Some(standby)) = (flag(2), flag(3), flag(6)) {
            let is_kvo = meaning.kvo.and_then(flag).unwrap_or_default();
            let words = [
                (bolus, "bolus"),
                (is_kvo, "kvo"),
                (infusing, "infusing"),
                (standby, "standby"),
                (true, "stopped"),
            ];
            let word = words.iter().find(|(is_so, _)| *is_so).map_or("", |(_, word)| word);
            state(&mdc::PUMP_MODE, word);
        }
        if let Some(is_external) = flag(8) {
            state(&codes::POWER, if is_external { "external" } else { "battery" });
        }
    }
    // Of a list that a block has cut in two the other flags would look as if they were 0.
    let is_whole = (1..=MODE_FLAGS).all(|number| segment.names().any(|name| name == format!("INM{number}")));
    if is_whole && !flags.is_empty() {
        let bit = |(number, is_set): &(u8, bool)| u32::from(*is_set) << number.saturating_sub(1);
        let bits = flags.iter().map(bit).fold(0, |all, bit| all | bit);
        said.push(observation(&codes::MODE_FLAGS, Value::Bits(bits), &mdc::DIMENSIONLESS, Kind::State));
    }
    said
}

/// A word in which bytes are spelled out, with the characters that they are; what spells no UTF-8
/// stays as it is.
fn unescaped(word: &str) -> String {
    let mut out = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (mut bytes, mut behind) = (Vec::new(), from);
        while let Some((byte, later)) = spelled_byte(behind) {
            bytes.push(byte);
            behind = later;
        }
        match String::from_utf8(bytes) {
            Ok(characters) if !characters.is_empty() => out.push_str(&characters),
            Ok(_) | Err(_) => {
                behind = from.strip_prefix('<').unwrap_or_default();
                out.push('<');
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// A byte that is spelled out, `<80>` to `<FF>`, and what follows it.
fn spelled_byte(words: &str) -> Option<(u8, &str)> {
    let (digits, later) = words.strip_prefix('<')?.split_at_checked(2)?;
    let later = later.strip_prefix('>')?;
    let is_spelled = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
    let byte = u8::from_str_radix(digits, 16).ok().filter(|byte| is_spelled && *byte >= 0x80)?;
    Some((byte, later))
}

fn time_left(segment: &Segment, meaning: Meaning, faults: &mut Faults) -> Option<Observation> {
    let value = match segment.get("INRMT") {
        Some(NO_TIME) => Value::Absent(Absent::Unknown),
        Some(_) | None => number(segment, "INRMT", faults)?,
    };
    Some(observation(&mdc::TIME_PD_REMAIN, value, meaning.time_left, Kind::Measurement))
}

/// Whether the pump reckons in doses; the concentration and the dose rate, each with its unit.
fn doses(segment: &Segment, faults: &mut Faults) -> Vec<Observation> {
    let is_on = flag(segment, "INDOCAL", faults);
    let word = is_on.map(|is_on| Value::Text(if is_on { "on" } else { "off" }.to_owned()));
    let mode = word.map(|word| observation(&codes::DOSE_MODE, word, &mdc::DIMENSIONLESS, Kind::State));
    let mut said: Vec<Observation> = mode.into_iter().collect();
    for (name, unit_name, metric) in
        [("INDCON", "INDCONU", &mdc::CONC_DRUG), ("INDORT", "INDORTU", &mdc::RATE_DOSE)]
    {
        if segment.get(name).is_none() {
            continue;
        }
        let Some(unit) = segment.get(unit_name).and_then(unit_of) else {
            let place = segment.place_name();
            faults.add(
                FaultKind::Malformed,
                format!("{name} of {place} has no unit that is known: not passed on"),
            );
            continue;
        };
        let value = match (is_on, number(segment, name, faults)) {
            // Where it is not said whether it reckons in doses, 0 may be the 0 of one that does not.
            (Some(false), _) | (None, Some(Value::Decimal(Decimal { mantissa: 0, .. }))) => {
                Some(Value::Absent(Absent::Unknown))
            }
            (Some(true) | None, value) => value,
        };
        said.extend(value.map(|value| observation(metric, value, unit, Kind::Setting)));
    }
    said
}

fn alarm_flags(segment: &Segment, faults: &mut Faults) -> Vec<(u8, bool)> {
    flags(segment, "INA", faults)
}

/// All flags of a family that are stated, by number.
fn flags(segment: &Segment, family: &str, faults: &mut Faults) -> Vec<(u8, bool)> {
    let numbered = segment.names().filter_map(|name| Some((flag_number(name.strip_prefix(family)?)?, name)));
    numbered.filter_map(|(number, name)| Some((number, flag(segment, name, faults)?))).collect()
}

/// The number of a flag: 1 to 32, without leading zeros.
fn flag_number(digits: &str) -> Option<u8> {
    let number: u8 = digits.parse().ok()?;
    ((1..=32).contains(&number) && number.to_string() == digits).then_some(number)
}

fn flag(segment: &Segment, name: &str, faults: &mut Faults) -> Option<bool> {
    match segment.get(name)? {
        "0" => Some(false),
        "1" => Some(true),
        _ => {
            let place = segment.place_name();
            faults.add(FaultKind::Malformed, format!("{name} of {place} is neither 0 nor 1: not passed on"));
            None
        }
    }
}

fn number(segment: &Segment, name: &str, faults: &mut Faults) -> Option<Value> {
    if let Ok(decimal) = segment.get(name)?.parse::<Decimal>() {
        return Some(Value::Decimal(decimal));
    }
    let place = segment.place_name();
    faults.add(FaultKind::Malformed, format!("{name} of {place} is not a number: not passed on"));
    None
}

/// What a place is called in a fault.
pub(super) fn shown(place: places::Place) -> String {
    match place {
        places::Place::Rack => "the rack".to_owned(),
        places::Place::Slot(part) => format!("slot {}", places::name(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_that_are_spelled_out_become_characters() {
        for (word, expected) in [
            ("Arteren<EE><80><A1>", "Arteren\u{E021}"),
            ("<C2><B5>g <C3><A4>", "µg ä"),
            ("a<b", "a<b"),
            ("<EE><80>", "<EE><80>"),
            ("<EE><80><A1", "<EE><80><A1"),
            ("<41><ee><0A>", "<41><ee><0A>"),
            ("<<C2><B5>", "<µ"),
            ("Arteren\u{E021}", "Arteren\u{E021}"),
        ] {
            assert_eq!(unescaped(word), expected, "{word}");
        }
    }

    proptest! {
        #[test]
        fn a_word_without_spelled_bytes_stays(word in "[ -;=-~µ]{0,40}") {
            prop_assert_eq!(unescaped(&word), word);
        }

        #[test]
        fn what_is_spelled_out_is_read(word in "[a-zµäλ\u{E021}]{0,12}") {
            let spelled: String = word.bytes().map(|byte| match byte {
                0x80.. => format!("<{byte:02X}>"),
                _ => char::from(byte).to_string(),
            }).collect();
            prop_assert_eq!(unescaped(&spelled), word);
        }

        #[test]
        fn no_word_panics(word in "[<>A-F0-9é]{0,40}") {
            let _ = unescaped(&word);
        }
    }
}
