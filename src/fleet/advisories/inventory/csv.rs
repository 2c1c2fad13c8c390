//! Inventories as a table (RFC 4180).

use super::{Entry, PublishedDevice};
use crate::fleet::advisories::cyclonedx::moment;
use crate::fleet::advisories::told::Told;

const COLUMNS: [&str; 19] = [
    "kind",
    "gateway",
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
    "kernel",
    "key_protection",
    "proven",
    "advisories",
];

pub(super) fn write(entries: &[Entry<'_>]) -> String {
    entries.iter().fold(row(&COLUMNS), |table, entry| table + &rows(entry))
}

fn rows(entry: &Entry<'_>) -> String {
    let gateway = &entry.published.gateway;
    let sbom = gateway.sbom.map(|digest| digest.to_string()).unwrap_or_default();
    let mut table = row(&[
        "gateway",
        &gateway.id,
        &gateway.id,
        "",
        "",
        "",
        "",
        &gateway.version,
        "",
        "",
        &moment(entry.published.at),
        "",
        &gateway.build,
        &sbom,
        &gateway.hardware,
        &gateway.kernel,
        gateway.key_protection.name(),
        proof(entry),
        "",
    ]);
    for device in &entry.published.devices {
        table += &device_row(entry, device);
    }
    table
}

const fn proof(entry: &Entry<'_>) -> &'static str {
    if entry.is_proven { "yes" } else { "no" }
}

fn device_row(entry: &Entry<'_>, device: &PublishedDevice) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let moment = |stamp: Option<_>| stamp.map(moment).unwrap_or_default();
    let day = device.end_of_support.map(|day| day.to_string()).unwrap_or_default();
    let findings = entry.findings.iter().filter(|one| one.device == device.id);
    let findings: Vec<String> = findings.map(finding).collect();
    row(&[
        "device",
        &entry.published.gateway.id,
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
        "",
        proof(entry),
        &findings.join("; "),
    ])
}

fn finding(told: &Told) -> String {
    format!("{} {} {}", told.advisory, told.verdict.as_str(), told.action.as_str())
}

fn row(fields: &[&str; COLUMNS.len()]) -> String {
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
