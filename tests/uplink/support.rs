//! What the uplink's tests have in common: data, a running uplink, a consumer.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinSet;
use wardline::backoff::{Bounds, Random};
use wardline::device::decimal::Decimal;
use wardline::device::nomenclature as n;
use wardline::device::observation::{Alarm, Kind, Lane, Observation, Phase, Priority, Value};
use wardline::envelope::block::BlockHeader;
use wardline::envelope::keys::KeyPlace;
use wardline::envelope::record::{Entry, Record};
use wardline::lab::consumer;
use wardline::lab::memory::{Ahead, MemoryStore};
use wardline::lab::pki::{Pair, Pki, Validity};
use wardline::lab::samples::measured;
use wardline::policy::DeviceCard;
use wardline::store::Seq;
use wardline::time::{BootId, Clock, ClockSync, Mono, Now, Wall};
use wardline::uplink::{
    self, Config, Payload, Post, PostOffice, Status, Stop, Subscriber, Surroundings, Vitals,
};

/// Nothing that a test waits for takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestClock {
    start: Instant,
    sync: ClockSync,
}

impl TestClock {
    #[expect(clippy::disallowed_methods, reason = "real brokers run on real time")]
    pub(crate) fn new(sync: ClockSync) -> Self {
        Self { start: Instant::now(), sync }
    }
}

impl Clock for TestClock {
    #[expect(clippy::disallowed_methods, reason = "real brokers run on real time")]
    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Now {
            mono: Mono::default() + self.start.elapsed() + Duration::from_secs(1_000),
            wall: Wall::from_millis(i64::try_from(wall.as_millis()).unwrap()),
            sync: self.sync,
            max_error_us: 100,
        }
    }
}

pub(crate) struct TestRandom(pub u64);

impl Random for TestRandom {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 16
    }
}

/// A ward: devices, a store, and the next number of each device.
pub(crate) struct Ward {
    pub(crate) store: MemoryStore,
    pub(crate) clock: Arc<TestClock>,
    header: Arc<BlockHeader>,
    seqs: Vec<u64>,
}

impl Ward {
    pub(crate) fn new(devices: usize, ahead: Ahead) -> Self {
        Self::with_clock(devices, ahead, ClockSync::Synced)
    }

    pub(crate) fn with_clock(devices: usize, ahead: Ahead, sync: ClockSync) -> Self {
        let cards = (0..devices).map(|number| DeviceCard {
            id: format!("dev-{number}"),
            model: "alaris-asena".to_owned(),
            pseudonym: format!("{number:032x}"),
            location: None,
            security: if number % 2 == 0 { "serial" } else { "bonded" },
        });
        let header = BlockHeader { boot: BootId([1; 16]), run: 77, devices: cards.collect() };
        Self {
            store: MemoryStore::new(ahead),
            clock: Arc::new(TestClock::new(sync)),
            header: Arc::new(header),
            seqs: vec![0; devices],
        }
    }

    /// Commits blocks of readings, one device after the other.
    pub(crate) fn read(&mut self, blocks: usize, records: usize) {
        for _ in 0..blocks {
            let entries = (0..records).map(|number| self.entry(number, false)).collect();
            self.store.append(Lane::Vital, &self.header, entries);
        }
    }

    /// Commits one alarm.
    pub(crate) fn alarm(&mut self) -> Seq {
        let entry = self.entry(0, true);
        self.store.append(Lane::Alarm, &self.header, vec![entry])
    }

    /// Records committed so far.
    pub(crate) fn total(&self) -> u64 {
        self.seqs.iter().sum()
    }

    fn entry(&mut self, number: usize, alarm: bool) -> Entry {
        let device = number % self.seqs.len();
        self.seqs[device] += 1;
        let seq = self.seqs[device];
        let number = Decimal::new(i64::try_from(seq).unwrap(), -2);
        let mut observation = measured(&n::FLOW_FLUID_PUMP, &n::MILLILITRE_PER_HOUR, Value::Decimal(number));
        if alarm {
            let alarm = Alarm {
                code: "AL_OCCLU".to_owned(),
                text: "occlusion".to_owned(),
                phase: Phase::Start,
                priority: Priority::High,
                is_silenced: false,
            };
            let value = Value::Alarm(alarm);
            observation = Observation {
                metric: &n::EVT_OCCL,
                unit: &n::DIMENSIONLESS,
                value,
                kind: Kind::Alarm,
                ..observation
            };
        }
        let device = u16::try_from(device).unwrap();
        Entry::Observation(Record { device, seq, at: self.clock.now(), observation })
    }
}

