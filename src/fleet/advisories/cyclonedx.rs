//! The inventory as a `CycloneDX` 1.6 document (ECMA-424): the gateway as the component that it describes, each
//! device as a component of type `device`.
//!
//! Field names are those of the specification's JSON schema; what it has no field for stands in `properties`
//! under `wardline:`.

use serde::Serialize;

use super::inventory::{Gateway, Published, PublishedDevice};
use crate::fleet::documents::Stamp;

/// The document as JSON.
pub fn to_json(published: &Published) -> Result<String, serde_json::Error> {
    let components = published.devices.iter().map(device).collect();
    let metadata = Metadata { timestamp: moment(published.at), component: gateway(&published.gateway) };
    serde_json::to_string(&Bom {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        version: 1,
        metadata,
        components,
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
    properties: Vec<Property>,
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

fn gateway(gateway: &Gateway) -> Component {
    Component {
        r#type: "device",
        bom_ref: format!("gateway:{}", gateway.id),
        manufacturer: None,
        name: gateway.id.clone(),
        version: Some(gateway.version.clone()),
        properties: properties([
            ("wardline:gateway:build", Some(gateway.build.clone())),
            ("wardline:gateway:sbom-sha256", gateway.sbom.map(|digest| digest.to_string())),
            ("wardline:gateway:hardware", Some(gateway.hardware.clone())),
            ("wardline:gateway:key-protection", Some(gateway.key_protection.name().to_owned())),
        ]),
    }
}

fn device(device: &PublishedDevice) -> Component {
    Component {
        r#type: "device",
        bom_ref: format!("device:{}", device.id),
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
    }
}
