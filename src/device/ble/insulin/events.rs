//! What the events of the history say, by their type.
//!
//! In: the type of an event and its data. Out: its observations without number and time (see
//! [`super::history`]), or a [`Fault`]. Types and most fields: Insulin Delivery Service 1.0.2; the order of
//! the optional ones: ehealthinnovation/AndroidBLEParser (MIT), by an author of the service.
//!
//! An event whose fields are not known here, or whose type is the maker's own, is one observation with its
//! type, its name and all its octets: none is left out.

use super::codes;
use super::hamming::{self, Words, named, word};
use super::protection::ended;
use super::status::{Annunciation, MAKERS, auxiliary};
use super::{minutes, number, observed, text};
use crate::device::Fault;
use crate::device::ble::octets::Octets;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::{Kind, Observation, Value};

pub(super) const REFERENCE_TIME: u16 = 0x000F;
pub(super) const BASE_OFFSET: u16 = 0x0033;
const BOLUS_PROGRAMMED: u16 = 0x005A;
const BOLUS_PROGRAMMED_2: u16 = 0x0066;
const BOLUS_DELIVERED: u16 = 0x0069;
const BOLUS_DELIVERED_2: u16 = 0x0096;
const BASAL_CHANGED: u16 = 0x0099;
const TBR_STARTED: u16 = 0x00A5;
const TBR_ENDED: u16 = 0x00AA;
const TBR_CHANGED: u16 = 0x00C3;
const PROFILE_ACTIVATED: u16 = 0x00CC;
const TOTAL_DAILY: u16 = 0x00FF;
const THERAPY: u16 = 0x0303;
const OPERATIONAL: u16 = 0x030C;
const RESERVOIR: u16 = 0x0330;
const ANNUNCIATION: u16 = 0x033F;
const ANNUNCIATION_2: u16 = 0x0356;
const PRIMING_STARTED: u16 = 0x0395;
const PRIMING_DONE: u16 = 0x039A;
const MAX_BOLUS: u16 = 0x03FC;

/// The name of every type.
pub(super) const NAMES: Words = &[
    (REFERENCE_TIME, "reference time"),
    (BASE_OFFSET, "reference time with offset"),
    (0x003C, "bolus calculated, part 1"),
    (0x0055, "bolus calculated, part 2"),
    (BOLUS_PROGRAMMED, "bolus programmed, part 1"),
    (BOLUS_PROGRAMMED_2, "bolus programmed, part 2"),
    (BOLUS_DELIVERED, "bolus delivered, part 1"),
    (BOLUS_DELIVERED_2, "bolus delivered, part 2"),
    (BASAL_CHANGED, "basal rate changed"),
    (TBR_STARTED, "temporary basal rate started"),
    (TBR_ENDED, "temporary basal rate ended"),
    (TBR_CHANGED, "temporary basal rate changed"),
    (PROFILE_ACTIVATED, "profile activated"),
    (0x00F0, "basal rate profile changed"),
    (TOTAL_DAILY, "total daily insulin"),
    (THERAPY, "therapy control state changed"),
    (OPERATIONAL, "operational state changed"),
    (RESERVOIR, "reservoir amount changed"),
    (ANNUNCIATION, "annunciation, part 1"),
    (ANNUNCIATION_2, "annunciation, part 2"),
    (0x0359, "insulin sensitivity profile changed"),
    (0x0365, "carbohydrate ratio profile changed"),
    (0x036A, "target glucose profile changed"),
    (PRIMING_STARTED, "priming started"),
    (PRIMING_DONE, "priming done"),
    (0x03A6, "data corruption"),
    (0x03A9, "pointer"),
    (0x03C0, "bolus template changed, part 1"),
    (0x03CF, "bolus template changed, part 2"),
    (0x03F3, "temporary basal rate template changed"),
    (MAX_BOLUS, "largest bolus changed"),
];

