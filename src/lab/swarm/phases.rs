//! What is done to the swarm, one after the other, and what must come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::documents::Signed;
use super::figures::{Marks, Phase, Wave};
use super::gateway::{self, lock};
use super::tally::{Return, Tally, What, began, part, those};
use super::{Swarm, say};
use crate::backoff::Random as _;
use crate::fleet::documents::Timestamp;
use crate::fleet::member::Told;
use crate::fleet::turn::{Turn, turn};
use crate::host::random::SystemRandomness;
use crate::lab::bench::machine::{Memory, processor_seconds, ratio};
use crate::time::{Mono, Wall};

/// Between two looks of the guard.
const LOOK: Duration = Duration::from_millis(500);
/// How long after the second wave would have begun it is looked whether it has: the member is given the time each
/// second.
const AFTER: Duration = Duration::from_secs(2);
/// Gateways that go first.
const CANARIES: usize = 2;
/// What the broker counts: bytes of MQTT, without TLS and TCP.
const COUNTED: [&str; 2] = ["$SYS/broker/bytes/sent", "$SYS/broker/bytes/received"];

impl Swarm {
    fn all(&self) -> usize {
        self.names.len()
    }

    fn mark(&self) -> anyhow::Result<Marks> {
        let counted = self.desk.numbers(&COUNTED)?;
        let [sent, received] = COUNTED.map(|topic| counted.get(topic).copied().unwrap_or(0));
        Ok(Marks {
            at: self.tally.now().mono,
            sent,
            received,
            processor: processor_seconds(),
            broker: self.broker.processor_seconds(),
        })
    }

    fn phase(&mut self, name: &str, from: &Marks, guard: usize) -> anyhow::Result<()> {
        let phase = Phase::between(name, from, &self.mark()?, guard, self.all());
        self.figures.phases.push(phase);
        Ok(())
    }

    /// Starts them, spread over the ramp.
    pub(super) fn boot(&mut self) -> anyhow::Result<()> {
        say("gateways");
        let (from, before) = (self.mark()?, Memory::now());
        let mut dice = SystemRandomness::new();
        let step = self.course.ramp / u32::try_from(self.all()).unwrap_or(u32::MAX).max(1);
        for (number, pair) in self.pairs.iter().enumerate() {
            let _within = self.runtime.enter();
            self.seats.push(gateway::start(&self.ward, number, pair, &mut self.supervisor)?);
            let due = from.at + step * u32::try_from(number).unwrap_or(u32::MAX);
            let jitter = Duration::from_millis(
                dice.next_u64() % u64::try_from(step.as_millis()).unwrap_or(0).saturating_add(1),
            );
            self.tally.pass(due.since(self.tally.now().mono) + jitter);
        }
        let all = self.all();
        let is_up = self.tally.wait(self.course.patience, |events| Tally::online(events) == all);
        let online = self.tally.look(Tally::online);
        self.figures.promise("every gateway connects", is_up, format!("{online} of {all}"));
        let now = Memory::now();
        self.figures.boot = self.tally.look(|events| Return::of(events, from.at, from.at, 0));
        self.figures.memory_mib = now.rss;
        self.figures.memory_kib_per_gateway = (now.rss - before.rss) * 1_024.0 / self.per();
        self.figures.threads = threads();
        self.phase("boot", &from, 0)
    }

    fn per(&self) -> f64 {
        ratio(u64::try_from(self.all()).unwrap_or(1), 1)
    }

    /// A good bundle, wave by wave.
    pub(super) fn good(&mut self) -> anyhow::Result<()> {
        let waves = self.course.good;
        let (from, now) = (self.mark()?, self.tally.now().wall);
        let bundle = self.signer.bundle(1, true, now)?;
        self.figures.bundle_bytes = bundle.bytes.len();
        let canaries: Vec<String> = self.names.iter().take(CANARIES).cloned().collect();
        let stamp = self.publish(&bundle, &canaries, &waves, now)?;
        self.reaches_all(&stamp, &waves)?;
        self.figures.waves = self.waves(&stamp);
        let waves = &self.figures.waves;
        let early: usize = waves.iter().map(|wave| wave.early).sum();
        let (fits, detail) = Wave::fits(waves, self.all());
        self.figures.promise("nobody begins before its turn", early == 0, format!("{early} did"));
        self.figures.promise("the waves are as large as they say", fits, detail);
        self.phase("good bundle", &from, 0)
    }

