//! What was measured, and whether the promises held.

use std::fmt::Write as _;

use serde::Serialize;

use super::tally::Return;
use crate::fleet::documents::Timestamp;
use crate::lab::bench::machine::ratio;
use crate::time::Mono;

/// How many standard deviations of chance a share may be away from what it says.
const CHANCE: f64 = 4.0;

/// Everything.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) gateways: usize,
    pub(super) seed: u64,
    pub(super) fast: bool,
    /// Of this process, which holds all gateways and the operator.
    pub(super) memory_mib: f64,
    /// What the gateways added to it.
    pub(super) memory_kib_per_gateway: f64,
    pub(super) threads: u64,
    pub(super) broker_memory_mib: f64,
    /// One bundle of all of them, one timestamp, as they travel.
    pub(super) bundle_bytes: usize,
    pub(super) timestamp_bytes: usize,
    /// What one look of the guard reads.
    pub(super) look_bytes: usize,
    pub(super) boot: Return,
    pub(super) waves: Vec<Wave>,
    /// Gateways that tried the bad bundle.
    pub(super) reached: usize,
    /// How long after it was published the guard stopped it.
    pub(super) stopped_after_s: Option<f64>,
    pub(super) returns: Vec<Return>,
    pub(super) phases: Vec<Phase>,
    pub(super) promises: Vec<Promise>,
}

/// Something that must hold.
#[derive(Debug, Serialize)]
pub(super) struct Promise {
    pub(super) name: String,
    pub(super) holds: bool,
    pub(super) detail: String,
}

/// A wave of the good bundle.
#[derive(Debug, Default, Serialize)]
pub(super) struct Wave {
    pub(super) name: String,
    /// What its share of all comes to.
    pub(super) nominal: f64,
    /// All up to it, in hundredths of a percent.
    pub(super) share: u16,
    /// Those whose place is in it.
    pub(super) members: usize,
    pub(super) began: usize,
    /// Those that began before its start.
    pub(super) early: usize,
    /// From its start until half of them, and all, had begun, in seconds.
    pub(super) half_s: f64,
    pub(super) last_s: f64,
}

/// What was counted at one moment.
pub(super) struct Marks {
    pub(super) at: Mono,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) processor: f64,
    pub(super) broker: f64,
}

/// What a phase cost.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: String,
    pub(super) seconds: f64,
    /// Bytes of MQTT that the broker sent to a gateway, and took from it; without what the operator read.
    pub(super) down_per_gateway: f64,
    pub(super) up_per_gateway: f64,
    /// What the operator read.
    pub(super) operator_bytes: usize,
    /// Processor milliseconds of a gateway, and of the broker for it.
    pub(super) processor_ms_per_gateway: f64,
    pub(super) broker_ms_per_gateway: f64,
}

impl Phase {
    pub(super) fn between(name: &str, from: &Marks, to: &Marks, operator: usize, gateways: usize) -> Self {
        let per = ratio(u64::try_from(gateways).unwrap_or(1), 1);
        let read = u64::try_from(operator).unwrap_or(0);
        let each = |part: u64| ratio(part, u64::try_from(gateways).unwrap_or(1));
        Self {
            name: name.to_owned(),
            seconds: to.at.since(from.at).as_secs_f64(),
            down_per_gateway: each(to.sent.saturating_sub(from.sent).saturating_sub(read)),
            up_per_gateway: each(to.received.saturating_sub(from.received)),
            operator_bytes: operator,
            processor_ms_per_gateway: (to.processor - from.processor) * 1_000.0 / per,
            broker_ms_per_gateway: (to.broker - from.broker) * 1_000.0 / per,
        }
    }
}

impl Wave {
    /// The canaries and the waves of a roll-out, empty.
    pub(super) fn planned(stamp: &Timestamp, gateways: usize) -> Vec<Self> {
        let canaries = stamp.rollout.canaries.len();
        let mut waves = vec![Self {
            name: "canaries".to_owned(),
            nominal: ratio(u64::try_from(canaries).unwrap_or(0), 1),
            ..Self::default()
        }];
        let others = u64::try_from(gateways.saturating_sub(canaries)).unwrap_or(0);
        let mut before = 0;
        for wave in &stamp.rollout.waves {
            let width = u64::from(wave.share.saturating_sub(before));
            before = wave.share;
            waves.push(Self {
                name: format!("{} %", f64::from(wave.share) / 100.0),
                nominal: ratio(others.saturating_mul(width), 10_000),
                share: wave.share,
                ..Self::default()
            });
        }
        waves
    }

