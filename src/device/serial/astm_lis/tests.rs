use bytes::Bytes;
use proptest::prelude::*;

use super::wire::{Defect, Piece, checksum};
use super::*;
use crate::device::observation::{Absent, Observation, Quality, Status, Value};
use crate::device::serial::{Decoded, decode_capture};
use crate::device::settings::Settings;
use crate::device::{Identity, Part};
use crate::link::LinkError;

const HEADER: &str = "H|\\^&|||GLX^2.1^SN4711|||||||P|1|20261122080000";

/// A frame as an analyser sends it.
fn frame(number: u32, text: &str, end: u8) -> Vec<u8> {
    let mut summed = format!("{}{text}", number % 8).into_bytes();
    summed.push(end);
    let sum = checksum(&summed);
    [b"\x02".as_slice(), &summed, format!("{sum:02X}\r\n").as_bytes()].concat()
}

fn last(number: u32, text: &str) -> Vec<u8> {
    frame(number, &format!("{text}\r"), 0x03)
}

fn glucose(number: u32, value: &str) -> String {
    format!("R|{number}|^^^GLU|{value}|mg/dL||N||F||OPERATOR|20261122075{number:03}")
}

/// A session with a driver, in a time of its own. `durable` is what the test says it is.
struct Talk {
    driver: AstmLis,
    now: Now,
    tickets: u64,
    said: Vec<Observation>,
    identities: Vec<Identity>,
    faults: Vec<String>,
    /// What was answered, a character each.
    answers: String,
}

impl Talk {
    fn with(set: &[(&str, &str)]) -> Self {
        let mut settings = Settings::defaults(MODEL.settings);
        for (name, word) in set {
            let row = MODEL.settings.iter().find(|row| row.name == *name).unwrap();
            match word.parse() {
                Ok(number) => settings.set_number(row, number).unwrap(),
                Err(_) => settings.set_word(row, word).unwrap(),
            }
        }
        let mut talk = Self {
            driver: AstmLis::new(Setup::of(&settings)),
            now: Now::default(),
            tickets: 0,
            said: Vec::new(),
            identities: Vec::new(),
            faults: Vec::new(),
            answers: String::new(),
        };
        talk.event(&LinkEvent::Up);
        talk
    }

    fn up() -> Self {
        Self::with(&[])
    }

