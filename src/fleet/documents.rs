//! What the fleet signs: root, bundle and timestamp; and what a gateway answers, reported and inventory.
//!
//! In: a payload. Out: a document whose parts fit each other. Who signed it, whether it is meant for
//! this gateway and whether it is too old is judged in `trust`. Every field is in the struct and every
//! struct refuses what it does not know: a newer operator's field that this program would pass over
//! could be the one that matters, so `schema` goes up with it.

pub mod inventory;
pub mod own;
pub mod reported;
mod root;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

pub use root::{Role, RoleKind, Root};

use super::advisories::Policy;
use super::advisories::library::MAX_DOCUMENTS;
use super::strict;
pub use super::strict::Table;
use super::{dsse, hex};
use crate::time::Wall;

/// The version of the documents' shape that this program reads and writes.
pub const SCHEMA: u32 = 1;

/// The longest name of an organisation, a group, a gateway or a roll-out.
pub const MAX_NAME: usize = 32;
/// The most gateways of a ward, and the most devices of its allowlist.
pub const MAX_MEMBERS: usize = 4_096;
/// The longest time for which a timestamp may speak.
pub const MAX_TIMESTAMP_LIFE_MS: i64 = 72 * 60 * 60 * 1_000;
/// The most waves of a roll-out.
pub const MAX_WAVES: usize = 32;

/// The most revocation lists of a bundle.
pub const MAX_REVOCATIONS: usize = 8;
/// The most bytes of all of them, as DER: the whole bundle has to fit into one packet.
pub const MAX_REVOCATION_BYTES: usize = 64 * 1024;

/// A document of the fleet.
pub trait Document: Sized {
    /// The type that its envelope names: no two documents have the same.
    const PAYLOAD_TYPE: &'static str;
    /// The most bytes of its envelope that are looked at.
    const CAP: usize;
    /// What people call it.
    const NAME: &'static str;

    /// Reads the payload and checks that its parts fit each other. The error is in words.
    fn read(payload: &[u8]) -> Result<Self, String>;
}

/// A moment as documents write it: `2026-11-22T00:00:00Z`, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub Wall);

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0.to_string();
        let seconds = whole.split_once('.').map_or(whole.as_str(), |(seconds, _)| seconds);
        serializer.serialize_str(&format!("{seconds}Z"))
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let stamp = (text.len() == "2026-11-22T00:00:00Z".len() && text.contains('T') && text.ends_with('Z'))
            .then(|| Wall::read(&text))
            .flatten();
        stamp.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a moment: write 2026-11-22T00:00:00Z"))
        })
    }
}

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
        Self(digest)
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::show(&self.0))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::read(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a SHA-256 is 64 lower-case hex digits"))
    }
}

/// The whole ward in one object: nothing is merged on the device, so nothing can be mixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The organisation.
    pub organisation: String,
    /// The group: a ward.
    pub group: String,
    /// Goes up with every bundle of the group.
    pub version: u64,
    /// The oldest program that can do what the bundle asks.
    pub min_agent: String,
    /// Not to be applied before.
    pub not_before: Stamp,
    /// Not to be applied anew after; what runs goes on.
    pub expires: Stamp,
    /// The gateways of the group.
    pub members: Vec<String>,
    /// Gateways that leave for another group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transfers: Vec<Transfer>,
    /// Settings, section by section as in `gateway.toml`.
    #[serde(default)]
    pub settings: Table,
    /// The allowlist: `[[device]]` as in `devices.d`, with the gateways that have it.
    #[serde(default)]
    pub devices: Vec<Table>,
    /// Drivers that the site describes: `[[line_driver]]` as in `devices.d`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub line_drivers: Vec<Table>,
    /// Advisories about devices: CSAF 2.0 documents that travel beside the bundle, by digest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<Digest>,
    /// What is done about devices that they are about, beside telling it.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub advisory_policy: Policy,
    /// Certificate revocation lists for the broker's chain, each as base64 of its DER; [`MAX_REVOCATIONS`] and
    /// [`MAX_REVOCATION_BYTES`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocations: Vec<String>,
}

impl Bundle {
    /// The revocation lists as DER. A list may be from any authority: whether its signature is good is seen where it
    /// is used, as the authorities are each gateway's own.
    pub fn revocation_lists(&self) -> Result<Vec<Vec<u8>>, String> {
        if self.revocations.len() > MAX_REVOCATIONS {
            return Err(format!("has {} revocations, at most {MAX_REVOCATIONS}", self.revocations.len()));
        }
        let mut lists = Vec::new();
        for (place, text) in self.revocations.iter().enumerate() {
            let wrong = |why: &str| format!("has a revocation list (revocations[{place}]) that {why}");
            // Not more than fits: a fourth more than DER is base64.
            let list = Some(text).filter(|text| text.len() <= MAX_REVOCATION_BYTES * 2);
            let list = list.and_then(|text| dsse::decode(text)).ok_or_else(|| wrong("is not base64"))?;
            let _: CertificateList = CertificateList::from_der(&list)
                .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
            lists.push(list);
        }
        let bytes: usize = lists.iter().map(Vec::len).sum();
        if bytes > MAX_REVOCATION_BYTES {
            return Err(format!("has revocation lists of {bytes} bytes, at most {MAX_REVOCATION_BYTES}"));
        }
        Ok(lists)
    }
}

/// A gateway that leaves for another group of the same organisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// The gateway.
    pub gateway: String,
    /// Where it goes.
    pub to: String,
}

impl Document for Bundle {
    const PAYLOAD_TYPE: &'static str = "application/vnd.wardline.bundle.v1+json";
    // The largest packet that a gateway takes.
    const CAP: usize = 256 * 1024;
    const NAME: &'static str = "bundle";

