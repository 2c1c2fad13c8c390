//! Keys in a PKCS#11 token, against Debian's softhsm2: the real module, the real commands, the real
//! daemon. Each test has tokens of its own; the module learns of them from its process's environment, so
//! everything that asks a token is a process of its own.
#![cfg(feature = "lab")]
#![expect(clippy::tests_outside_test_module, reason = "the whole program is one")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]
#![expect(clippy::disallowed_methods, reason = "a test stands outside the daemon and its supervisor")]

#[path = "pkcs11/library.rs"]
mod library;
#[expect(dead_code, reason = "shared with the tests of the gateway, which use all of it")]
#[path = "gateway/support.rs"]
mod support;
#[path = "pkcs11/tries.rs"]
mod tries;

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use wardline::cli::exit::Exit;
use wardline::lab::sim::masimo;
use wardline::lab::stage;

use support::{Bench, PATIENCE, within};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "1234";
/// What the child is to do, and with which key.
const TASK: &str = "PKCS11_TEST_TASK";

/// Tokens of one's own.
struct Tokens {
    folder: tempfile::TempDir,
}

impl Tokens {
    /// With one token, `ward`.
    fn new() -> Self {
        let tokens = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(tokens.path("tokens")).unwrap();
        let config = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.path("tokens").display()
        );
        tokens.write("softhsm2.conf", &config, 0o600);
        tokens.write("pin", &format!("{PIN}\n"), 0o600);
        tokens.add("ward");
        tokens
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let _ = std::fs::remove_file(self.path(name));
        let mut file =
            std::fs::File::options().create_new(true).write(true).mode(mode).open(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        // Whatever the mask of the process.
        file.set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn config(&self) -> String {
        self.path("softhsm2.conf").display().to_string()
    }

    fn add(&self, label: &str) {
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "567890"]);
        let made = match command.env("SOFTHSM2_CONF", self.config()).output() {
            Ok(made) => made,
            Err(error) => panic!("softhsm2-util: {error}; on Debian: apt-get install softhsm2"),
        };
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The URI of a key, with the PIN's file.
    fn uri(&self, object: &str) -> String {
        self.uri_with(&format!("token=ward;object={object}"), MODULE)
    }

    fn uri_with(&self, key: &str, module: &str) -> String {
        format!("pkcs11:{key}?module-path={module}&pin-source=file:{}", self.path("pin").display())
    }

    /// `wardline` with these tokens.
    fn wardline(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.args(arguments).env("SOFTHSM2_CONF", self.config()).env_remove("NOTIFY_SOCKET");
        command
    }

    fn make(&self, uri: &str) -> Said {
        let nowhere = self.path("no-configuration");
        Said::of(&mut self.wardline(&["keys", "make", "--json", "--pkcs11", uri, "--config", text(&nowhere)]))
    }

