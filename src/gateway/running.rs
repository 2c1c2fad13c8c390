//! The daemon while it runs: until it is told to stop, and then until all is on disk. In between it takes other
//! configurations.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::allowlist::Ledger;
use super::change::{Plan, swaps};
use super::changer::{Means, Progress, Ready, Refused, Request, Work};
use super::handover::Step;
use super::pump::{Ordered, Shown};
use super::reading::read_settled;
use super::roster::Roster;
use super::sessions::Sessions;
use super::{GatewayError, INTAKE, Reread};
use crate::config::{Config, Problems};
use crate::device::Report;
use crate::host::heartbeat::{Heartbeat, standing_still};
use crate::host::supervisor::{End, Supervisor};
use crate::host::{log, notify};
use crate::store;
use crate::time::Clock;
use crate::uplink::{self, Stop};

/// How long a heart may stand still before the watchdog is no longer fed.
pub(super) const HEART_STANDS_STILL: Duration = Duration::from_secs(10);

/// How often the hearts are looked at when no service manager says how often.
const LOOK_AT_HEARTS: Duration = Duration::from_secs(10);

/// Everything that runs, and how to end it.
pub(super) struct Running {
    pub(super) supervisor: Supervisor,
    pub(super) stop_uplink: watch::Sender<Stop>,
    pub(super) hearts: Vec<Heartbeat>,
    pub(super) clock: Arc<dyn Clock>,
    /// Keeps the intake waiting while no session can report: a gateway may have no device.
    pub(super) reports: Option<mpsc::Sender<Report>>,
    pub(super) present: Present,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) reread: Reread,
}

/// What holds at the moment, and what a change of it needs.
pub(super) struct Present {
    pub(super) config: Config,
    pub(super) roster: Roster,
    pub(super) sessions: Sessions,
    /// See [`super::changer::mark`].
    pub(super) mark: String,
    pub(super) uplink: uplink::Handle,
    pub(super) intake: mpsc::Sender<Ordered>,
    /// The configuration that holds, for whoever asks.
    pub(super) in_force: watch::Sender<Arc<Config>>,
    pub(super) shown: watch::Receiver<Shown>,
    /// The store's numbers.
    pub(super) stats: store::Stats,
}

/// Who waits for a change; nobody when the operator asked by SIGHUP.
type Asker = Option<oneshot::Sender<Result<Plan, Refused>>>;

/// What is under way besides the line itself. One at a time.
#[derive(Default)]
enum Underway {
    #[default]
    Nothing,
    /// The files are read again.
    Reading(BoxFuture<'static, Option<Result<Config, Problems>>>),
    /// A change is carried out.
    Changing(Work, Asker),
}

/// What came of it.
enum Came {
    Read(Option<Result<Box<Config>, Problems>>),
    Changed(Result<Box<Ready>, Refused>),
}

impl Underway {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    /// A step of it, or its end. Cancel-safe: what is under way stays.
    async fn next(&mut self) -> Result<Step, Came> {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Reading(reading) => Err(Came::Read(reading.await.map(|read| read.map(Box::new)))),
            Self::Changing(work, _) => match work.next().await {
                Progress::Step(step) => Ok(step),
                Progress::Done(done) => Err(Came::Changed(done)),
            },
        }
    }
}

impl Present {
    /// Begins a change: nothing of it waits for anything but `Work`.
    fn begin(&self, config: Config, clock: &Arc<dyn Clock>) -> Result<(Plan, Option<Work>), Refused> {
        let plan = Plan::between(&self.config, &config);
        if !plan.restart.is_empty() {
            return Err(Refused::NeedsRestart { keys: plan.restart });
        }
        if plan.is_empty() {
            return Ok((plan, None));
        }
        Ok((plan.clone(), Some(self.work(plan, config, clock))))
    }

