//! The outage itself: the real gate, intake and store take what a ward says in many hours, as fast
//! as the disk allows. Only the clock is not real: what is told to them is the simulated time.
//!
//! In: a folder, how many hours and devices. Out: a line for each simulated hour, then one with the
//! sum. What can go wrong: the store refuses a block; then the run fails. What never happens: the
//! process ends in order; it waits to be killed, so that the next start finds what a power cut leaves.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::super::bench::machine::{Memory, bytes_written, disk_bytes};
use super::super::bench::part::say_as;
use super::super::bench::ward::{LINGER, Readings, Spool, header, introductions, rules};
use crate::gateway::intake::Intake;
use crate::host::clock::SystemClock;
use crate::policy::Gatekeeper;
use crate::store::{Reader, Stats, Writer};
use crate::time::{Clock as _, Mono, Now, Wall};

/// How often a person sees that it goes on, in simulated seconds.
const STEP: u64 = 300;
/// How often memory is looked at, in simulated seconds.
const SAMPLE: u64 = 60;

/// How long and how large.
#[derive(Clone, Debug, clap::Args)]
pub struct Fill {
    /// For the store.
    folder: PathBuf,
    #[arg(long)]
    hours: u64,
    #[arg(long)]
    devices: u16,
    /// Observations in a reading.
    #[arg(long)]
    observations: usize,
    /// The store's cap, bytes.
    #[arg(long)]
    cap: u64,
    /// At how many bytes a segment is closed, when not as usual.
    #[arg(long)]
    segment: Option<u64>,
}

/// One simulated hour.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::lab) struct Hour {
    /// Which, from 1.
    pub(super) number: u64,
    /// Resident memory in it, MiB: least, middle, most.
    pub(super) rss: [f64; 3],
    /// Of it what no file backs, at its end.
    pub(super) anonymous: f64,
    /// Bytes of the store on disk at its end.
    pub(super) disk: u64,
    /// Bytes written to storage since the start.
    pub(super) written: u64,
    /// Commits since the start.
    pub(super) commits: u64,
    /// Folders of segments at its end.
    pub(super) segments: u64,
    /// Records dropped since the start, each told of in a gap record.
    pub(super) dropped: u64,
}

/// The sum.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::lab) struct Filled {
    /// Observations that were called durable.
    pub(super) observations: u64,
    /// Commits.
    pub(super) commits: u64,
    /// How long it took, in seconds of real time.
    pub(super) took: f64,
}

/// The gateway, as far as an outage needs it.
struct Outage {
    fill: Fill,
    intake: Intake<Writer>,
    /// Open, as in the daemon, whose uplink finds nobody.
    _reader: Reader,
    stats: Stats,
    readings: Readings,
    begin: Now,
    rss: Vec<f64>,
}

impl Fill {
    /// Fills the store and waits to be killed.
    pub(in crate::lab) fn run(self) -> anyhow::Result<()> {
        let clock = SystemClock::default();
        let real = clock.now();
        let mut outage = Outage::begin(self, real)?;
        let filled = outage.run()?;
        let took = clock.now().mono.since(real.mono).as_secs_f64();
        say_as("done", &Filled { took, ..filled })?;
        std::io::stdout().flush()?;
        loop {
            std::thread::park();
        }
    }
}

impl Outage {
    fn begin(fill: Fill, real: Now) -> anyhow::Result<Self> {
        let millis = i64::try_from(fill.hours.saturating_mul(3_600_000))?;
        // By the wall the outage began so long ago and ends now; this boot may be younger than that.
        let wall = Wall::from_millis(real.wall.as_millis().saturating_sub(millis));
        let begin = Now { wall, ..real };
        let (writer, reader) =
            Spool::new(&fill.folder)?.with_cap(fill.cap).with_segments(fill.segment).open_at(begin)?;
        let stats = writer.stats();
        let rules = rules();
        let told = rules.iter().map(|_| watch::Sender::default()).collect();
        let header = header(&rules);
        let mut intake = Intake::new(Gatekeeper::new(rules), writer, &header, LINGER, told);
        for report in introductions(begin) {
            intake.handle_report(report, begin);
        }
        let readings = Readings::default();
        Ok(Self { fill, intake, _reader: reader, stats, readings, begin, rss: Vec::new() })
    }

    fn run(&mut self) -> anyhow::Result<Filled> {
        for second in 0..self.fill.hours.saturating_mul(3_600) {
            self.second(second)?;
            let next = second + 1;
            if next.is_multiple_of(SAMPLE) {
                self.rss.push(Memory::now().rss);
            }
            if next.is_multiple_of(STEP) {
                say_as("at", &next)?;
            }
            if next.is_multiple_of(3_600) {
                let hour = self.hour(next / 3_600)?;
                say_as("hour", &hour)?;
            }
        }
        let end = self.at(self.fill.hours.saturating_mul(3_600), 0);
        anyhow::ensure!(self.intake.handle_end(end), "not everything could be stored");
        let snapshot = self.stats.snapshot();
        let [alarm, vital, bulk] = self.intake.durable();
        Ok(Filled { observations: alarm + vital + bulk, commits: snapshot.commits, took: 0.0 })
    }

    /// Every device reads once, each at its own moment, spread evenly over the second.
    fn second(&mut self, second: u64) -> anyhow::Result<()> {
        for device in 0..self.fill.devices {
            let at = self.at(second, device);
            self.intake.handle_timeout(at);
            for report in self.readings.reading(device, second, at).into_iter().take(self.fill.observations) {
                anyhow::ensure!(!self.intake.must_wait(), "the intake is stuck");
                self.intake.handle_report(report, at);
            }
        }
        let upkeep = self.at(second + 1, 0);
        self.intake.handle_timeout(upkeep);
        self.intake.handle_upkeep(upkeep);
        match self.intake.last_error() {
            Some(error) => anyhow::bail!("the store refused a block in second {second}: {error}"),
            None => Ok(()),
        }
    }

    /// The moment of a device within a second.
    fn at(&self, second: u64, device: u16) -> Now {
        let share = 1_000_000_000 / u64::from(self.fill.devices.max(1));
        let since = Duration::from_secs(second) + Duration::from_nanos(share * u64::from(device));
        let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        Now {
            mono: Mono::from_nanos(self.begin.mono.as_nanos()) + since,
            wall: Wall::from_millis(self.begin.wall.as_millis().saturating_add(millis)),
            ..self.begin
        }
    }

    fn hour(&mut self, hour: u64) -> anyhow::Result<Hour> {
        let mut rss = std::mem::take(&mut self.rss);
        rss.sort_by(f64::total_cmp);
        let at = |place: usize| rss.get(place).copied().context("no sample of the memory");
        let snapshot = self.stats.snapshot();
        let store = self.fill.folder.join("store");
        let vital = std::fs::read_dir(store.join("vital"))?.filter_map(Result::ok);
        let segments = vital.filter(|entry| entry.path().is_dir()).count();
        Ok(Hour {
            number: hour,
            rss: [at(0)?, at(rss.len() / 2)?, at(rss.len().saturating_sub(1))?],
            anonymous: Memory::now().anonymous,
            disk: disk_bytes(&store),
            written: bytes_written(),
            commits: snapshot.commits,
            segments: u64::try_from(segments)?,
            dropped: snapshot.dropped,
        })
    }
}
