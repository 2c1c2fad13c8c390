//! A small store, and everything that can be done to each of its files: every byte changed, every
//! length cut to, every file missing, every two of a kind swapped.
//!
//! What must hold each time: the store opens (only a spoilt identity is a refusal that names the
//! file); nothing is given twice and nothing that was never stored; what is not given is told of in a
//! gap record; and that something is wrong is said, not only when something is lost.

use std::fmt::Write as _;

use super::*;

/// A store that was not closed in order: in the vital lane two closed segments and one that was being
/// written, in the others one that was being written; a part of it acknowledged.
struct Small {
    folder: TempDir,
    words: BTreeSet<String>,
    /// What the broker has: may come again, need not.
    done: BTreeSet<String>,
}

fn small() -> Small {
    let folder = TempDir::new_in(fast()).unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    let mut words = BTreeSet::new();
    for number in 0..19 {
        let word = format!("vital {number}");
        put_text(&mut writer, Lane::Vital, &word);
        words.insert(word);
    }
    for lane in [Lane::Alarm, Lane::Bulk] {
        for number in 0..2 {
            let word = format!("{lane} {number}");
            put_text(&mut writer, lane, &word);
            words.insert(word);
        }
    }
    let mut done = BTreeSet::new();
    for _ in 0..3 {
        let (seq, block) = next_of(&mut reader, Lane::Vital).unwrap();
        reader.acknowledge(seq).unwrap();
        done.insert(text_of(&block));
    }
    reader.save().unwrap();
    let crashed = TempDir::new_in(fast()).unwrap();
    copy_tree(folder.path(), crashed.path());
    Small { folder: crashed, words, done }
}

/// Memory, where there is some: each case is a store of its own.
fn fast() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// What became of a store that something was done to.
#[derive(Debug)]
enum Outcome {
    Refused(StoreError),
    Opened { lost: usize, faults: u64, quarantined: u64 },
}

impl Small {
    /// The files, from the store's folder.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        visit(self.folder.path(), &mut |path| {
            files.push(path.strip_prefix(self.folder.path()).unwrap().to_owned());
        });
        files.sort();
        files
    }

    /// Does something to a copy, opens it, and reads and acknowledges it to its end.
    fn after(&self, what: &str, harm: impl FnOnce(&Path)) -> Outcome {
        let copy = TempDir::new_in(fast()).unwrap();
        copy_tree(self.folder.path(), copy.path());
        harm(copy.path());
        let (mut writer, mut reader, _) = match open_on(Arc::new(Sled), &config(copy.path()), SMALL) {
            Ok(store) => store,
            Err(error) => return Outcome::Refused(error),
        };
        let mut given = BTreeSet::new();
        let mut told = 0;
        for round in 0.. {
            assert!(round < 10, "{what}: it has no end");
            let mut is_drained = true;
            for lane in Lane::ALL {
                while let Some((seq, block)) = next_of(&mut reader, lane) {
                    is_drained = false;
                    match &block.read().unwrap().1[0] {
                        Entry::Gap(gap) => told += gap.count,
                        Entry::Observation(_) | Entry::Event(_) => {
                            let text = text_of(&block);
                            assert!(self.words.contains(&text), "{what}: {text:?} was never stored");
                            assert!(given.insert(text), "{what}: given twice");
                        }
                    }
                    reader.acknowledge(seq).unwrap();
                }
            }
            writer.maintain(at(2)).unwrap();
            if is_drained && round > 0 {
                break;
            }
        }
        let lost = self.words.difference(&given).filter(|word| !self.done.contains(*word)).count();
        let Snapshot { faults, quarantined, last_error, .. } = reader.stats().snapshot();
        assert_eq!(faults > 0, last_error.is_some(), "{what}");
        // Two records to a word.
        assert!(told >= 2 * u64::try_from(lost).unwrap(), "{what}: {lost} lost in silence, {told} told");
        let next = put_text(&mut writer, Lane::Vital, "next");
        assert_eq!(next_of(&mut reader, Lane::Vital).unwrap().0, next, "{what}: it goes on");
        Outcome::Opened { lost, faults, quarantined }
    }

    /// Whether a file belongs to a segment that was being written.
    fn is_open(&self, file: &Path) -> bool {
        let segment = file.ancestors().find(|up| self.folder.path().join(up).join("header").exists());
        segment.is_some_and(|segment| !self.folder.path().join(segment).join("footer").exists())
    }
}

