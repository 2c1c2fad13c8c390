//! btleplug's connection to the bus: one for each connection to a device, and it ends with it.
//!
//! In: btleplug's name of a device. Out: the device as btleplug knows it, for as long as the session is
//! held.
//!
//! Why not one for all: btleplug (0.13.5, through bluez-async 0.9) adds and removes two match rules for
//! each connection, and
//! - a signal that is being delivered while one of its streams is dropped leaves the rule at the bus for
//!   good (`remove_match` finds nothing to remove; the panic that is printed is its). A bus allows a
//!   client some hundred rules, then nothing can be connected to any more;
//! - dbus-daemon (seen with 1.14.10) takes rules that differ in `path_namespace` alone for the same, so
//!   the end of one device's stream can take the rule of another device, which then falls silent.
//!
//! With a connection for each device neither can hurt: its rules are of one device, and the bus takes
//! all of them back when it ends. btleplug starts a task for its connection and keeps no handle of it;
//! so that it can end, it has a small runtime of its own. That has one thread, on which the streams
//! are dropped too: while a signal is being delivered, none is.

use std::time::Duration;

use btleplug::api::{Central as _, Manager as _, Peripheral as _};
use btleplug::platform::{Adapter, Manager, Peripheral, PeripheralId};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

/// All that is asked comes from BlueZ's memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A connection of btleplug.
pub(super) struct Session {
    adapters: Vec<Adapter>,
    thread: Handle,
    _own: Own,
}

/// A runtime that may be dropped in another one.
struct Own(Option<Runtime>);

impl Session {
    /// Connects.
    pub(super) async fn open() -> Result<Self, String> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("btleplug").enable_all().build();
        let runtime = runtime.map_err(|error| format!("no thread for btleplug: {error}"))?;
        let manager = {
            let _entered = runtime.enter();
            // It connects without ever waiting, and starts its task in the runtime that was entered.
            Manager::new().now_or_never()
        };
        let (thread, own) = (runtime.handle().clone(), Own(Some(runtime)));
        let manager = manager.ok_or("btleplug did not connect at once")?;
        let manager = manager.map_err(|error| format!("no connection to the system bus: {error}"))?;
        match timeout(ANSWER_LIMIT, manager.adapters()).await {
            Ok(Ok(adapters)) => Ok(Self { adapters, thread, _own: own }),
            Ok(Err(error)) => Err(format!("adapters cannot be listed: {error}")),
            Err(_) => Err("org.bluez does not answer".to_owned()),
        }
    }

    /// The device with this name.
    pub(super) async fn peripheral(&self, id: &PeripheralId) -> Result<Peripheral, String> {
        // The name says on which adapter it is: any of them finds it.
        let adapter = self.adapters.first().ok_or("there is no adapter any more")?;
        match timeout(ANSWER_LIMIT, adapter.peripheral(id)).await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err("org.bluez does not answer".to_owned()),
        }
    }

    /// Connects a device, on the session's own thread: btleplug drops a stream at the end of it. When this
    /// is given up the attempt goes on until the session ends.
    pub(super) async fn connect(&self, peripheral: Peripheral) -> Result<(), btleplug::Error> {
        let attempt = self.thread.spawn(async move { peripheral.connect().await });
        attempt.await.unwrap_or_else(|error| Err(btleplug::Error::Other(Box::new(error))))
    }

    /// Drops what holds streams, on the session's own thread.
    pub(super) fn let_go(&self, held: impl Send + 'static) {
        // Nobody has to wait for it: it is done, or ends with the session.
        drop(self.thread.spawn(async move { drop(held) }));
    }

    /// btleplug's name of the device at a path, if BlueZ has it.
    pub(super) async fn id_of(&self, path: &str) -> Option<PeripheralId> {
        let name = path.strip_prefix("/org/bluez/")?;
        for adapter in &self.adapters {
            let listed = timeout(ANSWER_LIMIT, adapter.peripherals()).await.ok()?.ok()?;
            let found = listed.into_iter().map(|listed| listed.id()).find(|id| id.to_string() == name);
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
