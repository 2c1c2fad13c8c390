//! No bond is trusted that `wardline pair` did not prove, and who pairs leaves a trace.

use wardline::link::ble::pairing::proof::{Bond, Proof, Unproven};

use super::*;

/// A device that BlueZ has keys of, and that nobody said anything good of.
fn add_bonded(bench: &Bench, trusted: bool) {
    bench.bluez.add(Emulated { trusted, ..Emulated::pulse_oximeter(METER, "SN-1").bonded() });
    bench.bluez.set_pairs(METER, Pairs::passkey(PASSKEY));
}

/// What `bluetoothctl trust` does, or `untrust`.
fn say_trusted(bench: &Bench, trusted: bool) {
    let mut channel = dbus::channel::Channel::open_private(&bench.bus.address()).unwrap();
    channel.register().unwrap();
    let path = format!("/org/bluez/hci0/dev_{}", METER.replace(':', "_"));
    let properties = "org.freedesktop.DBus.Properties";
    let call = dbus::Message::new_method_call("org.bluez", path, properties, "Set").unwrap();
    let call = call.append3("org.bluez.Device1", "Trusted", dbus::arg::Variant(trusted));
    channel.send_with_reply_and_block(call, Duration::from_secs(10)).unwrap();
}

/// `bluetoothd` starts again: what it has keys of it remembers, and has not heard yet.
fn start_again(bench: &Bench) {
    bench.bluez.die();
    while bench.has_bluez() {}
    bench.bluez.come_back();
    while !bench.has_bluez() {}
}

/// Waits for a command that could hang.
fn end_in_time(child: Child) -> Done {
    let (sender, done) = std::sync::mpsc::sync_channel(1);
    #[expect(clippy::disallowed_methods, reason = "a test's own, which ends with what it waits for")]
    std::thread::spawn(move || sender.send(end(child)));
    done.recv_timeout(Duration::from_secs(20)).expect("it hangs")
}

/// Another configuration with a store of its own on the same bus.
fn neighbour(bench: &Bench) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("devices.d")).unwrap();
    for name in ["gateway.toml", "devices.d/one.toml"] {
        std::fs::copy(bench.folder.path().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn the_daemon_leaves_a_bond_alone_that_is_not_trusted() {
    let name = "bonds::the_daemon_leaves_a_bond_alone_that_is_not_trusted";
    beside_the_daemon(name, async |bench| {
        let (_handle, mut link) = daemon_alone(&bench);
        bench.bluez.until("it scans", World::is_scanning).await.unwrap();
        add_bonded(&bench, false);
        for _ in 0..2 {
            let denied = link.open().await.unwrap_err();
            let LinkError::Insecure { reason, .. } = &denied else { panic!("{denied}") };
            assert!(reason.contains("not trusted") && reason.contains("wardline pair"), "{reason}");
        }
        assert_eq!(bench.look(|world| world.count(METER, "Connect")), 0, "it was connected to");
    });
}

#[test]
fn an_adapter_may_be_named_by_its_address() {
    let entry = ENTRY.replace("elements", &format!("adapter = \"{ADAPTER}\"\nelements"));
    let bench = Bench::with_meter(&entry, Pairs::passkey(PASSKEY));
    let done = bench.pair("123456\n", &[]);
    assert_eq!((done.code, &done.out["class"]), (0, &json!("A")), "{done:#?}");
    let entry = ENTRY.replace("elements", "adapter = \"C0:DE:00:00:00:02\"\nelements");
    let bench = Bench::with_meter(&entry, Pairs::passkey(PASSKEY));
    let done = bench.pair("123456\n", &[]);
    done.assert_failed(Exit::Failed, "there is no adapter C0:DE:00:00:00:02", "nothing");
}

#[test]
fn who_comes_second_leaves_the_first_ones_pairing_alone() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut first = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    let other = neighbour(&bench);
    let state = bench.folder.path().join("bluetooth");
    let mut second = Command::new(env!("CARGO_BIN_EXE_wardline"));
    second.args(["pair", "meter-7", "--passkey", "-", "--json", "--bluez-state", state.to_str().unwrap()]);
    second.arg("--config").arg(other.path()).env("DBUS_SYSTEM_BUS_ADDRESS", bench.bus.address());
    second.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = end_in_time(second.spawn().unwrap());
    done.assert_failed(Exit::Failed, "somebody else is pairing it", "nothing");
    first.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    let done = end_in_time(first);
    assert_eq!((done.code, &done.out["class"]), (0, &json!("A")), "{done:#?}");
    assert_eq!((bench.count("CancelPairing"), bench.count("RemoveDevice")), (0, 0));
    assert!(bench.look(|world| world.is_bonded(METER) && world.is_trusted(METER)));
}

#[test]
fn one_at_a_time_pairs_at_an_adapter_and_the_next_is_told_who() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut first = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    let done = bench.pair("123456\n", &[]);
    let who = format!("process {}", first.id());
    done.assert_failed(Exit::Refused, &who, "nothing");
    assert!(done.err.contains("meter-7"), "{done:#?}");
    let done = end(bench.command(&["unpair", METER, "--yes", "--json"]).spawn().unwrap());
    assert!(done.code == code(Exit::Refused) && done.err.contains(&who), "{done:#?}");
    assert_eq!((bench.count("RegisterAgent"), bench.count("Pair"), bench.count("RemoveDevice")), (1, 1, 0));
    first.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    assert_eq!(end_in_time(first).code, 0);
}

