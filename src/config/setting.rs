//! The `settings` of one device judged by the rows of its driver or its profiles.
//!
//! A secret is given by the place of its file, which is read by whom needs it and not here; whoever writes the
//! secret itself is told so, without repeating it.

use std::collections::BTreeMap;

use super::raw::SettingValue;
use super::scope::{Places, Scope};
use super::suggest;
use crate::device::catalogue::SerialModel;
use crate::device::settings::{Setting, Settings, Values};

/// What can be set for a device, and what it is called.
pub(super) type Rows<'a> = (&'a [Setting], &'a str);

/// A value for each row: what is given, and the default of the rest. `None` when something given does not fit.
pub(super) fn judge(
    scope: &mut Scope<'_>,
    raw: Option<&BTreeMap<String, SettingValue>>,
    rows: Rows<'_>,
    places: &Places,
) -> Option<Settings> {
    let mut settings = Settings::defaults(rows.0);
    let mut fits = true;
    for (name, value) in raw.into_iter().flatten() {
        let key = format!("settings.{name}");
        let set = match (row(rows, name), value) {
            (Ok(row), SettingValue::Word(text)) if row.values == Values::Secret && !is_itself(text) => {
                let Some(file) = scope.path(&key, Some(text), places) else {
                    fits = false;
                    continue;
                };
                settings.set_file(row, file)
            }
            (row, value) => row.and_then(|row| set(&mut settings, row, value)),
        };
        if let Err(wrong) = set {
            scope.problem(&key, wrong);
            fits = false;
        }
    }
    fits.then_some(settings)
}

/// Sets what `NAME=VALUE` says, as it is written on a command line.
pub fn set_from_text(settings: &mut Settings, model: &SerialModel, text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    let named = |wrong: String| format!("{name} {wrong}");
    let row = row((model.settings, model.name), name).map_err(named)?;
    let value = match (row.values, value.parse()) {
        (Values::Number { .. }, Ok(number)) => SettingValue::Number(number),
        (Values::Number { .. }, Err(_)) | (Values::Word(_) | Values::Secret, _) => {
            SettingValue::Word(value.to_owned())
        }
    };
    set(settings, row, &value).map_err(named)
}

/// Whether a secret was written down instead of the place of its file: no such file is called by digits, blanks and
/// signs alone. Everything with a letter or in a folder may be one.
fn is_itself(text: &str) -> bool {
    !text.chars().any(|sign| sign.is_alphabetic() || sign == '/')
}

fn set(settings: &mut Settings, row: &Setting, value: &SettingValue) -> Result<(), String> {
    match value {
        _ if row.values == Values::Secret => {
            Err(format!("{}: what it holds has no place in the configuration", row.bounds()))
        }
        SettingValue::Number(given) => {
            settings.set_number(row, *given).map_err(|bounds| format!("is {given}, but {bounds}"))
        }
        SettingValue::Word(given) => settings.set_word(row, given).map_err(|bounds| {
            let near = match row.values {
                Values::Word(words) => suggest::near(given, words.iter().copied()),
                Values::Number { .. } | Values::Secret => None,
            };
            let hint = near.map(|near| format!(": did you mean {near:?}?")).unwrap_or_default();
            format!("is {given:?}, but {bounds}{hint}")
        }),
    }
}

fn row<'a>((rows, of): Rows<'a>, name: &str) -> Result<&'a Setting, String> {
    rows.iter().find(|row| row.name == name).ok_or_else(|| {
        if rows.is_empty() {
            return format!("is not a setting of {of}, which has none");
        }
        let near = suggest::nearest(name, rows.iter().map(|row| row.name));
        format!("is not a setting of {of}{near}")
    })
}
