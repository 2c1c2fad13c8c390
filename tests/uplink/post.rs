//! Documents in, retained notices out, through a real mosquitto.

use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, PublishOptions, QoS, TlsConfiguration, Transport,
};
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use wardline::lab::broker::{Behaviour, Broker};
use wardline::lab::consumer;
use wardline::lab::memory::Ahead;
use wardline::uplink::post::MAX_LETTERS;
use wardline::uplink::{Config, Letter, Notice, PostEvent, PostOffice, State, Wanted};

use super::mosquitto::{Mosquitto, Setup};
use super::support::{Certificates, PATIENCE, Running, Ward, all_arrived, soon};

const WANTED: &str = "f/v1/north/icu-2/gw-1/desired";
const OTHER: &str = "f/v1/north/fleet/targets";
const REPORTED: &str = "s/v1/north/icu-2/gw-1/reported";

/// Somebody else at the broker.
fn somebody(certificates: &Certificates, port: u16, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("localhost", port));
    options.set_max_packet_size(Some(256 * 1024));
    let read = |path: &Path| std::fs::read(path).unwrap();
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
        ca: read(&certificates.pki.authorities()),
        alpn: None,
        client_auth: Some((read(&certificates.consumer.certificate), read(&certificates.consumer.key))),
    }));
    AsyncClient::builder(options).capacity(10).build()
}

/// Publishes each, retained or not, and comes back when the broker has it.
async fn publish(certificates: &Certificates, port: u16, all: &[(&str, &[u8], bool)]) {
    let (client, mut events) = somebody(certificates, port, "publisher");
    let work = async {
        for (topic, payload, retained) in all {
            let mut options = PublishOptions::new(QoS::AtLeastOnce);
            if *retained {
                options = options.retained();
            }
            let notice = client.publish_tracked(*topic, payload.to_vec(), options).await.unwrap();
            notice.wait_async().await.unwrap();
        }
    };
    let polling = Box::pin(async move {
        loop {
            events.poll().await.unwrap();
        }
    });
    soon("the broker has what was published", async {
        tokio::select! { () = work => {}, () = polling => {} }
    })
    .await;
}

/// What the broker keeps on a topic, once it is this.
async fn is_kept(certificates: &Certificates, port: u16, topic: &str, payload: &str) {
    let (client, mut events) = somebody(certificates, port, "reader");
    client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
    let wait = Box::pin(async move {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap()
                && publish.payload == payload
            {
                break;
            }
        }
    });
    soon(payload, wait).await;
    drop(client);
    // A reader that comes later finds the same: it is retained.
    let (client, mut events) = somebody(certificates, port, "reader");
    client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
    let wait = Box::pin(async move {
        loop {
            if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
                break (publish.payload, publish.retain);
            }
        }
    });
    assert_eq!(soon("what is retained", wait).await, (Bytes::from(payload.to_owned()), true));
}

fn want(office: &PostOffice, topics: &[(&str, u64)]) {
    office.want(topics.iter().map(|(topic, ask)| Wanted { topic: (*topic).to_owned(), ask: *ask }).collect());
}

fn letter(topic: &str, payload: &str) -> PostEvent {
    PostEvent::Letter(Letter { topic: topic.to_owned(), payload: Bytes::from(payload.to_owned()) })
}

fn notice(office: &PostOffice, payload: &str) {
    office.notice(Notice { topic: REPORTED.to_owned(), payload: Bytes::from(payload.to_owned()) });
}

