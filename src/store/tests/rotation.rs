//! From one key to another, with the power cut anywhere in between.

use super::*;

fn open_with(folder: &Path, ring: KeyRing) -> Result<Store, StoreError> {
    let random = Arc::new(ring::rand::SystemRandom::new());
    let (config, disk) = (config_with_anchor(folder), Arc::new(Sled));
    let setup =
        recover::Setup { config: &config, keys: ring, boot: BootId([5; 16]), random, limits: SMALL, disk };
    recover::open(setup, at(0))
}

/// The store in a folder of its own, so that its mark is beside it and within the test's folder.
fn config_with_anchor(folder: &Path) -> Config {
    let folder = folder.join("store");
    Config { anchor: Some(anchor_beside(&folder)), ..config(&folder) }
}

/// The current key, and the one before.
fn both(current: u8, previous: u8) -> KeyRing {
    KeyRing { current: kek(current), previous: Some(kek(previous)) }
}

fn words_of(reader: &mut Reader) -> Vec<String> {
    Lane::ALL.into_iter().flat_map(|lane| texts(drain(reader, lane))).collect()
}

/// A store under key 1 with a few segments in each lane, and its words in the order of the lanes.
fn filled(folder: &Path) -> Vec<String> {
    let (mut writer, mut reader, _) = open_with(folder, kek(1).into()).unwrap();
    for number in 0..20 {
        for lane in Lane::ALL {
            put_text(&mut writer, lane, &format!("{lane} {number}"));
        }
    }
    let words = words_of(&mut reader);
    writer.close().unwrap();
    words
}

#[test]
fn every_step_may_be_the_last_before_a_power_cut() {
    let folder = TempDir::new().unwrap();
    let words = filled(folder.path());
    let bases: Vec<PathBuf> = segment_folders(&folder.path().join("store"), Lane::Vital);
    let data: Vec<Vec<u8>> = bases.iter().map(|base| fs::read(database_file(base)).unwrap()).collect();
    let (mut writer, reader, _) = open_with(folder.path(), both(2, 1)).unwrap();
    let stats = reader.stats();
    let mut steps = 0;
    while let Some(rotation) = stats.rotation() {
        assert_eq!((rotation.to, rotation.from), (kek(2).id(), kek(1).id()));
        // The power is cut here: the files as they are.
        let cut = TempDir::new().unwrap();
        copy_tree(folder.path(), cut.path());
        for (keys, word) in
            [(kek(2).into(), "previous key"), (kek(1).into(), "key"), (both(3, 2), "previous")]
        {
            let error = open_with(cut.path(), keys).err().unwrap();
            assert!(error.is_refusal() && error.to_string().contains(word), "{error}");
        }
        let (_writer, mut after, found) = open_with(cut.path(), both(2, 1)).unwrap();
        assert_eq!((found.faults, found.gaps), (vec![], vec![]), "after {steps} steps");
        assert_eq!(words_of(&mut after), words, "after {steps} steps");
        writer.maintain(at(steps)).unwrap();
        steps += 1;
        assert!(steps < 100, "it has no end");
    }
    assert!(steps > 8, "one segment a step, and the end: {steps}");
    // Over: the new key is enough, and the old one opens nothing.
    drop((writer, reader));
    let (writer, mut reader, found) = open_with(folder.path(), kek(2).into()).unwrap();
    assert_eq!((found.faults, found.gaps), (vec![], vec![]));
    assert_eq!(words_of(&mut reader), words);
    drop((writer, reader));
    let after: Vec<Vec<u8>> = bases.iter().map(|base| fs::read(database_file(base)).unwrap()).collect();
    assert_eq!(data, after, "no byte of the data was written");
    assert!(matches!(open_with(folder.path(), kek(1).into()), Err(StoreError::WrongKey { .. })));
}

#[test]
fn what_is_stored_and_acknowledged_meanwhile_is_as_ever() {
    let folder = TempDir::new().unwrap();
    let words = filled(folder.path());
    let (mut writer, mut reader, _) = open_with(folder.path(), both(2, 1)).unwrap();
    let mut given = Vec::new();
    let mut stored = 0u64;
    while reader.stats().rotation().is_some() {
        put_text(&mut writer, Lane::Alarm, &format!("new {stored}"));
        stored += 1;
        for lane in Lane::ALL {
            for _ in 0..2 {
                if let Some((seq, block)) = next_of(&mut reader, lane) {
                    given.push(text_of(&block));
                    reader.acknowledge(seq).unwrap();
                }
            }
        }
        writer.maintain(at(stored)).unwrap();
    }
    drop((writer, reader));
    let (_writer, mut reader, found) = open_with(folder.path(), kek(2).into()).unwrap();
    assert_eq!((found.faults, found.gaps), (vec![], vec![]));
    given.extend(words_of(&mut reader));
    let new = (0..stored).map(|number| format!("new {number}"));
    let expected: BTreeSet<String> = words.into_iter().chain(new).collect();
    assert_eq!(given.len(), expected.len(), "once each");
    assert_eq!(given.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn it_may_be_turned_back_halfway() {
    let folder = TempDir::new().unwrap();
    let words = filled(folder.path());
    let (mut writer, reader, _) = open_with(folder.path(), both(2, 1)).unwrap();
    for second in 0..4 {
        writer.maintain(at(second)).unwrap();
    }
    drop((writer, reader));
    let (mut writer, reader, _) = open_with(folder.path(), both(1, 2)).unwrap();
    for second in 0..40 {
        writer.maintain(at(second)).unwrap();
    }
    assert_eq!(reader.stats().rotation(), None);
    drop((writer, reader));
    let (_writer, mut reader, _) = open_with(folder.path(), kek(1).into()).unwrap();
    assert_eq!(words_of(&mut reader), words);
}

#[test]
fn a_previous_key_that_is_not_needed_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let words = filled(folder.path());
    let (_writer, mut reader, found) = open_with(folder.path(), both(1, 9)).unwrap();
    assert_eq!((found.faults, reader.stats().rotation()), (vec![], None));
    assert_eq!(words_of(&mut reader), words);
    assert_eq!(reader.stats().kek(), kek(1).id());
}

#[test]
fn a_header_that_is_spoilt_does_not_keep_the_move_from_ending() {
    let folder = TempDir::new().unwrap();
    filled(folder.path());
    let (mut writer, reader, _) = open_with(folder.path(), both(2, 1)).unwrap();
    let segments = segment_folders(&folder.path().join("store"), Lane::Bulk);
    overwrite(&segments[0].join("header"), b"spoilt while the store is open");
    for second in 0..40 {
        writer.maintain(at(second)).unwrap();
    }
    assert_eq!(reader.stats().rotation(), None);
    let snapshot = reader.stats().snapshot();
    assert_eq!(snapshot.faults, 1);
    assert!(snapshot.last_error.unwrap().contains("lane bulk"));
}
