//! `wardline status --watch`: the gateway on the whole terminal, drawn anew at each look; what is wrong on top.
//!
//! In: what [`view`](crate::cli::view) makes of each look. Out: a page no wider than the terminal. Colours are beside
//! words, never instead of them. What never happens: figures of a daemon that does not answer without their age.

use serde::Serialize;

use super::{Asked, age};
use crate::cli::exit::{Exit, Failure};
use crate::cli::lookout::{Look, Lookout};
use crate::cli::out::{self, Colour};
use crate::cli::screen::{Line, Screen, Sign, Signs, Size, can_be_drawn_on, cut};
use crate::cli::view::{Mark, Row, Said, View, Watcher};
use crate::host::clock::SystemClock;
use crate::time::Clock as _;

/// How wide the names of what is said of the gateway are, with the mark before and a space after.
const NAMES: usize = 15;
/// What changed is shown from so many lines on: a heading and one of them.
const FEWEST_EVENTS: usize = 3;
const FOOT: &str = "q or Ctrl-C ends this";

/// Shows it until somebody has seen enough.
pub(super) fn run(asked: &Asked, is_json: bool) -> Result<(), Failure> {
    if !is_json && !can_be_drawn_on() {
        let what = "standard output is no terminal that can be drawn on: leave --watch out, or add --json";
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!(what)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let lookout = Lookout::new(asked.clone());
        if is_json { lines(lookout).await } else { draw(lookout).await }
    });
    // A question to the daemon that is still under way is not waited for.
    runtime.shutdown_background();
    ended
}

/// A line of JSON for each answer, as long as somebody reads them.
async fn lines(mut lookout: Lookout) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Away {
        error: String,
    }
    loop {
        let mut out = out::stdout();
        match lookout.next().await {
            Look::Answered(Ok(snapshot)) => out.json(&snapshot)?,
            Look::Answered(Err(error)) => out.json(&Away { error })?,
            Look::Waits => continue,
        }
        if !out.finish_while_read()? {
            return Ok(());
        }
    }
}

async fn draw(mut lookout: Lookout) -> Result<(), Failure> {
    let (clock, mut watcher) = (SystemClock::default(), Watcher::default());
    // Before the screen is touched: a signal that ended the process would leave it so.
    let mut signs = Signs::new()?;
    let mut screen = Screen::new()?;
    let mut view = watcher.handle_silence(clock.now().mono);
    loop {
        let size = screen.size();
        screen.draw(&page(&view, size))?;
        tokio::select! {
            biased;
            sign = signs.next() => match sign {
                Sign::Stop => return Ok(()),
                Sign::Resized => {}
            },
            look = lookout.next() => {
                let now = clock.now().mono;
                view = match look {
                    Look::Answered(Ok(snapshot)) => watcher.handle_answer(Ok(&snapshot), now),
                    Look::Answered(Err(why)) => watcher.handle_answer(Err(&why), now),
                    Look::Waits => watcher.handle_silence(now),
                };
            }
        }
    }
}

/// The page, as long and as wide as the terminal at most.
fn page(view: &View, Size { columns, rows }: Size) -> Vec<Line> {
    let mut lines = head(view, columns);
    lines.extend(states(view, columns));
    let rest = |lines: &[Line]| rows.saturating_sub(lines.len()).saturating_sub(1);
    let devices = devices(view, columns);
    lines.extend(shortened(devices, rest(&lines), "devices"));
    let left = rest(&lines);
    if left >= FEWEST_EVENTS && !view.events.is_empty() {
        lines.push(Line::new("", None));
        lines.push(Line::new("  CHANGES", Some(Colour::Strong)));
        let shown = view.events.iter().take(left.saturating_sub(2));
        lines.extend(shown.map(|event| {
            let ago = format!("{} ago", age(Some(event.age_ms / 1_000 * 1_000)));
            let text = format!("{} {ago:<16} {}", sign(event.mark), event.words);
            Line::new(text, colour(event.mark))
        }));
    }
    // The last line stays where it is, whatever stands above.
    lines.resize(rows.saturating_sub(1), Line::new("", None));
    lines.push(Line::new(format!("  {FOOT}"), Some(Colour::Faint)));
    lines.truncate(rows);
    for line in &mut lines {
        line.text = cut(&line.text, columns);
    }
    lines
}

