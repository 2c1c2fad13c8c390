//! What a consumer at the far end has seen: the proof that every reading arrived, once, in order.
//!
//! The order that a consumer may count on, for each device: what is live comes in order, and so does
//! what comes as backlog (`hist=1`). The two interleave, so that nobody waits for an old reading to see
//! a new one; run and number of the records put them together again.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::heads::{Beat, Heads};
use super::payload::{Finding, Reading, read_cbor, read_events, read_fhir};
use crate::time::Mono;

/// Broken payloads that are remembered in words.
const MAX_COMPLAINTS: usize = 20;

/// One publish as it came.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its content type.
    pub content_type: &'a str,
    /// Its user properties.
    pub properties: &'a [(String, String)],
    /// Its payload.
    pub payload: &'a [u8],
    /// Whether the broker had kept it.
    pub retained: bool,
    /// When it came.
    pub at: Mono,
}

/// How a reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Mono,
    /// Whether as backlog (`hist=1`).
    pub historical: bool,
}

/// All that was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By device.
    pub devices: BTreeMap<String, Tally>,
    /// Publishes of data.
    pub publishes: u64,
    /// Records without those that had come before, in the order of their arrival over all devices.
    pub records: u64,
    /// For each alarm: how many records had arrived before it.
    pub alarms: Vec<(u64, String)>,
    /// Records by the group of the topic that they came on.
    pub groups: BTreeMap<String, u64>,
    /// Records lost on the gateway that it told of itself.
    pub gaps: u64,
    /// What the gateways found, each event once: detection, activity, device.
    pub events: Vec<Finding>,
    /// Heartbeats.
    pub heartbeats: u64,
    /// How far each gateway's store has come, by the gateway's place in the topics.
    pub gateways: BTreeMap<String, Heads>,
    /// Stores that went backwards, in words.
    pub setbacks: Vec<String>,
    /// What was wrong with publishes, in words; the first few.
    pub complaints: Vec<String>,
    /// Every reading in the order of arrival, when `keep` is set.
    pub kept: Vec<(String, Reading)>,
    /// How each of `kept` came.
    pub arrivals: Vec<Arrival>,
    /// Whether to keep every reading.
    pub keep: bool,
    keys: HashSet<String>,
}

/// What was seen of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records, each once.
    pub records: u64,
    /// Records that had come before, by their key.
    pub duplicates: u64,
    /// Records with a new key that say the same as one before (same run and number): the gateway
    /// stored something twice.
    pub doubled: u64,
    /// Alarms among the records.
    pub alarms: u64,
    /// Records that came in a publish with `hist=1`.
    pub historical: u64,
    /// Records that came after one with a higher number of the same lane, both live or both backlog.
    pub out_of_order: u64,
    runs: BTreeMap<String, BTreeSet<u64>>,
    last: BTreeMap<(String, String, bool), u64>,
}

impl Tally {
    /// Numbers missing between the first and the last of each run.
    pub fn lost(&self) -> u64 {
        let lost_of = |seen: &BTreeSet<u64>| {
            let last = seen.last().copied().unwrap_or(0);
            last.saturating_sub(u64::try_from(seen.len()).unwrap_or(u64::MAX))
        };
        self.runs.values().map(lost_of).sum()
    }
}

impl Ledger {
    /// Takes one publish.
    pub fn take(&mut self, delivery: Delivery<'_>) {
        let taken = if let Some(("s", place)) = delivery.topic.split_once("/v1/") {
            self.take_status(place, delivery)
        } else if delivery.topic.starts_with("e/v1/") {
            self.publishes += 1;
            self.take_events(delivery)
        } else {
            self.publishes += 1;
            self.try_take(delivery)
        };
        if let Err(problem) = taken
            && self.complaints.len() < MAX_COMPLAINTS
        {
            self.complaints.push(format!("{}: {problem:#}", delivery.topic));
        }
    }

    /// Over all devices: numbers missing.
    pub fn lost(&self) -> u64 {
        self.devices.values().map(Tally::lost).sum()
    }

