//! The ward that is measured: a hundred devices, three observations to a reading, with the values of
//! the recorded patient and times of the device's own, behind the real gate and store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;

use crate::backoff::Random as _;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{self as n, Metric, Unit};
use crate::device::observation::{
    Absent, Alarm, DeviceTime, Kind, Observation, Phase, Priority, Quality, Status, Value,
};
use crate::device::{DeviceIndex, Identity, Report, ReportBody, Ticket};
use crate::envelope::block::{BlockBuilder, BlockHeader};
use crate::envelope::keys::{Kek, load_kek};
use crate::host::atomic_file;
use crate::host::clock::{SystemClock, boot_id};
use crate::host::random::SystemRandomness;
use crate::lab::numerics::{Minute, minutes};
use crate::policy::{DeviceCard, DeviceRule, Gatekeeper, Trust, Verdict};
use crate::store::{self, Limits, Reader, Writer};
use crate::time::{Clock as _, Now};

/// Devices of the ward.
pub(in crate::lab) const DEVICES: u16 = 100;
/// Observations in one reading.
pub(in crate::lab) const IN_A_READING: u64 = 3;
/// The linger that is the default of the configuration.
pub(in crate::lab) const LINGER: Duration = Duration::from_millis(250);

/// The allowlist: every device must say its serial number.
pub(in crate::lab) fn rules() -> Vec<DeviceRule> {
    (0..DEVICES)
        .map(|device| DeviceRule {
            card: DeviceCard {
                id: format!("bed-{device:02}"),
                model: "masimo-ascii1".to_owned(),
                pseudonym: format!("{:032x}", u128::from(device).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C)),
                location: None,
                security: "serial",
            },
            expects: identity(device),
            trust: Trust::ReportedIdentity,
            elements: vec![&n::SPO2, &n::PULSE_OXIM_RATE, &n::HEART_RATE, &n::EVT_OCCL],
            behind: None,
            quiet: None,
        })
        .collect()
}

fn identity(device: u16) -> Identity {
    Identity { serial: Some(format!("{:010}", 4_000_000 + u32::from(device))), ..Identity::default() }
}

/// What every block of a run has in common.
pub(in crate::lab) fn header(rules: &[DeviceRule]) -> BlockHeader {
    BlockHeader {
        boot: boot_id(),
        run: SystemRandomness::new().next_u64(),
        devices: rules.iter().map(|rule| rule.card.clone()).collect(),
    }
}

/// The reports by which every device proves who it is.
pub(in crate::lab) fn introductions(at: Now) -> Vec<Report> {
    (0..DEVICES)
        .flat_map(|device| {
            [ReportBody::Up, ReportBody::Identity(identity(device))].map(|body| Report {
                device: DeviceIndex(device),
                at,
                body,
            })
        })
        .collect()
}

/// Gives the readings of the ward, device after device, minute after minute of the recording.
pub(in crate::lab) struct Readings {
    minutes: Vec<Minute>,
    next: u64,
    tickets: Vec<u64>,
}

impl Default for Readings {
    fn default() -> Self {
        // The first half hour of the recording has no saturation at all.
        Self {
            minutes: minutes().into_iter().skip(30).collect(),
            next: 0,
            tickets: vec![0; usize::from(DEVICES)],
        }
    }
}

impl Readings {
    /// The next observation of the next device in turn.
    pub(in crate::lab) fn next(&mut self, at: Now) -> Report {
        let reading = self.next / IN_A_READING;
        let device = u16::try_from(reading % u64::from(DEVICES)).unwrap_or(0);
        let part = self.next % IN_A_READING;
        let turn = reading / u64::from(DEVICES);
        self.next += 1;
        self.report(device, turn, part, at)
    }

    /// The three observations of one device's reading.
    pub(in crate::lab) fn reading(&mut self, device: u16, turn: u64, at: Now) -> Vec<Report> {
        (0..IN_A_READING).map(|part| self.report(device, turn, part, at)).collect()
    }

