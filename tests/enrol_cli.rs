//! `wardline enrol`, as a person or a script calls it, against the certificate server of the tests.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its helpers too; its own files"
)]

#[path = "est/support.rs"]
mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::CertificateServer;
use wardline::envelope::keys::KeyPlace;
use wardline::fleet::documents::{Digest, Document as _, Head, Role, Rollout, Root, Stamp, Timestamp};
use wardline::fleet::dsse::Envelope;
use wardline::fleet::folder::Folder;
use wardline::fleet::key::PrivateKey;
use wardline::fleet::trust::Recipient;
use wardline::host::clock::SystemClock;
use wardline::time::{Clock as _, ClockSync, Now, Wall};

struct Bench {
    server: CertificateServer,
    place: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { server: CertificateServer::start(), place: tempfile::tempdir().unwrap() };
        let authorities = bench.server.folder().join("ca.pem");
        let text = format!(
            "devices = \"none\"\n[gateway]\norganisation = \"st-anna\"\ngroup = \"icu-3\"\nid = \"gw-1\"\n\
             [uplink]\nhost = \"mqtt.st-anna.example\"\nauthorities = \"{}\"\n\
             certificate = \"identity/current.pem\"\nkey = \"identity/current.pem\"\n[fleet]\nfolder = \"fleet\"\n",
            authorities.display()
        );
        std::fs::write(bench.place.path().join("gateway.toml"), text).unwrap();
        bench
    }

    /// Calls it with a token on standard input.
    fn enrol(&self, label: &str, token: &str, more: &[&str]) -> (i32, String, String) {
        self.call(token, &[&["--server", &self.server.address(label)], more].concat())
    }

    fn call(&self, token: &str, arguments: &[&str]) -> (i32, String, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args(["enrol", "--config"])
            .arg(self.place.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have ended without a look at it.
        let _ = writeln!(child.stdin.take().unwrap(), "{token}");
        let done = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
    }

    fn current(&self) -> Vec<u8> {
        std::fs::read(self.place.path().join("identity/current.pem")).unwrap_or_default()
    }
}

