//! Nellcor pulse oximeters N-395, N-595, NPB-290, NPB-295 with their data port set to ASCII.
//!
//! In: the lines that the oximeter pushes. Out: SpO2, pulse rate and pulse amplitude with the oximeter's
//! own time, its status codes as sent, the limits of its heading, the edges of its alarms. Nothing is ever sent.
//!
//! A line has no checksum and no fixed width that our facts give, so its form is the check: date and time,
//! three numbers within what they can be, known status codes and nothing else. A digit that is lost within a
//! number passes that.
//!
//! The protocol has no serial number: the port alone vouches. The heading tells model and software; it comes with
//! every 25th line only, so readings before it are told under an identity that says nothing.
//!
//! A printout of the oximeter's memory has lines of the same form behind a heading with `TREND`. They are told as
//! stored values and raise no alarm. Behind a heading that came broken nobody knows which of both follow:
//! values are questionable until the next whole one.
//!
//! What never happens: a value of a line that was not read whole; an alarm out of the memory.

mod alarms;
#[allow(
    unreachable_pub,
    dead_code,
    reason = "the table's macro is made for a public one; the tests go through CODES"
)]
mod codes;
mod line;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::{Faults, observation, text};
use crate::device::alarms::AlarmEdges;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Break, Delimited, Piece};
use crate::device::nomenclature as mdc;
use crate::device::observation::{Absent, Kind, Observation, Quality, Value};
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line as Port, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use line::{Data, Heading, Line, Mode};

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "nellcor",
    title: "Nellcor N-395, N-595, NPB-290, NPB-295 pulse oximeter (data port ASCII)",
    class: Class::Monitor,
    line: Port { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::NONE,
    reads: &[
        &mdc::SPO2,
        &mdc::PULSE_OXIM_RATE,
        &codes::PULSE_AMPLITUDE,
        &codes::STATUS,
        &codes::LIMIT_SPO2_LOW,
        &codes::LIMIT_SPO2_HIGH,
        &codes::LIMIT_PULSE_LOW,
        &codes::LIMIT_PULSE_HIGH,
        &codes::LIMITS_TYPE,
        &codes::SAT_SECONDS,
        &codes::RESPONSE_MODE,
        &mdc::EVT_ALARM,
        &mdc::EVT_BATT_LO,
    ],
    identity: IdentityProof::PortOnly,
    parts: Parts::One,
    settings: &[Setting {
        name: "silence",
        meaning: "seconds without a line after which the port is opened again: several times the period of the lines, \
                  which the chapter on the data port in the oximeter's manual gives",
        values: Values::Number { least: 5, most: 120, default: 10 },
    }],
    quiet: Duration::from_secs(135),
    driver: &|settings| Box::new(Nellcor::new(settings)),
};

/// The way out, told with everything that looks like another output.
const SET_ASCII: &str = "set the oximeter's data port to ASCII (real-time), 9600 8N1";

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes.
    Listening,
    /// Connected; the line is opened again when nothing whole comes until then.
    Connected { quiet_until: Mono },
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// What the last heading said of the lines behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// They are measured now.
    Live,
    /// They come out of the oximeter's memory.
    Memory,
    /// It came broken.
    InDoubt,
}

/// The driver.
#[derive(Debug)]
struct Nellcor {
    /// How long the oximeter may be silent before the line is opened again.
    quiet_max: Duration,
    framer: Delimited,
    phase: Phase,
    /// Whether the next broken line is the tail of one that began before the connection.
    is_first_line: bool,
    source: Source,
    /// What was last told of who it is on this connection.
    told: Option<Identity>,
    /// Whose alarms are on: the last heading, over connections.
    alarms_of: Option<Identity>,
    alarms: AlarmEdges,
    actions: VecDeque<Action>,
}

impl Nellcor {
    fn new(settings: &Settings) -> Self {
        let seconds = u64::try_from(settings.number("silence")).unwrap_or_default();
        Self::with(Duration::from_secs(seconds.max(1)))
    }

