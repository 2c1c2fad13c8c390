//! A simulated Nonin oximeter on a pseudo-terminal, read by the real driver.

use std::collections::BTreeSet;
use std::time::Duration;

use wardline::device::observation::Kind;
use wardline::lab::sim::{Trouble, nonin};

use crate::support::{Bench, Record, Told, bench, shown};

const SPO2: &str = "MDC_PULS_OXIM_SAT_O2";

fn oximeter(format: nonin::Format) -> Bench<nonin::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = nonin::Setup { link: Some(folder.path().join("port")), format, ..nonin::Setup::default() };
    bench("nonin", folder, nonin::oximeter(setup, usual()).unwrap())
}

fn usual() -> nonin::Values {
    nonin::Values { spo2: Some(97), rate: Some(161), status: 0x02 }
}

fn revisions(record: &Record) -> Vec<String> {
    let firmware = |told| if let Told::Identity(_, identity) = told { identity.firmware } else { None };
    record.all().into_iter().filter_map(|(_, told)| firmware(told)).collect()
}

#[tokio::test]
async fn an_oximeter_is_read_once_a_second_in_either_format_and_never_written_to() {
    let both = [nonin::Format::Two, nonin::Format::Seven].map(|format| async move {
        let bench = oximeter(format);
        bench.record.until("a first set", |record| !record.values(SPO2).is_empty()).await;
        for spo2 in [88, 93] {
            bench.control.set(nonin::Values { spo2: Some(spo2), ..usual() });
            let shows = |record: &Record| record.values(SPO2).contains(&spo2.to_string());
            bench.record.until("the saturation", shows).await;
        }
        let sets = u64::try_from(bench.record.values(SPO2).len()).unwrap();
        let packets = bench.control.sent();
        assert!(sets >= 3 && sets <= packets / 3 + 2, "{sets} sets of {packets} packets");
        let rates: BTreeSet<String> = bench.record.values("MDC_PULS_OXIM_PULS_RATE").into_iter().collect();
        assert_eq!(rates, BTreeSet::from(["161".to_owned()]));
        assert_eq!(bench.record.faults(), []);
        assert_eq!(revisions(&bench.record), ["41"]);
        assert_eq!(bench.control.received(), b"", "nothing is ever sent to an oximeter");
    });
    futures_util::future::join_all(both).await;
}

#[tokio::test]
async fn every_trouble_on_the_nonin_line_costs_only_itself() {
    let troubles = [
        Trouble::Noise((0..=255).cycle().take(700).collect()),
        Trouble::Noise(vec![0x01, 0x81, 0x00, 0x37, 0xB9, 0x01, 0x80]),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::WrongBaud(2),
        Trouble::ClockRestart,
        Trouble::Silent,
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// An oximeter whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = oximeter(nonin::Format::Two);
    bench.record.until("a set", |record| !record.values(SPO2).is_empty()).await;
    let is_silent = [Trouble::Silent, Trouble::ClockRestart].contains(&trouble);
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    let recovered =
        |record: &Record| record.values(SPO2).len() > 2 && (is_silent || !record.faults().is_empty());
    bench.record.until(&what, recovered).await;
    let values: BTreeSet<String> = bench.record.values(SPO2).into_iter().collect();
    assert_eq!(values, BTreeSet::from(["97".to_owned()]), "{what}");
    assert_eq!(revisions(&bench.record), ["41"], "{what}");
}

#[tokio::test]
async fn a_nonin_oximeter_comes_back_and_one_of_another_revision_is_told() {
    let bench = oximeter(nonin::Format::Seven);
    bench.record.until("a set", |record| !record.values(SPO2).is_empty()).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
    bench.record.until("the same one", |record| revisions(record).len() == 2).await;
    bench.control.trouble(Trouble::Identity("42".to_owned()));
    bench.record.until("another one", |record| revisions(record) == ["41", "41", "42"]).await;
    let mut is_known = false;
    for (_, told) in bench.record.all() {
        match told {
            Told::Up => is_known = false,
            Told::Identity(..) => is_known = true,
            Told::Observation(_, said) => assert!(is_known, "{said:?}"),
            Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
}

#[tokio::test]
async fn a_flood_of_sensor_alarms_is_told_edge_by_edge() {
    let bench = oximeter(nonin::Format::Two);
    bench.record.until("a set", |record| !record.values(SPO2).is_empty()).await;
    bench.control.trouble(Trouble::AlarmFlood(4));
    let reference = "MDC_EVT_SENSOR_DISCONN";
    bench.record.until("the end", |record| record.values(reference).len() == 4).await;
    let edges: Vec<String> = bench
        .record
        .observations()
        .iter()
        .filter(|said| said.kind == Kind::Alarm)
        .map(|said| shown(&said.value))
        .collect();
    let [start, end] = ["start", "end"].map(|phase| format!("SENSOR_DISCONNECT {phase} unstated"));
    assert_eq!(edges, [start.clone(), end.clone(), start, end]);
    assert!(bench.record.values(SPO2).contains(&"unknown".to_owned()), "no number while the sensor is off");
}
