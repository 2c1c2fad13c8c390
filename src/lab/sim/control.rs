//! The hand on a running simulator: what it shows, what goes wrong, what was sent and received; and the
//! pace of its line.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::pty::Pty;

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
pub(super) struct State<V> {
    pub(super) values: V,
    /// Values that were set and not pushed yet, for a simulator that pushes at each `set`.
    pub(super) sets: VecDeque<V>,
    pub(super) identity: String,
    pub(super) path: PathBuf,
    pub(super) troubles: VecDeque<Trouble>,
    pub(super) power_cycle: Option<Duration>,
    pub(super) is_clock_restarted: bool,
    pub(super) alarm_flood: u32,
    pub(super) wrong_baud: u32,
    pub(super) journal: VecDeque<Sent>,
    pub(super) sent: u64,
    pub(super) received: Vec<u8>,
    pub(super) refused: u64,
    pub(super) is_stopped: bool,
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
    pub(super) fn new(values: V, identity: String, path: PathBuf) -> Self {
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

    pub(super) fn state(&self) -> MutexGuard<'_, State<V>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    pub(super) fn take_received(&self, bytes: &[u8]) {
        let mut state = self.state();
        let room = RECEIVED_MAX.saturating_sub(state.received.len());
        state.received.extend(bytes.iter().take(room));
    }

    pub(super) fn refuse(&self) {
        self.state().refused += 1;
    }

    /// The port vanishes and comes back, if that was asked for.
    pub(super) async fn cycle_power(&self, pty: &mut Option<Pty>, link: Option<&Path>) -> io::Result<()> {
        let Some(time) = self.state().power_cycle.take() else { return Ok(()) };
        *pty = None;
        tokio::time::sleep(time).await;
        let back = Pty::open(link)?;
        back.path().clone_into(&mut self.state().path);
        *pty = Some(back);
        Ok(())
    }

    /// Sends one frame with whatever trouble waits for it, and writes it into the journal.
    pub(super) async fn send(&self, pty: &Pty, baud: u32, message: &str, frame: &[u8]) {
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
    pub(super) fn is_flooded(&self) -> Option<u32> {
        let mut state = self.state();
        let left = state.alarm_flood;
        state.alarm_flood = left.saturating_sub(1);
        (left > 0).then_some(left)
    }
}

/// Puts bytes on the line as fast as a UART would. False when the line did not take them all.
pub(super) async fn paced(pty: &Pty, baud: u32, bytes: &[u8]) -> bool {
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
