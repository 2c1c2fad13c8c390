//! The audit log: who took data out of the gateway or destroyed it, who paired devices, and which devices the allowlist
//! took in or let go, when and why. One JSON object a line.
//!
//! In: what is done, before and after it is done. Out: a line that is durable, with the hash (SHA-256) of the
//! line before it, so that no line can be changed, left out or put in between without a trace. What can go
//! wrong: it cannot be written; then what it was to say must not be done. What never happens: a line is changed
//! or removed; a reading is in it.
//!
//! The chain is not signed: who may write the file can cut its end off or make it anew. What shows that is the
//! head, noted elsewhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use ring::digest;
use serde::Serialize;
use serde_json::{Map, Value};

use super::atomic_file;
use crate::envelope::block::hex;
use crate::time::Wall;

/// What the line before the first one counts as.
const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// No line is longer.
const MAX_LINE: u64 = 64 * 1024;
/// What the kernel says when nobody logged in: the process comes from the system itself.
const NO_LOGIN: u32 = u32::MAX;

/// The log.
#[derive(Clone, Debug)]
pub struct AuditLog(PathBuf);

/// What is written.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_uid: Option<u32>,
    pid: u32,
    action: &'a str,
    about: &'a Map<String, Value>,
    previous: String,
}

/// A line that was read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place, from 1.
    pub line: u64,
    /// What it says; `None` when it is no object.
    pub says: Option<Map<String, Value>>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Half a line, which the next one continues from: the power went while it was written.
    #[error("it was cut short by a power cut; what it was to tell of was not begun")]
    Torn,
    /// It does not follow the line before.
    #[error(
        "it does not follow the line before it: one of the two was changed, or lines between were removed"
    )]
    Chain,
    /// It is no line of this log.
    #[error("it is not a line of an audit log")]
    Foreign,
}

impl AuditLog {
    /// The log of the gateway whose store is in a folder: it stands beside that, and outlives it.
    pub fn beside(store: &Path) -> Self {
        Self(store.with_file_name("audit.jsonl"))
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Adds what this process does. Durable on return.
    pub fn append(&self, at: Wall, action: &str, about: &Map<String, Value>) -> io::Result<()> {
        atomic_file::append(&self.0, |last| {
            let line = Line {
                at: at.to_string(),
                uid: rustix::process::getuid().as_raw(),
                login_uid: login_uid(),
                pid: std::process::id(),
                action,
                about,
                previous: last.map_or_else(|| START.to_owned(), hash),
            };
            serde_json::to_vec(&line).map_err(io::Error::other)
        })
    }

    /// Reads it from the first line on. Out: how many lines it has, and the hash of the last one.
    pub fn read(&self, visit: &mut dyn FnMut(Entry) -> io::Result<()>) -> io::Result<(u64, String)> {
        let mut file = BufReader::new(File::open(&self.0)?);
        let (mut count, mut before) = (0, START.to_owned());
        let mut line = Vec::new();
        // Whether a line was torn is known only when the next one follows from it.
        let mut waiting: Option<Entry> = None;
        loop {
            line.clear();
            if (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let is_whole = line.last() == Some(&b'\n');
            let body = line.strip_suffix(b"\n").unwrap_or(&line);
            count += 1;
            let says = serde_json::from_slice(body).ok();
            let follows = previous(says.as_ref()) == Some(before.as_str());
            if let Some(entry) = waiting.take() {
                let trouble = if follows { Trouble::Torn } else { Trouble::Foreign };
                visit(Entry { trouble: Some(trouble), ..entry })?;
            }
            let trouble = if follows { None } else { Some(Trouble::Chain) };
            let entry = Entry { line: count, trouble, says };
            if entry.says.is_none() || !is_whole {
                waiting = Some(entry);
            } else {
                visit(entry)?;
            }
            before = hash(body);
        }
        if let Some(entry) = waiting {
            visit(Entry { trouble: Some(Trouble::Torn), ..entry })?;
        }
        Ok((count, before))
    }
}

fn previous(says: Option<&Map<String, Value>>) -> Option<&str> {
    says?.get("previous")?.as_str()
}

fn hash(line: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, line).as_ref())
}

