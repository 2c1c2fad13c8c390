//! Philips IntelliVue monitors: Data Export over MIB/RS232.
//!
//! In: the monitor's frames. Out: an association, its confirmation, polls; who the monitor is; its
//! numerics; the edges of its alerts. Waves are left out: they would need a list to be set in the monitor.
//!
//! The conversation: after `Up` everything is thrown away for a moment; then an association that may still
//! stand is released, and one is asked for. The monitor accepts and sends the MDS-Create
//! event, which is confirmed with its own invoke id. Then it is asked for its serial number; only when it
//! has said who it is are numerics and alerts polled: by extended polls, each good for a minute and
//! renewed, or by single ones. Every three seconds it is asked for its system id: that keeps the
//! association alive, which the monitor otherwise ends, and shows that it still is the same. When it ends
//! the association, or nothing is heard, all begins again; the alerts that were on are kept until
//! it has said who it is.
//!
//! Whose answer it is: an association is the monitor's own, so another one at the end of the cable does not
//! answer. What another one may send unasked (the rest of somebody's extended poll) carries invoke
//! ids and poll numbers of that poll. Where these are the same by accident, the monitor's relative time, which
//! stands in every answer, gives it away: it must go on as time does, or nothing is believed until
//! the monitor has said again who it is. What remains: two monitors that were started within the
//! same five seconds, both with a poll of the same number; the next system id ends it after three seconds.
//!
//! The serial number is that of the product in the production specification; a monitor that states none
//! goes by its system id, in hex digits.
//!
//! What never happens: an observation before the identity on a connection that asks; a name, a
//! number or a birth date of a patient in what comes out: they are never asked for, and what comes all
//! the same is not read; a value of a demonstration without its flag; a request that sets anything.

mod alarms;
#[expect(unreachable_pub, reason = "the rows of every table are written alike")]
mod codes;
mod conversation;
mod framing;
mod linked;
mod messages;
mod objects;
mod output;
mod polls;
mod reader;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Delimited, Piece};
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity, RequestId};
use crate::time::{Mono, Now};
use conversation::Who;
use linked::Linked;
use output::Output;
use polls::{Manner, Polls};
use requests::REQUESTS;

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "philips-intellivue",
    title: "Philips IntelliVue monitor (Data Export, MIB/RS232)",
    class: Class::Monitor,
    line: Line { baud: 115_200, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &codes::READS,
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &SETTINGS,
    quiet: Duration::from_secs(30),
    driver: &|settings| Box::new(PhilipsIntellivue::new(settings)),
};

static SETTINGS: [Setting; 3] = [
    Setting {
        name: "poll",
        meaning: "how values are fetched: extended polls (the monitor goes on by itself), or single ones for a monitor \
                  that refuses them (Data Export Interface Programming Guide of its software revision)",
        values: Values::Word(&["extended", "single"]),
    },
    Setting {
        name: "attributes",
        meaning: "which attributes of numerics are fetched: all (settings are then told from measurements), or values \
                  only, which takes a third of the line",
        values: Values::Word(&["all", "values"]),
    },
    Setting {
        name: "period",
        meaning: "seconds between two readings of the numerics; alerts are always fetched each second",
        values: Values::Number { least: 1, most: 10, default: 5 },
    },
];

/// How long everything is thrown away after `Up`.
const SETTLE: Duration = Duration::from_millis(300);

/// How long the monitor may take to accept an association.
const ACCEPTANCE: Duration = Duration::from_secs(3);

/// How long the MDS-Create event may take after it.
const OPENING: Duration = Duration::from_secs(4);

/// How long the end of an association may take.
const RELEASING: Duration = Duration::from_millis(500);

/// How long to wait after a refusal.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// How long the monitor may say nothing within an association: it answers every three seconds.
const SILENCE: Duration = Duration::from_secs(10);

