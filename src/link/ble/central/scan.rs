//! One scan, from its start until the radio is lost.
//!
//! In: the bus's signals and the watchdog's steps. Out: what the links and the status see of them, and
//! in the end the reason why the radio is lost. No signal costs a question to BlueZ (only another
//! allowlist does, one for all of it): a ward has hundreds of
//! advertisements a second, and an answer that is slow must not hold up the other devices. For the same reason
//! signals are handled while the scan is started again.

use std::collections::BTreeMap;
use std::future::pending;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Ended, Peer, Shared};
use crate::link::ble::Address;
use crate::link::ble::adapter::Adapter;
use crate::link::ble::bus::{Signal, Signals};
use crate::link::ble::objects::{Facts, Seen, address_in};
use crate::link::ble::watchdog::Step;

/// One scan: BlueZ's names of the listed devices are good for its length only.
pub(super) struct Scan<'a> {
    shared: &'a Shared,
    adapter: Adapter,
    /// The listed devices by path.
    known: BTreeMap<String, Address>,
    /// The scan is being started again.
    starting: Option<BoxFuture<'static, Result<(), String>>>,
    /// It is looked what BlueZ has of devices that were listed just now.
    looking: Option<BoxFuture<'static, Result<Objects, String>>>,
}

type Objects = Vec<(String, Seen)>;

impl<'a> Scan<'a> {
    pub(super) fn new(shared: &'a Shared, adapter: Adapter) -> Self {
        Self { shared, adapter, known: BTreeMap::new(), starting: None, looking: None }
    }

    /// Begins with what BlueZ remembers.
    pub(super) async fn run(mut self, objects: Vec<(String, Seen)>, signals: &mut Signals) -> Ended {
        for (path, what) in objects {
            if let Seen::Device(facts) = what {
                self.handle_device(&path, facts);
            }
        }
        loop {
            tokio::select! {
                signal = signals.next() => {
                    let Some(signal) = signal else {
                        return Ended::Bus("more happened on the system bus than could be followed".to_owned());
                    };
                    if let Err(reason) = self.handle_signal(signal) {
                        return Ended::Radio(reason);
                    }
                }
                () = self.shared.relisted.notified(), if self.looking.is_none() => {
                    let adapter = self.adapter.clone();
                    self.looking = Some(async move { adapter.objects().await }.boxed());
                }
                objects = running(&mut self.looking) => {
                    self.looking = None;
                    // What was signalled before the answer is older than it.
                    while let Some(Some(signal)) = signals.next().now_or_never() {
                        if let Err(reason) = self.handle_signal(signal) {
                            return Ended::Radio(reason);
                        }
                    }
                    match objects {
                        Ok(objects) => self.handle_relisted(objects),
                        Err(reason) => tracing::warn!(
                            adapter = self.shared.adapter,
                            reason,
                            "a device that was listed just now and is connected already may not be noticed"
                        ),
                    }
                }
                started = running(&mut self.starting) => {
                    self.starting = None;
                    if let Err(reason) = &started {
                        tracing::warn!(adapter = self.shared.adapter, reason, "the scan does not start again");
                    }
                    self.shared.handle_scan(started);
                }
                () = step_is_due(self.shared), if self.starting.is_none() => {
                    if let Some(step) = self.shared.poll_step()
                        && let Err(reason) = self.take(step).await
                    {
                        return Ended::Radio(reason);
                    }
                }
            }
        }
    }

    /// Gives a reason when the radio is lost by it.
    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::RestartScan => {
                let adapter = self.adapter.clone();
                self.starting = Some(async move { adapter.start_scan().await }.boxed());
                Ok(())
            }
            // What is connected is cut: it delivers nothing, and the scan cannot be started (the watchdog's rule).
            Step::PowerCycle => {
                self.adapter.power_cycle().await?;
                Err(format!("{} was silent and is switched off and on", self.shared.adapter))
            }
            // Who reads the status is asked: this process has no right to do it.
            Step::AskUsbReset => Ok(()),
        }
    }

    fn handle_signal(&mut self, signal: Signal) -> Result<(), String> {
        match signal {
            Signal::Owner { .. } => return Err("org.bluez went away".to_owned()),
            Signal::Removed { path, interfaces } => return self.handle_removed(&path, &interfaces),
            Signal::Seen { path, what: Seen::Adapter { powered: Some(false), .. } }
                if path == self.adapter.path() =>
            {
                return Err(format!("{} was switched off", self.shared.adapter));
            }
            Signal::Seen { path, what: Seen::Device(facts) } if self.adapter.is_above(&path) => {
                self.handle_device(&path, facts);
            }
            // Of another adapter, or nothing that matters.
            Signal::Seen { .. } => {}
        }
        Ok(())
    }

    fn handle_device(&mut self, path: &str, facts: Facts) {
        if facts.is_heard {
            self.shared.state().watchdog.handle_advert(self.shared.now());
        }
        let told = facts.address.or_else(|| self.known.get(path).copied());
        let address = told.or_else(|| address_in(path));
        let shared = self.shared;
        let Some((address, peer)) = address.and_then(|address| Some((address, shared.peer(address)?))) else {
            self.known.remove(path);
            if facts.is_heard {
                shared.hear_unlisted(address);
            }
            return;
        };
        self.known.insert(path.to_owned(), address);
        if let Some(id) = path.strip_prefix("/org/bluez/") {
            let is_new = peer.borrow().id.as_deref() != Some(id);
            if is_new {
                peer.send_modify(|peer| peer.id = Some(id.to_owned()));
            }
        }
        // Already connected, by an earlier run of the daemon for instance: then it is silent.
        if facts.is_heard || facts.connected == Some(true) {
            sight(&peer);
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

    /// Devices that BlueZ holds connected say nothing by themselves: those that are listed since.
    fn handle_relisted(&mut self, objects: Objects) {
        for (path, what) in objects {
            let Seen::Device(facts @ Facts { connected: Some(true), .. }) = what else { continue };
            let is_news = |peer: watch::Sender<Peer>| !peer.borrow().sighted;
            if facts.address.and_then(|address| self.shared.peer(address)).is_some_and(is_news) {
                // It was not heard just now, whatever was last heard of it.
                self.handle_device(&path, Facts { is_heard: false, ..facts });
            }
        }
    }

    fn handle_removed(&mut self, path: &str, interfaces: &[String]) -> Result<(), String> {
        let has = |name: &str| interfaces.iter().any(|interface| interface == name);
        if path == self.adapter.path() && has("org.bluez.Adapter1") {
            return Err(format!("{} was unplugged", self.shared.adapter));
        }
        if has("org.bluez.Device1")
            && let Some(address) = self.known.remove(path)
            && let Some(peer) = self.shared.peer(address)
        {
            peer.send_modify(Peer::lose_object);
            self.shared.count_connected();
        }
        Ok(())
    }
}

async fn step_is_due(shared: &Shared) {
    let due = shared.state().watchdog.poll_timeout();
    match due {
        Some(at) => sleep(at.since(shared.now())).await,
        None => pending().await,
    }
}

async fn running<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => pending().await,
    }
}

/// The device is there. Links are woken once, not by each of its advertisements.
fn sight(peer: &watch::Sender<Peer>) {
    peer.send_if_modified(|peer| !std::mem::replace(&mut peer.sighted, true));
}
