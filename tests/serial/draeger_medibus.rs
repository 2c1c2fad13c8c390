//! A simulated Dräger ventilator on a pseudo-terminal, read by the real driver.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wardline::device::FaultKind;
use wardline::device::observation::Kind;
use wardline::lab::sim::{Trouble, medibus};

use crate::support::{Bench, PATIENCE, Record, SOON, Told, assert_only_requests, bench, model, shown};

const PEAK: &str = "MDC_PRESS_AWAY_INSP_PEAK";

fn ventilator(setup: medibus::Setup) -> Bench<medibus::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = medibus::Setup { link: Some(folder.path().join("port")), ..setup };
    bench("draeger-medibus", folder, medibus::ventilator(setup, medibus::Values::default()).unwrap())
}

fn usual() -> Bench<medibus::Values> {
    ventilator(medibus::Setup::default())
}

/// The model of each identity that was told.
fn models(record: &Record) -> Vec<Option<String>> {
    let model = |told| if let Told::Identity(_, identity) = told { Some(identity.model) } else { None };
    record.all().into_iter().filter_map(|(_, told)| model(told)).collect()
}

fn has_clock(record: &Record) -> bool {
    !record.values("DRAEGER_CLOCK").is_empty()
}

#[tokio::test]
async fn a_ventilator_is_read_whole_and_in_order_through_its_stream_and_its_own_commands() {
    let both = [medibus::Language::English, medibus::Language::German].map(|language| async move {
        let setup = medibus::Setup {
            has_stream: true,
            language,
            initiative: Duration::from_millis(150),
            ..medibus::Setup::default()
        };
        let bench = ventilator(setup);
        bench.record.until("a first round", has_clock).await;
        for peak in [26, 31] {
            bench.control.set(medibus::Values { peak: Some(peak), ..medibus::Values::default() });
            let shows = |record: &Record| record.values(PEAK).contains(&peak.to_string());
            bench.record.until("the peak pressure", shows).await;
        }
        let sent: Vec<String> = bench
            .control
            .journal()
            .iter()
            .filter_map(|sent| Some(sent.message.strip_prefix("24 7D")?.get(..4)?.trim().to_owned()))
            .collect();
        let read = bench.record.values(PEAK);
        assert_eq!(read[..], sent[..read.len()], "every reply that was sent was read, once, in order");
        assert!(sent.len() - read.len() <= 1, "at most one is still under way");
        assert_eq!(models(&bench.record), [Some("8056 Primus".to_owned())]);
        assert_eq!(bench.record.faults(), []);
        // Also counts a second answer to one command, a missing name, and a silence of 3 s.
        assert_eq!(bench.control.refused(), 0);
        let mode = bench.record.values("DRAEGER_VENT_MODE");
        let clock = bench.record.values("DRAEGER_CLOCK");
        assert!(mode[0].ends_with("BIPAP") && clock[0].starts_with("2014-10-07T"), "{mode:?} {clock:?}");
        let received = bench.control.received();
        let named = received.windows(10).filter(|bytes| bytes == b"'WARDLINE'").count();
        assert!(named >= 2, "the device asked who this is, and was told {named} times");
        assert_only_requests(model("draeger-medibus"), &received);
    });
    futures_util::future::join_all(both).await;
}

#[tokio::test]
async fn a_ventilator_alarm_is_known_soon_and_ends() {
    let bench = usual();
    bench.record.until("a first round", has_clock).await;
    let reference = "MDC_EVT_PRESS_HI_GT_LIM";
    for (alarm, expected) in [(Some(0x10), "CP1:10 start high"), (None, "CP1:10 end high")] {
        bench.control.set(medibus::Values { alarm, ..medibus::Values::default() });
        let began = Instant::now();
        bench.record.until(expected, |record| record.values(reference).contains(&expected.to_owned())).await;
        assert!(began.elapsed() < SOON, "{expected} took {:?}", began.elapsed());
    }
    assert_eq!(bench.record.values(reference).len(), 2);
}