    fn publish(
        &mut self,
        bundle: &Signed,
        canaries: &[String],
        waves: &[(u16, u64)],
        now: Wall,
    ) -> anyhow::Result<Timestamp> {
        let rollout = self.signer.rollout(bundle.version, canaries, waves, now);
        let (stamp, documents) = self.signer.stamp(bundle, rollout, now)?;
        self.figures.timestamp_bytes = documents.last().map_or(0, |(_, bytes)| bytes.len());
        self.desk.push(&documents)?;
        Ok(stamp)
    }

    /// Everybody stands the trial of it, and nobody takes it back.
    fn reaches_all(&mut self, stamp: &Timestamp, waves: &[(u16, u64)]) -> anyhow::Result<()> {
        let (all, version) = (self.all(), stamp.head.version);
        let last = waves.last().map_or(0, |(_, after)| *after);
        let within = Duration::from_secs(last.saturating_add(self.course.trial)) + self.course.patience;
        let committed = |told: &Told| matches!(told, Told::Committed(one, _) if *one == version);
        let back =
            |told: &Told| matches!(told, Told::TakenBack(one, _) | Told::Dropped(one, _) if *one == version);
        self.tally
            .wait(within, |events| those(events, committed).len() == all || !those(events, back).is_empty());
        let (run, gone_back) =
            self.tally.look(|events| (those(events, committed).len(), those(events, back).len()));
        // What a gateway shows follows what it tells.
        let shown = || self.seats.iter().filter(|seat| seat.view.borrow().bundle == Some(version)).count();
        self.until(|| run < all || shown() == all);
        let shown = shown();
        self.figures.promise(
            &format!("good bundle {version} reaches all"),
            run == all && gone_back == 0 && shown == all,
            format!("{run} of {all} stood its trial, {gone_back} took it back, {shown} run it"),
        );
        anyhow::ensure!(
            gone_back == 0,
            "{gone_back} gateways took good bundle {version} back: {}",
            self.words(version)
        );
        Ok(())
    }

    /// The first reason for which a bundle was taken back.
    fn words(&self, version: u64) -> String {
        let word = |what: &What| match what {
            What::Told(told @ (Told::TakenBack(one, _) | Told::Dropped(one, _))) if *one == version => {
                Some(told.to_string())
            }
            What::Told(_) | What::Online | What::Waits(_) => None,
        };
        let first = self.tally.look(|events| events.iter().find_map(|event| word(&event.what)));
        first.unwrap_or_else(|| "nobody said why".to_owned())
    }

    /// The operator sees that all run it, by reports that prove it. Gives the bytes that were read for that.
    fn proven(&mut self, stamp: &Timestamp) -> anyhow::Result<usize> {
        let (all, began) = (self.all(), self.tally.now().mono);
        let mut bytes = 0usize;
        loop {
            let judged = self.desk.judge(stamp, || self.tally.now().wall)?;
            bytes = bytes.saturating_add(judged.bytes);
            self.figures.look_bytes = judged.bytes;
            let is_over = self.tally.now().mono.since(began) > self.course.patience;
            if judged.run == all || is_over {
                let name = format!("all reports prove bundle {}", stamp.head.version);
                let detail = format!("{} of {all}, {} without a proof", judged.run, judged.unproven);
                self.figures.promise(&name, judged.run == all && judged.unproven == 0, detail);
                return Ok(bytes);
            }
            self.tally.pass(LOOK);
        }
    }

    /// When each began, against the wave that it is in by what anybody can compute.
    fn waves(&self, stamp: &Timestamp) -> Vec<Wave> {
        let begun = self.tally.look(|events| began(events, stamp.head.version));
        let mut waves = Wave::planned(stamp, self.all());
        let mut after: Vec<Vec<f64>> = vec![Vec::new(); waves.len()];
        for (number, name) in self.names.iter().enumerate() {
            let (place, start) = place(stamp, name);
            let (Some(wave), Some(after)) = (waves.get_mut(place), after.get_mut(place)) else { continue };
            wave.members += 1;
            let Some(at) = begun.get(&number) else { continue };
            wave.began += 1;
            let later = at.as_millis().saturating_sub(start.as_millis());
            wave.early += usize::from(later < 0);
            after.push(ratio(u64::try_from(later).unwrap_or(0), 1_000));
        }
        for (wave, mut after) in waves.iter_mut().zip(after) {
            after.sort_by(f64::total_cmp);
            (wave.half_s, wave.last_s) = (part(&after, 50), part(&after, 100));
        }
        waves
    }

