//! A folder of the trials' own, in memory where there is such a place; gone at the end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;

/// The folder.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = home.join(format!("wardline-power-{}-{number}", std::process::id()));
        std::fs::create_dir_all(folder.join("disk"))
            .with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Where the disk is mounted.
    pub(super) fn disk(&self) -> PathBuf {
        self.0.join("disk")
    }

    /// Where a state is judged.
    pub(super) fn after(&self) -> PathBuf {
        self.0.join("after")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