/// What a type is called.
pub(super) fn name(kind: u16) -> &'static str {
    let unknown = if MAKERS.contains(&kind) { "of the maker's own" } else { "of an unknown type" };
    named(NAMES, kind).unwrap_or(unknown)
}

/// The type of the second part, for a type that is a first part.
pub(super) const fn second_part(kind: u16) -> Option<u16> {
    match kind {
        BOLUS_PROGRAMMED => Some(BOLUS_PROGRAMMED_2),
        BOLUS_DELIVERED => Some(BOLUS_DELIVERED_2),
        ANNUNCIATION => Some(ANNUNCIATION_2),
        _ => None,
    }
}

/// Reads the data of an event that is no reference time.
pub(super) fn read(kind: u16, data: &[u8]) -> Result<Vec<Observation>, Fault> {
    let Some(read) = reader(kind) else { return Ok(vec![raw(kind, data)]) };
    let mut octets = Octets::new(name(kind), data)?;
    let out = read(&mut octets)?;
    ended(name(kind), &octets)?;
    Ok(out)
}

type Reader = fn(&mut Octets<'_>) -> Result<Vec<Observation>, Fault>;

fn reader(kind: u16) -> Option<Reader> {
    Some(match kind {
        BOLUS_PROGRAMMED => {
            |o| bolus(o, [&codes::BOLUS_FAST_SET, &codes::BOLUS_EXTENDED_SET, &codes::BOLUS_TIME_SET])
        }
        BOLUS_PROGRAMMED_2 => programmed,
        BOLUS_DELIVERED => |o| bolus(o, [&codes::BOLUS_FAST, &codes::BOLUS_EXTENDED, &codes::BOLUS_TIME]),
        BOLUS_DELIVERED_2 => delivered,
        BASAL_CHANGED => basal_changed,
        TBR_STARTED => tbr_started,
        TBR_ENDED => tbr_ended,
        TBR_CHANGED => tbr_changed,
        PROFILE_ACTIVATED => profile_activated,
        TOTAL_DAILY => total_daily,
        THERAPY => |o| changed(o, [&codes::THERAPY_OLD, &codes::THERAPY], hamming::THERAPY),
        OPERATIONAL => |o| changed(o, [&codes::OPERATIONAL_OLD, &codes::OPERATIONAL], hamming::OPERATIONAL),
        RESERVOIR => |o| Ok(vec![amount(&codes::RESERVOIR, Kind::Measurement, o, "remaining amount")?]),
        ANNUNCIATION => annunciation,
        ANNUNCIATION_2 => annunciation_2,
        PRIMING_STARTED => |o| Ok(vec![amount(&codes::PRIMING_SET, Kind::Setting, o, "programmed amount")?]),
        PRIMING_DONE => priming_done,
        MAX_BOLUS => max_bolus,
        _ => return None,
    })
}

fn raw(kind: u16, data: &[u8]) -> Observation {
    let octets: Vec<String> = data.iter().map(|octet| format!("{octet:02x}")).collect();
    text(&codes::EVENT, format!("{kind:04X} {}: {}", name(kind), octets.concat()))
}

fn amount(
    metric: &'static Metric,
    kind: Kind,
    octets: &mut Octets<'_>,
    field: &'static str,
) -> Result<Observation, Fault> {
    Ok(observed(metric, octets.sfloat(field)?, &mdc::INTERNATIONAL_UNIT, kind))
}

/// Number, type, fast part, extended part, duration: of a bolus that is programmed, or was delivered.
fn bolus(octets: &mut Octets<'_>, metrics: [&'static Metric; 3]) -> Result<Vec<Observation>, Fault> {
    let [fast, extended, duration] = metrics;
    let kind = if fast.code == codes::BOLUS_FAST.code { Kind::Measurement } else { Kind::Setting };
    let id = octets.u16("bolus number")?;
    let of = word(octets, "bolus type", hamming::BOLUS_TYPE)?;
    Ok(vec![
        number(&codes::BOLUS_ID, id),
        text(&codes::BOLUS_TYPE, of),
        amount(fast, kind, octets, "fast amount")?,
        amount(extended, kind, octets, "extended amount")?,
        minutes(duration, kind, octets, "duration")?,
    ])
}

