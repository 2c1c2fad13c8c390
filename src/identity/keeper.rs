//! Keeps the identity fresh while the daemon runs.
//!
//! In: the identity's folder, the time, and a [`Broker`] to show a certificate to. Out: [`Status`] and
//! [`News`]. What never happens: what goes wrong here stops the collecting of readings.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::ask::{Outcome, Proof, ask};
use super::est::EstError;
use super::est::client::Client;
use super::folder::{Folder, Pair};
use super::name::Name;
use super::renewal::{Alarm, Asked, LOOK, Lifetime, MAX_REFUSALS, Renewal, State, Step, Trial, Verdict};
use crate::backoff::Random;
use crate::envelope::keys::Protection;
use crate::time::{Clock, Wall};

/// Between two steps.
const AT_ONCE: Duration = Duration::from_millis(100);
/// Until another look where somebody else is at the folder.
const BUSY: Duration = Duration::from_secs(2);
/// How often the age of a certificate is kept where the clock says nothing.
const AGE_KEPT: Duration = Duration::from_secs(6 * 3_600);

/// Who can say whether the broker takes an identity.
pub trait Broker: Send {
    /// Connects with the key and chain in this file. After [`Trial::Won`] the connection may stay; otherwise
    /// the present identity is to be shown again.
    fn show(&mut self, pair: &Path) -> impl Future<Output = Trial> + Send;
}

/// What happened, once each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Another certificate is in use.
    Renewed {
        /// Until when it is valid.
        until: Wall,
    },
    /// A certificate was renewed that is due again already.
    DueAtOnce {
        /// Since when.
        due: Wall,
    },
    /// The certificate server wants time; said once of each request.
    Waits,
    /// It was asked in vain.
    Failed {
        /// Why, with the way out.
        reason: String,
    },
    /// The broker did not take the next certificate: the present one is used.
    FellBack {
        /// Why.
        reason: String,
    },
    /// It was refused so often that another one is asked for.
    GaveUp,
    /// The present certificate's age has become more worrying.
    Aged {
        /// How worrying.
        alarm: Alarm,
        /// Until when it is, or was, valid.
        until: Wall,
    },
    /// The folder cannot be used.
    Folder {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renewed { until } => write!(f, "the certificate was renewed: it is valid until {until}"),
            Self::DueAtOnce { due } => write!(
                f,
                "the certificate that was issued is due for renewal since {due} already: compare this gateway's clock \
                 and the times in the certificate; another one is asked for in some hours"
            ),
            Self::Waits => f.write_str("the certificate server has the request and takes its time"),
            Self::Failed { reason } => write!(f, "the certificate was not renewed: {reason}"),
            Self::FellBack { reason } => write!(
                f,
                "the broker does not take the renewed certificate ({reason}): the one before is used"
            ),
            Self::GaveUp => write!(
                f,
                "the broker refused the renewed certificate {MAX_REFUSALS} times: another one will be asked for; does \
                 the broker know the authority that issues them?"
            ),
            Self::Aged { alarm: Alarm::Expired, until } => write!(
                f,
                "the certificate expired at {until}: readings are collected and kept, and nothing can be sent; enrol \
                 the gateway again with a new token (wardline enrol)"
            ),
            Self::Aged { until, .. } => {
                write!(f, "the certificate is valid only until {until}: see why it is not renewed")
            }
            Self::Folder { reason } => write!(f, "the identity's folder cannot be used: {reason}"),
        }
    }
}

/// How it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The renewal; none: there is no certificate that could be renewed.
    pub state: Option<State>,
    /// The present certificate's end.
    pub until: Option<Wall>,
    /// How worrying its age is.
    pub alarm: Alarm,
    /// Why a key that is not used any more is still in its token, if so.
    pub stray: Option<String>,
    /// How its key is protected; none: there is no certificate.
    pub protection: Option<Protection>,
    /// What went wrong last; none since all is well.
    pub trouble: Option<String>,
}

