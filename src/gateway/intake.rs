//! The one writer: reports in, durable blocks out, word back to the sources.
//!
//! Whatever waits in the channel is judged, packed by lane and committed as one block (group
//! commit). An alarm is committed at once; the other lanes wait at most their linger for company.
//! When the store refuses a block it is parked and tried again; meanwhile the other lanes go on,
//! and when the parked lane's next block is full too, nothing more is taken from the channel: the
//! sessions, and with them the devices, wait. Nothing is dropped here.

mod change;

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::device::observation::{Lane, Phase};
use crate::device::{DeviceIndex, Report, ReportBody, Settled, Ticket};
use crate::envelope::block::{BlockBuilder, BlockHeader, PlainBlock};
use crate::host::audit::AuditLog;
use crate::policy::event::{Detection, Event, Word};
use crate::policy::hold::Holds;
use crate::policy::{Admitted, Gatekeeper, Refusal, Verdict, should_log};
use crate::store::{self, Seq, StoreError};
use crate::time::{Mono, Now};

pub use change::Change;

/// How long a block that the store refused waits before it is offered again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many bonds lost or found are noted in one run: a device that plays with its bond shall not fill a disk.
const MOST_NOTES: u32 = 1_000;

/// Where blocks become durable. The spool's writer; a failing disk in tests.
pub trait Durable {
    /// Stores one block; when this returns a [`Seq`], no power cut undoes it.
    fn append(&mut self, lane: Lane, block: &PlainBlock, now: Now) -> Result<Seq, StoreError>;

    /// Looks after what is stored: tells of losses, closes what is old. About once a second, also
    /// when nothing comes in.
    fn maintain(&mut self, now: Now) -> Result<(), StoreError>;

    /// Keeps to another cap and reserve. What has none has nothing to do.
    fn bound(&mut self, _: &store::Config) {}
}

impl Durable for store::Writer {
    fn append(&mut self, lane: Lane, block: &PlainBlock, now: Now) -> Result<Seq, StoreError> {
        Self::append(self, lane, block, now)
    }

    fn maintain(&mut self, now: Now) -> Result<(), StoreError> {
        Self::maintain(self, now)
    }

    fn bound(&mut self, config: &store::Config) {
        Self::bound(self, config);
    }
}

/// What is collected for one lane.
struct Pending {
    builder: BlockBuilder,
    /// A finished block that the store refused.
    parked: Option<PlainBlock>,
    /// When the oldest record in the builder must be committed, or the parked block tried again.
    due: Option<Mono>,
    /// Records made durable so far.
    durable: u64,
    /// The lowest ticket of each device that is not durable yet.
    lowest: BTreeMap<DeviceIndex, Ticket>,
}

/// The state of the intake; the thread around it is in the composition root.
pub struct Intake<S> {
    gate: Gatekeeper,
    store: S,
    linger: Duration,
    lanes: [(Lane, Pending); 3],
    sources: BTreeMap<DeviceIndex, Source>,
    /// Places that were retired and of which the gate may still have something to say.
    leaving: Vec<DeviceIndex>,
    last_error: Option<String>,
    /// Why the store could not be looked after, until it can.
    neglect: Option<String>,
    /// Where bonds that are lost and found again are noted, and how often that may still be.
    audit: Option<(AuditLog, u32)>,
}

/// What is known of one session's tickets.
struct Source {
    last: Ticket,
    settled: watch::Sender<Settled>,
}

impl<S: Durable> Intake<S> {
    /// An intake that has taken nothing. `sources` has one sender for every device of the gate.
    pub fn new(
        gate: Gatekeeper,
        store: S,
        header: &BlockHeader,
        linger: Duration,
        sources: Vec<watch::Sender<Settled>>,
    ) -> Self {
        let lanes = Lane::ALL.map(|lane| {
            let builder = BlockBuilder::new(header);
            (lane, Pending { builder, parked: None, due: None, durable: 0, lowest: BTreeMap::new() })
        });
        let sources = sources.into_iter().map(|settled| Source { last: Ticket::default(), settled });
        let sources = (0..).map(DeviceIndex).zip(sources).collect();
        Self {
            gate,
            store,
            linger,
            lanes,
            sources,
            leaving: Vec::new(),
            last_error: None,
            neglect: None,
            audit: None,
        }
    }

