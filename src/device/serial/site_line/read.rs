//! From a line to what it says, by the description of its form.

use super::describe::{Checksum, Description, Field, Meaning, Place, Shape, Split};
use crate::device::decimal::Decimal;
use crate::device::framing::Delimiters;
use crate::device::nomenclature as mdc;
use crate::device::observation::{Absent, Observation, Quality, Value};
use crate::device::serial::{observation, text};

/// What a line says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Said {
    /// The serial number, if it tells it.
    pub(super) serial: Option<String>,
    pub(super) observations: Vec<Observation>,
}

/// What a frame is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Read {
    /// A line that was described, whole.
    Line(Said),
    /// A line that says nothing.
    Ignored,
    /// A line that nobody described.
    Unknown,
    /// A line that was described and is not as described, and why.
    Bad(String),
}

/// How lines are told apart.
pub(super) fn delimiters(description: &'static Description) -> Delimiters {
    let start = description.start;
    let is_whole: fn(&[u8]) -> bool = match (description.checksum, start.is_some()) {
        (Checksum::None, false) => is_text,
        (Checksum::None, true) => |span| is_text(span.get(1..).unwrap_or_default()),
        (Checksum::Xor { counts_start: false }, true) => |span| sums_up(span, 1, xor),
        (Checksum::Xor { .. }, _) => |span| sums_up(span, 0, xor),
        (Checksum::Sum { counts_start: false }, true) => |span| sums_up(span, 1, sum),
        (Checksum::Sum { .. }, _) => |span| sums_up(span, 0, sum),
    };
    Delimiters { start, ends: &description.ends, abort: None, longest: description.longest, is_whole }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |all, byte| all ^ byte)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |all, byte| all.wrapping_add(*byte))
}

/// Whether the last two characters are the hex digits of what stands before them.
fn sums_up(span: &[u8], skip: usize, sum: fn(&[u8]) -> u8) -> bool {
    let Some((body, digits)) = span.len().checked_sub(2).and_then(|at| span.split_at_checked(at)) else {
        return false;
    };
    let given = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    let given = given.and_then(|text| u8::from_str_radix(text, 16).ok());
    let Some(summed) = body.get(skip..) else { return false };
    is_text(summed.get(1 - skip.min(1)..).unwrap_or_default()) && given == Some(sum(summed))
}

/// Reads a frame: start byte and all, its end left out.
pub(super) fn read(description: &Description, span: &[u8]) -> Read {
    let skip = usize::from(description.start.is_some());
    let tail = match description.checksum {
        Checksum::None => 0,
        Checksum::Xor { .. } | Checksum::Sum { .. } => 2,
    };
    let body = span.len().checked_sub(tail).and_then(|end| span.get(skip..end));
    let Some(line) = body.and_then(|body| std::str::from_utf8(body).ok()).filter(|line| line.is_ascii())
    else {
        return Read::Unknown;
    };
    let first = read_from(description, line);
    let can_resume = description.start.is_none() && description.checksum == Checksum::None;
    if !can_resume || !matches!(first, Read::Unknown | Read::Bad(_)) {
        return first;
    }
    // Without a start byte and a checksum, noise in front of a line is part of the span: the line is looked
    // for behind it, by its beginning.
    let starts = description.lines.iter().filter(|line| !line.starts.is_empty());
    let places = starts.flat_map(|shape| line.match_indices(&shape.starts).map(|(at, _)| at));
    let mut places: Vec<usize> = places.filter(|at| *at > 0).collect();
    places.sort_unstable();
    let found = places.into_iter().filter_map(|at| line.get(at..)).find_map(|tail| {
        let read = read_from(description, tail);
        matches!(read, Read::Line(_)).then_some(read)
    });
    found.unwrap_or(first)
}

