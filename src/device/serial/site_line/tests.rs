//! What descriptions are taken, and what the driver makes of lines by them.

use super::*;
use crate::device::catalogue::{IdentityProof, SerialModel};
use crate::device::observation::{Absent, Kind, Observation, Quality, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Settings;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

/// The description of `configs/devices.d/site-line.toml`.
const EXAMPLE: &str = include_str!("example.json");

fn raw(text: &str) -> RawDescription {
    serde_json::from_str(text).unwrap()
}

/// The example with some keys otherwise.
fn changed(change: impl FnOnce(&mut serde_json::Value)) -> RawDescription {
    let mut value = serde_json::from_str(EXAMPLE).unwrap();
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

fn model(raw: &RawDescription) -> &'static SerialModel {
    raw.judge().unwrap_or_else(|problems| panic!("{problems:?}")).model()
}

/// A device without checksum, start byte and serial number, that pushes.
fn plain() -> RawDescription {
    changed(|raw| {
        raw["frame"] = json!({ "ends": "\r\n", "longest": 60 });
        raw["line"].as_array_mut().unwrap().remove(0);
        for key in ["poll", "polls_change_nothing"] {
            raw.as_object_mut().unwrap().remove(key);
        }
    })
}

fn sealed(line: &str) -> String {
    let sum = line.bytes().fold(0, |all, byte| all ^ byte);
    format!("{line}{sum:02X}\r\n")
}

struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
}

impl Talk {
    fn new(model: &SerialModel) -> Self {
        Self { driver: (model.driver)(&Settings::default()), now: Now::default() }
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        std::iter::from_fn(|| self.driver.poll_action()).collect()
    }

    fn say(&mut self, text: &str) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(text.as_bytes())))
    }

    fn pass(&mut self, millis: u64) -> Vec<Action> {
        self.now.mono = self.now.mono + Duration::from_millis(millis);
        self.driver.handle_timeout(self.now);
        std::iter::from_fn(|| self.driver.poll_action()).collect()
    }
}

fn observed(actions: &[Action]) -> Vec<&Observation> {
    actions
        .iter()
        .filter_map(|action| if let Action::Observe(_, said) = action { Some(said) } else { None })
        .collect()
}

fn faults(actions: &[Action]) -> Vec<&Fault> {
    actions
        .iter()
        .filter_map(|action| if let Action::Report(fault) = action { Some(fault) } else { None })
        .collect()
}

fn sent(actions: &[Action]) -> Vec<u8> {
    let id = |action: &Action| match action {
        Action::Command(LinkCommand::Send(id)) => Some(id.0),
        Action::Command(_)
        | Action::Observe(..)
        | Action::Identify(..)
        | Action::Commit
        | Action::Gone(..)
        | Action::Remember(_)
        | Action::Pin(_)
        | Action::Report(_) => None,
    };
    actions.iter().filter_map(id).collect()
}

fn problems(raw: &RawDescription) -> Vec<String> {
    raw.judge().map(drop).unwrap_err().into_iter().map(|problem| problem.key).collect()
}

#[test]
fn the_example_makes_a_row_that_says_whose_it_is() {
    let model = model(&raw(EXAMPLE));
    assert_eq!((model.name, model.identity), ("site:acme-warmer", IdentityProof::Reported));
    let requests: Vec<&[u8]> = model.requests.requests().iter().map(|request| request.bytes).collect();
    assert_eq!(requests, [b"STAT?\r".as_slice(), b"ID?\r"]);
    let reads: Vec<&str> = model.reads.iter().map(|metric| metric.reference).collect();
    assert_eq!(reads, ["MDC_TEMP", "MDC_PUMP_MODE"]);
    let again = self::model(&raw(EXAMPLE));
    assert!(std::ptr::eq(model, again), "the same description costs nothing a second time");
}

