//! Records H P O R C Q M L out of frames, and what they say together.
//!
//! In: the text of frames. Out: [`Said`]. A record ends at CR, or where the frame ends with ETX;
//! after ETB it goes on in the next frame. One frame may hold a record, a part of one, or a whole
//! message: analysers do all three.
//!
//! P records (the patient), the specimen numbers of O records, operators and the comments of
//! everybody but the analyser are dropped here; of an O record only a hash is kept, to know it when it
//! comes again.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::readings::{self, Context};
use super::record::{Delimiters, Record};
use super::setup::{Begin, Setup};
use super::wire::Frame;
use crate::device::observation::{Observation, Quality};
use crate::device::serial::text;
use crate::device::{Fault, FaultKind, Identity};

/// The most of a record that is kept; the longest known are images in manufacturer records. What is
/// longer is counted: of a result its whole fields are told, under an order or a patient nothing is sure,
/// a header is refused, all else is skipped.
const RECORD_MAX: usize = 65_536;

/// What a frame's records say, in order.
#[derive(Debug)]
pub(super) enum Said {
    /// A message begins, and who sends it.
    Began(Identity),
    /// A result.
    Result {
        /// What knows it again.
        key: Option<u64>,
        /// Whether it says itself at what time of day it was.
        is_timed: bool,
        /// What it says.
        observations: Vec<Observation>,
    },
    /// A remark on the result before it.
    Comment(Observation),
    /// The message ends; not normally when the analyser says that something went wrong.
    Ended {
        /// Whether it says that all is well.
        is_normal: bool,
    },
    /// The analyser asks for orders.
    Asked,
    /// Something is wrong.
    Wrong(Fault),
}

/// A message as far as it has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    open: Option<Open>,
    /// The record that goes on in the next frame.
    begun: Vec<u8>,
    is_too_long: bool,
}

/// What the records so far say.
#[derive(Clone, Debug)]
struct Open {
    delimiters: Delimiters,
    sender: u64,
    /// Hash of the header; `None` where it has no time of day and so does not tell messages apart.
    header: Option<u64>,
    quality: Quality,
    order: Order,
    /// The test of the last result, where its remarks may follow.
    last_test: Option<String>,
    /// Whether its end has come.
    is_over: bool,
}

/// What the O record says of the results below it.
#[derive(Clone, Copy, Debug)]
struct Order {
    hash: u64,
    has_time: bool,
    context: Context,
}

