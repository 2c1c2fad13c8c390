//! One scan, from its start until the radio is lost.
//!
//! In: the bus's signals and the watchdog's steps. Out: what the links and the status see of them, and
//! in the end the reason why the radio is lost. A signal costs no question to BlueZ, but for the first
//! of a listed device: a ward has hundreds of advertisements a second.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use btleplug::platform::PeripheralId;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Ended, Peer, Shared};
use crate::link::ble::Address;
use crate::link::ble::adapter::Adapter;
use crate::link::ble::bus::{Signal, Signals};
use crate::link::ble::objects::{Facts, Seen, address_in};
use crate::link::ble::session::Session;
use crate::link::ble::watchdog::Step;
use crate::time::Mono;

/// How long to wait before btleplug is asked again for a device that it did not know.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One scan: BlueZ's names of the listed devices are good for its length only.
pub(super) struct Scan<'a> {
    shared: &'a Shared,
    adapter: Adapter,
    /// The listed devices by path.
    known: BTreeMap<String, Known>,
}

struct Known {
    address: Address,
    id: Option<PeripheralId>,
    asked: Option<Mono>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(shared: &'a Shared, adapter: Adapter) -> Self {
        Self { shared, adapter, known: BTreeMap::new() }
    }

    /// Begins with what BlueZ remembers.
    pub(super) async fn run(mut self, objects: Vec<(String, Seen)>, signals: &mut Signals) -> Ended {
        for (path, what) in objects {
            if let Seen::Device(facts) = what {
                self.handle_device(&path, facts).await;
            }
        }
        loop {
            tokio::select! {
                signal = signals.next() => {
                    let Some(signal) = signal else {
                        return Ended::Bus("more happened on the system bus than could be followed".to_owned());
                    };
                    if let Err(reason) = self.handle_signal(signal).await {
                        return Ended::Radio(reason);
                    }
                }
                () = self.step_is_due() => {
                    if let Some(step) = self.shared.poll_step()
                        && let Err(reason) = self.take(step).await
                    {
                        return Ended::Radio(reason);
                    }
                }
            }
        }
    }

    async fn step_is_due(&self) {
        let due = self.shared.state().watchdog.poll_timeout();
        match due {
            Some(at) => sleep(at.since(self.shared.now())).await,
            None => pending().await,
        }
    }

    /// Gives a reason when the radio is lost by it.
    async fn take(&self, step: Step) -> Result<(), String> {
        match step {
            Step::RestartScan => {
                let started = self.adapter.start_scan().await;
                if let Err(reason) = &started {
                    tracing::warn!(adapter = self.shared.adapter, reason, "the scan does not start again");
                }
                self.shared.handle_scan(started);
                Ok(())
            }
            Step::PowerCycle => {
                self.adapter.power_cycle().await?;
                Err(format!("{} was silent and is switched off and on", self.shared.adapter))
            }
            // Who reads the status is asked: this process has no right to do it.
            Step::AskUsbReset => Ok(()),
        }
    }

    async fn handle_signal(&mut self, signal: Signal) -> Result<(), String> {
        match signal {
            Signal::Owner { .. } => return Err("org.bluez went away".to_owned()),
            Signal::Removed { path, interfaces } => return self.handle_removed(&path, &interfaces),
            Signal::Seen { path, what: Seen::Adapter { powered: Some(false), .. } }
                if path == self.adapter.path() =>
            {
                return Err(format!("{} was switched off", self.shared.adapter));
            }
            Signal::Seen { path, what: Seen::Device(facts) } if self.adapter.is_above(&path) => {
                self.handle_device(&path, facts).await;
            }
            // Of another adapter, or nothing that matters.
            Signal::Seen { .. } => {}
        }
        Ok(())
    }

    async fn handle_device(&mut self, path: &str, facts: Facts) {
        if facts.is_heard {
            self.shared.state().watchdog.handle_advert(self.shared.now());
        }
        let told = facts.address.or_else(|| self.known.get(path).map(|known| known.address));
        let address = told.or_else(|| address_in(path));
        let shared = self.shared;
        let Some((address, peer)) = address.and_then(|address| Some((address, shared.peers.get(&address)?)))
        else {
            self.known.remove(path);
            if facts.is_heard {
                shared.hear_unlisted(address);
            }
            return;
        };
        if let Some(id) = self.id_of(path, address).await
            && peer.borrow().id.as_ref() != Some(&id)
        {
            peer.send_modify(|peer| peer.id = Some(id));
        }
        // Already connected, by an earlier run of the daemon for instance: then it is silent.
        if facts.is_heard || facts.connected == Some(true) {
            sight(peer);
        }
        match facts.connected {
            Some(true) => {
                peer.send_modify(|peer| peer.is_connected = true);
                shared.count_connected();
                shared.state().watchdog.handle_delivery(shared.now());
            }
            Some(false) if peer.borrow().is_connected => {
                peer.send_modify(Peer::lose_connection);
                shared.count_connected();
            }
            Some(false) | None => {}
        }
    }

    /// btleplug's name of a listed device; it is asked once for each path.
    async fn id_of(&mut self, path: &str, address: Address) -> Option<PeripheralId> {
        let now = self.shared.now();
        let fresh = || Known { address, id: None, asked: None };
        let known = self.known.entry(path.to_owned()).or_insert_with(fresh);
        known.address = address;
        if known.id.is_none() && known.asked.is_none_or(|at| now.since(at) >= ASK_AGAIN) {
            known.asked = Some(now);
            known.id = match Session::open().await {
                Ok(session) => session.id_of(path).await,
                Err(_) => None,
            };
        }
        known.id.clone()
    }

    fn handle_removed(&mut self, path: &str, interfaces: &[String]) -> Result<(), String> {
        let has = |name: &str| interfaces.iter().any(|interface| interface == name);
        if path == self.adapter.path() && has("org.bluez.Adapter1") {
            return Err(format!("{} was unplugged", self.shared.adapter));
        }
        if has("org.bluez.Device1")
            && let Some(known) = self.known.remove(path)
            && let Some(peer) = self.shared.peers.get(&known.address)
        {
            peer.send_modify(Peer::lose_object);
            self.shared.count_connected();
        }
        Ok(())
    }
}

/// The device is there. Links are woken once, not by each of its advertisements.
fn sight(peer: &watch::Sender<Peer>) {
    peer.send_if_modified(|peer| !std::mem::replace(&mut peer.sighted, true));
}
