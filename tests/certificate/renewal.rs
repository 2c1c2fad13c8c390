//! The daemon renews its certificate while readings flow, and whatever goes wrong costs nothing.

use std::process::Command;
use std::time::Duration;

use wardline::identity::renewal::Alarm;

use crate::bench::{Bench, PATIENCE, admitted, now, renewal};

/// A certificate that is nearly over, in use.
async fn aged() -> Bench {
    let mut bench = Bench::new().await;
    bench.issue("aged").await;
    bench.identity().promote().unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_certificate_is_renewed_while_readings_flow_and_nothing_is_lost() {
    let bench = aged().await;
    let first = bench.leaf();
    // The certificate server takes the request and answers when it is told to.
    bench.ask_at("gated");
    let daemon = bench.start();
    bench.while_reading(bench.heard("readings under the old one", |ledger| ledger.records > 300)).await;
    bench.event("certificate-age", "Create").await;
    let status = bench.status("the present one", |status| renewal(status) == "due").await;
    let shown = status.uplink.certificate.unwrap();
    assert_eq!((shown.alarm.as_str(), shown.trouble), ("soon", None));
    assert!(
        status.warnings.iter().any(|warning| warning.contains("valid only until")),
        "{:?}",
        status.warnings
    );
    assert_eq!(bench.subjects(), ["CN=gw-lab"]);

    std::fs::write(bench.server.folder().join("go"), "").unwrap();
    let renewed = bench.status("another one is in use", |status| renewal(status) == "good");
    let status = bench.while_reading(renewed).await;
    let before = bench.seen.with(|ledger| ledger.records);
    bench
        .while_reading(bench.heard("readings under the new one", |ledger| ledger.records > before + 300))
        .await;
    // The broker's own word: one more connection, and by the new certificate.
    assert_eq!(bench.subjects(), ["CN=gw-lab", "CN=gw-lab,O=renewed"]);
    assert_ne!(bench.leaf(), first);
    assert!(bench.identity().next().unwrap().is_none() && bench.identity().pending().unwrap().is_none());
    let shown = status.uplink.certificate.clone().unwrap();
    assert_eq!((shown.alarm.as_str(), shown.trouble), ("none", None));
    assert!(shown.due.is_some() && status.uplink.certificate_days_left.unwrap() > 80, "{:?}", status.uplink);
    bench.event("certificate-renewed", "Create").await;
    bench.event("certificate-age", "Close").await;
    // As a person sees it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    let out = command.args(["status", "--config"]).arg(bench.path("gateway")).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("certificate: valid until") && text.contains("renewed from"), "{text}");
    let told = heartbeat(&bench);
    assert_eq!(
        (&told["certificate"]["renewal"], &told["certificate"]["alarm"]),
        (&"good".into(), &"none".into())
    );
    bench.end(daemon).await;
}

/// The heartbeat that the broker keeps, and the next two: the last one.
fn heartbeat(bench: &Bench) -> serde_json::Value {
    let pair = bench.pki.client("looker", wardline::lab::pki::Validity::Now).unwrap();
    let out = Command::new("mosquitto_sub")
        .args(["-h", "localhost", "-p", &bench.port().to_string(), "-V", "5", "-C", "3", "-W", "20"])
        .args(["-t", "s/v1/lab/ward-7/gw-lab/heartbeat", "--cafile"])
        .arg(bench.pki.authorities())
        .arg("--cert")
        .arg(pair.certificate)
        .arg("--key")
        .arg(pair.key)
        .output()
        .unwrap();
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_else(|_| panic!("{out:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_the_broker_refuses_is_not_used_and_the_old_connection_stays() {
    let bench = aged().await;
    let first = bench.leaf();
    // Of an authority that the certificate server vouches for and the broker does not know.
    bench.ask_at("strange");
    let daemon = bench.start();
    let fallen = bench.status("the broker refuses the new one", |status| renewal(status) == "fallback");
    let status = bench.while_reading(fallen).await;
    let shown = status.uplink.certificate.unwrap();
    let trouble = shown.trouble.unwrap();
    assert!(trouble.contains("refuses this gateway's certificate (UnknownCA)"), "{trouble}");
    assert!(trouble.contains("the one before is used") && shown.next_attempt_ms.is_some(), "{trouble}");
    bench.event("certificate-not-renewed", "Create").await;
    let before = bench.seen.with(|ledger| ledger.records);
    bench.while_reading(bench.heard("readings go on", |ledger| ledger.records > before + 300)).await;
    assert_eq!(bench.subjects(), ["CN=gw-lab"], "the connection of before");
    assert_eq!(bench.leaf(), first);
    assert!(bench.server.saw("simplereenroll").len() == 1, "it is kept for another try");
    bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_while_it_renews_there_is_always_a_whole_pair() {
    let bench = aged().await;
    // Each is nearly over as soon as it is there, and nothing says when the last one came: the daemon never stops
    // renewing.
    bench.ask_at("aged");
    let mut seen = std::collections::BTreeSet::new();
    for cycle in 0..12u64 {
        let _ = std::fs::remove_file(bench.identity().path().join("renewed.json"));
        let mut daemon = bench.start();
        bench.while_reading(bench.status("it runs", |status| admitted(status) > 10)).await;
        bench.while_reading(tokio::time::sleep(Duration::from_millis(137 * (cycle * 7 % 11)))).await;
        daemon.kill().unwrap();
        seen.insert(bench.leaf());
    }
    assert!(seen.len() > 3, "{} certificates in all", seen.len());
    bench.ask_at("ok");
    let _ = std::fs::remove_file(bench.identity().path().join("renewed.json"));
    let daemon = bench.start();
    bench.while_reading(bench.status("it rests", |status| renewal(status) == "good")).await;
    assert_eq!(bench.identity().current().unwrap().unwrap().lifetime().alarm(now()), Alarm::None);
    bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_power_cut_left_is_put_right_at_the_start() {
    // The first certificate was issued and not yet taken.
    let mut bench = Bench::new().await;
    bench.issue("ok").await;
    assert!(bench.identity().current().unwrap().is_none());
    let daemon = bench.start();
    bench.while_reading(bench.status("connected", |status| status.uplink.state == "connected")).await;
    assert!(bench.identity().next().unwrap().is_none());
    let mut daemon = daemon;
    daemon.kill().unwrap();
    let first = bench.leaf();
    // The next one was issued and not yet shown: without another request it is shown and taken.
    bench.issue("ok").await;
    bench.ask_at("down");
    let daemon = bench.start();
    let taken = async {
        while bench.leaf() == first {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let taken = tokio::time::timeout(PATIENCE, bench.while_reading(taken)).await;
    assert!(taken.is_ok(), "{}", bench.logs());
    assert!(bench.server.saw("simplereenroll").is_empty());
    bench.event("certificate-renewed", "Create").await;
    bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_stops_the_uplink_alone_and_enrolling_again_is_the_way_back() {
    let mut bench = Bench::new().await;
    bench.install_expired();
    bench.ask_at("ok");
    let daemon = bench.start();
    let is_told = |status: &wardline::host::status::Snapshot| {
        let certificate = status.uplink.certificate.as_ref();
        admitted(status) > 100
            && certificate.is_some_and(|shown| shown.alarm == "expired" && shown.trouble.is_some())
    };
    let status = bench.while_reading(bench.status("readings, and the expiry", is_told)).await;
    let error = status.uplink.last_error.unwrap();
    assert!(error.contains("expired at") && error.contains("enrol the gateway again"), "{error}");
    assert_eq!((renewal_words(&bench), bench.subjects().len()), (true, 0));

    bench.server.token("gw-lab", "anew");
    std::fs::write(bench.path("token"), "anew\n").unwrap();
    std::fs::set_permissions(bench.path("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.env("LD_PRELOAD", bench.path("synced.so"));
    command.args(["enrol", "--server", &bench.server.address("ok"), "--authorities"]);
    command.arg(bench.server.folder().join("ca.pem")).arg("--token-file").arg(bench.path("token"));
    let done = command.arg("--config").arg(bench.path("gateway")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // By itself: nobody tells the daemon.
    bench.while_reading(bench.status("connected", |status| status.uplink.state == "connected")).await;
    bench.event("certificate-expired", "Create").await;
    bench.end(daemon).await;
}

/// The log says what to do.
fn renewal_words(bench: &Bench) -> bool {
    let log = std::fs::read_to_string(bench.path("gateway/daemon.log")).unwrap();
    log.contains("readings are collected and kept, and nothing can be sent")
}