impl Message {
    /// Forgets it.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes the text of a frame. The error says why the frame may not be acknowledged; then nothing of
    /// it counts, and neither does this message, of which the caller keeps the copy from before.
    pub(super) fn take(&mut self, frame: &Frame, setup: &Setup) -> Result<Vec<Said>, &'static str> {
        let mut said = Vec::new();
        for &byte in &frame.text {
            if matches!(byte, b'\r' | b'\n') {
                self.end_record(setup, &mut said)?;
            } else if self.begun.len() < RECORD_MAX {
                self.begun.push(byte);
            } else {
                self.is_too_long = true;
            }
        }
        if frame.is_last {
            self.end_record(setup, &mut said)?;
        }
        Ok(said)
    }

    fn end_record(&mut self, setup: &Setup, said: &mut Vec<Said>) -> Result<(), &'static str> {
        let record = std::mem::take(&mut self.begun);
        if std::mem::take(&mut self.is_too_long) {
            return self.end_long_record(&record, setup, said);
        }
        match record.first().map(u8::to_ascii_uppercase) {
            None => Ok(()),
            // The rest of a record with a line end in it; refused, it would come again for ever.
            Some(b'H') if self.is_no_header(&record) => {
                said.push(wrong(FaultKind::Malformed, "a line that is no record is skipped"));
                Ok(())
            }
            Some(b'H') => {
                let open = Open::of(&record, setup).ok_or("a header record that defines no delimiters")?;
                said.push(Said::Began(open.1));
                self.open = Some(open.0);
                Ok(())
            }
            Some(kind) => {
                self.open_for(kind, setup)?.take(kind, &record, setup, said);
                Ok(())
            }
        }
    }

    /// A record of which only the beginning was kept.
    fn end_long_record(
        &mut self,
        begun: &[u8],
        setup: &Setup,
        said: &mut Vec<Said>,
    ) -> Result<(), &'static str> {
        match begun.first().map(u8::to_ascii_uppercase) {
            // Without it nobody knows who sends what follows.
            Some(b'H') if !self.is_no_header(begun) => Err("a header record that is too long"),
            Some(kind @ (b'P' | b'O' | b'R')) => {
                self.open_for(kind, setup)?.take_cut(kind, begun, setup, said);
                Ok(())
            }
            Some(_) | None => {
                said.push(wrong(FaultKind::Malformed, "a record is too long: it is skipped"));
                Ok(())
            }
        }
    }

    /// The message that a record belongs to.
    fn open_for(&mut self, kind: u8, setup: &Setup) -> Result<&mut Open, &'static str> {
        let open = self.open.as_mut().ok_or("a record of a message whose header did not come")?;
        // Where nothing else tells that another analyser took over, its header must.
        if open.is_over && kind == b'R' && setup.begin == Begin::AtOnce {
            return Err("a result behind the end of its message");
        }
        Ok(open)
    }

    /// Whether a frame that gave this is the same one when it comes again, whatever its number: its header
    /// or all its results say at what time of day they were made, or it has no whole result. A part of a
    /// record taken twice would spoil it, and two parts in a row are hardly ever alike. `before` is the
    /// message without the frame.
    pub(super) fn knows_again(&self, before: &Self, said: &[Said]) -> bool {
        let is_part = !before.begun.is_empty() || !self.begun.is_empty();
        let has_header = said.iter().any(|said| matches!(said, Said::Began(_)));
        let is_dated = has_header && self.open.as_ref().is_some_and(|open| open.header.is_some());
        let is_sure = |said: &Said| !matches!(said, Said::Result { is_timed: false, .. });
        is_part || is_dated || said.iter().all(is_sure)
    }

    /// Whether a line within a message begins like a header and is none: its fields would be divided otherwise.
    fn is_no_header(&self, line: &[u8]) -> bool {
        let is_divided = |open: &Open| line.get(1).is_some_and(|next| *next == open.delimiters.field());
        Delimiters::of_header(line).is_none() && self.open.as_ref().is_some_and(|open| !is_divided(open))
    }
}

impl Open {
    fn of(text: &[u8], setup: &Setup) -> Option<(Self, Identity)> {
        let delimiters = Delimiters::of_header(text)?;
        let record = Record::new(text, delimiters);
        let identity = identity(record, setup);
        let sender = hash(&(&identity.model, &identity.serial));
        // P production; T training, D debugging, Q quality control (LIS2-A2, field H-12).
        let is_test = record.has_any(12, &["T", "D", "Q"]);
        let quality = if is_test { Quality::TEST } else { Quality::GOOD };
        let open = Self {
            delimiters,
            sender,
            header: record.has_moment(14).then(|| hash(text)),
            quality,
            order: Order::none(quality),
            last_test: None,
            is_over: false,
        };
        Some((open, identity))
    }

    fn take(&mut self, kind: u8, text: &[u8], setup: &Setup, said: &mut Vec<Said>) {
        let record = Record::new(text, self.delimiters);
        if self.is_no_record(text) {
            said.push(wrong(FaultKind::Malformed, "a line that is no record is skipped"));
            return;
        }
        let remarked = self.last_test.take();
        match kind {
            // Whose specimen it is stays here.
            b'P' => self.order = Order::none(self.quality),
            b'O' => self.order = Order::of(record, self.quality, setup),
            b'R' => {
                let reading = readings::read(record, self.order.context, setup);
                said.extend(reading.faults.into_iter().map(Said::Wrong));
                let is_timed = readings::TIMES.into_iter().any(|number| record.has_moment(number));
                let (key, observations) = (self.key(record, is_timed), reading.observations);
                said.push(Said::Result { key, is_timed, observations });
                self.last_test = Some(reading.test);
            }
            // I: the analyser's own words (field C-3); even those may name a person.
            b'C' => {
                if let Some(test) = remarked {
                    let is_own = record.whole(3) == "I";
                    if setup.passes_comments && is_own {
                        let quality = self.order.context.quality;
                        said.push(Said::Comment(readings::comment(&test, &record.whole(4), quality)));
                    }
                    self.last_test = Some(test);
                }
            }
            // The maker's own (M) and scientific (S) records.
            b'M' | b'S' => self.last_test = remarked,
            b'Q' => said.push(Said::Asked),
            // Nothing or N is a normal end, F one after a query (field L-3).
            b'L' => {
                self.is_over = true;
                let is_normal = ["", "N", "F"].contains(&record.whole(3).as_str());
                said.push(Said::Ended { is_normal });
            }
            _ => said.push(wrong(FaultKind::Malformed, "a record of a type that is not known is skipped")),
        }
    }

