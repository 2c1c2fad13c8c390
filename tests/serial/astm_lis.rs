//! Point-of-care analysers: what they count as received is stored, once.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinHandle;
use wardline::device::observation::Quality;
use wardline::device::settings::Settings;
use wardline::lab::sim::astm::{Ledger, PERSON, Packing, Reading, Setup, Values, analyser};
use wardline::lab::sim::{Control, Trouble};
use wardline::link::serial::SerialLink;

use crate::support::*;

/// An analyser whose timers are short, and a session on it.
struct Ward {
    control: Control<Values>,
    ledger: Ledger,
    storage: Storage,
    record: Record,
    device: JoinHandle<()>,
    session: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Ward {
    fn drop(&mut self) {
        self.device.abort();
        self.session.abort();
    }
}

fn begin(control: &Control<Values>, record: &Record, storage: &Storage) -> JoinHandle<()> {
    let model = model("astm-lis");
    let mut settings = Settings::defaults(model.settings);
    let hold = model.settings.iter().find(|row| row.name == "hold_seconds").unwrap();
    settings.set_number(hold, 1).unwrap();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    tokio::spawn(session_with(link, (model.driver)(&settings), record.clone(), storage.clone()))
}

async fn ward(packing: Packing) -> Ward {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::default();
    let setup = Setup {
        link: Some(folder.path().join("analyser")),
        reply: Duration::from_millis(2_400),
        busy: Duration::from_millis(300),
        rest: Duration::from_millis(200),
        packing,
        ledger: ledger.clone(),
        ..Setup::default()
    };
    let (device, control) = analyser(setup).unwrap();
    let (record, storage) = (Record::default(), Storage::default());
    let device = tokio::spawn(async move { device.await.unwrap() });
    let session = begin(&control, &record, &storage);
    record.until("the line", |record| !record.all().is_empty()).await;
    Ward { control, ledger, storage, record, device, session, _folder: folder }
}

/// A message of three results that no other message has.
fn panel(number: u32) -> Values {
    let tests = [("GLU", "mg/dL"), ("K", "mmol/L"), ("Hct", "%")];
    let value = |at: u32| (1_000 + 10 * number + at).to_string();
    let results = (0..).zip(tests).map(|(at, (test, unit))| Reading::new(test, &value(at), unit)).collect();
    Values { results, is_control: false }
}

fn expected(numbers: std::ops::Range<u32>) -> Vec<String> {
    let line = |reading: Reading| format!("{}={} {}", reading.test, reading.value, reading.unit);
    numbers.flat_map(|number| panel(number).results.into_iter().map(line)).collect()
}

/// What was told, in the ledger's words.
fn told(record: &Record) -> Vec<String> {
    let of = |said: &wardline::device::observation::Observation| match said.metric.reference {
        "MDC_CONC_GLU_GEN" => format!("GLU={} {}", shown(&said.value), said.unit.symbol),
        "ASTM_RESULT" => shown(&said.value),
        other => panic!("{other}"),
    };
    record.observations().iter().map(of).collect()
}

fn assert_nobody_is_named(record: &Record) {
    let all = format!("{:?}", record.all());
    for name in PERSON.split('^') {
        assert!(!all.contains(name), "{all}");
    }
}

impl Ward {
    async fn until_acknowledged(&self, count: usize) {
        let wait = async {
            while self.ledger.all().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let is_met = tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok();
        assert!(is_met, "{:?}; {:?}", self.ledger.all(), self.record.faults());
    }

    /// Everything was acknowledged, stored and told, each once and in order.
    fn assert_complete(&self, numbers: std::ops::Range<u32>) {
        assert_eq!(self.ledger.all(), expected(numbers.clone()));
        assert_eq!(told(&self.record), expected(numbers));
        assert_eq!(self.storage.durable(), told(&self.record).len());
        assert_eq!(self.control.refused(), 0, "an answer out of turn");
        assert_nobody_is_named(&self.record);
    }
}

#[tokio::test]
async fn results_arrive_in_order_and_are_acknowledged() {
    let ward = ward(Packing::Records(240)).await;
    for number in 0..2 {
        ward.control.set(panel(number));
    }
    ward.until_acknowledged(6).await;
    ward.assert_complete(0..2);
    assert_eq!(ward.record.faults(), []);
    assert_eq!(ward.record.identities(), vec![Some("SN4711".to_owned()); 2]);
    assert!(ward.control.received().iter().all(|byte| *byte == 0x06));
    let times: Vec<String> =
        ward.record.observations().iter().map(|said| said.device_time.unwrap().to_string()).collect();
    assert!(times.is_sorted());
    ward.control.set(Values { is_control: true, ..panel(2) });
    ward.until_acknowledged(9).await;
    let tests = ward.record.observations().iter().filter(|said| said.quality.has(Quality::TEST)).count();
    assert_eq!(tests, 3);
}

/// Each trouble at a message of its own, in frames that cut records anywhere.
async fn suffer(troubles: Vec<Trouble>) {
    let ward = ward(Packing::Message(70)).await;
    let (mut count, mut number) = (0, 0);
    for trouble in troubles {
        let is_harmless = matches!(trouble, Trouble::Late(_) | Trouble::Stale(_) | Trouble::ClockRestart);
        let faults = ward.record.faults().len();
        ward.control.trouble(trouble.clone());
        ward.control.set(panel(number));
        (count, number) = (count + 3, number + 1);
        ward.until_acknowledged(count).await;
        assert!(is_harmless || ward.record.faults().len() > faults, "{trouble:?}");
    }
    ward.assert_complete(0..number);
}

#[tokio::test]
async fn every_damage_on_the_analysers_line_costs_only_itself() {
    suffer(vec![
        Trouble::Corrupted,
        Trouble::Noise((6..=255).filter(|byte| ![0x15, 0x02].contains(byte)).cycle().take(700).collect()),
        Trouble::Noise(b"\x022R|1|^^^GLU|55".to_vec()),
        Trouble::WrongBaud(1),
    ])
    .await;
}

#[tokio::test]
async fn an_analyser_that_is_torn_late_or_silent_costs_only_that() {
    suffer(vec![
        // It asks for the line again, as after a collision.
        Trouble::Stale("\u{5}".to_owned()),
        Trouble::Late(Duration::from_millis(300)),
        Trouble::ClockRestart,
        Trouble::Torn,
        Trouble::Silent,
    ])
    .await;
}

#[tokio::test]
async fn nothing_is_acknowledged_while_storage_stands_still_and_nothing_is_doubled() {
    let ward = ward(Packing::Records(240)).await;
    ward.control.set(panel(0));
    ward.until_acknowledged(3).await;
    let refused = || ward.control.received().split(|byte| *byte == 0x15).count();
    for number in [1, 2] {
        let before = refused();
        ward.storage.hold(true);
        ward.control.set(panel(number));
        let count = 3 * usize::try_from(number).unwrap();
        ward.record.until("a result", |record| record.observations().len() > count).await;
        let said = async {
            // What the analyser received has no way to call back: look again.
            while refused() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.expect("the gateway says NAK");
        assert_eq!(ward.ledger.all().len(), count, "acknowledged and not stored");
        ward.storage.hold(false);
        ward.until_acknowledged(count + 3).await;
    }
    ward.assert_complete(0..3);
}

#[tokio::test]
async fn a_line_that_breaks_between_result_and_answer_neither_loses_nor_doubles() {
    let ward = ward(Packing::Message(100)).await;
    for number in 0..2 {
        ward.storage.hold(true);
        ward.control.set(panel(number));
        let count = 3 * usize::try_from(number).unwrap();
        ward.record.until("a result", |record| record.observations().len() > count).await;
        let ups = |record: &Record| record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
        let before = ups(&ward.record);
        ward.control.trouble(Trouble::PowerCycle(Duration::from_millis(100)));
        ward.record.until("the line again", |record| ups(record) > before).await;
        assert_eq!(ward.ledger.all().len(), count, "acknowledged and not stored");
        ward.storage.hold(false);
        ward.until_acknowledged(count + 3).await;
    }
    ward.assert_complete(0..2);
    let ups = ward.record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
    assert!(ups >= 3, "{ups}");
}

#[tokio::test]
async fn a_gateway_that_dies_between_result_and_answer_has_all_that_it_acknowledged() {
    let mut ward = ward(Packing::Records(240)).await;
    let mut stored: Vec<String> = Vec::new();
    for number in 0..2 {
        ward.storage.hold(true);
        ward.control.set(panel(number));
        let before = ward.record.observations().len();
        ward.record.until("a result", |record| record.observations().len() > before).await;
        ward.session.abort();
        let _ = (&mut ward.session).await;
        // It died before its result was stored; or after, and nobody was told.
        let durable = if number == 0 { ward.storage.durable() } else { before + 1 };
        stored.extend(told(&ward.record).into_iter().take(durable));
        let acknowledged = ward.ledger.all();
        assert!(acknowledged.iter().all(|result| stored.contains(result)), "{acknowledged:?} of {stored:?}");
        (ward.record, ward.storage) = (Record::default(), Storage::default());
        ward.session = begin(&ward.control, &ward.record, &ward.storage);
        ward.until_acknowledged(3 * usize::try_from(number).unwrap() + 3).await;
    }
    stored.extend(told(&ward.record).into_iter().take(ward.storage.durable()));
    let once: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(once, expected(0..2).into_iter().collect());
    assert_eq!(ward.ledger.all(), expected(0..2));
}

#[tokio::test]
async fn another_analyser_on_the_port_says_so_before_its_results() {
    let ward = ward(Packing::Message(4_000)).await;
    ward.control.set(panel(0));
    ward.until_acknowledged(3).await;
    ward.control.trouble(Trouble::Identity("SN4712".to_owned()));
    ward.control.set(panel(1));
    ward.until_acknowledged(6).await;
    ward.assert_complete(0..2);
    let mut serials = Vec::new();
    let mut now = None;
    for (_, told) in ward.record.all() {
        match told {
            Told::Identity(_, said) => now = said.serial,
            Told::Observation(..) => serials.push(now.clone().unwrap()),
            Told::Up | Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert_eq!(serials, ["SN4711", "SN4711", "SN4711", "SN4712", "SN4712", "SN4712"]);
}
