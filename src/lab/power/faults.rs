//! Every operation fails once: a small life of the store, over and over, and each time the next
//! operation of the disk answers `ENOSPC` or `EIO`.
//!
//! In: a seed, how many of the operations to take. Out: a [`Walk`]. What is checked each time: no panic
//! reaches the caller; when the disk works again, everything that was refused is taken without anybody's
//! help; everything that was promised is there once, or counted in a gap record: in the same process,
//! after a kill, and after a power cut anywhere behind the fault. Gap records there are where the store
//! made room on a full disk, and where it could not read what it was to open. A sync that failed counts
//! for nothing, also when a later one succeeds (`disk/contents.rs`).

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::Serialize;

use super::cuts::expect_panics_of_sled;
use super::model::{Found, Model, Sort, Story, Wrong};
use super::report::{Failure, write_failures};
use super::scratch::Scratch;
use super::spool::{DISK, Setup};
use super::trial::{Terms, judge};
use super::workload::Life;
use crate::host::clock::SystemClock;
use crate::lab::disk::{Disk, Draw, Fault, Op, Replay, Tree, Trouble};
use crate::store::Limits;
use crate::time::Clock as _;

/// Power cuts behind each fault.
const CUTS: usize = 3;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct FaultPlan {
    /// From which everything is drawn.
    pub seed: u64,
    /// Of how many operations one is taken: 1 for each.
    pub every: u64,
    /// Only this trial, by its number.
    pub episode: Option<u64>,
}

/// What became of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Walk {
    /// The seed.
    pub seed: u64,
    /// Operations of the small life.
    pub operations: u64,
    /// Lives in which an operation failed.
    pub trials: u64,
    /// By the first call of the store that gave an error (or that none did): how often.
    pub answers: BTreeMap<String, u64>,
    /// Power cuts behind a fault.
    pub cuts: u64,
    /// Promised records found again.
    pub kept: u64,
    /// By the system's error: records that are not there and told of.
    pub told: BTreeMap<&'static str, u64>,
    /// Trials in which more was told of than was lost.
    pub overstated: u64,
    /// What starts found damaged, and how often.
    pub faults: BTreeMap<String, u64>,
    /// What was wrong.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: &dyn fmt::Display| writeln!(f, "  {what:<34}{value}");
        line("operations of the small life", &self.operations)?;
        line("lives in which one failed", &self.trials)?;
        for (answer, count) in &self.answers {
            line(&format!("  {answer}"), count)?;
        }
        line("power cuts behind the fault", &self.cuts)?;
        line("promised records found again", &self.kept)?;
        for (trouble, count) in &self.told {
            line(&format!("not there and told of, {trouble}"), count)?;
        }
        line("told of more than was lost", &self.overstated)?;
        for (fault, count) in &self.faults {
            line(&format!("  {fault}"), count)?;
        }
        line("took", &format!("{:.1} s", self.seconds))?;
        write_failures(f, &self.failures)
    }
}

/// Small segments, so that a short life sees several.
fn setup() -> Setup {
    let limits = Limits {
        bytes: 1024 * 1024,
        blocks: 3,
        age: Duration::from_secs(40),
        drained_bytes: 4 * 1024 * 1024,
    };
    Setup { limits, is_tight: false, is_long: false }
}

/// How many trials there are; it takes one life to know.
pub(super) fn count(plan: &FaultPlan) -> anyhow::Result<u64> {
    expect_panics_of_sled();
    let scratch = Scratch::new()?;
    let disk = Disk::mount(&scratch.disk(), Tree::default(), DISK)?;
    let mut life = Life::new(&disk, setup(), &Model::default(), plan.seed);
    let lived = script(&mut life);
    life.end();
    anyhow::ensure!(lived.is_ok() && life.errors.is_empty(), "the disk is well, and yet: {lived:?}");
    drop(life);
    let (seen, _) = disk.failed();
    disk.unmount()?;
    Ok(seen)
}

/// Does all that the plan says; `tick` is called after each trial.
pub fn walk(plan: &FaultPlan, tick: &dyn Fn()) -> anyhow::Result<Walk> {
    let clock = SystemClock::default();
    let began = clock.now().mono;
    let mut walk = Walk { seed: plan.seed, operations: count(plan)?, ..Walk::default() };
    let scratch = Scratch::new()?;
    let first = plan.seed % plan.every.max(1);
    for after in (0..walk.operations).filter(|after| after % plan.every.max(1) == first) {
        for (trouble, number) in Trouble::ALL.into_iter().zip(after * 2..) {
            if plan.episode.is_some_and(|only| only != number) {
                continue;
            }
            let mut draw = Draw::part(plan.seed, number);
            let times = [1, 1, 2, 5, 30].get(draw.place(5)).copied().unwrap_or(1);
            let fault = Fault { after, times, trouble, short: draw.in_eight(4) };
            if let Err(wrong) = trial(&mut walk, &scratch, plan, fault, &mut draw)? {
                let wrong = wrong.when(&format!("{fault:?}"));
                let again =
                    format!("wardline-lab power-cuts --faults --seed {} --episode {number}", plan.seed);
                walk.failures.push(Failure { sort: wrong.sort, words: wrong.words, again });
            }
            walk.trials += 1;
            tick();
        }
    }
    walk.seconds = clock.now().mono.since(began).as_secs_f64();
    Ok(walk)
}

