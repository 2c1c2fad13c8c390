//! A store that can be told to fail shows what the intake does with its blocks.

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{DIMENSIONLESS, EVT_OCCL, PERCENT, PERFUSION, SPO2};
use crate::device::observation::{Alarm, Kind, Observation, Phase, Priority, Quality, Status, Value};
use crate::device::pin::{Pin, Pinned};
use crate::envelope::block::MAX_RECORDS;
use crate::envelope::record::Entry;
use crate::policy::{DeviceCard, DeviceRule, Trust};
use crate::time::{BootId, Wall};

/// Keeps what it was given: lane and the device's sequence numbers of each block.
#[derive(Default)]
pub(in crate::gateway) struct Memory {
    broken: bool,
    blocks: Vec<(Lane, Vec<u64>)>,
    /// The wall time of each record.
    walls: Vec<i64>,
    looked_after: Vec<Mono>,
}

impl Memory {
    /// Takes nothing.
    pub(in crate::gateway) fn broken() -> Self {
        Self { broken: true, ..Self::default() }
    }
}

impl Durable for Memory {
    fn append(&mut self, lane: Lane, block: &PlainBlock, _: Now) -> Result<Seq, StoreError> {
        if self.broken {
            return Err(StoreError::Full { lane });
        }
        let (_, entries) = block.read().unwrap();
        let numbers = entries.iter().map(|entry| match entry {
            Entry::Observation(record) => record.seq,
            Entry::Gap(_) | Entry::Event(_) => 0,
        });
        self.blocks.push((lane, numbers.collect()));
        self.walls.extend(entries.iter().filter_map(|entry| match entry {
            Entry::Observation(record) => Some(record.at.wall.as_millis()),
            Entry::Gap(_) | Entry::Event(_) => None,
        }));
        Ok(Seq { lane, segment: 1, block: u32::try_from(self.blocks.len()).unwrap() })
    }

    fn maintain(&mut self, now: Now) -> Result<(), StoreError> {
        self.looked_after.push(now.mono);
        if self.broken { Err(StoreError::Full { lane: Lane::Vital }) } else { Ok(()) }
    }
}

const LINGER: Duration = Duration::from_millis(250);

fn at(millis: u64) -> Now {
    Now { mono: Mono::from_nanos(millis * 1_000_000), ..Now::default() }
}

/// An intake on a store of the caller's.
pub(in crate::gateway) fn intake_on(store: Memory) -> Intake<Memory> {
    let (mut intake, _) = intake();
    intake.store = store;
    intake
}

/// A reading that policy admits.
pub(in crate::gateway) fn reading_report(ticket: u64, now: Now) -> Report {
    report(ticket, reading(), now)
}

/// An intake whose device may be quiet for so long.
pub(in crate::gateway) fn intake_watching(quiet: Duration) -> (Intake<Memory>, watch::Receiver<Settled>) {
    intake_with(Some(quiet))
}

fn intake() -> (Intake<Memory>, watch::Receiver<Settled>) {
    intake_with(None)
}

fn intake_with(quiet: Option<Duration>) -> (Intake<Memory>, watch::Receiver<Settled>) {
    intake_for(quiet, crate::device::Identity::default(), Trust::LinkOnly)
}

/// An intake whose device must say that this is its serial number.
fn intake_expecting(serial: &str) -> (Intake<Memory>, watch::Receiver<Settled>) {
    intake_for(None, said_to_be(serial), Trust::ReportedIdentity)
}

fn said_to_be(serial: &str) -> crate::device::Identity {
    crate::device::Identity { serial: Some(serial.to_owned()), ..crate::device::Identity::default() }
}

fn intake_for(
    quiet: Option<Duration>,
    expects: crate::device::Identity,
    trust: Trust,
) -> (Intake<Memory>, watch::Receiver<Settled>) {
    let card = DeviceCard {
        id: "monitor-1".to_owned(),
        model: "masimo-ascii1".to_owned(),
        pseudonym: "00".to_owned(),
        location: None,
        security: "serial",
    };
    let rule = DeviceRule {
        card: card.clone(),
        expects,
        trust,
        elements: vec![&SPO2, &EVT_OCCL],
        behind: None,
        quiet,
    };
    let header = BlockHeader { boot: BootId::default(), run: 1, devices: vec![card] };
    let (settled, told) = watch::channel(Settled::default());
    let intake = Intake::new(Gatekeeper::new(vec![rule]), Memory::default(), &header, LINGER, vec![settled]);
    (intake, told)
}

