//! The uplink against a real mosquitto that asks for client certificates, and against the lab's broker
//! where something must be scripted. Whatever goes wrong: a clear error, the data stays, and all of it
//! arrives once the fault is gone.
#![cfg(feature = "lab")]

#[path = "uplink/mosquitto.rs"]
mod mosquitto;
#[path = "uplink/support.rs"]
mod support;

mod against_mosquitto {
    use std::io::Write as _;

    use rustix::process::Signal;
    use tokio::task::JoinSet;
    use wardline::lab::consumer;
    use wardline::lab::memory::Ahead;
    use wardline::lab::pki::{Pki, Validity};
    use wardline::time::ClockSync;
    use wardline::uplink::{Config, Payload, State, Subscriber};

    use super::mosquitto::{Mosquitto, Proxy, Setup};
    use super::support::{Certificates, Running, Ward, all_arrived, soon};

    /// A consumer that is subscribed; ends with the test.
    async fn consumer(certificates: &Certificates, port: u16) -> (consumer::Shared, JoinSet<()>) {
        let shared = consumer::Shared::default();
        let mut tasks = JoinSet::new();
        let run = consumer::run(certificates.consumer(port), shared.clone());
        tasks.spawn(async move { run.await.unwrap() });
        soon("the consumer's subscription", shared.subscribed()).await;
        (shared, tasks)
    }

