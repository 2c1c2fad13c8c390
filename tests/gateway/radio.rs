//! BLE from outside: the real daemon, unmodified btleplug, a double of `org.bluez` on a private bus.

use std::process::Command;
use std::time::Duration;

use wardline::host::atomic_file;
use wardline::host::status::Snapshot;
use wardline::lab::bluez::{Bluez, Bus, Emulated};
use wardline::lab::stage::{self, Daemon};
use wardline::link::ble::pairing::proof::{Bond, Proof, Proofs};
use wardline::link::ble::pairing::{BondClass, Method};
use wardline::time::Wall;

use crate::support::{Bench, PATIENCE, within};

const BELT: &str = "F1:00:00:00:00:01";
const STRANGER: &str = "F3:00:00:00:00:03";
const HEART_RATE: u32 = 147_842;

/// The heart rates at the consumer, in the order of the device's own numbers.
fn heart_rates(ledger: &mut wardline::lab::ledger::Ledger) -> Vec<String> {
    let mut found: Vec<_> = ledger
        .kept
        .iter()
        .filter(|(_, reading)| reading.code == HEART_RATE)
        .map(|(_, reading)| (reading.seq, reading.value.clone()))
        .collect();
    found.sort();
    found.into_iter().map(|(_, value)| value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_belt_arrives_through_drops_and_a_stranger_is_never_touched() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let bus = Bus::start().unwrap();
    let bluez = Bluez::start(&bus.address()).unwrap();
    bluez.add(Emulated::heart_rate(BELT, "HRM-0001"));
    bluez.add(Emulated::heart_rate(STRANGER, "HRM-9999"));
    bench.configure(&stage::ble_device("belt-1", "heart-rate", BELT, "HRM-0001"));
    let mut daemon = bench.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address())]);
    let mut sent = Vec::new();
    for round in 0..3u8 {
        bluez.until("the belt is subscribed to", |world| world.is_subscribed(BELT, 0x2A37)).await.unwrap();
        for beat in 0..20u8 {
            let rate = 50 + round * 20 + beat;
            bluez.notify(BELT, 0x2A37, &[0x00, rate]).unwrap();
            sent.push(rate.to_string());
        }
        let so_far = sent.clone();
        within(
            "all values of this round",
            bench.consumer.wait_for(|ledger| {
                ledger.kept.iter().filter(|(_, reading)| reading.code == HEART_RATE).count() >= so_far.len()
            }),
        )
        .await;
        bluez.drop_connection(BELT).unwrap();
    }
    let status = bench.status("the stranger was heard", |status| !status.unlisted.is_empty()).await;
    assert_eq!(status.unlisted.first().map(|seen| seen.address.as_str()), Some(STRANGER));
    bench.end(&mut daemon).await;
    assert_eq!(bench.consumer.with(heart_rates), sent);
    assert_eq!(bluez.look(|world| world.calls_to(STRANGER)), Vec::new(), "the stranger was touched");
    bench.consumer.with(|ledger| {
        assert_eq!(ledger.devices.keys().collect::<Vec<_>>(), ["belt-1"]);
        assert_eq!((ledger.lost(), ledger.complaints.clone()), (0, Vec::new()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_belt_that_says_it_is_another_one_stays_out() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let bus = Bus::start().unwrap();
    let bluez = Bluez::start(&bus.address()).unwrap();
    bluez.add(Emulated::heart_rate(BELT, "HRM-0666"));
    bench.configure(&stage::ble_device("belt-1", "heart-rate", BELT, "HRM-0001"));
    let mut daemon = bench.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address())]);
    bluez.until("the belt is subscribed to", |world| world.is_subscribed(BELT, 0x2A37)).await.unwrap();
    for rate in 60..70 {
        bluez.notify(BELT, 0x2A37, &[0x00, rate]).unwrap();
    }
    bench
        .status("every value refused", |status| {
            status
                .devices
                .iter()
                .all(|device| device.quarantine.is_some() && device.refused.values().sum::<u64>() >= 10)
        })
        .await;
    bench.end(&mut daemon).await;
    assert_eq!(bench.consumer.with(|ledger| ledger.records), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_another_hand_made_are_refused_and_counted_and_shown_until_they_are_proved() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let bus = Bus::start().unwrap();
    let bluez = Bluez::start(&bus.address()).unwrap();
    bluez.add(Emulated { trusted: false, ..Emulated::heart_rate(BELT, "HRM-0001").bonded() });
    let entry = stage::ble_device("belt-1", "heart-rate", BELT, "HRM-0001");
    bench.configure(&entry.replace("security = \"open\"", "security = \"bonded\""));
    let mut daemon = bench.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus.address())]);
    let refused = |status: &Snapshot| status.devices.iter().any(|d| d.bond_refused && d.bond_refusals >= 2);
    let status = bench.status("it is refused again", refused).await;
    let reason = status.devices[0].link_reason.clone().unwrap();
    assert!(reason.contains("not trusted") && reason.contains("wardline pair"), "{reason}");
    let say = |command: &str| {
        let mut asked = Command::new(env!("CARGO_BIN_EXE_wardline"));
        let output = asked.arg(command).arg("--config").arg(bench.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let shown = say("devices");
    assert!(shown.contains("bonded: refused") && shown.contains("not trusted"), "{shown}");
    let shown = say("status");
    assert!(shown.contains("as its bond is not to be trusted"), "{shown}");
    assert_eq!(bluez.look(|world| world.count(BELT, "Connect")), 0, "it was connected to");

    // What `wardline pair` leaves.
    let proofs = Proofs::beside(&bench.path().join("store"));
    let adapter = "C0:DE:00:00:00:01".parse().unwrap();
    let proof = Proof { method: Method::Passkey, class: BondClass::A };
    let bond = Bond { adapter, device: BELT.parse().unwrap() };
    let line = Proofs::line(Wall::default(), bond, Some(proof)).unwrap();
    atomic_file::append(proofs.path(), |_| Ok(line)).unwrap();
    bluez.add(Emulated::heart_rate(BELT, "HRM-0001").bonded());
    bluez.remove_object(BELT).unwrap();
    bench
        .status("it is connected", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|d| d.link == "up" && !d.bond_refused)
        })
        .await;
    let noted = say("audit");
    let places = ["bond-lost", "bond-good"].map(|word| noted.find(word));
    assert!(places[0].is_some() && places[0] < places[1], "{noted}");
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

