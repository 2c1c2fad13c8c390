//! What the store owes, kept as simply as it can be.
//!
//! In: what was handed in, promised, given out, acknowledged, in order, each with its place in the
//! disk's record. Out: for a cut at any place, what must be in the store, what may be, and what is wrong
//! with what is really found there. What never happens: a record is excused that was promised, not
//! acknowledged and not counted in a gap record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::blocks::Content;
use crate::device::observation::Lane;
use crate::envelope::record::lane_code;
use crate::store::Seq;

/// Something that happened between the store and who uses it.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A block is handed in: it may be in the store from here on.
    Handed { lane: Lane, first: u64, count: u64 },
    /// The store said that it is durable.
    Durable { first: u64, seq: Seq },
    /// The store gave a block out.
    Given { seq: Seq, content: Content },
    /// An acknowledgement begins: the block may be gone from here on.
    Acknowledged { seq: Seq },
    /// The store is being opened.
    Opening,
    /// It is open.
    Opened,
}

/// Everything that happened in one life of a disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    events: Vec<(usize, Event)>,
}

impl Story {
    /// Notes what happened when the record had this length.
    pub(super) fn note(&mut self, position: usize, event: Event) {
        self.events.push((position, event));
    }

    /// What happened before a cut.
    pub(super) fn before(&self, cut: usize) -> impl Iterator<Item = &Event> {
        self.events.iter().take_while(move |(position, _)| *position <= cut).map(|(_, event)| event)
    }

    /// Where in the record the store was being opened: from, to.
    pub(super) fn openings(&self) -> Vec<(usize, usize)> {
        let mut openings = Vec::new();
        let mut begun = None;
        for (position, event) in &self.events {
            match event {
                Event::Opening => begun = Some(*position),
                Event::Opened => openings.extend(begun.take().map(|from| (from, *position))),
                Event::Handed { .. }
                | Event::Durable { .. }
                | Event::Given { .. }
                | Event::Acknowledged { .. } => {}
            }
        }
        openings.extend(begun.map(|from| (from, usize::MAX)));
        openings
    }

    /// The same with every promise at an earlier place.
    pub(super) fn with_promises_before(&self, place: impl Fn(usize) -> usize) -> Self {
        let mut events = Vec::with_capacity(self.events.len());
        for (position, event) in &self.events {
            let is_promise = matches!(event, Event::Durable { .. });
            events.push((if is_promise { place(*position) } else { *position }, event.clone()));
        }
        // Stable: what shares a place keeps its order.
        events.sort_by_key(|(position, _)| *position);
        Self { events }
    }

    /// Where promises were made.
    pub(super) fn promises(&self) -> impl Iterator<Item = usize> {
        let is_promise = |event: &Event| matches!(event, Event::Durable { .. });
        self.events.iter().filter(move |(_, event)| is_promise(event)).map(|(position, _)| *position)
    }
}

/// What is owed of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    /// It was handed in: it may be there.
    May,
    /// It was promised: it must be there.
    Must,
    /// It was acknowledged: it may come again.
    Done,
    /// It was not there after a cut: it must not come back.
    Gone,
}

#[derive(Clone, Debug)]
struct Block {
    lane: Lane,
    count: u64,
    seq: Option<Seq>,
    duty: Duty,
}

/// What the store owes at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// By the number of their first record.
    blocks: BTreeMap<u64, Block>,
    /// What the store said to stand at a place.
    places: BTreeMap<Seq, Content>,
    /// Gap records that were acknowledged.
    heard: BTreeSet<Seq>,
    /// By lane: records that are lost, and those that acknowledged gap records tell of.
    lost: [u64; 3],
    told: [u64; 3],
    /// Segments of which acknowledged gap records say that nothing of them can be read.
    unreadable: BTreeMap<(Lane, u64), u64>,
    /// How many more were told of than are lost when this was last compared.
    overstated: u64,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) sort: Sort,
    /// What was expected and what was found.
    pub(super) words: String,
}

