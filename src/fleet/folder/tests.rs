use super::*;
use crate::fleet::documents::{Role, Stamp};
use crate::fleet::dsse::Envelope;
use crate::fleet::health::Baseline;
use crate::fleet::key::PrivateKey;
use crate::time::Wall;

fn root(version: u64) -> Vec<u8> {
    let keys = [1, 2, 3].map(|seed| PrivateKey::from_seed(&zeroize::Zeroizing::new([seed; 32])));
    let roles = keys.each_ref().map(|key| Role { keys: vec![key.public()], threshold: 1 });
    let expires = Stamp(Wall::read("2027-11-22").unwrap());
    let root = Root::new("st-anna".to_owned(), version, expires, roles).unwrap();
    let mut envelope = Envelope::new(Root::PAYLOAD_TYPE, root.to_payload());
    envelope.sign(&keys[0]);
    envelope.to_bytes()
}

fn recipient() -> Recipient {
    Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() }
}

fn slot(bytes: &[u8], version: u64) -> Slot {
    Slot { version, sha256: Digest::of(bytes) }
}

fn names(path: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_kept_is_there_after_a_start_and_nothing_else_stays() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fleet");
    let (mut folder, mut trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
    assert!(matches!(
        Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)),
        Err(FolderError::Enrolled(_))
    ));
    trust.root_offered(&root(2)).unwrap();
    folder.root(&root(2), trust.marks()).unwrap();
    for (version, bundle) in [(1, b"one"), (2, b"two")] {
        assert!(folder.stage(slot(bundle, version), bundle, trust.marks()).unwrap());
    }
    folder.step(|change| change.begin(Baseline::default())).unwrap();
    folder.step(Change::commit).unwrap();
    assert!(folder.stage(slot(b"three", 3), b"three", trust.marks()).unwrap());
    let (again, resumed) = Folder::open(&path, recipient()).unwrap();
    assert_eq!((again.change(), resumed.marks()), (folder.change(), trust.marks()));
    assert_eq!(again.bundle(slot(b"two", 2)).unwrap(), b"two");
    let digest = |bytes: &[u8]| Digest::of(bytes).to_string().chars().take(8).collect::<String>();
    let bundles =
        [(2, &b"two"[..]), (3, b"three")].map(|(v, bytes)| format!("bundle-{v}-{}.json", digest(bytes)));
    let expected = [&bundles[..], &["root-2.json", "state.a", "state.b"].map(str::to_owned)].concat();
    assert_eq!(names(&path), expected);
}

#[test]
fn what_was_changed_on_the_disk_is_not_believed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fleet");
    assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::NotEnrolled(_))));
    let (mut folder, trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
    folder.stage(slot(b"one", 1), b"one", trust.marks()).unwrap();
    assert!(matches!(folder.stage(slot(b"one", 1), b"other", trust.marks()), Err(FolderError::Changed(_))));
    let bundle = path.join(bundle_name(slot(b"one", 1)));
    atomic_file::write(&bundle, b"two").unwrap();
    assert!(matches!(folder.bundle(slot(b"one", 1)), Err(FolderError::Changed(_))));
    atomic_file::write(&path.join("root-1.json"), &root(2)).unwrap();
    assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Refused { .. })));
    for state in PLACES {
        atomic_file::write(&path.join(state), b"{}").unwrap();
    }
    assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Broken { .. })));
    atomic_file::remove(&path.join("root-1.json")).unwrap();
    assert!(matches!(Folder::open(&path, recipient()), Err(FolderError::Broken { .. })));
}

/// The newest copy of the state may decay; the one before it must then be of use.
#[test]
fn either_copy_of_the_state_names_files_that_are_there() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fleet");
    let (mut folder, mut trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
    let check = || {
        for newest in PLACES {
            let kept = atomic_file::read(&path.join(newest), MAX_COPY).unwrap();
            atomic_file::write(&path.join(newest), b"{}").unwrap();
            let (folder, _) = Folder::open(&path, recipient()).unwrap();
            for slot in [folder.change().running(), folder.change().effective(), folder.change().staged()] {
                assert!(slot.is_none_or(|slot| folder.bundle(slot).is_ok()), "{slot:?} without {newest}");
            }
            atomic_file::write(&path.join(newest), &kept).unwrap();
        }
    };
    for (version, bundle) in [(1, b"one"), (2, b"two")] {
        folder.stage(slot(bundle, version), bundle, trust.marks()).unwrap();
        check();
        folder.step(|change| change.begin(Baseline::default())).unwrap();
        check();
        folder.step(Change::commit).unwrap();
        check();
    }
    trust.root_offered(&root(2)).unwrap();
    folder.root(&root(2), trust.marks()).unwrap();
    check();
    // A start that reads both copies sweeps no more than the one before did.
    let (mut folder, _) = Folder::open(&path, recipient()).unwrap();
    folder.stage(slot(b"three", 3), b"three", trust.marks()).unwrap();
    check();
    assert!(!path.join("root-1.json").exists(), "no copy names it any more");
}

#[test]
fn a_step_that_is_not_durable_has_not_been_taken() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fleet");
    let (mut folder, mut trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
    folder.stage(slot(b"one", 1), b"one", trust.marks()).unwrap();
    let before = folder.kept.clone();
    let obstacles = PLACES.map(|place| path.join(format!("{place}{}", atomic_file::UNFINISHED)));
    for obstacle in &obstacles {
        std::fs::create_dir(obstacle).unwrap();
    }
    trust.root_offered(&root(2)).unwrap();
    assert!(folder.step(|change| change.begin(Baseline::default())).is_err());
    assert!(folder.root(&root(2), trust.marks()).is_err());
    assert!(folder.stage(slot(b"two", 2), b"two", trust.marks()).is_err());
    assert_eq!(folder.kept, before);
    for obstacle in &obstacles {
        std::fs::remove_dir(obstacle).unwrap();
    }
    // And what is too long to be read again is not written either.
    let long = Baseline { devices: vec!["x".repeat(MAX_COPY)], ..Baseline::default() };
    let fault = folder.step(|change| change.begin(long)).unwrap_err();
    assert!(matches!(fault, FolderError::TooLong(_)), "{fault}");
    assert_eq!((&folder.kept, Folder::open(&path, recipient()).unwrap().0.kept), (&before, before.clone()));
    assert!(folder.step(|change| change.begin(Baseline::default())).unwrap().is_some());
}

#[test]
fn two_roots_that_come_at_once_are_each_kept_under_its_own_name() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("fleet");
    let (mut folder, mut trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root(1)).unwrap();
    let bundle = (slot(b"one", 1), b"one".as_slice());
    for version in [2, 3] {
        trust.root_offered(&root(version)).unwrap();
    }
    // What is acted on before the last one is kept does not speak of it.
    folder.root(&root(2), trust.marks()).unwrap();
    folder.see(trust.marks()).unwrap();
    assert!(folder.stage(bundle.0, bundle.1, trust.marks()).is_err());
    assert_eq!(Folder::open(&path, recipient()).unwrap().1.root().version, 1);
    folder.root(&root(3), trust.marks()).unwrap();
    assert_eq!(Folder::open(&path, recipient()).unwrap().1.root().version, 3);
    assert!(folder.stage(bundle.0, bundle.1, trust.marks()).unwrap());
}
