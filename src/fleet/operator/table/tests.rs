use super::super::view::{Sight, View};
use super::*;
use crate::fleet::documents::{Digest, Head};
use crate::time::Wall;

fn row(change: impl FnOnce(&mut Row)) -> Row {
    let view = View::new("st-anna", [("gw-1", "icu-3")]);
    let mut row = view.rows(None, Wall::from_millis(0), &|_| None).remove(0);
    (row.standing, row.proven, row.seconds) = (Some("current"), Some(true), Some(5));
    (row.running, row.head, row.version) = (Some(7), Some(7), Some("0.1.0".to_owned()));
    (row.spool, row.devices, row.certificate_days) = (Some(0), Some(12), Some(70));
    change(&mut row);
    row
}

#[test]
fn a_row_is_a_line_and_what_is_wrong_is_said_below() {
    let mut view = View::new("st-anna", [("gw-1", "icu-3")]);
    let payload = include_str!("../../documents/testdata/reported.json").as_bytes().to_vec();
    let bytes = crate::fleet::documents::reported::sealed(payload, "key", Vec::new());
    let now = Wall::read("2026-11-22T12:10:00Z").unwrap();
    let prove = |_: &[u8], _: &_, _| Err("its key did not sign it".to_owned());
    let sight = Sight { is_live: false, now, prove: &prove };
    view.take("c/v1/st-anna/gw/gw-1/reported", &bytes, &sight);
    let head = Head { version: 8, sha256: Digest::of(b""), root: 1 };
    let rows = view.rows(None, now, &|_| Some(head.clone()));
    let text: Vec<String> = lines(&rows, None).into_iter().map(|line| line.text).collect();
    let cells: Vec<&str> = text[1].split_whitespace().collect();
    assert_eq!(cells.join(" "), "! gw-1 icu-3 0.1.0 7 not 8 UNPROVEN 70 d 12 2 of 5 10 min");
    assert_eq!(
        text[2..].iter().map(|line| line.trim()).collect::<Vec<_>>(),
        [
            "unproven: its key did not sign it",
            "bundle 8 was taken back",
            "silent: pump-1",
            "clock follows no reference"
        ]
    );
}

#[test]
fn what_is_wrong_is_on_top_and_a_gateway_whose_turn_has_not_come_is_not_wrong() {
    let of = |change: fn(&mut Row)| Health::of(&row(change));
    assert_eq!(of(|_| {}), Health::Well);
    let waits: fn(&mut Row) = |row| (row.drift, row.standing) = (true, Some("waits"));
    assert_eq!(of(waits), Health::Changes);
    assert_eq!(of(|row| row.drift = true), Health::Drifts);
    assert_eq!(of(|row| row.standing = Some("failed")), Health::Failed);
    assert_eq!(of(|row| (row.standing, row.proven) = (Some("failed"), Some(false))), Health::Unproven);
    assert_eq!(of(|row| row.standing = Some("not-believed")), Health::Failed);
    assert_eq!(of(|row| row.standing = Some("not-listed")), Health::Failed);
    assert_eq!(of(|row| (row.drift, row.standing) = (true, Some("alarm-wait"))), Health::Changes);
    assert_eq!(of(|row| row.online = Some(false)), Health::Offline);
    assert_eq!(of(|row| row.seconds = Some(601)), Health::Quiet);
    assert_eq!(of(|row| row.certificate_days = Some(13)), Health::Degraded);
    assert_eq!(of(|row| row.health.push("x".to_owned())), Health::Degraded);
    let named = |id: &str, change: fn(&mut Row)| Row { gateway: id.to_owned(), ..row(change) };
    let rows = [
        named("a", |_| {}),
        named("b", waits),
        named("c", |row| row.online = Some(false)),
        named("d", |row| row.standing = Some("locked")),
    ];
    let text = lines(&rows, Some(80));
    let order: Vec<&str> =
        text[1..].iter().filter_map(|line| line.text.split_whitespace().find(|word| *word != "!")).collect();
    assert_eq!(order, ["d", "c", "b", "a"]);
    assert_eq!(summary(&rows), "4 gateways: 2 in trouble, 1 changing, 1 well");
}