    fn event(&mut self, event: &LinkEvent) {
        self.driver.handle_event(event, self.now);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(action) = self.driver.poll_action() {
            match action {
                Action::Command(LinkCommand::Send(ACK)) => self.answers.push('A'),
                Action::Command(LinkCommand::Send(NAK)) => self.answers.push('N'),
                Action::Observe(_, said) => {
                    self.said.push(said);
                    self.tickets += 1;
                    self.driver.handle_ticket(Ticket(self.tickets));
                }
                Action::Identify(_, identity) => self.identities.push(identity),
                Action::Report(fault) => self.faults.push(fault.detail),
                other @ (Action::Command(_)
                | Action::Commit
                | Action::Gone(..)
                | Action::Remember(_)
                | Action::Pin(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> &mut Self {
        self.event(&LinkEvent::Bytes(Bytes::copy_from_slice(bytes)));
        self
    }

    /// Lets time pass, and every timer on its way fire.
    fn wait(&mut self, millis: u64) -> &mut Self {
        let end = self.now.mono + Duration::from_millis(millis);
        while let Some(due) = self.driver.poll_timeout().filter(|due| *due <= end) {
            self.now.mono = self.now.mono.max(due);
            self.driver.handle_timeout(self.now);
            self.perform();
            assert!(self.driver.poll_timeout().is_none_or(|due| due > self.now.mono));
        }
        self.now.mono = end;
        self
    }

    /// All that was told is on storage.
    fn store(&mut self) -> &mut Self {
        self.driver.handle_durable(Ticket(self.tickets), self.now);
        self.perform();
        self
    }

    /// The last that was told is refused because of who said it, all before it is on storage.
    fn refuse(&mut self) -> &mut Self {
        self.driver.handle_refused(Ticket(self.tickets), self.now);
        self.store()
    }

    fn reconnect(&mut self) {
        self.event(&LinkEvent::Down(LinkError::HungUp));
        self.event(&LinkEvent::Up);
    }

    /// A whole message with these records, everything stored at once.
    fn send(&mut self, records: &[&str]) -> &mut Self {
        self.hear(b"\x05");
        for (number, record) in (1..).zip(records) {
            self.hear(&last(number, record)).store();
        }
        self.hear(b"\x04")
    }

    fn answers(&mut self) -> String {
        std::mem::take(&mut self.answers)
    }

    fn values(&self) -> Vec<String> {
        self.said.iter().map(shown).collect()
    }
}

fn shown(said: &Observation) -> String {
    match &said.value {
        Value::Decimal(number) => format!("{number} {}", said.unit.symbol),
        Value::Text(words) => words.clone(),
        Value::Absent(why) => why.code().to_owned(),
        other @ (Value::Bits(_) | Value::Alarm(_) | Value::Samples(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_acknowledged_frame_by_frame() {
    let mut talk = Talk::up();
    talk.send(&[HEADER, "P|1", "O|1", &glucose(1, "142"), "L|1|N"]);
    assert_eq!(talk.answers(), "AAAAAA");
    assert_eq!(talk.values(), ["142 mg/dL"]);
    assert_eq!(talk.faults, [""; 0]);
    let [identity] = talk.identities.as_slice() else { panic!("{:?}", talk.identities) };
    assert_eq!((identity.model.as_deref(), identity.serial.as_deref()), (Some("GLX"), Some("SN4711")));
    assert_eq!(talk.said[0].device_time.unwrap().to_string(), "2026-11-22T07:50:01");
}

#[test]
fn a_result_is_acknowledged_only_when_it_is_durable() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    assert_eq!(talk.answers(), "AA");
    talk.hear(&last(2, &glucose(1, "142"))).wait(9_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("", 1));
    talk.store();
    assert_eq!(talk.answers(), "A");
}

#[test]
fn a_result_that_storage_keeps_waiting_is_asked_for_again_and_not_told_twice() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    let result = last(2, &glucose(1, "142"));
    talk.hear(&result).wait(9_999);
    assert_eq!(talk.answers(), "AA");
    talk.wait(1);
    assert_eq!(talk.answers(), "N", "before the analyser's 15 s are over");
    // Stored while the frame comes in again: no answer into it.
    talk.hear(&result[..20]).store();
    assert_eq!(talk.answers(), "");
    talk.hear(&result[20..]);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
}

#[test]
fn six_times_kept_waiting_ends_the_message_and_its_results_are_known_when_it_comes_again() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    for _ in 0..6 {
        talk.hear(&last(2, &glucose(1, "142"))).wait(10_000);
    }
    talk.hear(b"\x04");
    assert_eq!(talk.answers(), "AANNNNNN");
    // Nothing is durable: this side is busy.
    talk.hear(b"\x05").wait(10_000);
    assert_eq!(talk.answers(), "N");
    talk.store();
    let later = HEADER.replace("080000", "080500");
    talk.send(&[&later, &glucose(1, "142"), &glucose(2, "98"), "L|1|N"]);
    assert_eq!(talk.answers(), "AAAAA");
    assert_eq!(talk.values(), ["142 mg/dL", "98 mg/dL"]);
}

#[test]
fn what_was_told_of_an_unfinished_message_is_known_by_the_driver_that_takes_its_place() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).store();
    // Its entry changes in the midst of the message.
    talk.event(&LinkEvent::Down(LinkError::HungUp));
    let told = talk.driver.told().unwrap();
    let mut next = Talk::with(&[]);
    next.driver.handle_told(told);
    next.send(&[HEADER, &glucose(1, "142"), &glucose(2, "98"), "L|1|N"]);
    assert_eq!(next.answers(), "AAAAA", "the analyser is told that it arrived");
    assert_eq!(next.values(), ["98 mg/dL"]);
    // The same measured again is another result.
    next.event(&LinkEvent::Down(LinkError::HungUp));
    assert_eq!(next.driver.told(), Some(Vec::new()));
}

#[test]
fn results_of_another_analyser_are_never_acknowledged_and_wait_there_until_it_is_expected() {
    let mut talk = Talk::up();
    let (header, result) = (last(1, HEADER), last(2, &glucose(1, "142")));
    talk.hear(b"\x05").hear(&header).hear(&result).wait(1_000);
    assert_eq!(talk.answers(), "AA");
    talk.refuse().wait(500);
    assert_eq!(talk.answers(), "N");
    // Sent again, and with a number that would be the next one: nothing of this transmission counts any more.
    for frame in [&result, &result, &last(3, "L|1|N")] {
        talk.hear(frame).wait(10_500).store();
        assert_eq!(talk.answers(), "N");
    }
    assert_eq!(talk.said.len(), 1);
    talk.hear(b"\x04");
    // Now the site expects it: the same message is taken, told and acknowledged.
    talk.send(&[HEADER, &glucose(1, "142"), "L|1|N"]);
    assert_eq!(talk.answers(), "AAAA");
    assert_eq!(talk.values(), ["142 mg/dL"; 2]);
    assert_eq!(talk.faults.len(), 2, "{:?}", talk.faults);
}

#[test]
fn a_refusal_is_not_outrun_by_what_is_durable_behind_it() {
    // Two messages in one transmission, the first of another analyser; its refusal comes after its time is over.
    let mut talk = Talk::up();
    let result = last(2, &glucose(1, "142"));
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&result).wait(10_000);
    assert_eq!(talk.answers(), "AAN");
    talk.hear(&result).refuse().wait(500);
    assert_eq!(talk.answers(), "N");
    // It gives up before the word comes: what it sends again is no repetition.
    talk.hear(b"\x04").hear(b"\x05").hear(&last(1, HEADER)).hear(&result).hear(b"\x04");
    assert_eq!(talk.answers(), "AA");
    talk.refuse().send(&[HEADER, &glucose(1, "142"), "L|1|N"]);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAAA", 3));
}

#[test]
fn the_right_analyser_goes_on_after_another_one_was_refused() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).refuse().wait(500);
    assert_eq!(talk.answers(), "AAN");
    talk.hear(b"\x04");
    let own = HEADER.replace("SN4711", "SN1");
    talk.send(&[&own, &glucose(1, "98"), "L|1|N"]);
    assert_eq!(talk.answers(), "AAAA");
    // Word of a refusal comes when the next transmission has begun: that one is not the one.
    talk.hear(b"\x05").refuse().hear(&last(1, &own)).hear(&last(2, &glucose(2, "77"))).store();
    assert_eq!(talk.answers(), "AAA");
}

#[test]
fn without_enq_a_refused_message_ends_with_the_next_header() {
    let mut talk = Talk::with(&[("enq", "absent")]);
    let result = last(2, &glucose(1, "142"));
    talk.hear(&last(1, HEADER)).hear(&result).refuse().wait(500);
    assert_eq!(talk.answers(), "AN");
    talk.hear(&result).wait(500).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("N", 1), "no header");
    talk.hear(&last(1, HEADER)).hear(&result).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AA", 2));
}

#[test]
fn a_connection_that_breaks_between_result_and_answer_neither_loses_nor_doubles() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).store();
    talk.hear(&last(3, &glucose(2, "98")));
    assert_eq!(talk.answers(), "AAA");
    talk.reconnect();
    talk.store();
    assert_eq!(talk.answers(), "", "the answer is not owed any more");
    talk.send(&[HEADER, &glucose(1, "142"), &glucose(2, "98"), "L|1|N"]);
    assert_eq!(talk.answers(), "AAAAA");
    assert_eq!(talk.values(), ["142 mg/dL", "98 mg/dL"]);
}

