//! `wardline spool list`: what is in the store, also while the daemon writes it.
//!
//! With `--json`, one object:
//!
//! | key | | |
//! | --- | --- | --- |
//! | `gateway`, `cap`, `alarm_reserve` | text, bytes | of the configuration; left out with `--store` |
//! | `folder` | text | where the store is |
//! | `store` | text | its id; left out when nothing could be authenticated |
//! | `kek`, `previous_kek` | text | the id of its key, and while it is being moved to that, of the one before |
//! | `in_use_by` | number | the process that has it open; left out when nobody has |
//! | `bytes` | number | what it takes on disk |
//! | `lanes` | list | `lane`, `waiting` (records), `bytes`, `cursor` (`segment`, `block`), `going` (folders being removed), `segments` |
//! | `lanes.segments` | list | `number`, `state`, `blocks`, `records`, `waiting`, `gaps` (gap records in it), `told` (lost records that these tell of), `bytes`, `oldest`, `newest`, `why` |
//! | `quarantine` | list | `name`, `bytes`, `written` |
//! | `remarks` | list | what a person should know, in words |
//!
//! `state` is `writing`, `closed`, `unclosed`, `damaged`, `going` or `unchecked`. What could not be
//! authenticated is left out; the times of an `unchecked` segment are those of its files.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Map, Value, json};

use super::super::exit::Failure;
use super::super::out::{self, Colour, Out};
use super::super::status::{age, clean, print_table};
use super::target::{Target, Which, failure};
use crate::config::show_size;
use crate::host::clock::SystemClock;
use crate::store::inspect::{LaneView, SegmentView, State, Survey, holder, survey};
use crate::time::{Clock, Wall};

/// More segments of a lane than these are shown only on demand.
const SHOWN: usize = 24;
/// How wide the bar of usage is.
const BAR: u64 = 50;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wardline spool list\n  wardline spool list --all | less\n  \
    wardline spool list --store /mnt/store --kek kek.bin    a disk taken out of a gateway\n\n\
    Reads only, and works beside the running daemon. Without the key it lists what the file system says; a key \
    in a token is used only with --with-key, which is one try of its PIN: ends with 8 when that is refused.")]
pub(super) struct List {
    #[command(flatten)]
    which: Which,
    /// Every segment, however many.
    #[arg(long)]
    all: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Ask a token for its key too: logs in to it, once.
    #[arg(long)]
    with_key: bool,
}

impl List {
    pub(super) fn run(self) -> Result<(), Failure> {
        let how = "--with-key logs in to it, once";
        let target =
            if self.with_key { self.which.target()? } else { self.which.target_in_the_clear(how)? };
        target.must_not_be_refused()?;
        let holder = holder(&target.folder);
        let mut found =
            survey(&target.folder, target.keys.as_ref().ok(), holder.is_some()).map_err(failure)?;
        if let Err(why) = &target.keys {
            found.remarks.push(format!("nothing was authenticated: {why}"));
        }
        let page = Page { target: &target, holder, survey: &found, now: SystemClock::default().now().wall };
        let mut out = out::stdout();
        if self.json {
            out.json(&page.json())?;
        } else {
            page.print(&mut out, self.all)?;
        }
        out.finish()?;
        Ok(())
    }
}

struct Page<'a> {
    target: &'a Target,
    holder: Option<u32>,
    survey: &'a Survey,
    now: Wall,
}

