//! A device that the site describes: the example of `configs/devices.d/site-line.toml` with its simulator.

use std::collections::BTreeSet;
use std::time::Duration;

use wardline::device::catalogue::SerialModel;
use wardline::device::observation::Quality;
use wardline::device::serial::site_line::RawDescription;
use wardline::device::settings::Settings;
use wardline::lab::sim::Trouble;
use wardline::lab::sim::site_line::{Setup, Values, warmer};
use wardline::link::serial::SerialLink;

use crate::support::{Bench, Record, Told, assert_only_requests, session, shown};

const TEMPERATURE: &str = "MDC_TEMP";

/// The example, asked for who it is more often than once a minute.
fn model() -> &'static SerialModel {
    let text = include_str!("../../src/device/serial/site_line/example.json");
    let mut raw: RawDescription = serde_json::from_str(text).unwrap();
    for poll in raw.poll.iter_mut().flatten() {
        poll.every = Some(1);
    }
    raw.judge().unwrap().model()
}

fn start() -> Bench<Values> {
    let folder = tempfile::tempdir().unwrap();
    let link = Some(folder.path().join("port"));
    let (device, control) = warmer(Setup { link, ..Setup::default() }, Values::default()).unwrap();
    let (model, record) = (model(), Record::default());
    let link = SerialLink::new(control.path(), model.line, model.requests);
    let tasks = vec![
        tokio::spawn(async move { device.await.unwrap() }),
        tokio::spawn(session(link, (model.driver)(&Settings::default()), record.clone())),
    ];
    Bench { control, record, tasks, _folder: folder }
}

#[tokio::test]
async fn a_described_device_is_read_in_order_and_hears_what_is_described() {
    let bench = start();
    for step in 0..3 {
        let seen = bench.record.values(TEMPERATURE).len();
        bench.control.set(Values { temperature: format!("36{step}"), ..Values::default() });
        let expected = format!("36.{step}");
        let has_come = |record: &Record| record.values(TEMPERATURE)[seen..].contains(&expected);
        bench.record.until("the temperature", has_come).await;
    }
    assert_eq!(bench.record.identities(), [Some("AW300417".to_owned())]);
    assert!(bench.record.observations().iter().all(|said| said.quality.has(Quality::SITE_CONFIGURED)));
    assert_only_requests(model(), &bench.control.received());
    assert_eq!(bench.control.refused(), 0);
}

/// Makes things go wrong, one after the other.
async fn survive(troubles: Vec<Trouble>) {
    let bench = start();
    bench.record.until("a line", |record| !record.values(TEMPERATURE).is_empty()).await;
    for trouble in troubles {
        let (values, faults) = (bench.record.values(TEMPERATURE).len(), bench.record.faults().len());
        bench.control.trouble(trouble.clone());
        let recovered =
            |record: &Record| record.values(TEMPERATURE).len() > values && record.faults().len() > faults;
        bench.record.until(&format!("a line and a fault after {trouble:?}"), recovered).await;
    }
    let values: BTreeSet<String> = bench.record.values(TEMPERATURE).into_iter().collect();
    assert_eq!(values, BTreeSet::from(["36.5".to_owned(), "37.0".to_owned()]));
    assert_eq!(bench.record.identities(), [Some("AW300417".to_owned())]);
    assert_only_requests(model(), &bench.control.received());
}

#[tokio::test]
async fn noise_on_a_described_line_costs_only_itself() {
    let noise = vec![(0..=255).collect(), b"ST,999,99.0C,ST".to_vec()];
    survive(noise.into_iter().map(Trouble::Noise).collect()).await;
}

#[tokio::test]
async fn a_broken_described_line_costs_only_itself() {
    survive(vec![Trouble::Torn, Trouble::Corrupted]).await;
}

#[tokio::test]
async fn silence_and_a_wrong_baud_rate_cost_only_themselves() {
    survive(vec![Trouble::WrongBaud(1), Trouble::Silent]).await;
}

#[tokio::test]
async fn a_described_device_comes_back_and_another_one_is_told() {
    let bench = start();
    bench.record.until("a line", |record| !record.values(TEMPERATURE).is_empty()).await;
    bench.control.set(Values { temperature: "111".to_owned(), ..Values::default() });
    bench.control.trouble(Trouble::Identity("AW300418".to_owned()));
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(200)));
    let other = "11.1".to_owned();
    bench.record.until("its reading", |record| record.values(TEMPERATURE).contains(&other)).await;
    let after: Vec<Told> = bench.record.all().into_iter().map(|(_, told)| told).collect();
    let from = after.iter().rposition(|told| matches!(told, Told::Up)).unwrap();
    let mut serial = None;
    for told in &after[from..] {
        match told {
            Told::Identity(_, identity) => serial.clone_from(&identity.serial),
            Told::Observation(_, said) => {
                assert_eq!(serial.as_deref(), Some("AW300418"), "{}", shown(&said.value));
            }
            Told::Up | Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
}
