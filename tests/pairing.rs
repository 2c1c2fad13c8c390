//! `wardline pair` and `unpair` as processes, against a double of `org.bluez` on a private bus; and the daemon's
//! side of it.

#![cfg(all(target_os = "linux", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "pairing/bonds.rs"]
mod bonds;

use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wardline::cli::exit::Exit;
use wardline::host::clock::SystemClock;
use wardline::host::random::SystemRandomness;
use wardline::lab::bluez::{Bluez, Bus, Emulated, Pairs, Shows, World};
use wardline::link::ble::pairing::{BondClass, BondRule, Method, Proofs};
use wardline::link::ble::{Address, BleLink, Central, Demand};
use wardline::link::{Characteristic, Link, LinkError};

const METER: &str = "F1:00:00:00:00:01";
const STRANGER: &str = "F9:00:00:00:00:09";
const ADAPTER: &str = "C0:DE:00:00:00:01";
const PASSKEY: u32 = 123_456;
const SPOT: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5E };

const GATEWAY: &str = r#"
[gateway]
organisation = "org"
group = "ward"
id = "gw-1"
[uplink]
host = "broker.example.org"
authorities = "ca.pem"
certificate = "own.pem"
[store]
folder = "store"
"#;

/// A meter whose entry says nothing of pairing but what it protects.
const ENTRY: &str = r#"
[[device]]
id = "meter-7"
asset = "A7"
profiles = ["pulse-oximeter"]
address = "F1:00:00:00:00:01"
elements = "all"
protected = "180A/2A25"
expects = { maker = "Wardline Lab", serial = "SN-1" }
"#;

/// A bus with BlueZ on it, its keys, and a configuration.
struct Bench {
    bluez: Bluez,
    folder: tempfile::TempDir,
    bus: Bus,
}

/// What a command did.
#[derive(Debug)]
struct Done {
    code: i32,
    out: Value,
    err: String,
}

impl Bench {
    /// With the entry of one device.
    fn new(entry: &str) -> Self {
        Self::on(Bus::start().unwrap(), entry)
    }

    fn on(bus: Bus, entry: &str) -> Self {
        let bluez = Bluez::start(&bus.address()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("devices.d")).unwrap();
        put(&folder.path().join("gateway.toml"), GATEWAY);
        put(&folder.path().join("devices.d/one.toml"), entry);
        bluez.keep_keys_in(folder.path().join("bluetooth"));
        Self { bluez, folder, bus }
    }

    /// With a meter in range that shows its passkey.
    fn with_meter(entry: &str, pairs: Pairs) -> Self {
        let bench = Self::new(entry);
        bench.bluez.add(Emulated::pulse_oximeter(METER, "SN-1"));
        bench.bluez.set_pairs(METER, pairs);
        bench
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path())
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `wardline pair` for the meter, with JSON, and what more is said.
    fn start(&self, more: &[&str]) -> Child {
        let state = self.folder.path().join("bluetooth");
        let arguments = ["pair", "meter-7", "--json", "--bluez-state", state.to_str().unwrap()];
        self.command(&[&arguments, more].concat()).spawn().unwrap()
    }

    /// The same to its end, with something piped in.
    fn pair(&self, typed: &str, more: &[&str]) -> Done {
        let mut child = self.start(&[&["--passkey", "-"], more].concat());
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        end(child)
    }

