//! Whether a gateway is as well under a new bundle as it was before: what decides a trial.
//!
//! In: what was measured before the bundle was applied, what is measured now, and how long the trial has
//! run. Out: wait, commit, or roll back with the condition that does not hold. A condition is asked for
//! only if it held before: a bundle is not blamed for a broker that was away already, but it may not be
//! the reason that the gateway goes silent.

use std::fmt;
use std::time::Duration;

/// How long things may take. A bundle may lengthen them; the floor of the gateway says how little is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a trial runs before it can be stood.
    pub trial: Duration,
    /// Within what the broker must have taken a record of its own.
    pub uplink: Duration,
    /// The most resident memory, in bytes.
    pub memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { trial: Duration::from_secs(300), uplink: Duration::from_secs(120), memory: 64 << 20 }
    }
}

/// What is measured of a gateway.
#[expect(clippy::struct_excessive_bools, reason = "each is one measurement, none excludes another")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Whether the broker takes what is sent.
    pub is_uplink_up: bool,
    /// How long ago the broker took the newest record.
    pub since_puback: Option<Duration>,
    /// Whether what was written to the store could be read again.
    pub is_store_sound: bool,
    /// The devices that the configuration names.
    pub devices: Vec<DeviceVitals>,
    /// Values that were understood, and that were not, since the measurement began.
    pub decoded: u64,
    /// What could not be understood.
    pub undecoded: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// Whether every part of the daemon moves.
    pub is_alive: bool,
    /// Whether the certificate is still good.
    pub is_certificate_good: bool,
}

/// What is measured of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceVitals {
    /// Its id.
    pub id: String,
    /// How long ago it gave its newest reading; none: never.
    pub since_reading: Option<Duration>,
    /// How long it may give none before that is told.
    pub quiet: Duration,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The broker takes what is sent.
    Uplink,
    /// The store keeps what is written.
    Store,
    /// Every device is back.
    Devices,
    /// What devices say is understood.
    Decoding,
    /// Memory is within its bound.
    Memory,
    /// Every part moves.
    Alive,
    /// The certificate is good.
    Certificate,
}

impl Condition {
    /// The word of reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Store => "store",
            Self::Devices => "devices",
            Self::Decoding => "decoding",
            Self::Memory => "memory",
            Self::Alive => "alive",
            Self::Certificate => "certificate",
        }
    }
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Which one.
    pub condition: Condition,
    /// What is seen.
    pub seen: String,
    /// Whether it may still come.
    pub may_come: bool,
}

impl fmt::Display for Failing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.condition.as_str(), self.seen)
    }
}

/// What a trial has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on; what does not hold yet.
    Wait(Vec<Failing>),
    /// It is stood.
    Commit,
    /// It failed.
    RollBack(Failing),
}

/// Decides a trial that has run for `since`.
pub fn judge(before: &Vitals, now: &Vitals, since: Duration, limits: &Limits) -> Step {
    let mut failing = failing(before, now, since, limits);
    if let Some(place) = failing.iter().position(|failing| !failing.may_come) {
        return Step::RollBack(failing.swap_remove(place));
    }
    if since < limits.trial {
        return Step::Wait(failing);
    }
    match failing.into_iter().next() {
        Some(failing) => Step::RollBack(failing),
        None => Step::Commit,
    }
}

fn failing(before: &Vitals, now: &Vitals, since: Duration, limits: &Limits) -> Vec<Failing> {
    let mut failing = Vec::new();
    let mut fails = |condition, seen: String, may_come| failing.push(Failing { condition, seen, may_come });
    let has_puback = now.since_puback.is_some_and(|ago| ago <= since);
    if before.is_uplink_up && !(now.is_uplink_up && has_puback) {
        let seen =
            if now.is_uplink_up { "nothing of this trial was taken by the broker" } else { "no connection" };
        fails(Condition::Uplink, format!("{seen} after {} s", since.as_secs()), since < limits.uplink);
    }
    if !now.is_store_sound {
        fails(Condition::Store, "what was written could not be read again".to_owned(), false);
    }
    for device in &now.devices {
        if let Some(seen) = silent(before, device, since) {
            fails(Condition::Devices, seen, since < device.quiet.saturating_mul(2));
        }
    }
    // As many as before, twice over, and a handful: one garbled frame is no reason to take a ward's bundle back.
    let share = |vitals: &Vitals| {
        (vitals.undecoded.saturating_mul(1_000), (vitals.decoded + vitals.undecoded).max(1))
    };
    let ((bad, of), (was_bad, was_of)) = (share(now), share(before));
    if now.undecoded > 5 && bad / of > (was_bad / was_of).saturating_mul(2) + 10 {
        fails(Condition::Decoding, format!("{} of {of} values were not understood", now.undecoded), true);
    }
    if now.memory > limits.memory {
        fails(
            Condition::Memory,
            format!("{} MiB are used, {} are allowed", now.memory >> 20, limits.memory >> 20),
            false,
        );
    }
    if !now.is_alive {
        fails(Condition::Alive, "a part of the daemon stands still".to_owned(), false);
    }
    if before.is_certificate_good && !now.is_certificate_good {
        fails(Condition::Certificate, "the certificate is no longer good".to_owned(), false);
    }
    failing
}

