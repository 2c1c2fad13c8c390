//! The one-time token: typed without being shown, one line of standard input, or out of a file. Never an
//! argument: those are for everybody to see.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::anyhow;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::envelope::keys::open_secret;

const MAX_TOKEN: u64 = 1_024;

/// Reads it.
pub(super) fn read(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(String::new());
    if let Some(path) = file {
        let file = open_secret(path).map_err(|error| Failure::new(Exit::Keys, error))?;
        io::BufReader::new(file).take(MAX_TOKEN).read_line(&mut line)?;
    } else {
        let input = io::stdin();
        let _hidden = if input.is_terminal() {
            out::remark(format_args!("type the one-time token; it is not shown"));
            Some(Hidden::new()?)
        } else {
            None
        };
        input.lock().take(MAX_TOKEN).read_line(&mut line)?;
    }
    let token = line.trim();
    let is_token = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
    if !is_token {
        let error = anyhow!("there is no token: one line without blanks is wanted");
        return Err(Failure::new(Exit::Usage, error));
    }
    Ok(Zeroizing::new(token.to_owned()))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        // An interrupt would end the process and leave the terminal as it is.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
