//! Puritan Bennett 840 ventilator (and 980, whose reports have the same form): the `SNDA` and `SNDF` reports.
//!
//! In: the ventilator's reports. Out: one request at a time, its number, its readings and settings with
//! its own time, the edges of its alarms. The ventilator is silent unless asked.
//!
//! The conversation: after `Up` everything is thrown away for longer than a report takes; then the report is
//! asked for at its period. Without a byte for [`PATIENCE`] it is asked for again; without a whole report for
//! [`LOST`] the line is opened again. `SNDF` is asked first; a ventilator that calls that command unknown
//! twice in a row, and has not answered it before, is asked `SNDA` until the line is opened again.
//!
//! Every report holds the ventilator's number (field 6), so every value is told under the number that
//! stands beside it. A report has no checksum: a digit that the line turned into another digit passes. Therefore
//! another number counts only when the next report has it too; for a value nothing but its plausibility, which
//! policy judges, is left.
//!
//! What never happens: a value under the number of another ventilator; a byte to the ventilator that is not
//! `SNDA` or `SNDF`. `RSET` is not among them: our facts do not say that it leaves the ventilator as it is.

mod alarms;
#[allow(
    unreachable_pub,
    dead_code,
    reason = "the table's macro is made for a public one; the tests go through CODES"
)]
mod codes;
mod fields;
mod reports;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use super::Faults;
use crate::device::alarms::AlarmEdges;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Break, Delimited, Piece};
use crate::device::nomenclature as mdc;
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity, Request, RequestId};
use crate::time::{Mono, Now};
use wire::{Form, Span};

/// Everything that may ever be written to the ventilator.
static REQUESTS: [Request; 2] = [Request::fixed("SNDA", b"SNDA\r"), Request::fixed("SNDF", b"SNDF\r")];

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "puritan-bennett-840",
    title: "Puritan Bennett 840, 980 ventilator (DCI reports SNDA, SNDF)",
    class: Class::Therapy,
    line: Line { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &mdc::VENT_MODE,
        &mdc::RESP_RATE,
        &mdc::VOL_AWAY_TIDAL,
        &mdc::VOL_MINUTE_AWAY_EXP,
        &mdc::PRESS_AWAY_INSP_PEAK,
        &mdc::PRESS_AWAY_END_EXP_POS,
        &mdc::CONC_AWAY_O2_INSP,
        &codes::PRESS_MEAN,
        &codes::PRESS_END_INSP,
        &codes::VOL_INSPIRED,
        &codes::MINUTE_VOL_SPONT,
        &codes::IE_EXPIRATORY,
        &codes::SET_RESP_RATE,
        &codes::SET_TIDAL_VOL,
        &codes::SET_PEAK_FLOW,
        &codes::SET_O2,
        &codes::SET_PEEP,
        &codes::SET_SUPPORT_PRESSURE,
        &codes::SET_INSP_PRESSURE,
        &codes::SET_INSP_TIME,
        &codes::LIMIT_PRESS_HIGH,
        &codes::LIMIT_MINUTE_VOL_LOW,
        &codes::LIMIT_RESP_RATE_HIGH,
        &codes::MANDATORY_TYPE,
        &codes::SPONTANEOUS_TYPE,
        &codes::VENT_TYPE,
        &mdc::EVT_ALARM,
        &mdc::EVT_BATT_LO,
        &mdc::EVT_OCCL,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &[
        Setting {
            name: "ask",
            meaning: "which report is asked for: SNDF, or SNDA from a ventilator that does not know SNDF (auto); \
                      see the RS-232 appendix of the ventilator's technical reference",
            values: Values::Word(&["auto", "SNDF", "SNDA"]),
        },
        Setting {
            name: "fields",
            meaning: "whose fields 153 and 160 of SNDF hold: by-id takes the model that the ventilator states; compare \
                      the table of MISCF in the technical reference of the ventilator's software",
            values: Values::Word(&["by-id", "840", "980"]),
        },
        Setting {
            name: "period",
            meaning: "seconds from one request to the next; SNDF takes 1.3 s of the line at 9600 baud, so that less is of use \
                      on a faster line only",
            values: Values::Number { least: 1, most: 60, default: 2 },
        },
    ],
    quiet: Duration::from_secs(75),
    driver: &|settings| Box::new(PuritanBennett840::new(settings)),
};

/// How long everything is thrown away after `Up`: what the longest report takes at 9,600 baud.
const SETTLE: Duration = Duration::from_millis(1_400);

/// How long nothing may come before the report is asked for again (facts 3.3).
const PATIENCE: Duration = Duration::from_secs(2);

/// So often in a row `SNDF` has to be called unknown before `SNDA` is asked: the line can spoil one request,
/// and the short report lacks most alarms.
const REFUSALS_MAX: u32 = 2;

