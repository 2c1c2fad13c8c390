//! What an outage came to, beside what it should, and whether every promise held.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::bench::drain::Drain;
use super::super::bench::figures::{Bound, Row, judged, row, short};
use super::super::bench::machine::{Machine, ratio};
use super::count::Counted;
use super::fill::{Filled, Hour};

/// How much more the last quarter may have in memory than the second, MiB: it is flat.
const FLAT: f64 = 2.0;
/// How far the disk may be from what the first hour foretold, percent.
const FORETOLD: f64 = 2.0;
/// What may be left on disk of an empty store: identity, cursors, folders. MiB.
const LEFT: f64 = 1.0;

/// All figures of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) machine: Machine,
    /// Which broker.
    pub(super) broker: &'static str,
    /// Readings of the devices.
    pub(super) readings: u64,
    /// Bytes that the store might take.
    pub(super) cap: u64,
    /// Whether that was too small on purpose.
    pub(super) is_capped: bool,
    /// The outage by simulated hour.
    pub(super) hours: Vec<Hour>,
    /// Its sum.
    pub(super) filled: Filled,
    /// Bytes on disk at its end.
    pub(super) full: u64,
    /// From the start of a process to the first publish at the subscriber.
    pub(super) first_publish_ms: f64,
    /// The drain.
    pub(super) drain: Drain,
    /// What arrived.
    pub(super) counted: Counted,
    /// Bytes on disk after the drain.
    pub(super) left: u64,
    /// Figures beside targets.
    pub(super) rows: Vec<Row>,
    /// Whether everything that decides is as it should be.
    pub(super) holds: bool,
}

impl Hour {
    /// In a few words.
    pub(super) fn said(&self) -> String {
        let [_, _, most] = self.rss;
        format!("{most:.1} MiB resident, {} on disk, {} segments", mib(self.disk), self.segments)
    }
}

impl Outcome {
    /// Sets each figure beside its target; whether all that decide are met.
    pub(super) fn judge(&mut self) -> bool {
        let mut rows = self.of_the_outage();
        rows.extend(self.of_the_drain());
        // What an hour's writing wears of the disk is reported; it breaks no promise.
        let wear = row("written to disk a day", self.gigabytes_a_day(), "GB", Some(Bound::Most(2.0)));
        self.holds = rows.iter().all(|row| row.is_met != Some(false));
        rows.push(wear);
        self.rows = rows;
        self.holds
    }

    fn of_the_outage(&self) -> Vec<Row> {
        let most = self.hours.iter().map(|hour| hour.rss[2]).fold(0.0, f64::max);
        let commits = self.filled.commits;
        let mut rows = vec![
            row("readings", float(self.readings), "", None),
            row("observations durable", float(self.filled.observations), "", None),
            row("commits", float(commits), "", None),
            row("observations in a commit", ratio(self.filled.observations, commits), "", None),
            row("the outage in real time", self.filled.took, "s", None),
            row("outage: resident at most", most, "MiB", of_a_release(24.0)),
        ];
        if let Some(growth) = self.growth() {
            let what = "outage: last quarter above the second, resident";
            rows.push(row(what, growth, "MiB", Some(Bound::Most(FLAT))));
        }
        if self.is_capped {
            let above = float(self.full) / float(self.cap) * 100.0;
            rows.push(row("disk at the end, of the cap", above, "%", Some(Bound::Most(100.0))));
        } else if let Some(first) = self.hours.first() {
            let foretold = float(first.disk) * float(u64::try_from(self.hours.len()).unwrap_or(0));
            let off = (float(self.full) / foretold - 1.0).abs() * 100.0;
            rows.push(row("disk, foretold by the first hour", foretold / 1e6, "MB", None));
            rows.push(row("disk at the end", float(self.full) / 1e6, "MB", None));
            rows.push(row("disk, off what was foretold", off, "%", Some(Bound::Most(FORETOLD))));
        }
        rows.push(row("disk, a commit", ratio(self.full, commits), "B", None));
        rows.push(row("written to disk, a commit", ratio(self.written(), commits), "B", None));
        rows
    }

