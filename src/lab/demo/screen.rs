//! The live table: redrawn in place on a terminal, a line now and then elsewhere.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::host::status::Snapshot;

/// Without a terminal: one line each so often.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// What is drawn.
pub(super) struct Picture<'a> {
    /// How much of the recording was played, of how much.
    pub(super) played: (usize, usize),
    /// What is going on, in a few words.
    pub(super) scene: &'a str,
    /// The daemon's own word, when it answers.
    pub(super) daemon: Option<&'a Snapshot>,
    /// Records at the consumer, by device.
    pub(super) arrived: &'a dyn Fn(&str) -> u64,
}

/// The screen.
pub(super) struct Screen {
    is_terminal: bool,
    lines: usize,
    last_plain: Option<Duration>,
    last_scene: String,
}

impl Screen {
    /// Standard output.
    pub(super) fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
            lines: 0,
            last_plain: None,
            last_scene: String::new(),
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.lines = 0;
        put(&format!("{text}\n"));
    }

    /// Draws the table, at `elapsed` since the start.
    pub(super) fn draw(&mut self, picture: &Picture<'_>, elapsed: Duration) {
        if self.is_terminal {
            let text = table(picture);
            // Back to the first line of the last table, and clear from there.
            let back = if self.lines > 0 { format!("\x1b[{}A\x1b[J", self.lines) } else { String::new() };
            put(&format!("{back}{text}"));
            self.lines = text.lines().count();
            return;
        }
        let due = self.last_plain.is_none_or(|last| elapsed.saturating_sub(last) >= PLAIN_EVERY);
        if due || self.last_scene != picture.scene {
            self.last_plain = Some(elapsed);
            picture.scene.clone_into(&mut self.last_scene);
            put(&format!("{:>4} s  {}\n", elapsed.as_secs(), summary(picture)));
        }
    }
}

/// A closed pipe is not worth a panic: the verdict is in the exit code too.
fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn waiting(snapshot: Option<&Snapshot>) -> (u64, String) {
    let Some(snapshot) = snapshot else { return (0, "not answering".to_owned()) };
    (snapshot.lanes.iter().map(|lane| lane.records).sum(), snapshot.uplink.state.clone())
}

fn summary(picture: &Picture<'_>) -> String {
    let (played, of) = picture.played;
    let (waiting, uplink) = waiting(picture.daemon);
    let arrived: u64 = picture.daemon.iter().flat_map(|s| &s.devices).map(|d| (picture.arrived)(&d.id)).sum();
    format!(
        "minute {played} of {of}; {}; uplink {uplink}, {waiting} on disk, {arrived} at the consumer",
        picture.scene
    )
}

fn table(picture: &Picture<'_>) -> String {
    const BAR: usize = 40;
    let (played, of) = picture.played;
    let filled = played * BAR / of.max(1);
    let bar = format!("{}{}", "━".repeat(filled), "╌".repeat(BAR - filled.min(BAR)));
    let (waiting, uplink) = waiting(picture.daemon);
    let mut text = format!("\n  {bar} minute {played} of {of}\n  {}\n\n", picture.scene);
    let _ = writeln!(
        text,
        "  {:<16} {:<22} {:<6} {:>9} {:>12}",
        "device", "driver", "link", "admitted", "at consumer"
    );
    for device in picture.daemon.iter().flat_map(|snapshot| &snapshot.devices) {
        let link = if device.quarantine.is_some() { "QUARANTINED" } else { device.link.as_str() };
        let _ = writeln!(
            text,
            "  {:<16} {:<22} {:<6} {:>9} {:>12}",
            device.id,
            device.model,
            link,
            device.admitted,
            (picture.arrived)(&device.id)
        );
    }
    let _ = writeln!(text, "\n  on disk, waiting for the broker: {waiting} records; uplink: {uplink}");
    text
}
