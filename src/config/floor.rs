//! What the fleet may set from afar, and how far: key by key, default deny.
//!
//! In: the settings of a bundle and `floor.toml`, which root owns and no bundle reaches. Out: nothing, or a
//! problem for each key that may not be set, with the reason. Signatures say who wants a setting; this says
//! what nobody may want from afar, so that the keys of the whole fleet together cannot switch off
//! encryption, move a gateway to another broker or look at readings.

use std::time::Duration;

use figment::value::{Dict, Value};

use super::problem::Problems;
use super::scope::Scope;
use super::{LogLevel, peel, raw, suggest, units};

/// The file with the bounds.
pub const FLOOR_FILE: &str = "floor.toml";

/// What a bundle may not go beyond.
#[expect(clippy::struct_excessive_bools, reason = "each is one line of floor.toml, none excludes another")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// Brokers that a bundle may name end in this; none: the broker is not set from afar.
    pub host_suffix: Option<String>,
    /// The least cap of the store.
    pub cap: u64,
    /// The least reserve of the alarm lane.
    pub alarm_reserve: u64,
    /// The longest time between two heartbeats.
    pub heartbeat: Duration,
    /// The most that is logged.
    pub log: LogLevel,
    /// How long a trial of a bundle runs at least.
    pub trial: Duration,
    /// Whether a bundle may name ports that are not below `/dev/serial`: any file of the gateway, as far as its user
    /// may open it.
    pub unstable_ports: bool,
    /// Whether a bundle may have a BLE device read without a bond, by whoever answers to its address.
    pub open_links: bool,
    /// Whether a bundle may ask for less than a bond whose keys somebody compared or typed in.
    pub weak_bonds: bool,
    /// Whether a bundle may let the link alone vouch for a device that could say who it is.
    pub link_only: bool,
    /// The most devices that a bundle may take off the allowlist at once, in percent; unless it is 0, one device
    /// may always go.
    pub removed: u8,
}

impl Floor {
    /// How many of so many devices a bundle may take off the allowlist at once.
    pub fn most_removed(&self, listed: usize) -> usize {
        let share = listed.saturating_mul(usize::from(self.removed)) / 100;
        share.max(usize::from(self.removed > 0))
    }
}

/// What holds where `floor.toml` says nothing.
impl Default for Floor {
    fn default() -> Self {
        Self {
            host_suffix: None,
            cap: 1 << 30,
            alarm_reserve: 32 << 20,
            heartbeat: Duration::from_secs(15 * 60),
            log: LogLevel::Info,
            trial: Duration::from_secs(5 * 60),
            unstable_ports: false,
            open_links: false,
            weak_bonds: false,
            link_only: false,
            removed: 50,
        }
    }
}

