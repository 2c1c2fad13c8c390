//! What `wardline pair` proved, kept for the daemon.
//!
//! In: the record that `wardline pair` and `wardline unpair` write, one JSON object a line, and BlueZ's key
//! files where they may be read. Out: whether a bond is one that was proved and is still what its entry
//! demands; or why not.
//!
//! Why there is a record: BlueZ says over D-Bus that there are keys and that somebody called the device
//! trusted, which `bluetoothctl` and a desktop do as well; how the keys were made stands in a file that only
//! root may read, and the daemon is not root. So what was proved is written down when it is proved. A line is
//! never changed: the last one of a device counts, and before keys are removed or made one is written that
//! takes the proof back. Half a line tells of something that was not begun.
//!
//! What never happens: a record that cannot be read, or a key file that can be read and does not fit, counts
//! as good.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::STATE_FOLDER;
use super::keys::{self, KeysTrouble};
use super::rule::{BondClass, BondRule, Method, Unfit, judge};
use crate::host::atomic_file::open_regular;
use crate::link::ble::Address;
use crate::time::Wall;

/// The record's name, beside the store.
const NAME: &str = "bonds.jsonl";
/// A line has some 150 octets. A ward pairs a few devices a day.
const MOST_OCTETS: usize = 4 * 1024 * 1024;

/// The record, and where BlueZ keeps its keys. A clone is the same.
#[derive(Clone, Debug)]
pub struct Proofs {
    record: PathBuf,
    keys: PathBuf,
    /// It was said that the key files cannot be read.
    is_told: Arc<AtomicBool>,
}

/// One device at one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bond {
    /// The adapter's address.
    pub adapter: Address,
    /// The device's identity address.
    pub device: Address,
}

/// What was proved of a bond. Its key has the full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// How it was paired.
    pub method: Method,
    /// What the bond is worth.
    pub class: BondClass,
}

/// A line of the record; without method and class nothing is proved any more.
#[derive(Serialize, Deserialize)]
struct Line {
    at: String,
    adapter: String,
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
}

/// Why a bond is not trusted although BlueZ has keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// Nobody proved it.
    #[error("it was not made, or not to its end, by wardline pair")]
    Never,
    /// Nobody can say.
    #[error("what wardline pair proved cannot be read ({0}), which is never taken for good")]
    Unreadable(String),
    /// It was paired in another way than the allowlist names today.
    #[error("it was paired by {0}, its entry names another way by now", found.as_str())]
    Method {
        /// How.
        found: Method,
    },
    /// Other keys than those that were proved.
    #[error("its keys are of class {found}, those that wardline pair proved were of class {proved}")]
    Changed {
        /// What the key file says.
        found: BondClass,
        /// What the record says.
        proved: BondClass,
    },
    /// It is not what the allowlist demands.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// The way out where there are keys that must not be trusted.
pub(in crate::link::ble) const PAIR_ANEW: &str =
    "find out who made its keys, then pair it anew: wardline pair --replace";

impl Unproven {
    /// The same for whoever reads the daemon's log, with the way out. What only cannot be read may be as good as
    /// ever: pairing anew would throw it away.
    pub(in crate::link::ble) fn for_daemon(&self, proofs: &Proofs) -> String {
        match self {
            Self::Unreadable(_) => {
                let record = proofs.record.display();
                format!("{self}; see that {record} is a file that the daemon's user may read")
            }
            Self::Unfit(Unfit::Unknown(KeysTrouble::Unreadable { path, reason })) => format!(
                "what its bond is worth could not be read from {} ({reason}), which is never taken for good; see \
                 that the file is there and that the daemon's user may read it, or may not enter its adapter's folder",
                path.display()
            ),
            Self::Never | Self::Method { .. } | Self::Changed { .. } | Self::Unfit(_) => {
                format!("{self}; {PAIR_ANEW}")
            }
        }
    }
}

