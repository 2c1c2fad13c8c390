//! What a central knows without a radio.

use super::*;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> crate::time::Now {
        crate::time::Now::default()
    }
}

impl Random for Stopped {
    fn next_u64(&mut self) -> u64 {
        0
    }
}

fn central(allowlist: &[Address]) -> (Central, Handle) {
    Central::new("hci0", allowlist.iter().copied(), Arc::new(Stopped), Box::new(Stopped))
}

fn address(number: u8) -> Address {
    format!("F9:00:00:00:00:{number:02X}").parse().unwrap()
}

#[test]
fn the_unlisted_are_counted_and_only_the_latest_are_kept() {
    let (_central, handle) = central(&[]);
    for number in 0..100 {
        handle.shared.hear_unlisted(Some(address(number)));
    }
    handle.shared.hear_unlisted(Some(address(80)));
    handle.shared.hear_unlisted(None);
    let unlisted = handle.status().unlisted;
    assert_eq!(unlisted.adverts, 102);
    assert_eq!(unlisted.latest.len(), UNLISTED_KEPT);
    assert_eq!(unlisted.latest[..3], [address(80), address(99), address(98)]);
}

#[test]
fn a_radio_that_was_never_started_says_so_and_knows_only_the_listed() {
    let (central, handle) = central(&[address(1), address(2)]);
    let status = handle.status();
    assert_eq!(status.down.as_deref(), Some("not started"));
    assert_eq!(status.listed, [(address(1), Presence::Unknown), (address(2), Presence::Unknown)]);
    assert!(handle.peer(address(1)).is_some());
    assert!(handle.peer(address(3)).is_none());
    drop(central);
}

#[test]
fn another_list_leaves_what_stays_on_it_alone() {
    let (_central, handle) = central(&[address(1), address(2)]);
    let mut stays = handle.peer(address(1)).unwrap();
    handle.shared.peers()[&address(1)].send_modify(|peer| {
        peer.id = Some("hci0/dev_1".to_owned());
        peer.sighted = true;
    });
    assert!(stays.has_changed().unwrap());
    stays.mark_unchanged();
    handle.set_listed([address(3), address(1)]);
    assert!(stays.borrow().sighted && !stays.has_changed().unwrap(), "its links hear nothing of it");
    let listed = handle.status().listed;
    assert_eq!(listed, [(address(1), Presence::Sighted), (address(3), Presence::Unknown)]);
    assert!(handle.peer(address(2)).is_none());
}
