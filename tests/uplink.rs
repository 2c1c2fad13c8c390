//! The uplink against a real mosquitto that asks for client certificates, and against the lab's broker
//! where something must be scripted. Whatever goes wrong: a clear error, the data stays, and all of it
//! arrives once the fault is gone.
#![cfg(feature = "lab")]

#[cfg(test)]
#[path = "uplink/change.rs"]
mod change;
#[cfg(test)]
#[path = "uplink/mosquitto.rs"]
mod mosquitto;
#[cfg(test)]
#[path = "uplink/post.rs"]
mod post;
#[cfg(test)]
#[path = "uplink/support.rs"]
mod support;

#[cfg(test)]
mod payloads {
    use std::path::Path;

    /// For `tests/payload/validate.sh`.
    #[test]
    fn samples_of_every_sort_can_be_written() {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("payloads");
        assert_eq!(wardline::lab::sample_payloads(&folder).unwrap(), 13);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 13);
    }
}

#[cfg(test)]
mod against_mosquitto {
    use std::io::Write as _;

    use rustix::process::Signal;
    use tokio::task::JoinSet;
    use wardline::envelope::keys::KeyPlace;
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
        let running = Running::start(certificates.impatient(broker.port), &ward);
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
        let running = Running::start(certificates.impatient(proxy.port), &ward);
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
            key: KeyPlace::File(old.key.clone()),
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
        let config = Config {
            certificate: old.certificate,
            key: KeyPlace::File(old.key),
            ..certificates.config(broker.port)
        };
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
            key: KeyPlace::File(stranger.key),
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

#[cfg(test)]
mod against_a_scripted_broker {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rumqttc::{AsyncClient, MqttOptions, Packet, TlsConfiguration, Transport};
    use tokio::sync::watch;
    use tokio::task::JoinSet;
    use wardline::lab::broker::{Behaviour, Broker, Links};
    use wardline::lab::consumer;
    use wardline::lab::memory::Ahead;
    use wardline::uplink::{Config, Heartbeat, Payload, State, Status};

    use super::support::{Certificates, Running, Ward, all_arrived, soon};

    /// Looks up what the broker keeps on a topic.
    type Retained = Box<dyn Fn(&str) -> Option<String>>;

    struct Lab {
        port: u16,
        behaviour: watch::Sender<Behaviour>,
        retained: Retained,
        tasks: JoinSet<()>,
    }

    impl Lab {
        async fn start(certificates: &Certificates) -> Self {
            let (behaviour, watched) = watch::channel(Behaviour::default());
            let authorities = certificates.pki.authorities();
            let broker = Broker::bind(authorities, certificates.server.clone(), watched).await.unwrap();
            let (port, retained) = (broker.port().unwrap(), Box::new(broker.retained()) as Retained);
            let mut tasks = JoinSet::new();
            tasks.spawn(async move { broker.run().await.unwrap() });
            Self { port, behaviour, retained, tasks }
        }

        async fn consumer(&mut self, certificates: &Certificates) -> consumer::Shared {
            let shared = consumer::Shared::default();
            let run = consumer::run(certificates.consumer(self.port), shared.clone());
            self.tasks.spawn(async move { run.await.unwrap() });
            soon("the consumer's subscription", shared.subscribed()).await;
            shared
        }

        fn links(&self, links: Links) {
            self.behaviour.send_modify(|behaviour| behaviour.links = links);
        }
    }

    const STATUS: &str = "s/v1/north/icu-2/gw-1/status";

    #[tokio::test(flavor = "multi_thread")]
    async fn alarms_come_before_the_whole_backlog_after_an_outage() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let mut ward = Ward::new(3, Ahead::No);
        let seen = lab.consumer(&certificates).await;
        let running = Running::start(certificates.config(lab.port), &ward);
        ward.read(5, 100);
        all_arrived(&ward, &seen).await;

