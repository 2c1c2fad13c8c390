//! The forms of lines in a description, judged.

use super::describe::{Description, Field, Meaning, Place, Shape, Split};
use super::judge::{FIELDS, Judge, LINES, WORD, is_word};
use super::raw::{RawField, RawLine};
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit, metric_by_reference};
use crate::device::observation::Kind;

impl Judge {
    pub(super) fn lines(&mut self, raw: &[RawLine], longest: usize) -> Vec<Shape> {
        if raw.is_empty() || raw.len() > LINES {
            self.problem("line", format!("describe 1 to {LINES} forms of lines"));
        }
        let mut lines: Vec<Shape> = Vec::new();
        for (at, line) in raw.iter().take(LINES).enumerate() {
            let key = format!("line[{}]", at + 1);
            let starts = line.starts.clone().unwrap_or_default();
            if !starts.is_empty() && !is_word(&starts) {
                self.problem(
                    &format!("{key}.starts"),
                    format!("write 1 to {WORD} printable ASCII characters"),
                );
            }
            if lines.iter().any(|earlier| earlier.starts == starts) {
                self.problem(
                    &format!("{key}.starts"),
                    "an earlier line begins so already: one of both is never read",
                );
            }
            let split = self.split(&key, line);
            let pieces = line.pieces.and_then(|pieces| {
                self.number(&format!("{key}.pieces"), Some(pieces), 1..=256)
                    .and_then(|n| usize::try_from(n).ok())
            });
            if split == Split::Columns && pieces.is_some() {
                self.problem(
                    &format!("{key}.pieces"),
                    "a line that is cut by columns has no pieces: leave it out",
                );
            }
            let raw = line.field.as_deref().unwrap_or_default();
            if raw.is_empty() || raw.len() > FIELDS {
                self.problem(&format!("{key}.field"), format!("describe 1 to {FIELDS} values"));
            }
            let numbered = raw.iter().take(FIELDS).enumerate();
            let fields: Vec<Field> = numbered
                .filter_map(|(at, field)| {
                    self.field(&format!("{key}.field[{}]", at + 1), field, &split, longest)
                })
                .collect();
            if fields.iter().filter(|field| field.meaning == Meaning::Serial).count() > 1 {
                self.problem(&format!("{key}.field"), "it has two serial numbers: one line is of one device");
            }
            lines.push(Shape { starts, split, pieces, fields });
        }
        // The longest beginning first: "T1" before "T".
        lines.sort_by_key(|line| std::cmp::Reverse(line.starts.len()));
        lines
    }

    fn split(&mut self, key: &str, raw: &RawLine) -> Split {
        let separator = one(raw.separator.as_deref());
        let equals = one(raw.equals.as_deref());
        let has = (raw.separator.is_some(), raw.equals.is_some());
        match (raw.split.as_deref(), separator, equals, has) {
            (Some("columns"), _, _, (false, false)) => Split::Columns,
            (Some("separator"), Some(separator), _, (_, false)) => Split::Separator(separator),
            (Some("pairs"), Some(separator), Some(equals), _) if separator != equals => {
                Split::Pairs { separator, equals }
            }
            _ => {
                let reason = "write \"separator\" with `separator`, \"pairs\" with `separator` and `equals` (each one printable \
                              ASCII character), or \"columns\" with neither";
                self.problem(&format!("{key}.split"), reason);
                Split::Columns
            }
        }
    }

    fn field(&mut self, key: &str, raw: &RawField, split: &Split, longest: usize) -> Option<Field> {
        let place = self.place(key, raw, split, longest);
        let suffix = raw.suffix.clone().unwrap_or_default();
        if !suffix.is_empty() && !is_word(&suffix) {
            self.problem(&format!("{key}.suffix"), format!("write 1 to {WORD} printable ASCII characters"));
        }
        let absent = raw.absent.clone().unwrap_or_default();
        if absent.len() > FIELDS || absent.iter().any(|word| !word.is_empty() && !is_word(word)) {
            self.problem(
                &format!("{key}.absent"),
                format!("write at most {FIELDS} words of at most {WORD} characters"),
            );
        }
        let meaning = if raw.serial == Some(true) { self.serial(key, raw) } else { self.reading(key, raw) };
        let is_optional = raw.optional.unwrap_or(false);
        Some(Field { place: place?, suffix, absent, is_optional, meaning: meaning? })
    }

