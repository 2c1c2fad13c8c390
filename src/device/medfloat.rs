//! IEEE 11073-20601 floats as Bluetooth characteristics carry them: SFLOAT (medfloat16) and FLOAT
//! (medfloat32).
//!
//! In: the 16 or 32 bits, already put together from little-endian octets (GATT Specification
//! Supplement, section 2). Out: a [`Value`]: a decimal number with the precision it came with, or
//! the reason why there is none. Nothing can go wrong: every pattern has a meaning.
//!
//! Only the five exact patterns of the specification are special (exponent 0 and one of the
//! reserved mantissas); everything else is a number, also the patterns that look alarming:
//! `0xFFFF` is -0.1 and `0x7FFF_FFFF` is -1 times ten to the power of 127. No value passes through binary
//! floating point.

use super::decimal::Decimal;
use super::observation::{Absent, Value};

/// Reads an SFLOAT: exponent in bits 15-12, mantissa in bits 11-0, both two's complement.
pub fn sfloat(bits: u16) -> Value {
    match bits {
        0x07FF => Value::Absent(Absent::NotANumber),
        0x07FE => Value::Absent(Absent::PositiveInfinity),
        0x0802 => Value::Absent(Absent::NegativeInfinity),
        // NRes ("not at this resolution") and the reserved pattern.
        0x0800 | 0x0801 => Value::Absent(Absent::Error),
        number => {
            let [high, low] = number.to_be_bytes();
            // Shifting right as a signed number spreads the sign.
            let exponent = high.cast_signed() >> 4;
            let mantissa = i16::from_be_bytes([high << 4 | low >> 4, low << 4]) >> 4;
            Value::Decimal(Decimal::new(i64::from(mantissa), exponent))
        }
    }
}

/// Reads a FLOAT: exponent in bits 31-24, mantissa in bits 23-0, both two's complement.
pub fn float(bits: u32) -> Value {
    match bits {
        0x007F_FFFF => Value::Absent(Absent::NotANumber),
        0x007F_FFFE => Value::Absent(Absent::PositiveInfinity),
        0x0080_0002 => Value::Absent(Absent::NegativeInfinity),
        // NRes ("not at this resolution") and the reserved pattern.
        0x0080_0000 | 0x0080_0001 => Value::Absent(Absent::Error),
        number => {
            let [exponent, high, middle, low] = number.to_be_bytes();
            let mantissa = i32::from_be_bytes([high, middle, low, 0]) >> 8;
            Value::Decimal(Decimal::new(i64::from(mantissa), exponent.cast_signed()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(value: &Value) -> String {
        match value {
            Value::Decimal(number) => number.to_string(),
            Value::Absent(why) => why.code().to_owned(),
            other @ (Value::Text(_) | Value::Bits(_) | Value::Alarm(_) | Value::Samples(_)) => {
                panic!("a float is never {other:?}")
            }
        }
    }

    /// The encoder that the decoder is held against: arithmetic, not the decoder's shifts.
    fn encode(mantissa: i64, exponent: i64, mantissa_bits: u32, exponent_bits: u32) -> u64 {
        let mantissa = mantissa.rem_euclid(1 << mantissa_bits);
        let exponent = exponent.rem_euclid(1 << exponent_bits);
        u64::try_from((exponent << mantissa_bits) + mantissa).unwrap()
    }

    #[test]
    fn only_the_exact_encodings_are_special() {
        let special = |pattern: &u16| matches!(sfloat(*pattern), Value::Absent(_));
        let found: Vec<u16> = (0..=u16::MAX).filter(special).collect();
        assert_eq!(found, [0x07FE, 0x07FF, 0x0800, 0x0801, 0x0802]);
        for exponent in 1..=255u32 {
            for mantissa in [0x007F_FFFE, 0x007F_FFFF, 0x0080_0000, 0x0080_0001, 0x0080_0002] {
                assert!(matches!(float(exponent << 24 | mantissa), Value::Decimal(_)));
            }
        }
    }

    #[test]
    fn the_special_values_give_the_reasons_of_the_phd_guide() {
        for (short, long, reason) in [
            (0x07FF, 0x007F_FFFF, "not-a-number"),
            (0x07FE, 0x007F_FFFE, "positive-infinity"),
            (0x0802, 0x0080_0002, "negative-infinity"),
            (0x0800, 0x0080_0000, "error"),
            (0x0801, 0x0080_0001, "error"),
        ] {
            assert_eq!(shown(&sfloat(short)), reason);
            assert_eq!(shown(&float(long)), reason);
        }
    }

    #[test]
    fn the_published_examples_read_as_published_with_their_precision() {
        // HL7 PHD guide, FLOATS (CC0); thermometer captures of Stack Overflow 60841331.
        assert_eq!(shown(&sfloat(0xF014)), "2.0");
        assert_eq!(shown(&float(0xFF00_0014)), "2.0");
        assert_eq!(shown(&float(0xFE00_00C8)), "2.00");
        assert_eq!(shown(&float(0xFE00_0E71)), "36.97");
        assert_eq!(shown(&float(0xFF00_016C)), "36.4");
        assert_eq!(shown(&float(0xFE00_0D97)), "34.79");
    }

    #[test]
    fn patterns_that_others_call_special_are_numbers() {
        assert_eq!(shown(&sfloat(0xFFFF)), "-0.1");
        assert_eq!(float(0x7FFF_FFFF), Value::Decimal(Decimal::new(-1, 127)));
        assert_eq!(float(0xFFFF_FFFF), Value::Decimal(Decimal::new(-1, -1)));
        assert_eq!(sfloat(0x17FF), Value::Decimal(Decimal::new(2047, 1)));
        assert_eq!(sfloat(0xF7FF), Value::Decimal(Decimal::new(2047, -1)));
        // The mantissa next to the specials, and the most negative ones.
        assert_eq!(sfloat(0x07FD), Value::Decimal(Decimal::new(2045, 0)));
        assert_eq!(sfloat(0x0803), Value::Decimal(Decimal::new(-2045, 0)));
        assert_eq!(sfloat(0x8800), Value::Decimal(Decimal::new(-2048, -8)));
    }

    proptest! {
        #[test]
        fn every_sfloat_number_reads_as_it_was_written(mantissa in -2048i64..=2047, exponent in -8i64..=7) {
            prop_assume!(exponent != 0 || (-2045..=2045).contains(&mantissa));
            let bits = u16::try_from(encode(mantissa, exponent, 12, 4)).unwrap();
            let expected = Decimal::new(mantissa, i8::try_from(exponent).unwrap());
            prop_assert_eq!(sfloat(bits), Value::Decimal(expected));
        }

        #[test]
        fn every_float_number_reads_as_it_was_written(
            mantissa in -8_388_608i64..=8_388_607,
            exponent in -128i64..=127,
        ) {
            prop_assume!(exponent != 0 || (-8_388_605..=8_388_605).contains(&mantissa));
            let bits = u32::try_from(encode(mantissa, exponent, 24, 8)).unwrap();
            let expected = Decimal::new(mantissa, i8::try_from(exponent).unwrap());
            prop_assert_eq!(float(bits), Value::Decimal(expected));
        }

        #[test]
        fn any_pattern_can_be_read_and_shown(bits in any::<u32>()) {
            prop_assert!(!shown(&float(bits)).is_empty());
        }
    }
}
