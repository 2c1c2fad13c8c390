//! The records that a device keeps: fetched whole, given on once, and never lost on the way.
//!
//! In: what a service's control point says, what became of writes, the observations of its decoder, word of
//! what is durable. Out: [`Step`]s for the collector, observations that did not come before, the [`Mark`]
//! that is to be remembered. Pure.
//!
//! **What is asked for.** On every connection, and every five minutes while it lasts: the records from the last
//! durable one on, that one included. It must be there and say the same (its hash is remembered); then what
//! follows is what is new. When it is not, the device was reset, emptied or another one, its numbers began
//! anew, and all records are asked for. The same where the device has no numbers or does not know the filter,
//! where nothing is remembered, and behind the greatest number there can be. To ask from the next number on
//! would lose the records of a device that was reset and has counted past it since.
//!
//! **What a consumer does.** Whatever comes twice within one run of the daemon is given on once. A power cut
//! between the commit of a reading and the writing of what is remembered gives the same reading twice, in two
//! runs; so does a device without numbers that gives everything again. Each such observation carries the
//! record's number and the device's time, so two are the same when device, element, modality, record number,
//! device time (with its offset) and value are the same. A number alone is not enough: numbers begin anew.
//!
//! **What is remembered**: the number and hash of the last record before which everything is durable, for each
//! service, bound to who the device says it is; the session of a continuous glucose monitor; the record behind
//! which an insulin pump has to be asked. Durable in the store first, then remembered. In another session, and
//! where the device says that it has not come as far as what is remembered, numbers began anew.
//!
//! **What is deleted** on a device: nothing, unless its entry says so; then the records up to the mark, when a
//! transfer has ended, everything that was passed on is durable and nothing was refused. Once a value could not be
//! read nothing is deleted any more, also after a restart: it may have been a record.
//!
//! Sources: GATT Specification Supplement ("Record Access Control Point"); Glucose Service and Continuous
//! Glucose Monitoring Service (order of subscriptions, procedure time-out of 30 s); Pulse Oximeter Service 1.0.1.

mod dialect;
mod ledger;
mod transfer;

use dialect::dialect_of;
pub(super) use dialect::{Code, Dialect, Procedure, Word};
pub(super) use ledger::{Anchors, Hash, Mark};
pub(super) use transfer::Step;

use std::time::Duration;

use ledger::Ledger;
use transfer::{PERIOD, Transfer};

use crate::device::catalogue::{BleProfile, Numbering};
use crate::device::observation::{Observation, Quality};
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Fault, FaultKind};
use crate::link::Characteristic;
use crate::link::gatt::MayDelete;
use crate::time::Mono;

/// The name of the setting that permits deleting.
const DELETE_RECORDS: &str = "delete_records";
const WHEN_DURABLE: &str = "when-durable";

/// What can be set for a device whose records have numbers.
pub(crate) static SETTINGS: [Setting; 1] = [Setting {
    name: DELETE_RECORDS,
    meaning: "whether records are deleted on the device when they are on durable storage of this gateway \
              (which is before they are in the cloud); a device that is never emptied overwrites its oldest",
    values: Values::Word(&["never", WHEN_DURABLE]),
}];

/// When a record came by itself, the device is asked this long after it for what may have been lost.
const AFTER_LIVE: Duration = Duration::from_secs(30);

/// How often a device may stay silent on a procedure, connection after connection, before its connection is
/// kept all the same for what it sends by itself.
const SILENCES: u8 = 1;

/// So many transfers in a row that lack the very same show that it does not exist. Twice may be an accident that comes
/// again, such as a queue that is full whenever the device begins.
const SAME_SHORTS: u8 = 3;

/// Fewer records came than there were.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Missing {
    /// From where on was asked; `None`: for all.
    from: Option<Mark>,
}

/// A transfer of which fewer came than there were.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short {
    from: Option<Mark>,
    expected: u32,
    /// A hash of the numbers that came.
    numbers: u64,
}

/// What is remembered of the records of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) mark: Mark,
    /// The session in which numbers count, where the device has such.
    pub(super) session: Option<u32>,
    /// Nothing may be deleted on the device.
    pub(super) must_keep: bool,
    /// A record may stand before the mark that is not durable.
    pub(super) is_provisional: bool,
}

