//! The uplink changes while it runs: another broker, another certificate, other settings.
//!
//! In: a [`Config`]. Out: the new one in force, or the old one and the reason. Nothing is ever let go before the
//! new is known to work, as far as the protocol allows:
//!
//! - To another broker a second connection is made. When it has its CONNACK, what is in flight on the old one is
//!   awaited, but not where there is an alarm; the new one begins, and the old one says goodbye.
//! - At the same broker a second connection with the same client id would end the first (MQTT 5, section
//!   3.1.4). So files, name, network and TLS are tried first, without CONNECT; then the old one is finished as
//!   above, and the new one made. When that one gets no CONNACK, the old settings are gone back to.
//! - A CONNACK alone proves nothing by the time that the old connection is left: the new one may have ended since. So
//!   new settings are only tried until the first PUBACK, and gone back from when the connection ends before or when
//!   none comes.
//! - Subscriptions and notices go with it: like any other connection, the new one subscribes to what is wanted and gives
//!   the broker what it is to keep.
//!
//! A certificate alone is shown in the same way; the settings name the old files again once it is proven, so
//! that its files can take their place without another connection.
//!
//! What is not acknowledged by then is sent again by the new connection: at least once, as after any loss of a
//! connection. So does a block of which only a part was published: it goes to the new one whole. Another name of the same broker is found out by the broker, which ends the old connection.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Driver, Trouble, limits};
use crate::backoff::Backoff;
use crate::envelope::keys::KeyPlace;
use crate::host::supervisor::blocking;
use crate::time::{Mono, Now};
use crate::uplink::Config;
use crate::uplink::encode::Encoder;
use crate::uplink::mqtt::{self, Job, Link, LinkEvent};
use crate::uplink::post::{Inbox, Post};
use crate::uplink::tls::{self, TlsError};
use crate::uplink::topic::Topics;
use crate::uplink::trouble::LinkError;

/// How long what is in flight is waited for before the old connection is left. What is not acknowledged by then is
/// sent again.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How long a second connection may take to its CONNACK. The library's own limit is within it.
const CONNACK_WITHIN: Duration = Duration::from_secs(15);

/// How long after its CONNACK a connection may take to its first answer before the old settings are gone back to. The
/// birth message is the first thing that is sent on each, so there is always something to be answered.
const PROOF_WITHIN: Duration = Duration::from_secs(15);

/// Asks a running uplink to change. Every clone asks the same one.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Command>);

/// What is asked.
pub(super) struct Command {
    wanted: Wanted,
    reply: Reply,
}

type Reply = oneshot::Sender<Result<(), NotTaken>>;

/// What the uplink is to go over to.
enum Wanted {
    /// Other settings.
    Settings(Box<Config>),
    /// The key and chain of another file, where the settings name this place.
    Pair { pair: PathBuf, place: PathBuf },
}

/// Why a change was not made. The old settings are in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The broker answers, and does not take what it was shown.
    #[error("{0}")]
    Refused(String),
    /// It was not found out whether it would.
    #[error("{0}")]
    Untried(String),
}

impl NotTaken {
    fn untried(why: &impl ToString) -> Self {
        Self::Untried(why.to_string())
    }
}

impl From<&LinkError> for NotTaken {
    fn from(error: &LinkError) -> Self {
        if error.is_refusal() { Self::Refused(error.to_string()) } else { Self::untried(error) }
    }
}

impl From<&TlsError> for NotTaken {
    fn from(error: &TlsError) -> Self {
        match error {
            // No broker would take it.
            TlsError::Expired { .. } | TlsError::KeyMismatch { .. } | TlsError::TokenMismatch { .. } => {
                Self::Refused(error.to_string())
            }
            TlsError::Unreadable { .. }
            | TlsError::Exposed(_)
            | TlsError::NotPem { .. }
            | TlsError::Token(_)
            | TlsError::NotYetValid { .. }
            | TlsError::Setup(_) => Self::untried(error),
        }
    }
}

impl From<&Trouble> for NotTaken {
    fn from(trouble: &Trouble) -> Self {
        match trouble {
            Trouble::Tls(error) => error.into(),
            Trouble::Link(error) => error.into(),
            Trouble::Stalled { .. } => Self::untried(trouble),
        }
    }
}

