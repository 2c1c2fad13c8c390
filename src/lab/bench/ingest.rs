//! Durable ingest: gate, record, block, seal, store, fsync; and the same blocks to a plain file.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use super::machine::{Memory, Spread, bytes_written, per_second, ratio};
use super::ward::{Line, Spool};
use crate::device::observation::Lane;
use crate::envelope::seal::Place;
use crate::host::clock::SystemClock;
use crate::time::Clock as _;

/// What one size of commit came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ingest {
    /// Observations in a commit.
    pub(super) commit: usize,
    /// Observations made durable.
    pub(super) observations: u64,
    /// Observations made durable each second.
    pub(super) per_second: f64,
    /// One commit: seal, put, flush, fsync; milliseconds.
    pub(super) commit_ms: Spread,
    /// Bytes written to storage for each observation.
    pub(super) written_per_observation: f64,
    /// Bytes written to storage for each commit.
    pub(super) written_per_commit: f64,
    /// Bytes that the store takes on disk for each observation.
    pub(super) stored_per_observation: f64,
    /// Sealed bytes for each observation.
    pub(super) sealed_per_observation: f64,
    /// The same pipeline with an append-only file and fdatasync in place of the store: observations
    /// each second.
    pub(super) append_only_per_second: f64,
    /// One append with its fdatasync; milliseconds.
    pub(super) append_only_ms: Spread,
    /// The file alone, handed finished blocks: observations each second.
    pub(super) bare_file_per_second: f64,
    /// The store against the append-only file in the same pipeline.
    pub(super) against_append_only: f64,
    /// The store with its pipeline against the file alone.
    pub(super) against_bare_file: f64,
    /// Memory at the end of the store's part.
    pub(super) memory: Memory,
}

/// Measures one size of commit.
pub(super) fn run(folder: &Path, commit: usize, observations: u64) -> anyhow::Result<Ingest> {
    let mut figures = with_store(folder, commit, observations)?;
    with_file(folder, &mut figures)?;
    figures.against_append_only = figures.per_second / figures.append_only_per_second;
    figures.against_bare_file = figures.per_second / figures.bare_file_per_second;
    Ok(figures)
}

fn with_store(folder: &Path, commit: usize, observations: u64) -> anyhow::Result<Ingest> {
    let clock = SystemClock::default();
    let (mut writer, _reader) = Spool::new(folder)?.open(&clock)?;
    let mut line = Line::new(clock.now());
    let mut waits = Vec::new();
    let mut durable = 0;
    let before = bytes_written();
    let began = clock.now().mono;
    while durable < observations {
        let now = clock.now();
        line.fill(commit, now)?;
        let block = line.builder.finish();
        let asked = clock.now();
        writer.append(Lane::Vital, &block, asked)?;
        waits.push(clock.now().mono.since(asked.mono));
        durable += u64::from(block.count());
    }
    let took = clock.now().mono.since(began);
    let written = bytes_written().saturating_sub(before);
    let stored = writer.stats().snapshot().bytes;
    let commits = u64::try_from(waits.len())?;
    let memory = Memory::now();
    writer.close()?;
    Ok(Ingest {
        commit,
        observations: durable,
        per_second: per_second(durable, took),
        commit_ms: Spread::of(waits),
        written_per_observation: ratio(written, durable),
        written_per_commit: ratio(written, commits),
        stored_per_observation: ratio(stored, durable),
        memory,
        ..Ingest::default()
    })
}

fn with_file(folder: &Path, figures: &mut Ingest) -> anyhow::Result<()> {
    let clock = SystemClock::default();
    let (keys, _) = Spool::new(folder)?.kek()?.new_segment(b"measurement", &SystemRandom::new())?;
    let mut line = Line::new(clock.now());
    let mut file = File::create_new(folder.join("append-only"))?;
    let mut waits = Vec::new();
    let (mut durable, mut sealed_bytes) = (0, 0);
    let began = clock.now().mono;
    while durable < figures.observations {
        let now = clock.now();
        line.fill(figures.commit, now)?;
        let block = line.builder.finish();
        let place = Place {
            store: [7; 16],
            lane: Lane::Vital,
            segment: 1,
            block: u32::try_from(waits.len())?,
            count: block.count(),
            wall: now.wall.as_millis(),
        };
        let sealed = keys.data.seal(&place, &block)?;
        let asked = clock.now().mono;
        file.write_all(sealed.bytes())?;
        file.sync_data()?;
        waits.push(clock.now().mono.since(asked));
        durable += u64::from(block.count());
        sealed_bytes += u64::try_from(sealed.bytes().len())?;
    }
    let took = clock.now().mono.since(began);
    figures.append_only_per_second = per_second(durable, took);
    figures.bare_file_per_second = per_second(durable, waits.iter().sum::<Duration>());
    figures.append_only_ms = Spread::of(waits);
    figures.sealed_per_observation = ratio(sealed_bytes, durable);
    Ok(())
}
