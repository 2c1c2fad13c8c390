//! A gateway with one oximeter, a mosquitto, a certificate server and a consumer.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinSet;
use wardline::host::atomic_file;
use wardline::host::status::{self, Snapshot};
use wardline::identity::ask::{Outcome, Proof, ask};
use wardline::identity::est::client::Client;
use wardline::identity::folder::{Folder, Server, chain};
use wardline::identity::name::Name;
use wardline::lab::consumer;
use wardline::lab::ledger::Ledger;
use wardline::lab::pki::{Pair, Pki, Validity};
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};
use wardline::time::{ClockSync, Now, Wall};

use super::server::CertificateServer;

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Bench {
    pub(crate) server: CertificateServer,
    pub(crate) pki: Pki,
    pub(crate) broker_pair: Pair,
    pub(crate) seen: consumer::Shared,
    pub(crate) oximeter: Control<masimo::Values>,
    pub(crate) folder: tempfile::TempDir,
    port: u16,
    broker: Option<Child>,
    tasks: JoinSet<()>,
}

/// For ten minutes after a start of the machine a gateway draws a wait before it asks for a certificate
/// (`identity::gate`), as a whole ward may have its power back. To the daemons of these tests that was an hour earlier.
const EARLIER: &str = "--lab-started-earlier=3600";

impl Bench {
    /// The broker knows the lab's authority and the certificate server's, and not `stranger`.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = CertificateServer::start();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        let broker_pair = pki.server("broker", &["localhost", "127.0.0.1"], Validity::Now).unwrap();
        let mut tasks = JoinSet::new();
        let setup = masimo::Setup {
            link: Some(folder.path().join("spo2-1")),
            serial: "0000056661".to_owned(),
            baud: 1_000_000,
            cadence: masimo::Cadence::AtEachSet,
            ..masimo::Setup::default()
        };
        let (future, oximeter) = masimo::oximeter(setup, masimo::Values::default()).unwrap();
        tasks.spawn(async move { future.await.unwrap() });
        let port = wardline::lab::ports::free_port().unwrap();
        let mut bench = Self {
            server,
            pki,
            broker_pair,
            seen: consumer::Shared::default(),
            oximeter,
            folder,
            port,
            broker: None,
            tasks,
        };
        bench.build_kernel();
        bench.start_broker().await;
        bench.consume().await;
        bench.configure();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn identity(&self) -> Folder {
        Folder::new(self.path("gateway/identity"))
    }

