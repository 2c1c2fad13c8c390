//! The facts, gathered: the only place of the doctor that reads, asks and connects.
//!
//! In: where to look ([`Place`]) and what the configuration says ([`Read`]). Out: [`Facts`]. Each look has a limit: what
//! hangs is left behind, and its check says so. Kernel, system and package files are looked for below [`Place::root`],
//! what the configuration names where it says.

mod bits;
mod broker;
mod fleet;
mod local;
mod serial;
mod system;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::{Check, Facts, Looked, Unseen, configuration, radio};
use crate::config::{Config, Connection};
use crate::fleet::member::boot::Kept;
use crate::host::status::{Snapshot, StatusError, ask};
use crate::host::supervisor::blocking;
use crate::link::ble::radios;
use crate::time::Now;
use crate::uplink::mqtt::Letters;

/// How long a look may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// Where to look.
#[derive(Clone, Debug)]
pub struct Place {
    /// Above `/proc`, `/sys`, `/etc`, `/var/lib/dpkg`: `/`, and another folder in a test.
    pub root: PathBuf,
    /// How long each look may take.
    pub limit: Duration,
    /// Whether to publish on every topic of the gateway, and not on their neighbours where others would take a probe
    /// for the gateway's word.
    pub every_topic: bool,
    /// The checks that are wanted: nothing is done for others.
    pub wanted: Vec<Check>,
    /// Now.
    pub now: Now,
}

/// What the configuration says.
#[derive(Debug)]
pub struct Read {
    /// Problems and notes.
    pub told: configuration::Facts,
    /// Itself, where it is valid.
    pub config: Option<Config>,
    /// What is kept of the fleet, where there is one; in words why it is not to be believed. Unseen: it cannot be read.
    pub fleet: Option<Result<Result<Kept, String>, Unseen>>,
}

impl Place {
    fn wants(&self, checks: &[Check]) -> bool {
        checks.iter().any(|check| self.wanted.contains(check))
    }

    /// Waits so long and no longer for something that may block a thread. The thread is left behind.
    async fn look<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> Looked<T> + Send + 'static,
    ) -> Looked<T> {
        match tokio::time::timeout(self.limit, blocking(work)).await {
            Ok(Some(looked)) => looked,
            Ok(None) => Err(Unseen::new(format!("{what}: this program failed (a panic)"))),
            Err(_) => Err(self.late(what)),
        }
    }

    fn late(&self, what: &str) -> Unseen {
        Unseen::new(format!("{what}: no answer within {} s", self.limit.as_secs()))
    }

    /// The same, for checks of which one is wanted.
    async fn look_for<T: Send + 'static>(
        &self,
        checks: &[Check],
        what: &str,
        work: impl FnOnce() -> Looked<T> + Send + 'static,
    ) -> Looked<T> {
        if self.wants(checks) { self.look(what, work).await } else { Err(Unseen::new("not wanted")) }
    }
}

/// What the running daemon says.
#[derive(Clone, Debug, Default)]
struct Daemon {
    snapshot: Option<Snapshot>,
    /// Why it did not answer although something is there.
    silent: Option<String>,
}

/// Gathers.
pub async fn gather(place: &Place, read: Read) -> Facts {
    let Read { told, config, fleet } = read;
    let without = || Unseen::with("the configuration is not valid", "see configuration");
    let Some(config) = config else {
        let fleet = if fleet.is_some() { Err(without()) } else { Ok(None) };
        return Facts {
            certificate: Err(without()),
            broker: Err(without()),
            disk: Err(without()),
            store: Err(without()),
            keys: Err(without()),
            radio: Err(without()),
            serial: Err(without()),
            identity: Err(without()),
            fleet,
            ..system_facts(place, told, None).await
        };
    };
    let daemon = ask_daemon(place, &config).await;
    let (system, local, radio, (broker, letters)) = tokio::join!(
        system_facts(place, told, Some(&config)),
        local_facts(place, &config, &daemon),
        radio_facts(place, &config),
        broker_facts(place, &config, &daemon, fleet.as_ref()),
    );
    Facts {
        certificate: local.certificate,
        disk: local.disk,
        store: local.store,
        keys: local.keys,
        serial: local.serial,
        identity: local.identity,
        radio,
        broker,
        fleet: Ok(fleet::facts(fleet, daemon.snapshot.as_ref(), &letters, place.now)),
        ..system
    }
}

