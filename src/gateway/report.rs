//! Puts together what `wardline status` shows.

use std::sync::Arc;

use tokio::sync::watch;

use super::pump::Shown;
use super::sessions::Losses;
use crate::device::observation::Lane;
use crate::envelope::block::hex;
use crate::envelope::keys::{KekId, Protection};
use crate::fleet::member::View;
use crate::host::status::{self, MAX_UNLISTED, MAX_WARNINGS, Snapshot};
use crate::identity::keeper;
use crate::identity::renewal::{Lifetime, State as Renewal};
use crate::link::ble::{self, Handle};
use crate::store::{self, StoreId};
use crate::time::{BootId, Clock, ClockSync, Mono, Now, Wall};
use crate::uplink::{self, State};

/// How many devices of which something was lost are named.
const MAX_LOST: usize = 8;

/// What may be said of the store's keys.
#[derive(Clone, Copy, Debug)]
pub struct KeysInUse {
    /// How the KEK is protected.
    pub protection: Protection,
    /// The id of the one before it, while the configuration names one.
    pub previous: Option<KekId>,
}

/// What stays the same for one run of the daemon.
pub struct Origin {
    /// The gateway's id.
    pub gateway: String,
    /// The boot.
    pub boot: BootId,
    /// This run of the daemon.
    pub run: u64,
    /// When the daemon started.
    pub started: Now,
    /// The store's id.
    pub store: StoreId,
    /// The store's keys.
    pub keys: KeysInUse,
}

/// Where the parts of a snapshot come from.
pub struct Sources {
    /// The run.
    pub origin: Arc<Origin>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// The intake, with the allowlist as it is.
    pub shown: watch::Receiver<Shown>,
    /// The store's numbers.
    pub stats: store::Stats,
    /// The uplink.
    pub uplink: watch::Receiver<uplink::Status>,
    /// The gateway's certificate.
    pub certificate: watch::Receiver<keeper::Status>,
    /// The radios.
    pub centrals: watch::Receiver<Vec<Handle>>,
    /// What sessions could not get rid of before they ended.
    pub losses: Losses,
    /// What a person should know of devices and advisories, in lines.
    pub findings: watch::Receiver<Vec<String>>,
    /// Where it stands with its fleet, if it is in one.
    pub fleet: Option<watch::Receiver<View>>,
    /// What was found at the start and stays so.
    pub remarks: Vec<String>,
}

impl Sources {
    /// Everything at this moment.
    pub fn snapshot(&self) -> Snapshot {
        let (now, origin) = (self.clock.now(), &self.origin);
        let shown = self.shown.borrow().clone();
        let uplink = self.uplink.borrow().clone();
        let certificate = certificate(&self.certificate.borrow(), now.mono);
        let devices: Vec<status::Device> =
            shown.devices.iter().map(|(rule, state)| status::Device::of(rule, state, now.mono)).collect();
        let mut snapshot = Snapshot {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            gateway: origin.gateway.clone(),
            started: origin.started.wall.to_string(),
            uptime_ms: millis(origin.started.mono, now.mono),
            boot: hex(&origin.boot.0),
            run: format!("{:016x}", origin.run),
            time_synced: now.sync == ClockSync::Synced,
            time_max_error_us: now.max_error_us,
            key_protection: origin.keys.protection.to_string(),
            kek: self.stats.kek().to_string(),
            kek_previous: origin.keys.previous.map(|previous| previous.to_string()),
            key_rotation: self.stats.rotation().map(|rotation| status::KeyRotation {
                from: rotation.from.to_string(),
                segments_left: rotation.segments_left,
            }),
            devices,
            lanes: (0..).zip(Lane::ALL).map(|(place, lane)| self.lane(place, lane, &shown, now)).collect(),
            store: self.store(&shown),
            uplink: uplink_view(&uplink, certificate, now),
            radios: self.centrals.borrow().iter().map(|central| radio(central.status())).collect(),
            unlisted: self.unlisted(),
            fleet: self.fleet.as_ref().map(|fleet| fleet.borrow().clone()),
            warnings: Vec::new(),
        };
        snapshot.warnings = lost_warnings(&self.losses);
        snapshot.warnings.extend(self.remarks.iter().cloned());
        snapshot.warnings.extend(Self::warnings(&snapshot, &uplink));
        // Behind what stops the line: there may be many.
        snapshot.warnings.extend(self.findings.borrow().iter().cloned());
        snapshot.warnings.truncate(MAX_WARNINGS);
        snapshot
    }
}

