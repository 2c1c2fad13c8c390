//! FHIR R4 (4.0.1): one transaction Bundle for each parcel, one Observation for each record, created
//! only if none with its identifier exists. Written by hand into a reused buffer; the tests and
//! `tests/payload/validate.sh` hold it against the specification.
//!
//! Shapes: what a BLE monitor says follows the HL7 Personal Health Device guide
//! (`PhdNumericObservation`, `PhdStringEnumerationObservation`), what a device on a wire says follows
//! the Point-of-Care Device guide (`NumericObservation`, `EnumerationObservation`). Alarms have no
//! profile yet in either and carry none. The subject is the device's pseudonym, as the gateway
//! knows no patient; of what a sensor says of the air around it, the pseudonym of the place. That has no profile either.
//!
//! What neither guide has a place for is in one extension, see `context`.

mod context;

use super::json::{decimal, instant, raw, string, whole};
use super::{Body, Context, Item};
use crate::device::ble::is_of_place;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{TIME_ABS, Unit};
use crate::device::observation::{Absent, Alarm, Kind, Observation, Quality, Samples, Value};
use crate::envelope::record::{Gap, Record};
use crate::policy::DeviceCard;
use crate::time::{Wall, civil_millis};
use context::{details, effective, identifiers, if_none_exist};

/// The system of the record's idempotency key.
pub const KEY_SYSTEM: &str = "urn:wardline:record";

