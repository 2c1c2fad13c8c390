//! The BLE link, with btleplug unmodified, against a double of `org.bluez` on a private bus.
//!
//! btleplug finds the bus by an environment variable, which has to be there before the process
//! starts: every test runs itself again as a process of its own on a bus of its own.

#![cfg(all(target_os = "linux", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]

use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wardline::device::ble::Collector;
use wardline::device::catalogue::ble_profile;
use wardline::device::observation::Value;
use wardline::device::{Action, Driver, FaultKind};
use wardline::host::clock::SystemClock;
use wardline::host::random::SystemRandomness;
use wardline::lab::bluez::{Bluez, Bus, Emulated, StoredOximeter, World};
use wardline::link::ble::{Address, BleLink, Central, Demand, Handle, Presence, Security};
use wardline::link::{Characteristic, Link, LinkCommand, LinkError, LinkEvent, NOT_OFFERED, RequestId};
use wardline::time::{Clock, Now};

const BELT: &str = "F1:00:00:00:00:01";
const OXIMETER: &str = "F2:00:00:00:00:02";
const STRANGER: &str = "F9:00:00:00:00:09";

const HEART: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
const SPOT: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5E };
const CONTINUOUS: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5F };
const SERIAL: Characteristic = Characteristic { service: 0x180A, uuid: 0x2A25 };

/// Nothing here takes this long, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tests that run in a process and on a bus of their own.
macro_rules! on_a_private_bus {
    ($($(#[$attribute:meta])* async fn $name:ident($ward:ident: Ward) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                async fn scenario($ward: Ward) $body
                run(stringify!($name), scenario);
            }
        )*
    };
}

/// The environment of a child: where its bus is, and which process that is.
const FOLDER: &str = "WARDLINE_TEST_BUS_FOLDER";
const PROCESS: &str = "WARDLINE_TEST_BUS_PROCESS";

/// Runs the test of this name again, as a child with a private bus; or, as that child, the scenario.
fn run<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(Ward) -> F) {
    if let Some(address) = std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").filter(|_| is_child()) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bluez = Bluez::start(address.to_str().unwrap()).unwrap();
        return runtime.block_on(async {
            tokio::time::timeout(PATIENCE * 2, scenario(Ward::new(bluez))).await.expect("the scenario hangs");
        });
    }
    let bus = Bus::start().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
        .env(FOLDER, bus.folder())
        .env(PROCESS, bus.process().to_string())
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

/// A double, and a central whose allowlist has the belt and the oximeter.
struct Ward {
    bluez: Bluez,
    central: Handle,
}

impl Ward {
    fn new(bluez: Bluez) -> Self {
        Self::listing(bluez, &[BELT, OXIMETER])
    }

    #[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
    fn listing(bluez: Bluez, listed: &[&str]) -> Self {
        let (central, handle) = central("hci0", listed);
        tokio::spawn(central.run());
        Self { bluez, central: handle }
    }

    fn belt(&self) -> BleLink {
        BleLink::new(self.central.clone(), address(BELT), vec![HEART], Demand::Open)
    }

    fn oximeter(&self) -> BleLink {
        let wanted = vec![SPOT, CONTINUOUS];
        BleLink::new(self.central.clone(), address(OXIMETER), wanted, Demand::Open)
    }

    /// A belt in range, and a link to it that is open and subscribed.
    async fn subscribed_belt(&self) -> BleLink {
        self.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = self.belt();
        open(&mut link).await.unwrap();
        subscribe(&mut link, HEART).await;
        link
    }

    /// A bonded oximeter in range, and a link to it that is open and subscribed to its spot-checks.
    async fn bonded_oximeter(&self) -> BleLink {
        self.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2").bonded());
        let mut link = self.oximeter();
        open(&mut link).await.unwrap();
        subscribe(&mut link, SPOT).await;
        link
    }

    fn beat(&self, rate: u8) -> LinkEvent {
        self.bluez.notify(BELT, 0x2A37, &[0, rate]).unwrap();
        value(HEART, &[0, rate])
    }
}

fn central(adapter: &str, listed: &[&str]) -> (Central, Handle) {
    let listed: Vec<Address> = listed.iter().map(|text| address(text)).collect();
    Central::new(adapter, listed, Arc::new(SystemClock::default()), Box::new(SystemRandomness::new()))
}

/// The system's clock, so many seconds ahead.
#[derive(Default)]
struct Ahead(SystemClock, AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Now {
        let now = self.0.now();
        Now { mono: now.mono + Duration::from_secs(self.1.load(Ordering::Relaxed)), ..now }
    }
}

