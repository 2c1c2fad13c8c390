//! The operator's folder: everything of one organisation's fleet that must not be lost.
//!
//! ```text
//!  fleet.toml               the register: which gateway is in which group
//!  keys/root-1.pem ...      private keys, each under its own passphrase; better kept elsewhere
//!  g/icu-3/draft.toml       what a person edits
//!  g/icu-3/bundle-7.json    signed, or on the way to it
//!  published/               what went out, in the layout of the topics
//!    root/1.json  g/icu-3/ts.json  g/icu-3/bundle/7.json
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::hold;
use super::walk;
use super::{at, refused};
use crate::cli::exit::{Exit, Failure};
use crate::fleet::documents::{Bundle, Document as _, Root, Timestamp, is_name};
use crate::fleet::dsse::Envelope;
use crate::host::atomic_file;
use crate::host::lock::Lock;

/// The register's name.
pub(super) const REGISTER: &str = "fleet.toml";
/// Where the keys are made.
pub(super) const KEYS: &str = "keys";
/// What went out.
pub(super) const PUBLISHED: &str = "published";

const MAX_TEXT: usize = 1 << 20;

/// The folder of one fleet.
pub(super) struct Fleet {
    path: PathBuf,
    register: Register,
    /// Nobody else writes while it is held.
    _hold: Option<Lock>,
}

/// What a person reads and may edit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    pub(super) organisation: String,
    #[serde(default)]
    pub(super) gateway: Vec<Gateway>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) id: String,
    pub(super) group: String,
}

impl Register {
    fn read(text: &str) -> Result<Self, String> {
        let register: Self = toml_edit::de::from_str(text).map_err(|error| error.to_string())?;
        let mut groups: BTreeMap<&str, &str> = BTreeMap::new();
        for Gateway { id, group } in &register.gateway {
            if !is_name(id) || !is_name(group) {
                return Err(format!(
                    "gateway {id:?} of group {group:?}: names are of a-z, 0-9 and -, at most 32"
                ));
            }
            if let Some(other) = groups.insert(id, group) {
                return Err(format!(
                    "gateway {id:?} is listed twice, in group {other:?} and in {group:?}: it is in one; remove the other"
                ));
            }
        }
        Ok(register)
    }

    /// The group of a gateway.
    pub(super) fn group_of(&self, id: &str) -> Option<&str> {
        self.gateway.iter().find(|gateway| gateway.id == id).map(|gateway| gateway.group.as_str())
    }

    /// The gateways of a group.
    pub(super) fn members(&self, group: &str) -> Vec<String> {
        let members = self.gateway.iter().filter(|gateway| gateway.group == group);
        members.map(|gateway| gateway.id.clone()).collect()
    }
}

