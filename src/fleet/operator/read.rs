//! Nobody signs what he has not read: what is to be signed is shown, and then asked for, before any passphrase.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};

use clap::Args;

use super::plain::plain;
use super::{PROGRAM, refused};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::Digest;

/// How many digits a person types.
const DIGITS: usize = 8;
/// The longest line that is read as an answer.
const MAX_ANSWER: u64 = 256;

/// What the signer has read.
#[derive(Debug, Args)]
pub(super) struct Read {
    /// The SHA-256 of what is signed, as another command has shown it: for scripts, and for whoever had it read out to him.
    #[arg(long, value_name = "HEX")]
    digest: Option<String>,
}

impl Read {
    /// Shows what is to be signed, and goes on when its digest was given, or when a person at a terminal types how it
    /// begins.
    pub(super) fn agreed(&self, what: &str, lines: &[String], payload: &[u8]) -> Result<(), Failure> {
        let digest = Digest::of(payload).to_string();
        if let Some(said) = &self.digest {
            if said.eq_ignore_ascii_case(&digest) {
                return Ok(());
            }
            return Err(refused(format!(
                "{what} has SHA-256 {digest}, not the one of --digest: it is not what was read; nothing was signed"
            )));
        }
        if !io::stdin().is_terminal() {
            return Err(refused(format!(
                "{what} is to be read before it is signed: it needs a person at a terminal, or --digest with the SHA-256 \
                 of what was read ({digest})"
            )));
        }
        for line in lines {
            out::remark_of(PROGRAM, format_args!("{}", plain(line)));
        }
        out::remark_of(
            PROGRAM,
            format_args!("{what} has SHA-256 {digest}: type its first {DIGITS} digits to sign that"),
        );
        let mut answer = String::new();
        io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer)?;
        if answer.trim().len() >= DIGITS && digest.starts_with(&answer.trim().to_ascii_lowercase()) {
            return Ok(());
        }
        Err(refused(format!("these are not the first digits of {what}: nothing was signed")))
    }
}
