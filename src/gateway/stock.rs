//! Takes stock: looks at the devices, keeps what it finds beside the store, holds it against the advisories, and
//! publishes it, signed with the key of the client certificate.
//!
//! ```text
//!  intake ──shown──▶ tracker ──▶ file beside the store
//!                       │ advisories (desk)
//!                       ├──▶ inventory ──sign──▶ c/v1/{organisation}/gw/{gateway}/inventory
//!                       ├──▶ security events ──▶ intake
//!                       └──▶ devices in quarantine ──▶ the gate
//! ```
//!
//! The gate is told of a quarantine before its first reading (see [`prepare`]), and then within one turn of whatever led
//! to it: a document, a device that says what it is, a waiver that runs out.
//!
//! What can go wrong: the file is broken, then it is told and begun anew; the disk or the key says no, then it is
//! told and tried again. What never happens: the line from the devices to the store waits for any of it.

mod publish;
pub mod standing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::inventory::{Looked, MAX_FILE, Sight, Tracker};
use super::outbox::Outbox;
use super::pump::Shown;
use crate::config::{Config, InventoryLevel};
use crate::envelope::keys::{KeyPlace, Protection};
use crate::fleet::advisories::desk::{Desk, Opinion};
use crate::fleet::advisories::inventory::{Device, Gateway, KeyProtection};
use crate::fleet::advisories::library::Judged;
use crate::fleet::advisories::told::Told;
use crate::fleet::documents::Digest;
use crate::fleet::documents::inventory::{Advisories, MAX_TEXT};
use crate::fleet::documents::own::text;
use crate::fleet::member::View;
use crate::host::supervisor::{Supervisor, blocking};
use crate::host::{atomic_file, machine};
use crate::policy::DeviceRule;
use crate::policy::event::Event;
use crate::policy::hold::Holds;
use crate::store::inventory_beside;
use crate::time::{Clock, ClockSync, Mono, Now, Wall};
use crate::uplink::Stop;
use crate::uplink::post::Notices;
use standing::Standing;

/// How often the devices are looked at.
const TURN: Duration = Duration::from_secs(10);
/// How often the file is written when nothing but the last moments has changed.
const WRITE_EVERY: Duration = Duration::from_secs(5 * 60);
/// How often the same is published with newer moments, and judged again: waivers run out.
const TELL_EVERY: Duration = Duration::from_secs(60 * 60);
/// What the program was built of, where its package says so.
const SBOM: &str = "/usr/share/wardline/sbom.cdx.json";
const MAX_SBOM: usize = 16 << 20;
/// The commit of the build, when whoever builds says so.
const BUILD: Option<&str> = option_env!("WARDLINE_BUILD");

/// What taking stock needs.
pub struct Means {
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// The devices of the allowlist as they are.
    pub shown: watch::Receiver<Shown>,
    /// The advisories.
    pub desk: Desk,
    /// What the broker keeps; none: nothing leaves.
    pub notices: Option<Notices>,
    /// Where the gateway stands with its fleet, if it is in one: a transfer makes another group of it.
    pub fleet: Option<watch::Receiver<View>>,
    /// The configuration that holds.
    pub in_force: watch::Receiver<Arc<Config>>,
    /// Where events go.
    pub events: mpsc::Sender<Event>,
    /// Where devices in quarantine are told.
    pub holds: watch::Sender<Holds>,
    /// Ends it.
    pub stop: watch::Receiver<Stop>,
}

/// What of the gateway stays the same.
#[derive(Clone)]
struct Place {
    level: InventoryLevel,
    file: PathBuf,
    gateway: Gateway,
}

/// What of it may change while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    organisation: String,
    group: String,
    certificate: PathBuf,
    key: KeyPlace,
}

/// What was known when the daemon ended, and what follows from it for the devices that are listed now.
pub struct Prepared {
    file: PathBuf,
    tracker: Tracker,
    kept: Holds,
}

