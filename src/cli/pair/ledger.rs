//! What pairing leaves on this gateway: who did it, what was proved, and that it goes on at the moment.
//!
//! In: what is done to one bond. Out: lines in the audit log and in the record that the daemon reads, and a
//! lock for each adapter. All of it stands beside the store. What never happens: keys are made or removed
//! without a line before, or by two at the same time.

use std::io;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::cli::exit::{Exit, Failure};
use crate::cli::status::clean;
use crate::host::atomic_file;
use crate::host::audit::AuditLog;
use crate::host::clock::SystemClock;
use crate::host::lock::{self, Lock, NotHeld};
use crate::link::ble::Address;
use crate::link::ble::pairing::proof::{Bond, Proof, Proofs, Unproven};
use crate::time::{Clock, Wall};

/// The files of one gateway.
pub(in crate::cli) struct Ledger {
    log: AuditLog,
    proofs: Proofs,
}

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
        let (pid, user) = (std::process::id(), rustix::process::getuid().as_raw());
        lock::take(&path, &format!("process {pid} of user {user}, which {doing}")).map_err(
            |fault| match fault {
                NotHeld::Busy(who) => format!(
                    "somebody else is at it at this adapter: {}. Wait until that has ended, and repeat",
                    clean(&who)
                ),
                NotHeld::Io(error) => error.to_string(),
            },
        )
    }
}

fn now() -> Wall {
    SystemClock::default().now().wall
}
