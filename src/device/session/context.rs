//! What a session needs from around it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::backoff::{Bounds, Random};
use crate::device::memo::Notebook;
use crate::device::{DeviceIndex, Part, Report, Settled};
use crate::time::Clock;

/// Told of each observation that nobody took before the session had to end.
pub type Lost = Box<dyn Fn() + Send + Sync>;

/// What a session needs besides its link and driver.
pub struct Context {
    /// Which device of the allowlist.
    pub device: DeviceIndex,
    /// The listed parts of it, each a device of the allowlist.
    pub parts: BTreeMap<Part, DeviceIndex>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// For the jitter of the back-off.
    pub random: Box<dyn Random>,
    /// How to come back after the link failed.
    pub backoff: Bounds,
    /// How long a report may wait to be taken. Longer, and what the link holds meanwhile would be
    /// stamped with a time at which it was not said.
    pub patience: Duration,
    /// How long the device may be connected and say neither who it is nor a reading. Longer, and its link is
    /// opened again, which cures an adapter whose reads hang.
    pub quiet: Option<Duration>,
    /// Where reports go. When it is full the session waits, and with it the device.
    pub reports: mpsc::Sender<Report>,
    /// The last ticket that was given: it goes on counting when a session that panicked is made
    /// anew.
    pub tickets: Arc<AtomicU64>,
    /// What became of the observations of the device itself (not of its parts).
    pub settled: watch::Receiver<Settled>,
    /// Where what the driver wants remembered is kept.
    pub notebook: Box<dyn Notebook>,
    /// Turns true when the session shall end.
    pub stop: watch::Receiver<bool>,
    /// Where it is counted what was lost.
    pub lost: Lost,
    /// From a session of the same device at the same place that has ended, and for the next one.
    pub told: Inheritance,
}

/// What was told by a driver and would come again: see [`Driver::told`](crate::device::Driver::told). In memory only.
#[derive(Clone, Debug, Default)]
pub struct Inheritance(Arc<Mutex<Option<Vec<u64>>>>);

impl Inheritance {
    pub(super) fn take(&self) -> Option<Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn put(&self, keys: Vec<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }
}
