//! The disk itself, through the kernel.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use wardline::lab::disk::{Disk, Fault, Kind, Node, Op, Replay, Tree, Trouble, run_as_root};

const MIB: u64 = 1024 * 1024;

#[test]
fn every_write_is_in_the_record_before_it_returns() {
    if !run_as_root("disk::every_write_is_in_the_record_before_it_returns").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path(), Tree::default(), 64 * MIB).unwrap();
    let path = folder.path().join("file");
    let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    for n in 1..=5 {
        file.write_all(&[n; 700]).unwrap();
        assert_eq!(disk.position(), 1 + usize::from(n));
    }
    // The kernel hands a long one over in pieces, all of them before it returns.
    file.write_all_at(&vec![9; 300_000], 10_000).unwrap();
    let mut next = 10_000;
    for op in disk.record().get(6..).unwrap() {
        let Op::Write { offset, bytes, .. } = op else { panic!("{op:?}") };
        assert_eq!(*offset, next);
        next += u64::try_from(bytes.len()).unwrap();
    }
    assert_eq!(next, 310_000);
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    File::open(folder.path()).unwrap().sync_all().unwrap();
    let syncs: Vec<_> = disk.record().into_iter().filter(|op| op.synced().is_some()).collect();
    assert!(matches!(
        &syncs[..],
        [Op::Sync { data_only: true, .. }, Op::Sync { data_only: false, .. }, Op::SyncFolder { .. }]
    ));
    // What programs read is what they wrote, and the tree says the same.
    let mut read = Vec::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_end(&mut read).unwrap();
    assert_eq!(read.len(), 310_000);
    let tree = disk.tree();
    assert_eq!(**tree.content(tree.at("file".as_ref()).unwrap()).unwrap(), read);
    drop(file);
    disk.unmount().unwrap();
}

#[test]
fn what_sled_calls_a_flush_is_no_sync() {
    if !run_as_root("disk::what_sled_calls_a_flush_is_no_sync").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path(), Tree::default(), 64 * MIB).unwrap();
    let db = sled::Config::new().path(folder.path().join("db")).flush_every_ms(None).open().unwrap();
    let opened = disk.position();
    db.insert(b"key", vec![7; 5_000]).unwrap();
    // On Linux this is `sync_file_range`, which neither empties a drive's cache nor writes a file's size.
    db.flush().unwrap();
    let done = disk.record().split_off(opened);
    assert!(done.iter().any(|op| op.kind() == Kind::Write), "{done:?}");
    assert!(!done.iter().any(|op| op.synced().is_some()), "{done:?}");
    drop(db);
    disk.unmount().unwrap();
}

#[test]
fn it_is_file_system_enough_for_a_store() {
    if !run_as_root("disk::it_is_file_system_enough_for_a_store").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path(), Tree::default(), 2 * MIB).unwrap();
    let at = |name: &str| folder.path().join(name);
    let volume = rustix::fs::statvfs(folder.path()).unwrap();
    assert_eq!(volume.f_blocks * volume.f_frsize, 2 * MIB);
    // Locks keep others out, and go with their holder.
    let holder = File::create(at("lock")).unwrap();
    holder.try_lock().unwrap();
    let other = File::open(at("lock")).unwrap();
    assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    drop(holder);
    other.try_lock().unwrap();
    // Sizes, blocks, names.
    let mut file = File::create(at("a")).unwrap();
    file.write_all(&[1; 5_000]).unwrap();
    assert_eq!((file.metadata().unwrap().len(), file.metadata().unwrap().blocks()), (5_000, 16));
    file.set_len(10).unwrap();
    assert_eq!(fs::read(at("a")).unwrap(), [1; 10]);
    fs::create_dir_all(at("x/y/z")).unwrap();
    fs::rename(at("a"), at("x/y/z/b")).unwrap();
    file.write_all_at(b"still", 0).unwrap();
    assert_eq!(fs::read(at("x/y/z/b")).unwrap(), b"still\x01\x01\x01\x01\x01");
    for n in 0..300 {
        File::create(at(&format!("x/y/many-{n}"))).unwrap();
    }
    assert_eq!(fs::read_dir(at("x/y")).unwrap().count(), 301);
    assert!(fs::remove_dir(at("x")).is_err());
    fs::remove_dir_all(at("x")).unwrap();
    assert!(!at("x").exists());
    // A file without a name lives while it is open.
    assert_eq!(file.metadata().unwrap().len(), 10);
    // Full is full, and room comes back.
    let full = File::create(at("large")).unwrap().write_all(&vec![0; 3 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    fs::remove_file(at("large")).unwrap();
    File::create(at("small")).unwrap().write_all(&[0; 1000]).unwrap();
    drop((file, other));
    disk.unmount().unwrap();
}

#[test]
fn it_fails_when_it_is_told_to() {
    if !run_as_root("disk::it_fails_when_it_is_told_to").unwrap() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = Disk::mount(folder.path(), Tree::default(), 64 * MIB).unwrap();
    let mut file = File::create(folder.path().join("file")).unwrap();
    file.write_all(b"kept").unwrap();
    file.sync_all().unwrap();
    disk.fail(Some(Fault { after: 0, times: 2, trouble: Trouble::Broken, short: true }));
    // Half of it is written, then it fails; and the next call too.
    assert!(file.write_all(&[7; 100]).is_err());
    assert_eq!(file.metadata().unwrap().len(), 54);
    assert!(file.sync_all().is_err());
    file.sync_all().unwrap();
    assert_eq!(disk.failed().1, 2);
    // The sync that failed took the data for written: a later one that succeeds does not cover it.
    let mut replay = Replay::new(&Tree::default());
    disk.record().iter().for_each(|op| replay.handle(op, false));
    let seen: std::collections::BTreeSet<Vec<u8>> = (0..2_000)
        .filter_map(|seed| {
            let (tree, _) = replay.cut(seed);
            let file = tree.at("file".as_ref()).ok()?;
            let Node::File(content) = tree.node(file).unwrap() else { panic!("a folder") };
            Some(content.to_vec())
        })
        .collect();
    let [lost, whole] = [[b"kept".to_vec(), vec![0; 50]].concat(), [b"kept".to_vec(), vec![7; 50]].concat()];
    assert!(seen.contains(&lost) && seen.contains(&whole), "{seen:?}");
    // Frozen, nothing works, and nothing is written down.
    let position = disk.freeze();
    assert!(file.write_all(b"late").is_err() && file.sync_all().is_err());
    assert!(File::create(folder.path().join("other")).is_err());
    disk.thaw();
    assert_eq!(disk.position(), position);
    file.write_all(b"on").unwrap();
    drop(file);
    disk.unmount().unwrap();
}
