//! The ward judges, and notices.

use super::*;

fn ward(plan: &Plan) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(live(plan))
}

fn usual() -> Plan {
    Plan { minutes: 20, seed: 1, only: Vec::new(), calm: true, spoil: None }
}

#[test]
fn twenty_calm_minutes_give_every_value_once() {
    let outcome = ward(&usual());
    assert!(outcome.is_well(), "{}", outcome.text().unwrap());
    assert!(
        outcome.devices.iter().all(|row| row.due > 0 && row.duplicates == 0),
        "{}",
        outcome.text().unwrap()
    );
}

#[test]
fn an_hour_of_faults_loses_nothing_and_doubles_nothing() {
    let outcome = ward(&Plan { minutes: 60, seed: 5, calm: false, ..usual() });
    assert!(outcome.is_well(), "{}", outcome.text().unwrap());
    assert!(outcome.devices.iter().map(|row| row.faults).sum::<u64>() > 20, "{}", outcome.text().unwrap());
}

#[test]
fn what_is_spoilt_is_noticed() {
    for only in [vec!["heart-rate".to_owned()], vec!["glucose".to_owned()], vec!["pulse-oximeter".to_owned()]]
    {
        for spoil in [Spoil::Lose, Spoil::Double, Spoil::Mix] {
            let outcome = ward(&Plan { spoil: Some(spoil), only: only.clone(), ..usual() });
            assert!(!outcome.is_well(), "{spoil:?}: {}", outcome.text().unwrap());
        }
    }
}

#[test]
fn a_run_of_a_seed_is_the_same_again() {
    let plan = Plan { minutes: 30, calm: false, seed: 3, ..usual() };
    assert_eq!(ward(&plan).text(), ward(&plan).text());
}

/// `AIR_FROM=1 AIR_TO=20 AIR_MINUTES=600 cargo test --lib --features lab air::tests::many -- --ignored --nocapture`
#[test]
#[ignore = "minutes; for a search by hand"]
fn many_seeds() {
    let number = |name: &str, usual: u64| {
        std::env::var_os(name).map_or(usual, |text| text.to_str().unwrap().parse().unwrap())
    };
    for seed in number("AIR_FROM", 1)..=number("AIR_TO", 5) {
        let minutes = u32::try_from(number("AIR_MINUTES", 600)).unwrap();
        let outcome = ward(&Plan { minutes, seed, calm: false, ..usual() });
        println!("seed {seed}\n{}", outcome.text().unwrap());
    }
}