/// The records of one service of a device: lives as long as the driver.
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each learned by itself")]
pub(super) struct Shelf {
    row: &'static BleProfile,
    transfer: Transfer,
    ledger: Ledger,
    may_delete: Option<MayDelete>,
    /// Connections in a row on which a procedure got no sign of life.
    silences: u8,
    /// A transfer has come to its end since something was deleted last.
    is_whole: bool,
    /// Fewer came than the device said there were, and it was asked again for that; how often in a row it was the very
    /// same. Another loss is another accident.
    was_short: Option<(Short, u8)>,
    /// From where on was asked when fewer came than there were. What is missing stands behind it: nothing is
    /// deleted until as much was asked for again and came whole.
    missing: Option<Missing>,
    /// From where on was asked last.
    asked: Option<Mark>,
    /// Whether the last transfer that failed had given a record.
    had_given: bool,
    /// Something could not be read, which may have been a record.
    must_keep: bool,
    session: Option<u32>,
    /// The numbers began anew while a transfer ran: all are to be asked for.
    must_ask_all: bool,
    /// What is to be remembered is another than before.
    has_changed: bool,
    /// Its decoder says of each record whether it was stored.
    tells_stored: bool,
    /// The last transfer of this connection came whole.
    is_fetched: bool,
}

impl Shelf {
    /// For a profile whose records can be fetched.
    pub(super) fn of(row: &'static BleProfile, settings: &Settings) -> Option<Self> {
        let dialect = dialect_of(row.stored?, row.service);
        let ledger = Ledger::new(dialect.greatest(), dialect.anchors());
        let may_delete = MayDelete::of_setting(settings.word(DELETE_RECORDS) == WHEN_DURABLE);
        let transfer = Transfer::new(dialect);
        Some(Self {
            row,
            transfer,
            ledger,
            may_delete,
            silences: 0,
            is_whole: false,
            was_short: None,
            missing: None,
            asked: None,
            had_given: false,
            must_keep: false,
            session: None,
            must_ask_all: false,
            has_changed: false,
            tells_stored: (row.decoder)().tells_stored(),
            is_fetched: false,
        })
    }

    pub(super) const fn service(&self) -> u16 {
        self.row.service
    }

    pub(super) fn control(&self) -> Characteristic {
        self.transfer.dialect().control()
    }

    /// Whether some of its records mean something only behind others.
    pub(super) fn is_anchored(&self) -> bool {
        self.transfer.dialect().anchors().is_some()
    }

    /// Whether its records have numbers, so that the device gives one again that did not become durable here.
    pub(super) fn has_numbers(&self) -> bool {
        self.transfer.dialect().greatest().is_some()
    }

    /// A new connection: nothing is asked before [`Shelf::handle_ready`].
    pub(super) fn handle_up(&mut self) {
        self.ledger.handle_up();
        self.is_whole = false;
        self.is_fetched = false;
        if let Some(dialect) = self.row.stored.map(|stored| dialect_of(stored, self.row.service)) {
            self.transfer = Transfer::new(dialect);
        }
    }

    /// The connection has ended, or is being given up. What the decoders still held was taken before, and `is_whole`
    /// when that left nothing out. A transfer that only waited for stragglers, and of which as much came as was
    /// announced, is complete.
    pub(super) fn handle_down(&mut self, is_whole: bool, pushed: u64) {
        let certain = self.ledger.certain(self.tells_stored);
        let is_drained = certain.is_some_and(|count| self.transfer.is_drained(count));
        let is_complete = is_whole && !self.must_ask_all && is_drained;
        self.must_ask_all = false;
        self.transfer.end();
        self.ledger.end(is_complete, pushed);
    }

    /// Another device than before.
    pub(super) fn forget(&mut self) {
        self.has_changed |= self.ledger.mark().is_some();
        self.ledger.forget();
        self.missing = None;
        self.must_keep = false;
        self.session = None;
    }

    /// What is to be remembered.
    pub(super) fn remembered(&self) -> Option<Remembered> {
        let mark = self.ledger.mark()?;
        // What was announced and never came is on the device still: a later run must not delete it either.
        let must_keep = self.must_keep || self.missing.is_some();
        let is_provisional = self.ledger.is_provisional();
        Some(Remembered { mark, session: self.session, must_keep, is_provisional })
    }

    pub(super) fn recall(&mut self, remembered: Remembered) {
        self.ledger.recall(remembered.mark, remembered.is_provisional);
        self.session = remembered.session;
        self.must_keep = remembered.must_keep;
    }

