//! One turn of a member: what the agent asks for, and how far a trial is.

use super::{AGAIN, Counted, Course, Fault, Member, Order, Signs, Told, Verdict, limits};
use crate::fleet::agent::{Action, Which};
use crate::fleet::change::{Change, Slot};
use crate::fleet::folder::FolderError;
use crate::fleet::health::{Baseline, Failing, Limits, Step, Trial, Vitals};
use crate::fleet::start::{self, Base, Begun};
use crate::time::{Mono, Now};

/// How often the agent may lead to a change of what it decides by, in one turn. It comes to rest after two.
const MOST_ROUNDS: usize = 16;

impl Member {
    /// Time has passed, or anything of `signs` is another.
    pub fn handle_time(&mut self, signs: &Signs, now: &Now) {
        self.heed(signs, now);
        if matches!(self.course, Course::Rest) && self.trouble.is_none() && self.effective.is_lost() {
            self.restore(self.folder.change().running());
        }
        self.agent.handle_time(self.folder.change(), now);
        self.act(signs, now);
    }

    /// What came of [`Order::Apply`].
    pub fn handle_applied(&mut self, result: Result<(), Fault>, signs: &Signs, now: &Now) {
        self.heed(signs, now);
        match std::mem::replace(&mut self.course, Course::Rest) {
            Course::Applying(slot, limits) => match result {
                Ok(()) => self.begun(slot, limits, &signs.vitals, now),
                Err(fault) => self.not_begun(fault),
            },
            Course::Returning(_) => match result {
                Ok(()) => self.returned(),
                Err(Fault::Bundle(why) | Fault::Gateway(why)) => {
                    self.not_returned(why, now.mono);
                }
                Err(Fault::Ending) => self.course = Course::Returning(None),
            },
            other @ (Course::Rest | Course::Trying(..) | Course::Ending(..)) => self.course = other,
        }
        self.act(signs, now);
    }

    /// When it is to be given the time at the latest, as far as anything is under way.
    pub fn is_under_way(&self) -> bool {
        !matches!(self.course, Course::Rest)
            || self.unsaved.marks
            || self.effective.is_lost()
            || self.folder.change().staged().is_some()
    }

    /// Whether the time is to be given now, though nothing is under way.
    pub fn is_due(&self, since: &Now, now: &Now) -> bool {
        let change = self.folder.change();
        let wall = self.agent.wakes_at(change, since).is_some_and(|at| now.wall >= at);
        wall || self.agent.pauses_until(since).is_some_and(|at| now.mono >= at) || since.sync != now.sync
    }

    /// Its configuration runs: from here on it is judged.
    fn begun(&mut self, slot: Slot, limits: Limits, vitals: &Vitals, now: &Now) {
        let baseline = self.folder.change().baseline().cloned().unwrap_or_default();
        let Vitals { taken, kept, read, decoded, undecoded, .. } = *vitals;
        let counted = Counted { taken, kept, read, decoded, undecoded };
        self.tell(Told::Began(slot.version, limits.trial));
        self.course = Course::Trying(Trial::new(baseline, limits, now.mono), counted);
    }

    /// Nothing was changed. What was read again in between was the bundle's; from here on it is what was before.
    fn not_begun(&mut self, fault: Fault) {
        self.restore(self.folder.change().running());
        self.course = match fault {
            Fault::Bundle(why) => Course::Ending(Verdict::Bad(why), false),
            Fault::Gateway(why) => Course::Ending(Verdict::Abandoned(why), false),
            Fault::Ending => Course::Rest,
        };
    }

    /// Alarms before anything else: nothing may begin in the turn in which one begins.
    pub(super) fn heed(&mut self, signs: &Signs, now: &Now) {
        if let Some(is_active) = signs.is_alarm_active {
            self.agent.handle_alarms(is_active, self.folder.change(), now);
        }
    }

    /// Does what the agent asks for until there is nothing more, and drives the trial.
    pub(super) fn act(&mut self, signs: &Signs, now: &Now) {
        self.save();
        for _ in 0..MOST_ROUNDS {
            let before = self.folder.change().clone();
            while let Some(action) = self.agent.poll_action() {
                self.carry_out(action, signs, now);
            }
            self.drive(signs, now);
            if *self.folder.change() == before {
                break;
            }
            self.agent.handle_time(self.folder.change(), now);
        }
        self.look_into_advisories(now);
        self.want();
        let standing = self.agent.standing(self.folder.change(), now);
        self.told.standing(&mut self.orders, standing);
    }

