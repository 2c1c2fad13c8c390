//! `wardline spool verify`: is the store sound? Reads everything, changes nothing.
//!
//! With `--json`, one object: `{"folder", "store", "sound": bool, "segments", "blocks", "records", "bytes",
//! "lost" (records), "findings": [...], "more" (findings past those listed)}`. A finding has `sort`, `damage`
//! (false for what a crash leaves in a sound store), `file` (within the store), `what`, `meaning`,
//! `lost`, and where they apply `lane`, `segment`, `first_block`, `last_block`, `offset`. `sort` is
//! `identity`, `cursor`, `header`, `footer`, `database`, `block`, `missing`, `anchor`, `chain`, `stranger`, and
//! without damage `unclosed`, `unfinished`, `unmarked`, `quarantine`.

use std::io::{self, Write};

use clap::Args;
use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::out::{self, Colour, Out};
use super::super::progress::Progress;
use super::super::status::clean;
use super::target::{Which, failure};
use crate::config::show_size;
use crate::device::observation::Lane;
use crate::store::inspect::{Finding, Hold, Report, verify};

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  systemctl stop wardline && wardline spool verify\n  \
    wardline spool verify --store /mnt/store --kek kek.bin    a disk taken out of a gateway\n\n\
    Ends with 0 when all is sound, with 9 when something is damaged, with 5 while the daemon runs.")]
pub(super) struct Verify {
    #[command(flatten)]
    which: Which,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Verdict<'a> {
    folder: String,
    store: String,
    sound: bool,
    segments: u64,
    blocks: u64,
    records: u64,
    bytes: u64,
    lost: u64,
    findings: Vec<Line<'a>>,
    more: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    sort: &'a str,
    damage: bool,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_block: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_block: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    what: &'a str,
    meaning: &'a str,
    lost: u64,
}

impl<'a> From<&'a Finding> for Line<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            sort: finding.sort.as_str(),
            damage: finding.sort.is_damage(),
            file: finding.file.display().to_string(),
            lane: finding.lane.map(Lane::as_str),
            segment: finding.segment,
            first_block: finding.blocks.map(|(first, _)| first),
            last_block: finding.blocks.map(|(_, last)| last),
            offset: finding.offset,
            what: &finding.what,
            meaning: &finding.meaning,
            lost: finding.lost,
        }
    }
}

impl Verify {
    pub(super) fn run(self) -> Result<(), Failure> {
        let target = self.which.target()?;
        let _hold = Hold::take(&target.folder).map_err(failure)?;
        let ring = target.need_keys()?;
        let report = {
            let bar = Progress::new("verifying");
            verify(&target.folder, ring, &mut |done, total| bar.at(done, total)).map_err(failure)?
        };
        let mut out = out::stdout();
        if self.json {
            out.json(&Verdict {
                folder: target.folder.display().to_string(),
                store: report.store.to_string(),
                sound: report.is_sound(),
                segments: report.segments,
                blocks: report.blocks,
                records: report.records,
                bytes: report.bytes,
                lost: report.lost(),
                findings: report.findings.iter().map(Line::from).collect(),
                more: report.more,
            })?;
        } else {
            print(&mut out, &report)?;
        }
        out.finish()?;
        if report.is_sound() { Ok(()) } else { Err(Failure::silent(Exit::Damaged)) }
    }
}

fn print<W: Write>(out: &mut Out<W>, report: &Report) -> io::Result<()> {
    let Report { segments, blocks, records, .. } = report;
    for finding in &report.findings {
        let colour = if finding.sort.is_damage() { Colour::Bad } else { Colour::Faint };
        let file = out.paint(colour, &clean(&finding.file.display().to_string()));
        let offset = finding.offset.map(|offset| format!(" (at byte {offset})")).unwrap_or_default();
        out.line(format_args!("{file}: {}{offset}", clean(&finding.what)))?;
        out.line(format_args!("    {}", clean(&finding.meaning)))?;
    }
    if report.more > 0 {
        out.line(format_args!("and {} more findings", report.more))?;
    }
    let read = show_size(report.bytes);
    out.line(format_args!("{segments} segments, {blocks} blocks, {records} records, {read} read"))?;
    if report.is_sound() {
        let verdict = out.paint(Colour::Good, "sound");
        return out.line(format_args!("{verdict}: everything authenticates, nothing is missing"));
    }
    let verdict = out.paint(Colour::Bad, "damaged");
    let damaged = report.findings.iter().filter(|finding| finding.sort.is_damage()).count();
    out.line(format_args!("{verdict}: {damaged} findings, {} records lost", report.lost()))
}
