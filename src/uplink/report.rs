//! Keeps the [`Status`] and sends it on, not more often than somebody can read.

use std::time::Duration;

use tokio::sync::watch;

use super::parcel::Stream;
use super::status::{LaneCounters, State, Status};
use super::{Config, tls};
use crate::device::observation::Lane;
use crate::time::{Mono, Now};

/// The status is sent on at most so often while only numbers change.
const REPORT_EVERY: Duration = Duration::from_millis(100);
/// The certificate's days are counted again so often, and the revocation lists looked at.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(600);

/// The status as it is known here, and what of it was sent on.
pub(super) struct Report {
    status: watch::Sender<Status>,
    /// As it is.
    pub(super) now: Status,
    sent: Mono,
    certificate: Option<Mono>,
    dirty: bool,
}

impl Report {
    pub(super) fn new(status: watch::Sender<Status>) -> Self {
        Self { status, now: Status::default(), sent: Mono::default(), certificate: None, dirty: true }
    }

    /// How long it may be left alone.
    pub(super) fn next_look(&self) -> Duration {
        if self.dirty { REPORT_EVERY } else { Duration::from_secs(1) }
    }

    pub(super) fn lane(&mut self, stream: Stream) -> &mut LaneCounters {
        let lane = match stream {
            Stream::Alarm => Lane::Alarm,
            Stream::Live | Stream::Backlog => Lane::Vital,
            Stream::Bulk => Lane::Bulk,
        };
        self.now.lanes.entry(lane).or_default()
    }

    pub(super) fn state(&mut self, state: State, now: Mono) {
        self.now.state = state;
        self.now.since = now;
        if state != State::Online {
            self.now.in_flight = 0;
            self.now.oldest_unacknowledged = None;
        }
        self.send(now);
    }

    /// The certificate is another one.
    pub(super) const fn forget_certificate(&mut self) {
        self.certificate = None;
    }

    pub(super) fn certificate(&mut self, config: &Config, now: Now) {
        if self.certificate.is_some_and(|at| now.mono.since(at) < CERTIFICATE_EVERY) {
            return;
        }
        self.certificate = Some(now.mono);
        // What is wrong with the file is said when it is needed for a connection.
        self.now.certificate_days_left = tls::certificate_days_left(&config.certificate, now.wall).ok();
        self.now.certificate_validity = tls::validity(&config.certificate).ok();
        let lists = tls::Revocation::of(&config.revocation).ok().flatten();
        self.now.outdated_lists =
            lists.iter().flat_map(|lists| lists.outdated(now)).map(|list| list.to_string()).collect();
    }

    pub(super) fn send_if_due(&mut self, now: Mono) {
        self.dirty = *self.status.borrow() != self.now;
        if self.dirty && now.since(self.sent) >= REPORT_EVERY {
            self.send(now);
        }
    }

    fn send(&mut self, now: Mono) {
        self.sent = now;
        self.dirty = false;
        self.status.send_replace(self.now.clone());
    }
}
