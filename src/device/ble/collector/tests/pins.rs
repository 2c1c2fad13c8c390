//! What a device is besides who it says it is: told when it changes, known when it is durable.

use super::*;
use crate::device::pin::{Pin, Pinned};
use crate::link::gatt::{DATABASE_HASH, DISCOVERED};

/// What a belt answers: firmware, software, hardware, Database Hash, the list as found.
#[derive(Clone, Copy)]
struct Belt {
    serial: &'static str,
    revisions: [Result<&'static str, &'static str>; 3],
    hash: Result<&'static [u8], &'static str>,
    found: &'static [u8],
}

const FIRST: Belt = Belt {
    serial: "SN-0001",
    revisions: [Ok("1.0"), Ok("7"), Err(NOT_OFFERED)],
    hash: Ok(&[1; 16]),
    found: &[9, 9, 9],
};

impl Story {
    /// A belt that remembers this, without a connection.
    fn belt(memo: &[u8]) -> Self {
        let mut story = Self::of(&["heart-rate"]);
        if !memo.is_empty() {
            story.collector.recall(memo);
        }
        story
    }

    /// Connected and asked all: the pins that it gives on.
    fn pins(&mut self, belt: Belt) -> Vec<Pin> {
        self.event(LinkEvent::Up);
        for uuid in STRINGS {
            match uuid {
                0x2A25 => self.answer(uuid, Ok(belt.serial)),
                0x2A26 => self.answer(uuid, belt.revisions[0]),
                _ => self.answer(uuid, Ok("Belt")),
            };
        }
        let asked = self.subscribed(HEART, Ok(()));
        assert_eq!(asked, what_it_is(), "behind the subscriptions");
        let mut said = self.answer(0x2A28, belt.revisions[1]);
        said.extend(self.answer(0x2A27, belt.revisions[2]));
        let octets = |result: Result<&'static [u8], &str>| result.map(Bytes::from).map_err(str::to_owned);
        said.extend(self.event(LinkEvent::ReadDone(DATABASE_HASH, octets(belt.hash))));
        if said.contains(&Action::Command(LinkCommand::Read(DISCOVERED))) {
            said.extend(self.event(LinkEvent::ReadDone(DISCOVERED, octets(Ok(belt.found)))));
        }
        let pin = |action| if let Action::Pin(pin) = action { Some(pin) } else { None };
        said.into_iter().filter_map(pin).collect()
    }

    /// Everything up to a ticket became durable: what is remembered, if anything is.
    fn keeps(&mut self, tickets: impl IntoIterator<Item = u64>) -> Vec<u8> {
        let mut memo = Vec::new();
        for ticket in tickets {
            self.collector.handle_ticket(Ticket(ticket));
            memo = memos(&self.durable(ticket)).pop().unwrap_or(memo);
        }
        memo
    }
}

/// The memo of a belt.
fn memo_of(belt: Belt) -> Vec<u8> {
    let mut story = Story::belt(&[]);
    story.pins(belt);
    story.keeps([1, 2])
}

fn pin(of: Pinned, change: &str) -> Pin {
    Pin { of, change: Some(change.to_owned()) }
}

