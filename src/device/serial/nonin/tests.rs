//! What the driver makes of packets, whole and broken.

use super::*;
use crate::device::Part;
use crate::device::serial::{Decoded, decode_capture};
use bytes::Bytes;
use proptest::prelude::*;

/// The packet in `frame.txt` of edmund-troche/spo2.nonin.
const PUBLISHED: &str = "01810000820180003DBE01800061E201800029AA01800061E201800000810180000081018000008101800061E201800061E2\
                         01800062E30180000081018000008101800000810180003EBF01800062E301800061E201800000810180000081018000\
                         00810180003DBE01800000810180003EBF01800000810180000081";

fn published() -> Vec<u8> {
    let digits: Vec<u32> = PUBLISHED.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// A packet of either format; `parameters` at their places, the rest 0.
fn packet(is_format_7: bool, status: u8, parameters: &[(usize, u8)]) -> Vec<u8> {
    let frame = |at: usize| {
        let status = 0x80 | status | u8::from(at == 0);
        let parameter = parameters.iter().find(|(place, _)| *place == at).map_or(0, |(_, value)| *value);
        let body = if is_format_7 { [status, 0x12, 0x34, parameter] } else { [1, status, 0x12, parameter] };
        let sum = body.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 256;
        [body.as_slice(), &[u8::try_from(sum).unwrap()]].concat()
    };
    (0..25).flat_map(frame).collect()
}

const USUAL: [(usize, u8); 8] = [(0, 0), (1, 61), (2, 97), (3, 41), (9, 97), (10, 98), (14, 62), (15, 98)];

fn decode(bytes: &[u8], every: i64) -> Decoded {
    let mut settings = Settings::defaults(MODEL.settings);
    settings.set_number(&MODEL.settings[0], every).unwrap();
    decode_capture(&MODEL, &settings, bytes)
}

fn said<'a>(decoded: &'a Decoded, metric: &Metric) -> Vec<&'a Observation> {
    decoded.observations.iter().map(|(_, said)| said).filter(|said| said.metric == metric).collect()
}

fn whole(number: i64) -> Value {
    Value::Decimal(Decimal::whole(number))
}

#[test]
fn the_published_packet_is_read() {
    let decoded = decode(&published(), 1);
    assert_eq!(decoded.faults, []);
    assert_eq!(decoded.identities[&Part::WHOLE].firmware.as_deref(), Some("41"));
    assert_eq!(said(&decoded, &mdc::SPO2)[0].value, whole(97));
    assert_eq!(said(&decoded, &mdc::PULSE_OXIM_RATE)[0].value, whole(61));
    assert_eq!(said(&decoded, &own::SPO2_BEAT)[0].value, whole(98));
    assert_eq!(said(&decoded, &own::RATE_EXTENDED)[0].value, whole(62));
}

#[test]
fn both_formats_say_the_same() {
    let strip = |decoded: Decoded| (decoded.observations, decoded.faults, decoded.identities);
    assert_eq!(strip(decode(&packet(false, 2, &USUAL), 1)), strip(decode(&packet(true, 2, &USUAL), 1)));
}

#[test]
fn a_rate_above_127_takes_bits_of_both_its_bytes() {
    let decoded = decode(&packet(false, 0, &[(0, 0xFD), (1, 72), (2, 97)]), 1);
    assert_eq!(said(&decoded, &mdc::PULSE_OXIM_RATE)[0].value, whole(200));
}

#[test]
fn missing_values_and_a_sensor_that_is_off_give_no_number() {
    let missing = decode(
        &packet(true, 0, &[(0, 3), (1, 127), (2, 127), (9, 127), (10, 127), (13, 3), (14, 127), (15, 127)]),
        1,
    );
    assert!(missing.observations.iter().all(|(_, said)| said.value == Value::Absent(Absent::Unknown)));
    let off = decode(&packet(true, status::DISCONNECT, &USUAL), 1);
    let spo2 = said(&off, &mdc::SPO2)[0];
    assert_eq!((&spo2.value, spo2.quality), (&Value::Absent(Absent::Unknown), Quality::SENSOR));
    let Value::Alarm(alarm) = &said(&off, &mdc::EVT_SENSOR_DISCONN)[0].value else { panic!() };
    assert_eq!(alarm.code, "SENSOR_DISCONNECT");
}

#[test]
fn what_the_status_says_against_the_values_becomes_their_quality() {
    for (status, quality, signal) in [
        (0, Quality::GOOD, None),
        (status::GREEN, Quality::GOOD, Some("green")),
        (status::GREEN | status::RED, Quality::GOOD, Some("yellow")),
        (status::RED, Quality::POOR_SIGNAL, Some("red")),
        (status::ARTIFACT, Quality::POOR_SIGNAL, None),
        (status::OUT_OF_TRACK, Quality::POOR_SIGNAL, None),
        (status::SENSOR_ALARM, Quality::SENSOR, None),
    ] {
        let decoded = decode(&packet(false, status, &USUAL), 1);
        assert_eq!(said(&decoded, &mdc::SPO2)[0].quality, quality, "{status:02X}");
        let words = said(&decoded, &own::SIGNAL).first().map(|said| said.value.clone());
        assert_eq!(words, signal.map(|word| Value::Text(word.to_owned())), "{status:02X}");
    }
}

