//! Whatever changes in whatever order: a record is stored under the card under which it was read, or not at all.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{PERCENT, SPO2};
use crate::device::observation::{Kind, Lane, Observation, Quality, Status, Value};
use crate::device::{Identity, Report, ReportBody};
use crate::envelope::block::{BlockHeader, PlainBlock};
use crate::envelope::record::Entry;
use crate::policy::{DeviceCard, Gatekeeper, Trust};
use crate::store::{Seq, StoreError};
use crate::time::BootId;

/// What was stored: id, pseudonym, number and value of each record, as a consumer decodes them.
#[derive(Default)]
struct Stored {
    is_full: bool,
    records: Vec<(String, String, u64, i64)>,
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
            let Value::Decimal(value) = record.observation.value else { panic!("{record:?}") };
            let value = value.to_string().parse().unwrap();
            self.records.push((card.id.clone(), card.pseudonym.clone(), record.seq, value));
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
        elements: vec![&SPO2],
        behind: None,
        quiet: None,
    }
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
        let entered = [0, 1].map(|id| Entered { id, is_listed: true, said: 0 }).into();
        Self { intake, entered, now: Now::default() }
    }

    fn take(&mut self, step: &Step) {
        self.now.mono = self.now.mono + Duration::from_millis(1);
        match step {
            Step::Report(who) => {
                let place = who.index(self.entered.len());
                let entered = &mut self.entered[place];
                entered.said += u64::from(entered.is_listed);
                let ticket = entered.said;
                self.intake.handle_report(report(place, ticket, self.now), self.now);
            }
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
                retired.push(DeviceIndex(u16::try_from(place).unwrap()));
            }
        }
        let first = self.entered.len();
        let listed =
            begins.iter().enumerate().map(|(n, id)| (rule(first + n, *id), watch::Sender::default()));
        let listed = listed.collect();
        let change = Change { retired, first: DeviceIndex(u16::try_from(first).unwrap()), listed };
        self.intake.handle_change(change, self.now).unwrap();
        self.entered.extend(begins.iter().map(|id| Entered { id: *id, is_listed: true, said: 0 }));
    }
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
        for (id, pseudonym, seq, value) in intake.into_store().records {
            let place = usize::try_from(value).unwrap();
            prop_assert_eq!(&id, &format!("dev-{}", entered[place].id));
            prop_assert_eq!(pseudonym, format!("{place:032x}"));
            numbers.entry(id).or_default().push(seq);
            counts[place] += 1;
        }
        // All that was said while it was listed, nothing of before or after.
        prop_assert_eq!(counts, entered.iter().map(|entered| entered.said).collect::<Vec<_>>());
        for (id, seqs) in numbers {
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
