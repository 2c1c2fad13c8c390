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
//! `elements`. While a device is in quarantine nothing passes under its name, not even these: a silence
//! that is due then is told as soon as the right device speaks, with the time at which it began.

use std::time::Duration;

use crate::device::nomenclature as mdc;
use crate::device::observation::{Alarm, Kind, Observation, Phase, Priority, Quality, Status, Value};
use crate::time::Now;

/// The alarm's code: no device has it, as none says it.
pub(super) const CODE: &str = "wardline:silent";

/// The last that was known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing in this run of the daemon, which began then.
    Since(Now),
    /// Nothing since it was put on the allowlist, which was then.
    Listed(Now),
    /// Its last reading, then.
    Reading(Now),
}

impl Known {
    /// When that was.
    pub(super) const fn at(self) -> Now {
        match self {
            Self::Since(at) | Self::Listed(at) | Self::Reading(at) => at,
        }
    }

    /// Whether that is too long ago.
    pub(super) fn is_silence(self, quiet: Duration, now: Now) -> bool {
        now.mono.since(self.at().mono) >= quiet
    }

    /// The alarm edge that tells of the silence.
    pub(super) fn begun(self, quiet: Duration) -> Observation {
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
    pub(super) fn ended(self, at: Now) -> Observation {
        let (from, to) = (self.at().wall, at.wall);
        edge(Phase::End, format!("nothing was known of this device from {from} to {to}"))
    }

    /// The alarm edge that tells that nobody waits for its end any more.
    pub(super) fn dropped(self, at: Now) -> Observation {
        let (from, to) = (self.at().wall, at.wall);
        let text = format!(
            "nothing was known of this device from {from} to {to}, when its entry in the allowlist was taken away or changed"
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
