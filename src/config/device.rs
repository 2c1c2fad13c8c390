//! One `[[device]]` judged.

use std::path::{Component, Path, PathBuf};

use super::line_driver::{Drivers, Named};
use super::rule::Proof;
use super::scope::{Places, Scope};
use super::{Connection, Device, bond, part, raw, rule, setting, suggest};
use crate::device::ble::{CONSENT_CODE, SET_CLOCK, is_of_place, keeps_its_clock, wants_clock_set};
use crate::device::catalogue::{BleProfile, SerialModel};
use crate::device::nomenclature::Metric;
use crate::device::settings::{Setting, Settings};
use crate::link::{Line, Parity};
use crate::policy::{DeviceCard, DeviceRule};

/// Where udev makes names of serial ports that survive renumbering.
const STABLE: [&str; 2] = ["/dev/serial/by-path/", "/dev/serial/by-id/"];

/// The profile that reads the device's clock.
const CURRENT_TIME: &str = "current-time";

/// What no other device may have, by the key that says it.
pub(super) type Claims = Vec<(String, String)>;

/// What came of one device.
pub(super) struct Judged {
    /// What no other device may have, by the key that says it: known also where the rest is wrong.
    pub(super) claims: Claims,
    /// The device; `None` when at least one problem was reported.
    pub(super) device: Option<Device>,
    /// Its parts that are well.
    pub(super) parts: Vec<Device>,
    /// How many parts were written down at all.
    pub(super) listed: usize,
}

