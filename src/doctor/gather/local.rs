//! What is on this machine and named by the configuration: certificate, disk, store, keys, names.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::{Daemon, Place, bits};
use crate::config::{Config, Connection};
use crate::doctor::{Looked, Unseen, certificate, disk, identity, keys, store};
use crate::envelope::keys::{Kek, KeyPlace, KeyRing, WardKey};
use crate::host::credential::{TPM, sealed_by};
use crate::host::status::Snapshot;
use crate::identity::folder::Folder;
use crate::store::inspect::{State, holder, survey};
use crate::uplink::tls::{Chain, check_pair};

/// Below this systemd keeps the credentials of its units, each while its unit runs.
pub(super) const CREDENTIALS: &str = "/run/credentials";

/// The command that has systemd give the unit's credentials to another one.
pub(super) fn in_the_unit(config: &Config) -> String {
    let keys = [Some(&config.keys.kek), config.keys.kek_previous.as_ref(), Some(&config.keys.ward)];
    let names = keys.into_iter().flatten().chain([&config.uplink.key]).filter_map(|key| match key {
        KeyPlace::Credential(path) => path.file_name()?.to_str(),
        KeyPlace::File(_) | KeyPlace::Token(_) => None,
    });
    let credentials: Vec<String> =
        names.map(|name| format!("-p LoadCredentialEncrypted={name}:wardline.{name}")).collect();
    format!("systemd-run --pty --wait -q {} wardline doctor", credentials.join(" "))
}

/// A credential that is not there now is there while the unit runs.
fn is_away(path: &Path) -> bool {
    path.starts_with(CREDENTIALS) && !path.exists()
}

/// Why a key is not looked at here, and what would look at it, where that is so.
fn not_here(key: &KeyPlace, within: &str) -> Option<Unseen> {
    match key {
        // Each wrong PIN brings a token nearer to its lock: only the daemon asks it.
        KeyPlace::Token(_) => Some(Unseen::with(
            "the private key is in a token, which only the daemon asks",
            "systemctl start wardline, then wardline status",
        )),
        KeyPlace::File(path) | KeyPlace::Credential(path) => is_away(path).then(|| {
            Unseen::with("the private key is a credential, which is there only while the unit runs", within)
        }),
    }
}

/// A handshake signs with the private key. Of one in a token the daemon's own connection is the answer.
pub(super) fn handshake_of_the_daemon(
    key: &KeyPlace,
    daemon: &Daemon,
    within: &str,
) -> Option<Result<Result<(), String>, Unseen>> {
    let KeyPlace::Token(_) = key else { return None };
    let is_connected = daemon.snapshot.as_ref().is_some_and(|snapshot| snapshot.uplink.state == "connected");
    if is_connected { Some(Ok(Ok(()))) } else { not_here(key, within).map(Err) }
}

pub(super) fn certificate(place: &Place, config: &Config, daemon: &Daemon) -> certificate::Facts {
    let uplink = &config.uplink;
    let path = &uplink.certificate;
    let read = Chain::read(path).map_err(|error| error.to_string());
    let key = match (not_here(&uplink.key, &in_the_unit(config)), &daemon.snapshot) {
        (None, _) => Ok(check_pair(path, &uplink.key).map_err(|error| error.to_string())),
        (Some(_), Some(snapshot)) if snapshot.uplink.state == "connected" => Ok(Ok(())),
        (Some(unseen), _) => Err(unseen),
    };
    let mode = std::fs::metadata(path).map(|found| found.mode() & 0o7777).unwrap_or_default();
    let (chain, broken_at) = read.as_ref().map_or((0, None), |chain| (chain.count, chain.broken_at));
    // A file that cannot be read as a certificate is told once.
    let key = if read.is_err() { Ok(Ok(())) } else { key };
    certificate::Facts {
        path: path.display().to_string(),
        leaf: read.map(|Chain { from, until, name, is_for_clients, may_sign, .. }| certificate::Leaf {
            from,
            until,
            name,
            is_for_clients,
            may_sign,
        }),
        chain,
        broken_at,
        key,
        open_to: (mode & 0o022 != 0).then_some(mode),
        gateway: uplink.gateway.clone(),
        is_renewed: Folder::named_by(path, &uplink.key).is_some(),
        now: place.now,
    }
}

