//! Alaris Asena syringe pumps.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wardline::device::FaultKind;
use wardline::device::observation::Kind;
use wardline::lab::sim::{Trouble, alaris};

use crate::hostile::raw_pty;
use crate::support::*;

fn pump() -> Bench<alaris::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = alaris::Setup { link: Some(folder.path().join("pump")), ..alaris::Setup::default() };
    bench("alaris-asena", folder, alaris::pump(setup, alaris::Values::default()).unwrap())
}

#[tokio::test]
async fn a_pump_is_read_whole_and_in_order() {
    let bench = pump();
    for step in 0..4 {
        let volume = format!("0.{step:03}");
        bench.control.set(alaris::Values { volume: volume.clone(), ..alaris::Values::default() });
        bench
            .record
            .until("the volume", |record| record.values("MDC_VOL_FLUID_DELIV").contains(&volume))
            .await;
    }
    bench.record.until("the syringe", |record| !record.values("MDC_VOL_SYRINGE").is_empty()).await;
    let journal = bench.control.journal();
    let volumes = bench.record.values("MDC_VOL_FLUID_DELIV");
    let sent: Vec<String> = whole(&journal, "INF").iter().map(|message| field(message, 7)).collect();
    assert_eq!(volumes[..], sent[..volumes.len()], "every status that was sent was read, once, in order");
    assert!(sent.len() - volumes.len() <= 1, "at most one is still under way");
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())]);
    assert_eq!(bench.control.refused(), 0);
    assert_only_requests(model("alaris-asena"), &bench.control.received());
}

#[tokio::test]
async fn a_pump_without_a_known_revision_is_read_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let setup = alaris::Setup { protocol: None, ..alaris::Setup::default() };
    let bench = bench("alaris-asena", folder, alaris::pump(setup, alaris::Values::default()).unwrap());
    bench.record.until("a rate", |record| !record.values("MDC_FLOW_FLUID_PUMP").is_empty()).await;
    assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())]);
}

#[tokio::test]
async fn a_pump_alarm_is_known_soon_and_ends() {
    let bench = pump();
    bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
    for (alarm, expected) in [("AL_OCCLU", "AL_OCCLU start high"), ("AL_NOALM", "AL_OCCLU end high")] {
        // One answer in the way is lost, as on a noisy line.
        bench.control.trouble(Trouble::Corrupted);
        bench.control.set(alaris::Values { alarm: alarm.to_owned(), ..alaris::Values::default() });
        let began = Instant::now();
        bench
            .record
            .until(expected, |record| record.values("MDC_EVT_OCCL").contains(&expected.to_owned()))
            .await;
        assert!(began.elapsed() < SOON, "{expected} took {:?}", began.elapsed());
    }
    assert_eq!(bench.record.values("MDC_EVT_OCCL").len(), 2);
    let kinds: BTreeSet<&str> = bench
        .record
        .observations()
        .iter()
        .filter(|said| said.metric.reference == "MDC_EVT_OCCL")
        .map(|said| said.kind.as_str())
        .collect();
    assert_eq!(kinds, BTreeSet::from([Kind::Alarm.as_str()]));
}

