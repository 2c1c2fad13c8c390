//! The radio in trouble: unmodified btleplug and the central, against a double of `org.bluez` on a
//! private bus that goes deaf, vanishes, comes back under another name, and is full of short visitors.
//!
//! As in `ble.rs`, every test runs itself again as a process of its own on a bus of its own.

#![cfg(all(target_os = "linux", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::future::Future;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use wardline::host::clock::SystemClock;
use wardline::host::random::SystemRandomness;
use wardline::lab::bluez::{Bluez, Bus, Cure, Emulated, Visit, World};
use wardline::lab::reconnects::{Options, reconnect};
use wardline::link::ble::{Address, BleLink, Central, Demand, Handle, Presence, Status};
use wardline::link::{Characteristic, Link, LinkCommand, LinkEvent};

const BELT: &str = "F1:00:00:00:00:01";
const ABSENT: &str = "F2:00:00:00:00:02";
const STRANGER: &str = "F9:00:00:00:00:09";
/// The address of the adapter of the double that hears.
const ADAPTER: &str = "C0:DE:00:00:00:01";
const HEART: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
const SERIAL: Characteristic = Characteristic { service: 0x180A, uuid: 0x2A25 };
const SPOT: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5E };

/// Nothing here takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A silence that is too long, where a test is about silence.
const SHORT: Duration = Duration::from_millis(300);

/// Tests that run in a process and on a bus of their own.
macro_rules! on_a_private_bus {
    ($($(#[$attribute:meta])* async fn $name:ident($bluez:ident: Bluez) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                async fn scenario($bluez: Bluez) $body
                run(stringify!($name), async |address| scenario(Bluez::start(&address).unwrap()).await);
            }
        )*
    };
}

const FOLDER: &str = "WARDLINE_TEST_BUS_FOLDER";

/// Runs the test of this name again, as a child with a private bus; or, as that child, the scenario.
fn run<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(String) -> F) {
    if let Some(address) = std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").filter(|_| is_child()) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let address = address.to_str().unwrap().to_owned();
        return runtime.block_on(async {
            tokio::time::timeout(PATIENCE * 2, scenario(address)).await.expect("the scenario hangs");
        });
    }
    let bus = Bus::start().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env(FOLDER, bus.folder())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ran = out.contains("1 passed");
    assert!(output.status.success() && ran, "{name} failed in its own process:\n{out}\n{err}");
}