/// The sort of what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// A promised record is not there, and no gap record counts it.
    Lost,
    /// A record came twice.
    Twice,
    /// Something came that was never handed in, or that was gone.
    Foreign,
    /// One place was given to two contents.
    Place,
    /// More was told to be lost than was.
    Overstated,
    /// The store does not open.
    Shut,
    /// It does not work after it was opened.
    Stuck,
    /// It found damage where there is none.
    Fault,
    /// A panic reached the caller.
    Panic,
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Twice => "came twice",
            Self::Foreign => "never handed in",
            Self::Place => "one place for two contents",
            Self::Overstated => "overstated gap",
            Self::Shut => "does not open",
            Self::Stuck => "does not work",
            Self::Fault => "claims damage",
            Self::Panic => "panic",
        })
    }
}

impl Wrong {
    pub(super) fn new(sort: Sort, words: impl Into<String>) -> Self {
        Self { sort, words: words.into() }
    }

    /// The same with the circumstances before it.
    pub(super) fn when(self, circumstances: &str) -> Self {
        Self { words: format!("{circumstances}: {}", self.words), ..self }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sort, self.words)
    }
}

/// What was found, beside that it is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Records that had to be there and were.
    pub(super) kept: u64,
    /// Records that need not have been there and were.
    pub(super) extra: u64,
    /// Records that were not there and were told of.
    pub(super) told: u64,
    /// How many more were told of than are lost.
    pub(super) overstated: u64,
}

impl Model {
    /// Takes in what happened.
    pub(super) fn handle(&mut self, event: &Event) -> Result<(), Wrong> {
        match event {
            Event::Handed { lane, first, count } => {
                let block = Block { lane: *lane, count: *count, seq: None, duty: Duty::May };
                self.blocks.entry(*first).or_insert(block);
            }
            Event::Durable { first, seq } => {
                let count = self.blocks.get(first).map_or(0, |block| block.count);
                self.place(*seq, &Content::Records { first: *first, count })?;
                if let Some(block) = self.blocks.get_mut(first) {
                    (block.duty, block.seq) = (Duty::Must, Some(*seq));
                }
            }
            Event::Given { seq, content } => self.give(*seq, content).map(drop)?,
            Event::Acknowledged { seq } => self.acknowledge(*seq),
            Event::Opening | Event::Opened => {}
        }
        Ok(())
    }

    /// Whether a place was given before.
    pub(super) fn is_taken(&self, seq: Seq) -> bool {
        self.places.contains_key(&seq)
    }

    /// A number that no record has.
    pub(super) fn next_number(&self) -> u64 {
        self.blocks.last_key_value().map_or(1, |(first, block)| first.saturating_add(block.count))
    }

    /// Notes what stands at a place; two contents for one place are wrong.
    fn place(&mut self, seq: Seq, content: &Content) -> Result<(), Wrong> {
        match self.places.insert(seq, content.clone()) {
            Some(before) if before != *content => {
                Err(Wrong::new(Sort::Place, format!("{seq} held {before:?} and holds {content:?}")))
            }
            _ => Ok(()),
        }
    }

    /// A block that the store gives out; the number of its first record when it is one of ours.
    fn give(&mut self, seq: Seq, content: &Content) -> Result<Option<u64>, Wrong> {
        let Content::Records { first, count } = *content else {
            self.place(seq, content)?;
            return Ok(None);
        };
        let found = format!("records {first} to {} at {seq}", first.saturating_add(count) - 1);
        let Some(block) = self.blocks.get_mut(&first) else {
            return Err(Wrong::new(Sort::Foreign, format!("{found}, which nobody handed in")));
        };
        if block.count != count || block.lane != seq.lane {
            return Err(Wrong::new(Sort::Foreign, format!("{found}, handed in were {block:?}")));
        }
        if block.duty == Duty::Gone {
            return Err(Wrong::new(Sort::Foreign, format!("{found}, which were gone after an earlier cut")));
        }
        match block.seq {
            Some(before) if before != seq => {
                return Err(Wrong::new(Sort::Twice, format!("{found}, and before at {before}")));
            }
            _ => block.seq = Some(seq),
        }
        self.place(seq, content)?;
        Ok(Some(first))
    }

    fn acknowledge(&mut self, seq: Seq) {
        match self.places.get(&seq) {
            Some(Content::Records { first, .. }) => {
                if let Some(block) = self.blocks.get_mut(first) {
                    block.duty = Duty::Done;
                }
            }
            Some(Content::Told { count, why }) if self.heard.insert(seq) => {
                add(&mut self.told, seq.lane, *count);
                self.unreadable.extend(unreadable_segment(why).map(|number| ((seq.lane, number), *count)));
            }
            Some(Content::Told { .. }) | None => {}
        }
    }

