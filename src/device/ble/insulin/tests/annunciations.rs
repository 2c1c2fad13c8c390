//! What a pump announces, as it comes through the collector: found in time, bounded, of the right urgency.

use super::*;
use crate::device::observation::Priority;
use crate::link::gatt::PUMP_RECORD_ACCESS;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// A pump without protection behind a collector, with a clock.
struct Ward {
    collector: Collector,
    now: Now,
}

impl Ward {
    /// Connected, identified, its features read.
    fn new(flags: u32) -> Self {
        let mut ward = Self { collector: Collector::new(vec![&PROFILE]), now: Now::default() };
        ward.event(&LinkEvent::Up);
        for uuid in [0x2A29, 0x2A24, 0x2A25, 0x2A26] {
            ward.answer(Characteristic { service: 0x180A, uuid }, b"Pump");
        }
        ward.answer(FEATURES, &features(flags));
        ward
    }

    /// Subscribed to everything, its history fetched: there is none.
    fn running(flags: u32) -> (Self, Vec<Action>) {
        let mut ward = Self::new(flags);
        let mut actions = ward.subscribed();
        actions.extend(ward.event(&LinkEvent::Written(PUMP_RECORD_ACCESS, Ok(()))));
        let none: &'static [u8] = &[0x0F, 0x0F, 0x33, 0x06];
        actions.extend(ward.event(&LinkEvent::Value(PUMP_RECORD_ACCESS, none.into())));
        (ward, actions)
    }

    fn subscribed(&mut self) -> Vec<Action> {
        let wanted = PROFILE.subscribes.iter().chain([&PUMP_RECORD_ACCESS]);
        wanted.flat_map(|of| self.event(&LinkEvent::Subscribed(*of, Ok(())))).collect()
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.collector.handle_event(event, self.now);
        std::iter::from_fn(|| self.collector.poll_action()).collect()
    }

    fn answer(&mut self, of: Characteristic, value: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::ReadDone(of, Ok(value.to_vec().into())))
    }

    fn value(&mut self, of: Characteristic, value: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::Value(of, value.to_vec().into()))
    }

    /// Time passes; every read of the state is answered with what the pump shows.
    fn passes(&mut self, time: Duration, shown: &[u8]) -> Vec<Action> {
        let until = self.now.mono + time;
        let mut all = Vec::new();
        while let Some(at) = self.collector.poll_timeout().filter(|at| *at <= until) {
            self.now.mono = self.now.mono.max(at);
            self.collector.handle_timeout(self.now);
            let actions: Vec<Action> = std::iter::from_fn(|| self.collector.poll_action()).collect();
            for action in actions {
                let said = match &action {
                    Action::Command(LinkCommand::Read(of)) if *of == ANNUNCIATION => self.answer(*of, shown),
                    Action::Command(LinkCommand::Read(of)) if *of == STATUS => self.answer(*of, &RUNS),
                    Action::Command(_)
                    | Action::Identify(..)
                    | Action::Observe(..)
                    | Action::Pin(_)
                    | Action::Commit
                    | Action::Gone(..)
                    | Action::Report(_)
                    | Action::Remember(_) => Vec::new(),
                };
                all.push(action);
                all.extend(said);
            }
        }
        self.now.mono = until;
        all
    }
}

/// Status: it runs, 23 IU are left.
const RUNS: [u8; 5] = [0x55, 0x96, 0x17, 0, 1];

fn reads(actions: &[Action], of: Characteristic) -> usize {
    actions.iter().filter(|action| **action == Action::Command(LinkCommand::Read(of))).count()
}

fn observed_in(actions: &[Action]) -> Vec<Observation> {
    let said =
        |action: &Action| if let Action::Observe(_, said) = action { Some(said.clone()) } else { None };
    actions.iter().filter_map(said).collect()
}

/// The edges of alarms: code, phase, urgency.
fn edges(said: &[Observation]) -> Vec<(String, Phase, Priority)> {
    let alarm = |said: &Observation| {
        if let Value::Alarm(Alarm { code, phase, priority, .. }) = &said.value {
            return Some((code.clone(), *phase, *priority));
        }
        None
    };
    said.iter().filter_map(alarm).collect()
}

/// Annunciation Status with one that is pending.
fn shows(kind: u16, id: u16) -> Vec<u8> {
    [&[1][..], &id.to_le_bytes(), &kind.to_le_bytes(), &[0x33]].concat()
}

