//! The files of the configuration, read while somebody may be writing them.

use std::sync::Arc;
use std::time::Duration;

use super::Reread;
use crate::config::{Config, Problems};
use crate::host::supervisor::blocking;

/// How long the files of a configuration must have been the same.
const SETTLED_FOR: Duration = Duration::from_secs(1);

/// How often they are read again for that.
const MOST_READINGS: u32 = 20;

/// Reads the configuration until it is twice the same, a second apart: who writes its files may be in the midst of
/// it. `None` when that never is, or reading panics.
pub(super) async fn read_settled(reread: Reread) -> Option<Result<Config, Problems>> {
    let read = || {
        let reread = Arc::clone(&reread);
        blocking(move || reread())
    };
    let mut before = read().await?;
    for _ in 0..MOST_READINGS {
        tokio::time::sleep(SETTLED_FOR).await;
        let now = read().await?;
        let is_same = match (&before, &now) {
            (Ok(before), Ok(now)) => before == now,
            (Err(before), Err(now)) => before.to_string() == now.to_string(),
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if is_same {
            return Some(now);
        }
        before = now;
    }
    tracing::error!("the configuration is another one whenever it is read");
    None
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::change::tests::{config, device};
    use super::*;

    /// What each reading finds, the last one for ever.
    fn readings(found: Vec<usize>) -> (Reread, Arc<AtomicU64>) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let reread = move || {
            let number = usize::try_from(counted.fetch_add(1, Ordering::Relaxed)).unwrap();
            let devices = found[number.min(found.len() - 1)];
            Ok(config((0..devices).map(|n| device(&format!("dev-{n}"), "1", None)).collect()))
        };
        (Arc::new(reread), count)
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_read_until_it_stays_the_same() {
        for (found, devices, reads) in [(vec![3], 3, 2), (vec![1, 3], 3, 3), (vec![0, 1, 2, 3], 3, 5)] {
            let (reread, count) = readings(found);
            let read = read_settled(reread).await.unwrap().unwrap();
            assert_eq!((read.devices.len(), count.load(Ordering::Relaxed)), (devices, reads));
        }
        let (reread, _) = readings((0..100).collect());
        assert!(read_settled(reread).await.is_none(), "it never stays the same");
    }
}
