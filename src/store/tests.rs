//! The promises of the store, each against the real disk; faults come from a disk that fails when
//! told to.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::chunk::Key;
use super::engine::{Disk, Engine, Sled, database_file};
use super::folders::lane_folder;
use super::*;
use crate::device::nomenclature::{DIMENSIONLESS, DRUG_NAME};
use crate::device::observation::{Kind, Observation, Quality, Status, Value};
use crate::envelope::block::{BlockBuilder, BlockHeader, MAX_BYTES, PlainBlock};
use crate::envelope::keys::{Kek, KeyError, KeySource};
use crate::envelope::record::{Entry, Record};
use crate::policy::DeviceCard;
use crate::time::{ClockSync, Mono, Wall};

mod live;

struct Fixed(u8);

impl KeySource for Fixed {
    fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        Ok(Zeroizing::new([self.0; 32]))
    }

    fn protection(&self) -> &'static str {
        "test"
    }
}

fn kek(byte: u8) -> Kek {
    Kek::load(&Fixed(byte)).unwrap()
}

fn at(seconds: u64) -> Now {
    let wall = Wall::from_millis(1_795_304_400_000 + i64::try_from(seconds).unwrap() * 1_000);
    Now {
        mono: Mono::default() + Duration::from_secs(seconds),
        wall,
        sync: ClockSync::Synced,
        max_error_us: 9,
    }
}

const MIB: u64 = 1024 * 1024;

fn config(folder: &Path) -> Config {
    Config { folder: folder.to_owned(), anchor: None, cap: 1024 * MIB, alarm_reserve: 4 * MIB, linger: Duration::ZERO }
}

/// Small segments, so that a test sees many.
const SMALL: Limits =
    Limits { bytes: 16 * MIB, blocks: 8, age: Duration::from_secs(60), drained_bytes: 16 * MIB };

type Store = (Writer, Reader, Recovery);

fn open_on(disk: Arc<dyn Disk>, config: &Config, limits: Limits) -> Result<Store, StoreError> {
    let random = Arc::new(ring::rand::SystemRandom::new());
    recover::open(
        recover::Setup { config, keys: kek(1).into(), boot: BootId([5; 16]), random, limits, disk },
        at(0),
    )
}

fn open_small(folder: &Path) -> Store {
    open_on(Arc::new(Sled), &config(folder), SMALL).unwrap()
}

/// A block of `count` records of which each holds `text`.
fn block_of(count: u64, text: &str) -> PlainBlock {
    let device = DeviceCard {
        id: "pump-1".to_owned(),
        model: "alaris-asena".to_owned(),
        pseudonym: "00112233445566778899aabbccddeeff".to_owned(),
        security: "serial",
    };
    let mut builder =
        BlockBuilder::new(&BlockHeader { boot: BootId([5; 16]), run: 1, devices: vec![device] });
    for seq in 0..count {
        let observation = Observation {
            metric: &DRUG_NAME,
            channel: 0,
            value: Value::Text(text.to_owned()),
            unit: &DIMENSIONLESS,
            modality: 0,
            kind: Kind::State,
            device_time: None,
            status: Status::Final,
            quality: Quality::GOOD,
        };
        builder.push_record(&Record { device: 0, seq, at: at(seq), observation }).unwrap();
    }
    builder.finish()
}

/// As large as a block gets, and not to be compressed.
fn largest_block(seed: u64) -> PlainBlock {
    let mut builder =
        BlockBuilder::new(&BlockHeader { boot: BootId([5; 16]), run: seed, devices: Vec::new() });
    let mut state = seed.wrapping_add(1);
    while !builder.is_full() {
        let mut reason = String::new();
        while reason.len() < 250 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            reason.push(char::from(u8::try_from(33 + (state >> 40) % 90).unwrap()));
        }
        let (first, last) = (Wall::from_millis(1), Wall::from_millis(2));
        builder.push_gap(&Gap { lane: Lane::Bulk, count: state, first, last, reason }).unwrap();
    }
    builder.finish()
}

fn text_of(block: &PlainBlock) -> String {
    let (_, entries) = block.read().unwrap();
    match entries.first().unwrap() {
        Entry::Observation(Record { observation, .. }) => match &observation.value {
            Value::Text(text) => text.clone(),
            Value::Decimal(_) | Value::Absent(_) | Value::Bits(_) | Value::Alarm(_) => panic!("not a text"),
        },
        Entry::Gap(gap) => format!("gap {}: {}", gap.count, gap.reason),
    }
}

/// The next block of a lane as if it had one stream: what waits, then what is live.
fn next_of(reader: &mut Reader, lane: Lane) -> Option<(Seq, PlainBlock)> {
    match reader.read_next(lane).unwrap() {
        None if lane == Lane::Vital => reader.read_live().unwrap(),
        next => next,
    }
}

fn drain(reader: &mut Reader, lane: Lane) -> Vec<(Seq, String)> {
    let mut out = Vec::new();
    while let Some((seq, block)) = next_of(reader, lane) {
        out.push((seq, text_of(&block)));
    }
    out
}

fn texts(drained: Vec<(Seq, String)>) -> Vec<String> {
    drained.into_iter().map(|(_, text)| text).collect()
}

