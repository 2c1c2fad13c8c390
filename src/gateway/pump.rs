//! The thread around the intake: takes what waits in the channel, looks at the clock, lets the
//! intake decide, and shows the gate's counters to whoever watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use super::intake::{Change, Durable, Intake};
use crate::config::Config;
use crate::device::{DeviceIndex, Report, ReportBody};
use crate::host::heartbeat::Heartbeat;
use crate::policy::event::Event;
use crate::policy::hold::Holds;
use crate::policy::{DeviceRule, DeviceState, Gatekeeper, Misplaced, Refusal};
use crate::time::{Clock, Mono, Now};

/// How many reports are taken out of the channel at once.
const BATCH: usize = 1_024;

/// The longest that a turn of the loop waits: the heart must beat.
const TURN: Duration = Duration::from_millis(500);

/// How often the store is looked after.
const UPKEEP: Duration = Duration::from_secs(1);

/// How long the end may take when the store does not take the last blocks.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What the pump needs besides its intake.
pub struct Pump {
    /// Where reports come from; the end of all senders is the end of the pump.
    pub reports: mpsc::Receiver<Report>,
    /// Where changes of the allowlist come from. One is carried out behind every report that was in the channel
    /// when it came.
    pub changes: mpsc::Receiver<Ordered>,
    /// What the gateway has to say of itself.
    pub events: mpsc::Receiver<Event>,
    /// Devices in quarantine by an advisory.
    pub holds: watch::Receiver<Holds>,
    /// The configuration that holds; `None`: it stays the one that the intake began with.
    pub in_force: Option<watch::Receiver<Arc<Config>>>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// For timed waits.
    pub runtime: Handle,
    /// Beats with each turn.
    pub heart: Heartbeat,
    /// Where the state of the devices is shown, at most once a turn.
    pub shown: watch::Sender<Shown>,
}

/// A change of the allowlist, and who waits for it.
#[derive(Debug)]
pub struct Ordered {
    /// The change.
    pub change: Change,
    /// Told when it was carried out.
    pub done: oneshot::Sender<Result<(), Misplaced>>,
}

/// What was taken out of the channels and waits for the intake.
struct Waiting {
    reports: VecDeque<Report>,
    /// A change, and how many reports go before it.
    change: Option<(Ordered, usize)>,
}

/// What the pump shows to the outside.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Each device of the allowlist, in the order in which they were listed.
    pub devices: Vec<(Arc<DeviceRule>, DeviceState)>,
    /// Records made durable since the start, by lane in the order of `Lane::ALL`.
    pub durable: [u64; 3],
    /// Whether no report is taken, as the store does not take blocks and there is room for no more.
    pub must_wait: bool,
    /// Why the store does not take blocks at the moment.
    pub store_error: Option<String>,
    /// Whether the intake has had its first turn.
    pub is_known: bool,
}

impl Pump {
    /// Pumps until nobody can report any more and all is durable. Gives the store back, or what
    /// kept it from taking the last blocks.
    pub fn run<S: Durable>(mut self, mut intake: Intake<S>) -> Result<S, String> {
        // Room for one batch on top of what an earlier one had to leave.
        let mut taken = Vec::with_capacity(BATCH);
        let mut waiting = Waiting { reports: VecDeque::with_capacity(BATCH), change: None };
        let (mut shown_at, mut upkeep_at, mut looked_at): (Option<Mono>, Option<Mono>, Option<Mono>) =
            (None, None, None);
        loop {
            let now = self.clock.now();
            self.heart.beat(now.mono);
            self.heed(&mut intake, now);
            intake.handle_timeout(now);
            if shown_at.is_none_or(|at| now.mono.since(at) >= TURN) {
                self.show(&intake);
                shown_at = Some(now.mono);
            }
            if upkeep_at.is_none_or(|at| now.mono.since(at) >= UPKEEP) {
                intake.handle_upkeep(now);
                upkeep_at = Some(now.mono);
            }
            let wait = intake.poll_timeout().map_or(TURN, |due| due.since(now.mono).min(TURN));
            self.hand_over(&mut waiting, &mut intake);
            if intake.must_wait() {
                if self.reports.is_closed() {
                    // The end: what still waits gets its last chances there.
                    waiting.reports.extend(std::iter::from_fn(|| self.reports.try_recv().ok()));
                    break;
                }
                self.runtime.block_on(async { tokio::time::sleep(wait).await });
                continue;
            }
            let all = match self.receive(&mut taken, (wait, waiting.change.is_none())) {
                Received::Nothing => true,
                Received::Change(change) => {
                    // Whoever ordered it has ended the sessions before: all that they said is in the channel.
                    waiting.change = Some((change, waiting.reports.len() + self.reports.len()));
                    false
                }
                Received::Event(event) => {
                    intake.handle_event(&event, self.clock.now());
                    false
                }
                Received::Reports(0) => break,
                Received::Reports(count) => count < BATCH,
            };
            waiting.reports.extend(taken.drain(..));
            self.hand_over(&mut waiting, &mut intake);
            // What waits in the channel is no silence: looked for when it was emptied.
            if all && waiting.reports.is_empty() && looked_at.is_none_or(|at| now.mono.since(at) >= TURN) {
                intake.handle_silence(now);
                looked_at = Some(now.mono);
            }
        }
        self.end(intake, waiting)
    }

