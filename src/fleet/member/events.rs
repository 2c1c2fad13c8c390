//! What of a member's news is a security event, and how much of it may be told.
//!
//! In: what the member tells ([`Told`]) and the time. Out: [`Event`]s of the gateway itself, which go the way of every
//! record (block, store, uplink). What never happens: whoever floods a gateway with bad documents fills its store.
//! Of one kind (the rule, which document, which attack) so much is told within an hour; the rest is counted and said
//! with the next one. All of it is in the log.
//!
//! What lasts begins and is over; what was not told to begin is not told to be over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Told;
use crate::device::observation::Phase;
use crate::fleet::dsse::EnvelopeFault;
use crate::fleet::refusal::{Refusal, Why};
use crate::policy::event::{Detection, Event, MAX_DETAIL};
use crate::time::{Mono, Now};

/// Within this time a kind is told so often as [`most`] says.
const WINDOW: Duration = Duration::from_secs(3_600);
/// So many events wait at most for room; before more do, the oldest goes.
const MOST_WAITING: usize = 32;
/// Room for the words about what was not told.
const MOST_WORDS: usize = MAX_DETAIL - 48;

/// A rule, and what tells two of its events apart: the document and the attack, where there is one.
type Kind = (Detection, &'static str, &'static str);

/// Makes events of what is told.
#[derive(Debug, Default)]
pub struct Events {
    counts: BTreeMap<Kind, Count>,
    /// What was told to have begun and is not over.
    open: BTreeSet<Detection>,
    waiting: VecDeque<Event>,
}

/// Of one kind.
#[derive(Debug)]
struct Count {
    since: Mono,
    told: u32,
    /// What was not told since the last one that was.
    untold: u64,
}

impl Events {
    /// Something was told.
    pub fn handle_told(&mut self, told: &Told, now: &Now) {
        for (kind, phase) in edges(told) {
            let (detection, _, _) = kind;
            match phase {
                Phase::End if !self.open.remove(&detection) => {}
                Phase::End => self.push(detection, phase, shortened(&told.to_string()), now),
                Phase::Start | Phase::Update => self.begin(kind, told, now),
            }
        }
    }

    /// The run before told that this has begun, and it is not over: it goes on, or is over now.
    pub fn handle_open(&mut self, detection: Detection) {
        self.open.insert(detection);
    }

    /// What is to be passed on next. It stays until [`Events::passed`].
    pub fn first(&self) -> Option<&Event> {
        self.waiting.front()
    }

    /// The first one is passed on.
    pub fn passed(&mut self) {
        self.waiting.pop_front();
    }

    fn begin(&mut self, kind: Kind, told: &Told, now: &Now) {
        let (detection, _, _) = kind;
        let count = self.counts.entry(kind).or_insert(Count { since: now.mono, told: 0, untold: 0 });
        if now.mono.since(count.since) >= WINDOW {
            (count.since, count.told) = (now.mono, 0);
        }
        if count.told >= most(detection) {
            count.untold = count.untold.saturating_add(1);
            return;
        }
        count.told = count.told.saturating_add(1);
        let words = shortened(&told.to_string());
        let words = match std::mem::take(&mut count.untold) {
            0 => words,
            untold => format!("{words} ({untold} more were not told)"),
        };
        let lasts = matches!(
            detection,
            Detection::FleetTrial | Detection::FleetExpired | Detection::FleetNotReturned
        );
        // What lasts and is told anew, in other words, goes on.
        let phase = if lasts && !self.open.insert(detection) { Phase::Update } else { Phase::Start };
        self.push(detection, phase, words, now);
    }

    fn push(&mut self, detection: Detection, phase: Phase, detail: String, now: &Now) {
        if self.waiting.len() >= MOST_WAITING
            && let Some(event) = self.waiting.pop_front()
        {
            if event.phase == Phase::Start {
                self.open.remove(&event.detection);
            }
            let (event, detail) = (event.detection.as_str(), event.detail);
            tracing::warn!(event, detail, "the event found no room: it is here alone");
        }
        self.waiting.push_back(Event { detection, phase, device: String::new(), detail, at: *now });
    }
}

