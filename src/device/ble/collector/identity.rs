//! Who the device says it is: the Device Information strings, on every connection and every hour.

use bytes::Bytes;

use super::{Collector, DEVICE_INFORMATION, IDENTITY_PERIOD, MAX_STRING, Phase, STRINGS};
use crate::device::{Action, FaultKind, Identity};
use crate::link::gatt::att_error;
use crate::link::{Characteristic, LinkCommand, NOT_OFFERED};
use crate::time::Mono;

/// The answers to the question who the device is; `None` is one that has not come yet.
#[derive(Default)]
pub(super) struct Asked([Option<Result<Option<String>, String>>; STRINGS.len()]);

impl Collector {
    pub(super) fn ask_who_it_is(&mut self, now: Mono) {
        self.asked = Some(Asked::default());
        self.identify_at = Some(now + IDENTITY_PERIOD);
        self.actions.extend(strings().map(|string| Action::Command(LinkCommand::Read(string))));
    }

    pub(super) fn handle_read(&mut self, of: Characteristic, result: &Result<Bytes, String>, now: Mono) {
        let answer = match result {
            Ok(value) => Ok(readable(value)),
            Err(reason) if reason == NOT_OFFERED => Ok(None),
            Err(reason) => Err(reason.clone()),
        };
        let place = strings().position(|string| string == of);
        let slot = place.and_then(|place| self.asked.as_mut()?.0.get_mut(place));
        let Some(slot @ None) = slot else {
            return self.report(FaultKind::Unexpected, format!("a read of {of:?} that nobody asked for"));
        };
        *slot = Some(answer);
        if let Some(asked) = self.asked.take_if(|asked| asked.0.iter().all(Option::is_some)) {
            self.conclude_identity(asked, now);
        }
    }

    /// All answers are there. A string that could not be read is "not stated" on a new connection,
    /// and stays what it was on one that was identified before.
    fn conclude_identity(&mut self, asked: Asked, now: Mono) {
        let first = self.phase == Phase::Identifying;
        let mut stated = [const { None }; STRINGS.len()];
        let before = self.identity.clone();
        let before = [before.maker, before.model, before.serial, before.firmware];
        let mut failures = 0;
        // Refused is an answer. What got none may be answered on the next connection.
        let mut unanswered = false;
        for (((slot, answer), before), string) in stated.iter_mut().zip(asked.0).zip(before).zip(strings()) {
            *slot = match answer {
                Some(Ok(text)) => text,
                Some(Err(reason)) => {
                    failures += 1;
                    unanswered |= att_error(&reason).is_none();
                    self.report(FaultKind::Refused, format!("{string:?} could not be read: {reason}"));
                    if first { None } else { before }
                }
                None => before,
            };
        }
        if first && unanswered {
            return self.give_up(FaultKind::Timeout, "it does not answer who it is".to_owned());
        }
        if !first && failures == STRINGS.len() {
            return self.give_up(FaultKind::Timeout, "it no longer says who it is".to_owned());
        }
        let [maker, model, serial, firmware] = stated;
        let identity = Identity { maker, model, serial, firmware };
        if !first && self.is_of_another(&identity) {
            // Its records and alarms are not this one's: a new connection begins with nothing of them.
            self.actions.push_back(Action::identify(identity));
            let detail = "it says that it is another device than when it was connected".to_owned();
            return self.give_up(FaultKind::Unexpected, detail);
        }
        if first {
            self.handle_owner(&identity);
        }
        if first || identity != self.identity {
            self.identity = identity.clone();
            self.actions.push_back(Action::identify(identity));
        }
        if first {
            self.ask(now);
        }
    }
}

fn strings() -> impl Iterator<Item = Characteristic> {
    STRINGS.into_iter().map(|uuid| Characteristic { service: DEVICE_INFORMATION, uuid })
}

/// A Device Information string as a person would read it. DIS demands UTF-8 without saying how it
/// ends, and devices pad with NULs and blanks; control characters are left out.
pub(super) fn readable(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    let text = String::from_utf8_lossy(value.get(..end)?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_STRING).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
