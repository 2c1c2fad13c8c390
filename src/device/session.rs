//! The shell around a driver: one driver on one link, its timers, its reconnect. The only async
//! file of this stage.
//!
//! In: a [`Link`], a [`Driver`], word of what is durable. Out: [`Report`]s. What can go wrong: the
//! link fails in any way; then the session closes it, waits by [`Backoff`] and opens it again, for
//! ever, until it is told to stop. A session ends only when it is stopped or nobody takes its
//! reports any more. Of a device whose driver remembers something the last of what it said is waited for before
//! that, until it is durable and remembered: otherwise it would be given again after the start.

mod context;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;

pub use self::context::{Context, Inheritance, Lost};

use super::memo::Notebook;
use super::{
    Action, DeviceIndex, Driver, Fault, FaultKind, Identity, Part, Report, ReportBody, Settled, Ticket,
};
use crate::backoff::Backoff;
use crate::link::{Link, LinkCommand, LinkError, LinkEvent};
use crate::time::{Mono, Now};

/// How long a session that is stopped waits for what was said last: a commit takes a moment, and what stops the
/// gateway does not wait for ever.
const SETTLE_LIMIT: Duration = Duration::from_secs(3);

/// How long a session that is stopped waits for its reports to be taken, all of them together. What is not taken by
/// then is lost, and counted.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How long a link may take to hang up, with all that it does for it: BlueZ was seen to take two to three seconds.
const HANG_UP_LIMIT: Duration = Duration::from_secs(10);

/// How often what has come is heard before what is due. A gateway that stood still for a while, as its disk did, finds
/// both: what was said in the meantime is no silence. Noise without an end does not keep it from what is due.
const LOOKS: u32 = 16;

/// No session takes longer to end than this, whatever its link does.
pub const ENDS_WITHIN: Duration = HANG_UP_LIMIT.saturating_add(SETTLE_LIMIT).saturating_add(DRAIN_LIMIT);

/// One driver on one link.
pub struct Session<L> {
    link: L,
    driver: Box<dyn Driver>,
    context: Context,
    backoff: Backoff,
    /// The listed parts that have said who they are on this connection.
    present: BTreeSet<Part>,
    /// When something was last said on this connection of who is there or how it is.
    heard: Mono,
    /// What the driver was told of what became of its observations.
    told: Settled,
    /// A report was not taken before the end.
    has_lost: bool,
    /// When a session that is stopped has waited long enough for its reports to be taken.
    drained_by: Option<Mono>,
}

/// Why a connection ended.
enum Ended {
    Link(LinkError),
    Stopped,
}

impl<L: Link> Session<L> {
    /// A session that has not begun.
    pub fn new(link: L, driver: Box<dyn Driver>, context: Context) -> Self {
        let backoff = Backoff::new(context.backoff);
        Self {
            link,
            driver,
            context,
            backoff,
            present: BTreeSet::new(),
            heard: Mono::default(),
            told: Settled::default(),
            has_lost: false,
            drained_by: None,
        }
    }

    /// Opens, listens, closes and opens again until stopped.
    pub async fn run(mut self) {
        if let Some(told) = self.context.told.take() {
            self.driver.handle_told(told);
        }
        self.connections().await;
        let remembers = self.context.notebook.keeps() || self.driver.told().is_some();
        // What is behind a reading that nobody took would be remembered as if that were durable.
        if !remembers || self.has_lost {
            return;
        }
        let is_settled = tokio::time::timeout(SETTLE_LIMIT, self.settle()).await == Ok(true);
        if is_settled
            && !self.has_lost
            && let Some(told) = self.driver.told()
        {
            self.context.told.put(told);
        }
    }

