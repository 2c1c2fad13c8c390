//! A running daemon takes another configuration: what that consists of, in order.
//!
//! In: a configuration that is valid as a whole. Out: the [`Plan`] that was carried out, or a [`Refused`], and
//! then nothing was changed. In order:
//!
//! 1. What cannot be changed while it runs is refused by its keys.
//! 2. The ward key is read again for the pseudonyms of new devices: it must be the one that the run began with.
//! 3. While the intake can take nothing, devices are not changed: their sessions would end and no other begin.
//! 4. A store that holds more than its new bounds allow keeps the old ones, and all of it is refused. The uplink: the
//!    new broker must take the connection, or the old one is kept and all of it is refused.
//! 5. What is about to change is noted in the audit log. The sessions of what ended or changed are told to end, all at
//!    once and with one deadline.
//! 6. Each device goes over as soon as its own place is free (see `handover`): what is remembered of
//!    the device is of no entry any more, the allowlist changes in the intake behind the last report of the session
//!    that ended, radios and ports are those of the new list, the new session begins.
//! 7. What is only looked up is another: the bounds of the store, what is logged.
//!
//! Whoever is not named in the plan does not notice. The store is not touched: what was taken under an entry of
//! before stays what it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::allowlist::Ledger;
use super::change::{Plan, Swap, groups};
use super::handover::{Handover, Step};
use super::notebook::Shelf;
use super::pump::{Ordered, Shown};
use super::roster::{NoPlace, Roster};
use super::sessions::Stopper;
use crate::config::Config;
use crate::envelope::keys::{KeyError, KeyPlace, WardKey};
use crate::host::supervisor::blocking;
use crate::policy::Misplaced;
use crate::store::{self, StoreError};
use crate::time::Clock;
use crate::uplink;

/// How many changes may wait for the one that is carried out.
const WAITING: usize = 4;

/// How many steps of a change may wait for whoever starts their sessions.
const STEPS: usize = 4;

/// After this long, and again and again, it is said what is waited for.
const LONG: Duration = Duration::from_secs(5);

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
    /// The store takes nothing, so no session could begin.
    #[error(
        "the store takes nothing at the moment, so no device can be changed: see its error, then ask again"
    )]
    StoreWaits,
    /// The store cannot be kept within the new bounds.
    #[error("the store keeps its old bounds: {0}")]
    Store(#[from] StoreError),
    /// The intake has other places than those that were given: the daemon cannot go on.
    #[error(transparent)]
    Misplaced(#[from] Misplaced),
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
    /// Who goes over to what, of those that the plan names.
    pub(super) swaps: Vec<Swap>,
    /// What holds of the store and of the uplink.
    pub(super) before: (store::Config, uplink::Config),
    pub(super) stats: store::Stats,
    pub(super) ward: KeyPlace,
    /// See [`mark`].
    pub(super) mark: String,
    pub(super) uplink: uplink::Handle,
    pub(super) stoppers: Vec<Stopper>,
    pub(super) intake: mpsc::Sender<Ordered>,
    pub(super) shown: watch::Receiver<Shown>,
    pub(super) notebooks: Shelf,
    pub(super) ledger: Ledger,
    pub(super) clock: Arc<dyn Clock>,
}

/// All of a change that may take a while is done.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) config: Config,
    pub(super) roster: Roster,
}

/// A change on its way.
pub(super) struct Work {
    done: BoxFuture<'static, Result<Ready, Refused>>,
    steps: mpsc::Receiver<Step>,
}

/// How far it has got.
pub(super) enum Progress {
    /// Others begin in the place of some.
    Step(Step),
    /// It is at its end: no step follows.
    Done(Result<Box<Ready>, Refused>),
}

impl Work {
    pub(super) fn new(plan: Plan, config: Config, means: Means) -> Self {
        let (sender, steps) = mpsc::channel(STEPS);
        Self { done: carry_out(plan, config, means, sender).boxed(), steps }
    }

    /// Cancel-safe. Not to be asked again after its end.
    pub(super) async fn next(&mut self) -> Progress {
        tokio::select! {
            biased;
            Some(step) = self.steps.recv() => Progress::Step(step),
            done = &mut self.done => Progress::Done(done.map(Box::new)),
        }
    }

    /// A step that was made just before the end.
    pub(super) fn rest(&mut self) -> Option<Step> {
        self.steps.try_recv().ok()
    }
}

/// Carries out steps 2 to 6. Dropped half-way it leaves sessions ended that no other takes the place of: only the end
/// of the daemon may do that.
async fn carry_out(
    plan: Plan,
    config: Config,
    means: Means,
    steps: mpsc::Sender<Step>,
) -> Result<Ready, Refused> {
    let Means { roster, swaps, before, stats, ward, mark, uplink, .. } = means;
    let Means { stoppers, intake, shown, notebooks, ledger, clock, .. } = means;
    may_begin(&plan, &shown.borrow())?;
    let starts = plan.starts();
    let groups: BTreeMap<_, _> =
        groups(&config).into_iter().filter_map(|group| Some((*starts.get(group.id())?, group))).collect();
    roster.has_places(groups.values().map(|group| 1 + group.parts.len()).sum())?;
    let ward = if groups.is_empty() { None } else { Some(load_ward(ward, &mark).await?) };
    let (bounds, way_back) = before;
    let (wanted, held) = (config.store.clone(), stats.snapshot().bytes);
    blocking(move || may_be_bounded(&bounds, &wanted, held)).await.ok_or(Refused::Ending)??;
    if plan.uplink {
        uplink.change(config.uplink.clone()).await.map_err(Refused::Uplink)?;
        // That may have taken long.
        still_may_begin(&plan, &shown, || uplink.change(way_back)).await?;
    }
    let (at, noted, takes) = (clock.now().wall, plan.clone(), config.clone());
    blocking(move || ledger.note(&noted, &takes, at)).await;
    let handover = Handover { roster, ward, groups, intake, notebooks, steps };
    let roster = handover.run(swaps, stoppers).await?;
    Ok(Ready { plan, config, roster })
}