#[test]
fn an_analyser_that_goes_on_where_it_was_not_acknowledged_is_understood() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, "O|1|X||^^^GLU"));
    talk.hear(&last(3, &glucose(1, "142"))).store().hear(&last(4, &glucose(2, "98")));
    talk.reconnect();
    talk.store().answers();
    // The second result is the first that it sends, and it says to have sent it before.
    let again = glucose(2, "98").replace("R|2|", "R|1|").replace("|F|", "|R|");
    talk.send(&[HEADER, "O|1|X||^^^GLU", &again, &glucose(3, "77"), "L|1|N"]);
    assert_eq!(talk.values(), ["142 mg/dL", "98 mg/dL", "77 mg/dL"]);
    // Two that are alike in all but their numbers stay two.
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(4, "60"))).store();
    talk.reconnect();
    let twin = glucose(4, "60").replace("R|4|", "R|5|");
    talk.send(&[HEADER, &glucose(4, "60"), &twin, "L|1|N"]);
    assert_eq!(talk.values()[3..], ["60 mg/dL", "60 mg/dL"]);
}

#[test]
fn no_answer_falls_into_a_frame_that_comes_in() {
    let mut talk = Talk::up();
    let result = last(2, &glucose(1, "142"));
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&result);
    assert_eq!(talk.answers(), "AA");
    // An impatient analyser sends again, and storage is done in the middle of it.
    talk.hear(&result[..9]).store();
    assert_eq!(talk.answers(), "");
    talk.hear(&result[9..]).wait(14_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
}

#[test]
fn a_refused_frame_changes_nothing() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    talk.hear(&last(2, &format!("{}\rH||||", glucose(1, "142")))).wait(1_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAN", 0));
    talk.hear(&last(2, &glucose(1, "142"))).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
}

#[test]
fn a_last_answer_that_was_not_heard_does_not_double_the_message() {
    let message: [&str; 3] = [HEADER, &glucose(1, "142"), "L|1|N"];
    let mut talk = Talk::up();
    talk.hear(b"\x05");
    for (number, record) in (1..).zip(message) {
        talk.hear(&last(number, record)).store();
    }
    // The analyser hears nothing for 15 s and gives up.
    talk.wait(15_000).hear(b"\x04").send(&message);
    assert_eq!(talk.values(), ["142 mg/dL"]);
    // The same from one that ended well is another reading, whatever it looks like.
    talk.send(&message);
    assert_eq!(talk.values().len(), 2);
}

#[test]
fn a_result_without_any_time_is_told_twice_rather_than_lost() {
    let mut talk = Talk::up();
    let message = ["H|\\^&|||GLX^2.1^SN4711", "R|1|^^^GLU|142|mg/dL"];
    talk.hear(b"\x05").hear(&last(1, message[0])).hear(&last(2, message[1])).store();
    talk.reconnect();
    talk.send(&message);
    assert_eq!(talk.said.len(), 2);
}

#[test]
fn tickets_go_on_over_drivers() {
    let mut talk = Talk::up();
    // Another driver of this session gave 41, and the storage is at 40.
    talk.tickets = 41;
    talk.driver.handle_durable(Ticket(40), talk.now);
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142")));
    assert_eq!((talk.answers().as_str(), talk.tickets), ("AA", 42));
    talk.driver.handle_durable(Ticket(41), talk.now);
    talk.perform();
    assert_eq!(talk.answers(), "");
    talk.store();
    assert_eq!(talk.answers(), "A");
}

#[test]
fn an_observation_without_a_ticket_is_never_acknowledged() {
    let mut driver = AstmLis::new(Setup::of(&Settings::defaults(MODEL.settings)));
    driver.handle_event(&LinkEvent::Up, Now::default());
    for bytes in [b"\x05".to_vec(), last(1, HEADER), last(2, &glucose(1, "142"))] {
        driver.handle_event(&LinkEvent::Bytes(bytes.into()), Now::default());
    }
    driver.handle_durable(Ticket(1_000), Now::default());
    let actions: Vec<Action> = std::iter::from_fn(|| driver.poll_action()).collect();
    assert!(!actions.contains(&Action::Command(LinkCommand::Send(ACK))), "{actions:?}");
}

#[test]
fn a_damaged_frame_is_asked_for_again_when_the_line_is_quiet() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    talk.answers();
    let whole = last(2, &glucose(1, "142"));
    let mut damaged = whole.clone();
    damaged[12] ^= 1;
    // Text that turned into ETX ends the frame early; the rest is no reason for a second answer.
    let mut torn = whole.clone();
    torn[12] = 0x03;
    // Text that turned into ENQ must not be answered as one, nor EOT end the transfer.
    let mut enq = whole.clone();
    enq[12] = 0x05;
    let mut eot = whole.clone();
    eot[12] = 0x04;
    let mut headless = whole.clone();
    headless[0] = b'?';
    for bad in [damaged, torn, enq, eot, headless, whole[..20].to_vec()] {
        talk.hear(&bad);
        assert_eq!(talk.answers(), "", "{bad:?}");
        talk.wait(4_000);
        assert_eq!(talk.answers(), "N", "{bad:?}");
    }
    talk.hear(&whole).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
    assert!(talk.faults.len() >= 6);
    assert!(talk.faults.iter().all(|fault| !fault.contains("142")), "{:?}", talk.faults);
}

#[test]
fn a_frame_that_comes_again_is_acknowledged_and_not_taken_twice() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).store();
    talk.hear(&last(2, &glucose(1, "142"))).hear(&last(3, "L|1|N"));
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAAAA", 1));
}

#[test]
fn a_frame_out_of_order_is_not_acknowledged() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    talk.hear(&last(3, &glucose(1, "142"))).wait(1_000);
    // The number of the frame before, with another text.
    talk.hear(&last(1, &glucose(1, "142"))).wait(1_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AANN", 0));
    let mut talk = Talk::with(&[("frame_numbers", "ignored")]);
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(1, &glucose(1, "142"))).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAA", 1));
}

#[test]
fn frame_numbers_go_round() {
    let mut talk = Talk::up();
    let results: Vec<String> = (1..=20).map(|number| glucose(number, &(100 + number).to_string())).collect();
    let records: Vec<&str> = [HEADER].into_iter().chain(results.iter().map(String::as_str)).collect();
    talk.send(&records);
    assert_eq!((talk.said.len(), talk.answers()), (20, "A".repeat(22)));
}