impl Prepared {
    /// Devices of which nothing passed when the daemon ended.
    pub fn kept(&self) -> Holds {
        self.kept.clone()
    }

    /// Devices of which nothing is to pass from the first reading on.
    pub fn holds(&self) -> Holds {
        self.tracker.standing.holds.clone()
    }
}

/// Reads what is known of the devices and holds it against the advisories, before any of them is listened to. Blocks.
pub fn prepare(config: &Config, rules: &[DeviceRule], desk: &Desk, now: Now) -> Prepared {
    let (file, mut tracker) = read(&inventory_beside(&config.store.folder));
    let sight = |rule: &'_ DeviceRule| (rule.card.id.clone(), rule.card.model.clone(), rule.expects.clone());
    let known: Vec<_> = rules.iter().map(sight).collect();
    let sights = known.iter().map(|(id, driver, expects)| Sight {
        id,
        driver,
        expects,
        stated: None,
        is_stranger: false,
        last: None,
    });
    tracker.look(sights, now);
    let standing = std::mem::take(&mut tracker.standing);
    let kept = standing.holds.clone();
    tracker.standing = judge(desk, &tracker.devices(), standing, now).standing;
    Prepared { file, tracker, kept }
}

/// What a look at the advisories gives.
struct Judgement {
    judged: Vec<Judged>,
    advisories: Advisories,
    is_settled: bool,
    standing: Standing,
}

/// Blocks.
fn judge(desk: &Desk, devices: &[Device], mut standing: Standing, now: Now) -> Judgement {
    let known = known(now);
    let held = standing.holds.iter().map(|(id, hold)| (id.as_str(), hold.advisory.as_str()));
    let Opinion { judged, advisories, is_settled, kept } = desk.look(devices, known, held);
    standing.handle_holds(&judged, |id, _| kept.iter().any(|kept| kept == id));
    Judgement { judged, advisories, is_settled, standing }
}

/// The time, if it is known.
fn known(now: Now) -> Option<Wall> {
    (now.sync == ClockSync::Synced).then_some(now.wall)
}

/// Starts to take stock. Gives what a person should know of devices and advisories, in lines, as it changes.
pub fn start(
    supervisor: &mut Supervisor,
    prepared: Prepared,
    protection: Protection,
    means: Means,
) -> watch::Receiver<Vec<String>> {
    let (lines, shown) = watch::channel(Vec::new());
    let Prepared { file, tracker, kept: _ } = prepared;
    let (id, level) = {
        let config = means.in_force.borrow();
        (config.uplink.gateway.clone(), config.inventory)
    };
    supervisor.task("inventory", async move {
        let Some(gateway) = blocking(move || gateway(id, protection)).await else {
            return Err("reading what stands here panicked".to_owned());
        };
        let place = Place { level, file, gateway };
        Stock {
            place,
            tracker,
            lines,
            said: Vec::new(),
            outbox: Outbox::new(means.events.clone()),
            means,
            seen: None,
            times: Times::at_start(),
        }
        .run()
        .await;
        Ok(())
    });
    shown
}

fn read(file: &Path) -> (PathBuf, Tracker) {
    let tracker = match atomic_file::read(file, MAX_FILE) {
        Ok(bytes) => Tracker::decode(&bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Tracker::default()),
        Err(error) => Err(error.to_string()),
    };
    let tracker = tracker.unwrap_or_else(|why| {
        tracing::warn!(file = %file.display(), why, "what was known of the devices cannot be read: it begins anew");
        Tracker::default()
    });
    (file.to_owned(), tracker)
}

