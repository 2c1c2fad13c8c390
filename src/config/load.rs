//! From a folder to a [`Config`] in one step that reports everything that is wrong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::value::{Dict, Value};

use super::floor::{self, FLOOR_FILE, Floor};
use super::gateway::DeviceList;
use super::layers::{self, DEVICES_FOLDER, Environment, GATEWAY_FILE};
use super::line_driver::{self, Drivers};
use super::problem::Problems;
use super::pushed::Pushed;
use super::raw::SECTIONS;
use super::scope::{Places, Scope};
use super::{Catalogue, Config, Connection, Device, Loaded, Setting, device, gateway, peel, suggest};
use crate::device::DeviceIndex;
use crate::device::catalogue::Parts;
use crate::envelope::keys::{TokenKey, UriError};

/// The most devices of one gateway: a ward, with room to spare, and far within `DeviceIndex`.
pub const MAX_DEVICES: usize = 1_024;

/// What a file of `devices.d` may hold.
const TABLES: [&str; 2] = ["device", line_driver::TABLE];

/// Reads the layers and judges them as a whole.
pub fn load(folder: &Path, environment: &Environment, catalogue: &Catalogue) -> Result<Loaded, Problems> {
    load_with(folder, environment, catalogue, None)
}

/// The same with what the fleet pushed: its settings lie above `gateway.toml`, its devices stand in place
/// of those of `devices.d`.
pub fn load_with(
    folder: &Path,
    environment: &Environment,
    catalogue: &Catalogue,
    pushed: Option<&Pushed>,
) -> Result<Loaded, Problems> {
    let mut problems = Problems::default();
    if !layers::check_folder(folder, &mut problems) {
        return Err(problems);
    }
    let places = Places::new(folder, environment.credentials());
    let floor = judge_floor(folder, &mut problems);
    let layer = pushed.map(|pushed| (pushed.name.as_str(), pushed.settings(&floor, &mut problems)));
    let figment = layers::gateway(folder, environment, layer, &mut problems);
    let values = dict_of(&figment, GATEWAY_FILE, &mut problems);
    let mut settings = settings_of(&figment, "", &values);
    let mut scope = Scope::new(&figment, Value::from(values), GATEWAY_FILE, String::new(), &mut problems);
    let (parts, list) = gateway::judge(&mut scope, &places);

    let local = layers::devices(folder, &mut problems);
    let idle = pushed.map_or(0, |_| local.as_ref().map_or(0, Vec::len));
    let files = match pushed {
        Some(pushed) => Some(vec![layers::named(&pushed.name, pushed.tables(&floor, &mut problems))]),
        None => local,
    };
    let files_read = read_files(files.as_deref().unwrap_or_default(), &mut problems);
    let mut drivers =
        judge_drivers(&files_read, Drivers::new(catalogue, &places), &mut settings, &mut problems);
    let (devices, found) = judge_files(&files_read, &mut drivers, &mut settings, &mut problems);
    // A bundle may well leave a gateway without a device: its operator was asked.
    if let (None, Some(list)) = (pushed, list) {
        refuse_unmeant(list, found, files.is_some(), &mut problems);
    }
    let (Some(parts), true) = (parts, problems.is_empty()) else { return Err(problems) };
    let mut uplink = parts.uplink;
    if let Some(pushed) = pushed {
        follow(pushed, &mut uplink.group, &mut settings);
    }
    uplink.revocation.pushed = pushed.map(|pushed| pushed.revocations.clone()).unwrap_or_default();
    let config = Config {
        store: parts.store,
        uplink,
        keys: parts.keys,
        socket: parts.socket,
        socket_group: parts.socket_group,
        log: parts.log,
        shutdown_grace: parts.shutdown_grace,
        fleet: parts.fleet,
        inventory: parts.inventory,
        import: parts.import,
        trial: parts.trial,
        floor,
        devices,
    };
    let unused = drivers
        .unused()
        .map(|name| format!("{name}: no [[device]] has this driver: nothing is read by this description"));
    let unread = (idle > 0).then(|| {
        format!(
            "{DEVICES_FOLDER}: its {idle} files are not read: {} lists the devices",
            pushed.map_or("", |pushed| &pushed.name)
        )
    });
    let notes = notes(&config).into_iter().chain(unused).chain(unread).collect();
    Ok(Loaded { config, settings, notes, described: drivers.described() })
}

/// A bundle is of the group that its signers sent this gateway to: what is read under it goes to that group's topics.
fn follow(pushed: &Pushed, own: &mut String, settings: &mut [Setting]) {
    let Some(group) = &pushed.group else { return };
    own.clone_from(group);
    if let Some(shown) = settings.iter_mut().find(|setting| setting.key == "gateway.group") {
        (shown.value, shown.source) = (format!("{group:?}"), pushed.name.clone());
    }
}

/// Where a gateway keeps what its fleet says, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The folder.
    pub folder: PathBuf,
    /// The organisation.
    pub organisation: String,
    /// The gateway's id.
    pub gateway: String,
}

