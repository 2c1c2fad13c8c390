//! The operator's side against a real mosquitto that asks for client certificates: pushing, rolling out, watching.

#![cfg(all(feature = "operator", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_push_string,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, its helpers too; its own files are read back at once"
)]

#[path = "fleet_broker/live.rs"]
mod live;
#[path = "uplink/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod mosquitto;
#[path = "fleet_broker/screen.rs"]
mod screen;
#[path = "uplink/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;
mod terminal;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, IncomingPacketSizeLimit, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration,
    Transport,
};
use rustls::SignatureScheme;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use wardline::fleet::documents::Document as _;
use wardline::fleet::documents::inventory::{self, Inventoried};
use wardline::fleet::documents::reported::{Reported, pae, sealed};
use wardline::fleet::dsse::Envelope;
use wardline::lab::pki::{Pair, Validity};
use wardline::lab::stage;

use self::mosquitto::{Mosquitto, Setup};
use self::support::Certificates;

const BINARY: &str = env!("CARGO_BIN_EXE_wardline-fleet");
const NAMES: [&str; 7] = ["root-1", "root-2", "root-3", "config-1", "config-2", "config-3", "timestamp-1"];
const TS: &str = "c/v1/st-anna/g/icu-3/ts";

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A fleet of one ward, a broker, and the certificates of both.
struct Site {
    certificates: Certificates,
    broker: Mosquitto,
    gateways: [Pair; 2],
    operator: Pair,
}

impl Site {
    fn new(acl: Option<&str>) -> Self {
        let certificates = Certificates::new();
        let acl = acl.map(|text| {
            let file = certificates.path().join("acl");
            fs::write(&file, text).unwrap();
            file
        });
        let setup = Setup { server: &certificates.server, tls: "TLSv1.3", acl: acl.as_deref() };
        let broker = Mosquitto::start_with(&certificates, &setup);
        let gateways = ["gw-1", "gw-2"].map(|name| certificates.pki.client(name, Validity::Now).unwrap());
        let operator = certificates.pki.client("operator", Validity::Now).unwrap();
        let site = Self { certificates, broker, gateways, operator };
        let passphrases = site.path("passphrases.toml");
        let lines: Vec<String> =
            NAMES.iter().map(|name| format!("{name} = \"a passphrase of {name}\"")).collect();
        fs::write(&passphrases, lines.join("\n")).unwrap();
        fs::set_permissions(&passphrases, fs::Permissions::from_mode(0o600)).unwrap();
        site.done("init --organisation st-anna --passphrase-file passphrases.toml fleet");
        site.done("gateway add gw-1 --group icu-3 fleet");
        site.done("gateway add gw-2 --group icu-3 fleet");
        let settings = format!(
            "host = \"localhost\"\nport = {}\nauthorities = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            site.broker.port,
            site.certificates.pki.authorities().display(),
            site.operator.certificate.display(),
            site.operator.key.display(),
        );
        fs::write(site.path("fleet/broker.toml"), settings).unwrap();
        site
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.certificates.path().join(rest)
    }

    fn run(&self, arguments: &str) -> Output {
        let mut command = Command::new(BINARY);
        command.args(arguments.split_whitespace()).current_dir(self.certificates.path()).output().unwrap()
    }

    fn done(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &str, code: i32, words: &str) {
        let output = self.run(arguments);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    }

    /// A bundle of so many devices, signed.
    fn signed(&self, devices: usize) {
        self.done("bundle new --group icu-3 fleet");
        let draft = self.path("fleet/g/icu-3/draft.toml");
        let text = fs::read_to_string(&draft).unwrap();
        let mut text = text.split("[[device]]").next().unwrap().trim_end_matches('#').to_owned();
        for number in 0..devices {
            text.push_str(&format!(
                "[[device]]\ngateways = [\"gw-1\"]\nid = \"pump-{number}\"\nasset = \"A-{number}\"\ndriver = \"alaris-asena\"\n\
                 port = \"/dev/serial/by-path/{number}\"\nelements = \"all\"\nexpects = {{ serial = \"{number}\" }}\n"
            ));
        }
        fs::write(&draft, text).unwrap();
        for (step, key) in [("sign --yes-remove 2", "config-1"), ("countersign", "config-2")] {
            let step = if devices == 0 { step } else { step.split(' ').next().unwrap() };
            self.bundle(&format!("{step} --key {key}"));
        }
    }