fn gateway(id: String, protection: Protection) -> Gateway {
    let machine = machine::machine();
    Gateway {
        id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: text(BUILD.unwrap_or("unknown"), MAX_TEXT),
        sbom: atomic_file::read(Path::new(SBOM), MAX_SBOM).ok().map(|bytes| Digest::of(&bytes)),
        hardware: text(&machine.hardware, MAX_TEXT),
        kernel: text(&machine.kernel, MAX_TEXT),
        key_protection: match protection {
            Protection::File => KeyProtection::File,
            Protection::Credential => KeyProtection::Credential,
            Protection::Pkcs11 => KeyProtection::Pkcs11,
        },
    }
}

/// When what was last done.
#[derive(Clone, Copy, Default)]
struct Times {
    written: Option<Mono>,
    told: Option<Mono>,
    /// When something may be otherwise though nothing else is.
    edge: Option<Wall>,
    /// Something is heard that the file does not say yet.
    is_heard: bool,
    /// The file or the broker does not have what was found, as it could not be written or signed.
    is_owed: [bool; 2],
}

/// By what was judged and published last: the state of the desk, whether the time was known, and the gateway's part.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    desk: u64,
    sync: ClockSync,
    part: Part,
}

/// One who takes stock.
struct Stock {
    place: Place,
    tracker: Tracker,
    lines: watch::Sender<Vec<String>>,
    /// What was said of advisories last.
    said: Vec<Told>,
    /// Events that found no room yet.
    outbox: Outbox,
    means: Means,
    seen: Option<Seen>,
    times: Times,
}

impl Times {
    /// What is kept from before may hold serial numbers that the site no longer publishes: it is written anew.
    fn at_start() -> Self {
        Self { is_owed: [true, false], ..Self::default() }
    }
}

fn is_due(last: Option<Mono>, every: Duration, now: Now) -> bool {
    last.is_none_or(|last| now.mono.since(last) >= every)
}

