//! Takes stock: looks at the devices, keeps what it finds beside the store, holds it against the advisories, and
//! publishes it, signed with the key of the client certificate.
//!
//! ```text
//!  intake ──shown──▶ tracker ──▶ file beside the store
//!                       │ advisories (desk)
//!                       └──▶ inventory ──sign──▶ c/v1/{organisation}/gw/{gateway}/inventory
//! ```
//!
//! What can go wrong: the file is broken, then it is told and begun anew; the disk or the key says no, then it is
//! told and tried again. What never happens: the line from the devices to the store waits for any of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert as _;
use tokio::sync::watch;

use super::desk::Desk;
use super::inventory::{Looked, MAX_FILE, Sight, Tracker};
use super::pump::Shown;
use crate::config::{Config, InventoryLevel};
use crate::envelope::keys::{KeyPlace, Protection};
use crate::fleet::advisories::inventory::{Disclosure, Gateway, Inventory, KeyProtection};
use crate::fleet::advisories::library::Judged;
use crate::fleet::advisories::told::Told;
use crate::fleet::documents::inventory::{Inventoried, MAX_FINDINGS, MAX_TEXT, sealed};
use crate::fleet::documents::own::text;
use crate::fleet::documents::{Digest, Document as _, SCHEMA};
use crate::fleet::dsse::{base64, pae};
use crate::fleet::topics::{Topic, What};
use crate::host::supervisor::{Supervisor, blocking};
use crate::host::{atomic_file, machine};
use crate::time::{Clock, ClockSync, Mono, Now};
use crate::uplink::Stop;
use crate::uplink::post::{Notice, Notices};
use crate::uplink::tls;

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

/// Where the file stands: beside the store's folder, under the folder's name and `.inventory`.
pub fn file_beside(store: &Path) -> PathBuf {
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".inventory");
    store.with_file_name(name)
}

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
    /// Ends it.
    pub stop: watch::Receiver<Stop>,
}

/// Who the gateway is, and where its things are.
#[derive(Clone)]
struct Place {
    organisation: String,
    group: String,
    level: InventoryLevel,
    file: PathBuf,
    certificate: PathBuf,
    key: KeyPlace,
    gateway: Gateway,
}

/// Starts to take stock. Gives what the advisories say, as it changes.
pub fn start(
    supervisor: &mut Supervisor,
    config: &Config,
    protection: Protection,
    means: Means,
) -> watch::Receiver<Vec<Told>> {
    let (findings, shown) = watch::channel(Vec::new());
    let (uplink, level, file) = (config.uplink.clone(), config.inventory, file_beside(&config.store.folder));
    let id = uplink.gateway.clone();
    supervisor.task("inventory", async move {
        let Some((tracker, gateway)) = blocking(move || (read(&file), gateway(id, protection))).await else {
            return Err("reading what stands here panicked".to_owned());
        };
        let (file, tracker) = tracker;
        let place = Place {
            organisation: uplink.organisation,
            group: uplink.group,
            level,
            file,
            certificate: uplink.certificate,
            key: uplink.key,
            gateway,
        };
        Stock { place, tracker, findings, means, desk_seen: None, times: Times::at_start() }.run().await;
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
    /// Something is heard that the file does not say yet.
    is_heard: bool,
    /// The file or the broker does not have what was found, as it could not be written or signed.
    is_owed: [bool; 2],
}

/// One who takes stock.
struct Stock {
    place: Place,
    tracker: Tracker,
    findings: watch::Sender<Vec<Told>>,
    means: Means,
    /// The desk's state that was judged by.
    desk_seen: Option<u64>,
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
        let [owes_file, owes_broker] = self.times.is_owed;
        let is_old = self.times.is_heard && is_due(self.times.written, WRITE_EVERY, now);
        if looked.is_changed || owes_file || is_old {
            self.write(now).await;
        }
        let desk = self.means.desk.generation();
        let is_new = looked.is_changed || self.desk_seen != Some(desk);
        if is_new || owes_broker || is_due(self.times.told, TELL_EVERY, now) {
            self.desk_seen = Some(desk);
            self.tell(now).await;
        }
    }

    async fn write(&mut self, now: Now) {
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

    /// Judges, says what is new, and publishes.
    async fn tell(&mut self, now: Now) {
        self.times.told = Some(now.mono);
        let devices = self.tracker.devices();
        let known = (now.sync == ClockSync::Synced).then_some(now.wall);
        let (judged, advisories) = self.means.desk.judge(&devices, known);
        let told: Vec<Told> = judged.iter().filter_map(Told::of).collect();
        self.log(&told, &judged);
        self.findings.send_replace(told.clone());
        let Some(notices) = self.means.notices.clone().filter(|_| self.place.level != InventoryLevel::Off)
        else {
            return;
        };
        let disclosure = match self.place.level {
            InventoryLevel::Full => Disclosure::Plain,
            InventoryLevel::NoSerials | InventoryLevel::Off => Disclosure::Withheld,
        };
        let inventory = Inventory { gateway: self.place.gateway.clone(), devices };
        let document = Inventoried {
            schema: SCHEMA,
            organisation: self.place.organisation.clone(),
            group: self.place.group.clone(),
            inventory: inventory.publish(&disclosure, now.wall),
            more: 0,
            advisories,
            more_findings: u32::try_from(told.len().saturating_sub(MAX_FINDINGS)).unwrap_or(u32::MAX),
            findings: told.into_iter().take(MAX_FINDINGS).collect(),
            chain: Vec::new(),
        };
        let (certificate, key) = (self.place.certificate.clone(), self.place.key.clone());
        let signed = blocking(move || sign(document, &certificate, &key)).await;
        let error = match (signed, self.topic()) {
            (Some(Ok(payload)), Some(topic)) => {
                notices.notice(Notice { topic, payload: payload.into() });
                None
            }
            (Some(Err(error)), _) => Some(error),
            (None, _) => Some("signing it panicked".to_owned()),
            (_, None) => Some("the gateway has no topic".to_owned()),
        };
        if let (Some(error), false) = (&error, self.times.is_owed[1]) {
            tracing::warn!(error, "the inventory cannot be published: tried again");
        }
        self.times.is_owed[1] = error.is_some();
    }

    fn topic(&self) -> Option<String> {
        let what = What::Inventory { gateway: self.place.gateway.id.clone() };
        Topic::new(&self.place.organisation, what).map(|topic| topic.to_string())
    }

    /// What was not said before.
    fn log(&self, told: &[Told], judged: &[Judged]) {
        let before = self.findings.borrow();
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

/// The signed document, with the chain of the certificate that is there now: it is renewed every few weeks.
fn sign(mut document: Inventoried, certificate: &Path, key: &KeyPlace) -> Result<Vec<u8>, String> {
    let identity = tls::Identity::read(certificate, key).map_err(|error| error.to_string())?;
    let shown = identity.resolve(&[], &[]).ok_or("there is no certificate")?;
    document.chain = shown.cert.iter().map(|one| base64(one)).collect();
    let signer = shown
        .key
        .choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256])
        .ok_or("the certificate's key is no ECDSA P-256 key")?;
    let spki = shown.key.public_key().ok_or("the key does not say its public half")?;
    let payload = document.to_payload();
    let signature =
        signer.sign(&pae(Inventoried::PAYLOAD_TYPE, &payload)).map_err(|error| error.to_string())?;
    Ok(sealed(payload, &Digest::of(&spki).to_string(), signature))
}
