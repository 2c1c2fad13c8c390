//! One lane: its cursor, what stands in its folder, and how its segments hang together.

use std::io;
use std::path::{Path, PathBuf};

use super::super::super::anchor;
use super::super::super::engine::database_file;
use super::super::super::folders::cursor_file;
use super::super::super::segment::{Header, Previous, Unsound};
use super::super::super::state_file::Cursor;
use super::super::look::{LaneSight, Tally, scan};
use super::{Check, Finding, Sort};
use crate::time::Wall;

/// The newest segment that was looked into and holds something.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) previous: Previous,
    /// Whether its head was computed from what is on disk or taken from its footer; else only its
    /// number is known.
    pub(super) is_proven: bool,
}

impl Check<'_> {
    pub(super) fn lane(&mut self, found: &LaneSight) -> io::Result<()> {
        self.cursor(found);
        for path in &found.contents.strangers {
            self.stranger(path);
        }
        for path in &found.contents.unfinished {
            self.unfinished(path);
        }
        for path in &found.contents.going {
            self.going(found, path);
        }
        let mut seen: Option<Seen> = None;
        for number in found.contents.numbers.iter().copied() {
            let folder = self.sight.segment_folder(found.lane, number);
            if found.is_over(number) {
                self.going(found, &folder);
            } else if let Some(opened) = found.sound.get(&number) {
                self.link(found, &opened.header, seen);
                if let Some(newest) = self.segment(found, opened)? {
                    seen = Some(newest);
                }
            } else if let Some(error) = found.spoilt.get(&number) {
                self.header(found, number, error);
            }
        }
        self.end(found, seen);
        Ok(())
    }

    fn cursor(&mut self, found: &LaneSight) {
        let Err(error) = &found.cursor else { return };
        if error.is_absent() && found.contents.numbers.is_empty() {
            return;
        }
        let file = self.within(&cursor_file(self.sight.folder, found.lane));
        let what = if error.is_absent() {
            "it is missing".to_owned()
        } else {
            format!("it cannot be used: {error}")
        };
        self.find(Finding {
            lane: Some(found.lane),
            meaning: "nothing is lost: all that is left in the lane is sent, what the broker has already once more \
                      under the same keys"
                .to_owned(),
            ..Finding::new(Sort::Cursor, file, what)
        });
    }

    fn going(&mut self, found: &LaneSight, folder: &Path) {
        self.find(Finding {
            lane: Some(found.lane),
            meaning: "nothing is lost: the broker has all of it, and the next start removes it".to_owned(),
            ..Finding::new(Sort::Unfinished, self.within(folder), "its removal was cut short".to_owned())
        });
    }

    /// Whether a segment follows the one before it.
    fn link(&mut self, found: &LaneSight, header: &Header, seen: Option<Seen>) {
        let (number, previous) = (header.number, header.previous);
        let newest = seen.map_or(0, |seen| seen.previous.number);
        if previous.number > newest {
            self.missing(found, &previous, &format!("segment {number} follows it"));
            return;
        }
        if seen.is_none() || (previous.number == newest && !differs(seen, &previous)) {
            return;
        }
        let what = if previous.number == newest {
            format!("segment {newest} is not the one that it says it follows")
        } else {
            format!("it says that it follows segment {}, and segment {newest} lies between", previous.number)
        };
        self.find(Finding {
            lane: Some(found.lane),
            segment: Some(number),
            meaning:
                "one of the two was replaced, perhaps by an old copy: what was in its place cannot be told \
                      from here; the heads in the gateway's heartbeats can"
                    .to_owned(),
            ..Finding::new(Sort::Chain, self.header_file(found, number), what)
        });
    }

    /// A segment that another file speaks of and that is not there.
    fn missing(&mut self, found: &LaneSight, previous: &Previous, says: &str) {
        let number = previous.number;
        let is_over = match &found.cursor {
            Ok(cursor) => {
                (number, previous.blocks) <= (cursor.segment, cursor.block) || number < cursor.segment
            }
            // Without a cursor nobody knows what was acknowledged before the first segment that is left.
            Err(_) => found.contents.numbers.first().is_none_or(|first| number < *first),
        };
        if number == 0 || previous.blocks == 0 || is_over || found.contents.numbers.contains(&number) {
            return;
        }
        let lost = previous.records.saturating_sub(found.done(number).1);
        let lane = found.lane;
        self.find(Finding {
            lane: Some(lane),
            segment: Some(number),
            meaning: format!("{}; {}", lost_words(lost, None), TOLD),
            lost,
            ..Finding::new(
                Sort::Missing,
                self.within(&self.sight.segment_folder(lane, number)),
                format!("the segment is not there, although {says}"),
            )
        });
    }

    /// Whether the lane ends where its cursor and the mark beside the store say that it had come to.
    fn end(&mut self, found: &LaneSight, seen: Option<Seen>) {
        let Ok(Cursor { newest, segment, .. }) = found.cursor else { return };
        let last = found.contents.numbers.last().copied().unwrap_or_default();
        if newest.number > last {
            self.missing(found, &newest, "the cursor names it");
        } else if seen.is_some_and(|seen| is_another(&seen, &newest)) {
            self.find(Finding {
                lane: Some(found.lane),
                segment: Some(newest.number),
                meaning: "the segment or the cursor was replaced, perhaps by an old copy".to_owned(),
                ..Finding::new(
                    Sort::Chain,
                    self.within(&cursor_file(self.sight.folder, found.lane)),
                    format!("it names another segment {} than the one that is there", newest.number),
                )
            });
        }
        // A cursor names the first segment that is not done, or the next one that would be made.
        let reached = last.max(segment.saturating_sub(1)).max(newest.number);
        let marked = self.anchor.map_or(0, |anchor| anchor.of(found.lane));
        if marked > reached {
            self.find(Finding {
                lane: Some(found.lane),
                meaning: format!(
                    "what was stored in the segments after {reached} up to {marked} and was not sent is lost, nobody                      here knows how much; {TOLD}"
                ),
                ..Finding::new(
                    Sort::Anchor,
                    anchor::beside(self.sight.folder),
                    format!("lane {} was put back to an earlier state", found.lane),
                )
            });
        }
    }

    /// A header that cannot be trusted: its key, and so all of its segment, is lost.
    fn header(&mut self, found: &LaneSight, number: u64, error: &Unsound) {
        let folder = self.sight.segment_folder(found.lane, number);
        let database = database_file(&folder);
        if error.is_absent() && !database.exists() {
            self.find(Finding {
                lane: Some(found.lane),
                segment: Some(number),
                meaning: "nothing is lost: nothing was stored in it yet".to_owned(),
                ..Finding::new(Sort::Unfinished, self.within(&folder), "it was being begun".to_owned())
            });
            return;
        }
        let (raw, trouble) = match scan(&folder) {
            Ok(raw) => (raw, String::new()),
            Err(error) => (None, format!("; its database cannot be read either: {error}")),
        };
        let tally = raw.map_or_else(Tally::default, |raw| Tally::of(&raw, 0..raw.end()));
        self.has_read(std::fs::metadata(&database).map_or(0, |metadata| metadata.len()));
        let said = found.told.about(number).told().map_or(0, |told| told.records);
        let lost = tally.records.max(said).saturating_sub(found.done(number).1);
        let span =
            (tally.records > 0).then(|| (Wall::from_millis(tally.first), Wall::from_millis(tally.last)));
        let what = if error.is_absent() {
            format!("it is missing{trouble}")
        } else {
            format!("it cannot be used: {error}{trouble}")
        };
        self.find(Finding {
            lane: Some(found.lane),
            segment: Some(number),
            meaning: format!("{}; the segment goes to quarantine and {TOLD}", lost_words(lost, span)),
            lost,
            ..Finding::new(Sort::Header, self.header_file(found, number), what)
        });
    }

    fn header_file(&self, found: &LaneSight, number: u64) -> PathBuf {
        self.within(&self.sight.segment_folder(found.lane, number).join("header"))
    }
}

/// Whether another file says something else of a segment than it says itself.
fn differs(seen: Option<Seen>, previous: &Previous) -> bool {
    seen.is_some_and(|seen| seen.is_proven && seen.previous != *previous)
}

/// Whether the cursor names a segment that holds less, or another one, than it had when that was written.
fn is_another(seen: &Seen, newest: &Previous) -> bool {
    let Previous { number, blocks, head, .. } = seen.previous;
    let is_less = blocks < newest.blocks;
    number == newest.number && seen.is_proven && (is_less || (blocks == newest.blocks && head != newest.head))
}

/// What becomes of a loss.
pub(super) const TOLD: &str = "the daemon tells of it in a gap record";

/// How much is lost, and from when.
pub(super) fn lost_words(lost: u64, span: Option<(Wall, Wall)>) -> String {
    let records = if lost == 1 { "1 record" } else { "records" };
    let count = if lost == 1 { String::new() } else { format!("{lost} ") };
    let are = if lost == 1 { "is" } else { "are" };
    match span {
        Some((from, to)) => format!("{count}{records} from {from} to {to} {are} lost"),
        None => format!("{count}{records} {are} lost"),
    }
}
