//! Puts together what a heartbeat says of the gateway and its store.

use std::sync::Arc;

use tokio::sync::watch;

use super::report::{Origin, millis, wall_age};
use crate::device::observation::Lane;
use crate::envelope::block::hex;
use crate::identity::keeper;
use crate::store;
use crate::time::{ClockSync, Now};
use crate::uplink::Heartbeat;
use crate::uplink::heartbeat::{Certificate, Head, Lane as LaneBeat, Store};

/// Where the parts of a heartbeat come from.
pub struct Beats {
    origin: Arc<Origin>,
    stats: store::Stats,
    certificate: watch::Receiver<keeper::Status>,
    /// How far each lane had come when this run opened it.
    found: [Option<Head>; 3],
}

impl Beats {
    /// To be made before anything is written: what the store holds then is what was found.
    pub fn new(
        origin: Arc<Origin>,
        stats: store::Stats,
        certificate: watch::Receiver<keeper::Status>,
    ) -> Self {
        let found = Lane::ALL.map(|lane| head(&stats, lane));
        Self { origin, stats, certificate, found }
    }

    /// How the gateway is at this moment.
    pub fn beat(&self, now: Now) -> Heartbeat {
        let origin = &self.origin;
        let store = self.stats.snapshot();
        let certificate = certificate(&self.certificate.borrow());
        let lanes = Lane::ALL.into_iter().zip(store.lanes).zip(&self.found);
        let lanes = lanes.map(|((lane, depth), found)| LaneBeat {
            lane: lane.as_str(),
            newest: head(&self.stats, lane),
            found: found.clone(),
            blocks: depth.blocks,
            records: depth.records,
            bytes: depth.bytes,
            oldest_age_ms: depth.oldest.map(|since| wall_age(since, now.wall)),
        });
        Heartbeat {
            gateway: origin.gateway.clone(),
            version: env!("CARGO_PKG_VERSION"),
            boot: hex(&origin.boot.0),
            run: format!("{:016x}", origin.run),
            uptime_ms: millis(origin.started.mono, now.mono),
            time: now.wall.to_string(),
            time_synced: now.sync == ClockSync::Synced,
            time_max_error_us: now.max_error_us,
            key_protection: origin.keys.protection.as_str(),
            kek: self.stats.kek().to_string(),
            rotation_pending: self.stats.rotation().is_some(),
            certificate,
            lanes: lanes.collect(),
            store: Store {
                id: origin.store.to_string(),
                cap: store.cap,
                bytes: store.bytes,
                quarantined: store.quarantined,
                dropped: store.dropped,
                faults: store.faults,
                last_fault: store.last_error,
            },
            ..Heartbeat::default()
        }
    }
}

fn certificate(standing: &keeper::Status) -> Option<Certificate> {
    Some(Certificate {
        valid_until: standing.until?.to_string(),
        renewal: standing.state?.as_str(),
        alarm: standing.alarm.as_str(),
    })
}

fn head(stats: &store::Stats, lane: Lane) -> Option<Head> {
    stats.head(lane).map(|(segment, head)| Head { segment, head: hex(&head) })
}