/// How a key may be set from afar.
#[derive(Clone, Copy)]
pub(super) enum Remote {
    /// To anything that the configuration allows.
    Freely,
    /// Within the floor: the check's error is the reason, in words.
    Within(fn(&Floor, &Value) -> Result<(), String>),
    /// Not at all, for this reason.
    Never(&'static str),
}

const IDENTITY: &str = "is who this gateway is: it is set when the gateway is enrolled";
const LOCAL_KEY: &str = "names a key of this gateway: keys are never set nor moved from afar";
const TLS: &str = "says whom this gateway believes: only its own administrator sets it";
const PLACE: &str = "is a place on this gateway's disk: only its own administrator sets it";
const ACCESS: &str = "says who on this gateway may ask: only its own administrator sets it";

/// Every key of `gateway.toml`. A key that is not here is refused, and a test wants each of them here.
pub(super) const KEYS: [(&str, Remote); 35] = [
    (
        "devices",
        Remote::Never("says whether this gateway may be without a device: a bundle lists its devices"),
    ),
    ("gateway.organisation", Remote::Never(IDENTITY)),
    ("gateway.group", Remote::Never("is changed by a transfer that the old group signs, never by a setting")),
    ("gateway.id", Remote::Never(IDENTITY)),
    ("uplink.host", Remote::Within(host)),
    ("uplink.port", Remote::Within(port)),
    ("uplink.authorities", Remote::Never(TLS)),
    ("uplink.certificate", Remote::Never(TLS)),
    ("uplink.key", Remote::Never(LOCAL_KEY)),
    ("uplink.revocation_lists", Remote::Never(TLS)),
    ("uplink.revocation", Remote::Within(revocation)),
    ("uplink.payload", Remote::Freely),
    ("uplink.require_subscriber", Remote::Within(subscriber)),
    ("uplink.window", Remote::Freely),
    ("uplink.keep_alive", Remote::Freely),
    ("uplink.stalled_after", Remote::Freely),
    ("uplink.heartbeat", Remote::Within(heartbeat)),
    ("uplink.backoff_first", Remote::Freely),
    ("uplink.backoff_most", Remote::Freely),
    ("uplink.healthy_after", Remote::Freely),
    ("store.folder", Remote::Never(PLACE)),
    ("store.cap", Remote::Within(cap)),
    ("store.alarm_reserve", Remote::Within(alarm_reserve)),
    ("store.linger", Remote::Freely),
    ("keys.kek", Remote::Never(LOCAL_KEY)),
    ("keys.kek_previous", Remote::Never(LOCAL_KEY)),
    ("keys.ward", Remote::Never(LOCAL_KEY)),
    ("status.socket", Remote::Never(PLACE)),
    ("status.group", Remote::Never(ACCESS)),
    ("daemon.log", Remote::Within(log)),
    ("daemon.shutdown_grace", Remote::Freely),
    ("fleet.folder", Remote::Never(PLACE)),
    ("fleet.inventory", Remote::Never("says what leaves this gateway: only its own administrator sets it")),
    ("fleet.import", Remote::Never(PLACE)),
    ("fleet.trial", Remote::Within(trial)),
];

/// Whether a bundle may set a key to some value.
#[cfg(test)]
pub(crate) fn is_set_from_afar(key: &str) -> Option<bool> {
    let (_, remote) = KEYS.iter().find(|(known, _)| *known == key)?;
    Some(!matches!(remote, Remote::Never(_)))
}

/// Reports every key of a bundle's settings that may not be set from afar.
pub(super) fn refuse(name: &str, settings: &Dict, floor: &Floor, problems: &mut Problems) {
    for (key, value) in peel::leaves(settings) {
        let known = KEYS.iter().find(|(known, _)| *known == key).map(|(_, remote)| *remote);
        let refused = match known {
            Some(Remote::Freely) => None,
            Some(Remote::Within(judge)) => judge(floor, value).err(),
            Some(Remote::Never(reason)) => Some(reason.to_owned()),
            None => {
                let hint = suggest::nearest(&key, KEYS.iter().map(|(known, _)| *known));
                Some(format!("is not a key that the fleet may set{hint}"))
            }
        };
        if let Some(reason) = refused {
            problems.push(name, &key, reason);
        }
    }
}

/// What a table of a device may not say from afar unless `floor.toml` does. Where the key is not written, what holds is
/// the strictest.
struct Lowered {
    key: &'static str,
    /// The values that lower nothing.
    good: &'static [&'static str],
    /// The key of `floor.toml`.
    let_by: &'static str,
    is_let: fn(&Floor) -> bool,
}

const LOWERED: [Lowered; 5] = [
    Lowered {
        key: "allow_unstable_port",
        good: &["false"],
        let_by: "unstable_ports",
        is_let: |floor| floor.unstable_ports,
    },
    Lowered { key: "security", good: &["bonded"], let_by: "open_links", is_let: |floor| floor.open_links },
    Lowered {
        key: "pairing",
        good: &["passkey", "numeric"],
        let_by: "weak_bonds",
        is_let: |floor| floor.weak_bonds,
    },
    Lowered { key: "minimum_class", good: &["A"], let_by: "weak_bonds", is_let: |floor| floor.weak_bonds },
    Lowered {
        key: "trust",
        good: &["reported-identity"],
        let_by: "link_only",
        is_let: |floor| floor.link_only,
    },
];

