//! What the ward showed and what was heard, and what does not fit.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::port::{Port, parts};
use crate::device::observation::{Observation, Phase, Value};
use crate::device::{DeviceIndex, Identity, Report, ReportBody};
use crate::lab::bench::machine::processor_seconds;
use crate::policy::event::{Event, Word};
use crate::policy::{Admitted, DeviceCard, DeviceRule, Trust, Verdict};
use crate::time::Now;

/// The most wrong things that are told one by one.
const TOLD: usize = 20;

/// What is known of one device.
#[derive(Default)]
struct Device {
    /// Who it said it was while everything was well.
    identity: Option<Identity>,
    /// Who it last said it was.
    present: Option<Present>,
    /// Whether it was heard while everything was well.
    was_there: bool,
    heard: u64,
    alarms: u64,
    heard_this_minute: u64,
    /// The values of this minute, by element.
    values: BTreeMap<&'static str, BTreeSet<String>>,
    /// The alarms that are on.
    on: BTreeSet<String>,
}

/// Who last spoke, as far as it is known.
#[derive(Default)]
struct Present {
    serial: Option<String>,
    model: Option<String>,
}

impl Present {
    fn take_over(&mut self, said: &Identity) {
        for (known, said) in [(&mut self.serial, &said.serial), (&mut self.model, &said.model)] {
            if said.is_some() {
                known.clone_from(said);
            }
        }
    }
}

fn is_other(before: &Present, said: &Identity) -> bool {
    [(&before.serial, &said.serial), (&before.model, &said.model)]
        .into_iter()
        .any(|(before, said)| before.is_some() && said.is_some() && before != said)
}

/// The account of the ward.
pub struct Ledger {
    devices: Vec<Device>,
    ports: Vec<Row>,
    /// By device: the place of its port.
    port_of: Vec<usize>,
    wrong: Vec<String>,
    wrongs: u64,
    /// What the gate found and has not called over.
    events: BTreeSet<String>,
    memory: Vec<f64>,
    minutes: u32,
    processor: f64,
    began: std::time::Instant,
    seconds: f64,
}

/// What became of one port.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// The driver.
    pub name: &'static str,
    /// Parts with an identity of their own, or 1.
    pub parts: usize,
    /// Observations that were admitted.
    pub readings: u64,
    /// Edges of alarms among them.
    pub alarms: u64,
    /// Faults of the line.
    pub troubles: u64,
    /// Minutes in which all of the device had to be heard.
    pub minutes: u64,
    /// Values that were shown in such a minute and not heard, and parts that were not heard at all.
    pub missing: u64,
}

/// Everything, for a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// By port.
    pub ports: Vec<Row>,
    /// Simulated.
    pub hours: f64,
    /// Real.
    pub seconds: f64,
    /// Of a core, had the hours been real.
    pub processor_percent: f64,
    /// Resident, MiB: after the start, at the end.
    pub memory: [f64; 2],
    /// What was wrong, the first of it.
    pub wrong: Vec<String>,
    /// How much was wrong.
    pub wrongs: u64,
}

impl Ledger {
    pub(super) fn new(ports: &[Port], minutes: u32) -> Self {
        let mut devices = Vec::new();
        let mut port_of = Vec::new();
        for (place, port) in ports.iter().enumerate() {
            for _ in port.first()..port.end() {
                devices.push(Device::default());
                port_of.push(place);
            }
        }
        let row = |port: &Port| Row { name: port.model().name, ..Row::default() };
        Self {
            devices,
            ports: ports.iter().map(row).collect(),
            port_of,
            wrong: Vec::new(),
            wrongs: 0,
            events: BTreeSet::new(),
            memory: Vec::new(),
            minutes,
            processor: processor_seconds(),
            #[expect(clippy::disallowed_methods, reason = "how long the simulation itself takes")]
            began: std::time::Instant::now(),
            seconds: 0.0,
        }
    }

    pub(super) fn note_memory(&mut self, mib: f64) {
        self.memory.push(mib);
    }