    /// The same, and bonds that are lost and found again are noted in the audit log.
    #[must_use]
    pub fn with_audit(self, log: AuditLog) -> Self {
        Self { audit: Some((log, MOST_NOTES)), ..self }
    }

    /// Takes one report. Ask [`Intake::must_wait`] before each.
    pub fn handle_report(&mut self, report: Report, now: Now) {
        let (device, ticket) = (report.device, ticket_of(&report));
        let at_once = matches!(report.body, ReportBody::Commit);
        let verdict = self.gate.handle_report(report);
        if let (Some(source), Some(ticket)) = (self.sources.get_mut(&device), ticket) {
            source.last = ticket;
        }
        match verdict {
            Verdict::Admit(admitted) => self.take(&admitted, ticket, now),
            Verdict::Refuse(refusal) => self.tell_source(device, refused(&refusal, ticket)),
            Verdict::Tell(event) => self.take_event_of(device, ticket, &event, now),
            Verdict::Noted => self.tell_source(device, Settled::default()),
        }
        self.take_words(now);
        if at_once {
            self.commit_of(device, now);
        }
    }

    /// Commits every lane in which something of a device waits for its time.
    fn commit_of(&mut self, device: DeviceIndex, now: Now) {
        for lane in Lane::ALL {
            let pending = self.lane(lane);
            // A block that the store refused is tried again in its own time.
            if pending.parked.is_none() && pending.lowest.contains_key(&device) {
                self.commit(lane, now);
            }
        }
    }

    /// Looks for devices that are silent. To be called when no report waits to be taken.
    pub fn handle_silence(&mut self, now: Now) {
        self.gate.handle_silence(now);
        self.take_words(now);
    }

    /// From here on nothing passes of these devices.
    pub fn handle_holds(&mut self, holds: Holds, now: Now) {
        self.gate.handle_holds(holds, now);
        self.take_words(now);
    }

    /// Commits every lane whose time has come.
    pub fn handle_timeout(&mut self, now: Now) {
        for lane in Lane::ALL {
            if self.lane(lane).due.is_some_and(|due| due <= now.mono) {
                self.commit(lane, now);
            }
        }
    }

    /// Has the store looked after. What fails is tried again with the next call.
    pub fn handle_upkeep(&mut self, now: Now) {
        let neglect = self.store.maintain(now).err().map(|error| error.to_string());
        if let Some(error) = &neglect
            && self.neglect != neglect
        {
            tracing::warn!(error, "the store could not be looked after: tried again");
        }
        self.neglect = neglect;
    }

    /// Commits everything, whatever its time: before the end. True when nothing is left.
    pub fn handle_end(&mut self, now: Now) -> bool {
        loop {
            self.take_words(now);
            for lane in Lane::ALL {
                self.commit(lane, now);
            }
            // A commit makes room for what the gate still has to say.
            if self.gate.words() == 0 || self.is_stuck(Lane::Alarm) {
                return self.pending() == 0;
            }
        }
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.lanes.iter().filter_map(|(_, pending)| pending.due).min()
    }

    /// Whether a lane is stuck so badly that no further report may be taken.
    pub fn must_wait(&self) -> bool {
        Lane::ALL.into_iter().any(|lane| self.is_stuck(lane))
    }

    /// Readings that were admitted and are not durable yet.
    pub fn pending(&self) -> usize {
        let parked = |pending: &Pending| pending.parked.as_ref().map_or(0, PlainBlock::count);
        self.lanes
            .iter()
            .map(|(_, pending)| {
                pending.builder.count() + usize::try_from(parked(pending)).unwrap_or_default()
            })
            .sum::<usize>()
            + self.gate.words()
    }

