//! How far each gateway's store has come, by its heartbeats: the check off the box that nobody put an
//! older copy of a store back.
//!
//! In: heartbeats in the order in which they came. Out: what went backwards, in words. The shape is read
//! here anew, by its description in `src/uplink/heartbeat.rs` and not by the daemon's own types, so that
//! a slip in either is seen.
//!
//! What it cannot see: a copy that is younger than the last heartbeat. What is lost with such a copy shows
//! as a hole in the records' numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Heads that are remembered for each lane: a week of heartbeats.
const MAX_SEEN: usize = 10_080;

/// A heartbeat. Unknown fields are refused: what is not described is not to be sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Beat {
    pub schema: String,
    pub gateway: String,
    pub version: String,
    pub boot: String,
    pub run: String,
    pub uptime_ms: u64,
    pub time: String,
    pub time_synced: bool,
    pub time_max_error_us: u32,
    pub key_protection: String,
    pub kek: String,
    pub rotation_pending: bool,
    pub certificate: Option<Certificate>,
    pub store: Store,
    pub lanes: Vec<Lane>,
    pub uplink: Uplink,
}

/// The certificate's part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Certificate {
    pub valid_until: String,
    pub renewal: String,
    pub alarm: String,
}

/// The store's part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Store {
    pub id: String,
    pub cap: u64,
    pub bytes: u64,
    pub quarantined: u64,
    pub dropped: u64,
    pub faults: u64,
    pub last_fault: Option<String>,
}

/// A lane's part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Lane {
    pub lane: String,
    pub newest: Option<Head>,
    pub found: Option<Head>,
    pub blocks: u64,
    pub records: u64,
    pub bytes: u64,
    pub oldest_age_ms: Option<u64>,
}

/// A place in a lane's chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Head {
    pub segment: u64,
    pub head: String,
}

/// The uplink's part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "described where it is made: src/uplink/heartbeat.rs")]
pub struct Uplink {
    pub connections: u64,
    pub published: u64,
    pub acknowledged: u64,
    pub records: u64,
    pub refused: u64,
    pub refused_blocks: u64,
    pub in_flight: u64,
    pub held_topics: u64,
    pub no_consumer: bool,
    pub certificate_days_left: Option<i64>,
}

impl Beat {
    /// Reads one and holds it against its description.
    pub fn read(payload: &[u8]) -> anyhow::Result<Self> {
        let beat: Self = serde_json::from_slice(payload)?;
        anyhow::ensure!(beat.schema == "wardline-heartbeat/1", "schema {:?}", beat.schema);
        for (what, text, digits) in [
            ("boot", &beat.boot, 32),
            ("run", &beat.run, 16),
            ("kek", &beat.kek, 16),
            ("store.id", &beat.store.id, 32),
        ] {
            anyhow::ensure!(is_hex(text, digits), "{what} {text:?} is not {digits} hex digits");
        }
        let protections = ["file", "credential", "pkcs11"];
        let protection = beat.key_protection.as_str();
        anyhow::ensure!(protections.contains(&protection), "key_protection {protection:?}");
        let lanes: Vec<&str> = beat.lanes.iter().map(|lane| lane.lane.as_str()).collect();
        anyhow::ensure!(lanes == ["alarm", "vital", "bulk"], "lanes {lanes:?}");
        for lane in &beat.lanes {
            for head in [&lane.newest, &lane.found].into_iter().flatten() {
                anyhow::ensure!(head.segment > 0 && is_hex(&head.head, 64), "{}: {head:?}", lane.lane);
            }
            anyhow::ensure!(lane.records >= lane.blocks, "{}: fewer records than blocks", lane.lane);
        }
        anyhow::ensure!(beat.uplink.connections > 0, "it came over a connection");
        Ok(beat)
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// How far the store of one gateway has come.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// Its newest heartbeat.
    pub last: Option<Beat>,
    /// Stores that it had before, by id.
    stores: BTreeSet<String>,
    /// The heads that were told of, by lane, in the order in which they came.
    seen: BTreeMap<String, Vec<String>>,
}

impl Heads {
    /// Takes a heartbeat. What it says that went backwards, in words.
    pub fn take(&mut self, beat: Beat) -> Vec<String> {
        let mut setbacks = Vec::new();
        if let Some(last) = &self.last {
            if last.run == beat.run && last.uptime_ms >= beat.uptime_ms {
                // Delivered again.
                return setbacks;
            }
            if last.store.id == beat.store.id {
                let lanes = last.lanes.iter().zip(&beat.lanes);
                let back = lanes.filter_map(|(was, is)| self.setback(last, was, &beat, is));
                setbacks = back.collect();
            } else {
                let known = if self.stores.contains(&beat.store.id) { "an earlier" } else { "another" };
                setbacks.push(format!("{known} store {} took the place of {}", beat.store.id, last.store.id));
                self.seen.clear();
            }
        }
        self.stores.insert(beat.store.id.clone());
        for lane in &beat.lanes {
            let seen = self.seen.entry(lane.lane.clone()).or_default();
            if let Some(newest) = &lane.newest
                && seen.last() != Some(&newest.head)
            {
                seen.push(newest.head.clone());
                let over = seen.len().saturating_sub(MAX_SEEN);
                seen.drain(..over);
            }
        }
        self.last = Some(beat);
        setbacks
    }

