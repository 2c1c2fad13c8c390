//! A consumer at the far end: its own mutual-TLS client, subscribed to `d/v1/#`, `e/v1/#` and `s/v1/#`, that
//! writes what it sees into a [`Ledger`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rumqttc::mqttbytes::v5::SubscribeFilter;
use rumqttc::{
    AsyncClient, Event, IncomingPacketSizeLimit, MqttOptions, Packet, Publish, PublishOptions, QoS,
    TlsConfiguration, Transport,
};
use tokio::sync::watch;

use super::ledger::{Delivery, Ledger};
use crate::host::clock::SystemClock;
use crate::time::{Clock as _, Mono};

/// Where the broker is and who we are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its host name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Our client id.
    pub id: String,
    /// Certificates of the broker's authority.
    pub authorities: PathBuf,
    /// Our certificate.
    pub certificate: PathBuf,
    /// Our key.
    pub key: PathBuf,
}

/// The topic of the marks that a consumer sends itself.
pub const MARK: &str = "mark";

/// What the consumer and its owner share.
#[derive(Clone)]
pub struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    changed: watch::Sender<u64>,
    subscribed: watch::Sender<bool>,
    client: Arc<OnceLock<AsyncClient>>,
    /// The marks that were asked for, and the last of them that came back.
    asked: Arc<AtomicU64>,
    marks: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            ledger: Arc::default(),
            changed: watch::channel(0).0,
            subscribed: watch::channel(false).0,
            client: Arc::default(),
            asked: Arc::default(),
            marks: watch::channel(0).0,
        }
    }
}

impl Shared {
    /// Looks into the ledger.
    pub fn with<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves once the ledger fulfils a condition.
    pub async fn wait_for(&self, condition: impl Fn(&Ledger) -> bool) {
        let mut changed = self.changed.subscribe();
        while !self.with(|ledger| condition(ledger)) {
            // Cannot end: the sender is in `self`.
            let _ = changed.changed().await;
        }
    }

    /// Resolves once the broker confirmed the subscription.
    pub async fn subscribed(&self) {
        let _ = self.subscribed.subscribe().wait_for(|subscribed| *subscribed).await;
    }

    /// Resolves once everything that the broker had taken when this was called has been seen here. Only then is what
    /// is not in the ledger missing: the broker's PUBACK says nothing of a subscriber, which may be seconds behind.
    ///
    /// It sends itself a mark, which the broker puts behind all that waits for it. The broker's access list has to
    /// allow [`MARK`], and a broker that loses sessions loses the mark with them.
    pub async fn caught_up(&self) -> anyhow::Result<()> {
        let client = self.client.get().context("the consumer does not run")?;
        let mark = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        client.publish(MARK, mark.to_string(), PublishOptions::new(QoS::AtLeastOnce)).await?;
        // Cannot end: the sender is in `self`.
        let _ = self.marks.subscribe().wait_for(|seen| *seen >= mark).await;
        Ok(())
    }
}

/// Consumes until dropped; connects again whenever the connection is lost.
pub async fn run(settings: Settings, shared: Shared) -> anyhow::Result<()> {
    let mut options = MqttOptions::new(&settings.id, (settings.host.as_str(), settings.port));
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: std::fs::read(&settings.authorities)?,
            alpn: None,
            client_auth: Some((std::fs::read(&settings.certificate)?, std::fs::read(&settings.key)?)),
        }))
        .set_clean_start(false)
        .set_session_expiry_interval(Some(3_600))
        .set_keep_alive(5)
        .set_receive_maximum(Some(1_000))
        .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(1024 * 1024));
    let clock = SystemClock::default();
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    let _ = shared.client.set(client.clone());
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                // In one packet: its answer is that of all.
                let filters = ["d/v1/#", "e/v1/#", "s/v1/#", MARK];
                client
                    .subscribe_many(filters.map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce)))
                    .await?;
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                shared.subscribed.send_replace(true);
            }
            Ok(Event::Incoming(Packet::Publish(publish))) if publish.topic.as_ref() == MARK.as_bytes() => {
                let mark: u64 = std::str::from_utf8(&publish.payload)?.parse()?;
                shared.marks.send_modify(|seen| *seen = mark.max(*seen));
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                take(&shared, &publish, clock.now().mono);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "the consumer's connection is lost");
                shared.subscribed.send_replace(false);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn take(shared: &Shared, publish: &Publish, at: Mono) {
    let topic = String::from_utf8_lossy(&publish.topic);
    let properties = publish.properties.as_ref();
    shared.with(|ledger| {
        ledger.take(Delivery {
            topic: &topic,
            content_type: properties.and_then(|all| all.content_type.as_deref()).unwrap_or_default(),
            properties: properties.map(|all| all.user_properties.as_slice()).unwrap_or_default(),
            payload: &publish.payload,
            retained: publish.retain,
            at,
        });
    });
    shared.changed.send_modify(|count| *count += 1);
}
