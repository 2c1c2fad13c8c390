//! What the monitor's messages do to the conversation, and who the monitor is.

use std::time::Duration;

use super::messages::{self, Answer, Created, Message};
use super::objects::{Found, NUMERIC, Production};
use super::polls::Missed;
use super::requests::{self, Query};
use super::{AFTER_REFUSAL, OPENING, Phase, PhilipsIntellivue, RELEASING};
use crate::device::serial::Faults;
use crate::device::{Action, FaultKind, Identity};
use crate::link::LinkCommand;
use crate::time::Mono;

/// How far the monitor's relative time may be from what it should be: an answer on a slow line, and a
/// gateway that was busy. In eighths of a millisecond: five seconds.
const CLOCK_TOLERANCE: u32 = 40_000;

/// Polls of the system id without an answer after which the association is made anew.
const UNANSWERED_MAX: u32 = 3;

/// Polls of the production specification without an answer, in an association that otherwise works, after
/// which the monitor is taken for one that does not know the question.
const UNKNOWN_MAX: u32 = 5;

/// What the monitor has said of itself in this association.
#[derive(Debug, Default)]
pub(super) struct Who {
    model: Option<(String, String)>,
    system_id: Option<String>,
    production: Option<Production>,
    /// Whether each was said since the last doubt.
    is_system_certain: bool,
    is_production_certain: bool,
}

impl Who {
    /// Whether it has said who it is since the last doubt.
    pub(super) const fn is_certain(&self) -> bool {
        self.is_system_certain && self.is_production_certain
    }

    fn doubt(&mut self) {
        (self.is_system_certain, self.is_production_certain) = (false, false);
    }

    fn take(&mut self, found: &Found) {
        self.model = found.model.clone().or(self.model.take());
        if found.system_id.is_some() {
            self.system_id.clone_from(&found.system_id);
            self.is_system_certain = true;
        }
        if found.production.is_some() {
            self.production.clone_from(&found.production);
            self.is_production_certain = true;
        }
    }

    fn identity(&self) -> Identity {
        let production = self.production.clone().unwrap_or_default();
        let (maker, model) = self.model.clone().unzip();
        let serial = production.serial.or_else(|| self.system_id.clone());
        Identity { maker, model, serial, firmware: production.software }
    }
}

impl PhilipsIntellivue {
    pub(super) fn handle_message(&mut self, message: Message<'_>, now: Mono, faults: &mut Faults) {
        match self.phase {
            Phase::Listening => self.overhear(message, faults),
            Phase::Associating { .. } | Phase::Opening { .. } => self.handle_opening(message, now, faults),
            Phase::Running => self.handle_running(message, now, faults),
            Phase::Releasing { .. } => {
                if matches!(message, Message::Released | Message::Ended) && self.attempts == 0 {
                    self.associate(now);
                }
            }
            Phase::Settling { .. } | Phase::Closed => {}
        }
    }

    /// A capture: of the monitor's side, or of both.
    fn overhear(&mut self, message: Message<'_>, faults: &mut Faults) {
        match message {
            Message::Created(created) => {
                let mut found = Found::default();
                found.mds(&created.attributes, faults);
                // Another monitor: what the first one said is not this one's.
                if found.system_id != self.who.system_id {
                    self.forget_association();
                }
                self.who.take(&found);
                self.tell_identity();
            }
            Message::Polled(answer) => {
                let found = Found::read(&answer, faults);
                self.output.complain(&found, faults);
                self.count_objects(&answer);
                let Some(whole) = self.linked.take(answer.invoke, answer.link, found, faults) else { return };
                self.who.take(&whole.found);
                self.tell_identity();
                let said = self.output.tell(whole.found, whole.is_whole);
                self.actions.extend(said.into_iter().map(Action::observe));
            }
            Message::Error { code, .. } => {
                faults
                    .add(FaultKind::Refused, format!("the monitor answers: {}", messages::error_words(code)));
            }
            Message::Refused => faults.add(FaultKind::Refused, "the monitor refused an association"),
            Message::Accepted(_) | Message::Ended | Message::Released | Message::Host | Message::Other => {}
        }
    }

