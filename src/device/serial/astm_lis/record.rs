//! Records: fields, components, repeats, escapes (E1394 / LIS2-A2).
//!
//! The header says which characters divide what; usually `|\^&`, but an analyser may choose
//! others (one of the captures named on the facts page has `|@^\`).

use crate::device::observation::DeviceTime;

/// What divides fields, repeats and components, and what begins and ends an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delimiters {
    field: u8,
    repeat: u8,
    component: u8,
    escape: u8,
}

/// A record, and how to divide it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    text: &'a [u8],
    delimiters: Delimiters,
    is_cut: bool,
}

impl Delimiters {
    /// Those that a header record defines; `None` when it defines none that can be told apart.
    pub(super) fn of_header(text: &[u8]) -> Option<Self> {
        let [b'H' | b'h', field, repeat, component, escape, rest @ ..] = text else { return None };
        let all = [*field, *repeat, *component, *escape];
        let are_distinct = (0..4).all(|at| all.iter().skip(at + 1).all(|other| all.get(at) != Some(other)));
        let is_divider = |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_alphanumeric();
        let ends_there = rest.first().is_none_or(|next| next == field);
        let [field, repeat, component, escape] = all;
        (are_distinct && ends_there && all.iter().all(is_divider)).then_some(Self {
            field,
            repeat,
            component,
            escape,
        })
    }

    /// The character between fields.
    pub(super) const fn field(self) -> u8 {
        self.field
    }
}

impl<'a> Record<'a> {
    /// A record of a message with these delimiters.
    pub(super) const fn new(text: &'a [u8], delimiters: Delimiters) -> Self {
        Self { text, delimiters, is_cut: false }
    }

    /// The beginning of a record, without the field in which it ends: that may go on.
    pub(super) fn cut(text: &'a [u8], delimiters: Delimiters) -> Self {
        let end = text.iter().rposition(|byte| *byte == delimiters.field).unwrap_or_default();
        Self { text: text.get(..end).unwrap_or_default(), delimiters, is_cut: true }
    }

    /// Whether fields at its end are missing.
    pub(super) const fn is_cut(self) -> bool {
        self.is_cut
    }

