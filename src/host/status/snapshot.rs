//! What `wardline status` knows: plain values, no observation among them.
//!
//! The shape is documented and stable: fields are added, never renamed or given another meaning.
//! What an older daemon does not say reads as its default, what a newer one adds is passed over.
//! Ages are in milliseconds by the boot clock, so a wall clock that jumps does not change them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::device::Identity as StatedIdentity;
use crate::fleet::member::View;
use crate::policy::{DeviceRule, DeviceState, LinkState};
use crate::time::{Mono, Now};

/// The most unlisted devices that are kept: a radio in a ward sees hundreds of strangers.
pub const MAX_UNLISTED: usize = 64;
/// The most warnings that are kept.
pub const MAX_WARNINGS: usize = 64;

/// The whole gateway at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// The daemon's version.
    pub version: String,
    /// The gateway's id.
    pub gateway: String,
    /// Wall time of the daemon's start, RFC 3339.
    pub started: String,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// The kernel's id of this boot, hex.
    pub boot: String,
    /// This run of the daemon, hex: a device's sequence numbers count within it.
    pub run: String,
    /// Whether the kernel says that the wall clock follows a reference.
    pub time_synced: bool,
    /// The kernel's maximum error of the wall time.
    pub time_max_error_us: u32,
    /// How the key that the store is kept under is protected: `file`, `credential` or `pkcs11`.
    pub key_protection: String,
    /// The id of that key.
    pub kek: String,
    /// The id of the one before it, while the configuration names one.
    pub kek_previous: Option<String>,
    /// How far the move from the one to the other is; `null` when there is none under way: then the one
    /// before is not needed.
    pub key_rotation: Option<KeyRotation>,
    /// Every device of the allowlist, in its order.
    pub devices: Vec<Device>,
    /// The lanes of the spool, the most urgent first.
    pub lanes: Vec<Lane>,
    /// The store.
    pub store: Store,
    /// The uplink.
    pub uplink: Uplink,
    /// The radio adapters, one for each that a device names.
    pub radios: Vec<Radio>,
    /// Devices that were seen and are not in the allowlist; at most [`MAX_UNLISTED`].
    pub unlisted: Vec<Unlisted>,
    /// Where the gateway stands with its fleet; `null`: it is in none.
    pub fleet: Option<View>,
    /// What a person should look at; at most [`MAX_WARNINGS`].
    pub warnings: Vec<String>,
}

/// One device of the allowlist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its driver or profiles.
    pub model: String,
    /// `bonded`, `open` or `serial`.
    pub security: String,
    /// Whether it is not connected to, as its bond is not what its entry demands: `link_reason` says why.
    pub bond_refused: bool,
    /// How often that was so when it was to be connected to.
    pub bond_refusals: u64,
    /// `up`, `down` or `never`.
    pub link: String,
    /// How long ago the link came up or went down.
    pub link_age_ms: Option<u64>,
    /// Why the link is down.
    pub link_reason: Option<String>,
    /// Whether it has proved who it is on the present connection.
    pub identified: bool,
    /// What it last said of itself.
    pub stated: Option<Identity>,
    /// Why everything of it is refused: it said that it is another device, or it is in quarantine by an advisory.
    pub quarantine: Option<String>,
    /// That is by an advisory alone: as far as is known it is the device that it should be.
    #[serde(default)]
    pub is_held: bool,
    /// How long ago its last observation was admitted.
    pub last_reading_age_ms: Option<u64>,
    /// How long nothing is known of it, while that is longer than it may be quiet.
    pub silent_ms: Option<u64>,
    /// How often it was longer than it may be.
    pub silences: u64,
    /// How many of its observations were admitted, the gateway's own words about it included.
    pub admitted: u64,
    /// How often something of it was refused, by kind.
    pub refused: BTreeMap<String, u64>,
    /// How often something was wrong with what came in, by kind.
    pub faults: BTreeMap<String, u64>,
}

/// What a device says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The maker's name.
    pub maker: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The serial number.
    pub serial: Option<String>,
    /// The firmware or protocol revision.
    pub firmware: Option<String>,
}

/// One lane of the spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lane {
    /// `alarm`, `vital` or `bulk`.
    pub lane: String,
    /// Blocks that wait for the broker.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long ago the oldest of them was committed.
    pub oldest_age_ms: Option<u64>,
    /// Records made durable since the daemon started.
    pub durable_total: u64,
}

