//! What BlueZ's key file says of a bond: how its key was agreed on, and how long it is.
//!
//! In: `<folder>/<adapter>/<device>/info`, which belongs to root. Out: two numbers; never a key.
//!
//! The file is made of groups and of lines of `key=value`. Each long term key has a group: `LongTermKey`, `PeripheralLongTermKey`
//! (`SlaveLongTermKey` before BlueZ 5.63, and beside it since), with `Authenticated` and `EncSize` (BlueZ,
//! `doc/settings-storage.txt`). Secure Connections makes one key for both directions and BlueZ files it under
//! the peripheral's name only; legacy pairing makes two. So all groups are read, and the weakest counts.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::rule::{BondClass, FULL_KEY};
use crate::link::ble::Address;

/// The groups of long term keys.
const GROUPS: [&str; 3] = ["LongTermKey", "PeripheralLongTermKey", "SlaveLongTermKey"];

/// Real files have one or two kilobytes, most of it the list of services.
const MOST_OCTETS: usize = 64 * 1024;

/// What the file says of a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// How the key was agreed on.
    pub strength: Strength,
    /// Its length in octets.
    pub size: u8,
}

/// How a key was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// In one of the ways that mean something.
    Of(BondClass),
    /// With the debug key pair of the specification.
    Debug,
}

/// Why nothing can be said of a bond.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysTrouble {
    /// The file is not there, or may not be read.
    #[error("{path} cannot be read ({reason}): only root may, so run this as root")]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The file has no long term key.
    #[error("its key file holds no long term key: it is not bonded")]
    NoKey,
    /// The file says something that it cannot say.
    #[error("its key file is not as BlueZ writes it: {0}")]
    Broken(&'static str),
}

/// Whether the key files of an adapter can be read. To be asked before anything is paired.
pub fn check_readable(folder: &Path, adapter: Address) -> Result<(), KeysTrouble> {
    let path = folder.join(adapter.to_string());
    match std::fs::read_dir(&path) {
        Ok(_) => Ok(()),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Reads what the file of a device says.
pub fn read(folder: &Path, adapter: Address, device: Address) -> Result<Keys, KeysTrouble> {
    let path = folder.join(adapter.to_string()).join(device.to_string()).join("info");
    // With room for all of it from the start: what grows leaves copies behind.
    let mut octets = zeroize::Zeroizing::new(Vec::with_capacity(MOST_OCTETS + 1));
    let most = u64::try_from(MOST_OCTETS + 1).unwrap_or(u64::MAX);
    let done = File::open(&path).and_then(|file| file.take(most).read_to_end(&mut octets));
    done.map_err(|error| unreadable(path, &error))?;
    if octets.len() > MOST_OCTETS {
        // What was cut off could hold the weaker key.
        return Err(KeysTrouble::Broken("it is too long"));
    }
    parse(std::str::from_utf8(&octets).map_err(|_| KeysTrouble::Broken("it is not text"))?)
}

fn unreadable(path: PathBuf, error: &std::io::Error) -> KeysTrouble {
    KeysTrouble::Unreadable { path, reason: error.kind().to_string() }
}

/// The weakest of the long term keys of a file.
pub fn parse(text: &str) -> Result<Keys, KeysTrouble> {
    let mut weakest: Option<Keys> = None;
    let mut group: Option<Group> = None;
    for line in text.lines().map(str::trim).chain(["[]"]) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if let Some(ended) = group.take() {
                let keys = ended.conclude()?;
                weakest = Some(weakest.map_or(keys, |before| before.weaker(keys)));
            }
            group = GROUPS.contains(&name).then(Group::default);
        } else if let (Some(group), Some((key, value))) = (&mut group, line.split_once('=')) {
            group.take(key.trim(), value.trim())?;
        }
    }
    weakest.ok_or(KeysTrouble::NoKey)
}

impl Keys {
    /// The worse of both in each respect.
    fn weaker(self, other: Self) -> Self {
        Self { strength: self.strength.max(other.strength), size: self.size.min(other.size) }
    }
}

/// One group while it is read.
#[derive(Default)]
struct Group {
    authenticated: Option<u8>,
    size: Option<u8>,
}

impl Group {
    fn take(&mut self, key: &str, value: &str) -> Result<(), KeysTrouble> {
        let slot = match key {
            "Authenticated" => &mut self.authenticated,
            "EncSize" => &mut self.size,
            _ => return Ok(()),
        };
        let number = value.parse().map_err(|_| KeysTrouble::Broken("a number of its key is none"))?;
        if slot.replace(number).is_some() {
            return Err(KeysTrouble::Broken("its key says something twice"));
        }
        Ok(())
    }

