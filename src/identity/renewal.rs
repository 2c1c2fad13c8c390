//! When to renew a certificate and what to do next: decisions alone.
//!
//! In: the time, the lifetime of the present certificate, and how the last step went. Out: the next
//! [`Step`]. What never happens: the certificate server or the broker is asked in a hurry; a certificate that
//! did not win a CONNACK takes the place of one that did; a clock that lies before the certificate says for ever
//! that it is not due.

use std::time::Duration;

use super::gate::{Gate, Renewed, drawn};
use crate::backoff::{Backoff, Bounds, Random};
use crate::time::{ClockSync, Mono, Now, Wall};

/// The longest time between two looks: a clock that was stepped is noticed within it.
pub const LOOK: Duration = Duration::from_secs(60);
/// Between two attempts, whatever went wrong.
const BOUNDS: Bounds = Bounds {
    first: Duration::from_secs(2 * 60),
    most: Duration::from_secs(6 * 3_600),
    healthy_after: Duration::from_secs(3_600),
};
/// The least wait: the draw may be zero.
const LEAST: Duration = Duration::from_secs(10);
/// The least wait where somebody has to do something first.
const FOR_A_PERSON: Duration = Duration::from_secs(3_600);
/// The least wait where the server has the request; twice as long with each time that it says so again, up to the
/// second.
const LATER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// So often a certificate is refused by the broker before it is given up and another asked for.
pub const MAX_REFUSALS: u32 = 3;

const DAY_MS: i64 = 86_400_000;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// From.
    pub from: Wall,
    /// Until.
    pub until: Wall,
    /// A number of its own, which spreads a fleet's renewals.
    pub draw: u64,
}

impl Lifetime {
    /// Milliseconds.
    pub(super) fn length(self) -> i64 {
        self.until.as_millis().saturating_sub(self.from.as_millis()).max(0)
    }

    /// When it is to be renewed: at two thirds of its life, up to a tenth of that earlier or later.
    pub fn due(self) -> Wall {
        let two_thirds = self.length() / 3 * 2;
        let tenth = two_thirds / 10;
        let range = u64::try_from(tenth).unwrap_or(0).saturating_mul(2).saturating_add(1);
        let jitter = i64::try_from(self.draw % range).unwrap_or(0) - tenth;
        Wall::from_millis(self.from.as_millis().saturating_add(two_thirds + jitter))
    }

    /// How worrying it is.
    pub fn alarm(self, now: Now) -> Alarm {
        if now.sync == ClockSync::Unsynced {
            return Alarm::None;
        }
        self.alarm_by(now.wall)
    }

    /// The same by a clock that whoever asks vouches for. Whatever judges a certificate's age asks this.
    pub fn alarm_by(self, wall: Wall) -> Alarm {
        let left = self.until.as_millis().saturating_sub(wall.as_millis());
        let urgent = (3 * DAY_MS).min(self.length() / 30);
        match left {
            ..0 => Alarm::Expired,
            left if left < urgent => Alarm::Urgent,
            left if left < self.soon() => Alarm::Soon,
            _ => Alarm::None,
        }
    }

    /// With so many milliseconds left its end is near: of a certificate for days, not weeks, that is less.
    pub fn soon(self) -> i64 {
        (14 * DAY_MS).min(self.length() / 6)
    }

    /// Whether it has run out by the clock, whoever vouches for that.
    pub fn is_past(self, now: Now) -> bool {
        now.wall >= self.until
    }

    /// Whether it is to be renewed: by the clock, which if it is wrong costs a renewal, or by the time that it is
    /// known to be there, as a clock before its first moment cannot be right.
    fn is_due(self, now: Now, age: Duration) -> bool {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let due = self.due();
        now.wall >= due || age >= due.as_millis().saturating_sub(self.from.as_millis()).max(1)
    }
}

