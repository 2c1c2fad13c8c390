//! A disk that fails when told to: the order of a commit, and what a failure leaves.

use super::damage::two_segments;
use super::*;

/// A disk that notes what is done, and fails the operation whose turn it is.
#[derive(Default)]
struct Faulty {
    log: Arc<Mutex<Vec<&'static str>>>,
    /// Operations until one fails; negative never.
    fuse: Arc<AtomicI64>,
    kind: Option<io::ErrorKind>,
}

struct FaultyEngine {
    inner: Box<dyn Engine>,
    log: Arc<Mutex<Vec<&'static str>>>,
    fuse: Arc<AtomicI64>,
    kind: io::ErrorKind,
}

impl Faulty {
    fn new(kind: io::ErrorKind) -> Self {
        Self { fuse: Arc::new(AtomicI64::new(-1)), kind: Some(kind), ..Self::default() }
    }
}

impl FaultyEngine {
    fn step(&self, what: &'static str) -> io::Result<()> {
        self.log.lock().unwrap().push(what);
        let left = self.fuse.load(Ordering::SeqCst);
        if left < 0 {
            return Ok(());
        }
        if left == 0 {
            return Err(io::Error::new(self.kind, "told to"));
        }
        self.fuse.store(left - 1, Ordering::SeqCst);
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>> {
        let (log, fuse) = (Arc::clone(&self.log), Arc::clone(&self.fuse));
        let kind = self.kind.unwrap_or(io::ErrorKind::Other);
        let engine = FaultyEngine { inner: Sled.create(folder)?, log, fuse, kind };
        engine.step("create")?;
        Ok(Box::new(engine))
    }
}

impl Engine for FaultyEngine {
    fn put(&self, key: Key, value: &[u8]) -> io::Result<()> {
        self.step("put")?;
        self.inner.put(key, value)
    }

    fn flush(&self) -> io::Result<()> {
        self.step("flush")?;
        self.inner.flush()
    }

    fn sync(&self) -> io::Result<()> {
        self.step("sync")?;
        self.inner.sync()
    }

    fn get(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn prepare(&self) {
        self.inner.prepare();
    }

    fn finish(&self) -> io::Result<()> {
        self.inner.finish()
    }
}

#[test]
fn a_commit_is_put_then_flushed_then_synced_and_only_then_seen() {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(Faulty::new(io::ErrorKind::Other));
    let (mut writer, mut reader, _) =
        open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(folder.path()), SMALL).unwrap();
    let mut commits = reader.commits();
    commits.borrow_and_update();
    put_text(&mut writer, Lane::Vital, "one");
    assert_eq!(*disk.log.lock().unwrap(), ["create", "put", "flush", "sync"]);
    assert!(commits.has_changed().unwrap());
    for (steps, what) in [(0, "put"), (1, "flush"), (2, "sync")] {
        commits.borrow_and_update();
        disk.fuse.store(steps, Ordering::SeqCst);
        writer.append(Lane::Vital, &block_of(1, "never"), at(1)).unwrap_err();
        assert_eq!(*disk.log.lock().unwrap().last().unwrap(), what);
        assert!(!commits.has_changed().unwrap(), "nobody is told of what failed at {what}");
        disk.fuse.store(-1, Ordering::SeqCst);
        put_text(&mut writer, Lane::Vital, what);
    }
    assert_eq!(texts(drain(&mut reader, Lane::Vital)), ["one", "put", "flush", "sync"]);
}

#[test]
fn after_an_error_the_next_commit_works_in_a_new_segment_and_nothing_comes_twice_after_a_restart() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        for steps in 0..5 {
            let folder = TempDir::new().unwrap();
            let disk = Arc::new(Faulty::new(kind));
            let (mut writer, reader, _) =
                open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(folder.path()), SMALL).unwrap();
            // The only lane with data is alarm: on a full disk nothing may be dropped for it.
            let first = put_text(&mut writer, Lane::Alarm, "first");
            disk.fuse.store(steps, Ordering::SeqCst);
            let mut stored = 0;
            let error = loop {
                match writer.append(Lane::Alarm, &block_of(1, "again"), at(1)) {
                    Ok(_) => stored += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.is_full(), kind == io::ErrorKind::StorageFull, "{error}");
            assert!(error.is_retryable());
            disk.fuse.store(-1, Ordering::SeqCst);
            let again = put_text(&mut writer, Lane::Alarm, "again");
            assert!(again.segment > first.segment);
            drop((writer, reader));
            // Also when there was no room for footers: the next segment's header says what counts.
            for segment in segment_folders(folder.path(), Lane::Alarm) {
                fs::remove_file(segment.join("footer")).ok();
            }
            let (_writer, mut reader, found) = open_small(folder.path());
            let mut expected = vec!["first".to_owned()];
            expected.resize(2 + stored, "again".to_owned());
            assert_eq!(texts(drain(&mut reader, Lane::Alarm)), expected, "{kind:?} at step {steps}");
            assert_eq!(found.gaps, []);
        }
    }
}

