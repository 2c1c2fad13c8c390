//! Decimal numbers that keep the precision they came with: `2.0` and `2.00` are different
//! readings, and no value ever passes through binary floating point.

use std::fmt;
use std::str::FromStr;

/// `mantissa` times ten to the power of `exponent`.
///
/// Equality is of the representation: `2.0 != 2.00`, as the precision is part of the reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, with the sign.
    pub mantissa: i64,
    /// The power of ten; negative for digits after the point.
    pub exponent: i8,
}

/// The text is not a plain decimal number of at most 18 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of at most 18 digits")]
pub struct NotDecimal;

impl Decimal {
    /// From its parts.
    pub const fn new(mantissa: i64, exponent: i8) -> Self {
        Self { mantissa, exponent }
    }

    /// A whole number.
    pub fn whole(value: impl Into<i64>) -> Self {
        Self::new(value.into(), 0)
    }

    /// The same digits with the point moved by `places` (kg/L to mg/dL is 5): exact. `None` when
    /// the exponent leaves its range.
    pub fn shifted(self, places: i8) -> Option<Self> {
        Some(Self::new(self.mantissa, self.exponent.checked_add(places)?))
    }

    /// Nearest binary number, for plausibility checks and charts only.
    #[expect(clippy::cast_precision_loss, reason = "an approximation by definition, never sent or stored")]
    pub fn approximate(self) -> f64 {
        self.mantissa as f64 * 10f64.powi(i32::from(self.exponent))
    }
}

/// Reads `098`, `-1.50`, `+3`. No exponent, no group separators, no surrounding space.
impl FromStr for Decimal {
    type Err = NotDecimal;

    fn from_str(text: &str) -> Result<Self, NotDecimal> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).ok_or(NotDecimal)?),
            Some(b'+') => (false, text.get(1..).ok_or(NotDecimal)?),
            _ => (false, text),
        };
        let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
        let count = before.len() + after.len();
        let point_without_digits = digits.contains('.') && after.is_empty();
        if before.is_empty() || point_without_digits || count > 18 {
            return Err(NotDecimal);
        }
        let mut mantissa: i64 = 0;
        for byte in before.bytes().chain(after.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(NotDecimal);
            }
            mantissa = mantissa * 10 + i64::from(byte - b'0');
        }
        let exponent = i8::try_from(after.len()).map_err(|_| NotDecimal)?;
        Ok(Self::new(if negative { -mantissa } else { mantissa }, -exponent))
    }
}

/// Plain notation with exactly the digits that came: `2.00`, `-0.1`, `1200`.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { usize::from(self.exponent.unsigned_abs()) };
            return write!(f, "{sign}{digits}{}", "0".repeat(zeros));
        }
        let places = usize::from(self.exponent.unsigned_abs());
        let padded = format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = padded.split_at(padded.len() - places);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keeps_the_precision_it_came_with() {
        for (text, shown) in [
            ("098", "98"),
            ("03.60", "3.60"),
            ("0.969", "0.969"),
            ("-0.10", "-0.10"),
            ("530.15", "530.15"),
            ("0", "0"),
            ("0.00", "0.00"),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), shown);
        }
        assert_eq!(Decimal::new(20, -1).to_string(), "2.0");
        assert_eq!(Decimal::new(200, -2).to_string(), "2.00");
        assert_eq!(Decimal::new(12, 2).to_string(), "1200");
    }

    #[test]
    fn refuses_what_is_not_a_plain_number() {
        for text in
            ["", "-", ".", "1.", ".5", "1e5", "--1", " 1", "1 ", "1,5", "NaN", "--.-", "9999999999999999999"]
        {
            assert_eq!(text.parse::<Decimal>(), Err(NotDecimal), "{text:?}");
        }
    }

    #[test]
    fn shifts_exactly() {
        // 0.00112 kg/L is 112 mg/dL.
        assert_eq!(Decimal::new(112, -5).shifted(5), Some(Decimal::new(112, 0)));
        assert_eq!(Decimal::new(1, i8::MAX).shifted(1), None);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_as_the_same(mantissa in -999_999_999_999i64..=999_999_999_999, exponent in -6i8..=0) {
            let value = Decimal::new(mantissa, exponent);
            prop_assert_eq!(value.to_string().parse::<Decimal>().unwrap(), value);
        }
    }
}
