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
    /// Keep the states that were not survived in this folder
    #[arg(long)]
    pub keep: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Runs the trials and says what they came to.
pub fn start(options: &Options) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        cuts: options.cuts,
        seed: options.seed,
        episode: options.episode,
        cut: options.cut,
        without: options.without,
        stop_early: false,
        keep: options.keep.clone(),
    };
    // Drawn on a terminal only.
    let bar = ProgressBar::new(plan.cuts);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos} of {len} cuts, {eta} left") {
        bar.set_style(style);
    }
    let summary = run(&plan, &|| bar.inc(1))?;
    bar.finish_and_clear();
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &summary)?;
        writeln!(out)?;
    } else {
        write!(out, "{summary}")?;
    }
    // Without a sync, to find nothing is the failure.
    let is_right = summary.is_survived() == plan.without.is_none();
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
