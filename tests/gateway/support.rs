//! A gateway of its own for each test: folder, PKI, broker, devices, and the real `wardline`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wardline::host::status::{self, Snapshot};
use wardline::lab::broker::{Behaviour, Broker};
use wardline::lab::pki::{Pki, Validity};
use wardline::lab::stage::{self, Daemon};
use wardline::lab::{consumer, sim};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One test's gateway.
pub(crate) struct Bench {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) port: u16,
    pub(crate) behaviour: watch::Sender<Behaviour>,
    pub(crate) consumer: consumer::Shared,
    broker: Option<Broker>,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Bench {
    /// A broker that is bound but does not serve yet: for the daemon, an outage.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki")).unwrap();
        let server = pki.server("broker", &["localhost", "127.0.0.1"], Validity::Now).unwrap();
        let (behaviour, behaves) = watch::channel(Behaviour::default());
        let broker = Broker::bind(pki.authorities(), server, behaves).await.unwrap();
        let port = broker.port().unwrap();
        Self {
            folder,
            pki,
            port,
            behaviour,
            consumer: consumer::Shared::default(),
            broker: Some(broker),
            tasks: JoinSet::new(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The broker serves from here on, and the consumer is subscribed.
    pub(crate) async fn serve(&mut self) {
        self.tasks.spawn(self.broker.take().unwrap().run());
        let pair = self.pki.client("consumer", Validity::Now).unwrap();
        let settings = consumer::Settings {
            host: "localhost".to_owned(),
            port: self.port,
            id: "consumer".to_owned(),
            authorities: self.pki.authorities(),
            certificate: pair.certificate,
            key: pair.key,
        };
        self.consumer.with(|ledger| ledger.keep = true);
        self.tasks.spawn(consumer::run(settings, self.consumer.clone()));
        within("the consumer subscribes", self.consumer.subscribed()).await;
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, devices: &str) {
        let client = self.pki.client("gw-lab", Validity::Now).unwrap();
        stage::configure(self.path(), &self.pki, &client, self.port, devices).unwrap();
    }

    /// Starts `wardline run`.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts `wardline run` with environment variables.
    pub(crate) fn start_with(&self, variables: &[(&str, &str)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("run").env_remove("NOTIFY_SOCKET").envs(variables.iter().copied());
        Daemon::start(command, self.path()).unwrap()
    }

    /// The daemon's own word, as soon as it fulfils a condition.
    pub(crate) async fn status(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let socket = stage::socket(self.path());
        let asked = async {
            loop {
                let socket = socket.clone();
                let answer = tokio::task::spawn_blocking(move || status::ask(&socket)).await.unwrap();
                match answer {
                    Ok(snapshot) if is_so(&snapshot) => return snapshot,
                    // The socket has no way to call back: ask again.
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(snapshot) => snapshot,
            Err(late) => {
                let log = std::fs::read_to_string(self.path().join("daemon.log")).unwrap_or_default();
                panic!("waited in vain for {what}: {late}; the daemon said:\n{log}");
            }
        }
    }

    /// Ends the daemon in order, and waits until the consumer has seen all that the broker took from it: only then is
    /// what is not there missing.
    pub(crate) async fn end(&self, daemon: &mut Daemon) {
        assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
        within("the consumer to catch up", self.consumer.caught_up()).await.unwrap();
    }

    /// Runs something beside the test.
    pub(crate) fn beside(&mut self, future: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move { Ok(future.await?) });
    }

    /// A pump on a port of its own.
    pub(crate) fn pump(
        &mut self,
        id: &str,
        serial: &str,
        values: sim::alaris::Values,
    ) -> sim::Control<sim::alaris::Values> {
        let setup = sim::alaris::Setup {
            link: Some(self.path().join(id)),
            serial: serial.to_owned(),
            ..sim::alaris::Setup::default()
        };
        let (future, control) = sim::alaris::pump(setup, values).unwrap();
        self.beside(future);
        control
    }

    /// An oximeter on a port of its own that pushes a line each time its values are set.
    pub(crate) fn oximeter(
        &mut self,
        id: &str,
        serial: &str,
        baud: u32,
    ) -> sim::Control<sim::masimo::Values> {
        let setup = sim::masimo::Setup {
            link: Some(self.path().join(id)),
            serial: serial.to_owned(),
            baud,
            cadence: sim::masimo::Cadence::AtEachSet,
            ..sim::masimo::Setup::default()
        };
        let (future, control) = sim::masimo::oximeter(setup, sim::masimo::Values::default()).unwrap();
        self.beside(future);
        control
    }
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(late) => panic!("waited in vain for {what}: {late}"),
    }
}
