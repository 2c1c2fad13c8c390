//! Whether a device is the one that the allowlist expects.
//!
//! In: what the rule expects and what the device stated. Out: the first field that differs. A field
//! that the rule gives must be stated and equal; a field that it does not give is not compared.
//!
//! White space and NULs around a value are ignored on both sides: Device Information strings come
//! padded to a fixed length from some makers. Maker and model are compared without regard to ASCII
//! case, as makers change the spelling of their own name between firmware versions. Serial number
//! and firmware are compared exactly: there, case tells devices apart.

use crate::device::Identity;

/// A field in which a device is not what its rule expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Which part of the identity.
    pub field: &'static str,
    /// What the device said; empty when it said nothing.
    pub stated: String,
    /// What the allowlist says.
    pub expected: String,
}

/// How two statements are compared.
#[derive(Clone, Copy)]
enum Case {
    Ignored,
    Kept,
}

/// The first field in which `stated` is not what `expects` asks for.
pub fn mismatch(expects: &Identity, stated: &Identity) -> Option<Mismatch> {
    [
        ("maker", &expects.maker, &stated.maker, Case::Ignored),
        ("model", &expects.model, &stated.model, Case::Ignored),
        ("serial", &expects.serial, &stated.serial, Case::Kept),
        ("firmware", &expects.firmware, &stated.firmware, Case::Kept),
    ]
    .into_iter()
    .find_map(|(field, expected, stated, case)| {
        let expected = trimmed(expected.as_deref()?);
        let stated = trimmed(stated.as_deref().unwrap_or(""));
        // An expectation of nothing cannot vouch for anyone: it is never met.
        let equal = !expected.is_empty()
            && match case {
                Case::Ignored => expected.eq_ignore_ascii_case(stated),
                Case::Kept => expected == stated,
            };
        (!equal).then(|| Mismatch { field, stated: stated.to_owned(), expected: expected.to_owned() })
    })
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(text: &str) -> Identity {
        Identity { serial: Some(text.to_owned()), ..Identity::default() }
    }

    #[test]
    fn padding_is_ignored_on_both_sides() {
        assert_eq!(mismatch(&serial(" 8002-1 "), &serial("8002-1\0\0\0")), None);
    }

    #[test]
    fn case_tells_serial_numbers_apart_but_not_makers() {
        assert!(mismatch(&serial("ab12"), &serial("AB12")).is_some());
        let maker = |text: &str| Identity { maker: Some(text.to_owned()), ..Identity::default() };
        assert_eq!(mismatch(&maker("Nonin"), &maker("NONIN")), None);
    }

    #[test]
    fn a_field_that_is_expected_must_be_stated() {
        let found = mismatch(&serial("1"), &Identity::default()).unwrap();
        assert_eq!((found.field, found.stated.as_str(), found.expected.as_str()), ("serial", "", "1"));
    }

    #[test]
    fn a_field_that_is_not_expected_is_not_compared() {
        let stated = Identity { firmware: Some("9.9".to_owned()), ..serial("1") };
        assert_eq!(mismatch(&serial("1"), &stated), None);
    }

    #[test]
    fn an_empty_expectation_is_never_met() {
        assert!(mismatch(&serial("  "), &serial("")).is_some());
        assert!(mismatch(&serial("  "), &Identity::default()).is_some());
    }
}
