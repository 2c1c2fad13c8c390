//! The thread around the intake: takes what waits in the channel, looks at the clock, lets the
//! intake decide, and shows the gate's counters to whoever watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::intake::{Durable, Intake};
use crate::device::{Report, ReportBody};
use crate::host::heartbeat::Heartbeat;
use crate::policy::{DeviceState, Gatekeeper, Refusal};
use crate::time::{Clock, Mono};

/// How many reports are taken out of the channel at once.
const BATCH: usize = 1_024;

/// The longest that a turn of the loop waits: the heart must beat.
const TURN: Duration = Duration::from_millis(500);

/// How long the end may take when the store does not take the last blocks.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What the pump needs besides its intake.
pub struct Pump {
    /// Where reports come from; the end of all senders is the end of the pump.
    pub reports: mpsc::Receiver<Report>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// For timed waits.
    pub runtime: Handle,
    /// Beats with each turn.
    pub heart: Heartbeat,
    /// Where the state of the devices is shown, at most once a turn.
    pub shown: watch::Sender<Shown>,
}

/// What the pump shows to the outside.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Each device of the allowlist, in its order.
    pub devices: Vec<DeviceState>,
    /// Records made durable since the start, by lane in the order of `Lane::ALL`.
    pub durable: [u64; 3],
    /// Why the store does not take blocks at the moment.
    pub store_error: Option<String>,
}

impl Pump {
    /// Pumps until nobody can report any more and all is durable. Gives the store back, or what
    /// kept it from taking the last blocks.
    pub fn run<S: Durable>(mut self, mut intake: Intake<S>) -> Result<S, String> {
        // Room for one batch on top of what an earlier one had to leave.
        let mut taken = Vec::with_capacity(BATCH);
        let mut waiting: VecDeque<Report> = VecDeque::with_capacity(BATCH);
        let mut shown_at: Option<Mono> = None;
        loop {
            let now = self.clock.now();
            self.heart.beat(now.mono);
            intake.handle_timeout(now);
            if shown_at.is_none_or(|at| now.mono.since(at) >= TURN) {
                intake.handle_tick(now);
                self.show(&intake);
                shown_at = Some(now.mono);
            }
            let wait = intake.poll_timeout().map_or(TURN, |due| due.since(now.mono).min(TURN));
            self.hand_over(&mut waiting, &mut intake);
            if intake.must_wait() {
                self.runtime.block_on(async { tokio::time::sleep(wait).await });
                continue;
            }
            let received =
                async { tokio::time::timeout(wait, self.reports.recv_many(&mut taken, BATCH)).await };
            match self.runtime.block_on(received) {
                Err(_) => {}
                Ok(0) => break,
                Ok(_) => waiting.extend(taken.drain(..)),
            }
            self.hand_over(&mut waiting, &mut intake);
        }
        self.end(intake)
    }

    /// Hands over what waits, in order, as far as the intake can take it.
    fn hand_over<S: Durable>(&self, waiting: &mut VecDeque<Report>, intake: &mut Intake<S>) {
        let now = self.clock.now();
        while !intake.must_wait() {
            let Some(report) = waiting.pop_front() else { return };
            let told = Told::of(&report);
            let device = report.device;
            intake.handle_report(report, now);
            told.log(intake.gate(), usize::from(device.0));
        }
    }

    /// Commits the rest, with patience for a store that is full at the moment.
    fn end<S: Durable>(&self, mut intake: Intake<S>) -> Result<S, String> {
        let deadline = self.clock.now().mono + END_WITHIN;
        loop {
            let now = self.clock.now();
            self.heart.beat(now.mono);
            if intake.handle_end(now) {
                self.show(&intake);
                return Ok(intake.into_store());
            }
            if now.mono >= deadline {
                let why = intake.last_error().unwrap_or("no reason given");
                return Err(format!("the last readings could not be stored: {why}"));
            }
            self.runtime.block_on(async { tokio::time::sleep(TURN).await });
        }
    }

    fn show<S: Durable>(&self, intake: &Intake<S>) {
        self.shown.send_replace(Shown {
            devices: intake.gate().snapshot().map(|(_, state)| state.clone()).collect(),
            durable: intake.durable(),
            store_error: intake.last_error().map(ToOwned::to_owned),
        });
    }
}

/// What of a report may be written to the log: never a value, never what a device says of itself.
enum Told {
    Up,
    Down(String),
    Identity,
    Observation,
    Fault(String),
}

impl Told {
    fn of(report: &Report) -> Self {
        match &report.body {
            ReportBody::Up => Self::Up,
            ReportBody::Down(why) => Self::Down(why.clone()),
            ReportBody::Identity(_) => Self::Identity,
            ReportBody::Observation(..) => Self::Observation,
            ReportBody::Fault(fault) => Self::Fault(fault.kind.to_string()),
        }
    }

    fn log(self, gate: &Gatekeeper, place: usize) {
        if !gate.is_worth_logging() {
            return;
        }
        let Some((rule, state)) = gate.snapshot().nth(place) else { return };
        let device = rule.card.id.as_str();
        match (self, state.quarantine()) {
            (Self::Up, _) => tracing::info!(device, "link up"),
            (Self::Down(why), _) => tracing::warn!(device, why, "link down"),
            (Self::Fault(kind), _) => tracing::warn!(device, kind, "the device sent something wrong"),
            (Self::Identity, Some(Refusal::Mismatch { field, .. })) => {
                tracing::error!(device, field, "another device than the allowlist says: quarantined");
            }
            (Self::Identity, _) => tracing::info!(device, "the device proved who it is"),
            (Self::Observation, _) => {
                tracing::warn!(device, "a reading was refused; `wardline status` says why");
            }
        }
    }
}
