//! The conversation with a scripted monitor, in a time of its own.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::device::observation::{Observation, Quality, Value};
use crate::device::serial::{Decoded, decode_capture};

fn word(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

fn sized(octets: &[u8]) -> Vec<u8> {
    [&word(u16::try_from(octets.len()).unwrap())[..], octets].concat()
}

fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    [&word(u16::try_from(elements.len()).unwrap())[..], &sized(&elements.concat())].concat()
}

fn attribute(id: u16, value: &[u8]) -> Vec<u8> {
    [&word(id)[..], &sized(value)].concat()
}

fn unicode(words: &str) -> Vec<u8> {
    sized(&words.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect::<Vec<u8>>())
}

fn heart_rate(rate: u8) -> Vec<u8> {
    attribute(0x0950, &[0x41, 0x82, 0x04, 0x00, 0x0A, 0xA0, 0, 0, 0, rate])
}

fn alerts(codes: &[u16]) -> Vec<u8> {
    let entry = |code: &u16| {
        let general = [0, 1, 0, 2, 0x41, 0x82, 0, 5, 0x40, 0];
        let head = [[0x41, 0x82], word(*code), [0x04, 0], [0, 8], [0, 6], [0, 1], [0, 9], [2, 1]].concat();
        [&head[..], &sized(&general)].concat()
    };
    let entries: Vec<Vec<u8>> = codes.iter().map(entry).collect();
    attribute(0x0902, &list(&entries))
}

/// An answer to a poll: of which class, and the attributes of its one object.
fn answer(ids: (u16, u16), class: u16, is_extended: bool, relative: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let (invoke, poll) = ids;
    let object = [&word(7)[..], &list(attributes)].concat();
    let objects = [&word(1)[..], &list(&[object])].concat();
    let sequence: &[u8] = if is_extended { &[0, 1] } else { &[] };
    let head =
        [&word(poll)[..], sequence, &relative.to_be_bytes(), &[0xFF; 8], &[0, 1], &word(class), &[0, 0]];
    let content = [&head.concat()[..], &list(&[objects])].concat();
    let action: &[u8] = if is_extended { &[0xF1, 0x3B] } else { &[0x0C, 0x16] };
    let result = [&[0, 0x21, 0, 0, 0, 0][..], action, &sized(&content)].concat();
    let body = [&word(invoke)[..], &[0, 7], &sized(&result)].concat();
    framing::frame(&[&[0xE1, 0, 0, 2, 0, 2][..], &sized(&body)].concat()).unwrap()
}

fn created(relative: u32, system: u8) -> Vec<u8> {
    let info = [&[0, 0x21, 0, 0, 0, 0][..], &list(&[attribute(0x0984, &sized(&[system, system]))])].concat();
    let event = [&[0, 0x21, 0, 0, 0, 0][..], &relative.to_be_bytes(), &[0x0D, 6], &sized(&info)].concat();
    let body = [&[0, 42, 0, 1][..], &sized(&event)].concat();
    framing::frame(&[&[0xE1, 0, 0, 2, 0, 1][..], &sized(&body)].concat()).unwrap()
}

fn accepted() -> Vec<u8> {
    framing::frame(&[0x0E, 0x02, 0xC1, 0x00]).unwrap()
}

/// The other end: answers what it is asked, at once; and what the driver said to all of it.
struct Scene {
    driver: PhilipsIntellivue,
    now: Now,
    /// The monitor's relative time is this much ahead.
    ahead: u32,
    serial: &'static str,
    system: u8,
    rate: u8,
    on: Vec<u16>,
    /// Requests that stay without an answer, by a word of their name.
    deaf_to: &'static str,
    /// Requests that get an error, by a word of their name.
    refuses: &'static str,
    /// What was asked, by name.
    asked: Vec<&'static str>,
    /// The extended polls that are open.
    feeds: Vec<(u16, u16, u16)>,
    told: Vec<Action>,
}