/// A move of the store from one key to another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyRotation {
    /// The id of the key that part of the store still is under.
    pub from: String,
    /// The segments that still are under it.
    pub segments_left: u64,
}

/// The store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Store {
    /// Bytes on disk, overhead included.
    pub bytes: u64,
    /// The most there may be.
    pub cap: u64,
    /// Segments that could not be opened or did not authenticate.
    pub quarantined_segments: u64,
    /// Records that were dropped or lost since the start, each told of in a gap record.
    pub dropped: u64,
    /// How often something was found that is not as it was left, since and at the start.
    pub faults: u64,
    /// The last error.
    pub last_error: Option<String>,
}

/// The uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Uplink {
    /// `connected`, `connecting`, `waiting` or another word of the uplink.
    pub state: String,
    /// How long it has been in it.
    pub state_age_ms: Option<u64>,
    /// The last error.
    pub last_error: Option<String>,
    /// Publishes that wait for their PUBACK.
    pub in_flight: u64,
    /// Records that the broker has taken since the daemon started.
    pub acknowledged: u64,
    /// Publishes that the broker refused since the daemon started.
    pub refused: u64,
    /// Heartbeats that the broker has taken since the daemon started.
    pub heartbeats: u64,
    /// Whether the broker says that nobody is subscribed.
    pub no_consumer: bool,
    /// Days until this gateway's certificate expires; negative when it has.
    pub certificate_days_left: Option<i64>,
    /// How worrying its age is, whoever renews it: `none` (also where the clock follows no reference), `soon`, `urgent`
    /// or `expired`; empty where it is not known.
    pub certificate_alarm: String,
    /// The certificate that the daemon renews by itself; `null` where it renews none.
    pub certificate: Option<Certificate>,
}

/// A certificate that the daemon renews by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Certificate {
    /// Until when it is valid, RFC 3339.
    pub valid_until: Option<String>,
    /// `good`; `due`: it is to be asked for; `waiting`: the server takes its time; `failed`; `trying`: the next one is
    /// shown to the broker; `fallback`: the broker did not take it, the present one is used.
    pub renewal: String,
    /// From when on it is to be renewed, RFC 3339; while it is `good`.
    pub due: Option<String>,
    /// In how long it is tried again, after it went wrong.
    pub next_attempt_ms: Option<u64>,
    /// How worrying its age is: `none`, `soon`, `urgent` or `expired`.
    pub alarm: String,
    /// How its key is protected: `file` or `pkcs11`.
    pub key_protection: String,
    /// What went wrong last, with the way out; `null` since all is well.
    pub trouble: Option<String>,
}

/// A radio adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Radio {
    /// The adapter, as the configuration names it.
    pub adapter: String,
    /// Why it cannot be used, if so.
    pub down: Option<String>,
    /// Why it does not scan although it can be used, if so.
    pub not_scanning: Option<String>,
    /// How long ago any device was heard, listed or not; `null`: none yet.
    pub last_advert_age_ms: Option<u64>,
    /// How often a scan that heard nothing was started again.
    pub restarts: u64,
    /// How often the adapter was switched off and on because that had not helped.
    pub power_cycles: u64,
    /// How often that had not helped either, and a reset of its USB device was asked for.
    pub usb_resets_asked: u64,
    /// Whether such a reset is asked for still: nothing was heard since.
    pub wants_usb_reset: bool,
    /// How many questions of a pairing that came from outside were refused.
    pub pairing_refused: u64,
    /// How many values were lost that their devices hold for received: too many came, they waited too long, or
    /// nobody could take them. The log says which.
    pub values_lost: u64,
    /// Why BlueZ did not take the agent that refuses pairings, if so: another agent may accept them.
    pub no_agent: Option<String>,
}

/// A device that was seen and is not in the allowlist. It was not connected to, so nothing more is
/// known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unlisted {
    /// Its address.
    pub address: String,
}