#[tokio::test]
async fn every_trouble_on_the_ventilator_line_costs_only_itself() {
    let troubles = [
        Trouble::Noise((0..=255).cycle().take(1_000).collect()),
        Trouble::Noise(b"\x01$7D  99\x1B".to_vec()),
        Trouble::Noise(b"\x01".repeat(300)),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(1_700)),
        Trouble::Silent,
        Trouble::Escaped,
        Trouble::Stale("\x01$7D  9917\r".to_owned()),
        Trouble::WrongBaud(3),
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A ventilator whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = usual();
    bench.record.until("a first round", has_clock).await;
    let shown_before = bench.record.values(PEAK).len();
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    let recovered =
        |record: &Record| record.values(PEAK).len() > shown_before + 1 && !record.faults().is_empty();
    bench.record.until(&what, recovered).await;
    let only = |reference: &str| bench.record.values(reference).into_iter().collect::<BTreeSet<_>>();
    assert_eq!(only(PEAK), BTreeSet::from(["25".to_owned()]), "{what}");
    assert_eq!(only("MDC_PULS_OXIM_SAT_O2"), BTreeSet::from(["97".to_owned()]), "{what}");
    assert_eq!(models(&bench.record), [Some("8056 Primus".to_owned())], "{what}");
    assert_only_requests(model("draeger-medibus"), &bench.control.received());
}

#[tokio::test]
async fn a_ventilator_that_loses_power_begins_again_and_says_who_it_is() {
    let bench = usual();
    bench.record.until("a first round", has_clock).await;
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
    bench.record.until("its name again", |record| models(record).len() == 2).await;
    let read = bench.record.values(PEAK).len();
    bench.record.until("readings again", |record| record.values(PEAK).len() > read).await;
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
async fn another_ventilator_on_the_port_is_told_and_never_mixed_with_the_first() {
    let bench = usual();
    bench.record.until("a first round", has_clock).await;
    bench.control.trouble(Trouble::Identity("8210'Evita XL'07.00:04.03".to_owned()));
    bench.control.set(medibus::Values { peak: Some(44), ..medibus::Values::default() });
    let shows = |record: &Record| record.values(PEAK).contains(&"44".to_owned());
    bench.record.until("what the other shows", shows).await;
    let mut model = None;
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(_, identity) => model = identity.model,
            Told::Observation(_, said) if said.metric.reference == PEAK => {
                let expected = if shown(&said.value) == "44" { "8210 Evita XL" } else { "8056 Primus" };
                assert_eq!(model.as_deref(), Some(expected), "{said:?}");
            }
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert!(bench.record.faults().iter().any(|fault| fault.kind == FaultKind::Refused));
}

#[tokio::test]
async fn a_flood_of_ventilator_alarms_is_told_edge_by_edge() {
    let bench = usual();
    bench.control.trouble(Trouble::AlarmFlood(4));
    let ended = "CP1:4B end medium".to_owned();
    let all =
        |record: &Record| record.values("MDC_EVT_BATT_LO").iter().filter(|edge| **edge == ended).count() == 2;
    bench.record.until("the end", all).await;
    let edges: Vec<String> = bench
        .record
        .observations()
        .iter()
        .filter(|said| said.kind == Kind::Alarm)
        .map(|said| shown(&said.value))
        .collect();
    assert_eq!(edges.len(), 8, "{edges:?}");
}

#[tokio::test]
async fn the_simulated_ventilator_ends_a_conversation_in_which_it_hears_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = medibus::Setup {
        link: Some(folder.path().join("port")),
        patience: Duration::from_secs(1),
        initiative: Duration::from_millis(100),
        ..medibus::Setup::default()
    };
    let (device, control) = medibus::ventilator(setup, medibus::Values::default()).unwrap();
    let device = tokio::spawn(device);
    let port = std::fs::OpenOptions::new().write(true).open(control.path()).unwrap();
    let replies =
        || -> Vec<String> { control.journal().iter().map(|sent| sent.message[..2].to_owned()).collect() };
    let say = async |bytes: &[u8], count: usize| {
        rustix::io::write(&port, bytes).unwrap();
        let said = async {
            // The journal has no way to call back: look again.
            while replies().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said).await.unwrap();
    };
    say(b"\x1BQ6C\r", 1).await;
    say(b"\x1B$3F\r", 2).await;
    // It waits in vain, three times as long as it has patience.
    tokio::time::sleep(Duration::from_secs(3)).await;
    say(b"\x1B$3F\r", 3).await;
    assert_eq!(replies(), ["51", "24", "15"]);
    assert!(control.refused() >= 2);
    control.stop();
    device.await.unwrap().unwrap();
}