#[test]
fn every_value_says_that_the_site_described_it() {
    let capture = [sealed("ID,AW300417,"), sealed("ST,365,37.0C,RUN,"), sealed("# hello")].concat();
    let Decoded { observations, faults, identities } =
        decode_capture(model(&raw(EXAMPLE)), &Settings::default(), capture.as_bytes());
    assert_eq!(faults, []);
    assert_eq!(identities.values().next().unwrap().serial.as_deref(), Some("AW300417"));
    let said: Vec<_> = observations
        .iter()
        .map(|(_, said)| (said.metric.reference, said.channel, said.value.clone(), said.unit.ucum, said.kind))
        .collect();
    let number = |text: &str| Value::Decimal(text.parse().unwrap());
    assert_eq!(
        said,
        [
            ("MDC_TEMP", 0, number("36.5"), "Cel", Kind::Measurement),
            ("MDC_TEMP", 1, number("37.0"), "Cel", Kind::Setting),
            ("MDC_PUMP_MODE", 0, Value::Text("RUN".to_owned()), "1", Kind::State),
        ]
    );
    assert!(observations.iter().all(|(_, said)| said.quality.has(Quality::SITE_CONFIGURED)));
    assert_eq!(Quality::SITE_CONFIGURED.names().collect::<Vec<_>>(), ["site-configured"]);
}

#[test]
fn a_line_that_is_not_as_described_gives_nothing() {
    let canary = "CANARY";
    let model = model(&raw(EXAMPLE));
    for (line, kind) in [
        (sealed("ST,36.x,37.0C,RUN,"), FaultKind::Malformed),
        (sealed("ST,365,37.0,RUN,"), FaultKind::Malformed),
        (sealed(&format!("ST,365,37.0C,{canary},")), FaultKind::Malformed),
        (sealed("ST,365,37.0C,RUN"), FaultKind::Malformed),
        (sealed(&format!("NAME,{canary}")), FaultKind::Unexpected),
        (sealed(&format!("ID,{canary} {canary},")), FaultKind::Malformed),
        (sealed("ST,365,37.0C,RUN,").replace("365", "356").replace("37.0", "38.0"), FaultKind::Checksum),
    ] {
        let capture = [sealed("ID,AW300417,"), line.clone()].concat();
        let decoded = decode_capture(model, &Settings::default(), capture.as_bytes());
        let kinds: Vec<_> = decoded.faults.iter().map(|fault| fault.kind).collect();
        assert_eq!((decoded.observations.len(), kinds), (0, vec![kind]), "{line}");
        assert!(!format!("{:?}", decoded.faults).contains(canary), "{:?}", decoded.faults);
    }
    let decoded = decode_capture(model, &Settings::default(), sealed("ST,---,37.0C,STOP,").as_bytes());
    assert_eq!(decoded.observations.len(), 0, "nobody has said who it is");
}

#[test]
fn polls_are_sent_one_at_a_time_and_only_when_they_are_due() {
    let mut talk = Talk::new(model(&raw(EXAMPLE)));
    assert_eq!(talk.event(&LinkEvent::Up), []);
    assert_eq!(talk.say("37.0C,RUN,\r\n"), [], "the end of an earlier conversation");
    assert_eq!(sent(&talk.pass(500)), [0]);
    assert_eq!(sent(&talk.pass(0)), [0u8; 0]);
    let early = talk.say(&sealed("ST,365,37.0C,RUN,"));
    assert_eq!((observed(&early).len(), sent(&early)), (0, vec![1]), "who it is, is asked");
    let who = talk.say(&sealed("ID,AW300417,"));
    assert!(matches!(&who[0], Action::Identify(..)));
    assert_eq!(sent(&talk.pass(1_999)), [0u8; 0]);
    assert_eq!(sent(&talk.pass(1)), [0]);
    assert_eq!(observed(&talk.say(&sealed("ST,365,37.0C,RUN,"))).len(), 3);
    assert_eq!(sent(&talk.pass(2_000)), [0]);
    let late = talk.pass(2_000);
    assert_eq!((faults(&late)[0].kind, sent(&late)), (FaultKind::Timeout, vec![0]));
    let mut actions = Vec::new();
    for _ in 0..10 {
        actions.extend(talk.pass(2_000));
    }
    assert_eq!(actions.last(), Some(&Action::Command(LinkCommand::HangUp)));
    assert_eq!(talk.driver.poll_timeout(), None);
}