async fn next(office: &mut PostOffice) -> PostEvent {
    soon("an event of the post", office.next()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_document_comes_at_once_when_asked_again_and_from_a_broker_that_comes_back() {
    let certificates = Certificates::new();
    let mut broker = Mosquitto::start(&certificates);
    publish(&certificates, broker.port, &[(WANTED, b"one", true)]).await;
    let ward = Ward::new(1, Ahead::No);
    let (running, mut office) = Running::start_with_post(certificates.config(broker.port), &ward);
    want(&office, &[(WANTED, 1)]);
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "one"));
    // The same as before asks for nothing; another number does.
    want(&office, &[(WANTED, 1)]);
    want(&office, &[(WANTED, 2)]);
    assert_eq!(next(&mut office).await, letter(WANTED, "one"));
    publish(&certificates, broker.port, &[(WANTED, b"two", true)]).await;
    assert_eq!(next(&mut office).await, letter(WANTED, "two"));

    broker.kill();
    broker.restart();
    publish(&certificates, broker.port, &[(WANTED, b"three", true)]).await;
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "three"));
    running.until("four letters", |status| status.correspondence.came.letters == 4).await;
    assert_eq!(running.stop().await.connections, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_wanted_is_unsubscribed_from() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    publish(&certificates, broker.port, &[(WANTED, b"one", true), (OTHER, b"two", true)]).await;
    let ward = Ward::new(1, Ahead::No);
    let (running, mut office) = Running::start_with_post(certificates.config(broker.port), &ward);
    want(&office, &[(WANTED, 1)]);
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "one"));
    want(&office, &[(OTHER, 1)]);
    // UNSUBSCRIBE goes out before SUBSCRIBE, so by now the broker knows of both.
    assert_eq!(next(&mut office).await, letter(OTHER, "two"));
    publish(&certificates, broker.port, &[(WANTED, b"three", true), (OTHER, b"four", false)]).await;
    assert_eq!(next(&mut office).await, letter(OTHER, "four"));
    let status = running.until("three letters", |status| status.correspondence.came.letters == 3).await;
    assert_eq!(status.correspondence.came.unwanted, 0, "the broker did not even send it");
    running.stop().await;
}

