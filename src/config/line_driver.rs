//! The `[[line_driver]]` of all files judged: devices that the site describes itself.
//!
//! What a description may say is judged where it is read (`device::serial::site_line`); here its problems get
//! their file and key, and its name becomes one that a `[[device]]` of any file can refer to.

use std::collections::BTreeMap;

use super::scope::{Places, Scope};
use super::{Catalogue, suggest};
use crate::device::catalogue::SerialModel;
use crate::device::serial::site_line::{self, RawDescription};

/// The table's name.
pub(super) const TABLE: &str = "line_driver";

/// The most descriptions of one gateway. Each lives as long as the program.
const MOST: usize = 64;

/// The drivers that a `[[device]]` may name: the catalogue's, and those that the site describes.
pub(super) struct Drivers<'a> {
    pub(super) catalogue: &'a Catalogue,
    /// What the paths of devices are resolved against.
    pub(super) places: &'a Places,
    described: BTreeMap<String, Described>,
}

/// One description.
struct Described {
    /// Where it stands, in words.
    place: String,
    /// `None` when something is wrong with it, which was said.
    model: Option<&'static SerialModel>,
    is_used: bool,
}

/// What a driver's name stands for.
pub(super) enum Named {
    /// A driver.
    Model(&'static SerialModel),
    /// A description that something is wrong with, which was said.
    Refused,
    /// Nothing; and what the name may have been meant to be.
    Unknown(String),
}

impl<'a> Drivers<'a> {
    pub(super) const fn new(catalogue: &'a Catalogue, places: &'a Places) -> Self {
        Self { catalogue, places, described: BTreeMap::new() }
    }

    /// Judges one description.
    pub(super) fn judge(&mut self, scope: &mut Scope<'_>) {
        let raw: RawDescription = scope.read();
        let judged = raw.judge();
        let name = raw.name.map(|name| format!("{}{name}", site_line::PREFIX));
        if self.described.len() == MOST && name.as_ref().is_none_or(|name| !self.described.contains_key(name))
        {
            scope.problem("name", format!("is one too many: at most {MOST} descriptions on one gateway"));
            return;
        }
        let other = name.as_ref().and_then(|name| Some((name, self.described.get(name)?)));
        if let Some((name, other)) = other {
            scope.problem("name", format!("{name} is taken by {}: give it another name", other.place));
        }
        let is_taken = other.is_some();
        let model = match judged {
            // What could not be read counts as wrong, also where the rest could do without it.
            Ok(description) => scope.is_well().then(|| description.model()),
            Err(problems) => {
                let keyed = problems.into_iter().map(|problem| (from_zero(&problem.key), problem.reason));
                // What follows from a key that could not be read need not be said again.
                let news: Vec<_> = keyed.filter(|(key, _)| !scope.is_known_wrong(key)).collect();
                for (key, reason) in news {
                    scope.problem(&key, reason);
                }
                None
            }
        };
        if let (Some(name), false) = (name, is_taken) {
            self.described.insert(name, Described { place: scope.name(), model, is_used: false });
        }
    }

    /// What a driver's name stands for. It counts as used.
    pub(super) fn named(&mut self, name: &str) -> Named {
        if let Some(described) = self.described.get_mut(name) {
            described.is_used = true;
            return described.model.map_or(Named::Refused, Named::Model);
        }
        if let Some(model) = self.catalogue.serial.iter().copied().find(|model| model.name == name) {
            return Named::Model(model);
        }
        let catalogue = self.catalogue.serial.iter().map(|model| model.name);
        if !name.starts_with(site_line::PREFIX) {
            return Named::Unknown(suggest::nearest(
                name,
                catalogue.chain(self.described.keys().map(String::as_str)),
            ));
        }
        if self.described.is_empty() {
            return Named::Unknown(format!(
                ": no file has a [[{TABLE}]] with name = {:?}",
                name.strip_prefix(site_line::PREFIX).unwrap_or_default()
            ));
        }
        Named::Unknown(suggest::nearest(name, self.described.keys().map(String::as_str)))
    }

    /// The names of descriptions that no device has.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        self.described.iter().filter(|(_, described)| !described.is_used).map(|(name, _)| name.as_str())
    }

    /// The drivers that the site describes.
    pub(super) fn described(&self) -> Vec<&'static SerialModel> {
        self.described.values().filter_map(|described| described.model).collect()
    }
}

/// A description's problems count places from 1 and in brackets, a configuration's from 0 and after a dot:
/// `line[2].field[1].at` is `line.1.field.0.at`.
fn from_zero(key: &str) -> String {
    let part = |part: &str| match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
        Some((list, place)) => match place.parse::<usize>() {
            Ok(place) => format!("{list}.{}", place.saturating_sub(1)),
            Err(_) => part.to_owned(),
        },
        None => part.to_owned(),
    };
    key.split('.').map(part).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::from_zero;

    #[test]
    fn places_are_counted_as_in_every_other_key() {
        for (given, shown) in [
            ("line[2].field[1].metric", "line.1.field.0.metric"),
            ("poll[1]", "poll.0"),
            ("frame.ends", "frame.ends"),
            ("name", "name"),
        ] {
            assert_eq!(from_zero(given), shown);
        }
    }
}
