//! A backlog on its way to the broker: how fast, how much memory, how soon, and what an alarm that
//! rings meanwhile has to wait.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::broker::{Papers, Wire};
use super::machine::{Memory, Spread, per_second, processor_seconds};
use super::part::say_as;
use super::ward::{DEVICES, Line, Spool};
use crate::device::observation::Lane;
use crate::host::clock::SystemClock;
use crate::host::supervisor::Supervisor;
use crate::store::{Reader, Seq, StoreId, Writer};
use crate::time::{Clock as _, Mono};
use crate::uplink::feeder::{Read, Source, SourceError};
use crate::uplink::{Payload, Stop};

/// When so long nothing is acknowledged, nothing more will be.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const TURN: Duration = Duration::from_secs(1);

/// What a drain came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::lab) struct Drain {
    /// Observations of the backlog.
    pub(in crate::lab) observations: u64,
    /// Observations each second, from the first block read to the last acknowledged.
    pub(in crate::lab) per_second: f64,
    /// Publishes each second.
    pub(in crate::lab) publishes_per_second: f64,
    /// Observations in a publish.
    pub(in crate::lab) in_a_publish: f64,
    /// From the start (the store still closed) to the first block of which every PUBACK came;
    /// milliseconds.
    pub(in crate::lab) first_puback_ms: f64,
    /// Processor seconds of this process for a million observations.
    pub(in crate::lab) processor_per_million: f64,
    /// Alarms that rang meanwhile: from the report to the PUBACK, milliseconds.
    pub(in crate::lab) alarm_ms: Spread,
    /// Memory with the store open, before anything is read.
    pub(in crate::lab) opened: Memory,
    /// Memory when the last block was acknowledged.
    pub(in crate::lab) drained: Memory,
}

/// Fills a store with a backlog, in commits of a size, as an outage leaves it.
pub(in crate::lab) fn fill(folder: &Path, records: u64, commit: usize) -> anyhow::Result<u64> {
    let clock = SystemClock::default();
    let (mut writer, _reader) = Spool::new(folder)?.open(&clock)?;
    let mut line = Line::new(clock.now());
    let mut stored = 0;
    while stored < records {
        let left = usize::try_from(records - stored)?;
        let now = clock.now();
        line.fill(commit.min(left), now)?;
        let block = line.builder.finish();
        writer.append(Lane::Vital, &block, now)?;
        stored += u64::from(block.count());
    }
    writer.close()?;
    Ok(stored)
}

/// What happened at the store's reading side.
#[derive(Default)]
struct Journal {
    began: Option<Mono>,
    records: BTreeMap<Seq, u64>,
    acknowledged: u64,
    first: Option<Mono>,
    last: Option<Mono>,
    memory: Memory,
    /// When an alarm rang that has no PUBACK yet.
    alarms: BTreeMap<Seq, Mono>,
    /// When an alarm was done of which it is not yet known when it rang.
    early: BTreeMap<Seq, Mono>,
    alarm_waits: Vec<Duration>,
}

/// The store's reader, with a look at the clock whenever a block goes out or is done.
struct Watched {
    reader: Reader,
    clock: Arc<SystemClock>,
    journal: Arc<Mutex<Journal>>,
    done: watch::Sender<u64>,
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for Watched {
    fn store_id(&self) -> StoreId {
        self.reader.store_id()
    }

    fn read_next(&mut self, lane: Lane) -> Result<Option<Read>, SourceError> {
        let asked = self.clock.now().mono;
        let read = Source::read_next(&mut self.reader, lane)?;
        if let Some(Read::Block(block)) = &read
            && lane == Lane::Vital
        {
            let mut journal = lock(&self.journal);
            journal.began.get_or_insert(asked);
            journal.records.insert(block.seq, u64::try_from(block.entries.len()).unwrap_or(0));
        }
        Ok(read)
    }

    fn acknowledge(&mut self, seq: Seq) -> Result<(), SourceError> {
        let now = self.clock.now().mono;
        let mut journal = lock(&self.journal);
        if seq.lane == Lane::Alarm {
            match journal.alarms.remove(&seq) {
                Some(rang) => journal.alarm_waits.push(now.since(rang)),
                None => drop(journal.early.insert(seq, now)),
            }
        } else {
            journal.first.get_or_insert(now);
            journal.last = Some(now);
            journal.acknowledged += journal.records.remove(&seq).unwrap_or(0);
        }
        let acknowledged = journal.acknowledged;
        drop(journal);
        self.done.send_replace(acknowledged);
        Source::acknowledge(&mut self.reader, seq)
    }

    fn rewind(&mut self) {
        let mut journal = lock(&self.journal);
        if journal.acknowledged == 0 {
            // The connection is there only now: what was read before it was not published. (The end
            // of the connection rewinds too.)
            journal.began = None;
        }
        drop(journal);
        Source::rewind(&mut self.reader);
    }

    fn commits(&self) -> watch::Receiver<u64> {
        Source::commits(&self.reader)
    }
}

/// How a backlog is drained.
#[derive(Clone, Debug)]
pub(in crate::lab) struct Way<'a> {
    /// The folder of the filled store.
    pub(in crate::lab) folder: &'a Path,
    /// Certificates.
    pub(in crate::lab) papers: Papers,
    /// The broker.
    pub(in crate::lab) port: u16,
    /// CBOR or FHIR.
    pub(in crate::lab) payload: Payload,
    /// How often an alarm rings meanwhile, if at all.
    pub(in crate::lab) alarm_every: Option<Duration>,
    /// Whether it is said each second how far it is.
    pub(in crate::lab) progress: bool,
    /// The store's cap.
    pub(in crate::lab) cap: u64,
}

