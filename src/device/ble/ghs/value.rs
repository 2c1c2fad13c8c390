//! The values of health observations, class by class, before anything is made of them.
//!
//! In: the octets behind the fields of an observation, or of a component. Out: a [`Raw`] value that takes
//! exactly the octets that its own counts say, whether or not its type and unit are known.

use super::types;
use crate::device::ble::octets::Octets;
use crate::device::decimal::Decimal;
use crate::device::observation::{MAX_SAMPLES, MAX_TEXT, Samples, Value};
use crate::device::{Fault, FaultKind};

// Observation classes; 1 to 6 are also the value types of components.
const NUMERIC: u8 = 1;
const DISCRETE: u8 = 2;
const STRING: u8 = 3;
const SAMPLE_ARRAY: u8 = 4;
const COMPOUND_DISCRETE: u8 = 5;
const COMPOUND_STATE: u8 = 6;
/// Several values, each with a type of its own.
pub(super) const COMPOUND: u8 = 7;
/// Several values, each with a type and a format of its own.
pub(super) const TLV: u8 = 8;
/// Several whole observations.
pub(super) const BUNDLE: u8 = 0xFF;

// GATT format types (Assigned Numbers, "Characteristic Presentation Format").
const FORMAT_UINT32: u8 = 0x08;
const FORMAT_UTF8: u8 = 0x19;

/// A value as it came.
#[derive(Debug)]
pub(super) enum Raw<'a> {
    Number {
        unit: u16,
        number: Value,
    },
    Codes(Vec<u32>),
    Bits(u32),
    Text(&'a [u8]),
    Wave(Wave<'a>),
    /// Whole, but of a kind that cannot be filed; in words.
    Other(String),
}

/// A sample array: each sample is its raw number times `scale`, and `offset`.
#[derive(Debug)]
pub(super) struct Wave<'a> {
    pub(super) unit: u16,
    scale: Value,
    offset: Value,
    /// Seconds.
    period: Value,
    dimension: u8,
    width: u8,
    data: &'a [u8],
}

/// Reads a value that stands alone.
pub(super) fn simple<'a>(class: u8, octets: &mut Octets<'a>) -> Result<Raw<'a>, Fault> {
    Ok(match class {
        NUMERIC => Raw::Number { unit: octets.u16("unit")?, number: octets.float("number")? },
        DISCRETE => Raw::Codes(vec![octets.u32("discrete value")?]),
        STRING => {
            let length = octets.u16("string length")?;
            Raw::Text(octets.bytes(length.into(), "string")?)
        }
        SAMPLE_ARRAY => wave(octets)?,
        COMPOUND_DISCRETE => {
            let count = octets.u8("number of discrete values")?;
            Raw::Codes(codes(count, "discrete value", octets)?)
        }
        COMPOUND_STATE => state(octets)?,
        other => {
            let detail = format!("health observation has the class {other}, which is not known");
            return Err(Fault::new(FaultKind::Malformed, detail));
        }
    })
}

/// So many codes.
pub(super) fn codes(count: u8, field: &'static str, octets: &mut Octets<'_>) -> Result<Vec<u32>, Fault> {
    (0..count).map(|_| octets.u32(field)).collect()
}

/// One component: its type and its value.
pub(super) fn component<'a>(octets: &mut Octets<'a>) -> Result<(u32, Raw<'a>), Fault> {
    let code = octets.u32("component type")?;
    let class = octets.u8("component value type")?;
    Ok((code, simple(class, octets)?))
}

/// One TLV: its type and its value, as far as a format says what it is. Its length is that of the value
/// alone, without the format (ST's, Realtek's and Philips' sources agree).
pub(super) fn tlv<'a>(octets: &mut Octets<'a>) -> Result<(u32, Raw<'a>), Fault> {
    let code = octets.u32("TLV type")?;
    let length = octets.u16("TLV length")?;
    let format = octets.u8("TLV format")?;
    let value = octets.bytes(length.into(), "TLV value")?;
    let raw = match (format, <[u8; 4]>::try_from(value)) {
        (FORMAT_UTF8, _) => Raw::Text(value),
        (FORMAT_UINT32, Ok(code)) => Raw::Codes(vec![u32::from_le_bytes(code)]),
        _ => Raw::Other(format!("a TLV of format {format:#04x}, which has no unit")),
    };
    Ok((code, raw))
}

/// Which bits are supported, which of them are states and which events, and the bits. What is not supported
/// says nothing and is 0.
fn state<'a>(octets: &mut Octets<'a>) -> Result<Raw<'a>, Fault> {
    let size = usize::from(octets.u8("size of the state")?);
    let supported = octets.bytes(size, "supported bits")?;
    octets.bytes(size, "state or event bits")?;
    let bits = octets.bytes(size, "state")?;
    if size == 0 || size > 4 {
        return Ok(Raw::Other(format!("a state of {size} octets")));
    }
    let number = |octets: &[u8]| octets.iter().rev().fold(0u32, |all, octet| all << 8 | u32::from(*octet));
    Ok(Raw::Bits(number(bits) & number(supported)))
}

fn wave<'a>(octets: &mut Octets<'a>) -> Result<Raw<'a>, Fault> {
    let unit = octets.u16("unit")?;
    let scale = octets.float("scale")?;
    let offset = octets.float("offset")?;
    let period = octets.float("sample period")?;
    let dimension = octets.u8("samples per period")?;
    let width = octets.u8("octets per sample")?;
    let count = octets.u32("number of samples")?;
    let length = u64::from(count) * u64::from(width);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let data = octets.bytes(length, "samples")?;
    Ok(Raw::Wave(Wave { unit, scale, offset, period, dimension, width, data }))
}

