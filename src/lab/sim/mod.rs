//! Simulators of the device side of serial lines, on real pseudo-terminals at the real baud rate.
//!
//! In: what the device shows ([`alaris::Values`], [`masimo::Values`]) and faults on request
//! ([`Trouble`]). Out: bytes on a pty, and a journal of everything that was sent ([`Sent`]) and
//! received. Written from the protocol facts alone: nothing here uses a driver, its framer or its
//! checksum, so a mistake in one does not hide in the other.
//!
//! A simulator is a pair: a future that the caller runs, and a control that may be cloned. The
//! future ends when [`Control::stop`] is called.

pub mod alaris;
pub mod astm;
pub mod bbraun;
mod control;
pub mod fresenius;
pub mod hospira;
pub mod intellivue;
pub mod maquet;
pub mod masimo;
pub mod medibus;
pub mod nellcor;
pub mod nonin;
mod pty;
pub mod puritan_bennett;
pub mod site_line;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use super::numerics::Minute;
use control::paced;
pub use control::{Control, Sent, Trouble};

/// Every simulator, by the name of the driver that reads it, one a line.
#[rustfmt::skip]
pub static SIMS: &[&Sim] = &[
    &alaris::SIM,
    &astm::SIM,
    &bbraun::SIM,
    &fresenius::SIM,
    &hospira::SIM,
    &intellivue::SIM,
    &maquet::SIM,
    &masimo::SIM,
    &medibus::SIM,
    &nellcor::SIM,
    &nonin::SIM,
    &puritan_bennett::SIM,
    &site_line::SIM,
];

/// One kind of device.
pub struct Sim {
    /// The name of the driver that reads it.
    pub name: &'static str,
    /// What it stands for, for a person.
    pub title: &'static str,
    /// Two of them, as each says it: for a device that is exchanged for another one.
    pub identities: [&'static str; 2],
    /// Makes one. Its port exists as soon as this returns. Wants a tokio runtime around it.
    pub start: fn(&Start) -> io::Result<Running>,
}

/// How a simulator is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// Who it says it is; of a rack, what all its parts' numbers are made of.
    pub identity: Option<String>,
    /// Bits per second, when not the usual ones.
    pub baud: Option<u32>,
    /// How many devices stand in a rack, when not the usual number.
    pub parts: Option<u8>,
}

impl Shown {
    /// Something that the device itself shows.
    pub fn new(reference: &'static str, value: impl Into<String>) -> Self {
        Self { at: String::new(), reference, value: value.into() }
    }

    /// Something that what stands at a place shows.
    pub fn at(place: impl Into<String>, reference: &'static str, value: impl Into<String>) -> Self {
        Self { at: place.into(), reference, value: value.into() }
    }
}

/// A simulator that has been made.
pub struct Running {
    /// The device, to be run.
    pub device: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
    /// The hand on it.
    pub remote: Arc<dyn Remote>,
}

impl Running {
    /// Of a device and its control.
    pub fn new<V: Plays>(
        (device, control): (impl Future<Output = io::Result<()>> + Send + 'static, Control<V>),
    ) -> Self {
        Self { device: Box::pin(device), remote: Arc::new(control) }
    }
}

/// What a simulated device shows, and how it follows a patient.
pub trait Plays: Clone + Send + 'static {
    /// Shows a minute of the recording, as far as the device measures such things; a pump goes on by a
    /// minute.
    fn play(&mut self, minute: &Minute);

    /// What it shows at the moment, of what stays so until it is played again: the ward looks for every
    /// one of these values behind the driver.
    fn shown(&self) -> Vec<Shown> {
        Vec::new()
    }
}

/// A value that a device shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// At which place of a rack or chain, by its name; empty for the device itself.
    pub at: String,
    /// The element's reference id.
    pub reference: &'static str,
    /// As the driver has to tell it.
    pub value: String,
}

/// The hand on a simulator of whatever kind.
pub trait Remote: Send + Sync {
    /// Where the host finds the port.
    fn path(&self) -> PathBuf;
    /// Makes something go wrong.
    fn trouble(&self, trouble: Trouble);
    /// Shows a minute of the recording.
    fn play(&self, minute: &Minute);
    /// What it shows at the moment.
    fn shown(&self) -> Vec<Shown>;
    /// Everything that was sent, the oldest first.
    fn journal(&self) -> Vec<Sent>;
    /// How many frames were sent.
    fn sent(&self) -> u64;
    /// Every byte that the host wrote, from the first.
    fn received(&self) -> Vec<u8>;
    /// How many requests were refused.
    fn refused(&self) -> u64;
    /// Forgets the journal and what was received: for those who let it run for long.
    fn forget(&self);
    /// Ends the device.
    fn stop(&self);
}

impl<V: Plays> Remote for Control<V> {
    fn path(&self) -> PathBuf {
        Self::path(self)
    }

    fn trouble(&self, trouble: Trouble) {
        Self::trouble(self, trouble);
    }

    fn play(&self, minute: &Minute) {
        let mut values = self.values();
        values.play(minute);
        self.set(values);
    }

    fn shown(&self) -> Vec<Shown> {
        self.values().shown()
    }

    fn journal(&self) -> Vec<Sent> {
        Self::journal(self)
    }

    fn sent(&self) -> u64 {
        Self::sent(self)
    }

    fn received(&self) -> Vec<u8> {
        Self::received(self)
    }

    fn refused(&self) -> u64 {
        Self::refused(self)
    }

    fn forget(&self) {
        let mut state = self.state();
        state.journal.clear();
        state.received.clear();
    }

    fn stop(&self) {
        Self::stop(self);
    }
}
