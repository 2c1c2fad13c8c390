use super::*;
use crate::device::ble::records::dialect::dialect_of;
use crate::device::catalogue::Stored;
use crate::link::gatt::Filter;
use proptest::prelude::*;

const ALL: &[u8] = &[1, 1];
const COUNT_ALL: &[u8] = &[4, 1];
const ABORT: &[u8] = &[3, 0];

/// A moment less than a time.
fn almost(time: Duration) -> Duration {
    time.checked_sub(Duration::from_millis(1)).unwrap()
}

struct Story {
    transfer: Transfer,
    now: Mono,
}

/// What followed, in short: writes in hex, everything else by its name.
fn told(steps: &[Step]) -> Vec<String> {
    let told = |step: &Step| match step {
        Step::Write(write) => hex(write.octets()),
        Step::Report(fault) => format!("fault {}", fault.kind),
        Step::Asks | Step::SubscribeAgain | Step::Due | Step::Ended(_) | Step::Failed | Step::Dead => {
            format!("{step:?}")
        }
    };
    steps.iter().map(told).collect()
}

impl Story {
    fn of(filter: Filter) -> Self {
        let dialect = dialect_of(Stored::RecordAccess { filter }, 0x1808);
        Self { transfer: Transfer::new(dialect), now: Mono::default() }
    }

    /// All records are asked for.
    fn reporting() -> Self {
        let mut story = Self::of(Filter::Short);
        assert_eq!(story.begin(None), ["0401"]);
        assert_eq!(story.say(&[5, 0, 9, 0]), ["0101"]);
        story
    }

    fn steps(&mut self) -> Vec<String> {
        let all = std::iter::from_fn(|| self.transfer.poll_step());
        let steps: Vec<Step> = all.filter(|step| *step != Step::Asks).collect();
        told(&steps)
    }

    fn begin(&mut self, from: Option<u32>) -> Vec<String> {
        self.transfer.begin(from, self.now);
        self.steps()
    }

    fn say(&mut self, value: &[u8]) -> Vec<String> {
        self.transfer.handle_control(value, self.now);
        self.steps()
    }

    fn refuse(&mut self, reason: &str) -> Vec<String> {
        self.transfer.handle_written(&Err(reason.to_owned()), self.now);
        self.steps()
    }

    fn refuse_with(&mut self, code: u8) -> Vec<String> {
        self.refuse(&format!("Operation failed with ATT error: 0x{code:02x}"))
    }

    fn passes(&mut self, time: Duration) -> Vec<String> {
        let until = self.now + time;
        let mut steps = Vec::new();
        while let Some(at) = self.transfer.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.transfer.handle_timeout(at);
            steps.extend(self.steps());
        }
        self.now = until;
        steps
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().concat()
}

#[test]
fn counts_reports_drains_and_asks_again_after_the_period() {
    let mut story = Story::reporting();
    assert_eq!(story.say(&[6, 0, 1, 1]), [""; 0]);
    assert_eq!(story.passes(almost(DRAIN)), [""; 0]);
    assert_eq!(story.passes(Duration::from_millis(1)), ["Ended(Some(9))"]);
    assert!(story.transfer.rests());
    assert_eq!(story.passes(almost(PERIOD)), [""; 0]);
    assert_eq!(story.passes(Duration::from_millis(1)), ["Due"]);
}

#[test]
fn asks_from_a_number_on() {
    let mut story = Story::of(Filter::Short);
    assert_eq!(story.begin(Some(0x0201)), ["0403010102"]);
    assert_eq!(story.say(&[5, 0, 1, 0]), ["0103010102"]);
}

#[test]
fn a_count_of_none_and_no_records_are_an_end() {
    let mut story = Story::of(Filter::Short);
    story.begin(None);
    assert_eq!(story.say(&[5, 0, 0, 0]), [""; 0]);
    assert_eq!(story.passes(DRAIN), ["Ended(None)"]);
    for answers in [&[[6, 0, 4, 6]][..], &[[5, 0, 3, 0], [6, 0, 1, 6]]] {
        let mut story = Story::of(Filter::Short);
        story.begin(None);
        for answer in answers {
            story.say(answer);
        }
        assert!(story.passes(DRAIN)[0].starts_with("Ended"), "{answers:?}");
    }
}

#[test]
fn a_device_that_does_not_count_is_asked_without_and_never_again_for_that() {
    for code in [2, 4, 9, 8, 0x7F] {
        let mut story = Story::of(Filter::Short);
        story.begin(None);
        assert_eq!(story.say(&[6, 0, 4, code]), ["0101"], "{code}");
        story.say(&[6, 0, 1, 1]);
        assert_eq!(story.passes(DRAIN), ["Ended(None)"]);
        assert_eq!(story.begin(None), ["0101"]);
    }
}

