//! To the broker, step by step, each with a limit.

use std::sync::Arc;

use rustls::ClientConfig;
use tokio::time::timeout;

use super::local::handshake_of_the_daemon;
use super::{Daemon, Place};
use crate::config::Config;
use crate::doctor::broker::{Answer, Facts, Need};
use crate::doctor::{Check, Unseen};
use crate::fleet::topics::{Topic, What};
use crate::fleet::trust::Trust;
use crate::host::status::ask as ask_status;
use crate::time::ClockSync;
use crate::uplink::mqtt::{self, Ask, Letters};
use crate::uplink::tls::{self, TlsError};
use crate::uplink::topic::{Class, Topics};
use crate::uplink::trouble::LinkError;

/// The level in the place of a device, and of the last level, for which no consumer waits.
const OURS: &str = "doctor";

pub(super) async fn facts(
    place: &Place,
    config: &Config,
    daemon: &Daemon,
    trust: Option<&Trust>,
) -> (Facts, Letters) {
    let uplink = &config.uplink;
    let mut facts = Facts {
        host: uplink.host.clone(),
        port: uplink.port,
        limit: place.limit,
        name: resolve(place, config).await,
        tls: Err(Unseen::new("not tried")),
        visit: Err(Unseen::new("not tried")),
        client: format!("{}-{OURS}", uplink.gateway),
        is_sparing: !place.every_topic,
        ended: None,
        has_disturbed: false,
    };
    let mut letters = Letters::new();
    if facts.name.as_ref().is_ok_and(Vec::is_empty) || facts.name.is_err() {
        return (facts, letters);
    }
    let within = super::local::in_the_unit(config);
    if let Some(seen) = handshake_of_the_daemon(&uplink.key, daemon, &within) {
        facts.tls = seen;
        return (facts, letters);
    }
    let (of, now) = (uplink.clone(), place.now);
    // Its files may lie where nobody answers.
    let read = place.look("certificate and authorities", move || Ok(tls::of(&of, now))).await;
    let client = match read {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            facts.tls = Err(unusable(&error, daemon, &within));
            return (facts, letters);
        }
        Err(unseen) => {
            facts.tls = Err(unseen);
            return (facts, letters);
        }
    };
    facts.tls = shake(place, config, Arc::clone(&client)).await;
    if matches!(facts.tls, Ok(Ok(())))
        && place.wants(&[Check::BrokerPuback, Check::TopicRights, Check::Fleet])
    {
        (facts.visit, letters, facts.ended) = visit(place, config, &facts.client, (client, trust)).await;
        facts.has_disturbed = has_disturbed(place, config, daemon).await;
    }
    (facts, letters)
}

