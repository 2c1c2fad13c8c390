//! A real, small file system (ext4 on a loop device) that fills up under the store: what goes, in which
//! order, that each drop is told of, and that it goes on by itself when there is room again.
//!
//! The test binary runs itself again in a mount namespace of its own, so that nothing stays mounted. It
//! needs root: loop devices do.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "the child reads what its parent process told it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use wardline::device::observation::Lane;
use wardline::envelope::block::{BlockBuilder, BlockHeader, PlainBlock};
use wardline::envelope::keys::{Kek, KeyFile};
use wardline::envelope::record::{Entry, Gap};
use wardline::host::atomic_file;
use wardline::store::{self, Config, Reader, Seq, Stats, StoreError, Writer};
use wardline::time::{BootId, ClockSync, Mono, Now, Wall};

/// Where the child finds its small file system.
const DISK: &str = "SMALL_LOOP_DISK";
const MIB: u64 = 1024 * 1024;

#[test]
fn on_a_full_disk_bulk_goes_first_then_vital_never_alarm_and_every_drop_is_told() {
    let home = tempfile::tempdir().unwrap();
    let disk = home.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    File::create(home.path().join("image")).unwrap().set_len(96 * MIB).unwrap();
    let script =
        "set -e; mkfs.ext4 -q -m 0 \"$1/image\"; mount -o loop \"$1/image\" \"$1/disk\"; shift; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(home.path())
        .arg(std::env::current_exe().unwrap())
        .args(["child_on_a_small_disk", "--exact", "--nocapture", "--test-threads=1"])
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env(DISK, &disk)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && out.contains("the small disk was full"),
        "this test needs root, a loop device, e2fsprogs and util-linux\n{out}\n{err}"
    );
}

fn now(seconds: u64) -> Now {
    let wall = Wall::from_millis(i64::try_from(seconds).unwrap() * 1_000);
    Now {
        mono: Mono::default() + Duration::from_secs(seconds),
        wall,
        sync: ClockSync::Unsynced,
        max_error_us: 0,
    }
}

/// About 200 kB that cannot be compressed.
fn block(seed: &mut u64) -> PlainBlock {
    let mut builder = BlockBuilder::new(&BlockHeader { boot: BootId([1; 16]), run: 1, devices: Vec::new() });
    for count in 0..800 {
        let mut reason = String::from("payload ");
        while reason.len() < 240 {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            reason.push(char::from(u8::try_from(33 + (*seed >> 40) % 90).unwrap()));
        }
        let (first, last) = (Wall::from_millis(1), Wall::from_millis(2));
        builder.push_gap(&Gap { lane: Lane::Bulk, count, first, last, reason }).unwrap();
    }
    builder.finish()
}

struct Ward {
    config: Config,
    key: PathBuf,
    writer: Option<Writer>,
    reader: Option<Reader>,
    seed: u64,
    seconds: u64,
    /// The records of each lane that were reported durable.
    stored: BTreeMap<Lane, u64>,
}

impl Ward {
    fn new(disk: &Path, home: &Path) -> Self {
        let key = home.join("kek");
        atomic_file::write(&key, b"0123456789abcdef0123456789ABCDEF").unwrap();
        let folder = disk.join("store");
        let anchor = Some(store::anchor_beside(&folder));
        // A cap that the disk would hold, were it not for what else is on it.
        let config =
            Config { folder, anchor, cap: 80 * MIB, alarm_reserve: 16 * MIB, linger: Duration::ZERO };
        let mut ward =
            Self { config, key, writer: None, reader: None, seed: 7, seconds: 0, stored: BTreeMap::new() };
        ward.open();
        ward
    }

    fn open(&mut self) {
        (self.writer, self.reader) = (None, None);
        let kek = Kek::load(&KeyFile::new(&self.key)).unwrap();
        let random = Arc::new(ring::rand::SystemRandom::new());
        let limits = store::Limits { bytes: MIB, ..store::Limits::default() };
        let opened =
            store::open_with_limits(&self.config, kek.into(), (BootId([1; 16]), now(0)), random, limits);
        let (writer, reader, found) = opened.unwrap();
        assert_eq!((found.faults, found.gaps), (vec![], vec![]));
        (self.writer, self.reader) = (Some(writer), Some(reader));
    }

    fn stats(&self) -> Stats {
        self.writer.as_ref().unwrap().stats()
    }

    fn blocks(&self, lane: Lane) -> u64 {
        self.stats().depth(lane).blocks
    }

    fn put(&mut self, lane: Lane) -> Result<Seq, StoreError> {
        let block = block(&mut self.seed);
        self.seconds += 1;
        let at = now(self.seconds);
        let writer = self.writer.as_mut().unwrap();
        let result = writer.append(lane, &block, at);
        // What maintain cannot do on a full disk it does later.
        let _ = writer.maintain(at);
        if result.is_ok() {
            *self.stored.entry(lane).or_default() += u64::from(block.count());
        }
        result
    }

