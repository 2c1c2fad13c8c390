use super::*;

const DAY: u64 = 86_400;

struct Draw(u64);

impl Random for Draw {
    fn next_u64(&mut self) -> u64 {
        self.0
    }
}

/// 90 days from day 1000 since 1970.
fn lifetime(draw: u64) -> Lifetime {
    let day = |day: i64| Wall::from_millis(day * DAY_MS);
    Lifetime { from: day(1_000), until: day(1_090), draw }
}

/// The middle of the jitter.
fn middle() -> Lifetime {
    lifetime(6 * DAY * 1_000)
}

/// So many days and hours into the certificate's life.
fn at(days: i64, hours: i64) -> Now {
    let since = days * DAY_MS + hours * 3_600_000;
    let mono = Mono::from_nanos(u64::try_from(since.max(0)).unwrap() * 1_000_000);
    let wall = Wall::from_millis(1_000 * DAY_MS + since);
    Now { mono, wall, sync: ClockSync::Synced, max_error_us: 0 }
}

#[test]
fn a_certificate_is_due_at_two_thirds_of_its_life_and_a_fleet_is_spread() {
    let days = |lifetime: Lifetime| (lifetime.due().as_millis() - lifetime.from.as_millis()) / DAY_MS;
    assert_eq!(days(middle()), 60);
    let dues: Vec<i64> =
        (0..1_000).map(|n: u64| days(lifetime(n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))).collect();
    assert_eq!((dues.iter().min(), dues.iter().max()), (Some(&54), Some(&65)));
    // A certificate that is for no time at all is always due.
    let none = Lifetime { until: Wall::from_millis(0), ..middle() };
    assert_eq!(none.due(), none.from);
}

#[test]
fn it_is_asked_for_when_due_at_any_start_and_after_any_step_of_the_clock() {
    for (day, step) in
        [(0, Step::Rest(LOOK)), (59, Step::Rest(LOOK)), (60, Step::Ask), (89, Step::Ask), (200, Step::Ask)]
    {
        assert_eq!(Renewal::new(middle(), None).step(at(day, 0)), step, "day {day}");
    }
    // One and the same renewal, its clock moved on and back.
    let renewal = Renewal::new(middle(), None);
    assert_eq!(renewal.step(at(61, 0)), Step::Ask);
    assert_eq!(renewal.step(at(1, 0)), Step::Rest(LOOK));
    // A clock that was never set says nothing; a next certificate is tried all the same.
    let never_set = Now::default();
    assert_eq!(renewal.step(never_set), Step::Rest(LOOK));
    assert_eq!(Renewal::new(middle(), Some(middle())).step(never_set), Step::Try);
    assert_eq!(renewal.state(at(1, 0)), State::Good { due: middle().due() });
    assert_eq!(renewal.state(at(61, 0)), State::Due);
}

#[test]
fn the_age_becomes_an_alarm_where_the_clock_can_be_trusted() {
    for (days, hours, alarm) in [
        (0, 0, Alarm::None),
        (75, 23, Alarm::None),
        (76, 1, Alarm::Soon),
        (87, 1, Alarm::Urgent),
        (90, 0, Alarm::Urgent),
        (90, 1, Alarm::Expired),
    ] {
        assert_eq!(middle().alarm(at(days, hours)), alarm, "{days} d {hours} h");
        let unsure = Now { sync: ClockSync::Unsynced, ..at(days, hours) };
        assert_eq!(middle().alarm(unsure), Alarm::None);
    }
    // One for six days is not alarming from its first moment.
    let short = Lifetime { until: Wall::from_millis(1_006 * DAY_MS), ..middle() };
    assert_eq!((short.alarm(at(4, 23)), short.alarm(at(5, 1))), (Alarm::None, Alarm::Soon));
}