#[test]
fn a_serial_number_holds_for_half_an_hour() {
    let silent = changed(|raw| {
        raw["quiet"] = json!(3600);
        for key in ["poll", "polls_change_nothing"] {
            raw.as_object_mut().unwrap().remove(key);
        }
    });
    let mut talk = Talk::new(model(&silent));
    talk.event(&LinkEvent::Up);
    talk.say(&sealed("ID,AW300417,"));
    talk.pass(1_799_000);
    assert_eq!(observed(&talk.say(&sealed("ST,365,37.0C,RUN,"))).len(), 3);
    talk.pass(2_000);
    assert_eq!(observed(&talk.say(&sealed("ST,365,37.0C,RUN,"))).len(), 0);
}

#[test]
fn after_a_poll_without_an_answer_it_has_to_say_who_it_is() {
    let mut talk = Talk::new(model(&raw(EXAMPLE)));
    talk.event(&LinkEvent::Up);
    talk.pass(500);
    talk.say(&sealed("ID,AW300417,"));
    talk.say(&sealed("ID,AW300417,"));
    assert_eq!(sent(&talk.pass(2_000)), [0]);
    assert_eq!(sent(&talk.pass(2_000)), [0], "no answer: asked again");
    let doubted = talk.say(&sealed("ST,111,37.0C,RUN,"));
    assert_eq!((observed(&doubted).len(), sent(&doubted)), (0, vec![1]), "who it is, is asked");
    talk.say(&sealed("ID,AW300417,"));
    talk.pass(2_000);
    assert_eq!(observed(&talk.say(&sealed("ST,365,37.0C,RUN,"))).len(), 3);
}

#[test]
fn without_a_checksum_another_number_counts_when_two_lines_have_it() {
    let unsealed = changed(|raw| {
        raw["frame"]["checksum"] = json!("none");
    });
    let mut talk = Talk::new(model(&unsealed));
    talk.event(&LinkEvent::Up);
    talk.pass(500);
    talk.say("ID,AW300417,\r\n");
    let once = talk.say("ID,AW300418,\r\n");
    assert!(!once.iter().any(|action| matches!(action, Action::Identify(..))));
    assert_eq!(observed(&talk.say("ST,365,37.0C,RUN,\r\n")).len(), 0, "nobody knows whose it is");
    let twice = talk.say("ID,AW300418,\r\n");
    assert!(matches!(&twice[0], Action::Identify(_, who) if who.serial.as_deref() == Some("AW300418")));
    assert_eq!(observed(&talk.say("ST,365,37.0C,RUN,\r\n")).len(), 3);
}

#[test]
fn a_plain_line_is_found_behind_noise() {
    let model = model(&plain());
    assert_eq!(model.identity, IdentityProof::PortOnly);
    let mut talk = Talk::new(model);
    talk.event(&LinkEvent::Up);
    assert_eq!(talk.say("7.0C,RUN,\r\n"), [], "a tail");
    let actions = talk.say("ST,36ST,365,37.0C,RUN,\r\n");
    assert_eq!(observed(&actions)[0].value, Value::Decimal("36.5".parse().unwrap()));
    let absent = talk.say("ST,---,37.0C,RUN,\r\n");
    assert_eq!(observed(&absent)[0].value, Value::Absent(Absent::Unknown));
}