#[test]
fn a_second_annunciation_is_found_within_a_minute_though_nothing_is_indicated() {
    let (mut ward, actions) = Ward::running(0);
    assert_eq!((reads(&actions, STATUS), reads(&actions, ANNUNCIATION)), (1, 1), "when it is subscribed to");
    ward.answer(STATUS, &RUNS);
    let said = observed_in(&ward.answer(ANNUNCIATION, &shows(0x003C, 5)));
    assert_eq!(edges(&said), [("003C/5".to_owned(), Phase::Start, Priority::High)]);
    let said = observed_in(&ward.passes(MINUTE, &shows(0x0066, 6)));
    assert_eq!(edges(&said), [("0066/6".to_owned(), Phase::Start, Priority::Medium)]);
    let said = observed_in(&ward.passes(MINUTE, &[0]));
    assert!(edges(&said).iter().all(|(_, phase, _)| *phase == Phase::End) && edges(&said).len() == 2);
}

#[test]
fn the_state_is_read_once_a_minute_and_the_questions_are_asked_every_fifth_time() {
    let (mut ward, _) = Ward::running(KNOWN);
    ward.answer(STATUS, &RUNS);
    ward.answer(ANNUNCIATION, &[0]);
    // The questions of the beginning are answered.
    for answer in [&[0x6A, 0x03, 0, 1, 10, 0][..], &[0xFC, 0x03, 0, 12, 0]] {
        ward.event(&LinkEvent::Written(PUMP_STATUS_READER, Ok(())));
        ward.value(PUMP_STATUS_READER, answer);
    }
    let asked = |actions: &[Action]| {
        let to = |action: &&Action| matches!(action, Action::Command(LinkCommand::Write(write)) if write.to() == PUMP_STATUS_READER);
        actions.iter().filter(to).count()
    };
    let four = ward.passes(4 * MINUTE, &[0]);
    assert_eq!((reads(&four, STATUS), reads(&four, ANNUNCIATION), asked(&four)), (4, 4, 0));
    let fifth = ward.passes(MINUTE, &[0]);
    assert_eq!((reads(&fifth, STATUS), reads(&fifth, ANNUNCIATION), asked(&fifth)), (1, 1, 1));
}

/// The answer may have been on its way before the change.
#[test]
fn what_changes_while_it_is_read_is_read_once_more_and_never_twice_at_a_time() {
    let (mut ward, _) = Ward::running(0);
    ward.answer(STATUS, &RUNS);
    for _ in 0..5 {
        assert_eq!(reads(&ward.value(CHANGED, &[0x08, 0]), ANNUNCIATION), 0, "it is being read");
    }
    assert_eq!(reads(&ward.answer(ANNUNCIATION, &[0]), ANNUNCIATION), 1);
    assert_eq!(reads(&ward.answer(ANNUNCIATION, &shows(0x003C, 5)), ANNUNCIATION), 0);
    assert_eq!(reads(&ward.value(CHANGED, &[0x08, 0]), ANNUNCIATION), 1, "at once");
}

#[test]
fn an_annunciation_that_is_indicated_is_told_as_it_comes_and_not_as_a_stored_one() {
    // The history is on its way.
    let mut ward = Ward::new(0);
    ward.subscribed();
    ward.event(&LinkEvent::Written(PUMP_RECORD_ACCESS, Ok(())));
    let actions = ward.value(ANNUNCIATION, &shows(0x003C, 5));
    let said = observed_in(&actions);
    assert_eq!(edges(&said), [("003C/5".to_owned(), Phase::Start, Priority::High)]);
    assert!(said.iter().all(|said| !said.quality.has(Quality::STORED)), "{said:?}");
    assert!(actions.contains(&Action::Commit));
    let said = observed_in(&ward.value(HISTORY, &record(0x0330, 7, 60, &[0x17, 0])));
    assert!(said.iter().all(|said| said.quality.has(Quality::STORED)), "{said:?}");
    let said = observed_in(&ward.value(STATUS, &RUNS));
    assert_eq!(value_of(&said, &codes::RESERVOIR).as_deref(), Some("23"));
}

/// A pump that leaves its annunciations out need not be given up.
#[test]
fn a_pump_that_indicates_only_what_changed_is_read_all_the_same() {
    use crate::link::NOT_OFFERED;
    let mut ward = Ward::new(0);
    let mut actions = Vec::new();
    for of in PROFILE.subscribes.iter().chain([&PUMP_RECORD_ACCESS]) {
        let refused = [STATUS, ANNUNCIATION].contains(of);
        let result = if refused { Err(NOT_OFFERED.to_owned()) } else { Ok(()) };
        actions.extend(ward.event(&LinkEvent::Subscribed(*of, result)));
    }
    assert_eq!((reads(&actions, STATUS), reads(&actions, ANNUNCIATION)), (1, 1));
    assert!(!actions.contains(&Action::Command(LinkCommand::HangUp)));
}