    fn carry_out(&mut self, action: Action, signs: &Signs, now: &Now) {
        match action {
            Action::Want(which) => {
                let [root, timestamp, bundle] = &mut self.asks;
                *match which {
                    Which::Root(_) => root,
                    Which::Timestamp => timestamp,
                    Which::Bundle(_) => bundle,
                } += 1;
            }
            Action::KeepRoot(bytes) => {
                self.unsaved.root = Some(bytes);
                self.see();
            }
            Action::See => self.see(),
            Action::Stage(slot, bytes) => self.stage(slot, &bytes, now),
            Action::Unstage(why) => match self.folder.step(Change::unstage) {
                Ok(Some(slot)) => self.tell(Told::Withdrawn(slot.version, why)),
                Ok(None) => {}
                Err(error) => self.disk(&error),
            },
            Action::Begin(_) => self.begin(signs, now),
            Action::Transfer(to) => self.tell(Told::Transferred(to)),
            Action::Refuse(refusal) => self.tell(Told::Refused(refusal)),
            Action::ClockContradicts(floor) => self.tell(Told::ClockContradicts(floor)),
        }
    }

    fn see(&mut self) {
        self.unsaved.marks = true;
        self.save();
    }

    /// Makes durable what is not yet.
    fn save(&mut self) {
        if !self.unsaved.marks {
            return;
        }
        let marks = self.agent.trust().marks();
        let saved = match &self.unsaved.root {
            Some(root) => self.folder.root(root, marks),
            None => self.folder.see(marks),
        };
        match saved {
            Ok(()) => self.unsaved = super::Unsaved::default(),
            Err(error) => self.disk(&error),
        }
    }

    fn stage(&mut self, slot: Slot, bytes: &[u8], now: &Now) {
        if self.unsaved.marks {
            return self.agent.handle_loss(now);
        }
        match self.folder.stage(slot, bytes, self.agent.trust().marks()) {
            Ok(is_staged) => {
                if is_staged {
                    self.tell(Told::Staged(slot.version));
                }
            }
            Err(error) => {
                self.disk(&error);
                self.agent.handle_loss(now);
            }
        }
    }

    /// Begins what is staged. Not now, if something is under way: it is said again.
    fn begin(&mut self, signs: &Signs, now: &Now) {
        let is_quiet = signs.is_alarm_active == Some(false);
        if !matches!(self.course, Course::Rest) || self.unsaved.marks || !is_quiet {
            return;
        }
        let load = std::sync::Arc::clone(&self.load);
        // The limits are those of the bundle, and only a loaded one has them: what the baseline takes of them is
        // the bound of memory, which no bundle changes.
        let baseline = Baseline::of(&signs.vitals, &Limits::default());
        match start::begin(&mut self.folder, &self.recipient.gateway, baseline, |pushed| load(pushed)) {
            Ok(Begun::Nothing) => {}
            Ok(Begun::Trial(slot, loaded)) => {
                self.course = Course::Applying(slot, limits(&loaded.config));
                self.restore(Some(slot));
                self.orders.push_back(Order::Apply(Box::new(loaded.config), false));
            }
            Ok(Begun::Bad(slot, reason)) => self.tell(Told::TakenBack(slot.version, reason)),
            Ok(Begun::Dropped(slot, reason)) => {
                self.agent.handle_loss(now);
                self.tell(Told::Dropped(slot.version, reason));
            }
            Err(error) => self.disk(&error),
        }
    }

    /// What is read again from now on is read with this bundle.
    pub(super) fn restore(&self, slot: Option<Slot>) {
        match slot.map(|slot| start::read(&self.folder, slot, &self.recipient.gateway)).transpose() {
            Ok(pushed) => self.effective.set(pushed),
            Err(fault) => {
                let why = fault.into_words();
                if !self.effective.is_lost() {
                    tracing::error!(
                        why,
                        "what the bundle pushes cannot be read: nothing is read again until it can"
                    );
                }
                self.effective.lose(why);
            }
        }
    }

