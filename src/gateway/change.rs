//! What two configurations differ in, as far as a running daemon is concerned: pure.
//!
//! In: the configuration that holds, and another one. Out: a [`Plan`]: which devices begin, end or are another
//! entry now, whether the uplink's part differs, and which keys no running daemon can take. The order of the
//! devices is of no account: who is moved in the list does not change.
//!
//! A device and what stands at its places ([[device.part]]) have one session, so they begin and end together
//! and go under the name of the device whose port it is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::certificate;
use crate::config::{Config, Connection, Device};
use crate::fleet::advisories::inventory::Day;
use crate::policy::DeviceRule;

/// What must happen so that a daemon that has one configuration has another. Devices by their id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Devices that were not listed.
    pub begun: Vec<String>,
    /// Devices that are not listed any more.
    pub ended: Vec<String>,
    /// Devices of which anything is another now: their session, their rule, their link or a place of theirs.
    pub changed: Vec<String>,
    /// Anything of the uplink is another now.
    pub uplink: bool,
    /// Something is another now that is only looked up: the grace of a shutdown, what is logged, the bounds of the
    /// store and of the fleet, until when the makers of devices look after their devices.
    pub others: bool,
    /// Keys whose change needs another start of the daemon.
    pub restart: Vec<&'static str>,
}

impl Plan {
    /// From one configuration to another.
    pub fn between(old: &Config, new: &Config) -> Self {
        let (before, after) = (by_host(old), by_host(new));
        let (mut begun, mut changed) = (Vec::new(), Vec::new());
        for (id, group) in &after {
            match before.get(id) {
                None => begun.push((*id).to_owned()),
                Some(known) if !is_same_group(known, group) => changed.push((*id).to_owned()),
                Some(_) => {}
            }
        }
        let ended = before.keys().filter(|id| !after.contains_key(*id)).map(|id| (*id).to_owned()).collect();
        Self {
            begun,
            ended,
            changed,
            uplink: old.uplink != new.uplink,
            others: old.shutdown_grace != new.shutdown_grace
                || old.floor != new.floor
                || old.trial != new.trial
                || old.log != new.log
                || bounds(old) != bounds(new)
                || support(old) != support(new),
            restart: needs_restart(old, new),
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The devices whose sessions end.
    pub fn stops(&self) -> impl Iterator<Item = &str> {
        self.ended.iter().chain(&self.changed).map(String::as_str)
    }

    /// The devices whose sessions begin.
    pub fn starts(&self) -> BTreeSet<&str> {
        self.begun.iter().chain(&self.changed).map(String::as_str).collect()
    }
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { begun, ended, changed, uplink, .. } = self;
        write!(f, "{} new, {} removed, {} changed", begun.len(), ended.len(), changed.len())?;
        if *uplink { f.write_str(", another uplink") } else { Ok(()) }
    }
}

/// Devices whose sessions end and begin as one step: those of one name, be it of a part that goes from one rack to
/// another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swap {
    /// Whose sessions end.
    pub stops: Vec<String>,
    /// Whose begin.
    pub starts: Vec<String>,
    /// Whose sessions must have ended before: theirs, and those that hold the ports and addresses of who begins.
    pub waits_for: BTreeSet<String>,
}

/// What a plan between two configurations consists of. `real` is what a port is below its name.
pub fn swaps(plan: &Plan, (old, new): (&Config, &Config), real: fn(&Path) -> PathBuf) -> Vec<Swap> {
    let (before, after) = (by_host(old), by_host(new));
    let leaving: Vec<&Group<'_>> = plan.stops().filter_map(|id| before.get(id)).collect();
    let coming: Vec<&Group<'_>> = plan.starts().into_iter().filter_map(|id| after.get(id)).collect();
    let mut holders: BTreeMap<Place<'_>, Vec<&str>> = BTreeMap::new();
    for group in &leaving {
        holders.entry(Place::of(group.host, real)).or_default().push(group.id());
    }
    let one = |id: &str| vec![id.to_owned()];
    let left = leaving.iter().map(|group| (group, Swap { stops: one(group.id()), ..Swap::default() }));
    let came = coming.iter().map(|group| {
        let before = holders.get(&Place::of(group.host, real)).into_iter().flatten();
        let waits_for = before.map(|id| (*id).to_owned()).collect();
        (group, Swap { starts: one(group.id()), waits_for, ..Swap::default() })
    });
    let mut all: Vec<(BTreeSet<&str>, Swap)> = Vec::new();
    for (group, mut swap) in left.chain(came) {
        let mut names: BTreeSet<&str> = group.members().collect();
        // A group may bring together what was apart.
        let (of_it, others) = all.into_iter().partition(|(known, _)| !known.is_disjoint(&names));
        all = others;
        let of_it: Vec<(BTreeSet<&str>, Swap)> = of_it;
        for (known, other) in of_it {
            names.extend(known);
            swap.stops.extend(other.stops);
            swap.starts.extend(other.starts);
            swap.waits_for.extend(other.waits_for);
        }
        swap.waits_for.extend(swap.stops.iter().cloned());
        all.push((names, swap));
    }
    all.into_iter().map(|(_, swap)| swap).collect()
}

