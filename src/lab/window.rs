//! How long an indication is in the gateway's hands and on no disk: BlueZ has confirmed it, so the device
//! forgets it, and a power cut or kill in this moment loses it.
//!
//! In: how many kills, and up to how long after the value. Out: a table, or one JSON object: by the time
//! between the double of BlueZ giving the value to the bus and kill -9 of the real daemon, how many of the
//! values were in the store afterwards. Each kill is at a random moment; each value is another number, so
//! that the store says which of them it has. What never happens: a value counts as kept because a later one
//! is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::json;

use super::bench::Folder;
use super::bluez::{Bluez, Bus, Emulated};
use super::pki::{Pki, Validity};
use super::stage::{self, Daemon};
use crate::backoff::Random as _;
use crate::device::nomenclature::SPO2;
use crate::device::observation::{Lane, Value};
use crate::envelope::keys::{KeyPlace, KeyRing};
use crate::envelope::record::Entry;
use crate::host::random::SystemRandomness;
use crate::host::status;
use crate::store::inspect::{Wanted, read_blocks};

const CLIP: &str = "F2:00:00:00:00:02";
const SPOT_CHECK: u16 = 0x2A5E;

/// Numbers that a spot-check can show: 0.1 to 100.0 in tenths.
const MOST_KILLS: u16 = 1_000;

/// No kill has this number.
const WARM_UP: u16 = 2_000;

/// How long the first value of a run may take to the disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many rows the table has.
const ROWS: u32 = 10;

/// How often, and when.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Kills
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_KILLS)))]
    pub kills: u16,
    /// The latest kill, in microseconds after the value
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    pub span: u32,
    /// The value is the first of the daemon's life: with it a segment of the store is begun
    #[arg(long)]
    pub cold: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
    /// A folder on the disk to use; by default where this program lies
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// One kill: how long after the value, and whether the value was kept.
struct Kill {
    after: Duration,
    kept: bool,
}

/// Runs it, and prints what came of it.
pub async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let own = Folder::new(options.folder.as_deref())?;
    let folder = own.0.as_path();
    let bus = Bus::start().context("a private bus needs dbus-daemon")?;
    let bluez = Bluez::start(&bus.address())?;
    bluez.add(Emulated::pulse_oximeter(CLIP, "OX-1"));
    let pki = Pki::create(&folder.join("pki"))?;
    let client = pki.client("gw-lab", Validity::Now)?;
    // Nobody listens there: the store keeps everything.
    stage::configure(folder, &pki, &client, 1, &stage::ble_device("clip-1", "pulse-oximeter", CLIP, "OX-1"))?;
    let mut random = SystemRandomness::new();
    let mut after = Vec::with_capacity(usize::from(options.kills));
    for number in 1..=options.kills {
        let wait = Duration::from_micros(random.next_u64() % u64::from(options.span));
        after.push(one(folder, (&bus, &bluez), number, (wait, options.cold)).await?);
    }
    let kept = kept(folder)?;
    let kills: Vec<Kill> =
        (1..).zip(after).map(|(number, after)| Kill { after, kept: kept.contains(&number) }).collect();
    show(&kills, options)
}

/// Lets the daemon take one value, and kills it. Gives how long after.
#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
async fn one(
    folder: &Path,
    (bus, bluez): (&Bus, &Bluez),
    number: u16,
    (wait, is_first): (Duration, bool),
) -> anyhow::Result<Duration> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("daemon").env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
    let mut daemon = Daemon::start(command, folder)?;
    let subscribed =
        bluez.until("the clip is subscribed to", |world| world.is_subscribed(CLIP, SPOT_CHECK)).await;
    subscribed.with_context(|| daemon.last_words())?;
    if !is_first {
        bluez.notify(CLIP, SPOT_CHECK, &spot_check(WARM_UP))?;
        durable(folder).await.with_context(|| daemon.last_words())?;
    }
    let begun = Instant::now();
    bluez.notify(CLIP, SPOT_CHECK, &spot_check(number))?;
    while begun.elapsed() < wait {
        std::hint::spin_loop();
    }
    daemon.kill_at_once()?;
    let after = begun.elapsed();
    daemon.kill()?;
    // The device notices that nobody is there any more.
    bluez.drop_connection(CLIP)?;
    Ok(after)
}

