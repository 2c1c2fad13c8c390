//! What a gateway reports: what it runs, where it stands with its fleet, and how it is.
//!
//! In: the payload of the retained topic `c/v1/{organisation}/gw/{gateway}/reported`. Out: a report whose parts fit
//! each other. It is the one document that a gateway signs: with the key of its client certificate, ECDSA P-256 with
//! SHA-256, the signature in ASN.1 (RFC 3279 section 2.2.3), over the DSSE encoding [`pae`] of type and payload. The
//! key's id is the hex SHA-256 of its `SubjectPublicKeyInfo`. The report may carry the certificate chain, so that
//! whoever knows the authority needs to keep no list of keys that are renewed every few weeks.
//!
//! Nothing is decided by an unsigned report: it may be shown, and is called unproven.

use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use x509_cert::Certificate as X509;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::{Digest, Document, Stamp, check_names, check_schema};
use crate::fleet::dsse::{self, Envelope, EnvelopeFault};
use crate::fleet::{hex, strict};

pub use crate::fleet::dsse::pae;

/// The longest detail and reason, in bytes.
pub const MAX_DETAIL: usize = 512;
/// The longest line on health, in bytes.
pub const MAX_HEALTH: usize = 160;
/// The most lines on health.
pub const MAX_HEALTH_LINES: usize = 16;
/// The most silent devices that are named.
pub const MAX_SILENT: usize = 64;
/// The longest certificate chain, in base64 characters of all certificates together.
const MAX_CHAIN: usize = 4_096;
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
    /// The current bundle was tried and taken back.
    Failed,
    /// The last word of the fleet has expired.
    Stale,
    /// What was kept of the fleet is not to be believed: somebody must come.
    Locked,
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
            Self::Failed => "failed",
            Self::Stale => "stale",
            Self::Locked => "locked",
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

/// A terminal does what control characters say: none is taken.
fn check_text(field: &str, text: &str, most: usize) -> Result<(), String> {
    if text.len() > most {
        return Err(format!("has a {field} of {} bytes, at most {most}", text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("has control characters in {field}"));
    }
    Ok(())
}

/// A text as a report takes it: no control characters, nothing that JSON has to escape, at most so many bytes.
pub fn text(raw: &str, most: usize) -> String {
    let mut text = String::new();
    for c in raw.chars() {
        let c = match c {
            '"' => '\'',
            '\\' => '/',
            c if c.is_control() => ' ',
            c => c,
        };
        if text.len().saturating_add(c.len_utf8()) > most {
            break;
        }
        text.push(c);
    }
    text
}

impl Reported {
    /// The payload of its envelope: what [`pae`] and then the key is given.
    pub fn to_payload(&self) -> Vec<u8> {
        // Text and numbers only: there is nothing that could not be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The chain's certificates as DER; none: one of them is no base64.
    pub fn chain(&self) -> Option<Vec<Vec<u8>>> {
        self.certificate.chain.iter().map(|text| dsse::decode(text)).collect()
    }

    /// What an envelope says, whoever signed it. Unproven.
    pub fn unproven(bytes: &[u8]) -> Result<Self, ReportFault> {
        let envelope = opened(bytes)?;
        Self::read(envelope.payload()).map_err(ReportFault::Shape)
    }

    /// What an envelope says that this key has signed.
    pub fn verify(bytes: &[u8], key: &ReportKey) -> Result<Self, ReportFault> {
        let envelope = opened(bytes)?;
        if !envelope.is_signed(&key.id, |message, signature| key.signed(message, signature)) {
            return Err(ReportFault::Signature { key: key.id.clone() });
        }
        Self::read(envelope.payload()).map_err(ReportFault::Shape)
    }
}

fn opened(bytes: &[u8]) -> Result<Envelope, ReportFault> {
    let envelope = Envelope::parse(bytes, Reported::CAP)?;
    if envelope.payload_type() == Reported::PAYLOAD_TYPE {
        return Ok(envelope);
    }
    Err(ReportFault::Type(envelope.payload_type().chars().take(80).collect()))
}

/// The envelope of a payload and of the signature that the key of this id has made over its [`pae`].
pub fn sealed(payload: Vec<u8>, key: &str, signature: Vec<u8>) -> Vec<u8> {
    let mut envelope = Envelope::new(Reported::PAYLOAD_TYPE, payload);
    envelope.add(key.to_owned(), signature);
    envelope.to_bytes()
}

/// Why a report is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportFault {
    /// It is no envelope, or too long.
    #[error("the report {0}")]
    Envelope(#[from] EnvelopeFault),
    /// It is another kind of document.
    #[error("the report is of type {0:?}: it was put in the wrong place")]
    Type(String),
    /// Its parts do not fit.
    #[error("the report {0}")]
    Shape(String),
    /// The key has not signed it.
    #[error("the report is not signed by key {key}")]
    Signature {
        /// The key's id.
        key: String,
    },
    /// It is no such key.
    #[error("the key is no ECDSA P-256 key in DER")]
    Key,
}

/// Checks the signature of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportKey {
    id: String,
    /// The point, not compressed (SEC 1 section 2.3.3).
    point: Vec<u8>,
}

/// RFC 5480 section 2.1.1: `id-ecPublicKey`, and `secp256r1`.
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

impl ReportKey {
    /// Of a certificate in DER. Whether the certificate is to be believed is the caller's question.
    pub fn of_certificate(der: &[u8]) -> Result<Self, ReportFault> {
        let certificate = X509::from_der(der).map_err(|_| ReportFault::Key)?;
        Self::of(certificate.tbs_certificate().subject_public_key_info())
    }

    /// Of a `SubjectPublicKeyInfo` in DER (RFC 5280 section 4.1.2.7).
    pub fn of_spki(der: &[u8]) -> Result<Self, ReportFault> {
        Self::of(&SubjectPublicKeyInfoOwned::from_der(der).map_err(|_| ReportFault::Key)?)
    }

    fn of(info: &SubjectPublicKeyInfoOwned) -> Result<Self, ReportFault> {
        let curve =
            info.algorithm.parameters.as_ref().and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
        let point = info.subject_public_key.as_bytes();
        match (info.algorithm.oid == EC, curve == Some(P256), point, info.to_der()) {
            (true, true, Some(point), Ok(der)) => {
                Ok(Self { id: Digest::of(&der).to_string(), point: point.to_vec() })
            }
            _ => Err(ReportFault::Key),
        }
    }

    /// What the key is called: the hex SHA-256 of its `SubjectPublicKeyInfo`.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests;
