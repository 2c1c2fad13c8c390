use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{DIMENSIONLESS, EVT_OCCL, PERCENT, PUMP_MODE, SPO2};
use crate::device::observation::{Absent, Alarm, DeviceTime, Kind, Phase, Priority, Quality, Status};

fn spo2(value: Value) -> Observation {
    Observation {
        metric: &SPO2,
        channel: 0,
        value,
        unit: &PERCENT,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn json(observation: &Observation) -> String {
    serde_json::to_string(&Line::from(observation)).unwrap()
}

#[test]
fn a_number_keeps_the_precision_of_the_device() {
    let plain = spo2(Value::Decimal(Decimal::new(970, -1)));
    assert_eq!(
        json(&plain),
        r#"{"code":150456,"ref":"MDC_PULS_OXIM_SAT_O2","value":"97.0","unit":"%","kind":"measurement","status":"final","quality":[]}"#
    );
}

#[test]
fn everything_that_the_device_said_is_there() {
    let time =
        DeviceTime { year: 2026, month: 0, day: 7, hour: 1, minute: 2, second: 3, ..DeviceTime::default() };
    let full = Observation {
        channel: 2,
        modality: 150_588,
        record: None,
        device_time: Some(time),
        status: Status::Preliminary,
        quality: Quality::QUESTIONABLE.with(Quality::STORED),
        ..spo2(Value::Absent(Absent::NotANumber))
    };
    assert_eq!(
        json(&full),
        r#"{"code":150456,"ref":"MDC_PULS_OXIM_SAT_O2","absent":"not-a-number","unit":"%","kind":"measurement","status":"preliminary","quality":["questionable","stored"],"channel":2,"device_time":"2026-00-07T01:02:03","modality":150588}"#
    );
}

#[test]
fn words_bits_and_alarms_have_keys_of_their_own_and_no_unit() {
    let state =
        Observation { metric: &PUMP_MODE, unit: &DIMENSIONLESS, kind: Kind::State, ..spo2(Value::Bits(5)) };
    assert!(json(&state).contains(r#""bits":5,"kind":"state""#));
    let word = Observation { value: Value::Text("mL/h \"x\"".into()), ..state };
    assert!(json(&word).contains(r#""text":"mL/h \"x\"","kind":"state""#));
    let alarm = Alarm {
        code: "AL_OCCLU".into(),
        text: "occlusion".into(),
        phase: Phase::End,
        priority: Priority::High,
        is_silenced: false,
    };
    let alarm = Observation { metric: &EVT_OCCL, kind: Kind::Alarm, ..spo2(Value::Alarm(alarm)) };
    assert!(json(&alarm).contains(
        r#""alarm":{"code":"AL_OCCLU","text":"occlusion","phase":"end","priority":"high"},"kind":"alarm""#
    ));
}

#[test]
fn hex_is_read_as_people_and_tools_write_it() {
    for text in [
        "16480340",
        "16 48 03 40",
        "0x16 0x48 0x03 0x40",
        "16:48:03:40",
        "0x16480340",
        "16-48-03-40",
        "16,48, 03\n40",
    ] {
        assert_eq!(hex_bytes(text).unwrap(), [0x16, 0x48, 0x03, 0x40], "{text:?}");
    }
    assert_eq!(hex_bytes("").unwrap(), Vec::<u8>::new());
    for text in ["1", "16 4", "zz", "é0"] {
        assert!(hex_bytes(text).is_err(), "{text:?}");
    }
    assert!(hex_bytes(&"00".repeat(513)).is_err());
}

#[test]
fn a_characteristic_is_named_in_any_of_its_forms() {
    for text in ["2A37", "2a37", "0x2A37", "00002a37", "00002A37-0000-1000-8000-00805f9b34fb"] {
        assert_eq!(characteristic(text), Ok(0x2A37), "{text}");
    }
    for text in ["", "2A3", "2A377", "zzzz", "12342A37", "00002A37-0000-1000-8000-00805f9b34fc", "+A37"] {
        assert!(characteristic(text).is_err(), "{text}");
    }
}
