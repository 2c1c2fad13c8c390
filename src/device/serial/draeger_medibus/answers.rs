//! What an answer, a refusal and a silence of the device mean for the conversation.

use super::queries::{OWN_IDENTIFICATION, Query};
use super::wire::Frame;
use super::{Asked, Medibus, OPTIONAL_AGAIN, Offer, Phase, REFUSED_PAUSE, STARTS_MAX};
use crate::device::serial::Faults;
use crate::device::{Action, FaultKind};
use crate::link::LinkCommand;
use crate::time::Mono;

impl Medibus {
    pub(super) fn handle_reply(&mut self, frame: &Frame, now: Mono, faults: &mut Faults) {
        if self.phase == Phase::Listening {
            // In a capture of both directions this side's own name is no device's.
            if frame.data != OWN_IDENTIFICATION {
                self.read(frame, now, faults);
            }
            return;
        }
        let Some(asked) = self.asked else {
            let detail = format!("a reply to {:02X} came although nothing was asked", frame.code);
            return faults.add(FaultKind::Unexpected, detail);
        };
        if asked.query.code() == frame.code {
            self.asked = None;
            self.set_due(asked.query, Some(now + asked.query.period()));
            self.set_offer(asked.query, Offer::Answered);
            if asked.query == Query::Start {
                self.handle_started(now);
            } else {
                self.read(frame, now, faults);
            }
        } else if matches!(frame.code, 0x15 | 0x16) {
            faults.add(FaultKind::Refused, format!("the device refused {} (NAK)", asked.query.name()));
            self.asked = Some(Asked { until: asked.until.min(now + REFUSED_PAUSE), ..asked });
        } else {
            let detail = format!("a reply to {:02X} came in place of {}", frame.code, asked.query.name());
            faults.add(FaultKind::Unexpected, detail);
        }
    }

    pub(super) fn handle_silence(&mut self, asked: Asked, now: Mono) {
        let name = asked.query.name();
        self.asked = None;
        if asked.query == Query::Start {
            self.starts = self.starts.saturating_add(1);
            if self.starts >= STARTS_MAX {
                self.report(format!("no answer to {name}, {STARTS_MAX} times: the port is opened again"));
                self.actions.push_back(Action::Command(LinkCommand::HangUp));
                self.phase = Phase::Closed;
            } else {
                self.report(format!(
                    "no answer to {name}: MEDIBUS must be chosen at the device, with this line's settings"
                ));
                self.set_due(Query::Start, Some(now));
            }
        } else if self.offer_of(asked.query) == Offer::Missing {
            // Told when it was found missing.
            self.set_due(asked.query, Some(now + OPTIONAL_AGAIN));
        } else if !asked.repeated {
            self.report(format!("no answer to {name}, asked again"));
            self.ask(asked.query, true, now);
        } else if asked.query.is_optional() && self.offer_of(asked.query) == Offer::Unknown {
            let seconds = OPTIONAL_AGAIN.as_secs();
            self.report(format!("no answer to {name} a second time: asked only every {seconds} s"));
            self.set_offer(asked.query, Offer::Missing);
            self.set_due(asked.query, Some(now + OPTIONAL_AGAIN));
            // In a silence this long the cable can have gone to another device.
            self.is_identified = false;
            self.set_due(Query::Who, Some(now));
        } else {
            self.report(format!("no answer to {name} a second time: the communication is begun again"));
            self.start_again(now);
        }
    }
}
