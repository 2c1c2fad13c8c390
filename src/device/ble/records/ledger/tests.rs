use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{CONC_GLU_GEN, DIMENSIONLESS, MILLIGRAM_PER_DECILITRE, PULSE_OXIM_STATUS};
use crate::device::observation::{Kind, Status};
use proptest::prelude::*;

/// A result of a record at a time.
fn said(number: u32, minute: u8) -> Observation {
    Observation {
        metric: &CONC_GLU_GEN,
        channel: 0,
        value: Value::Decimal(Decimal::whole(100)),
        unit: &MILLIGRAM_PER_DECILITRE,
        modality: 0,
        kind: Kind::Measurement,
        record: Some(number),
        device_time: Some(DeviceTime { year: 2026, month: 1, day: 1, minute, ..DeviceTime::default() }),
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

/// Something else that the same record says.
fn besides(number: u32, minute: u8) -> Observation {
    let value = Value::Bits(1);
    Observation { metric: &PULSE_OXIM_STATUS, unit: &DIMENSIONLESS, value, ..said(number, minute) }
}

/// A ledger, and how many observations it let pass.
struct Story {
    ledger: Ledger,
    pushed: u64,
}

impl Story {
    fn new() -> Self {
        Self { ledger: Ledger::new(Some(65_535), None), pushed: 0 }
    }

    fn take(&mut self, said: Vec<Observation>) -> Vec<u32> {
        let fresh = self.ledger.take(said, self.pushed);
        self.pushed += count(fresh.len());
        fresh.iter().filter_map(|said| said.record).collect()
    }

    fn one(&mut self, number: u32) -> bool {
        !self.take(vec![said(number, 0)]).is_empty()
    }

    fn all(&mut self, numbers: impl IntoIterator<Item = u32>) -> usize {
        numbers.into_iter().filter(|number| self.one(*number)).count()
    }

    fn end(&mut self, is_complete: bool) -> Came {
        self.ledger.end(is_complete, self.pushed)
    }

    /// Everything is durable: where the mark is then.
    fn mark(&mut self) -> Option<u32> {
        self.ledger.handle_durable(self.pushed);
        self.ledger.mark().map(|mark| mark.number)
    }

    /// A transfer that begins with this record, which is durable.
    fn behind(number: u32) -> Self {
        let mut story = Self::new();
        story.begin();
        story.one(number);
        story.end(true);
        assert_eq!(story.mark(), Some(number));
        story.begin();
        assert!(!story.one(number));
        story
    }

    /// A transfer from the mark on, or of all.
    fn begin(&mut self) {
        let from = self.ledger.from();
        self.ledger.begin(from);
    }
}

#[test]
fn the_mark_follows_what_is_durable_and_never_the_last_one_before_the_end() {
    let mut story = Story::new();
    story.begin();
    story.all(1..=9);
    assert_eq!(story.ledger.mark(), None, "nothing is durable");
    assert!(story.ledger.handle_durable(6));
    assert_eq!(story.ledger.mark().map(|mark| mark.number), Some(6));
    assert_eq!(story.mark(), Some(8), "more of the ninth may still come");
    assert!(!story.end(true).is_of_other_numbers);
    assert_eq!(story.mark(), Some(9));
}

#[test]
fn what_was_cut_goes_on_behind_the_mark_and_nothing_comes_twice() {
    let mut story = Story::new();
    story.begin();
    story.all(1..=5);
    story.end(false);
    assert_eq!(story.mark(), Some(4));
    story.begin();
    assert_eq!(story.all(4..=8), 3);
    assert_eq!(story.end(true), Came { count: 5, is_of_other_numbers: false, is_at_end_of_numbers: false });
    assert_eq!(story.mark(), Some(8));
}

#[test]
fn after_a_restart_the_record_of_the_mark_is_known_again_with_all_that_it_says() {
    let mut first = Story::new();
    first.begin();
    first.take(vec![said(7, 0), besides(7, 0)]);
    first.end(true);
    first.mark();
    let mut story = Story::new();
    story.ledger.recall(first.ledger.mark().unwrap(), false);
    story.begin();
    assert_eq!(story.take(vec![said(7, 0), besides(7, 0)]), [0; 0]);
    assert_eq!(story.all(8..=9), 2);
    assert!(!story.end(true).is_of_other_numbers);
    assert_eq!(story.mark(), Some(9));
}

#[test]
fn a_record_of_the_same_number_that_says_something_else_is_given_and_the_mark_stays() {
    let mut story = Story::new();
    story.ledger.recall(Mark { number: 7, print: 1, anchor: Some(7) }, false);
    story.begin();
    assert_eq!(story.all(7..=9), 3);
    assert_eq!(story.mark(), Some(7), "what is before may be new");
    assert!(story.end(true).is_of_other_numbers);
    assert_eq!(story.mark(), Some(7));
    story.ledger.begin(None);
    assert_eq!(story.all(0..=9), 7, "the three came before");
    assert!(!story.end(true).is_of_other_numbers);
    assert_eq!(story.mark(), Some(9));
}

#[test]
fn a_device_that_has_nothing_from_the_mark_on_has_other_numbers() {
    let mut story = Story::new();
    story.ledger.recall(Mark { number: 7, print: 1, anchor: Some(7) }, false);
    story.begin();
    assert!(story.end(true).is_of_other_numbers);
}

#[test]
fn a_device_that_gives_the_newest_first_moves_the_mark_at_the_end_only() {
    let mut story = Story::new();
    story.begin();
    assert_eq!(story.all((3..=9).rev()), 7);
    assert_eq!(story.mark(), None);
    story.end(false);
    assert_eq!(story.mark(), None);
    story.begin();
    assert_eq!(story.all((1..=9).rev()), 2);
    story.end(true);
    assert_eq!(story.mark(), Some(9));
}

#[test]
fn a_record_made_during_the_transfer_does_not_draw_the_mark_over_those_to_come() {
    let mut story = Story::behind(1);
    story.all([2, 200]);
    assert_eq!(story.mark(), Some(2));
    story.all([3, 4]);
    assert_eq!(story.mark(), Some(2));
    story.end(false);
    assert_eq!(story.mark(), Some(2));
    story.begin();
    story.all((2..=200).chain([201]));
    story.end(true);
    assert_eq!(story.mark(), Some(201));
}

#[test]
fn a_number_that_is_left_out_holds_the_mark_until_the_transfer_is_complete() {
    let mut story = Story::behind(1);
    story.all([2, 4, 5, 6]);
    assert_eq!(story.mark(), Some(2), "the third may have been lost on the way");
    story.end(false);
    assert_eq!(story.mark(), Some(2));
    story.begin();
    assert_eq!(story.all([2, 4, 5, 6, 7]), 1);
    assert_eq!(story.mark(), Some(2));
    story.end(true);
    assert_eq!(story.mark(), Some(7), "no record has that number");
}

#[test]
fn a_few_that_come_in_order_are_no_order() {
    let mut story = Story::new();
    story.begin();
    story.all([41, 42, 46, 5]);
    assert_eq!(story.mark(), None, "what is before may still come");
    story.end(false);
    assert_eq!(story.mark(), None);
}

#[test]
fn a_record_counts_once_for_each_transfer_that_is_asked_for() {
    let mut story = Story::new();
    story.begin();
    story.all([1, 2, 1, 2, 3, 1]);
    assert_eq!(story.ledger.count(), 3);
    story.begin();
    assert_eq!(story.ledger.count(), 0);
    story.all([1, 2]);
    assert_eq!(story.end(true).count, 2);
}

#[test]
fn more_records_than_are_known_again_are_given_whole_and_what_is_doubled_is_the_oldest() {
    let most = u32::try_from(MOST_SEEN).unwrap();
    let all = 0..most * 2 + 100;
    let mut story = Story::new();
    story.begin();
    assert_eq!(story.all(all.clone()), all.len(), "nothing is left out");
    assert_eq!(story.ledger.count(), most * 2 + 100, "nor is it counted short");
    let run = story.ledger.run.as_ref().unwrap();
    assert!(run.numbers.len() <= MOST_SEEN && story.ledger.seen.len() <= MOST_SEEN);
    story.mark();
    assert!(story.ledger.way.len() <= 1, "what is durable is not kept");
    story.end(true);
    assert_eq!(story.mark(), Some(most * 2 + 99));
    // All of it again: what is no longer known comes a second time, in the order of its age.
    story.ledger.begin(None);
    assert_eq!(story.all(most..all.end), all.end as usize - MOST_SEEN);
    story.ledger.begin(None);
    assert_eq!(story.all(all.end - 100..all.end), 0);
    // Newest first, what cannot be told apart counts as missing, and is asked for again.
    let mut story = Story::new();
    story.begin();
    assert_eq!(story.all((0..most + 10).rev()), MOST_SEEN + 10);
    assert_eq!(story.ledger.count(), most);
}

#[test]
fn what_was_lost_of_the_record_of_the_mark_is_given_when_it_comes() {
    let mut story = Story::new();
    story.begin();
    story.take(vec![said(7, 0)]);
    story.end(true);
    assert_eq!(story.mark(), Some(7));
    story.begin();
    assert_eq!(story.take(vec![said(7, 0), besides(7, 0)]), [7], "only what is new of it");
    story.end(true);
    story.begin();
    assert_eq!(story.take(vec![said(7, 0), besides(7, 0)]), [0; 0]);
}

/// A record says when it was only behind one that says when that was.
fn is_anchor(said: &Observation) -> bool {
    said.metric == &PULSE_OXIM_STATUS
}

fn timed(number: u32, is_behind_anchor: bool) -> Observation {
    let time = said(number, 1).device_time.filter(|_| is_behind_anchor);
    Observation { device_time: time, ..said(number, 1) }
}

#[test]
fn what_depends_on_another_record_is_asked_for_from_that_one_on() {
    let mut story = Story { ledger: Ledger::new(Some(u32::MAX), Some(is_anchor)), pushed: 0 };
    story.begin();
    story.take(vec![timed(1, false)]);
    story.take(vec![timed(2, false)]);
    assert_eq!(story.mark(), None);
    story.take(vec![besides(3, 0)]);
    for number in 4..=6 {
        story.take(vec![timed(number, true)]);
    }
    story.end(true);
    assert_eq!(story.mark(), Some(6));
    let mark = story.ledger.mark().unwrap();
    assert_eq!(mark.anchor, Some(3));

    // After a restart.
    let mut again = Story { ledger: Ledger::new(Some(u32::MAX), Some(is_anchor)), pushed: 0 };
    again.ledger.recall(mark, false);
    again.begin();
    assert_eq!(again.take(vec![besides(3, 0)]), [0; 0]);
    let given: Vec<u32> = (4..=8).flat_map(|number| again.take(vec![timed(number, true)])).collect();
    assert_eq!(given, [7, 8]);
    assert_eq!(again.mark(), Some(7), "it goes on from there");
    assert!(!again.end(true).is_of_other_numbers);
    assert_eq!(again.mark(), Some(8));

    // Other records of the same numbers: none of them is taken for known.
    let mut other = Story { ledger: Ledger::new(Some(u32::MAX), Some(is_anchor)), pushed: 0 };
    other.ledger.recall(mark, false);
    other.begin();
    let one = |number| vec![Observation { modality: 5, ..timed(number, true) }];
    let early: Vec<u32> = (3..=6).flat_map(|number| other.take(one(number))).collect();
    assert_eq!(early, [6]);
    assert!(other.end(true).is_of_other_numbers);
    other.ledger.begin(None);
    let rest: Vec<u32> = (3..=6).flat_map(|number| other.take(one(number))).collect();
    assert_eq!(rest, [3, 4, 5]);
}

#[test]
fn numbers_begin_anew_behind_the_greatest() {
    let mut story = Story::new();
    story.begin();
    story.all(65_530..=65_533);
    story.end(true);
    assert_eq!(story.mark(), Some(65_533));
    story.begin();
    story.all(65_533..=65_535);
    assert!(story.end(true).is_at_end_of_numbers);
    assert_eq!(story.mark(), Some(65_535));
    assert_eq!(story.ledger.from(), None, "all are asked for");
    story.begin();
    assert_eq!(story.all((65_530..=65_535).chain(0..=2)), 3);
    assert!(!story.end(true).is_at_end_of_numbers);
    assert_eq!(story.mark(), Some(2));
}

#[test]
fn a_record_that_comes_by_itself_moves_the_mark_when_it_follows() {
    let mut story = Story::new();
    assert!(story.one(1));
    assert_eq!(story.mark(), None, "what is before is not known");
    story.begin();
    story.all(1..=5);
    story.end(true);
    assert!(story.one(6));
    assert_eq!(story.mark(), Some(6));
    assert!(story.one(8));
    assert_eq!(story.mark(), Some(6), "the seventh was lost on the way");
    assert!(!story.one(8), "twice");
}

#[test]
fn what_a_record_says_later_must_be_durable_too() {
    let mut story = Story::behind(0);
    story.take(vec![said(1, 0)]);
    story.take(vec![besides(1, 0)]);
    story.take(vec![said(2, 0)]);
    story.ledger.handle_durable(2);
    assert_eq!(story.ledger.mark().map(|mark| mark.number), Some(0));
    story.ledger.handle_durable(3);
    assert_eq!(story.ledger.mark().map(|mark| mark.number), Some(1));
}

#[test]
fn nothing_moves_the_mark_after_a_refusal_and_what_was_refused_comes_again() {
    let mut story = Story::behind(1);
    story.all(2..=3);
    assert_eq!(story.mark(), Some(2));
    story.ledger.handle_refused();
    assert!(!story.ledger.is_settled());
    story.all(4..=6);
    story.end(true);
    assert_eq!(story.mark(), Some(2));
    story.ledger.handle_refused();
    story.ledger.handle_up();
    story.begin();
    assert_eq!(story.all(2..=6), 4, "from the mark on, all of it");
    story.end(true);
    assert_eq!(story.mark(), Some(6));
    assert!(story.ledger.is_settled());
}

#[test]
fn what_has_no_number_comes_twice_only_when_its_time_differs() {
    let unnumbered = |minute, flag| {
        let said = said(0, minute);
        vec![Observation { record: None, quality: said.quality.with(flag), ..said }]
    };
    let mut story = Story::new();
    let passes = |story: &mut Story, said| story.ledger.take(said, 0).len();
    assert_eq!(passes(&mut story, unnumbered(1, Quality::STORED)), 1);
    assert_eq!(passes(&mut story, unnumbered(1, Quality::STORED)), 0);
    assert_eq!(passes(&mut story, unnumbered(2, Quality::STORED)), 1);
    // Measured now: two may be equal.
    assert_eq!(passes(&mut story, unnumbered(1, Quality::GOOD)), 1);
    assert_eq!(passes(&mut story, unnumbered(1, Quality::GOOD)), 1);
    let timeless = || vec![Observation { device_time: None, ..unnumbered(1, Quality::STORED).remove(0) }];
    assert_eq!(passes(&mut story, timeless()), 1);
    assert_eq!(passes(&mut story, timeless()), 1, "nothing tells one from the other");
}

#[test]
fn the_same_is_what_says_the_same_of_the_same_record_at_the_same_time() {
    let base = said(1, 1);
    let time = base.device_time.unwrap();
    let others = [
        said(2, 1),
        said(1, 2),
        besides(1, 1),
        Observation { modality: 1, ..base.clone() },
        Observation { channel: 1, ..base.clone() },
        Observation { record: None, ..base.clone() },
        Observation { value: Value::Decimal(Decimal::new(1000, -1)), ..base.clone() },
        Observation { value: Value::Text("x".to_owned()), ..base.clone() },
        Observation { device_time: None, ..base.clone() },
        Observation { device_time: Some(DeviceTime { offset: Some(0), ..time }), ..base.clone() },
        Observation { device_time: Some(DeviceTime { offset: Some(60), ..time }), ..base.clone() },
        Observation { device_time: Some(DeviceTime { year: 2025, ..time }), ..base.clone() },
    ];
    let prints: BTreeSet<u64> = others.iter().chain([&base]).map(print).collect();
    assert_eq!(prints.len(), others.len() + 1);
    let seen_otherwise = Observation {
        quality: Quality::STORED,
        device_time: Some(DeviceTime { ahead: Some(5), ..time }),
        ..base.clone()
    };
    assert_eq!(print(&seen_otherwise), print(&base));
    // It stands in files: another number is another format.
    assert_eq!(print(&base), 1_156_549_120_056_750_425);
}

#[test]
fn what_is_known_again_is_bounded() {
    let mut story = Story::new();
    for number in 0..=u32::try_from(MOST_SEEN).unwrap() {
        story.one(number);
    }
    assert_eq!((story.ledger.seen.len(), story.ledger.seen_in_order.len()), (MOST_SEEN, MOST_SEEN));
    assert!(!story.one(u32::try_from(MOST_SEEN).unwrap()));
    assert!(story.one(0), "the oldest is forgotten");
}

proptest! {
    /// A device with its records in any order, cut anywhere, the daemon killed anywhere, storage late by any
    /// amount: everything is durable in the end.
    #[test]
    fn nothing_is_ever_lost(
        descends in any::<bool>(),
        dice in proptest::collection::vec((0usize..12, 0u64..4, 0u8..8), 1..120),
    ) {
        let device: Vec<u32> = (10..40).collect();
        let mut durable = BTreeSet::new();
        let mut remembered: Option<Mark> = None;
        let mut story = Story::new();
        let mut given = Vec::new();
        let last = dice.len() - 1;
        for (round, (cut, late, kill)) in dice.into_iter().enumerate() {
            story.begin();
            let from = story.ledger.from();
            let mut order: Vec<u32> = device.iter().copied().filter(|n| from.is_none_or(|from| *n >= from.number)).collect();
            if descends {
                order.reverse();
            }
            let is_whole = round == last;
            let length = if is_whole { order.len() } else { cut.min(order.len()) };
            for number in &order[..length] {
                if story.one(*number) {
                    given.push(*number);
                }
            }
            let came = story.end(is_whole);
            prop_assert!(!is_whole || !came.is_of_other_numbers);
            let through = if is_whole { story.pushed } else { story.pushed.saturating_sub(late) };
            durable.extend(&given[..usize::try_from(through).unwrap().min(given.len())]);
            story.ledger.handle_durable(through);
            remembered = story.ledger.mark().or(remembered);
            if kill == 0 && !is_whole {
                story = Story::new();
                given.clear();
                if let Some(mark) = remembered {
                    story.ledger.recall(mark, false);
                }
            }
        }
        prop_assert_eq!(durable, device.into_iter().collect::<BTreeSet<u32>>());
    }
}
