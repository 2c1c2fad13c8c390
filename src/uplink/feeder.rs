//! The side that may block: reads the store, decodes, encodes, and puts parcels where the session
//! finds them.
//!
//! In: a [`Source`], and the wishes of the session. Out: parcels, at most
//! [`READY`](super::session::READY) for each stream, so memory is bounded. What can go wrong: the store
//! cannot be read (said in the status, tried again), a block cannot be decoded (counted, kept, passed
//! over). What never happens: a parcel of another stream is made while the alarm lane has something to
//! read; a block is acknowledged that the session did not say is delivered.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::encode::{Block, Encoder, Plan};
use super::parcel::{Parcel, Stream};
use super::run::Alive;
use super::session::{Limits, Session};
use crate::device::observation::Lane;
use crate::envelope::block::PlainBlock;
use crate::store::{self, Seq, StoreId};
use crate::time::Clock;

/// The longest that a turn waits for something to do.
pub const TURN: Duration = Duration::from_secs(1);
/// How long to wait before a store that could not be read is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Blocks that the broker refused for good and that are remembered so as not to be sent again: more
/// than that is no longer a matter of single blocks.
const MAX_REFUSED: usize = 10_000;

/// Where blocks come from: the store, or a test's stand-in with the same behaviour.
pub trait Source: Send {
    /// The id that goes into every idempotency key.
    fn store_id(&self) -> StoreId;

    /// The next block of a lane that was not yet given since the last rewind; `None` when the lane is
    /// drained. Where there is a live stream, the vital lane ends here where it begins.
    fn read_next(&mut self, lane: Lane) -> Result<Option<Read>, SourceError>;

    /// The next block of the vital lane that was committed after the last rewind, ahead of what still
    /// waits before it. A source that cannot do this gives `None`: everything then comes in order by
    /// `read_next`.
    fn read_live(&mut self) -> Result<Option<Read>, SourceError> {
        Ok(None)
    }

    /// The broker has every record of this block. In any order.
    fn acknowledge(&mut self, seq: Seq) -> Result<(), SourceError>;

    /// Begins every lane again at its oldest unacknowledged block.
    fn rewind(&mut self);

    /// Counts commits: changes whenever there is something new to read.
    fn commits(&self) -> watch::Receiver<u64>;
}

/// What a source gives.
#[derive(Debug)]
pub enum Read {
    /// A block.
    Block(Block),
    /// A block that cannot be decoded, and why. It stays in the store.
    Unreadable(Seq, String),
}

/// A store that cannot be read or written at the moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct SourceError(pub String);

impl Source for store::Reader {
    fn store_id(&self) -> StoreId {
        Self::store_id(self)
    }

    fn read_next(&mut self, lane: Lane) -> Result<Option<Read>, SourceError> {
        let read = Self::read_next(self, lane).map_err(|error| SourceError(error.to_string()))?;
        Ok(read.map(decoded))
    }

    fn read_live(&mut self) -> Result<Option<Read>, SourceError> {
        let read = Self::read_live(self).map_err(|error| SourceError(error.to_string()))?;
        Ok(read.map(decoded))
    }

    fn acknowledge(&mut self, seq: Seq) -> Result<(), SourceError> {
        Self::acknowledge(self, seq).map_err(|error| SourceError(error.to_string()))
    }

    fn rewind(&mut self) {
        Self::rewind(self);
    }

    fn commits(&self) -> watch::Receiver<u64> {
        Self::commits(self)
    }
}

fn decoded((seq, plain): (Seq, PlainBlock)) -> Read {
    match plain.read() {
        Ok((header, entries)) => Read::Block(Block { seq, header, entries }),
        Err(error) => Read::Unreadable(seq, error.to_string()),
    }
}

/// What both sides share. Locked for moments only, never across an await.
pub(super) struct Shared {
    state: Mutex<State>,
    to_feeder: Condvar,
    to_session: Notify,
}

/// The content of [`Shared`].
pub(super) struct State {
    pub(super) session: Session,
    pub(super) acknowledge: VecDeque<Seq>,
    pub(super) refused: BTreeSet<Seq>,
    pub(super) news: bool,
    pub(super) unreadable: u64,
    pub(super) trouble: Option<String>,
    pub(super) max_packet: u32,
    /// Another one, from the next rewind on.
    encoder: Option<Encoder>,
    rewind: bool,
    over: bool,
}

