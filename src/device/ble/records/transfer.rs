//! One procedure after the other at a Record Access Control Point.
//!
//! In: from where on records are wanted, what became of writes, what the control point says, that data came,
//! the time. Out: [`Step`]s. Pure. It knows nothing of what a record says, nor which are known.
//!
//! What can go wrong, and what is done: no sign of life for 30 s (GLS, CGMS: the procedure time-out, begun
//! anew by every record) gives the connection up; "configuration descriptor improperly configured" (ATT
//! 0xFD) subscribes again, "procedure already in progress" (0xFE) aborts it and asks again, both once until a
//! transfer has ended well; a filter that is not understood asks for all; a device that understands nothing is left alone
//! for this connection; one that stays silent connection after connection is asked every five minutes; busy and everything else is tried again later.

use std::collections::VecDeque;
use std::time::Duration;

use super::dialect::{Code, Dialect, Procedure, Word};
use crate::device::{Fault, FaultKind};
use crate::link::NOT_OFFERED;
use crate::link::gatt::{GattWrite, MayDelete, Records, att_error};
use crate::time::Mono;

/// A procedure without a sign of life for this long is dead.
pub(in crate::device::ble) const PROCEDURE_LIMIT: Duration = Duration::from_secs(30);

/// On D-Bus the response may overtake records: this long they are waited for.
pub(in crate::device::ble) const DRAIN: Duration = Duration::from_millis(500);

/// A device that stays connected is asked again after this long. Meters disconnect by themselves after minutes
/// at the most; what stays (a monitor that is worn) sends its new values by itself, so this only finds what
/// was lost on the way.
pub(in crate::device::ble) const PERIOD: Duration = Duration::from_secs(300);

/// A device that was busy is asked again after this long.
pub(in crate::device::ble) const BUSY_WAIT: Duration = Duration::from_secs(20);

/// A drain is made longer this often at the most, for an answer that a decoder waits for: half a minute.
const MOST_DRAINS: u8 = 60;

/// How often what was not completed is asked for again at once.
const TRIES: u8 = 3;

/// "Client Characteristic Configuration Descriptor Improperly Configured" (Core Specification Supplement, B 1.2).
const NOT_SUBSCRIBED: u8 = 0xFD;
/// "Procedure Already In Progress" (the same).
const IN_PROGRESS: u8 = 0xFE;

/// What follows.
#[derive(Debug, PartialEq)]
pub(in crate::device::ble) enum Step {
    Write(GattWrite),
    /// It is asked, for the first time or again: what came before counts no more.
    Asks,
    /// Subscribe again to the data and to the control point, then [`Transfer::handle_subscribed`].
    SubscribeAgain,
    /// The time for another transfer has come: [`Transfer::begin`].
    Due,
    /// The device has said that it gave everything, and the drain is over; so many it said before there would be.
    Ended(Option<u32>),
    /// It ended otherwise.
    Failed,
    Report(Fault),
    /// No sign of life: [`Step::Failed`] came before.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is asked on this connection any more, or yet.
    Off,
    /// Nothing runs.
    Rests,
    Counts,
    Reports,
    Drains,
    Aborts,
    Subscribes,
    Deletes,
}

/// The procedures of one service on one connection.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a device, each learned by itself")]
pub(in crate::device::ble) struct Transfer {
    dialect: Box<dyn Dialect>,
    state: State,
    deadline: Option<Mono>,
    which: Records,
    expected: Option<u32>,
    /// Whether it is asked how many there are.
    asks_count: bool,
    /// Whether it understands from where on.
    knows_from: bool,
    may_subscribe_again: bool,
    may_abort: bool,
    may_delete: bool,
    tries: u8,
    /// How often the drain was made longer.
    drains: u8,
    steps: VecDeque<Step>,
}

impl Transfer {
    pub(super) fn new(dialect: Box<dyn Dialect>) -> Self {
        Self {
            dialect,
            state: State::Off,
            deadline: None,
            which: Records::All,
            expected: None,
            asks_count: true,
            knows_from: true,
            may_subscribe_again: true,
            may_abort: true,
            may_delete: true,
            tries: 0,
            drains: 0,
            steps: VecDeque::new(),
        }
    }

    pub(super) fn dialect(&self) -> &dyn Dialect {
        self.dialect.as_ref()
    }

    pub(super) fn dialect_mut(&mut self) -> &mut dyn Dialect {
        self.dialect.as_mut()
    }

    /// Whether the device understands from where on.
    pub(super) const fn knows_from(&self) -> bool {
        self.knows_from
    }

    pub(super) const fn rests(&self) -> bool {
        matches!(self.state, State::Rests)
    }