#[test]
fn readings_come_once_a_second_and_alarms_at_once() {
    let usual = packet(false, status::GREEN, &USUAL);
    let artifact = packet(false, status::ARTIFACT, &USUAL);
    let ten = usual.repeat(10);
    assert_eq!(said(&decode(&ten, 1), &mdc::SPO2).len(), 4);
    assert_eq!(said(&decode(&ten, 0), &mdc::SPO2).len(), 10);
    assert_eq!(said(&decode(&ten, 60), &mdc::SPO2).len(), 1);
    // What a packet in between says is not lost.
    let decoded = decode(&[usual.as_slice(), &artifact, &usual, &usual].concat(), 1);
    assert_eq!(said(&decoded, &mdc::SPO2)[1].quality, Quality::POOR_SIGNAL);
    let off = packet(false, status::DISCONNECT, &USUAL);
    let decoded = decode(&[usual.as_slice(), &off, &off, &usual].concat(), 1);
    let values: Vec<_> =
        said(&decoded, &mdc::SPO2).iter().map(|said| (said.value.clone(), said.quality)).collect();
    let absent = (Value::Absent(Absent::Unknown), Quality::SENSOR);
    assert_eq!(values, [(whole(97), Quality::GOOD), absent, (whole(97), Quality::GOOD)]);
    assert_eq!(said(&decoded, &mdc::EVT_SENSOR_DISCONN).len(), 2);
}

#[test]
fn silence_opens_the_line_again() {
    let mut driver = (MODEL.driver)(&Settings::defaults(MODEL.settings));
    let mut now = Now::default();
    driver.handle_event(&LinkEvent::Up, now);
    driver.handle_event(&LinkEvent::Bytes(Bytes::from(published()[40..].to_vec())), now);
    driver.handle_event(&LinkEvent::Bytes(Bytes::from(published())), now);
    let told: Vec<Action> = std::iter::from_fn(|| driver.poll_action()).collect();
    assert!(!told.iter().any(|action| matches!(action, Action::Report(_))), "the tail is no fault: {told:?}");
    now.mono = driver.poll_timeout().unwrap();
    driver.handle_timeout(now);
    let told: Vec<Action> = std::iter::from_fn(|| driver.poll_action()).collect();
    assert_eq!(told.last(), Some(&Action::Command(LinkCommand::HangUp)));
    assert_eq!(driver.poll_timeout(), None);
}

#[test]
fn readings_that_are_wanted_seldom_are_no_silence() {
    let Values::Number { most, .. } = SETTINGS[0].values else { panic!() };
    let every = Duration::from_secs(u64::try_from(most).unwrap());
    assert!(MODEL.quiet >= every + QUIET_MAX, "a healthy oximeter says nothing for {every:?}");
}

proptest! {
    #[test]
    fn any_cut_reads_the_same(cuts in proptest::collection::vec(1usize..90, 0..12), is_format_7 in any::<bool>()) {
        let capture = packet(is_format_7, status::GREEN, &USUAL).repeat(4);
        let mut driver = (MODEL.driver)(&Settings::defaults(MODEL.settings));
        let mut rest = capture.as_slice();
        let mut told = Vec::new();
        for cut in cuts.into_iter().chain([capture.len()]) {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            driver.handle_event(&LinkEvent::Bytes(Bytes::copy_from_slice(now)), Now::default());
            while let Some(action) = driver.poll_action() {
                if let Action::Observe(_, said) = action {
                    told.push(said);
                }
            }
            rest = later;
        }
        let whole: Vec<Observation> = decode(&capture, 1).observations.into_iter().map(|(_, said)| said).collect();
        prop_assert_eq!(told, whole);
    }

    #[test]
    fn one_changed_byte_costs_its_packet_alone(at in 0usize..125, to in any::<u8>(), is_format_7 in any::<bool>()) {
        let good = packet(is_format_7, 0, &USUAL);
        let mut bad = packet(is_format_7, 0, &[(1, 99), (2, 55), (3, 41)]);
        prop_assume!(bad[at] != to);
        bad[at] = to;
        let decoded = decode(&[good.as_slice(), &bad, &good, &good].concat(), 0);
        let values = said(&decoded, &mdc::SPO2).iter().map(|said| said.value.clone()).collect::<Vec<_>>();
        prop_assert_eq!(values, vec![whole(97); 3]);
        prop_assert!(!decoded.faults.is_empty());
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = (decode(&bytes, 0), Packet::read(&bytes), packet::measure(&bytes));
    }
}
