//! Silence is data: what the consumer sees of a device that says nothing.

use std::time::Duration;

use wardline::device::nomenclature::EVT_COMM_LOST;
use wardline::lab::ledger::Ledger;
use wardline::lab::sim::masimo::Values;
use wardline::lab::stage;

use crate::support::{Bench, within};

/// How often the broker's side has seen an edge of silence of a device.
fn edges(ledger: &Ledger, device: &str) -> usize {
    ledger.kept.iter().filter(|(id, reading)| id == device && reading.code == EVT_COMM_LOST.code).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_nothing_is_told_of_once_and_so_is_its_return() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let oximeter = bench.oximeter("oximeter", "0000056661", 9_600);
    let absent = bench.path().join("absent");
    bench.configure(
        &(stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661")
            + &stage::serial_device("spo2-2", "masimo-ascii1", &absent, "0000056662")),
    );
    let mut daemon = bench.start();
    bench.status("the port to be open", |status| status.devices.iter().any(|d| d.link == "up")).await;
    oximeter.set(Values::default());
    within("a reading", bench.consumer.wait_for(|ledger| ledger.devices.contains_key("spo2-1"))).await;
    // Ten seconds, and nobody says a word.
    within("both silences", bench.consumer.wait_for(|l| edges(l, "spo2-1") == 1 && edges(l, "spo2-2") == 1))
        .await;
    let status = bench
        .status("both to be shown as silent", |s| {
            !s.devices.is_empty() && s.devices.iter().all(|d| d.silent_ms > Some(9_000))
        })
        .await;
    let of = |id: &str| status.devices.iter().find(|device| device.id == id).unwrap();
    assert_eq!(of("spo2-2").admitted, 1, "the gateway's own word alone");
    assert_eq!(of("spo2-1").faults.get("timeout"), Some(&1), "the port is opened again: {status:?}");
    bench.status("the port to be open again", |status| status.devices.iter().any(|d| d.link == "up")).await;
    oximeter.set(Values::default());
    within("the end of the one", bench.consumer.wait_for(|ledger| edges(ledger, "spo2-1") == 2)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((edges(ledger, "spo2-1"), edges(ledger, "spo2-2")), (2, 1));
        assert_eq!((ledger.lost(), ledger.complaints.as_slice()), (0, [].as_slice()));
        assert!(ledger.devices.values().all(|tally| tally.doubled == 0 && tally.out_of_order == 0));
    });
}