#[test]
fn pairs_and_columns_are_read() {
    let pairs = changed(|raw| {
        raw["frame"] = json!({ "start": "\u{2}", "ends": "\u{3}\r", "longest": 60, "checksum": "sum" });
        raw["line"] = json!([{ "split": "pairs", "separator": " ", "equals": "=", "field": [
            { "key": "SN", "serial": true },
            { "key": "T1", "metric": "MDC_TEMP", "unit": "°C", "kind": "measurement" },
            { "key": "T2", "metric": "MDC_TEMP", "unit": "°C", "kind": "measurement", "channel": 1, "optional": true },
        ] }]);
    });
    let framed = |line: &str| {
        let sum = line.bytes().fold(0, u8::wrapping_add);
        format!("\u{2}{line}{sum:02x}\u{3}")
    };
    let capture =
        [framed("SN=12 T1=36.5 "), framed("SN=12  T2=1 T1=36.50 "), framed("SN=12 T1=1 T1=2 ")].concat();
    let decoded = decode_capture(model(&pairs), &Settings::default(), capture.as_bytes());
    let values: Vec<String> = decoded
        .observations
        .iter()
        .map(
            |(_, said)| {
                if let Value::Decimal(number) = said.value { number.to_string() } else { String::new() }
            },
        )
        .collect();
    assert_eq!(
        (values, decoded.faults.len()),
        (vec!["36.5".to_owned(), "36.50".to_owned(), "1".to_owned()], 1)
    );
    let columns = changed(|raw| {
        raw["frame"] = json!({ "ends": "\n", "longest": 20 });
        raw["line"] = json!([{ "starts": "T", "split": "columns", "field": [
            { "columns": [2, 6], "metric": "MDC_TEMP", "unit": "Cel", "kind": "measurement" },
        ] }]);
    });
    let decoded = decode_capture(model(&columns), &Settings::default(), b"T 36.5\nT 36\n");
    assert_eq!((decoded.observations.len(), decoded.faults.len()), (1, 1));
}

#[test]
fn an_unknown_key_is_refused() {
    let text = EXAMPLE.replacen("\"name\"", "\"nmae\"", 1);
    assert!(serde_json::from_str::<RawDescription>(&text).is_err());
    let text = EXAMPLE.replacen("\"at\"", "\"place\"", 1);
    assert!(serde_json::from_str::<RawDescription>(&text).is_err());
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let nothing = problems(&RawDescription::default());
    assert_eq!(nothing, ["frame.ends", "frame.longest", "name", "title", "class", "baud", "line"]);
    let wrong = changed(|raw| {
        raw["name"] = json!("Acme Warmer");
        raw["quiet"] = json!(10);
        raw["poll"][0]["every"] = json!(20);
        raw["poll"][1]["every"] = json!(5);
        raw["line"][0]["field"][0]["metric"] = json!("MDC_TEMP");
        raw["line"][1]["field"][0] =
            json!({ "key": "T1", "metric": "MDC_NONE", "unit": "K", "kind": "alarm" });
        raw["line"][1]["field"][2]["words"] = json!([]);
    });
    assert_eq!(
        problems(&wrong),
        [
            "name",
            "quiet",
            "line[1].field[1].serial",
            "line[2].field[1]",
            "line[2].field[1].metric",
            "line[2].field[1].unit",
            "line[2].field[1].kind",
            "line[2].field[3].words",
        ]
    );
    for problem in wrong.judge().map(drop).unwrap_err() {
        assert!(problem.reason.len() > 20, "{problem:?} does not say the way out");
    }
}

#[test]
fn what_may_be_sent_is_narrow() {
    let poll = |text: &str| changed(|raw| raw["poll"][0]["text"] = json!(text));
    for text in ["", "\u{1b}[2J", "A\u{13}", "A\u{11}", "\u{0}", "\u{10}", "ä", &"A".repeat(65), "ID?\r"] {
        let key = if text == "ID?\r" { "poll[2].text" } else { "poll[1].text" };
        assert_eq!(problems(&poll(text)), [key], "{text:?}");
    }
    assert!(poll("\u{2}STAT?\u{3}\r\n").judge().is_ok());
    assert_eq!(
        problems(&changed(|raw| raw["polls_change_nothing"] = json!(false))),
        ["polls_change_nothing"]
    );
    let many = changed(|raw| {
        raw["poll"] = (0..9).map(|n| json!({ "text": format!("P{n}\r"), "every": 2 })).collect();
    });
    assert_eq!(problems(&many), ["poll"]);
    let none = changed(|raw| drop(raw.as_object_mut().unwrap().remove("poll")));
    assert_eq!(problems(&none), ["polls_change_nothing"]);
    assert!(model(&plain()).requests.requests().is_empty(), "what is not written there is not sent");
}

