//! B. Braun Space racks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wardline::device::catalogue::{Parts, SerialModel};
use wardline::device::observation::Kind;
use wardline::device::settings::Settings;
use wardline::device::{FaultKind, Part};
use wardline::lab::sim::bbraun::{self, Pump, Values};
use wardline::lab::sim::{Sent, Trouble};
use wardline::link::serial::SerialLink;
use wardline::link::{Argument, Link, LinkCommand, RequestId};

use crate::support::*;
use crate::vectors::vectors;

/// As fast as a pty may be where the speed is not what is looked at.
const FAST: u32 = 115_200;

fn rack_model() -> &'static SerialModel {
    model("bbraun-bcc")
}

/// A rack with a session on it that asks as often as a rack allows.
fn bench_of(setup: bbraun::Setup, values: Values) -> Bench<Values> {
    let model = rack_model();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::defaults(model.settings);
    let row = |name: &str| model.settings.iter().find(|row| row.name == name).unwrap();
    settings.set_number(row("poll"), 5).unwrap();
    settings.set_word(row("stuffing"), if setup.is_stuffed { "on" } else { "off" }).unwrap();
    let setup = bbraun::Setup { link: Some(folder.path().join("rack")), ..setup };
    let (device, control) = bbraun::rack(setup, values).unwrap();
    let record = Record::default();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    let tasks = vec![
        tokio::spawn(async move { device.await.unwrap() }),
        tokio::spawn(session(link, (model.driver)(&settings), record.clone())),
    ];
    Bench { control, record, tasks, _folder: folder }
}

fn fast(values: Values) -> Bench<Values> {
    bench_of(bbraun::Setup { baud: FAST, ..bbraun::Setup::default() }, values)
}

fn slot(name: &str) -> Part {
    rack_model().parts.find(name).unwrap()
}

/// Every value of one element that was told of one part, with the serial number that it was told under.
fn told(record: &Record, part: Part, reference: &str) -> Vec<(String, String)> {
    let mut who = BTreeMap::new();
    let mut said = Vec::new();
    for (_, told) in record.all() {
        match told {
            Told::Up | Told::Down(_) => who.clear(),
            Told::Identity(of, identity) => drop(who.insert(of, identity.serial.unwrap_or_default())),
            Told::Gone(of, _) => drop(who.remove(&of)),
            Told::Observation(of, observation) => {
                assert!(who.contains_key(&of), "{observation:?} before its identity");
                if of == part && observation.metric.reference == reference {
                    said.push((who[&of].clone(), shown(&observation.value)));
                }
            }
            Told::Fault(_) => {}
        }
    }
    said
}

fn rates(record: &Record, name: &str) -> Vec<(String, String)> {
    told(record, slot(name), "MDC_FLOW_FLUID_PUMP")
}

/// What the rack sent of a parameter of a slot, whole.
fn sent_of(journal: &[Sent], address: &str, name: &str) -> Vec<String> {
    let find = |message: &str| {
        let mut quadruples = message.split('\x1E').map(|words| words.splitn(4, ',').collect::<Vec<_>>());
        quadruples.find(|words| words[1] == address && words[2] == name).map(|words| words[3].to_owned())
    };
    journal.iter().filter(|sent| sent.is_whole).filter_map(|sent| find(&sent.message)).collect()
}

/// Fails unless the bytes are acknowledgements and the protocol's four reading requests.
fn assert_only_reading(received: &[u8], is_stuffed: bool) {
    let all = rack_model().requests;
    let first = if is_stuffed { 6 } else { 0 };
    let fill = |id: u8, argument: &[u8]| {
        let command = LinkCommand::Fill(RequestId(first + id), Argument::new(argument).unwrap());
        all.frame(command).unwrap().into_owned()
    };
    let mut frames = vec![b"\x06".to_vec(), b"\x15".to_vec()];
    frames.push(all.frame(LinkCommand::Send(RequestId(first))).unwrap().into_owned());
    frames.push(fill(1, b"ComSystem"));
    frames.push(fill(2, b"ComSystem"));
    let Parts::Many { names, .. } = rack_model().parts else { panic!("a rack has parts") };
    frames
        .extend(names.iter().map(|name| fill(3, &[name.replace('-', "").as_bytes(), b"ComSystem"].concat())));
    let mut rest = received;
    while !rest.is_empty() {
        let Some(frame) = frames.iter().find(|frame| rest.starts_with(frame)) else {
            assert!(
                frames.iter().any(|frame| frame.starts_with(rest)),
                "{:?}",
                String::from_utf8_lossy(rest)
            );
            return;
        };
        rest = &rest[frame.len()..];
    }
}