    /// The device has said how it counts.
    pub(super) fn handle_numbering(&mut self, said: Numbering) {
        let is_anew = match said {
            Numbering::Reaches(greatest) => self.ledger.mark().is_some_and(|mark| mark.number > greatest),
            Numbering::Session(session) => {
                let before = self.session.replace(session);
                self.has_changed |= before != self.session && self.ledger.mark().is_some();
                before.is_some_and(|before| before != session)
            }
        };
        if is_anew {
            self.must_ask_all |= self.ledger.is_open();
            self.has_changed |= self.ledger.mark().is_some();
            self.ledger.forget();
            if self.must_ask_all {
                // What comes is of a part only: it moves no mark.
                self.ledger.begin_part();
            }
            self.missing = None;
        }
    }

    /// A value could not be read.
    pub(super) fn handle_unreadable(&mut self, of: Characteristic) {
        if self.transfer.dialect().carries(of) {
            self.handle_lost();
        }
    }

    /// Something of a transfer could not be read, or a part of it did not come.
    pub(super) fn handle_lost(&mut self) {
        if !self.must_keep {
            self.must_keep = true;
            self.has_changed |= self.ledger.mark().is_some();
        }
    }

    pub(super) fn handle_read(&mut self, of: Characteristic, value: Option<&[u8]>) {
        self.transfer.dialect_mut().handle_read(of, value);
    }

    /// Data and control point are subscribed to.
    pub(super) fn handle_ready(&mut self, now: Mono) {
        self.begin(self.ledger.from(), now);
    }

    fn begin(&mut self, from: Option<Mark>, now: Mono) {
        let from = from.filter(|_| self.transfer.knows_from());
        self.asked = from;
        self.is_fetched = false;
        self.transfer.begin(from.and_then(|mark| mark.anchor), now);
    }

    pub(super) fn handle_written(&mut self, result: &Result<(), String>, now: Mono) {
        self.transfer.handle_written(result, now);
    }

    pub(super) fn handle_control(&mut self, value: &[u8], now: Mono) {
        self.transfer.handle_control(value, now);
    }

    pub(super) fn handle_subscribed(&mut self, now: Mono) {
        self.transfer.handle_subscribed(now);
    }

    /// A value of a characteristic of this service came, and this was made of it, which goes to [`Shelf::take`]
    /// then. What is no record says nothing of a transfer. `None`: it could not be read. What gave nothing yet
    /// waits for its other half.
    pub(super) fn handle_value(&mut self, of: Characteristic, said: Option<&[Observation]>, now: Mono) {
        let is_live = |said: &[Observation]| {
            self.has_numbers() && !said.is_empty() && said.iter().all(|one| one.record.is_none())
        };
        let may_be = self.row.episodic.contains(&of) && self.transfer.dialect().carries(of);
        if !may_be || said.is_some_and(is_live) {
            return;
        }
        self.transfer.handle_data(now);
        if !self.has_numbers() {
            self.ledger.count_one();
        }
        self.transfer.hurry(AFTER_LIVE, now);
    }

    /// Takes what the decoder made of a value of this characteristic (`None`: of the end of a transfer), and
    /// gives what did not come before. `pushed` observations of the device were passed on so far.
    pub(super) fn take(
        &mut self,
        of: Option<Characteristic>,
        said: Vec<Observation>,
        pushed: u64,
    ) -> Vec<Observation> {
        let is_episodic = of.is_none_or(|of| self.row.episodic.contains(&of));
        let is_stored = is_episodic && self.ledger.is_open();
        let (numbered, tells) = (self.has_numbers(), self.tells_stored);
        let is_stored = |said: &Observation| {
            let is_its_word = !tells || said.quality.has(Quality::STORED);
            is_stored && is_its_word && (said.record.is_some() || !numbered)
        };
        let flagged = said.into_iter().map(|said| {
            let flag = if is_stored(&said) { Quality::STORED } else { Quality::GOOD };
            Observation { quality: said.quality.with(flag), ..said }
        });
        let (before, said) = (self.ledger.count(), flagged.collect::<Vec<_>>());
        let is_live =
            said.iter().any(|one| tells && one.record.is_some() && !one.quality.has(Quality::STORED));
        let fresh = self.ledger.take(said, pushed);
        if is_live && !fresh.is_empty() && self.ledger.count() > before {
            self.ledger.note_live();
        }
        fresh
    }

    /// Whether all that the device announced on this connection has come and is durable.
    pub(super) fn is_fetched(&self) -> bool {
        self.is_fetched && !self.ledger.is_open() && self.ledger.is_settled()
    }

    pub(super) const fn poll_timeout(&self) -> Option<Mono> {
        self.transfer.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Mono) {
        self.transfer.handle_timeout(now);
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        loop {
            match self.transfer.poll_step()? {
                Step::Asks => self.ledger.begin(self.asked.filter(|_| self.transfer.knows_from())),
                step @ (Step::Write(_)
                | Step::SubscribeAgain
                | Step::Due
                | Step::Ended(_)
                | Step::Failed
                | Step::Report(_)
                | Step::Dead) => return Some(step),
            }
        }
    }