fn programmed(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let mut out = Vec::new();
    if has(0) {
        out.push(minutes(&codes::BOLUS_DELAY, Kind::Setting, octets, "delay time")?);
    }
    if has(1) {
        out.push(number(&codes::TEMPLATE, octets.u8("template number")?));
    }
    if has(2) {
        out.push(text(&codes::BOLUS_ACTIVATION, word(octets, "activation", hamming::BOLUS_ACTIVATION)?));
    }
    let reason = match (has(3), has(4)) {
        (false, false) => "not stated",
        (true, false) => "correction",
        (false, true) => "meal",
        (true, true) => "correction and meal",
    };
    out.push(text(&codes::BOLUS_REASON, reason.to_owned()));
    Ok(out)
}

fn delivered(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let has = |bit: u8| flags >> bit & 1 == 1;
    let low = octets.u16("start time offset")?;
    let high = octets.u16("start time offset")?;
    let start = u32::from(high) << 16 | u32::from(low);
    let start = Observation { unit: &mdc::SECOND, ..number(&codes::BOLUS_START, start) };
    let mut out = vec![start];
    if has(0) {
        out.push(text(&codes::BOLUS_ACTIVATION, word(octets, "activation", hamming::BOLUS_ACTIVATION)?));
    }
    if has(1) {
        out.push(text(&codes::BOLUS_END, word(octets, "end reason", hamming::END_REASON)?));
    }
    if has(2) {
        out.push(number(&codes::EVENT_ANNUNCIATION, octets.u16("annunciation number")?));
    }
    Ok(out)
}

fn basal_changed(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let rate = |metric, octets: &mut Octets<'_>| {
        let rate = octets.sfloat("basal rate")?;
        Ok(observed(metric, rate, &mdc::INTERNATIONAL_UNIT_PER_HOUR, Kind::Measurement))
    };
    let mut out = vec![rate(&codes::BASAL_OLD, octets)?, rate(&codes::BASAL, octets)?];
    if flags & 1 == 1 {
        out.push(text(&codes::BASAL_CONTEXT, word(octets, "delivery context", hamming::BASAL_CONTEXT)?));
    }
    Ok(out)
}

/// Type and value of a temporary basal rate: in IU/h, or a factor.
pub(super) fn tbr_value(octets: &mut Octets<'_>) -> Result<[Observation; 2], Fault> {
    let kind = word(octets, "TBR type", hamming::TBR_TYPE)?;
    let value = octets.sfloat("TBR value")?;
    let (metric, unit) = match kind.as_str() {
        "absolute" => (&codes::TBR_RATE, &mdc::INTERNATIONAL_UNIT_PER_HOUR),
        "relative" => (&codes::TBR_FACTOR, &mdc::DIMENSIONLESS),
        _ => (&codes::TBR_VALUE, &mdc::DIMENSIONLESS),
    };
    Ok([text(&codes::TBR_TYPE, kind), observed(metric, value, unit, Kind::Setting)])
}

fn tbr_started(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let mut out = Vec::from(tbr_value(octets)?);
    out.push(minutes(&codes::TBR_TIME_SET, Kind::Setting, octets, "programmed duration")?);
    if flags & 1 == 1 {
        out.push(number(&codes::TEMPLATE, octets.u8("template number")?));
    }
    Ok(out)
}

fn tbr_ended(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let mut out = vec![
        text(&codes::TBR_TYPE, word(octets, "TBR type", hamming::TBR_TYPE)?),
        minutes(&codes::TBR_TIME, Kind::Measurement, octets, "effective duration")?,
        text(&codes::TBR_END, word(octets, "end reason", hamming::END_REASON)?),
    ];
    if flags & 1 == 1 {
        out.push(number(&codes::TEMPLATE, octets.u8("template number")?));
    }
    if flags & 2 == 2 {
        out.push(number(&codes::EVENT_ANNUNCIATION, octets.u16("annunciation number")?));
    }
    Ok(out)
}

