//! The bytes of what a device says of when, and of the number of its record (`FORMAT.md`).
//!
//! Every field that is mostly absent is announced by a bit and never has the value that its absence
//! stands for, so that a stamp has one form only.

use super::record::FormatError;
use super::wire::{Put, Take};
use crate::device::observation::DeviceTime;

const RECORD: u8 = 1;
const OFFSET: u8 = 1 << 1;
const ZONE: u8 = 1 << 2;
const AHEAD: u8 = 1 << 3;
const MILLIS: u8 = 1 << 4;
const TICKS: u8 = 1 << 5;
const OLDER: u8 = 1 << 6;
const KNOWN: u8 = 0x7F;

/// Seven bytes: year, month, day, hour, minute, second.
pub(super) fn put_clock(out: &mut Vec<u8>, time: DeviceTime) {
    out.put_u16(time.year);
    out.put_bytes(&[time.month, time.day, time.hour, time.minute, time.second]);
}

/// The same back.
pub(super) fn take_clock(take: &mut Take<'_>) -> Result<DeviceTime, FormatError> {
    let year = take.u16()?;
    let [month, day, hour, minute, second] = take.array()?;
    Ok(DeviceTime { year, month, day, hour, minute, second, ..DeviceTime::default() })
}

/// Whether there is anything beside the clock's reading.
pub(super) fn has_more(record: Option<u32>, time: Option<DeviceTime>) -> bool {
    announced(record, time) != 0
}

fn announced(record: Option<u32>, time: Option<DeviceTime>) -> u8 {
    let time = time.unwrap_or_default();
    [
        (RECORD, record.is_some()),
        (OFFSET, time.offset.is_some()),
        (ZONE, time.zone.is_some()),
        (AHEAD, time.ahead.is_some()),
        (MILLIS, time.millis != 0),
        (TICKS, time.ticks.is_some()),
        (OLDER, time.is_of_older_timeline),
    ]
    .into_iter()
    .fold(0, |flags, (flag, present)| if present { flags | flag } else { flags })
}

/// What stands beside the clock's reading.
pub(super) fn put_more(out: &mut Vec<u8>, record: Option<u32>, time: Option<DeviceTime>) {
    out.put_u8(announced(record, time));
    let time = time.unwrap_or_default();
    if let Some(record) = record {
        out.put_varint(u64::from(record));
    }
    if let Some(offset) = time.offset {
        out.put_signed(i64::from(offset));
    }
    if let Some(zone) = time.zone {
        out.put_bytes(&zone.to_le_bytes());
    }
    if let Some(ahead) = time.ahead {
        out.put_signed(ahead);
    }
    if time.millis != 0 {
        out.put_u16(time.millis);
    }
    if let Some(ticks) = time.ticks {
        out.put_varint(ticks);
    }
}

/// The same back: the record's number, and the time with what was beside it.
pub(super) fn take_more(
    take: &mut Take<'_>,
    time: Option<DeviceTime>,
) -> Result<(Option<u32>, Option<DeviceTime>), FormatError> {
    let flags = take.u8()?;
    let is_of_time = flags & !RECORD != 0;
    if flags == 0 || flags & !KNOWN != 0 || (is_of_time && time.is_none()) {
        return Err(FormatError::Field("stamp"));
    }
    let has = |flag| flags & flag != 0;
    let record = if has(RECORD) { Some(take.small("record number")?) } else { None };
    let mut full = time.unwrap_or_default();
    if has(OFFSET) {
        full.offset = Some(i16::try_from(take.signed()?).map_err(|_| FormatError::Field("offset"))?);
    }
    if has(ZONE) {
        full.zone = Some(take.i8()?);
    }
    if has(AHEAD) {
        full.ahead = Some(take.signed()?);
    }
    if has(MILLIS) {
        full.millis = Some(take.u16()?).filter(|millis| *millis != 0).ok_or(FormatError::Field("millis"))?;
    }
    if has(TICKS) {
        full.ticks = Some(take.varint()?);
    }
    full.is_of_older_timeline = has(OLDER);
    Ok((record, time.map(|_| full)))
}
