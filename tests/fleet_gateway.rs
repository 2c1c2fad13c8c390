//! A gateway in a fleet from outside: the real daemon, a real mosquitto, simulated oximeters, and documents that the
//! operator's own program signs.
//!
//! The clock of the machine that runs this may follow no reference. So the gateway has seen a timestamp when it
//! begins, as one that was set up where a clock did.

#![cfg(all(feature = "operator", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::format_collect,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, its helpers too; its own files are read back at once"
)]

#[path = "fleet/advisories.rs"]
mod advisories;
#[path = "uplink/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod mosquitto;
#[path = "uplink/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS, TlsConfiguration, Transport};
use tokio::task::JoinSet;
use wardline::fleet::documents::Digest;
use wardline::fleet::documents::own::Own as _;
use wardline::fleet::documents::reported::{ReportKey, Reported};
use wardline::fleet::dsse::Envelope;
use wardline::fleet::folder::Folder;
use wardline::fleet::trust::Recipient;
use wardline::host::atomic_file;
use wardline::host::clock::SystemClock;
use wardline::host::status::{self, Snapshot};
use wardline::lab::consumer;
use wardline::lab::pki::{Pair, Validity};
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};
use wardline::time::{Clock as _, ClockSync, Now};

use self::mosquitto::{Mosquitto, Setup};
use self::support::Certificates;

/// How long anything that must happen may take: longer than a trial and the silence that it waits for.
const PATIENCE: Duration = Duration::from_secs(45);
const NAMES: [&str; 7] = ["root-1", "root-2", "root-3", "config-1", "config-2", "config-3", "timestamp-1"];
const REPORTED: &str = "c/v1/lab/gw/gw-lab/reported";

/// A ward of one gateway and two oximeters, its operator and its broker.
struct Site {
    certificates: Certificates,
    broker: Mosquitto,
    oximeters: [Control<masimo::Values>; 2],
    consumer: consumer::Shared,
    _tasks: JoinSet<()>,
}

fn serial(number: usize) -> String {
    format!("000005666{number}")
}

impl Site {
    async fn new(has_broker: bool) -> Self {
        let certificates = Certificates::new();
        let acl = certificates.path().join("acl");
        fs::write(&acl, "pattern readwrite #\n").unwrap();
        let setup = Setup { server: &certificates.server, tls: "TLSv1.3", acl: Some(&acl) };
        let mut broker = Mosquitto::start_with(&certificates, &setup);
        let mut tasks = JoinSet::new();
        let oximeters = ["steady", "coming"].map(|name| {
            let setup = masimo::Setup {
                link: Some(certificates.path().join(name)),
                serial: serial(name.len()),
                cadence: masimo::Cadence::Every(Duration::from_millis(100)),
                ..masimo::Setup::default()
            };
            let values = masimo::Values { spo2: Some(97), bpm: Some(61), ..masimo::Values::default() };
            let (running, control) = masimo::oximeter(setup, values).unwrap();
            tasks.spawn(async move { running.await.unwrap() });
            control
        });
        let consumer = consumer::Shared::default();
        if has_broker {
            let (settings, shared) = (certificates.consumer(broker.port), consumer.clone());
            tasks.spawn(async move { consumer::run(settings, shared).await.unwrap() });
            tokio::time::timeout(PATIENCE, consumer.subscribed()).await.unwrap();
        } else {
            broker.kill();
        }
        let site = Self { certificates, broker, oximeters, consumer, _tasks: tasks };
        site.set_up();
        site
    }

