//! What stands around a gateway whose power is cut, when the gateway is a machine of its own (`tests/guest`): the
//! devices on its serial ports, the consumer behind the broker, and the judgement.
//!
//! In: the gateway's own words before each cut (`wardline status --json`), and questions, both over a socket. Out:
//! for each question one line of JSON with what arrived, what should have, and whether every promise holds:
//!
//! - What the daemon called durable in a life arrives, in each lane; every number of a life from the first to the last
//!   that arrived is there, once.
//! - What the analyser was acknowledged arrives, once: it does not send that again, so nothing else could bring it.
//! - No more than one of its results for each cut arrives a second time: the one that was stored when the power went
//!   and could not be acknowledged any more. It counts as said again, which its receiver sees by the number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::consumer;
use super::ledger::Ledger;
use super::sim::{Control, astm, masimo};
use crate::device::nomenclature::CONC_GLU_GEN;
use crate::host::status::Snapshot;

/// The devices' ids in the gateway's allowlist.
const ANALYSER: &str = "analyser";

/// How often a device looks whether it may go on.
const TURN: Duration = Duration::from_millis(20);

/// Where everything is.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// The folder in which the ports `analyser` and `oximeter` and the socket `control` are made
    #[arg(long)]
    folder: PathBuf,
    /// The broker's port on this machine; its certificate says `localhost`
    #[arg(long)]
    broker: u16,
    /// PEM: the authorities of the broker's certificate
    #[arg(long)]
    authorities: PathBuf,
    /// PEM: the consumer's certificate
    #[arg(long)]
    certificate: PathBuf,
    /// PEM: its key
    #[arg(long)]
    key: PathBuf,
    /// Lines of the oximeter in a second; three readings each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    pace: u32,
}

/// What one run of the daemon said, and what of it arrived: by lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct Life {
    promised: BTreeMap<String, u64>,
    arrived: BTreeMap<String, u64>,
}

/// What is known at the moment.
#[derive(Clone, Debug, Default, Serialize)]
struct Verdict {
    /// Readings at the consumer, each once.
    records: u64,
    /// Publishes at the consumer.
    publishes: u64,
    /// Runs of the daemon by their names.
    lives: BTreeMap<String, Life>,
    /// Lives of which less arrived than they had called durable.
    short: Vec<String>,
    /// Numbers missing between the first and the last of a device in a life.
    holes: u64,
    /// Readings that the gateway itself told of as lost.
    told_lost: u64,
    /// Readings that arrived under two keys.
    doubled: u64,
    /// Publishes that came again after a lost connection, under the same key: that is allowed.
    sent_again: u64,
    /// Results that the analyser got rid of.
    acknowledged: u64,
    /// Those of them that did not arrive.
    missing: Vec<String>,
    /// Results of the analyser that arrived more than once, as they could not be acknowledged the first time.
    said_again: u64,
    /// What could not be read, or contradicts itself.
    complaints: Vec<String>,
    /// Whether every promise holds, everything having arrived.
    holds: bool,
}

/// What the tasks share.
#[derive(Clone)]
struct Ward {
    consumer: consumer::Shared,
    analyser: astm::Ledger,
    promised: Arc<Mutex<BTreeMap<String, BTreeMap<String, u64>>>>,
    is_quiet: Arc<Mutex<bool>>,
}

impl Ward {
    fn new() -> Self {
        let consumer = consumer::Shared::default();
        consumer.with(|ledger| ledger.keep = true);
        Self {
            consumer,
            analyser: astm::Ledger::default(),
            promised: Arc::default(),
            is_quiet: Arc::default(),
        }
    }

    fn is_quiet(&self) -> bool {
        *self.is_quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the daemon's own words.
    fn take(&self, status: &Snapshot) {
        let mut all = self.promised.lock().unwrap_or_else(PoisonError::into_inner);
        let life = all.entry(status.run.clone()).or_default();
        for lane in &status.lanes {
            let most = life.entry(lane.lane.clone()).or_default();
            *most = lane.durable_total.max(*most);
        }
    }

    fn judge(&self) -> Verdict {
        let promised = self.promised.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let acknowledged = self.analyser.all();
        self.consumer.with(|ledger| judge(ledger, &promised, &acknowledged))
    }

    /// Answers one line.
    fn answer(&self, line: &str) -> anyhow::Result<String> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("status", words) => self.take(&serde_json::from_str(words).context("no status")?),
            ("quiet", _) => *self.is_quiet.lock().unwrap_or_else(PoisonError::into_inner) = true,
            ("look", _) => {}
            (other, _) => anyhow::bail!("status, quiet or look, not {other:?}"),
        }
        Ok(serde_json::to_string(&self.judge())?)
    }
}

