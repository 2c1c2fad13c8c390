//! A ward in simulated time: every simulated serial device at once.

#![cfg(feature = "lab")]
#![cfg(test)]

use wardline::device::catalogue::serial_models;
use wardline::lab::sim::SIMS;
use wardline::lab::ward::{Options, Spoil, Summary, live};

fn ward(options: &Options) -> (bool, Summary) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let ledger = runtime.block_on(live(options)).unwrap();
    (ledger.is_well(), ledger.summary())
}

fn usual() -> Options {
    Options { hours: 0.4, seed: 1, only: Vec::new(), calm: true, spoil: None, json: false }
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