    /// `bundle sign` or `bundle countersign`, as somebody does it who has read what it is.
    fn bundle(&self, step: &str) {
        let mut step = step.to_owned();
        if step.starts_with("countersign") {
            let file = |number: u32| fs::read(self.path(&format!("fleet/g/icu-3/bundle-{number}.json"))).ok();
            let newest = (1..100).rev().find_map(file).unwrap();
            let payload = Envelope::parse(&newest, 262_144).unwrap().payload().to_vec();
            step.push_str(&format!(" --digest {}", wardline::fleet::documents::Digest::of(&payload)));
        }
        self.done(&format!("bundle {step} --group icu-3 --passphrase-file passphrases.toml fleet"));
    }

    fn publish(&self, more: &str) {
        self.done(&format!("{more} --group icu-3 --passphrase-file passphrases.toml fleet"));
    }

    fn file(&self, name: &str) -> Vec<u8> {
        fs::read(self.path("fleet/published").join(name)).unwrap()
    }

    fn options(&self) -> MqttOptions {
        let pair = &self.certificates.consumer;
        let mut options = MqttOptions::new("consumer", ("localhost", self.broker.port));
        // An advisory is longer than what the library takes by itself.
        options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(256 * 1_024));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: fs::read(self.certificates.pki.authorities()).unwrap(),
            alpn: None,
            client_auth: Some((fs::read(&pair.certificate).unwrap(), fs::read(&pair.key).unwrap())),
        }));
        options
    }

    /// Publishes retained, by another client, and waits until the broker has it; then gives all that it retains: what
    /// comes before a document that is published once the subscription holds.
    fn retained(&self, put: &[(&str, Vec<u8>)]) -> BTreeMap<String, Vec<u8>> {
        const LAST: &str = "c/v1/st-anna/last";
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let talk = async {
            let (client, mut events) = AsyncClient::builder(self.options()).capacity(1_024).build();
            let retained = || PublishOptions::new(QoS::AtLeastOnce).retained();
            let mut left = put.len();
            for (topic, bytes) in put {
                drop(client.try_publish_tracked(*topic, bytes.clone(), retained()).unwrap());
            }
            let mut found = BTreeMap::new();
            loop {
                match events.poll().await.unwrap() {
                    Event::Incoming(Packet::ConnAck(_)) if left == 0 => {
                        client.try_subscribe("c/v1/st-anna/#", QoS::AtMostOnce).unwrap();
                    }
                    Event::Incoming(Packet::PubAck(_)) => {
                        left -= 1;
                        if left == 0 {
                            client.try_subscribe("c/v1/st-anna/#", QoS::AtMostOnce).unwrap();
                        }
                    }
                    Event::Incoming(Packet::SubAck(_)) => {
                        let once = PublishOptions::new(QoS::AtMostOnce);
                        drop(client.try_publish_tracked(LAST, "x", once).unwrap());
                    }
                    Event::Incoming(Packet::Publish(publish)) if publish.topic == LAST.as_bytes() => {
                        return found;
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let topic = String::from_utf8(publish.topic.to_vec()).unwrap();
                        found.insert(topic, publish.payload.to_vec());
                    }
                    _ => {}
                }
            }
        };
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), talk).await.unwrap() })
    }

    /// What stands at a gateway, with its chain, signed by the key of `signer`.
    fn inventory(&self, gateway: usize, signer: usize, devices: &Value, findings: &Value) -> Vec<u8> {
        let pem = fs::read_to_string(&self.gateways[gateway].certificate).unwrap();
        let chain: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let document = json!({
            "schema": 1, "organisation": "st-anna", "group": "icu-3",
            "inventory": {
                "at": "2026-11-22T12:00:00Z",
                "gateway": {
                    "id": format!("gw-{}", gateway + 1), "version": "0.1.0", "build": "unknown",
                    "hardware": "Raspberry Pi 4 Model B Rev 1.4", "kernel": "6.12.25", "key_protection": "file",
                },
                "devices": devices,
            },
            "findings": findings,
            "chain": [chain],
        });
        let payload = serde_json::to_vec(&document).unwrap();
        let (_, signature) = sign_as(&self.gateways[signer], Inventoried::PAYLOAD_TYPE, &payload);
        let (id, _) = sign(&self.gateways[gateway], &payload);
        inventory::sealed(payload, &id, signature)
    }

    /// A report of a gateway with its chain, signed by the key of `signer`.
    fn report(&self, gateway: usize, signer: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut report: Value =
            serde_json::from_str(include_str!("../src/fleet/documents/testdata/reported.json")).unwrap();
        let pem = fs::read_to_string(&self.gateways[gateway].certificate).unwrap();
        let chain: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        report["gateway"] = json!(format!("gw-{}", gateway + 1));
        report["certificate"]["chain"] = json!([chain]);
        change(&mut report);
        let payload = serde_json::to_vec(&report).unwrap();
        let (_, signature) = sign(&self.gateways[signer], &payload);
        // Under the id of the key that it should be of.
        let (id, _) = sign(&self.gateways[gateway], &payload);
        sealed(payload, &id, signature)
    }
}