    fn conclude(self) -> Result<Keys, KeysTrouble> {
        // The key types of the kernel: BlueZ, `doc/mgmt-api.txt`, New Long Term Key Event.
        let strength = match self.authenticated {
            Some(0) => Strength::Of(BondClass::D),
            Some(1) => Strength::Of(BondClass::C),
            Some(2) => Strength::Of(BondClass::B),
            Some(3) => Strength::Of(BondClass::A),
            Some(4) => Strength::Debug,
            Some(_) => return Err(KeysTrouble::Broken("its key is of a type that nobody knows")),
            None => return Err(KeysTrouble::Broken("its key does not say how it was agreed on")),
        };
        let size = self.size.ok_or(KeysTrouble::Broken("its key does not say how long it is"))?;
        if size > FULL_KEY {
            return Err(KeysTrouble::Broken("its key is longer than a key can be"));
        }
        Ok(Keys { strength, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, authenticated: &str, size: &str) -> String {
        let zeros = "0".repeat(32);
        format!("[{name}]\nKey={zeros}\nAuthenticated={authenticated}\nEncSize={size}\nEDiv=0\nRand=0\n\n")
    }

    const fn of(class: BondClass, size: u8) -> Keys {
        Keys { strength: Strength::Of(class), size }
    }

    #[test]
    fn a_bond_of_secure_connections_stands_under_the_peripherals_name() {
        let head = "[General]\nName=Meter\nTrusted=true\nServices=0000180a-0000-1000-8000-00805f9b34fb;\n\n";
        let keys = group("PeripheralLongTermKey", "3", "16") + &group("SlaveLongTermKey", "3", "16");
        assert_eq!(
            parse(&format!("{head}{keys}[ConnectionParameters]\nMinInterval=6\n")),
            Ok(of(BondClass::A, 16))
        );
        assert_eq!(parse(&group("PeripheralLongTermKey", "2", "16")), Ok(of(BondClass::B, 16)));
    }

    #[test]
    fn a_legacy_bond_has_two_keys_and_the_weakest_counts() {
        let keys = group("LongTermKey", "1", "16") + &group("PeripheralLongTermKey", "1", "16");
        assert_eq!(parse(&keys), Ok(of(BondClass::C, 16)));
        let keys = group("LongTermKey", "1", "16") + &group("SlaveLongTermKey", "0", "7");
        assert_eq!(parse(&keys), Ok(of(BondClass::D, 7)));
        let keys = group("SlaveLongTermKey", "0", "7") + &group("LongTermKey", "3", "16");
        assert_eq!(parse(&keys), Ok(of(BondClass::D, 7)));
    }

    #[test]
    fn debug_keys_are_known_and_worse_than_any_class() {
        let debug = Ok(Keys { strength: Strength::Debug, size: 16 });
        assert_eq!(parse(&group("LongTermKey", "4", "16")), debug);
        let keys = group("LongTermKey", "4", "16") + &group("PeripheralLongTermKey", "0", "16");
        assert_eq!(parse(&keys), debug);
    }

    #[test]
    fn what_bluez_does_not_write_is_broken_and_no_key_is_none() {
        for text in [
            group("LongTermKey", "5", "16"),
            group("LongTermKey", "-1", "16"),
            group("LongTermKey", "", "16"),
            group("LongTermKey", "3", "256"),
            group("LongTermKey", "3", "17"),
            group("LongTermKey", "3", "16\nEncSize=16"),
            "[LongTermKey]\nEncSize=16\n".to_owned(),
            "[LongTermKey]\nAuthenticated=3".to_owned(),
            "[LongTermKey]".to_owned(),
            // A good one beside it does not make it better.
            group("LongTermKey", "3", "16") + "[SlaveLongTermKey]\n",
        ] {
            assert!(matches!(parse(&text), Err(KeysTrouble::Broken(_))), "{text}");
        }
        for text in ["", "[General]\nAuthenticated=3\nEncSize=16\n", "[LinkKey]\nKey=00\nType=4\n"] {
            assert_eq!(parse(text), Err(KeysTrouble::NoKey), "{text}");
        }
    }

    #[test]
    fn the_file_is_where_bluez_puts_it_and_an_absent_one_is_not_good() {
        let folder = tempfile::tempdir().unwrap();
        let (adapter, device) = ("C0:DE:00:00:00:01".parse().unwrap(), "F1:00:00:00:00:01".parse().unwrap());
        assert!(matches!(check_readable(folder.path(), adapter), Err(KeysTrouble::Unreadable { .. })));
        let home = folder.path().join("C0:DE:00:00:00:01/F1:00:00:00:00:01");
        std::fs::create_dir_all(&home).unwrap();
        assert_eq!(check_readable(folder.path(), adapter), Ok(()));
        assert!(matches!(read(folder.path(), adapter, device), Err(KeysTrouble::Unreadable { .. })));
        put(&home.join("info"), group("LongTermKey", "3", "16").as_bytes());
        assert_eq!(read(folder.path(), adapter, device), Ok(of(BondClass::A, 16)));
        put(&home.join("info"), b"[LongTermKey]\nAuthenticated=\xFF\n");
        assert_eq!(read(folder.path(), adapter, device), Err(KeysTrouble::Broken("it is not text")));
        // The weaker key stands behind what is read at the most.
        let filler = format!("[General]\nName={}\n", "n".repeat(64 * 1024));
        let text = group("LongTermKey", "3", "16") + &filler + &group("SlaveLongTermKey", "0", "7");
        put(&home.join("info"), text.as_bytes());
        assert_eq!(read(folder.path(), adapter, device), Err(KeysTrouble::Broken("it is too long")));
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own file, read back at once")]
    fn put(path: &Path, text: &[u8]) {
        std::fs::write(path, text).unwrap();
    }
}