    /// The operator's folder, the gateway's configuration, and the gateway enrolled.
    fn set_up(&self) {
        let lines: Vec<String> =
            NAMES.iter().map(|name| format!("{name} = \"a passphrase of {name}\"")).collect();
        fs::write(self.path("passphrases.toml"), lines.join("\n")).unwrap();
        fs::set_permissions(self.path("passphrases.toml"), fs::Permissions::from_mode(0o600)).unwrap();
        self.operator("init --organisation lab --passphrase-file passphrases.toml fleet");
        self.operator("gateway add gw-lab --group ward-7 fleet");
        let pair = self.certificates.pki.client("operator", Validity::Now).unwrap();
        let settings = format!(
            "host = \"localhost\"\nport = {}\nauthorities = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
            self.broker.port,
            self.certificates.pki.authorities().display(),
            pair.certificate.display(),
            pair.key.display(),
        );
        fs::write(self.path("fleet/broker.toml"), settings).unwrap();

        let client: Pair = self.certificates.pki.client("gw-lab", Validity::Now).unwrap();
        let (gateway, steady) = (self.path("gateway"), self.entry(0, None));
        let port = self.broker.port;
        stage::configure(&gateway, &self.certificates.pki, &client, port, &steady).unwrap();
        let file = gateway.join("gateway.toml");
        let text =
            fs::read_to_string(&file).unwrap().replace("backoff_first", "heartbeat = \"1s\"\nbackoff_first");
        let fleet = "\n[fleet]\nfolder = \"fleet\"\nimport = \"stick\"\ntrial = \"10s\"\n";
        atomic_file::write(&file, (text + fleet).as_bytes()).unwrap();
        let floor = b"trial = \"10s\"\nhost_suffix = \"localhost\"\nunstable_ports = true\n";
        atomic_file::write(&gateway.join("floor.toml"), floor).unwrap();
        atomic_file::write(&self.path("fleet/floor.toml"), floor).unwrap();

        self.sign(&self.entry(0, None), "");
        self.operator("publish --group ward-7 --canary gw-lab --passphrase-file passphrases.toml fleet");
        let recipient = Recipient { organisation: "lab".to_owned(), gateway: "gw-lab".to_owned() };
        let published = self.path("fleet/published");
        let root = fs::read(published.join("root/1.json")).unwrap();
        let (mut folder, mut trust) =
            Folder::enrol(&gateway.join("fleet"), recipient, "ward-7".to_owned(), &root).unwrap();
        let now = Now { sync: ClockSync::Synced, ..SystemClock::default().now() };
        trust.timestamp_offered(&fs::read(published.join("g/ward-7/ts.json")).unwrap(), &now).unwrap();
        folder.see(trust.marks()).unwrap();
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.certificates.path().join(rest)
    }

