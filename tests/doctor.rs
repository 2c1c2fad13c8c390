//! `wardline doctor` and `wardline diag` from outside: a sound gateway (the real daemon, a real mosquitto, a simulated
//! oximeter on a pseudo-terminal, a double of `org.bluez`), and one broken thing at a time.

#![cfg(all(target_os = "linux", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too; its own files are read back at once"
)]

#[path = "doctor/bench.rs"]
mod bench;
#[path = "uplink/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod mosquitto;
#[path = "secrets/needle.rs"]
mod needle;
#[path = "uplink/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use serde_json::json;
use wardline::fleet::documents::{Document as _, Role, Root, Stamp, Timestamp};
use wardline::fleet::dsse::Envelope;
use wardline::fleet::folder::Folder;
use wardline::fleet::key::PrivateKey;
use wardline::fleet::trust::Recipient;
use wardline::host::clock::SystemClock;
use wardline::time::{Clock as _, Wall};

use self::bench::{BELT, BELT_SERIAL, Bench, Change, SERIAL, report};
use self::needle::Search;

const DAY: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_gateway_is_well_beside_its_daemon_and_without_and_the_daemon_is_not_disturbed() {
    let bench = Bench::new(&Change::default());
    let mut daemon = bench.start();
    let is_up = |of: &wardline::host::status::Snapshot| {
        of.uplink.state == "connected" && of.devices.iter().all(|device| device.link == "up")
    };
    let before = bench.status("everything up", is_up).await;
    let unseen = bench.doctor(&["--only", "memory"]).await;
    assert_eq!(
        unseen.with("unchecked"),
        ["memory"],
        "nothing says what the kernel allows: {:#}",
        unseen.value
    );
    // As the kernel says it of a process of the unit.
    let limits = format!("proc/{}/limits", daemon.id());
    bench.system(
        &limits,
        "Limit  Soft Limit  Hard Limit  Units\nMax core file size        0        0        bytes\n",
    );
    let well = bench.doctor(&[]).await;
    well.assert_well();
    assert_eq!(well.value["checks"].as_array().unwrap().len(), 18);
    let after = bench.status("the same connection", is_up).await;
    assert_eq!((&after.run, &after.uplink.last_error), (&before.run, &before.uplink.last_error));
    assert!(after.uplink.state_age_ms >= before.uplink.state_age_ms, "{:?}", after.uplink);
    let text = bench.command(&["doctor"]).output().unwrap();
    assert!(text.status.success());
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("well: 18 checks, 0 wrong, 0 could not be made"), "{text}");
    assert!(text.contains("as client gw-lab-doctor: PUBACK 0x"), "{text}");
    daemon.stop(Duration::from_secs(30)).await.unwrap();
    let without = bench.doctor(&["--every-topic"]).await;
    without.assert_well();
    assert!(without.value.to_string().contains("it was looked into: sound"), "{:#}", without.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate() {
    let bench = Bench::new(&Change { is_expired: true, ..Change::default() });
    bench.doctor(&[]).await.assert_wrong("certificate", "expired at");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_name_or_of_none() {
    let bench = Bench::new(&Change { names: Some(&["elsewhere.example"]), ..Change::default() });
    bench.doctor(&[]).await.assert_wrong("broker-tls", "not trusted");
    bench.edit("gateway.toml", "\"localhost\"", "\"no-such-broker.invalid\"");
    bench.doctor(&[]).await.assert_wrong("broker-name", "no-such-broker.invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn access_rules_that_refuse_a_topic() {
    let alarms = "user gw-lab\ntopic readwrite #\ntopic deny d/v1/lab/ward-7/gw-lab/+/alarm\n";
    let bench = Bench::new(&Change { acl: Some(alarms), ..Change::default() });
    bench.doctor(&[]).await.assert_wrong("topic-rights", "d/v1/lab/ward-7/gw-lab/doctor/alarm: 0x87");

    let heartbeat = "user gw-lab\ntopic readwrite #\ntopic deny s/v1/lab/ward-7/gw-lab/heartbeat\n";
    let bench = Bench::new(&Change { acl: Some(heartbeat), ..Change::default() });
    bench.doctor(&[]).await.assert_well();
    let every = bench.doctor(&["--every-topic"]).await;
    every.assert_wrong("topic-rights", "s/v1/lab/ward-7/gw-lab/heartbeat: 0x87");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_and_a_bus_that_hang_do_not_hang_the_doctor() {
    let bench = Bench::new(&Change::default());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    bench.edit("gateway.toml", &format!("port = {}", bench.broker.port), &format!("port = {port}"));
    let began = Instant::now();
    bench.doctor(&[]).await.assert_wrong("broker-tls", "within 5 s");
    let socket = bench.path("silent-bus");
    let _bus = UnixListener::bind(&socket).unwrap();
    let mut command = bench.command(&["doctor", "--json", "--only", "adapters,bluetoothd"]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", socket.display()));
    let hung = report(command).await;
    assert_eq!((hung.with("unchecked"), hung.exit), (vec!["adapters", "bluetoothd"], Some(10)));
    assert!(hung.value.to_string().contains("no answer within 5 s"), "{:#}", hung.value);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_not_there_not_ours_or_held() {
    let bench = Bench::new(&Change::default());
    bench.system("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nwardline:x:4711:4711::/:/bin/false\n");
    bench.doctor(&[]).await.assert_wrong("serial", "may not be opened by user wardline");
    bench.system("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    // The lab has made it: it holds both ends.
    let at_the_machine = |bench: &Bench| {
        let mut command = bench.command(&["doctor", "--json", "--only", "serial"]);
        command.args(["--root", "/"]);
        // The first of two would count.
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut real = std::process::Command::new(command.get_program());
        real.args(arguments.iter().take(arguments.len() - 4)).args(["--root", "/"]);
        real
    };
    let simulated = report(at_the_machine(&bench)).await;
    assert!(simulated.value.to_string().contains("a simulated device"), "{:#}", simulated.value);
    assert!(!simulated.value.to_string().contains("is held open by"), "{:#}", simulated.value);
    // Somebody else holds it.
    let port = fs::File::open(bench.oximeter.path()).unwrap();
    let mut holder = std::process::Command::new("sleep").arg("600").stdin(port).spawn().unwrap();
    report(at_the_machine(&bench)).await.assert_wrong("serial", "is held open by sleep");
    holder.kill().unwrap();
    holder.wait().unwrap();
    bench.edit("devices.d/ward.toml", bench.oximeter.path().to_str().unwrap(), "/dev/serial/by-path/none");
    bench.doctor(&[]).await.assert_wrong("serial", "is not there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_others_can_read() {
    let bench = Bench::new(&Change::default());
    fs::set_permissions(bench.gateway().join("kek"), fs::Permissions::from_mode(0o644)).unwrap();
    bench.doctor(&[]).await.assert_wrong("keys", "mode 0644");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_follows_nothing() {
    let bench = Bench::new(&Change::default());
    let mut command = bench.command(&["doctor", "--json"]);
    command.env("LD_PRELOAD", bench.kernel("STA_UNSYNC"));
    report(command).await.assert_wrong("clock", "follows no reference");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_read_only_or_too_small() {
    let bench = Bench::new(&Change::default());
    bench.edit("gateway.toml", "cap = \"256MiB\"", "cap = \"900000GiB\"");
    bench.doctor(&[]).await.assert_wrong("disk", "the store may grow by another");
    bench.edit("gateway.toml", "cap = \"900000GiB\"", "cap = \"256MiB\"");
    bench.system("proc/self/mountinfo", "22 1 179:2 / / ro,noatime shared:1 - ext4 /dev/root ro\n");
    bench.doctor(&[]).await.assert_wrong("disk", "read-only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_with_a_mistake_and_the_files_of_a_bad_machine() {
    let bench = Bench::new(&Change::default());
    bench.system("sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
    bench.doctor(&[]).await.assert_wrong("pi", "is too low");
    bench.system("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n");
    // Its own, that of all services, and what `systemctl set-property` leaves.
    for place in ["system/wardline.service.d", "system/service.d", "system.control/wardline.service.d"] {
        let file = format!("etc/systemd/{place}/x.conf");
        bench.system(&file, "[Service]\nNoNewPrivileges=no\n");
        bench.doctor(&[]).await.assert_wrong("unit", "NoNewPrivileges=no");
        bench.system(&file, "");
    }
    bench.system("proc/swaps", "Filename\tType\n/var/swap file 102396 0 -2\n");
    bench.doctor(&[]).await.assert_wrong("memory", "/var/swap");
    bench.system("proc/swaps", "Filename\tType\n");
    bench.bluez.power_off();
    bench.doctor(&[]).await.assert_wrong("adapters", "adapter hci0 is off");
    bench.edit("gateway.toml", "[store]", "[stoer]");
    bench.doctor(&[]).await.assert_wrong("configuration", "stoer");
    let only = bench.doctor(&["--only", "clock,pi"]).await;
    assert_eq!((only.with("ok"), only.exit), (vec!["clock", "pi"], Some(0)));
    let usage = bench.command(&["doctor", "--only", "cloc"]).output().unwrap();
    let said = String::from_utf8_lossy(&usage.stderr).into_owned();
    assert_eq!((usage.status.code(), said.contains("did you mean \"clock\"")), (Some(2), true), "{said}");
}

/// A root and a timestamp of group `ward-7`, which has so many days left.
fn signed(days: i64) -> (Vec<u8>, Vec<u8>) {
    let key = |seed: u8| PrivateKey::from_seed(&zeroize::Zeroizing::new([seed; 32]));
    let role = |seed: u8| Role { keys: vec![key(seed).public()], threshold: 1 };
    let now = SystemClock::default().now().wall.as_millis();
    // Whole seconds: what the documents write.
    let at = |days: i64| Wall::from_millis((now / 1_000 * 1_000) + days * DAY);
    let sign = |payload_type: &str, payload: Vec<u8>, seed: u8| {
        let mut envelope = Envelope::new(payload_type, payload);
        envelope.sign(&key(seed));
        envelope.to_bytes()
    };
    let root = Root::new("lab".into(), 1, Stamp(at(300)), [role(1), role(2), role(3)]).unwrap();
    let timestamp = json!({
        "schema": 1, "organisation": "lab", "group": "ward-7", "version": 4,
        "issued_at": Stamp(at(days - 2)), "expires": Stamp(at(days)),
        "head": { "version": 1, "sha256": "0".repeat(64), "root": 1 },
        "rollout": { "id": "r-1" },
    });
    let timestamp = serde_json::to_vec(&timestamp).unwrap();
    (sign(Root::PAYLOAD_TYPE, root.to_payload(), 1), sign(Timestamp::PAYLOAD_TYPE, timestamp, 3))
}

/// Has the broker keep something.
async fn retain(bench: &Bench, topic: &str, payload: Vec<u8>) {
    let pair = &bench.certificates.consumer;
    let mut options = MqttOptions::new("operator", ("localhost", bench.broker.port));
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
        ca: fs::read(bench.certificates.pki.authorities()).unwrap(),
        alpn: None,
        client_auth: Some((fs::read(&pair.certificate).unwrap(), fs::read(&pair.key).unwrap())),
    }));
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    let options = rumqttc::PublishOptions::new(QoS::AtLeastOnce).retained();
    let _notice = client.try_publish_tracked(topic.to_owned(), payload, options).unwrap();
    loop {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timestamp_of_the_fleet_that_has_run_out() {
    let bench = Bench::new(&Change::default());
    bench.edit("gateway.toml", "[keys]", "[fleet]\nfolder = \"fleet\"\n\n[keys]");
    let (root, fresh) = signed(1);
    let recipient = Recipient { organisation: "lab".into(), gateway: "gw-lab".into() };
    Folder::enrol(&bench.gateway().join("fleet"), recipient, "ward-7".into(), &root).unwrap();
    let none = bench.doctor(&[]).await;
    assert_eq!((none.with("wrong"), none.with("unchecked")), (vec![], vec!["fleet"]), "{:#}", none.value);
    retain(&bench, "c/v1/lab/g/ward-7/ts", fresh).await;
    bench.doctor(&[]).await.assert_well();
    retain(&bench, "c/v1/lab/g/ward-7/ts", signed(-3).1).await;
    bench.doctor(&[]).await.assert_wrong("fleet", "the timestamp at the broker is not believed");
}

/// Everything that was planted, in every form.
fn planted(bench: &Bench, more: &[&str]) -> Vec<needle::Needle> {
    let kek = fs::read_to_string(bench.gateway().join("kek")).unwrap();
    let ward = fs::read_to_string(bench.gateway().join("ward")).unwrap();
    let private = fs::read_to_string(bench.path("gw-lab.key")).unwrap();
    let private = private.lines().nth(1).unwrap();
    let mut needles = Vec::new();
    for text in [
        SERIAL,
        BELT,
        BELT_SERIAL,
        "HRM-CANARY-9999",
        "canary-bed-8",
        "canary-belt",
        "ASSET-canary-bed-8",
        "canary-mueller",
        "canary-in-the-spool",
        "canary-in-the-environment",
        &kek,
        &ward,
        private,
        "BEGIN CERTIFICATE",
    ] {
        needles.extend(needle::text(text));
    }
    for text in [&kek, &ward] {
        let bytes: Vec<u8> =
            (0..32).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).unwrap()).collect();
        needles.extend(needle::key("a key", &bytes.try_into().unwrap()));
    }
    needles.extend(more.iter().flat_map(|text| needle::text(text)));
    needles
}

/// A bundle is of use: it can be unpacked, and says what support asks for first.
fn assert_useful(bench: &Bench, bundle: &[u8], manifest: &str) {
    let file = bench.path("bundle.tar.gz");
    fs::write(&file, bundle).unwrap();
    let unpack =
        std::process::Command::new("tar").arg("-xzf").arg(&file).arg("-C").arg(bench.path("")).status();
    assert!(unpack.unwrap().success());
    let read = |name: &str| fs::read_to_string(bench.path("wardline-diag").join(name)).unwrap();
    assert!(manifest.contains("Left out:") && manifest.contains(read("MANIFEST").trim_end()), "{manifest}");
    for (name, words) in [
        ("version.json", "\"version\""),
        ("kernel.txt", "Raspberry Pi 4"),
        ("doctor.json", "in the place of device-1"),
        ("status.json", "\"is_another_device\": true"),
        ("configuration.json", "\"localhost\""),
        ("store.json", "\"lanes\""),
        ("rights.txt", "-0600 0:0 64"),
        ("warnings.txt", ""),
    ] {
        assert!(read(name).contains(words), "{name}: {}", read(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_planted_is_in_a_bundle() {
    let stranger = "CANARYSN42";
    let bench = Bench::new(&Change { states: Some(stranger), ..Change::default() });
    let visitor = "F3:0C:A0:A1:00:03";
    bench.bluez.add(wardline::lab::bluez::Emulated::heart_rate(visitor, "HRM-CANARY-9999"));
    fs::rename(
        bench.gateway().join("devices.d/ward.toml"),
        bench.gateway().join("devices.d/canary-mueller.toml"),
    )
    .unwrap();
    let mut daemon = bench.start();
    let all = |of: &wardline::host::status::Snapshot| {
        let is_stranger = of.devices.iter().any(|device| device.quarantine.is_some());
        is_stranger && !of.unlisted.is_empty() && of.uplink.state == "connected"
    };
    let status = bench.status("a stranger in the oximeter's place", all).await;
    let quarantine = status.devices.iter().find_map(|device| device.quarantine.clone()).unwrap();
    assert!(quarantine.contains(stranger), "{quarantine}");
    fs::write(bench.gateway().join("store/canary-in-the-spool"), "canary-in-the-spool").unwrap();

    let mut command = bench.command(&["diag", "--out", "-"]);
    command.env("PATIENT", "canary-in-the-environment").env("WARDLINE_DAEMON__LOG", "debug");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let manifest = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{manifest}");
    let search = Search::new(planted(&bench, &[stranger, visitor]));
    for (what, hay) in [("the bundle", output.stdout.as_slice()), ("the manifest", manifest.as_bytes())] {
        let found: Vec<_> = search.find(hay).iter().map(|(at, needle)| (*at, needle.what.clone())).collect();
        assert!(found.is_empty(), "{what}: {found:?}");
    }
    // The same search does find them in what it was made of.
    assert!(!search.find(quarantine.as_bytes()).is_empty());

    assert_useful(&bench, &output.stdout, &manifest);
    daemon.stop(Duration::from_secs(30)).await.unwrap();

    let twice = bench.path("once.tar");
    for (wanted, _) in [(Some(0), "a new file"), (Some(6), "never over another")] {
        let output = bench.command(&["diag", "--out", twice.to_str().unwrap()]).output().unwrap();
        assert_eq!(output.status.code(), wanted, "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::metadata(&twice).unwrap().permissions().mode() & 0o777, 0o400);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_configuration_that_cannot_be_read_is_in_a_bundle() {
    let bench = Bench::new(&Change::default());
    let devices = bench.gateway().join("devices.d/ward.toml");
    let good = fs::read_to_string(&devices).unwrap();
    for (place, mistake) in [
        "[[device]]\nid = \"canary-bed-8\"\nasset = \"A\"\ndriver = \"canary-mueller\"\nport = \"/dev/canary-belt\"\n",
        "canary-mueller = \"canary-belt\"\n",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&devices, [good.as_str(), "\n", mistake].concat()).unwrap();
        let told = bench.command(&["doctor", "--json", "--only", "configuration"]).output().unwrap();
        let search = Search::new(planted(&bench, &["canary-belt"]));
        assert!(!search.find(&told.stdout).is_empty(), "{mistake}: nothing would be proved");
        let file = bench.path(&format!("invalid-{place}.tar"));
        let output = bench.command(&["diag", "--out", file.to_str().unwrap()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let found: Vec<_> = search.find(&fs::read(&file).unwrap()).iter().map(|(_, found)| found.what.clone()).collect();
        assert!(found.is_empty(), "{mistake}: {found:?}");
        let text = fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("whose words are left out here"), "{text}");
    }
}
