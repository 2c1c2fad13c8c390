//! `wardline metrics`: the daemon's figures for monitoring.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::out;
use super::status::Asked;
use crate::host::atomic_file;
use crate::host::status::metrics::{Format, render};

/// Show the daemon's figures for monitoring: a page for Prometheus, or for the node exporter.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline metrics\n  \
    wardline metrics --textfile /var/lib/prometheus/node-exporter/wardline.prom\n  \
    curl --unix-socket /run/wardline/status.sock http://wardline/metrics\n\n\
    When the daemon gives no answer, whatever the reason, the page says wardline_daemon_up 0 and nothing else, and the \
    exit code says why: 7 when it does not run.")]
pub(super) struct Metrics {
    #[command(flatten)]
    asked: Asked,
    /// Write the page for the node exporter's textfile collector: whole or not at all, readable by all.
    #[arg(long, value_name = "FILE")]
    textfile: Option<PathBuf>,
}

impl Metrics {
    pub(super) fn run(self) -> Result<(), Failure> {
        let (snapshot, away) = match self.asked.ask() {
            Ok(snapshot) => (Some(snapshot), None),
            // That nothing is answered is a figure too, and the one that matters most: a page of before would say that
            // all is well for as long as the daemon hangs.
            Err(failure) => (None, Some(failure)),
        };
        if let Some(path) = &self.textfile {
            let page = render(snapshot.as_ref(), Format::Textfile);
            atomic_file::write_for_all(path, page.as_bytes())?;
        } else {
            let mut out = out::stdout();
            out.text(format_args!("{}", render(snapshot.as_ref(), Format::OpenMetrics)))?;
            out.finish()?;
        }
        away.map_or(Ok(()), Err)
    }
}
