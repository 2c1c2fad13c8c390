//! Which records of a device have come, and up to where they are durable.
//!
//! In: observations with the number of their record, in the order in which they came; word of what is durable.
//! Out: those that did not come before; the [`Mark`] behind which is asked next time.
//!
//! The mark moves to a record when that record and everything before it is durable, and it is certain that
//! nothing before it is still to come: the record of the next number has come, or the device has said
//! that it gave all. Where a number is left out the mark stays before the gap until the transfer is complete: only
//! then it is certain that no record has that number. A device that gives its records in another order moves the
//! mark at the end of its transfer only. Of all records, nobody knows which is the first: where a row of them moves the
//! mark before the transfer has ended, the mark is provisional, and all are asked for again until they came whole. A
//! record that came by itself moves it when it follows on the last one.
//!
//! Some records say by when only behind another one (an insulin pump's behind a reference time): a mark then
//! has an anchor, the last record before it behind which all say the same again, and that is asked from.
//!
//! Bounded: [`MOST_SEEN`] observations are known again, and as many numbers of one transfer are told apart. What is
//! older comes twice when the device gives it again, and is never left out.

use std::collections::{BTreeSet, VecDeque};

use crate::device::observation::{DeviceTime, Observation, Quality, Value};

/// So many observations are known again. About half a MiB; a glucose meter keeps a few thousand records.
const MOST_SEEN: usize = 20_000;

/// When all records are asked for, nobody knows with which they begin: so many in a row are taken for the order of
/// their numbers, so that a device that never stays for all of them is not asked for the same ones for ever. One may
/// have been lost before them, or come after them: such a mark is provisional until all came whole.
const IN_A_ROW: u32 = 4;

/// A record that is durable, as is everything before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) struct Mark {
    /// Its number.
    pub(in crate::device::ble) number: u32,
    /// What its first observation says, as a hash.
    pub(in crate::device::ble) print: u32,
    /// The number of the record from which on must be asked; `None`: of the first.
    pub(in crate::device::ble) anchor: Option<u32>,
}

/// Whether the mark may move to a record that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Safe {
    No,
    Yes,
    /// What comes next decides.
    Waits,
}

/// What is known of the records before one that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    /// What was known before: it follows on the mark.
    Mark,
    /// All were asked for, and nobody knows whether something is left out before it.
    Row,
    /// All were asked for and all have come.
    Whole,
}

/// A record on its way to durable storage.
#[derive(Clone, Copy, Debug)]
struct Passed {
    mark: Mark,
    base: Base,
    /// The place of the last observation that must be durable.
    needs: u64,
    safe: Safe,
}

/// One transfer.
#[derive(Default)]
struct Run {
    /// It begins with this record, which is known.
    from: Option<Mark>,
    /// The record was there and is still the same.
    is_confirmed: bool,
    first: Option<u32>,
    last: Option<Mark>,
    top: Option<Mark>,
    /// How often a number was less than the one before.
    descents: u32,
    /// A number was left out so far.
    has_gap: bool,
    /// How many of the first followed on each other.
    row: u32,
    /// How many records.
    count: u32,
    /// How many of these may have been made since the transfer began.
    live: u32,
    /// Their numbers, as far as they are told apart.
    numbers: BTreeSet<u32>,
}

impl Run {
    /// Counts a record, unless its number was there before.
    fn count_number(&mut self, number: u32) {
        let is_new = if self.numbers.len() < MOST_SEEN {
            self.numbers.insert(number)
        } else {
            // Whether one in between came before cannot be told any more: too few is asked for again.
            self.top.is_none_or(|top| top.number < number)
        };
        self.count += u32::from(is_new);
    }
}

/// What a transfer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device::ble) struct Came {
    /// How many records.
    pub(in crate::device::ble) count: u32,
    /// It was asked for from a known record on, and that was not there or is another one now.
    pub(in crate::device::ble) is_of_other_numbers: bool,
    /// The greatest number there can be was among them, and only what is behind a known record was asked for:
    /// behind it numbers begin anew.
    pub(in crate::device::ble) is_at_end_of_numbers: bool,
}

/// Whether what an observation is of is a record behind which all others say the same again.
pub(in crate::device::ble) type Anchors = fn(&Observation) -> bool;

