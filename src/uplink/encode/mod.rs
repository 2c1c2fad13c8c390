//! From a block of records to the payloads of publishes.
//!
//! In: a decoded block, as [`Block`]. Out: [`Parcel`]s of at most about 60 KiB, each with records of
//! one device and one class in the order in which they were read. What can go wrong: a record names
//! a device that its block does not list, or a device's id may not stand in a topic: then the block
//! is refused as a whole and stays in the store. What never happens: a patient's identity is in a
//! payload; a number is written with another precision than the device gave.

pub mod cbor;
pub mod fhir;
mod json;
pub mod key;
pub mod ocsf;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::Payload;
use super::parcel::{Age, Format, Parcel, ROOM_BESIDE, Stream, TARGET_PAYLOAD};
use super::topic::{Class, TopicError, Topics, WHOLE_GATEWAY};
use crate::device::observation::{Kind, Lane};
use crate::envelope::block::BlockHeader;
use crate::envelope::record::{Entry, Gap, Record};
use crate::envelope::wipe::wipe;
use crate::policy::DeviceCard;
use crate::policy::event::Event;
use crate::store::{Seq, StoreId};
use crate::time::Now;
use key::Keys;

/// Alarms and waves younger than this are live; older ones carry `hist=1`. Of the vital lane that is
/// said by the stream: order holds within what carries it and within what does not.
pub const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// A decoded block with its place in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its place.
    pub seq: Seq,
    /// What its records have in common.
    pub header: BlockHeader,
    /// Its records.
    pub entries: Vec<Entry>,
}

/// The block cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A record without a device.
    #[error("record {index} names device {device}, which its block does not list: the block is kept unsent")]
    Device {
        /// The record's index in the block.
        index: usize,
        /// The device's place that it names.
        device: u16,
    },
    /// A device with an id that cannot be part of a topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// One record with its place, as the formats take it.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The record's index in its block: the last part of its key.
    pub index: usize,
    /// What it says.
    pub body: Body<'a>,
}

/// What an [`Item`] says.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// An observation.
    Record(&'a Record),
    /// Word of dropped observations.
    Gap(&'a Gap),
}

/// What the items of one payload have in common.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The keys of the block's records.
    pub keys: &'a Keys,
    /// The block's header.
    pub header: &'a BlockHeader,
    /// The device; none for gaps.
    pub device: Option<&'a DeviceCard>,
    /// The id of the gateway.
    pub gateway: &'a str,
}

/// Makes parcels of blocks. Holds the buffer that all of them are written in.
pub struct Encoder {
    payload: Payload,
    topics: Topics,
    gateway: String,
    store: StoreId,
    buffer: Vec<u8>,
    target: usize,
}

impl Encoder {
    /// For one gateway and store.
    pub fn new(payload: Payload, topics: Topics, gateway: &str, store: StoreId) -> Self {
        Self {
            payload,
            topics,
            gateway: gateway.to_owned(),
            store,
            buffer: Vec::new(),
            target: TARGET_PAYLOAD,
        }
    }

    /// Keeps parcels so small that each fits into a packet of this size. One record always goes: a
    /// broker that does not take even that says so itself.
    pub fn set_max_packet(&mut self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.target = bytes.saturating_sub(ROOM_BESIDE).clamp(1, TARGET_PAYLOAD);
    }

    /// Sorts the records of a block by device and class.
    pub fn plan(&self, block: Block, stream: Stream) -> Result<Plan, EncodeError> {
        let mut groups: BTreeMap<(Option<u16>, Class), Vec<usize>> = BTreeMap::new();
        for (index, entry) in block.entries.iter().enumerate() {
            let group = match entry {
                Entry::Gap(_) => (None, Class::Gap),
                Entry::Event(_) => (None, Class::Event),
                Entry::Observation(record) => {
                    if block.header.devices.get(usize::from(record.device)).is_none() {
                        return Err(EncodeError::Device { index, device: record.device });
                    }
                    (Some(record.device), class(record, block.seq.lane))
                }
            };
            groups.entry(group).or_default().push(index);
        }
        let mut planned = Vec::with_capacity(groups.len());
        for ((device, class), indices) in groups {
            let card = device.and_then(|device| block.header.devices.get(usize::from(device)));
            let id = card.map_or(WHOLE_GATEWAY, |card| card.id.as_str());
            let topic = match class {
                Class::Event => self.topics.events(),
                Class::Observations | Class::Alarm | Class::Wave | Class::Gap => {
                    self.topics.data(id, class)?
                }
            };
            planned.push(Group { device, class, topic, indices, sent: 0 });
        }
        // The last group is taken first.
        planned.reverse();
        let keys = Keys::new(self.store, block.seq);
        Ok(Plan { block, stream, keys, groups: planned })
    }

