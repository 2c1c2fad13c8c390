//! The vital lane in two streams: what waited at the last rewind, and what is live since.

use super::*;

/// A disk that counts what is open, and whose reads fail when told to.
#[derive(Clone, Default)]
struct Counting {
    open: Arc<AtomicI64>,
    most: Arc<AtomicI64>,
    broken: Arc<AtomicI64>,
}

struct Counted {
    inner: Box<dyn Engine>,
    counts: Counting,
}

impl Counting {
    fn count(&self, inner: Box<dyn Engine>) -> Box<dyn Engine> {
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Box::new(Counted { inner, counts: self.clone() })
    }

    /// Open now, open at most since the last look.
    fn look(&self) -> (i64, i64) {
        let open = self.open.load(Ordering::SeqCst);
        (open, self.most.swap(open, Ordering::SeqCst))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Disk for Counting {
    fn create(&self, folder: &Path) -> io::Result<Box<dyn Engine>> {
        Ok(self.count(Sled.create(folder)?))
    }
}

impl Engine for Counted {
    fn put(&self, key: Key, value: &[u8]) -> io::Result<()> {
        self.inner.put(key, value)
    }

    fn flush(&self) -> io::Result<()> {
        self.inner.flush()
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn get(&self, key: Key) -> io::Result<Option<Vec<u8>>> {
        if self.counts.broken.load(Ordering::SeqCst) > 0 {
            return Err(io::Error::other("told to"));
        }
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

fn live_of(reader: &mut Reader) -> Option<(Seq, String)> {
    reader.read_live().unwrap().map(|(seq, block)| (seq, text_of(&block)))
}

fn backlog_of(reader: &mut Reader) -> Option<(Seq, String)> {
    reader.read_next(Lane::Vital).unwrap().map(|(seq, block)| (seq, text_of(&block)))
}

/// Commits blocks whose texts are numbers.
fn put_numbers(writer: &mut Writer, numbers: std::ops::Range<u32>) {
    for number in numbers {
        put_text(writer, Lane::Vital, &number.to_string());
    }
}

fn numbers(given: &[(Seq, String)]) -> Vec<u32> {
    given.iter().map(|(_, text)| text.parse().unwrap()).collect()
}

#[test]
fn what_is_committed_after_a_rewind_is_live_and_what_waited_is_not() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    assert_eq!((backlog_of(&mut reader), live_of(&mut reader)), (None, None));
    put_numbers(&mut writer, 0..5);
    assert_eq!(backlog_of(&mut reader), None, "nothing waited when it was opened");
    assert_eq!(live_of(&mut reader).unwrap().1, "0");
    reader.rewind();
    put_numbers(&mut writer, 5..7);
    assert_eq!(live_of(&mut reader).unwrap().1, "5");
    let waited: Vec<_> = std::iter::from_fn(|| backlog_of(&mut reader)).collect();
    assert_eq!(numbers(&waited), [0, 1, 2, 3, 4], "what was live and not acknowledged waits now");
    assert_eq!(live_of(&mut reader).unwrap().1, "6");
    assert_eq!((backlog_of(&mut reader), live_of(&mut reader)), (None, None));
    drop((writer, reader));
    let (mut writer, mut reader, _) = open_small(folder.path());
    put_numbers(&mut writer, 7..8);
    assert_eq!(live_of(&mut reader).unwrap().1, "7", "a start is a mark too");
    assert_eq!(backlog_of(&mut reader).unwrap().1, "0");
}

#[test]
fn both_streams_go_over_segment_ends_and_together_hold_three_databases_at_most() {
    for waiting in [5, 8, 29] {
        let folder = TempDir::new().unwrap();
        let disk = Counting::default();
        let (mut writer, mut reader, _) =
            open_on(Arc::new(disk.clone()), &config(folder.path()), SMALL).unwrap();
        put_numbers(&mut writer, 0..waiting);
        reader.rewind();
        let (mut backlog, mut live) = (Vec::new(), Vec::new());
        for number in waiting..100 {
            put_numbers(&mut writer, number..number + 1);
            // Live falls behind by segments and comes up again; the backlog takes its time.
            if number % 40 > 20 {
                live.extend(live_of(&mut reader));
                live.extend(live_of(&mut reader));
            }
            if number % 3 == 0 {
                backlog.extend(backlog_of(&mut reader));
            }
            let (open, most) = disk.look();
            assert!(open <= 3 && most <= 3, "{open} and at most {most} databases are open");
        }
        live.extend(std::iter::from_fn(|| live_of(&mut reader)));
        backlog.extend(std::iter::from_fn(|| backlog_of(&mut reader)));
        assert_eq!(numbers(&backlog), (0..waiting).collect::<Vec<_>>());
        assert_eq!(numbers(&live), (waiting..100).collect::<Vec<_>>());
        assert_eq!(disk.look().0, 1, "drained streams hold nothing but what is written");
    }
}

#[test]
fn a_closed_segment_that_both_streams_read_needs_no_database() {
    let folder = TempDir::new().unwrap();
    let disk = Counting::default();
    let (mut writer, mut reader, _) = open_on(Arc::new(disk.clone()), &config(folder.path()), SMALL).unwrap();
    put_numbers(&mut writer, 0..4);
    reader.rewind();
    // Segment 1 is closed with four blocks on either side of the mark.
    put_numbers(&mut writer, 4..9);
    assert_eq!(live_of(&mut reader).unwrap().1, "4");
    assert_eq!(backlog_of(&mut reader).unwrap().1, "0");
    assert_eq!(disk.look().0, 1, "the writer's alone: a closed segment is read by its chunks");
    disk.broken.store(1, Ordering::SeqCst);
    assert_eq!(live_of(&mut reader).unwrap().1, "5");
    let waited: Vec<_> = std::iter::from_fn(|| backlog_of(&mut reader)).collect();
    let live: Vec<_> = std::iter::from_fn(|| live_of(&mut reader)).collect();
    assert_eq!((numbers(&waited), numbers(&live)), (vec![1, 2, 3], vec![6, 7, 8]));
    assert_eq!(reader.stats().snapshot().last_error, None);
}

#[test]
fn the_cursor_is_where_everything_before_is_done_whatever_is_acknowledged_of_live() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    put_numbers(&mut writer, 0..20);
    reader.rewind();
    put_numbers(&mut writer, 20..50);
    let live: Vec<_> = std::iter::from_fn(|| live_of(&mut reader)).collect();
    for (seq, _) in live.iter().rev() {
        reader.acknowledge(*seq).unwrap();
    }
    assert_eq!(reader.depth(Lane::Vital).blocks, 20);
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 7, "nothing goes before its turn");
    // A power cut: what was acknowledged out of turn comes again, nothing is missing.
    let crashed = TempDir::new().unwrap();
    copy_tree(folder.path(), crashed.path());
    let (_writer, mut after, found) = open_small(crashed.path());
    assert_eq!(found.gaps, []);
    assert_eq!(numbers(&drain(&mut after, Lane::Vital)), (0..50).collect::<Vec<_>>());
    // Without one, a rewind gives what waits and nothing else.
    reader.rewind();
    let waited: Vec<_> = std::iter::from_fn(|| backlog_of(&mut reader)).collect();
    assert_eq!(numbers(&waited), (0..20).collect::<Vec<_>>());
    for (seq, _) in &waited {
        reader.acknowledge(*seq).unwrap();
    }
    assert_eq!(
        reader.depth(Lane::Vital),
        Depth { bytes: reader.depth(Lane::Vital).bytes, ..Depth::default() }
    );
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 1, "all that is closed is gone");
}

#[test]
fn a_drained_segment_is_let_go_by_both_streams_before_its_folder_goes() {
    let folder = TempDir::new().unwrap();
    let disk = Counting::default();
    let (mut writer, mut reader, _) = open_on(Arc::new(disk.clone()), &config(folder.path()), SMALL).unwrap();
    put_numbers(&mut writer, 0..12);
    reader.rewind();
    put_numbers(&mut writer, 12..18);
    // Live stands in segment 2, which is drained with the last of the backlog.
    let live: Vec<_> = (0..4).filter_map(|_| live_of(&mut reader)).collect();
    let waited: Vec<_> = (0..12).filter_map(|_| backlog_of(&mut reader)).collect();
    assert_eq!((numbers(&live).len(), numbers(&waited).len(), disk.look().0), (4, 12, 1));
    for (seq, _) in live.iter().chain(&waited) {
        reader.acknowledge(*seq).unwrap();
    }
    assert_eq!(disk.look().0, 1, "only what is being written is open");
    assert_eq!(segment_folders(folder.path(), Lane::Vital).len(), 1);
    assert_eq!(live_of(&mut reader).unwrap().1, "16");
}

#[test]
fn damage_on_either_side_of_the_mark_is_told_of_live_and_nothing_comes_twice() {
    let mut lost_somewhere = 0;
    for round in 0..24u64 {
        let folder = TempDir::new().unwrap();
        let (mut writer, mut reader, _) = open_small(folder.path());
        put_numbers(&mut writer, 0..12);
        reader.rewind();
        put_numbers(&mut writer, 12..20);
        // The mark lies in the middle of segment 2.
        let file = database_file(&segment_folders(folder.path(), Lane::Vital)[1]);
        let mut bytes = fs::read(&file).unwrap();
        bytes.truncate(bytes.len() * usize::try_from(round).unwrap() / 24);
        overwrite(&file, &bytes);
        let mut seen = Vec::new();
        let mut told = 0;
        for turn in 0..60 {
            let next = if turn % 3 == 0 { live_of(&mut reader) } else { backlog_of(&mut reader) };
            if let Some((seq, text)) = next {
                reader.acknowledge(seq).unwrap();
                match text.strip_prefix("gap ") {
                    Some(gap) => told += gap.split(':').next().unwrap().parse::<usize>().unwrap(),
                    None => seen.push(text.parse::<usize>().unwrap()),
                }
            }
            writer.maintain(at(2)).unwrap();
        }
        // Two records in each block.
        assert_eq!(seen.len() + told / 2, 20, "round {round}: {seen:?} and {told} records told of");
        seen.sort_unstable();
        assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "round {round}: {seen:?}");
        assert_eq!(reader.depth(Lane::Vital).blocks, 0, "round {round}");
        lost_somewhere += told;
    }
    assert!(lost_somewhere > 0);
}