#[test]
fn the_server_is_not_asked_in_a_hurry_and_its_own_time_is_kept() {
    let failed = |passes, wait: Option<u64>| Asked::Failed { passes, wait: wait.map(Duration::from_secs) };
    let now = at(61, 0);
    for (asked, draw, wait) in [
        (failed(true, None), 0, 10),
        (failed(true, None), 100_000, 100),
        (failed(true, Some(500)), 0, 500),
        (failed(false, None), 0, 3_600),
        (Asked::Later(Duration::from_secs(7)), 0, 60),
        (Asked::Later(Duration::from_secs(600)), 100_000, 700),
        (failed(true, Some(4_000)), 100_000, 4_100),
    ] {
        let mut renewal = Renewal::new(middle(), None);
        renewal.asked(asked, now.mono, &mut Draw(draw));
        let at = |seconds| Now { mono: now.mono + Duration::from_secs(seconds), ..now };
        assert!(matches!(renewal.step(at(wait - 1)), Step::Rest(rest) if rest.as_secs() == 1), "{asked:?}");
        assert_eq!(renewal.step(at(wait)), Step::Ask, "{asked:?}");
        let until = now.mono + Duration::from_secs(wait);
        let waiting = matches!(asked, Asked::Later(_));
        let state = if waiting { State::Waiting { until } } else { State::Failed { until } };
        assert_eq!(renewal.state(now), state);
    }
    // However often it fails, it is asked four times a day at least.
    let (mut renewal, mut longest) = (Renewal::new(middle(), None), Duration::ZERO);
    for _ in 0..40 {
        renewal.asked(failed(true, None), now.mono, &mut Draw(6 * 3_600 * 1_000));
        let Some((until, _)) = renewal.pause else { panic!("no pause") };
        longest = longest.max(until.since(now.mono));
    }
    assert!(longest <= BOUNDS.most && longest > BOUNDS.most / 2, "{longest:?}");
}

#[test]
fn only_a_connack_promotes_and_three_refusals_end_a_certificate() {
    let now = at(61, 0);
    let mut renewal = Renewal::new(middle(), None);
    renewal.asked(Asked::Issued(middle()), now.mono, &mut Draw(0));
    assert_eq!((renewal.step(now), renewal.state(now)), (Step::Try, State::Trying));
    let gone = Trial::Unreachable("no route".to_owned());
    for _ in 0..10 {
        assert_eq!(renewal.tried(&gone, now.mono, &mut Draw(0)), Verdict::Keep, "nobody has refused it");
    }
    let refused = Trial::Refused("bad certificate".to_owned());
    for _ in 1..MAX_REFUSALS {
        assert_eq!(renewal.tried(&refused, now.mono, &mut Draw(0)), Verdict::Keep);
        assert!(matches!(renewal.state(now), State::Fallback { .. }));
    }
    assert_eq!(renewal.tried(&refused, now.mono, &mut Draw(0)), Verdict::Drop);
    let later = |seconds| Now { mono: now.mono + Duration::from_secs(seconds), ..now };
    assert!(matches!(renewal.step(later(3_599)), Step::Rest(_)), "not at once");
    assert_eq!(renewal.step(later(3_600)), Step::Ask);
    assert_eq!(
        Renewal::new(middle(), Some(middle())).tried(&Trial::Won, now.mono, &mut Draw(0)),
        Verdict::Promote
    );
}

#[test]
fn a_certificate_of_a_server_whose_clock_is_ahead_waits_for_its_first_moment() {
    let renewal = Renewal::new(middle(), Some(Lifetime { from: at(61, 1).wall, ..middle() }));
    assert_eq!(renewal.step(at(61, 0)), Step::Rest(LOOK));
    let nearly = Now { wall: Wall::from_millis(at(61, 1).wall.as_millis() - 5_000), ..at(61, 0) };
    assert_eq!(renewal.step(nearly), Step::Rest(Duration::from_secs(5)));
    assert_eq!(renewal.step(at(61, 1)), Step::Try);
    // Nobody vouches for the clock: the broker decides.
    assert_eq!(renewal.step(Now { sync: ClockSync::Unsynced, ..at(61, 0) }), Step::Try);
}