/// The records of one service.
pub(in crate::device::ble) struct Ledger {
    greatest: Option<u32>,
    /// Behind which records all others say the same again; `None`: each says it by itself.
    anchors: Option<Anchors>,
    /// The last of these that has come.
    anchor: Option<u32>,
    mark: Option<Mark>,
    /// The mark is of an earlier run: its record was given, whatever it says.
    is_recalled: bool,
    /// The mark is of a transfer of all records that has not come to its end: something may stand before it.
    is_provisional: bool,
    way: VecDeque<Passed>,
    seen: BTreeSet<u64>,
    seen_in_order: VecDeque<u64>,
    run: Option<Run>,
    /// The last record that was given, by number.
    last_live: Option<u32>,
    /// Something was refused because of who the device is: nothing moves the mark on this connection.
    is_refused: bool,
}

impl Ledger {
    pub(super) const fn new(greatest: Option<u32>, anchors: Option<Anchors>) -> Self {
        Self {
            greatest,
            anchors,
            anchor: None,
            mark: None,
            is_recalled: false,
            is_provisional: false,
            way: VecDeque::new(),
            seen: BTreeSet::new(),
            seen_in_order: VecDeque::new(),
            run: None,
            last_live: None,
            is_refused: false,
        }
    }

    pub(super) const fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Whether a record may stand before the mark that is not durable: all are to be asked for again.
    pub(super) const fn is_provisional(&self) -> bool {
        self.is_provisional
    }

    /// Everything that came is durable, and nothing was refused.
    pub(super) fn is_settled(&self) -> bool {
        self.way.is_empty() && !self.is_refused
    }

    /// Behind which record to ask; `None` for all.
    pub(super) fn from(&self) -> Option<Mark> {
        self.mark.filter(|mark| Some(mark.number) != self.greatest)
    }

    /// What an earlier run of the daemon knew.
    pub(super) fn recall(&mut self, mark: Mark, is_provisional: bool) {
        self.is_provisional = is_provisional;
        let anchor = if self.anchors.is_some() { mark.anchor } else { Some(mark.number) };
        self.mark = Some(Mark { anchor, ..mark });
        self.is_recalled = true;
    }