/// Whether the gateway takes anything from a fleet, by `gateway.toml` and the environment alone: what a bundle
/// stands in place of need not be valid. `None`: it takes nothing, or these files are not valid either.
pub fn membership(folder: &Path, environment: &Environment) -> Option<Membership> {
    let mut problems = Problems::default();
    if !layers::check_folder(folder, &mut problems) {
        return None;
    }
    let places = Places::new(folder, environment.credentials());
    let figment = layers::gateway(folder, environment, None, &mut problems);
    let values = dict_of(&figment, GATEWAY_FILE, &mut problems);
    let mut scope = Scope::new(&figment, Value::from(values), GATEWAY_FILE, String::new(), &mut problems);
    let (parts, _) = gateway::judge(&mut scope, &places);
    let gateway::Parts { uplink, fleet, .. } = parts?;
    Some(Membership { folder: fleet?, organisation: uplink.organisation, gateway: uplink.gateway })
}

/// No device must be said on purpose, and so must devices.
fn refuse_unmeant(list: DeviceList, found: usize, has_folder: bool, problems: &mut Problems) {
    match (list, found) {
        (DeviceList::Listed, 0) if problems.is_empty() || !has_folder => problems.push(
            DEVICES_FOLDER,
            "",
            "lists no device: add a file with a [[device]], or say devices = \"none\" in gateway.toml",
        ),
        (DeviceList::None, 1..) => problems.push(
            GATEWAY_FILE,
            "devices",
            format!("is \"none\", but {DEVICES_FOLDER} lists {found}: remove the one or the other"),
        ),
        (DeviceList::Listed | DeviceList::None, _) => {}
    }
}

/// What `floor.toml` says. When it cannot be read that is a problem, and nothing is pushed past it.
fn judge_floor(folder: &Path, problems: &mut Problems) -> Floor {
    let figment = layers::optional(folder, FLOOR_FILE, problems);
    let values = dict_of(&figment, FLOOR_FILE, problems);
    let mut scope = Scope::new(&figment, Value::from(values), FLOOR_FILE, String::new(), problems);
    floor::judge(&mut scope).unwrap_or_default()
}

/// Reads the PKCS#11 URI of a token's key as the configuration in `folder` would.
pub fn token_key(uri: &str, folder: &Path, environment: &Environment) -> Result<TokenKey, UriError> {
    let places = Places::new(folder, environment.credentials());
    TokenKey::parse(uri, |name| places.credential(name))
}

/// A file of `devices.d` and what it holds.
struct DeviceFile<'a> {
    name: &'a str,
    figment: &'a Figment,
    devices: Vec<Value>,
    line_drivers: Vec<Value>,
}

fn read_files<'a>(files: &'a [(String, Figment)], problems: &mut Problems) -> Vec<DeviceFile<'a>> {
    let read = files.iter().map(|(name, figment)| {
        let dict = dict_of(figment, name, problems);
        refuse_others(name, &dict, problems);
        let devices = tables(name, &dict, "device", problems);
        let line_drivers = tables(name, &dict, line_driver::TABLE, problems);
        DeviceFile { name, figment, devices, line_drivers }
    });
    read.collect()
}