/// The folder, or the nearest above it that is there.
fn nearest(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

pub(super) fn disk(place: &Place, config: &Config) -> Looked<disk::Facts> {
    let folder = nearest(&config.store.folder);
    let shown = folder.display();
    let stat = statvfs(&folder)
        .map_err(|error| Unseen::new(format!("{shown} cannot be asked for its disk: {error}")))?;
    let mounts = bits::text(&place.root, "proc/self/mountinfo").unwrap_or_default();
    let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
    let mount = disk::mount_of(&mounts, &real);
    let (kind, options) = mount.map_or((None, Vec::new()), |(kind, options)| (Some(kind), options));
    let used = if config.store.folder.is_dir() {
        let looked = survey(&config.store.folder, None, true).map(|survey| survey.bytes);
        looked.map_err(|error| Unseen::with(format!("how much the store has: {error}"), "as root"))
    } else {
        Ok(0)
    };
    Ok(disk::Facts {
        folder: shown.to_string(),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: (stat.f_files > 0).then_some(stat.f_favail),
        used,
        cap: config.store.cap,
        is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY)
            || options.iter().any(|option| option == "ro"),
        kind,
        options,
    })
}

pub(super) fn store(config: &Config, daemon: &Daemon) -> Looked<store::Facts> {
    let folder = &config.store.folder;
    let mut facts = store::Facts { folder: folder.display().to_string(), ..store::Facts::default() };
    facts.is_there = folder.is_dir();
    if !facts.is_there {
        return match folder.try_exists() {
            Err(error) => {
                Err(Unseen::with(format!("{} cannot be looked into: {error}", facts.folder), "as root"))
            }
            Ok(_) => Ok(facts),
        };
    }
    if let Some(snapshot) = &daemon.snapshot {
        let of = &snapshot.store;
        return Ok(store::Facts {
            is_asked: true,
            quarantined: of.quarantined_segments,
            faults: of.faults,
            dropped: of.dropped,
            last_error: of.last_error.clone(),
            waiting: Some(snapshot.lanes.iter().map(|lane| lane.records).sum()),
            ..facts
        });
    }
    let ring = ring(config);
    let seen = survey(folder, ring.as_ref().ok(), holder(folder).is_some())
        .map_err(|error| Unseen::with(error.to_string(), "as root, or as the daemon's user"))?;
    let segments = || seen.lanes.iter().flat_map(|lane| &lane.segments);
    facts.damaged =
        u64::try_from(segments().filter(|of| of.state == State::Damaged).count()).unwrap_or(u64::MAX);
    facts.quarantined = u64::try_from(seen.quarantine.len()).unwrap_or(u64::MAX);
    facts.waiting = seen.lanes.iter().try_fold(0_u64, |sum, lane| Some(sum + lane.waiting()?));
    facts.unchecked = ring.err().or_else(|| daemon.silent.clone().filter(|_| facts.waiting.is_none()));
    facts.remarks = seen.remarks;
    Ok(facts)
}

/// The keys of the store, as far as they can be had without a token's PIN.
fn ring(config: &Config) -> Result<KeyRing, String> {
    let keys = &config.keys;
    let all = || [Some(&keys.kek), keys.kek_previous.as_ref()].into_iter().flatten();
    if all().any(|key| key.token().is_some()) {
        return Err("its key is in a token, which is not asked here: each try counts".to_owned());
    }
    if all().any(|key| key.path().is_some_and(is_away)) {
        return Err("its key is a credential, which is there only while the unit runs".to_owned());
    }
    KeyRing::load(&keys.kek, keys.kek_previous.as_ref()).map_err(|error| error.to_string())
}

pub(super) fn keys(root: &Path, config: &Config, daemon: &Daemon) -> keys::Facts {
    let of = &config.keys;
    let mut rows = vec![("keys.kek", &of.kek, true)];
    rows.extend(of.kek_previous.as_ref().map(|place| ("keys.kek_previous", place, true)));
    rows.push(("keys.ward", &of.ward, false));
    // It would not run without them.
    let is_running = daemon.snapshot.is_some();
    let within = in_the_unit(config);
    let keys = rows
        .into_iter()
        .map(|(name, place, is_kek)| keys::Key {
            name,
            place: place.to_string(),
            protection: crate::envelope::keys::KeySource::protection(place),
            kept: kept(root, place),
            loaded: loaded(place, is_kek, is_running, &within),
        })
        .collect();
    keys::Facts { keys, has_tpm: root.join(TPM).symlink_metadata().is_ok() }
}