impl Handle {
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (sender, commands) = mpsc::channel(1);
        (Self(sender), commands)
    }

    /// Goes over to this configuration. With the one that holds: connects again, with what its files hold now.
    /// Comes back when the broker has taken the connection, or when the old one is in force again; the error
    /// says why, and what to do.
    pub async fn change(&self, config: Config) -> Result<(), String> {
        self.ask(Wanted::Settings(Box::new(config))).await.map_err(|why| why.to_string())
    }

    /// Shows the broker the key and chain of `pair` in place of those of `place`, which the settings must name as
    /// both, or as the certificate of keys in a token. When the broker takes them the connection stays, and the settings name `place` as before: the caller
    /// then puts the pair there.
    pub async fn show(&self, pair: &Path, place: &Path) -> Result<(), NotTaken> {
        self.ask(Wanted::Pair { pair: pair.to_owned(), place: place.to_owned() }).await
    }

    async fn ask(&self, wanted: Wanted) -> Result<(), NotTaken> {
        const ENDS: &str = "the uplink is about to end";
        let (reply, answer) = oneshot::channel();
        self.0.send(Command { wanted, reply }).await.map_err(|_| NotTaken::untried(&ENDS))?;
        answer.await.unwrap_or_else(|_| Err(NotTaken::untried(&ENDS)))
    }
}

/// A change that may be tried: everything that can be known of it before is well.
pub(super) struct Prepared {
    config: Config,
    topics: Topics,
    /// A connection of its own, and what CONNACK said.
    pub(super) link: Option<Ready>,
    /// Whether it is a certificate alone.
    is_pair: bool,
    reply: Reply,
}

/// A connection whose CONNACK came.
pub(super) struct Ready {
    pub(super) link: Link,
    pub(super) receive_maximum: u16,
    pub(super) max_packet: u32,
}

/// What is tried, and the way back.
struct Trial {
    before: (Config, Topics),
    is_pair: bool,
    reply: Reply,
    /// Until when the first answer must have come; `None`: there is no CONNACK yet.
    proof_due: Option<Mono>,
}

/// Where a change has got to. One at a time.
pub(super) struct Turn {
    /// `None`: nobody can ask any more.
    commands: Option<mpsc::Receiver<Command>>,
    preparing: Option<BoxFuture<'static, Option<Box<Prepared>>>>,
    trial: Option<Trial>,
}

/// What happens to it.
pub(super) enum News {
    Asked(Command),
    Prepared(Option<Box<Prepared>>),
}

impl Turn {
    pub(super) const fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands: Some(commands), preparing: None, trial: None }
    }

    /// Until when what is tried must have been answered.
    pub(super) fn proof_due(&self) -> Option<Mono> {
        self.trial.as_ref()?.proof_due
    }

    /// Cancel-safe: what is being prepared stays.
    pub(super) async fn next(&mut self) -> News {
        if let Some(preparing) = &mut self.preparing {
            let prepared = preparing.await;
            self.preparing = None;
            return News::Prepared(prepared);
        }
        if let (Some(commands), None) = (&mut self.commands, &self.trial) {
            if let Some(command) = commands.recv().await {
                return News::Asked(command);
            }
            self.commands = None;
        }
        std::future::pending().await
    }
}

impl Driver {
    /// Takes what happened to a change; gives what may be gone over to.
    pub(super) fn handle_news(&mut self, news: News) -> Option<Prepared> {
        match news {
            News::Asked(Command { wanted, reply }) => {
                let is_pair = matches!(wanted, Wanted::Pair { .. });
                let Some(config) = self.settings_with(wanted) else {
                    let why = "the settings of the uplink name another certificate by now";
                    let _ = reply.send(Err(NotTaken::untried(&why)));
                    return None;
                };
                let now = self.clock.now();
                let present = (self.config.gateway.clone(), self.broker());
                let inbox = self.mail.post().map(Post::inbox);
                let around = (self.jobs.clone(), self.run.clone(), inbox);
                self.turn.preparing = Some(prepare(config, (is_pair, reply), present, around, now).boxed());
                None
            }
            News::Prepared(prepared) => prepared.map(|prepared| *prepared),
        }
    }

    /// `None`: the pair is not for what the settings name.
    fn settings_with(&self, wanted: Wanted) -> Option<Config> {
        let present = &self.config;
        match wanted {
            Wanted::Settings(config) => Some(*config),
            Wanted::Pair { pair, place } => {
                let is_same = present.certificate == place;
                let key = match &present.key {
                    KeyPlace::File(path) => (*path == place).then(|| KeyPlace::File(pair.clone()))?,
                    KeyPlace::Credential(_) => return None,
                    // The pair itself says which of them.
                    KeyPlace::Token(key) => KeyPlace::Token(key.clone()),
                };
                is_same.then(|| Config { certificate: pair, key, ..present.clone() })
            }
        }
    }

