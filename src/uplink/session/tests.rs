use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::device::observation::Lane;
use crate::uplink::parcel::{Age, Format};

struct Most;

impl Random for Most {
    fn next_u64(&mut self) -> u64 {
        // The whole ceiling: every ceiling here is one less than this modulus divides.
        999
    }
}

const LIMITS: Limits = Limits {
    window: 16,
    subscriber: Subscriber::Required,
    stalled_after: Duration::from_secs(30),
    retry: Bounds {
        first: Duration::from_millis(999),
        most: Duration::from_millis(999),
        healthy_after: Duration::from_secs(60),
    },
    heartbeat: None,
};

fn at(millis: u64) -> Mono {
    Mono::default() + Duration::from_millis(millis)
}

fn seq(stream: Stream, block: u32) -> Seq {
    let lane = match stream {
        Stream::Alarm => Lane::Alarm,
        Stream::Live | Stream::Backlog => Lane::Vital,
        Stream::Bulk => Lane::Bulk,
    };
    // Live blocks get their own numbers here, as they do in a store.
    Seq { lane, segment: u64::from(stream == Stream::Live), block }
}

fn parcel(stream: Stream, block: u32, topic: &str, last: bool) -> Parcel {
    Parcel {
        block: seq(stream, block),
        stream,
        last,
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"payload"),
        format: Format::Fhir,
        count: 10,
        keys: (String::new(), String::new()),
        age: Age::Live,
    }
}

/// Connected, alarms drained, and the named topics already taken once.
fn online(limits: Limits, proven: &[&str]) -> Session {
    let mut session = Session::new(limits);
    session.handle_connected(u16::MAX, at(0));
    session.handle_alarms_drained(true);
    session.proven = proven.iter().map(ToString::to_string).collect();
    session
}

fn take(session: &mut Session, now: u64) -> Vec<(Ticket, Parcel)> {
    std::iter::from_fn(|| session.poll_publish(at(now))).collect()
}

fn blocks(session: &mut Session) -> Vec<Seq> {
    std::iter::from_fn(|| session.poll_acknowledge()).collect()
}

#[test]
fn a_block_is_acknowledged_only_when_all_its_publishes_are() {
    let mut session = online(LIMITS, &["a", "b"]);
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", false));
    session.handle_parcel(parcel(Stream::Backlog, 1, "b", true));
    let sent = take(&mut session, 0);
    assert_eq!(sent.len(), 2);
    // In the other order.
    session.handle_puback(sent[1].0, 0x00, at(1), &mut Most);
    assert_eq!(blocks(&mut session), []);
    session.handle_puback(sent[0].0, 0x00, at(1), &mut Most);
    assert_eq!(blocks(&mut session), [seq(Stream::Backlog, 1)]);
}

#[test]
fn nothing_but_alarms_is_started_while_alarms_may_wait() {
    let mut session = online(LIMITS, &["a", "alarm"]);
    session.handle_alarms_drained(false);
    session.handle_parcel(parcel(Stream::Live, 1, "a", true));
    session.handle_parcel(parcel(Stream::Bulk, 1, "a", true));
    assert_eq!(take(&mut session, 0).len(), 0);
    session.handle_parcel(parcel(Stream::Alarm, 1, "alarm", true));
    let sent = take(&mut session, 0);
    assert_eq!(sent.iter().map(|(_, parcel)| parcel.stream).collect::<Vec<_>>(), [Stream::Alarm]);
    session.handle_alarms_drained(true);
    assert_eq!(take(&mut session, 0).len(), 2);
}

#[test]
fn a_place_in_the_window_is_kept_for_an_alarm() {
    let mut session = online(Limits { window: 8, ..LIMITS }, &["a", "alarm"]);
    for block in 0..20 {
        session.handle_parcel(parcel(Stream::Backlog, block, "a", true));
    }
    assert_eq!(take(&mut session, 0).len(), 7);
    session.handle_parcel(parcel(Stream::Alarm, 1, "alarm", true));
    assert_eq!(take(&mut session, 0).len(), 1);
}

