//! The seal and the keys for themselves, in the memory of this process: here is no allocator that
//! wipes, so what is not found is not found because the library took it away itself.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use ring::rand::SystemRandom;
use wardline::device::observation::Lane;
use wardline::envelope::block::{BlockBuilder, BlockHeader, PlainBlock};
use wardline::envelope::keys::{Kek, KeyFile};
use wardline::envelope::record::Gap;
use wardline::envelope::seal::Place;
use wardline::host::atomic_file;
use wardline::time::{BootId, Wall};
use zeroize::Zeroize as _;

use crate::daemon::unwrapped;
use crate::memory::Snapshot;
use crate::needle::{self, Needle};

/// One at a time: a copy of this memory that another test looks through would be found here.
static ALONE: Mutex<()> = Mutex::new(());

fn new_kek(bytes: &[u8; 32]) -> Kek {
    let home = tempfile::tempdir().unwrap();
    atomic_file::write(&home.path().join("kek"), bytes).unwrap();
    Kek::load(&KeyFile::new(home.path().join("kek"))).unwrap()
}

#[test]
fn the_key_of_a_segment_is_gone_with_its_holder() {
    const KEK: &[u8; 32] = b"a key that stays: 0123456789abcd";
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let kek = new_kek(KEK);
    // Many, as the place of a single one is soon taken by something else.
    let made: Vec<_> = (0..64).map(|_| kek.new_segment(b"header", &SystemRandom::new()).unwrap()).collect();
    let held = Snapshot::here();
    let wrapped: Vec<_> = made.iter().map(|(_, wrapped)| *wrapped).collect();
    drop(made);
    let dropped = Snapshot::here();
    let opened: Vec<_> =
        wrapped.iter().map(|wrapped| kek.open_segment(b"header", wrapped).unwrap()).collect();
    let held_again = Snapshot::here();
    drop(opened);
    let dropped_again = Snapshot::here();
    let next = new_kek(b"the key that follows: 0123456789");
    for wrapped in &wrapped {
        next.rewrap((&kek, b"header", wrapped), b"new header", &SystemRandom::new()).unwrap();
    }
    let moved = Snapshot::here();
    // Only now, when nothing is looked at any more.
    let needles: Vec<Needle> = wrapped
        .iter()
        .flat_map(|wrapped| needle::key("a data key", &unwrapped(KEK, b"header", wrapped)))
        .collect();
    for held in [held, held_again] {
        let found = held.find(needles.clone()).len();
        assert!(found >= wrapped.len(), "keys in use can be found: {found}");
    }
    for (after, how) in
        [(dropped, "made and dropped"), (dropped_again, "opened and dropped"), (moved, "moved")]
    {
        let found = after.find(needles.clone());
        assert!(found.is_empty(), "{how}, {} found: {found:#?}", found.len());
    }
}

/// Letters that look random, so that none of them can be left out by compression.
fn letters(seed: u64, count: usize) -> String {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'A' + u8::try_from((state >> 40) % 26).unwrap())
    };
    (0..count).map(|_| next()).collect()
}

/// A block of so many texts, each of which says its number.
fn block_of(texts: usize) -> PlainBlock {
    let mut builder = BlockBuilder::new(&BlockHeader { boot: BootId([1; 16]), run: 1, devices: Vec::new() });
    for number in 0..texts {
        let (first, last) = (Wall::from_millis(1), Wall::from_millis(2));
        let mut gap = Gap { lane: Lane::Vital, count: 1, first, last, reason: text(texts, number) };
        builder.push_gap(&gap).unwrap();
        gap.reason.zeroize();
    }
    builder.finish()
}

/// A text of a block; in no two blocks the same.
fn text(texts: usize, number: usize) -> String {
    letters(u64::try_from(texts * 10_000_019 + number * 7_919).unwrap(), 200)
}

/// A few texts from all over the block, a piece of each.
fn needles(texts: usize) -> Vec<Needle> {
    let step = (texts / 40).max(1);
    (0..texts)
        .step_by(step)
        .flat_map(|number| {
            let text = text(texts, number);
            [0, 90, 180].map(|from| Needle {
                what: format!("text {number} from {from}"),
                bytes: text.as_bytes()[from..from + 16].to_vec(),
            })
        })
        .collect()
}

/// One test, not one for each size: they would see each other's blocks.
#[test]
fn sealing_and_opening_a_block_leaves_no_copy_of_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let kek = new_kek(b"another key: 0123456789abcdefghi");
    for texts in [1, 20, 300, 1_200] {
        let (keys, _) = kek.new_segment(b"header", &SystemRandom::new()).unwrap();
        let block = block_of(texts);
        let count = block.count();
        let place = Place { store: [7; 16], lane: Lane::Vital, segment: 1, block: 0, count, wall: 5 };
        // What this test's own making of the block left, and the block itself.
        let before = Snapshot::here();
        let sealed = keys.data.seal(&place, &block).unwrap();
        let after_seal = Snapshot::here();
        let opened = keys.data.open(&place, sealed.bytes()).unwrap();
        let open = Snapshot::here();
        // (Read it is not: its texts would be left behind by their own strings.)
        assert_eq!((opened.count(), opened.size()), (count, block.size()));
        assert!(sealed.bytes().len() < usize::try_from(block.size()).unwrap(), "it was compressed");
        drop(opened);
        let after_open = Snapshot::here();
        let known: BTreeSet<u64> = before.find(needles(texts)).iter().map(|find| find.address).collect();
        let new = |snapshot: Snapshot| {
            let mut found = snapshot.find(needles(texts));
            found.retain(|find| !known.contains(&find.address));
            found
        };
        assert!(!known.is_empty() && !new(open).is_empty(), "{texts} texts: what is open can be found");
        for (after, what) in [(after_seal, "sealing"), (after_open, "opening")] {
            let new = new(after);
            assert!(new.is_empty(), "{what} a block of {texts} texts left {}: {new:#?}", new.len());
        }
    }
}
