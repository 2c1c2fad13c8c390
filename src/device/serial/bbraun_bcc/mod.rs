//! B. Braun Space: a rack (`SpaceStation` with `SpaceCom`) and its pumps, over BCC 3.3x.
//!
//! In: the rack's blocks. Out: one request at a time, ACK or NAK for each block; who the rack is and
//! who stands in each slot, the pumps' readings, the edges of their alarms. The rack is silent unless
//! asked. The public facts are those of `mindleaving/patient-monitor-datalogger` (its `BBraun` folder
//! and tests) and of `VitalRecorder`'s device list; the maker's own document is not public.
//!
//! The conversation: after `Up` everything is thrown away for a moment. Then `ADMIN:ALIVE` with the
//! bed id 1; the answer shows the real bed id, which every other request carries. `ADMIN:VERSION`,
//! then `MEM:GET` (everything of all slots) at each poll. A pump that is missing in a reply, or whose
//! serial number a block's end has cut off, is asked for alone (`MEM:GETSLOT`). Every whole block is
//! answered with ACK, or the rack would not send the next one; for a damaged one, or none in time,
//! NAK asks for it again. After requests without an answer the rack is asked who it is before
//! anything else; after several the line is closed and opened again.
//!
//! The rack is [`Part::WHOLE`](crate::device::Part::WHOLE), each slot a part by its pillar and
//! character: `1-3`, `2-A`. A pump states its serial number (`INSERNUM`, also the low word of `INNR`).
//! The rack states its type (`FMRT`) and version and, as far as is public, no serial number: its port
//! vouches for it, and for each reading of a pump the pump's own serial number. The bed id is a name
//! that people give and change, no identity; while it, or the rack's clock, does not go on as before,
//! the rack counts as another one.
//!
//! The device time of a reading is made: the rack gives seconds since its start, which are anchored to
//! the gateway's wall clock (UTC) at the first block and whenever they jump. The raw count is
//! `BBRAUN_UPTIME`.
//!
//! What never happens: a reading of a pump before its serial number, or under the serial number of the
//! pump that stood in its slot before, also within one reply (see `slots`); a byte to the rack that
//! is not one of [`requests::REQUESTS`]. What remains: a pump that is exchanged for another *within* one
//! block, without `GNNEW`, by a rack that mixes both in one list, could not be seen by anybody.

mod clock;
mod codes;
mod model;
mod places;
mod rack;
mod readings;
mod reply;
mod requests;
mod slots;
#[cfg(test)]
mod tests;
mod units;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Faults;
use crate::device::framing::{Delimited, Piece};
use crate::device::settings::Settings;
use crate::device::{Action, Driver, FaultKind, Part};
use crate::link::{LinkCommand, LinkEvent};
use crate::time::{Mono, Now};
use clock::RackClock;
use rack::Rack;
use readings::Meaning;
use requests::{ACK, Ask, NAK};
use slots::Slots;

pub(super) use model::MODEL;
pub(super) use units::units;

/// How long everything is thrown away after `Up`: what a rack that waits for its ACK repeats, or the
/// rest of a block of some 300 bytes at 9,600 baud.
const SETTLE: Duration = Duration::from_millis(400);

/// How long one block may take. Hosts in the field wait as long for the answer to `ADMIN:ALIVE`.
const PATIENCE: Duration = Duration::from_secs(5);

/// A block that was damaged is asked for again when the line has been quiet for so long, so that
/// nobody speaks into a block that is still coming.
const HUSH: Duration = Duration::from_millis(300);

/// How often one block is asked for again.
const NAKS_MAX: u8 = 3;

/// The most blocks of one reply: one for each of 96 slots, and as many again.
const BLOCKS_MAX: u16 = 200;

/// The pause between a reply and the next question when the reply took longer than the poll period.
const BREATH: Duration = Duration::from_secs(1);

/// How often the rack is asked who it is.
const IDENTITY_PERIOD: Duration = Duration::from_secs(30 * 60);

/// Requests in a row without an answer after which the line is closed and opened again.
const UNANSWERED_MAX: u32 = 3;

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// Nothing is outstanding.
    Idle,
    /// A request is outstanding.
    Waiting { ask: Ask, until: Mono, nak_at: Option<Mono>, naks: u8, blocks: u16 },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct BbraunBcc {
    is_stuffed: bool,
    poll: Duration,
    meaning: Meaning,
    framer: Delimited,
    phase: Phase,
    /// What the rack wants to be called; `None` until it has said so on this connection.
    bed: Option<Vec<u8>>,
    identity_due: Mono,
    is_version_due: bool,
    poll_due: Mono,
    /// Slots to be asked for alone.
    asks: BTreeSet<Part>,
    unanswered: u32,
    /// The last block of the reply: one that comes a second time says nothing new.
    last_block: Vec<u8>,
    rack: Rack,
    clock: RackClock,
    slots: Slots,
    /// Names of parameters that are not known, told once.
    strange: BTreeSet<String>,
    discarded: usize,
    actions: VecDeque<Action>,
}