#[test]
fn a_loss_that_could_not_be_told_is_found_again_at_the_next_start() {
    for harm in ["missing", "spoilt"] {
        let folder = TempDir::new().unwrap();
        two_segments(folder.path());
        let first = &segment_folders(folder.path(), Lane::Vital)[0];
        match harm {
            "missing" => fs::remove_dir_all(first).unwrap(),
            _ => overwrite(&first.join("header"), b"spoilt"),
        }
        for _ in 0..3 {
            let disk = Arc::new(Faulty::new(io::ErrorKind::StorageFull));
            disk.fuse.store(0, Ordering::SeqCst);
            let (writer, reader, found) = open_on(disk, &config(folder.path()), SMALL).unwrap();
            assert_eq!((found.gaps.len(), found.gaps[0].count), (1, 16), "{harm}");
            drop(reader);
            let _ = writer.close();
        }
        let (writer, mut reader, found) = open_small(folder.path());
        assert_eq!(found.gaps.len(), 1, "{harm}");
        let given = texts(drain(&mut reader, Lane::Vital));
        assert!(given.iter().any(|text| text.starts_with("gap 16:")), "{harm}: {given:?}");
        drop((writer, reader));
        let (_writer, _reader, found) = open_small(folder.path());
        assert_eq!(found.gaps, [], "{harm}: told once");
    }
}

#[test]
fn a_segment_that_is_read_while_it_is_closed_is_as_it_was_closed() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    for seed in 0..8 {
        writer.append(Lane::Bulk, &largest_block(seed), at(1)).unwrap();
        writer.maintain(at(1)).unwrap();
    }
    let (_, block) = next_of(&mut reader, Lane::Bulk).unwrap();
    assert_eq!(block.read().unwrap(), largest_block(0).read().unwrap());
    writer.append(Lane::Bulk, &largest_block(8), at(1)).unwrap();
    for seed in 1..9 {
        let (_, block) = next_of(&mut reader, Lane::Bulk).unwrap();
        assert_eq!(block.read().unwrap(), largest_block(seed).read().unwrap());
    }
    drop(reader);
    writer.close().unwrap();
    let (_writer, mut reader, found) = open_small(folder.path());
    assert_eq!((found.faults, found.torn), (vec![], vec![]));
    for seed in 0..9 {
        let (_, block) = next_of(&mut reader, Lane::Bulk).unwrap();
        assert_eq!(block.read().unwrap(), largest_block(seed).read().unwrap());
    }
    assert_eq!(reader.stats().snapshot().faults, 0, "no file changed after it was closed");
}

#[test]
fn what_a_full_disk_cost_is_told_also_when_the_power_goes_before_there_is_room_for_it() {
    for ends_in_order in [false, true] {
        let folder = TempDir::new().unwrap();
        let disk = Arc::new(Faulty::new(io::ErrorKind::StorageFull));
        let (mut writer, reader, _) =
            open_on(Arc::clone(&disk) as Arc<dyn Disk>, &config(folder.path()), SMALL).unwrap();
        for number in 0..20 {
            put_text(&mut writer, Lane::Vital, &format!("word {number}"));
        }
        disk.fuse.store(0, Ordering::SeqCst);
        assert!(writer.append(Lane::Vital, &block_of(1, "no room"), at(2)).unwrap_err().is_full());
        assert!(reader.stats().depth(Lane::Vital).records < 40, "something was dropped");
        let cut = TempDir::new().unwrap();
        if ends_in_order {
            drop(reader);
            let _ = writer.close();
            copy_tree(folder.path(), cut.path());
        } else {
            copy_tree(folder.path(), cut.path());
        }
        let (mut writer, mut after, _) = open_small(cut.path());
        let mut given = texts(drain(&mut after, Lane::Vital));
        // What is found missing while it is read is told with the next commit.
        writer.maintain(at(3)).unwrap();
        given.extend(texts(drain(&mut after, Lane::Vital)));
        let present = given.iter().filter(|text| text.starts_with("word ")).count();
        let told: usize = given
            .iter()
            .filter_map(|text| text.strip_prefix("gap ")?.split(':').next()?.parse::<usize>().ok())
            .sum();
        assert_eq!(2 * present + told, 40, "in order: {ends_in_order}: {given:?}");
    }
}
