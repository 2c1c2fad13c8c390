//! Many cuts: chains of lives, each on what a cut in the life before it left.
//!
//! In: how many, from which seed, with which mistake. Out: a [`Summary`]. What never happens: a cut is
//! judged by a model that knows what happened after it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Once;

use super::harm::Harm;
use super::model::{Event, Model, Sort, Story, Wrong};
use super::report::{Failure, Summary};
use super::scratch::Scratch;
use super::spool::{DISK, Setup};
use super::trial::{Terms, judge};
use super::workload::{Length, Life};
use crate::host::clock::SystemClock;
use crate::lab::disk::{Disk, Draw, Op, Replay, Tree};
use crate::time::Clock as _;

/// Lives in a chain: a cut falls into the recovery from a cut in the recovery from a cut.
const LIVES: u64 = 4;
/// Cuts in one life.
const CUTS: u64 = 25;
/// States that are tried at one place when only that place is asked for.
const STATES: u64 = 16;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many cuts.
    pub cuts: u64,
    /// From which everything is drawn.
    pub seed: u64,
    /// Only this life, by its number in the whole run.
    pub episode: Option<u64>,
    /// Only this place in its record.
    pub cut: Option<usize>,
    /// The mistake that the store is to make.
    pub without: Option<Harm>,
    /// Whether to end with the first failure.
    pub stop_early: bool,
    /// Where to put the states that failed.
    pub keep: Option<PathBuf>,
}

/// What one life left.
struct Lived {
    base: Tree,
    before: Model,
    record: Vec<Op>,
    story: Story,
}

/// A run.
struct Run<'a> {
    plan: &'a Plan,
    scratch: Scratch,
    summary: Summary,
    tick: &'a dyn Fn(),
}

/// Does all that the plan says; `tick` is called after each cut.
pub fn run(plan: &Plan, tick: &dyn Fn()) -> anyhow::Result<Summary> {
    let clock = SystemClock::default();
    let began = clock.now().mono;
    expect_panics_of_sled();
    let mut run = Run { plan, scratch: Scratch::new()?, summary: Summary::new(plan), tick };
    let first = plan.episode.map_or(0, |episode| episode / LIVES);
    for chain in first.. {
        run.chain(chain)?;
        let is_found = plan.stop_early && !run.summary.failures.is_empty();
        // Where not even a life can be lived, no cut is ever counted.
        let is_hopeless = run.summary.failures.len() > 100 && run.summary.cuts == 0;
        if is_found || is_hopeless || plan.episode.is_some() || run.summary.cuts >= plan.cuts {
            break;
        }
    }
    run.summary.seconds = clock.now().mono.since(began).as_secs_f64();
    Ok(run.summary)
}

impl Run<'_> {
    fn is_over(&self) -> bool {
        self.summary.cuts >= self.plan.cuts || (self.plan.stop_early && !self.summary.failures.is_empty())
    }

    /// One chain: a new disk, and life after life on it.
    fn chain(&mut self, chain: u64) -> anyhow::Result<()> {
        let mut draw = Draw::part(self.plan.seed, chain);
        let setup = Setup::of(chain, &mut draw);
        let (mut base, mut model) = (Tree::default(), Model::default());
        for life in 0..LIVES {
            let episode = chain * LIVES + life;
            let is_asked_for = self.plan.episode.is_none_or(|only| only == episode);
            let seed = draw.number();
            let lived = match self.live(&base, &model, setup, seed)? {
                Ok(lived) => lived,
                Err(wrong) => {
                    self.fail(episode, None, wrong, None)?;
                    return Ok(());
                }
            };
            self.summary.lives += 1;
            let kept = self.judge_all(&lived, setup, (episode, seed), is_asked_for)?;
            let Some((tree, after)) = kept else { return Ok(()) };
            if self.is_over() || self.plan.episode == Some(episode) {
                return Ok(());
            }
            (base, model) = (tree, after);
        }
        Ok(())
    }

    /// Lets a store live on a disk.
    fn live(
        &self,
        base: &Tree,
        model: &Model,
        setup: Setup,
        seed: u64,
    ) -> anyhow::Result<Result<Lived, Wrong>> {
        let disk = Disk::mount(&self.scratch.disk(), base.clone(), DISK)?;
        let mut life = Life::new(&disk, setup, model, seed);
        let steps = match setup {
            Setup { is_long: true, .. } => 250,
            Setup { is_tight: true, .. } => 90,
            Setup { .. } => 40,
        };
        let length = Length { steps, kills: true };
        let lived = life.live(length);
        life.end();
        let (story, errors) = (std::mem::take(&mut life.story), std::mem::take(&mut life.errors));
        drop(life);
        let record = disk.record();
        disk.unmount()?;
        if let Err(wrong) = lived {
            return Ok(Err(wrong));
        }
        if let Some(error) = errors.into_iter().find(|error| !(setup.is_tight && error.contains("full"))) {
            return Ok(Err(Wrong::new(Sort::Stuck, format!("the disk is well, and yet: {error}"))));
        }
        Ok(Ok(Lived { base: base.clone(), before: model.clone(), record, story }))
    }

    /// Judges the cuts of a life; gives the state of one of them, and what is owed then.
    fn judge_all(
        &mut self,
        lived: &Lived,
        setup: Setup,
        (episode, seed): (u64, u64),
        is_asked_for: bool,
    ) -> anyhow::Result<Option<(Tree, Model)>> {
        let mut draw = Draw::part(seed, 1);
        let cuts = places(lived, &mut draw);
        // Late, where the cap is to be reached.
        let early = if setup.is_tight { cuts.len() * 2 / 3 } else { 0 };
        let chosen = early + draw.place(cuts.len() - early);
        let story = match self.plan.without {
            Some(harm) => harm.story(&lived.story, &lived.record),
            None => lived.story.clone(),
        };
        // Place, number of the state there, whether the next life begins with it.
        let number = |at: usize| u64::try_from(at).unwrap_or_default() % STATES;
        let each = cuts.iter().enumerate().map(|(at, cut)| (*cut, number(at), at == chosen));
        let wanted: Vec<(usize, u64, bool)> = match self.plan.cut {
            Some(cut) if is_asked_for => (0..STATES).map(|state| (cut, state, false)).collect(),
            _ => each.filter(|(.., is_chosen)| is_asked_for || *is_chosen).collect(),
        };
        let left_out = self.plan.without.map_or_else(Vec::new, |harm| harm.left_out(&lived.record));
        let mut replay = Replay::new(&lived.base);
        let mut next = None;
        for (cut, state, is_chosen) in wanted {
            for op in lived.record.get(replay.done()..cut).unwrap_or_default() {
                replay.handle(op, left_out.get(replay.done()).copied().unwrap_or(false));
            }
            let seed = state_seed(seed, cut, state);
            let (tree, survived) = replay.cut(seed);
            let to_the_end = !setup.is_tight && Draw::part(seed, 1).in_eight(2);
            let terms = Terms { to_the_end, ..Terms::of(setup) };
            let judged = match model_at(lived, &story, cut) {
                Ok(model) => judge(&tree, &model, terms, &self.scratch.after(), seed)?,
                Err(wrong) => Err(wrong),
            };
            if is_asked_for {
                self.summary.count(place_name(lived, &story, cut), &survived);
                (self.tick)();
            }
            match judged {
                Ok(verdict) => {
                    self.summary.add(&verdict.found, verdict.open);
                    if is_chosen {
                        next = Some((tree, verdict.model));
                    }
                }
                Err(wrong) => self.fail(episode, Some(cut), wrong, Some(&tree))?,
            }
            if self.is_over() {
                break;
            }
        }
        Ok(next)
    }

    fn fail(
        &mut self,
        episode: u64,
        cut: Option<usize>,
        wrong: Wrong,
        tree: Option<&Tree>,
    ) -> anyhow::Result<()> {
        let number = self.summary.failures.len();
        if let (Some(folder), Some(tree)) = (&self.plan.keep, tree) {
            std::fs::create_dir_all(folder)?;
            tree.write_to(&folder.join(format!("episode-{episode}-{number}")))?;
        }
        self.summary.failures.push(Failure::new(self.plan, episode, cut, wrong));
        Ok(())
    }
}