/// Attempts in vain after which the line is closed and opened again.
const ATTEMPTS_MAX: u32 = 3;

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// An association is asked for.
    Associating { until: Mono },
    /// It was accepted; the monitor has not said what it is.
    Opening { until: Mono },
    /// It stands.
    Running,
    /// It is at its end; another one is asked for afterwards.
    Releasing { until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct PhilipsIntellivue {
    framer: Delimited,
    phase: Phase,
    /// Bytes that were thrown away while settling.
    discarded: usize,
    /// Associations that were asked for in vain.
    attempts: u32,
    wanted: Manner,
    polls: Polls,
    /// What was agreed upon: the shortest period, and whether extended polls are offered.
    agreed: (Duration, bool),
    linked: Linked,
    who: Who,
    /// What was last told to the session on this connection.
    told: Option<Identity>,
    /// The monitor's relative time at a moment.
    clock: Option<(u32, Mono)>,
    /// When something was last heard in this association.
    heard: Mono,
    /// From when on numerics are told again.
    numerics_due: Mono,
    output: Output,
    actions: VecDeque<Action>,
}

impl PhilipsIntellivue {
    fn new(settings: &Settings) -> Self {
        let period = u64::try_from(settings.number("period")).unwrap_or_default().max(1);
        let wanted = Manner {
            is_extended: settings.word("poll") == "extended",
            is_values_only: settings.word("attributes") == "values",
            period: Duration::from_secs(period),
        };
        Self {
            framer: Delimited::new(framing::DELIMITERS),
            phase: Phase::Listening,
            discarded: 0,
            attempts: 0,
            wanted,
            polls: Polls::new(wanted),
            agreed: (Duration::ZERO, true),
            linked: Linked::default(),
            who: Who::default(),
            told: None,
            clock: None,
            heard: Mono::default(),
            numerics_due: Mono::default(),
            output: Output::default(),
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        self.framer.reset();
        self.forget_association();
        (self.discarded, self.attempts, self.told) = (0, 0, None);
        // Alerts that were on are kept: they are compared again once the monitor has said that it is
        // the same one, so that one that ended meanwhile gets its end.
        self.output.handle_up();
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        match self.phase {
            Phase::Closed => return,
            Phase::Settling { .. } => {
                self.discarded = self.discarded.saturating_add(bytes.len());
                return;
            }
            Phase::Listening
            | Phase::Associating { .. }
            | Phase::Opening { .. }
            | Phase::Running
            | Phase::Releasing { .. } => {}
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, now, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        let span = match piece {
            Piece::Frame(span) => span,
            Piece::Broken(..) | Piece::Noise(_) => {
                let (kind, detail) = framing::fault_of(piece);
                faults.add(kind, detail);
                return;
            }
        };
        match framing::user_data(span) {
            Ok(user_data) => match messages::read(&user_data) {
                Some(message) => self.handle_message(message, now, faults),
                None => faults.add(FaultKind::Malformed, "a frame holds no message that can be read"),
            },
            Err((kind, detail)) => faults.add(kind, detail),
        }
    }

    fn associate(&mut self, now: Mono) {
        self.forget_association();
        self.agreed = (Duration::ZERO, true);
        self.phase = Phase::Associating { until: now + ACCEPTANCE };
        self.send(requests::ASSOCIATE);
    }

    /// Ends the association, if there still is one, and begins again after a while.
    fn release(&mut self, wait: Duration, now: Mono) {
        self.forget_association();
        self.phase = Phase::Releasing { until: now + wait };
        self.send(requests::RELEASE);
    }

    /// The association was asked for in vain.
    fn fail(&mut self, wait: Duration, why: &str, kind: FaultKind, now: Mono) {
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts >= ATTEMPTS_MAX {
            let detail = format!("{why}, {ATTEMPTS_MAX} times: the line is opened again");
            self.report(kind, detail);
            self.forget_association();
            self.phase = Phase::Closed;
            self.actions.push_back(Action::Command(LinkCommand::HangUp));
            return;
        }
        self.report(kind, why.to_owned());
        self.release(wait, now);
    }

    fn forget_association(&mut self) {
        self.polls.clear();
        self.linked.clear();
        self.who = Who::default();
        self.clock = None;
    }

    fn run(&mut self, now: Mono) {
        if self.heard + SILENCE <= now {
            self.report(
                FaultKind::Timeout,
                "the monitor has gone silent: the association is made anew".to_owned(),
            );
            self.release(RELEASING, now);
            return;
        }
        for missed in self.polls.expire(now) {
            self.handle_missed(missed, now);
            if self.phase != Phase::Running {
                return;
            }
        }
        while let Some((command, missed)) = self.polls.next(now, self.is_identified()) {
            self.actions.push_back(Action::Command(command));
            if let Some(missed) = missed {
                self.handle_missed_feed(missed, now);
            }
        }
    }

    fn is_identified(&self) -> bool {
        self.told.is_some() && self.who.is_certain()
    }

    fn send(&mut self, id: RequestId) {
        self.actions.push_back(Action::Command(LinkCommand::Send(id)));
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }
}

impl Driver for PhilipsIntellivue {
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
                if self.discarded > 0 {
                    let detail =
                        format!("{} bytes of an earlier conversation were thrown away", self.discarded);
                    self.report(FaultKind::Unexpected, detail);
                }
                // A gateway that starts again may find the association of its last run still standing.
                self.release(RELEASING, now);
            }
            Phase::Associating { until } if until <= now => {
                self.fail(RELEASING, "no answer to the association request", FaultKind::Timeout, now);
            }
            Phase::Opening { until } if until <= now => {
                let why = "the monitor accepted an association and did not say what it is";
                self.fail(RELEASING, why, FaultKind::Timeout, now);
            }
            Phase::Releasing { until } if until <= now => self.associate(now),
            Phase::Running => self.run(now),
            Phase::Listening
            | Phase::Settling { .. }
            | Phase::Associating { .. }
            | Phase::Opening { .. }
            | Phase::Releasing { .. }
            | Phase::Closed => {}
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until }
            | Phase::Associating { until }
            | Phase::Opening { until }
            | Phase::Releasing { until } => Some(until),
            Phase::Running => {
                let silence = self.heard + SILENCE;
                Some(self.polls.wake(self.is_identified()).map_or(silence, |wake| wake.min(silence)))
            }
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
