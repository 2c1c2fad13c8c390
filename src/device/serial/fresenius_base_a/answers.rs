//! What the driver asks in a round, and what it does with the answers.

use super::readings;
use super::requests::Write;
use super::station::Station;
use super::wire::{self, Heard, Status};
use super::{Ask, BASE_READY, FAILURES_MAX, FreseniusBaseA, Phase, Query, SETTLE};
use crate::device::serial::{Faults, text};
use crate::device::{Action, FaultKind};
use crate::time::Mono;
use std::time::Duration;

/// From one reading of the drug to the next; a person chooses it.
const DRUG_PERIOD: Duration = Duration::from_secs(10);

/// How long a module that is gone although the base has it is left alone: each attempt takes seconds from the
/// others.
const REST: Duration = Duration::from_secs(10);

/// How long a module that refused a list is asked singly, and not for what it refused: a refusal by mistake
/// must not keep an alarm on for ever.
const SINGLY: Duration = Duration::from_secs(5 * 60);

impl FreseniusBaseA {
    /// A round begins with the base.
    pub(super) fn plan_base(&mut self) {
        let ask = |query| Ask { address: 0, query };
        if self.stations.first().is_some_and(|base| !base.is_open) {
            self.plan.extend([Query::Open, Query::Kind, Query::Id].map(ask));
        }
        self.plan.extend([Query::Modules, Query::Id].map(ask));
    }

    fn plan_module(&mut self, address: u8, now: Mono) {
        let Some(station) = self.station(address) else { return };
        if station.rest_until.is_some_and(|until| until > now) {
            return;
        }
        let mut queries = Vec::new();
        if !station.is_open {
            queries.extend([Query::Open, Query::Kind, Query::Id]);
        }
        if station.all_due.is_some_and(|due| due <= now) {
            (station.singly, station.all_due) = (None, None);
        }
        match &station.singly {
            None => queries.push(Query::Variables(None)),
            Some(letters) => queries.extend(letters.iter().map(|letter| Query::Variables(Some(*letter)))),
        }
        if station.drug_due.is_none_or(|due| due <= now) {
            queries.push(Query::Drug);
            station.drug_due = Some(now + DRUG_PERIOD);
        }
        queries.push(Query::Id);
        self.plan.extend(queries.into_iter().map(|query| Ask { address, query }));
    }

    pub(super) fn station(&mut self, address: u8) -> Option<&mut Station> {
        self.stations.get_mut(usize::from(address))
    }

    pub(super) fn handle_frame(&mut self, heard: Heard, now: Mono, faults: &mut Faults) {
        let Heard::Answer { origin, status, message } = heard else {
            // This gateway's own frames come back where a cable or a second host echoes them.
            faults.add(FaultKind::Unexpected, "a frame is no answer: is there a second host on the line?");
            return;
        };
        let message = message.as_deref();
        if let Status::Unasked(letter) = status {
            self.write(&Write::Echo(origin, letter));
            if !matches!(self.phase, Phase::Settling { .. }) {
                self.handle_unasked(origin, message.unwrap_or_default(), faults);
            }
            return;
        }
        let Phase::Waiting { ask, copies, .. } = self.phase else {
            match self.phase {
                Phase::Settling { .. } => self.discarded = self.discarded.saturating_add(1),
                Phase::Listening
                | Phase::Idle
                | Phase::Waiting { .. }
                | Phase::Draining { .. }
                | Phase::Closed => {
                    faults.add(FaultKind::Unexpected, "an answer came although nothing was asked");
                }
            }
            return;
        };
        if origin != ask.address {
            let detail = format!("an answer of {origin} came, but {} was asked", ask.address);
            faults.add(FaultKind::Unexpected, detail);
            return;
        }
        let answer = Some((origin, message.map(str::to_owned)));
        if !self.is_taken && self.last_answer == answer {
            // The base missed the ACK; the command that is outstanding it has not even taken.
            faults.add(FaultKind::Unexpected, format!("an answer of {origin} came again"));
            return;
        }
        self.last_answer = answer;
        self.unanswered = 0;
        self.phase = if copies > 1 { Phase::Draining { until: now + super::PATIENCE } } else { Phase::Idle };
        if status == Status::Refused {
            self.handle_refusal(ask, message.unwrap_or_default(), now, faults);
        } else {
            self.handle_answer(ask, message.unwrap_or_default(), now, faults);
        }
    }

