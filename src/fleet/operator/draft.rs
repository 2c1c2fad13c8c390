//! A bundle as a person writes it: TOML, `[[device]]` as in `devices.d` with `gateways = [...]`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml_edit::DocumentMut;

use crate::fleet::advisories::Policy;
use crate::fleet::documents::{Bundle, Digest, Document as _, SCHEMA, Stamp, Table, Transfer};

/// What a ward's first draft says.
const TEMPLATE: &str = include_str!("draft.toml");

/// How `toml_edit` names a date that is no text, for those who do not know it.
const DATE: &str = "$__toml_private_datetime";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    group: String,
    version: u64,
    min_agent: String,
    not_before: Stamp,
    expires: Stamp,
    members: Vec<String>,
    #[serde(default)]
    transfer: Vec<Transfer>,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    device: Vec<Map<String, Value>>,
    #[serde(default)]
    line_driver: Vec<Map<String, Value>>,
    /// Files beside the draft, or digests of documents that went out before.
    #[serde(default)]
    advisories: Vec<String>,
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    advisory_policy: Policy,
    /// Files below the draft's folder, or lists as base64 of their DER.
    #[serde(default)]
    revocations: Vec<String>,
}

/// What goes into a draft that is new, or made new from the one before.
pub(super) struct Head<'a> {
    pub(super) group: &'a str,
    pub(super) version: u64,
    pub(super) members: &'a [String],
    pub(super) not_before: Stamp,
    pub(super) expires: Stamp,
}

/// The first draft of a ward.
pub(super) fn first(head: &Head<'_>) -> Result<String, String> {
    changed(TEMPLATE, head, true)
}

/// The next draft after one that was signed: everything stays, comments too, but version and dates.
pub(super) fn next(text: &str, head: &Head<'_>) -> Result<String, String> {
    changed(text, head, false)
}

fn changed(text: &str, head: &Head<'_>, with_members: bool) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let stamp =
        |stamp: Stamp| serde_json::to_value(stamp).ok().and_then(|value| value.as_str().map(str::to_owned));
    let version = i64::try_from(head.version).map_err(|_| "the version is too high".to_owned())?;
    let mut put = |key: &str, value: toml_edit::Value| {
        // In place, so that what stands before and after it stays.
        match document.get_mut(key).and_then(toml_edit::Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => {
                document.insert(key, toml_edit::value(value));
            }
        }
    };
    put("version", version.into());
    put("not_before", stamp(head.not_before).unwrap_or_default().into());
    put("expires", stamp(head.expires).unwrap_or_default().into());
    if with_members {
        put("group", head.group.into());
        put("min_agent", env!("CARGO_PKG_VERSION").into());
        put("members", head.members.iter().map(String::as_str).collect::<toml_edit::Array>().into());
    }
    Ok(document.to_string())
}

/// The content of a bundle as a draft.
pub(super) fn restored(bundle: &Bundle, head: &Head<'_>) -> Result<String, String> {
    let tables = |tables: &[Table]| tables.iter().map(|table| table.0.clone()).collect();
    let draft = Draft {
        group: head.group.to_owned(),
        version: head.version,
        min_agent: bundle.min_agent.clone(),
        not_before: head.not_before,
        expires: head.expires,
        members: head.members.to_vec(),
        transfer: bundle.transfers.clone(),
        settings: bundle.settings.0.clone(),
        device: tables(&bundle.devices),
        line_driver: tables(&bundle.line_drivers),
        advisories: bundle.advisories.iter().map(Digest::to_string).collect(),
        advisory_policy: bundle.advisory_policy.clone(),
        revocations: bundle.revocations.clone(),
    };
    let text = toml_edit::ser::to_string_pretty(&draft).map_err(|error| error.to_string())?;
    Ok(format!(
        "# The content of bundle {}, to be signed as bundle {}.\n{text}",
        bundle.version, head.version
    ))
}

/// What stands beside a draft: gives what its files are, by the names that the draft has for them. Errors are in words.
pub(super) struct Beside<'a> {
    /// The digest of an advisory's file.
    pub(super) advisory: &'a dyn Fn(&str) -> Result<Digest, String>,
    /// The revocation lists that an entry means, each as base64 of its DER.
    pub(super) revocation: &'a dyn Fn(&str) -> Result<Vec<String>, String>,
}

/// The version that a draft says, whatever stands beside it now.
pub(super) fn version(text: &str) -> Result<u64, String> {
    toml_edit::de::from_str(text).map(|draft: Draft| draft.version).map_err(|error| error.to_string())
}