    /// Takes the beginning of a record that is too long.
    fn take_cut(&mut self, kind: u8, text: &[u8], setup: &Setup, said: &mut Vec<Said>) {
        if self.is_no_record(text) {
            said.push(wrong(FaultKind::Malformed, "a line that is no record is skipped"));
            return;
        }
        self.last_test = None;
        if kind != b'R' {
            let detail = "an order or a patient record is too long: the results below it are questionable";
            said.push(wrong(FaultKind::Malformed, detail));
            // Whether it marked a control, or urine, may be cut off.
            let quality = self.quality.with(Quality::QUESTIONABLE);
            let context = Context { quality, is_blood: false };
            self.order = Order { hash: hash(text), has_time: false, context };
            return;
        }
        let reading = readings::read(Record::cut(text, self.delimiters), self.order.context, setup);
        said.extend(reading.faults.into_iter().map(Said::Wrong));
        // Two that differ in what was cut off could not be told apart.
        said.push(Said::Result { key: None, is_timed: false, observations: reading.observations });
        self.last_test = Some(reading.test);
    }

    /// Whether a line has no field behind its first character.
    fn is_no_record(&self, line: &[u8]) -> bool {
        line.get(1).is_some_and(|next| *next != self.delimiters.field())
    }

    /// What knows a result again when it is sent again. A time of day must be in it, else two readings that
    /// are alike could not be told apart. Left out is what may differ: its number within the message, as an
    /// analyser may go on with the first result that was not acknowledged, and that it says of itself to
    /// have been sent before.
    fn key(&self, record: Record<'_>, is_timed: bool) -> Option<u64> {
        let fields = (3..=14).map(|number| match record.field(number) {
            b"R" if number == 9 => b"F",
            field => field,
        });
        let what = (self.sender, self.order.hash, fields.collect::<Vec<_>>());
        if is_timed || self.order.has_time {
            return Some(hash(&what));
        }
        self.header.map(|header| hash(&(header, what)))
    }
}

impl Order {
    const fn none(quality: Quality) -> Self {
        Self { hash: 0, has_time: false, context: Context { quality, is_blood: true } }
    }

    fn of(record: Record<'_>, quality: Quality, setup: &Setup) -> Self {
        let is_control = record.has_any(12, &["Q"]) || (setup.is_m_control && record.has_any(12, &["M"]));
        let specimen = record.components(16).into_iter().next().unwrap_or_default().to_ascii_uppercase();
        let is_blood =
            specimen.is_empty() || ["BLOOD", "SERUM", "PLASMA"].iter().any(|word| specimen.contains(word));
        let quality = if is_control { quality.with(Quality::TEST) } else { quality };
        // Requested, collected, modified.
        let has_time = [7, 8, 23].into_iter().any(|number| record.has_moment(number));
        let fields: Vec<&[u8]> = (3..=31).map(|number| record.field(number)).collect();
        Self { hash: hash(&fields), has_time, context: Context { quality, is_blood } }
    }
}

/// Who sends: the fifth field of the header, "sender name or ID". Which of its components is what
/// differs from maker to maker.
fn identity(record: Record<'_>, setup: &Setup) -> Identity {
    // Some meters repeat within a component: `name^1.10\\1.03\\10.03^serial`.
    let parts: Vec<String> = record.outer_components(5).iter().map(|words| text(words)).collect();
    let part = |number: usize| {
        let place = number.checked_sub(1)?;
        parts.get(place).filter(|words| !words.is_empty()).cloned()
    };
    let last = || parts.iter().rev().find(|words| !words.is_empty()).cloned();
    Identity {
        maker: None,
        model: part(setup.model_component),
        serial: if setup.serial_component == 0 { last() } else { part(setup.serial_component) },
        firmware: part(setup.version_component),
    }
}

fn wrong(kind: FaultKind, detail: &str) -> Said {
    Said::Wrong(Fault::new(kind, detail))
}

fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}