    /// The allowlist: everybody who was there while everything was well, as who they said they were.
    pub(super) fn rules(&mut self, ports: &[Port]) -> Vec<DeviceRule> {
        let mut rules = Vec::new();
        for port in ports {
            let mut there = 0;
            for index in port.first()..port.end() {
                let Some(device) = self.devices.get_mut(usize::from(index)) else { continue };
                device.was_there = device.heard > 0;
                there += usize::from(
                    device.was_there && (index != port.first() || port.end() - port.first() == 1),
                );
                let serial = device.identity.as_ref().and_then(|said| said.serial.clone());
                let trust = if serial.is_some() { Trust::ReportedIdentity } else { Trust::LinkOnly };
                let card = DeviceCard {
                    id: format!("{}-{index}", port.model().name),
                    model: port.model().name.to_owned(),
                    pseudonym: format!("{index:032x}"),
                    location: None,
                    security: "serial",
                };
                let expects = Identity { serial, ..Identity::default() };
                let behind = (index != port.first()).then_some(DeviceIndex(port.first()));
                let (elements, quiet) = (port.model().reads.to_vec(), Some(port.model().quiet));
                rules.push(DeviceRule { card, expects, trust, elements, behind, quiet });
            }
            let many = parts(port.model()).next().is_some();
            let row =
                self.port_of.get(usize::from(port.first())).and_then(|place| self.ports.get_mut(*place));
            if let Some(row) = row {
                row.parts = if many { there } else { 1 };
            }
            if there == 0 {
                self.tell(format!("{} was not heard at all while everything was well", port.model().name));
            }
        }
        rules
    }

    /// What everybody who was there would say again to whoever comes later.
    pub(super) fn introductions(&self, at: Now) -> Vec<Report> {
        let there = (0..).zip(&self.devices).filter(|(_, device)| device.was_there);
        there
            .flat_map(|(index, device)| {
                let said = device.identity.clone().map(ReportBody::Identity);
                let bodies = [Some(ReportBody::Up), said].into_iter().flatten();
                bodies.map(move |body| Report { device: DeviceIndex(index), at, body })
            })
            .collect()
    }

    /// What a session says, before anybody judges it.
    pub(super) fn note(&mut self, report: &Report, is_judged: bool) {
        let Some(device) = self.devices.get_mut(usize::from(report.device.0)) else { return };
        match &report.body {
            ReportBody::Identity(said) => {
                // Another device's alarms are not this one's; one that has not said all yet is no other.
                if device.present.as_ref().is_some_and(|before| is_other(before, said)) {
                    device.on.clear();
                }
                device.present.get_or_insert_default().take_over(said);
                if !is_judged {
                    device.identity = Some(said.clone());
                }
            }
            ReportBody::Observation(_, said) if !is_judged => {
                device.heard += 1;
                self.take(report.device, said);
            }
            ReportBody::Observation(..)
            | ReportBody::Pin(..)
            | ReportBody::Up
            | ReportBody::Insecure
            | ReportBody::Commit
            | ReportBody::Down(_)
            | ReportBody::Fault(_)
            | ReportBody::Unlisted(_) => {}
        }
    }

    pub(super) fn judge(&mut self, verdict: Verdict) {
        if let Verdict::Admit(admitted) = verdict {
            self.count(&admitted);
            self.take(admitted.device(), admitted.observation());
        }
    }

    /// The gate's own word: no word of the device.
    pub(super) fn judge_word(&mut self, word: &Word) {
        match word {
            Word::Of(word) => self.take(word.device(), word.observation()),
            Word::Event(event) => self.judge_event(event),
        }
    }

    /// Events begin and end in turn, as alarms do.
    fn judge_event(&mut self, event: &Event) {
        let name = format!("{} {}", event.detection.as_str(), event.device);
        let is_new = match event.phase {
            Phase::Start => self.events.insert(name.clone()),
            Phase::Update => self.events.contains(&name),
            Phase::End => self.events.remove(&name),
        };
        if !is_new {
            self.tell(format!("event {name}: {} out of turn", event.phase.as_str()));
        }
    }

    fn count(&mut self, admitted: &Admitted) {
        let place = usize::from(admitted.device().0);
        let is_alarm = matches!(admitted.observation().value, Value::Alarm(_));
        if let Some(device) = self.devices.get_mut(place) {
            device.heard += 1;
            device.heard_this_minute += 1;
            device.alarms += u64::from(is_alarm);
        }
        if let Some(row) = self.port_of.get(place).and_then(|port| self.ports.get_mut(*port)) {
            row.readings += 1;
            row.alarms += u64::from(is_alarm);
        }
    }