/// A mark that is seen without colour.
const fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "  ",
        Mark::Look => "! ",
        Mark::Bad => "!!",
    }
}

const fn colour(mark: Mark) -> Option<Colour> {
    match mark {
        Mark::Good => None,
        Mark::Look => Some(Colour::Look),
        Mark::Bad => Some(Colour::Bad),
    }
}

fn head(view: &View, columns: usize) -> Vec<Line> {
    let name = if view.gateway.is_empty() { "wardline" } else { view.gateway.as_str() };
    let mut first = format!("   {name}");
    if !view.version.is_empty() {
        first.push_str(&format_up(view));
    }
    let mut lines = vec![Line::new(first, Some(Colour::Strong))];
    let summary = match view.summary.mark {
        Mark::Good => Some(Colour::Good),
        mark @ (Mark::Look | Mark::Bad) => colour(mark),
    };
    let words = wrapped(&view.summary.words, columns.saturating_sub(3));
    lines.extend(below(sign(view.summary.mark), words, summary));
    if view.daemon.mark != Mark::Good {
        let words = match (view.answer_age_ms, view.daemon.mark) {
            (None, _) => "There are no figures yet.".to_owned(),
            (known, Mark::Bad) => {
                format!("Its last answer came {} ago: no figures are shown.", age(whole(known)))
            }
            (known, _) => format!("These figures are {} old.", age(whole(known))),
        };
        let words = wrapped(&words, columns.saturating_sub(3));
        lines.extend(below("  ", words, colour(view.daemon.mark)));
    }
    lines.push(Line::new("", None));
    lines
}

fn format_up(view: &View) -> String {
    if view.daemon.mark == Mark::Bad {
        return format!("  wardline {}", view.version);
    }
    format!("  wardline {}, running for {}", view.version, age(whole(Some(view.uptime_ms))))
}

/// Whole seconds: what is below one would change at every look.
fn whole(ms: Option<u64>) -> Option<u64> {
    ms.map(|ms| (ms / 1_000).max(1) * 1_000)
}

/// What is said of the gateway itself, and what waits for the broker.
fn states(view: &View, columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, Said { mark, words }) in view.states() {
        let words = wrapped(words, columns.saturating_sub(NAMES));
        let first = format!("{} {name:<11}", sign(*mark));
        lines.extend(below(&first, words, colour(*mark)));
    }
    let waiting = view.lanes.iter().map(|lane| {
        let oldest = lane.oldest_age_ms.filter(|_| lane.records > 0);
        let oldest = oldest.map(|ms| format!(" (oldest {})", age(whole(Some(ms))))).unwrap_or_default();
        format!("{} {}{oldest}", lane.lane, lane.records)
    });
    let waiting: Vec<String> = waiting.collect();
    if !waiting.is_empty() {
        let words = wrapped(&waiting.join(", "), columns.saturating_sub(NAMES));
        lines.extend(below(&format!("   {:<11}", "Waiting"), words, None));
    }
    lines
}

/// The first line has `first` before it, the others as many spaces.
fn below(first: &str, words: Vec<String>, colour: Option<Colour>) -> Vec<Line> {
    let indent = first.chars().count();
    let lines = words.into_iter().enumerate().map(|(place, words)| {
        let before = if place == 0 { first } else { "" };
        Line::new(format!("{before:<indent$} {words}"), colour)
    });
    lines.collect()
}

/// Text in lines of no more than so many characters, broken between words where that goes.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let most = most.max(8);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word;
        while let Some(line) = lines.last_mut() {
            let used = line.chars().count();
            let space = usize::from(used > 0);
            if used + space + word.chars().count() <= most {
                line.push_str(if used > 0 { " " } else { "" });
                line.push_str(word);
                break;
            }
            if used > 0 {
                lines.push(String::new());
                continue;
            }
            let at = word.char_indices().nth(most).map_or(word.len(), |(at, _)| at);
            let (front, rest) = word.split_at(at);
            line.push_str(front);
            lines.push(String::new());
            word = rest;
        }
    }
    lines
}

