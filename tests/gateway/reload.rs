//! The configuration changes while the daemon runs: what is not changed does not notice, and nothing is stored under
//! the name of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use tokio::sync::watch;
use wardline::host::status::Snapshot;
use wardline::lab::broker::{Behaviour, Broker};
use wardline::lab::consumer;
use wardline::lab::pki::Validity;
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};

use crate::support::{Bench, PATIENCE, within};

/// What an oximeter shows as pulse rate and nobody else does.
fn show(oximeter: &Control<masimo::Values>, bpm: u16) {
    oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
}

fn serial(number: u8) -> String {
    format!("000005666{number}")
}

fn entry(oximeter: &Control<masimo::Values>, id: &str, number: u8, asset: &str) -> String {
    let text = stage::serial_device(id, "masimo-ascii1", &oximeter.path(), &serial(number));
    text.replace(&format!("ASSET-{id}"), asset)
}

fn hang_up(daemon: &Daemon) {
    let id = Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    kill_process(id, Signal::HUP).unwrap();
}

fn log(bench: &Bench) -> String {
    std::fs::read_to_string(bench.path().join("daemon.log")).unwrap_or_default()
}

/// Until the log says it so many times: there is nothing that would call back.
async fn logged(bench: &Bench, words: &str, times: usize) {
    let said = async {
        while log(bench).matches(words).count() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, said).await.is_ok(),
        "not {times} times {words:?}:\n{}",
        log(bench)
    );
}

fn write_devices(bench: &Bench, text: &str) {
    wardline::host::atomic_file::write(&bench.path().join("devices.d/ward.toml"), text.as_bytes()).unwrap();
}

/// How often the link of a device came up.
fn ups(bench: &Bench, id: &str) -> usize {
    let log = log(bench);
    log.lines().filter(|line| line.contains("link up") && line.contains(id)).count()
}

fn listed(status: &Snapshot) -> BTreeSet<&str> {
    status.devices.iter().map(|device| device.id.as_str()).collect()
}

fn is_up(status: &Snapshot, id: &str) -> bool {
    status.devices.iter().any(|device| device.id == id && device.link == "up" && device.identified)
}

