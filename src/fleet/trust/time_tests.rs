//! Clocks that nobody vouches for, and keys that were stolen.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fleet::documents::Stamp;
use crate::fleet::workshop::*;
use crate::time::ClockSync;

fn stamp(version: u64, issued: &str) -> Vec<u8> {
    let issued = at(issued);
    let expires = Stamp(Wall::from_millis(issued.0.as_millis() + 48 * 3_600_000));
    let change = |t: &mut Value| {
        (t["version"], t["issued_at"], t["expires"]) = (json!(version), json!(issued), json!(expires));
    };
    timestamp_of(&bundle_of(|_| {}, &[11, 12]), change, ONLINE)
}

fn heard() -> Trust {
    let mut trust = enrolled();
    trust.timestamp_offered(&stamp(70, "2026-11-22"), &noon()).unwrap();
    trust
}

fn unsynced() -> Now {
    now("1970-01-01T00:00:10Z", ClockSync::Unsynced)
}

#[test]
fn a_stolen_key_cannot_carry_a_gateway_without_a_clock_into_the_far_future() {
    let mut trust = heard();
    for (version, issued) in [(71, "2026-12-22"), (72, "2099-01-01")] {
        trust.timestamp_offered(&stamp(version, issued), &unsynced()).unwrap();
    }
    // Now the root has expired too, until a clock says otherwise.
    assert!(matches!(
        why(trust.timestamp_offered(&stamp(73, "2099-06-01"), &unsynced())),
        Why::Expired { .. }
    ));
    // 400 days after the last moment that a clock vouched for, however often it is tried.
    assert_eq!((trust.marks().floor(), trust.marks().vouched()), (at("2027-12-27").0, at("2026-11-22").0));
    // A clock that is synchronised says so, and its time counts.
    let later = now("2026-11-25", ClockSync::Synced);
    assert_eq!(trust.contradicted_by(&later), Some(at("2027-12-27").0));
    assert_eq!((trust.time_of(&later), trust.is_time_known(&later)), (later.wall, true));
    let current = trust.timestamp_offered(&stamp(74, "2026-11-24"), &later).unwrap();
    assert_eq!(current.freshness(), Freshness::Known);
    assert_eq!((trust.marks().floor(), trust.marks().vouched()), (at("2026-11-24").0, at("2026-11-24").0));
    assert_eq!(trust.contradicted_by(&later), None);
}

/// Whoever cuts a gateway off from its reference would make an expired timestamp good again.
#[test]
fn a_clock_that_loses_its_reference_does_not_go_back() {
    let mut trust = heard();
    let expired = now("2026-11-24T00:00:01Z", ClockSync::Synced);
    trust.handle_time(&expired);
    assert!(trust.time_of(&expired) >= at("2026-11-24").0);
    let later = Now { sync: ClockSync::Unsynced, mono: expired.mono + Duration::from_secs(3_600), ..expired };
    assert_eq!((trust.time_of(&later), trust.is_time_known(&later)), (at("2026-11-24T01:00:01Z").0, false));
    assert!(matches!(why(trust.timestamp_offered(&stamp(70, "2026-11-22"), &later)), Why::Expired { .. }));
    // After a start nothing of that is known.
    assert_eq!(heard().time_of(&later), at("2026-11-22").0);
}

/// A false reference that turns time back would keep old documents alive.
#[test]
fn what_a_synchronised_clock_vouched_for_is_not_taken_back_by_another() {
    let mut trust = heard();
    let back = now("2026-11-20", ClockSync::Synced);
    assert_eq!((trust.time_of(&back), trust.is_time_known(&back)), (at("2026-11-22").0, false));
    assert_eq!(trust.contradicted_by(&back), Some(at("2026-11-22").0));
    assert_eq!(
        trust.timestamp_offered(&stamp(71, "2026-11-23"), &back).unwrap().freshness(),
        Freshness::Unknown
    );
}

#[test]
fn a_timestamp_from_the_future_is_refused_by_name() {
    let mut trust = heard();
    trust.timestamp_offered(&stamp(71, "2026-11-22T12:10:00Z"), &noon()).unwrap();
    let refusal = trust.timestamp_offered(&stamp(72, "2026-11-22T12:10:01Z"), &noon()).unwrap_err();
    assert_eq!(refusal.why.attack(), Some("fast-forward"));
    assert_eq!(
        refusal.to_string(),
        "the timestamp was issued at 2026-11-22T12:10:01.000Z, and it is 2026-11-22T12:00:00.000Z: the clock of \
         whoever signed it, or this one, is wrong"
    );
}

