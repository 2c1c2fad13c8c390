//! The store from outside: a process that is killed while it writes loses nothing that it reported,
//! and threads that read and write at the same time see the same store.
//!
//! The test binary runs itself again as the process to be killed (`WARDLINE_STORE_WRITER`).

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, its helpers too")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start threads, and read what their parent process told them"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use wardline::device::observation::Lane;
use wardline::envelope::block::{BlockBuilder, BlockHeader, PlainBlock};
use wardline::envelope::keys::{Kek, KeyFile};
use wardline::envelope::record::{Entry, Gap};
use wardline::host::atomic_file;
use wardline::store::{self, Config, Reader, Recovery, Seq, StoreError, Writer};
use wardline::time::{BootId, ClockSync, Mono, Now, Wall};

const WRITER: &str = "WARDLINE_STORE_WRITER";

fn at(seconds: u64) -> Now {
    let wall = Wall::from_millis(i64::try_from(seconds).unwrap() * 1_000);
    Now {
        mono: Mono::default() + Duration::from_secs(seconds),
        wall,
        sync: ClockSync::Unsynced,
        max_error_us: 0,
    }
}

fn open(home: &Path) -> Result<(Writer, Reader, Recovery), StoreError> {
    let kek = Kek::load(&KeyFile::new(home.join("kek"))).expect("the key");
    let config = Config {
        folder: home.join("store"),
        cap: 512 * 1024 * 1024,
        alarm_reserve: 16 * 1024 * 1024,
        anchor: None,
        linger: Duration::ZERO,
    };
    let random = Arc::new(ring::rand::SystemRandom::new());
    let limits = store::Limits { blocks: 300, ..store::Limits::default() };
    store::open_with_limits(&config, kek.into(), (BootId([1; 16]), at(0)), random, limits)
}

fn new_home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    atomic_file::write(&home.path().join("kek"), b"0123456789abcdef0123456789ABCDEF").unwrap();
    home
}

/// A block of one record that can be told from every other by its text.
fn block(text: &str) -> PlainBlock {
    let mut builder = BlockBuilder::new(&BlockHeader { boot: BootId([1; 16]), run: 1, devices: Vec::new() });
    let (first, last) = (Wall::from_millis(1), Wall::from_millis(2));
    builder.push_gap(&Gap { lane: Lane::Bulk, count: 1, first, last, reason: text.to_owned() }).unwrap();
    builder.finish()
}

/// The next block of a lane as if it had one stream: what waits, then what is live.
fn next_of(reader: &mut Reader, lane: Lane) -> Option<(Seq, PlainBlock)> {
    match reader.read_next(lane).unwrap() {
        None if lane == Lane::Vital => reader.read_live().unwrap(),
        next => next,
    }
}

fn text(block: &PlainBlock) -> String {
    match block.read().unwrap().1.into_iter().next().unwrap() {
        Entry::Gap(gap) => gap.reason,
        Entry::Event(event) => panic!("{event:?}"),
        Entry::Observation(record) => panic!("{record:?}"),
    }
}

/// The process that is killed: writes to every lane and says each time what is durable.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(home) = std::env::var(WRITER) else { return };
    let (mut writer, mut reader, _) = open(Path::new(&home)).unwrap();
    let mut out = std::io::stdout().lock();
    for number in 0u64.. {
        let lane = Lane::ALL[usize::try_from(number % 3).unwrap()];
        let name = format!("{} {number}", std::process::id());
        let padded = format!("{name:.<220}");
        let seq = writer.append(lane, &block(&padded), at(number / 50)).unwrap();
        writeln!(out, "durable {seq} {name}").unwrap();
        // The other side works too: some of it is acknowledged, and said so before.
        if number % 7 == 0
            && let Some((seq, read)) = next_of(&mut reader, lane)
        {
            writeln!(out, "done {seq} {}", text(&read).trim_end_matches('.')).unwrap();
            reader.acknowledge(seq).unwrap();
        }
    }
}

