//! The passphrases of keys: asked for on the terminal without being shown, or out of a file for scripts.
//!
//! The file is TOML, one line for each key: `config-1 = "..."`, and only its owner may read it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::refused;
use crate::cli::exit::{Exit, Failure};
use crate::host::atomic_file;

/// The shortest passphrase of a new key. A key's file may be copied and guessed at for years.
const SHORTEST: usize = 12;
/// The longest line that is typed, and the longest file.
const LONGEST: usize = 1_024;
const MAX_FILE: usize = 64 * 1_024;

/// Where passphrases come from.
pub(super) struct Passphrases {
    /// None: the terminal.
    listed: Option<BTreeMap<String, Zeroizing<String>>>,
}

impl Passphrases {
    /// Out of a file, or as somebody types them.
    pub(super) fn from(file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self { listed: None }) };
        let unusable = |why: String| {
            Failure::new(
                Exit::Keys,
                anyhow::anyhow!("the passphrases in {} cannot be used: {why}", path.display()),
            )
        };
        let mode = std::fs::metadata(path).map_err(|error| unusable(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(unusable("others than its owner can read it: chmod 600".to_owned()));
        }
        let bytes =
            Zeroizing::new(atomic_file::read(path, MAX_FILE).map_err(|error| unusable(error.to_string()))?);
        let text = std::str::from_utf8(&bytes).map_err(|error| unusable(error.to_string()))?;
        // The parser's own words would show the line, and with it a passphrase.
        let read: BTreeMap<String, String> = toml_edit::de::from_str(text).map_err(|_| {
            unusable("it is not TOML with one line `NAME = \"PASSPHRASE\"` for each key".to_owned())
        })?;
        Ok(Self { listed: Some(read.into_iter().map(|(name, text)| (name, Zeroizing::new(text))).collect()) })
    }

    /// The passphrase of a key that exists.
    pub(super) fn of(&self, key: &str) -> Result<Zeroizing<String>, Failure> {
        match &self.listed {
            None => ask(&format!("Passphrase of {key}: ")),
            Some(listed) => listed.get(key).cloned().ok_or_else(|| {
                Failure::new(Exit::Keys, anyhow::anyhow!("the passphrase file has no line for {key}"))
            }),
        }
    }

    /// The passphrase of a key that is made: typed twice, long enough, and not that of another key.
    pub(super) fn of_new(
        &self,
        key: &str,
        others: &[Zeroizing<String>],
    ) -> Result<Zeroizing<String>, Failure> {
        let passphrase = if self.listed.is_some() {
            self.of(key)?
        } else {
            let once = ask(&format!("New passphrase of {key}: "))?;
            if ask("The same again: ")? != once {
                return Err(refused(format!(
                    "the two passphrases of {key} differ: nothing was made; start again"
                )));
            }
            once
        };
        if passphrase.chars().count() < SHORTEST {
            return Err(refused(format!(
                "the passphrase of {key} is shorter than {SHORTEST} characters: take some words"
            )));
        }
        if others.contains(&passphrase) {
            return Err(refused(format!(
                "the passphrase of {key} is that of another key: give each key its own"
            )));
        }
        Ok(passphrase)
    }
}

/// Puts the terminal back as it was, whatever happens.
struct Hidden {
    terminal: File,
    before: Termios,
}

impl Hidden {
    fn new() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        let mut hidden = before.clone();
        // Keys come one by one: an interrupt that ended the process would leave the terminal without echo.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }

    /// What is typed up to the end of the line; `None`: interrupted, or no more than that.
    fn line(&mut self) -> io::Result<Option<Zeroizing<String>>> {
        let mut typed = Zeroizing::new(Vec::with_capacity(LONGEST));
        loop {
            let mut octet = [0];
            self.terminal.read_exact(&mut octet)?;
            match octet {
                [b'\n' | b'\r'] => break,
                // Ctrl-C and Ctrl-D.
                [3 | 4] => return Ok(None),
                [8 | 127] => while typed.pop().is_some_and(|octet| octet & 0xC0 == 0x80) {},
                [octet] if typed.len() < LONGEST => typed.push(octet),
                [_] => return Ok(None),
            }
        }
        let text = std::str::from_utf8(&typed).map_err(io::Error::other)?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
        let _ = writeln!(self.terminal);
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = (|| {
        let mut hidden = Hidden::new()?;
        write!(hidden.terminal, "{prompt}")?;
        hidden.line()
    })();
    match typed {
        Ok(Some(line)) => Ok(line),
        Ok(None) => Err(refused("no passphrase was given: nothing was done")),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            anyhow::Error::new(error)
                .context("there is no terminal to ask for a passphrase: give --passphrase-file"),
        )),
    }
}