fn assert_well_behaved(bench: &Bench<Values>) {
    assert_eq!(bench.control.refused(), 0);
    assert_only_reading(&bench.control.received(), false);
}

/// A rack may be asked every 5 s only: every story here is mostly waiting, so all are told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_story_of_a_rack() {
    let stories = [
        (
            "a_rack_is_read_whole_and_in_order_at_its_own_speed",
            tokio::spawn(a_rack_is_read_whole_and_in_order_at_its_own_speed()),
        ),
        (
            "a_full_rack_is_read_pump_by_pump_in_either_spelling_of_its_slots",
            tokio::spawn(a_full_rack_is_read_pump_by_pump_in_either_spelling_of_its_slots()),
        ),
        (
            "a_rack_that_cuts_its_pumps_and_stuffs_its_characters_is_read_all_the_same",
            tokio::spawn(a_rack_that_cuts_its_pumps_and_stuffs_its_characters_is_read_all_the_same()),
        ),
        (
            "every_trouble_on_the_rack_line_costs_only_itself",
            tokio::spawn(every_trouble_on_the_rack_line_costs_only_itself()),
        ),
        (
            "a_rack_that_is_not_acknowledged_does_not_go_on",
            tokio::spawn(a_rack_that_is_not_acknowledged_does_not_go_on()),
        ),
        (
            "pumps_that_are_taken_out_and_put_in_are_told_apart",
            tokio::spawn(pumps_that_are_taken_out_and_put_in_are_told_apart()),
        ),
        (
            "a_rack_that_loses_power_within_a_reply_comes_back_under_its_stable_path",
            tokio::spawn(a_rack_that_loses_power_within_a_reply_comes_back_under_its_stable_path()),
        ),
        (
            "a_clock_that_begins_again_has_the_rack_asked_who_it_is",
            tokio::spawn(a_clock_that_begins_again_has_the_rack_asked_who_it_is()),
        ),
        (
            "another_rack_on_the_port_is_never_mixed_with_the_first",
            tokio::spawn(another_rack_on_the_port_is_never_mixed_with_the_first()),
        ),
        (
            "a_flood_of_rack_alarms_is_told_edge_by_edge",
            tokio::spawn(a_flood_of_rack_alarms_is_told_edge_by_edge()),
        ),
        (
            "a_rack_is_not_asked_more_often_than_it_allows",
            tokio::spawn(a_rack_is_not_asked_more_often_than_it_allows()),
        ),
    ];
    let mut failed = Vec::new();
    for (name, story) in stories {
        if story.await.is_err() {
            failed.push(name);
        }
    }
    assert_eq!(failed, Vec::<&str>::new(), "why stands above");
}

