//! Maquet Servo-i ventilators.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wardline::device::FaultKind;
use wardline::device::observation::{Kind, Value};
use wardline::device::settings::Settings;
use wardline::lab::sim::{Trouble, maquet};
use wardline::link::serial::SerialLink;

use crate::support::*;

const NAME: &str = "maquet-servo-i";
const RATE: &str = "MDC_RESP_RATE";
const MINUTE: &str = "MDC_VENT_VOL_MINUTE_EXP";

// At 9,600 baud a ventilator takes three seconds until its first round: several are read side by side.

#[tokio::test]
async fn what_a_ventilator_says_is_told_whole_and_under_its_name() {
    tokio::join!(
        a_ventilator_is_read_whole_and_in_order(),
        gains_are_the_ventilators_own_whatever_version_it_speaks(),
        alarms_are_told_at_their_edges_with_their_silence_and_without_summaries(),
        a_flood_of_alarms_is_told_edge_by_edge(),
        another_ventilator_on_the_port_is_never_mixed_with_the_first(),
        a_ventilator_that_loses_power_is_started_again_from_who_it_is(),
        a_ventilator_without_a_serial_number_has_none(),
    );
}

#[tokio::test]
async fn trouble_standby_and_streams_cost_only_themselves() {
    tokio::join!(
        every_trouble_on_the_line_costs_only_itself(),
        standby_is_a_state_and_no_fault(),
        curves_are_streamed_with_their_phases_and_breaths_between_them(),
        trouble_in_a_stream_costs_the_block_that_it_strikes(),
        a_full_buffer_is_told_and_readings_go_on(),
    );
}

fn quick() -> maquet::Setup {
    maquet::Setup {
        think: Duration::from_millis(2),
        breath: Duration::from_millis(600),
        ..maquet::Setup::default()
    }
}

