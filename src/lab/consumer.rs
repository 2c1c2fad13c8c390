//! A consumer at the far end: its own mutual-TLS client, subscribed to `d/v1/#`, `e/v1/#` and `s/v1/#`, that
//! writes what it sees into a [`Ledger`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, IncomingPacketSizeLimit, MqttOptions, Packet, Publish, QoS, TlsConfiguration,
    Transport,
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

/// What the consumer and its owner share.
#[derive(Clone)]
pub struct Shared {
    ledger: Arc<Mutex<Ledger>>,
    changed: watch::Sender<u64>,
    subscribed: watch::Sender<bool>,
}

impl Default for Shared {
    fn default() -> Self {
        Self { ledger: Arc::default(), changed: watch::channel(0).0, subscribed: watch::channel(false).0 }
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
    loop {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                client.subscribe("d/v1/#", QoS::AtLeastOnce).await?;
                client.subscribe("e/v1/#", QoS::AtLeastOnce).await?;
                client.subscribe("s/v1/#", QoS::AtLeastOnce).await?;
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                shared.subscribed.send_replace(true);
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
