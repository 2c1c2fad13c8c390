//! A short visit to the broker under a client id of one's own: what does it answer to these topics?
//!
//! In: topics to subscribe to and to publish on. Out: the reason code for each, and what the broker keeps on those
//! that were subscribed to. A connection under the gateway's own client id would end the daemon's (MQTT 5, section
//! 3.1.4), so this one has another, and no will. What never happens: something is published that the broker keeps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use rumqttc::mqttbytes::v5::PublishProperties;
use rumqttc::{PublishOptions, QoS};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::{CONNECT_TIMEOUT, Link, LinkEvent, Reply, options, poll_job, reply, start};
use crate::uplink::Config;
use crate::uplink::post::{PostEvent, PostOffice, Wanted, post};
use crate::uplink::trouble::LinkError;

/// What the payload is, for consumers that go by content type and schema as they must: nothing of theirs.
const CONTENT_TYPE: &str = "application/vnd.wardline.probe+json";
const SCHEMA: &str = "wardline-probe/1";
const PAYLOAD: &[u8] = br#"{"probe":"wardline doctor"}"#;
/// How long the connection may take to end in order.
const FAREWELL: Duration = Duration::from_millis(500);

/// What the broker is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To take a publish on this topic: QoS 1, not retained.
    Publish(String),
    /// For what is published on this topic.
    Subscribe(String),
}

/// What the broker keeps on topics that were subscribed to: topic and payload.
pub type Letters = Vec<(String, Bytes)>;

/// What came of a visit.
#[derive(Clone, Debug, Default)]
pub struct Visit {
    /// The reason code for each, in their order; none came in time.
    pub codes: Vec<Option<u8>>,
    /// What is kept.
    pub letters: Letters,
}

/// Connects as `client`, asks everything at once and waits so long for the answers, and so long for the connection.
pub async fn visit(
    config: &Config,
    tls: Arc<ClientConfig>,
    client: &str,
    asks: &[Ask],
    patience: Duration,
) -> Result<Visit, LinkError> {
    let (office, post) = post();
    office.want(wanted(asks));
    let window = u16::try_from(asks.len()).unwrap_or(u16::MAX);
    let config =
        Config { window: config.window.max(window), stalled_after: CONNECT_TIMEOUT, ..config.clone() };
    let (link, job) = start(options(&config, client, tls), &config, Some(post.inbox()))?;
    // The job ends with the link, which is dropped when everything was asked.
    let ((), visited) = tokio::join!(poll_job(job), ask(link, office, asks, patience, &config));
    visited
}

fn wanted(asks: &[Ask]) -> Vec<Wanted> {
    let topics = asks.iter().filter_map(|ask| match ask {
        Ask::Subscribe(topic) => Some(topic.clone()),
        Ask::Publish(_) => None,
    });
    topics.map(|topic| Wanted { topic, ask: 0 }).collect()
}

async fn ask(
    mut link: Link,
    mut office: PostOffice,
    asks: &[Ask],
    patience: Duration,
    config: &Config,
) -> Result<Visit, LinkError> {
    let broker = format!("{}:{}", config.host, config.port);
    match timeout(patience, link.events.recv()).await {
        Ok(Some(LinkEvent::Up { .. })) => {}
        Ok(Some(LinkEvent::Down(Some(error)))) => return Err(error),
        Ok(Some(LinkEvent::Down(None)) | None) => {
            return Err(LinkError::Lost { broker, detail: "it ended at once".to_owned() });
        }
        Err(_) => return Err(LinkError::NoAnswer { broker }),
    }
    let answers = asks.iter().map(|ask| answer(&link, ask, patience));
    // All are sent by the time the first is waited for, in their order: what the broker keeps on a topic comes before
    // the answer to what is asked after it (MQTT 5, section 4.6).
    let codes = join_all(answers).await;
    let mut letters = Letters::new();
    while let Ok(event) = timeout(Duration::ZERO, office.next()).await {
        if let PostEvent::Letter(letter) = event {
            letters.push((letter.topic, letter.payload));
        }
    }
    link.disconnect(FAREWELL);
    // In order or not: what was to be learned is.
    let _ = timeout(FAREWELL, link.events.recv()).await;
    Ok(Visit { codes, letters })
}

/// The reason code; none: no answer came.
async fn answer(link: &Link, ask: &Ask, patience: Duration) -> Option<u8> {
    match ask {
        Ask::Subscribe(topic) => {
            let codes = link.subscribe(vec![topic.clone()])?;
            timeout(patience, codes).await.ok()??.first().copied()
        }
        Ask::Publish(topic) => match timeout(patience, publish(link, topic)?).await {
            Ok(Reply::PubAck(code)) => Some(code),
            Ok(Reply::Lost) | Err(_) => None,
        },
    }
}

fn publish(link: &Link, topic: &str) -> Option<impl Future<Output = Reply> + Send + use<>> {
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        content_type: Some(CONTENT_TYPE.to_owned()),
        user_properties: vec![("schema".to_owned(), SCHEMA.to_owned())],
        ..PublishProperties::default()
    };
    let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
    let notice =
        link.client.try_publish_tracked(topic.to_owned(), Bytes::from_static(PAYLOAD), options).ok()?;
    Some(reply(notice))
}
