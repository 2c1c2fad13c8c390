//! A ward in simulated time: every simulated serial device at once, for hours, with faults.
//!
//! In: hours, a seed. Out: what became of every device, and a verdict: nothing that a device showed
//! while its line was well is missing; nothing came under another device's name; alarms begin and end
//! in turn; the driver never wrote what its simulator would not take. Real simulators, drivers, sessions
//! and gatekeeper; the lines are in memory, so that hours pass in minutes and every run of a seed is the
//! same. Real lines at their real speed are what `tests/serial` is about.
//!
//! With `--radio` it is the ward of BLE devices, in `lab/air`.

mod ledger;
mod port;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::air;
use super::bench::machine::Memory;
use super::numerics::{Minute, minutes};
use super::sim::SIMS;
use crate::device::catalogue::serial_model;
use crate::device::{DeviceIndex, Report, ReportBody};
use crate::policy::Gatekeeper;
use crate::time::{Clock, ClockSync, Mono, Now, Wall};
pub use ledger::{Ledger, Row, Summary};
use port::{Common, Port};

/// How the ward is run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Simulated hours
    #[arg(long, default_value_t = 10.0)]
    pub hours: f64,
    /// From which all faults are drawn; a run of the same seed is the same run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Only these devices, by the names of their drivers or profiles
    #[arg(long)]
    pub only: Vec<String>,
    /// BLE devices instead of serial ones
    #[arg(long)]
    pub radio: bool,
    /// No faults
    #[arg(long)]
    pub calm: bool,
    /// Spoil it on purpose, to see that the verdict notices
    #[arg(long, hide = true)]
    pub spoil: Option<Spoil>,
    /// Say it as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Spoil {
    /// The reports of one device in one minute are lost.
    Lose,
    /// A report of one device comes under the name of the next.
    Mix,
    /// An observation is given twice (`--radio`).
    Double,
}

impl Spoil {
    const fn of_air(self) -> air::Spoil {
        match self {
            Self::Lose => air::Spoil::Lose,
            Self::Mix => air::Spoil::Mix,
            Self::Double => air::Spoil::Double,
        }
    }
}

/// The minute in which it is.
const SPOILT: u32 = 8;

/// How long everything is well at the beginning, so that it is known who is there.
const WARM_UP: u32 = 4;

/// How long everything is well at the end.
const COOL_DOWN: u32 = 6;

/// The most reports that wait.
const REPORTS: usize = 10_000;

/// The paused clock of the runtime, and a wall that began at a round time.
struct Simulated(Instant);

impl Clock for Simulated {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let millis = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        Now {
            mono: Mono::from_nanos(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall::from_millis(1_790_000_000_000 + millis),
            sync: ClockSync::Synced,
            max_error_us: 1,
        }
    }
}