    /// Another device, or its numbers began anew.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.greatest, self.anchors);
    }

    /// A new connection.
    pub(super) fn handle_up(&mut self) {
        self.end(false, 0);
        self.is_refused = false;
        self.last_live = None;
    }

    /// Begins a transfer; one that runs has ended otherwise.
    pub(super) fn begin(&mut self, from: Option<Mark>) {
        resolve(&mut self.way, Safe::No);
        self.anchor = None;
        self.run = Some(Run { from, ..Run::default() });
    }

    /// Begins in the middle of a transfer: what comes moves no mark, as nobody knows what came before.
    pub(super) fn begin_part(&mut self) {
        self.begin(None);
        if let Some(run) = &mut self.run {
            run.has_gap = true;
        }
    }

    /// Takes what a decoder made, `pushed` observations having been passed on before. Gives what did not come
    /// before.
    pub(super) fn take(&mut self, said: Vec<Observation>, pushed: u64) -> Vec<Observation> {
        let mut fresh = Vec::new();
        for observation in said {
            let print = print(&observation);
            let is_known = match observation.record {
                Some(number) => {
                    let mark = Mark { number, print: short(print), anchor: self.anchor_of(&observation) };
                    let is_known = self.is_of_before(mark) || !self.see(print);
                    let needs = pushed + count(fresh.len()) + u64::from(!is_known);
                    self.arrive(mark, needs);
                    is_known
                }
                // Without a number only what is stored can be told from a second measurement, by its time.
                None if observation.quality.has(Quality::STORED) && observation.device_time.is_some() => {
                    !self.see(print)
                }
                None => false,
            };
            if !is_known {
                fresh.push(observation);
            }
        }
        fresh
    }

    /// Takes a value that gave nothing with a number: one more record.
    pub(super) const fn count_one(&mut self) {
        if let Some(run) = &mut self.run {
            run.count += 1;
        }
    }

    /// Whether a transfer runs.
    pub(super) const fn is_open(&self) -> bool {
        self.run.is_some()
    }

    /// How many records came in this transfer.
    pub(super) fn count(&self) -> u32 {
        self.run.as_ref().map_or(0, |run| run.count)
    }

    /// A hash of the numbers that came in this transfer.
    pub(super) fn numbers(&self) -> u64 {
        let mut hash = Hash::default();
        for number in self.run.iter().flat_map(|run| &run.numbers) {
            hash.octets(&number.to_le_bytes());
        }
        hash.0
    }

    /// How many of those that were announced certainly came; `None` where a record made since may stand for one that
    /// did not.
    pub(super) fn certain(&self, tells_stored: bool) -> Option<u32> {
        let run = self.run.as_ref()?;
        (tells_stored || !run.has_gap).then(|| run.count.saturating_sub(run.live))
    }

    /// Notes that a record was made just now, as far as its decoder knows.
    pub(super) const fn note_live(&mut self) {
        if let Some(run) = &mut self.run {
            run.live += 1;
        }
    }

    /// Whether a record came in this transfer.
    pub(super) const fn has_come(&self) -> bool {
        matches!(&self.run, Some(run) if run.count > 0)
    }

    /// From which record on must be asked to have this one say the same again.
    fn anchor_of(&mut self, of: &Observation) -> Option<u32> {
        match self.anchors {
            None => of.record,
            Some(is_anchor) => {
                self.anchor = of.record.filter(|_| is_anchor(of)).or(self.anchor);
                self.anchor
            }
        }
    }

    /// Whether it is of the record of the mark, or of one between that and its anchor: it has been given before.
    /// When the mark is not confirmed then, all comes again, and this with it.
    fn is_of_before(&mut self, mark: Mark) -> bool {
        let (is_recalled, is_anchored) = (self.is_recalled, self.anchors.is_some());
        let Some(run) = &mut self.run else { return false };
        let Some(from) = run.from.filter(|from| mark.number <= from.number) else { return false };
        if mark.number < from.number {
            return is_anchored && !run.is_confirmed;
        }
        let is_its_first = from.print == mark.print;
        if is_its_first && !run.is_confirmed {
            run.is_confirmed = true;
            // What was left out before the mark is durable or was never there.
            run.has_gap = false;
        }
        // Something of it may have been lost on the way, and comes now. Over a restart nobody knows what.
        run.is_confirmed && (is_its_first || is_recalled)
    }

    /// Whether it is new.
    fn see(&mut self, print: u64) -> bool {
        if !self.seen.insert(print) {
            return false;
        }
        self.seen_in_order.push_back(print);
        if self.seen_in_order.len() > MOST_SEEN
            && let Some(oldest) = self.seen_in_order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    fn arrive(&mut self, mark: Mark, needs: u64) {
        if self.is_refused {
            return;
        }
        let Some(run) = &mut self.run else { return self.arrive_live(mark, needs) };
        if run.last.is_some_and(|last| last.number == mark.number) {
            // More of the same record.
            if let Some(tail) = self.way.back_mut().filter(|tail| tail.mark.number == mark.number) {
                tail.needs = tail.needs.max(needs);
            }
            return;
        }
        let ascends = run.last.is_none_or(|last| last.number < mark.number);
        let follows = run.last.is_none_or(|last| last.number.checked_add(1) == Some(mark.number));
        let is_of_mark = run.from.is_some_and(|from| from.number == mark.number) && run.is_confirmed;
        run.descents += u32::from(!ascends);
        run.has_gap |= !follows && !is_of_mark;
        run.count_number(mark.number);
        run.first.get_or_insert(mark.number);
        run.last = Some(mark);
        run.top = run.top.filter(|top| top.number > mark.number).or(Some(mark));
        run.row += u32::from(!run.has_gap);
        let base = if run.from.is_some() { Base::Mark } else { Base::Row };
        let is_certain = if run.from.is_some() { run.is_confirmed } else { run.row >= IN_A_ROW };
        let in_order = run.descents == 0 && !run.has_gap && is_certain;
        resolve(&mut self.way, if ascends { Safe::Yes } else { Safe::No });
        self.way.push_back(Passed { mark, base, needs, safe: if in_order { Safe::Waits } else { Safe::No } });
    }

    fn arrive_live(&mut self, mark: Mark, needs: u64) {
        let follows = self.last_live.is_some_and(|last| last.checked_add(1) == Some(mark.number));
        let is_more = self.last_live == Some(mark.number);
        if let Some(tail) = self.way.back_mut().filter(|tail| is_more && tail.mark.number == mark.number) {
            tail.needs = tail.needs.max(needs);
            return;
        }
        if follows {
            self.last_live = Some(mark.number);
        }
        if !is_more {
            let safe = if follows { Safe::Yes } else { Safe::No };
            self.way.push_back(Passed { mark, base: Base::Mark, needs, safe });
        }
    }

    /// Ends the transfer; it is complete when the device said so. `pushed` observations were passed on so far.
    pub(super) fn end(&mut self, is_complete: bool, pushed: u64) -> Came {
        resolve(&mut self.way, Safe::No);
        let Some(run) = self.run.take() else {
            return Came { count: 0, is_of_other_numbers: false, is_at_end_of_numbers: false };
        };
        let is_of_other_numbers = run.from.is_some() && !run.is_confirmed;
        let is_at_the_end = run.top.is_some_and(|top| Some(top.number) == self.greatest);
        // All of it in the order of its making, with the end of the numbers in between.
        let is_turned = run.descents == 1 && is_at_the_end && run.last.map(|last| last.number) < run.first;
        let newest = if is_turned { run.last } else { run.top };
        if let Some(mark) = newest.filter(|_| is_complete && !is_of_other_numbers && !self.is_refused) {
            let base = if run.from.is_some() { Base::Mark } else { Base::Whole };
            self.way.push_back(Passed { mark, base, needs: pushed, safe: Safe::Yes });
            self.last_live = Some(mark.number);
        }
        Came {
            count: run.count,
            is_of_other_numbers,
            is_at_end_of_numbers: is_at_the_end && run.from.is_some(),
        }
    }

    /// Everything up to this place is durable. True when the mark has moved, or more is known of what stands before it.
    pub(super) fn handle_durable(&mut self, through: u64) -> bool {
        let before = (self.mark, self.is_provisional);
        while let Some(front) = self.way.front().filter(|front| front.needs <= through) {
            match front.safe {
                Safe::Waits => break,
                Safe::No => {}
                Safe::Yes => {
                    self.is_recalled &= self.mark == Some(front.mark);
                    self.mark = Some(front.mark);
                    match front.base {
                        Base::Mark => {}
                        Base::Row => self.is_provisional = true,
                        Base::Whole => self.is_provisional = false,
                    }
                }
            }
            self.way.pop_front();
        }
        (self.mark, self.is_provisional) != before
    }

    /// Something that was passed on is not stored, and never will be.
    pub(super) fn handle_refused(&mut self) {
        self.way.clear();
        self.seen.clear();
        self.seen_in_order.clear();
        self.is_refused = true;
    }
}

