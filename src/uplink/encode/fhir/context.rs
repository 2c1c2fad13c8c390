//! What every observation says of itself beside its value: whose number it has, when it was, and, in one
//! extension `urn:wardline:context`, what neither guide has a place for.
//!
//! | part | type | meaning |
//! | --- | --- | --- |
//! | `seq` | string | number of the record within its device and run of the gateway, decimal: a gap is a loss |
//! | `run` | string | the run of the gateway, 16 hex digits |
//! | `link` | code | `bonded`, `open` (by explicit rule) or `serial` |
//! | `kind` | code | `measurement`, `setting`, `state` or `alarm` |
//! | `channel` | unsignedInt | which of several like parts of the device, when not 0 |
//! | `clock` | code | `unsynced`, when the gateway's clock followed no reference |
//! | `maxErrorUs` | string | greatest error of that clock in microseconds, when it did |
//! | `deviceTime` | string | the device's own clock, as it came, without a zone |
//! | `record` | string | the device's own number of the record that it came out of |
//! | `timeOffsetMin` | integer | minutes from the device's clock to what it shows its user |
//! | `timeZone` | integer | quarters of an hour from UTC to the device's clock, where it says |
//! | `ticks` | string | milliseconds on a counter of the device that is no calendar |
//! | `clockAheadMs` | string | by how much the device's clock was ahead of the gateway's, read on the same connection |
//! | `timeline` | code | `older`: the device's clock was set since |
//! | `received` | instant | when the gateway had it, where `effectiveDateTime` is another time or none |
//! | `quality` | code | a flag set by the device or by a plausibility bound; repeats |
//! | `reported` | string | the number that came with a value its device calls invalid |
//! | `lane` | code | of a gap: the lane that lost the records |

use super::super::Context;
use super::super::json::{decimal, instant, raw, string, whole};
use super::KEY_SYSTEM;
use crate::device::observation::{DeviceTime, Quality, Value};
use crate::device::placing::{Placed, place};
use crate::envelope::record::Record;
use crate::policy::DeviceCard;
use crate::time::ClockSync;

