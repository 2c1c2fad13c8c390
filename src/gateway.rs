//! The composition root: the only file that names every stage and creates every channel.
//!
//! ```text
//!  session xN ──bounded──▶ intake (thread) ──▶ spool ──commits──▶ feeder (thread) ──▶ uplink (task)
//! ```
//!
//! There is one data channel; behind it the disk is the queue. A shutdown ends the left end only:
//! the sessions stop, their channel closes, the intake commits what it holds and closes the store's
//! writing side, and the uplink finishes what is in flight within the grace period. What it does
//! not finish is on disk.

pub mod heartbeat;
pub mod intake;
pub mod notebook;
pub mod pump;
pub mod report;
pub mod sessions;

use std::sync::Arc;
use std::time::Duration;

use ring::rand::SystemRandom;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::backoff::Random;
use crate::config::{Config, Keys};
use crate::device::{Report, Settled};
use crate::envelope::block::BlockHeader;
use crate::envelope::keys::{Kek, KeyError, KeyRing, KeySource as _, WardKey};
use crate::host::audit::AuditLog;
use crate::host::clock::{SystemClock, boot_id};
use crate::host::heartbeat::{Heartbeat, standing_still};
use crate::host::notify;
use crate::host::random::SystemRandomness;
use crate::host::status::{StatusError, StatusSocket};
use crate::host::supervisor::{End, Supervisor};
use crate::link::ble::pairing::Proofs;
use crate::policy::{DeviceRule, Gatekeeper};
use crate::store::{self, StoreError};
use crate::time::Clock;
use crate::uplink::topic::TopicError;
use crate::uplink::{self, Stop};

use heartbeat::Beats;
use intake::Intake;
use notebook::Shelf;
use pump::{Pump, Shown};
use report::{KeysInUse, Origin, Sources};
use sessions::{Links, RealLinks, Shared};

/// How many reports may wait for the intake: some seconds of a busy ward, a few hundred KiB.
const REPORTS_WAITING: usize = 4_096;

/// The name of the one writer: when it has ended, everything is on disk.
const INTAKE: &str = "intake";

/// The reader of the spool for the uplink.
const FEEDER: &str = "feeder";

/// How long a heart may stand still before the watchdog is no longer fed.
const HEART_STANDS_STILL: Duration = Duration::from_secs(10);

/// How often the hearts are looked at when no service manager says how often.
const LOOK_AT_HEARTS: Duration = Duration::from_secs(10);

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
    /// The shutdown took too long.
    #[error("not everything ended within the grace period ({left} still running); what is on disk is safe")]
    Grace {
        /// What was still running.
        left: String,
    },
}

/// Runs the daemon until it is told to stop (SIGTERM, SIGINT).
pub fn run(config: Config) -> Result<(), GatewayError> {
    run_with(config, Arc::new(RealLinks))
}

/// Runs the daemon with links of the caller's making.
pub fn run_with(config: Config, links: Arc<dyn Links>) -> Result<(), GatewayError> {
    // Two workers: one core may be busy with TLS while the other answers a pump in time.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| GatewayError::System { what: "a runtime", source })?;
    let result = runtime.block_on(daemon(config, links));
    // Whatever still blocks a thread here has had its grace.
    runtime.shutdown_background();
    result
}

/// Everything that runs, and how to end it.
struct Running {
    supervisor: Supervisor,
    stop_sessions: watch::Sender<bool>,
    stop_uplink: watch::Sender<Stop>,
    hearts: Vec<Heartbeat>,
    clock: Arc<dyn Clock>,
    grace: Duration,
    /// Keeps the intake waiting while no session can report: a gateway may have no device.
    reports: Option<mpsc::Sender<Report>>,
}