/// What the last record waited for is known.
fn resolve(way: &mut VecDeque<Passed>, safe: Safe) {
    if let Some(tail) = way.back_mut().filter(|tail| tail.safe == Safe::Waits) {
        tail.safe = safe;
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn short(print: u64) -> u32 {
    let [a, b, c, d, ..] = print.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// What makes an observation the same as another one: which record, when by the device's clock, what. Not
/// how it came, nor what is said against it.
fn print(observation: &Observation) -> u64 {
    let Observation { metric, channel, value, modality, record, device_time, .. } = observation;
    let mut hash = Hash::default();
    hash.number(metric.code.into());
    hash.number((*channel).into());
    hash.number((*modality).into());
    hash.number(record.map_or(u64::MAX, u64::from));
    if let Some(time) = device_time {
        let DeviceTime { year, month, day, hour, minute, second, millis, ticks, offset, .. } = *time;
        hash.octets(&[month, day, hour, minute, second]);
        hash.number(u64::from(year) << 32 | u64::from(millis));
        hash.number(ticks.unwrap_or_default());
        hash.number(offset.map_or(u64::MAX, |offset| u64::from(offset.cast_unsigned())));
    }
    match value {
        Value::Decimal(number) => {
            hash.number(number.mantissa.cast_unsigned());
            hash.octets(&[number.exponent.cast_unsigned()]);
        }
        Value::Absent(why) => hash.octets(why.code().as_bytes()),
        Value::Text(text) => hash.octets(text.as_bytes()),
        Value::Bits(bits) => hash.number((*bits).into()),
        Value::Alarm(alarm) => {
            hash.octets(alarm.code.as_bytes());
            hash.octets(alarm.phase.as_str().as_bytes());
        }
        Value::Samples(samples) => {
            samples.values.iter().for_each(|value| hash.octets(&value.to_le_bytes()));
        }
    }
    hash.0
}

/// FNV-1a, 64 bits: stands in files, so it may never change (the standard library's own hash may).
pub(in crate::device::ble) struct Hash(pub(in crate::device::ble) u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    pub(in crate::device::ble) fn octets(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn number(&mut self, number: u64) {
        self.octets(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
