//! The gateway's parts between report and PUBACK, put together as the composition root does, and
//! what they came to: latency, wear, memory and processor time of a ward at rest.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use super::broker::{Papers, Wire};
use super::machine::{Memory, Spread, bytes_written, per_second, processor_seconds, ratio};
use super::ward::{DEVICES, LINGER, Readings, Spool, header, introductions, rules};
use crate::device::{Report, ReportBody, Settled, Ticket};
use crate::gateway::intake::Intake;
use crate::gateway::pump::{Pump, Shown};
use crate::host::clock::SystemClock;
use crate::host::heartbeat::Heartbeat;
use crate::host::supervisor::Supervisor;
use crate::policy::Gatekeeper;
use crate::policy::hold::Holds;
use crate::store::{Snapshot, Writer};
use crate::time::Clock as _;
use crate::uplink::Stop;

/// Reports that may wait, as in the daemon.
const REPORTS_WAITING: usize = 4_096;

/// After so long everything that a start brings with it is over.
const SETTLED: Duration = Duration::from_secs(1);

/// Milliseconds between two alarms where alarms ring.
const ALARM_PERIOD: u64 = 50;

/// A running intake.
struct Running {
    clock: Arc<SystemClock>,
    supervisor: Supervisor,
    reports: mpsc::Sender<Report>,
    durable: Vec<watch::Receiver<Settled>>,
    shown: watch::Receiver<Shown>,
}

impl Running {
    async fn start(writer: Writer, clock: Arc<SystemClock>, linger: Duration) -> anyhow::Result<Self> {
        let rules = rules();
        let (reports, waiting) = mpsc::channel(REPORTS_WAITING);
        let (told, durable): (Vec<_>, Vec<_>) =
            rules.iter().map(|_| watch::channel(Settled::default())).unzip();
        let header = header(&rules);
        let intake = Intake::new(Gatekeeper::new(rules), writer, &header, linger, told);
        let (sender, shown) = watch::channel(Shown::default());
        let pump = Pump {
            reports: waiting,
            changes: mpsc::channel(1).1,
            events: mpsc::channel(1).1,
            holds: watch::channel(Holds::new()).1,
            in_force: None,
            clock: Arc::clone(&clock) as Arc<dyn crate::time::Clock>,
            runtime: tokio::runtime::Handle::current(),
            heart: Heartbeat::new("intake", clock.now().mono),
            shown: sender,
        };
        let mut supervisor = Supervisor::new();
        supervisor.thread("intake", move || {
            let writer = pump.run(intake)?;
            writer.close().map_err(|error| error.to_string())
        })?;
        for report in introductions(clock.now()) {
            reports.send(report).await.context("the intake ended")?;
        }
        Ok(Self { clock, supervisor, reports, durable, shown })
    }

    /// Ends it in order.
    async fn end(mut self) -> anyhow::Result<()> {
        drop(self.reports);
        while let Some((part, end)) = self.supervisor.next_end().await {
            anyhow::ensure!(end == crate::host::supervisor::End::Finished, "{part} ended: {end:?}");
        }
        Ok(())
    }
}

/// What the whole intake came to, reports through its channel and commits as large as they come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Through {
    /// Observations made durable each second.
    pub(super) per_second: f64,
    /// Observations in a commit.
    pub(super) in_a_commit: f64,
    /// Memory at the end.
    pub(super) memory: Memory,
}

/// Pours observations into the channel as fast as it takes them.
pub(super) async fn pour(folder: &Path, observations: u64) -> anyhow::Result<Through> {
    let clock = Arc::new(SystemClock::default());
    let (writer, _reader) = Spool::new(folder)?.open(&clock)?;
    let stats = writer.stats();
    let running = Running::start(writer, Arc::clone(&clock), LINGER).await?;
    let mut readings = Readings::default();
    let began = clock.now().mono;
    let mut now = clock.now();
    for number in 0..observations {
        if number % 256 == 0 {
            now = clock.now();
        }
        running.reports.send(readings.next(now)).await.context("the intake ended")?;
    }
    let memory = Memory::now();
    running.end().await?;
    let took = clock.now().mono.since(began);
    let snapshot = stats.snapshot();
    anyhow::ensure!(snapshot.records == observations, "{} of {observations}", snapshot.records);
    Ok(Through {
        per_second: per_second(observations, took),
        in_a_commit: ratio(snapshot.records, snapshot.commits),
        memory,
    })
}

/// What a ward came to at one reading a second from each of its devices.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct AtRest {
    /// How long it was watched, in seconds.
    pub(super) seconds: u64,
    /// From a reading's report to the word that it is durable; milliseconds. With the linger.
    pub(super) vital_ms: Spread,
    /// The same for an alarm, which does not linger.
    pub(super) alarm_ms: Spread,
    /// Commits each second.
    pub(super) commits_per_second: f64,
    /// Bytes written to storage for each observation.
    pub(super) written_per_observation: f64,
    /// Bytes written to storage for each commit.
    pub(super) written_per_commit: f64,
    /// Bytes written to storage in a day, in GB.
    pub(super) gigabytes_per_day: f64,
    /// Processor time in percent of one core.
    pub(super) processor_percent: f64,
    /// Memory before the first reading.
    pub(super) idle: Memory,
    /// Memory at the end.
    pub(super) memory: Memory,
}

