//! Certificates from a certificate server that is not of this project: `tests/est/server.py`, which uses
//! Python's own HTTP and TLS and issues with `openssl`.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its helpers too; it starts its own tasks"
)]

#[path = "est/support.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::CertificateServer;
use tokio::sync::{mpsc, watch};
use wardline::backoff::Random;
use wardline::host::atomic_file;
use wardline::identity::ask::{Outcome, Proof, ask};
use wardline::identity::est::EstError;
use wardline::identity::est::client::Client;
use wardline::identity::folder::{CURRENT, Folder, Server, chain};
use wardline::identity::keeper::{Broker, Keeper, News, Status};
use wardline::identity::name::Name;
use wardline::identity::renewal::{Alarm, State, Trial};
use wardline::time::{Clock, ClockSync, Mono, Now, Wall};

fn name() -> Name {
    Name { organisation: "st-anna".to_owned(), gateway: "gw-1".to_owned() }
}

/// The machine's time, which the server's certificates are of.
fn wall() -> Wall {
    let text = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    Wall::read(String::from_utf8(text).unwrap().trim()).unwrap()
}

fn now() -> Now {
    Now { wall: wall(), sync: ClockSync::Synced, ..Now::default() }
}

struct Bench {
    server: CertificateServer,
    place: tempfile::TempDir,
    patience: Duration,
}

impl Bench {
    fn new() -> Self {
        let (server, place) = (CertificateServer::start(), tempfile::tempdir().unwrap());
        Self { server, place, patience: Duration::from_secs(20) }
    }

    fn folder(&self) -> Folder {
        Folder::new(self.place.path().join("identity"))
    }

    /// A client of the server that behaves so, which believes this authority.
    fn client(&self, label: &str, authority: &str) -> Client {
        let authorities = chain(&atomic_file::read(&self.server.folder().join(authority), 65_536).unwrap());
        let server = Server {
            address: self.server.address(label).parse().unwrap(),
            authorities: authorities.unwrap(),
        };
        self.folder().make().unwrap();
        self.folder().keep_server(&server).unwrap();
        Client::new(server.address, server.authorities).with_patience(self.patience)
    }

    /// Asks with a good token.
    async fn enrol(&mut self, label: &str) -> Result<Outcome, EstError> {
        self.server.token("gw-1", "once");
        self.enrol_with(label, "once").await
    }

    async fn enrol_with(&self, label: &str, token: &str) -> Result<Outcome, EstError> {
        let client = self.client(label, "ca.pem");
        ask(&self.folder(), &client, &Proof::Token(token), &name(), now()).await
    }

    fn openssl(&self, arguments: &[&str]) -> String {
        let done =
            Command::new("openssl").args(arguments).current_dir(self.server.folder()).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder().path().join(file)
    }
}

#[tokio::test]
async fn a_token_gets_a_certificate_that_others_find_good_and_is_good_once() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut bench = Bench::new();
    assert_eq!(bench.enrol("ok").await.unwrap(), Outcome::Issued);
    bench.folder().promote().unwrap();
    let current = bench.path(CURRENT);
    let path = current.to_str().unwrap();
    let mode = std::fs::metadata(&current).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let verdict = bench.openssl(&["verify", "-CAfile", "ca.pem", "-purpose", "sslclient", path]);
    assert!(verdict.contains("OK"), "{verdict}");
    let text = bench.openssl(&["x509", "-in", path, "-noout", "-subject", "-ext", "subjectAltName"]);
    assert!(text.contains("CN = gw-1") && text.contains("URI:urn:wardline:st-anna:gw-1"), "{text}");
    let of_certificate = bench.openssl(&["x509", "-in", path, "-noout", "-pubkey"]);
    assert_eq!(of_certificate, bench.openssl(&["pkey", "-in", path, "-pubout"]));
    // What uplink reads.
    wardline_reads(&current);
    assert!(!bench.path("pending.pem").exists() && !bench.path("next.pem").exists());
    // The token is used up.
    let error = bench.enrol_with("ok", "once").await.unwrap_err();
    assert!(matches!(error, EstError::TokenRefused), "{error}");
    assert!(error.to_string().contains("ask for a new one"), "{error}");
}

