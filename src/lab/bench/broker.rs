//! The brokers of the benchmark, who may speak to them, and the uplink at the near end.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

use super::part::{Beside, words};
use crate::backoff::Bounds;
use crate::envelope::keys::KeyPlace;
use crate::host::clock::SystemClock;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::Supervisor;
use crate::lab::broker::{Behaviour, Broker as Embedded};
use crate::lab::pki::{Pair, Pki, Validity};
use crate::lab::ports::free_port;
use crate::time::Clock;
use crate::uplink::feeder::Source;
use crate::uplink::{self, Config, Payload, Status, Stop, Subscriber, Surroundings};

/// Who has certificates.
const CLIENTS: [&str; 4] = ["gateway", "subscriber", "publisher", "bridge"];
/// How long a broker may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// The window that is the default of the configuration.
const WINDOW: u16 = 64;

/// The certificates of a run, in a folder, by name.
#[derive(Clone, Debug)]
pub(in crate::lab) struct Papers(pub(in crate::lab) PathBuf);

impl Papers {
    /// Issues them.
    pub(in crate::lab) fn issue(folder: &Path) -> anyhow::Result<Self> {
        let pki = Pki::create(folder)?;
        pki.server("server", &["localhost", "127.0.0.1"], Validity::Now)?;
        for client in CLIENTS {
            pki.client(client, Validity::Now)?;
        }
        Ok(Self(folder.to_owned()))
    }

    /// The authority's certificate.
    pub(in crate::lab) fn authorities(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    /// The certificate and key of a name.
    pub(in crate::lab) fn pair(&self, name: &str) -> Pair {
        let file = |end| self.0.join(format!("{name}.{end}"));
        Pair { certificate: file("pem"), key: file("key") }
    }

    /// An uplink as it is configured by default, except that nobody need be subscribed.
    pub(in crate::lab) fn config(&self, port: u16, payload: Payload) -> Config {
        let Pair { certificate, key } = self.pair("gateway");
        Config {
            host: "localhost".to_owned(),
            port,
            organisation: "lab".to_owned(),
            group: "icu-2".to_owned(),
            gateway: "gw-1".to_owned(),
            authorities: self.authorities(),
            certificate,
            key: KeyPlace::File(key),
            revocation: uplink::tls::Lists::default(),
            payload,
            subscriber: Subscriber::Optional,
            window: WINDOW,
            keep_alive: Duration::from_secs(30),
            stalled_after: Duration::from_secs(60),
            heartbeat: Duration::from_secs(60),
            backoff: Bounds {
                first: Duration::from_millis(20),
                most: Duration::from_millis(200),
                healthy_after: Duration::from_secs(60),
            },
        }
    }
}

/// A running uplink.
pub(in crate::lab) struct Wire {
    /// How it is.
    pub(in crate::lab) status: watch::Receiver<Status>,
}

impl Wire {
    /// Starts its three parts under a supervisor.
    pub(in crate::lab) fn start<S: Source + 'static>(
        supervisor: &mut Supervisor,
        config: Config,
        source: S,
        clock: &Arc<SystemClock>,
        stop: &watch::Sender<Stop>,
    ) -> anyhow::Result<Self> {
        let (sender, status) = watch::channel(Status::default());
        let around = Surroundings {
            vitals: None,
            post: None,
            alive: Box::new(|_| {}),
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            random: Box::new(SystemRandomness::new()),
            status: sender,
            stop: stop.subscribe(),
        };
        let parts = uplink::assemble(config, source, around)?;
        supervisor.thread("feeder", move || {
            parts.feeder.run();
            Ok(())
        })?;
        supervisor.task("connections", async move {
            parts.connections.run().await;
            Ok(())
        });
        supervisor.task("uplink", async move {
            parts.driver.run().await;
            Ok(())
        });
        Ok(Self { status })
    }
}

/// A mosquitto of one's own.
pub(in crate::lab) struct Mosquitto {
    /// Where it listens.
    pub(in crate::lab) port: u16,
    child: Child,
}

/// Where mosquitto is on this machine, if it is.
pub(in crate::lab) fn mosquitto() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/sbin/mosquitto");
    if usual.exists() {
        return Some(usual);
    }
    let answer = Command::new("mosquitto").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status();
    answer.is_ok().then(|| PathBuf::from("mosquitto"))
}

impl Mosquitto {
    /// One that takes clients with a certificate, over TLS.
    pub(in crate::lab) fn with_tls(program: &Path, papers: &Papers, port: u16) -> anyhow::Result<Self> {
        let Pair { certificate, key } = papers.pair("server");
        let text = format!(
            "listener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\nrequire_certificate true\n\
             use_identity_as_username true\n",
            papers.authorities().display(),
            certificate.display(),
            key.display(),
        );
        Self::start(program, papers, port, &text)
    }