async fn a_rack_is_read_whole_and_in_order_at_its_own_speed() {
    let bench = bench_of(bbraun::Setup::default(), Values::default());
    for step in 0..2 {
        let mut values = Values::default();
        let volume = format!("1.{step}");
        values.pumps.values_mut().for_each(|pump| pump.volume.clone_from(&volume));
        bench.control.set(values);
        let has_both = |record: &Record| {
            ["1-1", "1-3"].iter().all(|name| {
                told(record, slot(name), "MDC_VOL_FLUID_DELIV").iter().any(|(_, value)| *value == volume)
            })
        };
        bench.record.until("the volume of both pumps", has_both).await;
    }
    let journal = bench.control.journal();
    for (name, address, serial) in [("1-1", "50111", "36025"), ("1-3", "50113", "36027")] {
        let volumes = told(&bench.record, slot(name), "MDC_VOL_FLUID_DELIV");
        let sent = sent_of(&journal, address, "INVI");
        let read: Vec<String> = volumes.iter().map(|(_, value)| value.clone()).collect();
        assert_eq!(
            read[..],
            sent[..read.len()],
            "{name}: every block that was sent was read, once, in order"
        );
        assert!(sent.len() - read.len() <= 1, "at most one is still under way");
        assert!(volumes.iter().all(|(who, _)| who == serial), "{volumes:?}");
    }
    assert_eq!(bench.record.faults(), []);
    let identities: Vec<(Part, Option<String>, Option<String>)> = bench
        .record
        .all()
        .into_iter()
        .filter_map(|(_, told)| match told {
            Told::Identity(part, who) => Some((part, who.model, who.serial)),
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => None,
        })
        .collect();
    let pump =
        |name: &str, serial: &str| (slot(name), Some("688F030006".to_owned()), Some(serial.to_owned()));
    let rack = (Part::WHOLE, Some("FMS1NSNS".to_owned()), None);
    assert_eq!(identities, [rack, pump("1-1", "36025"), pump("1-3", "36027")]);
    assert_well_behaved(&bench);
}

async fn a_full_rack_is_read_pump_by_pump_in_either_spelling_of_its_slots() {
    for has_two_digits in [false, true] {
        let setup = bbraun::Setup { baud: 4 * FAST, has_two_digits, ..bbraun::Setup::default() };
        let bench = bench_of(setup, Values::with((1..=24).map(|slot| (1, slot))));
        let names = "123456789ABCDEFGHIJKLMNO".chars().map(|slot| format!("1-{slot}"));
        let names: Vec<String> = names.collect();
        let all = |record: &Record| names.iter().all(|name| !rates(record, name).is_empty());
        bench.record.until("a rate of all 24 pumps", all).await;
        let serials: BTreeSet<String> =
            names.iter().map(|name| rates(&bench.record, name)[0].0.clone()).collect();
        assert_eq!(serials.len(), 24);
        assert_eq!(bench.record.faults(), []);
        assert_well_behaved(&bench);
    }
}

async fn a_rack_that_cuts_its_pumps_and_stuffs_its_characters_is_read_all_the_same() {
    let setup =
        bbraun::Setup { baud: FAST, is_stuffed: true, per_block: Some(17), ..bbraun::Setup::default() };
    let bench = bench_of(setup, Values::default());
    let has = |record: &Record, reference| !told(record, slot("1-3"), reference).is_empty();
    bench
        .record
        .until("what stands before and behind the serial number", |record| {
            has(record, "MDC_VOL_FLUID_DELIV")
                && has(record, "MDC_PUMP_MODE")
                && has(record, "MDC_FLOW_FLUID_PUMP")
        })
        .await;
    assert!(rates(&bench.record, "1-3").iter().all(|(who, _)| who == "36027"));
    assert_eq!(bench.control.refused(), 0);
    assert_only_reading(&bench.control.received(), true);
}

