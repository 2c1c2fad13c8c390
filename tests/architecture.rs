//! The data path is the architecture: these tests fail when the house is built otherwise.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// The stages, left to right. Each may use itself, what stands left of it, and [`COMMON`].
const STAGES: [&str; 6] = ["link", "device", "policy", "envelope", "store", "uplink"];

/// What every stage may use: values without side effects.
const COMMON: [&str; 2] = ["backoff", "time"];

/// The one thing of the rim that a stage may use, and which stages: files are written in one place.
const WRITER: (&str, [&str; 2]) = ("host::atomic_file", ["store", "uplink"]);

/// And what one more may use of it: a file in another user's folder is opened in one place.
const READER: (&str, &str) = ("host::atomic_file::open_regular", "link");

/// What may hang for as long as it likes (a disk, the library of a token) is asked on a thread of its own, which one place
/// starts: who asks there, and for what.
const HANGS: [(&str, &str); 2] = [
    ("src/envelope/keys/patience.rs", "host::supervisor::"),
    ("src/uplink/run", "host::supervisor::blocking"),
];

/// Third-party crates that one file (or folder) alone may name.
const OWNED: [(&str, &str); 17] = [
    ("sled::", "src/store/"),
    ("rumqttc", "src/uplink/mqtt"),
    ("btleplug", "src/link/ble"),
    ("dbus::", "src/link/ble"),
    ("tokio_serial", "src/link/serial.rs"),
    ("ring::aead", "src/envelope/seal.rs"),
    ("cryptoki", "src/envelope/keys/pkcs11"),
    ("zstd::", "src/envelope/pack.rs"),
    ("ed25519_dalek", "src/fleet/key.rs"),
    ("pkcs8::", "src/fleet/operator/keyfile.rs"),
    ("toml_edit", "src/fleet/operator/"),
    ("figment", "src/config/"),
    ("axum::", "src/dashboard/server.rs"),
    ("sd_notify", "src/host/notify.rs"),
    ("rusqlite", "src/lab/bench/store/sqlite.rs"),
    ("indicatif", "src/cli/progress.rs"),
    ("fuser::", "src/lab/disk/mount.rs"),
];

/// The operator's side has a connection of its own to the broker, in one file too; it is never on a gateway.
const OPERATOR: (&str, &str) = ("rumqttc", "src/fleet/operator/broker.rs");
/// And those that more than one file may name: envelopes, systemd's credentials and the bodies of the certificate server
/// are base64; a handshake with that server, and one that only tries a broker.
const SHARED: [(&str, &[&str]); 2] = [
    ("base64ct", &["src/fleet/dsse.rs", "src/host/credential.rs", "src/identity/est/base64.rs"]),
    ("tokio_rustls", &["src/identity/est/client.rs", "src/uplink/mqtt/probe.rs"]),
];

/// What the lab measures the store against: each in one file of its own.
const PEERS: [(&str, &str); 2] =
    [("sled::", "src/lab/bench/store/tree.rs"), ("rusqlite", "src/lab/bench/store/sqlite.rs")];

/// Calls that one file alone may make.
const CALLS: [(&str, &str); 4] = [
    ("clock_gettime(", "src/host/clock.rs"),
    ("task::spawn(", "src/host/supervisor.rs"),
    ("tokio::spawn(", "src/host/supervisor.rs"),
    ("process::exit(", "src/main.rs"),
];

/// Who starts threads by hand: the supervisor; and a session of btleplug, whose task can be ended in no other way
/// than with the thread that it runs on.
const THREADS: [&str; 2] = ["src/host/supervisor.rs", "src/link/ble/session.rs"];

struct Source {
    /// With forward slashes, from the project's root.
    path: String,
    /// The code: no comments, nothing after the first `#[cfg(test)]`.
    code: String,
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join("src"), &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            Source { code: code_of(&text), path }
        })
        .filter(|source| !source.path.ends_with("/tests.rs") && !source.path.contains("/tests/"))
        .collect()
}

