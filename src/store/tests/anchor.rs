//! An older copy of the store put back, another store in its place, a card that was copied.

use super::*;

fn placed(home: &Path) -> Config {
    let folder = home.join("store");
    Config { anchor: Some(anchor_beside(&folder)), ..config(&folder) }
}

fn open_at(home: &Path) -> Store {
    open_on(Arc::new(Sled), &placed(home), SMALL).unwrap()
}

/// Stores a few words and lets a second go by.
fn live_on(home: &Path, words: std::ops::Range<u32>) -> Vec<Seq> {
    let (mut writer, _reader, _) = open_at(home);
    let seqs = words.map(|word| put_text(&mut writer, Lane::Vital, &format!("word {word}"))).collect();
    writer.maintain(at(1)).unwrap();
    seqs
}

fn put_back(from: &Path, home: &Path) {
    fs::remove_dir_all(home.join("store")).unwrap();
    copy_tree(from, &home.join("store"));
}

#[test]
fn an_older_copy_of_the_store_is_noticed_and_told_of() {
    let home = TempDir::new().unwrap();
    let copy = TempDir::new().unwrap();
    live_on(home.path(), 0..5);
    copy_tree(&home.path().join("store"), copy.path());
    let later = live_on(home.path(), 5..40);
    put_back(copy.path(), home.path());
    let (mut writer, mut reader, found) = open_at(home.path());
    assert_eq!(found.faults.len(), 1, "{:?}", found.faults);
    assert!(found.faults[0].contains("put back to an earlier state"), "{:?}", found.faults);
    assert_eq!((found.gaps.len(), found.gaps[0].lane, found.gaps[0].count), (1, Lane::Vital, 0));
    let given = texts(drain(&mut reader, Lane::Vital));
    assert_eq!(given[..5], (0..5).map(|word| format!("word {word}")).collect::<Vec<_>>());
    assert!(given[5].starts_with("gap 0: the store was put back"), "{given:?}");
    let next = put_text(&mut writer, Lane::Vital, "next");
    assert!(later.iter().all(|seq| seq.segment < next.segment), "no key is given twice");
    writer.maintain(at(2)).unwrap();
    drop((writer, reader));
    let (_writer, _reader, found) = open_at(home.path());
    assert_eq!(found.faults, Vec::<String>::new(), "told once");
}

#[test]
fn no_power_cut_looks_like_an_older_copy() {
    let home = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_at(home.path());
    for second in 1..60 {
        for lane in Lane::ALL {
            put_text(&mut writer, lane, "word");
            if let Some((seq, _)) = next_of(&mut reader, lane) {
                reader.acknowledge(seq).unwrap();
            }
        }
        if second % 3 == 0 {
            writer.maintain(at(second)).unwrap();
        }
        let cut = TempDir::new().unwrap();
        copy_tree(home.path(), cut.path());
        let (_writer, _reader, found) = open_at(cut.path());
        assert_eq!((found.faults, found.gaps), (vec![], vec![]), "second {second}");
    }
}

#[test]
fn another_store_in_its_place_is_noticed() {
    let (home, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    live_on(home.path(), 0..5);
    live_on(other.path(), 0..5);
    put_back(&other.path().join("store"), home.path());
    let (writer, reader, found) = open_at(home.path());
    assert!(found.faults.len() == 1 && found.faults[0].contains("put in its place"), "{:?}", found.faults);
    drop((writer, reader));
    // Moved away altogether, as the refusals advise: the new one says what was there.
    live_on(home.path(), 5..6);
    fs::remove_dir_all(home.path().join("store")).unwrap();
    let (_writer, _reader, found) = open_at(home.path());
    assert!(found.is_new && found.faults[0].contains("that was here before"), "{:?}", found.faults);
}

#[test]
fn a_mark_that_is_missing_or_spoilt_is_told_of_and_made_again() {
    let home = TempDir::new().unwrap();
    live_on(home.path(), 0..5);
    let mark = placed(home.path()).anchor.unwrap();
    let good = fs::read(&mark).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1 << (place % 8);
        overwrite(&mark, &bad);
        let (_writer, _reader, found) = open_at(home.path());
        assert!(found.faults[0].contains("cannot be used"), "byte {place}: {:?}", found.faults);
        assert_eq!(found.gaps, []);
    }
    fs::remove_file(&mark).unwrap();
    let (writer, reader, found) = open_at(home.path());
    assert!(found.faults[0].contains("is missing"), "{:?}", found.faults);
    assert!(mark.exists());
    drop((writer, reader));
    assert_eq!(open_at(home.path()).2.faults, Vec::<String>::new());
}

#[test]
fn a_mark_that_cannot_be_written_is_told_of_once_and_stops_nothing() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("store");
    let config = Config { anchor: Some(home.path().join("nowhere/mark")), ..config(&folder) };
    let (mut writer, reader, _) = open_on(Arc::new(Sled), &config, SMALL).unwrap();
    for second in 1..4 {
        put_text(&mut writer, Lane::Vital, "word");
        writer.maintain(at(second)).unwrap();
    }
    assert_eq!(reader.stats().snapshot().faults, 1);
}

#[test]
fn two_copies_of_one_card_do_not_give_the_same_keys() {
    let home = TempDir::new().unwrap();
    live_on(home.path(), 0..5);
    let copies: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
    for copy in &copies {
        copy_tree(home.path(), copy.path());
    }
    // Which both go on from: the whole disk, mark included.
    let [one, two] = [0, 1].map(|copy: usize| live_on(copies[copy].path(), 5..30));
    let one: BTreeSet<Seq> = one.into_iter().collect();
    assert!(two.iter().all(|seq| !one.contains(seq)));
}
