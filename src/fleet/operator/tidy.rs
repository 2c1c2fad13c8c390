//! What nobody needs any more at the broker: bundles and advisories that stay retained for ever otherwise.
//!
//! In: what the broker retains. Out: the topics of which nothing is needed. What never goes: the bundle that is current
//! by the broker's timestamp or by ours, the one before it, and what any gateway reports as running (on a trial that
//! is its way back), whether its report is proven or not: who forges one keeps a bundle there, and no more. Nothing
//! goes while the broker's timestamp is not signed by our keys.

use std::collections::{BTreeMap, BTreeSet};

use super::broker::Broker;
use super::refused;
use crate::cli::exit::Failure;
use crate::fleet::documents::reported::Reported;
use crate::fleet::documents::{Bundle, Digest, Document as _};
use crate::fleet::dsse::Envelope;
use crate::fleet::topics::{self, Topic, What};

/// What is kept for a group, whoever runs it.
pub(super) struct Kept<'a> {
    pub(super) organisation: &'a str,
    pub(super) group: &'a str,
    /// The lowest version that a timestamp names: the broker's or ours.
    pub(super) current: u64,
}

/// A topic that nobody needs, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Needless {
    pub(super) topic: String,
    pub(super) why: &'static str,
}

/// The filters of everything that says what is needed.
pub(super) fn filters(organisation: &str) -> [String; 3] {
    [
        topics::every_bundle(organisation, "+"),
        topics::every_advisory(organisation),
        topics::every_report(organisation),
    ]
}

/// What nobody needs, of what the broker retains under [`filters`]. `named`: advisories that bundles in our folder name.
pub(super) fn needless(
    kept: &Kept<'_>,
    retained: &BTreeMap<String, Vec<u8>>,
    named: &BTreeSet<Digest>,
) -> Vec<Needless> {
    let mut running = BTreeSet::new();
    let mut versions = BTreeSet::new();
    let mut bundles = BTreeMap::new();
    let mut advisories = Vec::new();
    for (name, bytes) in retained {
        let Some(topic) = Topic::read(name).filter(|topic| topic.organisation() == kept.organisation) else {
            continue;
        };
        match topic.what() {
            What::Reported { .. } => {
                if let Some(one) = Reported::unproven(bytes).ok().and_then(|report| report.running) {
                    running.insert(one.sha256);
                    versions.insert(one.version);
                }
            }
            What::Bundle { group, version } => {
                bundles.insert((group.clone(), *version), (name, bytes));
            }
            What::Advisory(digest) => advisories.push((name, *digest)),
            What::Root(_) | What::Timestamp { .. } | What::Inventory { .. } => {}
        }
    }
    let of_group = |(group, version): &&(String, u64)| group == kept.group && *version < kept.current;
    let before = bundles.keys().filter(of_group).map(|(_, version)| *version).max();
    let is_old = |key: &(String, u64), bytes: &[u8]| {
        let is_run = running.contains(&Digest::of(bytes)) || versions.contains(&key.1);
        of_group(&key) && Some(key.1) != before && !is_run
    };
    let mut named = named.clone();
    let mut found = Vec::new();
    for (key, (name, bytes)) in &bundles {
        if is_old(key, bytes) {
            let why = "no timestamp names it, and no gateway runs it";
            found.push(Needless { topic: (*name).clone(), why });
        } else {
            named.extend(advisories_of(bytes));
        }
    }
    let unnamed = advisories.into_iter().filter(|(_, digest)| !named.contains(digest));
    found.extend(
        unnamed.map(|(name, _)| Needless { topic: name.clone(), why: "no bundle that is kept names it" }),
    );
    found
}

fn advisories_of(bytes: &[u8]) -> Vec<Digest> {
    let envelope = Envelope::parse(bytes, Bundle::CAP).ok();
    let bundle = envelope.and_then(|envelope| Bundle::read(envelope.payload()).ok());
    bundle.map(|bundle| bundle.advisories).unwrap_or_default()
}

