//! What a gateway reports: what it runs, where it stands with its fleet, and how it is.
//!
//! In: the payload of the retained topic `c/v1/{organisation}/gw/{gateway}/reported`. Out: a report whose parts fit
//! each other. The gateway signs it, as `own` says.

use serde::{Deserialize, Serialize};

use super::own::{self, MAX_CHAIN, Own, check_text};
use super::{Digest, Document, Stamp, check_names, check_schema};
use crate::fleet::{hex, strict};

pub use super::own::{OwnFault as ReportFault, OwnKey as ReportKey, text};
pub use crate::fleet::dsse::pae;

/// The longest detail and reason, in bytes.
pub const MAX_DETAIL: usize = 512;
/// The longest line on health, in bytes.
pub const MAX_HEALTH: usize = 160;
/// The most lines on health.
pub const MAX_HEALTH_LINES: usize = 16;
/// The most silent devices that are named.
pub const MAX_SILENT: usize = 64;
/// The longest word of a program's version, of how a key is protected.
const MAX_WORD: usize = 64;

/// What a gateway says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reported {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The organisation.
    pub organisation: String,
    /// The group that the gateway is in.
    pub group: String,
    /// The gateway.
    pub gateway: String,
    /// The kernel's id of this boot: 32 hex digits.
    pub boot: String,
    /// What the gateway's clock said.
    pub at: Stamp,
    /// Whether that clock follows a reference.
    pub synced: bool,
    /// The program's version.
    pub program: String,
    /// The version of the root that is trusted.
    pub root: u64,
    /// The highest versions that were seen.
    pub seen: Seen,
    /// The bundle that runs; none: the files alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Where the gateway stands with its fleet.
    pub standing: Standing,
    /// The bundle that was tried and taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<Bad>,
    /// Whether it is known that what was heard is still current.
    pub freshness: Freshness,
    /// The client certificate.
    pub certificate: Certificate,
    /// What waits for the broker.
    pub spool: Spool,
    /// The devices of the allowlist.
    pub devices: Devices,
    /// What is not as it should be: [`MAX_HEALTH_LINES`] short lines at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<String>,
}

/// The highest versions that were seen; zero: none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Of a timestamp.
    pub timestamp: u64,
    /// Of a bundle.
    pub bundle: u64,
}

/// The bundle that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its envelope.
    pub sha256: Digest,
}

/// Where a gateway stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// In a word.
    pub word: Word,
    /// In more words, [`MAX_DETAIL`] bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where a gateway stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// No timestamp was believed since the start.
    Unheard,
    /// What runs is what is current.
    Current,
    /// Another bundle is current, and its turn has not come.
    Waits,
    /// The roll-out is paused.
    Paused,
    /// The current bundle is being fetched.
    Fetches,
    /// The current bundle is staged or on trial.
    UnderWay,
    /// The current bundle waits until no alarm is active.
    AlarmWait,
    /// The current bundle was tried and taken back, or does not load here any more.
    Failed,
    /// The current bundle is not believed.
    NotBelieved,
    /// The current bundle does not list this gateway.
    NotListed,
    /// The last word of the fleet has expired.
    Stale,
    /// What was kept of the fleet is not to be believed: somebody must come.
    Locked,
    /// A word of a newer program: what it says beside it tells more.
    #[serde(other)]
    Unknown,
}

impl Word {
    /// As the document writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unheard => "unheard",
            Self::Current => "current",
            Self::Waits => "waits",
            Self::Paused => "paused",
            Self::Fetches => "fetches",
            Self::UnderWay => "under-way",
            Self::AlarmWait => "alarm-wait",
            Self::Failed => "failed",
            Self::NotBelieved => "not-believed",
            Self::NotListed => "not-listed",
            Self::Stale => "stale",
            Self::Locked => "locked",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether it is known that what was heard is still current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// The clock follows a reference, and nothing has expired by it.
    Known,
    /// No clock is to be believed, or nothing was heard.
    Unknown,
    /// The last word has expired.
    Expired,
}

/// A bundle that was tried and taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bad {
    /// Its version.
    pub version: u64,
    /// The SHA-256 of its envelope; none: a program wrote the report that did not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Why, [`MAX_DETAIL`] bytes at most.
    pub reason: String,
}

/// The client certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Until when it holds.
    pub not_after: Stamp,
    /// How its key is protected: `file`, `credential`, `pkcs11`.
    pub key_protection: String,
    /// The chain, the gateway's own first, each as base64 of its DER; empty: it is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

/// What waits for the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spool {
    /// Records.
    pub records: u64,
    /// The age of the oldest, in seconds; none: nothing waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
}

/// The devices of the allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// How many are listed.
    pub listed: u32,
    /// Those that give nothing: [`MAX_SILENT`] ids at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
    /// How many more give nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Document for Reported {
    const PAYLOAD_TYPE: &'static str = "application/vnd.wardline.reported.v1+json";
    const CAP: usize = 16 * 1024;
    const NAME: &'static str = "report";

    fn read(payload: &[u8]) -> Result<Self, String> {
        let report: Self = strict::read(payload)?;
        check_schema(report.schema)?;
        let Self { organisation, group, gateway, devices, certificate, .. } = &report;
        check_names([("organisation", organisation), ("group", group), ("gateway", gateway)])?;
        check_names(devices.silent.iter().map(|id| ("devices.silent", id)))?;
        if hex::read::<16>(&report.boot).is_none() {
            return Err("has a boot id that is not 32 hex digits".to_owned());
        }
        for (field, count, most) in [
            ("devices.silent", devices.silent.len(), MAX_SILENT),
            ("health", report.health.len(), MAX_HEALTH_LINES),
            ("certificate.chain", certificate.chain.iter().map(String::len).sum(), MAX_CHAIN),
        ] {
            if count > most {
                return Err(format!("has {count} in {field}, at most {most}"));
            }
        }
        check_text("program", &report.program, MAX_WORD)?;
        check_text("certificate.key_protection", &certificate.key_protection, MAX_WORD)?;
        check_text("standing.detail", report.standing.detail.as_deref().unwrap_or(""), MAX_DETAIL)?;
        check_text("bad.reason", report.bad.as_ref().map_or("", |bad| &bad.reason), MAX_DETAIL)?;
        report.health.iter().try_for_each(|line| check_text("health", line, MAX_HEALTH))?;
        Ok(report)
    }
}

impl Own for Reported {
    fn whose(&self) -> (&str, &str) {
        (&self.gateway, &self.organisation)
    }

    fn chain(&self) -> Option<Vec<Vec<u8>>> {
        own::chain(&self.certificate.chain)
    }
}

impl Reported {
    /// The payload of its envelope: what [`pae`] and then the key is given.
    pub fn to_payload(&self) -> Vec<u8> {
        // Text and numbers only: there is nothing that could not be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What an envelope says, whoever signed it. Unproven.
    pub fn unproven(bytes: &[u8]) -> Result<Self, ReportFault> {
        own::unproven(bytes)
    }

    /// What an envelope says that this key has signed.
    pub fn verify(bytes: &[u8], key: &ReportKey) -> Result<Self, ReportFault> {
        own::verify(bytes, key)
    }
}

/// The envelope of a report's payload and of the signature that the key of this id has made over its [`pae`].
pub fn sealed(payload: Vec<u8>, key: &str, signature: Vec<u8>) -> Vec<u8> {
    own::sealed::<Reported>(payload, key, signature)
}

#[cfg(test)]
mod tests;