    /// Over all devices: a sum.
    pub fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.devices.values().map(of).sum()
    }

    /// Takes what a gateway says of itself.
    fn take_status(&mut self, place: &str, delivery: Delivery<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(
            delivery.content_type == "application/json" || place.ends_with("/status"),
            "not JSON"
        );
        let Some(place) = place.strip_suffix("/heartbeat") else {
            // Birth and will. The will has no content type: it is older than the connection.
            let said: serde_json::Value = serde_json::from_slice(delivery.payload)?;
            let state = said.get("state").and_then(serde_json::Value::as_str);
            anyhow::ensure!(matches!(state, Some("online" | "offline")), "state {state:?}");
            return Ok(());
        };
        let beat = Beat::read(delivery.payload)?;
        anyhow::ensure!(
            place.rsplit('/').next() == Some(&beat.gateway),
            "it is of gateway {:?}",
            beat.gateway
        );
        self.heartbeats += 1;
        let setbacks = self.gateways.entry(place.to_owned()).or_default().take(beat);
        self.setbacks.extend(setbacks.into_iter().map(|setback| format!("{place}: {setback}")));
        Ok(())
    }

    fn take_events(&mut self, delivery: Delivery<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(!delivery.retained, "events must not be retained");
        anyhow::ensure!(delivery.content_type == "application/json", "not JSON");
        let found = read_events(delivery.payload)?;
        for (key, event) in found {
            if self.keys.insert(key) {
                self.events.push(event);
            }
        }
        Ok(())
    }

    fn try_take(&mut self, delivery: Delivery<'_>) -> anyhow::Result<()> {
        let levels: Vec<&str> = delivery.topic.split('/').collect();
        let ["d", "v1", _, group, _, device, class] = levels.as_slice() else {
            anyhow::bail!("not a data topic");
        };
        anyhow::ensure!(!delivery.retained, "data must not be retained");
        let property = |name: &str| {
            delivery.properties.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
        };
        let readings = match (delivery.content_type, property("schema")) {
            ("application/fhir+json; fhirVersion=4.0", Some("fhir-r4-bundle/1")) => {
                read_fhir(delivery.payload)
            }
            ("application/cbor", Some("wardline-cbor/1")) => read_cbor(delivery.payload),
            (other, schema) => anyhow::bail!("content type {other:?} with schema {schema:?}"),
        }?;
        let stated = (property("first"), property("last"), property("count"));
        let count = readings.len().to_string();
        let found = (
            readings.first().map(|reading| reading.key.as_str()),
            readings.last().map(|reading| reading.key.as_str()),
            Some(count.as_str()),
        );
        anyhow::ensure!(stated == found, "the properties say {stated:?}, the payload {found:?}");
        let arrival = Arrival { at: delivery.at, historical: property("hist") == Some("1") };
        let before = self.records;
        for reading in readings {
            self.enter(device, class, arrival, reading);
        }
        *self.groups.entry((*group).to_owned()).or_default() += self.records - before;
        Ok(())
    }

    fn enter(&mut self, device: &str, class: &str, arrival: Arrival, reading: Reading) {
        let historical = arrival.historical;
        let tally = self.devices.entry(device.to_owned()).or_default();
        if !self.keys.insert(reading.key.clone()) {
            tally.duplicates += 1;
            return;
        }
        if class == "alarm" {
            tally.alarms += 1;
            self.alarms.push((self.records, reading.key.clone()));
        }
        self.records += 1;
        let Some(seq) = reading.seq else {
            self.gaps += reading.value.parse().unwrap_or(1);
            return;
        };
        tally.records += 1;
        tally.historical += u64::from(historical);
        if !tally.runs.entry(reading.run.clone()).or_default().insert(seq) {
            tally.doubled += 1;
        }
        let lane = reading.key.split('-').nth(1).unwrap_or_default().to_owned();
        let last = tally.last.entry((reading.run.clone(), lane, historical)).or_default();
        tally.out_of_order += u64::from(seq < *last);
        *last = seq.max(*last);
        if self.keep {
            self.kept.push((device.to_owned(), reading));
            self.arrivals.push(arrival);
        }
    }
}