#[test]
fn an_old_bond_stays_until_its_device_was_heard() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    bench.bluez.set_in_range(METER, false).unwrap();
    start_again(&bench);
    let done = bench.pair("123456\n", &["--replace", "--window", "300ms"]);
    done.assert_failed(Exit::Failed, "while waiting for the device to be heard", "nothing");
    assert_eq!(bench.count("RemoveDevice"), 0, "the old bond was thrown away");
    assert!(bench.look(|world| world.is_bonded(METER)) && bench.key_file_is_there());
    // It is as good as it was.
    bench.bluez.set_in_range(METER, true).unwrap();
    let done = bench.pair("", &[]);
    assert_eq!((done.code, &done.out["was_paired"]), (0, &json!(true)), "{done:#?}");
}

#[test]
fn an_old_bond_that_is_gone_is_said_to_be_gone() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    let done = bench.pair("654321\n", &["--replace"]);
    done.assert_failed(Exit::Failed, "the passkey or number was not the one", "old-removed");
    assert!(done.err.contains("The old bond is gone"), "{done:#?}");
    bench.assert_nothing_is_left();
    assert_eq!(bench.pair("123456\n", &[]).code, 0, "it can be paired anew without more words");
}

#[test]
fn an_old_bond_that_could_not_be_thrown_away_is_not_said_to_be_gone() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    bench.bluez.fail("RemoveDevice", "org.bluez.Error.Failed", "it is stuck", 1);
    let done = bench.pair("123456\n", &["--replace"]);
    done.assert_failed(Exit::Failed, "it is stuck", "unknown");
    assert!(bench.look(|world| world.is_bonded(METER)));
}

#[test]
fn who_paired_what_and_how_it_ended_is_in_the_audit_log() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    bench.pair("654321\n", &[]);
    bench.pair("123456\n", &[]);
    end(bench.command(&["unpair", METER, "--yes", "--json"]).spawn().unwrap());
    let done = end(bench.command(&["audit", "--json"]).spawn().unwrap());
    assert_eq!((done.code, &done.out["sound"]), (0, &json!(true)), "{done:#?}");
    let entries = done.out["entries"].as_array().unwrap();
    let told: Vec<_> = entries.iter().map(|e| (e["action"].as_str().unwrap(), &e["about"])).collect();
    let actions: Vec<_> = told.iter().map(|(action, _)| *action).collect();
    assert_eq!(actions, ["pair", "pair-end", "pair", "pair-end", "unpair", "unpair-end"], "{done:#?}");
    let uid = json!(rustix::process::getuid().as_raw());
    for entry in entries {
        assert_eq!((&entry["uid"], &entry["about"]["device"]), (&uid, &json!("meter-7")), "{entry:#?}");
        assert_eq!(entry["about"]["address"], json!(METER), "{entry:#?}");
    }
    assert_eq!((&told[1].1["paired"], &told[1].1["rest"]), (&json!(false), &json!("removed")));
    assert!(told[1].1["reason"].as_str().unwrap().contains("the passkey or number was not the one"));
    assert_eq!((&told[3].1["paired"], &told[3].1["class"]), (&json!(true), &json!("A")));
    assert_eq!(told[5].1["was_paired"], json!(true));
    assert!(!done.out.to_string().contains("123456"), "a passkey is nobody's business: {done:#?}");
}

#[test]
fn who_cannot_leave_a_trace_pairs_nothing() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    std::fs::create_dir(bench.folder.path().join("audit.jsonl")).unwrap();
    let done = bench.pair("123456\n", &[]);
    assert!(done.code == code(Exit::Failed) && done.err.contains("audit"), "{done:#?}");
    assert_eq!((bench.count("RegisterAgent"), bench.count("Pair")), (0, 0));
}

#[test]
fn as_many_octets_as_are_read_at_once_keep_the_window_from_nothing() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let mut child = bench.start(&["--passkey", "-", "--window", "5s"]);
    bench.until("the passkey is asked for", World::is_asking);
    let typed = "12345\n".repeat(42) + "123\n";
    assert_eq!(typed.len(), 256);
    let mut open = child.stdin.take().unwrap();
    open.write_all(typed.as_bytes()).unwrap();
    let done = end_in_time(child);
    drop(open);
    done.assert_failed(Exit::Failed, "while waiting for what the device shows", "removed");
}