impl Scene {
    fn new(words: &[(&str, &str)]) -> Self {
        let mut settings = Settings::defaults(MODEL.settings);
        for (name, word) in words {
            let row = MODEL.settings.iter().find(|row| row.name == *name).unwrap();
            settings.set_word(row, word).unwrap();
        }
        let mut scene = Self {
            driver: PhilipsIntellivue::new(&settings),
            now: Now::default(),
            ahead: 1_000,
            serial: "DE1",
            system: 9,
            rate: 60,
            on: Vec::new(),
            deaf_to: "nothing",
            refuses: "nothing",
            asked: Vec::new(),
            feeds: Vec::new(),
            told: Vec::new(),
        };
        scene.driver.handle_event(&LinkEvent::Up, scene.now);
        scene
    }

    fn relative(&self) -> u32 {
        let passed = self.now.mono.since(Mono::default()).as_millis() * 8 % (1 << 32);
        self.ahead.wrapping_add(u32::try_from(passed).unwrap())
    }

    fn hear(&mut self, bytes: Vec<u8>) {
        self.driver.handle_event(&LinkEvent::Bytes(Bytes::from(bytes)), self.now);
    }

    /// Lets time pass; the monitor feeds its extended polls each second.
    fn pass(&mut self, seconds: u64) {
        let end = self.now.mono + Duration::from_secs(seconds);
        let mut feed = self.now.mono + Duration::from_secs(1);
        loop {
            self.converse();
            let due = self.driver.poll_timeout().unwrap_or(end).min(end).min(feed);
            self.now.mono = due;
            if due == feed {
                feed = feed + Duration::from_secs(1);
                for (invoke, poll, class) in self.feeds.clone() {
                    let said = self.shows((invoke, poll), class, true);
                    self.hear(said);
                }
            }
            self.driver.handle_timeout(self.now);
            if due == end {
                self.converse();
                return;
            }
        }
    }

    fn converse(&mut self) {
        while let Some(action) = self.driver.poll_action() {
            let Action::Command(command) = action else {
                self.told.push(action);
                continue;
            };
            let (LinkCommand::Send(id) | LinkCommand::Fill(id, _)) = command else {
                self.told.push(action);
                continue;
            };
            let name = MODEL.requests.get(id).unwrap().name;
            assert!(MODEL.requests.frame(command).is_some(), "{name}");
            self.asked.push(name);
            if !name.contains(self.deaf_to) {
                self.reply(id, command);
            }
        }
    }

    fn reply(&mut self, id: RequestId, command: LinkCommand) {
        let LinkCommand::Fill(_, argument) = command else {
            if id == requests::ASSOCIATE {
                self.feeds.clear();
                self.hear(accepted());
                self.hear(created(self.relative(), self.system));
            }
            return;
        };
        let bytes = argument.bytes().to_vec();
        let ids = (u16::from_be_bytes([bytes[0], bytes[1]]), u16::from_be_bytes([bytes[2], bytes[3]]));
        if MODEL.requests.get(id).unwrap().name.contains(self.refuses) {
            let body = [&word(ids.0)[..], &word(10), &word(0)].concat();
            self.hear(framing::frame(&[&[0xE1, 0, 0, 2, 0, 3][..], &sized(&body)].concat()).unwrap());
            return;
        }
        let said = match id.0 {
            2 => {
                assert_eq!(bytes[..2], [0, 42], "the invoke id is the monitor's");
                return;
            }
            3 => {
                let system = attribute(0x0984, &sized(&[self.system, self.system]));
                answer(ids, 33, false, self.relative(), &[system])
            }
            4 => {
                let entry = [&[0, 1, 0, 8][..], &sized(self.serial.as_bytes())].concat();
                answer(ids, 33, false, self.relative(), &[attribute(0x092D, &list(&[entry]))])
            }
            5 | 6 => self.shows(ids, 6, false),
            7 => self.shows(ids, 54, false),
            other => {
                let class = if other == 10 { 54 } else { 6 };
                self.feeds.retain(|feed| feed.2 != class);
                self.feeds.push((ids.0, ids.1, class));
                return;
            }
        };
        self.hear(said);
    }

    fn shows(&self, ids: (u16, u16), class: u16, is_extended: bool) -> Vec<u8> {
        let attribute = if class == 6 { heart_rate(self.rate) } else { alerts(&self.on) };
        answer(ids, class, is_extended, self.relative(), &[attribute])
    }

