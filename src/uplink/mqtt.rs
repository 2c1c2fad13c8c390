//! MQTT 5 over TLS: the only file that names the MQTT library.
//!
//! In: where the broker is, publishes. Out: for each publish its PUBACK's reason code, for each
//! connection its CONNACK and, at last, why it ended, as a [`LinkError`] that says the way out. A
//! connection is disposable: after any error a new one is made, and nothing is expected of the old
//! one. What never happens: an earlier session of the broker is resumed (clean start, session expiry
//! 0), the store alone remembers; the connection waits for whoever takes what is published to us.
//!
//! The library wants its event loop polled without pause. [`poll_connections`] does that, as a task
//! of its own.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the libraries' error enums are long and grow; what is not named here is said in their words"
)]

mod mail;
mod probe;

pub use probe::probe;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use rumqttc::mqttbytes::Error as CodecError;
use rumqttc::mqttbytes::v5::{ConnectReturnCode, LastWill, PubAckReason, PublishProperties};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, IncomingPacketSizeLimit, MqttOptions, Packet,
    PublishNotice, PublishOptions, PublishResult, QoS, StateError, TlsConfiguration, Transport,
};
use rustls::ClientConfig;
use tokio::sync::{mpsc, oneshot};

use super::Config;
use super::encode::ocsf;
use super::parcel::{Age, Format, Parcel};
use super::post::Inbox;
use super::topic::Topics;
use super::trouble::{LinkError, classify_tls};

/// The largest packet that is taken or sent.
pub const MAX_PACKET: u32 = 256 * 1024;
/// The longest that TCP, TLS and CONNECT together may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that fit beside the window: birth, heartbeat, notice, death and disconnect.
const ROOM_FOR_CONTROL: usize = 8;

/// What happened to a connection.
#[derive(Debug)]
pub enum LinkEvent {
    /// CONNACK.
    Up {
        /// How many publishes the broker takes at a time.
        receive_maximum: u16,
        /// The largest packet that it takes.
        max_packet: u32,
    },
    /// Over. `None`: because we disconnected.
    Down(Option<LinkError>),
}

/// What became of one publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// PUBACK with its reason code.
    PubAck(u8),
    /// The connection ended first.
    Lost,
}

/// A connection that [`poll_connections`] is to drive. Ends when its [`Link`] is dropped.
pub struct Job {
    event_loop: Box<EventLoop>,
    events: mpsc::Sender<LinkEvent>,
    dropped: oneshot::Receiver<()>,
    inbox: Option<Inbox>,
    broker: String,
}

/// Our end of a connection.
pub struct Link {
    client: AsyncClient,
    /// What happens to it.
    pub events: mpsc::Receiver<LinkEvent>,
    _keep: oneshot::Sender<()>,
}

/// Makes a connection. Nothing happens until its job is polled. What is published to us goes to the inbox; without one
/// it is dropped.
pub fn connect(
    config: &Config,
    topics: &Topics,
    tls: Arc<ClientConfig>,
    run: &str,
    inbox: Option<Inbox>,
) -> Result<(Link, Job), LinkError> {
    let broker = format!("{}:{}", config.host, config.port);
    let mut options = MqttOptions::new(&config.gateway, (config.host.as_str(), config.port));
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)))
        .set_clean_start(true)
        .set_session_expiry_interval(Some(0))
        .set_keep_alive(u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_max_packet_size(Some(MAX_PACKET))
        .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(MAX_PACKET))
        .set_connect_timeout(CONNECT_TIMEOUT.min(config.stalled_after))
        .set_outgoing_inflight_upper_limit(config.window.max(1))
        .set_last_will(LastWill::new(
            topics.status(),
            status_payload(run, "offline"),
            QoS::AtLeastOnce,
            true,
            None,
        ));
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let capacity = usize::from(config.window) + ROOM_FOR_CONTROL;
    let (client, event_loop) =
        AsyncClient::builder(options).capacity(capacity).try_build().map_err(|error| LinkError::Refused {
            broker: broker.clone(),
            reason: format!("the client cannot be set up: {error}"),
        })?;
    let (events_in, events) = mpsc::channel(4);
    let (keep, dropped) = oneshot::channel();
    let job = Job { event_loop: Box::new(event_loop), events: events_in, dropped, inbox, broker };
    Ok((Link { client, events, _keep: keep }, job))
}