/// How often a kind is told within [`WINDOW`]: whoever may write to the topics makes as many bad documents as they
/// like; a trial takes its time, and its event is what the store is tried with.
fn most(detection: Detection) -> u32 {
    let special = [(Detection::FleetRefused, 1), (Detection::FleetTrial, u32::MAX)];
    special.into_iter().find(|(of, _)| *of == detection).map_or(8, |(_, most)| most)
}

/// What begins or is over with it.
fn edges(told: &Told) -> Vec<(Kind, Phase)> {
    let of = |detection, phase| vec![((detection, "", ""), phase)];
    let trial_ends = ((Detection::FleetTrial, "", ""), Phase::End);
    match told {
        Told::Refused(refusal) => refused(refusal).into_iter().collect(),
        Told::Began(..) => of(Detection::FleetTrial, Phase::Start),
        // What stood its trial runs: whatever did before.
        Told::Committed(..) => vec![trial_ends, ((Detection::FleetNotReturned, "", ""), Phase::End)],
        Told::Dropped(..) => vec![trial_ends],
        Told::TakenBack(..) => vec![trial_ends, ((Detection::FleetTakenBack, "", ""), Phase::Start)],
        Told::NotReturned(_) | Told::FilesRun(_) => of(Detection::FleetNotReturned, Phase::Start),
        Told::Returned => of(Detection::FleetNotReturned, Phase::End),
        Told::ClockContradicts(_) => of(Detection::FleetClock, Phase::Start),
        Told::Stale(_) => of(Detection::FleetExpired, Phase::Start),
        Told::Heard => of(Detection::FleetExpired, Phase::End),
        Told::Locked(_) => of(Detection::FleetLocked, Phase::Start),
        Told::Disk(_) => of(Detection::FleetState, Phase::Start),
        // Why it is not believed was told when it came.
        Told::Unbelieved(..)
        | Told::Staged(_)
        | Told::Withdrawn(..)
        | Told::LongLock(_)
        | Told::Transferred(_)
        | Told::NotListed(..)
        | Told::Import(_)
        | Told::Advisory(_) => Vec::new(),
    }
}

/// What came too early or in another order, and what wants a newer program, is no attack and no damage.
fn refused(Refusal { document, why }: &Refusal) -> Option<(Kind, Phase)> {
    let attack = why.attack();
    let is_damaged =
        matches!(why, Why::Shape(_) | Why::Envelope(EnvelopeFault::Shape(_) | EnvelopeFault::Base64(_)));
    let kind = (Detection::FleetRefused, *document, attack.unwrap_or_default());
    (attack.is_some() || is_damaged).then_some((kind, Phase::Start))
}