#[test]
fn a_gateway_is_enrolled_and_nothing_is_overwritten() {
    let mut bench = Bench::new();
    let (exit, _, err) = bench.enrol("ok", "wrong", &[]);
    assert!(exit == 6 && err.contains("refuses the token"), "{exit} {err}");
    bench.server.token("gw-1", "sesame");
    let (exit, out, err) = bench.enrol("approval", "sesame", &["--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (exit, &report["outcome"], &report["again_after_s"]),
        (1, &"waiting".into(), &7.into()),
        "{err}"
    );
    // The same command again.
    let (exit, out, err) = bench.enrol("approval", "sesame", &[]);
    assert!(
        exit == 0 && out.contains("urn:wardline:st-anna:gw-1") && out.contains("valid until"),
        "{out}{err}"
    );
    let first = bench.current();
    let path = bench.place.path().join("identity/current.pem");
    wardline::uplink::tls::Identity::read(&path, &KeyPlace::File(path.clone())).unwrap();
    assert!(String::from_utf8_lossy(&first).contains("PRIVATE KEY"));

    bench.server.token("gw-1", "again");
    let (exit, _, err) = bench.enrol("ok", "again", &[]);
    assert!(exit == 6 && err.contains("--again"), "{exit} {err}");
    // A server that is none takes the place of nothing.
    let server = || std::fs::read(bench.place.path().join("identity/server.json")).unwrap();
    let known = server();
    let (exit, _, err) = bench.enrol("html", "again", &["--again"]);
    assert!(exit == 1 && err.contains("text/html"), "{exit} {err}");
    assert_eq!(server(), known);
    let (exit, out, err) = bench.enrol("ok", "again", &["--again", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &report["outcome"]), (0, &"on-trial".into()), "{err}");
    assert_eq!(bench.current(), first, "the broker has not taken the new one");
}

fn keep_token(file: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn first_boot_gets_its_certificate_from_the_server_and_goes_on_where_the_token_was_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut bench = Bench::new();
    let place = bench.place.path().to_owned();
    let root = place.join("root");
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let line = format!("wardline:x:{user}:{group}::/var/lib/wardline:/usr/sbin/nologin\n");
    std::fs::write(root.join("etc/passwd"), line).unwrap();
    // As hospitals bring it: to read.
    let authorities = bench.server.folder().join("ca.pem");
    std::fs::set_permissions(&authorities, std::fs::Permissions::from_mode(0o644)).unwrap();
    let token = place.join("token");
    let init = |bench: &Bench| {
        let done = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args([
                "init",
                "--yes",
                "--json",
                "--keys",
                "files",
                "--organisation",
                "st-anna",
                "--group",
                "icu-3",
            ])
            .args(["--id", "gw-1", "--host", "mqtt.st-anna.example", "--server", &bench.server.address("ok")])
            .arg("--root")
            .arg(&root)
            .arg("--authorities")
            .arg(&authorities)
            .arg("--token-file")
            .arg(&token)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        (done.status.code().unwrap(), report, String::from_utf8(done.stderr).unwrap())
    };
    let state = |report: &Value, what: &str| {
        let mut steps = report["steps"].as_array().into_iter().flatten();
        let of = steps.find(|step| step["what"] == what).unwrap_or_else(|| panic!("{what}: {report}"));
        of["state"].as_str().unwrap().to_owned()
    };
    bench.server.token("gw-1", "sesame");
    keep_token(&token, "wrong\n");
    let (exit, report, err) = init(&bench);
    assert!(exit != 0 && err.contains("refuses the token"), "{exit} {report} {err}");
    assert_eq!((state(&report, "kek"), state(&report, "enrol")), ("made".into(), "failed".into()));
    let kek = std::fs::read(root.join("etc/credstore/wardline.kek")).unwrap();
    keep_token(&token, "sesame\n");
    let (exit, report, err) = init(&bench);
    assert_eq!(exit, 0, "{report} {err}");
    assert_eq!((state(&report, "kek"), state(&report, "enrol")), ("done".into(), "made".into()));
    assert_eq!(std::fs::read(root.join("etc/credstore/wardline.kek")).unwrap(), kek);
    let own = root.join("var/lib/wardline/identity/current.pem");
    wardline::uplink::tls::Identity::read(&own, &KeyPlace::File(own.clone())).unwrap();
    // The token is spent, and nothing asks for it again.
    let (exit, report, err) = init(&bench);
    assert_eq!((exit, state(&report, "enrol")), (0, "done".into()), "{err}");
}

#[test]
fn a_certificate_that_has_run_out_by_any_clock_is_no_reason_to_refuse() {
    use wardline::time::{Clock as _, ClockSync};

    let mut bench = Bench::new();
    let read = |file: &str| std::fs::read(bench.server.folder().join(file)).unwrap();
    let expired = [read("old.key"), read("old.pem")].concat();
    let path = bench.place.path().join("identity/current.pem");
    wardline::identity::folder::Folder::new(path.parent().unwrap()).make().unwrap();
    std::fs::write(&path, &expired).unwrap();
    bench.server.token("gw-1", "sesame");
    let (exit, out, err) = bench.enrol("ok", "sesame", &["--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_default();
    // Where nobody vouches for the clock, the one that is there goes only once the broker took the other.
    let is_vouched = SystemClock::default().now().sync == ClockSync::Synced;
    let outcome = if is_vouched { "issued" } else { "on-trial" };
    assert_eq!((exit, &report["outcome"]), (0, &outcome.into()), "{err}");
    assert_eq!(bench.current() == expired, !is_vouched);
}

#[test]
fn a_damaged_certificate_is_set_aside_and_another_is_there() {
    let mut bench = Bench::new();
    bench.server.token("gw-1", "sesame");
    assert_eq!(bench.enrol("ok", "sesame", &[]).0, 0);
    let path = bench.place.path().join("identity/current.pem");
    std::fs::write(&path, "torn").unwrap();
    bench.server.token("gw-1", "again");
    let (exit, out, err) = bench.enrol("ok", "again", &[]);
    assert!(exit == 0 && out.contains("valid until") && err.contains("current.pem.damaged"), "{out}{err}");
    wardline::uplink::tls::Identity::read(&path, &KeyPlace::File(path.clone())).unwrap();
    assert_eq!(std::fs::read(path.with_file_name("current.pem.damaged")).unwrap(), b"torn");
}

#[test]
fn a_folder_that_is_open_or_in_use_and_a_server_that_proves_nothing_change_nothing() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut bench = Bench::new();
    let path = bench.place.path().join("identity");
    let folder = wardline::identity::folder::Folder::new(&path);
    folder.make().unwrap();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let (exit, _, err) = bench.enrol("ok", "sesame", &[]);
    assert!(exit != 0 && err.contains("chmod 700"), "{exit} {err}");
    mode(0o700);
    let (exit, _, err) = bench.enrol("html", "sesame", &[]);
    assert!(exit == 1 && err.contains("text/html") && !path.join("server.json").exists(), "{exit} {err}");
    let lock = folder.lock().unwrap().unwrap();
    let (exit, _, err) = bench.enrol("ok", "sesame", &[]);
    assert!(exit == 1 && err.contains("somebody else"), "{exit} {err}");
    assert!(bench.server.saw("simpleenroll").is_empty());
    drop(lock);
    bench.server.token("gw-1", "sesame");
    assert_eq!(bench.enrol("ok", "sesame", &[]).0, 0);
    assert!(path.join("server.json").exists());
}

#[test]
fn a_token_file_that_others_can_read_and_a_token_that_is_none_are_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut bench = Bench::new();
    bench.server.token("gw-1", "sesame");
    let file = bench.place.path().join("token");
    std::fs::write(&file, "sesame\n").unwrap();
    let path = file.to_str().unwrap();
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let (exit, _, err) = bench.enrol("ok", "", &["--token-file", path]);
    assert!(exit == 4 && err.contains("0644"), "{exit} {err}");
    let (exit, _, err) = bench.enrol("ok", "two words", &[]);
    assert!(exit == 2 && err.contains("one line without blanks"), "{exit} {err}");
    let (exit, _, err) = bench.enrol("ok", "", &[]);
    assert!(exit == 2 && err.contains("there is no token"), "{exit} {err}");
    assert!(bench.server.saw("simpleenroll").is_empty());
    mode(0o600);
    let (exit, _, err) = bench.enrol("ok", "", &["--token-file", path]);
    assert_eq!(exit, 0, "{err}");
}

#[test]
fn a_configuration_with_key_and_certificate_apart_is_told_what_to_write() {
    let bench = Bench::new();
    let file = bench.place.path().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("key = \"identity/current.pem\"", "key = \"own.key\"")).unwrap();
    let (exit, _, err) = bench.enrol("ok", "sesame", &[]);
    assert!(exit == 3 && err.contains("identity/current.pem") && err.contains("own.key"), "{exit} {err}");
    assert!(!bench.place.path().join("identity").exists());
}