/// What a life with a fault left.
struct Lived {
    record: Vec<Op>,
    story: Story,
}

/// One life in which something fails, and power cuts behind it.
fn trial(
    walk: &mut Walk,
    scratch: &Scratch,
    plan: &FaultPlan,
    fault: Fault,
    draw: &mut Draw,
) -> anyhow::Result<Result<(), Wrong>> {
    let disk = Disk::mount(&scratch.disk(), Tree::default(), DISK)?;
    disk.fail(Some(fault));
    let mut life = Life::new(&disk, setup(), &Model::default(), plan.seed);
    let result = catch_unwind(AssertUnwindSafe(|| live(&mut life, &disk)));
    life.end();
    let result = result.unwrap_or_else(|_| Err(Wrong::new(Sort::Panic, "it reached the caller")));
    let lived = Lived { record: disk.record(), story: std::mem::take(&mut life.story) };
    let errors = std::mem::take(&mut life.errors);
    let answer = errors.first().and_then(|error| error.split(':').next()).unwrap_or("no call noticed");
    *walk.answers.entry(format!("{} at first in: {answer}", fault.trouble.as_str())).or_default() += 1;
    for fault in std::mem::take(&mut life.faults) {
        *walk.faults.entry(fault).or_default() += 1;
    }
    drop(life);
    disk.unmount()?;
    let found = match result {
        Ok(found) => found,
        Err(wrong) => {
            return Ok(Err(wrong.when(&format!("after the store had said: {}", errors.join("; ")))));
        }
    };
    walk.kept += found.kept;
    *walk.told.entry(fault.trouble.as_str()).or_default() += found.told;
    match cut_behind(walk, &lived, scratch, draw)? {
        Ok(overstated) => walk.overstated += u64::from(overstated || found.overstated > 0),
        Err(wrong) => return Ok(Err(wrong)),
    }
    Ok(Ok(()))
}

/// Power cuts anywhere in such a life and at its end; whether more was told of than was lost.
fn cut_behind(
    walk: &mut Walk,
    lived: &Lived,
    scratch: &Scratch,
    draw: &mut Draw,
) -> anyhow::Result<Result<bool, Wrong>> {
    let length = lived.record.len();
    let mut cuts: Vec<usize> = (0..CUTS).map(|_| draw.place(length + 1)).collect();
    cuts.push(length);
    cuts.sort_unstable();
    let mut replay = Replay::new(&Tree::default());
    let mut overstated = false;
    for cut in cuts {
        for op in lived.record.get(replay.done()..cut).unwrap_or_default() {
            replay.handle(op, false);
        }
        let (tree, _) = replay.cut(draw.number());
        let mut model = Model::default();
        if let Err(wrong) = lived.story.before(cut).try_for_each(|event| model.handle(event)) {
            return Ok(Err(wrong));
        }
        let to_the_end = draw.in_eight(1);
        let terms = Terms { setup: setup(), may_drop: true, may_overstate: true, to_the_end };
        match judge(&tree, &model, terms, &scratch.after(), draw.number())? {
            Ok(verdict) => {
                walk.kept += verdict.found.kept;
                overstated |= verdict.found.overstated > 0;
                for fault in verdict.faults {
                    *walk.faults.entry(format!("after a cut: {fault}")).or_default() += 1;
                }
            }
            Err(wrong) => return Ok(Err(wrong.when(&format!("power cut at {cut} of {length}")))),
        }
        walk.cuts += 1;
    }
    Ok(Ok(overstated))
}

/// A little of everything that a store does.
fn script(life: &mut Life<'_>) -> Result<(), Wrong> {
    life.open()?;
    for _ in 0..7 {
        life.append()?;
    }
    life.read()?;
    life.acknowledge()?;
    life.maintain();
    for _ in 0..5 {
        life.append()?;
        life.read()?;
        life.acknowledge()?;
    }
    life.reopen()?;
    for _ in 0..4 {
        life.append()?;
        life.read()?;
        life.acknowledge()?;
    }
    life.maintain();
    Ok(())
}

/// The same with something failing, and what must hold then.
fn live(life: &mut Life<'_>, disk: &Disk) -> Result<Found, Wrong> {
    script(life)?;
    disk.fail(None);
    life.insist()?;
    let here = life.drain().map_err(|wrong| wrong.when("in the same process"))?;
    life.end();
    disk.thaw();
    life.open()?;
    let found = life.drain().map_err(|wrong| wrong.when("after a kill"))?;
    let (told, overstated) = (found.told.max(here.told), found.overstated.max(here.overstated));
    Ok(Found { told, overstated, ..found })
}
