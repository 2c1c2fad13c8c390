use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fleet::dsse::EnvelopeFault;
use crate::fleet::kept::Kept;
use crate::fleet::workshop::*;
use crate::time::ClockSync;

fn why<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Why {
    result.unwrap_err().why
}

#[test]
fn a_bundle_that_enough_keys_signed_is_believed() {
    let mut trust = enrolled();
    let bundle = bundle_of(|_| {}, &[11, 13]);
    let current = trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    assert_eq!(current.freshness(), Freshness::Known);
    let verified = trust.bundle_offered(&bundle, &current, &noon()).unwrap();
    assert_eq!((verified.bundle().version, verified.digest()), (7, Digest::of(&bundle)));
    assert_eq!((trust.marks().bundle(), trust.marks().timestamp()), (7, 70));
    // The same again is nothing new, and no fault.
    trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    trust.bundle_offered(&bundle, &current, &noon()).unwrap();
}

#[test]
fn too_few_keys_are_named_with_what_is_missing() {
    let mut trust = enrolled();
    for (signers, have) in [(&[11][..], 1), (&[11, 11], 1), (&[11, 99], 1), (&[1, 2, ONLINE], 0), (&[], 0)] {
        let bundle = bundle_of(|_| {}, signers);
        let current = trust
            .timestamp_offered(
                &timestamp_of(&bundle, |t| t["version"] = json!(70 + trust_version(&trust)), ONLINE),
                &noon(),
            )
            .unwrap();
        let refusal = trust.bundle_offered(&bundle, &current, &noon()).unwrap_err();
        assert_eq!(
            refusal.why,
            Why::Signatures { role: RoleKind::Config, root: 1, have, need: 2 },
            "{signers:?}"
        );
        assert_eq!(refusal.why.attack(), Some("arbitrary installation"));
    }
    let few =
        trust.bundle_offered(&bundle_of(|_| {}, &[11]), &current_of(&bundle_of(|_| {}, &[11])), &noon());
    assert_eq!(
        few.unwrap_err().to_string(),
        "the bundle is signed by 1 of the 2 config keys that root 1 wants: sign it with 1 more"
    );
    assert_eq!(trust.marks().bundle(), 0);
}

fn trust_version(trust: &Trust) -> u64 {
    trust.marks().timestamp().saturating_sub(69)
}

fn current_of(bundle: &[u8]) -> Current {
    let mut trust = enrolled();
    trust.timestamp_offered(&timestamp_of(bundle, |_| {}, ONLINE), &noon()).unwrap()
}

