//! What a bundle changes, gateway by gateway: what starts, what stops, what is set otherwise.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fleet::documents::{Bundle, Table};

/// Between the last bundle that went out and this one.
#[derive(Debug, Serialize)]
pub(super) struct Diff {
    pub(super) group: String,
    /// None: the ward had no bundle.
    pub(super) from: Option<u64>,
    pub(super) to: u64,
    /// Gateways that were no members.
    pub(super) joins: Vec<String>,
    /// Gateways that are members no longer.
    pub(super) leaves: Vec<String>,
    /// Settings, which are the whole ward's.
    pub(super) settings: Vec<Setting>,
    pub(super) gateways: Vec<Gateway>,
    /// Devices that no gateway of the ward has any more.
    pub(super) removed: Vec<String>,
    /// How many there were.
    pub(super) devices_before: usize,
    /// Whether the site's own drivers, advisories or revocations differ.
    pub(super) others: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) from: Option<Value>,
    pub(super) to: Option<Value>,
}

/// What a gateway will do otherwise.
#[derive(Debug, Serialize)]
pub(super) struct Gateway {
    #[serde(rename = "gateway")]
    pub(super) id: String,
    pub(super) starts: Vec<String>,
    pub(super) stops: Vec<String>,
    pub(super) changes: Vec<Device>,
}

#[derive(Debug, Serialize)]
pub(super) struct Device {
    pub(super) device: String,
    pub(super) keys: Vec<Setting>,
}

type Devices<'a> = BTreeMap<String, &'a Map<String, Value>>;

/// What `new` changes.
pub(super) fn diff(old: Option<&Bundle>, new: &Bundle) -> Diff {
    let (before, after) = (members(old), members(Some(new)));
    let (had, has) = (devices(old, None), devices(Some(new), None));
    let gateways = before.union(&after).map(|gateway| {
        let (had, has) = (devices(old, Some(gateway)), devices(Some(new), Some(gateway)));
        let changes = has.iter().filter_map(|(id, now)| {
            let keys = settings(had.get(id)?, now, &["gateways"]);
            (!keys.is_empty()).then(|| Device { device: id.clone(), keys })
        });
        Gateway {
            id: gateway.clone(),
            starts: has.keys().filter(|id| !had.contains_key(*id)).cloned().collect(),
            stops: had.keys().filter(|id| !has.contains_key(*id)).cloned().collect(),
            changes: changes.collect(),
        }
    });
    let nothing = Map::new();
    Diff {
        group: new.group.clone(),
        from: old.map(|old| old.version),
        to: new.version,
        joins: after.difference(&before).cloned().collect(),
        leaves: before.difference(&after).cloned().collect(),
        settings: settings(old.map_or(&nothing, |old| &old.settings.0), &new.settings.0, &[]),
        gateways: gateways
            .filter(|one| !(one.starts.is_empty() && one.stops.is_empty() && one.changes.is_empty()))
            .collect(),
        removed: had.keys().filter(|id| !has.contains_key(*id)).cloned().collect(),
        devices_before: had.len(),
        others: others(old, new),
    }
}

fn others(old: Option<&Bundle>, new: &Bundle) -> Vec<&'static str> {
    let differs = [
        ("line_driver", old.map_or(&[][..], |old| &old.line_drivers) != new.line_drivers),
        ("transfer", old.map_or(&[][..], |old| &old.transfers) != new.transfers),
        ("advisories", old.map_or(&[][..], |old| &old.advisories) != new.advisories),
        ("revocations", old.map_or(&[][..], |old| &old.revocations) != new.revocations),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn members(bundle: Option<&Bundle>) -> BTreeSet<String> {
    bundle.map(|bundle| bundle.members.iter().cloned().collect()).unwrap_or_default()
}

/// The devices by id; of one gateway, or of any.
fn devices<'a>(bundle: Option<&'a Bundle>, gateway: Option<&str>) -> Devices<'a> {
    let tables = bundle.map_or(&[][..], |bundle| &bundle.devices).iter().enumerate();
    let has = |Table(device): &&Table| {
        gateway.is_none_or(|gateway| {
            let list = device.get("gateways").and_then(Value::as_array);
            list.is_some_and(|list| list.iter().any(|one| one.as_str() == Some(gateway)))
        })
    };
    let named = |(place, table): (usize, &'a Table)| {
        let id = table.0.get("id").and_then(Value::as_str).map_or_else(|| format!("#{place}"), str::to_owned);
        (id, &table.0)
    };
    tables.filter(|(_, table)| has(table)).map(named).collect()
}

