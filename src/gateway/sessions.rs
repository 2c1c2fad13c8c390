//! A session for every device of the allowlist: made, made anew when it panics, and ended alone.

mod heir;
mod radios;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use self::radios::Radios;
use super::notebook::Shelf;
use super::roster::Seat;
use crate::backoff::Bounds;
use crate::config::{Connection, Device};
use crate::device::ble::{CONSENT_CODE, CONSENT_USER, Collector};
use crate::device::catalogue::BleProfile;
use crate::device::memo::Blank;
use crate::device::session::{self, Context, Inheritance, Session};
use crate::device::settings::Settings;
use crate::device::{DeviceIndex, Part, Report, Settled};
use crate::envelope::keys::open_secret;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::{Leash, Supervisor};
use crate::link::ble::pairing::Proofs;
use crate::link::ble::{BleLink, Demand, Handle};
use crate::link::gatt::Consent;
use crate::link::replay::ReplayLink;
use crate::link::serial::SerialLink;
use crate::policy::{DeviceRule, should_log};
use crate::time::Clock;
use crate::uplink::Stop;

/// How a device link comes back: quickly, as a person who put a cable back in is watching, but not
/// so often that an absent device costs anything.
const BACKOFF: Bounds = Bounds {
    first: Duration::from_millis(500),
    most: Duration::from_secs(15),
    healthy_after: Duration::from_secs(60),
};

/// How long a reading may wait for the intake before its device is let go: longer than any commit
/// takes, and shorter than matters to who reads the chart.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a session that panicked waits: a driver that panics on its device's first byte must not
/// keep a core busy.
const AFTER_PANIC: Duration = Duration::from_secs(5);

/// How long a session may take to end: what a device was told is confirmed is waited for (see
/// [`Session::run`]), and then its link hangs up.
const ENDS_WITHIN: Duration = Duration::from_secs(16);

const _: () = assert!(
    ENDS_WITHIN.as_secs() > session::ENDS_WITHIN.as_secs(),
    "a session that ends in time is not cut off"
);

/// After this long it is said that one is waited for.
const SOON: Duration = Duration::from_secs(3);

/// How long a session that is cut off may take to be gone: more, and it does not even wait for anything.
const CUT_WITHIN: Duration = Duration::from_secs(1);

/// What every session shares.
#[derive(Clone)]
pub struct Shared {
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// Where reports go.
    pub reports: mpsc::Sender<Report>,
    /// Where what drivers want remembered is kept.
    pub notebooks: Shelf,
    /// Which bonds may be trusted.
    pub proofs: Proofs,
    /// What every session had to say is on disk.
    pub drained: watch::Receiver<Stop>,
    /// What nobody took before their sessions ended.
    pub losses: Losses,
}

/// How many observations were lost as nobody took them before their sessions had to end, by the device's name.
#[derive(Clone, Debug, Default)]
pub struct Losses(Arc<Mutex<BTreeMap<String, u64>>>);

impl Losses {
    pub(super) fn count(&self, device: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(device.to_owned()).or_default();
        *count += 1;
        if should_log(*count) {
            let lost = *count;
            tracing::error!(
                device,
                lost,
                "what it said last was not taken when its session ended, and is lost"
            );
        }
    }

