//! What support needs to know of a gateway, in one archive, with nothing in it that is a patient's, a device's or secret.
//!
//! In: what the doctor, the daemon and the configuration say. Out: [`Part`]s, a manifest of them, and a tar archive.
//! What is taken is named one by one; a new field of the status or a new key of the configuration is left out until it
//! is named here. Free text goes through a [`Mask`]. Pure.

pub mod archive;
pub mod mask;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::config::{Config, Connection, DEVICES_FOLDER, Setting};
use crate::envelope::keys::{KeyPlace, TokenKey};
use crate::host::status::Snapshot;
use mask::Mask;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Part {
    /// JSON, through the mask.
    pub fn json(name: &'static str, about: &'static str, value: &Value, mask: &Mask) -> Self {
        let text = serde_json::to_string_pretty(&mask.value(value)).unwrap_or_default();
        Self { name, about, bytes: (text + "\n").into_bytes() }
    }

    /// Lines of text, through the mask.
    pub fn text(name: &'static str, about: &'static str, text: &str, mask: &Mask) -> Self {
        let lines: String = text.lines().map(|line| mask.text(line) + "\n").collect();
        Self { name, about, bytes: lines.into_bytes() }
    }
}

/// What is never in it.
const LEFT_OUT: [&str; 10] = [
    "readings, alarms, and the content of the store",
    "keys, certificates and their private keys, credentials, PINs, passphrases",
    "ids, asset tags, places and names of devices: they are called device-1, device-2, ...",
    "serial numbers, and everything else that devices say of themselves",
    "addresses of BLE devices and of adapters; devices that were seen and are not listed",
    "names below /dev/serial/by-id, which hold serial numbers of adapters",
    "values of configuration keys that are not named as harmless",
    "the environment of any process",
    "the journal: of log lines only the warnings that the daemon shows in its status",
    "the audit log, the fleet's documents, and its words about them",
];

/// In the place of the fleet's words, which name devices that this gateway does not know.
const OF_FLEET: &str = "[words left out: wardline status]";

/// What is in it and what is not; to be shown before anything is written.
pub fn manifest(parts: &[Part], gateway: &str) -> String {
    let mut text = format!("Support bundle of gateway {gateway}\n\nIn it:\n");
    for Part { name, about, bytes } in parts {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<18} {:>8} bytes  {about}", bytes.len());
    }
    text += "\nLeft out:\n";
    for what in LEFT_OUT {
        let _ = writeln!(text, "  {what}");
    }
    text += "\nKept as it is: the names of gateway, group and organisation, the broker's name and addresses, paths.\n\
        In free text, what stands in quotes, and runs of six digits or more, are masked.\n";
    text
}

/// Knows every name that must not leave.
pub fn mask_of(config: Option<&Config>, snapshot: Option<&Snapshot>) -> Mask {
    let mut mask = Mask::default();
    for (place, device) in config.iter().flat_map(|config| &config.devices).enumerate() {
        let name = format!("device-{}", place + 1);
        mask.hide(&device.rule.card.id, &name);
        mask.hide(&device.asset, "[asset]");
        mask.hide(device.location.as_deref().unwrap_or_default(), "[place]");
        let expects = &device.rule.expects;
        for text in [&expects.maker, &expects.model, &expects.serial, &expects.firmware].into_iter().flatten()
        {
            mask.hide(text, "[identity]");
        }
        match &device.connection {
            Connection::Serial { port, .. } => {
                mask.hide(&port.display().to_string(), &format!("port-{}", place + 1));
            }
            Connection::Ble { address, adapter, .. } => {
                mask.hide(address, "[address]");
                if adapter.contains(':') {
                    mask.hide(adapter, "[adapter]");
                }
            }
            Connection::Part { .. } => {}
        }
    }
    for key in config.iter().flat_map(|config| [&config.keys.kek, &config.keys.ward, &config.uplink.key]) {
        let KeyPlace::Token(TokenKey { token, object, .. }) = key else { continue };
        for name in [&token.label, &token.serial, object].into_iter().flatten() {
            mask.hide(name, "[token]");
        }
    }
    for stated in
        snapshot.iter().flat_map(|snapshot| &snapshot.devices).filter_map(|device| device.stated.as_ref())
    {
        for text in [&stated.maker, &stated.model, &stated.serial, &stated.firmware].into_iter().flatten() {
            mask.hide(text, "[identity]");
        }
    }
    for device in snapshot.iter().flat_map(|snapshot| &snapshot.devices) {
        mask.hide(&device.id, "[device]");
        // Behind what an advisory is about stand the reason and whoever gave it, in a person's own words.
        if let Some(quarantine) = &device.quarantine {
            mask.hide(quarantine, "[quarantine]");
        }
    }
    // What a bundle of the fleet says of devices is known only where it loaded.
    for fleet in snapshot.iter().filter_map(|snapshot| snapshot.fleet.as_ref()) {
        for words in [Some(&fleet.detail), fleet.trouble.as_ref()].into_iter().flatten() {
            [words.as_str()].into_iter().chain(words.lines()).for_each(|words| mask.hide(words, OF_FLEET));
        }
    }
    for stranger in snapshot.iter().flat_map(|snapshot| &snapshot.unlisted) {
        mask.hide(&stranger.address, "[address]");
    }
    mask
}