/// What differs, key by key.
fn settings(old: &Map<String, Value>, new: &Map<String, Value>, without: &[&str]) -> Vec<Setting> {
    let (old, new) = (leaves(old), leaves(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| !without.contains(&key.as_str()) && old.get(*key) != new.get(*key))
        .map(|key| Setting { key: key.clone(), from: old.get(key).cloned(), to: new.get(key).cloned() })
        .collect()
}

fn leaves(map: &Map<String, Value>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (key, value) in map {
        match value {
            Value::Object(inner) => {
                found.extend(leaves(inner).into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                found.insert(key.clone(), value.clone());
            }
        }
    }
    found
}

impl Diff {
    /// In words, a line each.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![match self.from {
            Some(from) => format!("{}: from bundle {from} to bundle {}", self.group, self.to),
            None => format!("{}: bundle {} is the first", self.group, self.to),
        }];
        lines.extend(self.joins.iter().map(|gateway| format!("{gateway} joins")));
        lines.extend(
            self.leaves
                .iter()
                .map(|gateway| format!("{gateway} leaves: it takes no bundle of this group any more")),
        );
        lines.extend(self.settings.iter().map(|setting| format!("all: {}", setting.words())));
        for Gateway { id: gateway, starts, stops, changes } in &self.gateways {
            lines.extend(stops.iter().map(|id| format!("{gateway}: {id} STOPS")));
            lines.extend(starts.iter().map(|id| format!("{gateway}: {id} starts")));
            for Device { device, keys } in changes {
                lines.extend(keys.iter().map(|key| format!("{gateway}: {device}: {}", key.words())));
            }
        }
        lines.extend(self.others.iter().map(|name| format!("all: {name} differs")));
        if !self.removed.is_empty() {
            lines.push(format!(
                "{} of {} devices are removed: {}",
                self.removed.len(),
                self.devices_before,
                self.removed.join(", ")
            ));
        }
        if lines.len() == 1 && self.from.is_some() {
            lines.push("nothing changes but version and dates".to_owned());
        }
        lines
    }
}

impl Setting {
    fn words(&self) -> String {
        let show =
            |value: &Option<Value>| value.as_ref().map_or_else(|| "unset".to_owned(), Value::to_string);
        format!("{} from {} to {}", self.key, show(&self.from), show(&self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::{Digest, Document as _, Transfer};

    fn bundle(version: u64, members: &str, rest: &str) -> Bundle {
        let text = format!(
            r#"{{"schema":1,"organisation":"st-anna","group":"icu-3","version":{version},"min_agent":"0.1.0",
            "not_before":"2026-11-01T00:00:00Z","expires":"2027-11-01T00:00:00Z","members":{members},{rest}}}"#
        );
        Bundle::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_starts_stops_and_changes_is_told_by_gateway() {
        let old = bundle(
            1,
            r#"["gw-1","gw-2"]"#,
            r#""settings":{"daemon":{"log":"info"}},"devices":[{"id":"a","x":{"y":1},"gateways":["gw-1"]},
            {"id":"b","gateways":["gw-1","gw-2"]},{"id":"c","gateways":["gw-2"]}]"#,
        );
        let new = bundle(
            2,
            r#"["gw-1","gw-3"]"#,
            r#""devices":[{"id":"a","x":{"y":2},"gateways":["gw-1"]},{"id":"b","gateways":["gw-3"]}]"#,
        );
        let diff = diff(Some(&old), &new);
        let expected = [
            "icu-3: from bundle 1 to bundle 2",
            "gw-3 joins",
            "gw-2 leaves: it takes no bundle of this group any more",
            "all: daemon.log from \"info\" to unset",
            "gw-1: b STOPS",
            "gw-1: a: x.y from 1 to 2",
            "gw-2: b STOPS",
            "gw-2: c STOPS",
            "gw-3: b starts",
            "1 of 3 devices are removed: c",
        ];
        assert_eq!(diff.lines(), expected);
    }

    #[test]
    fn nothing_is_told_as_nothing() {
        let (one, two) = (bundle(1, "[]", r#""devices":[]"#), bundle(2, "[]", r#""devices":[]"#));
        assert_eq!(diff(Some(&one), &two).lines().last().unwrap(), "nothing changes but version and dates");
        assert_eq!(diff(None, &one).lines(), ["icu-3: bundle 1 is the first"]);
    }
    #[test]
    fn what_is_not_shown_line_by_line_is_named_when_it_differs() {
        let one = bundle(1, "[]", r#""devices":[]"#);
        let last = |new: Bundle| diff(Some(&one), &new).lines().pop().unwrap();
        let own = Map::from_iter([("name".to_owned(), Value::from("own"))]);
        assert_eq!(
            last(Bundle { line_drivers: vec![Table(own)], ..one.clone() }),
            "all: line_driver differs"
        );
        let transfer = Transfer { gateway: "gw-1".to_owned(), to: "icu-4".to_owned() };
        assert_eq!(last(Bundle { transfers: vec![transfer], ..one.clone() }), "all: transfer differs");
        let advisories = vec![Digest::of(b"one")];
        assert_eq!(last(Bundle { advisories, ..one.clone() }), "all: advisories differs");
        let revocations = vec!["AAAA".to_owned()];
        assert_eq!(last(Bundle { revocations, ..one.clone() }), "all: revocations differs");
    }
}