/// Who logged in to the session that this process belongs to, whoever it became since (`sudo`).
fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != NO_LOGIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn log(lines: u64) -> (tempfile::TempDir, AuditLog) {
        let folder = tempfile::tempdir().unwrap();
        let log = AuditLog::beside(&folder.path().join("store"));
        for number in 0..lines {
            let about = Map::from_iter([("number".to_owned(), json!(number))]);
            log.append(Wall::from_millis(1_000), "test", &about).unwrap();
        }
        (folder, log)
    }

    fn troubles(log: &AuditLog) -> Vec<(u64, Trouble)> {
        let mut found = Vec::new();
        log.read(&mut |entry| {
            found.extend(entry.trouble.map(|trouble| (entry.line, trouble)));
            Ok(())
        })
        .unwrap();
        found
    }

    fn lines(log: &AuditLog) -> Vec<String> {
        std::fs::read_to_string(log.path()).unwrap().lines().map(str::to_owned).collect()
    }

    fn put(log: &AuditLog, lines: &[String]) {
        let text = lines.join("\n") + "\n";
        atomic_file::write(log.path(), text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_follow_from_each_other_and_say_who() {
        let (_folder, log) = log(3);
        assert_eq!(troubles(&log), []);
        let mut seen = Vec::new();
        let (count, head) = log
            .read(&mut |entry| {
                seen.push(entry.says.unwrap());
                Ok(())
            })
            .unwrap();
        assert_eq!((count, head), (3, hash(lines(&log)[2].as_bytes())));
        assert_eq!(seen[1]["about"], json!({"number": 1}));
        assert_eq!(seen[0]["previous"], START);
        assert_eq!(seen[0]["uid"], json!(rustix::process::getuid().as_raw()));
        assert_eq!(seen[0]["at"], "1970-01-01T00:00:01.000Z");
    }

    #[test]
    fn a_line_that_is_changed_removed_or_added_is_found() {
        let (_folder, log) = log(4);
        let good = lines(&log);
        let mut changed = good.clone();
        changed[1] = changed[1].replace("1970", "1971");
        put(&log, &changed);
        assert_eq!(troubles(&log), [(3, Trouble::Chain)], "the next one does not follow from it");
        let mut removed = good.clone();
        removed.remove(1);
        put(&log, &removed);
        assert_eq!(troubles(&log), [(2, Trouble::Chain)]);
        let mut added = good.clone();
        added.insert(2, good[0].clone());
        put(&log, &added);
        assert_eq!(troubles(&log), [(3, Trouble::Chain), (4, Trouble::Chain)]);
        let mut swapped = good.clone();
        swapped[0] = "nonsense".to_owned();
        put(&log, &swapped);
        assert_eq!(troubles(&log), [(1, Trouble::Foreign), (2, Trouble::Chain)]);
    }

    #[test]
    fn half_a_line_is_told_from_one_that_was_tampered_with() {
        let (_folder, log) = log(2);
        let mut file = File::options().append(true).open(log.path()).unwrap();
        file.write_all(b"{\"at\":\"19").unwrap();
        assert_eq!(troubles(&log), [(3, Trouble::Torn)], "the last one");
        log.append(Wall::default(), "next", &Map::new()).unwrap();
        assert_eq!(troubles(&log), [(3, Trouble::Torn)], "and continued from");
    }

    #[test]
    fn a_log_that_cannot_be_written_is_an_error() {
        let (folder, log) = log(1);
        let before = lines(&log);
        std::fs::remove_file(log.path()).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), log.path()).unwrap();
        assert!(log.append(Wall::default(), "test", &Map::new()).is_err());
        assert!(!folder.path().join("elsewhere").exists());
        assert_eq!(before.len(), 1);
    }
}
