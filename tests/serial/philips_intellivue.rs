//! Philips IntelliVue monitors.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use wardline::device::FaultKind;
use wardline::device::observation::{Kind, Quality};
use wardline::device::settings::Settings;
use wardline::lab::numerics::minutes;
use wardline::lab::sim::{Control, Remote, Trouble, intellivue};
use wardline::link::serial::SerialLink;

use crate::support::*;

const HEART_RATE: &str = "MDC_ECG_HEART_RATE";

fn monitor_of(setup: intellivue::Setup, values: intellivue::Values) -> Bench<intellivue::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = intellivue::Setup { link: Some(folder.path().join("monitor")), ..setup };
    let (device, control) = intellivue::monitor(setup, values).unwrap();
    let record = Record::default();
    let tasks =
        vec![tokio::spawn(async move { device.await.unwrap() }), conversation(&control, record.clone())];
    Bench { control, record, tasks, _folder: folder }
}

/// A session with the monitor that reads its numerics each second.
fn conversation(control: &Control<intellivue::Values>, record: Record) -> JoinHandle<()> {
    let model = model("philips-intellivue");
    let mut settings = Settings::defaults(model.settings);
    let period = model.settings.iter().find(|row| row.name == "period").unwrap();
    settings.set_number(period, 1).unwrap();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    tokio::spawn(session(link, (model.driver)(&settings), record))
}

fn monitor() -> Bench<intellivue::Values> {
    monitor_of(intellivue::Setup::default(), intellivue::Values::default())
}

/// The last heart rate.
fn of_last(record: &Record) -> String {
    record.values(HEART_RATE).pop().unwrap_or_default()
}

/// The values with another heart rate.
fn beating(rate: i32) -> intellivue::Values {
    let mut values = intellivue::Values::default();
    values.numerics[0] = intellivue::Numeric::simple(33_485, 16_770, 2_720, intellivue::float(rate, 0));
    values
}

fn alert(code: u16, kind: u16, state: u16) -> intellivue::Alert {
    intellivue::Alert { source: 16_770, code, kind, state, text: Some("** HR  HIGH".to_owned()) }
}

async fn first_round(bench: &Bench<intellivue::Values>) {
    bench.record.until("a first round", |record| !record.values("MDC_PULS_OXIM_SAT_O2").is_empty()).await;
}

#[tokio::test]
async fn a_monitor_is_read_whole_and_in_order() {
    let bench = monitor();
    first_round(&bench).await;
    for rate in [61, 62] {
        bench.control.set(beating(rate));
        let shown = rate.to_string();
        bench.record.until("the rate", |record| record.values(HEART_RATE).contains(&shown)).await;
    }
    let of = |reference: &str| bench.record.values(reference);
    assert_eq!(of("MDC_PRESS_BLD_ART_ABP_SYS")[0], "120");
    assert_eq!(of("MDC_PRESS_BLD_ART_ABP_MEAN")[0], "93");
    assert_eq!(of("MDC_PULS_OXIM_SAT_O2")[0], "97.0");
    assert_eq!(of("MDC_PLETH_PULS_RATE")[0], "60");
    assert_eq!(of("MDC_RESP_RATE")[0], "16");
    let mut rates = of(HEART_RATE);
    rates.dedup();
    assert_eq!(rates, ["60", "61", "62"]);
    bench.control.play(&minutes()[1]);
    bench.record.until("the recorded minute", |record| of_last(record) == "62.8").await;
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.record.identities(), [Some("DE61741234".to_owned())]);
    assert_eq!(bench.control.refused(), 0);
    let all = bench.record.all();
    let identity = all
        .iter()
        .find_map(|(_, told)| if let Told::Identity(_, who) = told { Some(who.clone()) } else { None });
    let identity = identity.unwrap();
    assert_eq!((identity.model.as_deref(), identity.firmware.as_deref()), (Some("MP70"), Some("J.10.40")));
}

