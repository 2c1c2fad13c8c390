//! The store beside its peers: the same records, the same commits, the same disk, in one run.
//!
//! In: a folder on the disk that is to be measured. Out: for each kind of record and each size of
//! commit a table of five keepers: this program's store, a file that is only appended to (the limit),
//! sled with one record for each key, SQLite, a mosquitto with persistence. Each measurement runs in
//! a process of its own that ends by `kill -9`, and the runs take turns, so that a busy moment of the
//! machine hits all. What is timed is the commit alone; records are made ready before. What never
//! happens: a keeper that lost what it had called durable gets a figure.

mod append_only;
mod content;
mod figures;
mod queue;
mod sqlite;
mod tree;
mod wardline;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::broker::{self, Mosquitto};
use super::machine::{Machine, Memory, Spread, bytes_written, disk_bytes, load, median, per_second, ratio};
use super::part::{fresh, measure, words};
use crate::host::clock::SystemClock;
use crate::lab::ports::free_port;
use crate::time::{Clock as _, Mono};
use content::{Content, RECORD};
pub(super) use figures::StoreFigures;
use figures::{Cell, Line};

/// Who keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// This program's store.
    Wardline,
    /// A file that is only appended to.
    AppendOnly,
    /// One key for each record.
    Sled,
    /// Write-ahead log, synchronous=FULL.
    Sqlite,
    /// Persistence, a session that is not connected.
    Mosquitto,
}

impl Kind {
    const ALL: [Self; 5] = [Self::AppendOnly, Self::Wardline, Self::Sled, Self::Sqlite, Self::Mosquitto];

    fn word(self) -> &'static str {
        match self {
            Self::Wardline => "wardline",
            Self::AppendOnly => "append-only",
            Self::Sled => "sled",
            Self::Sqlite => "sqlite",
            Self::Mosquitto => "mosquitto",
        }
    }

    /// Whether what it acknowledged is on the disk at that moment.
    fn is_durable(self) -> bool {
        self != Self::Mosquitto
    }
}

/// How much.
#[derive(Clone, Copy)]
struct Size {
    runs: usize,
    /// Records in a commit, commits, and commits for a mosquitto: it writes all it has each time.
    commits: [(usize, u64, u64); 3],
}

const FULL: Size = Size { runs: 5, commits: [(1, 3_000, 1_000), (64, 1_000, 150), (4_096, 24, 12)] };
const QUICK: Size = Size { runs: 1, commits: [(1, 40, 20), (64, 10, 5), (4_096, 2, 1)] };

/// One part of this benchmark, in a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Keep {
    #[arg(value_enum)]
    kind: Kind,
    #[arg(value_enum)]
    content: Content,
    /// The keeper's folder.
    folder: PathBuf,
    /// Records in a commit.
    #[arg(long, default_value_t = 1)]
    commit: usize,
    /// Commits; without it what is there is opened again.
    #[arg(long)]
    commits: Option<u64>,
    /// The broker's port.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The number of the broker's process.
    #[arg(long, default_value = "")]
    process: String,
}

/// What keeps records.
trait Keeper {
    /// Has the records of the next commit ready; not timed.
    fn prepare(&mut self, count: usize) -> anyhow::Result<()>;

    /// Makes them durable, as far as this keeper can.
    fn commit(&mut self) -> anyhow::Result<()>;

    /// Bytes written to storage so far.
    fn written(&self) -> u64 {
        bytes_written()
    }

    /// Its memory.
    fn memory(&self) -> Memory {
        Memory::now()
    }
}

/// What keeping came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    records: u64,
    per_second: f64,
    commit_ms: Spread,
    written: u64,
    memory: Memory,
}

/// What opening it again came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Reopened {
    open_ms: f64,
    records: u64,
    read_per_second: f64,
}

/// Times an opening and the reading after it.
#[derive(Default)]
struct Watch {
    clock: SystemClock,
    began: Mono,
    opened: Mono,
    last: Mono,
    count: u64,
}

impl Watch {
    /// From now on it is opened.
    fn begin(&mut self) {
        self.began = self.clock.now().mono;
    }

    /// The first record was read, one more is durable.
    fn opened(&mut self) {
        self.opened = self.clock.now().mono;
    }

    /// So many were read.
    fn read(&mut self, records: u64) {
        self.count += records;
        self.last = self.clock.now().mono;
    }

    fn figures(&self) -> Reopened {
        Reopened {
            open_ms: self.opened.since(self.began).as_secs_f64() * 1e3,
            records: self.count,
            read_per_second: per_second(self.count, self.last.since(self.opened)),
        }
    }
}

