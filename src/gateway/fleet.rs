//! The daemon as a member of its fleet: what [`Task`] needs of it.
//!
//! In: another configuration, the question how the gateway is. Out: the configuration in force or the reason why
//! not, what is measured, a signature. Nothing is decided here.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::watch;

use super::change::Plan;
use super::changer::{Changer, Refused};
use super::report::Sources;
use super::running::HEART_STANDS_STILL;
use crate::config::{Config, Loaded, Problems, Pushed};
use crate::device::FaultKind;
use crate::fleet::advisories::desk::Desk;
use crate::fleet::documents::Stamp;
use crate::fleet::documents::reported::{self, ReportKey, Spool};
use crate::fleet::dsse;
use crate::fleet::health::{DeviceVitals, Vitals};
use crate::fleet::member::boot::Membership;
use crate::fleet::member::run::{Gateway, Signed, Task, Who};
use crate::fleet::member::{About, Fault, Load, Signs, Told, View};
use crate::host::heartbeat::{Heartbeat, standing_still};
use crate::host::process;
use crate::host::supervisor::blocking;
use crate::policy::event::Event;
use crate::policy::{DeviceRule, DeviceState};
use crate::time::{Mono, Now};
use crate::uplink::post::{Post, PostOffice};
use crate::uplink::tls::Witness;
use crate::uplink::{self, State};

/// How long after the start a device has time to say whether an alarm of it is active.
const HEARD_WITHIN: Duration = Duration::from_secs(60);

/// How long what was read of the certificate is used.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// The longest certificate chain that a report takes, in characters of base64.
const MAX_CHAIN: usize = 4_096;

/// What the daemon is given to be a member.
pub struct Fleet {
    /// What the boot found.
    pub membership: Membership,
    /// Loads the configuration with what a bundle pushes.
    pub load: Load,
}

/// What the fleet's part needs of the running daemon.
pub(super) struct Daemon {
    pub(super) changer: Changer,
    pub(super) sources: Arc<Sources>,
    pub(super) hearts: Vec<Heartbeat>,
    pub(super) in_force: watch::Receiver<Arc<Config>>,
    /// Where security events go.
    pub(super) events: mpsc::Sender<Event>,
    pub(super) desk: Desk,
}

/// A fleet's part with its two channels: to the uplink, and to the status.
pub(super) struct Enlisted {
    fleet: Fleet,
    office: PostOffice,
    view: watch::Sender<View>,
}

/// The advisories of the bundle that runs, as far as the folder keeps them.
pub(super) fn desk(folder: Option<PathBuf>, fleet: Option<&Fleet>) -> Desk {
    let desk = folder.map(Desk::in_folder).unwrap_or_default();
    if let Some(Fleet { membership: Membership::Member(enrolled), .. }) = fleet {
        for why in enrolled.brief(&desk) {
            tracing::warn!(why, "an advisory cannot be used");
        }
    }
    desk
}

/// Makes the channels, where there is a fleet: its part, the uplink's end, the status' end.
pub(super) fn enlist(
    fleet: Option<Fleet>,
) -> (Option<Enlisted>, Option<Post>, Option<watch::Receiver<View>>) {
    let Some(fleet) = fleet else { return (None, None, None) };
    let ((office, post), (view, shown)) = (uplink::post::post(), watch::channel(View::default()));
    (Some(Enlisted { fleet, office, view }), Some(post), Some(shown))
}

impl Enlisted {
    /// Where what is to be retained at the broker is given, by others than the task.
    pub(super) fn notices(&self) -> uplink::post::Notices {
        self.office.notices()
    }

    /// The task, to be run until the daemon ends.
    pub(super) async fn run(self, daemon: Daemon) {
        let Self { fleet: Fleet { membership, load }, office, view } = self;
        let Daemon { changer, sources, hearts, in_force, events, desk } = daemon;
        let clock = Arc::clone(&sources.clock);
        let who = match membership {
            Membership::Member(enrolled) => {
                let import = in_force.borrow().import.clone();
                let load = as_running(load, in_force.clone());
                Who::Member(Box::new(enrolled.into_member(load, import, desk, &clock.now())))
            }
            Membership::Locked(locked) => Who::Locked(locked),
        };
        let gateway = Seen {
            changer,
            sources,
            hearts,
            in_force,
            events,
            witness: None,
            unsigned: None,
            connected: None,
        };
        Task { gateway, office, clock, view }.run(who).await;
    }
}

/// What a running daemon cannot take is refused by its keys before anything is tried.
fn as_running(load: Load, in_force: watch::Receiver<Arc<Config>>) -> Load {
    Arc::new(move |pushed: Option<&Pushed>| -> Result<Loaded, Problems> {
        let loaded = load(pushed)?;
        let keys = Plan::between(&in_force.borrow(), &loaded.config).restart;
        if keys.is_empty() {
            return Ok(loaded);
        }
        let name = pushed.map_or(crate::config::GATEWAY_FILE, |pushed| pushed.name.as_str());
        Err(Problems::of(name, keys, "is only changed by a restart of the daemon"))
    })
}

