//! A small MQTT 5 broker for demos and tests: client certificates are mandatory, and it misbehaves on
//! request. Not for production: no persistence, no access lists, `QoS` 0 and 1 only.
//!
//! A client with a session expiry keeps its subscriptions, and what it did not acknowledge, over a
//! lost connection; so a consumer that is cut off together with the gateway loses nothing that the
//! gateway was told had arrived.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::{BufMut as _, BytesMut};
use rumqttc::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, LastWill, Packet, PingResp, Publish, SubAck,
    SubscribeReasonCode,
};
use rumqttc::mqttbytes::{Error as CodecError, matches};
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::tokio_rustls::server::TlsStream;
use rumqttc::{PublishProperties, QoS};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::pki::Pair;

/// The largest packet that is taken.
const MAX_PACKET: u32 = 1024 * 1024;
/// Publishes that wait for one subscriber; beyond it the publisher is told 0x97, quota exceeded.
const MAX_PENDING: usize = 10_000;

/// What it does at the moment.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// What becomes of connections.
    pub links: Links,
    /// Told in CONNACK.
    pub receive_maximum: u16,
    /// Told in CONNACK, and kept to.
    pub max_packet: u32,
    /// A publish to a topic that matches one of these filters is not taken, and this is its reason
    /// code.
    pub refuse: Vec<(String, u8)>,
    /// The PUBACKs of what is read at once come in reverse.
    pub reverse_acks: bool,
    /// Who connects is told that it is not authorised; who is connected stays.
    pub deny: bool,
    /// Every answer comes so much later: a long line.
    pub delay: Duration,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are served.
    Serve,
    /// All are cut, and new ones dropped at once.
    Cut,
    /// Bytes are taken and nothing is answered, by old connections as by new ones.
    Swallow,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            links: Links::Serve,
            receive_maximum: 100,
            max_packet: MAX_PACKET,
            refuse: Vec::new(),
            reverse_acks: false,
            deny: false,
            delay: Duration::ZERO,
        }
    }
}

/// The broker.
pub struct Broker {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    hub: Arc<Hub>,
    behaviour: watch::Receiver<Behaviour>,
}

impl Broker {
    /// Binds to a free port on the loopback.
    pub async fn bind(
        authorities: PathBuf,
        server: Pair,
        behaviour: watch::Receiver<Behaviour>,
    ) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authorities)? {
            roots.add(certificate?)?;
        }
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let chain = CertificateDer::pem_file_iter(server.certificate)?.collect::<Result<_, _>>()?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(server.key)?)?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no free port on the loopback")?;
        Ok(Self { listener, acceptor: Arc::new(config).into(), hub: Arc::default(), behaviour })
    }

    /// The port.
    pub fn port(&self) -> anyhow::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// What is retained on a topic, as text: looks from outside while it runs.
    pub fn retained(&self) -> impl Fn(&str) -> Option<String> + Send + Sync + use<> {
        let hub = Arc::clone(&self.hub);
        move |topic| {
            let state = hub.lock();
            let publish = state.retained.get(topic)?;
            Some(String::from_utf8_lossy(&publish.payload).into_owned())
        }
    }

    /// Serves until dropped.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let (tcp, _) = self.listener.accept().await?;
            while connections.try_join_next().is_some() {}
            let (acceptor, hub) = (self.acceptor.clone(), Arc::clone(&self.hub));
            let behaviour = self.behaviour.clone();
            connections.spawn(async move {
                if let Err(error) = serve(tcp, acceptor, hub, behaviour).await {
                    tracing::debug!(%error, "a connection of the lab broker ended");
                }
            });
        }
    }
}

#[derive(Default)]
struct Hub(Mutex<HubState>);

#[derive(Default)]
struct HubState {
    sessions: BTreeMap<String, Session>,
    retained: BTreeMap<String, Publish>,
    connections: u64,
}