/// The task.
pub struct Keeper<B> {
    /// The identity's folder.
    pub folder: Folder,
    /// Who we are.
    pub name: Name,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Draws waits.
    pub random: Box<dyn Random>,
    /// The broker.
    pub broker: B,
    /// Where the status goes.
    pub status: watch::Sender<Status>,
    /// Where the news goes; what does not fit is logged alone.
    pub news: mpsc::Sender<News>,
}

impl<B: Broker> Keeper<B> {
    /// Runs until `stop` says so or its sender is gone.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut renewal = None;
        while !*stop.borrow() {
            let rest = tokio::select! {
                rest = self.turn(&mut renewal) => rest,
                _ = stop.changed() => return,
            };
            tokio::select! {
                () = sleep(rest) => {}
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
    }

    /// One step, and how long to rest after it.
    async fn turn(&mut self, renewal: &mut Option<Renewal>) -> Duration {
        let lock = match self.folder.lock() {
            Ok(Some(lock)) => Some(lock),
            Ok(None) => return BUSY,
            // There is no folder, or nobody could write there: nobody is at it.
            Err(error) if is_out_of_reach(&error) => None,
            Err(error) => {
                self.trouble(News::Folder { reason: error.to_string() });
                return LOOK;
            }
        };
        let present = match self.look(renewal) {
            Ok(Some(present)) => present,
            Ok(None) => {
                self.status.send_replace(Status::default());
                return LOOK;
            }
            Err(error) => {
                self.trouble(News::Folder { reason: error.to_string() });
                return LOOK;
            }
        };
        let Some(renewal) = renewal else { return LOOK };
        if lock.is_some() {
            self.sweep();
        }
        // Before a server is asked that may take its time.
        self.tell(renewal);
        let step = renewal.step(self.clock.now());
        match step {
            Step::Rest(_) => {}
            Step::Ask => self.ask(renewal, &present).await,
            Step::Try => self.show(renewal).await,
        }
        self.tell(renewal);
        match renewal.step(self.clock.now()) {
            Step::Rest(rest) => rest,
            // One step at a time; what could be done at once for ever would be.
            Step::Ask | Step::Try => AT_ONCE,
        }
    }

    /// What is in the folder now: somebody may have enrolled the gateway again.
    fn look(&mut self, renewal: &mut Option<Renewal>) -> io::Result<Option<Pair>> {
        let Some(present) = self.folder.current()? else { return Ok(None) };
        // A next pair that cannot be read is none: it is asked for again.
        let next = self.next();
        match renewal {
            Some(renewal) => {
                if renewal.present() != present.lifetime() {
                    self.status.send_modify(|status| status.trouble = None);
                }
                renewal.found(present.lifetime(), next);
            }
            None => *renewal = Some(Renewal::new(present.lifetime(), next)),
        }
        self.status.send_modify(|status| status.protection = Some(present.protection()));
        if let Some(renewal) = renewal {
            self.look_at_time(renewal);
        }
        Ok(Some(present))
    }

    fn look_at_time(&mut self, renewal: &mut Renewal) {
        let (now, present) = (self.clock.now(), renewal.present());
        let kept = self.folder.age(present);
        renewal.handle_look(now, (self.folder.renewed(), kept), self.random.as_mut());
        let age = renewal.age(now.mono);
        let is_silent = now.wall < present.from;
        if is_silent
            && age >= kept + AGE_KEPT
            && let Err(error) = self.folder.keep_age(present, age)
        {
            // It goes on, and only a start of the machine would lose it.
            self.trouble(News::Folder { reason: error.to_string() });
        }
    }

    fn next(&self) -> Option<Lifetime> {
        self.folder.next_in_time(self.clock.now()).ok().flatten().map(|pair| pair.lifetime())
    }

    async fn ask(&mut self, renewal: &mut Renewal, present: &Pair) {
        let now = self.clock.now();
        let outcome = match self.folder.server() {
            Ok(Some(server)) => {
                let client = Client::new(server.address, server.authorities);
                ask(&self.folder, &client, &Proof::Present(present), &self.name, now).await
            }
            Ok(None) => Err(EstError::Key("no certificate server is known: run wardline enrol")),
            Err(error) => Err(error.into()),
        };
        let asked = match outcome {
            Ok(Outcome::Issued) => {
                self.next().map_or(Asked::Failed { passes: true, wait: None }, Asked::Issued)
            }
            Ok(Outcome::Later(wait)) => Asked::Later(wait),
            Err(error) => {
                let wait = if let EstError::Busy { wait, .. } = &error { *wait } else { None };
                self.trouble(News::Failed { reason: error.to_string() });
                Asked::Failed { passes: error.passes(), wait }
            }
        };
        renewal.asked(asked, self.clock.now().mono, self.random.as_mut());
        if matches!(asked, Asked::Later(_)) && renewal.is_first_wait() {
            self.say(News::Waits);
        }
    }

    async fn show(&mut self, renewal: &mut Renewal) {
        let trial = self.broker.show(&self.folder.next_path()).await;
        let verdict = renewal.tried(&trial, self.clock.now().mono, self.random.as_mut());
        match trial {
            Trial::Won => {}
            Trial::Refused(reason) => self.trouble(News::FellBack { reason }),
            Trial::Unreachable(reason) => self.trouble(News::Failed { reason }),
        }
        let done = match verdict {
            Verdict::Promote => self.folder.promote().and_then(|()| self.renewed(renewal)),
            Verdict::Keep => Ok(()),
            Verdict::Drop => self.folder.drop_next().map(|()| self.trouble(News::GaveUp)),
        };
        if let Err(error) = done {
            self.trouble(News::Folder { reason: error.to_string() });
            let failed = Asked::Failed { passes: true, wait: None };
            renewal.asked(failed, self.clock.now().mono, self.random.as_mut());
        }
    }

    fn renewed(&self, renewal: &mut Renewal) -> io::Result<()> {
        self.status.send_modify(|status| status.trouble = None);
        if let Some(pair) = self.folder.current()? {
            renewal.found(pair.lifetime(), None);
            self.say(News::Renewed { until: pair.lifetime().until });
            // The one before is of no use any more.
            self.sweep();
            let due = pair.lifetime().due();
            if due <= self.clock.now().wall {
                self.trouble(News::DueAtOnce { due });
            }
        }
        Ok(())
    }

    /// Destroys the keys in the token that are of no use any more.
    fn sweep(&self) {
        let stray = match self.folder.sweep() {
            Ok(count) => {
                if count > 0 {
                    tracing::info!(count, "keys in the token that are not used any more were destroyed");
                }
                None
            }
            // They are known by name, and it is tried again at the next look.
            Err(error) => Some(error.to_string()),
        };
        if let (Some(why), true) = (&stray, self.status.borrow().stray != stray) {
            tracing::warn!(why, "a key that is not used any more is still in its token");
        }
        self.status.send_modify(|status| status.stray = stray);
    }

    fn tell(&self, renewal: &Renewal) {
        let now = self.clock.now();
        let (present, before) = (renewal.present(), self.status.borrow().alarm);
        let alarm = present.alarm(now);
        if alarm > before {
            self.say(News::Aged { alarm, until: present.until });
        }
        self.status.send_modify(|status| {
            (status.state, status.until, status.alarm) =
                (Some(renewal.state(now)), Some(present.until), alarm);
        });
    }

    fn trouble(&self, news: News) {
        let words = news.to_string();
        let is_new = self.status.borrow().trouble.as_ref() != Some(&words);
        self.status.send_modify(|status| status.trouble = Some(words));
        if is_new {
            self.say(news);
        }
    }

    fn say(&self, news: News) {
        match &news {
            News::Renewed { .. } | News::Waits => tracing::info!("{news}"),
            News::Failed { .. }
            | News::FellBack { .. }
            | News::GaveUp
            | News::DueAtOnce { .. }
            | News::Aged { .. }
            | News::Folder { .. } => tracing::warn!("{news}"),
        }
        let _ = self.news.try_send(news);
    }
}

fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem)
}
