//! The fleet's folder under power cuts at every operation: staged, on trial, committed, taken back, each either whole
//! or not yet.

use std::path::Path;

use serde_json::json;
use wardline::fleet::change::{Change, Slot};
use wardline::fleet::documents::{Bundle, Digest, Document as _, Role, Root, Stamp};
use wardline::fleet::dsse::Envelope;
use wardline::fleet::folder::{Folder, FolderError};
use wardline::fleet::health::Baseline;
use wardline::fleet::key::PrivateKey;
use wardline::fleet::trust::{Marks, Recipient};
use wardline::lab::disk::{Disk, Op, Replay, Tree, run_as_root};
use wardline::time::Wall;
use zeroize::Zeroizing;

const MIB: u64 = 1024 * 1024;

/// What a cut leaves differs by its rules and chances.
const SEEDS: u64 = 12;

fn recipient() -> Recipient {
    Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() }
}

fn root() -> Vec<u8> {
    let key = |seed| PrivateKey::from_seed(&Zeroizing::new([seed; 32]));
    let role = |seeds: &[u8]| Role {
        keys: seeds.iter().map(|seed| key(*seed).public()).collect(),
        threshold: seeds.len().min(2),
    };
    let expires = Stamp(Wall::read("2027-11-22").unwrap());
    let root =
        Root::new("st-anna".to_owned(), 1, expires, [role(&[1, 2, 3]), role(&[11, 12, 13]), role(&[21])]);
    let mut envelope = Envelope::new(Root::PAYLOAD_TYPE, root.unwrap().to_payload());
    envelope.sign(&key(1));
    envelope.sign(&key(2));
    envelope.to_bytes()
}

/// What the folder takes for a bundle: who signed it was asked before.
fn bundle(version: u64) -> (Slot, Vec<u8>) {
    let text = json!({ "version": version, "devices": vec!["pump"; 400] }).to_string();
    let bytes = Envelope::new(Bundle::PAYLOAD_TYPE, text.into_bytes()).to_bytes();
    (Slot { version, sha256: Digest::of(&bytes) }, bytes)
}

/// What is on the disk: which bundle is what, each of them readable.
fn found(path: &Path) -> Result<Change, FolderError> {
    let (folder, _) = Folder::open(path, recipient())?;
    let change = folder.change().clone();
    for slot in [change.running(), change.on_trial(), change.staged()].into_iter().flatten() {
        folder.bundle(slot)?;
    }
    Ok(change)
}

/// All that a gateway does with two bundles; after each step, what holds and how many operations that took.
fn steps(path: &Path, disk: &Disk) -> Vec<(usize, Change)> {
    let mut held = Vec::new();
    let (mut folder, trust) = Folder::enrol(path, recipient(), "icu-3".to_owned(), &root()).unwrap();
    let marks: Marks = trust.marks().clone();
    let mut done = |folder: &Folder| held.push((disk.position(), folder.change().clone()));
    done(&folder);
    for (version, is_good) in [(7, true), (8, false), (9, true)] {
        let (slot, bytes) = bundle(version);
        assert!(folder.stage(slot, &bytes, &marks).unwrap());
        done(&folder);
        assert!(folder.step(|change| change.begin(Baseline::default())).unwrap().is_some());
        done(&folder);
        folder.step(Change::started).unwrap();
        done(&folder);
        let ended = if is_good {
            folder.step(Change::commit)
        } else {
            folder.step(|change| change.roll_back("devices: pump-1 has given nothing for 60 s"))
        };
        assert!(ended.unwrap().is_some());
        done(&folder);
    }
    held
}

#[test]
fn a_power_cut_at_any_operation_leaves_the_step_before_or_the_step_itself() {
    let own = "fleet::a_power_cut_at_any_operation_leaves_the_step_before_or_the_step_itself";
    if !run_as_root(own).unwrap() {
        return;
    }
    let (held, record) = recorded();
    let mut replay = Replay::new(&Tree::default());
    let (mut cuts, mut torn) = (0u64, 0u64);
    for position in 0..=record.len() {
        let reached = held.iter().filter(|(at, _)| *at <= position).count();
        for seed in 0..SEEDS {
            let (tree, survived) = replay.cut(seed.wrapping_mul(7_919).wrapping_add(position as u64));
            torn += survived.torn + survived.dropped;
            let place = tempfile::tempdir().unwrap();
            let disk = place.path().join("disk");
            tree.write_to(&disk).unwrap();
            let allowed: Vec<&Change> =
                held.iter().skip(reached.saturating_sub(1)).take(2).map(|(_, change)| change).collect();
            match found(&disk.join("fleet")) {
                Ok(change) => {
                    assert!(allowed.contains(&&change), "operation {position}: {change:?}, not {allowed:?}");
                }
                // The first step is a person's: it is done again.
                Err(error) => assert!(reached == 0, "operation {position}, seed {seed}: {error}"),
            }
            cuts += 1;
        }
        if let Some(op) = record.get(position) {
            replay.handle(op, false);
        }
    }
    assert!(cuts > 1_000 && torn > 100, "{cuts} cuts, {torn} torn or dropped");
}

/// A folder that does not sync is found out, or the trials above prove nothing.
#[test]
fn a_folder_that_left_out_its_syncs_is_found_out() {
    if !run_as_root("fleet::a_folder_that_left_out_its_syncs_is_found_out").unwrap() {
        return;
    }
    let (held, record) = recorded();
    let mut replay = Replay::new(&Tree::default());
    let mut lost = 0u64;
    for (position, op) in record.iter().enumerate() {
        replay.handle(op, op.synced().is_some());
        let reached = held.iter().filter(|(at, _)| *at <= position + 1).count();
        let Some((_, expected)) = reached.checked_sub(1).and_then(|last| held.get(last)) else { continue };
        let (tree, _) = replay.cut(position as u64);
        let place = tempfile::tempdir().unwrap();
        let disk = place.path().join("disk");
        tree.write_to(&disk).unwrap();
        let next = held.get(reached).map(|(_, change)| change);
        let is_kept =
            found(&disk.join("fleet")).is_ok_and(|change| change == *expected || Some(&change) == next);
        lost += u64::from(!is_kept);
    }
    assert!(lost > 10, "{lost} cuts were found out");
}

fn recorded() -> (Vec<(usize, Change)>, Vec<Op>) {
    let place = tempfile::tempdir().unwrap();
    let disk = Disk::mount(place.path(), Tree::default(), 64 * MIB).unwrap();
    let held = steps(&place.path().join("fleet"), &disk);
    let record = disk.record();
    disk.unmount().unwrap();
    (held, record)
}