/// Waits until what is remembered of the belt holds a text.
async fn remembers(bench: &Bench, text: &str) {
    let path = bench.path().join("store.records/belt-1.memo");
    let written = async {
        // A file has no way to call back: look again.
        while !std::fs::read(&path).is_ok_and(|memo| memo.windows(text.len()).any(|at| at == text.as_bytes()))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(&format!("{text} in {}", path.display()), written).await;
}

/// With its new firmware the belt is there again.
async fn updates(bluez: &Bluez, firmware: &str) {
    bluez.set_value(BELT, 0x2A26, firmware.as_bytes()).unwrap();
    bluez.drop_connection(BELT).unwrap();
    bluez.until("the belt is gone", |world| !world.is_subscribed(BELT, 0x2A37)).await.unwrap();
    bluez.until("the belt is subscribed to", |world| world.is_subscribed(BELT, 0x2A37)).await.unwrap();
}

/// The daemon is killed, the belt has another firmware or not, the daemon is there again and subscribed.
async fn restarts(bench: &Bench, bluez: &Bluez, bus: &str, firmware: &str) -> Daemon {
    bluez.drop_connection(BELT).unwrap();
    bluez.until("the belt is free", |world| !world.is_subscribed(BELT, 0x2A37)).await.unwrap();
    bluez.set_value(BELT, 0x2A26, firmware.as_bytes()).unwrap();
    let daemon = bench.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", bus)]);
    bluez.until("the belt is subscribed to", |world| world.is_subscribed(BELT, 0x2A37)).await.unwrap();
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn another_firmware_is_one_event_also_over_a_restart_and_its_readings_go_on() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let bus = Bus::start().unwrap();
    let bluez = Bluez::start(&bus.address()).unwrap();
    bluez.add(Emulated::heart_rate(BELT, "HRM-0001"));
    bench.configure(&stage::ble_device("belt-1", "heart-rate", BELT, "HRM-0001"));
    let bus = bus.address();
    let mut daemon = bench.start_with(&[("DBUS_SYSTEM_BUS_ADDRESS", &bus)]);
    bluez.until("the belt is subscribed to", |world| world.is_subscribed(BELT, 0x2A37)).await.unwrap();
    remembers(&bench, "1.0").await;
    updates(&bluez, "2.7.1").await;
    bluez.notify(BELT, 0x2A37, &[0x00, 61]).unwrap();
    remembers(&bench, "2.7.1").await;
    within("the first reading", bench.consumer.wait_for(|ledger| !ledger.kept.is_empty())).await;
    daemon.kill().unwrap();
    // The same as before: nothing is to be told.
    let mut daemon = restarts(&bench, &bluez, &bus, "2.7.1").await;
    bluez.notify(BELT, 0x2A37, &[0x00, 62]).unwrap();
    updates(&bluez, "2.7.2").await;
    remembers(&bench, "2.7.2").await;
    daemon.kill().unwrap();
    // Another one that came while nobody looked.
    let mut daemon = restarts(&bench, &bluez, &bus, "2.7.3").await;
    bluez.notify(BELT, 0x2A37, &[0x00, 63]).unwrap();
    let all = bench.consumer.wait_for(|ledger| ledger.events.len() >= 3 && ledger.kept.len() >= 3);
    within("three events and three readings", all).await;
    remembers(&bench, "2.7.3").await;
    bench.end(&mut daemon).await;
    let change = ("firmware-changed".to_owned(), "Create".to_owned(), "belt-1".to_owned());
    bench.consumer.with(|ledger| {
        assert_eq!(ledger.events, [change.clone(), change.clone(), change]);
        assert_eq!((ledger.lost(), ledger.complaints.clone()), (0, Vec::new()));
    });
    assert_eq!(bench.consumer.with(heart_rates).len(), 3);
    let log = std::fs::read_to_string(bench.path().join("daemon.log")).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("firmware-changed")).collect();
    assert!(told.len() == 3 && told[0].contains("1.0") && told[0].contains("2.7.1"), "{told:?}");
    assert!(!told.concat().contains("HRM-0001"), "{told:?}");
}
