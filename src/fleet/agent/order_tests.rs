//! Whatever order documents come in, and however often: a gateway ends in the same place.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::fleet::health::Baseline;
use crate::fleet::workshop::*;
use crate::time::ClockSync;

/// What is published: roots 2 and 3 (the third drops config key 13), the timestamps of three bundles, the bundles.
struct Published {
    roots: Vec<Vec<u8>>,
    timestamps: Vec<Vec<u8>>,
    bundles: Vec<Vec<u8>>,
}

impl Published {
    /// `online`: the timestamp key of root 3. `last`: what the newest timestamp is like.
    fn new(online: u8, last: impl FnOnce(&mut Value)) -> Self {
        let roots = vec![root(2, &CONFIG, ONLINE, &[1, 2]), root(3, &[11, 12, 14], online, &[1, 2])];
        let signers: [&[u8]; 3] = [&[11, 13], &[11, 13], &[11, 12]];
        let bundles: Vec<Vec<u8>> = (7u64..)
            .zip(signers)
            .map(|(version, by)| bundle_of(|b| b["version"] = json!(version), by))
            .collect();
        let stamp = |place: usize, root: u64, change: &mut dyn FnMut(&mut Value), signer: u8| {
            let version = 7 + place as u64;
            let all = |t: &mut Value| {
                (t["version"], t["head"]["root"]) = (json!(63 + version), json!(root));
                t["head"]["version"] = json!(version);
                t["rollout"] = json!({ "id": "r", "canaries": ["gw-1"] });
                change(t);
            };
            timestamp_of(&bundles[place], all, signer)
        };
        let mut last = Some(last);
        let mut newest = |t: &mut Value| last.take().unwrap()(t);
        let timestamps = vec![
            stamp(0, 1, &mut |_| {}, ONLINE),
            stamp(1, 2, &mut |_| {}, ONLINE),
            stamp(2, 3, &mut newest, online),
        ];
        Self { roots, timestamps, bundles }
    }

    /// What a broker that retains it gives a new subscription.
    fn retained(&self, which: Which) -> Option<&Vec<u8>> {
        match which {
            Which::Root(version) => self.roots.get(usize::try_from(version).ok()?.checked_sub(2)?),
            Which::Timestamp => self.timestamps.last(),
            Which::Bundle(version) => self.bundles.get(usize::try_from(version).ok()?.checked_sub(7)?),
        }
    }

    /// What each of them is offered as: roots, timestamps, bundles.
    fn all() -> Vec<Which> {
        let roots = [Which::Root(2), Which::Root(3)];
        let bundles = [Which::Bundle(7), Which::Bundle(8), Which::Bundle(9)];
        [&roots[..], &[Which::Timestamp; 3], &bundles].concat()
    }
}

type End = (Standing, Option<Slot>, Option<Slot>, (u64, u64));

/// A gateway, its change, and the answers that are on their way to it.
struct Bench {
    agent: Agent,
    change: Change,
    answers: VecDeque<Which>,
    /// Whether a subscription that is made anew gives the retained timestamp once more.
    gives_timestamps_again: bool,
    /// Whether what is staged begins, and its trial is stood at the next tick.
    begins: bool,
}

impl Bench {
    fn act(&mut self) {
        while let Some(action) = self.agent.poll_action() {
            match action {
                Action::Want(Which::Timestamp) if !self.gives_timestamps_again => {}
                Action::Want(which) => self.answers.push_back(which),
                Action::Stage(slot, _) => {
                    self.change.stage(slot);
                }
                Action::Unstage(_) => {
                    self.change.unstage();
                }
                Action::Begin(_) if self.begins => {
                    self.change.begin(Baseline::default());
                }
                Action::KeepRoot(_)
                | Action::See
                | Action::Begin(_)
                | Action::Transfer(_)
                | Action::Refuse(_)
                | Action::ClockContradicts(_) => {}
            }
        }
    }

    fn offer(&mut self, which: Which, bytes: &[u8], now: &Now) {
        self.agent.handle_document(which, bytes, &self.change, now);
        self.act();
    }

