//! An inventory of every sort, as the `CycloneDX` document that is exported, for the validator in `tests/fleet/`.

use std::path::Path;

use anyhow::Context as _;

use crate::fleet::advisories::cyclonedx;
use crate::fleet::advisories::inventory::{
    Day, Device, Disclosure, Entry, Gateway, Inventory, KeyProtection, SerialNumber,
};
use crate::fleet::advisories::told::{Done, Told, Word};
use crate::fleet::documents::{Digest, Stamp};
use crate::time::Wall;

/// Writes it into a folder, which is made if need be: `inventory.json`, with what advisories say of its devices.
pub fn sample_inventory(folder: &Path) -> anyhow::Result<()> {
    let at = |text: &str| Wall::read(text).map(Stamp).context("no moment");
    let now = at("2026-11-22T12:00:00Z")?;
    let gateway = Gateway {
        id: "gw-7".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: "unknown".to_owned(),
        sbom: Some(Digest([7; 32])),
        hardware: "Board, Model B \"4\"".to_owned(),
        kernel: "6.12.25+rpt-rpi-v8".to_owned(),
        key_protection: KeyProtection::Credential,
    };
    let pump = Device {
        id: "pump-1".to_owned(),
        make: Some("Alaris".to_owned()),
        model: Some("Asena GH".to_owned()),
        serial: Some(SerialNumber::new("8002-51733")),
        driver: Some("alaris-asena".to_owned()),
        firmware: Some("9.7".to_owned()),
        first_seen: Some(at("2026-01-02T03:04:05Z")?),
        last_seen: Some(at("2026-11-22T03:04:05Z")?),
        end_of_support: Day::read("2027-05-01"),
    };
    let silent = Device { id: "silent".to_owned(), ..Device::default() };
    let published = Inventory { gateway, devices: vec![pump, silent] }.publish(&Disclosure::Plain, now.0);
    let told = |verdict, action, until| Told {
        device: "pump-1".to_owned(),
        advisory: "ICSMA-17-017-02".to_owned(),
        version: "1".to_owned(),
        verdict,
        action,
        until,
        cvss: Some("7.7".to_owned()),
        cves: vec!["CVE-2016-8375".to_owned()],
        reason: "version 9.7".to_owned(),
    };
    let findings = [
        told(Word::Affected, Done::Waived, Some(at("2027-05-01T00:00:00Z")?)),
        told(Word::Review, Done::Warned, None),
    ];
    let entry = Entry { published: &published, is_proven: true, findings: &findings };
    let text = cyclonedx::to_json("icu-3", now, &[entry])?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    Ok(crate::host::atomic_file::write(&folder.join("inventory.json"), text.as_bytes())?)
}
