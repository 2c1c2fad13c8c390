//! The gateway's figures as a page that monitoring reads: `OpenMetrics` 1.0 over the status socket, and the text format
//! of Prometheus (0.0.4) for the textfile collector of the node exporter, which knows no other.
//!
//! In: a [`Snapshot`], or that no daemon answers. Out: text. Pure. Names, labels and units are stable: families are
//! added, never renamed or given another meaning. Ages and durations are in seconds, sizes in bytes. Labels are ids of
//! the configuration, what the driver is called and kinds of refusals and faults: nothing that a device said, and no
//! value that it measured.

use std::fmt::Write as _;

use super::{Device, Lane, Radio, Snapshot};

/// The media type of the page over the socket (`OpenMetrics` 1.0, section "Content Type").
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Which of the two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `OpenMetrics` 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Textfile,
}

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Goes up and down.
    Gauge,
    /// Goes up only, and begins at nothing when the daemon starts.
    Counter,
}

/// One figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// As it is.
    Count(u64),
    /// May be below nothing.
    Signed(i64),
    /// A duration in milliseconds, shown in seconds.
    Millis(u64),
    /// A duration in microseconds, shown in seconds.
    Micros(u64),
    /// Yes is 1, no is 0.
    Flag(bool),
}

impl Figure {
    fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            Self::Signed(count) => count.to_string(),
            Self::Millis(ms) => decimal(ms, 1_000, 3),
            Self::Micros(us) => decimal(us, 1_000_000, 6),
            Self::Flag(flag) => u8::from(flag).to_string(),
        }
    }
}

fn decimal(value: u64, whole: u64, digits: usize) -> String {
    let (seconds, rest) = (value.checked_div(whole), value.checked_rem(whole));
    format!("{}.{:0digits$}", seconds.unwrap_or_default(), rest.unwrap_or_default())
}

/// A family: its name without the suffix of its kind, what it is, and how it is read from what it is about. No figure:
/// no sample.
struct Family<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: fn(&T) -> Option<Figure>,
}

macro_rules! families {
    ($($kind:ident $name:literal $help:literal $read:expr;)*) => {
        &[$(Family { name: $name, kind: Kind::$kind, help: $help, read: $read },)*]
    };
}

/// Of the whole gateway.
const GATEWAY: &[Family<Snapshot>] = families! {
    Gauge "uptime_seconds" "How long the daemon has been running." |s| Some(Figure::Millis(s.uptime_ms));
    Gauge "clock_synchronised" "Whether the kernel says that the wall clock follows a reference." |s| Some(Figure::Flag(s.time_synced));
    Gauge "clock_max_error_seconds" "The kernel's maximum error of the wall clock." |s| Some(Figure::Micros(s.time_max_error_us.into()));
    Gauge "warnings" "Things that a person should look at: wardline status names them." |s| Some(count(s.warnings.len()));
    Gauge "unlisted_devices" "BLE devices that are heard and not in the allowlist: none is connected to." |s| Some(count(s.unlisted.len()));
    Gauge "store_bytes" "What the store takes on disk." |s| Some(Figure::Count(s.store.bytes));
    Gauge "store_limit_bytes" "The most that it may take." |s| Some(Figure::Count(s.store.cap));
    Gauge "store_quarantined_segments" "Segments that could not be opened or did not authenticate." |s| Some(Figure::Count(s.store.quarantined_segments));
    Counter "store_dropped_records" "Records that were dropped or lost, each told of in a gap record." |s| Some(Figure::Count(s.store.dropped));
    Counter "store_faults" "Times that something in the store was not as it was left." |s| Some(Figure::Count(s.store.faults));
    Gauge "uplink_connected" "Whether the broker is connected." |s| Some(Figure::Flag(s.uplink.state == "connected"));
    Gauge "uplink_state_age_seconds" "How long the uplink has been in its state." |s| s.uplink.state_age_ms.map(Figure::Millis);
    Gauge "uplink_in_flight" "Publishes that wait for their PUBACK." |s| Some(Figure::Count(s.uplink.in_flight));
    Gauge "uplink_no_consumer" "Whether the broker says that nobody is subscribed: the data is kept." |s| Some(Figure::Flag(s.uplink.no_consumer));
    Counter "uplink_acknowledged_records" "Records that the broker has taken." |s| Some(Figure::Count(s.uplink.acknowledged));
    Counter "uplink_refused_publishes" "Publishes that the broker refused." |s| Some(Figure::Count(s.uplink.refused));
    Counter "uplink_heartbeats" "Heartbeats that the broker has taken." |s| Some(Figure::Count(s.uplink.heartbeats));
    Gauge "certificate_days_left" "Days until the gateway's certificate expires; below 0: it has." |s| s.uplink.certificate_days_left.map(Figure::Signed);
    Gauge "certificate_alarm" "How worrying its age is, by the share of its life that is left: 0 not at all, 1 it ends soon, 2 it is about to end, 3 it has ended." |s| certificate_alarm(&s.uplink.certificate_alarm);
    Gauge "certificate_renewal_failing" "Whether the last attempt to renew it went wrong." |s| s.uplink.certificate.as_ref().map(|c| Figure::Flag(c.trouble.is_some()));
    Gauge "fleet_bundle" "The version of the fleet's configuration that runs; absent: the files alone." |s| s.fleet.as_ref()?.bundle.map(Figure::Count);
    Gauge "fleet_on_trial" "Whether it is on trial." |s| Some(Figure::Flag(s.fleet.as_ref()?.trial.is_some()));
    Gauge "fleet_trouble" "Whether the last word of the fleet is stale, a configuration failed, or the gateway is locked." |s| Some(Figure::Flag(matches!(s.fleet.as_ref()?.standing.as_str(), "failed" | "stale" | "locked")));
};