    /// Whether the end of a transfer was put off, for an answer that a decoder waits for.
    pub(super) fn waits_on(&mut self, now: Mono) -> bool {
        self.transfer.drain_again(now)
    }

    /// Whether the time has come for another transfer.
    pub(super) fn handle_due(&mut self, now: Mono) {
        self.begin(self.ledger.from(), now);
    }

    /// The transfer has ended otherwise than it should.
    pub(super) fn handle_failed(&mut self) {
        self.had_given = self.ledger.has_come();
        self.ledger.end(false, 0);
    }

    /// The transfer has ended as it should, and the decoder has given what it held; it is not `is_whole` when that
    /// let records go. `expected` were announced.
    pub(super) fn handle_ended(
        &mut self,
        expected: Option<u32>,
        is_whole: bool,
        pushed: u64,
        now: Mono,
    ) -> Option<Fault> {
        self.silences = 0;
        let short = self.short(expected);
        let is_of_part = std::mem::take(&mut self.must_ask_all);
        let is_enough = short.is_none_or(|(_, times)| times >= SAME_SHORTS);
        let is_complete = is_whole && !is_of_part && is_enough;
        let came = self.ledger.end(is_complete, pushed);
        if !is_whole {
            self.is_whole = false;
            self.transfer.hurry(AFTER_LIVE, now);
            return None;
        }
        if is_of_part {
            self.begin(None, now);
            return None;
        }
        if came.is_of_other_numbers || came.is_at_end_of_numbers {
            self.begin(None, now);
            return None;
        }
        let Some(expected) = expected.filter(|expected| came.count < *expected) else {
            if self.asked.is_none() || self.missing == Some(Missing { from: self.asked }) {
                self.has_changed |= self.missing.take().is_some() && self.ledger.mark().is_some();
            }
            self.was_short = None;
            if self.asked.is_some() && self.ledger.is_provisional() {
                self.begin(None, now);
                return None;
            }
            self.is_whole = true;
            self.is_fetched = true;
            self.delete(now);
            return None;
        };
        let detail = format!("{} of {expected} stored records came", came.count);
        self.is_whole = false;
        self.missing.get_or_insert(Missing { from: self.asked });
        self.has_changed |= self.ledger.mark().is_some();
        // Once at once; what is short in another way after that waits for the next time.
        if std::mem::replace(&mut self.was_short, short).is_none() {
            self.begin(self.asked, now);
        }
        Some(Fault::new(FaultKind::Timeout, detail))
    }

    /// What this transfer lacks of what was expected, and how often in a row it was just that.
    fn short(&self, expected: Option<u32>) -> Option<(Short, u8)> {
        let expected = expected.filter(|expected| self.ledger.count() < *expected)?;
        let short = Short { from: self.asked, expected, numbers: self.ledger.numbers() };
        let before = self.was_short.filter(|(before, _)| *before == short);
        Some((short, before.map_or(1, |(_, times)| times.saturating_add(1))))
    }

    /// A procedure got no sign of life. True when the connection is to be given up for it.
    pub(super) fn handle_dead(&mut self, now: Mono) -> bool {
        self.silences = if self.had_given { 0 } else { self.silences.saturating_add(1) };
        let gives_up = self.silences <= SILENCES;
        if !gives_up {
            self.transfer.rest(PERIOD, now);
        }
        gives_up
    }

    /// Everything up to this place is durable. True when something else is to be remembered now.
    pub(super) fn handle_durable(&mut self, through: u64, now: Mono) -> bool {
        let has_moved = self.ledger.handle_durable(through);
        self.delete(now);
        has_moved || std::mem::take(&mut self.has_changed)
    }

    pub(super) fn handle_refused(&mut self) {
        self.ledger.handle_refused();
        self.is_whole = false;
    }

    fn may_delete_now(&self) -> bool {
        let is_all_here = self.is_whole && self.missing.is_none() && !self.ledger.is_provisional();
        is_all_here && !self.must_keep && self.ledger.is_settled()
    }

    /// Deletes what may be deleted, if it may now.
    fn delete(&mut self, now: Mono) {
        let Some(may) = self.may_delete.filter(|_| self.may_delete_now()) else {
            return;
        };
        // Behind the greatest number the next record has the least.
        if let Some(mark) = self.ledger.from()
            && self.transfer.delete(mark.number, may, now)
        {
            self.is_whole = false;
        }
    }
}