/// With the library that shows the certificate to the broker: the key's id and its signature.
fn sign(pair: &Pair, payload: &[u8]) -> (String, Vec<u8>) {
    sign_as(pair, Reported::PAYLOAD_TYPE, payload)
}

fn sign_as(pair: &Pair, payload_type: &str, payload: &[u8]) -> (String, Vec<u8>) {
    let key = PrivateKeyDer::from_pem_file(&pair.key).unwrap();
    let key: Arc<dyn rustls::sign::SigningKey> = rustls::crypto::ring::sign::any_ecdsa_type(&key).unwrap();
    let spki = key.public_key().unwrap();
    let id = wardline::fleet::documents::Digest::of(&spki).to_string();
    let signer = key.choose_scheme(&[SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
    (id, signer.sign(&pae(payload_type, payload)).unwrap())
}

fn stamp(bytes: &[u8]) -> Value {
    serde_json::from_slice(Envelope::parse(bytes, 65_536).unwrap().payload()).unwrap()
}

#[test]
fn what_is_published_is_at_the_broker_and_is_not_pushed_twice() {
    let site = Site::new(None);
    let push = "push --group icu-3 fleet";
    site.refused(push, 6, "nothing of icu-3 is published yet");
    site.signed(2);
    site.publish("rollout start --canary gw-1");
    let said = site.done(push);
    let pushed: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("pushed ")).collect();
    assert_eq!(pushed, ["c/v1/st-anna/root/1", "c/v1/st-anna/g/icu-3/bundle/1", TS]);
    let expected = [
        ("c/v1/st-anna/g/icu-3/bundle/1", site.file("g/icu-3/bundle/1.json")),
        (TS, site.file("g/icu-3/ts.json")),
        ("c/v1/st-anna/root/1", site.file("root/1.json")),
    ];
    assert!(site.retained(&[]).into_iter().eq(expected.map(|(topic, bytes)| (topic.to_owned(), bytes))));
    assert!(site.done(push).contains("the broker has all of icu-3 already: nothing to do"));
    // Only the timestamp is new.
    let old = site.file("g/icu-3/ts.json");
    site.publish("publish --push");
    let said = site.done(push);
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!(site.retained(&[])[TS], site.file("g/icu-3/ts.json"));
    // An old copy of the folder.
    fs::write(site.path("fleet/published/g/icu-3/ts.json"), old).unwrap();
    site.refused(push, 6, "the broker has timestamp 2 of icu-3");
    assert_eq!(stamp(&site.retained(&[])[TS])["version"], 2);
}

#[test]
fn a_broker_that_refuses_is_named_with_what_it_refuses() {
    let site =
        Site::new(Some("user operator\ntopic read c/v1/st-anna/#\nuser consumer\ntopic readwrite c/v1/#\n"));
    site.signed(2);
    site.publish("rollout start --canary gw-1");
    site.refused("push --group icu-3 fleet", 6, "does not let us write c/v1/st-anna/root/1 (NotAuthorized)");
    assert!(site.retained(&[]).is_empty());
    site.refused("push --group icu-3 --port 1 fleet", 1, "cannot reach broker localhost:1");
    let stranger = site.path("stranger");
    let stranger = wardline::lab::pki::Pki::create(&stranger).unwrap().authorities();
    site.refused(
        &format!("push --group icu-3 --tls-authorities {} fleet", stranger.display()),
        1,
        "its authority is not among `authorities`",
    );
    fs::remove_file(site.path("fleet/broker.toml")).unwrap();
    site.refused("push --group icu-3 fleet", 3, "fleet/broker.toml: is not there: it names the broker");
}

#[test]
fn what_is_of_another_group_or_takes_everything_away_is_not_pushed() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    let before = site.retained(&[]);
    // The documents of icu-3 as those of icu-4.
    site.done("gateway add gw-9 --group icu-4 fleet");
    copy(&site.path("fleet/published/g/icu-3"), &site.path("fleet/published/g/icu-4"));
    copy(&site.path("fleet/g/icu-3"), &site.path("fleet/g/icu-4"));
    site.refused(
        "push --group icu-4 fleet",
        6,
        "is of group \"icu-3\" of \"st-anna\", not of group \"icu-4\"",
    );
    // A bundle whose bytes are others than those that the timestamp names.
    let file = site.path("fleet/published/g/icu-3/bundle/1.json");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, [&bytes[..], b" "].concat()).unwrap();
    site.refused(
        "push --group icu-3 fleet",
        6,
        "g/icu-3/bundle/1.json is not the bundle that timestamp 1 names",
    );
    fs::write(&file, bytes).unwrap();
    site.signed(0);
    site.publish("publish --yes-remove 2");
    site.refused("push --group icu-3 fleet", 6, "removes 2 of 2 devices");
    assert_eq!(site.retained(&[]), before);
    site.done("push --group icu-3 --yes-remove 2 fleet");
    assert_eq!(stamp(&site.retained(&[])[TS])["head"]["version"], 2);
    // What somebody else wrote under our topics is told, and replaced.
    let forged = site.retained(&[(TS, b"{}".to_vec())]);
    assert_eq!(forged[TS], b"{}");
    let output = site.run("push --group icu-3 fleet");
    assert!(
        output.status.success() && text(&output).contains("look for who wrote it there"),
        "{}",
        text(&output)
    );
    assert_eq!(site.retained(&[])[TS], site.file("g/icu-3/ts.json"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap();
        }
    }
}

