use serde_json::json;

use super::*;
use crate::fleet::health::Baseline;
use crate::fleet::workshop::*;
use crate::time::ClockSync;

fn agent() -> Agent {
    let mut agent = Agent::new(enrolled(), "gw-1".to_owned());
    assert_eq!(actions(&mut agent), [Action::Want(Which::Root(2)), Action::Want(Which::Timestamp)]);
    agent
}

fn actions(agent: &mut Agent) -> Vec<Action> {
    std::iter::from_fn(|| agent.poll_action()).collect()
}

fn offer(agent: &mut Agent, which: Which, bytes: &[u8], change: &Change, now: &Now) -> Vec<Action> {
    agent.handle_document(which, bytes, change, now);
    actions(agent)
}

fn slot(bytes: &[u8]) -> Slot {
    Slot { version: 7, sha256: Digest::of(bytes) }
}

/// A timestamp whose only canary is gw-1.
fn stamp(bundle: &[u8], version: u64) -> Vec<u8> {
    let change = |t: &mut serde_json::Value| {
        t["version"] = json!(version);
        t["rollout"] = json!({ "id": "r-7", "canaries": ["gw-1"] });
    };
    timestamp_of(bundle, change, ONLINE)
}

#[test]
fn a_bundle_is_asked_for_once_and_staged() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let mut change = Change::default();
    assert_eq!(agent.standing(&change, &noon()), Standing::Unheard);
    // It comes before anybody asked.
    assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
    let asked = offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    assert_eq!(asked, [Action::See, Action::Want(Which::Bundle(7))]);
    assert_eq!(agent.standing(&change, &noon()), Standing::Fetches(7));
    // The same again after a connection, and a newer one that says the same.
    assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon()), []);
    assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 71), &change, &noon()), [Action::See]);
    let staged = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    assert_eq!(staged, [Action::Stage(slot(&bundle), bundle.clone())]);
    change.stage(slot(&bundle));
    assert_eq!(agent.standing(&change, &noon()), Standing::UnderWay(7));
    let begins = [Action::Begin(slot(&bundle))];
    assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), begins);
    change.begin(Baseline::default());
    change.commit();
    assert_eq!(agent.standing(&change, &noon()), Standing::Current);
    assert_eq!(agent.wakes_at(&change, &noon()), Some(Wall::read("2026-11-24").unwrap()));
    let late = now("2026-11-24", ClockSync::Synced);
    assert_eq!(agent.standing(&change, &late), Standing::Stale(Wall::read("2026-11-24").unwrap()));
}

#[test]
fn what_failed_is_not_asked_for_again_and_what_runs_is_no_news() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let mut change = Change::default();
    change.stage(slot(&bundle));
    change.begin(Baseline::default());
    change.roll_back("no PUBACK");
    assert_eq!(offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon()), [Action::See]);
    assert_eq!(agent.standing(&change, &noon()), Standing::Failed(7, "no PUBACK".to_owned()));
    assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), []);
}

#[test]
fn a_gateway_waits_for_its_wave_and_through_a_pause() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let change = Change::default();
    let waves = |paused: bool, version: u64| {
        let change = move |t: &mut serde_json::Value| {
            t["version"] = json!(version);
            t["rollout"] = json!({
                "id": "r-7", "paused": paused,
                "waves": [{ "share": 10_000, "start": "2026-11-22T14:00:00Z" }],
            });
        };
        timestamp_of(&bundle, change, ONLINE)
    };
    let two = Wall::read("2026-11-22T14:00:00Z").unwrap();
    assert_eq!(offer(&mut agent, Which::Timestamp, &waves(false, 70), &change, &noon()), [Action::See]);
    assert_eq!(agent.standing(&change, &noon()), Standing::Waits(Some(two)));
    assert_eq!(agent.wakes_at(&change, &noon()), Some(two));
    let after = now("2026-11-22T14:00:00Z", ClockSync::Synced);
    // Without a clock to believe, the wave has not begun: the floor is the day's beginning.
    agent.handle_time(&change, &now("2026-11-22T15:00:00Z", ClockSync::Unsynced));
    assert_eq!(actions(&mut agent), []);
    assert_eq!(offer(&mut agent, Which::Timestamp, &waves(true, 71), &change, &after), [Action::See]);
    assert_eq!(agent.standing(&change, &after), Standing::Paused);
    let asked = offer(&mut agent, Which::Timestamp, &waves(false, 72), &change, &after);
    assert_eq!(asked, [Action::See, Action::Want(Which::Bundle(7))]);
}

