use super::*;
use crate::device::catalogue::ble_profiles;
use crate::device::observation::{Quality, Samples, Value};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

/// The vectors of a profile: what a value says, or why it is refused.
fn vectors(profile: &BleProfile) -> Vec<Json> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let path = format!("{folder}/{}/vectors.json", profile.name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn uuid(text: &str) -> u16 {
    u16::from_str_radix(text, 16).unwrap()
}

fn of_hex(hex: &Json) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn octets(vector: &Json) -> (u16, Vec<u8>) {
    (uuid(vector["characteristic"].as_str().unwrap()), of_hex(&vector["hex"]))
}

/// What a vector says to a decoder that was told what its `asks` say (characteristic: hex). Before it, what
/// these say.
fn read(profile: &BleProfile, vector: &Json) -> Result<(Vec<Observation>, Vec<Observation>), Fault> {
    read_octets(profile, vector, &octets(vector).1)
}

/// The same with other octets in the place of the vector's. What is not subscribed to is an answer itself.
fn read_octets(
    profile: &BleProfile,
    vector: &Json,
    value: &[u8],
) -> Result<(Vec<Observation>, Vec<Observation>), Fault> {
    let of = |uuid| Characteristic { service: profile.service, uuid };
    let mut decoder = (profile.decoder)();
    let mut asked = Vec::new();
    for (which, answer) in vector["asks"].as_object().into_iter().flatten() {
        // A refused answer is a vector of its own; here it is what stands before the value.
        asked.extend(decoder.handle_read(of(uuid(which)), Some(&of_hex(answer))).unwrap_or_default());
    }
    let to = of(octets(vector).0);
    let mut said = if profile.subscribes.contains(&to) {
        decoder.handle_value(to, value)?
    } else {
        decoder.handle_read(to, Some(value))?
    };
    // Nothing follows that it could wait for.
    said.extend(decoder.handle_end());
    Ok((asked, said))
}

/// An observation as the vectors write it: what is usual is left out.
fn written(observation: &Observation) -> Json {
    let mut out = json!({ "code": observation.metric.code, "unit": observation.unit.ucum });
    match &observation.value {
        Value::Decimal(number) => out["value"] = json!(number.to_string()),
        Value::Absent(why) => out["absent"] = json!(why.code()),
        Value::Bits(bits) => out["bits"] = json!(bits),
        Value::Text(text) => out["text"] = json!(text),
        Value::Alarm(alarm) => {
            out["alarm"] = json!({ "code": alarm.code, "text": alarm.text, "phase": alarm.phase.as_str() });
            if alarm.is_silenced {
                out["alarm"]["silenced"] = json!(true);
            }
        }
        Value::Samples(Samples { period_us, exponent, values }) => {
            out["samples"] = json!({ "period_us": period_us, "exponent": exponent, "values": values });
        }
    }
    if observation.modality != 0 {
        out["modality"] = json!(observation.modality);
    }
    if observation.status.as_str() != "final" {
        out["status"] = json!(observation.status.as_str());
    }
    if observation.quality != Quality::GOOD {
        out["quality"] = json!(observation.quality.names().collect::<Vec<_>>());
    }
    if let Some(record) = observation.record {
        out["record"] = json!(record);
    }
    if let Some(time) = observation.device_time {
        match time.ticks {
            Some(ticks) => out["ticks"] = json!(ticks),
            None => out["time"] = json!(time.to_string()),
        }
        if let Some(zone) = time.zone {
            out["zone"] = json!(zone);
        }
        if let Some(offset) = time.offset {
            out["offset"] = json!(offset);
        }
        if time.is_of_older_timeline {
            out["older"] = json!(true);
        }
    }
    out
}

#[test]
fn every_vector_of_every_profile_reads_as_it_says() {
    for profile in ble_profiles() {
        let vectors = vectors(profile);
        assert!(vectors.len() >= 20, "{} has only {} vectors", profile.name, vectors.len());
        for vector in &vectors {
            let name = vector["name"].as_str().unwrap();
            assert!(vector["source"].is_string() && vector["licence"].is_string(), "{name} has no source");
            match read(profile, vector) {
                Ok((_, said)) => {
                    let said: Vec<Json> = said.iter().map(written).collect();
                    assert_eq!(Json::from(said), vector["observations"], "{} {name}", profile.name);
                }
                Err(fault) => {
                    assert_eq!(
                        vector["fault"],
                        json!(fault.kind.to_string()),
                        "{} {name}: {fault}",
                        profile.name
                    );
                    let says = vector["says"].as_str().unwrap();
                    assert!(fault.detail.contains(says), "{name}: {fault:?} does not name the {says}");
                }
            }
        }
    }
}

/// Three ways to be shorter and valid: a whole RR interval less, a whole record less, and octets that were kept
/// out.
#[test]
fn a_vector_cut_at_any_length_is_refused_or_says_a_prefix_of_the_same() {
    for profile in ble_profiles() {
        for vector in vectors(profile) {
            let (_, value) = octets(&vector);
            let Ok((_, whole)) = read(profile, &vector) else { continue };
            for length in 0..value.len() {
                let Ok((_, shorter)) = read_octets(profile, &vector, &value[..length]) else { continue };
                assert!(whole.starts_with(&shorter), "{vector}: {length} octets say something else");
                let missing = whole.len() - shorter.len();
                let intervals_only = whole[shorter.len()..].iter().all(|o| o.metric.code == 147_240);
                let begun = shorter.iter().rev().find_map(|o| o.record);
                let rest = &whole[shorter.len()..];
                let begins_another = rest.first().is_some_and(|o| o.record.is_some());
                let records_only = begins_another && rest.iter().all(|o| o.record != begun);
                let may_miss = missing == 0 || intervals_only || records_only;
                assert!(may_miss, "{vector}: {length} octets lose a field silently");
                let kept_out = vector["name"].as_str().unwrap().contains("kept-out");
                assert!(missing > 0 || kept_out, "{vector}: {length} octets are not noticed");
            }
        }
    }
}

#[test]
fn an_unknown_characteristic_names_the_known_ones() {
    let fault = decode(0x2A38, &[1]).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unexpected);
    for known in ["2A38", "2A37 (heart-rate)", "2A5E (pulse-oximeter)", "2A5F (pulse-oximeter)"] {
        assert!(fault.detail.contains(known), "{fault}");
    }
}