/// What the whole of a series came to, for whoever reads the test's output.
#[derive(Default)]
struct Tally {
    cases: usize,
    refused: usize,
    harmless: usize,
    lost: usize,
    quarantined: u64,
}

impl Tally {
    /// Counts and judges one case.
    fn judge(&mut self, small: &Small, file: &Path, what: &str, outcome: &Outcome) {
        self.cases += 1;
        let is_identity = file == Path::new("identity");
        match outcome {
            Outcome::Refused(error) => {
                self.refused += 1;
                assert!(is_identity && error.is_refusal(), "{what}: {error}");
            }
            Outcome::Opened { lost, faults, quarantined, .. } => {
                assert!(!is_identity, "{what}: a spoilt identity was believed");
                self.lost += lost;
                self.quarantined += quarantined;
                if *faults > 0 {
                    return;
                }
                // Of a segment that was being written when the power went, nothing says what its file was:
                // what lies between its chunks may change unnoticed, as long as no chunk is lost.
                self.harmless += 1;
                assert!(small.is_open(file) && *lost == 0, "{what}: nobody noticed; {lost} lost");
            }
        }
    }

    fn tell(&self, series: &str) {
        let Self { cases, refused, harmless, lost, quarantined } = self;
        println!(
            "{series}: {cases} cases, {refused} refused, {harmless} harmless and unnoticed, {lost} blocks lost and \
             told of, {quarantined} segments quarantined"
        );
    }
}

#[test]
fn every_byte_of_every_file_may_change() {
    let small = small();
    let mut tally = Tally::default();
    for file in small.files() {
        let good = fs::read(small.folder.path().join(&file)).unwrap();
        for place in 0..good.len() {
            for mask in [1u8 << (place % 8), 0xff] {
                let what = format!("{} at {place} with {mask:#04x}", file.display());
                let outcome = small.after(&what, |folder| {
                    let mut bad = good.clone();
                    bad[place] ^= mask;
                    overwrite(&folder.join(&file), &bad);
                });
                tally.judge(&small, &file, &what, &outcome);
            }
        }
    }
    tally.tell("changed bytes");
    assert!(tally.cases > 8_000 && tally.refused > 0 && tally.quarantined > 0 && tally.lost > 0);
}

#[test]
fn every_file_may_end_anywhere() {
    let small = small();
    let mut tally = Tally::default();
    for file in small.files() {
        let good = fs::read(small.folder.path().join(&file)).unwrap();
        for length in 0..good.len() {
            let what = format!("{} cut to {length} of {}", file.display(), good.len());
            let outcome = small.after(&what, |folder| overwrite(&folder.join(&file), &good[..length]));
            if small.is_open(&file) && file.ends_with("sled/db") {
                // A file that ends early is what a power cut leaves of a commit that was never reported.
                let Outcome::Opened { .. } = outcome else { panic!("{what}: {outcome:?}") };
                continue;
            }
            tally.judge(&small, &file, &what, &outcome);
        }
    }
    tally.tell("cut files");
    assert!(tally.cases > 1_000);
}

#[test]
fn every_file_may_be_missing_or_be_another_of_its_kind() {
    let small = small();
    let mut tally = Tally::default();
    let files = small.files();
    for file in &files {
        let what = format!("{} missing", file.display());
        let outcome = small.after(&what, |folder| fs::remove_file(folder.join(file)).unwrap());
        // The lock is made when it is not there; without a footer a closed segment is as one that was cut
        // short; and nobody asks for what sled keeps beside the blocks.
        let is_needed =
            file != Path::new("lock") && !file.ends_with("footer") && !file.ends_with("sled/conf");
        if is_needed {
            tally.judge(&small, file, &what, &outcome);
        }
        for other in files.iter().filter(|other| *other > file && other.file_name() == file.file_name()) {
            let what = format!("{} and {} swapped", file.display(), other.display());
            let outcome = small.after(&what, |folder| {
                let (one, two) = (folder.join(file), folder.join(other));
                let (first, second) = (fs::read(&one).unwrap(), fs::read(&two).unwrap());
                overwrite(&one, &second);
                overwrite(&two, &first);
            });
            tally.judge(&small, file, &what, &outcome);
        }
    }
    tally.tell("missing and swapped files");
    assert!(tally.cases > 10);
}