    fn operator(&self, arguments: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline-fleet"));
        let command = command.args(arguments.split_whitespace()).current_dir(self.certificates.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {said}{}", String::from_utf8_lossy(&output.stdout));
    }

    /// An oximeter as the files and a bundle name it, with another serial number if one is given.
    fn entry(&self, number: usize, other: Option<&str>) -> String {
        let (id, port) = (["steady", "coming"][number], self.oximeters[number].path());
        let expected = other.map_or_else(|| serial(id.len()), str::to_owned);
        let text = stage::serial_device(id, "masimo-ascii1", &port, &expected);
        text.trim_end().to_owned() + "\nquiet = \"5s\"\n"
    }

    /// The next bundle, with these devices and settings, signed.
    fn sign(&self, devices: &str, settings: &str) {
        self.operator("bundle new --group ward-7 fleet");
        let draft = self.path("fleet/g/ward-7/draft.toml");
        let text = fs::read_to_string(&draft).unwrap();
        // What the bundle before had of settings and advisories is not carried over.
        let head = text.split("[[device]]").next().unwrap().split("[settings").next().unwrap();
        let head = head.split("[[advisory_policy").next().unwrap().split("[advisory_policy").next().unwrap();
        let head: String = head
            .lines()
            .filter(|line| !line.starts_with('#') && !line.starts_with("advisories"))
            .map(|line| format!("{line}\n"))
            .collect();
        let devices = devices.replace("[[device]]\n", "[[device]]\ngateways = [\"gw-lab\"]\n");
        fs::write(&draft, head + settings + &devices).unwrap();
        let signs = |step: &str| {
            self.operator(&format!("bundle {step} --group ward-7 --passphrase-file passphrases.toml fleet"));
        };
        signs("sign --key config-1");
        // As somebody does it who has read what it is.
        let file = |number: u32| fs::read(self.path(&format!("fleet/g/ward-7/bundle-{number}.json"))).ok();
        let newest = (1..100).rev().find_map(file).unwrap();
        let read = Digest::of(Envelope::parse(&newest, 262_144).unwrap().payload());
        signs(&format!("countersign --key config-2 --digest {read}"));
    }

    /// Signs the next bundle and has it published and pushed.
    fn push(&self, devices: &str, settings: &str) {
        self.sign(devices, settings);
        self.operator(
            "publish --group ward-7 --canary gw-lab --passphrase-file passphrases.toml --push fleet",
        );
    }

    fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("run").env_remove("NOTIFY_SOCKET");
        Daemon::start(command, &self.path("gateway")).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("gateway/daemon.log")).unwrap_or_default()
    }

    /// The daemon's own word, as soon as it fulfils a condition.
    async fn status(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let socket = stage::socket(&self.path("gateway"));
        let mut last = None;
        let asked = async {
            loop {
                let socket = socket.clone();
                match tokio::task::spawn_blocking(move || status::ask(&socket)).await.unwrap() {
                    Ok(snapshot) if is_so(&snapshot) => return snapshot,
                    // The socket has no way to call back: ask again.
                    Ok(snapshot) => last = Some(snapshot.fleet),
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(snapshot) => snapshot,
            Err(late) => {
                panic!("waited in vain for {what} ({late}): {last:?}; the daemon said:\n{}", self.log())
            }
        }
    }

    /// A connection to the broker for somebody who only reads.
    fn reader(&self, name: &str) -> MqttOptions {
        let pair = &self.certificates.consumer;
        let mut options = MqttOptions::new(name, ("localhost", self.broker.port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: fs::read(self.certificates.pki.authorities()).unwrap(),
            alpn: None,
            client_auth: Some((fs::read(&pair.certificate).unwrap(), fs::read(&pair.key).unwrap())),
        }));
        options
    }

    /// What the gateway says of itself at the broker, proven, as soon as it fulfils a condition.
    async fn report(&self, what: &str, is_so: impl Fn(&Reported) -> bool) -> Reported {
        let (client, mut events) = AsyncClient::builder(self.reader("reader")).capacity(8).build();
        let mut last = None;
        let read = async {
            loop {
                match events.poll().await.unwrap() {
                    Event::Incoming(Packet::ConnAck(_)) => {
                        client.try_subscribe(REPORTED, QoS::AtLeastOnce).unwrap();
                    }
                    Event::Incoming(Packet::Publish(publish)) => {
                        let told = Reported::unproven(&publish.payload).unwrap();
                        let chain = told.chain().unwrap();
                        let key = ReportKey::of_certificate(&chain[0]).unwrap();
                        let report = Reported::verify(&publish.payload, &key).unwrap();
                        if is_so(&report) {
                            return report;
                        }
                        last = Some(report);
                    }
                    _ => {}
                }
            }
        };
        match tokio::time::timeout(PATIENCE, read).await {
            Ok(report) => report,
            Err(late) => panic!("waited in vain for {what} ({late}): {last:?}"),
        }
    }
}

fn runs(status: &Snapshot, bundle: u64) -> bool {
    status.fleet.as_ref().is_some_and(|fleet| {
        fleet.bundle == Some(bundle) && fleet.standing == "current" && fleet.trial.is_none()
    })
}

fn is_tried(status: &Snapshot, bundle: u64) -> bool {
    status.fleet.as_ref().and_then(|fleet| fleet.trial.as_ref()).is_some_and(|trial| trial.bundle == bundle)
}

