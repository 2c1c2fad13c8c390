//! The view of the fleet as a table: what is wrong on top. Pure: rows and a width in, lines out.

use super::view::Row;
use crate::cli::out::Colour;
use crate::cli::screen::{Line, cut};

/// A certificate with fewer days left is shown as bad: a report does not say how long its life is, so it is judged as
/// one of a year is on the gateway itself.
const CERTIFICATE_DAYS: i64 = 14;
/// A gateway that said nothing for so many seconds is shown as bad.
const OLD_SECONDS: i64 = 600;
/// From so many columns on what is wrong stands beside the row, not below.
const WIDE: usize = 132;
/// How many lines about one gateway stand below its row, at most.
const MOST_REMARKS: usize = 3;

const HEADS: [&str; COLUMNS] =
    ["GATEWAY", "GROUP", "VERSION", "BUNDLE", "HEALTH", "CERT", "SPOOL", "SILENT", "HEARD"];
/// A column is no narrower than this, so that it stands still while its values change.
const LEAST: [usize; COLUMNS] = [7, 5, 7, 9, 9, 5, 5, 7, 6];
const COLUMNS: usize = 9;

/// How a gateway is, what is worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It took the current bundle back, or somebody must come.
    Failed,
    /// What lies there as its report is not its own.
    Unproven,
    /// The broker lost it.
    Offline,
    /// It said nothing for long, or never.
    Quiet,
    /// The last word of the fleet has expired for it.
    Stale,
    /// It runs another bundle than the current one, and says nothing of a change.
    Drifts,
    /// It runs what it should, and something is not as it should be.
    Degraded,
    /// The current bundle is on its way to it.
    Changes,
    /// All is well.
    Well,
}

impl Health {
    pub(super) fn of(row: &Row) -> Self {
        let moves = matches!(row.standing, Some("waits" | "paused" | "fetches" | "under-way" | "alarm-wait"));
        let is_short = row.certificate_days.is_some_and(|days| days < CERTIFICATE_DAYS);
        match row.standing {
            Some("failed" | "not-believed" | "not-listed" | "locked") if row.proven == Some(true) => {
                Self::Failed
            }
            _ if row.proven == Some(false) => Self::Unproven,
            _ if row.online == Some(false) => Self::Offline,
            _ if row.seconds.is_none_or(|seconds| seconds > OLD_SECONDS) => Self::Quiet,
            Some("stale") => Self::Stale,
            _ if row.drift && !moves => Self::Drifts,
            _ if is_short || !row.silent.is_empty() || !row.health.is_empty() || row.unproven.is_some() => {
                Self::Degraded
            }
            _ if moves => Self::Changes,
            _ => Self::Well,
        }
    }

    /// Whether somebody is to look.
    pub(super) fn is_bad(self) -> bool {
        self < Self::Changes
    }

    /// In a word.
    fn word(self, row: &Row) -> &'static str {
        match self {
            Self::Failed | Self::Stale | Self::Changes | Self::Well => row.standing.unwrap_or("no report"),
            Self::Unproven => "UNPROVEN",
            Self::Offline => "offline",
            Self::Quiet if row.seconds.is_none() => "no word",
            Self::Quiet => "quiet",
            Self::Drifts => "drifts",
            Self::Degraded => "degraded",
        }
    }
}