/// Writes as many items as the limit allows, at least one. Gives their number.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    context: Context<'a>,
    items: impl Iterator<Item = Item<'a>>,
    limit: usize,
) -> usize {
    raw(out, r#"{"resourceType":"Bundle","type":"transaction","entry":["#);
    let mut count = 0;
    for item in items {
        if count > 0 {
            out.push(b',');
        }
        raw(out, r#"{"resource":{"resourceType":"Observation","#);
        match (item.body, context.device) {
            (Body::Record(record), Some(card)) => observation(out, context, card, item.index, record),
            // A record without a device does not pass the plan; a gap has none.
            (Body::Record(_), None) => {}
            (Body::Gap(gap), _) => self::gap(out, context, item.index, gap),
        }
        raw(out, r#"},"request":{"method":"POST","url":"Observation","ifNoneExist":"identifier="#);
        let of = match item.body {
            Body::Record(record) => context.device.map(|card| (card, record)),
            Body::Gap(_) => None,
        };
        if_none_exist(out, context, of, item.index);
        raw(out, r#""}}"#);
        count += 1;
        if out.len() >= limit {
            break;
        }
    }
    raw(out, "]}");
    count
}

/// Which guide a device's observations follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guide {
    Personal,
    PointOfCare,
}

fn guide(card: &DeviceCard) -> Guide {
    if card.security == "serial" { Guide::PointOfCare } else { Guide::Personal }
}

fn observation(out: &mut Vec<u8>, context: Context<'_>, card: &DeviceCard, index: usize, record: &Record) {
    let observed = &record.observation;
    let guide = guide(card);
    let location = card.location.as_deref().filter(|_| is_of_place(observed.metric));
    // The guides are for devices at a patient.
    if location.is_none() {
        meta(out, guide, observed);
    }
    raw(out, r#""extension":["#);
    if guide == Guide::Personal {
        raw(out, r#"{"url":"http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice","#);
        raw(out, r#""valueReference":{"reference":"Device/"#);
        raw(out, context.gateway);
        raw(out, r#""}},"#);
    }
    details(out, context, card, record);
    identifiers(out, context, Some((card, record)), index);
    raw(out, r#","status":""#);
    raw(out, observed.status.as_str());
    raw(out, "\",");
    categories(out, guide, observed);
    code(out, observed);
    raw(out, r#","subject":{"reference":""#);
    raw(out, if location.is_some() { "Location/" } else { "Device/" });
    raw(out, location.unwrap_or(&card.pseudonym));
    raw(out, r#""},"#);
    effective(out, record);
    out.push(b',');
    value(out, card, observed);
    interpretation(out, observed.quality);
    raw(out, r#","device":{"reference":""#);
    match guide {
        Guide::Personal => {
            raw(out, "Device/");
            raw(out, &card.pseudonym);
        }
        Guide::PointOfCare => {
            raw(out, "DeviceMetric/");
            raw(out, &card.pseudonym);
            out.push(b'-');
            whole(out, u64::from(observed.channel));
            out.push(b'-');
            whole(out, u64::from(observed.metric.code));
        }
    }
    raw(out, r#""}"#);
    components(out, observed);
}

/// Whether it is a device's own clock: the coincident time stamp of the PHD guide.
fn is_clock(observed: &Observation) -> bool {
    observed.metric.code == TIME_ABS.code
}

/// What a device's clock read, as if it stood in the zone of the gateway (UTC), as the guide assumes.
fn clock_reading(observed: &Observation) -> Option<Wall> {
    let time = observed.device_time.filter(|time| is_clock(observed) && time.ticks.is_none())?;
    let (date, clock) =
        ((time.year, time.month, time.day), (time.hour, time.minute, time.second, time.millis));
    civil_millis(date, clock).map(Wall::from_millis)
}

fn meta(out: &mut Vec<u8>, guide: Guide, observed: &Observation) {
    let profile = match (&observed.value, guide) {
        (Value::Alarm(_), _) => None,
        (Value::Text(_) | Value::Absent(_), Guide::Personal) if is_clock(observed) => {
            Some("phd/StructureDefinition/PhdCoincidentTimeStampObservation")
        }
        (Value::Samples(_), Guide::Personal) => Some("phd/StructureDefinition/PhdRtsaObservation"),
        (Value::Samples(_), Guide::PointOfCare) => {
            Some("pocd/StructureDefinition/RealTimeSampleArrayObservation")
        }
        (Value::Decimal(_) | Value::Absent(_), Guide::Personal) => {
            Some("phd/StructureDefinition/PhdNumericObservation")
        }
        (Value::Text(_) | Value::Bits(_), Guide::Personal) => {
            Some("phd/StructureDefinition/PhdStringEnumerationObservation")
        }
        (Value::Decimal(_) | Value::Absent(_), Guide::PointOfCare) => {
            Some("pocd/StructureDefinition/NumericObservation")
        }
        (Value::Text(_) | Value::Bits(_), Guide::PointOfCare) => {
            Some("pocd/StructureDefinition/EnumerationObservation")
        }
    };
    let test = observed.quality.has(Quality::TEST) || observed.quality.has(Quality::DEMONSTRATION);
    if profile.is_none() && !test {
        return;
    }
    raw(out, r#""meta":{"#);
    if let Some(profile) = profile {
        raw(out, r#""profile":["http://hl7.org/fhir/uv/"#);
        raw(out, profile);
        raw(out, r#""]"#);
    }
    if test {
        if profile.is_some() {
            out.push(b',');
        }
        raw(
            out,
            r#""security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HTEST"}]"#,
        );
    }
    raw(out, "},");
}

/// The PHD guide wants its own category on everything; `vital-signs` where the element has a LOINC
/// code and was measured.
fn categories(out: &mut Vec<u8>, guide: Guide, observed: &Observation) {
    let vital = observed.metric.loinc.is_some() && observed.kind == Kind::Measurement;
    let personal = guide == Guide::Personal;
    if !vital && !personal {
        return;
    }
    raw(out, r#""category":["#);
    if vital {
        raw(
            out,
            r#"{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"vital-signs"}]}"#,
        );
    }
    if personal {
        raw(out, if vital { "," } else { "" });
        raw(
            out,
            r#"{"coding":[{"system":"http://hl7.org/fhir/uv/phd/CodeSystem/PhdObservationCategories","code":"phd"}]}"#,
        );
    }
    raw(out, "],");
}

fn code(out: &mut Vec<u8>, observed: &Observation) {
    let metric = observed.metric;
    raw(out, r#""code":{"coding":["#);
    mdc(out, u64::from(metric.code), Some(metric.reference));
    if let (Some(loinc), Kind::Measurement) = (metric.loinc, observed.kind) {
        raw(out, r#",{"system":"http://loinc.org","code":""#);
        raw(out, loinc);
        raw(out, r#""}"#);
    }
    raw(out, r#"],"text":"#);
    string(out, metric.label);
    out.push(b'}');
}

fn mdc(out: &mut Vec<u8>, code: u64, display: Option<&str>) {
    raw(out, r#"{"system":"urn:iso:std:iso:11073:10101","code":""#);
    whole(out, code);
    if let Some(display) = display {
        raw(out, r#"","display":""#);
        raw(out, display);
    }
    raw(out, r#""}"#);
}

fn value(out: &mut Vec<u8>, card: &DeviceCard, observed: &Observation) {
    use std::io::Write as _;
    match &observed.value {
        // PHD guide: a measurement status of "invalid" leaves no value.
        Value::Decimal(_) if observed.quality.has(Quality::INVALID) => absent(out, Absent::Error),
        Value::Decimal(number) => {
            raw(out, r#""valueQuantity":{"value":"#);
            decimal(out, *number);
            quantity_unit(out, observed.unit);
        }
        Value::Absent(reason) => absent(out, *reason),
        Value::Text(text) if text.trim().is_empty() => absent(out, Absent::Unknown),
        Value::Text(text) => {
            if let Some(reading) = clock_reading(observed) {
                raw(out, r#""valueDateTime":"#);
                instant(out, reading);
            } else {
                raw(out, r#""valueString":"#);
                string(out, text);
            }
        }
        Value::Bits(bits) => {
            let _ = write!(out, r#""valueString":"0x{bits:08x}""#);
        }
        Value::Alarm(alarm) => condition(out, card, alarm),
        Value::Samples(samples) if samples.values.is_empty() => absent(out, Absent::Unknown),
        Value::Samples(samples) => sampled(out, observed.unit, samples),
    }
}

/// `SampledData`: the period in milliseconds, `E` where the device had no sample.
fn sampled(out: &mut Vec<u8>, unit: &Unit, samples: &Samples) {
    use std::io::Write as _;
    raw(out, r#""valueSampledData":{"origin":{"value":0"#);
    quantity_unit(out, unit);
    raw(out, r#","period":"#);
    decimal(out, Decimal::new(i64::from(samples.period_us), -3));
    raw(out, r#","factor":"#);
    decimal(out, Decimal::new(1, samples.exponent));
    raw(out, r#","dimensions":1,"data":""#);
    for (place, value) in samples.values.iter().enumerate() {
        raw(out, if place == 0 { "" } else { " " });
        if *value == Samples::MISSING {
            out.push(b'E');
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{value}");
        }
    }
    raw(out, r#""}"#);
}

fn quantity_unit(out: &mut Vec<u8>, unit: &Unit) {
    if !unit.symbol.is_empty() {
        raw(out, r#","unit":"#);
        string(out, unit.symbol);
    }
    raw(out, r#","system":"http://unitsofmeasure.org","code":"#);
    string(out, unit.ucum);
    out.push(b'}');
}

fn absent(out: &mut Vec<u8>, reason: Absent) {
    raw(
        out,
        r#""dataAbsentReason":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/data-absent-reason","code":""#,
    );
    raw(out, reason.code());
    raw(out, r#""}]}"#);
}

/// The device's own alarm code under a system named after its model, and the words for a person.
fn condition(out: &mut Vec<u8>, card: &DeviceCard, alarm: &Alarm) {
    raw(out, r#""valueCodeableConcept":{"#);
    let code = alarm.code.split_whitespace().collect::<Vec<_>>().join(" ");
    if !code.is_empty() {
        raw(out, r#""coding":[{"system":"#);
        string(out, &format!("urn:wardline:alarm:{}", card.model));
        raw(out, r#","code":"#);
        string(out, &code);
        raw(out, "}],");
    }
    let text = if alarm.text.trim().is_empty() { "alarm" } else { alarm.text.as_str() };
    raw(out, r#""text":"#);
    string(out, text);
    out.push(b'}');
}

/// Measurement status, in the words that the PHD guide takes from the `PoCD` guide's code system.
fn interpretation(out: &mut Vec<u8>, quality: Quality) {
    for (flag, code) in
        [(Quality::QUESTIONABLE, "questionable"), (Quality::CALIBRATING, "calibration-ongoing")]
    {
        if quality.has(flag) {
            raw(
                out,
                r#","interpretation":[{"coding":[{"system":"http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status","code":""#,
            );
            raw(out, code);
            raw(out, r#""}]}]"#);
            // One element of this name only: the graver word wins.
            return;
        }
    }
}

/// Supplemental type (PHD guide, code 68193), and phase and priority of an alarm (the codes that IHE
/// PCD-04 gives them).
fn components(out: &mut Vec<u8>, observed: &Observation) {
    const SUPPLEMENTAL_TYPES: u64 = 68_193;
    const EVENT_PHASE: u64 = 68_481;
    const INACTIVATION: u64 = 68_483;
    const ALARM_PRIORITY: u64 = 68_484;
    let mut opened = false;
    let mut open = |out: &mut Vec<u8>, code: u64| {
        raw(out, if opened { "," } else { r#","component":["# });
        opened = true;
        raw(out, r#"{"code":{"coding":["#);
        mdc(out, code, None);
        raw(out, "]},");
    };
    if observed.modality != 0 {
        open(out, SUPPLEMENTAL_TYPES);
        raw(out, r#""valueCodeableConcept":{"coding":["#);
        mdc(out, u64::from(observed.modality), None);
        raw(out, "]}}");
    }
    if let Value::Alarm(alarm) = &observed.value {
        let silenced = alarm.is_silenced.then_some((INACTIVATION, "audio-paused"));
        let words = [(EVENT_PHASE, alarm.phase.as_str()), (ALARM_PRIORITY, alarm.priority.as_str())];
        for (code, word) in words.into_iter().chain(silenced) {
            open(out, code);
            raw(out, r#""valueString":""#);
            raw(out, word);
            raw(out, r#""}"#);
        }
    }
    if opened {
        out.push(b']');
    }
}

fn gap(out: &mut Vec<u8>, context: Context<'_>, index: usize, gap: &Gap) {
    raw(out, r#""extension":[{"url":"urn:wardline:context","extension":[{"url":"lane","valueCode":""#);
    raw(out, gap.lane.as_str());
    raw(out, r#""}]}],"#);
    identifiers(out, context, None, index);
    raw(
        out,
        r#","status":"final","code":{"coding":[{"system":"urn:wardline:code","code":"gap"}],"text":"observations lost"},"subject":{"reference":"Device/"#,
    );
    raw(out, context.gateway);
    raw(out, r#""},"effectivePeriod":{"start":"#);
    instant(out, gap.first);
    raw(out, r#","end":"#);
    instant(out, gap.last);
    raw(out, r#"},"valueQuantity":{"value":"#);
    whole(out, gap.count);
    raw(out, r#","unit":"records","system":"http://unitsofmeasure.org","code":"{records}"}"#);
    if !gap.reason.trim().is_empty() {
        raw(out, r#","note":[{"text":"#);
        string(out, &gap.reason);
        raw(out, "}]");
    }
}
