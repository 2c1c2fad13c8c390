//! What drivers want to know again after a restart: one small file for each device, beside the store.
//!
//! In: a memo. Out: the same after a restart. A file: `WLnB`, version 3, the store's id (16), a hash of the entry of
//! the allowlist under which it was written (8, 0: of none any more), the memo's length (2), the memo, and a check
//! (FNV-1a, 64 bits) of all that with the device's name behind it; numbers are little-endian. Version 2 had no entry,
//! version 1 neither that nor more than 1 octet for the length; both are still read, as of the present entry. It is
//! written whole or not at all ([`atomic_file`]).
//!
//! An entry is who the device is to the outside and what may leave of it. What was told of an alarm under one says
//! nothing under another ([`Notebook::is_of_entry`]), nor when the gate told its end as the entry was taken away or
//! changed ([`Shelf::disown`]).
//!
//! Whoever took a notebook last writes to it, and nobody else: a session that was cut off may still be about to.
//!
//! What can go wrong: it is missing, torn, of another device or of another store. Then nothing is remembered.
//! A memo says what is in this store, so with another store it says nothing: whoever sets up the gateway anew
//! gets everything again that the devices still keep. What never happens: a memo is an error that stops a
//! device, or is written before what it says is durable. Nothing secret stands in it, and nobody is kept from
//! changing it by its check, which is against damage only.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::memo::{Doing, Memo, Notebook};
use crate::host::atomic_file;
use crate::host::supervisor::blocking;
use crate::policy::DeviceRule;
use crate::store::StoreId;

const MAGIC: [u8; 4] = *b"WLnB";
const VERSION: u8 = 3;
/// As it was written before it named an entry.
const VERSION_OF_NO_ENTRY: u8 = 2;
/// As it was written before, with one octet for the length.
const VERSION_OF_SHORT: u8 = 1;
/// No file is longer.
const MAX_FILE: usize = 4 + 1 + 16 + 8 + 2 + Memo::MOST + 8;

/// Where the notebooks of all devices are.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
    store: StoreId,
    /// By a device's name.
    takings: Arc<Mutex<BTreeMap<String, Taking>>>,
}

/// How often a notebook was taken. Locked while it is written.
type Taking = Arc<Mutex<u64>>;

impl Shelf {
    /// In this folder, which is made when something is written; of what is in this store.
    pub fn new(folder: PathBuf, store: StoreId) -> Self {
        Self { folder, store, takings: Arc::default() }
    }

    /// That of one device. Who took it before can write to it no more.
    pub fn of(&self, device: &str) -> NoteFile {
        let path = self.folder.join(format!("{device}.memo"));
        let taking = {
            let mut takings = self.takings.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(takings.entry(device.to_owned()).or_default())
        };
        let taken = {
            let mut count = taking.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            *count
        };
        let (device, store) = (device.to_owned(), self.store);
        NoteFile { path, device, store, entry: None, is_of_entry: true, taking, taken }
    }

    /// What was told of a device's alarms was told to be over: of what is remembered of it, that is of no entry from
    /// here on. No session of it may run.
    pub async fn disown(&self, device: &str) {
        let file = NoteFile { entry: Some(NOBODY), ..self.of(device) };
        let done = blocking(move || match file.load() {
            Some((memo, _)) => file.save(&memo),
            None => Ok(()),
        });
        if let Some(Err(error)) = done.await {
            tracing::warn!(device, %error, "an alarm of it that is on may not be told again under its new entry");
        }
    }
}

/// The file of one device.
#[derive(Clone, Debug)]
pub struct NoteFile {
    path: PathBuf,
    device: String,
    store: StoreId,
    /// The present one; `None`: any.
    entry: Option<u64>,
    is_of_entry: bool,
    taking: Taking,
    /// Which taking this is.
    taken: u64,
}

/// The entry of what was disowned.
const NOBODY: u64 = 0;

impl NoteFile {
    /// The same, for a device that is listed so.
    #[must_use]
    pub fn under(self, rule: &DeviceRule) -> Self {
        let mut elements: Vec<u32> = rule.elements.iter().map(|metric| metric.code).collect();
        elements.sort_unstable();
        let elements = elements.into_iter().flat_map(u32::to_le_bytes);
        let hash = fnv(rule.card.pseudonym.bytes().chain([0]).chain(elements));
        Self { entry: Some(hash.max(NOBODY + 1)), ..self }
    }

