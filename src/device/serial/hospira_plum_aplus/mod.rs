//! Hospira Plum A+ infusion pumps, up to three in a chain, at the `DataPort` (PROTOCOLS.md 1.3).
//!
//! In: the pumps' replies. Out: one question at a time, each pump's rate, volumes, drug, status words, the
//! edges of its alarms. A pump is silent unless asked. Pumps are told apart by the number 1, 2, 3 that each is
//! given in the chain, and that each reply carries.
//!
//! The conversation: after `Up` everything is thrown away for a moment, and number 0 is asked for its status,
//! which any pump answers; then the pumps are asked in turn, each for its numbers and then for its alarm. A pump
//! that has not answered yet is asked once in [`REST`]; one that misses as many questions in a row as
//! the setting `missed` says is gone. At 1200 baud an exchange takes more than half a second, so with three
//! pumps an alarm is known after 7 s at most.
//!
//! The protocol has no serial number that is public: a pump says its number in the chain and nothing else, so
//! its entry needs `trust = "link-only"`; without that its readings are refused. Where the field behind the
//! number is found to be the pump's own ("hard") id, the setting `field1` makes it the serial number, and
//! every reply then proves whose it is. Without it nobody sees that two pumps were exchanged: what remains.
//!
//! What never happens: a reading of one pump as another's, as the number says; a reply to anything else than the
//! question that is outstanding; a byte to a pump that is not of [`REQUESTS`], seven inquiries.

mod alarms;
mod codes;
mod line;
mod pump;
mod questions;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::{Faults, observation};
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Break, Delimited, Piece};
use crate::device::nomenclature as mdc;
use crate::device::observation::{Kind, Value};
use crate::device::settings::Settings;
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line as LineSettings, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use line::Line;
use pump::{Mapping, Pump};
use questions::{Ask, REQUESTS, SETTINGS};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "hospira-plum-aplus",
    title: "Hospira Plum A+ infusion pump, up to three in a chain (DataPort)",
    class: Class::Therapy,
    line: LineSettings { baud: 1_200, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &mdc::FLOW_FLUID_PUMP,
        &mdc::VOL_FLUID_TBI,
        &mdc::VOL_FLUID_DELIV,
        &mdc::DRUG_NAME,
        &mdc::PUMP_STAT,
        &codes::SOUNDING,
        &codes::PUMPS,
        &codes::VT1,
        &codes::TV1,
        &mdc::EVT_ALARM,
        &mdc::EVT_COMM_LOST,
        &mdc::EVT_OCCL,
        &mdc::EVT_BATT_LO,
        &mdc::EVT_FLUID_LINE_AIR,
        &mdc::EVT_PUMP_VOL_TBI_COMP,
        &mdc::EVT_PUMP_DELIV_COMP,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::Many { word: "pump", names: &["1", "2", "3"] },
    settings: &SETTINGS,
    // With three pumps and the slowest pace of the settings a turn takes 60 s; a reply may be lost besides.
    quiet: Duration::from_secs(90),
    driver: &|settings| Box::new(HospiraPlumAPlus::new(settings)),
};

/// How long everything is thrown away after `Up`: what a reply of 70 bytes takes.
const SETTLE: Duration = Duration::from_millis(600);

/// From a reply to the next question, at least.
const GAP: Duration = Duration::from_millis(100);