#[test]
fn the_whole_fleet_is_seen_and_a_forged_report_is_unproven() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    let running = json!({ "version": 1, "sha256": stamp(&site.file("g/icu-3/ts.json"))["head"]["sha256"] });
    let own = site.report(0, 0, |report| report["running"] = running.clone());
    let forged = site.report(1, 0, |report| report["running"] = running.clone());
    site.retained(&[
        ("c/v1/st-anna/gw/gw-1/reported", own),
        ("c/v1/st-anna/gw/gw-2/reported", forged),
        ("s/v1/st-anna/icu-3/gw-2/status", br#"{"state":"offline","run":"x","version":"0.1.0"}"#.to_vec()),
    ]);
    let rows: Value = serde_json::from_str(&site.done("watch --once --json fleet")).unwrap();
    let shown: Vec<Value> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["gateway"], row["running"], row["drift"], row["proven"], row["online"]]))
        .collect();
    assert_eq!(
        shown,
        [json!(["gw-1", 1, false, true, null]), json!(["gw-2", 1, false, false, false])],
        "{rows}"
    );
    assert!(rows[1]["unproven"].as_str().unwrap().contains("is not signed by key"), "{rows}");
    let table = site.done("watch --once --group icu-3 fleet");
    assert!(table.lines().any(|line| line.starts_with("! gw-2") && line.contains("UNPROVEN")), "{table}");
    // A certificate of another authority proves nothing.
    let stranger = wardline::lab::pki::Pki::create(&site.path("stranger")).unwrap().authorities();
    let file = site.path("fleet/broker.toml");
    let settings = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{settings}gateway_authorities = \"{}\"\n", stranger.display())).unwrap();
    let rows: Value = serde_json::from_str(&site.done("watch --once --json fleet")).unwrap();
    assert_eq!(rows[0]["proven"], false, "{rows}");
}