    /// The daemon's kernel says that its clock follows a reference: only then is a certificate called old.
    fn build_kernel(&self) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificate/synced.c");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-o"]).arg(self.path("synced.so")).arg(source);
        assert!(command.status().expect("a C compiler, as for the build").success());
    }

    async fn start_broker(&mut self) {
        let authorities = [self.pki.authorities(), self.server.folder().join("ca.pem")];
        let text = authorities.map(|path| std::fs::read_to_string(path).unwrap()).concat();
        std::fs::write(self.path("clients.pem"), text).unwrap();
        let text = format!(
            "user root\nlistener {} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_subject_as_username true\npersistence false\nmax_queued_messages 0\nlog_type all\n\
             log_dest file {}\n",
            self.port,
            self.path("clients.pem").display(),
            self.broker_pair.certificate.display(),
            self.broker_pair.key.display(),
            self.path("broker.log").display(),
        );
        std::fs::write(self.path("broker.conf"), text).unwrap();
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.path("broker.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.broker = Some(command.spawn().expect("mosquitto must be installed (Debian package mosquitto)"));
        let is_up = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, is_up).await.expect("mosquitto listens");
    }

    async fn consume(&mut self) {
        let pair = self.pki.client("consumer", Validity::Now).unwrap();
        let settings = consumer::Settings {
            host: "localhost".to_owned(),
            port: self.port,
            id: "consumer".to_owned(),
            authorities: self.pki.authorities(),
            certificate: pair.certificate,
            key: pair.key,
        };
        self.seen.with(|ledger| ledger.keep = true);
        let run = consumer::run(settings, self.seen.clone());
        self.tasks.spawn(async move { run.await.unwrap() });
        tokio::time::timeout(PATIENCE, self.seen.subscribed()).await.expect("the consumer subscribes");
    }

    /// The configuration names the identity's folder.
    fn configure(&self) {
        let device = stage::serial_device("spo2-1", "masimo-ascii1", &self.oximeter.path(), "0000056661");
        let pair = self.pki.client("gw-lab", Validity::Now).unwrap();
        let folder = self.path("gateway");
        stage::configure(&folder, &self.pki, &pair, self.port, &device).unwrap();
        for (key, path) in [("certificate", pair.certificate), ("key", pair.key)] {
            self.set(
                &format!("{key} = \"{}\"", path.display()),
                &format!("{key} = \"identity/current.pem\""),
            );
        }
        self.identity().make().unwrap();
    }

    /// Changes a line of `gateway.toml`.
    pub(crate) fn set(&self, from: &str, to: &str) {
        let path = self.path("gateway/gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in:\n{text}");
        atomic_file::write(&path, text.replace(from, to).as_bytes()).unwrap();
    }

    /// Another certificate server behaves so from now on.
    pub(crate) fn ask_at(&self, label: &str) -> Client {
        let authorities = chain(&std::fs::read(self.server.folder().join("ca.pem")).unwrap()).unwrap();
        let server = Server { address: self.server.address(label).parse().unwrap(), authorities };
        self.identity().keep_server(&server).unwrap();
        Client::new(server.address, server.authorities)
    }

    /// The gateway has a next certificate of this server, by a token.
    pub(crate) async fn issue(&mut self, label: &str) {
        self.server.token("gw-lab", "once");
        let client = self.ask_at(label);
        let name = Name { organisation: "lab".to_owned(), gateway: "gw-lab".to_owned() };
        let done = ask(&self.identity(), &client, &Proof::Token("once"), &name, now()).await.unwrap();
        assert_eq!(done, Outcome::Issued);
    }

    pub(crate) fn leaf(&self) -> Vec<u8> {
        let pair = self.identity().current().unwrap().expect("there is always a pair");
        pair.certified().unwrap();
        pair.leaf().to_vec()
    }

    /// A certificate of the certificate server that ended yesterday.
    pub(crate) fn install_expired(&self) {
        let name = "subjectAltName=URI:urn:wardline:lab:gw-lab\nextendedKeyUsage=clientAuth\n";
        std::fs::write(self.server.folder().join("mine.cnf"), name).unwrap();
        for arguments in [
            "ecparam -name prime256v1 -genkey -noout -out mine.sec1",
            "pkcs8 -topk8 -nocrypt -in mine.sec1 -out mine.key",
            "req -new -key mine.key -subj /CN=gw-lab -out mine.csr",
            "x509 -req -in mine.csr -CA ca.pem -CAkey ca.key -days -1 -extfile mine.cnf -set_serial 77 -out mine.pem",
        ] {
            let mut command = Command::new("openssl");
            command.args(arguments.split(' ')).current_dir(self.server.folder());
            let done = command.output().unwrap();
            assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
        }
        let text = |name| std::fs::read_to_string(self.server.folder().join(name)).unwrap();
        let path = self.identity().path().join("current.pem");
        std::fs::write(&path, text("mine.key") + &text("mine.pem")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.args(["run", EARLIER]).env_remove("NOTIFY_SOCKET").env("WARDLINE_UPLINK__HEARTBEAT", "1s");
        command.env("LD_PRELOAD", self.path("synced.so")).envs(variables.iter().copied());
        Daemon::start(command, &self.path("gateway")).unwrap()
    }

    /// Shows readings until something has happened.
    pub(crate) async fn while_reading<T>(&self, until: impl Future<Output = T>) -> T {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        let feed = async {
            for n in 0u64.. {
                ticks.tick().await;
                let bpm = u16::try_from(40 + n % 150).unwrap();
                self.oximeter.set(masimo::Values { spo2: Some(97), bpm: Some(bpm), ..Default::default() });
            }
            std::future::pending().await
        };
        tokio::select! {
            never = feed => never,
            value = until => value,
        }
    }

    /// The daemon's own word, as soon as it fulfils a condition.
    pub(crate) async fn status(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let socket = stage::socket(&self.path("gateway"));
        let mut last = None;
        let asked = async {
            loop {
                let socket = socket.clone();
                match tokio::task::spawn_blocking(move || status::ask(&socket)).await.unwrap() {
                    Ok(snapshot) if is_so(&snapshot) => return snapshot,
                    // The socket has no way to call back: ask again.
                    Ok(snapshot) => last = Some(snapshot.uplink),
                    Err(_) => {}
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let asked = tokio::time::timeout(PATIENCE, asked).await;
        asked.unwrap_or_else(|_| panic!("waited in vain for {what}: {last:?}\n{}", self.logs()))
    }

    pub(crate) async fn heard(&self, what: &str, condition: impl Fn(&Ledger) -> bool) {
        let heard = tokio::time::timeout(PATIENCE, self.seen.wait_for(condition)).await;
        let events = self.seen.with(|ledger| ledger.events.clone());
        assert!(heard.is_ok(), "waited in vain for {what}: {events:?}\n{}", self.logs());
    }

    pub(crate) async fn event(&self, detection: &str, activity: &str) {
        let wanted = (detection.to_owned(), activity.to_owned(), String::new());
        self.heard(&format!("{wanted:?}"), |ledger| ledger.events.contains(&wanted)).await;
    }

    /// What the broker says of the connections of the gateway: the subject of each certificate.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("broker.log")).unwrap();
        let lines =
            log.lines().filter(|line| line.contains("New client connected") && line.contains("as gw-lab"));
        lines.filter_map(|line| Some(line.split("u'").nth(1)?.split('\'').next()?.to_owned())).collect()
    }

    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        for name in ["broker.log", "gateway/daemon.log"] {
            let log = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("PUB")).collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            writeln!(text, "--- {name}\n{tail}").unwrap();
        }
        text
    }

    /// Ends the daemon when all that it promised has arrived: each reading once at least, none missing.
    pub(crate) async fn end(&self, mut daemon: Daemon) {
        let waiting = |status: &Snapshot| status.lanes.iter().map(|lane| lane.records).sum::<u64>();
        let none = |status: &Snapshot| waiting(status) == 0 && status.uplink.in_flight == 0;
        let status = self.status("nothing waits", none).await;
        assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
        // The broker has all of it by then, and whoever listens there may be behind.
        let caught_up = tokio::time::timeout(PATIENCE, self.seen.caught_up());
        caught_up.await.expect("the consumer catches up").unwrap();
        let durable = status.lanes.iter().map(|lane| lane.durable_total).sum::<u64>();
        self.seen.with(|ledger| {
            let arrived = ledger.records + u64::try_from(ledger.events.len()).unwrap();
            assert!(arrived >= durable, "{arrived} of {durable} arrived");
            assert_eq!(ledger.complaints, [""; 0]);
            assert_eq!((ledger.lost(), ledger.gaps), (0, 0));
            assert_eq!(ledger.sum(|tally| tally.out_of_order), 0);
        });
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(broker) = &mut self.broker {
            let _ = broker.kill();
            let _ = broker.wait();
        }
    }
}

pub(crate) fn now() -> Now {
    let text = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    let wall = Wall::read(String::from_utf8(text).unwrap().trim()).unwrap();
    Now { wall, sync: ClockSync::Synced, ..Now::default() }
}

/// What it says of its certificate.
pub(crate) fn renewal(status: &Snapshot) -> &str {
    status.uplink.certificate.as_ref().map_or("", |certificate| certificate.renewal.as_str())
}

pub(crate) fn admitted(status: &Snapshot) -> u64 {
    status.devices.iter().map(|device| device.admitted).sum()
}

pub(crate) fn remove(path: &Path) {
    std::fs::remove_file(path).unwrap();
}
