//! Names and secrets out of free text.
//!
//! In: what is known that must not be seen, and a text. Out: the text without it. What is not known by name is found by
//! its form: what stands in quotes, addresses, long runs of digits, hex or letters, a PIN in a URI.

use serde_json::Value;

/// Shorter names go only where they stand alone, and those of digits not at all: they would tear up every text, and a
/// number that short says nothing by itself.
const SHORTEST: usize = 3;
/// Serial numbers and times of a device; no port and no year is so long.
const DIGITS: usize = 6;
/// A key of 32 bytes in base64 has 43, in hex 64; a key's id has 16 and may be seen.
const LONG: usize = 32;
const BY_ID: &str = "/dev/serial/by-id/";

/// What must not be seen.
#[derive(Clone, Debug, Default)]
pub struct Mask {
    /// Text and what stands in its place, the longest first.
    names: Vec<(String, String)>,
}

impl Mask {
    /// This name is never to be seen.
    pub fn hide(&mut self, name: &str, other: &str) {
        let name = name.trim().to_lowercase();
        let says_something = name.chars().count() >= SHORTEST || name.chars().any(char::is_alphabetic);
        if says_something && self.names.iter().all(|(known, _)| *known != name) {
            self.names.push((name, other.to_owned()));
            self.names.sort_by(|(one, _), (other, _)| other.len().cmp(&one.len()).then(one.cmp(other)));
        }
    }

    /// A text without it.
    pub fn text(&self, text: &str) -> String {
        let named = self.names.iter().fold(text.to_owned(), |text, (name, other)| {
            if name.chars().count() < SHORTEST {
                replace_word(&text, name, other)
            } else {
                replace(&text, name, other)
            }
        });
        let words = unquoted(&named);
        words.split_inclusive([' ', ',', ';', '(', ')']).map(masked_word).collect()
    }

    /// Every text in a value, its keys too.
    pub fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(all) => all.iter().map(|one| self.value(one)).collect(),
            Value::Object(all) => all
                .iter()
                .map(|(key, value)| (self.text(key), self.value(value)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// Every place where a name stands alone, in whatever case it is written. The name is in lower case.
fn replace_word(text: &str, name: &str, other: &str) -> String {
    let is_of_name = |c: char| c.is_alphanumeric() || name.contains(c);
    let (mut out, mut rest) = (String::new(), text);
    while let Some(first) = rest.chars().next() {
        let is_word = is_of_name(first);
        let end = rest.find(|c| is_of_name(c) != is_word).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out += if is_word && run.to_lowercase() == name { other } else { run };
        rest = after;
    }
    out
}

/// Every place of a name, in whatever case it is written. The name is in lower case.
fn replace(text: &str, name: &str, other: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    'next: while let Some(first) = rest.chars().next() {
        let mut wanted = name.chars();
        let mut end = 0;
        for c in rest.chars() {
            let Some(next) = wanted.clone().next() else { break };
            for lower in c.to_lowercase() {
                if wanted.next() != Some(lower) {
                    out.push(first);
                    rest = rest.get(first.len_utf8()..).unwrap_or_default();
                    continue 'next;
                }
            }
            let _ = next;
            end += c.len_utf8();
        }
        if wanted.next().is_some() {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            continue;
        }
        out += other;
        rest = rest.get(end..).unwrap_or_default();
    }
    out
}

/// What a device or a person said is quoted; a path is too, and may stay. Of quotes within quotes nobody can say where
/// what was said ends: all from the first of them on goes.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    if text.contains("\\\"") {
        let before = text.find(['\\', '"']).and_then(|first| text.get(..first)).unwrap_or_default();
        return format!("{before}[quoted]");
    }
    for (place, part) in text.split('"').enumerate() {
        if place % 2 == 0 {
            out += part;
        } else if part.starts_with('/') {
            out.extend(["\"", part, "\""]);
        } else {
            out += "[quoted]";
        }
    }
    out
}

/// A text without the names below `/dev/serial/by-id`, which hold serial numbers of adapters.
pub fn without_adapters(text: &str) -> String {
    let mut parts = text.split(BY_ID);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for after in parts {
        let end = after.find([' ', ',', ';', ')', '\"', ':']).unwrap_or(after.len());
        out.extend([BY_ID, "[name]", after.get(end..).unwrap_or_default()]);
    }
    out
}

