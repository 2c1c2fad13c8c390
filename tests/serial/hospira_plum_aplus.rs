//! Hospira Plum A+ pumps in a chain, at the real 1200 baud: few exchanges each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wardline::device::Part;
use wardline::device::settings::Settings;
use wardline::lab::sim::{Trouble, hospira};
use wardline::link::serial::SerialLink;

use crate::support::*;

const MODEL: &str = "hospira-plum-aplus";

/// A chain of which the first pumps are switched on, read with some settings changed.
fn chain(pumps: usize, words: &[(&str, &str)]) -> Bench<hospira::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = hospira::Setup { link: Some(folder.path().join("pumps")), ..hospira::Setup::default() };
    let mut values = hospira::Values::default();
    values.pumps[pumps..].fill(None);
    let (device, control) = hospira::chain(setup, values).unwrap();
    let model = model(MODEL);
    let mut settings = Settings::defaults(model.settings);
    for (name, value) in words {
        let row = model.settings.iter().find(|row| row.name == *name).unwrap();
        match value.parse() {
            Ok(number) => settings.set_number(row, number).unwrap(),
            Err(_) => settings.set_word(row, value).unwrap(),
        }
    }
    let record = Record::default();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    let tasks = vec![
        tokio::spawn(async move { device.await.unwrap() }),
        tokio::spawn(session(link, (model.driver)(&settings), record.clone())),
    ];
    Bench { control, record, tasks, _folder: folder }
}

fn change(bench: &Bench<hospira::Values>, change: impl FnOnce(&mut hospira::Pump)) {
    let mut values = bench.control.values();
    change(values.pumps[0].as_mut().unwrap());
    bench.control.set(values);
}

/// The values of one element of one pump, as text.
fn values(record: &Record, number: u8, reference: &str) -> Vec<String> {
    record
        .all()
        .into_iter()
        .filter_map(|(_, told)| match told {
            Told::Observation(part, said) if part == Part(number) && said.metric.reference == reference => {
                Some(shown(&said.value))
            }
            Told::Up
            | Told::Down(_)
            | Told::Identity(..)
            | Told::Observation(..)
            | Told::Gone(..)
            | Told::Fault(_) => None,
        })
        .collect()
}

fn rates(record: &Record) -> usize {
    values(record, 1, "MDC_FLOW_FLUID_PUMP").len()
}

#[tokio::test]
async fn three_pumps_are_read_whole_and_in_order() {
    let bench = chain(3, &[]);
    let has_all = |record: &Record| {
        (1..=3).all(|number| {
            values(record, number, "MDC_FLOW_FLUID_PUMP").len() > 1
                || (number > 1 && !values(record, number, "MDC_PUMP_STAT").is_empty())
        })
    };
    bench.record.until("all three", has_all).await;
    let journal = bench.control.journal();
    let asked: Vec<&str> = journal.iter().map(|sent| &sent.message[..2]).collect();
    assert_eq!(asked[..8], ["F0", "F1", "F1", "F2", "F2", "F3", "F3", "F1"]);
    for number in 1..=3 {
        assert_eq!(values(&bench.record, number, "MDC_VOL_FLUID_TBI")[0], "500");
        assert_eq!(values(&bench.record, number, "MDC_VOL_FLUID_DELIV")[0], "12.5");
        assert_eq!(values(&bench.record, number, "MDC_DRUG_NAME_TYPE")[0], "DOPAMINE");
        assert_eq!(values(&bench.record, number, "MDC_PUMP_STAT")[0], "PUMPING A");
    }
    assert_eq!(bench.record.faults(), []);
    assert!(bench.record.identities().iter().all(Option::is_none), "a pump states no serial number");
    assert_eq!(bench.control.refused(), 0);
    assert_only_requests(model(MODEL), &bench.control.received());
}

#[tokio::test]
async fn an_alarm_is_known_soon_and_a_flood_is_told_edge_by_edge() {
    let bench = chain(1, &[("patience_ms", "2000")]);
    bench.record.until("a first round", |record| rates(record) > 0).await;
    change(&bench, |pump| {
        pump.alarm = "OD1".to_owned();
        pump.is_sounding = true;
    });
    let began = Instant::now();
    let edges = |record: &Record| values(record, 1, "MDC_EVT_OCCL");
    bench.record.until("the alarm", |record| !edges(record).is_empty()).await;
    // One question to nobody may be in the way.
    assert!(began.elapsed() < SOON * 2, "{:?}", began.elapsed());
    assert!(values(&bench.record, 1, "HOSPIRA_SOUNDING").contains(&"0x1".to_owned()));
    change(&bench, |pump| *pump = hospira::Pump::default());
    bench.control.trouble(Trouble::AlarmFlood(2));
    let ended = |record: &Record| values(record, 1, "MDC_EVT_FLUID_LINE_AIR").len() == 2;
    bench.record.until("the end of the flood", ended).await;
    assert_eq!(
        values(&bench.record, 1, "MDC_EVT_OCCL"),
        ["OD1 start unstated", "OD1 end unstated"],
        "the flood goes on where the alarm is"
    );
}

