//! The consent of a user: given once on every connection, when everything is subscribed to.
//!
//! Behind the subscriptions, not before them: with the consent a scale begins to send what it keeps, by
//! indications that it does not repeat. openScale's handler of standard scales has the same order.
//!
//! What the consent releases was measured some day, by anybody: from the write of the consent on, what the services
//! send that ask for one counts as stored where it has a stamp, and is placed by the device's clock or not at all. Which
//! of it was sent before is known for the driver's life: a scale may give all that it keeps on every connection.
//!
//! Whatever goes wrong is reported, with the setting to look at, and the connection goes on without: what the
//! device gives to anybody comes all the same.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::{Collector, Outcome};
use crate::device::ble::consent;
use crate::device::ble::records::Hash;
use crate::device::observation::{Observation, Quality};
use crate::device::placing::millis;
use crate::device::{Action, FaultKind};
use crate::link::gatt::{Consent, GattWrite, USER_CONTROL};
use crate::link::{Characteristic, LinkCommand};
use crate::time::Mono;

/// How long the device may take for its answer: the time-out of a control point's procedure.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// So many stored readings are known again. A scale keeps some thirty for each of its users.
const MOST_KNOWN: usize = 4_096;

/// What is to be given, and whether its answer is awaited.
#[derive(Default)]
pub(super) struct Consenting {
    /// `Err`: the code could not be had, and why; of the code itself it says nothing.
    given: Option<Result<Consent, String>>,
    /// The answer is awaited until then.
    until: Option<Mono>,
    /// The end of the write is awaited: the answer may come before it.
    is_writing: bool,
    /// It was written on this connection: what the device keeps comes from here on.
    is_given: bool,
    /// The stored readings that came, as hashes, over connections; and the order in which they came.
    known: BTreeSet<u64>,
    known_in_order: VecDeque<u64>,
}

impl Consenting {
    /// The same for a new connection.
    pub(super) const fn forget(&mut self) {
        self.until = None;
        self.is_writing = false;
        self.is_given = false;
    }

    /// What came is of another device, or nobody took it: it is to be given again.
    pub(super) fn forget_readings(&mut self) {
        self.known.clear();
        self.known_in_order.clear();
    }

    /// What a decoder made of a value: flagged where the consent released it, and none of it where the same came
    /// before. A stamp without a date tells no two readings apart.
    pub(super) fn released(
        &mut self,
        of: Characteristic,
        value: &[u8],
        mut said: Vec<Observation>,
    ) -> Vec<Observation> {
        if !self.is_given || !consent::asks_for_consent(of.service) {
            return said;
        }
        let mut hash = Hash::default();
        let mut is_dated = false;
        for one in said.iter_mut().filter(|one| one.device_time.is_some()) {
            one.quality = one.quality.with(Quality::STORED);
            // A second part has the stamp of the first, and not in its octets.
            if let Some(at) = one.device_time.and_then(millis) {
                hash.octets(&at.to_le_bytes());
                is_dated = true;
            }
        }
        hash.octets(&of.uuid.to_le_bytes());
        hash.octets(value);
        if is_dated && !self.learn(hash.0) { Vec::new() } else { said }
    }

    /// Whether it is new. Of too many the oldest is forgotten.
    fn learn(&mut self, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.known_in_order.push_back(hash);
        if self.known_in_order.len() > MOST_KNOWN
            && let Some(oldest) = self.known_in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
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
        self.consent.is_given = true;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_readings_are_bounded_and_the_oldest_is_forgotten() {
        let mut consenting = Consenting::default();
        let most = u64::try_from(MOST_KNOWN).unwrap();
        assert!((0..=most).all(|hash| consenting.learn(hash)));
        assert_eq!((consenting.known.len(), consenting.known_in_order.len()), (MOST_KNOWN, MOST_KNOWN));
        assert!(!consenting.learn(1) && consenting.learn(0));
    }
}