/// Of each lane of the spool; label `lane`.
const LANES: &[Family<Lane>] = families! {
    Gauge "spool_blocks" "Blocks that wait for the broker." |l| Some(Figure::Count(l.blocks));
    Gauge "spool_records" "Records that wait for the broker." |l| Some(Figure::Count(l.records));
    Gauge "spool_bytes" "Their bytes." |l| Some(Figure::Count(l.bytes));
    Gauge "spool_oldest_age_seconds" "How long ago the oldest of them was committed; absent: none waits." |l| l.oldest_age_ms.map(Figure::Millis);
    Counter "spool_durable_records" "Records made durable." |l| Some(Figure::Count(l.durable_total));
};

/// Of each adapter; label `adapter`.
const RADIOS: &[Family<Radio>] = families! {
    Gauge "radio_usable" "Whether the adapter can be used." |r| Some(Figure::Flag(r.down.is_none()));
    Gauge "radio_scanning" "Whether it scans." |r| Some(Figure::Flag(r.down.is_none() && r.not_scanning.is_none()));
    Gauge "radio_last_heard_age_seconds" "How long ago any device was heard; absent: none yet." |r| r.last_advert_age_ms.map(Figure::Millis);
    Gauge "radio_wants_usb_reset" "Whether a reset of its USB device is asked for." |r| Some(Figure::Flag(r.wants_usb_reset));
    Counter "radio_scan_restarts" "Scans that heard nothing and were started again." |r| Some(Figure::Count(r.restarts));
    Counter "radio_power_cycles" "Times that it was switched off and on." |r| Some(Figure::Count(r.power_cycles));
    Counter "radio_usb_resets_asked" "Times that a reset of its USB device was asked for." |r| Some(Figure::Count(r.usb_resets_asked));
    Counter "radio_pairings_refused" "Questions of a pairing from outside that were refused." |r| Some(Figure::Count(r.pairing_refused));
    Counter "radio_values_lost" "Values that were lost although their devices hold them for received." |r| Some(Figure::Count(r.values_lost));
};

/// Of each device of the allowlist; labels `device`, `driver`.
const DEVICES: &[Family<Device>] = families! {
    Gauge "device_up" "Whether its link is up." |d| Some(Figure::Flag(d.link == "up"));
    Gauge "device_link_age_seconds" "How long ago its link came up or went down; absent: never." |d| d.link_age_ms.map(Figure::Millis);
    Gauge "device_identified" "Whether it has proved who it is on the present connection." |d| Some(Figure::Flag(d.identified));
    Gauge "device_quarantined" "Whether everything of it is refused." |d| Some(Figure::Flag(d.quarantine.is_some()));
    Gauge "device_bond_refused" "Whether it is not connected to, as its bond is not to be trusted." |d| Some(Figure::Flag(d.bond_refused));
    Gauge "device_last_reading_age_seconds" "How long ago its last observation was admitted; absent: none yet." |d| d.last_reading_age_ms.map(Figure::Millis);
    Gauge "device_silent_seconds" "How long nothing is known of it, while that is longer than it may be quiet; else 0." |d| Some(Figure::Millis(d.silent_ms.unwrap_or_default()));
    Counter "device_silences" "Times that it was quiet for longer than it may be." |d| Some(Figure::Count(d.silences));
    Counter "device_admitted_observations" "Observations of it that were admitted." |d| Some(Figure::Count(d.admitted));
};

fn count(items: usize) -> Figure {
    Figure::Count(u64::try_from(items).unwrap_or(u64::MAX))
}

fn certificate_alarm(word: &str) -> Option<Figure> {
    let words = ["none", "soon", "urgent", "expired"];
    words.iter().position(|known| *known == word).map(count)
}