/// How worrying a certificate's age is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// Not at all, or the clock cannot be trusted.
    #[default]
    None,
    /// Less than 14 days, or than a sixth of its life.
    Soon,
    /// Less than 3 days, or than a thirtieth of its life.
    Urgent,
    /// It has expired. Readings are collected and kept; the broker will not take them.
    Expired,
}

impl Alarm {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Soon => "soon",
            Self::Urgent => "urgent",
            Self::Expired => "expired",
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for so long at most.
    Rest(Duration),
    /// Ask the certificate server.
    Ask,
    /// Show the next certificate to the broker.
    Try,
}

/// Where the renewal stands, for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not due before this time.
    Good {
        /// When.
        due: Wall,
    },
    /// It is to be asked for.
    Due,
    /// The server has the request and takes its time.
    Waiting {
        /// Asked again then.
        until: Mono,
    },
    /// It went wrong; the present certificate is used.
    Failed {
        /// Tried again then.
        until: Mono,
    },
    /// A next certificate is there and has to win a CONNACK.
    Trying,
    /// The broker did not take the next certificate: the present one is used.
    Fallback {
        /// Tried again then.
        until: Mono,
    },
}

impl State {
    /// As shown to people and machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good { .. } => "good",
            Self::Due => "due",
            Self::Waiting { .. } => "waiting",
            Self::Failed { .. } => "failed",
            Self::Trying => "trying",
            Self::Fallback { .. } => "fallback",
        }
    }
}

/// How it went to ask the certificate server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The next certificate is there.
    Issued(Lifetime),
    /// Later.
    Later(Duration),
    /// It went wrong.
    Failed {
        /// Whether it may go away by itself.
        passes: bool,
        /// What the server wants.
        wait: Option<Duration>,
    },
}

/// How it went to show the next certificate to the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trial {
    /// It won a CONNACK.
    Won,
    /// The broker does not take it, for this reason.
    Refused(String),
    /// There was no broker to say anything.
    Unreachable(String),
}

/// What to do with the next certificate after its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes the place of the present one.
    Promote,
    /// Tried again later.
    Keep,
    /// Given up: another is asked for.
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Server,
    Failure,
    Broker,
}

/// The renewal of one identity.
#[derive(Debug)]
pub struct Renewal {
    present: Lifetime,
    next: Option<Lifetime>,
    pause: Option<(Mono, Why)>,
    refusals: u32,
    /// How often the server said that it takes its time.
    waits: u32,
    backoff: Backoff,
    gate: Gate,
    renewed: Option<Renewed>,
    /// The age of the present certificate that is known, and when it was.
    age: Option<(Duration, Mono)>,
}

impl Renewal {
    /// What is found at a start.
    pub fn new(present: Lifetime, next: Option<Lifetime>) -> Self {
        let (gate, renewed) = (Gate::default(), None);
        let backoff = Backoff::new(BOUNDS);
        Self { present, next, pause: None, refusals: 0, waits: 0, backoff, gate, renewed, age: None }
    }

    /// What is found in the folder later: somebody may have enrolled the gateway again.
    pub fn found(&mut self, present: Lifetime, next: Option<Lifetime>) {
        if self.present != present || self.next != next {
            let age = self.age.filter(|_| self.present == present);
            *self = Self { gate: self.gate, renewed: self.renewed, age, ..Self::new(present, next) };
        }
    }

    /// A look at the clock, at when a certificate was renewed last, and at how old the present one was known to
    /// be. Before each [`step`](Self::step).
    pub fn handle_look(
        &mut self,
        now: Now,
        (renewed, age): (Option<Renewed>, Duration),
        random: &mut dyn Random,
    ) {
        self.gate.handle_look(now, random);
        self.renewed = renewed;
        self.age = Some((age.max(self.age(now.mono)), now.mono));
    }

    /// How long the present certificate has been here at least.
    pub fn age(&self, now: Mono) -> Duration {
        self.age.map_or(Duration::ZERO, |(age, at)| age.saturating_add(now.since(at)))
    }

    /// Whether the server has the request and says so for the first time.
    pub const fn is_first_wait(&self) -> bool {
        self.waits == 1
    }

