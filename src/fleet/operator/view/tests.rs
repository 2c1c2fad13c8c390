use super::*;
use crate::fleet::documents::Digest;
use crate::fleet::documents::reported::sealed;

const PAYLOAD: &str = include_str!("../../documents/testdata/reported.json");
const TOPIC: &str = "c/v1/st-anna/gw/gw-1/reported";

fn at(text: &str) -> Wall {
    Wall::read(text).unwrap()
}

fn view() -> View {
    View::new("st-anna", [("gw-1", "icu-3"), ("gw-2", "icu-3"), ("gw-9", "icu-4")])
}

fn report(change: impl FnOnce(String) -> String) -> Vec<u8> {
    sealed(change(PAYLOAD.to_owned()).into_bytes(), "key", vec![1])
}

/// Is proven when it is signed by the byte 1.
fn prove(_: &[u8], report: &Reported, _: Wall) -> Result<(), String> {
    if report.boot.starts_with("00") { Ok(()) } else { Err("its key did not sign it".to_owned()) }
}

fn take(view: &mut View, topic: &str, bytes: &[u8], live: bool) {
    let now = at("2026-11-22T12:10:00Z");
    view.take(topic, bytes, &Sight { is_live: live, now, prove: &prove });
}

fn row(view: &View, gateway: &str, head: u64, digest: Digest) -> Row {
    let now = at("2026-11-22T12:10:00Z");
    let head = |group: &str| (group == "icu-3").then_some(Head { version: head, sha256: digest, root: 1 });
    view.rows(None, now, &head).into_iter().find(|row| row.gateway == gateway).unwrap()
}

