//! The memory of the running daemon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use wardline::host::status;
use wardline::lab::ledger::Ledger;
use wardline::lab::sim::{Control, alaris, masimo};
use wardline::lab::stage::{self, Daemon};

use crate::memory::Snapshot;
use crate::needle;
use crate::support::{Bench, PATIENCE, within};

const OLD: &str = "CANARY-Propofol-4711";
const NEW: &str = "CANARY-Remifent-8150";

fn durable(status: &status::Snapshot) -> u64 {
    status.lanes.iter().map(|lane| lane.durable_total).sum()
}

fn pump_with(drug: &str) -> alaris::Values {
    alaris::Values { drug: drug.to_owned(), ..alaris::Values::default() }
}

/// The key-encryption key that the bench made.
fn kek(folder: &Path) -> [u8; 32] {
    key_file(&folder.join("kek"))
}

fn key_file(path: &Path) -> [u8; 32] {
    let text = std::fs::read_to_string(path).unwrap();
    std::array::from_fn(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
}

/// The data key of a segment, unwrapped from its header as `FORMAT.md` says: the last 60 bytes are
/// nonce, key and tag, and all before them is authenticated with it.
fn data_key(folder: &Path, lane: &str, number: u64) -> [u8; 32] {
    let header = std::fs::read(segment(folder, lane, number).unwrap().join("header")).unwrap();
    let (about, wrapped) = header.split_at(header.len() - 60);
    unwrapped(&kek(folder), about, wrapped)
}

/// A data key out of its wrapping.
pub(crate) fn unwrapped(kek: &[u8; 32], about: &[u8], wrapped: &[u8]) -> [u8; 32] {
    let (nonce, sealed) = wrapped.split_at(NONCE_LEN);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek).unwrap());
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let opened = key.open_in_place(nonce, Aad::from(about), &mut sealed).expect("the key opens");
    (&*opened).try_into().unwrap()
}

/// A segment's folder.
fn segment(folder: &Path, lane: &str, number: u64) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder.join("store").join(lane)).ok()?;
    let mut folders = entries.map(|entry| entry.unwrap().path());
    folders.find(|path| path.file_name().and_then(|name| name.to_str()?.parse().ok()) == Some(number))
}

fn nothing_of(daemon: &Daemon, needles: Vec<needle::Needle>) {
    let found = Snapshot::of(daemon.id()).find(needles);
    assert!(found.is_empty(), "{} found: {found:#?}", found.len());
}

fn is_there(daemon: &Daemon, needles: Vec<needle::Needle>) {
    let what = needles[0].what.clone();
    assert!(
        !Snapshot::of(daemon.id()).find(needles).is_empty(),
        "the search must find what is in use: {what}"
    );
}

/// Readings of the new drug, so many behind the one moment at which this is called.
async fn further(bench: &Bench, records: u64) {
    let before = durable(&bench.status("how much is durable", |_| true).await);
    bench.status("further readings", |status| durable(status) >= before + records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_was_stored_is_no_longer_in_the_memory() {
    let mut bench = Bench::new().await;
    let pump = bench.pump("pump-1", "8002-51733", pump_with(OLD));
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut daemon = bench.start_with(&[("WARDLINE_STORE__LINGER", "20ms")]);
    bench.status("readings", |status| durable(status) > 20).await;
    is_there(&daemon, needle::text("8002-51733"));
    is_there(&daemon, needle::key("the key-encryption key", &kek(bench.path())));
    pump.set(pump_with(NEW));
    further(&bench, 20).await;
    // It made the pseudonyms at the start and is not needed again.
    nothing_of(&daemon, needle::key("the ward's key", &key_file(&bench.path().join("ward"))));
    nothing_of(&daemon, needle::text(OLD));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reading_that_the_broker_has_is_no_longer_in_the_memory() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", pump_with(OLD));
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut daemon = bench.start_with(&[("WARDLINE_STORE__LINGER", "20ms")]);
    let has = |text: &'static str, least: usize| {
        move |ledger: &Ledger| {
            ledger.kept.iter().filter(|(_, reading)| reading.value.contains(text)).count() >= least
        }
    };
    within("the old drug at the consumer", bench.consumer.wait_for(has(OLD, 2))).await;
    is_there(&daemon, needle::text("8002-51733"));
    pump.set(pump_with(NEW));
    within("the new drug at the consumer", bench.consumer.wait_for(has(NEW, 4))).await;
    nothing_of(&daemon, needle::text(OLD));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

/// Oximeters at a rate that no real line has, so that segments fill.
async fn feed(oximeters: Vec<Control<masimo::Values>>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    for n in 0u64.. {
        ticks.tick().await;
        let bpm = u16::try_from(40 + n * 7 % 150).unwrap();
        let values = masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() };
        for oximeter in &oximeters {
            oximeter.set(values.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_closed_segment_is_no_longer_in_the_memory() {
    let mut bench = Bench::new().await;
    let (mut oximeters, mut devices) = (Vec::new(), String::new());
    for number in 0..8 {
        let (id, serial) = (format!("spo2-{number}"), format!("000005666{number}"));
        let oximeter = bench.oximeter(&id, &serial, 1_000_000);
        devices += &stage::serial_device(&id, "masimo-ascii1", &oximeter.path(), &serial);
        oximeters.push(oximeter);
    }
    bench.configure(&devices);
    let feeding = tokio::spawn(feed(oximeters));
    // Every reading a commit of its own, and room that makes segments of 2 MiB: full in seconds.
    let small = [
        ("WARDLINE_UPLINK__PAYLOAD", "cbor"),
        ("WARDLINE_STORE__LINGER", "5ms"),
        ("WARDLINE_STORE__CAP", "96MiB"),
        ("WARDLINE_STORE__ALARM_RESERVE", "48MiB"),
    ];
    let mut daemon = bench.start_with(&small);
    let closed = |n| segment(bench.path(), "vital", n).is_some_and(|folder| folder.join("footer").exists());
    let open = |n| segment(bench.path(), "vital", n).is_some_and(|folder| folder.join("header").exists());
    // However long this machine takes: as long as it goes on.
    while !(closed(1) && open(2)) {
        further(&bench, 500).await;
    }
    let keys: Vec<[u8; 32]> =
        (1..100).take_while(|n| open(*n)).map(|n| data_key(bench.path(), "vital", n)).collect();
    let (current, closed) = keys.split_last().unwrap();
    is_there(&daemon, needle::key("the data key in use", current));
    let closed: Vec<_> =
        closed.iter().zip(1..).flat_map(|(key, n)| needle::key(&format!("data key {n}"), key)).collect();
    nothing_of(&daemon, closed.clone());
    // The next start looks at what the last one left, and then sends it.
    feeding.abort();
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    let last = data_key(bench.path(), "vital", (1..100).take_while(|n| open(*n)).last().unwrap());
    let closed = [closed, needle::key("the last data key", &last)].concat();
    let mut daemon = bench.start_with(&small);
    bench.status("the second start", |status| status.lanes.iter().any(|lane| lane.blocks > 0)).await;
    nothing_of(&daemon, closed.clone());
    bench.serve().await;
    let mut left = u64::MAX;
    while left > 0 {
        let waiting = |status: &status::Snapshot| status.lanes.iter().map(|lane| lane.records).sum::<u64>();
        left = waiting(&bench.status("less in the store", |status| waiting(status) < left).await);
    }
    nothing_of(&daemon, closed);
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}