    fn take(&mut self) -> (Vec<Observation>, Vec<Fault>, Vec<Option<String>>) {
        let (mut observations, mut faults, mut serials) = (Vec::new(), Vec::new(), Vec::new());
        for action in std::mem::take(&mut self.told) {
            match action {
                Action::Observe(_, said) => observations.push(said),
                Action::Report(fault) => faults.push(fault),
                Action::Identify(_, identity) => serials.push(identity.serial),
                Action::Command(_)
                | Action::Commit
                | Action::Gone(..)
                | Action::Remember(_)
                | Action::Pin(_) => {}
            }
        }
        (observations, faults, serials)
    }

    fn count(&self, name: &str) -> usize {
        self.asked.iter().filter(|asked| **asked == name).count()
    }
}

#[test]
fn an_association_is_made_and_kept_and_who_it_is_is_asked_again() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    assert_eq!(
        scene.asked[..7],
        [
            "release request",
            "association request",
            "confirmation of MDS-Create",
            "poll of the production specification",
            "extended poll of numerics",
            "extended poll of alerts",
            "poll of the system id"
        ]
    );
    let (observations, faults, serials) = scene.take();
    assert_eq!((faults, serials), (vec![], vec![Some("DE1".to_owned())]));
    assert!(
        observations.iter().all(|said| said.quality == Quality::DEMONSTRATION) && observations.len() == 2
    );
    scene.asked.clear();
    scene.pass(31 * 60);
    assert_eq!(scene.count("poll of the production specification"), 1);
    assert!((600..640).contains(&scene.count("poll of the system id")));
    // Each is renewed before its minute is over.
    assert!(
        (35..40).contains(&scene.count("extended poll of numerics")),
        "{}",
        scene.count("extended poll of numerics")
    );
    assert_eq!(scene.take().1, []);
    scene.serial = "DE2";
    scene.pass(31 * 60);
    assert_eq!(scene.take().2, [Some("DE2".to_owned())]);
}

#[test]
fn single_polls_are_made_where_they_are_wanted() {
    let mut scene = Scene::new(&[("poll", "single"), ("attributes", "values")]);
    scene.pass(60);
    assert!((11..=13).contains(&scene.count("poll of values of numerics")));
    assert!((50..=56).contains(&scene.count("poll of alerts")));
    assert_eq!(scene.take().1, []);
}

#[test]
fn a_clock_that_jumps_lets_nothing_pass_until_the_monitor_has_said_who_it_is() {
    let mut scene = Scene::new(&[]);
    scene.on = vec![100];
    scene.pass(10);
    drop(scene.take());
    // Another monitor, with a poll of the same numbers; it does not answer who it is.
    (scene.ahead, scene.serial, scene.system, scene.rate) = (900_000, "DE2", 8, 199);
    scene.on = vec![102];
    scene.deaf_to = "of the";
    scene.pass(2);
    let (observations, faults, _) = scene.take();
    assert_eq!((observations, faults.len()), (vec![], 1), "{faults:?}");
    scene.deaf_to = "nothing";
    scene.pass(12);
    let said: Vec<Action> = scene.told.clone();
    let first = said.iter().position(|action| matches!(action, Action::Observe(..))).unwrap();
    let identified = said.iter().position(|action| matches!(action, Action::Identify(..))).unwrap();
    assert!(identified < first, "{said:?}");
    let (observations, _, serials) = scene.take();
    assert_eq!(serials, [Some("DE2".to_owned())]);
    let ended =
        |said: &Observation| matches!(&said.value, Value::Alarm(alarm) if alarm.code.contains("-100-"));
    assert!(!observations.iter().any(ended), "the alerts of the other are forgotten, not ended");
}

#[test]
fn a_clock_that_begins_anew_at_its_end_is_no_jump() {
    let mut scene = Scene::new(&[]);
    scene.ahead = u32::MAX - 80_000;
    scene.pass(30);
    assert_eq!(scene.take().1, []);
}

#[test]
fn another_system_id_ends_the_association_even_where_the_clocks_agree() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    drop(scene.take());
    scene.asked.clear();
    (scene.serial, scene.system) = ("DE2", 8);
    scene.pass(5);
    assert_eq!(scene.count("release request"), 1);
    scene.pass(5);
    assert_eq!(scene.take().2, [Some("DE2".to_owned())]);
}