fn tbr_changed(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let mut out = Vec::from(tbr_value(octets)?);
    out.push(minutes(&codes::TBR_TIME_SET, Kind::Setting, octets, "programmed duration")?);
    out.push(minutes(&codes::TBR_TIME, Kind::Measurement, octets, "elapsed duration")?);
    if flags & 1 == 1 {
        out.push(number(&codes::TEMPLATE, octets.u8("template number")?));
    }
    Ok(out)
}

fn profile_activated(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    Ok(vec![
        text(&codes::PROFILE_TYPE, word(octets, "profile type", hamming::PROFILE_TYPE)?),
        number(&codes::PROFILE_OLD, octets.u8("old template number")?),
        number(&codes::PROFILE, octets.u8("new template number")?),
    ])
}

/// Flag 0: the date or time was changed on that day, so the sums are not of a whole one.
fn total_daily(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    use crate::device::observation::Quality;
    let flags = octets.u8("flags")?;
    let mut out = vec![
        amount(&codes::DAY_BOLUS, Kind::Measurement, octets, "sum of boluses")?,
        amount(&codes::DAY_BASAL, Kind::Measurement, octets, "sum of basal insulin")?,
    ];
    let (year, month, day) = (octets.u16("year")?, octets.u8("month")?, octets.u8("day")?);
    out.push(text(&codes::DAY, format!("{year:04}-{month:02}-{day:02}")));
    let quality = if flags & 1 == 1 { Quality::QUESTIONABLE } else { Quality::GOOD };
    for said in &mut out {
        said.quality = quality;
    }
    Ok(out)
}

/// A state before, and now.
fn changed(
    octets: &mut Octets<'_>,
    metrics: [&'static Metric; 2],
    words: Words,
) -> Result<Vec<Observation>, Fault> {
    let [old, new] = metrics;
    Ok(vec![text(old, word(octets, "old state", words)?), text(new, word(octets, "new state", words)?)])
}

/// Told as a state, never as an alarm: what the history says was on may be over since long.
fn annunciation(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let mut read = Annunciation::read(octets)?;
    read.auxiliary = auxiliary(octets, flags, 2)?;
    Ok(vec![read.observed()])
}

fn annunciation_2(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let added = auxiliary(octets, flags, 3)?;
    let added: Vec<String> = added.iter().map(|added| format!(" {added:04X}")).collect();
    Ok(vec![text(&codes::ANNUNCIATION, format!("auxiliary{}", added.concat()))])
}

fn priming_done(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    let flags = octets.u8("flags")?;
    let mut out = vec![
        amount(&codes::PRIMING, Kind::Measurement, octets, "delivered amount")?,
        text(&codes::PRIMING_END, word(octets, "termination reason", hamming::PRIMING_END)?),
    ];
    if flags & 1 == 1 {
        out.push(number(&codes::EVENT_ANNUNCIATION, octets.u16("annunciation number")?));
    }
    Ok(out)
}

fn max_bolus(octets: &mut Octets<'_>) -> Result<Vec<Observation>, Fault> {
    Ok(vec![
        amount(&codes::BOLUS_MAX_OLD, Kind::Setting, octets, "old amount")?,
        amount(&codes::BOLUS_MAX, Kind::Setting, octets, "new amount")?,
    ])
}

/// The octets of a value of an event, for the module that reads reference times.
pub(super) fn reason(octets: &mut Octets<'_>) -> Result<(u8, Value), Fault> {
    let code = hamming::code(octets, "recording reason")?;
    let words = named(hamming::RECORDING_REASON, code.into());
    Ok((code, Value::Text(words.map_or_else(|| format!("unknown 0x{code:02X}"), str::to_owned))))
}