#[test]
fn a_rollout_that_does_harm_is_paused_by_itself() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --canary gw-2 --push");
    let guard = "rollout status --guard --json --group icu-3 --passphrase-file passphrases.toml fleet";
    let failed = |report: &mut Value| report["bad"] = json!({ "version": 1, "reason": "no PUBACK" });
    site.retained(&[("c/v1/st-anna/gw/gw-1/reported", site.report(0, 0, failed))]);
    let progress: Value = serde_json::from_str(&site.done(guard)).unwrap();
    assert_eq!((&progress["failures"], &progress["stop"]), (&json!(1), &json!(null)), "{progress}");
    assert_eq!(stamp(&site.retained(&[])[TS])["rollout"]["paused"], false);
    // What the other one's key has not signed stops nothing, and is named.
    site.retained(&[("c/v1/st-anna/gw/gw-2/reported", site.report(1, 0, failed))]);
    let progress: Value = serde_json::from_str(&site.done(guard)).unwrap();
    assert_eq!(
        (&progress["failures"], &progress["stop"], &progress["shares"][0]["failed_unproven"]),
        (&json!(1), &json!(null), &json!(["gw-2"])),
        "{progress}"
    );
    site.retained(&[("c/v1/st-anna/gw/gw-2/reported", site.report(1, 1, failed))]);
    site.refused(guard, 6, "2 of 2 have taken bundle 1 back: gw-1, gw-2: the roll-out is paused");
    assert_eq!(stamp(&site.retained(&[])[TS])["rollout"]["paused"], true);
    let said = site.done("rollout status --group icu-3 fleet");
    assert!(
        said.contains("bundle 1 of icu-3, paused") && said.contains("took it back: gw-1, gw-2"),
        "{said}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn the_wards_are_exported_and_a_forged_inventory_is_marked() {
    let site = Site::new(None);
    let pump = json!({
        "id": "pump-1", "make": "Alaris", "model": "8015 PC unit", "firmware": "9.7", "driver": "alaris-asena",
        "first_seen": "2026-01-02T03:04:05Z", "last_seen": "2026-11-22T03:04:05Z",
    });
    let finding = json!({
        "device": "pump-1", "advisory": "ICSMA-17-017-02", "version": "1", "verdict": "affected",
        "action": "warned", "cvss": "7.7", "cves": ["CVE-2016-8375"], "reason": "version 9.7 is one of these",
    });
    let own = site.inventory(0, 0, &json!([pump]), &json!([finding]));
    let forged = site.inventory(1, 0, &json!([{ "id": "belt", "make": "=cmd()" }]), &json!([]));
    // One under the name of another, and one of a gateway that nobody registered.
    site.retained(&[
        ("c/v1/st-anna/gw/gw-1/inventory", own.clone()),
        ("c/v1/st-anna/gw/gw-2/inventory", forged),
        ("c/v1/st-anna/gw/gw-7/inventory", own.clone()),
        ("c/v1/st-anna/gw/gw-8/inventory", b"{}".to_vec()),
    ]);
    let rows: Value = serde_json::from_str(&site.done("inventory --json fleet")).unwrap();
    let shown: Vec<Value> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| json!([row["gateway"], row["registered"], row["proven"]]))
        .collect();
    assert_eq!(
        shown,
        [
            json!(["gw-1", true, true]),
            json!(["gw-2", true, false]),
            json!(["gw-7", false, false]),
            json!(["gw-8", false, false])
        ],
        "{rows}"
    );
    assert!(rows[1]["unproven"].as_str().unwrap().contains("is not signed by key"), "{rows}");
    assert!(rows[2]["unproven"].as_str().unwrap().contains("it is of gateway \"gw-1\""), "{rows}");
    assert_eq!(rows[2]["document"], Value::Null, "it does not pass for another");
    assert!(rows[3]["unproven"].as_str().unwrap().contains("cannot be read"), "{rows}");

    let table = site.done("inventory --group icu-3 --csv fleet");
    let lines: Vec<&str> = table.split("\r\n").collect();
    assert_eq!(lines.len(), 6, "{table}");
    assert!(lines[1].starts_with("gateway,gw-1,gw-1,") && lines[1].ends_with(",file,yes,"), "{table}");
    assert_eq!(
        lines[2],
        "device,gw-1,pump-1,Alaris,8015 PC unit,,,9.7,alaris-asena,2026-01-02T03:04:05Z,2026-11-22T03:04:05Z,,,,,,,yes,\
         ICSMA-17-017-02 affected warned"
    );
    assert!(lines[4].starts_with("device,gw-2,belt,'=cmd(),") && lines[4].ends_with(",no,"), "{table}");

    let bom: Value = serde_json::from_str(&site.done("inventory --group icu-3 --cyclonedx fleet")).unwrap();
    assert_eq!(bom["components"][0]["components"][0]["bom-ref"], "device:gw-1/pump-1", "{bom}");
    assert_eq!(
        bom["components"][1]["properties"][0],
        json!({ "name": "wardline:gateway:proven", "value": "no" })
    );
    assert_eq!(bom["vulnerabilities"][0]["affects"], json!([{ "ref": "device:gw-1/pump-1" }]), "{bom}");

    let shown = site.done("inventory --group icu-3 fleet");
    assert!(shown.contains("gw-2 (icu-3) UNPROVEN"), "{shown}");
    assert!(shown.contains("! pump-1 is affected by advisory ICSMA-17-017-02: version 9.7"), "{shown}");

    // The same from a stick.
    fs::create_dir_all(site.path("stick/gw/gw-1")).unwrap();
    fs::write(site.path("stick/gw/gw-1/inventory.json"), own).unwrap();
    let output = site.run("inventory --group icu-3 --csv --from stick fleet");
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).split("\r\n").count(), 4);
    assert!(text(&output).contains("gw-2 is not in it: it has published nothing"), "{}", text(&output));
    site.refused("inventory --group icu-9 fleet", 6, "no gateway is in group \"icu-9\"");
}

