//! The store of this program: blocks sealed and stored by `store::Writer::append`, read back and
//! opened by `store::Reader::read_next`.

use std::path::Path;

use anyhow::Context as _;

use super::super::ward::Spool;
use super::content::{Blocks, Content};
use super::{Keeper, Watch};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::host::clock::SystemClock;
use crate::store::{Reader, Writer};
use crate::time::Clock as _;

/// The store, and what it takes next.
pub(super) struct Wardline {
    clock: SystemClock,
    writer: Writer,
    _reader: Reader,
    blocks: Blocks,
    next: Vec<PlainBlock>,
}

impl Wardline {
    pub(super) fn create(folder: &Path, content: Content) -> anyhow::Result<Self> {
        let clock = SystemClock::default();
        let (writer, reader) = Spool::new(folder)?.open(&clock)?;
        let blocks = Blocks::of(content, clock.now());
        Ok(Self { clock, writer, _reader: reader, blocks, next: Vec::new() })
    }

    /// Opens it again: the first block can be read, one more record is stored.
    pub(super) fn reopen(folder: &Path, content: Content, watch: &mut Watch) -> anyhow::Result<()> {
        let clock = SystemClock::default();
        let one = Blocks::of(content, clock.now()).take(1)?;
        let spool = Spool::new(folder)?;
        watch.begin();
        let (mut writer, mut reader) = spool.open(&clock)?;
        let mut next = reader.read_next(Lane::Vital)?;
        anyhow::ensure!(next.is_some(), "the store is empty");
        for block in &one {
            writer.append(Lane::Vital, block, clock.now())?;
        }
        watch.opened();
        while let Some((_, block)) = next {
            let (_, entries) = block.read().context("a block that was read back")?;
            watch.read(u64::try_from(entries.len())?);
            next = reader.read_next(Lane::Vital)?;
        }
        // What was committed since the open comes by its own way.
        while let Some((_, block)) = reader.read_live()? {
            watch.read(u64::from(block.count()));
        }
        Ok(())
    }
}

impl Keeper for Wardline {
    fn prepare(&mut self, count: usize) -> anyhow::Result<()> {
        self.next = self.blocks.take(count)?;
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        for block in &self.next {
            self.writer.append(Lane::Vital, block, self.clock.now())?;
        }
        Ok(())
    }
}