#[test]
fn every_record_begins_the_time_out_anew() {
    let mut story = Story::reporting();
    for _ in 0..10 {
        assert_eq!(story.passes(almost(PROCEDURE_LIMIT)), [""; 0]);
        story.transfer.handle_data(story.now);
    }
    assert_eq!(story.passes(PROCEDURE_LIMIT), ["Failed", "Dead"]);
    assert_eq!(story.transfer.poll_timeout(), None, "nothing more on this connection");
    assert_eq!(story.say(&[6, 0, 1, 1]), ["fault unexpected"]);
}

#[test]
fn a_procedure_without_a_word_is_dead_in_each_of_its_states() {
    let mut counting = Story::of(Filter::Short);
    counting.begin(None);
    assert_eq!(counting.passes(PROCEDURE_LIMIT), ["Failed", "Dead"]);
    let mut aborting = Story::reporting();
    aborting.refuse_with(0xFE);
    assert_eq!(aborting.passes(PROCEDURE_LIMIT), ["Failed", "Dead"]);
}

#[test]
fn each_time_it_asks_it_says_so_before() {
    let mut transfer = Story::reporting().transfer;
    let now = Mono::default();
    for _ in 0..TRIES {
        transfer.handle_control(&[6, 0, 1, 8], now);
        assert_eq!(transfer.poll_step(), Some(Step::Asks));
        assert!(matches!(transfer.poll_step(), Some(Step::Write(_))));
        transfer.handle_control(&[5, 0, 9, 0], now);
        assert!(matches!(transfer.poll_step(), Some(Step::Write(_))));
    }
}

#[test]
fn a_drain_is_made_longer_but_not_for_ever() {
    let mut story = Story::reporting();
    story.say(&[6, 0, 1, 1]);
    let mut times = 0;
    assert!(story.transfer.is_drained(9) && !story.transfer.is_drained(8));
    while story.passes(DRAIN) == ["Ended(Some(9))"] && story.transfer.drain_again(story.now) {
        times += 1;
    }
    assert_eq!(times, MOST_DRAINS);
    assert!(story.transfer.rests());
}

#[test]
fn records_behind_the_response_make_the_drain_longer() {
    let mut story = Story::reporting();
    story.say(&[6, 0, 1, 1]);
    for _ in 0..5 {
        assert_eq!(story.passes(almost(DRAIN)), [""; 0]);
        story.transfer.handle_data(story.now);
    }
    assert_eq!(story.passes(DRAIN), ["Ended(Some(9))"]);
}

#[test]
fn a_filter_that_is_not_understood_asks_for_all_and_then_gives_up() {
    for code in [2, 3, 4, 5, 9] {
        let mut story = Story::of(Filter::Short);
        story.begin(Some(7));
        story.say(&[5, 0, 9, 0]);
        assert_eq!(story.say(&[6, 0, 1, code]), [hex(COUNT_ALL)], "{code}");
        assert!(!story.transfer.knows_from());
        assert_eq!(story.say(&[5, 0, 9, 0]), [hex(ALL)]);
        assert_eq!(story.say(&[6, 0, 1, code]), ["fault refused", "Failed"]);
        assert_eq!(story.passes(PERIOD * 2), [""; 0], "it is left alone");
    }
    let mut story = Story::of(Filter::None);
    assert_eq!(story.begin(Some(7)), [hex(COUNT_ALL)], "what has no filter is not asked with one");
}

#[test]
fn wrong_descriptors_are_subscribed_to_again_once() {
    let mut story = Story::reporting();
    assert_eq!(story.refuse_with(0xFD), ["SubscribeAgain"]);
    story.transfer.handle_subscribed(story.now);
    assert_eq!(story.steps(), ["0401"]);
    story.say(&[5, 0, 9, 0]);
    assert_eq!(story.refuse_with(0xFD), ["fault refused", "Failed"]);
    assert_eq!(story.passes(PERIOD), ["Due"]);
}

#[test]
fn a_connection_that_lasts_may_forget_its_subscriptions_more_than_once() {
    let mut story = Story::reporting();
    for _ in 0..3 {
        assert_eq!(story.refuse_with(0xFD), ["SubscribeAgain"]);
        story.transfer.handle_subscribed(story.now);
        story.steps();
        story.say(&[5, 0, 9, 0]);
        story.say(&[6, 0, 1, 1]);
        assert_eq!(story.passes(DRAIN), ["Ended(Some(9))"]);
        story.begin(None);
    }
}