/// The drivers that a device of any file may name.
fn judge_drivers<'a>(
    files: &[DeviceFile<'_>],
    mut drivers: Drivers<'a>,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) -> Drivers<'a> {
    for file in files {
        for (place, values) in file.line_drivers.iter().enumerate() {
            let prefix = format!("{}[{place}].", line_driver::TABLE);
            if let Some(dict) = values.as_dict() {
                settings.extend(settings_of(file.figment, &format!("{}: {prefix}", file.name), dict));
            }
            drivers.judge(&mut Scope::new(file.figment, values.clone(), file.name, prefix, problems));
        }
    }
    drivers
}

/// The devices of all files that are well, and how many were written down at all.
fn judge_files(
    files: &[DeviceFile<'_>],
    drivers: &mut Drivers<'_>,
    settings: &mut Vec<Setting>,
    problems: &mut Problems,
) -> (Vec<Device>, usize) {
    let mut devices = Vec::new();
    let mut taken = BTreeMap::new();
    let mut adapter = None;
    let mut found = 0;
    for DeviceFile { name: file, figment, devices: listed, .. } in files {
        for (place, values) in listed.iter().cloned().enumerate() {
            found += 1;
            if found == MAX_DEVICES + 1 {
                problems.push(file, "device", format!("more than {MAX_DEVICES} devices on one gateway"));
            }
            if found > MAX_DEVICES {
                continue;
            }
            let prefix = format!("device[{place}].");
            if let Some(dict) = values.as_dict() {
                settings.extend(settings_of(figment, &format!("{file}: {prefix}"), dict));
            }
            let mut scope = Scope::new(figment, values, file, prefix, problems);
            let judged = device::judge(&mut scope, drivers);
            refuse_taken(&mut scope, &mut taken, judged.claims);
            refuse_mixed(&mut scope, &mut adapter, judged.device.as_ref());
            if found <= MAX_DEVICES && found + judged.listed > MAX_DEVICES {
                problems.push(file, "device", format!("more than {MAX_DEVICES} devices on one gateway"));
            }
            found += judged.listed;
            let behind = u16::try_from(devices.len()).ok().map(DeviceIndex);
            devices.extend(judged.device);
            devices.extend(judged.parts.into_iter().map(|mut part| {
                part.rule.behind = behind;
                part
            }));
        }
    }
    (devices, found)
}

/// A file may hold nothing but [`TABLES`], and holds something.
fn refuse_others(file: &str, dict: &Dict, problems: &mut Problems) {
    for key in dict.keys().filter(|key| !TABLES.contains(&key.as_str())) {
        let way_out = if SECTIONS.contains(&key.as_str()) {
            format!(": it belongs in {GATEWAY_FILE}")
        } else {
            suggest::nearest(key, TABLES.into_iter())
        };
        let reason =
            format!("a file of {DEVICES_FOLDER} holds only [[device]] and [[line_driver]] tables{way_out}");
        problems.push(file, key, reason);
    }
    if dict.is_empty() {
        problems.push(file, "", "lists no device: remove the file or add a [[device]]");
    }
}

/// The tables of this name in a file.
fn tables(file: &str, dict: &Dict, name: &str, problems: &mut Problems) -> Vec<Value> {
    match dict.get(name) {
        None => Vec::new(),
        Some(Value::Array(_, list)) => list.clone(),
        Some(_) => {
            problems.push(file, name, format!("must be written [[{name}]], with two brackets"));
            Vec::new()
        }
    }
}

/// No two devices have one id, one asset, one port or one address.
fn refuse_taken(scope: &mut Scope<'_>, taken: &mut BTreeMap<String, String>, claims: device::Claims) {
    let here = scope.name();
    for (key, claim) in claims {
        if let Some(other) = taken.get(&claim) {
            scope.problem(&key, format!("{claim} is taken by {other}"));
        } else {
            // A part is named by its own table.
            let table =
                key.rsplit_once('.').map_or_else(|| here.clone(), |(table, _)| format!("{here}.{table}"));
            taken.insert(claim, table);
        }
    }
}

/// One adapter under two names would have two masters: all are named by index, or all by address.
fn refuse_mixed(scope: &mut Scope<'_>, first: &mut Option<(String, String)>, device: Option<&Device>) {
    let Some(Connection::Ble { adapter, .. }) = device.map(|device| &device.connection) else { return };
    let is_address = |name: &str| name.contains(':');
    match first {
        None => *first = Some((adapter.clone(), scope.name())),
        Some((other, place)) if is_address(other) != is_address(adapter) => {
            let text = format!(
                "{adapter:?} here and {other:?} of {place}: name every adapter by its index, or each by its address"
            );
            scope.problem("adapter", text);
        }
        Some(_) => {}
    }
}

/// What is allowed but worth a word.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let behind: Vec<DeviceIndex> = config.devices.iter().filter_map(|device| device.rule.behind).collect();
    for (place, device) in (0..).map(DeviceIndex).zip(&config.devices) {
        let id = &device.rule.card.id;
        let silent: Vec<&str> = device::reads(&device.connection)
            .into_iter()
            .filter(|metric| metric.reference.starts_with("MDC_EVT_"))
            .filter(|metric| device.rule.elements.iter().all(|listed| listed.code != metric.code))
            .map(|metric| metric.reference)
            .collect();
        if !silent.is_empty() {
            notes.push(format!("{id}: these alarms will not be passed on: {}", silent.join(", ")));
        }
        if let Connection::Serial { model, .. } = &device.connection
            && let Parts::Many { word, .. } = model.parts
            && !behind.contains(&place)
        {
            notes.push(format!(
                "{id}: no {word} of it is listed as a [[device.part]]: nothing of what stands there passes"
            ));
        }
        if device.rule.card.security == "open" {
            notes.push(format!("{id}: its radio link is not encrypted, and every record of it will say so"));
        }
    }
    notes
}

/// What figment made of the layers. Tags survive, so each value still knows where it was written.
pub(super) fn dict_of(figment: &Figment, file: &str, problems: &mut Problems) -> Dict {
    figment.extract::<Dict>().unwrap_or_else(|error| {
        problems.push(file, "", format!("cannot be read: {}", error.kind));
        Dict::new()
    })
}

fn settings_of(figment: &Figment, prefix: &str, dict: &Dict) -> Vec<Setting> {
    peel::leaves(dict)
        .into_iter()
        .map(|(key, value)| Setting {
            key: format!("{prefix}{key}"),
            value: peel::show(value),
            source: layers::origin(figment, value).unwrap_or_default(),
        })
        .collect()
}
