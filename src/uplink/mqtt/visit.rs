//! A short visit to the broker under a client id of one's own: what does it answer to these topics?
//!
//! In: topics to subscribe to and to publish on. Out: the reason code for each, and what the broker keeps on those
//! that were subscribed to. A connection under the gateway's own client id would end the daemon's (MQTT 5, section
//! 3.1.4), so this one has another, and no will. What never happens: something is published that the broker keeps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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
    /// Why the connection ended before everything was answered, if it did.
    pub ended: Option<LinkError>,
}

/// Connects as `client` and asks one thing after the other; so long is waited for the connection and for each answer.
/// A broker may end the connection when it refuses something: then the rest is asked over another one.
pub async fn visit(
    config: &Config,
    tls: Arc<ClientConfig>,
    client: &str,
    asks: &[Ask],
    patience: Duration,
) -> Result<Visit, LinkError> {
    let config = Config { stalled_after: CONNECT_TIMEOUT, ..config.clone() };
    let mut visit = Visit::default();
    while let Some(rest) = asks.get(visit.codes.len()..).filter(|rest| !rest.is_empty()) {
        let (office, post) = post();
        office.want(wanted(rest));
        let options = options(&config, client, Arc::clone(&tls));
        let (link, job) = start(options, &config, Some(post.inbox()))?;
        // The job ends with the link, which is dropped when everything was asked.
        let ((), asked) = tokio::join!(poll_job(job), ask(link, office, rest, patience, &config));
        let Visit { codes, letters, ended } = match asked {
            Err(error) if !visit.codes.is_empty() => {
                visit.ended = Some(error);
                break;
            }
            asked => asked?,
        };
        // At least one more of them has its answer, or none for good.
        visit.codes.extend(codes);
        visit.letters.extend(letters);
        let is_over = ended.is_none();
        visit.ended = ended.or(visit.ended);
        if is_over {
            break;
        }
    }
    visit.codes.resize(asks.len(), None);
    Ok(visit)
}

fn wanted(asks: &[Ask]) -> Vec<Wanted> {
    let topics = asks.iter().filter_map(|ask| match ask {
        Ask::Subscribe(topic) => Some(topic.clone()),
        Ask::Publish(_) => None,
    });
    topics.map(|topic| Wanted { topic, ask: 0 }).collect()
}

/// Over one connection, until it ends or an answer does not come.
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
    let mut codes = Vec::new();
    for ask in asks {
        let code = answer(&link, ask, patience).await;
        // The first goes unanswered for good; another one may only have come after what ended the connection.
        if code.is_some() || codes.is_empty() {
            codes.push(code);
        }
        if code.is_none() {
            break;
        }
    }
    // What the broker keeps on a topic comes before the answer to what is asked after it (MQTT 5, section 4.6).
    let mut letters = Letters::new();
    while let Ok(event) = timeout(Duration::ZERO, office.next()).await {
        if let PostEvent::Letter(letter) = event {
            letters.push((letter.topic, letter.payload));
        }
    }
    if codes.len() < asks.len() {
        let ended = timeout(FAREWELL, link.events.recv()).await;
        let ended = match ended {
            Ok(Some(LinkEvent::Down(error))) => error,
            Ok(Some(LinkEvent::Up { .. }) | None) | Err(_) => None,
        };
        return Ok(Visit { codes, letters, ended });
    }
    link.disconnect(FAREWELL);
    // In order or not: what was to be learned is.
    let _ = timeout(FAREWELL, link.events.recv()).await;
    Ok(Visit { codes, letters, ended: None })
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
