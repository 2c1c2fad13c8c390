//! All figures of a run, and each beside its target.

use std::fmt::Write as _;

use serde::Serialize;

use super::drain::Drain;
use super::gateway::{AtRest, Through};
use super::ingest::Ingest;
use super::machine::Machine;
use super::peer::Arrived;

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    /// The machine.
    pub(super) machine: Machine,
    /// Which broker: `mosquitto`, or `embedded` where there is none.
    pub(super) broker: &'static str,
    /// Durable ingest, by size of commit.
    pub(super) ingest: Vec<Ingest>,
    /// Durable ingest through the channel.
    pub(super) through: Through,
    /// A ward with alarms, for the latencies.
    pub(super) latency: AtRest,
    /// A ward in an outage, for wear, processor and memory.
    pub(super) outage: AtRest,
    /// A ward whose uplink delivers.
    pub(super) online: AtRest,
    /// A backlog of large commits, CBOR, with a subscriber.
    pub(super) cbor_subscribed: Drain,
    /// The same with nobody subscribed.
    pub(super) cbor: Drain,
    /// The same as FHIR, with a subscriber.
    pub(super) fhir_subscribed: Drain,
    /// The same with nobody subscribed.
    pub(super) fhir: Drain,
    /// The backlog that a ward at one reading a second leaves, CBOR, with a subscriber.
    pub(super) small_commits: Drain,
    /// A backlog of a million during which alarms ring.
    pub(super) alarms: Drain,
    /// Single readings through a mosquitto bridge; none where there is no mosquitto.
    pub(super) bridge: Option<Arrived>,
    /// Each figure that has a target.
    pub(super) rows: Vec<Row>,
}

/// A figure beside its target.
#[derive(Clone, Debug, Serialize)]
pub(in crate::lab) struct Row {
    /// What.
    pub(in crate::lab) what: String,
    /// How much.
    pub(in crate::lab) figure: f64,
    /// Of what.
    pub(in crate::lab) unit: &'static str,
    /// The target: a bound from below or above, or none.
    pub(in crate::lab) target: Option<Bound>,
    /// Whether it is met.
    pub(in crate::lab) is_met: Option<bool>,
}

/// A target.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::lab) enum Bound {
    /// At least.
    Least(f64),
    /// At most.
    Most(f64),
}

/// A figure, and whether it meets its target.
pub(in crate::lab) fn row(
    what: impl Into<String>,
    figure: f64,
    unit: &'static str,
    target: Option<Bound>,
) -> Row {
    let is_met = target.map(|target| match target {
        Bound::Least(least) => figure >= least,
        Bound::Most(most) => figure <= most,
    });
    Row { what: what.into(), figure, unit, target, is_met }
}

impl Figures {
    /// Sets each figure beside its target.
    pub(super) fn judge(&mut self) {
        let mut rows = self.of_ingest();
        rows.extend(self.of_a_ward());
        rows.extend(self.of_the_uplink());
        self.rows = rows;
    }

    fn of_ingest(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ingest in &self.ingest {
            let size = ingest.commit;
            let target = (size == 256).then_some(Bound::Least(500_000.0));
            let half = (size == 256).then_some(Bound::Least(0.5));
            let named = |what: &str| format!("commits of {size}: {what}");
            rows.extend([
                row(named("durable ingest"), ingest.per_second, "obs/s", target),
                row(named("against append-only, same pipeline"), ingest.against_append_only, "x", half),
                row(named("against the bare file, blocks ready"), ingest.against_bare_file, "x", None),
                row(named("commit p50"), ingest.commit_ms.p50, "ms", None),
                row(named("commit p99"), ingest.commit_ms.p99, "ms", None),
                row(named("append + fdatasync p99"), ingest.append_only_ms.p99, "ms", None),
                row(named("written to disk"), ingest.written_per_observation, "B/obs", None),
                row(named("written to disk"), ingest.written_per_commit, "B/commit", None),
                row(named("size on disk"), ingest.stored_per_observation, "B/obs", None),
                row(named("sealed"), ingest.sealed_per_observation, "B/obs", None),
                row(named("resident, busy"), ingest.memory.rss, "MiB", None),
            ]);
        }
        rows.extend([
            row("through the channel: durable ingest", self.through.per_second, "obs/s", None),
            row("through the channel: in a commit", self.through.in_a_commit, "obs", None),
            row("through the channel: resident", self.through.memory.rss, "MiB", None),
        ]);
        rows
    }