    /// What was lost so far.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What makes the [`Context`] of one device's session, as often as it is needed.
#[derive(Clone)]
struct Maker {
    device: DeviceIndex,
    /// The device's name.
    id: String,
    parts: BTreeMap<Part, DeviceIndex>,
    quiet: Option<Duration>,
    /// The device's entry, where its driver may have something to remember.
    remembers: Option<DeviceRule>,
    shared: Shared,
    tickets: Arc<AtomicU64>,
    settled: watch::Receiver<Settled>,
    stop: watch::Receiver<bool>,
    told: Inheritance,
}

impl Maker {
    fn context(&self) -> Context {
        Context {
            device: self.device,
            parts: self.parts.clone(),
            clock: Arc::clone(&self.shared.clock),
            random: Box::new(SystemRandomness::new()),
            backoff: BACKOFF,
            patience: PATIENCE,
            quiet: self.quiet,
            reports: self.shared.reports.clone(),
            tickets: Arc::clone(&self.tickets),
            settled: self.settled.clone(),
            notebook: match &self.remembers {
                Some(rule) => Box::new(self.shared.notebooks.of(&rule.card.id).under(rule)),
                None => Box::new(Blank),
            },
            stop: self.stop.clone(),
            lost: {
                let (losses, id) = (self.shared.losses.clone(), self.id.clone());
                Box::new(move || losses.count(&id))
            },
            told: self.told.clone(),
        }
    }
}

/// How the links of the devices are made. The lab puts a replay in place of the radio where a
/// machine has no D-Bus.
pub trait Links: Send + Sync + 'static {
    /// Starts the session of a BLE device, when this is not the real radio. `None`: it is.
    fn replay(&self, device: &Device) -> Option<ReplayLink>;
}

/// The real ports and the real radio.
pub struct RealLinks;

impl Links for RealLinks {
    fn replay(&self, _: &Device) -> Option<ReplayLink> {
        None
    }
}

/// All sessions and all radios of the daemon, as they are at the moment.
pub struct Sessions {
    shared: Shared,
    links: Arc<dyn Links>,
    ports: watch::Sender<Arc<[PathBuf]>>,
    radios: Radios,
    /// By the device's id.
    running: BTreeMap<String, Seated>,
}

/// A device that has a session.
struct Seated {
    device: Device,
    /// `None`: its session was not begun.
    stopper: Option<Stopper>,
    /// What its session leaves to the next one.
    told: Inheritance,
}

/// Ends one session.
#[derive(Clone)]
pub struct Stopper {
    device: String,
    stop: watch::Sender<bool>,
    leash: Leash,
}

impl Stopper {
    /// Of the session of a device: says that it shall end, and holds its task.
    pub fn new(device: &str, stop: watch::Sender<bool>, leash: Leash) -> Self {
        Self { device: device.to_owned(), stop, leash }
    }

    /// Whose session it is.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Tells it to end and waits until it has. One that hangs is cut off where it waits; what it may still say
    /// names a place that nothing is taken of any more.
    pub async fn end(mut self) {
        self.leash.let_go();
        self.stop.send_replace(true);
        if tokio::time::timeout(SOON, self.leash.ended()).await.is_ok() {
            return;
        }
        let device = &self.device;
        tracing::warn!(device, "its session takes its time to end: it is waited for");
        if tokio::time::timeout(ENDS_WITHIN.saturating_sub(SOON), self.leash.ended()).await.is_ok() {
            return;
        }
        let seconds = ENDS_WITHIN.as_secs();
        tracing::error!(device, seconds, "its session did not end when told to, and is cut off");
        self.leash.abort();
        if tokio::time::timeout(CUT_WITHIN, self.leash.ended()).await.is_err() {
            tracing::error!(device, "its session still runs: nothing of it is taken");
        }
    }
}

impl Sessions {
    /// No session yet.
    pub fn new(shared: Shared, links: Arc<dyn Links>) -> Self {
        Self {
            shared,
            links,
            ports: watch::Sender::new(Arc::default()),
            radios: Radios::default(),
            running: BTreeMap::new(),
        }
    }

    /// The handles of the radios, for the status.
    pub fn radios(&self) -> watch::Receiver<Vec<Handle>> {
        self.radios.handles()
    }