/// The gateways, what is wrong first. No line is longer than `width`, when there is one.
pub(super) fn lines(rows: &[Row], width: Option<usize>) -> Vec<Line> {
    let mut sorted: Vec<(Health, &Row)> = rows.iter().map(|row| (Health::of(row), row)).collect();
    sorted.sort_by_key(|(health, row)| (*health, &row.gateway));
    let cells: Vec<[String; COLUMNS]> = sorted.iter().map(|(health, row)| cells(*health, row)).collect();
    let widths = widths(&cells, width);
    let is_wide = width.is_some_and(|width| width >= WIDE);
    let mut head = line(&HEADS.map(str::to_owned), widths, ' ');
    if is_wide {
        head.push_str("  REMARKS");
    }
    let mut lines = vec![Line::new(head, Some(Colour::Strong))];
    for ((health, row), cells) in sorted.iter().zip(&cells) {
        let mark = if health.is_bad() { '!' } else { ' ' };
        let mut text = line(cells, widths, mark);
        let remarks = remarks(row);
        if is_wide && !remarks.is_empty() {
            let table = widths.iter().sum::<usize>().saturating_add(COLUMNS + 1);
            text = format!("{text:<table$}  {}", remarks.join("; "));
        }
        lines.push(Line::new(text, health.is_bad().then_some(Colour::Bad)));
        let below = if width.is_some() { MOST_REMARKS } else { usize::MAX };
        if !is_wide {
            let below = remarks.into_iter().take(below);
            lines.extend(below.map(|remark| Line::new(format!("    {remark}"), Some(Colour::Faint))));
        }
    }
    if let Some(width) = width {
        for line in &mut lines {
            line.text = cut(&line.text, width);
        }
    }
    lines
}

/// What stands above the table.
pub(super) fn summary(rows: &[Row]) -> String {
    let all: Vec<Health> = rows.iter().map(Health::of).collect();
    let bad = all.iter().filter(|health| health.is_bad()).count();
    let change = all.iter().filter(|health| **health == Health::Changes).count();
    let well = all.len().saturating_sub(bad).saturating_sub(change);
    format!("{} gateways: {bad} in trouble, {change} changing, {well} well", all.len())
}

fn widths(cells: &[[String; COLUMNS]], width: Option<usize>) -> [usize; COLUMNS] {
    let mut widths = LEAST;
    for row in cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let Some(most) = width else { return widths };
    // Names give way: the longer of the two columns first.
    let [least_gateway, least_group, ..] = LEAST;
    while widths.iter().sum::<usize>().saturating_add(COLUMNS + 1) > most {
        let [gateway, group, ..] = &mut widths;
        if *gateway > least_gateway && (*gateway >= *group || *group <= least_group) {
            *gateway = gateway.saturating_sub(1);
        } else if *group > least_group {
            *group = group.saturating_sub(1);
        } else {
            break;
        }
    }
    widths
}

fn line(cells: &[String; COLUMNS], widths: [usize; COLUMNS], mark: char) -> String {
    let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{:<width$}", cut(cell, width)));
    format!("{mark} {}", cells.collect::<Vec<String>>().join(" ")).trim_end().to_owned()
}

fn cells(health: Health, row: &Row) -> [String; COLUMNS] {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let bundle = match (row.running, row.head) {
        (running, Some(head)) if row.drift => format!("{} not {head}", number(running)),
        (running, _) => number(running),
    };
    let silent = row.silent.len().saturating_add(usize::try_from(row.more_silent).unwrap_or(usize::MAX));
    [
        row.gateway.clone(),
        row.group.clone().unwrap_or_else(|| "?".to_owned()),
        row.version.clone().unwrap_or_else(|| "-".to_owned()),
        bundle,
        health.word(row).to_owned(),
        row.certificate_days.map_or("-".to_owned(), |days| format!("{days} d")),
        number(row.spool),
        row.devices.map_or("-".to_owned(), |devices| format!("{silent} of {devices}")),
        row.seconds.map_or("never".to_owned(), age),
    ]
}

fn remarks(row: &Row) -> Vec<String> {
    let mut remarks = Vec::new();
    if !row.registered {
        remarks.push("is not in the register".to_owned());
    }
    remarks.extend(row.unproven.iter().map(|why| format!("unproven: {why}")));
    let says_more = row.standing.is_some_and(|word| word != "current");
    remarks.extend(row.detail.clone().filter(|_| says_more));
    if !row.silent.is_empty() {
        remarks.push(format!("silent: {}", row.silent.join(", ")));
    }
    remarks.extend(row.health.iter().cloned());
    remarks
}

fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        172_800.. => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
