//! The broker: retained documents there and back, over MQTT 5 and mutual TLS. The only file of the operator's side
//! that speaks to a network.
//!
//! In: settings, topics, bytes. Out: what the broker retains, what comes in, and of each publish that the broker has
//! taken it. What never happens: a connection without TLS 1.3 and a certificate of our own; a publish that was
//! refused passes for one that was taken.
//!
//! A broker does not say when it has sent all that it retains (MQTT 5 section 3.8.4 leaves the order open), so what
//! is retained under a wildcard is known once nothing of it has come for [`QUIET`].

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rumqttc::mqttbytes::v5::{PubAckReason, SubscribeReasonCode};
use rumqttc::{
    AsyncClient, Event, EventLoop, IncomingPacketSizeLimit, MqttOptions, Packet, PublishOptions,
    PublishResult, QoS, TlsConfiguration, Transport,
};
use serde::Deserialize;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::folder::read_text;
use super::refused;
use crate::cli::exit::{Exit, Failure};
use crate::host::clock::SystemClock;
use crate::host::supervisor::Supervisor;
use crate::time::Clock as _;
use crate::uplink::mqtt::classify;
use crate::uplink::tls::{self, Files};
use crate::uplink::trouble::LinkError;

/// The file in the fleet's folder.
const FILE: &str = "broker.toml";
/// How long nothing must come until what is retained counts as known.
const QUIET: Duration = Duration::from_millis(1_500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The largest packet: a bundle with its topic.
const MAX_PACKET: u32 = 512 * 1_024;
/// How much may wait to be looked at.
const QUEUE: usize = 64;
const PORT: u16 = 8883;

/// How the broker is reached; what is said here comes before broker.toml.
#[derive(Debug, Default, Args)]
pub(super) struct Connection {
    /// The file with the settings below; broker.toml in the fleet's folder when nothing is said.
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// The broker's host name, as its certificate says it.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Its port.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// PEM file with the authorities that the broker's certificate may come from.
    #[arg(long, value_name = "FILE")]
    tls_authorities: Option<PathBuf>,
    /// PEM file with our certificate chain.
    #[arg(long, value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// PEM file with our private key, which only its owner may read.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

/// What every command that speaks to the broker says of its settings.
pub(super) const HELP: &str = "The broker is named in FOLDER/broker.toml, whose paths are taken from there:\n  \
    host = \"broker.st-anna.example\"\n  port = 8883\n  authorities = \"tls/ca.pem\"\n  \
    certificate = \"tls/operator.pem\"\n  key = \"tls/operator.key\"\n  \
    client_id = \"wardline-fleet\"           how we are called; nobody else may have that name\n  \
    gateway_authorities = \"tls/gw-ca.pem\"  whose certificates gateways have; as authorities without it";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    host: Option<String>,
    port: Option<u16>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    client_id: Option<String>,
    gateway_authorities: Option<PathBuf>,
}

/// Where the broker is and who we are.
#[derive(Debug)]
pub(super) struct Settings {
    host: String,
    port: u16,
    client: String,
    authorities: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// Whose certificates gateways have.
    pub(super) gateway_authorities: PathBuf,
}

impl Connection {
    /// The settings, from the flags and the file.
    pub(super) fn settings(&self, fleet: &Path) -> Result<Settings, Failure> {
        let file = self.broker.clone().unwrap_or_else(|| fleet.join(FILE));
        let wrong = |why: String| Failure::new(Exit::Config, anyhow::anyhow!("{}: {why}", file.display()));
        let text = read_text(&file)?;
        if text.is_none() && self.broker.is_some() {
            return Err(wrong("is not there".to_owned()));
        }
        let written: Written =
            toml_edit::de::from_str(&text.unwrap_or_default()).map_err(|error| wrong(error.to_string()))?;
        let beside = file.parent().unwrap_or(fleet);
        let path = |said: &Option<PathBuf>, written: Option<PathBuf>, name: &str| {
            let written = written.map(|path| beside.join(path));
            said.clone()
                .or(written)
                .ok_or_else(|| wrong(format!("has no {name}: add it, or say --tls-{name}")))
        };
        let host = self.host.clone().or(written.host);
        let authorities = path(&self.tls_authorities, written.authorities, "authorities")?;
        let gateways = written.gateway_authorities.map(|path| beside.join(path));
        Ok(Settings {
            host: host.ok_or_else(|| wrong("has no host: add it, or say --host".to_owned()))?,
            port: self.port.or(written.port).unwrap_or(PORT),
            client: written.client_id.unwrap_or_else(|| format!("wardline-fleet-{}", std::process::id())),
            certificate: path(&self.tls_certificate, written.certificate, "certificate")?,
            key: path(&self.tls_key, written.key, "key")?,
            gateway_authorities: gateways.unwrap_or_else(|| authorities.clone()),
            authorities,
        })
    }
}

/// Something that was published.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    /// It was there before we asked.
    pub(super) retained: bool,
}