/// Reads a draft as the bundle that it would be, judged as a gateway judges one.
pub(super) fn read(text: &str, organisation: &str, beside: &Beside<'_>) -> Result<Bundle, String> {
    let draft: Draft = toml_edit::de::from_str(text).map_err(|error| error.to_string())?;
    let tables = draft.device.iter().chain(&draft.line_driver).chain([&draft.settings]);
    if tables.flat_map(Map::values).any(has_date) {
        return Err("has a date outside quotes: write it as text, \"2026-11-22\"".to_owned());
    }
    let digest = |name: &String| match serde_json::from_value(Value::from(name.as_str())) {
        Ok(digest) => Ok(digest),
        Err(_) => (beside.advisory)(name),
    };
    let advisories = draft.advisories.iter().map(digest).collect::<Result<_, String>>()?;
    let mut revocations = Vec::new();
    for entry in &draft.revocations {
        revocations.extend((beside.revocation)(entry)?);
    }
    let list = |tables: Vec<Map<String, Value>>| tables.into_iter().map(Table).collect();
    let bundle = Bundle {
        schema: SCHEMA,
        organisation: organisation.to_owned(),
        group: draft.group,
        version: draft.version,
        min_agent: draft.min_agent,
        not_before: draft.not_before,
        expires: draft.expires,
        members: draft.members,
        transfers: draft.transfer,
        settings: Table(draft.settings),
        devices: list(draft.device),
        line_drivers: list(draft.line_driver),
        advisories,
        advisory_policy: draft.advisory_policy,
        revocations,
    };
    Bundle::read(&payload(&bundle))
}

/// The bytes that are signed.
pub(super) fn payload(bundle: &Bundle) -> Vec<u8> {
    // Text, numbers and tables of them: there is nothing that could not be written.
    serde_json::to_vec_pretty(bundle).unwrap_or_default()
}