fn masked_word(word: &str) -> String {
    if word.contains(BY_ID) {
        return without_adapters(word);
    }
    if let Some((before, _)) = word.split_once("pkcs11:") {
        return format!("{before}pkcs11:[token]");
    }
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        if let Some(after) = after_address(rest) {
            out += "[address]";
            rest = after;
            continue;
        }
        out += &masked_run(run);
        let next = after.chars().next().map_or(0, char::len_utf8);
        let (sign, after) = after.split_at(next);
        out += sign;
        rest = after;
    }
    out
}

fn masked_run(run: &str) -> String {
    if run.len() >= LONG {
        return "[long]".to_owned();
    }
    let mut out = String::new();
    let mut digits = String::new();
    for c in run.chars().map(Some).chain([None]) {
        match c {
            Some(c) if c.is_ascii_digit() => digits.push(c),
            other => {
                if digits.len() >= DIGITS {
                    out += "[number]";
                } else {
                    out += &digits;
                }
                digits.clear();
                out.extend(other);
            }
        }
    }
    out
}

/// What follows an address of six pairs, with colons or as D-Bus writes it, that the text begins with.
fn after_address(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let head = bytes.get(..17)?;
    let is_address = head.iter().enumerate().all(|(place, byte)| match place % 3 {
        2 => matches!(byte, b':' | b'_' | b'-'),
        _ => byte.is_ascii_hexdigit(),
    });
    is_address.then(|| text.get(17..)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask() -> Mask {
        let mut mask = Mask::default();
        for (name, other) in
            [("pump-bed-8", "device-1"), ("pump", "device-2"), ("ÄSSET-1", "[asset]"), ("x", "y")]
        {
            mask.hide(name, other);
        }
        mask
    }

    #[test]
    fn what_is_known_goes_whatever_its_case_and_the_longest_first() {
        for (text, masked) in [
            ("pump-bed-8 is down", "device-1 is down"),
            ("PUMP-Bed-8, pump", "device-1, device-2"),
            ("ässet-1", "[asset]"),
            ("pum", "pum"),
            ("x, max", "y, max"),
            ("", ""),
        ] {
            assert_eq!(mask().text(text), masked);
        }
    }

    #[test]
    fn a_short_name_goes_where_it_stands_alone() {
        let mut mask = Mask::default();
        for (name, other) in [("b1", "device-1"), ("7", "device-2"), ("  ", "nothing"), ("", "nothing")] {
            mask.hide(name, other);
        }
        for (text, masked) in [
            ("B1: the port is not there", "device-1: the port is not there"),
            ("7 of 9, b1 (b1)", "7 of 9, device-1 (device-1)"),
            ("b12, ab1, 77", "b12, ab1, 77"),
            ("  b1", "  device-1"),
        ] {
            assert_eq!(mask.text(text), masked);
        }
    }

    #[test]
    fn what_is_not_known_goes_by_its_form() {
        for (text, masked) in [
            ("it says \"Mueller, Anna\" twice", "it says [quoted] twice"),
            ("cannot read \"/etc/wardline/kek\"", "cannot read \"/etc/wardline/kek\""),
            ("an open \"quote", "an open [quoted]"),
            (r#"it says "Bed \"Mueller, Anna\" left" twice"#, "it says [quoted]"),
            (r#"it says \"Mueller, Anna\" and more"#, "it says [quoted]"),
            (r#"it says "\"Mueller, Anna"#, "it says [quoted]"),
            ("at F1:00:00:00:00:01, gone", "at [address], gone"),
            ("/org/bluez/hci0/dev_F1_00_00_00_00_01/a", "/org/bluez/hci0/dev_[address]/a"),
            ("serial 00001234, port 8883", "serial [number], port 8883"),
            ("SN12345678", "SN[number]"),
            ("2026-11-22T10:11:12.123Z", "2026-11-22T10:11:12.123Z"),
            ("key 00112233445566778899aabbccddeeff!", "key [long]!"),
            ("/dev/serial/by-id/usb-FTDI_A50285BI-if00 is gone", "/dev/serial/by-id/[name] is gone"),
            ("pkcs11:token=ward?pin-value=1234", "pkcs11:[token]"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(mask().text(text), masked, "{text}");
        }
    }

    #[test]
    fn every_text_of_a_value_is_masked_and_numbers_stay() {
        let value = serde_json::json!({ "pump": ["\"a\"", 1_234_567, null, { "b": "F1:00:00:00:00:01" }] });
        let wanted = serde_json::json!({ "device-2": ["[quoted]", 1_234_567, null, { "b": "[address]" }] });
        assert_eq!(mask().value(&value), wanted);
    }
}
