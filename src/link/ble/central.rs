//! One adapter: scans without end, and tells the links what it hears of their devices.
//!
//! In: an adapter's name and the addresses of the allowlist. Out: for each of these addresses
//! whether it is there; for all others a count and the last few of them. The central never connects:
//! that is the link's, and a link can only be had for an address that is listed.
//!
//! What can go wrong: the bus, `org.bluez` or the adapter is not there, or goes away; the adapter is
//! switched off; scanning fails or falls silent. Each takes the radio down, with its reason in
//! [`Status`], and is tried again for ever.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btleplug::api::{Central as _, CentralEvent, CentralState, Manager as _, Peripheral as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, PeripheralId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Address;
use super::bus::{Bus, Signal, Signals};

/// How long to wait before the radio is tried again. `bluetoothd` needs about a second to come back.
const RETRY: Duration = Duration::from_secs(2);

/// BlueZ answers `StartDiscovery` in well under a second, or not at all: one in many calls was seen
/// to get no reply when two programs scan and connect at the same instant.
const SCAN_LIMIT: Duration = Duration::from_secs(10);

/// Properties come from BlueZ's memory.
const PROPERTY_LIMIT: Duration = Duration::from_secs(5);

/// Scans are known to stop without a word (bluez issue 1126, btleplug issue 332). A ward is never
/// this quiet; where it is, starting the scan again costs nothing.
const QUIET_LIMIT: Duration = Duration::from_secs(90);

/// How many unlisted addresses are remembered, the latest first.
const UNLISTED_KEPT: usize = 32;

/// The task of one adapter.
pub struct Central {
    shared: Arc<Shared>,
}

/// What links and status hold of a central.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    adapter: String,
    peers: BTreeMap<Address, watch::Sender<Peer>>,
    radio: watch::Sender<Radio>,
    counts: Mutex<Counts>,
}

/// Whether connecting makes sense.
#[derive(Clone)]
pub(super) enum Radio {
    /// It does not, and why.
    Down(String),
    /// It does.
    Up(Arc<Up>),
}

/// A radio that works. A new one is made every time it comes back.
pub(super) struct Up {
    pub(super) adapter: Adapter,
    pub(super) bus: Bus,
}

/// What is known of a listed device.
#[derive(Clone, Default)]
pub(super) struct Peer {
    /// BlueZ's name of it, once BlueZ knows it.
    pub(super) id: Option<PeripheralId>,
    /// It was heard, or was connected, since it was last lost.
    pub(super) sighted: bool,
    /// How often its connection ended, or its object went.
    pub(super) losses: u64,
}

#[derive(Default)]
struct Counts {
    restarts: u64,
    adverts: u64,
    unlisted: VecDeque<Address>,
}

/// Whether a listed device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Never heard of.
    Unknown,
    /// BlueZ remembers it, it was not heard since.
    Remembered,
    /// Heard or connected.
    Sighted,
}

/// The state of one adapter, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The adapter's name.
    pub adapter: String,
    /// Why the radio is down, if it is.
    pub down: Option<String>,
    /// The listed devices.
    pub listed: Vec<(Address, Presence)>,
    /// Everybody else.
    pub unlisted: Unlisted,
    /// How often a silent scan was started again.
    pub restarts: u64,
}

/// What was heard of devices that are not on the allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// How many advertisements were not of a listed device.
    pub adverts: u64,
    /// The last distinct addresses, the latest first; a bounded number of them.
    pub latest: Vec<Address>,
}

impl Central {
    /// A central for an adapter, for instance `hci0`, and the devices that may be connected to.
    pub fn new(adapter: impl Into<String>, allowlist: impl IntoIterator<Item = Address>) -> (Self, Handle) {
        let peers = allowlist.into_iter().map(|address| (address, watch::Sender::new(Peer::default())));
        let shared = Arc::new(Shared {
            adapter: adapter.into(),
            peers: peers.collect(),
            radio: watch::Sender::new(Radio::Down("not started".to_owned())),
            counts: Mutex::default(),
        });
        (Self { shared: Arc::clone(&shared) }, Handle { shared })
    }

