//! Dräger ventilators and anaesthesia machines: MEDIBUS (Evita, Apollo, Primus, Fabius) and MEDIBUS.X (V500).
//!
//! In: the device's replies, and its own commands. Out: the device's name and revision, measured data of
//! both code pages, settings, mode and messages, its clock, the edges of its alarms; one command at a time,
//! and one reply to each command of the device.
//!
//! The conversation: ICC (51) until it is answered, then 52 (who are you), then the lists, each at its
//! period, the alarms first; NOP when there is nothing to ask, as a device that hears nothing for 3 s ends
//! the communication. The device commands too, at any time, also within a reply: it is answered at once and
//! once. A command without an answer is said once more; after a second silence, a STOP or a refusal the
//! communication is begun again with ICC, and nothing is believed before the device has said who it is.
//! A list that was never answered since is asked for again every [`OPTIONAL_AGAIN`]: not every device has it.
//!
//! The protocol has no serial number. What a device says of itself is the number of its kind, its name and
//! its revisions: so two devices of one kind cannot be told apart, and the configuration has to say that
//! the port alone vouches (`trust = "link-only"`). A device that takes the place of another has not been
//! begun with: it answers nothing or says ICC, and is asked who it is before a reading of it is passed on.
//!
//! What never happens: a reading before the name; a byte to the device that is not in [`REQUESTS`]. Its
//! commands that configure or set something have no representation here.

mod alarm_codes;
mod answers;
mod codes;
mod commands;
mod measured;
mod metrics;
mod queries;
mod readings;
mod replies;
#[cfg(test)]
mod tests;
mod texts;
mod values;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Faults;
use crate::device::alarms::AlarmEdges;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::observation::Quality;
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use codes::{Page, Profile};
use queries::{NOP_PERIOD, Query, REQUESTS};
use wire::{Framer, Piece};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "draeger-medibus",
    title: "Dräger Evita, Apollo, Primus, Fabius, V500 (MEDIBUS, MEDIBUS.X)",
    class: Class::Therapy,
    line: Line { baud: 9_600, data_bits: 8, parity: Parity::Even, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: metrics::READS,
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &SETTINGS,
    quiet: Duration::from_secs(20),
    driver: &|settings| Box::new(Medibus::new(settings)),
};

static SETTINGS: [Setting; 3] = [
    Setting {
        name: "profile",
        meaning: "what the few codes mean that MEDIBUS and MEDIBUS.X use differently: medibus-x for V500 and \
                  later (see the interface page of its instructions for use), else medibus",
        values: Values::Word(&["medibus", "medibus-x"]),
    },
    Setting {
        name: "priority-medium",
        meaning: "an alarm is of medium priority from this value of the device's scale of 1 to 31 on; the \
                  device's MEDIBUS instructions (\"Alarm Priorities\") list what it uses",
        values: Values::Number { least: 1, most: 32, default: 11 },
    },
    Setting {
        name: "priority-high",
        meaning: "an alarm is of high priority from this value of the device's scale of 1 to 31 on",
        values: Values::Number { least: 1, most: 32, default: 21 },
    },
];

/// How long an answer may take before the command is said again. Twice that is under the 3 s after
/// which a device that hears nothing ends the communication.
const PATIENCE: Duration = Duration::from_millis(1_400);

/// While an answer is coming in, so much longer: the longest pause within one.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// The longest that a device may take for a complete answer (MEDIBUS, message flow).
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// After ICC without an answer, and after a STOP of the device, ICC comes again so much later.
const START_PERIOD: Duration = Duration::from_secs(2);

/// ICC without an answer so often, and the port is opened again: that cures an adapter that hangs.
const STARTS_MAX: u32 = 6;

/// How soon a refused command is said again.
const REFUSED_PAUSE: Duration = Duration::from_millis(300);

/// A list that the device does not seem to have is asked for again so much later: it may only have been a
/// bad moment of the line, and alarms stand in one of them.
const OPTIONAL_AGAIN: Duration = Duration::from_secs(60);

/// An identification that could not be read is asked for again so much later.
const WHO_AGAIN: Duration = Duration::from_secs(5);

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// ICC is not answered yet.
    Starting,
    /// The communication is begun.
    Talking,
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// What is known of a command since the communication was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    /// It was not answered yet.
    Unknown,
    /// It was answered.
    Answered,
    /// It was not answered twice, and never before.
    Missing,
}

/// A command whose answer is outstanding.
#[derive(Clone, Copy, Debug)]
struct Asked {
    query: Query,
    until: Mono,
    latest: Mono,
    repeated: bool,
}

/// The driver.
#[derive(Debug)]
struct Medibus {
    profile: Profile,
    /// From which of the device's priorities on an alarm is medium, and high.
    medium: u8,
    high: u8,
    framer: Framer,
    phase: Phase,
    asked: Option<Asked>,
    /// When each command is due, by place; `None`: not again before the next ICC.
    due: [Option<Mono>; Query::COUNT],
    /// What the device has shown of each command, by place.
    offers: [Offer; Query::COUNT],
    /// ICC without an answer in a row.
    starts: u32,
    /// Whether the device has said who it is since the last doubt.
    is_identified: bool,
    /// What was last told to the session on this connection.
    told: Option<Identity>,
    alarms: AlarmEdges,
    /// Whose alarms those are.
    alarms_of: Option<Identity>,
    /// What the device's messages say against its values.
    quality: Quality,
    /// Codes that were told on this connection: unknown, or with a value that cannot be read.
    told_codes: BTreeSet<(Page, u8)>,
    actions: VecDeque<Action>,
}

