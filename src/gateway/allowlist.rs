//! What the allowlist was: who was taken in, let go or changed stands in the audit log, whether a running daemon took
//! another configuration or was started with one.
//!
//! In: the devices of a configuration. Out: lines of the audit log (`device-listed`, `device-removed`,
//! `device-changed`, with the ids), and beside the store a small file with what the log has: by the id of each
//! device with a link of its own the SHA-256 of what its entry and those of its places say. The lines are durable
//! before the file is. So a power cut in between tells of a change twice, and none is left out.
//!
//! What can go wrong: the audit log cannot be written; then the file stays as it was, and the next start tells of it.
//! The file cannot be read: then all devices are told of as listed. What never happens: the daemon does not run for
//! it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::change::{Group, Plan, groups};
use crate::config::{Config, Connection, Device};
use crate::envelope::block::hex;
use crate::host::atomic_file;
use crate::host::audit::AuditLog;
use crate::store::allowlist_beside;
use crate::time::Wall;

/// The shape of the file.
const SHAPE: u32 = 1;
/// No such file is longer.
const MAX_FILE: usize = 1024 * 1024;
/// How many devices are named in one line.
const NAMED: usize = 20;

/// Where it is written down.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    audit: AuditLog,
    file: PathBuf,
}

/// What the file says.
#[derive(Serialize, Deserialize)]
struct Written {
    shape: u32,
    devices: Entries,
}

/// What the entry of each device comes to.
type Entries = BTreeMap<String, String>;

impl Ledger {
    /// Of the gateway whose store is in this folder.
    pub(super) fn beside(store: &Path) -> Self {
        Self { audit: AuditLog::beside(store), file: allowlist_beside(store) }
    }

    /// Notes in what the allowlist at a start differs from the one before. Whose store it is is locked.
    pub(super) fn begin(&self, config: &Config, at: Wall) {
        let (before, after) = (self.read(), entries(config));
        if before.as_ref() == Some(&after) {
            return;
        }
        let before = before.unwrap_or_default();
        let differs = |id: &String| before.get(id).is_some_and(|known| after.get(id) != Some(known));
        let plan = Plan {
            begun: after.keys().filter(|id| !before.contains_key(*id)).cloned().collect(),
            ended: before.keys().filter(|id| !after.contains_key(*id)).cloned().collect(),
            changed: after.keys().filter(|id| differs(id)).cloned().collect(),
            ..Plan::default()
        };
        self.write(&plan, after, at);
    }

    /// Notes which devices begin, end or change with a configuration that a running daemon takes.
    pub(super) fn note(&self, plan: &Plan, config: &Config, at: Wall) {
        self.write(plan, entries(config), at);
    }

    fn write(&self, plan: &Plan, devices: Entries, at: Wall) {
        if let Err(error) = self.append(plan, at) {
            tracing::error!(%error, "the audit log cannot be written: the change is in the log only, until a start tells of it");
            return;
        }
        let bytes = serde_json::to_vec(&Written { shape: SHAPE, devices }).unwrap_or_default();
        if let Err(error) = atomic_file::write(&self.file, &bytes) {
            tracing::warn!(%error, "what the allowlist is cannot be kept: the next start tells of this change again");
        }
    }

    fn append(&self, plan: &Plan, at: Wall) -> io::Result<()> {
        let kinds = [
            ("device-listed", &plan.begun),
            ("device-removed", &plan.ended),
            ("device-changed", &plan.changed),
        ];
        let mut failed = Ok(());
        for (action, ids) in kinds {
            for ids in ids.chunks(NAMED) {
                let devices = ids.join(" ");
                tracing::info!(action, devices, "another configuration");
                let about = Map::from_iter([("devices".to_owned(), Value::from(devices))]);
                // Also when it failed once: the log has the rest.
                if failed.is_ok() {
                    failed = self.audit.append(at, action, &about);
                }
            }
        }
        failed
    }

    /// `None`: nothing that can be read.
    fn read(&self) -> Option<Entries> {
        let read = atomic_file::read(&self.file, MAX_FILE).and_then(|bytes| {
            let written: Written = serde_json::from_slice(&bytes)?;
            if written.shape == SHAPE { Ok(written.devices) } else { Err(io::Error::other("another shape")) }
        });
        match read {
            Ok(devices) => Some(devices),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "what the allowlist was cannot be read: every device is told of as listed");
                None
            }
        }
    }
}

fn entries(config: &Config) -> Entries {
    groups(config).iter().map(|group| (group.id().to_owned(), hash(group))).collect()
}

/// Over all that decides who is let in and what may leave of it; not over its place in the list.
fn hash(group: &Group<'_>) -> String {
    let mut parts = group.parts.clone();
    parts.sort_by(|one, other| one.rule.card.id.cmp(&other.rule.card.id));
    let mut text = said(group.host);
    for part in parts {
        text += &said(part);
    }
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

/// An entry as one text; every word in it is quoted, so no two entries have the same.
fn said(device: &Device) -> String {
    let Device { rule, asset, location, connection, end_of_support: _ } = device;
    let mut elements: Vec<u32> = rule.elements.iter().map(|metric| metric.code).collect();
    elements.sort_unstable();
    let card = &rule.card;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{:?} {:?} {:?} {asset:?} {location:?} {:?} {:?} {elements:?} {:?}\n{}\n",
        card.id,
        card.model,
        card.security,
        rule.expects,
        rule.trust,
        rule.quiet,
        way(connection)
    );
    text
}

