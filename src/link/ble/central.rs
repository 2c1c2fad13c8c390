//! One adapter: scans without end, and tells the links what it hears of their devices.
//!
//! In: an adapter's name and the addresses of the allowlist. Out: for each of these addresses
//! whether it is there; for all others a count and the last few of them. The central never connects:
//! that is the link's, and a link can only be had for an address that is listed.
//!
//! What can go wrong: the bus, `org.bluez` or the adapter is not there, or goes away; the adapter is
//! switched off; scanning fails or falls silent. Each takes the radio down, with its reason in
//! [`Status`], and is tried again for ever.

mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use btleplug::api::{Central as _, Manager as _, ScanFilter};
use btleplug::platform::{Adapter, Manager, PeripheralId};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use self::scan::Scan;
use super::Address;
use super::bus::{Bus, Signals};
use super::pairing::agent::SharedGate;

/// How long to wait before the radio is tried again. `bluetoothd` needs about a second to come back.
const RETRY: Duration = Duration::from_secs(2);

/// BlueZ answers `StartDiscovery` in well under a second, or not at all: one in many calls was seen
/// to get no reply when two programs scan and connect at the same instant.
const SCAN_LIMIT: Duration = Duration::from_secs(10);

/// Properties come from BlueZ's memory.
const PROPERTY_LIMIT: Duration = Duration::from_secs(5);

/// How many unlisted addresses are remembered, the latest first.
const UNLISTED_KEPT: usize = 32;

/// How long nothing may be heard before a scan counts as dead. Scans are known to stop without a
/// word (bluez issue 1126, btleplug issue 332). A ward is never this quiet; where it is, starting the
/// scan again costs nothing.
const QUIET_LIMIT: Duration = Duration::from_secs(90);

/// The task of one adapter. A clone is the same task: only one of them may run at a time.
#[derive(Clone)]
pub struct Central {
    shared: Arc<Shared>,
    quiet_limit: Duration,
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
    /// Closed for ever: who wants to pair does so in a process of its own.
    pairings: SharedGate,
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
    /// How many questions of a pairing that came from outside were refused.
    pub pairing_refused: u64,
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
            pairings: SharedGate::default(),
        });
        (Self { shared: Arc::clone(&shared), quiet_limit: QUIET_LIMIT }, Handle { shared })
    }

    /// The same, with another limit on silence than 90 seconds.
    #[must_use]
    pub fn with_quiet_limit(self, quiet_limit: Duration) -> Self {
        Self { quiet_limit, ..self }
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
                Ok(true) if signals.drain() != Some(false) => {
                    // Before the scan: what is not refused here, another agent might accept.
                    let agent = bus.refuse_pairings(self.shared.pairings.clone()).await;
                    if let Err(error) = &agent {
                        tracing::warn!(%error, "BlueZ takes no agent: pairings from outside are not counted");
                    }
                    self.scan(&manager, bus, &mut signals).await
                }
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
        Scan::new(self, adapter).run(&mut events, signals).await
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
            pairing_refused: self.shared.pairings.refusals().total(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> Address {
        format!("F9:00:00:00:00:{number:02X}").parse().unwrap()
    }

    #[test]
    fn the_unlisted_are_counted_and_only_the_latest_are_kept() {
        let (_central, handle) = Central::new("hci0", []);
        for number in 0..100 {
            handle.shared.hear_unlisted(Some(address(number)));
        }
        handle.shared.hear_unlisted(Some(address(80)));
        handle.shared.hear_unlisted(None);
        let unlisted = handle.status().unlisted;
        assert_eq!(unlisted.adverts, 102);
        assert_eq!(unlisted.latest.len(), UNLISTED_KEPT);
        assert_eq!(unlisted.latest[..3], [address(80), address(99), address(98)]);
    }

    #[test]
    fn a_radio_that_was_never_started_says_so_and_knows_only_the_listed() {
        let (central, handle) = Central::new("hci0", [address(1), address(2)]);
        let status = handle.status();
        assert_eq!(status.down.as_deref(), Some("not started"));
        assert_eq!(status.listed, [(address(1), Presence::Unknown), (address(2), Presence::Unknown)]);
        assert!(handle.peer(address(1)).is_some());
        assert!(handle.peer(address(3)).is_none());
        drop(central);
    }
}
