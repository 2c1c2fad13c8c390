//! What is subscribed to, and what came of it.

use super::{Collector, Outcome, Phase, Profile, SETUP_LIMIT, SILENCE_LIMIT, Subscription};
use crate::device::{Action, Fault, FaultKind};
use crate::link::gatt::CURRENT_TIME;
use crate::link::{Characteristic, LinkCommand, NOT_OFFERED};
use crate::time::Mono;

impl Collector {
    pub(super) fn subscribe(&mut self, now: Mono) {
        self.phase = Phase::Subscribing;
        self.deadline = Some(now + SETUP_LIMIT);
        let data = self.profiles.iter().flat_map(|profile| profile.row.subscribes.iter().copied());
        // Control points last: what they announce must not come before it can be heard.
        let keeping = self.profiles.iter().filter(|profile| profile.decoder.keeps_records());
        let controls = keeping.filter_map(Profile::control).chain(self.consent_control());
        let wanted = data.map(|data| (data, false)).chain(controls.map(|control| (control, true)));
        let outcome = Outcome::Pending;
        self.subscriptions = wanted
            .map(|(characteristic, is_control)| Subscription { characteristic, outcome, is_control })
            .collect();
        let commands = self.subscriptions.iter().map(|wanted| LinkCommand::Subscribe(wanted.characteristic));
        self.actions.extend(commands.map(Action::Command));
    }

    pub(super) fn handle_subscribed(&mut self, to: Characteristic, result: &Result<(), String>, now: Mono) {
        let pending =
            |entry: &&mut Subscription| entry.characteristic == to && entry.outcome == Outcome::Pending;
        let Some(entry) = self.subscriptions.iter_mut().find(pending) else {
            return self.report(FaultKind::Unexpected, format!("a subscription to {to:?} that nobody made"));
        };
        entry.outcome = match result {
            Ok(()) => Outcome::Subscribed,
            Err(reason) if reason == NOT_OFFERED => Outcome::NotOffered,
            Err(reason) if entry.is_control && self.phase == Phase::Subscribing => {
                self.setting.bar();
                let what = "could not be subscribed to, what it is to give is not fetched";
                let detail = format!("{to:?} {what}: {reason}");
                self.actions.push_back(Action::Report(Fault::new(FaultKind::Refused, detail)));
                Outcome::NotOffered
            }
            Err(reason) if to == CURRENT_TIME && self.phase == Phase::Subscribing => {
                let detail = format!(
                    "{to:?} could not be subscribed to, its clock is only read once a connection: {reason}"
                );
                self.actions.push_back(Action::Report(Fault::new(FaultKind::Refused, detail)));
                Outcome::NotOffered
            }
            Err(reason) => {
                let detail = format!("{to:?} could not be subscribed to: {reason}");
                return self.give_up(FaultKind::Refused, detail);
            }
        };
        if self.subscriptions.iter().any(|entry| entry.outcome == Outcome::Pending) {
            return;
        }
        match self.phase {
            Phase::Running => self.handle_subscribed_again(now),
            Phase::Down | Phase::Identifying | Phase::Asking | Phase::Subscribing => {
                self.conclude_subscriptions(now);
            }
        }
    }

    /// A profile may leave some of its characteristics out, but not all.
    fn conclude_subscriptions(&mut self, now: Mono) {
        let offers = |profile: &&Profile| {
            // What can only be read gave its answer already.
            self.answered.contains(&profile.row.service)
                || profile.row.subscribes.is_empty()
                // A device may do without a clock: then its stamps are not placed.
                || profile.row.service == CURRENT_TIME.service
                || self.subscriptions.iter().any(|entry| {
                    entry.outcome == Outcome::Subscribed
                        && profile.row.subscribes.contains(&entry.characteristic)
                })
        };
        if let Some(profile) = self.profiles.iter().find(|profile| !offers(profile)) {
            let (service, title) = (profile.row.service, profile.row.title);
            let detail = format!("it offers nothing of {title} ({service:04X}): correct its `profiles`");
            return self.give_up(FaultKind::Refused, detail);
        }
        self.phase = Phase::Running;
        self.deadline = self.silence_deadline(now);
        self.give_consent(now);
        self.ask_for_records(now);
        self.pins.handle_ready();
    }

    pub(super) fn silence_deadline(&self, now: Mono) -> Option<Mono> {
        let is_episodic =
            |of: &Characteristic| self.profiles.iter().any(|profile| profile.row.episodic.contains(of));
        let streams = self
            .subscriptions
            .iter()
            .filter(|entry| !entry.is_control && !is_episodic(&entry.characteristic))
            .any(|entry| entry.outcome == Outcome::Subscribed);
        streams.then(|| now + SILENCE_LIMIT)
    }
}