#[derive(Default)]
struct Session {
    connection: u64,
    filters: Vec<String>,
    pending: VecDeque<Publish>,
    in_flight: BTreeMap<u16, Publish>,
    last_id: u16,
    wake: Arc<Notify>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HubState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a publish to whoever subscribed. Gives the reason code.
    fn route(&self, publish: &Publish) -> u8 {
        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
        let mut state = self.lock();
        let wanted = |session: &Session| session.filters.iter().any(|filter| matches(&topic, filter));
        let full = |session: &Session| session.pending.len() >= MAX_PENDING;
        if state.sessions.values().any(|session| wanted(session) && full(session)) {
            return 0x97;
        }
        if publish.retain && publish.payload.is_empty() {
            state.retained.remove(&topic);
        } else if publish.retain {
            state.retained.insert(topic.clone(), publish.clone());
        }
        let mut taken = false;
        for session in state.sessions.values_mut().filter(|session| wanted(session)) {
            session.pending.push_back(Publish { retain: false, ..publish.clone() });
            session.wake.notify_one();
            taken = true;
        }
        if taken { 0x00 } else { 0x10 }
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    hub: Arc<Hub>,
    mut behaviour: watch::Receiver<Behaviour>,
) -> anyhow::Result<()> {
    tcp.set_nodelay(true)?;
    let links = behaviour.borrow().links;
    match links {
        Links::Cut => return Ok(()),
        Links::Swallow => return swallow(tcp, behaviour).await,
        Links::Serve => {}
    }
    let tls = tokio::select! {
        accepted = acceptor.accept(tcp) => accepted?,
        _ = behaviour.wait_for(|now| now.links == Links::Cut) => return Ok(()),
    };
    let mut connection = Connection {
        stream: tls,
        hub: Arc::clone(&hub),
        input: BytesMut::new(),
        output: BytesMut::new(),
        client: None,
        will: None,
        window: usize::from(u16::MAX),
        persistent: false,
    };
    let result = connection.run(behaviour).await;
    connection.end();
    result
}

/// Takes what comes and says nothing, until the links are cut.
async fn swallow(mut tcp: TcpStream, mut behaviour: watch::Receiver<Behaviour>) -> anyhow::Result<()> {
    let mut sink = vec![0; 4096];
    loop {
        tokio::select! {
            read = tcp.read(&mut sink) => if read? == 0 { return Ok(()) },
            _ = behaviour.wait_for(|now| now.links != Links::Swallow) => return Ok(()),
        }
    }
}

struct Connection {
    stream: TlsStream<TcpStream>,
    hub: Arc<Hub>,
    input: BytesMut,
    output: BytesMut,
    client: Option<(String, u64, Arc<Notify>)>,
    will: Option<LastWill>,
    window: usize,
    persistent: bool,
}

impl Connection {
    async fn run(&mut self, mut behaviour: watch::Receiver<Behaviour>) -> anyhow::Result<()> {
        loop {
            let wake = self.client.as_ref().map(|(_, _, wake)| Arc::clone(wake));
            tokio::select! {
                read = self.stream.read_buf(&mut self.input) => if read? == 0 { return Ok(()) },
                () = notified(wake) => {}
                changed = behaviour.changed() => changed?,
            }
            let now = behaviour.borrow_and_update().clone();
            match now.links {
                Links::Serve => {}
                Links::Cut => return Ok(()),
                Links::Swallow => {
                    self.input.clear();
                    continue;
                }
            }
            if !self.take_packets(&now)? {
                return Ok(());
            }
            if !self.output.is_empty() && !now.delay.is_zero() {
                tokio::time::sleep(now.delay).await;
            }
            self.pump()?;
            if !self.output.is_empty() {
                let output = self.output.split();
                tokio::select! {
                    written = self.stream.write_all(&output) => written?,
                    _ = behaviour.wait_for(|now| now.links == Links::Cut) => return Ok(()),
                }
                self.stream.flush().await?;
            }
        }
    }

