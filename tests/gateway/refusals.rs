//! What must never reach the broker. (What must never reach the disk or the log: `tests/secrets`.)

use std::time::Duration;

use wardline::lab::sim::{Trouble, alaris, astm};
use wardline::lab::stage;

use crate::support::{Bench, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_pump_that_is_another_one_never_produces_a_byte_at_the_broker() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let right = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    let wrong = bench.pump("pump-2", "8002-99999", alaris::Values::default());
    bench.configure(
        &(stage::serial_device("pump-1", "alaris-asena", &right.path(), "8002-51733")
            + &stage::serial_device("pump-2", "alaris-asena", &wrong.path(), "8002-51740")),
    );
    let mut daemon = bench.start();
    let status = bench
        .status("refusals of the wrong pump", |status| {
            status.devices.iter().any(|device| device.refused.values().sum::<u64>() > 5)
        })
        .await;
    within("the right pump's readings", bench.consumer.wait_for(|ledger| ledger.records > 20)).await;
    let wrong = status.devices.iter().find(|device| device.id == "pump-2").unwrap();
    assert!(wrong.quarantine.as_ref().is_some_and(|why| why.contains("8002-99999")), "{wrong:?}");
    assert_eq!(wrong.admitted, 0);
    within("the event", bench.consumer.wait_for(|ledger| !ledger.events.is_empty())).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert!(ledger.devices.contains_key("pump-1"));
        assert!(!ledger.devices.contains_key("pump-2"), "the wrong pump reached the broker");
        assert_eq!(ledger.complaints, [""; 0]);
        assert_eq!(ledger.events, [identity_event("Create", "pump-2")]);
    });
}

fn identity_event(activity: &str, device: &str) -> (String, String, String) {
    ("identity-mismatch".to_owned(), activity.to_owned(), device.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pump_that_is_exchanged_on_its_port_is_silenced_at_once() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut daemon = bench.start();
    within("readings of the right pump", bench.consumer.wait_for(|ledger| ledger.records > 10)).await;
    // The other pump shows a rate that the right one never had.
    pump.trouble(Trouble::Identity("8002-99999".to_owned()));
    pump.set(alaris::Values { rate: "99.90".to_owned(), ..alaris::Values::default() });
    bench
        .status("the quarantine", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|d| d.quarantine.is_some())
        })
        .await;
    bench
        .status("refusals", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|d| d.refused.values().sum::<u64>() > 5)
        })
        .await;
    // The right one stands there again: the event is over.
    pump.set(alaris::Values::default());
    pump.trouble(Trouble::Identity("8002-51733".to_owned()));
    within("the end of the event", bench.consumer.wait_for(|ledger| ledger.events.len() > 1)).await;
    assert_eq!(
        bench.consumer.with(|ledger| ledger.events.clone()),
        [identity_event("Create", "pump-1"), identity_event("Close", "pump-1")]
    );
    bench.end(&mut daemon).await;
    let of_the_other = |ledger: &mut wardline::lab::ledger::Ledger| {
        ledger.kept.iter().filter(|(_, reading)| reading.value.starts_with("99.9")).count()
    };
    // Between the exchange and the next statement of identity there is one moment in which the new values are read
    // under the old name.
    assert!(bench.consumer.with(of_the_other) <= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyser_that_is_not_expected_keeps_its_results_until_it_is() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let acknowledged = astm::Ledger::default();
    let setup = astm::Setup {
        link: Some(bench.path().join("poc-1")),
        serial: "AN-000124".to_owned(),
        rest: Duration::from_millis(200),
        ledger: acknowledged.clone(),
        ..astm::Setup::default()
    };
    let (device, analyser) = astm::analyser(setup).unwrap();
    bench.beside(device);
    let results =
        [("GLU", "98"), ("LAC", "2.1")].map(|(test, value)| astm::Reading::new(test, value, "mg/dL"));
    analyser.set(astm::Values { results: results.into(), is_control: false });
    bench.configure(&stage::serial_device("poc-1", "astm-lis", &analyser.path(), "AN-000123"));
    let mut daemon = bench.start();
    // It gives the message up, and sends it again: the first result of each is refused.
    bench
        .status("the message to be refused twice", |status| {
            status
                .devices
                .iter()
                .all(|device| device.refused.get("mismatch").is_some_and(|count| *count >= 4))
        })
        .await;
    assert_eq!(acknowledged.all(), [""; 0], "acknowledged and not stored");
    // The one that is expected stands there from here on, with the same message.
    analyser.trouble(Trouble::Identity("AN-000123".to_owned()));
    let of_glucose = |ledger: &wardline::lab::ledger::Ledger| {
        ledger.kept.iter().filter(|(_, reading)| reading.value == "98").count()
    };
    within("its results", bench.consumer.wait_for(|ledger| of_glucose(ledger) > 0)).await;
    within("its acknowledgement", async {
        while acknowledged.all().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    bench.end(&mut daemon).await;
    assert_eq!(acknowledged.all(), ["GLU=98 mg/dL", "LAC=2.1 mg/dL"]);
    assert_eq!(bench.consumer.with(|ledger| of_glucose(ledger)), 1);
}
