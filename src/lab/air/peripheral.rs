//! A peripheral in simulated time: its clock, its memory, its radio. Pure: the time is an argument, everything
//! random comes out of its seed.
//!
//! In: what a gateway asks, the passing of time. Out: link events, in the order in which they arrive, and the
//! account of what was shown, confirmed and kept. As BlueZ does it, an indication is confirmed when it has
//! arrived, whatever the gateway does with it; a confirmation that is lost has it sent again.
//!
//! It sends only what was subscribed to on the present connection. (A bonded device may send at once: BlueZ then
//! confirms what nobody has asked for yet, and no gateway above BlueZ can help it.)

use std::collections::{BTreeSet, VecDeque};

use super::account::{Account, Key};
use super::kinds::{Count, FIRST_NUMBER, Facts, Kind, Manner, Part};
use super::octets::Stamp;
use super::trouble::Troubles;
use super::wire::Sent;
use crate::lab::disk::Draw;
use crate::link::{Characteristic, LinkError, LinkEvent};

/// Milliseconds since the ward began.
pub(super) type Millis = u64;

pub(super) const SECOND: Millis = 1_000;

/// A minute.
pub(super) const MINUTE: Millis = 60_000;

/// What was measured this long before the end need not have been heard.
pub(super) const MARGIN: Millis = 7 * MINUTE;

/// 2026-03-01T08:00:00 and 2031-03-01T08:00:00: the clocks of the right device and of the other one.
const CLOCKS: [i64; 2] = [1_772_352_000, 1_930_118_400];

/// One measurement that a device keeps, or has not had confirmed.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) number: u32,
    pub(super) sends: Vec<(u16, Vec<u8>, Vec<Key>)>,
    made: Millis,
}

/// What a device is made of that another one at its address has of its own.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) serial: String,
    pub(super) is_other: bool,
    pub(super) memory: VecDeque<Kept>,
    next_number: u32,
    /// When its session began, and what its clock showed then.
    session: (Millis, Stamp),
    is_clock_set: bool,
}

impl Body {
    fn new(serial: String, is_other: bool) -> Self {
        let session = (0, Stamp::of_seconds(if is_other { CLOCKS[1] } else { CLOCKS[0] }));
        let memory = VecDeque::new();
        Self { serial, is_other, memory, next_number: FIRST_NUMBER, session, is_clock_set: true }
    }

    pub(super) fn stamp(&self, now: Millis) -> Stamp {
        if !self.is_clock_set {
            return Stamp::lost();
        }
        let began = if self.is_other { CLOCKS[1] } else { CLOCKS[0] };
        Stamp::of_seconds(began + i64::try_from(now / SECOND).unwrap_or_default())
    }
}

/// Records on their way.
#[derive(Default)]
pub(super) struct Transfer {
    pub(super) left: VecDeque<Kept>,
    pub(super) next_at: Millis,
}

/// A connection that stands.
#[derive(Default)]
pub(super) struct Connection {
    pub(super) subscribed: BTreeSet<Characteristic>,
    pub(super) wire: VecDeque<(Millis, Sent)>,
    /// When the confirmation of an indication gets there, and of which measurement.
    pub(super) confirms: VecDeque<(Millis, Option<u32>)>,
    /// A measurement was indicated and is not confirmed.
    pub(super) is_awaited: bool,
    pub(super) transfer: Option<Transfer>,
    pub(super) drop_at: Option<Millis>,
    pub(super) last_act: Millis,
    pub(super) tick_at: Millis,
    pub(super) is_busy: bool,
    /// Live observations are wanted.
    pub(super) is_started: bool,
    /// The counters of segments, stored and live.
    pub(super) segments: [u8; 2],
}

impl Connection {
    /// Something is to be done by then.
    pub(super) fn tick_at_most(&mut self, at: Millis) {
        self.tick_at = self.tick_at.min(at);
    }
}

/// A device of the ward.
pub(super) struct Peripheral {
    pub(super) kind: &'static Kind,
    pub(super) draw: Draw,
    pub(super) now: Millis,
    pub(super) body: Body,
    other: Body,
    pub(super) troubles: Troubles,
    measure_at: Millis,
    wake_at: Millis,
    pub(super) advertises_until: Millis,
    pub(super) link: Option<Connection>,
    pub(super) inbox: VecDeque<(LinkEvent, Vec<Key>)>,
    pub(super) account: Account,
}

impl Peripheral {
    pub(super) fn new(kind: &'static Kind, serial: &str, draw: Draw, troubles: Troubles) -> Self {
        let mut draw = draw;
        let measure_at = SECOND * (5 + draw.below(kind.every[0] + 20));
        Self {
            kind,
            draw,
            now: 0,
            body: Body::new(serial.to_owned(), false),
            other: Body::new(format!("X{serial}"), true),
            troubles,
            measure_at,
            wake_at: 2 * MINUTE,
            advertises_until: 0,
            link: None,
            inbox: VecDeque::new(),
            account: Account::default(),
        }
    }