/// What is wrong with a configuration that cannot be read: its words name what stands in the files, and while nobody
/// knows those names they cannot be masked.
pub fn withheld(problems: &[String], folder: &str) -> Vec<String> {
    if problems.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{} problem(s), whose words are left out here: wardline check --config {folder}",
        problems.len()
    )]
}

/// Keys of the configuration whose values say nothing of a patient, a device or a secret. A section that ends with a
/// point stands for all of its keys.
const HARMLESS: [&str; 27] = [
    "devices",
    "gateway.organisation",
    "gateway.group",
    "gateway.id",
    "uplink.host",
    "uplink.port",
    "uplink.payload",
    "uplink.require_subscriber",
    "uplink.window",
    "uplink.keep_alive",
    "uplink.stalled_after",
    "uplink.heartbeat",
    "uplink.backoff_first",
    "uplink.backoff_most",
    "uplink.healthy_after",
    "uplink.authorities",
    "uplink.certificate",
    "store.folder",
    "store.cap",
    "store.alarm_reserve",
    "store.linger",
    "status.socket",
    "status.group",
    "daemon.log",
    "daemon.shutdown_grace",
    "fleet.folder",
    "fleet.trial",
];

/// The configuration: harmless values, and of all others that they are set, and where.
pub fn configuration(config: Option<&Config>, settings: &[Setting]) -> Value {
    let shown: Vec<Value> = settings
        .iter()
        .map(|Setting { key, value, source }| {
            let value = if HARMLESS.contains(&key.as_str()) { value.trim_matches('"') } else { "[left out]" };
            // Such a file may be called by what stands at a bed.
            let source = if source.starts_with(DEVICES_FOLDER) { DEVICES_FOLDER } else { source };
            json!({ "key": key, "value": value, "source": source })
        })
        .collect();
    let devices = config.iter().flat_map(|config| &config.devices).enumerate();
    let devices: Vec<Value> = devices
        .map(|(place, device)| {
            let kind = match &device.connection {
                Connection::Serial { .. } => "serial",
                Connection::Part { .. } => "part",
                Connection::Ble { .. } => "ble",
            };
            json!({
                "device": format!("device-{}", place + 1),
                "model": device.rule.card.model,
                "connection": kind,
                "security": device.rule.card.security,
                "elements": device.rule.elements.len(),
            })
        })
        .collect();
    json!({ "settings": shown, "devices": devices })
}