#[test]
fn when_it_is_full_the_backlog_goes_under_both_streams_and_they_go_on() {
    let folder = TempDir::new().unwrap();
    let config = Config { cap: 24 * MIB, alarm_reserve: 4 * MIB, ..config(folder.path()) };
    let limits = Limits { blocks: 4, ..Limits::default() };
    let (mut writer, mut reader, _) = open_on(Arc::new(Sled), &config, limits).unwrap();
    let mut stored = BTreeMap::new();
    let mut put = |writer: &mut Writer, seed: u64| {
        let block = largest_block(seed);
        let seq = writer.append(Lane::Vital, &block, at(1)).unwrap();
        stored.insert(seq, u64::from(block.count()));
    };
    (0..6).for_each(|seed| put(&mut writer, seed));
    reader.rewind();
    let mut given: BTreeMap<Seq, u64> = BTreeMap::new();
    let mut told = 0;
    let mut take = |next: Option<(Seq, PlainBlock)>| {
        let Some((seq, block)) = next else { return false };
        if let (Entry::Gap(gap), true) = (&block.read().unwrap().1[0], block.count() == 1) {
            told += gap.count;
        }
        assert_eq!(given.insert(seq, u64::from(block.count())), None, "{seq} came twice");
        true
    };
    // Both hold a segment that then goes: the backlog its first, live the one with the mark in it.
    assert!(take(reader.read_next(Lane::Vital).unwrap()));
    put(&mut writer, 6);
    assert!(take(reader.read_live().unwrap()));
    for seed in 7..60 {
        put(&mut writer, seed);
    }
    assert!(writer.stats().snapshot().dropped > 0, "the store was full");
    assert_eq!(
        segment_folders(folder.path(), Lane::Vital).iter().filter(|path| path.ends_with("2")).count(),
        0
    );
    while take(reader.read_live().unwrap()) {}
    while take(reader.read_next(Lane::Vital).unwrap()) {}
    let missing: u64 =
        stored.iter().filter(|(seq, _)| !given.contains_key(seq)).map(|(_, count)| count).sum();
    assert!(missing > 0);
    // Two that were given are told of too: nobody had acknowledged them.
    assert!(told >= missing, "{missing} are missing and {told} told of");
}