impl BbraunBcc {
    fn new(settings: &Settings) -> Self {
        let is_stuffed = settings.word("stuffing") == "on";
        let seconds = u64::try_from(settings.number("poll")).unwrap_or_default().max(5);
        Self {
            is_stuffed,
            poll: Duration::from_secs(seconds),
            meaning: Meaning::of(settings),
            framer: Delimited::new(if is_stuffed { wire::STUFFED } else { wire::PLAIN }),
            phase: Phase::Listening,
            bed: None,
            identity_due: Mono::default(),
            is_version_due: false,
            poll_due: Mono::default(),
            asks: BTreeSet::new(),
            unanswered: 0,
            last_block: Vec::new(),
            rack: Rack::default(),
            clock: RackClock::default(),
            slots: Slots::default(),
            strange: BTreeSet::new(),
            discarded: 0,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        self.framer.reset();
        self.slots.handle_up();
        self.rack = Rack::default();
        self.clock = RackClock::default();
        (self.bed, self.is_version_due, self.unanswered, self.discarded) = (None, false, 0, 0);
        self.asks.clear();
        self.strange.clear();
        self.last_block.clear();
        self.actions.clear();
        let until = now + SETTLE;
        // A rack on a line that comes and goes is not asked for everything more often for it.
        (self.identity_due, self.poll_due) = (until, self.poll_due.max(until));
        self.phase = Phase::Settling { until };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Now) {
        match self.phase {
            Phase::Closed => return,
            Phase::Settling { .. } => {
                self.discarded = self.discarded.saturating_add(bytes.len());
                return;
            }
            Phase::Listening | Phase::Idle | Phase::Waiting { .. } => {}
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        let mut is_damaged = false;
        while let Some(piece) = self.framer.take(&mut input) {
            is_damaged =
                matches!(piece, Piece::Broken(..)) || (is_damaged && matches!(piece, Piece::Noise(_)));
            self.handle_piece(&piece, now, &mut faults);
        }
        if let Phase::Waiting { until, nak_at, .. } = &mut self.phase {
            if self.framer.held() > 0 {
                *until = (*until).max(now.mono + HUSH);
            }
            if is_damaged || nak_at.is_some() {
                *nak_at = Some((now.mono + HUSH).min(*until));
            }
        }
        self.ask_next(now.mono);
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, now: Now, faults: &mut Faults) {
        if let Piece::Frame(span) = piece {
            let plain = if self.is_stuffed { wire::plain(span) } else { Some(span.clone()) };
            if let Some(block) = plain.as_deref().and_then(wire::block) {
                self.handle_block(&block, span, now, faults);
                return;
            }
        }
        let (kind, detail) = wire::fault_of(piece, self.is_stuffed);
        faults.add(kind, detail);
    }

    fn handle_block(&mut self, block: &wire::Block<'_>, span: &[u8], now: Now, faults: &mut Faults) {
        if self.phase == Phase::Listening {
            self.overhear(block, now, faults);
            return;
        }
        self.command(ACK);
        let Phase::Waiting { ask, naks, blocks, .. } = self.phase else {
            faults.add(FaultKind::Unexpected, "a block came although nothing was asked");
            return;
        };
        let until = now.mono + PATIENCE;
        if span == self.last_block {
            // The rack did not hear the ACK, or heard a NAK besides.
            self.phase = Phase::Waiting { ask, until, nak_at: None, naks, blocks };
            return;
        }
        if ask != Ask::Alive && self.bed.as_deref() != Some(block.bed) {
            faults.add(FaultKind::Unexpected, "the bed id has changed: the rack is asked anew who it is");
            self.phase = Phase::Idle;
            self.doubt(now.mono, faults);
            return;
        }
        let blocks = blocks.saturating_add(1);
        self.phase = Phase::Waiting { ask, until, nak_at: None, naks: 0, blocks };
        span.clone_into(&mut self.last_block);
        if self.handle_answer(ask, block, now, faults) {
            self.unanswered = 0;
            self.phase = Phase::Idle;
            if matches!(ask, Ask::Memory | Ask::Slot(_)) {
                self.poll_due = self.poll_due.max(now.mono + BREATH);
            }
        } else if blocks >= BLOCKS_MAX {
            self.handle_no_answer(ask, now.mono);
        }
    }

    /// Asks what is due, if the line is free.
    fn ask_next(&mut self, now: Mono) {
        if self.phase != Phase::Idle {
            return;
        }
        let ask = if self.bed.is_none() || self.identity_due <= now {
            (self.identity_due <= now).then_some(Ask::Alive)
        } else if std::mem::take(&mut self.is_version_due) {
            Some(Ask::Version)
        } else if let Some(part) = self.asks.pop_first() {
            Some(Ask::Slot(part))
        } else {
            (self.poll_due <= now).then_some(Ask::Memory)
        };
        let Some(ask) = ask else { return };
        match ask {
            Ask::Alive => self.identity_due = now + IDENTITY_PERIOD,
            Ask::Memory => self.poll_due = now + self.poll,
            Ask::Version | Ask::Slot(_) => {}
        }
        if ask == Ask::Memory {
            self.slots.handle_reply_begin();
        }
        if let Some(command) = ask.command(self.bed.as_deref().unwrap_or_default(), self.is_stuffed) {
            self.last_block.clear();
            self.phase = Phase::Waiting { ask, until: now + PATIENCE, nak_at: None, naks: 0, blocks: 0 };
            self.command(command);
        }
    }

    /// A block is damaged, or did not come: asks for it again, or gives the reply up.
    fn handle_silence(&mut self, ask: Ask, naks: u8, blocks: u16, now: Mono) {
        let is_begun = blocks > 0 || self.framer.held() > 0;
        let is_damaged = matches!(self.phase, Phase::Waiting { nak_at: Some(_), .. });
        if naks >= NAKS_MAX || !(is_begun || is_damaged) {
            self.handle_no_answer(ask, now);
            return;
        }
        if !is_damaged {
            self.report(
                FaultKind::Timeout,
                format!("a block of the answer to {} did not come: asked for it again", ask.name()),
            );
        }
        let until = now + PATIENCE;
        self.phase = Phase::Waiting { ask, until, nak_at: None, naks: naks.saturating_add(1), blocks };
        self.command(NAK);
    }

    fn handle_no_answer(&mut self, ask: Ask, now: Mono) {
        self.report(FaultKind::Timeout, format!("no whole answer to {}", ask.name()));
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= UNANSWERED_MAX {
            let detail = format!("{UNANSWERED_MAX} requests without an answer: the line is opened again");
            self.report(FaultKind::Timeout, detail);
            self.phase = Phase::Closed;
            self.command(LinkCommand::HangUp);
            return;
        }
        self.phase = Phase::Idle;
        self.framer.reset();
        if ask == Ask::Version {
            // Not every rack has to know it; the type says as much.
            self.rack.is_known = true;
            return;
        }
        // In a silence this long the cable can have gone to another rack.
        let mut faults = Faults::default();
        self.clock = RackClock::default();
        self.doubt(now, &mut faults);
        self.actions.extend(faults.into_actions());
    }

    /// Whoever speaks may be another: the rack is asked who it is, and no slot is sure.
    fn doubt(&mut self, now: Mono, faults: &mut Faults) {
        self.rack = Rack::default();
        self.identity_due = now;
        self.asks.clear();
        self.slots.handle_doubt(faults);
    }

    fn command(&mut self, command: LinkCommand) {
        self.actions.push_back(Action::Command(command));
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(crate::device::Fault::new(kind, detail)));
    }
}

impl Driver for BbraunBcc {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now),
            LinkEvent::Down(_) => {
                let mut faults = Faults::default();
                if self.phase == Phase::Listening {
                    if let Some(piece) = self.framer.finish() {
                        self.handle_piece(&piece, now, &mut faults);
                    }
                    self.slots.handle_doubt(&mut faults);
                } else {
                    self.phase = Phase::Closed;
                }
                self.actions.extend(faults.into_actions());
            }
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = now.mono;
        match self.phase {
            Phase::Listening | Phase::Closed => return,
            Phase::Settling { until } if until <= now => {
                if self.discarded > 0 {
                    let count = self.discarded;
                    let detail = format!("{count} bytes of an earlier conversation were thrown away");
                    self.report(FaultKind::Unexpected, detail);
                }
                self.phase = Phase::Idle;
            }
            Phase::Waiting { ask, until, nak_at, naks, blocks } => {
                if until <= now || nak_at.is_some_and(|at| at <= now) {
                    self.handle_silence(ask, naks, blocks, now);
                }
            }
            Phase::Settling { .. } | Phase::Idle => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } => Some(until),
            Phase::Waiting { until, nak_at, .. } => Some(nak_at.map_or(until, |at| at.min(until))),
            Phase::Idle if self.bed.is_none() => Some(self.identity_due),
            Phase::Idle => Some(self.identity_due.min(self.poll_due)),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
