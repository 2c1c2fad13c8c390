//! Makes a session for every device of the allowlist, and makes it anew when it panics.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use zeroize::Zeroizing;

use super::notebook::Shelf;
use crate::backoff::Bounds;
use crate::config::{Connection, Device};
use crate::device::ble::{CONSENT_CODE, CONSENT_USER, Collector};
use crate::device::catalogue::BleProfile;
use crate::device::memo::Blank;
use crate::device::session::{Context, Session};
use crate::device::settings::Settings;
use crate::device::{DeviceIndex, Part, Report, Settled};
use crate::envelope::keys::open_secret;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::Supervisor;
use crate::link::ble::pairing::Proofs;
use crate::link::ble::{Address, BleLink, Central, Demand, Handle};
use crate::link::gatt::Consent;
use crate::link::replay::ReplayLink;
use crate::link::serial::SerialLink;
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
    /// Turns true when the sessions shall end.
    pub stop: watch::Receiver<bool>,
    /// What every session had to say is on disk.
    pub drained: watch::Receiver<Stop>,
}

/// What makes the [`Context`] of one device's session, as often as it is needed.
#[derive(Clone)]
struct Maker {
    device: DeviceIndex,
    parts: BTreeMap<Part, DeviceIndex>,
    quiet: Option<Duration>,
    /// The device's name, where its driver may have something to remember.
    remembers: Option<String>,
    shared: Shared,
    tickets: Arc<AtomicU64>,
    settled: watch::Receiver<Settled>,
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
                Some(device) => Box::new(self.shared.notebooks.of(device)),
                None => Box::new(Blank),
            },
            stop: self.shared.stop.clone(),
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

/// Starts a session for every device that has a link of its own, and a central for every adapter that one of them names.
/// Gives the handles of the centrals, for the status.
pub fn start(
    supervisor: &mut Supervisor,
    devices: &[Device],
    settled: Vec<watch::Receiver<Settled>>,
    shared: &Shared,
    links: &Arc<dyn Links>,
) -> Vec<Handle> {
    let centrals = start_centrals(supervisor, devices, shared, links.as_ref());
    let ports: Arc<[PathBuf]> = devices.iter().filter_map(|device| port_of(device).cloned()).collect();
    for ((place, device), settled) in (0..).zip(devices).zip(settled) {
        let maker = Maker {
            device: DeviceIndex(place),
            parts: parts_of(devices, DeviceIndex(place)),
            quiet: match device.connection {
                Connection::Serial { .. } => device.rule.quiet,
                // A radio link that is up is a device that answers.
                Connection::Part { .. } | Connection::Ble { .. } => None,
            },
            remembers: remembers(&device.connection).then(|| device.rule.card.id.clone()),
            shared: shared.clone(),
            tickets: Arc::default(),
            settled,
        };
        match &device.connection {
            Connection::Serial { port, line, model, settings } => {
                let (port, settings, rate, model) = (port.clone(), settings.clone(), *line, *model);
                let ports = Arc::clone(&ports);
                supervisor.restarting("session", AFTER_PANIC, move || {
                    let link = SerialLink::new(port.clone(), rate, model.requests).among(Arc::clone(&ports));
                    Session::new(link, (model.driver)(&settings), maker.context()).run()
                });
            }
            // The session of the device behind whose port it is speaks for it.
            Connection::Part { .. } => {}
            Connection::Ble { profiles, settings, .. } if links.replay(device).is_some() => {
                let (profiles, links, device) = (profiles.clone(), Arc::clone(links), device.clone());
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
                });
            }
            Connection::Ble { address, adapter, profiles, settings, bond } => {
                let central = centrals.iter().find(|central| central.adapter() == adapter);
                let (Some(central), Ok(address)) = (central.cloned(), address.parse()) else {
                    // Cannot be: the configuration was validated and every adapter has its central.
                    tracing::error!(device = device.rule.card.id, "no session: a defect of this program");
                    continue;
                };
                // Without a rule for its bond its entry says `security = "open"`.
                let demand = bond.map_or(Demand::Open, |rule| Demand::Proven(rule, shared.proofs.clone()));
                let (profiles, settings) = (profiles.clone(), settings.clone());
                supervisor.restarting("session", AFTER_PANIC, move || {
                    let wanted = profiles.iter().flat_map(|profile| profile.subscribes).copied().collect();
                    let link = BleLink::new(central.clone(), address, wanted, demand.clone());
                    let driver = Box::new(collector(&profiles, &settings));
                    Session::new(link, driver, maker.context()).run()
                });
            }
        }
    }
    centrals
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

