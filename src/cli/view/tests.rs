use std::time::Duration;

use super::*;
use crate::host::status::{Certificate, Identity, Unlisted, sample};

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

fn healthy() -> Snapshot {
    let mut snapshot = sample::snapshot();
    snapshot.time_synced = true;
    snapshot.uplink.certificate = None;
    snapshot.uplink.certificate_days_left = Some(80);
    snapshot.uplink.certificate_alarm = "none".to_owned();
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
    sick.devices[0].link_reason =
        Some("/dev/serial/by-id/usb-FTDI_A50285BI-if00-port0 is not there: is it plugged in?".to_owned());
    let view = watcher.handle_answer(Ok(&sick), at(30));
    assert_eq!(view.devices[0].link.words, "down: /dev/serial/by-id/[name] is not there: is it plugged in?");
    assert!(!format!("{view:?}").contains("A50285BI"), "{view:?}");
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
fn a_daemon_that_does_not_answer_leaves_a_picture_that_grows_old_and_says_so() {
    let mut watcher = Watcher::default();
    let view = watcher.handle_silence(at(0));
    assert_eq!((view.daemon.words.as_str(), view.answer_age_ms), ("has not answered yet", None));
    let live = watcher.handle_answer(Ok(&healthy()), at(2));
    assert_eq!((live.answer_age_ms, live.summary.mark), (Some(0), Mark::Good));
    let told: Vec<View> = [at(6), at(8)].into_iter().map(|now| watcher.handle_silence(now)).collect();
    assert_eq!(told.iter().map(|view| view.answer_age_ms).collect::<Vec<_>>(), [Some(4_000), Some(6_000)]);
    let ages = |view: &View| {
        let devices = view.devices.iter().filter_map(|device| device.last_reading_age_ms);
        devices.chain(view.lanes.iter().filter_map(|lane| lane.oldest_age_ms)).collect::<Vec<_>>()
    };
    assert_eq!(ages(&told[1]), ages(&live).iter().map(|age| age + 6_000).collect::<Vec<_>>());
    // The words stay the same while it grows older: a screen reader says them once.
    assert_eq!(told[0].summary, told[1].summary);
    assert_eq!((told[1].summary.mark, told[1].events.len()), (Mark::Look, 0));
    let back = watcher.handle_answer(Ok(&healthy()), at(10));
    assert_eq!((back.answer_age_ms, back.summary.mark, back.events.len()), (Some(0), Mark::Good, 0));
    watcher.handle_answer(Err("it does not answer"), at(20));
    let away = watcher.handle_silence(at(22));
    assert_eq!((away.daemon.mark, away.answer_age_ms), (Mark::Bad, Some(12_000)));
}

#[test]
fn the_whole_is_one_sentence() {
    let said = |change: fn(&mut Snapshot)| {
        let mut snapshot = healthy();
        change(&mut snapshot);
        let summary = Watcher::default().handle_answer(Ok(&snapshot), at(0)).summary;
        (summary.mark, summary.words)
    };
    for (change, mark, words) in [
        (|_| {}, Mark::Good, "The gateway and its 2 devices are well"),
        (|s| s.devices.clear(), Mark::Good, "The gateway is well; no device is listed"),
        (|s| s.devices[0].link = "down".into(), Mark::Look, "1 of 2 devices needs a look"),
        (|s| s.time_synced = false, Mark::Look, "1 thing of the gateway needs a look"),
        (
            |s| (s.time_synced, s.uplink.state, s.devices[1].silent_ms) = (false, "waiting".into(), Some(9)),
            Mark::Bad,
            "1 of 2 devices and 2 things of the gateway need a look",
        ),
    ] as [(fn(&mut Snapshot), Mark, &str); 5]
    {
        assert_eq!(said(change), (mark, words.to_owned()));
    }
}

#[test]
fn a_trouble_that_a_state_says_is_shown_and_counted_once() {
    for (change, said) in [
        (|s| s.time_synced = false, "follows no reference: readings are marked so"),
        (|s| s.uplink.no_consumer = true, "connected, but nobody is subscribed: readings are kept"),
        (
            |s| (s.uplink.state, s.uplink.no_consumer) = ("waiting".into(), true),
            "waiting, readings are kept; nobody was subscribed",
        ),
        (|s| s.store.last_error = Some("disk full".into()), "disk full"),
        (|s| s.uplink.certificate_alarm = "soon".into(), "80 days left: renew it"),
        (
            |s| {
                let trouble = Some("no answer".to_owned());
                s.uplink.certificate_alarm = "expired".into();
                s.uplink.certificate =
                    Some(Certificate { alarm: "expired".into(), trouble, ..Certificate::default() });
            },
            "80 days left: enrol the gateway again (wardline enrol); no answer",
        ),
        (|s| s.fleet.as_mut().unwrap().trouble = Some("no broker".into()), "; no broker"),
        (|s| s.radios[0].down = Some("unplugged".into()), "hci0 cannot be used: unplugged"),
        (|s| s.radios[0].not_scanning = Some("busy".into()), "hci0 does not scan: busy"),
        (|s| s.radios[0].wants_usb_reset = true, "hears nothing: reset its USB device"),
    ] as [(fn(&mut Snapshot), &str); 10]
    {
        let mut snapshot = healthy();
        change(&mut snapshot);
        snapshot.warnings = warnings::of(&snapshot).into_iter().map(|warning| warning.words).collect();
        assert!(!snapshot.warnings.is_empty(), "{said}");
        let view = Watcher::default().handle_answer(Ok(&snapshot), at(0));
        assert_eq!(view.summary.words, "1 thing of the gateway needs a look", "{said}: {:?}", view.states());
        assert!(view.states().iter().any(|(_, state)| state.words.contains(said)), "{:?}", view.states());
    }
}

#[test]
fn a_warning_that_no_state_says_is_shown() {
    for change in [
        |s| s.radios[0].no_agent = Some("another one is there".into()),
        |s| s.radios[0].values_lost = 3,
        |s| {
            s.uplink.certificate_alarm = "expired".into();
            s.uplink.certificate = Some(Certificate { alarm: "expired".into(), ..Certificate::default() });
            s.uplink.certificate_days_left = None;
        },
    ] as [fn(&mut Snapshot); 3]
    {
        let mut snapshot = healthy();
        change(&mut snapshot);
        snapshot.warnings = warnings::of(&snapshot).into_iter().map(|warning| warning.words).collect();
        let view = Watcher::default().handle_answer(Ok(&snapshot), at(0));
        let shown: Vec<&String> = view.warnings.iter().map(|warning| &warning.words).collect();
        assert_eq!(shown, snapshot.warnings.iter().collect::<Vec<_>>());
        assert_eq!((shown.len(), view.summary.words.as_str()), (1, "1 thing of the gateway needs a look"));
    }
    // Also where a radio with a trouble of its own has one more.
    let mut snapshot = healthy();
    snapshot.radios[0].down = Some("unplugged".to_owned());
    snapshot.radios[0].values_lost = 3;
    snapshot.warnings = warnings::of(&snapshot).into_iter().map(|warning| warning.words).collect();
    let view = Watcher::default().handle_answer(Ok(&snapshot), at(0));
    assert!(view.warnings.len() == 1 && view.warnings[0].words.contains("were lost"), "{:?}", view.warnings);
}

#[test]
fn an_event_keeps_its_number() {
    let mut watcher = Watcher::default();
    let mut snapshot = healthy();
    let mut numbers = |link: &str, second| {
        snapshot.devices[0].link = link.to_owned();
        let view = watcher.handle_answer(Ok(&snapshot), at(second));
        view.events.iter().map(|event| event.number).collect::<Vec<_>>()
    };
    numbers("up", 0);
    assert_eq!(numbers("down", 1), [1]);
    assert_eq!(numbers("up", 2), [2, 1]);
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
