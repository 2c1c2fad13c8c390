//! One `[[device]]` judged.

use std::path::{Component, Path, PathBuf};

use super::scope::Scope;
use super::{Catalogue, Connection, Device, raw, suggest};
use crate::device::Identity;
use crate::device::catalogue::{BleProfile, IdentityProof, SerialModel};
use crate::device::nomenclature::{Metric, metric_by_reference};
use crate::link::{Line, Parity};
use crate::policy::{DeviceCard, DeviceRule, Trust};

/// Where udev makes names of serial ports that survive renumbering.
const STABLE: [&str; 2] = ["/dev/serial/by-path/", "/dev/serial/by-id/"];
/// The longest asset tag and identity text, in bytes: past any label that fits on a device.
const MAX_TEXT: usize = 64;

/// What came of one device.
pub(super) struct Judged {
    /// What no other device may have, by the key that says it: known also where the rest is wrong.
    pub(super) claims: Vec<(&'static str, String)>,
    /// The device; `None` when at least one problem was reported.
    pub(super) device: Option<Device>,
}

/// What is on the other end, as far as it is known.
enum Subject {
    Serial(&'static SerialModel),
    Ble(Vec<&'static BleProfile>),
}

impl Subject {
    /// Everything that it can report, each once.
    fn reads(&self) -> Vec<&'static Metric> {
        let all: Vec<&'static Metric> = match self {
            Self::Serial(model) => model.reads.to_vec(),
            Self::Ble(profiles) => {
                profiles.iter().flat_map(|profile| profile.reads.iter().copied()).collect()
            }
        };
        let mut once: Vec<&'static Metric> = Vec::new();
        for metric in all {
            if once.iter().all(|other| other.code != metric.code) {
                once.push(metric);
            }
        }
        once
    }
}

/// Judges one device.
pub(super) fn judge(scope: &mut Scope<'_>, catalogue: &Catalogue) -> Judged {
    let raw: raw::Device = scope.read();
    let mut claims = Vec::new();
    let id = scope.id("id", raw.id.clone(), "the device's name in topics and commands");
    claims.extend(id.iter().map(|id| ("id", format!("id {id}"))));
    let asset = text(scope, "asset", raw.asset.clone(), true);
    let expects = expects(scope, &raw);
    let (subject, connection, security) = match (&raw.driver, &raw.profiles) {
        (Some(_), Some(_)) => {
            scope.problem("driver", "a device has either a `driver` (serial) or `profiles` (BLE), not both");
            (None, None, None)
        }
        (Some(name), None) => serial(scope, &raw, name, (catalogue, &mut claims)),
        (None, Some(names)) => ble(scope, &raw, names, (catalogue, &mut claims)),
        (None, None) => {
            scope.missing("driver", "a `driver` (serial) or `profiles` (BLE)");
            (None, None, None)
        }
    };
    let trust = trust(scope, &raw, subject.as_ref(), &expects);
    let reads = subject.as_ref().map(Subject::reads);
    let elements = elements(scope, raw.elements.as_ref(), reads);
    let device = (|| {
        let connection = connection?;
        let card = DeviceCard {
            id: id?,
            model: match &connection {
                Connection::Serial { model, .. } => model.name.to_owned(),
                Connection::Ble { profiles, .. } => {
                    profiles.iter().map(|profile| profile.name).collect::<Vec<_>>().join("+")
                }
            },
            pseudonym: String::new(),
            security: security?,
        };
        let rule = DeviceRule { card, expects, trust: trust?, elements: elements? };
        Some(Device { rule, asset: asset?, connection })
    })();
    Judged { claims, device }
}

/// Everything that a device can report.
pub(super) fn reads(connection: &Connection) -> Vec<&'static Metric> {
    match connection {
        Connection::Serial { model, .. } => Subject::Serial(model).reads(),
        Connection::Ble { profiles, .. } => Subject::Ble(profiles.clone()).reads(),
    }
}

