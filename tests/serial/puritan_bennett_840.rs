//! A simulated ventilator at 9600 baud, asked every two seconds.

use std::collections::BTreeSet;
use std::time::Duration;

use wardline::device::FaultKind;
use wardline::device::settings::Settings;
use wardline::lab::sim::puritan_bennett::{Setup, Values, ventilator};
use wardline::lab::sim::{Sent, Trouble};
use wardline::link::serial::SerialLink;

use crate::support::{Bench, Record, Told, assert_only_requests, bench, model, session, shown};

const NAME: &str = "puritan-bennett-840";
const TIDAL: &str = "MDC_VOL_AWAY_TIDAL";

/// At the real pace of the line.
fn start_at_9600(setup: Setup) -> Bench<Values> {
    let folder = tempfile::tempdir().unwrap();
    let link = Some(folder.path().join("port"));
    bench(NAME, folder, ventilator(Setup { link, ..setup }, Values::default()).unwrap())
}

/// On a line four times as fast, asked every second: what is tested does not hang on the pace.
fn start(setup: Setup) -> Bench<Values> {
    let folder = tempfile::tempdir().unwrap();
    let link = Some(folder.path().join("port"));
    let setup = Setup { link, baud: 38_400, ..setup };
    let (device, control) = ventilator(setup, Values::default()).unwrap();
    let (model, record) = (model(NAME), Record::default());
    let mut settings = Settings::defaults(model.settings);
    settings.set_number(model.settings.iter().find(|row| row.name == "period").unwrap(), 1).unwrap();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    let tasks = vec![
        tokio::spawn(async move { device.await.unwrap() }),
        tokio::spawn(session(link, (model.driver)(&settings), record.clone())),
    ];
    Bench { control, record, tasks, _folder: folder }
}

/// Field 71 of the whole `MISCF` reports.
fn sent_volumes(journal: &[Sent]) -> Vec<String> {
    let field = |sent: &Sent| sent.message.split(',').nth(3 + 71 - 5).unwrap().trim().to_owned();
    journal.iter().filter(|sent| sent.is_whole && sent.message.starts_with("MISCF")).map(field).collect()
}

#[tokio::test]
async fn what_the_ventilator_shows_arrives_whole_and_in_order() {
    let bench = start_at_9600(Setup::default());
    for step in 0..2 {
        bench.record.until("a report", |record| record.values(TIDAL).len() > step).await;
        bench.control.set(Values { tidal: format!("0.{}00", step + 4), ..Values::default() });
    }
    bench.record.until("the last", |record| record.values(TIDAL).contains(&"0.500".to_owned())).await;
    let (values, sent) = (bench.record.values(TIDAL), sent_volumes(&bench.control.journal()));
    assert_eq!(values, sent[..values.len()]);
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.record.identities(), [Some("3510012345".to_owned())]);
    assert_only_requests(model(NAME), &bench.control.received());
    assert_eq!(bench.control.refused(), 0);
    // A report is 1,244 bytes at 960 bytes a second.
    let all = bench.record.all();
    let first = all.iter().find(|(_, told)| matches!(told, Told::Observation(..))).unwrap().0;
    assert!(first > Duration::from_millis(2_600), "the pace was that of another line: {first:?}");
}

/// Makes things go wrong, one after the other, each on a report of its own.
async fn survive(troubles: Vec<Trouble>) {
    let bench = start(Setup::default());
    bench.record.until("a report", |record| !record.values(TIDAL).is_empty()).await;
    for trouble in troubles {
        let (before, faults) = (bench.record.values(TIDAL).len(), bench.record.faults().len());
        let is_late = matches!(trouble, Trouble::Late(_));
        bench.control.trouble(trouble.clone());
        let recovered = |record: &Record| {
            record.values(TIDAL).len() > before && (is_late || record.faults().len() > faults)
        };
        bench.record.until(&format!("a report after {trouble:?}"), recovered).await;
    }
    let values: BTreeSet<String> = bench.record.values(TIDAL).into_iter().collect();
    assert_eq!(values, BTreeSet::from(["0.378".to_owned()]));
    assert_eq!(bench.record.identities(), [Some("3510012345".to_owned())]);
    assert_only_requests(model(NAME), &bench.control.received());
}

#[tokio::test]
async fn a_broken_report_on_the_ventilator_s_line_costs_only_itself() {
    survive(vec![Trouble::Noise((0..=255).collect()), Trouble::Corrupted, Trouble::Torn]).await;
}

#[tokio::test]
async fn late_and_stale_reports_of_the_ventilator_cost_only_themselves() {
    let stale = "840 3510099999,NORMAL,\u{3}\r".to_owned();
    survive(vec![Trouble::Late(Duration::from_millis(1_500)), Trouble::Stale(stale)]).await;
}

#[tokio::test]
async fn silence_and_a_wrong_baud_rate_are_told_and_end() {
    survive(vec![Trouble::Silent, Trouble::WrongBaud(1)]).await;
}

#[tokio::test]
async fn a_ventilator_comes_back_and_another_one_is_told() {
    let bench = start(Setup::default());
    bench.record.until("a report", |record| !record.values(TIDAL).is_empty()).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
    bench.record.until("the same one", |record| record.identities().len() == 2).await;
    bench.control.trouble(Trouble::Identity("840 3510099999".to_owned()));
    bench.control.set(Values { tidal: "0.111".to_owned(), ..Values::default() });
    let other = "0.111".to_owned();
    bench.record.until("its reading", |record| record.values(TIDAL).contains(&other)).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => serial = identity.serial,
            Told::Observation(_, said) if shown(&said.value) == other => {
                assert_eq!(serial.as_deref(), Some("3510099999"));
            }
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
}

#[tokio::test]
async fn a_flood_of_ventilator_alarms_is_told_edge_by_edge() {
    let bench = start(Setup::default());
    bench.record.until("a report", |record| !record.values(TIDAL).is_empty()).await;
    bench.control.trouble(Trouble::AlarmFlood(4));
    let ends =
        |record: &Record| record.values("MDC_EVT_ALARM").iter().filter(|edge| edge.contains("end")).count();
    bench.record.until("the ends", |record| ends(record) == 2).await;
    let edges = bench.record.values("MDC_EVT_ALARM");
    assert_eq!(edges, ["HIGH_PRESS start high", "HIGH_PRESS end high"].repeat(2));
}

#[tokio::test]
async fn a_ventilator_that_does_not_know_the_full_report_is_read_all_the_same() {
    let bench = start(Setup { knows_full: false, ..Setup::default() });
    bench.record.until("a report", |record| !record.values(TIDAL).is_empty()).await;
    assert_eq!(
        bench.record.faults().iter().map(|fault| fault.kind).collect::<Vec<_>>(),
        [FaultKind::Refused; 2]
    );
    assert_only_requests(model(NAME), &bench.control.received());
}