#[tokio::test]
async fn every_trouble_costs_only_itself_and_a_pump_may_go_be_exchanged_or_lose_power() {
    let troubles = [
        Trouble::Noise((0..=255).collect()),
        Trouble::Noise(b"F1;x;99;1;1;D;F1;x;R".to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(2_300)),
        Trouble::Silent,
        Trouble::Stale("F2;172;99;1;1;D;0000\r".to_owned()),
        Trouble::WrongBaud(1),
    ];
    // At 1200 baud each takes its time: all at once.
    let troubles = futures_util::future::join_all(troubles.map(survive));
    tokio::join!(troubles, goes_and_comes_back(), is_exchanged(), loses_power());
}

/// A pump whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = chain(1, &[("pace_ms", "300"), ("patience_ms", "2000")]);
    bench.record.until("a first round", |record| rates(record) > 0).await;
    let before = rates(&bench.record);
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    let recovered = |record: &Record| rates(record) > before + 1 && !record.faults().is_empty();
    bench.record.until(&what, recovered).await;
    let only = |reference| values(&bench.record, 1, reference).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(only("MDC_FLOW_FLUID_PUMP"), BTreeSet::from(["125".to_owned()]), "{what}");
    assert_eq!(only("MDC_PUMP_STAT").len(), 1, "{what}");
    assert!(only("MDC_EVT_COMM_LOST").is_empty(), "{what}");
    assert_only_requests(model(MODEL), &bench.control.received());
}

async fn goes_and_comes_back() {
    let bench = chain(2, &[("missed", "2"), ("patience_ms", "2000"), ("pace_ms", "300")]);
    let has_both = |record: &Record| !values(record, 2, "MDC_PUMP_STAT").is_empty();
    bench.record.until("both pumps", has_both).await;
    let mut values_of_all = bench.control.values();
    let pump = values_of_all.pumps[1].take();
    bench.control.set(values_of_all.clone());
    let is_gone = |record: &Record| {
        record.all().iter().any(|(_, told)| matches!(told, Told::Gone(part, _) if *part == Part(2)))
    };
    bench.record.until("its end", is_gone).await;
    assert_eq!(values(&bench.record, 2, "MDC_EVT_COMM_LOST"), ["PUMP_LOST start unstated"]);
    let read = rates(&bench.record);
    values_of_all.pumps[1] = pump;
    bench.control.set(values_of_all);
    bench.record.until("the other pump", |record| rates(record) > read + 1).await;
}

async fn is_exchanged() {
    let bench = chain(1, &[("field1", "serial"), ("pace_ms", "300")]);
    bench.record.until("a first round", |record| rates(record) > 1).await;
    bench.control.trouble(Trouble::Identity("99".to_owned()));
    change(&bench, |pump| pump.rate = "7.5".to_owned());
    let has_told = |record: &Record| values(record, 1, "MDC_FLOW_FLUID_PUMP").contains(&"7.5".to_owned());
    bench.record.until("the other pump", has_told).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(Part(1), identity) => serial = identity.serial,
            Told::Observation(_, said) if said.metric.reference == "MDC_FLOW_FLUID_PUMP" => {
                let expected = if shown(&said.value) == "7.5" { "991" } else { "171" };
                assert_eq!(serial.as_deref(), Some(expected), "{said:?}");
            }
            Told::Up
            | Told::Down(_)
            | Told::Identity(..)
            | Told::Observation(..)
            | Told::Gone(..)
            | Told::Fault(_) => {}
        }
    }
}

async fn loses_power() {
    let bench = chain(1, &[("pace_ms", "300"), ("patience_ms", "2000")]);
    bench.record.until("a first round", |record| rates(record) > 0).await;
    bench.control.trouble(Trouble::Torn);
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
    let ups = |record: &Record| record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
    bench.record.until("the way back", |record| ups(record) == 2).await;
    let read = rates(&bench.record);
    bench.record.until("readings again", |record| rates(record) > read).await;
    let mut is_known = false;
    for (_, told) in bench.record.all() {
        match told {
            Told::Up => is_known = false,
            Told::Identity(Part(1), _) => is_known = true,
            Told::Observation(Part(1), said) => assert!(is_known, "{said:?}"),
            Told::Down(_) | Told::Identity(..) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
}

#[test]
fn every_frame_of_the_facts_is_among_the_good_vectors() {
    let good: Vec<Vec<u8>> = crate::vectors::vectors(MODEL)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("bad-"))
        .map(|(_, vector)| vector.bytes())
        .collect();
    for frame in [
        "T@0;ISTA;2FAD\r",
        "T@1;IDV1;VT1;TV1;DN1;85E7\r",
        "T@1;IALR;STA;8097\r",
        "T@2;IDV1;VT1;TV1;DN1;382D\r",
    ] {
        let holds_it = |bytes: &Vec<u8>| bytes.windows(frame.len()).any(|part| part == frame.as_bytes());
        assert!(good.iter().any(holds_it), "{frame:?} is in no good vector");
    }
}
