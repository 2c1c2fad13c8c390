//! Records that a device keeps, from the real session over btleplug to a double of `org.bluez`: neither lost nor
//! doubled, whatever is cut and whenever the daemon is killed.
//!
//! btleplug finds the bus by an environment variable, which has to be there before the process
//! starts: every test runs itself again as a process of its own on a bus of its own.

#![cfg(all(target_os = "linux", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use wardline::backoff::{Bounds, Random};
use wardline::device::ble::Collector;
use wardline::device::catalogue::{BleProfile, ble_profile};
use wardline::device::observation::{Observation, Quality, Value};
use wardline::device::session::{Context, Inheritance, Session};
use wardline::device::settings::Settings;
use wardline::device::{DeviceIndex, Fault, Report, ReportBody, Settled, Ticket};
use wardline::gateway::notebook::Shelf;
use wardline::host::clock::SystemClock;
use wardline::host::random::SystemRandomness;
use wardline::lab::bluez::{Bluez, Bus, GlucoseMeter, Stored, StoredOximeter, Trouble};
use wardline::link::ble::{Address, BleLink, Central, Demand, Handle};
use wardline::store::StoreId;

const METER: &str = "F3:00:00:00:00:03";
const OXIMETER: &str = "F4:00:00:00:00:04";

/// Nothing here takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tests that run in a process and on a bus of their own.
macro_rules! on_a_private_bus {
    ($($(#[$attribute:meta])* async fn $name:ident($ward:ident: Ward) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                #[allow(unused_mut, reason = "not every story changes its ward")]
                async fn scenario(mut $ward: Ward) $body
                run(stringify!($name), scenario);
            }
        )*
    };
}

/// The environment of a child: says that it is one.
const CHILD: &str = "WARDLINE_TEST_RECORDS_CHILD";

/// Runs the test of this name again, as a child with a private bus; or, as that child, the scenario.
fn run<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(Ward) -> F) {
    if let Some(address) =
        std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").filter(|_| std::env::var_os(CHILD).is_some())
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bluez = Bluez::start(address.to_str().unwrap()).unwrap();
        return runtime.block_on(async {
            tokio::time::timeout(PATIENCE * 4, scenario(Ward::new(bluez))).await.expect("the scenario hangs");
        });
    }
    let bus = Bus::start().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env(CHILD, "yes")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ran = out.contains("1 passed");
    assert!(output.status.success() && ran, "{name} failed in its own process:\n{out}\n{err}");
}

/// Numbers that only look random: a test that fails, fails again.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next_u64() >> 33).unwrap() % bound
    }
}

impl Random for Draw {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0
    }
}

/// What makes an observation the same as another, as the consumer of the module's documentation sees it.
type Key = (u32, Option<u32>, String, Option<i16>, String);

