//! Logging to standard error, for the journal. Values and identities never appear above DEBUG.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Registry, fmt, reload};

/// What is logged, for whoever changes it.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging at a level. A second call does nothing.
pub fn start(level: LevelFilter) {
    let (filter, handle) = reload::Layer::new(targets(level));
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    if tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().is_ok() {
        let _ = FILTER.set(handle);
    }
}

/// Logs at another level from here on; where logging was not started, nothing.
pub fn set(level: LevelFilter) {
    if let Some(filter) = FILTER.get() {
        // It lives as long as the process.
        let _ = filter.reload(targets(level));
    }
}

/// What libraries log is theirs to say and may hold payloads: errors and warnings only.
fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_default(LevelFilter::WARN.min(level)).with_target("wardline", level)
}
