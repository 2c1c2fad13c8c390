//! The records of the device's services, as far as the collector has to do with them: what their transfers
//! want done, and what is remembered of them.
//!
//! A memo, version 2: the version, a hash of who the device says it is, the number of services, for each service its
//! UUID, an octet of flags, the number of its last durable record and that record's hash; by the flags, the number of
//! its anchor and the hash of its session; then what the device is (`pins`) and the alarms that are on (`alarms`).
//! Version 1 had neither the number of services nor flags, nor what follows the services. What does not read like this
//! is no memo. All numbers are little-endian.

use std::collections::VecDeque;

use super::alarms::{OpenAlarm, open_alarms};
use super::pins::Pins;
use super::{Collector, Outcome, Phase};
use crate::device::ble::records::{Hash, Mark, Remembered, Shelf, Step};
use crate::device::memo::Memo;
use crate::device::observation::{Observation, Quality};
use crate::device::{Action, FaultKind, Identity, Ticket};
use crate::link::{Characteristic, LinkCommand};
use crate::time::Mono;

const MEMO_VERSION: u8 = 2;
/// Marks of records as they were written before, and nothing else; it is still read.
const MEMO_OF_MARKS: u8 = 1;

const HAS_ANCHOR: u8 = 1;
const HAS_SESSION: u8 = 2;
const MUST_KEEP: u8 = 4;
const IS_PROVISIONAL: u8 = 8;

/// Where observations are on their way to durable storage, by their place: 1, 2, 3, ... over the whole life
/// of the driver.
#[derive(Default)]
pub(super) struct Way {
    /// Put in line.
    pushed: u64,
    /// Handed to the session.
    left: u64,
    /// The last that was handed over has no ticket yet.
    is_without: bool,
    tickets: VecDeque<(u64, Ticket)>,
    durable: u64,
}

impl Way {
    /// Where what was put in line last is on its way.
    pub(super) const fn pushed(&self) -> u64 {
        self.pushed
    }

    pub(super) const fn is_durable(&self, place: u64) -> bool {
        place <= self.durable
    }

    pub(super) const fn leave(&mut self) {
        self.left += 1;
        self.is_without = true;
    }

    /// Takes the ticket of the observation that was handed over last; `false` when that has one.
    pub(super) fn handle_ticket(&mut self, ticket: Ticket) -> bool {
        let is_its = std::mem::take(&mut self.is_without);
        if is_its {
            self.tickets.push_back((self.left, ticket));
        }
        is_its
    }

    pub(super) fn handle_durable(&mut self, through: Ticket) {
        while let Some((place, _)) = self.tickets.front().filter(|(_, ticket)| *ticket <= through) {
            self.durable = *place;
            self.tickets.pop_front();
        }
    }
}

impl Collector {
    fn shelves(&mut self) -> impl Iterator<Item = &mut Shelf> {
        self.profiles.iter_mut().filter_map(|profile| profile.shelf.as_mut())
    }

    /// Passes on what the decoder of a profile made of a value (`None`: of the end of a transfer).
    pub(super) fn pass_on(&mut self, place: usize, of: Option<Characteristic>, said: Vec<Observation>) {
        let said = self.stamped(place, said);
        let (lone, said) = self.without_lone(place, said);
        let pushed = self.way.pushed;
        let said = match self.shelf(place) {
            Some(keeper) => keeper.take(of, said, pushed),
            None => said,
        };
        let said = [said, lone].concat();
        self.way.pushed += u64::try_from(said.len()).unwrap_or_default();
        self.note_alarms(&said);
        self.actions.extend(said.into_iter().map(Action::observe));
    }

    /// Apart from the records: what was given of some whose main part did not come. Those are still to come.
    fn without_lone(&mut self, place: usize, said: Vec<Observation>) -> (Vec<Observation>, Vec<Observation>) {
        let Some(profile) = self.profiles.get_mut(place) else { return (Vec::new(), said) };
        let numbers: Vec<u32> = std::iter::from_fn(|| profile.decoder.poll_lone()).collect();
        let is_lone = |one: &Observation| one.record.is_some_and(|number| numbers.contains(&number));
        let (mut lone, said): (Vec<_>, Vec<_>) = said.into_iter().partition(is_lone);
        for one in &mut lone {
            one.quality = one.quality.with(Quality::STORED);
        }
        (lone, said)
    }

