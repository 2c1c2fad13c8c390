//! Whatever changes in whatever order: a record is stored under the card under which it was read, or not at all, and
//! what the gate itself says of a place that ends is stored under the card of that place.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{DIMENSIONLESS, EVT_OCCL, PERCENT, SPO2};
use crate::device::observation::{Alarm, Kind, Lane, Observation, Phase, Priority, Quality, Status, Value};
use crate::device::{Identity, Report, ReportBody};
use crate::envelope::block::{BlockHeader, PlainBlock};
use crate::envelope::record::Entry;
use crate::policy::{DeviceCard, Gatekeeper, Trust};
use crate::store::{Seq, StoreError};
use crate::time::BootId;

/// What was stored: id, pseudonym, number and value of each record, as a consumer decodes them; and the edges.
#[derive(Default)]
struct Stored {
    is_full: bool,
    records: Vec<(String, String, u64, i64)>,
    edges: Vec<(String, String, u64, (String, Phase))>,
}

impl Durable for Stored {
    fn append(&mut self, lane: Lane, block: &PlainBlock, _: Now) -> Result<Seq, StoreError> {
        if self.is_full {
            return Err(StoreError::Full { lane });
        }
        let (header, entries) = block.read().unwrap();
        for entry in entries {
            let Entry::Observation(record) = entry else { panic!("{entry:?}") };
            let card = &header.devices[usize::from(record.device)];
            let (id, pseudonym) = (card.id.clone(), card.pseudonym.clone());
            match record.observation.value {
                Value::Decimal(value) => {
                    self.records.push((id, pseudonym, record.seq, value.to_string().parse().unwrap()));
                }
                Value::Alarm(alarm) => {
                    self.edges.push((id, pseudonym, record.seq, (alarm.code, alarm.phase)));
                }
                other @ (Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_)) => {
                    panic!("{other:?}")
                }
            }
        }
        Ok(Seq { lane, segment: 1, block: 0 })
    }

    fn maintain(&mut self, _: Now) -> Result<(), StoreError> {
        Ok(())
    }
}

