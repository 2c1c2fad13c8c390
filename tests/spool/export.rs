//! `wardline spool export` and `wardline audit`: everything that is there comes out once, who took it is written
//! down before, and whoever may not gets nothing.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value as Json, json};
use wardline::cli::exit::Exit;
use wardline::device::observation::Lane;

use crate::left_out::left_out;
use crate::support::{
    BLOCKS, Done, Gateway, RECORDS, Ward, audited, finish, flip, now, put, sha256, terminal, typed,
};

const REASON: &str = "Dr. Meyer: recall 2026-4, broker unreachable";

fn code(exit: Exit) -> i32 {
    i32::from(exit.code())
}

fn export(gateway: &Gateway, out: &Path, more: &[&str]) -> Done {
    let mut arguments = vec!["spool", "export", "--reason", REASON, "--out", out.to_str().unwrap()];
    arguments.extend(more);
    gateway.run(&arguments)
}

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn everything_in_the_store_comes_out_once_and_in_order() {
    let gateway = Gateway::filled();
    let out = gateway.path().join("out.jsonl");
    let before = gateway.image();
    let done = export(&gateway, &out, &["--yes"]);
    assert_eq!((done.code, done.out.as_str()), (code(Exit::Ok), ""), "{}", done.err);
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let lines = lines(std::str::from_utf8(&bytes).unwrap());
    let kept = (6 + 14 - BLOCKS + 2) * RECORDS;
    assert_eq!(lines.len() as u64, kept + 1);
    let keys: BTreeSet<_> = lines.iter().map(|line| line["key"].as_str().unwrap()).collect();
    assert_eq!(keys.len(), lines.len());
    // The first block that is left of the vital lane: its readings count on from those that are gone.
    let vital: Vec<_> = lines.iter().filter(|line| line["lane"] == "vital").collect();
    let first = (6 + BLOCKS) * RECORDS + 1;
    for (line, number) in vital.iter().zip(first..) {
        assert_eq!(line["value"], json!(format!("{}.{}", number / 10, number % 10)));
        assert_eq!(line["seq"], json!(number));
    }
    assert_eq!(vital[0]["acknowledged"], json!(true));
    assert_eq!(vital[usize::try_from(RECORDS).unwrap()]["acknowledged"], json!(false));
    let line = vital[0];
    assert!(line["key"].as_str().unwrap().ends_with("-vital-2-0-0"), "{line}");
    for (key, value) in [
        ("device", json!("pump-1")),
        ("pseudonym", json!("0123456789abcdef0123456789abcdef")),
        ("security", json!("serial")),
        ("run", json!("000000000000004d")),
        ("ref", json!("MDC_FLOW_FLUID_PUMP")),
        ("unit", json!("mL/h")),
        ("kind", json!("measurement")),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    let gap = lines.iter().find(|line| line.get("gap").is_some()).unwrap();
    assert_eq!((&gap["lane"], &gap["gap"]["count"]), (&json!("bulk"), &json!(9)));
    // Nothing of the store was touched.
    let after = gateway.image();
    assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)));
    // And the log says who took what.
    let log = audited(&gateway);
    assert_eq!(log.len(), 2);
    assert_eq!((&log[0]["action"], &log[1]["action"]), (&json!("spool-export"), &json!("spool-export-end")));
    for entry in &log {
        assert_eq!((&entry["about"]["reason"], &entry["about"]["gateway"]), (&json!(REASON), &json!("gw-1")));
    }
    let end = &log[1]["about"];
    assert_eq!((&end["observations"], &end["gaps"]), (&json!(kept), &json!(1)));
    assert_eq!((&end["sha256"], &end["bytes"]), (&json!(sha256(&bytes)), &json!(bytes.len())));
    assert!(done.err.contains(&sha256(&bytes)), "{}", done.err);
}

#[test]
fn lane_and_time_narrow_what_is_taken_and_a_pipe_is_served() {
    let gateway = Gateway::filled();
    let stdout = Path::new("-");
    let alarms = export(&gateway, stdout, &["--yes", "--lane", "alarm"]);
    assert_eq!(alarms.code, code(Exit::Ok), "{}", alarms.err);
    let alarms = lines(&alarms.out);
    assert_eq!(alarms.len() as u64, 6 * RECORDS);
    // From one reading on, up to another, by the times that they have themselves.
    let at = |place: usize| alarms[place]["at"].as_str().unwrap().to_owned();
    let (from, to) = (at(40), at(120));
    let some = export(&gateway, stdout, &["--yes", "--lane", "alarm", "--from", &from, "--to", &to]);
    let expected = alarms.iter().filter(|line| {
        let at = line["at"].as_str().unwrap();
        at >= from.as_str() && at < to.as_str()
    });
    let expected: Vec<_> = expected.cloned().collect();
    assert!(expected.len() > 1 && expected.len() < alarms.len(), "{from} {to}");
    assert_eq!(lines(&some.out), expected);
    let none = export(&gateway, stdout, &["--yes", "--to", "1971-01-01"]);
    assert_eq!(lines(&none.out).len(), 1, "the gap record tells of 1970");
    let log = audited(&gateway);
    assert_eq!(log.len(), 6);
    assert_eq!((&log[2]["about"]["from"], &log[2]["about"]["lanes"]), (&json!(from), &json!(["alarm"])));
}