    fn read(payload: &[u8]) -> Result<Self, String> {
        let bundle: Self = strict::read(payload)?;
        check_schema(bundle.schema)?;
        check_names([("organisation", &bundle.organisation), ("group", &bundle.group)])?;
        check_version(bundle.version)?;
        check_list("members", &bundle.members)?;
        let leaving: Vec<String> = bundle.transfers.iter().map(|transfer| transfer.gateway.clone()).collect();
        check_list("transfers", &leaving)?;
        for transfer in &bundle.transfers {
            check_names([("transfers.to", &transfer.to)])?;
            if transfer.to == bundle.group {
                return Err(format!("transfers {} to the group that it is in", transfer.gateway));
            }
            if bundle.members.contains(&transfer.gateway) {
                return Err(format!("lists {} as a member and transfers it", transfer.gateway));
            }
        }
        if bundle.expires <= bundle.not_before {
            return Err("expires before it may be applied".to_owned());
        }
        if bundle.devices.len() > MAX_MEMBERS {
            return Err(format!("lists {} devices, at most {MAX_MEMBERS}", bundle.devices.len()));
        }
        check_advisories(&bundle.advisories)?;
        bundle.advisory_policy.check()?;
        bundle.revocation_lists()?;
        Ok(bundle)
    }
}

/// What is current, said often by one key that is online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The organisation.
    pub organisation: String,
    /// The group.
    pub group: String,
    /// Goes up with every timestamp of the group.
    pub version: u64,
    /// When it was signed: it cannot be earlier than this.
    pub issued_at: Stamp,
    /// After this nothing is known of what is current.
    pub expires: Stamp,
    /// The bundle that is current.
    pub head: Head,
    /// How it is to reach the gateways.
    pub rollout: Rollout,
}

/// The bundle that is current.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its envelope, byte by byte as it travels.
    pub sha256: Digest,
    /// The version of the root whose keys signed it.
    pub root: u64,
}

/// How a bundle reaches the gateways: named ones first, then wave by wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// What it is called: another name puts the gateways in another order.
    pub id: String,
    /// Gateways that go first.
    #[serde(default)]
    pub canaries: Vec<String>,
    /// What share of the others may have it from when on, in rising order.
    #[serde(default)]
    pub waves: Vec<Wave>,
    /// Whoever has not begun waits.
    #[serde(default)]
    pub paused: bool,
}

/// A share of the gateways, from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// In hundredths of a percent: 100 is 1 %, 10,000 is everyone.
    pub share: u16,
    /// From when on.
    pub start: Stamp,
}

impl Document for Timestamp {
    const PAYLOAD_TYPE: &'static str = "application/vnd.wardline.timestamp.v1+json";
    const CAP: usize = 64 * 1024;
    const NAME: &'static str = "timestamp";

    fn read(payload: &[u8]) -> Result<Self, String> {
        let timestamp: Self = strict::read(payload)?;
        check_schema(timestamp.schema)?;
        let Rollout { id, canaries, waves, paused: _ } = &timestamp.rollout;
        check_names([
            ("organisation", &timestamp.organisation),
            ("group", &timestamp.group),
            ("rollout.id", id),
        ])?;
        check_version(timestamp.version)?;
        check_version(timestamp.head.version)?;
        check_version(timestamp.head.root)?;
        check_list("rollout.canaries", canaries)?;
        if waves.len() > MAX_WAVES {
            return Err(format!("has {} waves, at most {MAX_WAVES}", waves.len()));
        }
        if waves.iter().any(|wave| wave.share > 10_000) {
            return Err("has a wave of more than 10000 hundredths of a percent".to_owned());
        }
        if !waves.is_sorted_by(|one, next| one.share < next.share && one.start <= next.start) {
            return Err("has waves that are not in rising order".to_owned());
        }
        let life = timestamp.expires.0.as_millis().saturating_sub(timestamp.issued_at.0.as_millis());
        if !(1..=MAX_TIMESTAMP_LIFE_MS).contains(&life) {
            return Err("does not expire within 72 hours of when it was issued".to_owned());
        }
        Ok(timestamp)
    }
}

fn check_advisories(digests: &[Digest]) -> Result<(), String> {
    let mut sorted = digests.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    match digests.len() {
        count if count > MAX_DOCUMENTS => {
            Err(format!("names {count} advisories, at most {MAX_DOCUMENTS} are kept"))
        }
        count if count > sorted.len() => Err("names an advisory twice".to_owned()),
        _ => Ok(()),
    }
}

fn check_schema(schema: u32) -> Result<(), String> {
    if schema == SCHEMA {
        return Ok(());
    }
    Err(format!("is of schema {schema}, this program reads schema {SCHEMA}: update the program first"))
}

/// Zero would be "none yet".
fn check_version(version: u64) -> Result<(), String> {
    if version == 0 { Err("has a version 0: versions start at 1".to_owned()) } else { Ok(()) }
}

/// Names are parts of topics and of file names: those of the configuration (`gateway.id`).
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_NAME).contains(&text.len()) && text.chars().all(fits)
}

fn check_names<'a>(names: impl IntoIterator<Item = (&'a str, &'a String)>) -> Result<(), String> {
    for (field, name) in names {
        if !is_name(name) {
            return Err(format!(
                "has {field} {name:?}: a name is 1 to {MAX_NAME} of the characters a-z, 0-9 and -"
            ));
        }
    }
    Ok(())
}

fn check_list(field: &str, names: &[String]) -> Result<(), String> {
    if names.len() > MAX_MEMBERS {
        return Err(format!("has {} {field}, at most {MAX_MEMBERS}", names.len()));
    }
    check_names(names.iter().map(|name| (field, name)))?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(format!("lists {:?} twice in {field}", pair.first().map_or("", |name| name))),
        None => Ok(()),
    }
}
