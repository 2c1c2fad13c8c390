//! The composition root: the only place that names every stage and creates every channel (with `line`, which holds
//! what is between intake and broker).
//!
//! What runs can be given another configuration (see [`changer`]): by a [`Changer`], or by SIGHUP, upon which
//! the files are read again.
//!
//! ```text
//!  session xN ──bounded──▶ intake (thread) ──▶ spool ──commits──▶ feeder (thread) ──▶ uplink (task)
//! ```
//!
//! There is one data channel; behind it the disk is the queue. A shutdown ends the left end only:
//! the sessions stop, their channel closes, the intake commits what it holds and closes the store's
//! writing side, and the uplink finishes what is in flight within the grace period. What it does
//! not finish is on disk.

mod allowlist;
mod certificate;
pub mod change;
pub mod changer;
pub mod fleet;
mod handover;
pub mod heartbeat;
pub mod intake;
pub mod inventory;
mod line;
pub mod notebook;
mod outbox;
pub mod pump;
mod reading;
pub mod report;
pub mod roster;
mod running;
pub mod sessions;
pub mod stock;

use std::sync::Arc;

use ring::rand::SystemRandom;
use tokio::sync::{mpsc, watch};

use crate::backoff::Random;
use crate::config::{Config, Keys, Problems};
use crate::device::Report;
use crate::envelope::block::BlockHeader;
use crate::envelope::keys::{Kek, KeyError, KeyRing, KeySource as _, WardKey};
use crate::host::clock::{SystemClock, boot_id};
use crate::host::notify;
use crate::host::random::SystemRandomness;
use crate::host::status::{StatusError, StatusSocket};
use crate::host::supervisor::Supervisor;
use crate::link::ble::pairing::Proofs;
use crate::policy::{DeviceRule, Misplaced};
use crate::store::{self, StoreError, StoreId};
use crate::time::{BootId, Clock, Now};
use crate::uplink::Stop;
use crate::uplink::topic::TopicError;

use allowlist::Ledger;
use change::groups;
pub use changer::{Changer, Refused};
pub use fleet::Fleet;
use fleet::{Daemon, Enlisted};
use line::{Gate, Line, Parts};
use notebook::Shelf;
use report::{KeysInUse, Origin, Sources};
use roster::{NoPlace, Roster, Seating};
use running::{Present, Running, Signals};
use sessions::{Links, Losses, RealLinks, Sessions, Shared};

/// The name of the one writer: when it has ended, everything is on disk.
const INTAKE: &str = "intake";

/// The reader of the spool for the uplink.
const FEEDER: &str = "feeder";

/// Why the daemon ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A local key is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store is not usable.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A topic cannot be made of the gateway's names.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The status socket cannot be made.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// There are more devices than places; the configuration does not allow as many.
    #[error(transparent)]
    Place(#[from] NoPlace),
    /// The system refuses what every daemon needs.
    #[error("the system refuses {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A part without which the daemon is useless ended by itself.
    #[error("{part} ended by itself: {why}; the service manager starts the daemon again")]
    Part {
        /// The part.
        part: &'static str,
        /// Its last words.
        why: String,
    },
    /// A change of the configuration could not be carried to its end, nor taken back.
    #[error(
        "a change of the configuration was left half-way: {0}; the service manager starts the daemon again"
    )]
    HalfWay(Misplaced),
    /// The shutdown took too long.
    #[error("not everything ended within the grace period ({left} still running); what is on disk is safe")]
    Grace {
        /// What was still running.
        left: String,
    },
}

/// Reads the configuration again, as it was read at the start.
pub type Reread = Arc<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT). With SIGHUP it takes what `reread` gives, and as a
/// member of a fleet what that pushes.
pub fn run(
    config: Config,
    reread: Reread,
    fleet: Option<Fleet>,
    clock: Arc<dyn Clock>,
) -> Result<(), GatewayError> {
    block_on(daemon(config, reread, Arc::new(RealLinks), fleet, clock))
}

/// Runs the daemon with links of the caller's making.
pub fn run_with(config: Config, reread: Reread, links: Arc<dyn Links>) -> Result<(), GatewayError> {
    block_on(daemon(config, reread, links, None, Arc::new(SystemClock::default())))
}