    /// Takes what holds from here on. Nobody who would say so: then nothing is another.
    fn heed<S: Durable>(&mut self, intake: &mut Intake<S>, now: Now) {
        if self.holds.has_changed().unwrap_or(false) {
            let holds = self.holds.borrow_and_update().clone();
            intake.handle_holds(holds, now);
        }
        if let Some(in_force) = &mut self.in_force
            && in_force.has_changed().unwrap_or(false)
        {
            intake.handle_settings(&in_force.borrow_and_update().store);
        }
    }

    /// Waits for reports or, when it may, for a change.
    fn receive(&mut self, taken: &mut Vec<Report>, (wait, takes_change): (Duration, bool)) -> Received {
        let Self { reports, changes, events, runtime, .. } = self;
        runtime.block_on(async {
            tokio::select! {
                biased;
                // Nobody who could order one: then there is none.
                Some(change) = changes.recv(), if takes_change => Received::Change(change),
                Some(event) = events.recv() => Received::Event(event),
                count = reports.recv_many(taken, BATCH) => Received::Reports(count),
                () = tokio::time::sleep(wait) => Received::Nothing,
            }
        })
    }

    /// Hands over what waits, in order, as far as the intake can take it.
    fn hand_over<S: Durable>(&self, waiting: &mut Waiting, intake: &mut Intake<S>) {
        let now = self.clock.now();
        while !intake.must_wait() {
            if let Some((Ordered { change, done }, _)) = waiting.change.take_if(|(_, before)| *before == 0) {
                let changed = intake.handle_change(change, now);
                self.show(intake);
                // Who asked may have given up: it is done all the same.
                let _ = done.send(changed);
                continue;
            }
            let Some(report) = waiting.reports.pop_front() else { return };
            if let Some((_, before)) = &mut waiting.change {
                *before -= 1;
            }
            let told = Told::of(&report);
            let device = report.device;
            intake.handle_report(report, now);
            told.log(intake.gate(), device);
        }
    }

    /// Commits the rest, with patience for a store that is full at the moment. What it cannot commit
    /// was never called durable; how much it is, is said.
    fn end<S: Durable>(&self, mut intake: Intake<S>, mut waiting: Waiting) -> Result<S, String> {
        let deadline = self.clock.now().mono + END_WITHIN;
        loop {
            let now = self.clock.now();
            self.heart.beat(now.mono);
            self.hand_over(&mut waiting, &mut intake);
            if intake.handle_end(now) && waiting.reports.is_empty() {
                self.show(&intake);
                return Ok(intake.into_store());
            }
            if now.mono >= deadline {
                let (lost, unread) = (intake.pending(), waiting.reports.len());
                let why = intake.last_error().unwrap_or("no reason given");
                return Err(format!(
                    "{lost} admitted readings and {unread} reports behind them could not be stored and are lost: {why}"
                ));
            }
            self.runtime.block_on(async { tokio::time::sleep(TURN).await });
        }
    }