#[test]
fn beside_a_running_daemon_what_is_stored_so_far_comes_out() {
    let gateway = Gateway::filled();
    let (mut writer, reader) = gateway.open();
    let mut ward = Ward::new();
    writer.append(Lane::Alarm, &ward.block(), now()).unwrap();
    let done = export(&gateway, Path::new("-"), &["--yes", "--lane", "alarm"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!(lines(&done.out).len() as u64, 7 * RECORDS);
    assert!(done.err.contains("the daemon is running"), "{}", done.err);
    writer.append(Lane::Alarm, &ward.block(), now()).unwrap();
    gateway.abandon((writer, reader));
}

#[test]
fn nothing_leaves_without_a_name_a_reason_and_a_key() {
    let gateway = Gateway::filled();
    let out = gateway.path().join("out.jsonl");
    let path = out.to_str().unwrap();
    let refused = |done: Done, exit: Exit, word: &str| {
        assert_eq!(done.code, code(exit), "{}", done.err);
        assert!(done.err.contains(word), "{word:?} is not in {}", done.err);
        assert_eq!(done.out, "");
        let beside = |name: &str| gateway.path().join(name).exists();
        assert!(!beside("out.jsonl") && !beside("out.jsonl.unfinished"));
        assert!(!gateway.audit().exists(), "nothing was begun");
    };
    refused(gateway.run(&["spool", "export", "--out", path, "--yes"]), Exit::Usage, "--reason");
    let poor = ["spool", "export", "--out", path, "--yes", "--reason", "because"];
    refused(gateway.run(&poor), Exit::Usage, "who and why");
    refused(export(&gateway, &out, &[]), Exit::Refused, "--yes");
    let command = || gateway.command(&["spool", "export", "--reason", REASON, "--out", path]);
    refused(typed(&mut command(), "gw-2"), Exit::Refused, "not the name of this gateway");
    refused(typed(&mut command(), ""), Exit::Refused, "not the name of this gateway");
    let hidden = gateway.path().join("hidden");
    std::fs::rename(gateway.kek(), &hidden).unwrap();
    refused(export(&gateway, &out, &["--yes"]), Exit::Keys, "never a new one");
    std::fs::rename(&hidden, gateway.kek()).unwrap();
    let done = typed(&mut command(), "gw-1");
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert!(out.exists());
}

#[test]
fn nothing_leaves_that_is_not_in_the_audit_log_first() {
    let gateway = Gateway::filled();
    std::os::unix::fs::symlink("/nonexistent/log", gateway.audit()).unwrap();
    let out = gateway.path().join("out.jsonl");
    let done = export(&gateway, &out, &["--yes"]);
    assert_eq!(done.code, code(Exit::Failed));
    assert!(done.err.contains("nothing was exported") && done.err.contains("audit.jsonl"), "{}", done.err);
    assert!(!out.exists());
    let done = export(&gateway, Path::new("-"), &["--yes"]);
    assert_eq!((done.code, done.out.as_str()), (code(Exit::Failed), ""));
}

#[test]
fn it_writes_nowhere_where_others_can_read_or_something_stands() {
    let gateway = Gateway::filled();
    let out = gateway.path().join("out.jsonl");
    put(&out, b"precious");
    let done = export(&gateway, &out, &["--yes"]);
    assert_eq!(done.code, code(Exit::Refused));
    assert!(done.err.contains("exists already"), "{}", done.err);
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = std::fs::File::options().write(true).open(&out).unwrap();
    let mut command = gateway.command(&["spool", "export", "--yes", "--reason", REASON, "--out", "-"]);
    let status = command.stdout(Stdio::from(open)).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(code(Exit::Refused)));
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    assert!(!gateway.audit().exists());
}

#[test]
fn another_user_gets_nothing() {
    if !rustix::process::geteuid().is_root() {
        left_out("export::another_user_gets_nothing", "only root can become another user");
        return;
    }
    let gateway = Gateway::filled();
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for path in [gateway.path(), gateway.store().parent().unwrap()] {
        open(path, 0o755);
    }
    open(&gateway.path().join("gateway.toml"), 0o644);
    let mut command = gateway.command(&["spool", "export", "--yes", "--reason", REASON, "--out", "-"]);
    let done = finish(command.uid(65_534).gid(65_534).current_dir("/"));
    assert_eq!((done.code, done.out.as_str()), (code(Exit::Refused), ""), "{}", done.err);
    assert!(done.err.contains("only root and the owner"), "{}", done.err);
}

#[test]
fn what_is_damaged_is_left_out_and_counted() {
    let gateway = Gateway::filled();
    flip(&gateway.store().join("vital/3/header"), 40);
    let done = export(&gateway, Path::new("-"), &["--yes", "--lane", "vital"]);
    assert_eq!(done.code, code(Exit::Damaged));
    assert_eq!(lines(&done.out).len() as u64, (14 - 2 * BLOCKS) * RECORDS);
    assert!(done.err.contains("1 blocks could not be read"), "{}", done.err);
    assert_eq!(audited(&gateway)[1]["about"]["unread_blocks"], json!(1));
}

/// A folder in the place of a database, and a pipe that nobody writes to.
#[test]
fn a_segment_that_cannot_be_read_is_named_and_the_others_come_out() {
    for make in [|path: &Path| std::fs::create_dir(path).unwrap(), make_pipe] {
        let gateway = Gateway::filled();
        let database = gateway.store().join("vital/3/sled/db");
        std::fs::remove_file(&database).unwrap();
        make(&database);
        let done = export(&gateway, Path::new("-"), &["--yes", "--lane", "vital"]);
        assert_eq!(done.code, code(Exit::Damaged), "{}", done.err);
        assert_eq!(lines(&done.out).len() as u64, (14 - 2 * BLOCKS) * RECORDS);
        assert!(done.err.contains("vital/3") && done.err.contains("not a regular file"), "{}", done.err);
        assert!(done.err.contains(&format!("{BLOCKS} blocks could not be read")), "{}", done.err);
        assert_eq!(audited(&gateway)[1]["about"]["unread_blocks"], json!(BLOCKS));
        // Without its footer nobody knows how many blocks it held.
        std::fs::remove_file(gateway.store().join("vital/3/footer")).unwrap();
        let done = export(&gateway, Path::new("-"), &["--yes", "--lane", "vital"]);
        assert_eq!(done.code, code(Exit::Damaged), "{}", done.err);
        assert!(done.err.contains("could not be read"), "{}", done.err);
    }
}

fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// It waits for a name to be typed, with its file open, and is killed: nothing is left that somebody could find.
#[test]
fn an_export_that_is_killed_leaves_no_file() {
    let gateway = Gateway::filled();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.jsonl");
    let (_person, terminal) = terminal();
    let mut command =
        gateway.command(&["spool", "export", "--reason", REASON, "--out", out.to_str().unwrap()]);
    let mut child = command.stdin(Stdio::from(terminal)).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("type the name"), "{said}");
    let open: Vec<_> = std::fs::read_dir(format!("/proc/{}/fd", child.id()))
        .unwrap()
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .filter(|file| file.starts_with(folder.path()))
        .collect();
    assert_eq!(open.len(), 1, "its file is open: {open:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let done = export(&gateway, &out, &["--yes"]);
    assert_eq!(done.code, code(Exit::Ok), "{}", done.err);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// The reader of a pipe goes away: what left is in the log, with why it was not all.
#[test]
fn an_export_that_is_cut_short_says_so_in_the_log() {
    let gateway = Gateway::filled();
    let mut command = gateway.command(&["spool", "export", "--yes", "--reason", REASON, "--out", "-"]);
    let (reader, pipe) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdout(pipe).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(code(Exit::Failed)));
    let log = audited(&gateway);
    assert_eq!(log.len(), 2);
    let end = &log[1]["about"];
    assert_eq!(end["bytes"], json!(0));
    assert!(end["error"].as_str().unwrap().contains("pipe"), "{end}");
}

#[test]
fn the_audit_log_is_shown_and_its_chain_is_checked() {
    let gateway = Gateway::filled();
    let empty = gateway.run(&["audit"]);
    assert_eq!(empty.code, code(Exit::Ok));
    assert!(empty.out.contains("nothing was taken out"), "{}", empty.out);
    for _ in 0..2 {
        export(&gateway, Path::new("-"), &["--yes"]);
    }
    let shown = gateway.run(&["audit"]);
    assert_eq!(shown.code, code(Exit::Ok), "{}", shown.err);
    assert!(shown.out.contains(REASON) && shown.out.contains("4 lines in"), "{}", shown.out);
    let page = gateway.run(&["audit", "--json"]).json();
    assert_eq!((&page["sound"], &page["lines"]), (&json!(true), &json!(4)));
    let text = std::fs::read_to_string(gateway.audit()).unwrap();
    assert_eq!(page["head"], json!(sha256(text.lines().last().unwrap().as_bytes())));
    put(&gateway.audit(), text.replacen("Meyer", "Mayer", 1).as_bytes());
    let broken = gateway.run(&["audit", "--json"]);
    assert_eq!(broken.code, code(Exit::Damaged));
    assert_eq!(broken.json()["troubles"][0]["line"], json!(2));
    let kept: Vec<_> = text.lines().collect();
    put(&gateway.audit(), format!("{}\n{}\n", kept[0], kept[2]).as_bytes());
    let cut = gateway.run(&["audit"]);
    assert_eq!(cut.code, code(Exit::Damaged));
    assert!(cut.out.contains("does not follow"), "{}", cut.out);
}
