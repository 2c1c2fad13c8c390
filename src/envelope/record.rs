//! The canonical record: explicit little-endian bytes, version first (`FORMAT.md`).
//!
//! In: observations, gaps and events. Out: bytes, and from bytes the same again. A thing has one form only:
//! whatever is read without an error gives the same bytes when it is written again.

use super::stamp;
use super::wire::{Put, Take};
use crate::device::decimal::Decimal;
use crate::device::nomenclature;
use crate::device::observation::{
    Absent, Alarm, Kind, Lane, MAX_SAMPLES, Observation, Phase, Priority, Quality, Samples, Status, Value,
};
use crate::policy::event::{Detection, Event};
use crate::time::{ClockSync, Mono, Now, Wall};

/// One thing that is stored and sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// An observation.
    Observation(Record),
    /// Word of observations that had to be dropped.
    Gap(Gap),
    /// What the gateway itself has to say.
    Event(Event),
}

/// An observation as read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The device's place in the block header's list.
    pub device: u16,
    /// Its number within device and run.
    pub seq: u64,
    /// When the gateway knew.
    pub at: Now,
    /// What.
    pub observation: Observation,
}

/// What was dropped: never silently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The lane that lost it.
    pub lane: Lane,
    /// How many records.
    pub count: u64,
    /// Wall time of the first.
    pub first: Wall,
    /// Wall time of the last.
    pub last: Wall,
    /// Why, in words.
    pub reason: String,
}

/// The bytes are not a record or block of a version that this program knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes end too early.
    #[error("the bytes end too early")]
    End,
    /// An unknown format version.
    #[error("format version {0} is not known to this program")]
    Version(u8),
    /// A field has a value that no version of this program wrote.
    #[error("field {0} has an impossible value")]
    Field(&'static str),
}

/// The most bytes that one record takes: every number at its longest and two texts of
/// [`MAX_STR`](super::wire::MAX_STR) bytes come to 584.
pub const MAX_RECORD: usize = 600;

/// First byte of a record: version in the high four bits, sort in the low four.
const OBSERVATION_V1: u8 = 0x11;
const GAP_V1: u8 = 0x12;
const EVENT_V1: u8 = 0x13;

// Which of the fields that are mostly absent a record has. A field that is announced is never the
// value that its absence stands for, so that a record has one form only.
const SYNCED: u8 = 1;
const MAX_ERROR: u8 = 1 << 1;
const CHANNEL: u8 = 1 << 2;
const MODALITY: u8 = 1 << 3;
const DEVICE_TIME: u8 = 1 << 4;
const PRELIMINARY: u8 = 1 << 5;
const QUALITY: u8 = 1 << 6;
const STAMP: u8 = 1 << 7;

/// An observation to be written: what a [`Record`] holds, borrowed.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) device: u16,
    pub(super) seq: u64,
    pub(super) at: Now,
    pub(super) observation: &'a Observation,
}

/// Writes an observation; its stamp as the distance from `base`.
pub(super) fn put_observation(out: &mut Vec<u8>, draft: Draft<'_>, base: &Now) {
    let Draft { device, seq, at, observation } = draft;
    let Observation { metric, channel, value, unit, modality, kind, record, device_time, status, quality } =
        observation;
    let mut flags = 0;
    let mut announce = |flag, present: bool| flags |= if present { flag } else { 0 };
    announce(SYNCED, at.sync == ClockSync::Synced);
    announce(MAX_ERROR, at.max_error_us != base.max_error_us);
    announce(CHANNEL, *channel != 0);
    announce(MODALITY, *modality != 0);
    announce(DEVICE_TIME, device_time.is_some());
    announce(PRELIMINARY, *status == Status::Preliminary);
    announce(QUALITY, *quality != Quality::GOOD);
    announce(STAMP, stamp::has_more(*record, *device_time));

    out.put_u8(OBSERVATION_V1);
    out.put_u8(flags);
    out.put_u8(value_tag(value) | kind_code(*kind) << 4);
    out.put_varint(u64::from(device));
    out.put_varint(seq);
    out.put_signed(delta(at.mono.as_nanos(), base.mono.as_nanos()));
    out.put_signed(at.wall.as_millis().wrapping_sub(base.wall.as_millis()));
    out.put_varint(u64::from(metric.code));
    out.put_varint(u64::from(unit.code));
    if at.max_error_us != base.max_error_us {
        out.put_varint(u64::from(at.max_error_us));
    }
    if *channel != 0 {
        out.put_u8(*channel);
    }
    if *modality != 0 {
        out.put_varint(u64::from(*modality));
    }
    if let Some(time) = *device_time {
        stamp::put_clock(out, time);
    }
    if stamp::has_more(*record, *device_time) {
        stamp::put_more(out, *record, *device_time);
    }
    if *quality != Quality::GOOD {
        out.put_varint(u64::from(quality.bits()));
    }
    put_value(out, value);
}