fn start(setup: maquet::Setup, values: maquet::Values, words: &[(&str, &str)]) -> Bench<maquet::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = maquet::Setup { link: Some(folder.path().join("ventilator")), ..setup };
    let (device, control) = maquet::ventilator(setup, values).unwrap();
    let model = model(NAME);
    let mut settings = Settings::defaults(model.settings);
    for (name, word) in words {
        let row = model.settings.iter().find(|row| row.name == *name).unwrap();
        match word.parse() {
            Ok(number) => settings.set_number(row, number).unwrap(),
            Err(_) => settings.set_word(row, word).unwrap(),
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

fn ventilator() -> Bench<maquet::Values> {
    start(quick(), maquet::Values::default(), &[])
}

async fn first_round(bench: &Bench<maquet::Values>) {
    bench.record.until("a first round", |record| !record.values("MDC_VENT_MODE").is_empty()).await;
}

/// Shows another respiration rate, in tenths.
fn show_rate(bench: &Bench<maquet::Values>, tenths: i64) {
    let mut values = bench.control.values();
    values.channels.insert(200, tenths * 100);
    bench.control.set(values);
}

fn with_alarms(alarms: &[(u16, u8)]) -> maquet::Values {
    maquet::Values { alarms: alarms.iter().copied().collect(), ..maquet::Values::default() }
}

fn alarms(record: &Record) -> Vec<(String, bool)> {
    let alarm = |value: &Value| match value {
        Value::Alarm(alarm) => Some((format!("{} {}", alarm.code, alarm.phase.as_str()), alarm.is_silenced)),
        Value::Decimal(_) | Value::Absent(_) | Value::Text(_) | Value::Bits(_) | Value::Samples(_) => None,
    };
    record.observations().iter().filter_map(|said| alarm(&said.value)).collect()
}

fn edge(words: &str, is_silenced: bool) -> (String, bool) {
    (words.to_owned(), is_silenced)
}

async fn a_ventilator_is_read_whole_and_in_order() {
    let bench = ventilator();
    for tenths in [151, 152, 153] {
        show_rate(&bench, tenths);
        let rate = format!("{}.{}", tenths / 10, tenths % 10);
        bench.record.until("the rate", |record| record.values(RATE).contains(&rate)).await;
    }
    let rates = bench.record.values(RATE);
    assert!(rates.is_sorted(), "{rates:?}");
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.record.identities(), [Some("30114".to_owned())]);
    assert_eq!(bench.control.refused(), 0);
    let one = |reference: &str| bench.record.values(reference).first().cloned();
    assert_eq!(one("MDC_VENT_MODE").as_deref(), Some("PC"));
    assert_eq!(one(MINUTE).as_deref(), Some("8.10"));
    assert_eq!(one("MDC_VENT_PRESS_AWAY_MAX").as_deref(), Some("20.8"));
    assert_eq!(one("MDC_VENT_PRESS_RESP_PLAT").as_deref(), Some("unknown"), "9999 is no value");
    assert_eq!(one("MAQUET_STATE").as_deref(), Some("operating"));
    assert_eq!(one("MAQUET_ALARM_STATE").as_deref(), Some("0"));
    let journal = bench.control.journal();
    let asked = |word: &str| journal.iter().any(|sent| sent.message.starts_with(word));
    assert!(["RSEN", "RSWV", "RHVE", "SPVE005", "RPVE", "RTIM"].into_iter().all(asked));
    assert!(!asked("RPAI"));
}

async fn gains_are_the_ventilators_own_whatever_version_it_speaks() {
    // The same minute volume, sent as 81 in version 004 and as 810 in 005; the older clock has a short year.
    let old = start(maquet::Setup { highest: 4, ..quick() }, maquet::Values::default(), &[]);
    let new = start(maquet::Setup { has_long_year: true, ..quick() }, maquet::Values::default(), &[]);
    for (bench, volume, co2) in [(&old, "8.1", "39.0"), (&new, "8.10", "39")] {
        first_round(bench).await;
        assert_eq!(bench.record.values(MINUTE).first().map(String::as_str), Some(volume));
        assert!(bench.record.values("MDC_CONC_AWAY_CO2_ET").contains(&co2.to_owned()));
        assert_eq!(bench.record.faults(), []);
        let said = bench.record.observations();
        let time = said.iter().find(|said| said.metric.reference == RATE).unwrap().device_time.unwrap();
        assert_eq!((time.year, time.month, time.day), (2016, 4, 1));
    }
}

async fn alarms_are_told_at_their_edges_with_their_silence_and_without_summaries() {
    let bench = ventilator();
    first_round(&bench).await;
    let steps = [
        (with_alarms(&[(412, 1), (498, 1), (499, 1)]), edge("412 start", false)),
        (with_alarms(&[(412, 2), (499, 1)]), edge("412 update", true)),
        (with_alarms(&[(417, 1)]), edge("417 start", false)),
        (with_alarms(&[]), edge("417 end", false)),
    ];
    for (values, expected) in steps {
        bench.control.set(values);
        bench.record.until("an edge", |record| alarms(record).contains(&expected)).await;
    }
    let told = alarms(&bench.record);
    let expected = [
        edge("412 start", false),
        edge("412 update", true),
        edge("412 end", true),
        edge("417 start", false),
        edge("417 end", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(bench.record.values("MDC_EVT_APNEA").len(), 3);
    assert_eq!(bench.record.faults(), []);
}

async fn a_flood_of_alarms_is_told_edge_by_edge() {
    let bench = ventilator();
    bench.control.trouble(Trouble::AlarmFlood(4));
    let last = edge("411 end", false);
    let count = |record: &Record| alarms(record).iter().filter(|told| **told == last).count();
    bench.record.until("the end", |record| count(record) == 2).await;
    let told: Vec<String> = alarms(&bench.record).into_iter().map(|(words, _)| words).collect();
    assert_eq!(told.iter().filter(|words| words.contains("start")).count(), 4, "{told:?}");
    assert_eq!(told.len(), 8, "{told:?}");
}

async fn every_trouble_on_the_line_costs_only_itself() {
    let troubles = [
        Trouble::Noise((0..=255).cycle().take(600).collect()),
        Trouble::Noise(b"\x80\x04\x04*2A\x04ER1716".to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(900)),
        Trouble::Silent,
        Trouble::Escaped,
        Trouble::Stale("99990A\x04".to_owned()),
        Trouble::WrongBaud(2),
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A ventilator whose line has one trouble: nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = ventilator();
    first_round(&bench).await;
    let before = bench.record.values(RATE).len();
    bench.control.trouble(trouble.clone());
    let what = format!("readings after {trouble:?}").chars().take(60).collect::<String>();
    bench.record.until(&what, |record| record.values(RATE).len() > before + 1).await;
    let only = |reference: &str| bench.record.values(reference).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(only(RATE), BTreeSet::from(["16.7".to_owned()]), "{what}");
    assert_eq!(only(MINUTE), BTreeSet::from(["8.10".to_owned()]), "{what}");
    assert_eq!(alarms(&bench.record), [], "{what}");
    assert_eq!(bench.record.identities(), [Some("30114".to_owned())], "{what}");
    let ups = bench.record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
    assert_eq!(ups, 1, "{what}: the line stays open");
    // An escaped answer is whole in the end; all other troubles are told.
    let is_told = !bench.record.faults().is_empty();
    assert!(is_told || trouble == Trouble::Escaped, "{what}");
}

async fn another_ventilator_on_the_port_is_never_mixed_with_the_first() {
    let bench = ventilator();
    first_round(&bench).await;
    let values = maquet::Values {
        channels: BTreeMap::from([(200, 33_300), (310, 3_000)]),
        alarms: BTreeMap::from([(410, 1)]),
        ..maquet::Values::default()
    };
    bench.control.trouble(Trouble::Identity("30115".to_owned()));
    bench.control.set(values);
    bench.record.until("the other's rate", |record| record.values(RATE).contains(&"33.3".to_owned())).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => serial = identity.serial,
            Told::Observation(_, said) => {
                let value = shown(&said.value);
                let is_others = value == "33.3" || value == "VC" || said.kind == Kind::Alarm;
                let is_firsts = value == "16.7" || value == "PC";
                assert!(!is_others || serial.as_deref() == Some("30115"), "{said:?}");
                assert!(!is_firsts || serial.as_deref() == Some("30114"), "{said:?}");
            }
            Told::Up | Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert_eq!(bench.record.identities(), [Some("30114".to_owned()), Some("30115".to_owned())]);
    assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Unexpected));
}

async fn a_ventilator_that_loses_power_is_started_again_from_who_it_is() {
    let bench = ventilator();
    first_round(&bench).await;
    // Its port stays: an adapter hangs on the gateway.
    bench.control.trouble(Trouble::ClockRestart);
    let before = bench.record.values("MDC_VENT_MODE").len();
    bench.record.until("the mode", |record| record.values("MDC_VENT_MODE").len() > before).await;
    assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Refused));
    let starts = bench.control.journal().iter().filter(|sent| sent.message.starts_with("RCTY")).count();
    assert_eq!(starts, 2);
    // Its port goes with it, in the middle of an answer.
    bench.control.trouble(Trouble::Torn);
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
    let before = bench.record.values("MDC_VENT_MODE").len();
    bench.record.until("the mode again", |record| record.values("MDC_VENT_MODE").len() > before).await;
    assert_eq!(bench.record.identities(), vec![Some("30114".to_owned()); 2], "said again on each connection");
}