#[test]
fn the_window_is_the_lesser_of_ours_and_the_brokers() {
    for (ours, theirs, most) in [(16, 4, 4), (4, 16, 4), (1, 65_535, 1), (5, 0, 1)] {
        let mut session = Session::new(Limits { window: ours, ..LIMITS });
        session.handle_connected(theirs, at(0));
        session.proven.insert("alarm".to_owned());
        for block in 0..20 {
            session.handle_parcel(parcel(Stream::Alarm, block, "alarm", true));
        }
        assert_eq!(take(&mut session, 0).len(), most, "{ours} {theirs}");
    }
}

#[test]
fn live_and_backlog_share_and_neither_starves() {
    let mut session = online(Limits { window: 1_000, ..LIMITS }, &["a"]);
    for block in 0..400 {
        session.handle_parcel(parcel(Stream::Live, block, "a", true));
        session.handle_parcel(parcel(Stream::Backlog, block, "a", true));
        session.handle_parcel(parcel(Stream::Bulk, block, "a", true));
    }
    let first: Vec<Stream> =
        (0..80).filter_map(|_| session.poll_publish(at(0))).map(|(_, parcel)| parcel.stream).collect();
    let of = |stream| first.iter().filter(|other| **other == stream).count();
    assert_eq!((of(Stream::Live), of(Stream::Backlog), of(Stream::Bulk)), (60, 20, 0));
}

#[test]
fn reason_codes_mean_what_the_contract_says() {
    for (reason, outcome) in [
        (0x00, Outcome::Delivered),
        (0x10, Outcome::Retry),
        (0x80, Outcome::Retry),
        (0x83, Outcome::Retry),
        (0x87, Outcome::Retry),
        (0x89, Outcome::Retry),
        (0x90, Outcome::Refuse),
        (0x91, Outcome::Retry),
        (0x97, Outcome::Retry),
        (0x99, Outcome::Refuse),
        (0xff, Outcome::Retry),
    ] {
        assert_eq!(Outcome::of(reason, Subscriber::Required), outcome, "{reason:#04x}");
    }
    assert_eq!(Outcome::of(0x10, Subscriber::Optional), Outcome::Delivered);
    // What nobody needs to read is not refused because nobody reads it.
    let refused =
        |reason| [Subscriber::Required, Subscriber::Optional].map(|who| Outcome::refuses(reason, who));
    assert_eq!((refused(0x00), refused(0x10)), ([false, false], [true, false]));
    for reason in [0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99] {
        assert_eq!(refused(reason), [true, true], "{reason:#04x}");
    }
}

#[test]
fn a_refused_topic_is_probed_after_its_back_off_and_others_go_on() {
    let mut session = online(LIMITS, &["good"]);
    session.handle_parcel(parcel(Stream::Backlog, 1, "bad", true));
    session.handle_parcel(parcel(Stream::Backlog, 2, "good", true));
    let sent = take(&mut session, 0);
    assert_eq!(sent.len(), 2);
    assert!(matches!(session.handle_puback(sent[0].0, 0x87, at(0), &mut Most), Answer::Held { .. }));
    session.handle_puback(sent[1].0, 0x00, at(0), &mut Most);
    assert_eq!(blocks(&mut session), [seq(Stream::Backlog, 2)]);
    assert_eq!(session.held().collect::<Vec<_>>(), [("bad", 0x87)]);

    // Later parcels of the topic go back to the store, those of others pass.
    session.handle_parcel(parcel(Stream::Backlog, 3, "bad", true));
    session.handle_parcel(parcel(Stream::Backlog, 4, "good", true));
    assert_eq!(take(&mut session, 998).len(), 1);
    assert_eq!(session.poll_timeout(), Some(at(999)));
    let probe = take(&mut session, 999);
    assert_eq!(probe.iter().map(|(_, parcel)| parcel.block).collect::<Vec<_>>(), [seq(Stream::Backlog, 1)]);
    session.handle_puback(probe[0].0, 0x00, at(1_000), &mut Most);
    assert_eq!(blocks(&mut session), [seq(Stream::Backlog, 1)]);

    // What went back is fetched again, and until then nothing of the topic overtakes it.
    session.handle_parcel(parcel(Stream::Backlog, 5, "bad", true));
    assert_eq!(take(&mut session, 1_000).len(), 0);
    assert!(!session.poll_rewind(at(1_999)));
    assert!(session.poll_rewind(at(2_000)));
    session.handle_restart(true);
    assert_eq!(session.held().count(), 0);
    session.handle_alarms_drained(true);
    session.handle_parcel(parcel(Stream::Backlog, 3, "bad", true));
    assert_eq!(take(&mut session, 2_000).len(), 1);
}

