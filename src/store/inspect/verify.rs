//! Everything that can be checked of a store that nobody has open.
//!
//! In: the folder and the keys. Out: a [`Report`]: what was read, and a [`Finding`] for each thing that is
//! not as it should be, with what it means for the data. Every file is read once, one segment at a time.
//! What can go wrong: the key is another one, then nothing can be said. What never happens: anything is
//! repaired.

mod lane;
mod segment;

use std::io;
use std::path::{Path, PathBuf};

use super::super::anchor::{self, Anchor};
use super::super::folders::lane_folder;
use super::super::{StoreError, StoreId};
use super::look::{Contents, LaneSight, Sight, children, is_lost_and_found};
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;
use crate::host::atomic_file::UNFINISHED;

/// More findings than these are counted, not kept.
const MOST_FINDINGS: usize = 10_000;

/// What sort of thing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The identity cannot be used.
    Identity,
    /// A cursor cannot be used, or does not fit the lane.
    Cursor,
    /// A header does not authenticate at its place.
    Header,
    /// A footer does not authenticate.
    Footer,
    /// A database is missing, cannot be read, or is not what it was when its segment was closed.
    Database,
    /// Blocks are missing or do not authenticate.
    Block,
    /// The mark beside the store cannot be used, or says that the store has been further.
    Anchor,
    /// The hashes that tie segments together do not fit.
    Chain,
    /// A segment that should be there is not.
    Missing,
    /// Something that the store did not make.
    Stranger,
    /// A segment was not closed in order: the last start ended with a crash or a power cut.
    Unclosed,
    /// The next start finishes a removal or a write that was cut short.
    Unfinished,
    /// There is no mark beside the store: an older copy of it would not be noticed.
    Unmarked,
    /// Something was set aside earlier.
    Quarantine,
}

impl Sort {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Cursor => "cursor",
            Self::Header => "header",
            Self::Footer => "footer",
            Self::Database => "database",
            Self::Block => "block",
            Self::Anchor => "anchor",
            Self::Chain => "chain",
            Self::Missing => "missing",
            Self::Stranger => "stranger",
            Self::Unclosed => "unclosed",
            Self::Unfinished => "unfinished",
            Self::Unmarked => "unmarked",
            Self::Quarantine => "quarantine",
        }
    }

    /// Whether the store is not sound because of it. The others are what a crash leaves, or a
    /// copy of the folder alone, in a sound store.
    pub const fn is_damage(self) -> bool {
        !matches!(self, Self::Unclosed | Self::Unfinished | Self::Unmarked | Self::Quarantine)
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What sort of thing.
    pub sort: Sort,
    /// The file or folder, within the store; the mark beside it with its whole path.
    pub file: PathBuf,
    /// Its lane.
    pub lane: Option<Lane>,
    /// Its segment.
    pub segment: Option<u64>,
    /// The first and the last block that it is about.
    pub blocks: Option<(u32, u32)>,
    /// Where in the file, in bytes.
    pub offset: Option<u64>,
    /// What was found.
    pub what: String,
    /// What it means for the data and for the next start.
    pub meaning: String,
    /// How many records are lost by it.
    pub lost: u64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The store.
    pub store: StoreId,
    /// Segments that were looked into.
    pub segments: u64,
    /// Blocks that authenticate.
    pub blocks: u64,
    /// Records in these.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What was found, in the order of the store.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more: u64,
}

impl Report {
    /// Whether nothing is damaged.
    pub fn is_sound(&self) -> bool {
        self.more == 0 && !self.findings.iter().any(|finding| finding.sort.is_damage())
    }

    /// Records that are lost.
    pub fn lost(&self) -> u64 {
        self.findings.iter().fold(0, |sum, finding| sum.saturating_add(finding.lost))
    }
}

