//! A running daemon takes another configuration: what that consists of, in order.
//!
//! In: a configuration that is valid as a whole. Out: the [`Plan`] that was carried out, or a [`Refused`], and
//! then nothing was changed. In order:
//!
//! 1. What cannot be changed while it runs is refused by its keys.
//! 2. The ward key is read again for the pseudonyms of new devices: it must be the one that the run began with.
//! 3. The uplink: the new broker must take the connection, or the old one is kept and all of it is refused.
//! 4. The sessions of what ended or changed are told to end, all at once, and waited for.
//! 5. The allowlist changes in the intake, behind the last report of these sessions.
//! 6. Radios and ports are those of the new list; the new sessions begin.
//!
//! Whoever is not named in the plan does not notice. The store is not touched: what was taken under an entry of
//! before stays what it was.

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{mpsc, oneshot};

use super::change::{Group, Plan, groups};
use super::intake::Change;
use super::pump::Ordered;
use super::roster::{NoPlace, Roster, Seat, Seating};
use super::sessions::Stopper;
use crate::config::Config;
use crate::envelope::keys::{KeyError, KeyPlace, WardKey};
use crate::host::supervisor::blocking;
use crate::uplink;

/// How many changes may wait for the one that is carried out.
const WAITING: usize = 4;

/// Words whose pseudonym tells one ward key from another.
const PROBE: &str = "wardline: which ward key is this";

/// Why a configuration was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It differs in what only a start can change.
    #[error("only a restart of the daemon can change {}: restart it, or leave that as it was", .keys.join(", "))]
    NeedsRestart {
        /// The keys.
        keys: Vec<&'static str>,
    },
    /// The ward key cannot be read again.
    #[error("the pseudonyms of new devices cannot be made: {0}")]
    Ward(#[from] KeyError),
    /// The ward key is another one than at the start.
    #[error(
        "keys.ward holds another key than when the daemon started: put the old one back, or restart the daemon"
    )]
    OtherWard,
    /// No place is left.
    #[error(transparent)]
    NoPlace(#[from] NoPlace),
    /// The uplink does not get through as the new configuration says.
    #[error("the uplink keeps its old settings, as with the new ones: {0}")]
    Uplink(String),
    /// The daemon ends.
    #[error("the daemon is about to end")]
    Ending,
}

/// What is asked of a running daemon.
pub(super) enum Request {
    /// Take another configuration.
    Change(Box<Config>, oneshot::Sender<Result<Plan, Refused>>),
    /// Connect again with what the files of certificate, key and authorities hold now.
    Renew(oneshot::Sender<Result<Plan, Refused>>),
}

/// Asks a running daemon to change. Every clone asks the same daemon.
#[derive(Clone)]
pub struct Changer(mpsc::Sender<Request>);

impl Changer {
    pub(super) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (sender, requests) = mpsc::channel(WAITING);
        (Self(sender), requests)
    }

    /// Has the daemon run with this configuration from now on. One change after the other; what is not changed
    /// does not notice. Comes back when all of it is in force, or when all is as it was.
    pub async fn change(&self, config: Config) -> Result<Plan, Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Change(Box::new(config), reply), answer).await
    }

    /// Has the uplink connect again with what its files hold now: after a renewal of the certificate in place.
    pub async fn renew(&self) -> Result<Plan, Refused> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Renew(reply), answer).await
    }

    async fn ask(
        &self,
        request: Request,
        answer: oneshot::Receiver<Result<Plan, Refused>>,
    ) -> Result<Plan, Refused> {
        self.0.send(request).await.map_err(|_| Refused::Ending)?;
        answer.await.unwrap_or(Err(Refused::Ending))
    }
}

/// What tells one ward key from another, and nothing of it.
pub(super) fn mark(ward: &WardKey) -> String {
    ward.pseudonym(PROBE)
}

/// What a change needs of the daemon while it runs on.
pub(super) struct Means {
    pub(super) roster: Roster,
    pub(super) ward: KeyPlace,
    /// See [`mark`].
    pub(super) mark: String,
    pub(super) uplink: uplink::Handle,
    pub(super) stoppers: Vec<Stopper>,
    pub(super) intake: mpsc::Sender<Ordered>,
}

/// All of a change that may take a while is done.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) config: Config,
    pub(super) roster: Roster,
    pub(super) seats: Vec<Seat>,
}

/// A change on its way.
pub(super) type Work = BoxFuture<'static, Result<Ready, Refused>>;

/// Carries out steps 2 to 5. Dropped half-way it leaves sessions ended that no other takes the place of: only the end
/// of the daemon may do that.
pub(super) async fn carry_out(plan: Plan, config: Config, means: Means) -> Result<Ready, Refused> {
    let Means { mut roster, ward, mark, uplink, stoppers, intake } = means;
    let retired: Vec<_> = plan.stops().flat_map(|id| roster.leave(id)).collect();
    let starts = plan.starts();
    let mut seating = None;
    if !starts.is_empty() {
        let ward = load_ward(ward, &mark).await?;
        let new: Vec<Group<'_>> =
            groups(&config).into_iter().filter(|group| starts.contains(group.id())).collect();
        seating = Some(roster.seat(&new, &ward)?);
    }
    let nobody = Seating { first: roster.next_place()?, rules: Vec::new(), seats: Vec::new() };
    let Seating { first, rules, seats } = seating.unwrap_or(nobody);
    if plan.uplink {
        uplink.change(config.uplink.clone()).await.map_err(Refused::Uplink)?;
    }
    join_all(stoppers.into_iter().map(Stopper::end)).await;
    if !(retired.is_empty() && rules.is_empty()) {
        let (done, is_done) = oneshot::channel();
        let change = Change { retired, first, listed: rules };
        intake.send(Ordered { change, done }).await.map_err(|_| Refused::Ending)?;
        if let Err(misplaced) = is_done.await.map_err(|_| Refused::Ending)? {
            tracing::error!(%misplaced, "the sessions that were ended are not started again");
            return Err(Refused::Ending);
        }
    }
    Ok(Ready { plan, config, roster, seats })
}

async fn load_ward(place: KeyPlace, known: &str) -> Result<WardKey, Refused> {
    let ward = blocking(move || WardKey::load(&place)).await.ok_or(Refused::Ending)??;
    if mark(&ward) == known { Ok(ward) } else { Err(Refused::OtherWard) }
}