#[test]
fn a_result_over_several_frames_is_told_when_its_last_one_is_there() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER));
    let result = format!("{}\r", glucose(1, "142"));
    let (first, rest) = result.split_at(14);
    let (second, third) = rest.split_at(9);
    talk.hear(&frame(2, first, 0x17)).hear(&frame(3, second, 0x17)).hear(&frame(3, second, 0x17));
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAAAA", 0), "nothing is promised by it");
    talk.hear(&frame(4, third, 0x03));
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("", 1));
    talk.store();
    assert_eq!((talk.answers().as_str(), talk.values()), ("A", vec!["142 mg/dL".to_owned()]));
}

#[test]
fn a_frame_that_ends_one_result_and_begins_another_waits_for_the_first() {
    let mut talk = Talk::up();
    talk.hear(b"\x05");
    let text = format!("{HEADER}\r{}\r{}", glucose(1, "142"), &glucose(2, "98")[..8]);
    talk.hear(&frame(1, &text, 0x17));
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
    talk.store();
    assert_eq!(talk.answers(), "A");
    talk.hear(&frame(2, &format!("{}\rL|1|N\r", &glucose(2, "98")[8..]), 0x03)).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 2));
}

#[test]
fn line_ends_that_are_left_out_are_waited_for() {
    for end in ["", "\r", "\n"] {
        let mut talk = Talk::up();
        talk.hear(b"\x05");
        let mut bytes = last(1, HEADER);
        bytes.truncate(bytes.len() - 2);
        bytes.extend(end.bytes());
        talk.hear(&bytes).wait(1_000);
        assert_eq!(talk.answers(), "AA", "{end:?}");
    }
}

#[test]
fn a_result_without_its_header_is_not_acknowledged() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, &glucose(1, "142"))).wait(1_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AN", 0));
    talk.hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AA", 1));
}

#[test]
fn an_analyser_without_enq_needs_the_setting() {
    let mut talk = Talk::up();
    talk.hear(&last(1, HEADER)).hear(&last(2, &glucose(1, "142"))).wait(20_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("", 0));
    assert!(talk.faults[0].contains("set enq"));
    let mut talk = Talk::with(&[("enq", "absent")]);
    for minute in 0..3 {
        let header = HEADER.replace("080000", &format!("080{minute}00"));
        let result = glucose(minute + 1, "142");
        talk.hear(&last(1, &header)).hear(&last(2, &result)).store().hear(&last(3, "L|1|N"));
        talk.wait(40_000);
    }
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AAAAAAAAA", 3));
    assert_eq!(talk.faults, [""; 0]);
}

#[test]
fn a_message_that_stops_is_given_up_after_thirty_seconds() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).wait(29_999);
    assert_eq!(talk.faults, [""; 0]);
    talk.wait(1);
    assert!(talk.faults[0].contains("30 s"));
    // It does not go on where it stopped.
    talk.hear(&last(2, &glucose(1, "142"))).wait(20_000);
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("AA", 0));
}

#[test]
fn enq_within_a_transfer_is_answered_only_when_nothing_follows() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(b"\x05");
    assert_eq!(talk.answers(), "AA");
    talk.wait(500);
    assert_eq!(talk.answers(), "A");
    talk.hear(&last(1, HEADER));
    assert_eq!(talk.answers(), "A");
}

#[test]
fn two_enq_at_once_have_one_answer() {
    let mut talk = Talk::up();
    talk.hear(b"\x05\x05").wait(5_000);
    assert_eq!(talk.answers(), "A");
}

#[test]
fn another_analyser_says_so_with_its_message() {
    let mut talk = Talk::up();
    talk.send(&[HEADER, &glucose(1, "142"), "L|1|N"]);
    talk.send(&[&HEADER.replace("SN4711", "SN4712"), &glucose(1, "142"), "L|1|N"]);
    let serials: Vec<_> = talk.identities.iter().map(|said| said.serial.as_deref().unwrap()).collect();
    assert_eq!(serials, ["SN4711", "SN4712"]);
    assert_eq!(talk.said.len(), 2);
}

#[test]
fn values_keep_what_they_are() {
    let mut talk = Talk::up();
    talk.send(&[
        HEADER,
        "O|1|SPECIMEN||^^^GLU|R||||||N||||WHOLE BLOOD",
        "R|1|^^^GLU|7.90|mmol/l||H||P||OPERATOR||20261122075900",
        "R|2|^^^GLU|>600|mg/dL||>||F",
        "R|3|^^^GLU|20|mg/dL||<||F",
        "R|4|^^^GLU|HI|mg/dL||HH||F",
        "R|5|^^^GLU|5.5|g/L||||F",
        "R|6|^^^GLU||mg/dL||||X",
        "R|7|^^^K^1| 4.1|mmol/L||N||C",
        "R|8|^^^GLU|100|mg/dL||||J",
        "L|1",
    ]);
    assert_eq!(
        talk.values(),
        [
            "7.90 mmol/L",
            "GLU=H",
            "positive-infinity",
            "GLU=>600 mg/dL",
            "GLU=>",
            "negative-infinity",
            "GLU=20 mg/dL",
            "GLU=<",
            "GLU=HI mg/dL",
            "GLU=HH",
            "GLU=5.5 g/L",
            "error",
            "GLU= mg/dL",
            "GLU=X",
            "K^1=4.1 mmol/L",
            "K^1=C",
            "100 mg/dL",
            "GLU=J",
        ]
    );
    assert_eq!(talk.said[0].status, Status::Preliminary);
    assert_eq!(talk.said[0].device_time.unwrap().to_string(), "2026-11-22T07:59:00");
    assert_eq!((talk.said[16].status, talk.said[16].quality), (Status::Preliminary, Quality::QUESTIONABLE));
    assert_eq!(talk.said[11].value, Value::Absent(Absent::Error));
    assert_eq!(talk.faults.len(), 2, "{:?}", talk.faults);
}