fn is_failed(status: &Snapshot, words: &str) -> bool {
    status.fleet.as_ref().is_some_and(|fleet| fleet.standing == "failed" && fleet.detail.contains(words))
}

fn listed(status: &Snapshot) -> Vec<&str> {
    status.devices.iter().map(|device| device.id.as_str()).collect()
}

fn speaks(status: &Snapshot, id: &str) -> bool {
    status
        .devices
        .iter()
        .any(|device| device.id == id && device.last_reading_age_ms.is_some_and(|ms| ms < 2_000))
}

/// How often the link of a device came up.
fn ups(site: &Site, id: &str) -> usize {
    site.log().lines().filter(|line| line.contains("link up") && line.contains(id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_adds_a_device_and_bad_ones_go_back_by_themselves() {
    let site = Site::new(true).await;
    let mut daemon = site.start();
    site.status("the files", |status| speaks(status, "steady")).await;
    site.operator("push --group ward-7 fleet");
    site.status("bundle 1", |status| runs(status, 1)).await;

    site.push(&(site.entry(0, None) + &site.entry(1, None)), "");
    site.status("the trial of bundle 2", |status| is_tried(status, 2) && speaks(status, "coming")).await;
    site.status("bundle 2", |status| runs(status, 2)).await;
    let report = site.report("bundle 2", |report| report.running.is_some_and(|of| of.version == 2)).await;
    assert_eq!((report.standing.word.as_str(), report.devices.listed), ("current", 2));
    let arrived = site.consumer.wait_for(|ledger| {
        ledger.devices.iter().any(|(topic, tally)| topic.contains("coming") && tally.records > 10)
    });
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();

    // It loads, and what is at the port is not what it expects: the device falls silent.
    site.push(&(site.entry(0, None) + &site.entry(1, Some("0000099999"))), "");
    site.status("the trial of bundle 3", |status| is_tried(status, 3)).await;
    let status = site
        .status("the way back", |status| {
            is_failed(status, "coming has given nothing") && speaks(status, "coming")
        })
        .await;
    assert_eq!((listed(&status), status.fleet.as_ref().unwrap().bundle), (vec!["steady", "coming"], Some(2)));
    let report = site.report("its failure", |report| report.bad.is_some()).await;
    let bad = report.bad.unwrap();
    assert_eq!((report.standing.word.as_str(), bad.version), ("failed", 3));
    assert!(bad.reason.contains("coming has given nothing"), "{}", bad.reason);

    // What the fleet did to the gateway is a matter of its safety.
    let told = |ledger: &wardline::lab::ledger::Ledger| {
        let events = ledger.events.iter().map(|event| format!("{event:?}")).collect::<Vec<_>>();
        [
            ("Create", "fleet-bundle-tried"),
            ("Close", "fleet-bundle-tried"),
            ("Create", "fleet-bundle-taken-back"),
        ]
        .iter()
        .all(|(activity, rule)| events.iter().any(|event| event.contains(activity) && event.contains(rule)))
    };
    let is_told = tokio::time::timeout(PATIENCE, site.consumer.wait_for(told)).await.is_ok();
    let events = site.consumer.with(|ledger| ledger.events.clone());
    assert!(is_told, "waited in vain for the events: {events:?}");

    // Nobody is at this port: the broker that is known stays.
    site.push(&(site.entry(0, None) + &site.entry(1, None)), "[settings.uplink]\nport = 1\n");
    let status = site
        .status("a refusal", |status| {
            is_failed(status, "bundle 4") && status.uplink.state == "connected" && speaks(status, "coming")
        })
        .await;
    assert_eq!(status.fleet.unwrap().bundle, Some(2));
    site.report("its failure", |report| report.bad.as_ref().is_some_and(|bad| bad.version == 4)).await;

    // More room for the store, and more in the log, without a start.
    let more = "[settings.store]\ncap = \"2GiB\"\nlinger = \"100ms\"\n[settings.daemon]\nlog = \"warn\"\n";
    site.push(&(site.entry(0, None) + &site.entry(1, None)), more);
    let status = site.status("bundle 5", |status| runs(status, 5)).await;
    assert_eq!(status.store.cap, 2 << 30);

    assert_eq!(ups(&site, "steady"), 1, "{}", site.log());
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    tokio::time::timeout(PATIENCE, site.consumer.caught_up()).await.unwrap().unwrap();
    let lost = site.consumer.with(|ledger| {
        let steady = ledger.devices.iter().find(|(topic, _)| topic.contains("steady")).unwrap();
        (steady.1.lost(), steady.1.out_of_order, ledger.complaints.clone())
    });
    assert_eq!(lost, (0, 0, Vec::new()));
}

/// Heartbeats and reports still reach it, readings and events do not: such a broker proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_every_reading_proves_no_bundle() {
    let site = Site::new(true).await;
    let mut daemon = site.start();
    site.status("the files", |status| speaks(status, "steady")).await;
    site.operator("push --group ward-7 fleet");
    site.status("bundle 1", |status| runs(status, 1)).await;
    fs::write(site.certificates.path().join("acl"), "pattern readwrite c/#\npattern readwrite s/#\n")
        .unwrap();
    site.broker.signal(rustix::process::Signal::HUP);
    site.status("a refusal", |status| status.uplink.refused > 0).await;
    site.push(&(site.entry(0, None) + &site.entry(1, None)), "");
    site.status("the trial of bundle 2", |status| is_tried(status, 2)).await;
    // A broker that refuses also ends connections: which of the two is seen at the deadline is chance.
    let status = site.status("the way back", |status| is_failed(status, "uplink: ")).await;
    assert_eq!(status.fleet.unwrap().bundle, Some(1));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_goes_on_after_one_power_cut_and_ends_at_the_second() {
    let site = Site::new(true).await;
    let mut daemon = site.start();
    site.operator("push --group ward-7 fleet");
    site.status("bundle 1", |status| runs(status, 1)).await;
    site.push(&(site.entry(0, None) + &site.entry(1, None)), "");
    site.status("the trial of bundle 2", |status| is_tried(status, 2)).await;
    daemon.kill().unwrap();
    let mut daemon = site.start();
    let status = site.status("the trial again", |status| is_tried(status, 2)).await;
    assert_eq!(listed(&status), ["steady", "coming"]);
    site.status("bundle 2", |status| runs(status, 2)).await;

    site.push(&site.entry(0, None), "");
    site.status("the trial of bundle 3", |status| is_tried(status, 3)).await;
    for _ in 0..2 {
        daemon.kill().unwrap();
        daemon = site.start();
        site.status("an answer", |_| true).await;
    }
    let status = site
        .status("the end of bundle 3", |status| {
            is_failed(status, "started 2 times") && speaks(status, "coming")
        })
        .await;
    assert_eq!((listed(&status), status.fleet.as_ref().unwrap().bundle), (vec!["steady", "coming"], Some(2)));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stick_does_the_same_where_no_broker_is() {
    let site = Site::new(false).await;
    let mut daemon = site.start();
    site.status("the files", |status| speaks(status, "steady")).await;
    site.sign(&(site.entry(0, None) + &site.entry(1, None)), "");
    site.operator(
        "publish --group ward-7 --canary gw-lab --passphrase-file passphrases.toml --to gateway/stick fleet",
    );
    site.status("the bundle of the stick", |status| runs(status, 2) && speaks(status, "coming")).await;
    // Read again by the operator, it is still the bundle that holds.
    let id = rustix::process::Pid::from_raw(i32::try_from(daemon.id()).unwrap()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    let said = async {
        while !site.log().contains("the configuration is the one that holds") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, said).await.is_ok(), "{}", site.log());
    assert_eq!((ups(&site, "steady"), ups(&site, "coming")), (1, 1), "{}", site.log());
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}