    /// Nothing happens: what that costs.
    pub(super) fn rest(&mut self) -> anyhow::Result<()> {
        if self.course.rest.is_zero() {
            return Ok(());
        }
        say("rest");
        let from = self.mark()?;
        self.tally.pass(self.course.rest);
        self.phase("rest", &from, 0)
    }

    /// A bad bundle, and a guard that looks at the reports.
    pub(super) fn bad(&mut self) -> anyhow::Result<()> {
        let waves = self.course.bad;
        let (from, now) = (self.mark()?, self.tally.now().wall);
        let bundle = self.signer.bundle(2, false, now)?;
        let canaries: Vec<String> = self.names.iter().rev().take(CANARIES).cloned().collect();
        let stamp = self.publish(&bundle, &canaries, &waves, now)?;
        // The guard has until the second wave; whether it was in time is seen after that would have begun.
        let second = stamp.rollout.waves.get(1).map_or(now, |wave| wave.start.0);
        let mut guard = self.guard(&stamp, &bundle, second)?;
        let left = second.as_millis().saturating_sub(self.tally.now().wall.as_millis());
        self.tally.pass(Duration::from_millis(u64::try_from(left).unwrap_or(0)) + AFTER);
        guard = guard.saturating_add(self.came_back(&stamp)?);
        self.phase("bad bundle", &from, guard)
    }

    /// Looks at the reports until the roll-out is to stop, and signs that pause.
    fn guard(&mut self, stamp: &Timestamp, bundle: &Signed, until: Wall) -> anyhow::Result<usize> {
        let began = self.tally.now().wall.as_millis();
        let mut bytes = 0usize;
        while self.tally.now().wall < until {
            let judged = self.desk.judge(stamp, || self.tally.now().wall)?;
            bytes = bytes.saturating_add(judged.bytes);
            if let Some(why) = judged.stop {
                let now = self.tally.now().wall;
                let mut paused = stamp.rollout.clone();
                paused.paused = true;
                let (_, documents) = self.signer.stamp(bundle, paused, now)?;
                self.desk.push(&documents)?;
                let after = u64::try_from(now.as_millis().saturating_sub(began)).unwrap_or(0);
                self.figures.stopped_after_s = Some(ratio(after, 1_000));
                self.figures.promise("the guard stops the bad bundle", true, why);
                return Ok(bytes);
            }
            self.tally.pass(LOOK);
        }
        self.figures.promise("the guard stops the bad bundle", false, "it did not before the second wave");
        Ok(bytes)
    }

    /// Who tried it has taken it back by itself, runs the good one, and says so.
    fn came_back(&mut self, stamp: &Timestamp) -> anyhow::Result<usize> {
        let version = stamp.head.version;
        let back = |told: &Told| matches!(told, Told::TakenBack(one, _) if *one == version);
        self.tally.wait(Duration::from_secs(self.course.trial) + self.course.patience, |events| {
            let tried = began(events, version).len();
            those(events, back).len() == tried
                && those(events, |told| matches!(told, Told::Returned)).len() == tried
        });
        let tried = self.tally.look(|events| began(events, version));
        let planned: BTreeSet<usize> = (self.names.iter().enumerate())
            .filter(|(_, name)| place(stamp, name).0 <= 1)
            .map(|(number, _)| number)
            .collect();
        let others = tried.keys().filter(|number| !planned.contains(number)).count();
        let reached = tried.len();
        self.figures.reached = reached;
        self.figures.promise(
            "a bad bundle reaches the canaries and the 1 % wave",
            others == 0 && reached > 0,
            format!(
                "{reached} of {}: {CANARIES} canaries and {} in the wave, {others} others",
                self.all(),
                planned.len() - CANARIES
            ),
        );
        self.until(|| self.returned(&tried) == reached);
        let returned = self.returned(&tried);
        self.figures.promise(
            "every one of them comes back by itself",
            returned == reached,
            format!("{returned} of {reached} run the good bundle; {}", self.words(version)),
        );
        let speaking = self.seats.iter().filter(|seat| lock(&seat.bedside).speaks()).count();
        let detail = format!("{speaking} of {}", self.all());
        self.figures.promise("every bedside is heard after it", speaking == self.all(), detail);
        self.reported_back(stamp, reached)
    }

    /// Lets time pass until something is so, but no more than the patience.
    fn until(&self, is_so: impl Fn() -> bool) {
        let began = self.tally.now().mono;
        while !is_so() && self.tally.now().mono.since(began) < self.course.patience {
            self.tally.pass(Duration::from_millis(20));
        }
    }

