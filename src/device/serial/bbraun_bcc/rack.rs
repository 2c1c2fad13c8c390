//! What the driver does with the blocks of a reply: the handshake, the rack's identity, the slots.
//!
//! In: a whole block, and what it answers. Out: whether the reply has ended, and what follows from
//! it, as actions.

use super::clock::RackClock;
use super::places::{Place, name};
use super::readings;
use super::reply::{self, Segment};
use super::requests::Ask;
use super::slots::{Manner, Out};
use super::wire::Block;
use super::{BbraunBcc, Phase};
use crate::device::serial::{Faults, text};
use crate::device::{Action, FaultKind, Identity};
use crate::time::Now;

/// The most names of unknown parameters that are told on one connection.
const STRANGE_MAX: usize = 32;

/// What the rack says of itself.
#[derive(Debug, Default)]
pub(super) struct Rack {
    /// The version that it answered with.
    firmware: Option<String>,
    /// The rack's type (`FMRT`).
    model: Option<String>,
    /// Whether it was asked for its version since the last doubt.
    pub(super) is_known: bool,
    told: Option<Identity>,
}

/// Whether a segment can only be the answer to `ADMIN:VERSION`.
fn is_version(segment: &Segment) -> bool {
    let is_one = |name: &str| name.starts_with('V') && name.contains(|c: char| c.is_ascii_digit());
    segment.place == Place::Rack && segment.only().is_some_and(is_one)
}

/// Whether a block can be an answer. A rack that missed an ACK says the last block of its reply again,
/// when the next question is out already.
fn is_answer(ask: Ask, segments: &[Segment]) -> bool {
    let is_alive = matches!(segments, [only] if only.only() == Some("GNACK"));
    match ask {
        Ask::Alive => is_alive,
        Ask::Version => !is_alive,
        Ask::Memory => !is_alive && !matches!(segments, [only] if is_version(only)),
        Ask::Slot(part) => {
            let is_of_slot = |segment: &Segment| match segment.place {
                Place::Rack => segment.get("GNERR").is_some(),
                Place::Slot(other) => other == part,
            };
            segments.is_empty() || segments.iter().any(is_of_slot)
        }
    }
}

impl BbraunBcc {
    /// Reads a block whatever it answers, as a listener does.
    pub(super) fn overhear(&mut self, block: &Block<'_>, now: Now, faults: &mut Faults) {
        if reply::is_request(block.data) {
            return;
        }
        let segments = reply::segments(block.data, faults);
        self.rack.is_known = true;
        match segments.as_slice() {
            [only] if is_version(only) => {
                self.rack.firmware = only.only().map(text);
                self.tell_rack();
            }
            all => self.handle_segments(all, true, now, faults),
        }
        if block.is_last {
            self.tell_rack();
        }
    }

    /// Takes a block as an answer. True when the reply is over.
    pub(super) fn handle_answer(
        &mut self,
        ask: Ask,
        block: &Block<'_>,
        now: Now,
        faults: &mut Faults,
    ) -> bool {
        let segments = reply::segments(block.data, faults);
        if !is_answer(ask, &segments) {
            faults.add(FaultKind::Unexpected, format!("what came is no answer to {}", ask.name()));
            return false;
        }
        match ask {
            Ask::Alive => {
                self.handle_alive(block.bed);
                return true;
            }
            Ask::Version => return self.handle_version(&segments, faults),
            Ask::Memory => self.handle_segments(&segments, true, now, faults),
            Ask::Slot(_) => self.handle_segments(&segments, false, now, faults),
        }
        if block.is_last {
            self.handle_reply_end(ask, faults);
        }
        block.is_last
    }

    /// The rack is there; its block says how it is to be called.
    fn handle_alive(&mut self, bed: &[u8]) {
        if self.bed.as_deref().is_some_and(|before| before != bed) {
            let mut gone = Vec::new();
            self.slots.handle_other_rack(&mut gone);
            self.actions.extend(gone);
            (self.rack, self.clock) = (Rack::default(), RackClock::default());
        }
        self.bed = Some(bed.to_vec());
        self.clock.release();
        self.rack.is_known = false;
        self.is_version_due = true;
    }

    /// The version stands in the place of a parameter's name, without a value.
    fn handle_version(&mut self, segments: &[Segment], faults: &mut Faults) -> bool {
        let [only] = segments else {
            faults.add(FaultKind::Unexpected, "what came is no answer to ADMIN:VERSION");
            return false;
        };
        match only.only() {
            Some(name) if name != "GNERR" => self.rack.firmware = Some(text(only.get(name).unwrap_or(name))),
            Some(_) | None => faults.add(FaultKind::Refused, "the rack does not tell its version"),
        }
        self.rack.is_known = true;
        true
    }

