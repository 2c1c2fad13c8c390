//! The table of the stores.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::figures::short;
use super::super::machine::{Machine, Spread};
use super::content::{Content, RECORD};

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub(in super::super) struct StoreFigures {
    /// The machine.
    pub(super) machine: Machine,
    /// Each figure is of the middle one of so many runs.
    pub(super) runs: usize,
    /// By kind of record and size of commit.
    pub(super) cells: Vec<Cell>,
}

/// The keepers at one kind of record and one size of commit.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cell {
    content: Content,
    commit: usize,
    stores: Vec<Line>,
}

/// What one of them came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    pub(super) store: &'static str,
    /// Whether what it acknowledged was on the disk at that moment.
    pub(super) is_durable: bool,
    /// Records stored.
    pub(super) records: u64,
    /// Of these, there after `kill -9`.
    pub(super) survived: u64,
    /// Records made durable each second.
    pub(super) per_second: f64,
    /// The same as part of what the append-only file does.
    pub(super) against_append_only: f64,
    /// Commits each second.
    pub(super) commits_per_second: f64,
    /// One commit.
    pub(super) commit_ms: Spread,
    /// Bytes written to storage for each byte of the records.
    pub(super) written_per_byte: f64,
    /// Bytes on disk for each byte of the records.
    pub(super) disk_per_byte: f64,
    /// Memory at the end, MiB.
    pub(super) rss: f64,
    /// After `kill -9`: until the first record is read and one more is durable.
    pub(super) reopen_ms: f64,
    /// Records read back each second.
    pub(super) read_per_second: f64,
}

impl Cell {
    pub(super) fn new(content: Content, commit: usize, mut stores: Vec<Line>) -> Self {
        let limit =
            stores.iter().find(|line| line.store == "append-only").map_or(0.0, |line| line.per_second);
        for line in &mut stores {
            line.against_append_only = line.per_second / limit;
        }
        Self { content, commit, stores }
    }
}

/// A kind of record as a word.
pub(super) fn word(content: Content) -> &'static str {
    match content {
        Content::Random => "random",
        Content::Reading => "reading",
    }
}

impl StoreFigures {
    /// As a table.
    pub(in super::super) fn table(&self) -> String {
        let mut text = self.machine.said();
        let _ = writeln!(
            text,
            "the middle one of {} runs, which took turns; a record counts as {RECORD} bytes whoever keeps it",
            self.runs
        );
        for cell in &self.cells {
            let what = match cell.content {
                Content::Random => "256 random bytes to a record",
                Content::Reading => "readings: 256 bytes of JSON, for wardline the observation",
            };
            let _ = writeln!(text, "\n{what}; {} in a commit", cell.commit);
            let _ = writeln!(
                text,
                "{:<13}{:>10} {:>6} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7} {:>9} {:>11}",
                "",
                "records/s",
                "x file",
                "commits/s",
                "p50 ms",
                "p99 ms",
                "written",
                "on disk",
                "RSS MiB",
                "reopen ms",
                "read back/s",
            );
            for line in &cell.stores {
                let name = format!("{}{}", line.store, if line.is_durable { "" } else { " *" });
                let _ = writeln!(
                    text,
                    "{name:<13}{:>10} {:>6} {:>9} {:>8} {:>8} {:>8} {:>7} {:>7} {:>9} {:>11}",
                    short(line.per_second),
                    short(line.against_append_only),
                    short(line.commits_per_second),
                    short(line.commit_ms.p50),
                    short(line.commit_ms.p99),
                    short(line.written_per_byte),
                    short(line.disk_per_byte),
                    short(line.rss),
                    short(line.reopen_ms),
                    short(line.read_per_second),
                );
            }
        }
        text += &self.notes();
        text
    }

    fn notes(&self) -> String {
        let mut text = "\nwritten, on disk: bytes for each byte of the records. reopen: after kill -9, until the \
                        first record is read\nand one more is durable. A block of wardline holds at most 256 KiB, so \
                        4,096 random records are six commits.\n"
            .to_owned();
        let peers = self.cells.iter().flat_map(|cell| &cell.stores).filter(|line| !line.is_durable);
        let (mut stored, mut survived) = (0, 0);
        for line in peers {
            stored += line.records;
            survived += line.survived;
        }
        if stored > 0 {
            let _ = writeln!(
                text,
                "* mosquitto is not durable: it answers PUBACK from memory and writes its whole database afterwards \
                 (here after\neach commit, the most that it can do), so the more it keeps the more it writes; measured \
                 with fewer records.\nOf {stored} records that it had acknowledged, {survived} were there after kill -9."
            );
        }
        text
    }
}
