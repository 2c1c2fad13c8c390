//! The advisories that a bundle names: which are there, which are missing, and what they say of the devices.
//!
//! In: the digests of a bundle, documents as they come from anywhere, a folder. Out: which documents are still wanted,
//! and a judgement of every device by every document. A document is believed for its digest alone, which the bundle's
//! signers have signed: it may come by a broker, a stick or a folder. What can go wrong: a document is no CSAF 2.0;
//! then it is told, and not fetched again. What never happens: a document is parsed that nobody signed for, or that is
//! longer than [`MAX_DOCUMENT`].
//!
//! ```text
//!  advisory-{sha256}.json    in the fleet's folder, one a document
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::csaf::Advisory;
use super::inventory::Device;
use super::{Action, Finding, Policy, Verdict, judge};
use crate::fleet::documents::Digest;
use crate::host::atomic_file;
use crate::time::Wall;

/// The most documents of a bundle.
pub const MAX_DOCUMENTS: usize = 64;
/// The longest document, in bytes. With its topic it has to fit into a packet that a gateway takes: 256 KiB.
pub const MAX_DOCUMENT: usize = 240 * 1_024;

/// Why a document was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Longer than [`MAX_DOCUMENT`].
    #[error("the document has {0} bytes, at most {MAX_DOCUMENT} are read")]
    TooLong(usize),
    /// No bundle names its digest.
    #[error("no bundle names a document with the SHA-256 {0}")]
    Unnamed(Digest),
    /// It is named, and is no advisory that can be read.
    #[error("{0}")]
    Unreadable(String),
}

/// The documents of the bundle that runs.
#[derive(Clone, Debug, Default)]
pub struct Library {
    named: BTreeMap<Digest, Held>,
}

/// How far one document has come.
#[derive(Clone, Debug)]
enum Held {
    Missing,
    Unreadable(String),
    Read(Box<Advisory>),
}

/// A verdict that somebody should look at, and what is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The verdict with its evidence.
    pub finding: Finding,
    /// What is done.
    pub action: Action,
    /// Only the time, which is not known, says whether a person has taken the risk.
    pub is_unclear: bool,
}

/// A document of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// It has not come yet.
    Missing,
    /// It cannot be read, and why.
    Unreadable(&'a str),
    /// It is there.
    Read(&'a Advisory),
}

impl Library {
    /// From now on these documents are named, and no others. Those that were read stay read.
    pub fn name(&mut self, digests: &[Digest]) {
        let mut before = std::mem::take(&mut self.named);
        for digest in digests.iter().take(MAX_DOCUMENTS) {
            self.named.insert(*digest, before.remove(digest).unwrap_or(Held::Missing));
        }
    }

    /// Which documents are still to be fetched, in the order of their digests.
    pub fn wanted(&self) -> impl Iterator<Item = Digest> {
        let missing = self.named.iter().filter(|(_, held)| matches!(held, Held::Missing));
        missing.map(|(digest, _)| *digest)
    }

    /// Every document of the bundle.
    pub fn entries(&self) -> impl Iterator<Item = (Digest, Entry<'_>)> {
        self.named.iter().map(|(digest, held)| {
            let entry = match held {
                Held::Missing => Entry::Missing,
                Held::Unreadable(why) => Entry::Unreadable(why),
                Held::Read(advisory) => Entry::Read(advisory),
            };
            (*digest, entry)
        })
    }

    /// Takes a document. `true`: it is new and to be kept; `false`: it was there.
    pub fn handle_document(&mut self, bytes: &[u8]) -> Result<bool, NotTaken> {
        if bytes.len() > MAX_DOCUMENT {
            return Err(NotTaken::TooLong(bytes.len()));
        }
        let digest = Digest::of(bytes);
        let held = self.named.get_mut(&digest).ok_or(NotTaken::Unnamed(digest))?;
        match held {
            Held::Read(_) => Ok(false),
            Held::Unreadable(why) => Err(NotTaken::Unreadable(why.clone())),
            Held::Missing => match Advisory::read(bytes) {
                Ok(advisory) => {
                    *held = Held::Read(Box::new(advisory));
                    Ok(true)
                }
                Err(refused) => {
                    let why = refused.to_string();
                    *held = Held::Unreadable(why.clone());
                    Err(NotTaken::Unreadable(why))
                }
            },
        }
    }

    /// Takes a document and keeps it in the folder. Durable on return.
    pub fn keep(&mut self, folder: &Path, bytes: &[u8]) -> io::Result<Result<bool, NotTaken>> {
        let taken = self.handle_document(bytes);
        if taken == Ok(true) {
            atomic_file::write(&folder.join(file(Digest::of(bytes))), bytes)?;
        }
        Ok(taken)
    }

    /// Reads what the folder keeps of what is named, and removes what is not named any more. Gives what is wrong
    /// with the folder, in words; a document that is wrong is missing, and so is fetched again.
    pub fn load(&mut self, folder: &Path) -> Vec<String> {
        let mut wrong = Vec::new();
        let missing: Vec<Digest> = self.wanted().collect();
        for digest in missing {
            match atomic_file::read(&folder.join(file(digest)), MAX_DOCUMENT) {
                Ok(bytes) if Digest::of(&bytes) == digest => {
                    // Why it cannot be read is kept with it.
                    let _ = self.handle_document(&bytes);
                }
                Ok(_) => wrong.push(format!("{}: it was changed on the disk", file(digest))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => wrong.push(error.to_string()),
            }
        }
        wrong.extend(self.sweep(folder).err().map(|error| error.to_string()));
        wrong
    }

    fn sweep(&self, folder: &Path) -> io::Result<()> {
        let named: Vec<String> = self.named.keys().map(|digest| file(*digest)).collect();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(HEAD) && !named.contains(&name) {
                atomic_file::remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Judges every device by every document that is there. What is clear is left out; the worst comes first. `now`:
    /// none while the gateway does not know it.
    pub fn judge(&self, devices: &[Device], policy: &Policy, now: Option<Wall>) -> Vec<Judged> {
        let mut all = Vec::new();
        for (_, entry) in self.entries() {
            let Entry::Read(advisory) = entry else { continue };
            for device in devices {
                let finding = judge(device, advisory);
                if finding.verdict != Verdict::Clear {
                    let action = policy.decide(&finding, device, now);
                    let is_unclear = policy.is_unclear(&finding, device, now);
                    all.push(Judged { finding, action, is_unclear });
                }
            }
        }
        all.sort_by_key(|one| {
            let Finding { verdict, cvss, device, advisory, .. } = &one.finding;
            (std::cmp::Reverse((*verdict, *cvss)), device.clone(), advisory.clone())
        });
        all
    }
}

const HEAD: &str = "advisory-";

fn file(digest: Digest) -> String {
    format!("{HEAD}{digest}.json")
}

#[cfg(test)]
#[path = "library/tests.rs"]
mod tests;
