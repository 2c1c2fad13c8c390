use super::*;

const PERIOD: Duration = Duration::from_secs(90);

/// Always the longest wait that the bounds allow.
struct Longest;

impl Random for Longest {
    fn next_u64(&mut self) -> u64 {
        // One less than a multiple of every ceiling plus one is not to be had: close enough is `MAX`.
        u64::MAX
    }
}

/// No pause at all.
struct Zero;

impl Random for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// The ceiling itself: `x % (ceiling + 1)` is the ceiling.
struct Ceiling(u64);

impl Random for Ceiling {
    fn next_u64(&mut self) -> u64 {
        self.0
    }
}

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

/// One listed device, absent.
fn watchdog() -> Watchdog {
    Watchdog::new(PERIOD, 1, at(0))
}

/// Runs it to `until`, with steps that succeed at once, and gives what it did when.
fn steps(watchdog: &mut Watchdog, until: u64, random: &mut dyn Random) -> Vec<(u64, Step)> {
    let mut taken = Vec::new();
    while let Some(due) = watchdog.poll_timeout().filter(|due| *due <= at(until)) {
        assert_eq!(watchdog.poll_step(Mono::from_nanos(due.as_nanos() - 1), random), None, "too early");
        let step = watchdog.poll_step(due, random).expect("a time that was told has a step");
        watchdog.handle_scan(Ok(()), due);
        taken.push((due.since(at(0)).as_secs(), step));
    }
    taken
}

#[test]
fn each_period_of_silence_takes_a_harder_step_and_then_it_begins_anew() {
    let mut watchdog = watchdog();
    let expected = [
        (90, Step::RestartScan),
        (180, Step::PowerCycle),
        (270, Step::AskUsbReset),
        (360, Step::RestartScan),
        (450, Step::PowerCycle),
        (540, Step::AskUsbReset),
    ];
    assert_eq!(steps(&mut watchdog, 540, &mut Zero), expected);
    assert_eq!(watchdog.counts(), Counts { restarts: 2, power_cycles: 2, usb_resets_asked: 2 });
}

#[test]
fn the_pause_between_ladders_grows_to_its_most() {
    let mut watchdog = watchdog();
    let mut pauses = Vec::new();
    let mut ceiling = PAUSE.first;
    let mut last = 0;
    for _ in 0..10 {
        let millis = u64::try_from(ceiling.as_millis()).unwrap();
        let ladder = steps(&mut watchdog, last + 270, &mut Ceiling(millis));
        assert_eq!(ladder.len(), 3, "{ladder:?}");
        let asked = ladder[2].0;
        let begins = watchdog.poll_timeout().unwrap().since(at(asked)).checked_sub(PERIOD).unwrap();
        pauses.push(begins.as_secs());
        last = asked + begins.as_secs();
        ceiling = (ceiling * 2).min(PAUSE.most);
    }
    assert_eq!(pauses, [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 21_600, 21_600, 21_600]);
}

#[test]
fn a_pause_never_exceeds_its_ceiling() {
    let mut watchdog = watchdog();
    steps(&mut watchdog, 270, &mut Longest);
    let pause = watchdog.poll_timeout().unwrap().since(at(270)).checked_sub(PERIOD).unwrap();
    assert!(pause <= PAUSE.first, "{pause:?}");
}

#[test]
fn a_radio_that_hears_is_left_alone() {
    let mut watchdog = watchdog();
    for second in (0..1_000).step_by(89) {
        watchdog.handle_advert(at(second));
        assert_eq!(watchdog.poll_step(at(second + 88), &mut Zero), None);
    }
    assert_eq!(watchdog.counts(), Counts::default());
    assert_eq!(watchdog.heard(), Some(at(979)));
}

#[test]
fn an_advertisement_puts_the_ladder_back_to_its_first_step() {
    let mut watchdog = watchdog();
    steps(&mut watchdog, 200, &mut Zero);
    watchdog.handle_advert(at(200));
    assert_eq!(steps(&mut watchdog, 400, &mut Zero), [(290, Step::RestartScan), (380, Step::PowerCycle)]);
}

#[test]
fn a_radio_that_heard_for_long_is_helped_as_soon_as_the_first_time() {
    let pause = |hears_for: u64| {
        let mut watchdog = watchdog();
        let first = u64::try_from(PAUSE.first.as_millis()).unwrap();
        // The ceiling itself, be it the first or the second.
        let mut ceiling = Ceiling((first + 1) * (2 * first + 1) - 1);
        steps(&mut watchdog, 270, &mut ceiling);
        watchdog.handle_advert(at(600));
        watchdog.handle_advert(at(600 + hears_for));
        let asked = steps(&mut watchdog, 600 + hears_for + 270, &mut ceiling);
        watchdog.poll_timeout().unwrap().since(at(asked[2].0)).checked_sub(PERIOD).unwrap()
    };
    // It deafened again at once: the pause grows. It heard for hours: it does not.
    assert_eq!(pause(10), PAUSE.first * 2);
    assert_eq!(pause(7_200), PAUSE.first);
}