fn put_text(writer: &mut Writer, lane: Lane, text: &str) -> Seq {
    writer.append(lane, &block_of(2, text), at(1)).unwrap()
}

fn segment_folders(folder: &Path, lane: Lane) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(lane_folder(folder, lane)).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort_by_key(|path| path.file_name().unwrap().to_str().unwrap().parse::<u64>().unwrap_or(u64::MAX));
    found
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::File::create(path).and_then(|mut file| file.write_all(bytes)).unwrap();
}

/// A disk that notes what is done, and fails the operation whose turn it is.
#[derive(Default)]
struct Faulty {
    log: Arc<Mutex<Vec<&'static str>>>,
    /// Operations until one fails; negative never.
    fuse: Arc<AtomicI64>,
    kind: Option<io::ErrorKind>,
}

struct FaultyEngine {
    inner: Box<dyn Engine>,
    log: Arc<Mutex<Vec<&'static str>>>,
    fuse: Arc<AtomicI64>,
    kind: io::ErrorKind,
}

impl Faulty {
    fn new(kind: io::ErrorKind) -> Self {
        Self { fuse: Arc::new(AtomicI64::new(-1)), kind: Some(kind), ..Self::default() }
    }
}

impl FaultyEngine {
    fn step(&self, what: &'static str) -> io::Result<()> {
        self.log.lock().unwrap().push(what);
        let left = self.fuse.load(Ordering::SeqCst);
        if left < 0 {
            return Ok(());
        }
        if left == 0 {
            return Err(io::Error::new(self.kind, "told to"));
        }
        self.fuse.store(left - 1, Ordering::SeqCst);
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>> {
        let (log, fuse) = (Arc::clone(&self.log), Arc::clone(&self.fuse));
        let kind = self.kind.unwrap_or(io::ErrorKind::Other);
        let engine = FaultyEngine { inner: Sled.create(folder)?, log, fuse, kind };
        engine.step("create")?;
        Ok(Box::new(engine))
    }
}

impl Engine for FaultyEngine {
    fn put(&self, key: Key, value: &[u8]) -> io::Result<()> {
        self.step("put")?;
        self.inner.put(key, value)
    }

    fn flush(&self) -> io::Result<()> {
        self.step("flush")?;
        self.inner.flush()
    }

    fn sync(&self) -> io::Result<()> {
        self.step("sync")?;
        self.inner.sync()
    }

    fn get(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
}

#[test]
fn a_commit_is_put_then_flushed_then_synced_and_only_then_seen() {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(Faulty::new(io::ErrorKind::Other));
    let (mut writer, mut reader, _) =
        open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(folder.path()), SMALL).unwrap();
    let mut commits = reader.commits();
    commits.borrow_and_update();
    put_text(&mut writer, Lane::Vital, "one");
    assert_eq!(*disk.log.lock().unwrap(), ["create", "put", "flush", "sync"]);
    assert!(commits.has_changed().unwrap());
    for (steps, what) in [(0, "put"), (1, "flush"), (2, "sync")] {
        commits.borrow_and_update();
        disk.fuse.store(steps, Ordering::SeqCst);
        writer.append(Lane::Vital, &block_of(1, "never"), at(1)).unwrap_err();
        assert_eq!(*disk.log.lock().unwrap().last().unwrap(), what);
        assert!(!commits.has_changed().unwrap(), "nobody is told of what failed at {what}");
        disk.fuse.store(-1, Ordering::SeqCst);
        put_text(&mut writer, Lane::Vital, what);
    }
    assert_eq!(texts(drain(&mut reader, Lane::Vital)), ["one", "put", "flush", "sync"]);
}

#[test]
fn after_an_error_the_next_commit_works_in_a_new_segment_and_nothing_comes_twice_after_a_restart() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for steps in 0..5 {
            let folder = TempDir::new().unwrap();
            let disk = Arc::new(Faulty::new(kind));
            let (mut writer, reader, _) =
                open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(folder.path()), SMALL).unwrap();
            // The only lane with data is alarm: on a full disk nothing may be dropped for it.
            let first = put_text(&mut writer, Lane::Alarm, "first");
            disk.fuse.store(steps, Ordering::SeqCst);
            let mut stored = 0;
            let error = loop {
                match writer.append(Lane::Alarm, &block_of(1, "again"), at(1)) {
                    Ok(_) => stored += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.is_full(), kind == io::ErrorKind::StorageFull, "{error}");
            assert!(error.is_retryable());
            disk.fuse.store(-1, Ordering::SeqCst);
            let again = put_text(&mut writer, Lane::Alarm, "again");
            assert!(again.segment > first.segment);
            drop((writer, reader));
            // Also when there was no room for footers: the next segment's header says what counts.
            for segment in segment_folders(folder.path(), Lane::Alarm) {
                fs::remove_file(segment.join("footer")).ok();
            }
            let (_writer, mut reader, found) = open_small(folder.path());
            let mut expected = vec!["first".to_owned()];
            expected.resize(2 + stored, "again".to_owned());
            assert_eq!(texts(drain(&mut reader, Lane::Alarm)), expected, "{kind:?} at step {steps}");
            assert_eq!(found.gaps, []);
        }
    }
}

