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

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::numerics::Minute;
use pty::Pty;

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

/// The most entries of a journal and the most troubles that wait; older entries go.
const JOURNAL_MAX: usize = 100_000;

/// Milliseconds between two steps of a line in memory.
const SIMULATED_STEP: u32 = 20;

/// The most received bytes that are kept, the first ones.
const RECEIVED_MAX: usize = 1 << 20;

/// Something that goes wrong, once, at the next frame unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// These bytes come before the frame.
    Noise(Vec<u8>),
    /// Only the first part of the frame comes.
    Torn,
    /// The frame's checksum is wrong; a protocol without one loses a byte.
    Corrupted,
    /// The frame comes so much later.
    Late(Duration),
    /// The frame does not come.
    Silent,
    /// The frame is called off half-way with ESC and comes again.
    Escaped,
    /// This comes before the frame: the answer to an earlier request.
    Stale(String),
    /// At once: the port vanishes for so long, then comes back under the same stable path.
    PowerCycle(Duration),
    /// At once: another device of the same kind stands on the port from here on.
    Identity(String),
    /// The alarm changes with each of the next frames that tell it, so many times.
    AlarmFlood(u32),
    /// At once: the device's own clock starts again.
    ClockRestart,
    /// The rest of the traffic comes at another speed than the host expects: each byte is turned
    /// into garbage, for so many frames.
    WrongBaud(u32),
}

impl Trouble {
    /// Of a word on the command line, each in a usual size.
    pub fn read(word: &str) -> Result<Self, String> {
        Ok(match word.split_once('=').map_or((word, None), |(word, value)| (word, Some(value))) {
            ("noise", None) => Self::Noise((0..=255).collect()),
            ("torn", None) => Self::Torn,
            ("corrupted", None) => Self::Corrupted,
            ("late", None) => Self::Late(Duration::from_secs(1)),
            ("silent", None) => Self::Silent,
            ("escaped", None) => Self::Escaped,
            ("power-cycle", None) => Self::PowerCycle(Duration::from_secs(2)),
            ("alarm-flood", None) => Self::AlarmFlood(20),
            ("clock-restart", None) => Self::ClockRestart,
            ("wrong-baud", None) => Self::WrongBaud(5),
            ("identity", Some(name)) => Self::Identity(name.to_owned()),
            _ => return Err("there is no such trouble".to_owned()),
        })
    }
}

/// One frame or line that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// 1, 2, 3, ...: nothing is missing between two neighbours.
    pub number: u64,
    /// Who the device was at that moment.
    pub identity: String,
    /// The message, without framing.
    pub message: String,
    /// Whether it left whole: then a host that was connected has to have it.
    pub is_whole: bool,
}

