//! The only place that samples a clock.

use std::sync::Mutex;
use std::time::Duration;

use rtime_clock::adjtime::{Timex, adjtimex};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::{BootId, Clock, ClockSync, Mono, Now, Wall};

/// `STA_UNSYNC` of `adjtimex(2)`: the kernel's word that nobody steers the clock.
const STA_UNSYNC: i32 = 0x0040;

/// How long an answer of `adjtimex` is used again: it changes by the second, readings come by the
/// thousand.
const SYNC_IS_FRESH: Duration = Duration::from_secs(1);

/// The system's clock.
#[derive(Debug, Default)]
pub struct SystemClock {
    /// The lab's: the machine counts as started so much earlier than it was.
    earlier: Duration,
    sync: Mutex<Option<(Mono, ClockSync, u32)>>,
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let mono = Mono::from_nanos(nanos(clock_gettime(ClockId::Boottime))) + self.earlier;
        let wall = clock_gettime(ClockId::Realtime);
        let millis = wall.tv_sec.saturating_mul(1_000).saturating_add(wall.tv_nsec / 1_000_000);
        let (sync, max_error_us) = self.sync_at(mono);
        Now { mono, wall: Wall::from_millis(millis), sync, max_error_us }
    }
}

impl SystemClock {
    /// The clock of a machine that counts as started so much earlier than it was: what waits after a start of the
    /// machine (`identity::gate`) does not wait in a test.
    #[cfg(feature = "lab")]
    pub fn started_earlier(by: Duration) -> Self {
        Self { earlier: by, ..Self::default() }
    }

    fn sync_at(&self, mono: Mono) -> (ClockSync, u32) {
        // A panic while the lock was held cannot leave this triple half written.
        let mut cached = self.sync.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, sync, error)) = *cached
            && mono.since(at) < SYNC_IS_FRESH
        {
            return (sync, error);
        }
        let (sync, error) = ask_kernel();
        *cached = Some((mono, sync, error));
        (sync, error)
    }
}

/// An unanswered question counts as "not synchronised": never claim more than the kernel says.
fn ask_kernel() -> (ClockSync, u32) {
    let mut timex = Timex::new();
    match adjtimex(&mut timex) {
        Ok(_) if timex.0.status & STA_UNSYNC == 0 => {
            (ClockSync::Synced, u32::try_from(timex.0.maxerror).unwrap_or(u32::MAX))
        }
        Ok(_) | Err(_) => (ClockSync::Unsynced, u32::MAX),
    }
}

fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// The kernel's id of this boot; zeros when it cannot be read, which no real boot has.
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = uuid::Uuid::parse_str(text.trim()).unwrap_or_default();
    BootId(id.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_and_the_wall_is_in_this_century() {
        let clock = SystemClock::default();
        let (first, second) = (clock.now(), clock.now());
        assert!(second.mono >= first.mono);
        assert!(first.wall > Wall::from_millis(946_684_800_000));
    }

    #[test]
    fn an_unsynchronised_clock_claims_no_accuracy() {
        let now = SystemClock::default().now();
        if now.sync == ClockSync::Unsynced {
            assert_eq!(now.max_error_us, u32::MAX);
        }
    }

    #[test]
    fn this_boot_has_an_id() {
        assert_ne!(boot_id(), BootId::default());
    }
}
