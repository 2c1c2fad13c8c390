//! The benchmark runs, and gives every figure. Whether the figures are good is not asked here: a
//! machine that is busy is not a broken one.

#![cfg(feature = "lab")]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_quick_run_gives_every_figure() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline-lab"))
        .args(["bench", "--quick", "--json", "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    for path in EXPECTED {
        let value = figures.pointer(path).unwrap_or_else(|| panic!("{path} is not there: {figures}"));
        assert!(value.as_f64().is_some_and(|value| value > 0.0), "{path}: {value}");
    }
    for (place, commit) in [8, 256, 4_096].into_iter().enumerate() {
        assert_eq!(figures.pointer(&format!("/ingest/{place}/commit")), Some(&Value::from(commit)));
        for field in INGEST {
            let path = format!("/ingest/{place}/{field}");
            let value = figures.pointer(&path).and_then(Value::as_f64);
            assert!(value.is_some_and(|value| value > 0.0), "{path}: {value:?}");
        }
    }
    // Where there is a mosquitto, the peer is measured too, and everything goes through it.
    if figures.pointer("/broker").and_then(Value::as_str) == Some("mosquitto") {
        let rate = figures.pointer("/bridge/readings_per_second").and_then(Value::as_f64);
        assert!(rate.is_some_and(|rate| rate > 0.0), "{rate:?}");
    }
    let rows = figures.pointer("/rows").and_then(Value::as_array).unwrap();
    assert!(rows.len() > 60, "{} rows", rows.len());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_quick_run_of_the_stores_gives_every_figure_of_every_store() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_wardline-lab"))
        .args(["bench", "store", "--quick", "--json", "--folder"])
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    let cells = figures.pointer("/cells").and_then(Value::as_array).unwrap();
    let kinds: Vec<_> =
        cells.iter().map(|cell| (cell["content"].as_str(), cell["commit"].as_u64())).collect();
    let expected: Vec<_> = ["random", "reading"]
        .into_iter()
        .flat_map(|content| [1, 64, 4_096].map(|commit| (Some(content), Some(commit))))
        .collect();
    assert_eq!(kinds, expected);
    for store in cells.iter().flat_map(|cell| cell["stores"].as_array().unwrap()) {
        for field in STORE {
            let value = store.pointer(field).and_then(Value::as_f64);
            assert!(value.is_some_and(|value| value > 0.0), "{field}: {store}");
        }
        // Whoever calls a record durable has it after kill -9.
        let survived = store["survived"].as_u64().unwrap();
        assert!(store["is_durable"] == false || store["records"] == survived, "{store}");
    }
    for cell in cells {
        let names: Vec<_> = cell["stores"].as_array().unwrap().iter().map(|store| &store["store"]).collect();
        let (durable, rest) = names.split_at(4);
        assert_eq!(durable, ["append-only", "wardline", "sled", "sqlite"]);
        assert!(rest.is_empty() || rest == ["mosquitto"], "{rest:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}

/// No bytes written: where the folder is in memory, there are none.
const STORE: [&str; 9] = [
    "/records",
    "/per_second",
    "/against_append_only",
    "/commits_per_second",
    "/commit_ms/p50",
    "/disk_per_byte",
    "/rss",
    "/reopen_ms",
    "/read_per_second",
];

const INGEST: [&str; 10] = [
    "observations",
    "per_second",
    "commit_ms/p50",
    "commit_ms/p99",
    "stored_per_observation",
    "sealed_per_observation",
    "append_only_per_second",
    "bare_file_per_second",
    "against_append_only",
    "against_bare_file",
];

const EXPECTED: [&str; 31] = [
    "/machine/cores",
    "/machine/memory_mib",
    "/through/per_second",
    "/through/in_a_commit",
    "/through/memory/rss",
    "/latency/alarm_ms/p50",
    "/latency/alarm_ms/p99",
    "/latency/vital_ms/p50",
    "/latency/vital_ms/p99",
    "/outage/commits_per_second",
    "/outage/idle/rss",
    "/outage/memory/most",
    "/online/idle/rss",
    "/online/memory/rss",
    "/cbor_subscribed/per_second",
    "/cbor_subscribed/publishes_per_second",
    "/cbor_subscribed/in_a_publish",
    "/cbor_subscribed/first_puback_ms",
    "/cbor_subscribed/drained/most",
    "/cbor/per_second",
    "/fhir_subscribed/per_second",
    "/fhir/per_second",
    "/small_commits/per_second",
    "/small_commits/in_a_publish",
    "/alarms/observations",
    "/alarms/alarm_ms/count",
    "/alarms/alarm_ms/p50",
    "/alarms/alarm_ms/p99",
    "/alarms/first_puback_ms",
    "/alarms/opened/rss",
    "/alarms/drained/rss",
];