#[test]
fn controls_and_training_are_tests_and_urine_is_no_blood() {
    const TEST: Quality = Quality::TEST;
    const GOOD: Quality = Quality::GOOD;
    let mut talk = Talk::up();
    talk.send(&[
        HEADER,
        "O|1|||^^^GLU|R||||||Q",
        &glucose(1, "100"),
        "O|2|||^^^GLU|R||||||M",
        &glucose(2, "101"),
        "O|3|||^^^GLU|R||||||N||||Urine",
        &glucose(3, "102"),
        "R|4|^^^Glucose^in urine|7|mg/dL",
        "O|4",
        "R|5|^^^Glucose|121|mg/dL^P||C/M0||202611221135",
        "L|1|N",
    ]);
    talk.send(&[&HEADER.replace("|P|", "|T|"), &glucose(4, "103"), "L|1|N"]);
    assert_eq!(
        talk.values(),
        [
            "100 mg/dL",
            "101 mg/dL",
            "GLU=102 mg/dL",
            "Glucose^in urine=7 mg/dL",
            "121 mg/dL",
            "Glucose=C/M0",
            "103 mg/dL"
        ]
    );
    let qualities: Vec<Quality> = talk.said.iter().map(|said| said.quality).collect();
    assert_eq!(qualities, [TEST, GOOD, GOOD, GOOD, TEST, TEST, TEST]);
    let mut talk = Talk::with(&[("controls", "q-and-m"), ("glucose", "capillary-plasma")]);
    talk.send(&[HEADER, "O|1|||^^^GLU|R||||||M", &glucose(1, "100"), "L|1|N"]);
    assert_eq!(talk.said[0].quality, Quality::TEST);
    assert_eq!(talk.said[0].metric.reference, "MDC_CONC_GLU_CAPILLARY_PLASMA");
    let mut talk = Talk::with(&[("glucose", "by-name")]);
    talk.send(&[HEADER, &glucose(1, "100"), "L|1|N"]);
    assert_eq!(talk.values(), ["GLU=100 mg/dL"]);
}

#[test]
fn a_control_is_one_wherever_the_analyser_says_so() {
    for code in ["q", "N\\Q", "N^Q", "Q\\N"] {
        let mut talk = Talk::up();
        talk.send(&[HEADER, &format!("O|1|||^^^GLU|R||||||{code}"), &glucose(1, "100"), "L|1|N"]);
        assert_eq!(talk.said[0].quality, Quality::TEST, "{code}");
    }
    for processing in ["|q|", "|t|", "|P\\T|", "|D^1|"] {
        let mut talk = Talk::up();
        talk.send(&[&HEADER.replace("|P|", processing), &glucose(1, "100"), "L|1|N"]);
        assert_eq!(talk.said[0].quality, Quality::TEST, "{processing}");
    }
    // Told as a text, it still is a control.
    let mut talk = Talk::with(&[("glucose", "by-name")]);
    talk.send(&[HEADER, "R|1|^^^Glucose|121|mg/dL^P||C/M0||202611221135", "L|1|N"]);
    assert!(talk.said.iter().all(|said| said.quality == Quality::TEST), "{:?}", talk.said);
}

#[test]
fn a_line_end_within_a_remark_does_not_stop_the_message() {
    let mut talk = Talk::up();
    let records = [HEADER, &glucose(1, "142"), "C|1|I|slightly\rhemolysed|I", "C|2|I|x\rH-index 3|I"];
    talk.send(&[records[0], records[1], records[2], records[3], &glucose(2, "98"), "L|1|N"]);
    talk.wait(1_000);
    assert_eq!((talk.answers().as_str(), talk.values().len()), ("AAAAAAA", 2));
    assert_eq!(talk.identities.len(), 1);
}

#[test]
fn behind_the_end_of_a_message_a_result_needs_a_header() {
    // Without ENQ nothing else tells that another analyser took over the line.
    let mut talk = Talk::with(&[("enq", "absent")]);
    for (number, record) in (1..).zip([HEADER, &glucose(1, "142"), "L|1|N"]) {
        talk.hear(&last(number, record)).store();
    }
    talk.hear(&last(7, &glucose(2, "98"))).store().wait(1_000);
    assert_eq!((talk.answers().as_str(), talk.values().len()), ("AAAN", 1));
    talk.hear(&last(1, &HEADER.replace("SN4711", "SN4712"))).hear(&last(2, &glucose(2, "98"))).store();
    assert_eq!((talk.answers().as_str(), talk.values().len()), ("AA", 2));
}

#[test]
fn a_day_is_not_time_enough_to_know_a_result_again() {
    let of_day = |header: &str, order: &str, result: &str| {
        let mut talk = Talk::up();
        talk.hear(b"\x05").hear(&last(1, header)).hear(&last(2, order)).hear(&last(3, result)).store();
        talk.reconnect();
        // Hours later, the same value: another reading.
        talk.send(&[header, order, result, "L|1|N"]);
        talk.said.len()
    };
    let (no_time, day) = ("H|\\^&|||GLX^2.1^SN4711", "H|\\^&|||GLX^2.1^SN4711|||||||P|1|20261122");
    let result = "R|1|^^^GLU|142|mg/dL||N||F||||";
    assert_eq!(of_day(no_time, "O|1", &format!("{result}20261122")), 2);
    assert_eq!(of_day(no_time, "O|1||||R|20261122", result), 2);
    assert_eq!(of_day(day, "O|1", result), 2);
    assert_eq!(of_day(no_time, "O|1", &format!("{result}202611221135")), 1);
    assert_eq!(of_day(no_time, "O|1||||R|20261122113500", result), 1);
    assert_eq!(of_day(HEADER, "O|1", result), 1);
}