#[test]
fn a_report_becomes_a_row() {
    let mut view = view();
    take(&mut view, TOPIC, &report(|text| text), false);
    take(&mut view, "s/v1/st-anna/icu-3/gw-1/status", br#"{"state":"online","run":"x"}"#, false);
    let same = row(&view, "gw-1", 7, Digest::of(b""));
    assert_eq!((same.running, same.head, same.drift), (Some(7), Some(7), false));
    assert_eq!((same.proven, same.online, same.standing), (Some(true), Some(true), Some("failed")));
    assert_eq!((same.certificate_days, same.spool, same.seconds), (Some(70), Some(12), Some(600)));
    assert_eq!((&same.silent[..], same.more_silent), (&["pump-1".to_owned()][..], 1));
    assert!(row(&view, "gw-1", 8, Digest::of(b"")).drift, "another version");
    assert!(row(&view, "gw-1", 7, Digest::of(b"x")).drift, "another content");
    let never = row(&view, "gw-2", 7, Digest::of(b""));
    assert_eq!((never.proven, never.drift, never.seconds, never.registered), (None, false, None, true));
    let group: Vec<String> =
        view.rows(Some("icu-4"), at("2026-11-22"), &|_| None).into_iter().map(|row| row.gateway).collect();
    assert_eq!(group, ["gw-9"]);
}

#[test]
fn what_is_not_the_gateways_own_is_unproven() {
    let mut view = view();
    let forged = report(|text| text.replace("00112233", "ff112233"));
    take(&mut view, TOPIC, &forged, false);
    let shown = row(&view, "gw-1", 7, Digest::of(b""));
    assert_eq!((shown.proven, shown.running), (Some(false), Some(7)));
    assert!(shown.unproven.unwrap().contains("did not sign"));
    // The report of another gateway, word by word.
    take(&mut view, "c/v1/st-anna/gw/gw-2/reported", &report(|text| text), false);
    assert!(row(&view, "gw-2", 7, Digest::of(b"")).unproven.unwrap().contains("of gateway \"gw-1\""));
    // What cannot be read leaves what was there, and says so; an empty payload takes it away.
    take(&mut view, "c/v1/st-anna/gw/gw-9/reported", b"{}", false);
    assert!(row(&view, "gw-9", 7, Digest::of(b"")).unproven.unwrap().contains("not a DSSE envelope"));
    take(&mut view, TOPIC, b"", true);
    assert_eq!(row(&view, "gw-1", 7, Digest::of(b"")).proven, None);
}

#[test]
fn the_newest_proven_report_stays_whatever_comes_after_it() {
    let mut view = view();
    let of = |minute: &str, version: &str| {
        report(|text| text.replace("12:00:00", minute).replace("\"version\":7", version))
    };
    take(&mut view, TOPIC, &of("12:05:00", "\"version\":6"), true);
    let held = |view: &View| {
        let row = row(view, "gw-1", 7, Digest::of(b""));
        (row.running, row.proven, row.unproven.is_some())
    };
    // An older one of its own, said again.
    take(&mut view, TOPIC, &of("12:04:59", "\"version\":5"), true);
    assert_eq!(held(&view), (Some(6), Some(true), false));
    // A forged one lies beside it, and is told.
    let forged = report(|text| text.replace("00112233", "ff112233").replace("12:00:00", "12:09:00"));
    take(&mut view, TOPIC, &forged, true);
    assert_eq!(held(&view), (Some(6), Some(true), true));
    take(&mut view, TOPIC, b"", true);
    assert_eq!(held(&view), (Some(6), Some(true), false));
    take(&mut view, TOPIC, &of("12:06:00", "\"version\":8"), false);
    assert_eq!(held(&view), (Some(8), Some(true), false));
    // The word of its own takes the place of the forged one too.
    take(&mut view, TOPIC, &forged, true);
    assert_eq!(held(&view), (Some(8), Some(true), true));
    take(&mut view, TOPIC, &of("12:07:00", "\"version\":8"), true);
    assert_eq!(held(&view), (Some(8), Some(true), false));
    // A clock that was far ahead once does not lock out what comes when it was set right.
    take(&mut view, "c/v1/st-anna/gw/gw-1/reported", &of("23:59:00", "\"version\":9"), true);
    assert_eq!(held(&view), (Some(8), Some(true), false));
}

#[test]
fn what_a_clock_far_ahead_says_is_no_sign_of_life_and_a_heartbeat_is_none_that_is_signed() {
    let mut view = view();
    let beat = |time: &str| format!("{{\"version\":\"0.1.0\",\"time\":\"{time}\"}}").into_bytes();
    let topic = "s/v1/st-anna/icu-3/gw-1/heartbeat";
    take(&mut view, topic, &beat("2099-01-01T00:00:00Z"), false);
    assert_eq!(row(&view, "gw-1", 7, Digest::of(b"")).seconds, None);
    take(&mut view, topic, &beat("2026-11-22T12:20:00Z"), false);
    assert_eq!(row(&view, "gw-1", 7, Digest::of(b"")).seconds, Some(0), "ten minutes ahead is now");
    take(&mut view, TOPIC, &report(|text| text.replace("00112233", "ff112233")), false);
    let member = |view: &View| view.of("gw-1").unwrap().member("gw-1").signed;
    assert_eq!(member(&view), None);
    take(&mut view, TOPIC, &report(|text| text), false);
    assert_eq!(member(&view), Some(at("2026-11-22T12:00:00Z")));
}

#[test]
fn a_heartbeat_is_a_sign_of_life_and_fills_in_what_no_report_says() {
    let mut view = view();
    let beat = br#"{"schema":"wardline-heartbeat/1","version":"0.1.0","time":"2026-11-22T12:09:00.5Z",
        "lanes":[{"lane":"alarm","records":1,"oldest_age_ms":2500},{"lane":"vital","records":4,"oldest_age_ms":null}],
        "uplink":{"certificate_days_left":80}}"#;
    take(&mut view, "s/v1/st-anna/icu-3/gw-2/heartbeat", &beat.replace_time("12:09:00.500Z"), false);
    let shown = row(&view, "gw-2", 7, Digest::of(b""));
    assert_eq!((shown.spool, shown.spool_seconds, shown.certificate_days), (Some(5), Some(2), Some(80)));
    assert_eq!((shown.seconds, shown.version.as_deref()), (Some(59), Some("0.1.0")));
    // One that comes in now counts from now, whatever its clock says; and no clock makes it younger than now.
    take(&mut view, "s/v1/st-anna/icu-3/gw-2/heartbeat", &beat.replace_time("01:00:00.500Z"), true);
    assert_eq!(row(&view, "gw-2", 7, Digest::of(b"")).seconds, Some(0));
    take(&mut view, "s/v1/st-anna/icu-4/gw-9/heartbeat", &beat.replace_time("12:15:00.500Z"), false);
    assert_eq!(row(&view, "gw-9", 7, Digest::of(b"")).seconds, Some(0));
}

trait ReplaceTime {
    fn replace_time(&self, time: &str) -> Vec<u8>;
}

impl<const N: usize> ReplaceTime for [u8; N] {
    fn replace_time(&self, time: &str) -> Vec<u8> {
        String::from_utf8_lossy(self).replace("12:09:00.5Z", time).into_bytes()
    }
}

#[test]
fn nobody_can_name_gateways_without_end_or_steer_a_terminal() {
    let mut view = view();
    for topic in
        ["s/v1/other/icu-3/gw-7/status", "s/v1/st-anna/icu-3/GW 7/status", "s/v1/st-anna/gw-7/status"]
    {
        take(&mut view, topic, br#"{"state":"online"}"#, false);
    }
    take(&mut view, "c/v1/other/gw/gw-7/reported", &report(|text| text), false);
    assert_eq!(view.gateways.len(), 3);
    for number in 0..=MOST {
        take(&mut view, &format!("s/v1/st-anna/icu-3/x-{number}/status"), br#"{"state":"online"}"#, false);
    }
    assert_eq!(view.gateways.len(), MOST);
    assert!(!row(&view, "x-1", 7, Digest::of(b"")).registered);
    let beat = br#"{"version":"\u001b[2J","time":"12:09:00.5Z"}"#;
    take(&mut view, "s/v1/st-anna/icu-3/gw-1/heartbeat", beat, true);
    assert_eq!(row(&view, "gw-1", 7, Digest::of(b"")).version.as_deref(), Some("[2J"));
}
