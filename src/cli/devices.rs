//! `wardline devices`: the allowlist, and what was seen.
//!
//! With `--json`, one object: `{"running": bool, "devices": [...], "unlisted": [...]}`. A device has
//! `id`, `asset`, `model`, `connection` (`{"port"}`, `{"address", "adapter"}`, or of a part `{"part", "of"}`:
//! its place and the id of the device that it is behind), `security`, `trust`
//! (`reported-identity`, `link-only`), `expects`, `elements` (reference ids) and `live`: what the
//! running daemon knows of it, `null` when none answers. `unlisted` are devices that were seen and not
//! connected to.

use clap::Args;
use serde_json::{Value, json};

use super::Folder;
use super::exit::Failure;
use super::out::{self, Colour};
use super::status::{age, clean, print_table};
use crate::config::{Connection, Device};
use crate::host::status::{self, Identity, Snapshot};
use crate::policy::Trust;

/// List the allowed devices, and what the running daemon has seen of them and of others.
#[derive(Debug, Args)]
#[command(after_help = "Also works when no daemon is running: then only the allowlist is shown.")]
pub(super) struct Devices {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Devices {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let snapshot = match status::ask(&config.socket) {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                out::remark(format_args!("only the allowlist is known: {error}"));
                None
            }
        };
        if self.json {
            let mut out = out::stdout();
            out.json(&as_json(&config.devices, snapshot.as_ref()))?;
            out.finish()?;
            return Ok(());
        }
        print(&config.devices, snapshot.as_ref())
    }
}

fn live<'a>(device: &Device, snapshot: Option<&'a Snapshot>) -> Option<&'a status::Device> {
    snapshot?.devices.iter().find(|live| live.id == device.rule.card.id)
}

/// The id of the device behind whose port a part is.
fn behind<'a>(device: &Device, devices: &'a [Device]) -> Option<&'a str> {
    let behind = devices.get(usize::from(device.rule.behind?.0))?;
    Some(&behind.rule.card.id)
}

/// Where a device is, in words.
fn place(device: &Device, devices: &[Device]) -> String {
    match &device.connection {
        Connection::Serial { port, .. } => port.display().to_string(),
        Connection::Part { .. } => {
            format!("{} of {}", device.connection.place(), behind(device, devices).unwrap_or("?"))
        }
        Connection::Ble { address, adapter, .. } => format!("{address} ({adapter})"),
    }
}

fn as_json(devices: &[Device], snapshot: Option<&Snapshot>) -> Value {
    let devices: Vec<Value> = devices
        .iter()
        .map(|device| {
            json!({
                "id": device.rule.card.id,
                "asset": device.asset,
                "model": device.rule.card.model,
                "connection": match &device.connection {
                    Connection::Serial { port, .. } => json!({ "port": port }),
                    Connection::Part { model, part } => json!({
                        "part": model.parts.name(*part),
                        "of": behind(device, devices),
                    }),
                    Connection::Ble { address, adapter, .. } => json!({ "address": address, "adapter": adapter }),
                },
                "security": device.rule.card.security,
                "trust": trust(device.rule.trust),
                "expects": Identity::from(&device.rule.expects),
                "elements": device.rule.elements.iter().map(|metric| metric.reference).collect::<Vec<_>>(),
                "live": live(device, snapshot),
            })
        })
        .collect();
    json!({
        "running": snapshot.is_some(),
        "devices": devices,
        "unlisted": snapshot.map(|snapshot| &snapshot.unlisted),
    })
}

const fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::ReportedIdentity => "reported-identity",
        Trust::LinkOnly => "link-only",
    }
}

/// What its entry demands, and how often that was not there while it is not.
fn security(device: &Device, live: Option<&status::Device>) -> String {
    let demanded = device.rule.card.security;
    match live.filter(|live| live.bond_refused) {
        Some(live) => format!("{demanded}: refused {} times", live.bond_refusals),
        None => demanded.to_owned(),
    }
}

fn print(devices: &[Device], snapshot: Option<&Snapshot>) -> Result<(), Failure> {
    let mut out = out::stdout();
    let heading = [
        "device",
        "asset",
        "model",
        "where",
        "security",
        "vouched for by",
        "elements",
        "link",
        "last reading",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for device in devices {
        let live = live(device, snapshot);
        rows.push(vec![
            device.rule.card.id.clone(),
            device.asset.clone(),
            device.rule.card.model.clone(),
            place(device, devices),
            security(device, live),
            trust(device.rule.trust).to_owned(),
            device.rule.elements.len().to_string(),
            live.map_or_else(|| "?".to_owned(), |live| clean(&live.link)),
            live.map_or_else(|| "?".to_owned(), |live| age(live.last_reading_age_ms)),
        ]);
    }
    print_table(&mut out, &rows, |_| Colour::Strong)?;
    for refused in snapshot.iter().flat_map(|snapshot| &snapshot.devices).filter(|live| live.bond_refused) {
        let reason = refused.link_reason.as_deref().unwrap_or("its bond is not what its entry demands");
        out.line(format_args!("  {}: {}", clean(&refused.id), clean(reason)))?;
    }
    let mut strangers = vec![vec!["seen, not listed, never connected to".to_owned()]];
    strangers.extend(
        snapshot.iter().flat_map(|snapshot| &snapshot.unlisted).map(|seen| vec![clean(&seen.address)]),
    );
    print_table(&mut out, &strangers, |_| Colour::Faint)?;
    out.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::catalogue::{Parts, SerialModel, serial_models};
    use crate::device::settings::Settings;
    use crate::device::{DeviceIndex, Identity as Stated, Part};
    use crate::policy::{DeviceCard, DeviceRule};

    #[test]
    fn a_part_is_shown_with_its_place_and_the_device_that_it_is_behind() {
        let row = *serial_models().first().unwrap();
        let parts = Parts::Many { word: "slot", names: &["upper", "lower"] };
        let model: &'static SerialModel = Box::leak(Box::new(SerialModel { parts, ..*row }));
        let device = |id: &str, behind, connection| {
            let card = DeviceCard {
                id: id.into(),
                model: "rack".into(),
                pseudonym: String::new(),
                location: None,
                security: "serial",
            };
            let rule = DeviceRule {
                card,
                expects: Stated::default(),
                trust: Trust::LinkOnly,
                elements: Vec::new(),
                behind,
                quiet: None,
            };
            Device { rule, asset: "A".to_owned(), location: None, connection, end_of_support: None }
        };
        let settings = Settings::default();
        let rack = Connection::Serial { port: "/dev/x".into(), line: model.line, model, settings };
        let devices = [
            device("rack", None, rack),
            device("pump", Some(DeviceIndex(0)), Connection::Part { model, part: Part(2) }),
        ];
        let shown = as_json(&devices, None);
        assert_eq!(shown["devices"][1]["connection"], json!({ "part": "lower", "of": "rack" }));
        assert_eq!(place(&devices[1], &devices), "slot lower of rack");
        assert_eq!(place(&devices[0], &devices), "/dev/x");
    }
}