/// So long a connection that has ended still counts for what was before a trial.
const A_MOMENT: Duration = Duration::from_secs(60);

/// The daemon, as its fleet sees it.
struct Seen {
    changer: Changer,
    sources: Arc<Sources>,
    hearts: Vec<Heartbeat>,
    in_force: watch::Receiver<Arc<Config>>,
    events: mpsc::Sender<Event>,
    /// Signs what was asked about last; when it was read.
    witness: Option<(Arc<(Witness, String)>, Mono)>,
    /// Why it last could not be read.
    unsigned: Option<String>,
    /// When the uplink was last seen connected.
    connected: Option<Mono>,
}

impl Gateway for Seen {
    async fn apply(&mut self, config: Config, is_way_back: bool) -> Result<(), Fault> {
        let (_, was_up) = self.is_up(self.sources.clock.now().mono);
        let Err(refused) = self.changer.change(config.clone()).await else { return Ok(()) };
        let why = refused.to_string();
        match refused {
            // The daemon ends, over this or anyway.
            Refused::Ending | Refused::Misplaced(_) => Err(Fault::Ending),
            Refused::NeedsRestart { .. } => Err(Fault::Bundle(why)),
            Refused::Uplink(_) if is_way_back => {
                // The devices do not wait for the broker.
                let uplink = self.in_force.borrow().uplink.clone();
                match self.changer.change(Config { uplink, ..config }).await {
                    Ok(_) => Err(Fault::Gateway(format!("the devices are back, the uplink is not: {why}"))),
                    Err(Refused::Ending) => Err(Fault::Ending),
                    Err(worse) => Err(Fault::Gateway(worse.to_string())),
                }
            }
            // Where no broker was reached before, nothing is known of this one.
            Refused::Uplink(_) if was_up => Err(Fault::Bundle(why)),
            Refused::Uplink(_)
            | Refused::Ward(_)
            | Refused::OtherWard
            | Refused::NoPlace(_)
            | Refused::Store(_)
            | Refused::StoreWaits => Err(Fault::Gateway(why)),
        }
    }

    fn signs(&mut self, now: &Now) -> Signs {
        let uplink = self.sources.uplink.borrow().clone();
        let shown = self.sources.shown.borrow().clone();
        let count = |of: fn(&DeviceState) -> u64| {
            shown.devices.iter().fold(0, |sum: u64, (_, state)| sum.saturating_add(of(state)))
        };
        let (is_uplink_up, was_uplink_up) = self.is_up(now.mono);
        let vitals = Vitals {
            is_uplink_up,
            was_uplink_up,
            is_authorised: !uplink.not_authorised,
            taken: taken(&uplink),
            kept: shown.durable.iter().fold(0, |sum: u64, records| sum.saturating_add(*records)),
            read: uplink.lanes.values().fold(0, |sum: u64, lane| sum.saturating_add(lane.published)),
            is_store_sound: shown.store_error.is_none() && uplink.store_trouble.is_none(),
            devices: shown.devices.iter().map(|(rule, state)| vitals_of(rule, state, now.mono)).collect(),
            decoded: count(DeviceState::admitted),
            undecoded: count(undecoded),
            memory: process::resident().unwrap_or_default(),
            is_alive: standing_still(&self.hearts, now.mono, HEART_STANDS_STILL).is_empty(),
            is_certificate_good: uplink.certificate_days_left.is_none_or(|days| days >= 0),
        };
        let is_any = shown.devices.iter().any(|(_, state)| state.is_in_alarm());
        let is_known = now.mono.since(self.sources.origin.started.mono) >= HEARD_WITHIN
            // One in quarantine gives none, and its alarms count for nothing here.
            || shown.devices.iter().all(|(_, state)| state.last_reading().is_some() || state.hold().is_some());
        Signs { vitals, is_alarm_active: (is_any || is_known).then_some(is_any) }
    }

    async fn about(&mut self, now: &Now) -> About {
        let snapshot = self.sources.snapshot();
        let group = self.in_force.borrow().uplink.group.clone();
        if self.witness.as_ref().is_none_or(|(_, at)| now.mono.since(*at) >= READ_AGAIN) {
            self.read_witness(now.mono).await;
        }
        let oldest = snapshot.lanes.iter().filter_map(|lane| lane.oldest_age_ms).max();
        let silent = snapshot.devices.iter().filter(|device| device.silent_ms.is_some());
        About {
            boot: snapshot.boot.replace('-', ""),
            group,
            certificate: self.witness.as_ref().map(|(held, _)| certificate_of(&held.0)),
            spool: Spool {
                records: snapshot.lanes.iter().map(|lane| lane.records).sum(),
                oldest: oldest.map(|ms| ms / 1_000),
            },
            listed: snapshot.devices.len(),
            silent: silent.map(|device| device.id.clone()).collect(),
            health: snapshot.warnings,
        }
    }

    async fn sign(&mut self, message: Vec<u8>) -> Option<Signed> {
        let (held, _) = self.witness.as_ref()?;
        let (held, key) = (Arc::clone(held), held.1.clone());
        let signature = blocking(move || held.0.sign(&message)).await.flatten();
        if signature.is_none() {
            // A key in a token is destroyed there once another is in use: the next report reads which.
            self.witness = None;
        }
        Some(Signed { key, signature: signature? })
    }