fn wardline_reads(current: &Path) {
    let text = atomic_file::read(current, 65_536).unwrap();
    wardline::identity::folder::Pair::from_pem(&text).unwrap().certified().unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_with_a_new_key_by_showing_the_present_one() {
    let mut bench = Bench::new();
    bench.enrol("ok").await.unwrap();
    bench.folder().promote().unwrap();
    let present = bench.folder().current().unwrap().unwrap();
    let client = bench.client("ok", "ca.pem");
    let outcome = ask(&bench.folder(), &client, &Proof::Present(&present), &name(), now()).await.unwrap();
    assert_eq!(outcome, Outcome::Issued);
    let saw =
        [&bench.server.saw("simpleenroll")[0], &bench.server.saw("simplereenroll")[0]].map(Clone::clone);
    assert_eq!(saw[1]["peer"], "gw-1");
    assert_ne!(saw[0]["key"], saw[1]["key"], "a new key at every renewal");
    let next = bench.folder().next().unwrap().unwrap();
    assert_ne!(next.leaf(), present.leaf());
    assert_eq!(bench.folder().current().unwrap().unwrap().leaf(), present.leaf(), "the old one stays");
}

#[tokio::test]
async fn a_server_that_decides_later_gets_the_same_request_again() {
    let mut bench = Bench::new();
    assert_eq!(bench.enrol("approval").await.unwrap(), Outcome::Later(Duration::from_secs(7)));
    assert!(bench.path("pending.pem").exists() && !bench.path("next.pem").exists());
    // As after a restart: all there is is the folder.
    assert_eq!(bench.enrol_with("approval", "once").await.unwrap(), Outcome::Issued);
    let saw = bench.server.saw("simpleenroll");
    assert_eq!((saw.len(), &saw[0]["key"]), (2, &saw[1]["key"]));
    assert!(!bench.path("pending.pem").exists());
}

#[tokio::test]
async fn every_no_has_its_own_words_and_keeps_nothing_that_is_not_ours() {
    let mut bench = Bench::new();
    for (label, words, keeps_request) in [
        ("otherkey", "it is for another key", false),
        ("othername", "urn:wardline:st-anna:gw-2", false),
        ("othercn", "common name \"gw-2\"", false),
        ("otherca", "none of the authorities", false),
        ("server", "clientAuth", false),
        ("nopurpose", "clientAuth", false),
        ("twonames", "DNS:admin.example", false),
        ("twocns", "\"gw-1\" and \"admin\"", false),
        ("nocn", "common name", false),
        ("forbidden", "403 gateway is not registered", false),
        ("full", "429 later", true),
        ("html", "content type is \"text/html\"", false),
        ("notbase64", "not base64", false),
        ("garbage", "not PKCS#7", false),
        ("short", "it ends too early", false),
        ("endless", "it is too long", false),
        ("elsewhere", "https://evil.example/", false),
        ("nothing", "204", false),
        ("down", "503 maintenance until nine", false),
        ("a/b", "404", false),
    ] {
        let error = bench.enrol(label).await.expect_err(label);
        let text = error.to_string();
        assert!(text.contains(words), "{label}: {text}");
        assert!(!bench.path("next.pem").exists(), "{label}");
        assert_eq!(bench.path("pending.pem").exists(), keeps_request, "{label}");
        if keeps_request {
            assert!(
                matches!(error, EstError::Busy { wait: Some(wait), .. } if wait.as_secs() == 300),
                "{label}"
            );
            bench.folder().drop_pending().unwrap();
        }
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_that_is_not_there_or_that_is_a_stranger_is_named() {
    let mut bench = Bench::new();
    bench.patience = Duration::from_secs(3);
    let slow = bench.enrol("silent").await.unwrap_err();
    bench.patience = Duration::from_secs(20);
    assert!(matches!(slow, EstError::Slow { seconds: 3, .. }), "{slow}");
    let client = bench.client("ok", "stranger.pem");
    let error = ask(&bench.folder(), &client, &Proof::Token("once"), &name(), now()).await.unwrap_err();
    assert!(
        matches!(&error, EstError::NotTrusted { .. }) && error.to_string().contains("authorities"),
        "{error}"
    );
    assert!(bench.server.saw("simpleenroll").is_empty(), "no token goes to a stranger");
    drop(std::mem::replace(&mut bench.server, CertificateServer::start()));
    let gone = Server { address: "https://localhost:1".parse().unwrap(), authorities: Vec::new() };
    let client = Client::new(gone.address, gone.authorities);
    let error = ask(&bench.folder(), &client, &Proof::Token("once"), &name(), now()).await.unwrap_err();
    assert!(matches!(error, EstError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_words_and_a_token_helps() {
    let mut bench = Bench::new();
    let read = |file: &str| atomic_file::read(&bench.server.folder().join(file), 65_536).unwrap();
    let expired = [read("old.key"), read("old.pem")].concat();
    let client = bench.client("ok", "ca.pem");
    atomic_file::write(&bench.path(CURRENT), &expired).unwrap();
    let present = bench.folder().current().unwrap().unwrap();
    assert_eq!(present.lifetime().alarm(now()), Alarm::Expired);
    let error = ask(&bench.folder(), &client, &Proof::Present(&present), &name(), now()).await.unwrap_err();
    assert!(matches!(error, EstError::CertificateRefused { .. }), "{error}");
    assert!(error.to_string().contains("wardline enrol"), "{error}");
    assert_eq!(bench.enrol("ok").await.unwrap(), Outcome::Issued);
    bench.folder().promote().unwrap();
    assert_eq!(bench.folder().current().unwrap().unwrap().lifetime().alarm(now()), Alarm::None);
}

/// A clock that is set by hand: its wall stands so far ahead of the machine's.
struct Ahead(Mutex<i64>);

impl Clock for Ahead {
    fn now(&self) -> Now {
        let wall = Wall::from_millis(wall().as_millis() + *self.0.lock().unwrap());
        // Time since boot follows the wall here, so that a wait is over when the clock is moved on.
        let mono = Mono::from_nanos(u64::try_from(wall.as_millis()).unwrap() * 1_000_000);
        Now { mono, wall, sync: ClockSync::Synced, max_error_us: 0 }
    }
}

struct Zero;

impl Random for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// A broker that says what it was told to say.
struct Told(mpsc::Receiver<Trial>, Arc<Mutex<Vec<Vec<u8>>>>);

impl Broker for Told {
    async fn show(&mut self, pair: &Path) -> Trial {
        let text = atomic_file::read(pair, 65_536).unwrap();
        let leaf = wardline::identity::folder::Pair::from_pem(&text).unwrap().leaf().to_vec();
        self.1.lock().unwrap().push(leaf);
        self.0.recv().await.unwrap()
    }
}

/// A daemon's part: the task and what surrounds it.
struct Daemon {
    clock: Arc<Ahead>,
    trials: mpsc::Sender<Trial>,
    shown: Arc<Mutex<Vec<Vec<u8>>>>,
    news: mpsc::Receiver<News>,
    status: watch::Receiver<Status>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Daemon {
    fn start(folder: Folder, days: i64) -> Self {
        let clock = Arc::new(Ahead(Mutex::new(days * 86_400_000)));
        let (trials, told) = mpsc::channel(8);
        let (status, status_seen) = watch::channel(Status::default());
        let (news, news_seen) = mpsc::channel(32);
        let (stop, stopped) = watch::channel(false);
        let shown = Arc::default();
        let broker = Told(told, Arc::clone(&shown));
        let keeper = Keeper {
            folder,
            name: name(),
            clock: Arc::<Ahead>::clone(&clock),
            random: Box::new(Zero),
            broker,
            status,
            news,
        };
        let task = tokio::spawn(keeper.run(stopped));
        Self { clock, trials, shown, news: news_seen, status: status_seen, stop, task }
    }

    async fn next_news(&mut self) -> News {
        tokio::time::timeout(Duration::from_secs(20), self.news.recv()).await.unwrap().unwrap()
    }

    async fn until(&mut self, wanted: impl Fn(&Status) -> bool) -> Status {
        let wait = self.status.wait_for(|status| wanted(status));
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap().unwrap().clone()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_due_certificate_is_renewed_only_once_the_broker_took_the_new_one() {
    let mut bench = Bench::new();
    bench.enrol("ok").await.unwrap();
    bench.folder().promote().unwrap();
    let first = bench.folder().current().unwrap().unwrap();
    let mut young = Daemon::start(bench.folder(), 50);
    let status = young.until(|status| status.state.is_some()).await;
    assert!(matches!(status.state, Some(State::Good { .. })), "{status:?}");
    young.end().await;
    assert!(bench.server.saw("simplereenroll").is_empty(), "nothing is asked for before it is due");

    let mut daemon = Daemon::start(bench.folder(), 67);
    // The broker is being asked: it has not taken the new one, so the old one is in use.
    let refused = Trial::Refused("bad certificate".to_owned());
    daemon.trials.send(refused).await.unwrap();
    let news = daemon.next_news().await;
    assert!(
        news.to_string().contains("the one before is used") && news.to_string().contains("bad certificate")
    );
    assert_eq!(bench.folder().current().unwrap().unwrap().leaf(), first.leaf());
    daemon.until(|status| matches!(status.state, Some(State::Fallback { .. }))).await;
    daemon.end().await;

    // After a start the new one is tried again at once, without another request. It is as old as the machine
    // says, so that the clock is where it was made.
    let mut daemon = Daemon::start(bench.folder(), 0);
    daemon.trials.send(Trial::Won).await.unwrap();
    let news = daemon.next_news().await;
    assert!(matches!(news, News::Renewed { .. }), "{news}");
    let second = bench.folder().current().unwrap().unwrap();
    assert_ne!(second.leaf(), first.leaf());
    assert_eq!(*daemon.shown.lock().unwrap(), [second.leaf()]);
    daemon.until(|status| matches!(status.state, Some(State::Good { .. })) && status.trouble.is_none()).await;
    assert_eq!(bench.server.saw("simplereenroll").len(), 1);
    assert!(bench.folder().next().unwrap().is_none());
    daemon.end().await;
}

#[tokio::test]
async fn a_certificate_server_that_is_down_is_an_event_and_the_age_is_told() {
    let mut bench = Bench::new();
    bench.enrol("ok").await.unwrap();
    bench.folder().promote().unwrap();
    bench.client("down", "ca.pem");
    let mut daemon = Daemon::start(bench.folder(), 80);
    let aged = daemon.next_news().await;
    assert!(matches!(aged, News::Aged { alarm: Alarm::Soon, .. }), "{aged}");
    let failed = daemon.next_news().await;
    assert!(failed.to_string().contains("503 maintenance"), "{failed}");
    let status = daemon.until(|status| matches!(status.state, Some(State::Failed { .. }))).await;
    let Some(State::Failed { until }) = status.state else { unreachable!() };
    assert!(until.since(daemon.clock.now().mono) > Duration::from_secs(60), "the server's 120 s are kept");
    assert!(status.trouble.unwrap().contains("503"));
    daemon.end().await;
}
