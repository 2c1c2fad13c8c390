//! The broker: retained documents there and back, over MQTT 5 and mutual TLS. The only file of the operator's side
//! that speaks to a network.
//!
//! In: settings, topics, bytes. Out: what the broker retains, what comes in, and of each publish that the broker has
//! taken it. What never happens: a connection without TLS 1.3 and a certificate of our own; a publish that was
//! refused passes for one that was taken.
//!
//! A broker does not say when it has sent all that it retains (MQTT 5 section 3.8.4 leaves the order open), so what
//! is retained under a wildcard is known once nothing retained has come for [`QUIET`]. What gateways publish meanwhile
//! does not count: on a fleet that lives there is always some.

use std::collections::BTreeMap;
use std::future::Future;
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
pub(super) use super::inbox::Heard;
use super::inbox::{Inbox, Over, Told};
use super::plain::plain;
use super::{PROGRAM, refused};
use crate::backoff::Random as _;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::cli::screen::{Sign, Signs};
use crate::envelope::keys::KeyPlace;
use crate::host::clock::SystemClock;
use crate::host::random::SystemRandomness;
use crate::host::supervisor::Supervisor;
use crate::time::Clock as _;
use crate::uplink::mqtt::classify;
use crate::uplink::tls::{self, Files};

/// The file in the fleet's folder.
const FILE: &str = "broker.toml";
/// How long nothing must come until what is retained counts as known.
const QUIET: Duration = Duration::from_millis(1_500);
/// How long all that is retained may take.
const WHOLE: Duration = Duration::from_secs(60);
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
    client_id = \"wardline-fleet\"           how our name begins; each connection adds digits of its own\n  \
    gateway_authorities = \"tls/gw-ca.pem\"  whose certificates gateways have; without it those of the broker count";

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
    /// Whose certificates gateways have, when that is said.
    gateway_authorities: Option<PathBuf>,
}

impl Settings {
    /// Whose certificates gateways have.
    pub(super) fn of_gateways(&self) -> &Path {
        self.gateway_authorities.as_deref().unwrap_or_else(|| {
            out::remark_of(
                PROGRAM,
                format_args!(
                    "no gateway_authorities: whoever has a certificate of the broker's authorities ({}) with a \
                     gateway's name counts as that gateway",
                    self.authorities.display()
                ),
            );
            &self.authorities
        })
    }
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
        let is_there = text.is_some();
        let written: Written =
            toml_edit::de::from_str(&text.unwrap_or_default()).map_err(|error| wrong(error.to_string()))?;
        let beside = file.parent().unwrap_or(fleet);
        let path = |said: &Option<PathBuf>, written: Option<PathBuf>, name: &str| {
            let written = written.map(|path| beside.join(path));
            said.clone().or(written).ok_or_else(|| {
                wrong(if is_there {
                    format!("has no {name}: add it, or say --tls-{name}")
                } else {
                    "is not there: it names the broker, as the end of --help shows".to_owned()
                })
            })
        };
        let host = self.host.clone().or(written.host);
        let authorities = path(&self.tls_authorities, written.authorities, "authorities")?;
        let gateways = written.gateway_authorities.map(|path| beside.join(path));
        Ok(Settings {
            host: host.ok_or_else(|| wrong("has no host: add it, or say --host".to_owned()))?,
            port: self.port.or(written.port).unwrap_or(PORT),
            client: own_name(written.client_id.as_deref().unwrap_or(PROGRAM)),
            certificate: path(&self.tls_certificate, written.certificate, "certificate")?,
            key: path(&self.tls_key, written.key, "key")?,
            gateway_authorities: gateways,
            authorities,
        })
    }
}

/// Two connections of one name throw each other out (MQTT 5 section 3.1.4), and the guard and a person have one file.
fn own_name(begins: &str) -> String {
    format!("{begins}-{:016x}", SystemRandomness::new().next_u64())
}

/// What comes in while somebody looks.
pub(super) enum Came {
    Heard(Heard),
    Sign(Sign),
}

/// A connection to the broker. It ends when it is dropped.
pub(super) struct Broker {
    // Before the runtime, which ends it.
    client: AsyncClient,
    inbox: Inbox,
    _tasks: Supervisor,
    name: String,
    runtime: Runtime,
}

impl Broker {
    pub(super) fn connect(settings: &Settings) -> Result<Self, Failure> {
        let key = KeyPlace::File(settings.key.clone());
        let files =
            Files { authorities: &settings.authorities, certificate: &settings.certificate, key: &key };
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
        let (tell, mut told) = mpsc::channel(QUEUE);
        let mut tasks = Supervisor::new();
        let of = name.clone();
        {
            let _within = runtime.enter();
            tasks.task("broker", async move {
                listen(Box::new(events), &tell, &of).await;
                Ok(())
            });
        }
        let up = runtime.block_on(async { timeout(PATIENCE, told.recv()).await });
        let broker = Self { client, inbox: Inbox::new(told), _tasks: tasks, name, runtime };
        match up {
            Ok(Some(Told::Up)) => Ok(broker),
            Ok(Some(Told::Down(error))) => Err(broker.over(Over::Down(error))),
            Ok(Some(Told::Heard(_)) | None) | Err(_) => Err(broker.silent("does not answer CONNECT")),
        }
    }

    fn silent(&self, what: &str) -> Failure {
        Failure::new(Exit::Failed, anyhow::anyhow!("broker {} {what}", self.name))
    }

