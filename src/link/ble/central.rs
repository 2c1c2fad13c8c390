//! One adapter: scans without end, and tells the links what it hears of their devices.
//!
//! In: an adapter's name or address, and the addresses of the allowlist. Out: for each of these
//! addresses whether it is there; for all others a count and the last few of them. The central never
//! connects: that is the link's, and a link can only be had for an address that is listed.
//!
//! What can go wrong: the bus, `org.bluez` or the adapter is not there, or goes away; the adapter is
//! switched off; scanning fails or falls silent. Each but silence takes the radio down, with its
//! reason in [`Status`], and is tried again for ever. Against silence there is the watchdog, whose
//! steps are taken here.

mod handle;
mod scan;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

pub use self::handle::{Handle, Presence, Status, Unlisted};
use self::scan::Scan;
use super::Address;
use super::adapter::{Adapter, Found};
use super::bus::{Bus, Signals};
use super::pairing::agent::SharedGate;
use super::watchdog::{Step, Watchdog};
use crate::backoff::Random;
use crate::time::{Clock, Mono};

/// How long to wait before the radio is tried again. `bluetoothd` needs about a second to come back.
const RETRY: Duration = Duration::from_secs(2);

/// How many unlisted addresses are remembered, the latest first.
const UNLISTED_KEPT: usize = 32;

/// How long nothing may be heard while a listed device is away. A ward is never this quiet; where it
/// is, starting the scan again costs nothing.
const QUIET_LIMIT: Duration = Duration::from_secs(90);

/// The task of one adapter. A clone is the same task: only one of them may run at a time.
#[derive(Clone)]
pub struct Central {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    adapter: String,
    /// The listed devices. Held for moments only.
    peers: Mutex<BTreeMap<Address, watch::Sender<Peer>>>,
    radio: watch::Sender<Radio>,
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    /// Told when devices are listed that were not.
    relisted: Notify,
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
    pub(super) bus: Bus,
}

/// What is known of a listed device.
#[derive(Clone, Default)]
pub(super) struct Peer {
    /// BlueZ's name of it, once BlueZ knows it: `hci0/dev_F1_00_00_00_00_01`.
    pub(super) id: Option<String>,
    /// It was heard, or was connected, since it was last lost.
    pub(super) sighted: bool,
    /// It is connected, by whomever.
    is_connected: bool,
    /// How often its connection ended, or its object went.
    pub(super) losses: u64,
}

struct State {
    watchdog: Watchdog,
    random: Box<dyn Random>,
    /// Why the scan could not be started again, while the radio is up.
    not_scanning: Option<String>,
    adverts: u64,
    unlisted: VecDeque<Address>,
    values_lost: u64,
    /// Why BlueZ did not take the agent that refuses pairings.
    no_agent: Option<String>,
    /// Whether the adapter was told that nobody pairs.
    is_closed: bool,
}

impl Central {
    /// A central for an adapter, for instance `hci0`, or its address; and the devices that may be
    /// connected to.
    pub fn new(
        adapter: impl Into<String>,
        allowlist: impl IntoIterator<Item = Address>,
        clock: Arc<dyn Clock>,
        random: Box<dyn Random>,
    ) -> (Self, Handle) {
        let peers: BTreeMap<Address, watch::Sender<Peer>> =
            allowlist.into_iter().map(|address| (address, watch::Sender::new(Peer::default()))).collect();
        let state = State {
            watchdog: Watchdog::new(QUIET_LIMIT, peers.len(), clock.now().mono),
            random,
            not_scanning: None,
            adverts: 0,
            unlisted: VecDeque::new(),
            values_lost: 0,
            no_agent: None,
            is_closed: false,
        };
        let shared = Arc::new(Shared {
            adapter: adapter.into(),
            peers: Mutex::new(peers),
            radio: watch::Sender::new(Radio::Down("not started".to_owned())),
            state: Mutex::new(state),
            clock,
            relisted: Notify::new(),
            pairings: SharedGate::default(),
        });
        (Self { shared: Arc::clone(&shared) }, Handle::new(shared))
    }