#[test]
fn no_line_is_longer_than_the_terminal_and_the_columns_stand_below_each_other() {
    let long = |row: &mut Row| {
        (row.gateway, row.group) = ("g".repeat(32), Some("w".repeat(32)));
        row.health.push("the disk is full ".repeat(20));
    };
    let rows = [row(long), row(|_| {})];
    for width in [20, 80, 131, 132, 200] {
        let text = lines(&rows, Some(width));
        assert!(text.iter().all(|line| line.text.chars().count() <= width), "{width}: {text:?}");
    }
    for width in [80, 200] {
        let text = lines(&rows, Some(width));
        let at = text[0].text.find("HEALTH").unwrap();
        assert!(text[1].text[at..].starts_with("degraded"), "{text:?}");
        assert!(text.last().unwrap().text[at..].starts_with("current"), "{text:?}");
        assert_eq!(text.len(), if width == 80 { 4 } else { 3 });
    }
    assert_eq!((cut("abc", 3), cut("äbcd", 3), cut("abc", 0)), ("abc".into(), "äb~".into(), String::new()));
}

#[test]
fn what_a_gateway_is_called_by_each_of_its_troubles() {
    let of = |change: fn(&mut Row)| Health::of(&row(change));
    assert_eq!(of(|row| row.seconds = Some(600)), Health::Well, "ten minutes are not too long");
    assert_eq!(of(|row| row.seconds = None), Health::Quiet);
    assert_eq!(of(|row| row.standing = Some("stale")), Health::Stale);
    assert_eq!(of(|row| (row.standing, row.drift) = (Some("stale"), true)), Health::Stale);
    assert_eq!(of(|row| row.certificate_days = Some(14)), Health::Well);
    assert_eq!(of(|row| row.silent.push("pump-1".to_owned())), Health::Degraded);
    assert_eq!(of(|row| row.unproven = Some("a report that came later".to_owned())), Health::Degraded);
    for moves in ["waits", "paused", "fetches", "under-way", "alarm-wait"] {
        let drifts = Row { standing: Some(moves), ..row(|row| row.drift = true) };
        assert_eq!(Health::of(&drifts), Health::Changes, "{moves}");
    }
    // What nobody signed for says nothing of a failure.
    assert_eq!(of(|row| (row.standing, row.proven) = (Some("failed"), None)), Health::Well);
    assert_eq!(of(|row| (row.online, row.proven) = (Some(false), Some(false))), Health::Unproven);
}

#[test]
fn only_what_is_wrong_is_marked_and_coloured() {
    let rows = [row(|_| {}), row(|row| row.seconds = None), row(|row| row.seconds = Some(601))];
    let lines = lines(&rows, Some(80));
    let colours: Vec<Option<Colour>> = lines.iter().map(|line| line.colour).collect();
    assert_eq!(colours, [Some(Colour::Strong), Some(Colour::Bad), Some(Colour::Bad), None]);
    let marks: Vec<&str> = lines[1..].iter().map(|line| &line.text[..2]).collect();
    assert_eq!(marks, ["! ", "! ", "  "]);
    assert!(lines[1].text.contains("no word") && lines[1].text.ends_with("never"), "{lines:?}");
    assert!(lines[2].text.contains("quiet") && lines[2].text.ends_with("10 min"), "{lines:?}");
}

#[test]
fn a_few_remarks_stand_below_a_row_and_all_of_them_in_a_file() {
    let busy = row(|row| {
        (row.registered, row.detail) = (false, Some("nothing new".to_owned()));
        row.health = ["one", "two", "three"].map(str::to_owned).to_vec();
    });
    let below = |width| {
        let lines = lines(std::slice::from_ref(&busy), width);
        let below: Vec<String> = lines[2..].iter().map(|line| line.text.trim().to_owned()).collect();
        below
    };
    assert_eq!(below(Some(80)), ["is not in the register", "one", "two"]);
    assert_eq!(below(None), ["is not in the register", "one", "two", "three"], "current says no more");
}

#[test]
fn a_name_gives_way_before_a_value_does_and_the_longer_one_first() {
    let gateway = row(|row| (row.gateway, row.group) = ("g".repeat(32), Some("icu-3".to_owned())));
    let group = row(|row| (row.gateway, row.group) = ("gw-1".to_owned(), Some("w".repeat(32))));
    let line = |row: &Row| lines(std::slice::from_ref(row), Some(80)).remove(1).text;
    assert!(line(&gateway).contains(" icu-3 ") && line(&gateway).contains("g~ "), "{}", line(&gateway));
    assert!(line(&group).contains(" gw-1 ") && line(&group).contains("w~ "), "{}", line(&group));
    assert!(line(&group).ends_with("5 s"), "{}", line(&group));
    let both = row(|row| (row.gateway, row.group) = ("g".repeat(10), Some("w".repeat(32))));
    assert!(line(&both).contains(&format!(" {} ", "g".repeat(10))), "{}", line(&both));
}

#[test]
fn an_age_is_said_in_the_unit_that_fits() {
    let ages = [0, 119, 120, 7_199, 7_200, 172_799, 172_800].map(age);
    assert_eq!(ages, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
}