impl Stock {
    async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut stop = self.means.stop.clone();
        loop {
            tokio::select! {
                () = async { drop(stop.wait_for(|stop| *stop != Stop::Run).await) } => break,
                _ = turn.tick() => self.take().await,
            }
        }
        if self.times.is_heard || self.times.is_owed[0] {
            self.write(self.means.clock.now()).await;
        }
    }

    async fn take(&mut self) {
        let now = self.means.clock.now();
        // Before the intake's first turn nothing is known, not even that nothing is listed.
        let shown = self.means.shown.borrow().clone();
        if !shown.is_known {
            return;
        }
        let looked = look(&mut self.tracker, &shown, now);
        self.times.is_heard |= looked.is_heard;
        let seen = Seen { desk: self.means.desk.generation(), sync: now.sync, part: self.part() };
        let is_other =
            self.means.in_force.has_changed().unwrap_or(false) || self.seen.as_ref() != Some(&seen);
        let is_edge = known(now).zip(self.times.edge).is_some_and(|(now, edge)| now >= edge);
        let [owes_file, owes_broker] = self.times.is_owed;
        let mut is_changed = looked.is_changed;
        if is_changed || is_other || is_edge || owes_broker || is_due(self.times.told, TELL_EVERY, now) {
            self.means.in_force.mark_unchanged();
            self.seen = Some(seen);
            is_changed |= self.tell(now).await;
        }
        self.outbox.send();
        let is_old = self.times.is_heard && is_due(self.times.written, WRITE_EVERY, now);
        if is_changed || owes_file || is_old {
            self.write(now).await;
        }
    }

    /// The gateway's part as it is now: the group is the one that the member listens to, where it is one.
    fn part(&self) -> Part {
        let uplink = &self.means.in_force.borrow().uplink;
        let group = self.means.fleet.as_ref().map(|view| view.borrow().group.clone());
        let group = group.filter(|group| !group.is_empty()).unwrap_or_else(|| uplink.group.clone());
        Part {
            organisation: uplink.organisation.clone(),
            group,
            certificate: uplink.certificate.clone(),
            key: uplink.key.clone(),
        }
    }

    /// The devices, with what the configuration says of their support.
    fn devices(&self) -> Vec<Device> {
        let config = self.means.in_force.borrow();
        let listed = |id: &str| config.devices.iter().find(|listed| listed.rule.card.id == id);
        let mut devices = self.tracker.devices();
        for device in &mut devices {
            device.end_of_support = listed(&device.id).and_then(|listed| listed.end_of_support);
        }
        devices
    }

    /// What was told is only kept once the intake has it.
    async fn write(&mut self, now: Now) {
        if !self.outbox.is_empty() {
            self.times.is_owed[0] = true;
            return;
        }
        let bytes = self.tracker.encode(self.place.level == InventoryLevel::Full);
        let file = self.place.file.clone();
        let written = blocking(move || atomic_file::write(&file, &bytes)).await;
        let error = match written {
            Some(Ok(())) => None,
            Some(Err(error)) => Some(error.to_string()),
            None => Some("writing it panicked".to_owned()),
        };
        if let (Some(error), false) = (&error, self.times.is_owed[0]) {
            tracing::warn!(error, "what is known of the devices cannot be kept: tried again");
        }
        self.times.is_owed[0] = error.is_some();
        if error.is_none() {
            (self.times.written, self.times.is_heard) = (Some(now.mono), false);
        }
    }

    /// Judges, says what is new, and publishes. `true`: what stands is otherwise than before.
    async fn tell(&mut self, now: Now) -> bool {
        self.times.told = Some(now.mono);
        let devices = self.devices();
        let (desk, asked, standing) =
            (self.means.desk.clone(), devices.clone(), self.tracker.standing.clone());
        let judgement = blocking(move || judge(&desk, &asked, standing, now)).await;
        // After a panic, a defect of this program, all stands as it stood.
        let Some(Judgement { judged, advisories, is_settled, mut standing }) = judgement else {
            return false;
        };
        self.outbox.extend(standing.handle_judgement(&judged, is_settled, now));
        self.outbox.extend(standing.handle_support(&devices, now));
        self.means.holds.send_if_modified(|holds| {
            let is_other = *holds != standing.holds;
            holds.clone_from(&standing.holds);
            is_other
        });
        let is_changed = self.tracker.standing != standing;
        self.tracker.standing = standing;
        let told: Vec<Told> = judged.iter().filter_map(Told::of).collect();
        self.log(&told, &judged);
        self.times.edge = standing::next_edge(&told, &devices, now.wall);
        let mut lines: Vec<String> = told.iter().map(Told::line).collect();
        lines.extend(known(now).iter().flat_map(|now| standing::support_lines(&devices, *now)));
        lines.extend(publish::lines(&advisories));
        self.lines.send_replace(lines);
        self.said.clone_from(&told);
        self.publish((devices, told, advisories), now).await;
        is_changed
    }

    /// What was not said before.
    fn log(&self, told: &[Told], judged: &[Judged]) {
        let before = &self.said;
        for one in told.iter().filter(|one| !before.contains(one)) {
            let (device, advisory) = (one.device.as_str(), one.advisory.as_str());
            let (verdict, action, reason) = (one.verdict.as_str(), one.action.as_str(), one.reason.as_str());
            tracing::warn!(device, advisory, verdict, action, reason, "an advisory speaks of a device");
        }
        let gone = before.iter().filter(|old| {
            !judged.iter().any(|one| one.finding.device == old.device && one.finding.advisory == old.advisory)
        });
        for old in gone {
            let (device, advisory) = (old.device.as_str(), old.advisory.as_str());
            tracing::info!(device, advisory, "the advisory no longer speaks of the device");
        }
    }
}

fn look(tracker: &mut Tracker, shown: &Shown, now: Now) -> Looked {
    let sights = shown.devices.iter().map(|(rule, state)| Sight {
        id: &rule.card.id,
        driver: &rule.card.model,
        expects: &rule.expects,
        stated: state.stated(),
        is_stranger: state.quarantine().is_some(),
        last: state.last_reading(),
    });
    tracker.look(sights, now)
}
