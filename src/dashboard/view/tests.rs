use std::time::Duration;

use super::*;
use crate::host::status::{Identity, Unlisted, sample};

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

fn healthy() -> Snapshot {
    let mut snapshot = sample::snapshot();
    snapshot.time_synced = true;
    snapshot.uplink.certificate = None;
    snapshot.uplink.certificate_days_left = Some(80);
    snapshot.store.cap = 1 << 50;
    snapshot.fleet.as_mut().unwrap().standing = "current".to_owned();
    snapshot
}

fn words(view: &View) -> Vec<&str> {
    view.events.iter().map(|event| event.words.as_str()).collect()
}

#[test]
fn what_is_well_is_said_to_be_and_nothing_is_an_event() {
    let mut watcher = Watcher::default();
    for second in 0..3 {
        let view = watcher.handle_answer(Ok(&healthy()), at(second));
        let marks = [&view.daemon, &view.uplink, &view.clock, &view.store].map(|said| said.mark);
        assert_eq!(marks, [Mark::Good; 4], "{view:?}");
        assert!(view.devices.iter().all(|device| device.link.mark == Mark::Good), "{view:?}");
        assert!(view.events.is_empty(), "{view:?}");
        assert_eq!(view.depth.len(), usize::try_from(second).unwrap() + 1);
    }
}

#[test]
fn each_change_is_told_once_with_its_age_the_newest_first() {
    let mut watcher = Watcher::default();
    watcher.handle_answer(Ok(&healthy()), at(0));
    let mut sick = healthy();
    sick.devices[0].link = "down".to_owned();
    sick.devices[0].link_reason = Some("the port is gone".to_owned());
    watcher.handle_answer(Ok(&sick), at(10));
    sick.uplink.state = "waiting".to_owned();
    sick.uplink.last_error = Some("connection refused".to_owned());
    let view = watcher.handle_answer(Ok(&sick), at(12));
    assert_eq!(
        words(&view),
        ["uplink: waiting, readings are kept: connection refused", "pump-1: down: the port is gone"]
    );
    assert_eq!(view.events.iter().map(|event| event.age_ms).collect::<Vec<_>>(), [0, 2_000]);
    let again = watcher.handle_answer(Ok(&sick), at(20));
    assert_eq!(again.events.len(), 2);
}

#[test]
fn a_daemon_that_is_away_leaves_no_old_picture() {
    let mut watcher = Watcher::default();
    watcher.handle_answer(Ok(&healthy()), at(0));
    let view = watcher.handle_answer(Err("no daemon answers"), at(2));
    assert_eq!((view.daemon.mark, view.gateway.as_str()), (Mark::Bad, "gw-1"));
    assert!(view.devices.is_empty() && view.lanes.is_empty(), "{view:?}");
    let back = watcher.handle_answer(Ok(&healthy()), at(4));
    assert_eq!(words(&back), ["daemon: running", "daemon: no daemon answers"]);
}

#[test]
fn the_worst_of_a_device_is_what_is_shown() {
    let mut device = sample::device("pump-1");
    let shown = |device: &Device| (link(device).mark, link(device).words);
    device.link = "never".to_owned();
    assert_eq!(shown(&device), (Mark::Look, "not seen yet".to_owned()));
    device.silent_ms = Some(90_000);
    assert_eq!(shown(&device), (Mark::Bad, "silent for longer than it may be".to_owned()));
    device.quarantine = Some("it says that it is 8002-51734".to_owned());
    assert_eq!(shown(&device), (Mark::Bad, "all of it is refused: wardline status says why".to_owned()));
    for (word, mark) in [("open", Mark::Look), ("bonded", Mark::Good), ("serial", Mark::Good)] {
        device.security = word.to_owned();
        assert_eq!(security(&device).mark, mark, "{word}");
    }
    device.bond_refused = true;
    assert_eq!(security(&device).words, "bond not trusted: wardline pair pump-1");
}

#[test]
fn devices_that_come_and_go_and_warnings_are_events() {
    let mut watcher = Watcher::default();
    let mut snapshot = healthy();
    watcher.handle_answer(Ok(&snapshot), at(0));
    snapshot.devices[1].id = "pump-3".to_owned();
    snapshot.warnings.push("swap is on".to_owned());
    let view = watcher.handle_answer(Ok(&snapshot), at(1));
    assert_eq!(words(&view), ["warning: swap is on", "pump-2: is no longer listed", "pump-3: is listed now"]);
}

#[test]
fn memory_is_bounded() {
    let mut watcher = Watcher::default();
    let mut snapshot = healthy();
    let mut view = View::default();
    for second in 0..1_000u64 {
        snapshot.devices[0].link = if second % 2 == 0 { "up" } else { "down" }.to_owned();
        snapshot.lanes[0].records = second;
        view = watcher.handle_answer(Ok(&snapshot), at(second));
    }
    assert_eq!((view.events.len(), view.depth.len()), (MAX_EVENTS, MAX_POINTS));
    assert_eq!(view.depth.last(), Some(&999));
}

#[test]
fn no_serial_number_and_no_stranger_is_on_the_page() {
    let mut snapshot = healthy();
    snapshot.devices[0].stated = Some(Identity { serial: Some("CANARY".to_owned()), ..Identity::default() });
    snapshot.devices[1].quarantine = Some("it says that it is CANARY".to_owned());
    snapshot.warnings.push("pump-2: it says that it is CANARY".to_owned());
    snapshot.unlisted.push(Unlisted { address: "CANARY".to_owned() });
    let view = Watcher::default().handle_answer(Ok(&snapshot), at(0));
    let page = serde_json::to_string(&view).unwrap();
    assert!(!page.contains("CANARY") && page.contains("\"unlisted\":1"), "{page}");
}