async fn standby_is_a_state_and_no_fault() {
    let bench = start(quick(), with_alarms(&[(430, 1)]), &[("curves", "on")]);
    bench.record.until("curves", |record| !record.values("MDC_FLOW_AWAY").is_empty()).await;
    let standby = maquet::Values { is_standby: true, ..maquet::Values::default() };
    bench.control.set(standby);
    let state =
        |record: &Record, word: &str| record.values("MAQUET_STATE").last().is_some_and(|last| last == word);
    bench.record.until("standby", |record| state(record, "standby")).await;
    let ended = edge("430 end", false);
    bench.record.until("the end of the alarm", |record| alarms(record).contains(&ended)).await;
    bench.control.set(maquet::Values::default());
    bench.record.until("operating", |record| state(record, "operating")).await;
    let before = bench.record.values("MDC_FLOW_AWAY").len();
    bench.record.until("curves again", |record| record.values("MDC_FLOW_AWAY").len() > before).await;
    assert_eq!(bench.record.faults(), []);
}

async fn curves_are_streamed_with_their_phases_and_breaths_between_them() {
    let setup = maquet::Setup { is_left_streaming: true, ..quick() };
    let bench = start(setup, maquet::Values::default(), &[("curves", "on"), ("second_curve", "101")]);
    bench.record.until("curves", |record| record.values("MDC_PRESS_AWAY").len() > 3).await;
    let rates = bench.record.values(RATE).len();
    show_rate(&bench, 201);
    bench.record.until("a breath", |record| record.values(RATE).contains(&"20.1".to_owned())).await;
    assert!(bench.record.values(RATE).len() > rates);
    let waves: Vec<_> =
        bench.record.observations().into_iter().filter(|said| said.kind == Kind::Wave).collect();
    for said in &waves {
        let Value::Samples(samples) = &said.value else { panic!("{said:?}") };
        assert_eq!((samples.period_us, samples.values.len()), (10_000, 60));
        let ends = (samples.values[0], samples.values[59]);
        match said.metric.reference {
            // 4500 and 3404 with an offset of 4000; 225 and 174 with a gain of 0.1.
            "MDC_FLOW_AWAY" => assert_eq!((samples.exponent, ends), (0, (500, -596))),
            "MDC_PRESS_AWAY" => assert_eq!((samples.exponent, ends), (-1, (225, 174))),
            "MAQUET_BREATH_PHASE" => assert_eq!((samples.values[20], ends), (2, (1, 3))),
            other => panic!("{other}"),
        }
    }
    // The rest of the earlier host's stream is told once, and only that.
    let kinds: Vec<FaultKind> = bench.record.faults().iter().map(|fault| fault.kind).collect();
    assert!(kinds.iter().all(|kind| *kind == FaultKind::Unexpected) && kinds.len() <= 1, "{kinds:?}");
    assert_eq!(bench.control.refused(), 0, "while it streams it hears nothing but ESC");
}

