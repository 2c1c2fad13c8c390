//! One payload of every sort, for the validators in `tests/payload/`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use crate::device::decimal::Decimal;
use crate::device::nomenclature as n;
use crate::device::observation::{
    Absent, Alarm, DeviceTime, Kind, Lane, Observation, Phase, Priority, Quality, Samples, Status, Value,
};
use crate::envelope::block::BlockHeader;
use crate::envelope::record::{Entry, Gap, Record};
use crate::policy::DeviceCard;
use crate::policy::event::{Detection, Event};
use crate::store::{Seq, StoreId};
use crate::time::{BootId, ClockSync, Mono, Now, Wall};
use crate::uplink::Payload;
use crate::uplink::encode::{Block, Encoder};
use crate::uplink::parcel::{Format, Stream};
use crate::uplink::topic::Topics;

/// Writes them into a folder, which is made if need be: `*.json` FHIR, `*.cbor` CBOR, `*.ocsf` events. Gives their
/// number.
pub fn sample_payloads(folder: &Path) -> anyhow::Result<usize> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make folder {}", folder.display()))?;
    let mut count = 0;
    for payload in [Payload::Fhir, Payload::Cbor] {
        let topics = Topics::new("north", "icu-2", "gw-7")?;
        let mut encoder = Encoder::new(payload, topics, "gw-7", StoreId([0xa5; 16]));
        let mut plan = encoder.plan(sample_block(), Stream::Backlog)?;
        while let Some(parcel) = encoder.next_parcel(&mut plan, Now::default()) {
            let name = parcel.topic.rsplit('/').take(2).collect::<Vec<_>>().join("-");
            if parcel.format == Format::Ocsf && payload == Payload::Cbor {
                // The same as beside FHIR.
                continue;
            }
            let suffix = match parcel.format {
                Format::Fhir => "json",
                Format::Cbor => "cbor",
                Format::Ocsf => "ocsf",
            };
            let path = folder.join(format!("{name}.{suffix}"));
            let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            file.write_all(&parcel.payload)?;
            count += 1;
        }
    }
    Ok(count)
}

/// A block with every kind of value, device and flag.
pub fn sample_block() -> Block {
    let card = |id: &str, model: &str, pseudonym: &str, security| DeviceCard {
        location: None,
        id: id.to_owned(),
        model: model.to_owned(),
        pseudonym: pseudonym.to_owned(),
        security,
    };
    let header = BlockHeader {
        boot: BootId([7; 16]),
        run: 0xdead_beef,
        devices: vec![
            card("oximeter-1", "pulse-oximeter", "0b1f6d0c5d2e4a7799aabbccddeeff00", "bonded"),
            card("pump-1", "alaris-asena", "1b1f6d0c5d2e4a7799aabbccddeeff01", "serial"),
            card("belt-1", "heart-rate", "2b1f6d0c5d2e4a7799aabbccddeeff02", "open"),
            DeviceCard {
                location: Some("4b1f6d0c5d2e4a7799aabbccddeeff04".to_owned()),
                ..card("fridge-1", "environmental-sensing", "3b1f6d0c5d2e4a7799aabbccddeeff03", "open")
            },
        ],
    };
    let observations = oximeter().into_iter().chain(pump()).chain(belt()).chain(fridge());
    let mut entries: Vec<Entry> = Vec::new();
    for (number, (device, observation)) in (1..).zip(observations) {
        let at = now(number);
        entries.push(Entry::Observation(Record { device, seq: number, at, observation }));
    }
    entries.push(Entry::Gap(Gap {
        lane: Lane::Bulk,
        count: 12_345,
        first: Wall::from_millis(1_795_304_400_000),
        last: Wall::from_millis(1_795_304_460_000),
        reason: "the disk was full".to_owned(),
    }));
    entries.extend(events().map(Entry::Event));
    Block { seq: Seq { lane: Lane::Vital, segment: 3, block: 14 }, header, entries }
}

/// Every detection in every phase, of a device and of the gateway.
fn events() -> impl Iterator<Item = Event> {
    let of = |(detection, phase, device): (Detection, Phase, &str)| Event {
        detection,
        phase,
        device: device.to_owned(),
        detail: "its \"serial\" is not the one in the allowlist".to_owned(),
        at: now(7),
    };
    let all = Detection::ALL.iter().flat_map(|detection| {
        [(Phase::Start, "pump-1"), (Phase::Update, "pump-1"), (Phase::End, "pump-1"), (Phase::Start, "")]
            .map(|(phase, device)| (*detection, phase, device))
    });
    all.map(of)
}

fn now(number: u64) -> Now {
    let since = Duration::from_millis(number * 250);
    let millis = 1_795_304_400_000 + i64::try_from(since.as_millis()).unwrap_or(0);
    let sync = if number.is_multiple_of(5) { ClockSync::Unsynced } else { ClockSync::Synced };
    Now { mono: Mono::default() + since, wall: Wall::from_millis(millis), sync, max_error_us: 1_500 }
}

/// A plain measurement.
pub fn measured(metric: &'static n::Metric, unit: &'static n::Unit, value: Value) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit,
        modality: 0,
        kind: Kind::Measurement,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

fn number(mantissa: i64, exponent: i8) -> Value {
    Value::Decimal(Decimal::new(mantissa, exponent))
}

