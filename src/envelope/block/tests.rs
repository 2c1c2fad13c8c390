//! The format: what goes in comes out, what is not a block is refused.

use proptest::prelude::*;

use super::*;
use crate::device::decimal::Decimal;
use crate::device::nomenclature::{METRICS, UNITS};
use crate::device::observation::{
    Absent, Alarm, DeviceTime, Kind, Lane, Observation, Phase, Priority, Quality, Samples, Status, Value,
};
use crate::envelope::record::Record;
use crate::policy::event::Detection;

fn text() -> impl Strategy<Value = String> {
    "[a-zäöü☃ ]{0,60}"
}

fn phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![Phase::Start, Phase::Update, Phase::End])
}

fn value() -> impl Strategy<Value = Value> {
    let absent = prop::sample::select(vec![
        Absent::NotANumber,
        Absent::PositiveInfinity,
        Absent::NegativeInfinity,
        Absent::Error,
        Absent::Unknown,
    ]);
    let priority =
        prop::sample::select(vec![Priority::Unstated, Priority::Low, Priority::Medium, Priority::High]);
    prop_oneof![
        (any::<i64>(), any::<i8>()).prop_map(|(m, e)| Value::Decimal(Decimal::new(m, e))),
        absent.prop_map(Value::Absent),
        text().prop_map(Value::Text),
        any::<u32>().prop_map(Value::Bits),
        (any::<u32>(), any::<i8>(), prop::collection::vec(any::<i16>(), 0..40)).prop_map(
            |(period_us, exponent, values)| Value::Samples(Samples { period_us, exponent, values })
        ),
        (text(), text(), phase(), priority, any::<bool>()).prop_map(
            |(code, text, phase, priority, is_silenced)| Value::Alarm(Alarm {
                code,
                text,
                phase,
                priority,
                is_silenced
            })
        ),
    ]
}

fn known_of_clock() -> impl Strategy<Value = DeviceTime> {
    let offsets = (prop::option::of(any::<i16>()), prop::option::of(any::<i8>()));
    let counts = (any::<u16>(), prop::option::of(any::<u64>()), prop::option::of(any::<i64>()));
    (offsets, counts, any::<bool>()).prop_map(
        |((offset, zone), (millis, ticks, ahead), is_of_older_timeline)| DeviceTime {
            millis,
            ticks,
            offset,
            zone,
            ahead,
            is_of_older_timeline,
            ..DeviceTime::default()
        },
    )
}

fn observation() -> impl Strategy<Value = Observation> {
    let device_time = (any::<u16>(), any::<[u8; 5]>(), known_of_clock()).prop_map(
        |(year, [month, day, hour, minute, second], known)| DeviceTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            ..known
        },
    );
    let kind =
        prop::sample::select(vec![Kind::Measurement, Kind::Setting, Kind::State, Kind::Alarm, Kind::Wave]);
    let status = prop::sample::select(vec![Status::Final, Status::Preliminary]);
    (
        (prop::sample::select(METRICS), prop::sample::select(UNITS), value(), kind, status),
        (
            any::<u8>(),
            any::<u32>(),
            any::<u16>(),
            prop::option::of(device_time),
            prop::option::of(any::<u32>()),
        ),
    )
        .prop_map(
            |((metric, unit, value, kind, status), (channel, modality, quality, device_time, record))| {
                let quality = Quality::from_bits(quality);
                Observation {
                    metric,
                    channel,
                    value,
                    unit,
                    modality,
                    kind,
                    record,
                    device_time,
                    status,
                    quality,
                }
            },
        )
}

fn stamp() -> impl Strategy<Value = Now> {
    (any::<u64>(), any::<i64>(), any::<bool>(), any::<u32>()).prop_map(
        |(mono, wall, synced, max_error_us)| Now {
            mono: Mono::from_nanos(mono),
            wall: Wall::from_millis(wall),
            sync: if synced { ClockSync::Synced } else { ClockSync::Unsynced },
            max_error_us,
        },
    )
}