    fn until(&self, what: &str, is_so: impl Fn(&World) -> bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.bluez.until(what, is_so)).unwrap();
    }

    fn look<T>(&self, at: impl FnOnce(&World) -> T) -> T {
        self.bluez.look(at)
    }

    fn count(&self, member: &str) -> usize {
        self.look(|world| world.calls().iter().filter(|call| call.member == member).count())
    }

    /// Whether the double has its name.
    fn has_bluez(&self) -> bool {
        let mut channel = dbus::channel::Channel::open_private(&self.bus.address()).unwrap();
        channel.register().unwrap();
        let dbus = "org.freedesktop.DBus";
        let call =
            dbus::Message::new_method_call(dbus, "/org/freedesktop/DBus", dbus, "NameHasOwner").unwrap();
        let answer = channel.send_with_reply_and_block(call.append1("org.bluez"), Duration::from_secs(10));
        answer.unwrap().get1().unwrap()
    }

    fn key_file_is_there(&self) -> bool {
        self.folder.path().join("bluetooth").join(ADAPTER).join(METER).join("info").exists()
    }

    /// Nothing is left of a pairing: no keys on either side of D-Bus, no open door.
    fn assert_nothing_is_left(&self) {
        assert!(!self.look(|world| world.is_bonded(METER)), "a bond is left");
        assert!(!self.look(|world| world.is_known(METER) && world.is_trusted(METER)));
        assert!(!self.key_file_is_there(), "a key file is left");
        assert!(!self.look(World::is_pairable), "the adapter is left pairable");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
fn put(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn end(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("ended by a signal: {err}"));
    let out = if out.is_empty() { Value::Null } else { serde_json::from_str(&out).expect(&out) };
    Done { code, out, err }
}

fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

impl Done {
    fn assert_failed(&self, exit: Exit, words: &str, rest: &str) {
        assert_eq!((self.code, &self.out["paired"]), (code(exit), &json!(false)), "{self:#?}");
        assert!(self.out["reason"].as_str().unwrap().contains(words), "{words:?} is not in {self:#?}");
        assert!(self.err.contains(words), "{self:#?}");
        assert_eq!(self.out["rest"], json!(rest), "{self:#?}");
    }
}

#[test]
fn the_right_passkey_pairs_proves_and_trusts() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let done = bench.pair("123456\n", &[]);
    assert_eq!(done.code, 0, "{done:#?}");
    let expected = json!({
        "device": "meter-7", "address": METER, "paired": true, "method": "passkey", "class": "A",
        "was_paired": false, "bond_proven": true,
        "identity": { "maker": "Wardline Lab", "model": "Oximeter 1", "serial": "SN-1", "firmware": "1.0" },
        "refused": { "impostor": 0, "closed": 0, "stranger": 0, "method": 0, "again": 0, "service": 0 },
    });
    assert_eq!(done.out, expected);
    assert!(bench.look(|world| world.is_bonded(METER) && world.is_trusted(METER)));
    assert!(!bench.look(World::is_pairable));
    assert!(bench.key_file_is_there());
    // The proof was read over a connection that came after the pairing.
    let members: Vec<String> =
        bench.look(|world| world.calls_to(METER)).into_iter().map(|c| c.member).collect();
    let place = |member: &str| members.iter().rposition(|found| found == member).unwrap();
    assert!(place("Pair") < place("Disconnect") && place("Disconnect") < place("Connect"), "{members:?}");
    assert!(
        place("Connect") < place("ReadValue") && place("ReadValue") < place("Set Trusted"),
        "{members:?}"
    );
}

#[test]
fn the_digits_may_come_late_and_after_a_typing_mistake() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(1));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    child.stdin.as_mut().unwrap().write_all(b"12345\n000 001\n").unwrap();
    let done = end(child);
    assert_eq!(done.code, 0, "{done:#?}");
    assert!(done.err.contains("these are not six digits"), "{done:#?}");
}

#[test]
fn a_wrong_passkey_leaves_nothing() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let done = bench.pair("654321\n", &[]);
    done.assert_failed(Exit::Failed, "the passkey or number was not the one of the device", "removed");
    bench.assert_nothing_is_left();
    // And the right one works then.
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
}