impl Keep {
    /// Measures, says what came of it, and waits to be killed: whoever keeps records has no chance to
    /// set its house in order.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let Some(commits) = self.commits else {
            let mut watch = Watch::default();
            self.reopen(&mut watch)?;
            return super::part::say(&watch.figures());
        };
        let mut keeper = self.create()?;
        let clock = SystemClock::default();
        let mut waits = Vec::new();
        let before = keeper.written();
        for _ in 0..commits {
            keeper.prepare(self.commit)?;
            let asked = clock.now().mono;
            keeper.commit()?;
            waits.push(clock.now().mono.since(asked));
        }
        let records = commits.saturating_mul(u64::try_from(self.commit)?);
        super::part::say(&Kept {
            records,
            per_second: per_second(records, waits.iter().sum::<Duration>()),
            commit_ms: Spread::of(waits),
            written: keeper.written().saturating_sub(before),
            memory: keeper.memory(),
        })?;
        std::io::stdout().flush()?;
        loop {
            std::thread::park();
        }
    }

    fn create(&self) -> anyhow::Result<Box<dyn Keeper>> {
        let (folder, content) = (&self.folder, self.content);
        Ok(match self.kind {
            Kind::Wardline => Box::new(wardline::Wardline::create(folder, content)?),
            Kind::AppendOnly => Box::new(append_only::AppendOnly::create(folder, content)?),
            Kind::Sled => Box::new(tree::Tree::create(folder, content)?),
            Kind::Sqlite => Box::new(sqlite::Sqlite::create(folder, content)?),
            Kind::Mosquitto => Box::new(queue::Queue::create(self.port, self.process.clone(), content)?),
        })
    }

    fn reopen(&self, watch: &mut Watch) -> anyhow::Result<()> {
        let (folder, content) = (&self.folder, self.content);
        match self.kind {
            Kind::Wardline => wardline::Wardline::reopen(folder, content, watch),
            Kind::AppendOnly => append_only::AppendOnly::reopen(folder, content, watch),
            Kind::Sled => tree::Tree::reopen(folder, content, watch),
            Kind::Sqlite => sqlite::Sqlite::reopen(folder, content, watch),
            Kind::Mosquitto => queue::Queue::reopen(self.port, content, watch),
        }
    }
}

/// Runs all of it.
pub(super) fn run(folder: &Path, is_quick: bool) -> anyhow::Result<StoreFigures> {
    let size = if is_quick { QUICK } else { FULL };
    let mut machine = Machine::look(folder)?;
    let mosquitto = broker::mosquitto();
    let mut cells = Vec::new();
    for content in [Content::Random, Content::Reading] {
        for (commit, commits, of_mosquitto) in size.commits {
            super::say(&format!("stores: {} records, {commit} in a commit", figures::word(content)));
            let mut runs: Vec<(Kind, Vec<Line>)> = Kind::ALL
                .into_iter()
                .filter(|kind| kind.is_durable() || mosquitto.is_some())
                .map(|kind| (kind, Vec::new()))
                .collect();
            for _ in 0..size.runs {
                for (kind, lines) in &mut runs {
                    let commits = if kind.is_durable() { commits } else { of_mosquitto };
                    let once = Once { folder, kind: *kind, content, commit, commits };
                    let line = once.measure(mosquitto.as_deref());
                    lines.push(line.with_context(|| format!("{}, {commit} in a commit", kind.word()))?);
                }
            }
            let lines = runs.into_iter().map(|(_, lines)| median(lines, |line| line.per_second));
            cells.push(Cell::new(content, commit, lines.collect::<Option<_>>().context("no run")?));
        }
    }
    machine.load_after = load();
    Ok(StoreFigures { machine, runs: size.runs, cells })
}

/// One measurement.
struct Once<'a> {
    folder: &'a Path,
    kind: Kind,
    content: Content,
    commit: usize,
    commits: u64,
}

impl Once<'_> {
    fn measure(&self, mosquitto: Option<&Path>) -> anyhow::Result<Line> {
        let folder = fresh(self.folder, "keeper")?;
        let mut broker = self.broker(mosquitto, &folder)?;
        let all = self.words(&folder, broker.as_ref());
        let commits = self.commits.to_string();
        // The part is killed as soon as it has said its figures.
        let kept: Kept = measure(&[&all[..], &words!["--commits", commits]].concat())?;
        let disk = disk_bytes(&folder);
        let clock = SystemClock::default();
        let began = clock.now().mono;
        if broker.take().is_some() {
            broker = self.broker(mosquitto, &folder)?;
        }
        let started = clock.now().mono.since(began).as_secs_f64() * 1e3;
        let again: Reopened = measure(&self.words(&folder, broker.as_ref()))?;
        let survived = again.records.saturating_sub(1);
        anyhow::ensure!(
            !self.kind.is_durable() || survived == kept.records,
            "{survived} of {} records were there after a kill -9",
            kept.records
        );
        let payload = kept.records.saturating_mul(u64::try_from(RECORD)?);
        Ok(Line {
            store: self.kind.word(),
            is_durable: self.kind.is_durable(),
            records: kept.records,
            survived,
            per_second: kept.per_second,
            against_append_only: 0.0,
            commits_per_second: kept.per_second * ratio(1, u64::try_from(self.commit)?),
            commit_ms: kept.commit_ms,
            written_per_byte: ratio(kept.written, payload),
            disk_per_byte: ratio(disk, payload),
            rss: kept.memory.rss,
            reopen_ms: if self.kind.is_durable() { again.open_ms } else { started + again.open_ms },
            read_per_second: again.read_per_second,
        })
    }

    fn broker(&self, program: Option<&Path>, folder: &Path) -> anyhow::Result<Option<Mosquitto>> {
        if self.kind.is_durable() {
            return Ok(None);
        }
        let program = program.context("mosquitto is not on this machine")?;
        Ok(Some(Mosquitto::with_persistence(program, folder, free_port()?, self.commit)?))
    }

    fn words(&self, folder: &Path, broker: Option<&Mosquitto>) -> Vec<std::ffi::OsString> {
        let content = figures::word(self.content);
        let mut all =
            words!["keep", self.kind.word(), content, folder, "--commit", self.commit.to_string()].to_vec();
        if let Some(broker) = broker {
            all.extend(words!["--port", broker.port.to_string(), "--process", broker.process()]);
        }
        all
    }
}