/// How the ward is watched.
#[derive(Clone, Debug)]
pub(super) struct Watch<'a> {
    /// For the store.
    pub(super) folder: &'a Path,
    /// How long.
    pub(super) seconds: u64,
    /// Whether alarms ring meanwhile.
    pub(super) alarms: bool,
    /// The longest that a commit of readings waits for more.
    pub(super) linger: Duration,
    /// The broker that the uplink delivers to; nobody, as in an outage, when there is none.
    pub(super) broker: Option<(Papers, u16)>,
}

/// Watches a ward.
pub(super) async fn at_rest(how: Watch<'_>) -> anyhow::Result<AtRest> {
    let clock = Arc::new(SystemClock::default());
    let (writer, reader) = Spool::new(how.folder)?.open(&clock)?;
    let stats = writer.stats();
    let mut running = Running::start(writer, Arc::clone(&clock), how.linger).await?;
    let stop = watch::Sender::new(Stop::Run);
    let mut wire = None;
    let mut unread = None;
    match &how.broker {
        Some((papers, port)) => {
            let config = papers.config(*port, crate::uplink::Payload::Fhir);
            wire = Some(Wire::start(&mut running.supervisor, config, reader, &clock, &stop)?);
        }
        None => unread = Some(reader),
    }
    tokio::time::sleep(SETTLED).await;
    let idle = Memory::now();
    let Measured { vital, alarm, figures } = ring_and_read(&mut running, &how).await?;
    let snapshot = stats.snapshot();
    let error = running.shown.borrow().store_error.clone();
    anyhow::ensure!(error.is_none(), "the store refused a block: {error:?}");
    stop.send_replace(Stop::Finish { grace: Duration::from_secs(2) });
    drop((wire, unread));
    running.end().await?;
    Ok(AtRest {
        seconds: how.seconds,
        vital_ms: Spread::of(vital),
        alarm_ms: Spread::of(alarm),
        idle,
        ..figures.of(&snapshot)
    })
}

/// What was counted while the ward was watched.
struct Raw {
    written: u64,
    processor: f64,
    took: Duration,
    memory: Memory,
}

impl Raw {
    fn of(&self, counts: &Snapshot) -> AtRest {
        let a_second = per_second(self.written, self.took);
        AtRest {
            commits_per_second: per_second(counts.commits, self.took),
            written_per_observation: ratio(self.written, counts.records),
            written_per_commit: ratio(self.written, counts.commits),
            gigabytes_per_day: a_second * 86_400.0 / 1e9,
            processor_percent: self.processor / self.took.as_secs_f64() * 100.0,
            memory: self.memory,
            ..AtRest::default()
        }
    }
}

struct Measured {
    vital: Vec<Duration>,
    alarm: Vec<Duration>,
    figures: Raw,
}

/// Every device reads once a second, each at its own moment of it.
async fn ring_and_read(running: &mut Running, how: &Watch<'_>) -> anyhow::Result<Measured> {
    let waits: [Arc<Mutex<Vec<Duration>>>; 2] = Default::default();
    let [vital, alarm] = waits.clone();
    let (written, processor, began) = (bytes_written(), processor_seconds(), running.clock.now().mono);
    let mut devices = Supervisor::new();
    for (device, durable) in (0..DEVICES).zip(running.durable.clone()) {
        // The last device rings instead of reading, where alarms are wanted.
        let rings = how.alarms && device + 1 == DEVICES;
        let bedside = Bedside {
            device,
            rings,
            turns: if rings { how.seconds * 1_000 / ALARM_PERIOD } else { how.seconds },
            reports: running.reports.clone(),
            durable,
            clock: Arc::clone(&running.clock),
            waits: Arc::clone(if rings { &alarm } else { &vital }),
        };
        devices.task("bedside", async move { bedside.run().await.map_err(|error| error.to_string()) });
    }
    while let Some((_, end)) = devices.next_end().await {
        anyhow::ensure!(end == crate::host::supervisor::End::Finished, "a bedside ended: {end:?}");
    }
    let figures = Raw {
        written: bytes_written().saturating_sub(written),
        processor: processor_seconds() - processor,
        took: running.clock.now().mono.since(began),
        memory: Memory::now(),
    };
    let taken = |waits: &Mutex<Vec<Duration>>| {
        std::mem::take(&mut *waits.lock().unwrap_or_else(PoisonError::into_inner))
    };
    Ok(Measured { vital: taken(&vital), alarm: taken(&alarm), figures })
}

/// One device.
struct Bedside {
    device: u16,
    rings: bool,
    turns: u64,
    reports: mpsc::Sender<Report>,
    durable: watch::Receiver<Settled>,
    clock: Arc<SystemClock>,
    waits: Arc<Mutex<Vec<Duration>>>,
}

impl Bedside {
    async fn run(mut self) -> anyhow::Result<()> {
        let mut readings = Readings::default();
        let period = if self.rings { ALARM_PERIOD } else { 1_000 };
        // A step that shares no factor with the period, so the moments spread evenly.
        tokio::time::sleep(Duration::from_millis(u64::from(self.device) * 37 % period)).await;
        let mut turns = tokio::time::interval(Duration::from_millis(period));
        for turn in 0..self.turns {
            turns.tick().await;
            let at = self.clock.now();
            let reports = if self.rings {
                vec![readings.alarm(self.device, at)]
            } else {
                readings.reading(self.device, turn, at)
            };
            let mut last = Ticket::default();
            for report in reports {
                if let ReportBody::Observation(ticket, _) = &report.body {
                    last = *ticket;
                }
                self.reports.send(report).await.context("the intake ended")?;
            }
            self.durable.wait_for(|settled| settled.through >= last).await?;
            let wait = self.clock.now().mono.since(at.mono);
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(wait);
        }
        Ok(())
    }
}