#[test]
fn nothing_typed_is_a_refusal() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    bench.pair("", &[]).assert_failed(Exit::Refused, "nothing was typed", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn another_device_than_expected_loses_its_bond() {
    let bench = Bench::new(ENTRY);
    bench.bluez.add(Emulated::pulse_oximeter(METER, "SN-2"));
    bench.bluez.set_pairs(METER, Pairs::passkey(PASSKEY));
    let done = bench.pair("123456\n", &[]);
    done.assert_failed(Exit::Refused, "its serial is \"SN-2\", its entry expects \"SN-1\"", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn a_device_of_another_kind_loses_its_bond() {
    let bench = Bench::new(ENTRY);
    bench.bluez.add(Emulated::heart_rate(METER, "SN-1"));
    bench.bluez.set_pairs(METER, Pairs::passkey(PASSKEY));
    bench.pair("123456\n", &[]).assert_failed(Exit::Refused, "(1822): it is another device", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn a_device_that_offers_only_just_works_is_refused_where_a_passkey_is_demanded() {
    // With a minimum that its keys would meet: it is the missing question that tells.
    let entry = ENTRY.replace("protected", "minimum_class = \"D\"\nprotected");
    for entry in [ENTRY, &entry] {
        let bench = Bench::with_meter(entry, Pairs::default());
        bench.pair("123456\n", &[]).assert_failed(Exit::Refused, "without asking for its passkey", "removed");
        bench.assert_nothing_is_left();
    }
}

#[test]
fn just_works_is_accepted_where_the_entry_says_so_and_nobody_types() {
    let entry = ENTRY.replace("protected", "pairing = \"just-works\"\nprotected");
    let bench = Bench::with_meter(&entry, Pairs { protected: vec![0x2A25], ..Pairs::default() });
    let done = end(bench.start(&[]));
    assert_eq!((done.code, &done.out["class"]), (0, &json!("B")), "{done:#?}");
    // A device that could show a passkey is not asked for it: that is another method than its entry's.
    let bench = Bench::with_meter(&entry, Pairs::passkey(PASSKEY));
    let done = end(bench.start(&[]));
    assert_eq!((done.code, &done.out["class"]), (0, &json!("B")), "{done:#?}");
    // Legacy keys that authenticate nobody are not enough by themselves.
    let bench = Bench::with_meter(&entry, Pairs { secure_connections: false, ..Pairs::default() });
    end(bench.start(&[])).assert_failed(Exit::Refused, "of class D", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn numbers_are_compared_here_and_another_one_ends_it() {
    let entry = ENTRY.replace("protected", "pairing = \"numeric\"\nprotected");
    let pairs = Pairs { shows: Shows::DigitsAndYesNo(PASSKEY), ..Pairs::default() };
    let bench = Bench::with_meter(&entry, pairs.clone());
    let done = bench.pair("123456\n", &[]);
    assert_eq!((done.code, &done.out["class"]), (0, &json!("A")), "{done:#?}");
    assert!(!done.err.contains("123456"), "the number must be read off the device: {done:#?}");

    let bench = Bench::with_meter(&entry, pairs);
    bench.pair("123457\n", &[]).assert_failed(Exit::Refused, "shows another number", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn keys_that_are_too_weak_do_not_stay() {
    let legacy = Pairs { secure_connections: false, ..Pairs::passkey(PASSKEY) };
    let low = ENTRY.replace("protected", "minimum_class = \"D\"\nprotected");
    for (entry, pairs, words) in [
        (ENTRY, legacy.clone(), "of class C (legacy pairing, authenticated), its entry demands at least A"),
        (&low, Pairs { key_size: 15, ..Pairs::passkey(PASSKEY) }, "15 of 16 octets"),
        (&low, Pairs { debug_keys: true, ..Pairs::passkey(PASSKEY) }, "the debug keys that everybody knows"),
    ] {
        let bench = Bench::with_meter(entry, pairs);
        bench.pair("123456\n", &[]).assert_failed(Exit::Refused, words, "removed");
        bench.assert_nothing_is_left();
    }
    let done = Bench::with_meter(&low, legacy).pair("123456\n", &[]);
    assert_eq!((done.code, &done.out["class"]), (0, &json!("C")), "{done:#?}");
}

#[test]
fn who_cannot_read_what_a_bond_is_worth_pairs_nothing() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    std::fs::remove_dir_all(bench.folder.path().join("bluetooth")).unwrap();
    bench.pair("123456\n", &[]).assert_failed(Exit::Refused, "run this as root", "nothing");
    assert_eq!(bench.count("Pair"), 0);
    assert_eq!(bench.count("RegisterAgent"), 0);
}

#[test]
fn keys_that_bluez_did_not_file_are_taken_back() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    // The file goes elsewhere from here on.
    bench.bluez.keep_keys_in(bench.folder.path().join("elsewhere"));
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    end(child).assert_failed(Exit::Refused, "never taken for good", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn a_stranger_that_pairs_during_the_window_is_refused_and_counted() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    bench.bluez.add(Emulated::heart_rate(STRANGER, "SN-9"));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    bench.bluez.attempt_pairing(STRANGER);
    bench.until("the stranger has its answer", |world| !world.attempts().is_empty());
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    let done = end(child);
    assert_eq!((done.code, &done.out["refused"]["stranger"]), (0, &json!(1)), "{done:#?}");
    assert!(done.err.contains("refused meanwhile: stranger 1"), "{done:#?}");
    assert_eq!(bench.look(|world| world.attempts().to_vec()), [(STRANGER.to_owned(), false)]);
    assert!(bench.look(|world| world.is_bonded(METER) && !world.is_bonded(STRANGER)));
}

#[test]
fn somebody_else_on_the_bus_who_plays_bluez_is_refused_and_counted() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    let answers = ask_all_agents(&bench.bus);
    assert_eq!(answers, ["org.bluez.Error.Rejected"]);
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    let done = end(child);
    assert_eq!((done.code, &done.out["refused"]["impostor"]), (0, &json!(1)), "{done:#?}");
}

/// Asks every connection of the bus for the meter's passkey. Gives the errors of those that have an agent.
fn ask_all_agents(bus: &Bus) -> Vec<String> {
    let mut channel = dbus::channel::Channel::open_private(&bus.address()).unwrap();
    channel.register().unwrap();
    let limit = Duration::from_secs(10);
    let dbus = "org.freedesktop.DBus";
    let list = dbus::Message::new_method_call(dbus, "/org/freedesktop/DBus", dbus, "ListNames").unwrap();
    let names: Vec<String> = channel.send_with_reply_and_block(list, limit).unwrap().get1().unwrap();
    let own = channel.unique_name().unwrap().to_owned();
    let mut errors = Vec::new();
    for name in names.into_iter().filter(|name| name.starts_with(':') && *name != own) {
        let agent = "org.bluez.Agent1";
        let call =
            dbus::Message::new_method_call(name, "/org/wardline/agent", agent, "RequestPasskey").unwrap();
        let call = call.append1(dbus::Path::from("/org/bluez/hci0/dev_F1_00_00_00_00_01"));
        let error = channel.send_with_reply_and_block(call, limit).expect_err("nobody may give it");
        errors.extend(error.name().filter(|name| name.starts_with("org.bluez.")).map(str::to_owned));
    }
    errors
}

#[test]
fn a_bond_that_holds_is_looked_at_and_left_alone() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    let done = bench.pair("", &[]);
    assert_eq!((done.code, &done.out["was_paired"]), (0, &json!(true)), "{done:#?}");
    assert_eq!(done.out["bond_proven"], json!(true), "{done:#?}");
    assert_eq!((bench.count("Pair"), bench.count("RemoveDevice")), (1, 0));
}

#[test]
fn a_bond_that_the_device_lost_is_told_and_made_anew_only_when_asked_for() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    bench.bluez.lose_bond(METER);
    let done = bench.pair("123456\n", &[]);
    done.assert_failed(Exit::Failed, "it has lost its keys", "nothing");
    assert!(done.err.contains("--replace"), "{done:#?}");
    assert_eq!((bench.count("Pair"), bench.count("RemoveDevice")), (1, 0), "nothing was changed");
    assert!(bench.look(|world| world.is_bonded(METER)));

    let done = bench.pair("123456\n", &["--replace"]);
    assert_eq!((done.code, &done.out["was_paired"]), (0, &json!(false)), "{done:#?}");
    assert_eq!((bench.count("Pair"), bench.count("RemoveDevice")), (2, 1));
}

#[test]
fn a_read_that_lacks_keys_is_a_bond_that_is_lost() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    for (error, text) in [
        ("org.bluez.Error.NotPermitted", "Not paired"),
        ("org.bluez.Error.Failed", "Operation failed with ATT error: 0x0f"),
    ] {
        bench.bluez.fail("ReadValue", error, text, 1);
        let done = bench.pair("123456\n", &[]);
        done.assert_failed(Exit::Failed, "its bond is lost or was changed", "nothing");
    }
    assert_eq!((bench.count("Pair"), bench.count("RemoveDevice")), (1, 0), "nothing was changed");
}

#[test]
fn a_bond_that_does_not_hold_over_a_new_connection_is_removed() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    bench.bluez.delay("Disconnect", Duration::from_secs(2));
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    bench.until("the first connection is to end", |world| world.count(METER, "ReadValue") >= 4);
    bench.bluez.lose_bond(METER);
    let done = end(child);
    assert_eq!((done.code, &done.out["rest"]), (code(Exit::Failed), &json!("removed")), "{done:#?}");
    bench.assert_nothing_is_left();
}

#[test]
fn a_device_that_is_not_heard_ends_the_window() {
    let bench = Bench::new(ENTRY);
    let done = bench.pair("123456\n", &["--window", "300ms"]);
    done.assert_failed(Exit::Failed, "while waiting for the device to be heard", "nothing");
    bench.assert_nothing_is_left();
}

#[test]
fn a_person_who_does_not_type_ends_the_window() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    // Standard input stays open, and nothing comes.
    let mut child = bench.start(&["--passkey", "-", "--window", "4s"]);
    let open = child.stdin.take();
    let done = end(child);
    drop(open);
    done.assert_failed(Exit::Failed, "while waiting for what the device shows", "removed");
    assert_eq!(bench.count("CancelPairing"), 1);
    bench.assert_nothing_is_left();
}

#[test]
fn bluetoothd_that_dies_in_the_middle_is_told_with_what_may_be_left() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    bench.bluez.die();
    let done = end(child);
    done.assert_failed(Exit::Failed, "bluetoothd went away", "unknown");
    assert!(done.err.contains("wardline unpair"), "{done:#?}");
    // When it is back, nothing is in the way.
    bench.bluez.come_back();
    while !bench.has_bluez() {}
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
}

#[test]
fn without_bluetoothd_adapter_or_power_it_says_so() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    bench.bluez.power_off();
    bench.pair("123456\n", &[]).assert_failed(Exit::Failed, "hci0 is switched off", "nothing");
    let bench =
        Bench::with_meter(&ENTRY.replace("elements", "adapter = \"hci3\"\nelements"), Pairs::default());
    bench.pair("123456\n", &[]).assert_failed(Exit::Failed, "there is no adapter hci3", "nothing");
    drop(bench.bluez);
    let state = bench.folder.path().join("bluetooth");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.args(["pair", "meter-7", "--passkey", "-", "--json", "--bluez-state", state.to_str().unwrap()]);
    command.arg("--config").arg(bench.folder.path()).env("DBUS_SYSTEM_BUS_ADDRESS", bench.bus.address());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    end(command.spawn().unwrap()).assert_failed(Exit::Failed, "is bluetooth.service running?", "nothing");
}