#[test]
fn a_question_that_the_monitor_does_not_know_is_given_up() {
    let mut scene = Scene::new(&[]);
    scene.deaf_to = "production";
    scene.pass(14);
    assert_eq!(scene.take().2, []);
    scene.pass(8);
    let (observations, faults, serials) = scene.take();
    assert_eq!(serials, [Some("0909".to_owned())], "the system id has to do");
    assert!(!observations.is_empty() && faults.iter().all(|fault| fault.kind == FaultKind::Timeout));
    let mut scene = Scene::new(&[]);
    scene.deaf_to = "extended";
    scene.pass(40);
    assert!(scene.count("poll of numerics") > 2 && scene.count("extended poll of numerics") == 4);
    assert!(!scene.take().0.is_empty());
}

#[test]
fn a_monitor_that_stops_answering_is_associated_again_and_then_left() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    scene.deaf_to = "";
    scene.feeds.clear();
    scene.pass(40);
    assert!(scene.count("association request") >= 3);
    let hung_up = Action::Command(LinkCommand::HangUp);
    assert!(scene.told.contains(&hung_up));
    assert_eq!(scene.driver.poll_timeout(), None);
    // A stray stream alone does not keep it: the system id has to be answered.
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    scene.deaf_to = "of the system";
    scene.asked.clear();
    scene.pass(15);
    assert_eq!(scene.count("association request"), 1);
}

#[test]
fn an_error_in_place_of_the_serial_number_does_not_make_it_another_monitor() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    assert_eq!(scene.take().2, [Some("DE1".to_owned())]);
    // The association is made anew, and the monitor is too busy to say who it is.
    scene.hear(framing::frame(&[0x19, 0x2E]).unwrap());
    scene.refuses = "production";
    scene.pass(8);
    scene.refuses = "nothing";
    scene.pass(8);
    let (observations, faults, serials) = scene.take();
    assert_eq!(serials, [None; 0], "it is still the same");
    assert!(!observations.is_empty() && faults.iter().any(|fault| fault.kind == FaultKind::Refused));
    // One that never stated any goes by its system id at once.
    let mut scene = Scene::new(&[]);
    scene.refuses = "production";
    scene.pass(5);
    assert_eq!(scene.take().2, [Some("0909".to_owned())]);
}

#[test]
fn answers_that_nobody_asked_for_are_not_read() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    drop(scene.take());
    let (invoke, poll, _) = scene.feeds[0];
    for ids in [(invoke.wrapping_add(9), poll), (invoke, poll.wrapping_add(1))] {
        let stray = answer(ids, 6, true, scene.relative(), &[heart_rate(199)]);
        scene.hear(stray);
        scene.converse();
        let (observations, faults, _) = scene.take();
        assert_eq!((observations, faults[0].kind), (vec![], FaultKind::Unexpected));
    }
}

#[test]
fn an_alert_that_ended_while_the_line_was_down_gets_its_end() {
    let mut scene = Scene::new(&[]);
    scene.on = vec![100, 102];
    scene.pass(10);
    drop(scene.take());
    scene.driver.handle_event(&LinkEvent::Down(crate::link::LinkError::HungUp), scene.now);
    scene.on = vec![100];
    scene.feeds.clear();
    scene.driver.handle_event(&LinkEvent::Up, scene.now);
    scene.pass(10);
    let (observations, ..) = scene.take();
    let edges: Vec<&Observation> =
        observations.iter().filter(|said| matches!(said.value, Value::Alarm(_))).collect();
    assert!(
        matches!(edges.as_slice(), [Observation { value: Value::Alarm(alarm), .. }] if alarm.code == "P-102-16770-1-9")
    );
}

/// An answer that holds no object at all.
fn nothing(ids: (u16, u16), class: u16, relative: u32) -> Vec<u8> {
    let (invoke, poll) = ids;
    let head =
        [&word(poll)[..], &[0, 1], &relative.to_be_bytes(), &[0xFF; 8], &[0, 1], &word(class), &[0, 0]];
    let content = [&head.concat()[..], &[0; 4]].concat();
    let result = [&[0, 0x21, 0, 0, 0, 0, 0xF1, 0x3B][..], &sized(&content)].concat();
    let body = [&word(invoke)[..], &[0, 7], &sized(&result)].concat();
    framing::frame(&[&[0xE1, 0, 0, 2, 0, 2][..], &sized(&body)].concat()).unwrap()
}

