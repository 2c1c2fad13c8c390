//! One cut, judged: the state that it left is written into a folder, the real store is opened there, and
//! everything in it is compared with what is owed.
//!
//! In: the state, what is owed, a folder on a fast place. Out: what was found, or what is wrong. What
//! never happens: a panic of the store ends the trial unnoticed.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use super::blocks::{Content, block};
use super::model::{Found, Model, Sort, Wrong};
use super::spool::{self, Setup};
use crate::device::observation::Lane;
use crate::host::clock::SystemClock;
use crate::lab::disk::{Draw, Tree};
use crate::store::{Reader, Seq, StoreError, Writer};
use crate::time::Clock as _;

/// No open takes longer; most take a hundredth of it.
const LONGEST_OPEN: Duration = Duration::from_secs(10);
/// The trials' time after a cut: later than any life.
const LATER: u64 = 100_000_000;

/// What a trial found.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) found: Found,
    /// What it found damaged.
    pub(super) faults: Vec<String>,
    /// How long opening took.
    pub(super) open: Duration,
    /// What is owed from here on.
    pub(super) model: Model,
}

/// What a trial is to accept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) setup: Setup,
    /// Whether records may be dropped, and told of: under a cap that is too low.
    pub(super) may_drop: bool,
    /// Whether more may be told of than is lost, and faults found: after the disk itself failed.
    pub(super) may_overstate: bool,
    /// Whether everything is acknowledged at the end and the store closed and opened once more.
    pub(super) to_the_end: bool,
}

impl Terms {
    /// Those of a disk that is well.
    pub(super) fn of(setup: Setup) -> Self {
        Self { setup, may_drop: setup.is_tight, may_overstate: setup.is_tight, to_the_end: false }
    }
}

/// Judges a state. The folder is made and removed.
pub(super) fn judge(
    state: &Tree,
    model: &Model,
    terms: Terms,
    folder: &Path,
    seed: u64,
) -> anyhow::Result<Result<Verdict, Wrong>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    state.write_to(folder)?;
    let judged = catch_unwind(AssertUnwindSafe(|| judge_in(folder, model.clone(), terms, seed)));
    fs::remove_dir_all(folder)?;
    Ok(judged.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Wrong::new(Sort::Panic, words.unwrap_or_default()))
    }))
}

fn judge_in(folder: &Path, mut model: Model, terms: Terms, seed: u64) -> Result<Verdict, Wrong> {
    let clock = SystemClock::default();
    let mut draw = Draw::new(seed);
    let began = clock.now().mono;
    let opened = terms.setup.open(folder, spool::at(LATER));
    let open = clock.now().mono.since(began);
    let (mut writer, mut reader, recovery) =
        opened.map_err(|error| Wrong::new(Sort::Shut, format!("{error} (after the cut)")))?;
    if open > LONGEST_OPEN {
        return Err(Wrong::new(Sort::Shut, format!("opening took {open:?}")));
    }
    let drained = drain(&mut writer, &mut reader)?;
    let found = model.check(&drained)?;
    if !recovery.faults.is_empty() && !terms.may_overstate {
        return Err(Wrong::new(Sort::Fault, recovery.faults.join("; ")));
    }
    if found.told > 0 && !terms.may_drop {
        return Err(Wrong::new(Sort::Lost, format!("{} records are lost, and told of", found.told)));
    }
    if found.overstated > 0 && !terms.may_overstate {
        let told: Vec<_> = drained.iter().filter(|(_, c)| matches!(c, Content::Told { .. })).collect();
        let words = format!("{} more records are told of than are lost: {told:?}", found.overstated);
        return Err(Wrong::new(Sort::Overstated, words));
    }
    if !terms.may_overstate
        && let Ok(mut kept) = fs::read_dir(folder.join("store/quarantine"))
        && let Some(Ok(entry)) = kept.next()
    {
        return Err(Wrong::new(Sort::Fault, format!("{} is in quarantine", entry.path().display())));
    }
    let after = model.clone();
    let mut seqs: Vec<Seq> = drained.into_iter().map(|(seq, _)| seq).collect();
    match try_it(&mut writer, &mut reader, &model, &mut draw) {
        Ok(seq) => seqs.push(seq),
        Err(Untried::Full) if terms.may_drop => {}
        Err(Untried::Full) => return Err(Wrong::new(Sort::Stuck, "the store is full, and its cap is not")),
        Err(Untried::Wrong(wrong)) => return Err(wrong),
    }
    if terms.to_the_end {
        acknowledge_all(&mut reader, seqs, &mut draw)?;
        drop(reader);
        writer.close().map_err(stuck("closing"))?;
        let (mut writer, mut reader, _) =
            terms.setup.open(folder, spool::at(LATER)).map_err(stuck("opening once more"))?;
        let left = drain(&mut writer, &mut reader)?;
        if !left.is_empty() {
            let words = format!("all was acknowledged and closed in order; then came {left:?}");
            return Err(Wrong::new(Sort::Twice, words));
        }
    }
    Ok(Verdict { found, faults: recovery.faults, open, model: after })
}