fn state_seed(seed: u64, cut: usize, state: u64) -> u64 {
    let cut = u64::try_from(cut).unwrap_or_default();
    Draw::part(seed, 2 + cut * STATES + state).number()
}

/// What is owed at a cut.
fn model_at(lived: &Lived, story: &Story, cut: usize) -> Result<Model, Wrong> {
    let mut model = lived.before.clone();
    story.before(cut).try_for_each(|event: &Event| model.handle(event))?;
    Ok(model)
}

/// Where the cuts fall, in order: a quarter anywhere, the others near what matters most.
fn places(lived: &Lived, draw: &mut Draw) -> Vec<usize> {
    let length = lived.record.len();
    let places_of = |is_it: fn(&Op) -> bool| -> Vec<usize> {
        lived.record.iter().enumerate().filter(|(_, op)| is_it(op)).map(|(at, _)| at).collect()
    };
    let syncs = places_of(|op| matches!(op, Op::Sync { .. }));
    let turns = places_of(|op| {
        matches!(op, Op::Sync { .. } | Op::SyncFolder { .. } | Op::Rename { .. } | Op::Remove { .. })
    });
    let openings = lived.story.openings();
    let promises: Vec<usize> = lived.story.promises().collect();
    let mut places: Vec<usize> = (0..CUTS)
        .map(|_| {
            let near = match draw.below(8) {
                // Just before the sync returns: all that it is for is still open.
                0 => return syncs.get(draw.place(syncs.len())).copied().unwrap_or(length),
                1 | 2 => turns.get(draw.place(turns.len())).copied(),
                3 | 4 => openings.get(draw.place(openings.len())).map(|(from, to)| {
                    let to = (*to).min(length);
                    from + draw.place(to.saturating_sub(*from) + 1)
                }),
                5 => promises.get(draw.place(promises.len())).copied(),
                _ => None,
            };
            let place = near.map(|place| (place + draw.place(3)).saturating_sub(1));
            place.unwrap_or_else(|| draw.place(length + 1)).min(length)
        })
        .collect();
    places.sort_unstable();
    places
}

/// sled panics where the disk fails and the store catches it: such a panic is no news. The others are
/// shown as ever.
pub(super) fn expect_panics_of_sled() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().contains("/sled-")) {
                shown(panic);
            }
        }));
    });
}

/// Where a cut fell, in a word.
fn place_name(lived: &Lived, story: &Story, cut: usize) -> String {
    if story.openings().iter().any(|(from, to)| (*from..*to).contains(&cut)) {
        return "recovery".to_owned();
    }
    let last = cut.checked_sub(1).and_then(|at| lived.record.get(at));
    last.map_or_else(|| "before anything".to_owned(), |op| op.kind().to_string())
}

/// By their sort, how often something was wrong.
pub(super) fn by_sort(failures: &[Failure]) -> BTreeMap<Sort, usize> {
    let mut sorts = BTreeMap::new();
    for failure in failures {
        *sorts.entry(failure.sort).or_default() += 1;
    }
    sorts
}
