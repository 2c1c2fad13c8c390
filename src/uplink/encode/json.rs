//! JSON by hand into a reused buffer: text is escaped, numbers keep the digits they came with.

use crate::device::decimal::Decimal;
use crate::time::Wall;

/// Appends what is known to need no escaping.
pub(super) fn raw(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

/// Appends a string with its quotes. FHIR allows no control characters but tab, line feed and
/// carriage return (R4, datatypes, `string`): others become U+FFFD.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x00..=0x1f | 0x7f => b"\\ufffd",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(start..at).unwrap_or_default());
        out.extend_from_slice(escape);
        start = at + 1;
    }
    out.extend_from_slice(bytes.get(start..).unwrap_or_default());
    out.push(b'"');
}

/// Appends a whole number.
pub(super) fn whole(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    out.extend_from_slice(decimal_digits(value, &mut digits));
}

/// Appends a number in plain notation with exactly the digits that the device gave, as FHIR
/// `decimal` asks; beyond 18 places with an exponent, which keeps them as well.
pub(super) fn decimal(out: &mut Vec<u8>, value: Decimal) {
    let mut buffer = [0u8; 20];
    let digits = decimal_digits(value.mantissa.unsigned_abs(), &mut buffer);
    if value.mantissa < 0 {
        out.push(b'-');
    }
    let places = usize::from(value.exponent.unsigned_abs());
    if value.exponent == 0 {
        out.extend_from_slice(digits);
    } else if value.exponent > 0 || places > 18 {
        out.extend_from_slice(digits);
        raw(out, if value.exponent > 0 { "e" } else { "e-" });
        whole(out, u64::from(value.exponent.unsigned_abs()));
    } else if digits.len() > places {
        let (before, after) = digits.split_at(digits.len() - places);
        out.extend_from_slice(before);
        out.push(b'.');
        out.extend_from_slice(after);
    } else {
        raw(out, "0.");
        out.extend(std::iter::repeat_n(b'0', places - digits.len()));
        out.extend_from_slice(digits);
    }
}

/// Appends a wall time as FHIR `instant`, with quotes.
pub(super) fn instant(out: &mut Vec<u8>, at: Wall) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = write!(out, "\"{at}\"");
}

fn decimal_digits(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    for place in digits.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        at -= 1;
        if value == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_keep_the_digits_they_came_with() {
        for (mantissa, exponent, shown) in [
            (200, -2, "2.00"),
            (20, -1, "2.0"),
            (-5, -3, "-0.005"),
            (0, -2, "0.00"),
            (0, 0, "0"),
            (12, 2, "12e2"),
            (7, -20, "7e-20"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            let value = Decimal::new(mantissa, exponent);
            assert_eq!(written(|out| decimal(out, value)), shown);
        }
    }

    proptest! {
        #[test]
        fn plain_numbers_are_written_as_the_normal_form_shows_them(mantissa: i64, exponent in -18i8..=0) {
            let value = Decimal::new(mantissa, exponent);
            prop_assert_eq!(written(|out| decimal(out, value)), value.to_string());
        }

        #[test]
        fn any_text_reads_back_as_itself_but_for_control_characters(text in any::<String>()) {
            let json = written(|out| string(out, &text));
            let back: String = serde_json::from_str(&json).unwrap();
            let expected: String = text
                .chars()
                .map(|c| if c.is_ascii_control() && !"\t\n\r".contains(c) { '\u{fffd}' } else { c })
                .collect();
            prop_assert_eq!(back, expected);
        }
    }
}