    /// The same configuration, and a new connection to the broker.
    fn begin_renewal(&self, clock: &Arc<dyn Clock>) -> Work {
        self.work(Plan { uplink: true, ..Plan::default() }, self.config.clone(), clock)
    }

    fn work(&self, plan: Plan, config: Config, clock: &Arc<dyn Clock>) -> Work {
        let means = Means {
            roster: self.roster.clone(),
            swaps: swaps(&plan, (&self.config, &config), real),
            before: (self.config.store.clone(), self.config.uplink.clone()),
            stats: self.stats.clone(),
            ward: config.keys.ward.clone(),
            mark: self.mark.clone(),
            uplink: self.uplink.clone(),
            stoppers: self.sessions.stoppers(plan.stops()),
            intake: self.intake.clone(),
            shown: self.shown.clone(),
            notebooks: self.sessions.notebooks(),
            ledger: Ledger::beside(&self.config.store.folder),
            clock: Arc::clone(clock),
        };
        Work::new(plan, config, means)
    }

    /// Ends a change: from here on the new configuration holds.
    fn finish(&mut self, ready: Ready) -> Plan {
        let Ready { plan, config, roster } = ready;
        self.sessions.settle();
        log::set(config.log.filter());
        self.in_force.send_replace(Arc::new(config.clone()));
        (self.config, self.roster) = (config, roster);
        plan
    }
}

