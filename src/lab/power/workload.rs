//! One life of a store on the disk that forgets: what a gateway does with it, in an order that a seed
//! decides.
//!
//! In: the mounted disk, the setup, a seed, what the store owes already. Out: the story, and the disk's
//! record with it. What can go wrong: the store gives an error where the disk gave none; that is a
//! finding. What never happens: an event is noted before it is true or after the next operation.

use std::collections::VecDeque;

use super::blocks::block;
use super::model::{Event, Found, Model, Sort, Story, Wrong};
use super::spool::{self, Setup};
use super::trial::drain;
use crate::device::observation::Lane;
use crate::lab::disk::{Disk, Draw};
use crate::store::{Reader, Seq, StoreError, Writer};

/// How long a life is, and what may happen in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    /// Steps; most of them store a block.
    pub(super) steps: u64,
    /// Whether the process is killed now and then, so that what is in memory but not on the medium is
    /// read by the next start.
    pub(super) kills: bool,
}

/// One life.
pub(super) struct Life<'a> {
    disk: &'a Disk,
    setup: Setup,
    draw: Draw,
    pub(super) story: Story,
    model: Model,
    millis: u64,
    next: u64,
    /// Handed in, refused, and to be handed in again.
    refused: VecDeque<(Lane, u64, u64)>,
    given: Vec<Seq>,
    /// What an open found damaged, in words.
    pub(super) faults: Vec<String>,
    /// Calls that gave an error, in words.
    pub(super) errors: Vec<String>,
    store: Option<(Writer, Reader)>,
}

impl<'a> Life<'a> {
    pub(super) fn new(disk: &'a Disk, setup: Setup, model: &Model, seed: u64) -> Self {
        Self {
            disk,
            setup,
            draw: Draw::new(seed),
            story: Story::default(),
            next: model.next_number(),
            model: model.clone(),
            millis: 0,
            refused: VecDeque::new(),
            given: Vec::new(),
            faults: Vec::new(),
            errors: Vec::new(),
            store: None,
        }
    }

    /// Notes an event, and that it does not contradict what the store said before.
    fn note(&mut self, event: Event) -> Result<(), Wrong> {
        self.model.handle(&event)?;
        self.story.note(self.disk.position(), event);
        Ok(())
    }

    fn now(&mut self) -> crate::time::Now {
        self.millis += self.draw.below(1_500);
        spool::at(self.millis)
    }

    /// Lives it to the end; the store is then dropped without being closed.
    pub(super) fn live(&mut self, length: Length) -> Result<(), Wrong> {
        if length.kills && self.draw.in_eight(3) {
            self.killed_open()?;
        }
        self.open()?;
        for _ in 0..length.steps {
            match self.draw.below(32) {
                0..=17 => self.append()?,
                18..=22 => self.read()?,
                // The cap is to be reached: the broker takes little.
                23..=26 if self.setup.is_tight && self.draw.in_eight(7) => self.append()?,
                23..=26 => self.acknowledge()?,
                27 => self.maintain(),
                28 => self.store.iter_mut().for_each(|(_, reader)| reader.rewind()),
                29 => self.save(),
                30 => self.reopen()?,
                _ if length.kills => self.kill()?,
                _ => self.append()?,
            }
        }
        Ok(())
    }

    /// Opens the store; where the disk is made to fail, again until it does not.
    pub(super) fn open(&mut self) -> Result<(), Wrong> {
        let mut failed = self.disk.failed().1;
        loop {
            let now = self.now();
            self.note(Event::Opening)?;
            match self.setup.open(self.disk.folder(), now) {
                Ok((writer, reader, found)) => {
                    self.store = Some((writer, reader));
                    self.faults.extend(found.faults);
                    return self.note(Event::Opened);
                }
                Err(error) if self.disk.failed().1 > failed => {
                    failed = self.disk.failed().1;
                    self.note_error("open", &error);
                }
                Err(error) => return Err(Wrong::new(Sort::Shut, format!("during a life: {error}"))),
            }
        }
    }

    /// Stores a block: one that was refused before, or a new one.
    pub(super) fn append(&mut self) -> Result<(), Wrong> {
        let (lane, first, count) = self.refused.pop_front().unwrap_or_else(|| self.fresh());
        self.hand_in(lane, first, count).map(drop)
    }

    fn fresh(&mut self) -> (Lane, u64, u64) {
        let lane = match self.draw.below(8) {
            0 | 1 => Lane::Alarm,
            2..=5 => Lane::Vital,
            _ => Lane::Bulk,
        };
        let count = 1 + match self.draw.below(8) {
            // A cap of some MiB is to be reached.
            _ if self.setup.is_tight => 500 + self.draw.below(400),
            0..=4 => self.draw.below(8),
            _ => self.draw.below(200),
        };
        let first = self.next;
        self.next += count;
        (lane, first, count)
    }

    /// Hands a block in; whether it was taken.
    fn hand_in(&mut self, lane: Lane, first: u64, count: u64) -> Result<bool, Wrong> {
        let now = self.now();
        let padding = if self.setup.is_tight { 240 } else { self.draw.place(240) };
        let block = block(lane, first, count, padding, &mut self.draw);
        self.note(Event::Handed { lane, first, count })?;
        let Some((writer, _)) = &mut self.store else { return Ok(false) };
        match writer.append(lane, &block, now) {
            Ok(seq) => {
                self.note(Event::Durable { first, seq })?;
                Ok(true)
            }
            Err(error) => {
                self.note_error("append", &error);
                self.refused.push_back((lane, first, count));
                Ok(false)
            }
        }
    }