impl Page<'_> {
    fn print<W: Write>(&self, out: &mut Out<W>, all: bool) -> io::Result<()> {
        let folder = self.target.folder.display();
        match &self.survey.store {
            Some(store) => out.line(format_args!("store    {store}"))?,
            None => out.line(format_args!("store    {}", out.paint(Colour::Bad, "not authenticated")))?,
        }
        out.line(format_args!("in       {folder}"))?;
        if let Some((kek, previous)) = self.survey.kek {
            let moving = previous.map(|from| format!(", being moved there from {from}")).unwrap_or_default();
            out.line(format_args!("key      {kek}{moving}"))?;
        }
        let open = match self.holder {
            Some(process) => format!("by process {process}: what follows goes on changing"),
            None => "by nobody: the daemon does not run".to_owned(),
        };
        out.line(format_args!("open     {open}"))?;
        self.print_usage(out)?;
        for lane in &self.survey.lanes {
            self.print_lane(out, lane, all)?;
        }
        self.print_quarantine(out)?;
        for remark in &self.survey.remarks {
            let mark = out.paint(Colour::Bad, "!");
            out.line(format_args!("{mark} {}", remark.lines().map(clean).collect::<Vec<_>>().join("\n")))?;
        }
        Ok(())
    }

    fn print_usage<W: Write>(&self, out: &mut Out<W>) -> io::Result<()> {
        let used = self.survey.bytes;
        let Some((gateway, cap, reserve)) = &self.target.gateway else {
            return out.line(format_args!("size     {}", show_size(used)));
        };
        let percent = used.saturating_mul(100) / (*cap).max(1);
        out.line(format_args!("gateway  {gateway}"))?;
        out.line(format_args!(
            "size     {} of {} ({percent} %), of which {} are kept for alarms",
            show_size(used),
            show_size(*cap),
            show_size(*reserve)
        ))?;
        out.line(format_args!("         [{}]", bar(used, *cap, *reserve)))
    }

    fn print_lane<W: Write>(&self, out: &mut Out<W>, lane: &LaneView, all: bool) -> io::Result<()> {
        let name = out.paint(Colour::Strong, &format!("{:<8}", lane.lane.as_str()));
        let waiting = match lane.waiting() {
            Some(1) => "1 record waits".to_owned(),
            Some(count) => format!("{count} records wait"),
            None => "nobody can say how many records wait".to_owned(),
        };
        out.line(format_args!("\n{name} {waiting}, {} on disk", show_size(lane.bytes())))?;
        if let Some((segment, block)) = lane.cursor {
            out.line(format_args!("         acknowledged up to block {block} of segment {segment}"))?;
        }
        if let Some((first, last)) = lane.span() {
            out.line(format_args!("         oldest {}", self.when(first)))?;
            out.line(format_args!("         newest {}", self.when(last)))?;
        }
        let count = lane.segments.len();
        let (front, back) =
            if all || count <= SHOWN { (count, count) } else { (SHOWN / 2, count - SHOWN / 2) };
        let shown: Vec<&SegmentView> = lane
            .segments
            .iter()
            .enumerate()
            .filter(|(at, _)| *at < front || *at >= back)
            .map(|(_, s)| s)
            .collect();
        let heading = ["segment", "state", "blocks", "records", "waiting", "gaps", "size", "age"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(shown.iter().map(|segment| self.row(segment)));
        print_table(out, &rows, |row| {
            let state = row.checked_sub(1).and_then(|at| shown.get(at)).map(|segment| segment.state);
            let is_bad = matches!(state, Some(State::Damaged | State::Unchecked));
            if is_bad { Colour::Bad } else { Colour::Good }
        })?;
        if back > front {
            out.line(format_args!("{} more in between: --all", back - front))?;
        }
        for segment in &shown {
            if let Some(why) = &segment.why {
                out.line(format_args!("  {}/{}: {}", lane.lane, segment.number, clean(why)))?;
            }
            if let Some(told @ 1..) = segment.told {
                out.line(format_args!("  {}/{}: tells of {told} lost", lane.lane, segment.number))?;
            }
        }
        match lane.going {
            0 => Ok(()),
            going => out.line(format_args!("  {going} folder(s) being removed")),
        }
    }

    fn row(&self, segment: &SegmentView) -> Vec<String> {
        let shown = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
        vec![
            segment.number.to_string(),
            segment.state.as_str().to_owned(),
            shown(segment.blocks.map(u64::from)),
            shown(segment.records),
            shown(segment.waiting),
            shown(segment.gaps),
            show_size(segment.bytes),
            segment.span.map_or_else(|| "?".to_owned(), |(first, _)| ago(self.now, first)),
        ]
    }

    fn print_quarantine<W: Write>(&self, out: &mut Out<W>) -> io::Result<()> {
        let found = &self.survey.quarantine;
        if found.is_empty() {
            return out.line(format_args!("\nquarantine is empty"));
        }
        let title = out.paint(Colour::Bad, "quarantine");
        out.line(format_args!("\n{title}: set aside after what could be read was sent"))?;
        for entry in found {
            let written = entry.written.map_or_else(|| "?".to_owned(), |written| self.when(written));
            out.line(format_args!(
                "  {}  {}, written {written}",
                clean(&entry.name),
                show_size(entry.bytes)
            ))?;
        }
        Ok(())
    }

    fn when(&self, at: Wall) -> String {
        format!("{at}, {}", ago(self.now, at))
    }

    fn json(&self) -> Value {
        let mut page = Map::new();
        let mut put = |key: &str, value: Value| drop(page.insert(key.to_owned(), value));
        if let Some((gateway, cap, reserve)) = &self.target.gateway {
            put("gateway", json!(gateway));
            put("cap", json!(cap));
            put("alarm_reserve", json!(reserve));
        }
        put("folder", json!(self.target.folder.display().to_string()));
        put_some(&mut put, "store", self.survey.store.map(|store| json!(store.to_string())));
        let (kek, previous) = self.survey.kek.unzip();
        put_some(&mut put, "kek", kek.map(|kek| json!(kek.to_string())));
        put_some(&mut put, "previous_kek", previous.flatten().map(|kek| json!(kek.to_string())));
        put_some(&mut put, "in_use_by", self.holder.map(|process| json!(process)));
        put("bytes", json!(self.survey.bytes));
        put("lanes", self.survey.lanes.iter().map(lane_json).collect());
        let quarantine = self.survey.quarantine.iter().map(|entry| {
            let mut object = json!({"name": entry.name, "bytes": entry.bytes});
            if let (Some(written), Some(object)) = (entry.written, object.as_object_mut()) {
                object.insert("written".to_owned(), json!(written.to_string()));
            }
            object
        });
        put("quarantine", quarantine.collect());
        put("remarks", json!(self.survey.remarks));
        Value::Object(page)
    }
}

