//! `wardline-fleet watch`: how every gateway is, drawn anew as word comes in.
//!
//! With `--json`, one line: an array of `view::Row`; without `--once`, such a line whenever something has changed.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::broker::{self, Broker, Connection};
use super::folder::Fleet;
use super::now;
use super::proof::Authorities;
use super::view::{Row, Sight, View};
use crate::cli::exit::Failure;
use crate::cli::out::{self, Colour};
use crate::fleet::documents::Head;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_secs(1);
/// A certificate with fewer days left is shown as bad.
const CERTIFICATE_DAYS: i64 = 14;
/// A gateway that said nothing for so many seconds is shown as bad.
const OLD_SECONDS: i64 = 600;

/// Show how every gateway is, and go on showing it.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  \
    wardline-fleet watch /srv/fleet\n  \
    wardline-fleet watch --group icu-3 --once /srv/fleet\n  \
    wardline-fleet watch --once --json /srv/fleet | jq '.[] | select(.drift)'\n\n\
    A report counts as proven when its certificate comes from the gateways' authorities, names the gateway, and its \
    key has signed the report. Our certificate needs read access to c/v1/ORGANISATION/gw/# and s/v1/ORGANISATION/#.\n\n{}",
    broker::HELP))]
pub(super) struct Watch {
    /// Only this group.
    #[arg(long, value_name = "G")]
    group: Option<String>,
    /// Show it once and end.
    #[arg(long)]
    once: bool,
    /// Print JSON: an array with one object a gateway.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
    /// The fleet's folder.
    folder: PathBuf,
}

impl Watch {
    pub(super) fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let settings = self.connection.settings(fleet.path())?;
        let authorities = Authorities::read(settings.of_gateways())?;
        let register = fleet.register();
        let known = register.gateway.iter().map(|one| (one.id.as_str(), one.group.as_str()));
        let mut view = View::new(&register.organisation, known);
        let mut heads: BTreeMap<String, Head> = BTreeMap::new();
        for one in &register.gateway {
            if !heads.contains_key(&one.group)
                && let Some(last) = fleet.last(&one.group)?
            {
                heads.insert(one.group.clone(), last.head);
            }
        }
        let head = |group: &str| heads.get(group).cloned();
        let prove = |bytes: &[u8], report: &_, now| authorities.prove(bytes, report, now);
        let mut broker = Broker::connect(&settings)?;
        let filters = View::filters(&register.organisation);
        for (topic, bytes) in broker.retained(&filters)? {
            view.take(&topic, &bytes, &Sight { is_live: false, now: now(None)?.wall, prove: &prove });
        }
        let mut shown = Vec::new();
        loop {
            let moment = now(None)?.wall;
            let rows = view.rows(self.group.as_deref(), moment, &head);
            self.show(&rows, &shown)?;
            if self.once {
                return Ok(());
            }
            shown = rows;
            if let Some(heard) = broker.hear(TICK)? {
                let sight = Sight { is_live: !heard.retained, now: now(None)?.wall, prove: &prove };
                view.take(&heard.topic, &heard.payload, &sight);
            }
        }
    }

    fn show(&self, rows: &[Row], before: &[Row]) -> Result<(), Failure> {
        // Ages grow by themselves: only a terminal is drawn for that alone.
        let is_drawn = !self.json && !self.once && io::stdout().is_terminal();
        let same = rows.len() == before.len()
            && rows
                .iter()
                .zip(before)
                .all(|(row, old)| row.heard == old.heard && row.standing == old.standing);
        if same && !is_drawn && !before.is_empty() {
            return Ok(());
        }
        let mut out = out::stdout();
        if self.json {
            out.json(&rows)?;
            return Ok(out.finish()?);
        }
        if is_drawn {
            // To the top, and nothing of what stood there.
            out.line(format_args!("\x1b[H\x1b[2J"))?;
        }
        let head =
            line(["GATEWAY", "GROUP", "BUNDLE", "STANDING", "PROOF", "CERT", "SPOOL", "SILENT", "HEARD"]);
        out.line(format_args!("{}", out.paint(Colour::Strong, &head)))?;
        for row in rows {
            let text = cells(row);
            let colour = if is_bad(row) { Some(Colour::Bad) } else { None };
            let text = colour.map_or(text.clone(), |colour| out.paint(colour, &text));
            out.line(format_args!("{text}"))?;
            for remark in remarks(row) {
                out.line(format_args!("  {}", out.paint(Colour::Faint, &remark)))?;
            }
        }
        Ok(out.finish()?)
    }
}