#[test]
fn every_lane_gives_back_what_it_took_in_order_also_after_a_crash() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, found) = open_small(folder.path());
    assert!(found.is_new);
    let mut expected: BTreeMap<Lane, Vec<(Seq, String)>> = BTreeMap::new();
    for number in 0..30 {
        for lane in Lane::ALL {
            let text = format!("{lane} {number}");
            let seq = put_text(&mut writer, lane, &text);
            expected.entry(lane).or_default().push((seq, text));
        }
    }
    for lane in Lane::ALL {
        assert_eq!(drain(&mut reader, lane), expected[&lane]);
    }
    // A crash: the files as they are at this moment.
    let crashed = TempDir::new().unwrap();
    copy_tree(folder.path(), crashed.path());
    let (_writer, mut after, found) = open_small(crashed.path());
    assert_eq!((found.unclosed, found.gaps.len(), found.faults.len()), (3, 0, 0));
    assert_eq!((found.blocks, found.records), (90, 180));
    assert_eq!(after.store_id(), reader.store_id());
    for lane in Lane::ALL {
        assert_eq!(drain(&mut after, lane), expected[&lane]);
    }
}

#[test]
fn acknowledgements_come_in_any_order_and_only_what_lacks_one_is_given_again() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    for number in 0..20 {
        put_text(&mut writer, Lane::Vital, &number.to_string());
    }
    let seqs: Vec<Seq> = drain(&mut reader, Lane::Vital).into_iter().map(|(seq, _)| seq).collect();
    for index in [19, 3, 7, 0, 1, 12] {
        reader.acknowledge(seqs[index]).unwrap();
        reader.acknowledge(seqs[index]).unwrap();
    }
    assert_eq!(reader.depth(Lane::Vital).blocks, 14);
    assert_eq!(reader.depth(Lane::Vital).records, 28);
    reader.rewind();
    let again: Vec<Seq> = drain(&mut reader, Lane::Vital).into_iter().map(|(seq, _)| seq).collect();
    let wanted: Vec<Seq> =
        (0..20).filter(|index| ![19, 3, 7, 0, 1, 12].contains(index)).map(|index| seqs[index]).collect();
    assert_eq!(again, wanted);
    let never = Seq { lane: Lane::Vital, segment: seqs[19].segment, block: 99 };
    assert!(matches!(reader.acknowledge(never), Err(StoreError::NotGiven { .. })));
}

#[test]
fn drained_segments_go_with_their_folders_and_the_cursor_survives() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    for number in 0..20 {
        put_text(&mut writer, Lane::Vital, &number.to_string());
    }
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 3);
    for (seq, _) in drain(&mut reader, Lane::Vital).into_iter().take(18) {
        reader.acknowledge(seq).unwrap();
    }
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 1, "8 + 8 are gone, 2 of 4 are not");
    writer.close().unwrap();
    drop(reader);
    let (writer, mut reader, found) = open_small(folder.path());
    assert_eq!((found.unclosed, found.blocks, found.records), (0, 2, 4));
    let left = drain(&mut reader, Lane::Vital);
    assert_eq!(left.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), ["18", "19"]);
    for (seq, _) in left {
        reader.acknowledge(seq).unwrap();
    }
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 0);
    assert_eq!(reader.depth(Lane::Vital), Depth::default());
    drop((writer, reader));
    let (mut writer, _reader, found) = open_small(folder.path());
    assert_eq!((found.segments, found.gaps.len()), (0, 0));
    let seq = put_text(&mut writer, Lane::Vital, "new");
    assert!(seq.segment > 3, "no number is given twice");
    let place = (writer.shared.store, Lane::Vital, seq.segment);
    let folders = segment_folders(folder.path(), Lane::Vital);
    let opened = segment::Header::open(&folders[0], &kek(1).into(), place).unwrap();
    let before = opened.header.previous;
    assert_eq!((before.number, before.blocks, before.records), (3, 4, 8), "the chain goes on");
    assert_ne!(before.head, segment::Chain::START);
}

#[test]
fn the_cursor_is_written_seldom_while_it_moves_little_and_each_second_while_it_moves_far() {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(Sled);
    let (mut writer, mut reader, _) = open_on(disk, &config(folder.path()), Limits::default()).unwrap();
    for number in 0..80 {
        put_text(&mut writer, Lane::Vital, &number.to_string());
    }
    let file = lane_folder(folder.path(), Lane::Vital).join("cursor");
    let mut blocks = drain(&mut reader, Lane::Vital).into_iter().map(|(seq, _)| seq);
    let mut acknowledge = |seconds, count| {
        let before = fs::read(&file).ok();
        writer.maintain(at(seconds)).unwrap();
        for seq in blocks.by_ref().take(count) {
            reader.acknowledge(seq).unwrap();
        }
        fs::read(&file).ok() != before
    };
    assert!(acknowledge(10, 1), "the first at once");
    assert!(!acknowledge(12, 1), "moved on by one within the slow pace");
    assert!(acknowledge(15, 1), "after the slow pace");
    assert!(acknowledge(16, 70), "moved on far");
    assert!(!acknowledge(16, 1), "never twice in a second");
}

