//! A terminal that is drawn on for as long as somebody looks: its other page, from the top, only the lines that have
//! changed. What never happens: it is left with another page, without its cursor or without echo.
//!
//! The control functions are those of ECMA-48 (CUP, ED, EL); the private modes are xterm's (1049: the other page, 25:
//! the cursor, 7: wrapping) and 2026, which lets a terminal show a frame at once and which others pass over.

use std::fmt::Write as _;
use std::io;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::table::{Line, cut};
use crate::cli::out;

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// What a person does to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Ctrl-C, or the terminal is gone.
    Stop,
    /// It has another size.
    Resized,
}

/// The signals of a terminal.
pub(super) struct Signs {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    window: Signal,
}

impl Signs {
    /// Within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            window: signal(SignalKind::window_change())?,
        })
    }

    /// The next one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Sign {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Sign::Stop,
            _ = self.terminate.recv() => Sign::Stop,
            _ = self.hangup.recv() => Sign::Stop,
            _ = self.window.recv() => Sign::Resized,
        }
    }
}

/// Standard output as a screen; as it was before, once this is dropped.
pub(super) struct Screen {
    before: Termios,
    shown: Vec<String>,
    size: Size,
}

impl Screen {
    pub(super) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdout())?;
        let mut quiet = before.clone();
        // What is typed does not belong on the page; what would leave it as it is (Ctrl-Z, Ctrl-\) does nothing.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
        quiet.special_codes[SpecialCodeIndex::VQUIT] = 0;
        tcsetattr(io::stdout(), OptionalActions::Flush, &quiet)?;
        let screen = Self { before, shown: Vec::new(), size: size() };
        put(ENTER)?;
        Ok(screen)
    }

    /// How large it is now.
    pub(super) fn size(&mut self) -> Size {
        let now = size();
        if now != self.size {
            // What a terminal makes of its lines then is its own affair: all is drawn anew.
            self.shown.clear();
            self.size = now;
        }
        now
    }

    /// Draws these lines, from the top; what does not fit below is left out.
    pub(super) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        let Size { columns, rows } = self.size;
        let out = out::stdout();
        let painted = |line: &Line| {
            let text = cut(&line.text, columns);
            line.colour.map_or_else(|| text.clone(), |colour| out.paint(colour, &text))
        };
        let lines: Vec<String> = lines.iter().take(rows).map(painted).collect();
        let frame = frame(&self.shown, &lines);
        self.shown = lines;
        if frame.is_empty() { Ok(()) } else { put(&frame) }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = put(LEAVE);
        let _ = tcsetattr(io::stdout(), OptionalActions::Flush, &self.before);
    }
}

/// What turns the one page into the other; empty: they are the same.
fn frame(before: &[String], now: &[String]) -> String {
    let mut text = String::new();
    let nothing = String::new();
    if before.is_empty() {
        text.push_str("\x1b[2J");
    }
    for row in 0..before.len().max(now.len()) {
        let (old, new) = (before.get(row).unwrap_or(&nothing), now.get(row).unwrap_or(&nothing));
        if old != new {
            // Writing to a string does not fail.
            let _ = write!(text, "\x1b[{};1H\x1b[2K{new}", row.saturating_add(1));
        }
    }
    if text.is_empty() { text } else { format!("\x1b[?2026h{text}\x1b[?2026l") }
}

fn size() -> Size {
    let said = tcgetwinsize(io::stdout()).ok().filter(|said| said.ws_col > 0 && said.ws_row > 0);
    said.map_or(Size { columns: 80, rows: 24 }, |said| Size {
        columns: said.ws_col.into(),
        rows: said.ws_row.into(),
    })
}

fn put(text: &str) -> io::Result<()> {
    let mut out = out::stdout();
    out.text(format_args!("{text}"))?;
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_have_changed_are_written() {
        let page = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let first = page(&["head", "one", "two"]);
        assert_eq!(frame(&first, &first), "");
        assert_eq!(frame(&first, &page(&["head", "1", "two"])), "\x1b[?2026h\x1b[2;1H\x1b[2K1\x1b[?2026l");
        assert_eq!(frame(&first, &page(&["head", "one"])), "\x1b[?2026h\x1b[3;1H\x1b[2K\x1b[?2026l");
        assert!(frame(&[], &first).contains("\x1b[2J\x1b[1;1H\x1b[2Khead"));
    }
}
