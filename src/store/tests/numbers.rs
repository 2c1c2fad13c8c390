//! No segment number, and so no idempotency key, is given twice.

use super::damage::two_segments;
use super::*;

#[test]
fn a_lost_cursor_sends_again_and_gives_no_number_twice() {
    let folder = TempDir::new().unwrap();
    let words = two_segments(folder.path());
    fs::remove_file(lane_folder(folder.path(), Lane::Vital).join("cursor")).unwrap();
    let (mut writer, mut reader, found) = open_small(folder.path());
    assert_eq!(found.gaps, []);
    assert_eq!(texts(drain(&mut reader, Lane::Vital)), words);
    assert!(put_text(&mut writer, Lane::Vital, "next").segment > 1 << 32);
}

#[test]
fn a_start_that_is_cut_short_gives_no_number_twice() {
    let home = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, _) = open_small(home.path());
    let mut used = BTreeSet::new();
    for number in 0..3 {
        used.insert(writer.append(Lane::Alarm, &block_of(1, &number.to_string()), at(1)).unwrap());
        let (seq, _) = reader.read_next(Lane::Alarm).unwrap().unwrap();
        reader.acknowledge(seq).unwrap();
    }
    reader.save().unwrap();
    // A crash: no close.
    drop((writer, reader));
    // The next start is cut short behind the first lane.
    let (lane, away) = (home.path().join("vital"), home.path().join("away"));
    fs::rename(&lane, &away).unwrap();
    drop(fs::File::create(&lane).unwrap());
    assert!(open_on(Arc::new(Sled), &config(home.path()), SMALL).is_err());
    fs::remove_file(&lane).unwrap();
    fs::rename(&away, &lane).unwrap();
    let (mut writer, _reader, _) = open_small(home.path());
    let seq = writer.append(Lane::Alarm, &block_of(1, "new"), at(9)).unwrap();
    assert!(!used.contains(&seq), "{seq} again");
}

#[test]
fn a_cursor_that_cannot_be_written_gives_no_number_twice() {
    let home = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, _) = open_small(home.path());
    let stone = home.path().join("alarm").join("cursor.unfinished");
    fs::create_dir(&stone).unwrap();
    let mut used = BTreeSet::new();
    for number in 0..8 {
        used.insert(writer.append(Lane::Alarm, &block_of(1, &number.to_string()), at(1)).unwrap());
        let (seq, _) = reader.read_next(Lane::Alarm).unwrap().unwrap();
        let _ = reader.acknowledge(seq);
    }
    let _ = writer.maintain(at(100));
    drop((writer, reader));
    fs::remove_dir(&stone).unwrap();
    let (mut writer, _reader, _) = open_small(home.path());
    let seq = writer.append(Lane::Alarm, &block_of(1, "new"), at(9)).unwrap();
    assert!(!used.contains(&seq), "{seq} again");
}

#[test]
fn a_segment_that_the_cursor_has_behind_it_is_not_missed() {
    let home = TempDir::new().unwrap();
    let words = two_segments(home.path());
    let path = home.path().join("vital").join("cursor");
    let ring = kek(1).into();
    let identity = state_file::Identity::read(&home.path().join("identity"), &ring).unwrap().unwrap();
    let keys = state_file::StateKeys::new(&ring);
    let written = state_file::Cursor::read(&path, identity.store, Lane::Vital, &keys).unwrap();
    // As a power cut leaves it between the cursor that says so and the folder that goes.
    let done = state_file::Cursor { segment: 1, block: 8, records: 16, ..written };
    done.write(&path, identity.store, Lane::Vital, &keys).unwrap();
    let (_writer, mut reader, found) = open_small(home.path());
    assert_eq!((found.faults, found.gaps), (Vec::new(), Vec::new()));
    assert_eq!(texts(drain(&mut reader, Lane::Vital)), words[8..]);
}

#[test]
fn a_folder_of_a_great_name_does_not_carry_the_numbers_away() {
    let home = TempDir::new().unwrap();
    let words = two_segments(home.path());
    fs::create_dir(home.path().join("vital").join((1u64 << 62).to_string())).unwrap();
    let (mut writer, mut reader, _) = open_small(home.path());
    assert!(put_text(&mut writer, Lane::Vital, "next").segment < 1 << 30);
    assert_eq!(texts(drain(&mut reader, Lane::Vital))[..words.len()], words);
}

/// Does something once, while a database is made.
#[derive(Default)]
struct Meanwhile(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Disk for Meanwhile {
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>> {
        if let Some(act) = self.0.lock().unwrap().take() {
            act();
        }
        Sled.create(folder)
    }
}

#[test]
fn a_segment_that_is_being_made_is_not_behind_the_cursor() {
    let home = TempDir::new().unwrap();
    let disk = Arc::new(Meanwhile::default());
    let limits = Limits { blocks: 1, ..SMALL };
    let (mut writer, reader, _) =
        open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(home.path()), limits).unwrap();
    let reader = Arc::new(Mutex::new(reader));
    put_text(&mut writer, Lane::Vital, "one");
    let (seq, _) = next_of(&mut reader.lock().unwrap(), Lane::Vital).unwrap();
    let acknowledging = Arc::clone(&reader);
    let act = move || acknowledging.lock().unwrap().acknowledge(seq).unwrap();
    *disk.0.lock().unwrap() = Some(Box::new(act));
    put_text(&mut writer, Lane::Vital, "two");
    assert!(disk.0.lock().unwrap().is_none(), "it was acknowledged while the next segment was made");
    // The power is cut here.
    let cut = TempDir::new().unwrap();
    copy_tree(home.path(), cut.path());
    let (_writer, mut after, found) = open_small(cut.path());
    assert_eq!((found.gaps, found.faults), (vec![], vec![]));
    assert_eq!(texts(drain(&mut after, Lane::Vital)), ["two"]);
}
