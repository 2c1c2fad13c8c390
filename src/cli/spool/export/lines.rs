//! The lines of an export: what each has is said in [`super`].

use std::io::{BufWriter, Write};

use serde::Serialize;

use super::super::super::decode::Line;
use super::{Range, Sink, Taken};
use crate::envelope::record::Entry;
use crate::store::inspect::Found;
use crate::time::ClockSync;
use crate::uplink::encode::key::Keys;

/// `false` when the block authenticates and holds something that no version of this program wrote.
pub(super) fn write_block(
    found: &Found,
    range: &Range,
    taken: &mut Taken,
    writer: &mut BufWriter<Sink>,
) -> anyhow::Result<bool> {
    let Ok((header, entries)) = found.block.read() else { return Ok(false) };
    let keys = Keys::new(found.store, found.seq);
    taken.blocks += 1;
    for (index, entry) in entries.iter().enumerate() {
        let place =
            Place { key: keys.of(index), lane: found.seq.lane.as_str(), acknowledged: found.is_acknowledged };
        match entry {
            Entry::Gap(gap) if range.holds(gap.first, gap.last) => {
                let (first, last) = (gap.first.to_string(), gap.last.to_string());
                let gap_words = GapWords { count: gap.count, first, last, reason: &gap.reason };
                line(writer, &GapLine { place, gap: gap_words })?;
                taken.gaps += 1;
            }
            Entry::Observation(record) if range.holds(record.at.wall, record.at.wall) => {
                let Some(card) = header.devices.get(usize::from(record.device)) else { return Ok(false) };
                line(
                    writer,
                    &ObservationLine {
                        place,
                        at: record.at.wall.to_string(),
                        synced: record.at.sync == ClockSync::Synced,
                        device: &card.id,
                        model: &card.model,
                        pseudonym: &card.pseudonym,
                        location: card.location.as_deref(),
                        security: card.security,
                        run: format!("{:016x}", header.run),
                        seq: record.seq,
                        observation: Line::from(&record.observation),
                    },
                )?;
                taken.observations += 1;
            }
            Entry::Event(event) if range.holds(event.at.wall, event.at.wall) => {
                let event = EventWords {
                    at: event.at.wall.to_string(),
                    detection: event.detection.as_str(),
                    phase: event.phase.as_str(),
                    device: &event.device,
                    detail: &event.detail,
                };
                line(writer, &EventLine { place, event })?;
                taken.events += 1;
            }
            Entry::Gap(_) | Entry::Observation(_) | Entry::Event(_) => {}
        }
    }
    Ok(true)
}

fn line(writer: &mut BufWriter<Sink>, value: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *writer, value)?;
    writer.write_all(b"\n")?;
    Ok(())
}

#[derive(Serialize)]
struct Place {
    key: String,
    lane: &'static str,
    acknowledged: bool,
}

#[derive(Serialize)]
struct ObservationLine<'a> {
    #[serde(flatten)]
    place: Place,
    at: String,
    synced: bool,
    device: &'a str,
    model: &'a str,
    pseudonym: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    security: &'a str,
    run: String,
    seq: u64,
    #[serde(flatten)]
    observation: Line<'a>,
}

#[derive(Serialize)]
struct GapLine<'a> {
    #[serde(flatten)]
    place: Place,
    gap: GapWords<'a>,
}

#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    place: Place,
    event: EventWords<'a>,
}

#[derive(Serialize)]
struct EventWords<'a> {
    at: String,
    detection: &'static str,
    phase: &'static str,
    device: &'a str,
    detail: &'a str,
}

#[derive(Serialize)]
struct GapWords<'a> {
    count: u64,
    first: String,
    last: String,
    reason: &'a str,
}