    /// Goes over to what was prepared, and gives its connection if it has one. The old one is left by now.
    pub(super) fn go_over(&mut self, prepared: Prepared) -> Option<Ready> {
        let Prepared { config, topics, link, is_pair, reply } = prepared;
        let before = (self.config.clone(), self.topics.clone());
        tracing::info!(broker = self.broker(), "leaving the broker for other settings of the uplink");
        self.turn.trial = Some(Trial { before, is_pair, reply, proof_due: None });
        self.adopt(config, topics);
        link
    }

    /// CONNACK came, perhaps a while ago: the connection may have ended since, and nobody has looked.
    pub(super) fn handle_connack(&mut self, now: Mono) {
        if let Some(trial) = &mut self.turn.trial {
            trial.proof_due = Some(now + PROOF_WITHIN);
        }
    }

    /// The first PUBACK of the connection came: what is in force is good.
    pub(super) fn handle_good(&mut self) {
        if let Some(Trial { before: (before, _), is_pair, reply, .. }) = self.turn.trial.take() {
            if is_pair {
                // From here on the place is good again: with the old pair or, in a moment, with the new one.
                (self.config.certificate, self.config.key) = (before.certificate, before.key);
            }
            // Who asked may have given up.
            let _ = reply.send(Ok(()));
        }
    }

    /// The connection failed. Goes back when what is in force was only tried; true when so.
    pub(super) fn go_back(&mut self, trouble: &Trouble) -> bool {
        let Some(Trial { before: (config, topics), reply, .. }) = self.turn.trial.take() else {
            return false;
        };
        tracing::error!(%trouble, "the new settings of the uplink do not work: back to the old ones");
        self.adopt(config, topics);
        let _ = reply.send(Err(trouble.into()));
        true
    }

    fn adopt(&mut self, config: Config, topics: Topics) {
        let encoder = Encoder::new(config.payload, topics.clone(), &config.gateway, self.store);
        self.shared.change(limits(&config, self.vitals.is_some()), encoder);
        self.backoff = Backoff::new(config.backoff);
        self.report.forget_certificate();
        (self.config, self.topics) = (config, topics);
        self.shared.restart(false);
    }
}

/// What a second connection needs from around it.
type Around = (mpsc::Sender<Job>, String, Option<Inbox>);

/// Tries what can be tried while the old connection is there. `None`: it was told why not.
async fn prepare(
    config: Config,
    (is_pair, reply): (bool, Reply),
    present: (String, String),
    around: Around,
    now: Now,
) -> Option<Box<Prepared>> {
    match try_out(&config, present, around, now).await {
        Ok((topics, link)) => Some(Box::new(Prepared { config, topics, link, is_pair, reply })),
        Err(why) => {
            let _ = reply.send(Err(why));
            None
        }
    }
}

async fn try_out(
    config: &Config,
    (gateway, broker): (String, String),
    (jobs, run, inbox): Around,
    now: Now,
) -> Result<(Topics, Option<Ready>), NotTaken> {
    if config.gateway != gateway {
        return Err(NotTaken::untried(&"the gateway's id cannot change while it runs"));
    }
    let topics = Topics::new(&config.organisation, &config.group, &config.gateway)
        .map_err(|error| NotTaken::untried(&error))?;
    let asked = config.clone();
    let tls = blocking(move || tls::of(&asked, now)).await;
    let tls = tls.ok_or_else(|| NotTaken::untried(&"reading the files of TLS panicked"))?;
    let tls = tls.map_err(|error| NotTaken::from(&error))?;
    if format!("{}:{}", config.host, config.port) == broker {
        mqtt::probe(config, tls).await.map_err(|error| NotTaken::from(&error))?;
        return Ok((topics, None));
    }
    let (mut link, job) =
        mqtt::connect(config, &topics, tls, &run, inbox).map_err(|error| NotTaken::untried(&error))?;
    // The receiver lives as long as the task that polls; without it no event comes.
    let _ = jobs.send(job).await;
    match timeout(CONNACK_WITHIN, link.events.recv()).await {
        Ok(Some(LinkEvent::Up { receive_maximum, max_packet })) => {
            Ok((topics, Some(Ready { link, receive_maximum, max_packet })))
        }
        Ok(Some(LinkEvent::Down(Some(error)))) => Err((&error).into()),
        Ok(Some(LinkEvent::Down(None)) | None) | Err(_) => {
            Err(NotTaken::Untried(format!("broker {}:{} does not answer", config.host, config.port)))
        }
    }
}
