//! The reports of the ventilator: keyword, byte count, field count, STX, fields, ETX, CR.
//!
//! In: a span that ended in CR, its CR left out. Out: a report, or in which way it is none. There is
//! no checksum: what stands for one are the two counts that every report carries, the width of each
//! field, STX and ETX in their places and nothing but printable characters between them. A byte that is
//! lost, doubled or turned into a comma fails that. A digit that became another digit does not.

use crate::device::framing::Delimiters;

/// The longest span: `MISCF` is 1,243 bytes; the rest is for newer software with more fields.
const LONGEST: usize = 1_536;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;

/// How spans are told apart. LF ends one too: a capture that went through a terminal has it.
pub(super) const DELIMITERS: Delimiters = Delimiters {
    start: None,
    ends: b"\r\n",
    abort: None,
    longest: LONGEST,
    is_whole: |span| Span::read(span).is_ok(),
};

/// One of the two reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `MISCA`, the answer to `SNDA`.
    Short,
    /// `MISCF`, the answer to `SNDF`.
    Full,
}

/// How a report is laid out. Sources: mdpnp `pb840.fields`; the widths are those at which the two
/// counts of published reports come out (706 bytes in 97 fields, 1225 bytes in 169 fields).
struct Layout {
    keyword: &'static [u8],
    fields: usize,
    /// The fields that are not [`USUAL_WIDTH`] wide, by number.
    wide: &'static [(usize, usize)],
}

const USUAL_WIDTH: usize = 6;

/// The number of the first field behind STX; keyword, counts and STX are 1 to 4.
const FIRST: usize = 5;

static SHORT: Layout =
    Layout { keyword: b"MISCA", fields: 97, wide: &[(6, 18), (8, 12), (62, 12), (100, 9)] };

static FULL: Layout = Layout {
    keyword: b"MISCF",
    fields: 169,
    wide: &[(6, 18), (7, 12), (8, 9), (50, 9), (53, 18), (55, 9), (66, 9)],
};

impl Form {
    const fn layout(self) -> &'static Layout {
        match self {
            Self::Short => &SHORT,
            Self::Full => &FULL,
        }
    }
}

impl Layout {
    fn width(&self, number: usize) -> usize {
        self.wide.iter().find(|(at, _)| *at == number).map_or(USUAL_WIDTH, |(_, width)| *width)
    }
}

/// What a span is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// A whole report.
    Report(Report),
    /// The ventilator does not know the command. How exactly it says so beside these words is not
    /// public.
    UnknownCommand,
    /// A request: the host's side of a capture, or a line that sends back what it is sent.
    Request,
}

/// A whole report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Which.
    pub(super) form: Form,
    fields: Vec<String>,
}

impl Report {
    /// A field by the number that the manual gives it, without the blanks behind it; empty when there is
    /// none.
    pub(super) fn field(&self, number: usize) -> &str {
        number.checked_sub(FIRST).and_then(|at| self.fields.get(at)).map_or("", String::as_str)
    }

    /// Whether it has more fields than are known.
    pub(super) fn has_more(&self) -> bool {
        self.fields.len() > self.form.layout().fields
    }
}

impl Span {
    /// Reads a span. The error says why it is nothing, without its content.
    pub(super) fn read(span: &[u8]) -> Result<Self, &'static str> {
        // The cheap test first: the framer asks at every byte of a noisy span.
        match span.first() {
            Some(b'M') => Self::read_report(span).map(Self::Report),
            Some(b'U') if span.starts_with(b"UNKNOWN") && span.len() <= 64 => Ok(Self::UnknownCommand),
            Some(b'S' | b'R') if [b"SNDA", b"SNDF", b"RSET"].iter().any(|known| span == *known) => {
                Ok(Self::Request)
            }
            Some(_) | None => Err("it is no report"),
        }
    }

    fn read_report(span: &[u8]) -> Result<Report, &'static str> {
        let form = [Form::Short, Form::Full]
            .into_iter()
            .find(|form| span.starts_with(form.layout().keyword))
            .ok_or("it is no report")?;
        let body = span.strip_suffix(&[ETX]).ok_or("it has no ETX at its end")?;
        let at = body.iter().position(|&byte| byte == STX).ok_or("it has no STX")?;
        let (head, body) = body.split_at_checked(at).ok_or("it has no STX")?;
        let body = body.strip_prefix(&[STX]).ok_or("it has no STX")?;
        let (bytes, count) = counts(head).ok_or("its head does not hold two counts")?;
        if body.len() != bytes {
            return Err("it has not as many bytes as it says");
        }
        if !body.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err("it holds bytes that are no text");
        }
        let body = std::str::from_utf8(body).map_err(|_| "it holds bytes that are no text")?;
        let fields: Vec<&str> =
            body.strip_suffix(',').ok_or("its last field has no end")?.split(',').collect();
        if fields.len() != count {
            return Err("it has not as many fields as it says");
        }
        let layout = form.layout();
        let are_as_wide = (FIRST..)
            .zip(&fields)
            .take(layout.fields)
            .all(|(number, field)| field.len() == layout.width(number));
        if count < layout.fields || !are_as_wide {
            return Err(
                "its fields are not those of the DCI report: in the ventilator's communication setup \
                        choose DCI for this port",
            );
        }
        Ok(Report { form, fields: fields.into_iter().map(|field| field.trim_end().to_owned()).collect() })
    }
}

/// `MISCF,1225,169 ,`: the two counts.
fn counts(head: &[u8]) -> Option<(usize, usize)> {
    let mut parts = std::str::from_utf8(head).ok()?.split(',').map(str::trim_end).skip(1);
    let (bytes, fields) = (number(parts.next()?)?, number(parts.next()?)?);
    // Nothing stands between the last comma and STX.
    let is_all = parts.next().is_none_or(str::is_empty) && parts.next().is_none();
    is_all.then_some((bytes, fields))
}

fn number(digits: &str) -> Option<usize> {
    let is_number = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}
