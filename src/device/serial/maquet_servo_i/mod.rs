//! Maquet / Getinge Servo-i and Servo-s ventilators: the computer interface "CIE".
//!
//! In: the ventilator's answers to one question at a time, and, when curves are wanted, its stream.
//! Out: who it is, what it measures, what it is set to, the edges of its alarms, whether it is in
//! standby; curves in the bulk lane. Facts: Maquet order no. 65 43 388 (CIE manual, protocol 005).
//!
//! The conversation: ESC ends a stream that an earlier host left running; everything is thrown away
//! for 200 ms; EOT has to be answered by `*`, and as the interface answers in turn, nothing of
//! before can come behind that. `RCTY` brings it into EXTENDED mode. Then: who it is, the protocol
//! version, for every channel what its numbers are worth, the tables of channels, and rounds: alarms
//! every 2 s, readings every 4 s, settings every 10 s.
//!
//! Answers do not say what they answer or who answers. After each that stayed away or was spoiled the
//! line is brought into step again by ESC and EOT before the question is repeated; the form of every
//! answer is checked; and each round ends with the question for the serial number (`RSEN`): only when
//! it is the same as before is the round told. While curves stream nothing can be asked. What comes then
//! goes out under the last identity, until the stream is stopped, at the latest after half an hour, for
//! a round; so it is when a block came spoiled, which can have been an alarm. A ventilator that was exchanged within a stream does not stream: it has to be told to.
//!
//! What remains: the checksum is an XOR of 8 bits, so one in 256 spoiled answers looks whole. Its form
//! (number of values, digits) catches most of these.
//!
//! What never happens: a value scaled by a table of ours; an observation before the serial number; a
//! byte to the ventilator that is not one of [`queries::REQUESTS`]. The patient's identification is never
//! asked for, and an answer to a question that was not heard is not looked into.

mod alarms;
mod blocks;
mod channels;
mod codes;
mod model;
mod plan;
mod queries;
mod readings;
mod replies;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Faults;
use crate::device::alarms::{AlarmEdges, Level};
use crate::device::observation::{DeviceTime, Observation};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{LinkCommand, LinkEvent};
use crate::time::{Mono, Now};
use channels::Scale;
pub(super) use model::MODEL;
use model::Options;
use queries::{Asked, Tables};
use stream::Stream;
use wire::{Lines, Piece};

/// How long everything is thrown away behind ESC (CIE manual, start of communication).
const SETTLE: Duration = Duration::from_millis(200);

/// How long the first byte of an answer may take: the manual's 500 ms, and the time on the line.
const PATIENCE: Duration = Duration::from_millis(700);

/// How long an answer may stand still once it has begun.
const STILL_MAX: Duration = Duration::from_millis(500);

/// How long an answer may take altogether: ten times what the longest needs at 9,600 baud.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How long a stream may be silent. Curves come all the time.
const STREAM_QUIET: Duration = Duration::from_secs(10);

/// From a stream that the ventilator ended to the next.
const STREAM_AGAIN: Duration = Duration::from_secs(5);

/// Questions without an answer in a row, and starts from the beginning in a row, after which the
/// line is closed and opened again.
const UNANSWERED_MAX: u32 = 3;

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes, asks nothing.
    Listening,
    /// ESC was sent: throws everything away.
    Settling { until: Mono },
    /// Nothing is outstanding.
    Idle,
    /// A question is outstanding.
    Waiting { asked: Asked, until: Mono, latest: Mono },
    /// The ventilator streams.
    Streaming { until: Mono, quiet: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// What has to be done before what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Identity,
    Version,
    Scales,
    Tables,
    Rounds,
}

/// The driver.
#[derive(Debug)]
struct MaquetServoI {
    options: Options,
    lines: Lines,
    stream: Stream,
    phase: Phase,
    stage: Stage,
    plan: VecDeque<Asked>,
    round: u32,
    due: Mono,
    software_due: Mono,
    stream_due: Mono,
    /// What was left out since the start, counted, and when all may be started again for it.
    left_out: u32,
    renew_at: Mono,
    tables: Tables,
    scales: BTreeMap<u16, Scale>,
    /// The greatest alarm channel that this ventilator may know.
    alarm_most: u16,
    has_overview: bool,
    has_time: bool,
    unanswered: u32,
    restarts: u32,
    /// Bytes thrown away behind ESC that nobody expected.
    discarded: Option<usize>,
    model: Option<String>,
    /// As `RSEN` said it.
    serial: Option<String>,
    software: Option<String>,
    told: Option<Identity>,
    alarms: AlarmEdges,
    /// Whose alarms those are.
    alarms_of: Option<String>,
    /// What the round has said, told when `RSEN` shows whose it is.
    held: Vec<Observation>,
    held_level: Option<Level>,
    time: Option<DeviceTime>,
    overview: Option<u8>,
    is_standby: bool,
    breath_phase: Option<u8>,
    /// The last question of a captured host, and the channels of its table.
    heard: Option<(Asked, Vec<u16>)>,
    actions: VecDeque<Action>,
}

