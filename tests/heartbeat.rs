//! The heartbeat of the real daemon at a real mosquitto: the right heads, at once and at its pace, and a
//! consumer that notices when an older copy of the store was put back.
#![cfg(feature = "lab")]
#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "a test stands outside the daemon and its supervisor")]

#[expect(dead_code, reason = "shared with the tests of the uplink, which use all of it")]
#[path = "uplink/mosquitto.rs"]
mod mosquitto;
#[expect(dead_code, reason = "shared with the tests of the uplink, which use all of it")]
#[path = "uplink/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::task::JoinSet;
use wardline::device::observation::Lane;
use wardline::envelope::block::hex;
use wardline::envelope::keys::load_kek;
use wardline::lab::consumer;
use wardline::lab::heads::{Beat, Head};
use wardline::lab::ledger::Ledger;
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};
use wardline::store;
use wardline::time::{BootId, Now};

use mosquitto::Mosquitto;
use support::{Certificates, PATIENCE, soon};

/// Where the lab's gateway stands in the topics.
const PLACE: &str = "lab/ward-7/gw-lab";

/// A gateway with one oximeter, a mosquitto, and a consumer.
struct Bench {
    certificates: Certificates,
    broker: Mosquitto,
    seen: consumer::Shared,
    oximeter: Control<masimo::Values>,
    tasks: JoinSet<()>,
}

impl Bench {
    async fn new() -> Self {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let mut tasks = JoinSet::new();
        let setup = masimo::Setup {
            link: Some(certificates.path().join("spo2-1")),
            serial: "0000056661".to_owned(),
            baud: 1_000_000,
            cadence: masimo::Cadence::AtEachSet,
            ..masimo::Setup::default()
        };
        let (future, oximeter) = masimo::oximeter(setup, masimo::Values::default()).unwrap();
        tasks.spawn(async move { future.await.unwrap() });
        let devices = stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661");
        let folder = certificates.path().join("gateway");
        stage::configure(&folder, &certificates.pki, &certificates.gateway, broker.port, &devices).unwrap();
        let seen = consumer::Shared::default();
        tasks.spawn({
            let run = consumer::run(certificates.consumer(broker.port), seen.clone());
            async move { run.await.unwrap() }
        });
        soon("the consumer's subscription", seen.subscribed()).await;
        Self { certificates, broker, seen, oximeter, tasks }
    }

    fn folder(&self) -> PathBuf {
        self.certificates.path().join("gateway")
    }

    fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("run").env_remove("NOTIFY_SOCKET").env("WARDLINE_UPLINK__HEARTBEAT", "1s");
        Daemon::start(command, &self.folder()).unwrap()
    }

    /// Lets a reading arrive, so that the store has moved on.
    async fn read(&self, daemon: &Daemon) {
        let before = self.seen.with(|ledger| ledger.records);
        let mut bpm = 60;
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
        let feed = async {
            loop {
                ticks.tick().await;
                bpm = 60 + (bpm + 1) % 100;
                self.oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
            }
        };
        let arrived = self.seen.wait_for(|ledger| ledger.records > before);
        let arrived = async {
            tokio::select! { () = arrived => {}, () = feed => {} }
        };
        let in_time = tokio::time::timeout(PATIENCE, arrived).await.is_ok();
        assert!(in_time, "no reading arrived: {}", daemon.last_words());
    }

    async fn heard(&self, what: &str, condition: impl Fn(&Beat) -> bool) -> Beat {
        let condition = |ledger: &Ledger| newest(ledger).is_some_and(&condition);
        if tokio::time::timeout(PATIENCE, self.seen.wait_for(condition)).await.is_err() {
            let log = std::fs::read_to_string(self.folder().join("daemon.log")).unwrap();
            let said = self.seen.with(|ledger| format!("{:#?} {:?}", newest(ledger), ledger.complaints));
            panic!("not heard: {what}; {said}\n{log}");
        }
        self.seen.with(|ledger| newest(ledger).unwrap().clone())
    }

    async fn stop(&self, mut daemon: Daemon) -> Beat {
        let ended = daemon.stop(PATIENCE).await.unwrap();
        assert!(ended.success(), "{}", daemon.last_words());
        // What it said last.
        soon("the consumer to catch up", self.seen.caught_up()).await.unwrap();
        let last = self.seen.with(|ledger| newest(ledger).unwrap().clone());
        let folder = self.folder();
        let told: Vec<_> = last.lanes.iter().map(|lane| lane.newest.clone()).collect();
        assert_eq!(told, Lane::ALL.map(|lane| head(&folder, lane)));
        last
    }

    fn setbacks(&self) -> Vec<String> {
        self.seen.with(|ledger| {
            assert_eq!(ledger.complaints, [""; 0]);
            ledger.setbacks.clone()
        })
    }
}

fn newest(ledger: &Ledger) -> Option<&Beat> {
    ledger.gateways.get(PLACE)?.last.as_ref()
}

