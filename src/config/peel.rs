//! From a tree of values to a raw struct, naming every key that does not fit.
//!
//! serde stops at the first error. So: try, note the error, take the key it names out of the tree,
//! try again. What remains in the end is everything that was good.

use figment::error::{Actual, Kind};
use figment::value::{Dict, Empty, Value};
use serde::de::DeserializeOwned;

use super::problem::MAX_PROBLEMS;
use super::suggest;

/// What an entry of a list is replaced by, one after another: nothing, an empty table, text, a number.
const STAND_INS: usize = 4;

/// Reads `T` out of `values`, calling `report` with the path of, the value at, and the reason against
/// each key that does not fit.
pub(super) fn peel<T: DeserializeOwned + Default>(
    mut values: Value,
    mut report: impl FnMut(&[String], Option<&Value>, String),
) -> T {
    let mut reported: Vec<Vec<String>> = Vec::new();
    // Every round but a few takes one key out. More rounds than problems that are kept would only count.
    for _ in 0..MAX_PROBLEMS * STAND_INS {
        let error = match T::deserialize(&values) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let is_news = !reported.contains(&error.path);
        if is_news {
            report(&error.path, at(&values, &error.path), reason(&error.kind));
            reported.push(error.path.clone());
        }
        if reported.len() > MAX_PROBLEMS || !take_out(&mut values, &error.path, is_news) {
            break;
        }
    }
    T::default()
}

/// The value at a path.
fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return Some(value) };
    if let Some(dict) = value.as_dict() {
        return at(dict.get(first)?, rest);
    }
    at(value.as_array()?.get(first.parse::<usize>().ok()?)?, rest)
}

/// Takes a key out of its table. An entry of a list becomes empty, so that the others keep their
/// numbers; where that does not fit, what may. Whether there was something to take out.
fn take_out(value: &mut Value, path: &[String], is_news: bool) -> bool {
    let Some((first, rest)) = path.split_first() else { return false };
    match value {
        Value::Dict(_, dict) => {
            if rest.is_empty() {
                return dict.remove(first).is_some();
            }
            dict.get_mut(first).is_some_and(|inner| take_out(inner, rest, is_news))
        }
        Value::Array(_, list) => {
            let Some(entry) = first.parse::<usize>().ok().and_then(|place| list.get_mut(place)) else {
                return false;
            };
            if !rest.is_empty() {
                return take_out(entry, rest, is_news);
            }
            let stand_in = if is_news { Some(Value::Empty(entry.tag(), Empty::None)) } else { next(entry) };
            stand_in.map(|stand_in| *entry = stand_in).is_some()
        }
        Value::String(..) | Value::Char(..) | Value::Bool(..) | Value::Num(..) | Value::Empty(..) => false,
    }
}

/// What can stand for an entry of a list where this does not fit.
fn next(stand_in: &Value) -> Option<Value> {
    match stand_in {
        Value::Empty(tag, _) => Some(Value::Dict(*tag, Dict::new())),
        Value::Dict(tag, _) => Some(Value::String(*tag, String::new())),
        Value::String(tag, _) => Some(Value::Num(*tag, 0_i64.into())),
        Value::Num(..) | Value::Char(..) | Value::Bool(..) | Value::Array(..) => None,
    }
}

/// A person's words for what serde found.
fn reason(kind: &Kind) -> String {
    if let Kind::UnknownField(key, known) = kind {
        let hint = suggest::nearest(key, known.iter().copied());
        return format!("is not a key that is known here{hint}");
    }
    if let Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) = kind {
        return format!("is {}, but must be {}", shown(found), wanted(expected));
    }
    kind.to_string()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "figment shows the rest as well as can be")]
fn shown(found: &Actual) -> String {
    match found {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Str(value) => format!("the text {value:?}"),
        Actual::Map => "a table".to_owned(),
        Actual::Seq => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// serde's names of Rust types, in words.
fn wanted(expected: &str) -> &str {
    match expected {
        "a string" => "text in double quotes",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a sequence" => "a list in square brackets",
        _ if expected.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The leaves of a tree in the order of their keys, with their paths.
pub(super) fn leaves(dict: &Dict) -> Vec<(String, &Value)> {
    fn walk<'a>(prefix: &str, dict: &'a Dict, found: &mut Vec<(String, &'a Value)>) {
        for (key, value) in dict {
            let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            let tables: Option<Vec<&Dict>> =
                value.as_array().and_then(|list| list.iter().map(Value::as_dict).collect());
            match (value.as_dict(), tables) {
                (Some(inner), _) => walk(&path, inner, found),
                (None, Some(tables)) if !tables.is_empty() => {
                    for (place, inner) in tables.into_iter().enumerate() {
                        walk(&format!("{path}.{place}"), inner, found);
                    }
                }
                (None, _) => found.push((path, value)),
            }
        }
    }
    let mut found = Vec::new();
    walk("", dict, &mut found);
    found
}

/// A value as TOML writes it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Char(_, c) => format!("{:?}", c.to_string()),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| number.to_u128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string()))
            .unwrap_or_default(),
        Value::Empty(..) => "(nothing)".to_owned(),
        Value::Dict(_, dict) => {
            let inner: Vec<String> =
                dict.iter().map(|(key, value)| format!("{key} = {}", show(value))).collect();
            format!("{{ {} }}", inner.join(", "))
        }
        Value::Array(_, list) => format!("[{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")),
    }
}