    /// Reads and acknowledges everything: of each lane what is there, and what is told of.
    fn drain(&mut self) -> BTreeMap<Lane, (u64, u64)> {
        let reader = self.reader.as_mut().unwrap();
        let mut drained = BTreeMap::new();
        for lane in Lane::ALL {
            let (mut present, mut told) = (0, 0);
            loop {
                let next = match reader.read_next(lane).unwrap() {
                    None if lane == Lane::Vital => reader.read_live().unwrap(),
                    next => next,
                };
                let Some((seq, block)) = next else { break };
                for entry in block.read().unwrap().1 {
                    match entry {
                        Entry::Gap(gap) if gap.reason.starts_with("payload ") => present += 1,
                        Entry::Gap(gap) => {
                            assert_eq!(gap.lane, lane, "told in the lane that lost it");
                            told += gap.count;
                        }
                        Entry::Observation(_) | Entry::Event(_) => panic!("no observation was stored"),
                    }
                }
                reader.acknowledge(seq).unwrap();
            }
            drained.insert(lane, (present, told));
        }
        drained
    }
}

/// Takes all but so many bytes of a disk.
fn fill(disk: &Path, leave: u64) -> PathBuf {
    let path = disk.join("ballast");
    let volume = rustix::fs::statvfs(disk).unwrap();
    let mut left = (volume.f_bavail * volume.f_frsize).saturating_sub(leave);
    let mut file = File::create(&path).unwrap();
    let piece = vec![1; 1 << 16];
    while left > 0 {
        let now = left.min(1 << 16);
        file.write_all(&piece[..usize::try_from(now).unwrap()]).unwrap();
        left -= now;
    }
    file.sync_all().unwrap();
    path
}

/// The test itself; without its disk it is a part of the other test and does nothing.
#[test]
fn child_on_a_small_disk() {
    let Ok(disk) = std::env::var(DISK) else { return };
    let disk = Path::new(&disk);
    let mut ward = Ward::new(disk, disk.parent().unwrap());
    for _ in 0..30 {
        ward.put(Lane::Bulk).unwrap();
    }
    for _ in 0..15 {
        ward.put(Lane::Vital).unwrap();
        ward.put(Lane::Alarm).unwrap();
    }
    let ballast = fill(disk, 2 * MIB);

    // Readings: bulk makes room for them, and only when it is all but gone the oldest readings do.
    let mut bulk_when_vital_fell = None;
    for _ in 0..60 {
        let (bulk, vital) = (ward.stats().depth(Lane::Bulk).records, ward.blocks(Lane::Vital));
        ward.put(Lane::Vital).unwrap();
        if ward.blocks(Lane::Vital) <= vital && bulk_when_vital_fell.is_none() {
            bulk_when_vital_fell = Some(bulk);
        }
        assert_eq!(ward.blocks(Lane::Alarm), 15, "an alarm went");
    }
    let bulk_when_vital_fell = bulk_when_vital_fell.unwrap();
    // What is left of bulk is word of what was dropped: less than one block of readings.
    assert!(bulk_when_vital_fell < 800, "readings went while {bulk_when_vital_fell} bulk records were there");

    // Alarms: readings make room for them, and when there is nothing else left they wait.
    let mut alarms = 15;
    let full = loop {
        match ward.put(Lane::Alarm) {
            Ok(_) => alarms += 1,
            Err(error) => break error,
        }
        assert_eq!(ward.blocks(Lane::Alarm), alarms, "an alarm went");
    };
    assert!(full.is_full() && alarms > 40, "{full}, {alarms} alarms");
    assert!(ward.put(Lane::Vital).is_err_and(|error| error.is_full()));
    println!("the small disk was full: {full}; {alarms} alarms are kept");

    // A start on the full disk; then somebody removes what was in the way.
    ward.open();
    assert_eq!(ward.blocks(Lane::Alarm), alarms);
    std::fs::remove_file(ballast).unwrap();
    for lane in Lane::ALL {
        ward.put(lane).unwrap();
    }
    let drained = ward.drain();
    for (lane, stored) in &ward.stored {
        let (present, told) = drained[lane];
        assert_eq!(present + told, *stored, "{lane}: {present} there, {told} told of");
    }
    assert_eq!(drained[&Lane::Alarm].1, 0);
    assert!(drained[&Lane::Bulk].1 > 0 && drained[&Lane::Vital].1 > 0, "both lost something: {drained:?}");
    // The space is given back: what is left is the segments that are being written.
    ward.writer.take().unwrap().close().unwrap();
    assert!(ward.reader.as_ref().unwrap().stats().snapshot().bytes < MIB);
}