#[test]
fn a_decoder_refuses_a_characteristic_of_another_service() {
    let other = Characteristic { service: 0x1809, uuid: 0x2A37 };
    for profile in ble_profiles() {
        assert_eq!(
            (profile.decoder)().handle_value(other, &[0, 72]).unwrap_err().kind,
            FaultKind::Unexpected
        );
    }
}

#[test]
fn a_value_longer_than_an_attribute_is_refused() {
    let mut value = vec![0x10, 72];
    value.resize(MAX_VALUE, 1);
    assert_eq!(decode(0x2A37, &value).unwrap().len(), 1 + (MAX_VALUE - 2) / 2);
    value.resize(MAX_VALUE + 2, 1);
    assert_eq!(decode(0x2A37, &value).unwrap_err().kind, FaultKind::Malformed);
}

#[test]
fn the_table_gives_every_name_service_and_characteristic_once() {
    let names: BTreeSet<&str> = ble_profiles().iter().map(|row| row.name).collect();
    assert_eq!(names.len(), ble_profiles().len());
    let all: Vec<Characteristic> =
        ble_profiles().iter().flat_map(|row| row.subscribes.iter().copied()).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    assert!(ble_profiles().iter().all(|row| row.subscribes.iter().all(|c| c.service == row.service)));
}

/// What a decoder gives must be in its row: policy and documentation are made from it.
#[test]
fn a_profile_reports_only_what_its_row_lists_and_the_vectors_show_all_of_it() {
    for profile in ble_profiles() {
        let listed: BTreeSet<u32> = profile.reads.iter().map(|metric| metric.code).collect();
        let vectors = vectors(profile);
        let said = vectors.iter().filter_map(|vector| read(profile, vector).ok());
        let said = said.flat_map(|(asked, said)| asked.into_iter().chain(said));
        assert_eq!(said.map(|observation| observation.metric.code).collect::<BTreeSet<_>>(), listed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_octets_never_panic_and_stay_bounded(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        for profile in ble_profiles() {
            for characteristic in profile.subscribes {
                let mut decoder = (profile.decoder)();
                if let Ok(mut read) = decoder.handle_value(*characteristic, &value) {
                    read.extend(decoder.handle_end());
                    // Nothing, when it is a part of something longer.
                    prop_assert!(read.len() <= value.len());
                }
            }
        }
    }
}