fn stuck(what: &'static str) -> impl FnOnce(StoreError) -> Wrong {
    move |error| Wrong::new(Sort::Stuck, format!("{what}: {error}"))
}

/// Everything that is there; what is found lost on the way is told of and read too.
pub(super) fn drain(writer: &mut Writer, reader: &mut Reader) -> Result<Vec<(Seq, Content)>, Wrong> {
    let mut drained = Vec::new();
    let mut is_told = false;
    loop {
        let before = drained.len();
        for lane in Lane::ALL {
            while let Some((seq, block)) = spool::next(reader, lane).map_err(stuck("reading"))? {
                let content =
                    spool::content(seq, &block).map_err(|words| Wrong::new(Sort::Foreign, words))?;
                drained.push((seq, content));
            }
        }
        if is_told && drained.len() == before {
            return Ok(drained);
        }
        writer.maintain(spool::at(LATER)).map_err(stuck("maintaining"))?;
        is_told = true;
    }
}

/// Why a new block was not stored and read.
enum Untried {
    /// There was no room for it.
    Full,
    Wrong(Wrong),
}

impl From<Wrong> for Untried {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// Stores a block, which must be given a place that no other has, and reads it again.
fn try_it(writer: &mut Writer, reader: &mut Reader, model: &Model, draw: &mut Draw) -> Result<Seq, Untried> {
    let lane = Lane::ALL.get(draw.place(3)).copied().unwrap_or(Lane::Vital);
    let (first, count) = (model.next_number(), 3);
    let block = block(lane, first, count, 40, draw);
    let seq = match writer.append(lane, &block, spool::at(LATER)) {
        Ok(seq) => seq,
        Err(error) if error.is_full() => return Err(Untried::Full),
        Err(error) => return Err(stuck("storing a new block")(error).into()),
    };
    if model.is_taken(seq) {
        let words = format!("a new block was given the place {seq} of an old one");
        return Err(Wrong::new(Sort::Place, words).into());
    }
    // What was dropped for it is told of first.
    while let Some((place, read)) = spool::next(reader, lane).map_err(stuck("reading a new block"))? {
        if place == seq && read.read().ok() == block.read().ok() {
            return Ok(seq);
        }
    }
    Err(Wrong::new(Sort::Stuck, format!("a new block was stored at {seq} and cannot be read there")).into())
}

/// Acknowledges everything, in any order.
fn acknowledge_all(reader: &mut Reader, mut seqs: Vec<Seq>, draw: &mut Draw) -> Result<(), Wrong> {
    let mut once = BTreeSet::new();
    while !seqs.is_empty() {
        let seq = seqs.swap_remove(draw.place(seqs.len()));
        if once.insert(seq) {
            reader.acknowledge(seq).map_err(stuck("acknowledging"))?;
        }
    }
    Ok(())
}