    /// The same, with another limit on silence than 90 seconds.
    #[must_use]
    pub fn with_quiet_limit(self, quiet_limit: Duration) -> Self {
        let (listed, now) = (self.shared.peers().len(), self.shared.now());
        self.shared.state().watchdog = Watchdog::new(quiet_limit, listed, now);
        self
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

    /// Serves while the bus lasts.
    async fn serve(&self, bus: &Bus) -> String {
        let mut signals = match bus.signals().await {
            Ok(signals) => signals,
            Err(error) => return format!("the system bus refuses to send signals: {error}"),
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
                    self.shared.state().no_agent = agent.as_ref().err().map(ToString::to_string);
                    match self.scan(bus, &mut signals).await {
                        Ended::Radio(reason) => reason,
                        Ended::Bus(reason) => return reason,
                    }
                }
                Ok(_) => "org.bluez is not on the bus: is bluetooth.service running?".to_owned(),
                Err(error) => return format!("the system bus does not answer: {error}"),
            };
            self.go_down(reason);
            // Another try when something changes, or after a while.
            let _ = timeout(RETRY, signals.next()).await;
        }
    }

    /// Scans until the radio is lost.
    async fn scan(&self, bus: &Bus, signals: &mut Signals) -> Ended {
        let Found { adapter, objects } = match Adapter::find(bus, &self.shared.adapter).await {
            Ok(found) => found,
            Err(reason) => return Ended::Radio(reason),
        };
        self.close_to_pairing(&adapter).await;
        if let Err(reason) = adapter.start_scan().await {
            // It is helped against this as against silence.
            if self.shared.poll_step() == Some(Step::PowerCycle)
                && let Err(worse) = adapter.power_cycle().await
            {
                return Ended::Radio(worse);
            }
            return Ended::Radio(reason);
        }
        self.shared.handle_scan(Ok(()));
        self.shared.radio.send_replace(Radio::Up(Arc::new(Up { bus: bus.clone() })));
        tracing::info!(adapter = self.shared.adapter, name = adapter.name(), "scanning");
        Scan::new(&self.shared, adapter).run(objects, signals).await
    }

    /// Once: a `wardline pair` that was killed leaves an adapter pairable, and one that runs later makes it so.
    async fn close_to_pairing(&self, adapter: &Adapter) {
        if self.shared.state().is_closed {
            return;
        }
        match adapter.end_pairable().await {
            Ok(()) => self.shared.state().is_closed = true,
            Err(error) => {
                let adapter = &self.shared.adapter;
                tracing::warn!(adapter, %error, "the adapter may be pairable: that cannot be ended");
            }
        }
    }

    fn go_down(&self, reason: String) {
        let news = !matches!(&*self.shared.radio.borrow(), Radio::Down(before) if *before == reason);
        if news {
            tracing::warn!(adapter = self.shared.adapter, reason, "radio down");
        }
        self.shared.radio.send_replace(Radio::Down(reason));
        for peer in self.shared.peers().values() {
            peer.send_modify(Peer::lose_object);
        }
        self.shared.count_connected();
        self.shared.state().not_scanning = None;
    }
}

/// What ended a scan.
enum Ended {
    /// The radio, and why.
    Radio(String),
    /// The connection to the bus, and why: it is made anew.
    Bus(String),
}

impl Peer {
    fn lose_connection(&mut self) {
        self.sighted = false;
        self.is_connected = false;
        self.losses += 1;
    }

    fn lose_object(&mut self) {
        self.id = None;
        self.lose_connection();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Counters and times: whoever panicked while holding them left them as good as any.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<Address, watch::Sender<Peer>>> {
        // No change of it can be left half-way that matters: a list is put in place as a whole.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self, address: Address) -> Option<watch::Sender<Peer>> {
        self.peers().get(&address).cloned()
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    fn poll_step(&self) -> Option<Step> {
        let State { watchdog, random, .. } = &mut *self.state();
        let step = watchdog.poll_step(self.now(), random.as_mut())?;
        let adapter = &self.adapter;
        match step {
            Step::RestartScan => tracing::info!(adapter, "nothing is heard: the scan starts again"),
            Step::PowerCycle => tracing::warn!(adapter, "nothing is heard: switched off and on"),
            Step::AskUsbReset => tracing::error!(adapter, "nothing is heard: its USB device must be reset"),
        }
        Some(step)
    }

    fn handle_scan(&self, started: Result<(), String>) {
        let mut state = self.state();
        state.not_scanning = started.err();
        let started = if state.not_scanning.is_none() { Ok(()) } else { Err(()) };
        state.watchdog.handle_scan(started, self.now());
    }

    fn count_connected(&self) {
        let connected = self.peers().values().filter(|peer| peer.borrow().is_connected).count();
        self.state().watchdog.handle_connected(connected, self.now());
    }

    fn hear_unlisted(&self, address: Option<Address>) {
        let mut state = self.state();
        state.adverts += 1;
        if let Some(address) = address {
            state.unlisted.retain(|known| *known != address);
            state.unlisted.push_front(address);
            state.unlisted.truncate(UNLISTED_KEPT);
        }
    }
}

#[cfg(test)]
mod tests;