#[test]
fn a_gateway_that_was_off_for_long_is_not_stranded_by_the_numbers_it_missed() {
    // A timestamp each quarter of an hour, for half a year.
    let missed = 180 * 24 * 4;
    assert!(missed > MAX_STEP);
    for now in [now("2027-05-21T01:00:00Z", ClockSync::Synced), unsynced()] {
        heard().timestamp_offered(&stamp(70 + missed, "2027-05-21"), &now).unwrap();
        // No more than there were minutes.
        let most = MAX_STEP + 180 * 24 * 60;
        let far = why(heard().timestamp_offered(&stamp(71 + most, "2027-05-21"), &now));
        assert_eq!(far, Why::FastForward { offered: 71 + most, seen: 70, most });
        heard().timestamp_offered(&stamp(70 + most, "2027-05-21"), &now).unwrap();
    }
    // A future that is only claimed widens nothing under a clock, and 400 days at most without.
    let claimed = stamp(70 + MAX_STEP + 40 * 365 * 24 * 60, "2066-11-22");
    let Why::FastForward { most, .. } = why(heard().timestamp_offered(&claimed, &noon())) else { panic!() };
    assert_eq!(most, MAX_STEP + 12 * 60);
    let Why::FastForward { most, .. } = why(heard().timestamp_offered(&claimed, &unsynced())) else {
        panic!()
    };
    assert_eq!(most, MAX_STEP + 400 * 24 * 60);
}

#[test]
fn keys_in_another_order_are_the_same_keys() {
    let with = |version: u64, online: &[u8]| {
        let roles = [role(&ROOT, 2), role(&CONFIG, 2), role(online, 1)];
        let root = Root::new("st-anna".to_owned(), version, at("2027-11-22"), roles).unwrap();
        signed_by(Root::PAYLOAD_TYPE, root.to_payload(), &[1, 2])
    };
    let mut trust = Trust::enrol(recipient(), "icu-3".to_owned(), &with(1, &[ONLINE, 22])).unwrap();
    trust.timestamp_offered(&stamp(70, "2026-11-22"), &noon()).unwrap();
    trust.root_offered(&with(2, &[22, ONLINE])).unwrap();
    assert_eq!((trust.marks().timestamp(), trust.marks().floor()), (70, at("2026-11-22").0));
    trust.root_offered(&with(3, &[22])).unwrap();
    assert_eq!((trust.marks().timestamp(), trust.marks().floor()), (0, Wall::from_millis(0)));
    assert_eq!(trust.marks().vouched(), Wall::from_millis(0));
}

fn why<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Why {
    result.unwrap_err().why
}

proptest! {
    /// Whatever is offered under whatever clock: the floor is never more than 400 days from what was vouched
    /// for, never before it, and what was vouched for is never later than a synchronised clock was.
    #[test]
    fn the_floor_stays_near_what_was_vouched_for(
        steps in prop::collection::vec((0i64..3_000, 0i64..3_000, any::<bool>()), 1..40),
    ) {
        let (mut trust, mut latest) = (heard(), noon().wall);
        let day = |days: i64| Wall::from_millis(at("2026-11-22").0.as_millis() + days * 86_400_000);
        for (place, (issued, clock, is_synced)) in steps.into_iter().enumerate() {
            let sync = if is_synced { ClockSync::Synced } else { ClockSync::Unsynced };
            let now = Now { wall: day(clock), sync, ..noon() };
            if is_synced { latest = latest.max(now.wall); }
            let before = trust.marks().vouched();
            let issued = day(issued).to_string();
            let _ = trust.timestamp_offered(&stamp(71 + place as u64, &format!("{}Z", &issued[..19])), &now);
            let (floor, vouched) = (trust.marks().floor(), trust.marks().vouched());
            prop_assert!(before <= vouched && vouched <= floor && vouched <= clock::later(latest, clock::CLOCKS_DIFFER_MS));
            prop_assert!(floor <= clock::later(vouched, clock::LONGEST_UNVOUCHED_MS));
        }
    }
}
