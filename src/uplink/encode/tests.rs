use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as n;
use crate::device::observation::{Observation, Phase, Quality, Status, Value};
use crate::time::{BootId, Mono, Wall};

/// Holds an Observation against the specification where no validator does: what the HL7 PHD and `PoCD`
/// guides and FHIR R4 demand, and our own promises. Gives the first thing that is wrong.
pub(crate) fn check_observation(resource: &Json) -> Result<(), String> {
    let must = |condition: bool, what: &str| if condition { Ok(()) } else { Err(what.to_owned()) };
    let has = |pointer: &str| resource.pointer(pointer).is_some_and(|found| !found.is_null());
    must(resource["resourceType"] == "Observation", "not an Observation")?;
    must(matches!(resource["status"].as_str(), Some("final" | "preliminary")), "status")?;
    must(has("/identifier/0/value"), "identifier")?;
    let codings = resource.pointer("/code/coding").and_then(Json::as_array).ok_or("code")?;
    let gap = codings.iter().any(|coding| coding["system"] == "urn:wardline:code");
    let mdc = codings.iter().filter(|coding| coding["system"] == "urn:iso:std:iso:11073:10101");
    must(gap || mdc.count() == 1, "exactly one MDC coding")?;
    let subject = resource.pointer("/subject/reference").and_then(Json::as_str).unwrap_or_default();
    let subject_of = ["Device/", "Location/"].iter().find_map(|kind| subject.strip_prefix(kind));
    must(subject_of.is_some_and(|name| !name.is_empty()), "subject is a device or a place")?;
    let time =
        resource["effectiveDateTime"].as_str().or_else(|| resource["effectivePeriod"]["start"].as_str());
    let is_unknown = has("/_effectiveDateTime/extension/0/valueCode") && time.is_none();
    must(
        is_unknown || time.is_some_and(|time| time.ends_with('Z') && time.contains('T')),
        "time with a zone",
    )?;
    let values =
        resource.as_object().map_or(0, |all| all.keys().filter(|key| key.starts_with("value")).count());
    let absent = has("/dataAbsentReason");
    must(values + usize::from(absent) == 1, "obs-6: a value or a reason, not both and not neither")?;
    if has("/valueQuantity") {
        must(resource["valueQuantity"]["value"].is_number(), "a number as a number")?;
        must(resource["valueQuantity"]["system"] == "http://unitsofmeasure.org", "UCUM")?;
        must(has("/valueQuantity/code"), "UCUM code")?;
    }
    check_profile(resource, gap)?;
    for component in resource["component"].as_array().into_iter().flatten() {
        let values =
            component.as_object().map_or(0, |all| all.keys().filter(|key| key.starts_with("value")).count());
        must(values == 1, "a component has a value")?;
    }
    let flags = resource.to_string();
    let test = flags.contains(r#""valueCode":"test""#) || flags.contains(r#""valueCode":"demonstration""#);
    must(test == flags.contains("HTEST"), "HTEST exactly for test and demonstration")
}

fn check_profile(resource: &Json, gap: bool) -> Result<(), String> {
    let must = |condition: bool, what: &str| if condition { Ok(()) } else { Err(what.to_owned()) };
    let profile = resource.pointer("/meta/profile/0").and_then(Json::as_str).unwrap_or_default();
    let device = resource.pointer("/device/reference").and_then(Json::as_str).unwrap_or_default();
    let category = |code: &str| {
        resource["category"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|category| category["coding"][0]["code"] == code)
    };
    if profile.contains("/phd/") {
        let gateway = resource["extension"].as_array().into_iter().flatten().any(|extension| {
            extension["url"] == "http://hl7.org/fhir/StructureDefinition/observation-gatewayDevice"
        });
        must(gateway, "PHD: gateway device")?;
        must(category("phd"), "PHD: category")?;
        must(device.starts_with("Device/"), "PHD: device")?;
    }
    if profile.contains("/pocd/") {
        must(device.starts_with("DeviceMetric/"), "PoCD: device metric")?;
    }
    if profile.ends_with("NumericObservation") {
        let number =
            resource.pointer("/valueQuantity").is_some() || resource.pointer("/dataAbsentReason").is_some();
        must(number, "a numeric observation has a number or a reason")?;
    }
    let loinc = resource["code"]["coding"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["system"] == "http://loinc.org");
    must(gap || loinc == category("vital-signs"), "vital-signs exactly where there is a LOINC code")
}

fn encoder(payload: Payload) -> Encoder {
    let topics = Topics::new("north", "icu-2", "gw-7").unwrap();
    Encoder::new(payload, topics, "gw-7", StoreId([0xa5; 16]))
}

fn parcels(payload: Payload, block: Block) -> Vec<Parcel> {
    let mut encoder = encoder(payload);
    let mut plan = encoder.plan(block, Stream::Backlog).unwrap();
    std::iter::from_fn(|| encoder.next_parcel(&mut plan, Now::default())).collect()
}

fn block(observations: Vec<Observation>) -> Block {
    let device = DeviceCard {
        id: "dev-1".to_owned(),
        model: "alaris-asena".to_owned(),
        pseudonym: "0123456789abcdef".to_owned(),
        location: None,
        security: "serial",
    };
    let header = BlockHeader { boot: BootId([3; 16]), run: 9, devices: vec![device] };
    let entry =
        |(seq, observation)| Entry::Observation(Record { device: 0, seq, at: Now::default(), observation });
    let seq = Seq { lane: Lane::Vital, segment: 1, block: 2 };
    Block { seq, header, entries: (1..).zip(observations).map(entry).collect() }
}

fn rate(value: Value) -> Observation {
    Observation {
        metric: &n::FLOW_FLUID_PUMP,
        channel: 0,
        value,
        unit: &n::MILLILITRE_PER_HOUR,
        modality: 0,
        kind: Kind::Setting,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn text(parcel: &Parcel) -> &str {
    std::str::from_utf8(&parcel.payload).unwrap()
}

#[test]
fn a_number_keeps_the_precision_that_the_device_gave() {
    let all = parcels(Payload::Fhir, block(vec![rate(Value::Decimal(Decimal::new(200, -2)))]));
    let expected =
        r#""valueQuantity":{"value":2.00,"unit":"mL/h","system":"http://unitsofmeasure.org","code":"mL/h"}"#;
    assert!(text(&all[0]).contains(expected), "{}", text(&all[0]));
    let all = parcels(Payload::Cbor, block(vec![rate(Value::Decimal(Decimal::new(200, -2)))]));
    // Tag 4, [-2, 200].
    assert!(all[0].payload.windows(5).any(|part| part == [0xc4, 0x82, 0x21, 0x18, 0xc8]));
}

#[test]
fn an_observation_has_the_documented_shape() {
    let all = parcels(Payload::Fhir, block(vec![rate(Value::Decimal(Decimal::new(125, 0)))]));
    let key = "a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5-vital-1-2-0";
    let expected: Json = serde_json::from_str(&format!(
        r#"{{"resourceType":"Bundle","type":"transaction","entry":[{{"resource":{{"resourceType":"Observation",
        "meta":{{"profile":["http://hl7.org/fhir/uv/pocd/StructureDefinition/NumericObservation"]}},
        "extension":[{{"url":"urn:wardline:context","extension":[{{"url":"seq","valueString":"1"}},
          {{"url":"run","valueString":"0000000000000009"}},{{"url":"link","valueCode":"serial"}},
          {{"url":"kind","valueCode":"setting"}},{{"url":"clock","valueCode":"unsynced"}}]}}],
        "identifier":[{{"system":"urn:wardline:record","value":"{key}"}}],"status":"final",
        "code":{{"coding":[{{"system":"urn:iso:std:iso:11073:10101","code":"157784","display":"MDC_FLOW_FLUID_PUMP"}}],
          "text":"infusion rate"}},
        "subject":{{"reference":"Device/0123456789abcdef"}},"effectiveDateTime":"1970-01-01T00:00:00.000Z",
        "valueQuantity":{{"value":125,"unit":"mL/h","system":"http://unitsofmeasure.org","code":"mL/h"}},
        "device":{{"reference":"DeviceMetric/0123456789abcdef-0-157784"}}}},
        "request":{{"method":"POST","url":"Observation","ifNoneExist":"identifier=urn:wardline:record|{key}"}}}}]}}"#
    ))
    .unwrap();
    assert_eq!(serde_json::from_str::<Json>(text(&all[0])).unwrap(), expected);
    assert_eq!((all[0].topic.as_str(), all[0].count), ("d/v1/north/icu-2/gw-7/dev-1/obs", 1));
    assert_eq!(all[0].keys, (key.to_owned(), key.to_owned()));
}

