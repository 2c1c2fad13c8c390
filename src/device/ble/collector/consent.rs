//! The consent of a user: given once on every connection, when everything is subscribed to.
//!
//! Behind the subscriptions, not before them: with the consent a scale begins to send what it keeps, by
//! indications that it does not repeat. openScale's handler of standard scales has the same order.
//!
//! Whatever goes wrong is reported, with the setting to look at, and the connection goes on without: what the
//! device gives to anybody comes all the same.

use std::time::Duration;

use super::{Collector, Outcome};
use crate::device::ble::consent;
use crate::device::{Action, FaultKind};
use crate::link::gatt::{Consent, GattWrite, USER_CONTROL};
use crate::link::{Characteristic, LinkCommand};
use crate::time::Mono;

/// How long the device may take for its answer: the time-out of a control point's procedure.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// What is to be given, and whether its answer is awaited.
#[derive(Default)]
pub(super) struct Consenting {
    /// `Err`: the code could not be had, and why; of the code itself it says nothing.
    given: Option<Result<Consent, String>>,
    /// The answer is awaited until then.
    until: Option<Mono>,
    /// The end of the write is awaited: the answer may come before it.
    is_writing: bool,
}

impl Consenting {
    /// The same for a new connection.
    pub(super) const fn forget(&mut self) {
        self.until = None;
        self.is_writing = false;
    }

    pub(super) const fn poll_timeout(&self) -> Option<Mono> {
        self.until
    }
}

impl Collector {
    /// Gives this consent on every connection. An error is why there is none to give: it is reported then.
    #[must_use]
    pub fn consenting(mut self, consent: Result<Consent, String>) -> Self {
        self.consent.given = Some(consent);
        self
    }

    /// The control point to subscribe to, if there is something to say to it.
    pub(super) fn consent_control(&self) -> Option<Characteristic> {
        matches!(self.consent.given, Some(Ok(_))).then_some(USER_CONTROL)
    }

    /// Everything is subscribed to.
    pub(super) fn give_consent(&mut self, now: Mono) {
        let write = match &self.consent.given {
            None => return,
            Some(Err(reason)) => {
                let detail = format!("no consent is given: `settings.consent_code`: {reason}");
                return self.report(FaultKind::Refused, detail);
            }
            Some(Ok(consent)) => GattWrite::consent(*consent),
        };
        let mut subscribed = self.subscriptions.iter().filter(|entry| entry.outcome == Outcome::Subscribed);
        if !subscribed.any(|entry| entry.characteristic == USER_CONTROL) {
            let detail = "no consent is given: the device's user control point (181C/2A9F) cannot be subscribed \
                          to: if it has none, remove `settings.consent_code`";
            return self.report(FaultKind::Refused, detail.to_owned());
        }
        self.consent.until = Some(now + ANSWER_LIMIT);
        self.consent.is_writing = true;
        self.actions.extend(write.map(|write| Action::Command(LinkCommand::Write(write))));
    }

    /// Takes the end of the write; `false` when it was another one. Its answer is indicated.
    pub(super) fn handle_consent_written(&mut self, to: Characteristic, result: &Result<(), String>) -> bool {
        if to != USER_CONTROL || !std::mem::take(&mut self.consent.is_writing) {
            return false;
        }
        if let Err(reason) = result {
            self.consent.until = None;
            let detail = format!("consent was not given: the user control point cannot be written: {reason}");
            self.report(FaultKind::Refused, detail);
        }
        true
    }

    /// Takes a value of the user control point.
    pub(super) fn handle_consent(&mut self, value: &[u8]) {
        let Some(Ok(consent)) = self.consent.given.as_ref().filter(|_| self.consent.until.is_some()) else {
            let detail = "the user control point answers, and nobody asked it".to_owned();
            return self.report(FaultKind::Unexpected, detail);
        };
        match consent::read(value, consent.user()) {
            Ok(()) => self.consent.until = None,
            Err(fault) => {
                // Anything but an answer leaves it open.
                if fault.kind == FaultKind::Refused {
                    self.consent.until = None;
                }
                self.actions.push_back(Action::Report(fault));
            }
        }
    }

    /// Gives up waiting for an answer.
    pub(super) fn handle_consent_timeout(&mut self, now: Mono) {
        if self.consent.until.is_some_and(|until| now >= until) {
            self.consent.until = None;
            let detail = "the device does not answer to the consent of `settings.consent_user`".to_owned();
            self.report(FaultKind::Timeout, detail);
        }
    }
}
