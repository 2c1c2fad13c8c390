//! The uplink as three parts that run side by side: the [`Feeder`] on a thread of its own, the
//! [`Connections`] and the [`Driver`] as tasks. They end when told by [`Stop`], in order: what is in
//! flight is waited for, the gateway says that it is offline, DISCONNECT, the last acknowledgements
//! go to the store.

pub mod change;
mod leave;
mod mail;
mod publish;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use self::change::{Handle, Prepared, Ready, Turn};
use self::leave::{GOODBYE, Goodbyes};
use self::mail::Mail;
use super::Config;
use super::encode::Encoder;
use super::feeder::{Feeder, Shared, Source};
use super::heartbeat::Heartbeat;
use super::mqtt::{self, Job, Link, LinkEvent, Reply};
use super::post::Post;
use super::report::Report;
use super::session::{Limits, Session, Ticket};
use super::status::{State, Status};
use super::tls::{self, TlsError};
use super::topic::{TopicError, Topics};
use super::trouble::LinkError;
use crate::backoff::{Backoff, Random};
use crate::host::supervisor::blocking;
use crate::store::StoreId;
use crate::time::{Clock, Mono, Now};

/// Held topics named in the status.
const HELD_SHOWN: usize = 8;
/// The first reason code that is a failure (MQTT 5, section 2.4).
const FAILURE: u8 = 0x80;

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    Run,
    /// Start nothing new, wait so long for what is in flight, then end.
    Finish {
        /// How long.
        grace: Duration,
    },
}

/// Takes a sign of life and the moment of it.
pub type Alive = Box<dyn Fn(Mono) + Send>;

/// Says how the gateway is, but for the uplink's own part.
pub type Vitals = Box<dyn Fn(Now) -> Heartbeat + Send>;

/// What the uplink needs from around it.
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For the jitter of the back-off.
    pub random: Box<dyn Random>,
    /// Where it says how it is.
    pub status: watch::Sender<Status>,
    /// Told by the feeder's thread that it is alive: with each of its turns, at least once in
    /// [`TURN`](super::feeder::TURN). Not at all while the store does not answer.
    pub alive: Alive,
    /// What a heartbeat says; `None`: there are none.
    pub vitals: Option<Vitals>,
    /// Documents in, retained notices out; `None`: neither.
    pub post: Option<Post>,
    /// How it is told to end. Its sender gone counts as "end at once".
    pub stop: watch::Receiver<Stop>,
}

/// The three parts. All must run, or nothing moves.
pub struct Uplink<S> {
    /// To be run on a thread of its own: [`Feeder::run`].
    pub feeder: Feeder<S>,
    /// To be run as a task: [`Connections::run`].
    pub connections: Connections,
    /// To be run as a task: [`Driver::run`]. When it ends, the others do.
    pub driver: Driver,
    /// Has it change while it runs.
    pub handle: Handle,
}

/// Puts the parts together. Touches neither network nor files.
pub fn assemble<S: Source>(config: Config, source: S, around: Surroundings) -> Result<Uplink<S>, TopicError> {
    let topics = Topics::new(&config.organisation, &config.group, &config.gateway)?;
    let shared = Shared::new(Session::new(limits(&config, around.vitals.is_some())));
    let store = source.store_id();
    let encoder = Encoder::new(config.payload, topics.clone(), &config.gateway, store);
    let commits = source.commits();
    let (jobs, waiting) = mpsc::channel(1);
    let Surroundings { clock, mut random, status, alive, vitals, post, stop } = around;
    let run = format!("{:016x}", random.next_u64());
    let feeder = Feeder::new(source, encoder, (Arc::clone(&clock), alive), Arc::clone(&shared));
    let (handle, commands) = Handle::new();
    let driver = Driver {
        store,
        turn: Turn::new(commands),
        goodbyes: Goodbyes::default(),
        mail: Mail::new(post),
        backoff: Backoff::new(config.backoff),
        config,
        topics,
        shared,
        clock,
        random,
        commits: Some(commits),
        jobs,
        run,
        vitals,
        stop,
        report: Report::new(status),
    };
    Ok(Uplink { feeder, connections: Connections(waiting), driver, handle })
}

/// What the session is to keep to.
fn limits(config: &Config, has_heartbeat: bool) -> Limits {
    Limits {
        window: config.window,
        subscriber: config.subscriber,
        stalled_after: config.stalled_after,
        retry: config.backoff,
        heartbeat: has_heartbeat.then_some(config.heartbeat),
    }
}

/// The part that drives the MQTT library.
pub struct Connections(mpsc::Receiver<Job>);

impl Connections {
    /// Runs until the driver ends.
    pub async fn run(self) {
        mqtt::poll_connections(self.0).await;
    }
}

