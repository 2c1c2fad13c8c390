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
use crate::envelope::keys::{Kek, KeyError, KeySource, Protection};
use crate::envelope::record::{Entry, Record};
use crate::policy::DeviceCard;
use crate::time::{ClockSync, Mono, Wall};

mod anchor;
mod damage;
mod everything;
mod faults;
mod live;
mod model;
mod numbers;
mod room;
mod rotation;

struct Fixed(u8);

impl KeySource for Fixed {
    fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        Ok(Zeroizing::new([self.0; 32]))
    }

    fn protection(&self) -> Protection {
        Protection::File
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
    Config {
        folder: folder.to_owned(),
        anchor: None,
        cap: 1024 * MIB,
        alarm_reserve: 4 * MIB,
        linger: Duration::ZERO,
    }
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
        location: None,
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
            record: None,
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
    packed_block(seed, usize::MAX)
}

/// A number of records that are not to be compressed, or as many as fit.
fn packed_block(seed: u64, records: usize) -> PlainBlock {
    let mut builder =
        BlockBuilder::new(&BlockHeader { boot: BootId([5; 16]), run: seed, devices: Vec::new() });
    let mut state = seed.wrapping_add(1);
    while !builder.is_full() && builder.count() < records {
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
            Value::Decimal(_) | Value::Absent(_) | Value::Bits(_) | Value::Alarm(_) | Value::Samples(_) => {
                panic!("not a text")
            }
        },
        Entry::Gap(gap) => format!("gap {}: {}", gap.count, gap.reason),
        Entry::Event(event) => format!("event {event:?}"),
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
    assert_eq!(found.torn, Vec::<String>::new(), "every commit had ended");
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
fn a_small_commit_is_written_once_and_little_beside_it() {
    let folder = TempDir::new().unwrap();
    let (mut writer, reader, _) = open_on(Arc::new(Sled), &config(folder.path()), Limits::default()).unwrap();
    // About what a hundred devices say in a quarter of a second.
    let blocks = 1_000;
    for seed in 0..blocks {
        writer.append(Lane::Vital, &packed_block(seed, 5), at(1)).unwrap();
    }
    let file = database_file(&segment_folders(folder.path(), Lane::Vital)[0]);
    let length = fs::metadata(&file).unwrap().len();
    let raw = raw::RawSegment::scan(&file).unwrap();
    let sealed: u64 = (0..1_000).map(|block| u64::from(raw.label(block).unwrap().total)).sum();
    assert!(sealed > blocks * 1_000, "{sealed}");
    assert!(length < sealed + blocks * 300, "{length} bytes for {sealed}");
    drop(reader);
}

#[test]
fn a_file_that_was_got_ready_does_not_grow_with_each_commit() {
    let folder = TempDir::new().unwrap();
    let (mut writer, reader, _) = open_on(Arc::new(Sled), &config(folder.path()), Limits::default()).unwrap();
    let mut file = None;
    let mut growths = 0;
    let mut before = 0;
    for second in 0..300 {
        for quarter in 0..4 {
            writer.append(Lane::Vital, &packed_block(second * 4 + quarter, 5), at(second)).unwrap();
            let file =
                file.get_or_insert_with(|| database_file(&segment_folders(folder.path(), Lane::Vital)[0]));
            let length = fs::metadata(file).unwrap().len();
            growths += u32::from(length != before && second > 0);
            before = length;
        }
        writer.maintain(at(second)).unwrap();
        before = fs::metadata(file.as_ref().unwrap()).unwrap().len();
    }
    assert!(growths < 300, "{growths} of 1,200 commits made it grow: all but those at its beginning");
    // A crash leaves the zeros, a close gives them back.
    let crashed = TempDir::new().unwrap();
    copy_tree(folder.path(), crashed.path());
    let (_writer, mut after, found) = open_small(crashed.path());
    assert_eq!((found.blocks, found.gaps.len(), found.faults, found.torn), (1_200, 0, vec![], vec![]));
    writer.close().unwrap();
    let length = fs::metadata(file.unwrap()).unwrap().len();
    assert!(length % (256 * 1024) != 0 && length < before, "{length} of {before}");
    drop(reader);
    let (_writer, mut reader, found) = open_small(folder.path());
    assert_eq!((found.gaps.len(), found.faults), (0, vec![]));
    for store in [&mut after, &mut reader] {
        for seed in 0..1_200 {
            let (_, block) = next_of(store, Lane::Vital).unwrap();
            assert_eq!(block.read().unwrap(), packed_block(seed, 5).read().unwrap());
        }
        assert_eq!(store.stats().snapshot().faults, 0);
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
