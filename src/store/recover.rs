//! Opening a store: whose it is, what is in it, what is missing.
//!
//! In: the folder in any state, the KEK. Out: a [`Writer`] and a [`Reader`] that go on where the last
//! start ended. What can go wrong for good: no identity or another key ([`StoreError::is_refusal`]).
//! Everything else is repaired or set aside, and told of. What never happens: sled runs while the
//! store is opened; time grows with anything but the number of segments and the size of those that
//! were not closed.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::anchor::Anchor;
use super::cursor_pace::Pace;
use super::engine::Disk;
use super::folders::{folder_bytes, lane_folder};
use super::room::Room;
use super::rotation;
use super::shared::{LaneState, Loss, Shared, lock};
use super::state_file::{Identity, StateKeys};
use super::stock::Stock;
use super::writer::LaneWriter;
use super::{Config, LEAST_ROOM, Limits, Random, Reader, Recovery, StoreError, StoreId, Writer};
use crate::device::observation::Lane;
use crate::envelope::keys::KeyRing;
use crate::host::atomic_file;
use crate::time::{BootId, Now};

/// What a store is opened with.
pub(super) struct Setup<'a> {
    pub(super) config: &'a Config,
    pub(super) keys: KeyRing,
    pub(super) boot: BootId,
    pub(super) random: Random,
    pub(super) limits: Limits,
    pub(super) disk: Arc<dyn Disk>,
}

/// The lock on the folder: held while writer or reader live.
pub(super) struct Held {
    _lock: File,
}

pub(super) fn open(setup: Setup<'_>, now: Now) -> Result<(Writer, Reader, Recovery), StoreError> {
    let Setup { config, keys, boot, random, limits, disk } = setup;
    let failed = |e| StoreError::io("opening the store", e);
    atomic_file::create_folder(&config.folder).map_err(failed)?;
    check_cap(config)?;
    let held = Arc::new(take_lock(&config.folder)?);
    let mut whose = Whose::find(config, keys, &random)?;
    let (lanes, losses) = whose.take_stock(config, &random).map_err(failed)?;
    let Whose { identity, ring, anchor, mut found, .. } = whose;
    found.gaps = losses.iter().map(|loss: &Loss| loss.gap.clone()).collect();
    let shared = Arc::new(Shared::new((config, identity), ring, disk, lanes));
    *lock(&shared.anchored) = anchor;
    let quarantine = folder_bytes(&shared.folder.join("quarantine"));
    shared.quarantined_bytes.store(quarantine, Ordering::Relaxed);
    for fault in &found.faults {
        shared.note_fault(fault);
    }
    for loss in losses {
        shared.lose(loss);
    }
    let lane_writer = || LaneWriter { current: None };
    let mut writer = Writer {
        shared: Arc::clone(&shared),
        _held: Arc::clone(&held),
        room: Room::new(config),
        limits: fitted(limits, config),
        wanted: limits,
        run: random_u64(&random)?,
        random,
        boot,
        lanes: [lane_writer(), lane_writer(), lane_writer()],
        last: now,
    };
    begin_run(&mut writer, &mut found, now);
    Ok((writer, Reader::new(shared, held), found))
}

/// Tells of what is lost, says how far each lane is, and counts what waits.
fn begin_run(writer: &mut Writer, found: &mut Recovery, now: Now) {
    let shared = Arc::clone(&writer.shared);
    // What cannot be told now is told with the next commit: it does not keep the daemon from starting.
    if let Err(error) = writer.maintain(now) {
        shared.note_error(&error);
    }
    for lane in Lane::ALL {
        // There is one from the start, so that one that is missing later was lost.
        if let Err(error) = shared.save_cursor(lane, Pace::AtOnce) {
            shared.note_error(&error);
        }
        let depth = writer.stats().depth(lane);
        found.blocks += depth.blocks;
        found.records += depth.records;
        found.segments += u64::try_from(shared.lane(lane).segments.len()).unwrap_or_default();
    }
}

/// Whose the store is, under which keys, and how far it had come.
struct Whose {
    identity: Identity,
    ring: KeyRing,
    state_keys: StateKeys,
    anchor: Option<Anchor>,
    found: Recovery,
}

