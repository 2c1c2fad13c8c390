//! One central for every adapter that a listed device names.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;
use crate::config::{Connection, Device};
use crate::host::random::SystemRandomness;
use crate::host::supervisor::{Leash, Supervisor};
use crate::link::ble::{Address, Central, Handle};
use crate::uplink::Stop;

/// The radios of the daemon, by the adapter's name.
#[derive(Default)]
pub(super) struct Radios {
    running: BTreeMap<String, Radio>,
    handles: watch::Sender<Vec<Handle>>,
}

struct Radio {
    handle: Handle,
    stop: watch::Sender<bool>,
    leash: Leash,
}

impl Radios {
    pub(super) fn handles(&self) -> watch::Receiver<Vec<Handle>> {
        self.handles.subscribe()
    }

    pub(super) fn of(&self, adapter: &str) -> Option<Handle> {
        self.running.get(adapter).map(|radio| radio.handle.clone())
    }

    /// Has a central for each adapter that these devices name. A central knows the listed addresses only, so it can
    /// connect to no other; connections to what stays listed are not touched.
    pub(super) fn list<'a>(
        &mut self,
        supervisor: &mut Supervisor,
        devices: impl Iterator<Item = &'a Device>,
        shared: &Shared,
    ) {
        let wanted = by_adapter(devices);
        for (adapter, radio) in &self.running {
            if !wanted.contains_key(adapter.as_str()) {
                radio.handle.set_listed([]);
            }
        }
        for (adapter, addresses) in wanted {
            if let Some(radio) = self.running.get(adapter) {
                radio.handle.set_listed(addresses);
            } else {
                let radio = start(supervisor, (adapter, addresses), shared);
                self.running.insert(adapter.to_owned(), radio);
            }
        }
        self.show();
    }

    /// Ends the centrals of adapters that none of these devices names.
    pub(super) fn settle<'a>(&mut self, devices: impl Iterator<Item = &'a Device>) {
        let wanted = by_adapter(devices);
        self.running.retain(|adapter, radio| {
            let stays = wanted.contains_key(adapter.as_str());
            if !stays {
                radio.leash.let_go();
                radio.stop.send_replace(true);
            }
            stays
        });
        self.show();
    }

    fn show(&self) {
        self.handles.send_replace(self.running.values().map(|radio| radio.handle.clone()).collect());
    }
}

fn by_adapter<'a>(devices: impl Iterator<Item = &'a Device>) -> BTreeMap<&'a str, Vec<Address>> {
    let mut wanted: BTreeMap<&str, Vec<Address>> = BTreeMap::new();
    for device in devices {
        if let Connection::Ble { address, adapter, .. } = &device.connection
            && let Ok(address) = address.parse()
        {
            wanted.entry(adapter).or_default().push(address);
        }
    }
    wanted
}

fn start(supervisor: &mut Supervisor, (adapter, addresses): (&str, Vec<Address>), shared: &Shared) -> Radio {
    let random = Box::new(SystemRandomness::new());
    let (central, handle) = Central::new(adapter, addresses, Arc::clone(&shared.clock), random);
    let (stop, mut stopped) = watch::channel(false);
    let mut drained = shared.drained.clone();
    let leash = supervisor.task("central", async move {
        tokio::select! {
            never = central.run() => match never {},
            // Not with the sessions: whoever hangs up waits until its central has seen that.
            _ = drained.wait_for(|stop| *stop != Stop::Run) => Ok(()),
            // Nobody left who could say so is no word.
            Ok(_) = stopped.wait_for(|stop| *stop) => Ok(()),
        }
    });
    Radio { handle, stop, leash }
}