#[test]
fn what_was_made_under_a_root_that_is_not_here_yet_waits_for_it() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let change = Change::default();
    let ahead = |t: &mut serde_json::Value| t["head"]["root"] = json!(3);
    let early = timestamp_of(&bundle, ahead, ONLINE);
    assert_eq!(offer(&mut agent, Which::Timestamp, &early, &change, &noon()), []);
    let (second, third) = (root(2, &CONFIG, ONLINE, &[1, 2]), root(3, &CONFIG, ONLINE, &[1, 2]));
    let kept = offer(&mut agent, Which::Root(2), &second, &change, &noon());
    let wants = |root: u64| [Action::Want(Which::Root(root)), Action::Want(Which::Timestamp)];
    assert_eq!(kept, [&[Action::KeepRoot(second.clone())][..], &wants(3)].concat());
    let kept = offer(&mut agent, Which::Root(3), &third, &change, &noon());
    assert_eq!(kept, [&[Action::KeepRoot(third.clone())][..], &wants(4), &[Action::See]].concat());
    assert_eq!(agent.standing(&change, &noon()), Standing::Waits(None));
    assert_eq!(offer(&mut agent, Which::Root(3), &third, &change, &noon()), []);
}

#[test]
fn what_is_not_believed_is_told_and_an_empty_message_is_nothing() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11]));
    let change = Change::default();
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    for which in [Which::Root(2), Which::Timestamp, Which::Bundle(7)] {
        assert_eq!(offer(&mut agent, which, b"", &change, &noon()), []);
    }
    let refused = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    let [Action::Refuse(refusal)] = &refused[..] else { panic!("{refused:?}") };
    assert!(refusal.to_string().contains("1 of the 2 config keys"), "{refusal}");
    let Standing::Refused(7, words) = agent.standing(&change, &noon()) else { panic!() };
    assert!(words.contains("1 of the 2 config keys"), "{words}");
}

#[test]
fn a_gateway_that_is_sent_elsewhere_listens_there() {
    let transfers = |b: &mut serde_json::Value| {
        b["members"] = json!(["gw-2"]);
        b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    };
    let (mut agent, bundle) = (agent(), bundle_of(transfers, &[11, 12]));
    let change = Change::default();
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    let sent = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    assert_eq!(sent, [Action::See, Action::Transfer("icu-4".to_owned()), Action::Want(Which::Timestamp)]);
    assert_eq!(
        (agent.trust().marks().group(), agent.standing(&change, &noon())),
        ("icu-4", Standing::Unheard)
    );
}

/// A timestamp with this roll-out; the only canary is gw-1.
fn rolled_out(bundle: &[u8], version: u64, paused: bool) -> Vec<u8> {
    let change = |t: &mut serde_json::Value| {
        t["version"] = json!(version);
        t["rollout"] = json!({ "id": "r-7", "canaries": ["gw-1"], "paused": paused });
    };
    timestamp_of(bundle, change, ONLINE)
}

