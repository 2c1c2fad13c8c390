//! Nonin pulse oximeters (OEM III, Xpod, Ipod, and others) that stream data format 2 or 7.
//!
//! In: packets of 25 frames, three a second. Out: averages of saturation and pulse rate, the colour of
//! the pulse signal, the edges of sensor and battery alarms, the firmware's revision. Nothing is ever
//! sent: these formats come by themselves. What a packet shows is told once in `every` seconds, and at
//! once when the sensor comes or goes; alarms at once.
//!
//! The formats have no serial number (some Bluetooth models tell theirs when asked by a command of its
//! own, which others do not have), so the port vouches. The plethysmogram is not read.
//!
//! What never happens: a value of a packet that was not whole; a value while the sensor is disconnected.

mod packet;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use super::{Faults, observation, text};
use crate::device::alarms::{AlarmEdges, Level, Raised};
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::decimal::Decimal;
use crate::device::framing::{Measured, Piece};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit, rows};
use crate::device::observation::{Absent, Kind, Observation, Priority, Quality, Value};
use crate::device::settings::{Setting, Settings, Values};
use crate::device::{Action, Driver, Fault, FaultKind, Identity};
use crate::link::{AllowSet, Line, LinkCommand, LinkEvent, Parity};
use crate::time::{Mono, Now};
use packet::{Packet, Pulse, status};

/// The private codes. A code once given stays: new ones go to the end.
#[expect(dead_code, unreachable_pub, reason = "the macro makes tables that are shared by all, too")]
mod own {
    use super::rows;

    rows! { Metric CODES:
        SPO2_FAST = { code: 67_111_169, reference: "NONIN_SPO2_FAST", label: "oxygen saturation, fast average", loinc: None, plausible: Some((50, 100)) };
        SPO2_BEAT = { code: 67_111_170, reference: "NONIN_SPO2_BEAT", label: "oxygen saturation of a beat", loinc: None, plausible: Some((50, 100)) };
        SPO2_EXTENDED = { code: 67_111_171, reference: "NONIN_SPO2_EXTENDED", label: "oxygen saturation, 8 beats", loinc: None, plausible: Some((50, 100)) };
        RATE_EXTENDED = { code: 67_111_172, reference: "NONIN_RATE_EXTENDED", label: "pulse rate, 8 beats", loinc: None, plausible: Some((20, 300)) };
        SIGNAL = { code: 67_111_173, reference: "NONIN_SIGNAL", label: "pulse signal", loinc: None, plausible: None };
    }
}