    /// Writes the next parcel of a plan; `None` when all are written.
    pub fn next_parcel(&mut self, plan: &mut Plan, now: Now) -> Option<Parcel> {
        let group = plan.groups.last_mut()?;
        let device = group.device.and_then(|device| plan.block.header.devices.get(usize::from(device)));
        let context =
            Context { keys: &plan.keys, header: &plan.block.header, device, gateway: &self.gateway };
        let rest = group.indices.get(group.sent..).unwrap_or_default();
        let items = rest.iter().filter_map(|index| item(&plan.block.entries, *index));
        let format = match (group.class, self.payload) {
            (Class::Event, _) => Format::Ocsf,
            (_, Payload::Fhir) => Format::Fhir,
            (_, Payload::Cbor) => Format::Cbor,
        };
        let buffer = &mut self.buffer;
        buffer.clear();
        let count = match format {
            Format::Fhir => fhir::write(buffer, context, items, self.target),
            Format::Cbor => cbor::write(buffer, context, items, self.target),
            Format::Ocsf => {
                let events = rest.iter().filter_map(|index| event(&plan.block.entries, *index));
                ocsf::write(buffer, &plan.keys, &self.gateway, events, self.target)
            }
        };
        let payload = Bytes::copy_from_slice(&self.buffer);
        // The buffer stays; the last parcel of an evening must not stay in it.
        wipe(&mut self.buffer);
        let (first, last) = (*rest.first()?, *rest.get(count.checked_sub(1)?)?);
        let topic = group.topic.clone();
        group.sent += count;
        if group.sent >= group.indices.len() {
            plan.groups.pop();
        }
        let age = age(plan, first, now);
        Some(Parcel {
            block: plan.block.seq,
            stream: plan.stream,
            last: plan.groups.is_empty(),
            topic,
            payload,
            format,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            keys: (plan.keys.of(first), plan.keys.of(last)),
            age,
        })
    }
}

/// A block on its way into parcels.
pub struct Plan {
    block: Block,
    stream: Stream,
    keys: Keys,
    groups: Vec<Group>,
}

/// The records of one device and class.
#[derive(Debug)]
struct Group {
    device: Option<u16>,
    class: Class,
    topic: String,
    indices: Vec<usize>,
    sent: usize,
}

fn item(entries: &[Entry], index: usize) -> Option<Item<'_>> {
    let body = match entries.get(index)? {
        Entry::Observation(record) => Body::Record(record),
        Entry::Gap(gap) => Body::Gap(gap),
        // In a group and a format of its own.
        Entry::Event(_) => return None,
    };
    Some(Item { index, body })
}

fn event(entries: &[Entry], index: usize) -> Option<(usize, &Event)> {
    match entries.get(index)? {
        Entry::Event(event) => Some((index, event)),
        Entry::Observation(_) | Entry::Gap(_) => None,
    }
}

fn class(record: &Record, lane: Lane) -> Class {
    match (lane, record.observation.kind) {
        (_, Kind::Alarm) => Class::Alarm,
        (Lane::Bulk, _) => Class::Wave,
        (Lane::Alarm | Lane::Vital, _) => Class::Observations,
    }
}

/// Whether the record of this index is live. Where time says it, both clocks must agree: time since
/// boot says nothing about a record of an earlier boot, wall time nothing when it was set meanwhile.
fn age(plan: &Plan, index: usize, now: Now) -> Age {
    let at = match plan.block.entries.get(index) {
        Some(Entry::Observation(record)) => record.at,
        Some(Entry::Event(event)) => event.at,
        Some(Entry::Gap(_)) | None => return Age::Historical,
    };
    let is_live = match plan.stream {
        Stream::Live => true,
        Stream::Backlog => false,
        Stream::Alarm | Stream::Bulk => {
            let since_boot = now.mono >= at.mono && now.mono.since(at.mono) <= LIVE_WITHIN;
            let apart = now.wall.as_millis().abs_diff(at.wall.as_millis());
            since_boot && u128::from(apart) <= LIVE_WITHIN.as_millis()
        }
    };
    if is_live { Age::Live } else { Age::Historical }
}

#[cfg(test)]
pub(crate) mod tests;
