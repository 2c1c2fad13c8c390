//! A fleet that lives: traffic that never rests, and what must reach the broker in spite of everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;

/// Gateways that publish while somebody looks. They end when this is dropped.
struct Traffic {
    ends: Arc<AtomicBool>,
    gateways: Option<JoinHandle<()>>,
}

impl Traffic {
    /// So many gateways send their heartbeats ten times a second, and one writes under a bundle's topic.
    fn start(site: &Site, gateways: usize) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let (is_over, mut options) = (Arc::clone(&ends), site.options());
        options.set_client_id("traffic".to_owned());
        let (begins, begun) = std::sync::mpsc::sync_channel(1);
        let talk = async move {
            let (client, mut events) = AsyncClient::builder(options).capacity(4_096).build();
            let mut beat = tokio::time::interval(Duration::from_millis(100));
            while !is_over.load(Ordering::Relaxed) {
                tokio::select! {
                    _ = beat.tick() => {
                        for number in 0..gateways {
                            let topic = format!("s/v1/st-anna/icu-3/x-{number}/heartbeat");
                            let once = PublishOptions::new(QoS::AtMostOnce).retained();
                            drop(client.try_publish_tracked(topic, heartbeat(), once));
                        }
                        let once = PublishOptions::new(QoS::AtMostOnce);
                        drop(client.try_publish_tracked("c/v1/st-anna/g/icu-3/bundle/9", "x", once));
                    }
                    event = events.poll() => {
                        if let Event::Incoming(Packet::ConnAck(_)) = event.unwrap() {
                            begins.send(()).unwrap();
                        }
                    }
                }
            }
        };
        let gateways = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(talk);
        });
        begun.recv_timeout(Duration::from_secs(20)).unwrap();
        Self { ends, gateways: Some(gateways) }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(gateways) = self.gateways.take() {
            let _ = gateways.join();
        }
    }
}

fn heartbeat() -> Vec<u8> {
    br#"{"schema":"wardline-heartbeat/1","version":"0.1.0","time":"2026-11-22T12:00:00Z","lanes":[]}"#
        .to_vec()
}

/// Ends within a time, or is ended.
fn within(site: &Site, arguments: &str) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", BINARY]).args(arguments.split_whitespace());
    command.current_dir(site.certificates.path()).output().unwrap()
}

#[test]
fn a_fleet_that_never_rests_is_seen_and_pushed_to() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    // More retained heartbeats than wait in any queue, and as many reports.
    let names: Vec<String> =
        (0..300).map(|number| format!("s/v1/st-anna/icu-3/x-{number}/heartbeat")).collect();
    let put: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), heartbeat())).collect();
    site.retained(&put);
    let reports: Vec<String> =
        (0..300).map(|number| format!("c/v1/st-anna/gw/x-{number}/reported")).collect();
    let report = site.report(0, 0, |_| {});
    site.retained(&reports.iter().map(|name| (name.as_str(), report.clone())).collect::<Vec<_>>());
    let traffic = Traffic::start(&site, 120);
    let output = within(&site, "watch --once --json fleet");
    assert!(output.status.success(), "{:?} {}", output.status, text(&output));
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 302);
    let pause = "rollout pause --push --group icu-3 --passphrase-file passphrases.toml fleet";
    let output = within(&site, pause);
    assert!(output.status.success(), "{:?} {}", output.status, text(&output));
    let output = within(&site, "rollout status --json --group icu-3 fleet");
    assert!(output.status.success(), "{:?} {}", output.status, text(&output));
    drop(traffic);
    assert_eq!(stamp(&site.retained(&[])[TS])["rollout"]["paused"], true);
}

#[test]
fn what_was_paused_without_the_broker_reaches_it_when_it_is_told() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    let paused = |site: &Site| stamp(&site.retained(&[])[TS])["rollout"]["paused"].clone();
    let run =
        |words: &str| site.done(&format!("{words} --group icu-3 --passphrase-file passphrases.toml fleet"));
    run("rollout pause");
    let said = run("rollout abort");
    assert!(said.contains("is stopped in this folder; the broker does not have that"), "{said}");
    assert!(!said.contains("nobody begins"), "{said}");
    assert_eq!(paused(&site), false);
    let said = run("rollout abort --push");
    assert!(said.contains("nobody begins"), "{said}");
    assert_eq!(paused(&site), true);
    run("rollout resume");
    assert_eq!(paused(&site), true);
    assert!(run("rollout resume --push").contains("is not paused: nothing was signed"));
    assert_eq!(paused(&site), false);
    run("rollout pause");
    assert!(run("rollout pause --push").contains("is paused already: nothing was signed"));
    assert_eq!(paused(&site), true);
}