/// No more lines than there is place for; the last one says how many are missing.
fn shortened(mut lines: Vec<Line>, place: usize, what: &str) -> Vec<Line> {
    if lines.len() > place {
        let rows =
            |lines: &[Line]| lines.iter().skip(2).filter(|line| !line.text.starts_with("     ")).count();
        let all = rows(&lines);
        lines.truncate(place.saturating_sub(1));
        let more = all.saturating_sub(rows(&lines));
        if place > 0 && more > 0 {
            let text = format!("   {more} more {what} below: a taller window shows them");
            lines.push(Line::new(text, Some(Colour::Faint)));
        }
    }
    lines
}

const HEADS: [&str; 7] = ["DEVICE", "LINK", "LAST READING", "SECURITY", "ADMITTED", "REFUSED", "FAULTS"];
/// No column is wider.
const MOST: [usize; 7] = [24, 32, 20, 20, 20, 20, 20];
/// Names and words give way down to this, before columns on the right are left out.
const LEAST: [usize; 2] = [12, 16];

fn devices(view: &View, columns: usize) -> Vec<Line> {
    if view.devices.is_empty() {
        return Vec::new();
    }
    let mut rows: Vec<&Row> = view.devices.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.mark()), &row.id));
    let cells: Vec<[String; 7]> = rows.iter().map(|row| cells(row)).collect();
    let widths = widths(&cells, columns.saturating_sub(3));
    let line = |mark: &str, cells: &[String; 7]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{:<width$}", cut(cell, *width)));
        format!("{mark} {}", cells.collect::<Vec<_>>().join(" ")).trim_end().to_owned()
    };
    let head = line("  ", &HEADS.map(str::to_owned));
    let mut lines = vec![Line::new("", None), Line::new(head, Some(Colour::Strong))];
    for (row, cells) in rows.iter().zip(&cells) {
        lines.push(Line::new(line(sign(row.mark()), cells), colour(row.mark())));
        for (place, said) in [(1, &row.link), (3, &row.security)] {
            let room = widths.get(place).copied().unwrap_or_default();
            // What is wrong is said in full, where its column has no place for it.
            if said.mark != Mark::Good && said.words.chars().count() > room {
                let words = wrapped(&said.words, columns.saturating_sub(5));
                lines.extend(below("    ", words, colour(said.mark)));
            }
        }
    }
    lines
}

fn cells(row: &Row) -> [String; 7] {
    let ago = |ms| format!("{} ago", age(whole(Some(ms))));
    [
        row.id.clone(),
        row.link.words.clone(),
        row.last_reading_age_ms.map_or_else(|| "none yet".to_owned(), ago),
        row.security.words.clone(),
        row.admitted.to_string(),
        row.refused.to_string(),
        row.faults.to_string(),
    ]
}

/// As wide as what stands in them, of as many columns as there is place for.
fn widths(cells: &[[String; 7]], most: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = HEADS.iter().map(|head| head.len()).collect();
    for row in cells {
        for ((width, cell), most) in widths.iter_mut().zip(row).zip(MOST) {
            *width = (*width).max(cell.chars().count().min(most));
        }
    }
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + widths.len().saturating_sub(1);
    loop {
        let over = total(&widths).saturating_sub(most);
        if over == 0 || widths.len() < 2 {
            return widths;
        }
        let count = widths.len();
        let widest = widths.iter_mut().zip(LEAST).max_by_key(|(width, least)| width.saturating_sub(*least));
        match widest {
            Some((width, least)) if *width > least => *width -= over.min(*width - least),
            _ if count > 2 => widths.truncate(count - 1),
            Some((width, _)) if *width > 1 => *width = width.saturating_sub(over).max(1),
            _ => return widths,
        }
    }
}

#[cfg(test)]
mod tests;
