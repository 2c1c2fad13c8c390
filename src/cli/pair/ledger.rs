//! What pairing leaves on this gateway: who did it, what was proved, and that it goes on at the moment.
//!
//! In: what is done to one bond. Out: lines in the audit log and in the record that the daemon reads, and a
//! lock for each adapter. All of it stands beside the store. What never happens: keys are made or removed
//! without a line before, or by two at the same time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use rustix::fs::OFlags;
use serde_json::{Map, Value};

use crate::cli::exit::{Exit, Failure};
use crate::cli::status::clean;
use crate::host::atomic_file;
use crate::host::audit::AuditLog;
use crate::host::clock::SystemClock;
use crate::link::ble::Address;
use crate::link::ble::pairing::proof::{Bond, Proof, Proofs, Unproven};
use crate::time::{Clock, Wall};

/// Who holds a lock says it in fewer octets.
const MOST_WORDS: u64 = 256;

/// The files of one gateway.
pub(in crate::cli) struct Ledger {
    log: AuditLog,
    proofs: Proofs,
}

/// Nobody else pairs at the adapter while this lives.
pub(in crate::cli) struct Lock(#[expect(dead_code, reason = "it is held, not looked at")] File);

impl Ledger {
    /// Of the gateway whose store is in a folder.
    pub(in crate::cli) fn beside(store: &Path) -> Self {
        Self { log: AuditLog::beside(store), proofs: Proofs::beside(store) }
    }

    /// The same, where BlueZ keeps its keys in another folder.
    pub(super) fn with_keys_in(self, keys: &Path) -> Self {
        Self { proofs: self.proofs.with_keys_in(keys), ..self }
    }

    pub(super) const fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// Writes into the audit log what this process does.
    pub(in crate::cli) fn note(&self, action: &str, about: &Map<String, Value>) -> Result<(), Failure> {
        let noted = self.log.append(now(), action, about);
        let noted =
            noted.with_context(|| format!("the audit log {} cannot be written", self.log.path().display()));
        noted.map_err(|error| Failure::new(Exit::Failed, error))
    }

    /// Writes down what was proved.
    pub(super) fn prove(&self, bond: Bond, proof: Proof) -> io::Result<()> {
        self.add(bond, Some(proof))
    }

    /// Takes back what was proved, if anything was. To be done before keys are made or removed.
    pub(in crate::cli) fn forget(&self, bond: Bond) -> io::Result<()> {
        match self.proofs.proved(bond) {
            Err(Unproven::Never) => Ok(()),
            Ok(_) | Err(_) => self.add(bond, None),
        }
    }

    fn add(&self, bond: Bond, proof: Option<Proof>) -> io::Result<()> {
        atomic_file::append(self.proofs.path(), |_| {
            Proofs::line(now(), bond, proof).map_err(io::Error::other)
        })
    }

    /// Keeps everybody else from pairing at an adapter; the error says who does.
    pub(in crate::cli) fn lock(&self, adapter: Address, doing: &str) -> Result<Lock, String> {
        let name = format!("pairing-{}.lock", adapter.to_string().replace(':', ""));
        let path = self.proofs.path().with_file_name(name);
        let failed = |error: &dyn std::fmt::Display| format!("{} cannot be locked: {error}", path.display());
        let mut file = open(&path).map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut who = Vec::new();
                let _ = file.take(MOST_WORDS).read_to_end(&mut who);
                let who = clean(&String::from_utf8_lossy(&who));
                return Err(format!(
                    "somebody else is at it at this adapter: {who}. Wait until that has ended, and repeat"
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
        let (pid, user) = (std::process::id(), rustix::process::getuid().as_raw());
        let words = format!("process {pid} of user {user}, which {doing}");
        let told = file.set_len(0).and_then(|()| file.write_all(words.as_bytes()));
        told.map_err(|error| failed(&error))?;
        Ok(Lock(file))
    }
}

/// The folder belongs to the daemon's user: what stands there in place of the file must not be written to.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if found.is_file() && found.nlink() == 1 {
        return Ok(file);
    }
    let what = "it is not a regular file with this name alone: move it away";
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

fn now() -> Wall {
    SystemClock::default().now().wall
}
