//! The limit: a file that is only ever appended to, with `fdatasync` after each commit.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::content::{Content, Records};
use super::{Keeper, Watch};

/// The file in its folder.
fn file(folder: &Path) -> PathBuf {
    folder.join("records")
}

/// The file, and what it takes next.
pub(super) struct AppendOnly {
    file: File,
    records: Records,
    next: Vec<u8>,
}

impl AppendOnly {
    pub(super) fn create(folder: &Path, content: Content) -> anyhow::Result<Self> {
        Ok(Self { file: File::create_new(file(folder))?, records: Records::of(content), next: Vec::new() })
    }

    /// Opens it again: the first record can be read, one more is appended.
    pub(super) fn reopen(folder: &Path, content: Content, watch: &mut Watch) -> anyhow::Result<()> {
        let one = lines(&Records::of(content).take(1))?;
        watch.begin();
        let mut file = File::options().read(true).append(true).open(file(folder))?;
        read(&mut file)?.context("the file is empty")?;
        file.write_all(&one)?;
        file.sync_data()?;
        watch.opened();
        file.seek(SeekFrom::Start(0))?;
        let mut file = std::io::BufReader::with_capacity(64 * 1024, file);
        while read(&mut file)?.is_some() {
            watch.read(1);
        }
        Ok(())
    }
}

impl Keeper for AppendOnly {
    fn prepare(&mut self, count: usize) -> anyhow::Result<()> {
        self.next = lines(&self.records.take(count))?;
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.file.write_all(&self.next)?;
        Ok(self.file.sync_data()?)
    }
}

/// Each record behind its length.
fn lines(records: &[Vec<u8>]) -> anyhow::Result<Vec<u8>> {
    let mut all = Vec::new();
    for record in records {
        all.extend(u32::try_from(record.len())?.to_le_bytes());
        all.extend(record);
    }
    Ok(all)
}

fn read(from: &mut impl std::io::Read) -> anyhow::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut record = vec![0; usize::try_from(u32::from_le_bytes(length))?];
    from.read_exact(&mut record)?;
    Ok(Some(record))
}
