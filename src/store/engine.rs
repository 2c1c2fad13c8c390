//! sled, and nothing of it anywhere else.
//!
//! In: keys and values of one segment. Out: the same, durable after [`Engine::flush`] and then
//! [`Engine::sync`]. What can go wrong: every error of sled comes back as an error of the system, and
//! so does a panic in it: the segment is then written no more. What never happens: a value gets a
//! file of its own (a blob), as sled never syncs these; sled opens a file that it did not make itself
//! in the same run, so that nothing on a disk can make it hang, crash or exhaust the program.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

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

    /// Gets place ready for the commits to come. To be called between them, now and then; what fails
    /// costs speed only.
    fn prepare(&self);

    /// Ends it: all is on the medium, what was got ready and not used is given back, and nothing changes
    /// the file afterwards. Nothing is put or given back from then on.
    fn finish(&self) -> io::Result<()>;
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
    /// `None` when it is finished. Also reading makes sled write (it splits leaves and tidies up its
    /// cache), so whoever needs the file to stand still holds this for himself alone.
    db: RwLock<Option<sled::Db>>,
    /// The first block that has no placeholder.
    placed: AtomicU32,
    /// Up to where the file is filled with zeros ahead of sled; 0 while it is not.
    filled: AtomicU64,
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
    let file = match File::options().read(true).write(true).open(home.join("db")) {
        Ok(file) => file,
        Err(error) => {
            let_go(db);
            return Err(error);
        }
    };
    Ok(Database { db: RwLock::new(Some(db)), placed: AtomicU32::new(0), filled: AtomicU64::new(0), file })
}

impl Database {
    fn with<T>(&self, act: impl FnOnce(&sled::Db) -> sled::Result<T>) -> io::Result<T> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(|| io::Error::other("the database is closed"))?;
        guarded(|| act(db))
    }
}

/// A segment with no more blocks than these needs no placeholders: they fit one leaf.
const IN_ONE_LEAF: u32 = 8;
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
        if block < IN_ONE_LEAF || block.saturating_add(AHEAD) < placed {
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

/// In the place of an offset: nothing is filled ahead any more.
const FILLS_NO_MORE: u64 = u64::MAX;
/// One of sled's own segments, in bytes of the file.
const STRIDE: u64 = SLED_SEGMENT as u64;
/// As much is written at once as the page cache holds in one piece, so that a later write of a few bytes
/// dirties no more than that.
const PIECE: usize = 4 * 1024;

impl Database {
    /// Fills the sled segment after the one that is being written with zeros. A write into blocks that
    /// the file already has changes nothing but them; one that makes the file grow has its file system
    /// write a journal of what grew, at each `fdatasync`: four fifths of all that a quiet ward wrote.
    ///
    /// Where sled stands within a segment only sled knows; that it has not begun one is known for
    /// certain, as it begins with a header that is not zero, and it does not begin one while nobody else
    /// can ask it for anything.
    fn fill_ahead(&self) -> io::Result<()> {
        if self.filled.load(Ordering::Relaxed) == FILLS_NO_MORE {
            return Ok(());
        }
        let alone = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = alone.as_ref() else { return Ok(()) };
        guarded(|| db.flush())?;
        let length = self.file.metadata()?.len();
        let mut start = match self.filled.load(Ordering::Relaxed) {
            // A lane that hardly says anything does not need it.
            0 if length < STRIDE / 2 => return Ok(()),
            0 => length.next_multiple_of(STRIDE),
            filled if self.is_begun(filled - STRIDE)? => filled.max(length.next_multiple_of(STRIDE)),
            _ => return Ok(()),
        };
        while self.is_begun(start)? {
            start += STRIDE;
        }
        let filled = self.write_zeros(start).and_then(|()| self.file.sync_all());
        if filled.is_err() {
            // A disk that is full or failing is not tried again and again.
            self.filled.store(FILLS_NO_MORE, Ordering::Relaxed);
            self.file.set_len(start)?;
            return filled;
        }
        self.filled.store(start + STRIDE, Ordering::Relaxed);
        Ok(())
    }

    fn write_zeros(&self, start: u64) -> io::Result<()> {
        let zeros = [0; PIECE];
        let mut at = start;
        while at < start + STRIDE {
            self.file.write_all_at(&zeros, at)?;
            at += PIECE as u64;
        }
        Ok(())
    }

    /// Gives back what was got ready and not used.
    fn trim(&self) -> io::Result<()> {
        if self.filled.swap(0, Ordering::Relaxed) == 0 {
            return Ok(());
        }
        let mut end = self.file.metadata()?.len();
        let mut piece = [0; PIECE];
        while end > 0 {
            let start = end.saturating_sub(PIECE as u64);
            let count = self.file.read_at(&mut piece, start)?;
            if piece.iter().take(count).any(|byte| *byte != 0) {
                break;
            }
            end = start;
        }
        // What was written last may itself end with a few zeros: a piece more is kept.
        let kept = end.saturating_add(PIECE as u64).min(self.file.metadata()?.len());
        self.file.set_len(kept)
    }

    /// Whether sled has written anything at the beginning of one of its segments.
    fn is_begun(&self, start: u64) -> io::Result<bool> {
        let mut front = [0; 32];
        let count = self.file.read_at(&mut front, start)?;
        Ok(front.iter().take(count).any(|byte| *byte != 0))
    }
}

impl Engine for Database {
    fn prepare(&self) {
        let _ = self.fill_ahead();
    }

    fn finish(&self) -> io::Result<()> {
        let mut alone = self.db.write().unwrap_or_else(PoisonError::into_inner);
        let db = alone.take().ok_or_else(|| io::Error::other("the database is closed"))?;
        let flushed = guarded(|| db.flush());
        let_go(db);
        flushed?;
        self.trim()?;
        self.file.sync_all()
    }

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

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.db.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(db) = db {
            let_go(db);
        }
    }
}

/// sled syncs when it is dropped and panics when that fails.
fn let_go(db: sled::Db) {
    let _ = catch_unwind(AssertUnwindSafe(move || drop(db)));
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