    fn is_due(&self, now: Now) -> bool {
        self.present.is_due(now, self.age(now.mono))
    }

    /// How long the server is not asked however due the certificate is.
    fn held(&self, now: Now) -> Duration {
        self.gate.left(now.mono).max(self.renewed.map_or(Duration::ZERO, |renewed| renewed.left(now)))
    }

    /// The present certificate.
    pub const fn present(&self) -> Lifetime {
        self.present
    }

    /// What to do now. Asked at every start, after every step, and at least every [`LOOK`].
    pub fn step(&self, now: Now) -> Step {
        if let Some((until, _)) = self.pause
            && now.mono < until
        {
            return Step::Rest(until.since(now.mono).min(LOOK));
        }
        match (self.next, self.is_due(now)) {
            // The server's clock may be ahead of ours: the broker would be right to refuse it now.
            (Some(next), _) if now.sync == ClockSync::Synced && now.wall < next.from => {
                let wait = next.from.as_millis().saturating_sub(now.wall.as_millis());
                Step::Rest(Duration::from_millis(wait.try_into().unwrap_or(0)).min(LOOK))
            }
            (Some(_), _) => Step::Try,
            (None, true) => match self.held(now) {
                Duration::ZERO => Step::Ask,
                held => Step::Rest(held.min(LOOK)),
            },
            (None, false) => Step::Rest(LOOK),
        }
    }

    /// The certificate server was asked.
    pub fn asked(&mut self, asked: Asked, now: Mono, random: &mut dyn Random) {
        let (wait, why) = match asked {
            Asked::Issued(next) => {
                self.found(self.present, Some(next));
                return;
            }
            Asked::Later(wait) => {
                let least = LATER.0.saturating_mul(1 << self.waits.min(16)).min(LATER.1);
                self.waits = self.waits.saturating_add(1);
                (spread(wait.max(least), random), Why::Server)
            }
            Asked::Failed { passes, wait } => {
                let drawn = self.backoff.handle_failure(now, random).max(LEAST);
                let drawn = if passes { drawn } else { drawn.max(FOR_A_PERSON) };
                (wait.map_or(drawn, |wait| spread(wait, random).max(drawn)), Why::Failure)
            }
        };
        self.pause = Some((now + wait, why));
    }

    /// The next certificate was shown to the broker.
    pub fn tried(&mut self, trial: &Trial, now: Mono, random: &mut dyn Random) -> Verdict {
        let (why, verdict) = match trial {
            Trial::Won => return Verdict::Promote,
            Trial::Unreachable(_) => (Why::Failure, Verdict::Keep),
            Trial::Refused(_) => {
                self.refusals += 1;
                let is_last = self.refusals >= MAX_REFUSALS;
                (Why::Broker, if is_last { Verdict::Drop } else { Verdict::Keep })
            }
        };
        let mut wait = self.backoff.handle_failure(now, random).max(LEAST);
        if verdict == Verdict::Drop {
            // Another one of the same server will hardly fare better soon.
            (self.next, self.refusals, wait) = (None, 0, wait.max(FOR_A_PERSON));
        }
        self.pause = Some((now + wait, why));
        verdict
    }

    /// Where it stands.
    pub fn state(&self, now: Now) -> State {
        match (self.pause.filter(|(until, _)| now.mono < *until), self.next) {
            (Some((until, Why::Server)), _) => State::Waiting { until },
            (Some((until, Why::Failure)), _) => State::Failed { until },
            (Some((until, Why::Broker)), _) => State::Fallback { until },
            (None, Some(_)) => State::Trying,
            (None, None) if self.is_due(now) => State::Due,
            (None, None) => State::Good { due: self.present.due() },
        }
    }
}

/// A wait that the server gave to many at once, and up to a quarter more.
fn spread(wait: Duration, random: &mut dyn Random) -> Duration {
    wait + drawn(wait / 4, random)
}

#[cfg(test)]
mod tests;
