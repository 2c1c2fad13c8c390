//! What a report, or a refusal of one, means: whose it is, what it says, which is asked for next.

use super::alarms::Variant;
use super::wire::{Form, Report};
use super::{Phase, PuritanBennett840, REFUSALS_MAX, alarms, fields};
use crate::device::observation::Observation;
use crate::device::serial::Faults;
use crate::device::{Action, FaultKind, Identity};

impl PuritanBennett840 {
    pub(super) fn handle_refusal(&mut self, form: Form, faults: &mut Faults) {
        self.refusals = self.refusals.saturating_add(1);
        let may_be_spoiled = self.has_full || self.refusals < REFUSALS_MAX;
        if form == Form::Full && self.settings.word("ask") != "SNDF" {
            if may_be_spoiled {
                faults.add(FaultKind::Refused, "the ventilator does not know the request: asked again");
                return;
            }
            self.form = Form::Short;
            let detail = "the ventilator does not know SNDF, SNDA is asked instead: set `ask = \"SNDA\"` to \
                          keep to it";
            faults.add(FaultKind::Refused, detail);
        } else {
            let detail = "the ventilator does not know the request: choose DCI for this port in its \
                          communication setup, or the other report with `ask`";
            faults.add(FaultKind::Refused, detail);
        }
    }

    pub(super) fn handle_report(&mut self, report: &Report, faults: &mut Faults) {
        let Some(said) = fields::identity(report) else {
            faults.add(
                FaultKind::Malformed,
                "a report without the ventilator's number (field 6): not passed on",
            );
            return;
        };
        if !self.is_from_known(&said, faults) {
            return;
        }
        if report.has_more() && !std::mem::replace(&mut self.has_told_more, true) {
            let detail = "the report has more fields than are known: compare `fields` with the manual";
            faults.add(FaultKind::Unexpected, detail);
        }
        let readings = fields::observations(report, faults);
        let level = alarms::level(report, self.variant(&said), self.alarms.on(), faults);
        let device_time = fields::time(report);
        let edges = self.alarms.handle_level(level).into_iter();
        let edges = edges.map(|edge| Observation { device_time, ..edge });
        self.actions.extend(edges.chain(readings).map(Action::observe));
    }

    /// Whether a number is known to be the ventilator's.
    fn is_from_known(&mut self, said: &Identity, faults: &mut Faults) -> bool {
        if self.known.as_ref() == Some(said) {
            self.doubtful = None;
            return true;
        }
        // Right after a reconnect it is the ventilator whose alarms are kept.
        let is_new = self.known.is_none() && self.alarms_of.as_ref().is_none_or(|owner| owner == said);
        let must_confirm = !is_new && self.phase != Phase::Listening;
        if must_confirm && self.doubtful.as_ref() != Some(said) {
            self.doubtful = Some(said.clone());
            faults.add(FaultKind::Unexpected, "a report has another number: held until the next one");
            return false;
        }
        self.doubtful = None;
        if self.alarms_of.as_ref().is_some_and(|owner| owner != said) {
            self.alarms.forget();
        }
        self.alarms_of = Some(said.clone());
        self.known = Some(said.clone());
        self.actions.push_back(Action::identify(said.clone()));
        true
    }

    fn variant(&self, said: &Identity) -> Variant {
        let is_980 = match self.settings.word("fields") {
            "840" => false,
            "980" => true,
            _ => said.model.as_deref() == Some("980"),
        };
        if is_980 { Variant::Pb980 } else { Variant::Pb840 }
    }
}
