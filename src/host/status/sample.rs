//! A gateway with one of everything, for tests and for those who judge pages and pictures of it.

use std::collections::BTreeMap;

use super::{Certificate, Device, Lane, Radio, Snapshot, Store, Uplink};
use crate::fleet::member::View;

/// A gateway of two pumps with a bad line, an uplink that is up, a certificate that has expired and a stale fleet: every
/// figure of the metrics is in it.
pub fn snapshot() -> Snapshot {
    Snapshot {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: "gw-1".to_owned(),
        uptime_ms: 61_005,
        time_max_error_us: 1_234,
        key_protection: "file".to_owned(),
        devices: vec![device("pump-1"), device("pump-2")],
        lanes: ["alarm", "vital"].into_iter().map(lane).collect(),
        radios: vec![Radio { adapter: "hci0".to_owned(), last_advert_age_ms: Some(2), ..Radio::default() }],
        store: Store { bytes: 1 << 40, ..Store::default() },
        uplink: Uplink {
            state: "connected".to_owned(),
            state_age_ms: Some(5),
            certificate_days_left: Some(-3),
            certificate_alarm: "expired".to_owned(),
            certificate: Some(Certificate {
                trouble: Some("it has expired".to_owned()),
                ..Certificate::default()
            }),
            ..Uplink::default()
        },
        fleet: Some(View { bundle: Some(7), standing: "stale".to_owned(), ..View::default() }),
        ..Snapshot::default()
    }
}

/// A pump that is up, with what was wrong of each sort.
pub fn device(id: &str) -> Device {
    Device {
        id: id.to_owned(),
        model: "alaris-asena".to_owned(),
        link: "up".to_owned(),
        link_age_ms: Some(1_500),
        last_reading_age_ms: Some(7),
        refused: BTreeMap::from([("mismatch".to_owned(), 2)]),
        faults: BTreeMap::from([("checksum".to_owned(), 3)]),
        ..Device::default()
    }
}

fn lane(name: &str) -> Lane {
    Lane { lane: name.to_owned(), oldest_age_ms: Some(1), ..Lane::default() }
}