    fn with(quiet_max: Duration) -> Self {
        Self {
            quiet_max,
            framer: Delimited::new(line::DELIMITERS),
            phase: Phase::Listening,
            is_first_line: false,
            source: Source::Live,
            told: None,
            alarms_of: None,
            alarms: AlarmEdges::default(),
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        let (alarms, alarms_of) = (std::mem::take(&mut self.alarms), self.alarms_of.take());
        // What is on is kept: an alarm that ended while the line was down gets its end.
        *self = Self { alarms_of, alarms, ..Self::with(self.quiet_max) };
        self.is_first_line = true;
        self.phase = Phase::Connected { quiet_until: now + self.quiet_max };
    }

    fn handle_bytes(&mut self, bytes: &[u8], now: Mono) {
        if self.phase == Phase::Closed {
            return;
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, now, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, now: Mono, faults: &mut Faults) {
        let may_be_a_tail = std::mem::take(&mut self.is_first_line);
        match piece {
            Piece::Frame(span) => match Line::read(span) {
                Ok(line) => {
                    if let Phase::Connected { quiet_until } = &mut self.phase {
                        *quiet_until = now + self.quiet_max;
                    }
                    self.handle_line(line, faults);
                }
                Err(why) => faults.add(FaultKind::Malformed, why),
            },
            Piece::Broken(span, why) => {
                self.doubt_heading(span);
                if !may_be_a_tail {
                    let (kind, detail) = fault_of(span, *why);
                    faults.add(kind, detail);
                }
            }
            Piece::Noise(count) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no line"));
            }
        }
    }

    /// A broken line that holds a word of a heading was one.
    fn doubt_heading(&mut self, span: &[u8]) {
        let holds = |word: &[u8]| span.windows(word.len()).any(|part| part == word);
        if holds(b"VERSION") || holds(b"TREND") || holds(b"Limit") {
            self.source = Source::InDoubt;
        }
    }

    fn handle_line(&mut self, line: Line, faults: &mut Faults) {
        match line {
            Line::Heading(heading) => self.handle_heading(heading),
            Line::Mode(mode) => self.handle_mode(&mode),
            Line::Data(data) => self.handle_data(&data),
            Line::EndOfTrend => self.source = Source::Live,
            Line::Interactive => {
                let detail = "the oximeter waits for commands of a terminal: leave its interactive mode there (0), \
                              or switch it off and on";
                faults.add(FaultKind::Unexpected, detail);
            }
            Line::Nothing => {}
        }
    }

    fn handle_heading(&mut self, heading: Heading) {
        self.source = if heading.is_trend { Source::Memory } else { Source::Live };
        let said =
            Identity { model: Some(heading.model), firmware: Some(heading.version), ..Identity::default() };
        if self.told.as_ref() != Some(&said) {
            if self.alarms_of.as_ref().is_some_and(|owner| *owner != said) {
                self.alarms.forget();
            }
            self.alarms_of = Some(said.clone());
            self.told = Some(said.clone());
            self.actions.push_back(Action::identify(said));
        }
        let limits = [
            (&codes::LIMIT_SPO2_LOW, &mdc::PERCENT),
            (&codes::LIMIT_SPO2_HIGH, &mdc::PERCENT),
            (&codes::LIMIT_PULSE_LOW, &mdc::PER_MINUTE),
            (&codes::LIMIT_PULSE_HIGH, &mdc::PER_MINUTE),
        ];
        for ((metric, unit), limit) in limits.into_iter().zip(heading.limits.into_iter().flatten()) {
            let quality = if heading.is_trend { Quality::STORED } else { Quality::GOOD };
            let said = observation(metric, Value::Decimal(limit), unit, Kind::Setting);
            self.tell(Observation { quality, ..said });
        }
    }

    fn handle_mode(&mut self, mode: &Mode) {
        self.identify_by_port();
        let none = &mdc::DIMENSIONLESS;
        let word = |word: &str| Value::Text(text(word));
        self.tell(observation(&codes::LIMITS_TYPE, word(&mode.limits), none, Kind::Setting));
        self.tell(observation(&codes::SAT_SECONDS, Value::Decimal(mode.sat_seconds), none, Kind::Setting));
        self.tell(observation(&codes::RESPONSE_MODE, word(&mode.response), none, Kind::Setting));
    }

    fn handle_data(&mut self, data: &Data) {
        self.identify_by_port();
        let quality = match self.source {
            Source::Live => alarms::quality(&data.codes),
            Source::Memory => Quality::STORED,
            Source::InDoubt => alarms::quality(&data.codes).with(Quality::QUESTIONABLE),
        };
        let [spo2, pulse, amplitude] = &data.values;
        let readings = [
            (&mdc::SPO2, &spo2.value, &mdc::PERCENT),
            (&mdc::PULSE_OXIM_RATE, &pulse.value, &mdc::PER_MINUTE),
            (&codes::PULSE_AMPLITUDE, &amplitude.value, &mdc::DIMENSIONLESS),
        ];
        for (metric, value, unit) in readings {
            let said = observation(metric, value.clone(), unit, Kind::Measurement);
            self.tell(Observation { device_time: data.time, quality, ..said });
        }
        if self.source != Source::Live {
            return;
        }
        let codes = data.codes.join(" ");
        let status = if codes.is_empty() { Value::Absent(Absent::Unknown) } else { Value::Text(codes) };
        let said = observation(&codes::STATUS, status, &mdc::DIMENSIONLESS, Kind::State);
        self.tell(Observation { device_time: data.time, ..said });
        for edge in self.alarms.handle_level(alarms::level(data)) {
            self.tell(Observation { device_time: data.time, ..edge });
        }
    }

    /// Before a heading there is nothing to say of who it is; the session wants that said.
    fn identify_by_port(&mut self) {
        if self.told.is_none() {
            self.told = Some(Identity::default());
            self.actions.push_back(Action::identify(Identity::default()));
        }
    }

    fn tell(&mut self, said: Observation) {
        self.actions.push_back(Action::observe(said));
    }
}

impl Driver for Nellcor {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) if self.phase == Phase::Listening => {
                let mut faults = Faults::default();
                match self.framer.finish() {
                    // The last line of a file may lack its end.
                    Some(Piece::Broken(span, _)) if Line::read(&span).is_ok() => {
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
        if let Phase::Connected { quiet_until } = self.phase
            && quiet_until <= now.mono
        {
            let seconds = self.quiet_max.as_secs();
            let detail = format!("no whole line in {seconds} s, the line is opened again: {SET_ASCII}");
            self.actions.push_back(Action::Report(Fault::new(FaultKind::Timeout, detail)));
            self.actions.push_back(Action::Command(LinkCommand::HangUp));
            self.phase = Phase::Closed;
        }
    }

    fn poll_timeout(&self) -> Option<Mono> {
        match self.phase {
            Phase::Connected { quiet_until } => Some(quiet_until),
            Phase::Listening | Phase::Closed => None,
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// What is wrong with a broken line, in words.
fn fault_of(span: &[u8], why: Break) -> (FaultKind, String) {
    let length = span.len();
    match why {
        Break::Refused if span.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
            let why = Line::read(span).err().unwrap_or("it is too long");
            (FaultKind::Malformed, format!("a line of {length} bytes: {why}; if all are so, {SET_ASCII}"))
        }
        Break::Refused => (FaultKind::Framing, format!("{length} bytes are no line: {SET_ASCII}")),
        Break::TooLong | Break::Aborted => {
            (FaultKind::Framing, format!("no end of line in {length} bytes: {SET_ASCII}"))
        }
        Break::CutOff => (FaultKind::Framing, format!("a line is cut off after {length} bytes")),
    }
}