/// The catalogue's row.
pub(super) static MODEL: SerialModel = SerialModel {
    name: "nonin",
    title: "Nonin pulse oximeter (data formats 2 and 7)",
    class: Class::Monitor,
    line: Line { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::NONE,
    reads: &[
        &mdc::SPO2,
        &mdc::PULSE_OXIM_RATE,
        &own::SPO2_FAST,
        &own::SPO2_BEAT,
        &own::SPO2_EXTENDED,
        &own::RATE_EXTENDED,
        &own::SIGNAL,
        &mdc::EVT_ALARM,
        &mdc::EVT_SENSOR_DISCONN,
        &mdc::EVT_BATT_LO,
    ],
    identity: IdentityProof::PortOnly,
    parts: Parts::One,
    settings: &SETTINGS,
    // The longest `every` and a pause of the line.
    quiet: Duration::from_secs(75),
    driver: &|settings| Box::new(Nonin::new(settings)),
};

static SETTINGS: [Setting; 1] = [Setting {
    name: "every",
    meaning: "how many seconds lie between two sets of readings; 0 tells each packet, three a second",
    values: Values::Number { least: 0, most: 60, default: 1 },
}];

/// Packets in a second.
const PACKETS_PER_SECOND: u32 = 3;

/// How long the oximeter may be silent: thirty of its packets. Then the line is opened again.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// The way out, told with everything that looks like another format.
const SET_FORMAT: &str = "set the oximeter to data format 2 or 7, 9600 8N1";

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

/// The driver.
#[derive(Debug)]
struct Nonin {
    /// Each so-many-th packet is told.
    every: u32,
    framer: Measured,
    phase: Phase,
    /// Whether the next noise is the tail of a packet that began before the connection.
    is_first: bool,
    /// Packets since the last that was told; none was told yet.
    since: Option<u32>,
    /// What the packets since then say against the values.
    quality: Quality,
    pulse: Option<Pulse>,
    is_off: bool,
    revision: Option<u8>,
    alarms: AlarmEdges,
    /// The revision of whose alarms those are.
    alarms_of: Option<u8>,
    actions: VecDeque<Action>,
}

impl Nonin {
    fn new(settings: &Settings) -> Self {
        let seconds = u32::try_from(settings.number("every")).unwrap_or(1);
        Self {
            every: (seconds * PACKETS_PER_SECOND).max(1),
            framer: Measured::new(packet::PACKET, packet::measure),
            phase: Phase::Listening,
            is_first: false,
            since: None,
            quality: Quality::GOOD,
            pulse: None,
            is_off: false,
            revision: None,
            alarms: AlarmEdges::default(),
            alarms_of: None,
            actions: VecDeque::new(),
        }
    }

    fn handle_up(&mut self, now: Mono) {
        self.framer.reset();
        self.actions.clear();
        self.forget_readings();
        self.revision = None;
        self.is_first = true;
        // What is on is kept: an alarm that ended while the line was down gets its end.
        self.phase = Phase::Connected { quiet_until: now + QUIET_MAX };
    }

    fn forget_readings(&mut self) {
        (self.since, self.quality, self.pulse, self.is_off) = (None, Quality::GOOD, None, false);
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
        let may_be_a_tail = std::mem::take(&mut self.is_first);
        match piece {
            Piece::Frame(bytes) => {
                if let Phase::Connected { quiet_until } = &mut self.phase {
                    *quiet_until = now + QUIET_MAX;
                }
                match Packet::read(bytes) {
                    Some(packet) => self.handle_packet(&packet),
                    None => faults.add(FaultKind::Malformed, "a packet lacks frames"),
                }
            }
            Piece::Noise(count) if may_be_a_tail && *count < packet::PACKET => {}
            Piece::Noise(count) => {
                let detail = format!("{count} bytes are no whole packet: noise, or {SET_FORMAT}");
                faults.add(FaultKind::Framing, detail);
            }
            Piece::Broken(bytes, _) => {
                faults.add(FaultKind::Framing, format!("a packet is cut off after {} bytes", bytes.len()));
            }
        }
    }

    fn handle_packet(&mut self, packet: &Packet) {
        if self.revision != Some(packet.revision) {
            self.revision = Some(packet.revision);
            self.forget_readings();
            if self.alarms_of.is_some_and(|owner| owner != packet.revision) {
                self.alarms.forget();
            }
            self.alarms_of = self.revision;
            let firmware = Some(packet.revision.to_string());
            self.actions.push_back(Action::identify(Identity { firmware, ..Identity::default() }));
        }
        for edge in self.alarms.handle_level(level(packet)) {
            self.actions.push_back(Action::observe(edge));
        }
        self.quality = self.quality.with(quality(packet));
        self.pulse = self.pulse.max(packet.pulse);
        let is_off = packet.has(status::DISCONNECT);
        let since = self.since.map(|since| since + 1);
        let is_due = since.is_none_or(|since| since >= self.every) || is_off != self.is_off;
        self.is_off = is_off;
        if is_due {
            self.tell(packet);
            self.since = Some(0);
            (self.quality, self.pulse) = (Quality::GOOD, None);
        } else {
            self.since = since;
        }
    }

    fn tell(&mut self, packet: &Packet) {
        // Flags of a sensor that was off a moment ago say nothing against what it shows now.
        let quality = if packet.has(status::DISCONNECT) || !self.quality.has(Quality::SENSOR) {
            self.quality
        } else {
            quality(packet)
        };
        let readings: [(&'static Metric, Option<u16>, &'static Unit); 6] = [
            (&mdc::SPO2, packet.spo2.map(u16::from), &mdc::PERCENT),
            (&mdc::PULSE_OXIM_RATE, packet.rate, &mdc::PER_MINUTE),
            (&own::SPO2_FAST, packet.spo2_fast.map(u16::from), &mdc::PERCENT),
            (&own::SPO2_BEAT, packet.spo2_beat.map(u16::from), &mdc::PERCENT),
            (&own::SPO2_EXTENDED, packet.spo2_extended.map(u16::from), &mdc::PERCENT),
            (&own::RATE_EXTENDED, packet.rate_extended, &mdc::PER_MINUTE),
        ];
        for (metric, number, unit) in readings {
            let number = number.filter(|_| !packet.has(status::DISCONNECT));
            let value = number
                .map_or(Value::Absent(Absent::Unknown), |number| Value::Decimal(Decimal::whole(number)));
            let said = observation(metric, value, unit, Kind::Measurement);
            self.actions.push_back(Action::observe(Observation { quality, ..said }));
        }
        if let Some(pulse) = self.pulse {
            let value = Value::Text(text(pulse.word()));
            let said = observation(&own::SIGNAL, value, &mdc::DIMENSIONLESS, Kind::State);
            self.actions.push_back(Action::observe(said));
        }
    }
}

/// What a packet says against its values.
fn quality(packet: &Packet) -> Quality {
    let sensor =
        if packet.has(status::DISCONNECT | status::SENSOR_ALARM) { Quality::SENSOR } else { Quality::GOOD };
    let is_poor = packet.has(status::ARTIFACT | status::OUT_OF_TRACK) || packet.pulse == Some(Pulse::Red);
    if is_poor { sensor.with(Quality::POOR_SIGNAL) } else { sensor }
}

/// What a packet says is on. The formats state no priority.
fn level(packet: &Packet) -> Level {
    let alarms: [(bool, &str, &'static Metric, &str); 3] = [
        (
            packet.has(status::DISCONNECT),
            "SENSOR_DISCONNECT",
            &mdc::EVT_SENSOR_DISCONN,
            "sensor disconnected",
        ),
        (
            packet.has(status::SENSOR_ALARM),
            "SENSOR_ALARM",
            &mdc::EVT_ALARM,
            "what the sensor gives cannot be used",
        ),
        (packet.is_battery_low, "LOW_BATTERY", &mdc::EVT_BATT_LO, "battery low"),
    ];
    let raised = |metric, words: &str| Raised {
        metric,
        priority: Priority::Unstated,
        text: words.to_owned(),
        is_silenced: false,
    };
    let on = alarms.into_iter().filter(|(is_on, ..)| *is_on);
    on.map(|(_, code, metric, words)| (code.to_owned(), raised(metric, words))).collect()
}

impl Driver for Nonin {
    fn handle_event(&mut self, event: &LinkEvent, now: Now) {
        match event {
            LinkEvent::Up => self.handle_up(now.mono),
            LinkEvent::Bytes(bytes) => self.handle_bytes(bytes, now.mono),
            LinkEvent::Down(_) if self.phase == Phase::Listening => {
                let mut faults = Faults::default();
                while let Some(piece) = self.framer.finish() {
                    self.handle_piece(&piece, now.mono, &mut faults);
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
            let seconds = QUIET_MAX.as_secs();
            let detail = format!("no whole packet in {seconds} s, the line is opened again: {SET_FORMAT}");
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
