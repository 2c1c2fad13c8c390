//! Before something that cannot be undone: who may, why, and whether they mean this gateway.
//!
//! What goes wrong is always a refusal, and nothing was done then.

use std::io::{self, BufRead, IsTerminal, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::anyhow;

use super::exit::{Exit, Failure};
use super::out;

/// A reason in fewer words is none.
const LEAST_REASON: usize = 12;
const MOST_REASON: usize = 500;
/// The longest line that is read as an answer.
const MAX_ANSWER: u64 = 256;

/// Reads a reason: who and why.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let reason = text.trim();
    let letters = reason.chars().filter(|c| c.is_alphanumeric()).count();
    if letters < LEAST_REASON || reason.chars().any(char::is_control) {
        return Err(format!("say who and why, in at least {LEAST_REASON} letters and one line"));
    }
    if reason.len() > MOST_REASON {
        return Err(format!("it has more than {MOST_REASON} bytes: say it shorter"));
    }
    Ok(reason.to_owned())
}

/// Only root and the owner of the store go on.
pub(super) fn owner(store: &Path) -> Result<(), Failure> {
    let user = rustix::process::geteuid().as_raw();
    let owner = std::fs::metadata(store).map(|metadata| metadata.uid());
    match owner {
        Ok(owner) if user == 0 || user == owner => Ok(()),
        Ok(owner) => {
            let error = anyhow!("only root and the owner of {} (user {owner}) may do this", store.display());
            Err(Failure::new(Exit::Refused, error))
        }
        Err(error) => {
            let error = anyhow!(error).context(format!("{} cannot be looked at", store.display()));
            Err(Failure::new(Exit::Store, error))
        }
    }
}

/// Has a person at a terminal type the gateway's name. `way_out` says how a script does without.
pub(super) fn by_name(gateway: &str, what: &str, way_out: &str) -> Result<(), Failure> {
    same_name(gateway, typed(what, "the name of this gateway", way_out)?.trim())
}

/// Has a person at a terminal type a device's id. `way_out` says how a script does without.
pub(super) fn by_id(id: &str, what: &str, way_out: &str) -> Result<(), Failure> {
    let answer = typed(what, "the id of the device", way_out)?;
    if answer.trim() == id {
        return Ok(());
    }
    let error = anyhow!("{:?} is not the id of the device: nothing was done", answer.trim());
    Err(Failure::new(Exit::Refused, error))
}

fn typed(what: &str, name: &str, way_out: &str) -> Result<String, Failure> {
    let input = io::stdin();
    if !input.is_terminal() {
        let error = anyhow!("{what}: it needs a person at a terminal who types {name}, or {way_out}");
        return Err(Failure::new(Exit::Refused, error));
    }
    out::remark(format_args!("{what}: type {name} to go on"));
    let mut answer = String::new();
    input.lock().take(MAX_ANSWER).read_line(&mut answer)?;
    Ok(answer)
}

/// Whether the name is this gateway's.
pub(super) fn same_name(gateway: &str, name: &str) -> Result<(), Failure> {
    if name == gateway {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, anyhow!("{name:?} is not the name of this gateway: nothing was done")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_something_in_one_line() {
        assert_eq!(reason("  Dr. Meyer, device recall 2026-4 ").unwrap(), "Dr. Meyer, device recall 2026-4");
        for poor in ["", "because", "............................", "one line\nand another line"] {
            assert!(reason(poor).is_err(), "{poor:?}");
        }
        assert!(reason(&"x".repeat(MOST_REASON + 1)).is_err());
    }
}
