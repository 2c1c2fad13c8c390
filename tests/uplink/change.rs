//! The uplink changes while it runs: to another broker, with another certificate, to where nobody is.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wardline::envelope::keys::KeyPlace;
use wardline::host::clock::SystemClock;
use wardline::lab::broker::{Behaviour, Broker, Links};
use wardline::lab::consumer;
use wardline::lab::memory::Ahead;
use wardline::lab::pki::Pair;
use wardline::lab::pki::{Pki, Validity};
use wardline::time::Clock as _;
use wardline::uplink::tls::{Lists, Rule};
use wardline::uplink::{Config, NotTaken, Payload, State};

use super::mosquitto::Mosquitto;
use super::support::{Certificates, Running, Ward, all_arrived, soon};

/// A consumer at a broker, with the ledger of all of them.
async fn consume(certificates: &Certificates, port: u16, seen: &consumer::Shared, tasks: &mut JoinSet<()>) {
    let run = consumer::run(certificates.consumer(port), seen.clone());
    tasks.spawn(async move { run.await.unwrap() });
    soon("the consumer's subscription", seen.subscribed()).await;
}

fn numbers(seen: &consumer::Shared) -> (usize, BTreeSet<(String, u64)>) {
    seen.with(|ledger| {
        let all = ledger.kept.iter().map(|(device, reading)| (device.clone(), reading.seq.unwrap()));
        (ledger.kept.len(), all.collect())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn another_broker_is_gone_over_to_and_every_record_is_at_one_of_the_two() {
    let certificates = Certificates::new();
    let (first, second) = (Mosquitto::start(&certificates), Mosquitto::start(&certificates));
    let (here, there) = (consumer::Shared::default(), consumer::Shared::default());
    let mut tasks = JoinSet::new();
    for (broker, seen) in [(&first, &here), (&second, &there)] {
        seen.with(|ledger| ledger.keep = true);
        consume(&certificates, broker.port, seen, &mut tasks).await;
    }
    let mut ward = Ward::new(3, Ahead::No);
    ward.read(20, 100);
    let running = Running::start(certificates.config(first.port), &ward);
    soon("the first records", here.wait_for(|ledger| ledger.records >= 500)).await;
    // Plenty is in flight and waiting; another payload and other topics on the way.
    ward.read(40, 100);
    let other = Config {
        payload: Payload::Fhir,
        group: "icu-3".to_owned(),
        window: 20,
        ..certificates.config(second.port)
    };
    running.handle.change(other).await.unwrap();
    assert_eq!(running.status.borrow().connections, 2);
    ward.read(20, 100);
    ward.alarm();
    soon("everything acknowledged to the store", ward.store.drained()).await;
    let total = usize::try_from(ward.total()).unwrap();
    for seen in [&here, &there] {
        soon("all records", seen.caught_up()).await.unwrap();
    }
    assert_eq!(numbers(&here).1.union(&numbers(&there).1).count(), total);
    assert!(there.with(|ledger| !ledger.alarms.is_empty()));
    let ((count, is_here), (rest, arrived)) = (numbers(&here), numbers(&there));
    assert!(is_here.len() >= 500 && arrived.len() >= 2_000, "{} {}", is_here.len(), arrived.len());
    assert_eq!(count + rest, total, "what was in flight was awaited, so nothing came twice");
    for seen in [&here, &there] {
        seen.with(|ledger| assert_eq!(ledger.complaints, [""; 0]));
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_does_not_wait_until_the_old_broker_has_answered() {
    const LATE: Duration = Duration::from_secs(4);
    let certificates = Certificates::new();
    let mut tasks = JoinSet::new();
    let (here, there) = (consumer::Shared::default(), consumer::Shared::default());
    let (behaviour, behaves) = watch::channel(Behaviour::default());
    let first =
        Broker::bind(certificates.pki.authorities(), certificates.server.clone(), behaves).await.unwrap();
    let first_port = first.port().unwrap();
    tasks.spawn(async move { first.run().await.unwrap() });
    let second = Mosquitto::start(&certificates);
    for (port, seen) in [(first_port, &here), (second.port, &there)] {
        seen.with(|ledger| ledger.keep = true);
        consume(&certificates, port, seen, &mut tasks).await;
    }
    let mut ward = Ward::new(3, Ahead::No);
    ward.read(5, 20);
    let patient = |port| Config { stalled_after: Duration::from_secs(30), ..certificates.config(port) };
    let running = Running::start(patient(first_port), &ward);
    soon("the first records", here.wait_for(|ledger| ledger.records >= 100)).await;
    soon("the first answers", ward.store.drained()).await;
    // From here on it answers late, and something of it is in flight.
    behaviour.send_modify(|behaviour| behaviour.delay = LATE);
    ward.read(5, 20);
    running.until("something in flight", |status| status.in_flight > 0).await;
    let clock = SystemClock::default();
    let begun = clock.now().mono;
    let waited = || clock.now().mono.since(begun);
    let handle = running.handle.clone();
    let change = handle.change(patient(second.port));
    tokio::pin!(change);
    let mut alarms = 0;
    loop {
        tokio::select! {
            changed = &mut change => break changed.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                ward.alarm();
                alarms += 1;
            }
        }
    }
    assert!(waited() < LATE, "gone over after {:?}", waited());
    assert!(alarms > 0);
    soon("the alarms", there.wait_for(|ledger| !ledger.alarms.is_empty())).await;
    assert!(waited() < LATE, "the alarm waited {:?}", waited());
    soon("everything acknowledged to the store", ward.store.drained()).await;
    for seen in [&here, &there] {
        soon("all records", seen.caught_up()).await.unwrap();
    }
    let all: BTreeSet<_> = numbers(&here).1.union(&numbers(&there).1).cloned().collect();
    assert_eq!(u64::try_from(all.len()).unwrap(), ward.total(), "a record is at neither");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_get_through_leaves_the_connection_as_it_is() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    consume(&certificates, broker.port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let config = certificates.config(broker.port);
    let running = Running::start(config.clone(), &ward);
    running.until("a connection", |status| status.state == State::Online).await;

    let stranger = Pki::create(&certificates.path().join("stranger")).unwrap();
    let foreign = stranger.client("gw-1", Validity::Now).unwrap();
    let expired = certificates.pki.client("gw-1-expired", Validity::Expired).unwrap();
    let attempts = [
        (Config { port: 1, ..config.clone() }, "cannot reach"),
        (Config { host: "no-such-host.invalid".to_owned(), ..config.clone() }, "cannot reach"),
        (Config { authorities: stranger.authorities(), ..config.clone() }, "not trusted"),
        (
            Config {
                certificate: foreign.certificate,
                key: KeyPlace::File(foreign.key.clone()),
                ..config.clone()
            },
            "refuses this gateway's certificate",
        ),
        (
            Config { certificate: expired.certificate, key: KeyPlace::File(expired.key), ..config.clone() },
            "expired",
        ),
        (Config { key: KeyPlace::File(foreign.key), ..config.clone() }, "does not belong"),
        (Config { gateway: "gw-2".to_owned(), ..config.clone() }, "id cannot change"),
        (Config { group: "NOT A TOPIC".to_owned(), ..config.clone() }, "NOT A TOPIC"),
    ];
    for (attempt, words) in attempts {
        let refused = running.handle.change(attempt).await.unwrap_err();
        assert!(refused.contains(words), "{refused}");
        ward.read(2, 50);
        all_arrived(&ward, &seen).await;
    }
    assert_eq!(running.stop().await.connections, 1, "it is the connection of before");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_at_the_same_broker_costs_one_connection_and_no_record() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    consume(&certificates, broker.port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let config = certificates.config(broker.port);
    let running = Running::start(config.clone(), &ward);
    ward.read(40, 100);
    soon("the first records", seen.wait_for(|ledger| ledger.records >= 300)).await;
    let renewed = certificates.pki.client("gw-1-renewed", Validity::Now).unwrap();
    let changed = Config { certificate: renewed.certificate, key: KeyPlace::File(renewed.key), ..config };
    running.handle.change(changed).await.unwrap();
    ward.read(10, 100);
    all_arrived(&ward, &seen).await;
    seen.with(|ledger| assert_eq!(ledger.sum(|tally| tally.duplicates), 0));
    assert_eq!(running.stop().await.connections, 2);
}

/// A gateway that is sent to another ward: from then on nothing goes to the topics of the old one.
#[tokio::test(flavor = "multi_thread")]
async fn another_group_at_the_same_broker_moves_the_topics_and_costs_no_record() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let (seen, mut tasks) = (consumer::Shared::default(), JoinSet::new());
    consume(&certificates, broker.port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let config = certificates.config(broker.port);
    let running = Running::start(config.clone(), &ward);
    ward.read(40, 100);
    soon("the first records", seen.wait_for(|ledger| ledger.records >= 300)).await;
    assert_ne!(config.group, "icu-9");
    running.handle.change(Config { group: "icu-9".to_owned(), ..config.clone() }).await.unwrap();
    let of = |group: &str| seen.with(|ledger| ledger.groups.get(group).copied().unwrap_or_default());
    let before = of(&config.group);
    ward.read(10, 100);
    all_arrived(&ward, &seen).await;
    let (old, new) = (of(&config.group), of("icu-9"));
    assert!(before >= 300 && new >= 20, "{before} {new}");
    assert_eq!(old + new, ward.total());
    seen.with(|ledger| assert_eq!(ledger.sum(|tally| tally.duplicates), 0));
    running.stop().await;
}

/// The broker takes the handshake and then refuses CONNECT: that is only seen when the old connection is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connect_leads_back_to_the_old_settings() {
    let certificates = Certificates::new();
    let (behaviour, watched) = watch::channel(Behaviour::default());
    let broker = Broker::bind(certificates.pki.authorities(), certificates.server.clone(), watched);
    let broker = broker.await.unwrap();
    let port = broker.port().unwrap();
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { broker.run().await.unwrap() });
    consume(&certificates, port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let config = certificates.config(port);
    let running = Running::start(config.clone(), &ward);
    running.until("a connection", |status| status.state == State::Online).await;
    behaviour.send_modify(|behaviour| behaviour.deny = true);
    let other = certificates.pki.client("gw-1-other", Validity::Now).unwrap();
    let attempt = Config { certificate: other.certificate.clone(), key: KeyPlace::File(other.key), ..config };
    let refused = running.handle.change(attempt).await.unwrap_err();
    assert!(refused.contains("refuses the connection: not authorised"), "{refused}");
    // Whoever still goes by the new settings finds nothing.
    std::fs::remove_file(other.certificate).unwrap();
    behaviour.send_modify(|behaviour| behaviour.deny = false);
    ward.read(5, 100);
    all_arrived(&ward, &seen).await;
    let status = running.stop().await;
    assert_eq!(status.connections, 2, "the old one, and the old one again");
}

/// Key and chain in one file, as the identity's folder has them.
fn one_file(certificates: &Certificates, name: &str, pair: &Pair) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let texts = [&pair.key, &pair.certificate].map(|path| std::fs::read_to_string(path).unwrap());
    let path = certificates.path().join(name);
    wardline::host::atomic_file::write(&path, texts.concat().as_bytes()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_won_its_connack_takes_the_place_of_the_old_one_without_another_connection() {
    let certificates = Certificates::new();
    let (behaviour, watched) = watch::channel(Behaviour::default());
    let broker = Broker::bind(certificates.pki.authorities(), certificates.server.clone(), watched);
    let broker = broker.await.unwrap();
    let port = broker.port().unwrap();
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { broker.run().await.unwrap() });
    consume(&certificates, port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let current = one_file(&certificates, "current.pem", &certificates.gateway);
    let config = Config {
        certificate: current.clone(),
        key: KeyPlace::File(current.clone()),
        ..certificates.config(port)
    };
    let running = Running::start(config, &ward);
    running.until("a connection", |status| status.state == State::Online).await;
    let next = certificates.pki.client("gw-1-next", Validity::Now).unwrap();
    let next = one_file(&certificates, "next.pem", &next);

    // The broker answers with a no: the old pair is used again.
    behaviour.send_modify(|behaviour| behaviour.deny = true);
    let refused = running.handle.show(&next, &current).await.unwrap_err();
    assert!(matches!(&refused, NotTaken::Refused(why) if why.contains("not authorised")), "{refused:?}");
    behaviour.send_modify(|behaviour| behaviour.deny = false);
    running.until("the old pair", |status| status.connections == 2).await;
    // Expired: no broker is asked.
    let expired = certificates.pki.client("gw-1-expired", Validity::Expired).unwrap();
    let expired = one_file(&certificates, "expired.pem", &expired);
    let refused = running.handle.show(&expired, &current).await.unwrap_err();
    assert!(matches!(&refused, NotTaken::Refused(why) if why.contains("expired at")), "{refused:?}");
    // For another place than the settings name, and a file that is not there: that is no broker's word.
    for (pair, place) in [(&next, &next), (&certificates.path().join("none.pem"), &current)] {
        let untried = running.handle.show(pair, place).await.unwrap_err();
        assert!(matches!(untried, NotTaken::Untried(_)), "{untried:?}");
    }
    assert_eq!(running.status.borrow().connections, 2, "none of that cost a connection");

    running.handle.show(&next, &current).await.unwrap();
    std::fs::rename(&next, &current).unwrap();
    ward.read(5, 100);
    all_arrived(&ward, &seen).await;
    assert_eq!(running.status.borrow().connections, 3);
    // The next connection is by what lies at the place.
    behaviour.send_modify(|behaviour| behaviour.links = Links::Cut);
    running.until("no connection", |status| status.state != State::Online).await;
    behaviour.send_modify(|behaviour| behaviour.links = Links::Serve);
    running.until("another connection", |status| status.connections == 4).await;
    running.stop().await;
}

/// As a bundle brings them: what cuts the gateway from its broker is not taken, and the broker that there is stays.
#[tokio::test(flavor = "multi_thread")]
async fn revocation_lists_that_take_the_broker_back_are_refused_and_the_old_settings_hold() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    consume(&certificates, broker.port, &seen, &mut tasks).await;
    let mut ward = Ward::new(2, Ahead::No);
    let config = certificates.config(broker.port);
    let running = Running::start(config.clone(), &ward);
    running.until("a connection", |status| status.state == State::Online).await;
    let list = |revoked: &[&Pair], days| certificates.pki.revocation_list(revoked, days).unwrap();
    let with = |pushed: Vec<u8>, rule| {
        let revocation = Lists { place: None, pushed: vec![pushed], rule };
        running.handle.change(Config { revocation, ..config.clone() })
    };
    let (server, other) = (&certificates.server, &certificates.consumer);
    for (list, rule, words) in [
        (list(&[server], (-1, 7)), Rule::EnforceContent, "taken its certificate back"),
        (list(&[server], (-9, -2)), Rule::EnforceContent, "taken its certificate back"),
        (list(&[other], (-9, -2)), Rule::Enforce, "has run out"),
    ] {
        let refused = with(list, rule).await.unwrap_err();
        assert!(refused.contains(words), "{refused}");
    }
    ward.read(2, 50);
    all_arrived(&ward, &seen).await;
    assert_eq!(running.status.borrow().connections, 1);
    // One that has run out and names others is taken where its content alone counts, and told of.
    with(list(&[other], (-9, -2)), Rule::EnforceContent).await.unwrap();
    let is_told = |status: &wardline::uplink::Status| {
        status.outdated_lists.iter().any(|list| list.contains("ran out at"))
    };
    running.until("the list is told of", is_told).await;
    with(list(&[other], (-1, 7)), Rule::Enforce).await.unwrap();
    running.until("all is well", |status| status.outdated_lists.is_empty()).await;
    assert_eq!(running.stop().await.connections, 3);
}

/// Two brokers whose behaviour is the test's, with their consumers; the gateway is at the first.
struct Two {
    certificates: Certificates,
    behaviours: [watch::Sender<Behaviour>; 2],
    ports: [u16; 2],
    seen: [consumer::Shared; 2],
    _tasks: JoinSet<()>,
}

impl Two {
    async fn start() -> Self {
        let certificates = Certificates::new();
        let mut tasks = JoinSet::new();
        let (mut behaviours, mut ports, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2 {
            let (behaviour, behaves) = watch::channel(Behaviour::default());
            let broker = Broker::bind(certificates.pki.authorities(), certificates.server.clone(), behaves);
            let broker = broker.await.unwrap();
            let port = broker.port().unwrap();
            tasks.spawn(async move { broker.run().await.unwrap() });
            let shared = consumer::Shared::default();
            consume(&certificates, port, &shared, &mut tasks).await;
            behaviours.push(behaviour);
            ports.push(port);
            seen.push(shared);
        }
        let behaviours = behaviours.try_into().unwrap();
        let (ports, seen) = (ports.try_into().unwrap(), seen.try_into().ok().unwrap());
        Self { certificates, behaviours, ports, seen, _tasks: tasks }
    }

    /// Until so many connections are at a broker: each of them looks at its behaviour.
    async fn connections(&self, broker: usize, is_so: impl Fn(usize) -> bool) {
        while !is_so(self.behaviours[broker].receiver_count()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The old broker answers late, so it is left late. In the meantime the new one goes, and nobody has looked.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_broker_that_goes_before_the_old_one_is_left_is_not_gone_over_to() {
    let two = Two::start().await;
    let mut ward = Ward::new(3, Ahead::No);
    ward.read(5, 20);
    let patient = |port| Config { stalled_after: Duration::from_secs(30), ..two.certificates.config(port) };
    let running = Running::start(patient(two.ports[0]), &ward);
    soon("the first answers", ward.store.drained()).await;
    two.behaviours[0].send_modify(|behaviour| behaviour.delay = Duration::from_secs(4));
    ward.read(5, 20);
    running.until("something in flight", |status| status.in_flight > 0).await;
    let before = two.behaviours[1].receiver_count();
    let handle = running.handle.clone();
    let (next, behaviours) = (patient(two.ports[1]), &two.behaviours);
    let goes = async {
        soon("a second connection", two.connections(1, |count| count > before)).await;
        // Nobody tells of its CONNACK.
        tokio::time::sleep(Duration::from_millis(700)).await;
        behaviours[1].send_modify(|behaviour| behaviour.links = Links::Cut);
    };
    let (changed, ()) = tokio::join!(handle.change(next), goes);
    let why = changed.unwrap_err();
    assert!(why.contains(&two.ports[1].to_string()), "{why}");
    two.behaviours[0].send_modify(|behaviour| behaviour.delay = Duration::ZERO);
    ward.read(5, 20);
    soon("everything acknowledged to the store", ward.store.drained()).await;
    two.seen[1].with(|ledger| assert_eq!(ledger.records, 0));
    running.stop().await;
}