    /// Runs the radio for ever. To stop, drop the future: BlueZ ends the scan with the connection.
    pub async fn run(self) -> Infallible {
        loop {
            let reason = match Bus::connect() {
                Ok((resource, bus)) => tokio::select! {
                    lost = resource => format!("the system bus went away: {lost}"),
                    reason = self.serve(&bus) => reason,
                },
                Err(error) => format!("no system bus: {error}; is dbus-daemon running?"),
            };
            self.go_down(reason);
            sleep(RETRY).await;
        }
    }

    /// Serves while the bus lasts. btleplug's connection lives as long: one for each would leak.
    async fn serve(&self, bus: &Bus) -> String {
        let mut signals = match bus.signals().await {
            Ok(signals) => signals,
            Err(error) => return format!("the system bus refuses to send signals: {error}"),
        };
        let manager = match Manager::new().await {
            Ok(manager) => manager,
            Err(error) => return format!("no second connection to the system bus: {error}"),
        };
        loop {
            let reason = match bus.has_bluez().await {
                // What was signalled up to here is older than the answer, unless it takes it back.
                Ok(true) if signals.drain() != Some(false) => self.scan(&manager, bus, &mut signals).await,
                Ok(_) => "org.bluez is not on the bus: is bluetooth.service running?".to_owned(),
                Err(error) => return format!("the system bus does not answer: {error}"),
            };
            self.go_down(reason);
            // Another try when something changes, or after a while.
            let _ = timeout(RETRY, signals.next()).await;
        }
    }

    /// Scans until the radio is lost, and gives the reason.
    async fn scan(&self, manager: &Manager, bus: &Bus, signals: &mut Signals) -> String {
        let adapter = match self.find_adapter(manager).await {
            Ok(adapter) => adapter,
            Err(reason) => return reason,
        };
        // The stream first: what BlueZ finds between the two calls would be missed otherwise.
        let mut events = match timeout(PROPERTY_LIMIT, adapter.events()).await {
            Ok(Ok(events)) => events.boxed(),
            Ok(Err(error)) => return format!("no events from {}: {error}", self.shared.adapter),
            Err(_) => return format!("{} does not answer", self.shared.adapter),
        };
        if let Err(reason) = self.start_scan(&adapter).await {
            return reason;
        }
        self.shared
            .radio
            .send_replace(Radio::Up(Arc::new(Up { adapter: adapter.clone(), bus: bus.clone() })));
        tracing::info!(adapter = self.shared.adapter, "scanning");
        Scan { central: self, adapter, known: BTreeMap::new() }.run(&mut events, signals).await
    }

    async fn find_adapter(&self, manager: &Manager) -> Result<Adapter, String> {
        let name = &self.shared.adapter;
        let adapters = match timeout(PROPERTY_LIMIT, manager.adapters()).await {
            Ok(adapters) => adapters.map_err(|error| format!("adapters cannot be listed: {error}"))?,
            Err(_) => return Err("org.bluez does not answer".to_owned()),
        };
        for adapter in adapters {
            // `adapter_info` is `hci0 (usb:...)`; btleplug has no other way to the name.
            let info = timeout(PROPERTY_LIMIT, adapter.adapter_info()).await;
            let info = info.ok().and_then(Result::ok).unwrap_or_default();
            if info.split_whitespace().next() == Some(name) {
                return Ok(adapter);
            }
        }
        Err(format!("there is no adapter {name}: is it plugged in and not blocked (rfkill)?"))
    }

