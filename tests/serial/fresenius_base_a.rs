//! Fresenius Base A with Module DPS syringe pumps.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wardline::device::settings::Settings;
use wardline::device::{FaultKind, Part};
use wardline::lab::sim::{Trouble, fresenius};
use wardline::link::LinkCommand;
use wardline::link::serial::SerialLink;

use crate::support::*;

const MODEL: &str = "fresenius-base-a";

fn rack_with(setup: fresenius::Setup) -> Bench<fresenius::Values> {
    let folder = tempfile::tempdir().unwrap();
    let setup = fresenius::Setup { link: Some(folder.path().join("base")), ..setup };
    bench(MODEL, folder, fresenius::base(setup, fresenius::Values::default()).unwrap())
}

fn rack() -> Bench<fresenius::Values> {
    rack_with(fresenius::Setup::default())
}

fn change(bench: &Bench<fresenius::Values>, place: usize, change: impl FnOnce(&mut fresenius::Module)) {
    let mut values = bench.control.values();
    change(values.modules[place - 1].as_mut().unwrap());
    bench.control.set(values);
}

/// The values of one element of one module, as text.
fn values(record: &Record, place: u8, reference: &str) -> Vec<String> {
    record
        .all()
        .into_iter()
        .filter_map(|(_, told)| match told {
            Told::Observation(part, said) if part == Part(place) && said.metric.reference == reference => {
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

fn serials(record: &Record, place: u8) -> Vec<String> {
    record
        .all()
        .into_iter()
        .filter_map(|(_, told)| match told {
            Told::Identity(part, identity) if part == Part(place) => identity.serial,
            Told::Up
            | Told::Down(_)
            | Told::Identity(..)
            | Told::Observation(..)
            | Told::Gone(..)
            | Told::Fault(_) => None,
        })
        .collect()
}

fn gone(record: &Record, place: u8) -> usize {
    record
        .all()
        .iter()
        .filter(|(_, told)| matches!(told, Told::Gone(part, _) if *part == Part(place)))
        .count()
}

async fn until_read(bench: &Bench<fresenius::Values>) {
    let has_both =
        |record: &Record| (1..=2).all(|place| !values(record, place, "MDC_DRUG_NAME_TYPE").is_empty());
    bench.record.until("a first round", has_both).await;
}

/// Every byte that a base received is an ACK, a life sign, a refusal of a checksum, or a frame that reads.
fn assert_reads_only(bytes: &[u8]) {
    let mut rest = bytes;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = match byte {
            0x06 | 0x14 => behind,
            0x15 => behind.strip_prefix(b"2").unwrap(),
            0x02 => {
                let Some(end) = behind.iter().position(|byte| *byte == 0x03) else { return };
                let message = std::str::from_utf8(&behind[1..end - 2]).unwrap();
                let is_reading = ["DC", "LN", "LP", "LF;b", "LE;b", "LE;aemdrks", "E"].contains(&message)
                    || message.strip_prefix("LE;").is_some_and(|letter| letter.len() == 1);
                assert!(is_reading, "{message:?}");
                &behind[end + 1..]
            }
            other => panic!("{other:#x} is no beginning of a request"),
        };
    }
}

#[tokio::test]
async fn five_modules_are_read_whole_and_in_order() {
    let bench = rack();
    let mut values_of_all = bench.control.values();
    for module in &mut values_of_all.modules {
        *module = Some(fresenius::Module::default());
    }
    bench.control.set(values_of_all);
    for step in 1..4u32 {
        for place in 1..=5 {
            change(&bench, place, |module| module.volume = step * 10 + u32::try_from(place).unwrap());
        }
        let has_all = |record: &Record| {
            (1..=5u8).all(|place| {
                let volume = format!("0.{:03}", step * 10 + u32::from(place));
                values(record, place, "MDC_VOL_FLUID_DELIV").contains(&volume)
            })
        };
        bench.record.until("the volumes", has_all).await;
    }
    for place in 1..=5u8 {
        let said = values(&bench.record, place, "MDC_VOL_FLUID_DELIV");
        let journal = bench.control.journal();
        let sent: Vec<String> = journal
            .iter()
            .filter(|sent| sent.is_whole && sent.message.starts_with(&format!("{place}C;a")))
            .map(|sent| {
                let digits = sent.message.split(';').find_map(|item| item.strip_prefix('r')).unwrap();
                format!("0.{:03}", u32::from_str_radix(digits, 16).unwrap() % 1_000)
            })
            .collect();
        let said: Vec<String> = said.iter().map(|volume| format!("0.{}", &volume[2..])).collect();
        assert_eq!(said[..], sent[..said.len()], "every answer was told, once, in order");
        assert!(sent.len() - said.len() <= 1, "at most one waits for its confirmation");
        assert_eq!(serials(&bench.record, place), [format!("BA-2041-{place}")]);
    }
    assert_eq!(bench.record.faults(), []);
    assert_eq!(bench.control.refused(), 0, "no life sign was owed and nothing refused");
    assert_reads_only(&bench.control.received());
}

#[tokio::test]
async fn a_module_that_takes_no_lists_is_read_singly() {
    let bench = rack_with(fresenius::Setup { takes_lists: false, ..fresenius::Setup::default() });
    until_read(&bench).await;
    assert_eq!(values(&bench.record, 1, "MDC_FLOW_FLUID_PUMP")[0], "3.5");
    assert_reads_only(&bench.control.received());
}

#[tokio::test]
async fn an_alarm_is_known_soon_and_ends() {
    let bench = rack();
    until_read(&bench).await;
    for (alarm, expected) in [(4, "A02 start unstated"), (0, "A02 end unstated")] {
        // One answer in the way is broken: it is refused, and comes again at once.
        bench.control.trouble(Trouble::Corrupted);
        change(&bench, 2, |module| module.alarm = alarm);
        let began = Instant::now();
        let is_told = |record: &Record| values(record, 2, "MDC_EVT_ALARM").contains(&expected.to_owned());
        bench.record.until(expected, is_told).await;
        assert!(began.elapsed() < SOON, "{expected} took {:?}", began.elapsed());
    }
    assert_eq!(values(&bench.record, 2, "MDC_EVT_ALARM").len(), 2);
    assert!(bench.record.faults().iter().all(|fault| fault.kind == FaultKind::Checksum));
}

#[tokio::test]
async fn every_trouble_on_the_line_costs_only_itself() {
    let noise: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    let troubles = [
        Trouble::Noise(noise),
        Trouble::Noise(b"\x02\x02\x021C;d0FFF".to_vec()),
        Trouble::Noise([2; 3_000].to_vec()),
        Trouble::Torn,
        Trouble::Corrupted,
        Trouble::Late(Duration::from_millis(1_300)),
        Trouble::Silent,
        Trouble::Stale("\x021C;d0FFF7C\x03".to_owned()),
        Trouble::WrongBaud(2),
    ];
    futures_util::future::join_all(troubles.map(survive)).await;
}

/// A base whose line has one trouble: it is told, and nothing wrong is ever read.
async fn survive(trouble: Trouble) {
    let bench = rack();
    until_read(&bench).await;
    let count = |record: &Record| {
        [1, 2].map(|place| values(record, place, "MDC_VOL_FLUID_DELIV").len()).into_iter().min().unwrap()
    };
    let before = count(&bench.record);
    bench.control.trouble(trouble.clone());
    let what = format!("readings and a fault after {trouble:?}").chars().take(80).collect::<String>();
    bench.record.until(&what, |record| count(record) > before + 1 && !record.faults().is_empty()).await;
    for place in [1, 2] {
        let only = |reference| values(&bench.record, place, reference).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(only("MDC_FLOW_FLUID_PUMP"), BTreeSet::from(["3.5".to_owned()]), "{what}");
        assert_eq!(only("MDC_VOL_FLUID_DELIV"), BTreeSet::from(["3.000".to_owned()]), "{what}");
        let names: BTreeSet<String> = serials(&bench.record, place).into_iter().collect();
        assert_eq!(names, BTreeSet::from([format!("BA-2041-{place}")]), "{what}");
    }
    assert_reads_only(&bench.control.received());
}

#[tokio::test]
async fn a_module_that_is_taken_off_is_gone_with_an_alarm_and_the_others_go_on() {
    let bench = rack();
    until_read(&bench).await;
    let mut values_of_all = bench.control.values();
    let module = values_of_all.modules[0].take();
    bench.control.set(values_of_all.clone());
    bench.record.until("its end", |record| gone(record, 1) == 1).await;
    assert_eq!(values(&bench.record, 1, "MDC_EVT_COMM_LOST"), ["MODULE_LOST start unstated"]);
    let told = bench.record.all();
    let end = told
        .iter()
        .position(|(_, told)| matches!(told, Told::Gone(_, why) if why == "it was taken off the base"))
        .unwrap();
    let of_it = |told: &Told| matches!(told, Told::Observation(part, _) if *part == Part(1));
    assert!(of_it(&told[end - 1].1), "the alarm comes before the end");
    let others = values(&bench.record, 2, "MDC_FLOW_FLUID_PUMP").len();
    let go_on = |record: &Record| values(record, 2, "MDC_FLOW_FLUID_PUMP").len() > others + 1;
    bench.record.until("the other module", go_on).await;
    assert!(!bench.record.all()[end..].iter().any(|(_, told)| of_it(told)), "nothing of it behind its end");
    values_of_all.modules[0] = module;
    bench.control.set(values_of_all);
    let is_back = |record: &Record| values(record, 1, "MDC_EVT_COMM_LOST").len() == 2;
    bench.record.until("its return", is_back).await;
    assert_eq!(serials(&bench.record, 1), ["BA-2041-1", "BA-2041-1"]);
}

#[tokio::test]
async fn another_module_or_another_base_is_never_mixed_with_the_first() {
    let bench = rack();
    until_read(&bench).await;
    // Its session is open already: nothing but its serial number tells.
    change(&bench, 1, |module| {
        module.serial = Some("OTHER".to_owned());
        module.rate = 0x63;
        module.is_open = true;
    });
    let has_told = |record: &Record| values(record, 1, "MDC_FLOW_FLUID_PUMP").contains(&"9.9".to_owned());
    bench.record.until("the other module", has_told).await;
    bench.control.trouble(Trouble::Identity("BA-9".to_owned()));
    change(&bench, 2, |module| {
        module.rate = 0x64;
        module.is_open = true;
    });
    let has_told = |record: &Record| values(record, 2, "MDC_FLOW_FLUID_PUMP").contains(&"10.0".to_owned());
    bench.record.until("the other base", has_told).await;
    let mut serial = vec![None; 6];
    for (_, told) in bench.record.all() {
        match told {
            Told::Identity(part, identity) => serial[usize::from(part.0)] = identity.serial,
            Told::Observation(part, said) if said.metric.reference == "MDC_FLOW_FLUID_PUMP" => {
                let expected = match shown(&said.value).as_str() {
                    "9.9" => "OTHER",
                    "10.0" => "BA-9-2",
                    _ if part == Part(1) => "BA-2041-1",
                    _ => "BA-2041-2",
                };
                assert_eq!(serial[usize::from(part.0)].as_deref(), Some(expected), "{said:?}");
            }
            Told::Up | Told::Down(_) | Told::Observation(..) | Told::Gone(..) | Told::Fault(_) => {}
        }
    }
    assert_eq!(serials(&bench.record, 0), ["BA-2041", "BA-9"]);
}

#[tokio::test]
async fn a_base_that_is_switched_off_and_on_storms_and_is_read_again() {
    let bench = rack();
    until_read(&bench).await;
    // Once with the port, once behind an adapter that stays.
    for trouble in [Trouble::ClockRestart, Trouble::PowerCycle(Duration::from_millis(200))] {
        let seen = serials(&bench.record, 1).len();
        let read = values(&bench.record, 1, "MDC_FLOW_FLUID_PUMP").len();
        bench.control.trouble(trouble.clone());
        let is_back = |record: &Record| {
            serials(record, 1).len() > seen && values(record, 1, "MDC_FLOW_FLUID_PUMP").len() > read
        };
        bench.record.until(&format!("the way back after {trouble:?}"), is_back).await;
    }
    let storms =
        bench.record.faults().iter().filter(|fault| fault.detail.contains("switched on again")).count();
    assert!(storms >= 1, "{:?}", bench.record.faults());
    assert!(gone(&bench.record, 1) >= 1);
    let mut is_known = [false; 6];
    for (_, told) in bench.record.all() {
        match told {
            Told::Up => is_known = [false; 6],
            Told::Identity(part, _) => is_known[usize::from(part.0)] = true,
            Told::Gone(part, _) => is_known[usize::from(part.0)] = false,
            Told::Observation(part, said) => assert!(is_known[usize::from(part.0)], "{said:?}"),
            Told::Down(_) | Told::Fault(_) => {}
        }
    }
    assert_reads_only(&bench.control.received());
}

#[tokio::test]
async fn life_signs_in_quick_succession_are_all_given_in_time() {
    let setup = fresenius::Setup { life_signs: Duration::from_millis(500), ..fresenius::Setup::default() };
    let bench = rack_with(setup);
    change(&bench, 2, |module| module.is_talkative = true);
    until_read(&bench).await;
    let given = || bench.control.received().split(|byte| *byte == 0x14).count();
    let before = given();
    let more = async {
        // What the base received has no way to call back: look again.
        while given() < before + 8 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, more).await.expect("life signs go on");
    assert_eq!(bench.control.refused(), 0, "the base closed no session");
    assert_eq!(bench.record.faults(), []);
    let received = bench.control.received();
    assert!(received.windows(6).any(|six| six == b"\x022E88\x03"), "what was said unasked is echoed");
}

#[tokio::test]
async fn a_flood_of_alarms_is_told_edge_by_edge() {
    let bench = rack();
    until_read(&bench).await;
    bench.control.trouble(Trouble::AlarmFlood(6));
    let ends = |record: &Record| -> usize {
        let all = [1, 2].map(|place| values(record, place, "MDC_EVT_ALARM"));
        all.concat().iter().filter(|edge| edge.contains("end")).count()
    };
    let starts = |record: &Record| -> usize {
        let all = [1, 2].map(|place| values(record, place, "MDC_EVT_ALARM"));
        all.concat().iter().filter(|edge| edge.contains("start")).count()
    };
    bench.record.until("the last end", |record| starts(record) >= 2 && starts(record) == ends(record)).await;
}

/// A line that the driver does not hold: what the link writes of a request that is no reading.
#[tokio::test]
async fn nothing_that_treats_can_be_written() {
    use wardline::link::{Argument, Link, RequestId};
    let folder = tempfile::tempdir().unwrap();
    let setup = fresenius::Setup { link: Some(folder.path().join("base")), ..fresenius::Setup::default() };
    let (device, control) = fresenius::base(setup, fresenius::Values::default()).unwrap();
    let task = tokio::spawn(async move { device.await.unwrap() });
    let model = model(MODEL);
    let mut link = SerialLink::new(control.path(), model.line, model.requests);
    for words in ["MO;2", "PR;d0001", "PO", "PB", "PF", "PV", "RV", "OF", "SI", "RZ", "EP", "EN", "DE;r"] {
        for place in 0..u8::try_from(model.requests.requests().len()).unwrap() {
            for argument in [words.to_owned(), format!("1{words}"), format!("1;{words}")] {
                link.open().await.unwrap();
                let argument = Argument::new(argument.as_bytes()).unwrap();
                let command = LinkCommand::Fill(RequestId(place), argument);
                assert!(link.perform(command).await.is_err(), "{words} as {place}");
                link.close().await;
            }
        }
    }
    assert_eq!(control.received(), b"");
    drop((model.driver)(&Settings::defaults(model.settings)));
    task.abort();
}

#[test]
fn every_frame_of_the_facts_is_among_the_good_vectors() {
    let good: Vec<Vec<u8>> = crate::vectors::vectors(MODEL)
        .into_iter()
        .filter(|(name, _)| !name.starts_with("bad-"))
        .map(|(_, vector)| vector.bytes())
        .collect();
    for frame in [
        "\x020DC48\x03",
        "\x021DC47\x03",
        "\x021LE;dr2C\x03",
        "\x021FC45\x03",
        "\x021C;d0023;r00000BB8CE\x03",
    ] {
        let holds_it = |bytes: &Vec<u8>| bytes.windows(frame.len()).any(|part| part == frame.as_bytes());
        assert!(good.iter().any(holds_it), "{frame:?} is in no good vector");
    }
}