    /// Hands in again what was refused, until it is taken; an error when it never is.
    pub(super) fn insist(&mut self) -> Result<(), Wrong> {
        for _ in 0..self.refused.len() + 3 {
            let Some((lane, first, count)) = self.refused.pop_front() else { return Ok(()) };
            self.hand_in(lane, first, count)?;
        }
        let last = self.errors.last().cloned().unwrap_or_default();
        Err(Wrong::new(Sort::Stuck, format!("the disk works again, but nothing can be stored: {last}")))
    }

    fn note_error(&mut self, what: &str, error: &StoreError) {
        self.errors.push(format!("{what}: {error}"));
    }

    /// Reads some blocks of a lane.
    pub(super) fn read(&mut self) -> Result<(), Wrong> {
        let lane = Lane::ALL.get(self.draw.place(3)).copied().unwrap_or(Lane::Vital);
        for _ in 0..=self.draw.below(6) {
            let Some((_, reader)) = &mut self.store else { return Ok(()) };
            let is_live = lane == Lane::Vital && self.draw.in_eight(3);
            let next = if is_live { reader.read_live() } else { reader.read_next(lane) };
            match next {
                Ok(Some((seq, block))) => {
                    let content = spool::content(seq, &block).map_err(|e| Wrong::new(Sort::Foreign, e))?;
                    self.note(Event::Given { seq, content })?;
                    self.given.push(seq);
                }
                Ok(None) => break,
                Err(error) => self.note_error("read", &error),
            }
        }
        Ok(())
    }

    /// Acknowledges some of what was given out, in any order.
    pub(super) fn acknowledge(&mut self) -> Result<(), Wrong> {
        for _ in 0..=self.draw.below(8) {
            if self.given.is_empty() {
                break;
            }
            // Mostly the oldest, as a broker does.
            let place = if self.draw.in_eight(5) { 0 } else { self.draw.place(self.given.len()) };
            let seq = self.given.remove(place);
            self.note(Event::Acknowledged { seq })?;
            let now = self.now();
            let Some((writer, reader)) = &mut self.store else { return Ok(()) };
            if let Err(error) = reader.acknowledge(seq) {
                self.errors.push(format!("acknowledge: {error}"));
            }
            // Tells the store the time, which paces its cursors.
            if self.draw.in_eight(1)
                && let Err(error) = writer.maintain(now)
            {
                self.errors.push(format!("maintain: {error}"));
            }
        }
        Ok(())
    }

    pub(super) fn maintain(&mut self) {
        self.millis += self.draw.below(30_000);
        let now = self.now();
        let result = self.store.as_mut().map(|(writer, _)| writer.maintain(now));
        if let Some(Err(error)) = result {
            self.note_error("maintain", &error);
        }
    }

    fn save(&mut self) {
        let result = self.store.as_mut().map(|(_, reader)| reader.save());
        if let Some(Err(error)) = result {
            self.note_error("save", &error);
        }
    }

    /// Closes in order and opens again. What was refused is then nobody's any more, as it is when a daemon
    /// ends: it may be in the store or not.
    pub(super) fn reopen(&mut self) -> Result<(), Wrong> {
        self.given.clear();
        self.refused.clear();
        if let Some((writer, reader)) = self.store.take() {
            drop(reader);
            if let Err(error) = writer.close() {
                self.note_error("close", &error);
            }
        }
        self.open()
    }

    /// The process is killed in the middle of an append and starts again; the disk stays up.
    fn kill(&mut self) -> Result<(), Wrong> {
        self.disk.freeze_in(self.draw.below(12));
        let (lane, first, count) = self.fresh();
        let errors = self.errors.len();
        self.hand_in(lane, first, count)?;
        self.end();
        // What the killed process had in its hands is nobody's any more.
        self.refused.clear();
        self.errors.truncate(errors);
        self.disk.thaw();
        if self.draw.in_eight(3) {
            self.killed_open()?;
        }
        self.open()
    }

    /// The process is killed in the middle of an open.
    fn killed_open(&mut self) -> Result<(), Wrong> {
        self.disk.freeze_in(self.draw.below(30));
        let now = self.now();
        self.note(Event::Opening)?;
        let opened = self.setup.open(self.disk.folder(), now);
        self.disk.freeze();
        drop(opened);
        self.disk.thaw();
        self.note(Event::Opened)
    }

    /// The process ends as if it were killed: nothing it still does reaches the disk.
    pub(super) fn end(&mut self) {
        self.disk.freeze();
        self.given.clear();
        self.store = None;
    }

    /// Reads everything that is there, and compares it with what is owed.
    pub(super) fn drain(&mut self) -> Result<Found, Wrong> {
        let Some((writer, reader)) = &mut self.store else {
            return Err(Wrong::new(Sort::Shut, "there is no store to be drained"));
        };
        reader.rewind();
        let drained = drain(writer, reader)?;
        self.model.clone().check(&drained)
    }
}