fn report(ticket: u64, observation: Observation, now: Now) -> Report {
    Report { device: DeviceIndex(0), at: now, body: ReportBody::Observation(Ticket(ticket), observation) }
}

fn reading() -> Observation {
    Observation {
        metric: &SPO2,
        channel: 0,
        value: Value::Decimal(Decimal::new(97, 0)),
        unit: &PERCENT,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn alarm() -> Observation {
    let alarm = Alarm {
        code: "AL_OCCLU".to_owned(),
        text: "occlusion".to_owned(),
        phase: Phase::Start,
        priority: Priority::High,
        is_silenced: false,
    };
    Observation {
        metric: &EVT_OCCL,
        value: Value::Alarm(alarm),
        unit: &DIMENSIONLESS,
        kind: Kind::Alarm,
        ..reading()
    }
}

#[test]
fn readings_wait_for_company_and_no_longer_than_their_linger() {
    let (mut intake, told) = intake();
    for n in 1..=3 {
        intake.handle_report(report(n, reading(), at(n)), at(n));
        intake.handle_timeout(at(n));
    }
    assert_eq!(intake.poll_timeout(), Some(at(251).mono));
    assert_eq!(told.borrow().through, Ticket(0), "nothing is durable yet");
    intake.handle_timeout(at(250));
    assert!(intake.store.blocks.is_empty());
    intake.handle_timeout(at(251));
    assert_eq!(intake.store.blocks, [(Lane::Vital, vec![1, 2, 3])]);
    assert_eq!(told.borrow().through, Ticket(3));
    assert_eq!(intake.poll_timeout(), None);
}

#[test]
fn another_linger_holds_for_what_comes_next() {
    let (mut intake, _told) = intake();
    let settings = store::Config {
        folder: "/store".into(),
        anchor: None,
        cap: 1 << 30,
        alarm_reserve: 1 << 24,
        linger: Duration::from_millis(50),
    };
    intake.handle_settings(&settings);
    intake.handle_report(report(1, reading(), at(1)), at(1));
    assert_eq!(intake.poll_timeout(), Some(at(51).mono));
}

#[test]
fn an_alarm_is_committed_at_once_and_the_source_is_told_only_what_is_durable_without_a_hole() {
    let (mut intake, told) = intake();
    intake.handle_report(report(1, reading(), at(0)), at(0));
    intake.handle_report(report(2, alarm(), at(1)), at(1));
    intake.handle_timeout(at(1));
    assert_eq!(intake.store.blocks, [(Lane::Alarm, vec![2])]);
    assert_eq!(told.borrow().through, Ticket(0), "ticket 1 is not durable, so 2 is not reported");
    intake.handle_timeout(at(250));
    assert_eq!(told.borrow().through, Ticket(2));
}

#[test]
fn silence_and_its_end_are_committed_at_once_as_alarms() {
    let (mut intake, told) = intake_watching(Duration::from_secs(15));
    intake.handle_silence(at(0));
    intake.handle_silence(at(15_000));
    intake.handle_timeout(at(15_000));
    assert_eq!(intake.store.blocks, [(Lane::Alarm, vec![1])]);
    intake.handle_report(report(1, reading(), at(20_000)), at(20_000));
    intake.handle_timeout(at(20_000));
    assert_eq!(intake.store.blocks, [(Lane::Alarm, vec![1]), (Lane::Alarm, vec![3])]);
    assert_eq!(told.borrow().through, Ticket(0), "the gate's own words are no word of the device");
    intake.handle_timeout(at(20_250));
    assert_eq!(
        (intake.store.blocks.last(), told.borrow().through),
        (Some(&(Lane::Vital, vec![2])), Ticket(1))
    );
}

#[test]
fn the_words_of_the_gate_wait_while_the_store_takes_nothing_and_none_is_lost() {
    let (mut intake, _told) = intake_watching(Duration::from_secs(15));
    intake.handle_silence(at(0));
    intake.store.broken = true;
    let (mut ticket, mut now) = (0, 0);
    // Each alarm ends a silence that nobody looked at: three records for one report.
    while !intake.must_wait() {
        ticket += 1;
        now += 20_000;
        intake.handle_report(report(ticket, alarm(), at(now)), at(now));
        intake.handle_timeout(at(now));
        assert!(ticket < 20_000, "the intake takes without end");
    }
    intake.handle_silence(at(now + 20_000));
    assert!(!intake.handle_end(at(now + 20_000)));
    assert_eq!(intake.pending(), usize::try_from(3 * ticket + 1).unwrap());
    intake.store.broken = false;
    assert!(intake.handle_end(at(now + 20_001)));
    let mut numbers: Vec<u64> = intake.store.blocks.iter().flat_map(|(_, numbers)| numbers.clone()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=3 * ticket + 1).collect::<Vec<_>>());
}

#[test]
fn what_is_refused_for_who_said_it_is_named_and_never_again_by_a_later_word() {
    let settled = |through, refused| Settled {
        through: Ticket(through),
        refused: Ticket(refused),
        ..Settled::default()
    };
    let (mut intake, told) = intake_expecting("SN1");
    let identity = |serial| {
        let body = ReportBody::Identity(said_to_be(serial));
        Report { device: DeviceIndex(0), at: at(0), body }
    };
    // Before it said who it is.
    intake.handle_report(report(1, reading(), at(0)), at(0));
    assert_eq!(*told.borrow(), settled(1, 1));
    // The right one: what its site does not list is done with, as before.
    intake.handle_report(identity("SN1"), at(0));
    intake.handle_report(report(2, reading(), at(0)), at(0));
    intake.handle_report(report(3, Observation { metric: &PERFUSION, ..reading() }, at(0)), at(0));
    assert_eq!(*told.borrow(), settled(1, 1), "ticket 2 is not durable");
    // Another one on the same connection, while the block of the right one waits: its refusal is told at once.
    intake.handle_report(identity("SN2"), at(1));
    intake.handle_report(report(4, reading(), at(1)), at(1));
    assert_eq!(*told.borrow(), settled(1, 4));
    intake.handle_timeout(at(250));
    assert_eq!(*told.borrow(), settled(4, 4));
    // The right one again.
    intake.handle_report(identity("SN1"), at(300));
    intake.handle_report(report(5, reading(), at(300)), at(300));
    intake.handle_timeout(at(550));
    assert_eq!(*told.borrow(), settled(5, 4));
    // In the alarm lane: that it is another one, and that the right one is there again.
    let [event, one, over, two] = intake.store.blocks.as_slice() else { panic!("{:?}", intake.store.blocks) };
    assert_eq!((event, over), (&(Lane::Alarm, vec![0]), &(Lane::Alarm, vec![0])));
    assert_eq!((one, two), (&(Lane::Vital, vec![1]), &(Lane::Vital, vec![2])));
}

#[test]
fn what_a_device_is_now_counts_as_taken_when_its_event_is_durable() {
    let pin = |ticket, change: Option<&str>| {
        let pin = Pin { of: Pinned::Firmware, change: change.map(str::to_owned) };
        Report { device: DeviceIndex(0), at: at(0), body: ReportBody::Pin(Ticket(ticket), pin) }
    };
    let (mut intake, told) = intake();
    intake.handle_report(pin(1, None), at(0));
    assert_eq!(told.borrow().through, Ticket(1), "there is nothing to be told of it");
    intake.store.broken = true;
    intake.handle_report(pin(2, Some("1.0 and 1.1")), at(0));
    intake.handle_timeout(at(0));
    assert_eq!((told.borrow().through, intake.store.blocks.len()), (Ticket(1), 0));
    intake.store.broken = false;
    intake.handle_timeout(at(1_000));
    assert_eq!((told.borrow().through, intake.store.blocks.len()), (Ticket(2), 1));
}

#[test]
fn what_is_refused_because_the_site_does_not_list_it_is_final_and_counts_as_done() {
    let (mut intake, told) = intake();
    intake.handle_report(report(1, Observation { metric: &PERFUSION, ..reading() }, at(0)), at(0));
    assert_eq!(*told.borrow(), Settled { through: Ticket(1), refused: Ticket(0), ..Settled::default() });
    assert_eq!(intake.poll_timeout(), None);
}

#[test]
fn a_full_block_does_not_wait() {
    let (mut intake, _told) = intake();
    let count = u64::try_from(MAX_RECORDS).unwrap();
    for n in 1..=count {
        intake.handle_report(report(n, reading(), at(0)), at(0));
    }
    assert_eq!(intake.store.blocks.len(), 1);
}

#[test]
fn a_store_that_fails_loses_nothing_and_holds_the_sources_back() {
    let (mut intake, told) = intake();
    intake.store.broken = true;
    let mut ticket = 0;
    let mut now = 0;
    while !intake.must_wait() {
        ticket += 1;
        now += 1;
        intake.handle_report(report(ticket, reading(), at(now)), at(now));
        intake.handle_timeout(at(now));
        assert!(ticket < 20_000, "the intake takes without end");
    }
    assert!(intake.last_error().is_some());
    assert_eq!(told.borrow().through, Ticket(0));
    // Alarms still get through to the store while another lane is stuck.
    intake.store.broken = false;
    intake.handle_report(report(ticket + 1, alarm(), at(now)), at(now));
    intake.handle_timeout(at(now));
    assert_eq!(intake.store.blocks.first().map(|(lane, _)| *lane), Some(Lane::Alarm));
    // The stuck lane is tried again by itself, in order and complete.
    intake.handle_timeout(at(now + 1_000));
    let vital: Vec<u64> =
        intake.store.blocks.iter().filter(|(l, _)| *l == Lane::Vital).flat_map(|(_, n)| n.clone()).collect();
    assert_eq!(vital, (1..=ticket).collect::<Vec<_>>());
    assert_eq!(told.borrow().through, Ticket(ticket + 1));
    assert!(!intake.must_wait());
    assert_eq!(intake.last_error(), None);
}

#[test]
fn the_end_commits_everything_or_says_that_something_is_left() {
    let (mut intake, _told) = intake();
    intake.handle_report(report(1, reading(), at(0)), at(0));
    intake.store.broken = true;
    assert!(!intake.handle_end(at(1)));
    intake.store.broken = false;
    assert!(intake.handle_end(at(2)));
    assert_eq!(intake.store.blocks, [(Lane::Vital, vec![1])]);
}

#[test]
fn the_store_is_looked_after_also_while_it_fails() {
    let (mut intake, _told) = intake();
    intake.store.broken = true;
    intake.handle_upkeep(at(1_000));
    assert!(intake.neglect.is_some());
    intake.store.broken = false;
    intake.handle_upkeep(at(2_000));
    assert_eq!(intake.neglect, None);
    assert_eq!(intake.store.looked_after, [at(1_000).mono, at(2_000).mono]);
}

#[test]
fn a_wall_clock_that_jumps_changes_no_order_and_no_linger_and_is_kept_as_it_was() {
    let (mut intake, _told) = intake();
    let day = 86_400_000;
    // Forward by a day, back by two, to 1970: the boot clock goes on by a millisecond each.
    let walls = [1_795_000_000_000, 1_795_000_000_000 + day, 1_795_000_000_000 - day, 0];
    for (n, wall) in (1..).zip(walls) {
        let now = Now { wall: Wall::from_millis(wall), ..at(n) };
        intake.handle_report(report(n, reading(), now), now);
        intake.handle_timeout(now);
    }
    assert!(intake.store.blocks.is_empty(), "a jump ended the linger early");
    intake.handle_timeout(at(251));
    assert_eq!(intake.store.blocks, [(Lane::Vital, vec![1, 2, 3, 4])]);
    assert_eq!(intake.store.walls, walls);
}

#[test]
fn what_shall_be_durable_at_once_waits_for_nothing() {
    let settled = |through| Settled { through: Ticket(through), refused: Ticket(0), ..Settled::default() };
    let (mut intake, told) = intake();
    intake.handle_report(report(1, reading(), at(0)), at(0));
    assert_eq!(*told.borrow(), settled(0), "it lingers");
    intake.handle_report(Report { device: DeviceIndex(0), at: at(1), body: ReportBody::Commit }, at(1));
    assert_eq!(*told.borrow(), settled(1));
    assert_eq!(intake.poll_timeout(), None);
    // Nothing waits: nothing is written.
    intake.handle_report(Report { device: DeviceIndex(0), at: at(2), body: ReportBody::Commit }, at(2));
    assert_eq!(intake.store.blocks.len(), 1);
}

#[test]
fn what_an_advisory_keeps_out_is_named_apart_from_what_another_device_said() {
    let device = || "pump".to_owned();
    let held = Refusal::Held { device: device(), advisory: "ICSMA-1".to_owned(), reason: String::new() };
    let settled =
        |refused, held| Settled { refused: Ticket(refused), held: Ticket(held), ..Settled::default() };
    assert_eq!(refused(&held, Some(Ticket(7))), settled(0, 7));
    assert_eq!(refused(&Refusal::Unidentified { device: device() }, Some(Ticket(7))), settled(7, 0));
    assert_eq!(refused(&held, None), settled(0, 0));
}
