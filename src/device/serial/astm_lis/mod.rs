//! Glucose and point-of-care analysers by ASTM E1381 and E1394 (CLSI LIS1-A and LIS2-A2).
//!
//! In: `ENQ`, frames, `EOT` of an analyser that sends its results. Out: who it is, with each message;
//! its results; `ACK` or `NAK`, and nothing else: no orders are sent, so this side never asks for the
//! line, and where both want it the analyser has it.
//!
//! **What is acknowledged when.** `ACK` ends the analyser's duty to keep a result. So a frame is
//! acknowledged only when every observation of it, and of all frames before it, is on durable
//! storage ([`Driver::handle_durable`]). A frame that completes no result is acknowledged at once
//! if nothing else is waiting: what stands in it (the header, the beginning of a result that goes on
//! behind ETB) is in memory only, and that is enough, because an analyser never takes up a message in
//! the midst of a record: when the line breaks before the record's last frame is acknowledged, it
//! sends header, patient, order and the record again. While storage takes its time the
//! analyser's timer runs (15 s): after `hold_seconds` the answer is `NAK`, so that it sends again.
//!
//! **Of another analyser.** Results that are refused because the analyser is not the one that the site
//! expects are not stored, so they are not acknowledged either ([`Driver::handle_refused`]): the frame they
//! stood in is answered `NAK`, and so is every frame until the next ENQ (without ENQ: until the next header).
//! What of that transmission counted as taken does not any more. The analyser keeps its results, and tells them
//! when the site expects it. Results whose element the site does not list are acknowledged: it chose so.
//!
//! **What comes again.** The frame that came last, number and text, is acknowledged and not taken
//! twice. Of a transmission that broke off, or whose last `ACK` may not have arrived, the results are
//! remembered ([`again`]): they are acknowledged and not told again. A result without a time of day in
//! it, its order or its header cannot be known again: it is told twice rather than lost. So are
//! the results of an unfinished message when this program was restarted in between: what it
//! remembers dies with it. When only the device's entry changes, it is handed on ([`Driver::told`]).
//!
//! Where the number says nothing (`frame_numbers = "ignored"`, or a message in one frame without `ENQ`), two
//! frames that are alike may be one that comes again or two readings. When the first was not acknowledged, or
//! its header or its results say at what time of day they were made, it is the same one again. Else it is
//! taken: a reading whose `ACK` was damaged on the line is then told twice, rather than one of two lost.
//!
//! **One answer for one turn.** An analyser that hears an answer too much takes it for that of the
//! next frame, which then counts as received. So nothing is answered while a byte comes in; after
//! damage the line must be quiet first; and an answer whose time has passed is dropped.
//!
//! What can go wrong and is counted: damage, frames out of order, frames without a header (not
//! acknowledged), records that cannot be read. A result record is always told in some form: of one that
//! is longer than 64 KiB the fields up to there, as questionable text, with a fault. Other records that cannot
//! be read are acknowledged, as the same would come again; but a header is refused, and the results below an
//! order or a patient that is too long are questionable.
//!
//! What never happens: `ACK` for a result that is not stored (but one whose element the site does not list); a result before its message said who
//! sends it; patient, specimen number or operator in anything that leaves this module.
//!
//! Identity is what the header claims. It comes with every message and not with every frame: an
//! analyser that takes over the line within a message without `ENQ` would go unnoticed until its header.

mod again;
mod codes;
mod link;
mod message;
mod readings;
mod record;
mod setup;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::nomenclature as mdc;
use crate::device::{Action, Driver, FaultKind, Ticket};
use crate::link::{AllowSet, Line as PortLine, LinkCommand, LinkEvent, Parity, Request, RequestId};
use crate::time::{Mono, Now};
use again::Again;
use message::Message;
use setup::{Begin, Setup};
use wire::{Frame, Wire};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "astm-lis",
    title: "Glucose or point-of-care analyser, ASTM E1381/E1394 (LIS1-A, LIS2-A2)",
    class: Class::Monitor,
    line: PortLine { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &mdc::CONC_GLU_GEN,
        &mdc::CONC_GLU_CAPILLARY_WHOLEBLOOD,
        &mdc::CONC_GLU_CAPILLARY_PLASMA,
        &codes::ASTM_RESULT,
        &codes::ASTM_ABNORMAL_FLAG,
        &codes::ASTM_RESULT_STATUS,
        &codes::ASTM_COMMENT,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &setup::SETTINGS,
    // It speaks when somebody measures, and at night nobody may.
    quiet: Duration::from_secs(86_400),
    driver: &|settings| Box::new(AstmLis::new(Setup::of(settings))),
};

/// All that is ever sent. `EOT` as an answer would acknowledge too, and `ENQ` would ask for the line.
const REQUESTS: [Request; 2] = [Request::fixed("ACK", b"\x06"), Request::fixed("NAK", b"\x15")];
const ACK: RequestId = RequestId(0);
const NAK: RequestId = RequestId(1);

/// How long the line must be quiet before damage is answered, and before a frame without its line end
/// counts. Long against the pauses of adapters (16 ms), short against the analyser's timer (15 s).
const QUIET: Duration = Duration::from_millis(500);

