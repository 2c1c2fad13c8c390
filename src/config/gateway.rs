//! `gateway.toml` judged: everything but the devices.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::scope::{Places, Scope};
use super::{InventoryLevel, Keys, LogLevel, raw};
use crate::backoff::Bounds;
use crate::uplink::tls::{Lists, Rule};
use crate::uplink::{Payload, Subscriber};
use crate::{store, uplink};

/// The least cap of the store: each of the three lanes may hold a closed segment of 16 MiB and the
/// one being written.
pub const MIN_CAP: u64 = 96 << 20;
/// What the store may have where nothing is written, as `defaults.toml` has it.
pub const DEFAULT_CAP: u64 = 4 << 30;
/// The least reserve of the alarm lane: one segment.
pub const MIN_RESERVE: u64 = 16 << 20;
/// The longest path of the status socket: 107 bytes fit into `sun_path` (unix(7)), less what the name
/// has in addition while the socket is being made.
const MAX_SOCKET_PATH: usize = 95;

/// Everything but the devices.
pub(super) struct Parts {
    pub(super) store: store::Config,
    pub(super) uplink: uplink::Config,
    pub(super) keys: Keys,
    pub(super) socket: PathBuf,
    pub(super) socket_group: Option<String>,
    pub(super) log: LogLevel,
    pub(super) shutdown_grace: Duration,
    pub(super) fleet: Option<PathBuf>,
    pub(super) inventory: InventoryLevel,
    pub(super) import: Option<PathBuf>,
    pub(super) trial: Duration,
}

/// What `devices` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeviceList {
    /// They are listed in `devices.d`.
    Listed,
    /// There are none, on purpose.
    None,
}

/// Judges every key. `None` when at least one problem was reported.
pub(super) fn judge(scope: &mut Scope<'_>, places: &Places) -> (Option<Parts>, Option<DeviceList>) {
    let raw: raw::Root = scope.read();
    let devices = scope.word(
        "devices",
        raw.devices.as_deref(),
        &[("listed", DeviceList::Listed), ("none", DeviceList::None)],
    );
    // Each part is judged before any is missed, so that one run names the problems of all of them.
    let uplink = uplink(scope, raw.gateway.unwrap_or_default(), raw.uplink.unwrap_or_default(), places);
    let store = store(scope, &raw.store.unwrap_or_default(), places);
    let keys = keys(scope, &raw.keys.unwrap_or_default(), places);
    let status = raw.status.unwrap_or_default();
    let socket = socket(scope, status.socket.as_deref(), places);
    let socket_group = group(scope, status.group);
    let daemon = raw.daemon.unwrap_or_default();
    let log = scope.word("daemon.log", daemon.log.as_deref(), &LogLevel::WORDS);
    let shutdown_grace =
        scope.duration("daemon.shutdown_grace", daemon.shutdown_grace.as_deref(), ("1s", "5m"));
    // Absent means: nothing is taken from afar.
    let raw::Fleet { folder, inventory, import, trial } = raw.fleet.unwrap_or_default();
    let inventory = match inventory {
        Some(word) => scope.word("fleet.inventory", Some(&word), &InventoryLevel::WORDS),
        None => Some(InventoryLevel::default()),
    };
    let fleet = folder.map(|folder| scope.path("fleet.folder", Some(&folder), places));
    let import = import.map(|folder| scope.path("fleet.import", Some(&folder), places));
    let trial = scope.duration("fleet.trial", trial.as_deref(), ("10s", "1h"));
    let parts = (|| {
        Some(Parts {
            store: store?,
            uplink: uplink?,
            keys: keys?,
            socket: socket?,
            socket_group,
            log: log?,
            shutdown_grace: shutdown_grace?,
            fleet: fleet.map_or(Some(None), |folder| folder.map(Some))?,
            inventory: inventory?,
            import: import.map_or(Some(None), |folder| folder.map(Some))?,
            trial: trial?,
        })
    })();
    (parts, devices)
}

fn uplink(
    scope: &mut Scope<'_>,
    gateway: raw::Gateway,
    raw: raw::Uplink,
    places: &Places,
) -> Option<uplink::Config> {
    let organisation =
        scope.id("gateway.organisation", gateway.organisation, "the first level of every topic");
    let group =
        scope.id("gateway.group", gateway.group, "the ward or other group, second level of every topic");
    let id = scope.id("gateway.id", gateway.id, "this gateway's name, as its certificate says it");
    let revocation = revocation(scope, &raw, places);
    let host = scope.host("uplink.host", raw.host);
    let port = scope.number("uplink.port", raw.port, (1, 65_535));
    let authorities = scope.path("uplink.authorities", raw.authorities.as_deref(), places);
    let certificate = scope.path("uplink.certificate", raw.certificate.as_deref(), places);
    let key = scope.client_key("uplink.key", raw.key.as_deref(), places);
    let payload = scope.word(
        "uplink.payload",
        raw.payload.as_deref(),
        &[("fhir", Payload::Fhir), ("cbor", Payload::Cbor)],
    );
    let subscriber = scope.required("uplink.require_subscriber", raw.require_subscriber, "true or false");
    let window = scope.number("uplink.window", raw.window, (1, 1_024));
    let keep_alive = scope.duration("uplink.keep_alive", raw.keep_alive.as_deref(), ("5s", "30m"));
    let stalled_after = scope.duration("uplink.stalled_after", raw.stalled_after.as_deref(), ("1s", "30m"));
    let heartbeat = scope.duration("uplink.heartbeat", raw.heartbeat.as_deref(), ("1s", "1h"));
    let backoff = backoff(
        scope,
        raw.backoff_first.as_deref(),
        raw.backoff_most.as_deref(),
        raw.healthy_after.as_deref(),
    );
    Some(uplink::Config {
        host: host?,
        port: port?,
        organisation: organisation?,
        group: group?,
        gateway: id?,
        authorities: authorities?,
        certificate: certificate?,
        key: key?,
        revocation: revocation?,
        payload: payload?,
        subscriber: if subscriber? { Subscriber::Required } else { Subscriber::Optional },
        window: window?,
        keep_alive: keep_alive?,
        stalled_after: stalled_after?,
        heartbeat: heartbeat?,
        backoff: backoff?,
    })
}