    /// What a decoder held back does not become more by waiting. Whether it told all of it, and whether none of it
    /// lacks its other half. What goes wrong with it at the end of a transfer may have been a record.
    fn flush(&mut self, place: usize, is_end: bool) -> (bool, bool) {
        let Some(profile) = self.profiles.get_mut(place) else { return (true, true) };
        let is_whole = !profile.decoder.holds_back();
        let late = profile.decoder.handle_end();
        while let Some(fault) = profile.decoder.poll_fault() {
            if let Some(shelf) = profile.shelf.as_mut().filter(|_| is_end) {
                shelf.handle_lost();
            }
            self.actions.push_back(Action::Report(fault));
        }
        let lacks_nothing = late.is_empty();
        self.pass_on(place, None, late);
        (is_whole, lacks_nothing)
    }

    /// The connection ends.
    pub(super) fn end_records(&mut self) {
        for place in 0..self.profiles.len() {
            let (is_whole, lacks_nothing) = self.flush(place, false);
            let pushed = self.way.pushed;
            if let Some(shelf) = self.shelf(place) {
                shelf.handle_down(is_whole && lacks_nothing, pushed);
            }
        }
    }

    /// A decoder has learned how its device counts: what it tells now counts so already.
    pub(super) fn handle_numbering(&mut self, place: usize) {
        let Some(profile) = self.profiles.get_mut(place) else { return };
        while let Some(said) = profile.decoder.poll_numbering() {
            if let Some(shelf) = &mut profile.shelf {
                shelf.handle_numbering(said);
            }
        }
    }

    /// Whether the end of a transfer has to wait: its decoder holds records back until something is answered.
    fn must_wait(&mut self, place: usize, now: Mono) -> bool {
        let Some(profile) = self.profiles.get_mut(place) else { return false };
        let service = profile.row.service;
        let is_asking = self.asking.iter().any(|of| of.service == service);
        let holds = is_asking && profile.decoder.holds_back();
        holds && profile.shelf.as_mut().is_some_and(|shelf| shelf.waits_on(now))
    }

    /// Who it is has been said, before anything else on this connection: what is known of another device's
    /// records says nothing of this one's.
    pub(super) fn handle_owner(&mut self, identity: &Identity) {
        let owner = owner(identity);
        let is_another = self.owner.replace(owner).is_some_and(|before| before != owner);
        if is_another {
            self.forget_alarms();
        }
        for shelf in self.shelves() {
            if is_another {
                shelf.forget();
            }
            shelf.handle_up();
        }
    }

    /// Whether it is of another device than the one whose records are known.
    pub(super) fn is_of_another(&self, identity: &Identity) -> bool {
        self.owner.is_some_and(|known| known != owner(identity))
    }

    /// Everything is subscribed to.
    pub(super) fn ask_for_records(&mut self, now: Mono) {
        let subscriptions = &self.subscriptions;
        let is_there = |control: Characteristic| {
            let mut all = subscriptions.iter().filter(|entry| entry.outcome == Outcome::Subscribed);
            all.any(|entry| entry.characteristic == control)
        };
        for shelf in self.profiles.iter_mut().filter_map(|profile| profile.shelf.as_mut()) {
            if is_there(shelf.control()) {
                shelf.handle_ready(now);
            }
        }
    }

    pub(super) fn handle_subscribed_again(&mut self, now: Mono) {
        self.shelves().for_each(|shelf| shelf.handle_subscribed(now));
    }

    pub(super) fn handle_written(&mut self, to: Characteristic, result: &Result<(), String>, now: Mono) {
        if let Some(shelf) = self.shelves().find(|shelf| shelf.control() == to) {
            return shelf.handle_written(result, now);
        }
        self.report(FaultKind::Unexpected, format!("a write to {to:?} that nobody made"));
    }

