//! What to publish next, and what a PUBACK means: the uplink's decisions, without any I/O.
//!
//! In: [`Parcel`]s from the feeder, PUBACKs, the coming and going of the connection, `now`. Out:
//! what to publish ([`Session::poll_publish`]), which blocks the broker has
//! ([`Session::poll_acknowledge`]), whether to read the store again from its oldest unacknowledged
//! block ([`Session::poll_rewind`]), when a heartbeat is due ([`Session::poll_heartbeat`]), whether there is a place
//! for a notice ([`Session::poll_notice`]), and whether the connection is wedged ([`Session::stalled`]).
//!
//! What never happens: a block is acknowledged of which a publish did not get PUBACK 0x00 (or 0x10
//! where nobody needs to subscribe); a publish that is not an alarm is started while an alarm waits;
//! a refusal, of whatever reason, loses a block: it stays in the store.
//!
//! A refused topic is *held*: its first refused parcel is kept as a probe and tried again after a
//! back-off, everything else of that topic goes back to the store (its block is *spoiled*: not
//! acknowledged, read again after the probe gets through). So one topic that an ACL forbids does not
//! stop a ward, and memory stays bounded. While nothing but refusals come back, little more than probes
//! is read and sent.
//!
//! Order: a topic's publishes are pipelined only after one of them was taken on this connection, so a
//! broker that takes nothing of a topic yet (no subscriber, no right) cannot take the tenth reading
//! and refuse the first.

mod outcome;
mod pulse;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Subscriber;
use super::parcel::{Parcel, Stream};
use crate::backoff::{Backoff, Bounds, Random};
use crate::store::Seq;
use crate::time::Mono;
pub use outcome::{Answer, Outcome};
use pulse::Pulse;

/// Parcels that wait encoded for each stream: enough to keep the window full, little enough that an
/// alarm or a rewind makes little work void.
pub const READY: usize = 4;
/// Topics that are held with a probe at the same time; each keeps one parcel in memory.
const MAX_HELD: usize = 64;
/// Payload in flight beyond which only alarms are started: an alarm then waits behind at most so
/// much on a slow line, and memory is bounded whatever the broker's receive maximum.
const MAX_BYTES_IN_FLIGHT: usize = 1024 * 1024;
/// Live parcels for each parcel of backlog while both wait: the backlog gets a quarter.
const LIVE_PER_BACKLOG: u8 = 3;
/// Parcels of held topics that may be read and given back to the store before something is delivered:
/// enough to find those of other topics behind them, little enough not to read a whole backlog in vain.
const PATIENCE: u32 = 256;
/// What each refused probe adds to it again, so that nothing waits for ever behind held topics.
const PATIENCE_BACK: u32 = 16;
/// From a probe's success to the rewind: other held topics may come free in the same moment.
const REWIND_AFTER: Duration = Duration::from_secs(1);

/// The limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most publishes in flight.
    pub window: u16,
    /// What PUBACK 0x10 means.
    pub subscriber: Subscriber,
    /// The age of an unanswered publish at which the connection counts as wedged.
    pub stalled_after: Duration,
    /// How to try a refused topic again.
    pub retry: Bounds,
    /// The pace of heartbeats, if there are any.
    pub heartbeat: Option<Duration>,
}

/// Names a publish until its PUBACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// A publish that waits for its PUBACK.
#[derive(Debug)]
struct InFlight {
    parcel: Parcel,
    since: Mono,
}

/// What is known of a block of which parcels are about.
#[derive(Debug, Default)]
struct Progress {
    outstanding: u32,
    complete: bool,
    spoiled: bool,
}

/// A topic that the broker refuses at the moment.
#[derive(Debug)]
struct Held {
    probe: Option<Parcel>,
    due: Mono,
    backoff: Backoff,
    reason: u8,
    released: bool,
}

/// The state.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    window: usize,
    connected: bool,
    alarms_drained: bool,
    ready: [VecDeque<Parcel>; 4],
    flying: BTreeMap<Ticket, InFlight>,
    flying_bytes: usize,
    next_ticket: u64,
    live_in_a_row: u8,
    blocks: BTreeMap<Seq, Progress>,
    done: VecDeque<Seq>,
    held: BTreeMap<String, Held>,
    proven: BTreeSet<String>,
    spoiled: u64,
    patience: u32,
    rewind_due: Option<Mono>,
    pulse: Pulse,
    notice: Pulse,
}

