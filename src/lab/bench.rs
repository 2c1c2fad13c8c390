//! The benchmark: what the gateway does on this machine, beside what it should.
//!
//! In: a folder on the disk that is to be measured. Out: a table, or one JSON object, with every
//! figure of one run beside its target. Each measurement runs the real code in a process of its own
//! (`part.rs`), so its memory and its writes are its own; the broker is a mosquitto over mutual TLS,
//! and so is the peer that it is compared with. What never happens: a figure is made up where the
//! measurement failed; then the run fails.

pub(super) mod broker;
pub(super) mod drain;
pub(super) mod figures;
mod gateway;
mod ingest;
pub(super) mod machine;
pub(super) mod part;
mod peer;
mod store;
pub(super) mod ward;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::ports::free_port;
use broker::{Far, Mosquitto, Papers};
use drain::Drain;
use figures::Figures;
use gateway::AtRest;
use machine::{Machine, load, median};
use part::{Beside, fresh, measure, words};
use peer::Arrived;

pub use part::Part;
pub use store::Keep;

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is measured
    #[arg(value_enum, default_value_t = What::Gateway)]
    pub what: What,
    /// A short run with small numbers: shows that everything works, not how fast
    #[arg(long)]
    pub quick: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A folder on the disk to measure; by default where this program lies
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// The whole gateway: ingest, latency, drain, memory, wear
    Gateway,
    /// The store alone, beside an append-only file, sled, SQLite and a mosquitto
    Store,
}

/// How much of everything.
struct Size {
    runs: usize,
    /// Size of a commit, observations.
    ingest: [(usize, u64); 3],
    pour: u64,
    latency_seconds: u64,
    ward_seconds: u64,
    backlog: u64,
    small: u64,
    alarm_backlog: u64,
    bridge: u64,
}

const FULL: Size = Size {
    runs: 3,
    ingest: [(8, 80_000), (256, 1_024_000), (4_096, 4_096_000)],
    pour: 2_000_000,
    latency_seconds: 10,
    ward_seconds: 60,
    backlog: 1_000_000,
    small: 300_000,
    alarm_backlog: 1_000_000,
    bridge: 100_000,
};

const QUICK: Size = Size {
    runs: 1,
    ingest: [(8, 1_600), (256, 12_800), (4_096, 40_960)],
    pour: 10_000,
    latency_seconds: 1,
    ward_seconds: 1,
    backlog: 10_000,
    small: 3_000,
    alarm_backlog: 200_000,
    bridge: 2_000,
};

/// A large commit, and what 100 devices at one reading a second make in a linger of 250 ms.
const LARGE: &str = "4096";
const SMALL: &str = "75";