    /// Switches the adapter on and scans without filter: many devices put their services into the
    /// scan response only, where BlueZ's filter does not see them.
    async fn start_scan(&self, adapter: &Adapter) -> Result<(), String> {
        let name = &self.shared.adapter;
        // BlueZ refuses a second start by the same client, and the first one may have gone silent.
        let _ = timeout(SCAN_LIMIT, adapter.stop_scan()).await;
        match timeout(SCAN_LIMIT, adapter.start_scan(ScanFilter::default())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("{name} does not scan: {error}")),
            Err(_) => Err(format!("{name} does not answer to the start of a scan")),
        }
    }

    fn go_down(&self, reason: String) {
        let news = !matches!(&*self.shared.radio.borrow(), Radio::Down(before) if *before == reason);
        if news {
            tracing::warn!(adapter = self.shared.adapter, reason, "radio down");
        }
        self.shared.radio.send_replace(Radio::Down(reason));
        for peer in self.shared.peers.values() {
            peer.send_modify(Peer::lose_object);
        }
    }
}

/// One scan: BlueZ's names of the listed devices are good for its length only.
struct Scan<'a> {
    central: &'a Central,
    adapter: Adapter,
    known: BTreeMap<PeripheralId, Address>,
}

impl Scan<'_> {
    async fn run(mut self, events: &mut BoxStream<'_, CentralEvent>, signals: &mut Signals) -> String {
        loop {
            tokio::select! {
                signal = signals.next() => match signal {
                    Some(Signal::Owner { .. }) => return "org.bluez went away".to_owned(),
                    Some(Signal::Removed { path, interfaces }) => {
                        if let Some(reason) = self.handle_removed(&path, &interfaces) {
                            return reason;
                        }
                    }
                    None => return "the system bus went away".to_owned(),
                },
                event = timeout(QUIET_LIMIT, events.next()) => match event {
                    Ok(Some(CentralEvent::StateUpdate(CentralState::PoweredOff))) => {
                        return format!("{} was switched off", self.central.shared.adapter);
                    }
                    Ok(Some(event)) => self.handle_event(event).await,
                    Ok(None) => return "btleplug's events ended".to_owned(),
                    Err(_) => {
                        self.central.shared.counts().restarts += 1;
                        if let Err(reason) = self.central.start_scan(&self.adapter).await {
                            return reason;
                        }
                    }
                },
            }
        }
    }

    async fn handle_event(&mut self, event: CentralEvent) {
        match event {
            CentralEvent::DeviceDiscovered(id) => self.handle_discovered(id).await,
            CentralEvent::RssiUpdate { id, .. }
            | CentralEvent::ManufacturerDataAdvertisement { id, .. }
            | CentralEvent::ServiceDataAdvertisement { id, .. } => match self.peer(&id) {
                Some(peer) => sight(peer),
                None => self.central.shared.hear_unlisted(address_in(&id)),
            },
            // Already connected, by an earlier run of the daemon for instance: then it is silent.
            CentralEvent::DeviceConnected(id) => {
                if let Some(peer) = self.peer(&id) {
                    sight(peer);
                }
            }
            CentralEvent::DeviceDisconnected(id) => {
                if let Some(peer) = self.peer(&id) {
                    peer.send_modify(Peer::lose_connection);
                }
            }
            // Services come after the connection too, and are no sign of an advertisement.
            CentralEvent::ServicesAdvertisement { .. }
            | CentralEvent::DeviceUpdated(_)
            | CentralEvent::DeviceServicesModified(_)
            | CentralEvent::StateUpdate(_) => {}
        }
    }

    /// BlueZ has an object of it: heard just now when it has a signal strength, else remembered.
    async fn handle_discovered(&mut self, id: PeripheralId) {
        // The property, not the path: BlueZ keeps the path of a private address after pairing.
        let Ok(Ok(peripheral)) = timeout(PROPERTY_LIMIT, self.adapter.peripheral(&id)).await else { return };
        let Ok(address) = peripheral.address().to_string().parse::<Address>() else { return };
        let Some(peer) = self.central.shared.peers.get(&address) else {
            return self.central.shared.hear_unlisted(Some(address));
        };
        let properties = timeout(PROPERTY_LIMIT, peripheral.properties()).await;
        let heard = properties.ok().and_then(Result::ok).flatten().is_some_and(|known| known.rssi.is_some());
        self.known.insert(id.clone(), address);
        peer.send_modify(|peer| {
            peer.id = Some(id);
            peer.sighted |= heard;
        });
    }

    fn handle_removed(&mut self, path: &str, interfaces: &[String]) -> Option<String> {
        let name = path.strip_prefix("/org/bluez/")?;
        let adapter = &self.central.shared.adapter;
        if name == adapter && interfaces.iter().any(|interface| interface == "org.bluez.Adapter1") {
            return Some(format!("{adapter} was unplugged"));
        }
        if interfaces.iter().any(|interface| interface == "org.bluez.Device1") {
            let id = self.known.keys().find(|id| id.to_string() == name).cloned()?;
            let address = self.known.remove(&id)?;
            self.central.shared.peers.get(&address)?.send_modify(Peer::lose_object);
        }
        None
    }

    fn peer(&self, id: &PeripheralId) -> Option<&watch::Sender<Peer>> {
        self.central.shared.peers.get(self.known.get(id)?)
    }
}