fn word() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        3 => "[A-Z]{0,3}[,;=]?".prop_map(Some),
        1 => Just(Some(" ".to_owned())),
        1 => "\\PC{0,3}".prop_map(Some),
    ]
}

fn field() -> impl Strategy<Value = RawField> {
    let place = (
        proptest::option::of(0i64..6),
        word(),
        proptest::option::of(proptest::collection::vec(0i64..70, 0..3)),
    );
    let metric = prop_oneof![40 => Just("MDC_TEMP"), 40 => Just("MDC_PUMP_MODE"), 1 => Just("MDC_EVT_ALARM"), 1 => Just("X")];
    let kind = prop_oneof![20 => Just("measurement"), 20 => Just("setting"), 20 => Just("state"), 1 => Just("alarm")];
    let more = (word(), proptest::option::of(proptest::collection::vec("[A-Z-]{1,3}", 1..3)), any::<bool>());
    (place, metric, kind, more, 0i64..4, -6i64..=6).prop_map(
        |((at, key, columns), metric, kind, (suffix, words, flag), channel, shift)| RawField {
            at,
            key,
            columns,
            serial: (channel == 3).then_some(true),
            metric: (channel != 3).then(|| metric.to_owned()),
            kind: (channel != 3).then(|| kind.to_owned()),
            channel: (channel != 3).then_some(channel),
            shift: (channel != 3 && words.is_none()).then_some(shift),
            absent: words.clone(),
            words: words.filter(|_| flag && channel != 3),
            suffix,
            optional: (channel != 3).then_some(flag),
            ..RawField::default()
        },
    )
}

fn line() -> impl Strategy<Value = RawLine> {
    let split = prop_oneof![Just("separator"), Just("pairs"), Just("columns")];
    let numbers = proptest::option::weighted(0.2, 1i64..6);
    (split, word(), any::<bool>(), numbers, proptest::collection::vec(field(), 1..4)).prop_map(
        |(split, starts, blank, pieces, mut field)| {
            let is_columns = split == "columns";
            for (place, field) in field.iter_mut().enumerate() {
                // Most of them fit their line, so that most descriptions are taken.
                let at = i64::try_from(place).unwrap();
                field.at =
                    (split == "separator").then(|| field.at.filter(|at| *at > 0 && blank).unwrap_or(at + 2));
                let key = field.key.clone().filter(|key| !key.is_empty());
                field.key = (split == "pairs").then(|| key.unwrap_or(format!("K{at}")));
                let columns = field.columns.clone().filter(|columns| columns.len() == 2 && blank);
                field.columns = is_columns.then(|| columns.unwrap_or(vec![at + 1, at + 4]));
                field.channel = field.channel.map(|_| at);
                // One serial number is enough for a line.
                if field.serial == Some(true) && place > 0 {
                    (field.serial, field.metric) = (None, Some("MDC_TEMP".to_owned()));
                    (field.kind, field.channel) = (Some("state".to_owned()), Some(at));
                }
            }
            RawLine {
                starts,
                split: Some(split.to_owned()),
                separator: (!is_columns).then(|| if blank { " " } else { "," }.to_owned()),
                equals: (split == "pairs").then(|| "=".to_owned()),
                pieces: pieces.filter(|_| !is_columns),
                field: Some(field),
            }
        },
    )
}

