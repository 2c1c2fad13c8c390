//! `wardline spool export`: readings in the clear, for an authorised person at the box. One JSON object a line.
//!
//! An observation has the fields of `wardline decode`, and before them: `key` (its idempotency key), `lane`,
//! `acknowledged` (whether the broker has it), `at` (when the gateway knew, UTC), `synced` (whether the clock
//! followed a reference), `device`, `model`, `pseudonym`, `location` (a place's, where it speaks of one), `security`, `run` and `seq`. A gap record has `key`,
//! `lane`, `acknowledged` and `gap`: `count`, `first`, `last`, `reason`. An event has the same and `event`: `at`,
//! `detection`, `phase`, `device`, `detail`.
//!
//! What never happens: a byte leaves before the audit log says who takes what and why; a file is written that
//! others can read, or in the place of another.

mod lines;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use ring::digest;
use serde_json::{Map, Value, json};

use super::super::Folder;
use super::super::confirm;
use super::super::exit::{Exit, Failure};
use super::super::out;
use super::super::progress::Progress;
use super::moment::Moment;
use super::target::{Target, failure};
use crate::device::observation::Lane;
use crate::envelope::block::hex;
use crate::host::atomic_file::NewFile;
use crate::host::audit::AuditLog;
use crate::host::clock::SystemClock;
use crate::store::inspect::{Hold, Wanted, read_blocks};
use crate::store::{StoreError, StoreId};
use crate::time::{Clock, Wall};
use lines::write_block;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline spool export --out ward7.jsonl --reason \"Dr. Meyer: recall 2026-4, broker unreachable\"\n  \
    wardline spool export --out - --yes --from 2h --reason \"...\" | gpg --encrypt -r ward7 > ward7.gpg\n\n\
    Only root and the store's owner may. Who takes what, when and why is in the audit log before the first \
    byte leaves (wardline audit). Works beside the running daemon: what it is given while this reads may \
    be missing. Ends with 9 when some blocks could not be read.")]
pub(super) struct Export {
    #[command(flatten)]
    folder: Folder,
    /// The file to write: a new one, for its owner alone; - for standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Who takes the readings, and why: stays in the audit log.
    #[arg(long, value_name = "TEXT", value_parser = confirm::reason)]
    reason: String,
    /// Only this lane: alarm, vital or bulk. May be given more than once.
    #[arg(long, value_name = "LANE", value_parser = lane)]
    lane: Vec<Lane>,
    /// Nothing from before this moment: 2026-11-21T23:40:00Z, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    from: Option<Moment>,
    /// Nothing from this moment on.
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    to: Option<Moment>,
    /// Do not ask for the gateway's name.
    #[arg(long)]
    yes: bool,
}

fn lane(text: &str) -> Result<Lane, String> {
    let known = Lane::ALL.into_iter().find(|lane| lane.as_str() == text);
    known.ok_or_else(|| format!("{text:?} is not a lane: write alarm, vital or bulk"))
}

/// What is taken, from when to when.
#[derive(Clone)]
struct Range {
    lanes: Vec<Lane>,
    from: Option<Wall>,
    to: Option<Wall>,
}

impl Range {
    /// Whether something that lasted from one moment to another lies in it.
    fn holds(&self, first: Wall, last: Wall) -> bool {
        self.from.is_none_or(|from| last >= from) && self.to.is_none_or(|to| first < to)
    }
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let target = Target::of(&config);
        target.must_exist()?;
        confirm::owner(&target.folder)?;
        target.need_keys()?;
        let now = SystemClock::default().now().wall;
        let range = Range {
            lanes: if self.lane.is_empty() { Lane::ALL.to_vec() } else { self.lane.clone() },
            from: self.from.map(|from| from.wall(now)),
            to: self.to.map(|to| to.wall(now)),
        };
        let sink = Sink::open(&self.out)?;
        let gateway = &config.uplink.gateway;
        if !self.yes {
            confirm::by_name(gateway, "taking readings out of this gateway", "--yes")?;
        }
        let hold = match Hold::take(&target.folder) {
            Ok(hold) => Some(hold),
            Err(StoreError::Locked { .. }) => {
                out::remark(format_args!(
                    "the daemon is running: what it stores from here on may be missing"
                ));
                None
            }
            Err(error) => return Err(failure(error)),
        };
        let log = AuditLog::beside(&target.folder);
        let mut about = self.about(gateway, &range);
        note(&log, "spool-export", &about).map_err(|error| {
            let error = error.context("nothing was exported: it could not be written into the audit log");
            Failure::new(Exit::Failed, error)
        })?;
        let (taken, ended) = take(&target, &range, sink);
        drop(hold);
        taken.describe(&mut about, ended.as_ref().err());
        let noted = note(&log, "spool-export-end", &about);
        ended.map_err(|error| Failure::new(Exit::Failed, error))?;
        noted.map_err(|error| {
            Failure::new(Exit::Failed, error.context("exported, but the end of it is not in the audit log"))
        })?;
        taken.tell(&self.out, log.path());
        if taken.unread > 0 { Err(Failure::silent(Exit::Damaged)) } else { Ok(()) }
    }

    fn about(&self, gateway: &str, range: &Range) -> Map<String, Value> {
        let mut about = Map::new();
        let mut put = |key: &str, value: Value| drop(about.insert(key.to_owned(), value));
        put("gateway", json!(gateway));
        put("reason", json!(self.reason));
        put("out", json!(self.out.display().to_string()));
        put("lanes", json!(range.lanes.iter().map(|lane| lane.as_str()).collect::<Vec<_>>()));
        put("from", json!(range.from.map(|from| from.to_string())));
        put("to", json!(range.to.map(|to| to.to_string())));
        about
    }
}