/// The status, field by field.
pub fn status(snapshot: &Snapshot) -> Value {
    let devices = snapshot.devices.iter().enumerate().map(|(place, device)| {
        json!({
            "device": format!("device-{}", place + 1),
            "model": device.model,
            "security": device.security,
            "bond_refused": device.bond_refused,
            "bond_refusals": device.bond_refusals,
            "link": device.link,
            "link_age_ms": device.link_age_ms,
            "link_reason": device.link_reason,
            "identified": device.identified,
            "has_stated_who_it_is": device.stated.is_some(),
            "is_another_device": device.quarantine.is_some() && !device.is_held,
            "is_held_by_an_advisory": device.is_held,
            "last_reading_age_ms": device.last_reading_age_ms,
            "silent_ms": device.silent_ms,
            "silences": device.silences,
            "admitted": device.admitted,
            "refused": device.refused,
            "faults": device.faults,
        })
    });
    json!({
        "version": snapshot.version,
        "gateway": snapshot.gateway,
        "started": snapshot.started,
        "uptime_ms": snapshot.uptime_ms,
        "time_synced": snapshot.time_synced,
        "time_max_error_us": snapshot.time_max_error_us,
        "key_protection": snapshot.key_protection,
        "key_rotation_segments_left": snapshot.key_rotation.as_ref().map(|rotation| rotation.segments_left),
        "devices": devices.collect::<Vec<_>>(),
        "uplink": snapshot.uplink,
        "radios": snapshot.radios.iter().enumerate().map(|(place, radio)| json!({
            "radio": place + 1,
            "down": radio.down,
            "not_scanning": radio.not_scanning,
            "last_advert_age_ms": radio.last_advert_age_ms,
            "restarts": radio.restarts,
            "power_cycles": radio.power_cycles,
            "usb_resets_asked": radio.usb_resets_asked,
            "values_lost": radio.values_lost,
            "pairing_refused": radio.pairing_refused,
        })).collect::<Vec<_>>(),
        "unlisted": snapshot.unlisted.len(),
        "fleet": snapshot.fleet.as_ref().map(|fleet| json!({
            "group": fleet.group,
            "root": fleet.root,
            "bundle": fleet.bundle,
            "standing": fleet.standing,
            "detail": fleet.detail,
            "trouble": fleet.trouble,
        })),
    })
}

/// The store: numbers alone.
pub fn store(snapshot: &Snapshot) -> Value {
    json!({ "store": snapshot.store, "lanes": snapshot.lanes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::member::View;
    use crate::host::status::Device;

    #[test]
    fn a_hold_is_told_and_neither_its_reason_nor_who_gave_it() {
        let words = "pump-1 is in quarantine by advisory ICSMA-1, nothing of it passes: not safe (Dr. Weber)";
        let held = Device {
            id: "pump-1".into(),
            quarantine: Some(words.into()),
            is_held: true,
            ..Device::default()
        };
        let snapshot = Snapshot { devices: vec![held], warnings: vec![words.into()], ..Snapshot::default() };
        let mask = mask_of(None, Some(&snapshot));
        assert_eq!(mask.text(&format!("look: {words}")), "look: [quarantine]");
        let shown = &status(&snapshot)["devices"][0];
        assert_eq!(
            (&shown["is_another_device"], &shown["is_held_by_an_advisory"]),
            (&false.into(), &true.into())
        );
    }

    #[test]
    fn the_words_of_a_bundle_that_does_not_load_stay_out() {
        let problems = "it does not load: 2 problems in the configuration\n  devices.d: asset AS-7 is taken by going-1\n  \
                        devices.d: id bed-eight is there twice";
        let fleet = View {
            standing: "failed".into(),
            detail: problems.into(),
            trouble: Some(format!("bundle 3: {problems}")),
            ..View::default()
        };
        let snapshot = Snapshot { fleet: Some(fleet), ..Snapshot::default() };
        let mask = mask_of(None, Some(&snapshot));
        let warning = format!("fleet: bundle 3: {problems}");
        let doctor = json!({ "text": format!("a bundle did not stand its trial: {problems}") });
        for part in [
            Part::json("status.json", "", &status(&snapshot), &mask),
            Part::json("doctor.json", "", &doctor, &mask),
            Part::text("warnings.txt", "", &warning, &mask),
        ] {
            let text = String::from_utf8(part.bytes).unwrap();
            for name in ["AS-7", "going-1", "bed-eight"] {
                assert!(!text.contains(name), "{text}");
            }
            assert!(text.contains(OF_FLEET), "{text}");
        }
        assert!(mask.text("failed").contains("failed"));
    }

    #[test]
    fn what_is_wrong_with_a_configuration_is_counted_and_not_quoted() {
        assert!(withheld(&[], "/etc/wardline").is_empty());
        let withheld = withheld(&["a".into(), "b".into()], "/etc/wardline").concat();
        assert!(
            withheld.starts_with("2 problem(s)") && withheld.ends_with("--config /etc/wardline"),
            "{withheld}"
        );
    }
}
