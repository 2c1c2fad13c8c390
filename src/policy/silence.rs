//! Silence is data: what is told when nothing is known of a device for longer than its rule allows.
//!
//! In: since when nothing of the device was admitted, and the time. Out: one alarm edge when the
//! silence is noticed and one when it ends, which says from when to when nothing was known: the gap
//! record of a device. `MDC_EVT_COMM_LOST` with the code [`CODE`].
//!
//! A rack that has nothing to say of itself is well as long as something behind its port is: what is
//! admitted of a part counts for the device behind whose port it is, too.
//!
//! These are the gateway's own words about the asset, so they need no identity and no entry in
//! `elements`. What is told of a device goes on when its entry changes and it stays the same asset: only a reading
//! is a sign of life. While a device is in quarantine nothing passes under its name, not even these: a silence
//! that is due then is told as soon as the right device speaks, with the time at which it began.

use std::time::Duration;

use crate::device::nomenclature as mdc;
use crate::device::observation::{Alarm, Kind, Observation, Phase, Priority, Quality, Status, Value};
use crate::time::Now;

/// What is known of one device's signs of life. It goes on with the device when its entry changes and it stays the
/// same device: nothing that was said of it was heard, so nothing is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// When it was put on the allowlist; `None`: it was there from the start.
    listed: Option<Now>,
    /// When something of it, or of a part behind its port, was last admitted.
    last_sign: Option<Now>,
    /// The last that was known before the present silence was told.
    silent: Option<Known>,
    /// How often a silence of it was told.
    silences: u64,
}

impl Watch {
    /// Of a device that was put on the allowlist just now.
    pub(super) fn listed(now: Now) -> Self {
        Self { listed: Some(now), ..Self::default() }
    }

    /// Since when nothing is known of it, while that is longer than it may be quiet.
    pub(super) fn silent_since(&self) -> Option<Now> {
        self.silent.map(Known::at)
    }

    pub(super) const fn silences(&self) -> u64 {
        self.silences
    }

    /// The last that is known of it in this run of the daemon, which began then.
    fn known(&self, begun: Option<Now>) -> Option<Known> {
        let since = self.listed.map(Known::Listed).or_else(|| begun.map(Known::Since));
        self.last_sign.map(Known::Reading).or(since)
    }

    /// Tells of a silence that is due, once.
    pub(super) fn handle_silence(
        &mut self,
        quiet: Duration,
        begun: Option<Now>,
        now: Now,
    ) -> Option<Observation> {
        let known = self.known(begun).filter(|known| known.is_silence(quiet, now))?;
        if self.silent.is_some() {
            return None;
        }
        self.silent = Some(known);
        self.silences = self.silences.saturating_add(1);
        Some(known.begun(quiet))
    }

    /// Something of it, or of a part behind its port, was admitted: a silence is over. When nobody looked while
    /// it lasted, its beginning is told as well.
    pub(super) fn handle_sign(
        &mut self,
        quiet: Option<Duration>,
        begun: Option<Now>,
        at: Now,
    ) -> Vec<Observation> {
        let late = quiet.and_then(|quiet| self.handle_silence(quiet, begun, at));
        self.last_sign = Some(at);
        late.into_iter().chain(self.silent.take().map(|known| known.ended(at))).collect()
    }

    /// Nobody waits for the end of a silence any more.
    pub(super) fn handle_dropped(&mut self, at: Now) -> Option<Observation> {
        self.silent.take().map(|known| known.dropped(at))
    }
}

/// The alarm's code: no device has it, as none says it.
pub(super) const CODE: &str = "wardline:silent";

/// The last that was known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Nothing in this run of the daemon, which began then.
    Since(Now),
    /// Nothing since it was put on the allowlist, which was then.
    Listed(Now),
    /// Its last reading, then.
    Reading(Now),
}

impl Known {
    /// When that was.
    const fn at(self) -> Now {
        match self {
            Self::Since(at) | Self::Listed(at) | Self::Reading(at) => at,
        }
    }

    /// Whether that is too long ago.
    fn is_silence(self, quiet: Duration, now: Now) -> bool {
        now.mono.since(self.at().mono) >= quiet
    }

    /// The alarm edge that tells of the silence.
    fn begun(self, quiet: Duration) -> Observation {
        let since = match self {
            Self::Since(at) => format!("this gateway started at {}", at.wall),
            Self::Listed(at) => format!("it was listed at {}", at.wall),
            Self::Reading(at) => at.wall.to_string(),
        };
        let most = quiet.as_secs();
        edge(
            Phase::Start,
            format!(
                "nothing is known of this device since {since}: it gave no reading for more than {most} s"
            ),
        )
    }

    /// The alarm edge that tells of its end.
    fn ended(self, at: Now) -> Observation {
        let (from, to) = (self.at().wall, at.wall);
        edge(Phase::End, format!("nothing was known of this device from {from} to {to}"))
    }

    /// The alarm edge that tells that nobody waits for its end any more.
    fn dropped(self, at: Now) -> Observation {
        let (from, to) = (self.at().wall, at.wall);
        let text = format!(
            "nothing was known of this device from {from} to {to}, when its entry in the allowlist was taken away, became another asset's or watches no more"
        );
        edge(Phase::End, text)
    }
}

fn edge(phase: Phase, text: String) -> Observation {
    let alarm = Alarm { code: CODE.to_owned(), text, phase, priority: Priority::Medium, is_silenced: false };
    Observation {
        metric: &mdc::EVT_COMM_LOST,
        channel: 0,
        value: Value::Alarm(alarm),
        unit: &mdc::DIMENSIONLESS,
        modality: 0,
        kind: Kind::Alarm,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}