impl Session {
    /// Not connected, nothing to send.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            window: usize::from(limits.window.max(1)),
            connected: false,
            alarms_drained: false,
            ready: Default::default(),
            flying: BTreeMap::new(),
            flying_bytes: 0,
            next_ticket: 0,
            live_in_a_row: 0,
            blocks: BTreeMap::new(),
            done: VecDeque::new(),
            held: BTreeMap::new(),
            proven: BTreeSet::new(),
            spoiled: 0,
            patience: PATIENCE,
            rewind_due: None,
            pulse: Pulse::new(limits.heartbeat),
            notice: Pulse::new(None),
        }
    }

    /// Other limits, from the next connection on. What one broker refused, the next may take.
    pub fn handle_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.pulse = Pulse::new(limits.heartbeat);
        self.held.clear();
    }

    /// CONNACK came, with the broker's receive maximum (65,535 when it says nothing).
    pub fn handle_connected(&mut self, receive_maximum: u16, now: Mono) {
        self.window = usize::from(self.limits.window.min(receive_maximum).max(1));
        self.connected = true;
        self.pulse.handle_connected(now);
    }

    /// The connection is gone, or the store is to be read again: what was not acknowledged will come
    /// again from the feeder, with the same keys. Held topics stay held.
    pub fn handle_restart(&mut self, connected: bool) {
        self.connected = connected;
        self.alarms_drained = false;
        self.ready = Default::default();
        self.flying.clear();
        self.flying_bytes = 0;
        self.blocks.clear();
        self.proven.clear();
        self.spoiled = 0;
        self.patience = PATIENCE;
        self.rewind_due = None;
        self.pulse.handle_restart(connected);
        self.notice.handle_restart(connected);
        self.held.retain(|_, held| !held.released);
        for held in self.held.values_mut() {
            // The parcel comes again from the store; it goes out when the hold is over.
            held.probe = None;
        }
    }

    /// Whether the feeder should prepare another parcel of this stream. Without a connection none: what
    /// comes up begins again at the store, and what is not read is not in memory in the clear.
    pub fn wants(&self, stream: Stream) -> bool {
        self.connected && self.queue(stream).len() < READY
    }

    /// Takes a parcel that the feeder prepared.
    pub fn handle_parcel(&mut self, parcel: Parcel) {
        let progress = self.blocks.entry(parcel.block).or_default();
        progress.outstanding += 1;
        progress.complete |= parcel.last;
        self.queue_mut(parcel.stream).push_back(parcel);
    }

    /// Takes the feeder's word on whether the alarm lane has more to read.
    pub fn handle_alarms_drained(&mut self, drained: bool) {
        self.alarms_drained = drained;
    }

    /// Takes a PUBACK.
    pub fn handle_puback(
        &mut self,
        ticket: Ticket,
        reason: u8,
        now: Mono,
        random: &mut dyn Random,
    ) -> Answer {
        let Some(InFlight { parcel, .. }) = self.flying.remove(&ticket) else {
            return Answer::Stale;
        };
        self.flying_bytes = self.flying_bytes.saturating_sub(parcel.payload.len());
        match Outcome::of(reason, self.limits.subscriber) {
            Outcome::Delivered => self.deliver(&parcel, now),
            Outcome::Retry => self.hold(parcel, reason, now, random),
            Outcome::Refuse => {
                self.settle(parcel.block, true);
                if self.spoiled > 0 && self.held.get(&parcel.topic).is_some_and(|held| held.probe.is_none()) {
                    // The hold lost its probe for good: what went back to the store behind it is read again.
                    self.rewind_due.get_or_insert(now + REWIND_AFTER);
                }
                Answer::Refused { block: parcel.block, topic: parcel.topic }
            }
        }
    }

    /// The next publish to start, if one may be started.
    pub fn poll_publish(&mut self, now: Mono) -> Option<(Ticket, Parcel)> {
        if !self.connected || self.taken() >= self.window {
            return None;
        }
        if let Some(probe) = self.due_probe(now) {
            return Some(self.start(probe, now));
        }
        while let Some(stream) = self.choose() {
            let parcel = self.queue_mut(stream).pop_front()?;
            let flying = self.is_flying(&parcel.topic);
            match self.held.get_mut(&parcel.topic) {
                None => return Some(self.start(parcel, now)),
                // After a restart the hold has lost its probe: the first parcel to come is one.
                Some(held) if held.probe.is_none() && !held.released && !flying => {
                    held.probe = Some(parcel);
                    if let Some(probe) = self.due_probe(now) {
                        return Some(self.start(probe, now));
                    }
                }
                Some(_) => self.spoil(parcel.block),
            }
        }
        None
    }

    /// The next block of which the broker has every record.
    pub fn poll_acknowledge(&mut self) -> Option<Seq> {
        self.done.pop_front()
    }

    /// Whether the store must be read again from its oldest unacknowledged block. The caller then
    /// rewinds it and calls [`Session::handle_restart`].
    pub fn poll_rewind(&mut self, now: Mono) -> bool {
        self.rewind_due.is_some_and(|due| due <= now)
    }

    /// When to look again although nothing happened.
    pub fn poll_timeout(&self) -> Option<Mono> {
        if !self.connected {
            return None;
        }
        let wedged = self.oldest().map(|since| since + self.limits.stalled_after);
        let may_start = |(topic, held): &(&String, &Held)| held.probe.is_some() && !self.is_flying(topic);
        let probe = self.held.iter().filter(may_start).map(|(_, held)| held.due).min();
        [wedged, probe, self.rewind_due, self.start_at(&self.pulse), self.start_at(&self.notice)]
            .into_iter()
            .flatten()
            .min()
    }

    /// How long the oldest publish has waited for its PUBACK, when that is too long. Decided by the
    /// publish alone: a dead link can look alive to TCP for a quarter of an hour.
    pub fn stalled(&self, now: Mono) -> Option<Duration> {
        self.oldest_age(now).filter(|age| *age >= self.limits.stalled_after)
    }

    /// How long the oldest publish in flight has waited.
    pub fn oldest_age(&self, now: Mono) -> Option<Duration> {
        self.oldest().map(|since| now.since(since))
    }

    /// How many publishes wait for their PUBACK.
    pub fn in_flight(&self) -> usize {
        self.flying.len()
    }

    /// Whether an alarm waits to be published.
    pub fn has_alarm_waiting(&self) -> bool {
        !self.queue(Stream::Alarm).is_empty()
    }

    /// Whether one waits for its PUBACK.
    pub fn has_alarm_in_flight(&self) -> bool {
        self.flying.values().any(|flying| flying.parcel.stream == Stream::Alarm)
    }

    /// The topics held at the moment, with the reason code of the last refusal.
    pub fn held(&self) -> impl Iterator<Item = (&str, u8)> {
        let waits = |topic: &str, held: &Held| held.probe.is_some() || self.is_flying(topic);
        self.held
            .iter()
            .filter(move |(topic, held)| !held.released && waits(topic, held))
            .map(|(topic, held)| (topic.as_str(), held.reason))
    }

    fn oldest(&self) -> Option<Mono> {
        // Tickets count up, so the first is the oldest.
        let parcel = self.flying.first_key_value().map(|(_, flying)| flying.since);
        [parcel, self.pulse.flying(), self.notice.flying()].into_iter().flatten().min()
    }

    /// How many places of the window are taken.
    fn taken(&self) -> usize {
        let beside = [&self.pulse, &self.notice].into_iter().filter(|pulse| pulse.flying().is_some());
        self.flying.len() + beside.count()
    }

    /// Whether nothing but an alarm may be started: a place in the window is kept for the alarm that
    /// comes next.
    fn is_full(&self) -> bool {
        let kept = if self.window > 1 { (self.window / 8).max(1) } else { 0 };
        let full = self.taken() + kept >= self.window || self.flying_bytes >= MAX_BYTES_IN_FLIGHT;
        full && self.taken() > 0
    }

    fn queue(&self, stream: Stream) -> &VecDeque<Parcel> {
        let [alarm, live, backlog, bulk] = &self.ready;
        match stream {
            Stream::Alarm => alarm,
            Stream::Live => live,
            Stream::Backlog => backlog,
            Stream::Bulk => bulk,
        }
    }

    fn queue_mut(&mut self, stream: Stream) -> &mut VecDeque<Parcel> {
        let [alarm, live, backlog, bulk] = &mut self.ready;
        match stream {
            Stream::Alarm => alarm,
            Stream::Live => live,
            Stream::Backlog => backlog,
            Stream::Bulk => bulk,
        }
    }

    /// Which stream the next publish comes from.
    fn choose(&self) -> Option<Stream> {
        if !self.queue(Stream::Alarm).is_empty() {
            return self.can_start(Stream::Alarm).then_some(Stream::Alarm);
        }
        if !self.alarms_drained || self.is_full() || self.patience == 0 {
            return None;
        }
        let waits = |stream| self.can_start(stream);
        match (waits(Stream::Live), waits(Stream::Backlog)) {
            (true, true) if self.live_in_a_row >= LIVE_PER_BACKLOG => Some(Stream::Backlog),
            (true, _) => Some(Stream::Live),
            (false, true) => Some(Stream::Backlog),
            (false, false) => waits(Stream::Bulk).then_some(Stream::Bulk),
        }
    }

    /// Whether the first parcel of a stream may go: not while its topic's first on this connection is
    /// unanswered.
    fn can_start(&self, stream: Stream) -> bool {
        let first = self.queue(stream).front();
        first.is_some_and(|parcel| self.proven.contains(&parcel.topic) || !self.is_flying(&parcel.topic))
    }

    /// Takes the most urgent probe whose time has come.
    fn due_probe(&mut self, now: Mono) -> Option<Parcel> {
        let due =
            |topic: &str, held: &Held| held.due <= now && held.probe.is_some() && !self.is_flying(topic);
        let topic = self
            .held
            .iter()
            .filter(|(topic, held)| due(topic, held))
            .min_by_key(|(_, held)| held.probe.as_ref().map(|probe| probe.stream))
            .map(|(topic, _)| topic.clone())?;
        self.held.get_mut(&topic)?.probe.take()
    }

    fn is_flying(&self, topic: &str) -> bool {
        self.flying.values().any(|flying| flying.parcel.topic == topic)
    }

    fn start(&mut self, parcel: Parcel, now: Mono) -> (Ticket, Parcel) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.live_in_a_row = match parcel.stream {
            Stream::Live => self.live_in_a_row.saturating_add(1),
            Stream::Backlog => 0,
            Stream::Alarm | Stream::Bulk => self.live_in_a_row,
        };
        self.flying_bytes += parcel.payload.len();
        self.flying.insert(ticket, InFlight { parcel: parcel.clone(), since: now });
        (ticket, parcel)
    }

    fn deliver(&mut self, parcel: &Parcel, now: Mono) -> Answer {
        self.settle(parcel.block, false);
        self.patience = PATIENCE;
        if !self.proven.contains(&parcel.topic) {
            self.proven.insert(parcel.topic.clone());
        }
        match self.held.get_mut(&parcel.topic) {
            None => {}
            // It went out before the probe was refused.
            Some(held) if held.probe.is_some() => held.due = now,
            Some(_) if self.spoiled == 0 => {
                self.held.remove(&parcel.topic);
            }
            // Stays shut until the rewind, or what is read meanwhile would overtake the rest.
            Some(held) => {
                held.released = true;
                self.rewind_due.get_or_insert(now + REWIND_AFTER);
            }
        }
        Answer::Delivered { stream: parcel.stream, count: parcel.count }
    }

    fn hold(&mut self, parcel: Parcel, reason: u8, now: Mono, random: &mut dyn Random) -> Answer {
        self.patience = self.patience.saturating_add(PATIENCE_BACK).min(PATIENCE);
        self.proven.remove(&parcel.topic);
        let topic = parcel.topic.clone();
        let retry = self.limits.retry;
        let room = self.held.len() < MAX_HELD;
        match self.held.get_mut(&topic) {
            Some(held) if held.probe.is_none() => {
                held.reason = reason;
                held.released = false;
                held.due = now + held.backoff.handle_failure(now, random);
                held.probe = Some(parcel);
            }
            None if room => {
                let mut backoff = Backoff::new(retry);
                let due = now + backoff.handle_failure(now, random);
                let held = Held { probe: Some(parcel), due, backoff, reason, released: false };
                self.held.insert(topic.clone(), held);
            }
            Some(_) | None => self.spoil(parcel.block),
        }
        Answer::Held { topic }
    }

    /// A parcel goes back to the store: its block is read again later.
    fn spoil(&mut self, block: Seq) {
        self.spoiled += 1;
        self.patience = self.patience.saturating_sub(1);
        self.settle(block, true);
    }

    /// A parcel of this block is done with.
    fn settle(&mut self, block: Seq, spoiled: bool) {
        let Some(progress) = self.blocks.get_mut(&block) else { return };
        progress.outstanding = progress.outstanding.saturating_sub(1);
        progress.spoiled |= spoiled;
        if progress.complete && progress.outstanding == 0 {
            if !progress.spoiled {
                self.done.push_back(block);
            }
            self.blocks.remove(&block);
        }
    }
}

#[cfg(test)]
mod tests;
