//! Versions as advisories and devices write them.
//!
//! A version is numbers and words in turn: `1.3.1 Build 13`, `012U000061`, `L81`. Two can be ordered as far as
//! their words are the same; where they are not, nobody knows, and [`Fit::Unclear`] says so. `9.7` and `9.33`
//! are nobody's order either: read as parts the second is newer, read as decimals the first.

use std::cmp::Ordering;

mod expression;

pub(super) use expression::{Expression, Fit};

/// The longest version text that is looked at, in bytes.
const MAX_VERSION: usize = 64;
/// Words that may stand alone within a version. Any other could turn its meaning round ("2.3 onwards").
const WORDS: [&str; 9] = ["build", "mr", "rev", "revision", "sp", "patch", "release", "hotfix", "rc"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Digits as written.
    Number(String),
    Word(String),
}

/// A version that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version(Vec<Part>);

impl Version {
    /// Reads one version and nothing else.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let mut rest = lower.trim();
        for prefix in ["software ", "firmware ", "versions ", "version ", "ver. ", "ver "] {
            rest = rest.strip_prefix(prefix).unwrap_or(rest).trim_start();
        }
        let mut parts = Vec::new();
        let mut may_stand = true;
        for piece in rest.split_whitespace() {
            let has_digit = piece.bytes().any(|byte| byte.is_ascii_digit());
            // A second number stands only behind a word that says what it is.
            if if has_digit { !may_stand } else { !WORDS.contains(&piece) } {
                return None;
            }
            may_stand = !has_digit;
            read_piece(piece, &mut parts)?;
        }
        parts.iter().any(|part| matches!(part, Part::Number(_))).then_some(Self(parts))
    }

    /// Which of both is newer; none: nobody knows.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        if let ([Part::Number(a), Part::Number(one)], [Part::Number(b), Part::Number(two)]) =
            (self.0.as_slice(), other.0.as_slice())
            && number(a, b).is_eq()
            && number(one, two) != decimal(one, two)
        {
            return None;
        }
        let (mut ours, mut theirs) = (self.0.iter(), other.0.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Some(Ordering::Equal),
                (Some(Part::Number(one)), Some(Part::Number(two))) => match number(one, two) {
                    Ordering::Equal => {}
                    order @ (Ordering::Less | Ordering::Greater) => return Some(order),
                },
                (Some(Part::Word(one)), Some(Part::Word(two))) if one == two => {}
                (Some(first), None) => return longer(first, ours),
                (None, Some(first)) => return longer(first, theirs).map(Ordering::reverse),
                (Some(_), Some(_)) => return None,
            }
        }
    }

    /// Whether it begins with all of another; none: nobody knows.
    fn begins_with(&self, other: &Self) -> Option<bool> {
        let mut ours = self.0.iter();
        for wanted in &other.0 {
            match (ours.next(), wanted) {
                (Some(Part::Number(one)), Part::Number(two)) if number(one, two).is_eq() => {}
                (Some(Part::Number(_)), Part::Number(_)) => return Some(false),
                (Some(Part::Word(one)), Part::Word(two)) if one == two => {}
                (_, Part::Number(_) | Part::Word(_)) => return None,
            }
        }
        Some(true)
    }
}

fn read_piece(piece: &str, parts: &mut Vec<Part>) -> Option<()> {
    let piece = match piece.strip_prefix('v') {
        Some(rest) if parts.is_empty() && rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => piece,
    };
    for component in piece.split(['.', '_']) {
        // `1..2` is a range, `1.x` a family: neither is a version.
        if component.is_empty() || component.bytes().all(|byte| b"xyzn".contains(&byte)) {
            return None;
        }
        if !component.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        for run in component.as_bytes().chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
            let text = String::from_utf8_lossy(run).into_owned();
            let is_number = run.first().is_some_and(u8::is_ascii_digit);
            parts.push(if is_number { Part::Number(text) } else { Part::Word(text) });
        }
    }
    Some(())
}

/// By value, however long.
fn number(one: &str, two: &str) -> Ordering {
    let (one, two) = (one.trim_start_matches('0'), two.trim_start_matches('0'));
    one.len().cmp(&two.len()).then_with(|| one.cmp(two))
}

/// As digits behind a decimal point.
fn decimal(one: &str, two: &str) -> Ordering {
    let width = one.len().max(two.len());
    format!("{one:0<width$}").cmp(&format!("{two:0<width$}"))
}

/// How a version that goes on stands to the one that ends: `1.3.0` is `1.3`, `1.3.1` is newer, of `1.3a`
/// nobody knows.
fn longer<'a>(first: &'a Part, rest: impl Iterator<Item = &'a Part>) -> Option<Ordering> {
    let mut order = Ordering::Equal;
    for part in std::iter::once(first).chain(rest) {
        match part {
            Part::Number(digits) if digits.bytes().all(|digit| digit == b'0') => {}
            Part::Number(_) => order = Ordering::Greater,
            Part::Word(_) => return None,
        }
    }
    Some(order)
}
