//! The power goes again and again under the running daemon: on a disk that forgets what was not synced,
//! nothing that it called durable is lost, and it starts every time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use wardline::host::status::Snapshot;
use wardline::lab::disk::{Disk, Draw, Replay, Tree, run_as_root};
use wardline::lab::sim::masimo;
use wardline::lab::stage::{self, Daemon};

use crate::support::{Bench, within};

/// How often the power goes.
const CUTS: u64 = 40;
/// The size of the disk; the store's cap is a quarter of it.
const DISK: u64 = 1 << 30;
const SEED: u64 = 20_261_122;

fn durable(status: &Snapshot) -> u64 {
    status.lanes.iter().map(|lane| lane.durable_total).sum()
}

/// Starts the daemon with its store on the disk.
fn start(bench: &Bench, disk: &Path) -> Daemon {
    let store = disk.join("store").display().to_string();
    bench.start_with(&[("WARDLINE_STORE__FOLDER", store.as_str())])
}

/// One life of the daemon up to the moment when the power goes: what it had promised before, by the name of
/// its run, and what the disk holds after. Some lives end while the daemon starts: they promise nothing.
async fn life(bench: &Bench, place: &Path, base: Tree, draw: &mut Draw) -> (Option<(String, u64)>, Tree) {
    let disk = Disk::mount(place, base.clone(), DISK).unwrap();
    let is_short = draw.in_eight(2);
    if is_short {
        disk.freeze_in(draw.below(40));
    }
    let mut daemon = start(bench, place);
    let mut promise = None;
    if !is_short {
        let wanted = draw.below(80);
        let status = bench.status("readings are durable", |status| durable(status) >= wanted).await;
        promise = Some((status.run.clone(), durable(&status)));
    }
    // All that was promised was on the disk before the answer came, and so before this place in the record.
    let promised_at = if is_short { 0 } else { disk.position() };
    if !is_short {
        disk.freeze_in(draw.below(8));
    }
    within("the disk is dead", async {
        // It has no way to call back.
        while !disk.is_frozen() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    daemon.kill().unwrap();
    let record = disk.record();
    disk.unmount().unwrap();
    let cut = promised_at + draw.place(record.len() - promised_at + 1);
    let mut replay = Replay::new(&base);
    record.iter().take(cut).for_each(|op| replay.handle(op, false));
    (promise, replay.cut(draw.number()).0)
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_under_the_running_daemon_lose_nothing_durable() {
    if !run_as_root("power::power_cuts_under_the_running_daemon_lose_nothing_durable").unwrap() {
        return;
    }
    let mut bench = Bench::new().await;
    let place = bench.path().join("disk");
    std::fs::create_dir(&place).unwrap();
    // Faster than any real line, so that each life of the daemon sees many readings.
    let oximeter = bench.oximeter("spo2-1", "0000056661", 1_000_000);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let feeding = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        for n in 0u64.. {
            ticks.tick().await;
            let bpm = u16::try_from(40 + n % 150).unwrap();
            oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
        }
    });
    let mut promised: BTreeMap<String, u64> = BTreeMap::new();
    let mut draw = Draw::new(SEED);
    let mut tree = Tree::default();
    for _ in 0..CUTS {
        let (promise, left) = life(&bench, &place, tree, &mut draw).await;
        promised.extend(promise);
        tree = left;
    }
    feeding.abort();
    let total: u64 = promised.values().sum();
    assert!(promised.len() > 15 && total > 500, "the test saw too little: {total}, {promised:?}");

    let disk = Disk::mount(&place, tree, DISK).unwrap();
    bench.serve().await;
    let mut daemon = start(&bench, &place);
    let drained = |status: &Snapshot| {
        status.uplink.state == "connected" && status.lanes.iter().all(|lane| lane.records == 0)
    };
    bench.status("the store runs empty", drained).await;
    bench.end(&mut daemon).await;
    disk.unmount().unwrap();
    let mut runs: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    bench.consumer.with(|ledger| {
        assert_eq!(ledger.complaints, Vec::<String>::new());
        assert_eq!(ledger.gaps, 0, "the store told of losses");
        assert_eq!(ledger.sum(|tally| tally.doubled), 0, "something was stored twice");
        for (_, reading) in &ledger.kept {
            runs.entry(reading.run.clone()).or_default().insert(reading.seq.unwrap());
        }
    });
    for (run, promise) in &promised {
        let arrived = runs.get(run).map_or(0, |numbers| u64::try_from(numbers.len()).unwrap());
        assert!(arrived >= *promise, "run {run} promised {promise} readings and {arrived} arrived");
    }
    // Each life's numbers are whole from the first to the last that arrived.
    for (run, numbers) in &runs {
        let last = *numbers.last().unwrap();
        assert_eq!(u64::try_from(numbers.len()).unwrap(), last, "run {run} has a hole");
    }
}