#[test]
fn a_segment_is_closed_at_each_of_its_limits() {
    let folder = TempDir::new().unwrap();
    let limits = Limits { bytes: 2 * MIB, blocks: 1_000, age: Duration::from_secs(60), drained_bytes: MIB };
    let (mut writer, mut reader, _) = open_on(Arc::new(Sled), &config(folder.path()), limits).unwrap();
    let mut put =
        |block: &PlainBlock, seconds| writer.append(Lane::Bulk, block, at(seconds)).unwrap().segment;
    let first = put(&block_of(1, "x"), 10);
    assert_eq!(put(&block_of(1, "x"), 69), first);
    let second = put(&block_of(1, "x"), 70);
    assert!(second > first, "age");
    let mut third = second;
    for seed in 0..20 {
        third = put(&largest_block(seed), 71);
    }
    assert!(third > second, "bytes");
    let mut many: BTreeMap<u64, u32> = BTreeMap::new();
    for _ in 0..2_100 {
        *many.entry(put(&block_of(1, "x"), 71)).or_default() += 1;
    }
    // The first of them was begun by the large blocks, and its bytes may end it early.
    let full = many.values().filter(|blocks| **blocks == limits.blocks).count();
    assert!(full >= 1 && many.values().all(|blocks| *blocks <= limits.blocks), "blocks: {many:?}");
    let drained: Vec<Seq> = {
        let mut seqs = Vec::new();
        while let Some((seq, _)) = reader.read_next(Lane::Bulk).unwrap() {
            seqs.push(seq);
        }
        seqs
    };
    for seq in drained {
        reader.acknowledge(seq).unwrap();
    }
    let mut seed = 0;
    let mut before = 0;
    while before < MIB {
        writer.append(Lane::Bulk, &largest_block(seed), at(72)).unwrap();
        seed += 1;
        let newest = segment_folders(folder.path(), Lane::Bulk).pop().unwrap();
        before = fs::metadata(database_file(&newest)).unwrap().len();
    }
    while let Some((seq, _)) = reader.read_next(Lane::Bulk).unwrap() {
        reader.acknowledge(seq).unwrap();
    }
    assert_eq!(segment_folders(folder.path(), Lane::Bulk).len(), 1);
    writer.maintain(at(73)).unwrap();
    assert_eq!(segment_folders(folder.path(), Lane::Bulk).len(), 0, "a drained segment does not stay large");
}

#[test]
fn no_value_and_no_page_ever_gets_a_file_of_its_own() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) =
        open_on(Arc::new(Sled), &config(folder.path()), Limits::default()).unwrap();
    let mut stored = Vec::new();
    for seed in 0..60 {
        stored.push(writer.append(Lane::Bulk, &largest_block(seed), at(1)).unwrap());
        writer.append(Lane::Vital, &block_of(seed % 40 + 1, "mixed"), at(1)).unwrap();
    }
    for lane in [Lane::Bulk, Lane::Vital] {
        let folders = segment_folders(folder.path(), lane);
        assert!(!folders.is_empty());
        for segment in folders {
            // Closed segments have no such folder any more.
            let blobs = fs::read_dir(segment.join("sled/blobs")).map_or(0, Iterator::count);
            assert_eq!(blobs, 0, "{}", segment.display());
        }
    }
    for (seed, seq) in (0..).zip(stored) {
        let (read, block) = reader.read_next(Lane::Bulk).unwrap().unwrap();
        assert_eq!((read, block.read().unwrap()), (seq, largest_block(seed).read().unwrap()));
        assert!(block.size() > u32::try_from(MAX_BYTES).unwrap() * 9 / 10);
    }
}

#[test]
fn another_key_is_refused_and_nothing_is_touched() {
    let folder = TempDir::new().unwrap();
    let (mut writer, reader, _) = open_small(folder.path());
    put_text(&mut writer, Lane::Alarm, "precious");
    drop((writer, reader));
    let random = Arc::new(ring::rand::SystemRandom::new());
    let error = open(&config(folder.path()), kek(2).into(), BootId::default(), at(0), random).err().unwrap();
    assert!(matches!(error, StoreError::WrongKey { .. }) && error.is_refusal(), "{error}");
    assert!(error.to_string().contains("give the key that it was written under"));
    let (_writer, mut reader, _) = open_small(folder.path());
    assert_eq!(texts(drain(&mut reader, Lane::Alarm)), ["precious"]);
}

#[test]
fn a_store_without_its_identity_is_refused_and_no_new_one_is_made() {
    let folder = TempDir::new().unwrap();
    let (mut writer, reader, _) = open_small(folder.path());
    put_text(&mut writer, Lane::Alarm, "precious");
    drop((writer, reader));
    let identity = folder.path().join("identity");
    let good = fs::read(&identity).unwrap();
    let reopen = || open_on(Arc::new(Sled), &config(folder.path()), SMALL);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 4;
        overwrite(&identity, &bad);
        assert!(reopen().err().unwrap().is_refusal(), "byte {place}");
    }
    fs::remove_file(&identity).unwrap();
    let error = reopen().err().unwrap();
    assert!(matches!(error, StoreError::Identity { .. }), "{error}");
    assert!(!identity.exists());
    overwrite(&identity, &good);
    assert!(reopen().is_ok());
}

