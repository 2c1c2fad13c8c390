//! One adapter, driven over D-Bus: found, switched, scanning (BlueZ, `org.bluez.Adapter`).
//!
//! In: how the configuration names it. Out: its path, and the results of what it was asked. btleplug
//! would interleave the scan with one for classic devices, and can switch nothing off.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use dbus::arg::{PropMap, Variant, prop_cast};
use tokio::time::sleep;

use super::Address;
use super::bus::Bus;
use super::objects::{Interfaces, Seen};

const ADAPTER: &str = "org.bluez.Adapter1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The list of objects comes from BlueZ's memory.
const LIST_LIMIT: Duration = Duration::from_secs(5);

/// BlueZ answers `StartDiscovery` in well under a second, or not at all: one in many calls was seen
/// to get no reply when two programs scan and connect at the same instant.
const SCAN_LIMIT: Duration = Duration::from_secs(10);

/// Switching an adapter on loads its firmware on some.
const POWER_LIMIT: Duration = Duration::from_secs(10);

/// How long an adapter stays off, so that it is off.
const OFF: Duration = Duration::from_secs(1);

/// BlueZ does one thing at a time with an adapter and says so (`InProgress`).
const BUSY: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// An adapter as BlueZ names it at present.
#[derive(Clone)]
pub(super) struct Adapter {
    bus: Bus,
    path: String,
}

/// An adapter, and everything that BlueZ knows below it.
pub(super) struct Found {
    pub(super) adapter: Adapter,
    /// Path and content of its objects.
    pub(super) objects: Vec<(String, Seen)>,
}

/// All that BlueZ knows, in the order of the paths.
async fn objects(bus: &Bus) -> Result<Vec<(String, Seen)>, String> {
    let listed = bus.object("/", LIST_LIMIT).method_call(
        "org.freedesktop.DBus.ObjectManager",
        "GetManagedObjects",
        (),
    );
    let (listed,): (HashMap<dbus::Path<'static>, Interfaces>,) =
        listed.await.map_err(|error| format!("adapters cannot be listed: {}", Refused(error)))?;
    let mut objects: Vec<(String, Seen)> = listed
        .into_iter()
        .filter_map(|(path, interfaces)| Some((path.to_string(), Seen::of(&interfaces)?)))
        .collect();
    objects.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(objects)
}

/// What went wrong with a call.
#[derive(Debug)]
pub(super) struct Refused(dbus::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.message().unwrap_or("no text");
        match self.short_name() {
            Some(name) => write!(f, "{text} ({name})"),
            None => f.write_str(text),
        }
    }
}

impl Refused {
    fn short_name(&self) -> Option<&str> {
        self.0.name()?.strip_prefix("org.bluez.Error.")
    }

    fn is(&self, name: &str) -> bool {
        self.short_name() == Some(name)
    }
}

impl Adapter {
    /// Finds the adapter that the configuration names: by BlueZ's name, `hci0`, or by its address,
    /// which stays the same when adapters are put in in another order.
    pub(super) async fn find(bus: &Bus, named: &str) -> Result<Found, String> {
        let mut objects = objects(bus).await?;
        let by_address: Option<Address> = named.parse().ok();
        let found = objects.iter().find_map(|(path, what)| match (what, by_address) {
            (Seen::Adapter { address, .. }, Some(wanted)) => (*address == Some(wanted)).then(|| path.clone()),
            (Seen::Adapter { .. }, None) => (name_of(path) == Some(named)).then(|| path.clone()),
            (Seen::Device(_), _) => None,
        });
        let Some(path) = found else {
            return Err(format!("there is no adapter {named}: is it plugged in and not blocked (rfkill)?"));
        };
        let adapter = Self { bus: bus.clone(), path };
        objects.retain(|(path, _)| adapter.is_above(path));
        Ok(Found { adapter, objects })
    }

    /// What BlueZ knows below it.
    pub(super) async fn objects(&self) -> Result<Vec<(String, Seen)>, String> {
        let mut objects = objects(&self.bus).await?;
        objects.retain(|(path, _)| self.is_above(path));
        Ok(objects)
    }

    /// BlueZ's name of it, for instance `hci0`.
    pub(super) fn name(&self) -> &str {
        name_of(&self.path).unwrap_or_default()
    }