/// The listed parts of a device, each with its own place in the list.
fn parts_of(devices: &[Device], of: DeviceIndex) -> BTreeMap<Part, DeviceIndex> {
    let listed = (0..).map(DeviceIndex).zip(devices);
    let parts = listed.filter(|(_, device)| device.rule.behind == Some(of));
    parts
        .filter_map(|(place, device)| match device.connection {
            Connection::Part { part, .. } => Some((part, place)),
            Connection::Serial { .. } | Connection::Ble { .. } => None,
        })
        .collect()
}

/// One central for every adapter. It knows the listed addresses only, so it can connect to no other.
fn start_centrals(
    supervisor: &mut Supervisor,
    devices: &[Device],
    shared: &Shared,
    links: &dyn Links,
) -> Vec<Handle> {
    let mut adapters: BTreeMap<&str, Vec<Address>> = BTreeMap::new();
    for device in devices {
        if let Connection::Ble { address, adapter, .. } = &device.connection
            && let Ok(address) = address.parse()
            && links.replay(device).is_none()
        {
            adapters.entry(adapter).or_default().push(address);
        }
    }
    let mut handles = Vec::new();
    for (adapter, addresses) in adapters {
        let random = Box::new(SystemRandomness::new());
        let (central, handle) = Central::new(adapter, addresses, Arc::clone(&shared.clock), random);
        handles.push(handle);
        let mut drained = shared.drained.clone();
        supervisor.task("central", async move {
            tokio::select! {
                never = central.run() => match never {},
                // Not with the sessions: whoever hangs up waits until its central has seen that.
                _ = drained.wait_for(|stop| *stop != Stop::Run) => Ok(()),
            }
        });
    }
    handles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Identity;
    use crate::device::catalogue::{ble_profile, serial_models};
    use crate::policy::{DeviceCard, DeviceRule, Trust};

    fn device(behind: Option<u16>, part: Option<u8>) -> Device {
        let model = serial_models().first().copied().unwrap();
        let card = DeviceCard {
            id: String::new(),
            model: String::new(),
            pseudonym: String::new(),
            location: None,
            security: "serial",
        };
        let rule = DeviceRule {
            card,
            expects: Identity::default(),
            trust: Trust::LinkOnly,
            elements: Vec::new(),
            behind: behind.map(DeviceIndex),
            quiet: None,
        };
        let connection = match part {
            Some(part) => Connection::Part { model, part: Part(part) },
            None => Connection::Serial {
                port: "/dev/null".into(),
                line: model.line,
                model,
                settings: Settings::default(),
            },
        };
        Device { rule, asset: String::new(), location: None, connection }
    }

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

    #[test]
    fn each_rack_has_its_own_parts() {
        let devices = [
            device(None, None),
            device(None, None),
            device(Some(1), Some(3)),
            device(Some(1), Some(1)),
            device(None, None),
            device(Some(4), Some(3)),
        ];
        let parts =
            |of| parts_of(&devices, DeviceIndex(of)).into_iter().map(|(p, d)| (p.0, d.0)).collect::<Vec<_>>();
        assert_eq!(parts(0), []);
        assert_eq!(parts(1), [(1, 3), (3, 2)]);
        assert_eq!(parts(4), [(3, 5)]);
    }
}
