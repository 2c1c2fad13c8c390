//! What is read from a capture, before anything was ever connected.
//!
//! An answer does not say to which command. In a capture of both sides the command stands before it; in one
//! of the base's side alone only variables can be told by their form, and the rest is a fault.

use super::readings;
use super::wire::{self, Heard, Status};
use super::{FreseniusBaseA, Query};
use crate::device::serial::{Faults, text};
use crate::device::{Action, FaultKind, Part};

impl FreseniusBaseA {
    pub(super) fn overhear(&mut self, heard: Heard, faults: &mut Faults) {
        match heard {
            Heard::Command { address, words } => {
                if let Some(place) = self.overheard.get_mut(usize::from(address)) {
                    *place = self
                        .mapping
                        .identity
                        .map_or_else(|| query_of(&words, None), |letter| query_of(&words, Some(letter)));
                }
            }
            Heard::Answer { origin, status: Status::Refused, message } => {
                let why = wire::command_error(message.as_deref().unwrap_or_default());
                faults.add(FaultKind::Refused, format!("a command to {origin} is refused: {why}"));
            }
            Heard::Answer { origin, status: Status::Unasked(_), message } => {
                self.overhear_variables(origin, &message.unwrap_or_default(), faults);
            }
            Heard::Answer { origin, status: Status::Done, message } => {
                let query = self.overheard.get_mut(usize::from(origin)).and_then(Option::take);
                if let Some(message) = message {
                    self.overhear_answer(origin, query, &message, faults);
                }
            }
            Heard::Other => faults.add(FaultKind::Malformed, "a whole frame has no address"),
        }
    }

    fn overhear_answer(&mut self, origin: u8, query: Option<Query>, message: &str, faults: &mut Faults) {
        let part = Part(origin);
        match query {
            Some(Query::Id) => {
                let word = match self.mapping.identity {
                    Some(letter) => message.strip_prefix(char::from(letter)).unwrap_or_default(),
                    None => message,
                };
                let mut out = Vec::new();
                let are_bits = self.mapping.are_alarms_bits;
                if word.trim().is_empty() {
                    faults.add(FaultKind::Malformed, format!("the serial number of {origin} is empty"));
                } else if let Some(station) = self.station(origin) {
                    station.handle_identity(Some(text(word.trim())), are_bits, &mut out);
                    self.actions.extend(out);
                }
            }
            Some(Query::Kind) => {
                if let Some(station) = self.station(origin) {
                    station.model = message.strip_prefix('b').map(text);
                }
            }
            Some(Query::Drug) => self.actions.push_back(Action::Observe(part, readings::drug(message))),
            Some(Query::Open) => {}
            Some(Query::Modules | Query::Variables(_)) | None => {
                self.overhear_variables(origin, message, faults);
            }
        }
    }

    fn overhear_variables(&mut self, origin: u8, message: &str, faults: &mut Faults) {
        let Some(variables) = wire::variables(message) else {
            let detail = format!("an answer of {origin} is none to be known without its command");
            faults.add(FaultKind::Unexpected, detail);
            return;
        };
        let modules = variables.iter().find(|(letter, _)| *letter == b'b' && origin == 0);
        if let Some(mask) = modules.and_then(|(_, digits)| u32::from_str_radix(digits, 16).ok()) {
            self.actions.push_back(Action::observe(readings::modules(mask)));
            return;
        }
        let said = readings::read(&variables, &self.mapping, faults);
        let (mut out, are_bits) = (Vec::new(), self.mapping.are_alarms_bits);
        if let Some(station) = self.station(origin) {
            station.hold(said);
            station.confirm(are_bits, &mut out);
        }
        self.actions.extend(out);
    }
}

/// What a host asks with these words; `None` for what gives no reading.
fn query_of(words: &str, identity: Option<u8>) -> Option<Query> {
    match (words.split_once(';'), identity) {
        (Some(("LF", letter)), Some(own)) if letter.bytes().eq([own]) => Some(Query::Id),
        (Some(("LF", _)), _) => Some(Query::Kind),
        (Some(("LE", _)), _) => Some(Query::Variables(None)),
        (None, None) if words == "LN" => Some(Query::Id),
        (None, _) if words == "LP" => Some(Query::Drug),
        (None, _) if words == "DC" => Some(Query::Open),
        _ => None,
    }
}
