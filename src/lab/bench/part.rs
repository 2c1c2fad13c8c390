//! One measurement in a process of its own, so that what one leaves in memory is not counted as
//! another's. In: a few arguments. Out: one line of JSON.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::broker::{self, Papers};
use super::drain::Way;
use super::gateway::Watch;
use super::store::Keep;
use super::ward::CAP;
use super::{drain, gateway, ingest, peer};
use crate::lab::outage::{Count, Fill};
use crate::uplink::Payload;

/// How often an alarm rings while a backlog drains.
const ALARM_EVERY: Duration = Duration::from_millis(10);

/// What is measured.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Part {
    /// Gate to fsync, in commits of a size
    Ingest {
        /// For the store
        folder: PathBuf,
        /// Observations in a commit
        commit: usize,
        /// How many
        observations: u64,
    },
    /// Channel to fsync, commits as they come
    Pour {
        /// For the store
        folder: PathBuf,
        /// How many
        observations: u64,
    },
    /// A ward at one reading a second
    AtRest {
        /// For the store
        folder: PathBuf,
        /// How long
        seconds: u64,
        /// Ring alarms meanwhile
        #[arg(long)]
        alarms: bool,
        /// The longest that a commit waits for more, in milliseconds
        #[arg(long, default_value_t = 250)]
        linger: u64,
        /// The broker's port; an outage without it
        #[arg(long, requires = "papers")]
        port: Option<u16>,
        /// The folder of the certificates
        #[arg(long)]
        papers: Option<PathBuf>,
    },
    /// Fill a store
    Fill {
        /// For the store
        folder: PathBuf,
        /// How many
        records: u64,
        /// Observations in a commit
        commit: usize,
    },
    /// Drain a filled store
    Drain {
        /// The store's
        folder: PathBuf,
        /// The folder of the certificates
        papers: PathBuf,
        /// The broker's port
        port: u16,
        /// CBOR; FHIR without it
        #[arg(long)]
        cbor: bool,
        /// Ring alarms meanwhile
        #[arg(long)]
        alarms: bool,
        /// Say each second how much is acknowledged
        #[arg(long)]
        progress: bool,
        /// The store's cap, bytes
        #[arg(long, default_value_t = CAP)]
        cap: u64,
    },
    /// Fill a store as an outage of many hours does
    OutageFill(Fill),
    /// Count what arrives, each record by its number
    OutageCount(Count),
    /// Count what arrives
    Subscribe {
        /// The folder of the certificates
        papers: PathBuf,
        /// The broker's port
        port: u16,
        /// How many readings to wait for
        expected: u64,
    },
    /// Publish single readings
    Publish {
        /// The broker's port
        port: u16,
        /// How many
        messages: u64,
    },
    /// Keep records, or open what keeps them again
    Keep(Keep),
    /// The embedded broker
    Broker {
        /// The folder of the certificates
        papers: PathBuf,
    },
}

impl Part {
    /// Measures, and says what came of it.
    pub fn run(self) -> anyhow::Result<()> {
        // As many workers as the daemon has.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        match self {
            Self::Ingest { folder, commit, observations } => {
                say(&ingest::run(&folder, commit, observations)?)
            }
            Self::Pour { folder, observations } => {
                say(&runtime.block_on(gateway::pour(&folder, observations))?)
            }
            Self::AtRest { folder, seconds, alarms, linger, port, papers } => {
                let broker = papers.map(Papers).zip(port);
                let linger = Duration::from_millis(linger);
                let watch = Watch { folder: &folder, seconds, alarms, linger, broker };
                say(&runtime.block_on(gateway::at_rest(watch))?)
            }
            Self::Fill { folder, records, commit } => say(&drain::fill(&folder, records, commit)?),
            Self::Drain { folder, papers, port, cbor, alarms, progress, cap } => {
                let way = Way {
                    cap,
                    progress,
                    folder: &folder,
                    papers: Papers(papers),
                    port,
                    payload: if cbor { Payload::Cbor } else { Payload::Fhir },
                    alarm_every: alarms.then_some(ALARM_EVERY),
                };
                let figures = runtime.block_on(drain::run(way))?;
                if progress { say_as("done", &figures) } else { say(&figures) }
            }
            Self::OutageFill(fill) => fill.run(),
            Self::OutageCount(count) => runtime.block_on(count.run()),
            Self::Subscribe { papers, port, expected } => {
                say(&runtime.block_on(peer::subscribe(&Papers(papers), port, expected))?)
            }
            Self::Publish { port, messages } => {
                runtime.block_on(peer::publish(port, messages))?;
                say(&messages)
            }
            Self::Keep(keep) => keep.run(),
            Self::Broker { papers } => runtime.block_on(broker::embedded(&Papers(papers))),
        }
    }
}

/// Says what was measured, on a line of its own.
pub(in crate::lab) fn say(figures: &impl Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string(figures)?)?;
    Ok(())
}

/// The same behind a word, for a part that has more than one thing to say.
pub(in crate::lab) fn say_as(word: &str, figures: &impl Serialize) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{word} {}", serde_json::to_string(figures)?)?;
    Ok(())
}

/// Words on a command line.
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        [$(std::ffi::OsString::from($word)),*]
    };
}
pub(in crate::lab) use words;

/// The environment that the unit gives the daemon: it decides how much of what sled gives back stays
/// resident, so every part is measured in it.
fn environment_of_the_unit() -> impl Iterator<Item = (&'static str, &'static str)> {
    let unit = include_str!("../../../systemd/wardline.service");
    unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
}

/// A part that runs beside this process; killed when dropped.
pub(in crate::lab) struct Beside {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Beside {
    /// Starts one.
    pub(in crate::lab) fn start(words: &[OsString]) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench-part")
            .args(words)
            .envs(environment_of_the_unit())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("no output of a part")?;
        Ok(Self { child, lines: BufReader::new(output) })
    }

    /// The next line that it says.
    pub(in crate::lab) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "a part of the benchmark failed; its reason stands above");
        Ok(line.trim().to_owned())
    }

    /// What it measured, once it has ended.
    pub(in crate::lab) fn figures<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        let line = self.line()?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a part to its end.
pub(in crate::lab) fn measure<T: DeserializeOwned>(words: &[OsString]) -> anyhow::Result<T> {
    Beside::start(words)?.figures()
}

/// A folder that is new, within another.
pub(in crate::lab) fn fresh(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir(&path)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_run_in_the_environment_of_the_unit() {
        let all: Vec<_> = environment_of_the_unit().collect();
        assert_eq!(all, [("MALLOC_MMAP_THRESHOLD_", "524288")]);
    }
}