/// How long an analyser may pause within a frame.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long a receiver waits for a frame or EOT (LIS1-A: 30 s).
const RECEIVER_TIMER: Duration = Duration::from_secs(30);

/// An analyser that did not hear the last ACK ends after its own timer (LIS1-A: 15 s). One that ends
/// sooner heard it.
const HEARD: Duration = Duration::from_secs(12);

/// What the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Never connected: reads whatever comes and answers nothing.
    Listening,
    Connected,
    Closed,
}

/// What the analyser waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// ACK as soon as all is durable, not before `from`; NAK at `until`.
    Answer {
        from: Mono,
        until: Mono,
    },
    /// NAK when the line is quiet.
    Nak,
}

/// From ENQ to EOT.
#[derive(Debug)]
struct Transfer {
    /// The frame that was taken last.
    last: Option<Frame>,
    /// Whether that one tells itself apart from any other, without its number.
    is_last_known_again: bool,
    /// When the receiver gives up.
    until: Mono,
    /// Whether the last message has ended, and normally.
    is_ended: bool,
    /// Whether something of it was refused because of who sends it: nothing more of it is taken.
    is_refused: bool,
}

/// What is on its way to durable storage.
#[derive(Debug, Default)]
struct Tickets {
    /// Observations that have no ticket yet.
    without: usize,
    last: Ticket,
    durable: Ticket,
}

impl Tickets {
    fn are_durable(&self) -> bool {
        self.without == 0 && self.last <= self.durable
    }
}

/// The driver.
#[derive(Debug)]
struct AstmLis {
    setup: Setup,
    line: Line,
    wire: Wire,
    /// When the last byte came.
    heard_at: Mono,
    now: Mono,
    transfer: Option<Transfer>,
    message: Message,
    again: Again,
    /// Whether the last result came again, and its remarks with it.
    is_repeat: bool,
    owed: Owed,
    /// When ACK was given for what the transfer holds, if it was for all of it.
    acknowledged_at: Option<Mono>,
    has_asked: bool,
    tickets: Tickets,
    actions: VecDeque<Action>,
}

impl Driver for AstmLis {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        self.now = now.mono;
        match event {
            LinkEvent::Up => self.handle_up(),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes),
            LinkEvent::Down(_) => self.handle_down(),
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.now = now.mono;
        if self.line != Line::Connected {
            return;
        }
        let mut faults = Faults::default();
        if self.wire.is_waiting() && self.quiet_at() <= self.now {
            self.finish_wire(&mut faults);
        }
        match self.owed {
            Owed::Nak if !self.wire.is_waiting() && self.quiet_at() <= self.now => self.send(NAK),
            Owed::Answer { until, .. } if !self.wire.is_waiting() && until <= self.now => {
                // What is durable at the last moment is acknowledged.
                if !self.tickets.are_durable() {
                    self.handle_late(&mut faults);
                }
            }
            Owed::Nothing | Owed::Nak | Owed::Answer { .. } => {}
        }
        if self.transfer.as_ref().is_some_and(|transfer| transfer.until <= self.now) {
            // One that never sends EOT is quiet after its last message.
            let is_whole = self.setup.begin == Begin::AtOnce
                && self.transfer.as_ref().is_some_and(|transfer| transfer.is_ended);
            if is_whole && self.acknowledged_at.is_some() {
                self.acknowledged_at = Some(self.now);
            } else {
                let detail = "no frame in 30 s: the message is given up, the analyser will send it again";
                faults.add(FaultKind::Timeout, detail);
            }
            self.end_transfer();
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_durable(&mut self, through: Ticket, now: Now) {
        self.now = now.mono;
        self.tickets.durable = self.tickets.durable.max(through);
    }

    fn handle_refused(&mut self, _: Ticket, now: Now) {
        self.now = now.mono;
        self.refuse_transfer();
    }

    fn told(&self) -> Option<Vec<u64>> {
        Some(self.again.told())
    }

    fn handle_told(&mut self, keys: Vec<u64>) {
        self.again.handle_told(keys);
    }

    fn handle_ticket(&mut self, ticket: Ticket) {
        self.tickets.without = self.tickets.without.saturating_sub(1);
        self.tickets.last = self.tickets.last.max(ticket);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        if self.line != Line::Connected {
            return None;
        }
        let is_waiting = self.wire.is_waiting();
        let answer = match self.owed {
            Owed::Nothing => None,
            Owed::Nak | Owed::Answer { .. } if is_waiting => None,
            Owed::Nak => Some(self.quiet_at()),
            Owed::Answer { from, .. } if self.now < from => Some(from),
            Owed::Answer { until, .. } => Some(until),
        };
        let line = is_waiting.then(|| self.quiet_at());
        let transfer = self.transfer.as_ref().map(|transfer| transfer.until);
        [answer, line, transfer].into_iter().flatten().min()
    }

    fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        let Owed::Answer { from, .. } = self.owed else { return None };
        let is_due = self.line == Line::Connected && from <= self.now && !self.wire.is_waiting();
        if !is_due || !self.tickets.are_durable() {
            return None;
        }
        self.owed = Owed::Nothing;
        self.acknowledged_at = Some(self.now);
        Some(Action::Command(LinkCommand::Send(ACK)))
    }
}