fn read_from(description: &Description, line: &str) -> Read {
    if line.trim().is_empty() || description.ignored.iter().any(|starts| line.starts_with(starts.as_str())) {
        return Read::Ignored;
    }
    let Some(shape) = description.lines.iter().find(|shape| line.starts_with(shape.starts.as_str())) else {
        return Read::Unknown;
    };
    match said(shape, line) {
        Ok(said) => Read::Line(said),
        Err(why) => Read::Bad(format!("a line {:?} {why}", shape.starts)),
    }
}

fn said(shape: &Shape, line: &str) -> Result<Said, String> {
    let pieces: Vec<&str> = match shape.split {
        Split::Separator(' ') | Split::Pairs { separator: ' ', .. } => {
            line.split_ascii_whitespace().collect()
        }
        Split::Separator(separator) | Split::Pairs { separator, .. } => line.split(separator).collect(),
        Split::Columns => vec![line],
    };
    if shape.pieces.is_some_and(|pieces_due| pieces_due != pieces.len()) {
        return Err("has not as many pieces as described".to_owned());
    }
    let mut said = Said::default();
    for field in &shape.fields {
        let Some(found) = find(shape, field, line, &pieces)? else {
            if field.is_optional {
                continue;
            }
            return Err(format!("lacks {}", name(field)));
        };
        take(&mut said, field, found.trim())?;
    }
    Ok(said)
}

/// What stands at the place of a field. A key that stands in a line twice is an error: nobody knows
/// which one counts.
fn find<'a>(
    shape: &Shape,
    field: &Field,
    line: &'a str,
    pieces: &[&'a str],
) -> Result<Option<&'a str>, String> {
    match (&field.place, &shape.split) {
        (Place::At(number), _) => Ok(number.checked_sub(1).and_then(|at| pieces.get(at)).copied()),
        (Place::Columns(from, to), _) => Ok(from.checked_sub(1).and_then(|from| line.get(from..*to))),
        (Place::Key(key), Split::Pairs { equals, .. }) => {
            let values = pieces.iter().filter_map(|piece| piece.split_once(*equals));
            let mut values = values.filter(|(name, _)| name.trim() == key).map(|(_, value)| value);
            let first = values.next();
            if values.next().is_some() { Err(format!("has {} twice", name(field))) } else { Ok(first) }
        }
        (Place::Key(_), Split::Separator(_) | Split::Columns) => Ok(None),
    }
}

fn name(field: &Field) -> &'static str {
    match &field.meaning {
        Meaning::Serial => "the serial number",
        Meaning::Reading { metric, .. } => metric.reference,
    }
}

fn take(said: &mut Said, field: &Field, found: &str) -> Result<(), String> {
    let is_absent = field.absent.iter().any(|absent| absent == found);
    let bare =
        if is_absent { Some(found) } else { found.strip_suffix(field.suffix.as_str()).map(str::trim_end) };
    let unreadable = || format!("has {} in a form that is not described", name(field));
    let bare = bare.ok_or_else(unreadable)?;
    let is_absent = is_absent || field.absent.iter().any(|absent| absent == bare);
    match &field.meaning {
        Meaning::Serial if is_absent => {}
        Meaning::Serial => {
            let is_serial =
                (1..=32).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
            if !is_serial || said.serial.is_some() {
                return Err(unreadable());
            }
            said.serial = Some(bare.to_owned());
        }
        Meaning::Reading { metric, unit, kind, channel, words, shift } => {
            let (value, unit) = if is_absent {
                (Value::Absent(Absent::Unknown), *unit)
            } else if words.is_empty() {
                let number = bare.parse::<Decimal>().ok().and_then(|number| number.shifted(*shift));
                (Value::Decimal(number.ok_or_else(unreadable)?), *unit)
            } else {
                let word = words.iter().find(|word| *word == bare).ok_or_else(unreadable)?;
                (Value::Text(text(word)), &mdc::DIMENSIONLESS)
            };
            let reading = observation(metric, value, unit, *kind);
            let quality = Quality::SITE_CONFIGURED;
            said.observations.push(Observation { channel: *channel, quality, ..reading });
        }
    }
    Ok(())
}
