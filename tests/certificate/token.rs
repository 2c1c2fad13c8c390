//! The key of the certificate in a PKCS#11 token: Debian's softhsm2, as `tests/pkcs11` has it. The module learns of
//! its tokens from its process's environment, so whatever asks one is a process of its own.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use wardline::host::status::Snapshot;
use wardline::lab::pki::Validity;
use wardline::lab::stage::Daemon;

use crate::bench::{Bench, PATIENCE, admitted, renewal};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "1234";
/// What the child is to make.
const TASK: &str = "TOKEN_TEST_TASK";

/// A bench whose gateway has its key in the token `ward`, reached by a module that counts the logins.
struct Ward {
    bench: Bench,
}

impl Ward {
    async fn new() -> Self {
        let ward = Self { bench: Bench::new().await };
        std::fs::create_dir(ward.tokens()).unwrap();
        let config = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            ward.tokens().display()
        );
        std::fs::write(ward.bench.path("softhsm2.conf"), config).unwrap();
        ward.pin(PIN);
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", "ward", "--pin", PIN, "--so-pin", "567890"]);
        let made = command.env("SOFTHSM2_CONF", ward.config()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pkcs11/witness.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", source, &format!("-DMODULE=\"{MODULE}\""), "-ldl", "-o"]);
        assert!(command.arg(ward.bench.path("witness.so")).status().unwrap().success());
        ward.name("object=gw");
        ward
    }

    fn tokens(&self) -> PathBuf {
        self.bench.path("tokens")
    }

    fn config(&self) -> String {
        self.bench.path("softhsm2.conf").display().to_string()
    }

    fn pin(&self, pin: &str) {
        let path = self.bench.path("pin");
        let _ = std::fs::remove_file(&path);
        let mut options = std::fs::File::options();
        let mut file = options.create_new(true).write(true).mode(0o600).open(path).unwrap();
        file.write_all(pin.as_bytes()).unwrap();
    }

    /// `uplink.key` names this key.
    fn name(&self, object: &str) {
        let uri = format!(
            "pkcs11:token=ward;{object}?module-path={}&pin-source=file:{}",
            self.bench.path("witness.so").display(),
            self.bench.path("pin").display()
        );
        let text = std::fs::read_to_string(self.bench.path("gateway/gateway.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("key = ")).unwrap().to_owned();
        self.bench.set(&line, &format!("key = \"{uri}\""));
    }

    fn start(&self) -> Daemon {
        let logins = self.bench.path("logins").display().to_string();
        let hangs = self.bench.path("hangs").display().to_string();
        self.bench.start_with(&[
            ("SOFTHSM2_CONF", &self.config()),
            ("PKCS11_TEST_LOGINS", &logins),
            ("PKCS11_TEST_HANGS", &hangs),
        ])
    }

    fn logins(&self) -> usize {
        std::fs::read(self.bench.path("logins")).map_or(0, |logins| logins.len())
    }

    /// `wardline enrol`: its exit code and its words.
    fn enrol(&mut self, label: &str, more: &[&str]) -> (i32, String) {
        self.bench.server.token("gw-lab", "once");
        let mut child = Command::new(env!("CARGO_BIN_EXE_wardline"))
            .args(["enrol", "--server", &self.bench.server.address(label), "--authorities"])
            .arg(self.bench.server.folder().join("ca.pem"))
            .arg("--config")
            .arg(self.bench.path("gateway"))
            .args(more)
            .env("SOFTHSM2_CONF", self.config())
            .env("PKCS11_TEST_LOGINS", self.bench.path("logins"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = writeln!(child.stdin.take().unwrap(), "once");
        let done = child.wait_with_output().unwrap();
        let words = [done.stdout, done.stderr].concat();
        (done.status.code().unwrap(), String::from_utf8(words).unwrap())
    }

    /// The `CKA_ID` of the key in use, as the folder names it.
    fn present(&self) -> Vec<u8> {
        let text = std::fs::read_to_string(self.bench.identity().path().join("current.pem")).unwrap();
        assert!(!text.contains("PRIVATE KEY"), "{text}");
        let name = text.lines().next().unwrap();
        let id = name.strip_prefix("pkcs11:token=ward;object=gw;id=").unwrap_or_else(|| panic!("{name}"));
        id.split('%').skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
    }

    /// What is in the token: softhsm2 has a file for each half of a pair, and only the private half's is encrypted.
    fn objects(&self) -> Vec<Vec<u8>> {
        let folders = std::fs::read_dir(self.tokens()).unwrap().map(|entry| entry.unwrap().path());
        let files =
            folders.flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()));
        let objects = files.filter(|path| path.extension().is_some_and(|end| end == "object"));
        let objects = objects.filter(|path| path.file_name().unwrap() != "token.object");
        // One may be destroyed meanwhile.
        objects.filter_map(|path| std::fs::read(path).ok()).collect()
    }

    fn has(&self, id: &[u8]) -> bool {
        self.objects().iter().any(|object| object.windows(id.len()).any(|part| part == id))
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !is_so(self) {
                // A token has no way to call back.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain: {what}\n{}", self.bench.logs());
    }

    async fn trouble(&self, words: &str) -> Snapshot {
        let says = |status: &Snapshot| format!("{:?}", status.uplink).contains(words);
        self.bench.while_reading(self.bench.status(words, says)).await
    }

    /// Has something made in the token by this very program.
    fn child(&self, task: &str) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["token::child_with_the_library", "--exact", "--nocapture", "--test-threads=1"])
            .env("SOFTHSM2_CONF", self.config())
            .env(TASK, task)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains("CHILD:made"), "{out}");
    }
}

