//! What can be set for a driver.
//!
//! In: the rows of a model's catalogue entry, and what the configuration gives. Out: a value for
//! every row. Facts of a protocol that are not public, or known from one source only, are settings
//! with a default, never a guess that nobody can change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One thing that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its key below `settings` in the device's entry.
    pub name: &'static str,
    /// What it does and where to look up what is right, for a person.
    pub meaning: &'static str,
    /// What it can be.
    pub values: Values,
}

/// What a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
    /// A whole number within these bounds.
    Number {
        /// The least.
        least: i64,
        /// The most.
        most: i64,
        /// The default.
        default: i64,
    },
    /// A secret: the place of the file that holds it, never itself. The default is none.
    Secret,
}

/// A value for each setting of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    words: BTreeMap<&'static str, &'static str>,
    numbers: BTreeMap<&'static str, i64>,
    files: BTreeMap<&'static str, PathBuf>,
}

impl Settings {
    /// What holds when nothing is said.
    pub fn defaults(rows: &[Setting]) -> Self {
        let mut settings = Self::default();
        for row in rows {
            match row.values {
                Values::Word(words) => {
                    settings.words.insert(row.name, words.first().copied().unwrap_or_default());
                }
                Values::Number { default, .. } => {
                    settings.numbers.insert(row.name, default);
                }
                Values::Secret => {}
            }
        }
        settings
    }

    /// Sets a word; the error says what it can be.
    pub fn set_word(&mut self, row: &Setting, given: &str) -> Result<(), String> {
        let Values::Word(words) = row.values else { return Err(row.bounds()) };
        let word = words.iter().find(|word| **word == given).ok_or_else(|| row.bounds())?;
        self.words.insert(row.name, word);
        Ok(())
    }

    /// Sets a number; the error says what it can be.
    pub fn set_number(&mut self, row: &Setting, given: i64) -> Result<(), String> {
        match row.values {
            Values::Number { least, most, .. } if (least..=most).contains(&given) => {
                self.numbers.insert(row.name, given);
                Ok(())
            }
            Values::Number { .. } | Values::Word(_) | Values::Secret => Err(row.bounds()),
        }
    }

    /// Sets where the file of a secret is; the error says what it can be.
    pub fn set_file(&mut self, row: &Setting, given: PathBuf) -> Result<(), String> {
        if row.values != Values::Secret {
            return Err(row.bounds());
        }
        self.files.insert(row.name, given);
        Ok(())
    }

    /// The word of a setting; empty when the model has no such setting.
    pub fn word(&self, name: &str) -> &'static str {
        self.words.get(name).copied().unwrap_or_default()
    }

    /// The number of a setting; 0 when the model has no such setting.
    pub fn number(&self, name: &str) -> i64 {
        self.numbers.get(name).copied().unwrap_or_default()
    }

    /// Where the file of a secret is, if there is one.
    pub fn file(&self, name: &str) -> Option<&Path> {
        self.files.get(name).map(PathBuf::as_path)
    }
}

impl Setting {
    /// What it can be, in words.
    pub fn bounds(&self) -> String {
        match self.values {
            Values::Word(words) => format!("must be one of {}", words.join(", ")),
            Values::Number { least, most, .. } => format!("must be a whole number from {least} to {most}"),
            Values::Secret => "must be the path of a file, or \"credential:NAME\"".to_owned(),
        }
    }

    /// What holds when nothing is said, as a person would write it.
    pub fn default_text(&self) -> String {
        match self.values {
            Values::Word(words) => format!("{:?}", words.first().copied().unwrap_or_default()),
            Values::Number { default, .. } => default.to_string(),
            Values::Secret => "none".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Setting; 2] = [
        Setting { name: "checksum", meaning: "", values: Values::Word(&["xor", "sum"]) },
        Setting { name: "poll", meaning: "", values: Values::Number { least: 5, most: 60, default: 10 } },
    ];

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = Settings::defaults(&ROWS);
        assert_eq!((settings.word("checksum"), settings.number("poll")), ("xor", 10));
        assert_eq!((ROWS[0].default_text(), ROWS[1].default_text()), ("\"xor\"".to_owned(), "10".to_owned()));
    }

    #[test]
    fn a_secret_is_given_by_the_place_of_its_file_alone() {
        let secret = Setting { name: "code", meaning: "", values: Values::Secret };
        let mut settings = Settings::defaults(&[secret, ROWS[0]]);
        assert_eq!(settings.file("code"), None);
        assert!(settings.set_word(&secret, "1234").is_err() && settings.set_number(&secret, 1234).is_err());
        assert!(settings.set_file(&ROWS[0], PathBuf::from("/code")).is_err());
        assert_eq!(settings.set_file(&secret, PathBuf::from("/code")), Ok(()));
        assert_eq!(settings.file("code"), Some(Path::new("/code")));
        assert_eq!(secret.default_text(), "none");
    }

    #[test]
    fn only_what_a_row_allows_is_taken() {
        let mut settings = Settings::defaults(&ROWS);
        assert_eq!(settings.set_word(&ROWS[0], "sum"), Ok(()));
        assert_eq!(settings.set_number(&ROWS[1], 5), Ok(()));
        assert_eq!((settings.word("checksum"), settings.number("poll")), ("sum", 5));
        assert_eq!(settings.set_number(&ROWS[1], 4), Err("must be a whole number from 5 to 60".to_owned()));
        assert_eq!(settings.set_word(&ROWS[0], "crc"), Err("must be one of xor, sum".to_owned()));
        assert!(settings.set_word(&ROWS[1], "5").is_err() && settings.set_number(&ROWS[0], 1).is_err());
    }
}
