//! From what a person wrote to a [`Description`], or everything that is wrong with it at once.
//!
//! What may be sent is the narrow part. A description is not this program's: so a poll is at most
//! [`POLL_LENGTH`] characters of printable text, carriage return, line feed, STX, ETX and ENQ, and there are at
//! most [`POLLS`]. Other control characters are refused: ESC, XON and XOFF, DLE and the like switch devices into
//! modes, hold up a line or end a session. And whoever writes polls has to write `polls_change_nothing = true`: the
//! program cannot know what a device does with a text.

use std::time::Duration;

use super::describe::{Checksum, Description, Poll};
use super::raw::{RawDescription, RawFrame, RawPoll};
use crate::device::catalogue::Class;
use crate::link::{Line, Parity};

/// What the names of these drivers begin with, in the configuration and in the card of every record.
pub const PREFIX: &str = "site:";

/// The most polls.
const POLLS: usize = 8;
/// The longest poll.
const POLL_LENGTH: usize = 64;
/// The most forms of lines, and the most beginnings to be ignored.
pub(super) const LINES: usize = 16;
/// The most values of one line, and the most words that one can be.
pub(super) const FIELDS: usize = 32;
/// The longest word, beginning, key, suffix.
pub(super) const WORD: usize = 32;

/// One thing that is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which key, for instance `line[2].field[1].metric`; places count from 1.
    pub key: String,
    /// What is wrong and what to do about it.
    pub reason: String,
}

/// Collects what is wrong.
#[derive(Default)]
pub(super) struct Judge {
    problems: Vec<Problem>,
}

impl RawDescription {
    /// Everything that is wrong, or the description.
    pub fn judge(&self) -> Result<Description, Vec<Problem>> {
        let mut judge = Judge::default();
        let frame = self.frame.clone().unwrap_or_default();
        let (start, ends, longest, checksum) = judge.frame(&frame);
        let polls = judge.polls(self.poll.as_deref().unwrap_or_default(), self.polls_change_nothing);
        let description = Description {
            name: judge.name(self.name.as_deref()),
            title: judge.text("title", self.title.as_deref(), 80).unwrap_or_default(),
            class: judge.class(self.class.as_deref()),
            port: judge.port(self),
            quiet: judge.quiet(self.quiet, &polls),
            start,
            ends,
            longest,
            checksum,
            polls,
            ignored: judge.ignored(self.ignore.as_deref().unwrap_or_default()),
            lines: judge.lines(self.line.as_deref().unwrap_or_default(), longest),
        };
        judge.same_reading_twice(&description);
        if judge.problems.is_empty() { Ok(description) } else { Err(judge.problems) }
    }
}

impl Judge {
    pub(super) fn problem(&mut self, key: &str, reason: impl Into<String>) {
        self.problems.push(Problem { key: key.to_owned(), reason: reason.into() });
    }

    fn name(&mut self, name: Option<&str>) -> String {
        let name = name.unwrap_or_default();
        let is_name = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name {
            self.problem(
                "name",
                "write 1 to 32 of the characters a-z, 0-9 and -, for instance \"acme-warmer\"",
            );
        }
        format!("{PREFIX}{name}")
    }

    /// A text that has to be there.
    fn text(&mut self, key: &str, text: Option<&str>, most: usize) -> Option<String> {
        let text = text.unwrap_or_default();
        if text.is_empty() || text.chars().count() > most || text.chars().any(char::is_control) {
            self.problem(key, format!("write 1 to {most} printable characters"));
            return None;
        }
        Some(text.to_owned())
    }

    fn class(&mut self, class: Option<&str>) -> Class {
        match class {
            Some("monitor") => Class::Monitor,
            Some("therapy") => Class::Therapy,
            Some(_) | None => {
                self.problem(
                    "class",
                    "write \"monitor\" for a device that only watches, \"therapy\" for one that treats",
                );
                Class::Therapy
            }
        }
    }

    pub(super) fn number(
        &mut self,
        key: &str,
        number: Option<i64>,
        bounds: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let found = number.filter(|number| bounds.contains(number));
        if found.is_none() {
            let (least, most) = (bounds.start(), bounds.end());
            self.problem(key, format!("write a whole number from {least} to {most}"));
        }
        found
    }

    fn port(&mut self, raw: &RawDescription) -> Line {
        let baud = self.number("baud", raw.baud, 300..=921_600);
        let data_bits = self.number("data_bits", raw.data_bits.or(Some(8)), 7..=8);
        let stop_bits = self.number("stop_bits", raw.stop_bits.or(Some(1)), 1..=2);
        let parity = match raw.parity.as_deref() {
            None | Some("none") => Parity::None,
            Some("even") => Parity::Even,
            Some("odd") => Parity::Odd,
            Some(_) => {
                self.problem("parity", "write \"none\", \"even\" or \"odd\"");
                Parity::None
            }
        };
        let small = |number: Option<i64>| number.and_then(|number| u8::try_from(number).ok());
        Line {
            baud: baud.and_then(|baud| u32::try_from(baud).ok()).unwrap_or(9_600),
            data_bits: small(data_bits).unwrap_or(8),
            parity,
            stop_bits: small(stop_bits).unwrap_or(1),
        }
    }

