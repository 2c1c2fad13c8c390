//! The main job, shown: a ward, an outage, and the proof that nothing was lost.
//!
//! An embedded mutual-TLS broker with a throw-away PKI; simulated pumps and an oximeter on real
//! pseudo-terminals; a heart-rate belt and an oximeter on BLE (a double of `org.bluez` on a private
//! D-Bus, or a replay where the machine has no `dbus-daemon`); a pump on the wrong port and a
//! stranger's belt; and between them the real daemon in a process of its own. It replays the
//! recorded numerics, cuts the broker off in the middle, rings alarms meanwhile, and compares at the
//! end what the devices showed with what the consumer has: everything, once, in the order of its
//! numbers, with live readings ahead of the backlog and each of the two in order.

mod replay;
mod scene;
mod screen;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::bluez::{Bluez, BluezError, Bus, Emulated};
use super::broker::{Behaviour, Broker, Links};
use super::ledger::Arrival;
use super::numerics::{Minute, minutes};
use super::pki::{Pki, Validity};
use super::sim::{Control, alaris, masimo};
use super::stage::{self, Daemon};
use super::{consumer, ledger};
use crate::host::clock::SystemClock;
use crate::host::status;
use crate::time::{Clock as _, Mono};
use scene::{BELT, CLIP, OXIMETER, PUMPS, STRANGER, SWAPPED};
use screen::{Picture, Screen};
use verdict::{Comeback, Line, Shown};

pub use replay::ReplayFile;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is shown.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Minutes of the recording that pass in a second: at most 480 fit through a line of 9,600 baud
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u32).range(1..=480))]
    pub speed: u32,
    /// Minutes of the recording to play
    #[arg(long, default_value_t = 480, value_parser = clap::value_parser!(u32).range(30..=1900))]
    pub minutes: u32,
    /// A short run of 180 minutes, for tests
    #[arg(long)]
    pub fast: bool,
    /// Replay the BLE devices even where dbus-daemon is on the machine
    #[arg(long)]
    pub no_dbus: bool,
    /// Keep the folder with the configuration, the store and the daemon's log
    #[arg(long)]
    pub keep: bool,
}

/// Runs the demo. Success only when the verdict is good.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let folder = Folder::new(options.keep)?;
    let mut screen = Screen::new();
    let mut ward = Ward::open(&folder.0, &options, &mut screen).await?;
    let told = async {
        ward.wait_for_links().await?;
        ward.play(&mut screen).await?;
        ward.settle(&mut screen).await
    };
    if let Err(error) = told.await {
        let words = ward.daemon.last_words();
        return Err(error.context(format!("the daemon's last words:\n{words}")));
    }
    let is_good = ward.judge(&mut screen).await?;
    screen.say(&format!("  ran {} s", ward.elapsed().as_secs()));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A throw-away folder.
struct Folder(PathBuf, bool);

