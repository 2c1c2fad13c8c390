//! Conversations with the driver: what it asks, what it believes, what it tells.

use super::*;
use crate::device::Identity;
use crate::device::nomenclature as mdc;
use crate::device::observation::{Observation, Quality, Value};
use crate::device::serial::decode_capture;
use crate::link::LinkError;
use crate::time::Wall;
use bytes::Bytes;
use proptest::prelude::*;

/// A driver with its clock, which jumps from one thing to the next, and a rack's clock beside it.
struct Talk {
    driver: Box<dyn Driver>,
    now: Now,
    seconds: u64,
    bed: &'static str,
    is_stuffed: bool,
}

fn settings(words: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::defaults(MODEL.settings);
    for (name, word) in words {
        let row = MODEL.settings.iter().find(|row| row.name == *name).unwrap();
        settings.set_word(row, word).unwrap();
    }
    settings
}

/// A block, made without the driver's own.
fn block_of(bed: &str, data: &str, is_last: bool) -> Vec<u8> {
    let text = format!("{bed}/1/1>{data}{}", if is_last { '\x03' } else { '\x17' });
    let head = format!("\x01{:05}\x02{text}", text.len() + 13);
    let sum: u32 = head.bytes().map(u32::from).sum();
    format!("{head}{:05}\x04", sum % 256).into_bytes()
}

/// A pump in the slot of an address: `50113`.
fn pump(seconds: u64, address: &str, serial: u32, rate: &str) -> String {
    ["INRT", "INSERNUM", "INM2", "INM3", "INM6", "INM8", "INA3"]
        .map(|name| match name {
            "INRT" => format!("{seconds},{address},INRT,{rate}"),
            "INSERNUM" => format!("{seconds},{address},INSERNUM,{serial}"),
            "INM3" | "INM8" => format!("{seconds},{address},{name},1"),
            _ => format!("{seconds},{address},{name},0"),
        })
        .join("\x1E")
}

impl Talk {
    fn new(words: &[(&str, &str)]) -> Self {
        let now = Now { wall: Wall::from_millis(1_795_304_400_000), ..Now::default() };
        let is_stuffed = words.contains(&("stuffing", "on"));
        Self { driver: (MODEL.driver)(&settings(words)), now, seconds: 214, bed: "ComSystem", is_stuffed }
    }

    /// A conversation behind its handshake: everything is asked for.
    fn running() -> Self {
        let mut talk = Self::new(&[]);
        assert_eq!(talk.event(&LinkEvent::Up), []);
        assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
        talk.greet();
        talk
    }

    /// From an outstanding `ADMIN:ALIVE` to an outstanding `MEM:GET`.
    fn greet(&mut self) {
        let seconds = self.seconds;
        assert_eq!(sent(&self.say(&format!("{seconds},50100,GNACK,0"))), ["ACK", "ADMIN:VERSION"]);
        if sent(&self.say(&format!("{seconds},50100,V3.30"))) == ["ACK"] {
            self.poll();
        }
    }

    /// The next question for everything.
    fn poll(&mut self) {
        assert_eq!(sent(&self.wait()), ["MEM:GET"]);
    }

    fn event(&mut self, event: &LinkEvent) -> Vec<Action> {
        self.driver.handle_event(event, self.now);
        self.drain()
    }

    fn bytes(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn block(&self, data: &str, is_last: bool) -> Vec<u8> {
        let plain = block_of(self.bed, data, is_last);
        if self.is_stuffed { wire::stuffed(&plain) } else { plain }
    }

    /// The last block of a reply.
    fn say(&mut self, data: &str) -> Vec<Action> {
        let block = self.block(data, true);
        self.bytes(&block)
    }

    /// A block behind which more come.
    fn begin(&mut self, data: &str) -> Vec<Action> {
        let block = self.block(data, false);
        self.bytes(&block)
    }

    /// Lets time pass until the driver wants to be called.
    fn wait(&mut self) -> Vec<Action> {
        let due = self.driver.poll_timeout().expect("the driver waits for nothing");
        self.pass(due.since(self.now.mono))
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now.mono = self.now.mono + time;
        let millis = i64::try_from(time.as_millis()).unwrap();
        self.now.wall = Wall::from_millis(self.now.wall.as_millis() + millis);
        self.seconds += time.as_secs();
        self.driver.handle_timeout(self.now);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.driver.poll_action()).collect()
    }
}

