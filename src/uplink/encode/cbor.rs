//! CBOR by `observations.cddl`, written into a reused buffer.

use std::convert::Infallible;

use minicbor::Encoder;
use minicbor::data::Tag;
use minicbor::encode::Error;

use super::key::lane_number;
use super::{Body, Context, Item};
use crate::device::observation::{DeviceTime, Kind, Samples, Status, Value};
use crate::envelope::record::{Gap, Record};
use crate::time::ClockSync;

/// Tag 4, a decimal fraction (RFC 8949, 3.4.4).
const DECIMAL_FRACTION: Tag = Tag::new(4);

type Written = Result<(), Error<Infallible>>;

/// Writes as many items as the limit allows, at least one. Gives their number.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    context: Context<'a>,
    items: impl Iterator<Item = Item<'a>>,
    limit: usize,
) -> usize {
    let mut count = 0;
    // Writing to a Vec cannot fail, as the error's type says.
    let _ = head(out, context);
    for item in items {
        let _ = match item.body {
            Body::Record(record) => self::record(out, item.index, record),
            Body::Gap(gap) => self::gap(out, item.index, gap),
        };
        count += 1;
        if out.len() >= limit {
            break;
        }
    }
    let _ = tail(out);
    count
}

fn head(out: &mut Vec<u8>, context: Context<'_>) -> Written {
    let mut e = Encoder::new(out);
    let keys = context.keys;
    let location = context.device.and_then(|card| card.location.as_deref());
    e.map(9 + u64::from(context.device.is_some()) + u64::from(location.is_some()))?;
    e.u8(0)?.u8(1)?;
    e.u8(1)?.bytes(&keys.store.0)?;
    e.u8(2)?.u8(lane_number(keys.seq.lane))?;
    e.u8(3)?.u64(keys.seq.segment)?;
    e.u8(4)?.u32(keys.seq.block)?;
    e.u8(5)?.bytes(&context.header.boot.0)?;
    e.u8(6)?.u64(context.header.run)?;
    e.u8(7)?.str(context.gateway)?;
    if let Some(card) = context.device {
        e.u8(8)?.array(4)?;
        e.str(&card.id)?.str(&card.model)?.str(&card.pseudonym)?.str(card.security)?;
    }
    if let Some(location) = location {
        e.u8(10)?.str(location)?;
    }
    e.u8(9)?.begin_array()?.ok()
}

fn tail(out: &mut Vec<u8>) -> Written {
    Encoder::new(out).end()?.ok()
}

fn record(out: &mut Vec<u8>, index: usize, record: &Record) -> Written {
    let observed = &record.observation;
    let mut e = Encoder::new(out);
    e.array(16)?;
    e.u64(u64::try_from(index).unwrap_or(u64::MAX))?.u64(record.seq)?;
    e.u64(record.at.mono.as_nanos())?.i64(record.at.wall.as_millis())?;
    match record.at.sync {
        ClockSync::Synced => e.u32(record.at.max_error_us)?,
        ClockSync::Unsynced => e.null()?,
    };
    e.u32(observed.metric.code)?.u8(observed.channel)?;
    e.u8(match observed.kind {
        Kind::Measurement => 0,
        Kind::Setting => 1,
        Kind::State => 2,
        Kind::Alarm => 3,
        Kind::Wave => 4,
    })?;
    e.u8(match observed.status {
        Status::Final => 0,
        Status::Preliminary => 1,
    })?;
    e.u16(observed.quality.bits())?.u32(observed.modality)?;
    match observed.device_time {
        Some(time) => e.str(&time.to_string())?,
        None => e.null()?,
    };
    e.str(observed.unit.ucum)?;
    value(&mut e, &observed.value)?;
    match observed.record {
        Some(record) => e.u32(record)?,
        None => e.null()?,
    };
    clock(&mut e, observed.device_time)
}

/// What is known of the device's clock beside its reading; empty when nothing is.
fn clock(e: &mut Encoder<&mut Vec<u8>>, time: Option<DeviceTime>) -> Written {
    let Some(time) = time.filter(DeviceTime::says_more) else { return e.array(0)?.ok() };
    e.array(5)?;
    e.encode(time.offset)?.encode(time.zone)?.encode(time.ahead)?.encode(time.ticks)?;
    e.u8(u8::from(time.is_of_older_timeline))?.ok()
}

fn value(e: &mut Encoder<&mut Vec<u8>>, value: &Value) -> Written {
    match value {
        Value::Decimal(number) => {
            e.tag(DECIMAL_FRACTION)?.array(2)?.i8(number.exponent)?.i64(number.mantissa)?.ok()
        }
        Value::Absent(reason) => e.array(2)?.u8(0)?.str(reason.code())?.ok(),
        Value::Text(text) => e.str(text)?.ok(),
        Value::Bits(bits) => e.array(2)?.u8(1)?.u32(*bits)?.ok(),
        Value::Alarm(alarm) => {
            e.array(6)?.u8(2)?.str(&alarm.code)?.str(&alarm.text)?;
            e.str(alarm.phase.as_str())?.str(alarm.priority.as_str())?.bool(alarm.is_silenced)?.ok()
        }
        Value::Samples(samples) => {
            e.array(4)?.u8(3)?.u32(samples.period_us)?.i8(samples.exponent)?;
            e.array(u64::try_from(samples.values.len()).unwrap_or_default())?;
            for value in &samples.values {
                if *value == Samples::MISSING {
                    e.null()?
                } else {
                    e.i16(*value)?
                };
            }
            Ok(())
        }
    }
}

fn gap(out: &mut Vec<u8>, index: usize, gap: &Gap) -> Written {
    let mut e = Encoder::new(out);
    e.array(6)?;
    e.u64(u64::try_from(index).unwrap_or(u64::MAX))?.u8(lane_number(gap.lane))?.u64(gap.count)?;
    e.i64(gap.first.as_millis())?.i64(gap.last.as_millis())?.str(&gap.reason)?.ok()
}