#[test]
fn the_last_module_that_is_pulled_is_told_too() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    let (invoke, poll, _) = scene.feeds.iter().copied().find(|feed| feed.2 == 6).unwrap();
    let values = |scene: &mut Scene| -> Vec<Value> {
        scene.converse();
        scene.take().0.into_iter().map(|said| said.value).collect()
    };
    drop(values(&mut scene));
    scene.feeds.clear();
    // Behind each linked answer comes one without objects: that says nothing.
    for _ in 0..5 {
        let relative = scene.relative();
        scene.hear(answer((invoke, poll), 6, true, relative, &[heart_rate(60)]));
        scene.hear(nothing((invoke, poll), 6, relative));
    }
    assert!(!values(&mut scene).iter().any(|value| matches!(value, Value::Absent(_))));
    for _ in 0..6 {
        let relative = scene.relative();
        scene.hear(nothing((invoke, poll), 6, relative));
    }
    let said = values(&mut scene);
    assert!(matches!(said.as_slice(), [Value::Absent(_)]), "{said:?}");
}

#[test]
fn a_module_that_is_pulled_is_told_where_only_unknown_values_are_left() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    let (invoke, poll, _) = scene.feeds.iter().copied().find(|feed| feed.2 == 6).unwrap();
    scene.feeds.clear();
    drop(scene.take());
    scene.now.mono = scene.now.mono + Duration::from_secs(6);
    let unknown = attribute(0x0950, &[0xF0, 0x93, 0, 0, 2, 0x20, 0, 0, 0, 97]);
    scene.hear(answer((invoke, poll), 6, true, scene.relative(), &[unknown]));
    scene.converse();
    let (observations, ..) = scene.take();
    assert!(
        matches!(observations.as_slice(), [Observation { value: Value::Absent(_), .. }]),
        "{observations:?}"
    );
}

#[test]
fn a_value_that_cannot_be_read_is_not_a_module_that_was_pulled() {
    let mut scene = Scene::new(&[]);
    scene.pass(10);
    let (invoke, poll, _) = scene.feeds.iter().copied().find(|feed| feed.2 == 6).unwrap();
    scene.feeds.clear();
    drop(scene.take());
    scene.now.mono = scene.now.mono + Duration::from_secs(6);
    let short = attribute(0x0950, &[0x41, 0x82]);
    let other = attribute(0x094B, &[0, 1, 0, 10, 0x4B, 0xB8, 0, 0, 2, 0x20, 0, 0, 0, 97]);
    scene.hear(answer((invoke, poll), 6, true, scene.relative(), &[short, other]));
    scene.converse();
    let (observations, faults, _) = scene.take();
    assert_eq!((observations.len(), faults.len()), (1, 1), "{observations:?} {faults:?}");
    assert!(matches!(observations[0].value, Value::Decimal(_)));
}

#[test]
fn alerts_that_no_extended_poll_brings_are_asked_for_one_by_one() {
    let mut scene = Scene::new(&[]);
    (scene.deaf_to, scene.on) = ("extended poll of alerts", vec![100]);
    scene.pass(40);
    let (observations, faults, _) = scene.take();
    assert!(scene.count("poll of alerts") > 10, "{}", scene.count("poll of alerts"));
    assert!(observations.iter().any(|said| matches!(said.value, Value::Alarm(_))));
    assert!(faults.iter().any(|fault| fault.kind == FaultKind::Timeout), "{faults:?}");
}

#[test]
fn in_a_capture_another_monitor_does_not_go_by_the_serial_number_of_the_first() {
    let entry = [&[0, 1, 0, 8][..], &sized(b"DE1")].concat();
    let production = answer((1, 1), 33, false, 0, &[attribute(0x092D, &list(&[entry]))]);
    let numerics = || answer((2, 2), 6, false, 0, &[heart_rate(60)]);
    let again = [created(0, 9), production, numerics(), created(0, 9), numerics()].concat();
    let mut driver = PhilipsIntellivue::new(&Settings::defaults(MODEL.settings));
    let mut hear = |bytes: Vec<u8>| -> Vec<Option<String>> {
        driver.handle_event(&LinkEvent::Bytes(Bytes::from(bytes)), Now::default());
        let serial = |action| if let Action::Identify(_, who) = action { Some(who.serial) } else { None };
        std::iter::from_fn(|| driver.poll_action()).filter_map(serial).collect()
    };
    assert_eq!(hear(again), [Some("0909".to_owned()), Some("DE1".to_owned())]);
    assert_eq!(hear([created(0, 8), numerics()].concat()), [Some("0808".to_owned())]);
}