#[test]
fn a_bundle_that_came_in_the_way_of_a_trial_is_asked_for_again() {
    let (mut agent, first) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let second = bundle_of(|b| b["version"] = json!(8), &[11, 12]);
    let newer = |t: &mut serde_json::Value| {
        (t["version"], t["head"]["version"]) = (json!(71), json!(8));
        t["rollout"] = json!({ "id": "r-8", "canaries": ["gw-1"] });
    };
    let mut change = Change::default();
    offer(&mut agent, Which::Timestamp, &stamp(&first, 70), &change, &noon());
    change.stage(slot(&first));
    change.begin(Baseline::default());
    let newer = timestamp_of(&second, newer, ONLINE);
    assert_eq!(offer(&mut agent, Which::Timestamp, &newer, &change, &noon()), [Action::See]);
    assert_eq!(offer(&mut agent, Which::Bundle(8), &second, &change, &noon()), []);
    assert_eq!(agent.standing(&change, &noon()), Standing::UnderWay(7));
    change.commit();
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [Action::Want(Which::Bundle(8))]);
    assert_eq!(agent.wanted(), [Which::Root(2), Which::Timestamp, Which::Bundle(8)]);
    // It was written to a disk that is full.
    let mut at = noon();
    for pause in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
        agent.handle_loss(&at);
        agent.handle_time(&change, &at);
        assert_eq!((actions(&mut agent), agent.standing(&change, &at)), (vec![], Standing::Fetches(8)));
        let until = at.mono + Duration::from_secs(pause);
        assert_eq!(agent.pauses_until(&at), Some(until));
        at.mono = until;
        agent.handle_time(&change, &at);
        assert_eq!(actions(&mut agent), [Action::Want(Which::Bundle(8))]);
    }
}

#[test]
fn what_is_staged_does_not_begin_once_the_roll_out_is_paused_or_its_word_has_expired() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let mut change = Change::default();
    offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 70, false), &change, &noon());
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    change.stage(slot(&bundle));
    let paused = offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 71, true), &change, &noon());
    assert_eq!(paused, [Action::See, Action::Unstage(Withdrawn::NoTurn)]);
    change.unstage();
    assert_eq!(agent.standing(&change, &noon()), Standing::Paused);
    let again = offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 72, false), &change, &noon());
    assert_eq!(again, [Action::See, Action::Want(Which::Bundle(7))]);
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    change.stage(slot(&bundle));
    agent.handle_time(&change, &now("2026-11-24", ClockSync::Synced));
    assert_eq!(actions(&mut agent), [Action::Unstage(Withdrawn::Stale)]);
}

#[test]
fn what_was_staged_before_the_start_or_by_other_keys_is_verified_anew() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 13]));
    let mut change = Change::default();
    change.stage(slot(&bundle));
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [], "nothing is known yet");
    let heard = offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    assert_eq!(heard, [Action::See, Action::Unstage(Withdrawn::Unverified)]);
    change.unstage();
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [Action::Want(Which::Bundle(7))]);
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    change.stage(slot(&bundle));
    // The next root drops key 13, and key 11 alone is not enough.
    let next = root(2, &[11, 12, 14], ONLINE, &[1, 2]);
    let wants = [Which::Root(3), Which::Timestamp].map(Action::Want);
    let expected =
        [&[Action::KeepRoot(next.clone()), Action::Unstage(Withdrawn::Unverified)][..], &wants].concat();
    assert_eq!(offer(&mut agent, Which::Root(2), &next, &change, &noon()), expected);
    change.unstage();
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [Action::Want(Which::Bundle(7))]);
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    assert!(
        matches!(agent.standing(&change, &noon()), Standing::Refused(7, words) if words.contains("root 2"))
    );
}

