//! The fuzzer's corpus, and a bounded number of changes of it, into every serial driver and every BLE profile: a smoke run of what
//! `cargo +nightly fuzz run drivers` does without end.

#![cfg(feature = "lab")]
#![cfg(test)]

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use wardline::device::catalogue::BleProfile;
use wardline::device::storm::{Subject, converse, subject, subjects};
use wardline::link::Characteristic;

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

/// The subjects by their places.
fn all() -> impl Iterator<Item = (usize, Subject)> {
    (0..subjects()).map(|place| (place, subject(place).unwrap()))
}

/// What a subject is known to be told.
fn from_vectors(subject: &Subject) -> Vec<Vec<u8>> {
    match subject {
        Subject::Serial(model) => of_serial(model.name),
        Subject::Ble(profiles) => {
            let places = subject.characteristics();
            profiles.iter().flat_map(|profile| of_ble(profile, &places)).collect()
        }
    }
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| u8::try_from(digit).unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair.get(1).copied().unwrap_or(0)).collect()
}

/// The vectors of a profile as conversations: a connection whose reads are answered, as the vector says where it
/// says so; the value; a timeout; and all of them on one connection.
fn of_ble(profile: &BleProfile, places: &[Characteristic]) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(profile.name);
    let text = std::fs::read_to_string(path.join("vectors.json")).unwrap();
    let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let place = |uuid: &str| {
        let uuid = u16::from_str_radix(uuid, 16).unwrap();
        let of = Characteristic { service: profile.service, uuid };
        u8::try_from(places.iter().position(|known| *known == of)?).ok()
    };
    let mut together = vec![0xC0, 0xA8];
    let mut scripts = Vec::new();
    for vector in &vectors {
        // Up, and who it is: maker, model, serial number, firmware.
        let mut script = vec![0xC0, 0xA9, 1, b'm', 0xA9, 1, b'o', 0xA9, 2, b's', b'1', 0xA9, 0];
        let mut answer = |of: &str, octets: &[u8]| {
            let Some(place) = place(of) else { return };
            script.extend([0x60 + u8::try_from(octets.len().min(0x3F)).unwrap(), place]);
            script.extend_from_slice(octets);
        };
        for (of, hex) in vector["asks"].as_object().into_iter().flatten() {
            answer(of, &octets(hex.as_str().unwrap()));
        }
        let (of, value) =
            (vector["characteristic"].as_str().unwrap(), octets(vector["hex"].as_str().unwrap()));
        // What a decoder asks for only because of what it was told has no place of its own here.
        let Some(of_value) = place(of) else { continue };
        let is_subscribed = profile.subscribes.contains(&places[usize::from(of_value)]);
        if !is_subscribed {
            // What is only read says what it has to say as an answer.
            answer(of, &value);
        }
        let [low, high] = u16::try_from(value.len()).unwrap().to_le_bytes();
        let mut said = vec![0xAA, low, high, of_value];
        said.extend(value);
        script.push(0xA8);
        script.extend_from_slice(&said);
        script.extend([0xC4, 0xC2, 0xC1]);
        scripts.push(script);
        together.extend(said);
    }
    scripts.push(together);
    scripts
}

/// Every vector as a conversation: up, its bytes in pieces, a timeout now and then; and only listened to.
fn of_serial(model: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(model);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let vector: serde_json::Value = serde_json::from_str(&text).unwrap();
        let bytes = match (vector["capture"].as_str(), vector["hex"].as_str()) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(hex)) => octets(hex),
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
    for (place, subject) in all() {
        let mut scripts = from_vectors(&subject);
        let told = |script: &Vec<u8>| converse(&with_head(&subject, place, 0, script));
        let known: u64 = scripts.iter().map(told).sum();
        assert!(known > 0, "{}: none of its vectors gave an observation", subject.name());
        scripts.extend(committed.iter().map(|entry| entry.get(2..).unwrap_or_default().to_vec()));
        let mut dice = Dice(u64::try_from(place).unwrap());
        for script in &scripts {
            converse(&with_head(&subject, place, 0xFF, script));
        }
        for _ in 0..ROUNDS {
            let (one, other) = (dice.roll(scripts.len()), dice.roll(scripts.len()));
            let mut script = scripts[one].clone();
            for _ in 0..=dice.roll(6) {
                change(&mut dice, &mut script, &scripts[other]);
            }
            converse(&with_head(&subject, place, dice.byte(), &script));
        }
    }
}

/// The subject's place, the settings of a serial model, the script.
fn with_head(subject: &Subject, place: usize, set: u8, script: &[u8]) -> Vec<u8> {
    let mut data = vec![u8::try_from(place).unwrap()];
    if matches!(subject, Subject::Serial(_)) {
        data.push(set);
    }
    data.extend_from_slice(script);
    data
}

/// Endless beginnings of frames, and endless values of every kind: no driver keeps more of them than a frame is
/// long. The second half of them finds the memory that the first half took.
#[test]
fn no_driver_hoards() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, subject) in all() {
        let openings: Vec<Vec<u8>> = from_vectors(&subject);
        let (first, second) = openings.split_at(openings.len() / 2);
        swallow(place, &subject, first);
        let before = resident();
        swallow(place, &subject, second);
        swallow(place, &subject, second);
        let grown = resident().saturating_sub(before);
        assert!(grown < 4 * 1024, "{} keeps {grown} KiB of {} KiB", subject.name(), second.len() * 800);
    }
}

fn swallow(place: usize, subject: &Subject, openings: &[Vec<u8>]) {
    for opening in openings {
        let mut script = vec![0xC0];
        match subject {
            Subject::Serial(_) => {
                let opening: Vec<u8> = opening.iter().copied().take(24).collect();
                while script.len() < 400_000 {
                    script.push(0xBF);
                    script.extend(opening.iter().copied().cycle().take(0xBF));
                }
            }
            // What it is told on one connection, without the end of it, again and again.
            Subject::Ble(_) => {
                script.push(0xA8);
                let end = opening.len().saturating_sub(3);
                while script.len() < 40_000 {
                    script.extend(opening.iter().copied().take(end).skip(1));
                }
            }
        }
        converse(&with_head(subject, place, 0, &script));
    }
}

/// Of this process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