#[test]
fn an_advisory_travels_beside_the_bundle_that_names_it() {
    const FILE: &[u8] = include_bytes!("data/csaf/icsma-17-017-02.json");
    let site = Site::new(None);
    let named = |name: &str| {
        site.done("bundle new --group icu-3 fleet");
        let draft = site.path("fleet/g/icu-3/draft.toml");
        let text = fs::read_to_string(&draft).unwrap();
        fs::write(
            &draft,
            text.replace("#advisories = [\"icsma-17-017-02.json\"]", &format!("advisories = [{name:?}]")),
        )
        .unwrap();
    };
    let sign = "bundle sign --group icu-3 --key config-1 --passphrase-file passphrases.toml fleet";
    named("icsma-17-017-02.json");
    site.refused(sign, 3, "advisory \"icsma-17-017-02.json\"");
    fs::write(site.path("fleet/g/icu-3/icsma-17-017-02.json"), b"{}").unwrap();
    site.refused(sign, 3, "is not CSAF 2.0");
    fs::write(site.path("fleet/g/icu-3/icsma-17-017-02.json"), FILE).unwrap();
    site.done(sign);
    site.bundle("countersign --key config-2");
    // What is edited afterwards is not what was signed.
    fs::write(site.path("fleet/g/icu-3/icsma-17-017-02.json"), b"{}").unwrap();
    site.publish("publish --push --to stick");
    let digest = wardline::fleet::documents::Digest::of(FILE);
    assert_eq!(site.retained(&[])[&format!("c/v1/st-anna/advisory/{digest}")], FILE);
    assert_eq!(fs::read(site.path(&format!("stick/advisory/{digest}.json"))).unwrap(), FILE);
    assert!(site.done("push --group icu-3 fleet").contains("nothing to do"));
    // Somebody else's document under its name is replaced.
    site.retained(&[(&format!("c/v1/st-anna/advisory/{digest}"), b"{}".to_vec())]);
    site.done("push --group icu-3 fleet");
    assert_eq!(site.retained(&[])[&format!("c/v1/st-anna/advisory/{digest}")], FILE);
}

