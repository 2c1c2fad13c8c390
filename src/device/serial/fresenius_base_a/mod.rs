//! Fresenius Vial Orchestra: Base A and Base Primea with up to five Module DPS syringe pumps (PROTOCOLS.md
//! 1.4), read at the socket RS232-3 as PCBM.
//!
//! In: the base's answers and its own, those of its modules, life signs asked for (ENQ). Out: one command
//! at a time, a life sign (DC4) for each ENQ, an ACK for each whole frame; the identity of the base and of
//! each module, their readings, the edges of their alarms.
//!
//! The conversation: after `Up` everything is thrown away for a moment; then the session with the base is
//! opened and the base asked who it is. Each round the base is asked which of its places have a module, and
//! again who it is; of each module a session is opened, its kind and its serial number are read, then its
//! variables, and then its serial number again. An answer does not carry the identity, so what a module
//! says is held back until the serial number behind it is the one before it: a module or a whole base that
//! was exchanged in between costs a round, never a reading under a wrong name.
//!
//! Errors: a command whose answer does not come within 1 s, or that is refused with "not ready", is
//! repeated once; then its module has to say who it is again, and after three such rounds it counts as gone.
//! A frame with a wrong checksum is refused (NAK 2) once, so that it comes again. "The session is not open",
//! and a storm of ENQ as a base sends it that was switched on again, make everybody say who they are again.
//!
//! What never happens: an observation of a module before its serial number; a byte that is not of
//! [`requests::REQUESTS`], in which nothing that starts, stops or sets a pump has a representation.
//!
//! What remains: the identification that `LN` reads can be changed at the base. A module that states none is
//! passed on as such (its entry needs `trust = "link-only"`); exchanged for another without one, only its
//! closed session tells.

mod answers;
mod asks;
mod codes;
mod listening;
mod readings;
mod requests;
mod settings;
mod station;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::Piece;
use crate::device::nomenclature as mdc;
use crate::device::settings::Settings;
use crate::device::{Action, Driver, Fault, FaultKind};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use asks::{Ask, Query};
use requests::{REQUESTS, Write};
use settings::Mapping;
use station::Station;
use wire::{Heard, Item, Wire};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "fresenius-base-a",
    title: "Fresenius Vial Orchestra: Base A, Base Primea with Module DPS syringe pumps",
    class: Class::Therapy,
    line: Line { baud: 19_200, data_bits: 7, parity: Parity::Even, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &mdc::FLOW_FLUID_PUMP,
        &mdc::VOL_FLUID_DELIV,
        &mdc::VOL_FLUID_BOLUS,
        &mdc::DRUG_NAME,
        &mdc::PUMP_MODE,
        &mdc::PRESS_FLUID_ACT,
        &mdc::TIME_PD_REMAIN,
        &codes::MODULES,
        &codes::ALARM_WORD,
        &codes::ERROR_WORD,
        &codes::BOLUS_RATE,
        &codes::BOLUS_RATE_WORD,
        &codes::BOLUS_VOLUME_WORD,
        &codes::SYRINGE_WORD,
        &mdc::EVT_ALARM,
        &mdc::EVT_COMM_LOST,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::Many { word: "module", names: &["1", "2", "3", "4", "5"] },
    settings: &settings::SETTINGS,
    quiet: Duration::from_secs(15),
    driver: &|settings| Box::new(FreseniusBaseA::new(settings)),
};

/// How long everything is thrown away after `Up`: four times what the longest frame takes.
const SETTLE: Duration = Duration::from_millis(200);

/// How long an answer may take. Hosts in the field use this.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a base that was not ready is left alone.
const NOT_READY: Duration = Duration::from_millis(200);

/// How long a base needs from the opening of its session until it knows its modules. Hosts in the field use
/// this.
const BASE_READY: Duration = Duration::from_secs(1);

/// From one round to the next: with five modules and the serial number behind each answer an alarm is known
/// within 2 s.
const ROUND: Duration = Duration::from_secs(1);

