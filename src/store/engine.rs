//! sled, and nothing of it anywhere else.
//!
//! In: keys and values of one segment. Out: the same, durable after [`Engine::flush`] and then
//! [`Engine::sync`]. What can go wrong: every error of sled comes back as an error of the system, and
//! so does a panic in it: the segment is then written no more. What never happens: a value gets a
//! file of its own (a blob), as sled never syncs these; sled opens a file that it did not make itself
//! in the same run, so that nothing on a disk can make it hang, crash or exhaust the program.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::chunk::{self, Key};
use crate::host::atomic_file;

/// What a segment is written to and read from.
pub(super) trait Engine: Send + Sync {
    /// Takes a value.
    fn put(&self, key: Key, value: &[u8]) -> io::Result<()>;

    /// Hands everything taken to the operating system.
    fn flush(&self) -> io::Result<()>;

    /// Waits until what was handed over is on the medium.
    fn sync(&self) -> io::Result<()>;

    /// Gives a value back.
    fn get(&self, key: Key) -> io::Result<Option<Vec<u8>>>;

    /// The bytes that it takes on disk.
    fn bytes(&self) -> u64;
}

/// Makes engines: sled's, or in tests one that fails when told to. There is no way to open one again:
/// what is closed is read by its chunks (`raw.rs`).
pub(super) trait Disk: Send + Sync {
    /// In a new folder, durable with its folder on return.
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>>;
}

/// sled's own segment and buffer size. Half its default: an open database holds one such buffer, and
/// those that it is done with are given back late. Smaller ones cost more, smaller chunks.
const SLED_SEGMENT: usize = 256 * 1024;
/// A leaf or two: blocks are written once and read once, so a cache would only hold memory.
const SLED_CACHE: u64 = 64 * 1024;

/// The file of a segment's folder that holds its blocks.
pub(super) fn database_file(folder: &Path) -> PathBuf {
    folder.join("sled").join("db")
}

/// Leaves of a closed segment's database only the file that holds the blocks: nothing else is read
/// again, and what is not there cannot be changed unnoticed. What cannot be removed stays.
pub(super) fn leave_only_blocks(folder: &Path) {
    for entry in std::fs::read_dir(folder.join("sled")).into_iter().flatten().flatten() {
        if entry.file_name() != "db" {
            let _ = std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir(entry.path()));
        }
    }
}

/// sled 0.34.7.
pub(super) struct Sled;

struct Database {
    /// `None` only while it is dropped.
    db: Option<sled::Db>,
    /// The first block that has no placeholder.
    placed: AtomicU32,
    /// A second descriptor of sled's file: `fdatasync` acts on the file, not on the descriptor.
    file: File,
}

impl Disk for Sled {
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>> {
        let home = folder.join("sled");
        let engine = start(&home)?;
        engine.flush()?;
        engine.file.sync_all()?;
        File::open(home.join("conf")).and_then(|conf| conf.sync_all())?;
        atomic_file::sync_folder(&home)?;
        atomic_file::sync_folder(folder)?;
        Ok(Box::new(engine))
    }
}

fn start(home: &Path) -> io::Result<Database> {
    let db = guarded(|| {
        sled::Config::new()
            .path(home)
            .mode(sled::Mode::LowSpace)
            .cache_capacity(SLED_CACHE)
            .segment_size(SLED_SEGMENT)
            // No thread of its own: this program says when to flush.
            .flush_every_ms(None)
            .open()
    })?;
    let file = File::open(home.join("db"))?;
    Ok(Database { db: Some(db), placed: AtomicU32::new(0), file })
}

impl Database {
    fn with<T>(&self, act: impl FnOnce(&sled::Db) -> sled::Result<T>) -> io::Result<T> {
        let db = self.db.as_ref().ok_or_else(|| io::Error::other("the database is closed"))?;
        guarded(|| act(db))
    }
}

/// Every so many blocks, so many and [`AHEAD`] more get placeholders.
const PLACED_AT_ONCE: u32 = 64;
/// The last leaf of a batch is not full; the next batch splits it while it holds placeholders only.
const AHEAD: u32 = 32;

impl Database {
    /// Puts empty values under the keys of blocks to come. sled splits a leaf at 17 keys and writes both
    /// halves whole: at the growing end it would write every value twice, and later clean up behind
    /// itself. A leaf that was split while its values were empty never grows again: each value is written
    /// once. What is empty is no chunk, so nobody who reads the file sees it.
    fn place_ahead(&self, block: u32) -> io::Result<()> {
        let placed = self.placed.load(Ordering::Relaxed);
        if block.saturating_add(AHEAD) < placed {
            return Ok(());
        }
        let end = block.saturating_add(PLACED_AT_ONCE + AHEAD);
        for ahead in placed.max(block)..end {
            self.with(|db| db.insert(chunk::key(ahead, 0), Vec::new()))?;
        }
        self.placed.store(end, Ordering::Relaxed);
        Ok(())
    }
}

impl Engine for Database {
    fn put(&self, key: Key, value: &[u8]) -> io::Result<()> {
        let [a, b, c, d, ..] = key;
        self.place_ahead(u32::from_be_bytes([a, b, c, d]))?;
        self.with(|db| db.insert(key, value)).map(drop)
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|db| db.flush()).map(drop)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn get(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        self.with(|db| db.get(key)).map(|value| value.map(|bytes| bytes.to_vec()))
    }

    fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.blocks().saturating_mul(512))
    }
}

/// sled syncs when it is dropped and panics when that fails.
impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
    }
}

/// Turns sled's errors, and its panics, into errors of the system; the kind tells a full disk.
fn guarded<T>(act: impl FnOnce() -> sled::Result<T>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(error),
        Ok(Err(error)) => Err(io::Error::other(error.to_string())),
        Err(_) => Err(io::Error::other("sled panicked")),
    }
}
