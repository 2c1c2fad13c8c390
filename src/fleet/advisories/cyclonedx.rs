//! Inventories as a `CycloneDX` 1.6 document (ECMA-424): the group as the component that it describes, each gateway
//! as a component of type `device` with its devices as components within.
//!
//! Field names are those of the specification's JSON schema; what it has no field for stands in `properties`
//! under `wardline:`. What the advisories say stands in `vulnerabilities`, one for each advisory and verdict: a device
//! that is affected is `exploitable`, one for a person to look at `in_triage`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::inventory::{Entry, Gateway, PublishedDevice};
use super::told::{Told, Word};
use crate::fleet::documents::Stamp;

/// The document of a group as JSON.
pub fn to_json(group: &str, at: Stamp, entries: &[Entry<'_>]) -> Result<String, serde_json::Error> {
    let metadata = Metadata { timestamp: moment(at), component: of_group(group) };
    serde_json::to_string_pretty(&Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        version: 1,
        metadata,
        components: entries.iter().map(gateway).collect(),
        vulnerabilities: vulnerabilities(entries),
    })
}

/// A moment as documents write it.
pub(super) fn moment(stamp: Stamp) -> String {
    let whole = stamp.0.to_string();
    format!("{}Z", whole.split_once('.').map_or(whole.as_str(), |(seconds, _)| seconds))
}

#[expect(clippy::struct_field_names, reason = "the names are the specification's")]
#[derive(Serialize)]
struct Bom {
    #[serde(rename = "bomFormat")]
    bom_format: &'static str,
    #[serde(rename = "specVersion")]
    spec_version: &'static str,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vulnerabilities: Vec<Vulnerability>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    component: Component,
}

#[derive(Serialize)]
struct Component {
    r#type: &'static str,
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    manufacturer: Option<Manufacturer>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    components: Vec<Component>,
}

#[derive(Serialize)]
struct Vulnerability {
    #[serde(rename = "bom-ref")]
    bom_ref: String,
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<Reference>,
    analysis: Analysis,
    affects: Vec<Affected>,
}

#[derive(Serialize)]
struct Reference {
    id: String,
    source: Source,
}

#[derive(Serialize)]
struct Source {
    name: &'static str,
}

#[derive(Serialize)]
struct Analysis {
    state: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct Affected {
    r#ref: String,
}

#[derive(Serialize)]
struct Manufacturer {
    name: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

fn properties<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Vec<Property> {
    pairs.into_iter().filter_map(|(name, value)| value.map(|value| Property { name, value })).collect()
}

fn of_group(group: &str) -> Component {
    Component {
        r#type: "platform",
        bom_ref: format!("group:{group}"),
        manufacturer: None,
        name: group.to_owned(),
        version: None,
        properties: Vec::new(),
        components: Vec::new(),
    }
}

fn gateway(entry: &Entry<'_>) -> Component {
    let gateway: &Gateway = &entry.published.gateway;
    let devices = entry.published.devices.iter();
    Component {
        r#type: "device",
        bom_ref: format!("gateway:{}", gateway.id),
        manufacturer: None,
        name: gateway.id.clone(),
        version: Some(gateway.version.clone()),
        properties: properties([
            ("wardline:gateway:proven", Some(if entry.is_proven { "yes" } else { "no" }.to_owned())),
            ("wardline:gateway:at", Some(moment(entry.published.at))),
            ("wardline:gateway:build", Some(gateway.build.clone())),
            ("wardline:gateway:sbom-sha256", gateway.sbom.map(|digest| digest.to_string())),
            ("wardline:gateway:hardware", Some(gateway.hardware.clone())),
            ("wardline:gateway:kernel", Some(gateway.kernel.clone())),
            ("wardline:gateway:key-protection", Some(gateway.key_protection.name().to_owned())),
        ]),
        components: devices.map(|one| device(&gateway.id, one)).collect(),
    }
}

/// A device may be in the allowlist of several gateways.
fn reference(gateway: &str, device: &str) -> String {
    format!("device:{gateway}/{device}")
}

fn device(gateway: &str, device: &PublishedDevice) -> Component {
    Component {
        r#type: "device",
        bom_ref: reference(gateway, &device.id),
        manufacturer: device.make.clone().map(|name| Manufacturer { name }),
        // A component has a name, a device may not have told its model.
        name: device.model.clone().unwrap_or_else(|| device.id.clone()),
        version: device.firmware.clone(),
        properties: properties([
            ("wardline:device:id", Some(device.id.clone())),
            ("wardline:device:serial", device.serial.clone()),
            ("wardline:device:serial-pseudonym", device.serial_pseudonym.clone()),
            ("wardline:device:driver", device.driver.clone()),
            ("wardline:device:first-seen", device.first_seen.map(moment)),
            ("wardline:device:last-seen", device.last_seen.map(moment)),
            ("wardline:device:end-of-support", device.end_of_support.map(|day| day.to_string())),
        ]),
        components: Vec::new(),
    }
}

/// What the advisories say of the devices that are exported.
fn vulnerabilities(entries: &[Entry<'_>]) -> Vec<Vulnerability> {
    let mut all: BTreeMap<(String, &'static str), Vulnerability> = BTreeMap::new();
    for entry in entries {
        let gateway = entry.published.gateway.id.as_str();
        for told in entry.findings {
            // A reference to what is not there would make the document void.
            if entry.published.devices.iter().any(|device| device.id == told.device) {
                let (state, key) = (state(told), (told.advisory.clone(), told.verdict.as_str()));
                let one = all.entry(key).or_insert_with(|| vulnerability(told, state));
                one.affects.push(Affected { r#ref: reference(gateway, &told.device) });
            }
        }
    }
    all.into_values().collect()
}

const fn state(told: &Told) -> &'static str {
    match told.verdict {
        Word::Affected => "exploitable",
        Word::Review => "in_triage",
    }
}

fn vulnerability(told: &Told, state: &'static str) -> Vulnerability {
    let reference = |cve: &String| Reference { id: cve.clone(), source: Source { name: "CVE" } };
    let cves = told.cves.iter().filter(|cve| cve.starts_with("CVE-"));
    Vulnerability {
        bom_ref: format!("advisory:{}:{}", told.advisory, told.verdict.as_str()),
        id: told.advisory.clone(),
        references: cves.map(reference).collect(),
        analysis: Analysis { state, detail: told.reason.clone() },
        affects: Vec::new(),
    }
}
