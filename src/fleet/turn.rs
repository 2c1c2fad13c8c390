//! When a gateway's turn in a roll-out is: canaries first, then wave by wave.
//!
//! In: the roll-out of a timestamp, the gateway's id, the time. Out: whether it may begin. Each gateway
//! decides by itself and always alike: its place is the SHA-256 of its id and the roll-out's, so nobody
//! has to keep a list, and another roll-out has another order.

use super::documents::Rollout;
use crate::time::Wall;

/// Everyone, in hundredths of a percent.
const EVERYONE: u64 = 10_000;

/// Whether it is a gateway's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It may begin.
    Now,
    /// From this moment on.
    From(Wall),
    /// No wave has it: the next timestamp may say more.
    NotYet,
    /// The roll-out is paused.
    Paused,
}

/// Whether it is the turn of `gateway`. `now` is the time, or the moment before which it cannot be when
/// no clock is to be believed: a wave that had begun by then has begun.
pub fn turn(rollout: &Rollout, gateway: &str, now: Wall) -> Turn {
    if rollout.paused {
        return Turn::Paused;
    }
    if rollout.canaries.iter().any(|canary| canary == gateway) {
        return Turn::Now;
    }
    let place = place(&rollout.id, gateway);
    let mine = rollout.waves.iter().find(|wave| place < u64::from(wave.share));
    match mine {
        Some(wave) if wave.start.0 <= now => Turn::Now,
        Some(wave) => Turn::From(wave.start.0),
        None => Turn::NotYet,
    }
}

/// The gateway's place among 10,000.
fn place(rollout: &str, gateway: &str) -> u64 {
    // A zero byte between them, which no name can hold: no two pairs are the same text.
    let text = [gateway.as_bytes(), &[0], rollout.as_bytes()].concat();
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    let first = digest.as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    first % EVERYONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::{Stamp, Wave};

    fn rollout(id: &str, waves: &[(u16, i64)]) -> Rollout {
        let waves = waves
            .iter()
            .map(|(share, start)| Wave { share: *share, start: Stamp(Wall::from_millis(*start)) });
        Rollout {
            id: id.to_owned(),
            canaries: vec!["gw-7".to_owned()],
            waves: waves.collect(),
            paused: false,
        }
    }

    fn at_turn(rollout: &Rollout, now: i64) -> Vec<String> {
        let gateways = (0..1_000).map(|number| format!("gw-{number}"));
        gateways.filter(|gateway| turn(rollout, gateway, Wall::from_millis(now)) == Turn::Now).collect()
    }

    #[test]
    fn waves_widen_and_nobody_is_left_out() {
        let rollout = rollout("r-1", &[(100, 10), (500, 20), (2_500, 30), (10_000, 40)]);
        let counts: Vec<usize> =
            [9, 10, 20, 30, 40].iter().map(|now| at_turn(&rollout, *now).len()).collect();
        assert_eq!(counts[0], 1, "the canary");
        assert_eq!(counts[4], 1_000);
        for (count, share) in counts.iter().zip([0, 10, 50, 250, 1_000]) {
            assert!(count.abs_diff(share) <= 25, "{counts:?}");
        }
        // Whoever was in a wave is in every later one.
        let early = at_turn(&rollout, 20);
        assert!(early.iter().all(|gateway| at_turn(&rollout, 30).contains(gateway)));
    }

    #[test]
    fn another_rollout_has_another_order() {
        let (one, other) = (rollout("r-1", &[(500, 0)]), rollout("r-2", &[(500, 0)]));
        let (one, other) = (at_turn(&one, 1), at_turn(&other, 1));
        assert!(one.iter().filter(|gateway| other.contains(gateway)).count() < one.len() / 2);
    }

    /// SHA-256 of `gw-1`, a zero byte and `r-1`, by another program: `printf 'gw-1\\0r-1' | sha256sum`.
    #[test]
    fn a_place_is_what_anyone_can_compute() {
        assert_eq!(place("r-1", "gw-1"), PLACE_OF_GW_1);
    }

    const PLACE_OF_GW_1: u64 = 9571;

    #[test]
    fn a_pause_holds_the_canaries_too() {
        let mut rollout = rollout("r-1", &[(100, 10)]);
        assert_eq!(turn(&rollout, "gw-8", Wall::from_millis(0)), Turn::NotYet);
        let early = at_turn(&rollout, 10);
        let first = early.iter().find(|gateway| *gateway != "gw-7").unwrap();
        assert_eq!(turn(&rollout, first, Wall::from_millis(9)), Turn::From(Wall::from_millis(10)));
        rollout.paused = true;
        assert_eq!(turn(&rollout, "gw-7", Wall::from_millis(10)), Turn::Paused);
    }
}
