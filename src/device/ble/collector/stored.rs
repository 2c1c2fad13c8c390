//! The records of the device's services, as far as the collector has to do with them: what their transfers
//! want done, and what is remembered of them.
//!
//! A memo: a version, a hash of who the device says it is, the number of services, for each service its UUID, the
//! number of its last durable record and that record's hash; then what the device is (`pins`) and the alarms that are on
//! (`alarms`). Version 1 had neither the number of services nor what follows them. What does not read like this is no memo.

use std::collections::VecDeque;

use super::alarms::{Remembered, taken};
use super::pins::Pins;
use super::{Collector, Outcome, Phase};
use crate::device::ble::records::{Hash, Mark, Shelf, Step};
use crate::device::memo::Memo;
use crate::device::observation::Observation;
use crate::device::{Action, FaultKind, Identity, Ticket};
use crate::link::{Characteristic, LinkCommand};
use crate::time::Mono;

const MEMO_VERSION: u8 = 2;
/// Marks of records, and nothing else.
const MEMO_OF_MARKS: u8 = 1;
/// A service, a number and a hash.
const MARK_SIZE: usize = 10;

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

    pub(super) fn handle_ticket(&mut self, ticket: Ticket) {
        if std::mem::take(&mut self.is_without) {
            self.tickets.push_back((self.left, ticket));
        }
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
        let pushed = self.way.pushed;
        let said = self.stamped(said);
        let said = match self.shelf(place) {
            Some(keeper) => keeper.take(of, said, pushed),
            None => said,
        };
        self.way.pushed += u64::try_from(said.len()).unwrap_or_default();
        self.note_alarms(&said);
        self.actions.extend(said.into_iter().map(Action::observe));
    }

    /// What a decoder held back does not become more by waiting.
    fn flush(&mut self, place: usize) {
        let late = self.profiles.get_mut(place).map(|profile| profile.decoder.handle_end());
        self.pass_on(place, None, late.unwrap_or_default());
    }

    /// The connection ends.
    pub(super) fn end_records(&mut self) {
        for place in 0..self.profiles.len() {
            self.flush(place);
        }
        self.shelves().for_each(Shelf::handle_down);
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
            Step::Ended(expected) => {
                self.flush(place);
                let pushed = self.way.pushed;
                let fault = self.shelf(place).and_then(|shelf| shelf.handle_ended(expected, pushed, now));
                self.actions.extend(fault.map(Action::Report));
            }
            Step::Failed => {
                self.flush(place);
                if let Some(shelf) = self.shelf(place) {
                    shelf.handle_failed();
                }
            }
            Step::Dead => {
                let detail = "no sign of life from the control point of its stored records".to_owned();
                if self.shelf(place).is_some_and(Shelf::handle_dead) {
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
        self.actions.extend(self.memo().map(Action::Remember));
    }

    fn memo(&self) -> Option<Memo> {
        let owner = self.owner?;
        let mut marks = Vec::new();
        for shelf in self.profiles.iter().filter_map(|profile| profile.shelf.as_ref()) {
            if let Some(Mark { number, print }) = shelf.mark() {
                marks.extend(shelf.service().to_le_bytes());
                marks.extend(number.to_le_bytes());
                marks.extend(print.to_le_bytes());
            }
        }
        let count = u8::try_from(marks.len() / MARK_SIZE).ok()?;
        let mut bytes = [&[MEMO_VERSION][..], &owner.to_le_bytes(), &[count], &marks].concat();
        self.pins.put(&mut bytes, owner);
        self.put_alarms(&mut bytes, owner);
        Memo::new(&bytes)
    }

    pub(super) fn recall_records(&mut self, memo: &[u8]) {
        let Some(Recalled { owner, marks, pins, alarms }) = parsed(memo) else { return };
        self.owner = Some(owner);
        self.pins = pins;
        self.recall_alarms(owner, alarms);
        for [s0, s1, n0, n1, n2, n3, p0, p1, p2, p3] in marks {
            let service = u16::from_le_bytes([*s0, *s1]);
            let number = u32::from_le_bytes([*n0, *n1, *n2, *n3]);
            let print = u32::from_le_bytes([*p0, *p1, *p2, *p3]);
            if let Some(shelf) = self.shelves().find(|shelf| shelf.service() == service) {
                shelf.recall(Mark { number, print });
            }
        }
    }
}

/// What a memo says.
struct Recalled<'a> {
    /// Whose it is.
    owner: u64,
    marks: &'a [[u8; MARK_SIZE]],
    pins: Pins,
    alarms: Vec<Remembered>,
}

fn parsed(memo: &[u8]) -> Option<Recalled<'_>> {
    let (version, rest) = memo.split_first()?;
    let (owner, rest) = rest.split_first_chunk::<8>()?;
    let owner = u64::from_le_bytes(*owner);
    let (marks, pins, alarms) = match *version {
        MEMO_OF_MARKS => (rest, Pins::default(), Vec::new()),
        MEMO_VERSION => {
            let (count, rest) = rest.split_first()?;
            let (marks, pins) = rest.split_at_checked(usize::from(*count) * MARK_SIZE)?;
            let (pins, alarms) = Pins::recalled(owner, pins)?;
            (marks, pins, taken(alarms)?)
        }
        _ => return None,
    };
    let (marks, []) = marks.as_chunks::<MARK_SIZE>() else { return None };
    Some(Recalled { owner, marks, pins, alarms })
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