    fn show<S: Durable>(&self, intake: &Intake<S>) {
        self.shown.send_replace(Shown {
            devices: intake
                .gate()
                .snapshot()
                .map(|(rule, state)| (Arc::clone(rule), state.clone()))
                .collect(),
            durable: intake.durable(),
            must_wait: intake.must_wait(),
            store_error: intake.last_error().map(ToOwned::to_owned),
            is_known: true,
        });
    }
}

/// What came.
enum Received {
    Reports(usize),
    Change(Ordered),
    Event(Event),
    Nothing,
}

/// What of a report may be written to the log: never a value, never what a device says of itself.
enum Told {
    Up,
    /// Nothing to be told, or told as the event that it leads to.
    Quiet,
    Down(String),
    Identity,
    Observation,
    Fault(String),
}

impl Told {
    fn of(report: &Report) -> Self {
        match &report.body {
            ReportBody::Up => Self::Up,
            ReportBody::Insecure | ReportBody::Commit | ReportBody::Pin(..) => Self::Quiet,
            ReportBody::Down(why) => Self::Down(why.clone()),
            ReportBody::Identity(_) => Self::Identity,
            ReportBody::Observation(..) | ReportBody::Unlisted(_) => Self::Observation,
            ReportBody::Fault(fault) => Self::Fault(fault.kind.to_string()),
        }
    }

    fn log(self, gate: &Gatekeeper, device: DeviceIndex) {
        if !gate.is_worth_logging() {
            return;
        }
        let Some((rule, state)) = gate.of(device) else { return };
        let device = rule.card.id.as_str();
        match (self, state.quarantine()) {
            (Self::Quiet, _) => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::observation::Lane;
    use crate::envelope::block::{BlockHeader, PlainBlock};
    use crate::store::{Seq, StoreError};
    use crate::time::BootId;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Every look at it is 400 ms after the last.
    #[derive(Default)]
    struct Steps(AtomicU64);

    impl Clock for Steps {
        fn now(&self) -> Now {
            let step = self.0.fetch_add(1, Ordering::Relaxed);
            Now { mono: Mono::from_nanos(step * 400_000_000), ..Now::default() }
        }
    }

    struct Kept(watch::Sender<Vec<Mono>>);

    impl Durable for Kept {
        fn append(&mut self, lane: Lane, _: &PlainBlock, _: Now) -> Result<Seq, StoreError> {
            Ok(Seq { lane, segment: 1, block: 0 })
        }

        fn maintain(&mut self, now: Now) -> Result<(), StoreError> {
            self.0.send_modify(|at| at.push(now.mono));
            Ok(())
        }
    }

    #[test]
    fn the_store_is_looked_after_although_nothing_comes_in() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (sender, reports) = mpsc::channel(1);
        let (looked_after, mut seen) = watch::channel(Vec::new());
        let header = BlockHeader { boot: BootId::default(), run: 1, devices: Vec::new() };
        let gate = Gatekeeper::new(Vec::new());
        let intake = Intake::new(gate, Kept(looked_after), &header, Duration::ZERO, Vec::new());
        let pump = Pump {
            reports,
            changes: mpsc::channel(1).1,
            events: mpsc::channel(1).1,
            holds: watch::channel(Holds::new()).1,
            in_force: None,
            clock: Arc::new(Steps::default()),
            runtime: runtime.handle().clone(),
            heart: Heartbeat::new("intake", Mono::default()),
            shown: watch::channel(Shown::default()).0,
        };
        let at = std::thread::scope(|scope| {
            let pumping = scope.spawn(move || pump.run(intake).map(drop));
            let three = async { seen.wait_for(|at| at.len() >= 3).await.unwrap().clone() };
            let at = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), three).await });
            drop(sender);
            pumping.join().unwrap().unwrap();
            at.expect("three times within the time")
        });
        assert!(at.windows(2).all(|pair| pair[1].since(pair[0]) >= UPKEEP), "{at:?}");
    }
}

#[cfg(test)]
#[path = "pump/ending_tests.rs"]
mod ending;