type Case = (fn(&mut Value), &'static str);

#[test]
fn a_bundle_for_others_or_another_one_is_refused() {
    let cases: [Case; 7] = [
        (
            |b| b["organisation"] = json!("st-bernd"),
            "organisation \"st-bernd\", this gateway is of \"st-anna\"",
        ),
        (|b| b["group"] = json!("icu-4"), "group \"icu-4\", this gateway is of \"icu-3\""),
        (|b| b["members"] = json!(["gw-2"]), "neither lists nor transfers gateway \"gw-1\""),
        (|b| b["version"] = json!(8), "has version 8, the timestamp says 7"),
        (|b| b["min_agent"] = json!("9.0"), "wants at least version 9.0"),
        (|b| b["expires"] = json!("2026-11-22T11:59:59Z"), "expired at 2026-11-22T11:59:59.000Z"),
        (|b| b["not_before"] = json!("2026-11-23T00:00:00Z"), "holds from 2026-11-23T00:00:00.000Z on"),
    ];
    for (change, words) in cases {
        let bundle = bundle_of(change, &[11, 12]);
        let mut trust = enrolled();
        let current = trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
        let refusal = trust.bundle_offered(&bundle, &current, &noon()).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
        assert_eq!(trust.marks().bundle(), 0, "{words}");
    }
    let (ours, other) = (bundle_of(|_| {}, &[11, 12]), bundle_of(|_| {}, &[12, 13]));
    assert!(matches!(
        why(enrolled().bundle_offered(&other, &current_of(&ours), &noon())),
        Why::NotTheHead { .. }
    ));
}

#[test]
fn versions_never_go_down_nor_run_away() {
    let bundle = bundle_of(|_| {}, &[11, 12]);
    let mut trust = enrolled();
    let current = trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    trust.bundle_offered(&bundle, &current, &noon()).unwrap();
    let mut offer = |change: fn(&mut Value)| {
        why(trust.timestamp_offered(&timestamp_of(&bundle, change, ONLINE), &noon()))
    };
    assert_eq!(offer(|t| t["version"] = json!(69)), Why::Rollback { offered: 69, seen: 70 });
    assert_eq!(
        offer(|t| t["version"] = json!(10_071)),
        Why::FastForward { offered: 10_071, seen: 70, most: MAX_STEP }
    );
    assert_eq!(offer(|t| t["rollout"]["paused"] = json!(true)), Why::Equivocation { version: 70 });
    let back = |t: &mut Value| {
        t["version"] = json!(71);
        t["head"]["version"] = json!(6);
    };
    assert_eq!(offer(back), Why::HeadRollback { offered: 6, seen: 7 });
    let other = |t: &mut Value| {
        t["version"] = json!(71);
        t["head"]["sha256"] = json!("00".repeat(32));
    };
    assert_eq!(offer(other), Why::Equivocation { version: 7 });
    assert_eq!(trust.marks().timestamp(), 70);
}

#[test]
fn roots_follow_each_other_one_by_one() {
    let mut trust = enrolled();
    let second = root(2, &[11, 12, 14], ONLINE, &[1, 3]);
    assert_eq!(
        why(trust.root_offered(&root(3, &CONFIG, ONLINE, &[1, 2]))),
        Why::RootGap { offered: 3, current: 1 }
    );
    assert_eq!(
        why(trust.root_offered(&root(2, &CONFIG, ONLINE, &[1]))),
        Why::Signatures { role: RoleKind::Root, root: 1, have: 1, need: 2 }
    );
    assert!(trust.root_offered(&second).unwrap());
    assert!(!trust.root_offered(&second).unwrap());
    assert_eq!(
        why(trust.root_offered(&root(1, &CONFIG, ONLINE, &[1, 2]))),
        Why::Rollback { offered: 1, seen: 2 }
    );
    assert_eq!(why(trust.root_offered(&root(2, &CONFIG, ONLINE, &[1, 2]))), Why::Equivocation { version: 2 });
    // The key that root 2 dropped counts no more, also for a bundle that it signed before.
    let bundle = bundle_of(|_| {}, &[11, 13]);
    let current = trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    assert_eq!(
        why(trust.bundle_offered(&bundle, &current, &noon())),
        Why::Signatures { role: RoleKind::Config, root: 2, have: 1, need: 2 }
    );
}

/// The next root must be signed by its own keys as well: a root that nobody can follow ends the fleet.
#[test]
fn a_root_whose_own_keys_have_not_signed_is_refused() {
    let roles = [role(&[4, 5, 6], 2), role(&CONFIG, 2), role(&[ONLINE], 1)];
    let next = Root::new("st-anna".to_owned(), 2, at("2027-11-22"), roles).unwrap().to_payload();
    let by = |signers: &[u8]| signed_by(Root::PAYLOAD_TYPE, next.clone(), signers);
    let mut trust = enrolled();
    assert_eq!(
        why(trust.root_offered(&by(&[1, 2, 4]))),
        Why::Signatures { role: RoleKind::Root, root: 2, have: 1, need: 2 }
    );
    assert!(trust.root_offered(&by(&[1, 2, 4, 6])).unwrap());
}

#[test]
fn a_new_timestamp_key_begins_its_numbers_anew() {
    let bundle = bundle_of(|_| {}, &[11, 12]);
    let mut trust = enrolled();
    trust
        .timestamp_offered(&timestamp_of(&bundle, |t| t["version"] = json!(9_000), ONLINE), &noon())
        .unwrap();
    trust.root_offered(&root(2, &CONFIG, 22, &[1, 2])).unwrap();
    assert_eq!((trust.marks().timestamp(), trust.marks().floor()), (0, Wall::from_millis(0)));
    assert!(matches!(
        why(trust.timestamp_offered(&timestamp_of(&bundle, |t| t["version"] = json!(9_001), ONLINE), &noon())),
        Why::Signatures { .. }
    ));
    trust.timestamp_offered(&timestamp_of(&bundle, |t| t["version"] = json!(1), 22), &noon()).unwrap();
}

#[test]
fn a_clock_that_nobody_vouches_for_makes_nothing_valid_for_ever() {
    let bundle = bundle_of(|_| {}, &[11, 12]);
    let stamp = |version: u64, issued: &str, expires: &str| {
        let change = |t: &mut Value| {
            (t["version"], t["issued_at"], t["expires"]) = (json!(version), json!(issued), json!(expires));
        };
        timestamp_of(&bundle, change, ONLINE)
    };
    let first = stamp(1, "2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z");
    let epoch = now("1970-01-01T00:00:10Z", ClockSync::Unsynced);
    let mut trust = enrolled();
    assert_eq!(why(trust.timestamp_offered(&first, &epoch)), Why::ClockUnknown);
    trust.timestamp_offered(&first, &noon()).unwrap();
    let later = stamp(2, "2026-11-25T00:00:00Z", "2026-11-27T00:00:00Z");
    // Newer than every one seen, and that is all that is known.
    assert_eq!(trust.timestamp_offered(&later, &epoch).unwrap().freshness(), Freshness::Unknown);
    // What expired before the newest was issued has expired, whatever the clock says.
    let stale = stamp(3, "2026-11-23T00:00:00Z", "2026-11-24T12:00:00Z");
    assert!(matches!(why(trust.timestamp_offered(&stale, &epoch)), Why::Expired { .. }));
    // A clock that is set, but before that, is not one to expire documents by.
    let before = now("2026-11-20", ClockSync::Synced);
    assert_eq!(trust.timestamp_offered(&later, &before).unwrap().freshness(), Freshness::Unknown);
    let future = stamp(4, "2026-12-25T00:00:00Z", "2026-12-27T00:00:00Z");
    assert!(matches!(
        why(trust.timestamp_offered(&future, &now("2026-11-26", ClockSync::Synced))),
        Why::IssuedAhead { .. }
    ));
    assert!(matches!(
        why(trust.timestamp_offered(&later, &now("2026-11-28", ClockSync::Synced))),
        Why::Expired { .. }
    ));
    // Nor is a root that has expired one to judge by.
    let next_year = stamp(5, "2027-11-30T00:00:00Z", "2027-12-01T00:00:00Z");
    let expired = why(trust.timestamp_offered(&next_year, &now("2027-11-30T12:00:00Z", ClockSync::Synced)));
    assert_eq!(expired, Why::Expired { at: at("2027-11-22").0 });
}

#[test]
fn a_gateway_moves_only_where_its_own_group_sends_it() {
    let transfers = |b: &mut Value| {
        b["members"] = json!(["gw-2"]);
        b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    };
    let bundle = bundle_of(transfers, &[11, 12]);
    let mut trust = enrolled();
    let current = trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    let verified = trust.bundle_offered(&bundle, &current, &noon()).unwrap();
    assert_eq!((verified.transfer_of("gw-1"), verified.transfer_of("gw-2")), (Some("icu-4"), None));
    trust.transferred("icu-4");
    let there = bundle_of(|b| b["group"] = json!("icu-4"), &[11, 12]);
    let stamp = timestamp_of(&there, |t| t["group"] = json!("icu-4"), ONLINE);
    let current = trust.timestamp_offered(&stamp, &noon()).unwrap();
    trust.bundle_offered(&there, &current, &noon()).unwrap();
    assert_eq!(trust.marks().group(), "icu-4");
}

#[test]
fn what_sent_a_gateway_away_does_not_send_it_away_again_when_it_is_back() {
    let transfers = |b: &mut Value| {
        b["members"] = json!(["gw-2"]);
        b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    };
    let away = bundle_of(transfers, &[11, 12]);
    let mut trust = enrolled();
    let stamp = timestamp_of(&away, |_| {}, ONLINE);
    let current = trust.timestamp_offered(&stamp, &noon()).unwrap();
    trust.bundle_offered(&away, &current, &noon()).unwrap();
    trust.transferred("icu-4");
    assert_eq!((trust.marks().timestamp(), trust.marks().bundle()), (0, 0));
    trust.transferred("icu-3");
    let refused = why(trust.timestamp_offered(&stamp, &noon()));
    assert!(matches!(refused, Why::HeadRollback { offered: 7, seen: 8 }), "{refused:?}");
    let older = timestamp_of(&away, |t| t["version"] = json!(69), ONLINE);
    assert!(matches!(why(trust.timestamp_offered(&older, &noon())), Why::Rollback { offered: 69, seen: 70 }));
    let next = bundle_of(|b| b["version"] = json!(8), &[11, 12]);
    let change = |t: &mut Value| {
        (t["version"], t["head"]["version"]) = (json!(71), json!(8));
    };
    let current = trust.timestamp_offered(&timestamp_of(&next, change, ONLINE), &noon()).unwrap();
    trust.bundle_offered(&next, &current, &noon()).unwrap();
    // No more groups are remembered than some.
    for number in 0..100 {
        trust.transferred(&format!("ward-{number}"));
    }
    assert!(serde_json::to_string(trust.marks()).unwrap().len() < 4_096);
}

#[test]
fn what_was_seen_survives_a_start_and_a_torn_write() {
    let bundle = bundle_of(|_| {}, &[11, 12]);
    let mut trust = enrolled();
    trust.timestamp_offered(&timestamp_of(&bundle, |_| {}, ONLINE), &noon()).unwrap();
    let first = Kept::new(trust.marks().clone()).next(trust.marks().clone()).unwrap();
    let second = first.kept.next(trust.marks().clone()).unwrap();
    assert_ne!(first.place, second.place);
    let (older, kept_marks) = (first.kept, second.kept);
    let (first, second) = (first.bytes, second.bytes);
    let kept = root(1, &CONFIG, ONLINE, &[1, 2]);
    for cut in 0..second.len() {
        let (read, before) = Kept::<Marks>::decode([first.as_slice(), &second[..cut]]).unwrap();
        assert_eq!(before, None);
        let resumed = Trust::resume(recipient(), &kept, read.value).unwrap();
        assert_eq!(resumed.marks().timestamp(), 70);
    }
    for copies in [[&first, &second], [&second, &first]] {
        let read = Kept::decode(copies.map(Vec::as_slice)).unwrap();
        assert_eq!(read, (kept_marks.clone(), Some(older.clone())));
    }
    assert!(Kept::<Marks>::decode([]).unwrap_err().to_string().contains("enrolled again"));
    let mut broken = second.clone();
    let digit = broken.iter().position(u8::is_ascii_digit).unwrap();
    broken[digit] ^= 1;
    assert!(
        Kept::<Marks>::decode([broken.as_slice()]).unwrap_err().to_string().contains("digest does not fit")
    );
    // An older root beside newer marks would bring dropped keys back.
    let mut newer = enrolled();
    newer.root_offered(&root(2, &CONFIG, ONLINE, &[1, 2])).unwrap();
    let back = Trust::resume(recipient(), &kept, newer.marks().clone());
    assert_eq!(why(back), Why::Rollback { offered: 1, seen: 2 });
    let other = Trust::resume(recipient(), &root(1, &CONFIG, ONLINE, &[2, 3]), enrolled().marks().clone());
    assert_eq!(why(other), Why::Equivocation { version: 1 });
}

#[test]
fn a_root_that_cannot_be_right_is_refused() {
    let good: Value = serde_json::from_slice(
        &Root::new(
            "st-anna".to_owned(),
            1,
            at("2027-11-22"),
            [role(&ROOT, 2), role(&CONFIG, 2), role(&[ONLINE], 1)],
        )
        .unwrap()
        .to_payload(),
    )
    .unwrap();
    assert!(Root::read(good.to_string().as_bytes()).is_ok());
    let first = good["keys"][0].clone();
    let cases: [(&str, Value, &str); 9] = [
        ("/version", json!(0), "versions start at 1"),
        ("/schema", json!(2), "update the program first"),
        ("/organisation", json!("st/anna"), "a name is"),
        ("/expires", json!("2027-11-22"), "is not a moment"),
        ("/keys/0/algorithm", json!("rsa"), "only ed25519 is taken"),
        ("/keys/0/id", json!("00".repeat(32)), "the SHA-256 of the key"),
        ("/keys/1", first, "twice"),
        ("/roles/root/threshold", json!(4), "wants 4 of 3 keys"),
        ("/roles/config/threshold", json!(0), "wants 0 of 3 keys"),
    ];
    for (place, value, words) in cases {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = value;
        let fault = Root::read(bad.to_string().as_bytes()).unwrap_err();
        assert!(fault.contains(words), "{place}: {fault}");
    }
    // The key that is online must not be one of those in the safe.
    let mut shared = good.clone();
    shared["roles"]["timestamp"]["keys"][0] = good["roles"]["root"]["keys"][0].clone();
    assert!(Root::read(shared.to_string().as_bytes()).unwrap_err().contains("another role"));
    let mut extra = good.clone();
    extra["roles"]["config"]["keys"].as_array_mut().unwrap().pop();
    assert!(Root::read(extra.to_string().as_bytes()).unwrap_err().contains("no role has"));
}

#[test]
fn endless_data_ends_before_it_is_parsed() {
    let long = vec![b' '; Bundle::CAP + 1];
    let mut trust = enrolled();
    let current = current_of(&bundle_of(|_| {}, &[11, 12]));
    let length = long.len();
    assert_eq!(
        why(trust.bundle_offered(&long, &current, &noon())),
        Why::Envelope(EnvelopeFault::TooLong { length, cap: Bundle::CAP })
    );
    assert_eq!(why(trust.root_offered(&long)).attack(), Some("endless data"));
    assert_eq!(why(trust.timestamp_offered(&long, &noon())).attack(), Some("endless data"));
}

proptest! {
    /// Whatever byte of a signed document is another one: it is refused, or means the same.
    #[test]
    fn no_byte_can_be_changed(place in any::<prop::sample::Index>(), flip in 1u8..) {
        let bundle = bundle_of(|_| {}, &[11, 12]);
        let stamp = timestamp_of(&bundle, |_| {}, ONLINE);
        let mut changed = stamp.clone();
        let place = place.index(changed.len());
        changed[place] ^= flip;
        let (good, other) =
            (enrolled().timestamp_offered(&stamp, &noon()).unwrap(), enrolled().timestamp_offered(&changed, &noon()));
        prop_assert!(other.is_err() || other.as_ref() == Ok(&good));
        let mut changed = bundle.clone();
        let place = place % changed.len();
        changed[place] ^= flip;
        prop_assert!(enrolled().bundle_offered(&changed, &good, &noon()).is_err());
    }
}

/// A thief of the online key cannot use up the numbers of a gateway that has seen none yet; and what it can reach is
/// forgotten with the next root that drops the key.
#[test]
fn the_first_number_is_bounded_and_a_root_brings_a_gateway_back() {
    let bundle = bundle_of(|_| {}, &[11, 12]);
    let first = |version: u64| timestamp_of(&bundle, |t| t["version"] = json!(version), ONLINE);
    for far in [MAX_FIRST + 1, u64::MAX] {
        let mut trust = enrolled();
        let refusal = trust.timestamp_offered(&first(far), &noon()).unwrap_err();
        assert_eq!(refusal.why, Why::FastForward { offered: far, seen: 0, most: MAX_FIRST });
        assert_eq!((refusal.why.attack(), trust.marks().timestamp()), (Some("fast-forward"), 0));
    }
    let head = |t: &mut Value| t["head"]["version"] = json!(MAX_FIRST + 1);
    let refusal = enrolled().timestamp_offered(&timestamp_of(&bundle, head, ONLINE), &noon()).unwrap_err();
    assert_eq!(refusal.why.attack(), Some("fast-forward"));
    let mut trust = enrolled();
    trust.timestamp_offered(&first(MAX_FIRST), &noon()).unwrap();
    let honest = timestamp_of(&bundle, |_| {}, ONLINE);
    assert!(matches!(why(trust.timestamp_offered(&honest, &noon())), Why::Rollback { .. }));
    // TUF section 5.3.11.
    assert!(trust.root_offered(&root(2, &CONFIG, 22, &[1, 2])).unwrap());
    let honest = timestamp_of(&bundle, |t| t["head"]["root"] = json!(2), 22);
    trust.timestamp_offered(&honest, &noon()).unwrap();
    assert_eq!(trust.marks().timestamp(), 70);
}
