//! The far end: a subscriber that proves that every reading arrived once, in memory that does not
//! grow with their number.
//!
//! In: the publishes of one gateway, CBOR. Out: how many records arrived, twice, out of order, not at
//! all, and how many the gateway said were lost. What is remembered of each device: which numbers
//! came, as ranges that grow together.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rumqttc::{
    AsyncClient, Event, IncomingPacketSizeLimit, MqttOptions, Packet, Publish, QoS, TlsConfiguration,
    Transport,
};
use serde::{Deserialize, Serialize};

use super::super::bench::broker::Papers;
use super::super::bench::machine::Memory;
use super::super::bench::part::say_as;
use super::super::payload::{Reading, read_cbor};
use super::super::pki::Pair;
use crate::host::clock::SystemClock;
use crate::time::Clock as _;

/// When so long nothing comes, nothing more will.
const SILENCE: Duration = Duration::from_secs(60);
/// Publishes that the broker sends ahead.
const IN_FLIGHT: u16 = 1_000;

/// What is waited for.
#[derive(Clone, Debug, clap::Args)]
pub struct Count {
    /// The folder of the certificates.
    papers: PathBuf,
    /// The broker's port.
    port: u16,
    /// Records: those that come and those that are said to be lost.
    expected: u64,
}

/// What came.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(in crate::lab) struct Counted {
    /// Publishes.
    pub(super) publishes: u64,
    /// Records, each once.
    pub(super) records: u64,
    /// Records that had come before.
    pub(super) twice: u64,
    /// Records that came after a later one of their device.
    pub(super) out_of_order: u64,
    /// Numbers between the first and the last of each device that did not come.
    pub(super) missing: u64,
    /// Gap records.
    pub(super) gaps: u64,
    /// Records that these say were lost.
    pub(super) told: u64,
    /// Publishes that could not be read.
    pub(super) unreadable: u64,
    /// When the first publish came: time since boot, nanoseconds.
    pub(super) first_at: u64,
    /// The same of the last.
    pub(super) last_at: u64,
    /// Memory at the end.
    pub(super) memory: Memory,
}

impl Count {
    /// Subscribes, says `ready`, and counts.
    pub(in crate::lab) async fn run(self) -> anyhow::Result<()> {
        let Pair { certificate, key } = Papers(self.papers.clone()).pair("subscriber");
        let mut options = MqttOptions::new("subscriber", ("localhost", self.port));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Simple {
                ca: std::fs::read(Papers(self.papers).authorities())?,
                alpn: None,
                client_auth: Some((std::fs::read(certificate)?, std::fs::read(key)?)),
            }))
            .set_keep_alive(60)
            .set_receive_maximum(Some(IN_FLIGHT))
            .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(1024 * 1024));
        let (client, mut events) = AsyncClient::builder(options).capacity(8).build();
        let clock = SystemClock::default();
        let mut seen = Seen::default();
        let mut is_begun = false;
        while seen.counted.records + seen.counted.told < self.expected {
            let next = tokio::time::timeout(SILENCE, events.poll()).await;
            let event = match next {
                Ok(event) => event?,
                // Before the first publish there is nothing to be late.
                Err(_) if !is_begun => continue,
                Err(_) => break,
            };
            match event {
                Event::Incoming(Packet::ConnAck(_)) => {
                    client.subscribe("d/v1/#", QoS::AtLeastOnce).await?;
                }
                Event::Incoming(Packet::SubAck(_)) => writeln!(std::io::stdout(), "ready")?,
                Event::Incoming(Packet::Publish(publish)) => {
                    let at = clock.now().mono.as_nanos();
                    if !is_begun {
                        (is_begun, seen.counted.first_at) = (true, at);
                    }
                    seen.counted.last_at = at;
                    seen.take(&publish);
                }
                Event::Incoming(_) | Event::Outgoing(_) | Event::Auth(_) => {}
            }
        }
        say_as("done", &seen.figures())
    }
}

/// What has come.
#[derive(Default)]
struct Seen {
    counted: Counted,
    devices: BTreeMap<(String, String), Numbers>,
}

impl Seen {
    fn take(&mut self, publish: &Publish) {
        self.counted.publishes += 1;
        let topic = String::from_utf8_lossy(&publish.topic);
        let device = topic.split('/').nth(5).unwrap_or_default();
        match read_cbor(&publish.payload) {
            Ok(readings) => readings.iter().for_each(|reading| self.enter(device, reading)),
            Err(_) => self.counted.unreadable += 1,
        }
    }

    fn enter(&mut self, device: &str, reading: &Reading) {
        let Some(number) = reading.seq else {
            self.counted.gaps += 1;
            self.counted.told += reading.value.parse().unwrap_or(0);
            return;
        };
        let name = (device.to_owned(), reading.run.clone());
        let numbers = self.devices.entry(name).or_default();
        match numbers.enter(number) {
            Came::InOrder => self.counted.records += 1,
            Came::Late => {
                self.counted.records += 1;
                self.counted.out_of_order += 1;
            }
            Came::Again => self.counted.twice += 1,
        }
    }

    fn figures(&self) -> Counted {
        let missing = self.devices.values().map(Numbers::missing).sum();
        Counted { missing, memory: Memory::now(), ..self.counted }
    }
}

/// How a number came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    InOrder,
    Late,
    Again,
}

/// Numbers as ranges: the first and the last of each.
#[derive(Default)]
struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    fn enter(&mut self, number: u64) -> Came {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| number <= last) {
            return Came::Again;
        }
        let is_last = self.0.last_key_value().is_none_or(|(_, last)| *last < number);
        let after = number.checked_add(1).and_then(|next| self.0.remove(&next)).unwrap_or(number);
        match before {
            Some((first, last)) if last + 1 == number => drop(self.0.insert(first, after)),
            _ => drop(self.0.insert(number, after)),
        }
        if is_last { Came::InOrder } else { Came::Late }
    }

    /// Numbers from 1 to the last that did not come.
    fn missing(&self) -> u64 {
        let came: u64 = self.0.iter().map(|(first, last)| last - first + 1).sum();
        self.0.last_key_value().map_or(0, |(_, last)| last.saturating_sub(came))
    }
}

/// The word `ready`, and what was counted.
pub(super) fn parse(line: &str) -> anyhow::Result<Counted> {
    let text = line.strip_prefix("done ").with_context(|| format!("not a count: {line}"))?;
    Ok(serde_json::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_together_and_none_is_counted_twice() {
        use Came::{Again, InOrder, Late};
        let mut numbers = Numbers::default();
        let came: Vec<Came> = [1, 2, 5, 4, 3, 3, 1, 9].into_iter().map(|n| numbers.enter(n)).collect();
        assert_eq!(came, [InOrder, InOrder, InOrder, Late, Late, Again, Again, InOrder]);
        assert_eq!(numbers.0, BTreeMap::from([(1, 5), (9, 9)]));
        assert_eq!(numbers.missing(), 3);
        assert_eq!(numbers.enter(u64::MAX), InOrder);
    }

    #[test]
    fn a_run_of_a_million_numbers_is_one_range() {
        let mut numbers = Numbers::default();
        assert!((1..=1_000_000).all(|number| numbers.enter(number) == Came::InOrder));
        assert_eq!((numbers.0.len(), numbers.missing()), (1, 0));
    }
}