/// What only one session can have at a time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Port(PathBuf),
    Address(&'a str),
    /// That of the device behind whose port it is.
    Part,
}

impl<'a> Place<'a> {
    fn of(device: &'a Device, real: fn(&Path) -> PathBuf) -> Self {
        match &device.connection {
            Connection::Serial { port, .. } => Self::Port(real(port)),
            Connection::Ble { address, .. } => Self::Address(address),
            Connection::Part { .. } => Self::Part,
        }
    }
}

/// A device and what stands at its places.
pub struct Group<'a> {
    /// The device that has a link of its own.
    pub host: &'a Device,
    /// What is behind its port.
    pub parts: Vec<&'a Device>,
}

impl Group<'_> {
    /// The id of the device that has the link.
    pub fn id(&self) -> &str {
        &self.host.rule.card.id
    }

    /// The ids of all of it.
    fn members(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().chain([&self.host]).map(|device| device.rule.card.id.as_str())
    }
}

/// The groups of a configuration, in its order.
pub fn groups(config: &Config) -> Vec<Group<'_>> {
    let hosts = (0u16..).zip(&config.devices).filter(|(_, device)| device.rule.behind.is_none());
    hosts
        .map(|(place, host)| {
            let parts = config.devices.iter();
            let is_behind = |device: &&Device| device.rule.behind.is_some_and(|behind| behind.0 == place);
            Group { host, parts: parts.filter(is_behind).collect() }
        })
        .collect()
}

fn by_host(config: &Config) -> BTreeMap<&str, Group<'_>> {
    // The id lives in the configuration, not in the group.
    groups(config).into_iter().map(|group| (group.host.rule.card.id.as_str(), group)).collect()
}

fn is_same_group(one: &Group<'_>, other: &Group<'_>) -> bool {
    let by_id = |group: &Group<'_>| -> Vec<Device> {
        let mut parts: Vec<Device> = group.parts.iter().map(|part| without_place(part)).collect();
        parts.sort_by(|one, other| one.rule.card.id.cmp(&other.rule.card.id));
        parts
    };
    without_place(one.host) == without_place(other.host) && by_id(one) == by_id(other)
}

/// Its place in a list says nothing of a device, and until when its maker looks after it nothing of its session.
fn without_place(device: &Device) -> Device {
    let device = device.clone();
    Device { rule: DeviceRule { behind: None, ..device.rule }, end_of_support: None, ..device }
}

/// How much the store may hold, and how long readings wait for company on their way into it.
fn bounds(config: &Config) -> (u64, u64, Duration) {
    (config.store.cap, config.store.alarm_reserve, config.store.linger)
}

/// Until when the makers of the devices look after them.
fn support(config: &Config) -> BTreeMap<&str, Day> {
    let devices = config.devices.iter();
    devices.filter_map(|device| Some((device.rule.card.id.as_str(), device.end_of_support?))).collect()
}

/// Whether two configurations differ in one thing.
type Differs = fn(&Config, &Config) -> bool;

/// What is opened once, or names the gateway. None of it may be set from afar: nobody is there to start the daemon.
const AT_START: [(&str, Differs); 11] = [
    // Who renews it was started for this one.
    ("uplink.certificate", |old, new| certificate::folder(&old.uplink) != certificate::folder(&new.uplink)),
    ("gateway.id", |old, new| old.uplink.gateway != new.uplink.gateway),
    ("store.folder", |old, new| {
        (&old.store.folder, &old.store.anchor) != (&new.store.folder, &new.store.anchor)
    }),
    ("keys.kek", |old, new| old.keys.kek != new.keys.kek),
    ("keys.kek_previous", |old, new| old.keys.kek_previous != new.keys.kek_previous),
    ("keys.ward", |old, new| old.keys.ward != new.keys.ward),
    ("status.socket", |old, new| old.socket != new.socket),
    ("status.group", |old, new| old.socket_group != new.socket_group),
    ("fleet.folder", |old, new| old.fleet != new.fleet),
    ("fleet.inventory", |old, new| old.inventory != new.inventory),
    ("fleet.import", |old, new| old.import != new.import),
];

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    AT_START.iter().filter(|(_, differs)| differs(old, new)).map(|(key, _)| *key).collect()
}

#[cfg(test)]
pub(super) mod tests;