    /// One step of what is tried.
    fn drive(&mut self, signs: &Signs, now: &Now) {
        match &self.course {
            Course::Trying(trial, counted) => {
                let step = trial.handle_vitals(&since(&signs.vitals, counted), now.mono);
                self.judged(step);
            }
            Course::Ending(..) | Course::Rest | Course::Applying(..) | Course::Returning(_) => {}
        }
        if let Course::Ending(verdict, is_applied) = &self.course {
            let (verdict, is_applied) = (verdict.clone(), *is_applied);
            self.end(&verdict, is_applied, now);
        }
        if matches!(self.course, Course::Returning(Some(at)) if at <= now.mono) {
            self.go_back(now);
        }
    }

    fn judged(&mut self, step: Step) {
        match step {
            Step::Wait(failing) => self.waits_for = failing,
            Step::RollBack(failing) => self.course = Course::Ending(Verdict::Bad(failing.to_string()), true),
            Step::Commit(unproven) => match self.folder.step(Change::commit) {
                Ok(slot) => {
                    (self.course, self.waits_for, self.trouble) = (Course::Rest, Vec::new(), None);
                    if let Some(slot) = slot {
                        let unproven = unproven.iter().map(Failing::to_string).collect();
                        self.tell(Told::Committed(slot.version, unproven));
                    }
                }
                Err(error) => self.disk(&error),
            },
        }
    }

    /// Takes the bundle back, durably; then its configuration is undone.
    fn end(&mut self, verdict: &Verdict, is_applied: bool, now: &Now) {
        let step = |change: &mut Change| match verdict {
            Verdict::Bad(reason) => change.roll_back(reason),
            Verdict::Abandoned(_) => change.abandon(),
        };
        let slot = match self.folder.step(step) {
            Ok(slot) => slot,
            Err(error) => return self.disk(&error),
        };
        let version = slot.map_or(0, |slot| slot.version);
        match verdict {
            Verdict::Bad(reason) => self.tell(Told::TakenBack(version, reason.clone())),
            Verdict::Abandoned(reason) => {
                self.agent.handle_loss(now);
                self.tell(Told::Dropped(version, reason.clone()));
            }
        }
        self.waits_for = Vec::new();
        self.course = if is_applied { Course::Returning(Some(now.mono)) } else { Course::Rest };
    }

    /// The configuration of before is to be in force again; the files, where its bundle does not load any more.
    fn go_back(&mut self, now: &Now) {
        let load = std::sync::Arc::clone(&self.load);
        match start::base(&self.folder, &self.recipient.gateway, &|pushed| load(pushed)) {
            Ok(Base { loaded, bundle, trouble }) => {
                self.restore(bundle);
                self.back_to = trouble;
                self.course = Course::Returning(None);
                self.orders.push_back(Order::Apply(Box::new(loaded.config), true));
            }
            Err(fault) => {
                self.restore(self.folder.change().running());
                self.not_returned(fault.into_words(), now.mono);
            }
        }
    }

    fn returned(&mut self) {
        if let Some(why) = self.back_to.take() {
            self.troubled(why, Told::FilesRun);
        } else {
            self.trouble = None;
            self.tell(Told::Returned);
        }
    }

    fn not_returned(&mut self, why: String, now: Mono) {
        self.course = Course::Returning(Some(now + AGAIN));
        self.troubled(why, Told::NotReturned);
    }

    /// Something else runs than what stood its trial: told once for each reason.
    fn troubled(&mut self, why: String, told: fn(String) -> Told) {
        if self.trouble.as_ref() != Some(&why) {
            self.tell(told(why.clone()));
        }
        self.trouble = Some(why);
    }

    fn tell(&mut self, told: Told) {
        self.orders.push_back(Order::Tell(told));
    }

    fn disk(&mut self, error: &FolderError) {
        self.told.disk(&mut self.orders, error);
    }
}

/// Counted from the beginning of the trial on.
fn since(vitals: &Vitals, counted: &Counted) -> Vitals {
    Vitals {
        taken: vitals.taken.saturating_sub(counted.taken),
        kept: vitals.kept.saturating_sub(counted.kept),
        read: vitals.read.saturating_sub(counted.read),
        decoded: vitals.decoded.saturating_sub(counted.decoded),
        undecoded: vitals.undecoded.saturating_sub(counted.undecoded),
        ..vitals.clone()
    }
}