    /// Why the store refused the last block, until it takes one again.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// Records made durable so far, by lane in the order of [`Lane::ALL`].
    pub fn durable(&self) -> [u64; 3] {
        Lane::ALL.map(|lane| self.lane(lane).durable)
    }

    /// The gate, for its counters.
    pub const fn gate(&self) -> &Gatekeeper {
        &self.gate
    }

    /// The store, to close it at the end.
    pub fn into_store(self) -> S {
        self.store
    }

    /// Takes what the gate itself has to say, as far as there is room: it may be more than one record for
    /// one report.
    fn take_words(&mut self, now: Now) {
        while !self.is_stuck(Lane::Alarm)
            && let Some(word) = self.gate.poll_words()
        {
            match word {
                Word::Of(word) => {
                    self.log_silence(&word);
                    self.take(&word, None, now);
                }
                Word::Event(event) => self.handle_event(&event, now),
            }
        }
        if self.gate.words() == 0 && !self.leaving.is_empty() {
            self.forget_leaving();
        }
    }

    fn log_silence(&self, word: &Admitted) {
        if let Some((rule, state)) = self.gate.of(word.device())
            && should_log(state.silences())
        {
            let (device, silent) = (rule.card.id.as_str(), state.silent_since().is_some());
            tracing::warn!(device, silent, "the device was silent for longer than it may be");
        }
    }

    /// An event is as urgent as an alarm and goes with them.
    pub fn handle_event(&mut self, event: &Event, now: Now) {
        let (detection, phase) = (event.detection.as_str(), event.phase.as_str());
        tracing::warn!(detection, phase, device = event.device, detail = event.detail, "event");
        if event.detection == Detection::Bond {
            self.note_bond(event, now);
        }
        let pending = self.lane_mut(Lane::Alarm);
        if let Err(error) = pending.builder.push_event(event) {
            // Cannot be: there was room before.
            tracing::error!(%error, "an event was lost: a defect of this program");
            return;
        }
        pending.due.get_or_insert(now.mono);
        self.commit_if_full(Lane::Alarm, now);
    }

    /// Beside who paired what. The event itself goes to the broker in any case.
    fn note_bond(&mut self, event: &Event, now: Now) {
        let Some((log, left)) = &mut self.audit else { return };
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
        let action = if event.phase == Phase::End { "bond-good" } else { "bond-lost" };
        let about = [("device", &event.device), ("detail", &event.detail)];
        let about = about.into_iter().map(|(key, text)| (key.to_owned(), text.clone().into())).collect();
        if let Err(error) = log.append(now.wall, action, &about) {
            tracing::error!(%error, action, device = event.device, "the audit log cannot be written");
        }
        if fewer == 0 {
            tracing::warn!("bonds come and go: no more of it is noted in the audit log in this run");
        }
    }

    /// An event whose source waits until it is durable.
    fn take_event_of(&mut self, device: DeviceIndex, ticket: Option<Ticket>, event: &Event, now: Now) {
        if let Some(ticket) = ticket {
            self.lane_mut(Lane::Alarm).lowest.entry(device).or_insert(ticket);
        }
        self.handle_event(event, now);
    }

    fn take(&mut self, admitted: &Admitted, ticket: Option<Ticket>, now: Now) {
        let lane = admitted.lane();
        let linger = if lane == Lane::Alarm { Duration::ZERO } else { self.linger };
        let pending = self.lane_mut(lane);
        if let Err(error) = pending.builder.push(admitted) {
            // Cannot be: there was room before, and the builder was made with the card of every
            // device of the gate.
            tracing::error!(%lane, %error, "a reading was lost: a defect of this program");
            return;
        }
        pending.due.get_or_insert(now.mono + linger);
        if let Some(ticket) = ticket {
            pending.lowest.entry(admitted.device()).or_insert(ticket);
        }
        self.commit_if_full(lane, now);
    }

