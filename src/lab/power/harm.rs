//! What a store would be like that made one sort of mistake: syncs that are left out, or promises that
//! come before them. The trials must then find losses, else they prove nothing.

use std::collections::BTreeSet;

use super::model::Story;
use crate::lab::disk::Op;

/// One sort of mistake. A sync that is left out is taken out of the record: what follows is what would
/// have followed without the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// `fdatasync` of a segment's database after each commit.
    Fdatasync,
    /// The first `fsync` of the files of a new database.
    NewDatabase,
    /// `fsync` of a database that is found without a footer.
    FoundDatabase,
    /// `fsync` of a segment's header.
    HeaderSync,
    /// `fsync` of a segment's footer.
    FooterSync,
    /// `fsync` of a lane's cursor.
    CursorSync,
    /// `fsync` of the store's identity.
    IdentitySync,
    /// `fsync` of every folder.
    FsyncOfFolders,
    /// `fsync` of the folder in which the store's folder stands.
    OuterFolder,
    /// `fsync` of the store's folder: names of lanes, of the identity.
    StoreFolder,
    /// `fsync` of a lane's folder: names of segments, of the cursor.
    LaneFolder,
    /// `fsync` of a segment's folder: names of header, footer, database.
    SegmentFolder,
    /// `fsync` of the database's folder.
    DatabaseFolder,
    /// A commit is reported before its sync.
    EarlyReport,
}

impl Harm {
    /// Of each operation of a record: whether it is left out.
    pub(super) fn left_out(self, record: &[Op]) -> Vec<bool> {
        let mut new = BTreeSet::new();
        let mut left_out = Vec::with_capacity(record.len());
        for op in record {
            let is_first = match op {
                Op::Make { node, .. } => new.insert(*node),
                Op::Sync { file, .. } => new.remove(file),
                Op::Write { .. }
                | Op::Resize { .. }
                | Op::Remove { .. }
                | Op::Rename { .. }
                | Op::SyncFolder { .. } => false,
            };
            left_out.push(self.leaves_out(op, is_first));
        }
        left_out
    }

    fn leaves_out(self, op: &Op, is_first: bool) -> bool {
        let (Op::Sync { path, .. } | Op::SyncFolder { path, .. }) = op else { return false };
        let is_folder = matches!(op, Op::SyncFolder { .. });
        let is_data_only = matches!(op, Op::Sync { data_only: true, .. });
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_database = path.parent().is_some_and(|folder| folder.ends_with("sled"));
        let is_written = |file: &str| !is_folder && name.strip_suffix(".unfinished") == Some(file);
        let depth = path.iter().count();
        match self {
            Self::Fdatasync => is_database && is_data_only,
            Self::NewDatabase => is_database && !is_folder && !is_data_only && is_first,
            Self::FoundDatabase => is_database && !is_folder && !is_data_only && !is_first,
            Self::HeaderSync => is_written("header"),
            Self::FooterSync => is_written("footer"),
            Self::CursorSync => is_written("cursor"),
            Self::IdentitySync => is_written("identity"),
            Self::FsyncOfFolders => is_folder,
            Self::OuterFolder => is_folder && depth == 0,
            Self::StoreFolder => is_folder && depth == 1,
            Self::LaneFolder => is_folder && depth == 2,
            Self::SegmentFolder => is_folder && depth == 3,
            Self::DatabaseFolder => is_folder && depth == 4,
            Self::EarlyReport => false,
        }
    }

    /// The story of a store that makes this mistake.
    pub(super) fn story(self, story: &Story, record: &[Op]) -> Story {
        if self != Self::EarlyReport {
            return story.clone();
        }
        story.with_promises_before(|position| {
            let before = record.get(..position).unwrap_or_default();
            before.iter().rposition(|op| matches!(op, Op::Sync { .. })).unwrap_or(position)
        })
    }
}
