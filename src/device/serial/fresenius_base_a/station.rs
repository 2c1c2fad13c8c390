//! The base or a module, as far as it has told: who it is, what is held back, its alarms.
//!
//! In: what its answers say. Out: actions. What an answer says is held until the same serial number
//! was read behind it too.

use super::readings::{Said, Word};
use crate::device::alarms::{AlarmEdges, Level, Raised};
use crate::device::nomenclature as mdc;
use crate::device::observation::{Observation, Priority};
use crate::device::{Action, Identity, Part};
use crate::time::Mono;

/// The most readings that wait for the identity behind them: a base that never confirms must not fill the
/// memory.
const HELD_MAX: usize = 64;

/// The alarm code of a module that was taken out or does not answer.
const LOST: &str = "MODULE_LOST";

/// The base (0) or a module (1 to 5).
#[derive(Clone, Debug, Default)]
pub(super) struct Station {
    pub(super) part: Part,
    /// Whether its session is open.
    pub(super) is_open: bool,
    /// What it says it is, for a person.
    pub(super) model: Option<String>,
    /// What was last told to the session on this connection.
    pub(super) told: Option<Identity>,
    /// Rounds in a row in which it did not answer.
    pub(super) failures: u32,
    /// Not asked before.
    pub(super) rest_until: Option<Mono>,
    pub(super) drug_due: Option<Mono>,
    /// The variables that it knows, when it does not take them all at once.
    pub(super) singly: Option<Vec<u8>>,
    /// When it is tried again with all at once.
    pub(super) all_due: Option<Mono>,
    held: Vec<Observation>,
    held_words: Vec<Word>,
    alarm: u64,
    error: u64,
    edges: AlarmEdges,
    /// Whose alarms those are.
    edges_of: Option<Identity>,
}

/// Whether two are the same device. The serial number says so, and nothing else.
fn is_same(one: &Identity, other: &Identity) -> bool {
    one.serial == other.serial
}

impl Station {
    pub(super) fn new(address: u8) -> Self {
        Self { part: Part(address), ..Self::default() }
    }

    /// Everything of the connection goes; the alarms that are on stay, to be compared again.
    pub(super) fn reset(&mut self) {
        let (edges, edges_of) = (std::mem::take(&mut self.edges), self.edges_of.take());
        // The words go with the edges: the first of them that comes alone must not end what the other says.
        let (part, alarm, error) = (self.part, self.alarm, self.error);
        *self = Self { part, alarm, error, edges, edges_of, ..Self::default() };
    }

    /// Its session is closed and nobody knows who stands there.
    pub(super) fn doubt(&mut self) {
        self.is_open = false;
        self.drop_held();
    }

    pub(super) fn drop_held(&mut self) {
        self.held.clear();
        self.held_words.clear();
    }

    /// Holds what an answer says. False when there was no room: then all of it is dropped.
    pub(super) fn hold(&mut self, said: Said) -> bool {
        let has_room = self.held.len() + said.observations.len() <= HELD_MAX;
        if !has_room {
            self.drop_held();
        }
        self.held.extend(said.observations);
        self.held_words.extend(said.words);
        has_room
    }

    /// Takes a statement of who it is: tells it when it is news, tells what was held when it is not.
    pub(super) fn handle_identity(&mut self, serial: Option<String>, are_bits: bool, out: &mut Vec<Action>) {
        let mut said = Identity { serial, model: self.model.clone(), ..Identity::default() };
        match self.told.clone() {
            Some(told) if told == said => return self.confirm(are_bits, out),
            Some(told) if !is_same(&told, &said) => {
                self.lose("another one stands in its place", out);
                // The kind was the other's.
                said.model = None;
            }
            Some(_) | None => {}
        }
        if self.edges_of.as_ref().is_none_or(|owner| !is_same(owner, &said)) {
            self.edges.forget();
            (self.alarm, self.error) = (0, 0);
        }
        self.edges_of = Some(said.clone());
        self.told = Some(said.clone());
        self.is_open = true;
        out.push(Action::Identify(self.part, said));
        let back = self.edges.handle_one(LOST, None);
        out.extend(back.into_iter().map(|edge| Action::Observe(self.part, edge)));
        self.drop_held();
    }

    /// Tells what was held: whose it is is known.
    pub(super) fn confirm(&mut self, are_bits: bool, out: &mut Vec<Action>) {
        self.failures = 0;
        let part = self.part;
        for word in std::mem::take(&mut self.held_words) {
            match word {
                Word::Alarm(bits) => self.alarm = bits,
                Word::Error(code) => self.error = code,
            }
            let edges = self.edges.handle_level(level(self.alarm, self.error, are_bits));
            out.extend(edges.into_iter().map(|edge| Action::Observe(part, edge)));
        }
        out.extend(std::mem::take(&mut self.held).into_iter().map(|said| Action::Observe(part, said)));
    }

    /// It is not there any more: the alarm that says so, and its end as a part.
    pub(super) fn lose(&mut self, why: &str, out: &mut Vec<Action>) {
        self.doubt();
        self.failures = 0;
        self.model = None;
        self.singly = None;
        self.drug_due = None;
        if self.told.take().is_none() {
            return;
        }
        let lost = Raised {
            metric: &mdc::EVT_COMM_LOST,
            priority: Priority::Unstated,
            text: format!("module {}: {why}", self.part.0),
            is_silenced: false,
        };
        let edges = self.edges.handle_one(LOST, Some(lost));
        out.extend(edges.into_iter().map(|edge| Action::Observe(self.part, edge)));
        out.push(Action::Gone(self.part, why.to_owned()));
    }

    /// Whoever stands there has to say who it is again; that is no alarm.
    pub(super) fn forget_identity(&mut self, why: &str, out: &mut Vec<Action>) {
        self.doubt();
        self.model = None;
        self.rest_until = None;
        self.failures = 0;
        if self.told.take().is_some() && self.part != Part::WHOLE {
            out.push(Action::Gone(self.part, why.to_owned()));
        }
    }
}

/// What the two words say is on. The meaning of the bits is not public, so each has its number.
fn level(alarm: u64, error: u64, are_bits: bool) -> Level {
    let raised = |text: String| Raised {
        metric: &mdc::EVT_ALARM,
        priority: Priority::Unstated,
        text,
        is_silenced: false,
    };
    let described = "what it means stands in the maker's protocol description and on the display";
    let mut level = Level::new();
    if are_bits {
        for bit in (0..64).filter(|bit| alarm >> bit & 1 == 1) {
            level.insert(format!("A{bit:02}"), raised(format!("alarm, bit {bit}: {described}")));
        }
    } else if alarm != 0 {
        level.insert(format!("A:{alarm:X}"), raised(format!("alarm {alarm:X}: {described}")));
    }
    if error != 0 {
        level.insert(format!("E:{error:X}"), raised(format!("error {error:X}: {described}")));
    }
    level
}