/// Writes a gap.
pub(super) fn put_gap(out: &mut Vec<u8>, gap: &Gap) {
    out.put_u8(GAP_V1);
    out.put_u8(lane_code(gap.lane));
    out.put_varint(gap.count);
    out.put_signed(gap.first.as_millis());
    out.put_signed(gap.last.as_millis());
    out.put_str(&gap.reason);
}

/// Writes an event. Its stamps stand alone, as those of a gap do.
pub(super) fn put_event(out: &mut Vec<u8>, event: &Event) {
    let Event { detection, phase, device, detail, at } = event;
    out.put_u8(EVENT_V1);
    out.put_u8(detection.code());
    out.put_u8(phase_code(*phase) | if at.sync == ClockSync::Synced { EVENT_SYNCED } else { 0 });
    out.put_varint(at.mono.as_nanos());
    out.put_signed(at.wall.as_millis());
    out.put_varint(u64::from(at.max_error_us));
    out.put_str(device);
    out.put_str(detail);
}

/// Of the byte with an event's phase: the wall clock followed a reference.
const EVENT_SYNCED: u8 = 0x08;

fn take_event(take: &mut Take<'_>) -> Result<Event, FormatError> {
    let detection = Detection::of_code(take.u8()?).ok_or(FormatError::Field("detection"))?;
    let codes = take.u8()?;
    let at = Now {
        mono: Mono::from_nanos(take.varint()?),
        wall: Wall::from_millis(take.signed()?),
        sync: if codes & EVENT_SYNCED != 0 { ClockSync::Synced } else { ClockSync::Unsynced },
        max_error_us: take.small("max_error")?,
    };
    Ok(Event {
        detection,
        phase: phase_of(codes & !EVENT_SYNCED).ok_or(FormatError::Field("phase"))?,
        device: take.str("device id")?.to_owned(),
        detail: take.str("detail")?.to_owned(),
        at,
    })
}

/// Reads one record, gap or event.
pub(super) fn take_entry(take: &mut Take<'_>, base: &Now) -> Result<Entry, FormatError> {
    match take.u8()? {
        OBSERVATION_V1 => take_observation(take, base).map(Entry::Observation),
        GAP_V1 => Ok(Entry::Gap(Gap {
            lane: lane_of(take.u8()?).ok_or(FormatError::Field("lane"))?,
            count: take.varint()?,
            first: Wall::from_millis(take.signed()?),
            last: Wall::from_millis(take.signed()?),
            reason: take.str("reason")?.to_owned(),
        })),
        EVENT_V1 => take_event(take).map(Entry::Event),
        other if other >> 4 == 1 => Err(FormatError::Field("record")),
        other => Err(FormatError::Version(other >> 4)),
    }
}

fn take_observation(take: &mut Take<'_>, base: &Now) -> Result<Record, FormatError> {
    let flags = take.u8()?;
    let tags = take.u8()?;
    let device = take.small("device")?;
    let seq = take.varint()?;
    let nanos = base.mono.as_nanos().wrapping_add_signed(take.signed()?);
    let millis = base.wall.as_millis().wrapping_add(take.signed()?);
    let metric = nomenclature::metric(take.small("metric")?).ok_or(FormatError::Field("metric"))?;
    let unit = nomenclature::unit(take.small("unit")?).ok_or(FormatError::Field("unit"))?;
    let has = |flag| flags & flag != 0;
    let max_error_us = announced(has(MAX_ERROR), base.max_error_us, "max_error", || take.small("max_error"))?;
    let channel = announced(has(CHANNEL), 0, "channel", || take.u8())?;
    let modality = announced(has(MODALITY), 0, "modality", || take.small("modality"))?;
    let device_time = if has(DEVICE_TIME) { Some(stamp::take_clock(take)?) } else { None };
    let (record, device_time) =
        if has(STAMP) { stamp::take_more(take, device_time)? } else { (None, device_time) };
    let quality = announced(has(QUALITY), 0, "quality", || take.small("quality"))?;
    Ok(Record {
        device,
        seq,
        at: Now {
            mono: Mono::from_nanos(nanos),
            wall: Wall::from_millis(millis),
            sync: if has(SYNCED) { ClockSync::Synced } else { ClockSync::Unsynced },
            max_error_us,
        },
        observation: Observation {
            metric,
            channel,
            value: take_value(take, tags & 0x0F)?,
            unit,
            modality,
            kind: kind_of(tags >> 4).ok_or(FormatError::Field("kind"))?,
            record,
            device_time,
            status: if has(PRELIMINARY) { Status::Preliminary } else { Status::Final },
            quality: Quality::from_bits(quality),
        },
    })
}

/// A field that is there only when it differs from what its absence stands for.
fn announced<T: PartialEq>(
    is_there: bool,
    otherwise: T,
    field: &'static str,
    read: impl FnOnce() -> Result<T, FormatError>,
) -> Result<T, FormatError> {
    if !is_there {
        return Ok(otherwise);
    }
    let value = read()?;
    if value == otherwise { Err(FormatError::Field(field)) } else { Ok(value) }
}