#[tokio::test]
async fn every_trouble_on_the_pump_line_costs_only_itself() {
    let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let stale = "!INF^8002-51733^-^INF^99.9^ml/h^^9.9^ml^1^mmHg^24+^EVENT^1|0000\r".to_owned();
    let troubles = [
        Trouble::Noise(noise),
        Trouble::Noise(b"!!!\x1B!INF^8002-51733^-".to_vec()),
        Trouble::Noise([b'!'; 10_000].to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(700)),
        Trouble::Silent,
        Trouble::Escaped,
        Trouble::Stale(stale),
        // Whole, and an answer to a query of an earlier conversation.
        Trouble::Stale("!INF_RATE^0.10^ml/h|D407\r".to_owned()),
        Trouble::WrongBaud(3),
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A pump whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = pump();
    bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
    let shown_before = bench.record.values("MDC_VOL_FLUID_DELIV").len();
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    let recovered = |record: &Record| {
        record.values("MDC_VOL_FLUID_DELIV").len() > shown_before + 1 && !record.faults().is_empty()
    };
    bench.record.until(&what, recovered).await;
    let only = |reference: &str| bench.record.values(reference).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(only("MDC_FLOW_FLUID_PUMP"), BTreeSet::from(["3.50".to_owned()]), "{what}");
    assert_eq!(only("MDC_VOL_FLUID_DELIV"), BTreeSet::from(["0.969".to_owned()]), "{what}");
    assert_eq!(bench.record.identities(), [Some("8002-51733".to_owned())], "{what}");
    assert_only_requests(model("alaris-asena"), &bench.control.received());
}

#[tokio::test]
async fn a_pump_that_loses_power_within_a_reply_comes_back_under_its_stable_path() {
    let bench = pump();
    let link = bench.control.path();
    bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
    for round in 1..=3 {
        let port_before = std::fs::read_link(&link).unwrap();
        bench.control.trouble(Trouble::Torn);
        // Something else takes the number that the port had, and needs time for that: it must come back elsewhere.
        let off = Duration::from_millis(if round == 2 { 1_500 } else { 300 });
        bench.control.trouble(Trouble::PowerCycle(off));
        let _squatters = if round == 2 { squat(&link, &port_before).await } else { Vec::new() };
        let ups = |record: &Record| record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
        bench.record.until("the way back", |record| ups(record) > round).await;
        let read = bench.record.values("MDC_VOL_FLUID_DELIV").len();
        bench
            .record
            .until("readings again", |record| record.values("MDC_VOL_FLUID_DELIV").len() > read)
            .await;
        let has_moved = std::fs::read_link(&link).unwrap() != port_before;
        assert!(has_moved || round != 2, "it came back under the same number");
    }
    let identities = bench.record.identities();
    assert_eq!(identities, vec![Some("8002-51733".to_owned()); 4], "said again on each connection");
    assert!(
        bench.record.all().iter().any(|(_, told)| matches!(told, Told::Down(why) if why.contains("hung up")))
    );
    // Nothing of a connection is told before its identity.
    let mut is_known = false;
    for (_, told) in bench.record.all() {
        match told {
            Told::Up => is_known = false,
            Told::Identity(..) => is_known = true,
            Told::Observation(_, said) => assert!(is_known, "{said:?}"),
            Told::Down(_) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    let open = descriptors();
    let current = std::fs::read_link(&link).unwrap();
    let ports = open.iter().filter(|path| **path == current).count();
    assert_eq!(ports, 2, "the host's descriptor and the simulator's, none of an earlier connection");
    assert_only_requests(model("alaris-asena"), &bench.control.received());
}

/// Waits until a port is gone and takes its number, and all free ones below.
async fn squat(link: &Path, port: &Path) -> Vec<std::os::fd::OwnedFd> {
    while link.symlink_metadata().is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut held = Vec::new();
    for _ in 0..200 {
        let (end, path) = raw_pty();
        held.push(end);
        if path == port {
            break;
        }
    }
    held
}

fn descriptors() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).collect()
}

#[tokio::test]
async fn another_pump_on_the_port_is_told_and_never_mixed_with_the_first() {
    let bench = pump();
    bench.record.until("a first round", |record| !record.values("MDC_VOL_FLUID_TBI").is_empty()).await;
    // The other pump shows other values from its first frame on.
    bench.control.trouble(Trouble::Identity("8002-51740".to_owned()));
    let values = alaris::Values {
        rate: "9.99".to_owned(),
        vtbi: Some("99.000".to_owned()),
        alarm: "AL_OCCLU".to_owned(),
        ..alaris::Values::default()
    };
    bench.control.set(values);
    let all_of_it = ["9.99", "99.000", "AL_OCCLU start high"].map(str::to_owned);
    let references = ["MDC_FLOW_FLUID_PUMP", "MDC_VOL_FLUID_TBI", "MDC_EVT_OCCL"];
    let has_told = |record: &Record| {
        references.iter().zip(&all_of_it).all(|(reference, value)| record.values(reference).contains(value))
    };
    bench.record.until("all that the other shows", has_told).await;
    let mut serial = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => serial = identity.serial,
            Told::Observation(_, said) if references.contains(&said.metric.reference) => {
                let is_others = all_of_it.contains(&shown(&said.value));
                let expected = if is_others { "8002-51740" } else { "8002-51733" };
                assert_eq!(serial.as_deref(), Some(expected), "{said:?}");
            }
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Unexpected));
}

#[tokio::test]
async fn a_flood_of_pump_alarms_is_told_edge_by_edge() {
    let bench = pump();
    bench.control.trouble(Trouble::AlarmFlood(6));
    let ended = "AL_LWBAT end medium".to_owned();
    bench
        .record
        .until("the end", |record| {
            record.values("MDC_EVT_BATT_LO").iter().filter(|edge| **edge == ended).count() == 3
        })
        .await;
    let edges: Vec<String> = bench
        .record
        .observations()
        .iter()
        .filter(|said| said.kind == Kind::Alarm)
        .map(|said| shown(&said.value))
        .collect();
    assert_eq!(edges.iter().filter(|edge| edge.contains("start")).count(), 6);
    assert_eq!(edges.len(), 12, "{edges:?}");
}