#[test]
fn a_timestamp_that_came_before_the_time_was_known_is_judged_when_it_is() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let change = Change::default();
    let epoch = now("1970-01-01T00:00:10Z", ClockSync::Unsynced);
    for version in [71, 70] {
        let told = offer(&mut agent, Which::Timestamp, &stamp(&bundle, version), &change, &epoch);
        assert!(matches!(&told[..], [Action::Refuse(refusal)] if refusal.why == Why::ClockUnknown));
    }
    agent.handle_time(&change, &epoch);
    assert_eq!((actions(&mut agent), agent.standing(&change, &epoch)), (vec![], Standing::Unheard));
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [Action::See, Action::Want(Which::Bundle(7))]);
    assert_eq!(agent.trust().marks().timestamp(), 71);
    // Later ones are taken without a clock, and judged again with one.
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 72), &change, &epoch);
    assert_eq!(agent.freshness(), Some(Freshness::Unknown));
    agent.handle_time(&change, &noon());
    assert_eq!(agent.freshness(), Some(Freshness::Known));
    // One that has long expired by then is not believed, and what is retained is asked for anew.
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 73), &change, &epoch);
    actions(&mut agent);
    agent.handle_time(&change, &now("2026-12-24", ClockSync::Synced));
    let told = actions(&mut agent);
    assert!(matches!(&told[..], [Action::Refuse(_), Action::Want(Which::Timestamp)]), "{told:?}");
    assert_eq!(agent.standing(&change, &now("2026-12-24", ClockSync::Synced)), Standing::Unheard);
}

#[test]
fn no_bundle_begins_while_an_alarm_is_active() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let mut change = Change::default();
    let at = |secs: u64| Now { mono: Mono::from_nanos(secs * 1_000_000_000), ..noon() };
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &at(0));
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &at(0));
    agent.handle_alarms(true, &change, &at(1));
    change.stage(slot(&bundle));
    agent.handle_time(&change, &at(2));
    assert_eq!(actions(&mut agent), []);
    assert_eq!(agent.standing(&change, &at(2)), Standing::UpdateLock { version: 7, is_long: false });
    assert_eq!(agent.standing(&change, &at(14_402)), Standing::UpdateLock { version: 7, is_long: true });
    agent.handle_alarms(false, &change, &at(14_410));
    assert_eq!((actions(&mut agent), agent.pauses_until(&at(14_410))), (vec![], Some(at(14_470).mono)));
    agent.handle_time(&change, &at(14_470));
    assert_eq!(actions(&mut agent), [Action::Begin(slot(&bundle))]);
    assert_eq!(agent.standing(&change, &at(14_470)), Standing::UnderWay(7));
}

/// A transfer waits for its turn and through a pause like every bundle, and is not forgotten over it.
#[test]
fn a_transfer_that_comes_too_early_is_asked_for_again() {
    let leaving = |b: &mut serde_json::Value| {
        // The last gateway of its ward.
        b["members"] = json!([]);
        b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
        b["not_before"] = json!("2026-11-22T13:00:00Z");
    };
    let (mut agent, bundle) = (agent(), bundle_of(leaving, &[11, 12]));
    let change = Change::default();
    offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 70, true), &change, &noon());
    assert_eq!(offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon()), []);
    assert_eq!(agent.standing(&change, &noon()), Standing::Paused);
    let asked = offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 71, false), &change, &noon());
    assert_eq!(asked, [Action::See, Action::Want(Which::Bundle(7))]);
    let early = offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    assert!(matches!(&early[..], [Action::Refuse(_)]), "{early:?}");
    let one = Wall::read("2026-11-22T13:00:00Z");
    assert_eq!(agent.standing(&change, &noon()), Standing::Waits(one));
    assert_eq!(agent.wakes_at(&change, &noon()), one);
    let then = now("2026-11-22T13:00:00Z", ClockSync::Synced);
    agent.handle_time(&change, &then);
    assert_eq!(actions(&mut agent), [Action::Want(Which::Bundle(7))]);
    let sent = offer(&mut agent, Which::Bundle(7), &bundle, &change, &then);
    assert_eq!(sent, [Action::See, Action::Transfer("icu-4".to_owned()), Action::Want(Which::Timestamp)]);
    // What comes late from the old group is not for this gateway any more.
    let old = offer(&mut agent, Which::Timestamp, &rolled_out(&bundle, 72, false), &change, &then);
    assert!(matches!(&old[..], [Action::Refuse(Refusal { why: Why::Place { .. }, .. })]), "{old:?}");
}