impl Lowered {
    /// What is of no known type is not known to be good.
    fn is_lowered_by(&self, value: &Value) -> bool {
        let word =
            value.to_bool().map(|is_so| if is_so { "true" } else { "false" }).or_else(|| value.as_str());
        word.is_none_or(|word| !self.good.contains(&word))
    }
}

/// Reports what of a bundle's device, and of what stands at its places, may not be set from afar.
pub(super) fn refuse_device(name: &str, device: &Dict, floor: &Floor, problems: &mut Problems) {
    let parts = device.get("part").and_then(Value::as_array).unwrap_or_default();
    for table in std::iter::once(device).chain(parts.iter().filter_map(Value::as_dict)) {
        let id = table.get("id").and_then(Value::as_str).unwrap_or("device");
        for lowered in LOWERED {
            let Lowered { key, let_by, is_let, .. } = lowered;
            if table.get(key).is_some_and(|value| lowered.is_lowered_by(value)) && !is_let(floor) {
                let reason =
                    format!("of {id} is not set from afar while {FLOOR_FILE} does not say {let_by} = true");
                problems.push(name, key, reason);
            }
        }
    }
}

/// What `floor.toml` says, above what holds where it says nothing.
pub(super) fn judge(scope: &mut Scope<'_>) -> Option<Floor> {
    let raw: raw::Floor = scope.read();
    let default = Floor::default();
    let suffix = raw.host_suffix.map(|suffix| suffix.trim_start_matches('.').to_owned());
    let host_suffix = match suffix {
        None => Some(None),
        Some(suffix) => scope.host("host_suffix", Some(suffix)).map(Some),
    };
    let mut size = |key, written: Option<String>, default| {
        written.map_or(Some(default), |text| scope.size(key, Some(&text)))
    };
    let cap = size("cap", raw.cap, default.cap);
    let alarm_reserve = size("alarm_reserve", raw.alarm_reserve, default.alarm_reserve);
    let mut duration = |key, written: Option<String>, bounds, default| {
        written.map_or(Some(default), |text| scope.duration(key, Some(&text), bounds))
    };
    let heartbeat = duration("heartbeat", raw.heartbeat, ("1s", "1h"), default.heartbeat);
    let trial = duration("trial", raw.trial, ("10s", "1h"), default.trial);
    let log = raw.log.map_or(Some(default.log), |word| scope.word("log", Some(&word), &LogLevel::WORDS));
    let removed =
        raw.removed.map_or(Some(default.removed), |share| scope.number("removed", Some(share), (0, 100)));
    Some(Floor {
        host_suffix: host_suffix?,
        cap: cap?,
        alarm_reserve: alarm_reserve?,
        heartbeat: heartbeat?,
        log: log?,
        trial: trial?,
        unstable_ports: raw.unstable_ports.unwrap_or(default.unstable_ports),
        open_links: raw.open_links.unwrap_or(default.open_links),
        weak_bonds: raw.weak_bonds.unwrap_or(default.weak_bonds),
        link_only: raw.link_only.unwrap_or(default.link_only),
        removed: removed?,
    })
}

fn host(floor: &Floor, value: &Value) -> Result<(), String> {
    let Some(suffix) = &floor.host_suffix else {
        return Err(format!("is not set from afar while {FLOOR_FILE} names no host_suffix"));
    };
    // What is no text is told by the judge of the whole.
    let Some(host) = value.as_str() else { return Ok(()) };
    let is_within =
        host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if is_within {
        return Ok(());
    }
    Err(format!("{host:?} does not end in {suffix:?}, as {FLOOR_FILE} wants every broker to"))
}

