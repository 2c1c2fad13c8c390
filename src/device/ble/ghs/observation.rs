//! One health observation, and a bundle of them.
//!
//! In: class u8, length u16, flags u16, the fields that the flags announce in their order, the value. Out:
//! observations, and a word on what of it could not be filed; or, where it is not what it should be from end
//! to end, a [`Fault`] and nothing.

use super::status::MeasurementStatus;
use super::types::{self, MEASUREMENT_STATUS, Shape};
use super::value::{self, BUNDLE, COMPOUND, Raw, TLV};
use crate::device::ble::elapsed_time::elapsed_time;
use crate::device::ble::octets::Octets;
use crate::device::nomenclature::{CONC_GLU_CONTROL, DIMENSIONLESS, Metric, Unit};
use crate::device::observation::{DeviceTime, Kind, Observation, Quality, Value};
use crate::device::{Fault, FaultKind};

const WHAT: &str = "health observation";

/// Class and length, which the length does not count.
const HEAD: usize = 3;

/// The term that makes a glucose reading one of control solution.
const CONTROL_SOLUTION: u32 = 8_417_860;

/// How many of the things that cannot be filed are named.
const NAMED: usize = 4;

/// What one message said.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) observations: Vec<Observation>,
    /// What could not be filed, each once.
    unfiled: Vec<String>,
    is_control_solution: bool,
}

/// What holds for a value beside its type: stated with it, or taken over from the bundle.
#[derive(Clone, Debug, Default)]
struct Context {
    code: Option<u32>,
    time: Option<DeviceTime>,
    /// What the time says against itself.
    clock: Quality,
    status: MeasurementStatus,
    supplemental: Vec<u32>,
    /// Those of `supplemental` that are not taken over.
    own: Vec<u32>,
    /// Something beside the value says that it is of control solution.
    is_control_solution: bool,
}

impl Context {
    /// The supplemental type that says how a value was got: of its own, and only where none does, of the bundle's.
    fn modality(&self) -> u32 {
        match types::modality(&self.own) {
            0 => types::modality(&self.supplemental),
            own => own,
        }
    }
}

/// Reads a whole message; `record` is the number of the stored record that it is.
pub(super) fn read(message: &[u8], record: Option<u32>) -> Result<Found, Fault> {
    let mut octets = Octets::reassembled(WHAT, message);
    let class = octets.u8("class")?;
    let mut body = body(&mut octets)?;
    if !octets.is_empty() {
        return Err(length_fault(message, octets.left()));
    }
    let mut found = Found::default();
    if class == BUNDLE {
        bundle(&mut body, &mut found)?;
    } else {
        single(class, &mut body, &Context::default(), &mut found)?;
    }
    found.conclude(record);
    Ok(found)
}

/// The length, and as many octets as it says.
fn body<'a>(octets: &mut Octets<'a>) -> Result<Octets<'a>, Fault> {
    let length = octets.u16("length")?;
    if usize::from(length) == octets.left() + HEAD {
        let detail = format!("{WHAT} counts its class and length in its length, as a draft had it: refused");
        return Err(Fault::new(FaultKind::Malformed, detail));
    }
    Ok(Octets::reassembled(WHAT, octets.bytes(length.into(), "body")?))
}

fn length_fault(message: &[u8], behind: usize) -> Fault {
    let detail = format!("{WHAT} has {} octets, {behind} more than its length says", message.len());
    Fault::new(FaultKind::Malformed, detail)
}

fn bundle(octets: &mut Octets<'_>, found: &mut Found) -> Result<(), Fault> {
    let common = fields(octets, &Context::default())?;
    found.is_control_solution |= common.is_control_solution;
    let count = octets.u8("number of observations")?;
    for _ in 0..count {
        let class = octets.u8("class of a bundled observation")?;
        if class == BUNDLE {
            return Err(Fault::new(FaultKind::Malformed, format!("{WHAT} is a bundle within a bundle")));
        }
        let length = octets.u16("length of a bundled observation")?;
        let body = octets.bytes(length.into(), "bundled observation")?;
        single(class, &mut Octets::reassembled(WHAT, body), &common, found)?;
    }
    found.push_supplemental(&common);
    end(octets)
}

fn single(class: u8, octets: &mut Octets<'_>, common: &Context, found: &mut Found) -> Result<(), Fault> {
    let context = fields(octets, common)?;
    found.is_control_solution |= context.is_control_solution;
    match class {
        COMPOUND | TLV => {
            let part = if class == TLV { value::tlv } else { value::component };
            for _ in 0..octets.u8("number of components")? {
                let (code, raw) = part(octets)?;
                found.push(code, raw, &context);
            }
        }
        _ => {
            let raw = value::simple(class, octets)?;
            let Some(code) = context.code else {
                return Err(Fault::new(FaultKind::Malformed, format!("{WHAT} has no observation type")));
            };
            found.push(code, raw, &context);
        }
    }
    found.push_supplemental(&context);
    found.push_status(&context);
    end(octets)
}

fn end(octets: &Octets<'_>) -> Result<(), Fault> {
    if octets.is_empty() {
        return Ok(());
    }
    let detail = format!("{WHAT} has {} octets behind its value", octets.left());
    Err(Fault::new(FaultKind::Malformed, detail))
}