/// Whether the sessions that are to end can have others in their place.
fn may_begin(plan: &Plan, shown: &Shown) -> Result<(), Refused> {
    let touches = plan.stops().next().is_some() || !plan.starts().is_empty();
    if touches && shown.must_wait { Err(Refused::StoreWaits) } else { Ok(()) }
}

/// The same once the uplink has gone over, so that no session ends for a place that cannot be taken. If not, the uplink
/// goes back; where it cannot, the change goes on, and the devices begin when the store takes something again.
async fn still_may_begin<F>(
    plan: &Plan,
    shown: &watch::Receiver<Shown>,
    go_back: impl FnOnce() -> F,
) -> Result<(), Refused>
where
    F: Future<Output = Result<(), String>>,
{
    let Err(refused) = may_begin(plan, &shown.borrow()) else { return Ok(()) };
    match go_back().await {
        Ok(()) => Err(refused),
        Err(why) => {
            tracing::error!(
                why,
                "the store takes nothing, and the old settings of the uplink no longer work: the change goes on"
            );
            Ok(())
        }
    }
}

/// Whether the store can go over to other bounds. To wider ones it always can, as far as there is a disk for them.
fn may_be_bounded(old: &store::Config, new: &store::Config, held: u64) -> Result<(), StoreError> {
    let room = |of: &store::Config| of.cap.saturating_sub(of.alarm_reserve);
    if (old.cap, old.alarm_reserve) == (new.cap, new.alarm_reserve) {
        return Ok(());
    }
    let is_wider = new.cap >= old.cap && room(new) >= room(old);
    store::may_be_bounded(new, if is_wider { 0 } else { held })
}

/// Waits, and says so again and again while that takes long.
pub(super) async fn waited_for<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut times = 0_u64;
    loop {
        if let Ok(done) = tokio::time::timeout(LONG, &mut work).await {
            return done;
        }
        times += 1;
        let seconds = times * LONG.as_secs();
        tracing::warn!(
            what,
            seconds,
            "a change of the configuration waits: the devices that it changes are not read"
        );
    }
}

async fn load_ward(place: KeyPlace, known: &str) -> Result<WardKey, Refused> {
    let ward = blocking(move || WardKey::load(&place)).await.ok_or(Refused::Ending)??;
    if mark(&ward) == known { Ok(ward) } else { Err(Refused::OtherWard) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(must_wait: bool) -> Shown {
        Shown { must_wait, ..Shown::default() }
    }

    #[tokio::test]
    async fn a_store_that_fills_up_while_the_uplink_goes_over_ends_no_session() {
        let plan = Plan { changed: vec!["pump".to_owned()], uplink: true, ..Plan::default() };
        let way_back = |result: Result<(), String>| async move { result };
        for (must_wait, result, may) in [
            (false, Err("it is not asked for".to_owned()), true),
            (true, Ok(()), false),
            // There is no way back: the devices wait for the store.
            (true, Err("no broker".to_owned()), true),
        ] {
            let (_shows, shown) = watch::channel(waits(must_wait));
            let begins = still_may_begin(&plan, &shown, || way_back(result)).await;
            assert_eq!(begins.is_ok(), may, "{begins:?}");
            assert!(may || matches!(begins, Err(Refused::StoreWaits)));
        }
    }

    #[test]
    fn a_store_is_not_made_smaller_than_what_waits_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let bounds = |cap: u64, alarm_reserve: u64| store::Config {
            folder: folder.path().to_owned(),
            anchor: None,
            cap: cap << 20,
            alarm_reserve: alarm_reserve << 20,
            linger: Duration::ZERO,
        };
        let held = 50 << 20;
        for (new, may) in [
            (bounds(100, 10), true),
            // Whatever is over the bound already: nothing is dropped because of this.
            (bounds(101, 10), true),
            (bounds(80, 10), true),
            (bounds(70, 10), false),
            (bounds(100, 40), false),
            // Not even empty.
            (bounds(20, 10), false),
            (bounds(1 << 40, 10), false),
        ] {
            assert_eq!(may_be_bounded(&bounds(100, 10), &new, held).is_ok(), may, "{new:?}");
        }
        assert!(may_be_bounded(&bounds(60, 10), &bounds(61, 10), held).is_ok());
    }

    #[test]
    fn while_the_store_takes_nothing_devices_stay_as_they_are_and_the_uplink_can_be_mended() {
        let shown = |must_wait| Shown { must_wait, ..Shown::default() };
        let some = || vec!["pump".to_owned()];
        let uplink = Plan { uplink: true, others: true, ..Plan::default() };
        let plans = [
            (Plan { begun: some(), ..uplink.clone() }, false),
            (Plan { ended: some(), ..uplink.clone() }, false),
            (Plan { changed: some(), ..uplink.clone() }, false),
            (uplink, true),
        ];
        for (plan, may) in plans {
            assert!(may_begin(&plan, &shown(false)).is_ok());
            assert_eq!(may_begin(&plan, &shown(true)).is_ok(), may, "{plan:?}");
        }
    }
}
