//! The lab: simulators of the bedside, the demo, the benchmark. Not for a gateway.

use std::alloc::System;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use wardline::gateway::sessions::{Links, RealLinks};
use wardline::lab::sim::{alaris, masimo};
use wardline::lab::{bench, demo, outage, power, samples};
use zeroizing_alloc::ZeroAlloc;

/// As in `wardline` itself: the demo's daemon runs in this program, and the benchmark measures with it.
#[global_allocator]
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

/// Simulators of the bedside, the demo, the benchmark: never installed on a gateway
#[derive(Parser)]
#[command(name = "wardline-lab", version)]
struct Lab {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job: a ward, an outage, and the proof that nothing was lost
    Demo(demo::Options),
    /// Write one payload of each kind into a folder, for validators
    SamplePayloads {
        /// The folder; made when it is not there
        folder: PathBuf,
    },
    /// Simulate a bedside device on a pseudo-terminal, until interrupted
    Sim {
        /// The device
        #[arg(value_parser = ["alaris-asena", "masimo-ascii1"])]
        driver: String,
        /// The path under which its port is to be found; made as a symbolic link
        #[arg(long)]
        port: PathBuf,
    },
    /// Measure this machine: ingest, latency, drain, memory, wear, beside the targets
    Bench(bench::Options),
    /// Three days without the broker in some minutes: memory, disk, and that every reading arrives once
    Outage(outage::Options),
    /// Cut the power of a store again and again, at any operation, and look at what is left
    PowerCuts(power::Options),
    /// One measurement of the benchmark, in a process of its own
    #[command(hide = true, subcommand)]
    BenchPart(bench::Part),
    /// The daemon of the demo
    #[command(hide = true)]
    Daemon {
        #[arg(long)]
        config: PathBuf,
        #[arg(long)]
        replay: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    lab().unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "wardline-lab: {error:#}");
        ExitCode::FAILURE
    })
}

fn lab() -> anyhow::Result<ExitCode> {
    match Lab::parse().command {
        Command::Demo(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(demo::run(options))
        }
        Command::SamplePayloads { folder } => {
            samples::sample_payloads(&folder)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sim { driver, port } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(simulate(&driver, port))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(options) => bench::run(&options),
        Command::Outage(options) => outage::run(&options),
        Command::PowerCuts(options) => power::start(&options),
        Command::BenchPart(part) => {
            part.run()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Daemon { config, replay } => {
            let links: Arc<dyn Links> = match replay {
                Some(file) => Arc::new(demo::ReplayFile::read(&file)?),
                None => Arc::new(RealLinks),
            };
            let loaded = wardline::config::load(
                &config,
                &wardline::config::Environment::default(),
                &wardline::config::Catalogue::shipped(),
            )?;
            wardline::host::log::start(tracing::level_filters::LevelFilter::INFO);
            wardline::gateway::run_with(loaded.config, links)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn simulate(driver: &str, port: PathBuf) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let ready = |out: &mut std::io::Stdout| writeln!(out, "{driver} on {}", port.display());
    let link = Some(port.clone());
    if driver == "alaris-asena" {
        let setup = alaris::Setup { link, ..alaris::Setup::default() };
        let (device, _control) = alaris::pump(setup, alaris::Values::default())?;
        ready(&mut out)?;
        return Ok(device.await?);
    }
    let setup = masimo::Setup { link, ..masimo::Setup::default() };
    let values = masimo::Values { spo2: Some(97), bpm: Some(61), pi: Some(360), ..masimo::Values::default() };
    let (device, _control) = masimo::oximeter(setup, values)?;
    ready(&mut out)?;
    Ok(device.await?)
}