    /// Why nothing more comes. A broker says some of it in its own words.
    fn over(&self, over: Over) -> Failure {
        match over {
            Over::Down(error) => {
                let words = format!("{:#}", anyhow::Error::from(error));
                Failure::new(Exit::Failed, anyhow::anyhow!(plain(&words)))
            }
            Over::Ended => self.silent("is no longer connected"),
            Over::TooMuch => refused(format!(
                "broker {} retains more under our topics than a fleet can have: look for who writes there",
                self.name
            )),
        }
    }

    /// The signals of the terminal, which come with what is heard.
    pub(super) fn signs(&self) -> Result<Signs, Failure> {
        let _within = self.runtime.enter();
        Ok(Signs::new()?)
    }

    /// What comes in next; none: nothing, for so long.
    #[cfg(feature = "lab")]
    pub(super) fn hear(&mut self, within: Duration) -> Result<Option<Heard>, Failure> {
        let inbox = &mut self.inbox;
        match self.runtime.block_on(async { timeout(within, inbox.any()).await }) {
            Err(_) => Ok(None),
            Ok(heard) => heard.map(Some).map_err(|over| self.over(over)),
        }
    }

    /// What comes in next, from the broker or from whoever looks; none: nothing, for so long.
    pub(super) fn come(
        &mut self,
        within: Duration,
        signs: Option<&mut Signs>,
    ) -> Result<Option<Came>, Failure> {
        let inbox = &mut self.inbox;
        let sign = async {
            match signs {
                Some(signs) => signs.next().await,
                None => std::future::pending().await,
            }
        };
        let next = async {
            tokio::select! {
                biased;
                sign = sign => Ok(Came::Sign(sign)),
                heard = inbox.any() => heard.map(Came::Heard),
            }
        };
        match self.runtime.block_on(async { timeout(within, next).await }) {
            Err(_) => Ok(None),
            Ok(came) => came.map(Some).map_err(|over| self.over(over)),
        }
    }

    /// The broker's answer. What comes before it is taken in: the answer may stand behind it.
    fn answer<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let inbox = &mut self.inbox;
        match self.runtime.block_on(async { timeout(PATIENCE, inbox.answered(answer)).await }) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(over)) => Err(self.over(over)),
            Err(_) => Err(self.silent("does not answer")),
        }
    }

    /// Asks for what is published under a filter, and for what is retained there. What comes meanwhile waits.
    pub(super) fn subscribe(&mut self, filter: &str) -> Result<(), Failure> {
        self.inbox.ask(filter);
        let notice = self.client.try_subscribe_tracked(filter, QoS::AtLeastOnce);
        let notice = notice.map_err(|error| self.silent(&format!("is asked for nothing more: {error}")))?;
        match self.answer(notice.wait_async())? {
            Ok(ack)
                if ack.return_codes.iter().all(|code| matches!(code, SubscribeReasonCode::Success(_))) =>
            {
                Ok(())
            }
            Ok(ack) => Err(refused(format!(
                "broker {} does not let us read {filter} ({:?}): give our certificate read access there",
                self.name, ack.return_codes
            ))),
            Err(_) => Err(self.lost()),
        }
    }

    /// Why the connection is over, if that is said soon.
    fn lost(&mut self) -> Failure {
        let inbox = &mut self.inbox;
        let ended = async {
            loop {
                if let Err(over) = inbox.pull().await {
                    return over;
                }
            }
        };
        let over = self.runtime.block_on(async { timeout(QUIET, ended).await });
        over.map_or_else(|_| self.silent("does not answer"), |over| self.over(over))
    }

    /// What is retained under the filters, by topic.
    pub(super) fn retained(&mut self, filters: &[String]) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        self.inbox.begin();
        for filter in filters {
            self.subscribe(filter)?;
        }
        let mut found = BTreeMap::new();
        let inbox = &mut self.inbox;
        let all = async {
            while let Ok(heard) = timeout(QUIET, inbox.retained()).await {
                let heard = heard?;
                found.insert(heard.topic, heard.payload);
            }
            Ok(())
        };
        match self.runtime.block_on(async { timeout(WHOLE, all).await }) {
            Ok(Ok(())) => Ok(found),
            Ok(Err(over)) => Err(self.over(over)),
            Err(_) => Err(self.silent("does not come to the end of what it retains")),
        }
    }

    /// Publishes a document for the broker to retain, and waits until the broker says that it has it.
    pub(super) fn retain(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        let options = PublishOptions::new(QoS::AtLeastOnce).retained();
        let notice = self.client.try_publish_tracked(topic, payload.to_vec(), options);
        let notice = notice.map_err(|error| self.silent(&format!("takes nothing more: {error}")))?;
        match self.answer(notice.wait_async())? {
            Ok(PublishResult::Qos1(ack)) => {
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
            Ok(_) | Err(_) => Err(self.lost()),
        }
    }

    /// Waits until the broker gives back a document as it was published.
    pub(super) fn read_back(&mut self, topic: &str, payload: &[u8]) -> Result<(), Failure> {
        self.inbox.begin();
        self.subscribe(topic)?;
        let inbox = &mut self.inbox;
        let found = async {
            loop {
                let heard = inbox.retained().await?;
                if heard.topic == topic {
                    return Ok(heard.payload);
                }
            }
        };
        match self.runtime.block_on(async { timeout(PATIENCE, found).await }) {
            Ok(Ok(there)) if there == payload => Ok(()),
            Ok(Ok(_)) => Err(refused(format!(
                "broker {} retains something else under {topic} than what it was given: somebody else writes there",
                self.name
            ))),
            Ok(Err(over)) => Err(self.over(over)),
            Err(_) => Err(refused(format!(
                "broker {} does not give back {topic}: it retains nothing, or does not let us read it",
                self.name
            ))),
        }
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