/// The part that decides: connects, publishes, takes PUBACKs, comes back after a failure.
pub struct Driver {
    config: Config,
    topics: Topics,
    store: StoreId,
    turn: Turn,
    /// Connections that were left for others and end.
    goodbyes: Goodbyes,
    mail: Mail,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    random: Box<dyn Random>,
    backoff: Backoff,
    commits: Option<watch::Receiver<u64>>,
    jobs: mpsc::Sender<Job>,
    run: String,
    vitals: Option<Vitals>,
    stop: watch::Receiver<Stop>,
    report: Report,
}

/// Why a connection could not be had or was given up.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(
        "connection to broker {broker} given up: the oldest publish is unanswered for {seconds} s, the link or the broker hangs: what was not acknowledged is sent again"
    )]
    Stalled { broker: String, seconds: u64 },
}

/// How a connection ended.
enum End {
    Stopped,
    /// For another configuration.
    Left(Box<Prepared>),
    Failed(Trouble),
}

/// What a reply answers.
#[derive(Clone, Copy)]
enum Sent {
    Parcel(Ticket),
    Heartbeat,
    Birth,
}

type Replies = FuturesUnordered<Pin<Box<dyn Future<Output = (Sent, Reply)> + Send>>>;

impl Driver {
    /// Runs until told to stop.
    pub async fn run(mut self) {
        let mut ready: Option<Ready> = None;
        while *self.stop.borrow() == Stop::Run && self.stop.has_changed().is_ok() {
            let now = self.clock.now();
            self.report.state(State::Connecting, now.mono);
            self.report.certificate(&self.config, now);
            let end = match ready.take() {
                Some(Ready { link, receive_maximum, max_packet }) => {
                    self.online(link, Some((receive_maximum, max_packet))).await
                }
                None => match self.connect().await {
                    Ok(Some(link)) => self.online(link, None).await,
                    Ok(None) => continue,
                    Err(trouble) => End::Failed(trouble),
                },
            };
            self.pass_acknowledgements();
            self.shared.restart(false);
            let left = match end {
                End::Stopped => break,
                End::Left(prepared) => Some(prepared),
                End::Failed(trouble) if self.go_back(&trouble) => None,
                End::Failed(trouble) => self.wait(&trouble).await,
            };
            ready = left.and_then(|prepared| self.go_over(*prepared));
        }
        self.goodbyes.end().await;
        self.report.state(State::Stopped, self.clock.now().mono);
    }

    /// `None`: told to stop meanwhile.
    async fn connect(&mut self) -> Result<Option<Link>, Trouble> {
        let config = &self.config;
        let (asked, now) = (config.clone(), self.clock.now());
        // Files of a disk and a key in a token, which may hang.
        let read = blocking(move || tls::of(&asked, now));
        tokio::pin!(read);
        let tls = loop {
            tokio::select! {
                tls = &mut read => break tls,
                _ = self.stop.changed() => return Ok(None),
                () = self.goodbyes.next() => {}
            }
        };
        let tls = tls.ok_or_else(|| self.lost("reading the files of TLS panicked"))??;
        let inbox = self.mail.post().map(Post::inbox);
        let (link, job) = mqtt::connect(config, &self.topics, tls, &self.run, inbox)?;
        let sent = self.jobs.send(job);
        tokio::pin!(sent);
        loop {
            tokio::select! {
                // The receiver lives as long as the task that polls; without it nothing could be done anyway.
                _ = &mut sent => return Ok(Some(link)),
                () = self.goodbyes.next() => {}
            }
        }
    }