fn block_on(daemon: impl Future<Output = Result<(), GatewayError>>) -> Result<(), GatewayError> {
    // Two workers: one core may be busy with TLS while the other answers a pump in time.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| GatewayError::System { what: "a runtime", source })?;
    let result = runtime.block_on(daemon);
    // Whatever still blocks a thread here has had its grace.
    runtime.shutdown_background();
    result
}

async fn daemon(
    config: Config,
    reread: Reread,
    links: Arc<dyn Links>,
    fleet: Option<Fleet>,
    clock: Arc<dyn Clock>,
) -> Result<(), GatewayError> {
    let mut signals = Signals::new()?;
    let mut running = start(config, reread, links, fleet, clock).await?;
    notify::ready("running");
    tracing::info!("running");
    let ended = running.until_told(&mut signals).await;
    notify::stopping();
    match ended {
        Ok(()) => running.drain(&mut signals).await,
        Err(error) => {
            // The rest is drained too, but its trouble would only hide the first.
            let _ = running.drain(&mut signals).await;
            Err(error)
        }
    }
}

/// Opens everything, then starts it, left to right.
async fn start(
    config: Config,
    reread: Reread,
    links: Arc<dyn Links>,
    fleet: Option<Fleet>,
    clock: Arc<dyn Clock>,
) -> Result<Running, GatewayError> {
    let Opened { started, boot, ward, keys, store, socket } = open(&config, &clock).await?;
    let mut roster = Roster::default();
    let Seating { rules, seats, .. } = roster.seat(&groups(&config), &ward)?;
    let (rules, told): (Vec<DeviceRule>, Vec<_>) = rules.into_iter().unzip();
    let desk = fleet::desk(config.fleet.clone(), fleet.as_ref());
    let known = stock::prepare(&config, &rules, &desk, started);
    let cards = rules.iter().map(|rule| rule.card.clone()).collect();
    let header = BlockHeader { boot, run: SystemRandomness::new().next_u64(), devices: cards };
    let origin = origin(&config, (&header, started), (store.1.store_id(), keys));
    let remarks = remarks(&socket);

    let mut supervisor = Supervisor::new();
    let stop_uplink = watch::Sender::new(Stop::Run);
    let (enlisted, post, fleet) = fleet::enlist(fleet);
    let parts = Parts::new(&mut supervisor, &clock, &stop_uplink);
    let (in_force, holds_now) = watch::channel(Arc::new(config.clone()));
    let gate = Gate { rules, told, holds: [known.kept(), known.holds()], started };
    let Line { uplink, uplink_shown, stats, certificate, reports, to_intake, events, holds, shown, hearts } =
        parts.line(&config, store, (&header, gate), (&origin, post, holds_now.clone()))?;

    let around = (Arc::clone(&clock), reports.clone(), stop_uplink.subscribe());
    let shared = shared(&config, origin.store, around);
    let losses = shared.losses.clone();
    let mut sessions = Sessions::new(shared, links);
    sessions.change(&mut supervisor, &[], seats);

    let means = stock::Means {
        clock: Arc::clone(&clock),
        shown: shown.clone(),
        desk: desk.clone(),
        notices: enlisted.as_ref().map(Enlisted::notices),
        fleet: fleet.clone(),
        in_force: holds_now.clone(),
        events: events.clone(),
        holds,
        stop: stop_uplink.subscribe(),
    };
    let findings = stock::start(&mut supervisor, known, keys.protection, means);
    let centrals = sessions.radios();
    let (clock_seen, shown_seen) = (Arc::clone(&clock), shown.clone());
    let sources = Arc::new(Sources {
        origin,
        clock: clock_seen,
        shown: shown_seen,
        stats: stats.clone(),
        uplink: uplink_shown,
        certificate,
        centrals,
        losses,
        findings,
        fleet,
        remarks,
    });
    start_status(&mut supervisor, (socket, Arc::clone(&sources)), stop_uplink.subscribe());
    let (changer, requests) = Changer::new();
    let seen = Daemon { changer, sources, hearts: hearts.clone(), in_force: holds_now, desk, events };
    start_fleet(&mut supervisor, enlisted, seen, stop_uplink.subscribe());
    let mark = changer::mark(&ward);
    let present =
        Present { config, roster, sessions, mark, uplink, intake: to_intake, in_force, shown, stats };
    Ok(Running { supervisor, stop_uplink, hearts, clock, reports: Some(reports), present, requests, reread })
}