/// What `wardline pair` proved, as it writes it.
fn prove(bench: &Bench, proof: Option<Proof>) {
    let bond = Bond { adapter: ADAPTER.parse().unwrap(), device: METER.parse().unwrap() };
    let line = Proofs::line(wardline::time::Wall::default(), bond, proof).unwrap();
    let proofs = proofs(bench);
    let mut file = std::fs::File::options().append(true).create(true).open(proofs.path()).unwrap();
    file.write_all(&[&line[..], b"\n"].concat()).unwrap();
}

#[test]
fn the_daemon_takes_no_keys_that_nobody_proved_or_that_are_less_than_was_proved() {
    let name = "bonds::the_daemon_takes_no_keys_that_nobody_proved_or_that_are_less_than_was_proved";
    beside_the_daemon(name, async |bench| {
        let (_handle, mut link) = daemon_alone(&bench);
        bench.bluez.until("it scans", World::is_scanning).await.unwrap();
        add_bonded(&bench, true);
        let mut assert_denied = async |words: &str| {
            let denied = link.open().await.unwrap_err();
            let LinkError::Insecure { reason, .. } = &denied else { panic!("{denied}") };
            assert!(reason.contains(words) && reason.contains("wardline pair"), "{reason}");
        };
        // Trusted by whoever can call BlueZ.
        assert_denied("not made, or not to its end, by wardline pair").await;
        prove(&bench, Some(Proof { method: Method::JustWorks, class: BondClass::A }));
        assert_denied("it was paired by just-works").await;
        prove(&bench, Some(Proof { method: Method::Passkey, class: BondClass::C }));
        assert_denied("of class C").await;
        prove(&bench, Some(Proof { method: Method::Passkey, class: BondClass::A }));
        bench.bluez.set_pairs(METER, Pairs { secure_connections: false, ..Pairs::passkey(PASSKEY) });
        assert_denied("of class C").await;
        bench.bluez.set_pairs(METER, Pairs { key_size: 7, ..Pairs::passkey(PASSKEY) });
        assert_denied("7 of 16 octets").await;
        assert_eq!(bench.look(|world| world.count(METER, "Connect")), 0, "it was connected to");

        bench.bluez.set_pairs(METER, Pairs::passkey(PASSKEY));
        link.open().await.unwrap();
        assert_eq!(link.security(), Some(wardline::link::ble::Security::Bonded));
        link.close().await;
        // Without the right to read key files it goes by what was proved.
        std::fs::remove_dir_all(bench.folder.path().join("bluetooth")).unwrap();
        link.open().await.unwrap();
        link.close().await;
        prove(&bench, None);
        assert!(matches!(link.open().await, Err(LinkError::Insecure { .. })), "it was taken back");
    });
}

#[test]
fn a_bond_that_another_hand_made_is_not_adopted() {
    let bench = Bench::new(ENTRY);
    add_bonded(&bench, false);
    start_again(&bench);
    let done = bench.pair("123456\n", &[]);
    done.assert_failed(Exit::Refused, "wardline pair did not make", "nothing");
    say_trusted(&bench, true);
    let done = bench.pair("123456\n", &[]);
    done.assert_failed(Exit::Refused, "not made, or not to its end, by wardline pair", "nothing");
    assert!(done.err.contains("--replace"), "{done:#?}");
    assert_eq!(bench.count("RemoveDevice"), 0, "nothing was changed");
    let done = bench.pair("123456\n", &["--replace"]);
    assert_eq!((done.code, &done.out["was_paired"]), (0, &json!(false)), "{done:#?}");
    assert!(bench.look(|world| world.is_trusted(METER)));
}

#[test]
fn a_proof_ends_with_its_keys() {
    let bench = Bench::with_meter(ENTRY, Pairs::passkey(PASSKEY));
    let bond = Bond { adapter: ADAPTER.parse().unwrap(), device: METER.parse().unwrap() };
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    let proof = Proof { method: Method::Passkey, class: BondClass::A };
    assert_eq!(proofs(&bench).proved(bond), Ok(proof));
    end(bench.command(&["unpair", METER, "--yes", "--json"]).spawn().unwrap());
    assert_eq!(proofs(&bench).proved(bond), Err(Unproven::Never));
    assert_eq!(bench.pair("123456\n", &[]).code, 0);
    bench.pair("654321\n", &["--replace"]).assert_failed(Exit::Failed, "not the one", "old-removed");
    assert_eq!(proofs(&bench).proved(bond), Err(Unproven::Never));
    // Without a record nothing stays.
    let mut child = bench.start(&["--passkey", "-"]);
    bench.until("the passkey is asked for", World::is_asking);
    let lock = bench.folder.path().join("bonds.jsonl");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    child.stdin.take().unwrap().write_all(b"123456\n").unwrap();
    end(child).assert_failed(Exit::Failed, "what was proved could not be written down", "removed");
    bench.assert_nothing_is_left();
}
