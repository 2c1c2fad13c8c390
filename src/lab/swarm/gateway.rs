//! One gateway of the swarm: the real configuration, folder, boot, member, post and uplink; simulated are the bedside
//! and what the daemon around them would be.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::watch;

use super::documents::{GROUP, ORGANISATION, PUMP};
use super::tally::{Tally, What};
use crate::backoff::Random;
use crate::config::{Catalogue, Config, Connection, Environment, Loaded, Problems, Pushed, load_with};
use crate::device::decimal::Decimal;
use crate::device::nomenclature as n;
use crate::device::observation::{Lane, Value};
use crate::envelope::block::BlockHeader;
use crate::envelope::keys::KeyPlace;
use crate::envelope::record::{Entry, Record};
use crate::fleet::advisories::desk::Desk;
use crate::fleet::documents::Stamp;
use crate::fleet::documents::reported::{Certificate, ReportKey, Spool};
use crate::fleet::dsse;
use crate::fleet::folder::Folder;
use crate::fleet::health::{DeviceVitals, Vitals};
use crate::fleet::member::boot::{Boot, Membership, boot};
use crate::fleet::member::run::{Gateway, Signed, Task, Who};
use crate::fleet::member::{About, Fault, Load, Signs, Told, View};
use crate::fleet::trust::Recipient;
use crate::host::clock::boot_id;
use crate::host::process;
use crate::host::supervisor::Supervisor;
use crate::lab::memory::{Ahead, MemoryStore};
use crate::lab::pki::Pair;
use crate::lab::samples::measured;
use crate::policy::DeviceCard;
use crate::policy::event::Event;
use crate::time::{Clock, Mono, Now};
use crate::uplink::heartbeat::{self, Heartbeat};
use crate::uplink::tls::Witness;
use crate::uplink::{self, PostOffice, State, Status, Stop, Surroundings};

/// How often a pump is heard.
const BEAT: Duration = Duration::from_secs(1);

/// What all gateways have in common.
pub(super) struct Ward {
    /// The folder of the configuration's files.
    pub(super) files: PathBuf,
    /// Where each has its folder.
    pub(super) folders: PathBuf,
    pub(super) root: Vec<u8>,
    pub(super) gateways: usize,
    pub(super) seed: u64,
    /// How often each sends a reading.
    pub(super) reading: Duration,
    pub(super) tally: Tally,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) stop: watch::Receiver<Stop>,
}

/// What the swarm sees of a gateway that runs.
pub(super) struct Running {
    pub(super) view: watch::Receiver<View>,
    pub(super) bedside: Arc<Mutex<Bedside>>,
}

/// Its pump, at the end of a line.
#[derive(Default)]
pub(super) struct Bedside {
    listed: usize,
    /// Since when it is understood.
    since: Option<Mono>,
    /// When it was understood last, if it is not now.
    until: Option<Mono>,
}

impl Bedside {
    /// The line is opened as the configuration says. It is understood when that is as the driver wants it, and as the
    /// pump is set.
    fn connect(&mut self, config: &Config, now: Mono) {
        self.listed = config.devices.len();
        let is_right = config.devices.iter().any(|device| match &device.connection {
            Connection::Serial { line, model, .. } => *line == model.line,
            Connection::Part { .. } | Connection::Ble { .. } => false,
        });
        if is_right {
            self.since.get_or_insert(now);
        } else if self.since.take().is_some() {
            self.until = Some(now);
        }
    }

    /// Whether the pump is understood.
    pub(super) const fn speaks(&self) -> bool {
        self.since.is_some()
    }

    fn vitals(&self, now: Mono) -> Option<DeviceVitals> {
        let beat = u64::try_from(BEAT.as_nanos()).unwrap_or(1).max(1);
        let since_reading = match (self.since, self.until) {
            (Some(since), _) => {
                let speaks_for = u64::try_from(now.since(since).as_nanos()).unwrap_or(0);
                (speaks_for >= beat).then(|| Duration::from_nanos(speaks_for % beat))
            }
            (None, until) => until.map(|until| now.since(until)),
        };
        (self.listed > 0).then(|| DeviceVitals {
            id: PUMP.to_owned(),
            since_reading,
            quiet: Duration::from_secs(5),
        })
    }
}

