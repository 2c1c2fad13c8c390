//! stub

use crate::config::Config;

/// Why the gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A key or certificate is missing, unreadable or not one.
    #[error("{0}")]
    Keys(String),
    /// The store cannot be used.
    #[error("{0}")]
    Store(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// Stub.
pub fn run(config: Config) -> Result<(), RunError> {
    let _ = config;
    Err(RunError::Failed("not made yet".to_owned()))
}
