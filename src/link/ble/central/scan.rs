//! One scan, from its start until the radio is lost.
//!
//! In: btleplug's events and the bus's signals. Out: what the links and the status see of them, and
//! in the end the reason why the radio is lost.

use std::collections::BTreeMap;

use btleplug::api::{Central as _, CentralEvent, CentralState, Peripheral as _};
use btleplug::platform::{Adapter, PeripheralId};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{Central, PROPERTY_LIMIT, Peer};
use crate::link::ble::Address;
use crate::link::ble::bus::{Signal, Signals};

/// One scan: BlueZ's names of the listed devices are good for its length only.
pub(super) struct Scan<'a> {
    central: &'a Central,
    adapter: Adapter,
    known: BTreeMap<PeripheralId, Address>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(central: &'a Central, adapter: Adapter) -> Self {
        Self { central, adapter, known: BTreeMap::new() }
    }

    /// Gives the reason why the radio is lost.
    pub(super) async fn run(
        mut self,
        events: &mut BoxStream<'_, CentralEvent>,
        signals: &mut Signals,
    ) -> String {
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
                event = timeout(self.central.quiet_limit, events.next()) => match event {
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

/// The address in BlueZ's name of a device, `hci0/dev_F1_00_00_00_00_01`.
fn address_in(id: &PeripheralId) -> Option<Address> {
    let text = id.to_string();
    text.rsplit_once("dev_")?.1.replace('_', ":").parse().ok()
}
