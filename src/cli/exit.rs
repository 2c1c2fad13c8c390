//! The exit codes: one table, from which the help is made too.

use std::fmt::Write;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Ok,
    /// It failed while running.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The configuration is not valid.
    Config,
    /// A local key cannot be used.
    Keys,
    /// The store cannot be used.
    Store,
    /// Refused: a payload, or this user.
    Refused,
    /// The daemon is not running.
    NotRunning,
    /// A token refused its PIN, or would after one more wrong one. The unit does not start again by
    /// itself on this one: a token locks after a few wrong PINs.
    Pin,
    /// Something that was looked into is damaged.
    Damaged,
    /// A check found something wrong, or could not be made.
    Unwell,
}

impl Exit {
    /// Every code with what it means, in order.
    pub const TABLE: [(Self, u8, &'static str); 11] = [
        (Self::Ok, 0, "done"),
        (Self::Failed, 1, "failed while running; systemd starts the daemon again"),
        (Self::Usage, 2, "the command line is wrong"),
        (Self::Config, 3, "the configuration is not valid: every problem is printed"),
        (Self::Keys, 4, "a local key (kek, ward) is missing, unreadable or not one"),
        (Self::Store, 5, "the store cannot be used"),
        (
            Self::Refused,
            6,
            "refused: a payload, a new key, a device (pair), a token (enrol), this user, or not confirmed",
        ),
        (Self::NotRunning, 7, "the daemon is not running (status)"),
        (Self::Pin, 8, "a token refused its PIN; systemd does not try again, a person must"),
        (Self::Damaged, 9, "damage was found (spool, audit)"),
        (Self::Unwell, 10, "a check found something wrong, or could not be made (doctor)"),
    ];

    /// The number.
    pub fn code(self) -> u8 {
        Self::TABLE.iter().find(|(exit, ..)| *exit == self).map_or(1, |(_, code, _)| *code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table as `--help` shows it.
pub(super) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (_, code, meaning) in Exit::TABLE {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {code}  {meaning}");
    }
    text
}

/// A command that did not do what was asked: how it ends and what is said on standard error.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// `None` when everything has been said.
    pub(crate) error: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: Some(error.into()) }
    }

    /// The same, with what it means for the whole before it.
    pub(crate) fn because(self, meaning: &'static str) -> Self {
        Self { error: self.error.map(|error| error.context(meaning)), ..self }
    }

    /// Ends with this code without another word.
    pub(crate) const fn silent(exit: Exit) -> Self {
        Self { exit, error: None }
    }
}

/// What goes wrong with standard input and output is a failure while running.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_counted_from_zero_and_none_is_forgotten() {
        for (place, (exit, code, _)) in Exit::TABLE.iter().enumerate() {
            assert_eq!((usize::from(*code), exit.code()), (place, *code));
        }
    }
}