#[test]
fn nothing_that_was_reported_durable_is_lost_when_the_process_is_killed() {
    let home = new_home();
    // By its place, as the key that travels with it is made of the place.
    let mut waiting: BTreeMap<String, String> = BTreeMap::new();
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut state = 3u64;
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(WRITER, home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut left = 1 + (state >> 40) % 400;
        for line in lines {
            let Ok(line) = line else { break };
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("durable"), Some(seq), Some(name)) => {
                    let before = waiting.insert(seq.to_owned(), name.to_owned());
                    assert_eq!(before, None, "place {seq} was given twice");
                    assert!(!done.contains(seq), "place {seq} was given twice");
                }
                (Some("done"), Some(seq), Some(_)) => {
                    done.insert(seq.to_owned());
                }
                _ => {}
            }
            left -= 1;
            if left == 0 {
                // While it goes on writing: what it reports until it is dead is read to the end.
                child.kill().unwrap();
                left = u64::MAX;
            }
        }
        child.wait().unwrap();
        let (writer, mut reader, found) = open(home.path()).unwrap();
        assert_eq!((found.gaps.len(), found.faults.len()), (0, 0), "round {round}: {found:?}");
        let mut seen = BTreeMap::new();
        for lane in Lane::ALL {
            while let Some((seq, read)) = next_of(&mut reader, lane) {
                let name = text(&read).trim_end_matches('.').to_owned();
                assert_eq!(seen.insert(seq.to_string(), name), None);
            }
        }
        for (seq, name) in &waiting {
            assert!(
                seen.get(seq) == Some(name) || done.contains(seq),
                "round {round}: {seq} ({name}) was reported durable and is gone"
            );
        }
        // What was written but not reported before the kill counts from now on.
        waiting = seen;
        drop((writer, reader));
    }
    assert!(waiting.len() + done.len() > 200, "the children did write: {}", waiting.len());
}

#[test]
fn reading_and_writing_go_on_at_the_same_time_in_two_threads() {
    const BLOCKS: usize = 1_500;
    let home = new_home();
    let (mut writer, mut reader, _) = open(home.path()).unwrap();
    let mut commits = reader.commits();
    let writing = std::thread::spawn(move || {
        for number in 0..BLOCKS {
            writer.append(Lane::Vital, &block(&number.to_string()), at(1)).unwrap();
        }
        writer
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut read = Vec::new();
    while read.len() < BLOCKS {
        match next_of(&mut reader, Lane::Vital) {
            Some((seq, block)) => {
                read.push(text(&block));
                reader.acknowledge(seq).unwrap();
            }
            None => runtime.block_on(commits.changed()).unwrap(),
        }
    }
    let writer = writing.join().unwrap();
    assert!(read.iter().enumerate().all(|(place, text)| *text == place.to_string()), "in order");
    let snapshot = writer.stats().snapshot();
    assert_eq!((snapshot.commits, snapshot.records, snapshot.dropped), (1_500, 1_500, 0));
    assert_eq!(snapshot.lanes[1].blocks, 0);
    assert!(snapshot.lanes[1].bytes < 1024 * 1024, "drained segments are gone: {snapshot:?}");
    writer.close().unwrap();
}

#[test]
fn a_store_whose_key_is_missing_or_another_is_refused_and_stays_as_it_is() {
    let home = new_home();
    let (mut writer, reader, _) = open(home.path()).unwrap();
    writer.append(Lane::Alarm, &block("precious"), at(1)).unwrap();
    drop((writer, reader));
    let path = home.path().join("kek");
    let good = atomic_file::read(&path, 64).unwrap();
    atomic_file::remove(&path).unwrap();
    assert!(Kek::load(&KeyFile::new(&path)).is_err());
    assert!(!path.exists(), "no key is made");
    atomic_file::write(&path, b"another key, just as long, but..").unwrap();
    let error = open(home.path()).err().unwrap();
    assert!(error.is_refusal(), "{error}");
    atomic_file::write(&path, &good).unwrap();
    let (_writer, mut reader, _) = open(home.path()).unwrap();
    assert_eq!(text(&reader.read_next(Lane::Alarm).unwrap().unwrap().1), "precious");
}
