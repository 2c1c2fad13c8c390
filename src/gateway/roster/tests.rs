//! Places are given once.

use super::super::change::groups;
use super::super::change::tests::{config, device};
use super::*;

pub(in crate::gateway) fn ward() -> (tempfile::TempDir, WardKey) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ward");
    crate::host::atomic_file::write(&path, b"0123456789abcdef0123456789ABCDEF").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ward = WardKey::load(&crate::envelope::keys::KeyPlace::File(path)).unwrap();
    (folder, ward)
}

fn places(seating: &Seating) -> Vec<(u16, Vec<(u8, u16)>)> {
    let of = |seat: &Seat| (seat.place.0, seat.parts.iter().map(|(part, at)| (part.0, at.0)).collect());
    seating.seats.iter().map(of).collect()
}

#[test]
fn each_rack_has_its_own_parts_and_a_place_is_never_given_again() {
    let (_folder, ward) = ward();
    let config = config(vec![
        device("a", "1", None),
        device("b", "2", None),
        device("b-3", "3", Some((1, 3))),
        device("b-1", "4", Some((1, 1))),
        device("c", "5", None),
    ]);
    let mut roster = Roster::default();
    let first = roster.seat(&groups(&config), &ward).unwrap();
    assert_eq!(first.first, DeviceIndex(0));
    assert_eq!(places(&first), [(0, vec![]), (1, vec![(1, 3), (3, 2)]), (4, vec![])]);
    let behind: Vec<_> = first.rules.iter().map(|(rule, _)| rule.behind.map(|behind| behind.0)).collect();
    assert_eq!(behind, [None, None, Some(1), Some(1), None]);
    assert_eq!(roster.leave("b"), [1, 2, 3].map(DeviceIndex));
    assert_eq!(roster.leave("b"), []);
    let rack: Vec<_> = groups(&config).into_iter().filter(|group| group.id() == "b").collect();
    let again = roster.seat(&rack, &ward).unwrap();
    assert_eq!((again.first, places(&again)), (DeviceIndex(5), vec![(5, vec![(1, 7), (3, 6)])]));
    assert_eq!(again.rules[1].0.behind, Some(DeviceIndex(5)), "behind the rack as it is now");
}

#[test]
fn the_last_place_is_given_and_no_other_behind_it() {
    let (_folder, ward) = ward();
    let config = config(vec![device("a", "1", None)]);
    let mut roster = Roster { given: usize::from(u16::MAX), ..Roster::default() };
    assert_eq!(roster.seat(&groups(&config), &ward).unwrap().first, DeviceIndex(u16::MAX));
    assert_eq!(roster.seat(&groups(&config), &ward).err(), Some(NoPlace));
}
