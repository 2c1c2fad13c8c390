//! One segment: its footer, its database, every block of it, and its place in the chain.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::super::super::Seq;
use super::super::super::engine::database_file;
use super::super::super::raw::RawSegment;
use super::super::super::rebuild::{Promise, rebuild};
use super::super::super::segment::{Ending, Footer, Opened, Previous};
use super::super::look::{LaneSight, Tally, children, scan};
use super::lane::{Seen, TOLD, lost_words};
use super::{Check, Finding, Sort};
use crate::host::atomic_file::UNFINISHED;
use crate::time::Wall;

impl Check<'_> {
    /// Looks into a segment whose header authenticates. Out: what the next one should say of it, if it
    /// holds anything.
    pub(super) fn segment(&mut self, found: &LaneSight, opened: &Opened) -> io::Result<Option<Seen>> {
        let number = opened.header.number;
        let folder = self.sight.segment_folder(found.lane, number);
        self.report.segments += 1;
        self.names(&folder)?;
        let raw = match scan(&folder) {
            Ok(raw) => raw,
            Err(error) => {
                let finding = self.database(found, number, format!("it cannot be read: {error}"));
                self.find(finding);
                None
            }
        };
        let (footer, is_proven) = self.footer(found, opened, &folder, raw.as_ref());
        if footer.blocks == 0 {
            return Ok(None);
        }
        let bad = self.blocks(found, opened, raw.as_ref(), &footer);
        self.runs(found, number, raw.as_ref(), (&bad, &footer));
        self.sums(found, number, raw.as_ref(), (&bad, &footer));
        let told = Previous { number, blocks: footer.blocks, records: footer.records, head: footer.head };
        let again = rebuild(raw.as_ref(), opened, Promise::Exactly(told)).footer;
        if is_proven && bad.is_empty() && again.head != footer.head {
            let finding = Finding {
                lane: Some(found.lane),
                segment: Some(number),
                meaning: "every block authenticates, but together they are not what the footer vouches for"
                    .to_owned(),
                ..Finding::new(
                    Sort::Chain,
                    self.within(&folder.join("footer")),
                    "the head of the segment's chain is another".to_owned(),
                )
            };
            self.find(finding);
        }
        Ok(Some(Seen { previous: told, is_proven: is_proven || bad.is_empty() }))
    }

    /// What the segment came to, and whether its own footer says so.
    fn footer(
        &mut self,
        found: &LaneSight,
        opened: &Opened,
        folder: &Path,
        raw: Option<&RawSegment>,
    ) -> (Footer, bool) {
        let number = opened.header.number;
        let error = match Footer::read(folder, &opened.keys) {
            Ok(footer) => return (footer, true),
            Err(error) => error,
        };
        let promise = found.told.about(number);
        let footer = rebuild(raw, opened, promise).footer;
        let (sort, what) = if error.is_absent() {
            let is_torn =
                !matches!(promise, Promise::Exactly(_)) && raw.is_some_and(|raw| raw.is_torn(footer.blocks));
            let torn = if is_torn { ", and ends in the middle of a commit" } else { "" };
            (Sort::Unclosed, format!("the segment was not closed in order{torn}"))
        } else {
            (Sort::Footer, format!("it cannot be used: {error}"))
        };
        let meaning = match promise {
            Promise::Exactly(_) => {
                "the next segment says how much was stored in it; the next start makes a new footer"
            }
            Promise::AtLeast(_) => {
                "the cursor says how much was stored in it at least; the next start makes a new footer"
            }
            Promise::Unknown => {
                "what is whole in it counts as stored, the end of a write that was under way does not; the next \
                 start makes a new footer"
            }
        };
        self.find(Finding {
            lane: Some(found.lane),
            segment: Some(number),
            meaning: meaning.to_owned(),
            ..Finding::new(sort, self.within(&folder.join("footer")), what)
        });
        (footer, false)
    }

    /// The blocks that are not there or do not authenticate.
    fn blocks(
        &mut self,
        found: &LaneSight,
        opened: &Opened,
        raw: Option<&RawSegment>,
        footer: &Footer,
    ) -> BTreeSet<u32> {
        let (lane, segment) = (found.lane, opened.header.number);
        let mut bad = BTreeSet::new();
        for block in 0..footer.blocks {
            let seq = Seq { lane, segment, block };
            let read = raw.and_then(|raw| self.sight.block(&opened.keys, raw, seq));
            // What authenticates and still cannot be read back was written by another version.
            match read.filter(|(_, plain)| plain.read().is_ok()) {
                Some((label, _)) => {
                    self.report.blocks += 1;
                    self.report.records = self.report.records.saturating_add(u64::from(label.count));
                }
                None => drop(bad.insert(block)),
            }
        }
        bad
    }

    /// One finding for each run of bad blocks.
    fn runs(
        &mut self,
        found: &LaneSight,
        number: u64,
        raw: Option<&RawSegment>,
        (bad, footer): (&BTreeSet<u32>, &Footer),
    ) {
        let mut rest = bad.iter().copied().peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| *next == last.saturating_add(1)) {
                last = next;
            }
            self.run(found, number, raw, ((first, last), footer));
        }
    }

    fn run(
        &mut self,
        found: &LaneSight,
        number: u64,
        raw: Option<&RawSegment>,
        ((first, last), footer): ((u32, u32), &Footer),
    ) {
        let done = found.done(number).0;
        let waiting = first.max(done)..last.saturating_add(1).max(done);
        let mean = footer.records.div_ceil(u64::from(footer.blocks.max(1)));
        let unnamed = waiting.clone().filter(|block| raw.is_none_or(|raw| raw.label(*block).is_none()));
        let unnamed = u64::try_from(unnamed.count()).unwrap_or(u64::MAX);
        let tally = raw.map_or_else(Tally::default, |raw| Tally::of(raw, waiting.clone()));
        let gone = tally.records.saturating_add(mean.saturating_mul(unnamed));
        let span = if unnamed == 0 {
            (Wall::from_millis(tally.first), Wall::from_millis(tally.last))
        } else {
            (footer.first, footer.last)
        };
        let meaning = if waiting.is_empty() {
            "nothing is lost: the broker has acknowledged them".to_owned()
        } else {
            let about = if unnamed == 0 { "" } else { "about " };
            format!("{about}{}; {TOLD}", lost_words(gone, Some(span)))
        };
        let (which, is) = match last.saturating_sub(first) {
            0 => (format!("block {first}"), "is"),
            _ => (format!("blocks {first} to {last}"), "are"),
        };
        let is_there = raw.is_some_and(|raw| (first..=last).any(|block| raw.has(block)));
        let how = if is_there { "there, but not authentic" } else { "not all there" };
        let finding = Finding {
            blocks: Some((first, last)),
            offset: raw.and_then(|raw| raw.offset(first)),
            meaning,
            lost: gone,
            ..self.database(found, number, format!("{which} of {}/{number} {is} {how}", found.lane))
        };
        self.find(Finding { sort: Sort::Block, ..finding });
    }

    /// Whether the database is, byte for byte, what it was when the segment was closed.
    fn sums(
        &mut self,
        found: &LaneSight,
        number: u64,
        raw: Option<&RawSegment>,
        (bad, footer): (&BTreeSet<u32>, &Footer),
    ) {
        let measured = raw.map(RawSegment::measured);
        self.has_read(measured.map_or(0, |(length, _)| length));
        let Ending::Clean { length, sum } = footer.ending else { return };
        let what = match measured {
            None => "it is missing".to_owned(),
            Some(found) if found == (length, sum) => return,
            Some((now, _)) if now != length => {
                format!("it has {now} bytes and had {length} when it was closed")
            }
            Some(_) => "its checksum is not what it was when the segment was closed".to_owned(),
        };
        let meaning = if bad.is_empty() {
            "nothing is lost: every block in it authenticates; it goes to quarantine once it is sent"
                .to_owned()
        } else {
            "what still authenticates is sent, the rest is named with its blocks".to_owned()
        };
        let finding = Finding { meaning, ..self.database(found, number, what) };
        self.find(finding);
    }

    fn database(&self, found: &LaneSight, number: u64, what: String) -> Finding {
        let file = database_file(&self.sight.segment_folder(found.lane, number));
        Finding {
            lane: Some(found.lane),
            segment: Some(number),
            ..Finding::new(Sort::Database, self.within(&file), what)
        }
    }

    /// What stands in the segment's folder that the store did not put there.
    fn names(&mut self, folder: &Path) -> io::Result<()> {
        for (name, is_folder, path) in children(folder)? {
            match name.as_str() {
                "header" | "footer" if !is_folder => {}
                "sled" if is_folder => {}
                _ if matches!(name.strip_suffix(UNFINISHED), Some("header" | "footer")) => {
                    self.unfinished(&path);
                }
                _ => self.stranger(&path),
            }
        }
        for (name, is_folder, path) in children(&folder.join("sled"))? {
            let is_snapshot = name.starts_with("snap.");
            match name.as_str() {
                "db" | "conf" if !is_folder => {}
                _ if is_snapshot && !is_folder => {}
                // sled makes the folder; a file in it would be a value that nobody synced.
                "blobs" if is_folder => {
                    for (_, _, blob) in children(&path)? {
                        self.stranger(&blob);
                    }
                }
                _ => self.stranger(&path),
            }
        }
        Ok(())
    }
}