    /// Makes a key in the token, and gives the KEK's id.
    fn key(&self, object: &str) -> String {
        let made = self.make(&self.uri(object));
        assert_eq!(made.exit, 0, "{}", made.err);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// `wardline keys show` of a configuration, with a URI as the KEK.
    fn show(&self, bench: &Bench, kek: &str) -> Said {
        let mut command = self.wardline(&["keys", "show", "--json", "--config", text(bench.path())]);
        Said::of(command.env("WARDLINE_KEYS__KEK", kek))
    }

    /// `wardline run` until it ends by itself.
    fn run(&self, bench: &Bench, kek: &str) -> Said {
        let mut command = self.wardline(&["run", "--config", text(bench.path())]);
        Said::of(command.env("WARDLINE_KEYS__KEK", kek))
    }

    /// Has something done to the token by this very program, with the library itself.
    fn child(&self, task: &str) -> String {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["child_with_the_library", "--exact", "--nocapture", "--test-threads=1"])
            .env("SOFTHSM2_CONF", self.config())
            .env(TASK, task)
            .output()
            .unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("CHILD:"), "{out}\n{err}");
        out.lines().find_map(|line| line.split_once("CHILD:")).unwrap().1.to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const fn code(exit: Exit) -> i32 {
    match exit {
        Exit::Keys => 4,
        Exit::Store => 5,
        Exit::Refused => 6,
        Exit::Pin => 8,
        Exit::Ok
        | Exit::Failed
        | Exit::Usage
        | Exit::Config
        | Exit::NotRunning
        | Exit::Damaged
        | Exit::Unwell => 0,
    }
}

/// What a command said.
struct Said {
    exit: i32,
    out: String,
    err: String,
}

impl Said {
    fn of(command: &mut Command) -> Self {
        // A daemon that runs where it must refuse would never end by itself.
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (ended, end) = mpsc::sync_channel::<()>(1);
        let watch = std::thread::spawn(move || {
            if end.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        drop(ended);
        watch.join().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let exit = status.code().unwrap_or_else(|| panic!("ended by a signal: {status}"));
        Self { exit, out: text(stdout), err: text(stderr) }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }
}

/// What only the library can do. Without its task it is a part of the other tests and does nothing.
#[test]
fn child_with_the_library() {
    if let Ok(task) = std::env::var(TASK) {
        println!("\nCHILD:{}", library::run(&task));
    }
}

#[tokio::test]
async fn a_tokens_key_is_made_once_gives_one_kek_and_cannot_be_read() {
    let (tokens, bench) = (Tokens::new(), Bench::new().await);
    bench.configure("");
    std::fs::write(bench.path().join("gateway.toml"), with_no_devices(&bench)).unwrap();
    let id = tokens.key("kek");
    let first = tokens.show(&bench, &tokens.uri("kek"));
    assert_eq!(first.exit, 0, "{} {}", first.out, first.err);
    let kek = &first.json()["kek"];
    assert_eq!((kek["id"].as_str(), kek["protection"].as_str()), (Some(id.as_str()), Some("pkcs11")));
    assert_eq!(first.json()["ward"]["protection"], "file");
    assert_eq!(tokens.show(&bench, &tokens.uri("kek")).out, first.out, "the same key, the same KEK");
    let again = tokens.make(&tokens.uri("kek"));
    assert_eq!(again.exit, code(Exit::Refused));
    assert!(again.err.contains("never made over another"), "{}", again.err);
    assert_eq!(tokens.child("read it"), "kept");
    assert_eq!(tokens.show(&bench, &tokens.uri("kek")).out, first.out);
    assert_ne!(tokens.key("kek-2"), id, "another key, another KEK");
}

fn with_no_devices(bench: &Bench) -> String {
    std::fs::remove_dir_all(bench.path().join("devices.d")).unwrap();
    let text = std::fs::read_to_string(bench.path().join("gateway.toml")).unwrap();
    format!("devices = \"none\"\n{text}")
}

/// A gateway without a device, for what never gets as far as one.
async fn without_devices() -> Bench {
    let bench = Bench::new().await;
    bench.configure("");
    std::fs::write(bench.path().join("gateway.toml"), with_no_devices(&bench)).unwrap();
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_under_a_tokens_key_is_read_again_after_a_restart() {
    let (tokens, mut bench) = (Tokens::new(), Bench::new().await);
    let oximeter = bench.oximeter("spo2-1", "0000056661", 1_000_000);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let id = tokens.key("kek");
    let (uri, config) = (tokens.uri("kek"), tokens.config());
    let variables = [("WARDLINE_KEYS__KEK", uri.as_str()), ("SOFTHSM2_CONF", config.as_str())];
    let mut daemon = bench.start_with(&variables);
    bench.status("the port is open", |status| status.devices.iter().all(|device| device.link == "up")).await;
    for bpm in 60..100 {
        oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
    }
    let status = bench.status("readings are durable", |status| status.lanes[1].records >= 40).await;
    assert_eq!((status.key_protection.as_str(), status.kek.as_str()), ("pkcs11", id.as_str()));
    let waiting: u64 = status.lanes.iter().map(|lane| lane.records).sum();
    daemon.kill().unwrap();

    let log = std::fs::read_to_string(bench.path().join("daemon.log")).unwrap();
    assert!(log.contains("key_protection=pkcs11") && log.contains(&id), "{log}");
    // Another key of the same token is not the store's.
    let other = tokens.key("other");
    let refused = tokens.run(&bench, &tokens.uri("other"));
    assert_eq!(refused.exit, code(Exit::Store), "{}", refused.err);
    assert!(refused.err.contains(&other) && refused.err.contains(&id), "{}", refused.err);
    let shown = tokens.show(&bench, &tokens.uri("other"));
    assert_eq!((shown.exit, &shown.json()["store"]["kek"]), (code(Exit::Store), &Value::from(id.as_str())));

    bench.serve().await;
    let mut daemon = bench.start_with(&variables);
    within("every reading", bench.consumer.wait_for(|ledger| ledger.records >= waiting)).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((ledger.lost(), ledger.gaps, ledger.complaints.as_slice()), (0, 0, [].as_slice()));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_moves_from_a_file_to_a_token_and_loses_nothing() {
    let (tokens, mut bench) = (Tokens::new(), Bench::new().await);
    let oximeter = bench.oximeter("spo2-1", "0000056661", 1_000_000);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let mut daemon = bench.start();
    bench.status("the port is open", |status| status.devices.iter().all(|device| device.link == "up")).await;
    for bpm in 60..100 {
        oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
    }
    let status = bench.status("readings are durable", |status| status.lanes[1].records >= 40).await;
    let (old, waiting) = (status.kek, status.lanes.iter().map(|lane| lane.records).sum::<u64>());
    assert_eq!((status.key_protection.as_str(), status.kek_previous), ("file", None));
    daemon.kill().unwrap();

    let new = tokens.key("kek");
    let (uri, config) = (tokens.uri("kek"), tokens.config());
    let token = [("WARDLINE_KEYS__KEK", uri.as_str()), ("SOFTHSM2_CONF", config.as_str())];
    // Without the key before, it is another's store.
    assert_eq!(tokens.run(&bench, &uri).exit, code(Exit::Store));
    let mut both = token.to_vec();
    both.push(("WARDLINE_KEYS__KEK_PREVIOUS", "kek"));
    let mut daemon = bench.start_with(&both);
    let status =
        bench.status("the move is done", |status| status.kek == new && status.key_rotation.is_none()).await;
    assert_eq!((status.key_protection.as_str(), status.kek_previous), ("pkcs11", Some(old)));
    let said = Said::of(&mut tokens.wardline(&["status", "--socket", text(&stage::socket(bench.path()))]));
    assert!(said.out.contains("no longer needed: remove keys.kek_previous"), "{}", said.out);
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());

    // The old key is gone, and nothing is lost with it.
    std::fs::remove_file(bench.path().join("kek")).unwrap();
    bench.serve().await;
    let mut daemon = bench.start_with(&token);
    within("every reading", bench.consumer.wait_for(|ledger| ledger.records >= waiting)).await;
    bench.end(&mut daemon).await;
    bench.consumer.with(|ledger| {
        assert_eq!((ledger.lost(), ledger.gaps, ledger.complaints.as_slice()), (0, 0, [].as_slice()));
    });
}

#[tokio::test]
async fn a_refused_pin_ends_with_a_code_of_its_own_after_one_try() {
    let (tokens, bench) = (Tokens::new(), without_devices().await);
    tokens.key("kek");
    tokens.write("pin", "4321\n", 0o600);
    let uri = tokens.uri("kek");
    let refused = tokens.run(&bench, &uri);
    assert_eq!(refused.exit, code(Exit::Pin), "{}", refused.err);
    for words in ["refuses the PIN", "not tried again", "pin-source", "kek in token ward"] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    assert!(!refused.err.contains("4321"), "no PIN is shown");
    assert_eq!(refused.err.matches("refuses the PIN").count(), 1);
    // What the unit does with it.
    let unit = include_str!("../systemd/wardline.service");
    let kept_down = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    assert!(kept_down.split(' ').any(|code| code == refused.exit.to_string()), "{kept_down}");

    // The next key in the same hands is not asked for with the same PIN.
    let mut command = tokens.wardline(&["keys", "show", "--json", "--config", text(bench.path())]);
    command.env("WARDLINE_KEYS__KEK", &uri).env("WARDLINE_KEYS__KEK_PREVIOUS", tokens.uri("older"));
    let shown = Said::of(&mut command);
    assert_eq!(shown.exit, code(Exit::Pin));
    assert!(shown.json()["kek_previous"]["problem"].as_str().unwrap().contains("not asked"), "{}", shown.out);

    tokens.write("pin", PIN, 0o400);
    assert_eq!(tokens.show(&bench, &uri).exit, 0, "the right PIN is taken, with or without a line end");
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_named_with_the_way_out() {
    let (tokens, bench) = (Tokens::new(), without_devices().await);
    tokens.key("kek");
    tokens.write("open-pin", PIN, 0o644);
    tokens.write("two-lines", "1234\n5678\n", 0o600);
    let with = |key: &str, query: &str| format!("pkcs11:{key}?module-path={MODULE}{query}");
    let pin = |name: &str| format!("&pin-source=file:{}", tokens.path(name).display());
    let there = "token=ward;object=kek";
    for (uri, words) in [
        (tokens.uri_with("token=other;object=kek", MODULE), ["no such token", "\"ward\""]),
        (tokens.uri_with("serial=0000;object=kek", MODULE), ["serial number 0000", "plug it in"]),
        (tokens.uri("lost"), ["no such object", "never make a new one over old data"]),
        (tokens.uri_with("token=ward;id=%01", MODULE), ["id 01", "no such object"]),
        (tokens.uri_with(there, "/nonexistent/p11.so"), ["/nonexistent/p11.so", "cannot be loaded"]),
        (tokens.uri_with(there, "/lib/x86_64-linux-gnu/libc.so.6"), ["cannot be loaded", "module-path"]),
        (with(there, ""), ["wants a PIN", "pin-source"]),
        (with(there, &pin("no-pin")), ["no-pin", "pin-source"]),
        (with(there, &pin("open-pin")), ["0644", "chmod"]),
        (with(there, &pin("two-lines")), ["two-lines", "one line"]),
    ] {
        let refused = tokens.run(&bench, &uri);
        assert_eq!(refused.exit, code(Exit::Keys), "{uri}: {}", refused.err);
        assert!(words.iter().all(|words| refused.err.contains(words)), "{words:?}: {}", refused.err);
    }
    // A token that was taken out, for good.
    std::fs::remove_dir_all(tokens.path("tokens")).unwrap();
    std::fs::create_dir(tokens.path("tokens")).unwrap();
    let gone = tokens.run(&bench, &tokens.uri("kek"));
    assert_eq!(gone.exit, code(Exit::Keys));
    assert!(gone.err.contains("there is none"), "{}", gone.err);
    assert!(!bench.path().join("store").exists(), "no store is made without its key");
}

#[tokio::test]
async fn a_key_that_could_be_read_or_is_another_thing_is_refused() {
    let careless = Tokens::new();
    careless.child("extractable");
    assert_eq!(careless.child("read it"), "given away", "the attempt to read a key can succeed");
    let (tokens, bench) = (Tokens::new(), without_devices().await);
    for (name, words) in [
        ("extractable", "CKA_EXTRACTABLE true"),
        ("readable", "CKA_SENSITIVE false"),
        ("silent", "CKA_SIGN false"),
        ("short", "CKA_VALUE_LEN 16"),
        ("aes", "CKK_AES"),
        ("twins", "2 keys in its token"),
        ("not-a-key", "CKO_DATA"),
    ] {
        assert_eq!(tokens.child(name), "made");
        let refused = tokens.run(&bench, &tokens.uri(name));
        assert_eq!(refused.exit, code(Exit::Keys), "{name}: {}", refused.err);
        assert!(refused.err.contains(words), "{name}: {}", refused.err);
        assert_eq!(tokens.make(&tokens.uri(name)).exit, code(Exit::Refused), "{name}");
    }
    tokens.key("kek");
    tokens.add("ward");
    let refused = tokens.run(&bench, &tokens.uri("kek"));
    assert!(refused.err.contains("2 tokens have that name"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_made_where_a_store_with_data_looks_for_its_own() {
    let (tokens, bench) = (Tokens::new(), without_devices().await);
    let id = tokens.key("kek");
    let (uri, config) = (tokens.uri("kek"), tokens.config());
    let mut daemon = bench.start_with(&[("WARDLINE_KEYS__KEK", &uri), ("SOFTHSM2_CONF", &config)]);
    bench.status("the daemon runs", |status| status.kek == id).await;
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    // The token is lost, and a fresh one has its name.
    std::fs::remove_dir_all(tokens.path("tokens")).unwrap();
    std::fs::create_dir(tokens.path("tokens")).unwrap();
    tokens.add("ward");
    let make = |uri: &str| {
        let arguments = ["keys", "make", "--pkcs11", uri, "--config", text(bench.path())];
        Said::of(tokens.wardline(&arguments).env("WARDLINE_KEYS__KEK", tokens.uri("kek")))
    };
    let refused = make(&uri);
    assert_eq!(refused.exit, code(Exit::Refused), "{}", refused.err);
    for words in [id.as_str(), "keys.kek_previous", "move the whole store folder away"] {
        assert!(refused.err.contains(words), "{words}: {}", refused.err);
    }
    assert!(tokens.run(&bench, &uri).err.contains("no such object"), "nothing was made");
    let elsewhere = make(&tokens.uri("kek-2"));
    assert_eq!(elsewhere.exit, 0, "{}", elsewhere.err);
}