/// What is said on the status topic.
fn status_payload(run: &str, state: &str) -> String {
    format!(r#"{{"state":"{state}","run":"{run}","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
}

impl Link {
    /// Starts a publish. The future gives what becomes of it. `None` when the connection is over.
    pub fn publish(&self, parcel: &Parcel) -> Option<impl Future<Output = Reply> + Send + use<>> {
        let (schema, content_type, utf8) = match parcel.format {
            Format::Fhir => ("fhir-r4-bundle/1", "application/fhir+json; fhirVersion=4.0", 1),
            Format::Cbor => ("wardline-cbor/1", "application/cbor", 0),
            Format::Ocsf => (ocsf::SCHEMA, "application/json", 1),
        };
        let mut user = vec![
            ("schema".to_owned(), schema.to_owned()),
            ("first".to_owned(), parcel.keys.0.clone()),
            ("last".to_owned(), parcel.keys.1.clone()),
            ("count".to_owned(), parcel.count.to_string()),
        ];
        if parcel.age == Age::Historical {
            user.push(("hist".to_owned(), "1".to_owned()));
        }
        let properties = PublishProperties {
            payload_format_indicator: Some(utf8),
            content_type: Some(content_type.to_owned()),
            user_properties: user,
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).properties(properties);
        let notice = self.client.try_publish_tracked(&parcel.topic, parcel.payload.clone(), options).ok()?;
        Some(reply(notice))
    }

    /// Says on the status topic that the gateway is online or offline, retained.
    pub fn announce(
        &self,
        topics: &Topics,
        run: &str,
        state: &str,
    ) -> Option<impl Future<Output = Reply> + Send + use<>> {
        self.retain(topics.status(), status_payload(run, state).into())
    }

    /// Says how the gateway is, retained.
    pub fn heartbeat(
        &self,
        topics: &Topics,
        payload: Bytes,
    ) -> Option<impl Future<Output = Reply> + Send + use<>> {
        self.retain(topics.heartbeat(), payload)
    }

    /// Publishes JSON for the broker to keep.
    fn retain(&self, topic: String, payload: Bytes) -> Option<impl Future<Output = Reply> + Send + use<>> {
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("application/json".to_owned()),
            ..PublishProperties::default()
        };
        let options = PublishOptions::new(QoS::AtLeastOnce).retained().properties(properties);
        let notice = self.client.try_publish_tracked(topic, payload, options).ok()?;
        Some(reply(notice))
    }

    /// Ends the connection in order: DISCONNECT after what is in flight, so that the broker does not
    /// publish the will.
    pub fn disconnect(&self, within: Duration) {
        // The connection being over already is what is wanted.
        let _ = self.client.try_disconnect_with_timeout(within);
    }

    /// Ends the connection with DISCONNECT before anything that is not answered, so that the broker does not publish
    /// the will.
    pub fn disconnect_now(&self) {
        // The connection being over already is what is wanted.
        let _ = self.client.try_disconnect_now();
    }
}

async fn reply(notice: PublishNotice) -> Reply {
    match notice.wait_async().await {
        Ok(PublishResult::Qos1(puback)) => Reply::PubAck(reason_code(puback.reason)),
        Ok(_) | Err(_) => Reply::Lost,
    }
}

/// The number of a reason (MQTT 5, table 3-4).
const fn reason_code(reason: PubAckReason) -> u8 {
    match reason {
        PubAckReason::Success => 0x00,
        PubAckReason::NoMatchingSubscribers => 0x10,
        PubAckReason::UnspecifiedError => 0x80,
        PubAckReason::ImplementationSpecificError => 0x83,
        PubAckReason::NotAuthorized => 0x87,
        PubAckReason::TopicNameInvalid => 0x90,
        PubAckReason::PacketIdentifierInUse => 0x91,
        PubAckReason::QuotaExceeded => 0x97,
        PubAckReason::PayloadFormatInvalid => 0x99,
    }
}

/// Drives connections, until nobody can ask for one any more: one, and two while the uplink goes over to another
/// broker. A connection whose [`Link`] is dropped is dropped at once, also while it hangs.
pub async fn poll_connections(mut jobs: mpsc::Receiver<Job>) {
    let mut polled = FuturesUnordered::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => polled.push(poll_job(job)),
                None => break,
            },
            Some(()) = polled.next() => {}
        }
    }
    // Nobody can ask, but the last link may still be there.
    while polled.next().await.is_some() {}
}

async fn poll_job(job: Job) {
    let Job { mut event_loop, events, dropped, inbox, broker } = job;
    tokio::select! {
        () = poll_one(&mut event_loop, &events, inbox.as_ref(), &broker) => {}
        // The sender is never used, only dropped.
        _ = dropped => {}
    }
}