    /// Compares what a store gave out after a cut, all of it, with what it owes; the model then is what
    /// is owed from here on.
    pub(super) fn check(&mut self, drained: &[(Seq, Content)]) -> Result<Found, Wrong> {
        let mut seen = BTreeSet::new();
        let mut told = Told { counts: self.told, unreadable: self.unreadable.clone() };
        for (seq, content) in drained {
            match self.give(*seq, content)? {
                Some(first) if !seen.insert(first) => {
                    return Err(Wrong::new(Sort::Twice, format!("record {first} came twice, also at {seq}")));
                }
                None if !self.heard.contains(seq) => told.handle(*seq, content),
                Some(_) | None => {}
            }
        }
        let (mut found, missing) = self.settle(&seen, &mut told);
        for lane in Lane::ALL {
            let (lost, told) = (of(&self.lost, lane), of(&told.counts, lane));
            if lost > told {
                let words = format!(
                    "lane {lane}: {lost} promised records are not there and gap records tell of {told}; \
                     missing: {}",
                    missing.join(", ")
                );
                return Err(Wrong::new(Sort::Lost, words));
            }
            found.overstated += told - lost;
        }
        let before = std::mem::replace(&mut self.overstated, found.overstated);
        found.overstated = found.overstated.saturating_sub(before);
        Ok(found)
    }

    /// What is owed once it is known what is there; and, in words, what should be there and is not.
    fn settle(&mut self, seen: &BTreeSet<u64>, told: &mut Told) -> (Found, Vec<String>) {
        let mut found = Found::default();
        let mut missing = Vec::new();
        for (first, block) in &mut self.blocks {
            block.duty = match (block.duty, seen.contains(first)) {
                (Duty::Must, true) => {
                    found.kept += block.count;
                    Duty::Must
                }
                (Duty::May, true) => {
                    found.extra += block.count;
                    Duty::Must
                }
                (Duty::Must, false) => {
                    found.told += block.count;
                    add(&mut self.lost, block.lane, told.counted(block));
                    let last = first.saturating_add(block.count) - 1;
                    missing.push(format!("{first} to {last} of lane {} at {:?}", block.lane, block.seq));
                    Duty::Gone
                }
                (Duty::May, false) => Duty::Gone,
                (duty @ (Duty::Done | Duty::Gone), _) => duty,
            };
        }
        (found, missing)
    }
}

/// What gap records tell of.
struct Told {
    /// By lane.
    counts: [u64; 3],
    /// Segments of which nothing can be read, each with the count that is told of it.
    unreadable: BTreeMap<(Lane, u64), u64>,
}

impl Told {
    fn handle(&mut self, seq: Seq, content: &Content) {
        if let Content::Told { count, why } = content {
            add(&mut self.counts, seq.lane, *count);
            self.unreadable.extend(unreadable_segment(why).map(|number| ((seq.lane, number), *count)));
        }
    }

    /// How many records of a block that is not there must be counted in a gap record. Of a segment that
    /// cannot be read at all nobody knows how much was in it: it is named.
    fn counted(&mut self, block: &Block) -> u64 {
        let place = block.seq.map(|seq| (seq.lane, seq.segment));
        let Some(left) = place.and_then(|place| self.unreadable.get_mut(&place)) else { return block.count };
        let counted = block.count.min(*left);
        *left -= counted;
        counted
    }
}

/// The segment of which a gap record says that nothing of it can be read.
fn unreadable_segment(why: &str) -> Option<u64> {
    why.strip_prefix("segment ")?.strip_suffix(" cannot be read")?.parse().ok()
}

fn add(lanes: &mut [u64; 3], lane: Lane, count: u64) {
    if let Some(sum) = lanes.get_mut(usize::from(lane_code(lane))) {
        *sum = sum.saturating_add(count);
    }
}

fn of(lanes: &[u64; 3], lane: Lane) -> u64 {
    lanes.get(usize::from(lane_code(lane))).copied().unwrap_or_default()
}
