//! Word to the service manager (`sd_notify`): READY, WATCHDOG, STATUS, STOPPING. Without a service
//! manager every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon is up: the configuration is valid, the store is open, the sessions are running.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// The pipeline made progress.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The daemon drains and ends.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// How often the service manager wants to hear [`alive`], if at all.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