/// The PKI of a test: its folder goes with it.
pub(crate) struct Certificates {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) server: Pair,
    pub(crate) gateway: Pair,
    pub(crate) consumer: Pair,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let server = pki.server("server", &["localhost", "127.0.0.1"], Validity::Now).unwrap();
        let gateway = pki.client("gw-1", Validity::Now).unwrap();
        let consumer = pki.client("consumer", Validity::Now).unwrap();
        Self { folder, pki, server, gateway, consumer }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// [`config`](Self::config), and an answer that does not come is given up soon.
    pub(crate) fn impatient(&self, port: u16) -> Config {
        Config { stalled_after: Duration::from_millis(1_500), ..self.config(port) }
    }

    /// The configuration of an uplink that is quick to come back.
    pub(crate) fn config(&self, port: u16) -> Config {
        Config {
            host: "localhost".to_owned(),
            port,
            organisation: "north".to_owned(),
            group: "icu-2".to_owned(),
            gateway: "gw-1".to_owned(),
            authorities: self.pki.authorities(),
            certificate: self.gateway.certificate.clone(),
            key: KeyPlace::File(self.gateway.key.clone()),
            revocation: uplink::tls::Lists::default(),
            payload: Payload::Cbor,
            subscriber: Subscriber::Required,
            window: 50,
            keep_alive: Duration::from_secs(5),
            stalled_after: Duration::from_secs(10),
            heartbeat: Duration::from_secs(1),
            backoff: Bounds {
                first: Duration::from_millis(20),
                most: Duration::from_millis(200),
                healthy_after: Duration::from_secs(60),
            },
        }
    }

    pub(crate) fn consumer(&self, port: u16) -> consumer::Settings {
        consumer::Settings {
            host: "localhost".to_owned(),
            port,
            id: "consumer".to_owned(),
            authorities: self.pki.authorities(),
            certificate: self.consumer.certificate.clone(),
            key: self.consumer.key.clone(),
        }
    }
}

/// A running uplink.
pub(crate) struct Running {
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) handle: uplink::Handle,
    stop: watch::Sender<Stop>,
    tasks: JoinSet<()>,
}

impl Running {
    pub(crate) fn start(config: Config, ward: &Ward) -> Self {
        Self::start_with(config, ward, None)
    }

    pub(crate) fn start_with(config: Config, ward: &Ward, vitals: Option<Vitals>) -> Self {
        Self::start_from(config, ward, (vitals, None))
    }

    /// With the post.
    pub(crate) fn start_with_post(config: Config, ward: &Ward) -> (Self, PostOffice) {
        let (office, post) = uplink::post();
        (Self::start_from(config, ward, (None, Some(post))), office)
    }

    fn start_from(config: Config, ward: &Ward, (vitals, post): (Option<Vitals>, Option<Post>)) -> Self {
        let (status_in, status) = watch::channel(Status::default());
        let (stop, stop_out) = watch::channel(Stop::Run);
        let around = Surroundings {
            clock: Arc::clone(&ward.clock) as Arc<dyn Clock>,
            random: Box::new(TestRandom(7)),
            status: status_in,
            alive: Box::new(|_| {}),
            vitals,
            post,
            stop: stop_out,
        };
        let parts = uplink::assemble(config, ward.store.clone(), around).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn_blocking(move || parts.feeder.run());
        tasks.spawn(parts.connections.run());
        tasks.spawn(parts.driver.run());
        Self { status, handle: parts.handle, stop, tasks }
    }

    /// Waits until the status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        let found = tokio::time::timeout(PATIENCE, status.wait_for(|status| wanted(status))).await;
        match found {
            Ok(status) => status.unwrap().clone(),
            Err(late) => panic!("{what} not seen: {late}; status: {:#?}", *self.status.borrow()),
        }
    }

    /// Ends it in order, and checks that every part ends.
    pub(crate) async fn stop(mut self) -> Status {
        self.stop.send_replace(Stop::Finish { grace: Duration::from_secs(5) });
        let all = async { while self.tasks.join_next().await.transpose().unwrap().is_some() {} };
        tokio::time::timeout(PATIENCE, all).await.expect("the uplink ends");
        self.status.borrow().clone()
    }
}

/// Waits for something, with patience.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("not seen in {PATIENCE:?}: {what}");
    };
    value
}

/// Every record of the ward arrived, each once after de-duplication, in order, and is gone here.
pub(crate) async fn all_arrived(ward: &Ward, seen: &consumer::Shared) {
    let total = ward.total();
    let what = "all records at the consumer";
    let arrived = tokio::time::timeout(PATIENCE, seen.wait_for(|ledger| ledger.records >= total)).await;
    seen.with(|ledger| {
        assert!(arrived.is_ok(), "{what}: {} of {total}; {:?}", ledger.records, ledger.complaints);
        assert_eq!(ledger.records, total);
        assert_eq!(ledger.complaints, [""; 0]);
        assert_eq!((ledger.lost(), ledger.sum(|tally| tally.doubled)), (0, 0));
        assert_eq!(ledger.sum(|tally| tally.out_of_order), 0);
    });
    soon("everything acknowledged to the store", ward.store.drained()).await;
}