#[test]
fn a_signal_takes_everything_back() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-"]);
    let open = child.stdin.take();
    bench.until("the passkey is asked for", World::is_asking);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let done = end(child);
    drop(open);
    done.assert_failed(Exit::Failed, "stopped by SIGTERM", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn what_cannot_be_paired_is_said_before_anything_is_done() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let run = |arguments: &[&str]| end(bench.command(arguments).spawn().unwrap());
    let done = run(&["pair", "meter-8"]);
    assert!(done.code == code(Exit::Usage) && done.err.contains("not on the allowlist"), "{done:#?}");
    let done = run(&["pair", "F1:00:00:00:00:02"]);
    assert!(done.code == code(Exit::Usage) && done.err.contains("not on the allowlist"), "{done:#?}");
    // Nobody can type: a pipe is no terminal, and nobody said that it holds the digits.
    let done = run(&["pair", "f1:00:00:00:00:01"]);
    assert!(done.code == code(Exit::Refused) && done.err.contains("--passkey -"), "{done:#?}");
    let done = run(&["pair", "meter-7", "--passkey", "123456"]);
    assert_eq!(done.code, code(Exit::Usage), "a passkey is never an argument: {done:#?}");
    let done = run(&["pair", "meter-7", "--passkey", "-", "--window", "2h"]);
    assert!(done.code == code(Exit::Usage) && done.err.contains("from 100ms to 1h"), "{done:#?}");

    let open = ENTRY.replace("protected = \"180A/2A25\"", "security = \"open\"");
    let bench = Bench::with_meter(&open, Pairs::passkey(PASSKEY));
    let done = end(bench.start(&["--passkey", "-"]));
    assert!(done.code == code(Exit::Refused) && done.err.contains("needs no pairing"), "{done:#?}");
    assert_eq!(bench.count("Pair"), 0);
}

