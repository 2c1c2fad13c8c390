//! The long outage, compressed in time: what a ward says in three days without a broker, through the
//! real gate and store on a real disk, and then the real uplink until the store is empty.
//!
//! In: how many hours and devices, a folder. Out: a table, or one JSON object: memory by simulated
//! hour, the disk against what the first hour foretold, how soon and how fast the backlog leaves,
//! and that every reading arrived once. The exit code is that of the verdict. What can go wrong: the
//! disk has not the room that is needed; that is said before anything is written. What never happens:
//! a part of it ends in order before the drain: what filled the store is killed, as by a power cut.

mod count;
mod fill;
mod verdict;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::bench::broker::{Far, Papers};
use super::bench::drain::Drain;
use super::bench::machine::{Machine, disk_bytes, load};
use super::bench::part::{Beside, fresh, words};
use super::bench::ward::ALARM_RESERVE;
use super::bench::{Folder, say};
use crate::host::clock::SystemClock;
use crate::store::LEAST_ROOM;
use crate::time::Clock as _;
pub use count::Count;
pub use fill::Fill;
use fill::{Filled, Hour};
use verdict::Outcome;

/// More than a commit, and an observation in it, have ever taken on disk: for the room that is needed.
const MOST_PER_COMMIT: u64 = 3 * 1024;
const MOST_PER_OBSERVATION: u64 = 64;
/// Commits each second: the linger is a quarter of one.
const COMMITS_A_SECOND: u64 = 4;
/// Seconds of an hour.
const HOUR: u64 = 3_600;

/// How long, how large, where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Simulated hours without the broker
    #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    pub hours: u64,
    /// Devices, each with one reading a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub devices: u16,
    /// Observations in a reading, as in `bench`: saturation, pulse rate, heart rate
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=3))]
    pub observations: u16,
    /// A cap in MiB that is too small on purpose: the oldest goes, and gap records tell of it
    #[arg(long, value_name = "MIB")]
    pub cap: Option<u64>,
    /// Close segments at so many MiB, when not as usual: what that does to memory
    #[arg(long, value_name = "MIB")]
    pub segment: Option<u64>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A folder on the disk to use; by default where this program lies
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

impl Options {
    fn readings(&self) -> u64 {
        self.hours.saturating_mul(HOUR).saturating_mul(u64::from(self.devices))
    }

    fn records(&self) -> u64 {
        self.readings().saturating_mul(u64::from(self.observations))
    }

    /// Bytes that the store may take: what was asked for, or so many that everything fits.
    fn cap(&self) -> u64 {
        let commits = self.hours.saturating_mul(HOUR).saturating_mul(COMMITS_A_SECOND);
        let all = commits
            .saturating_mul(MOST_PER_COMMIT)
            .saturating_add(self.records().saturating_mul(MOST_PER_OBSERVATION));
        let asked = self.cap.map(|mib| mib.saturating_mul(1024 * 1024));
        asked.unwrap_or_else(|| all.saturating_add(ALARM_RESERVE).saturating_add(4 * LEAST_ROOM))
    }
}

/// Runs it.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let place = Folder::new(options.folder.as_deref())?;
    let free = free(&place.0)?;
    let cap = options.cap();
    say(&format!(
        "{} readings, {} observations; the store may take {} MiB, {} MiB are free",
        options.readings(),
        options.records(),
        cap >> 20,
        free >> 20
    ));
    anyhow::ensure!(
        free > cap,
        "{} has {} MiB free and {} are needed: give another folder with --folder, fewer --hours or a --cap",
        place.0.display(),
        free >> 20,
        cap >> 20
    );
    let mut machine = Machine::look(&place.0)?;
    let store = fresh(&place.0, "gateway")?;
    let papers = Papers::issue(&place.0.join("papers"))?;
    let (hours, filled) = fill(options, &store, cap)?;
    let full = disk_bytes(&store.join("store"));
    let mut outcome = drain(options, &store, &papers, cap)?;
    machine.load_after = load();
    outcome.machine = machine;
    outcome.readings = options.readings();
    outcome.cap = cap;
    outcome.is_capped = options.cap.is_some();
    (outcome.hours, outcome.filled, outcome.full) = (hours, filled, full);
    outcome.left = disk_bytes(&store.join("store"));
    let holds = outcome.judge();
    let text = if options.json { serde_json::to_string(&outcome)? } else { outcome.table() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Bytes that are free where a folder is.
fn free(folder: &Path) -> anyhow::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

/// The outage. What filled the store is killed when it is done.
fn fill(options: &Options, folder: &Path, cap: u64) -> anyhow::Result<(Vec<Hour>, Filled)> {
    let seconds = options.hours.saturating_mul(HOUR);
    let bar = bar("without the broker", seconds);
    let mut words = words![
        "outage-fill",
        folder,
        "--hours",
        options.hours.to_string(),
        "--devices",
        options.devices.to_string(),
        "--observations",
        options.observations.to_string(),
        "--cap",
        cap.to_string(),
    ]
    .to_vec();
    if let Some(mib) = options.segment {
        words.extend(words!["--segment", mib.saturating_mul(1024 * 1024).to_string()]);
    }
    let mut part = Beside::start(&words)?;
    let mut hours: Vec<Hour> = Vec::new();
    loop {
        let line = part.line()?;
        let (word, text) = line.split_once(' ').context("a part said nothing")?;
        match word {
            "at" => bar.set_position(text.parse()?),
            "hour" => {
                let hour: Hour = serde_json::from_str(text)?;
                bar.set_message(hour.said());
                if bar.is_hidden() && hour.number.is_multiple_of(6) {
                    say(&format!("hour {}: {}", hour.number, hour.said()));
                }
                hours.push(hour);
            }
            _ => {
                bar.finish();
                return Ok((hours, serde_json::from_str(text)?));
            }
        }
    }
}

/// The broker is there again.
fn drain(options: &Options, folder: &Path, papers: &Papers, cap: u64) -> anyhow::Result<Outcome> {
    let far = Far::start(papers)?;
    let port = far.port().to_string();
    let records = options.records();
    let mut counting = Beside::start(&words!["outage-count", &papers.0, &port, records.to_string()])?;
    let line = counting.line()?;
    anyhow::ensure!(line == "ready", "the subscriber is not ready: {line}");
    let bar = bar("draining", records);
    let started = SystemClock::default().now().mono;
    let mut draining = Beside::start(&words![
        "drain",
        folder,
        &papers.0,
        &port,
        "--cbor",
        "--progress",
        "--cap",
        cap.to_string()
    ])?;
    let mut turns = 0u64;
    let drain: Drain = loop {
        let line = draining.line()?;
        let (word, text) = line.split_once(' ').context("a part said nothing")?;
        if word == "done" {
            break serde_json::from_str(text)?;
        }
        turns += 1;
        bar.set_position(text.parse()?);
        if bar.is_hidden() && turns.is_multiple_of(60) {
            say(&format!("{text} of {records} are drained"));
        }
    };
    bar.finish();
    let counted = count::parse(&counting.line()?)?;
    let first = counted.first_at.saturating_sub(started.as_nanos());
    Ok(Outcome {
        broker: far.word(),
        drain,
        counted,
        first_publish_ms: verdict::millis(first),
        ..Outcome::default()
    })
}

/// A bar on a terminal; hidden elsewhere.
fn bar(what: &'static str, length: u64) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("  {prefix:<18} {wide_bar} {percent:>3} % {eta:>4}  {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(what);
    bar
}