impl Shared {
    pub(super) fn new(session: Session) -> Arc<Self> {
        let state = State {
            session,
            acknowledge: VecDeque::new(),
            refused: BTreeSet::new(),
            news: false,
            unreadable: 0,
            trouble: None,
            max_packet: u32::MAX,
            encoder: None,
            rewind: false,
            over: false,
        };
        Arc::new(Self { state: Mutex::new(state), to_feeder: Condvar::new(), to_session: Notify::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the feeder.
    pub(super) fn wake_feeder(&self) {
        self.to_feeder.notify_one();
    }

    /// Resolves when the feeder did something.
    pub(super) async fn fed(&self) {
        self.to_session.notified().await;
    }

    /// Has the store read again from its oldest unacknowledged block.
    pub(super) fn restart(&self, connected: bool) {
        let mut state = self.lock();
        state.session.handle_restart(connected);
        state.rewind = true;
        drop(state);
        self.wake_feeder();
    }

    /// Has everything written otherwise, from the store's oldest unacknowledged block on: a rewind must follow.
    pub(super) fn change(&self, limits: Limits, encoder: Encoder) {
        let mut state = self.lock();
        state.session.handle_limits(limits);
        state.refused.clear();
        state.encoder = Some(encoder);
    }

    /// Ends the feeder after its last acknowledgements.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.wake_feeder();
    }
}

impl State {
    /// Remembers a block that the broker will never take.
    pub(super) fn refuse(&mut self, block: Seq) {
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(block);
        }
    }
}

/// The feeder. Runs on a thread of its own.
pub struct Feeder<S> {
    source: S,
    encoder: Encoder,
    clock: Arc<dyn Clock>,
    alive: Alive,
    shared: Arc<Shared>,
    plans: [Option<Plan>; 4],
    /// Streams known to be empty since the last news.
    drained: [bool; 4],
    /// Whether the store could not be read since the last wait.
    failed: bool,
}

/// What the feeder does next, decided under the lock.
enum Next {
    Acknowledge(VecDeque<Seq>),
    Rewind,
    Read(Stream),
    Wait,
    End,
}

impl<S: Source> Feeder<S> {
    pub(super) fn new(
        source: S,
        encoder: Encoder,
        (clock, alive): (Arc<dyn Clock>, Alive),
        shared: Arc<Shared>,
    ) -> Self {
        let (plans, drained) = Default::default();
        Self { source, encoder, clock, alive, shared, plans, drained, failed: false }
    }

    fn beat(&self) {
        (self.alive)(self.clock.now().mono);
    }

    /// Feeds until the session ends. Blocks its thread.
    pub fn run(mut self) {
        loop {
            self.beat();
            match self.next() {
                Next::Acknowledge(blocks) => self.acknowledge(blocks),
                Next::Rewind => {
                    self.plans = Default::default();
                    self.drained = [false; 4];
                    // The broker's limit changes only with the connection, which rewinds.
                    let mut state = self.shared.lock();
                    let (max_packet, other) = (state.max_packet, state.encoder.take());
                    drop(state);
                    if let Some(other) = other {
                        self.encoder = other;
                    }
                    self.encoder.set_max_packet(max_packet);
                    self.source.rewind();
                }
                Next::Read(stream) => self.feed(stream),
                Next::Wait => self.wait(),
                Next::End => return,
            }
        }
    }

    fn next(&mut self) -> Next {
        let mut state = self.shared.lock();
        if !state.acknowledge.is_empty() {
            return Next::Acknowledge(std::mem::take(&mut state.acknowledge));
        }
        if state.over {
            return Next::End;
        }
        if std::mem::take(&mut state.rewind) {
            return Next::Rewind;
        }
        if std::mem::take(&mut state.news) {
            self.drained = [false; 4];
        }
        wanted(self.drained, &state.session).map_or(Next::Wait, Next::Read)
    }