#[tokio::test]
async fn what_a_monitor_cannot_do_is_done_otherwise() {
    let without = intellivue::Setup { is_extended: false, ..intellivue::Setup::default() };
    let refusing = intellivue::Setup { refuses_extended: true, ..intellivue::Setup::default() };
    let nameless = intellivue::Setup { serial: String::new(), ..intellivue::Setup::default() };
    let small = intellivue::Setup { longest: 300, ..intellivue::Setup::default() };
    let read = |setup: intellivue::Setup| async move {
        let bench = monitor_of(setup, intellivue::Values::default());
        first_round(&bench).await;
        bench.control.set(intellivue::Values { patient: vec![alert(100, 1_024, 8)], ..beating(99) });
        let told = |record: &Record| {
            !record.values("MDC_EVT_ALARM").is_empty() && record.values(HEART_RATE).contains(&"99".to_owned())
        };
        bench.record.until("what follows", told).await;
        let kinds: Vec<FaultKind> = bench.record.faults().iter().map(|fault| fault.kind).collect();
        (kinds, bench.record.identities(), bench.control.refused(), bench.control.journal())
    };
    let (without, refusing, nameless, small) =
        tokio::join!(read(without), read(refusing), read(nameless), read(small));
    let usual = vec![Some("DE61741234".to_owned())];
    assert_eq!((without.0, without.1, without.2), (vec![FaultKind::Refused], usual.clone(), 0));
    assert_eq!((&refusing.1, refusing.2), (&usual, 0));
    assert!(refusing.0.iter().all(|kind| *kind == FaultKind::Refused) && !refusing.0.is_empty());
    assert_eq!((nameless.0, nameless.1), (vec![], vec![Some("0009FB0000000000".to_owned())]));
    assert_eq!((small.0, small.1, small.2), (vec![], usual, 0));
    let parts = |sent: &[wardline::lab::sim::Sent]| {
        sent.iter().filter(|sent| sent.message.starts_with("numerics")).count()
    };
    assert!(parts(&small.3) > 2 * small.3.iter().filter(|sent| sent.message.starts_with("alerts")).count());
}

/// Side by side: each takes seconds, as the monitor tells its alerts once in one.
#[tokio::test]
async fn alerts_are_told_at_their_edges() {
    tokio::join!(an_alert_is_told_when_it_begins_changes_and_ends(), a_flood_is_told_edge_by_edge());
}

async fn an_alert_is_told_when_it_begins_changes_and_ends() {
    let bench = monitor();
    first_round(&bench).await;
    let steps = [
        (vec![alert(100, 1_024, 0x0008)], "P-100-16770-1-33485 start high"),
        (vec![alert(100, 1_024, 0x1000)], "P-100-16770-1-33485 update high"),
        (vec![], "P-100-16770-1-33485 end high"),
    ];
    for (patient, expected) in steps {
        bench.control.set(intellivue::Values { patient, ..intellivue::Values::default() });
        let began = Instant::now();
        bench
            .record
            .until(expected, |record| record.values("MDC_EVT_ALARM").contains(&expected.to_owned()))
            .await;
        assert!(began.elapsed() < SOON, "{expected} took {:?}", began.elapsed());
    }
    assert_eq!(bench.record.values("MDC_EVT_ALARM").len(), 3);
}

