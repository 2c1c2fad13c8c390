//! One pump of the chain: what its replies say, who it is, its alarms.

use super::alarms::{self, raised};
use super::codes;
use crate::device::alarms::AlarmEdges;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, Kind as What, Observation, Value};
use crate::device::serial::{Faults, observation, text};
use crate::device::settings::Settings;
use crate::device::{Action, FaultKind, Identity, Part};
use crate::time::Mono;

/// The alarm code of a pump that does not answer any more.
const LOST: &str = "PUMP_LOST";

/// What a reply is: its number of fields says so, as hosts in the field tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rate, VT1, TV1, drug.
    Numbers,
    /// Alarm code, status words.
    Alarm,
}

/// What a reply is, by the fields behind the pump's number. With number and CRC they are 7, or 5 or 6.
pub(super) fn kind(fields: &[String]) -> Option<Kind> {
    match fields.len() {
        5 => Some(Kind::Numbers),
        3 | 4 => Some(Kind::Alarm),
        _ => None,
    }
}

/// The settings, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    vt1: &'static Metric,
    tv1: &'static Metric,
    is_field1_serial: bool,
}

impl Mapping {
    pub(super) fn new(settings: &Settings) -> Self {
        let (vt1, tv1) = match settings.word("volumes") {
            "tv1-is-vtbi" => (&mdc::VOL_FLUID_DELIV, &mdc::VOL_FLUID_TBI),
            "as-sent" => (&codes::VT1, &codes::TV1),
            _ => (&mdc::VOL_FLUID_TBI, &mdc::VOL_FLUID_DELIV),
        };
        Self { vt1, tv1, is_field1_serial: settings.word("field1") == "serial" }
    }
}

/// One pump.
#[derive(Clone, Debug, Default)]
pub(super) struct Pump {
    pub(super) part: Part,
    /// What was last told to the session on this connection.
    pub(super) told: Option<Identity>,
    /// Questions in a row that it did not answer.
    pub(super) missed: u32,
    /// Not asked before.
    pub(super) try_at: Option<Mono>,
    edges: AlarmEdges,
    /// Whose alarms those are.
    edges_of: Option<Identity>,
}

impl Pump {
    pub(super) fn new(number: u8) -> Self {
        Self { part: Part(number), ..Self::default() }
    }

    /// Everything of the connection goes; the alarms that are on stay, to be compared again.
    pub(super) fn reset(&mut self) {
        let (edges, edges_of) = (std::mem::take(&mut self.edges), self.edges_of.take());
        *self = Self { part: self.part, edges, edges_of, ..Self::default() };
    }

    /// Takes a whole reply.
    pub(super) fn handle(
        &mut self,
        kind: Kind,
        fields: &[String],
        mapping: &Mapping,
        (out, faults): (&mut Vec<Action>, &mut Faults),
    ) {
        let field = |at: usize| fields.get(at).map_or("", |field| field.trim());
        let serial = (mapping.is_field1_serial && !field(0).is_empty()).then(|| text(field(0)));
        if mapping.is_field1_serial && serial.is_none() {
            let detail = format!("a reply of pump {} does not hold its own id: not passed on", self.part.0);
            faults.add(FaultKind::Malformed, detail);
            return;
        }
        self.identify(Identity { serial, ..Identity::default() }, out);
        let part = self.part;
        let mut tell = |said: Observation| out.push(Action::Observe(part, said));
        match kind {
            Kind::Numbers => {
                let (rate, is_sounding) = unmarked(field(1));
                tell(sounding(is_sounding));
                let (setting, measured) = (What::Setting, What::Measurement);
                let kind_of = |metric: &'static Metric| {
                    if metric.code == mdc::VOL_FLUID_TBI.code { setting } else { measured }
                };
                let (vt1, tv1) = (unmarked(field(2)).0, unmarked(field(3)).0);
                let numbers = [
                    number(&mdc::FLOW_FLUID_PUMP, rate, &mdc::MILLILITRE_PER_HOUR, setting),
                    number(mapping.vt1, vt1, &mdc::MILLILITRE, kind_of(mapping.vt1)),
                    number(mapping.tv1, tv1, &mdc::MILLILITRE, kind_of(mapping.tv1)),
                ];
                for said in numbers {
                    match said {
                        Ok(said) => tell(said),
                        Err(why) => faults.add(FaultKind::Malformed, format!("pump {}: {why}", part.0)),
                    }
                }
                tell(words(&mdc::DRUG_NAME, field(4)));
            }
            Kind::Alarm => {
                match alarms::read(field(1)) {
                    Some((level, is_sounding)) => {
                        let edges = self.edges.handle_level(level);
                        edges.into_iter().for_each(&mut tell);
                        tell(sounding(is_sounding));
                    }
                    None => faults.add(FaultKind::Malformed, format!("pump {}: no alarm code", part.0)),
                }
                tell(words(&mdc::PUMP_STAT, field(2)));
            }
        }
    }

    fn identify(&mut self, said: Identity, out: &mut Vec<Action>) {
        if self.told.as_ref() == Some(&said) {
            return;
        }
        self.lose("another one has its number", out);
        if self.edges_of.as_ref() != Some(&said) {
            self.edges.forget();
        }
        self.edges_of = Some(said.clone());
        self.told = Some(said.clone());
        out.push(Action::Identify(self.part, said));
        let back = self.edges.handle_one(LOST, None);
        out.extend(back.into_iter().map(|edge| Action::Observe(self.part, edge)));
    }

    /// It is not there any more: the alarm that says so, and its end as a part.
    pub(super) fn lose(&mut self, why: &str, out: &mut Vec<Action>) {
        if self.told.take().is_none() {
            return;
        }
        let lost = raised(&mdc::EVT_COMM_LOST, &format!("pump {}: {why}", self.part.0));
        let edges = self.edges.handle_one(LOST, Some(lost));
        out.extend(edges.into_iter().map(|edge| Action::Observe(self.part, edge)));
        out.push(Action::Gone(self.part, why.to_owned()));
    }
}

/// A number without the letter that a sounding pump puts before it.
fn unmarked(field: &str) -> (&str, bool) {
    field.strip_prefix(['R', 'r']).map_or((field, false), |rest| (rest.trim_start(), true))
}

fn sounding(is_sounding: bool) -> Observation {
    observation(&codes::SOUNDING, Value::Bits(u32::from(is_sounding)), &mdc::DIMENSIONLESS, What::State)
}

fn words(metric: &'static Metric, field: &str) -> Observation {
    let value = if field.is_empty() { Value::Absent(Absent::Unknown) } else { Value::Text(text(field)) };
    observation(metric, value, &mdc::DIMENSIONLESS, What::State)
}

fn number(
    metric: &'static Metric,
    field: &str,
    unit: &'static Unit,
    kind: What,
) -> Result<Observation, String> {
    let value = if field.bytes().all(|byte| b"-. ".contains(&byte)) {
        Value::Absent(Absent::Unknown)
    } else {
        let decimal = field.parse::<Decimal>();
        Value::Decimal(decimal.map_err(|_| format!("{} is not a number: not passed on", metric.reference))?)
    };
    Ok(observation(metric, value, unit, kind))
}