fn judge(
    ledger: &Ledger,
    promised: &BTreeMap<String, BTreeMap<String, u64>>,
    acknowledged: &[String],
) -> Verdict {
    let mut lives: BTreeMap<String, Life> = BTreeMap::new();
    for (run, lanes) in promised {
        lives.entry(run.clone()).or_default().promised.clone_from(lanes);
    }
    let mut results: BTreeMap<&str, u64> = BTreeMap::new();
    for (device, reading) in &ledger.kept {
        // `{store}-{lane}-{segment}-{block}-{index}`
        let lane = reading.key.split('-').nth(1).unwrap_or_default().to_owned();
        *lives.entry(reading.run.clone()).or_default().arrived.entry(lane).or_default() += 1;
        if device == ANALYSER && reading.code == CONC_GLU_GEN.code {
            *results.entry(&reading.value).or_default() += 1;
        }
    }
    let is_short = |life: &Life| {
        life.promised.iter().any(|(lane, most)| life.arrived.get(lane).copied().unwrap_or(0) < *most)
    };
    let short: Vec<String> =
        lives.iter().filter(|(_, life)| is_short(life)).map(|(run, _)| run.clone()).collect();
    // `GLU=17 mg/dL`
    let value = |said: &String| said.split(['=', ' ']).nth(1).unwrap_or_default().to_owned();
    let missing: Vec<String> =
        acknowledged.iter().map(value).filter(|value| !results.contains_key(value.as_str())).collect();
    let said_again: u64 = results.values().map(|count| count.saturating_sub(1)).sum();
    let cuts = u64::try_from(lives.len()).unwrap_or(u64::MAX).saturating_sub(1);
    let mut verdict = Verdict {
        records: ledger.records,
        publishes: ledger.publishes,
        holes: ledger.lost(),
        told_lost: ledger.gaps,
        doubled: ledger.sum(|tally| tally.doubled),
        sent_again: ledger.sum(|tally| tally.duplicates),
        acknowledged: u64::try_from(acknowledged.iter().collect::<BTreeSet<_>>().len()).unwrap_or(u64::MAX),
        complaints: [ledger.complaints.as_slice(), ledger.setbacks.as_slice()].concat(),
        lives,
        short,
        missing,
        said_again,
        holds: false,
    };
    verdict.holds = verdict.records > 0
        && verdict.acknowledged > 0
        && verdict.short.is_empty()
        && verdict.missing.is_empty()
        && verdict.complaints.is_empty()
        && said_again <= cuts
        && [verdict.holes, verdict.told_lost, verdict.doubled].iter().all(|count| *count == 0);
    verdict
}

/// Runs until ended from outside.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let ward = Ward::new();
    let control = UnixListener::bind(options.folder.join("control")).context("the socket `control`")?;
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let (device, analyser) = analyser(&options.folder, &ward)?;
    tasks.spawn(async move { Ok(device.await?) });
    tasks.spawn(measure(ward.clone(), analyser));
    let (device, oximeter) = oximeter(&options.folder)?;
    tasks.spawn(async move { Ok(device.await?) });
    tasks.spawn(show(ward.clone(), oximeter, options.pace));
    let settings = consumer::Settings {
        host: "localhost".to_owned(),
        port: options.broker,
        id: "consumer".to_owned(),
        authorities: options.authorities.clone(),
        certificate: options.certificate.clone(),
        key: options.key.clone(),
    };
    tasks.spawn(consumer::run(settings, ward.consumer.clone()));
    ward.consumer.subscribed().await;
    loop {
        tokio::select! {
            ended = tasks.join_next() => {
                ended.context("nothing runs")???;
                anyhow::bail!("a device ended");
            }
            asked = control.accept() => {
                let (stream, _) = asked?;
                serve(stream, &ward).await?;
            }
        }
    }
}

/// An analyser whose waits are short: it does not have the patience of a real one for a gateway that boots.
fn analyser(
    folder: &Path,
    ward: &Ward,
) -> anyhow::Result<(impl Future<Output = std::io::Result<()>> + Send + use<>, Control<astm::Values>)> {
    Ok(astm::analyser(astm::Setup {
        link: Some(folder.join("analyser")),
        baud: 38_400,
        rest: Duration::from_secs(1),
        ledger: ward.analyser.clone(),
        ..astm::Setup::default()
    })?)
}

fn oximeter(
    folder: &Path,
) -> anyhow::Result<(impl Future<Output = std::io::Result<()>> + Send + use<>, Control<masimo::Values>)> {
    let setup = masimo::Setup {
        link: Some(folder.join("oximeter")),
        baud: 38_400,
        cadence: masimo::Cadence::AtEachSet,
        ..masimo::Setup::default()
    };
    Ok(masimo::oximeter(setup, masimo::Values::default())?)
}

/// One result after the other, each another number, the next when the one before was acknowledged.
async fn measure(ward: Ward, analyser: Control<astm::Values>) -> anyhow::Result<()> {
    let mut turns = tokio::time::interval(TURN);
    let mut measured = 0;
    loop {
        turns.tick().await;
        if ward.analyser.all().len() < measured || ward.is_quiet() {
            continue;
        }
        measured += 1;
        let results = vec![astm::Reading::new("GLU", &measured.to_string(), "mg/dL")];
        analyser.set(astm::Values { results, is_control: false });
    }
}

/// A line at every turn, until all is to be quiet.
async fn show(ward: Ward, oximeter: Control<masimo::Values>, pace: u32) -> anyhow::Result<()> {
    let mut turns = tokio::time::interval(Duration::from_secs(1) / pace);
    let mut shown: u16 = 0;
    loop {
        turns.tick().await;
        if !ward.is_quiet() {
            shown = shown.wrapping_add(1);
            let values = masimo::Values {
                spo2: Some(90 + shown % 10),
                bpm: Some(40 + shown % 150),
                pi: Some(100 + shown % 900),
                ..masimo::Values::default()
            };
            oximeter.set(values);
        }
    }
}

/// Answers one who asks, line by line, while the rest goes on.
async fn serve(stream: UnixStream, ward: &Ward) -> anyhow::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut lines = BufReader::new(from).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = ward
            .answer(&line)
            .unwrap_or_else(|error| serde_json::json!({ "error": format!("{error:#}") }).to_string());
        to.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