    fn tick(&mut self, now: &Now) {
        self.change.commit();
        self.agent.handle_time(&self.change, now);
        self.act();
    }

    fn answer(&mut self, published: &Published, now: &Now) {
        if let Some(which) = self.answers.pop_front()
            && let Some(bytes) = published.retained(which)
        {
            self.offer(which, bytes, now);
        }
    }
}

/// What comes in this order, with answers in between, leads to: where it stands, what is staged, what runs, and
/// the versions of the root and the timestamp.
fn end(published: &Published, order: &[(usize, u8, bool)], again: bool, begins: bool) -> End {
    let mut bench = Bench {
        agent: Agent::new(enrolled(), "gw-1".to_owned()),
        change: Change::default(),
        answers: VecDeque::new(),
        gives_timestamps_again: again,
        begins,
    };
    let unsynced = now("1970-01-01T00:00:10Z", ClockSync::Unsynced);
    let all = Published::all();
    for (place, answers, is_synced) in order {
        let now = if *is_synced { noon() } else { unsynced };
        let bytes = match place {
            0 | 1 => &published.roots[*place],
            2..=4 => &published.timestamps[place - 2],
            _ => &published.bundles[place - 5],
        };
        bench.offer(all[*place], bytes, &now);
        for _ in 0..*answers {
            bench.answer(published, &now);
        }
        // A trial ends some time later, and other documents come before that.
        if *answers == 2 {
            bench.tick(&now);
        }
    }
    for _ in 0..20 {
        bench.tick(&noon());
        for _ in 0..20 {
            bench.answer(published, &noon());
        }
    }
    let marks = bench.agent.trust().marks();
    let (standing, change) = (bench.agent.standing(&bench.change, &noon()), &bench.change);
    (standing, change.staged(), change.running(), (marks.root(), marks.timestamp()))
}

/// Each document once and some of them again, in any order, each under a clock that is set or not, with some of
/// the answers that were asked for after it.
fn orders() -> impl Strategy<Value = Vec<(usize, u8, bool)>> {
    let places =
        prop::collection::vec(0usize..8, 0..6).prop_map(|more| (0..8).chain(more).collect::<Vec<_>>());
    let steps = places.prop_shuffle();
    steps.prop_flat_map(|places| {
        let length = places.len();
        prop::collection::vec((0u8..3, any::<bool>()), length).prop_map(move |with| {
            places.iter().zip(with).map(|(place, (n, sync))| (*place, n, sync)).collect()
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_order_ends_in_the_same_place(order in orders(), again in any::<bool>(), root in 1u64..4) {
        let published = Published::new(ONLINE, |t| t["head"]["root"] = json!(root));
        let slot = Slot { version: 9, sha256: Digest::of(&published.bundles[2]) };
        let expected = (Standing::UnderWay(9), Some(slot), None, (3, 72));
        prop_assert_eq!(end(&published, &order, again, false), expected);
        // And with trials in between, which bundles come in the way of.
        let expected = (Standing::Current, None, Some(slot), (3, 72));
        prop_assert_eq!(end(&published, &order, again, true), expected);
    }

    #[test]
    fn any_order_ends_in_the_same_pause(order in orders(), again in any::<bool>()) {
        let published = Published::new(ONLINE, |t| t["rollout"]["paused"] = json!(true));
        prop_assert_eq!(end(&published, &order, again, false), (Standing::Paused, None, None, (3, 72)));
    }

    /// With a new timestamp key nothing of the old one's counts, whenever it came. What was signed by the new
    /// one before its root was here comes again with a new subscription.
    #[test]
    fn any_order_ends_under_the_newest_key(order in orders()) {
        let published = Published::new(22, |_| {});
        let slot = Slot { version: 9, sha256: Digest::of(&published.bundles[2]) };
        prop_assert_eq!(end(&published, &order, true, false), (Standing::UnderWay(9), Some(slot), None, (3, 72)));
    }
}