/// Runs the ward and says what became of it.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.radio {
        return run_radio(options);
    }
    anyhow::ensure!(options.spoil != Some(Spoil::Double), "`--spoil double` wants `--radio`");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let ledger = runtime.block_on(live(options))?;
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&ledger.summary())?)?;
    } else {
        write!(out, "{}", text(&ledger)?)?;
    }
    Ok(if ledger.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The same of the ward of BLE devices.
fn run_radio(options: &Options) -> anyhow::Result<ExitCode> {
    let plan = air::Plan {
        minutes: length(options),
        seed: options.seed,
        only: options.only.clone(),
        calm: options.calm,
        spoil: options.spoil.map(Spoil::of_air),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let outcome = runtime.block_on(air::live(&plan));
    anyhow::ensure!(
        !outcome.devices.is_empty(),
        "there is no such device; `--only` takes the names of BLE profiles here, for instance heart-rate"
    );
    let mut out = std::io::stdout();
    if options.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&outcome)?)?;
    } else {
        write!(out, "{}", outcome.text()?)?;
    }
    Ok(if outcome.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The ward's hours; for tests too.
pub async fn live(options: &Options) -> anyhow::Result<Ledger> {
    let began = simulated_now();
    let clock: Arc<dyn Clock> = Arc::new(Simulated(began));
    let (reports_in, mut reports) = mpsc::channel(REPORTS);
    let (stop_in, stop) = watch::channel(false);
    let mut ports = start(options, (&clock, &reports_in, &stop))?;
    drop(reports_in);
    let devices = ports.last().map_or(0, Port::end);
    let length = length(options);
    let mut ledger = Ledger::new(&ports, length);
    let recording = minutes();
    let mut gate = None;
    for minute in 0..length {
        if minute == WARM_UP {
            gate = Some(gatekeeper(&mut ledger, &ports, clock.now()));
            ledger.note_memory(Memory::now().rss);
        }
        let is_calm = options.calm || minute < WARM_UP || minute + COOL_DOWN > length;
        for port in &mut ports {
            port.begin_minute(&shown(&recording, minute), is_calm, minute);
        }
        let end = began + Duration::from_secs(60) * (minute + 1);
        while let Ok(Some(report)) = tokio::time::timeout_at(end, reports.recv()).await {
            let spoil = options.spoil.filter(|_| minute == SPOILT);
            for report in spoilt(spoil, report, devices) {
                take(&mut ledger, gate.as_mut(), report);
            }
        }
        if let Some(gate) = gate.as_mut() {
            gate.handle_silence(clock.now());
            take_words(&mut ledger, gate);
        }
        for port in &mut ports {
            ledger.end_minute(port, minute, gate.is_some());
        }
    }
    ledger.note_memory(Memory::now().rss);
    stop_in.send_replace(true);
    for port in &ports {
        port.remote().stop();
    }
    ledger.finish(&ports, clock.now());
    Ok(ledger)
}

#[expect(clippy::disallowed_methods, reason = "the runtime's paused clock is the time that is simulated")]
fn simulated_now() -> Instant {
    Instant::now()
}

/// Minutes.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hours of a person's patience")]
fn length(options: &Options) -> u32 {
    (options.hours * 60.0).ceil().max(f64::from(WARM_UP + COOL_DOWN + 2)) as u32
}

/// Every device that is wanted, running. One that a site describes has no row in the catalogue.
fn start(options: &Options, common: Common<'_>) -> anyhow::Result<Vec<Port>> {
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut ports: Vec<Port> = Vec::new();
    for sim in SIMS.iter().filter(|sim| is_wanted(sim.name) && serial_model(sim.name).is_some()) {
        let first = ports.last().map_or(0, Port::end);
        ports.push(Port::start(sim, first, options.seed, common)?);
    }
    anyhow::ensure!(
        !ports.is_empty(),
        "there is no such device; known are those of `wardline-lab sim --help`"
    );
    Ok(ports)
}

/// The gate, for everybody who was there so far, told of what was said before it was there.
fn gatekeeper(ledger: &mut Ledger, ports: &[Port], now: Now) -> Gatekeeper {
    let mut gate = Gatekeeper::new(ledger.rules(ports));
    for report in ledger.introductions(now) {
        gate.handle_report(report);
    }
    gate
}

fn take(ledger: &mut Ledger, gate: Option<&mut Gatekeeper>, report: Report) {
    ledger.note(&report, gate.is_some());
    if let Some(gate) = gate {
        let verdict = gate.handle_report(report);
        ledger.judge(verdict);
        take_words(ledger, gate);
    }
}

fn take_words(ledger: &mut Ledger, gate: &mut Gatekeeper) {
    while let Some(word) = gate.poll_words() {
        ledger.judge_word(&word);
    }
}

/// What becomes of a report on the way.
fn spoilt(spoil: Option<Spoil>, report: Report, devices: u16) -> Vec<Report> {
    let is_observation = matches!(report.body, ReportBody::Observation(..));
    match spoil {
        Some(Spoil::Lose) if is_observation && report.device.0 == 0 => Vec::new(),
        Some(Spoil::Mix) if is_observation => {
            vec![Report { device: DeviceIndex((report.device.0 + 1) % devices), ..report }]
        }
        Some(_) | None => vec![report],
    }
}

/// The recording, over and over.
fn shown(recording: &[Minute], minute: u32) -> Minute {
    let place = usize::try_from(minute).unwrap_or_default() % recording.len().max(1);
    let empty = Minute { minute, heart_rate: None, pulse: None, spo2: None, mean_pressure: None };
    Minute { minute, ..recording.get(place).copied().unwrap_or(empty) }
}

fn text(ledger: &Ledger) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    let summary = ledger.summary();
    writeln!(
        out,
        "  {:<24}{:>7}{:>12}{:>9}{:>8}{:>8}{:>9}",
        "device", "parts", "readings", "alarms", "faults", "minutes", "missing"
    )?;
    for row in &summary.ports {
        writeln!(
            out,
            "  {:<24}{:>7}{:>12}{:>9}{:>8}{:>8}{:>9}",
            row.name, row.parts, row.readings, row.alarms, row.troubles, row.minutes, row.missing
        )?;
    }
    writeln!(out)?;
    writeln!(out, "  minutes: in which the line was well and every part of the device had to be heard")?;
    writeln!(
        out,
        "  {} simulated hours in {:.1} s; processor {:.2} % of a core at the ward's own pace, simulators included",
        summary.hours, summary.seconds, summary.processor_percent
    )?;
    writeln!(
        out,
        "  memory {:.1} MiB after the start, {:.1} MiB at the end",
        summary.memory[0], summary.memory[1]
    )?;
    for wrong in &summary.wrong {
        writeln!(out, "  WRONG {wrong}")?;
    }
    writeln!(
        out,
        "\n{}",
        if ledger.is_well() { "nothing was lost, nothing was mixed up" } else { "PROMISES WERE BROKEN" }
    )?;
    Ok(out)
}