    pub(super) fn handle_control(&mut self, of: Characteristic, value: &[u8], now: Mono) {
        if let Some(shelf) = self.shelves().find(|shelf| shelf.control() == of) {
            shelf.handle_control(value, now);
        }
    }

    /// Does what the transfers want, and has remembered what became durable.
    pub(super) fn go_on_with_records(&mut self, now: Mono) {
        for place in 0..self.profiles.len() {
            while let Some(step) = self.shelf(place).and_then(Shelf::poll_step) {
                if self.phase == Phase::Down {
                    continue;
                }
                self.take_step(place, step, now);
            }
        }
        let durable = self.way.durable;
        let mut has_moved = false;
        for shelf in self.shelves() {
            has_moved |= shelf.handle_durable(durable, now);
        }
        // A deletion may follow from it.
        for place in 0..self.profiles.len() {
            while let Some(step) = self.shelf(place).and_then(Shelf::poll_step) {
                if self.phase != Phase::Down {
                    self.take_step(place, step, now);
                }
            }
        }
        if has_moved {
            self.remember();
        }
    }

    fn shelf(&mut self, place: usize) -> Option<&mut Shelf> {
        self.profiles.get_mut(place)?.shelf.as_mut()
    }

    fn take_step(&mut self, place: usize, step: Step, now: Mono) {
        match step {
            Step::Write(write) => self.actions.push_back(Action::Command(LinkCommand::Write(write))),
            Step::Report(fault) => self.actions.push_back(Action::Report(fault)),
            Step::SubscribeAgain => self.subscribe_again(place),
            Step::Due => {
                if let Some(shelf) = self.shelf(place) {
                    shelf.handle_due(now);
                }
            }
            // The shelf's own.
            Step::Asks => {}
            Step::Ended(_) if self.must_wait(place, now) => {}
            Step::Ended(expected) => {
                let (is_whole, _) = self.flush(place, true);
                let pushed = self.way.pushed;
                let fault =
                    self.shelf(place).and_then(|shelf| shelf.handle_ended(expected, is_whole, pushed, now));
                self.actions.extend(fault.map(Action::Report));
            }
            Step::Failed => {
                self.flush(place, false);
                if let Some(shelf) = self.shelf(place) {
                    shelf.handle_failed();
                }
            }
            Step::Dead => {
                let detail = "no sign of life from the control point of its stored records".to_owned();
                if self.shelf(place).is_some_and(|shelf| shelf.handle_dead(now)) {
                    self.give_up(FaultKind::Timeout, detail);
                } else {
                    self.report(FaultKind::Timeout, detail);
                }
            }
        }
    }

    /// The device has forgotten what was subscribed to.
    fn subscribe_again(&mut self, place: usize) {
        let Some(profile) = self.profiles.get(place) else { return };
        let (row, control) = (profile.row, profile.control());
        for entry in &mut self.subscriptions {
            let of = entry.characteristic;
            let is_its = row.subscribes.contains(&of) || control == Some(of);
            if is_its && entry.outcome == Outcome::Subscribed {
                entry.outcome = Outcome::Pending;
                self.actions.push_back(Action::Command(LinkCommand::Subscribe(of)));
            }
        }
    }

    /// Has all that is known of the device remembered.
    pub(super) fn remember(&mut self) {
        if let Some((memo, left_out)) = self.memo() {
            self.actions.push_back(Action::Remember(memo));
            self.tell_left_out(left_out);
        }
    }

