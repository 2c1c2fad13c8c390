//! A long outage with the power cut again and again: nothing that was durable is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use wardline::lab::sim::masimo;
use wardline::lab::stage;

use crate::support::Bench;

/// How often the daemon is killed.
const CYCLES: u32 = 100;

/// A sequence that looks random and is the same in every run.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_minus_nine_a_hundred_times_during_an_outage_loses_nothing_durable() {
    let mut bench = Bench::new().await;
    // Faster than any real line, so that each life of the daemon sees many readings.
    let oximeter = bench.oximeter("spo2-1", "0000056661", 1_000_000);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let set = Arc::new(AtomicU64::new(0));
    let feeding = {
        let (oximeter, set) = (oximeter.clone(), Arc::clone(&set));
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(2));
            loop {
                ticks.tick().await;
                let n = set.fetch_add(1, Ordering::Relaxed);
                let bpm = u16::try_from(40 + n % 150).unwrap();
                oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
            }
        })
    };
    // What the daemon said was durable in each of its lives, the most it said before it was killed.
    let mut promised: BTreeMap<String, u64> = BTreeMap::new();
    let mut random = 20_261_122;
    for cycle in 0..CYCLES {
        let mut daemon = bench.start();
        let wanted = draw(&mut random, 150);
        let what = format!("{wanted} durable readings in life {cycle}\n{}", daemon.last_words());
        let status = bench
            .status(&what, |status| status.lanes.iter().map(|l| l.durable_total).sum::<u64>() >= wanted)
            .await;
        promised.insert(status.run, status.lanes.iter().map(|lane| lane.durable_total).sum());
        daemon.kill().unwrap();
    }
    feeding.abort();
    let total: u64 = promised.values().sum();
    assert_eq!(promised.len(), usize::try_from(CYCLES).unwrap());
    assert!(total > 2_000, "the test saw too little: {total}");

    bench.serve().await;
    let mut daemon = bench.start();
    let drained = |status: &wardline::host::status::Snapshot| {
        status.uplink.state == "connected" && status.lanes.iter().all(|lane| lane.records == 0)
    };
    bench.status("the store runs empty", drained).await;
    bench.end(&mut daemon).await;
    let mut runs: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    bench.consumer.with(|ledger| {
        assert_eq!(ledger.complaints, Vec::<String>::new());
        assert_eq!(ledger.gaps, 0, "the store told of losses");
        assert_eq!(ledger.sum(|tally| tally.doubled), 0, "something was stored twice");
        for (_, reading) in &ledger.kept {
            runs.entry(reading.run.clone()).or_default().insert(reading.seq.unwrap());
        }
    });
    // Each life's numbers are whole from the first to the last that arrived ...
    for (run, numbers) in &runs {
        let last = *numbers.last().unwrap();
        assert_eq!(u64::try_from(numbers.len()).unwrap(), last, "run {run} has a hole");
    }
    // ... and no life arrived shorter than what it had promised.
    for (run, promise) in &promised {
        let arrived = runs.get(run).map_or(0, |numbers| u64::try_from(numbers.len()).unwrap());
        assert!(arrived >= *promise, "run {run} promised {promise} readings and {arrived} arrived");
    }
}