    fn handle_segments(&mut self, segments: &[Segment], may_wait: bool, now: Now, faults: &mut Faults) {
        let jumped = segments.first().is_some_and(|first| self.clock.handle_seconds(first.seconds, now.mono));
        if jumped && self.phase != Phase::Listening {
            faults.add(
                FaultKind::Unexpected,
                "the rack's clock has jumped: it was started anew, or another rack answers; asked who it is",
            );
            self.doubt(now.mono, faults);
        }
        for segment in segments {
            self.note_strange(segment, faults);
            let place = segment.place;
            match (place, segment.get("GNERR")) {
                // A rack that has no pumps (11) has a clock.
                (Place::Rack, None | Some("11")) => self.handle_rack(segment, now, faults),
                (Place::Rack | Place::Slot(_), Some(code)) => self.handle_error(place, code, faults),
                (Place::Slot(part), None) => {
                    let time = self.clock.time(segment.seconds, now);
                    let manner = Manner { meaning: self.meaning, time, may_wait };
                    let mut actions = Vec::new();
                    let mut out = Out { actions: &mut actions, faults: &mut *faults };
                    self.slots.handle_segment(part, segment, manner, &mut out);
                    self.actions.extend(actions);
                }
            }
        }
    }

    fn handle_rack(&mut self, segment: &Segment, now: Now, faults: &mut Faults) {
        // Behind a doubt the rack's own readings wait until it has been asked who it is. An answer to
        // ADMIN:ALIVE holds none.
        if !self.rack.is_known || segment.only() == Some("GNACK") {
            return;
        }
        if let Some(model) = segment.get("FMRT") {
            self.rack.model = Some(text(model));
        }
        self.tell_rack();
        if self.rack.told.is_none() {
            return;
        }
        let time = self.clock.time(segment.seconds, now);
        let mut said = readings::rack(segment, faults);
        for one in &mut said {
            one.device_time = time;
        }
        self.actions.extend(said.into_iter().map(Action::observe));
    }

    /// Tells who the rack is, if it has said so and that was not told.
    fn tell_rack(&mut self) {
        let Rack { firmware, model, is_known, told } = &mut self.rack;
        let identity = Identity { model: model.clone(), firmware: firmware.clone(), ..Identity::default() };
        if *is_known && identity != Identity::default() && told.as_ref() != Some(&identity) {
            *told = Some(identity.clone());
            self.actions.push_back(Action::identify(identity));
        }
    }

    fn handle_error(&mut self, place: Place, code: &str, faults: &mut Faults) {
        let (why, is_removed) = match code {
            "39" => ("the pump was taken out of its slot", true),
            "11" => ("the rack has no data of the slot any more", false),
            "811" => ("the rack does not have the slot", false),
            "68" => {
                faults
                    .add(FaultKind::Refused, "the rack says that a request had the wrong syntax (GNERR 68)");
                return;
            }
            other => {
                let is_number = other.len() <= 5 && other.bytes().all(|byte| byte.is_ascii_digit());
                let shown = if is_number { other } else { "that is no number" };
                faults.add(
                    FaultKind::Refused,
                    format!("the rack gives an error that is not known (GNERR {shown})"),
                );
                return;
            }
        };
        // Of the rack itself, 11 says that it has no pumps; the slots are then found empty. A slot of
        // which the rack has just spoken is there: then it is the question that it does not know.
        if let Place::Slot(part) = place {
            if !is_removed && self.slots.is_seen(part) {
                faults.add(
                    FaultKind::Refused,
                    format!("the rack does not answer for slot {} alone", name(part)),
                );
                return;
            }
            let mut actions = Vec::new();
            self.slots.handle_gone(part, why, is_removed, &mut Out { actions: &mut actions, faults });
            self.actions.extend(actions);
        }
    }

    fn handle_reply_end(&mut self, ask: Ask, faults: &mut Faults) {
        match ask {
            Ask::Memory => {
                self.tell_rack();
                self.asks = self.slots.unsettled().collect();
            }
            Ask::Slot(part) if !self.slots.is_seen(part) => {
                let mut actions = Vec::new();
                let out = &mut Out { actions: &mut actions, faults };
                self.slots.handle_gone(part, "the rack says nothing of the slot any more", false, out);
                self.actions.extend(actions);
            }
            Ask::Slot(_) | Ask::Alive | Ask::Version => {}
        }
    }

    /// Parameters that nobody knows are told by name, once; never what they say.
    fn note_strange(&mut self, segment: &Segment, faults: &mut Faults) {
        for name in segment.names().filter(|name| !readings::is_known(name)) {
            let is_name = name.len() <= 12
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            let shown = if is_name { name } else { "(no name)" };
            if self.strange.len() < STRANGE_MAX && self.strange.insert(shown.to_owned()) {
                let detail =
                    format!("{} tells {shown}, which is not known: not passed on", segment.place_name());
                faults.add(FaultKind::Unexpected, detail);
            }
        }
    }
}