#[test]
fn a_group_that_does_not_list_the_gateway_changes_nothing_and_that_is_told() {
    let leaving = |b: &mut serde_json::Value| {
        b["members"] = json!(["gw-2"]);
        b["transfers"] = json!([{ "gateway": "gw-1", "to": "icu-4" }]);
    };
    let (mut agent, bundle) = (agent(), bundle_of(leaving, &[11, 12]));
    let mut change = Change::default();
    let runs = Slot { version: 6, sha256: Digest::of(b"six") };
    change.stage(runs);
    change.begin(Baseline::default());
    change.commit();
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    offer(&mut agent, Which::Bundle(7), &bundle, &change, &noon());
    let there = |members: &[&str], version: u64| {
        let bundle = bundle_of(
            |b| {
                b["group"] = json!("icu-4");
                (b["version"], b["members"]) = (json!(version), json!(members));
            },
            &[11, 12],
        );
        let change = |t: &mut serde_json::Value| {
            (t["group"], t["version"]) = (json!("icu-4"), json!(version));
            t["head"]["version"] = json!(version);
            t["rollout"] = json!({ "id": "r-1", "canaries": ["gw-1"] });
        };
        (timestamp_of(&bundle, change, ONLINE), bundle)
    };
    let (stamp, bundle) = there(&["gw-9"], 1);
    offer(&mut agent, Which::Timestamp, &stamp, &change, &noon());
    let told = offer(&mut agent, Which::Bundle(1), &bundle, &change, &noon());
    assert!(matches!(&told[..], [Action::Refuse(Refusal { why: Why::NotAMember { .. }, .. })]), "{told:?}");
    assert_eq!(agent.standing(&change, &noon()), Standing::NotListed(1, "icu-4".to_owned()));
    assert_eq!((change.effective(), agent.wanted()), (Some(runs), vec![Which::Root(2), Which::Timestamp]));
    agent.handle_time(&change, &noon());
    assert_eq!(actions(&mut agent), [], "the same bundle is not fetched over and over");
    let (stamp, bundle) = there(&["gw-1", "gw-9"], 2);
    offer(&mut agent, Which::Timestamp, &stamp, &change, &noon());
    let staged = offer(&mut agent, Which::Bundle(2), &bundle, &change, &noon());
    assert!(matches!(&staged[..], [Action::Stage(..)]), "{staged:?}");
}

#[test]
fn a_clock_that_contradicts_what_was_signed_is_told_once() {
    let (mut agent, bundle) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let change = Change::default();
    offer(&mut agent, Which::Timestamp, &stamp(&bundle, 70), &change, &noon());
    let back = now("2026-11-20", ClockSync::Synced);
    for expected in [vec![Action::ClockContradicts(Wall::read("2026-11-22").unwrap())], vec![]] {
        agent.handle_time(&change, &back);
        assert_eq!(actions(&mut agent), expected);
    }
}

#[test]
fn what_is_staged_does_not_begin_once_another_one_is_current() {
    let (mut agent, first) = (agent(), bundle_of(|_| {}, &[11, 12]));
    let second = bundle_of(|b| b["version"] = json!(8), &[11, 12]);
    let mut change = Change::default();
    offer(&mut agent, Which::Timestamp, &stamp(&first, 70), &change, &noon());
    offer(&mut agent, Which::Bundle(7), &first, &change, &noon());
    change.stage(slot(&first));
    let newer = |t: &mut serde_json::Value| {
        (t["version"], t["head"]["version"]) = (json!(71), json!(8));
        t["rollout"] = json!({ "id": "r-8", "paused": true });
    };
    let replaced =
        offer(&mut agent, Which::Timestamp, &timestamp_of(&second, newer, ONLINE), &change, &noon());
    assert_eq!(replaced, [Action::See, Action::Unstage(Withdrawn::Replaced)]);
}
