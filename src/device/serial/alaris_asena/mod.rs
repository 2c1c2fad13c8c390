//! Alaris / IVAC Asena GH, CC and TIVA syringe pumps: the ASCII protocol "Asena Rev 2.x".
//!
//! In: the pump's replies. Out: one query at a time, the pump's serial number and protocol
//! revision, its readings, the edges of its alarms. The pump is silent unless asked.
//!
//! The conversation: after `Up` everything is thrown away for a moment (the end of a reply to an
//! earlier conversation, power-up noise); then the pump is asked who it is; then alarm, status,
//! volume to be infused and syringe, each at its period, the alarm first. A reply counts only while
//! its own query is outstanding. A query is repeated once when nothing comes; after a query that
//! stayed without an answer the pump is asked who it is before anything else is believed; after
//! several the line is closed and opened again.
//!
//! Of the replies only the status holds the serial number. So what the others say is held back until
//! a status, asked for at once, shows that the same pump still speaks; an alarm is late by that one
//! exchange, about 60 ms.
//!
//! What never happens: an observation before the serial number; an observation of one pump under the
//! serial number of another, however fast they were exchanged; a byte to the pump that is not one of [`REQUESTS`], which are
//! queries without arguments. The protocol's writes have no representation here.

mod alarms;
mod queries;
mod readings;
mod replies;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::alarms::{AlarmEdges, Level};
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Delimited, Piece};
use crate::device::nomenclature as mdc;
use crate::device::observation::Observation;
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use queries::{Query, REQUESTS};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "alaris-asena",
    title: "Alaris / IVAC Asena GH, CC, TIVA syringe pump (ASCII, Rev 2.x)",
    class: Class::Therapy,
    line: Line { baud: 38_400, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &mdc::PUMP_MODE,
        &mdc::FLOW_FLUID_PUMP,
        &mdc::DRUG_NAME,
        &mdc::VOL_FLUID_DELIV,
        &mdc::PRESS_FLUID_ACT,
        &mdc::TIME_PD_REMAIN,
        &mdc::VOL_FLUID_TBI,
        &mdc::ALARIS_VTBI_ACTION,
        &mdc::ALARIS_SYRINGE,
        &mdc::VOL_SYRINGE,
        &mdc::ALARIS_REMOTE_CONTROL,
        &mdc::EVT_ALARM,
        &mdc::EVT_OCCL,
        &mdc::EVT_BATT_LO,
        &mdc::EVT_PUMP_VOL_TBI_COMP,
        &mdc::EVT_PUMP_DELIV_COMP,
        &mdc::EVT_VOL_INFUS_NEAR_COMP,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &[],
    quiet: Duration::from_secs(15),
    driver: &|_| Box::new(AlarisAsena::new()),
};

/// How long everything is thrown away after `Up`: three times what the longest frame takes at
/// 38,400 baud.
const SETTLE: Duration = Duration::from_millis(400);

/// How long a first answer may take before the query is repeated. Hosts in the field use this.
const PATIENCE: Duration = Duration::from_millis(500);

/// Answers within [`PATIENCE`] in a row after which a pump that was slow counts as quick again: one
/// storm of noise must not make every lost answer cost seconds from then on.
const QUICK_ENOUGH: u32 = 8;

/// How long a repeated query may take: the pump's own longest response time, as pumps state it.
const RESPONSE_MAX: Duration = Duration::from_secs(4);

/// The most readings that wait for a status to say whose they are: three rounds of everything that
/// has no serial number of its own. A pump whose status never comes whole must not fill the memory.
const HELD_MAX: usize = 32;

/// What a pump may state as its longest response time; anything else is held to these bounds.
const RESPONSE_MAX_RANGE: (Duration, Duration) = (PATIENCE, Duration::from_secs(10));

