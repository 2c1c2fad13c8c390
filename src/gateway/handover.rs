//! Sessions give way to others: each new one begins as soon as its own place is free.
//!
//! In: the [`Swap`]s of a plan, and what ends each session that must. Out: [`Step`]s, each carried out in the intake
//! before it is given. All sessions that must end are told so at the same moment and have one deadline. Whoever
//! waits for nobody begins at once; whoever takes the port, the address or the name of another begins when that
//! one's session has ended. So a session that hangs keeps its own place dark, and no other.
//!
//! What is ready at the same time goes as one step: a change of a whole ward is not a change for each device.

use std::collections::BTreeMap;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::change::{Group, Swap};
use super::changer::{Refused, waited_for};
use super::intake::Change;
use super::notebook::Shelf;
use super::pump::Ordered;
use super::roster::{Roster, Seat, Seating};
use super::sessions::Stopper;
use crate::device::DeviceIndex;
use crate::envelope::keys::WardKey;

/// How many swaps go as one step at most.
const AT_ONCE: usize = 1_024;

/// Sessions that have ended, and what the sessions of others are made from. The allowlist has changed by now.
pub(super) struct Step {
    /// The devices whose sessions have ended.
    pub(super) gone: Vec<String>,
    /// The places of those that begin.
    pub(super) seats: Vec<Seat>,
}

/// What steps need from around them.
pub(super) struct Handover<'a> {
    /// Who is where.
    pub(super) roster: Roster,
    /// For the pseudonyms of those that begin: there need be none where nobody does.
    pub(super) ward: Option<WardKey>,
    /// Those that begin, with what is behind their ports.
    pub(super) groups: BTreeMap<&'a str, Group<'a>>,
    pub(super) intake: mpsc::Sender<Ordered>,
    pub(super) notebooks: Shelf,
    /// Who starts the sessions.
    pub(super) steps: mpsc::Sender<Step>,
}

/// The end of one session, for everybody who waits for it.
type Ending = Shared<BoxFuture<'static, ()>>;

impl Handover<'_> {
    /// Carries out all of them. Gives the roster as it is then.
    pub(super) async fn run(mut self, swaps: Vec<Swap>, stoppers: Vec<Stopper>) -> Result<Roster, Refused> {
        let endings: BTreeMap<String, Ending> = stoppers
            .into_iter()
            .map(|stopper| (stopper.device().to_owned(), stopper.end().boxed().shared()))
            .collect();
        let waiting: FuturesUnordered<_> = swaps
            .into_iter()
            .map(|swap| {
                let before: Vec<Ending> =
                    swap.waits_for.iter().filter_map(|id| endings.get(id).cloned()).collect();
                join_all(before).map(|_| swap)
            })
            .collect();
        let mut ready = waiting.ready_chunks(AT_ONCE);
        while let Some(swaps) = ready.next().await {
            let step = self.carry_out(swaps).await?;
            // Nobody to start them: the daemon ends.
            self.steps.send(step).await.map_err(|_| Refused::Ending)?;
        }
        Ok(self.roster)
    }

    async fn carry_out(&mut self, swaps: Vec<Swap>) -> Result<Step, Refused> {
        let (mut gone, mut starts) = (Vec::new(), Vec::new());
        for swap in swaps {
            gone.extend(swap.stops);
            starts.extend(swap.starts);
        }
        join_all(gone.iter().map(|id| self.notebooks.disown(id))).await;
        let retired: Vec<_> = gone.iter().flat_map(|id| self.roster.leave(id)).collect();
        let new: Vec<Group<'_>> = starts.iter().filter_map(|id| self.groups.remove(id.as_str())).collect();
        let seating = match &self.ward {
            Some(ward) if !new.is_empty() => self.roster.seat(&new, ward)?,
            // Where nobody begins no place is needed.
            Some(_) | None => Seating { first: DeviceIndex(u16::MAX), rules: Vec::new(), seats: Vec::new() },
        };
        let Seating { first, rules: listed, seats } = seating;
        let (done, is_done) = oneshot::channel();
        let change = Change { retired, first, listed };
        self.intake.send(Ordered { change, done }).await.map_err(|_| Refused::Ending)?;
        waited_for("the intake", is_done).await.map_err(|_| Refused::Ending)??;
        Ok(Step { gone, seats })
    }
}

#[cfg(test)]
mod tests;