/// The device is there. Links are woken once, not by each of its advertisements.
fn sight(peer: &watch::Sender<Peer>) {
    peer.send_if_modified(|peer| !std::mem::replace(&mut peer.sighted, true));
}

impl Peer {
    fn lose_connection(&mut self) {
        self.sighted = false;
        self.losses += 1;
    }

    fn lose_object(&mut self) {
        self.id = None;
        self.lose_connection();
    }
}

impl Shared {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        // Plain counters: whoever panicked while holding them left them as good as any.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear_unlisted(&self, address: Option<Address>) {
        let mut counts = self.counts();
        counts.adverts += 1;
        if let Some(address) = address {
            counts.unlisted.retain(|known| *known != address);
            counts.unlisted.push_front(address);
            counts.unlisted.truncate(UNLISTED_KEPT);
        }
    }
}

impl Handle {
    /// How the radio and the devices are.
    pub fn status(&self) -> Status {
        let listed = self.shared.peers.iter().map(|(address, peer)| {
            let peer = peer.borrow();
            let presence = match (&peer.id, peer.sighted) {
                (None, _) => Presence::Unknown,
                (Some(_), false) => Presence::Remembered,
                (Some(_), true) => Presence::Sighted,
            };
            (*address, presence)
        });
        let down = match &*self.shared.radio.borrow() {
            Radio::Down(reason) => Some(reason.clone()),
            Radio::Up(_) => None,
        };
        let counts = self.shared.counts();
        Status {
            adapter: self.shared.adapter.clone(),
            down,
            listed: listed.collect(),
            unlisted: Unlisted { adverts: counts.adverts, latest: counts.unlisted.iter().copied().collect() },
            restarts: counts.restarts,
        }
    }

    /// The adapter's name.
    pub fn adapter(&self) -> &str {
        &self.shared.adapter
    }

    pub(super) fn radio(&self) -> watch::Receiver<Radio> {
        self.shared.radio.subscribe()
    }

    /// What is heard of a listed device; `None` for any other.
    pub(super) fn peer(&self, address: Address) -> Option<watch::Receiver<Peer>> {
        Some(self.shared.peers.get(&address)?.subscribe())
    }

    /// A connection attempt failed: the device must be heard anew.
    pub(super) fn forget_sighting(&self, address: Address) {
        if let Some(peer) = self.shared.peers.get(&address) {
            peer.send_modify(|peer| peer.sighted = false);
        }
    }
}

/// The address in BlueZ's name of a device, `hci0/dev_F1_00_00_00_00_01`.
fn address_in(id: &PeripheralId) -> Option<Address> {
    let text = id.to_string();
    text.rsplit_once("dev_")?.1.replace('_', ":").parse().ok()
}