/// Jitter that is the same on every run with this seed.
struct Dice(u64);

impl Random for Dice {
    /// `SplitMix64` (Steele, Lea, Flood 2014).
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// What a gateway is called.
pub(super) fn name(number: usize) -> String {
    format!("gw-{number:04}")
}

/// Starts one, within a runtime.
pub(super) fn start(
    ward: &Ward,
    number: usize,
    pair: &Pair,
    supervisor: &mut Supervisor,
) -> anyhow::Result<Running> {
    let recipient = Recipient { organisation: ORGANISATION.to_owned(), gateway: name(number) };
    let folder = ward.folders.join(name(number));
    Folder::enrol(&folder, recipient.clone(), GROUP.to_owned(), &ward.root)?;
    let load = loader(ward, number, pair);
    let Boot { loaded, membership, remarks } =
        boot(&folder, recipient, |pushed| load(pushed)).map_err(|problems| anyhow::anyhow!("{problems}"))?;
    anyhow::ensure!(remarks.is_empty(), "{}: {}", name(number), remarks.join("; "));
    let Membership::Member(enrolled) = membership else {
        anyhow::bail!("{} does not take anything from its fleet", name(number));
    };
    let config = loaded.config;
    let store = MemoryStore::new(Ahead::Yes);
    let (office, post) = uplink::post();
    let (sender, status) = watch::channel(Status::default());
    let seed = ward.seed ^ u64::try_from(number).unwrap_or(0).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let around = Surroundings {
        clock: Arc::clone(&ward.clock),
        random: Box::new(Dice(seed)),
        status: sender,
        alive: Box::new(|_| {}),
        vitals: Some(beats(number)),
        post: Some(post),
        stop: ward.stop.clone(),
    };
    let parts = uplink::assemble(config.uplink.clone(), store.clone(), around)?;
    supervisor.thread("feeder", move || {
        parts.feeder.run();
        Ok(())
    })?;
    supervisor.task("connections", async move {
        parts.connections.run().await;
        Ok(())
    });
    supervisor.task("uplink", async move {
        parts.driver.run().await;
        Ok(())
    });
    let bedside = Arc::new(Mutex::new(Bedside::default()));
    lock(&bedside).connect(&config, ward.clock.now().mono);
    let (shown, view) = watch::channel(View::default());
    let daemon = Daemon {
        number,
        of: ward.gateways,
        config,
        bedside: Arc::clone(&bedside),
        store: store.clone(),
        uplink: parts.handle,
        status: status.clone(),
        witness: Witnessed::read(pair)?,
        tally: ward.tally.clone(),
        clock: Arc::clone(&ward.clock),
    };
    let member = enrolled.into_member(load, None, Desk::default(), &ward.clock.now());
    member_task(supervisor, daemon, (office, shown), Who::Member(Box::new(member)));
    let tally = ward.tally.clone();
    supervisor.task("watch", watch_uplink(number, status, tally));
    let patient = Patient { store, bedside: Arc::clone(&bedside), clock: Arc::clone(&ward.clock) };
    supervisor.task("bedside", patient.read(ward.reading, Dice(seed.rotate_left(32))));
    Ok(Running { view, bedside })
}

fn member_task(
    supervisor: &mut Supervisor,
    gateway: Daemon,
    (office, view): (PostOffice, watch::Sender<View>),
    who: Who,
) {
    let clock = Arc::clone(&gateway.clock);
    supervisor.task("member", async move {
        Task { gateway, office, clock, view }.run(who).await;
        Ok(())
    });
}

/// Loads the common files, with what this one has of its own.
fn loader(ward: &Ward, number: usize, pair: &Pair) -> Load {
    let shown = |path: &Path| path.display().to_string();
    let own = [
        ("WARDLINE_GATEWAY__ID", name(number)),
        ("WARDLINE_UPLINK__CERTIFICATE", shown(&pair.certificate)),
        ("WARDLINE_UPLINK__KEY", shown(&pair.key)),
        ("WARDLINE_FLEET__FOLDER", shown(&ward.folders.join(name(number)))),
    ];
    let environment = Environment::new(own.map(|(name, value)| (name.into(), value.into())));
    let files = ward.files.clone();
    let catalogue = Catalogue::shipped();
    Arc::new(move |pushed: Option<&Pushed>| -> Result<Loaded, Problems> {
        load_with(&files, &environment, &catalogue, pushed)
    })
}

/// Notes when its connection comes and goes.
async fn watch_uplink(
    number: usize,
    mut status: watch::Receiver<Status>,
    tally: Tally,
) -> Result<(), String> {
    let (mut connections, mut waits) = (0, 0);
    while status.changed().await.is_ok() {
        let (state, count) = {
            let status = status.borrow_and_update();
            (status.state, status.connections)
        };
        // Counted, not seen: what comes and goes at once is not passed over.
        if count != connections {
            connections = count;
            tally.note(number, What::Online);
        }
        match state {
            State::Waiting { failures, .. } => {
                if failures != waits {
                    waits = failures;
                    tally.note(number, What::Waits(failures));
                }
            }
            State::Online => waits = 0,
            State::Starting | State::Connecting | State::Stopped => {}
        }
    }
    std::future::pending().await
}

/// A heartbeat of the size of a real one's.
fn beats(number: usize) -> uplink::Vitals {
    let id = name(number);
    let boot = crate::envelope::block::hex(&boot_id().0);
    Box::new(move |now: Now| {
        let head = |segment| heartbeat::Head { segment, head: "0".repeat(64) };
        let lane = |lane| heartbeat::Lane {
            lane,
            newest: Some(head(12)),
            found: Some(head(1)),
            blocks: 1,
            records: 1,
            bytes: 1_024,
            oldest_age_ms: Some(250),
        };
        Heartbeat {
            schema: heartbeat::SCHEMA,
            gateway: id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            boot: boot.clone(),
            run: "0".repeat(16),
            uptime_ms: now.mono.as_nanos() / 1_000_000,
            time: now.wall.to_string(),
            time_synced: true,
            time_max_error_us: now.max_error_us,
            key_protection: "file",
            kek: "0".repeat(16),
            rotation_pending: false,
            certificate: None,
            store: heartbeat::Store { id: "0".repeat(32), cap: 1 << 32, ..heartbeat::Store::default() },
            lanes: ["alarm", "vital", "bulk"].map(lane).to_vec(),
            uplink: heartbeat::Counters::default(),
        }
    })
}

/// The pump's readings, now and then.
struct Patient {
    store: MemoryStore,
    bedside: Arc<Mutex<Bedside>>,
    clock: Arc<dyn Clock>,
}

impl Patient {
    async fn read(self, every: Duration, mut dice: Dice) -> Result<(), String> {
        let card = DeviceCard {
            id: PUMP.to_owned(),
            model: "alaris-asena".to_owned(),
            pseudonym: "0".repeat(32),
            location: None,
            security: "serial",
        };
        let header = Arc::new(BlockHeader { boot: boot_id(), run: dice.next_u64(), devices: vec![card] });
        let mut seq = 0;
        loop {
            // Evenly around what is wanted, so that they do not all speak at once.
            let millis = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(2);
            tokio::time::sleep(Duration::from_millis(millis / 2 + dice.next_u64() % millis)).await;
            if !lock(&self.bedside).speaks() {
                continue;
            }
            seq += 1;
            let value = Value::Decimal(Decimal::new(i64::try_from(seq % 1_000).unwrap_or(0), -1));
            let observation = measured(&n::FLOW_FLUID_PUMP, &n::MILLILITRE_PER_HOUR, value);
            let record = Record { device: 0, seq, at: self.clock.now(), observation };
            self.store.append(Lane::Vital, &header, vec![Entry::Observation(record)]);
        }
    }
}

/// Its certificate, and the key that signs reports.
struct Witnessed {
    witness: Witness,
    key: String,
}

impl Witnessed {
    fn read(pair: &Pair) -> anyhow::Result<Arc<Self>> {
        let witness = Witness::read(&pair.certificate, &KeyPlace::File(pair.key.clone()))?;
        let own = witness.chain().first().context("a certificate file without a certificate")?;
        let key = ReportKey::of_certificate(own)?.id().to_owned();
        Ok(Arc::new(Self { witness, key }))
    }
}

/// What the member sees of its gateway.
struct Daemon {
    number: usize,
    of: usize,
    config: Config,
    bedside: Arc<Mutex<Bedside>>,
    store: MemoryStore,
    uplink: uplink::Handle,
    status: watch::Receiver<Status>,
    witness: Arc<Witnessed>,
    tally: Tally,
    clock: Arc<dyn Clock>,
}

impl Gateway for Daemon {
    async fn apply(&mut self, config: Config, is_way_back: bool) -> Result<(), Fault> {
        if config.uplink != self.config.uplink {
            let changed = self.uplink.change(config.uplink.clone()).await;
            changed.map_err(|why| if is_way_back { Fault::Gateway(why) } else { Fault::Bundle(why) })?;
        }
        lock(&self.bedside).connect(&config, self.clock.now().mono);
        self.config = config;
        Ok(())
    }