/// A port alone could be another program's on the same host.
fn port(floor: &Floor, _: &Value) -> Result<(), String> {
    if floor.host_suffix.is_some() {
        return Ok(());
    }
    Err(format!("is not set from afar while {FLOOR_FILE} names no host_suffix"))
}

/// Whatever the gateway's own rule is, the stricter one is no weaker. A bundle that does not say it takes it back.
fn revocation(_: &Floor, value: &Value) -> Result<(), String> {
    if value.as_str() == Some("enforce") {
        return Ok(());
    }
    Err("is only made stricter from afar: \"enforce\", or nothing".to_owned())
}

/// Without it, what nobody takes counts as delivered and is deleted.
fn subscriber(_: &Floor, value: &Value) -> Result<(), String> {
    if value.to_bool() == Some(false) {
        return Err(
            "may be switched on from afar, never off: what nobody subscribes to would be deleted".to_owned()
        );
    }
    Ok(())
}

fn trial(floor: &Floor, value: &Value) -> Result<(), String> {
    match value.as_str().map(units::duration) {
        Some(Ok(wanted)) if wanted < floor.trial => {
            Err(format!("is shorter than {} s, the shortest that {FLOOR_FILE} allows", floor.trial.as_secs()))
        }
        _ => Ok(()),
    }
}

fn heartbeat(floor: &Floor, value: &Value) -> Result<(), String> {
    match value.as_str().map(units::duration) {
        Some(Ok(wanted)) if wanted > floor.heartbeat => Err(format!(
            "is longer than {} s, the longest that {FLOOR_FILE} allows",
            floor.heartbeat.as_secs()
        )),
        _ => Ok(()),
    }
}

fn cap(floor: &Floor, value: &Value) -> Result<(), String> {
    least(value, floor.cap)
}

fn alarm_reserve(floor: &Floor, value: &Value) -> Result<(), String> {
    least(value, floor.alarm_reserve)
}

fn least(value: &Value, least: u64) -> Result<(), String> {
    match value.as_str().map(units::size) {
        Some(Ok(wanted)) if wanted < least => Err(format!(
            "{} is less than {}, the least that {FLOOR_FILE} allows",
            units::show_size(wanted),
            units::show_size(least)
        )),
        _ => Ok(()),
    }
}

