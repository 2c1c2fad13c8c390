//! A bar on the terminal for long work: the only file that names indicatif.
//!
//! In: how much is done, and of how much. Out: bytes, speed and the time that is left, on standard error and
//! only when that is a terminal. What never happens: a bar in a log or in a pipe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is under way.
pub(super) struct Progress(ProgressBar);

/// The bar with its words, within 80 columns.
const STYLE: &str = "{msg:<10} [{bar:26}] {binary_bytes:>10} of {binary_total_bytes:<10} {eta:>5} left";

/// The same where no bytes are counted.
const STEPS: &str = "{msg:<10} [{bar:26}] {pos:>10} of {len:<10} {eta:>5} left";

impl Progress {
    /// Of bytes. Shows nothing until the first [`Progress::at`].
    pub(super) fn new(what: &'static str) -> Self {
        Self::with(what, STYLE)
    }

    /// Of steps.
    pub(super) fn count(what: &'static str) -> Self {
        Self::with(what, STEPS)
    }

    fn with(what: &'static str, style: &str) -> Self {
        // indicatif draws nothing where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("##."));
        }
        bar.set_message(what);
        Self(bar)
    }

    /// So many of so many are done.
    pub(super) fn at(&self, done: u64, total: u64) {
        if self.0.length() != Some(total) {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

/// The line is free again for what is said next.
impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_is_one_that_the_library_knows() {
        assert!(ProgressStyle::with_template(STYLE).is_ok());
        assert!(ProgressStyle::with_template(STEPS).is_ok());
    }
}