impl Proofs {
    /// The record of the gateway whose store is in a folder: it stands beside that.
    pub fn beside(store: &Path) -> Self {
        let (record, keys) = (store.with_file_name(NAME), PathBuf::from(STATE_FOLDER));
        Self { record, keys, is_told: Arc::default() }
    }

    /// The same, with BlueZ's keys in another folder.
    #[must_use]
    pub fn with_keys_in(self, keys: impl Into<PathBuf>) -> Self {
        Self { keys: keys.into(), ..self }
    }

    /// The record's file.
    pub fn path(&self) -> &Path {
        &self.record
    }

    /// Where BlueZ keeps its keys.
    pub fn keys(&self) -> &Path {
        &self.keys
    }

    /// What is to be written into the record: that a bond was proved, or, with `None`, that it is no more.
    pub fn line(at: Wall, bond: Bond, proof: Option<Proof>) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Line {
            at: at.to_string(),
            adapter: bond.adapter.to_string(),
            device: bond.device.to_string(),
            method: proof.map(|proof| proof.method.as_str().to_owned()),
            class: proof.map(|proof| proof.class.as_str().to_owned()),
        })
    }

    /// What was proved of a bond last.
    pub fn proved(&self, bond: Bond) -> Result<Proof, Unproven> {
        let text = match self.read() {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Unproven::Never),
            Err(error) => return Err(Unproven::Unreadable(error.to_string())),
        };
        let (adapter, device) = (bond.adapter.to_string(), bond.device.to_string());
        let lines = text.lines().rev().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let mut of_bond = lines.filter(|line| line.adapter == adapter && line.device == device);
        let last = of_bond.next().ok_or(Unproven::Never)?;
        let proof = || {
            let method = word(&Method::WORDS, &last.method?)?;
            Some(Proof { method, class: word(&BondClass::WORDS, &last.class?)? })
        };
        proof().ok_or(Unproven::Never)
    }

    /// Whether a bond was proved, and is what its rule demands: by its key file where that may be read, else
    /// by what was proved.
    pub fn judge(&self, rule: &BondRule, bond: Bond) -> Result<BondClass, Unproven> {
        let proof = self.proved(bond)?;
        if proof.method != rule.method {
            return Err(Unproven::Method { found: proof.method });
        }
        if proof.class > rule.minimum {
            return Err(Unfit::Weak { found: proof.class, minimum: rule.minimum }.into());
        }
        if let Err(trouble) = keys::check_readable(&self.keys, bond.adapter) {
            if !self.is_told.swap(true, Ordering::Relaxed) {
                tracing::info!(%trouble, "bonds are taken for what wardline pair proved");
            }
            return Ok(proof.class);
        }
        // Its question was asked when it was proved.
        let found = judge(rule, true, keys::read(&self.keys, bond.adapter, bond.device))?;
        if found != proof.class {
            return Err(Unproven::Changed { found, proved: proof.class });
        }
        Ok(found)
    }

    fn read(&self) -> std::io::Result<String> {
        let most = u64::try_from(MOST_OCTETS + 1).unwrap_or(u64::MAX);
        let mut octets = Vec::new();
        // In a folder of the daemon's user, read by root too: what stands there may be anything.
        open_regular(&self.record)?.take(most).read_to_end(&mut octets)?;
        if octets.len() > MOST_OCTETS {
            return Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is too long: move it away"));
        }
        // What is no text is no line of this record; the lines around it are what they were.
        Ok(String::from_utf8_lossy(&octets).into_owned())
    }
}