#[test]
fn without_a_protected_characteristic_no_proof_is_claimed() {
    let bench = Bench::with_meter(&ENTRY.replace("protected = \"180A/2A25\"", ""), Pairs::passkey(PASSKEY));
    let done = bench.pair("123456\n", &[]);
    assert_eq!((done.code, &done.out["bond_proven"]), (0, &json!(false)), "{done:#?}");
    let bench = Bench::with_meter(&ENTRY.replace("180A/2A25", "180A/2A27"), Pairs::passkey(PASSKEY));
    bench.pair("123456\n", &[]).assert_failed(Exit::Refused, "does not offer 180A/2A27", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn keys_that_are_made_but_not_kept_are_no_bond() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    bench.bluez.set_pairable(false);
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    end(child).assert_failed(Exit::Failed, "BlueZ did not keep the keys", "removed");
    bench.assert_nothing_is_left();
}

#[test]
fn the_list_shows_what_is_heard_of_the_allowlist_and_nothing_else() {
    let second = ENTRY.replace("meter-7", "meter-8").replace("A7", "A8").replace("00:01", "00:02");
    let bench = Bench::with_meter(&format!("{ENTRY}{second}"), Pairs::passkey(PASSKEY));
    bench.bluez.add(Emulated::heart_rate(STRANGER, "SN-9"));
    let done = end(bench.command(&["pair", "--list", "--json", "--window", "3s"]).spawn().unwrap());
    assert_eq!(done.code, 0, "{done:#?}");
    let devices = done.out["devices"].as_array().unwrap();
    assert_eq!(devices.len(), 1, "{done:#?}");
    assert_eq!((&devices[0]["device"], &devices[0]["paired"]), (&json!("meter-7"), &json!(false)));
    assert!((-51..=-50).contains(&devices[0]["strength_dbm"].as_i64().unwrap()), "{done:#?}");
    assert_eq!(bench.look(|world| world.calls_to(STRANGER)), []);
}

#[test]
fn unpair_removes_the_keys_when_it_is_confirmed() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    let done = end(bench.command(&["unpair", "meter-7", "--json"]).spawn().unwrap());
    assert!(done.code == code(Exit::Refused) && done.err.contains("--yes"), "{done:#?}");
    assert!(bench.look(|world| world.is_bonded(METER)));
    let run = || end(bench.command(&["unpair", METER, "--yes", "--json"]).spawn().unwrap());
    let done = run();
    assert_eq!(done.code, 0, "{done:#?}");
    assert_eq!(
        done.out,
        json!({"device": "meter-7", "address": METER, "was_known": true, "was_paired": true})
    );
    bench.assert_nothing_is_left();
    let done = run();
    assert_eq!((done.code, &done.out["was_paired"]), (0, &json!(false)), "{done:#?}");
}

