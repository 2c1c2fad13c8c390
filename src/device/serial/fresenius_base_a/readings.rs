//! What the variables of a module say, in the normal form.
//!
//! In: the variables of an answer, each a letter and hex digits, and the settings. Out: observations,
//! the words of the alarms, and a fault for each that cannot be read; one bad variable does not cost
//! the others.
//!
//! From the facts page (PROTOCOLS.md 1.4) come `d`, the rate in tenths of mL/h, `r`, the volume infused
//! in thousandths of mL, and that `a`, `e`, `m`, `k`, `s` are alarm, error, mode, bolus rate and bolus
//! volume. The scale of the last two, the bits of the alarm and the letters of pressure, syringe and
//! time left are not public: they are passed on as sent, or follow the settings.

use super::codes::{
    ALARM_WORD, BOLUS_RATE, BOLUS_RATE_WORD, BOLUS_VOLUME_WORD, ERROR_WORD, MODULES, SYRINGE_WORD,
};
use super::settings::Mapping;
use crate::device::FaultKind;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Kind, Observation, Value};
use crate::device::serial::{Faults, observation, text};

/// One word of alarms: what stands behind `a` or `e`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// `a`.
    Alarm(u64),
    /// `e`.
    Error(u64),
}

/// What the variables of one answer say.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) observations: Vec<Observation>,
    pub(super) words: Vec<Word>,
}

/// Reads the variables of a module's answer.
pub(super) fn read(variables: &[(u8, &str)], mapping: &Mapping, faults: &mut Faults) -> Said {
    let mut said = Said::default();
    for (letter, digits) in variables {
        let Ok(number) = u64::from_str_radix(digits, 16) else { continue };
        match letter {
            b'a' => said.words.push(Word::Alarm(number)),
            b'e' => said.words.push(Word::Error(number)),
            _ => {}
        }
        match observed(*letter, digits, number, mapping) {
            Ok(observation) => said.observations.push(observation),
            Err(why) => {
                let letter = char::from(*letter);
                faults.add(FaultKind::Malformed, format!("the variable `{letter}` {why}: not passed on"));
            }
        }
    }
    said
}

fn observed(letter: u8, digits: &str, number: u64, mapping: &Mapping) -> Result<Observation, &'static str> {
    let (setting, measured) = (Kind::Setting, Kind::Measurement);
    match letter {
        b'a' => Ok(word(&ALARM_WORD, digits, number, Kind::State)),
        b'e' => Ok(word(&ERROR_WORD, digits, number, Kind::State)),
        b'm' => Ok(as_sent(&mdc::PUMP_MODE, digits, Kind::State)),
        b'd' => scaled(&mdc::FLOW_FLUID_PUMP, number, 1, &mdc::MILLILITRE_PER_HOUR, setting),
        b'r' => scaled(&mdc::VOL_FLUID_DELIV, number, 3, &mdc::MILLILITRE, measured),
        b'k' if mapping.is_bolus_scaled => scaled(&BOLUS_RATE, number, 1, &mdc::MILLILITRE_PER_HOUR, setting),
        b's' if mapping.is_bolus_scaled => {
            scaled(&mdc::VOL_FLUID_BOLUS, number, 3, &mdc::MILLILITRE, measured)
        }
        b'k' => Ok(as_sent(&BOLUS_RATE_WORD, digits, setting)),
        b's' => Ok(as_sent(&BOLUS_VOLUME_WORD, digits, measured)),
        _ if mapping.pressure == Some(letter) => {
            let (unit, decimals) = (mapping.pressure_unit, mapping.pressure_decimals);
            scaled(&mdc::PRESS_FLUID_ACT, number, decimals, unit, measured)
        }
        _ if mapping.remaining == Some(letter) => {
            let seconds = number.checked_mul(mapping.remaining_seconds).ok_or("is too great a number")?;
            scaled(&mdc::TIME_PD_REMAIN, seconds, 0, &mdc::SECOND, measured)
        }
        _ if mapping.syringe == Some(letter) => Ok(as_sent(&SYRINGE_WORD, digits, setting)),
        _ => Err("is not known"),
    }
}

/// The places of the base that have a module.
pub(super) fn modules(mask: u32) -> Observation {
    observation(&MODULES, Value::Bits(mask), &mdc::DIMENSIONLESS, Kind::State)
}

/// The drug, in the module's own words.
pub(super) fn drug(words: &str) -> Observation {
    let value = Value::Text(text(words.trim()));
    observation(&mdc::DRUG_NAME, value, &mdc::DIMENSIONLESS, Kind::State)
}

fn scaled(
    metric: &'static Metric,
    number: u64,
    decimals: i8,
    unit: &'static Unit,
    kind: Kind,
) -> Result<Observation, &'static str> {
    let mantissa = i64::try_from(number).map_err(|_| "is too great a number")?;
    Ok(observation(metric, Value::Decimal(Decimal::new(mantissa, -decimals)), unit, kind))
}

/// Bits where they fit, else the hex digits.
fn word(metric: &'static Metric, digits: &str, number: u64, kind: Kind) -> Observation {
    let Ok(bits) = u32::try_from(number) else { return as_sent(metric, digits, kind) };
    observation(metric, Value::Bits(bits), &mdc::DIMENSIONLESS, kind)
}

fn as_sent(metric: &'static Metric, digits: &str, kind: Kind) -> Observation {
    observation(metric, Value::Text(digits.to_owned()), &mdc::DIMENSIONLESS, kind)
}