#[test]
fn a_patient_who_is_sent_unasked_is_in_nothing_that_comes_out() {
    const CANARY: &str = "CANARY-4711";
    let texts = [
        0x0956, 0x0957, 0x095A, 0x095C, 0x095D, 0x0961, 0x09D8, 0xF001, 0xF129, 0xF12A, 0x091E, 0x0927,
        0x0928,
    ];
    let mut attributes: Vec<Vec<u8>> = texts.iter().map(|id| attribute(*id, &unicode(CANARY))).collect();
    attributes.push(attribute(0x0958, &[0x19, 0x61, 0x07, 0x04, 0, 0, 0, 0]));
    attributes.push(heart_rate(81));
    let demographics = answer((1, 1), 42, false, 0, &attributes);
    attributes.retain(|attribute| attribute[..2] != [0x09, 0x50] && attribute[..2] != [0x09, 0x28]);
    attributes.push(heart_rate(60));
    let within: Vec<Vec<u8>> = [6, 33, 54].map(|class| answer((1, 1), class, false, 0, &attributes)).to_vec();
    let capture = [demographics.clone(), within.concat(), demographics].concat();
    let Decoded { observations, faults, identities } =
        decode_capture(&MODEL, &Settings::defaults(MODEL.settings), &capture);
    let all = format!("{observations:?} {faults:?} {identities:?}");
    assert!(!all.contains(CANARY) && !all.contains("1961"), "{all}");
    assert_eq!((observations.len(), faults.len()), (1, 1), "{all}");
    // Torn, a frame says nothing of its content either.
    let broken = decode_capture(&MODEL, &Settings::defaults(MODEL.settings), &capture[..capture.len() - 30]);
    assert!(!format!("{:?}", broken.faults).contains("CANARY"));
}

proptest! {
    #[test]
    fn however_a_capture_is_cut_it_reads_the_same(cuts in proptest::collection::vec(1usize..200, 1..40)) {
        let frames = [
            created(0, 9),
            answer((1, 1), 6, false, 0, &[heart_rate(60)]),
            b"\xC0\x11\x01noise\x7D\xC1\x7D\xC0".to_vec(),
            answer((2, 2), 54, true, 0, &[alerts(&[100])]),
            answer((2, 2), 54, true, 0, &[alerts(&[])]),
        ];
        let capture = frames.concat();
        let read = |pieces: Vec<&[u8]>| {
            let mut driver = PhilipsIntellivue::new(&Settings::defaults(MODEL.settings));
            for piece in pieces {
                driver.handle_event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece)), Now::default());
            }
            std::iter::from_fn(|| driver.poll_action()).filter(|action| !matches!(action, Action::Report(_))).collect::<Vec<_>>()
        };
        let (mut pieces, mut rest) = (Vec::new(), capture.as_slice());
        for cut in cuts {
            let (piece, later) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = later;
        }
        pieces.push(rest);
        let whole = read(vec![&capture]);
        prop_assert_eq!(whole.len(), 4);
        prop_assert_eq!(read(pieces), whole);
    }

    #[test]
    fn whatever_stands_in_a_frame_nothing_breaks(
        messages in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), 0usize..6, any::<u8>()), 1..30)
    ) {
        let mut scene = Scene::new(&[]);
        scene.pass(3);
        for (bytes, at, flip) in messages {
            let (invoke, poll, class) = scene.feeds[at % scene.feeds.len()];
            let mut whole = answer((invoke, poll), class, true, scene.relative(), &[attribute(0x0902, &bytes), attribute(0x0950, &bytes), attribute(0x094B, &bytes)]);
            // One octet of the content is another, and the FCS right again.
            let mut content = framing::user_data(&whole[..whole.len() - 1]).unwrap();
            let place = usize::from(flip) % content.len();
            content[place] ^= flip;
            whole = framing::frame(&content).unwrap();
            scene.hear(whole);
            scene.converse();
        }
        prop_assert!(scene.driver.poll_timeout().is_some());
    }
}