/// How long no whole report may come before the line is opened again (facts 3.3), counted from the
/// request.
const LOST: Duration = Duration::from_secs(10);

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// Connected a moment ago: throws everything away.
    Settling { until: Mono },
    /// A report was asked for.
    Waiting { form: Form, asked: Mono, until: Mono },
    /// It came; the next request is not due yet.
    Resting { until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct PuritanBennett840 {
    settings: Settings,
    framer: Delimited,
    phase: Phase,
    /// Which report is asked for on this connection.
    form: Form,
    /// Whether `SNDF` was answered on this connection.
    has_full: bool,
    /// How often in a row the request was called unknown.
    refusals: u32,
    /// When the line counts as lost.
    lost_at: Mono,
    /// Who speaks on this connection.
    known: Option<Identity>,
    /// Somebody else, whom one report alone named.
    doubtful: Option<Identity>,
    alarms: AlarmEdges,
    /// Whose alarms those are.
    alarms_of: Option<Identity>,
    has_told_more: bool,
    actions: VecDeque<Action>,
}

impl PuritanBennett840 {
    fn new(settings: &Settings) -> Self {
        Self {
            settings: settings.clone(),
            framer: Delimited::new(wire::DELIMITERS),
            phase: Phase::Listening,
            form: if settings.word("ask") == "SNDA" { Form::Short } else { Form::Full },
            has_full: false,
            refusals: 0,
            lost_at: Mono::default(),
            known: None,
            doubtful: None,
            alarms: AlarmEdges::default(),
            alarms_of: None,
            has_told_more: false,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        let (alarms, alarms_of) = (std::mem::take(&mut self.alarms), self.alarms_of.take());
        // What is on is kept: an alarm that ended while the line was down gets its end.
        *self = Self { alarms, alarms_of, ..Self::new(&self.settings) };
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        match &mut self.phase {
            Phase::Closed | Phase::Settling { .. } => return,
            // A report takes longer than half of the patience: what comes shows that it is on its way.
            Phase::Waiting { until, .. } => *until = now + PATIENCE,
            Phase::Listening | Phase::Resting { .. } => {}
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
            Piece::Frame(span) => match Span::read(span) {
                Ok(span) => self.handle_span(&span, now, faults),
                Err(why) => faults.add(FaultKind::Malformed, why),
            },
            Piece::Broken(span, Break::Refused) => {
                let why = Span::read(span).err().unwrap_or("it is too long");
                let kind = if span.starts_with(b"MISC") { FaultKind::Malformed } else { FaultKind::Framing };
                faults.add(kind, format!("{} bytes are not a report: {why}", span.len()));
            }
            Piece::Broken(span, Break::TooLong | Break::Aborted) => {
                let detail = format!("no end of a report in {} bytes: check the baud rate", span.len());
                faults.add(FaultKind::Framing, detail);
            }
            Piece::Broken(span, Break::CutOff) => {
                faults.add(FaultKind::Framing, format!("a report is cut off after {} bytes", span.len()));
            }
            Piece::Noise(count) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no report"));
            }
        }
    }

    fn handle_span(&mut self, span: &Span, now: Mono, faults: &mut Faults) {
        match (span, self.phase) {
            (_, Phase::Settling { .. } | Phase::Closed) | (Span::Request, Phase::Listening) => {}
            (Span::Request, Phase::Waiting { .. } | Phase::Resting { .. }) => {
                faults.add(FaultKind::Unexpected, "the line sends back what it is sent: check the cable");
            }
            (Span::Report(report), Phase::Listening) => self.handle_report(report, faults),
            (Span::Report(report), Phase::Waiting { form, asked, .. }) if form == report.form => {
                self.phase = Phase::Resting { until: (asked + self.period()).max(now) };
                self.lost_at = now + self.period() + LOST;
                self.has_full |= form == Form::Full;
                self.refusals = 0;
                self.handle_report(report, faults);
            }
            (Span::UnknownCommand, Phase::Waiting { form, asked, .. }) => {
                self.phase = Phase::Resting { until: (asked + self.period()).max(now) };
                self.handle_refusal(form, faults);
            }
            (Span::Report(_), Phase::Waiting { .. } | Phase::Resting { .. }) => {
                faults.add(FaultKind::Unexpected, "a report came although it was not asked for");
            }
            (Span::UnknownCommand, Phase::Listening | Phase::Resting { .. }) => {
                faults.add(FaultKind::Refused, "the ventilator called a command unknown");
            }
        }
    }

    fn period(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.settings.number("period")).unwrap_or_default())
    }

    fn ask(&mut self, now: Mono) {
        self.phase = Phase::Waiting { form: self.form, asked: now, until: now + PATIENCE };
        let place = match self.form {
            Form::Short => 0,
            Form::Full => 1,
        };
        self.actions.push_back(Action::Command(LinkCommand::Send(RequestId(place))));
    }

    fn report(&mut self, kind: FaultKind, detail: impl Into<String>) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }
}

impl Driver for PuritanBennett840 {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) if self.phase == Phase::Listening => {
                let mut faults = Faults::default();
                match self.framer.finish() {
                    // The last report of a file may lack its end.
                    Some(Piece::Broken(span, _)) if Span::read(&span).is_ok() => {
                        self.handle_piece(&Piece::Frame(span), now.mono, &mut faults);
                    }
                    Some(piece) => self.handle_piece(&piece, now.mono, &mut faults),
                    None => {}
                }
                self.actions.extend(faults.into_actions());
            }
            LinkEvent::Down(_) => self.phase = Phase::Closed,
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
                self.lost_at = now + LOST;
                self.ask(now);
            }
            Phase::Waiting { .. } | Phase::Resting { .. } if self.lost_at <= now => {
                let detail = "no whole report for 10 s, the line is opened again: check the cable, the baud rate \
                              and that the ventilator's port is set to DCI";
                self.report(FaultKind::Timeout, detail);
                self.actions.push_back(Action::Command(LinkCommand::HangUp));
                self.phase = Phase::Closed;
            }
            Phase::Waiting { until, .. } if until <= now => {
                self.report(FaultKind::Timeout, "no report came, asked again");
                self.framer.reset();
                self.ask(now);
            }
            Phase::Resting { until } if until <= now => self.ask(now),
            Phase::Listening
            | Phase::Settling { .. }
            | Phase::Waiting { .. }
            | Phase::Resting { .. }
            | Phase::Closed => {}
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } => Some(until),
            Phase::Waiting { until, .. } | Phase::Resting { until } => Some(until.min(self.lost_at)),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
