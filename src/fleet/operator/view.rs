//! What is known of every gateway: from its reports, its heartbeats and its status. Pure: what came and when in,
//! rows out.
//!
//! As JSON, one object a gateway, the shape of [`Row`]: fields are added, never renamed or given another meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::plain::plain;
use super::progress::Member;
use crate::fleet::documents::reported::Reported;
use crate::fleet::documents::{Head, is_name};
use crate::fleet::topics::{Topic, What};
use crate::time::Wall;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// How far ahead of ours a gateway's clock may be for its word to say when that was.
const AHEAD_MS: i64 = 10 * 60 * 1_000;
/// The most gateways that are kept, registered or not: whoever may write there could name any number.
const MOST: usize = 8_192;
/// The longest heartbeat and status.
const MAX_BEAT: usize = 16 * 1_024;

/// What is known of the fleet.
pub(super) struct View {
    organisation: String,
    gateways: BTreeMap<String, Known>,
}

/// What is known of one gateway.
#[derive(Default)]
pub(super) struct Known {
    group: Option<String>,
    /// The newest report, by its own `at`, that the gateway's key has signed.
    proven: Option<Reported>,
    /// What lies there as its report and is not its own, with the reason.
    unproven: Option<(Reported, String)>,
    beat: Option<Beat>,
    online: Option<bool>,
    /// The newest sign of life.
    heard: Option<Wall>,
    /// The newest one that its key has signed.
    signed: Option<Wall>,
    /// A report that could not be read.
    fault: Option<String>,
}

/// The part of a heartbeat that is shown (`uplink::heartbeat`); what else is in it is passed over.
#[derive(Deserialize)]
struct Beat {
    version: String,
    time: String,
    #[serde(default)]
    lanes: Vec<BeatLane>,
    #[serde(default)]
    uplink: BeatUplink,
}

#[derive(Deserialize)]
struct BeatLane {
    records: u64,
    oldest_age_ms: Option<u64>,
}

#[derive(Default, Deserialize)]
struct BeatUplink {
    certificate_days_left: Option<i64>,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}

/// A gateway as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Row {
    pub(super) gateway: String,
    pub(super) group: Option<String>,
    /// Whether it is in the register.
    pub(super) registered: bool,
    /// Whether the broker has it connected; null: nothing was said.
    pub(super) online: Option<bool>,
    /// Of the program.
    pub(super) version: Option<String>,
    pub(super) running: Option<u64>,
    /// The bundle that is current for its group.
    pub(super) head: Option<u64>,
    /// Whether it runs another bundle than the current one.
    pub(super) drift: bool,
    pub(super) standing: Option<&'static str>,
    pub(super) detail: Option<String>,
    /// Whether the report that is shown is signed by the gateway's own key; null: there is none.
    pub(super) proven: Option<bool>,
    /// Why it is not; or why what came after it is not.
    pub(super) unproven: Option<String>,
    pub(super) certificate_days: Option<i64>,
    /// Records that wait for the broker, and for how many seconds the oldest has.
    pub(super) spool: Option<u64>,
    pub(super) spool_seconds: Option<u64>,
    pub(super) devices: Option<u32>,
    pub(super) silent: Vec<String>,
    /// How many more devices give nothing.
    pub(super) more_silent: u32,
    pub(super) health: Vec<String>,
    /// Its newest sign of life, by its own clock, or when it came in; and how many seconds ago.
    pub(super) heard: Option<String>,
    pub(super) seconds: Option<i64>,
}

/// Judges whether a report is the gateway's own.
pub(super) type Prove<'a> = &'a dyn Fn(&[u8], &Reported, Wall) -> Result<(), String>;

/// How and when something came.
pub(super) struct Sight<'a> {
    /// It came as it was published, and had not been retained.
    pub(super) is_live: bool,
    pub(super) now: Wall,
    pub(super) prove: Prove<'a>,
}