    /// Keeps the minute's values, and the alarms that are on: they begin and end in turn.
    fn take(&mut self, index: DeviceIndex, said: &Observation) {
        let Some(device) = self.devices.get_mut(usize::from(index.0)) else { return };
        let wrong = match &said.value {
            Value::Alarm(alarm) => {
                let is_new = match alarm.phase {
                    Phase::Start => device.on.insert(alarm.code.clone()),
                    Phase::Update => device.on.contains(&alarm.code),
                    Phase::End => device.on.remove(&alarm.code),
                };
                (!is_new).then(|| {
                    format!(
                        "alarm {} of device {}: {} out of turn",
                        alarm.code,
                        index.0,
                        alarm.phase.as_str()
                    )
                })
            }
            Value::Decimal(value) => {
                device.values.entry(said.metric.reference).or_default().insert(value.to_string());
                None
            }
            Value::Text(_) | Value::Bits(_) | Value::Absent(_) | Value::Samples(_) => None,
        };
        if let Some(wrong) = wrong {
            self.tell(wrong);
        }
    }

    /// Compares what a port showed in a minute with what was heard of it.
    pub(super) fn end_minute(&mut self, port: &mut Port, minute: u32, is_judged: bool) {
        let place = self.port_of.get(usize::from(port.first())).copied().unwrap_or_default();
        let mut wrong = Vec::new();
        let mut missing = 0;
        let is_well = is_judged && port.is_well(minute);
        for index in port.first()..port.end() {
            let Some(device) = self.devices.get_mut(usize::from(index)) else { continue };
            let name = port.model().name;
            if is_well && device.was_there && device.heard_this_minute == 0 {
                missing += 1;
                wrong.push(format!(
                    "{name}, device {index}: nothing heard in minute {minute}, and all was well"
                ));
            }
            if port.is_swapped(minute)
                && device.identity.as_ref().is_some_and(|said| said.serial.is_some())
                && device.heard_this_minute > 0
            {
                wrong.push(format!(
                    "{name}, device {index}: another one's readings under its name in minute {minute}"
                ));
            }
            for shown in port.shown_by(index) {
                let heard = device.values.get(shown.reference);
                if is_well && !heard.is_some_and(|values| values.contains(&shown.value)) {
                    missing += 1;
                    wrong.push(format!(
                        "{name}, device {index}: {} was {} in minute {minute}; heard: {heard:?}",
                        shown.reference, shown.value
                    ));
                }
            }
            device.heard_this_minute = 0;
            device.values.clear();
        }
        if let Some(row) = self.ports.get_mut(place) {
            row.minutes += u64::from(is_well);
            row.missing += missing;
        }
        for wrong in wrong {
            self.tell(wrong);
        }
    }

    pub(super) fn finish(&mut self, ports: &[Port], _now: Now) {
        self.seconds = self.began.elapsed().as_secs_f64();
        self.processor = processor_seconds() - self.processor;
        for (place, port) in ports.iter().enumerate() {
            if let Some(row) = self.ports.get_mut(place) {
                row.troubles = port.troubles();
            }
            let refused = port.remote().refused();
            if refused > 0 && port.troubles() == 0 {
                self.tell(format!("{} refused {refused} requests", port.model().name));
            }
        }
    }

    fn tell(&mut self, wrong: String) {
        self.wrongs += 1;
        if self.wrong.len() < TOLD {
            self.wrong.push(wrong);
        }
    }

    /// Whether nothing was wrong.
    pub const fn is_well(&self) -> bool {
        self.wrongs == 0
    }

    /// Everything that there is to say.
    pub fn summary(&self) -> Summary {
        let hours = f64::from(self.minutes) / 60.0;
        Summary {
            ports: self.ports.clone(),
            hours,
            seconds: self.seconds,
            processor_percent: self.processor / (hours * 3_600.0) * 100.0,
            memory: [
                self.memory.first().copied().unwrap_or_default(),
                self.memory.last().copied().unwrap_or_default(),
            ],
            wrong: self.wrong.clone(),
            wrongs: self.wrongs,
        }
    }
}