fn log(floor: &Floor, value: &Value) -> Result<(), String> {
    let rank = |level: LogLevel| LogLevel::WORDS.iter().position(|(_, known)| *known == level);
    let wanted =
        LogLevel::WORDS.iter().find(|(word, _)| value.as_str() == Some(word)).map(|(_, level)| *level);
    if wanted.is_some_and(|wanted| rank(wanted) > rank(floor.log)) {
        return Err(format!("is more than {:?}, the most that {FLOOR_FILE} allows", floor.log.as_str()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor() -> Floor {
        Floor {
            host_suffix: Some("st-anna.example".to_owned()),
            cap: 1 << 30,
            alarm_reserve: 32 << 20,
            heartbeat: Duration::from_secs(900),
            log: LogLevel::Info,
            trial: Duration::from_secs(300),
            unstable_ports: false,
            open_links: false,
            weak_bonds: false,
            link_only: false,
            removed: 50,
        }
    }

    /// The problem of one key, if there is one.
    fn refused(floor: &Floor, key: &str, value: impl Into<Value>) -> Option<String> {
        let (section, inner) = key.split_once('.').unwrap_or((key, ""));
        let value = value.into();
        let value =
            if inner.is_empty() { value } else { Value::from(Dict::from([(inner.to_owned(), value)])) };
        let mut problems = Problems::default();
        refuse("bundle 7", &Dict::from([(section.to_owned(), value)]), floor, &mut problems);
        problems.iter().next().map(ToString::to_string)
    }

    /// STANDARDS: what no bundle sets, whoever signed it. Each is refused by name.
    #[test]
    fn what_is_never_set_from_afar_is_refused_key_by_key() {
        let never = [
            ("gateway.id", "set when the gateway is enrolled"),
            ("gateway.organisation", "set when the gateway is enrolled"),
            ("gateway.group", "by a transfer"),
            ("uplink.authorities", "whom this gateway believes"),
            ("uplink.certificate", "whom this gateway believes"),
            ("uplink.key", "never set nor moved"),
            ("uplink.revocation_lists", "whom this gateway believes"),
            ("keys.kek", "never set nor moved"),
            ("keys.kek_previous", "never set nor moved"),
            ("keys.ward", "never set nor moved"),
            ("store.folder", "on this gateway's disk"),
            ("status.socket", "on this gateway's disk"),
            ("status.group", "who on this gateway may ask"),
            ("fleet.folder", "on this gateway's disk"),
            ("fleet.inventory", "what leaves this gateway"),
            ("fleet.import", "on this gateway's disk"),
            ("devices", "lists its devices"),
            // There is no key for these, so whatever it were called it is not known.
            ("uplink.verify", "is not a key that the fleet may set"),
            ("uplink.tls_min_version", "is not a key that the fleet may set"),
            ("fleet.threshold", "is not a key that the fleet may set"),
            ("fleet.root", "is not a key that the fleet may set"),
            ("store.encryption", "is not a key that the fleet may set"),
            ("audit.enabled", "is not a key that the fleet may set"),
            ("daemon.user", "is not a key that the fleet may set"),
            ("daemon.sandbox", "is not a key that the fleet may set"),
            ("daemon.core_dumps", "is not a key that the fleet may set"),
            ("daemon.exec", "is not a key that the fleet may set"),
            ("daemon.clock", "is not a key that the fleet may set"),
            ("store.wipe", "is not a key that the fleet may set"),
            ("floor.cap", "is not a key that the fleet may set"),
        ];
        for (key, words) in never {
            let problem = refused(&floor(), key, "anything").unwrap_or_default();
            assert!(
                problem.starts_with(&format!("bundle 7: {key}: ")) && problem.contains(words),
                "{key}: {problem}"
            );
        }
        let listed = KEYS.iter().filter(|(_, remote)| matches!(remote, Remote::Never(_)));
        for (key, _) in listed {
            assert!(never.iter().any(|(known, _)| known == key), "{key} is not tried");
        }
    }

    #[test]
    fn the_floor_clamps_the_rest() {
        for (key, least, less, words) in [
            ("store.cap", "1GiB", "1023MiB", "less than 1 GiB"),
            ("store.alarm_reserve", "32MiB", "31MiB", "less than 32 MiB"),
            ("uplink.heartbeat", "15m", "16m", "longer than 900 s"),
            ("daemon.log", "info", "debug", "more than \"info\""),
            ("fleet.trial", "5m", "299s", "shorter than 300 s"),
            ("uplink.host", "mqtt.st-anna.example", "mqtt.st-anna.example.org", "does not end in"),
            ("uplink.host", "st-anna.example", "not-st-anna.example", "does not end in"),
        ] {
            assert_eq!(refused(&floor(), key, least), None, "{key}");
            let problem = refused(&floor(), key, less).unwrap_or_default();
            assert!(problem.contains(words), "{key}: {problem}");
        }
        assert_eq!(refused(&floor(), "uplink.port", 8884), None);
        assert_eq!(refused(&floor(), "uplink.revocation", "enforce"), None);
        for weaker in ["enforce-content", "off", ""] {
            let problem = refused(&floor(), "uplink.revocation", weaker).unwrap_or_default();
            assert!(problem.contains("only made stricter from afar"), "{weaker}: {problem}");
        }
        assert_eq!(refused(&floor(), "uplink.require_subscriber", true), None);
        let off = refused(&floor(), "uplink.require_subscriber", false).unwrap_or_default();
        assert!(off.contains("never off"), "{off}");
        let alone = Floor { host_suffix: None, ..floor() };
        for (key, value) in
            [("uplink.host", Value::from("mqtt.st-anna.example")), ("uplink.port", Value::from(8884))]
        {
            assert!(
                refused(&alone, key, value).unwrap_or_default().contains("names no host_suffix"),
                "{key}"
            );
        }
    }

    /// Key by key: what lowers a device, what does not, and the one line of `floor.toml` that lets it.
    #[test]
    fn no_device_is_lowered_from_afar_unless_the_floor_says_so() {
        type Set = fn(&mut Floor);
        let lets: [(&str, Set); 4] = [
            ("unstable_ports", |floor| floor.unstable_ports = true),
            ("open_links", |floor| floor.open_links = true),
            ("weak_bonds", |floor| floor.weak_bonds = true),
            ("link_only", |floor| floor.link_only = true),
        ];
        let keys: [(&str, Value, Value, &str); 7] = [
            ("allow_unstable_port", true.into(), false.into(), "unstable_ports"),
            ("security", "open".into(), "bonded".into(), "open_links"),
            ("security", 0.into(), "bonded".into(), "open_links"),
            ("pairing", "just-works".into(), "numeric".into(), "weak_bonds"),
            ("pairing", "new-and-unknown".into(), "passkey".into(), "weak_bonds"),
            ("minimum_class", "D".into(), "A".into(), "weak_bonds"),
            ("trust", "link-only".into(), "reported-identity".into(), "link_only"),
        ];
        let refused = |floor: &Floor, key: &str, value: &Value, is_part: bool| {
            let table = Dict::from([("id".to_owned(), "ox-1".into()), (key.to_owned(), value.clone())]);
            let rack = Dict::from([("part".to_owned(), Value::from(vec![Value::from(table.clone())]))]);
            let mut problems = Problems::default();
            refuse_device("bundle 7", if is_part { &rack } else { &table }, floor, &mut problems);
            problems.iter().map(ToString::to_string).collect::<String>()
        };
        assert!(
            LOWERED.iter().all(|lowered| keys.iter().any(|(known, ..)| *known == lowered.key)),
            "all are tried"
        );
        for (key, lower, good, line) in keys {
            for is_part in [false, true] {
                let problem = refused(&floor(), key, &lower, is_part);
                assert!(
                    problem.contains(&format!("bundle 7: {key}: of ox-1")) && problem.contains(line),
                    "{key}: {problem}"
                );
                assert_eq!(refused(&floor(), key, &good, is_part), "", "{key}");
                for (other, set) in lets {
                    let mut floor = floor();
                    set(&mut floor);
                    let is_refused = !refused(&floor, key, &lower, is_part).is_empty();
                    assert_eq!(is_refused, other != line, "{key} with {other}");
                }
            }
        }
    }

    #[test]
    fn one_device_may_always_go_unless_none_may() {
        for (removed, listed, most) in
            [(50, 1, 1), (50, 9, 4), (0, 9, 0), (100, 9, 9), (50, 0, 1), (1, 10, 1)]
        {
            assert_eq!(Floor { removed, ..floor() }.most_removed(listed), most, "{removed} % of {listed}");
        }
    }

    #[test]
    fn the_rest_is_free() {
        let free = KEYS.iter().filter(|(_, remote)| matches!(remote, Remote::Freely));
        for (key, _) in free {
            assert_eq!(refused(&floor(), key, "anything"), None, "{key}");
        }
    }

    /// A key that is new in `gateway.toml` must be put into the table, with a thought.
    #[test]
    fn every_key_of_the_configuration_is_in_the_table() {
        let (mut known, mut unread) = (raw::keys(), Vec::new());
        known.sort();
        for (key, _) in KEYS {
            match known.iter().position(|found| found == key) {
                Some(place) => drop(known.remove(place)),
                None => unread.push(key),
            }
        }
        assert_eq!((known, unread), (Vec::new(), Vec::new()));
    }
}
