//! Masimo pulse oximeters (Radical-7, Rad-8, Rad-87) with their serial output set to ASCII 1.
//!
//! In: one line a second that the oximeter pushes. Out: its serial number, its readings with the
//! device's own time, its status words as sent, the edges of its alarms. Nothing is ever sent.
//!
//! A line has no checksum, so its form is the check: the date and time first, each key once, serial
//! number, SpO2, pulse rate, alarm and exception words present and exactly as wide as the protocol
//! writes them. A torn line fails that; what fails it gives a fault and no value. A serial number
//! that differs from the one before counts only when the next line has it too.
//!
//! What never happens: a value before the serial number of its connection; a value of a line that
//! was not read whole.

mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::{Faults, observation};
use crate::device::alarms::{AlarmEdges, Level, Raised};
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::framing::{Break, Delimited, Piece};
use crate::device::nomenclature as mdc;
use crate::device::observation::{DeviceTime, Kind, Observation, Priority, Quality, Value};
use crate::device::{Action, Driver, FaultKind, Identity};
use crate::link::{AllowSet, Line as Settings, LinkEvent, Parity};
use crate::time::{Mono, Now};
use line::Line;

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "masimo-ascii1",
    title: "Masimo Radical-7, Rad-8, Rad-87 pulse oximeter (serial output ASCII 1)",
    class: Class::Monitor,
    line: Settings { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::NONE,
    reads: &[
        &mdc::SPO2,
        &mdc::PULSE_OXIM_RATE,
        &mdc::PERFUSION,
        &mdc::MASIMO_SPCO,
        &mdc::MASIMO_SPMET,
        &mdc::MASIMO_SPHB,
        &mdc::MASIMO_SPOC,
        &mdc::MASIMO_PVI,
        &mdc::MASIMO_DESAT,
        &mdc::MASIMO_PIDELTA,
        &mdc::MASIMO_ALARM_BITS,
        &mdc::MASIMO_EXCEPTION_BITS,
        &mdc::MASIMO_EXCEPTION1_BITS,
        &mdc::EVT_ALARM,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &[],
    quiet: Duration::from_secs(10), // ten of its lines
    driver: &|_| Box::new(MasimoAscii1::new()),
};

/// The most unknown keys that are told on one connection.
const UNKNOWN_KEYS_MAX: usize = 16;

/// The way out, told with everything that looks like another output format.
const SET_ASCII1: &str = "set the oximeter's serial output to ASCII 1 (Rad-8 comes with ASCII 2), 9600 8N1";

/// The alarm bits that are conditions. The facts call them experimental, so the whole word is
/// passed on as well. No priority is stated.
const ALARM_BITS: [(u32, &str, &str); 4] = [
    (1, "SPO2_HIGH", "SpO2 above its limit"),
    (1 << 1, "SPO2_LOW", "SpO2 below its limit"),
    (1 << 2, "PR_HIGH", "pulse rate above its limit"),
    (1 << 3, "PR_LOW", "pulse rate below its limit"),
];

/// "An alarm is active"; told as an alarm of its own only when none of [`ALARM_BITS`] says which.
const ALARM_ACTIVE: (u32, &str, &str) = (1 << 4, "ACTIVE", "an alarm is active");

/// The exception bits and what they say against the values. 800, "running in SET mode", says
/// nothing against them.
const EXCEPTION_BITS: [(u32, Quality); 9] = [
    (0x001, Quality::SENSOR),       // no sensor
    (0x002, Quality::SENSOR),       // defective sensor
    (0x004, Quality::POOR_SIGNAL),  // low perfusion
    (0x008, Quality::QUESTIONABLE), // pulse search
    (0x010, Quality::POOR_SIGNAL),  // interference
    (0x020, Quality::SENSOR),       // sensor off
    (0x040, Quality::POOR_SIGNAL),  // ambient light
    (0x080, Quality::SENSOR),       // unrecognised sensor
    (0x400, Quality::POOR_SIGNAL),  // low signal quality
];

/// Where the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Never connected: reads whatever comes.
    Listening,
    /// Connected.
    Connected,
    /// Hung up: nothing until the next `Up`.
    Closed,
}

/// The driver.
#[derive(Debug)]
struct MasimoAscii1 {
    framer: Delimited,
    phase: Phase,
    /// Whether the next broken line is the tail of one that began before the connection.
    is_first_line: bool,
    /// Who speaks on this connection.
    known: Option<Identity>,
    /// Somebody else, whom one line alone named.
    doubtful: Option<Identity>,
    unknown_keys: BTreeSet<String>,
    alarms: AlarmEdges,
    /// Whose alarms those are.
    alarms_of: Option<Identity>,
    actions: VecDeque<Action>,
}