fn entry() -> impl Strategy<Value = Entry> {
    let lane = prop::sample::select(Lane::ALL.to_vec());
    prop_oneof![
        4 => (0u16..3, any::<u64>(), stamp(), observation()).prop_map(|(device, seq, at, observation)| {
            Entry::Observation(Record { device, seq, at, observation })
        }),
        1 => (lane, any::<u64>(), any::<[i64; 2]>(), text()).prop_map(|(lane, count, [first, last], reason)| {
            let (first, last) = (Wall::from_millis(first), Wall::from_millis(last));
            Entry::Gap(Gap { lane, count, first, last, reason })
        }),
        1 => (prop::sample::select(Detection::ALL), phase(), text(), text(), stamp()).prop_map(
            |(detection, phase, device, detail, at)| {
                Entry::Event(Event { detection, phase, device, detail, at })
            }
        ),
    ]
}

fn card(place: usize) -> DeviceCard {
    let pseudonym = match place {
        0 => "00112233445566778899aabbccddeeff".to_owned(),
        1 => String::new(),
        _ => "00112233445566778899AABBCCDDEEFF".to_owned(),
    };
    let security = SECURITY[place % 3];
    let location = match place {
        0 => None,
        1 => Some("ffeeddccbbaa99887766554433221100".to_owned()),
        _ => Some("fridge".to_owned()),
    };
    DeviceCard { id: format!("bed-{place}"), model: "alaris-asena".to_owned(), pseudonym, location, security }
}

fn header() -> BlockHeader {
    BlockHeader { boot: BootId([9; 16]), run: 0x0102_0304_0506_0708, devices: (0..3).map(card).collect() }
}

fn build(builder: &mut BlockBuilder, entries: &[Entry]) -> PlainBlock {
    for entry in entries {
        match entry {
            Entry::Observation(record) => builder.push_record(record).unwrap(),
            Entry::Gap(gap) => builder.push_gap(gap).unwrap(),
            Entry::Event(event) => builder.push_event(event).unwrap(),
        }
    }
    builder.finish()
}

/// With each record's device as it stands in `header`, by the card's id.
fn named(header: &BlockHeader, entries: Vec<Entry>) -> Vec<(Option<String>, Entry)> {
    let mut out = Vec::new();
    for mut entry in entries {
        let mut id = None;
        if let Entry::Observation(record) = &mut entry {
            id = Some(header.devices[usize::from(record.device)].id.clone());
            record.device = 0;
        }
        out.push((id, entry));
    }
    out
}

