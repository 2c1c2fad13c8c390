//! What the trials came to, for people and for machines.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::cuts::{Plan, by_sort};
use super::harm::Harm;
use super::model::{Found, Sort, Wrong};
use crate::lab::disk::Survived;

/// One cut that was not survived.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// What sort of failure.
    pub sort: Sort,
    /// What was expected and what was found.
    pub words: String,
    /// How to see it again. The trials' keys are drawn anew each time and sled has threads of its own,
    /// so the place may move by an operation or two.
    pub again: String,
}

impl Failure {
    pub(super) fn new(plan: &Plan, episode: u64, cut: Option<usize>, wrong: Wrong) -> Self {
        let cut = cut.map(|cut| format!(" --cut {cut}")).unwrap_or_default();
        let without = plan.without.and_then(|harm| clap::ValueEnum::to_possible_value(&harm));
        let without = without.map(|harm| format!(" --without {}", harm.get_name())).unwrap_or_default();
        let again = format!("wardline-lab power-cuts --seed {} --episode {episode}{cut}{without}", plan.seed);
        Self { sort: wrong.sort, words: wrong.words, again }
    }
}

/// All of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// The mistake that the store was made to make.
    pub without: Option<Harm>,
    /// Lives of the store.
    pub lives: u64,
    /// Cuts.
    pub cuts: u64,
    /// Where they fell: after which operation, or in an open.
    pub places: BTreeMap<String, u64>,
    /// Writes of which a part was there and a part was not.
    pub torn: u64,
    /// Sectors of which a write was not there.
    pub dropped: u64,
    /// Writes that were there although an earlier one was not.
    pub reordered: u64,
    /// Operations on names that were undone.
    pub names_undone: u64,
    /// Records that had to be there and were.
    pub kept: u64,
    /// Records that had been handed in and not promised, and were there.
    pub extra: u64,
    /// Records dropped for a cap that was too low, and told of.
    pub told: u64,
    /// How many more were told of than were lost, under a cap that was too low.
    pub overstated: u64,
    /// The longest that opening took, in milliseconds.
    pub longest_open_ms: u64,
    /// What was not survived.
    pub failures: Vec<Failure>,
    /// How long it took.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            without: plan.without,
            lives: 0,
            cuts: 0,
            places: BTreeMap::new(),
            torn: 0,
            dropped: 0,
            reordered: 0,
            names_undone: 0,
            kept: 0,
            extra: 0,
            told: 0,
            overstated: 0,
            longest_open_ms: 0,
            failures: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(super) fn count(&mut self, place: String, survived: &Survived) {
        self.cuts += 1;
        *self.places.entry(place).or_default() += 1;
        self.torn += survived.torn;
        self.dropped += survived.dropped;
        self.reordered += survived.reordered;
        self.names_undone += survived.names_undone;
    }

    pub(super) fn add(&mut self, found: &Found, open: Duration) {
        self.kept += found.kept;
        self.extra += found.extra;
        self.told += found.told;
        self.overstated += found.overstated;
        let open = u64::try_from(open.as_millis()).unwrap_or(u64::MAX);
        self.longest_open_ms = self.longest_open_ms.max(open);
    }

    /// Whether the store kept its promises.
    pub fn is_survived(&self) -> bool {
        self.failures.is_empty()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, value: &dyn fmt::Display| writeln!(f, "  {what:<34}{value}");
        line(
            "power cuts",
            &format!("{} in {} lives of the store, seed {}", self.cuts, self.lives, self.seed),
        )?;
        for (place, count) in &self.places {
            line(&format!("  {place}"), count)?;
        }
        line("sectors not written", &self.dropped)?;
        line("writes torn", &self.torn)?;
        line("writes ahead of earlier ones", &self.reordered)?;
        line("names undone", &self.names_undone)?;
        line("promised records found again", &self.kept)?;
        line("records found beyond the promised", &self.extra)?;
        line("dropped under a low cap, told of", &self.told)?;
        line("  told of beyond that", &self.overstated)?;
        line("longest open", &format!("{} ms", self.longest_open_ms))?;
        line("took", &format!("{:.1} s", self.seconds))?;
        write_failures(f, &self.failures)
    }
}

/// What was wrong, and the verdict.
pub(super) fn write_failures(f: &mut fmt::Formatter<'_>, failures: &[Failure]) -> fmt::Result {
    for (sort, count) in by_sort(failures) {
        writeln!(f, "  {:<34}{count}", format!("WRONG: {sort}"))?;
    }
    for failure in failures.iter().take(5) {
        writeln!(f, "\n{}: {}\n  again: {}", failure.sort, failure.words, failure.again)?;
    }
    let verdict = if failures.is_empty() { "every promise was kept" } else { "PROMISES WERE BROKEN" };
    writeln!(f, "\n{verdict}")
}