type Harm = Box<dyn Fn(&Path)>;

fn strange_things() -> Vec<(&'static str, Harm)> {
    let huge = 64 * 1024 * 1024;
    let mut harms: Vec<(&str, Harm)> = Vec::new();
    harms
        .push(("a word of a name", Box::new(|folder| overwrite(&folder.join("vital/readme.txt"), b"hello"))));
    harms.push(("an empty segment", Box::new(|folder| fs::create_dir(folder.join("vital/77")).unwrap())));
    harms.push(("a number that is a file", Box::new(|folder| overwrite(&folder.join("vital/78"), b"x"))));
    harms.push((
        "a header that is a folder",
        Box::new(|folder| {
            fs::create_dir_all(folder.join("vital/79/header")).unwrap();
        }),
    ));
    harms.push((
        "a link to everything",
        Box::new(|folder| {
            std::os::unix::fs::symlink("/", folder.join("vital/80")).unwrap();
        }),
    ));
    harms.push((
        "a database that is a pipe",
        Box::new(|folder| {
            let (path, kind) = (folder.join("vital/1/sled/db"), rustix::fs::FileType::Fifo);
            fs::remove_file(&path).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, 0o600.into(), 0).unwrap();
        }),
    ));
    harms.push((
        "a database full of nothing",
        Box::new(move |folder| {
            fs::File::options()
                .write(true)
                .open(folder.join("vital/1/sled/db"))
                .unwrap()
                .set_len(huge)
                .unwrap();
        }),
    ));
    harms.push((
        "a database full of beginnings",
        Box::new(|folder| {
            overwrite(&folder.join("vital/1/sled/db"), &chunk::MAGIC.repeat(1 << 20));
        }),
    ));
    harms.push(("a file that is going", Box::new(|folder| overwrite(&folder.join("vital/9.going"), b"x"))));
    harms.push((
        "a file in quarantine",
        Box::new(|folder| {
            fs::create_dir_all(folder.join("quarantine")).unwrap();
            overwrite(&folder.join("quarantine/a"), b"x");
        }),
    ));
    harms.push((
        "the greatest number",
        Box::new(|folder| {
            fs::create_dir(folder.join(format!("vital/{}", u64::MAX))).unwrap();
        }),
    ));
    harms
}

#[test]
fn what_does_not_belong_in_the_folder_does_not_keep_it_from_starting() {
    let small = small();
    for (what, harm) in strange_things() {
        let outcome = small.after(what, harm);
        assert!(matches!(outcome, Outcome::Opened { .. }), "{what}: {outcome:?}");
    }
}

#[test]
fn a_thousand_segments_without_footers_are_read_once_each() {
    // Whatever the disk holds, a start reads each file at most twice and opens no database.
    let folder = TempDir::new_in(fast()).unwrap();
    let limits = Limits { blocks: 1, ..SMALL };
    let (mut writer, reader, _) = open_on(Arc::new(Sled), &config(folder.path()), limits).unwrap();
    for number in 0..200 {
        put_text(&mut writer, Lane::Vital, &format!("block {number}"));
    }
    drop((writer, reader));
    for segment in segment_folders(folder.path(), Lane::Vital) {
        let _ = fs::remove_file(segment.join("footer"));
    }
    let (_writer, mut reader, found) = open_small(folder.path());
    assert_eq!((found.unclosed, found.blocks, found.gaps.len()), (200, 200, 0));
    assert_eq!(drain(&mut reader, Lane::Vital).len(), 200);
    let mut shown = String::new();
    found.faults.iter().for_each(|fault| writeln!(shown, "{fault}").unwrap());
    assert_eq!(shown, "");
}