/// Makes a pair that `wardline` never would. Without its task it is a part of the other tests and does nothing.
#[test]
fn child_with_the_library() {
    let Ok(task) = std::env::var(TASK) else { return };
    let module = Pkcs11::new(MODULE).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let is_ward = |slot: &cryptoki::slot::Slot| module.get_token_info(*slot).unwrap().label() == "ward";
    let slot = module.get_slots_with_token().unwrap().into_iter().find(is_ward).unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    // secp256r1 and secp384r1, RFC 5480 section 2.1.1.1.
    let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let curve = if task == "p384" { vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22] } else { p256 };
    let label = Attribute::Label(task.clone().into_bytes());
    let public = [Attribute::EcParams(curve), Attribute::Token(true), label.clone()];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(task != "readable"),
        Attribute::Extractable(task == "extractable"),
        Attribute::Sign(true),
        label,
    ];
    session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
    println!("\nCHILD:made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_token_is_made_there_connects_and_is_renewed_and_the_old_one_is_destroyed() {
    let mut ward = Ward::new().await;
    let (exit, words) = ward.enrol("aged", &[]);
    assert!(exit == 0 && words.contains("valid until"), "{exit} {words}");
    let first = ward.present();
    assert!(ward.has(&first) && ward.objects().len() == 2);
    assert_eq!(ward.logins(), 1, "one login for the key, the request and the rest");

    ward.bench.ask_at("gated");
    let daemon = ward.start();
    let bench = &ward.bench;
    bench.while_reading(bench.heard("readings under the old one", |ledger| ledger.records > 100)).await;
    let status = bench.status("the present one", |status| renewal(status) == "due").await;
    assert_eq!(status.uplink.certificate.unwrap().key_protection, "pkcs11");
    assert_eq!(bench.subjects(), ["CN=gw-lab"]);
    // The request lies at the server: its key is there beside the one in use.
    ward.until("a second pair", |ward| ward.objects().len() == 4).await;
    assert!(ward.has(&first) && ward.present() == first);

    std::fs::write(bench.server.folder().join("go"), "").unwrap();
    bench.while_reading(bench.status("another one is in use", |status| renewal(status) == "good")).await;
    let before = bench.seen.with(|ledger| ledger.records);
    bench
        .while_reading(bench.heard("readings under the new one", |ledger| ledger.records > before + 100))
        .await;
    assert_eq!(bench.subjects(), ["CN=gw-lab", "CN=gw-lab,O=renewed"]);
    let second = ward.present();
    assert_ne!(first, second);
    bench.while_reading(ward.until("the old pair is destroyed", |ward| ward.objects().len() == 2)).await;
    assert!(ward.has(&second) && !ward.has(&first));
    bench.end(daemon).await;
    // What the daemon shows after another start.
    let daemon = ward.start();
    ward.bench.status("connected again", |status| status.uplink.state == "connected").await;
    assert_eq!(ward.bench.subjects().len(), 3);
    ward.bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pin_is_not_tried_again_and_readings_are_kept() {
    let mut ward = Ward::new().await;
    assert_eq!(ward.enrol("ok", &[]).0, 0);
    ward.pin("4321");
    std::fs::remove_file(ward.bench.path("logins")).unwrap();
    let (exit, words) = ward.enrol("ok", &["--again"]);
    assert!(exit == 8 && words.contains("refuses the PIN") && words.contains("gw"), "{exit} {words}");
    assert_eq!((ward.logins(), ward.objects().len()), (1, 2));

    std::fs::remove_file(ward.bench.path("logins")).unwrap();
    let mut daemon = ward.start();
    // It connects again and again, and is told each time without the token.
    let status = ward.trouble("is not asked again by this run").await;
    assert_eq!(ward.logins(), 1);
    let before = admitted(&status);
    let later = |status: &Snapshot| admitted(status) > before + 200 && status.lanes[1].records > 200;
    ward.bench.while_reading(ward.bench.status("readings are kept", later)).await;
    assert_eq!(ward.logins(), 1);
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    ward.pin(PIN);
    let daemon = ward.start();
    ward.bench
        .while_reading(ward.bench.status("connected", |status| status.uplink.state == "connected"))
        .await;
    ward.bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_token_the_gateway_collects_and_connects_when_it_is_there_again() {
    let mut ward = Ward::new().await;
    assert_eq!(ward.enrol("ok", &[]).0, 0);
    let away = ward.bench.path("away");
    std::fs::rename(ward.tokens(), &away).unwrap();
    std::fs::create_dir(ward.tokens()).unwrap();
    let (exit, words) = ward.enrol("ok", &["--again"]);
    assert!(exit == 4 && words.contains("no such token") && words.contains("plug it in"), "{exit} {words}");
    let daemon = ward.start();
    let status = ward.trouble("no such token").await;
    let before = admitted(&status);
    let later = |status: &Snapshot| admitted(status) > before + 200 && status.lanes[1].records > 200;
    ward.bench.while_reading(ward.bench.status("readings are kept", later)).await;
    std::fs::remove_dir(ward.tokens()).unwrap();
    std::fs::rename(&away, ward.tokens()).unwrap();
    ward.bench
        .while_reading(ward.bench.status("connected", |status| status.uplink.state == "connected"))
        .await;
    ward.bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_stops_neither_the_readings_nor_the_end_and_is_asked_again_once_it_is_back() {
    let mut ward = Ward::new().await;
    assert_eq!(ward.enrol("ok", &[]).0, 0);
    let hangs = ward.bench.path("hangs");
    std::fs::write(&hangs, "").unwrap();
    let daemon = ward.start();
    let status = ward.trouble("its token does not answer").await;
    let before = admitted(&status);
    let later = |status: &Snapshot| admitted(status) > before + 200 && status.lanes[1].records > 200;
    ward.bench.while_reading(ward.bench.status("readings are kept", later)).await;
    std::fs::remove_file(&hangs).unwrap();
    ward.bench
        .while_reading(ward.bench.status("connected", |status| status.uplink.state == "connected"))
        .await;
    assert_eq!(ward.logins(), 2, "one to enrol, one for the daemon");
    ward.bench.end(daemon).await;

    std::fs::write(&hangs, "").unwrap();
    let mut daemon = ward.start();
    ward.bench.while_reading(ward.bench.status("it runs", |status| admitted(status) > 10)).await;
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_renews_the_pair_can_be_used_and_at_most_one_key_is_over() {
    let mut ward = Ward::new().await;
    assert_eq!(ward.enrol("aged", &[]).0, 0);
    let renewed = ward.bench.identity().path().join("renewed.json");
    let mut seen = BTreeSet::new();
    for cycle in 0..8u64 {
        let _ = std::fs::remove_file(&renewed);
        let mut daemon = ward.start();
        ward.bench.while_reading(ward.bench.status("it runs", |status| admitted(status) > 10)).await;
        ward.bench.while_reading(tokio::time::sleep(Duration::from_millis(97 * (cycle * 7 % 11)))).await;
        daemon.kill().unwrap();
        let present = ward.present();
        assert!(ward.has(&present), "the pair in use is whole");
        assert!(ward.objects().len() <= 4, "{} halves of pairs", ward.objects().len());
        seen.insert(present);
    }
    assert!(seen.len() > 2, "{} keys in all", seen.len());
    // A key that was made for a request that was never kept.
    let stray = "pkcs11:token=ward;object=stray;id=%01%02";
    ward.child("stray");
    let made = ward.bench.identity().path().join("made.json");
    let text = std::fs::read_to_string(&made).unwrap();
    std::fs::write(&made, text.replace("{\"keys\":[", &format!("{{\"keys\":[\"{stray}\","))).unwrap();
    ward.bench.ask_at("ok");
    let _ = std::fs::remove_file(&renewed);
    let daemon = ward.start();
    ward.bench.while_reading(ward.bench.status("it rests", |status| renewal(status) == "good")).await;
    // The one in use, and the one of another that has the label of the stray and not its id.
    ward.bench.while_reading(ward.until("the rest is destroyed", |ward| ward.objects().len() == 4)).await;
    assert!(ward.has(&ward.present()));
    assert!(!std::fs::read_to_string(made).unwrap().contains("stray"));
    ward.bench.end(daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_could_be_read_or_is_another_kind_or_anothers_is_refused_by_name() {
    let ward = Ward::new().await;
    let pair = ward.bench.pki.client("gw-lab", Validity::Now).unwrap();
    let line = "certificate = \"identity/current.pem\"";
    ward.bench.set(line, &format!("certificate = \"{}\"", pair.certificate.display()));
    for (task, words) in [
        ("extractable", "CKA_EXTRACTABLE is not false"),
        ("readable", "CKA_SENSITIVE is not true"),
        ("p384", "not P-256"),
        ("fit", "does not belong to certificate"),
        ("lost", "no such private key"),
    ] {
        if task != "lost" {
            ward.child(task);
        }
        ward.name(&format!("object={task}"));
        let mut daemon = ward.start();
        let status = ward.trouble(words).await;
        assert!(
            format!("{:?}", status.uplink).contains(&format!("{task} in token ward")),
            "{:?}",
            status.uplink
        );
        daemon.kill().unwrap();
    }
    // The key of that certificate, brought into the token by the vendor's own program.
    let mut command = Command::new("softhsm2-util");
    command
        .args(["--import"])
        .arg(&pair.key)
        .args(["--token", "ward", "--label", "own", "--id", "0b", "--pin", PIN]);
    let made = command.env("SOFTHSM2_CONF", ward.config()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ward.name("object=own;id=%0B");
    let daemon = ward.start();
    ward.bench
        .while_reading(ward.bench.status("connected", |status| status.uplink.state == "connected"))
        .await;
    ward.bench.end(daemon).await;
}