async fn trouble_in_a_stream_costs_the_block_that_it_strikes() {
    let bench = start(quick(), maquet::Values::default(), &[("curves", "on")]);
    bench.record.until("curves", |record| record.values("MDC_FLOW_AWAY").len() > 1).await;
    for trouble in [Trouble::Corrupted, Trouble::Noise(vec![0x00, 0xFF, 0x33]), Trouble::Torn] {
        let (faults, curves) = (bench.record.faults().len(), bench.record.values("MDC_FLOW_AWAY").len());
        bench.control.trouble(trouble.clone());
        let recovered = |record: &Record| {
            record.faults().len() > faults && record.values("MDC_FLOW_AWAY").len() > curves + 2
        };
        bench.record.until(&format!("curves after {trouble:?}"), recovered).await;
    }
    let flows: BTreeSet<String> = bench.record.values("MDC_FLOW_AWAY").into_iter().collect();
    assert_eq!(flows.len(), 1, "every curve that is told is the right one");
}

async fn a_full_buffer_is_told_and_readings_go_on() {
    let values = maquet::Values { is_buffer_full: true, ..maquet::Values::default() };
    let bench = start(quick(), values, &[("curves", "on")]);
    let is_told =
        |record: &Record| record.faults().iter().any(|fault| fault.detail.contains("buffer is full"));
    bench.record.until("the fault", is_told).await;
    let before = bench.record.values(RATE).len();
    bench.record.until("readings", |record| record.values(RATE).len() > before + 1).await;
    assert!(bench.record.faults().len() < 4, "{:?}", bench.record.faults());
}

async fn a_ventilator_without_a_serial_number_has_none() {
    let setup = maquet::Setup { serial: "0".to_owned(), ..quick() };
    let bench = start(setup, maquet::Values::default(), &[]);
    first_round(&bench).await;
    assert_eq!(bench.record.identities(), [None]);
    let faults = bench.record.faults();
    assert!(faults.len() == 1 && faults[0].detail.contains("no serial number"), "{faults:?}");
}

#[test]
fn every_published_message_is_among_the_vectors() {
    const PUBLISHED: [&str; 16] = [
        "RCTY1C",
        "RSEN0A",
        "RSTI1C",
        "SSMP0202F",
        "RADC14",
        "*2A",
        "ER2015",
        "BER2057",
        "RADAB54",
        "RADAS45",
        "RADAA57",
        "RHVE09",
        "RTIM02",
        "SPVE00323",
        "RBAT05",
        "SDADB2012002042052072062096A",
    ];
    let good: Vec<Vec<u8>> = crate::vectors::vectors(NAME)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("bad-"))
        .map(|(_, vector)| vector.bytes())
        .collect();
    for message in PUBLISHED.iter().chain(&["RCCO1D", "RSWV00"]) {
        let framed = format!("{message}\x04").into_bytes();
        let holds = |bytes: &Vec<u8>| bytes.windows(framed.len()).any(|window| window == framed);
        assert!(good.iter().any(holds), "{message} is in no good vector");
    }
}