#[test]
fn the_header_chooses_the_delimiters_and_escapes_are_read() {
    let mut talk =
        Talk::with(&[("model_component", "2"), ("serial_component", "3"), ("test_component", "0")]);
    talk.send(&["H!@/\\!!!Hall!!!!!!!P", "R!1!/X\\F\\Y//Z!POS\\E\\\\S\\ 1/!!!!!F", "L!1!N"]);
    assert_eq!(talk.values(), ["X!Y//Z=POS\\/ 1"]);
    talk.send(&["H|\\^&|||a^b^c", "R|1|^^^A&|&B|1 &H&2|&|&|||F", "L|1|N"]);
    assert_eq!(talk.values()[1], "A|B=1 2 |");
    assert_eq!(
        (talk.identities[1].model.as_deref(), talk.identities[1].serial.as_deref()),
        (Some("b"), Some("c"))
    );
    // No delimiters, no message.
    talk.answers();
    talk.hear(b"\x05").hear(&last(1, "H||||")).wait(1_000);
    assert_eq!(talk.answers(), "AN");
}

#[test]
fn remarks_are_dropped_unless_they_are_the_analysers_and_wanted() {
    let message = [
        HEADER,
        "P|1",
        "C|1|I|of a patient|G",
        &glucose(1, "142"),
        "C|1|L|of the lab|G",
        "C|2|I|hemolysed|I",
        "L|1",
    ];
    let mut talk = Talk::up();
    talk.send(&message);
    assert_eq!(talk.values(), ["142 mg/dL"]);
    let mut talk = Talk::with(&[("comments", "passed")]);
    talk.send(&message);
    assert_eq!(talk.values(), ["142 mg/dL", "GLU=hemolysed"]);
}

#[test]
fn a_question_for_orders_is_told_once() {
    let mut talk = Talk::up();
    for _ in 0..3 {
        talk.send(&[HEADER, "Q|1|^123||ALL", "L|1|N"]);
    }
    assert_eq!(talk.faults.len(), 1);
    assert_eq!(talk.answers(), "A".repeat(12));
}

/// Stands in every place where a person could be named.
const CANARY: &str = "KANARIENVOGEL";

fn with_canaries() -> Vec<String> {
    let c = CANARY;
    vec![
        format!("H|\\^&||{c}|GLX^2.1^SN4711|{c}||{c}||{c}|{c}|P|1|20261122080000"),
        format!("P|1|{c}|{c}|{c}|{c}^{c}||19500101|F||{c}||{c}|{c}||||||||||||{c}"),
        format!("C|1|P|{c}|G"),
        format!("O|1|{c}^1^2|{c}|^^^GLU|R|20261122||||{c}|N||{c}||BLOOD^{c}|{c}|{c}|{c}|{c}|{c}"),
        format!("C|1|I|{c}|G"),
        format!("R|1|^^^GLU|142|mg/dL|{c}|N|{c}|F||{c}^{c}|20261122075900||{c}"),
        format!("C|1|I|{c}|G"),
        format!("M|1|{c}"),
        format!("Q|1|{c}^{c}"),
        format!("X|1|{c}"),
        format!("{c}"),
        format!("R|2|^^^GLU|142|{c}"),
        "L|1|N".to_owned(),
    ]
}