impl Medibus {
    fn new(settings: &Settings) -> Self {
        let bound = |name| u8::try_from(settings.number(name)).unwrap_or(u8::MAX);
        Self {
            profile: if settings.word("profile") == "medibus-x" {
                Profile::Extended
            } else {
                Profile::Classic
            },
            medium: bound("priority-medium"),
            high: bound("priority-high"),
            framer: Framer::default(),
            phase: Phase::Listening,
            asked: None,
            due: [None; Query::COUNT],
            offers: [Offer::Unknown; Query::COUNT],
            starts: 0,
            is_identified: false,
            told: None,
            alarms: AlarmEdges::default(),
            alarms_of: None,
            quality: Quality::GOOD,
            told_codes: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        self.framer = Framer::default();
        self.asked = None;
        self.starts = 0;
        self.told = None;
        self.told_codes.clear();
        self.actions.clear();
        // What is on is kept: compared again once the device has said that it is of the same kind.
        self.start_again(now);
        self.ask_next(now);
    }

    /// Nothing holds any more: ICC comes at `at`.
    fn start_again(&mut self, at: Mono) {
        self.phase = Phase::Starting;
        self.is_identified = false;
        self.asked = None;
        self.set_due(Query::Start, Some(at));
    }

    /// The communication is begun: everything is asked from the first.
    fn handle_started(&mut self, now: Mono) {
        self.phase = Phase::Talking;
        self.is_identified = false;
        self.starts = 0;
        self.due = [Some(now); Query::COUNT];
        self.offers = [Offer::Unknown; Query::COUNT];
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        if self.phase == Phase::Closed {
            return;
        }
        let mut faults = Faults::default();
        for piece in self.framer.take(bytes) {
            self.handle_piece(&piece, now, &mut faults);
        }
        // Bytes of the real-time stream alone do not show that the reply goes on.
        let is_more_than_stream = bytes.iter().any(|byte| *byte < 0x80);
        if is_more_than_stream
            && self.framer.is_in_reply()
            && let Some(asked) = &mut self.asked
        {
            asked.until = asked.until.max(now + PAUSE_MAX).min(asked.latest);
        }
        self.actions.extend(faults.into_actions());
        self.ask_next(now);
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        match piece {
            Piece::Frame(frame) if frame.is_command => self.handle_command(frame.code, now, faults),
            Piece::Frame(frame) => self.handle_reply(frame, now, faults),
            Piece::CorruptCommand => {
                faults.add(FaultKind::Checksum, "the checksum of a command of the device is wrong");
                self.answer(queries::CORRUPT);
            }
            Piece::Broken(kind, detail) => faults.add(*kind, detail.clone()),
        }
    }

    /// Asks the first that is due, if nothing is outstanding.
    fn ask_next(&mut self, now: Mono) {
        if self.asked.is_some() {
            return;
        }
        if let Some(query) = self.candidates().find(|query| self.due_of(*query).is_some_and(|due| due <= now))
        {
            self.ask(query, false, now);
        }
    }

    /// What may be asked at the moment, the most urgent first.
    fn candidates(&self) -> impl Iterator<Item = Query> + use<> {
        let (phase, is_identified) = (self.phase, self.is_identified);
        Query::ALL.into_iter().filter(move |query| match phase {
            Phase::Listening | Phase::Closed => false,
            Phase::Starting => *query == Query::Start,
            Phase::Talking => {
                *query != Query::Start && (is_identified || matches!(query, Query::Who | Query::Nop))
            }
        })
    }

    fn ask(&mut self, query: Query, repeated: bool, now: Mono) {
        let patience = if query == Query::Start { START_PERIOD } else { PATIENCE };
        self.asked = Some(Asked { query, until: now + patience, latest: now + ANSWER_MAX, repeated });
        self.set_due(Query::Nop, Some(now + NOP_PERIOD));
        self.actions.push_back(Action::Command(LinkCommand::Send(query.id())));
    }

    fn report(&mut self, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(FaultKind::Timeout, detail)));
    }

    fn due_of(&self, query: Query) -> Option<Mono> {
        self.due.get(usize::from(query.place())).copied().flatten()
    }

    fn offer_of(&self, query: Query) -> Offer {
        self.offers.get(usize::from(query.place())).copied().unwrap_or(Offer::Unknown)
    }

    fn set_offer(&mut self, query: Query, offer: Offer) {
        if let Some(known) = self.offers.get_mut(usize::from(query.place())) {
            *known = offer;
        }
    }

    fn set_due(&mut self, query: Query, at: Option<Mono>) {
        if let Some(due) = self.due.get_mut(usize::from(query.place())) {
            *due = at;
        }
    }
}

impl Driver for Medibus {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) => {
                let left = self.framer.finish();
                if self.phase == Phase::Listening {
                    let mut faults = Faults::default();
                    for piece in left {
                        self.handle_piece(&piece, now.mono, &mut faults);
                    }
                    self.actions.extend(faults.into_actions());
                } else {
                    self.phase = Phase::Closed;
                    self.asked = None;
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
        if let Some(asked) = self.asked
            && asked.until <= now
        {
            self.handle_silence(asked, now);
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.asked {
            Some(asked) => Some(asked.until),
            None => self.candidates().filter_map(|query| self.due_of(query)).min(),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