#[test]
fn what_is_known_is_not_told_again_and_what_is_new_is_told_until_it_is_durable() {
    let mut story = Story::belt(&[]);
    let first = [Pinned::Firmware, Pinned::GattDatabase].map(|of| Pin { of, change: None });
    assert_eq!(story.pins(FIRST), first);
    let memo = story.keeps([1, 2]);
    assert_eq!(story.pins(FIRST), []);
    assert_eq!(Story::belt(&memo).pins(FIRST), []);

    let updated = Belt { revisions: [Ok("1.1"), Ok("8"), Err(NOT_OFFERED)], ..FIRST };
    let told = pin(Pinned::Firmware, r#"firmware was "1.0" and is "1.1"; software was "7" and is "8""#);
    let mut story = Story::belt(&memo);
    assert_eq!(story.pins(updated), std::slice::from_ref(&told));
    assert_eq!(story.pins(updated), [], "it is on its way");
    assert_eq!(Story::belt(&memo).pins(updated), [told], "it did not become durable: told again");
    let memo = story.keeps([1]);
    assert_eq!(Story::belt(&memo).pins(updated), []);
}

#[test]
fn another_database_is_told_and_so_is_the_loss_of_its_hash() {
    let memo = memo_of(FIRST);
    for (belt, part) in [
        (Belt { hash: Ok(&[2; 16]), ..FIRST }, "and is database hash, "),
        (Belt { hash: Err(NOT_OFFERED), ..FIRST }, "and is list as found, "),
    ] {
        let told = Story::belt(&memo).pins(belt);
        let [Pin { of: Pinned::GattDatabase, change: Some(change) }] = told.as_slice() else {
            panic!("{told:?}")
        };
        assert!(change.contains("was database hash, ") && change.contains(part), "{change}");
    }
    let without = Belt { hash: Err(NOT_OFFERED), ..FIRST };
    let memo = memo_of(without);
    assert_eq!(Story::belt(&memo).pins(without), []);
    assert_eq!(Story::belt(&memo).pins(Belt { found: &[9, 9], ..without }).len(), 1);
}

#[test]
fn what_is_not_said_or_cannot_be_read_changes_nothing() {
    let memo = memo_of(FIRST);
    let refused = "Operation failed with ATT error: 0x05";
    for reason in [NOT_OFFERED, refused] {
        let belt = Belt { revisions: [Err(reason); 3], hash: Err(refused), ..FIRST };
        let mut story = Story::belt(&memo);
        assert_eq!(story.pins(belt), []);
        assert_eq!(story.pins(FIRST), [], "it is the one that it was");
    }
    // A revision that comes to be stated is known from then on, and no change.
    let more = Belt { revisions: [Ok("1.0"), Ok("7"), Ok("B")], ..FIRST };
    assert_eq!(Story::belt(&memo).pins(more), [Pin { of: Pinned::Firmware, change: None }]);
}

#[test]
fn a_refused_device_leaves_nothing_behind() {
    let memo = memo_of(FIRST);
    let updated = Belt { revisions: [Ok("1.1"), Ok("7"), Err(NOT_OFFERED)], ..FIRST };
    let other = Belt { serial: "SN-0002", hash: Ok(&[3; 16]), ..updated };
    let mut story = Story::belt(&memo);
    assert!(story.pins(other).iter().all(|pin| pin.change.is_none()), "it was never this one");
    story.collector.handle_ticket(Ticket(1));
    story.collector.handle_ticket(Ticket(2));
    story.collector.handle_refused(Ticket(2), story.now);
    assert_eq!(memos(&story.durable(2)), [[0; 0]; 0]);
    story.event(LinkEvent::Down(LinkError::HungUp));
    assert_eq!(story.pins(updated).len(), 1, "the right one again, with another firmware");
}

#[test]
fn a_long_revision_counts_as_a_whole_and_a_serial_number_is_not_shown() {
    const LONG: &str = "2026-11-22T12:00:00Z-release-abcdef0";
    const OTHER: &str = "2026-11-22T12:00:00Z-release-abcdef1";
    let with = |text| Belt { revisions: [Ok(text), Ok("7"), Err(NOT_OFFERED)], ..FIRST };
    let told = Story::belt(&memo_of(with(LONG))).pins(with(OTHER));
    assert_eq!(told.len(), 1);
    let shown = Story::belt(&memo_of(with("1.0"))).pins(with("1.0 of SN-0001"));
    assert_eq!(shown, [pin(Pinned::Firmware, r#"firmware was "1.0" and is "not shown""#)]);
    let most = [
        "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"a",
        "\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"\"b",
    ];
    let [was, is] = most.map(|text| Belt { revisions: [Ok(text); 3], ..FIRST });
    let change = Story::belt(&memo_of(was)).pins(is).pop().and_then(|pin| pin.change).unwrap();
    assert!(change.len() <= crate::policy::event::MAX_DETAIL, "{}", change.len());
}

#[test]
fn a_memo_of_before_and_a_torn_one_are_read_as_far_as_they_can_be() {
    let memo = memo_of(FIRST);
    let marks_only = [&[1][..], &memo[1..9]].concat();
    let first = Story::belt(&marks_only).pins(FIRST);
    assert!(first.len() == 2 && first.iter().all(|pin| pin.change.is_none()), "{first:?}");
    for length in 1..memo.len() {
        let told = Story::belt(&memo[..length]).pins(FIRST);
        assert!(told.iter().all(|pin| pin.change.is_none()), "{length} octets: {told:?}");
    }
}