impl Raw<'_> {
    /// Whether this term is among its codes.
    pub(super) fn says(&self, term: u32) -> bool {
        matches!(self, Self::Codes(codes) if codes.contains(&term))
    }

    /// In words, for a fault: never the value.
    pub(super) fn kind(&self) -> &str {
        match self {
            Self::Number { .. } => "a number",
            Self::Codes(_) => "codes",
            Self::Bits(_) => "bits",
            Self::Text(_) => "a string",
            Self::Wave(_) => "a sample array",
            Self::Other(words) => words,
        }
    }
}

/// The terms, in the order in which they came, with blanks between them; `none` when there is none.
pub(super) fn terms(codes: &[u32]) -> Result<Value, String> {
    if codes.is_empty() {
        return Ok(Value::Text("none".to_owned()));
    }
    let text = codes.iter().map(|code| types::term(*code)).collect::<Vec<_>>().join(" ");
    if text.len() > MAX_TEXT {
        return Err(format!("{} codes, more than fit into one text", codes.len()));
    }
    Ok(Value::Text(text))
}

/// A string as a person would read it, cut to [`MAX_TEXT`] bytes.
pub(super) fn text(octets: &[u8]) -> Value {
    let text = String::from_utf8_lossy(octets);
    let mut out = String::new();
    for character in text.chars().filter(|character| !character.is_control()) {
        if out.len() + character.len_utf8() > MAX_TEXT {
            break;
        }
        out.push(character);
    }
    Value::Text(out.trim().to_owned())
}

impl Wave<'_> {
    /// The samples in the array's unit, exactly. Refused, in words, where they cannot be: the program keeps
    /// samples of 16 bits and one power of ten.
    pub(super) fn samples(&self) -> Result<Samples, String> {
        if self.dimension != 1 {
            return Err(format!("{} samples per period; how they lie is not known", self.dimension));
        }
        let width = usize::from(self.width);
        if !(1..=4).contains(&width) {
            return Err(format!("samples of {width} octets"));
        }
        let raw = self.data.chunks_exact(width);
        let count = raw.len();
        if count == 0 || count > MAX_SAMPLES {
            return Err(format!("{count} samples, not 1 to {MAX_SAMPLES}"));
        }
        if raw.clone().any(|sample| sample.last().is_some_and(|high| *high >= 0x80)) {
            return Err(
                "samples with their highest bit set, of which nothing says whether it is a sign".to_owned()
            );
        }
        let raw =
            raw.map(|sample| sample.iter().rev().fold(0i128, |all, octet| all << 8 | i128::from(*octet)));
        let (factor, shift, exponent) =
            self.scaling().ok_or("a scale and an offset that cannot be kept exactly")?;
        let values: Vec<i128> = raw.map(|raw| raw * factor + shift).collect();
        let (values, exponent) =
            narrow(values, exponent).ok_or("samples that do not fit into 16 bits exactly")?;
        let period_us = self.period_us().ok_or("a sample period that is no whole number of microseconds")?;
        Ok(Samples { period_us, exponent, values })
    }

    /// Scale and offset as whole numbers, and the power of ten of both.
    fn scaling(&self) -> Option<(i128, i128, i8)> {
        let (Value::Decimal(scale), Value::Decimal(offset)) = (&self.scale, &self.offset) else {
            return None;
        };
        if offset.mantissa == 0 {
            return Some((scale.mantissa.into(), 0, scale.exponent));
        }
        let exponent = scale.exponent.min(offset.exponent);
        Some((widened(*scale, exponent)?, widened(*offset, exponent)?, exponent))
    }

    fn period_us(&self) -> Option<u32> {
        let Value::Decimal(seconds) = self.period else { return None };
        let mut exponent = i32::from(seconds.exponent) + 6;
        let mut period = seconds.mantissa;
        while exponent < 0 && period % 10 == 0 && period != 0 {
            period /= 10;
            exponent += 1;
        }
        let factor = 10i64.checked_pow(u32::try_from(exponent).ok()?)?;
        u32::try_from(period.checked_mul(factor)?).ok().filter(|period| *period > 0)
    }
}

/// A number in units of a smaller power of ten. Ten places are more than any sensor needs, and keep every
/// product below within its type.
fn widened(number: Decimal, exponent: i8) -> Option<i128> {
    let places = i16::from(number.exponent) - i16::from(exponent);
    let factor = 10i128.checked_pow(u32::try_from(places).ok().filter(|places| *places <= 10)?)?;
    Some(i128::from(number.mantissa) * factor)
}

/// As 16 bits: the zeros that all have at their end are given up where it is needed.
fn narrow(mut values: Vec<i128>, mut exponent: i8) -> Option<(Vec<i16>, i8)> {
    loop {
        // The smallest number stands for a sample that is missing.
        let narrowed: Option<Vec<i16>> = values
            .iter()
            .map(|value| i16::try_from(*value).ok().filter(|value| *value != Samples::MISSING))
            .collect();
        if let Some(narrowed) = narrowed {
            return Some((narrowed, exponent));
        }
        if values.iter().any(|value| value % 10 != 0) {
            return None;
        }
        for value in &mut values {
            *value /= 10;
        }
        exponent = exponent.checked_add(1)?;
    }
}