fn key(said: &Observation) -> Key {
    let time = said.device_time.map(|time| time.to_string()).unwrap_or_default();
    let offset = said.device_time.and_then(|time| time.offset);
    let value = match &said.value {
        Value::Decimal(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        other @ (Value::Absent(_) | Value::Bits(_) | Value::Alarm(_) | Value::Samples(_)) => {
            format!("{other:?}")
        }
    };
    (said.metric.code, said.record, time, offset, value)
}

/// A gateway in small: a session, a store in memory, and notebooks on disk.
struct Ward {
    bluez: Bluez,
    central: Handle,
    folder: tempfile::TempDir,
    /// What is on durable storage, in order: outlives every run.
    durable: Vec<Observation>,
    faults: Vec<Fault>,
    running: Option<Running>,
}

/// One run of the daemon.
struct Running {
    session: JoinHandle<()>,
    reports: mpsc::Receiver<Report>,
    settled: watch::Sender<Settled>,
    /// Taken, and not durable yet: lost with the run.
    pending: Vec<(Ticket, Observation)>,
    /// Everything that was given in this run.
    given: BTreeSet<Key>,
    downs: usize,
    stop: watch::Sender<bool>,
}

impl Ward {
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    fn new(bluez: Bluez) -> Self {
        let (central, handle) = Central::new(
            "hci0",
            [METER, OXIMETER].map(address),
            Arc::new(SystemClock::default()),
            Box::new(SystemRandomness::new()),
        );
        tokio::spawn(central.run());
        let folder = tempfile::tempdir().unwrap();
        Self { bluez, central: handle, folder, durable: Vec::new(), faults: Vec::new(), running: None }
    }

    fn with_meter(&self, records: Vec<Stored>) {
        self.bluez.add(GlucoseMeter::emulated(METER, "SN-3"));
        self.bluez.keep(METER, true, records);
    }

    fn start(&mut self, profile: &str, device: &str) {
        self.start_with(profile, device, "never");
    }

    /// Starts the daemon, with what it remembers.
    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    fn start_with(&mut self, profile: &str, device: &str, deletes: &str) {
        let row: &'static BleProfile = ble_profile(profile).unwrap();
        let mut settings = Settings::defaults(row.settings());
        if let Some(setting) = row.settings().first() {
            settings.set_word(setting, deletes).unwrap();
        }
        let (reports_in, reports) = mpsc::channel(16);
        let (settled, settled_out) = watch::channel(Settled::default());
        let (stop_in, stop) = watch::channel(false);
        let moment = Duration::from_millis(1);
        let context = Context {
            device: DeviceIndex(0),
            parts: BTreeMap::new(),
            clock: Arc::new(SystemClock::default()),
            random: Box::new(Draw(1)),
            backoff: Bounds { first: moment, most: moment, healthy_after: PATIENCE },
            patience: PATIENCE,
            quiet: None,
            reports: reports_in,
            tickets: Arc::default(),
            settled: settled_out,
            notebook: Box::new(
                Shelf::new(self.folder.path().join("spool.records"), StoreId([1; 16])).of(device),
            ),
            stop,
            lost: Box::new(|| {}),
            told: Inheritance::default(),
        };
        let wanted = row.subscribes.to_vec();
        let link = BleLink::new(self.central.clone(), address(device_address(device)), wanted, Demand::Open);
        let session = Session::new(link, Box::new(Collector::with(vec![row], &settings)), context);
        let (pending, given) = (Vec::new(), BTreeSet::new());
        self.running = Some(Running {
            session: tokio::spawn(session.run()),
            reports,
            settled,
            pending,
            given,
            downs: 0,
            stop: stop_in,
        });
    }

    /// The daemon is killed: what was not durable is gone.
    async fn kill(&mut self, device: &str) {
        let running = self.running.take().unwrap();
        running.session.abort();
        let _ = running.session.await;
        self.bluez.drop_connection(device_address(device)).unwrap();
    }

    /// The daemon is told to stop: what it says last still becomes durable.
    async fn stop(&mut self, device: &str) {
        self.running().stop.send(true).unwrap();
        while !self.running().session.is_finished() {
            let next = tokio::time::timeout(Duration::from_millis(5), self.running().reports.recv()).await;
            match next {
                Ok(Some(report)) => self.note(report.body),
                Ok(None) => break,
                Err(_) => {}
            }
            self.commit();
        }
        self.running = None;
        let _ = self.bluez.drop_connection(device_address(device));
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().unwrap()
    }

    /// Takes one report.
    async fn take(&mut self) {
        let report = tokio::time::timeout(PATIENCE, self.running().reports.recv()).await;
        self.note(report.expect("waited in vain for a report").unwrap().body);
    }

    fn note(&mut self, body: ReportBody) {
        let running = self.running.as_mut().unwrap();
        match body {
            ReportBody::Observation(ticket, said) => {
                assert!(running.given.insert(key(&said)), "given twice in one run: {said:?}");
                running.pending.push((ticket, said));
            }
            ReportBody::Fault(fault) => self.faults.push(fault),
            ReportBody::Down(_) => running.downs += 1,
            ReportBody::Up
            | ReportBody::Identity(_)
            | ReportBody::Insecure
            | ReportBody::Commit
            | ReportBody::Pin(..)
            | ReportBody::Unlisted(_) => {}
        }
    }

    /// Commits what was taken.
    fn commit(&mut self) {
        let Running { pending, settled, .. } = self.running.as_mut().unwrap();
        let Some((through, _)) = pending.last() else { return };
        let through = *through;
        self.durable.extend(pending.drain(..).map(|(_, said)| said));
        settled.send_modify(|settled| settled.through = through);
    }

    /// Takes and commits until so much is durable.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let story = async {
            while !is_so(self) {
                self.take().await;
                self.commit();
            }
        };
        tokio::time::timeout(PATIENCE * 2, story)
            .await
            .unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }

    fn numbers(&self) -> BTreeSet<u32> {
        self.durable.iter().filter_map(|said| said.record).collect()
    }

    /// What a consumer has after it has dropped what it knows.
    fn distinct(&self) -> BTreeMap<Key, usize> {
        let mut distinct = BTreeMap::new();
        for said in &self.durable {
            *distinct.entry(key(said)).or_default() += 1;
        }
        distinct
    }

    async fn reports_asked(&self, device: &str, count: usize) {
        let is_so = |_: &wardline::lab::bluez::World| true;
        while self.bluez.reports(device_address(device)).0 < count {
            self.bluez.until("another procedure", is_so).await.unwrap();
            tokio::task::yield_now().await;
        }
    }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn device_address(device: &str) -> &'static str {
    if device == "meter" { METER } else { OXIMETER }
}