/// One step. Devices that were listed are picked among all that ever were, the ended ones too.
#[derive(Clone, Debug)]
enum Step {
    /// A session reports, whether or not it should have ended.
    Report(prop::sample::Index),
    /// An alarm of it begins or ends.
    Alarm(prop::sample::Index, bool),
    /// It is looked who is silent.
    Look,
    /// Some end; these ids begin, or begin anew where they are listed.
    Change(Vec<prop::sample::Index>, Vec<u8>),
    /// Time passes.
    Linger,
    /// The store takes nothing, or takes again.
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let who = any::<prop::sample::Index>;
    prop_oneof![
        8 => who().prop_map(Step::Report),
        4 => (who(), any::<bool>()).prop_map(|(who, begins)| Step::Alarm(who, begins)),
        2 => Just(Step::Look),
        2 => (prop::collection::vec(who(), 0..3), prop::collection::vec(0u8..5, 0..3))
            .prop_map(|(end, begin)| Step::Change(end, begin)),
        2 => Just(Step::Linger),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

/// What was listed at a place: its value is the place's number, so a record says itself whose it is.
struct Entered {
    id: u8,
    is_listed: bool,
    said: u64,
    measured: u64,
    /// The edges that must be stored of it.
    edges: Vec<Phase>,
}

impl Entered {
    const fn new(id: u8) -> Self {
        Self { id, is_listed: true, said: 0, measured: 0, edges: Vec::new() }
    }
}

fn rule(place: usize, id: u8) -> DeviceRule {
    let card = DeviceCard {
        id: format!("dev-{id}"),
        model: "masimo-ascii1".to_owned(),
        pseudonym: format!("{place:032x}"),
        location: None,
        security: "serial",
    };
    DeviceRule {
        card,
        expects: Identity::default(),
        trust: Trust::LinkOnly,
        elements: vec![&SPO2, &EVT_OCCL],
        behind: None,
        quiet: Some(Duration::from_secs(3)),
    }
}

/// Its code is the place's number.
fn alarm_report(place: usize, ticket: u64, phase: Phase, now: Now) -> Report {
    let mut report = report(place, ticket, now);
    let code = place.to_string();
    let alarm = Alarm { code, text: String::new(), phase, priority: Priority::High, is_silenced: false };
    if let ReportBody::Observation(_, observation) = &mut report.body {
        (observation.metric, observation.unit, observation.kind) = (&EVT_OCCL, &DIMENSIONLESS, Kind::Alarm);
        observation.value = Value::Alarm(alarm);
    }
    report
}

fn report(place: usize, ticket: u64, now: Now) -> Report {
    let observation = Observation {
        metric: &SPO2,
        channel: 0,
        value: Value::Decimal(Decimal::new(i64::try_from(place).unwrap(), 0)),
        unit: &PERCENT,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    };
    let device = DeviceIndex(u16::try_from(place).unwrap());
    Report { device, at: now, body: ReportBody::Observation(Ticket(ticket), observation) }
}

struct Ward {
    intake: Intake<Stored>,
    entered: Vec<Entered>,
    now: Now,
}

impl Ward {
    fn new() -> Self {
        let rules = vec![rule(0, 0), rule(1, 1)];
        let devices = rules.iter().map(|rule| rule.card.clone()).collect();
        let header = BlockHeader { boot: BootId::default(), run: 1, devices };
        let told = rules.iter().map(|_| watch::Sender::default()).collect();
        let linger = Duration::from_millis(100);
        let intake = Intake::new(Gatekeeper::new(rules), Stored::default(), &header, linger, told);
        let entered = [0, 1].map(Entered::new).into();
        Self { intake, entered, now: Now::default() }
    }

    fn take(&mut self, step: &Step) {
        self.now.mono = self.now.mono + Duration::from_millis(1);
        match step {
            Step::Report(who) => {
                let place = who.index(self.entered.len());
                let entered = &mut self.entered[place];
                entered.said += u64::from(entered.is_listed);
                entered.measured += u64::from(entered.is_listed);
                let ticket = entered.said;
                self.intake.handle_report(report(place, ticket, self.now), self.now);
            }
            Step::Alarm(who, begins) => {
                let place = who.index(self.entered.len());
                let entered = &mut self.entered[place];
                let phase = if *begins { Phase::Start } else { Phase::End };
                if entered.is_listed {
                    entered.said += 1;
                    entered.edges.push(phase);
                }
                let ticket = entered.said;
                self.intake.handle_report(alarm_report(place, ticket, phase, self.now), self.now);
            }
            Step::Look => self.intake.handle_silence(self.now),
            Step::Change(ends, begins) => self.change(ends, begins),
            Step::Linger => {
                self.now.mono = self.now.mono + Duration::from_secs(2);
                self.intake.handle_timeout(self.now);
            }
            Step::Full(is_full) => self.intake.store.is_full = *is_full,
        }
    }

    fn change(&mut self, ends: &[prop::sample::Index], begins: &[u8]) {
        let mut begins = begins.to_vec();
        begins.sort_unstable();
        begins.dedup();
        let picked: Vec<usize> = ends.iter().map(|end| end.index(self.entered.len())).collect();
        let mut retired = Vec::new();
        for (place, entered) in self.entered.iter_mut().enumerate() {
            let ends = picked.contains(&place) || begins.contains(&entered.id);
            if entered.is_listed && ends {
                entered.is_listed = false;
                if entered.edges.last() == Some(&Phase::Start) {
                    entered.edges.push(Phase::End);
                }
                retired.push(DeviceIndex(u16::try_from(place).unwrap()));
            }
        }
        let first = self.entered.len();
        let listed =
            begins.iter().enumerate().map(|(n, id)| (rule(first + n, *id), watch::Sender::default()));
        let listed = listed.collect();
        let change = Change { retired, first: DeviceIndex(u16::try_from(first).unwrap()), listed };
        self.intake.handle_change(change, self.now).unwrap();
        self.entered.extend(begins.iter().map(|id| Entered::new(*id)));
    }
}

#[test]
fn after_a_thousand_changes_no_more_is_known_than_of_the_devices_that_are_listed() {
    let mut ward = Ward::new();
    let held = |ward: &Ward| {
        let cards = ward.intake.lanes.iter().map(|(_, pending)| pending.builder.devices());
        [ward.intake.gate.places(), ward.intake.sources.len(), ward.intake.leaving.len()]
            .into_iter()
            .chain(cards)
            .max()
            .unwrap()
    };
    let mut most = 0;
    for turn in 0..1_000_usize {
        let last = ward.entered.len() - 1;
        // Alarms of both that are listed are on, and one of both is silent, when their entries go.
        for place in [last - 1, last] {
            let now = ward.now;
            let entered = &mut ward.entered[place];
            entered.said += 1;
            entered.measured += 1;
            entered.edges.push(Phase::Start);
            let ticket = entered.said;
            ward.intake.handle_report(report(place, ticket, now), now);
            ward.intake.handle_report(alarm_report(place, ticket, Phase::Start, now), now);
        }
        ward.intake.store.is_full = turn % 7 == 3;
        ward.change(&[], &[0, 1]);
        if turn % 3 == 0 {
            ward.take(&Step::Linger);
        }
        most = most.max(held(&ward));
    }
    assert!(most <= 40, "{most} places are known at a time");
    ward.intake.store.is_full = false;
    assert!(ward.intake.handle_end(ward.now));
    assert_eq!(held(&ward), 2);
    // Nothing was lost or numbered twice by that.
    let mut seqs: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
    let Stored { records, edges, .. } = ward.intake.into_store();
    let records = records.into_iter().map(|(id, _, seq, _)| (id, seq));
    for (id, seq) in records.chain(edges.into_iter().map(|(id, _, seq, _)| (id, seq))) {
        seqs.entry(id).or_default().push(seq);
    }
    for (id, mut seqs) in seqs {
        seqs.sort_unstable();
        assert!(seqs.len() >= 3_000, "{id}: {}", seqs.len());
        assert!((1..).zip(&seqs).all(|(wanted, seq)| wanted == *seq), "{id} has a hole, or a number twice");
    }
}

#[test]
fn a_device_that_was_forgotten_goes_on_counting_when_it_is_listed_again() {
    let mut ward = Ward::new();
    let now = ward.now;
    ward.intake.handle_report(report(0, 1, now), now);
    let gone = Change { retired: vec![DeviceIndex(0)], first: DeviceIndex(u16::MAX), listed: Vec::new() };
    ward.intake.handle_change(gone, now).unwrap();
    assert_eq!(ward.intake.gate.places(), 1);
    let again = Change {
        retired: Vec::new(),
        first: DeviceIndex(2),
        listed: vec![(rule(2, 0), watch::Sender::default())],
    };
    ward.intake.handle_change(again, now).unwrap();
    ward.intake.handle_report(report(2, 1, now), now);
    assert!(ward.intake.handle_end(now));
    let stored = ward.intake.into_store().records;
    let of =
        |place: usize, seq| ("dev-0".to_owned(), format!("{place:032x}"), seq, i64::try_from(place).unwrap());
    assert_eq!(stored, [of(0, 1), of(2, 2)]);
}

proptest! {
    #[test]
    fn no_record_is_ever_stored_under_the_card_of_another(steps in prop::collection::vec(step(), 1..120)) {
        let mut ward = Ward::new();
        for step in &steps {
            ward.take(step);
        }
        ward.intake.store.is_full = false;
        prop_assert!(ward.intake.handle_end(ward.now));
        let Ward { intake, entered, .. } = ward;
        let mut numbers: std::collections::BTreeMap<String, Vec<u64>> = std::collections::BTreeMap::new();
        let mut counts = vec![0; entered.len()];
        let Stored { records, edges, .. } = intake.into_store();
        let mut told = vec![Vec::new(); entered.len()];
        let mut silences = vec![Vec::new(); entered.len()];
        for (id, pseudonym, seq, (code, phase)) in edges {
            let place = usize::from_str_radix(&pseudonym, 16).unwrap();
            prop_assert_eq!(&id, &format!("dev-{}", entered[place].id));
            numbers.entry(id).or_default().push(seq);
            if code == "wardline:silent" {
                silences[place].push(phase);
            } else {
                prop_assert_eq!(code, place.to_string());
                told[place].push(phase);
            }
        }
        for (place, entered) in entered.iter().enumerate() {
            // All edges that were told, and the end of what was on when its entry went.
            prop_assert_eq!(&told[place], &entered.edges);
            let edges = &silences[place];
            prop_assert!(edges.iter().step_by(2).all(|phase| *phase == Phase::Start), "{:?}", edges);
            prop_assert!(edges.iter().skip(1).step_by(2).all(|phase| *phase == Phase::End), "{:?}", edges);
            prop_assert!(entered.is_listed || edges.len() % 2 == 0, "it waits for its end for ever");
        }
        for (id, pseudonym, seq, value) in records {
            let place = usize::try_from(value).unwrap();
            prop_assert_eq!(&id, &format!("dev-{}", entered[place].id));
            prop_assert_eq!(pseudonym, format!("{place:032x}"));
            numbers.entry(id).or_default().push(seq);
            counts[place] += 1;
        }
        // All that was said while it was listed, nothing of before or after.
        prop_assert_eq!(counts, entered.iter().map(|entered| entered.measured).collect::<Vec<_>>());
        for (id, mut seqs) in numbers {
            seqs.sort_unstable();
            prop_assert!((1u64..).zip(&seqs).all(|(wanted, seq)| wanted == *seq), "{} counts {:?}", id, seqs);
        }
    }
}

#[test]
fn a_session_that_begins_hears_what_became_of_its_own_readings_only() {
    let mut ward = Ward::new();
    ward.intake.handle_report(report(0, 1, ward.now), ward.now);
    let (told, settled) = watch::channel(Settled::default());
    let change =
        Change { retired: vec![DeviceIndex(0)], first: DeviceIndex(2), listed: vec![(rule(2, 0), told)] };
    ward.intake.handle_change(change, ward.now).unwrap();
    ward.now.mono = ward.now.mono + Duration::from_secs(1);
    ward.intake.handle_timeout(ward.now);
    assert_eq!(*settled.borrow(), Settled::default(), "what is durable is of the session before");
    ward.intake.handle_report(report(2, 1, ward.now), ward.now);
    ward.now.mono = ward.now.mono + Duration::from_secs(1);
    ward.intake.handle_timeout(ward.now);
    assert_eq!(settled.borrow().through, Ticket(1));
}