/// What `bluetoothctl trust` or `untrust` does to the oximeter.
fn say_trusted(trusted: bool) {
    // The double answers from a thread of its own.
    let channel = dbus::channel::Channel::get_private(dbus::channel::BusType::System).unwrap();
    let path = format!("/org/bluez/hci0/dev_{}", OXIMETER.replace(':', "_"));
    let properties = "org.freedesktop.DBus.Properties";
    let call = dbus::Message::new_method_call("org.bluez", path, properties, "Set").unwrap();
    let call = call.append3("org.bluez.Device1", "Trusted", dbus::arg::Variant(trusted));
    channel.send_with_reply_and_block(call, PATIENCE).unwrap();
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn value(of: Characteristic, octets: &[u8]) -> LinkEvent {
    LinkEvent::Value(of, Bytes::copy_from_slice(octets))
}

fn count(world: &World, member: &str) -> usize {
    world.calls().iter().filter(|call| call.member == member).count()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn open(link: &mut BleLink) -> Result<(), LinkError> {
    soon("the link to open", link.open()).await
}

async fn next(link: &mut BleLink) -> LinkEvent {
    soon("an event", link.next()).await
}

async fn subscribe(link: &mut BleLink, to: Characteristic) {
    link.perform(LinkCommand::Subscribe(to)).await.unwrap();
    assert_eq!(next(link).await, LinkEvent::Subscribed(to, Ok(())));
}

/// Subscribes, and takes so many values; the first of them can overtake the word that it was taken.
async fn values(link: &mut BleLink, to: Characteristic, count: usize) -> Vec<LinkEvent> {
    link.perform(LinkCommand::Subscribe(to)).await.unwrap();
    let mut events = Vec::new();
    while events.len() <= count {
        events.push(next(link).await);
    }
    let word = events.iter().position(|event| *event == LinkEvent::Subscribed(to, Ok(()))).unwrap();
    events.remove(word);
    events
}

/// Opens again after a failure, as a session does.
async fn reopen(link: &mut BleLink) {
    soon("the link to open again", async { while link.open().await.is_err() {} }).await;
}

/// A session in small: one driver on one link.
async fn drive_one(link: &mut BleLink, driver: &mut Collector) -> Vec<Action> {
    let event = next(link).await;
    drive(link, driver, &event).await
}

async fn drive(link: &mut BleLink, driver: &mut Collector, event: &LinkEvent) -> Vec<Action> {
    driver.handle_event(event, Now::default());
    let mut actions = Vec::new();
    while let Some(action) = driver.poll_action() {
        if let Action::Command(command) = action {
            link.perform(command).await.unwrap();
        } else {
            actions.push(action);
        }
    }
    actions
}

on_a_private_bus! {
    async fn every_value_arrives_once_and_in_order(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        let mut expected = Vec::new();
        for n in 0..1_000u16 {
            let [low, high] = n.to_le_bytes();
            ward.bluez.notify(BELT, 0x2A37, &[1, low, high]).unwrap();
            expected.push(value(HEART, &[1, low, high]));
        }
        for event in expected {
            assert_eq!(next(&mut link).await, event);
        }
    }

    async fn equal_values_in_a_row_are_as_many_events(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        for _ in 0..20 {
            ward.beat(72);
        }
        for _ in 0..20 {
            assert_eq!(next(&mut link).await, value(HEART, &[0, 72]));
        }
    }

    async fn two_characteristics_of_one_device_are_told_apart(ward: Ward) {
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2"));
        let mut link = ward.oximeter();
        open(&mut link).await.unwrap();
        subscribe(&mut link, SPOT).await;
        subscribe(&mut link, CONTINUOUS).await;
        for (of, octets) in [(CONTINUOUS, [0, 97, 0, 60, 0]), (SPOT, [0, 98, 0, 61, 0]), (CONTINUOUS, [0; 5])] {
            ward.bluez.notify(OXIMETER, of.uuid, &octets).unwrap();
            assert_eq!(next(&mut link).await, value(of, &octets));
        }
    }

    async fn two_devices_are_connected_at_the_same_time(ward: Ward) {
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2"));
        let mut heart = ward.subscribed_belt().await;
        let mut oximeter = ward.oximeter();
        open(&mut oximeter).await.unwrap();
        subscribe(&mut oximeter, SPOT).await;
        ward.bluez.notify(OXIMETER, 0x2A5E, &[0, 97, 0, 60, 0]).unwrap();
        let beat = ward.beat(72);
        assert_eq!(next(&mut heart).await, beat);
        assert_eq!(next(&mut oximeter).await, value(SPOT, &[0, 97, 0, 60, 0]));
    }

    async fn twenty_devices_stream_at_the_same_time(ward: Ward) {
        let addresses: Vec<String> = (1..=20).map(|n| format!("F5:00:00:00:00:{n:02X}")).collect();
        let listed: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let (central, handle) = central("hci0", &listed);
        let mut links = tokio::task::JoinSet::new();
        // A value can overtake the word that its subscription was taken: nothing is sent before all have it.
        let subscribed = Arc::new(tokio::sync::Barrier::new(addresses.len() + 1));
        for text in &addresses {
            ward.bluez.add(Emulated::heart_rate(text, text).bonded());
            let mut link = BleLink::new(handle.clone(), address(text), vec![HEART], Demand::Bonded);
            let subscribed = Arc::clone(&subscribed);
            links.spawn(async move {
                open(&mut link).await.unwrap();
                subscribe(&mut link, HEART).await;
                subscribed.wait().await;
                for n in 0..100 {
                    assert_eq!(next(&mut link).await, value(HEART, &[0, n]));
                }
            });
        }
        let story = async {
            soon("all subscriptions", subscribed.wait()).await;
            for n in 0..100 {
                for text in &addresses {
                    ward.bluez.notify(text, 0x2A37, &[0, n]).unwrap();
                }
            }
            soon("all values", links.join_all()).await;
        };
        tokio::select! {
            _ = central.run() => unreachable!(),
            () = story => {}
        }
        let connects = addresses.iter().map(|text| ward.bluez.look(|world| world.count(text, "Connect")));
        assert_eq!(connects.collect::<Vec<_>>(), [1; 20]);
    }

    async fn a_read_ends_with_its_value_which_does_not_come_twice(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::ReadDone(SERIAL, Ok(Bytes::from_static(b"SN-1"))));
        let beat = ward.beat(72);
        assert_eq!(next(&mut link).await, beat);
    }

    async fn what_the_device_does_not_have_is_not_offered(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        let battery = Characteristic { service: 0x180F, uuid: 0x2A19 };
        link.perform(LinkCommand::Read(battery)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::ReadDone(battery, Err(NOT_OFFERED.to_owned())));
        link.perform(LinkCommand::Subscribe(battery)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::Subscribed(battery, Err(NOT_OFFERED.to_owned())));
        link.perform(LinkCommand::Subscribe(SERIAL)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::Subscribed(SERIAL, Err(NOT_OFFERED.to_owned())));
    }

    async fn a_refused_read_and_a_refused_subscription_say_why(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = ward.belt();
        open(&mut link).await.unwrap();
        ward.bluez.fail("ReadValue", "org.bluez.Error.Failed", "Operation failed with ATT error: 0x05", 1);
        ward.bluez.fail("StartNotify", "org.bluez.Error.Failed", "Operation failed with ATT error: 0xfd", 1);
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        link.perform(LinkCommand::Subscribe(HEART)).await.unwrap();
        let event = next(&mut link).await;
        assert!(matches!(&event, LinkEvent::ReadDone(SERIAL, Err(why)) if why.contains("0x05")), "{event:?}");
        let event = next(&mut link).await;
        assert!(matches!(&event, LinkEvent::Subscribed(HEART, Err(why)) if why.contains("0xfd")), "{event:?}");
        subscribe(&mut link, HEART).await;
    }

    async fn what_was_sent_before_the_device_dropped_arrives_before_the_end(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        // The end comes another way than the values: often enough to meet the race between them.
        for round in 0..50 {
            let beats: Vec<LinkEvent> = (60..80).map(|rate| ward.beat(rate)).collect();
            ward.bluez.drop_connection(BELT).unwrap();
            for beat in beats {
                assert_eq!(next(&mut link).await, beat, "round {round}");
            }
            assert!(matches!(next(&mut link).await, LinkEvent::Down(LinkError::Lost { .. })));
            open(&mut link).await.unwrap();
            subscribe(&mut link, HEART).await;
        }
    }

    async fn a_hundred_reconnections_leave_nothing_behind(ward: Ward) {
        // The bus allows 64 match rules for each connection.
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = ward.belt();
        for n in 0..100 {
            open(&mut link).await.unwrap_or_else(|error| panic!("connection {n}: {error}"));
            subscribe(&mut link, HEART).await;
            let beat = ward.beat(60 + n);
            assert_eq!(next(&mut link).await, beat);
            if n % 2 == 0 {
                link.perform(LinkCommand::HangUp).await.unwrap();
            } else {
                ward.bluez.drop_connection(BELT).unwrap();
            }
            assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        }
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "Connect")), 100);
    }

    async fn hanging_up_disconnects_the_device(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        link.perform(LinkCommand::HangUp).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::Down(LinkError::HungUp));
        assert!(!ward.bluez.look(|world| world.is_connected(BELT)));
    }

    async fn a_connection_that_fails_is_tried_again_and_works(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        ward.bluez.fail("Connect", "org.bluez.Error.Failed", "le-connection-abort-by-local", 2);
        let mut link = ward.belt();
        for _ in 0..2 {
            let error = open(&mut link).await.unwrap_err();
            assert!(error.to_string().contains(BELT), "{error}");
            assert!(error.to_string().contains("le-connection-abort-by-local"), "{error}");
        }
        open(&mut link).await.unwrap();
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "Connect")), 3);
    }

    async fn a_failed_connection_is_not_left_half_open(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        ward.bluez.leave_half_open(BELT, 1).unwrap();
        let mut link = ward.belt();
        open(&mut link).await.unwrap_err();
        assert!(!ward.bluez.look(|world| world.is_connected(BELT)));
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "Disconnect")), 1);
        open(&mut link).await.unwrap();
    }

    async fn an_attempt_that_is_abandoned_is_disconnected_by_close(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        ward.bluez.delay("GetAll", Duration::from_secs(1));
        let mut link = ward.belt();
        tokio::select! {
            biased;
            seen = ward.bluez.until("it is connected", |world| world.is_connected(BELT)) => seen.unwrap(),
            _ = link.open() => panic!("opened too soon"),
        }
        link.close().await;
        assert!(!ward.bluez.look(|world| world.is_connected(BELT)));
    }

    async fn a_device_that_is_absent_is_waited_for_without_a_connection_attempt(ward: Ward) {
        let mut link = ward.belt();
        tokio::select! {
            _ = link.open() => panic!("nobody is there"),
            seen = ward.bluez.until("it scans", World::is_scanning) => seen.unwrap(),
        }
        assert_eq!(ward.central.status().listed[0], (address(BELT), Presence::Unknown));
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        open(&mut link).await.unwrap();
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "Connect")), 1);
        assert_eq!(ward.central.status().listed[0], (address(BELT), Presence::Sighted));
    }

    async fn what_a_device_indicates_at_the_moment_it_is_back_is_not_lost(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        for round in 0..3u8 {
            ward.bluez.drop_connection(OXIMETER).unwrap();
            assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
            // It has measured meanwhile, and says so as soon as it is connected.
            for n in 0..3 {
                ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, round, n, 0]);
            }
            open(&mut link).await.unwrap();
            let (lost, waiting) =
                ward.bluez.look(|world| (world.confirmed_to_nobody(OXIMETER), world.indications_waiting(OXIMETER)));
            assert_eq!((lost, waiting), (0, 0), "it spoke before anybody had asked, and was heard");
            let expected = [0, 1, 2].map(|n| value(SPOT, &[0, 97, round, n, 0]));
            assert_eq!(values(&mut link, SPOT, 3).await, expected);
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 98, round, 0, 0]);
            // Once each: this is the next.
            assert_eq!(next(&mut link).await, value(SPOT, &[0, 98, round, 0, 0]));
            // Whoever was registered until then is not any more.
            assert_eq!(ward.bluez.look(|world| world.subscribers(OXIMETER, 0x2A5E)), 1);
        }
    }

    async fn a_subscription_that_is_made_anew_writes_the_descriptor_anew(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        ward.bluez.drop_connection(OXIMETER).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        open(&mut link).await.unwrap();
        subscribe(&mut link, SPOT).await;
        let writes = || ward.bluez.look(|world| world.descriptor_writes(OXIMETER, 0x2A5E));
        let before = writes();
        subscribe(&mut link, SPOT).await;
        assert_eq!(writes(), before + 1);
    }

    async fn a_link_that_is_closed_leaves_nobody_registered(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        link.close().await;
        // An attempt, given up before its subscription.
        open(&mut link).await.unwrap();
        assert!(ward.bluez.look(|world| world.subscribers(OXIMETER, 0x2A5E)) > 0);
        link.close().await;
        ward.bluez.until("nobody is", |world| world.subscribers(OXIMETER, 0x2A5E) == 0).await.unwrap();
        // The device still is: it was disconnected first.
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 60, 0]);
        open(&mut link).await.unwrap();
        assert_eq!(values(&mut link, SPOT, 1).await, [value(SPOT, &[0, 97, 0, 60, 0])]);
        assert_eq!(ward.bluez.look(|world| world.confirmed_to_nobody(OXIMETER)), 0);
    }

    async fn what_came_too_early_outlives_its_connection(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        for round in 0..3 {
            ward.bluez.drop_connection(OXIMETER).unwrap();
            assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, round, 0]);
            open(&mut link).await.unwrap();
        }
        // One more attempt, which ends before the services are found.
        ward.bluez.drop_connection(OXIMETER).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 3, 0]);
        ward.bluez.go_on_connect(OXIMETER, 1).unwrap();
        open(&mut link).await.unwrap_err();
        open(&mut link).await.unwrap();
        assert_eq!(values(&mut link, SPOT, 4).await, [0, 1, 2, 3].map(|n| value(SPOT, &[0, 97, 0, n, 0])));
        assert_eq!(ward.central.status().values_lost, 0);
    }

    async fn what_is_too_much_to_be_kept_is_counted(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        ward.bluez.drop_connection(OXIMETER).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        for n in 0..100 {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, n, 0]);
        }
        open(&mut link).await.unwrap();
        // A driver that is slow to subscribe.
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::ReadDone(SERIAL, Ok(_))));
        let expected: Vec<LinkEvent> = (0..64).map(|n| value(SPOT, &[0, 97, 0, n, 0])).collect();
        assert_eq!(values(&mut link, SPOT, 64).await, expected);
        assert_eq!(ward.central.status().values_lost, 36);
    }

    async fn what_has_come_when_the_link_hangs_up_comes_before_the_end(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        for n in 0..20 {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, n, 0]);
        }
        link.perform(LinkCommand::HangUp).await.unwrap();
        for n in 0..20 {
            assert_eq!(next(&mut link).await, value(SPOT, &[0, 97, 0, n, 0]));
        }
        assert_eq!(next(&mut link).await, LinkEvent::Down(LinkError::HungUp));
    }

    async fn what_has_come_when_the_link_is_closed_comes_with_the_next_connection(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        subscribe(&mut link, CONTINUOUS).await;
        ward.bluez.notify(OXIMETER, 0x2A5F, &[0, 96, 0, 60, 0]).unwrap();
        for n in 0..20 {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, n, 0]);
        }
        link.close().await;
        open(&mut link).await.unwrap();
        subscribe(&mut link, CONTINUOUS).await;
        // Not the notification: it said what was so then.
        let expected: Vec<LinkEvent> = (0..20).map(|n| value(SPOT, &[0, 97, 0, n, 0])).collect();
        assert_eq!(values(&mut link, SPOT, 20).await, expected);
    }

    async fn an_indication_comes_once_while_its_subscription_is_made(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        ward.bluez.drop_connection(OXIMETER).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        open(&mut link).await.unwrap();
        // Long enough for whatever registrations there are to stand beside each other.
        ward.bluez.delay("StartNotify", Duration::from_millis(100));
        ward.bluez.delay("StopNotify", Duration::from_millis(300));
        let asked = |world: &World| world.count(OXIMETER, "StartNotify");
        let before = ward.bluez.look(asked);
        let said = [1, 2, 2, 3, 3];
        let story = async {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, said[0], 0]);
            ward.bluez.until("it is asked", |world| asked(world) > before).await.unwrap();
            // Two measurements can be equal.
            for n in &said[1..] {
                ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, *n, 0]);
            }
        };
        let (heard, ()) = tokio::join!(values(&mut link, SPOT, said.len()), story);
        assert_eq!(heard, said.map(|n| value(SPOT, &[0, 97, 0, n, 0])));
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 4, 0]);
        assert_eq!(next(&mut link).await, value(SPOT, &[0, 97, 0, 4, 0]), "nothing comes twice");
    }

    async fn what_came_over_a_connection_that_was_not_secure_is_never_given(ward: Ward) {
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2").bonded());
        let mut link = BleLink::new(ward.central.clone(), address(OXIMETER), vec![SPOT], Demand::Bonded);
        open(&mut link).await.unwrap();
        subscribe(&mut link, SPOT).await;
        // What a good connection left stays.
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 1, 0]);
        link.close().await;
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 2, 0]);
        ward.bluez.delay("Introspect", Duration::from_millis(500));
        let story = async {
            ward.bluez.until("it is connected", |world| world.is_connected(OXIMETER)).await.unwrap();
            say_trusted(false);
        };
        let (opened, ()) = tokio::join!(open(&mut link), story);
        assert!(matches!(opened, Err(LinkError::Insecure { .. })), "{opened:?}");
        assert_eq!(ward.bluez.look(|world| world.indications_waiting(OXIMETER)), 0, "it was said");
        assert_eq!(ward.central.status().values_lost, 1);
        ward.bluez.delay("Introspect", Duration::ZERO);
        say_trusted(true);
        open(&mut link).await.unwrap();
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 3, 0]);
        assert_eq!(values(&mut link, SPOT, 2).await, [1, 3].map(|n| value(SPOT, &[0, 97, 0, n, 0])));
    }

    async fn what_was_said_too_long_ago_is_counted_and_not_given(ward: Ward) {
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2").bonded());
        let clock = Arc::new(Ahead::default());
        let random = Box::new(SystemRandomness::new());
        let (central, handle) = Central::new("hci0", [address(OXIMETER)], Arc::clone(&clock) as _, random);
        let story = async {
            let mut link = BleLink::new(handle.clone(), address(OXIMETER), vec![SPOT], Demand::Bonded);
            open(&mut link).await.unwrap();
            subscribe(&mut link, SPOT).await;
            for (seconds, lost) in [(40, 0), (70, 1)] {
                ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 1, 0]);
                link.close().await;
                clock.1.fetch_add(seconds, Ordering::Relaxed);
                open(&mut link).await.unwrap();
                ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 2, 0]);
                let expected: Vec<LinkEvent> =
                    [1, 2].into_iter().skip(lost).map(|n| value(SPOT, &[0, 97, 0, n, 0])).collect();
                assert_eq!(values(&mut link, SPOT, 2 - lost).await, expected, "after {seconds} s");
                assert_eq!(handle.status().values_lost, lost as u64);
            }
            // Its time is that at which it was said, over however many connections.
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 3, 0]);
            for _ in 0..2 {
                link.close().await;
                clock.1.fetch_add(35, Ordering::Relaxed);
                open(&mut link).await.unwrap();
            }
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 4, 0]);
            assert_eq!(values(&mut link, SPOT, 1).await, [value(SPOT, &[0, 97, 0, 4, 0])]);
            assert_eq!(handle.status().values_lost, 2);
        };
        tokio::select! {
            _ = central.run() => unreachable!(),
            () = story => {}
        }
    }

    async fn what_nobody_took_in_time_is_counted_and_not_given(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        for n in 0..3 {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, n, 0]);
        }
        link.abandon().await;
        assert!(!ward.bluez.look(|world| world.is_connected(OXIMETER)));
        assert_eq!(ward.central.status().values_lost, 3);
        open(&mut link).await.unwrap();
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 9, 0]);
        assert_eq!(values(&mut link, SPOT, 1).await, [value(SPOT, &[0, 97, 0, 9, 0])]);
    }

    async fn the_answer_of_a_control_point_ends_with_its_connection(ward: Ward) {
        const CONTROL: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A52 };
        ward.bluez.add(StoredOximeter::emulated(OXIMETER, "SN-2").bonded());
        let wanted = vec![SPOT, CONTROL];
        let mut link = BleLink::new(ward.central.clone(), address(OXIMETER), wanted, Demand::Bonded);
        open(&mut link).await.unwrap();
        subscribe(&mut link, SPOT).await;
        subscribe(&mut link, CONTROL).await;
        ward.bluez.indicate(OXIMETER, 0x2A52, &[6, 0, 1, 1]);
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 1, 0]);
        link.close().await;
        open(&mut link).await.unwrap();
        subscribe(&mut link, CONTROL).await;
        assert_eq!(values(&mut link, SPOT, 1).await, [value(SPOT, &[0, 97, 0, 1, 0])]);
        assert_eq!(ward.central.status().values_lost, 0, "there was nothing in it to lose");
    }

    async fn what_a_link_still_holds_when_it_ends_is_counted(ward: Ward) {
        let mut link = ward.bonded_oximeter().await;
        for n in 0..2 {
            ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, n, 0]);
        }
        link.close().await;
        assert_eq!(ward.central.status().values_lost, 0);
        drop(link);
        assert_eq!(ward.central.status().values_lost, 2);
        // And one in the midst of a connection.
        let mut link = ward.bonded_oximeter().await;
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 2, 0]);
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        let heard = next(&mut link).await;
        assert_eq!(heard, value(SPOT, &[0, 97, 0, 2, 0]));
        ward.bluez.indicate(OXIMETER, 0x2A5E, &[0, 97, 0, 3, 0]);
        // Behind it on the way of the values.
        assert!(matches!(next(&mut link).await, LinkEvent::ReadDone(..)));
        link.perform(LinkCommand::HangUp).await.unwrap();
        drop(link);
        assert_eq!(ward.central.status().values_lost, 3);
    }

    async fn a_device_that_goes_out_of_range_comes_back(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        ward.bluez.set_in_range(BELT, false).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        ward.bluez.set_in_range(BELT, true).unwrap();
        open(&mut link).await.unwrap();
        subscribe(&mut link, HEART).await;
        let beat = ward.beat(72);
        assert_eq!(next(&mut link).await, beat);
    }

    async fn bluetoothd_dies_and_returns(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        let before = ward.beat(72);
        assert_eq!(next(&mut link).await, before);
        ward.bluez.die();
        let end = next(&mut link).await;
        assert!(matches!(&end, LinkEvent::Down(LinkError::Lost { reason, .. }) if !reason.is_empty()), "{end:?}");
        assert!(ward.central.status().down.unwrap().contains("org.bluez"));
        ward.bluez.come_back();
        reopen(&mut link).await;
        subscribe(&mut link, HEART).await;
        let after = ward.beat(73);
        assert_eq!(next(&mut link).await, after);
        assert_eq!(ward.central.status().down, None);
    }

    async fn the_bus_itself_dies_and_returns(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        let process = std::env::var_os(PROCESS).unwrap();
        assert!(Command::new("kill").arg("-9").arg(process).status().unwrap().success());
        assert!(matches!(next(&mut link).await, LinkEvent::Down(LinkError::Lost { .. })));
        assert!(ward.central.status().down.unwrap().contains("system bus"));

        let bus = Bus::start_in(Path::new(&std::env::var_os(FOLDER).unwrap())).unwrap();
        let ward = Ward { bluez: Bluez::start(&bus.address()).unwrap(), ..ward };
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        reopen(&mut link).await;
        subscribe(&mut link, HEART).await;
        let beat = ward.beat(72);
        assert_eq!(next(&mut link).await, beat);
    }

    async fn a_device_that_bluez_remembers_is_tried_without_being_heard(ward: Ward) {
        ward.bluez.die();
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1").bonded());
        ward.bluez.set_advertising(BELT, false).unwrap();
        ward.bluez.come_back();
        let mut link = ward.belt();
        reopen(&mut link).await;
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "Connect")), 1);
    }

    async fn a_device_that_is_still_connected_is_taken_over(ward: Ward) {
        let before = ward.subscribed_belt().await;
        ward.bluez.set_advertising(BELT, false).unwrap();
        // What a daemon that was killed leaves behind: a connection, and nobody who closes it.
        let ward = Ward::new(ward.bluez);
        let mut link = ward.belt();
        open(&mut link).await.unwrap();
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::ReadDone(SERIAL, Ok(Bytes::from_static(b"SN-1"))));
        drop(before);
    }

    async fn a_connected_device_that_is_listed_while_the_scan_runs_is_taken_over_at_once(ward: Ward) {
        let before = ward.subscribed_belt().await;
        ward.bluez.set_advertising(BELT, false).unwrap();
        // Its entry is taken away, and put back later: it is connected all the while and says nothing of itself.
        let ward = Ward::listing(ward.bluez, &[OXIMETER]);
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2"));
        let mut oximeter = ward.oximeter();
        open(&mut oximeter).await.unwrap();
        ward.central.set_listed([address(OXIMETER), address(BELT)]);
        let mut link = ward.belt();
        open(&mut link).await.unwrap();
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        assert_eq!(next(&mut link).await, LinkEvent::ReadDone(SERIAL, Ok(Bytes::from_static(b"SN-1"))));
        // The other saw nothing of it, and nobody else is taken over.
        oximeter.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        assert_eq!(next(&mut oximeter).await, LinkEvent::ReadDone(SERIAL, Ok(Bytes::from_static(b"SN-2"))));
        drop(before);
    }

    async fn an_adapter_that_is_switched_off_is_switched_on_again(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        ward.bluez.power_off();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        reopen(&mut link).await;
        subscribe(&mut link, HEART).await;
        let beat = ward.beat(72);
        assert_eq!(next(&mut link).await, beat);
    }

    async fn a_device_whose_object_is_removed_is_down_and_found_again(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        ward.bluez.remove_object(BELT).unwrap();
        assert!(matches!(next(&mut link).await, LinkEvent::Down(_)));
        reopen(&mut link).await;
        subscribe(&mut link, HEART).await;
        let beat = ward.beat(72);
        assert_eq!(next(&mut link).await, beat);
    }

    async fn a_radio_that_does_not_scan_at_first_is_tried_again(ward: Ward) {
        ward.bluez.die();
        ward.bluez.fail("StartDiscovery", "org.bluez.Error.NotReady", "Resource Not Ready", 2);
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        ward.bluez.come_back();
        let mut link = ward.belt();
        reopen(&mut link).await;
        assert!(ward.bluez.look(|world| count(world, "StartDiscovery")) >= 3);
    }

    async fn an_adapter_that_is_not_there_is_named(ward: Ward) {
        let (central, handle) = central("hci7", &[BELT]);
        let mut link = BleLink::new(handle, address(BELT), vec![HEART], Demand::Open);
        let error = tokio::select! {
            _ = central.run() => unreachable!(),
            result = open(&mut link) => result.unwrap_err(),
        };
        assert!(error.to_string().contains("there is no adapter hci7"), "{error}");
        drop(ward);
    }

    async fn an_unlisted_device_is_counted_and_nothing_else(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(STRANGER, "SN-9"));
        let mut link = ward.subscribed_belt().await;
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        next(&mut link).await;
        // The stranger was announced long before; its later advertisements are heard too.
        let heard = async {
            while ward.central.status().unlisted.adverts < 5 {
                tokio::task::yield_now().await;
                let beat = ward.beat(72);
                assert_eq!(next(&mut link).await, beat);
            }
        };
        soon("the stranger's advertisements", heard).await;
        assert_eq!(ward.central.status().unlisted.latest, [address(STRANGER)]);
        assert!(ward.bluez.look(|world| world.is_known(STRANGER)));

        // Even a link made for it by mistake does not reach it.
        let wanted = vec![HEART];
        let mut stray = BleLink::new(ward.central.clone(), address(STRANGER), wanted, Demand::Open);
        assert!(matches!(open(&mut stray).await, Err(LinkError::Denied { .. })));
        link.close().await;
        assert_eq!(ward.bluez.look(|world| world.calls_to(STRANGER)), []);
        assert!(ward.bluez.look(|world| world.count(BELT, "Connect")) > 0, "the log works");
    }

    async fn nothing_is_ever_written_to_a_device(ward: Ward) {
        let mut link = ward.subscribed_belt().await;
        let refused = link.perform(LinkCommand::Send(RequestId(0))).await;
        assert_eq!(refused, Err(LinkError::NotAllowed(RequestId(0))));
        link.perform(LinkCommand::Read(SERIAL)).await.unwrap();
        next(&mut link).await;
        link.close().await;
        let allowed = ["Connect", "Disconnect", "ReadValue", "StartNotify"];
        let calls = ward.bluez.look(|world| world.calls_to(BELT));
        assert!(calls.iter().all(|call| allowed.contains(&call.member.as_str())), "{calls:?}");
        assert!(calls.iter().any(|call| call.member == "StartNotify"), "the log works");
    }

    async fn a_device_without_the_bond_that_its_rule_demands_is_let_go(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        ward.bluez.add(Emulated::pulse_oximeter(OXIMETER, "SN-2").bonded());
        let mut link = BleLink::new(ward.central.clone(), address(BELT), vec![HEART], Demand::Bonded);
        let error = open(&mut link).await.unwrap_err();
        assert!(matches!(&error, LinkError::Insecure { reason, .. } if reason.contains("pair it")), "{error}");
        assert!(!ward.bluez.look(|world| world.is_connected(BELT)));
        assert_eq!(ward.bluez.look(|world| world.count(BELT, "StartNotify")), 0);

        let mut link = BleLink::new(ward.central.clone(), address(OXIMETER), vec![SPOT], Demand::Bonded);
        open(&mut link).await.unwrap();
        assert_eq!(link.security(), Some(Security::Bonded));
        let mut link = ward.belt();
        open(&mut link).await.unwrap();
        assert_eq!(link.security(), Some(Security::Open));
    }

    async fn a_device_of_another_kind_is_denied_and_let_go(ward: Ward) {
        ward.bluez.add(Emulated::pulse_oximeter(BELT, "SN-1"));
        let mut link = ward.belt().of_profiles("heart-rate");
        let error = open(&mut link).await.unwrap_err();
        let said = error.to_string();
        assert!(matches!(&error, LinkError::OtherKind { .. }), "{said}");
        assert!(said.contains("(heart-rate: 180D/2A37)"), "{said}");
        assert!(said.contains("it offers ") && said.contains("1822"), "{said}");
        assert!(!ward.bluez.look(|world| world.is_connected(BELT)));
    }

    async fn a_collector_identifies_observes_and_survives_malformed_values(ward: Ward) {
        ward.bluez.add(Emulated::heart_rate(BELT, "SN-1"));
        let mut link = ward.belt();
        let mut driver = Collector::new(vec![ble_profile("heart-rate").unwrap()]);
        open(&mut link).await.unwrap();
        let mut actions = drive(&mut link, &mut driver, &LinkEvent::Up).await;
        while !ward.bluez.look(|world| world.is_subscribed(BELT, 0x2A37)) {
            actions.extend(drive_one(&mut link, &mut driver).await);
        }
        let [Action::Identify(_, identity)] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(identity.serial.as_deref(), Some("SN-1"));
        assert_eq!(identity.maker.as_deref(), Some("Wardline Lab"));

        let malformed: [&[u8]; 4] = [&[], &[1, 72], &[0x10, 72], &[0x18, 72, 0]];
        for (n, octets) in (0u8..).zip(malformed) {
            ward.bluez.notify(BELT, 0x2A37, octets).unwrap();
            ward.beat(60 + n);
        }
        let mut faults = Vec::new();
        let mut rates = Vec::new();
        while rates.len() < malformed.len() {
            for action in drive_one(&mut link, &mut driver).await {
                match action {
                    Action::Report(fault) => faults.push(fault.kind),
                    Action::Observe(_, observation) => rates.push(observation.value),
                    Action::Command(_) | Action::Identify(..) | Action::Commit | Action::Gone(..) | Action::Remember(_) | Action::Pin(_) => panic!("{action:?}"),
                }
            }
        }
        assert_eq!(faults, [FaultKind::Malformed; 4]);
        let shown = |value: &Value| if let Value::Decimal(rate) = value { rate.to_string() } else { panic!() };
        assert_eq!(rates.iter().map(shown).collect::<Vec<_>>(), ["60", "61", "62", "63"]);
    }
}