#[test]
fn who_was_enrolled_again_by_hand_begins_anew() {
    let now = at(61, 0);
    let mut renewal = Renewal::new(middle(), None);
    renewal.asked(Asked::Failed { passes: false, wait: None }, now.mono, &mut Draw(0));
    renewal.found(middle(), None);
    assert!(matches!(renewal.step(now), Step::Rest(_)), "nothing changed");
    renewal.found(middle(), Some(middle()));
    assert_eq!(renewal.step(now), Step::Try);
    renewal.found(lifetime(0), None);
    assert_eq!((renewal.present(), renewal.step(at(1, 0))), (lifetime(0), Step::Rest(LOOK)));
}

/// Day 0 of the certificate, by time since boot, with another wall.
fn never_set(days: i64) -> Now {
    Now { wall: Wall::from_millis(0), sync: ClockSync::Unsynced, ..at(days, 0) }
}

#[test]
fn a_clock_before_the_certificate_does_not_rest_for_ever() {
    let mut renewal = Renewal::new(middle(), None);
    renewal.handle_look(never_set(1), (None, Duration::ZERO), &mut Draw(0));
    assert_eq!(renewal.step(never_set(60)), Step::Rest(LOOK));
    assert_eq!(renewal.step(never_set(61)), Step::Ask);
    assert_eq!(renewal.state(never_set(61)), State::Due);
    // What was known of it before a start counts.
    let mut renewal = Renewal::new(middle(), None);
    renewal.handle_look(never_set(1), (None, Duration::from_secs(59 * DAY)), &mut Draw(0));
    assert_eq!(renewal.step(never_set(1)), Step::Rest(LOOK));
    assert_eq!(renewal.step(never_set(2)), Step::Ask);
    // Another certificate is young again.
    renewal.found(lifetime(6 * DAY * 1_000 + 1), None);
    assert_eq!(renewal.step(never_set(2)), Step::Rest(LOOK));
}

#[test]
fn a_certificate_that_is_due_at_its_issue_makes_no_storm() {
    let (mut now, mut asked) = (at(61, 0), 0);
    let mut renewal = Renewal::new(middle(), None);
    let mut renewed = None;
    let end = at(62, 0).mono;
    while now.mono < end {
        renewal.handle_look(now, (renewed, Duration::ZERO), &mut Draw(0));
        let rest = match renewal.step(now) {
            Step::Rest(rest) => rest,
            Step::Ask => {
                asked += 1;
                renewed = Some(Renewed::new(middle(), now));
                renewal.asked(Asked::Issued(middle()), now.mono, &mut Draw(0));
                Duration::from_millis(100)
            }
            Step::Try => {
                assert_eq!(renewal.tried(&Trial::Won, now.mono, &mut Draw(0)), Verdict::Promote);
                // Its lifetime lies as far back as that of the one before.
                renewal.found(middle(), None);
                Duration::from_millis(100)
            }
        };
        now = Now {
            mono: now.mono + rest,
            wall: Wall::from_millis(now.wall.as_millis() + rest_ms(rest)),
            ..now
        };
    }
    assert!((2..=4).contains(&asked), "{asked} certificates in a day");
}

fn rest_ms(rest: Duration) -> i64 {
    i64::try_from(rest.as_millis()).unwrap()
}

#[test]
fn a_server_that_always_wants_time_is_asked_less_and_less() {
    let (mut now, mut waits) = (at(61, 0), Vec::new());
    let mut renewal = Renewal::new(middle(), None);
    for number in 0..8 {
        renewal.asked(Asked::Later(Duration::from_secs(1)), now.mono, &mut Draw(0));
        assert_eq!(renewal.is_first_wait(), number == 0);
        let State::Waiting { until } = renewal.state(now) else { panic!("{:?}", renewal.state(now)) };
        waits.push(until.since(now.mono).as_secs());
        now = Now { mono: until, ..now };
        assert_eq!(renewal.step(now), Step::Ask);
    }
    assert_eq!(waits, [60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
}
