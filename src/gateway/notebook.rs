//! What drivers want to know again after a restart: one small file for each device, beside the store.
//!
//! In: a memo. Out: the same after a restart. A file: `WLnB`, version 2, the store's id (16), the memo's
//! length (2, little-endian; 1 in version 1, which is still read), the memo, and a check (FNV-1a, 64 bits, little-endian) of all that with the device's name
//! behind it. It is written whole or not at all ([`atomic_file`]).
//!
//! What can go wrong: it is missing, torn, of another device or of another store. Then nothing is remembered.
//! A memo says what is in this store, so with another store it says nothing: whoever sets up the gateway anew
//! gets everything again that the devices still keep. What never happens: a memo is an error that stops a
//! device, or is written before what it says is durable. Nothing secret stands in it, and nobody is kept from
//! changing it by its check, which is against damage only.

use std::io;
use std::path::{Path, PathBuf};

use crate::device::memo::{Doing, Memo, Notebook};
use crate::host::atomic_file;
use crate::host::supervisor::blocking;
use crate::store::StoreId;

const MAGIC: [u8; 4] = *b"WLnB";
const VERSION: u8 = 2;
/// As it was written before, with one octet for the length.
const VERSION_OF_SHORT: u8 = 1;
/// No file is longer.
const MAX_FILE: usize = 4 + 1 + 16 + 2 + Memo::MOST + 8;

/// Where the notebooks of all devices are.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    store: StoreId,
}

impl Shelf {
    /// In this folder, which is made when something is written; of what is in this store.
    pub const fn new(folder: PathBuf, store: StoreId) -> Self {
        Self { folder, store }
    }

    /// That of one device.
    pub fn of(&self, device: &str) -> NoteFile {
        let path = self.folder.join(format!("{device}.memo"));
        NoteFile { path, device: device.to_owned(), store: self.store }
    }
}

/// The file of one device.
#[derive(Clone, Debug)]
pub struct NoteFile {
    path: PathBuf,
    device: String,
    store: StoreId,
}

impl NoteFile {
    fn load(&self) -> Option<Memo> {
        let bytes = match atomic_file::read(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(device = self.device, %error, "what is remembered of it cannot be read");
                }
                return None;
            }
        };
        let memo = self.parse(&bytes);
        if memo.is_none() {
            let path = self.path.display();
            tracing::warn!(device = self.device, %path, "torn, or of another store: nothing is remembered of it");
        }
        memo
    }

    fn parse(&self, bytes: &[u8]) -> Option<Memo> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*check) != self.check(body) {
            return None;
        }
        let (version, rest) = body.strip_prefix(&MAGIC)?.split_first()?;
        let rest = rest.strip_prefix(&self.store.0)?;
        let (length, memo) = match *version {
            VERSION => rest.split_first_chunk().map(|(length, memo)| (u16::from_le_bytes(*length), memo))?,
            VERSION_OF_SHORT => rest.split_first().map(|(length, memo)| (u16::from(*length), memo))?,
            _ => return None,
        };
        (usize::from(length) == memo.len()).then(|| Memo::new(memo))?
    }

    fn bytes(&self, memo: &Memo) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[VERSION], &self.store.0].concat();
        let memo = memo.bytes();
        out.extend(u16::try_from(memo.len()).unwrap_or_default().to_le_bytes());
        out.extend(memo);
        let check = self.check(&out);
        out.extend(check.to_le_bytes());
        out
    }

    fn check(&self, body: &[u8]) -> u64 {
        body.iter().chain(self.device.as_bytes()).fold(0xCBF2_9CE4_8422_2325, |hash: u64, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3)
        })
    }

    fn save(&self, memo: &Memo) -> io::Result<()> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.is_dir()) {
            atomic_file::create_folder(folder)?;
        }
        atomic_file::write(&self.path, &self.bytes(memo))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// On threads that may wait for the disk; a session waits for them, so two writes never meet.
impl Notebook for NoteFile {
    fn read(&mut self) -> Doing<'_, Option<Memo>> {
        let file = self.clone();
        Box::pin(async move { blocking(move || file.load()).await.flatten() })
    }

    fn write(&mut self, memo: Memo) -> Doing<'_, ()> {
        let file = self.clone();
        Box::pin(async move {
            let device = file.device.clone();
            let done = blocking(move || file.save(&memo)).await;
            if let Some(Err(error)) = done {
                tracing::warn!(device, %error, "what is to be remembered of it was not kept");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(folder: &Path, store: u8) -> Shelf {
        Shelf::new(folder.join("spool.records"), StoreId([store; 16]))
    }

    #[tokio::test]
    async fn a_memo_is_there_again_and_the_last_one_counts() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = shelf(folder.path(), 1).of("meter-1");
        assert_eq!(file.read().await, None);
        for memo in [&[1u8, 2, 3][..], &[], &[9; Memo::MOST]] {
            let memo = Memo::new(memo).unwrap();
            file.write(memo.clone()).await;
            assert_eq!(shelf(folder.path(), 1).of("meter-1").read().await, Some(memo));
        }
    }

    #[tokio::test]
    async fn a_file_of_version_1_is_still_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = shelf(folder.path(), 1).of("meter-1");
        file.write(Memo::new(&[]).unwrap()).await;
        let mut old = [&MAGIC[..], &[1], &[1; 16], &[3, 7, 8, 9]].concat();
        let check = file.check(&old);
        old.extend(check.to_le_bytes());
        atomic_file::write(file.path(), &old).unwrap();
        assert_eq!(file.read().await, Memo::new(&[7, 8, 9]));
    }

    #[tokio::test]
    async fn of_another_store_or_device_nothing_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = shelf(folder.path(), 1).of("meter-1");
        file.write(Memo::new(&[1, 2, 3]).unwrap()).await;
        assert_eq!(shelf(folder.path(), 2).of("meter-1").read().await, None);
        let mut other = shelf(folder.path(), 1).of("meter-2");
        std::fs::copy(file.path(), other.path()).unwrap();
        assert_eq!(other.read().await, None);
    }

    #[tokio::test]
    async fn a_torn_or_changed_file_is_nothing_and_never_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = shelf(folder.path(), 1).of("meter-1");
        file.write(Memo::new(&[7; 20]).unwrap()).await;
        let whole = std::fs::read(file.path()).unwrap();
        for length in 0..whole.len() {
            atomic_file::write(file.path(), &whole[..length]).unwrap();
            assert_eq!(file.read().await, None, "{length} octets");
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            atomic_file::write(file.path(), &changed).unwrap();
            assert_eq!(file.read().await, None, "octet {place}");
        }
        std::fs::remove_file(file.path()).unwrap();
        std::fs::create_dir(file.path()).unwrap();
        assert_eq!(file.read().await, None, "a folder in its place");
        file.write(Memo::new(&[1]).unwrap()).await;
    }
}