/// On one line, with room for a few words more.
fn shortened(words: &str) -> String {
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = (0..=MOST_WORDS.min(words.len())).rev().find(|end| words.is_char_boundary(*end));
    words.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::workshop::noon;
    use crate::time::Wall;

    fn later(now: &Now, seconds: u64) -> Now {
        Now { mono: now.mono + Duration::from_secs(seconds), ..*now }
    }

    fn rollback(offered: u64) -> Told {
        Told::Refused(Refusal { document: "timestamp", why: Why::Rollback { offered, seen: 70 } })
    }

    /// What waits, as the rule and the phase, and its words.
    fn said(events: &mut Events) -> Vec<(&'static str, Phase, String)> {
        let mut said = Vec::new();
        while let Some(event) = events.first().cloned() {
            events.passed();
            assert!(event.device.is_empty() && event.detail.len() <= MAX_DETAIL, "{event:?}");
            said.push((event.detection.as_str(), event.phase, event.detail));
        }
        said
    }

    fn rules(events: &mut Events) -> Vec<(&'static str, Phase)> {
        said(events).into_iter().map(|(rule, phase, _)| (rule, phase)).collect()
    }

    #[test]
    fn a_flood_of_bad_documents_is_one_event_an_hour_and_a_number() {
        let (mut events, now) = (Events::default(), noon());
        for offered in 0..10_000 {
            events.handle_told(&rollback(offered % 70), &now);
        }
        let first = said(&mut events);
        assert_eq!(first.len(), 1, "{first:?}");
        let (rule, phase, words) = &first[0];
        assert_eq!((*rule, *phase), ("fleet-document-refused", Phase::Start));
        assert!(words.contains("attack: rollback") && words.contains("timestamp"), "{words}");
        // Another attack, and another document, are others.
        let gap = Why::Equivocation { version: 7 };
        events.handle_told(&Told::Refused(Refusal { document: "timestamp", why: gap.clone() }), &now);
        events.handle_told(&Told::Refused(Refusal { document: "bundle", why: gap }), &now);
        assert_eq!(said(&mut events).len(), 2);
        events.handle_told(&rollback(1), &later(&now, 3_599));
        assert_eq!(said(&mut events), []);
        events.handle_told(&rollback(1), &later(&now, 3_600));
        let words = said(&mut events).pop().unwrap().2;
        assert!(words.ends_with("(10000 more were not told)"), "{words}");
    }

    /// Whatever an attacker writes into a document: no more kinds than there are documents and attacks.
    #[test]
    fn what_is_in_a_document_makes_no_kind_of_its_own() {
        let (mut events, now) = (Events::default(), noon());
        for number in 0..1_000 {
            let found = format!("a\n{number}{}", "ä".repeat(400));
            let why = Why::Type { found, expected: "root" };
            events.handle_told(&Told::Refused(Refusal { document: "root", why }), &now);
        }
        let said = said(&mut events);
        assert!(said.len() == 1 && !said[0].2.contains('\n'), "{said:?}");
    }

    #[test]
    fn what_only_came_too_early_is_no_event() {
        let (mut events, now) = (Events::default(), noon());
        for why in [Why::ClockUnknown, Why::NeedsRoot { needed: 2, current: 1 }] {
            events.handle_told(&Told::Refused(Refusal { document: "timestamp", why }), &now);
        }
        for told in [Told::Staged(7), Told::Transferred("icu-4".to_owned()), Told::Returned, Told::Heard] {
            events.handle_told(&told, &now);
        }
        assert_eq!(said(&mut events), []);
        events.handle_told(
            &Told::Refused(Refusal { document: "bundle", why: Why::Shape("no".to_owned()) }),
            &now,
        );
        assert_eq!(said(&mut events).len(), 1, "what is damaged is one");
    }

    #[test]
    fn a_trial_begins_and_is_over_and_a_failed_one_is_told_for_itself() {
        let (mut events, now) = (Events::default(), noon());
        let trial = Duration::from_secs(300);
        for _ in 0..20 {
            events.handle_told(&Told::Began(7, trial), &now);
            events.handle_told(&Told::Committed(7, Vec::new()), &now);
            let (rule, begun) = ("fleet-bundle-tried", Phase::Start);
            assert_eq!(rules(&mut events), [(rule, begun), (rule, Phase::End)]);
        }
        events.handle_told(&Told::Began(8, trial), &now);
        events.handle_told(&Told::TakenBack(8, "uplink: no connection".to_owned()), &now);
        let said = said(&mut events);
        assert_eq!(said.len(), 3, "{said:?}");
        let (rule, phase, words) = &said[2];
        assert_eq!((*rule, *phase), ("fleet-bundle-taken-back", Phase::Start));
        assert!(words.contains("bundle 8") && words.contains("no connection"), "{words}");
        events.handle_told(&Told::NotReturned("no broker".to_owned()), &now);
        events.handle_told(&Told::NotReturned("no radio".to_owned()), &now);
        events.handle_told(&Told::Returned, &now);
        let rule = "fleet-not-returned";
        let phases = [Phase::Start, Phase::Update, Phase::End].map(|phase| (rule, phase));
        assert_eq!(rules(&mut events), phases);
    }

    #[test]
    fn a_trial_that_a_start_found_goes_on_or_is_over() {
        let (mut events, now) = (Events::default(), noon());
        let rule = "fleet-bundle-tried";
        events.handle_open(Detection::FleetTrial);
        events.handle_told(&Told::Began(8, WINDOW), &now);
        assert_eq!(rules(&mut events), [(rule, Phase::Update)]);
        events.handle_told(&Told::Committed(8, Vec::new()), &now);
        assert_eq!(rules(&mut events), [(rule, Phase::End)]);
        events.handle_open(Detection::FleetTrial);
        events.handle_told(&Told::TakenBack(9, "twice".to_owned()), &now);
        assert_eq!(rules(&mut events), [(rule, Phase::End), ("fleet-bundle-taken-back", Phase::Start)]);
        // What is not what stood its trial lasts until something does.
        events.handle_told(&Told::FilesRun("lost".to_owned()), &now);
        events.handle_told(&Told::Committed(10, Vec::new()), &now);
        let rule = "fleet-not-returned";
        assert_eq!(rules(&mut events), [(rule, Phase::Start), (rule, Phase::End)]);
    }

    /// Room for a begin that was lost is room for its end.
    #[test]
    fn what_found_no_room_when_it_began_is_not_told_to_be_over() {
        let (mut events, now) = (Events::default(), noon());
        events.handle_told(&Told::Stale(Wall::default()), &now);
        for number in 0..MOST_WAITING {
            events.handle_told(&Told::Disk(format!("{number}")), &later(&now, 3_600 * number as u64));
            events.handle_told(&Told::ClockContradicts(Wall::default()), &later(&now, 3_600 * number as u64));
        }
        events.handle_told(&Told::Heard, &now);
        let said = rules(&mut events);
        assert!(said.iter().all(|(rule, _)| *rule != "fleet-expired"), "{said:?}");
    }

    #[test]
    fn a_freeze_begins_and_is_over_as_often_as_is_told() {
        let (mut events, now) = (Events::default(), noon());
        let mut all = Vec::new();
        for _ in 0..100 {
            events.handle_told(&Told::Stale(Wall::default()), &now);
            events.handle_told(&Told::Heard, &now);
            all.extend(rules(&mut events));
        }
        let begun = all.iter().filter(|(_, phase)| *phase == Phase::Start).count();
        assert_eq!((begun, all.len()), (8, 16), "each that began is over: {all:?}");
    }

    #[test]
    fn what_finds_no_room_is_bounded_and_the_newest_stays() {
        let (mut events, now) = (Events::default(), noon());
        for number in 0..1_000 {
            events.handle_told(&Told::Began(number, WINDOW), &now);
        }
        let said = said(&mut events);
        assert_eq!(said.len(), MOST_WAITING);
        assert!(said.last().unwrap().2.contains("bundle 999"), "{said:?}");
    }

    #[test]
    fn a_state_that_is_not_believed_and_one_that_cannot_be_kept_are_events() {
        let (mut events, now) = (Events::default(), noon());
        events.handle_told(&Told::Locked("no copy of the state is whole".to_owned()), &now);
        events.handle_told(&Told::Disk("full".to_owned()), &now);
        events.handle_told(&Told::ClockContradicts(Wall::default()), &now);
        let said = rules(&mut events);
        let begun = ["fleet-locked", "fleet-state-not-kept", "fleet-clock-contradicted"];
        assert_eq!(said, begun.map(|rule| (rule, Phase::Start)));
    }
}