    pub(super) fn of(&self, uuid: u16) -> Characteristic {
        Characteristic { service: self.kind.service, uuid }
    }

    pub(super) const fn is_always_there(&self) -> bool {
        matches!(self.kind.manner, Manner::Streamed | Manner::Kept { is_live: true, .. })
    }

    const fn is_off(&self) -> bool {
        self.now < self.troubles.off_until
    }

    pub(super) const fn advertises(&self) -> bool {
        !self.is_off() && self.link.is_none() && (self.is_always_there() || self.now < self.advertises_until)
    }

    /// When something happens next by itself.
    pub(super) fn due(&self) -> Millis {
        let mut due = self.measure_at.min(self.wake_at).min(self.troubles.due());
        if self.now < self.advertises_until {
            due = due.min(self.advertises_until);
        }
        if self.now < self.troubles.off_until {
            due = due.min(self.troubles.off_until);
        }
        if let Some(link) = &self.link {
            let all = [
                link.drop_at,
                link.wire.front().map(|(at, _)| *at),
                link.confirms.front().map(|(at, _)| *at),
                Some(link.tick_at),
            ];
            due = all.into_iter().flatten().chain(std::iter::once(due)).min().unwrap_or(due);
        }
        due.max(self.now)
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, to: Millis) {
        while self.due() <= to {
            let before = (self.now, self.due());
            self.now = self.due();
            self.step();
            if before == (self.now, self.due()) {
                self.now += 1;
            }
        }
        self.now = self.now.max(to);
    }

    fn step(&mut self) {
        let now = self.now;
        if self.link.as_ref().and_then(|link| link.drop_at).is_some_and(|at| at <= now) {
            return self.lose("it went away");
        }
        if self.troubles.due() <= now {
            self.handle_trouble();
        }
        if self.link.as_ref().is_some_and(|link| link.wire.front().is_some_and(|(at, _)| *at <= now)) {
            return self.arrive();
        }
        if self.link.as_ref().is_some_and(|link| link.confirms.front().is_some_and(|(at, _)| *at <= now)) {
            return self.handle_confirmation();
        }
        if self.measure_at <= now {
            self.measure();
        }
        if self.wake_at <= now {
            let period = if self.kind.manner == Manner::Shown { 2 } else { 5 };
            self.wake_at = now + period * MINUTE;
            if !self.body.memory.is_empty() {
                self.advertises_until = now + 30 * SECOND;
            }
        }
        if self.link.as_ref().is_some_and(|link| link.tick_at <= now) {
            self.tick();
        }
    }