    async fn everything_arrives(payload: Payload) {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let mut ward = Ward::new(3, Ahead::No);
        ward.read(20, 300);
        ward.alarm();
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let running = Running::start(Config { payload, ..certificates.config(broker.port) }, &ward);
        ward.read(5, 100);
        ward.alarm();
        all_arrived(&ward, &seen).await;
        let status = running.stop().await;
        assert_eq!(status.state, State::Stopped);
        assert_eq!((status.trouble, status.connections), (None, 1));
        let records: u64 = status.lanes.values().map(|lane| lane.records).sum();
        assert_eq!(records, ward.total());
        assert!(status.certificate_days_left.is_some_and(|days| (88..=90).contains(&days)));
        seen.with(|ledger| {
            assert_eq!(ledger.devices.len(), 3);
            assert_eq!(ledger.sum(|tally| tally.duplicates), 0);
            assert_eq!(ledger.alarms.first().map(|(before, _)| *before), Some(0), "the alarm comes first");
        });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_record_arrives_as_fhir_once_and_in_order() {
        everything_arrives(Payload::Fhir).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_record_arrives_as_cbor_once_and_in_order() {
        everything_arrives(Payload::Cbor).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_hangs_is_given_up_and_served_again_when_it_goes_on() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(2, 50);
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let running = Running::start(certificates.config(broker.port), &ward);
        all_arrived(&ward, &seen).await;

        broker.signal(Signal::STOP);
        ward.read(10, 50);
        let status = running.until("the hung broker is noticed", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("unanswered"), "{words}");
        assert_eq!(ward.store.waiting(), 10);

        broker.signal(Signal::CONT);
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_is_killed_loses_nothing_that_was_not_acknowledged() {
        let certificates = Certificates::new();
        let mut broker = Mosquitto::start(&certificates);
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(2, 50);
        let (seen, task) = consumer(&certificates, broker.port).await;
        let running = Running::start(certificates.config(broker.port), &ward);
        all_arrived(&ward, &seen).await;

        broker.kill();
        ward.read(10, 50);
        let lost = running.until("the loss", |status| matches!(status.state, State::Waiting { .. })).await;
        assert!(lost.trouble.unwrap().contains("localhost"));
        let refused = running
            .until("nobody listening", |status| {
                status.trouble.as_deref().is_some_and(|words| words.contains("cannot reach"))
            })
            .await;
        assert!(refused.trouble.unwrap().contains("firewall"));
        assert_eq!(ward.store.waiting(), 10);

        broker.restart();
        // It remembers no subscription: whatever comes before the consumer is back is refused with
        // "nobody subscribes" and kept.
        all_arrived(&ward, &seen).await;
        drop(task);
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_link_that_swallows_everything_is_given_up_without_a_fin() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let proxy = Proxy::start(broker.port).await;
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(2, 50);
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let running = Running::start(certificates.config(proxy.port), &ward);
        all_arrived(&ward, &seen).await;

        proxy.swallow(true);
        ward.read(10, 50);
        let status = running.until("the dead link is noticed", |status| status.trouble.is_some()).await;
        assert!(status.trouble.unwrap().contains("unanswered"));
        let again = running
            .until("new connections fail too", |status| {
                status.trouble.as_deref().is_some_and(|words| words.contains("does not answer"))
            })
            .await;
        assert_eq!((again.connections, ward.store.waiting()), (1, 10));

        proxy.swallow(false);
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_access_list_holds_the_data_and_lets_everything_else_through() {
        let certificates = Certificates::new();
        let acl = certificates.path().join("acl");
        let rules = |gateway: &str| {
            let text = format!(
                "user consumer\ntopic read d/#\nuser gw-1\n{gateway}\ntopic write s/v1/north/icu-2/gw-1/#\n"
            );
            std::fs::File::create(&acl).unwrap().write_all(text.as_bytes()).unwrap();
        };
        rules("topic write d/v1/north/icu-2/gw-1/dev-0/#");
        let setup = Setup { server: &certificates.server, tls: "TLSv1.3", acl: Some(&acl) };
        let broker = Mosquitto::start_with(&certificates, &setup);
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(40, 50);
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let running = Running::start(certificates.config(broker.port), &ward);

        let status = running.until("the refusal", |status| status.not_authorised).await;
        assert!(status.refusals.contains_key(&0x87), "{:?}", status.refusals);
        assert_eq!(status.held, [("d/v1/north/icu-2/gw-1/dev-1/obs".to_owned(), 0x87)]);
        // The device that is allowed is not held up by the one that is not.
        soon(
            "the allowed device",
            seen.wait_for(|ledger| ledger.devices.get("dev-0").is_some_and(|tally| tally.records == 1_000)),
        )
        .await;
        assert_eq!(ward.store.waiting(), 40);
        seen.with(|ledger| assert!(!ledger.devices.contains_key("dev-1")));

        rules("topic write d/v1/north/icu-2/gw-1/#");
        broker.signal(Signal::HUP);
        all_arrived(&ward, &seen).await;
        running.until("the flag is gone", |status| !status.not_authorised && status.held.is_empty()).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_subscribes_to_is_kept_until_somebody_does() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(10, 50);
        let running = Running::start(certificates.config(broker.port), &ward);
        let status = running.until("no consumer", |status| status.no_consumer).await;
        assert!(status.refusals.contains_key(&0x10));
        assert_eq!(ward.store.waiting(), 10);

        let (seen, _task) = consumer(&certificates, broker.port).await;
        all_arrived(&ward, &seen).await;
        running.until("the flag is gone", |status| !status.no_consumer).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_a_rules_engine_consumes_nobody_need_subscribe() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let mut ward = Ward::new(2, Ahead::No);
        ward.read(10, 50);
        let config = Config { subscriber: Subscriber::Optional, ..certificates.config(broker.port) };
        let running = Running::start(config, &ward);
        soon("everything acknowledged", ward.store.drained()).await;
        let status = running.stop().await;
        assert!(!status.no_consumer);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_of_another_authority_is_not_trusted_until_ours_is_there() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let other = tempfile::tempdir().unwrap();
        let stranger = Pki::create(other.path()).unwrap();
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(3, 10);
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let authorities = stranger.authorities();
        let config = Config { authorities: authorities.clone(), ..certificates.config(broker.port) };
        let running = Running::start(config, &ward);
        let status = running.until("the distrust", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("not trusted") && words.contains("`authorities`"), "{words}");
        assert_eq!((ward.store.waiting(), status.connections), (3, 0));

        std::fs::copy(certificates.pki.authorities(), authorities).unwrap();
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_with_another_name_is_not_trusted() {
        let certificates = Certificates::new();
        let server = certificates.pki.server("other", &["broker.example"], Validity::Now).unwrap();
        let setup = Setup { server: &server, tls: "TLSv1.3", acl: None };
        let broker = Mosquitto::start_with(&certificates, &setup);
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(3, 10);
        let running = Running::start(certificates.config(broker.port), &ward);
        let status = running.until("the distrust", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("not valid for name \"localhost\"") && words.contains("`host`"), "{words}");
        assert_eq!((ward.store.waiting(), status.connections), (3, 0));
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn our_expired_certificate_is_named_with_its_date_and_a_new_one_recovers() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let old = certificates.pki.client("old", Validity::Expired).unwrap();
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(3, 10);
        let (seen, _task) = consumer(&certificates, broker.port).await;
        let config = Config {
            certificate: old.certificate.clone(),
            key: old.key.clone(),
            ..certificates.config(broker.port)
        };
        let running = Running::start(config, &ward);
        let status = running.until("the expiry", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(
            words.contains("old.pem") && words.contains("(10 days ago)") && words.contains("enrol"),
            "{words}"
        );
        assert!(status.certificate_days_left.is_some_and(|days| days < 0));
        assert_eq!(ward.store.waiting(), 3);

        std::fs::copy(&certificates.gateway.key, &old.key).unwrap();
        std::fs::copy(&certificates.gateway.certificate, &old.certificate).unwrap();
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn with_an_unsure_clock_the_broker_decides_on_our_certificate_and_its_refusal_is_named() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let old = certificates.pki.client("old", Validity::Expired).unwrap();
        let mut ward = Ward::with_clock(1, Ahead::No, ClockSync::Unsynced);
        ward.read(3, 10);
        let config =
            Config { certificate: old.certificate, key: old.key, ..certificates.config(broker.port) };
        let running = Running::start(config, &ward);
        let status = running.until("the refusal", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("refuses this gateway's certificate (CertificateExpired)"), "{words}");
        assert_eq!((ward.store.waiting(), status.connections), (3, 0));
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_of_another_authority_is_refused_by_the_broker() {
        let certificates = Certificates::new();
        let broker = Mosquitto::start(&certificates);
        let other = tempfile::tempdir().unwrap();
        let stranger = Pki::create(other.path()).unwrap().client("gw-1", Validity::Now).unwrap();
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(3, 10);
        let config = Config {
            certificate: stranger.certificate,
            key: stranger.key,
            ..certificates.config(broker.port)
        };
        let running = Running::start(config, &ward);
        let status = running.until("the refusal", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("refuses this gateway's certificate"), "{words}");
        assert_eq!((ward.store.waiting(), status.connections), (3, 0));
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_with_an_old_tls_is_not_spoken_to() {
        let certificates = Certificates::new();
        let setup = Setup { server: &certificates.server, tls: "TLSv1.2", acl: None };
        let broker = Mosquitto::start_with(&certificates, &setup);
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(3, 10);
        let running = Running::start(certificates.config(broker.port), &ward);
        let status = running.until("the refusal", |status| status.trouble.is_some()).await;
        let words = status.trouble.unwrap();
        assert!(words.contains("does not speak TLS 1.3"), "{words}");
        assert_eq!((ward.store.waiting(), status.connections), (3, 0));
        running.stop().await;
    }
}
