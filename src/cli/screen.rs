//! A terminal that is drawn on for as long as somebody looks: its other page, from the top, only the lines that have
//! changed. What never happens: it is left with another page, without its cursor or without echo, however the program
//! ends, unless it is killed (SIGKILL).
//!
//! The control functions are those of ECMA-48 (CUP, ED, EL); the private modes are xterm's (1049: the other page, 25:
//! the cursor, 7: wrapping) and 2026, which lets a terminal show a frame at once and which others pass over.

use std::fmt::Write as _;
use std::future::pending;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, Once, PoisonError};

use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::out::{self, Colour};

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// How the terminal was before it was drawn on; nothing while it is not.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// A line on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) colour: Option<Colour>,
}

impl Line {
    pub(crate) fn new(text: impl Into<String>, colour: Option<Colour>) -> Self {
        Self { text: text.into(), colour }
    }
}

/// Text of no more than so many characters; where some are missing, a `~` says so.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    if most > 0 {
        short.push('~');
    }
    short
}

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// What a person does to the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// `q`, Ctrl-C, or the terminal is gone.
    Stop,
    /// It has another size.
    Resized,
}

/// The signals and keys of a terminal.
pub(crate) struct Signs {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    window: Signal,
    keys: Option<Receiver>,
}

impl Signs {
    /// Within a runtime.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            window: signal(SignalKind::window_change())?,
            // Without keys Ctrl-C is left.
            keys: keys(),
        })
    }

    /// The next one. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Sign {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Sign::Stop,
            _ = self.terminate.recv() => Sign::Stop,
            _ = self.hangup.recv() => Sign::Stop,
            _ = self.window.recv() => Sign::Resized,
            () = quits(self.keys.as_ref()) => Sign::Stop,
        }
    }
}

/// The terminal that Ctrl-C comes from, opened once more: that its reads do not wait is a matter of this opening alone,
/// not of the shell's.
fn keys() -> Option<Receiver> {
    let how = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let terminal = open("/dev/tty", how, Mode::empty()).ok()?;
    Receiver::from_owned_fd_unchecked(terminal).ok()
}

/// Waits for a `q`; what else is typed means nothing.
async fn quits(keys: Option<&Receiver>) {
    let Some(keys) = keys else { return pending().await };
    loop {
        let mut typed = [0u8; 64];
        match (keys.readable().await, keys.try_read(&mut typed)) {
            (Ok(()), Ok(count)) if count > 0 => {
                if typed.iter().take(count).any(|key| b"qQ".contains(key)) {
                    return;
                }
            }
            (Ok(()), Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It is gone, and SIGHUP says so.
            _ => return pending().await,
        }
    }
}

/// Whether standard output is a terminal that knows what is drawn with.
pub(crate) fn can_be_drawn_on() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Standard output as a screen; as it was before, once this is dropped.
pub(crate) struct Screen {
    shown: Vec<String>,
    size: Size,
}

impl Screen {
    pub(crate) fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdout())?;
        let mut quiet = before.clone();
        // What is typed does not belong on the page; what would leave it as it is (Ctrl-Z, Ctrl-\) does nothing.
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        quiet.special_codes[SpecialCodeIndex::VSUSP] = 0;
        quiet.special_codes[SpecialCodeIndex::VQUIT] = 0;
        leave_before_a_panic_speaks();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let screen = Self { shown: Vec::new(), size: size() };
        tcsetattr(io::stdout(), OptionalActions::Flush, &quiet)?;
        put(ENTER)?;
        Ok(screen)
    }

    /// How large it is now.
    pub(crate) fn size(&mut self) -> Size {
        let now = size();
        if now != self.size {
            // What a terminal makes of its lines then is its own affair: all is drawn anew.
            self.shown.clear();
            self.size = now;
        }
        now
    }

    /// Draws these lines, from the top; what does not fit below is left out.
    pub(crate) fn draw(&mut self, lines: &[Line]) -> io::Result<()> {
        if BEFORE.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Err(io::Error::other("the screen was left: a part of this program panicked"));
        }
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
        leave();
    }
}

/// Gives the terminal back as it was, once.
fn leave() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        let _ = put(LEAVE);
        let _ = tcsetattr(io::stdout(), OptionalActions::Flush, &before);
    }
}

/// What a panic says is said before anything is dropped, and would go with the page that it is said on.
fn leave_before_a_panic_speaks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let speak = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave();
            speak(panic);
        }));
    });
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

    #[test]
    fn what_is_cut_off_is_marked() {
        assert_eq!(
            (cut("abc", 3), cut("äbcd", 3), cut("abc", 0)),
            ("abc".into(), "äb~".into(), String::new())
        );
    }

    #[test]
    #[ignore = "run by the next one, at a terminal"]
    fn panics_while_it_is_drawn_on() {
        let mut screen = Screen::new().unwrap();
        screen.draw(&[Line::new("drawn", None)]).unwrap();
        panic!("the word of the panic");
    }

    #[test]
    fn a_panic_leaves_the_terminal_as_it_was_and_is_read_there() {
        let itself = std::env::current_exe().unwrap();
        let name = "cli::screen::tests::panics_while_it_is_drawn_on";
        let arguments = ["--exact", name, "--ignored", "--nocapture"];
        let terminal = terminal::Terminal::start(&itself, &arguments, (80, 24), |_| {});
        let (_, text, echoes) = terminal.ended();
        let (page, after) = text.split_once(LEAVE).unwrap();
        assert!(page.contains(ENTER) && page.contains("drawn"), "{text:?}");
        assert!(after.contains("the word of the panic") && echoes, "{text:?}");
    }
}

#[cfg(test)]
#[path = "../../tests/terminal/mod.rs"]
mod terminal;