impl Sources {
    fn lane(&self, place: usize, lane: Lane, shown: &Shown, now: Now) -> status::Lane {
        let depth = self.stats.depth(lane);
        status::Lane {
            lane: lane.as_str().to_owned(),
            blocks: depth.blocks,
            records: depth.records,
            bytes: depth.bytes,
            oldest_age_ms: depth.oldest.map(|since| wall_age(since, now.wall)),
            durable_total: shown.durable.get(place).copied().unwrap_or_default(),
        }
    }

    fn store(&self, shown: &Shown) -> status::Store {
        let store = self.stats.snapshot();
        status::Store {
            bytes: store.bytes,
            cap: store.cap,
            quarantined_segments: store.quarantined,
            dropped: store.dropped,
            faults: store.faults,
            last_error: shown.store_error.clone().or(store.last_error),
        }
    }

    /// The radio knows the latest addresses only; more about a stranger is nobody's business.
    fn unlisted(&self) -> Vec<status::Unlisted> {
        let centrals = self.centrals.borrow();
        let latest = centrals.iter().flat_map(|central| central.status().unlisted.latest);
        latest.take(MAX_UNLISTED).map(|address| status::Unlisted { address: address.to_string() }).collect()
    }

    /// What a person should look at, in words. What no other part of the snapshot says is said first: there may be many
    /// devices in quarantine.
    fn warnings(snapshot: &Snapshot, uplink: &uplink::Status) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(uplink.store_trouble.as_ref().map(|why| format!("store: {why}")));
        if uplink.not_authorised {
            warnings.push(
                "the broker forbids this gateway to publish: the data is kept; mend its access list"
                    .to_owned(),
            );
        }
        if uplink.refused_blocks > 0 {
            warnings
                .push(format!("the broker refused {} blocks for good: they are kept", uplink.refused_blocks));
        }
        if uplink.unreadable_blocks > 0 {
            warnings.push(format!("{} blocks could not be read: they are kept", uplink.unreadable_blocks));
        }
        warnings.extend(uplink.outdated_lists.iter().cloned());
        warnings.extend(status::warnings::of(snapshot).into_iter().map(|warning| warning.words));
        warnings.truncate(MAX_WARNINGS);
        warnings
    }
}

/// A loss is said first.
fn lost_warnings(losses: &Losses) -> Vec<String> {
    let counts = losses.counts();
    let mut lost: Vec<(&String, &u64)> = counts.iter().collect();
    lost.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words = |(device, count): (&String, &u64)| {
        format!(
            "{device:?}: {count} reading(s) or alarm(s) were lost, as nothing took them when its session ended: look for the reason in the log"
        )
    };
    lost.into_iter().take(MAX_LOST).map(words).collect()
}

/// None where there is nothing that could be renewed.
fn certificate(standing: &keeper::Status, now: Mono) -> Option<status::Certificate> {
    let state = standing.state?;
    let (due, next) = match state {
        Renewal::Good { due } => (Some(due), None),
        Renewal::Waiting { until } | Renewal::Failed { until } | Renewal::Fallback { until } => {
            (None, Some(until))
        }
        Renewal::Due | Renewal::Trying => (None, None),
    };
    Some(status::Certificate {
        valid_until: standing.until.map(|until| until.to_string()),
        renewal: state.as_str().to_owned(),
        due: due.map(|due| due.to_string()),
        next_attempt_ms: next.map(|next| millis(now, next)),
        alarm: standing.alarm.as_str().to_owned(),
        key_protection: standing.protection.map_or("", Protection::as_str).to_owned(),
        trouble: standing.trouble.clone(),
    })
}