    /// Whether as many are in each wave as its share says, but for chance: a gateway's place is a hash. Also in words.
    pub(super) fn fits(waves: &[Self], gateways: usize) -> (bool, String) {
        let canaries = waves.first().map_or(0, |wave| wave.members);
        let others = ratio(u64::try_from(gateways.saturating_sub(canaries)).unwrap_or(0), 1);
        let (mut so_far, mut fits, mut words) = (0, true, Vec::new());
        for wave in waves.iter().skip(1) {
            so_far += wave.members;
            let share = f64::from(wave.share) / 10_000.0;
            let away = (ratio(u64::try_from(so_far).unwrap_or(0), 1) - others * share).abs();
            fits &= away <= CHANCE * (others * share * (1.0 - share)).sqrt() + 0.5;
            words.push(format!("{}: {so_far} of {:.1}", wave.name, others * share));
        }
        (fits, words.join(", "))
    }
}

impl Figures {
    pub(super) fn new(gateways: usize, seed: u64, fast: bool) -> Self {
        Self { gateways, seed, fast, ..Self::default() }
    }

    pub(super) fn promise(&mut self, name: &str, holds: bool, detail: impl Into<String>) {
        self.promises.push(Promise { name: name.to_owned(), holds, detail: detail.into() });
    }

    /// Whether all promises held.
    pub(super) fn holds(&self) -> bool {
        !self.promises.is_empty() && self.promises.iter().all(|promise| promise.holds)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text.truncate(text.trim_end().len());
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "{} gateways, seed {}: {:.0} KiB of memory each ({:.0} MiB in all), {} threads; broker {:.0} MiB",
            self.gateways,
            self.seed,
            self.memory_kib_per_gateway,
            self.memory_mib,
            self.threads,
            self.broker_memory_mib
        )?;
        writeln!(
            text,
            "a bundle has {} bytes, a timestamp {}, a look of the guard reads {}\n",
            self.bundle_bytes, self.timestamp_bytes, self.look_bytes
        )?;
        writeln!(
            text,
            "{:<28}{:>8}{:>13}{:>13}{:>13}{:>13}",
            "each gateway", "s", "B down", "B up", "CPU ms", "broker ms"
        )?;
        for phase in &self.phases {
            writeln!(
                text,
                "{:<28}{:>8.1}{:>13.0}{:>13.0}{:>13.1}{:>13.2}",
                phase.name,
                phase.seconds,
                phase.down_per_gateway,
                phase.up_per_gateway,
                phase.processor_ms_per_gateway,
                phase.broker_ms_per_gateway
            )?;
        }
        writeln!(
            text,
            "\n{:<12}{:>10}{:>10}{:>10}{:>12}{:>12}",
            "wave", "nominal", "members", "began", "half after", "all after"
        )?;
        for wave in &self.waves {
            writeln!(
                text,
                "{:<12}{:>10.1}{:>10}{:>10}{:>10.1} s{:>10.1} s",
                wave.name, wave.nominal, wave.members, wave.began, wave.half_s, wave.last_s
            )?;
        }
        let stopped = self.stopped_after_s.map_or_else(|| "never".to_owned(), |s| format!("after {s:.1} s"));
        writeln!(text, "\nthe bad bundle reached {}, and was stopped {stopped}\n", self.reached)?;
        self.write_returns(text)?;
        for promise in &self.promises {
            let word = if promise.holds { "holds " } else { "BROKEN" };
            writeln!(text, "{word}  {}: {}", promise.name, promise.detail)?;
        }
        Ok(())
    }

    fn write_returns(&self, text: &mut String) -> std::fmt::Result {
        let away = self.returns.iter().map(|found| {
            let jitter = format!(" (full jitter gives {:.0})", found.expected_peak);
            (format!("{} s away", found.outage_s), jitter, found)
        });
        for (name, jitter, found) in
            std::iter::once(("boot".to_owned(), String::new(), &self.boot)).chain(away)
        {
            let shown: Vec<String> = found.per_second.iter().take(60).map(ToString::to_string).collect();
            writeln!(
                text,
                "{name}: at most {} connections/s{jitter}, 50 % after {:.1} s, 90 % {:.1} s, all {:.1} s; \
                 {} attempts failed\n  each second: {}",
                found.peak,
                found.half_s,
                found.most_s,
                found.all_s,
                found.failed_attempts,
                shown.join(" ")
            )?;
        }
        writeln!(text)
    }
}
