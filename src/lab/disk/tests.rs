//! The rules, each on a record so small that every legal state can be written down: all of them come, and
//! no other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// A record that is written by hand.
struct Script {
    base: Tree,
    tree: Tree,
    ops: Vec<Op>,
}

/// What a program sees: files with their content, folders with `None`.
type Seen = BTreeMap<PathBuf, Option<Vec<u8>>>;

impl Script {
    /// Begins with files that are on the medium.
    fn on(files: &[(&str, &[u8])]) -> Self {
        let mut base = Tree::default();
        for (name, content) in files {
            let file = base.make(ROOT, name.as_ref(), false).unwrap();
            base.write(file, 0, content).unwrap();
        }
        Self { tree: base.clone(), base, ops: Vec::new() }
    }

    fn at(&self, path: &str) -> Number {
        self.tree.at(Path::new(path)).unwrap()
    }

    fn split(&self, path: &str) -> (Number, OsString) {
        let path = Path::new(path);
        (self.tree.at(path.parent().unwrap()).unwrap(), path.file_name().unwrap().to_owned())
    }

    fn make(mut self, path: &str, is_folder: bool) -> Self {
        let (folder, name) = self.split(path);
        let node = self.tree.make(folder, &name, is_folder).unwrap();
        self.ops.push(Op::Make { folder, name, node, is_folder });
        self
    }

    fn create(self, path: &str) -> Self {
        self.make(path, false)
    }

    fn mkdir(self, path: &str) -> Self {
        self.make(path, true)
    }

    fn remove(mut self, path: &str) -> Self {
        let (folder, name) = self.split(path);
        let node = self.tree.remove(folder, &name, false).unwrap();
        self.ops.push(Op::Remove { folder, name, node });
        self
    }

    fn rename(mut self, from: &str, to: &str) -> Self {
        let (from, to) = (self.split(from), self.split(to));
        let node = self.tree.rename((from.0, &from.1), (to.0, &to.1)).unwrap();
        self.ops.push(Op::Rename { from, to, node });
        self
    }

    fn write(mut self, path: &str, offset: u64, bytes: &[u8]) -> Self {
        let file = self.at(path);
        self.tree.write(file, offset, bytes).unwrap();
        self.ops.push(Op::Write { file, offset, bytes: bytes.into() });
        self
    }

    fn resize(mut self, path: &str, size: u64) -> Self {
        let file = self.at(path);
        self.tree.resize(file, size).unwrap();
        self.ops.push(Op::Resize { file, size });
        self
    }

    fn sync_with(mut self, path: &str, failed: bool) -> Self {
        self.ops.push(Op::Sync { file: self.at(path), data_only: true, failed, path: path.into() });
        self
    }

    fn sync(self, path: &str) -> Self {
        self.sync_with(path, false)
    }

    fn sync_folder(mut self, path: &str) -> Self {
        self.ops.push(Op::SyncFolder { folder: self.at(path), failed: false, path: path.into() });
        self
    }

    fn replay(&self) -> Replay {
        let mut replay = Replay::new(&self.base);
        self.ops.iter().for_each(|op| replay.handle(op, false));
        replay
    }

    /// Every state that some seed gives.
    fn states(&self) -> BTreeSet<Seen> {
        let replay = self.replay();
        (0..3_000).map(|seed| seen(&replay.cut(seed).0)).collect()
    }

    /// Every state of one way of keeping names.
    fn states_by(&self, data: Data, names: Names) -> BTreeSet<Seen> {
        let replay = self.replay();
        let state = |seed: u64| {
            let rules = Rules { data, names, share: 1 + seed % 7 };
            seen(&replay.cut_by(rules, &mut Draw::new(seed)).0)
        };
        (0..500).map(state).collect()
    }

    /// What the files hold, in every state in which all of them are there.
    fn contents(&self, path: &str) -> BTreeSet<Vec<u8>> {
        self.states().into_iter().filter_map(|state| state.get(Path::new(path)).cloned().flatten()).collect()
    }
}

fn seen(tree: &Tree) -> Seen {
    fn walk(tree: &Tree, folder: Number, place: &Path, seen: &mut Seen) {
        for (name, number) in tree.entries(folder).unwrap() {
            let place = place.join(name);
            match tree.node(*number).unwrap() {
                Node::File(content) => {
                    seen.insert(place, Some(content.to_vec()));
                }
                Node::Folder(_) => {
                    seen.insert(place.clone(), None);
                    walk(tree, *number, &place, seen);
                }
            }
        }
    }
    let mut found = Seen::new();
    walk(tree, ROOT, Path::new(""), &mut found);
    found
}

/// A state as it is written down here.
type Listed<'a> = [(&'a str, Option<&'a [u8]>)];

