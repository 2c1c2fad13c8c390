//! The commands that the driver gives, as it thinks of them, and how they are written.

use super::requests::Write;
use super::{FreseniusBaseA, Phase};
use crate::device::Action;

/// A command to the base (0) or a module (1 to 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) address: u8,
    pub(super) query: Query,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// Opens the session.
    Open,
    /// What kind of device it is.
    Kind,
    /// Its serial number.
    Id,
    /// Which places of the base have a module.
    Modules,
    /// All variables, or one.
    Variables(Option<u8>),
    /// The drug.
    Drug,
}

impl FreseniusBaseA {
    /// Writes a command.
    pub(super) fn send(&mut self, ask: Ask) {
        let Ask { address, query } = ask;
        self.is_taken = false;
        self.write(&match query {
            Query::Open => Write::Open(address),
            Query::Kind => Write::Fixed(address, b'b'),
            Query::Id => match self.mapping.identity {
                None => Write::Id(address),
                Some(letter) => Write::Fixed(address, letter),
            },
            Query::Modules => Write::Variables(address, vec![b'b']),
            Query::Variables(None) => Write::Variables(address, self.mapping.variables()),
            Query::Variables(Some(letter)) => Write::Variables(address, vec![letter]),
            Query::Drug => Write::Drug(address),
        });
    }

    pub(super) fn write(&mut self, what: &Write) {
        let may_write = !matches!(self.phase, Phase::Listening | Phase::Closed);
        if let Some(command) = what.command().filter(|_| may_write) {
            self.actions.push_back(Action::Command(command));
        }
    }

    /// A command in words, for a person.
    pub(super) fn name(&self, ask: Ask) -> String {
        let what = match ask.query {
            Query::Open => "DC",
            Query::Kind => "LF;b",
            Query::Id if self.mapping.identity.is_some() => "LF",
            Query::Id => "LN",
            Query::Modules | Query::Variables(_) => "LE",
            Query::Drug => "LP",
        };
        match ask.address {
            0 => format!("{what} to the base"),
            place => format!("{what} to module {place}"),
        }
    }
}