    fn handle_answer(&mut self, ask: Ask, message: &str, now: Mono, faults: &mut Faults) {
        let Ask { address, query } = ask;
        let Some(station) = self.station(address) else { return };
        match query {
            Query::Open => {
                station.is_open = true;
                if address == 0 {
                    self.phase = Phase::Draining { until: now + BASE_READY };
                }
            }
            Query::Kind => station.model = wire_word(message, b'b'),
            Query::Drug => {
                let observations = vec![readings::drug(message)];
                self.hold(address, readings::Said { observations, words: Vec::new() }, faults);
            }
            Query::Id => self.handle_id(ask, Some(message), now, faults),
            Query::Modules => match wire::variables(message).as_deref() {
                Some([(b'b', digits)]) => match u32::from_str_radix(digits, 16) {
                    Ok(mask) => self.held_modules = Some(mask),
                    Err(_) => faults.add(FaultKind::Malformed, "the places with a module are no such number"),
                },
                _ => faults.add(FaultKind::Malformed, "the base does not say which places have a module"),
            },
            Query::Variables(which) => {
                let asked = which.map_or_else(|| self.mapping.variables(), |letter| vec![letter]);
                match wire::variables(message) {
                    Some(said) if said.iter().all(|(letter, _)| asked.contains(letter)) => {
                        let said = readings::read(&said, &self.mapping, faults);
                        self.hold(address, said, faults);
                    }
                    Some(_) => {
                        let detail =
                            format!("module {address} answers with variables that were not asked for");
                        faults.add(FaultKind::Unexpected, detail);
                    }
                    None => {
                        let detail = format!("what module {address} answers to LE are no variables");
                        faults.add(FaultKind::Malformed, detail);
                    }
                }
            }
        }
    }

    /// The serial number: `None` when it is refused.
    fn handle_id(&mut self, ask: Ask, message: Option<&str>, now: Mono, faults: &mut Faults) {
        let serial = match (self.mapping.identity, message) {
            (_, None) => None,
            (Some(letter), Some(message)) => wire_word(message, letter),
            // The late answer to another copy of LE must not become a name.
            (None, Some(message)) => is_name(message).then(|| text(message.trim())),
        };
        if serial.is_none() && message.is_some() {
            faults.add(FaultKind::Malformed, format!("{} gives no serial number", self.name(ask)));
        }
        let has_named_itself =
            |station: &mut Station| station.told.as_ref().is_some_and(|told| told.serial.is_some());
        if serial.is_none() && self.station(ask.address).is_some_and(has_named_itself) {
            // It has a name, so this is no word of being somebody else; nothing is confirmed by it either.
            self.give_up(ask, now);
            return;
        }
        let are_bits = self.mapping.are_alarms_bits;
        let mut out = Vec::new();
        let is_another = self
            .station(ask.address)
            .and_then(|station| station.told.as_ref())
            .is_some_and(|told| told.serial != serial);
        if is_another && ask.address == 0 {
            let why = "another base answers: nothing passes until everybody has said who they are";
            faults.add(FaultKind::Unexpected, why);
            self.start_over(why, now);
            return;
        }
        let Some(station) = self.station(ask.address) else { return };
        station.handle_identity(serial, are_bits, &mut out);
        self.actions.extend(out);
        if is_another {
            // What it answered before this may be of either; its kind was the other's.
            self.plan.retain(|planned| planned.address != ask.address);
            self.doubt(ask.address);
        }
        if let (0, Some(mask)) = (ask.address, self.held_modules.take()) {
            self.actions.push_back(Action::observe(readings::modules(mask)));
            self.handle_modules(mask, now);
        }
    }

    /// The base has said which places have a module: asks those, and lets go of the others.
    fn handle_modules(&mut self, mask: u32, now: Mono) {
        for address in 1..=5u8 {
            if mask >> (address - 1) & 1 == 1 {
                self.plan_module(address, now);
            } else {
                self.plan.retain(|planned| planned.address != address);
                if let Some(station) = self.station(address) {
                    let mut out = Vec::new();
                    station.lose("it was taken off the base", &mut out);
                    station.rest_until = None;
                    self.actions.extend(out);
                }
            }
        }
    }

    fn handle_unasked(&mut self, origin: u8, message: &str, faults: &mut Faults) {
        let is_known = self.station(origin).is_some_and(|station| station.told.is_some());
        let asked = self.mapping.variables();
        match wire::variables(message) {
            Some(mut said) if origin > 0 && is_known => {
                said.retain(|(letter, _)| asked.contains(letter));
                let said = readings::read(&said, &self.mapping, faults);
                self.hold(origin, said, faults);
                let id = Ask { address: origin, query: Query::Id };
                if !self.plan.contains(&id) {
                    self.plan.push_back(id);
                }
            }
            Some(_) => {}
            None => {
                faults.add(FaultKind::Malformed, format!("what module {origin} says unasked is unreadable"));
            }
        }
    }

