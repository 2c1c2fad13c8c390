//! `wardline spool`: looking into the store, for a person at the box. One file for each sub-command.

mod export;
mod list;
mod moment;
pub(super) mod target;
mod verify;

use clap::{Args, Subcommand};

use super::exit::Failure;

/// Look into the store: what is in it, whether it is sound; take readings out.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
        wardline spool                        what is in it? Also while the daemon runs\n  \
        wardline spool list --json            the same for a script\n  \
        wardline spool verify                 is it sound? With the daemon stopped\n  \
        wardline spool export --out FILE --reason \"who and why\""
)]
pub(super) struct Spool {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    list: list::List,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List lanes, segments and quarantine: sizes, ages, gaps, what waits.
    List(list::List),
    /// Check every file, block and chain, and change nothing. The daemon must be stopped.
    Verify(verify::Verify),
    /// Take readings out in the clear, for an authorised person at the box. Audited.
    Export(export::Export),
}

impl Spool {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            None => self.list.run(),
            Some(What::List(list)) => list.run(),
            Some(What::Verify(verify)) => verify.run(),
            Some(What::Export(export)) => export.run(),
        }
    }
}