/// The extension `urn:wardline:context`, and the end of the list of extensions.
pub(super) fn details(out: &mut Vec<u8>, context: Context<'_>, card: &DeviceCard, record: &Record) {
    use std::io::Write as _;
    let observed = &record.observation;
    raw(out, r#"{"url":"urn:wardline:context","extension":[{"url":"seq","valueString":""#);
    whole(out, record.seq);
    // Writing to a Vec cannot fail.
    let _ = write!(out, r#""}},{{"url":"run","valueString":"{:016x}"}}"#, context.header.run);
    part(out, "link", "valueCode", card.security);
    part(out, "kind", "valueCode", observed.kind.as_str());
    if observed.channel != 0 {
        raw(out, r#",{"url":"channel","valueUnsignedInt":"#);
        whole(out, u64::from(observed.channel));
        out.push(b'}');
    }
    match record.at.sync {
        ClockSync::Unsynced => part(out, "clock", "valueCode", "unsynced"),
        ClockSync::Synced => {
            raw(out, r#",{"url":"maxErrorUs","valueString":""#);
            whole(out, u64::from(record.at.max_error_us));
            raw(out, r#""}"#);
        }
    }
    if let Some(record) = observed.record {
        let _ = write!(out, r#",{{"url":"record","valueString":"{record}"}}"#);
    }
    if let Some(time) = observed.device_time {
        device_time(out, time);
    }
    if place(observed, record.at) != Placed::Received {
        raw(out, r#",{"url":"received","valueInstant":"#);
        instant(out, record.at.wall);
        out.push(b'}');
    }
    if observed.quality != Quality::GOOD {
        for flag in observed.quality.names() {
            part(out, "quality", "valueCode", flag);
        }
    }
    if let (Value::Decimal(number), true) = (&observed.value, observed.quality.has(Quality::INVALID)) {
        raw(out, r#",{"url":"reported","valueString":""#);
        decimal(out, *number);
        raw(out, r#""}"#);
    }
    raw(out, "]}],");
}

/// The device's clock as it read, and what is known of that clock.
fn device_time(out: &mut Vec<u8>, time: DeviceTime) {
    use std::io::Write as _;
    // Writing to a Vec cannot fail.
    let _ = match time.ticks {
        Some(ticks) => write!(out, r#",{{"url":"ticks","valueString":"{ticks}"}}"#),
        None => write!(out, r#",{{"url":"deviceTime","valueString":"{time}"}}"#),
    };
    if let Some(offset) = time.offset {
        let _ = write!(out, r#",{{"url":"timeOffsetMin","valueInteger":{offset}}}"#);
    }
    if let Some(zone) = time.zone {
        let _ = write!(out, r#",{{"url":"timeZone","valueInteger":{zone}}}"#);
    }
    if let Some(ahead) = time.ahead {
        let _ = write!(out, r#",{{"url":"clockAheadMs","valueString":"{ahead}"}}"#);
    }
    if time.is_of_older_timeline {
        part(out, "timeline", "valueCode", "older");
    }
}

fn part(out: &mut Vec<u8>, name: &str, kind: &str, value: &str) {
    raw(out, r#",{"url":""#);
    raw(out, name);
    raw(out, r#"",""#);
    raw(out, kind);
    raw(out, r#"":"#);
    string(out, value);
    out.push(b'}');
}

/// Of a record of a device: the device, the element, the record's number, its own time and value. The same
/// record fetched again (after a power cut between storing it and noting so) has the same.
pub(super) const RECORD_SYSTEM: &str = "urn:wardline:device-record";

/// When it was, on the gateway's timeline; or that nobody can say.
pub(super) fn effective(out: &mut Vec<u8>, record: &Record) {
    match place(&record.observation, record.at) {
        Placed::Received => {
            raw(out, r#""effectiveDateTime":"#);
            instant(out, record.at.wall);
        }
        Placed::At(wall) => {
            raw(out, r#""effectiveDateTime":"#);
            instant(out, wall);
        }
        Placed::Unknown => raw(
            out,
            r#""_effectiveDateTime":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"unknown"}]}"#,
        ),
    }
}

/// The name of a device's record, where it has one that no other record can have: numbers alone start again
/// when a device is reset.
fn record_name(card: &DeviceCard, record: &Record) -> Option<String> {
    let observed = &record.observation;
    let number = observed.record?;
    let time = observed.device_time.filter(|time| time.year != 0 || time.ticks.is_some())?;
    let stamp = time.ticks.map_or_else(|| time.to_string(), |ticks| ticks.to_string());
    let value = match &observed.value {
        Value::Decimal(value) => value.to_string(),
        Value::Bits(bits) => bits.to_string(),
        Value::Absent(reason) => reason.code().to_owned(),
        Value::Text(_) | Value::Alarm(_) | Value::Samples(_) => return None,
    };
    let (device, code) = (&card.pseudonym, observed.metric.code);
    Some(format!("{device}-{code}-{number}-{stamp}-{value}"))
}

/// The record's idempotency key, and the name of the device's record where it has one.
pub(super) fn identifiers(
    out: &mut Vec<u8>,
    context: Context<'_>,
    of: Option<(&DeviceCard, &Record)>,
    index: usize,
) {
    raw(out, r#""identifier":[{"system":""#);
    raw(out, KEY_SYSTEM);
    raw(out, r#"","value":""#);
    key(out, context, index);
    raw(out, r#""}"#);
    if let Some(name) = of.and_then(|(card, record)| record_name(card, record)) {
        raw(out, r#",{"system":""#);
        raw(out, RECORD_SYSTEM);
        raw(out, r#"","value":""#);
        raw(out, &name);
        raw(out, r#""}"#);
    }
    out.push(b']');
}

/// What must not exist yet for an entry to be created: `system|value`.
pub(super) fn if_none_exist(
    out: &mut Vec<u8>,
    context: Context<'_>,
    of: Option<(&DeviceCard, &Record)>,
    index: usize,
) {
    if let Some(name) = of.and_then(|(card, record)| record_name(card, record)) {
        raw(out, RECORD_SYSTEM);
        out.push(b'|');
        raw(out, &name);
    } else {
        raw(out, KEY_SYSTEM);
        out.push(b'|');
        key(out, context, index);
    }
}

fn key(out: &mut Vec<u8>, context: Context<'_>, index: usize) {
    raw(out, context.keys.prefix());
    whole(out, u64::try_from(index).unwrap_or(u64::MAX));
}
