//! Masimo pulse oximeters.

use std::collections::BTreeSet;
use std::time::Duration;

use wardline::device::Fault;
use wardline::device::observation::Absent;
use wardline::lab::sim::{Trouble, masimo};

use crate::support::*;

fn oximeter(cadence: masimo::Cadence) -> Bench<masimo::Values> {
    let folder = tempfile::tempdir().unwrap();
    let link = Some(folder.path().join("oximeter"));
    let setup = masimo::Setup { link, cadence, ..masimo::Setup::default() };
    bench("masimo-ascii1", folder, masimo::oximeter(setup, well()).unwrap())
}

fn well() -> masimo::Values {
    masimo::Values { spo2: Some(98), bpm: Some(72), pi: Some(360), alarm: 0, exceptions: 0x800 }
}

/// The rows of the recorded intensive-care numerics: pulse and SpO2; 0 is a probe that is off.
fn recorded(rows: usize) -> Vec<masimo::Values> {
    let text = include_str!("../data/icu-numerics-excerpt.csv");
    let number = |field: &str| match field.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 300 by the recording"
        )]
        Ok(value) if value > 0.0 => Some(value.round() as u16),
        _ => None,
    };
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let (bpm, spo2) = (number(fields[5]), number(fields[7]));
        let exceptions = if spo2.is_none() { 0x820 } else { 0x800 };
        masimo::Values { spo2, bpm, pi: Some(360), alarm: 0, exceptions }
    };
    text.lines().skip(1).take(rows).map(row).collect()
}

#[tokio::test]
async fn the_recorded_numerics_arrive_row_by_row() {
    let mut bench = oximeter(masimo::Cadence::AtEachSet);
    bench.record.until("the line", |record| !record.all().is_empty()).await;
    let rows = recorded(40);
    assert_eq!(rows.len(), 40);
    for row in &rows {
        bench.control.set(row.clone());
    }
    bench.record.until("all rows", |record| record.values("MDC_PULS_OXIM_SAT_O2").len() >= rows.len()).await;
    let text =
        |value: Option<u16>| value.map_or(Absent::Unknown.code().to_owned(), |value| value.to_string());
    let expected: Vec<String> = rows.iter().map(|row| text(row.spo2)).collect();
    assert_eq!(bench.record.values("MDC_PULS_OXIM_SAT_O2"), expected);
    let expected: Vec<String> = rows.iter().map(|row| text(row.bpm)).collect();
    assert_eq!(bench.record.values("MDC_PULS_OXIM_PULS_RATE"), expected);
    bench.control.stop();
    (&mut bench.tasks[0]).await.unwrap();
    assert_eq!(bench.control.sent(), 40);
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.control.received(), b"", "nothing is ever sent to an oximeter");
    // The device's own time orders the lines.
    let times: Vec<String> = bench
        .record
        .observations()
        .iter()
        .filter(|said| said.metric.reference == "MDC_PULS_OXIM_SAT_O2")
        .map(|said| said.device_time.unwrap().to_string())
        .collect();
    assert!(times.is_sorted());
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), 40);
    // 40 lines of more than 120 characters at 960 characters a second.
    let all = bench.record.all();
    let took = all.last().unwrap().0.saturating_sub(all[0].0);
    assert!(took > Duration::from_secs(5), "the pace was that of another line: {took:?}");
}

#[tokio::test]
async fn every_trouble_on_the_oximeter_line_costs_only_itself() {
    let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
    bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
    for trouble in [
        Trouble::Noise((0..=255).cycle().take(1_500).collect()),
        Trouble::Noise(b"02/22/16 22:47:45 SN=0000056661 SPO2=055% BPM=0".to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::WrongBaud(2),
        Trouble::ClockRestart,
        Trouble::Silent,
    ] {
        let is_silent = [Trouble::Silent, Trouble::ClockRestart].contains(&trouble);
        let faults_before = bench.record.faults().len();
        let shown_before = bench.record.values("MDC_PULS_OXIM_SAT_O2").len();
        bench.control.trouble(trouble.clone());
        let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
        let recovered = |record: &Record| {
            record.values("MDC_PULS_OXIM_SAT_O2").len() > shown_before + 4
                && (is_silent || record.faults().len() > faults_before)
        };
        bench.record.until(&what, recovered).await;
    }
    let values: BTreeSet<String> = bench.record.values("MDC_PULS_OXIM_SAT_O2").into_iter().collect();
    assert_eq!(values, BTreeSet::from(["98".to_owned()]));
    assert_eq!(bench.record.identities(), [Some("0000056661".to_owned())]);
}

#[tokio::test]
async fn an_oximeter_comes_back_and_another_one_is_told() {
    let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
    bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
    bench.record.until("the same one", |record| record.identities().len() == 2).await;
    bench.control.trouble(Trouble::Identity("0000093112".to_owned()));
    bench.control.set(masimo::Values { spo2: Some(55), ..well() });
    let other = "55".to_owned();
    bench.record.until("its reading", |record| record.values("MDC_PULS_OXIM_SAT_O2").contains(&other)).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => serial = identity.serial,
            Told::Observation(_, said) if shown(&said.value) == other => {
                assert_eq!(serial.as_deref(), Some("0000093112"));
            }
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
}

#[tokio::test]
async fn a_flood_of_oximeter_alarms_is_told_edge_by_edge() {
    let bench = oximeter(masimo::Cadence::Every(Duration::from_millis(200)));
    bench.record.until("a line", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
    bench.control.trouble(Trouble::AlarmFlood(8));
    let ends =
        |record: &Record| record.values("MDC_EVT_ALARM").iter().filter(|edge| edge.contains("end")).count();
    bench.record.until("the ends", |record| ends(record) == 8).await;
    assert_eq!(bench.record.values("MDC_EVT_ALARM").len(), 16);
}

#[tokio::test]
async fn an_oximeter_with_another_output_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let cadence = masimo::Cadence::Every(Duration::from_millis(100));
    let setup = masimo::Setup { output: masimo::Output::Other, cadence, ..masimo::Setup::default() };
    let bench = bench("masimo-ascii1", folder, masimo::oximeter(setup, well()).unwrap());
    let says_how = |fault: &Fault| fault.detail.contains("set the oximeter's serial output to ASCII 1");
    bench.record.until("the way out", |record| record.faults().iter().any(says_how)).await;
    assert_eq!(bench.record.observations().len(), 0);
}