    pub(super) fn facts<T>(&mut self, made: impl FnOnce(&mut Facts<'_>) -> T) -> T {
        let is_of_minutes = matches!(self.kind.manner, Manner::Kept { count: Count::Minutes, .. });
        let (began, start) = self.body.session.clone();
        let minutes = u32::try_from((self.now - began) / MINUTE).unwrap_or_default();
        let apart = if self.body.is_other { 100 } else { 0 };
        let mut stamp = self.body.stamp(self.now);
        if is_of_minutes && !start.text.is_empty() {
            // A sensor counts minutes from the start.
            let clocks = if self.body.is_other { CLOCKS[1] } else { CLOCKS[0] };
            let passed = began / SECOND + u64::from(minutes) * 60;
            stamp = Stamp::of_seconds(clocks + i64::try_from(passed).unwrap_or_default());
        }
        let number = if is_of_minutes { minutes } else { self.body.next_number };
        let began = if self.body.is_other { CLOCKS[1] } else { CLOCKS[0] };
        let began = if self.body.is_clock_set { u64::try_from(began).unwrap_or_default() } else { 0 };
        let seconds = began + self.now / SECOND;
        made(&mut Facts { draw: &mut self.draw, stamp, seconds, number, start, apart })
    }

    fn measure(&mut self) {
        let [least, most] = self.kind.every;
        self.measure_at = self.now + SECOND * (least + self.draw.below(most - least + 1));
        if self.is_off() || self.kind.manner == Manner::Streamed {
            return;
        }
        let measure = self.kind.measure;
        let (number, parts) = self.facts(|facts| (facts.number, measure(facts)));
        let record = match self.kind.manner {
            Manner::Kept { count: Count::Sequence | Count::Minutes | Count::Record, .. } => Some(number),
            Manner::Kept { count: Count::Nothing, .. } | Manner::Shown | Manner::Streamed => None,
        };
        if self.is_wanted_live() {
            return self.send_instead_of_keeping(parts);
        }
        let sends: Vec<_> = parts.into_iter().map(|part| keyed(part, record)).collect();
        if !self.body.is_other {
            for key in sends.iter().flat_map(|(_, _, keys)| keys) {
                self.account.note_shown(key, record.is_some());
            }
        }
        if record.is_some() && self.kind.manner != (Manner::Kept { count: Count::Minutes, is_live: true }) {
            self.body.next_number =
                if number == u32::from(u16::MAX) && !self.is_in_segments() { 0 } else { number + 1 };
        }
        let kept = Kept {
            number: if record.is_some() { number } else { self.body.next_number },
            sends,
            made: self.now,
        };
        if record.is_none() {
            self.body.next_number += 1;
        }
        if self.kind.manner == (Manner::Kept { count: Count::Minutes, is_live: true }) {
            self.send_live(&kept);
        }
        self.body.memory.push_back(kept);
        self.advertises_until = self.now + 40 * SECOND;
        if let Some(link) = &mut self.link {
            link.tick_at = self.now;
            link.last_act = self.now;
        }
    }

    /// From now on it has to be heard.
    pub(super) fn owe(&mut self, kept: &Kept) {
        if !self.body.is_other {
            for key in kept.sends.iter().flat_map(|(_, _, keys)| keys) {
                self.account.note_due(key);
            }
        }
    }

    /// The next thing that a connection has to do by itself.
    fn tick(&mut self) {
        let now = self.now;
        let is_subscribed = |of: &u16| {
            let of = self.of(*of);
            self.link.as_ref().is_some_and(|link| link.subscribed.contains(&of))
        };
        let is_subscribed = self.kind.sends.iter().all(is_subscribed);
        let Some(link) = &mut self.link else { return };
        link.tick_at = now + SECOND;
        let is_idle = now > link.last_act + 25 * SECOND && link.transfer.is_none() && !link.is_awaited;
        match self.kind.manner {
            Manner::Streamed => {
                link.tick_at = now + SECOND * self.kind.every[0];
                if is_subscribed {
                    let measure = self.kind.measure;
                    for part in self.facts(measure) {
                        let (uuid, octets, keys) = keyed(part, None);
                        let of = self.of(uuid);
                        self.send(Sent::Notify(of, octets, keys));
                    }
                }
            }
            Manner::Shown if is_subscribed && !link.is_awaited && !self.body.memory.is_empty() => {
                self.indicate_oldest();
            }
            Manner::Kept { .. } if link.transfer.is_some() => self.handle_transfer(),
            Manner::Shown | Manner::Kept { is_live: false, .. } if is_idle => {
                link.drop_at = Some(now);
                self.advertises_until = 0;
            }
            Manner::Shown | Manner::Kept { .. } => {}
        }
    }

    /// Indicates the oldest measurement, and waits for its confirmation.
    pub(super) fn indicate_oldest(&mut self) {
        let Some(kept) = self.body.memory.front().cloned() else { return };
        if self.now < self.troubles.silent_until {
            return;
        }
        for (uuid, octets, keys) in kept.sends {
            let of = self.of(uuid);
            self.send(Sent::Indicate(of, octets, keys, Some(kept.number)));
        }
        if let Some(link) = &mut self.link {
            link.is_awaited = true;
        }
    }

    /// Whether an indication waits for its confirmation.
    pub(super) fn is_awaited(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.is_awaited)
    }

    /// The connection is gone, and what was on the air with it.
    pub(super) fn lose(&mut self, reason: &str) {
        if self.link.take().is_some() {
            let what = self.kind.name.to_owned();
            let down = LinkEvent::Down(LinkError::Lost { what, reason: reason.to_owned() });
            self.inbox.push_back((down, Vec::new()));
        }
    }

    /// Another device stands at the address, or the right one again.
    pub(super) fn swap(&mut self) {
        self.lose("it was carried away");
        self.account.forgets += 1;
        std::mem::swap(&mut self.body, &mut self.other);
    }

    pub(super) const fn is_swapped(&self) -> bool {
        self.body.is_other
    }

    /// The battery was taken out: its clock is lost, and what was not confirmed; records stay.
    pub(super) fn lose_power(&mut self) {
        self.lose("it was switched off");
        if self.kind.manner == Manner::Shown {
            self.body.memory.clear();
        }
        self.body.is_clock_set = self.is_of_minutes();
    }

    const fn is_of_minutes(&self) -> bool {
        matches!(self.kind.manner, Manner::Kept { count: Count::Minutes, .. })
    }

    pub(super) const fn set_clock(&mut self) {
        self.body.is_clock_set = true;
    }

    /// Everything was deleted at the device, and numbers begin anew; a sensor begins another session.
    pub(super) fn begin_anew(&mut self) {
        self.lose("it was reset");
        self.body.memory.clear();
        self.body.next_number = 1;
        self.body.session = (self.now, self.body.stamp(self.now));
    }

    /// The ward ends: what is kept and was not made just now had to be heard.
    pub(super) fn finish(&mut self) {
        if self.body.is_other {
            self.swap();
        }
        let old = |kept: &&Kept| kept.made + MARGIN < self.now;
        let owed: Vec<Kept> = self.body.memory.iter().filter(old).cloned().collect();
        for kept in &owed {
            self.owe(kept);
        }
    }
}

pub(super) fn keyed(part: Part, record: Option<u32>) -> (u16, Vec<u8>, Vec<Key>) {
    let Part { of, octets, says, time } = part;
    let key = |(code, value)| Key { code, record, time: time.clone(), value };
    (of, octets, says.into_iter().map(key).collect())
}