    pub(super) const fn poll_timeout(&self) -> Option<Mono> {
        self.deadline
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Asks for what is behind a number and for that itself; or for all.
    pub(super) fn begin(&mut self, from: Option<u32>, now: Mono) {
        self.which = from.filter(|_| self.knows_from).map_or(Records::All, Records::From);
        self.tries = 0;
        self.ask(now);
    }

    /// Whether so many records are all that were announced for the transfer that runs, or waits for stragglers.
    pub(super) fn is_drained(&self, count: u32) -> bool {
        matches!(self.state, State::Reports | State::Drains)
            && self.expected.is_some_and(|expected| expected <= count)
    }

    /// Waits on for what the end of a transfer still waits for. False when it has waited long enough.
    pub(super) fn drain_again(&mut self, now: Mono) -> bool {
        let may_wait = self.drains < MOST_DRAINS;
        if may_wait {
            self.drains += 1;
            self.drain(now);
        }
        may_wait
    }

    /// Nothing more on this connection.
    pub(super) fn end(&mut self) {
        self.state = State::Off;
        self.deadline = None;
    }

    /// Nothing more for a while.
    pub(super) fn rest(&mut self, wait: Duration, now: Mono) {
        self.state = State::Rests;
        self.deadline = Some(now + wait);
    }

    /// Asks sooner than planned, if it rests.
    pub(super) fn hurry(&mut self, wait: Duration, now: Mono) {
        if self.rests() {
            self.deadline = self.deadline.min(Some(now + wait));
        }
    }

    /// Deletes up to a number; true when it is asked.
    pub(super) fn delete(&mut self, last: u32, may: MayDelete, now: Mono) -> bool {
        let write = if self.rests() && self.may_delete { self.dialect.delete(last, may) } else { None };
        let Some(write) = write else { return false };
        self.run(State::Deletes, write, now);
        true
    }

    fn run(&mut self, state: State, write: GattWrite, now: Mono) {
        self.state = state;
        self.deadline = Some(now + PROCEDURE_LIMIT);
        self.steps.push_back(Step::Write(write));
    }

    fn ask(&mut self, now: Mono) {
        self.expected = None;
        self.drains = 0;
        self.steps.push_back(Step::Asks);
        let count = if self.asks_count { self.dialect.count(self.which) } else { None };
        match count {
            Some(write) => self.run(State::Counts, write, now),
            None => self.report(now),
        }
    }

    fn report(&mut self, now: Mono) {
        if let Some(write) = self.dialect.report(self.which) {
            return self.run(State::Reports, write, now);
        }
        self.all_instead("its control point cannot say from where on", now);
    }

    /// Without the filter, or not at all.
    fn all_instead(&mut self, why: &str, now: Mono) {
        if self.which != Records::All {
            self.knows_from = false;
            self.which = Records::All;
            return self.ask(now);
        }
        self.fail(
            FaultKind::Refused,
            format!("its stored records are not fetched on this connection: {why}"),
        );
        self.end();
    }

    fn fail(&mut self, kind: FaultKind, detail: String) {
        self.steps.push_back(Step::Report(Fault::new(kind, detail)));
        self.steps.push_back(Step::Failed);
    }

    /// Takes a value that may be of a record.
    pub(super) fn handle_data(&mut self, now: Mono) {
        match self.state {
            State::Counts | State::Reports => self.deadline = Some(now + PROCEDURE_LIMIT),
            State::Drains => self.deadline = Some(now + DRAIN),
            State::Off | State::Rests | State::Aborts | State::Subscribes | State::Deletes => {}
        }
    }

    /// Takes the end of a write to the control point.
    pub(super) fn handle_written(&mut self, result: &Result<(), String>, now: Mono) {
        let Err(reason) = result else { return };
        if reason == NOT_OFFERED {
            self.end();
            return self.steps.push_back(Step::Failed);
        }
        let error = att_error(reason);
        match self.state {
            State::Counts | State::Reports => match error {
                Some(NOT_SUBSCRIBED) if std::mem::take(&mut self.may_subscribe_again) => {
                    self.state = State::Subscribes;
                    self.deadline = Some(now + PROCEDURE_LIMIT);
                    self.steps.push_back(Step::SubscribeAgain);
                }
                Some(IN_PROGRESS) if std::mem::take(&mut self.may_abort) => self.abort(now),
                Some(IN_PROGRESS) => self.later("another procedure runs at its control point", now),
                Some(_) | None => {
                    self.fail(
                        FaultKind::Refused,
                        format!("its stored records cannot be asked for: {reason}"),
                    );
                    self.rest(PERIOD, now);
                }
            },
            // What was to be aborted may have ended by itself.
            State::Aborts => self.ask(now),
            State::Deletes => self.not_deleted(reason, now),
            State::Off | State::Rests | State::Drains | State::Subscribes => {}
        }
    }

    fn abort(&mut self, now: Mono) {
        match self.dialect.abort() {
            Some(write) => self.run(State::Aborts, write, now),
            None => self.later("another procedure runs at its control point", now),
        }
    }

    fn later(&mut self, why: &str, now: Mono) {
        self.fail(FaultKind::Refused, format!("its stored records are asked for later: {why}"));
        self.rest(BUSY_WAIT, now);
    }

    fn not_deleted(&mut self, why: &str, now: Mono) {
        self.may_delete = false;
        let detail = format!("records that are stored here were not deleted on it: {why}");
        self.steps.push_back(Step::Report(Fault::new(FaultKind::Refused, detail)));
        self.rest(PERIOD, now);
    }

    /// All is subscribed to again.
    pub(super) fn handle_subscribed(&mut self, now: Mono) {
        if self.state == State::Subscribes {
            self.ask(now);
        }
    }

    /// Takes a value of the control point.
    pub(super) fn handle_control(&mut self, value: &[u8], now: Mono) {
        let word = match self.dialect.read(value) {
            Ok(word) => word,
            Err(fault) => return self.steps.push_back(Step::Report(fault)),
        };
        match (self.state, word) {
            (State::Counts, Word::Count(0)) => self.drain(now),
            (State::Counts, Word::Count(count)) => {
                self.expected = Some(count);
                self.report(now);
            }
            (State::Counts, Word::Response(Procedure::Count, code)) => self.handle_uncounted(code, now),
            (State::Reports, Word::Response(Procedure::Report, code)) => self.handle_reported(code, now),
            (State::Aborts, Word::Response(Procedure::Abort, _)) => self.ask(now),
            (State::Deletes, Word::Response(Procedure::Delete, code)) => match code {
                Code::Success | Code::NoRecords => self.rest(PERIOD, now),
                other @ (Code::NotUnderstood(_)
                | Code::AbortUnsuccessful
                | Code::NotCompleted
                | Code::Busy
                | Code::Reserved(_)) => self.not_deleted(&format!("{other:?}"), now),
            },
            // The end of the procedure that is being aborted.
            (State::Aborts, Word::Response(Procedure::Report | Procedure::Count, _)) => {}
            (_, word) => {
                let detail = format!("its control point says {word:?} to nothing that was asked");
                self.steps.push_back(Step::Report(Fault::new(FaultKind::Unexpected, detail)));
            }
        }
    }

    /// It gave no number: it is asked without.
    fn handle_uncounted(&mut self, code: Code, now: Mono) {
        match code {
            Code::NoRecords => self.drain(now),
            Code::Busy => self.later("it is busy", now),
            Code::Success
            | Code::NotUnderstood(_)
            | Code::AbortUnsuccessful
            | Code::NotCompleted
            | Code::Reserved(_) => {
                self.asks_count = false;
                self.report(now);
            }
        }
    }

    fn handle_reported(&mut self, code: Code, now: Mono) {
        match code {
            Code::Success | Code::NoRecords => self.drain(now),
            Code::NotUnderstood(code) => self.all_instead(&format!("response code {code}"), now),
            Code::Busy => self.later("it is busy", now),
            Code::NotCompleted if self.tries < TRIES => {
                self.tries += 1;
                self.ask(now);
            }
            other @ (Code::NotCompleted | Code::AbortUnsuccessful | Code::Reserved(_)) => {
                self.fail(
                    FaultKind::Refused,
                    format!("its stored records did not come to their end: {other:?}"),
                );
                self.rest(PERIOD, now);
            }
        }
    }

    fn drain(&mut self, now: Mono) {
        self.state = State::Drains;
        self.deadline = Some(now + DRAIN);
    }

    /// Takes the passing of the time of `poll_timeout`.
    pub(super) fn handle_timeout(&mut self, now: Mono) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.deadline = None;
        match self.state {
            State::Off => {}
            State::Rests => self.steps.push_back(Step::Due),
            State::Drains => {
                // A connection that lasts may forget its subscriptions more than once.
                self.may_subscribe_again = true;
                self.may_abort = true;
                self.rest(PERIOD, now);
                self.steps.push_back(Step::Ended(self.expected));
            }
            State::Counts | State::Reports | State::Aborts | State::Subscribes | State::Deletes => {
                self.end();
                self.steps.push_back(Step::Failed);
                self.steps.push_back(Step::Dead);
            }
        }
    }
}

#[cfg(test)]
mod tests;