impl Whose {
    fn find(config: &Config, keys: KeyRing, random: &Random) -> Result<Self, StoreError> {
        let path = identity_file(&config.folder);
        let (identity, is_new) = match Identity::read(&path, &keys)? {
            Some(identity) => (identity, false),
            None => (new_identity(&config.folder, &keys, random)?, true),
        };
        let mut found = Recovery { is_new, ..Recovery::default() };
        let state_keys = StateKeys::new(&keys);
        let mark = config.anchor.as_deref();
        let mut anchor = mark.and_then(|path| Anchor::find(path, &state_keys, identity.store, &mut found));
        if is_new {
            // The mark first: a store that has none was robbed of it.
            anchor = mark.and_then(|path| Anchor::begin(path, &state_keys, identity.store));
            let written = identity.write(&path, &state_keys);
            written.map_err(|e| StoreError::io("making the store's identity", e))?;
        }
        let (identity, ring) = rotation::begin(&path, identity, keys, &mut found.faults);
        let state_keys = StateKeys::new(&ring);
        Ok(Self { identity, ring, state_keys, anchor, found })
    }

    /// What is in each lane, and what is lost of it.
    fn take_stock(&mut self, config: &Config, random: &Random) -> io::Result<([LaneState; 3], Vec<Loss>)> {
        let mut losses = Vec::new();
        let mut lanes = Vec::new();
        for lane in Lane::ALL {
            let mut stock = Stock {
                home: &lane_folder(&config.folder, lane),
                store: self.identity.store,
                lane,
                ring: &self.ring,
                state_keys: &self.state_keys,
                anchor: self.anchor.map_or(0, |anchor| anchor.of(lane)),
                cursor: None,
                found: &mut self.found,
                losses: &mut losses,
            };
            lanes.push(stock.take(random)?);
        }
        let lanes = <[_; 3]>::try_from(lanes).map_err(|_| io::Error::other("three lanes"))?;
        Ok((lanes, losses))
    }
}

/// Segments small enough that dropping one leaves most of what the cap allows.
pub(super) fn fitted(limits: Limits, config: &Config) -> Limits {
    let room = config.cap.saturating_sub(config.alarm_reserve);
    Limits { bytes: limits.bytes.min((room / 8).max(1024 * 1024)), ..limits }
}

fn check_cap(config: &Config) -> Result<(), StoreError> {
    let least = config.alarm_reserve.saturating_add(LEAST_ROOM);
    if config.cap < least {
        return Err(StoreError::Config(format!(
            "its cap of {} bytes is less than the alarm reserve and {LEAST_ROOM} bytes more: set it to at least \
             {least}",
            config.cap
        )));
    }
    let size = volume_size(&config.folder)
        .map_err(|e| StoreError::io("asking for the size of the store's volume", e))?;
    if config.cap > size {
        return Err(StoreError::Config(format!(
            "its cap of {} bytes is more than the volume of {} has ({size}): set a lower one",
            config.cap,
            config.folder.display()
        )));
    }
    Ok(())
}

/// Whether a store that is open and holds so many bytes can go on within other bounds: nothing of it is dropped for
/// them.
pub fn may_be_bounded(config: &Config, held: u64) -> Result<(), StoreError> {
    check_cap(config)?;
    let needed = held.saturating_add(config.alarm_reserve).saturating_add(LEAST_ROOM);
    if needed > config.cap {
        return Err(StoreError::Config(format!(
            "its cap of {} bytes is less than what waits in it ({held}), the alarm reserve and {LEAST_ROOM} bytes \
             more: readings would be dropped; set it to at least {needed}, or ask again when the broker has them",
            config.cap
        )));
    }
    Ok(())
}

/// The bytes of the volume that a folder is on.
pub fn volume_size(folder: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_blocks.saturating_mul(volume.f_frsize))
}

/// The bytes that are free there for whoever is not root.
pub fn volume_free(folder: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

fn take_lock(folder: &Path) -> Result<Held, StoreError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|e| StoreError::io("opening the store's lock", e))?;
    match file.try_lock() {
        Ok(()) => Ok(Held { _lock: file }),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io("locking the store", error)),
    }
}

fn identity_file(folder: &Path) -> PathBuf {
    folder.join("identity")
}

/// The identity of a new store; only when the folder holds nothing of an old one.
fn new_identity(folder: &Path, ring: &KeyRing, random: &Random) -> Result<Identity, StoreError> {
    let is_used = Lane::ALL.iter().any(|lane| lane_folder(folder, *lane).exists())
        || folder.join("quarantine").exists();
    if is_used {
        let reason = "it is missing, and the store holds data".to_owned();
        return Err(StoreError::Identity { path: identity_file(folder), reason });
    }
    let mut id = [0; 16];
    random
        .fill(&mut id)
        .map_err(|_| StoreError::io("making the store's id", io::Error::other("no randomness")))?;
    Ok(Identity { store: StoreId(id), kek: ring.current.id(), previous: None })
}

fn random_u64(random: &Random) -> Result<u64, StoreError> {
    let mut bytes = [0; 8];
    let filled = random.fill(&mut bytes);
    filled.map_err(|_| StoreError::io("drawing a random number", io::Error::other("no randomness")))?;
    Ok(u64::from_le_bytes(bytes))
}