fn word<T: Copy>(words: &[(&'static str, T)], given: &str) -> Option<T> {
    words.iter().find(|(word, _)| *word == given).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    const RULE: BondRule = BondRule { method: Method::Passkey, minimum: BondClass::A, protected: None };
    const BEST: Proof = Proof { method: Method::Passkey, class: BondClass::A };

    fn bond(device: u8) -> Bond {
        let device = format!("F1:00:00:00:00:{device:02X}").parse().unwrap();
        Bond { adapter: "C0:DE:00:00:00:01".parse().unwrap(), device }
    }

    /// A gateway whose key files cannot be read.
    fn proofs() -> (tempfile::TempDir, Proofs) {
        let folder = tempfile::tempdir().unwrap();
        let proofs = Proofs::beside(&folder.path().join("store")).with_keys_in(folder.path().join("none"));
        (folder, proofs)
    }

    fn add(proofs: &Proofs, bytes: &[u8]) {
        let mut file = File::options().append(true).create(true).open(proofs.path()).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn prove(proofs: &Proofs, bond: Bond, proof: Option<Proof>) {
        let line = Proofs::line(Wall::default(), bond, proof).unwrap();
        add(proofs, &[&line[..], b"\n"].concat());
    }

    /// Puts a key file where BlueZ has it.
    fn file_keys(proofs: &Proofs, bond: Bond, kind: u8, size: u8) {
        let home = proofs.keys().join(bond.adapter.to_string()).join(bond.device.to_string());
        std::fs::create_dir_all(&home).unwrap();
        let text = format!("[LongTermKey]\nAuthenticated={kind}\nEncSize={size}\n");
        File::create(home.join("info")).unwrap().write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_last_word_on_a_bond_counts_and_what_nobody_proved_is_not() {
        let (_folder, proofs) = proofs();
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(Unproven::Never), "there is no record");
        prove(&proofs, bond(1), Some(BEST));
        prove(&proofs, bond(2), None);
        assert_eq!(proofs.judge(&RULE, bond(1)), Ok(BondClass::A));
        assert_eq!(proofs.judge(&RULE, bond(2)), Err(Unproven::Never));
        assert_eq!(proofs.judge(&RULE, bond(3)), Err(Unproven::Never), "another device");
        let elsewhere = Bond { adapter: "C0:DE:00:00:00:02".parse().unwrap(), ..bond(1) };
        assert_eq!(proofs.judge(&RULE, elsewhere), Err(Unproven::Never), "another adapter");
        prove(&proofs, bond(1), None);
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(Unproven::Never), "taken back");
        prove(&proofs, bond(1), Some(BEST));
        assert_eq!(proofs.judge(&RULE, bond(1)), Ok(BondClass::A));
    }

    #[test]
    fn half_a_line_and_words_that_nobody_knows_prove_nothing() {
        let (_folder, proofs) = proofs();
        let line = Proofs::line(Wall::default(), bond(1), Some(BEST)).unwrap();
        add(&proofs, &line[..line.len() - 4]);
        assert_eq!(proofs.proved(bond(1)), Err(Unproven::Never));
        add(&proofs, b"\n\xFF\xFE\n{}\n");
        prove(&proofs, bond(1), Some(BEST));
        assert_eq!(proofs.proved(bond(1)), Ok(BEST));
        for (known, unknown) in [("passkey", "oob"), ("\"A\"", "\"E\"")] {
            add(&proofs, String::from_utf8(line.clone()).unwrap().replace(known, unknown).as_bytes());
            add(&proofs, b"\n");
            assert_eq!(proofs.proved(bond(1)), Err(Unproven::Never), "{unknown}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_proves_nothing() {
        let (_folder, proofs) = proofs();
        prove(&proofs, bond(1), Some(BEST));
        add(&proofs, &vec![b'\n'; MOST_OCTETS]);
        assert!(matches!(proofs.judge(&RULE, bond(1)), Err(Unproven::Unreadable(_))));
        std::fs::remove_file(proofs.path()).unwrap();
        std::fs::create_dir(proofs.path()).unwrap();
        assert!(matches!(proofs.judge(&RULE, bond(1)), Err(Unproven::Unreadable(_))));
    }

    #[test]
    fn what_stands_in_the_records_place_is_neither_waited_for_nor_followed() {
        let (folder, proofs) = proofs();
        prove(&proofs, bond(1), Some(BEST));
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(proofs.path(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, proofs.path()).unwrap();
        assert!(matches!(proofs.judge(&RULE, bond(1)), Err(Unproven::Unreadable(_))), "a link");
        std::fs::remove_file(proofs.path()).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            proofs.path(),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        #[expect(clippy::disallowed_methods, reason = "a test's own, which would hang in the test's place")]
        std::thread::spawn(move || tell.send(proofs.judge(&RULE, bond(1))));
        let judged = told.recv_timeout(std::time::Duration::from_secs(10)).expect("a pipe is waited for");
        assert!(matches!(judged, Err(Unproven::Unreadable(_))), "{judged:?}");
    }

    #[test]
    fn what_cannot_be_read_is_to_be_made_readable_and_not_thrown_away() {
        let (_folder, proofs) = proofs();
        std::fs::create_dir(proofs.path()).unwrap();
        let told = proofs.judge(&RULE, bond(1)).unwrap_err().for_daemon(&proofs);
        assert!(
            told.contains(&proofs.path().display().to_string()) && told.contains("daemon's user"),
            "{told}"
        );
        assert!(!told.contains("--replace"), "{told}");
        std::fs::remove_dir(proofs.path()).unwrap();
        prove(&proofs, bond(1), Some(BEST));
        std::fs::create_dir_all(proofs.keys().join(bond(1).adapter.to_string())).unwrap();
        let told = proofs.judge(&RULE, bond(1)).unwrap_err().for_daemon(&proofs);
        assert!(told.contains("info") && told.contains("daemon's user"), "{told}");
        assert!(!told.contains("--replace") && !told.contains("as root"), "{told}");
        // Keys that can be read and are not good are another matter.
        file_keys(&proofs, bond(1), 3, 7);
        let told = proofs.judge(&RULE, bond(1)).unwrap_err().for_daemon(&proofs);
        assert!(told.contains("7 of 16") && told.contains("--replace"), "{told}");
    }

    #[test]
    fn without_rights_to_the_key_file_the_proof_is_held_against_the_rule_of_today() {
        let (_folder, proofs) = proofs();
        prove(&proofs, bond(1), Some(Proof { class: BondClass::C, ..BEST }));
        let weak = Unfit::Weak { found: BondClass::C, minimum: BondClass::A };
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(weak.into()), "the entry demands more by now");
        let low = BondRule { minimum: BondClass::C, ..RULE };
        assert_eq!(proofs.judge(&low, bond(1)), Ok(BondClass::C));
        let numeric = BondRule { method: Method::Numeric, ..low };
        assert_eq!(proofs.judge(&numeric, bond(1)), Err(Unproven::Method { found: Method::Passkey }));
    }

    #[test]
    fn a_key_file_that_can_be_read_has_the_last_word() {
        let (_folder, proofs) = proofs();
        prove(&proofs, bond(1), Some(BEST));
        // The adapter's folder is there, so that of the device should be.
        std::fs::create_dir_all(proofs.keys().join(bond(1).adapter.to_string())).unwrap();
        assert!(matches!(proofs.judge(&RULE, bond(1)), Err(Unproven::Unfit(Unfit::Unknown(_)))));
        file_keys(&proofs, bond(1), 3, 16);
        assert_eq!(proofs.judge(&RULE, bond(1)), Ok(BondClass::A));
        file_keys(&proofs, bond(1), 3, 15);
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(Unfit::Short(15).into()));
        file_keys(&proofs, bond(1), 4, 16);
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(Unfit::Debug.into()));
        file_keys(&proofs, bond(1), 1, 16);
        let weak = Unfit::Weak { found: BondClass::C, minimum: BondClass::A };
        assert_eq!(proofs.judge(&RULE, bond(1)), Err(weak.into()));
        // Good enough, and yet not the keys that were proved.
        let low = BondRule { minimum: BondClass::D, ..RULE };
        let changed = Unproven::Changed { found: BondClass::C, proved: BondClass::A };
        assert_eq!(proofs.judge(&low, bond(1)), Err(changed));
    }
}