/// Runs the test of this name again in a process of its own, where btleplug finds the private bus.
fn beside_the_daemon<F: Future<Output = ()>>(name: &str, scenario: impl FnOnce(Bench) -> F) {
    // Not of the prefix of the configuration, which the command under test reads.
    const CHILD: &str = "TEST_OF_PAIRING_BESIDE_THE_DAEMON";
    if std::env::var_os(CHILD).is_some() {
        let address = std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").unwrap();
        let folder = address.to_str().unwrap().strip_prefix("unix:path=").unwrap();
        let bus = Bus::start_in(Path::new(folder).parent().unwrap()).unwrap();
        let bench = Bench::on(bus, ENTRY);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), scenario(bench)).await.expect("the scenario hangs");
        });
    }
    let folder = tempfile::Builder::new().prefix("wl").tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}/bus", folder.path().display()))
        .env(CHILD, "yes")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{name} failed:\n{out}\n{err}");
}

/// What the daemon of this configuration knows of bonds.
fn proofs(bench: &Bench) -> Proofs {
    Proofs::beside(&bench.folder.path().join("store")).with_keys_in(bench.folder.path().join("bluetooth"))
}

/// A daemon with a meter that has no bond.
fn daemon(bench: &Bench) -> (wardline::link::ble::Handle, BleLink) {
    let daemon = daemon_alone(bench);
    bench.bluez.add(Emulated::pulse_oximeter(METER, "SN-1"));
    bench.bluez.set_pairs(METER, Pairs::passkey(PASSKEY));
    daemon
}

