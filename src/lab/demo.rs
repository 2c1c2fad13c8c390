//! The main job, shown: a ward, an outage, and the proof that nothing was lost.
//!
//! An embedded mutual-TLS broker with a throw-away PKI; simulated pumps and an oximeter on real
//! pseudo-terminals; a heart-rate belt and an oximeter on BLE (a double of `org.bluez` on a private
//! D-Bus, or a replay where the machine has no `dbus-daemon`); a pump on the wrong port and a
//! stranger's belt; and between them the real daemon in a process of its own. It replays the
//! recorded numerics, cuts the broker off in the middle, rings alarms meanwhile, and compares at the
//! end what the devices showed with what the consumer has: everything, once, in the order of its
//! numbers, with live readings ahead of the backlog and each of the two in order.

mod judge;
mod replay;
mod scene;
mod screen;
mod shown;
mod sides;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::broker::Links;
use super::numerics::{Minute, minutes};
use super::pki::Validity;
use super::stage::{self, Daemon};
use crate::host::clock::SystemClock;
use crate::host::status;
use crate::time::{Clock as _, Mono};
use scene::{BELT, CLIP};
use screen::{Picture, Screen};
use shown::ble_shown;
use sides::{Bedside, Cloud};
use verdict::{Line, Shown};

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
}