    fn hold(&mut self, address: u8, said: readings::Said, faults: &mut Faults) {
        if self.station(address).is_some_and(|station| !station.hold(said)) {
            let detail = format!("module {address} does not say who it is: its readings are dropped");
            faults.add(FaultKind::Unexpected, detail);
        }
    }

    fn handle_refusal(&mut self, ask: Ask, code: &str, now: Mono, faults: &mut Faults) {
        let Ask { address, query } = ask;
        let why = wire::command_error(code);
        let is_unknown = matches!(code, "0A" | "0B" | "04");
        match (query, code) {
            (_, "0D") => {
                faults.add(FaultKind::Refused, format!("{}: {why}", self.name(ask)));
                self.start_over("the session with the base was closed", now);
                return;
            }
            (Query::Variables(None), _) if is_unknown => {
                let letters = self.mapping.variables();
                if let Some(station) = self.station(address) {
                    station.singly = Some(letters.clone());
                    station.all_due = Some(now + SINGLY);
                }
                let singly = letters.into_iter().map(|letter| Query::Variables(Some(letter)));
                for query in singly.rev() {
                    self.plan.push_front(Ask { address, query });
                }
                return;
            }
            (Query::Variables(Some(letter)), _) if is_unknown => {
                if let Some(letters) = self.station(address).and_then(|station| station.singly.as_mut()) {
                    letters.retain(|known| *known != letter);
                }
            }
            // One source of this code says that the session is open already.
            (Query::Open, "1F") => return self.handle_answer(ask, "", now, faults),
            (Query::Id, _) if !matches!(code, "0E" | "1E") => self.handle_id(ask, None, now, faults),
            (_, "0E") if address > 0 => self.lose(address, why, now),
            _ => self.give_up(ask, now),
        }
        faults.add(FaultKind::Refused, format!("{} is refused: {why}", self.name(ask)));
    }

    /// Goes on without an answer.
    pub(super) fn give_up(&mut self, ask: Ask, now: Mono) {
        let Ask { address, query } = ask;
        if matches!(query, Query::Kind | Query::Drug) {
            return;
        }
        if address == 0 {
            self.held_modules = None;
            self.plan.clear();
            self.doubt(0);
            if self.failed(0) >= FAILURES_MAX {
                self.start_over("the base does not answer as it did", now);
            }
            return;
        }
        self.plan.retain(|planned| planned.address != address);
        if self.failed(address) >= FAILURES_MAX {
            self.lose(address, "it does not answer any more", now);
        } else {
            self.doubt(address);
        }
        // Whether it is the line: so that silent modules are not taken for a silent base, and after lost
        // answers the base says again who it is.
        let base = Ask { address: 0, query: Query::Id };
        if self.plan.front() != Some(&base) {
            self.plan.push_front(base);
        }
    }

    /// Counts a round in vain; gives how many there were in a row.
    fn failed(&mut self, address: u8) -> u32 {
        self.station(address).map_or(0, |station| {
            station.failures = station.failures.saturating_add(1);
            station.failures
        })
    }

    /// Nothing of it is believed before its session is open and it has said again who it is.
    fn doubt(&mut self, address: u8) {
        if let Some(station) = self.station(address) {
            station.doubt();
        }
    }

    pub(super) fn lose(&mut self, address: u8, why: &str, now: Mono) {
        self.plan.retain(|planned| planned.address != address);
        let mut out = Vec::new();
        if let Some(station) = self.station(address) {
            station.lose(why, &mut out);
            station.rest_until = Some(now + REST);
        }
        self.actions.extend(out);
    }

    /// Everybody has to say who they are again.
    pub(super) fn start_over(&mut self, why: &str, now: Mono) {
        let mut out = Vec::new();
        self.stations.iter_mut().for_each(|station| station.forget_identity(why, &mut out));
        self.actions.extend(out);
        self.plan.clear();
        self.held_modules = None;
        self.phase = Phase::Settling { until: now + SETTLE };
        self.round_due = now;
    }
}

/// The value behind the letter of a fixed variable.
fn wire_word(message: &str, letter: u8) -> Option<String> {
    let word = message.strip_prefix(char::from(letter))?.trim();
    (!word.is_empty()).then(|| text(word))
}

/// Whether an answer to LN can be a name: not empty, and not the variables of another answer.
fn is_name(message: &str) -> bool {
    let is_list = message.contains(';') && wire::variables(message).is_some();
    !message.trim().is_empty() && !is_list
}