    fn of_a_ward(&self) -> Vec<Row> {
        // The bounds are of this disk: one commit of few observations is mostly its sync.
        let sync = self.ingest.first().map_or(0.0, |ingest| ingest.append_only_ms.p99);
        let linger = 250.0;
        let (latency, outage, online) = (&self.latency, &self.outage, &self.online);
        vec![
            row("alarm, report to durable p50", latency.alarm_ms.p50, "ms", None),
            row("alarm, report to durable p99", latency.alarm_ms.p99, "ms", Some(Bound::Most(sync + 1.0))),
            row("vital, report to durable p50", latency.vital_ms.p50, "ms", None),
            row(
                "vital, report to durable p99",
                latency.vital_ms.p99,
                "ms",
                Some(Bound::Most(linger + sync + 1.0)),
            ),
            row("ward, outage: written a day", outage.gigabytes_per_day, "GB", Some(Bound::Most(2.0))),
            row("ward, outage: written", outage.written_per_observation, "B/obs", None),
            row("ward, outage: written", outage.written_per_commit, "B/commit", None),
            row("ward, outage: processor", outage.processor_percent, "%", Some(Bound::Most(1.0))),
            row("ward, outage: resident", outage.memory.rss, "MiB", Some(Bound::Most(24.0))),
            row("ward, online: written a day", online.gigabytes_per_day, "GB", Some(Bound::Most(2.0))),
            row("ward, online: processor", online.processor_percent, "%", Some(Bound::Most(1.0))),
            row("ward, online: idle resident", online.idle.rss, "MiB", Some(Bound::Most(12.0))),
            row("ward, online: idle anonymous", online.idle.anonymous, "MiB", None),
            row("ward, online: resident", online.memory.rss, "MiB", None),
        ]
    }

    fn of_the_uplink(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let drains = [
            ("CBOR, subscriber", &self.cbor_subscribed, Some(500_000.0)),
            ("CBOR, no subscriber", &self.cbor, Some(500_000.0)),
            ("FHIR, subscriber", &self.fhir_subscribed, Some(100_000.0)),
            ("FHIR, no subscriber", &self.fhir, Some(100_000.0)),
            ("CBOR, small commits", &self.small_commits, None),
        ];
        for (name, drain, least) in drains {
            let named = |what: &str| format!("drain, {name}: {what}");
            rows.extend([
                row(named("rate"), drain.per_second, "obs/s", least.map(Bound::Least)),
                row(named("publishes"), drain.publishes_per_second, "1/s", None),
                row(named("in a publish"), drain.in_a_publish, "obs", None),
                row(named("resident at most"), drain.drained.most, "MiB", Some(Bound::Most(32.0))),
                row(named("processor"), drain.processor_per_million, "s/M obs", None),
            ]);
        }
        let alarms = &self.alarms;
        rows.extend([
            row("alarm in a drain, to PUBACK p50", alarms.alarm_ms.p50, "ms", Some(Bound::Most(10.0))),
            row("alarm in a drain, to PUBACK p99", alarms.alarm_ms.p99, "ms", Some(Bound::Most(100.0))),
            row("backlog: resident once open", alarms.opened.rss, "MiB", Some(Bound::Most(24.0))),
            row("backlog: start to first PUBACK", alarms.first_puback_ms, "ms", Some(Bound::Most(1_000.0))),
        ]);
        if let Some(bridge) = &self.bridge {
            let times = self.cbor_subscribed.per_second / bridge.readings_per_second;
            rows.extend([
                row("mosquitto bridge, single readings", bridge.readings_per_second, "obs/s", None),
                row("CBOR drain against the bridge", times, "x", Some(Bound::Least(20.0))),
            ]);
        }
        rows
    }

    /// As a table.
    pub(super) fn table(&self) -> String {
        let mut text = self.machine.said();
        if self.bridge.is_none() {
            text += "mosquitto is not on this machine: embedded broker, and no bridge to compare with\n";
        }
        text += &judged(&self.rows);
        text
    }
}

/// Figures beside their targets, as a table.
pub(in crate::lab) fn judged(rows: &[Row]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "\n{:<52} {:>12} {:<9} {:>14}", "", "figure", "", "target");
    for row in rows {
        let target = match row.target {
            None => String::new(),
            Some(Bound::Least(least)) => format!(">= {}", short(least)),
            Some(Bound::Most(most)) => format!("<= {}", short(most)),
        };
        let verdict = match row.is_met {
            None => "",
            Some(true) => "ok",
            Some(false) => "below",
        };
        let line =
            format!("{:<52} {:>12} {:<9} {target:>14} {verdict}", row.what, short(row.figure), row.unit);
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// With as many digits as mean something; thousands apart.
pub(in crate::lab) fn short(number: f64) -> String {
    if number < 10.0 {
        return format!("{number:.2}");
    }
    if number < 1_000.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_from_its_own_side() {
        assert_eq!(row("", 2.0, "", Some(Bound::Least(2.0))).is_met, Some(true));
        assert_eq!(row("", 1.9, "", Some(Bound::Least(2.0))).is_met, Some(false));
        assert_eq!(row("", 2.1, "", Some(Bound::Most(2.0))).is_met, Some(false));
        assert_eq!(row("", 2.1, "", None).is_met, None);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(0.123), "0.12");
        assert_eq!(short(99.96), "100.0");
        assert_eq!(short(1_234_567.8), "1,234,568");
    }
}