/// A device that spoke before and has not spoken since; one that the bundle adds has nothing to prove.
fn silent(before: &Vitals, device: &DeviceVitals, since: Duration) -> Option<String> {
    let spoke = before.devices.iter().any(|was| {
        was.id == device.id && was.since_reading.is_some_and(|ago| ago <= was.quiet.saturating_mul(2))
    });
    let speaks = device.since_reading.is_some_and(|ago| ago <= since);
    (spoke && !speaks).then(|| format!("{} has given nothing for {} s", device.id, since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn device(id: &str, ago: Option<u64>) -> DeviceVitals {
        DeviceVitals { id: id.to_owned(), since_reading: ago.map(secs), quiet: secs(30) }
    }

    fn well() -> Vitals {
        Vitals {
            is_uplink_up: true,
            since_puback: Some(secs(1)),
            is_store_sound: true,
            devices: vec![device("pump-1", Some(2)), device("pump-2", Some(5)), device("scale", None)],
            decoded: 1_000,
            undecoded: 0,
            memory: 20 << 20,
            is_alive: true,
            is_certificate_good: true,
        }
    }

    fn after(since: u64, change: impl FnOnce(&mut Vitals)) -> Step {
        let mut now = well();
        change(&mut now);
        judge(&well(), &now, secs(since), &Limits::default())
    }

    fn reason(step: Step) -> String {
        match step {
            Step::RollBack(failing) => failing.to_string(),
            other @ (Step::Wait(_) | Step::Commit) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_gateway_that_is_as_well_as_before_commits_at_the_end_and_not_earlier() {
        assert_eq!(after(299, |_| {}), Step::Wait(Vec::new()));
        assert_eq!(after(300, |_| {}), Step::Commit);
    }

    #[test]
    fn each_condition_can_end_a_trial() {
        assert_eq!(reason(after(120, |now| now.is_uplink_up = false)), "uplink: no connection after 120 s");
        // Taken before the trial began: nothing of the new configuration has been seen to arrive.
        let old = |now: &mut Vitals| now.since_puback = Some(secs(130));
        assert!(reason(after(120, old)).starts_with("uplink: nothing of this trial"));
        assert!(reason(after(10, |now| now.is_store_sound = false)).starts_with("store"));
        let silent = |now: &mut Vitals| now.devices[1] = device("pump-2", Some(70));
        assert_eq!(reason(after(60, silent)), "devices: pump-2 has given nothing for 60 s");
        assert!(reason(after(300, |now| now.undecoded = 30)).starts_with("decoding: 30 of 1030"));
        assert_eq!(reason(after(10, |now| now.memory = 65 << 20)), "memory: 65 MiB are used, 64 are allowed");
        assert!(reason(after(10, |now| now.is_alive = false)).starts_with("alive"));
        assert!(reason(after(10, |now| now.is_certificate_good = false)).starts_with("certificate"));
    }

    #[test]
    fn what_may_still_come_is_waited_for() {
        assert!(
            matches!(after(119, |now| now.is_uplink_up = false), Step::Wait(failing) if failing.len() == 1)
        );
        let silent = |now: &mut Vitals| now.devices[0] = device("pump-1", None);
        assert!(matches!(after(59, silent), Step::Wait(failing) if failing.len() == 1));
    }

    #[test]
    fn a_bundle_is_not_blamed_for_what_was_so_before() {
        let mut before = well();
        before.is_uplink_up = false;
        before.devices[0].since_reading = Some(secs(61));
        before.is_certificate_good = false;
        before.undecoded = 100;
        let mut now = before.clone();
        now.devices[0].since_reading = None;
        now.devices.push(device("new", None));
        now.undecoded = 190;
        assert_eq!(judge(&before, &now, secs(300), &Limits::default()), Step::Commit);
        // A device that the bundle removes is not missed.
        now.devices.remove(1);
        assert_eq!(judge(&before, &now, secs(300), &Limits::default()), Step::Commit);
    }
}
