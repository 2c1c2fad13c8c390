//! sled as one would use it without thinking: one key for each record, `flush`, and the `fdatasync`
//! that `flush` does not do. The only file of the lab that names it.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;

use super::content::{Content, Records};
use super::{Keeper, Watch};

/// The database, and what it takes next.
pub(super) struct Tree {
    db: sled::Db,
    /// `fdatasync` acts on the file, not on the descriptor.
    file: File,
    records: Records,
    next: Vec<Vec<u8>>,
    key: u64,
}

impl Tree {
    pub(super) fn create(folder: &Path, content: Content) -> anyhow::Result<Self> {
        let (db, file) = open(folder)?;
        Ok(Self { db, file, records: Records::of(content), next: Vec::new(), key: 0 })
    }

    /// Opens it again: the first record can be read, one more is stored.
    pub(super) fn reopen(folder: &Path, content: Content, watch: &mut Watch) -> anyhow::Result<()> {
        let one = Records::of(content).take(1).concat();
        watch.begin();
        let (db, file) = open(folder)?;
        db.first()?.context("the database is empty")?;
        db.insert(u64::MAX.to_be_bytes(), one)?;
        db.flush()?;
        file.sync_data()?;
        watch.opened();
        for pair in db.iter() {
            let _ = pair?;
            watch.read(1);
        }
        Ok(())
    }
}

fn open(folder: &Path) -> anyhow::Result<(sled::Db, File)> {
    let db = sled::open(folder.join("sled"))?;
    let file = File::open(folder.join("sled").join("db"))?;
    Ok((db, file))
}

impl Keeper for Tree {
    fn prepare(&mut self, count: usize) -> anyhow::Result<()> {
        self.next = self.records.take(count);
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        for record in &self.next {
            self.db.insert(self.key.to_be_bytes(), record.as_slice())?;
            self.key += 1;
        }
        self.db.flush()?;
        Ok(self.file.sync_data()?)
    }
}
