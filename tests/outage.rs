//! A short outage, compressed in time: everything is kept in bounded memory, arrives once, and its disk
//! is given back. How fast that is, is not asked here.

#![cfg(feature = "lab")]
#![expect(clippy::tests_outside_test_module, clippy::unwrap_used, reason = "the whole file is one")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// In memory where that is possible: thousands of commits, and nothing here is about the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
}

fn outage(arguments: &[&str]) -> Value {
    let folder = folder();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline-lab"))
        .args(["outage", "--json", "--folder"])
        .arg(folder.path())
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{errors}\n{text}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
    serde_json::from_str(&text).unwrap()
}

fn number(figures: &Value, path: &str) -> u64 {
    figures.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {figures}"))
}

#[test]
fn an_hour_without_the_broker_arrives_once_and_leaves_nothing() {
    let figures = outage(&["--hours", "1", "--devices", "25"]);
    let of = |path: &str| number(&figures, path);
    assert_eq!(of("/readings"), 25 * 3_600);
    assert_eq!(of("/filled/observations"), 3 * 25 * 3_600);
    assert_eq!(of("/counted/records"), 3 * 25 * 3_600);
    let wrong = ["twice", "missing", "out_of_order", "told", "gaps", "unreadable"];
    for path in wrong.map(|name| format!("/counted/{name}")) {
        assert_eq!(of(&path), 0, "{path}");
    }
    assert!(of("/full") > 1_000_000 && of("/full") < of("/cap"), "{}", of("/full"));
    assert!(of("/left") < 256 * 1024, "{} bytes are left", of("/left"));
    let most = figures["hours"][0]["rss"][2]
        .as_f64()
        .unwrap()
        .max(figures["drain"]["drained"]["most"].as_f64().unwrap());
    assert!(most > 1.0 && most < 128.0, "{most} MiB");
    assert!(figures["first_publish_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_does_not_fit_is_told_of_to_the_last_record() {
    let figures = outage(&["--hours", "3", "--devices", "25", "--observations", "1", "--cap", "81"]);
    let of = |path: &str| number(&figures, path);
    assert_eq!(of("/filled/observations"), 25 * 3 * 3_600);
    assert!(of("/counted/told") > 0, "nothing was dropped: the cap is not too small");
    assert_eq!(of("/counted/missing"), of("/counted/told"));
    assert_eq!(of("/counted/records") + of("/counted/told"), of("/filled/observations"));
    assert_eq!(of("/counted/twice"), 0);
    assert!(of("/full") <= of("/cap"), "{} of {}", of("/full"), of("/cap"));
    assert!(of("/left") < 256 * 1024, "{} bytes are left", of("/left"));
}

#[test]
fn what_cannot_fit_on_the_disk_is_said_before_it_begins() {
    let folder = folder();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline-lab"))
        .args(["outage", "--cap", "1000000000", "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && errors.contains("--folder"), "{errors}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}
