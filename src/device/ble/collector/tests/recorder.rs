//! A meter with its records in any order, with gaps between their numbers, whose connection is cut anywhere, that
//! gives records twice and loses some on the way: each is durable in the end, and none was deleted before.
//!
//! Written from the Glucose Service and the Record Access Control Point, not from the code under test.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What goes wrong on one connection.
#[derive(Clone, Debug)]
struct Mishap {
    /// The values after which it is cut; `None`: not at all.
    cut: Option<usize>,
    /// The place of the record that gets lost.
    lost: Option<usize>,
    /// How often the daemon's storage has nothing more than so many observations behind.
    late: u64,
    is_killed: bool,
    order: u8,
    repeats: bool,
}

fn mishap() -> impl Strategy<Value = Mishap> {
    let cut = proptest::option::of(0usize..30);
    let lost = proptest::option::of(0usize..12);
    (cut, lost, 0u64..9, 0u8..4, 0u8..4, any::<bool>()).prop_map(|(cut, lost, late, kill, order, repeats)| {
        Mishap { cut, lost, late, is_killed: kill == 0, order, repeats }
    })
}

struct Recorder {
    kept: Vec<u16>,
    deleted: BTreeSet<u16>,
    /// How often each got lost on the way. What is missing three times in a row is taken for what does not exist.
    lost: BTreeMap<u16, u8>,
}

/// The whole bench.
struct Bench {
    story: Story,
    device: Recorder,
    memo: Option<Vec<u8>>,
    /// What this run was given, by ticket.
    given: Vec<u16>,
    through: usize,
    durable: BTreeSet<u16>,
    /// Numbers that were given once already in this run.
    of_run: BTreeSet<u16>,
    /// Values on their way to the collector.
    inbox: VecDeque<(Characteristic, Vec<u8>)>,
    mishap: Mishap,
    sent: usize,
    is_up: bool,
}

fn record(number: u16) -> Vec<u8> {
    let [low, high] = number.to_le_bytes();
    vec![2, low, high, 0xEA, 7, 1, 1, 0, low % 60, 0, 100, 0xB0, 0x11]
}

impl Bench {
    fn new(kept: Vec<u16>) -> Self {
        Self {
            story: Story::deleting_meter(),
            device: Recorder { kept, deleted: BTreeSet::new(), lost: BTreeMap::new() },
            memo: None,
            given: Vec::new(),
            through: 0,
            durable: BTreeSet::new(),
            of_run: BTreeSet::new(),
            inbox: VecDeque::new(),
            mishap: Mishap { cut: None, lost: None, late: 0, is_killed: false, order: 0, repeats: false },
            sent: 0,
            is_up: false,
        }
    }

    /// The daemon takes one action.
    fn perform(&mut self, action: Action) {
        match action {
            Action::Observe(_, said) => {
                let number = u16::try_from(said.record.unwrap()).unwrap();
                self.given.push(number);
                if matches!(said.value, crate::device::observation::Value::Decimal(_)) {
                    assert!(self.of_run.insert(number), "{number} was given twice in one run");
                }
                self.story.collector.handle_ticket(Ticket(u64::try_from(self.given.len()).unwrap()));
            }
            Action::Remember(memo) => self.memo = Some(memo.bytes().to_vec()),
            Action::Command(LinkCommand::Write(write)) => self.obey(write.octets()),
            Action::Command(LinkCommand::HangUp) => self.is_up = false,
            Action::Command(_)
            | Action::Commit
            | Action::Identify(..)
            | Action::Gone(..)
            | Action::Pin(_)
            | Action::Report(_) => {}
        }
    }

    fn drain(&mut self) {
        while let Some(action) = self.story.collector.poll_action() {
            self.perform(action);
        }
    }

    fn event(&mut self, event: &LinkEvent) {
        self.story.collector.handle_event(event, self.story.now);
        self.drain();
    }

    /// The meter's control point.
    fn obey(&mut self, octets: &[u8]) {
        let all = self.device.kept.iter().copied();
        let mut chosen: Vec<u16> = match octets[1..] {
            [3, 1, low, high] => all.filter(|number| *number >= u16::from_le_bytes([low, high])).collect(),
            [2, 1, low, high] => all.filter(|number| *number <= u16::from_le_bytes([low, high])).collect(),
            _ => all.collect(),
        };
        let say = |octets: Vec<u8>| (CONTROL, octets);
        match octets[0] {
            4 => {
                let [low, high] = u16::try_from(chosen.len()).unwrap().to_le_bytes();
                self.inbox.push_back(say(vec![5, 0, low, high]));
            }
            1 if chosen.is_empty() => self.inbox.push_back(say(vec![6, 0, 1, 6])),
            1 => {
                match self.mishap.order {
                    0 | 1 => {}
                    2 => chosen.reverse(),
                    _ => chosen.sort_by_key(|number| number.wrapping_mul(40_503)),
                }
                if self.mishap.repeats {
                    let again: Vec<u16> = chosen.iter().copied().step_by(3).collect();
                    chosen.splice(1..1, again);
                }
                if let Some(lost) = self.mishap.lost.take().filter(|lost| *lost < chosen.len()) {
                    let lost = chosen[lost];
                    let times = self.device.lost.entry(lost).or_default();
                    *times += 1;
                    chosen.retain(|number| *number != lost || *times > 2);
                }
                self.inbox.extend(chosen.into_iter().map(|number| (MEASURED, record(number))));
                self.inbox.push_back(say(vec![6, 0, 1, 1]));
            }
            2 => {
                for number in chosen {
                    assert!(self.durable.contains(&number), "{number} was deleted and is not durable");
                    self.device.deleted.insert(number);
                    self.device.kept.retain(|kept| *kept != number);
                }
                self.inbox.push_back(say(vec![6, 0, 2, 1]));
            }
            other => panic!("op code {other}"),
        }
    }