fn code_of(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths under `crate::` that a piece of code names, one level of braces taken apart.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(list) = rest.strip_prefix('{') {
            paths.extend(items(list.split("};").next().unwrap_or_default()));
        } else {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            paths.push(rest[..end].to_owned());
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

/// The parts of a list between commas that stand in no inner braces.
fn items(list: &str) -> Vec<String> {
    let (mut items, mut depth) = (vec![String::new()], 0);
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(item) = items.last_mut() {
            item.push(c);
        }
    }
    items.into_iter().map(|item| item.trim().to_owned()).collect()
}

/// What is wrong with one source, if anything.
fn looks_to_its_right(source: &Source) -> Vec<String> {
    let Some(place) = STAGES.iter().position(|stage| source.path.starts_with(&format!("src/{stage}/")))
    else {
        return Vec::new();
    };
    crate_paths(&source.code)
        .into_iter()
        .filter(|path| {
            let first = path.split("::").next().unwrap_or_default();
            let left = STAGES[..=place].contains(&first) || COMMON.contains(&first);
            let writes = path.starts_with(WRITER.0) && WRITER.1.contains(&STAGES[place]);
            let opens = path == READER.0 && STAGES[place] == READER.1;
            let waits = HANGS.iter().any(|(file, of)| source.path.starts_with(file) && path == of);
            !left && !writes && !opens && !waits
        })
        .map(|path| format!("{} uses crate::{path}", source.path))
        .collect()
}

/// The sources of the daemon: without the lab.
fn daemon_sources() -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|s| !s.path.starts_with("src/lab/") && !s.path.starts_with("src/bin/"))
        .collect()
}