/// The page. Without a snapshot: that the daemon does not answer, and nothing else.
pub fn render(snapshot: Option<&Snapshot>, format: Format) -> String {
    let mut page = Page { text: String::new(), format };
    page.head("daemon_up", Kind::Gauge, "Whether the daemon answers.");
    page.sample("daemon_up", Kind::Gauge, &[], Figure::Flag(snapshot.is_some()));
    if let Some(snapshot) = snapshot {
        page.build(snapshot);
        page.families(GATEWAY, &[(Vec::new(), snapshot)]);
        let lanes = snapshot.lanes.iter().map(|lane| (vec![("lane", lane.lane.as_str())], lane));
        page.families(LANES, &lanes.collect::<Vec<_>>());
        let radios = snapshot.radios.iter().map(|radio| (vec![("adapter", radio.adapter.as_str())], radio));
        page.families(RADIOS, &radios.collect::<Vec<_>>());
        let devices = snapshot.devices.iter().map(|device| (names(device), device));
        page.families(DEVICES, &devices.collect::<Vec<_>>());
        page.kinds("device_refused", "What was refused of it, by kind.", snapshot, |device| &device.refused);
        page.kinds("device_faults", "What was wrong with what came in, by kind.", snapshot, |device| {
            &device.faults
        });
    }
    if format == Format::OpenMetrics {
        page.text.push_str("# EOF\n");
    }
    page.text
}

fn names(device: &Device) -> Labels<'_> {
    vec![("device", device.id.as_str()), ("driver", device.model.as_str())]
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

struct Page {
    text: String,
    format: Format,
}

impl Page {
    /// The version, as a label of a figure that is always 1.
    fn build(&mut self, snapshot: &Snapshot) {
        // An info of OpenMetrics is a gauge that ends in `_info` for those who know none.
        let (head, kind) = match self.format {
            Format::OpenMetrics => ("build", "info"),
            Format::Textfile => ("build_info", "gauge"),
        };
        let help = "The daemon's version, the gateway, and how its key is protected.";
        let _ = write!(self.text, "# TYPE wardline_{head} {kind}\n# HELP wardline_{head} {help}\n");
        let labels = [
            ("version", snapshot.version.as_str()),
            ("gateway", snapshot.gateway.as_str()),
            ("key_protection", snapshot.key_protection.as_str()),
        ];
        self.sample("build_info", Kind::Gauge, &labels, Figure::Flag(true));
    }

    /// All samples of a family stand together, so each family goes over everything that it is about.
    fn families<T>(&mut self, families: &[Family<T>], about: &[(Labels<'_>, &T)]) {
        for family in families {
            let mut figures =
                about.iter().filter_map(|(labels, of)| Some((labels, (family.read)(of)?))).peekable();
            if figures.peek().is_some() {
                self.head(family.name, family.kind, family.help);
            }
            for (labels, figure) in figures {
                self.sample(family.name, family.kind, labels, figure);
            }
        }
    }

    /// A counter for each device and kind.
    fn kinds(
        &mut self,
        name: &str,
        help: &str,
        snapshot: &Snapshot,
        of: impl Fn(&Device) -> &std::collections::BTreeMap<String, u64>,
    ) {
        if snapshot.devices.iter().all(|device| of(device).is_empty()) {
            return;
        }
        self.head(name, Kind::Counter, help);
        for device in &snapshot.devices {
            for (kind, times) in of(device) {
                let mut labels = names(device);
                labels.push(("kind", kind));
                self.sample(name, Kind::Counter, &labels, Figure::Count(*times));
            }
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let word = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // OpenMetrics types the family, the older format the samples.
        let suffix = if self.format == Format::Textfile { total(kind) } else { "" };
        let _ = writeln!(self.text, "# TYPE wardline_{name}{suffix} {word}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        if let (Format::OpenMetrics, Some(unit)) = (self.format, unit) {
            let _ = writeln!(self.text, "# UNIT wardline_{name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP wardline_{name}{suffix} {help}");
    }

    fn sample(&mut self, name: &str, kind: Kind, labels: &[(&str, &str)], figure: Figure) {
        let _ = write!(self.text, "wardline_{name}{}", total(kind));
        for (place, (label, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{label}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", figure.text());
    }
}

/// What the name of a counter's sample ends with.
const fn total(kind: Kind) -> &'static str {
    match kind {
        Kind::Gauge => "",
        Kind::Counter => "_total",
    }
}

/// A label's value: backslash, quotation mark and line feed are escaped in both formats; other control characters,
/// which an id cannot hold, are replaced.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other if other.is_control() => out.push('\u{FFFD}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests;