    /// Takes every whole packet. `false`: the client is done.
    fn take_packets(&mut self, now: &Behaviour) -> anyhow::Result<bool> {
        let mut acks = Vec::new();
        loop {
            match Packet::read(&mut self.input, Some(now.max_packet)) {
                Ok(Packet::Connect(connect, will, _)) => self.connect(connect, will, now)?,
                Ok(Packet::Publish(publish)) => acks.extend(self.publish(&publish, now)),
                Ok(Packet::Subscribe(subscribe)) => {
                    let filters = subscribe.filters.iter().map(|filter| filter.path.clone()).collect();
                    self.subscribe(subscribe.pkid, filters)?;
                }
                Ok(Packet::PubAck(ack)) => {
                    self.with_session(|session| session.in_flight.remove(&ack.pkid));
                }
                Ok(Packet::PingReq) => {
                    PingResp::write(&mut self.output)?;
                }
                Ok(Packet::Disconnect(_)) => {
                    self.will = None;
                    return Ok(false);
                }
                Ok(other) => anyhow::bail!("{:?} is not for this broker", other.packet_type()),
                Err(CodecError::InsufficientBytes(_)) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if now.reverse_acks {
            acks.reverse();
        }
        for (id, reason) in acks {
            // By hand, so that any reason code can be sent.
            self.output.put_slice(&[0x40, 3]);
            self.output.put_u16(id);
            self.output.put_u8(reason);
        }
        Ok(true)
    }

    fn connect(&mut self, connect: Connect, will: Option<LastWill>, now: &Behaviour) -> anyhow::Result<()> {
        if now.deny {
            let code = ConnectReturnCode::NotAuthorized;
            ConnAck { session_present: false, code, properties: None }.write(&mut self.output)?;
            return Ok(());
        }
        let properties = connect.properties.unwrap_or_default();
        self.window = usize::from(properties.receive_maximum.unwrap_or(u16::MAX));
        self.persistent = properties.session_expiry_interval.unwrap_or(0) > 0;
        self.will = will;
        let mut state = self.hub.lock();
        state.connections += 1;
        let number = state.connections;
        let had = state.sessions.contains_key(&connect.client_id) && !connect.clean_start;
        if !had {
            state.sessions.remove(&connect.client_id);
        }
        let session = state.sessions.entry(connect.client_id.clone()).or_default();
        session.connection = number;
        // What was under way comes again, in its order.
        for (_, publish) in std::mem::take(&mut session.in_flight).into_iter().rev() {
            session.pending.push_front(Publish { dup: true, ..publish });
        }
        self.client = Some((connect.client_id, number, Arc::clone(&session.wake)));
        drop(state);
        let properties = Some(connack_properties(now));
        ConnAck { session_present: had, code: ConnectReturnCode::Success, properties }
            .write(&mut self.output)?;
        Ok(())
    }

    fn publish(&self, publish: &Publish, now: &Behaviour) -> Option<(u16, u8)> {
        let topic = String::from_utf8_lossy(&publish.topic);
        let refused = now.refuse.iter().find(|(filter, _)| matches(&topic, filter));
        let reason = refused.map_or_else(|| self.hub.route(publish), |(_, reason)| *reason);
        (publish.qos != QoS::AtMostOnce).then_some((publish.pkid, reason))
    }

    fn subscribe(&mut self, id: u16, filters: Vec<String>) -> anyhow::Result<()> {
        let retained: Vec<Publish> = {
            let state = self.hub.lock();
            let wanted = |topic: &str| filters.iter().any(|filter| matches(topic, filter));
            state.retained.iter().filter(|(topic, _)| wanted(topic)).map(|(_, kept)| kept.clone()).collect()
        };
        let return_codes = filters.iter().map(|_| SubscribeReasonCode::Success(QoS::AtLeastOnce)).collect();
        self.with_session(|session| {
            session.filters.retain(|filter| !filters.contains(filter));
            session.filters.extend(filters);
            session.pending.extend(retained);
        });
        SubAck { pkid: id, return_codes, properties: None }.write(&mut self.output)?;
        Ok(())
    }

    /// Writes what waits for this client, as far as its window allows.
    fn pump(&mut self) -> anyhow::Result<()> {
        let window = self.window;
        let mut ready = Vec::new();
        self.with_session(|session| {
            while session.in_flight.len() < window {
                let Some(publish) = session.pending.pop_front() else { break };
                session.last_id = session.last_id.checked_add(1).unwrap_or(1);
                let publish = Publish { pkid: session.last_id, ..forwarded(publish) };
                session.in_flight.insert(session.last_id, publish.clone());
                ready.push(publish);
            }
        });
        for publish in ready {
            publish.write(&mut self.output)?;
        }
        Ok(())
    }

    fn with_session<T>(&self, change: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let (id, _, _) = self.client.as_ref()?;
        self.hub.lock().sessions.get_mut(id).map(change)
    }

    /// The connection is over: the will, unless the client said goodbye.
    fn end(&mut self) {
        if let Some(will) = self.will.take() {
            let topic = String::from_utf8_lossy(&will.topic).into_owned();
            let mut publish = Publish::new(topic, will.qos, will.message, None);
            publish.retain = will.retain;
            self.hub.route(&publish);
        }
        let Some((id, number, _)) = self.client.take() else { return };
        let mut state = self.hub.lock();
        let present = state.sessions.get(&id).is_some_and(|session| session.connection == number);
        if present && !self.persistent {
            state.sessions.remove(&id);
        }
    }
}

fn connack_properties(now: &Behaviour) -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: Some(now.receive_maximum),
        max_qos: Some(1),
        retain_available: None,
        max_packet_size: Some(now.max_packet),
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

/// As a subscriber gets it: `QoS` 1, without what concerned only the publisher.
fn forwarded(publish: Publish) -> Publish {
    let properties =
        publish.properties.map(|properties| PublishProperties { topic_alias: None, ..properties });
    Publish { qos: QoS::AtLeastOnce, properties, ..publish }
}

async fn notified(wake: Option<Arc<Notify>>) {
    match wake {
        Some(wake) => wake.notified().await,
        None => std::future::pending().await,
    }
}