/// The names of what was sent, without what says how it goes over the line.
fn sent(actions: &[Action]) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Command(LinkCommand::HangUp) => Some("hang up".to_owned()),
        Action::Command(command) => {
            let frame = MODEL.requests.frame(*command).expect("it may be sent");
            let (LinkCommand::Send(id) | LinkCommand::Fill(id, _)) = command else { panic!("{command:?}") };
            let name = MODEL.requests.get(*id).unwrap().name.trim_end_matches(" (stuffed)");
            let text = String::from_utf8(frame.to_vec()).unwrap();
            let slot = text.split_once('#').map(|(_, slot)| slot.chars().take(2).collect::<String>());
            Some(format!("{name}{}", slot.map_or_else(String::new, |slot| format!(" {slot}"))))
        }
        Action::Identify(..)
        | Action::Observe(..)
        | Action::Commit
        | Action::Gone(..)
        | Action::Remember(_)
        | Action::Pin(_)
        | Action::Report(_) => None,
    };
    actions.iter().filter_map(name).collect()
}

fn faults(actions: &[Action]) -> Vec<FaultKind> {
    let kind = |action: &Action| if let Action::Report(fault) = action { Some(fault.kind) } else { None };
    actions.iter().filter_map(kind).collect()
}

/// What a person would note of rates, alarms and identities, with the slot.
fn noted(actions: &[Action]) -> Vec<String> {
    let place = |part: &Part| if *part == Part::WHOLE { "rack" } else { places::name(*part) };
    let note = |action: &Action| match action {
        Action::Identify(part, Identity { serial, firmware, .. }) => {
            let who = serial.as_ref().or(firmware.as_ref()).cloned().unwrap_or_default();
            Some(format!("{} is {who}", place(part)))
        }
        Action::Remember(memo) => Some(format!("remembers {memo:?}")),
        Action::Pin(pin) => Some(format!("is {pin:?}")),
        Action::Gone(part, _) => Some(format!("{} gone", place(part))),
        Action::Observe(part, Observation { value: Value::Alarm(alarm), .. }) => {
            Some(format!("{} {} {}", place(part), alarm.code, alarm.phase.as_str()))
        }
        Action::Observe(part, said) if said.metric == &mdc::FLOW_FLUID_PUMP => {
            let Value::Decimal(rate) = said.value else { panic!("{said:?}") };
            Some(format!("{} {rate}", place(part)))
        }
        Action::Observe(..) | Action::Command(_) | Action::Commit | Action::Report(_) => None,
    };
    actions.iter().filter_map(note).collect()
}

#[test]
fn a_conversation_begins_with_the_bed_id_and_the_version() {
    let mut talk = Talk::running();
    let rack = talk.begin("214,50100,FMNOR,1\x1E214,50100,FMRT,FMS1NSNS");
    assert_eq!((sent(&rack), noted(&rack)), (vec!["ACK".to_owned()], vec!["rack is V3.30".to_owned()]));
    let data = [pump(214, "50111", 36_248, "0"), pump(214, "501112", 40_864, "0.30")].join("\x1E");
    let pumps = talk.say(&data);
    assert_eq!(noted(&pumps), ["1-1 is 36248", "1-1 0", "1-C is 40864", "1-C 0.30"]);
    assert_eq!(sent(&pumps), ["ACK"]);
    // The next one 10 s after the last began.
    let began = talk.now.mono;
    talk.poll();
    assert_eq!(talk.now.mono.since(began), Duration::from_secs(10));
    assert_eq!(noted(&talk.say(&pump(talk.seconds, "50111", 36_248, "5")))[0], "1-1 5");
}