    /// What of one lane went backwards: what a new run found, or what the same run has now.
    fn setback(&self, last: &Beat, was: &Lane, beat: &Beat, is: &Lane) -> Option<String> {
        let before = was.newest.as_ref()?;
        let is_same_run = last.run == beat.run;
        if is_same_run && was.found != is.found {
            return Some(format!(
                "lane {}: a run found two things: {:?}, {:?}",
                is.lane, was.found, is.found
            ));
        }
        let (verb, now) = if is_same_run { ("has", &is.newest) } else { ("found", &is.found) };
        let Some(now) = now else {
            return Some(format!("lane {}: it {verb} nothing after segment {}", is.lane, before.segment));
        };
        if now.segment < before.segment {
            let (segment, newest) = (now.segment, before.segment);
            return Some(format!("lane {}: it {verb} segment {segment} after segment {newest}", is.lane));
        }
        let is_earlier =
            now.head != before.head && self.seen.get(&is.lane).is_some_and(|seen| seen.contains(&now.head));
        is_earlier
            .then(|| format!("lane {}: it {verb} a head of segment {} from before", is.lane, now.segment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heartbeat of a run in which the vital lane found and has these: segment and head.
    fn beat(run: u8, uptime_ms: u64, found: (u64, u8), newest: (u64, u8)) -> Beat {
        Beat::read(json(run, uptime_ms, found, newest).to_string().as_bytes()).unwrap()
    }

    fn json(run: u8, uptime_ms: u64, found: (u64, u8), newest: (u64, u8)) -> serde_json::Value {
        let head = |(segment, head): (u64, u8)| serde_json::json!({ "segment": segment, "head": format!("{head:02x}").repeat(32) });
        let lane = |lane: &str| {
            let is_vital = lane == "vital";
            serde_json::json!({
                "lane": lane, "newest": is_vital.then(|| head(newest)), "found": is_vital.then(|| head(found)),
                "blocks": 0, "records": 0, "bytes": 0, "oldest_age_ms": null
            })
        };
        let lanes = ["alarm", "vital", "bulk"].map(lane);
        serde_json::json!({
            "schema": "wardline-heartbeat/1", "gateway": "gw", "version": "1", "boot": "0".repeat(32),
            "run": format!("{run:016x}"), "uptime_ms": uptime_ms, "time": "", "time_synced": true,
            "time_max_error_us": 0, "key_protection": "file", "kek": "0".repeat(16), "rotation_pending": false,
            "store": { "id": "1".repeat(32), "cap": 1, "bytes": 0, "quarantined": 0, "dropped": 0, "faults": 0,
                       "last_fault": null },
            "lanes": lanes,
            "uplink": { "connections": 1, "published": 0, "acknowledged": 0, "records": 0, "refused": 0,
                        "refused_blocks": 0, "in_flight": 0, "held_topics": 0, "no_consumer": false,
                        "certificate_days_left": 1 }
        })
    }

    fn setbacks(beats: &[Beat]) -> Vec<String> {
        let mut heads = Heads::default();
        beats.iter().flat_map(|beat| heads.take(beat.clone())).collect()
    }

    #[test]
    fn a_store_that_goes_on_is_well() {
        let quiet = [
            beat(1, 1, (4, 10), (4, 10)),
            beat(1, 2, (4, 10), (5, 11)),
            beat(1, 3, (4, 10), (5, 12)),
            beat(1, 3, (4, 10), (5, 12)),
            // Delivered again.
            beat(1, 2, (4, 10), (5, 11)),
            // It grew after its last heartbeat, and was killed.
            beat(2, 1, (5, 13), (5, 13)),
            beat(2, 2, (5, 13), (900, 14)),
        ];
        assert_eq!(setbacks(&quiet), [""; 0]);
    }

    #[test]
    fn an_older_copy_is_noticed_however_it_shows() {
        let before = [beat(1, 1, (4, 10), (5, 11)), beat(1, 2, (4, 10), (7, 12))];
        for (after, words) in [
            (beat(2, 1, (5, 20), (5, 20)), "found segment 5 after segment 7"),
            // The next segment's number is past the newest that was ever told of.
            (beat(2, 1, (5, 20), (900, 21)), "found segment 5 after segment 7"),
            (beat(2, 1, (7, 11), (7, 11)), "found a head of segment 7 from before"),
            (beat(1, 3, (4, 10), (6, 13)), "has segment 6 after segment 7"),
            (beat(1, 3, (4, 10), (7, 11)), "has a head of segment 7 from before"),
            (beat(1, 3, (3, 10), (7, 13)), "found two things"),
        ] {
            let found = setbacks(&[before[0].clone(), before[1].clone(), after]);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
        let mut empty = beat(2, 1, (7, 12), (7, 12));
        empty.lanes[1].found = None;
        assert!(setbacks(&[before[1].clone(), empty])[0].contains("nothing after segment 7"));
        let mut other = beat(2, 1, (1, 1), (1, 1));
        other.store.id = "2".repeat(32);
        let words = setbacks(&[before[1].clone(), other, beat(3, 1, (7, 12), (7, 12))]);
        assert!(
            words[0].starts_with("another store") && words[1].starts_with("an earlier store"),
            "{words:?}"
        );
    }

    #[test]
    fn what_is_not_described_is_refused() {
        let text = json(1, 1, (4, 10), (5, 11)).to_string();
        assert!(Beat::read(text.as_bytes()).is_ok());
        for (from, to) in [
            ("wardline-heartbeat/1", "wardline-heartbeat/2"),
            ("\"gateway\"", "\"patient\":\"x\",\"gateway\""),
            ("\"dropped\":0,", ""),
            ("\"key_protection\":\"file\"", "\"key_protection\":\"none\""),
            ("\"vital\"", "\"waves\""),
            ("\"segment\":5", "\"segment\":0"),
            ("0b0b", "0B0B"),
            ("\"connections\":1", "\"connections\":0"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Beat::read(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
