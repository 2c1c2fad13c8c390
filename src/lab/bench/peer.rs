//! The peer of the same run: single readings through a mosquitto bridge. And the subscriber that
//! counts at the far end, for both.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use rumqttc::{
    AsyncClient, Event, IncomingPacketSizeLimit, MqttOptions, Packet, Publish, PublishOptions, QoS,
    TlsConfiguration, Transport,
};
use serde::{Deserialize, Serialize};

use super::broker::Papers;
use super::machine::per_second;
use crate::host::clock::SystemClock;
use crate::lab::pki::Pair;
use crate::time::Clock as _;

/// A single reading in JSON, with a topic's worth of names in it, is about so large.
pub(super) const READING: usize = 256;
/// Publishes that the publisher has in flight.
const IN_FLIGHT: u16 = 1_000;
/// Longer than any run that is worth a figure.
const PATIENCE: Duration = Duration::from_secs(300);

/// What arrived at the far end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Arrived {
    /// Publishes.
    pub(super) publishes: u64,
    /// Readings in them: by the user property `count`, one where there is none.
    pub(super) readings: u64,
    /// Publishes each second, from the first to the last.
    pub(super) publishes_per_second: f64,
    /// Readings each second.
    pub(super) readings_per_second: f64,
}

/// Subscribes, says `ready`, and counts until so many readings have come.
pub(super) async fn subscribe(papers: &Papers, port: u16, expected: u64) -> anyhow::Result<Arrived> {
    let Pair { certificate, key } = papers.pair("subscriber");
    let mut options = MqttOptions::new("subscriber", ("localhost", port));
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
            ca: std::fs::read(papers.authorities())?,
            alpn: None,
            client_auth: Some((std::fs::read(certificate)?, std::fs::read(key)?)),
        }))
        .set_keep_alive(60)
        .set_receive_maximum(Some(IN_FLIGHT))
        .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(1024 * 1024));
    let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
    let clock = SystemClock::default();
    let mut arrived = Arrived::default();
    let mut first = None;
    let count = async {
        while arrived.readings < expected {
            match events.poll().await? {
                Event::Incoming(Packet::ConnAck(_)) => client.subscribe("#", QoS::AtLeastOnce).await?,
                Event::Incoming(Packet::SubAck(_)) => writeln!(std::io::stdout(), "ready")?,
                // The birth of the gateway and its heartbeats are no readings.
                Event::Incoming(Packet::Publish(publish)) if !is_status(&publish) => {
                    first.get_or_insert_with(|| clock.now().mono);
                    arrived.publishes += 1;
                    arrived.readings += readings(&publish);
                }
                Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, count).await.context("not everything arrived")??;
    let took = clock.now().mono.since(first.context("nothing arrived")?);
    arrived.publishes_per_second = per_second(arrived.publishes, took);
    arrived.readings_per_second = per_second(arrived.readings, took);
    Ok(arrived)
}

fn is_status(publish: &Publish) -> bool {
    publish.topic.starts_with(b"s/")
}

fn readings(publish: &Publish) -> u64 {
    let user = publish.properties.as_ref().map(|all| all.user_properties.as_slice()).unwrap_or_default();
    let count = user.iter().find(|(name, _)| name == "count");
    count.and_then(|(_, count)| count.parse().ok()).unwrap_or(1)
}

/// A single reading as text.
pub(super) fn reading(number: u64) -> String {
    let mut reading = format!(
        r#"{{"device":"bed-{:02}","code":"MDC_PULS_OXIM_SAT_O2","value":97.{},"unit":"%","seq":{number}}}"#,
        number % 100,
        number % 10,
    );
    reading.extend(std::iter::repeat_n(' ', READING.saturating_sub(reading.len())));
    reading
}

/// Publishes single readings to a broker on the loopback, until all have their PUBACK.
pub(super) async fn publish(port: u16, messages: u64) -> anyhow::Result<()> {
    let mut options = MqttOptions::new("publisher", ("localhost", port));
    options.set_keep_alive(60).set_outgoing_inflight_upper_limit(IN_FLIGHT);
    let (client, mut events) = AsyncClient::builder(options).capacity(usize::from(IN_FLIGHT)).build();
    let feed = async {
        for number in 0..messages {
            let reading = reading(number);
            let topic = format!("readings/bed-{:02}", number % 100);
            client.publish(topic, reading, PublishOptions::new(QoS::AtLeastOnce)).await?;
        }
        anyhow::Ok(())
    };
    let drive = async {
        let mut taken = 0;
        while taken < messages {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                taken += 1;
            }
        }
        anyhow::Ok(())
    };
    let both = async { tokio::try_join!(feed, drive) };
    tokio::time::timeout(PATIENCE, both).await.context("the broker does not take the readings")??;
    Ok(())
}