/// Only the plugin refuses subscriptions: mosquitto's `acl_file` takes each and sends nothing.
fn with_access_list(certificates: &Certificates, denied: &str) -> Mosquitto {
    let file = certificates.path().join("dynamic-security.json");
    let text = format!(
        r#"{{"defaultACLAccess": {{"publishClientSend": true, "publishClientReceive": true, "subscribe": true,
            "unsubscribe": true}}, "groups": [],
            "clients": [{{"username": "gw-1", "roles": [{{"rolename": "gateway"}}]}},
                        {{"username": "consumer", "roles": []}}],
            "roles": [{{"rolename": "gateway", "acls": [
                {{"acltype": "subscribeLiteral", "topic": "{denied}", "priority": 0, "allow": false}}]}}]}}"#
    );
    std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
    let folders = ["/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    let plugin = folders.map(|folder| Path::new(folder).join("mosquitto_dynamic_security.so"));
    let plugin = plugin.iter().find(|file| file.exists()).expect("mosquitto comes with its plugin");
    let lines = format!("plugin {}\nplugin_opt_config_file {}\n", plugin.display(), file.display());
    Mosquitto::start_and(certificates, &lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_the_access_list_forbids_is_told_and_the_others_come() {
    let certificates = Certificates::new();
    let broker = with_access_list(&certificates, WANTED);
    publish(&certificates, broker.port, &[(OTHER, b"two", true), (WANTED, b"one", true)]).await;
    let ward = Ward::new(1, Ahead::No);
    let (running, mut office) = Running::start_with_post(certificates.config(broker.port), &ward);
    want(&office, &[(WANTED, 1), (OTHER, 1)]);
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(OTHER, "two"));
    let refused = |status: &wardline::uplink::Status| !status.correspondence.unreadable.is_empty();
    let status = running.until("the refusal", refused).await;
    assert_eq!(status.correspondence.unreadable, [(WANTED.to_owned(), 0x87)]);
    // What is not wanted is not missed.
    want(&office, &[(OTHER, 1)]);
    running.until("no refusal", |status| !refused(status)).await;
    assert_eq!(running.stop().await.connections, 1);
}

/// This process's memory, in bytes (proc(5), `statm`, in pages).
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_letters_that_nobody_takes_holds_nothing_up_and_is_not_kept() {
    const LETTERS: usize = 1_000;
    const SIZE: usize = 64 * 1024;
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let seen = consumer::Shared::default();
    let mut tasks = JoinSet::new();
    let run = consumer::run(certificates.consumer(broker.port), seen.clone());
    tasks.spawn(async move { run.await.unwrap() });
    soon("the consumer's subscription", seen.subscribed()).await;
    let mut ward = Ward::new(2, Ahead::No);
    // A PUBACK may have a lot of the flood before it.
    let patient = Config { stalled_after: PATIENCE, ..certificates.config(broker.port) };
    let (running, mut office) = Running::start_with_post(patient, &ward);
    want(&office, &[(WANTED, 1)]);
    running.until("online", |status| status.state == State::Online).await;
    publish(&certificates, broker.port, &[(WANTED, b"first", true)]).await;
    running.until("the subscription", |status| status.correspondence.came.letters == 1).await;

    let before = memory();
    let payload = vec![b'x'; SIZE];
    let flood = vec![(WANTED, payload.as_slice(), false); LETTERS];
    let lost_all = |status: &wardline::uplink::Status| {
        let came = status.correspondence.came;
        usize::try_from(came.lost).unwrap() == LETTERS + 1 - MAX_LETTERS
    };
    let readings = async {
        for round in 0..20 {
            ward.read(1, 50);
            if round % 5 == 0 {
                ward.alarm();
            }
            all_arrived(&ward, &seen).await;
        }
    };
    tokio::join!(publish(&certificates, broker.port, &flood), readings);
    running.until("the loss of all but a few", lost_all).await;
    let grown = memory().saturating_sub(before);
    // Other tests of this process grow at the same time; what is kept would be all of it.
    assert!(grown < LETTERS * SIZE / 4 * 3, "{grown} bytes more for letters that nobody takes");

    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "first"));
    for _ in 1..MAX_LETTERS {
        assert!(matches!(next(&mut office).await, PostEvent::Letter(letter) if letter.payload.len() == SIZE));
    }
    assert_eq!(next(&mut office).await, PostEvent::Lost(u64::try_from(LETTERS + 1 - MAX_LETTERS).unwrap()));
    // Whoever is told so asks again, and there is room.
    want(&office, &[(WANTED, 2)]);
    assert_eq!(next(&mut office).await, letter(WANTED, "first"));
    assert_eq!(running.stop().await.connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_retained_replaced_and_given_again_to_a_broker_that_forgot_it() {
    let certificates = Certificates::new();
    let mut broker = Mosquitto::start(&certificates);
    let ward = Ward::new(1, Ahead::No);
    let (running, office) = Running::start_with_post(certificates.config(broker.port), &ward);
    notice(&office, r#"{"at":1}"#);
    is_kept(&certificates, broker.port, REPORTED, r#"{"at":1}"#).await;
    // Many in a row: the latest counts.
    for at in 2..=500 {
        notice(&office, &format!(r#"{{"at":{at}}}"#));
    }
    is_kept(&certificates, broker.port, REPORTED, r#"{"at":500}"#).await;
    broker.kill();
    broker.restart();
    is_kept(&certificates, broker.port, REPORTED, r#"{"at":500}"#).await;
    // It would end the connection if it were sent.
    notice(&office, &"x".repeat(256 * 1024));
    let large =
        |status: &wardline::uplink::Status| status.correspondence.refused == [(REPORTED.to_owned(), 0x95)];
    running.until("the refusal of what is too large", large).await;
    notice(&office, r#"{"at":501}"#);
    is_kept(&certificates, broker.port, REPORTED, r#"{"at":501}"#).await;
    let taken = |status: &wardline::uplink::Status| {
        status.correspondence.refused.is_empty() && status.correspondence.notices >= 4
    };
    running.until("the notices taken", taken).await;
    assert_eq!(running.stop().await.connections, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_the_access_list_forbids_is_told_and_given_once_the_list_is_mended() {
    let certificates = Certificates::new();
    let acl = certificates.path().join("acl");
    let rules = |gateway: &str| {
        let text = format!("user consumer\ntopic readwrite #\nuser gw-1\n{gateway}\n");
        std::fs::File::create(&acl).unwrap().write_all(text.as_bytes()).unwrap();
    };
    rules("topic write s/v1/north/icu-2/gw-1/status");
    let setup = Setup { server: &certificates.server, tls: "TLSv1.3", acl: Some(&acl) };
    let broker = Mosquitto::start_with(&certificates, &setup);
    let ward = Ward::new(1, Ahead::No);
    let (running, office) = Running::start_with_post(certificates.config(broker.port), &ward);
    notice(&office, r#"{"at":1}"#);
    let refused = |status: &wardline::uplink::Status| !status.correspondence.refused.is_empty();
    let status = running.until("the refusal", refused).await;
    assert_eq!(status.correspondence.refused, [(REPORTED.to_owned(), 0x87)]);
    rules("topic write s/v1/north/icu-2/gw-1/#");
    broker.signal(Signal::HUP);
    is_kept(&certificates, broker.port, REPORTED, r#"{"at":1}"#).await;
    running.until("no refusal", |status| !refused(status)).await;
    running.stop().await;
}

/// mosquitto ends connections when it reads its access list again; another broker may not.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_notice_is_tried_again_on_the_same_connection() {
    let certificates = Certificates::new();
    let (behaviour, watched) = watch::channel(Behaviour::default());
    behaviour.send_modify(|behaviour| behaviour.refuse = vec![(REPORTED.to_owned(), 0x97)]);
    let broker = Broker::bind(certificates.pki.authorities(), certificates.server.clone(), watched);
    let broker = broker.await.unwrap();
    let (port, retained) = (broker.port().unwrap(), broker.retained());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { broker.run().await.unwrap() });
    let ward = Ward::new(1, Ahead::No);
    let (running, office) = Running::start_with_post(certificates.config(port), &ward);
    notice(&office, r#"{"at":1}"#);
    let refused = |status: &wardline::uplink::Status| !status.correspondence.refused.is_empty();
    let status = running.until("the refusal", refused).await;
    assert_eq!(status.correspondence.refused, [(REPORTED.to_owned(), 0x97)]);
    behaviour.send_modify(|behaviour| behaviour.refuse.clear());
    running.until("no refusal", |status| !refused(status)).await;
    assert_eq!(retained(REPORTED).as_deref(), Some(r#"{"at":1}"#));
    assert_eq!(running.stop().await.connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_and_notices_go_along_to_another_broker() {
    let certificates = Certificates::new();
    let (first, second) = (Mosquitto::start(&certificates), Mosquitto::start(&certificates));
    publish(&certificates, first.port, &[(WANTED, b"here", true)]).await;
    publish(&certificates, second.port, &[(WANTED, b"there", true)]).await;
    let ward = Ward::new(1, Ahead::No);
    let (running, mut office) = Running::start_with_post(certificates.config(first.port), &ward);
    want(&office, &[(WANTED, 1)]);
    notice(&office, r#"{"at":1}"#);
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "here"));
    is_kept(&certificates, first.port, REPORTED, r#"{"at":1}"#).await;
    running.handle.change(certificates.config(second.port)).await.unwrap();
    assert_eq!(next(&mut office).await, PostEvent::Connected);
    assert_eq!(next(&mut office).await, letter(WANTED, "there"));
    is_kept(&certificates, second.port, REPORTED, r#"{"at":1}"#).await;
    // Nothing of the broker that was left.
    publish(&certificates, first.port, &[(WANTED, b"late", true)]).await;
    publish(&certificates, second.port, &[(WANTED, b"last", true)]).await;
    assert_eq!(next(&mut office).await, letter(WANTED, "last"));
    tokio::time::timeout(PATIENCE, running.stop()).await.unwrap();
}