    fn returned(&self, tried: &BTreeMap<usize, Wall>) -> usize {
        let is_back = |number: &&usize| {
            let Some(seat) = self.seats.get(**number) else { return false };
            let view = seat.view.borrow();
            view.bundle == Some(1) && view.standing == "failed" && view.trial.is_none()
        };
        tried.keys().filter(is_back).count()
    }

    /// Each of them says in its report that it has failed.
    fn reported_back(&mut self, stamp: &Timestamp, reached: usize) -> anyhow::Result<usize> {
        let began = self.tally.now().mono;
        let mut bytes = 0usize;
        loop {
            let judged = self.desk.judge(stamp, || self.tally.now().wall)?;
            bytes = bytes.saturating_add(judged.bytes);
            let failed = judged.failed.len();
            if failed == reached || self.tally.now().mono.since(began) > self.course.patience {
                let detail = format!("{failed} of {reached} reports");
                self.figures.promise("every one of them says so", failed == reached, detail);
                return Ok(bytes);
            }
            self.tally.pass(LOOK);
        }
    }

    /// The broker dies and comes back; after the last time there is a new bundle as well.
    pub(super) fn outages(&mut self) -> anyhow::Result<()> {
        let outages = self.course.outages;
        for (place, seconds) in outages.iter().enumerate() {
            say(&format!("no broker for {seconds} s"));
            let (gone, back) = self.cut(*seconds)?;
            let from = self.mark()?;
            let is_last = place + 1 == outages.len();
            let stamp = if is_last { Some(self.next()?) } else { None };
            self.all_back(gone, back, *seconds)?;
            let mut guard = 0;
            if let Some(stamp) = stamp {
                self.reaches_all(&stamp, &[])?;
                guard = self.proven(&stamp)?;
            }
            let name = format!("back after {seconds} s{}", if is_last { ", next bundle" } else { "" });
            self.phase(&name, &from, guard)?;
        }
        Ok(())
    }

    fn cut(&mut self, seconds: u64) -> anyhow::Result<(Mono, Mono)> {
        let gone = self.tally.now().mono;
        self.broker.kill()?;
        self.tally.pass(Duration::from_secs(seconds));
        let back = self.tally.now().mono;
        self.broker.restart()?;
        Ok((gone, back))
    }

    /// The next good bundle, for all at once.
    fn next(&mut self) -> anyhow::Result<Timestamp> {
        let now = self.tally.now().wall;
        let bundle = self.signer.bundle(3, true, now)?;
        self.publish(&bundle, &[], &[(10_000, 0)], now)
    }

    fn all_back(&mut self, gone: Mono, back: Mono, seconds: u64) -> anyhow::Result<()> {
        let all = self.all();
        let is_back = self.tally.wait(self.course.patience, |events| {
            let online = events.iter().filter(|event| event.at >= back && event.what == What::Online);
            online.map(|event| event.gateway).collect::<BTreeSet<_>>().len() == all
        });
        let found = self.tally.look(|events| Return::of(events, gone, back, seconds));
        let came: usize = found.per_second.iter().sum();
        let name = format!("all are back after {seconds} s without a broker");
        self.figures.promise(&name, is_back, format!("{came} connections of {all} gateways"));
        // What comes at once after a restart of no time is what the first ceiling lets come; it is told, not judged.
        if seconds > 0 {
            let name = format!("no storm after {seconds} s without a broker");
            let is_calm = ratio(u64::try_from(found.peak)?, 1) <= found.bound;
            let detail = format!(
                "{} in the busiest second, jitter alone gives {:.0}",
                found.peak, found.expected_peak
            );
            self.figures.promise(&name, is_calm, detail);
        }
        self.figures.returns.push(found);
        Ok(())
    }
}

/// In which share a gateway is, and from when on it is its turn: 0 the canaries, then wave by wave.
fn place(stamp: &Timestamp, name: &str) -> (usize, Wall) {
    let waves = &stamp.rollout.waves;
    match turn(&stamp.rollout, name, Wall::from_millis(i64::MIN)) {
        Turn::From(start) => {
            let wave = waves.iter().position(|wave| wave.start.0 == start);
            (wave.map_or(waves.len(), |wave| wave + 1), start)
        }
        Turn::Now => (0, stamp.issued_at.0),
        Turn::NotYet | Turn::Paused => (waves.len() + 1, stamp.issued_at.0),
    }
}

/// Threads of this process.
fn threads() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Threads:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