impl Running {
    /// Runs until a signal comes or an essential part ends.
    pub(super) async fn until_told(&mut self, signals: &mut Signals) -> Result<(), GatewayError> {
        // Fed twice as often as asked for, as the manual advises.
        let period = notify::watchdog_period().map_or(LOOK_AT_HEARTS, |period| period / 2);
        let mut look = tokio::time::interval(period);
        let mut underway = Underway::default();
        loop {
            tokio::select! {
                name = told(&mut signals.terminate, &mut signals.interrupt) => {
                    tracing::info!(signal = name, "told to stop");
                    return Ok(());
                }
                end = self.supervisor.next_end() => if let Some((part, end)) = end {
                    told_of_end(part, end)?;
                },
                _ = signals.hangup.recv(), if underway.is_nothing() => {
                    tracing::info!("told to read the configuration again");
                    let reread = Arc::clone(&self.reread);
                    underway = Underway::Reading(read_settled(reread).boxed());
                }
                Some(request) = self.requests.recv(), if underway.is_nothing() => {
                    underway = self.handle_request(request);
                }
                came = underway.next() => match came {
                    Ok(step) => self.take(step),
                    Err(came) => {
                        let before = std::mem::take(&mut underway);
                        underway = self.handle_end(came, before)?;
                    }
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

    fn handle_request(&mut self, request: Request) -> Underway {
        match request {
            Request::Change(config, asker) => self.begin(*config, Some(asker)),
            Request::Renew(asker) => Underway::Changing(self.present.begin_renewal(&self.clock), Some(asker)),
        }
    }

    fn begin(&mut self, config: Config, asker: Asker) -> Underway {
        match self.present.begin(config, &self.clock) {
            Ok((plan, Some(work))) => {
                tracing::info!(%plan, "another configuration");
                Underway::Changing(work, asker)
            }
            Ok((plan, None)) => {
                answer(Ok(plan), asker);
                Underway::Nothing
            }
            Err(refused) => {
                answer(Err(refused), asker);
                Underway::Nothing
            }
        }
    }

    /// Some sessions have ended, others begin.
    fn take(&mut self, Step { gone, seats }: Step) {
        self.present.sessions.change(&mut self.supervisor, &gone, seats);
    }

    /// What was under way is at its end.
    fn handle_end(&mut self, came: Came, before: Underway) -> Result<Underway, GatewayError> {
        let asker = match before {
            Underway::Changing(mut work, asker) => {
                while let Some(step) = work.rest() {
                    self.take(step);
                }
                asker
            }
            Underway::Nothing | Underway::Reading(_) => None,
        };
        match came {
            Came::Read(Some(Ok(config))) => return Ok(self.begin(*config, None)),
            Came::Read(Some(Err(problems))) => {
                for problem in problems.to_string().lines() {
                    tracing::error!(problem, "the configuration is not valid");
                }
                notify::status("running; the configuration that was read again is not valid: see the log");
                tracing::error!("nothing changes: the configuration of before holds");
            }
            Came::Read(None) => {
                tracing::error!("the configuration could not be read again: the one of before holds");
            }
            Came::Changed(Ok(ready)) => {
                let plan = self.present.finish(*ready);
                answer(Ok(plan), asker);
            }
            Came::Changed(Err(Refused::Misplaced(misplaced))) => {
                // Its sessions have ended and cannot begin: a daemon that starts anew has them all.
                answer(Err(Refused::Misplaced(misplaced)), asker);
                return Err(GatewayError::HalfWay(misplaced));
            }
            Came::Changed(Err(refused)) => answer(Err(refused), asker),
        }
        Ok(Underway::Nothing)
    }

    /// Stops the left end and lets the rest run dry, within the grace period.
    pub(super) async fn drain(mut self, signals: &mut Signals) -> Result<(), GatewayError> {
        let all = self.present.config.shutdown_grace;
        self.present.sessions.stop_all();
        self.reports = None;
        // Its sessions hold the way to the intake, as they hold their own stop.
        drop(self.present);
        let grace = tokio::time::sleep(all);
        tokio::pin!(grace);
        let mut trouble = None;
        loop {
            if !self.supervisor.running().contains(&INTAKE) {
                // All is on disk. The uplink may now finish what is in flight.
                self.stop_uplink.send_if_modified(|stop| {
                    let first = *stop == Stop::Run;
                    *stop = Stop::Finish { grace: all / 2 };
                    first
                });
            }
            tokio::select! {
                biased;
                end = self.supervisor.next_end() => match end {
                    None => break,
                    Some((_, End::Finished | End::LetGo)) => {}
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

/// What a port is below its name: names by-id and by-path may lead to the same. One that is not there is what it is
/// called.
fn real(port: &Path) -> PathBuf {
    port.canonicalize().unwrap_or_else(|_| port.to_owned())
}

/// An essential part that ends by itself is the end of the daemon.
fn told_of_end(part: &'static str, end: End) -> Result<(), GatewayError> {
    let why = match end {
        End::LetGo => return Ok(()),
        End::Finished => "without a reason".to_owned(),
        End::Failed(why) => why,
        End::Panicked(why) => format!("panic: {why}"),
    };
    Err(GatewayError::Part { part, why })
}

/// Tells what came of a change: whoever asked, the log and the service manager.
fn answer(result: Result<Plan, Refused>, asker: Asker) {
    match &result {
        Ok(plan) if plan.is_empty() => {
            tracing::info!("the configuration is the one that holds: nothing changes");
            notify::status("running; the configuration did not change");
        }
        Ok(plan) => {
            tracing::info!(%plan, "the configuration holds from here on");
            notify::status(&format!("running; configuration changed: {plan}"));
        }
        Err(refused @ (Refused::Misplaced(_) | Refused::Ending)) => {
            tracing::error!(why = %refused, "the configuration was not carried through, and the daemon ends");
        }
        Err(refused) => {
            tracing::error!(why = %refused, "the configuration is refused, the one of before holds");
            notify::status(&format!("running; a configuration was refused: {refused}"));
        }
    }
    if let Some(asker) = asker {
        // Who asked may have given up: it is in the log.
        let _ = asker.send(result);
    }
}

/// The signals that the daemon listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, GatewayError> {
        let listen = |kind| signal(kind).map_err(|source| GatewayError::System { what: "signals", source });
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// One that ends the daemon.
    async fn next(&mut self) -> &'static str {
        told(&mut self.terminate, &mut self.interrupt).await
    }
}

async fn told(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