    fn report(&mut self, device: u16, turn: u64, part: u64, at: Now) -> Report {
        // Each patient is at another place of the recording.
        let place = (turn + u64::from(device) * 17) % u64::try_from(self.minutes.len().max(1)).unwrap_or(1);
        let minute = usize::try_from(place).ok().and_then(|place| self.minutes.get(place));
        let seconds = u8::try_from(turn % 60).unwrap_or(0);
        let (metric, unit, value): (&'static Metric, &'static Unit, _) = match part {
            0 => (&n::SPO2, &n::PERCENT, minute.and_then(|minute| minute.spo2)),
            1 => (&n::PULSE_OXIM_RATE, &n::PER_MINUTE, minute.and_then(|minute| minute.pulse)),
            _ => (&n::HEART_RATE, &n::PER_MINUTE, minute.and_then(|minute| minute.heart_rate)),
        };
        let clock = |minutes: u64| u8::try_from(minutes).unwrap_or(0);
        let time = DeviceTime {
            year: 2026,
            month: 11,
            day: 21,
            hour: clock(turn / 3_600 % 24),
            minute: clock(turn / 60 % 60),
            second: seconds,
            ..DeviceTime::default()
        };
        let observation = Observation { device_time: Some(time), ..measured(metric, unit, number(value)) };
        self.numbered(device, observation, at)
    }

    /// An alarm of a device.
    pub(in crate::lab) fn alarm(&mut self, device: u16, at: Now) -> Report {
        self.alarm_in_words(device, ("AL_OCCLU", "occlusion, line pressure above limit"), at)
    }

    /// An alarm of a device with a code and a text of its own: of all observations the one that can
    /// be as large as one likes.
    pub(in crate::lab) fn alarm_in_words(
        &mut self,
        device: u16,
        (code, text): (&str, &str),
        at: Now,
    ) -> Report {
        let alarm = Alarm {
            code: code.to_owned(),
            text: text.to_owned(),
            phase: Phase::Start,
            priority: Priority::High,
            is_silenced: false,
        };
        let observation = measured(&n::EVT_OCCL, &n::DIMENSIONLESS, Value::Alarm(alarm));
        self.numbered(device, Observation { kind: Kind::Alarm, ..observation }, at)
    }

    fn numbered(&mut self, device: u16, observation: Observation, at: Now) -> Report {
        let mut number = 0;
        if let Some(ticket) = self.tickets.get_mut(usize::from(device)) {
            *ticket += 1;
            number = *ticket;
        }
        let body = ReportBody::Observation(Ticket(number), observation);
        Report { device: DeviceIndex(device), at, body }
    }
}

fn measured(metric: &'static Metric, unit: &'static Unit, value: Value) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

/// With the one digit behind the point that the recording has.
#[expect(clippy::cast_possible_truncation, reason = "a recorded number has three digits")]
fn number(value: Option<f32>) -> Value {
    value.map_or(Value::Absent(Absent::Unknown), |value| {
        Value::Decimal(Decimal::new((value * 10.0).round() as i64, -1))
    })
}

/// The gate with every device known, and the builder behind it.
pub(in crate::lab) struct Line {
    /// The gate.
    pub(in crate::lab) gate: Gatekeeper,
    /// The builder.
    pub(in crate::lab) builder: BlockBuilder,
    /// What comes.
    pub(in crate::lab) readings: Readings,
}

impl Line {
    /// Ready for readings.
    pub(in crate::lab) fn new(at: Now) -> Self {
        let rules = rules();
        let builder = BlockBuilder::new(&header(&rules));
        let mut gate = Gatekeeper::new(rules);
        for report in introductions(at) {
            gate.handle_report(report);
        }
        Self { gate, builder, readings: Readings::default() }
    }

    /// Passes so many observations through the gate into the builder, or as many as fit.
    pub(in crate::lab) fn fill(&mut self, commit: usize, at: Now) -> anyhow::Result<()> {
        while self.builder.count() < commit && !self.builder.is_full() {
            let report = self.readings.next(at);
            self.push(report)?;
        }
        Ok(())
    }