#[tokio::test]
async fn every_trouble_on_the_line_costs_only_itself() {
    let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let troubles = [
        Trouble::Noise(noise),
        Trouble::Noise(b"\xC0\x11\x01\x00\x24\xE1\x00\x7D\xC1\xC0\xC0".to_vec()),
        Trouble::Noise([0xC0; 5_000].to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(700)),
        Trouble::Silent,
        Trouble::Escaped,
        // The published example of a frame of another protocol: whole, and nothing to do with this one.
        Trouble::Noise(vec![0xC0, 0x3A, 0x71, 0x9B, 0x26, 0xC1]),
        Trouble::WrongBaud(3),
        Trouble::ClockRestart,
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A monitor whose line has one trouble: nothing wrong is ever read, and it goes on.
async fn survive(trouble: Trouble) {
    let bench = monitor();
    first_round(&bench).await;
    let before = bench.record.values(HEART_RATE).len();
    bench.control.trouble(trouble.clone());
    let what = format!("readings after {trouble:?}").chars().take(80).collect::<String>();
    bench.record.until(&what, |record| record.values(HEART_RATE).len() > before).await;
    let is_noticed = !matches!(trouble, Trouble::Late(_) | Trouble::Silent);
    if is_noticed {
        bench.record.until("a fault", |record| !record.faults().is_empty()).await;
    }
    let only = |reference: &str| bench.record.values(reference).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(only(HEART_RATE), BTreeSet::from(["60".to_owned()]), "{what}");
    assert_eq!(only("MDC_PULS_OXIM_SAT_O2"), BTreeSet::from(["97.0".to_owned()]), "{what}");
    assert_eq!(bench.record.identities(), [Some("DE61741234".to_owned())], "{what}");
    assert_eq!(bench.control.refused(), 0, "{what}");
}

#[tokio::test]
async fn whichever_side_goes_away_it_is_read_again() {
    tokio::join!(
        a_monitor_that_loses_power_comes_back_with_its_alerts(),
        a_gateway_that_starts_anew_takes_the_association_over()
    );
}

async fn a_monitor_that_loses_power_comes_back_with_its_alerts() {
    let bench = monitor_of(
        intellivue::Setup::default(),
        intellivue::Values {
            patient: vec![alert(100, 1_024, 8), alert(102, 256, 8)],
            ..intellivue::Values::default()
        },
    );
    bench.record.until("the alerts", |record| record.values("MDC_EVT_ALARM").len() == 2).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
    bench.control.set(intellivue::Values { patient: vec![alert(100, 1_024, 8)], ..beating(70) });
    bench.record.until("the way back", |record| record.values(HEART_RATE).contains(&"70".to_owned())).await;
    bench.record.until("the end of an alert", |record| record.values("MDC_EVT_ALARM").len() == 3).await;
    assert_eq!(bench.record.values("MDC_EVT_ALARM")[2], "P-102-16770-1-33485 end low");
    assert_eq!(bench.record.identities(), vec![Some("DE61741234".to_owned()); 2]);
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

async fn a_gateway_that_starts_anew_takes_the_association_over() {
    let mut bench = monitor();
    first_round(&bench).await;
    bench.tasks.pop().unwrap().abort();
    let before = bench.record.values(HEART_RATE).len();
    bench.tasks.push(conversation(&bench.control, bench.record.clone()));
    bench.record.until("readings again", |record| record.values(HEART_RATE).len() > before).await;
    assert!(bench.record.faults().iter().all(|fault| fault.kind == FaultKind::Unexpected));
    assert!(!bench.control.journal().iter().any(|sent| sent.message == "refuse"));
}

#[tokio::test]
async fn another_monitor_on_the_port_is_told_and_never_mixed_with_the_first() {
    let bench = monitor();
    first_round(&bench).await;
    // The worst case: it goes on answering as if the association were its own.
    bench.control.trouble(Trouble::Identity("DE99999999".to_owned()));
    bench.control.set(intellivue::Values { patient: vec![alert(100, 1_024, 8)], ..beating(199) });
    let has_told = |record: &Record| {
        record.values(HEART_RATE).contains(&"199".to_owned()) && !record.values("MDC_EVT_ALARM").is_empty()
    };
    bench.record.until("all that the other shows", has_told).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => serial = identity.serial,
            Told::Observation(_, said) => {
                let is_others = shown(&said.value) == "199" || said.kind == Kind::Alarm;
                if said.metric.reference == HEART_RATE || is_others {
                    let expected = if is_others { "DE99999999" } else { "DE61741234" };
                    assert_eq!(serial.as_deref(), Some(expected), "{said:?}");
                }
            }
            Told::Up | Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Unexpected));
}

async fn a_flood_is_told_edge_by_edge() {
    let bench = monitor();
    first_round(&bench).await;
    bench.control.trouble(Trouble::AlarmFlood(4));
    let edges = |record: &Record| record.values("MDC_EVT_ALARM");
    bench.record.until("the end", |record| edges(record).len() == 8).await;
    let told = edges(&bench.record);
    assert_eq!(told.iter().filter(|edge| edge.contains("start high")).count(), 4, "{told:?}");
    assert_eq!(told.iter().filter(|edge| edge.contains("end high")).count(), 4, "{told:?}");
}

#[tokio::test]
async fn a_demonstration_is_never_told_without_its_flag() {
    let values = intellivue::Values {
        is_demonstration: true,
        patient: vec![alert(100, 512, 8)],
        ..intellivue::Values::default()
    };
    let bench = monitor_of(intellivue::Setup::default(), values);
    bench.record.until("an alert", |record| !record.values("MDC_EVT_ALARM").is_empty()).await;
    first_round(&bench).await;
    let said = bench.record.observations();
    assert!(said.iter().all(|said| said.quality.has(Quality::DEMONSTRATION)), "{said:?}");
}

#[tokio::test]
async fn a_module_that_is_pulled_leaves_an_absent_value_and_an_alert() {
    let bench = monitor();
    first_round(&bench).await;
    let mut values = intellivue::Values::default();
    values.numerics.retain(|numeric| numeric.handle < 33_800);
    values.technical = vec![intellivue::Alert { source: 19_384, text: None, ..alert(192, 1, 0) }];
    bench.control.set(values);
    bench
        .record
        .until("nothing", |record| {
            record.values("MDC_PULS_OXIM_SAT_O2").last().is_some_and(|last| last == "unknown")
        })
        .await;
    bench.record.until("an alert", |record| !record.values("MDC_EVT_ALARM").is_empty()).await;
    assert_eq!(bench.record.values("MDC_EVT_ALARM"), ["T-192-19384-1-33485 start low"]);
    assert_eq!(bench.record.faults(), []);
}

#[tokio::test]
async fn a_patient_who_is_sent_unasked_leaves_no_trace() {
    let canary = "CANARY-4711";
    let values = intellivue::Values { name: Some(canary.to_owned()), ..intellivue::Values::default() };
    let bench = monitor_of(intellivue::Setup::default(), values);
    first_round(&bench).await;
    bench.record.until("a complaint", |record| !record.faults().is_empty()).await;
    let all = format!("{:?}", bench.record.all());
    assert!(!all.contains(canary) && !all.contains("1961"), "{all}");
    assert!(!bench.record.values(HEART_RATE).contains(&"81".to_owned()), "not even a value among it");
    assert!(bench.record.faults().iter().all(|fault| fault.detail.contains("patient")));
}

#[tokio::test]
async fn a_refusal_is_waited_out_and_silence_kept_from_becoming_an_abort() {
    let refusing = intellivue::Setup { refusals: 1, ..intellivue::Setup::default() };
    let patience = |millis| intellivue::Setup {
        patience: Duration::from_millis(millis),
        ..intellivue::Setup::default()
    };
    let refusing = monitor_of(refusing, beating(60));
    // The first hears from the gateway often enough; the other ends the association again and again.
    let (strict, impatient) =
        (monitor_of(patience(3_500), beating(60)), monitor_of(patience(1_500), beating(60)));
    let aborts = |bench: &Bench<intellivue::Values>| {
        bench.control.journal().iter().filter(|sent| sent.message == "abort").count()
    };
    first_round(&strict).await;
    first_round(&refusing).await;
    let kinds: Vec<FaultKind> = refusing.record.faults().iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [FaultKind::Refused]);
    strict.record.until("more than its patience", |record| record.values(HEART_RATE).len() >= 6).await;
    assert_eq!((strict.record.faults(), aborts(&strict)), (vec![], 0));
    impatient.record.until("readings all the same", |record| record.values(HEART_RATE).len() >= 4).await;
    assert!(aborts(&impatient) > 0);
    assert_eq!(impatient.record.identities(), [Some("DE61741234".to_owned())]);
    assert!(impatient.record.faults().iter().all(|fault| fault.kind == FaultKind::Refused));
}