/// How often a number is tried that nobody has answered.
const REST: Duration = Duration::from_secs(15);

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// Nothing is outstanding, and nothing is asked until then.
    Idle { until: Mono },
    /// A question is outstanding.
    Waiting { ask: Ask, since: Mono, until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct HospiraPlumAPlus {
    mapping: Mapping,
    patience: Duration,
    pace: Duration,
    missed_max: u32,
    framer: Delimited,
    phase: Phase,
    /// What was asked last.
    last: Ask,
    pumps: [Pump; 3],
    is_chain_told: bool,
    /// Whether any pump has answered in this turn.
    is_turn_answered: bool,
    /// Questions in a row that were not answered, but for those to numbers that nobody is known to have.
    missed: u32,
    discarded: usize,
    actions: VecDeque<Action>,
}

impl HospiraPlumAPlus {
    fn new(settings: &Settings) -> Self {
        let number = |name, least: u64| u64::try_from(settings.number(name)).unwrap_or_default().max(least);
        let is_checked = settings.word("reply_crc") != "ignore";
        Self {
            mapping: Mapping::new(settings),
            patience: Duration::from_millis(number("patience_ms", 2_000)),
            pace: Duration::from_millis(number("pace_ms", 300)),
            missed_max: u32::try_from(number("missed", 2)).unwrap_or(u32::MAX),
            framer: Delimited::new(if is_checked { line::CHECKED } else { line::UNCHECKED }),
            phase: Phase::Listening,
            last: Ask::Probe,
            pumps: [1, 2, 3].map(Pump::new),
            is_chain_told: false,
            is_turn_answered: false,
            missed: 0,
            discarded: 0,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        self.framer.reset();
        // The alarms that are on are kept: they are compared again once each pump has answered.
        self.pumps.iter_mut().for_each(Pump::reset);
        self.actions.clear();
        (self.is_chain_told, self.is_turn_answered, self.missed, self.discarded) = (false, false, 0, 0);
        self.last = Ask::Probe;
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        match self.phase {
            Phase::Closed => return,
            Phase::Settling { .. } => {
                self.discarded = self.discarded.saturating_add(bytes.len());
                return;
            }
            Phase::Listening | Phase::Idle { .. } | Phase::Waiting { .. } => {}
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, now, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        let is_probed = matches!(self.phase, Phase::Waiting { ask: Ask::Probe, .. });
        match piece {
            Piece::Frame(span) => match line::read(span) {
                Some(Line::Reply(0, _)) if is_probed => self.answered(now),
                Some(Line::Reply(number, fields)) => self.handle_reply(number, &fields, now, faults),
                // A host's question, in a capture; on the line it is this gateway's, sent back.
                Some(Line::Request) if self.phase == Phase::Listening => {}
                Some(Line::Request) => faults
                    .add(FaultKind::Unexpected, "a question came back: is there a second host on the line?"),
                None => faults.add(FaultKind::Malformed, format!("{} bytes say nothing", span.len())),
            },
            Piece::Broken(span, Break::Refused) if is_probed && line::is_status(span) => self.answered(now),
            Piece::Broken(..) | Piece::Noise(_) => {
                let (kind, detail) = line::fault_of(piece);
                faults.add(kind, detail);
            }
        }
    }

    fn handle_reply(&mut self, number: u8, fields: &[String], now: Mono, faults: &mut Faults) {
        let kind = pump::kind(fields);
        let is_asked = match self.phase {
            Phase::Listening => true,
            Phase::Waiting { ask: Ask::Numbers(pump), .. } => {
                number == pump + 1 && kind != Some(pump::Kind::Alarm)
            }
            Phase::Waiting { ask: Ask::Alarm(pump), .. } => {
                number == pump + 1 && kind != Some(pump::Kind::Numbers)
            }
            Phase::Waiting { ask: Ask::Probe, .. }
            | Phase::Settling { .. }
            | Phase::Idle { .. }
            | Phase::Closed => false,
        };
        if !is_asked {
            faults.add(FaultKind::Unexpected, format!("a reply of pump {number} that was not asked for"));
            return;
        }
        if self.phase != Phase::Listening {
            self.answered(now);
        }
        let Some(pump) = usize::from(number).checked_sub(1).and_then(|at| self.pumps.get_mut(at)) else {
            return;
        };
        let Some(kind) = kind else {
            let detail = format!("a reply of pump {number} has {} fields", fields.len() + 2);
            faults.add(FaultKind::Malformed, detail);
            return;
        };
        if !std::mem::replace(&mut self.is_chain_told, true) {
            // The chain has no name of its own; its entry vouches for it.
            self.actions.push_back(Action::identify(Identity::default()));
        }
        let mut out = Vec::new();
        pump.handle(kind, fields, &self.mapping, (&mut out, faults));
        self.actions.extend(out);
        self.is_turn_answered = true;
    }

    /// Which pumps answer, at the end of a turn: the chain is an asset of its own, and is watched for silence.
    fn tell_chain(&mut self) {
        if !std::mem::take(&mut self.is_turn_answered) {
            return;
        }
        let bit = |pump: &Pump| u32::from(pump.told.is_some()) << pump.part.0.saturating_sub(1);
        let bits = self.pumps.iter().map(bit).fold(0, |all, bit| all | bit);
        let said = observation(&codes::PUMPS, Value::Bits(bits), &mdc::DIMENSIONLESS, Kind::State);
        self.actions.push_back(Action::observe(said));
    }

    /// The question that is outstanding was answered.
    fn answered(&mut self, now: Mono) {
        let Phase::Waiting { ask, since, .. } = self.phase else { return };
        self.missed = 0;
        if let Some(pump) = ask.pump().and_then(|at| self.pumps.get_mut(usize::from(at))) {
            pump.missed = 0;
            pump.try_at = None;
        }
        self.phase = Phase::Idle { until: (now + GAP).max(since + self.pace) };
    }

    fn handle_silence(&mut self, ask: Ask, now: Mono) {
        self.framer.reset();
        let is_anybody_there = self.pumps.iter().any(|pump| pump.told.is_some());
        let is_nobodys =
            ask.pump().and_then(|at| self.pumps.get(usize::from(at))).is_some_and(|pump| pump.told.is_none());
        if !(is_anybody_there && is_nobodys) {
            self.missed = self.missed.saturating_add(1);
        }
        let mut out = Vec::new();
        if let Some(pump) = ask.pump().and_then(|at| self.pumps.get_mut(usize::from(at))) {
            pump.missed = pump.missed.saturating_add(1);
            let number = pump.part.0;
            if pump.told.is_none() {
                pump.try_at = Some(now + REST);
            } else {
                let detail = format!("pump {number} does not answer ({} in a row)", pump.missed);
                out.push(Action::Report(Fault::new(FaultKind::Timeout, detail)));
                if pump.missed >= self.missed_max {
                    pump.lose("it does not answer any more", &mut out);
                    pump.try_at = Some(now + REST);
                }
            }
        }
        self.actions.extend(out);
        self.phase = Phase::Idle { until: now };
        if self.missed >= self.missed_max {
            let detail = format!(
                "{} questions without an answer: the line is opened again. Check the cable and that the pumps are \
                 numbered 1 to 3",
                self.missed
            );
            self.actions.push_back(Action::Report(Fault::new(FaultKind::Timeout, detail)));
            self.actions.push_back(Action::Command(LinkCommand::HangUp));
            self.phase = Phase::Closed;
        }
    }

    /// Asks what is next in turn, or waits until a number may be tried again.
    fn ask_next(&mut self, now: Mono) {
        if !matches!(self.phase, Phase::Idle { until } if until <= now) {
            return;
        }
        let mut ask = self.last;
        for _ in 0..6 {
            ask = ask.next();
            let pump = ask.pump().and_then(|at| self.pumps.get(usize::from(at)));
            let is_due = pump.is_some_and(|pump| match ask {
                // Of a pump that has not answered the numbers are asked only.
                Ask::Numbers(_) => pump.try_at.is_none_or(|at| at <= now),
                Ask::Probe | Ask::Alarm(_) => pump.told.is_some() && pump.try_at.is_none(),
            });
            if is_due {
                self.send(ask, now);
                return;
            }
        }
        let next = self.pumps.iter().filter_map(|pump| pump.try_at).min();
        self.phase = Phase::Idle { until: next.unwrap_or(now + REST) };
    }

    fn send(&mut self, ask: Ask, now: Mono) {
        if ask.pump() <= self.last.pump() && matches!(ask, Ask::Numbers(_)) {
            self.tell_chain();
        }
        self.last = ask;
        self.phase = Phase::Waiting { ask, since: now, until: now + self.patience };
        self.actions.push_back(Action::Command(LinkCommand::Send(ask.id())));
    }
}

impl Driver for HospiraPlumAPlus {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) => {
                let left = self.framer.finish();
                if self.phase != Phase::Listening {
                    self.phase = Phase::Closed;
                } else if let Some(piece) = left {
                    let mut faults = Faults::default();
                    self.handle_piece(&piece, now.mono, &mut faults);
                    self.actions.extend(faults.into_actions());
                }
            }
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..) => {}
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let now = now.mono;
        match self.phase {
            Phase::Settling { until } if until <= now => {
                let discarded = std::mem::take(&mut self.discarded);
                if discarded > 0 {
                    let detail = format!("{discarded} bytes of an earlier conversation were thrown away");
                    self.actions.push_back(Action::Report(Fault::new(FaultKind::Unexpected, detail)));
                }
                self.send(Ask::Probe, now);
            }
            Phase::Waiting { ask, until, .. } if until <= now => self.handle_silence(ask, now),
            Phase::Listening
            | Phase::Settling { .. }
            | Phase::Waiting { .. }
            | Phase::Idle { .. }
            | Phase::Closed => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } | Phase::Idle { until } | Phase::Waiting { until, .. } => Some(until),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