    /// Its path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether a path is of an object of this adapter.
    pub(super) fn is_above(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Switches the adapter on and starts the scan; one that runs is ended first, as BlueZ refuses a
    /// second start by the same client, and the first one may have gone silent.
    pub(super) async fn start_scan(&self) -> Result<(), String> {
        let name = self.name();
        self.power(true).await.map_err(|error| format!("{name} cannot be switched on: {error}"))?;
        let _ = self.call("StopDiscovery", ()).await;
        self.call("SetDiscoveryFilter", (filter(),))
            .await
            .map_err(|error| format!("{name} refuses the filter of the scan: {error}"))?;
        for wait in BUSY.into_iter().map(Some).chain([None]) {
            match (self.call("StartDiscovery", ()).await, wait) {
                (Ok(()), _) => return Ok(()),
                (Err(error), Some(wait)) if error.is("InProgress") => {
                    sleep(wait).await;
                    let _ = self.call("StopDiscovery", ()).await;
                }
                (Err(error), _) => return Err(format!("{name} does not scan: {error}")),
            }
        }
        Err(format!("{name} does not scan"))
    }

    /// Switches the adapter off and on again. Everything that was connected is not any more.
    pub(super) async fn power_cycle(&self) -> Result<(), String> {
        let name = self.name();
        self.power(false).await.map_err(|error| format!("{name} cannot be switched off: {error}"))?;
        sleep(OFF).await;
        self.power(true).await.map_err(|error| format!("{name} cannot be switched on: {error}"))
    }

    /// No keys are made any more, whoever asks for them. What ends by itself is somebody's window and is left:
    /// a `wardline pair` that runs, or that was killed a moment ago.
    pub(super) async fn end_pairable(&self) -> Result<(), Refused> {
        let proxy = self.bus.object(&self.path, POWER_LIMIT);
        let asked = proxy.method_call(PROPERTIES, "GetAll", (ADAPTER,));
        let (has,): (PropMap,) = asked.await.map_err(Refused)?;
        let is_pairable = prop_cast::<bool>(&has, "Pairable").is_some_and(|is| *is);
        let is_window = prop_cast::<u32>(&has, "PairableTimeout").is_some_and(|seconds| *seconds > 0);
        if is_pairable && !is_window { self.set("Pairable", false).await } else { Ok(()) }
    }

    async fn power(&self, on: bool) -> Result<(), Refused> {
        self.set("Powered", on).await
    }

    async fn set(&self, name: &str, to: bool) -> Result<(), Refused> {
        let proxy = self.bus.object(&self.path, POWER_LIMIT);
        let value = Variant(Box::new(to));
        let set = proxy.method_call(PROPERTIES, "Set", (ADAPTER, name, value));
        set.await.map_err(Refused)
    }

    async fn call(&self, method: &str, arguments: impl dbus::arg::AppendAll) -> Result<(), Refused> {
        let proxy = self.bus.object(&self.path, SCAN_LIMIT);
        let called = proxy.method_call(ADAPTER, method, arguments);
        called.await.map_err(Refused)
    }
}

/// The filter of a scan without end for devices that are there for seconds.
///
/// `Transport` `le`: the default scans for classic devices in turns, and is deaf to a short
/// advertiser for about half of the time. `DuplicateData`: each advertisement is told, not the first
/// alone; and with a filter every change of the signal strength is told, without one only changes
/// above a threshold, and BlueZ may scan passively (bluez issue 2309), which hears no scan response.
/// No `UUIDs`: many devices put their services into the scan response only, where BlueZ's filter does
/// not see them. No `RSSI`: a far device is better than none.
fn filter() -> PropMap {
    let text = |text: &str| Variant(Box::new(text.to_owned()) as Box<dyn dbus::arg::RefArg>);
    PropMap::from([
        ("Transport".to_owned(), text("le")),
        ("DuplicateData".to_owned(), Variant(Box::new(true) as Box<dyn dbus::arg::RefArg>)),
    ])
}

fn name_of(path: &str) -> Option<&str> {
    path.strip_prefix("/org/bluez/").filter(|name| !name.contains('/'))
}