/// Takes them away at the broker, and looks whether they are gone.
pub(super) fn clear(broker: &mut Broker, needless: &[Needless]) -> Result<(), Failure> {
    for one in needless {
        // MQTT 5 section 3.3.1.3: a retained publish of nothing takes away what was there.
        broker.retain(&one.topic, b"")?;
    }
    let filters: Vec<String> = needless.iter().map(|one| one.topic.clone()).collect();
    let there = broker.retained(&filters)?;
    let left = there.iter().find(|(topic, bytes)| filters.contains(topic) && !bytes.is_empty());
    left.map_or(Ok(()), |(topic, _)| {
        Err(refused(format!(
            "the broker still retains {topic}: somebody writes it there, or it clears nothing"
        )))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fleet::documents::reported;

    fn bundle(version: u64, advisories: &[Digest]) -> Vec<u8> {
        let document = json!({
            "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": version, "min_agent": "0.1.0",
            "not_before": "2026-11-22T00:00:00Z", "expires": "2027-05-01T00:00:00Z", "members": ["gw-1"],
            "advisories": advisories,
        });
        Envelope::new(Bundle::PAYLOAD_TYPE, serde_json::to_vec(&document).unwrap()).to_bytes()
    }

    fn report(version: u64, sha256: Digest) -> Vec<u8> {
        let text = include_str!("../documents/testdata/reported.json");
        let mut report: Value = serde_json::from_str(text).unwrap();
        report["running"] = json!({ "version": version, "sha256": sha256 });
        reported::sealed(serde_json::to_vec(&report).unwrap(), "nobody's", Vec::new())
    }

    /// Bundles 1 to 6, each with an advisory of its own; 6 is current.
    fn retained() -> BTreeMap<String, Vec<u8>> {
        let mut retained = BTreeMap::new();
        for version in 1..=6_u64 {
            let advisory = Digest::of(&[u8::try_from(version).unwrap()]);
            retained.insert(format!("c/v1/st-anna/g/icu-3/bundle/{version}"), bundle(version, &[advisory]));
            retained.insert(format!("c/v1/st-anna/advisory/{advisory}"), vec![1]);
        }
        retained
    }

    fn judged(retained: &BTreeMap<String, Vec<u8>>, current: u64, named: &[Digest]) -> Vec<String> {
        let kept = Kept { organisation: "st-anna", group: "icu-3", current };
        let named = named.iter().copied().collect();
        let found = needless(&kept, retained, &named);
        let short = |one: Needless| {
            let name = one.topic.trim_start_matches("c/v1/st-anna/").to_owned();
            let digest = name.strip_prefix("advisory/").map(str::to_owned);
            let number = digest.and_then(|text| (1..=6_u8).find(|n| Digest::of(&[*n]).to_string() == text));
            number.map_or(name, |number| format!("advisory of {number}"))
        };
        let mut found: Vec<String> = found.into_iter().map(short).collect();
        found.sort();
        found
    }

    #[test]
    fn the_current_one_the_one_before_and_what_runs_anywhere_stay() {
        let mut there = retained();
        let four = ["g/icu-3/bundle/1", "g/icu-3/bundle/2", "g/icu-3/bundle/3", "g/icu-3/bundle/4"];
        let advisories = ["advisory of 1", "advisory of 2", "advisory of 3", "advisory of 4"];
        let all: Vec<&str> = advisories.into_iter().chain(four).collect();
        assert_eq!(judged(&there, 6, &[]), all);
        // The broker's timestamp is behind ours: what it names is not old.
        assert_eq!(judged(&there, 3, &[]), ["advisory of 1", "g/icu-3/bundle/1"]);
        // One gateway still runs the second, by its digest; another, that went to another ward, says the number alone.
        let second = Digest::of(&there["c/v1/st-anna/g/icu-3/bundle/2"]);
        there.insert("c/v1/st-anna/gw/gw-1/reported".to_owned(), report(99, second));
        there.insert("c/v1/st-anna/gw/gw-2/reported".to_owned(), report(3, Digest::of(b"x")));
        assert_eq!(
            judged(&there, 6, &[Digest::of(&[4])]),
            ["advisory of 1", "g/icu-3/bundle/1", "g/icu-3/bundle/4"]
        );
    }

    #[test]
    fn what_is_of_another_group_or_newer_or_no_document_stays() {
        let mut there = BTreeMap::new();
        for name in [
            "g/icu-4/bundle/1",
            "g/icu-4/bundle/2",
            "g/icu-4/bundle/3",
            "g/icu-3/bundle/9",
            "root/1",
            "g/icu-3/ts",
        ] {
            there.insert(format!("c/v1/st-anna/{name}"), b"x".to_vec());
        }
        there.insert("c/v1/other/g/icu-3/bundle/1".to_owned(), b"x".to_vec());
        assert_eq!(judged(&there, 6, &[]), [""; 0]);
    }
    #[test]
    fn a_bundle_of_another_organisation_is_not_the_one_before_ours() {
        let mut there = retained();
        there.insert("c/v1/other/g/icu-3/bundle/2".to_owned(), b"x".to_vec());
        for version in [2_u64, 3, 4, 5, 6] {
            there.remove(&format!("c/v1/st-anna/g/icu-3/bundle/{version}"));
        }
        there.retain(|name, _| !name.contains("/advisory/"));
        assert_eq!(judged(&there, 6, &[]), [""; 0], "the first is still the one before");
    }

    #[test]
    fn what_a_bundle_of_another_group_names_stays() {
        let advisory = Digest::of(&[1]);
        let there = BTreeMap::from([
            (format!("c/v1/st-anna/advisory/{advisory}"), vec![1]),
            ("c/v1/st-anna/g/icu-4/bundle/1".to_owned(), bundle(1, &[advisory])),
        ]);
        assert_eq!(judged(&there, 6, &[]), [""; 0]);
    }
}