#[test]
fn a_topic_is_pipelined_only_after_its_first_publish_was_taken() {
    let mut session = online(LIMITS, &[]);
    for block in 0..4 {
        session.handle_parcel(parcel(Stream::Backlog, block, "a", true));
    }
    let first = take(&mut session, 0);
    assert_eq!(first.len(), 1);
    session.handle_puback(first[0].0, 0x00, at(1), &mut Most);
    assert_eq!(take(&mut session, 1).len(), 3);
}

#[test]
fn with_refusals_only_little_is_read_in_vain_but_never_nothing() {
    let mut session = online(LIMITS, &[]);
    let mut read = 0;
    for now in 0..3_000u64 {
        while session.wants(Stream::Backlog) {
            session.handle_parcel(parcel(Stream::Backlog, read, "bad", true));
            read += 1;
        }
        for (ticket, _) in take(&mut session, now) {
            session.handle_puback(ticket, 0x97, at(now), &mut Most);
        }
    }
    assert!(read < 400, "{read}");
    let before = read;
    for now in 3_000..10_000u64 {
        while session.wants(Stream::Backlog) {
            session.handle_parcel(parcel(Stream::Backlog, read, "bad", true));
            read += 1;
        }
        for (ticket, _) in take(&mut session, now) {
            session.handle_puback(ticket, 0x97, at(now), &mut Most);
        }
    }
    assert!(read > before);
    assert_eq!(blocks(&mut session), []);
}

#[test]
fn a_block_refused_for_good_is_never_acknowledged() {
    let mut session = online(LIMITS, &["a"]);
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", false));
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", true));
    let sent = take(&mut session, 0);
    let answer = session.handle_puback(sent[0].0, 0x99, at(0), &mut Most);
    assert_eq!(answer, Answer::Refused { block: seq(Stream::Backlog, 1), topic: "a".to_owned() });
    session.handle_puback(sent[1].0, 0x00, at(0), &mut Most);
    assert_eq!(blocks(&mut session), []);
}

#[test]
fn a_lost_connection_makes_earlier_pubacks_void() {
    let mut session = online(LIMITS, &["a"]);
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", true));
    let sent = take(&mut session, 0);
    session.handle_restart(false);
    assert_eq!((session.in_flight(), session.poll_timeout()), (0, None));
    assert_eq!(session.handle_puback(sent[0].0, 0x00, at(1), &mut Most), Answer::Stale);
    assert_eq!(blocks(&mut session), []);
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", true));
    assert_eq!(take(&mut session, 1).len(), 0, "not connected");
}