fn description() -> impl Strategy<Value = RawDescription> {
    let checksum = prop_oneof![20 => Just("none"), 10 => Just("xor"), 10 => Just("sum"), 1 => Just("crc")];
    let frame = (
        proptest::option::of("[\u{2}S]"),
        prop_oneof![20 => Just("\r\n"), 10 => Just("\u{3}"), 1 => Just("x")],
        7i64..70,
        checksum,
        any::<bool>(),
    );
    let poll = ("[A-Z?]{1,4}\r?", 1i64..6);
    (frame, proptest::collection::vec(line(), 1..3), proptest::collection::vec(poll, 0..3), word()).prop_map(
        |((start, ends, longest, checksum, counts), line, polls, ignored)| RawDescription {
            name: Some("any".to_owned()),
            title: Some("Any".to_owned()),
            class: Some("monitor".to_owned()),
            baud: Some(9_600),
            frame: Some(RawFrame {
                checksum_counts_start: (start.is_some() && checksum != "none").then_some(counts),
                start,
                ends: Some(ends.to_owned()),
                longest: Some(longest),
                checksum: Some(checksum.to_owned()),
            }),
            polls_change_nothing: (!polls.is_empty()).then_some(true),
            poll: Some(
                polls
                    .into_iter()
                    .map(|(text, every)| RawPoll { text: Some(text), every: Some(every) })
                    .collect(),
            ),
            ignore: ignored.filter(|word| !word.is_empty()).map(|word| vec![word]),
            line: Some(line),
            ..RawDescription::default()
        },
    )
}

/// What a device that is as described says: each of its lines once.
fn spoken(raw: &RawDescription) -> Vec<u8> {
    let frame = raw.frame.clone().unwrap();
    let mut bytes = Vec::new();
    for line in raw.line.iter().flatten() {
        let fields = line.field.clone().unwrap();
        let value = |field: &RawField| {
            let word = field.words.as_ref().map_or("12", |words| words[0].as_str());
            format!("{word}{}", field.suffix.clone().unwrap_or_default())
        };
        let separator = line.separator.clone().unwrap_or_default();
        let count = fields.iter().filter_map(|field| field.at).max().unwrap_or(1);
        let count = usize::try_from(line.pieces.unwrap_or(count)).unwrap();
        let mut pieces = vec![String::new(); count];
        let mut columns = " ".repeat(80);
        for field in &fields {
            if let Some(piece) = field.at.and_then(|at| pieces.get_mut(usize::try_from(at).unwrap() - 1)) {
                *piece = value(field);
            } else if let Some([from, to]) = field.columns.as_deref() {
                let (from, width) =
                    (usize::try_from(from - 1).unwrap(), usize::try_from(to - from + 1).unwrap());
                columns.replace_range(from..from + width, &format!("{:width$.width$}", value(field)));
            }
        }
        let keyed =
            fields.iter().filter_map(|field| Some(format!("{}={}", field.key.clone()?, value(field))));
        let body = match line.split.as_deref().unwrap() {
            "separator" => pieces.join(&separator),
            "pairs" => keyed.collect::<Vec<_>>().join(&separator),
            _ => columns.trim_end().to_owned(),
        };
        let starts = line.starts.clone().unwrap_or_default();
        let body = if body.starts_with(&starts) || starts.len() > body.len() {
            body
        } else {
            format!("{starts}{}", &body[starts.len()..])
        };
        let start = frame.start.clone().unwrap_or_default();
        let summed =
            if frame.checksum_counts_start == Some(true) { format!("{start}{body}") } else { body.clone() };
        let sum = match frame.checksum.as_deref().unwrap() {
            "xor" => format!("{:02X}", summed.bytes().fold(0, |all, byte| all ^ byte)),
            "sum" => format!("{:02X}", summed.bytes().fold(0, u8::wrapping_add)),
            _ => String::new(),
        };
        bytes.extend(format!("{start}{body}{sum}{}", &frame.ends.clone().unwrap()[..1]).into_bytes());
    }
    bytes
}