#[test]
fn a_gateway_publishes_what_stands_there_signed_by_its_own_key() {
    let site = Site::new(None);
    let folder = site.path("gateway");
    let port = Path::new("/dev/serial/by-path/none");
    let device = stage::serial_device("spo2-1", "masimo-ascii1", port, "0000056661");
    stage::configure(&folder, &site.certificates.pki, &site.gateways[0], site.broker.port, &device).unwrap();
    let file = folder.join("gateway.toml");
    let config = fs::read_to_string(&file).unwrap();
    let config = config.replace("\"lab\"", "\"st-anna\"").replace("\"ward-7\"", "\"icu-3\"");
    let config = config.replace("\"gw-lab\"", "\"gw-1\"");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (word, serial) in [("full", json!("0000056661")), ("no-serials", Value::Null)] {
        let fleet = format!("\n[fleet]\nfolder = \"fleet\"\ninventory = \"{word}\"\n");
        fs::write(&file, config.clone() + &fleet).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("run").env_remove("NOTIFY_SOCKET");
        let mut daemon = stage::Daemon::start(command, &folder).unwrap();
        // Each look waits until the broker is quiet: no longer than half a minute in all.
        let row = (0..20).find_map(|_| {
            let rows: Value = serde_json::from_str(&site.done("inventory --json fleet")).unwrap();
            let known = &rows[0]["document"]["inventory"]["devices"][0];
            (known["id"] == "spo2-1" && known["serial"] == serial).then(|| rows[0].clone())
        });
        let row = row.unwrap_or_else(|| panic!("nothing came: {}", daemon.last_words()));
        assert_eq!(row["proven"], true, "{row}");
        assert_eq!(row["document"]["inventory"]["devices"][0]["make"], "Masimo", "{row}");
        assert_eq!(row["document"]["inventory"]["gateway"]["version"], env!("CARGO_PKG_VERSION"), "{row}");
        assert!(runtime.block_on(daemon.stop(Duration::from_secs(20))).unwrap().success());
        let kept = fs::read_to_string(folder.join("store.inventory")).unwrap();
        assert_eq!(kept.contains("0000056661"), word == "full", "{kept}");
    }
}
