//! What the ventilator's answers mean for the conversation.
//!
//! In: whole messages and blocks, by the phase in which they come. Out: what was asked for is taken, what
//! was not is a fault; an answer that is wrong or away leads to the question again, to the start of the
//! conversation, or to the next thing where it can be done without.

use super::super::Faults;
use super::queries::{Asked, Group, Tables, VERSION_MAX};
use super::wire::Piece;
use super::{MaquetServoI, Phase, STILL_MAX, STREAM_QUIET, Stage, UNANSWERED_MAX};
use crate::device::alarms::Level;
use crate::device::{FaultKind, Identity};
use crate::time::Mono;

/// The error that says: in standby.
pub(super) const STANDBY: u8 = 17;

/// Where the table of alarm channels is cut when an interface refuses all of it: before heliox and
/// catheter, before the limits of rate and pressure, before standby and leakage.
const ALARMS_MOST: [u16; 3] = [440, 434, 426];

impl MaquetServoI {
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Mono, faults: &mut Faults) {
        let mut input = bytes;
        match &mut self.phase {
            Phase::Closed => return,
            Phase::Settling { .. } => {
                if let Some(count) = &mut self.discarded {
                    *count = count.saturating_add(bytes.len());
                }
                return;
            }
            Phase::Waiting { until, latest, .. } if !bytes.is_empty() => {
                *until = (*until).max(now + STILL_MAX).min(*latest);
            }
            Phase::Streaming { quiet, .. } => *quiet = now + STREAM_QUIET,
            Phase::Listening | Phase::Idle | Phase::Waiting { .. } => {}
        }
        // A message can turn the ear from text to a stream and back, so it is asked before each piece.
        loop {
            let is_stream = matches!(self.phase, Phase::Streaming { .. })
                || matches!(self.heard, Some((Asked::Stream, _)));
            if matches!(self.phase, Phase::Settling { .. } | Phase::Closed) {
                return;
            }
            if is_stream {
                let Some(block) = self.stream.take(&mut input) else { return };
                self.handle_block(&block, now, faults);
            } else {
                let Some(piece) = self.lines.take(&mut input) else { return };
                self.handle_piece(piece, now, faults);
            }
        }
    }

    fn handle_piece(&mut self, piece: Piece, now: Mono, faults: &mut Faults) {
        match (piece, self.phase) {
            (Piece::Text(text), Phase::Listening) => self.handle_heard(&text, faults),
            (Piece::Text(text), Phase::Waiting { asked, .. }) => {
                self.handle_answer(asked, &text, now, faults);
                self.ask_next(now);
            }
            // Until the interface has answered EOT, only that answer counts.
            (Piece::Broken(..), Phase::Waiting { asked: Asked::Wake, .. }) => {}
            (Piece::Broken(kind, detail), Phase::Waiting { asked, .. }) => {
                faults.add(kind, detail);
                self.handle_failure(asked, now);
            }
            (Piece::Broken(kind, detail), _) => {
                // In a capture it can have been a question: what follows is not the answer to the one before it.
                self.heard = None;
                faults.add(kind, detail);
            }
            (Piece::Text(_), _) => {
                faults.add(FaultKind::Unexpected, "a message came although nothing was asked");
            }
        }
    }

    /// A question stayed without a right answer.
    pub(super) fn handle_failure(&mut self, asked: Asked, now: Mono) {
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= UNANSWERED_MAX {
            self.hang_up("three questions in a row without a right answer");
            return;
        }
        // The alarms of the round wait for its end: readings that cannot be had must not keep them.
        let is_left_out = matches!(asked, Asked::Read(Group::Breath | Group::Setting))
            && self.unanswered.saturating_add(1) >= UNANSWERED_MAX;
        self.left_out = self.left_out.saturating_add(u32::from(is_left_out));
        if asked != Asked::Wake && !is_left_out {
            self.plan.push_front(asked);
        }
        self.wake(now);
    }

    fn handle_answer(&mut self, asked: Asked, text: &str, now: Mono, faults: &mut Faults) {
        if asked == Asked::Wake {
            // Anything else is an answer to an earlier question, and `*` comes behind it.
            if text == "*" {
                self.phase = Phase::Idle;
            }
            return;
        }
        // `*` is only an answer where something is set; elsewhere it is a second answer to EOT.
        let is_set = matches!(asked, Asked::SetVersion(_) | Asked::Define(_));
        if text == "*" && !is_set {
            faults.add(FaultKind::Unexpected, "a second answer to EOT");
            return;
        }
        self.phase = Phase::Idle;
        let error = text.strip_prefix("ER").and_then(|digits| digits.parse::<u8>().ok());
        if let Some(number) = error {
            self.handle_error(asked, number, now, faults);
            return;
        }
        if self.take_answer(asked, text, now, faults) {
            self.unanswered = 0;
            return;
        }
        faults.add(FaultKind::Malformed, format!("the answer to {} has another form", asked.name()));
        // Once can be the line: an answer that is spoiled can have a right checksum.
        if asked.is_optional() && self.unanswered > 0 {
            self.do_without(asked);
        } else {
            self.handle_failure(asked, now);
        }
    }

    /// Takes an answer of the right form. False: it has another.
    fn take_answer(&mut self, asked: Asked, text: &str, now: Mono, faults: &mut Faults) -> bool {
        match asked {
            Asked::Type => {
                let is_type = self.take_type(text, faults);
                if is_type {
                    self.plan.push_back(Asked::Serial);
                }
                is_type
            }
            Asked::Serial => self.take_serial(text, now, faults),
            Asked::Software => {
                let is_new = self.stage == Stage::Identity;
                self.software = Some(super::super::text(text.trim()));
                if is_new {
                    self.tell_identity(faults);
                }
                true
            }
            Asked::Highest => match version(text) {
                Some(highest) => {
                    let version = highest.min(VERSION_MAX);
                    self.plan.extend([Asked::SetVersion(version), Asked::Version]);
                    true
                }
                None => false,
            },
            Asked::SetVersion(_) => text == "*",
            Asked::Version => version(text).is_some(),
            Asked::Define(group) => {
                let is_taken = text == "*";
                if is_taken {
                    let channels = self.chosen(group);
                    self.tables.set(group, channels);
                }
                is_taken
            }
            Asked::Config(_) | Asked::Time | Asked::Overview | Asked::Read(_) => {
                self.take_reading(asked, text, faults)
            }
            Asked::Wake | Asked::Stream | Asked::Other => true,
        }
    }

    /// `RSEN`: who it is at the start, whether it is still the same at the end of a round.
    fn take_serial(&mut self, text: &str, now: Mono, faults: &mut Faults) -> bool {
        let said = text.trim();
        if said.is_empty() || said.len() > 32 {
            return false;
        }
        if self.stage == Stage::Identity {
            self.serial = Some(said.to_owned());
            self.plan.push_back(Asked::Software);
        } else if self.serial.as_deref() == Some(said) {
            self.restarts = 0;
            self.tell_identity(faults);
            self.tell_held();
            if self.left_out > 0 && self.renew_at <= now {
                // The tables are perhaps not what they are taken for.
                self.restart(now);
                return true;
            }
            let may_stream = !self.tables.curve.is_empty() && !self.is_standby && self.stream_due <= now;
            if may_stream {
                self.plan.push_back(Asked::Stream);
            }
        } else {
            let detail = "another ventilator answers: nothing passes until it has said who it is";
            faults.add(FaultKind::Unexpected, detail);
            self.restart(now);
        }
        true
    }

    pub(super) fn tell_identity(&mut self, faults: &mut Faults) {
        let Some(serial) = self.serial.clone() else { return };
        // The interface says 0 where there is no serial number.
        let is_missing = serial.bytes().all(|digit| digit == b'0');
        let identity = Identity {
            maker: Some("Maquet".to_owned()),
            model: self.model.clone(),
            serial: (!is_missing).then(|| super::super::text(&serial)),
            firmware: self.software.clone(),
        };
        if self.alarms_of.as_ref() != Some(&serial) {
            self.alarms.forget();
            self.alarms_of = Some(serial);
        }
        if self.told.as_ref() == Some(&identity) {
            return;
        }
        if is_missing {
            let detail = "the ventilator has no serial number (RSEN says 0): have service enter it";
            faults.add(FaultKind::Malformed, detail);
        }
        self.told = Some(identity.clone());
        self.actions.push_back(crate::device::Action::identify(identity));
    }

    fn handle_error(&mut self, asked: Asked, number: u8, now: Mono, faults: &mut Faults) {
        if number == STANDBY {
            self.is_standby = true;
            // What is refused for now besides readings is made up for later.
            self.left_out = self.left_out.saturating_add(u32::from(!matches!(asked, Asked::Read(_))));
            // The alarms cannot be read in standby; that there are none can.
            if asked == Asked::Read(Group::Alarm) && self.overview == Some(0) {
                self.held_level = Some(Level::new());
            }
            return;
        }
        // A channel that this version or model does not have is left out.
        if matches!((asked, number), (Asked::Config(_), 11..=16)) {
            return;
        }
        faults.add(FaultKind::Refused, refusal(asked.name(), number));
        let fewer = ALARMS_MOST.into_iter().find(|&most| most < self.alarm_most);
        match (asked, number) {
            // An older interface does not know the newer alarms: better fewer of them than none.
            (Asked::Define(Group::Alarm), 11..=15) if fewer.is_some() => {
                self.alarm_most = fewer.unwrap_or_default();
                self.plan.push_front(asked);
            }
            // Spoiled on its way, or too much at once: again.
            (_, 18..) => self.handle_failure(asked, now),
            (Asked::Config(_), _) => self.restart(now),
            (_, _) if asked.is_optional() => self.do_without(asked),
            // In BASIC mode after a power cycle, or the tables are gone.
            (_, _) => self.restart(now),
        }
    }

    fn do_without(&mut self, asked: Asked) {
        self.phase = Phase::Idle;
        self.has_overview &= asked != Asked::Overview;
        self.has_time &= asked != Asked::Time;
    }

    /// Ends a stream to ask who streams. What flows until it has ended is no fault.
    pub(super) fn stop_stream(&mut self, now: Mono) {
        self.round = 0;
        self.due = now;
        self.plan.clear();
        self.wake(now);
    }

    /// A message of a capture: a host's question, or the answer to the last one.
    fn handle_heard(&mut self, text: &str, faults: &mut Faults) {
        if let Some((asked, channels)) = Asked::read(text) {
            self.stream = super::Stream::new();
            self.breath_phase = None;
            if asked == Asked::Stream {
                self.time = None;
            }
            if asked == Asked::Type {
                self.tables = Tables::default();
            }
            self.heard = Some((asked, channels));
            return;
        }
        let heard = self.heard.take();
        if heard.is_none()
            && !matches!(text, "*" | "900PCI")
            && !text.starts_with("ER")
            && !text.starts_with("BER")
        {
            faults.add(FaultKind::Unexpected, "an answer to a question that was not heard: not passed on");
        }
        let (asked, channels) = heard.unwrap_or((Asked::Other, Vec::new()));
        if let Some(number) = text.strip_prefix("BER").or_else(|| text.strip_prefix("ER")) {
            match number.parse::<u8>() {
                Ok(STANDBY) => {
                    self.is_standby = true;
                    self.tell_state();
                }
                Ok(number) => faults.add(FaultKind::Refused, refusal(asked.name(), number)),
                Err(_) => faults.add(FaultKind::Malformed, "an error without a number"),
            }
            return;
        }
        let is_taken = match asked {
            // What another host asks besides is not looked into: it can be the patient's identification.
            Asked::Other => true,
            Asked::Define(group) if text == "*" => {
                self.tables.set(group, channels);
                true
            }
            Asked::Serial => {
                self.serial = Some(text.trim().to_owned());
                self.tell_identity(faults);
                true
            }
            Asked::Type => self.take_type(text, faults),
            Asked::Software => {
                self.software = Some(super::super::text(text.trim()));
                self.tell_identity(faults);
                true
            }
            Asked::Highest | Asked::Version => version(text).is_some(),
            Asked::Config(_) | Asked::Time | Asked::Overview | Asked::Read(_) => {
                text == "*" || self.take_reading(asked, text, faults)
            }
            Asked::Wake | Asked::SetVersion(_) | Asked::Define(_) | Asked::Stream => text == "*",
        };
        if !is_taken {
            faults.add(FaultKind::Malformed, format!("the answer to {} has another form", asked.name()));
        }
        self.tell_held();
    }

    /// `Servo-i0`: the model, and whether the interface hears the ventilator.
    fn take_type(&mut self, text: &str, faults: &mut Faults) -> bool {
        let Some((model, state)) = text.split_at_checked(text.len().saturating_sub(1)) else { return false };
        if !model.starts_with("Servo") || !matches!(state, "0" | "1") {
            return false;
        }
        if state == "1" {
            let detail = "the interface does not hear the ventilator (RCTY ends in 1): have it serviced";
            faults.add(FaultKind::Refused, detail);
        }
        self.model = Some(super::super::text(model));
        true
    }
}

fn version(text: &str) -> Option<u8> {
    text.trim().parse().ok().filter(|&version| version > 0)
}

/// An error's meaning (CIE manual, error codes).
pub(super) fn refusal(asked: &str, number: u8) -> String {
    let meaning = match number {
        10 => "it does not know the command",
        11 => "syntax",
        12 => "out of range",
        13..=15 => "trend",
        16 => "not configured",
        18 => "the checksum of the question was wrong",
        19 => "its buffer is full: use fewer curves, or check that the line's speed is right",
        _ => "an error that the manual does not list",
    };
    format!("the ventilator refused {asked} with error {number}: {meaning}")
}
