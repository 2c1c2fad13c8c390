//! Revocation lists in the configuration: what they stop, what they tell, and the way back.

use std::path::PathBuf;

use wardline::lab::pki::{Pair, Validity};

use crate::bench::{Bench, admitted, remove};

/// A gateway with a good certificate, and a folder for lists under this rule.
async fn bench(rule: &str) -> (Bench, PathBuf) {
    let mut bench = Bench::new().await;
    bench.issue("ok").await;
    bench.identity().promote().unwrap();
    let lists = bench.path("gateway/crl");
    std::fs::create_dir(&lists).unwrap();
    bench.set("backoff_first", &format!("revocation_lists = \"crl\"\nrevocation = {rule:?}\nbackoff_first"));
    (bench, lists)
}

/// A list in PEM, as some authorities publish it.
fn pem(der: &[u8]) -> String {
    use x509_cert::der::pem::{LineEnding, encode_string};
    encode_string("X509 CRL", LineEnding::LF, der).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_certificate_was_taken_back_gets_nothing_until_a_newer_list_clears_it() {
    let (bench, lists) = bench("enforce-content").await;
    let list = |revoked: &[&Pair], days| bench.pki.revocation_list(revoked, days).unwrap();
    std::fs::write(lists.join("lab.crl"), list(&[&bench.broker_pair], (-2, 7))).unwrap();
    let daemon = bench.start();
    let refused = bench.status("the broker is not trusted", |status| {
        admitted(status) > 100 && status.uplink.last_error.is_some()
    });
    let error = bench.while_reading(refused).await.uplink.last_error.unwrap();
    assert!(error.contains("is not trusted") && error.contains("taken its certificate back"), "{error}");
    assert!(bench.subjects().is_empty());
    // An empty folder is no list that names nobody, and a list that somebody else made in the authority's name counts
    // for nothing.
    let other = wardline::lab::pki::Pki::create(&bench.path("other")).unwrap();
    remove(&lists.join("lab.crl"));
    let nothing = bench.status("no list", |status| {
        status.uplink.last_error.as_ref().is_some_and(|error| error.contains("the folder is empty"))
    });
    bench.while_reading(nothing).await;
    std::fs::write(lists.join("other.crl"), other.revocation_list(&[], (-1, 7)).unwrap()).unwrap();
    let unknown = bench.status("another's list", |status| {
        status
            .uplink
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("list cannot be used: BadSignature"))
    });
    bench.while_reading(unknown).await;
    remove(&lists.join("other.crl"));
    // The older list that takes the broker back lies beside the newer one that does not, in PEM.
    std::fs::write(lists.join("lab-1.crl"), list(&[&bench.broker_pair], (-2, 7))).unwrap();
    let innocent = bench.pki.client("innocent", Validity::Now).unwrap();
    std::fs::write(lists.join("lab-2.pem"), pem(&list(&[&innocent], (-1, 7)))).unwrap();
    bench.while_reading(bench.status("connected", |status| status.uplink.state == "connected")).await;
    bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_has_run_out_is_told_of_and_stops_the_connection_only_where_the_rule_says_so() {
    let (bench, lists) = bench("enforce-content").await;
    let list = bench.pki.revocation_list(&[], (-9, -2)).unwrap();
    std::fs::write(lists.join("lab.crl"), list).unwrap();
    let mut daemon = bench.start();
    let connected = bench.status("connected", |status| {
        status.uplink.state == "connected"
            && status.warnings.iter().any(|warning| warning.contains("ran out at"))
    });
    bench.while_reading(connected).await;
    bench.event("revocation-list-outdated", "Create").await;
    assert_eq!(daemon.stop(crate::bench::PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    let before = bench.subjects().len();

    bench.set("\"enforce-content\"", "\"enforce\"");
    let daemon = bench.start();
    let refused = bench.status("the list stops it", |status| {
        admitted(status) > 100
            && status.uplink.last_error.as_ref().is_some_and(|error| error.contains("has run out"))
    });
    bench.while_reading(refused).await;
    assert_eq!(bench.subjects().len(), before, "nothing was sent");
    // A fresh one is put there by hand.
    std::fs::write(lists.join("lab.crl"), bench.pki.revocation_list(&[], (-1, 7)).unwrap()).unwrap();
    bench.while_reading(bench.status("connected", |status| status.uplink.state == "connected")).await;
    bench.end(daemon).await;
}
