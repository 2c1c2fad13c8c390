//! `wardline run`: the daemon.

use std::sync::Arc;

use tracing::level_filters::LevelFilter;

use super::exit::{Exit, Failure};
use super::{Folder, out};
use crate::config::LogLevel;
use crate::gateway::{self, GatewayError};
use crate::host::{log, process};

/// Loads the configuration and runs the gateway with it until it is told to stop.
pub(super) fn run(folder: &Folder) -> Result<(), Failure> {
    let loaded = folder.load_or_fail()?;
    for note in &loaded.notes {
        out::remark(format_args!("note: {note}"));
    }
    log::start(level(loaded.config.log));
    if let Some(warning) = process::swap_warning() {
        tracing::warn!("{warning}");
    }
    let again = folder.clone();
    let reread = Arc::new(move || again.load().map(|loaded| loaded.config));
    gateway::run(loaded.config, reread).map_err(|error| Failure::new(exit(&error), error))
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

const fn exit(error: &GatewayError) -> Exit {
    match error {
        GatewayError::Key(error) if error.must_not_be_tried_again() => Exit::Pin,
        GatewayError::Key(_) => Exit::Keys,
        GatewayError::Store(_) => Exit::Store,
        GatewayError::Topic(_) => Exit::Config,
        GatewayError::Status(_)
        | GatewayError::Place(_)
        | GatewayError::System { .. }
        | GatewayError::Part { .. }
        | GatewayError::HalfWay(_)
        | GatewayError::Grace { .. } => Exit::Failed,
    }
}