#[test]
fn nothing_that_names_a_person_leaves_the_decoder() {
    // The unit of the last result is told, so it is left out of this test.
    let records: Vec<String> =
        with_canaries().into_iter().filter(|record| !record.starts_with("R|2")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let mut talk = Talk::up();
    talk.send(&records);
    // And damaged at every place.
    for number in 0..records.len() {
        let mut talk = Talk::with(&[("frame_numbers", "ignored"), ("enq", "absent")]);
        for (place, record) in records.iter().enumerate() {
            let mut bytes = last(1, record);
            if place == number {
                bytes.truncate(bytes.len() / 2);
            }
            talk.hear(&bytes).store();
        }
        assert!(!format!("{:?}{:?}{:?}", talk.said, talk.faults, talk.identities).contains(CANARY));
    }
    let told = format!("{:?}{:?}{:?}", talk.said, talk.faults, talk.identities);
    assert!(!told.contains(CANARY), "{told}");
    assert_eq!(talk.values(), ["142 mg/dL"]);
    // Damage of a field that is told goes no further than its own place.
    let all = with_canaries();
    let mut talk = Talk::up();
    talk.send(&all.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!format!("{:?}", talk.faults).contains(CANARY));
}

#[test]
fn a_long_test_name_does_not_push_the_value_out() {
    let mut talk = Talk::up();
    let name = "é".repeat(200);
    talk.send(&[HEADER, &format!("R|1|^^^{name}|4.1|mmol/L"), "L|1"]);
    assert!(talk.values()[0].ends_with("…=4.1 mmol/L"), "{:?}", talk.values());
    let long = "9".repeat(400);
    talk.send(&[HEADER, &format!("R|2|^^^{name}|{long}|{long}"), "L|1"]);
    assert!(talk.values()[1].ends_with("9…"), "a cut is seen");
}

#[test]
fn a_name_without_end_is_cut() {
    let mut talk = Talk::up();
    let name = "é".repeat(1_500);
    talk.send(&[&format!("H|\\^&|||{name}^2^{name}"), "L|1|N"]);
    let said = &talk.identities[0];
    for words in [&said.model, &said.serial] {
        assert!(words.as_ref().is_some_and(|words| words.len() <= crate::device::observation::MAX_TEXT));
    }
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut talk = Talk::with(&[("frame_numbers", "ignored")]);
    talk.hear(b"\x05").hear(&last(1, HEADER));
    let part = "C".repeat(8_000);
    for _ in 0..20 {
        talk.hear(&frame(2, &part, 0x17));
        talk.hear(&frame(3, &part, 0x17));
    }
    talk.hear(&last(4, "")).hear(&last(5, &glucose(1, "142"))).store();
    assert_eq!(talk.values(), ["142 mg/dL"]);
    assert!(talk.faults.iter().any(|fault| fault.contains("too long")));
    let mut wire = Wire::new(240);
    let mut endless: &[u8] = &[b"\x02".as_slice(), &[b'x'; 10_000]].concat();
    let pieces: Vec<Piece> = std::iter::from_fn(|| wire.take(&mut endless)).collect();
    assert_eq!(pieces, [Piece::Broken(Defect::TooLong)]);
}

/// Frames that carry one record of any length, numbered on from `number`.
fn frames(number: u32, record: &str) -> Vec<Vec<u8>> {
    let whole = format!("{record}\r").into_bytes();
    let parts: Vec<&[u8]> = whole.chunks(8_000).collect();
    let end = |at: usize| if at + 1 == parts.len() { 0x03 } else { 0x17 };
    let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
    (number..)
        .zip(parts.iter().enumerate())
        .map(|(number, (at, part))| frame(number, &text(part), end(at)))
        .collect()
}

#[test]
fn of_a_result_record_that_is_too_long_the_whole_fields_are_told_as_questionable_text() {
    let long = "9".repeat(70_000);
    let digits = "8".repeat(65_536 - "R|1|^^^|1".len());
    for (record, told) in [
        // A flag or a state may stand where it was cut off: 600 can be more than 600, or a control.
        (format!("R|1|^^^GLU|600|mg/dL|{long}|>||F"), "GLU=600 mg/dL"),
        (format!("R|1|^^^GLU|{long}|mg/dL||N||F"), "GLU="),
        // Of 142 the first digit is kept.
        (format!("R|1|^^^{digits}|142|mg/dL||N||F"), "8…="),
        (format!("R|1|{long}"), "?="),
    ] {
        let mut talk = Talk::up();
        talk.hear(b"\x05").hear(&last(1, HEADER));
        let sent = frames(2, &record);
        for frame in &sent {
            talk.hear(frame);
        }
        assert_eq!(talk.answers(), "A".repeat(sent.len() + 1), "the last frame waits for storage");
        talk.store().hear(&last(u32::try_from(sent.len()).unwrap() + 2, "L|1|N"));
        assert_eq!(talk.answers(), "AA");
        let values: Vec<String> =
            talk.values().iter().map(|words| words.replace(&"8".repeat(112), "8")).collect();
        assert_eq!(values, [told]);
        let said = &talk.said[0];
        assert_eq!((said.metric, said.status), (&codes::ASTM_RESULT, Status::Preliminary));
        assert!(said.quality.has(Quality::QUESTIONABLE));
        assert!(talk.faults[0].contains("result record is too long"), "{:?}", talk.faults);
    }
}

#[test]
fn below_an_order_that_is_too_long_nothing_is_sure() {
    for record in ["O|1|", "P|1|"] {
        let mut talk = Talk::up();
        talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, "O|1|||^^^GLU|R||||||N||||Serum"));
        let sent = frames(3, &format!("{record}{}||^^^GLU|R||||||Q||||Urine", "9".repeat(70_000)));
        for frame in &sent {
            talk.hear(frame);
        }
        let number = u32::try_from(sent.len()).unwrap() + 3;
        talk.hear(&last(number, &glucose(1, "142"))).store();
        assert_eq!(talk.values(), ["GLU=142 mg/dL"], "what is told may be a control, and no blood");
        assert!(talk.said[0].quality.has(Quality::QUESTIONABLE), "{record}");
        // The next order says again what it is.
        talk.hear(&last(number + 1, "O|2|||^^^GLU|R||||||N||||Serum"))
            .hear(&last(number + 2, &glucose(2, "143")))
            .store();
        assert_eq!(talk.values()[1], "143 mg/dL");
        assert_eq!(talk.said[1].quality, Quality::GOOD);
    }
}

#[test]
fn a_header_that_is_too_long_is_not_acknowledged() {
    let mut talk = Talk::up();
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&last(2, "L|1|N"));
    let sent = frames(3, &format!("H|\\^&|||GLX^2.1^SN4712|{}", "9".repeat(70_000)));
    for frame in &sent {
        talk.hear(frame);
    }
    talk.wait(1_000);
    assert_eq!(talk.answers(), format!("{}N", "A".repeat(sent.len() + 2)));
    assert_eq!(talk.identities.len(), 1, "nothing is told of who sends it");
}

#[test]
fn where_the_number_says_nothing_a_reading_is_told_twice_rather_than_one_of_two_lost() {
    let told = |frames: &[Vec<u8>], set: &[(&str, &str)]| {
        let mut talk = Talk::with(set);
        if !set.contains(&("enq", "absent")) {
            talk.hear(b"\x05");
        }
        for frame in frames {
            talk.hear(frame).store();
        }
        let answers = talk.answers();
        assert!(answers.chars().all(|answer| answer == 'A') && answers.len() >= frames.len(), "{answers}");
        talk.said.len()
    };
    let ignored = [("frame_numbers", "ignored")];
    let header = last(1, HEADER);
    let untimed = last(1, "R|1|^^^GLU|142|mg/dL");
    let timed = last(1, &glucose(1, "142"));
    // Even under an order that says when: all results below it do.
    let ordered =
        [header.clone(), last(1, "O|1|||^^^GLU|R|20261122075900"), untimed.clone(), untimed.clone()];
    assert_eq!(told(&[header.clone(), untimed.clone(), untimed.clone()], &ignored), 2);
    assert_eq!(told(&ordered, &ignored), 2);
    assert_eq!(told(&[header.clone(), timed.clone(), timed], &ignored), 1);
    let parts = [frame(1, "R|1|^^^GLU|1", 0x17), frame(1, "1", 0x17), frame(1, "1", 0x17), last(1, "|mg/dL")];
    assert_eq!(told(&[std::slice::from_ref(&header), &parts[..]].concat(), &ignored), 1);
    let and_more = frame(1, "R|1|^^^GLU|142|mg/dL\rR|2|^^^GLU|1", 0x17);
    assert_eq!(told(&[header.clone(), and_more.clone(), and_more, last(1, "43|mg/dL")], &ignored), 2);
    // Counted frames tell themselves apart.
    assert_eq!(told(&[header, last(2, "R|1|^^^GLU|142|mg/dL"), last(2, "R|1|^^^GLU|142|mg/dL")], &[]), 1);
    // A message in one frame is frame 1 each time.
    let absent = [("enq", "absent")];
    let message = |header: &str| last(1, &format!("{header}\rR|1|^^^GLU|142|mg/dL\rL|1|N"));
    let nameless = message("H|\\^&|||GLX^2.1^SN4711");
    assert_eq!(told(&[nameless.clone(), nameless], &absent), 2);
    assert_eq!(told(&[message(HEADER), message(HEADER)], &absent), 1);
    // Without a header it can be no other message.
    let rest = last(2, "R|1|^^^GLU|142|mg/dL\rL|1|N");
    assert_eq!(told(&[last(1, HEADER), rest.clone(), rest], &absent), 1);
}