#[test]
fn parcels_stay_near_their_size_and_name_their_last() {
    for payload in [Payload::Fhir, Payload::Cbor] {
        let many = vec![rate(Value::Decimal(Decimal::new(12_345, -2))); 4_000];
        let all = parcels(payload, block(many));
        assert!(all.len() > 1);
        assert!(all.iter().all(|parcel| parcel.payload.len() <= 64 * 1024));
        assert_eq!(all.iter().map(|parcel| parcel.count).sum::<u32>(), 4_000);
        let (last, rest) = all.split_last().unwrap();
        assert!(last.last && rest.iter().all(|parcel| !parcel.last));
        assert!(rest.iter().all(|parcel| parcel.payload.len() > 55 * 1024));
    }
}

#[test]
fn a_value_that_its_device_calls_invalid_is_no_value_but_is_not_lost() {
    let observation = Observation { quality: Quality::INVALID, ..rate(Value::Decimal(Decimal::new(12, 0))) };
    let all = parcels(Payload::Fhir, block(vec![observation]));
    let text = text(&all[0]);
    assert!(!text.contains("valueQuantity") && text.contains(r#""code":"error""#));
    assert!(text.contains(r#"{"url":"reported","valueString":"12"}"#));
}

#[test]
fn a_record_is_historical_by_its_stream_or_where_there_is_one_by_its_age() {
    let of = |stream: Stream, mono: u64, wall: i64| {
        let mut encoder = encoder(Payload::Cbor);
        let mut one = block(vec![rate(Value::Decimal(Decimal::new(1, 0)))]);
        let Entry::Observation(record) = &mut one.entries[0] else { unreachable!() };
        record.at =
            Now { mono: Mono::from_nanos(1_000_000_000_000), wall: Wall::from_millis(0), ..Now::default() };
        let mut plan = encoder.plan(one, stream).unwrap();
        let now = Now {
            mono: Mono::from_nanos(1_000_000_000_000 + mono * 1_000_000_000),
            wall: Wall::from_millis(wall * 1_000),
            ..Now::default()
        };
        encoder.next_parcel(&mut plan, now).unwrap().age
    };
    for stream in [Stream::Alarm, Stream::Bulk] {
        assert_eq!(of(stream, 1, 1), Age::Live);
        assert_eq!(of(stream, 11, 11), Age::Historical);
        // Read before a reboot: time since boot happens to fit.
        assert_eq!(of(stream, 1, 3_600), Age::Historical);
    }
    // What a consumer is to put in order must not depend on the moment at which it is sent.
    for seconds in [1, 3_600] {
        assert_eq!(of(Stream::Live, seconds, 1), Age::Live);
        assert_eq!(of(Stream::Backlog, seconds, 1), Age::Historical);
    }
}

#[test]
fn a_record_without_its_device_and_a_device_without_an_id_are_refused() {
    let mut nobody = block(vec![rate(Value::Bits(1))]);
    nobody.header.devices.clear();
    let error = encoder(Payload::Fhir).plan(nobody, Stream::Backlog).err().unwrap();
    assert_eq!(error, EncodeError::Device { index: 0, device: 0 });
    let mut nameless = block(vec![rate(Value::Bits(1))]);
    nameless.header.devices[0].id = "Bed 7/Smith".to_owned();
    assert!(matches!(encoder(Payload::Fhir).plan(nameless, Stream::Backlog), Err(EncodeError::Topic(_))));
}

#[test]
fn our_own_check_catches_what_is_wrong() {
    let good: Json = {
        let observation =
            Observation { kind: Kind::Measurement, ..rate(Value::Decimal(Decimal::new(97, 0))) };
        let observation = Observation { metric: &n::SPO2, unit: &n::PERCENT, ..observation };
        let mut one = block(vec![observation]);
        one.header.devices[0].security = "bonded";
        let all = parcels(Payload::Fhir, one);
        serde_json::from_str::<Json>(text(&all[0])).unwrap()["entry"][0]["resource"].clone()
    };
    assert_eq!(check_observation(&good), Ok(()));
    let broken = |pointer: &str, value: Json| {
        let mut bad = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = bad.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(name)
        } else {
            parent.insert(name.to_owned(), value)
        };
        check_observation(&bad).err()
    };
    for (pointer, value) in [
        ("/status", Json::from("finalised")),
        ("/identifier", Json::Null),
        ("/code", Json::Null),
        ("/subject/reference", Json::from("Patient/1")),
        ("/effectiveDateTime", Json::from("2026-11-21T23:40:00")),
        ("/dataAbsentReason", serde_json::json!({"coding": []})),
        ("/valueQuantity", Json::Null),
        ("/valueString", Json::from("97")),
        ("/valueQuantity/value", Json::from("97")),
        ("/valueQuantity/system", Json::from("urn:x")),
        ("/category", Json::Null),
        ("/device/reference", Json::from("DeviceMetric/1")),
        ("/extension", Json::Null),
        (
            "/component",
            serde_json::json!([{"code": {}, "valueString": "a", "dataAbsentReason": {}, "valueCode": "b"}]),
        ),
    ] {
        assert!(broken(pointer, value.clone()).is_some(), "{pointer} {value}");
    }
}

#[cfg(feature = "lab")]
mod with_samples {
    use super::*;
    use crate::lab::payload::{read_cbor, read_fhir};
    use crate::lab::samples::sample_block;

    /// Without the events, which have one format only.
    fn observed(payload: Payload) -> Vec<Parcel> {
        let all = parcels(payload, sample_block()).into_iter();
        all.filter(|parcel| parcel.format != Format::Ocsf).collect()
    }

    fn records() -> usize {
        let entries = sample_block().entries;
        entries.iter().filter(|entry| !matches!(entry, Entry::Event(_))).count()
    }

    #[test]
    fn every_sample_passes_our_own_check() {
        let mut count = 0;
        for parcel in observed(Payload::Fhir) {
            let bundle: Json = serde_json::from_str(text(&parcel)).unwrap();
            for entry in bundle["entry"].as_array().unwrap() {
                let resource = &entry["resource"];
                assert_eq!(check_observation(resource), Ok(()), "{resource:#}");
                count += 1;
            }
        }
        assert_eq!(count, records());
    }

    #[test]
    fn both_formats_say_the_same_to_a_reader_of_their_own() {
        let fhir: Vec<_> =
            observed(Payload::Fhir).iter().flat_map(|p| read_fhir(&p.payload).unwrap()).collect();
        let cbor: Vec<_> =
            observed(Payload::Cbor).iter().flat_map(|p| read_cbor(&p.payload).unwrap()).collect();
        assert_eq!(fhir.len(), records());
        for (a, b) in fhir.iter().zip(&cbor) {
            assert_eq!((&a.key, a.seq, &a.run, a.code), (&b.key, b.seq, &b.run, b.code));
        }
        let value = |all: &[crate::lab::payload::Reading], seq| {
            all.iter().find(|reading| reading.seq == Some(seq)).unwrap().value.clone()
        };
        assert_eq!((value(&fhir, 13), value(&cbor, 13)), ("2.0".to_owned(), "2.00".to_owned()));
        assert_eq!(
            (value(&fhir, 14), value(&cbor, 14)),
            ("not-a-number".to_owned(), "not-a-number".to_owned())
        );
        assert_eq!((value(&fhir, 26), value(&cbor, 26)), ("AL_OCCLU".to_owned(), "AL_OCCLU".to_owned()));
        let waves = |all: &[crate::lab::payload::Reading]| {
            all.iter().filter(|reading| reading.value == "-12 0 E 340").count()
        };
        assert_eq!((waves(&fhir), waves(&cbor)), (1, 1));
    }

    proptest! {
        #[test]
        fn whatever_a_device_says_becomes_a_readable_payload(words in any::<String>(), mantissa: i64, exponent: i8, bits: u32, quality: u16) {
            let observations = vec![
                rate(Value::Text(words)),
                Observation { quality: Quality::from_bits(quality), ..rate(Value::Decimal(Decimal::new(mantissa, exponent))) },
                rate(Value::Bits(bits)),
            ];
            for parcel in parcels(Payload::Fhir, block(observations.clone())) {
                prop_assert_eq!(read_fhir(&parcel.payload).unwrap().len(), 3);
            }
            for parcel in parcels(Payload::Cbor, block(observations)) {
                prop_assert_eq!(read_cbor(&parcel.payload).unwrap().len(), 3);
            }
        }
    }
}

/// A device that the site describes, from its lines to what leaves the gateway.
#[test]
fn every_record_of_a_device_that_the_site_describes_says_so() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let loaded = crate::config::load(
        &folder,
        &crate::config::Environment::default(),
        &crate::config::Catalogue::shipped(),
    );
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    let name = "site:acme-warmer";
    let device = loaded.config.devices.into_iter().find(|device| device.rule.card.model == name).unwrap();
    let crate::config::Connection::Serial { model, settings, .. } = device.connection else { panic!() };
    let line = |text: &str| format!("{text}{:02X}\r\n", text.bytes().fold(0, |sum, byte| sum ^ byte));
    let lines = line("ID,AW300417,") + &line("ST,371,38.0C,RUN,");
    let said = crate::device::serial::decode_capture(model, &settings, lines.as_bytes());
    assert_eq!((said.observations.len(), said.faults.as_slice()), (3, [].as_slice()));
    let mut block = block(said.observations.into_iter().map(|(_, said)| said).collect());
    block.header.devices = vec![DeviceCard { pseudonym: "0123456789abcdef".to_owned(), ..device.rule.card }];
    let fhir: Vec<String> =
        parcels(Payload::Fhir, block.clone()).iter().map(|parcel| text(parcel).to_owned()).collect();
    let fhir = fhir.concat();
    assert_eq!(fhir.matches("\"resourceType\":\"Observation\"").count(), 3, "{fhir}");
    assert_eq!(fhir.matches(r#"{"url":"quality","valueCode":"site-configured"}"#).count(), 3, "{fhir}");
    let cbor: Vec<Parcel> = parcels(Payload::Cbor, block);
    let has =
        |part: &[u8]| cbor.iter().flat_map(|p| p.payload.windows(part.len())).filter(|w| *w == part).count();
    assert_eq!(has(name.as_bytes()), cbor.len(), "each parcel names its driver");
    // The flags of each record and behind them no modality.
    let [high, low] = Quality::SITE_CONFIGURED.bits().to_be_bytes();
    assert_eq!(has(&[0x19, high, low, 0]), 3);
}

#[test]
fn an_event_is_a_finding_on_the_topic_of_the_gateway_whatever_the_payload() {
    use crate::policy::event::{Detection, Event};
    for payload in [Payload::Fhir, Payload::Cbor] {
        let mut block = block(vec![rate(Value::Decimal(Decimal::new(2, 0)))]);
        for phase in [Phase::Start, Phase::End] {
            let device = "pump-2".to_owned();
            let detail = "its serial is another one".to_owned();
            let at = Now { wall: Wall::from_millis(1_795_304_400_123), ..Now::default() };
            let detection = Detection::Identity;
            block.entries.push(Entry::Event(Event { detection, phase, device, detail, at }));
        }
        let all = parcels(payload, block);
        let [events, obs] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((obs.count, obs.last, events.count), (1, true, 2));
        assert_eq!(events.topic, "e/v1/north/icu-2/gw-7/security");
        assert_eq!(events.format, Format::Ocsf);
        let json: serde_json::Value = serde_json::from_slice(&events.payload).unwrap();
        assert_eq!(json[0]["metadata"]["uid"], events.keys.0.as_str());
        assert_eq!(json[1]["metadata"]["uid"], events.keys.1.as_str());
        assert_eq!((&json[0]["type_uid"], &json[1]["type_uid"]), (&200_401.into(), &200_403.into()));
        assert_eq!(json[0]["time"], 1_795_304_400_123i64);
        assert_eq!(json[0]["resources"][1]["uid"], "pump-2");
    }
}

/// A stored record stands at its own time, names its record for de-duplication, and tells when it came.
#[test]
fn a_stored_record_is_placed_by_its_devices_clock_and_named_by_its_device() {
    use crate::device::observation::DeviceTime;
    let device_time = DeviceTime {
        year: 2026,
        month: 11,
        day: 23,
        hour: 11,
        ahead: Some(360_000),
        ..DeviceTime::default()
    };
    let quality = Quality::STORED;
    let stored = |record, device_time| Observation {
        record,
        device_time,
        quality,
        ..rate(Value::Decimal(Decimal::new(2, 0)))
    };
    let unplaced = DeviceTime { ahead: None, ..device_time };
    let mut block = block(vec![
        stored(Some(7), Some(device_time)),
        stored(Some(8), Some(unplaced)),
        stored(Some(9), None),
    ]);
    for entry in &mut block.entries {
        let Entry::Observation(record) = entry else { unreachable!() };
        record.at.wall = Wall::from_millis(1_795_435_200_000);
    }
    let all = parcels(Payload::Fhir, block);
    let json: Json = serde_json::from_slice(&all[0].payload).unwrap();
    let of = |place: usize| {
        (&json["entry"][place]["resource"], json["entry"][place]["request"]["ifNoneExist"].as_str().unwrap())
    };
    let (placed, once) = of(0);
    assert_eq!(placed["effectiveDateTime"], "2026-11-23T10:54:00.000Z");
    assert_eq!(once, "identifier=urn:wardline:device-record|0123456789abcdef-157784-7-2026-11-23T11:00:00-2");
    assert_eq!(placed["identifier"][1]["value"], once.split_once('|').unwrap().1);
    assert!(text(&all[0]).contains(r#"{"url":"received","valueInstant":"2026-11-23T12:00:00.000Z"}"#));
    let (unknown, once) = of(1);
    assert!(unknown["effectiveDateTime"].is_null() && unknown["_effectiveDateTime"].is_object());
    assert!(once.starts_with("identifier=urn:wardline:device-record|"), "{once}");
    // A number alone starts again when the device is reset: it names nothing.
    assert!(of(2).1.starts_with("identifier=urn:wardline:record|"));
}

/// What it says of itself stays its own.
#[test]
fn what_a_sensor_says_of_its_place_has_the_place_as_its_subject() {
    const PLACE: &str = "fedcba98";
    let of = |metric: &'static n::Metric| Observation {
        metric,
        kind: Kind::Measurement,
        unit: &n::DEGREE_CELSIUS,
        ..rate(Value::Decimal(Decimal::new(421, -2)))
    };
    let mut block = block(vec![of(&n::TEMP_ROOM), of(&n::ATTR_VAL_BATT_CHARGE)]);
    let card = &mut block.header.devices[0];
    card.security = "open";
    card.location = Some(PLACE.to_owned());
    let all = parcels(Payload::Fhir, block.clone());
    let json: Json = serde_json::from_slice(&all[0].payload).unwrap();
    let [air, own] = [0, 1].map(|place: usize| &json["entry"][place]["resource"]);
    assert_eq!(air["subject"]["reference"], "Location/fedcba98");
    assert_eq!(air["device"]["reference"], "Device/0123456789abcdef");
    assert!(air["meta"].is_null() && own["meta"]["profile"].is_array(), "{json}");
    assert_eq!(own["subject"]["reference"], "Device/0123456789abcdef");
    let has = |block: &Block| {
        let all = parcels(Payload::Cbor, block.clone());
        all.iter().any(|parcel| parcel.payload.windows(PLACE.len()).any(|part| part == PLACE.as_bytes()))
    };
    assert!(has(&block));
    block.header.devices[0].location = None;
    assert!(!has(&block));
    let json: Json = serde_json::from_slice(&parcels(Payload::Fhir, block)[0].payload).unwrap();
    assert_eq!(json["entry"][0]["resource"]["subject"]["reference"], "Device/0123456789abcdef");
}