fn radio(status: ble::Status) -> status::Radio {
    status::Radio {
        adapter: status.adapter,
        down: status.down,
        not_scanning: status.not_scanning,
        last_advert_age_ms: status.heard.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        restarts: status.restarts,
        power_cycles: status.power_cycles,
        usb_resets_asked: status.usb_resets_asked,
        wants_usb_reset: status.wants_usb_reset,
        pairing_refused: status.pairing_refused,
        values_lost: status.values_lost,
        no_agent: status.no_agent,
    }
}

/// For a person to read: a wall clock that was set in between makes it wrong, and nothing depends on it.
pub(super) fn wall_age(since: Wall, now: Wall) -> u64 {
    u64::try_from(now.as_millis().saturating_sub(since.as_millis())).unwrap_or_default()
}

pub(super) fn millis(from: Mono, to: Mono) -> u64 {
    u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX)
}

fn uplink_view(
    status: &uplink::Status,
    certificate: Option<status::Certificate>,
    now: Now,
) -> status::Uplink {
    let age = status
        .certificate_validity
        .map(|(from, until)| Lifetime { from, until, draw: 0 }.alarm(now).as_str().to_owned());
    let alarm = certificate.as_ref().map(|kept| kept.alarm.clone()).or(age).unwrap_or_default();
    let state = match status.state {
        State::Starting => "starting",
        State::Connecting => "connecting",
        State::Online => "connected",
        State::Waiting { .. } => "waiting",
        State::Stopped => "stopped",
    };
    status::Uplink {
        state: state.to_owned(),
        state_age_ms: Some(millis(status.since, now.mono)),
        last_error: status.trouble.clone(),
        in_flight: u64::try_from(status.in_flight).unwrap_or(u64::MAX),
        acknowledged: status.lanes.values().map(|lane| lane.records).sum(),
        refused: status.refusals.values().sum(),
        heartbeats: status.heartbeats,
        no_consumer: status.no_consumer,
        certificate_days_left: status.certificate_days_left,
        certificate_alarm: alarm,
        certificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// A certificate for so many days of which so many are left.
    fn shown(life: i64, left: i64, sync: ClockSync) -> status::Uplink {
        let now = Now { wall: Wall::from_millis(400 * DAY), sync, ..Now::default() };
        let until = now.wall.as_millis() + left * DAY;
        let validity = (Wall::from_millis(until - life * DAY), Wall::from_millis(until));
        let uplink = uplink::Status {
            certificate_days_left: Some(left),
            certificate_validity: Some(validity),
            ..uplink::Status::default()
        };
        uplink_view(&uplink, None, now)
    }

    /// Nobody knows any more by then that it is the name of a device: quoted, it goes with all that is.
    #[test]
    fn what_was_lost_of_a_device_that_is_listed_no_more_names_it_to_nobody_else() {
        let losses = Losses::default();
        losses.count("gone-1");
        losses.count("gone-1");
        let warnings = lost_warnings(&losses);
        assert!(
            warnings.concat().starts_with("\"gone-1\": 2 reading(s) or alarm(s) were lost"),
            "{warnings:?}"
        );
        let masked = crate::doctor::bundle::mask_of(None, None).text(&warnings.concat());
        assert!(!masked.contains("gone-1") && masked.contains("2 reading(s)"), "{masked}");
    }

    #[test]
    fn the_end_of_a_certificate_is_told_of_by_the_share_of_its_life_that_is_left() {
        for (life, left, alarm) in [
            (365, -1, "expired"),
            (365, 2, "urgent"),
            (365, 13, "soon"),
            (365, 14, "none"),
            (365, 90, "none"),
            (10, 9, "none"),
            (10, 1, "soon"),
            (10, 0, "urgent"),
        ] {
            let uplink = shown(life, left, ClockSync::Synced);
            assert_eq!(uplink.certificate_alarm, alarm, "{life} {left}");
            let snapshot = Snapshot { uplink, time_synced: true, ..Snapshot::default() };
            let warnings = status::warnings::of(&snapshot);
            assert_eq!(warnings.is_empty(), alarm == "none", "{life} {left}: {warnings:?}");
        }
        assert_eq!(shown(365, -1, ClockSync::Unsynced).certificate_alarm, "none");
    }
}