fn is_bad(row: &Row) -> bool {
    row.drift
        || row.unproven.is_some()
        || row.online == Some(false)
        || !row.silent.is_empty()
        || row.certificate_days.is_some_and(|days| days < CERTIFICATE_DAYS)
        || row.seconds.is_none_or(|seconds| seconds > OLD_SECONDS)
        || matches!(row.standing, Some("failed" | "stale" | "locked"))
}

fn cells(row: &Row) -> String {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let bundle = match (row.running, row.head) {
        (running, Some(head)) if row.drift => format!("{} not {head}", number(running)),
        (running, _) => number(running),
    };
    let proof = match row.proven {
        Some(true) => "proven",
        Some(false) => "UNPROVEN",
        None => "-",
    };
    let silent = row.silent.len().saturating_add(usize::try_from(row.more_silent).unwrap_or(usize::MAX));
    let silent = row.devices.map_or("-".to_owned(), |devices| format!("{silent} of {devices}"));
    let heard = match (row.seconds, row.online) {
        (Some(seconds), Some(false)) => format!("{} (offline)", age(seconds)),
        (Some(seconds), _) => age(seconds),
        (None, _) => "never".to_owned(),
    };
    line([
        &row.gateway,
        row.group.as_deref().unwrap_or("?"),
        &bundle,
        row.standing.unwrap_or("-"),
        proof,
        &row.certificate_days.map_or("-".to_owned(), |days| format!("{days} d")),
        &number(row.spool),
        &silent,
        &heard,
    ])
}

fn remarks(row: &Row) -> Vec<String> {
    let mut remarks = Vec::new();
    if !row.registered {
        remarks.push("is not in the register".to_owned());
    }
    remarks.extend(row.unproven.iter().map(|why| format!("unproven: {why}")));
    remarks.extend(row.detail.clone());
    if !row.silent.is_empty() {
        remarks.push(format!("silent: {}", row.silent.join(", ")));
    }
    remarks.extend(row.health.iter().cloned());
    remarks
}

fn line(cells: [&str; 9]) -> String {
    const WIDTHS: [usize; 9] = [18, 12, 10, 10, 9, 6, 7, 9, 0];
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:<width$}"));
    cells.collect::<Vec<String>>().join(" ").trim_end().to_owned()
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
mod tests {
    use super::*;
    use crate::time::Wall;

    #[test]
    fn a_row_is_a_line_and_what_is_wrong_is_said_below() {
        let mut view = View::new("st-anna", [("gw-1", "icu-3")]);
        let payload = include_str!("../documents/testdata/reported.json").as_bytes().to_vec();
        let bytes = crate::fleet::documents::reported::sealed(payload, "key", Vec::new());
        let now = Wall::read("2026-11-22T12:10:00Z").unwrap();
        let prove = |_: &[u8], _: &_, _| Err("its key did not sign it".to_owned());
        let sight = Sight { is_live: false, now, prove: &prove };
        view.take("c/v1/st-anna/gw/gw-1/reported", &bytes, &sight);
        view.take("s/v1/st-anna/icu-3/gw-1/status", br#"{"state":"offline"}"#, &sight);
        let head = Head { version: 8, sha256: crate::fleet::documents::Digest::of(b""), root: 1 };
        let rows = view.rows(None, now, &|_| Some(head.clone()));
        let cells: Vec<String> = cells(&rows[0]).split_whitespace().map(str::to_owned).collect();
        assert_eq!(cells.join(" "), "gw-1 icu-3 7 not 8 failed UNPROVEN 70 d 12 2 of 5 10 min (offline)");
        assert!(is_bad(&rows[0]));
        let remarks = remarks(&rows[0]).join("; ");
        assert_eq!(
            remarks,
            "unproven: its key did not sign it; bundle 8 was taken back; silent: pump-1; clock follows no reference"
        );
    }
}
