//! What a description says, judged, and the catalogue's row that is made of it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::SiteLine;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::Kind;
use crate::link::{AllowSet, Line, Request};

/// A device that the site describes.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The driver's name: `site:` and what the site calls it.
    pub(super) name: String,
    pub(super) title: String,
    pub(super) class: Class,
    pub(super) port: Line,
    /// How long the device may be silent before the line is opened again.
    pub(super) quiet: Duration,
    pub(super) start: Option<u8>,
    pub(super) ends: Vec<u8>,
    pub(super) longest: usize,
    pub(super) checksum: Checksum,
    pub(super) polls: Vec<Poll>,
    /// Beginnings of lines that say nothing.
    pub(super) ignored: Vec<String>,
    /// The longest beginning first.
    pub(super) lines: Vec<Shape>,
}

/// What stands at the end of a line, as two hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    None,
    /// All bytes before it, exclusive or.
    Xor {
        counts_start: bool,
    },
    /// The sum of all bytes before it, its low eight bits.
    Sum {
        counts_start: bool,
    },
}

/// Something that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    pub(super) text: Vec<u8>,
    pub(super) every: Duration,
}

/// One form of line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    /// How the line begins.
    pub(super) starts: String,
    pub(super) split: Split,
    /// How many pieces it has, no more and no less.
    pub(super) pieces: Option<usize>,
    pub(super) fields: Vec<Field>,
}

/// How a line is cut into pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// At a character; a blank stands for any number of them.
    Separator(char),
    /// At a character, each piece a key and its value.
    Pairs { separator: char, equals: char },
    /// By columns.
    Columns,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The piece of this number; the line's own beginning stands in the first.
    At(usize),
    /// The value of this key.
    Key(String),
    /// From this column to that, both counted from 1, both included.
    Columns(usize, usize),
}

/// A value of a line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) place: Place,
    /// What has to stand behind the value.
    pub(super) suffix: String,
    /// What stands for no value.
    pub(super) absent: Vec<String>,
    pub(super) is_optional: bool,
    pub(super) meaning: Meaning,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    /// The device's serial number.
    Serial,
    /// A reading.
    Reading {
        metric: &'static Metric,
        unit: &'static Unit,
        kind: Kind,
        channel: u8,
        /// The words that it can be; a number when there are none.
        words: Vec<String>,
        /// The power of ten that the digits are to be taken with.
        shift: i8,
    },
}

impl Description {
    /// The name of its driver: `site:` and what the site calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one of its lines tells the device's serial number.
    pub(super) fn states_serial(&self) -> bool {
        self.lines.iter().flat_map(|line| &line.fields).any(|field| field.meaning == Meaning::Serial)
    }

    /// The catalogue's row. It lives as long as the program; the same description gives the same row, so that
    /// reading the configuration again costs nothing.
    pub fn model(self) -> &'static SerialModel {
        static MADE: Mutex<Vec<(&'static Description, &'static SerialModel)>> = Mutex::new(Vec::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, model)) = made.iter().find(|(known, _)| **known == self) {
            return model;
        }
        let description: &'static Self = Box::leak(Box::new(self));
        let model: &'static SerialModel = Box::leak(Box::new(description.row()));
        made.push((description, model));
        model
    }

    fn row(&'static self) -> SerialModel {
        let request = |poll: &'static Poll| {
            Request::fixed(std::str::from_utf8(&poll.text).map_or("poll", str::trim), &poll.text)
        };
        let requests: Vec<Request> = self.polls.iter().map(request).collect();
        let mut reads: Vec<&'static Metric> = Vec::new();
        for field in self.lines.iter().flat_map(|line| &line.fields) {
            if let Meaning::Reading { metric, .. } = field.meaning
                && !reads.contains(&metric)
            {
                reads.push(metric);
            }
        }
        SerialModel {
            name: &self.name,
            title: &self.title,
            class: self.class,
            line: self.port,
            requests: AllowSet::new(Box::leak(requests.into_boxed_slice())),
            reads: Box::leak(reads.into_boxed_slice()),
            identity: if self.states_serial() { IdentityProof::Reported } else { IdentityProof::PortOnly },
            parts: Parts::One,
            settings: &[],
            quiet: self.quiet + Duration::from_secs(5),
            driver: Box::leak(Box::new(move |_: &_| Box::new(SiteLine::new(self)) as Box<_>)),
        }
    }
}