/// Unanswered queries in a row after which the line is closed and opened again.
const UNANSWERED_MAX: u32 = 3;

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// Nothing is outstanding.
    Idle,
    /// A query is outstanding.
    Waiting { query: Query, until: Mono, repeated: bool },
    /// A repeated query was answered: the answer to the other copy may still come.
    Draining { query: Query, until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct AlarisAsena {
    framer: Delimited,
    phase: Phase,
    /// When each query is due, by place; `None`: not again on this connection.
    due: [Option<Mono>; 7],
    patience: Duration,
    response_max: Duration,
    quick: u32,
    unanswered: u32,
    /// Whether the pump has said who it is since the last doubt.
    is_identified: bool,
    serial: Option<String>,
    protocol: Option<String>,
    /// What was last told to the session on this connection.
    told: Option<Identity>,
    alarms: AlarmEdges,
    /// Whose alarms those are.
    alarms_of: Option<String>,
    /// Said by replies without a serial number: told when the next status confirms whose it is.
    held: Vec<Observation>,
    /// The level of the alarms, held in the same way; the edges are found when it is confirmed.
    held_level: Option<Level>,
    discarded: usize,
    actions: VecDeque<Action>,
}

impl AlarisAsena {
    fn new() -> Self {
        Self {
            framer: Delimited::new(wire::DELIMITERS),
            phase: Phase::Listening,
            due: [None; 7],
            patience: PATIENCE,
            response_max: RESPONSE_MAX,
            quick: 0,
            unanswered: 0,
            is_identified: false,
            serial: None,
            protocol: None,
            told: None,
            alarms: AlarmEdges::default(),
            alarms_of: None,
            held: Vec::new(),
            held_level: None,
            discarded: 0,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        let (alarms, alarms_of) = (std::mem::take(&mut self.alarms), self.alarms_of.take());
        // What is on is kept: it is compared again once the pump has said that it is the same one,
        // so that an alarm that ended while the line was down gets its end.
        *self = Self { alarms, alarms_of, ..Self::new() };
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        match self.phase {
            Phase::Closed => return,
            Phase::Settling { .. } => {
                self.discarded = self.discarded.saturating_add(bytes.len());
                return;
            }
            Phase::Listening | Phase::Idle | Phase::Waiting { .. } | Phase::Draining { .. } => {}
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, now, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        match piece {
            Piece::Frame(span) => match wire::fields(span) {
                Some(fields) => self.handle_message(&fields, now, faults),
                None => faults.add(FaultKind::Malformed, "a frame holds control characters"),
            },
            Piece::Broken(..) | Piece::Noise(_) => {
                let (kind, detail) = wire::fault_of(piece);
                faults.add(kind, detail);
            }
        }
    }

    fn handle_message(&mut self, fields: &[String], now: Mono, faults: &mut Faults) {
        let keyword = fields.first().map_or("", String::as_str);
        match self.phase {
            Phase::Listening => {
                // A capture of both directions holds the queries too; they say nothing.
                let is_query = fields.len() == 1 && keyword != "INF_START" && keyword != "INF_STOP";
                if !is_query {
                    self.handle_reply(fields, now, faults);
                }
            }
            Phase::Waiting { query, until, repeated } if query.keyword() == keyword && fields.len() > 1 => {
                self.unanswered = 0;
                self.judge_speed(until, repeated, now);
                self.put_off(query, now);
                self.phase = if repeated {
                    Phase::Draining { query, until: now + self.patience }
                } else {
                    Phase::Idle
                };
                self.handle_reply(fields, now, faults);
                self.ask_next(now);
            }
            Phase::Draining { query, .. } if query.keyword() == keyword => {
                // Both copies were answered: the pump is slow, not deaf. Give it more time.
                self.patience = (self.patience * 2).min(self.response_max);
                faults.add(FaultKind::Unexpected, format!("a late second answer to {keyword}"));
                self.phase = Phase::Idle;
                self.ask_next(now);
            }
            Phase::Idle
            | Phase::Waiting { .. }
            | Phase::Draining { .. }
            | Phase::Settling { .. }
            | Phase::Closed => {
                let shown: String = keyword.chars().take(32).collect();
                faults.add(FaultKind::Unexpected, format!("{shown:?} came although it was not asked for"));
            }
        }
    }

    /// Goes back to the usual patience with a pump that has become quick again.
    fn judge_speed(&mut self, until: Mono, repeated: bool, now: Mono) {
        let is_quick = !repeated && until.since(now) + PATIENCE > self.patience;
        self.quick = if is_quick { self.quick.saturating_add(1) } else { 0 };
        if self.quick >= QUICK_ENOUGH {
            self.patience = PATIENCE;
        }
    }

    /// Asks the first query that is due, if the line is free.
    fn ask_next(&mut self, now: Mono) {
        if self.phase != Phase::Idle {
            return;
        }
        if let Some(query) = self.candidates().find(|&query| self.due_of(query).is_some_and(|due| due <= now))
        {
            self.phase = Phase::Waiting { query, until: now + self.patience, repeated: false };
            self.send(query);
        }
    }

    /// What may be asked at the moment, the most urgent first.
    fn candidates(&self) -> impl Iterator<Item = Query> + use<> {
        let is_identified = self.is_identified && self.told.is_some();
        Query::ALL.into_iter().filter(move |query| is_identified || query.asks_who())
    }

    fn handle_silence(&mut self, query: Query, repeated: bool, now: Mono) {
        if !repeated {
            let patience = if query.is_optional() { self.patience } else { self.response_max };
            self.phase = Phase::Waiting { query, until: now + patience, repeated: true };
            self.report(FaultKind::Timeout, format!("no answer to {}, asked again", query.keyword()));
            self.send(query);
            return;
        }
        self.report(FaultKind::Timeout, format!("no answer to {} a second time", query.keyword()));
        self.phase = Phase::Idle;
        if query.is_optional() {
            let again = (query == Query::Protocol).then(|| now + query.period());
            self.set_due(query, again);
            self.tell_identity();
            return;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        if self.unanswered >= UNANSWERED_MAX {
            let detail = format!("{UNANSWERED_MAX} queries without an answer: the line is opened again");
            self.report(FaultKind::Timeout, detail);
            self.phase = Phase::Closed;
            self.actions.push_back(Action::Command(LinkCommand::HangUp));
            return;
        }
        // In a silence this long the cable can have gone to another pump.
        self.put_off(query, now);
        self.doubt(now);
    }

    fn send(&mut self, query: Query) {
        self.actions.push_back(Action::Command(LinkCommand::Send(query.id())));
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }

    fn due_of(&self, query: Query) -> Option<Mono> {
        self.due.get(usize::from(query.place())).copied().flatten()
    }

    fn set_due(&mut self, query: Query, at: Option<Mono>) {
        if let Some(due) = self.due.get_mut(usize::from(query.place())) {
            *due = at;
        }
    }

    fn put_off(&mut self, query: Query, now: Mono) {
        self.set_due(query, Some(now + query.period()));
    }
}

impl Driver for AlarisAsena {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) => {
                let left = self.framer.finish();
                if let (Phase::Listening, Some(piece)) = (self.phase, left) {
                    let mut faults = Faults::default();
                    self.handle_piece(&piece, now.mono, &mut faults);
                    self.actions.extend(faults.into_actions());
                }
                self.phase = if self.phase == Phase::Listening { Phase::Listening } else { Phase::Closed };
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
                if self.discarded > 0 {
                    let detail =
                        format!("{} bytes of an earlier conversation were thrown away", self.discarded);
                    self.report(FaultKind::Unexpected, detail);
                }
                self.due = [Some(now); 7];
                self.phase = Phase::Idle;
            }
            Phase::Waiting { query, until, repeated } if until <= now => {
                self.handle_silence(query, repeated, now);
            }
            Phase::Draining { until, .. } if until <= now => self.phase = Phase::Idle,
            Phase::Settling { .. } | Phase::Waiting { .. } | Phase::Draining { .. } | Phase::Idle => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } | Phase::Waiting { until, .. } | Phase::Draining { until, .. } => {
                Some(until)
            }
            Phase::Idle => self.candidates().filter_map(|query| self.due_of(query)).min(),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