/// What is on the other end, as far as it is known.
enum Subject {
    Serial(&'static SerialModel),
    Ble(Vec<&'static BleProfile>),
}

impl Subject {
    /// What it can prove itself by.
    const fn proof(&self) -> Proof {
        match self {
            Self::Serial(model) => Proof::of(model),
            Self::Ble(_) => Proof::Anything,
        }
    }

    /// The model on a serial line.
    const fn model(&self) -> Option<&'static SerialModel> {
        match self {
            Self::Serial(model) => Some(model),
            Self::Ble(_) => None,
        }
    }

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

/// Judges one device and its parts.
pub(super) fn judge(scope: &mut Scope<'_>, drivers: &mut Drivers<'_>) -> Judged {
    let raw: raw::Device = scope.read();
    let mut claims = Claims::new();
    let id = scope.id("id", raw.id.clone(), "the device's name in topics and commands");
    claims.extend(id.iter().map(|id| ("id".to_owned(), format!("id {id}"))));
    let asset = rule::asset(scope, raw.asset.clone());
    claims.extend(asset.iter().map(|asset| ("asset".to_owned(), format!("asset {asset}"))));
    let expects = rule::expects(scope, raw.expects.as_ref());
    let (subject, connection, security) = match (&raw.driver, &raw.profiles) {
        (Some(_), Some(_)) => {
            scope.problem("driver", "a device has either a `driver` (serial) or `profiles` (BLE), not both");
            (None, None, None)
        }
        (Some(name), None) => serial(scope, &raw, name, (drivers, &mut claims)),
        (None, Some(names)) => ble(scope, &raw, names, (drivers, &mut claims)),
        (None, None) => {
            scope.missing("driver", "a `driver` (serial) or `profiles` (BLE)");
            (None, None, None)
        }
    };
    let trust = rule::trust(scope, raw.trust.as_deref(), subject.as_ref().map(Subject::proof), &expects);
    let reads = subject.as_ref().map(Subject::reads);
    let elements = rule::elements(scope, raw.elements.as_ref(), reads);
    // What is worn comes and goes: nothing is said of it unless it is asked for.
    let usual = subject.as_ref().and_then(Subject::model).map(|model| model.quiet);
    let quiet = rule::quiet(scope, raw.quiet.as_deref(), usual);
    let end_of_support = rule::end_of_support(scope, raw.end_of_support.as_deref());
    let parts = part::judge(scope, raw.part.as_deref(), subject.as_ref().and_then(Subject::model));
    claims.extend(parts.claims);
    let location = location(scope, &raw, subject.as_ref());
    let device = (|| {
        let connection = connection?;
        let card = DeviceCard {
            id: id?,
            model: match &connection {
                Connection::Serial { model, .. } | Connection::Part { model, .. } => model.name.to_owned(),
                Connection::Ble { profiles, .. } => {
                    profiles.iter().map(|profile| profile.name).collect::<Vec<_>>().join("+")
                }
            },
            pseudonym: String::new(),
            location: None,
            security: security?,
        };
        let rule = DeviceRule { card, expects, trust: trust?, elements: elements?, behind: None, quiet };
        Some(Device { rule, asset: asset?, location: location.ok()?, connection, end_of_support })
    })();
    Judged { claims, device, parts: parts.devices, listed: raw.part.as_ref().map_or(0, Vec::len) }
}

/// The place of which it speaks: of a sensor of a place the one that is named, else the device's own id. `Err` when
/// a problem was reported.
fn location(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    subject: Option<&Subject>,
) -> Result<Option<String>, ()> {
    let Some(subject) = subject else { return Err(()) };
    let is_of_place = match subject {
        Subject::Serial(_) => false,
        Subject::Ble(profiles) => {
            profiles.iter().flat_map(|profile| profile.reads).any(|row| is_of_place(row))
        }
    };
    if is_of_place {
        // A missing id is reported where it is missing.
        let named = raw.location.clone().or_else(|| raw.id.clone()).ok_or(())?;
        return rule::location(scope, Some(named)).map(Some).ok_or(());
    }
    if raw.location.is_some() {
        scope.problem("location", "is for sensors of a place (environmental-sensing): this device is none");
        return Err(());
    }
    Ok(None)
}

/// Everything that a device can report.
pub(super) fn reads(connection: &Connection) -> Vec<&'static Metric> {
    match connection {
        Connection::Serial { model, .. } | Connection::Part { model, .. } => Subject::Serial(model).reads(),
        Connection::Ble { profiles, .. } => Subject::Ble(profiles.clone()).reads(),
    }
}

/// Where the names of drivers are looked up, and where claims are noted.
type Context<'a, 'c> = (&'a mut Drivers<'c>, &'a mut Claims);
type Link = (Option<Subject>, Option<Connection>, Option<&'static str>);

fn serial(scope: &mut Scope<'_>, raw: &raw::Device, name: &str, (drivers, claims): Context<'_, '_>) -> Link {
    for (key, given) in [
        ("address", raw.address.is_some()),
        ("adapter", raw.adapter.is_some()),
        ("security", raw.security.is_some()),
        ("pairing", raw.pairing.is_some()),
        ("minimum_class", raw.minimum_class.is_some()),
        ("protected", raw.protected.is_some()),
    ] {
        if given {
            scope.problem(key, "is for BLE devices: this one has a serial `driver`");
        }
    }
    let model = match drivers.named(name) {
        Named::Model(model) => Some(model),
        Named::Refused => None,
        Named::Unknown(way_out) => {
            scope.problem("driver", format!("{name:?} is not a known driver{way_out}"));
            None
        }
    };
    let port = port(scope, raw);
    if let Some(port) = &port {
        // Compared by what it points to: by-path and by-id may name the same port.
        let target = std::fs::canonicalize(port).unwrap_or_else(|_| port.clone());
        claims.push(("port".to_owned(), format!("port {}", target.display())));
    }
    let line = model.and_then(|model| line(scope, raw.line.as_ref(), model.line));
    let settings = model.and_then(|model| {
        setting::judge(scope, raw.settings.as_ref(), (model.settings, model.name), drivers.places)
    });
    let connection =
        (|| Some(Connection::Serial { port: port?, line: line?, model: model?, settings: settings? }))();
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
    (drivers, claims): Context<'_, '_>,
) -> Link {
    for (key, given) in [
        ("port", raw.port.is_some()),
        ("line", raw.line.is_some()),
        ("allow_unstable_port", raw.allow_unstable_port.is_some()),
        ("part", raw.part.is_some()),
    ] {
        if given {
            scope.problem(key, "is for serial devices: this one has BLE `profiles`");
        }
    }
    let profiles = profiles(scope, names, drivers);
    let address = address(scope, raw.address.as_deref());
    claims.extend(address.iter().map(|address| ("address".to_owned(), format!("address {address}"))));
    let adapter = adapter(scope, raw.adapter.as_deref());
    let security = match raw.security.as_deref() {
        None => Some("bonded"),
        given => scope.word("security", given, &[("bonded", "bonded"), ("open", "open")]),
    };
    let bond = bond::judge(scope, raw, security);
    let subject = profiles.clone().map(Subject::Ble);
    let settings =
        profiles.as_deref().and_then(|profiles| ble_settings(scope, raw, profiles, drivers.places));
    let connection = (|| {
        Some(Connection::Ble {
            address: address?,
            adapter: adapter?,
            profiles: profiles?,
            bond: bond.ok()?,
            settings: settings?,
        })
    })();
    (subject, connection, security)
}

/// What can be set for any of its profiles, each once.
fn ble_settings(
    scope: &mut Scope<'_>,
    raw: &raw::Device,
    profiles: &[&'static BleProfile],
    places: &Places,
) -> Option<Settings> {
    let mut rows: Vec<Setting> = Vec::new();
    for row in profiles.iter().flat_map(|profile| profile.settings()) {
        if rows.iter().all(|other| other.name != row.name) {
            rows.push(*row);
        }
    }
    let names = profiles.iter().map(|profile| profile.name).collect::<Vec<_>>().join("+");
    let settings = setting::judge(scope, raw.settings.as_ref(), (&rows, &names), places)?;
    // What a consent releases was measured some day: only the device's clock says when.
    if settings.file(CONSENT_CODE).is_some() && profiles.iter().all(|profile| profile.name != CURRENT_TIME) {
        let text = format!(
            "needs {CURRENT_TIME:?} among the `profiles`: without the device's clock nobody can say when what it \
             keeps was measured"
        );
        scope.problem(&format!("settings.{CONSENT_CODE}"), text);
        return None;
    }
    if let Some(profile) = keeps_its_clock(profiles).filter(|_| wants_clock_set(&settings)) {
        let key = format!("settings.{SET_CLOCK}");
        let text = format!(
            "must be \"never\" for a device with `{profile}`: a pump's clock drives its basal rates, and the \
             session of a glucose sensor hangs on its clock"
        );
        scope.problem(&key, text);
        return None;
    }
    Some(settings)
}

fn profiles(
    scope: &mut Scope<'_>,
    names: &[Option<String>],
    drivers: &Drivers<'_>,
) -> Option<Vec<&'static BleProfile>> {
    if names.is_empty() {
        scope.problem("profiles", "is empty: name at least one profile");
    }
    let mut found: Vec<&'static BleProfile> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        let key = format!("profiles.{place}");
        let Some(profile) = drivers.catalogue.ble.iter().copied().find(|profile| profile.name == *name)
        else {
            let known = drivers.catalogue.ble.iter().map(|profile| profile.name);
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
/// BlueZ's name, `hci0`, or the adapter's address, which another order of plugging in does not change.
fn adapter(scope: &mut Scope<'_>, raw: Option<&str>) -> Option<String> {
    let name = raw.unwrap_or("hci0");
    let number = name.strip_prefix("hci").unwrap_or_default();
    if (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) {
        return Some(name.to_owned());
    }
    let address = name.to_ascii_uppercase();
    if is_address(&address) {
        return Some(address);
    }
    let text = format!("{name:?} is not an adapter: write for instance \"hci0\", or the adapter's address");
    scope.problem("adapter", text);
    None
}

/// Six pairs of hexadecimal digits with colons, neither none nor all.
fn is_address(text: &str) -> bool {
    let pairs: Vec<&str> = text.split(':').collect();
    let fits = pairs.len() == 6
        && pairs.iter().all(|pair| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit()));
    fits && text != "00:00:00:00:00:00" && text != "FF:FF:FF:FF:FF:FF"
}

fn address(scope: &mut Scope<'_>, raw: Option<&str>) -> Option<String> {
    let text = scope.required("address", raw, "the identity address, for instance 00:1C:05:00:12:34")?;
    let address = text.to_ascii_uppercase();
    if !is_address(&address) {
        scope.problem("address", format!("{text:?} is not a device's address: write 00:1C:05:00:12:34"));
        return None;
    }
    Some(address)
}