    /// Passes one report through the gate into the builder.
    pub(in crate::lab) fn push(&mut self, report: Report) -> anyhow::Result<()> {
        match self.gate.handle_report(report) {
            Verdict::Admit(admitted) => Ok(self.builder.push(&admitted)?),
            Verdict::Refuse(refusal) => anyhow::bail!("the gate refuses what it should admit: {refusal}"),
            Verdict::Tell(_) | Verdict::Noted => anyhow::bail!("the gate took a reading for something else"),
        }
    }
}

/// A store of its own in a folder, with a key beside it; or the one that is there already.
pub(in crate::lab) struct Spool {
    folder: PathBuf,
    cap: u64,
    limits: Limits,
}

/// The cap that is the default of the configuration.
pub(in crate::lab) const CAP: u64 = 4 << 30;
/// How much of it is for alarms, as by default.
pub(in crate::lab) const ALARM_RESERVE: u64 = 64 << 20;

impl Spool {
    /// In this folder.
    pub(in crate::lab) fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let spool = Self { folder: folder.to_owned(), cap: CAP, limits: Limits::default() };
        if !spool.key().exists() {
            let mut random = SystemRandomness::new();
            let words = [(); 4].map(|()| format!("{:016x}", random.next_u64()));
            atomic_file::write(&spool.key(), words.concat().as_bytes())?;
        }
        Ok(spool)
    }

    /// The same with another cap.
    pub(in crate::lab) fn with_cap(self, cap: u64) -> Self {
        Self { cap, ..self }
    }

    /// The same with segments of another size.
    pub(in crate::lab) fn with_segments(self, bytes: Option<u64>) -> Self {
        let bytes = bytes.unwrap_or(self.limits.bytes);
        let drained_bytes = self.limits.drained_bytes.min(bytes);
        Self { limits: Limits { bytes, drained_bytes, ..self.limits }, ..self }
    }

    fn key(&self) -> PathBuf {
        self.folder.join("kek")
    }

    /// Its key.
    pub(in crate::lab) fn kek(&self) -> anyhow::Result<Kek> {
        Ok(load_kek(&self.key())?)
    }

    /// Opens it.
    pub(in crate::lab) fn open(&self, clock: &SystemClock) -> anyhow::Result<(Writer, Reader)> {
        self.open_at(clock.now())
    }

    /// Opens it at a moment.
    pub(in crate::lab) fn open_at(&self, now: Now) -> anyhow::Result<(Writer, Reader)> {
        let config = store::Config {
            folder: self.folder.join("store"),
            cap: self.cap,
            alarm_reserve: ALARM_RESERVE,
            anchor: None,
            linger: LINGER,
        };
        let random = Arc::new(SystemRandom::new());
        let (writer, reader, recovery) =
            store::open_with_limits(&config, self.kek()?.into(), (boot_id(), now), random, self.limits)?;
        anyhow::ensure!(recovery.faults.is_empty(), "the store was damaged: {:?}", recovery.faults);
        Ok((writer, reader))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_observation_of_the_ward_passes_the_gate() {
        let mut line = Line::new(Now::default());
        line.fill(4_096, Now::default()).unwrap();
        assert_eq!(line.builder.count(), 4_096);
        let (header, entries) = line.builder.finish().read().unwrap();
        assert_eq!((header.devices.len(), entries.len()), (usize::from(DEVICES), 4_096));
    }

    #[test]
    fn the_values_vary_and_the_tickets_count() {
        let mut readings = Readings::default();
        let first = readings.reading(3, 0, Now::default());
        let second = readings.reading(3, 1, Now::default());
        assert_ne!(first, second);
        let tickets = first.iter().chain(&second).map(|report| match &report.body {
            ReportBody::Observation(ticket, _) => ticket.0,
            ReportBody::Up
            | ReportBody::Insecure
            | ReportBody::Commit
            | ReportBody::Pin(..)
            | ReportBody::Down(_)
            | ReportBody::Identity(_)
            | ReportBody::Fault(_)
            | ReportBody::Unlisted(_) => 0,
        });
        assert_eq!(tickets.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }
}
