//! The inventory as a table (RFC 4180).

use super::{Published, PublishedDevice};

const COLUMNS: [&str; 15] = [
    "kind",
    "id",
    "make",
    "model",
    "serial",
    "serial_pseudonym",
    "version",
    "driver",
    "first_seen",
    "last_seen",
    "end_of_support",
    "build",
    "sbom_sha256",
    "hardware",
    "key_protection",
];

pub(super) fn write(published: &Published) -> String {
    let gateway = &published.gateway;
    let sbom = gateway.sbom.map(|digest| digest.to_string()).unwrap_or_default();
    let mut table = row(COLUMNS);
    table += &row([
        "gateway",
        &gateway.id,
        "",
        "",
        "",
        "",
        &gateway.version,
        "",
        "",
        "",
        "",
        &gateway.build,
        &sbom,
        &gateway.hardware,
        gateway.key_protection.name(),
    ]);
    for device in &published.devices {
        table += &device_row(device);
    }
    table
}

fn device_row(device: &PublishedDevice) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let moment = |stamp: Option<_>| stamp.map(super::super::cyclonedx::moment).unwrap_or_default();
    let day = device.end_of_support.map(|day| day.to_string()).unwrap_or_default();
    row([
        "device",
        &device.id,
        &text(&device.make),
        &text(&device.model),
        &text(&device.serial),
        &text(&device.serial_pseudonym),
        &text(&device.firmware),
        &text(&device.driver),
        &moment(device.first_seen),
        &moment(device.last_seen),
        &day,
        "",
        "",
        "",
        "",
    ])
}

fn row(fields: [&str; COLUMNS.len()]) -> String {
    fields.map(field).join(",") + "\r\n"
}

/// A table program runs what begins like a formula, and these texts come from devices: such a field gets a `'`
/// in front.
fn field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guarded = if is_formula { format!("'{text}") } else { text.to_owned() };
    if guarded.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", guarded.replace('"', "\"\""))
    } else {
        guarded
    }
}