        lab.links(Links::Cut);
        running.until("the outage", |status| matches!(status.state, State::Waiting { .. })).await;
        let before = ward.total();
        ward.read(30, 300);
        for _ in 0..5 {
            ward.alarm();
        }
        ward.read(30, 300);
        lab.links(Links::Serve);
        all_arrived(&ward, &seen).await;
        seen.with(|ledger| {
            let places: Vec<u64> = ledger.alarms.iter().map(|(place, _)| *place).collect();
            assert_eq!(places, (before..before + 5).collect::<Vec<_>>());
        });
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn links_that_are_cut_again_and_again_lose_nothing() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let mut ward = Ward::new(3, Ahead::No);
        let seen = lab.consumer(&certificates).await;
        let running =
            Running::start(Config { payload: Payload::Fhir, ..certificates.impatient(lab.port) }, &ward);
        for round in 1..=10u64 {
            ward.read(20, 100);
            ward.alarm();
            // Somewhere in the middle of it.
            let some = ward.total() - 1_000;
            soon("some of it", seen.wait_for(|ledger| ledger.records > some)).await;
            lab.links(Links::Cut);
            running.until("the cut", |status| !matches!(status.state, State::Online)).await;
            lab.links(if round % 2 == 0 { Links::Swallow } else { Links::Serve });
            if round % 2 == 0 {
                let silent = |words: &str| words.contains("does not answer");
                running.until("silence", |status| status.trouble.as_deref().is_some_and(silent)).await;
                lab.links(Links::Serve);
            }
        }
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_reason_to_wait_holds_the_data_until_it_is_gone() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(2, Ahead::No);
        let running = Running::start(certificates.config(lab.port), &ward);
        for reason in [0x97, 0x83, 0x80, 0x91, 0x87, 0x10] {
            lab.behaviour.send_modify(|behaviour| behaviour.refuse = vec![("d/v1/#".to_owned(), reason)]);
            let blocks = 5;
            ward.read(blocks, 40);
            ward.alarm();
            // Of all that was on its way: what the broker takes while something before it waits comes first.
            let is_refused = |s: &Status| s.in_flight == 0 && s.held.iter().any(|(_, code)| *code == reason);
            let status = running.until("the refusal", is_refused).await;
            assert_eq!(ward.store.waiting(), blocks + 1);
            assert_eq!(status.not_authorised, reason == 0x87);
            assert_eq!(status.no_consumer, reason == 0x10);
            lab.behaviour.send_modify(|behaviour| behaviour.refuse.clear());
            all_arrived(&ward, &seen).await;
        }
        let status = running.stop().await;
        assert_eq!(status.connections, 1, "{:?}", status.trouble);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_nobody_reads_is_not_counted_as_refused_and_what_the_broker_refuses_is() {
        let certificates = Certificates::new();
        let lab = Lab::start(&certificates).await;
        let ward = Ward::new(1, Ahead::No);
        // Nobody is subscribed to the birth, nor to the heartbeats: the broker answers 0x10 and keeps them.
        let running = Running::start_with(
            certificates.config(lab.port),
            &ward,
            Some(Box::new(|_| Heartbeat::default())),
        );
        let status = running.until("heartbeats", |status| status.heartbeats >= 2).await;
        assert_eq!(status.refusals, BTreeMap::new());
        for reason in [0x87, 0x97] {
            lab.behaviour.send_modify(|behaviour| behaviour.refuse = vec![("s/v1/#".to_owned(), reason)]);
            running.until("the refusal", |status| status.refusals.contains_key(&reason)).await;
        }
        assert!(!running.stop().await.refusals.contains_key(&0x10));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reason_that_mqtt_does_not_know_costs_the_connection_but_no_data() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(2, Ahead::No);
        // Server busy (0x89) is not a PUBACK reason in MQTT 5.
        lab.behaviour.send_modify(|behaviour| behaviour.refuse = vec![("d/v1/#".to_owned(), 0x89)]);
        let running = Running::start(certificates.config(lab.port), &ward);
        ward.read(5, 40);
        running.until("the loss", |status| status.connections >= 2).await;
        assert_eq!(ward.store.waiting(), 5);
        lab.behaviour.send_modify(|behaviour| behaviour.refuse.clear());
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_refused_for_good_stays_and_stops_nothing() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(2, Ahead::No);
        lab.behaviour
            .send_modify(|behaviour| behaviour.refuse = vec![("d/v1/+/+/+/dev-1/#".to_owned(), 0x99)]);
        ward.read(1, 40);
        let running = Running::start(certificates.config(lab.port), &ward);
        running.until("the dead letter", |status| status.refused_blocks == 1).await;
        lab.behaviour.send_modify(|behaviour| behaviour.refuse.clear());
        ward.read(10, 40);
        soon("the rest", seen.wait_for(|ledger| ledger.records == 20 + 400)).await;
        soon("only the dead letter is left", async {
            while ward.store.waiting() != 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;

        // Not even after a lost connection is it sent again.
        lab.links(Links::Cut);
        running.until("the cut", |status| matches!(status.state, State::Waiting { .. })).await;
        lab.links(Links::Serve);
        ward.read(1, 40);
        soon("the rest", seen.wait_for(|ledger| ledger.records == 20 + 440)).await;
        assert_eq!(running.stop().await.refused_blocks, 1);
        assert_eq!(ward.store.waiting(), 1);
        seen.with(|ledger| assert_eq!(ledger.records, 460));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn acknowledgements_in_another_order_and_a_window_of_one_change_nothing() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(3, Ahead::No);
        lab.behaviour.send_modify(|behaviour| behaviour.reverse_acks = true);
        ward.read(20, 300);
        let running = Running::start(certificates.config(lab.port), &ward);
        all_arrived(&ward, &seen).await;
        running.stop().await;

        lab.behaviour.send_modify(|behaviour| behaviour.receive_maximum = 1);
        ward.read(20, 300);
        let running = Running::start(certificates.config(lab.port), &ward);
        ward.alarm();
        all_arrived(&ward, &seen).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_takes_only_small_packets_gets_small_packets() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(1, Ahead::No);
        ward.read(1, 200);
        lab.behaviour.send_modify(|behaviour| behaviour.max_packet = 12 * 1024);
        let config = Config { payload: Payload::Fhir, ..certificates.config(lab.port) };
        let running = Running::start(config, &ward);
        all_arrived(&ward, &seen).await;
        let status = running.stop().await;
        assert_eq!((status.connections, status.trouble), (1, None));
        seen.with(|ledger| assert!(ledger.publishes > 10));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn live_readings_pass_a_backlog_where_the_store_can_read_them_ahead() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(1, Ahead::Yes);
        seen.with(|ledger| ledger.keep = true);
        ward.read(10, 500);
        let backlog = ward.total();
        // One publish at a time, and a long line: seconds for all of it.
        lab.behaviour.send_modify(|behaviour| {
            (behaviour.receive_maximum, behaviour.delay) = (1, Duration::from_millis(50));
        });
        let slow = Config { payload: Payload::Fhir, ..certificates.config(lab.port) };
        let running = Running::start(slow, &ward);
        // At the gateway: the consumer may be far behind it.
        let has_begun = |status: &Status| status.lanes.values().any(|lane| lane.acknowledged > 0);
        running.until("some of the backlog", has_begun).await;
        ward.read(1, 1);
        let all = backlog + 1;
        soon("everything", seen.wait_for(|ledger| ledger.records == all)).await;
        seen.with(|ledger| {
            let live = ledger.kept.iter().position(|(_, reading)| reading.seq == Some(all)).unwrap();
            let backlog = usize::try_from(backlog).unwrap();
            assert!(live < backlog, "the live reading came at {live} of {backlog}");
            assert_eq!(ledger.lost(), 0);
        });
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_gateway_says_that_it_is_online_and_in_the_end_offline() {
        let certificates = Certificates::new();
        let lab = Lab::start(&certificates).await;
        let ward = Ward::new(1, Ahead::No);
        let says = |word: &str| (lab.retained)(STATUS).is_some_and(|text| text.contains(word));
        let running = Running::start(certificates.config(lab.port), &ward);
        running.until("online", |status| status.state == State::Online).await;
        soon("the birth message", async {
            while !says("online") {
                tokio::task::yield_now().await;
            }
        })
        .await;
        running.stop().await;
        assert!(says("offline"), "{:?}", (lab.retained)(STATUS));

        let running = Running::start(certificates.config(lab.port), &ward);
        running.until("online", |status| status.state == State::Online).await;
        soon("the birth message", async {
            while !says("online") {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // No goodbye: the will.
        drop(running);
        soon("the will", async {
            while !says("offline") {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stopping_waits_for_what_is_in_flight_but_not_for_ever() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let _seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(1, Ahead::No);
        let patient = Config { stalled_after: Duration::from_secs(60), ..certificates.config(lab.port) };
        let running = Running::start(patient, &ward);
        running.until("online", |status| status.state == State::Online).await;
        lab.links(Links::Swallow);
        ward.read(1, 10);
        running.until("in flight", |status| status.in_flight > 0).await;
        let status = running.stop().await;
        assert_eq!((status.state, ward.store.waiting()), (State::Stopped, 1));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_cannot_be_read_is_said_and_tried_again() {
        let certificates = Certificates::new();
        let mut lab = Lab::start(&certificates).await;
        let seen = lab.consumer(&certificates).await;
        let mut ward = Ward::new(1, Ahead::No);
        ward.store.fail(true);
        ward.read(3, 10);
        let running = Running::start(certificates.config(lab.port), &ward);
        let status = running.until("the trouble", |status| status.store_trouble.is_some()).await;
        assert!(status.store_trouble.unwrap().contains("told to fail"));
        ward.store.fail(false);
        all_arrived(&ward, &seen).await;
        running.until("no trouble", |status| status.store_trouble.is_none()).await;
        running.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_lab_broker_takes_nobody_without_a_certificate() {
        let certificates = Certificates::new();
        let lab = Lab::start(&certificates).await;
        let mut options = MqttOptions::new("nobody", ("localhost", lab.port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: std::fs::read(certificates.pki.authorities()).unwrap(),
            alpn: None,
            client_auth: None,
        }));
        let (_client, mut events) = AsyncClient::builder(options).capacity(1).build();
        let refused = soon("the refusal", async {
            loop {
                match events.poll().await {
                    Ok(rumqttc::Event::Incoming(Packet::ConnAck(_))) => break None,
                    Ok(_) => {}
                    Err(error) => break Some(error.to_string()),
                }
            }
        })
        .await;
        assert!(refused.is_some_and(|words| words.contains("CertificateRequired")));
    }
}