    /// The memo, and how many alarms had no room in it.
    fn memo(&self) -> Option<(Memo, usize)> {
        let owner = self.owner?;
        let (mut marks, mut count) = (Vec::new(), 0_u8);
        for shelf in self.profiles.iter().filter_map(|profile| profile.shelf.as_ref()) {
            if let Some(Remembered { mark, session, must_keep, is_provisional }) = shelf.remembered() {
                // Each record of most devices is its own anchor.
                let anchor = mark.anchor.filter(|_| shelf.is_anchored());
                let flag = |is_so: bool, flag: u8| if is_so { flag } else { 0 };
                marks.extend(shelf.service().to_le_bytes());
                marks.push(
                    flag(anchor.is_some(), HAS_ANCHOR)
                        | flag(session.is_some(), HAS_SESSION)
                        | flag(must_keep, MUST_KEEP)
                        | flag(is_provisional, IS_PROVISIONAL),
                );
                marks.extend(mark.number.to_le_bytes());
                marks.extend(mark.print.to_le_bytes());
                for number in anchor.into_iter().chain(session) {
                    marks.extend(number.to_le_bytes());
                }
                count += 1;
            }
        }
        let mut bytes = [&[MEMO_VERSION][..], &owner.to_le_bytes(), &[count], &marks].concat();
        self.pins.put(&mut bytes, owner);
        let left_out = self.put_alarms(&mut bytes, owner);
        Some((Memo::new(&bytes)?, left_out))
    }

    pub(super) fn recall_records(&mut self, memo: &[u8]) {
        let Some(Recalled { owner, marks, pins, alarms }) = parsed(memo) else { return };
        self.owner = Some(owner);
        self.pins = pins;
        self.recall_alarms(owner, alarms);
        for (service, remembered) in marks {
            if let Some(shelf) = self.shelves().find(|shelf| shelf.service() == service) {
                shelf.recall(remembered);
            }
        }
    }
}

/// What a memo says.
struct Recalled {
    /// Whose it is.
    owner: u64,
    marks: Vec<(u16, Remembered)>,
    pins: Pins,
    alarms: Vec<OpenAlarm>,
}

fn parsed(mut octets: &[u8]) -> Option<Recalled> {
    let [version @ (MEMO_OF_MARKS | MEMO_VERSION)] = taken(&mut octets)? else { return None };
    let owner = u64::from_le_bytes(taken(&mut octets)?);
    let mut marks = Vec::new();
    if version == MEMO_OF_MARKS {
        while !octets.is_empty() {
            marks.push(remembered(version, &mut octets)?);
        }
        return Some(Recalled { owner, marks, pins: Pins::default(), alarms: Vec::new() });
    }
    let [count] = taken(&mut octets)?;
    for _ in 0..count {
        marks.push(remembered(version, &mut octets)?);
    }
    let (pins, alarms) = Pins::recalled(owner, octets)?;
    Some(Recalled { owner, marks, pins, alarms: open_alarms(alarms)? })
}

/// The next octets of a memo.
fn taken<const COUNT: usize>(octets: &mut &[u8]) -> Option<[u8; COUNT]> {
    let (first, rest) = octets.split_first_chunk()?;
    *octets = rest;
    Some(*first)
}

/// What a memo says of one service.
fn remembered(version: u8, octets: &mut &[u8]) -> Option<(u16, Remembered)> {
    let service = u16::from_le_bytes(taken(octets)?);
    let [flags] = if version == MEMO_OF_MARKS { [0] } else { taken(octets)? };
    let mut number = || Some(u32::from_le_bytes(taken(octets)?));
    let (last, print) = (number()?, number()?);
    let anchor = if flags & HAS_ANCHOR == 0 { None } else { Some(number()?) };
    let session = if flags & HAS_SESSION == 0 { None } else { Some(number()?) };
    let mark = Mark { number: last, print, anchor };
    let (must_keep, is_provisional) = (flags & MUST_KEEP != 0, flags & IS_PROVISIONAL != 0);
    Some((service, Remembered { mark, session, must_keep, is_provisional }))
}

/// A device is the same while it says so; a firmware changes.
fn owner(Identity { maker, model, serial, firmware: _ }: &Identity) -> u64 {
    let mut hash = Hash::default();
    for field in [maker, model, serial] {
        hash.octets(field.as_deref().unwrap_or_default().as_bytes());
        hash.octets(&[0, u8::from(field.is_some())]);
    }
    hash.0
}