enum Told {
    Up,
    Heard(Heard),
    Down(LinkError),
}

/// A connection to the broker. It ends when it is dropped.
pub(super) struct Broker {
    // Before the runtime, which ends it.
    client: AsyncClient,
    told: mpsc::Receiver<Told>,
    /// What came while something else was waited for.
    early: VecDeque<Told>,
    _tasks: Supervisor,
    name: String,
    runtime: Runtime,
}

impl Broker {
    pub(super) fn connect(settings: &Settings) -> Result<Self, Failure> {
        let files = Files {
            authorities: &settings.authorities,
            certificate: &settings.certificate,
            key: &settings.key,
        };
        let tls = tls::client_config(files, SystemClock::default().now())
            .map_err(|error| Failure::new(Exit::Keys, error))?;
        let name = format!("{}:{}", settings.host, settings.port);
        let mut options = MqttOptions::new(&settings.client, (settings.host.as_str(), settings.port));
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&tls))))
            .set_clean_start(true)
            .set_session_expiry_interval(Some(0))
            .set_keep_alive(30)
            .set_max_packet_size(Some(MAX_PACKET))
            .set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(MAX_PACKET))
            .set_connect_timeout(PATIENCE);
        let (client, events) = AsyncClient::builder(options)
            .capacity(QUEUE)
            .try_build()
            .map_err(|error| Failure::new(Exit::Failed, anyhow::anyhow!("broker {name}: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, told) = mpsc::channel(QUEUE);
        let mut tasks = Supervisor::new();
        let of = name.clone();
        {
            let _within = runtime.enter();
            tasks.task("broker", async move {
                listen(Box::new(events), &tell, &of).await;
                Ok(())
            });
        }
        let mut broker = Self { client, told, early: VecDeque::new(), _tasks: tasks, name, runtime };
        match broker.next(PATIENCE)? {
            Some(Told::Up) => Ok(broker),
            Some(Told::Heard(_)) | None => Err(broker.silent("does not answer CONNECT")),
            Some(Told::Down(error)) => Err(Failure::new(Exit::Failed, error)),
        }
    }

    fn next(&mut self, within: Duration) -> Result<Option<Told>, Failure> {
        if let Some(told) = self.early.pop_front() {
            return Ok(Some(told));
        }
        let told = self.runtime.block_on(async { timeout(within, self.told.recv()).await });
        match told {
            Err(_) => Ok(None),
            Ok(Some(told)) => Ok(Some(told)),
            Ok(None) => Err(self.silent("is no longer connected")),
        }
    }

    fn silent(&self, what: &str) -> Failure {
        Failure::new(Exit::Failed, anyhow::anyhow!("broker {} {what}", self.name))
    }

    /// What comes in next; none: nothing, for so long.
    pub(super) fn hear(&mut self, within: Duration) -> Result<Option<Heard>, Failure> {
        match self.next(within)? {
            None | Some(Told::Up) => Ok(None),
            Some(Told::Heard(heard)) => Ok(Some(heard)),
            Some(Told::Down(error)) => Err(Failure::new(Exit::Failed, error)),
        }
    }

    /// Asks for what is published under a filter, and for what is retained there. What comes meanwhile waits.
    pub(super) fn subscribe(&mut self, filter: &str) -> Result<(), Failure> {
        let notice = self.client.try_subscribe_tracked(filter, QoS::AtLeastOnce);
        let notice = notice.map_err(|error| self.silent(&format!("is asked for nothing more: {error}")))?;
        // What is retained under an earlier filter may come before this answer, and more of it than the queue holds.
        let (told, early) = (&mut self.told, &mut self.early);
        let answer = self.runtime.block_on(async {
            let answer = timeout(PATIENCE, notice.wait_async());
            tokio::pin!(answer);
            loop {
                tokio::select! {
                    answer = &mut answer => break answer,
                    Some(told) = told.recv() => early.push_back(told),
                }
            }
        });
        match answer {
            Ok(Ok(ack))
                if ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))) =>
            {
                Ok(())
            }
            Ok(Ok(ack)) => Err(refused(format!(
                "broker {} does not let us read {filter} ({:?}): give our certificate read access there",
                self.name, ack.return_codes
            ))),
            Ok(Err(_)) | Err(_) => Err(self.lost()),
        }
    }

    /// Why the connection is over, if it is known by now.
    fn lost(&mut self) -> Failure {
        while let Some(told) = self.early.pop_front().or_else(|| self.told.try_recv().ok()) {
            if let Told::Down(error) = told {
                return Failure::new(Exit::Failed, error);
            }
        }
        self.silent("does not answer")
    }

    /// What is retained under the filters, by topic.
    pub(super) fn retained(&mut self, filters: &[String]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        for filter in filters {
            self.subscribe(filter)?;
        }
        let clock = SystemClock::default();
        let (mut found, mut last) = (BTreeMap::new(), clock.now().mono);
        // What is published meanwhile says nothing of what was retained: in a large fleet it never ends.
        while let Some(heard) = self.hear(QUIET.saturating_sub(clock.now().mono.since(last)))? {
            if heard.retained {
                last = clock.now().mono;
            }
            found.insert(heard.topic, heard.payload);
        }
        Ok(found)
    }

    /// Publishes a document for the broker to retain, and waits until the broker says that it has it.
    pub(super) fn retain(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retained();
        let notice = self.client.try_publish_tracked(topic, payload.to_vec(), options);
        let notice = notice.map_err(|error| self.silent(&format!("takes nothing more: {error}")))?;
        let answer = self.runtime.block_on(async { timeout(PATIENCE, notice.wait_async()).await });
        match answer {
            Ok(Ok(PublishResult::Qos1(ack))) => {
                let reason = ack.reason;
                if matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
                    return Ok(());
                }
                Err(refused(format!(
                    "broker {} does not let us write {topic} ({reason:?}): give our certificate write access there, or see \
                     the broker's log",
                    self.name
                )))
            }
            Ok(Ok(_) | Err(_)) | Err(_) => Err(self.lost()),
        }
    }

    /// Waits until the broker gives back a document as it was published.
    pub(super) fn read_back(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        self.subscribe(topic)?;
        while let Some(heard) = self.hear(PATIENCE)? {
            if heard.topic == topic && heard.retained {
                if heard.payload == payload {
                    return Ok(());
                }
                return Err(refused(format!(
                    "broker {} retains something else under {topic} than what it was given: somebody else writes there",
                    self.name
                )));
            }
        }
        Err(refused(format!(
            "broker {} does not give back {topic}: it retains nothing, or does not let us read it",
            self.name
        )))
    }
}

/// Drives the connection until it ends: after an error nothing is expected of it any more.
async fn listen(mut events: Box<EventLoop>, tell: &mpsc::Sender<Told>, name: &str) {
    let mut is_up = false;
    loop {
        let told = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                is_up = true;
                Told::Up
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Told::Heard(Heard {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                retained: publish.retain,
            }),
            Ok(_) => continue,
            Err(error) => Told::Down(classify(&error, name, is_up)),
        };
        let is_over = matches!(told, Told::Down(_));
        if tell.send(told).await.is_err() || is_over {
            return;
        }
    }
}