    fn quiet(&mut self, quiet: Option<i64>, polls: &[Poll]) -> Duration {
        let quiet = self.number("quiet", quiet.or(Some(30)), 10..=3_600).unwrap_or(30);
        let quiet = Duration::from_secs(u64::try_from(quiet).unwrap_or(30));
        let often = polls.iter().map(|poll| poll.every).min().unwrap_or_default();
        if often * 3 > quiet {
            let least = often.as_secs() * 3;
            self.problem(
                "quiet",
                format!("write at least three periods of the poll that is sent most often: {least}"),
            );
        }
        quiet
    }

    fn frame(&mut self, raw: &RawFrame) -> (Option<u8>, Vec<u8>, usize, Checksum) {
        let start = raw.start.as_deref().and_then(|start| match start.as_bytes() {
            [byte] if byte.is_ascii() => Some(*byte),
            _ => {
                self.problem(
                    "frame.start",
                    "write one ASCII character, for instance \"\\u0002\", or leave it out",
                );
                None
            }
        });
        let ends = raw.ends.as_deref().unwrap_or_default().as_bytes().to_vec();
        let are_ends = (1..=4).contains(&ends.len()) && ends.iter().all(u8::is_ascii_control);
        if !are_ends || start.is_some_and(|start| ends.contains(&start)) {
            let reason = "write the 1 to 4 control characters of which each ends a line, for instance \"\\r\\n\"; the start \
                          character is none of them";
            self.problem("frame.ends", reason);
        }
        let longest =
            self.number("frame.longest", raw.longest, 8..=1_024).and_then(|most| usize::try_from(most).ok());
        let counts_start = raw.checksum_counts_start.unwrap_or(false);
        if counts_start && (start.is_none() || matches!(raw.checksum.as_deref(), None | Some("none"))) {
            self.problem(
                "frame.checksum_counts_start",
                "there is no start character or no checksum: leave it out",
            );
        }
        let checksum = match raw.checksum.as_deref() {
            None | Some("none") => Checksum::None,
            Some("xor") => Checksum::Xor { counts_start },
            Some("sum") => Checksum::Sum { counts_start },
            Some(_) => {
                self.problem(
                    "frame.checksum",
                    "write \"none\", \"xor\" or \"sum\"; other checksums need a driver",
                );
                Checksum::None
            }
        };
        (start, ends, longest.unwrap_or(8), checksum)
    }

    fn polls(&mut self, raw: &[RawPoll], change_nothing: Option<bool>) -> Vec<Poll> {
        if raw.len() > POLLS {
            self.problem("poll", format!("there may be at most {POLLS}"));
        }
        if raw.is_empty() == (change_nothing == Some(true)) {
            let reason = "who writes polls answers for what the device does with them: write true when the device's manual \
                          says that none of them changes anything, and leave it out when there is none";
            self.problem("polls_change_nothing", reason);
        }
        let mut polls: Vec<Poll> = Vec::new();
        for (at, poll) in raw.iter().take(POLLS).enumerate() {
            let key = format!("poll[{}]", at + 1);
            let every = self.number(&format!("{key}.every"), poll.every, 1..=1_200).unwrap_or(1);
            let text = poll.text.clone().unwrap_or_default().into_bytes();
            let may_be_sent = |byte: &u8| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | 0x02 | 0x03 | 0x05);
            if text.is_empty() || text.len() > POLL_LENGTH || !text.iter().all(may_be_sent) {
                let reason = format!(
                    "write 1 to {POLL_LENGTH} printable ASCII characters; of the control characters only \\r, \\n, \
                     \\u0002, \\u0003 and \\u0005 may be sent"
                );
                self.problem(&format!("{key}.text"), reason);
            } else if polls.iter().any(|earlier| earlier.text == text) {
                self.problem(
                    &format!("{key}.text"),
                    "it is sent by an earlier poll already: take this one out",
                );
            }
            polls.push(Poll { text, every: Duration::from_secs(u64::try_from(every).unwrap_or(1)) });
        }
        polls
    }

    fn ignored(&mut self, raw: &[String]) -> Vec<String> {
        if raw.len() > LINES || raw.iter().any(|starts| !is_word(starts)) {
            self.problem(
                "ignore",
                format!("write at most {LINES} beginnings of 1 to {WORD} printable ASCII characters"),
            );
        }
        raw.iter().take(LINES).cloned().collect()
    }
}

/// 1 to [`WORD`] printable ASCII characters.
pub(super) fn is_word(text: &str) -> bool {
    (1..=WORD).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