fn revocation(scope: &mut Scope<'_>, raw: &raw::Uplink, places: &Places) -> Option<Lists> {
    // Absent means: none but those that a bundle carries.
    let written = raw.revocation_lists.as_deref();
    let place = written.map(|text| scope.path("uplink.revocation_lists", Some(text), places));
    let rule = scope.word(
        "uplink.revocation",
        raw.revocation.as_deref(),
        &[("enforce", Rule::Enforce), ("enforce-content", Rule::EnforceContent)],
    );
    let place = place.map_or(Some(None), |place| place.map(Some))?;
    Some(Lists { place, pushed: Vec::new(), rule: rule? })
}

fn backoff(
    scope: &mut Scope<'_>,
    first: Option<&str>,
    most: Option<&str>,
    healthy_after: Option<&str>,
) -> Option<Bounds> {
    let first = scope.duration("uplink.backoff_first", first, ("10ms", "10m"));
    let most = scope.duration("uplink.backoff_most", most, ("10ms", "1h"));
    let healthy_after = scope.duration("uplink.healthy_after", healthy_after, ("1s", "1h"));
    let bounds = Bounds { first: first?, most: most?, healthy_after: healthy_after? };
    if bounds.first > bounds.most {
        scope.problem("uplink.backoff_first", "is longer than uplink.backoff_most");
        return None;
    }
    Some(bounds)
}

fn store(scope: &mut Scope<'_>, raw: &raw::Store, places: &Places) -> Option<store::Config> {
    let folder = scope.path("store.folder", raw.folder.as_deref(), places);
    let cap = scope.size("store.cap", raw.cap.as_deref()).filter(|cap| {
        if *cap < MIN_CAP {
            scope.problem("store.cap", format!("{cap} bytes is less than the least, {} MiB", MIN_CAP >> 20));
        }
        *cap >= MIN_CAP
    });
    let reserve = scope.size("store.alarm_reserve", raw.alarm_reserve.as_deref()).filter(|reserve| {
        if *reserve < MIN_RESERVE {
            let least = MIN_RESERVE >> 20;
            scope.problem(
                "store.alarm_reserve",
                format!("{reserve} bytes is less than the least, {least} MiB"),
            );
        }
        *reserve >= MIN_RESERVE
    });
    let linger = scope.duration("store.linger", raw.linger.as_deref(), ("0ms", "10s"));
    let folder = folder?;
    let anchor = Some(store::anchor_beside(&folder));
    let config = store::Config { folder, anchor, cap: cap?, alarm_reserve: reserve?, linger: linger? };
    if config.alarm_reserve > config.cap / 2 {
        scope.problem(
            "store.alarm_reserve",
            "is more than half of store.cap: nothing would be left for readings",
        );
        return None;
    }
    Some(config)
}

fn keys(scope: &mut Scope<'_>, raw: &raw::Keys, places: &Places) -> Option<Keys> {
    let kek = scope.key("keys.kek", raw.kek.as_deref(), places);
    let written = raw.kek_previous.as_deref();
    // Absent means: the store is kept under one key.
    let previous = written.map(|text| scope.key("keys.kek_previous", Some(text), places));
    let ward = scope.key("keys.ward", raw.ward.as_deref(), places).filter(|ward| {
        let keks = [kek.as_ref(), previous.as_ref().and_then(Option::as_ref)];
        if ward.token().is_some() {
            let reason = "is a token's key: the gateways of a ward share it, so it is a file or a credential";
            scope.problem("keys.ward", reason);
        } else if keks.into_iter().flatten().any(|kek| kek.is_same(ward)) {
            scope.problem("keys.ward", "is the same file as keys.kek: pseudonyms need a key of their own");
        } else {
            return true;
        }
        false
    });
    let keys =
        Keys { kek: kek?, kek_previous: previous.map_or(Some(None), |key| key.map(Some))?, ward: ward? };
    if keys.kek_previous.as_ref().is_some_and(|previous| previous.is_same(&keys.kek)) {
        let reason =
            "is the same key as keys.kek: name the one that the store was kept under before, or none";
        scope.problem("keys.kek_previous", reason);
        return None;
    }
    Some(keys)
}

fn socket(scope: &mut Scope<'_>, raw: Option<&str>, places: &Places) -> Option<PathBuf> {
    let socket = scope.path("status.socket", raw, places)?;
    let length = socket.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH {
        scope.problem(
            "status.socket",
            format!("is {length} bytes long, a socket's path may have {MAX_SOCKET_PATH}"),
        );
        return None;
    }
    Some(socket)
}

/// Absent means: only root and the daemon's own user. A name that is not well-formed is reported.
fn group(scope: &mut Scope<'_>, raw: Option<String>) -> Option<String> {
    let group = raw?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if (1..=32).contains(&group.len()) && group.chars().all(fits) && !group.starts_with('-') {
        return Some(group);
    }
    scope.problem("status.group", format!("{group:?} is not the name or number of a group"));
    None
}
