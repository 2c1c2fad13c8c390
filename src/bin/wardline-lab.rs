//! The lab: simulators of the bedside, the demo, the benchmark. Not for a gateway.

use std::alloc::System;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use wardline::gateway::sessions::{Links, RealLinks};
use wardline::lab::sim::{SIMS, Start, Trouble};
#[cfg(feature = "operator")]
use wardline::lab::swarm;
use wardline::lab::{bench, demo, guest, man, outage, power, reconnects, samples, ward, window};
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
    /// Write the programs' man pages and completions into a folder, for packages
    Man {
        /// The folder; made when it is not there
        folder: PathBuf,
        /// The date that the pages say
        #[arg(long, value_name = "YYYY-MM-DD")]
        date: String,
    },
    /// Simulate a bedside device on a pseudo-terminal, until interrupted
    Sim {
        /// The device
        #[arg(value_parser = SIMS.iter().map(|sim| sim.name).collect::<Vec<_>>())]
        driver: String,
        /// The path under which its port is to be found; made as a symbolic link
        #[arg(long)]
        port: PathBuf,
        /// Who it says it is
        #[arg(long)]
        identity: Option<String>,
        /// Bits per second, when not the usual ones
        #[arg(long)]
        baud: Option<u32>,
        /// How many devices stand in a rack, when not the usual number
        #[arg(long)]
        parts: Option<u8>,
        /// Something that goes wrong, as often as given: noise, torn, corrupted, late, silent, escaped,
        /// power-cycle, alarm-flood, clock-restart, wrong-baud, identity=NAME
        #[arg(long, value_parser = Trouble::read)]
        trouble: Vec<Trouble>,
    },
    /// Measure this machine: ingest, latency, drain, memory, wear, beside the targets
    Bench(bench::Options),
    /// Three days without the broker in some minutes: memory, disk, and that every reading arrives once
    Outage(outage::Options),
    /// Hours of a ward in minutes: every simulated serial device at once, with faults
    Ward(ward::Options),
    /// Kill the daemon around an indication, again and again: how long it is in its hands and on no disk
    Window(window::Options),
    /// Cut the power of a store again and again, at any operation, and look at what is left
    PowerCuts(power::Options),
    /// Connect to a BLE device again and again, and count what is left behind at the bus and in memory
    Reconnects(reconnects::Options),
    /// What stands around a gateway in an emulated machine: its devices, a consumer, a judge (tests/guest/run)
    #[command(hide = true)]
    Guest(guest::Options),
    /// A thousand gateways of one fleet at one broker: bundles good and bad, and a broker that dies
    #[cfg(feature = "operator")]
    Swarm(swarm::Options),
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
            wardline::lab::sample_inventory(&folder.join("cyclonedx"))?;
            wardline::lab::sample_metrics(&folder.join("metrics"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder, date } => {
            man::write(&folder, &date)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Sim { driver, port, identity, baud, parts, trouble } => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let start = Start { link: Some(port), identity, baud, parts };
            runtime.block_on(simulate(&driver, &start, &trouble))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench(options) => bench::run(&options),
        Command::Outage(options) => outage::run(&options),
        Command::Ward(options) => ward::run(&options),
        Command::Window(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(window::run(&options))
        }
        Command::PowerCuts(options) => power::start(&options),
        Command::Reconnects(options) => reconnects::run(&options),
        Command::Guest(options) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(guest::run(&options))
        }
        #[cfg(feature = "operator")]
        Command::Swarm(options) => swarm::run(&options),
        Command::BenchPart(part) => {
            part.run()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Daemon { config, replay } => {
            let links: Arc<dyn Links> = match replay {
                Some(file) => Arc::new(demo::ReplayFile::read(&file)?),
                None => Arc::new(RealLinks),
            };
            let reread = move || {
                wardline::config::load(
                    &config,
                    &wardline::config::Environment::default(),
                    &wardline::config::Catalogue::shipped(),
                )
                .map(|loaded| loaded.config)
            };
            let config = reread()?;
            wardline::host::log::start(tracing::level_filters::LevelFilter::INFO);
            wardline::gateway::run_with(config, Arc::new(reread), links)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn simulate(driver: &str, start: &Start, troubles: &[Trouble]) -> anyhow::Result<()> {
    let sim = SIMS.iter().find(|sim| sim.name == driver).context("there is no such simulator")?;
    let running = (sim.start)(start)?;
    for trouble in troubles {
        running.remote.trouble(trouble.clone());
    }
    writeln!(std::io::stdout(), "{}: {driver} on {}", sim.title, running.remote.path().display())?;
    Ok(running.device.await?)
}