fn put_some(put: &mut impl FnMut(&str, Value), key: &str, value: Option<Value>) {
    if let Some(value) = value {
        put(key, value);
    }
}

fn lane_json(lane: &LaneView) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("lane", json!(lane.lane.as_str()));
    put_some(&mut put, "waiting", lane.waiting().map(|waiting| json!(waiting)));
    put("bytes", json!(lane.bytes()));
    let cursor = lane.cursor.map(|(segment, block)| json!({"segment": segment, "block": block}));
    put_some(&mut put, "cursor", cursor);
    put("going", json!(lane.going));
    put("segments", lane.segments.iter().map(segment_json).collect());
    Value::Object(object)
}

fn segment_json(segment: &SegmentView) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("number", json!(segment.number));
    put("state", json!(segment.state.as_str()));
    let counts = [
        ("blocks", segment.blocks.map(u64::from)),
        ("records", segment.records),
        ("waiting", segment.waiting),
        ("gaps", segment.gaps),
        ("told", segment.told),
    ];
    for (key, count) in counts {
        put_some(&mut put, key, count.map(|count| json!(count)));
    }
    put("bytes", json!(segment.bytes));
    put_some(&mut put, "oldest", segment.span.map(|(first, _)| json!(first.to_string())));
    put_some(&mut put, "newest", segment.span.map(|(_, last)| json!(last.to_string())));
    put_some(&mut put, "why", segment.why.as_ref().map(|why| json!(why)));
    Value::Object(object)
}

/// How long ago, in words; a clock that was set back is not hidden.
fn ago(now: Wall, then: Wall) -> String {
    let millis = now.as_millis().saturating_sub(then.as_millis());
    let shown = age(Some(millis.unsigned_abs()));
    if millis < 0 { format!("{shown} ahead") } else { format!("{shown} ago") }
}

/// Used `#`, free `.`, and at its end `!` what only alarms may use.
fn bar(used: u64, cap: u64, reserve: u64) -> String {
    let part = |bytes: u64| {
        let share = u128::from(bytes) * u128::from(BAR) / u128::from(cap.max(1));
        u64::try_from(share).unwrap_or(BAR).min(BAR)
    };
    // What is used is never shown as nothing.
    let (used, kept) = (if used > 0 { part(used).max(1) } else { 0 }, part(reserve).max(1));
    (0..BAR)
        .map(|at| match at {
            at if at < used => '#',
            at if at >= BAR - kept => '!',
            _ => '.',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_what_is_used_and_what_is_kept() {
        assert_eq!(bar(0, 100, 10), format!("{}!!!!!", ".".repeat(45)));
        assert_eq!(bar(1, 4_000, 10), format!("#{}!", ".".repeat(48)));
        assert_eq!(bar(50, 100, 10), format!("{}{}!!!!!", "#".repeat(25), ".".repeat(20)));
        assert_eq!(bar(300, 100, 10), "#".repeat(50));
        assert_eq!(bar(0, 0, 0).len(), 50);
    }

    #[test]
    fn a_time_in_the_future_is_shown_as_such() {
        let (now, then) = (Wall::from_millis(5_000), Wall::from_millis(65_000));
        assert_eq!(ago(then, now), "1 min 0 s ago");
        assert_eq!(ago(now, then), "1 min 0 s ahead");
    }
}