    fn handle_opening(&mut self, message: Message<'_>, now: Mono, faults: &mut Faults) {
        match message {
            Message::Accepted(accepted) => {
                let shortest = accepted.period.unwrap_or_default().min(Duration::from_secs(60));
                self.agreed = (shortest, accepted.is_extended.unwrap_or(true));
                self.phase = Phase::Opening { until: now + OPENING };
            }
            Message::Created(created) => {
                self.attempts = 0;
                let (shortest, can_extend) = self.agreed;
                if self.wanted.is_extended && !can_extend {
                    faults.add(
                        FaultKind::Refused,
                        "the monitor does not offer extended polls: single ones are used",
                    );
                }
                self.polls.begin(now, can_extend, self.wanted, shortest);
                self.numerics_due = now;
                self.phase = Phase::Running;
                self.handle_created(&created, now, faults);
                self.run(now);
            }
            Message::Refused => {
                let why = "the monitor refused an association (is another one open on its network port?)";
                self.fail(AFTER_REFUSAL, why, FaultKind::Refused, now);
            }
            Message::Ended => {
                self.fail(RELEASING, "the monitor ended an association at once", FaultKind::Refused, now);
            }
            Message::Polled(_) | Message::Error { .. } => {
                faults.add(FaultKind::Unexpected, "an answer from an association before this one");
            }
            Message::Released | Message::Host | Message::Other => {}
        }
    }

    fn handle_running(&mut self, message: Message<'_>, now: Mono, faults: &mut Faults) {
        match message {
            Message::Polled(answer) => self.handle_answer(&answer, now, faults),
            Message::Error { invoke, code } => self.handle_error(invoke, code, now, faults),
            Message::Created(created) => {
                // It began anew: it has to say again who it is.
                self.who.doubt();
                self.polls.ask_who(now);
                self.handle_created(&created, now, faults);
                self.run(now);
            }
            Message::Ended | Message::Refused | Message::Released => {
                self.report(
                    FaultKind::Refused,
                    "the monitor ended the association: it is made anew".to_owned(),
                );
                self.release(RELEASING, now);
            }
            Message::Accepted(_) => faults.add(FaultKind::Unexpected, "an association was accepted twice"),
            Message::Host => {
                faults.add(FaultKind::Unexpected, "a request came from the monitor's side (an echo?)");
            }
            Message::Other => self.heard = now,
        }
    }

    fn handle_created(&mut self, created: &Created<'_>, now: Mono, faults: &mut Faults) {
        self.heard = now;
        self.clock = Some((created.relative, now));
        let object = (created.context, created.handle);
        if let Some(argument) = requests::confirm_argument(created.invoke, object, created.relative) {
            self.actions.push_back(Action::Command(LinkCommand::Fill(requests::CONFIRM, argument)));
        }
        let mut found = Found::default();
        found.mds(&created.attributes, faults);
        // The serial number is asked for all the same: what is on the line now may be an old event.
        found.production = None;
        self.who.take(&found);
    }

    fn handle_answer(&mut self, answer: &Answer<'_>, now: Mono, faults: &mut Faults) {
        let Some(query) = self.polls.question(answer.invoke, Some(answer.poll)) else {
            faults.add(FaultKind::Unexpected, "an answer to no poll of this association");
            return;
        };
        self.heard = now;
        if !self.goes_on(answer.relative, now) {
            let words = "the monitor's clock has jumped: it is asked who it is before anything is passed on";
            faults.add(FaultKind::Unexpected, words);
            self.doubt(now);
        }
        let found = Found::read(answer, faults);
        self.output.complain(&found, faults);
        self.count_objects(answer);
        let Some(whole) = self.linked.take(answer.invoke, answer.link, found, faults) else { return };
        let has_serial = whole.found.production.as_ref().is_some_and(|said| said.serial.is_some());
        if !has_serial && self.is_evaded(query, answer.invoke, now) {
            return;
        }
        self.polls.answered(answer.invoke, now);
        if query.asks_who() {
            self.handle_who(query, &whole.found, now, faults);
        } else if self.is_identified() {
            let found = whole.found;
            if query == Query::Numerics && found.has_numerics {
                if now < self.numerics_due {
                    return;
                }
                // An extended poll comes each second; its jitter must not cost every second reading.
                self.numerics_due = now + self.wanted.period.saturating_sub(Duration::from_millis(500));
            }
            let said = self.output.tell(found, whole.is_whole);
            self.actions.extend(said.into_iter().map(Action::observe));
        }
    }

    fn count_objects(&mut self, answer: &Answer<'_>) {
        if answer.class == NUMERIC {
            self.output.count_objects(answer.objects.len());
        }
    }