/// Checks everything. `progress` is told the bytes that were read, and of how many.
pub fn verify(
    folder: &Path,
    ring: &KeyRing,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, StoreError> {
    let failed = |error| StoreError::io("reading the store", error);
    std::fs::read_dir(folder).map_err(failed)?;
    let (sight, trouble) = Sight::find(folder, ring)?;
    let total = total_bytes(folder).map_err(failed)?;
    let report = Report {
        store: sight.store,
        segments: 0,
        blocks: 0,
        records: 0,
        bytes: 0,
        findings: Vec::new(),
        more: 0,
    };
    let mut check = Check { sight, report, total, progress, anchor: None };
    if let Some(reason) = trouble {
        check.find(Finding {
            meaning:
                "the daemon refuses to start until the file is put back from a copy of this store; the data \
                      itself is not touched by it"
                    .to_owned(),
            ..Finding::new(Sort::Identity, "identity", format!("it cannot be used: {reason}"))
        });
    }
    check.anchor();
    check.top().map_err(failed)?;
    for lane in Lane::ALL {
        let found = LaneSight::take(&check.sight, lane).map_err(failed)?;
        check.lane(&found).map_err(failed)?;
    }
    check.quarantine().map_err(failed)?;
    (check.progress)(total, total);
    Ok(check.report)
}

/// A check that is under way.
struct Check<'a> {
    sight: Sight<'a>,
    report: Report,
    total: u64,
    progress: &'a mut dyn FnMut(u64, u64),
    anchor: Option<Anchor>,
}

impl Finding {
    fn new(sort: Sort, file: impl Into<PathBuf>, what: String) -> Self {
        Self {
            sort,
            file: file.into(),
            lane: None,
            segment: None,
            blocks: None,
            offset: None,
            what,
            meaning: String::new(),
            lost: 0,
        }
    }
}

impl Check<'_> {
    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < MOST_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more = self.report.more.saturating_add(1);
        }
    }

    fn has_read(&mut self, bytes: u64) {
        self.report.bytes = self.report.bytes.saturating_add(bytes);
        (self.progress)(self.report.bytes.min(self.total), self.total);
    }

    fn within(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.sight.folder).unwrap_or(path).to_owned()
    }

    /// The mark beside the store.
    fn anchor(&mut self) {
        let file = anchor::beside(self.sight.folder);
        let unseen =
            "nothing is lost; but an older copy of the store, put in its place, would not be noticed";
        let (sort, what) = match Anchor::read(&file, &self.sight.keys) {
            Ok(anchor) if anchor.store == self.sight.store => {
                self.anchor = Some(anchor);
                return;
            }
            Ok(anchor) => (Sort::Anchor, format!("it tells of another store, {}", anchor.store)),
            Err(error) if error.is_absent() => {
                (Sort::Unmarked, "the mark beside the store is missing".to_owned())
            }
            Err(error) => (Sort::Anchor, format!("it cannot be used: {error}")),
        };
        self.find(Finding { meaning: unseen.to_owned(), ..Finding::new(sort, file, what) });
    }

    /// What stands beside the lanes.
    fn top(&mut self) -> io::Result<()> {
        for (name, is_folder, path) in children(self.sight.folder)? {
            let is_lane = Lane::ALL.iter().any(|lane| lane.as_str() == name);
            match name.as_str() {
                _ if is_folder && (is_lane || name == "quarantine") => {}
                "lock" | "identity" if !is_folder => {}
                _ if is_lost_and_found(&name, &path) => {}
                _ if name.strip_suffix(UNFINISHED) == Some("identity") => self.unfinished(&path),
                _ => self.stranger(&path),
            }
        }
        Ok(())
    }

    fn quarantine(&mut self) -> io::Result<()> {
        for (_, _, path) in children(&self.sight.folder.join("quarantine"))? {
            let what = "it was damaged and set aside; what could be read of it was sent before".to_owned();
            self.find(Finding {
                meaning: "look at it or leave it: it goes when its room is needed".to_owned(),
                ..Finding::new(Sort::Quarantine, self.within(&path), what)
            });
        }
        Ok(())
    }

    fn stranger(&mut self, path: &Path) {
        self.find(Finding {
            meaning: "the daemon leaves it alone; find out who put it there, then remove it".to_owned(),
            ..Finding::new(Sort::Stranger, self.within(path), "the store did not make this".to_owned())
        });
    }

    fn unfinished(&mut self, path: &Path) {
        self.find(Finding {
            meaning: "nothing is lost: the file that it was to replace is still there".to_owned(),
            ..Finding::new(Sort::Unfinished, self.within(path), "a write was cut short".to_owned())
        });
    }
}

/// The bytes of all segments, to tell how long it takes.
fn total_bytes(folder: &Path) -> io::Result<u64> {
    let mut total = 0u64;
    for lane in Lane::ALL {
        let home = lane_folder(folder, lane);
        for number in Contents::of(&home)?.numbers {
            let database = super::super::engine::database_file(&home.join(number.to_string()));
            let length = std::fs::metadata(database).map_or(0, |metadata| metadata.len());
            total = total.saturating_add(length);
        }
    }
    Ok(total)
}