async fn every_trouble_on_the_rack_line_costs_only_itself() {
    let noise: Vec<u8> = (0..=255).cycle().take(3_000).collect();
    let troubles = [
        Trouble::Noise(noise),
        Trouble::Noise([1; 10_000].to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_secs(6)),
        Trouble::Silent,
        Trouble::Escaped,
        // A pump of another bed's rack.
        Trouble::Stale("\x0100046\x02ComSystex/1/1>215,50113,INRT,99.9\x0300000\x04".to_owned()),
        Trouble::WrongBaud(2),
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A rack whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = fast(Values::default());
    bench.record.until("a first round", |record| !rates(record, "1-3").is_empty()).await;
    let before = rates(&bench.record, "1-3").len();
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    let recovered = |record: &Record| rates(record, "1-3").len() > before && !record.faults().is_empty();
    bench.record.until(&what, recovered).await;
    for name in ["1-1", "1-3"] {
        let all: BTreeSet<String> = rates(&bench.record, name).into_iter().map(|(_, rate)| rate).collect();
        assert_eq!(all, BTreeSet::from(["0.30".to_owned()]), "{what}");
    }
    assert!(
        !bench.record.all().iter().any(|(_, told)| matches!(told, Told::Gone(..) | Told::Down(_))),
        "{what}"
    );
    assert_well_behaved(&bench);
}

async fn a_rack_that_is_not_acknowledged_does_not_go_on() {
    let (device, control) =
        bbraun::rack(bbraun::Setup { baud: FAST, ..bbraun::Setup::default() }, Values::default()).unwrap();
    let device = tokio::spawn(async move { device.await.unwrap() });
    let mut link = SerialLink::new(control.path(), rack_model().line, rack_model().requests);
    link.open().await.unwrap();
    let get = LinkCommand::Fill(RequestId(2), Argument::new(b"ComSystem").unwrap());
    let [ack, nak] = [4, 5].map(|id| LinkCommand::Send(RequestId(id)));
    let slots = || -> Vec<&str> {
        let has = |message: &str| if message.contains(",50113,") { "3" } else { "1" };
        control.journal().iter().map(|sent| has(&sent.message)).collect()
    };
    for (command, expected) in [
        (get, &["1"][..]),
        (nak, &["1", "1"]),
        (ack, &["1", "1", "3"]),
        (nak, &["1", "1", "3", "3"]),
        (ack, &["1", "1", "3", "3"]),
        (get, &["1", "1", "3", "3", "1"]),
        // A new question calls the reply off.
        (get, &["1", "1", "3", "3", "1", "1"]),
    ] {
        let before = slots().len();
        link.perform(command).await.unwrap();
        let more = async {
            // The journal has no way to call back: look again.
            while slots().len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Where nothing is to come, that is all the time that it has.
        let patience = if expected.len() > before { PATIENCE } else { Duration::from_millis(400) };
        let _ = tokio::time::timeout(patience, more).await;
        assert_eq!(slots(), expected);
    }
    device.abort();
}

async fn pumps_that_are_taken_out_and_put_in_are_told_apart() {
    let bench = fast(Values::default());
    bench.record.until("a first round", |record| !rates(record, "1-3").is_empty()).await;
    bench.control.set(Values::with([(1, 1)]));
    let is_gone = |record: &Record| {
        record.all().iter().any(|(_, told)| matches!(told, Told::Gone(part, why) if *part == slot("1-3") && why.contains("taken out")))
    };
    bench.record.until("the empty slot", is_gone).await;
    assert_eq!(
        told(&bench.record, slot("1-3"), "MDC_EVT_COMM_LOST"),
        [("36027".to_owned(), "bcc:GNERR39 start unstated".to_owned())]
    );
    // Another pump takes the slot; then a third takes its place from one question to the next.
    for (serial, rate) in [(501, "5.01"), (502, "5.02")] {
        let mut values = Values::default();
        let pump = Pump { serial: Some(serial), rate: rate.to_owned(), ..Pump::default() };
        values.pumps.insert((1, 3), pump);
        bench.control.set(values);
        let expected = (serial.to_string(), rate.to_owned());
        bench.record.until("the other pump", |record| rates(record, "1-3").contains(&expected)).await;
    }
    let all: BTreeSet<(String, String)> = rates(&bench.record, "1-3").into_iter().collect();
    let pair = |who: &str, rate: &str| (who.to_owned(), rate.to_owned());
    assert_eq!(all, BTreeSet::from([pair("36027", "0.30"), pair("501", "5.01"), pair("502", "5.02")]));
    assert!(rates(&bench.record, "1-1").iter().all(|(who, _)| who == "36025"));
    assert_well_behaved(&bench);
}

async fn a_rack_that_loses_power_within_a_reply_comes_back_under_its_stable_path() {
    let mut values = Values::default();
    values.pumps.values_mut().for_each(|pump| pump.alarms = 1 << 2);
    let bench = fast(values);
    bench.record.until("a first round", |record| !rates(record, "1-3").is_empty()).await;
    bench.control.trouble(Trouble::Torn);
    bench.control.trouble(Trouble::PowerCycle(Duration::from_millis(300)));
    let ups = |record: &Record| record.all().iter().filter(|(_, told)| matches!(told, Told::Up)).count();
    bench.record.until("the way back", |record| ups(record) > 1).await;
    let read = rates(&bench.record, "1-3").len();
    bench.record.until("readings again", |record| rates(record, "1-3").len() > read).await;
    // The alarm was on before and is on: it is told once.
    let alarms = told(&bench.record, slot("1-3"), "MDC_EVT_ALARM");
    assert_eq!(alarms, [("36027".to_owned(), "bcc:INA3 start unstated".to_owned())]);
    let uptimes: Vec<u64> =
        bench.record.values("BBRAUN_UPTIME").iter().map(|seconds| seconds.parse().unwrap()).collect();
    assert!(uptimes[0] >= 214 && uptimes.last().unwrap() < &60, "{uptimes:?}");
    assert_well_behaved(&bench);
}

async fn a_clock_that_begins_again_has_the_rack_asked_who_it_is() {
    let bench = fast(Values::default());
    bench.record.until("a first round", |record| !rates(record, "1-3").is_empty()).await;
    bench.control.trouble(Trouble::ClockRestart);
    let doubts = |record: &Record| {
        let faults = record.faults();
        faults.iter().any(|fault| fault.kind == FaultKind::Unexpected && fault.detail.contains("clock"))
    };
    bench.record.until("the doubt", doubts).await;
    let whole = |record: &Record| {
        record.all().iter().filter(|(_, told)| matches!(told, Told::Identity(Part::WHOLE, _))).count()
    };
    bench.record.until("the rack's identity again", |record| whole(record) == 2).await;
    assert_eq!(bench.record.faults().len(), 1, "{:?}", bench.record.faults());
    assert_well_behaved(&bench);
}

async fn another_rack_on_the_port_is_never_mixed_with_the_first() {
    let bench = fast(Values::default());
    bench.record.until("a first round", |record| !rates(record, "1-3").is_empty()).await;
    // The other rack shows other values from its first block on.
    let mut values = Values::default();
    values.pumps.values_mut().for_each(|pump| {
        pump.rate = "9.99".to_owned();
        pump.alarms = 1;
    });
    bench.control.trouble(Trouble::Identity("50000".to_owned()));
    bench.control.set(values);
    let others = ("50027".to_owned(), "9.99".to_owned());
    bench.record.until("the other rack's pump", |record| rates(record, "1-3").contains(&others)).await;
    for (name, first, second) in [("1-1", "36025", "50025"), ("1-3", "36027", "50027")] {
        let all: BTreeSet<(String, String)> = rates(&bench.record, name).into_iter().collect();
        let pair = |who: &str, rate: &str| (who.to_owned(), rate.to_owned());
        assert_eq!(all, BTreeSet::from([pair(first, "0.30"), pair(second, "9.99")]));
        let alarms = told(&bench.record, slot(name), "MDC_EVT_ALARM");
        assert!(alarms.iter().all(|(who, _)| who == second), "{alarms:?}");
    }
    assert_well_behaved(&bench);
}

async fn a_flood_of_rack_alarms_is_told_edge_by_edge() {
    let bench = fast(Values::default());
    bench.control.trouble(Trouble::AlarmFlood(2));
    let edges = |record: &Record| -> Vec<String> {
        let said = record.observations();
        said.iter().filter(|said| said.kind == Kind::Alarm).map(|said| shown(&said.value)).collect()
    };
    bench.record.until("the end", |record| edges(record).len() >= 4).await;
    let expected = ["bcc:INA3 start", "bcc:INA3 end", "bcc:INA5 start", "bcc:INA5 end"];
    assert_eq!(edges(&bench.record), expected.map(|edge| format!("{edge} unstated")));
    assert_well_behaved(&bench);
}

async fn a_rack_is_not_asked_more_often_than_it_allows() {
    let began = Instant::now();
    let bench = fast(Values::default());
    bench.record.until("three rounds", |record| rates(record, "1-3").len() >= 3).await;
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Three full pillars. No two pumps show the same, and none the same in two rounds.
fn full_rack(round: u32) -> Values {
    let mut values = Values::with((1..=3).flat_map(|pillar| (1..=8).map(move |slot| (pillar, slot))));
    for ((pillar, slot), pump) in &mut values.pumps {
        pump.rate = format!("{round}.{pillar}{slot}");
        pump.volume = format!("{pillar}{slot}.{round}");
        pump.drug = format!("Drug {pillar}{slot}");
    }
    values
}

/// A reply about 24 pumps takes half a minute at 9,600 baud: longer than the driver waits for anything, and
/// several of its poll periods.
#[tokio::test]
async fn a_full_rack_is_read_to_the_end_of_its_long_replies_at_9600_baud() {
    let bench = bench_of(bbraun::Setup { baud: 9_600, ..bbraun::Setup::default() }, full_rack(1));
    for round in 1..=2 {
        for ((pillar, number), pump) in full_rack(round).pumps {
            let name = format!("{pillar}-{number}");
            let is_read = |record: &Record| rates(record, &name).iter().any(|(_, rate)| *rate == pump.rate);
            bench.record.until(&format!("{name} in round {round}"), is_read).await;
            // A reply holds what the rack showed when it was asked, so this is seen in the next one.
            bench.control.set(full_rack(round + 1));
        }
    }
    let (first, second) = (full_rack(1), full_rack(2));
    for ((pillar, number), pump) in &first.pumps {
        let part = slot(&format!("{pillar}-{number}"));
        let serial = (36_000 + 24 * u32::from(*pillar) + u32::from(*number)).to_string();
        let later = &second.pumps[&(*pillar, *number)];
        for (reference, one, two) in [
            ("MDC_FLOW_FLUID_PUMP", &pump.rate, &later.rate),
            ("MDC_VOL_FLUID_DELIV", &pump.volume, &later.volume),
            ("MDC_DRUG_NAME_TYPE", &pump.drug, &later.drug),
        ] {
            let read = told(&bench.record, part, reference);
            let expected = [one, two].map(|value| (serial.clone(), value.clone()));
            assert_eq!(read[..], expected, "{pillar}-{number}, {reference}");
        }
    }
    assert_eq!(bench.record.faults(), []);
    assert_well_behaved(&bench);
    assert_one_question_and_24_acknowledgements(&bench.control.received());
    let [began, ended] = ["1-1", "3-8"].map(|name| time_of(&bench.record, name));
    assert!(ended > began + Duration::from_secs(20), "{began:?} to {ended:?} is not the speed of the line");
}

/// The first reply was asked for once and acknowledged block by block, nothing of it was asked for again.
fn assert_one_question_and_24_acknowledgements(received: &[u8]) {
    let words = String::from_utf8_lossy(received);
    let first = words.split("MEM:GET").nth(1).unwrap();
    assert!(!words.contains('\x15') && !words.contains("GETSLOT"), "{words:?}");
    assert_eq!(first.matches('\x06').count(), 24, "{words:?}");
}

/// When the first rate of a slot was told.
fn time_of(record: &Record, name: &str) -> Duration {
    let is_rate = |told: &Told| {
        matches!(told, Told::Observation(part, said)
            if *part == slot(name) && said.metric.reference == "MDC_FLOW_FLUID_PUMP")
    };
    record.all().into_iter().find(|(_, told)| is_rate(told)).unwrap().0
}

#[test]
fn every_published_frame_of_the_rack_is_among_the_vectors() {
    const PUBLISHED: [&[u8]; 7] = [
        b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04",
        b"\x0100031\x021/1/1>AEXMIN:ALIVEE\x0300061\x04",
        b"\x0100041\x02ComSystem/1/1>ADMIN:VERSION\x0300102\x04",
        b"\x0100035\x02ComSystem/1/1>MEM:GET\x0300153\x04",
        b"\x0100042\x02ComSystem/1/1>MEM:GETSLOT#11\x0300094\x04",
        b"\x0100045\x02ComSystem/1/1>214,50100,GNACK,0\x0300070\x04",
        b"\x0100046\x02ComSystem/1/1>215,50113,GNERR,39\x0300162\x04",
    ];
    let vectors = vectors("bbraun-bcc");
    for frame in PUBLISHED {
        let holds_it = |(name, vector): &(String, crate::vectors::Vector)| {
            !name.starts_with("bad-") && vector.bytes().windows(frame.len()).any(|window| window == frame)
        };
        assert!(vectors.iter().any(holds_it), "{:?} is in no good vector", String::from_utf8_lossy(frame));
    }
}
