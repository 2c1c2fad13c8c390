//! BLE devices that come and go for as long as wanted: what stays behind of each connection?
//!
//! In: how many connections. Out: the match rules at the bus and the memory of the process, at the
//! beginning and at the end. A gateway connects to an episodic device some dozen times a day; what one
//! connection leaves behind, a year multiplies.

use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Args;
use tokio::task::JoinSet;

use super::bluez::{Bluez, Bus, Emulated, Rules, rules};
use crate::host::clock::SystemClock;
use crate::host::random::SystemRandomness;
use crate::link::ble::{Address, BleLink, Central, Demand, Handle};
use crate::link::{Characteristic, Link as _, LinkCommand, LinkEvent};

const HEART: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };

/// Set for the process that connects: btleplug finds the bus by the environment that it was started with.
const ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// How often a noisy device is heard: each turn of the double.
const NOISE: Duration = Duration::from_millis(1);

/// What to do.
#[derive(Debug, Args)]
pub struct Options {
    /// How many connections
    #[arg(long, default_value_t = 10_000)]
    connects: usize,
    /// Of how many devices, side by side
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=100))]
    devices: u8,
    /// Every few milliseconds a signal of every device, connected or not
    #[arg(long)]
    noisy: bool,
    /// The bus, for the process that connects
    #[arg(long, hide = true)]
    bus: Option<String>,
}

impl Options {
    /// So many connections of so many devices, in this process.
    pub const fn new(connects: usize, devices: u8, noisy: bool) -> Self {
        Self { connects, devices, noisy, bus: None }
    }
}

/// What there is at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Connections so far.
    pub connects: usize,
    /// Attempts that failed.
    pub refused: u64,
    /// At the bus.
    pub rules: Rules,
    /// The process's resident memory in KiB.
    pub resident: u64,
}

/// Runs it, with the double in a process of its own, and prints the figures.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if let Some(bus) = &options.bus {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let show = |figures: &Figures| {
            use std::io::Write as _;
            let Figures { connects, refused, rules, resident } = figures;
            let _ = writeln!(
                std::io::stdout(),
                "{connects:>7} connections, {refused} failed: {:>3} match rules of {} clients (most of one: {}), {resident} KiB resident",
                rules.all,
                rules.clients,
                rules.most
            );
        };
        runtime.block_on(reconnect(bus, options, show))?;
        return Ok(ExitCode::SUCCESS);
    }
    let bus = Bus::start()?;
    let ended = Command::new(std::env::current_exe()?)
        .args(["reconnects", "--connects", &options.connects.to_string()])
        .args(["--devices", &options.devices.to_string(), "--bus", &bus.address()])
        .args(options.noisy.then_some("--noisy"))
        .env(ADDRESS, bus.address())
        .status()?;
    Ok(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Connects, subscribes, hears one value, lets go; `connects` times, shared among the devices. Gives the
/// figures after a tenth of them, when all that is made once is there, and at the end.
#[expect(clippy::disallowed_methods, reason = "takes the supervisor's place")]
pub async fn reconnect(
    bus: &str,
    &Options { connects, devices, noisy, .. }: &Options,
    mut show: impl FnMut(&Figures),
) -> anyhow::Result<(Figures, Figures)> {
    let bluez = Arc::new(Bluez::start(bus)?);
    if noisy {
        bluez.be_noisy(NOISE);
    }
    let names: Vec<String> = (1..=devices).map(|n| format!("F6:00:00:00:00:{n:02X}")).collect();
    let listed = names.iter().map(|name| name.parse()).collect::<Result<Vec<Address>, _>>()?;
    let random = Box::new(SystemRandomness::new());
    let (central, handle) = Central::new("hci0", listed, Arc::new(SystemClock::default()), random);
    let running = tokio::spawn(central.run());
    for name in &names {
        bluez.add(Emulated::heart_rate(name, name).bonded());
    }
    let refused = Arc::<AtomicU64>::default();
    let mut stages = Vec::new();
    let mut done = 0;
    for stage in 1..=10 {
        let upto = connects.saturating_mul(stage) / 10;
        let each = (upto - done).div_ceil(usize::from(devices));
        done += each * usize::from(devices);
        let mut visits = JoinSet::new();
        for name in &names {
            visits.spawn(visit(
                Arc::clone(&bluez),
                handle.clone(),
                (name.clone(), each),
                Arc::clone(&refused),
            ));
        }
        while let Some(ended) = visits.join_next().await {
            ended??;
        }
        bluez.forget_calls();
        let figures = Figures {
            connects: done,
            rules: rules(bus)?,
            refused: refused.load(Ordering::Relaxed),
            resident: resident()?,
        };
        show(&figures);
        stages.push(figures);
    }
    running.abort();
    let (first, last) = stages.first().zip(stages.last()).context("no stage")?;
    Ok((*first, *last))
}

async fn visit(
    bluez: Arc<Bluez>,
    central: Handle,
    (name, times): (String, usize),
    refused: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut link = BleLink::new(central, name.parse()?, vec![HEART], Demand::Bonded);
    for time in 0..times {
        while let Err(error) = link.open().await {
            refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error);
        }
        link.perform(LinkCommand::Subscribe(HEART)).await?;
        let subscribed = link.next().await;
        ensure!(subscribed == LinkEvent::Subscribed(HEART, Ok(())), "{subscribed:?}");
        bluez.notify(&name, HEART.uuid, &[0, 60])?;
        let value = link.next().await;
        ensure!(value == LinkEvent::Value(HEART, Bytes::from_static(&[0, 60])), "{value:?}");
        // Devices hang up, and are hung up on.
        if time % 2 == 0 {
            link.perform(LinkCommand::HangUp).await?;
        } else {
            bluez.drop_connection(&name)?;
        }
        let end = link.next().await;
        ensure!(matches!(end, LinkEvent::Down(_)), "{end:?}");
    }
    link.close().await;
    Ok(())
}

fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}
