//! The topics of the fleet's documents, all retained: what the operator publishes and what a gateway answers.
//!
//! ```text
//!  c/v1/{organisation}/root/{n}                 every root
//!  c/v1/{organisation}/g/{group}/bundle/{v}     every bundle that may still be asked for
//!  c/v1/{organisation}/g/{group}/ts             the timestamp: what is current
//!  c/v1/{organisation}/gw/{gateway}/reported    what a gateway says of itself
//!  c/v1/{organisation}/gw/{gateway}/inventory   what stands there: the gateway and its devices
//!  c/v1/{organisation}/advisory/{sha256}        an advisory, byte by byte as it was published
//! ```
//!
//! In: names. Out: a topic, or what a topic is. What never happens: a name that is none becomes a level, a number is
//! written in two ways.

use std::fmt;

use super::documents::{Digest, is_name};
use super::hex;

/// What every topic begins with.
const HEAD: &str = "c/v1";

/// A topic of the fleet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Topic {
    organisation: String,
    what: What,
}

/// What a topic holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The root of this version.
    Root(u64),
    /// A bundle.
    Bundle {
        /// Of this group.
        group: String,
        /// Of this version.
        version: u64,
    },
    /// The timestamp of a group.
    Timestamp {
        /// The group.
        group: String,
    },
    /// What a gateway says of itself.
    Reported {
        /// The gateway.
        gateway: String,
    },
    /// What stands there.
    Inventory {
        /// The gateway.
        gateway: String,
    },
    /// The advisory whose bytes have this digest.
    Advisory(Digest),
}

impl Topic {
    /// The topic; none: a name in it is none, or a version is zero.
    pub fn new(organisation: &str, what: What) -> Option<Self> {
        let fits = match &what {
            What::Root(version) => *version > 0,
            What::Bundle { group, version } => *version > 0 && is_name(group),
            What::Timestamp { group: name }
            | What::Reported { gateway: name }
            | What::Inventory { gateway: name } => is_name(name),
            What::Advisory(_) => true,
        };
        (fits && is_name(organisation)).then(|| Self { organisation: organisation.to_owned(), what })
    }

    /// Reads a topic's name; none: it is no topic of the fleet.
    pub fn read(name: &str) -> Option<Self> {
        let mut levels = name.strip_prefix(HEAD)?.strip_prefix('/')?.split('/');
        let organisation = levels.next()?;
        let rest: Vec<&str> = levels.collect();
        let named = |name: &str| name.to_owned();
        let what = match rest.as_slice() {
            ["root", version] => What::Root(number(version)?),
            ["g", group, "bundle", version] => {
                What::Bundle { group: named(group), version: number(version)? }
            }
            ["g", group, "ts"] => What::Timestamp { group: named(group) },
            ["gw", gateway, "reported"] => What::Reported { gateway: named(gateway) },
            ["gw", gateway, "inventory"] => What::Inventory { gateway: named(gateway) },
            ["advisory", digest] => What::Advisory(Digest(hex::read(digest)?)),
            _ => return None,
        };
        Self::new(organisation, what)
    }

    /// The organisation.
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// What it holds.
    pub const fn what(&self) -> &What {
        &self.what
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}/{}/", self.organisation)?;
        match &self.what {
            What::Root(version) => write!(f, "root/{version}"),
            What::Bundle { group, version } => write!(f, "g/{group}/bundle/{version}"),
            What::Timestamp { group } => write!(f, "g/{group}/ts"),
            What::Reported { gateway } => write!(f, "gw/{gateway}/reported"),
            What::Inventory { gateway } => write!(f, "gw/{gateway}/inventory"),
            What::Advisory(digest) => write!(f, "advisory/{digest}"),
        }
    }
}

/// The filter under which every gateway of an organisation reports.
pub fn every_report(organisation: &str) -> String {
    format!("{HEAD}/{organisation}/gw/+/reported")
}

/// The filter under which every gateway of an organisation publishes what stands there.
pub fn every_inventory(organisation: &str) -> String {
    format!("{HEAD}/{organisation}/gw/+/inventory")
}

/// The filter of every root of an organisation.
pub fn every_root(organisation: &str) -> String {
    format!("{HEAD}/{organisation}/root/+")
}

/// The filter of every advisory of an organisation.
pub fn every_advisory(organisation: &str) -> String {
    format!("{HEAD}/{organisation}/advisory/+")
}

/// The filter of every bundle of a group; of `+`: of every group.
pub fn every_bundle(organisation: &str, group: &str) -> String {
    format!("{HEAD}/{organisation}/g/{group}/bundle/+")
}

/// Digits as [`fmt::Display`] writes them: no sign, no zero before them.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_are_written_and_read_alike() {
        let (group, gateway) = ("icu-3".to_owned(), "gw-1".to_owned());
        for (what, name) in [
            (What::Root(12), "c/v1/st-anna/root/12"),
            (What::Bundle { group: group.clone(), version: 7 }, "c/v1/st-anna/g/icu-3/bundle/7"),
            (What::Timestamp { group }, "c/v1/st-anna/g/icu-3/ts"),
            (What::Reported { gateway: gateway.clone() }, "c/v1/st-anna/gw/gw-1/reported"),
            (What::Inventory { gateway }, "c/v1/st-anna/gw/gw-1/inventory"),
            (
                What::Advisory(Digest::of(b"")),
                "c/v1/st-anna/advisory/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ] {
            let topic = Topic::new("st-anna", what).unwrap();
            assert_eq!(topic.to_string(), name);
            assert_eq!(Topic::read(name), Some(topic));
        }
    }

    #[test]
    fn what_is_no_topic_of_the_fleet_is_none() {
        for name in [
            "",
            "c/v1",
            "c/v1/st-anna",
            "c/v2/st-anna/root/1",
            "c/v1/st-anna/root/0",
            "c/v1/st-anna/root/01",
            "c/v1/st-anna/root/+1",
            "c/v1/st-anna/root/1/2",
            "c/v1/st-anna/root/18446744073709551616",
            "c/v1/St-Anna/root/1",
            "c/v1//root/1",
            "c/v1/st-anna/g/+/ts",
            "c/v1/st-anna/g/icu-3/ts/x",
            "c/v1/st-anna/gw/a b/reported",
            "c/v1/st-anna/gw/+/inventory",
            "c/v1/st-anna/advisory/e3b0",
            "c/v1/st-anna/advisory/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "cc/v1/st-anna/root/1",
        ] {
            assert_eq!(Topic::read(name), None, "{name}");
        }
        assert_eq!(Topic::new("a/b", What::Root(1)), None);
        assert_eq!(Topic::new("a", What::Timestamp { group: "#".to_owned() }), None);
    }
}
