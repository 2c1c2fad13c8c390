//! The task around a [`Member`]: the same code for the daemon and for every simulated gateway.
//!
//! ```text
//!  post office ─┐                  ┌─▶ wanted topics, the report (post office)
//!  clock ───────┼─▶ member (disk) ─┼─▶ another configuration ([`Gateway::apply`])
//!  signs ───────┘                  └─▶ the log, the status ([`View`]), security events ([`Events`])
//! ```
//!
//! In: what the post brings, the time, what is measured of the gateway. Out: as above. The member works where it
//! may wait for the disk, and for one thing at a time; meanwhile the post keeps what comes, within its bounds.
//! What never happens: a report goes out more often than every [`REPORT_FIRST`].

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::boot::Locked;
use super::events::Events;
use super::report::{About, View};
use super::told::Loudness;
use super::{Fault, Member, Order, Signs, Told};
use crate::config::Config;
use crate::fleet::documents::Document as _;
use crate::fleet::documents::reported::{Reported, pae, sealed};
use crate::fleet::topics::{Topic, What};
use crate::host::supervisor::blocking;
use crate::policy::event::{Detection, Event};
use crate::time::{Clock, Mono, Now};
use crate::uplink::post::{Letter, Notice, PostEvent, PostOffice, Wanted};

/// How often the time is looked at.
const TICK: Duration = Duration::from_secs(1);
/// How often the member is given the time while nothing is under way, and the import folder is looked into.
const LOOK: Duration = Duration::from_secs(10);
/// How soon after a report the next one may go out when something has changed.
pub const REPORT_FIRST: Duration = Duration::from_secs(5);
/// How often one goes out at least.
pub const REPORT_EVERY: Duration = Duration::from_secs(60);

/// A signature of the gateway's own key.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The key's id: see `ReportKey::id`.
    pub key: String,
    /// The signature.
    pub signature: Vec<u8>,
}

/// What a member needs of the gateway that it is of.
pub trait Gateway: Send {
    /// Has the gateway run with this configuration. `is_way_back`: it is the one of before; what of it can be in
    /// force is to be, whatever else cannot.
    fn apply(&mut self, config: Config, is_way_back: bool) -> impl Future<Output = Result<(), Fault>> + Send;

    /// What is measured, and whether an alarm is active.
    fn signs(&mut self, now: &Now) -> Signs;

    /// What it knows of itself, for a report.
    fn about(&mut self, now: &Now) -> impl Future<Output = About> + Send;

    /// Signs with the key of the certificate that is in [`About`]. `None`: it cannot.
    fn sign(&mut self, message: Vec<u8>) -> impl Future<Output = Option<Signed>> + Send;

    /// Something happened; it is in the log already.
    fn tell(&mut self, told: &Told);

    /// What of it concerns the security of the gateway, to be stored and sent like a record. `false`: there is no room
    /// now, and it is offered again.
    fn raise(&mut self, event: &Event) -> bool;
}

/// Whose task it is.
pub enum Who {
    /// A member.
    Member(Box<Member>),
    /// A gateway that takes nothing until somebody has come: it only says so.
    Locked(Locked),
}

/// Everything that the task uses.
pub struct Task<G> {
    /// The gateway.
    pub gateway: G,
    /// What the broker brings and keeps.
    pub office: PostOffice,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
    /// For the local status.
    pub view: watch::Sender<View>,
}

/// What a turn is for.
enum Input {
    Time,
    Import,
    Letter(Letter),
    Lost,
    Applied(Result<(), Fault>),
}

impl<G: Gateway> Task<G> {
    /// Runs until it is dropped. That may be at any moment: what is durable is whole.
    pub async fn run(mut self, who: Who) {
        let mut out = Outgoing::default();
        match who {
            Who::Member(member) => self.run_member(member, &mut out).await,
            Who::Locked(locked) => self.run_locked(&locked, &mut out).await,
        }
    }