#[expect(clippy::disallowed_methods, reason = "the test takes the supervisor's place")]
fn daemon_alone(bench: &Bench) -> (wardline::link::ble::Handle, BleLink) {
    let address: Address = METER.parse().unwrap();
    let random = Box::new(SystemRandomness::new());
    let (central, handle) = Central::new("hci0", [address], Arc::new(SystemClock::default()), random);
    tokio::spawn(central.run());
    let rule = BondRule { method: Method::Passkey, minimum: BondClass::A, protected: None };
    let link = BleLink::new(handle.clone(), address, vec![SPOT], Demand::Proven(rule, proofs(bench)));
    (handle, link)
}

#[test]
fn the_daemon_refuses_every_pairing_from_outside_and_counts_it() {
    beside_the_daemon("the_daemon_refuses_every_pairing_from_outside_and_counts_it", async |bench| {
        let (handle, _link) = daemon(&bench);
        bench.bluez.add(Emulated::heart_rate(STRANGER, "SN-9"));
        let until =
            async |what, is_so: &dyn Fn(&World) -> bool| bench.bluez.until(what, is_so).await.unwrap();
        until("it scans", &World::is_scanning).await;
        // The daemon has ended what was left of that by now.
        bench.bluez.set_pairable(true);
        for (n, address) in (1..).zip([STRANGER, METER, STRANGER]) {
            bench.bluez.attempt_pairing(address);
            until("it has its answer", &|world| world.attempts().len() == n).await;
        }
        assert!(bench.look(|world| world.attempts().iter().all(|(_, accepted)| !accepted)));
        assert_eq!(handle.status().pairing_refused, 3);
        assert!(!bench.look(|world| world.is_bonded(STRANGER) || world.is_bonded(METER)));

        // And so it does after bluetoothd was started again.
        bench.bluez.die();
        while bench.has_bluez() {}
        bench.bluez.come_back();
        bench.bluez.set_pairable(true);
        until("it scans again", &World::is_scanning).await;
        bench.bluez.attempt_pairing(STRANGER);
        until("it has its answer", &|world| world.attempts().len() == 4).await;
        assert_eq!(handle.status().pairing_refused, 4);
    });
}

#[test]
fn the_daemon_leaves_a_device_without_bond_alone_while_it_is_paired_and_then_reads_it() {
    let name = "the_daemon_leaves_a_device_without_bond_alone_while_it_is_paired_and_then_reads_it";
    beside_the_daemon(name, async |bench| {
        let (_handle, mut link) = daemon(&bench);
        bench.bluez.until("it scans", World::is_scanning).await.unwrap();
        for _ in 0..3 {
            let denied = link.open().await.unwrap_err();
            assert!(
                matches!(&denied, LinkError::Insecure { reason, .. } if reason.contains("pair it")),
                "{denied}"
            );
        }
        assert_eq!(
            bench.look(|world| world.count(METER, "Connect")),
            0,
            "it was connected to without a bond"
        );
        let mut child = bench.start(&["--passkey", "-"]);
        bench.bluez.until("the passkey is asked for", World::is_asking).await.unwrap();
        assert!(matches!(link.open().await, Err(LinkError::Insecure { .. })));
        assert!(
            bench.look(|world| world.is_connected(METER)),
            "the daemon ended the connection of the pairing"
        );
        child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
        let paired = async { while link.open().await.is_err() {} };
        let ((), done) = tokio::join!(paired, async { tokio::task::block_in_place(|| end(child)) });
        assert_eq!(done.code, 0, "{done:#?}");
        assert!(bench.look(|world| world.is_bonded(METER) && world.is_trusted(METER)));
    });
}