#[test]
fn a_procedure_in_progress_is_aborted_once_and_then_waited_for() {
    for answer in [[6, 0, 3, 1], [6, 0, 3, 7]] {
        let mut story = Story::reporting();
        assert_eq!(story.refuse_with(0xFE), [hex(ABORT)]);
        assert_eq!(story.say(&[6, 0, 1, 8]), [""; 0], "the end of what was aborted");
        assert_eq!(story.say(&answer), ["0401"]);
        story.say(&[5, 0, 9, 0]);
        assert_eq!(story.refuse_with(0xFE), ["fault refused", "Failed"]);
        assert_eq!(story.passes(BUSY_WAIT), ["Due"]);
    }
    let mut story = Story::reporting();
    story.refuse_with(0xFE);
    assert_eq!(story.refuse("gone"), ["0401"], "what was to be aborted has ended by itself");
}

#[test]
fn busy_is_later_and_not_completed_is_again_but_not_for_ever() {
    let mut story = Story::reporting();
    assert_eq!(story.say(&[6, 0, 1, 10]), ["fault refused", "Failed"]);
    assert_eq!(story.passes(BUSY_WAIT), ["Due"]);

    let mut story = Story::reporting();
    for _ in 0..TRIES {
        assert_eq!(story.say(&[6, 0, 1, 8]), ["0401"]);
        assert_eq!(story.say(&[5, 0, 9, 0]), ["0101"]);
    }
    assert_eq!(story.say(&[6, 0, 1, 8]), ["fault refused", "Failed"]);
    assert_eq!(story.passes(PERIOD), ["Due"]);
}

#[test]
fn a_reserved_code_is_a_fault_and_tried_again_later() {
    for code in [0, 7, 0x0B, 0xFF] {
        let mut story = Story::reporting();
        assert_eq!(story.say(&[6, 0, 1, code]), ["fault refused", "Failed"], "{code}");
        assert_eq!(story.passes(PERIOD), ["Due"]);
    }
}

#[test]
fn any_other_failure_of_a_write_is_told_and_tried_later() {
    let mut story = Story::reporting();
    assert_eq!(story.refuse("Operation failed with ATT error: 0x05"), ["fault refused", "Failed"]);
    assert_eq!(story.passes(PERIOD), ["Due"]);
    let mut story = Story::reporting();
    assert_eq!(story.refuse(NOT_OFFERED), ["Failed"]);
    assert_eq!(story.passes(PERIOD), [""; 0]);
}

#[test]
fn what_cannot_be_read_or_was_not_asked_for_is_told_and_changes_nothing() {
    let mut story = Story::reporting();
    assert_eq!(story.say(&[6, 0]), ["fault malformed"]);
    assert_eq!(story.say(&[6, 0, 2, 1]), ["fault unexpected"]);
    assert_eq!(story.say(&[5, 0, 1, 0]), ["fault unexpected"]);
    story.say(&[6, 0, 1, 1]);
    assert_eq!(story.passes(DRAIN), ["Ended(Some(9))"]);
}

#[test]
fn deletes_only_at_rest_and_not_again_after_a_refusal() {
    let may = MayDelete::of_setting(true).unwrap();
    let mut story = Story::reporting();
    assert!(!story.transfer.delete(5, may, story.now));
    story.say(&[6, 0, 1, 1]);
    story.passes(DRAIN);
    assert!(story.transfer.delete(5, may, story.now));
    assert_eq!(story.steps(), ["0202010500"]);
    assert_eq!(story.say(&[6, 0, 2, 1]), [""; 0]);
    assert!(story.transfer.delete(6, may, story.now));
    story.steps();
    assert_eq!(story.say(&[6, 0, 2, 2]), ["fault refused"]);
    assert!(!story.transfer.delete(7, may, story.now));
    assert_eq!(story.passes(PERIOD), ["Due"]);
}

proptest! {
    /// Whatever it hears, it never asks for two things at a time, and always has a time at which it goes on, or
    /// has given up.
    #[test]
    fn it_never_hangs_and_never_asks_twice_at_a_time(
        events in proptest::collection::vec((0u8..7, proptest::collection::vec(0u8..12, 0..6)), 0..80),
    ) {
        let mut story = Story::of(Filter::Short);
        story.begin(Some(3));
        let mut is_off = false;
        for (kind, octets) in events {
            let steps = match kind {
                0..=2 => story.say(&octets),
                3 => story.refuse_with(0xFD),
                4 => story.refuse_with(0xFE),
                5 => {
                    story.transfer.handle_data(story.now);
                    story.transfer.handle_subscribed(story.now);
                    story.steps()
                }
                _ => story.passes(Duration::from_secs(7)),
            };
            let writes = steps.iter().filter(|step| step.starts_with('0')).count();
            prop_assert!(writes <= 1, "{:?}", steps);
            if steps.iter().any(|step| step == "Due") {
                story.begin(Some(3));
            }
            is_off |= steps.iter().any(|step| step == "Dead") || story.transfer.poll_timeout().is_none();
            prop_assert!(is_off || story.transfer.poll_timeout().is_some());
            if is_off {
                prop_assert_eq!(story.passes(PERIOD * 3), Vec::<String>::new());
                return Ok(());
            }
        }
    }
}