#[test]
fn requests_carry_the_bed_id_that_the_rack_gave() {
    let mut talk = Talk::new(&[]);
    talk.bed = "Bed_7/a";
    talk.event(&LinkEvent::Up);
    let frames = |actions: &[Action]| -> Vec<Vec<u8>> {
        let frame = |action: &Action| match action {
            Action::Command(command) => Some(MODEL.requests.frame(*command).unwrap().into_owned()),
            Action::Identify(..)
            | Action::Observe(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        };
        actions.iter().filter_map(frame).collect()
    };
    assert_eq!(frames(&talk.wait()), [b"\x0100031\x021/1/1>ADMIN:ALIVE\x0300061\x04"]);
    let version = frames(&talk.say("1,50100,GNACK,0"));
    assert_eq!(version, [b"\x06".to_vec(), block_of("Bed_7/a", "ADMIN:VERSION", true)]);
}

#[test]
fn a_line_with_character_stuffing_is_stuffed_both_ways() {
    let mut talk = Talk::new(&[("stuffing", "on")]);
    talk.event(&LinkEvent::Up);
    let alive = talk.wait();
    let Some(Action::Command(command)) = alive.first() else { panic!("{alive:?}") };
    assert_eq!(
        MODEL.requests.frame(*command).unwrap().as_ref(),
        b"\x0100031\x021/1/1>AEXMIN:ALIVEE\x0300061\x04"
    );
    talk.greet();
    assert_eq!(noted(&talk.say(&pump(214, "50111", 7, "1.5"))), ["1-1 is 7", "1-1 1.5", "rack is V3.30"]);
}

#[test]
fn a_damaged_block_is_asked_for_again_when_the_line_is_quiet() {
    let mut talk = Talk::running();
    let mut torn = talk.block(&pump(214, "50111", 7, "1.5"), true);
    torn[20] ^= 1;
    let damaged = talk.bytes(&torn);
    assert_eq!((sent(&damaged), faults(&damaged)), (vec![], vec![FaultKind::Checksum]));
    let began = talk.now.mono;
    assert_eq!(sent(&talk.wait()), ["NAK"]);
    assert_eq!(talk.now.mono.since(began), HUSH);
    assert_eq!(noted(&talk.say(&pump(214, "50111", 7, "1.5")))[1], "1-1 1.5");
}

#[test]
fn noise_before_a_good_block_asks_for_nothing() {
    let mut talk = Talk::running();
    let block = [b"\x01\x02noise\x04", talk.block(&pump(214, "50111", 7, "1.5"), true).as_slice()].concat();
    let actions = talk.bytes(&block);
    assert_eq!((sent(&actions), faults(&actions)), (vec!["ACK".to_owned()], vec![FaultKind::Framing]));
    talk.poll();
}

#[test]
fn a_block_that_does_not_come_is_asked_for_again_and_a_reply_given_up_at_last() {
    let mut talk = Talk::running();
    talk.begin(&pump(214, "50111", 7, "1.5"));
    for _ in 0..NAKS_MAX {
        let silence = talk.wait();
        assert_eq!((sent(&silence), faults(&silence)), (vec!["NAK".to_owned()], vec![FaultKind::Timeout]));
    }
    let given_up = talk.wait();
    assert_eq!(
        (sent(&given_up), faults(&given_up)),
        (vec!["ADMIN:ALIVE".to_owned()], vec![FaultKind::Timeout])
    );
    talk.greet();
}

#[test]
fn a_block_that_comes_twice_is_acknowledged_twice_and_told_once() {
    let mut talk = Talk::running();
    let data = pump(214, "50111", 7, "1.5");
    assert_eq!(noted(&talk.begin(&data)), ["1-1 is 7", "1-1 1.5"]);
    let again = talk.begin(&data);
    assert_eq!((sent(&again), noted(&again), faults(&again)), (vec!["ACK".to_owned()], vec![], vec![]));
}

#[test]
fn a_rack_that_says_nothing_is_hung_up_on() {
    let mut talk = Talk::running();
    assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
    assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
    let end = talk.wait();
    assert_eq!(sent(&end), ["hang up"]);
    assert_eq!(talk.driver.poll_timeout(), None);
    assert_eq!(talk.say(&pump(214, "50111", 7, "1")), []);
    talk.event(&LinkEvent::Up);
    assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
}

#[test]
fn what_nobody_asked_for_is_acknowledged_and_not_believed() {
    let mut talk = Talk::running();
    talk.say(&pump(214, "50111", 7, "1"));
    let late = talk.say(&pump(214, "50112", 8, "2"));
    assert_eq!((sent(&late), noted(&late)), (vec!["ACK".to_owned()], vec![]));
    assert_eq!(faults(&late), [FaultKind::Unexpected]);
}

#[test]
fn a_removed_pump_is_gone_with_an_alarm_and_comes_back_without() {
    let mut talk = Talk::running();
    talk.say(&pump(214, "50113", 7, "1"));
    talk.poll();
    let removed = talk.say(&format!("{},50113,GNERR,39", talk.seconds));
    assert_eq!(noted(&removed), ["1-3 bcc:GNERR39 start", "1-3 gone",]);
    talk.poll();
    assert_eq!(noted(&talk.say(&format!("{},50113,GNERR,39", talk.seconds))), Vec::<String>::new());
    talk.poll();
    let data = pump(talk.seconds, "50113", 7, "1");
    assert_eq!(noted(&talk.say(&data)), ["1-3 is 7", "1-3 bcc:GNERR39 end", "1-3 1"]);
    talk.poll();
    talk.say(&format!("{},50113,GNERR,39", talk.seconds));
    talk.poll();
    let other = pump(talk.seconds, "50113", 8, "2");
    assert_eq!(noted(&talk.say(&other)), ["1-3 is 8", "1-3 2"], "the alarm was the other pump's");
}

#[test]
fn a_pump_that_is_missing_is_asked_for_alone() {
    for (answer, is_gone) in
        [("GNERR,811", true), ("GNERR,11", true), ("GNERR,68", true), ("INSERNUM,8", false)]
    {
        let mut talk = Talk::running();
        talk.say(&[pump(214, "50113", 7, "1"), pump(214, "5012A", 8, "2")].join("\x1E"));
        talk.poll();
        let seconds = talk.seconds;
        assert_eq!(sent(&talk.say(&pump(seconds, "50113", 7, "1"))), ["ACK", "MEM:GETSLOT 2A"]);
        let told = noted(&talk.say(&format!("{seconds},5012A,{answer}")));
        assert_eq!(told.contains(&"2-A gone".to_owned()), is_gone, "{answer}: {told:?}");
        talk.poll();
    }
}

#[test]
fn what_a_block_cut_off_is_confirmed_by_asking_for_the_slot_alone() {
    let mut talk = Talk::running();
    talk.begin("214,50113,GNNEW,6\x1E214,50113,INSERNUM,7");
    let cut = talk.say("214,50113,INRT,1.5\x1E214,50113,INA3,1");
    assert_eq!(
        (noted(&cut), sent(&cut)),
        (vec!["rack is V3.30".to_owned()], vec!["ACK".to_owned(), "MEM:GETSLOT 13".to_owned()])
    );
    talk.begin("214,50113,INSERNUM,7");
    // What is cut off again says the same again.
    talk.say("214,50113,INRT,1.5");
    talk.poll();
    let mut talk = Talk::running();
    talk.begin("214,50113,INSERNUM,7");
    talk.say("214,50113,INRT,1.5\x1E214,50113,INA3,1");
    assert_eq!(noted(&talk.say("215,50113,INSERNUM,7")), ["1-3 1.5", "1-3 bcc:INA3 start"]);
    talk.poll();
    let mut talk = Talk::running();
    talk.begin("214,50113,INSERNUM,7");
    talk.say("214,50113,INRT,1.5\x1E214,50113,INA3,1");
    let other = talk.say("215,50113,INSERNUM,8");
    assert_eq!(
        (noted(&other), faults(&other)),
        (vec!["1-3 gone".to_owned(), "1-3 is 8".to_owned()], vec![FaultKind::Unexpected])
    );
}

#[test]
fn a_pump_that_is_exchanged_never_speaks_under_the_other_ones_number() {
    // At every place of the first pump's list the list may end and the second pump's begin.
    let first = pump(224, "50113", 7, "7.7");
    let second = pump(225, "50113", 8, "8.8");
    let count = first.split('\x1E').count();
    for cut in 0..=count {
        for begins in 0..=count {
            for has_mark in [true, false] {
                let mut talk = Talk::running();
                talk.say(&pump(214, "50113", 7, "7.7"));
                talk.poll();
                let old: Vec<&str> = first.split('\x1E').take(cut).collect();
                let mark = has_mark.then_some("225,50113,GNNEW,688");
                let new: Vec<&str> = mark.into_iter().chain(second.split('\x1E').skip(begins)).collect();
                let mut actions = talk.begin(&old.join("\x1E"));
                actions.extend(talk.say(&new.join("\x1E")));
                if !sent(&actions).iter().any(|name| name.starts_with("MEM:GETSLOT")) {
                    talk.poll();
                }
                actions.extend(talk.say(&pump(225, "50113", 8, "8.8")));
                let mut who = "7".to_owned();
                for note in noted(&actions) {
                    match note.rsplit_once(' ').unwrap() {
                        ("1-3 is", serial) => serial.clone_into(&mut who),
                        ("1-3", rate) if rate != "gone" => {
                            assert_eq!(
                                who,
                                rate.chars().take(1).collect::<String>(),
                                "{cut} {begins} {has_mark}"
                            );
                        }
                        _ => {}
                    }
                }
                assert_eq!(who, "8", "{cut} {begins} {has_mark}");
            }
        }
    }
}

#[test]
fn a_rack_that_was_started_anew_is_asked_who_it_is() {
    let mut talk = Talk::running();
    talk.say(&["214,50100,FMRT,FMS1NSNS", &pump(214, "50113", 7, "1")].join("\x1E"));
    talk.poll();
    talk.seconds = 3;
    let jumped = talk.say(&["3,50100,FMRT,FMS1NSNS", &pump(3, "50113", 7, "2")].join("\x1E"));
    assert_eq!(faults(&jumped), [FaultKind::Unexpected]);
    // The pump states its number with its readings; the rack's own wait.
    assert_eq!(
        (noted(&jumped), sent(&jumped)),
        (vec!["1-3 2".to_owned()], vec!["ACK".to_owned(), "ADMIN:ALIVE".to_owned()])
    );
    talk.greet();
    let again = talk.say("4,50100,FMRT,FMS1NSNS");
    assert_eq!((noted(&again), faults(&again)), (vec!["rack is V3.30".to_owned()], vec![]));
}

#[test]
fn readings_carry_the_racks_time_by_the_gateways_clock() {
    let mut talk = Talk::running();
    let time = |actions: &[Action]| {
        let of = |action: &Action| match action {
            Action::Observe(_, said) => said.device_time.map(|time| time.to_string()),
            Action::Command(_)
            | Action::Identify(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        };
        actions.iter().find_map(of).unwrap()
    };
    let first = time(&talk.say(&pump(214, "50113", 7, "1")));
    talk.poll();
    // Said 9 s later, it came 10 s later.
    let second = time(&talk.say(&pump(223, "50113", 7, "1")));
    assert_eq!((first.as_str(), second.as_str()), ("2026-11-21T23:40:00", "2026-11-21T23:40:09"));
}

#[test]
fn another_bed_id_is_another_rack() {
    let mut talk = Talk::running();
    talk.say(&pump(214, "50113", 7, "1"));
    talk.poll();
    talk.bed = "Other";
    let other = talk.say(&pump(224, "50113", 7, "9"));
    assert_eq!((noted(&other), sent(&other)), (vec![], vec!["ACK".to_owned(), "ADMIN:ALIVE".to_owned()]));
    let greeting = talk.say("1,50100,GNACK,0");
    assert_eq!(noted(&greeting), ["1-3 gone"]);
    assert_eq!(sent(&talk.say("1,50100,V3.30")), ["ACK"]);
    talk.poll();
    assert_eq!(noted(&talk.say(&pump(1, "50113", 7, "9")))[..2], ["1-3 is 7", "1-3 9"]);
}

/// People change the name of a bed; the pumps stay where they are, and what is on goes on.
#[test]
fn alarms_are_kept_when_the_bed_gets_another_name() {
    for (is_on, serial, expected) in [
        ("1", 7, vec!["1-3 is 7", "1-3 9"]),
        ("0", 7, vec!["1-3 is 7", "1-3 9", "1-3 bcc:INA3 end"]),
        ("0", 8, vec!["1-3 is 8", "1-3 9"]),
    ] {
        let flagged = |seconds: u64, serial: u32, is_on: &str| {
            pump(seconds, "50113", serial, "9").replace("INA3,0", &format!("INA3,{is_on}"))
        };
        let mut talk = Talk::running();
        talk.say(&flagged(214, 7, "1"));
        talk.poll();
        talk.bed = "Other";
        talk.say(&flagged(224, serial, is_on));
        assert_eq!(noted(&talk.say("225,50100,GNACK,0")), ["1-3 gone"]);
        talk.say("225,50100,V3.30");
        talk.poll();
        let told = noted(&talk.begin(&flagged(235, serial, is_on)));
        assert_eq!(told, expected);
    }
}

/// A rack that missed the ACK sends its last block again, when the next question is out already.
#[test]
fn a_last_block_that_comes_late_again_is_no_answer_to_the_next_question() {
    let mut talk = Talk::running();
    talk.say(&[pump(214, "50113", 7, "1"), pump(214, "5012A", 8, "2")].join("\x1E"));
    talk.poll();
    let seconds = talk.seconds;
    let without = pump(seconds, "50113", 7, "1");
    assert_eq!(sent(&talk.say(&without)), ["ACK", "MEM:GETSLOT 2A"]);
    let again = talk.say(&without);
    assert_eq!(
        (noted(&again), sent(&again), faults(&again)),
        (vec![], vec!["ACK".to_owned()], vec![FaultKind::Unexpected])
    );
    assert_eq!(noted(&talk.say(&pump(seconds, "5012A", 8, "2"))), ["2-A 2"]);
    // Likewise the version, behind which everything was asked for.
    let mut talk = Talk::running();
    let again = talk.say("214,50100,V3.30");
    assert_eq!((sent(&again), faults(&again)), (vec!["ACK".to_owned()], vec![FaultKind::Unexpected]));
    assert_eq!(noted(&talk.say(&pump(214, "50113", 7, "1"))), ["1-3 is 7", "1-3 1", "rack is V3.30"]);
}

/// A rack that thinks for long begins its block just before the patience ends.
#[test]
fn nobody_speaks_into_a_block_that_is_still_coming() {
    let mut talk = Talk::running();
    assert_eq!(sent(&talk.pass(Duration::from_millis(4_900))), Vec::<String>::new());
    let block = talk.block(&pump(214, "50113", 7, "1"), true);
    for piece in block.chunks(20) {
        let actions = talk.bytes(piece);
        assert!(!sent(&actions).contains(&"NAK".to_owned()), "{actions:?}");
        if actions.is_empty() {
            assert_eq!(sent(&talk.pass(Duration::from_millis(60))), Vec::<String>::new());
        }
    }
    talk.poll();
}

#[test]
fn a_rack_without_pumps_is_not_silent() {
    let mut talk = Talk::running();
    for _ in 0..3 {
        let told = talk.say(&format!("{},50100,GNERR,11", talk.seconds));
        let is_clock = |action: &Action| matches!(action, Action::Observe(Part::WHOLE, said) if said.metric == &codes::UPTIME);
        assert!(told.iter().any(is_clock), "{told:?}");
        assert_eq!(faults(&told), []);
        talk.poll();
    }
}

/// What is not said is not 0.
#[test]
fn mode_flags_that_a_block_cut_in_two_are_not_told_as_all_of_them() {
    let flags = |range: std::ops::RangeInclusive<u8>| -> String {
        range.map(|n| format!("214,50113,INM{n},1")).collect::<Vec<_>>().join("\x1E")
    };
    let bits = |actions: &[Action]| -> Vec<Value> {
        let of = |action: &Action| match action {
            Action::Observe(_, said) if said.metric == &codes::MODE_FLAGS => Some(said.value.clone()),
            Action::Observe(..)
            | Action::Command(_)
            | Action::Identify(..)
            | Action::Commit
            | Action::Gone(..)
            | Action::Remember(_)
            | Action::Pin(_)
            | Action::Report(_) => None,
        };
        actions.iter().filter_map(of).collect()
    };
    let mut talk = Talk::running();
    let whole = talk.begin(&format!("214,50113,INSERNUM,7\x1E{}", flags(1..=12)));
    assert_eq!(bits(&whole), [Value::Bits(0xFFF)]);
    for at in 1..12 {
        let mut talk = Talk::running();
        let mut actions = talk.begin(&format!("214,50113,INSERNUM,7\x1E{}", flags(1..=at)));
        actions.extend(talk.say(&format!("{}\x1E214,50113,INA1,0", flags(at + 1..=12))));
        actions.extend(talk.say("214,50113,INSERNUM,7"));
        assert!(bits(&actions).iter().all(|bits| *bits == Value::Bits(0xFFF)), "{at}: {:?}", bits(&actions));
    }
}

/// 24 pumps with 1,200 bytes each at 9,600 baud, one answer lost on the way, and the version never told.
#[test]
fn a_full_rack_is_not_silent_when_one_answer_is_lost() {
    let mut settings = Settings::defaults(MODEL.settings);
    let poll = MODEL.settings.iter().find(|row| row.name == "poll").unwrap();
    settings.set_number(poll, 15).unwrap();
    let mut talk = Talk::new(&[]);
    talk.driver = (MODEL.driver)(&settings);
    talk.event(&LinkEvent::Up);
    let (mut asked, mut replies) = (talk.wait(), 0);
    let mut last = None;
    while replies < 6 {
        let names = sent(&asked);
        let actions = match names.last().map(String::as_str) {
            Some("ADMIN:ALIVE") => talk.say(&format!("{},50100,GNACK,0", talk.seconds)),
            Some("MEM:GET") => {
                replies += 1;
                let mut said = Vec::new();
                for slot in 1..=24u32 {
                    said.extend(talk.pass(Duration::from_millis(1_250)));
                    if (replies, slot) == (4, 24) {
                        break;
                    }
                    let data = pump(talk.seconds, &format!("5011{slot:02}"), slot, "1");
                    let block = talk.block(&data, slot == 24);
                    said.extend(talk.bytes(&block));
                    if slot == 24 {
                        let now = talk.now.mono;
                        let gap = now.since(last.replace(now).unwrap_or(now));
                        assert!(gap < MODEL.quiet, "{gap:?}");
                    }
                }
                said
            }
            _ => talk.wait(),
        };
        asked = actions;
    }
}

#[test]
fn alarms_are_kept_over_a_reconnect_of_the_same_pump_and_forgotten_for_another() {
    for (serial, expected) in
        [(7, vec!["1-3 is 7", "1-3 1", "1-3 bcc:INA3 end"]), (8, vec!["1-3 is 8", "1-3 1"])]
    {
        let mut talk = Talk::running();
        let on = pump(214, "50113", 7, "1").replace("INA3,0", "INA3,1");
        assert_eq!(noted(&talk.say(&on))[2], "1-3 bcc:INA3 start");
        talk.event(&LinkEvent::Down(LinkError::HungUp));
        talk.event(&LinkEvent::Up);
        assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
        talk.greet();
        let told = noted(&talk.begin(&pump(talk.seconds, "50113", serial, "1")));
        assert_eq!(told, expected);
    }
}

#[test]
fn the_state_is_questionable_until_somebody_has_compared_it() {
    let quality = |words: &[(&str, &str)]| -> Vec<Quality> {
        let capture = block_of("ComSystem", &pump(1, "50113", 7, "1"), true);
        let said = decode_capture(&MODEL, &settings(words), &capture).observations;
        let is_state =
            |said: &&(Part, Observation)| said.1.metric == &mdc::PUMP_MODE || said.1.metric == &codes::POWER;
        said.iter().filter(is_state).map(|(_, said)| said.quality).collect()
    };
    assert_eq!(quality(&[]), [Quality::QUESTIONABLE; 2]);
    assert_eq!(quality(&[("modes", "confirmed")]), [Quality::GOOD; 2]);
    assert_eq!(quality(&[("modes", "raw")]), []);
}

#[test]
fn nothing_of_a_patient_is_told() {
    const CANARY: &str = "ZZQPATIENT";
    let rack = format!("1,50100,FMBANY,{CANARY}\x1E1,50100,FMRT,X\x1E1,50100,FMNEW1,{CANARY}");
    let odd = format!(
        "1,50113,INSERNUM,7\x1E1,50113,INPNAME,{CANARY}\x1E1,50113,INRT,{CANARY}\x1E{CANARY}\x1E1,50113,GNERR,{CANARY}\x1E1,50113,INA3,{CANARY}"
    );
    let mut capture = block_of("ComSystem", &rack, false);
    capture.extend(block_of("ComSystem", &odd, true));
    let mut talk = Talk::running();
    let live = talk.bytes(&capture);
    let shown = format!("{:?} {live:?}", decode_capture(&MODEL, &settings(&[]), &capture));
    assert!(shown.contains("FMNEW1") && !shown.contains(CANARY), "{shown}");
}

#[test]
fn the_identity_is_read_again_every_half_hour() {
    let mut talk = Talk::running();
    let began = talk.now.mono;
    let mut greetings = Vec::new();
    for _ in 0..400 {
        talk.say(&pump(talk.seconds, "50113", 7, "1"));
        if sent(&talk.wait()) == ["ADMIN:ALIVE"] {
            greetings.push(talk.now.mono.since(began).as_secs() / 60);
            talk.greet();
        }
    }
    assert_eq!(greetings, [30, 60]);
}

#[test]
fn a_line_that_comes_and_goes_does_not_have_the_rack_asked_more_often() {
    let mut talk = Talk::running();
    let asked = talk.now.mono;
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    talk.event(&LinkEvent::Up);
    assert_eq!(sent(&talk.wait()), ["ADMIN:ALIVE"]);
    talk.greet();
    assert_eq!(talk.now.mono.since(asked), Duration::from_secs(10));
}

#[test]
fn a_reply_without_end_is_given_up() {
    let mut talk = Talk::running();
    let mut hung_up = false;
    for count in 0..1_000u32 {
        let slot = char::from(b'1' + u8::try_from(count % 9).unwrap());
        let actions = talk.begin(&pump(214, &format!("5011{slot}"), 7 + count, "1"));
        hung_up |= faults(&actions).contains(&FaultKind::Timeout);
    }
    assert!(hung_up);
}

proptest! {
    #[test]
    fn any_cut_of_a_capture_reads_the_same(cut in 1usize..200, is_stuffed in any::<bool>()) {
        let words: &[(&str, &str)] = if is_stuffed { &[("stuffing", "on")] } else { &[] };
        let talk = Talk::new(words);
        let capture = [
            talk.block("214,50100,FMNOR,1\x1E214,50100,FMRT,FMS1NSNS", false),
            b"\x06".to_vec(),
            talk.block(&pump(214, "50111", 7, "1.5"), false),
            b"\x06".to_vec(),
            talk.block(&pump(215, "501112", 8, "0.5"), true),
            talk.block("216,501112,GNERR,39", true),
        ].concat();
        let whole = decode_capture(&MODEL, &settings(words), &capture);
        prop_assert!(whole.faults.is_empty(), "{:?}", whole.faults);
        let mut driver = (MODEL.driver)(&settings(words));
        let mut said = Vec::new();
        for piece in capture.chunks(cut) {
            driver.handle_event(&LinkEvent::Bytes(Bytes::copy_from_slice(piece)), Now::default());
            while let Some(action) = driver.poll_action() {
                if let Action::Observe(part, observation) = action {
                    said.push((part, observation));
                }
            }
        }
        prop_assert_eq!(said, whole.observations);
    }

    #[test]
    fn whatever_comes_a_reading_follows_its_identity_and_only_requests_are_sent(
        blows in proptest::collection::vec((0u8..12, 0u64..400, 0u8..4, any::<u16>(), any::<bool>()), 0..120)
    ) {
        let mut talk = Talk::new(&[]);
        let mut known: std::collections::BTreeMap<Part, String> = std::collections::BTreeMap::new();
        let mut connected = false;
        for (what, seconds, slot, millis, is_last) in blows {
            let address = format!("5011{}", slot + 1);
            let serial = u32::from(slot) * 10 + u32::from(millis % 2);
            // Of a pump whose number is odd the rate is odd too.
            let rate = serial.to_string();
            let data = match what {
                0..=2 => pump(seconds, &address, serial + 1, &(serial + 1).to_string()),
                3 => format!("{seconds},50100,GNACK,0"),
                4 => format!("{seconds},50100,V3.30"),
                5 => format!("{seconds},{address},GNERR,39"),
                6 => format!("{seconds},{address},INSERNUM,{rate}\x1E{seconds},{address},INRT,{rate}"),
                7 => format!("{seconds},{address},GNNEW,x\x1E{seconds},50100,FMRT,T"),
                _ => String::new(),
            };
            let actions = match what {
                8 => { known.clear(); connected = true; talk.event(&LinkEvent::Up) }
                9 => talk.event(&LinkEvent::Down(LinkError::HungUp)),
                10 => talk.bytes(&millis.to_be_bytes().repeat(40)),
                11 => talk.pass(Duration::from_millis(u64::from(millis))),
                _ => { let block = talk.block(&data, is_last); talk.bytes(&block) }
            };
            for action in actions {
                match action {
                    Action::Identify(part, who) => drop(known.insert(part, who.serial.unwrap_or_default())),
                    Action::Remember(_) | Action::Pin(_) => prop_assert!(false, "it remembers nothing"),
                    Action::Gone(part, _) => drop(known.remove(&part)),
                    Action::Observe(part, said) => {
                        prop_assert!(known.contains_key(&part), "{:?}", said);
                        if said.metric == &mdc::FLOW_FLUID_PUMP {
                            let Value::Decimal(rate) = said.value else { panic!("{said:?}") };
                            prop_assert_eq!(&rate.to_string(), &known[&part]);
                        }
                    }
                    Action::Command(LinkCommand::HangUp) | Action::Commit | Action::Report(_) => {}
                    Action::Command(command) => prop_assert!(connected && MODEL.requests.frame(command).is_some()),
                }
            }
        }
    }
}
