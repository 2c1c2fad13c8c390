//! The fuzzer's corpus, and a bounded number of changes of it, into every driver: a smoke run of what
//! `cargo +nightly fuzz run drivers` does without end.

#![cfg(feature = "lab")]
#![cfg(test)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use wardline::device::catalogue::serial_models;
use wardline::device::storm::converse;

/// How many changed conversations each driver has to stand.
const ROUNDS: u32 = 3_000;

/// A generator of numbers that is the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }
}

/// The committed corpus. The first byte of an entry picks the driver by its place in the catalogue, which
/// changes when one is added: every entry is tried on every driver.
fn corpus() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/drivers");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Every vector as a conversation: up, its bytes in pieces, a timeout now and then; and only listened to.
fn from_vectors(model: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(model);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        let bytes = match (vector["capture"].as_str(), vector["hex"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(hex)) => {
                let digits: Vec<u8> =
                    hex.chars().filter_map(|c| c.to_digit(16)).map(|d| u8::try_from(d).unwrap()).collect();
                digits.chunks(2).map(|pair| pair[0] * 16 + pair.get(1).copied().unwrap_or(0)).collect()
            }
            (None, None) => continue,
        };
        for opening in [&[0xC0, 0xC2, 0xC3, 5][..], &[][..]] {
            let mut script = opening.to_vec();
            for piece in bytes.chunks(0xBF) {
                script.push(u8::try_from(piece.len()).unwrap());
                script.extend_from_slice(piece);
                script.extend_from_slice(&[0xC2, 0xC4]);
            }
            script.push(0xC1);
            all.push(script);
        }
    }
    all
}

/// One change: a byte, a piece out, a piece twice, a piece of another one in.
fn change(dice: &mut Dice, script: &mut Vec<u8>, other: &[u8]) {
    let at = dice.roll(script.len() + 1);
    let end = (at + dice.roll(40)).min(script.len());
    match dice.roll(5) {
        0 if at < script.len() => script[at] = dice.byte(),
        1 => drop(script.drain(at..end)),
        2 => {
            let piece = script[at..end].to_vec();
            script.splice(at..at, piece);
        }
        3 => {
            let from = dice.roll(other.len() + 1);
            let to = (from + dice.roll(200)).min(other.len());
            script.splice(at..at, other[from..to].iter().copied());
        }
        _ => script.insert(at, 0xC0 + u8::try_from(dice.roll(8)).unwrap()),
    }
}

/// The memory of the process is looked at: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn no_driver_breaks_a_promise_whatever_comes_in() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let committed = corpus();
    assert!(committed.len() >= 20, "the committed corpus is gone");
    for (place, model) in serial_models().iter().enumerate() {
        let mut scripts = from_vectors(model.name);
        let known: u64 = scripts.iter().map(|script| converse(&with_head(place, 0, script))).sum();
        assert!(known > 0, "{}: none of its vectors gave an observation", model.name);
        scripts.extend(committed.iter().map(|entry| entry.get(2..).unwrap_or_default().to_vec()));
        let mut dice = Dice(u64::try_from(place).unwrap());
        for script in &scripts {
            converse(&with_head(place, 0xFF, script));
        }
        for _ in 0..ROUNDS {
            let (one, other) = (dice.roll(scripts.len()), dice.roll(scripts.len()));
            let mut script = scripts[one].clone();
            for _ in 0..=dice.roll(6) {
                change(&mut dice, &mut script, &scripts[other]);
            }
            converse(&with_head(place, dice.byte(), &script));
        }
    }
}

fn with_head(place: usize, set: u8, script: &[u8]) -> Vec<u8> {
    let mut data = vec![u8::try_from(place).unwrap(), set];
    data.extend_from_slice(script);
    data
}

/// Endless beginnings of frames: no driver keeps more of them than a frame is long. The second half of them
/// finds the memory that the first half took.
#[test]
fn no_driver_hoards() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, model) in serial_models().iter().enumerate() {
        let openings: Vec<Vec<u8>> = from_vectors(model.name)
            .into_iter()
            .map(|script| script.into_iter().take(24).collect())
            .collect();
        let (first, second) = openings.split_at(openings.len() / 2);
        swallow(place, first);
        let before = resident();
        swallow(place, second);
        swallow(place, second);
        let grown = resident().saturating_sub(before);
        assert!(grown < 4 * 1024, "{} keeps {grown} KiB of {} KiB", model.name, second.len() * 800);
    }
}

fn swallow(place: usize, openings: &[Vec<u8>]) {
    for opening in openings {
        let mut script = vec![0xC0];
        while script.len() < 400_000 {
            script.push(0xBF);
            script.extend(opening.iter().copied().cycle().take(0xBF));
        }
        converse(&with_head(place, 0, &script));
    }
}

/// Of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