/// Records of a meter: one every ten minutes.
fn records(numbers: impl IntoIterator<Item = u16>, first_minute: u32) -> Vec<Stored> {
    let made = numbers.into_iter().zip(0u16..);
    made.map(|(number, place)| {
        GlucoseMeter::record(number, first_minute + 10 * u32::from(place), 60 + place % 300)
    })
    .collect()
}

/// How many observations these records are: a value, its location, and a meal with every third.
fn observations(records: &[Stored]) -> usize {
    records.iter().map(|record| record.values.len() + 1).sum()
}

on_a_private_bus! {
    async fn every_record_of_a_meter_comes_once(ward: Ward) {
        let kept = records(1..=40, 0);
        ward.with_meter(kept.clone());
        ward.start("glucose", "meter");
        ward.until("all are durable", |ward| ward.durable.len() == observations(&kept)).await;
        assert!(ward.distinct().values().all(|times| *times == 1));
        assert!(ward.durable.iter().all(|said| said.quality.has(Quality::STORED) && said.device_time.is_some()));
        let order: Vec<u32> = ward.durable.iter().filter_map(|said| said.record).collect();
        assert!(order.is_sorted(), "in the device's own order");
        assert!(ward.faults.is_empty(), "{:?}", ward.faults);
    }

    async fn cut_at_random_and_killed_at_random_no_record_is_lost_and_none_is_doubled(ward: Ward) {
        let kept = records(1..=200, 0);
        ward.with_meter(kept.clone());
        #[expect(clippy::disallowed_methods, reason = "another seed for a test")]
        let seed = std::env::var("WARDLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let mut draw = Draw(seed.unwrap_or(20_261_122));
        let mut kills = 0;
        ward.start("glucose", "meter");
        ward.bluez.trouble(METER, Trouble::CutAfter(7));
        while ward.numbers().len() < 200 {
            ward.take().await;
            if draw.below(5) == 0 {
                ward.commit();
            }
            if ward.running().downs > 0 {
                ward.running().downs = 0;
                ward.bluez.end_troubles(METER);
                ward.bluez.trouble(METER, Trouble::CutAfter(3 + draw.below(25)));
            }
            if draw.below(25) == 0 {
                kills += 1;
                ward.kill("meter").await;
                ward.bluez.end_troubles(METER);
                ward.bluez.trouble(METER, Trouble::CutAfter(3 + draw.below(25)));
                ward.start("glucose", "meter");
            }
        }
        ward.bluez.end_troubles(METER);
        ward.until("all are durable", |ward| ward.distinct().len() == observations(&kept)).await;
        let (asked, all) = ward.bluez.reports(METER);
        let doubled = ward.durable.len() - ward.distinct().len();
        println!("{kills} kills, {asked} procedures, {all} of them for all, {doubled} observations twice");
        assert!(kills >= 4 && asked >= 12, "{kills} kills and {asked} procedures are no test");
        assert!(all <= kills + 3, "it goes on behind what is durable: {all} of {asked} asked for all");
    }

    async fn after_a_restart_only_what_is_new_is_given(ward: Ward) {
        let kept = records(1..=30, 0);
        ward.with_meter(kept.clone());
        ward.start("glucose", "meter");
        ward.until("all are durable", |ward| ward.durable.len() == observations(&kept)).await;
        // The end of the transfer is told, then remembered: the mark stands at the last record.
        let file = ward.folder.path().join("spool.records/meter.memo");
        // Of the glucose service: flags, then the number of the last record.
        let is_last = |entry: &[u8]| matches!(entry, [0x08, 0x18, _, 30, 0, 0, 0]);
        let marked = |file: &std::path::Path| std::fs::read(file).is_ok_and(|memo| memo.windows(7).any(is_last));
        tokio::time::timeout(PATIENCE, async {
            while !marked(&file) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the last record is remembered");
        ward.kill("meter").await;
        let before = ward.bluez.reports(METER);
        ward.bluez.change_records(METER, |kept| kept.extend(records(31..=32, 300)));
        ward.start("glucose", "meter");
        ward.until("the new ones are there", |ward| ward.numbers().contains(&32)).await;
        ward.until("all of them", |ward| ward.distinct().len() == observations(&kept) + 4).await;
        assert_eq!(ward.durable.len(), observations(&kept) + 4, "nothing of what was known");
        assert_eq!(ward.bluez.reports(METER), (before.0 + 1, before.1), "asked from the mark on, once");
    }

    async fn stopped_right_after_the_last_record_it_gives_none_again(ward: Ward) {
        let kept = records(1..=30, 0);
        ward.with_meter(kept.clone());
        ward.start("glucose", "meter");
        ward.until("all are there", |ward| ward.durable.len() == observations(&kept)).await;
        ward.stop("meter").await;
        ward.bluez.change_records(METER, |kept| kept.extend(records(31..=32, 300)));
        ward.start("glucose", "meter");
        ward.until("the new ones are there", |ward| ward.distinct().len() == observations(&kept) + 4).await;
        assert!(ward.distinct().values().all(|times| *times == 1), "the last record came again");
    }

    async fn a_meter_that_was_reset_and_counts_anew_gives_everything(ward: Ward) {
        let before = records(1..=10, 0);
        ward.with_meter(before.clone());
        ward.start("glucose", "meter");
        ward.until("all are durable", |ward| ward.durable.len() == observations(&before)).await;
        ward.kill("meter").await;
        // More than before, so that the numbers go past the mark.
        let anew = records(1..=15, 5_000);
        ward.bluez.change_records(METER, |kept| *kept = anew.clone());
        ward.start("glucose", "meter");
        let all = observations(&before) + observations(&anew);
        ward.until("both are there", |ward| ward.distinct().len() == all).await;
    }

    async fn numbers_that_begin_anew_behind_the_greatest_are_followed(ward: Ward) {
        ward.with_meter(records(65_530..=65_533, 0));
        ward.start("glucose", "meter");
        ward.until("the first are durable", |ward| ward.numbers().len() == 4).await;
        ward.bluez.change_records(METER, |kept| kept.extend(records([65_534, 65_535, 0, 1, 2], 40)));
        ward.bluez.drop_connection(METER).unwrap();
        ward.until("all are durable", |ward| ward.numbers().len() == 9).await;
        assert!(ward.distinct().values().all(|times| *times == 1));
        ward.bluez.change_records(METER, |kept| kept.extend(records([3], 90)));
        ward.bluez.drop_connection(METER).unwrap();
        ward.until("the next is durable", |ward| ward.numbers().contains(&3)).await;
    }

    async fn every_trouble_is_got_over_and_every_record_comes_once(ward: Ward) {
        for (place, trouble) in (0u16..).zip([
            Trouble::InProgress,
            Trouble::NotSubscribed,
            Trouble::ResponseEarly(1),
            Trouble::ResponseEarly(6),
            Trouble::Twice,
            Trouble::NotCompleted(3),
            Trouble::CutAfter(0),
            Trouble::OnlyAll,
        ]) {
            let first = 1 + place * 10;
            if place == 0 {
                ward.with_meter(Vec::new());
            } else {
                ward.bluez.drop_connection(METER).unwrap();
            }
            ward.bluez.end_troubles(METER);
            ward.bluez.trouble(METER, trouble);
            ward.bluez.change_records(METER, |kept| kept.extend(records(first..first + 10, u32::from(first) * 10)));
            if place == 0 {
                ward.start("glucose", "meter");
            }
            let expected = observations(&ward.bluez.records(METER));
            ward.until(&format!("it gets over {trouble:?}"), |ward| ward.durable.len() == expected).await;
        }
        assert!(ward.distinct().values().all(|times| *times == 1));
    }

    async fn a_device_that_is_told_so_deletes_what_is_durable_and_no_other(ward: Ward) {
        let kept = records(1..=12, 0);
        ward.with_meter(kept.clone());
        ward.start_with("glucose", "meter", "when-durable");
        // Taken, and not committed.
        while ward.running().pending.len() < observations(&kept) {
            ward.take().await;
        }
        ward.reports_asked("meter", 1).await;
        assert!(ward.bluez.deletions(METER).is_empty());
        ward.commit();
        let deleted = vec![vec![2, 2, 1, 12, 0]];
        tokio::time::timeout(PATIENCE, async {
            while ward.bluez.deletions(METER) != deleted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("it is deleted when it is durable");
        assert!(ward.bluez.records(METER).is_empty());
        // What comes later is fetched, although the record behind which it stands is gone.
        ward.bluez.change_records(METER, |kept| kept.extend(records(13..=14, 500)));
        ward.bluez.drop_connection(METER).unwrap();
        ward.until("the new ones are there", |ward| ward.numbers().contains(&14)).await;
        assert!(ward.distinct().values().all(|times| *times == 1));
    }

    async fn stored_spot_checks_come_once_and_are_flagged(ward: Ward) {
        ward.bluez.add(StoredOximeter::emulated(OXIMETER, "SN-4"));
        let kept: Vec<Stored> = (0..40).map(|n| StoredOximeter::record(n * 30, 97, 60)).collect();
        ward.bluez.keep(OXIMETER, false, kept);
        ward.bluez.trouble(OXIMETER, Trouble::CutAfter(11));
        ward.start("pulse-oximeter", "oximeter");
        ward.until("all are durable", |ward| ward.durable.len() == 80).await;
        assert!(ward.durable.iter().all(|said| said.quality.has(Quality::STORED)));
        assert!(ward.distinct().values().all(|times| *times == 1));
        assert_eq!(ward.bluez.reports(OXIMETER).0, 2, "one that was cut, and the rest");
    }
}