/// The number as a saturation in tenths (SFLOAT with exponent -1); a pulse of 60.
const fn spot_check(number: u16) -> [u8; 5] {
    let [low, high] = (number | 0xF000).to_le_bytes();
    [0, low, high, 60, 0]
}

/// Waits until the first value of this run is on the disk.
#[expect(clippy::disallowed_methods, reason = "the lab asks as a person would")]
async fn durable(folder: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let socket = stage::socket(folder);
        let answer = tokio::task::spawn_blocking(move || status::ask(&socket)).await?;
        let is_durable =
            |snapshot: &status::Snapshot| snapshot.lanes.iter().any(|lane| lane.durable_total > 1);
        if answer.as_ref().is_ok_and(is_durable) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < PATIENCE, "the first value did not become durable: {answer:?}");
        // The socket has no way to call back: ask again.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The numbers that are in the store.
fn kept(folder: &Path) -> anyhow::Result<BTreeSet<u16>> {
    let ring = KeyRing::load(&KeyPlace::File(folder.join("kek")), None)?;
    let mut kept = BTreeSet::new();
    let wanted = Wanted { lanes: vec![Lane::Vital] };
    let unread = read_blocks(&folder.join("store"), &ring, &wanted, &mut |_, _| {}, &mut |found| {
        let (_, entries) = found.block.read().map_err(anyhow::Error::from)?;
        for entry in entries {
            let Entry::Observation(record) = entry else { continue };
            let observed = record.observation;
            if let (Value::Decimal(value), true) = (observed.value, observed.metric == &SPO2) {
                anyhow::ensure!(value.exponent == -1, "a saturation that nobody sent: {value}");
                kept.insert(u16::try_from(value.mantissa)?);
            }
        }
        Ok::<(), anyhow::Error>(())
    })?;
    anyhow::ensure!(unread.blocks == 0 && unread.segments.is_empty(), "the store cannot be read: {unread:?}");
    Ok(kept)
}

fn show(kills: &[Kill], options: &Options) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    let lost = kills.iter().filter(|kill| !kill.kept);
    let latest = lost.map(|kill| kill.after).max().unwrap_or_default();
    let earliest = kills.iter().filter(|kill| kill.kept).map(|kill| kill.after).min().unwrap_or_default();
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let width = (options.span / ROWS).max(1);
    let row = |place: u32| {
        let is_here = |kill: &&Kill| micros(kill.after) / u64::from(width) == u64::from(place);
        let here: Vec<&Kill> = kills.iter().filter(is_here).collect();
        (here.len(), here.iter().filter(|kill| kill.kept).count())
    };
    if options.json {
        let rows = (0..=ROWS).map(row).map(|(kills, kept)| json!({ "kills": kills, "kept": kept }));
        let report = json!({
            "kills": kills.len(), "row_us": width, "rows": rows.collect::<Vec<_>>(),
            "first_kept_us": micros(earliest), "last_lost_us": micros(latest),
        });
        writeln!(out, "{report}")?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "killed after the value      kills   kept")?;
    for place in 0..=ROWS {
        let (count, kept) = row(place);
        if count > 0 {
            let from = f64::from(place * width) / 1_000.0;
            writeln!(
                out,
                "{from:7.2} ms to {:7.2} ms  {count:6} {kept:6}",
                from + f64::from(width) / 1_000.0
            )?;
        }
    }
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    writeln!(
        out,
        "\nThe earliest kill that a value survived: {:.2} ms after it; the latest that cost one: {:.2} ms.",
        ms(earliest),
        ms(latest)
    )?;
    Ok(ExitCode::SUCCESS)
}
