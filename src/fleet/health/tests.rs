use super::*;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn device(id: &str, ago: Option<u64>) -> DeviceVitals {
    DeviceVitals { id: id.to_owned(), since_reading: ago.map(secs), quiet: secs(30) }
}

fn well() -> Vitals {
    Vitals {
        is_uplink_up: true,
        was_uplink_up: true,
        is_authorised: true,
        taken: 3,
        kept: 4,
        read: 3,
        is_store_sound: true,
        devices: vec![device("pump-1", Some(2)), device("pump-2", Some(5)), device("scale", None)],
        decoded: 1_000,
        undecoded: 0,
        memory: 20 << 20,
        is_alive: true,
        is_certificate_good: true,
    }
}

fn after(since: u64, change: impl FnOnce(&mut Vitals)) -> Step {
    let mut now = well();
    change(&mut now);
    judge(&baseline(&well()), &now, secs(since), &Limits::default())
}

fn baseline(before: &Vitals) -> Baseline {
    Baseline::of(before, &Limits::default())
}

fn reason(step: Step) -> String {
    match step {
        Step::RollBack(failing) => failing.to_string(),
        other @ (Step::Wait(_) | Step::Commit(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_gateway_that_is_as_well_as_before_commits_at_the_end_and_not_earlier() {
    assert_eq!(after(299, |_| {}), Step::Wait(Vec::new()));
    assert_eq!(after(300, |_| {}), Step::Commit(Vec::new()));
}

#[test]
fn each_condition_can_end_a_trial() {
    assert_eq!(reason(after(120, |now| now.is_uplink_up = false)), "uplink: no connection after 120 s");
    // There is a connection: nothing of the new configuration has been seen to arrive.
    assert!(reason(after(120, |now| now.taken = 0)).starts_with("uplink: nothing of this trial"));
    assert_eq!(reason(after(120, |now| now.kept = 0)), "store: nothing was made durable after 120 s");
    assert_eq!(reason(after(120, |now| now.read = 0)), "store: nothing was read again after 120 s");
    assert!(reason(after(10, |now| now.is_store_sound = false)).starts_with("store"));
    let silent = |now: &mut Vitals| now.devices[1] = device("pump-2", Some(70));
    assert_eq!(reason(after(60, silent)), "devices: pump-2 has given nothing for 60 s");
    assert!(reason(after(300, |now| now.undecoded = 30)).starts_with("decoding: 30 of 1030"));
    assert_eq!(reason(after(10, |now| now.memory = 65 << 20)), "memory: 65 MiB are used, 64 are allowed");
    assert!(reason(after(10, |now| now.is_alive = false)).starts_with("alive"));
    assert!(reason(after(10, |now| now.is_certificate_good = false)).starts_with("certificate"));
}

/// Else a bundle would excuse the silence that it makes.
#[test]
fn a_device_is_judged_by_how_long_it_might_be_quiet_before() {
    let mute = |now: &mut Vitals| {
        now.devices[0] = DeviceVitals { quiet: secs(86_400), ..device("pump-1", None) };
    };
    assert!(matches!(after(59, mute), Step::Wait(failing) if failing.len() == 1));
    assert_eq!(reason(after(60, mute)), "devices: pump-1 has given nothing for 60 s");
    // One that might be quiet for long before proves nothing, whatever the bundle says of it.
    let mut before = well();
    before.devices[0].quiet = secs(600);
    let mut now = well();
    now.devices[0] = device("pump-1", None);
    let step = judge(&baseline(&before), &now, secs(300), &Limits::default());
    assert!(matches!(step, Step::Commit(unproven) if unproven.len() == 1));
    // A baseline of an older program knows no times.
    let mut older = baseline(&well());
    older.quiet.clear();
    assert!(reason(judge(&older, &now, secs(60), &Limits::default())).contains("pump-1"));
}

#[test]
fn what_may_still_come_is_waited_for() {
    assert!(matches!(after(119, |now| now.is_uplink_up = false), Step::Wait(failing) if failing.len() == 1));
    assert!(matches!(after(119, |now| now.kept = 0), Step::Wait(failing) if failing.len() == 1));
    let silent = |now: &mut Vitals| now.devices[0] = device("pump-1", None);
    assert!(matches!(after(59, silent), Step::Wait(failing) if failing.len() == 1));
}

#[test]
fn a_connection_that_broke_a_moment_before_the_trial_has_to_come_back() {
    let mut before = well();
    before.is_uplink_up = false;
    let now = Vitals { taken: 0, ..well() };
    let reason = reason(judge(&baseline(&before), &now, secs(120), &Limits::default()));
    assert!(reason.starts_with("uplink: nothing of this trial was taken"), "{reason}");
    before.was_uplink_up = false;
    assert!(!baseline(&before).is_uplink_up);
}

#[test]
fn a_bundle_is_not_blamed_for_what_was_so_before() {
    let mut before = well();
    (before.is_uplink_up, before.was_uplink_up) = (false, false);
    before.devices[0].since_reading = Some(secs(61));
    before.is_certificate_good = false;
    before.undecoded = 100;
    (before.memory, before.is_store_sound, before.is_alive) = (65 << 20, false, false);
    let mut now = before.clone();
    now.devices[0].since_reading = None;
    now.devices.push(device("new", None));
    now.undecoded = 190;
    assert_eq!(judge(&baseline(&before), &now, secs(300), &Limits::default()), Step::Commit(Vec::new()));
    // A device that the bundle removes is not missed.
    now.devices.remove(1);
    assert_eq!(judge(&baseline(&before), &now, secs(300), &Limits::default()), Step::Commit(Vec::new()));
}

/// A point-of-care analyser that speaks once a day has not failed because it is quiet for five minutes.
#[test]
fn a_device_that_is_quiet_for_longer_than_the_trial_decides_nothing() {
    let mut before = well();
    before.devices[0] =
        DeviceVitals { id: "analyser".to_owned(), since_reading: Some(secs(3_600)), quiet: secs(86_400) };
    before.devices[1].quiet = secs(151);
    let mut now = before.clone();
    now.devices[0].since_reading = Some(secs(3_900));
    now.devices[1].since_reading = None;
    let unproven = |step| match step {
        Step::Commit(failing) => failing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other @ (Step::Wait(_) | Step::RollBack(_)) => panic!("{other:?}"),
    };
    assert_eq!(
        unproven(judge(&baseline(&before), &now, secs(300), &Limits::default())),
        ["devices: analyser has given nothing for 300 s", "devices: pump-2 has given nothing for 300 s"]
    );
    // One that was heard twice within such a time does.
    before.devices[1].quiet = secs(150);
    let step = judge(&baseline(&before), &now, secs(300), &Limits::default());
    assert!(reason(step).contains("pump-2"));
}

#[test]
fn a_trial_knows_when_it_ends() {
    let began = Mono::from_nanos(7_000_000_000);
    let trial = Trial::new(baseline(&well()), Limits::default(), began);
    let early = trial.handle_vitals(&well(), began + secs(299));
    assert_eq!((early, trial.ends_at()), (Step::Wait(Vec::new()), began + secs(300)));
    assert_eq!(trial.handle_vitals(&well(), trial.ends_at()), Step::Commit(Vec::new()));
    let mut dead = well();
    dead.is_uplink_up = false;
    assert!(reason(trial.handle_vitals(&dead, trial.ends_at())).starts_with("uplink"));
}

#[test]
fn a_bundle_cannot_talk_the_trial_away() {
    let floor = Floor::default();
    let nothing = Limits { trial: secs(0), uplink: secs(1 << 40), memory: u64::MAX };
    let clamped = nothing.clamped(&floor);
    assert_eq!(clamped, Limits { trial: secs(300), uplink: secs(300), memory: 256 << 20 });
    let endless = Limits { trial: Duration::MAX, uplink: secs(0), memory: 0 }.clamped(&floor);
    assert_eq!(endless, Limits { trial: secs(3_600), uplink: secs(30), memory: 16 << 20 });
    assert_eq!(Limits::default().clamped(&floor), Limits::default());
}

/// Whoever was without a broker before cannot see that the new one is none: so it has to be there.
#[test]
fn a_broker_that_takes_events_and_forbids_readings_ends_a_trial_unless_it_did_so_before() {
    let forbidden = "uplink: the broker's access list forbids what is sent, after 120 s";
    assert_eq!(reason(after(120, |now| now.is_authorised = false)), forbidden);
    assert!(matches!(after(119, |now| now.is_authorised = false), Step::Wait(failing) if failing.len() == 1));
    let mut before = well();
    before.is_authorised = false;
    let now = before.clone();
    let judged = |baseline: &Baseline| judge(baseline, &now, secs(300), &Limits::default());
    assert_eq!(judged(&baseline(&before)), Step::Commit(Vec::new()));
    // Elsewhere it has to be proven in any case.
    let elsewhere = Baseline { is_uplink_another: true, ..baseline(&before) };
    assert_eq!(reason(judged(&elsewhere)), forbidden.replace("120", "300"));
}

#[test]
fn a_bundle_that_leads_elsewhere_has_to_arrive_there_whatever_was_before() {
    let mut before = well();
    (before.is_uplink_up, before.was_uplink_up, before.taken, before.read) = (false, false, 0, 0);
    let another = Baseline { is_uplink_another: true, ..baseline(&before) };
    let limits = Limits::default();
    let step = judge(&another, &before, secs(300), &limits);
    assert_eq!(reason(step), "uplink: no connection after 300 s");
    // A CONNACK alone is none of its word.
    let now = Vitals { is_uplink_up: true, read: 1, ..before.clone() };
    assert!(reason(judge(&another, &now, secs(300), &limits)).starts_with("uplink: nothing of this trial"));
    assert_eq!(judge(&another, &well(), secs(300), &limits), Step::Commit(Vec::new()));
    // One that leads to where it led before is not blamed.
    assert_eq!(judge(&baseline(&before), &before, secs(300), &limits), Step::Commit(Vec::new()));
}

#[test]
fn where_no_broker_is_the_store_still_has_to_take_the_trials_own_record() {
    let mut before = well();
    (before.is_uplink_up, before.was_uplink_up, before.taken, before.read) = (false, false, 0, 0);
    let now = Vitals { kept: 0, ..before.clone() };
    let step = judge(&baseline(&before), &now, secs(120), &Limits::default());
    assert_eq!(reason(step), "store: nothing was made durable after 120 s");
    assert_eq!(judge(&baseline(&before), &before, secs(300), &Limits::default()), Step::Commit(Vec::new()));
}