/// Where the names of drivers are looked up, and where claims are noted.
type Context<'a> = (&'a Catalogue, &'a mut Vec<(&'static str, String)>);
type Link = (Option<Subject>, Option<Connection>, Option<&'static str>);

fn serial(scope: &mut Scope<'_>, raw: &raw::Device, name: &str, (catalogue, claims): Context<'_>) -> Link {
    for (key, given) in [
        ("address", raw.address.is_some()),
        ("adapter", raw.adapter.is_some()),
        ("security", raw.security.is_some()),
    ] {
        if given {
            scope.problem(key, "is for BLE devices: this one has a serial `driver`");
        }
    }
    let model = catalogue.serial.iter().copied().find(|model| model.name == name);
    if model.is_none() {
        let known = catalogue.serial.iter().map(|model| model.name);
        scope.problem("driver", format!("{name:?} is not a known driver{}", suggest::nearest(name, known)));
    }
    let port = port(scope, raw);
    if let Some(port) = &port {
        // Compared by what it points to: by-path and by-id may name the same port.
        let target = std::fs::canonicalize(port).unwrap_or_else(|_| port.clone());
        claims.push(("port", format!("port {}", target.display())));
    }
    let line = model.and_then(|model| line(scope, raw.line.as_ref(), model.line));
    let connection = (|| Some(Connection::Serial { port: port?, line: line?, model: model? }))();
    (model.map(Subject::Serial), connection, Some("serial"))
}

fn port(scope: &mut Scope<'_>, raw: &raw::Device) -> Option<PathBuf> {
    let port =
        scope.required("port", raw.port.as_deref(), "the port, for instance /dev/serial/by-path/...")?;
    let path = Path::new(port);
    let plain = path.is_absolute()
        && !port.contains('\0')
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !plain {
        scope.problem("port", format!("{port:?} must be an absolute path without `..`"));
        return None;
    }
    let stable = STABLE.iter().any(|folder| port.strip_prefix(folder).is_some_and(|name| !name.is_empty()));
    if !stable && raw.allow_unstable_port != Some(true) {
        scope.problem(
            "port",
            format!(
                "{port:?} may name another device after a reboot: use a path below /dev/serial/by-path \
                 or by-id, or say allow_unstable_port = true"
            ),
        );
        return None;
    }
    // One spelling for each port, so that two entries for one port are found.
    Some(path.components().collect())
}

fn line(scope: &mut Scope<'_>, raw: Option<&raw::Line>, default: Line) -> Option<Line> {
    let Some(raw) = raw else { return Some(default) };
    let baud = match raw.baud {
        None => Some(default.baud),
        given => scope.number("line.baud", given, (50, 4_000_000)),
    };
    let data_bits = match raw.data_bits {
        None => Some(default.data_bits),
        given => scope.number("line.data_bits", given, (7, 8)),
    };
    let parity = match raw.parity.as_deref() {
        None => Some(default.parity),
        given => scope.word(
            "line.parity",
            given,
            &[("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)],
        ),
    };
    let stop_bits = match raw.stop_bits {
        None => Some(default.stop_bits),
        given => scope.number("line.stop_bits", given, (1, 2)),
    };
    Some(Line { baud: baud?, data_bits: data_bits?, parity: parity?, stop_bits: stop_bits? })
}

fn ble(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    names: &[Option<String>],
    (catalogue, claims): Context<'_>,
) -> Link {
    for (key, given) in [
        ("port", raw.port.is_some()),
        ("line", raw.line.is_some()),
        ("allow_unstable_port", raw.allow_unstable_port.is_some()),
    ] {
        if given {
            scope.problem(key, "is for serial devices: this one has BLE `profiles`");
        }
    }
    let profiles = profiles(scope, names, catalogue);
    let address = address(scope, raw.address.as_deref());
    claims.extend(address.iter().map(|address| ("address", format!("address {address}"))));
    let adapter = match raw.adapter.as_deref() {
        None => Some("hci0".to_owned()),
        Some(name) => {
            let number = name.strip_prefix("hci").unwrap_or_default();
            let fits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            if !fits {
                scope.problem("adapter", format!("{name:?} is not an adapter: write for instance \"hci0\""));
            }
            fits.then(|| name.to_owned())
        }
    };
    let security = match raw.security.as_deref() {
        None => Some("bonded"),
        given => scope.word("security", given, &[("bonded", "bonded"), ("open", "open")]),
    };
    let subject = profiles.clone().map(Subject::Ble);
    let connection =
        (|| Some(Connection::Ble { address: address?, adapter: adapter?, profiles: profiles? }))();
    (subject, connection, security)
}

fn profiles(
    scope: &mut Scope<'_>,
    names: &[Option<String>],
    catalogue: &Catalogue,
) -> Option<Vec<&'static BleProfile>> {
    if names.is_empty() {
        scope.problem("profiles", "is empty: name at least one profile");
    }
    let mut found: Vec<&'static BleProfile> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let key = format!("profiles.{place}");
        let Some(profile) = catalogue.ble.iter().copied().find(|profile| profile.name == *name) else {
            let known = catalogue.ble.iter().map(|profile| profile.name);
            scope.problem(&key, format!("{name:?} is not a known profile{}", suggest::nearest(name, known)));
            continue;
        };
        if found.iter().any(|other| other.name == profile.name) {
            scope.problem(&key, format!("{name:?} is listed twice"));
            continue;
        }
        found.push(profile);
    }
    (!names.is_empty() && found.len() == names.len()).then_some(found)
}

/// Six pairs of hex digits with colons, made upper case.
fn address(scope: &mut Scope<'_>, raw: Option<&str>) -> Option<String> {
    let text = scope.required("address", raw, "the identity address, for instance 00:1C:05:00:12:34")?;
    let pairs: Vec<&str> = text.split(':').collect();
    let fits = pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()));
    let address = text.to_ascii_uppercase();
    if !fits || address == "00:00:00:00:00:00" || address == "FF:FF:FF:FF:FF:FF" {
        scope.problem("address", format!("{text:?} is not a device's address: write 00:1C:05:00:12:34"));
        return None;
    }
    Some(address)
}

