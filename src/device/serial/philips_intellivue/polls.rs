//! When what is asked, and to which question an answer belongs.
//!
//! In: the time, and answers. Out: requests. An answer counts only with the invoke id and the number of a
//! poll of this association that is still open. A single poll has one answer; an extended poll one a
//! second for [`EXPORT`].
//!
//! The monitor takes at most one poll for each kind of object in a second (mdrepo `intellivue.h`), and ends
//! an association on which it hears nothing for 10 s.

use std::collections::BTreeMap;
use std::time::Duration;

use super::requests::{self, EXPORT, Query};
use crate::link::LinkCommand;
use crate::time::Mono;

/// The period of the system id: it shows whose answers these are, and keeps the association alive: the
/// monitor ends it after 10 s, so two may be lost.
const SYSTEM_ID_PERIOD: Duration = Duration::from_secs(3);

/// The period of the production specification: twice in the hour that is the longest allowed.
const PRODUCTION_PERIOD: Duration = Duration::from_secs(30 * 60);

/// The least time between two polls of the same kind of object: just above the shortest allowed.
const SPACING: Duration = Duration::from_millis(1_100);

/// How long the answer to a single poll may take.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// How long an extended poll may be silent before it is asked again.
const FEED_PATIENCE: Duration = Duration::from_secs(5);

/// When an extended poll is renewed: before it ends.
const RENEWAL: Duration = Duration::from_secs(50);

/// Times that an extended poll stays without an answer until single polls take its place.
const UNFED_MAX: u32 = 3;

/// The longest spacing that is kept to where the monitor wants a longer one: the association has to be kept
/// alive.
const SPACING_MAX: Duration = Duration::from_secs(3);

/// How polls are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) is_extended: bool,
    pub(super) is_values_only: bool,
    /// The period of the numerics.
    pub(super) period: Duration,
}

/// A poll without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missed {
    pub(super) query: Query,
    /// How many in a row.
    pub(super) count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    query: Query,
    poll: u16,
    until: Mono,
    is_extended: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    due: Option<Mono>,
    /// Until when an extended poll runs before it is renewed.
    renewal: Option<Mono>,
    missed: u32,
}

/// The polls of one association.
#[derive(Debug)]
pub(super) struct Polls {
    manner: Manner,
    spacing: Duration,
    clocks: BTreeMap<Query, Clock>,
    /// When each kind of object was polled last.
    last: BTreeMap<Kind, Mono>,
    asked: BTreeMap<u16, Asked>,
    number: u16,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Monitor,
    Numerics,
    Alerts,
}