async fn ask_daemon(place: &Place, config: &Config) -> Daemon {
    let socket = config.socket.clone();
    let asked = place.look("the daemon's status socket", move || match ask(&socket) {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(StatusError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(Unseen::new(error.to_string())),
    });
    match asked.await {
        Ok(snapshot) => Daemon { snapshot, silent: None },
        Err(unseen) => Daemon { snapshot: None, silent: Some(unseen.why) },
    }
}

/// What needs no valid configuration.
async fn system_facts(place: &Place, told: configuration::Facts, config: Option<&Config>) -> Facts {
    let root = place.root.clone();
    let store = config.map(|config| config.store.folder.clone());
    let seen = place
        .look_for(&[Check::Pi, Check::Memory, Check::Unit], "the files of the system", move || {
            let unit = system::unit(&root);
            let memory = system::memory(&root, store.as_deref(), &unit);
            Ok((system::pi(&root), memory, unit))
        })
        .await;
    let (pi, memory, unit) = match seen {
        Ok((pi, memory, unit)) => (Ok(pi), memory, Ok(unit)),
        Err(unseen) => (Err(unseen.clone()), Err(unseen.clone()), Err(unseen)),
    };
    let skipped = || Unseen::new("not looked at");
    Facts {
        clock: place.now,
        configuration: told,
        certificate: Err(skipped()),
        broker: Err(skipped()),
        disk: Err(skipped()),
        store: Err(skipped()),
        keys: Err(skipped()),
        radio: Err(skipped()),
        serial: Err(skipped()),
        identity: Err(skipped()),
        fleet: Err(skipped()),
        pi,
        memory,
        unit,
    }
}

/// What is on this machine and named by the configuration.
struct Local {
    certificate: Looked<super::certificate::Facts>,
    disk: Looked<super::disk::Facts>,
    store: Looked<super::store::Facts>,
    keys: Looked<super::keys::Facts>,
    serial: Looked<Vec<super::serial::Facts>>,
    identity: Looked<super::identity::Facts>,
}

async fn local_facts(place: &Place, config: &Config, daemon: &Daemon) -> Local {
    let given = || (place.clone(), config.clone(), daemon.clone());
    let certificate = {
        let (place, config, daemon) = given();
        move || Ok(local::certificate(&place, &config, &daemon))
    };
    let disk = {
        let (place, config, _) = given();
        move || local::disk(&place, &config)
    };
    let store = {
        let (_, config, daemon) = given();
        move || local::store(&config, &daemon)
    };
    let keys = {
        let (place, config, daemon) = given();
        move || Ok(local::keys(&place.root, &config, &daemon))
    };
    let serial = {
        let (place, config, _) = given();
        move || Ok(serial::ports(&place.root, &config))
    };
    let identity = {
        let (place, config, daemon) = given();
        move || Ok(local::identity(&place.root, &config, &daemon))
    };
    let (certificate, disk, store, keys, serial, identity) = tokio::join!(
        place.look_for(&[Check::Certificate], "certificate and key", certificate),
        place.look_for(&[Check::Disk], "the disk", disk),
        place.look_for(&[Check::Store], "the store", store),
        place.look_for(&[Check::Keys], "the keys", keys),
        place.look_for(&[Check::Serial], "the serial ports", serial),
        place.look_for(&[Check::Identity], "names", identity),
    );
    Local { certificate, disk, store, keys, serial, identity }
}

async fn radio_facts(place: &Place, config: &Config) -> Looked<radio::Facts> {
    let wanted: BTreeSet<String> = config
        .devices
        .iter()
        .filter_map(|device| match &device.connection {
            Connection::Ble { adapter, .. } => Some(adapter.clone()),
            Connection::Serial { .. } | Connection::Part { .. } => None,
        })
        .collect();
    let checks = [Check::Adapters, Check::Bluetoothd];
    let (version, main_conf) =
        (bits::package(&place.root, "bluez"), bits::text(&place.root, "etc/bluetooth/main.conf"));
    let adapters = if wanted.is_empty() {
        Ok(None)
    } else {
        place
            .look_for(&checks, "the system bus, asked for BlueZ", || {
                // Connecting to the bus may block: so it has a thread, and a runtime, of its own.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| Unseen::new(error.to_string()))?;
                let words = |why| {
                    Unseen::with(format!("the system bus does not work: {why}"), "systemctl status dbus")
                };
                Ok(runtime
                    .block_on(radios())
                    .map_err(words)?
                    .map(|found| found.into_iter().map(adapter).collect()))
            })
            .await
    };
    Ok(radio::Facts { wanted: wanted.into_iter().collect(), adapters, version, main_conf })
}

fn adapter(seen: crate::link::ble::RadioSeen) -> radio::Adapter {
    let address = seen.address.map(|address| address.to_string()).unwrap_or_default();
    radio::Adapter { name: seen.name, address, powered: seen.powered }
}

async fn broker_facts(
    place: &Place,
    config: &Config,
    daemon: &Daemon,
    fleet: Option<&Result<Result<Kept, String>, Unseen>>,
) -> (Looked<super::broker::Facts>, Letters) {
    let checks = [Check::BrokerName, Check::BrokerTls, Check::BrokerPuback, Check::TopicRights, Check::Fleet];
    if !place.wants(&checks) {
        return (Err(Unseen::new("not wanted")), Letters::new());
    }
    let trusted = fleet.and_then(|kept| kept.as_ref().ok()?.as_ref().ok()).map(|kept| &kept.trust);
    let (facts, letters) = broker::facts(place, config, daemon, trusted).await;
    (Ok(facts), letters)
}
