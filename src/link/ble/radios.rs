//! What BlueZ says of its adapters, for whoever only looks: nothing is switched, scanned or registered.

use std::collections::HashMap;

use dbus::arg::prop_cast;

use super::Address;
use super::bus::{Bus, LIMIT};
use super::objects::Interfaces;

const ADAPTER: &str = "org.bluez.Adapter1";

/// An adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioSeen {
    /// BlueZ's name of it, for instance `hci0`.
    pub name: String,
    /// Its address, when it was told.
    pub address: Option<Address>,
    /// Whether it is switched on.
    pub powered: bool,
}

/// Every adapter; `None`: nothing owns `org.bluez`. The error is in words, of the bus. Connecting waits for the bus
/// without a limit: to be called on a thread that may wait.
pub async fn radios() -> Result<Option<Vec<RadioSeen>>, String> {
    let words = |error: dbus::Error| error.message().unwrap_or("no reason was given").to_owned();
    let (pump, bus) = Bus::connect().map_err(words)?;
    tokio::select! {
        ended = pump => Err(ended.to_string()),
        listed = list(&bus) => listed.map_err(words),
    }
}

async fn list(bus: &Bus) -> Result<Option<Vec<RadioSeen>>, dbus::Error> {
    if !bus.has_bluez().await? {
        return Ok(None);
    }
    let root = bus.object("/", LIMIT);
    let asked = root.method_call("org.freedesktop.DBus.ObjectManager", "GetManagedObjects", ());
    let (all,): (HashMap<dbus::Path<'static>, Interfaces>,) = asked.await?;
    let mut found: Vec<RadioSeen> = all
        .into_iter()
        .filter_map(|(path, interfaces)| {
            let properties = interfaces.get(ADAPTER)?;
            let address = prop_cast::<String>(properties, "Address").and_then(|text| text.parse().ok());
            let powered = prop_cast::<bool>(properties, "Powered").copied().unwrap_or(false);
            let name = path.rsplit('/').next()?.to_owned();
            Some(RadioSeen { name, address, powered })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Some(found))
}