#[test]
fn what_was_not_acknowledged_is_the_same_when_it_comes_again_whatever_its_number() {
    let mut talk = Talk::with(&[("frame_numbers", "ignored")]);
    let untimed = last(1, "R|1|^^^GLU|142|mg/dL");
    talk.hear(b"\x05").hear(&last(1, HEADER)).hear(&untimed).wait(10_000);
    assert_eq!(talk.answers(), "AAN");
    talk.hear(&untimed).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 1));
    talk.hear(&untimed).store();
    assert_eq!((talk.answers().as_str(), talk.said.len()), ("A", 2));
}

fn capture() -> Vec<u8> {
    let mut bytes = b"\x05\x06".to_vec();
    for (number, record) in
        (1..).zip([HEADER, "P|1", "O|1", &glucose(1, "142"), "R|2|^^^K|4.1|mmol/L", "L|1|N"])
    {
        bytes.extend(last(number, record));
        bytes.push(0x06);
    }
    [bytes.clone(), b"\x04".to_vec(), bytes, b"\x04".to_vec()].concat()
}

#[test]
fn a_capture_of_both_sides_is_read() {
    let Decoded { observations, faults, identities } =
        decode_capture(&MODEL, &Settings::defaults(MODEL.settings), &capture());
    assert_eq!((observations.len(), faults.len()), (4, 0), "{faults:?}");
    assert_eq!(identities[&Part::WHOLE].serial.as_deref(), Some("SN4711"));
}

fn events(driver: &mut AstmLis, pieces: &[&[u8]]) -> Vec<Action> {
    let ends = [LinkEvent::Down(LinkError::HungUp)];
    let bytes = pieces.iter().map(|piece| LinkEvent::Bytes(Bytes::copy_from_slice(piece)));
    let mut actions = Vec::new();
    for event in bytes.chain(ends) {
        driver.handle_event(&event, Now::default());
        actions.extend(std::iter::from_fn(|| driver.poll_action()));
    }
    actions.sort_by_key(|action| matches!(action, Action::Report(_)));
    actions
}

proptest! {
    #[test]
    fn any_cut_of_a_capture_reads_the_same(cuts in proptest::collection::vec(0usize..700, 0..12), damage in proptest::collection::vec((0usize..700, any::<u8>()), 0..3)) {
        let mut bytes = capture();
        for (at, byte) in damage {
            let place = at % bytes.len();
            bytes[place] = byte;
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        cuts.sort_unstable();
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            let (piece, later) = rest.split_at(cut - from);
            pieces.push(piece);
            (rest, from) = (later, cut);
        }
        pieces.push(rest);
        let driver = || AstmLis::new(Setup::of(&Settings::defaults(MODEL.settings)));
        prop_assert_eq!(events(&mut driver(), &pieces), events(&mut driver(), &[&bytes]));
    }

    /// The model: an analyser as the standard has it on a bad line. Whatever it counts as acknowledged was durable
    /// when it was, and nothing is told twice.
    #[test]
    fn what_is_acknowledged_is_durable_and_told_once(dice in proptest::collection::vec(0u8..10, 200..400)) {
        let mut talk = Talk::up();
        let mut dice = dice.into_iter();
        let results: Vec<String> = (1..=5).map(|number| glucose(number, &(100 + number).to_string())).collect();
        let records: Vec<&str> = [HEADER].into_iter().chain(results.iter().map(String::as_str)).chain(["L|1|N"]).collect();
        let (mut stored, mut is_done) = (0, false);
        for _ in 0..12 {
            talk.hear(b"\x05");
            let mut is_lost = talk.answers() != "A";
            if is_lost {
                talk.wait(15_000);
                let _ = talk.answers();
                talk.store();
                stored = talk.said.len();
                talk.hear(b"\x04");
                continue;
            }
            for (number, record) in (1..).zip(&records) {
                let whole = last(number, record);
                let mut tries = 0;
                loop {
                    let roll = dice.next().unwrap_or(9);
                    let mut bytes = whole.clone();
                    match roll {
                        0 => bytes[8] ^= 0x41,
                        1 => bytes.truncate(10),
                        2 => bytes = [b"\x02noise".to_vec(), bytes].concat(),
                        3 => { talk.reconnect(); is_lost = true; break }
                        _ => {}
                    }
                    talk.hear(&bytes);
                    if roll != 4 {
                        talk.store();
                        stored = talk.said.len();
                    }
                    talk.wait(14_000);
                    let answers = talk.answers();
                    prop_assert!(answers.len() <= 1, "{answers}");
                    tries += 1;
                    if answers == "A" {
                        let told = records[..number as usize].iter().filter(|record| record.starts_with('R')).count();
                        prop_assert!(stored >= told, "{stored} durable of {told} acknowledged");
                        break;
                    }
                    if tries == 6 || answers.is_empty() {
                        is_lost = true;
                        break;
                    }
                }
                if is_lost {
                    break;
                }
            }
            talk.hear(b"\x04");
            let _ = talk.answers();
            if !is_lost {
                is_done = true;
                break;
            }
        }
        let values = talk.values();
        let once: std::collections::BTreeSet<&String> = values.iter().collect();
        prop_assert_eq!(once.len(), values.len(), "{:?}", values);
        prop_assert!(!is_done || values.len() == results.len(), "acknowledged to its end, and {values:?}");
    }
}
