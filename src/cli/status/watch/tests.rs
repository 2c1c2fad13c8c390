use std::time::Duration;

use super::*;
use crate::host::status::{Snapshot, sample};
use crate::time::Mono;

fn at(seconds: u64) -> Mono {
    Mono::default() + Duration::from_secs(seconds)
}

fn ward(count: usize) -> Snapshot {
    let mut snapshot = sample::snapshot();
    snapshot.devices = (0..count).map(|number| sample::device(&format!("pump-bed-{number:02}"))).collect();
    if let Some(last) = snapshot.devices.last_mut() {
        last.link = "down".to_owned();
        last.link_reason = Some("the port /dev/serial/by-path/platform-xhci-usb-0:1.4 is gone".to_owned());
    }
    snapshot.uplink.last_error = Some("broker.example.org:8883 does not answer within 10 s".to_owned());
    snapshot.uplink.state = "waiting".to_owned();
    snapshot
}

fn texts(view: &View, columns: usize, rows: usize) -> Vec<String> {
    page(view, Size { columns, rows }).into_iter().map(|line| line.text).collect()
}

#[test]
fn no_line_is_longer_and_none_is_more_than_the_terminal_has() {
    for count in [0, 1, 40] {
        let view = Watcher::default().handle_answer(Ok(&ward(count)), at(0));
        for columns in [1, 10, 20, 40, 80, 81, 132, 250] {
            for rows in [1, 2, 5, 24, 60] {
                let texts = texts(&view, columns, rows);
                assert_eq!(texts.len(), rows, "{columns}x{rows}: {texts:#?}");
                let longest = texts.iter().map(|text| text.chars().count()).max();
                assert!(longest <= Some(columns), "{columns}x{rows}: {texts:#?}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_on_top_in_full_and_marked_without_colour() {
    let view = Watcher::default().handle_answer(Ok(&ward(40)), at(0));
    for columns in [40, 80] {
        let texts = texts(&view, columns, 40);
        let of = |start: &str| texts.iter().position(|text| text.starts_with(start));
        assert!(texts[1].starts_with("!! 1 of 40 devices and"), "{texts:#?}");
        let broker = of("!! Broker").unwrap();
        assert!(texts[broker].contains("waiting, readings are"), "{texts:#?}");
        let head = of("   DEVICE").unwrap();
        assert!(texts[head + 1].starts_with("!  pump-bed-39"), "{texts:#?}");
        let all = texts.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
        let whole = if columns == 80 {
            "down: the port /dev/serial/by-path/platform-xhci-usb-0:1.4 is gone"
        } else {
            "is gone"
        };
        assert!(all.contains(whole), "{texts:#?}");
        assert!(texts[38].contains("more devices below: a taller"), "{texts:#?}");
        assert_eq!(texts[39].trim(), FOOT);
    }
}

#[test]
fn figures_of_a_daemon_that_does_not_answer_have_their_age() {
    let mut watcher = Watcher::default();
    let first = texts(&watcher.handle_silence(at(0)), 80, 24);
    assert!(first.iter().any(|text| text.contains("There are no figures yet.")), "{first:#?}");
    let live = texts(&watcher.handle_answer(Ok(&ward(3)), at(1)), 80, 24);
    assert!(live.iter().all(|text| !text.contains("figures")), "{live:#?}");
    let silent = texts(&watcher.handle_silence(at(8)), 80, 24);
    assert!(silent[1].starts_with("!  The daemon: has not answered since"), "{silent:#?}");
    assert_eq!(silent[2].trim(), "These figures are 7 s old.");
    assert!(silent.iter().any(|text| text.contains("pump-bed-00")), "{silent:#?}");
    let away = texts(&watcher.handle_answer(Err("no daemon answers"), at(70)), 80, 24);
    assert!(away[1].starts_with("!! The daemon: no daemon answers"), "{away:#?}");
    assert_eq!(away[2].trim(), "Its last answer came 1 min 9 s ago: no figures are shown.");
    assert!(away.iter().all(|text| !text.contains("pump-bed-00")), "{away:#?}");
    // Nor the heads of what would stand below them.
    for page in [first, away] {
        assert!(page.iter().all(|text| !text.contains("DEVICE") && !text.contains("Waiting")), "{page:#?}");
    }
}

#[test]
fn what_changed_stands_below_when_there_is_place() {
    let mut watcher = Watcher::default();
    watcher.handle_answer(Ok(&ward(2)), at(0));
    let mut snapshot = ward(2);
    snapshot.devices[0].silent_ms = Some(90_000);
    watcher.handle_answer(Ok(&snapshot), at(2));
    let view = watcher.handle_answer(Ok(&snapshot), at(14));
    let shown = texts(&view, 80, 40);
    let heading = shown.iter().position(|text| text == "  CHANGES").unwrap();
    assert_eq!(shown[heading + 1], "!! 12 s ago         pump-bed-00: silent for longer than it may be");
    assert!(texts(&view, 80, 12).iter().all(|text| text != "  CHANGES"));
}

#[test]
fn words_are_broken_between_them_and_inside_only_where_they_are_too_long() {
    assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
    assert_eq!(wrapped("averylongword x", 8), ["averylon", "gword x"]);
    assert_eq!(wrapped("", 8), [""]);
}