#[test]
fn a_root_that_is_none_enrols_nobody() {
    let bench = Bench::new();
    let root = bench.place.path().join("root.json");
    std::fs::write(&root, "{}").unwrap();
    let (exit, _, err) = bench.enrol("ok", "sesame", &["--root", root.to_str().unwrap()]);
    assert!(exit == 6 && err.contains("root"), "{exit} {err}");
    assert!(!bench.place.path().join("fleet").exists() && bench.current().is_empty());
    assert!(bench.server.saw("simpleenroll").is_empty(), "no token is spent");
}

/// A root of this version, signed by its first key.
fn root(version: u64) -> Vec<u8> {
    let keys = [1, 2, 3].map(|seed| PrivateKey::from_seed(&zeroize::Zeroizing::new([seed; 32])));
    let roles = keys.each_ref().map(|key| Role { keys: vec![key.public()], threshold: 1 });
    let expires = Stamp(Wall::read("2099-01-01").unwrap());
    let root = Root::new("st-anna".to_owned(), version, expires, roles).unwrap();
    let mut envelope = Envelope::new(Root::PAYLOAD_TYPE, root.to_payload());
    envelope.sign(&keys[0]);
    envelope.to_bytes()
}

#[test]
fn the_fleets_root_is_taken_once_and_a_step_that_failed_is_repeated() {
    let mut bench = Bench::new();
    let file = bench.place.path().join("root.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, root(1)).unwrap();
    // The fleet is joined, the token is wrong.
    let (exit, _, err) = bench.enrol("ok", "wrong", &["--root", path]);
    assert!(exit == 6 && bench.place.path().join("fleet/root-1.json").exists(), "{exit} {err}");
    bench.server.token("gw-1", "sesame");
    let (exit, out, err) = bench.enrol("ok", "sesame", &["--root", path, "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &report["fleet_root"], &report["outcome"]), (0, &1.into(), &"issued".into()), "{err}");
    std::fs::write(&file, root(9)).unwrap();
    bench.server.token("gw-1", "again");
    let (exit, out, err) = bench.enrol("ok", "again", &["--root", path, "--again"]);
    assert!(exit == 0 && err.contains("was not taken") && out.contains("version 1"), "{exit} {out} {err}");
    assert!(!bench.place.path().join("fleet/root-9.json").exists());
}

/// The first timestamp of a group, signed by the key of [`root`], as if it were so many hours ago.
fn timestamp(group: &str, hours: i64) -> Vec<u8> {
    let now = SystemClock::default().now().wall.as_millis();
    let at = |hours: i64| Stamp(Wall::from_millis((now / 1_000) * 1_000 + hours * 3_600_000));
    let timestamp = Timestamp {
        schema: 1,
        organisation: "st-anna".to_owned(),
        group: group.to_owned(),
        version: 5,
        issued_at: at(-hours),
        expires: at(48 - hours),
        head: Head { version: 1, sha256: Digest::of(b"a bundle"), root: 1 },
        rollout: Rollout { id: "r-1".to_owned(), canaries: Vec::new(), waves: Vec::new(), paused: false },
    };
    let key = PrivateKey::from_seed(&zeroize::Zeroizing::new([3; 32]));
    let mut envelope = Envelope::new(Timestamp::PAYLOAD_TYPE, serde_json::to_vec(&timestamp).unwrap());
    envelope.sign(&key);
    envelope.to_bytes()
}

#[test]
fn a_fleet_is_joined_without_a_certificate_server() {
    let bench = Bench::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = bench.place.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let fleet = bench.place.path().join("fleet");
    let known = |bytes: &[u8]| {
        let recipient = Recipient { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() };
        let (_, mut trust) = Folder::open(&fleet, recipient).unwrap();
        let now = Now { sync: ClockSync::Unsynced, ..SystemClock::default().now() };
        trust.timestamp_offered(bytes, &now).map(drop).map_err(|refusal| refusal.to_string())
    };
    let root = file("root.json", &root(1));
    let stamp = timestamp("icu-3", 1);
    let ts = file("ts.json", &stamp);

    // Nothing says what is wanted; and what is only for the server is not taken silently.
    assert_eq!(bench.call("", &[]).0, 2);
    assert_eq!(bench.call("", &["--root", &root, "--again"]).0, 2);
    assert_eq!(bench.call("", &["--timestamp", &ts]).0, 2);

    let (exit, out, err) = bench.call("", &["--root", &root, "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((exit, &report["outcome"], &report["fleet_root"]), (0, &"member".into(), &1.into()), "{err}");
    assert!(bench.current().is_empty() && bench.server.saw("cacerts").is_empty());
    assert!(known(&stamp).unwrap_err().contains("the clock follows no reference"));
    // It is told that it was too late for it, and how to get there.
    let (exit, _, err) = bench.call("", &["--root", &root, "--timestamp", &ts]);
    assert!(exit == 0 && err.contains("ts.json was not taken") && err.contains("enrol it again"), "{err}");
    std::fs::remove_dir_all(&fleet).unwrap();

    // Of another ward, too old, from tomorrow, changed: nothing is left of it.
    let mut changed = stamp.clone();
    let last = changed.len() - 20;
    changed[last] ^= 1;
    for (bytes, words) in [
        (timestamp("icu-4", 1), "icu-4"),
        (timestamp("icu-3", 50), "expired"),
        (timestamp("icu-3", -24), "was issued at"),
        (changed, "ts.json"),
    ] {
        let ts = file("ts.json", &bytes);
        let (exit, _, err) = bench.call("", &["--root", &root, "--timestamp", &ts]);
        assert!(exit == 6 && err.contains(words) && !fleet.exists(), "{words}: {exit} {err}");
    }
    let ts = file("ts.json", &stamp);
    let (exit, out, err) = bench.call("", &["--root", &root, "--timestamp", &ts]);
    assert!(exit == 0 && out.contains("version 1, is trusted"), "{exit} {out} {err}");
    known(&stamp).unwrap();
    let older = known(&timestamp("icu-3", 3)).unwrap_err();
    assert!(older.contains("timestamp"), "{older}");
}