#[test]
fn the_age_of_the_oldest_publish_decides_that_a_connection_is_wedged() {
    let mut session = online(LIMITS, &["a"]);
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", false));
    session.handle_parcel(parcel(Stream::Backlog, 1, "a", true));
    let (first, _) = session.poll_publish(at(0)).unwrap();
    let (second, _) = session.poll_publish(at(20_000)).unwrap();
    assert_eq!(session.stalled(at(29_999)), None);
    assert_eq!(session.poll_timeout(), Some(at(30_000)));
    assert_eq!(session.stalled(at(30_000)), Some(Duration::from_secs(30)));
    // Later answers do not hide it.
    session.handle_puback(second, 0x00, at(29_000), &mut Most);
    assert!(session.stalled(at(30_000)).is_some());
    session.handle_puback(first, 0x00, at(29_000), &mut Most);
    assert_eq!(session.stalled(at(60_000)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Feed(u8, u8),
    Publish,
    Answer(u8, u8),
    Restart,
    Wait(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let reasons = prop::sample::select(vec![0x00, 0x00, 0x00, 0x00, 0x10, 0x87, 0x97, 0x99]);
    let step = prop_oneof![
        4 => (0..4u8, 0..3u8).prop_map(|(stream, topic)| Step::Feed(stream, topic)),
        4 => Just(Step::Publish),
        4 => (any::<u8>(), reasons).prop_map(|(which, reason)| Step::Answer(which, reason)),
        1 => Just(Step::Restart),
        2 => (0..2_000u16).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    /// Whatever happens in whatever order: a block is acknowledged exactly when each of its two
    /// publishes got 0x00 since the last restart, and the window holds.
    #[test]
    fn an_acknowledged_block_was_delivered_whole(steps in steps()) {
        let mut session = online(LIMITS, &[]);
        let mut now = 0;
        let mut next = 0;
        let mut flying: Vec<(Ticket, Parcel)> = Vec::new();
        let mut delivered: BTreeMap<Seq, BTreeSet<bool>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Feed(stream, topic) => {
                    let stream = Stream::ALL[usize::from(stream)];
                    if session.wants(stream) {
                        next += 1;
                        for last in [false, true] {
                            session.handle_parcel(parcel(stream, next, &format!("topic-{topic}"), last));
                        }
                    }
                }
                Step::Publish => flying.extend(session.poll_publish(at(now))),
                Step::Answer(which, reason) if !flying.is_empty() => {
                    let (ticket, parcel) = flying.remove(usize::from(which) % flying.len());
                    let answer = session.handle_puback(ticket, reason, at(now), &mut Most);
                    if reason == 0 {
                        let is_delivered = matches!(answer, Answer::Delivered { .. });
                        prop_assert!(is_delivered);
                        delivered.entry(parcel.block).or_default().insert(parcel.last);
                    }
                }
                Step::Answer(..) => {}
                Step::Restart => {
                    session.handle_restart(true);
                    session.handle_alarms_drained(true);
                    flying.clear();
                    delivered.clear();
                }
                Step::Wait(millis) => now += u64::from(millis),
            }
            prop_assert!(session.in_flight() <= usize::from(LIMITS.window));
            prop_assert_eq!(session.in_flight(), flying.len());
            for block in blocks(&mut session) {
                let parts = delivered.remove(&block);
                prop_assert_eq!(parts.map_or(0, |parts| parts.len()), 2, "{:?}", block);
            }
            // And none is forgotten.
            for parts in delivered.values() {
                prop_assert!(parts.len() < 2);
            }
        }
    }
}

#[test]
fn a_probe_that_is_refused_for_good_does_not_stop_the_others() {
    let mut session = online(LIMITS, &["a"]);
    session.handle_parcel(parcel(Stream::Backlog, 0, "x", true));
    let sent = take(&mut session, 0);
    session.handle_puback(sent[0].0, 0x97, at(1), &mut Most);
    // A backlog of the held topic is read and given back.
    for block in 1..=300 {
        session.handle_parcel(parcel(Stream::Backlog, block, "x", true));
        assert!(take(&mut session, 2).is_empty());
    }
    // Its probe is now refused for good.
    let sent = take(&mut session, 5_000);
    assert_eq!(sent.len(), 1);
    session.handle_puback(sent[0].0, 0x99, at(5_001), &mut Most);
    assert!(session.poll_rewind(at(1_000_000)));
    session.handle_restart(true);
    session.handle_alarms_drained(true);
    session.handle_parcel(parcel(Stream::Live, 1, "a", true));
    assert_eq!(take(&mut session, 1_000_000).len(), 1, "another device's reading waits for ever");
}

const EVERY: Duration = Duration::from_secs(60);

fn beating(limits: Limits) -> Session {
    let mut session = online(Limits { heartbeat: Some(EVERY), ..limits }, &["a", "alarm"]);
    session.handle_alarms_drained(true);
    session
}

#[test]
fn a_heartbeat_goes_out_at_once_then_at_its_pace_and_one_at_a_time() {
    let mut session = beating(LIMITS);
    assert!(session.poll_heartbeat(at(0)) && !session.poll_heartbeat(at(0)));
    assert!(!session.poll_heartbeat(at(60_000)), "the first is not answered");
    session.handle_heartbeat();
    assert!(!session.poll_heartbeat(at(59_999)));
    assert_eq!(session.poll_timeout(), Some(at(60_000)));
    assert!(session.poll_heartbeat(at(60_000)));
    // A new connection knows nothing of the one before.
    session.handle_restart(false);
    assert!(!session.poll_heartbeat(at(500_000)), "not while nobody is there");
    session.handle_connected(u16::MAX, at(500_000));
    session.handle_alarms_drained(true);
    assert!(session.poll_heartbeat(at(500_000)));
    let mut silent = online(LIMITS, &[]);
    silent.handle_alarms_drained(true);
    assert!(!silent.poll_heartbeat(at(0)) && silent.poll_timeout().is_none());
}

#[test]
fn a_heartbeat_waits_for_alarms_and_leaves_the_place_of_the_next_one_free() {
    let mut session = beating(Limits { window: 8, ..LIMITS });
    session.handle_alarms_drained(false);
    assert!(!session.poll_heartbeat(at(4_999)), "there may be alarms to read");
    session.handle_parcel(parcel(Stream::Alarm, 0, "alarm", true));
    assert!(!session.poll_heartbeat(at(9_000)), "an alarm waits");
    assert_eq!(session.poll_timeout(), None, "and nothing spins until it went");
    assert_eq!(take(&mut session, 9_000).len(), 1);
    assert!(session.poll_heartbeat(at(9_000)), "an alarm lane that cannot be drained is to be told of");

    let mut session = beating(Limits { window: 8, ..LIMITS });
    for block in 0..20 {
        session.handle_parcel(parcel(Stream::Backlog, block, "a", true));
    }
    let flying = take(&mut session, 0);
    assert_eq!(flying.len(), 7);
    assert!(!session.poll_heartbeat(at(0)), "the last place is an alarm's");
    session.handle_puback(flying[0].0, 0, at(1), &mut Most);
    assert!(session.poll_heartbeat(at(1)));
    assert!(take(&mut session, 1).is_empty(), "it took the place of a reading");
    session.handle_parcel(parcel(Stream::Alarm, 1, "alarm", true));
    assert_eq!(take(&mut session, 1).len(), 1);
}

#[test]
fn a_heartbeat_that_nobody_answers_shows_a_wedged_connection() {
    let mut session = beating(LIMITS);
    assert!(session.poll_heartbeat(at(0)));
    assert_eq!(session.stalled(at(29_999)), None);
    assert_eq!(session.stalled(at(30_000)), Some(Duration::from_secs(30)));
    assert_eq!(session.in_flight(), 0, "nothing of the store waits for it");
}

#[test]
fn a_notice_takes_one_place_waits_behind_alarms_and_counts_as_wedged() {
    let mut session = online(Limits { window: 8, ..LIMITS }, &["a", "alarm"]);
    session.handle_parcel(parcel(Stream::Alarm, 1, "alarm", true));
    assert!(!session.poll_notice(at(0)), "an alarm waits");
    let alarm = take(&mut session, 0);
    assert!(session.poll_notice(at(0)) && !session.poll_notice(at(0)), "one at a time");
    session.handle_puback(alarm[0].0, 0x00, at(1), &mut Most);
    for block in 2..12 {
        session.handle_parcel(parcel(Stream::Live, block, "a", true));
    }
    assert_eq!(take(&mut session, 1).len(), 6, "one place is the notice's, one is kept for an alarm");
    assert_eq!(session.oldest_age(at(5_000)), Some(Duration::from_secs(5)));
    session.handle_notice();
    assert_eq!(take(&mut session, 1).len(), 1);
    assert!(!session.poll_notice(at(2)), "the window is full but for the alarm's place");
    assert!(session.poll_timeout().is_some_and(|next| next > at(2)), "and nothing is to be done at once");
    session.handle_restart(false);
    assert!(!session.poll_notice(at(3)), "not while nobody is there");
}