    /// Storage takes all but the last few.
    fn commit(&mut self, late: u64) {
        let through = self.given.len().saturating_sub(usize::try_from(late).unwrap());
        if through > self.through {
            self.through = through;
            self.durable.extend(&self.given[..through]);
            let through = Ticket(u64::try_from(through).unwrap());
            self.story.collector.handle_durable(through, self.story.now);
            self.drain();
        }
    }

    fn connection(&mut self, mishap: Mishap) {
        let (cut, late) = (mishap.cut, mishap.late);
        self.mishap = mishap;
        (self.sent, self.is_up) = (0, true);
        self.inbox.clear();
        self.event(&LinkEvent::Up);
        for uuid in STRINGS {
            let of = Characteristic { service: DEVICE_INFORMATION, uuid };
            self.event(&LinkEvent::ReadDone(of, Ok(Bytes::from_static(b"SN-1"))));
        }
        for of in [MEASURED, CONTEXT, CONTROL] {
            self.event(&LinkEvent::Subscribed(of, Ok(())));
        }
        // Two minutes of it: what is behind a drain, and no further transfer of its own.
        let until = self.story.now.mono + Duration::from_secs(120);
        while self.is_up {
            if let Some((of, octets)) = self.inbox.pop_front() {
                if cut == Some(self.sent) {
                    break;
                }
                self.sent += 1;
                self.event(&LinkEvent::Value(of, Bytes::from(octets)));
                self.commit(late);
                continue;
            }
            let Some(at) = self.story.collector.poll_timeout().filter(|at| *at <= until) else { break };
            self.story.now.mono = self.story.now.mono.max(at);
            self.story.collector.handle_timeout(self.story.now);
            self.drain();
            self.commit(late);
        }
        self.event(&LinkEvent::Down(LinkError::HungUp));
        self.commit(late);
    }

    /// What was not durable is gone with the daemon.
    fn kill(&mut self) {
        self.story = Story { now: self.story.now, ..Story::deleting_meter() };
        if let Some(memo) = &self.memo {
            self.story.collector.recall(memo);
        }
        self.given.clear();
        self.of_run.clear();
        self.through = 0;
    }
}

proptest! {
    #[test]
    fn each_record_is_durable_in_the_end_and_none_is_deleted_before(
        numbers in proptest::collection::btree_set(1u16..60, 1..25),
        mishaps in proptest::collection::vec((mishap(), 0u16..3), 0..12),
    ) {
        let mut bench = Bench::new(numbers.iter().copied().collect());
        let mut all = numbers;
        let mut next = 60;
        for (mishap, more) in mishaps {
            let is_killed = mishap.is_killed;
            bench.connection(mishap);
            if is_killed {
                bench.kill();
            }
            for _ in 0..more {
                bench.device.kept.push(next);
                all.insert(next);
                next += 1 + next % 3;
            }
        }
        let calm = Mishap { cut: None, lost: None, late: 0, is_killed: false, order: 0, repeats: false };
        bench.connection(calm.clone());
        bench.connection(calm.clone());
        prop_assert_eq!(&bench.durable, &all);
        // What is known stays known: nothing is given again, also not after a restart.
        bench.kill();
        bench.connection(calm);
        prop_assert_eq!(&bench.given, &Vec::<u16>::new());
    }
}

#[test]
fn a_first_record_that_got_lost_is_fetched_although_the_row_behind_it_moved_the_mark_and_the_gateway_was_killed()
 {
    let calm = Mishap { cut: None, lost: None, late: 0, is_killed: false, order: 0, repeats: false };
    // Killed before the first is durable; killed as soon as it is known that it is missing; cut before that is known.
    for (late, cut) in [(2, None), (1, None), (0, Some(6))] {
        let mut bench = Bench::new((1..=6).collect());
        bench.connection(Mishap { lost: Some(0), late, cut, ..calm.clone() });
        bench.kill();
        bench.connection(calm.clone());
        let all: BTreeSet<u16> = (1..=6).collect();
        assert_eq!(bench.durable, all, "late {late}, cut {cut:?}");
        assert_eq!(bench.device.deleted, all, "late {late}, cut {cut:?}");
    }
}