impl View {
    /// Of the gateways of the register, each with its group.
    pub(super) fn new<'a>(
        organisation: &str,
        registered: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let known = |group: &str| Known { group: Some(group.to_owned()), ..Known::default() };
        let gateways = registered.into_iter().map(|(id, group)| (id.to_owned(), known(group)));
        Self { organisation: organisation.to_owned(), gateways: gateways.collect() }
    }

    /// The filters of everything that is looked at.
    pub(super) fn filters(organisation: &str) -> [String; 3] {
        [
            crate::fleet::topics::every_report(organisation),
            format!("s/v1/{organisation}/+/+/status"),
            format!("s/v1/{organisation}/+/+/heartbeat"),
        ]
    }

    pub(super) fn of(&self, gateway: &str) -> Option<&Known> {
        self.gateways.get(gateway)
    }

    /// Something came.
    pub(super) fn take(&mut self, topic: &str, bytes: &[u8], sight: &Sight<'_>) {
        if let Some(topic) = Topic::read(topic) {
            if let What::Reported { gateway } = topic.what()
                && topic.organisation() == self.organisation
            {
                self.reported(gateway, bytes, sight);
            }
            return;
        }
        let levels: Vec<&str> = topic.split('/').collect();
        let ["s", "v1", organisation, _, gateway, what] = levels.as_slice() else { return };
        if *organisation != self.organisation || bytes.len() > MAX_BEAT {
            return;
        }
        let Some(known) = self.known(gateway) else { return };
        match *what {
            "status" => {
                if let Ok(status) = serde_json::from_slice::<Status>(bytes) {
                    known.online = Some(status.state == "online");
                }
            }
            "heartbeat" => {
                if let Ok(beat) = serde_json::from_slice::<Beat>(bytes) {
                    known.lives(Wall::read(&beat.time), sight);
                    known.beat = Some(beat);
                }
            }
            _ => {}
        }
    }

    fn known(&mut self, gateway: &str) -> Option<&mut Known> {
        let has_room = self.gateways.len() < MOST || self.gateways.contains_key(gateway);
        (is_name(gateway) && has_room).then(|| self.gateways.entry(gateway.to_owned()).or_default())
    }

    fn reported(&mut self, gateway: &str, bytes: &[u8], sight: &Sight<'_>) {
        let organisation = self.organisation.clone();
        let Some(known) = self.known(gateway) else { return };
        // What was proven stays so: whoever may write there takes nothing back.
        if bytes.is_empty() {
            known.unproven = None;
            known.fault = None;
            return;
        }
        let report = match Reported::unproven(bytes) {
            Ok(report) => report,
            Err(fault) => {
                known.fault = Some(fault.to_string());
                return;
            }
        };
        let mut proof = (sight.prove)(bytes, &report, sight.now);
        if report.gateway != gateway || report.organisation != organisation {
            proof = Err(format!("it is of gateway {:?} of {:?}", report.gateway, report.organisation));
        }
        known.fault = None;
        known.lives(Some(report.at.0), sight);
        match proof {
            Err(why) => known.unproven = Some((report, why)),
            Ok(()) => known.proven(report, sight.now),
        }
    }

    /// The rows, of one group or of all. `head` gives what is current for a group.
    pub(super) fn rows(
        &self,
        group: Option<&str>,
        now: Wall,
        head: &dyn Fn(&str) -> Option<Head>,
    ) -> Vec<Row> {
        let of_group = |known: &Known| group.is_none_or(|group| known.group() == Some(group));
        let shown = self.gateways.iter().filter(|(_, known)| of_group(known));
        shown.map(|(id, known)| known.row(id, now, head)).collect()
    }
}

impl Known {
    /// `said` is the gateway's own word of when that was.
    fn lives(&mut self, said: Option<Wall>, sight: &Sight<'_>) {
        self.heard = self.heard.max(if sight.is_live { Some(sight.now) } else { sane(said, sight.now) });
    }