    /// Whether the monitor's relative time has gone on as time has.
    fn goes_on(&mut self, relative: u32, now: Mono) -> bool {
        let before = self.clock.replace((relative, now));
        let Some((then, at)) = before else { return true };
        let passed = u32::try_from(now.since(at).as_millis() * 8 % (1 << 32)).unwrap_or_default();
        let ahead = relative.wrapping_sub(then.wrapping_add(passed));
        ahead.min(ahead.wrapping_neg()) <= CLOCK_TOLERANCE
    }

    fn doubt(&mut self, now: Mono) {
        self.who.doubt();
        self.linked.clear();
        self.polls.ask_who(now);
    }

    fn handle_who(&mut self, query: Query, found: &Found, now: Mono, faults: &mut Faults) {
        let is_other = found.system_id.is_some() && self.who.system_id != found.system_id;
        if is_other && self.who.is_certain() {
            faults.add(FaultKind::Unexpected, "another monitor answers: the association is made anew");
            self.release(RELEASING, now);
            return;
        }
        self.who.take(found);
        match query {
            // Answered, and nothing in it: the other number has to do.
            Query::SystemId => self.who.is_system_certain = true,
            Query::Production => {
                self.who.production.get_or_insert_default();
                self.who.is_production_certain = true;
            }
            Query::Numerics | Query::Alerts => {}
        }
        if self.who.is_certain() {
            self.tell_identity();
            self.run(now);
        }
    }

    fn tell_identity(&mut self) {
        let identity = self.who.identity();
        if self.told.as_ref() == Some(&identity) || identity == Identity::default() {
            return;
        }
        let serial = self.who.production.as_ref().and_then(|said| said.serial.as_deref());
        self.output.handle_identity(self.who.system_id.as_deref(), serial);
        self.told = Some(identity.clone());
        self.actions.push_back(Action::identify(identity));
    }

    fn handle_error(&mut self, invoke: u16, code: u16, now: Mono, faults: &mut Faults) {
        let Some(query) = self.polls.question(invoke, None) else {
            faults.add(FaultKind::Unexpected, "an error of no poll of this association");
            return;
        };
        self.heard = now;
        let words = format!("{} was refused: {}", query.words(), messages::error_words(code));
        faults.add(FaultKind::Refused, words);
        if self.is_evaded(query, invoke, now) {
            return;
        }
        self.polls.answered(invoke, now);
        if query.asks_who() {
            self.handle_who(query, &Found::default(), now, faults);
        } else if self.polls.is_extended() {
            faults.add(
                FaultKind::Refused,
                "extended polls are given up on this association: single ones are used",
            );
            self.polls.use_single(now);
        }
    }

    /// Whether a monitor that has stated a serial number answers the question for it with none: that does not
    /// make it another monitor, and it is asked again.
    fn is_evaded(&mut self, query: Query, invoke: u16, now: Mono) -> bool {
        if query != Query::Production || !self.has_stated_serial() {
            return false;
        }
        if let Some(missed) = self.polls.evaded(invoke) {
            self.handle_missed(missed, now);
        }
        true
    }

    /// Whether it was told on this connection with a serial number of its own.
    fn has_stated_serial(&self) -> bool {
        let serial = self.told.as_ref().and_then(|told| told.serial.as_deref());
        serial.is_some() && serial != self.who.system_id.as_deref()
    }

    pub(super) fn handle_missed(&mut self, missed: Missed, now: Mono) {
        self.report(FaultKind::Timeout, format!("no answer to {}", missed.query.words()));
        match missed.query {
            Query::SystemId if missed.count >= UNANSWERED_MAX => self.release(RELEASING, now),
            Query::Production if missed.count >= UNKNOWN_MAX && !self.who.is_production_certain => {
                // It stated a serial number before: then it is not that it does not know the question.
                if self.has_stated_serial() {
                    self.release(RELEASING, now);
                    return;
                }
                let mut faults = Faults::default();
                self.handle_who(Query::Production, &Found::default(), now, &mut faults);
                self.actions.extend(faults.into_actions());
            }
            Query::SystemId | Query::Production | Query::Numerics | Query::Alerts => {}
        }
    }

    pub(super) fn handle_missed_feed(&mut self, missed: Missed, now: Mono) {
        if missed.query == Query::Numerics {
            self.report(
                FaultKind::Timeout,
                format!("the monitor stopped answering {}", missed.query.words()),
            );
        }
        if missed.ends_extended() {
            let words = "extended polls are in vain: single ones are used on this association";
            self.report(FaultKind::Timeout, words.to_owned());
            self.polls.use_single(now);
        }
    }
}