    fn of_the_drain(&self) -> Vec<Row> {
        let (drain, counted) = (&self.drain, &self.counted);
        // All that was durable came, or the gateway said that it did not.
        let accounted = counted.records.saturating_add(counted.told);
        let unaccounted = float(self.filled.observations.abs_diff(accounted));
        let untold = float(counted.missing.abs_diff(counted.told));
        let none = Some(Bound::Most(0.0));
        let told = if self.is_capped { Some(Bound::Least(1.0)) } else { none };
        vec![
            row(
                "start after kill -9 to first publish",
                self.first_publish_ms,
                "ms",
                Some(Bound::Most(1_000.0)),
            ),
            row("start to first PUBACK", drain.first_puback_ms, "ms", None),
            row("drain: resident at most", drain.drained.most, "MiB", of_a_release(32.0)),
            row("drain: rate", drain.per_second, "obs/s", None),
            row("drain: publishes", drain.publishes_per_second, "1/s", None),
            row("drain: time", float(drain.observations) / drain.per_second, "s", None),
            row("arrived, each once", float(counted.records), "", None),
            row("arrived a second time", float(counted.twice), "", none),
            row("arrived out of order", float(counted.out_of_order), "", none),
            row("told of as lost by gap records", float(counted.told), "", told),
            row("missing and not told of", untold, "", none),
            row("neither arrived nor told of", unaccounted, "", none),
            row("publishes that cannot be read", float(counted.unreadable), "", none),
            row("disk after the drain", float(self.left) / 1_048_576.0, "MiB", Some(Bound::Most(LEFT))),
            row("the subscriber's own memory", counted.memory.most, "MiB", None),
        ]
    }

    /// How much more the last quarter has in memory at most than the second; the first warms up.
    fn growth(&self) -> Option<f64> {
        let quarter = self.hours.len() / 4;
        let most = |hours: &[Hour]| hours.iter().map(|hour| hour.rss[2]).fold(0.0, f64::max);
        if quarter == 0 {
            return None;
        }
        let second = self.hours.get(quarter..quarter * 2)?;
        let last = self.hours.get(self.hours.len() - quarter..)?;
        Some(most(last) - most(second))
    }

    fn written(&self) -> u64 {
        self.hours.last().map_or(0, |hour| hour.written)
    }

    fn gigabytes_a_day(&self) -> f64 {
        let hours = u64::try_from(self.hours.len()).unwrap_or(0);
        ratio(self.written(), hours) * 24.0 / 1e9
    }

    /// As a table.
    pub(super) fn table(&self) -> String {
        let mut text = self.machine.said();
        let _ = writeln!(text, "broker: {}; the store may take {}", self.broker, mib(self.cap));
        let _ = writeln!(
            text,
            "\n{:>4} {:>27} {:>10} {:>11} {:>11} {:>9} {:>9} {:>11}",
            "hour",
            "resident MiB, min/mid/max",
            "heap MiB",
            "disk MB",
            "written MB",
            "segments",
            "commits",
            "dropped"
        );
        let step = (self.hours.len() / 12).max(1);
        for hour in self.hours.iter().filter(|hour| {
            let place = usize::try_from(hour.number).unwrap_or(0);
            place == 1 || place.is_multiple_of(step)
        }) {
            let [least, middle, most] = hour.rss;
            let _ = writeln!(
                text,
                "{:>4} {:>27} {:>10} {:>11} {:>11} {:>9} {:>9} {:>11}",
                hour.number,
                format!("{least:.1} / {middle:.1} / {most:.1}"),
                short(hour.anonymous),
                short(float(hour.disk) / 1e6),
                short(float(hour.written) / 1e6),
                hour.segments,
                hour.commits,
                hour.dropped,
            );
        }
        text += &judged(&self.rows);
        let verdict = if self.holds { "every promise held" } else { "A PROMISE DID NOT HOLD" };
        let _ = write!(text, "\n{verdict}");
        text
    }
}

/// A bound on memory: a dev build is larger, which says nothing.
fn of_a_release(mib: f64) -> Option<Bound> {
    (!cfg!(debug_assertions)).then_some(Bound::Most(mib))
}

/// Nanoseconds as milliseconds.
pub(super) fn millis(nanos: u64) -> f64 {
    ratio(nanos, 1_000_000)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn float(count: u64) -> f64 {
    ratio(count, 1)
}