#[test]
fn many_of_the_arbitrary_descriptions_are_taken_and_read_something() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut taken, mut reading) = (0, 0);
    for _ in 0..300 {
        let raw = description().new_tree(&mut runner).unwrap().current();
        let Ok(description) = raw.judge() else { continue };
        taken += 1;
        let said = decode_capture(description.model(), &Settings::default(), &spoken(&raw));
        reading += usize::from(!said.observations.is_empty());
    }
    assert!((60..300).contains(&taken) && reading > 10, "{taken} of 300 are taken, {reading} read something");
}

proptest! {
    #[test]
    fn no_description_panics(raw in description()) {
        match raw.judge() {
            Ok(description) => prop_assert!(description.name().starts_with(PREFIX)),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn whatever_is_described_and_comes_is_bounded_and_marked(
        raw in description(),
        blows in proptest::collection::vec((prop_oneof![
            "[A-Z0-9,;=. -]{0,40}\r\n".prop_map(String::into_bytes),
            "\u{2}[A-Z0-9,;=. -]{0,40}\u{3}".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..300),
        ], 0u64..6_000, 0u8..12), 1..40)
    ) {
        let Ok(description) = raw.judge() else { return Ok(()) };
        let model = description.model();
        let description: &'static Description = Box::leak(Box::new(raw.judge().unwrap()));
        let mut driver = SiteLine::new(description);
        let mut now = Now::default();
        let (mut identified, mut connected) = (false, false);
        for (bytes, millis, what) in blows {
            match what {
                0 => { driver.handle_event(&LinkEvent::Up, now); (identified, connected) = (false, true); }
                1 => driver.handle_event(&LinkEvent::Down(crate::link::LinkError::HungUp), now),
                2..6 => driver.handle_event(&LinkEvent::Bytes(spoken(&raw).into()), now),
                _ => driver.handle_event(&LinkEvent::Bytes(bytes.into()), now),
            }
            now.mono = now.mono + Duration::from_millis(millis);
            driver.handle_timeout(now);
            prop_assert!(driver.framer.held() <= driver.framer.bound());
            prop_assert!(driver.actions.len() <= 4_000);
            while let Some(action) = driver.poll_action() {
                match action {
                    Action::Identify(..) => identified = true,
                    Action::Observe(_, said) => {
                        prop_assert!(identified);
                        prop_assert!(said.quality.has(Quality::SITE_CONFIGURED) && model.reads.contains(&said.metric));
                    }
                    Action::Command(LinkCommand::Send(id)) => {
                        prop_assert!(connected && model.requests.get(id).is_some());
                    }
                    Action::Command(other) => prop_assert_eq!(other, LinkCommand::HangUp),
                    Action::Report(_) => {}
                    Action::Commit | Action::Gone(..) | Action::Remember(_) | Action::Pin(_) => prop_assert!(false, "it has no parts"),
                }
            }
        }
    }

    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..90) {
        let capture =
            [sealed("ID,AW300417,"), sealed("ST,365,37.0C,RUN,"), "noise\r\n".to_owned(), sealed("ST,---,37.0C,STOP,")].concat();
        let model = model(&raw(EXAMPLE));
        let whole = decode_capture(model, &Settings::default(), capture.as_bytes()).observations;
        prop_assert_eq!(whole.len(), 6);
        let mut talk = Talk::new(model);
        let mut said = Vec::new();
        for piece in capture.as_bytes().chunks(cut) {
            for action in talk.event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece))) {
                if let Action::Observe(part, observation) = action {
                    said.push((part, observation));
                }
            }
        }
        prop_assert_eq!(said, whole);
    }

    #[test]
    fn no_flipped_bit_passes_a_checksum(at in 0usize..17, bit in 0u8..7) {
        let mut line = sealed("ST,365,37.0C,RUN,").into_bytes();
        line[at] ^= 1 << bit;
        let capture = [sealed("ID,AW300417,").into_bytes(), line].concat();
        let decoded = decode_capture(model(&raw(EXAMPLE)), &Settings::default(), &capture);
        prop_assert_eq!(decoded.observations.len(), 0);
    }
}
