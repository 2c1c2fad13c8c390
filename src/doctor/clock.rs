//! `clock`: whether the wall clock can be believed.

use super::Says;
use crate::time::{ClockSync, Now, Wall};

/// 2025-01-01: this program is not older.
const EARLIEST: Wall = Wall::from_millis(1_735_689_600_000);
/// 2100-01-01.
const LATEST: Wall = Wall::from_millis(4_102_444_800_000);
/// A synchronised clock that may be further off than this is worth a word.
const WORTH_A_WORD_US: u32 = 1_000_000;

/// The clock at the moment of asking.
pub type Facts = Now;

/// Says what is wrong with the clock.
pub fn judge(now: &Facts) -> Says {
    let mut says = Says::default();
    if now.wall < EARLIEST || now.wall > LATEST {
        says = says.wrong(
            format!("the clock says {}, which cannot be", now.wall),
            "let it reach a time server, or set it by hand: timedatectl set-time 'YYYY-MM-DD hh:mm:ss'",
        );
    }
    match now.sync {
        ClockSync::Unsynced => says.wrong(
            "the kernel says that the clock follows no reference: readings carry that, and certificates and the fleet's \
             documents cannot be judged by their dates",
            "timedatectl timesync-status; name a time server that the ward's network reaches in \
             /etc/systemd/timesyncd.conf (NTP=)",
        ),
        ClockSync::Synced if now.max_error_us > WORTH_A_WORD_US => says.note(
            format!("the clock follows a reference, but may be {} ms off", now.max_error_us / 1_000),
            "timedatectl timesync-status: is the time server far away or seldom reached?",
        ),
        ClockSync::Synced => {
            says.ok(format!("it follows a reference, within {} ms; {}", now.max_error_us / 1_000, now.wall))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_is_well_only_while_it_follows_and_its_year_can_be() {
        let now = |millis, sync, max_error_us| Now {
            wall: Wall::from_millis(millis),
            sync,
            max_error_us,
            ..Now::default()
        };
        for (facts, verdict, words) in [
            (now(1_790_000_000_000, ClockSync::Synced, 900), Verdict::Ok, "within 0 ms"),
            (now(1_790_000_000_000, ClockSync::Synced, 1_500_000), Verdict::Note, "1500 ms off"),
            (now(1_790_000_000_000, ClockSync::Unsynced, u32::MAX), Verdict::Wrong, "no reference"),
            (now(0, ClockSync::Synced, 900), Verdict::Wrong, "1970"),
            (now(5_000_000_000_000, ClockSync::Synced, 900), Verdict::Wrong, "cannot be"),
        ] {
            let says = judge(&facts);
            assert_eq!(says.verdict(), verdict, "{facts:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{says:?}");
        }
    }
}