/// The common part of a simulator, shared by its future and its controls.
#[derive(Debug)]
struct Shared<V> {
    state: Mutex<State<V>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<V> {
    values: V,
    /// Values that were set and not pushed yet, for a simulator that pushes at each `set`.
    sets: VecDeque<V>,
    identity: String,
    path: PathBuf,
    troubles: VecDeque<Trouble>,
    power_cycle: Option<Duration>,
    is_clock_restarted: bool,
    alarm_flood: u32,
    wrong_baud: u32,
    journal: VecDeque<Sent>,
    sent: u64,
    received: Vec<u8>,
    refused: u64,
    is_stopped: bool,
}

/// The handle on a running simulator.
#[derive(Debug)]
pub struct Control<V>(Arc<Shared<V>>);

impl<V> Clone for Control<V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<V: Clone> Control<V> {
    fn new(values: V, identity: String, path: PathBuf) -> Self {
        let state = State {
            values,
            sets: VecDeque::new(),
            identity,
            path,
            troubles: VecDeque::new(),
            power_cycle: None,
            is_clock_restarted: false,
            alarm_flood: 0,
            wrong_baud: 0,
            journal: VecDeque::new(),
            sent: 0,
            received: Vec::new(),
            refused: 0,
            is_stopped: false,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Where the host finds the port: the stable path if one was asked for.
    pub fn path(&self) -> PathBuf {
        self.state().path.clone()
    }

    /// What the device shows from here on.
    pub fn set(&self, values: V) {
        let mut state = self.state();
        state.values = values.clone();
        if state.sets.len() < JOURNAL_MAX {
            state.sets.push_back(values);
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// What the device shows at the moment.
    pub fn values(&self) -> V {
        self.state().values.clone()
    }

    /// Makes something go wrong.
    pub fn trouble(&self, trouble: Trouble) {
        let mut state = self.state();
        match trouble {
            Trouble::PowerCycle(time) => state.power_cycle = Some(time),
            Trouble::Identity(identity) => state.identity = identity,
            Trouble::AlarmFlood(count) => state.alarm_flood = count,
            Trouble::ClockRestart => state.is_clock_restarted = true,
            Trouble::WrongBaud(frames) => state.wrong_baud = frames,
            Trouble::Noise(_)
            | Trouble::Torn
            | Trouble::Corrupted
            | Trouble::Late(_)
            | Trouble::Silent
            | Trouble::Escaped
            | Trouble::Stale(_) => {
                if state.troubles.len() < JOURNAL_MAX {
                    state.troubles.push_back(trouble);
                }
            }
        }
        drop(state);
        self.0.changed.notify_one();
    }

    /// How many troubles still wait for a frame.
    pub fn troubles_left(&self) -> usize {
        self.state().troubles.len()
    }

    /// Everything that was sent, the oldest first.
    pub fn journal(&self) -> Vec<Sent> {
        self.state().journal.iter().cloned().collect()
    }

    /// How many frames were sent.
    pub fn sent(&self) -> u64 {
        self.state().sent
    }

    /// Every byte that the host wrote, from the first.
    pub fn received(&self) -> Vec<u8> {
        self.state().received.clone()
    }

    /// How many requests were refused: writes, remote control, wrong checksums.
    pub fn refused(&self) -> u64 {
        self.state().refused
    }

    /// Ends the simulator's future.
    pub fn stop(&self) {
        self.state().is_stopped = true;
        self.0.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State<V>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn take_received(&self, bytes: &[u8]) {
        let mut state = self.state();
        let room = RECEIVED_MAX.saturating_sub(state.received.len());
        state.received.extend(bytes.iter().take(room));
    }

    fn refuse(&self) {
        self.state().refused += 1;
    }

    /// The port vanishes and comes back, if that was asked for.
    async fn cycle_power(&self, pty: &mut Option<Pty>, link: Option<&Path>) -> io::Result<()> {
        let Some(time) = self.state().power_cycle.take() else { return Ok(()) };
        *pty = None;
        tokio::time::sleep(time).await;
        let back = Pty::open(link)?;
        back.path().clone_into(&mut self.state().path);
        *pty = Some(back);
        Ok(())
    }

    /// Sends one frame with whatever trouble waits for it, and writes it into the journal.
    async fn send(&self, pty: &Pty, baud: u32, message: &str, frame: &[u8]) {
        let mut bytes = frame.to_vec();
        let mut before = Vec::new();
        let mut is_whole = true;
        let mut late = Duration::ZERO;
        let (troubles, identity, is_garbled) = {
            let mut state = self.state();
            let is_garbled = state.wrong_baud > 0;
            state.wrong_baud = state.wrong_baud.saturating_sub(1);
            (std::mem::take(&mut state.troubles), state.identity.clone(), is_garbled)
        };
        for trouble in troubles {
            match trouble {
                Trouble::Noise(noise) => before.extend(noise),
                Trouble::Stale(stale) => before.extend(stale.into_bytes()),
                Trouble::Torn => bytes.truncate(bytes.len() / 2),
                Trouble::Corrupted => drop(bytes.remove(bytes.len() / 2)),
                Trouble::Silent => bytes.clear(),
                Trouble::Late(time) => late += time,
                Trouble::Escaped => {
                    before.extend_from_slice(bytes.get(..bytes.len() / 2).unwrap_or_default());
                    before.push(0x1B);
                }
                Trouble::PowerCycle(_)
                | Trouble::Identity(_)
                | Trouble::AlarmFlood(_)
                | Trouble::ClockRestart
                | Trouble::WrongBaud(_) => {}
            }
        }
        is_whole &= bytes == frame && !is_garbled;
        if is_garbled {
            // What a receiver makes of bits at another speed: runs of ones and zeros.
            for byte in &mut bytes {
                *byte = if *byte % 2 == 0 { 0x00 } else { 0xFF };
            }
        }
        tokio::time::sleep(late).await;
        let all = [before, bytes].concat();
        let arrived = paced(pty, baud, &all).await;
        let mut state = self.state();
        state.sent += 1;
        let number = state.sent;
        let message = message.to_owned();
        state.journal.push_back(Sent { number, identity, message, is_whole: is_whole && arrived });
        if state.journal.len() > JOURNAL_MAX {
            state.journal.pop_front();
        }
    }

    /// Whether the alarm that is told next is of a flood; counts it.
    fn is_flooded(&self) -> Option<u32> {
        let mut state = self.state();
        let left = state.alarm_flood;
        state.alarm_flood = left.saturating_sub(1);
        (left > 0).then_some(left)
    }
}

/// Puts bytes on the line as fast as a UART would. False when the line did not take them all.
async fn paced(pty: &Pty, baud: u32, bytes: &[u8]) -> bool {
    // A byte is ten bits on an 8N1 line. One step a millisecond, late ones made up for, gives the
    // right rate on average, as the buffer of a UART does.
    let step = if pty.is_real() { 1 } else { SIMULATED_STEP };
    let mut steps = tokio::time::interval(Duration::from_millis(u64::from(step)));
    steps.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let per_step = baud.max(1).saturating_mul(step);
    let (mut rest, mut credit) = (bytes, 0u32);
    let mut all_taken = true;
    while !rest.is_empty() {
        steps.tick().await;
        credit = credit.saturating_add(per_step);
        let count = usize::try_from(credit / 10_000).unwrap_or(usize::MAX).min(rest.len());
        credit %= 10_000;
        let (now, later) = rest.split_at(count);
        all_taken &= pty.put(now);
        rest = later;
    }
    all_taken
}