    /// Whether a lane can take nothing more at the moment.
    fn is_stuck(&self, lane: Lane) -> bool {
        let pending = self.lane(lane);
        pending.parked.is_some() && pending.builder.is_full()
    }

    fn commit_if_full(&mut self, lane: Lane, now: Now) {
        let pending = self.lane(lane);
        if pending.builder.is_full() && pending.parked.is_none() {
            self.commit(lane, now);
        }
    }

    /// Commits what a lane holds: the parked block first, then what was collected since.
    fn commit(&mut self, lane: Lane, now: Now) {
        loop {
            let pending = self.lane_mut(lane);
            pending.due = None;
            let block = match pending.parked.take() {
                Some(block) => block,
                None if pending.builder.count() > 0 => pending.builder.finish(),
                None => break,
            };
            match self.store.append(lane, &block, now) {
                Ok(_) => {
                    self.last_error = None;
                    self.lane_mut(lane).durable += u64::from(block.count());
                }
                Err(error) => {
                    let text = error.to_string();
                    if self.last_error.as_ref() != Some(&text) {
                        tracing::error!(%lane, error = %text, "the store does not take a block: it waits, and its devices with it");
                    }
                    self.last_error = Some(text);
                    let pending = self.lane_mut(lane);
                    pending.parked = Some(block);
                    pending.due = Some(now.mono + RETRY_AFTER);
                    return;
                }
            }
        }
        let devices: Vec<DeviceIndex> = std::mem::take(&mut self.lane_mut(lane).lowest).into_keys().collect();
        for device in devices {
            self.tell_source(device, Settled::default());
        }
    }

    /// Tells a session up to which ticket nothing is waited for any more, and which one was refused because of
    /// who the device is, if one was just now: both in one word, so that nobody hears the one without the
    /// other. A reading whose element is not listed is done with: the site chose so.
    fn tell_source(&self, device: DeviceIndex, refused: Settled) {
        let Some(source) = self.sources.get(&device) else { return };
        let lowest = self.lanes.iter().filter_map(|(_, pending)| pending.lowest.get(&device)).min();
        let through = lowest.map_or(source.last, |ticket| Ticket(ticket.0.saturating_sub(1)));
        source.settled.send_if_modified(|told| {
            let before = *told;
            told.through = told.through.max(through);
            told.refused = told.refused.max(refused.refused);
            told.held = told.held.max(refused.held);
            before != *told
        });
    }

    fn lane(&self, lane: Lane) -> &Pending {
        let [(_, alarm), (_, vital), (_, bulk)] = &self.lanes;
        match lane {
            Lane::Alarm => alarm,
            Lane::Vital => vital,
            Lane::Bulk => bulk,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut Pending {
        let [(_, alarm), (_, vital), (_, bulk)] = &mut self.lanes;
        match lane {
            Lane::Alarm => alarm,
            Lane::Vital => vital,
            Lane::Bulk => bulk,
        }
    }
}

/// What a session is told of a refusal.
fn refused(refusal: &Refusal, ticket: Option<Ticket>) -> Settled {
    let ticket = ticket.unwrap_or_default();
    if matches!(refusal, Refusal::Held { .. }) {
        Settled { held: ticket, ..Settled::default() }
    } else if refusal.is_of_identity() {
        Settled { refused: ticket, ..Settled::default() }
    } else {
        Settled::default()
    }
}

fn ticket_of(report: &Report) -> Option<Ticket> {
    match &report.body {
        ReportBody::Observation(ticket, _) | ReportBody::Pin(ticket, _) => Some(*ticket),
        ReportBody::Up
        | ReportBody::Insecure
        | ReportBody::Commit
        | ReportBody::Down(_)
        | ReportBody::Identity(_)
        | ReportBody::Fault(_)
        | ReportBody::Unlisted(_) => None,
    }
}

#[cfg(test)]
pub(super) mod tests;