fn is_child() -> bool {
    std::env::var_os(FOLDER).is_some()
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A central that runs.
fn central(adapter: &str, listed: &[&str]) -> Handle {
    watched(adapter, listed, Duration::from_secs(90))
}

/// A central that runs, with this limit on silence.
#[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
fn watched(adapter: &str, listed: &[&str], limit: Duration) -> Handle {
    let listed: Vec<Address> = listed.iter().map(|text| address(text)).collect();
    let random = Box::new(SystemRandomness::new());
    let (central, handle) = Central::new(adapter, listed, Arc::new(SystemClock::default()), random);
    tokio::spawn(central.with_quiet_limit(limit).run());
    handle
}

fn belt(central: &Handle) -> BleLink {
    BleLink::new(central.clone(), address(BELT), vec![HEART], Demand::Open)
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn next(link: &mut BleLink) -> LinkEvent {
    soon("an event", link.next()).await
}

/// Opens, again after each failure as a session does, and subscribes.
async fn subscribe(link: &mut BleLink, to: Characteristic) {
    soon("the link to open", async { while link.open().await.is_err() {} }).await;
    link.perform(LinkCommand::Subscribe(to)).await.unwrap();
    assert_eq!(next(link).await, LinkEvent::Subscribed(to, Ok(())));
}

/// One value comes through.
async fn beat(bluez: &Bluez, link: &mut BleLink, rate: u8) {
    bluez.notify(BELT, 0x2A37, &[0, rate]).unwrap();
    assert_eq!(next(link).await, LinkEvent::Value(HEART, Bytes::copy_from_slice(&[0, rate])));
}

/// Waits until the status is so. It has no way to call back: the double's advertisements are the clock.
async fn status(bluez: &Bluez, central: &Handle, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    bluez.tick(what, || is_so(&central.status())).await.unwrap();
    central.status()
}

fn count(world: &World, member: &str) -> usize {
    world.calls().iter().filter(|call| call.member == member).count()
}

on_a_private_bus! {
    async fn a_scan_that_went_deaf_is_started_again_and_hears(bluez: Bluez) {
        let central = watched("hci0", &[BELT, ABSENT], SHORT);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        bluez.go_deaf(Cure::Restart);
        let before = bluez.look(|world| count(world, "StartDiscovery"));
        bluez.add(Emulated::heart_rate(ABSENT, "SN-2"));
        let seen = |status: &Status| status.listed.contains(&(address(ABSENT), Presence::Sighted));
        let status = status(&bluez, &central, "the other is heard", seen).await;
        assert!(status.restarts >= 1 && status.power_cycles == 0, "{status:?}");
        assert!(bluez.look(|world| count(world, "StartDiscovery")) > before);
        // Nothing of it reached the link.
        beat(&bluez, &mut link, 71).await;
        assert_eq!(bluez.look(|world| world.count(BELT, "Connect")), 1);
    }

    async fn an_adapter_that_only_a_power_cycle_helps_gets_one(bluez: Bluez) {
        bluez.go_deaf(Cure::PowerCycle);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let central = watched("hci0", &[BELT], SHORT);
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        let status = central.status();
        assert_eq!((status.power_cycles, status.usb_resets_asked, status.down), (1, 0, None));
        assert!(status.restarts >= 1);
        assert!(status.heard.is_some());
        let off = bluez.look(|world| count(world, "Set Powered"));
        assert!(off >= 2, "{off}");
    }

    async fn an_adapter_that_nothing_helps_is_left_to_a_person_who_is_told(bluez: Bluez) {
        bluez.go_deaf(Cure::Replug);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let central = watched("hci0", &[BELT], SHORT);
        let asked = status(&bluez, &central, "a person is asked", |status| status.usb_resets_asked == 1).await;
        assert_eq!((asked.power_cycles, asked.heard), (1, None));
        bluez.unplug();
        bluez.plug_in("hci0");
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        beat(&bluez, &mut link, 72).await;
    }

    async fn a_link_that_stands_is_never_cut_by_the_watchdog(bluez: Bluez) {
        let central = watched("hci0", &[BELT, ABSENT], SHORT);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        bluez.go_deaf(Cure::PowerCycle);
        let mut beats = 0u8;
        while central.status().restarts < 5 {
            beats = beats.wrapping_add(1);
            beat(&bluez, &mut link, beats).await;
        }
        assert_eq!(central.status().power_cycles, 0);
        assert_eq!(bluez.look(|world| world.count(BELT, "Connect")), 1);
        // It falls silent too, for many times the limit: it is connected all the same.
        let after = status(&bluez, &central, "five more", |status| status.restarts >= 10).await;
        assert_eq!(after.power_cycles, 0);
        beat(&bluez, &mut link, 70).await;
        // It is gone: now the radio may go.
        bluez.set_in_range(BELT, false).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        status(&bluez, &central, "a power cycle", |status| status.power_cycles == 1).await;
    }

    async fn nothing_is_done_about_silence_while_all_listed_are_connected(bluez: Bluez) {
        let central = watched("hci0", &[BELT], SHORT);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        let before = central.status().restarts;
        // Far longer than the limit, by the double's clock.
        bluez.turns(1_000).await;
        assert_eq!(central.status().restarts, before);
        beat(&bluez, &mut link, 70).await;
    }

    async fn an_adapter_that_was_left_pairable_is_not_once_the_daemon_runs(bluez: Bluez) {
        bluez.set_pairable(true);
        let central = central("hci0", &[BELT]);
        status(&bluez, &central, "it scans", |status| status.down.is_none()).await;
        assert!(!bluez.look(World::is_pairable));
        // Whoever pairs later is not disturbed by a radio that comes and goes.
        bluez.set_pairable(true);
        bluez.power_off();
        status(&bluez, &central, "it went", |status| status.down.is_some()).await;
        status(&bluez, &central, "it is back", |status| status.down.is_none()).await;
        assert!(bluez.look(World::is_pairable));
    }

    async fn a_window_that_ends_by_itself_is_left_to_whoever_pairs(bluez: Bluez) {
        bluez.set_pairable_timeout(120);
        bluez.set_pairable(true);
        let central = central("hci0", &[BELT]);
        status(&bluez, &central, "it scans", |status| status.down.is_none()).await;
        assert!(bluez.look(World::is_pairable));
    }

    async fn an_agent_that_is_not_taken_is_told(bluez: Bluez) {
        bluez.fail("RegisterAgent", "org.bluez.Error.Failed", "no room", 1);
        let central = central("hci0", &[BELT]);
        let told = |status: &Status| status.no_agent.as_ref().is_some_and(|why| why.contains("no room"));
        status(&bluez, &central, "the reason", told).await;
        status(&bluez, &central, "it scans all the same", |status| status.down.is_none()).await;
        assert!(told(&central.status()));
        bluez.power_off();
        status(&bluez, &central, "it is taken", |status| status.no_agent.is_none()).await;
    }

    async fn an_answer_that_does_not_come_holds_up_nobody_else(bluez: Bluez) {
        let central = watched("hci0", &[BELT, ABSENT], SHORT);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        // From here on BlueZ is slow to list its objects, and to start a scan.
        bluez.delay("GetManagedObjects", PATIENCE * 2);
        bluez.delay("StartDiscovery", PATIENCE * 2);
        let before = central.status().restarts;
        bluez.go_deaf(Cure::Replug);
        status(&bluez, &central, "the scan starts again", |status| status.restarts > before).await;
        bluez.drop_connection(BELT).unwrap();
        let down = tokio::time::timeout(PATIENCE, link.next()).await;
        assert!(matches!(down, Ok(LinkEvent::Down(_))), "{down:?}");
    }

    async fn the_scan_has_a_filter_for_short_advertisers(bluez: Bluez) {
        let central = watched("hci0", &[BELT], SHORT);
        status(&bluez, &central, "a second start", |status| status.restarts >= 1 && status.down.is_none()).await;
        bluez.until("two scans", |world| world.scans().len() >= 2).await.unwrap();
        for filter in bluez.look(|world| world.scans().to_vec()) {
            let filter = filter.expect("the client that scans has set a filter");
            let shown: Vec<String> = filter.iter().map(|(name, value)| format!("{name}={value}")).collect();
            assert_eq!(shown, ["DuplicateData=1", "Transport=le"]);
        }
    }

    async fn a_busy_bluetoothd_does_not_take_the_radio_down(bluez: Bluez) {
        bluez.fail("StartDiscovery", "org.bluez.Error.InProgress", "Operation already in progress", 2);
        let central = watched("hci0", &[BELT, ABSENT], SHORT);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        // Later it is refused for longer, while the link is up.
        bluez.go_deaf(Cure::Restart);
        bluez.fail("StartDiscovery", "org.bluez.Error.NotReady", "Resource Not Ready", 2);
        let told = || central.status().not_scanning.is_some_and(|why| why.contains("NotReady"));
        while !told() {
            beat(&bluez, &mut link, 70).await;
        }
        while told() {
            beat(&bluez, &mut link, 71).await;
        }
        beat(&bluez, &mut link, 72).await;
        assert_eq!(bluez.look(|world| world.count(BELT, "Connect")), 1);
        assert_eq!(central.status().down, None);
    }

    async fn an_adapter_that_is_blocked_is_named_and_comes_back(bluez: Bluez) {
        let central = central("hci0", &[BELT]);
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        bluez.fail("Set", "org.bluez.Error.Failed", "Blocked through rfkill", 2);
        bluez.power_off();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        let blocked = |status: &Status| status.down.as_ref().is_some_and(|why| why.contains("rfkill"));
        status(&bluez, &central, "the reason", blocked).await;
        subscribe(&mut link, HEART).await;
        beat(&bluez, &mut link, 72).await;
    }

    async fn an_adapter_that_was_pulled_out_is_used_again_when_it_returns(bluez: Bluez) {
        let central = central("hci0", &[BELT]);
        bluez.add(Emulated::heart_rate(BELT, "SN-1").bonded());
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        bluez.unplug();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        let gone = |status: &Status| status.down.as_ref().is_some_and(|why| why.contains("no adapter hci0"));
        status(&bluez, &central, "it is missed", gone).await;
        bluez.plug_in("hci0");
        subscribe(&mut link, HEART).await;
        beat(&bluez, &mut link, 72).await;
    }

    async fn an_adapter_named_by_its_address_is_found_under_another_index(bluez: Bluez) {
        let central = central(ADAPTER, &[BELT]);
        bluez.add(Emulated::heart_rate(BELT, "SN-1").bonded());
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        bluez.unplug();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        // Another one takes its place.
        bluez.add_deaf_adapter("hci0", "C0:DE:00:00:00:99");
        bluez.plug_in("hci1");
        subscribe(&mut link, HEART).await;
        beat(&bluez, &mut link, 72).await;
        let elsewhere = |world: &World| {
            world.calls().iter().filter(|call| call.path == "/org/bluez/hci1" && call.member == "StartDiscovery").count()
        };
        assert!(bluez.look(elsewhere) >= 1);
    }

    async fn of_two_adapters_each_hears_its_own_devices(bluez: Bluez) {
        bluez.add_deaf_adapter("hci7", "C0:DE:00:00:00:07");
        bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let other = central("hci7", &[ABSENT]);
        let central = central("hci0", &[BELT]);
        let mut link = belt(&central);
        subscribe(&mut link, HEART).await;
        status(&bluez, &other, "the other scans", |status| status.down.is_none()).await;
        assert_eq!(other.status().heard, None);
        // The other one is off; this one goes on.
        bluez.unplug_other("hci7");
        status(&bluez, &other, "the other is gone", |status| status.down.is_some()).await;
        beat(&bluez, &mut link, 72).await;
        assert_eq!(central.status().down, None);
    }

    async fn bluetoothd_that_restarts_again_and_again_is_followed(bluez: Bluez) {
        let central = central("hci0", &[BELT]);
        bluez.add(Emulated::heart_rate(BELT, "SN-1").bonded());
        bluez.add(Emulated::heart_rate(STRANGER, "SN-9"));
        let mut link = belt(&central);
        for round in 0..3 {
            subscribe(&mut link, HEART).await;
            beat(&bluez, &mut link, 60 + round).await;
            bluez.die();
            assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
            bluez.come_back();
        }
        subscribe(&mut link, HEART).await;
        assert_eq!(bluez.look(|world| world.calls_to(STRANGER)), []);
    }

    async fn twenty_devices_that_are_there_for_two_seconds_are_all_heard(bluez: Bluez) {
        let names: Vec<String> = (1..=20).map(|n| format!("F5:00:00:00:00:{n:02X}")).collect();
        let listed: Vec<&str> = names.iter().map(String::as_str).chain([ABSENT]).collect();
        // Over the air a connection takes its time, and one to who is not there takes BlueZ 40 seconds.
        bluez.delay("Connect", Duration::from_millis(300));
        bluez.let_absent_hang(Duration::from_secs(40));
        let mut visits = Vec::new();
        let mut random = 7u64;
        for (n, name) in (1u8..).zip(&names) {
            bluez.add(Emulated::pulse_oximeter(name, name).bonded());
            for round in 0..2u8 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Anywhere in three seconds, so that several are there at any moment.
                let after = Duration::from_millis(u64::from(round) * 6_000 + (random >> 33) % 3_000);
                let stays = Duration::from_secs(2);
                visits.push(Visit { address: name.clone(), after, stays, uuid: SPOT.uuid, value: vec![0, n, round, 60, 0] });
            }
        }
        bluez.add(Emulated::pulse_oximeter(ABSENT, "SN-0").bonded());
        bluez.set_in_range(ABSENT, false).unwrap();
        let central = central("hci0", &listed);
        status(&bluez, &central, "it scans", |status| status.down.is_none()).await;
        let expected = visits.len();
        bluez.plan(visits);
        let mut links = JoinSet::new();
        for name in &listed {
            let link = BleLink::new(central.clone(), address(name), vec![SPOT], Demand::Bonded);
            links.spawn(collect(link, 2));
        }
        bluez.until("all visits are over", |world| world.outcomes().len() == expected).await.unwrap();
        let outcomes = bluez.look(|world| world.outcomes().to_vec());
        let mut waits: Vec<Duration> = outcomes.iter().filter_map(|outcome| outcome.said).collect();
        assert_eq!(waits.len(), expected, "somebody was not heard: {outcomes:?}");
        waits.sort();
        println!("from the first advertisement to the value: middle {:?}, worst {:?}", waits[waits.len() / 2], waits[waits.len() - 1]);
        let mut heard = Vec::new();
        while heard.len() < expected {
            heard.extend(soon("a link", links.join_next()).await.unwrap().unwrap());
        }
        heard.sort();
        let mut all: Vec<Vec<u8>> = (1..=20).flat_map(|n| [vec![0, n, 0, 60, 0], vec![0, n, 1, 60, 0]]).collect();
        all.sort();
        assert_eq!(heard, all);
    }
}

/// Connects whenever the device is there, subscribes, reads, hears one value, lets go; so many times.
async fn collect(mut link: BleLink, visits: usize) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    while heard.len() < visits {
        if link.open().await.is_err() {
            continue;
        }
        link.perform(LinkCommand::Subscribe(SPOT)).await.unwrap();
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        let mut values = Vec::new();
        let mut has_read = false;
        while values.is_empty() || !has_read {
            match link.next().await {
                LinkEvent::Value(SPOT, value) => values.push(value.to_vec()),
                LinkEvent::ReadDone(SERIAL, Ok(_)) => has_read = true,
                LinkEvent::Down(_) => break,
                LinkEvent::Subscribed(SPOT, Ok(())) => {}
                event @ (LinkEvent::Up
                | LinkEvent::Bytes(_)
                | LinkEvent::Value(..)
                | LinkEvent::ReadDone(..)
                | LinkEvent::Subscribed(..)
                | LinkEvent::Written(..)) => panic!("{event:?}"),
            }
        }
        heard.extend(values);
        link.close().await;
    }
    heard
}

#[test]
fn a_thousand_connections_leave_nothing_at_the_bus() {
    run("a_thousand_connections_leave_nothing_at_the_bus", async |bus| {
        let options = Options::new(1_000, 20, false);
        let (first, last) = reconnect(&bus, &options, |_| ()).await.unwrap();
        // The central's five and the double's one, and of the links nothing.
        assert_eq!((first.rules.all, last.rules.all), (6, 6));
        assert_eq!(last.rules.clients, 2);
        assert!(last.resident < first.resident + 4_096, "{first:?} {last:?}");
    });
}

#[test]
fn a_flood_of_signals_neither_piles_up_nor_leaves_rules_behind() {
    run("a_flood_of_signals_neither_piles_up_nor_leaves_rules_behind", async |bus| {
        // Twenty devices, each heard 500 times a second, connected or not.
        let (first, last) = reconnect(&bus, &Options::new(200, 20, true), |_| ()).await.unwrap();
        assert_eq!((first.rules.all, last.rules.all), (6, 6));
        assert!(last.resident < first.resident + 8_192, "{first:?} {last:?}");
    });
}