#[test]
fn two_daemons_never_share_a_store() {
    let folder = TempDir::new().unwrap();
    let (writer, reader, _) = open_small(folder.path());
    let second = || open_on(Arc::new(Sled), &config(folder.path()), SMALL);
    assert!(matches!(second().err().unwrap(), StoreError::Locked { .. }));
    drop(writer);
    assert!(matches!(second().err().unwrap(), StoreError::Locked { .. }), "the reader still lives");
    drop(reader);
    assert!(second().is_ok());
}

#[test]
fn a_cap_that_cannot_be_met_is_refused() {
    let folder = TempDir::new().unwrap();
    for cap in [0, LEAST_ROOM, u64::MAX] {
        let config = Config { cap, ..config(folder.path()) };
        let error = open_on(Arc::new(Sled), &config, SMALL).err().unwrap();
        assert!(matches!(error, StoreError::Config(_)), "{error}");
    }
}

fn usage_on_disk(folder: &Path) -> u64 {
    folders::folder_bytes(folder)
}

#[test]
fn when_it_is_full_bulk_goes_first_then_vital_and_never_alarm_and_each_drop_is_told() {
    let folder = TempDir::new().unwrap();
    let config = Config { cap: 24 * MIB, alarm_reserve: 8 * MIB, ..config(folder.path()) };
    let limits = Limits { blocks: 4, ..Limits::default() };
    let (mut writer, mut reader, _) = open_on(Arc::new(Sled), &config, limits).unwrap();
    let stats = writer.stats();
    let mut alarms = 0u64;
    writer.append(Lane::Alarm, &block_of(3, "alarm"), at(1)).unwrap();
    for seed in 0..12 {
        writer.append(Lane::Bulk, &largest_block(seed), at(1)).unwrap();
    }
    let bulk_before = stats.depth(Lane::Bulk);
    let mut dropped_at = Vec::new();
    for seed in 0..40 {
        writer.append(Lane::Vital, &largest_block(100 + seed), at(2)).unwrap();
        dropped_at.push((stats.depth(Lane::Bulk).records, stats.depth(Lane::Vital).blocks));
        assert!(usage_on_disk(folder.path()) <= config.cap, "over the cap at {seed}");
    }
    assert!(stats.depth(Lane::Bulk).records < bulk_before.records / 4, "bulk went");
    let vital_fell =
        dropped_at.windows(2).position(|pair| pair[1].1 < pair[0].1).expect("vital was dropped too");
    assert!(dropped_at[vital_fell].0 < bulk_before.records / 4, "not before bulk was gone");
    assert_eq!(stats.depth(Lane::Alarm).blocks, 1);
    // Alarms may use what is left and take the rest from the others.
    let full = loop {
        match writer.append(Lane::Alarm, &largest_block(alarms), at(3)) {
            Ok(_) => alarms += 1,
            Err(error) => break error,
        }
        assert!(usage_on_disk(folder.path()) <= config.cap);
    };
    assert!(full.is_full() && alarms > 20, "{full}, {alarms}");
    assert_eq!(stats.depth(Lane::Alarm).blocks, alarms + 1, "no alarm was dropped");
    // Every record is there or told of, none of it twice.
    let mut told_of_all = 0;
    for (lane, stored) in [(Lane::Bulk, 12), (Lane::Vital, 40)] {
        let mut present = 0u64;
        let mut told = 0u64;
        while let Some((_, block)) = next_of(&mut reader, lane) {
            match &block.read().unwrap().1[0] {
                Entry::Gap(gap) if gap.reason.contains("was dropped") => told += gap.count,
                Entry::Gap(_) | Entry::Observation(_) => present += u64::from(block.count()),
            }
        }
        let all: u64 = (0..stored)
            .map(|seed| u64::from(largest_block(if lane == Lane::Bulk { seed } else { 100 + seed }).count()))
            .sum();
        assert_eq!(told + present, all, "{lane}: {told} told of, {present} there");
        told_of_all += told;
    }
    assert_eq!(stats.snapshot().dropped, told_of_all);
    // When the broker takes the alarms, there is room again, without a restart.
    while let Some((seq, _)) = reader.read_next(Lane::Alarm).unwrap() {
        reader.acknowledge(seq).unwrap();
    }
    put_text(&mut writer, Lane::Alarm, "again");
    put_text(&mut writer, Lane::Vital, "again");
}

#[test]
fn no_word_of_a_reading_is_in_any_file() {
    const CANARY: &str = "Canary-Propofol-4711";
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    for lane in Lane::ALL {
        // Alone, so that compression cannot hide it by reference; and the device's names with it.
        writer.append(lane, &block_of(1, CANARY), at(1)).unwrap();
        for _ in 0..20 {
            writer.append(lane, &block_of(20, CANARY), at(1)).unwrap();
        }
    }
    assert_eq!(texts(drain(&mut reader, Lane::Vital))[0], CANARY);
    writer.close().unwrap();
    drop(reader);
    let mut files = 0;
    visit(folder.path(), &mut |path| {
        let bytes = fs::read(path).unwrap();
        files += 1;
        for word in [&CANARY.as_bytes()[..6], b"Propofol", b"4711", b"pump-1", b"alaris", &[1; 32]] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "{}", path.display());
        }
    });
    assert!(files > 20);
}

