use super::*;

const NOBODY: Identity = Identity { maker: None, model: None, serial: None, firmware: None };

fn now(seconds: u64, wall: &str, sync: ClockSync) -> Now {
    let mono = Mono::from_nanos(seconds * 1_000_000_000);
    Now { mono, wall: Wall::read(wall).unwrap(), sync, ..Now::default() }
}

fn at(seconds: u64) -> Now {
    now(seconds, &format!("2026-11-22T12:00:{seconds:02}Z"), ClockSync::Synced)
}

fn sight<'a>(id: &'a str, stated: Option<&'a Identity>, last: Option<Now>) -> Sight<'a> {
    Sight { id, driver: "heart-rate", expects: &NOBODY, stated, is_stranger: false, last }
}

fn says(model: &str, serial: &str, firmware: &str) -> Identity {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Identity {
        maker: Some("Acme".to_owned()),
        model: known(model),
        serial: known(serial),
        firmware: known(firmware),
    }
}

fn shown(tracker: &Tracker) -> Vec<String> {
    let text = String::from_utf8(tracker.encode(true)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let devices = value["devices"].as_object().unwrap();
    devices
        .iter()
        .map(|(id, row)| {
            let field = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let fields = ["make", "model", "serial", "firmware", "first_seen", "last_seen"];
            format!("{id} {}", fields.map(field).join(" "))
        })
        .collect()
}

#[test]
fn a_device_is_who_it_says_and_is_seen_first_once_and_last_often() {
    let mut tracker = Tracker::default();
    assert_eq!(
        tracker.look([sight("belt", None, None)], at(1)),
        Looked { is_changed: true, is_heard: false }
    );
    assert_eq!(tracker.look([sight("belt", None, None)], at(2)), Looked::default());
    let stated = says("H10", "S1", "3.1");
    let look = tracker.look([sight("belt", Some(&stated), Some(at(3)))], at(4));
    assert_eq!(look, Looked { is_changed: true, is_heard: true });
    let look = tracker.look([sight("belt", Some(&stated), Some(at(9)))], at(10));
    assert_eq!(look, Looked { is_changed: false, is_heard: true });
    assert_eq!(shown(&tracker), ["belt Acme H10 S1 3.1 2026-11-22T12:00:03Z 2026-11-22T12:00:09Z"]);
    // Another firmware is the same device, another serial number is not.
    let update = says("H10", "S1", "3.2");
    assert!(tracker.look([sight("belt", Some(&update), Some(at(9)))], at(11)).is_changed);
    assert_eq!(shown(&tracker), ["belt Acme H10 S1 3.2 2026-11-22T12:00:03Z 2026-11-22T12:00:09Z"]);
    let other = says("H9", "S2", "");
    tracker.look([sight("belt", Some(&other), Some(at(12)))], at(13));
    assert_eq!(shown(&tracker), ["belt Acme H9 S2 - 2026-11-22T12:00:12Z 2026-11-22T12:00:12Z"]);
    // Taken off the allowlist.
    assert!(tracker.look([], at(14)).is_changed);
    assert!(tracker.devices().is_empty());
}

#[test]
fn what_was_heard_before_the_clock_was_set_is_dated_when_it_is() {
    let mut tracker = Tracker::default();
    let unset = |seconds| now(seconds, "1970-01-01T00:00:09Z", ClockSync::Unsynced);
    tracker.look([sight("belt", None, Some(unset(5)))], unset(6));
    tracker.look([sight("belt", None, Some(unset(8)))], unset(9));
    assert_eq!(shown(&tracker), ["belt - - - - - -"]);
    tracker.look([sight("belt", None, Some(unset(8)))], at(20));
    assert_eq!(shown(&tracker), ["belt - - - - 2026-11-22T12:00:05Z 2026-11-22T12:00:08Z"]);
    // A clock that is set back takes nothing back.
    let back = now(21, "2026-11-22T11:00:00Z", ClockSync::Synced);
    tracker.look([sight("belt", None, Some(back))], back);
    assert_eq!(shown(&tracker), ["belt - - - - 2026-11-22T12:00:05Z 2026-11-22T12:00:08Z"]);
}

#[test]
fn a_stranger_is_not_the_device() {
    let mut tracker = Tracker::default();
    let expects = Identity { serial: Some("S1".to_owned()), ..Identity::default() };
    let (right, wrong) = (says("H10", "S1", "3.1"), says("H10", "S9", "9.9"));
    tracker.look([Sight { expects: &expects, ..sight("belt", Some(&right), Some(at(1))) }], at(1));
    let stranger = Sight { expects: &expects, is_stranger: true, ..sight("belt", Some(&wrong), Some(at(1))) };
    assert_eq!(tracker.look([stranger], at(2)), Looked::default());
    assert_eq!(shown(&tracker), ["belt Acme H10 S1 3.1 2026-11-22T12:00:01Z 2026-11-22T12:00:01Z"]);
}

#[test]
fn a_driver_says_who_made_it_and_what_a_revision_is_of() {
    let mut tracker = Tracker::default();
    let mut model = |driver, stated: &Identity| {
        tracker.look([Sight { driver, ..sight("pump", Some(stated), None) }], at(1));
        let device = tracker.devices().remove(0);
        [device.make, device.model, device.firmware].map(Option::unwrap_or_default)
    };
    let silent = |firmware: &str| Identity { firmware: Some(firmware.to_owned()), ..Identity::default() };
    assert_eq!(model("alaris-asena", &silent("2.3")), ["Alaris", "Asena", ""]);
    assert_eq!(model("draeger-medibus", &silent("04.53:04.03")), ["Dräger", "", "04.53"]);
    assert_eq!(model("nellcor", &silent("1.2")), ["Nellcor", "", "1.2"]);
    assert_eq!(model("nellcor", &says("N-395", "", "1.3")), ["Acme", "N-395", "1.3"]);
    // Every name is one of a driver.
    let drivers: Vec<&str> = crate::device::catalogue::serial_models().iter().map(|one| one.name).collect();
    assert!(FACTS.iter().all(|facts| drivers.contains(&facts.driver)), "{drivers:?}");
}

#[test]
fn the_file_is_read_back_and_a_broken_one_is_told() {
    let mut tracker = Tracker::default();
    let stated = says("H10\u{1b}[2J", "SN-4711", &"9".repeat(200));
    tracker.look([sight("belt", Some(&stated), Some(at(3))), sight("other", None, None)], at(4));
    let whole = tracker.encode(true);
    let mut again = Tracker::decode(&whole).unwrap();
    assert_eq!(shown(&again), shown(&tracker));
    // After a restart nothing has been said yet: what was known stays.
    assert_eq!(again.look([sight("belt", None, None), sight("other", None, None)], at(5)), Looked::default());
    assert!(!String::from_utf8_lossy(&tracker.encode(false)).contains("4711"));
    assert!(String::from_utf8_lossy(&whole).contains("4711") && whole.len() < 600);
    for (from, to, words) in [
        ("\"shape\":1", "\"shape\":2", "shape 2"),
        ("H10", "H11", "digest"),
        ("\"shape\"", "\"extra\":1,\"shape\"", "extra"),
    ] {
        let text = String::from_utf8(whole.clone()).unwrap();
        assert!(text.contains(from), "{from}");
        let why = Tracker::decode(text.replacen(from, to, 1).as_bytes()).unwrap_err();
        assert!(why.contains(words), "{to}: {why}");
    }
    assert!(Tracker::decode(&whole[..whole.len() - 1]).is_err());
}