#[test]
fn types_that_only_inform_are_states_and_every_other_has_its_urgency() {
    use Priority::{High, Medium, Unstated};
    let all = [
        (0x000F, Some(High)),
        (0x0033, Some(High)),
        (0x003C, Some(High)),
        (0x0055, Some(High)),
        (0x005A, Some(High)),
        (0x0066, Some(Medium)),
        (0x0069, Some(Medium)),
        (0x0096, Some(High)),
        (0x0099, Some(High)),
        (0x00A5, Some(High)),
        (0x00AA, Some(High)),
        (0x00C3, Some(Medium)),
        (0x00CC, None),
        (0x00F0, None),
        (0x00FF, Some(Medium)),
        (0x0303, Some(Medium)),
        (0x030C, Some(Medium)),
        (0x0330, None),
        (0x033F, Some(Medium)),
        (0x0356, Some(Medium)),
        (0x0359, Some(Medium)),
        (0x0365, None),
        // Of the set, without a meaning; and the maker's.
        (0x036A, Some(Unstated)),
        (0xF00F, Some(Unstated)),
    ];
    for (kind, priority) in all {
        let mut pump = pump(0);
        let said = pump.handle_read(ANNUNCIATION, Some(&shows(kind, 9))).unwrap();
        let words = value_of(&said, &codes::ANNUNCIATION).unwrap();
        assert!(words.starts_with(&format!("{kind:04X}/9 ")), "told in words whatever it is: {words}");
        let expected: Vec<_> =
            priority.map(|p| (format!("{kind:04X}/9"), Phase::Start, p)).into_iter().collect();
        assert_eq!(edges(&said), expected);
        // What informs ends nothing either.
        let said = pump.handle_read(ANNUNCIATION, Some(&shows(0x00F0, 10))).unwrap();
        assert_eq!(edges(&said), []);
    }
}

#[test]
fn annunciations_without_an_end_are_bounded_and_none_goes_without_a_word() {
    let mut pump = pump(0);
    let mut show = |kind, id| {
        let said = pump.handle_read(ANNUNCIATION, Some(&shows(kind, id))).unwrap();
        let faults: Vec<String> =
            std::iter::from_fn(|| pump.poll_fault()).map(|fault| fault.detail).collect();
        (edges(&said), faults, pump.alarms.on().len())
    };
    // The second and third are less urgent than all others.
    for id in 1..=32 {
        let kind = if (2..=3).contains(&id) { 0x0066 } else { 0x003C };
        let (edges, faults, count) = show(kind, id);
        assert_eq!((edges.len(), faults.len(), count), (1, 0, usize::from(id)));
    }
    assert_eq!(show(0x003C, 1), (vec![], vec![], 32), "what is on takes no more room");
    for (id, gone) in [(33, "0066/2"), (34, "0066/3"), (35, "003C/1"), (36, "003C/4")] {
        let (edges, faults, count) = show(0x003C, id);
        let phases: Vec<_> = edges.iter().map(|(code, phase, _)| (code.clone(), *phase)).collect();
        assert_eq!(phases, [(gone.to_owned(), Phase::End), (format!("003C/{id}"), Phase::Start)]);
        assert!(faults.len() == 1 && faults[0].contains(gone), "{faults:?}");
        assert_eq!(count, 32);
    }
    // One that ended leaves room.
    pump.handle_read(ANNUNCIATION, Some(&[1, 9, 0, 0x3C, 0, 0x55])).unwrap();
    let said = pump.handle_read(ANNUNCIATION, Some(&shows(0x0066, 40))).unwrap();
    assert_eq!((edges(&said).len(), pump.poll_fault()), (1, None));
    // The alarms outlive the connection: what an earlier one told is the oldest.
    let mut next = Pump { alarms: pump.alarms.clone(), ..super::pump(0) };
    next.handle_read(ANNUNCIATION, Some(&[0x01, 40, 0, 0x66, 0, 0x55])).unwrap();
    next.handle_read(ANNUNCIATION, Some(&shows(0x003C, 50))).unwrap();
    let said = next.handle_read(ANNUNCIATION, Some(&shows(0x003C, 51))).unwrap();
    assert_eq!(edges(&said)[0].1, Phase::End);
    assert_ne!(edges(&said)[0].0, "003C/50");
}

/// BlueZ tells the answer to a read as a value besides: one message, told once, whichever comes first.
#[test]
fn the_answer_to_a_read_that_comes_as_a_value_too_is_one_message() {
    let shown = |id: u16, counter| counted(&shows(0x003C, id), counter);
    let mut counting = pump(1);
    assert_eq!(counting.handle_value(ANNUNCIATION, &shown(5, 1)).unwrap().len(), 2);
    assert_eq!(counting.handle_read(ANNUNCIATION, Some(&shown(5, 1))), Ok(vec![]));
    assert_eq!(counting.handle_read(ANNUNCIATION, Some(&shown(5, 2))).unwrap().len(), 1, "read again");
    assert_eq!(counting.handle_value(ANNUNCIATION, &shown(5, 2)), Ok(vec![]));
    assert_eq!(counting.handle_value(ANNUNCIATION, &shown(6, 3)).unwrap().len(), 2);
    assert_eq!(counting.poll_fault(), None);
    let mut plain = pump(0);
    assert_eq!(plain.handle_read(STATUS, Some(&RUNS)).unwrap().len(), 4);
    assert_eq!(plain.handle_value(STATUS, &RUNS), Ok(vec![]), "no news");
    assert_eq!(plain.handle_read(STATUS, Some(&RUNS)).unwrap().len(), 4, "a sign of life");
}