fn visit(folder: &Path, see: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { visit(&path, see) } else { see(&path) }
    }
}

/// A store of one closed and one open segment in lane vital, each of `SMALL.blocks` and 5 blocks.
fn two_segments(folder: &Path) -> Vec<String> {
    let (mut writer, reader, _) = open_small(folder);
    let words: Vec<String> = (0..13).map(|number| format!("block {number}")).collect();
    for word in &words {
        put_text(&mut writer, Lane::Vital, word);
    }
    drop(writer);
    // As a crash leaves it: the second segment has no footer.
    assert_eq!(fs::read_dir(&segment_folders(folder, Lane::Vital)[1]).unwrap().count(), 2);
    drop(reader);
    words
}

/// Opens what was damaged: it must start, and give or tell of every record.
fn check_damaged(folder: &Path, words: &[String], what: &str) -> (usize, u64) {
    let (mut writer, mut reader, _) = open_small(folder);
    let mut present = Vec::new();
    let mut told = 0;
    for _ in 0..2 {
        while let Some((seq, block)) = next_of(&mut reader, Lane::Vital) {
            match &block.read().unwrap().1[0] {
                Entry::Gap(gap) => told += gap.count,
                Entry::Observation(_) => present.push(text_of(&block)),
            }
            reader.acknowledge(seq).unwrap();
        }
        writer.maintain(at(2)).unwrap();
    }
    assert!(present.windows(2).all(|pair| pair[0] != pair[1]), "{what}: nothing twice");
    assert!(present.iter().all(|word| words.contains(word)), "{what}: nothing foreign");
    assert_eq!(reader.depth(Lane::Vital).blocks, 0, "{what}: drained");
    (present.len(), told)
}

