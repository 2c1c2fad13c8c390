use proptest::prelude::*;

use super::*;

fn slot(version: u64) -> Slot {
    Slot { version, sha256: Digest::of(&version.to_be_bytes()) }
}

fn on_trial(version: u64) -> Change {
    let mut change = Change { running: Some(slot(1)), ..Change::default() };
    assert!(change.stage(slot(version)));
    assert_eq!(change.begin(Baseline::default()), Some(slot(version)));
    change
}

#[test]
fn a_bundle_that_stands_its_trial_runs() {
    let mut change = on_trial(2);
    assert_eq!((change.effective(), change.running()), (Some(slot(2)), Some(slot(1))));
    assert_eq!(change.commit(), Some(slot(2)));
    assert_eq!((change.effective(), change.offered(slot(2))), (Some(slot(2)), Offer::Runs));
}

#[test]
fn a_bundle_that_fails_is_never_tried_again() {
    let mut change = on_trial(2);
    change.roll_back("no PUBACK");
    assert_eq!(change.effective(), Some(slot(1)));
    assert_eq!(change.offered(slot(2)), Offer::Failed("no PUBACK".to_owned()));
    assert_eq!(change.offered(slot(3)), Offer::New);
    assert_eq!(change.commit(), None);
}

#[test]
fn one_power_cut_is_forgiven_and_the_second_start_without_success_is_the_end() {
    let mut change = on_trial(2);
    assert_eq!(change.started(), Started::OnTrial(slot(2)));
    assert_eq!(change.effective(), Some(slot(2)));
    assert_eq!(change.started(), Started::RolledBack(slot(2)));
    assert_eq!((change.effective(), change.started()), (Some(slot(1)), Started::AsBefore));
}

#[test]
fn a_newer_one_takes_the_place_of_what_waits_but_not_of_what_is_on_trial() {
    let mut change = Change::default();
    assert!(change.stage(slot(1)) && change.stage(slot(2)));
    assert_eq!((change.staged(), change.effective()), (Some(slot(2)), None));
    assert_eq!(change.started(), Started::Waiting(slot(2)));
    assert_eq!((change.offered(slot(2)), change.offered(slot(1))), (Offer::Staged, Offer::New));
    change.begin(Baseline::default());
    assert!(!change.stage(slot(3)));
    assert_eq!((change.offered(slot(3)), change.offered(slot(2))), (Offer::Busy, Offer::OnTrial));
}

#[test]
fn a_trial_is_judged_by_the_same_after_a_start() {
    let mut change = Change::default();
    change.stage(slot(2));
    let baseline = Baseline { is_uplink_up: true, devices: vec!["pump-1".to_owned()], ..Baseline::default() };
    change.begin(baseline.clone());
    let mut read: Change = serde_json::from_str(&serde_json::to_string(&change).unwrap()).unwrap();
    assert_eq!((read.started(), read.baseline()), (Started::OnTrial(slot(2)), Some(&baseline)));
    read.commit();
    assert_eq!(read.baseline(), None);
}

#[test]
fn what_this_gateway_could_not_do_is_no_fault_of_the_bundle() {
    let mut change = on_trial(2);
    assert_eq!((change.abandon(), change.effective()), (Some(slot(2)), Some(slot(1))));
    assert_eq!(change.offered(slot(2)), Offer::New);
    change.stage(slot(2));
    assert_eq!((change.unstage(), change.offered(slot(2))), (Some(slot(2)), Offer::New));
    change.stage(slot(2));
    assert_eq!(change.reject("it does not load"), Some(slot(2)));
    assert_eq!(change.offered(slot(2)), Offer::Failed("it does not load".to_owned()));
    assert_eq!((change.unstage(), change.abandon(), change.reject("")), (None, None, None));
}

/// A state that is longer than what is read would end the gateway's part in the fleet for good.
#[test]
fn whatever_fails_and_however_long_the_reasons_the_state_can_be_read_again() {
    let reasons = ["\u{1}".repeat(5_000), "\"".repeat(5_000), format!("a{}", "ä".repeat(90_000))];
    for reason in reasons {
        let mut change = Change::default();
        for version in 0..40 {
            change.stage(slot(version));
            let devices = (0..5_000).map(|number| format!("{number:064}")).collect();
            change.begin(Baseline::bounded(Baseline { devices, ..Baseline::default() }));
            let length = serde_json::to_vec(&change).unwrap().len();
            assert!(length < crate::fleet::kept::MAX_COPY - 2_048, "{length}");
            change.roll_back(&reason);
            assert!(change.bad().last().unwrap().reason.len() > MAX_REASON - 4);
            assert!(change.bad().iter().all(|bad| bad.reason.len() <= MAX_REASON));
        }
    }
}

proptest! {
    /// Whatever happens, in whatever order: what runs has stood a trial, or is on one; and what
    /// failed is never what runs.
    #[test]
    fn what_runs_has_stood_its_trial(steps in prop::collection::vec((0u8..8, 1u64..9), 0..200)) {
        let mut change = Change::default();
        let mut stood = Vec::new();
        for (step, version) in steps {
            match step {
                0 if matches!(change.offered(slot(version)), Offer::New) => { change.stage(slot(version)); }
                1 => { change.begin(Baseline::default()); }
                2 => stood.extend(change.commit()),
                3 => { change.roll_back("it failed"); }
                4 => { change.started(); }
                5 => { change.unstage(); }
                6 => { change.reject("it does not load"); }
                7 => { change.abandon(); }
                _ => {}
            }
            let read: Change = serde_json::from_str(&serde_json::to_string(&change).unwrap()).unwrap();
            prop_assert_eq!(&read, &change);
            let effective = change.effective();
            prop_assert!(effective == change.on_trial() || change.on_trial().is_none());
            prop_assert!(change.running().is_none_or(|slot| stood.contains(&slot)));
            prop_assert!(change.bad().len() <= MOST_BAD);
            prop_assert!(change.bad().iter().all(|bad| Some(bad.slot) != effective || stood.contains(&bad.slot)));
        }
    }
}