    async fn run_member(&mut self, member: Box<Member>, out: &mut Outgoing) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut turned): (Option<Now>, Option<Option<bool>>) = (None, None);
        self.view.send_replace(member.view(&self.clock.now()));
        if member.goes_on() {
            out.events.handle_open(Detection::FleetTrial);
        }
        let mut member = Some(member);
        loop {
            let event = tokio::select! {
                event = self.office.next() => Some(event),
                _ = ticks.tick() => None,
            };
            let Some(held) = member.take() else { return self.stand_still().await };
            let now = self.clock.now();
            let alarms = self.gateway.signs(&now).is_alarm_active;
            let input = match event {
                Some(PostEvent::Letter(letter)) => Input::Letter(letter),
                Some(PostEvent::Lost(_)) => Input::Lost,
                // What is wanted is subscribed to anew with each connection, and comes by itself.
                Some(PostEvent::Connected) => Input::Time,
                None => {
                    let is_look = last.is_none_or(|last| now.mono.since(last.mono) >= LOOK);
                    let is_due = is_look
                        || held.is_under_way()
                        || turned != Some(alarms)
                        || last.is_some_and(|last| held.is_due(&last, &now));
                    if !is_due {
                        member = Some(held);
                        self.report(Source::Member(member.as_deref()), out).await;
                        continue;
                    }
                    if is_look { Input::Import } else { Input::Time }
                }
            };
            if matches!(input, Input::Import) || last.is_none() {
                last = Some(now);
            }
            turned = Some(alarms);
            member = self.turn(held, input, out).await;
            self.report(Source::Member(member.as_deref()), out).await;
        }
    }

    async fn run_locked(&mut self, locked: &Locked, out: &mut Outgoing) {
        self.view.send_replace(locked.view());
        // It is in the log since the boot.
        out.events.handle_told(&Told::Locked(locked.reason.clone()), &self.clock.now());
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            self.report(Source::Locked(locked), out).await;
        }
    }

    /// One turn, and what it orders, until nothing is left to do. `None`: it panicked.
    async fn turn(
        &mut self,
        mut member: Box<Member>,
        first: Input,
        out: &mut Outgoing,
    ) -> Option<Box<Member>> {
        let mut input = Some(first);
        while let Some(taken) = input.take() {
            let now = self.clock.now();
            let signs = self.gateway.signs(&now);
            member = blocking(move || {
                match taken {
                    Input::Time => member.handle_time(&signs, &now),
                    Input::Import => {
                        member.handle_time(&signs, &now);
                        member.handle_import(&signs, &now);
                    }
                    Input::Letter(Letter { topic, payload }) => {
                        member.handle_letter(&topic, &payload, &signs, &now);
                    }
                    Input::Lost => member.handle_lost(),
                    Input::Applied(result) => member.handle_applied(result, &signs, &now),
                }
                member
            })
            .await?;
            while let Some(order) = member.poll_order() {
                match order {
                    Order::Want(wanted) => {
                        let wanted = wanted.into_iter().map(|(topic, ask)| Wanted { topic, ask });
                        self.office.want(wanted.collect());
                    }
                    Order::Tell(told) => {
                        log(&told);
                        self.gateway.tell(&told);
                        out.events.handle_told(&told, &now);
                    }
                    Order::Apply(config, is_way_back) => {
                        input = Some(Input::Applied(self.gateway.apply(*config, is_way_back).await));
                    }
                }
            }
        }
        self.view.send_replace(member.view(&self.clock.now()));
        Some(member)
    }

    /// After a panic: what runs goes on, without the fleet.
    async fn stand_still(&self) {
        tracing::error!(
            "the fleet's part panicked: a defect of this program; nothing is taken until a restart"
        );
        std::future::pending::<()>().await;
    }

    async fn report(&mut self, source: Source<'_>, out: &mut Outgoing) {
        while let Some(event) = out.events.first()
            && self.gateway.raise(event)
        {
            out.events.passed();
        }
        let now = self.clock.now();
        if !out.may_look(now.mono) {
            return;
        }
        let about = self.gateway.about(&now).await;
        let (report, recipient) = match source {
            Source::Member(Some(member)) => (member.reported(&about, &now), member.recipient()),
            Source::Member(None) => return,
            Source::Locked(locked) => (locked.reported(&about, &now), &locked.recipient),
        };
        let Some(report) = report.filter(|report| out.is_due(report, now.mono)) else { return };
        let what = What::Reported { gateway: recipient.gateway.clone() };
        let Some(topic) = Topic::new(&recipient.organisation, what) else { return };
        let payload = report.to_payload();
        let Some(Signed { key, signature }) = self.gateway.sign(pae(Reported::PAYLOAD_TYPE, &payload)).await
        else {
            return out.missed(now.mono);
        };
        let payload = sealed(payload, &key, signature);
        if payload.len() > Reported::CAP {
            tracing::error!(bytes = payload.len(), "the report is longer than anybody reads: it is not sent");
            return out.missed(now.mono);
        }
        self.office.notice(Notice { topic: topic.to_string(), payload: payload.into() });
        out.sent(report, now.mono);
    }
}

/// Of what a report tells.
#[derive(Clone, Copy)]
enum Source<'a> {
    Member(Option<&'a Member>),
    Locked(&'a Locked),
}

/// What goes out of itself: when a report did, and what it said; the events that wait.
#[derive(Default)]
struct Outgoing {
    events: Events,
    last: Option<(Option<Reported>, Mono)>,
    looked: Option<Mono>,
}

impl Outgoing {
    /// Whether it is time to look if one is to go out, and so also whether one may.
    fn may_look(&mut self, now: Mono) -> bool {
        let may = self.looked.is_none_or(|at| now.since(at) >= REPORT_FIRST);
        if may {
            self.looked = Some(now);
        }
        may
    }

    /// Whether this one is to go out: anything but the time and the numbers is another than before.
    fn is_due(&self, report: &Reported, now: Mono) -> bool {
        self.last.as_ref().is_none_or(|(last, at)| {
            let is_same = last
                .as_ref()
                .is_some_and(|last| Reported { at: last.at, spool: last.spool, ..report.clone() } == *last);
            !is_same || now.since(*at) >= REPORT_EVERY
        })
    }

    fn sent(&mut self, report: Reported, now: Mono) {
        self.last = Some((Some(report), now));
    }

    fn missed(&mut self, now: Mono) {
        self.last = Some((None, now));
    }
}

fn log(told: &Told) {
    match told.loudness() {
        Loudness::Info => tracing::info!(fleet = %told),
        Loudness::Warning => tracing::warn!(fleet = %told),
        Loudness::Error => tracing::error!(fleet = %told),
    }
}

#[cfg(test)]
mod tests;