/// What all sessions have in common.
fn shared(
    config: &Config,
    store: StoreId,
    (clock, reports, drained): (Arc<dyn Clock>, mpsc::Sender<Report>, watch::Receiver<Stop>),
) -> Shared {
    Shared {
        clock,
        reports,
        notebooks: Shelf::new(store::records_beside(&config.store.folder), store),
        proofs: Proofs::beside(&config.store.folder),
        drained,
        losses: Losses::default(),
    }
}

/// What is read and opened before anything runs.
struct Opened {
    started: Now,
    boot: BootId,
    ward: WardKey,
    keys: KeysInUse,
    store: (store::Writer, store::Reader),
    socket: StatusSocket,
}

async fn open(config: &Config, clock: &Arc<dyn Clock>) -> Result<Opened, GatewayError> {
    let (started, boot) = (clock.now(), boot_id());
    let (ring, ward, keys) = load_keys(&config.keys)?;
    let (writer, reader, recovery) =
        store::open(&config.store, ring, boot, started, Arc::new(SystemRandom::new()))?;
    tell(&recovery);
    certificate::recover(&config.uplink);
    Ledger::beside(&config.store.folder).begin(config, started.wall);
    let socket = StatusSocket::bind(&config.socket, config.socket_group.as_deref()).await?;
    Ok(Opened { started, boot, ward, keys, store: (writer, reader), socket })
}

/// What a person should know of this run as long as it lasts. Readings matter more than who may see the status.
fn remarks(socket: &StatusSocket) -> Vec<String> {
    let words = |why: &str| {
        format!(
            "status.group: {why}; until the daemon starts anew, only root and its own user get the status"
        )
    };
    let remarks: Vec<String> = socket.groupless().map(words).into_iter().collect();
    for remark in &remarks {
        tracing::error!("{remark}");
    }
    remarks
}

/// What stays the same for this run.
fn origin(
    config: &Config,
    (header, started): (&BlockHeader, Now),
    (store, keys): (StoreId, KeysInUse),
) -> Arc<Origin> {
    Arc::new(Origin {
        gateway: config.uplink.gateway.clone(),
        boot: header.boot,
        run: header.run,
        started,
        store,
        keys,
    })
}

/// Loads every local key, and says of the store's what may be said of it.
fn load_keys(places: &Keys) -> Result<(KeyRing, WardKey, KeysInUse), KeyError> {
    let ring = KeyRing::load(&places.kek, places.kek_previous.as_ref())?;
    let ward = WardKey::load(&places.ward)?;
    let in_use =
        KeysInUse { protection: places.kek.protection(), previous: ring.previous.as_ref().map(Kek::id) };
    let (KeysInUse { protection, previous }, kek) = (&in_use, ring.current.id());
    tracing::info!(key_protection = %protection, %kek, ?previous, "keys loaded");
    if *previous == Some(kek) {
        tracing::warn!("keys.kek_previous holds the same key as keys.kek: remove it");
    }
    Ok((ring, ward, in_use))
}

/// What the store found when it was opened, in the log.
fn tell(recovery: &store::Recovery) {
    let store::Recovery { is_new, segments, blocks, records, unclosed, gaps, faults, torn } = recovery;
    tracing::info!(is_new, segments, blocks, records, unclosed, "store open");
    for torn in torn {
        tracing::warn!(torn, "the last run was cut short while it stored something");
    }
    for fault in faults {
        tracing::error!(fault, "the store was damaged: what authenticates is still sent");
    }
    for gap in gaps {
        tracing::error!(lane = %gap.lane, count = gap.count, reason = gap.reason, "readings were lost: a gap record tells the consumer");
    }
}

fn start_status(
    supervisor: &mut Supervisor,
    (socket, sources): (StatusSocket, Arc<Sources>),
    mut stop: watch::Receiver<Stop>,
) {
    supervisor.task("status", async move {
        tokio::select! {
            () = socket.serve(|| sources.snapshot()) => Ok(()),
            _ = stop.wait_for(|stop| *stop != Stop::Run) => Ok(()),
        }
    });
}

/// Nothing for a gateway that is in no fleet.
fn start_fleet(
    supervisor: &mut Supervisor,
    fleet: Option<Enlisted>,
    seen: Daemon,
    mut stop: watch::Receiver<Stop>,
) {
    let Some(fleet) = fleet else { return };
    supervisor.task("fleet", async move {
        tokio::select! {
            () = fleet.run(seen) => Ok(()),
            _ = stop.wait_for(|stop| *stop != Stop::Run) => Ok(()),
        }
    });
}