    fn signs(&mut self, now: &Now) -> Signs {
        let (is_up, taken, read, store_trouble, days) = {
            let status = self.status.borrow();
            let records: u64 = status.lanes.values().map(|lane| lane.acknowledged).sum();
            let taken = records.saturating_add(status.heartbeats);
            (
                status.state == State::Online,
                taken,
                status.lanes.values().map(|lane| lane.published).sum(),
                status.store_trouble.is_some(),
                status.certificate_days_left,
            )
        };
        let devices: Vec<DeviceVitals> = lock(&self.bedside).vitals(now.mono).into_iter().collect();
        let vitals = Vitals {
            is_uplink_up: is_up,
            was_uplink_up: is_up,
            is_authorised: true,
            taken,
            // A store in memory: what was read of it was in it.
            kept: read,
            read,
            is_store_sound: !store_trouble,
            devices,
            decoded: taken,
            undecoded: 0,
            // All of them are one process.
            memory: process::resident().unwrap_or(0) / u64::try_from(self.of).unwrap_or(1).max(1),
            is_alive: true,
            is_certificate_good: days.is_none_or(|days| days >= 0),
        };
        Signs { vitals, is_alarm_active: Some(false) }
    }

    async fn about(&mut self, now: &Now) -> About {
        let witness = &self.witness.witness;
        let certificate = Certificate {
            not_after: Stamp(witness.not_after()),
            key_protection: "file".to_owned(),
            chain: witness.chain().iter().map(|der| dsse::base64(der)).collect(),
        };
        let (listed, is_silent) = {
            let bedside = lock(&self.bedside);
            let vitals = bedside.vitals(now.mono);
            let is_silent = |pump: DeviceVitals| pump.since_reading.is_none_or(|ago| ago > pump.quiet);
            (bedside.listed, vitals.is_some_and(is_silent))
        };
        About {
            boot: crate::envelope::block::hex(&boot_id().0),
            group: GROUP.to_owned(),
            certificate: Some(certificate),
            spool: Spool { records: u64::try_from(self.store.waiting()).unwrap_or(0), oldest: None },
            listed,
            silent: is_silent.then(|| PUMP.to_owned()).into_iter().collect(),
            health: Vec::new(),
        }
    }

    async fn sign(&mut self, message: Vec<u8>) -> Option<Signed> {
        let signature = self.witness.witness.sign(&message)?;
        Some(Signed { key: self.witness.key.clone(), signature })
    }

    fn tell(&mut self, told: &Told) {
        self.tally.note(self.number, What::Told(told.clone()));
    }

    /// The store of the swarm holds readings only.
    fn raise(&mut self, _: &Event) -> bool {
        true
    }
}

/// Nothing that is done under it can panic half way.
pub(super) fn lock(bedside: &Mutex<Bedside>) -> MutexGuard<'_, Bedside> {
    bedside.lock().unwrap_or_else(PoisonError::into_inner)
}
