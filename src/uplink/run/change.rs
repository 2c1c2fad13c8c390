//! The uplink changes while it runs: another broker, another certificate, other settings.
//!
//! In: a [`Config`]. Out: the new one in force, or the old one and the reason. Nothing is ever let go before the
//! new is known to work, as far as the protocol allows:
//!
//! - To another broker a second connection is made. When it has its CONNACK, what is in flight on the old one is
//!   awaited, the old one says goodbye, and the new one begins.
//! - At the same broker a second connection with the same client id would end the first (MQTT 5, section
//!   3.1.4). So files, name, network and TLS are tried first, without CONNECT; then the old one is finished as
//!   above, and the new one made. When that one gets no CONNACK, the old settings are gone back to.
//! - Subscriptions and notices go with it: like any other connection, the new one subscribes to what is wanted and gives
//!   the broker what it is to keep.
//!
//! What is not acknowledged by then is sent again by the new connection: at least once, as after any loss of a
//! connection. Another name of the same broker is found out by the broker, which ends the old connection.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Driver, Trouble, limits};
use crate::backoff::Backoff;
use crate::time::Now;
use crate::uplink::Config;
use crate::uplink::encode::Encoder;
use crate::uplink::mqtt::{self, Job, Link, LinkEvent};
use crate::uplink::post::{Inbox, Post};
use crate::uplink::tls::{self, Files};
use crate::uplink::topic::Topics;

/// How long what is in flight is waited for before the old connection is left. What is not acknowledged by then is
/// sent again.
pub(super) const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How long a second connection may take to its CONNACK. The library's own limit is within it.
const CONNACK_WITHIN: Duration = Duration::from_secs(15);

/// Asks a running uplink to change. Every clone asks the same one.
#[derive(Clone)]
pub struct Handle(mpsc::Sender<Command>);

/// What is asked.
pub(super) struct Command {
    config: Config,
    reply: oneshot::Sender<Result<(), String>>,
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
        const ENDS: &str = "the uplink is about to end";
        let (reply, answer) = oneshot::channel();
        self.0.send(Command { config, reply }).await.map_err(|_| ENDS.to_owned())?;
        answer.await.unwrap_or_else(|_| Err(ENDS.to_owned()))
    }
}

/// A change that may be tried: everything that can be known of it before is well.
pub(super) struct Prepared {
    config: Config,
    topics: Topics,
    /// A connection of its own, and what CONNACK said.
    pub(super) link: Option<Ready>,
    reply: oneshot::Sender<Result<(), String>>,
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
    reply: oneshot::Sender<Result<(), String>>,
}

/// Where a change has got to. One at a time.
pub(super) struct Turn {
    /// `None`: nobody can ask any more.
    commands: Option<mpsc::Receiver<Command>>,
    preparing: Option<BoxFuture<'static, Option<Prepared>>>,
    trial: Option<Trial>,
}

/// What happens to it.
pub(super) enum News {
    Asked(Command),
    Prepared(Option<Prepared>),
}

impl Turn {
    pub(super) const fn new(commands: mpsc::Receiver<Command>) -> Self {
        Self { commands: Some(commands), preparing: None, trial: None }
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
            News::Asked(command) => {
                let now = self.clock.now();
                let present = (self.config.gateway.clone(), self.broker());
                let inbox = self.mail.post().map(Post::inbox);
                let work = prepare(command, present, (self.jobs.clone(), self.run.clone(), inbox), now);
                self.turn.preparing = Some(work.boxed());
                None
            }
            News::Prepared(prepared) => prepared,
        }
    }

    /// Goes over to what was prepared, and gives its connection if it has one. The old one is left by now.
    pub(super) fn go_over(&mut self, prepared: Prepared) -> Option<Ready> {
        let Prepared { config, topics, link, reply } = prepared;
        let before = (self.config.clone(), self.topics.clone());
        tracing::info!(broker = self.broker(), "leaving the broker for other settings of the uplink");
        self.turn.trial = Some(Trial { before, reply });
        self.adopt(config, topics);
        link
    }

    /// CONNACK came: what is in force is good.
    pub(super) fn handle_good(&mut self) {
        if let Some(Trial { reply, .. }) = self.turn.trial.take() {
            // Who asked may have given up.
            let _ = reply.send(Ok(()));
        }
    }

    /// The connection failed. Goes back when what is in force was only tried; true when so.
    pub(super) fn go_back(&mut self, trouble: &Trouble) -> bool {
        let Some(Trial { before: (config, topics), reply }) = self.turn.trial.take() else { return false };
        tracing::error!(%trouble, "the new settings of the uplink do not work: back to the old ones");
        self.adopt(config, topics);
        let _ = reply.send(Err(trouble.to_string()));
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
async fn prepare(command: Command, present: (String, String), around: Around, now: Now) -> Option<Prepared> {
    let Command { config, reply } = command;
    match try_out(&config, present, around, now).await {
        Ok((topics, link)) => Some(Prepared { config, topics, link, reply }),
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
) -> Result<(Topics, Option<Ready>), String> {
    if config.gateway != gateway {
        return Err("the gateway's id cannot change while it runs".to_owned());
    }
    let topics = Topics::new(&config.organisation, &config.group, &config.gateway)
        .map_err(|error| error.to_string())?;
    let files =
        Files { authorities: &config.authorities, certificate: &config.certificate, key: &config.key };
    let tls = tls::client_config(files, now).map_err(|error| error.to_string())?;
    if format!("{}:{}", config.host, config.port) == broker {
        mqtt::probe(config, tls).await.map_err(|error| error.to_string())?;
        return Ok((topics, None));
    }
    let (mut link, job) =
        mqtt::connect(config, &topics, tls, &run, inbox).map_err(|error| error.to_string())?;
    // The receiver lives as long as the task that polls; without it no event comes.
    let _ = jobs.send(job).await;
    match timeout(CONNACK_WITHIN, link.events.recv()).await {
        Ok(Some(LinkEvent::Up { receive_maximum, max_packet })) => {
            Ok((topics, Some(Ready { link, receive_maximum, max_packet })))
        }
        Ok(Some(LinkEvent::Down(Some(error)))) => Err(error.to_string()),
        Ok(Some(LinkEvent::Down(None)) | None) | Err(_) => {
            Err(format!("broker {}:{} does not answer", config.host, config.port))
        }
    }
}
