use futures_util::FutureExt as _;

use super::*;

fn wanted(topic: &str) -> Wanted {
    Wanted { topic: topic.to_owned(), ask: 1 }
}

fn letter(topic: &str, payload: &'static str) -> PostEvent {
    PostEvent::Letter(Letter { topic: topic.to_owned(), payload: Bytes::from_static(payload.as_bytes()) })
}

/// Everything that can be taken without waiting.
fn take(office: &mut PostOffice) -> Vec<PostEvent> {
    std::iter::from_fn(|| office.next().now_or_never()).collect()
}

#[test]
fn only_what_is_wanted_is_handed_on() {
    let (mut office, post) = post();
    let inbox = post.inbox();
    office.want(vec![wanted("a/b")]);
    inbox.handle_publish(b"a/b", b"1");
    inbox.handle_publish(b"a/c", b"2");
    inbox.handle_publish(b"a/b/c", b"3");
    inbox.handle_publish(b"\xff", b"4");
    office.want(vec![wanted("a/c")]);
    inbox.handle_publish(b"a/b", b"5");
    assert_eq!(take(&mut office), [letter("a/b", "1")]);
    assert_eq!(post.counts(), Counts { letters: 1, lost: 0, unwanted: 4 });
}

#[test]
fn what_finds_no_room_is_said_where_it_would_have_been() {
    let (mut office, post) = post();
    let inbox = post.inbox();
    office.want(vec![wanted("t")]);
    for _ in 0..MAX_LETTERS + 3 {
        inbox.handle_publish(b"t", b"x");
    }
    assert_eq!(office.next().now_or_never(), Some(letter("t", "x")));
    inbox.handle_publish(b"t", b"y");
    inbox.handle_publish(b"t", b"z");
    let mut expected = vec![letter("t", "x"); MAX_LETTERS - 1];
    expected.extend([PostEvent::Lost(3), letter("t", "y"), PostEvent::Lost(1)]);
    assert_eq!(take(&mut office), expected);
    assert_eq!(post.counts().lost, 4);
}

#[test]
fn whatever_comes_and_however_slowly_it_is_taken_little_waits() {
    let (mut office, post) = post();
    let inbox = post.inbox();
    office.want(vec![wanted("t")]);
    for round in 0..1_000 {
        inbox.handle_publish(b"t", b"x");
        post.handle_connected();
        if round % 7 == 0 {
            let _ = office.next().now_or_never();
        }
        assert!(post.0.lock().events.len() <= 4 * MAX_LETTERS);
    }
    let connected = take(&mut office).into_iter().filter(|event| *event == PostEvent::Connected).count();
    assert_eq!(connected, 1, "the latest says it all");
}

#[test]
fn no_wildcard_and_not_too_many_topics() {
    let (office, post) = post();
    let many = (0..40).map(|number| wanted(&format!("t/{number}")));
    office.want(
        ["+", "a/#", "$share/x/t", "", "a\0b", &"x".repeat(257)]
            .map(wanted)
            .into_iter()
            .chain(many)
            .collect(),
    );
    let topics = post.wanted(|_, _| true);
    assert_eq!(topics.len(), MAX_WANTED);
    assert!(topics.iter().all(|(topic, _)| topic.starts_with("t/")), "{topics:?}");
}

#[test]
fn the_latest_notice_of_a_topic_counts_and_a_ninth_topic_is_refused() {
    let (office, post) = post();
    for topic in 0..20 {
        for payload in ["old", "new"] {
            office.notice(Notice { topic: format!("t/{topic:02}"), payload: Bytes::from(payload) });
        }
    }
    office.notice(Notice { topic: "#".to_owned(), payload: Bytes::new() });
    let state = post.0.lock();
    assert_eq!(state.notices.len(), MAX_NOTICES);
    assert!(state.notices.values().all(|(_, payload)| payload == "new"));
}