/// Rounds without an answer after which a module is gone, and unanswered commands in a row, whoever was asked,
/// after which the line is opened again.
const FAILURES_MAX: u32 = 3;

/// Where the conversation is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Everything is thrown away until then.
    Settling { until: Mono },
    /// Nothing is outstanding.
    Idle,
    /// A command is outstanding; so many copies of it can still be answered.
    Waiting { ask: Ask, until: Mono, is_repeated: bool, copies: u8 },
    /// Answers to another copy, or to a command given up, may still come.
    Draining { until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct FreseniusBaseA {
    mapping: Mapping,
    wire: Wire,
    phase: Phase,
    /// What is asked next, in this order.
    plan: VecDeque<Ask>,
    round_due: Mono,
    stations: [Station; 6],
    /// The places that have a module, held until the base has said again who it is.
    held_modules: Option<u32>,
    /// The last life signs asked for.
    life_signs: VecDeque<Mono>,
    is_storm: bool,
    /// Whether the answer that is outstanding was asked for again (NAK).
    was_refused: bool,
    /// Whether the command that is outstanding was taken (ACK).
    is_taken: bool,
    /// The last answer, to know it when it is sent again.
    last_answer: Option<(u8, Option<String>)>,
    unanswered: u32,
    discarded: usize,
    /// What a host asked each last, in a capture of both sides.
    overheard: [Option<Query>; 6],
    actions: VecDeque<Action>,
}

impl FreseniusBaseA {
    fn new(settings: &Settings) -> Self {
        Self {
            mapping: Mapping::new(settings),
            wire: Wire::new(),
            phase: Phase::Listening,
            plan: VecDeque::new(),
            round_due: Mono::default(),
            stations: [0, 1, 2, 3, 4, 5].map(Station::new),
            held_modules: None,
            life_signs: VecDeque::new(),
            is_storm: false,
            was_refused: false,
            is_taken: false,
            last_answer: None,
            unanswered: 0,
            discarded: 0,
            overheard: [None; 6],
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        let mapping = self.mapping.clone();
        let mut stations = std::mem::replace(&mut self.stations, [0, 1, 2, 3, 4, 5].map(Station::new));
        // The alarms that are on are kept: they are compared again once each has said who it is.
        stations.iter_mut().for_each(Station::reset);
        *self = Self { mapping, stations, round_due: now, ..Self::new(&Settings::default()) };
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        if self.phase == Phase::Closed {
            return;
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        let mut is_called = false;
        while let Some(item) = self.wire.take(&mut input) {
            match item {
                Item::LifeSign => {
                    // Life signs that came in one piece of the input are answered once, and at once.
                    if !std::mem::replace(&mut is_called, true) {
                        self.write(&Write::Dc4);
                    }
                    self.handle_life_sign(now, &mut faults);
                }
                Item::Accepted => self.is_taken = true,
                Item::Refused(reason) => self.handle_nak(reason, now, &mut faults),
                Item::Piece(piece) => self.handle_piece(&piece, now, &mut faults),
            }
        }
        self.actions.extend(faults.into_actions());
        self.ask_next(now);
    }

    /// Counts the life signs asked for: a storm of them says that the base was switched on again.
    fn handle_life_sign(&mut self, now: Mono, faults: &mut Faults) {
        if self.phase == Phase::Listening {
            return;
        }
        self.life_signs.push_back(now);
        while self.life_signs.front().is_some_and(|&at| now.since(at) > Duration::from_secs(1))
            || self.life_signs.len() > self.mapping.storm
        {
            self.life_signs.pop_front();
        }
        let count = self.life_signs.len();
        if count >= self.mapping.storm && !self.is_storm {
            self.is_storm = true;
            let why = "the base asks for life signs again and again: it was switched on again";
            faults.add(FaultKind::Unexpected, why);
            self.start_over(why, now);
        } else if count <= self.mapping.storm / 2 {
            self.is_storm = false;
        }
    }

    fn handle_nak(&mut self, reason: u8, now: Mono, faults: &mut Faults) {
        let why = wire::link_error(reason);
        faults.add(FaultKind::Refused, format!("a frame was refused (NAK): {why}"));
        let Phase::Waiting { ask, until, is_repeated, copies } = &mut self.phase else { return };
        let ask = *ask;
        *copies = copies.saturating_sub(1);
        if reason == b'4' && ask.address > 0 {
            self.phase = Phase::Idle;
            self.lose(ask.address, "the base has nobody at this place", now);
        } else {
            // The base heard something, so it is there. The repetition comes in a moment, not at once.
            *until = if *is_repeated { now } else { now + NOT_READY };
        }
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        let is_listening = self.phase == Phase::Listening;
        match piece {
            Piece::Frame(span) => {
                let heard = wire::content(span).map_or(Heard::Other, wire::heard);
                if is_listening {
                    self.overhear(heard, faults);
                } else {
                    self.write(&Write::Ack);
                    self.handle_frame(heard, now, faults);
                }
            }
            Piece::Broken(..) | Piece::Noise(_) => {
                if let Phase::Settling { .. } = self.phase {
                    self.discarded = self.discarded.saturating_add(1);
                    return;
                }
                let (kind, detail) = wire::fault_of(piece);
                faults.add(kind, detail);
                let is_waiting = matches!(self.phase, Phase::Waiting { .. });
                if kind == FaultKind::Checksum && is_waiting && !self.was_refused {
                    self.was_refused = true;
                    self.write(&Write::NakChecksum);
                }
            }
        }
    }

    /// Asks what is next, if the line is free.
    fn ask_next(&mut self, now: Mono) {
        if self.phase != Phase::Idle {
            return;
        }
        if self.plan.is_empty() && self.round_due <= now {
            self.round_due = now + ROUND;
            self.plan_base();
        }
        if let Some(ask) = self.plan.pop_front() {
            self.was_refused = false;
            self.phase = Phase::Waiting { ask, until: now + PATIENCE, is_repeated: false, copies: 1 };
            self.send(ask);
        }
    }

    fn handle_silence(&mut self, ask: Ask, is_repeated: bool, copies: u8, now: Mono) {
        let name = self.name(ask);
        if !is_repeated {
            if copies > 0 {
                self.report(FaultKind::Timeout, format!("no answer to {name}, asked again"));
            }
            let copies = copies.saturating_add(1);
            self.was_refused = false;
            self.phase = Phase::Waiting { ask, until: now + PATIENCE, is_repeated: true, copies };
            self.send(ask);
            return;
        }
        self.report(FaultKind::Timeout, format!("no answer to {name} a second time"));
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= FAILURES_MAX {
            let detail = format!(
                "{FAILURES_MAX} commands without an answer: the line is opened again. Check that the cable is \
                 a null modem at RS232-3 and that this socket is set to PCBM"
            );
            self.report(FaultKind::Timeout, detail);
            self.phase = Phase::Closed;
            self.actions.push_back(Action::Command(LinkCommand::HangUp));
            return;
        }
        self.phase = Phase::Draining { until: now + PATIENCE };
        self.give_up(ask, now);
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }
}

impl Driver for FreseniusBaseA {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) => {
                let left = self.wire.finish();
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
            Phase::Listening | Phase::Closed => return,
            Phase::Settling { until } if until <= now => {
                let discarded = std::mem::take(&mut self.discarded);
                if discarded > 0 {
                    let detail = format!("{discarded} frames of an earlier conversation were thrown away");
                    self.report(FaultKind::Unexpected, detail);
                }
                self.phase = Phase::Idle;
            }
            Phase::Waiting { ask, until, is_repeated, copies } if until <= now => {
                self.handle_silence(ask, is_repeated, copies, now);
            }
            Phase::Draining { until } if until <= now => self.phase = Phase::Idle,
            Phase::Settling { .. } | Phase::Waiting { .. } | Phase::Draining { .. } | Phase::Idle => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } | Phase::Waiting { until, .. } | Phase::Draining { until } => {
                Some(until)
            }
            Phase::Idle => Some(self.round_due),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
