//! What links and status hold of a central.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Peer, Radio, Shared};
use crate::link::ble::Address;
use crate::time::Mono;

/// What links and status hold of a central.
#[derive(Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
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
    /// The adapter, as it was named.
    pub adapter: String,
    /// Why the radio is down, if it is.
    pub down: Option<String>,
    /// Why it does not scan although it is up, if so.
    pub not_scanning: Option<String>,
    /// The listed devices.
    pub listed: Vec<(Address, Presence)>,
    /// Everybody else.
    pub unlisted: Unlisted,
    /// How long ago anybody was heard, listed or not.
    pub heard: Option<Duration>,
    /// How often a silent scan was started again.
    pub restarts: u64,
    /// How often the adapter was switched off and on because that had not helped.
    pub power_cycles: u64,
    /// How often that had not helped either: somebody must reset its USB device.
    pub usb_resets_asked: u64,
    /// Whether nothing was heard since that was last asked for.
    pub wants_usb_reset: bool,
    /// How many questions of a pairing that came from outside were refused.
    pub pairing_refused: u64,
    /// How many values were lost that BlueZ had confirmed: too many came, they waited too long for their
    /// subscription, or nobody could take them any more. The log says which.
    pub values_lost: u64,
    /// Why BlueZ did not take the agent that refuses pairings, if so: another agent may accept them.
    pub no_agent: Option<String>,
}

/// What was heard of devices that are not on the allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unlisted {
    /// How many advertisements were not of a listed device.
    pub adverts: u64,
    /// The last distinct addresses, the latest first; a bounded number of them.
    pub latest: Vec<Address>,
}

impl Handle {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// How the radio and the devices are.
    pub fn status(&self) -> Status {
        let peers = self.shared.peers();
        let listed = peers.iter().map(|(address, peer)| {
            let peer = peer.borrow();
            let presence = match (&peer.id, peer.sighted) {
                (None, _) => Presence::Unknown,
                (Some(_), false) => Presence::Remembered,
                (Some(_), true) => Presence::Sighted,
            };
            (*address, presence)
        });
        let listed = listed.collect();
        drop(peers);
        let down = match &*self.shared.radio.borrow() {
            Radio::Down(reason) => Some(reason.clone()),
            Radio::Up(_) => None,
        };
        let (state, now) = (self.shared.state(), self.shared.now());
        let counts = state.watchdog.counts();
        Status {
            adapter: self.shared.adapter.clone(),
            down,
            not_scanning: state.not_scanning.clone(),
            listed,
            unlisted: Unlisted { adverts: state.adverts, latest: state.unlisted.iter().copied().collect() },
            heard: state.watchdog.heard().map(|at| now.since(at)),
            restarts: counts.restarts,
            power_cycles: counts.power_cycles,
            usb_resets_asked: counts.usb_resets_asked,
            wants_usb_reset: state.watchdog.wants_usb_reset(),
            pairing_refused: self.shared.pairings.refusals().total(),
            values_lost: state.values_lost,
            no_agent: state.no_agent.clone(),
        }
    }

    /// Lists these devices and no others from now on. Of a device that stays listed nothing changes. One that
    /// is listed now is there at once where BlueZ holds it connected, as it is silent then, else with its next
    /// advertisement; the links of one that is not listed any more must have been closed before.
    pub fn set_listed(&self, allowlist: impl IntoIterator<Item = Address>) {
        let mut peers = self.shared.peers();
        let mut before = std::mem::take(&mut *peers);
        let mut is_any_new = false;
        for address in allowlist {
            let known = before.remove(&address);
            is_any_new |= known.is_none() && !peers.contains_key(&address);
            let known = known.or_else(|| peers.remove(&address));
            peers.insert(address, known.unwrap_or_default());
        }
        let listed = peers.len();
        drop(peers);
        if is_any_new {
            self.shared.relisted.notify_one();
        }
        self.shared.state().watchdog.handle_listed(listed, self.shared.now());
        self.shared.count_connected();
    }

    /// The adapter, as it was named.
    pub fn adapter(&self) -> &str {
        &self.shared.adapter
    }

    pub(in crate::link::ble) fn radio(&self) -> watch::Receiver<Radio> {
        self.shared.radio.subscribe()
    }

    /// What is heard of a listed device; `None` for any other.
    pub(in crate::link::ble) fn peer(&self, address: Address) -> Option<watch::Receiver<Peer>> {
        Some(self.shared.peers().get(&address)?.subscribe())
    }

    /// A connection attempt failed: the device must be heard anew.
    pub(in crate::link::ble) fn forget_sighting(&self, address: Address) {
        if let Some(peer) = self.shared.peers().get(&address) {
            peer.send_modify(|peer| peer.sighted = false);
        }
    }

    /// The time, as everything here knows it.
    pub(in crate::link::ble) fn now(&self) -> Mono {
        self.shared.now()
    }

    /// So many values of a link were lost.
    pub(in crate::link::ble) fn handle_lost(&self, values: u64) {
        self.shared.state().values_lost += values;
    }

    /// Something came over a link: the radio is not deaf.
    pub(in crate::link::ble) fn handle_delivery(&self) {
        self.shared.state().watchdog.handle_delivery(self.shared.now());
    }
}