    /// What of it concerns safety is raised; the rest is for the log.
    fn tell(&mut self, _: &Told) {}

    fn raise(&mut self, event: &Event) -> bool {
        !matches!(self.events.try_send(event.clone()), Err(TrySendError::Full(_)))
    }
}

impl Seen {
    /// Whether the uplink is connected, and whether it was within a moment.
    fn is_up(&mut self, now: Mono) -> (bool, bool) {
        let is_up = self.sources.uplink.borrow().state == State::Online;
        (is_up, lately(&mut self.connected, is_up, now))
    }

    /// Reads the certificate and its key, which may have been renewed since.
    async fn read_witness(&mut self, now: Mono) {
        let (certificate, key) = {
            let uplink = &self.in_force.borrow().uplink;
            (uplink.certificate.clone(), uplink.key.clone())
        };
        let witness = blocking(move || {
            let witness = Witness::read(&certificate, &key).map_err(|error| error.to_string())?;
            let own = witness.chain().first().map(|der| ReportKey::of_certificate(der));
            let id = own.and_then(Result::ok).map(|key| key.id().to_owned());
            let id = id.ok_or("its key is none for ECDSA P-256: reports are not signed, and not sent")?;
            Ok::<_, String>(Arc::new((witness, id)))
        });
        self.witness = match witness.await {
            Some(Ok(witness)) => Some((witness, now)),
            Some(Err(why)) => {
                if self.unsigned.as_ref() != Some(&why) {
                    tracing::warn!(why, "the gateway's own certificate cannot be used for a report");
                }
                self.unsigned = Some(why);
                None
            }
            None => None,
        };
    }
}

/// Whether something is so, or was within a moment; remembers it.
fn lately(last: &mut Option<Mono>, is_now: bool, now: Mono) -> bool {
    if is_now {
        *last = Some(now);
    }
    last.is_some_and(|at| now.since(at) <= A_MOMENT)
}

fn certificate_of(witness: &Witness) -> reported::Certificate {
    let mut chain: Vec<String> = witness.chain().iter().map(|der| dsse::base64(der)).collect();
    while chain.iter().map(String::len).sum::<usize>() > MAX_CHAIN {
        // The authorities' own are known where the report is read.
        chain.pop();
    }
    let not_after = Stamp(witness.not_after());
    reported::Certificate { not_after, key_protection: witness.protection().to_string(), chain }
}

/// The records that the broker took of this run. Heartbeats and notices are none: a broker that takes these may refuse
/// every reading.
fn taken(uplink: &uplink::Status) -> u64 {
    uplink.lanes.values().fold(0, |sum: u64, lane| sum.saturating_add(lane.acknowledged))
}

/// One that may be quiet for any time proves nothing by its silence, nor does one in quarantine.
fn vitals_of(rule: &DeviceRule, state: &DeviceState, now: Mono) -> DeviceVitals {
    DeviceVitals {
        id: rule.card.id.clone(),
        since_reading: state.last_reading().map(|at| now.since(at.mono)),
        quiet: rule.quiet.filter(|_| state.hold().is_none()).unwrap_or(Duration::MAX),
    }
}

/// What came and could not be understood. No answer and a refusal are none of it.
fn undecoded(state: &DeviceState) -> u64 {
    let of = |kind| state.faults().get(&kind).copied().unwrap_or_default();
    [FaultKind::Checksum, FaultKind::Framing, FaultKind::Malformed]
        .into_iter()
        .fold(0, |sum: u64, kind| sum.saturating_add(of(kind)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::observation::Lane;
    use crate::uplink::status::{Correspondence, LaneCounters};

    #[test]
    fn heartbeats_and_notices_do_not_show_that_the_broker_takes_readings() {
        let refused = LaneCounters { published: 40, ..LaneCounters::default() };
        let status = uplink::Status {
            heartbeats: 7,
            correspondence: Correspondence { notices: 3, ..Correspondence::default() },
            lanes: [(Lane::Vital, refused), (Lane::Alarm, refused)].into(),
            ..uplink::Status::default()
        };
        assert_eq!(taken(&status), 0);
        let taken_one = LaneCounters { acknowledged: 1, ..refused };
        let lanes = [(Lane::Vital, refused), (Lane::Alarm, taken_one)].into();
        assert_eq!(taken(&uplink::Status { lanes, ..status }), 1);
    }

    #[test]
    fn a_connection_counts_for_a_moment_after_its_end() {
        let at = |secs: u64| Mono::from_nanos(secs * 1_000_000_000);
        let mut last = None;
        assert!(!lately(&mut last, false, at(5)), "there was none");
        assert!(lately(&mut last, true, at(10)));
        assert!(lately(&mut last, false, at(70)));
        assert!(!lately(&mut last, false, at(71)));
        assert!(lately(&mut last, true, at(90)) && lately(&mut last, false, at(91)));
    }
}