fn oximeter() -> Vec<(u16, Observation)> {
    let spo2 = |value| measured(&n::SPO2, &n::PERCENT, value);
    let time = DeviceTime {
        year: 2026,
        month: 11,
        day: 21,
        hour: 23,
        minute: 40,
        second: 0,
        ..DeviceTime::default()
    };
    let placed = DeviceTime { offset: Some(-60), zone: Some(4), ahead: Some(3_600_250), ..time };
    let older = DeviceTime { ticks: Some(12_345_678), is_of_older_timeline: true, ..DeviceTime::default() };
    let mut all = vec![
        // MDC_MODALITY_SPOT and MDC_MODALITY_FAST (HL7 PHD guide, pulse oximeter).
        Observation { modality: 150_588, device_time: Some(time), ..spo2(number(97, 0)) },
        Observation { modality: 150_580, ..spo2(number(970, -1)) },
        Observation { status: Status::Preliminary, quality: Quality::QUESTIONABLE, ..spo2(number(88, 0)) },
        Observation { quality: Quality::INVALID.with(Quality::SENSOR), ..spo2(number(12, 0)) },
        Observation { quality: Quality::DEMONSTRATION, ..spo2(number(99, 0)) },
        Observation { quality: Quality::TEST.with(Quality::STORED), ..spo2(number(99, 0)) },
        Observation { quality: Quality::CALIBRATING, ..spo2(number(96, 0)) },
        // Out of the device's storage: placed by its clock, and one that cannot be placed.
        Observation {
            record: Some(7),
            quality: Quality::STORED,
            device_time: Some(placed),
            ..spo2(number(93, 0))
        },
        Observation {
            record: Some(8),
            quality: Quality::STORED,
            device_time: Some(time),
            ..spo2(number(94, 0))
        },
        Observation { record: Some(9), device_time: Some(older), ..spo2(number(95, 0)) },
        Observation {
            kind: Kind::State,
            device_time: Some(DeviceTime { ahead: Some(2_000), ..time }),
            ..measured(&n::TIME_ABS, &n::DIMENSIONLESS, Value::Text(time.to_string()))
        },
        measured(&n::PULSE_OXIM_RATE, &n::PER_MINUTE, number(61, 0)),
        measured(&n::PERFUSION, &n::PERCENT, number(200, -2)),
    ];
    let reasons = [
        Absent::NotANumber,
        Absent::PositiveInfinity,
        Absent::NegativeInfinity,
        Absent::Error,
        Absent::Unknown,
    ];
    all.extend(reasons.map(|reason| spo2(Value::Absent(reason))));
    all.into_iter().map(|observation| (0, observation)).collect()
}

fn pump() -> Vec<(u16, Observation)> {
    let rate = measured(&n::FLOW_FLUID_PUMP, &n::MILLILITRE_PER_HOUR, number(12_500, -2));
    let mode = measured(&n::PUMP_MODE, &n::DIMENSIONLESS, Value::Text("INFUSING".to_owned()));
    let drug =
        measured(&n::DRUG_NAME, &n::DIMENSIONLESS, Value::Text("NORADRENALINE \"4 mg\"\\50 mL µ".to_owned()));
    let alarm = |phase, priority| {
        let alarm = Alarm {
            code: "AL_OCCLU".to_owned(),
            text: "occlusion, line pressure above limit".to_owned(),
            phase,
            priority,
            is_silenced: false,
        };
        let observation = measured(&n::EVT_OCCL, &n::DIMENSIONLESS, Value::Alarm(alarm));
        Observation { kind: Kind::Alarm, ..observation }
    };
    let mut silenced = alarm(Phase::Update, Priority::High);
    if let Value::Alarm(alarm) = &mut silenced.value {
        alarm.is_silenced = true;
    }
    let values = vec![-12, 0, Samples::MISSING, 340];
    let wave = Samples { period_us: 4_000, exponent: -1, values };
    [
        Observation { kind: Kind::Setting, channel: 2, ..rate },
        measured(&n::VOL_FLUID_DELIV, &n::MILLILITRE, number(31, -1)),
        measured(&n::PRESS_FLUID_ACT, &n::MMHG, number(-5, 0)),
        measured(&n::PRESS_FLUID_ACT, &n::KILOPASCAL, number(133, -1)),
        measured(&n::TIME_PD_REMAIN, &n::SECOND, number(3_600, 0)),
        Observation { kind: Kind::State, ..mode },
        Observation { kind: Kind::Setting, ..drug },
        alarm(Phase::Start, Priority::High),
        silenced,
        alarm(Phase::End, Priority::Unstated),
        Observation { kind: Kind::Wave, ..measured(&n::PRESS_FLUID_ACT, &n::MMHG, Value::Samples(wave)) },
    ]
    .into_iter()
    .map(|observation| (1, observation))
    .collect()
}

fn belt() -> Vec<(u16, Observation)> {
    let rate = measured(&n::HEART_RATE, &n::PER_MINUTE, number(72, 0));
    let flags = measured(&n::PUMP_MODE, &n::DIMENSIONLESS, Value::Bits(0x8000_0005));
    let empty = measured(&n::PUMP_MODE, &n::DIMENSIONLESS, Value::Text(" ".to_owned()));
    [
        Observation { quality: Quality::POOR_SIGNAL.with(Quality::IMPLAUSIBLE), ..rate },
        Observation { kind: Kind::State, ..flags },
        Observation { kind: Kind::State, ..empty },
    ]
    .into_iter()
    .map(|observation| (2, observation))
    .collect()
}

/// Of the place, and of the sensor itself.
fn fridge() -> Vec<(u16, Observation)> {
    [
        measured(&n::TEMP_ROOM, &n::DEGREE_CELSIUS, number(421, -2)),
        measured(&n::REL_HUMIDITY_MICROENV, &n::PERCENT, number(4_100, -2)),
        measured(&n::ATTR_VAL_BATT_CHARGE, &n::PERCENT, number(87, 0)),
    ]
    .into_iter()
    .map(|observation| (3, observation))
    .collect()
}