    /// The sessions of some devices have ended; those of others begin, each with a link of its own. Ports and radios
    /// are those of all that have a session then; no radio ends before [`Sessions::settle`].
    pub fn change(&mut self, supervisor: &mut Supervisor, gone: &[String], seats: Vec<Seat>) {
        let mut before: BTreeMap<String, Seated> =
            gone.iter().filter_map(|id| self.running.remove_entry(id)).collect();
        for Seat { device, .. } in &seats {
            let id = device.rule.card.id.clone();
            let told = heir::of(device, before.remove(&id).map(|Seated { device, told, .. }| (device, told)));
            self.running.insert(id, Seated { device: device.clone(), stopper: None, told });
        }
        let devices = || self.running.values().map(|seated| &seated.device);
        self.ports.send_replace(devices().filter_map(|device| port_of(device).cloned()).collect());
        let over_air = devices().filter(|device| self.links.replay(device).is_none());
        self.radios.list(supervisor, over_air, &self.shared);
        for seat in seats {
            self.start(supervisor, seat);
        }
    }

    /// Nobody ends or begins for now: radios that no device names end.
    pub fn settle(&mut self) {
        let devices = self.running.values().map(|seated| &seated.device);
        self.radios.settle(devices.filter(|device| self.links.replay(device).is_none()));
    }

    fn start(&mut self, supervisor: &mut Supervisor, seat: Seat) {
        let device = seat.device.clone();
        let stop = watch::Sender::new(false);
        let maker = self.maker(seat, &stop);
        let leash = match &device.connection {
            Connection::Serial { port, line, model, settings } => {
                let (port, settings, rate, model) = (port.clone(), settings.clone(), *line, *model);
                let ports = self.ports.subscribe();
                supervisor.restarting("session", AFTER_PANIC, move || {
                    let link = SerialLink::new(port.clone(), rate, model.requests).among(ports.clone());
                    Session::new(link, (model.driver)(&settings), maker.context()).run()
                })
            }
            // The session of the device behind whose port it is speaks for it.
            Connection::Part { .. } => return,
            Connection::Ble { profiles, settings, .. } if self.links.replay(&device).is_some() => {
                let (profiles, links, device) = (profiles.clone(), Arc::clone(&self.links), device.clone());
                let settings = settings.clone();
                supervisor.restarting("session", AFTER_PANIC, move || {
                    let link = links.replay(&device);
                    let driver = Box::new(collector(&profiles, &settings));
                    let context = maker.context();
                    async move {
                        if let Some(link) = link {
                            Session::new(link, driver, context).run().await;
                        }
                    }
                })
            }
            Connection::Ble { address, adapter, profiles, settings, bond } => {
                let (Some(central), Ok(address)) = (self.radios.of(adapter), address.parse()) else {
                    // Cannot be: the configuration was validated and every adapter has its central.
                    tracing::error!(device = device.rule.card.id, "no session: a defect of this program");
                    return;
                };
                // Without a rule for its bond its entry says `security = "open"`.
                let demand =
                    bond.map_or(Demand::Open, |rule| Demand::Proven(rule, self.shared.proofs.clone()));
                let (profiles, settings) = (profiles.clone(), settings.clone());
                let names: Vec<&str> = profiles.iter().map(|profile| profile.name).collect();
                let names = names.join(", ");
                supervisor.restarting("session", AFTER_PANIC, move || {
                    let wanted = profiles.iter().flat_map(|profile| profile.subscribes).copied().collect();
                    let link =
                        BleLink::new(central.clone(), address, wanted, demand.clone()).of_profiles(&names);
                    let driver = Box::new(collector(&profiles, &settings));
                    Session::new(link, driver, maker.context()).run()
                })
            }
        };
        let device = device.rule.card.id;
        if let Some(seated) = self.running.get_mut(&device) {
            seated.stopper = Some(Stopper::new(&device, stop, leash));
        }
    }