/// The pump answers, then announces; the link gives the announcement first.
#[test]
fn an_answer_that_is_older_than_what_was_indicated_ends_nothing_and_is_asked_for_again() {
    let (mut ward, _) = Ward::running(0);
    ward.answer(STATUS, &RUNS);
    ward.answer(ANNUNCIATION, &[0]);
    ward.now.mono = ward.now.mono + MINUTE;
    ward.collector.handle_timeout(ward.now);
    let asked: Vec<Action> = std::iter::from_fn(|| ward.collector.poll_action()).collect();
    assert_eq!(reads(&asked, ANNUNCIATION), 1);
    let said = observed_in(&ward.value(ANNUNCIATION, &shows(0x003C, 5)));
    assert_eq!(edges(&said), [("003C/5".to_owned(), Phase::Start, Priority::High)]);
    let late = ward.answer(ANNUNCIATION, &[0]);
    assert_eq!((observed_in(&late), reads(&late, ANNUNCIATION)), (Vec::new(), 1), "{late:?}");
    let again = ward.answer(ANNUNCIATION, &shows(0x003C, 5));
    assert_eq!((edges(&observed_in(&again)), reads(&again, ANNUNCIATION)), (Vec::new(), 0));
    // Nothing was indicated since: the answer is the news.
    ward.value(CHANGED, &[0x08, 0]);
    let over = observed_in(&ward.answer(ANNUNCIATION, &[0]));
    assert_eq!(edges(&over), [("003C/5".to_owned(), Phase::End, Priority::High)]);
}

/// The link gives an answer as a value besides: that may be the older one of two.
#[test]
fn two_values_while_it_is_read_have_it_read_once_more() {
    let (mut ward, _) = Ward::running(0);
    ward.answer(STATUS, &RUNS);
    ward.value(ANNUNCIATION, &shows(0x003C, 5));
    ward.value(ANNUNCIATION, &[0]);
    assert_eq!(reads(&ward.answer(ANNUNCIATION, &[0]), ANNUNCIATION), 1);
    let again = ward.answer(ANNUNCIATION, &shows(0x003C, 5));
    assert_eq!(edges(&observed_in(&again)).len(), 1);
    assert_eq!(reads(&again, ANNUNCIATION), 0);
}

#[test]
fn a_protected_answer_that_is_older_than_what_was_indicated_is_refused() {
    let mut pump = pump(1);
    pump.handle_read(ANNUNCIATION, Some(&counted(&[0], 1))).unwrap();
    let said = pump.handle_value(ANNUNCIATION, &counted(&shows(0x003C, 5), 3)).unwrap();
    assert_eq!(edges(&said).len(), 1);
    let late = pump.handle_read(ANNUNCIATION, Some(&counted(&[0], 2))).unwrap_err();
    assert!(late.detail.contains("comes late"), "{late}");
    // An answer that was given behind the announcement is the news.
    let over = pump.handle_read(ANNUNCIATION, Some(&counted(&[0], 4))).unwrap();
    assert_eq!(edges(&over), [("003C/5".to_owned(), Phase::End, Priority::High)]);
}

#[test]
fn with_no_room_left_a_less_urgent_one_ends_no_other() {
    let mut pump = pump(0);
    for id in 0..MOST {
        let id = u16::try_from(id).unwrap();
        assert_eq!(edges(&pump.handle_read(ANNUNCIATION, Some(&shows(0x003C, id))).unwrap()).len(), 1);
    }
    for _ in 0..3 {
        let said = pump.handle_read(ANNUNCIATION, Some(&shows(0x0066, 99))).unwrap();
        assert_eq!(edges(&said), []);
        assert!(value_of(&said, &codes::ANNUNCIATION).unwrap().starts_with("0066/99 reservoir low"));
    }
    let fault = pump.poll_fault().unwrap();
    assert!(fault.detail.contains("0066/99 is told as a state only"), "{fault}");
    assert_eq!(pump.poll_fault(), None, "once");
    // One that is as urgent takes the place of the oldest.
    let said = edges(&pump.handle_read(ANNUNCIATION, Some(&shows(0x003C, 100))).unwrap());
    assert_eq!(said[0], ("003C/0".to_owned(), Phase::End, Priority::High));
    assert_eq!(said[1], ("003C/100".to_owned(), Phase::Start, Priority::High));
    assert!(pump.poll_fault().is_some());
}
