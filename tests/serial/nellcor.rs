//! A simulated Nellcor oximeter at 9600 baud that pushes lines.

use std::collections::BTreeSet;
use std::time::Duration;

use wardline::device::{Fault, FaultKind};
use wardline::lab::sim::Trouble;
use wardline::lab::sim::nellcor::{Setup, Values, oximeter};

use crate::support::{Bench, Record, Told, bench};

const SPO2: &str = "MDC_PULS_OXIM_SAT_O2";

fn well() -> Values {
    Values { spo2: Some(98), bpm: Some(72), amplitude: Some(50), codes: String::new(), limit: 85 }
}

fn start(setup: Setup) -> Bench<Values> {
    let folder = tempfile::tempdir().unwrap();
    let link = Some(folder.path().join("port"));
    let setup = Setup { link, period: Duration::from_millis(200), ..setup };
    bench("nellcor", folder, oximeter(setup, well()).unwrap())
}

#[tokio::test]
async fn what_the_oximeter_pushes_arrives_whole_and_in_order() {
    let mut bench = start(Setup::default());
    for step in 0..30u16 {
        let seen = usize::from(step);
        bench.record.until("a line", |record| record.values(SPO2).len() > seen).await;
        bench.control.set(Values { spo2: Some(90 + step % 10), ..well() });
    }
    bench.control.stop();
    (&mut bench.tasks[0]).await.unwrap();
    let sent: Vec<String> = bench
        .control
        .journal()
        .iter()
        .map(|sent| sent.message.split_ascii_whitespace().nth(2).unwrap().to_owned())
        .collect();
    bench.record.until("all", |record| record.values(SPO2).len() == sent.len()).await;
    assert_eq!(bench.record.values(SPO2), sent);
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.control.received(), b"", "nothing is ever sent to an oximeter");
    // The heading comes first and before the 25th line.
    assert_eq!(bench.record.values("NELLCOR_LIMIT_SPO2_LOW"), ["85", "85"]);
    assert_eq!(bench.record.identities(), [None]);
}

#[tokio::test]
async fn every_trouble_on_the_line_costs_only_itself() {
    let bench = start(Setup::default());
    bench.record.until("a line", |record| !record.values(SPO2).is_empty()).await;
    for trouble in [
        Trouble::Noise((0..=255).cycle().take(1_000).collect()),
        Trouble::Noise(b"12-NOV-98 14:00:05   55    7".to_vec()),
        Trouble::Torn,
        Trouble::WrongBaud(2),
        Trouble::ClockRestart,
        Trouble::Silent,
    ] {
        let is_silent = [Trouble::Silent, Trouble::ClockRestart].contains(&trouble);
        let (faults, shown) = (bench.record.faults().len(), bench.record.values(SPO2).len());
        bench.control.trouble(trouble.clone());
        let recovered = |record: &Record| {
            record.values(SPO2).len() > shown + 3 && (is_silent || record.faults().len() > faults)
        };
        bench.record.until("readings and a fault", recovered).await;
    }
    let values: BTreeSet<String> = bench.record.values(SPO2).into_iter().collect();
    assert_eq!(values, BTreeSet::from(["98".to_owned()]));
}

#[tokio::test]
async fn an_oximeter_comes_back_and_another_model_is_told() {
    let bench = start(Setup::default());
    bench.record.until("a line", |record| !record.values(SPO2).is_empty()).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
    bench.record.until("the same one", |record| record.identities().len() == 2).await;
    bench.control.trouble(Trouble::Identity("N-595".to_owned()));
    let models = |record: &Record| -> Vec<Option<String>> {
        let of = |(_, told)| if let Told::Identity(_, who) = told { Some(who.model) } else { None };
        record.all().into_iter().filter_map(of).collect()
    };
    bench.record.until("the other", |record| models(record).contains(&Some("N-595".to_owned()))).await;
}

#[tokio::test]
async fn a_flood_of_alarms_is_told_edge_by_edge() {
    let bench = start(Setup::default());
    bench.record.until("a line", |record| !record.values(SPO2).is_empty()).await;
    bench.control.trouble(Trouble::AlarmFlood(8));
    let ends =
        |record: &Record| record.values("MDC_EVT_ALARM").iter().filter(|edge| edge.contains("end")).count();
    bench.record.until("the ends", |record| ends(record) == 8).await;
    assert_eq!(bench.record.values("MDC_EVT_ALARM").len(), 16);
    bench.control.set(Values { spo2: Some(70), ..well() });
    let star = "SPO2* start unstated".to_owned();
    bench.record.until("the star", |record| record.values("MDC_EVT_ALARM").contains(&star)).await;
}

#[tokio::test]
async fn an_oximeter_in_its_interactive_mode_is_told_with_the_way_out() {
    let bench = start(Setup { is_interactive: true, ..Setup::default() });
    let says_how = |fault: &Fault| {
        fault.kind == FaultKind::Unexpected && fault.detail.contains("leave its interactive mode")
    };
    bench.record.until("the way out", |record| record.faults().iter().any(says_how)).await;
    assert_eq!(bench.record.observations().len(), 0);
}