#[test]
fn a_register_that_has_changed_holds_up_no_pause_at_the_broker() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    site.done("gateway add gw-3 --group icu-3 fleet");
    site.publish("publish --push");
    site.publish("rollout pause --push");
    assert_eq!(stamp(&site.retained(&[])[TS])["rollout"]["paused"], true);
    // What the broker has never had is judged by it.
    site.done("gateway add gw-9 --group icu-4 fleet");
    let fresh = Site::new(None);
    fs::write(site.path("fleet/broker.toml"), fs::read(fresh.path("fleet/broker.toml")).unwrap()).unwrap();
    site.refused("push --group icu-3 fleet", 6, "gateway \"gw-3\" of the group is no member");
}

#[test]
fn a_key_that_was_lost_counts_for_nothing_before_the_next_bundle_is_signed() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    let file = site.path("passphrases.toml");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{lines}\nconfig-4 = \"a passphrase of config-4\"\n")).unwrap();
    let shown = site.done("root show fleet");
    let ids: Vec<&str> = shown.lines().filter(|line| line.starts_with("  ")).map(str::trim).collect();
    site.done(&format!("root new --make config --drop {} --passphrase-file passphrases.toml fleet", ids[3]));
    let pending = Envelope::parse(&fs::read(site.path("fleet/root-2.json")).unwrap(), 65_536).unwrap();
    let digest = wardline::fleet::documents::Digest::of(pending.payload());
    for key in ["root-1", "root-2"] {
        site.done(&format!(
            "root sign --key {key} --digest {digest} --passphrase-file passphrases.toml fleet"
        ));
    }
    let said = site.done("push --group icu-3 fleet");
    assert!(said.contains("pushed c/v1/st-anna/root/2\n"), "{said}");
    let there = site.retained(&[]);
    assert_eq!(there["c/v1/st-anna/root/2"], site.file("root/2.json"));
    // The roll-out of what it has signed can be stopped, and not be started again.
    site.publish("rollout pause --push");
    assert_eq!(stamp(&site.retained(&[])[TS])["rollout"]["paused"], true);
    site.refused(
        "rollout resume --push --group icu-3 --passphrase-file passphrases.toml fleet",
        6,
        "is signed by 1 of the 2 config keys that root 2 wants",
    );
    site.done("bundle new --group icu-3 fleet");
    site.bundle("sign --key config-2");
    site.bundle("countersign --key config-4");
    site.publish("rollout start --canary gw-1 --push");
    assert_eq!(stamp(&site.retained(&[])[TS])["head"]["version"], 2);
}

#[test]
fn what_may_be_removed_is_said_once() {
    let site = Site::new(None);
    site.signed(2);
    site.publish("rollout start --canary gw-1 --push");
    site.signed(0);
    site.publish("rollout start --canary gw-1 --yes-remove 2 --push");
    assert_eq!(stamp(&site.retained(&[])[TS])["head"]["version"], 2);
}

#[test]
fn what_nobody_needs_at_the_broker_is_taken_away_when_that_is_said() {
    let site = Site::new(None);
    let bundle = |number: u32| format!("c/v1/st-anna/g/icu-3/bundle/{number}");
    for _ in 0..5 {
        site.signed(2);
        site.publish("rollout start --canary gw-1 --push");
    }
    // One gateway still runs the second, and an advisory that nobody names lies there.
    let second = wardline::fleet::documents::Digest::of(&site.file("g/icu-3/bundle/2.json")).to_string();
    let report = site.report(0, 0, |report| report["running"] = json!({ "version": 2, "sha256": second }));
    let advisory = format!("c/v1/st-anna/advisory/{}", "ab".repeat(32));
    site.retained(&[("c/v1/st-anna/gw/gw-1/reported", report), (advisory.as_str(), b"{}".to_vec())]);
    let before: Vec<String> = site.retained(&[]).into_keys().collect();
    assert!((1..=5).all(|number| before.contains(&bundle(number))), "{before:?}");
    // It is not done by itself.
    assert!(site.done("push --group icu-3 fleet").contains("nothing to do"));
    assert!(site.retained(&[]).into_keys().eq(before.clone()));
    let said = site.done("push --tidy --group icu-3 fleet");
    for gone in [&bundle(1), &bundle(3), &advisory] {
        assert!(said.contains(&format!("takes away {gone}: ")), "{said}");
    }
    let after: Vec<String> = site.retained(&[]).into_keys().collect();
    let gone: Vec<&String> = before.iter().filter(|topic| !after.contains(topic)).collect();
    assert_eq!(gone, [&advisory, &bundle(1), &bundle(3)]);
    assert!(
        site.done("push --tidy --group icu-3 fleet").contains("nothing of icu-3 at the broker is needless")
    );
}