impl MasimoAscii1 {
    fn new() -> Self {
        Self {
            framer: Delimited::new(line::DELIMITERS),
            phase: Phase::Listening,
            is_first_line: false,
            known: None,
            doubtful: None,
            unknown_keys: BTreeSet::new(),
            alarms: AlarmEdges::default(),
            alarms_of: None,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self) {
        let (alarms, alarms_of) = (std::mem::take(&mut self.alarms), self.alarms_of.take());
        // What is on is kept: an alarm that ended while the line was down gets its end.
        *self = Self { alarms, alarms_of, ..Self::new() };
        self.is_first_line = true;
        self.phase = Phase::Connected;
    }

    fn handle_bytes(&mut self, bytes: &[u8]) {
        if self.phase == Phase::Closed {
            return;
        }
        let mut faults = Faults::default();
        let mut input = bytes;
        while let Some(piece) = self.framer.take(&mut input) {
            self.handle_piece(&piece, &mut faults);
        }
        self.actions.extend(faults.into_actions());
    }

    fn handle_piece(&mut self, piece: &Piece, faults: &mut Faults) {
        let may_be_a_tail = std::mem::take(&mut self.is_first_line);
        match piece {
            Piece::Frame(span) => match Line::read(span) {
                Ok(line) => {
                    self.handle_line(&line, faults);
                }
                Err(why) => faults.add(FaultKind::Malformed, why.to_owned()),
            },
            Piece::Broken(..) if may_be_a_tail => {}
            Piece::Broken(span, Break::Refused) => {
                let why = Line::read(span).err().unwrap_or("it is too long");
                if span.windows(3).any(|three| three == b"SN=") {
                    faults.add(FaultKind::Malformed, format!("a line of {} bytes: {why}", span.len()));
                } else {
                    let detail = format!("{} bytes are no ASCII 1 line: {SET_ASCII1}", span.len());
                    faults.add(FaultKind::Framing, detail);
                }
            }
            Piece::Broken(span, Break::TooLong | Break::Aborted) => {
                faults
                    .add(FaultKind::Framing, format!("no end of line in {} bytes: {SET_ASCII1}", span.len()));
            }
            Piece::Broken(span, Break::CutOff) => {
                faults.add(FaultKind::Framing, format!("a line is cut off after {} bytes", span.len()));
            }
            Piece::Noise(count) => {
                faults.add(FaultKind::Framing, format!("{count} bytes belong to no line"));
            }
        }
    }

    fn handle_line(&mut self, line: &Line, faults: &mut Faults) {
        if !self.is_from_known(line, faults) {
            return;
        }
        for key in &line.unknown {
            if self.unknown_keys.len() < UNKNOWN_KEYS_MAX && self.unknown_keys.insert(key.clone()) {
                faults.add(FaultKind::Unexpected, format!("the key {key:?} is unknown: not passed on"));
            }
        }
        for key in &line.unreadable {
            faults.add(FaultKind::Malformed, format!("{key} is not as wide as it should be: not passed on"));
        }
        let quality = quality(line.exceptions);
        let mut tell = |metric, value, unit, kind, quality| {
            let said =
                Observation { device_time: line.time, quality, ..observation(metric, value, unit, kind) };
            self.actions.push_back(Action::observe(said));
        };
        for (metric, unit, value) in &line.readings {
            tell(metric, value.clone(), unit, Kind::Measurement, quality);
        }
        let words = [
            (&mdc::MASIMO_ALARM_BITS, Some(line.alarms)),
            (&mdc::MASIMO_EXCEPTION_BITS, Some(line.exceptions)),
            (&mdc::MASIMO_EXCEPTION1_BITS, line.exceptions1),
        ];
        for (metric, bits) in words {
            if let Some(bits) = bits {
                tell(metric, Value::Bits(bits), &mdc::DIMENSIONLESS, Kind::State, Quality::GOOD);
            }
        }
        self.handle_alarms(line.alarms, line.time);
    }

    /// Whether the line's serial number is known to be the device's.
    fn is_from_known(&mut self, line: &Line, faults: &mut Faults) -> bool {
        let said = Identity { serial: line.serial.clone(), ..Identity::default() };
        if self.known.as_ref() == Some(&said) {
            self.doubtful = None;
            return true;
        }
        let must_confirm = self.known.is_some() && self.phase != Phase::Listening;
        if must_confirm && self.doubtful.as_ref() != Some(&said) {
            self.doubtful = Some(said);
            faults.add(FaultKind::Unexpected, "a line has another serial number: held until the next one");
            return false;
        }
        self.doubtful = None;
        if self.alarms_of.as_ref().is_some_and(|owner| *owner != said) {
            self.alarms.forget();
        }
        self.alarms_of = Some(said.clone());
        self.known = Some(said.clone());
        self.actions.push_back(Action::identify(said));
        true
    }

    fn handle_alarms(&mut self, bits: u32, time: Option<DeviceTime>) {
        let raised = |words: &str| Raised {
            metric: &mdc::EVT_ALARM,
            priority: Priority::Unstated,
            text: words.to_owned(),
            is_silenced: false,
        };
        let on = ALARM_BITS.iter().filter(|(bit, ..)| bits & bit != 0);
        let mut on: Level = on.map(|(_, code, words)| ((*code).to_owned(), raised(words))).collect();
        if on.is_empty() && bits & ALARM_ACTIVE.0 != 0 {
            on.insert(ALARM_ACTIVE.1.to_owned(), raised(ALARM_ACTIVE.2));
        }
        let edges = self.alarms.handle_level(on).into_iter();
        self.actions.extend(edges.map(|edge| Action::observe(Observation { device_time: time, ..edge })));
    }
}

impl Driver for MasimoAscii1 {
    fn handle_event(&mut self, event: &LinkEvent, _: Now) {
        match event {
            LinkEvent::Up => self.handle_up(),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes),
            LinkEvent::Down(_) => {
                let left = self.framer.finish();
                if self.phase == Phase::Listening {
                    // The last line of a file may lack its end.
                    if matches!(&left, Some(Piece::Broken(span, _)) if Line::read(span).is_ok()) {
                        let Some(Piece::Broken(span, _)) = left else { return };
                        self.handle_bytes(&[span.as_slice(), b"\n"].concat());
                    } else if let Some(piece) = left {
                        let mut faults = Faults::default();
                        self.handle_piece(&piece, &mut faults);
                        self.actions.extend(faults.into_actions());
                    }
                } else {
                    self.phase = Phase::Closed;
                }
            }
            LinkEvent::Value(..)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..) => {}
        }
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

fn quality(exceptions: u32) -> Quality {
    EXCEPTION_BITS
        .into_iter()
        .filter(|(bit, _)| exceptions & bit != 0)
        .fold(Quality::GOOD, |all, (_, quality)| all.with(quality))
}
