//! btleplug's connection to the bus: one for each connection to a device, and it ends with it.
//!
//! In: BlueZ's name of a device. Out: the device as btleplug knows it, for as long as the session is
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

use std::thread;
use std::time::Duration;

use btleplug::api::{Central as _, Manager as _, Peripheral as _};
use btleplug::platform::{Adapter, Manager, Peripheral};
use futures_util::FutureExt;
use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::timeout;

/// All that is asked comes from BlueZ's memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A thread that is told to end does so at once, unless something on it does not yield.
const END_LIMIT: Duration = Duration::from_secs(2);

/// How many sessions there may be at a time, each with a thread: within what the unit allows the process
/// (`TasksMax`), and more than the connections that an adapter can hold.
const SESSIONS_MOST: usize = 96;

static SESSIONS: Semaphore = Semaphore::const_new(SESSIONS_MOST);

/// A connection of btleplug.
pub(super) struct Session {
    adapters: Vec<Adapter>,
    thread: Handle,
    own: Own,
}

/// A thread with a runtime of its own: both end with the value.
struct Own {
    /// Dropped, it ends the thread.
    _end: oneshot::Sender<()>,
    /// Closed when the thread has ended.
    done: oneshot::Receiver<()>,
    _permit: SemaphorePermit<'static>,
}

/// Starts a thread with a runtime. Unlike a runtime with workers this says so when there can be no thread. The
/// runtime is made and dropped on its thread: dropping one among others' tasks is a panic of tokio.
async fn start_thread(
    thread: thread::Builder,
    permit: SemaphorePermit<'static>,
) -> Result<(Handle, Own), String> {
    let no_thread = |error: std::io::Error| format!("no thread for btleplug: {error}");
    let (end, ended) = oneshot::channel();
    let (is_done, done) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let run = move || {
        // The last to be dropped.
        let _is_done: oneshot::Sender<()> = is_done;
        match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => {
                let _ = tell.send(Ok(runtime.handle().clone()));
                // An error is the end.
                let _: Result<(), _> = runtime.block_on(ended);
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    };
    thread.spawn(run).map_err(no_thread)?;
    let handle = told.await.map_err(|_| "the thread for btleplug has ended at once")?.map_err(no_thread)?;
    Ok((handle, Own { _end: end, done, _permit: permit }))
}

impl Session {
    /// Connects.
    pub(super) async fn open() -> Result<Self, String> {
        let Ok(Ok(permit)) = timeout(ANSWER_LIMIT, SESSIONS.acquire()).await else {
            return Err(format!("{SESSIONS_MOST} devices are connected, or being connected, already"));
        };
        let named = thread::Builder::new().name("btleplug".to_owned());
        let (thread, own) = start_thread(named, permit).await?;
        let manager = {
            let _entered = thread.enter();
            // It connects without ever waiting, and starts its task in the runtime that was entered.
            Manager::new().now_or_never()
        };
        let manager = manager.ok_or("btleplug did not connect at once")?;
        let manager = manager.map_err(|error| format!("no connection to the system bus: {error}"))?;
        match timeout(ANSWER_LIMIT, manager.adapters()).await {
            Ok(Ok(adapters)) => Ok(Self { adapters, thread, own }),
            Ok(Err(error)) => Err(format!("adapters cannot be listed: {error}")),
            Err(_) => Err("org.bluez does not answer".to_owned()),
        }
    }

    /// The device that BlueZ names so, for instance `hci0/dev_F1_00_00_00_00_01`.
    pub(super) async fn peripheral(&self, id: &str) -> Result<Peripheral, String> {
        for adapter in &self.adapters {
            let listed = timeout(ANSWER_LIMIT, adapter.peripherals()).await;
            let listed =
                listed.map_err(|_| "org.bluez does not answer")?.map_err(|error| error.to_string())?;
            if let Some(found) = listed.into_iter().find(|listed| listed.id().to_string() == id) {
                return Ok(found);
            }
        }
        Err("BlueZ does not have it any more".to_owned())
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

    /// Ends, and waits until the connection to the bus is closed. Nothing else may hold a device of it.
    pub(super) async fn end(self) {
        let Self { adapters, thread: _, own: Own { _end: end, done, _permit } } = self;
        drop((adapters, end));
        // An error is the word for it.
        let _ = timeout(END_LIMIT, done).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_allows_a_thread_for_each_session_and_those_of_the_daemon() {
        let unit = include_str!("../../../systemd/wardline.service");
        let most = unit.lines().find_map(|line| line.strip_prefix("TasksMax=")).unwrap();
        // Some twenty are the daemon's own (the unit's comment).
        assert!(most.parse::<usize>().unwrap() >= SESSIONS_MOST + 24);
    }

    #[tokio::test]
    async fn a_session_that_ends_gives_its_place_back() {
        let permit = SESSIONS.acquire().await.unwrap();
        let before = SESSIONS.available_permits();
        let (thread, own) = start_thread(thread::Builder::new(), permit).await.unwrap();
        assert_eq!(thread.spawn(async { 7 }).await.unwrap(), 7);
        let (_held, asked) = oneshot::channel::<()>();
        let unfinished = thread.spawn(asked);
        let session = Session { adapters: Vec::new(), thread, own };
        session.end().await;
        // The runtime goes with its thread, and all that runs there.
        assert!(unfinished.await.unwrap_err().is_cancelled());
        assert_eq!(SESSIONS.available_permits(), before + 1);
    }
    /// No system has an address space for this stack.
    #[tokio::test]
    async fn without_a_thread_there_is_no_session_and_nothing_panics() {
        // Of its own: another test counts those of the sessions.
        static PLACES: Semaphore = Semaphore::const_new(1);
        let permit = PLACES.acquire().await.unwrap();
        let error = start_thread(thread::Builder::new().stack_size(1 << 60), permit).await.err().unwrap();
        assert!(error.starts_with("no thread for btleplug: "), "{error}");
        assert_eq!(PLACES.available_permits(), 1);
    }
}