#[test]
fn how_long_the_oldest_has_waited_does_not_change_with_what_is_acknowledged_of_live() {
    let folder = TempDir::new().unwrap();
    let (mut writer, mut reader, _) = open_small(folder.path());
    for seconds in 0..4 {
        writer.append(Lane::Vital, &block_of(1, "waits"), at(seconds)).unwrap();
    }
    reader.rewind();
    for seconds in 30..50 {
        writer.append(Lane::Vital, &block_of(1, "live"), at(seconds)).unwrap();
    }
    let oldest = |reader: &Reader| reader.depth(Lane::Vital).oldest.unwrap();
    let (first, _) = backlog_of(&mut reader).unwrap();
    reader.acknowledge(first).unwrap();
    assert_eq!(oldest(&reader), at(0).wall);
    for _ in 0..20 {
        let (seq, _) = live_of(&mut reader).unwrap();
        reader.acknowledge(seq).unwrap();
        assert_eq!(oldest(&reader), at(0).wall, "as old as the backlog");
    }
    let left: Vec<Seq> = std::iter::from_fn(|| backlog_of(&mut reader)).map(|(seq, _)| seq).collect();
    reader.acknowledge(left[0]).unwrap();
    assert_eq!(oldest(&reader), at(1).wall);
    writer.append(Lane::Vital, &block_of(1, "live"), at(55)).unwrap();
    for seq in &left[1..] {
        reader.acknowledge(*seq).unwrap();
    }
    assert!(oldest(&reader) >= at(46).wall, "only what was committed last waits: {:?}", oldest(&reader));
}