fn state(files: &Listed<'_>) -> Seen {
    files.iter().map(|(name, content)| (PathBuf::from(name), content.map(<[u8]>::to_vec))).collect()
}

fn states<const N: usize>(states: [&Listed<'_>; N]) -> BTreeSet<Seen> {
    states.into_iter().map(state).collect()
}

/// So many bytes of each letter.
fn letters(pieces: &[(u8, usize)]) -> Vec<u8> {
    pieces.iter().flat_map(|(letter, count)| vec![*letter; *count]).collect()
}

fn set<const N: usize>(contents: [Vec<u8>; N]) -> BTreeSet<Vec<u8>> {
    contents.into_iter().collect()
}

#[test]
fn what_was_synced_is_there_in_every_state() {
    let script = Script::on(&[("f", b"old")]).write("f", 0, b"new and longer").sync("f");
    assert_eq!(script.states(), states([&[("f", Some(b"new and longer"))]]));
}

#[test]
fn of_a_write_that_was_not_synced_each_sector_is_there_or_not() {
    let old = letters(&[(b'o', 1024)]);
    let script = Script::on(&[("f", &old)]).write("f", 0, &letters(&[(b'n', 1024)]));
    let [oo, on, no, nn] = [(b'o', b'o'), (b'o', b'n'), (b'n', b'o'), (b'n', b'n')]
        .map(|(first, second)| letters(&[(first, 512), (second, 512)]));
    let wanted = set([oo, on, no, nn]);
    assert_eq!(script.contents("f"), wanted);
    // Of 512 bytes alone, too.
    let torn = script.states_by(Data::Sectors(512), Names::ALL[0]);
    assert_eq!(torn, wanted.iter().map(|content| state(&[("f", Some(content))])).collect());
}

#[test]
fn sectors_of_four_kib_tear_at_four_kib_only() {
    let old = letters(&[(b'o', 8192)]);
    let script = Script::on(&[("f", &old)]).write("f", 0, &letters(&[(b'n', 8192)]));
    let found = script.states_by(Data::Sectors(4096), Names::ALL[0]);
    let [oo, on, no, nn] = [(b'o', b'o'), (b'o', b'n'), (b'n', b'o'), (b'n', b'n')]
        .map(|(first, second)| state(&[("f", Some(&letters(&[(first, 4096), (second, 4096)])))]));
    assert_eq!(found, BTreeSet::from([oo, on, no, nn]));
}

#[test]
fn a_sector_that_was_written_twice_is_never_newer_and_older_at_once() {
    let old = letters(&[(b'o', 512)]);
    let script = Script::on(&[("f", &old)]).write("f", 0, &letters(&[(b'1', 300)])).write(
        "f",
        100,
        &letters(&[(b'2', 300)]),
    );
    let first = letters(&[(b'1', 300), (b'o', 212)]);
    let second = letters(&[(b'1', 100), (b'2', 300), (b'o', 112)]);
    assert_eq!(script.contents("f"), set([old, first, second]));
}

#[test]
fn size_and_data_of_an_append_come_each_in_its_own_time() {
    let old = letters(&[(b'o', 512)]);
    let script = Script::on(&[("f", &old)]).write("f", 512, &letters(&[(b'n', 512)]));
    let whole = letters(&[(b'o', 512), (b'n', 512)]);
    let zeros = letters(&[(b'o', 512), (0, 512)]);
    assert_eq!(script.contents("f"), set([old, whole, zeros]));
}

#[test]
fn a_file_that_was_cut_may_be_long_still_and_never_shows_again_what_was_cut_off() {
    let old = letters(&[(b'o', 600)]);
    let script = Script::on(&[("f", &old)]).resize("f", 100).sync("f").resize("f", 600);
    let short = letters(&[(b'o', 100)]);
    let again = letters(&[(b'o', 100), (0, 500)]);
    assert_eq!(script.contents("f"), set([short, again]));
    let script = Script::on(&[("f", &old)]).resize("f", 0);
    let found = script.contents("f");
    assert!(found.contains(&old) && found.contains(&Vec::new()), "{} states", found.len());
    assert!(found.iter().all(|content| content.iter().all(|byte| [b'o', 0].contains(byte))));
}

#[test]
fn a_beginning_of_all_writes_has_no_hole() {
    let old = letters(&[(b'o', 512)]);
    let files: Vec<_> = ["a", "b", "c"].iter().map(|name| (*name, old.as_slice())).collect();
    let new = letters(&[(b'n', 512)]);
    let script = Script::on(&files).write("b", 0, &new).write("a", 0, &new).write("c", 0, &new);
    let (o, n) = (Some(old.as_slice()), Some(new.as_slice()));
    let wanted = states([
        &[("a", o), ("b", o), ("c", o)],
        &[("a", o), ("b", n), ("c", o)],
        &[("a", n), ("b", n), ("c", o)],
        &[("a", n), ("b", n), ("c", n)],
    ]);
    assert_eq!(script.states_by(Data::Beginning, Names::ALL[0]), wanted);
    // Each by itself, all eight come.
    assert_eq!(script.states_by(Data::Writes, Names::ALL[0]).len(), 8);
    assert_eq!(script.states_by(Data::Nothing, Names::ALL[0]), states([&[("a", o), ("b", o), ("c", o)]]));
    assert_eq!(script.states_by(Data::Everything, Names::ALL[0]), states([&[("a", n), ("b", n), ("c", n)]]));
}

#[test]
fn whole_writes_are_whole_and_stand_on_those_below_them() {
    let old = letters(&[(b'o', 8192)]);
    // The second lies over a part of the first, in the same page.
    let script = Script::on(&[("f", &old)]).write("f", 0, &letters(&[(b'1', 8192)])).write(
        "f",
        10,
        &letters(&[(b'2', 10)]),
    );
    let first = letters(&[(b'1', 8192)]);
    let both = letters(&[(b'1', 10), (b'2', 10), (b'1', 8172)]);
    let found = script.states_by(Data::Writes, Names::ALL[0]);
    assert_eq!(found, [old, first, both].iter().map(|content| state(&[("f", Some(content))])).collect());
}

#[test]
fn a_sync_that_failed_covers_nothing_and_neither_does_the_next() {
    let old = letters(&[(b'o', 512)]);
    let new = letters(&[(b'n', 512)]);
    let script = Script::on(&[("f", &old)]).write("f", 0, &new).sync_with("f", true).sync("f");
    assert_eq!(script.contents("f"), set([old.clone(), new.clone()]));
    // Written once more, the page is dirty again, and the next sync writes all of it.
    let script =
        Script::on(&[("f", &old)]).write("f", 0, &new).sync_with("f", true).write("f", 0, b"x").sync("f");
    assert_eq!(script.contents("f"), set([[b"x".to_vec(), letters(&[(b'n', 511)])].concat()]));
}

#[test]
fn a_name_is_durable_with_its_folder_and_only_then() {
    let made = Script::on(&[]).create("f").write("f", 0, b"data").sync("f");
    let (absent, there) = (state(&[]), state(&[("f", Some(b"data"))]));
    for names in [Names::Subset { file_too: false }, Names::InOrder { file_too: false }] {
        let found = made.states_by(Data::Nothing, names);
        assert_eq!(found, BTreeSet::from([absent.clone(), there.clone()]), "{names:?}");
    }
    for names in [Names::Subset { file_too: true }, Names::InOrder { file_too: true }] {
        assert_eq!(made.states_by(Data::Nothing, names), BTreeSet::from([there.clone()]), "{names:?}");
    }
    assert_eq!(made.sync_folder("").states(), BTreeSet::from([there]));
}

#[test]
fn a_folder_that_was_synced_may_itself_be_gone() {
    let script = Script::on(&[]).mkdir("x").create("x/f").sync_folder("x");
    let found = script.states_by(Data::Nothing, Names::Subset { file_too: false });
    assert_eq!(found, states([&[], &[("x", None), ("x/f", Some(b""))]]));
    // A file's sync brings its way up with it where it brings its name.
    let script = Script::on(&[]).mkdir("x").create("x/f").sync("x/f");
    let found = script.states_by(Data::Nothing, Names::Subset { file_too: true });
    assert_eq!(found, states([&[("x", None), ("x/f", Some(b""))]]));
}

#[test]
fn names_come_in_any_subset_or_in_order() {
    let script = Script::on(&[("old", b"1")]).create("a").create("b").remove("old");
    let any = script.states_by(Data::Nothing, Names::Subset { file_too: false });
    assert_eq!(any.len(), 8);
    let (empty, one): (Option<&[u8]>, Option<&[u8]>) = (Some(b""), Some(b"1"));
    let in_order = script.states_by(Data::Nothing, Names::InOrder { file_too: false });
    let wanted = states([
        &[("old", one)],
        &[("a", empty), ("old", one)],
        &[("a", empty), ("b", empty), ("old", one)],
        &[("a", empty), ("b", empty)],
    ]);
    assert_eq!(in_order, wanted);
}

#[test]
fn a_rename_has_happened_at_both_ends_or_at_neither() {
    let files: [(&str, &[u8]); 2] = [("new", b"n"), ("name", b"o")];
    let script =
        Script::on(&files).mkdir("x").sync_folder("").rename("new", "x/moved").rename("name", "x/moved");
    let (n, o): (Option<&[u8]>, Option<&[u8]>) = (Some(b"n"), Some(b"o"));
    let wanted = states([
        &[("name", o), ("new", n), ("x", None)],
        &[("name", o), ("x", None), ("x/moved", n)],
        &[("x", None), ("x/moved", o)],
    ]);
    assert_eq!(script.states(), wanted);
    // The sync of one of its folders is enough for both.
    let synced = Script::on(&files).mkdir("x").sync_folder("").rename("new", "x/moved").sync_folder("x");
    assert_eq!(synced.states(), states([&[("name", o), ("x", None), ("x/moved", n)]]));
}

#[test]
fn a_name_that_was_used_twice_keeps_its_order() {
    let script = Script::on(&[("f", b"old")]).remove("f").create("f").write("f", 0, b"new").sync("f");
    let found = script.states_by(Data::Nothing, Names::Subset { file_too: false });
    assert_eq!(found, states([&[("f", Some(b"old"))], &[], &[("f", Some(b"new"))]]));
}

/// How a file is replaced so that it is there whole or not at all; and what comes of it without its sync.
#[test]
fn a_file_that_is_replaced_as_it_should_be_is_always_whole() {
    let begun = || Script::on(&[("f", b"old")]).create("f.unfinished").write("f.unfinished", 0, b"new");
    let right = begun().sync("f.unfinished").rename("f.unfinished", "f");
    assert_eq!(right.contents("f"), set([b"old".to_vec(), b"new".to_vec()]));
    let done = right.sync_folder("");
    assert_eq!(done.states(), states([&[("f", Some(b"new"))]]));
    let wrong = begun().rename("f.unfinished", "f").sync_folder("");
    assert_eq!(wrong.contents("f"), set([Vec::new(), vec![0; 3], b"new".to_vec()]));
}

#[test]
fn an_operation_that_is_left_out_is_as_if_it_had_not_been_made() {
    let script = Script::on(&[("f", b"old")]).write("f", 0, b"new").sync("f");
    let mut replay = Replay::new(&script.base);
    for op in &script.ops {
        replay.handle(op, op.synced().is_some());
    }
    let found: BTreeSet<Seen> = (0..500).map(|seed| seen(&replay.cut(seed).0)).collect();
    assert_eq!(found, states([&[("f", Some(b"old"))], &[("f", Some(b"new"))]]));
}

#[test]
fn a_seed_gives_one_state() {
    let script = Script::on(&[("f", &letters(&[(b'o', 9_000)]))])
        .write("f", 100, &letters(&[(b'n', 8_000)]))
        .create("g")
        .rename("f", "h");
    let (one, other) = (script.replay(), script.replay());
    for seed in 0..200 {
        assert_eq!(one.cut(seed), other.cut(seed));
    }
}

#[test]
fn a_tree_is_the_same_after_it_was_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        Script::on(&[("f", b"one")]).mkdir("x").mkdir("x/y").create("x/y/g").write("x/y/g", 3, b"two");
    let place = folder.path().join("tree");
    script.tree.write_to(&place).unwrap();
    assert_eq!(Tree::read_from(&place).unwrap(), script.tree);
}

