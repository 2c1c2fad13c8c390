//! Files that are torn, changed, missing or somebody else's.

use super::*;

/// A store of one closed and one open segment in lane vital, each of `SMALL.blocks` and 5 blocks.
pub(super) fn two_segments(folder: &Path) -> Vec<String> {
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
                Entry::Observation(_) | Entry::Event(_) => present.push(text_of(&block)),
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
fn a_segment_whose_database_cannot_be_read_is_set_aside_and_never_removed() {
    let home = TempDir::new().unwrap();
    two_segments(home.path());
    let database = database_file(&segment_folders(home.path(), Lane::Vital)[1]);
    fs::rename(&database, database.with_extension("real")).unwrap();
    fs::create_dir(&database).unwrap();
    let (_writer, _reader, found) = open_small(home.path());
    assert_eq!(found.gaps.len(), 1, "{found:?}");
    assert!(found.faults[0].starts_with("segment 2 of lane vital is set aside: its database: "), "{found:?}");
    assert!(home.path().join("quarantine/vital-2-0/sled/db.real").exists());
}