/// What keeps the file of a credential, where `wardline init` puts it. One that is there twice says nothing.
fn kept(root: &Path, place: &KeyPlace) -> Option<keys::Kept> {
    let KeyPlace::Credential(path) = place else { return None };
    let name = path.file_name()?.to_str()?;
    let sealed = bits::text(root, &format!("etc/credstore.encrypted/wardline.{name}"));
    let clear = root.join(format!("etc/credstore/wardline.{name}")).symlink_metadata().is_ok();
    match (sealed, clear) {
        (Some(text), false) => Some(keys::Kept::Sealed(sealed_by(text.as_bytes()))),
        (None, true) => Some(keys::Kept::InTheClear),
        (Some(_), true) | (None, false) => None,
    }
}

fn loaded(
    place: &KeyPlace,
    is_kek: bool,
    is_running: bool,
    within: &str,
) -> Result<Result<(), String>, Unseen> {
    let is_elsewhere = place.token().is_some() || place.path().is_some_and(is_away);
    if is_elsewhere && is_running {
        return Ok(Ok(()));
    }
    if place.token().is_some() {
        let why = "a token is not asked here: each call is one try of its PIN";
        return Err(Unseen::with(why, "wardline keys show"));
    }
    if is_elsewhere {
        let why = "a credential is there only while the unit runs";
        return Err(Unseen::with(why, within));
    }
    let loaded = if is_kek { Kek::load(place).map(drop) } else { WardKey::load(place).map(drop) };
    match loaded {
        Err(crate::envelope::keys::KeyError::Unreadable { reason, .. })
            if reason.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            Err(Unseen::with("this user may not read it", "as root, or as the daemon's user"))
        }
        other => Ok(other.map_err(|error| error.to_string())),
    }
}

pub(super) fn identity(root: &Path, config: &Config, daemon: &Daemon) -> identity::Facts {
    let host = bits::text(root, "proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let mut shared = Vec::new();
    for device in &config.devices {
        let place = match &device.connection {
            Connection::Ble { address, .. } => address.to_ascii_uppercase(),
            Connection::Serial { port, .. } => {
                port.canonicalize().unwrap_or_else(|_| port.clone()).display().to_string()
            }
            Connection::Part { .. } => continue,
        };
        let id = device.rule.card.id.clone();
        if let Some(other) = seen.insert(place, id.clone()) {
            shared.push((other, id));
        }
    }
    let snapshot = daemon.snapshot.as_ref();
    identity::Facts {
        gateway: config.uplink.gateway.clone(),
        host: host.filter(|host| !host.is_empty()),
        running: snapshot.map(|snapshot| snapshot.gateway.clone()),
        last_error: snapshot.and_then(|snapshot| snapshot.uplink.last_error.clone()),
        shared,
        strangers: quarantined(snapshot, false),
        held: quarantined(snapshot, true),
    }
}

/// Devices in quarantine: by an advisory, or because they are others than they should be.
fn quarantined(snapshot: Option<&Snapshot>, is_held: bool) -> Vec<String> {
    let devices = snapshot.iter().flat_map(|snapshot| &snapshot.devices);
    let of = devices.filter(|device| device.quarantine.is_some() && device.is_held == is_held);
    of.map(|device| device.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::keys::{Purpose, TokenKey};

    /// A wrong PIN costs a try at each handshake.
    #[test]
    fn a_key_in_a_token_is_never_asked_for_a_handshake() {
        let key = TokenKey::parse_for(Purpose::Client, "pkcs11:token=t;object=o?module-path=/m.so", |_| None);
        let key = KeyPlace::Token(key.unwrap());
        let daemon = |state: &str| {
            let mut snapshot = Snapshot::default();
            snapshot.uplink.state = state.to_owned();
            Daemon { snapshot: Some(snapshot), silent: None }
        };
        assert!(matches!(handshake_of_the_daemon(&key, &daemon("connected"), ""), Some(Ok(Ok(())))));
        for away in [daemon("waiting"), Daemon { snapshot: None, silent: None }] {
            let seen = handshake_of_the_daemon(&key, &away, "");
            assert!(matches!(seen, Some(Err(unseen)) if unseen.why.contains("only the daemon asks")));
        }
        // Nor is the store's: a daemon that runs has it.
        assert!(matches!(loaded(&key, true, true, ""), Ok(Ok(()))));
        assert!(
            matches!(loaded(&key, true, false, ""), Err(unseen) if unseen.why.contains("not asked here"))
        );
        let file = KeyPlace::File("/etc/wardline/own.key".into());
        assert!(handshake_of_the_daemon(&file, &daemon("connected"), "").is_none());
    }
}
