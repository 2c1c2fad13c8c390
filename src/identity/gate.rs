//! When the certificate server may be asked at all, however due a certificate seems: decisions alone.
//!
//! Power, or a time server, comes back for a whole ward at once: after a start of the machine and after a step of
//! its clock each gateway draws a wait. A certificate may be due as soon as it is issued (a clock that is ahead, a
//! server that dates back): between two renewals there is a floor ([`Renewed`]), which outlives a restart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::renewal::Lifetime;
use crate::backoff::Random;
use crate::time::{ClockSync, Mono, Now, Wall};

/// The longest wait that is drawn.
const SPREAD: Duration = Duration::from_secs(10 * 60);
/// So long after the machine's start it counts as started just now.
const STARTED: Duration = Duration::from_secs(10 * 60);
/// A wall clock that moved by so much more or less than time did was set.
const STEP_MS: u64 = 60_000;
/// The least and the most time between two renewals, before the draw; a third of the life of a short certificate.
const FLOOR: (Duration, Duration) = (Duration::from_secs(3_600), Duration::from_secs(6 * 3_600));

/// That a certificate was renewed, and how long another is not asked for. Kept in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewed {
    /// Time since boot, milliseconds.
    mono_ms: u64,
    /// Wall time, milliseconds since 1970.
    wall_ms: i64,
    /// Seconds.
    floor_s: u64,
}

impl Renewed {
    /// A certificate that was issued just now.
    pub fn new(issued: Lifetime, now: Now) -> Self {
        let third = Duration::from_millis(u64::try_from(issued.length()).unwrap_or(0) / 3);
        let floor = third.clamp(FLOOR.0, FLOOR.1);
        // Another for each certificate: a fleet is spread.
        let jitter = issued.draw % (floor.as_secs() / 6);
        Self {
            mono_ms: now.mono.as_nanos() / 1_000_000,
            wall_ms: now.wall.as_millis(),
            floor_s: floor.as_secs() + jitter,
        }
    }

    /// How long another one is not asked for. What cannot be known is taken as short: of another start of the
    /// machine, and with a clock that nobody vouches for, only the time since that start has surely passed.
    pub fn left(&self, now: Now) -> Duration {
        let then = Mono::from_nanos(self.mono_ms.saturating_mul(1_000_000));
        let passed = if now.mono >= then {
            now.mono.since(then)
        } else {
            let up = now.mono.since(Mono::default());
            let by_wall = now.wall.as_millis().saturating_sub(self.wall_ms);
            let by_wall = Duration::from_millis(u64::try_from(by_wall).unwrap_or(0));
            if now.sync == ClockSync::Synced { up.max(by_wall) } else { up }
        };
        // A file that says more than could have been written does not hold anything up for longer.
        Duration::from_secs(self.floor_s).min(FLOOR.1 + FLOOR.1 / 6).saturating_sub(passed)
    }
}

/// Spreads what starts of machines and steps of clocks would bring together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    seen: Option<(Mono, Wall)>,
    opens: Mono,
}

impl Gate {
    /// A look at the clock.
    pub fn handle_look(&mut self, now: Now, random: &mut dyn Random) {
        let is_moment_for_all = match self.seen {
            None => now.mono.since(Mono::default()) < STARTED,
            Some((mono, wall)) => {
                let wall_ms = i128::from(now.wall.as_millis()) - i128::from(wall.as_millis());
                let mono_ms = i128::try_from(now.mono.since(mono).as_millis()).unwrap_or(i128::MAX);
                wall_ms.abs_diff(mono_ms) > u128::from(STEP_MS)
            }
        };
        if is_moment_for_all {
            self.opens = self.opens.max(now.mono + drawn(SPREAD, random));
        }
        self.seen = Some((now.mono, now.wall));
    }

    /// How long it is shut.
    pub fn left(&self, now: Mono) -> Duration {
        self.opens.since(now)
    }
}

/// Evenly from nothing to `most`.
pub(super) fn drawn(most: Duration, random: &mut dyn Random) -> Duration {
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.next_u64() % millis.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Draw(u64);

    impl Random for Draw {
        fn next_u64(&mut self) -> u64 {
            self.0
        }
    }

    const HOUR: u64 = 3_600;

    fn at(mono_s: u64, wall_s: i64) -> Now {
        let (mono, wall) = (Mono::from_nanos(mono_s * 1_000_000_000), Wall::from_millis(wall_s * 1_000));
        Now { mono, wall, sync: ClockSync::Synced, max_error_us: 0 }
    }

    fn lifetime(hours: i64, draw: u64) -> Lifetime {
        Lifetime { from: Wall::from_millis(0), until: Wall::from_millis(hours * 3_600_000), draw }
    }

    #[test]
    fn between_two_renewals_there_are_hours_and_a_draw_also_after_a_restart() {
        let issued = at(1_000_000, 1_000_000);
        let left = |renewed: &Renewed, now| renewed.left(now).as_secs();
        let renewed = Renewed::new(lifetime(90 * 24, 0), issued);
        assert_eq!(left(&renewed, issued), 6 * HOUR);
        assert_eq!(left(&Renewed::new(lifetime(90 * 24, 59), issued), issued), 6 * HOUR + 59);
        // One for a few hours has to be renewed within them; one for no time at all does not make a storm.
        assert_eq!(left(&Renewed::new(lifetime(9, 0), issued), issued), 3 * HOUR);
        assert_eq!(left(&Renewed::new(lifetime(-9, 0), issued), issued), HOUR);
        // The wall clock says nothing while the machine runs.
        assert_eq!(left(&renewed, at(1_000_000 + 2 * HOUR, 9_000_000)), 4 * HOUR);
        assert_eq!(left(&renewed, at(1_000_000 + 7 * HOUR, 0)), 0);
        // The machine was started since.
        assert_eq!(left(&renewed, at(60, 1_000_000 + 3_600)), 5 * HOUR);
        assert_eq!(left(&renewed, at(60, 0)), 6 * HOUR - 60);
        let unsynced = Now { sync: ClockSync::Unsynced, ..at(60, 9_000_000) };
        assert_eq!(left(&renewed, unsynced), 6 * HOUR - 60);
        let forged = Renewed { floor_s: u64::MAX, ..renewed };
        assert_eq!(left(&forged, issued), 7 * HOUR);
    }

    #[test]
    fn after_a_start_of_the_machine_and_a_step_of_its_clock_a_wait_is_drawn() {
        let mut gate = Gate::default();
        let mut random = Draw(90_000);
        gate.handle_look(at(30, 500), &mut random);
        assert_eq!(gate.left(at(30, 500).mono).as_secs(), 90);
        for (mono, wall, left) in [(40, 510, 80), (200, 670, 0), (260, 720, 0), (320, 900, 90), (500, 10, 90)]
        {
            gate.handle_look(at(mono, wall), &mut random);
            assert_eq!(gate.left(at(mono, wall).mono).as_secs(), left, "{mono} {wall}");
        }
        // The daemon alone was started again.
        let mut gate = Gate::default();
        gate.handle_look(at(HOUR, 500), &mut random);
        assert_eq!(gate.left(at(HOUR, 500).mono), Duration::ZERO);
        let mut long = Gate::default();
        long.handle_look(at(0, 0), &mut Draw(u64::MAX));
        assert!(long.left(Mono::default()) <= SPREAD);
    }
}
