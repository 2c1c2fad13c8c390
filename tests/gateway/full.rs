//! A disk that is full: nothing admitted is lost, the daemon says what is wrong, and goes on by itself
//! when there is room again.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wardline::host::status::Snapshot;
use wardline::lab::ledger::Ledger;
use wardline::lab::sim::masimo;
use wardline::lab::stage;

use crate::support::{Bench, PATIENCE, within};

/// Where the child finds its small file system.
const DISK: &str = "SMALL_TEST_DISK";

/// Runs a test of this file on a tmpfs of 100 MiB of its own, in a mount namespace of its own: no root is
/// needed for that.
fn run_on_a_small_disk(child: &str) {
    let disk = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=100m none \"$1\" && shift && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(disk.path())
        .arg(std::env::current_exe().unwrap())
        .args([child, "--exact", "--nocapture", "--test-threads=1"])
        .env(DISK, disk.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("the small disk was filled"), "{out}\n{err}");
}

#[test]
fn a_full_disk_holds_the_devices_back_loses_nothing_and_mends_by_itself() {
    run_on_a_small_disk("full::child_on_a_small_disk");
}

#[test]
fn what_a_full_disk_costs_is_told_at_the_broker() {
    run_on_a_small_disk("full::child_that_drops_the_oldest");
}

/// Takes every byte that is left.
fn fill(disk: &Path) -> std::path::PathBuf {
    let path = disk.join("filler");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut room = 1 << 20;
    while room > 0 {
        if file.write_all(&vec![1; room]).is_err() {
            room /= 2;
        }
    }
    path
}

/// The test itself; without its disk it is a part of the other test and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_on_a_small_disk() {
    let Ok(disk) = std::env::var(DISK) else { return };
    let disk = Path::new(&disk);
    let mut bench = Bench::new().await;
    let oximeter = bench.oximeter("spo2-1", "0000056661", 115_200);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let store = disk.join("store").display().to_string();
    let mut daemon = bench.start_with(&[
        ("WARDLINE_STORE__FOLDER", store.as_str()),
        ("WARDLINE_STORE__CAP", "96MiB"),
        ("WARDLINE_STORE__ALARM_RESERVE", "16MiB"),
    ]);
    bench
        .status("the port is open", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|device| device.link == "up")
        })
        .await;
    let filler = fill(disk);
    let feeding = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for n in 0u64.. {
            ticks.tick().await;
            let bpm = u16::try_from(40 + n % 150).unwrap();
            oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
        }
    });
    let full =
        bench.status("the store says that it is full", |status| status.store.last_error.is_some()).await;
    println!("the small disk was filled: {:?}", full.store.last_error);
    std::fs::remove_file(filler).unwrap();
    let mended = |status: &Snapshot| {
        let durable: u64 = status.lanes.iter().map(|lane| lane.durable_total).sum();
        let admitted: u64 = status.devices.iter().map(|device| device.admitted).sum();
        durable > 500 && admitted > 500
    };
    let status = bench.status("readings are durable again", mended).await;
    let admitted: u64 = status.devices.iter().map(|device| device.admitted).sum();
    feeding.abort();
    bench.serve().await;
    within("every reading", bench.consumer.wait_for(|ledger| ledger.records >= admitted)).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((ledger.lost(), ledger.gaps, ledger.sum(|tally| tally.doubled)), (0, 0, 0));
        assert_eq!(ledger.complaints, Vec::<String>::new());
    });
}

/// The test itself; without its disk it is a part of the other test and does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_drops_the_oldest() {
    let Ok(disk) = std::env::var(DISK) else { return };
    let disk = Path::new(&disk);
    let mut bench = Bench::new().await;
    let oximeter = bench.oximeter("spo2-1", "0000056661", 115_200);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let store = disk.join("store").display().to_string();
    let variables = [
        ("WARDLINE_STORE__FOLDER", store.as_str()),
        ("WARDLINE_STORE__CAP", "96MiB"),
        ("WARDLINE_STORE__ALARM_RESERVE", "16MiB"),
    ];
    let (feed, mut is_fed) = tokio::sync::watch::channel(true);
    let feeding = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for n in 0u64.. {
            is_fed.wait_for(|is_fed| *is_fed).await.unwrap();
            ticks.tick().await;
            let bpm = u16::try_from(40 + n % 150).unwrap();
            oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
        }
    });
    let durable = |status: &Snapshot| status.lanes.iter().map(|lane| lane.durable_total).sum::<u64>();
    let waiting = |status: &Snapshot| status.lanes.iter().map(|lane| lane.records).sum::<u64>();
    // One life whose segment is closed, and one that finds the disk full.
    let mut daemon = bench.start_with(&variables);
    bench.status("a few hundred readings are durable", |status| durable(status) > 300).await;
    feed.send_replace(false);
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    let mut daemon = bench.start_with(&variables);
    let kept = waiting(&bench.status("what is kept", |status| waiting(status) > 300).await);
    feed.send_replace(true);
    bench.status("more is durable", |status| durable(status) > 20).await;
    let filler = fill(disk);
    let dropped = bench.status("the oldest was dropped", |status| status.store.dropped > 0).await;
    println!("the small disk was filled: {} of more than {kept} readings went", dropped.store.dropped);
    std::fs::remove_file(filler).unwrap();
    let so_far = durable(&dropped);
    bench.status("readings are durable again", |status| durable(status) > so_far + 100).await;
    feeding.abort();
    bench.serve().await;
    let last = bench.status("the store runs empty", |status| waiting(status) == 0).await;
    // Each reading of both lives arrives, or is told of.
    let all = kept + last.devices.iter().map(|device| device.admitted).sum::<u64>();
    let accounted = |ledger: &Ledger| ledger.sum(|tally| tally.records) + ledger.gaps;
    within("every reading, or word of it", bench.consumer.wait_for(|ledger| accounted(ledger) >= all)).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((accounted(ledger), ledger.gaps), (all, last.store.dropped), "told of at the broker");
        assert_eq!(ledger.sum(|tally| tally.doubled), 0);
        assert_eq!(ledger.complaints, Vec::<String>::new());
    });
}