/// Blocks of before there were places, byte by byte.
#[test]
fn a_card_without_a_place_is_written_as_ever() {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let pseudonym = "00112233445566778899aabbccddeeff";
    let bytes = [&text("bed-0")[..], &text("alaris-asena"), &[1], &unhex(pseudonym).unwrap(), &[0]].concat();
    assert_eq!(card_bytes(&card(0)).unwrap(), bytes);
    let place = "ffeeddccbbaa99887766554433221100";
    let card = DeviceCard { location: Some(place.to_owned()), ..card(0) };
    let with = [&bytes[..bytes.len() - 1], &[0x10, 1], &unhex(place).unwrap()].concat();
    assert_eq!(card_bytes(&card).unwrap(), with);
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(entries in prop::collection::vec(entry(), 0..40)) {
        let mut builder = BlockBuilder::new(&header());
        for _ in 0..2 {
            let (read_header, read_entries) = build(&mut builder, &entries).read().unwrap();
            prop_assert_eq!((read_header.boot, read_header.run), (header().boot, header().run));
            for card in &read_header.devices {
                prop_assert!(header().devices.contains(card));
            }
            prop_assert_eq!(named(&read_header, read_entries), named(&header(), entries.clone()));
        }
    }

    #[test]
    fn what_was_read_gives_the_same_bytes_again(entries in prop::collection::vec(entry(), 0..20)) {
        let block = build(&mut BlockBuilder::new(&header()), &entries);
        let (read_header, read_entries) = block.read().unwrap();
        let again = build(&mut BlockBuilder::new(&read_header), &read_entries);
        prop_assert_eq!(block.bytes(), again.bytes());
    }

    #[test]
    fn a_changed_byte_is_refused_or_gives_the_same_bytes_again(
        entries in prop::collection::vec(entry(), 1..6), place: prop::sample::Index, byte: u8
    ) {
        let mut bytes = build(&mut BlockBuilder::new(&header()), &entries).bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok((read_header, read_entries)) = read(&bytes) {
            let again = build(&mut BlockBuilder::new(&read_header), &read_entries);
            prop_assert_eq!(bytes, again.bytes().to_vec());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = read(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = VERSION;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn a_block_that_is_cut_anywhere_is_an_error(entries in prop::collection::vec(entry(), 1..6)) {
        let block = build(&mut BlockBuilder::new(&header()), &entries);
        for length in 0..block.bytes().len() {
            prop_assert!(read(&block.bytes()[..length]).is_err(), "cut at {}", length);
        }
    }
}

fn longest() -> Record {
    let alarm = Alarm {
        code: "c".repeat(300),
        text: "t".repeat(300),
        phase: Phase::End,
        priority: Priority::High,
        is_silenced: false,
    };
    Record {
        device: 0,
        seq: u64::MAX,
        at: Now {
            mono: Mono::from_nanos(u64::MAX / 2),
            wall: Wall::from_millis(i64::MIN),
            sync: ClockSync::Synced,
            max_error_us: u32::MAX,
        },
        observation: Observation {
            metric: METRICS.iter().max_by_key(|row| row.code).unwrap(),
            channel: 255,
            value: Value::Alarm(alarm),
            unit: UNITS[1],
            modality: u32::MAX,
            kind: Kind::Alarm,
            record: None,
            device_time: Some(DeviceTime {
                year: 1,
                month: 2,
                day: 3,
                hour: 4,
                minute: 5,
                second: 6,
                ..DeviceTime::default()
            }),
            status: Status::Preliminary,
            quality: Quality::from_bits(u16::MAX),
        },
    }
}

#[test]
fn a_full_block_of_the_longest_records_stays_within_its_size_and_reads_back() {
    let mut builder = BlockBuilder::new(&header());
    let mut record = longest();
    record.at = Now::default();
    builder.push_record(&record).unwrap();
    let before = builder.records.len();
    builder.push_record(&longest()).unwrap();
    assert!(builder.records.len() - before <= MAX_RECORD);
    while !builder.is_full() {
        builder.push_record(&longest()).unwrap();
    }
    assert_eq!(builder.push_record(&longest()), Err(NotTaken::Full));
    let count = builder.count();
    let block = builder.finish();
    assert!(block.bytes().len() <= MAX_BYTES && count > MAX_BYTES / MAX_RECORD - 4);
    assert_eq!(block.read().unwrap().1.len(), count);
}

#[test]
fn a_block_ends_at_its_number_of_records() {
    let mut builder = BlockBuilder::new(&header());
    let gap = Gap {
        lane: Lane::Bulk,
        count: 1,
        first: Wall::from_millis(0),
        last: Wall::from_millis(0),
        reason: String::new(),
    };
    for _ in 0..MAX_RECORDS {
        builder.push_gap(&gap).unwrap();
    }
    assert_eq!(builder.push_gap(&gap), Err(NotTaken::Full));
    assert_eq!(builder.finish().read().unwrap().1.len(), MAX_RECORDS);
    assert_eq!(builder.count(), 0);
}

#[test]
fn the_builders_memory_is_kept_and_wiped() {
    let mut builder = BlockBuilder::new(&header());
    for _ in 0..50 {
        builder.push_record(&longest()).unwrap();
    }
    let (capacity, place) = (builder.records.capacity(), builder.records.as_ptr());
    drop(builder.finish());
    for _ in 0..50 {
        builder.push_record(&longest()).unwrap();
    }
    assert_eq!((builder.records.capacity(), builder.records.as_ptr()), (capacity, place));
}

#[test]
fn a_device_without_a_usable_card_is_not_taken() {
    let mut header = header();
    header.devices[1].security = "rumoured";
    let mut builder = BlockBuilder::new(&header);
    let mut record = longest();
    for device in [1, 3] {
        record.device = device;
        assert_eq!(builder.push_record(&record), Err(NotTaken::UnknownDevice(device)));
    }
    assert_eq!(builder.count(), 0);
}

#[test]
fn an_unknown_code_or_version_is_named() {
    let block = build(&mut BlockBuilder::new(&header()), &golden_entries());
    let mut bytes = block.bytes().to_vec();
    bytes[0] = 2;
    assert_eq!(read(&bytes), Err(FormatError::Version(2)));
    let codes = [(150_456u64, "metric"), (262_688, "unit")];
    for (code, field) in codes {
        let mut wanted = Vec::new();
        wanted.put_varint(code);
        let mut bytes = block.bytes().to_vec();
        let place = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
        bytes[place] ^= 1;
        assert_eq!(read(&bytes), Err(FormatError::Field(field)));
    }
}

fn golden_entries() -> Vec<Entry> {
    let at = Now {
        mono: Mono::from_nanos(1_000_000_000),
        wall: Wall::from_millis(1_795_304_400_250),
        sync: ClockSync::Synced,
        max_error_us: 1_500,
    };
    let plain = Observation {
        metric: &crate::device::nomenclature::SPO2,
        channel: 0,
        value: Value::Decimal(Decimal::new(970, -1)),
        unit: &crate::device::nomenclature::PERCENT,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    };
    let later = Now { mono: Mono::from_nanos(1_250_000_000), max_error_us: 1_501, ..at };
    let mut alarm = longest().observation;
    alarm.value = Value::Alarm(Alarm {
        code: "AL_OCCLU".to_owned(),
        text: "Verschluss ☃".to_owned(),
        phase: Phase::Start,
        priority: Priority::High,
        is_silenced: false,
    });
    alarm.metric = &crate::device::nomenclature::EVT_OCCL;
    let of = |device, seq, at, observation| Entry::Observation(Record { device, seq, at, observation });
    vec![
        of(1, 7, at, plain.clone()),
        of(0, 1, later, Observation { value: Value::Absent(Absent::NotANumber), ..plain.clone() }),
        of(1, 8, later, Observation { value: Value::Text("Propofol 1%".to_owned()), ..plain.clone() }),
        of(2, 300, later, Observation { value: Value::Bits(0x8000_0001), ..plain }),
        of(0, 2, later, alarm),
        Entry::Gap(Gap {
            lane: Lane::Bulk,
            count: 12_345,
            first: Wall::from_millis(-1),
            last: Wall::from_millis(1_795_304_400_250),
            reason: "the disk was full".to_owned(),
        }),
    ]
}

/// The bytes of version 1 never change: a spool may be read years later.
#[test]
fn the_golden_block_of_version_1_is_written_and_read_to_the_byte() {
    let golden = include_bytes!("../../../tests/golden/block-v1.bin");
    // There were no places then.
    let mut header = header();
    header.devices.iter_mut().for_each(|card| card.location = None);
    let block = build(&mut BlockBuilder::new(&header), &golden_entries());
    assert_eq!(hex(block.bytes()), hex(golden));
    let (read_header, read_entries) = read(golden).unwrap();
    assert_eq!(named(&read_header, read_entries), named(&header, golden_entries()));
    let [zero, one, two] = header.devices.as_slice() else { panic!("three") };
    assert_eq!(read_header.devices.iter().collect::<Vec<_>>(), [one, zero, two]);
}