impl Device {
    /// What policy knows of a device, at `now`.
    pub fn of(rule: &DeviceRule, state: &DeviceState, now: Mono) -> Self {
        let (link, link_reason) = match state.link() {
            LinkState::Never => ("never", None),
            LinkState::Up => ("up", None),
            LinkState::Down(reason) => ("down", Some(reason.clone())),
        };
        let held = state.hold_refusal(rule).filter(|_| state.quarantine().is_none());
        Self {
            id: rule.card.id.clone(),
            model: rule.card.model.clone(),
            security: rule.card.security.to_owned(),
            bond_refused: state.is_insecure(),
            bond_refusals: state.insecure(),
            link: link.to_owned(),
            link_age_ms: state.link_since().map(|at| age_ms(at, now)),
            link_reason,
            identified: state.is_identified(),
            stated: state.stated().map(Identity::from),
            is_held: held.is_some(),
            quarantine: state.quarantine().cloned().or(held).map(|refusal| refusal.to_string()),
            last_reading_age_ms: state.last_reading().map(|at| age_ms(at, now)),
            silent_ms: state.silent_since().map(|at| age_ms(at, now)),
            silences: state.silences(),
            admitted: state.admitted(),
            refused: state.refused().iter().map(|(kind, count)| (kind.as_str().to_owned(), *count)).collect(),
            faults: state.faults().iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
        }
    }
}

impl From<&StatedIdentity> for Identity {
    fn from(stated: &StatedIdentity) -> Self {
        Self {
            maker: stated.maker.clone(),
            model: stated.model.clone(),
            serial: stated.serial.clone(),
            firmware: stated.firmware.clone(),
        }
    }
}

fn age_ms(at: Now, now: Mono) -> u64 {
    u64::try_from(now.since(at.mono).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::device::{DeviceIndex, Fault, FaultKind, Report, ReportBody};
    use crate::policy::hold::Hold;
    use crate::policy::{DeviceCard, Gatekeeper, Trust};

    #[test]
    fn a_device_is_shown_as_policy_knows_it() {
        let card = DeviceCard {
            id: "pump".into(),
            model: "alaris-asena".into(),
            pseudonym: "secret".into(),
            location: None,
            security: "serial",
        };
        let expects = StatedIdentity { serial: Some("1".into()), ..StatedIdentity::default() };
        let rule = DeviceRule {
            card,
            expects,
            trust: Trust::ReportedIdentity,
            elements: Vec::new(),
            behind: None,
            quiet: None,
        };
        let mut gate = Gatekeeper::new(vec![rule]);
        let stranger = StatedIdentity { serial: Some("2".into()), ..StatedIdentity::default() };
        for body in [
            ReportBody::Up,
            ReportBody::Identity(stranger),
            ReportBody::Fault(Fault::new(FaultKind::Checksum, "x")),
        ] {
            gate.handle_report(Report { device: DeviceIndex(0), at: Now::default(), body });
        }
        let (rule, state) = gate.snapshot().next().unwrap();
        let shown = Device::of(rule, state, Mono::default() + Duration::from_secs(3));
        assert_eq!((shown.link.as_str(), shown.link_age_ms, shown.identified), ("up", Some(3_000), false));
        assert!(shown.quarantine.is_some_and(|reason| reason.contains("quarantined")) && !shown.is_held);
        assert_eq!(shown.stated.and_then(|stated| stated.serial).as_deref(), Some("2"));
        assert_eq!(shown.refused.get("mismatch"), Some(&1));
        assert_eq!(shown.faults.get("checksum"), Some(&1));

        // By an advisory alone it is no stranger; a stranger stays one.
        let hold = Hold { advisory: "ICSMA-1".into(), reason: "M. Weber".into() };
        let expected = StatedIdentity { serial: Some("1".into()), ..StatedIdentity::default() };
        for (stated, is_held) in [(None, false), (Some(expected), true)] {
            if let Some(stated) = stated {
                let body = ReportBody::Identity(stated);
                gate.handle_report(Report {
                    device: DeviceIndex(0),
                    at: Now::default(),
                    body: ReportBody::Up,
                });
                gate.handle_report(Report { device: DeviceIndex(0), at: Now::default(), body });
            }
            gate.handle_holds(BTreeMap::from([("pump".into(), hold.clone())]), Now::default());
            let (rule, state) = gate.snapshot().next().unwrap();
            let shown = Device::of(rule, state, Mono::default());
            assert_eq!(shown.is_held, is_held, "{:?}", shown.quarantine);
            let words = if is_held { "ICSMA-1" } else { "quarantined" };
            assert!(shown.quarantine.is_some_and(|reason| reason.contains(words)));
        }
    }
}