async fn daemon(config: Config, links: Arc<dyn Links>) -> Result<(), GatewayError> {
    let mut signals = Signals::new()?;
    let mut running = start(config, links).await?;
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
async fn start(config: Config, links: Arc<dyn Links>) -> Result<Running, GatewayError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (started, boot) = (clock.now(), boot_id());
    let (ring, ward, keys) = load_keys(&config.keys)?;
    let (writer, reader, recovery) =
        store::open(&config.store, ring, boot, started, Arc::new(SystemRandom::new()))?;
    tell(&recovery);
    let socket = StatusSocket::bind(&config.socket, config.socket_group.as_deref()).await?;

    let rules: Vec<DeviceRule> = config.devices.iter().map(|device| named(device, &ward)).collect();
    let mut random = SystemRandomness::new();
    let header = BlockHeader {
        boot,
        run: random.next_u64(),
        devices: rules.iter().map(|rule| rule.card.clone()).collect(),
    };
    let mut running = Running {
        supervisor: Supervisor::new(),
        stop_sessions: watch::Sender::new(false),
        stop_uplink: watch::Sender::new(Stop::Run),
        hearts: Vec::new(),
        clock: Arc::clone(&clock),
        grace: config.shutdown_grace,
        reports: None,
    };
    let stats = writer.stats();
    let origin = Arc::new(Origin {
        gateway: config.uplink.gateway.clone(),
        boot,
        run: header.run,
        started,
        store: reader.store_id(),
        cap: config.store.cap,
        keys,
    });
    let beats = Beats::new(Arc::clone(&origin), stats.clone());
    let (uplink_status, uplink_shown) = watch::channel(uplink::Status::default());
    running.start_uplink(&config, reader, uplink_status, Box::new(move |now| beats.beat(now)))?;

    let (reports, waiting) = mpsc::channel(REPORTS_WAITING);
    let (told, durable): (Vec<_>, Vec<_>) = rules.iter().map(|_| watch::channel(Settled::default())).unzip();
    let intake = Intake::new(Gatekeeper::new(rules.clone()), writer, &header, config.store.linger, told)
        .with_audit(AuditLog::beside(&config.store.folder));
    let shown = running.start_intake(intake, waiting)?;

    running.reports = Some(reports.clone());
    let shared = Shared {
        clock: Arc::clone(&clock),
        reports,
        notebooks: Shelf::new(store::records_beside(&config.store.folder), origin.store),
        proofs: Proofs::beside(&config.store.folder),
        stop: running.stop_sessions.subscribe(),
        drained: running.stop_uplink.subscribe(),
    };
    let centrals = sessions::start(&mut running.supervisor, &config.devices, durable, &shared, &links);

    let sources = Sources { origin, clock, rules, shown, stats, uplink: uplink_shown, centrals };
    running.start_status(socket, sources);
    Ok(running)
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

/// A device's rule with the pseudonyms of its asset and of its place. The words before a place keep it apart from an
/// asset of the same name.
fn named(device: &crate::config::Device, ward: &WardKey) -> DeviceRule {
    let mut rule = device.rule.clone();
    rule.card.pseudonym = ward.pseudonym(&device.asset);
    let location = device.location.as_ref();
    rule.card.location = location.map(|location| ward.pseudonym(&format!("location {location}")));
    rule
}

impl Running {
    fn heart(&mut self, name: &'static str) -> Heartbeat {
        let heart = Heartbeat::new(name, self.clock.now().mono);
        self.hearts.push(heart.clone());
        heart
    }

    fn start_uplink(
        &mut self,
        config: &Config,
        reader: store::Reader,
        status: watch::Sender<uplink::Status>,
        vitals: uplink::Vitals,
    ) -> Result<(), GatewayError> {
        let around = uplink::Surroundings {
            clock: Arc::clone(&self.clock),
            random: Box::new(SystemRandomness::new()),
            status,
            alive: {
                let heart = self.heart(FEEDER);
                Box::new(move |now| heart.beat(now))
            },
            vitals: Some(vitals),
            stop: self.stop_uplink.subscribe(),
        };
        let uplink = uplink::assemble(config.uplink.clone(), reader, around)?;
        self.supervisor
            .thread(FEEDER, move || {
                uplink.feeder.run();
                Ok(())
            })
            .map_err(|source| GatewayError::System { what: "a thread", source })?;
        self.supervisor.task("connections", async move {
            uplink.connections.run().await;
            Ok(())
        });
        self.supervisor.task("uplink", async move {
            uplink.driver.run().await;
            Ok(())
        });
        Ok(())
    }

    fn start_intake(
        &mut self,
        intake: Intake<store::Writer>,
        reports: mpsc::Receiver<Report>,
    ) -> Result<watch::Receiver<Shown>, GatewayError> {
        let (sender, shown) = watch::channel(Shown::default());
        let pump = Pump {
            reports,
            clock: Arc::clone(&self.clock),
            runtime: tokio::runtime::Handle::current(),
            heart: self.heart(INTAKE),
            shown: sender,
        };
        self.supervisor
            .thread(INTAKE, move || {
                let writer = pump.run(intake)?;
                writer.close().map_err(|error| error.to_string())
            })
            .map_err(|source| GatewayError::System { what: "a thread", source })?;
        Ok(shown)
    }

    fn start_status(&mut self, socket: StatusSocket, sources: Sources) {
        let mut stop = self.stop_uplink.subscribe();
        self.supervisor.task("status", async move {
            tokio::select! {
                () = socket.serve(|| sources.snapshot()) => Ok(()),
                _ = stop.wait_for(|stop| *stop != Stop::Run) => Ok(()),
            }
        });
    }

    /// Runs until a signal comes or an essential part ends.
    async fn until_told(&mut self, signals: &mut Signals) -> Result<(), GatewayError> {
        // Fed twice as often as asked for, as the manual advises.
        let period = notify::watchdog_period().map_or(LOOK_AT_HEARTS, |period| period / 2);
        let mut look = tokio::time::interval(period);
        loop {
            tokio::select! {
                name = signals.next() => {
                    tracing::info!(signal = name, "told to stop");
                    return Ok(());
                }
                end = self.supervisor.next_end() => if let Some((part, end)) = end {
                    let why = match end {
                        End::Finished => "without a reason".to_owned(),
                        End::Failed(why) => why,
                        End::Panicked(why) => format!("panic: {why}"),
                    };
                    return Err(GatewayError::Part { part, why });
                },
                _ = look.tick() => {
                    let still = standing_still(&self.hearts, self.clock.now().mono, HEART_STANDS_STILL);
                    if still.is_empty() {
                        notify::alive();
                    } else {
                        tracing::error!(?still, "stands still: the watchdog is not fed");
                    }
                }
            }
        }
    }

    /// Stops the left end and lets the rest run dry, within the grace period.
    async fn drain(mut self, signals: &mut Signals) -> Result<(), GatewayError> {
        let _ = self.stop_sessions.send(true);
        self.reports = None;
        let grace = tokio::time::sleep(self.grace);
        tokio::pin!(grace);
        let mut trouble = None;
        loop {
            if !self.supervisor.running().contains(&INTAKE) {
                // All is on disk. The uplink may now finish what is in flight.
                self.stop_uplink.send_if_modified(|stop| {
                    let first = *stop == Stop::Run;
                    *stop = Stop::Finish { grace: self.grace / 2 };
                    first
                });
            }
            tokio::select! {
                biased;
                end = self.supervisor.next_end() => match end {
                    None => break,
                    Some((_, End::Finished)) => {}
                    Some((part, End::Failed(why) | End::Panicked(why))) => {
                        trouble = Some(GatewayError::Part { part, why });
                    }
                },
                () = &mut grace => {
                    return Err(GatewayError::Grace { left: self.supervisor.running().join(", ") });
                }
                name = signals.next() => {
                    tracing::warn!(signal = name, "told again: ending at once");
                    return Err(GatewayError::Grace { left: self.supervisor.running().join(", ") });
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }
}

/// The signals that end the daemon.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, GatewayError> {
        let listen = |kind| signal(kind).map_err(|source| GatewayError::System { what: "signals", source });
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