/// Runs it.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let folder = Folder::new(options.folder.as_deref())?;
    if options.what == What::Store {
        let figures = store::run(&folder.0, options.quick)?;
        let text = if options.json { serde_json::to_string(&figures)? } else { figures.table() };
        writeln!(std::io::stdout(), "{text}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let size = if options.quick { &QUICK } else { &FULL };
    let mut machine = Machine::look(&folder.0)?;
    let bench = Bench { folder: folder.0.clone(), size, papers: Papers::issue(&folder.0.join("papers"))? };
    let mut figures = bench.measure(&mut machine)?;
    figures.judge();
    let text = if options.json { serde_json::to_string(&figures)? } else { figures.table() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}

/// A throw-away folder.
pub(super) struct Folder(pub(super) PathBuf);

impl Folder {
    /// In a place; by default where this program lies.
    pub(super) fn new(place: Option<&Path>) -> anyhow::Result<Self> {
        let place = match place {
            Some(place) => place.to_owned(),
            None => std::env::current_exe()?.parent().context("this program lies nowhere")?.to_owned(),
        };
        let path = place.join(format!("wardline-bench-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Bench {
    folder: PathBuf,
    size: &'static Size,
    papers: Papers,
}

/// How a backlog is drained.
#[derive(Clone, Copy)]
struct Course {
    cbor: bool,
    subscribed: bool,
    alarms: bool,
    commit: &'static str,
    records: u64,
}

impl Bench {
    fn measure(&self, machine: &mut Machine) -> anyhow::Result<Figures> {
        let size = self.size;
        say("durable ingest");
        let ingest = size.ingest.map(|(commit, observations)| {
            self.median(
                |figures: &ingest::Ingest| figures.per_second,
                || {
                    let folder = fresh(&self.folder, "ingest")?;
                    measure(&words!["ingest", folder, commit.to_string(), observations.to_string()])
                },
            )
        });
        let through = self.median(
            |figures: &gateway::Through| figures.per_second,
            || {
                let folder = fresh(&self.folder, "pour")?;
                measure(&words!["pour", folder, size.pour.to_string()])
            },
        )?;
        say("a ward at one reading a second");
        let latency = self.at_rest(size.latency_seconds, &words!["--alarms"])?;
        let outage = self.at_rest(size.ward_seconds, &[])?;
        let far = Far::start(&self.papers)?;
        let port = far.port().to_string();
        let online = self.at_rest(size.ward_seconds, &words!["--port", port, "--papers", &self.papers.0])?;
        say("backlogs to the broker");
        let course =
            Course { cbor: true, subscribed: true, alarms: false, commit: LARGE, records: size.backlog };
        let cbor_subscribed = self.drain(course)?;
        let cbor = self.drain(Course { subscribed: false, ..course })?;
        let fhir_subscribed = self.drain(Course { cbor: false, ..course })?;
        let fhir = self.drain(Course { cbor: false, subscribed: false, ..course })?;
        let small_commits = self.drain(Course { commit: SMALL, records: size.small, ..course })?;
        let alarms = self.drain(Course { alarms: true, records: size.alarm_backlog, ..course })?;
        say("the peer");
        let bridge = self.bridge()?;
        machine.load_after = load();
        Ok(Figures {
            machine: machine.clone(),
            broker: far.word(),
            ingest: ingest.into_iter().collect::<anyhow::Result<_>>()?,
            through,
            latency,
            outage,
            online,
            cbor_subscribed,
            cbor,
            fhir_subscribed,
            fhir,
            small_commits,
            alarms,
            bridge,
            rows: Vec::new(),
        })
    }

    /// The middle one of a few runs.
    fn median<T>(
        &self,
        figure: impl Fn(&T) -> f64,
        mut run: impl FnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let runs = (0..self.size.runs).map(|_| run()).collect::<anyhow::Result<Vec<_>>>()?;
        median(runs, figure).context("no run")
    }

    fn at_rest(&self, seconds: u64, more: &[OsString]) -> anyhow::Result<AtRest> {
        let folder = fresh(&self.folder, "ward")?;
        let mut all = words!["at-rest", folder, seconds.to_string()].to_vec();
        all.extend_from_slice(more);
        measure(&all)
    }

    fn drain(&self, course: Course) -> anyhow::Result<Drain> {
        self.median(
            |figures: &Drain| figures.per_second,
            || {
                let folder = fresh(&self.folder, "backlog")?;
                let records = course.records.to_string();
                let filled: u64 = measure(&words!["fill", &folder, &records, course.commit])?;
                anyhow::ensure!(filled == course.records, "{filled} of {records} records were stored");
                let far = Far::start(&self.papers)?;
                let port = far.port();
                let subscriber =
                    if course.subscribed { Some(self.subscriber(port, course.records)?) } else { None };
                let mut all = words!["drain", folder, &self.papers.0, port.to_string()].to_vec();
                if course.cbor {
                    all.push("--cbor".into());
                }
                if course.alarms {
                    all.push("--alarms".into());
                }
                let drain: Drain = measure(&all)?;
                if let Some(subscriber) = subscriber {
                    let arrived: Arrived = subscriber.figures()?;
                    anyhow::ensure!(
                        arrived.readings >= course.records,
                        "not everything arrived: {arrived:?}"
                    );
                }
                Ok(drain)
            },
        )
    }

    /// A subscriber whose subscription the broker has confirmed.
    fn subscriber(&self, port: u16, expected: u64) -> anyhow::Result<Beside> {
        let mut beside =
            Beside::start(&words!["subscribe", &self.papers.0, port.to_string(), expected.to_string()])?;
        let line = beside.line()?;
        anyhow::ensure!(line == "ready", "the subscriber is not ready: {line}");
        Ok(beside)
    }

    /// Single readings, queued at a mosquitto whose bridge finds nobody at first; then the far one
    /// is there and they drain through the bridge.
    fn bridge(&self) -> anyhow::Result<Option<Arrived>> {
        let Some(program) = broker::mosquitto() else { return Ok(None) };
        let runs = self.median(
            |arrived: &Arrived| arrived.readings_per_second,
            || {
                let (near, far) = (free_port()?, free_port()?);
                let near = Mosquitto::with_bridge(&program, &self.papers, near, far)?;
                let messages = self.size.bridge.to_string();
                let _: u64 = measure(&words!["publish", near.port.to_string(), messages])?;
                // Still while the subscriber subscribes: what comes before that would be lost to it.
                near.hold(true)?;
                let far = Mosquitto::with_tls(&program, &self.papers, far)?;
                let subscriber = self.subscriber(far.port, self.size.bridge)?;
                near.hold(false)?;
                subscriber.figures()
            },
        )?;
        Ok(Some(runs))
    }
}

/// What is going on, for a person who waits.
pub(super) fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "  {what} ...");
}