    /// Waits before the next attempt, unless there is something to go over to.
    async fn wait(&mut self, trouble: &Trouble) -> Option<Box<Prepared>> {
        let now = self.clock.now().mono;
        let pause = self.backoff.handle_failure(now, self.random.as_mut());
        let failures = self.backoff.failures();
        // 1, 2, 4, 8, ...: an outage of a weekend is not a flood.
        if failures.is_power_of_two() {
            tracing::warn!(failures, trouble = %trouble, "not connected to the broker");
        }
        self.report.now.trouble = Some(trouble.to_string());
        self.report.state(State::Waiting { until: now + pause, failures }, now);
        let pause = sleep(pause);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return None,
                () = self.goodbyes.next() => {}
                _ = self.stop.changed() => return None,
                news = self.turn.next() => if let Some(prepared) = self.handle_news(news) {
                    return Some(Box::new(prepared));
                }
            }
        }
    }

    /// Serves one connection from CONNECT to its end; from its CONNACK on when that came already, and what it said.
    async fn online(&mut self, mut link: Link, connack: Option<(u16, u32)>) -> End {
        let mut replies = Replies::new();
        let mut up = connack.is_some();
        if let Some((receive_maximum, max_packet)) = connack {
            self.shared.lock().max_packet = max_packet;
            self.handle_up(&link, receive_maximum, &mut replies);
        }
        loop {
            if up && let Err(trouble) = self.publish(&link, &mut replies) {
                return End::Failed(trouble);
            }
            self.pass_acknowledgements();
            self.update();
            let tick = self.next_tick();
            tokio::select! {
                event = link.events.recv() => match event {
                    Some(LinkEvent::Up { receive_maximum, max_packet }) => {
                        self.shared.lock().max_packet = max_packet;
                        up = true;
                        self.handle_up(&link, receive_maximum, &mut replies);
                    }
                    Some(LinkEvent::Down(Some(error))) => return End::Failed(error.into()),
                    Some(LinkEvent::Down(None)) | None => return End::Failed(self.lost("it ended").into()),
                },
                Some((sent, reply)) = replies.next(), if !replies.is_empty() => {
                    self.handle_reply(sent, reply);
                    while let Some(Some((sent, reply))) = replies.next().now_or_never() {
                        self.handle_reply(sent, reply);
                    }
                }
                () = self.shared.fed() => {}
                () = committed(&mut self.commits) => {
                    self.shared.lock().news = true;
                    self.shared.wake_feeder();
                }
                () = sleep(tick) => {}
                () = self.goodbyes.next() => {}
                news = self.mail.next() => self.handle_mail(news),
                news = self.turn.next() => if let Some(prepared) = self.handle_news(news) {
                    if up {
                        self.leave(link, replies, prepared.link.is_some()).await;
                    }
                    return End::Left(Box::new(prepared));
                },
                stopped = self.stop.changed() => {
                    let grace = match *self.stop.borrow() {
                        Stop::Finish { grace } => grace,
                        Stop::Run if stopped.is_ok() => continue,
                        Stop::Run => Duration::ZERO,
                    };
                    if up {
                        // The deadline is for all of it; the drop of the link is the hard end.
                        let _ = tokio::time::timeout(grace + GOODBYE, self.finish(link, replies, grace)).await;
                    }
                    return End::Stopped;
                }
            }
        }
    }

    fn handle_up(&mut self, link: &Link, receive_maximum: u16, replies: &mut Replies) {
        let now = self.clock.now().mono;
        self.backoff.handle_up(now);
        // From here on "live" is what is committed from here on; what waited is backlog.
        self.shared.restart(true);
        self.shared.lock().session.handle_connected(receive_maximum, now);
        self.report.now.connections += 1;
        self.report.state(State::Online, now);
        self.handle_connack(now);
        self.mail.handle_up();
        tracing::info!(receive_maximum, "connected to the broker");
        if let Some(birth) = link.announce(&self.topics, &self.run, "online") {
            replies.push(Box::pin(birth.map(|reply| (Sent::Birth, reply))));
        }
    }

    /// Brings the status up to date.
    fn update(&mut self) {
        let now = self.clock.now();
        let healthy = now.mono.since(self.report.now.since) >= self.config.backoff.healthy_after;
        let shared = self.shared.lock();
        let status = &mut self.report.now;
        status.in_flight = shared.session.in_flight();
        status.oldest_unacknowledged = shared.session.oldest_age(now.mono);
        status.no_consumer = shared.session.held().any(|(_, reason)| reason == 0x10);
        status.not_authorised = shared.session.held().any(|(_, reason)| reason == 0x87);
        status.held = shared
            .session
            .held()
            .take(HELD_SHOWN)
            .map(|(topic, reason)| (topic.to_owned(), reason))
            .collect();
        status.correspondence = self.mail.status();
        status.unreadable_blocks = shared.unreadable;
        status.store_trouble.clone_from(&shared.trouble);
        drop(shared);
        if status.state == State::Online && healthy {
            status.trouble = None;
        }
        self.report.certificate(&self.config, now);
        self.report.send_if_due(now.mono);
    }

    /// How long nothing need be looked at.
    fn next_tick(&self) -> Duration {
        let now = self.clock.now().mono;
        let timeout = self.shared.lock().session.poll_timeout();
        let most = self.report.next_look();
        let next = [timeout, self.turn.proof_due()].into_iter().flatten().min();
        next.map_or(most, |at| at.since(now).min(most))
    }

    fn broker(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    fn lost(&self, detail: &str) -> LinkError {
        LinkError::Lost { broker: self.broker(), detail: detail.to_owned() }
    }
}

/// However the driver ends, the feeder's thread must not outlive it.
impl Drop for Driver {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Resolves with the next commit; never, once the store is gone.
async fn committed(commits: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = commits {
        if receiver.changed().await.is_ok() {
            return;
        }
        *commits = None;
    }
    std::future::pending::<()>().await;
}