impl Polls {
    pub(super) fn new(manner: Manner) -> Self {
        let (clocks, last, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { manner, spacing: SPACING, clocks, last, asked, number: 0 }
    }

    /// Forgets the association. The numbers go on: an answer to the last association is no answer to
    /// the next.
    pub(super) fn clear(&mut self) {
        self.clocks.clear();
        self.asked.clear();
    }

    /// Begins an association.
    pub(super) fn begin(&mut self, now: Mono, can_extend: bool, wanted: Manner, shortest: Duration) {
        self.clear();
        self.manner = wanted;
        self.manner.is_extended &= can_extend;
        self.spacing = shortest.clamp(SPACING, SPACING_MAX);
        self.ask_who(now);
        for query in [Query::Numerics, Query::Alerts] {
            self.clock(query).due = Some(now);
        }
    }

    /// Has the monitor say again who it is.
    pub(super) fn ask_who(&mut self, now: Mono) {
        self.clock(Query::Production).due = Some(now);
        self.clock(Query::SystemId).due = Some(now);
    }

    pub(super) const fn is_extended(&self) -> bool {
        self.manner.is_extended
    }

    /// Gives up extended polls on this association.
    pub(super) fn use_single(&mut self, now: Mono) {
        self.manner.is_extended = false;
        for query in [Query::Numerics, Query::Alerts] {
            *self.clock(query) = Clock { due: Some(now), ..Clock::default() };
        }
    }

    /// The next request that is due, and the poll that stayed without an answer before it.
    pub(super) fn next(&mut self, now: Mono, is_identified: bool) -> Option<(LinkCommand, Option<Missed>)> {
        let query = self.candidates(is_identified).find(|(_, due)| *due <= now)?.0;
        self.last.insert(kind(query), now);
        let missed = self.missed_feed(query, now);
        let is_extended = self.manner.is_extended && !query.asks_who();
        self.number = self.number.wrapping_add(1);
        let (number, manner) = (self.number, self.manner);
        let length = if is_extended { EXPORT + PATIENCE } else { PATIENCE };
        self.asked.insert(number, Asked { query, poll: number, until: now + length, is_extended });
        let clock = self.clock(query);
        clock.renewal = is_extended.then(|| now + RENEWAL);
        clock.due = Some(now + if is_extended { FEED_PATIENCE } else { period(query, manner) });
        let argument = requests::poll_argument(number, number)?;
        let id = query.request(is_extended, manner.is_values_only);
        Some((LinkCommand::Fill(id, argument), missed))
    }

    /// Which question an answer belongs to.
    pub(super) fn question(&self, invoke: u16, poll: Option<u16>) -> Option<Query> {
        let asked = self.asked.get(&invoke)?;
        poll.is_none_or(|poll| poll == asked.poll).then_some(asked.query)
    }

    /// Takes word that a question was answered, the whole of it.
    pub(super) fn answered(&mut self, invoke: u16, now: Mono) {
        let Some(asked) = self.asked.get(&invoke).copied() else { return };
        let clock = self.clock(asked.query);
        clock.missed = 0;
        if asked.is_extended {
            clock.due = Some(clock.renewal.map_or(now, |renewal| renewal.min(now + FEED_PATIENCE)));
            return;
        }
        if asked.query == Query::Production {
            clock.due = Some(now + PRODUCTION_PERIOD);
        }
        self.asked.remove(&invoke);
    }

    /// Takes word that a question was answered with nothing of what was asked: it stays open.
    pub(super) fn evaded(&mut self, invoke: u16) -> Option<Missed> {
        self.asked.remove(&invoke).map(|asked| self.miss(asked.query))
    }

    /// The polls whose time is over. Nothing is missed of an extended one: it was renewed.
    pub(super) fn expire(&mut self, now: Mono) -> Vec<Missed> {
        let over: Vec<(u16, Asked)> = self
            .asked
            .iter()
            .filter(|(_, asked)| asked.until <= now)
            .map(|(id, asked)| (*id, *asked))
            .collect();
        let mut missed = Vec::new();
        for (invoke, asked) in over {
            self.asked.remove(&invoke);
            if !asked.is_extended {
                missed.push(self.miss(asked.query));
            }
        }
        missed
    }

    /// When there is something to do.
    pub(super) fn wake(&self, is_identified: bool) -> Option<Mono> {
        let over = self.asked.values().map(|asked| asked.until);
        self.candidates(is_identified).map(|(_, due)| due).chain(over).min()
    }

    fn candidates(&self, is_identified: bool) -> impl Iterator<Item = (Query, Mono)> {
        let may = move |query: Query| is_identified || query.asks_who();
        self.clocks.iter().filter(move |(query, _)| may(**query)).filter_map(|(query, clock)| {
            let free = self.last.get(&kind(*query)).map(|last| *last + self.spacing);
            Some((*query, clock.due?.max(free.unwrap_or_default())))
        })
    }

    /// An extended poll that is due before its renewal has gone silent.
    fn missed_feed(&mut self, query: Query, now: Mono) -> Option<Missed> {
        let renewal = self.clock(query).renewal?;
        (now < renewal).then(|| self.miss(query))
    }

    fn miss(&mut self, query: Query) -> Missed {
        let clock = self.clock(query);
        clock.missed = clock.missed.saturating_add(1);
        Missed { query, count: clock.missed }
    }

    fn clock(&mut self, query: Query) -> &mut Clock {
        self.clocks.entry(query).or_default()
    }
}

impl Missed {
    /// Whether an extended poll was in vain so often that single polls shall take its place. Where alerts are
    /// told only when they change, each poll still has its first answer.
    pub(super) const fn ends_extended(self) -> bool {
        self.count >= UNFED_MAX
    }
}

const fn kind(query: Query) -> Kind {
    match query {
        Query::SystemId | Query::Production => Kind::Monitor,
        Query::Numerics => Kind::Numerics,
        Query::Alerts => Kind::Alerts,
    }
}

const fn period(query: Query, manner: Manner) -> Duration {
    match query {
        // Until it is answered; then [`PRODUCTION_PERIOD`].
        Query::SystemId | Query::Production => SYSTEM_ID_PERIOD,
        Query::Numerics => manner.period,
        Query::Alerts => SPACING,
    }
}