/// The flags and the fields that they announce. Read over and left out: duration, observation id, what it is
/// derived from or a member of, further attributes; and the patient, see the profile's page.
fn fields(octets: &mut Octets<'_>, common: &Context) -> Result<Context, Fault> {
    let flags = octets.u16("flags")?;
    let has = |bit: u32| flags >> bit & 1 != 0;
    let mut context = Context { code: None, own: Vec::new(), ..common.clone() };
    if has(0) {
        context.code = Some(octets.u32("observation type")?);
    }
    if has(1) {
        let (time, clock) = elapsed_time(octets)?;
        (context.time, context.clock) = (Some(time), clock);
    }
    if has(2) {
        octets.u32("measurement duration")?;
    }
    if has(3) {
        context.status = common.status.with(MeasurementStatus(octets.u16("measurement status")?));
    }
    if has(4) {
        octets.u32("observation id")?;
    }
    if has(5) {
        octets.u8("patient")?;
    }
    if has(6) {
        let count = octets.u8("number of supplemental types")?;
        context.own = value::codes(count, "supplemental type", octets)?;
        context.supplemental = context.own.iter().chain(&common.supplemental).copied().collect();
        context.is_control_solution |= context.own.contains(&CONTROL_SOLUTION);
    }
    for (bit, field) in [(7, "derived-from id"), (8, "member-of id")] {
        if has(bit) {
            let count = octets.u8("number of related observations")?;
            value::codes(count, field, octets)?;
        }
    }
    if has(9) {
        for _ in 0..octets.u8("number of attributes")? {
            let (_, raw) = value::tlv(octets)?;
            context.is_control_solution |= raw.says(CONTROL_SOLUTION);
        }
    }
    Ok(context)
}

impl Found {
    /// What could not be filed, in one fault.
    pub(super) fn fault(&self) -> Option<Fault> {
        let named = self.unfiled.get(..self.unfiled.len().min(NAMED))?;
        let more = self.unfiled.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        let detail = format!("{WHAT}: {}{more}", named.join("; "));
        (!named.is_empty()).then(|| Fault::new(FaultKind::Unexpected, detail))
    }

    fn push(&mut self, code: u32, raw: Raw<'_>, context: &Context) {
        // Whether or not it can be filed itself.
        self.is_control_solution |= code == CONC_GLU_CONTROL.code || raw.says(CONTROL_SOLUTION);
        let filed = self.file(code, raw, context);
        if let Err(why) = filed
            && !self.unfiled.contains(&why)
        {
            self.unfiled.push(why);
        }
    }

    fn file(&mut self, code: u32, raw: Raw<'_>, context: &Context) -> Result<(), String> {
        let (metric, shape) =
            types::find(code).ok_or_else(|| format!("type {code} is none that is filed here"))?;
        let of_type = |why: String| format!("type {code}: {why}");
        let known = |unit: u16| {
            types::unit(unit)
                .ok_or_else(|| format!("type {code}: unit {} is not known", 4 << 16 | u32::from(unit)))
        };
        let (value, unit, kind) = match (shape, raw) {
            (Shape::Number, Raw::Number { unit, number }) => (number, known(unit)?, Kind::Measurement),
            (Shape::Code, Raw::Codes(codes)) => {
                (value::terms(&codes).map_err(of_type)?, &DIMENSIONLESS, Kind::State)
            }
            (Shape::Code, Raw::Bits(bits)) => (Value::Bits(bits), &DIMENSIONLESS, Kind::State),
            (Shape::Text, Raw::Text(octets)) => (value::text(octets), &DIMENSIONLESS, Kind::State),
            (Shape::Wave, Raw::Wave(wave)) => {
                (Value::Samples(wave.samples().map_err(of_type)?), known(wave.unit)?, Kind::Wave)
            }
            (_, other) => return Err(of_type(format!("it came as {}", other.kind()))),
        };
        self.observations.push(observation(metric, value, unit, kind, context));
        Ok(())
    }

    /// What its own supplemental types say of a sample (fasting, who measured), as far as its modality does not.
    fn push_supplemental(&mut self, context: &Context) {
        let modality = context.modality();
        for metric in types::CIRCUMSTANCES {
            let is_its = |code: &u32| types::circumstance(*code) == Some(*metric) && *code != modality;
            let codes: Vec<u32> = context.own.iter().copied().filter(is_its).collect();
            if codes.is_empty() {
                continue;
            }
            match value::terms(&codes) {
                Ok(value) => {
                    let stated = observation(metric, value.clone(), &DIMENSIONLESS, Kind::State, context);
                    self.observations.push(Observation { value, kind: Kind::State, modality: 0, ..stated });
                }
                Err(why) => self.unfiled.push(format!("supplemental types: {why}")),
            }
        }
    }

    /// The status by itself, where it says what no flag of an observation does.
    fn push_status(&mut self, context: &Context) {
        if let Some(bits) = context.status.unexpressed() {
            let value = Value::Bits(bits);
            let stated =
                observation(&MEASUREMENT_STATUS, value.clone(), &DIMENSIONLESS, Kind::State, context);
            // The status itself is neither a setting nor made worthless by what it says.
            self.observations.push(Observation { value, kind: Kind::State, ..stated });
        }
    }

    /// What is known only at the end: the record, and whether any of it said that it is control solution.
    fn conclude(&mut self, record: Option<u32>) {
        let stored = if record.is_some() { Quality::STORED } else { Quality::GOOD };
        for observation in &mut self.observations {
            observation.record = record;
            observation.quality = observation.quality.with(stored);
            if self.is_control_solution && observation.kind != Kind::State {
                let test = MeasurementStatus::test_data();
                observation.value = test.gate(observation.value.clone());
                observation.quality = observation.quality.with(test.quality());
            }
        }
    }
}

fn observation(
    metric: &'static Metric,
    value: Value,
    unit: &'static Unit,
    kind: Kind,
    context: &Context,
) -> Observation {
    let status = context.status;
    Observation {
        metric,
        channel: 0,
        value: status.gate(value),
        unit,
        modality: context.modality(),
        kind: if status.is_setting() { Kind::Setting } else { kind },
        record: None,
        device_time: context.time,
        status: status.status(),
        quality: status.quality().with(context.clock),
    }
}
