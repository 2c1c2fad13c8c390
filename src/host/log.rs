//! Logging to standard error, for the journal. Values and identities never appear above DEBUG.

use std::io::IsTerminal as _;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Starts logging at a level. A second call does nothing.
pub fn start(level: LevelFilter) {
    // What libraries log is theirs to say and may hold payloads: errors and warnings only.
    let filter = Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("wardline", level);
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
}
