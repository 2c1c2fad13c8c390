//! What stands at a gateway: itself, its devices, and what the advisories say of them.
//!
//! In: the payload of the retained topic `c/v1/{organisation}/gw/{gateway}/inventory`. Out: an inventory whose parts
//! fit each other. The gateway signs it, as `own` says. It is bounded: devices for which there is no room are counted.

use serde::{Deserialize, Serialize};

use super::own::{self, MAX_CHAIN, Own, OwnFault, check_text};
use super::{Digest, Document, check_names, check_schema};
use crate::fleet::advisories::inventory::{Published, PublishedDevice};
use crate::fleet::advisories::told::{MAX_CVES, MAX_REASON, Told};
use crate::fleet::strict;

pub use super::own::OwnKey;

/// The longest text that a device or a machine says of itself, in bytes.
pub const MAX_TEXT: usize = 96;
/// The most findings that are told.
pub const MAX_FINDINGS: usize = 128;
/// The longest payload. With base64, the signature and the topic it has to fit into a packet: 256 KiB.
pub const MAX_PAYLOAD: usize = 180 * 1_024;

/// What stands at a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventoried {
    /// [`super::SCHEMA`].
    pub schema: u32,
    /// The organisation.
    pub organisation: String,
    /// The group that the gateway is in.
    pub group: String,
    /// The gateway and its devices.
    pub inventory: Published,
    /// How many more devices there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: u32,
    /// Which advisories the gateway has looked into.
    #[serde(default, skip_serializing_if = "Advisories::is_empty")]
    pub advisories: Advisories,
    /// What they say, but for what is clear: [`MAX_FINDINGS`] at most, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Told>,
    /// How many more findings there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_findings: u32,
    /// The certificate chain, the gateway's own first, each as base64 of its DER; empty: it is not told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<String>,
}

/// The advisories of the bundle, by digest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advisories {
    /// That were looked into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<Digest>,
    /// That have not come yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Digest>,
    /// That came and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Digest>,
}

impl Advisories {
    /// Whether the bundle names none.
    pub const fn is_empty(&self) -> bool {
        self.read.is_empty() && self.missing.is_empty() && self.unreadable.is_empty()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Document for Inventoried {
    const PAYLOAD_TYPE: &'static str = "application/vnd.wardline.inventory.v1+json";
    const CAP: usize = 248 * 1_024;
    const NAME: &'static str = "inventory";

    fn read(payload: &[u8]) -> Result<Self, String> {
        let document: Self = strict::read(payload)?;
        check_schema(document.schema)?;
        let Self { organisation, group, inventory, advisories, findings, chain, .. } = &document;
        let gateway = &inventory.gateway;
        check_names([("organisation", organisation), ("group", group), ("gateway", &gateway.id)])?;
        check_names(inventory.devices.iter().map(|device| ("devices.id", &device.id)))?;
        check_names(findings.iter().map(|one| ("findings.device", &one.device)))?;
        let named = advisories.read.len() + advisories.missing.len() + advisories.unreadable.len();
        for (field, count, most) in [
            ("findings", findings.len(), MAX_FINDINGS),
            ("advisories", named, crate::fleet::advisories::library::MAX_DOCUMENTS),
            ("chain", chain.iter().map(String::len).sum(), MAX_CHAIN),
        ] {
            if count > most {
                return Err(format!("has {count} in {field}, at most {most}"));
            }
        }
        let own = [&gateway.version, &gateway.build, &gateway.hardware, &gateway.kernel];
        own.into_iter().try_for_each(|text| check_text("gateway", text, MAX_TEXT))?;
        inventory
            .devices
            .iter()
            .flat_map(texts)
            .try_for_each(|text| check_text("devices", text, MAX_TEXT))?;
        findings.iter().try_for_each(check_finding)?;
        Ok(document)
    }
}

fn texts(device: &PublishedDevice) -> impl Iterator<Item = &String> {
    let PublishedDevice { make, model, serial, serial_pseudonym, firmware, driver, .. } = device;
    [make, model, serial, serial_pseudonym, firmware, driver].into_iter().flatten()
}

fn check_finding(told: &Told) -> Result<(), String> {
    if told.cves.len() > MAX_CVES {
        return Err(format!("has {} in findings.cves, at most {MAX_CVES}", told.cves.len()));
    }
    check_text("findings.reason", &told.reason, MAX_REASON)?;
    let words = [&told.advisory, &told.version].into_iter().chain(&told.cves).chain(&told.cvss);
    words.into_iter().try_for_each(|text| check_text("findings", text, MAX_TEXT))
}

impl Own for Inventoried {
    fn whose(&self) -> (&str, &str) {
        (&self.inventory.gateway.id, &self.organisation)
    }

    fn chain(&self) -> Option<Vec<Vec<u8>>> {
        own::chain(&self.chain)
    }
}

impl Inventoried {
    /// The payload of its envelope: what [`pae`](crate::fleet::dsse::pae) and then the key is given. Devices beyond
    /// [`MAX_PAYLOAD`] are counted in `more`.
    pub fn to_payload(&self) -> Vec<u8> {
        // Text and numbers only: there is nothing that could not be written.
        let written = |document: &Self| serde_json::to_vec(document).unwrap_or_default();
        let all = written(self);
        if all.len() <= MAX_PAYLOAD {
            return all;
        }
        let mut document = self.clone();
        let devices = std::mem::take(&mut document.inventory.devices);
        document.more = u32::MAX;
        let mut left = MAX_PAYLOAD.saturating_sub(written(&document).len());
        let count = devices.len();
        for device in devices {
            let bytes = serde_json::to_vec(&device).map_or(usize::MAX, |bytes| bytes.len().saturating_add(1));
            let Some(rest) = left.checked_sub(bytes) else { break };
            left = rest;
            document.inventory.devices.push(device);
        }
        let more = count.saturating_sub(document.inventory.devices.len());
        document.more = self.more.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        written(&document)
    }

    /// What an envelope says, whoever signed it. Unproven.
    pub fn unproven(bytes: &[u8]) -> Result<Self, OwnFault> {
        own::unproven(bytes)
    }

    /// What an envelope says that this key has signed.
    pub fn verify(bytes: &[u8], key: &OwnKey) -> Result<Self, OwnFault> {
        own::verify(bytes, key)
    }
}

/// The envelope of an inventory's payload and of the signature that the key of this id has made over its
/// [`pae`](crate::fleet::dsse::pae).
pub fn sealed(payload: Vec<u8>, key: &str, signature: Vec<u8>) -> Vec<u8> {
    own::sealed::<Inventoried>(payload, key, signature)
}

#[cfg(test)]
#[path = "inventory/tests.rs"]
mod tests;