fn expects(scope: &mut Scope<'_>, raw: &raw::Device) -> Identity {
    let Some(given) = &raw.expects else { return Identity::default() };
    Identity {
        maker: text(scope, "expects.maker", given.maker.clone(), false),
        model: text(scope, "expects.model", given.model.clone(), false),
        serial: text(scope, "expects.serial", given.serial.clone(), false),
        firmware: text(scope, "expects.firmware", given.firmware.clone(), false),
    }
}

fn text(scope: &mut Scope<'_>, key: &str, value: Option<String>, required: bool) -> Option<String> {
    if value.is_none() && !required {
        return None;
    }
    let value = scope.required(key, value, "the tag on the device, from which its pseudonym is made")?;
    let value = value.trim().to_owned();
    if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        scope.problem(key, format!("must be 1 to {MAX_TEXT} bytes without control characters"));
        return None;
    }
    Some(value)
}

/// What vouches for the device. Where its protocol states who it is, that must be asked for, or
/// `trust = "link-only"` must say that the port or address alone is enough.
fn trust(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    subject: Option<&Subject>,
    expects: &Identity,
) -> Option<Trust> {
    let words = [("reported-identity", Trust::ReportedIdentity), ("link-only", Trust::LinkOnly)];
    let said = match raw.trust.as_deref() {
        None => None,
        given => Some(scope.word("trust", given, &words)?),
    };
    match subject? {
        Subject::Serial(model) if model.identity == IdentityProof::PortOnly => {
            let name = model.name;
            if said == Some(Trust::ReportedIdentity) {
                scope.problem(
                    "trust",
                    format!("{name} states no identity in its protocol: the port alone vouches"),
                );
                return None;
            }
            if *expects != Identity::default() {
                scope.problem(
                    "expects",
                    format!("{name} states no identity in its protocol: this can never be met"),
                );
                return None;
            }
            Some(Trust::LinkOnly)
        }
        Subject::Serial(_) => reported(scope, said, expects, "expects.serial"),
        Subject::Ble(_) => reported(scope, said, expects, "expects"),
    }
}

fn reported(scope: &mut Scope<'_>, said: Option<Trust>, expects: &Identity, key: &str) -> Option<Trust> {
    let said = said.unwrap_or(Trust::ReportedIdentity);
    let enough = if key == "expects" { *expects != Identity::default() } else { expects.serial.is_some() };
    if said == Trust::ReportedIdentity && !enough {
        scope.missing(
            key,
            "what the device must say of itself, or trust = \"link-only\" to let its link alone vouch",
        );
        return None;
    }
    Some(said)
}

/// What may leave: everything that its driver reads, or those that are listed.
fn elements(
    scope: &mut Scope<'_>,
    raw: Option<&raw::Elements>,
    reads: Option<Vec<&'static Metric>>,
) -> Option<Vec<&'static Metric>> {
    match scope.required("elements", raw, "\"all\" or a list of reference ids")? {
        raw::Elements::Word(word) if word == "all" => reads,
        raw::Elements::Word(word) => {
            scope.problem(
                "elements",
                format!("{word:?} is not \"all\": write \"all\" or a list of reference ids"),
            );
            None
        }
        raw::Elements::List(list) if list.is_empty() => {
            scope.problem("elements", "is empty: nothing of the device could leave");
            None
        }
        raw::Elements::List(list) => listed(scope, list, reads.as_deref()),
    }
}

/// `reads` is `None` when the driver is not known: then only the reference ids are judged.
fn listed(
    scope: &mut Scope<'_>,
    list: &[Option<String>],
    reads: Option<&[&'static Metric]>,
) -> Option<Vec<&'static Metric>> {
    let mut found: Vec<&'static Metric> = Vec::new();
    for (place, name) in list.iter().enumerate() {
        let Some(name) = name else { continue };
        let key = format!("elements.{place}");
        let known = reads.and_then(|reads| reads.iter().copied().find(|metric| metric.reference == name));
        match known.or_else(|| metric_by_reference(name)) {
            None => {
                let near = reads.unwrap_or_default().iter().map(|metric| metric.reference);
                scope.problem(
                    &key,
                    format!("{name:?} is not a known element{}", suggest::nearest(name, near)),
                );
            }
            Some(_) if reads.is_some() && known.is_none() => {
                let near = reads.unwrap_or_default().iter().map(|metric| metric.reference);
                let near = near.collect::<Vec<_>>().join(", ");
                scope
                    .problem(&key, format!("{name} is not read by this device's driver, which reads {near}"));
            }
            Some(metric) if found.iter().any(|other| other.code == metric.code) => {
                scope.problem(&key, format!("{name} is listed twice"));
            }
            Some(metric) => found.push(metric),
        }
    }
    (found.len() == list.len() && reads.is_some()).then_some(found)
}