#[derive(Clone, Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Resize(u64),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..9_000u64, any::<u8>(), 1..5_000usize).prop_map(|(at, byte, count)| Step::Write(at, vec![byte; count])),
        1 => (0..12_000u64).prop_map(Step::Resize),
        1 => Just(Step::Sync),
    ]
}

proptest! {
    /// Whatever was done to a file: its size is one that it had since the sync, and each byte is one that
    /// stood there since the sync, or a zero where the file was shorter.
    #[test]
    fn no_state_holds_what_never_stood_there(steps in prop::collection::vec(step(), 1..12), seeds in 0..1_000u64) {
        let mut script = Script::on(&[("f", &[1; 700])]);
        let mut versions = vec![vec![1; 700]];
        for step in &steps {
            script = match step {
                Step::Write(at, bytes) => script.write("f", *at, bytes),
                Step::Resize(size) => script.resize("f", *size),
                Step::Sync => script.sync("f"),
            };
            let current = script.tree.content(script.at("f")).unwrap().to_vec();
            if matches!(step, Step::Sync) {
                versions.clear();
            }
            versions.push(current);
        }
        let replay = script.replay();
        for seed in seeds..seeds + 20 {
            let (tree, _) = replay.cut(seed);
            let content = tree.content(tree.at(Path::new("f")).unwrap()).unwrap().to_vec();
            // A write beyond the end sets the size in one step.
            prop_assert!(versions.iter().any(|version| version.len() == content.len()), "size {}", content.len());
            for (place, byte) in content.iter().enumerate() {
                let stood = versions.iter().any(|version| version.get(place).copied().unwrap_or(0) == *byte);
                prop_assert!(stood, "byte {place} is {byte}");
            }
        }
    }
}