impl Fleet {
    /// The folder that `init` made.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = path.join(REGISTER);
        let text = read_text(&file)?.ok_or_else(|| {
            refused(format!("{} is no fleet's folder: `wardline-fleet init` makes one", path.display()))
        })?;
        let register = Register::read(&text)
            .map_err(|why| Failure::new(Exit::Config, anyhow::anyhow!("{}: {why}", file.display())))?;
        Ok(Self { path: path.to_owned(), register, _hold: None })
    }

    /// The same, to be written to: two who count at once would give a number twice.
    pub(super) fn open_to_write(path: &Path, what: &str) -> Result<Self, Failure> {
        // First looked at: a folder that is none of a fleet gets no lock.
        Self::open(path)?;
        let hold = hold::take(path, what)?;
        // And read again: what was read before may have changed until it was held.
        Ok(Self { _hold: Some(hold), ..Self::open(path)? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn register(&self) -> &Register {
        &self.register
    }

    /// What went out.
    pub(super) fn published(&self) -> PathBuf {
        self.path.join(PUBLISHED)
    }

    /// Every root, each judged by the one before it.
    pub(super) fn roots(&self) -> Result<Vec<Root>, Failure> {
        let published = self.published();
        walk::chain(&walk::folder(&published), &self.register.organisation)
            .map_err(|why| refused(format!("{}: {why}", published.join("root").display())))
    }

    /// The newest root.
    pub(super) fn root(&self) -> Result<Root, Failure> {
        self.roots()?.pop().ok_or_else(|| refused("there is no root"))
    }

    /// Adds a gateway to the register.
    pub(super) fn register_gateway(&self, id: &str, group: &str) -> Result<(), Failure> {
        let file = self.path.join(REGISTER);
        let text = read_text(&file)?.unwrap_or_default();
        let text = format!("{}\n\n[[gateway]]\nid = \"{id}\"\ngroup = \"{group}\"\n", text.trim_end());
        Register::read(&text).map_err(refused)?;
        atomic_file::write(&file, text.as_bytes()).map_err(at)
    }

    /// The group's folder; the group must have a gateway.
    fn group(&self, group: &str) -> Result<PathBuf, Failure> {
        if self.register.members(group).is_empty() {
            return Err(refused(format!(
                "no gateway of {REGISTER} is in group {group:?}: `wardline-fleet gateway add ID --group {group}` adds one"
            )));
        }
        Ok(self.path.join("g").join(group))
    }

    pub(super) fn draft_file(&self, group: &str) -> Result<PathBuf, Failure> {
        Ok(self.group(group)?.join("draft.toml"))
    }

    pub(super) fn bundle_file(&self, group: &str, version: u64) -> Result<PathBuf, Failure> {
        Ok(self.group(group)?.join(format!("bundle-{version}.json")))
    }

    /// The highest version of a bundle that somebody has begun to sign.
    pub(super) fn newest(&self, group: &str) -> Result<Option<u64>, Failure> {
        let entries = match std::fs::read_dir(self.group(group)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut newest = None;
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let version = name.strip_prefix("bundle-").and_then(|rest| rest.strip_suffix(".json"));
            newest = newest.max(version.and_then(|version| version.parse().ok()));
        }
        Ok(newest)
    }

    /// The envelope of a bundle and what it says.
    pub(super) fn bundle(&self, group: &str, version: u64) -> Result<(Envelope, Bundle), Failure> {
        let file = self.bundle_file(group, version)?;
        let bytes = atomic_file::read(&file, Bundle::CAP).map_err(|error| {
            if error.kind() == ErrorKind::NotFound {
                return refused(format!(
                    "bundle {version} of {group} is not in this folder: {}",
                    file.display()
                ));
            }
            at(error)
        })?;
        let judge = || {
            let envelope = Envelope::parse(&bytes, Bundle::CAP).map_err(|fault| fault.to_string())?;
            let bundle = Bundle::read(envelope.payload())?;
            Ok((envelope, bundle))
        };
        judge().map_err(|why: String| refused(format!("{}: {why}", file.display())))
    }

    /// The last timestamp that went out for a group, under whichever root.
    pub(super) fn last(&self, group: &str) -> Result<Option<Timestamp>, Failure> {
        let published = self.published();
        last(&published, group, &self.roots()?)?.transpose().map_err(|why| {
            let file = published.join(walk::timestamp_file(group));
            refused(format!("{} {why}: bring it back from a copy of the folder", file.display()))
        })
    }

    /// The bundle that the last timestamp of a group names.
    pub(super) fn last_bundle(&self, group: &str) -> Result<Option<Bundle>, Failure> {
        let Some(last) = self.last(group)? else { return Ok(None) };
        Ok(Some(self.bundle(group, last.head.version)?.1))
    }
}

/// The timestamp of a group in a published folder, or why it is not believed: a number out of a file that anybody
/// may have written would use up the numbers.
pub(super) fn last(
    published: &Path,
    group: &str,
    roots: &[Root],
) -> Result<Option<Result<Timestamp, String>>, Failure> {
    let bytes = walk::folder(published)(&walk::timestamp_file(group), Timestamp::CAP).map_err(at)?;
    Ok(bytes.map(|bytes| walk::stamp(&bytes, roots, group)))
}

/// A text file; `None`: it is not there.
pub(super) fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    match atomic_file::read(path, MAX_TEXT) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| refused(format!("{} is not UTF-8 text", path.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_with_a_name_that_is_none_or_a_gateway_in_two_groups_is_refused() {
        let read = |list: &[(&str, &str)]| {
            let line =
                |(id, group): &(&str, &str)| format!("[[gateway]]\nid = \"{id}\"\ngroup = \"{group}\"\n");
            let list: String = list.iter().map(line).collect();
            Register::read(&format!("organisation = \"st-anna\"\n{list}"))
        };
        let good = read(&[("gw-1", "icu-3"), ("gw-2", "icu-4")]).unwrap();
        assert_eq!((good.group_of("gw-2"), good.group_of("gw-3")), (Some("icu-4"), None));
        assert_eq!(good.members("icu-3"), ["gw-1"]);
        for odd in [("GW 1", "icu-3"), ("gw-1", "icu/3")] {
            assert!(read(&[odd]).unwrap_err().contains("names are of a-z"), "{odd:?}");
        }
        for group in ["icu-3", "icu-4"] {
            let refused = read(&[("gw-1", "icu-3"), ("gw-1", group)]).unwrap_err();
            assert!(refused.contains("listed twice"), "{refused}");
        }
    }
}