#[test]
fn a_torn_or_changed_database_file_never_keeps_the_store_from_starting() {
    let original = TempDir::new().unwrap();
    let words = two_segments(original.path());
    let folders = segment_folders(original.path(), Lane::Vital);
    let mut state = 7u64;
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for (index, folder) in folders.iter().enumerate() {
        let name = folder.file_name().unwrap();
        let good = fs::read(database_file(folder)).unwrap();
        for round in 0..40 {
            let mut bad = good.clone();
            let what = if round % 2 == 0 {
                bad.truncate(draw(good.len()));
                format!("segment {index} cut at {}", bad.len())
            } else {
                let place = draw(good.len());
                bad[place] ^= 1 << draw(8);
                format!("segment {index} flipped at {place}")
            };
            let copy = TempDir::new().unwrap();
            copy_tree(original.path(), copy.path());
            overwrite(&database_file(&lane_folder(copy.path(), Lane::Vital).join(name)), &bad);
            let (present, told) = check_damaged(copy.path(), &words, &what);
            if index == 0 {
                // The closed segment: its footer says what there was.
                assert_eq!(present + usize::try_from(told).unwrap() / 2, words.len(), "{what}");
            } else {
                assert!(present >= 8, "{what}: the sound segment is whole");
            }
            if round % 2 == 1 {
                // One flipped bit spoils one copy of one chunk; what is not told of is there.
                assert!(present >= words.len() - 1, "{what}: {present}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_a_small_file_never_keeps_the_store_from_starting() {
    let original = TempDir::new().unwrap();
    let words = two_segments(original.path());
    let folders = segment_folders(original.path(), Lane::Vital);
    for (folder, name) in [(0, "header"), (0, "footer"), (1, "header"), (1, "sled/conf")] {
        let relative = folders[folder].strip_prefix(original.path()).unwrap().join(name);
        let good = fs::read(original.path().join(&relative)).unwrap();
        for place in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[place] ^= 1 << (place % 8);
            let copy = TempDir::new().unwrap();
            copy_tree(original.path(), copy.path());
            overwrite(&copy.path().join(&relative), &bad);
            let what = format!("{} flipped at {place}", relative.display());
            let (present, told) = check_damaged(copy.path(), &words, &what);
            assert_eq!(present + usize::try_from(told).unwrap() / 2, words.len(), "{what}");
            if name == "header" {
                assert_eq!(fs::read_dir(copy.path().join("quarantine")).unwrap().count(), 1, "{what}");
            }
        }
    }
}

#[test]
fn a_missing_file_or_segment_is_told_of() {
    for name in ["header", "footer", "sled/db", "."] {
        let folder = TempDir::new().unwrap();
        let words = two_segments(folder.path());
        let first = &segment_folders(folder.path(), Lane::Vital)[0];
        if name == "." {
            fs::remove_dir_all(first).unwrap();
        } else {
            fs::remove_file(first.join(name)).unwrap();
        }
        let (present, told) = check_damaged(folder.path(), &words, name);
        assert_eq!(present + usize::try_from(told).unwrap() / 2, words.len(), "{name}");
        assert_eq!(present == words.len(), name == "footer", "{name}");
    }
}

#[test]
fn a_segment_of_another_store_or_place_is_set_aside() {
    let folder = TempDir::new().unwrap();
    let words = two_segments(folder.path());
    let other = TempDir::new().unwrap();
    two_segments(other.path());
    let home = lane_folder(folder.path(), Lane::Vital);
    // From another gateway that has the same KEK; and one of its own under another number.
    copy_tree(&segment_folders(other.path(), Lane::Vital)[0], &home.join("50"));
    copy_tree(&home.join("1"), &home.join("51"));
    let random = Arc::new(ring::rand::SystemRandom::new());
    let setup = recover::Setup {
        config: &config(folder.path()),
        keys: kek(1).into(),
        boot: BootId::default(),
        random,
        limits: SMALL,
        disk: Arc::new(Sled),
    };
    let (mut writer, mut reader, found) = recover::open(setup, at(0)).unwrap();
    assert_eq!(found.faults.len(), 2, "{:?}", found.faults);
    assert!(found.faults[0].contains("another store") && found.faults[1].contains("segment 1"));
    let read: Vec<String> =
        texts(drain(&mut reader, Lane::Vital)).into_iter().filter(|text| !text.starts_with("gap")).collect();
    assert_eq!(read, words, "its own are untouched, and none comes twice");
    assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 2);
    assert!(put_text(&mut writer, Lane::Vital, "next").segment > 51, "no number is used again");
}

#[test]
fn swapped_databases_are_found_and_told_of() {
    let folder = TempDir::new().unwrap();
    let words = two_segments(folder.path());
    let home = lane_folder(folder.path(), Lane::Vital);
    fs::rename(home.join("1/sled"), home.join("tmp")).unwrap();
    fs::rename(home.join("2/sled"), home.join("1/sled")).unwrap();
    fs::rename(home.join("tmp"), home.join("2/sled")).unwrap();
    let (present, told) = check_damaged(folder.path(), &words, "swapped");
    assert_eq!(present, 0);
    assert!(told >= 2 * u64::try_from(words.len()).unwrap() - 10, "{told}");
}

#[test]
fn a_lost_cursor_sends_again_and_gives_no_number_twice() {
    let folder = TempDir::new().unwrap();
    let words = two_segments(folder.path());
    fs::remove_file(lane_folder(folder.path(), Lane::Vital).join("cursor")).unwrap();
    let (mut writer, mut reader, found) = open_small(folder.path());
    assert_eq!(found.gaps, []);
    assert_eq!(texts(drain(&mut reader, Lane::Vital)), words);
    assert!(put_text(&mut writer, Lane::Vital, "next").segment > 1 << 32);
}

/// What the store should be: for each lane a list of what is not acknowledged.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<Lane, VecDeque<(Seq, String, bool)>>,
    /// What of the vital lane was committed since the last rewind or start.
    live: BTreeSet<Seq>,
    written: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Append(Lane, u8),
    Read(Lane, u8),
    ReadLive(u8),
    Acknowledge(Lane, prop::sample::Index),
    Rewind,
    Maintain(u8),
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || prop::sample::select(Lane::ALL.to_vec());
    prop_oneof![
        8 => (lane(), 1u8..4).prop_map(|(lane, count)| Step::Append(lane, count)),
        6 => (lane(), 1u8..6).prop_map(|(lane, count)| Step::Read(lane, count)),
        4 => (1u8..6).prop_map(Step::ReadLive),
        6 => (lane(), any::<prop::sample::Index>()).prop_map(|(lane, index)| Step::Acknowledge(lane, index)),
        1 => Just(Step::Rewind),
        1 => (0u8..90).prop_map(Step::Maintain),
        1 => Just(Step::Close),
        1 => Just(Step::Crash),
    ]
}

/// After a crash acknowledgements may be forgotten, nothing else: what is given is a part of
/// everything ever stored, in order, and holds all that was not acknowledged.
#[expect(clippy::too_many_lines, reason = "one arm for each step, read top to bottom")]
fn run_model(steps: &[Step]) -> Result<(), TestCaseError> {
    let folder = TempDir::new().unwrap();
    let mut home = folder.path().to_owned();
    let mut kept = Vec::new();
    let (mut writer, mut reader, _) = open_small(&home);
    let mut model = Model::default();
    let mut seconds = 1u64;
    let mut given: BTreeMap<Lane, Vec<Seq>> = BTreeMap::new();
    for step in steps {
        seconds += 1;
        match step {
            Step::Append(lane, count) => {
                for _ in 0..*count {
                    let text = format!("{} ", model.written).repeat(usize::from(*count) * 20);
                    model.written += 1;
                    let text: String = text.chars().take(250).collect();
                    let seq = writer.append(*lane, &block_of(1, &text), at(seconds)).unwrap();
                    model.waiting.entry(*lane).or_default().push_back((seq, text, false));
                    if *lane == Lane::Vital {
                        model.live.insert(seq);
                    }
                }
            }
            Step::Read(lane, count) => {
                for _ in 0..*count {
                    let read = reader.read_next(*lane).unwrap().map(|(seq, block)| (seq, text_of(&block)));
                    let expected = model.give(*lane, false);
                    prop_assert_eq!(&read, &expected);
                    given.entry(*lane).or_default().extend(read.map(|(seq, _)| seq));
                }
            }
            Step::ReadLive(count) => {
                for _ in 0..*count {
                    let read = reader.read_live().unwrap().map(|(seq, block)| (seq, text_of(&block)));
                    let expected = model.give(Lane::Vital, true);
                    prop_assert_eq!(&read, &expected);
                    given.entry(Lane::Vital).or_default().extend(read.map(|(seq, _)| seq));
                }
            }
            Step::Acknowledge(lane, index) => {
                let seqs = given.entry(*lane).or_default();
                if !seqs.is_empty() {
                    let seq = seqs.remove(index.index(seqs.len()));
                    reader.acknowledge(seq).unwrap();
                    model.waiting.entry(*lane).or_default().retain(|(waiting, _, _)| *waiting != seq);
                }
            }
            Step::Rewind => {
                reader.rewind();
                forget_given(&mut model);
            }
            Step::Maintain(later) => {
                seconds += u64::from(*later);
                writer.maintain(at(seconds)).unwrap();
            }
            Step::Close | Step::Crash => {
                if matches!(step, Step::Close) {
                    writer.close().unwrap();
                    drop(reader);
                } else {
                    let copy = TempDir::new().unwrap();
                    copy_tree(&home, copy.path());
                    drop((writer, reader));
                    home = copy.path().to_owned();
                    kept.push(copy);
                }
                (writer, reader, _) = open_small(&home);
                given.clear();
                take_up(&mut model, &mut reader)?;
                reader.rewind();
                forget_given(&mut model);
            }
        }
        for lane in Lane::ALL {
            let waiting = model.waiting.get(&lane).map_or(0, VecDeque::len);
            prop_assert_eq!(reader.depth(lane).blocks, u64::try_from(waiting).unwrap());
        }
    }
    Ok(())
}

impl Model {
    /// The next of a stream.
    fn give(&mut self, lane: Lane, live: bool) -> Option<(Seq, String)> {
        let waiting = self.waiting.entry(lane).or_default();
        let is_next = |seq: &Seq| self.live.contains(seq) == live;
        let next = waiting.iter_mut().find(|(seq, _, is_given)| !is_given && is_next(seq))?;
        next.2 = true;
        Some((next.0, next.1.clone()))
    }
}

fn forget_given(model: &mut Model) {
    model.live.clear();
    model.waiting.values_mut().flatten().for_each(|(_, _, is_given)| *is_given = false);
}

/// Compares a store that was just opened, and takes up what it gives again.
fn take_up(model: &mut Model, reader: &mut Reader) -> Result<(), TestCaseError> {
    for lane in Lane::ALL {
        let found = drain(reader, lane);
        let waiting = model.waiting.entry(lane).or_default();
        for (seq, text, _) in waiting.iter() {
            prop_assert!(found.contains(&(*seq, text.clone())), "{} is lost", seq);
        }
        prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, once each");
        *waiting = found.into_iter().map(|(seq, text)| (seq, text, false)).collect();
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_a_map_and_a_list_would_do(steps in prop::collection::vec(step(), 1..60)) {
        run_model(&steps)?;
    }
}

#[test]
fn a_start_that_is_cut_short_gives_no_number_twice() {
    let home = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, _) = open_small(home.path());
    let mut used = BTreeSet::new();
    for number in 0..3 {
        used.insert(writer.append(Lane::Alarm, &block_of(1, &number.to_string()), at(1)).unwrap());
        let (seq, _) = reader.read_next(Lane::Alarm).unwrap().unwrap();
        reader.acknowledge(seq).unwrap();
    }
    reader.save().unwrap();
    // A crash: no close.
    drop((writer, reader));
    // The next start is cut short behind the first lane.
    let stone = home.path().join("vital").join("1.going");
    drop(fs::File::create(&stone).unwrap());
    assert!(open_on(Arc::new(Sled), &config(home.path()), SMALL).is_err());
    fs::remove_file(&stone).unwrap();
    let (mut writer, _reader, _) = open_small(home.path());
    let seq = writer.append(Lane::Alarm, &block_of(1, "new"), at(9)).unwrap();
    assert!(!used.contains(&seq), "{seq} again");
}

#[test]
fn a_cursor_that_cannot_be_written_gives_no_number_twice() {
    let home = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, _) = open_small(home.path());
    let stone = home.path().join("alarm").join("cursor.unfinished");
    fs::create_dir(&stone).unwrap();
    let mut used = BTreeSet::new();
    for number in 0..8 {
        used.insert(writer.append(Lane::Alarm, &block_of(1, &number.to_string()), at(1)).unwrap());
        let (seq, _) = reader.read_next(Lane::Alarm).unwrap().unwrap();
        let _ = reader.acknowledge(seq);
    }
    let _ = writer.maintain(at(100));
    drop((writer, reader));
    fs::remove_dir(&stone).unwrap();
    let (mut writer, _reader, _) = open_small(home.path());
    let seq = writer.append(Lane::Alarm, &block_of(1, "new"), at(9)).unwrap();
    assert!(!used.contains(&seq), "{seq} again");
}
