//! Reads the memory of a process, and says what of some needles is in it.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::needle::{Needle, Search};

/// What stands in a process's memory and would be written to a core dump: everything that is its own
/// (anonymous memory, heap, stacks, changed data of its libraries), not what is a file's.
fn is_its_own(line: &str) -> bool {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (permissions, inode) = (fields[1], fields[4]);
    let is_own = permissions.contains('w') || inode == "0";
    let is_the_kernels = fields.get(5).is_some_and(|name| name.starts_with("[v"));
    permissions.starts_with('r') && is_own && !is_the_kernels
}

/// Beginning and length of a region.
fn span(line: &str) -> (u64, usize) {
    let (from, to) = line.split_ascii_whitespace().next().unwrap().split_once('-').unwrap();
    let address = |text| u64::from_str_radix(text, 16).unwrap();
    (address(from), usize::try_from(address(to) - address(from)).unwrap())
}

/// The memory of a process at one moment, in a file: in the memory of this process it would find itself.
pub(crate) struct Snapshot(tempfile::TempDir);

impl Snapshot {
    /// Of another process, which stands still meanwhile.
    pub(crate) fn of(process: u32) -> Self {
        let snapshot = Self(tempfile::tempdir().unwrap());
        write_down(process, snapshot.0.path());
        snapshot
    }

    /// Of this process, taken by another one: the copy must not be part of what is copied. What is
    /// searched for must be made afterwards.
    pub(crate) fn here() -> Self {
        let snapshot = Self(tempfile::tempdir().unwrap());
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["memory::child_that_writes_down_its_parent", "--exact", "--nocapture"])
            .env(FOLDER, snapshot.0.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        snapshot
    }

    /// Every place at which one of the needles stands.
    pub(crate) fn find(&self, needles: Vec<Needle>) -> Vec<Find> {
        let search = Search::new(needles);
        let maps = std::fs::read_to_string(maps_file(self.0.path())).unwrap();
        let memory = File::open(memory_file(self.0.path())).unwrap();
        let (mut offset, mut places) = (0, Vec::new());
        for line in maps.lines() {
            let (from, length) = span(line);
            let mut content = vec![0; length];
            memory.read_exact_at(&mut content, offset).unwrap();
            offset += u64::try_from(length).unwrap();
            for (at, needle) in search.find(&content) {
                let around = content[at.saturating_sub(48)..(at + 80).min(length)].escape_ascii();
                let region = line.split_ascii_whitespace().nth(5).unwrap_or("anonymous memory");
                let address = from + u64::try_from(at).unwrap();
                let what = needle.what.clone();
                places.push(Find { what, address, around: format!("{region}: {around}") });
            }
        }
        places
    }
}

/// What was found.
#[derive(Debug)]
#[expect(dead_code, reason = "most of it is for whoever reads why a test failed")]
pub(crate) struct Find {
    what: String,
    pub(crate) address: u64,
    /// The region, and what stands before and behind.
    around: String,
}

/// Where the child puts what it read.
const FOLDER: &str = "SECRETS_TEST_SNAPSHOT";

fn maps_file(folder: &Path) -> PathBuf {
    folder.join("maps")
}

fn memory_file(folder: &Path) -> PathBuf {
    folder.join("memory")
}

/// A part of [`Snapshot::here`]; by itself it does nothing.
#[test]
fn child_that_writes_down_its_parent() {
    if let Ok(folder) = std::env::var(FOLDER) {
        write_down(std::os::unix::process::parent_id(), Path::new(&folder));
    }
}

fn write_down(process: u32, folder: &Path) {
    let _still = Still::make(process);
    let root = "the memory of another process can be read by root only: run this test as root";
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect(root);
    let memory = File::open(format!("/proc/{process}/mem")).expect(root);
    let mut to_maps = File::create(maps_file(folder)).unwrap();
    let mut to_memory = File::create(memory_file(folder)).unwrap();
    for line in maps.lines().filter(|line| is_its_own(line)) {
        let (from, length) = span(line);
        let mut content = vec![0; length];
        memory.read_exact_at(&mut content, from).unwrap_or_else(|error| panic!("{line}: {error}"));
        writeln!(to_maps, "{line}").unwrap();
        to_memory.write_all(&content).unwrap();
    }
    assert!(to_memory.metadata().unwrap().len() > 1 << 20, "a process has memory");
}

/// A process that stands still, and goes on when this is dropped.
struct Still(Pid);

impl Still {
    fn make(process: u32) -> Self {
        let id = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        kill_process(id, Signal::STOP).unwrap();
        let still = Self(id);
        while !stands_still(process) {
            std::thread::yield_now();
        }
        still
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

/// Every thread of it: the signal is on its way for a moment.
fn stands_still(process: u32) -> bool {
    std::fs::read_dir(format!("/proc/{process}/task")).unwrap().all(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}