impl MaquetServoI {
    fn new(options: Options) -> Self {
        Self {
            options,
            lines: Lines::default(),
            stream: Stream::new(),
            phase: Phase::Listening,
            stage: Stage::Identity,
            plan: VecDeque::new(),
            round: 0,
            due: Mono::default(),
            software_due: Mono::default(),
            stream_due: Mono::default(),
            left_out: 0,
            renew_at: Mono::default(),
            tables: Tables::default(),
            scales: BTreeMap::new(),
            alarm_most: u16::MAX,
            has_overview: true,
            has_time: true,
            unanswered: 0,
            restarts: 0,
            discarded: None,
            model: None,
            serial: None,
            software: None,
            told: None,
            alarms: AlarmEdges::default(),
            alarms_of: None,
            held: Vec::new(),
            held_level: None,
            time: None,
            overview: None,
            is_standby: false,
            breath_phase: None,
            heard: None,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        let (alarms, alarms_of) = (std::mem::take(&mut self.alarms), self.alarms_of.take());
        // What is on is kept: it is compared again once the ventilator has said that it is the same one.
        *self = Self { alarms, alarms_of, ..Self::new(self.options.clone()) };
        self.plan.push_back(Asked::Type);
        self.wake(now);
        self.discarded = Some(0);
    }

    /// Brings the line into step: ESC, a pause, EOT. The plan stays as it is.
    fn wake(&mut self, now: Mono) {
        self.lines.reset();
        self.stream = Stream::new();
        self.discarded = None;
        self.send(LinkCommand::Send(crate::link::RequestId(0)));
        self.phase = Phase::Settling { until: now + SETTLE };
    }

    /// Starts from the beginning: nothing that is known holds any more.
    fn restart(&mut self, now: Mono) {
        self.restarts = self.restarts.saturating_add(1);
        self.stage = Stage::Identity;
        self.plan = VecDeque::from([Asked::Type]);
        self.tables = Tables::default();
        self.scales.clear();
        self.left_out = 0;
        // In BASIC mode it refused these too.
        (self.has_overview, self.has_time, self.alarm_most) = (true, true, u16::MAX);
        self.drop_held();
        if self.restarts >= UNANSWERED_MAX {
            self.hang_up("it could not be started for the third time");
        } else {
            self.wake(now);
        }
    }

    fn hang_up(&mut self, why: &str) {
        self.report(FaultKind::Timeout, format!("{why}: the line is opened again"));
        self.phase = Phase::Closed;
        // What was still to be asked is not written to a line that closes.
        self.actions.retain(|action| !matches!(action, Action::Command(_)));
        self.actions.push_back(Action::Command(LinkCommand::HangUp));
    }

    /// Asks what is next, if the line is free.
    fn ask_next(&mut self, now: Mono) {
        while self.phase == Phase::Idle {
            let Some(asked) = self.plan.pop_front() else {
                if self.go_on(now) {
                    continue;
                }
                return;
            };
            let channels = if let Asked::Define(group) = asked { self.chosen(group) } else { Vec::new() };
            let Some(command) = asked.command(&channels) else { continue };
            self.send(command);
            if asked == Asked::Stream {
                self.stream = Stream::new();
                (self.breath_phase, self.time) = (None, None);
                let until = now + self.options.identity_period;
                self.phase = Phase::Streaming { until, quiet: now + STREAM_QUIET };
            } else {
                self.lines.reset();
                self.phase = Phase::Waiting { asked, until: now + PATIENCE, latest: now + ANSWER_MAX };
            }
        }
    }

    fn send(&mut self, command: LinkCommand) {
        self.actions.push_back(Action::Command(command));
    }

    fn report(&mut self, kind: FaultKind, detail: String) {
        self.actions.push_back(Action::Report(Fault::new(kind, detail)));
    }
}

impl Driver for MaquetServoI {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => {
                let mut faults = Faults::default();
                self.handle_bytes(bytes, now.mono, &mut faults);
                self.actions.extend(faults.into_actions());
            }
            LinkEvent::Down(_) if self.phase == Phase::Listening => {
                let mut faults = Faults::default();
                if let Some(Piece::Broken(..) | Piece::Text(_)) = self.lines.finish() {
                    faults.add(FaultKind::Framing, "a message is cut off");
                }
                if let Some(block) = self.stream.finish() {
                    self.handle_block(&block, now.mono, &mut faults);
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
                if let Some(count @ 1..) = self.discarded.take() {
                    let detail = format!("{count} bytes of an earlier conversation were thrown away");
                    self.report(FaultKind::Unexpected, detail);
                }
                self.phase = Phase::Idle;
                self.plan.push_front(Asked::Wake);
            }
            Phase::Waiting { asked, until, .. } if until <= now => {
                self.report(FaultKind::Timeout, format!("no answer to {}", asked.name()));
                self.handle_failure(asked, now);
            }
            Phase::Streaming { quiet, .. } if quiet <= now => {
                let detail = format!("no curves for {} s", STREAM_QUIET.as_secs());
                self.report(FaultKind::Timeout, detail);
                self.stop_stream(now);
            }
            Phase::Streaming { until, .. } if until <= now => self.stop_stream(now),
            Phase::Listening
            | Phase::Settling { .. }
            | Phase::Idle
            | Phase::Waiting { .. }
            | Phase::Streaming { .. }
            | Phase::Closed => {}
        }
        self.ask_next(now);
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Listening | Phase::Closed => None,
            Phase::Settling { until } | Phase::Waiting { until, .. } => Some(until),
            Phase::Streaming { until, quiet } => Some(until.min(quiet)),
            Phase::Idle => Some(self.due),
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}