    fn place(&mut self, key: &str, raw: &RawField, split: &Split, longest: usize) -> Option<Place> {
        match (split, raw.at, raw.key.as_deref(), raw.columns.as_deref()) {
            (Split::Separator(_), Some(at @ 1..=256), None, None) => usize::try_from(at).ok().map(Place::At),
            (Split::Pairs { .. }, None, Some(name), None) if is_word(name) => {
                Some(Place::Key(name.to_owned()))
            }
            (Split::Columns, None, None, Some([from, to])) if 1 <= *from && from <= to => {
                let to = usize::try_from(*to).ok().filter(|to| *to <= longest);
                let columns = usize::try_from(*from).ok().zip(to);
                if columns.is_none() {
                    self.problem(&format!("{key}.columns"), "the last column is behind `frame.longest`");
                }
                columns.map(|(from, to)| Place::Columns(from, to))
            }
            _ => {
                let reason = "say where it stands: `at = 2` in a line with separators, `key = \"T1\"` in a line of pairs, \
                              `columns = [4, 8]` in a line that is cut by columns";
                self.problem(key, reason);
                None
            }
        }
    }

    fn serial(&mut self, key: &str, raw: &RawField) -> Option<Meaning> {
        let nothing = raw.metric.is_none() && raw.unit.is_none() && raw.kind.is_none() && raw.words.is_none();
        if !(nothing && raw.shift.is_none() && raw.channel.is_none()) || raw.optional == Some(true) {
            let reason = "a serial number has no metric, unit, kind, words, shift and channel and is not optional: leave them \
                          out";
            self.problem(&format!("{key}.serial"), reason);
            return None;
        }
        Some(Meaning::Serial)
    }

    fn reading(&mut self, key: &str, raw: &RawField) -> Option<Meaning> {
        let words = raw.words.clone().unwrap_or_default();
        let are_words = raw.words.is_none() || !words.is_empty();
        if !are_words || words.len() > FIELDS || words.iter().any(|word| !is_word(word)) {
            let reason = format!(
                "list 1 to {FIELDS} words of 1 to {WORD} characters: a word that is not listed is not passed on"
            );
            self.problem(&format!("{key}.words"), reason);
        }
        let shift = self.number(&format!("{key}.shift"), raw.shift.or(Some(0)), -6..=6);
        if !words.is_empty() && (raw.unit.is_some() || raw.shift.is_some()) {
            self.problem(&format!("{key}.words"), "a word has no unit and no shift: leave them out");
        }
        let channel = self.number(&format!("{key}.channel"), raw.channel.or(Some(0)), 0..=255);
        let metric = self.metric(key, raw.metric.as_deref());
        let unit = self.unit(key, raw.unit.as_deref());
        let kind = match raw.kind.as_deref() {
            Some("measurement") => Some(Kind::Measurement),
            Some("setting") => Some(Kind::Setting),
            Some("state") => Some(Kind::State),
            Some(_) | None => {
                self.problem(
                    &format!("{key}.kind"),
                    "write \"measurement\", \"setting\" or \"state\"; alarms need a driver",
                );
                None
            }
        };
        Some(Meaning::Reading {
            metric: metric?,
            unit: unit?,
            kind: kind?,
            channel: u8::try_from(channel?).ok()?,
            words,
            shift: i8::try_from(shift?).ok()?,
        })
    }

    fn metric(&mut self, key: &str, reference: Option<&str>) -> Option<&'static Metric> {
        let found = reference.and_then(metric_by_reference);
        let is_event = found.is_some_and(|metric| metric.reference.starts_with("MDC_EVT_"));
        if found.is_none() || is_event {
            let reason = "write the reference id of an element that `wardline drivers` lists, no alarm; or `serial = true`";
            self.problem(&format!("{key}.metric"), reason);
        }
        found.filter(|_| !is_event)
    }

    fn unit(&mut self, key: &str, name: Option<&str>) -> Option<&'static Unit> {
        let Some(name) = name else { return Some(&mdc::DIMENSIONLESS) };
        let found = mdc::UNITS.iter().copied().find(|unit| unit.ucum == name || unit.symbol == name);
        if found.is_none() {
            let known: Vec<&str> = mdc::UNITS.iter().map(|unit| unit.ucum).collect();
            self.problem(&format!("{key}.unit"), format!("write one of {}", known.join(", ")));
        }
        found
    }

    /// Two values of one form of line that nobody could tell apart.
    pub(super) fn same_reading_twice(&mut self, description: &Description) {
        for line in &description.lines {
            let mut seen = Vec::new();
            for field in &line.fields {
                let Meaning::Reading { metric, channel, kind, .. } = &field.meaning else { continue };
                if seen.contains(&(metric.code, *channel, *kind)) {
                    let reason = format!(
                        "{} stands twice in one line: give them different `channel`s",
                        metric.reference
                    );
                    self.problem("line", reason);
                }
                seen.push((metric.code, *channel, *kind));
            }
        }
    }
}

/// One printable ASCII character.
fn one(text: Option<&str>) -> Option<char> {
    let mut characters = text?.chars();
    let first = characters.next().filter(|c| (' '..='~').contains(c))?;
    characters.next().is_none().then_some(first)
}