/// Drains a store that was filled.
pub(in crate::lab) async fn run(way: Way<'_>) -> anyhow::Result<Drain> {
    let clock = Arc::new(SystemClock::default());
    let started = clock.now().mono;
    let processor = processor_seconds();
    let (writer, reader) = Spool::new(way.folder)?.with_cap(way.cap).open(&clock)?;
    let observations = reader.depth(Lane::Vital).records;
    let opened = Memory::now();
    let journal = Arc::new(Mutex::new(Journal::default()));
    let (done, mut acknowledged) = watch::channel(0);
    let source = Watched { reader, clock: Arc::clone(&clock), journal: Arc::clone(&journal), done };
    let stop = watch::Sender::new(Stop::Run);
    let mut supervisor = Supervisor::new();
    let config = way.papers.config(way.port, way.payload);
    let wire = Wire::start(&mut supervisor, config, source, &clock, &stop)?;
    let ringer = way.alarm_every.map(|every| Ringer {
        every,
        writer,
        clock: Arc::clone(&clock),
        journal: Arc::clone(&journal),
        acknowledged: acknowledged.clone(),
        observations,
    });
    if let Some(ringer) = ringer {
        supervisor.thread("alarms", move || ringer.run().map_err(|error| error.to_string()))?;
    }
    let drained = wait(&mut acknowledged, observations, way.progress).await;
    drained.with_context(|| format!("not drained: {:?}", *wire.status.borrow()))?;
    lock(&journal).memory = Memory::now();
    let spent = processor_seconds() - processor;
    let all_answered = async {
        while !lock(&journal).alarms.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_answered).await.context("an alarm has no PUBACK")?;
    stop.send_replace(Stop::Finish { grace: Duration::from_secs(2) });
    while let Some((part, end)) = supervisor.next_end().await {
        anyhow::ensure!(end == crate::host::supervisor::End::Finished, "{part} ended: {end:?}");
    }
    let publishes = wire.status.borrow().lanes.get(&Lane::Vital).map_or(0, |lane| lane.acknowledged);
    figures(&journal, started, (observations, publishes), (opened, spent))
}

/// Waits until so many are acknowledged, with patience as long as there are more each time.
async fn wait(acknowledged: &mut watch::Receiver<u64>, all: u64, progress: bool) -> anyhow::Result<()> {
    let (mut before, mut still) = (0, Duration::ZERO);
    loop {
        let all_done = async { acknowledged.wait_for(|count| *count >= all).await.map(drop) };
        if let Ok(done) = tokio::time::timeout(TURN, all_done).await {
            return Ok(done?);
        }
        let count = *acknowledged.borrow();
        if progress {
            say_as("at", &count)?;
        }
        still = if count > before { Duration::ZERO } else { still + TURN };
        anyhow::ensure!(still < PATIENCE, "{count} of {all} are acknowledged, and no more come");
        before = count;
    }
}

fn figures(
    journal: &Mutex<Journal>,
    started: Mono,
    (observations, publishes): (u64, u64),
    (opened, spent): (Memory, f64),
) -> anyhow::Result<Drain> {
    let mut journal = lock(journal);
    let (Some(began), Some(first), Some(last)) = (journal.began, journal.first, journal.last) else {
        anyhow::bail!("nothing was drained: the store was empty");
    };
    let took = last.since(began);
    Ok(Drain {
        observations,
        per_second: per_second(observations, took),
        publishes_per_second: per_second(publishes, took),
        in_a_publish: super::machine::ratio(observations, publishes),
        first_puback_ms: first.since(started).as_secs_f64() * 1e3,
        processor_per_million: spent * 1e6 * super::machine::ratio(1, observations),
        alarm_ms: Spread::of(std::mem::take(&mut journal.alarm_waits)),
        opened,
        drained: journal.memory,
    })
}

/// Rings alarms until the backlog is drained.
struct Ringer {
    every: Duration,
    writer: Writer,
    clock: Arc<SystemClock>,
    journal: Arc<Mutex<Journal>>,
    acknowledged: watch::Receiver<u64>,
    observations: u64,
}

impl Ringer {
    fn run(mut self) -> anyhow::Result<()> {
        let mut line = Line::new(self.clock.now());
        let mut device = 0;
        while *self.acknowledged.borrow() < self.observations {
            std::thread::sleep(self.every);
            // Before the backlog moves, what an alarm waits for is the connection.
            if lock(&self.journal).first.is_none() {
                continue;
            }
            device = (device + 1) % DEVICES;
            let rang = self.clock.now();
            let report = line.readings.alarm(device, rang);
            line.push(report)?;
            let block = line.builder.finish();
            let seq = self.writer.append(Lane::Alarm, &block, rang)?;
            let mut journal = lock(&self.journal);
            match journal.early.remove(&seq) {
                Some(done) => journal.alarm_waits.push(done.since(rang.mono)),
                None => drop(journal.alarms.insert(seq, rang.mono)),
            }
        }
        self.writer.close()?;
        Ok(())
    }
}