    /// The field of a number as the standard counts: 1 is the record's type. Empty when it is not there.
    pub(super) fn field(self, number: usize) -> &'a [u8] {
        // The second field of a header is the definition of the delimiters and holds them bare.
        if self.text.first().is_some_and(|kind| kind.eq_ignore_ascii_case(&b'H')) {
            let behind = self.text.get(5..).unwrap_or_default();
            return match number {
                0 | 1 => self.text.get(..1).unwrap_or_default(),
                2 => self.text.get(2..5).unwrap_or_default(),
                _ => self.pieces(behind, self.delimiters.field).nth(number - 2).unwrap_or_default(),
            };
        }
        self.pieces(self.text, self.delimiters.field).nth(number.saturating_sub(1)).unwrap_or_default()
    }

    /// The components of a field's first repeat, as text, without surrounding space.
    pub(super) fn components(self, number: usize) -> Vec<String> {
        let first = self.repeats(number).next().unwrap_or_default();
        self.pieces(first, self.delimiters.component).map(|piece| self.text(piece)).collect()
    }

    /// The components of a field whose components repeat, and not the field.
    pub(super) fn outer_components(self, number: usize) -> Vec<String> {
        self.pieces(self.field(number), self.delimiters.component).map(|piece| self.text(piece)).collect()
    }

    /// The repeats of a field, as text.
    pub(super) fn texts(self, number: usize) -> impl Iterator<Item = String> {
        self.repeats(number).map(move |piece| self.text(piece))
    }

    /// A field as one text: its components with what stands between them, empty ones at both ends left out.
    pub(super) fn whole(self, number: usize) -> String {
        joined(&self.components(number), self.delimiters)
    }

    /// Whether a component of a field is one of these words, in whatever case.
    pub(super) fn has_any(self, number: usize, words: &[&str]) -> bool {
        self.repeats(number)
            .flat_map(|piece| self.pieces(piece, self.delimiters.component))
            .any(|piece| words.iter().any(|word| word.eq_ignore_ascii_case(&self.text(piece))))
    }

    /// Whether a field is a time that tells more than the day: two results of a day can be alike.
    pub(super) fn has_moment(self, number: usize) -> bool {
        let digits = self.components(number).first().map_or(0, String::len);
        digits >= 12 && self.time(number).is_some()
    }

    /// A field as date and time.
    pub(super) fn time(self, number: usize) -> Option<DeviceTime> {
        time(self.components(number).first()?)
    }

    fn repeats(self, number: usize) -> impl Iterator<Item = &'a [u8]> {
        self.pieces(self.field(number), self.delimiters.repeat)
    }

    /// Divides at a delimiter that does not stand within an escape of three characters.
    fn pieces(self, text: &'a [u8], delimiter: u8) -> impl Iterator<Item = &'a [u8]> {
        let escape = self.delimiters.escape;
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let text = rest?;
            let mut at = 0;
            while let Some(&byte) = text.get(at) {
                if byte == escape && text.get(at + 2) == Some(&escape) {
                    at += 3;
                } else if byte == delimiter {
                    rest = text.get(at + 1..);
                    return text.get(..at);
                } else {
                    at += 1;
                }
            }
            rest = None;
            Some(text)
        })
    }

    /// What a piece says: escapes resolved, UTF-8 or else Latin-1, control characters replaced.
    fn text(self, piece: &[u8]) -> String {
        let Delimiters { field, repeat, component, escape } = self.delimiters;
        let mut plain = Vec::with_capacity(piece.len());
        let mut rest = piece;
        while let Some((&byte, behind)) = rest.split_first() {
            if let ([code, end, further @ ..], true) = (behind, byte == escape)
                && *end == escape
            {
                match *code {
                    b'F' => plain.push(field),
                    b'R' => plain.push(repeat),
                    b'S' => plain.push(component),
                    b'E' => plain.push(escape),
                    // The character itself between two escapes, as some makers write it.
                    code if [field, repeat, component, escape].contains(&code) => plain.push(code),
                    // Highlighting and makers' own codes have nothing to say here.
                    _ => {}
                }
                rest = further;
            } else {
                plain.push(byte);
                rest = behind;
            }
        }
        let words = match std::str::from_utf8(&plain) {
            Ok(words) => words.to_owned(),
            Err(_) => plain.iter().copied().map(char::from).collect(),
        };
        let words: String =
            words.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        words.trim().to_owned()
    }
}

/// Components as one text.
fn joined(components: &[String], delimiters: Delimiters) -> String {
    let is_empty = |words: &&String| words.is_empty();
    let before = components.iter().take_while(is_empty).count();
    let behind = components.iter().rev().take_while(is_empty).count();
    let middle = components.get(before..components.len().saturating_sub(behind)).unwrap_or_default();
    middle.join(&char::from(delimiters.component).to_string())
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, local to the analyser.
fn time(words: &str) -> Option<DeviceTime> {
    let digits =
        words.get(..words.len().min(14)).filter(|words| words.bytes().all(|b| b.is_ascii_digit()))?;
    if ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let number = |from: usize| digits.get(from..from + 2).map_or(Some(0), |two| two.parse::<u8>().ok());
    let time = DeviceTime {
        year: digits.get(..4)?.parse().ok()?,
        month: number(4)?,
        day: number(6)?,
        hour: number(8)?,
        minute: number(10)?,
        second: number(12)?,
        ..DeviceTime::default()
    };
    let is_a_time = (1..=12).contains(&time.month)
        && (1..=31).contains(&time.day)
        && time.hour < 24
        && time.minute < 60
        && time.second < 60;
    is_a_time.then_some(time)
}