    fn wait(&mut self) {
        let state = self.shared.lock();
        let drained = self.drained;
        let idle = |state: &mut State| {
            wanted(drained, &state.session).is_none()
                && state.acknowledge.is_empty()
                && !(state.over || state.rewind || state.news)
        };
        let waker = &self.shared.to_feeder;
        if self.failed {
            drop(waker.wait_timeout_while(state, TRY_AGAIN, idle).unwrap_or_else(PoisonError::into_inner));
            self.failed = false;
            self.drained = [false; 4];
        } else {
            drop(waker.wait_timeout_while(state, TURN, idle).unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn acknowledge(&mut self, blocks: VecDeque<Seq>) {
        for block in blocks {
            // Each may delete a segment, and a disk may take its time for it.
            self.beat();
            // An acknowledgement that is lost is a block that is sent again.
            if let Err(error) = self.source.acknowledge(block) {
                self.shared.lock().trouble = Some(error.to_string());
            }
        }
    }

    /// Makes one parcel of a stream, or finds it drained.
    fn feed(&mut self, stream: Stream) {
        let mut trouble = None;
        let parcel = loop {
            // Many blocks may be passed over before there is a parcel.
            self.beat();
            if let Some(parcel) = self.next_parcel(stream) {
                break Some(parcel);
            }
            match self.load(stream) {
                Ok(true) => {}
                Ok(false) => break None,
                Err(error) => {
                    trouble = Some(error.to_string());
                    break None;
                }
            }
        };
        self.hand_over(stream, parcel, trouble);
    }

    fn hand_over(&mut self, stream: Stream, parcel: Option<Parcel>, trouble: Option<String>) {
        self.failed |= trouble.is_some();
        let drained = parcel.is_none();
        if let Some(place) = self.drained.get_mut(place(stream)) {
            *place = drained;
        }
        let mut state = self.shared.lock();
        if state.rewind {
            // Read before the rewind: it comes again.
            return;
        }
        if trouble.is_some() || !self.failed {
            state.trouble = trouble;
        }
        if stream == Stream::Alarm {
            // An alarm lane that cannot be read does not stop the others.
            state.session.handle_alarms_drained(drained);
        }
        if let Some(parcel) = parcel {
            state.session.handle_parcel(parcel);
        }
        drop(state);
        self.shared.to_session.notify_one();
    }

    fn next_parcel(&mut self, stream: Stream) -> Option<Parcel> {
        let plan = self.plans.get_mut(place(stream))?;
        let parcel = self.encoder.next_parcel(plan.as_mut()?, self.clock.now());
        if parcel.as_ref().is_none_or(|parcel| parcel.last) {
            *plan = None;
        }
        parcel
    }

    /// Reads the next block of a stream and plans its parcels. `false`: there is none.
    fn load(&mut self, stream: Stream) -> Result<bool, SourceError> {
        let read = match stream {
            Stream::Alarm => self.source.read_next(Lane::Alarm),
            Stream::Live => self.source.read_live(),
            Stream::Backlog => self.source.read_next(Lane::Vital),
            Stream::Bulk => self.source.read_next(Lane::Bulk),
        }?;
        let (seq, reason) = match read {
            None => return Ok(false),
            Some(Read::Unreadable(seq, reason)) => (seq, reason),
            Some(Read::Block(block)) => {
                let seq = block.seq;
                if self.shared.lock().refused.contains(&seq) {
                    return Ok(true);
                }
                if block.entries.is_empty() {
                    self.source.acknowledge(seq)?;
                    return Ok(true);
                }
                match self.encoder.plan(block, stream) {
                    Ok(plan) => {
                        if let Some(place) = self.plans.get_mut(place(stream)) {
                            *place = Some(plan);
                        }
                        return Ok(true);
                    }
                    Err(error) => (seq, error.to_string()),
                }
            }
        };
        tracing::warn!(?seq, reason, "a block cannot be sent and stays in the store");
        self.shared.lock().unreadable += 1;
        Ok(true)
    }
}

/// The stream to make a parcel of: the most urgent that the session wants and that is not drained.
/// While there are alarms that it cannot take yet, nothing else.
fn wanted(drained: [bool; 4], session: &Session) -> Option<Stream> {
    let mut waiting = Stream::ALL.into_iter().zip(drained).filter(|(_, drained)| !drained);
    waiting
        .by_ref()
        .map(|(stream, _)| stream)
        .take_while(|stream| *stream != Stream::Alarm || session.wants(*stream))
        .find(|stream| session.wants(*stream))
}

/// A stream's place in the arrays here.
const fn place(stream: Stream) -> usize {
    match stream {
        Stream::Alarm => 0,
        Stream::Live => 1,
        Stream::Backlog => 2,
        Stream::Bulk => 3,
    }
}

#[cfg(test)]
mod tests;