fn note(log: &AuditLog, action: &str, about: &Map<String, Value>) -> anyhow::Result<()> {
    let now = SystemClock::default().now().wall;
    log.append(now, action, about).with_context(|| format!("{} cannot be written", log.path().display()))
}

/// Where the readings go, and what is known of what went.
struct Sink {
    to: To,
    hash: digest::Context,
    bytes: u64,
}

enum To {
    Stdout(io::Stdout),
    File(NewFile),
}

impl Sink {
    fn open(path: &Path) -> Result<Self, Failure> {
        let to = if path == Path::new("-") {
            if out::is_open_to_others()? {
                let error =
                    anyhow!("standard output goes to a file that others can read: set `umask 077` first");
                return Err(Failure::new(Exit::Refused, error));
            }
            To::Stdout(io::stdout())
        } else {
            let file = NewFile::create(path).context("the readings cannot be written there: name a new file");
            To::File(file.map_err(|error| Failure::new(Exit::Refused, error))?)
        };
        Ok(Self { to, hash: digest::Context::new(&digest::SHA256), bytes: 0 })
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.to {
            To::Stdout(stdout) => stdout.write(bytes)?,
            To::File(file) => file.write(bytes)?,
        };
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes = self.bytes.saturating_add(u64::try_from(count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::Stdout(stdout) => stdout.flush(),
            To::File(file) => file.flush(),
        }
    }
}

/// What was taken.
#[derive(Default)]
struct Taken {
    store: Option<StoreId>,
    observations: u64,
    gaps: u64,
    events: u64,
    blocks: u64,
    unread: u64,
    segments: Vec<String>,
    bytes: u64,
    sha256: String,
}

impl Taken {
    fn describe(&self, about: &mut Map<String, Value>, error: Option<&anyhow::Error>) {
        let mut put = |key: &str, value: Value| drop(about.insert(key.to_owned(), value));
        put("store", json!(self.store.map(|store| store.to_string())));
        put("observations", json!(self.observations));
        put("gaps", json!(self.gaps));
        put("events", json!(self.events));
        put("blocks", json!(self.blocks));
        put("unread_blocks", json!(self.unread));
        put("unread_segments", json!(self.segments.len()));
        put("bytes", json!(self.bytes));
        put("sha256", json!(self.sha256));
        put("error", json!(error.map(|error| format!("{error:#}"))));
    }

    fn tell(&self, to: &Path, log: &Path) {
        let Self { observations, gaps, events, blocks, bytes, sha256, .. } = self;
        let to = if to == Path::new("-") { "standard output".to_owned() } else { to.display().to_string() };
        out::remark(format_args!(
            "{observations} observations, {gaps} gap records and {events} events of {blocks} blocks, {bytes} bytes, are in {to}"
        ));
        out::remark(format_args!("SHA-256 {sha256}; noted in {}", log.display()));
        for segment in &self.segments {
            out::remark(format_args!("{segment}"));
        }
        if self.unread > 0 {
            let count = self.unread;
            out::remark(format_args!("{count} blocks could not be read: see wardline spool verify"));
        }
    }
}

/// Takes everything in range. What was taken is known also when it fails in the middle.
fn take(target: &Target, range: &Range, sink: Sink) -> (Taken, anyhow::Result<()>) {
    let mut taken = Taken::default();
    let mut writer = BufWriter::new(sink);
    let read = read_all(target, range, &mut taken, &mut writer);
    let (sink, flushed) = match writer.into_inner() {
        Ok(sink) => (sink, Ok(())),
        Err(failed) => {
            let (error, writer) = failed.into_parts();
            // What is still in the buffer did not leave.
            (writer.into_parts().0, Err(anyhow!(error)))
        }
    };
    taken.bytes = sink.bytes;
    taken.sha256 = hex(sink.hash.finish().as_ref());
    let finished = read.and(flushed).and_then(|()| match sink.to {
        To::Stdout(mut stdout) => Ok(stdout.flush()?),
        To::File(file) => Ok(file.finish()?),
    });
    (taken, finished)
}

fn read_all(
    target: &Target,
    range: &Range,
    taken: &mut Taken,
    writer: &mut BufWriter<Sink>,
) -> anyhow::Result<()> {
    let ring = target.keys.as_ref().map_err(|why| anyhow!("{why}"))?;
    let bar = Progress::new("exporting");
    let wanted = Wanted { lanes: range.lanes.clone() };
    let mut unreadable = 0u64;
    let unread = read_blocks(
        &target.folder,
        ring,
        &wanted,
        &mut |done, total| bar.at(done, total),
        &mut |found| -> anyhow::Result<()> {
            taken.store = Some(found.store);
            if !write_block(&found, range, taken, writer)? {
                unreadable += 1;
            }
            Ok(())
        },
    )?;
    taken.unread = unread.blocks.saturating_add(unreadable);
    taken.segments = unread.segments;
    Ok(())
}
