//! The line from the intake to the broker: made and started, from its right end.
//!
//! Everything that may wait between two of its stages waits in a channel that is made here, and each has a bound.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::heartbeat::Beats;
use super::intake::Intake;
use super::pump::{Ordered, Pump, Shown};
use super::report::Origin;
use super::{FEEDER, GatewayError, INTAKE, certificate};
use crate::config::Config;
use crate::device::{Report, Settled};
use crate::envelope::block::BlockHeader;
use crate::host::audit::AuditLog;
use crate::host::heartbeat::Heartbeat;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::Supervisor;
use crate::identity::keeper;
use crate::policy::event::Event;
use crate::policy::hold::Holds;
use crate::policy::{DeviceRule, Gatekeeper};
use crate::store;
use crate::time::{Clock, Now};
use crate::uplink::post::Post;
use crate::uplink::{self, Stop};

/// How many reports may wait for the intake: some seconds of a busy ward, a few hundred KiB.
const REPORTS_WAITING: usize = 4_096;

/// How many events of the gateway itself may wait for the intake.
const EVENTS_WAITING: usize = 32;

/// What the stages that are started here have in common.
pub(super) struct Parts<'a> {
    supervisor: &'a mut Supervisor,
    clock: &'a Arc<dyn Clock>,
    stop: &'a watch::Sender<Stop>,
    hearts: Vec<Heartbeat>,
}

/// The line, and the ends of it that others need.
pub(super) struct Line {
    pub(super) uplink: uplink::Handle,
    pub(super) uplink_shown: watch::Receiver<uplink::Status>,
    pub(super) stats: store::Stats,
    pub(super) certificate: watch::Receiver<keeper::Status>,
    /// Where sessions report.
    pub(super) reports: mpsc::Sender<Report>,
    /// Where changes of the allowlist go.
    pub(super) to_intake: mpsc::Sender<Ordered>,
    /// Where events of the gateway itself go.
    pub(super) events: mpsc::Sender<Event>,
    /// Where it is told which devices are in quarantine.
    pub(super) holds: watch::Sender<Holds>,
    pub(super) shown: watch::Receiver<Shown>,
    pub(super) hearts: Vec<Heartbeat>,
}

/// What the gate begins with.
pub(super) struct Gate {
    pub(super) rules: Vec<DeviceRule>,
    /// Where the sessions are told what was settled, one for each rule.
    pub(super) told: Vec<watch::Sender<Settled>>,
    /// Those that stood when the daemon ended, and those that stand.
    pub(super) holds: [Holds; 2],
    pub(super) started: Now,
}

impl<'a> Parts<'a> {
    pub(super) const fn new(
        supervisor: &'a mut Supervisor,
        clock: &'a Arc<dyn Clock>,
        stop: &'a watch::Sender<Stop>,
    ) -> Self {
        Self { supervisor, clock, stop, hearts: Vec::new() }
    }

    /// Starts the line from its right end: who takes is there before who gives.
    pub(super) fn line(
        mut self,
        config: &Config,
        (writer, reader): (store::Writer, store::Reader),
        (header, gate): (&BlockHeader, Gate),
        (origin, post, in_force): (&Arc<Origin>, Option<Post>, watch::Receiver<Arc<Config>>),
    ) -> Result<Line, GatewayError> {
        let stats = writer.stats();
        let (standing, certificate) = watch::channel(keeper::Status::default());
        let beats = Beats::new(Arc::clone(origin), stats.clone(), certificate.clone());
        let (says, uplink_shown) = watch::channel(uplink::Status::default());
        let uplink = self.uplink(config, reader, (says, beats, self.stop.subscribe(), post))?;

        let (reports, waiting) = mpsc::channel(REPORTS_WAITING);
        let (to_intake, changes) = mpsc::channel(1);
        let (events, told_events) = mpsc::channel(EVENTS_WAITING);
        let Gate { rules, told, holds, started } = gate;
        let [kept, holds] = holds;
        let (holds, held) = watch::channel(holds);
        let mut gate = Gatekeeper::new(rules).with_holds(kept);
        gate.handle_holds(held.borrow().clone(), started);
        let intake = Intake::new(gate, writer, header, config.store.linger, told)
            .with_audit(AuditLog::beside(&config.store.folder));
        let shown = self.intake(intake, waiting, (changes, told_events, held, in_force))?;
        let ends = self.stop.subscribe();
        self.certificate(&config.uplink, (&uplink, &uplink_shown), (standing, events.clone()), ends);
        let hearts = self.hearts;
        Ok(Line {
            uplink,
            uplink_shown,
            stats,
            certificate,
            reports,
            to_intake,
            events,
            holds,
            shown,
            hearts,
        })
    }

    fn heart(&mut self, name: &'static str) -> Heartbeat {
        let heart = Heartbeat::new(name, self.clock.now().mono);
        self.hearts.push(heart.clone());
        heart
    }

    fn uplink(
        &mut self,
        config: &Config,
        reader: store::Reader,
        (status, beats, stop, post): (
            watch::Sender<uplink::Status>,
            Beats,
            watch::Receiver<Stop>,
            Option<Post>,
        ),
    ) -> Result<uplink::Handle, GatewayError> {
        let around = uplink::Surroundings {
            clock: Arc::clone(self.clock),
            random: Box::new(SystemRandomness::new()),
            status,
            alive: {
                let heart = self.heart(FEEDER);
                Box::new(move |now| heart.beat(now))
            },
            vitals: Some(Box::new(move |now| beats.beat(now))),
            post,
            stop,
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
        Ok(uplink.handle)
    }

    fn certificate(
        &mut self,
        config: &uplink::Config,
        (uplink, shown): (&uplink::Handle, &watch::Receiver<uplink::Status>),
        (standing, events): (watch::Sender<keeper::Status>, mpsc::Sender<Event>),
        stop: watch::Receiver<Stop>,
    ) {
        let (clock, uplink, shown) = (Arc::clone(self.clock), uplink.clone(), shown.clone());
        let around = certificate::Around { clock, uplink, shown, standing, events, stop };
        certificate::start(self.supervisor, config, around);
    }

    fn intake(
        &mut self,
        intake: Intake<store::Writer>,
        reports: mpsc::Receiver<Report>,
        (changes, events, holds, in_force): (
            mpsc::Receiver<Ordered>,
            mpsc::Receiver<Event>,
            watch::Receiver<Holds>,
            watch::Receiver<Arc<Config>>,
        ),
    ) -> Result<watch::Receiver<Shown>, GatewayError> {
        let (sender, shown) = watch::channel(Shown::default());
        let pump = Pump {
            reports,
            changes,
            events,
            holds,
            in_force: Some(in_force),
            clock: Arc::clone(self.clock),
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
}