/// The newest head of a lane, by a look at a copy of the store itself.
fn head(folder: &Path, lane: Lane) -> Option<Head> {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&folder.join("store"), &copy.path().join("store"));
    let config = store::Config {
        folder: copy.path().join("store"),
        anchor: None,
        cap: 256 << 20,
        alarm_reserve: 16 << 20,
        linger: std::time::Duration::ZERO,
    };
    let random = Arc::new(ring::rand::SystemRandom::new());
    let kek = load_kek(&folder.join("kek")).unwrap();
    let (writer, ..) = store::open(&config, kek.into(), BootId([9; 16]), Now::default(), random).unwrap();
    writer.stats().head(lane).map(|(segment, head)| Head { segment, head: hex(&head) })
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &copy);
        } else {
            let _ = std::fs::copy(path, copy).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_heartbeat_tells_the_heads_of_the_store_and_is_kept_by_the_broker() {
    let mut bench = Bench::new().await;
    let daemon = bench.start();
    let first = bench.heard("a heartbeat at once", |_| true).await;
    assert_eq!((first.gateway.as_str(), first.key_protection.as_str()), ("gw-lab", "file"));
    assert_eq!(first.kek, load_kek(&bench.folder().join("kek")).unwrap().id().to_string());
    assert!(!first.rotation_pending && first.lanes.iter().all(|lane| lane.found.is_none()));
    bench.read(&daemon).await;
    let has_stored = |beat: &Beat| beat.lanes[1].newest.is_some() && beat.uplink.published > 0;
    let later = bench.heard("one with what was stored and sent", has_stored).await;
    assert_eq!((&later.run, &later.store.id), (&first.run, &first.store.id));
    assert!(later.uptime_ms > first.uptime_ms);
    bench.stop(daemon).await;

    // A run that is killed and one after it: nothing went backwards.
    let mut daemon = bench.start();
    let killed = bench.heard("the second run", |beat| beat.run != first.run).await;
    bench.read(&daemon).await;
    daemon.kill().unwrap();
    let daemon = bench.start();
    bench.heard("the third run", |beat| ![&first.run, &killed.run].contains(&&beat.run)).await;
    bench.read(&daemon).await;
    let last = bench.stop(daemon).await;
    assert_eq!(bench.setbacks(), [""; 0]);
    assert_eq!((last.store.faults, last.store.dropped), (0, 0), "{:?}", last.store);

    // Who comes later finds the newest at the broker.
    let late = consumer::Shared::default();
    let settings =
        consumer::Settings { id: "late".to_owned(), ..bench.certificates.consumer(bench.broker.port) };
    let run = consumer::run(settings, late.clone());
    bench.tasks.spawn(async move { run.await.unwrap() });
    soon("the kept heartbeat", late.wait_for(|ledger| newest(ledger).is_some())).await;
    late.with(|ledger| {
        assert_eq!(newest(ledger).unwrap().uptime_ms, last.uptime_ms);
        assert_eq!(ledger.complaints, [""; 0]);
    });
}

/// A run, a copy, another run, and the copy in the place of the store; with or without the mark that the
/// store keeps beside it.
async fn put_back(with_mark: bool) -> (Bench, Daemon) {
    let bench = Bench::new().await;
    let (store, copy) = (bench.folder().join("store"), bench.certificates.path().join("copy"));
    let mark = store::anchor_beside(&store);
    let daemon = bench.start();
    bench.read(&daemon).await;
    bench.stop(daemon).await;
    copy_folder(&store, &copy);
    let marked = std::fs::read(&mark).unwrap();
    let daemon = bench.start();
    bench.read(&daemon).await;
    bench.stop(daemon).await;
    assert_eq!(bench.setbacks(), [""; 0]);

    std::fs::remove_dir_all(&store).unwrap();
    copy_folder(&copy, &store);
    if with_mark {
        std::fs::write(&mark, marked).unwrap();
    }
    let daemon = bench.start();
    (bench, daemon)
}

/// The whole card was copied: on the gateway nothing is amiss.
#[tokio::test(flavor = "multi_thread")]
async fn a_card_put_back_to_an_older_copy_is_noticed_at_the_far_end() {
    let (bench, daemon) = put_back(true).await;
    let noticed = bench.seen.wait_for(|ledger| !ledger.setbacks.is_empty());
    if tokio::time::timeout(PATIENCE, noticed).await.is_err() {
        let said = bench.seen.with(|ledger| format!("{:#?}", newest(ledger)));
        panic!("{said} {}", daemon.last_words());
    }
    let setbacks = bench.setbacks();
    assert!(setbacks[0].starts_with(&format!("{PLACE}: lane vital: it found segment")), "{setbacks:?}");
}

/// The store's folder alone: the gateway notices it by itself, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_put_back_to_an_older_copy_is_told_of_in_the_heartbeat() {
    let (bench, _daemon) = put_back(false).await;
    let beat = bench.heard("the gateway's own word", |beat| beat.store.faults > 0).await;
    let words = beat.store.last_fault.unwrap();
    assert!(words.contains("put back to an earlier state"), "{words}");
}
