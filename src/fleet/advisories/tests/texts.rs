//! Versions and names as texts.

use super::super::names::{self, Makers};
use super::super::versions::{Expression, Fit, Version};

fn fit(text: &str, version: &str) -> Option<bool> {
    match Expression::read(text, false).fit(Version::read(version).as_ref(), false) {
        Fit::Inside => Some(true),
        Fit::Outside => Some(false),
        Fit::Unclear(_) => None,
    }
}

#[test]
fn what_is_understood_says_which_versions_are_meant() {
    // The text, versions that are meant, versions that are not.
    let table: &[(&str, &[&str], &[&str])] = &[
        ("vers:all/*", &["1", "L81"], &[]),
        ("All  Versions", &["1"], &[]),
        ("<= 1.3", &["1.3", "1.3.0", "1.2.9", "0.9"], &["1.3.1", "1.4", "2"]),
        ("< 12.1.2", &["12.1.1", "12.1"], &["12.1.2", "12.10.0"]),
        ("≥ 2.0.0", &["2.0.0", "2.0", "3.1.1"], &["1.9.9"]),
        ("9.33 and earlier", &["9.33", "8.1"], &["9.34", "10.1"]),
        ("Versions 9.33 and prior versions", &["9.33", "8.1"], &["9.34"]),
        ("2.3.6 and  below", &["2.3.6", "2.3"], &["2.3.7"]),
        ("1.4 or later", &["1.4", "2.0"], &["1.3"]),
        ("All versions prior to 12.1.2", &["12.1.1"], &["12.1.2"]),
        ("before version 3", &["2.9"], &["3"]),
        ("up to and including 3.2.1", &["3.2.1"], &["3.2.2"]),
        ("1.0.1 through 1.4.2", &["1.0.1", "1.4.2", "1.2.0"], &["1.0.0", "1.4.3"]),
        (">= 1.0.1 | < 1.4.2", &["1.0.1", "1.4.1"], &["1.0.0", "1.4.2"]),
        (">=1.0.1 <1.4.2", &["1.0.1", "1.4.1"], &["1.0.0", "1.4.2"]),
        ("vers:generic/1.0.0|>=1.2.0|<=1.3.0|>=2.0.0", &["1.0.0", "1.2.5", "9.0.0"], &["1.1.0", "1.4.0"]),
        ("1.1.5, 1.1.6 and 1.2.0", &["1.1.5", "1.1.6", "1.2.0"], &["1.1.7"]),
        ("1.3.1 Build 13", &["1.3.1 build 13"], &["1.3.0 Build 14", "1.3.1 Build 14"]),
        ("v9.x", &["9.01", "9"], &["10.1", "8.9"]),
        ("<= 012U000061", &["012U000061", "12U7"], &["013U000001", "012U000062"]),
        (
            "<= 4107600010.23",
            &["4107600010.22", "99999.99"],
            &["4107600011.01", "99999999999999999999999.99"],
        ),
    ];
    for (text, inside, outside) in table {
        for version in *inside {
            assert_eq!(fit(text, version), Some(true), "{version} of {text}");
        }
        for version in *outside {
            assert_eq!(fit(text, version), Some(false), "{version} of {text}");
        }
    }
}

#[test]
fn what_is_not_understood_is_not_guessed() {
    let texts = [
        "",
        "unknown",
        "A10 < A11",
        "2.3.6 onwards",
        "9.33+",
        "~1.2",
        "^1.2",
        "1.0-1.4",
        "1.0..1.4",
        "1.0/1.1",
        "1.0 1.1",
        "!= 1.0",
        "vers:generic/!=1.0",
        "vers:generic/1.0%2B1",
        "vers:",
        "9.x and earlier",
        "9.x.1",
        "9.33 (and all earlier)",
        "9.33 (versions 1 2)",
        "1.4 through 1.0",
        "9.7 through 9.33",
        "All 9.33",
        "< 1.0 | < 2.0",
        "> 1.0 | = 2.0",
        "first release",
        "<= ",
        "< < 1.0",
        "1.0 model",
        "1.0 model a b",
    ];
    for text in texts {
        assert_eq!(Expression::read(text, false), Expression::Unknown, "{text}");
        assert_eq!(fit(text, "0.1"), None, "{text}");
    }
    assert_eq!(Expression::read("9.33", true), Expression::Unknown);
    assert_eq!(Expression::read(&"1|".repeat(200), false), Expression::Unknown);
    // Understood, and in no order with the device's version.
    let pairs = [
        ("<= L81", "012U000061"),
        ("<= L81", "M3"),
        ("1.1.3 Build 11", "1.1.3"),
        ("<= 9.5", "9.40"),
        ("9.7", "9.70"),
        ("<= 1.3", "1.3a"),
        ("<= 1.3", "1.3-2"),
        ("9.2.x", "9"),
        ("9.x (with Wireless Module >= 22D19)", "9.1"),
        ("8.x model 35700BAX2", "8.1"),
    ];
    for (text, version) in pairs {
        assert_eq!(fit(text, version), None, "{version} of {text}");
    }
    assert_eq!(fit("9.x (with Wireless Module >= 22D19)", "8.1"), Some(false));
}

#[test]
fn makers_are_known_by_all_their_names() {
    let bd = "Becton, Dickinson and Company (BD)";
    let table = [
        ("BD", bd, Makers::Same),
        ("CareFusion Corporation", bd, Makers::Same),
        ("Alaris®", bd, Makers::Same),
        ("b braun melsungen ag", "B. Braun Medical", Makers::Same),
        ("Pfizer", "ICU Medical, Inc.", Makers::Same),
        ("PHILIPS", "Philips Medical Systems", Makers::Same),
        ("Dräger", "Draeger", Makers::Same),
        ("Acme GmbH", "ACME", Makers::Same),
        ("Baxter Healthcare", "Baxter", Makers::Alike),
        ("", "Baxter", Makers::Unknown),
        ("Inc.", "Baxter", Makers::Unknown),
        ("Hospira", "Baxter", Makers::Other),
        ("Medical", "Baxter", Makers::Other),
    ];
    for (make, vendor, expected) in table {
        assert_eq!(names::compare_makers(make, vendor), expected, "{make} and {vendor}");
    }
}

#[test]
fn every_alias_has_a_source_and_stands_once() {
    use super::super::aliases::ALIASES;
    for (at, alias) in ALIASES.iter().enumerate() {
        assert!(!alias.source.is_empty());
        for other in &ALIASES[at + 1..] {
            assert!(!alias.name.eq_ignore_ascii_case(other.name), "{}", alias.name);
        }
    }
}

#[test]
fn a_name_is_its_words() {
    assert_eq!(names::words("Plum A+® (R) Wi-Fi"), ["plum", "a", "plus", "wi", "fi"]);
    assert_ne!(names::product("Plum A+", "Hospira"), names::product("Plum A", "Hospira"));
    assert_eq!(names::product("Infusion Pump", "Acme").len(), 2);
}