fn way(connection: &Connection) -> String {
    match connection {
        Connection::Serial { port, line, model, settings } => {
            format!("serial {:?} {line:?} {:?} {settings:?}", port.to_string_lossy(), model.name)
        }
        Connection::Part { model, part } => format!("part {:?} {part:?}", model.name),
        Connection::Ble { address, adapter, profiles, bond, settings } => {
            let profiles: Vec<&str> = profiles.iter().map(|profile| profile.name).collect();
            format!("ble {address:?} {adapter:?} {profiles:?} {bond:?} {settings:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::{config, device};
    use super::*;

    fn found(log: &AuditLog) -> Vec<[String; 2]> {
        let mut found = Vec::new();
        let read = log.read(&mut |entry| {
            assert_eq!(entry.trouble, None);
            let says = entry.says.unwrap();
            let word = |said: &Value| said.as_str().unwrap().to_owned();
            found.push([word(&says["action"]), word(&says["about"]["devices"])]);
            Ok(())
        });
        read.map_or_else(|error| assert_eq!(error.kind(), io::ErrorKind::NotFound), drop);
        found
    }

    fn lines(all: &[(&str, &str)]) -> Vec<[String; 2]> {
        all.iter().map(|(action, ids)| [(*action).to_owned(), (*ids).to_owned()]).collect()
    }

    /// A store's folder, the ledger beside it and its audit log.
    fn ledger() -> (tempfile::TempDir, Ledger) {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::beside(&folder.path().join("store"));
        (folder, ledger)
    }

    #[test]
    fn a_start_tells_of_what_changed_since_the_last_one_and_of_nothing_else() {
        let (_folder, ledger) = ledger();
        let first = config(vec![device("pump", "1", None), device("belt", "2", None)]);
        ledger.begin(&first, Wall::default());
        let mut told = lines(&[("device-listed", "belt pump")]);
        assert_eq!(found(&ledger.audit), told);
        // Another order is the same allowlist.
        ledger.begin(&config(vec![device("belt", "2", None), device("pump", "1", None)]), Wall::default());
        assert_eq!(found(&ledger.audit), told);
        // A place behind the pump goes under the pump's name.
        let parts =
            vec![device("pump", "1", None), device("slot", "3", Some((0, 1))), device("rack", "4", None)];
        ledger.begin(&config(parts), Wall::default());
        told.extend(lines(&[
            ("device-listed", "rack"),
            ("device-removed", "belt"),
            ("device-changed", "pump"),
        ]));
        assert_eq!(found(&ledger.audit), told);
    }

    #[test]
    fn everything_of_an_entry_that_decides_counts() {
        type Mend = fn(&mut Device);
        let mends: [Mend; 7] = [
            |device| device.asset = "other".to_owned(),
            |device| device.rule.card.security = "open",
            |device| device.rule.trust = crate::policy::Trust::ReportedIdentity,
            |device| device.rule.expects.serial = Some("8002".to_owned()),
            |device| device.rule.quiet = Some(std::time::Duration::from_secs(9)),
            |device| device.location = Some("room".to_owned()),
            |device| {
                if let Connection::Serial { port, .. } = &mut device.connection {
                    *port = "/dev/other".into();
                }
            },
        ];
        for (number, mend) in mends.into_iter().enumerate() {
            let (_folder, ledger) = ledger();
            let mut other = device("pump", "1", None);
            ledger.begin(&config(vec![other.clone()]), Wall::default());
            mend(&mut other);
            ledger.begin(&config(vec![other]), Wall::default());
            let told = lines(&[("device-listed", "pump"), ("device-changed", "pump")]);
            assert_eq!(found(&ledger.audit), told, "{number}");
        }
    }

    #[test]
    fn what_a_running_daemon_took_is_not_told_of_again_at_the_next_start() {
        let (_folder, ledger) = ledger();
        let (first, second) = (config(Vec::new()), config(vec![device("pump", "1", None)]));
        ledger.begin(&first, Wall::default());
        assert_eq!(found(&ledger.audit), lines(&[]));
        ledger.note(&Plan::between(&first, &second), &second, Wall::default());
        ledger.begin(&second, Wall::default());
        assert_eq!(found(&ledger.audit), lines(&[("device-listed", "pump")]));
    }

    #[test]
    fn what_could_not_be_told_is_told_by_the_next_start() {
        let (folder, ledger) = ledger();
        std::os::unix::fs::symlink("/nonexistent/log", ledger.audit.path()).unwrap();
        let listed = config(vec![device("pump", "1", None)]);
        ledger.begin(&listed, Wall::default());
        std::fs::remove_file(ledger.audit.path()).unwrap();
        ledger.begin(&listed, Wall::default());
        assert_eq!(found(&ledger.audit), lines(&[("device-listed", "pump")]));
        // What is no such file any more vouches for nothing.
        atomic_file::write(&allowlist_beside(&folder.path().join("store")), b"{\"shape\": 9}").unwrap();
        ledger.begin(&listed, Wall::default());
        assert_eq!(found(&ledger.audit).len(), 2);
    }

    #[test]
    fn every_device_that_begins_ends_or_changes_is_in_the_audit_log() {
        let (_folder, ledger) = ledger();
        let ids = |name: &str, count: usize| (0..count).map(|n| format!("{name}-{n}")).collect::<Vec<_>>();
        let new = ids("new", NAMED + 1);
        let plan =
            Plan { begun: new.clone(), ended: ids("gone", 1), changed: ids("other", 2), ..Plan::default() };
        ledger.note(&plan, &config(Vec::new()), Wall::default());
        assert_eq!(
            found(&ledger.audit),
            lines(&[
                ("device-listed", &new[..NAMED].join(" ")),
                ("device-listed", &new[NAMED..].join(" ")),
                ("device-removed", "gone-0"),
                ("device-changed", "other-0 other-1"),
            ])
        );
    }
}
