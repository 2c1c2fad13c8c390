//! What must not go on for ever, or be believed too early, when a certificate is asked for; against the certificate
//! server of the tests.

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, its helpers too; it starts its own tasks"
)]

#[path = "est/support.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use support::CertificateServer;
use tokio::sync::{mpsc, watch};
use wardline::backoff::Random;
use wardline::host::atomic_file;
use wardline::identity::ask::{Outcome, Proof, ask};
use wardline::identity::est::EstError;
use wardline::identity::est::client::Client;
use wardline::identity::est::key::{Names, Pending};
use wardline::identity::folder::{Folder, Server, chain};
use wardline::identity::keeper::{Broker, Keeper, News, Status};
use wardline::identity::name::Name;
use wardline::identity::renewal::{State, Trial};
use wardline::time::{Clock, ClockSync, Mono, Now, Wall};

fn name(gateway: &str) -> Name {
    Name { organisation: "st-anna".to_owned(), gateway: gateway.to_owned() }
}

/// The machine's time, which the server's certificates are of, and more.
fn now(days_ahead: i64) -> Now {
    let text = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let wall = Wall::read(String::from_utf8(text).unwrap().trim()).unwrap().as_millis();
    let mono = Mono::from_nanos(u64::try_from(wall).unwrap() * 1_000_000);
    let wall = Wall::from_millis(wall + days_ahead * 86_400_000);
    Now { mono, wall, sync: ClockSync::Synced, max_error_us: 0 }
}

struct Bench {
    server: CertificateServer,
    place: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { server: CertificateServer::start(), place: tempfile::tempdir().unwrap() };
        bench.folder().make().unwrap();
        bench
    }

    fn folder(&self) -> Folder {
        Folder::new(self.place.path().join("identity"))
    }

    fn at(&self, label: &str) -> Server {
        let text = atomic_file::read(&self.server.folder().join("ca.pem"), 65_536).unwrap();
        Server { address: self.server.address(label).parse().unwrap(), authorities: chain(&text).unwrap() }
    }

    async fn enrol(&mut self, label: &str) -> Result<Outcome, EstError> {
        self.server.token("gw-1", "once");
        self.ask(label, &Proof::Token("once")).await
    }

    async fn ask(&self, label: &str, proof: &Proof<'_>) -> Result<Outcome, EstError> {
        let Server { address, authorities } = self.at(label);
        ask(&self.folder(), &Client::new(address, authorities), proof, &name("gw-1"), now(0)).await
    }
}

/// A clock so many days ahead of the server's.
struct Ahead(i64);

impl Clock for Ahead {
    fn now(&self) -> Now {
        now(self.0)
    }
}

struct Zero;

impl Random for Zero {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

/// A broker that takes everything.
struct Willing;

impl Broker for Willing {
    async fn show(&mut self, _pair: &Path) -> Trial {
        Trial::Won
    }
}

type Running = (mpsc::Receiver<News>, watch::Receiver<Status>, watch::Sender<bool>);

fn start(folder: Folder, days_ahead: i64) -> Running {
    let (status, standing) = watch::channel(Status::default());
    let (news, heard) = mpsc::channel(32);
    let (stop, stopped) = watch::channel(false);
    let clock = Arc::new(Ahead(days_ahead));
    let keeper =
        Keeper { folder, name: name("gw-1"), clock, random: Box::new(Zero), broker: Willing, status, news };
    tokio::spawn(keeper.run(stopped));
    (heard, standing, stop)
}

async fn next(news: &mut mpsc::Receiver<News>) -> News {
    tokio::time::timeout(Duration::from_secs(20), news.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_certificate_that_is_due_at_its_issue_is_told_and_not_renewed_again_not_even_by_a_restart() {
    let mut bench = Bench::new();
    bench.enrol("ok").await.unwrap();
    bench.folder().promote().unwrap();
    bench.folder().keep_server(&bench.at("ok")).unwrap();
    for start_number in 0..3 {
        let (mut news, mut standing, stop) = start(bench.folder(), 67);
        if start_number == 0 {
            assert!(matches!(next(&mut news).await, News::Renewed { .. }));
            let told = next(&mut news).await;
            assert!(matches!(told, News::DueAtOnce { .. }) && told.to_string().contains("clock"), "{told}");
        }
        // It looks, and rests: another turn would have come at once.
        let due = standing.wait_for(|status| status.state == Some(State::Due));
        tokio::time::timeout(Duration::from_secs(20), due).await.unwrap().unwrap();
        let more = tokio::time::timeout(Duration::from_secs(2), news.recv()).await;
        assert!(!matches!(more, Ok(Some(News::Renewed { .. }))), "{more:?}");
        stop.send(true).unwrap();
        assert_eq!(bench.server.saw("simplereenroll").len(), 1, "start {start_number}");
    }
}

#[tokio::test]
async fn a_request_for_other_names_or_with_an_answer_is_not_sent_again() {
    let mut bench = Bench::new();
    let stale = Pending::make(&Names::of(&name("gw-old")).unwrap()).unwrap();
    bench.folder().keep_pending(&stale).unwrap();
    assert_eq!(bench.enrol("ok").await.unwrap(), Outcome::Issued);
    bench.folder().promote().unwrap();
    let current = bench.folder().current().unwrap().unwrap();
    assert!(!current.has_key(stale.point()));
    // A power cut between the pair and the end of its request: the request is still there.
    let asked = Pending::make(&Names::of(&name("gw-1")).unwrap()).unwrap();
    bench.folder().keep_pending(&asked).unwrap();
    assert_eq!(bench.enrol("ok").await.unwrap(), Outcome::Issued, "one without an answer is sent");
    assert!(bench.folder().next().unwrap().unwrap().has_key(asked.point()));
    bench.folder().keep_pending(&asked).unwrap();
    bench.enrol("ok").await.unwrap();
    assert!(!bench.folder().next().unwrap().unwrap().has_key(asked.point()), "a key is used once");
}

#[tokio::test]
async fn after_a_token_that_is_refused_the_next_one_goes_with_another_request() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let refused = bench.ask("ok", &Proof::Token("wrong")).await.unwrap_err();
        assert!(matches!(refused, EstError::TokenRefused), "{refused}");
        assert!(bench.folder().pending().unwrap().is_none());
    }
    assert_eq!(bench.enrol("ok").await.unwrap(), Outcome::Issued);
    let saw = bench.server.saw("simpleenroll");
    assert_eq!(saw.len(), 3);
    assert!(saw[0]["key"] != saw[1]["key"] && saw[1]["key"] != saw[2]["key"]);
}

#[tokio::test]
async fn authorities_that_a_server_names_are_believed_alone_only_where_it_stands_under_them_itself() {
    let mut bench = Bench::new();
    for (label, named) in [("apart", "ca.pem"), ("ok", "ca.pem")] {
        bench.folder().keep_server(&bench.at(label)).unwrap();
        assert_eq!(bench.enrol(label).await.unwrap(), Outcome::Issued, "{label}");
        let text = atomic_file::read(&bench.server.folder().join(named), 65_536).unwrap();
        assert_eq!(bench.folder().server().unwrap().unwrap().authorities, chain(&text).unwrap());
        let is_kept = bench.folder().path().join("authorities.pem").exists();
        assert_eq!(is_kept, label == "ok", "{label}");
    }
}

#[tokio::test]
async fn an_error_says_everything_once() {
    let mut bench = Bench::new();
    let error = bench.enrol("otherkey").await.unwrap_err();
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    assert_eq!(said.matches("it is for another key").count(), 1, "{said}");
}