async fn resolve(place: &Place, config: &Config) -> Result<Vec<std::net::IpAddr>, String> {
    let uplink = &config.uplink;
    let found = tokio::net::lookup_host((uplink.host.as_str(), uplink.port));
    match timeout(place.limit, found).await {
        Ok(Ok(found)) => {
            let mut found: Vec<_> = found.map(|address| address.ip()).collect();
            found.sort();
            found.dedup();
            Ok(found)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no name server answers within {} s", place.limit.as_secs())),
    }
}

/// What it means that our own certificate cannot be shown: that is the business of its check.
fn unusable(error: &TlsError, daemon: &Daemon, within: &str) -> Unseen {
    let connected = daemon.snapshot.as_ref().is_some_and(|snapshot| snapshot.uplink.state == "connected");
    let is_credential =
        matches!(error, TlsError::Unreadable { path, .. } if path.starts_with(super::local::CREDENTIALS));
    match (is_credential, connected) {
        (true, true) => Unseen::with(
            "the private key is there for the unit alone; the daemon is connected with it",
            within,
        ),
        (true, false) => Unseen::with("the private key is there for the unit alone", within),
        (false, _) => Unseen::with(format!("no handshake is possible: {error}"), "see certificate"),
    }
}

async fn shake(
    place: &Place,
    config: &Config,
    client: Arc<ClientConfig>,
) -> Result<Result<(), String>, Unseen> {
    let broker = format!("{}:{}", config.uplink.host, config.uplink.port);
    let shaken = timeout(place.limit, mqtt::probe(&config.uplink, client)).await;
    let shaken = shaken.unwrap_or(Err(LinkError::NoAnswer { broker }));
    match shaken {
        Ok(()) => Ok(Ok(())),
        // By a clock that cannot be believed an expired certificate was shown: one thing is wrong, not two.
        Err(error @ LinkError::CertificateRefused { .. }) if is_past(place, config) => {
            Err(Unseen::with(error.to_string(), "see certificate, and clock"))
        }
        Err(error @ LinkError::NoAnswer { .. }) => {
            Ok(Err(format!("{error} (within {} s)", place.limit.as_secs())))
        }
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn is_past(place: &Place, config: &Config) -> bool {
    let days = tls::certificate_days_left(&config.uplink.certificate, place.now.wall);
    place.now.sync == ClockSync::Unsynced && days.is_ok_and(|days| days < 0)
}

type Visited = (Result<Result<Vec<Answer>, String>, Unseen>, Letters, Option<String>);

async fn visit(
    place: &Place,
    config: &Config,
    client: &str,
    (tls, trust): (Arc<ClientConfig>, Option<&Trust>),
) -> Visited {
    let needs = match needs(place, config, trust) {
        Ok(needs) => needs,
        Err(why) => return (Err(Unseen::new(why)), Letters::new(), None),
    };
    let asks: Vec<Ask> = needs
        .iter()
        .map(|(need, topic)| match need {
            Need::Subscribe => Ask::Subscribe(topic.clone()),
            Need::Probe | Need::Publish => Ask::Publish(topic.clone()),
        })
        .collect();
    match mqtt::visit(&config.uplink, tls, client, &asks, place.limit).await {
        Ok(mqtt::Visit { codes, letters, ended }) => {
            let answers = needs.into_iter().zip(codes);
            let answers = answers.map(|((need, topic), code)| Answer { need, topic, code }).collect();
            (Ok(Ok(answers)), letters, ended.map(|error| error.to_string()))
        }
        Err(error) => (Ok(Err(error.to_string())), Letters::new(), None),
    }
}

/// What is asked, subscriptions first: so what the broker keeps has come when the last answer comes.
fn needs(place: &Place, config: &Config, trust: Option<&Trust>) -> Result<Vec<(Need, String)>, String> {
    let uplink = &config.uplink;
    let topics = Topics::new(&uplink.organisation, &uplink.group, &uplink.gateway)
        .map_err(|error| error.to_string())?;
    let mut needs = Vec::new();
    let fleet = |what: What| Topic::new(&uplink.organisation, what).map(|topic| topic.to_string());
    if let Some(trust) = trust {
        let group = trust.marks().group().to_owned();
        let current = trust.marks().bundle().max(1);
        let wanted = [
            What::Root(trust.root().version + 1),
            What::Timestamp { group: group.clone() },
            What::Bundle { group, version: current },
        ];
        needs.extend(wanted.into_iter().filter_map(fleet).map(|topic| (Need::Subscribe, topic)));
    }
    // No consumer reads these: a device of this name has no class of this name.
    let device = topics.data(OURS, Class::Observations).map_err(|error| error.to_string())?;
    let neighbour =
        |topic: &str| format!("{}/{OURS}", topic.rsplit_once('/').map_or(topic, |(head, _)| head));
    needs.push((Need::Probe, neighbour(&device)));
    for class in [Class::Observations, Class::Alarm, Class::Gap] {
        let topic = topics.data(OURS, class).map_err(|error| error.to_string())?;
        needs.push((Need::Publish, topic));
    }
    let mut own = vec![topics.events(), topics.status(), topics.heartbeat()];
    if trust.is_some() {
        let gateway = || uplink.gateway.clone();
        let said = [What::Reported { gateway: gateway() }, What::Inventory { gateway: gateway() }];
        own.extend(said.into_iter().filter_map(fleet));
    }
    // What is said there is taken for the gateway's word, and some of it is signed: not to be disturbed unasked.
    if !place.every_topic {
        own = own.iter().map(|topic| neighbour(topic)).collect();
        own.dedup();
    }
    needs.extend(own.into_iter().map(|topic| (Need::Publish, topic)));
    Ok(needs)
}

/// Whether the daemon was connected before and has begun anew since.
async fn has_disturbed(place: &Place, config: &Config, daemon: &Daemon) -> bool {
    let Some(before) = &daemon.snapshot else { return false };
    let socket = config.socket.clone();
    let after = place.look("the daemon, once more", move || {
        ask_status(&socket).map_err(|error| Unseen::new(error.to_string()))
    });
    let Ok(after) = after.await else { return false };
    let age = |snapshot: &crate::host::status::Snapshot| snapshot.uplink.state_age_ms.unwrap_or_default();
    let is_new = after.uplink.state != "connected" || age(&after) < age(before);
    before.uplink.state == "connected" && after.run == before.run && is_new
}
