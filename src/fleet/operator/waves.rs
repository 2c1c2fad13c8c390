//! The waves of a roll-out: when whose turn comes, and what a pause does to that.

use crate::fleet::documents::{Rollout, Stamp, Timestamp, Wave};
use crate::time::Wall;

const HOUR_MS: i64 = 60 * 60 * 1_000;
/// The shares of a roll-out, in percent, when nobody says.
const SHARES: [u16; 4] = [1, 5, 25, 100];

/// How a roll-out is planned.
#[derive(Clone, Debug)]
pub(super) struct Plan<'a> {
    /// Gateways that go first, at once.
    pub(super) canaries: &'a [String],
    /// In percent; none: [`SHARES`].
    pub(super) shares: &'a [u16],
    /// Hours between the waves, and from the canaries to the first.
    pub(super) every: u16,
    pub(super) paused: bool,
}

/// The roll-out of a bundle that begins now.
pub(super) fn rollout(plan: &Plan<'_>, bundle: u64, now: Wall) -> Result<Rollout, String> {
    let shares = if plan.shares.is_empty() { &SHARES[..] } else { plan.shares };
    if !shares.is_sorted_by(|one, next| one < next) {
        return Err(
            "the waves do not grow: give them in rising order, for instance --wave 10 --wave 100".to_owned()
        );
    }
    let first = i64::from(!plan.canaries.is_empty());
    let waves = shares.iter().zip(first..).map(|(percent, place)| {
        let later = place.saturating_mul(i64::from(plan.every)).saturating_mul(HOUR_MS);
        Wave {
            share: percent.saturating_mul(100),
            start: whole_second(now.as_millis().saturating_add(later)),
        }
    });
    let (waves, canaries) = (waves.collect(), plan.canaries.to_vec());
    Ok(Rollout { id: format!("r-{bundle}"), canaries, waves, paused: plan.paused })
}

/// The same roll-out signed anew. What had not begun when it was signed as paused, or when the timestamp expired, is as
/// far ahead as it was then: gateways begin nothing in such a time, and several waves must not begin at once after it.
pub(super) fn again(last: &Timestamp, now: Wall, paused: bool) -> Rollout {
    let held = if last.rollout.paused { last.issued_at.0 } else { last.expires.0 };
    let since = now.as_millis().saturating_sub(held.as_millis()).max(0);
    let waves = last.rollout.waves.iter().map(|wave| {
        let start = wave.start.0;
        let shift = if start > held { since } else { 0 };
        Wave { start: whole_second(start.as_millis().saturating_add(shift)), share: wave.share }
    });
    Rollout { waves: waves.collect(), paused, ..last.rollout.clone() }
}

fn whole_second(millis: i64) -> Stamp {
    Stamp(Wall::from_millis(millis.saturating_sub(millis.rem_euclid(1_000))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::{Digest, Head, SCHEMA};

    const NOW: i64 = 1_795_000_000_000;

    fn starts(rollout: &Rollout) -> Vec<(u16, i64)> {
        rollout.waves.iter().map(|wave| (wave.share, (wave.start.0.as_millis() - NOW) / HOUR_MS)).collect()
    }

    fn plan<'a>(canaries: &'a [String], shares: &'a [u16]) -> Plan<'a> {
        Plan { canaries, shares, every: 1, paused: false }
    }

    #[test]
    fn canaries_go_first_and_each_wave_an_hour_after_the_one_before() {
        let now = Wall::from_millis(NOW);
        let canaries = ["gw-1".to_owned()];
        let with = rollout(&plan(&canaries, &[]), 7, now).unwrap();
        assert_eq!(starts(&with), [(100, 1), (500, 2), (2_500, 3), (10_000, 4)]);
        assert_eq!((with.id.as_str(), &with.canaries[..]), ("r-7", &canaries[..]));
        let without = rollout(&plan(&[], &[10, 100]), 7, now).unwrap();
        assert_eq!(starts(&without), [(1_000, 0), (10_000, 1)]);
        assert!(rollout(&plan(&[], &[10, 10]), 7, now).unwrap_err().contains("do not grow"));
    }

    fn signed(rollout: Rollout, hours: i64) -> Timestamp {
        let at = |hours| Stamp(Wall::from_millis(NOW + hours * HOUR_MS));
        Timestamp {
            schema: SCHEMA,
            organisation: "st-anna".to_owned(),
            group: "icu-3".to_owned(),
            version: 1,
            issued_at: at(hours),
            expires: at(hours + 48),
            head: Head { version: 7, sha256: Digest::of(b""), root: 1 },
            rollout,
        }
    }

    #[test]
    fn what_lay_after_the_expiry_is_as_far_ahead_as_it_was() {
        let at = |hours: i64| Wall::from_millis(NOW + hours * HOUR_MS);
        let plan = Plan { every: 30, ..plan(&[], &[]) };
        let last = signed(rollout(&plan, 7, at(0)).unwrap(), 0);
        assert_eq!(starts(&last.rollout), [(100, 0), (500, 30), (2_500, 60), (10_000, 90)]);
        assert_eq!(starts(&again(&last, at(47), false)), starts(&last.rollout));
        // It spoke for 48 hours, and is signed anew after a hundred.
        assert_eq!(starts(&again(&last, at(100), false)), [(100, 0), (500, 30), (2_500, 112), (10_000, 142)]);
    }

    #[test]
    fn a_pause_holds_what_has_not_begun_as_far_ahead_as_it_was() {
        let at = |hours: i64| Wall::from_millis(NOW + hours * HOUR_MS);
        let begun = rollout(&plan(&["gw-1".to_owned()], &[]), 7, at(0)).unwrap();
        // Paused when the second wave had begun, signed anew a day later, resumed after two.
        let paused = again(&signed(begun.clone(), 0), at(2), true);
        assert_eq!(starts(&paused), starts(&begun), "until then it ran");
        let renewed = again(&signed(paused, 2), at(26), true);
        let resumed = again(&signed(renewed, 26), at(50), false);
        assert_eq!(starts(&resumed), [(100, 1), (500, 2), (2_500, 51), (10_000, 52)]);
        assert!(!resumed.paused);
        // A clock that was set back takes nothing forward.
        assert_eq!(starts(&again(&signed(resumed.clone(), 50), at(40), false)), starts(&resumed));
    }
}
