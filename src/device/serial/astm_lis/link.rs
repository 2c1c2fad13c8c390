//! The receiver: when a frame counts, and when what is answered.

use super::message::{Message, Said};
use super::setup::{Begin, Numbers, Setup};
use super::wire::{Defect, Frame, Piece, Wire};
use super::{Again, AstmLis, HEARD, Line, NAK, Owed, PAUSE_MAX, QUIET, RECEIVER_TIMER, Tickets, Transfer};
use crate::device::observation::Observation;
use crate::device::serial::Faults;
use crate::device::{Action, Fault, FaultKind};
use crate::link::{LinkCommand, RequestId};
use crate::time::Mono;
use std::collections::VecDeque;

impl AstmLis {
    /// A driver that listens.
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            line: Line::Listening,
            wire: Wire::new(setup.longest),
            heard_at: Mono::default(),
            now: Mono::default(),
            transfer: None,
            message: Message::default(),
            again: Again::default(),
            is_repeat: false,
            owed: Owed::Nothing,
            acknowledged_at: None,
            has_asked: false,
            tickets: Tickets::default(),
            actions: VecDeque::new(),
            setup,
        }
    }

    pub(super) fn handle_up(&mut self) {
        self.break_off();
        self.wire.reset();
        // Observations that were not taken yet stay: they count as told.
        self.actions.retain(|action| !matches!(action, Action::Command(_)));
        self.has_asked = false;
        self.line = Line::Connected;
    }

    pub(super) fn handle_down(&mut self) {
        let mut faults = Faults::default();
        if self.line == Line::Listening {
            self.finish_wire(&mut faults);
        }
        self.actions.extend(faults.into_actions());
        self.break_off();
        self.wire.reset();
        self.line = Line::Closed;
    }

    pub(super) fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.line == Line::Closed {
            return;
        }
        self.heard_at = self.now;
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.wire.take(&mut input) {
            self.handle_piece(piece, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    pub(super) fn finish_wire(&mut self, faults: &mut Faults) {
        while let Some(piece) = self.wire.finish() {
            self.handle_piece(piece, faults);
        }
    }

    fn handle_piece(&mut self, piece: Piece, faults: &mut Faults) {
        match piece {
            Piece::Enq => self.handle_enq(faults),
            Piece::Eot => self.handle_eot(faults),
            Piece::Frame(frame) => self.handle_frame(frame, faults),
            Piece::Broken(defect) => {
                let (kind, detail) = match defect {
                    Defect::Checksum => (FaultKind::Checksum, "a frame's checksum is wrong"),
                    Defect::Number => (FaultKind::Framing, "a frame's number is not one of 0 to 7"),
                    Defect::CutOff => (FaultKind::Framing, "a frame does not end"),
                    Defect::TooLong => (
                        FaultKind::Framing,
                        "a frame is too long: if the analyser sends such, set longest_frame",
                    ),
                };
                faults.add(kind, detail);
                self.ask_again();
            }
            Piece::Noise(count, is_a_frame) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no frame"));
                if is_a_frame {
                    self.ask_again();
                }
            }
        }
    }

    /// The analyser wants to send. It has the answer when all that came before is durable: until
    /// then this side is busy.
    fn handle_enq(&mut self, faults: &mut Faults) {
        let has_transfer = self.transfer.is_some();
        if has_transfer {
            if !self.is_confirmed() {
                faults.add(FaultKind::Unexpected, "the analyser begins anew before it has ended");
            }
            self.end_transfer();
        }
        self.begin_transfer();
        // Within a transfer it may be damage; then the analyser goes on speaking.
        self.owe_answer(if has_transfer { self.now + QUIET } else { self.now });
    }

    fn handle_eot(&mut self, faults: &mut Faults) {
        if self.transfer.is_some() {
            if self.line == Line::Connected && !self.is_confirmed() {
                let detail = "the analyser ended before its message was acknowledged: it will send it again";
                faults.add(FaultKind::Unexpected, detail);
            }
            self.end_transfer();
        }
        self.owed = Owed::Nothing;
    }

    fn handle_frame(&mut self, frame: Frame, faults: &mut Faults) {
        if self.transfer.is_none() {
            if self.setup.begin == Begin::WithEnq && self.line == Line::Connected {
                let detail = "a frame without ENQ before it is not taken: if the analyser sends none, set enq = \"absent\"";
                faults.add(FaultKind::Unexpected, detail);
                return;
            }
            self.begin_transfer();
        }
        let until = self.now + RECEIVER_TIMER;
        if let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.is_refused) {
            if self.setup.begin == Begin::WithEnq {
                transfer.until = until;
                self.ask_again();
                return;
            }
            self.begin_transfer();
        }
        let now = self.now;
        let (is_repeat, is_next) = self.place(&frame);
        if let Some(transfer) = &mut self.transfer {
            transfer.until = now + RECEIVER_TIMER;
        }
        self.acknowledged_at = None;
        if is_repeat {
            self.owe_answer(now);
            return;
        }
        if !is_next {
            faults.add(FaultKind::Unexpected, "a frame's number is not the next one: not acknowledged");
            self.ask_again();
            return;
        }
        // On a copy: a frame that is refused changes nothing.
        let mut message = self.message.clone();
        match message.take(&frame, &self.setup) {
            Ok(said) => {
                let is_known_again = message.knows_again(&self.message, &said);
                self.message = message;
                for said in said {
                    self.handle_said(said, faults);
                }
                if let Some(transfer) = &mut self.transfer {
                    transfer.last = Some(frame);
                    transfer.is_last_known_again = is_known_again;
                }
                self.owe_answer(now);
            }
            Err(why) => {
                faults.add(FaultKind::Unexpected, format!("{why}: the frame is not acknowledged"));
                self.ask_again();
            }
        }
    }

    /// Whether a frame is the last one again, and if not, whether it is the next one.
    fn place(&self, frame: &Frame) -> (bool, bool) {
        let Some(transfer) = &self.transfer else { return (false, true) };
        let is_counted = self.setup.numbers == Numbers::Checked && self.line == Line::Connected;
        let begins_anew = self.setup.begin == Begin::AtOnce && transfer.is_ended;
        // Where the number says nothing, another result can look the same. What was not acknowledged comes
        // again for that reason.
        let may_be_another = if begins_anew {
            frame.text.first().is_some_and(|kind| kind.eq_ignore_ascii_case(&b'H'))
        } else {
            self.setup.numbers == Numbers::Ignored
        };
        let is_answered = self.line == Line::Listening || self.acknowledged_at.is_some();
        let is_other = may_be_another && is_answered && !transfer.is_last_known_again;
        let is_repeat = transfer.last.as_ref() == Some(frame) && !is_other;
        let expected = transfer.last.as_ref().map_or(1, |last| (last.number + 1) % 8);
        (is_repeat, !is_counted || begins_anew || frame.number == expected)
    }

    fn handle_said(&mut self, said: Said, faults: &mut Faults) {
        match said {
            Said::Began(identity) => {
                self.set_ended(false);
                self.actions.push_back(Action::identify(identity));
            }
            Said::Result { key, observations, .. } => {
                self.is_repeat = !self.again.is_new(key);
                if !self.is_repeat {
                    for said in observations {
                        self.observe(said);
                    }
                }
            }
            Said::Comment(said) => {
                if !self.is_repeat {
                    self.observe(said);
                }
            }
            Said::Ended { is_normal } => self.set_ended(is_normal),
            Said::Asked => {
                if !std::mem::replace(&mut self.has_asked, true) {
                    let detail = "the analyser asks for orders and gets none: set it to send results only";
                    faults.add(FaultKind::Unexpected, detail);
                }
            }
            Said::Wrong(Fault { kind, detail }) => faults.add(kind, detail),
        }
    }

    fn observe(&mut self, said: Observation) {
        self.tickets.without += 1;
        self.actions.push_back(Action::observe(said));
    }

    fn set_ended(&mut self, is_ended: bool) {
        if let Some(transfer) = &mut self.transfer {
            transfer.is_ended = is_ended;
        }
    }

    fn begin_transfer(&mut self) {
        let until = self.now + RECEIVER_TIMER;
        self.transfer = Some(Transfer {
            last: None,
            is_last_known_again: true,
            until,
            is_ended: false,
            is_refused: false,
        });
        self.message.reset();
        self.acknowledged_at = None;
    }

    /// Whether the analyser knows that all it sent has arrived.
    fn is_confirmed(&self) -> bool {
        let is_ended = self.transfer.as_ref().is_some_and(|transfer| transfer.is_ended);
        // A capture of the analyser's side does not show what it was answered.
        let is_heard =
            self.line == Line::Listening || self.acknowledged_at.is_some_and(|at| self.now.since(at) < HEARD);
        is_ended && is_heard
    }

    pub(super) fn end_transfer(&mut self) {
        if self.is_confirmed() {
            self.again.handle_end();
        } else {
            self.again.handle_break();
        }
        self.transfer = None;
        self.message.reset();
        self.acknowledged_at = None;
        self.owed = Owed::Nothing;
    }

    fn break_off(&mut self) {
        self.acknowledged_at = None;
        self.end_transfer();
    }

    fn owe_answer(&mut self, from: Mono) {
        if self.line == Line::Connected {
            self.owed = Owed::Answer { from, until: from + self.setup.hold };
        }
    }

    fn ask_again(&mut self) {
        let waits = self.transfer.is_some() || self.setup.begin == Begin::AtOnce;
        if self.line == Line::Connected && waits {
            self.owed = Owed::Nak;
        }
    }

    pub(super) fn send(&mut self, request: RequestId) {
        self.owed = Owed::Nothing;
        self.actions.push_back(Action::Command(LinkCommand::Send(request)));
    }

    /// Something that was taken is refused because of who sent it. When it came before the transfer that is
    /// under way, that one goes on: its own frames are answered when they come.
    pub(super) fn refuse_transfer(&mut self) {
        self.again.handle_refused();
        let Some(transfer) = self.transfer.as_mut().filter(|transfer| transfer.last.is_some()) else {
            return;
        };
        if std::mem::replace(&mut transfer.is_refused, true) {
            return;
        }
        transfer.is_ended = false;
        self.message.reset();
        self.acknowledged_at = None;
        let detail =
            "results are not acknowledged: the analyser is not the one that is expected here and keeps them";
        self.actions.push_back(Action::Report(Fault::new(FaultKind::Unexpected, detail)));
        if self.owed != Owed::Nothing {
            self.ask_again();
        }
    }

    /// When what the line holds counts as all there is.
    pub(super) fn quiet_at(&self) -> Mono {
        self.heard_at + if self.wire.is_inside() { PAUSE_MAX } else { QUIET }
    }

    pub(super) fn handle_late(&mut self, faults: &mut Faults) {
        let detail = format!(
            "results are not on storage after {} s: the analyser is told to send them again",
            self.setup.hold.as_secs()
        );
        faults.add(FaultKind::Timeout, detail);
        // The answer to ENQ: this side is busy, and there is no transfer.
        if self.transfer.as_ref().is_some_and(|transfer| transfer.last.is_none()) {
            self.end_transfer();
        }
        self.send(NAK);
    }
}
