//! What is wrong with a configuration: all of it at once, each with its file, key and reason.

use std::fmt;

use serde::Serialize;

use super::layers::DEVICES_FOLDER;

/// The most problems that are kept: past that, one more does not help the reader, and a file of
/// nothing but mistakes must not cost unbounded work.
pub const MAX_PROBLEMS: usize = 200;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Where it is written: a file of the configuration folder, or an environment variable.
    pub file: String,
    /// Which key; empty when the file as a whole is meant.
    pub key: String,
    /// What is wrong and what to do about it. Holds no secret: keys are files, never values.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, reason } = self;
        if key.is_empty() { write!(f, "{file}: {reason}") } else { write!(f, "{file}: {key}: {reason}") }
    }
}

/// Everything that is wrong, in the order of the files. Never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    list: Vec<Problem>,
    more: usize,
}

impl Problems {
    /// All that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// How many there are, those past [`MAX_PROBLEMS`] included.
    pub const fn count(&self) -> usize {
        self.list.len() + self.more
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The same problem of some keys of a file.
    pub fn of<'k>(file: &str, keys: impl IntoIterator<Item = &'k str>, reason: &str) -> Self {
        let mut problems = Self::default();
        for key in keys {
            problems.push(file, key, reason);
        }
        problems
    }

    pub(super) fn push(&mut self, file: &str, key: &str, reason: impl Into<String>) {
        if self.list.len() >= MAX_PROBLEMS {
            self.more = self.more.saturating_add(1);
            return;
        }
        let reason = reason.into();
        self.list.push(Problem { file: one_line(file), key: one_line(key), reason: one_line(&reason) });
    }

    /// Whether a problem with this key, or with a table that holds it, is already known: what
    /// follows from it need not be said again. A key of `gateway.toml` may have been found wrong in
    /// another layer; a file of devices stands for itself.
    pub(super) fn covers(&self, file: &str, key: &str) -> bool {
        let is_layered = !file.starts_with(DEVICES_FOLDER);
        self.list.iter().any(|problem| {
            let is_held = key == problem.key
                || (!problem.key.is_empty()
                    && key.strip_prefix(&problem.key).is_some_and(|rest| rest.starts_with(['.', '['])));
            is_held && (is_layered || problem.file == file)
        })
    }

    /// Whether a problem is known of this key of this file, of a table that holds it, or of something in it.
    pub(super) fn touches(&self, file: &str, key: &str) -> bool {
        let is_within = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.list.iter().any(|problem| {
            problem.file == file && (is_within(&problem.key, key) || is_within(key, &problem.key))
        })
    }

    /// Whether a file as a whole has a problem: then its missing keys are not worth a word.
    pub(super) fn covers_file(&self, file: &str) -> bool {
        self.list.iter().any(|problem| problem.file == file && problem.key.is_empty())
    }
}

/// Parsers speak in several lines, and a key may hold anything: what is shown is one line that does not
/// steer the terminal.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(", ").chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })?;
        for problem in &self.list {
            write!(f, "\n  {problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}
