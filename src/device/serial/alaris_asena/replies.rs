//! What the driver does with a reply that it has accepted.
//!
//! In: the fields of a whole reply. Out: the identity, observations and faults, as actions; what has
//! no serial number in it is held until a status confirms whose it is.

use super::alarms::read_level;
use super::queries::Query;
use super::readings::{self, Status};
use super::{AlarisAsena, HELD_MAX, Phase, RESPONSE_MAX_RANGE};
use crate::device::nomenclature as mdc;
use crate::device::observation::Kind;
use crate::device::serial::{Faults, text};
use crate::device::{Action, FaultKind, Identity};
use crate::time::Mono;
use std::time::Duration;

impl AlarisAsena {
    pub(super) fn handle_reply(&mut self, fields: &[String], now: Mono, faults: &mut Faults) {
        let said = match fields.first().map_or("", String::as_str) {
            "INST_SERIALNO" => return self.handle_serial(fields, faults),
            "COMMS_PROTOCOL" => {
                self.protocol = stated(fields);
                return self.tell_identity();
            }
            "COMMS_RESPONSE_MAX" => return self.handle_response_max(fields, faults),
            "ALARM" => return self.handle_alarm(fields, now, faults),
            "INF" => return self.handle_status(fields, now, faults),
            "INF_VTBI" => readings::vtbi(fields, faults),
            "SYRINGE_STATUS" => readings::syringe(fields, faults),
            "INF_RATE" => readings::single(fields, &mdc::FLOW_FLUID_PUMP, Kind::Setting, faults),
            "INF_VI" => readings::single(fields, &mdc::VOL_FLUID_DELIV, Kind::Measurement, faults),
            "REMOTE_CTRL" => readings::remote_control(fields),
            // What the rate cannot exceed with this syringe: nothing that anybody charts.
            "INF_RATE_MAX_SYRINGE" => return,
            other => {
                let shown: String = other.chars().take(32).collect();
                faults.add(FaultKind::Unexpected, format!("{shown:?} is no reply that is known"));
                return;
            }
        };
        if self.held.len() >= HELD_MAX {
            faults
                .add(FaultKind::Unexpected, "no status says whose the readings are: the oldest are dropped");
            self.held.clear();
        }
        self.held.extend(said);
        self.confirm_or_ask(now);
    }

    /// A listener has nobody to ask, so it takes everything as it comes.
    fn confirm_or_ask(&mut self, now: Mono) {
        if self.phase == Phase::Listening {
            self.confirm();
        } else {
            self.set_due(Query::Status, Some(now));
        }
    }

    /// Tells what was held: whose it is is known.
    fn confirm(&mut self) {
        let edges = self.held_level.take().map(|level| self.alarms.handle_level(level));
        let held = edges.unwrap_or_default().into_iter().chain(std::mem::take(&mut self.held));
        self.actions.extend(held.map(Action::observe));
    }

    fn handle_serial(&mut self, fields: &[String], faults: &mut Faults) {
        let Some(serial) = stated(fields) else {
            faults.add(FaultKind::Malformed, "the serial number is empty");
            return;
        };
        if self.serial.as_ref().is_some_and(|known| *known != serial) {
            self.protocol = None;
            self.drop_held();
        }
        self.serial = Some(serial);
        self.is_identified = true;
        if self.told.is_some() {
            // The same pump before and after: as good as a status.
            self.confirm();
        }
        // Told once the revision is known too, or known not to come: the allowlist may name both.
        let revision_comes = self.told.is_none() && self.due_of(Query::Protocol).is_some();
        if !revision_comes || self.phase == Phase::Listening {
            self.tell_identity();
        }
    }

    fn handle_response_max(&mut self, fields: &[String], faults: &mut Faults) {
        let value = fields.get(1).and_then(|field| field.trim().parse::<u64>().ok());
        match (value, fields.get(2).map(|unit| unit.trim())) {
            (Some(millis), Some("ms")) => {
                let (least, most) = RESPONSE_MAX_RANGE;
                self.response_max = Duration::from_millis(millis).clamp(least, most);
            }
            _ => faults.add(FaultKind::Malformed, "the longest response time is not a number of ms"),
        }
    }

    fn handle_alarm(&mut self, fields: &[String], now: Mono, faults: &mut Faults) {
        let Some(level) = read_level(fields) else {
            faults.add(FaultKind::Malformed, "the alarm code is empty");
            return;
        };
        if self.alarms_of.is_some() && self.alarms_of != self.serial {
            self.alarms.forget();
        }
        self.alarms_of.clone_from(&self.serial);
        self.held_level = (*self.alarms.on() != level).then_some(level);
        if self.held_level.is_some() {
            self.confirm_or_ask(now);
        }
    }

    fn handle_status(&mut self, fields: &[String], now: Mono, faults: &mut Faults) {
        let Some(status) = Status::read(fields) else {
            let detail = format!("a status of {} fields has no serial number or no end", fields.len());
            faults.add(FaultKind::Malformed, detail);
            // Whose it is stands before what is missing.
            let said = fields.get(1).map(|field| text(field.trim()));
            if said.is_some() && said == self.serial {
                self.confirm();
            }
            return;
        };
        let serial = text(status.serial);
        let is_another = self.serial.as_ref().is_some_and(|known| *known != serial);
        if is_another || self.serial.is_none() {
            self.serial = Some(serial);
            self.protocol = None;
            self.tell_identity();
        }
        if is_another {
            let detail = "another pump answers: nothing passes until it has said who it is";
            faults.add(FaultKind::Unexpected, detail);
            self.drop_held();
            self.doubt(now);
            return;
        }
        self.confirm();
        if status.has_alarm && !self.alarms.is_any_on() {
            self.set_due(Query::Alarm, Some(now));
        }
        self.actions.extend(status.observations(faults).into_iter().map(Action::observe));
    }

    /// Forgets what was held: nobody knows whose it is. An alarm that is still on is told again.
    fn drop_held(&mut self) {
        self.held.clear();
        self.held_level = None;
    }

    /// Nothing is believed before the pump has said again who it is.
    pub(super) fn doubt(&mut self, now: Mono) {
        if self.phase != Phase::Listening {
            self.is_identified = false;
            self.set_due(Query::Serial, Some(now));
            self.set_due(Query::Protocol, Some(now));
        }
    }

    pub(super) fn tell_identity(&mut self) {
        if self.serial.is_none() {
            return;
        }
        let identity =
            Identity { serial: self.serial.clone(), firmware: self.protocol.clone(), ..Identity::default() };
        if self.told.as_ref() != Some(&identity) {
            self.told = Some(identity.clone());
            self.actions.push_back(Action::identify(identity));
        }
    }
}

/// The first field behind the keyword, if it says anything.
fn stated(fields: &[String]) -> Option<String> {
    let field = fields.get(1)?.trim();
    (!field.is_empty()).then(|| text(field))
}