const fn value_tag(value: &Value) -> u8 {
    match value {
        Value::Decimal(_) => 0,
        Value::Absent(_) => 1,
        Value::Text(_) => 2,
        Value::Bits(_) => 3,
        Value::Alarm(_) => 4,
        Value::Samples(_) => 5,
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Decimal(decimal) => {
            out.put_signed(decimal.mantissa);
            out.put_bytes(&decimal.exponent.to_le_bytes());
        }
        Value::Absent(absent) => out.put_u8(absent_code(*absent)),
        Value::Text(text) => out.put_str(text),
        Value::Bits(bits) => out.put_varint(u64::from(*bits)),
        Value::Alarm(alarm) => {
            let silenced = if alarm.is_silenced { SILENCED } else { 0 };
            out.put_u8(phase_code(alarm.phase) | silenced | priority_code(alarm.priority) << 4);
            out.put_str(&alarm.code);
            out.put_str(&alarm.text);
        }
        Value::Samples(samples) => put_samples(out, samples),
    }
}

fn take_value(take: &mut Take<'_>, tag: u8) -> Result<Value, FormatError> {
    Ok(match tag {
        0 => Value::Decimal(Decimal::new(take.signed()?, take.i8()?)),
        1 => Value::Absent(absent_of(take.u8()?).ok_or(FormatError::Field("absent"))?),
        2 => Value::Text(take.str("text")?.to_owned()),
        3 => Value::Bits(take.small("bits")?),
        4 => {
            let codes = take.u8()?;
            Value::Alarm(Alarm {
                phase: phase_of(codes & 0x07).ok_or(FormatError::Field("phase"))?,
                is_silenced: codes & SILENCED != 0,
                priority: priority_of(codes >> 4).ok_or(FormatError::Field("priority"))?,
                code: take.str("alarm code")?.to_owned(),
                text: take.str("alarm text")?.to_owned(),
            })
        }
        5 => Value::Samples(take_samples(take)?),
        _ => return Err(FormatError::Field("value")),
    })
}

/// Of the byte with an alarm's phase and priority: somebody has silenced it.
const SILENCED: u8 = 0x08;

/// Neighbours of a wave differ little: the differences pack well.
fn put_samples(out: &mut Vec<u8>, samples: &Samples) {
    out.put_varint(u64::from(samples.period_us));
    out.put_bytes(&samples.exponent.to_le_bytes());
    let values = samples.values.get(..MAX_SAMPLES).unwrap_or(&samples.values);
    out.put_varint(u64::try_from(values.len()).unwrap_or_default());
    let mut before = 0;
    for value in values {
        out.put_signed(i64::from(*value) - before);
        before = i64::from(*value);
    }
}

fn take_samples(take: &mut Take<'_>) -> Result<Samples, FormatError> {
    let (period_us, exponent) = (take.small("period")?, take.i8()?);
    let count = usize::from(take.small::<u16>("samples")?);
    if count > MAX_SAMPLES {
        return Err(FormatError::Field("samples"));
    }
    let mut values = Vec::with_capacity(count);
    let mut value = 0i64;
    for _ in 0..count {
        value = value.saturating_add(take.signed()?);
        values.push(i16::try_from(value).map_err(|_| FormatError::Field("samples"))?);
    }
    Ok(Samples { period_us, exponent, values })
}

/// The distance between two instants, modulo 2^64: exact both ways.
const fn delta(value: u64, base: u64) -> i64 {
    value.wrapping_sub(base).cast_signed()
}

/// A word of the model and its code on disk, both ways from one table.
macro_rules! codes {
    ($type:ty, $code_of:ident, $of_code:ident: $($word:path = $code:literal),* $(,)?) => {
        const fn $code_of(word: $type) -> u8 {
            match word { $($word => $code),* }
        }
        const fn $of_code(code: u8) -> Option<$type> {
            match code { $($code => Some($word),)* _ => None }
        }
    };
}

codes! { Kind, kind_code, kind_of:
Kind::Measurement = 0, Kind::Setting = 1, Kind::State = 2, Kind::Alarm = 3, Kind::Wave = 4 }
codes! { Absent, absent_code, absent_of:
    Absent::NotANumber = 0, Absent::PositiveInfinity = 1, Absent::NegativeInfinity = 2,
    Absent::Error = 3, Absent::Unknown = 4,
}
codes! { Phase, phase_code, phase_of: Phase::Start = 0, Phase::End = 1, Phase::Update = 2 }
codes! { Priority, priority_code, priority_of:
    Priority::Unstated = 0, Priority::Low = 1, Priority::Medium = 2, Priority::High = 3,
}

/// A lane's code in every format.
pub(crate) const fn lane_code(lane: Lane) -> u8 {
    match lane {
        Lane::Alarm => 0,
        Lane::Vital => 1,
        Lane::Bulk => 2,
    }
}

/// The lane of a code.
pub(crate) const fn lane_of(code: u8) -> Option<Lane> {
    match code {
        0 => Some(Lane::Alarm),
        1 => Some(Lane::Vital),
        2 => Some(Lane::Bulk),
        _ => None,
    }
}