/// Everything in the store: for each device and pseudonym the pulse rates in their order.
fn stored(bench: &Bench) -> BTreeMap<(String, String), Vec<(u64, i64)>> {
    let out = Command::new(env!("CARGO_BIN_EXE_wardline"))
        .args(["spool", "export", "--yes", "--reason", "Jane Doe: what was stored, for a test", "--out", "-"])
        .arg("--config")
        .arg(bench.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in String::from_utf8(out.stdout).unwrap().lines() {
        let record: Json = serde_json::from_str(line).unwrap();
        let text = |key: &str| record.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        if text("ref") != "MDC_PULS_OXIM_PULS_RATE" {
            continue;
        }
        let value = text("value").parse().unwrap_or_else(|_| panic!("{record}"));
        let seq = record.get("seq").and_then(Json::as_u64).unwrap();
        all.entry((text("device"), text("pseudonym"))).or_default().push((seq, value));
    }
    for records in all.values_mut() {
        records.sort_unstable();
    }
    all
}

/// Shows 40, 41, ... 189, 40, ... on the one, and what `other` says on the other, until told to end.
async fn feed(
    steady: Control<masimo::Values>,
    changed: Control<masimo::Values>,
    other: watch::Receiver<u16>,
    mut end: watch::Receiver<bool>,
) -> u64 {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    for n in 0u64.. {
        ticks.tick().await;
        if end.has_changed().unwrap_or(true) {
            end.mark_unchanged();
            return n;
        }
        show(&steady, u16::try_from(40 + n % 150).unwrap());
        show(&changed, *other.borrow());
    }
    0
}

/// Shows something all the while: an oximeter says who it is with each line.
async fn while_showing(
    shown: &[(&Control<masimo::Values>, u16)],
    until: impl Future<Output = Snapshot>,
) -> Snapshot {
    let showing = async {
        loop {
            for (oximeter, bpm) in shown {
                show(oximeter, *bpm);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        never = showing => never,
        status = until => status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_comes_one_goes_one_is_another_asset_and_the_last_does_not_miss_a_reading() {
    // Nobody serves the broker: everything that was read is in the store in the end.
    let mut bench = Bench::new().await;
    let steady = bench.oximeter("steady", &serial(1), 1_000_000);
    let changed = bench.oximeter("changed", &serial(2), 1_000_000);
    let going = bench.oximeter("going", &serial(3), 1_000_000);
    let coming = bench.oximeter("coming", &serial(4), 1_000_000);
    let stays = entry(&steady, "steady", 1, "A-STEADY");
    let before = entry(&going, "going", 3, "A-GOING") + &stays + &entry(&changed, "changed", 2, "A-BEFORE");
    bench.configure(&before);
    let mut daemon = bench.start();
    let all_up = bench
        .status("three devices", |status| ["steady", "changed", "going"].iter().all(|id| is_up(status, id)));
    while_showing(&[(&steady, 30), (&changed, 30), (&going, 30)], all_up).await;
    let (tag, tags) = watch::channel(50);
    let (end, ends) = watch::channel(false);
    let feeding = tokio::spawn(feed(steady.clone(), changed.clone(), tags, ends));
    bench.status("readings", |status| status.devices.iter().any(|device| device.admitted > 400)).await;

    tag.send_replace(60);
    // The place in the list is another one for everybody.
    write_devices(
        &bench,
        &(entry(&changed, "changed", 2, "A-AFTER") + &entry(&coming, "coming", 4, "A-COMING") + &stays),
    );
    hang_up(&daemon);
    bench
        .status("the new list", |status| listed(status) == BTreeSet::from(["steady", "changed", "coming"]))
        .await;
    logged(&bench, "the configuration holds from here on", 1).await;
    tag.send_replace(150);
    let grown = bench.status("readings of the new ones", |status| {
        let read = |id: &str| status.devices.iter().any(|device| device.id == id && device.admitted > 10);
        is_up(status, "changed") && is_up(status, "coming") && read("coming")
    });
    while_showing(&[(&coming, 170), (&going, 99)], grown).await;
    let so_far = steady.sent();
    bench.status("more", |_| steady.sent() > so_far + 200).await;
    end.send_replace(true);
    let fed = feeding.await.unwrap();
    // The last reading: nothing more is admitted.
    let admitted = |status: &Snapshot| {
        status.devices.iter().find(|device| device.id == "steady").map_or(0, |device| device.admitted)
    };
    let mut before = 0;
    loop {
        let now = admitted(&bench.status("an answer", |_| true).await);
        if now == before {
            break;
        }
        before = now;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    check_stored(&bench, fed);
    assert_eq!((ups(&bench, "steady"), ups(&bench, "going")), (1, 1), "{}", log(&bench));
    assert_eq!((ups(&bench, "changed"), ups(&bench, "coming")), (2, 1), "{}", log(&bench));
}

fn check_stored(bench: &Bench, fed: u64) {
    let stored = stored(bench);
    let of = |id: &str| -> Vec<&Vec<(u64, i64)>> {
        stored.iter().filter(|((device, _), _)| device == id).map(|(_, records)| records).collect()
    };
    let [steady] = of("steady")[..] else { panic!("one pseudonym") };
    let numbers: Vec<i64> = steady.iter().map(|(_, value)| *value).skip_while(|value| *value == 30).collect();
    let gap =
        numbers.iter().zip(numbers.iter().skip(1)).find(|(one, next)| **next != (**one - 39) % 150 + 40);
    assert_eq!(gap, None, "of {} readings", numbers.len());
    // What was shown while the daemon was asked to stop need not be there.
    assert!(u64::try_from(numbers.len()).unwrap() + 50 > fed, "{} of {fed}", numbers.len());
    let changed = of("changed");
    let values = |records: &[(u64, i64)]| records.iter().map(|(_, value)| *value).collect::<BTreeSet<i64>>();
    assert_eq!(changed.len(), 2, "two pseudonyms");
    let (after, before): (Vec<_>, Vec<_>) =
        changed.into_iter().partition(|records| values(records).contains(&150));
    let ([before], [after]) = (&before[..], &after[..]) else { panic!("one of each") };
    assert!(values(before).is_subset(&BTreeSet::from([30, 50, 60])), "{:?}", values(before));
    assert!(values(before).contains(&50));
    assert!(values(after).is_subset(&BTreeSet::from([60, 150])), "{:?}", values(after));
    assert!(before.iter().map(|(seq, _)| seq).max() < after.iter().map(|(seq, _)| seq).min());
    assert!(of("going").iter().all(|records| !values(records).contains(&99)), "read after it went");
    assert_eq!(
        of("coming").iter().map(|records| values(records)).collect::<Vec<_>>(),
        [BTreeSet::from([170])]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_valid_changes_nothing_and_a_key_of_the_start_is_refused_by_name() {
    let mut bench = Bench::new().await;
    let steady = bench.oximeter("steady", &serial(1), 1_000_000);
    let good = entry(&steady, "steady", 1, "A-STEADY");
    bench.configure(&good);
    let mut daemon = bench.start();
    bench.status("a link", |status| status.devices.iter().any(|device| device.link == "up")).await;

    let story = async {
        let mut wrong = good.clone();
        writeln!(wrong, "[[device]]\nid = \"other\"\nasset = \"X\"\ndriver = \"no-such-driver\"").unwrap();
        write_devices(&bench, &wrong);
        hang_up(&daemon);
        logged(&bench, "nothing changes: the configuration of before holds", 1).await;
        assert!(log(&bench).contains("no-such-driver"), "{}", log(&bench));

        write_devices(&bench, "");
        hang_up(&daemon);
        logged(&bench, "nothing changes: the configuration of before holds", 2).await;

        write_devices(&bench, &good);
        hang_up(&daemon);
        logged(&bench, "the configuration is the one that holds: nothing changes", 1).await;

        let gateway = bench.path().join("gateway.toml");
        let text = std::fs::read_to_string(&gateway).unwrap();
        let text = text.replace("[status]", "[status]\ngroup = \"root\"");
        wardline::host::atomic_file::write(&gateway, text.as_bytes()).unwrap();
        write_devices(&bench, &entry(&steady, "steady", 1, "A-OTHER"));
        hang_up(&daemon);
        logged(&bench, "only a restart of the daemon can change status.group", 1).await;

        bench.status("an answer", |_| true).await
    };
    // A port on which nothing is said for long is opened again.
    let status = while_showing(&[(&steady, 60)], story).await;
    assert_eq!((listed(&status), ups(&bench, "steady")), (BTreeSet::from(["steady"]), 1));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn how_much_is_logged_changes_while_it_runs() {
    let mut bench = Bench::new().await;
    let steady = bench.oximeter("steady", &serial(1), 1_000_000);
    let good = entry(&steady, "steady", 1, "A-STEADY");
    bench.configure(&good);
    let gateway = bench.path().join("gateway.toml");
    let text = std::fs::read_to_string(&gateway).unwrap();
    let level = |level: &str| {
        let text = format!("{text}\n[daemon]\nlog = \"{level}\"\n");
        wardline::host::atomic_file::write(&gateway, text.as_bytes()).unwrap();
    };
    let mut daemon = bench.start();
    bench.status("a link", |status| status.devices.iter().any(|device| device.link == "up")).await;

    let asked = "told to read the configuration again";
    level("error");
    hang_up(&daemon);
    // The first is of the start.
    logged(&bench, "another configuration", 2).await;
    // A file that is refused is told of at any level: what was asked for before it has been done by then.
    write_devices(&bench, "");
    hang_up(&daemon);
    logged(&bench, "nothing changes: the configuration of before holds", 1).await;
    assert_eq!(log(&bench).matches(asked).count(), 1, "{}", log(&bench));
    write_devices(&bench, &good);
    level("info");
    hang_up(&daemon);
    logged(&bench, "the configuration holds from here on", 1).await;
    hang_up(&daemon);
    logged(&bench, asked, 2).await;
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uplink_goes_to_another_broker_and_every_record_is_at_one_of_the_two() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let server = bench.pki.server("second", &["localhost"], Validity::Now).unwrap();
    let (_behaviour, behaves) = watch::channel(Behaviour::default());
    let second = Broker::bind(bench.pki.authorities(), server, behaves).await.unwrap();
    let port = second.port().unwrap();
    tokio::spawn(second.run());
    let pair = bench.pki.client("consumer-2", Validity::Now).unwrap();
    let settings = consumer::Settings {
        host: "localhost".to_owned(),
        port,
        id: "consumer-2".to_owned(),
        authorities: bench.pki.authorities(),
        certificate: pair.certificate,
        key: pair.key,
    };
    let there = consumer::Shared::default();
    there.with(|ledger| ledger.keep = true);
    tokio::spawn(consumer::run(settings, there.clone()));
    within("the second consumer subscribes", there.subscribed()).await;

    let steady = bench.oximeter("steady", &serial(1), 1_000_000);
    bench.configure(&entry(&steady, "steady", 1, "A-STEADY"));
    let mut daemon = bench.start();
    let (_tag, tags) = watch::channel(50);
    let (end, ends) = watch::channel(false);
    let feeding = tokio::spawn(feed(steady.clone(), steady.clone(), tags, ends));
    within("readings", bench.consumer.wait_for(|ledger| ledger.records > 200)).await;

    let gateway = bench.path().join("gateway.toml");
    let text = std::fs::read_to_string(&gateway).unwrap();
    let moved = |to: u16| text.replace(&format!("port = {}", bench.port), &format!("port = {to}"));
    // Nobody is there: the old broker keeps it.
    wardline::host::atomic_file::write(&gateway, moved(1).as_bytes()).unwrap();
    hang_up(&daemon);
    logged(&bench, "the configuration is refused, the one of before holds", 1).await;
    let so_far = bench.consumer.with(|ledger| ledger.records);
    within("readings go on", bench.consumer.wait_for(|ledger| ledger.records > so_far + 100)).await;

    wardline::host::atomic_file::write(&gateway, moved(port).as_bytes()).unwrap();
    hang_up(&daemon);
    logged(&bench, "the configuration holds from here on", 1).await;
    within("readings at the second", there.wait_for(|ledger| ledger.records > 200)).await;
    end.send_replace(true);
    let fed = feeding.await.unwrap();
    let is_drained = |status: &Snapshot| status.lanes.iter().all(|lane| lane.records == 0);
    bench.status("the store runs empty", is_drained).await;
    let status = bench.status("an answer", |_| true).await;
    assert_eq!((ups(&bench, "steady"), listed(&status)), (1, BTreeSet::from(["steady"])));
    bench.end(&mut daemon).await;
    within("the second consumer to catch up", there.caught_up()).await.unwrap();
    let seqs = |shared: &consumer::Shared| -> Vec<u64> {
        shared.with(|ledger| ledger.kept.iter().filter_map(|(_, reading)| reading.seq).collect())
    };
    let (here, there) = (seqs(&bench.consumer), seqs(&there));
    let all: BTreeSet<u64> = here.iter().chain(&there).copied().collect();
    let count = u64::try_from(all.len()).unwrap();
    assert_eq!(all.last().copied(), Some(count), "a record is at neither");
    assert!(count > fed, "{count} of {fed} lines");
    // What was in flight is awaited, but a block of which only a part had been published goes to the second broker
    // whole: one of the live stream, one of the backlog.
    let [first, second] = [&here, &there].map(|seqs| seqs.iter().copied().collect::<BTreeSet<u64>>());
    let at_both: BTreeSet<u64> = first.intersection(&second).copied().collect();
    let runs = at_both.iter().filter(|seq| !at_both.contains(&(**seq + 1))).count();
    assert!(runs <= 2, "more than two blocks are at both: {at_both:?}");
    assert_eq!(here.len() + there.len() - all.len(), at_both.len(), "something is twice at one of them");
}