#[test]
fn a_stage_never_looks_to_its_right() {
    let sources = sources();
    assert!(sources.len() > 20, "the walk found only {} files", sources.len());
    let wrong: Vec<String> = sources.iter().flat_map(looks_to_its_right).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_test_of_the_stages_can_fail() {
    let source = |path: &str, code: &str| Source { path: path.to_owned(), code: code_of(code) };
    for (path, code, wrong) in [
        ("src/device/mod.rs", "use crate::policy::Admitted;", 1),
        ("src/device/mod.rs", "use crate::{link::Link, store::Seq, time::Now};", 1),
        ("src/device/mod.rs", "fn f() -> crate::uplink::Config {}", 1),
        ("src/link/serial.rs", "use crate::host::clock;", 1),
        ("src/store/mod.rs", "use crate::host::atomic_file::write;", 0),
        ("src/link/serial.rs", "use crate::host::atomic_file::write;", 1),
        ("src/link/serial.rs", "use crate::host::atomic_file;", 1),
        ("src/link/serial.rs", "use crate::host::atomic_file::open_regular;", 0),
        ("src/device/mod.rs", "use crate::host::atomic_file::open_regular;", 1),
        ("src/uplink/mod.rs", "use crate::store::Seq; // crate::gateway", 0),
        ("src/device/mod.rs", "#[cfg(test)]\nuse crate::uplink::Config;", 0),
        ("src/gateway.rs", "use crate::uplink::Config;", 0),
    ] {
        assert_eq!(looks_to_its_right(&source(path, code)).len(), wrong, "{path}: {code}");
    }
}

#[test]
fn each_heavy_crate_is_named_in_one_place() {
    let mut wrong = Vec::new();
    for source in daemon_sources() {
        for (name, owner) in OWNED {
            let is_owner = source.path.starts_with(owner) || (name, source.path.as_str()) == OPERATOR;
            if source.code.contains(name) && !is_owner {
                wrong.push(format!("{} names {name}, which belongs to {owner}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let naming = |name: &str, sources: Vec<Source>| -> Vec<String> {
        sources.into_iter().filter(|source| source.code.contains(name)).map(|source| source.path).collect()
    };
    for (name, owners) in SHARED {
        assert_eq!(naming(name, daemon_sources()), owners, "{name}");
    }
    let sled = naming("sled::", daemon_sources());
    assert!(sled.len() <= 1, "one file names sled, not {sled:?}");
    for (name, owner) in PEERS {
        let lab = sources().into_iter().filter(|source| source.path.starts_with("src/lab/")).collect();
        assert_eq!(naming(name, lab), [owner], "{name}");
    }
}

#[test]
fn one_place_reads_the_clock_one_spawns_one_exits() {
    let mut wrong = Vec::new();
    for source in daemon_sources() {
        if source.code.contains("thread::Builder") && !THREADS.contains(&source.path.as_str()) {
            wrong.push(format!("{} starts a thread, which is left to {THREADS:?}", source.path));
        }
        for (call, owner) in CALLS {
            if source.code.contains(call) && source.path != owner {
                wrong.push(format!("{} calls {call}...), which belongs to {owner}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The characteristics that command an insulin pump: IDD Command Control Point and IDD Command Data.
const PUMP_COMMANDS: [&str; 2] = ["2B25", "2B26"];

/// Where the writes to an insulin pump are made, and the only ones that may be.
const PUMP_WRITES: (&str, [&str; 3]) = ("src/link/gatt.rs", ["pump_abort", "pump_query", "pump_report"]);

/// Reset Status: the one op code of the Status Reader that changes something.
const PUMP_RESET: &str = "0X030C";

/// What is wrong with one source, as far as insulin pumps go.
fn could_command_a_pump(source: &Source) -> Vec<String> {
    let code = source.code.to_ascii_uppercase().replace('_', "");
    let mut wrong: Vec<String> = PUMP_COMMANDS
        .into_iter()
        .filter(|uuid| {
            code.contains(uuid) || code.contains(&u32::from_str_radix(uuid, 16).unwrap().to_string())
        })
        .map(|uuid| format!("{} names {uuid}", source.path))
        .collect();
    let (owner, allowed) = PUMP_WRITES;
    if source.path == owner {
        if code.contains(PUMP_RESET) {
            wrong.push(format!("{owner} has the op code that resets what a pump says has changed"));
        }
        // Every function that writes to the service, by the constants that it names.
        let functions = source.code.split("    pub fn ").skip(1);
        // To the function's own end: what stands between two of them is of neither.
        let bodies = functions.filter_map(|from| from.split("\n    }").next());
        let writes = bodies.filter(|body| body.contains("PUMP_"));
        let names = writes.filter_map(|body| body.split(['(', '<']).next());
        let names = names.filter(|name| !allowed.contains(name));
        wrong.extend(names.map(|name| format!("{owner} has `{name}`, which writes to a pump")));
    } else if code.contains("GATTWRITE {") || code.contains("GATTWRITE{") {
        wrong.push(format!("{} makes a write of its own", source.path));
    }
    wrong
}

#[test]
fn an_insulin_pump_is_asked_and_never_commanded() {
    let sources = sources();
    let wrong: Vec<String> = sources.iter().flat_map(could_command_a_pump).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let owner = sources.iter().find(|source| source.path == PUMP_WRITES.0).unwrap();
    for write in PUMP_WRITES.1 {
        assert!(owner.code.contains(&format!("pub fn {write}(")), "{write} is not where this test looks");
    }
    // A GattWrite is made in one file alone, because its fields are private.
    let kept = "pub struct GattWrite {\n    to: Characteristic,\n    octets: Argument,\n}";
    assert!(owner.code.contains(kept), "the fields of GattWrite are private and are these two");
}

#[test]
fn the_test_of_the_pump_can_fail() {
    let source = |path: &str, code: &str| Source { path: path.to_owned(), code: code_of(code) };
    for (path, code, wrong) in [
        ("src/device/ble/insulin/mod.rs", "uuid: 0x2B25", 1),
        ("src/device/ble/insulin/mod.rs", "uuid: 0x2b_26", 1),
        ("src/device/ble/insulin/mod.rs", "uuid: 11_045", 1),
        ("src/device/ble/insulin/mod.rs", "uuid: 0x2B24 // 2B25", 0),
        ("src/device/ble/insulin/mod.rs", "GattWrite { to, octets }", 1),
        ("src/link/gatt.rs", "    pub fn pump_stop() { Self::protected(PUMP_STATUS_READER, &[]) }", 1),
        ("src/link/gatt.rs", "    pub fn pump_query() { Self::protected(PUMP_STATUS_READER, &[]) }", 0),
        ("src/link/gatt.rs", "Self::Reset => 0x030C,", 1),
        ("src/link/gatt.rs", "    pub fn erase() { Self::new(PUMP_RECORD_ACCESS, &[]) }", 1),
    ] {
        assert_eq!(could_command_a_pump(&source(path, code)).len(), wrong, "{path}: {code}");
    }
}

#[test]
fn files_stay_readable() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.code.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > 500 {
            wrong.push(format!("{} has {lines} lines of code", source.path));
        }
    }
    assert!(wrong.is_empty(), "split by concern: {wrong:#?}");
}