    /// One on the loopback that passes everything on to another by a bridge with a certificate.
    pub(in crate::lab) fn with_bridge(
        program: &Path,
        papers: &Papers,
        port: u16,
        to: u16,
    ) -> anyhow::Result<Self> {
        let Pair { certificate, key } = papers.pair("bridge");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nconnection peer\naddress localhost:{to}\n\
             bridge_cafile {}\nbridge_certfile {}\nbridge_keyfile {}\nbridge_protocol_version mqttv311\n\
             cleansession false\nnotifications false\nrestart_timeout 1\ntry_private true\n\
             topic readings/# out 1\n",
            papers.authorities().display(),
            certificate.display(),
            key.display(),
        );
        Self::start(program, papers, port, &text)
    }

    /// One on the loopback that keeps what it has in a folder, and writes it there whenever so many
    /// changes have come. That is as durable as it can be made: it answers first and writes then.
    pub(in crate::lab) fn with_persistence(
        program: &Path,
        folder: &Path,
        port: u16,
        changes: usize,
    ) -> anyhow::Result<Self> {
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\n\
             autosave_on_changes true\nautosave_interval {changes}\n",
            std::path::absolute(folder)?.display(),
        );
        Self::start_with(program, folder, port, &text)
    }

    /// The number of its process.
    pub(in crate::lab) fn process(&self) -> String {
        self.child.id().to_string()
    }

    fn start(program: &Path, papers: &Papers, port: u16, text: &str) -> anyhow::Result<Self> {
        Self::start_with(program, &papers.0, port, &format!("persistence false\n{text}"))
    }

    fn start_with(program: &Path, folder: &Path, port: u16, text: &str) -> anyhow::Result<Self> {
        let config = folder.join(format!("mosquitto-{port}.conf"));
        let mut file = std::fs::File::create(&config)?;
        write!(
            file,
            "user root\nper_listener_settings false\nmax_queued_messages 0\nmax_inflight_messages 1000\n\
             set_tcp_nodelay true\nlog_type error\n{text}"
        )?;
        let log = std::fs::File::create(config.with_extension("log"))?;
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("mosquitto cannot be started")?;
        let mut broker = Self { port, child };
        broker
            .wait()
            .with_context(|| std::fs::read_to_string(config.with_extension("log")).unwrap_or_default())?;
        Ok(broker)
    }

    /// Waits until it listens.
    fn wait(&mut self) -> anyhow::Result<()> {
        let clock = SystemClock::default();
        let began = clock.now().mono;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            anyhow::ensure!(self.child.try_wait()?.is_none(), "mosquitto ended at once");
            anyhow::ensure!(clock.now().mono.since(began) < PATIENCE, "mosquitto does not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Holds it still, or lets it go on.
    pub(in crate::lab) fn hold(&self, still: bool) -> anyhow::Result<()> {
        let signal = if still { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The broker at the far end, for as long as this lives.
pub(in crate::lab) enum Far {
    /// The usual one.
    Mosquitto(Mosquitto),
    /// Where there is no mosquitto.
    Embedded(u16, #[expect(dead_code, reason = "killed when dropped")] Beside),
}

impl Far {
    /// One that remembers nothing of an earlier measurement.
    pub(in crate::lab) fn start(papers: &Papers) -> anyhow::Result<Self> {
        if let Some(program) = mosquitto() {
            return Ok(Self::Mosquitto(Mosquitto::with_tls(&program, papers, free_port()?)?));
        }
        let mut beside = Beside::start(&words!["broker", &papers.0])?;
        let port = beside.line()?.parse()?;
        Ok(Self::Embedded(port, beside))
    }

    /// Which it is.
    pub(in crate::lab) fn word(&self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto",
            Self::Embedded(..) => "embedded",
        }
    }

    /// Where it listens.
    pub(in crate::lab) fn port(&self) -> u16 {
        match self {
            Self::Mosquitto(mosquitto) => mosquitto.port,
            Self::Embedded(port, _) => *port,
        }
    }
}

/// Runs the embedded broker, for machines without mosquitto. Says its port, and ends with its parent.
pub(in crate::lab) async fn embedded(papers: &Papers) -> anyhow::Result<()> {
    let (_keep, behaves) = watch::channel(Behaviour::default());
    let broker = Embedded::bind(papers.authorities(), papers.pair("server"), behaves).await?;
    writeln!(std::io::stdout(), "{}", broker.port()?)?;
    broker.run().await
}