    fn maker(&self, seat: Seat, stop: &watch::Sender<bool>) -> Maker {
        let Seat { device, place, parts, settled } = seat;
        let told = self.running.get(&device.rule.card.id).map(|seated| seated.told.clone());
        Maker {
            device: place,
            id: device.rule.card.id.clone(),
            parts,
            quiet: match device.connection {
                Connection::Serial { .. } => device.rule.quiet,
                // A radio link that is up is a device that answers.
                Connection::Part { .. } | Connection::Ble { .. } => None,
            },
            remembers: remembers(&device.connection).then(|| device.rule.clone()),
            shared: self.shared.clone(),
            tickets: Arc::default(),
            settled,
            stop: stop.subscribe(),
            told: told.unwrap_or_default(),
        }
    }

    /// Where what their drivers remember is kept.
    pub fn notebooks(&self) -> Shelf {
        self.shared.notebooks.clone()
    }

    /// What ends the sessions of these devices.
    pub fn stoppers<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Vec<Stopper> {
        ids.filter_map(|id| self.running.get(id)?.stopper.clone()).collect()
    }

    /// Tells all to end and takes no more reports of its own.
    pub fn stop_all(&mut self) {
        for stopper in self.running.values().filter_map(|seated| seated.stopper.as_ref()) {
            stopper.stop.send_replace(true);
        }
    }
}

/// The driver of a BLE device, with the consent that its entry says.
fn collector(profiles: &[&'static BleProfile], settings: &Settings) -> Collector {
    let collector = Collector::with(profiles.to_vec(), settings);
    match settings.file(CONSENT_CODE) {
        Some(path) => collector.consenting(consent(settings, path)),
        None => collector,
    }
}

/// Reads the consent of a user. The error names the file, and nothing of what it holds.
fn consent(settings: &Settings, path: &Path) -> Result<Consent, String> {
    /// Longer than any code, so that one that is too long is seen to be.
    const MOST: u64 = 16;
    let user = u8::try_from(settings.number(CONSENT_USER)).map_err(|error| error.to_string())?;
    let mut held = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST).unwrap_or_default()));
    let file = open_secret(path).map_err(|error| error.to_string())?;
    let named = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    file.take(MOST).read_to_end(&mut held).map_err(|error| named(&error))?;
    Consent::read(user, &held).map_err(|reason| named(&reason))
}

/// Whether there is something to remember of the device: what it is, and the records that it keeps.
const fn remembers(connection: &Connection) -> bool {
    match connection {
        Connection::Ble { .. } => true,
        Connection::Serial { .. } | Connection::Part { .. } => false,
    }
}

const fn port_of(device: &Device) -> Option<&PathBuf> {
    match &device.connection {
        Connection::Serial { port, .. } => Some(port),
        Connection::Part { .. } | Connection::Ble { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::catalogue::ble_profile;

    /// A file with a code, its mode, and the settings that name it.
    fn coded(held: &[u8], mode: u32) -> (tempfile::NamedTempFile, Settings) {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(held).unwrap();
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
        let rows = ble_profile("weight-scale").unwrap().settings();
        let mut settings = Settings::defaults(rows);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        settings.set_number(row(CONSENT_USER), 3).unwrap();
        settings.set_file(row(CONSENT_CODE), file.path().to_owned()).unwrap();
        (file, settings)
    }

    #[test]
    fn a_consent_is_read_from_its_file_and_an_error_shows_nothing_of_it() {
        let (file, settings) = coded(b"0042\n", 0o400);
        assert_eq!(consent(&settings, file.path()), Ok(Consent::read(3, b"42").unwrap()));
        for (held, mode) in [(&b"48151\n"[..], 0o400), (b"48151623421234567890", 0o400), (b"4815\n", 0o644)] {
            let (file, settings) = coded(held, mode);
            let error = consent(&settings, file.path()).unwrap_err();
            let name = file.path().display().to_string();
            assert!(error.contains(&name) && !error.replace(&name, "").contains("4815"), "{error}");
        }
        assert!(
            consent(&settings, Path::new("/nonexistent/code")).unwrap_err().contains("/nonexistent/code")
        );
    }
}
