//! `wardline-fleet watch`: how every gateway is, drawn anew as word comes in.
//!
//! On a terminal its other page is drawn on, what is wrong on top, until `q` or Ctrl-C. With `--json`, one line: an array of `view::Row`; without `--once`, such a line whenever something has changed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::broker::{self, Broker, Came, Connection};
use super::folder::{Fleet, REGISTER};
use super::proof::Authorities;
use super::table;
use super::view::{Row, Sight, View};
use super::{PROGRAM, now};
use crate::cli::exit::Failure;
use crate::cli::out::{self, Colour};
use crate::cli::screen::{Line, Screen, Sign, Signs, Size, can_be_drawn_on};
use crate::fleet::documents::Head;
use crate::time::Wall;

/// How often ages are drawn anew.
const TICK: Duration = Duration::from_secs(1);
/// How long what comes in is gathered before it is drawn: hundreds of gateways speak at once.
const PACE: Duration = Duration::from_millis(200);
/// How often it is looked up what is current: somebody may publish meanwhile.
const HEADS: Duration = Duration::from_secs(5);

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
        if let Some(group) = &self.group
            && register.members(group).is_empty()
        {
            out::remark_of(PROGRAM, format_args!("no gateway of {REGISTER} is in group {group:?}"));
        }
        let known = register.gateway.iter().map(|one| (one.id.as_str(), one.group.as_str()));
        let mut view = View::new(&register.organisation, known);
        let prove = |bytes: &[u8], report: &_, now| authorities.prove(bytes, report, now);
        let mut broker = Broker::connect(&settings)?;
        let filters = View::filters(&register.organisation);
        for (topic, bytes) in broker.retained(&filters)? {
            view.take(&topic, &bytes, &Sight { is_live: false, now: now(None)?.wall, prove: &prove });
        }
        let mut heads = heads(&fleet)?;
        if self.once {
            let rows = self.rows(&view, now(None)?.wall, &heads);
            return self.print(&rows).map(drop);
        }
        let mut page = Page::new(&self, &broker)?;
        let mut read = now(None)?.mono;
        loop {
            let moment = now(None)?;
            if moment.mono.since(read) >= HEADS {
                // A file that is being brought back, or a root that is new: what was known stays until it can be read.
                heads = self::heads(&fleet).unwrap_or(heads);
                read = moment.mono;
            }
            if !page.show(&self, self.rows(&view, moment.wall, &heads), &register.organisation)? {
                return Ok(());
            }
            loop {
                let spent = now(None)?.mono.since(moment.mono);
                let left = if page.is_due { PACE } else { TICK }.saturating_sub(spent);
                match broker.come(left, page.signs.as_mut())? {
                    None | Some(Came::Sign(Sign::Resized)) => break,
                    Some(Came::Sign(Sign::Stop)) => return Ok(()),
                    Some(Came::Heard(heard)) => {
                        let sight = Sight { is_live: !heard.retained, now: now(None)?.wall, prove: &prove };
                        view.take(&heard.topic, &heard.payload, &sight);
                        page.is_due = true;
                    }
                }
            }
        }
    }

    fn rows(&self, view: &View, now: Wall, heads: &BTreeMap<String, Head>) -> Vec<Row> {
        view.rows(self.group.as_deref(), now, &|group: &str| heads.get(group).cloned())
    }

    /// `false`: nobody reads it any more.
    fn print(&self, rows: &[Row]) -> Result<bool, Failure> {
        let mut out = out::stdout();
        if self.json {
            out.json(&rows)?;
            return Ok(out.finish_while_read()?);
        }
        for Line { text, colour } in table::lines(rows, None) {
            let text = colour.map_or_else(|| text.clone(), |colour| out.paint(colour, &text));
            out.line(format_args!("{text}"))?;
        }
        Ok(out.finish_while_read()?)
    }
}

/// The bundle that is current for each group.
fn heads(fleet: &Fleet) -> Result<BTreeMap<String, Head>, Failure> {
    let mut heads = BTreeMap::new();
    for one in &fleet.register().gateway {
        if !heads.contains_key(&one.group)
            && let Some(last) = fleet.last(&one.group)?
        {
            heads.insert(one.group.clone(), last.head);
        }
    }
    Ok(heads)
}

/// Where it is shown as long as somebody looks: a terminal that is drawn on, or lines for whatever reads them.
struct Page {
    screen: Option<Screen>,
    signs: Option<Signs>,
    printed: Vec<Row>,
    /// Something came that is not shown yet.
    is_due: bool,
}

impl Page {
    fn new(watch: &Watch, broker: &Broker) -> Result<Self, Failure> {
        let is_drawn = !watch.json && can_be_drawn_on();
        // Before the screen is touched: a signal that ended the process would leave it so.
        let signs = is_drawn.then(|| broker.signs()).transpose()?;
        let screen = is_drawn.then(Screen::new).transpose()?;
        Ok(Self { screen, signs, printed: Vec::new(), is_due: false })
    }

    /// `false`: nobody reads it any more.
    fn show(&mut self, watch: &Watch, rows: Vec<Row>, organisation: &str) -> Result<bool, Failure> {
        self.is_due = false;
        let Some(screen) = &mut self.screen else {
            if same(&rows, &self.printed) && !self.printed.is_empty() {
                return Ok(true);
            }
            let goes_on = watch.print(&rows)?;
            self.printed = rows;
            return Ok(goes_on);
        };
        let Size { columns, rows: height } = screen.size();
        let now = now(None)?.wall;
        let of = watch.group.as_ref().map_or_else(String::new, |group| format!("/{group}"));
        let now = now.to_string();
        let clock = now.split_once('.').map_or(now.as_str(), |(seconds, _)| seconds);
        let above = format!("{organisation}{of}  {}  {clock}", table::summary(&rows));
        let mut lines = vec![Line::new(above, None)];
        lines.extend(table::lines(&rows, Some(columns)));
        if lines.len() > height {
            lines.truncate(height.saturating_sub(1));
            let shown = lines.iter().skip(2).filter(|line| !line.text.starts_with("    ")).count();
            let more = rows.len().saturating_sub(shown);
            let more = format!("  {more} more gateways below: a taller window shows them, or --group");
            lines.push(Line::new(more, Some(Colour::Faint)));
        }
        screen.draw(&lines)?;
        Ok(true)
    }
}

/// Whether nothing is new but that time went by.
fn same(rows: &[Row], before: &[Row]) -> bool {
    let still = |row: &Row| Row { seconds: None, ..row.clone() };
    rows.iter().map(still).eq(before.iter().map(still))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_the_broker_lost_is_new_and_an_age_is_not() {
        let view = View::new("st-anna", [("gw-1", "icu-3")]);
        let before = view.rows(None, Wall::from_millis(0), &|_| None);
        let mut rows = before.clone();
        rows[0].seconds = Some(5);
        assert!(same(&rows, &before));
        rows[0].online = Some(false);
        assert!(!same(&rows, &before));
        assert!(!same(&[], &before));
    }
}