    /// The memo and its entry, where it names one.
    fn load(&self) -> Option<(Memo, Option<u64>)> {
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

    fn parse(&self, bytes: &[u8]) -> Option<(Memo, Option<u64>)> {
        let (body, check) = bytes.split_last_chunk::<8>()?;
        if u64::from_le_bytes(*check) != self.check(body) {
            return None;
        }
        let (version, rest) = body.strip_prefix(&MAGIC)?.split_first()?;
        let rest = rest.strip_prefix(&self.store.0)?;
        let (entry, rest) = match *version {
            VERSION => {
                rest.split_first_chunk().map(|(entry, rest)| (Some(u64::from_le_bytes(*entry)), rest))?
            }
            _ => (None, rest),
        };
        let (length, memo) = match *version {
            VERSION | VERSION_OF_NO_ENTRY => {
                rest.split_first_chunk().map(|(length, memo)| (u16::from_le_bytes(*length), memo))?
            }
            VERSION_OF_SHORT => rest.split_first().map(|(length, memo)| (u16::from(*length), memo))?,
            _ => return None,
        };
        let memo = if usize::from(length) == memo.len() { Memo::new(memo)? } else { return None };
        Some((memo, entry))
    }

    fn bytes(&self, memo: &Memo) -> Vec<u8> {
        let mut out = [&MAGIC[..], &[VERSION], &self.store.0].concat();
        out.extend(self.entry.unwrap_or(NOBODY).to_le_bytes());
        let memo = memo.bytes();
        out.extend(u16::try_from(memo.len()).unwrap_or_default().to_le_bytes());
        out.extend(memo);
        let check = self.check(&out);
        out.extend(check.to_le_bytes());
        out
    }

    fn check(&self, body: &[u8]) -> u64 {
        fnv(body.iter().copied().chain(self.device.bytes()))
    }

    fn save(&self, memo: &Memo) -> io::Result<()> {
        let taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        if *taking != self.taken {
            return Err(io::Error::other("it is another session's now"));
        }
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

/// FNV-1a.
fn fnv(octets: impl Iterator<Item = u8>) -> u64 {
    octets.fold(0xCBF2_9CE4_8422_2325, |hash, octet| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01B3))
}

/// On threads that may wait for the disk.
impl Notebook for NoteFile {
    fn read(&mut self) -> Doing<'_, Option<Memo>> {
        let file = self.clone();
        Box::pin(async move {
            let (memo, entry) = blocking(move || file.load()).await.flatten()?;
            self.is_of_entry = self.entry.is_none() || entry.is_none_or(|entry| self.entry == Some(entry));
            Some(memo)
        })
    }

    fn is_of_entry(&self) -> bool {
        self.is_of_entry
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

    fn rule(pseudonym: &str, elements: &[&'static crate::device::nomenclature::Metric]) -> DeviceRule {
        let mut device = crate::gateway::change::tests::device("meter-1", "1", None);
        device.rule.card.pseudonym = pseudonym.to_owned();
        device.rule.elements = elements.to_vec();
        device.rule
    }

    #[tokio::test]
    async fn a_memo_is_of_the_entry_under_which_it_was_written_until_it_is_disowned() {
        use crate::device::nomenclature::{EVT_OCCL, SPO2};
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), 1);
        let memo = Memo::new(&[1, 2, 3]);
        let listed = rule("aa", &[&SPO2, &EVT_OCCL]);
        shelf.of("meter-1").under(&listed).write(memo.clone().unwrap()).await;
        let is_of = async |rule: &DeviceRule| {
            let mut file = shelf.of("meter-1").under(rule);
            assert_eq!(file.read().await, memo, "the rest of it is remembered in any case");
            file.is_of_entry()
        };
        assert!(is_of(&listed).await);
        assert!(is_of(&rule("aa", &[&EVT_OCCL, &SPO2])).await, "the order is of no account");
        assert!(!is_of(&rule("bb", &[&SPO2, &EVT_OCCL])).await);
        assert!(!is_of(&rule("aa", &[&SPO2])).await);
        shelf.disown("meter-1").await;
        assert!(!is_of(&listed).await);
        shelf.of("meter-1").under(&listed).write(memo.clone().unwrap()).await;
        assert!(is_of(&listed).await);
        shelf.disown("meter-2").await;
        assert!(!folder.path().join("spool.records/meter-2.memo").exists(), "there is nothing to disown");
    }

    #[tokio::test]
    async fn a_session_that_was_cut_off_writes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = shelf(folder.path(), 1);
        let mut cut = shelf.of("meter-1");
        let mut next = shelf.of("meter-1");
        next.write(Memo::new(&[2]).unwrap()).await;
        cut.write(Memo::new(&[1]).unwrap()).await;
        assert_eq!(next.read().await, Memo::new(&[2]));
        let mut other = shelf.of("meter-2");
        other.write(Memo::new(&[3]).unwrap()).await;
        next.write(Memo::new(&[4]).unwrap()).await;
        assert_eq!((next.read().await, other.read().await), (Memo::new(&[4]), Memo::new(&[3])));
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