impl Folder {
    fn new(keep: bool) -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("wardline-demo-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path, keep))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.1 {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Everything that plays a part.
struct Ward {
    folder: PathBuf,
    script: Vec<Minute>,
    interval: Duration,
    clock: SystemClock,
    started: Mono,
    bedside: Bedside,
    cloud: Cloud,
    daemon: Daemon,
    belt_shown: Vec<Shown>,
    clip_shown: Vec<Shown>,
    restored: Option<Restored>,
    tasks: Tasks,
}

/// The moment at which the broker was there again.
#[derive(Clone, Copy)]
struct Restored {
    at: Mono,
    /// Readings that the consumer had by then.
    kept: usize,
    /// Alarms that it had.
    alarms: usize,
}

/// What runs beside the daemon.
type Tasks = JoinSet<anyhow::Result<()>>;

/// The far side: broker and consumer.
struct Cloud {
    pki: Pki,
    port: u16,
    behaviour: watch::Sender<Behaviour>,
    consumer: consumer::Shared,
}

impl Cloud {
    async fn open(folder: &Path, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let pki = Pki::create(&folder.join("pki"))?;
        let server = pki.server("broker", &["localhost", "127.0.0.1"], Validity::Now)?;
        let (behaviour, behaves) = watch::channel(Behaviour::default());
        let broker = Broker::bind(pki.authorities(), server, behaves).await?;
        let port = broker.port()?;
        tasks.spawn(broker.run());
        let consumer = consumer::Shared::default();
        consumer.with(|ledger| ledger.keep = true);
        let pair = pki.client("consumer", Validity::Now)?;
        let settings = consumer::Settings {
            host: "localhost".to_owned(),
            port,
            id: "consumer".to_owned(),
            authorities: pki.authorities(),
            certificate: pair.certificate,
            key: pair.key,
        };
        tasks.spawn(consumer::run(settings, consumer.clone()));
        let subscribed = tokio::time::timeout(PATIENCE, consumer.subscribed());
        subscribed.await.context("the consumer cannot subscribe")?;
        Ok(Self { pki, port, behaviour, consumer })
    }
}

/// The near side: the devices on their ports and on the radio.
struct Bedside {
    pumps: Vec<Control<alaris::Values>>,
    oximeter: Control<masimo::Values>,
    swapped: Control<alaris::Values>,
    radio: Option<(Bluez, Bus)>,
}

impl Bedside {
    fn open(folder: &Path, no_dbus: bool, tasks: &mut Tasks) -> anyhow::Result<Self> {
        let mut pumps = Vec::new();
        for (id, serial) in PUMPS {
            pumps.push(pump(folder, id, serial, tasks)?);
        }
        let swapped = pump(folder, SWAPPED.0, SWAPPED.2, tasks)?;
        let setup = masimo::Setup {
            link: Some(folder.join(OXIMETER.0)),
            serial: OXIMETER.1.to_owned(),
            cadence: masimo::Cadence::AtEachSet,
            ..masimo::Setup::default()
        };
        let (future, oximeter) = masimo::oximeter(setup, masimo::Values::default())?;
        tasks.spawn(async { Ok(future.await?) });
        Ok(Self { pumps, oximeter, swapped, radio: radio(no_dbus)? })
    }

    /// The allowlist: all of them but the stranger, and another pump than the one that was swapped in.
    fn allowlist(&self) -> String {
        let mut devices = String::new();
        for (pump, (id, serial)) in self.pumps.iter().zip(PUMPS) {
            devices += &stage::serial_device(id, "alaris-asena", &pump.path(), serial);
        }
        devices += &stage::serial_device(OXIMETER.0, "masimo-ascii1", &self.oximeter.path(), OXIMETER.1);
        devices += &stage::serial_device(SWAPPED.0, "alaris-asena", &self.swapped.path(), SWAPPED.1);
        for ((id, address, serial), profile) in [(BELT, "heart-rate"), (CLIP, "pulse-oximeter")] {
            devices += &stage::ble_device(id, profile, address, serial);
        }
        devices
    }
}

impl Ward {
    async fn open(folder: &Path, options: &Options, screen: &mut Screen) -> anyhow::Result<Self> {
        let count = usize::try_from(if options.fast { 180 } else { options.minutes })?;
        // The first half hour of the recording has no saturation at all.
        let script: Vec<Minute> = minutes().into_iter().skip(30).take(count).collect();
        let interval = Duration::from_millis(u64::from(60_000 / options.speed));
        let mut tasks = JoinSet::new();
        let cloud = Cloud::open(folder, &mut tasks).await?;
        let bedside = Bedside::open(folder, options.no_dbus, &mut tasks)?;
        let client = cloud.pki.client("gw-lab", Validity::Now)?;
        stage::configure(folder, &cloud.pki, &client, cloud.port, &bedside.allowlist())?;
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.arg("daemon");
        if let Some((_, bus)) = &bedside.radio {
            screen.say("BLE: a double of org.bluez on a private D-Bus");
            command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
        } else {
            screen.say("BLE: replayed (dbus-daemon is not on this machine, or not wanted)");
            let replay = folder.join("replay");
            replay::write(&replay, &script, interval)?;
            command.arg("--replay").arg(replay);
        }
        let daemon = Daemon::start(command, folder)?;
        screen.say(&format!("daemon: process {}, folder {}", daemon.id(), folder.display()));
        let (belt_shown, clip_shown) = ble_shown(&script);
        let clock = SystemClock::default();
        Ok(Self {
            folder: folder.to_owned(),
            script,
            interval,
            started: clock.now().mono,
            clock,
            bedside,
            cloud,
            daemon,
            belt_shown,
            clip_shown,
            restored: None,
            tasks,
        })
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().mono.since(self.started)
    }
}

fn pump(folder: &Path, id: &str, serial: &str, tasks: &mut Tasks) -> anyhow::Result<Control<alaris::Values>> {
    let link = Some(folder.join(id));
    let setup = alaris::Setup { link, serial: serial.to_owned(), ..alaris::Setup::default() };
    let (future, control) = alaris::pump(setup, alaris::Values::default())?;
    tasks.spawn(async { Ok(future.await?) });
    Ok(control)
}

/// The double of BlueZ with its devices, where the machine can have one.
fn radio(unwanted: bool) -> anyhow::Result<Option<(Bluez, Bus)>> {
    if unwanted {
        return Ok(None);
    }
    let bus = match Bus::start() {
        Ok(bus) => bus,
        Err(BluezError::NoDaemon) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let bluez = Bluez::start(&bus.address())?;
    bluez.add(Emulated::heart_rate(BELT.1, BELT.2));
    bluez.add(Emulated::pulse_oximeter(CLIP.1, CLIP.2));
    bluez.add(Emulated::heart_rate(STRANGER.0, STRANGER.1));
    Ok(Some((bluez, bus)))
}

/// What the BLE devices will show.
fn ble_shown(script: &[Minute]) -> (Vec<Shown>, Vec<Shown>) {
    let number = |value: Option<u16>| value.map_or("not-a-number".to_owned(), |value| value.to_string());
    let belt = script.iter().filter_map(scene::belt);
    let belt = belt.map(|(rate, _)| Shown { code: 147_842, value: rate.to_string() }).collect();
    let clip = script.iter().flat_map(|minute| {
        let (spo2, pulse, _) = scene::clip(minute);
        [Shown { code: 150_456, value: number(spo2) }, Shown { code: 149_530, value: number(pulse) }]
    });
    (belt, clip.collect())
}

impl Ward {
    /// The daemon's own word.
    async fn ask(&self) -> Option<status::Snapshot> {
        let socket = stage::socket(&self.folder);
        #[expect(clippy::disallowed_methods, reason = "the lab asks as a person would")]
        let answer = tokio::task::spawn_blocking(move || status::ask(&socket)).await;
        answer.ok()?.ok()
    }

    /// Waits until every listed device is there, so that what they show from then on must arrive.
    async fn wait_for_links(&mut self) -> anyhow::Result<()> {
        let deadline = self.elapsed() + PATIENCE;
        loop {
            anyhow::ensure!(self.daemon.ended()?.is_none(), "the daemon ended");
            anyhow::ensure!(self.elapsed() < deadline, "not every device came up within {PATIENCE:?}");
            if let Some(snapshot) = self.ask().await {
                let up = snapshot.devices.iter().filter(|device| device.link == "up").count();
                if up == snapshot.devices.len() && self.is_subscribed() {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn is_subscribed(&self) -> bool {
        self.bedside.radio.as_ref().is_none_or(|(bluez, _)| {
            bluez.look(|world| world.is_subscribed(BELT.1, 0x2A37) && world.is_subscribed(CLIP.1, 0x2A5F))
        })
    }

    /// Plays the recording; the broker is cut off during the middle third.
    async fn play(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let script = self.script.clone();
        let (cut, restore) = (script.len() / 3, script.len() * 2 / 3);
        let mut scene = "the broker is there";
        let mut ticks = tokio::time::interval(self.interval);
        for (played, minute) in script.iter().enumerate() {
            ticks.tick().await;
            if played == cut {
                scene = "OUTAGE: the broker is cut off";
                self.cloud.behaviour.send_modify(|behaviour| behaviour.links = Links::Cut);
            }
            if played == restore {
                scene = "the broker is back: alarms first, then live beside the backlog";
                let at = self.clock.now().mono;
                let (kept, alarms) =
                    self.cloud.consumer.with(|ledger| (ledger.kept.len(), ledger.alarms.len()));
                self.restored = Some(Restored { at, kept, alarms });
                self.cloud.behaviour.send_modify(|behaviour| behaviour.links = Links::Serve);
            }
            // Both pumps occlude, one after the other, while nobody can be told.
            let quarter = (restore - cut) / 4;
            for (place, pump) in self.bedside.pumps.iter().enumerate() {
                let from = cut + quarter * (1 + place);
                pump.set(scene::pump(minute, place, (from..from + quarter).contains(&played)));
            }
            self.bedside.oximeter.set(scene::oximeter(minute));
            if let Some((bluez, _)) = &self.bedside.radio {
                if let Some((_, value)) = scene::belt(minute) {
                    bluez.notify(BELT.1, 0x2A37, &value)?;
                }
                bluez.notify(CLIP.1, 0x2A5F, &scene::clip(minute).2)?;
            }
            anyhow::ensure!(self.daemon.ended()?.is_none(), "the daemon ended");
            self.draw(screen, played + 1, scene).await;
        }
        Ok(())
    }

    async fn draw(&self, screen: &mut Screen, played: usize, scene: &str) {
        let snapshot = self.ask().await;
        let arrived = |id: &str| {
            self.cloud.consumer.with(|ledger| ledger.devices.get(id).map_or(0, |tally| tally.records))
        };
        let picture = Picture {
            played: (played, self.script.len()),
            scene,
            daemon: snapshot.as_ref(),
            arrived: &arrived,
        };
        screen.draw(&picture, self.elapsed());
    }

    /// Stops the devices and waits until the store is empty.
    async fn settle(&mut self, screen: &mut Screen) -> anyhow::Result<()> {
        let deadline = self.elapsed() + PATIENCE;
        // The last line of the oximeter still travels at 9,600 baud.
        while self.bedside.oximeter.sent() < u64::try_from(self.script.len())? {
            anyhow::ensure!(self.elapsed() < deadline, "the oximeter does not come to its end");
            tokio::time::sleep(self.interval).await;
        }
        for pump in self.bedside.pumps.iter().chain([&self.bedside.swapped]) {
            pump.stop();
        }
        loop {
            let lines = self.lines();
            if lines.iter().all(Line::is_good) {
                break;
            }
            if self.elapsed() >= deadline {
                screen.say("  not everything arrived in time");
                break;
            }
            self.draw(screen, self.script.len(), "the devices are silent; the store runs empty").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What every device showed, compared with what arrived of it.
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (pump, (id, _)) in self.bedside.pumps.iter().zip(PUMPS) {
            lines.push(self.line(id, &pump_shown(&pump.journal())));
        }
        lines.push(self.line(OXIMETER.0, &oximeter_shown(&self.bedside.oximeter.journal())));
        lines.push(self.line(BELT.0, &self.belt_shown));
        lines.push(self.line(CLIP.0, &self.clip_shown));
        lines
    }

    fn line(&self, id: &str, shown: &[Shown]) -> Line {
        self.cloud.consumer.with(|ledger| {
            let arrived = ledger.kept.iter().filter(|(device, _)| device == id).map(|(_, reading)| {
                let place = (reading.run.clone(), reading.seq.unwrap_or_default());
                (place, Shown { code: reading.code, value: reading.value.clone() }.plain())
            });
            let line = verdict::compare(id, shown, &verdict::by_number(arrived.collect()));
            let tally = ledger.devices.get(id).cloned().unwrap_or_default();
            Line {
                again: tally.duplicates,
                twice: tally.doubled,
                holes: tally.lost(),
                overtaken: tally.out_of_order,
                alarms: tally.alarms,
                ..line
            }
        })
    }

    /// The verdict, in words.
    async fn judge(&mut self, screen: &mut Screen) -> anyhow::Result<bool> {
        let lines = self.lines();
        let ended = self.daemon.stop(PATIENCE).await?;
        self.tasks.abort_all();
        let mut checks = vec![
            (
                lines.iter().all(Line::is_good),
                "every reading arrived once, live and backlog each in order: lost 0, duplicates 0".to_owned(),
            ),
            self.alarms_first(),
            self.comeback(),
            (ended.success(), format!("the daemon drained and ended in order ({ended})")),
        ];
        checks.extend(self.nothing_foreign());
        screen.say(&format!("\n{}", verdict::table(&lines)));
        for (is_so, what) in &checks {
            screen.say(&format!("  {} {what}", if *is_so { "yes" } else { "NO " }));
        }
        let complaints = self.cloud.consumer.with(|ledger| ledger.complaints.clone());
        for complaint in &complaints {
            screen.say(&format!("  NO  a payload was wrong: {complaint}"));
        }
        let is_good = complaints.is_empty() && checks.iter().all(|(is_so, _)| *is_so);
        screen.say(if is_good { "\n  VERDICT: nothing was lost" } else { "\n  VERDICT: FAILED" });
        Ok(is_good)
    }

    /// Whether the alarms of the outage came before its backlog.
    fn alarms_first(&self) -> (bool, String) {
        let Some(Restored { kept, alarms, .. }) = self.restored else {
            return (false, "the broker came back".to_owned());
        };
        self.cloud.consumer.with(|ledger: &mut ledger::Ledger| {
            let after: Vec<bool> =
                ledger.kept.iter().skip(kept).map(|(_, reading)| reading.key.contains("-alarm-")).collect();
            let of_outage = after.iter().take_while(|is_alarm| **is_alarm).count();
            // Each pump rang once and fell silent again: four alarms at least waited.
            let is_so = of_outage >= 4 && verdict::alarms_came_first(&after, of_outage);
            (
                is_so,
                format!(
                    "alarms came first: {alarms} before the outage, {of_outage} ahead of {} readings",
                    after.len() - of_outage
                ),
            )
        })
    }

    /// How live readings and the backlog came back.
    fn comeback(&self) -> (bool, String) {
        let Some(Restored { kept, at, .. }) = self.restored else {
            return (false, "the broker came back".to_owned());
        };
        self.cloud.consumer.with(|ledger| {
            let after = ledger.kept.iter().zip(&ledger.arrivals).skip(kept);
            let of_vital = after.filter(|((_, reading), _)| reading.key.contains("-vital-"));
            let arrivals: Vec<Arrival> = of_vital.map(|(_, arrival)| *arrival).collect();
            let Comeback { first_live, last_backlog, live_before, backlog } = Comeback::of(at, &arrivals);
            let after =
                |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("after {} ms", time.as_millis()));
            (
                first_live.is_some() && last_backlog.is_some(),
                format!(
                    "the broker came back: the first live reading {}, the last of {backlog} of the backlog {}, \
                     {live_before} live ones before it",
                    after(first_live),
                    after(last_backlog)
                ),
            )
        })
    }

    /// Whether devices that are not on the allowlist left no trace at the broker.
    fn nothing_foreign(&self) -> Vec<(bool, String)> {
        let of_swapped = self.cloud.consumer.with(|ledger| ledger.devices.contains_key(SWAPPED.0));
        let mut checks = vec![(
            !of_swapped,
            format!("the pump that is not the one on the list ({}) sent nothing to the broker", SWAPPED.0),
        )];
        if let Some((bluez, _)) = &self.bedside.radio {
            let calls = bluez.look(|world| world.calls_to(STRANGER.0).len());
            checks.push((
                calls == 0,
                format!("the unlisted BLE device was never connected to ({calls} calls)"),
            ));
        }
        checks
    }
}

/// What a pump showed in its answers: rate and volume of each INF reply, by the protocol's facts.
fn pump_shown(journal: &[super::sim::Sent]) -> Vec<Shown> {
    let replies = journal.iter().filter(|sent| sent.is_whole && sent.message.starts_with("INF^"));
    replies
        .flat_map(|sent| {
            let fields: Vec<&str> = sent.message.split('^').collect();
            let field =
                |at: usize, code| fields.get(at).map(|value| Shown { code, value: (*value).to_owned() });
            [field(4, 157_784), field(7, 157_864)].map(|shown| shown.map(Shown::plain))
        })
        .flatten()
        .collect()
}

/// What the oximeter showed on its lines.
fn oximeter_shown(journal: &[super::sim::Sent]) -> Vec<Shown> {
    let mut shown = Vec::new();
    for sent in journal.iter().filter(|sent| sent.is_whole) {
        for (name, code) in [("SPO2=", 150_456), ("BPM=", 149_530)] {
            let word = sent.message.split_whitespace().find_map(|word| word.strip_prefix(name));
            let digits = word.unwrap_or_default().trim_end_matches('%');
            let value = digits.parse::<u16>().map_or("unknown".to_owned(), |value| value.to_string());
            shown.push(Shown { code, value });
        }
    }
    shown
}
