//! Power cuts and failing disks: the real store lives on a disk that forgets, the power goes at any
//! operation, and what is left is opened by the real store again.
//!
//! In: a number of cuts and a seed. Out: a summary, and for every cut that was not survived what was
//! expected, what was found and the command that shows it again. The promise that is checked: every
//! record that was reported durable before the cut and not acknowledged comes back exactly once, or is
//! counted in a gap record where the cap made the store drop it; nothing comes that was not handed in;
//! the store opens, and works on. What can go wrong: this machine does not let the disk be mounted.
//! What never happens: a trial is skipped and counted.

mod blocks;
mod cuts;
mod faults;
mod harm;
mod model;
mod report;
mod scratch;
mod spool;
mod trial;
mod workload;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};

pub use cuts::{Plan, run};
pub use faults::{FaultPlan, Walk, walk};
pub use harm::Harm;
pub use model::Sort;
pub use report::{Failure, Summary};

/// How it is run.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many power cuts
    #[arg(long, default_value_t = 1_000)]
    pub cuts: u64,
    /// What everything is drawn from: the same seed gives the same trials
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// One life of the store only, by the number that a failure named
    #[arg(long)]
    pub episode: Option<u64>,
    /// One place only in that life's record
    #[arg(long, requires = "episode")]
    pub cut: Option<usize>,
    /// Leave out a sort of sync, as if the store did not make the call: losses must then be found
    #[arg(long)]
    pub without: Option<Harm>,
    /// In place of power cuts, let every operation of a small life of the store fail, with `ENOSPC` and
    /// with `EIO`
    #[arg(long, conflicts_with_all = ["without", "cut", "keep", "cuts"])]
    pub faults: bool,
    /// With `--faults`: only one of so many operations
    #[arg(long, default_value_t = 1, requires = "faults")]
    pub every: u64,
    /// Keep the states that were not survived in this folder
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Runs the trials and says what they came to.
pub fn start(options: &Options) -> anyhow::Result<ExitCode> {
    // Drawn on a terminal only.
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    let tick = || bar.inc(1);
    let is_right = if options.faults {
        let plan = FaultPlan { seed: options.seed, every: options.every, episode: options.episode };
        bar.set_length(faults::count(&plan)? * 2 / plan.every.max(1));
        let walk = walk(&plan, &tick)?;
        bar.finish_and_clear();
        say(options, &walk)?;
        walk.failures.is_empty()
    } else {
        let plan = Plan {
            cuts: options.cuts,
            seed: options.seed,
            episode: options.episode,
            cut: options.cut,
            without: options.without,
            stop_early: false,
            keep: options.keep.clone(),
        };
        bar.set_length(plan.cuts);
        let summary = run(&plan, &tick)?;
        bar.finish_and_clear();
        say(options, &summary)?;
        // Without a sync, to find nothing is the failure.
        summary.is_survived() == plan.without.is_none()
    };
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say<T: serde::Serialize + std::fmt::Display>(options: &Options, found: &T) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, found)?;
        writeln!(out)?;
    } else {
        write!(out, "{found}")?;
    }
    Ok(())
}