    /// The link is closed for good: what the driver still holds is said, becomes durable and is remembered. True when
    /// all of it is.
    async fn settle(&mut self) -> bool {
        let at = self.context.clock.now();
        self.driver.handle_event(&LinkEvent::Down(LinkError::HungUp), at);
        let down = Ended::Link(LinkError::HungUp);
        if matches!(self.last_words(at, down).await, Ended::Stopped) {
            return false;
        }
        let last = Ticket(self.context.tickets.load(Ordering::Relaxed));
        let commit = Report { device: self.context.device, at, body: ReportBody::Commit };
        if self.context.reports.send(commit).await.is_err() {
            return false;
        }
        loop {
            let Self { driver, context, told, .. } = self;
            let settled = *context.settled.borrow_and_update();
            tell(driver.as_mut(), told, settled, context.clock.now());
            remember_only(driver.as_mut(), context.notebook.as_mut()).await;
            if told.through >= last {
                return true;
            }
            if context.settled.changed().await.is_err() {
                return false;
            }
        }
    }

    /// One connection after the other, until stopped.
    async fn connections(&mut self) {
        let mut stop = self.context.stop.clone();
        if let Some(memo) = self.context.notebook.read().await {
            self.driver.recall(memo.bytes());
            if !self.context.notebook.is_of_entry() {
                self.driver.handle_other_entry();
            }
        }
        loop {
            let Some(opened) = self.open(&mut stop).await else {
                // An attempt that was given up half-way may hold the device.
                let _ = tokio::time::timeout(HANG_UP_LIMIT, self.link.close()).await;
                return;
            };
            let ended = match opened {
                Ok(()) => self.connection(&mut stop).await,
                Err(error) => Ended::Link(error),
            };
            self.link.close().await;
            let Ended::Link(error) = ended else { return };
            let now = self.context.clock.now();
            // A report that had to wait has closed a link that is closed already.
            if matches!(error, LinkError::Insecure { .. })
                && let ControlFlow::Break(Ended::Stopped) =
                    self.report(now, self.context.device, ReportBody::Insecure).await
            {
                return;
            }
            if self.report_down(now, &error.to_string()).await.is_break() {
                return;
            }
            let wait = self.backoff.handle_failure(now.mono, self.context.random.as_mut());
            let wait = tokio::time::sleep(wait);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    biased;
                    () = stopped(&mut stop) => return,
                    settled = next_settled(&mut self.context.settled) => {
                        let Self { driver, context, told, .. } = self;
                        tell(driver.as_mut(), told, settled, context.clock.now());
                        remember_only(driver.as_mut(), context.notebook.as_mut()).await;
                    }
                    () = &mut wait => break,
                }
            }
        }
    }

    /// Opens the link; `None` when told to stop. Meanwhile the driver hears what became of what it said before:
    /// a device may be away for days, and what is durable is to be remembered at once.
    async fn open(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Result<(), LinkError>> {
        let Self { link, driver, context, told, .. } = self;
        // Never begun again: what is half open would be let go.
        let opened = link.open();
        tokio::pin!(opened);
        loop {
            tokio::select! {
                biased;
                () = stopped(stop) => return None,
                opened = &mut opened => return Some(opened),
                settled = next_settled(&mut context.settled) => {
                    tell(driver.as_mut(), told, settled, context.clock.now());
                    remember_only(driver.as_mut(), context.notebook.as_mut()).await;
                }
            }
        }
    }

    /// One connection, from `Up` to its end.
    async fn connection(&mut self, stop: &mut watch::Receiver<bool>) -> Ended {
        let now = self.context.clock.now();
        self.backoff.handle_up(now.mono);
        self.heard = now.mono;
        if let ControlFlow::Break(ended) = self.report(now, self.context.device, ReportBody::Up).await {
            return ended;
        }
        self.driver.handle_event(&LinkEvent::Up, now);
        // When the driver took what its present actions follow from: their stamp.
        let mut at = now;
        let mut looks = 0;
        loop {
            if let ControlFlow::Break(ended) = self.perform_actions(at).await {
                if let Ended::Link(error) = &ended {
                    // What it still holds belongs to this connection, and must not come out at the next.
                    self.driver.handle_event(&LinkEvent::Down(error.clone()), at);
                }
                return self.last_words(at, ended).await;
            }
            let silent_at = self.context.quiet.map(|quiet| self.heard + quiet);
            let due = self.driver.poll_timeout().into_iter().chain(silent_at).min();
            let due = due.map(|at| at.since(self.context.clock.now().mono));
            let is_late = due.is_some_and(|due| due.is_zero());
            looks = if is_late { looks + 1 } else { 0 };
            let next = tokio::select! {
                biased;
                () = stopped(stop) => {
                    self.hang_up().await;
                    return Ended::Stopped;
                }
                settled = next_settled(&mut self.context.settled) => {
                    at = self.context.clock.now();
                    tell(self.driver.as_mut(), &mut self.told, settled, at);
                    continue;
                }
                next = next_of(&mut self.link, due, looks <= LOOKS) => next,
            };
            at = self.context.clock.now();
            let Some(event) = next else {
                looks = 0;
                if silent_at.is_some_and(|silent_at| silent_at <= at.mono) {
                    return self.give_up(at).await;
                }
                if self.driver.poll_timeout().is_some_and(|due| due <= at.mono) {
                    self.driver.handle_timeout(at);
                }
                continue;
            };
            self.driver.handle_event(&event, at);
            if let LinkEvent::Down(error) = event {
                return self.last_words(at, Ended::Link(error)).await;
            }
        }
    }

    /// The link hangs up because the gateway stops, and what the device had said by then is still heard: what
    /// was confirmed to it is not given again. Only where a device confirms and keeps; a stream has nothing to
    /// lose. When the driver hangs up, what it did not want to hear waits in the link for the next connection.
    async fn hang_up(&mut self) {
        if !self.context.notebook.keeps() {
            return;
        }
        let heard = async {
            if self.link.perform(LinkCommand::HangUp).await.is_err() {
                return;
            }
            loop {
                let event = self.link.next().await;
                if matches!(event, LinkEvent::Down(_)) {
                    return;
                }
                let at = self.context.clock.now();
                self.driver.handle_event(&event, at);
                let _ = self.last_words(at, Ended::Link(LinkError::HungUp)).await;
            }
        };
        // A report may have been on its way.
        self.has_lost |= tokio::time::timeout(HANG_UP_LIMIT, heard).await.is_err();
    }

    /// Nothing was heard for too long.
    async fn give_up(&mut self, at: Now) -> Ended {
        let seconds = self.context.quiet.unwrap_or_default().as_secs();
        let detail = format!(
            "no reading in {seconds} s, the link is opened again: see that the device is on and set to send, \
             and that cable and line settings are right"
        );
        let fault = ReportBody::Fault(Fault::new(FaultKind::Timeout, detail));
        if let ControlFlow::Break(ended) = self.report(at, self.context.device, fault).await {
            return ended;
        }
        let reason = format!("it gave no reading for {seconds} s");
        let error = LinkError::Lost { what: "the device".to_owned(), reason };
        self.driver.handle_event(&LinkEvent::Down(error.clone()), at);
        self.last_words(at, Ended::Link(error)).await
    }

    /// What the driver still has to say of a connection is said before its end: an alarm that it holds
    /// for told would never be told again. There is nobody left for its commands.
    async fn last_words(&mut self, at: Now, ended: Ended) -> Ended {
        while let (Ended::Link(_), Some(action)) = (&ended, self.driver.poll_action()) {
            if let Action::Remember(memo) = action {
                self.context.notebook.write(memo).await;
                continue;
            }
            for (device, body) in self.said(action, at) {
                if let ControlFlow::Break(Ended::Stopped) = self.report(at, device, body).await {
                    return Ended::Stopped;
                }
            }
        }
        ended
    }

    /// Tells that the link is down: of the device, and of every part of it that was there.
    async fn report_down(&mut self, now: Now, reason: &str) -> ControlFlow<()> {
        let whole = std::iter::once(self.context.device);
        let parts = std::mem::take(&mut self.present);
        let parts = parts.iter().filter_map(|part| self.context.parts.get(part).copied());
        for device in whole.chain(parts).collect::<Vec<_>>() {
            if let ControlFlow::Break(Ended::Stopped) =
                self.report(now, device, ReportBody::Down(reason.to_owned())).await
            {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// What an action says to the right, and of which device; nothing for a command.
    fn said(&mut self, action: Action, at: Now) -> Vec<(DeviceIndex, ReportBody)> {
        if matches!(action, Action::Identify(..) | Action::Observe(..)) {
            self.heard = at.mono;
        }
        let whole = self.context.device;
        match action {
            Action::Command(_) | Action::Remember(_) => Vec::new(),
            Action::Identify(Part::WHOLE, identity) => vec![(whole, ReportBody::Identity(identity))],
            Action::Identify(part, identity) => self.identified(part, identity),
            Action::Observe(Part::WHOLE, observation) => {
                let ticket = self.next_ticket();
                self.driver.handle_ticket(ticket);
                vec![(whole, ReportBody::Observation(ticket, observation))]
            }
            Action::Observe(part, observation) => match self.context.parts.get(&part).copied() {
                Some(device) if self.present.contains(&part) => {
                    vec![(device, ReportBody::Observation(self.next_ticket(), observation))]
                }
                Some(_) => {
                    let detail = format!("a reading of part {} before it said who it is", part.0);
                    vec![(whole, ReportBody::Fault(Fault::new(FaultKind::Unexpected, detail)))]
                }
                None => vec![(whole, ReportBody::Unlisted(part))],
            },
            Action::Pin(pin) => {
                let ticket = self.next_ticket();
                self.driver.handle_ticket(ticket);
                vec![(whole, ReportBody::Pin(ticket, pin))]
            }
            Action::Commit => vec![(whole, ReportBody::Commit)],
            Action::Gone(part, why) => match self.context.parts.get(&part).copied() {
                Some(device) if self.present.remove(&part) => vec![(device, ReportBody::Down(why))],
                Some(_) | None => Vec::new(),
            },
            Action::Report(fault) => vec![(whole, ReportBody::Fault(fault))],
        }
    }

    /// A part said who it is: from here on its readings are its own.
    fn identified(&mut self, part: Part, identity: Identity) -> Vec<(DeviceIndex, ReportBody)> {
        let Some(device) = self.context.parts.get(&part).copied() else {
            return vec![(self.context.device, ReportBody::Unlisted(part))];
        };
        let up = self.present.insert(part).then_some((device, ReportBody::Up));
        up.into_iter().chain([(device, ReportBody::Identity(identity))]).collect()
    }

    fn next_ticket(&self) -> Ticket {
        Ticket(self.context.tickets.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Does all that the driver wants done at the moment.
    async fn perform_actions(&mut self, at: Now) -> ControlFlow<Ended> {
        while let Some(action) = self.driver.poll_action() {
            match action {
                Action::Command(LinkCommand::HangUp) => {
                    return ControlFlow::Break(Ended::Link(LinkError::HungUp));
                }
                Action::Command(command) => {
                    if let Err(error) = self.link.perform(command).await {
                        return ControlFlow::Break(Ended::Link(error));
                    }
                }
                Action::Remember(memo) => self.context.notebook.write(memo).await,
                said @ (Action::Identify(..)
                | Action::Observe(..)
                | Action::Pin(_)
                | Action::Commit
                | Action::Gone(..)
                | Action::Report(_)) => {
                    for (device, body) in self.said(said, at) {
                        self.report(at, device, body).await?;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Passes a report on. When nobody takes it in time the link is closed, so that what it says in
    /// the meantime is not told later as if it were new; the report itself waits on. One that waits when the session
    /// is stopped, and what the driver says behind it, has a last while to be taken.
    async fn report(&mut self, at: Now, device: DeviceIndex, body: ReportBody) -> ControlFlow<Ended> {
        let report = Report { device, at, body };
        let reports = self.context.reports.clone();
        let patience = self.left_to_drain(self.context.patience);
        match tokio::time::timeout(patience, reports.reserve()).await {
            Ok(Ok(permit)) => {
                permit.send(report);
                return ControlFlow::Continue(());
            }
            Ok(Err(_)) => return ControlFlow::Break(Ended::Stopped),
            Err(_) => self.link.abandon().await,
        }
        let since = self.context.clock.now().mono;
        let mut stop = self.context.stop.clone();
        let waited = tokio::select! {
            biased;
            permit = reports.reserve() => Some(permit),
            () = stopped(&mut stop) => {
                self.drained_by.get_or_insert_with(|| self.context.clock.now().mono + DRAIN_LIMIT);
                tokio::time::timeout(self.left_to_drain(DRAIN_LIMIT), reports.reserve()).await.ok()
            }
        };
        match waited {
            Some(Ok(permit)) => permit.send(report),
            Some(Err(_)) => return ControlFlow::Break(Ended::Stopped),
            None => self.lose(&report.body),
        }
        let waited = (self.context.clock.now().mono.since(since) + self.context.patience).as_secs();
        let reason =
            format!("its readings were not taken for {waited} s: what it said meanwhile is not told");
        ControlFlow::Break(Ended::Link(LinkError::Lost { what: "the link".to_owned(), reason }))
    }

    /// How long a report may wait, `most` at most. Where nobody took one that waited for the last while, the others need
    /// not wait.
    fn left_to_drain(&self, most: Duration) -> Duration {
        match self.drained_by {
            Some(_) if self.has_lost => Duration::ZERO,
            Some(by) => by.since(self.context.clock.now().mono).min(most),
            None => most,
        }
    }

    /// Nobody takes it any more.
    fn lose(&mut self, body: &ReportBody) {
        self.has_lost = true;
        match body {
            ReportBody::Observation(..) | ReportBody::Pin(..) => (self.context.lost)(),
            // How the link is and what was wrong with it is of no use to anybody by then.
            ReportBody::Up
            | ReportBody::Insecure
            | ReportBody::Commit
            | ReportBody::Down(_)
            | ReportBody::Identity(_)
            | ReportBody::Fault(_)
            | ReportBody::Unlisted(_) => {}
        }
    }
}

/// Tells a driver what became of its observations: what was refused first, so that it never acknowledges that
/// with what is durable behind it.
fn tell(driver: &mut dyn Driver, told: &mut Settled, settled: Settled, at: Now) {
    if told.refused < settled.refused {
        told.refused = settled.refused;
        driver.handle_refused(settled.refused, at);
    }
    if told.held < settled.held {
        told.held = settled.held;
        driver.handle_held(settled.held, at);
    }
    if told.through < settled.through {
        told.through = settled.through;
        driver.handle_durable(settled.through, at);
    }
}

/// Has kept what a driver wants remembered. Nobody is there for anything else.
async fn remember_only(driver: &mut dyn Driver, notebook: &mut dyn Notebook) {
    while let Some(action) = driver.poll_action() {
        if let Action::Remember(memo) = action {
            notebook.write(memo).await;
        }
    }
}

/// Ends when the session shall stop, also when whoever could say so is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The next word of what became of observations; never again when whoever could say so is gone.
async fn next_settled(settled: &mut watch::Receiver<Settled>) -> Settled {
    match settled.changed().await {
        Ok(()) => *settled.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}

/// What the link says next; `None` when something is due, which goes first where the link was heard often enough.
async fn next_of(link: &mut impl Link, due: Option<Duration>, is_heard_first: bool) -> Option<LinkEvent> {
    if !is_heard_first {
        return None;
    }
    tokio::select! {
        biased;
        event = link.next() => Some(event),
        () = sleep_for(due) => None,
    }
}

async fn sleep_for(due: Option<Duration>) {
    match due {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