#[test]
fn nothing_is_missed_while_every_listed_device_is_connected() {
    let mut watchdog = Watchdog::new(PERIOD, 2, at(0));
    watchdog.handle_connected(2, at(10));
    assert_eq!(watchdog.poll_timeout(), None);
    assert_eq!(watchdog.poll_step(at(5_000), &mut Zero), None);
    // From here on one is missed, and its silence begins here.
    watchdog.handle_connected(1, at(5_000));
    assert_eq!(watchdog.poll_timeout(), Some(at(5_090)));
    assert_eq!(watchdog.poll_step(at(5_090), &mut Zero), Some(Step::RestartScan));
}

#[test]
fn nobody_listed_is_nobody_missed() {
    let mut watchdog = Watchdog::new(PERIOD, 0, at(0));
    assert_eq!((watchdog.poll_timeout(), watchdog.poll_step(at(9_999), &mut Zero)), (None, None));
}

#[test]
fn a_connection_keeps_the_adapter_switched_on_while_the_scan_starts_however_quiet_it_is() {
    let mut watchdog = Watchdog::new(PERIOD, 2, at(0));
    watchdog.handle_connected(1, at(1));
    let taken: Vec<Step> = steps(&mut watchdog, 900, &mut Zero).into_iter().map(|(_, step)| step).collect();
    assert_eq!(taken, [Step::RestartScan; 10]);
    // It is gone: now nothing speaks for the radio.
    watchdog.handle_connected(0, at(901));
    let later: Vec<Step> = steps(&mut watchdog, 1_200, &mut Zero).into_iter().map(|(_, step)| step).collect();
    assert_eq!(later, [Step::PowerCycle, Step::AskUsbReset, Step::RestartScan]);
}

#[test]
fn a_scan_that_cannot_be_started_cuts_a_quiet_connection_but_none_that_delivers() {
    let harder = |delivers: bool| {
        let mut watchdog = Watchdog::new(PERIOD, 2, at(0));
        watchdog.handle_connected(1, at(1));
        let mut taken = Vec::new();
        for second in 1..=300 {
            if delivers {
                watchdog.handle_delivery(at(second));
            }
            while let Some(step) = watchdog.poll_step(at(second), &mut Zero) {
                watchdog.handle_scan(Err(()), at(second));
                taken.push(step);
            }
        }
        taken.into_iter().filter(|step| *step != Step::RestartScan).collect::<Vec<_>>()
    };
    assert_eq!(harder(true), []);
    assert_eq!(harder(false), [Step::PowerCycle, Step::AskUsbReset]);
}

#[test]
fn what_was_delivered_by_a_link_that_is_gone_does_not_count() {
    let mut watchdog = Watchdog::new(PERIOD, 2, at(0));
    watchdog.handle_connected(1, at(1));
    assert_eq!(watchdog.poll_step(at(90), &mut Zero), Some(Step::RestartScan));
    watchdog.handle_delivery(at(170));
    watchdog.handle_connected(0, at(171));
    assert_eq!(watchdog.poll_step(at(180), &mut Zero), Some(Step::PowerCycle));
}

#[test]
fn a_scan_that_cannot_be_started_is_tried_again_soon_and_does_not_hold_up_the_ladder() {
    let mut watchdog = watchdog();
    let mut taken = Vec::new();
    for second in 90..=180 {
        if let Some(step) = watchdog.poll_step(at(second), &mut Zero) {
            watchdog.handle_scan(Err(()), at(second));
            assert_eq!(watchdog.poll_timeout(), Some(at(180).min(at(second + 2))));
            taken.push((second, step));
        }
    }
    let expected: Vec<(u64, Step)> = (90..180).step_by(2).map(|second| (second, Step::RestartScan)).collect();
    assert_eq!(taken[..45], expected);
    assert_eq!(taken[45..], [(180, Step::RestartScan)]);
    // Both were due: the next look finds the other.
    assert_eq!(watchdog.poll_step(at(180), &mut Zero), Some(Step::PowerCycle));
}

#[test]
fn the_silence_counts_from_the_start_of_the_scan() {
    let mut watchdog = watchdog();
    assert_eq!(watchdog.poll_step(at(90), &mut Zero), Some(Step::RestartScan));
    assert_eq!(watchdog.poll_step(at(180), &mut Zero), Some(Step::PowerCycle));
    watchdog.handle_scan(Ok(()), at(200));
    assert_eq!(watchdog.poll_timeout(), Some(at(290)));
    assert!(!watchdog.wants_usb_reset());
    assert_eq!(watchdog.poll_step(at(290), &mut Zero), Some(Step::AskUsbReset));
    assert!(watchdog.wants_usb_reset());
    watchdog.handle_advert(at(291));
    assert!(!watchdog.wants_usb_reset());
}