    /// An older one, said again by whoever kept it, replaces nothing; nor does a clock that is far ahead lock out what
    /// comes after.
    fn proven(&mut self, report: Reported, now: Wall) {
        let at = |report: &Reported| sane(Some(report.at.0), now);
        self.signed = self.signed.max(at(&report));
        if self.proven.as_ref().is_none_or(|known| at(known) <= at(&report)) {
            self.unproven = None;
            self.proven = Some(report);
        }
    }

    /// The proven report, or what lies there instead of one.
    fn shown(&self) -> Option<&Reported> {
        self.proven.as_ref().or(self.unproven.as_ref().map(|(report, _)| report))
    }

    fn group(&self) -> Option<&str> {
        self.group.as_deref().or(self.shown().map(|report| report.group.as_str()))
    }

    /// What is known of it, as a roll-out is judged by it.
    pub(super) fn member<'a>(&'a self, id: &'a str) -> Member<'a> {
        let unproven = self.unproven.as_ref().map(|(report, _)| report);
        Member { id, proven: self.proven.as_ref(), unproven, heard: self.heard, signed: self.signed }
    }

    fn row(&self, id: &str, now: Wall, head: &dyn Fn(&str) -> Option<Head>) -> Row {
        let report = self.shown();
        let beat = self.beat.as_ref();
        let head = self.group().and_then(head);
        let running = report.and_then(|report| report.running);
        let is_head =
            |head: &Head| running.is_some_and(|one| one.version == head.version && one.sha256 == head.sha256);
        let days = |report: &Reported| {
            report.certificate.not_after.0.as_millis().saturating_sub(now.as_millis()).div_euclid(DAY_MS)
        };
        let waiting = |beat: &Beat| beat.lanes.iter().map(|lane| lane.records).sum();
        let oldest = |beat: &Beat| beat.lanes.iter().filter_map(|lane| lane.oldest_age_ms).max();
        let unproven = self.unproven.as_ref().map(|(_, why)| why.clone());
        Row {
            gateway: id.to_owned(),
            group: self.group().map(str::to_owned),
            registered: self.group.is_some(),
            online: self.online,
            version: report
                .map(|report| &report.program)
                .or(beat.map(|beat| &beat.version))
                .map(|text| plain(text)),
            running: running.map(|running| running.version),
            drift: report.is_some() && head.as_ref().is_some_and(|head| !is_head(head)),
            head: head.map(|head| head.version),
            standing: report.map(|report| report.standing.word.as_str()),
            detail: report.and_then(|report| report.standing.detail.as_deref().map(plain)),
            proven: report.map(|_| self.proven.is_some()),
            unproven: unproven.or_else(|| self.fault.clone()).map(|text| plain(&text)),
            certificate_days: report
                .map(days)
                .or_else(|| beat.and_then(|beat| beat.uplink.certificate_days_left)),
            spool: report.map(|report| report.spool.records).or_else(|| beat.map(waiting)),
            spool_seconds: report
                .map_or_else(|| beat.and_then(oldest).map(|age| age / 1_000), |report| report.spool.oldest),
            devices: report.map(|report| report.devices.listed),
            silent: report.map(|report| report.devices.silent.clone()).unwrap_or_default(),
            more_silent: report.map_or(0, |report| report.devices.more),
            health: report
                .map(|report| report.health.iter().map(|line| plain(line)).collect())
                .unwrap_or_default(),
            heard: self.heard.map(|heard| heard.to_string()),
            seconds: self.heard.map(|heard| now.as_millis().saturating_sub(heard.as_millis()) / 1_000),
        }
    }
}

/// A gateway's own word of when something was; none: its clock is so far ahead that it says nothing.
fn sane(said: Option<Wall>, now: Wall) -> Option<Wall> {
    let said = said?;
    let ahead = said.as_millis().saturating_sub(now.as_millis());
    (ahead <= AHEAD_MS).then(|| said.min(now))
}

#[cfg(test)]
mod tests;