async fn poll_one(
    event_loop: &mut EventLoop,
    events: &mpsc::Sender<LinkEvent>,
    inbox: Option<&Inbox>,
    broker: &str,
) {
    let mut up = false;
    loop {
        let event = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(connack))) => {
                up = true;
                let limits = connack.properties.as_ref();
                LinkEvent::Up {
                    receive_maximum: limits.and_then(|all| all.receive_max).unwrap_or(u16::MAX),
                    max_packet: limits.and_then(|all| all.max_packet_size).unwrap_or(u32::MAX),
                }
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                if let Some(inbox) = inbox {
                    inbox.handle_publish(&publish.topic, &publish.payload);
                }
                continue;
            }
            Ok(_) => continue,
            Err(ConnectionError::RequestsDone) => LinkEvent::Down(None),
            Err(error) => LinkEvent::Down(Some(classify(&error, broker, up))),
        };
        let over = matches!(event, LinkEvent::Down(_));
        if events.send(event).await.is_err() || over {
            return;
        }
    }
}

/// Says in words what an error of the library means and what to do about it.
pub(crate) fn classify(error: &ConnectionError, broker: &str, up: bool) -> LinkError {
    let broker = broker.to_owned();
    if let Some(tls) = tls_cause(error) {
        return classify_tls(tls, broker);
    }
    match error {
        ConnectionError::Timeout(_) => LinkError::NoAnswer { broker },
        ConnectionError::ConnectionRefused(code)
        | ConnectionError::MqttState(StateError::ConnFail { reason: code }) => {
            let reason = connack_words(*code).to_owned();
            if passes(*code) {
                LinkError::Busy { broker, reason }
            } else {
                LinkError::Refused { broker, reason }
            }
        }
        ConnectionError::Io(io) if !up && io.kind() != std::io::ErrorKind::UnexpectedEof => {
            LinkError::Unreachable { broker, detail: io.to_string() }
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            LinkError::Lost { broker, detail: "no answer to PINGREQ".to_owned() }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let words = reason_string.as_deref().unwrap_or_default();
            LinkError::Lost { broker, detail: format!("the broker disconnects: {reason_code:?} {words}") }
        }
        other => LinkError::Lost { broker, detail: other.to_string() },
    }
}

/// The TLS library's error within an error, however deep.
fn tls_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&'a (dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        next = if let Some(StateError::Deserialization(CodecError::Io(io))) = error.downcast_ref() {
            // The library gives no source for this one.
            Some(io)
        } else if let Some(held) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            // An I/O error's `source` skips the error that it holds.
            Some(held)
        } else {
            error.source()
        };
    }
    None
}

/// Whether it says nothing of who asks.
const fn passes(code: ConnectReturnCode) -> bool {
    matches!(
        code,
        ConnectReturnCode::ServerBusy
            | ConnectReturnCode::ServerUnavailable
            | ConnectReturnCode::ServiceUnavailable
            | ConnectReturnCode::QuotaExceeded
            | ConnectReturnCode::ConnectionRateExceeded
    )
}

fn connack_words(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::NotAuthorized => {
            "not authorised: give this gateway's certificate access at the broker"
        }
        ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => {
            "it does not take the client id: check the gateway's id"
        }
        ConnectReturnCode::BadUserNamePassword => {
            "it wants a user name: let it take the certificate as identity"
        }
        ConnectReturnCode::ServerBusy
        | ConnectReturnCode::ServerUnavailable
        | ConnectReturnCode::ServiceUnavailable => "it is busy or not available: it will be tried again",
        ConnectReturnCode::Banned => "this gateway is banned: lift the ban at the broker",
        ConnectReturnCode::QuotaExceeded | ConnectReturnCode::ConnectionRateExceeded => {
            "its quota is exceeded: it will be tried again"
        }
        ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
            "it does not speak MQTT 5"
        }
        _ => "it gives no usable reason: see the broker's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{AlertDescription, CertificateError};

    fn nested(error: rustls::Error) -> ConnectionError {
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        ConnectionError::MqttState(StateError::Io(io))
    }

    #[test]
    fn an_alert_deep_inside_a_state_error_is_a_refused_certificate() {
        let error = nested(rustls::Error::AlertReceived(AlertDescription::CertificateExpired));
        let words = classify(&error, "b:8883", false);
        assert!(
            matches!(&words, LinkError::CertificateRefused { alert, .. } if alert == "CertificateExpired")
        );
        assert!(words.to_string().contains("enrol again"));
    }

    #[test]
    fn a_broker_of_an_unknown_authority_is_not_trusted() {
        let error = nested(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let words = classify(&error, "b:8883", false).to_string();
        assert!(words.contains("not trusted") && words.contains("`authorities`"), "{words}");
    }

    #[test]
    fn nobody_listening_is_unreachable_but_a_lost_connection_is_not() {
        let refused = || ConnectionError::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(classify(&refused(), "b:1", false), LinkError::Unreachable { .. }));
        assert!(matches!(classify(&refused(), "b:1", true), LinkError::Lost { .. }));
    }
}
