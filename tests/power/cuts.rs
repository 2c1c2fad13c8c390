//! Power cuts, and that the trials find what they are there for.

use wardline::lab::disk::run_as_root;
use wardline::lab::power::{Harm, Plan, Sort, Summary, run};

fn plan(cuts: u64, seed: u64) -> Plan {
    Plan { cuts, seed, episode: None, cut: None, without: None, stop_early: false, keep: None }
}

#[test]
fn a_thousand_power_cuts_lose_nothing_that_was_promised() {
    if !run_as_root("cuts::a_thousand_power_cuts_lose_nothing_that_was_promised").unwrap() {
        return;
    }
    let summary = run(&plan(1_000, 1), &|| {}).unwrap();
    assert!(summary.is_survived(), "{summary}");
    // What was survived was worth it: cuts everywhere, torn and lost data, records, segments dropped.
    assert_eq!(summary.cuts, 1_000);
    for place in ["recovery", "write", "sync", "sync of a folder", "rename", "create", "unlink"] {
        assert!(summary.places.get(place).is_some_and(|count| *count >= 10), "{place}: {summary}");
    }
    let Summary { torn, dropped, reordered, names_undone, kept, extra, told, .. } = summary;
    for (what, count) in [
        ("torn", torn),
        ("dropped", dropped),
        ("reordered", reordered),
        ("names undone", names_undone),
        ("kept", kept),
        ("extra", extra),
        ("told", told),
    ] {
        assert!(count >= 10, "{what} {count}: {summary}");
    }
}

/// A store that makes one mistake is found out, and in what way. The store's keys and numbers are random,
/// so a rare mistake may take more than one series.
fn is_found(harm: Harm) -> Sort {
    let mut seen = String::new();
    for seed in 1..=5 {
        let plan = Plan { without: Some(harm), stop_early: true, ..plan(1_000, seed) };
        let summary = run(&plan, &|| {}).unwrap();
        if let Some(failure) = summary.failures.first() {
            return failure.sort;
        }
        seen = summary.to_string();
    }
    panic!("{harm:?} is not found out:\n{seen}")
}

#[test]
fn a_store_without_its_fdatasync_is_found_to_lose() {
    if run_as_root("cuts::a_store_without_its_fdatasync_is_found_to_lose").unwrap() {
        assert_eq!(is_found(Harm::Fdatasync), Sort::Lost);
    }
}

#[test]
fn a_store_that_reports_before_it_syncs_is_found_to_lose() {
    if run_as_root("cuts::a_store_that_reports_before_it_syncs_is_found_to_lose").unwrap() {
        assert_eq!(is_found(Harm::EarlyReport), Sort::Lost);
    }
}

#[test]
fn every_other_sort_of_sync_that_is_left_out_is_found_out() {
    if !run_as_root("cuts::every_other_sort_of_sync_that_is_left_out_is_found_out").unwrap() {
        return;
    }
    for (harm, sorts) in [
        (Harm::FoundDatabase, &[Sort::Overstated][..]),
        (Harm::HeaderSync, &[Sort::Fault, Sort::Lost]),
        (Harm::FooterSync, &[Sort::Fault]),
        (Harm::CursorSync, &[Sort::Fault]),
        (Harm::IdentitySync, &[Sort::Shut]),
        (Harm::FsyncOfFolders, &[Sort::Lost, Sort::Shut, Sort::Fault]),
        (Harm::OuterFolder, &[Sort::Lost]),
        (Harm::StoreFolder, &[Sort::Lost, Sort::Shut]),
        (Harm::LaneFolder, &[Sort::Lost, Sort::Fault, Sort::Place]),
        (Harm::SegmentFolder, &[Sort::Lost, Sort::Fault]),
        (Harm::DatabaseFolder, &[Sort::Lost]),
    ] {
        let found = is_found(harm);
        assert!(sorts.contains(&found), "{harm:?} is found out as: {found}");
    }
}