fn has_date(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.contains_key(DATE) || map.values().any(has_date),
        Value::Array(list) => list.iter().any(has_date),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    /// A draft whose advisories are known by their names.
    fn read(text: &str, organisation: &str) -> Result<Bundle, String> {
        let advisory = |name: &str| match name {
            "icsma.json" => Ok(Digest::of(b"icsma")),
            _ => Err(format!("{name} is not there")),
        };
        let revocation = |name: &str| Err(format!("{name} is not there"));
        super::read(text, organisation, &Beside { advisory: &advisory, revocation: &revocation })
    }

    fn stamp(text: &str) -> Stamp {
        Stamp(Wall::read(text).unwrap())
    }

    fn head(members: &[String], version: u64) -> Head<'_> {
        let (not_before, expires) = (stamp("2026-11-22"), stamp("2027-05-22"));
        Head { group: "icu-3", version, members, not_before, expires }
    }

    #[test]
    fn the_first_draft_is_a_bundle_and_the_next_keeps_every_comment() {
        let members = ["gw-1".to_owned(), "gw-2".to_owned()];
        let text = first(&head(&members, 1)).unwrap();
        let bundle = read(&text, "st-anna").unwrap();
        assert_eq!((bundle.version, bundle.group.as_str(), &bundle.members[..]), (1, "icu-3", &members[..]));
        assert!(bundle.devices.is_empty());
        let edited = text.replace("#[[device]]", "# of bed 3\n[[device]]\ngateways = [\"gw-1\"] # here\n#");
        let after = next(&edited, &head(&[], 2)).unwrap();
        assert_eq!(after.lines().count(), edited.lines().count());
        assert!(after.contains("# of bed 3") && after.contains("# here"));
        let bundle = read(&after, "st-anna").unwrap();
        assert_eq!((bundle.version, bundle.members.len(), bundle.devices.len()), (2, 2, 1));
    }

    #[test]
    fn what_the_commented_lines_say_is_a_device() {
        let text = first(&head(&["gw-1".to_owned()], 1)).unwrap();
        let (before, example) = text.split_once("#[[device]]").unwrap();
        let example = example.replace("\n#", "\n").replace("GATEWAY", "gw-1");
        let bundle = read(&format!("{before}[[device]]{example}"), "st-anna").unwrap();
        assert_eq!(bundle.devices[0].0["gateways"], serde_json::json!(["gw-1"]));
    }

    #[test]
    fn a_bundle_becomes_a_draft_of_the_same_content() {
        let text = first(&head(&["gw-1".to_owned()], 3)).unwrap().replace(
            "#[[device]]",
            "[[device]]\ngateways = [\"gw-1\"]\nid = \"a\"\nexpects = { serial = \"1\" }\n#[[device]]",
        );
        let text = text.replace("#[settings.uplink]", "[settings.uplink]\nheartbeat = \"30s\"\n#");
        let before = read(&text, "st-anna").unwrap();
        assert_eq!(before.devices.len(), 1);
        let again = restored(&before, &head(&["gw-1".to_owned()], 5)).unwrap();
        assert!(again.contains("[[device]]") && again.contains("[settings.uplink]"), "{again}");
        let after = read(&again, "st-anna").unwrap();
        assert_eq!(after, Bundle { version: 5, ..before });
    }

    #[test]
    fn an_advisory_is_named_by_its_file_or_its_digest() {
        let text = first(&head(&["gw-1".to_owned()], 1)).unwrap();
        let digest = Digest::of(b"old");
        let with =
            |advisories: &str| text.replace("members =", &format!("advisories = {advisories}\nmembers ="));
        let bundle = read(&with(&format!("[\"icsma.json\", \"{digest}\"]")), "st-anna").unwrap();
        assert_eq!(bundle.advisories, [Digest::of(b"icsma"), digest]);
        assert_eq!(read(&with("[\"other.json\"]"), "st-anna").unwrap_err(), "other.json is not there");
        let twice = read(&with(&format!("[\"icsma.json\", \"{}\"]", Digest::of(b"icsma"))), "st-anna");
        assert!(twice.unwrap_err().contains("names an advisory twice"));
        let rule = "\n[[advisory_policy.waivers]]\nadvisory = \"ICSMA-17-017-02\"\nfor = { maker = \"BD\" }\nuntil = \"2027-05-01T00:00:00Z\"\n\
            reason = \"no network\"\nby = \"M. Weber\"\n";
        let bundle = read(&format!("{text}{rule}"), "st-anna").unwrap();
        assert_eq!(bundle.advisory_policy.waivers.len(), 1);
        let again = restored(&bundle, &head(&["gw-1".to_owned()], 2)).unwrap();
        assert_eq!(read(&again, "st-anna").unwrap(), Bundle { version: 2, ..bundle });
        let nameless = read(&format!("{text}{}", rule.replace("no network", " ")), "st-anna");
        assert!(nameless.unwrap_err().contains("reason"));
        let quarantine =
            "\n[[advisory_policy.quarantine]]\nfor = { maker = \"BD\" }\nreason = \"r\"\nby = \"M. Weber\"\n";
        let bundle = read(&format!("{text}{quarantine}"), "st-anna").unwrap();
        assert_eq!(bundle.advisory_policy.quarantine.len(), 1);
    }

    #[test]
    fn a_slip_of_the_pen_is_named() {
        let text = first(&head(&["gw-1".to_owned()], 1)).unwrap();
        let refused = |text: String| read(&text, "st-anna").unwrap_err();
        assert!(refused(text.replace("members", "member")).contains("member"));
        assert!(refused(text.replace("version = 1", "version = 0")).contains("version"));
        assert!(
            refused(format!("{text}\n[settings.daemon]\nlog = 2026-11-22")).contains("date outside quotes")
        );
    }
    #[test]
    fn a_date_outside_quotes_is_found_wherever_it_stands() {
        let text = first(&head(&["gw-1".to_owned()], 1)).unwrap();
        for table in [
            "[[device]]\nbought = 2026-11-22",
            "[[device]]\nserved = [\"2026\", 2026-11-22]",
            "[[line_driver]]\nname = { since = 2026-11-22 }",
        ] {
            let refused = read(&format!("{text}\n{table}\n"), "st-anna").unwrap_err();
            assert!(refused.contains("date outside quotes"), "{table}: {refused}");
        }
    }

    #[test]
    fn the_next_draft_has_its_own_dates_and_what_stands_behind_them_stays() {
        let text = first(&head(&["gw-1".to_owned()], 1)).unwrap();
        let marked = text.replace("version = 1", "version = 1 # counted by hand");
        let (not_before, expires) = (stamp("2027-01-01"), stamp("2027-07-01"));
        let head = Head { group: "other", version: 2, members: &[], not_before, expires };
        let after = next(&marked, &head).unwrap();
        assert!(after.contains("version = 2 # counted by hand"), "{after}");
        let bundle = read(&after, "st-anna").unwrap();
        assert_eq!((bundle.not_before, bundle.expires), (not_before, expires));
        assert_eq!(bundle.group, "icu-3", "a draft stays in its group");
    }

    #[test]
    fn a_draft_made_of_a_bundle_keeps_transfers_drivers_and_lists() {
        let text = first(&head(&["gw-1".to_owned()], 3)).unwrap();
        let driver = Map::from_iter([("name".to_owned(), Value::from("own"))]);
        let bundle = Bundle {
            min_agent: "0.0.9".to_owned(),
            transfers: vec![Transfer { gateway: "gw-2".to_owned(), to: "icu-4".to_owned() }],
            line_drivers: vec![Table(driver.clone())],
            revocations: vec!["AAAA".to_owned()],
            ..read(&text, "st-anna").unwrap()
        };
        let again = restored(&bundle, &head(&["gw-1".to_owned()], 5)).unwrap();
        let again: Draft = toml_edit::de::from_str(&again).unwrap();
        assert_eq!((again.min_agent.as_str(), again.version), ("0.0.9", 5));
        assert_eq!((again.transfer, again.line_driver), (bundle.transfers, vec![driver]));
        assert_eq!(again.revocations, bundle.revocations);
    }
}
