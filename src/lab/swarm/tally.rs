//! What happened to every gateway, and when: the swarm's own eyes, beside the reports.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::fleet::member::Told;
use crate::time::{Clock, ClockSync, Mono, Now, Wall};

/// The system's clock, taken to follow a reference: what a gateway does without one is another test's question.
pub(super) struct Steered<C>(pub(super) C);

impl<C: Clock> Clock for Steered<C> {
    fn now(&self) -> Now {
        Now { sync: ClockSync::Synced, max_error_us: 1_000, ..self.0.now() }
    }
}

/// What happened to a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// CONNACK came.
    Online,
    /// It is not connected, and has failed so often in a row.
    Waits(u32),
    /// Its member said something.
    Told(Told),
}

/// What happened, to whom, when.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) at: Mono,
    pub(super) wall: Wall,
    pub(super) gateway: usize,
    pub(super) what: What,
}

/// Everything that happened.
#[derive(Clone)]
pub(super) struct Tally(Arc<Shared>);

struct Shared {
    events: Mutex<Vec<Event>>,
    more: Condvar,
    clock: Arc<dyn Clock>,
}

impl Tally {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared { events: Mutex::default(), more: Condvar::new(), clock }))
    }

    pub(super) fn now(&self) -> Now {
        self.0.clock.now()
    }

    pub(super) fn note(&self, gateway: usize, what: What) {
        let now = self.now();
        let event = Event { at: now.mono, wall: now.wall, gateway, what };
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        self.0.more.notify_all();
    }

    /// Looks at everything so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Event]) -> T) -> T {
        look(&self.0.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until this holds of everything so far. `false`: it did not, for so long.
    pub(super) fn wait(&self, within: Duration, holds: impl Fn(&[Event]) -> bool) -> bool {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.more.wait_timeout_while(events, within, |events| !holds(events));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Lets time pass.
    pub(super) fn pass(&self, time: Duration) {
        self.wait(time, |_| false);
    }

    /// How many are online by the last that was seen of each.
    pub(super) fn online(events: &[Event]) -> usize {
        let mut last = BTreeMap::new();
        for event in events {
            match event.what {
                What::Online => last.insert(event.gateway, true),
                What::Waits(_) => last.insert(event.gateway, false),
                What::Told(_) => None,
            };
        }
        last.values().filter(|is_online| **is_online).count()
    }
}

/// Those that began a bundle, and when first.
pub(super) fn began(events: &[Event], version: u64) -> BTreeMap<usize, Wall> {
    let mut began = BTreeMap::new();
    for event in events {
        if matches!(&event.what, What::Told(Told::Began(one, _)) if *one == version) {
            began.entry(event.gateway).or_insert(event.wall);
        }
    }
    began
}

/// Those to whom this happened.
pub(super) fn those(events: &[Event], of: impl Fn(&Told) -> bool) -> Vec<usize> {
    let mut those: Vec<usize> = events
        .iter()
        .filter(|event| matches!(&event.what, What::Told(told) if of(told)))
        .map(|event| event.gateway)
        .collect();
    those.sort_unstable();
    those.dedup();
    those
}

/// How the gateways came back after the broker was gone.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Return {
    /// How long the broker was away, in seconds; 0: it was started again at once.
    pub(super) outage_s: u64,
    /// Connections in each second, from the moment on that the broker listened again.
    pub(super) per_second: Vec<usize>,
    /// The most of them.
    pub(super) peak: usize,
    /// Until when half, nine in ten and all were back, in seconds.
    pub(super) half_s: f64,
    pub(super) most_s: f64,
    pub(super) all_s: f64,
    /// Attempts that failed, in all.
    pub(super) failed_attempts: usize,
    /// The most that back-off with full jitter lets one expect in a second, and what is still taken for chance.
    pub(super) expected_peak: f64,
    pub(super) bound: f64,
}

impl Return {
    /// From what happened since the broker went, and since it listened again.
    pub(super) fn of(events: &[Event], gone: Mono, back: Mono, outage: u64) -> Self {
        let mut first: BTreeMap<usize, Mono> = BTreeMap::new();
        let mut per_second = Vec::new();
        let mut failed_attempts = 0;
        for event in events.iter().filter(|event| event.at >= gone) {
            match event.what {
                What::Online if event.at >= back => {
                    first.entry(event.gateway).or_insert(event.at);
                    let second = usize::try_from(event.at.since(back).as_secs()).unwrap_or(usize::MAX);
                    if per_second.len() <= second && second < 3_600 {
                        per_second.resize(second + 1, 0);
                    }
                    if let Some(count) = per_second.get_mut(second) {
                        *count += 1;
                    }
                }
                What::Waits(failures) if failures > 1 => failed_attempts += 1,
                What::Online | What::Waits(_) | What::Told(_) => {}
            }
        }
        let mut times: Vec<f64> = first.values().map(|at| at.since(back).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        let expected_peak = expected(times.len(), outage);
        Self {
            outage_s: outage,
            peak: per_second.iter().copied().max().unwrap_or(0),
            per_second,
            half_s: part(&times, 50),
            most_s: part(&times, 90),
            all_s: part(&times, 100),
            failed_attempts,
            expected_peak,
            bound: expected_peak + 4.0 * expected_peak.sqrt() + 2.0,
        }
    }
}

/// Full jitter whose ceiling doubles: attempts of one gateway at `t` seconds after the loss come at 1 / (t ln 2) each
/// second, as one follows for every doubling of `t`. Within the first ceiling, of one second, all come.
#[expect(clippy::cast_precision_loss, reason = "a number of gateways")]
fn expected(gateways: usize, outage: u64) -> f64 {
    gateways as f64 / (outage.max(1) as f64 * std::f64::consts::LN_2).max(1.0)
}

/// The value at so many percent.
pub(super) fn part(sorted: &[f64], percent: usize) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0.0)
}
