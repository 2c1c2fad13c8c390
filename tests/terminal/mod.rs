//! A program at a real terminal (a pty), and a model of its page.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too; not every test that shares this needs all of it"
)]

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(30);

/// The page of a terminal, as far as the control functions of ECMA-48 go that are used.
pub(crate) struct Model {
    page: Vec<Vec<char>>,
    at: (usize, usize),
    columns: usize,
    /// Characters that had no place in their line.
    pub(crate) beyond: usize,
    pending: Vec<u8>,
}

impl Model {
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        Self { page: vec![vec![' '; columns]; rows], at: (0, 0), columns, beyond: 0, pending: Vec::new() }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
        // A sequence or a character may be cut off at the end: it waits for the rest.
        let text = std::mem::take(&mut self.pending);
        let whole = text.utf8_chunks().next().map_or("", |chunk| chunk.valid()).to_owned();
        let mut rest = whole.as_str();
        while let Some(first) = rest.chars().next() {
            let after = if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let Some(end) = sequence.find(|c: char| ('@'..='~').contains(&c)) else { break };
                self.obey(&sequence[..end], sequence.as_bytes()[end]);
                &sequence[end + 1..]
            } else if first == '\x1b' {
                break;
            } else {
                self.put(first);
                &rest[first.len_utf8()..]
            };
            rest = after;
        }
        self.pending = text[whole.len() - rest.len()..].to_vec();
    }

    pub(crate) fn obey(&mut self, parameters: &str, function: u8) {
        let number = |place: usize| {
            parameters.split(';').nth(place).and_then(|text| text.parse::<usize>().ok()).unwrap_or(1)
        };
        let (row, columns) = (self.at.0, self.columns);
        match (function, parameters) {
            (b'H', _) => self.at = (number(0) - 1, number(1) - 1),
            (b'J', "2") => self.page.iter_mut().for_each(|line| *line = vec![' '; columns]),
            (b'K', "2") => self.page[row] = vec![' '; columns],
            (b'm', _) => {}
            // A page of its own: what was said before it may be longer than a line.
            (b'h', "?1049") => self.beyond = 0,
            (b'h' | b'l', mode) if mode.starts_with('?') => {}
            other => panic!("an unknown control function: {other:?}"),
        }
    }

    pub(crate) fn put(&mut self, c: char) {
        match c {
            '\r' => self.at.1 = 0,
            '\n' => self.at = ((self.at.0 + 1).min(self.page.len() - 1), self.at.1),
            _ if self.at.1 < self.columns => {
                self.page[self.at.0][self.at.1] = c;
                self.at.1 += 1;
            }
            _ => self.beyond += 1,
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.page.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect()
    }
}

/// A command at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    slave: File,
    told: Receiver<Vec<u8>>,
    /// All that was written since it was asked for.
    pub(crate) written: Vec<u8>,
    pub(crate) model: Model,
}

impl Terminal {
    /// Starts a program there, as in a shell's window; `change` may alter how.
    pub(crate) fn start(
        program: &Path,
        arguments: &[&str],
        (columns, rows): (u16, u16),
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        tcsetwinsize(&master, winsize(columns, rows)).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        // The terminal becomes the one that Ctrl-C comes from.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(program).args(arguments);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        change(&mut command);
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let master = File::from(master);
        let (tell, told) = sync_channel(1_024);
        let mut reader = master.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok(count) = reader.read(&mut bytes) {
                if count == 0 || tell.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let model = Model::new(columns.into(), rows.into());
        Self { child, master, slave, told, written: Vec::new(), model }
    }

    /// Waits until the page is so.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&[String]) -> bool) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let lines = self.model.lines();
            if holds(&lines) {
                return lines;
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            let Ok(bytes) = self.told.recv_timeout(left) else {
                panic!("{what}: {}", lines.join("\n"));
            };
            self.written.extend(&bytes);
            self.model.take(&bytes);
        }
    }

    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.model = Model::new(columns.into(), rows.into());
        self.written.clear();
        tcsetwinsize(&self.master, winsize(columns, rows)).unwrap();
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.written).into_owned()
    }

    /// Ctrl-C; gives how it ended, with all that was written until then.
    pub(crate) fn interrupt(self) -> (Option<i32>, String, bool) {
        self.typed(b"\x03").ended()
    }

    /// What a person types.
    pub(crate) fn typed(mut self, keys: &[u8]) -> Self {
        self.master.write_all(keys).unwrap();
        self
    }

    /// The program itself: `setsid` has become it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; gives its code, all that was written and whether the terminal echoes.
    pub(crate) fn ended(mut self) -> (Option<i32>, String, bool) {
        let status = self.child.wait().unwrap();
        while let Ok(bytes) = self.told.recv_timeout(Duration::from_secs(1)) {
            self.written.extend(bytes);
        }
        let echoes =
            tcgetattr(&self.slave).unwrap().local_modes.contains(LocalModes::ECHO | LocalModes::ICANON);
        (status.code(), self.text(), echoes)
    }
}

fn winsize(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 }
}
