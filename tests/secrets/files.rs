//! No word of a reading in any file, log, topic, or answer to a stranger.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wardline::device::decimal::Decimal;
use wardline::device::nomenclature::{self as n, Metric, Unit};
use wardline::device::observation::{
    Alarm, Kind, Lane, Observation, Phase, Priority, Quality, Status, Value,
};
use wardline::device::{DeviceIndex, Identity, Report, ReportBody, Ticket};
use wardline::envelope::block::{BlockBuilder, BlockHeader};
use wardline::envelope::keys::{Kek, KeyFile, WardKey};
use wardline::envelope::record::Entry;
use wardline::host::{atomic_file, status};
use wardline::lab::sim::alaris;
use wardline::lab::stage;
use wardline::policy::{DeviceCard, DeviceRule, Gatekeeper, Trust, Verdict};
use wardline::store::{self, Reader, Writer};
use wardline::time::{BootId, Mono, Now, Wall};

use crate::hardening::asked_by_nobody;
use crate::needle::{self, Needle, Search};
use crate::support::{Bench, PATIENCE, within};

const READINGS: u64 = 100_000;

const DRUG: &str = "CANARY-drug";
const ALARM: &str = "CANARY-alarm";
const CODE: &str = "CANARY-code";
const SERIAL: &str = "CANARY-serial";
const ASSET: &str = "CANARY-asset";
/// The front of every number that is read.
const NUMBER: i64 = 867_530_986_700_000;

const KEK: &[u8; 32] = b"KEK-0123456789abcdef0123456789AB";
const WARD: &[u8; 32] = b"WARD0123456789abcdef0123456789AB";

/// Everything that was planted: the fronts of what each reading holds, and the keys.
fn planted() -> Vec<Needle> {
    let texts = [DRUG, ALARM, CODE, SERIAL, ASSET, "8675309867"];
    let keys =
        needle::key("the key-encryption key", KEK).into_iter().chain(needle::key("the ward's key", WARD));
    texts.into_iter().flat_map(needle::text).chain(keys).collect()
}

fn at(number: u64) -> Now {
    let millis = i64::try_from(number).unwrap();
    Now { mono: Mono::from_nanos(number * 1_000_000), wall: Wall::from_millis(millis), ..Now::default() }
}

fn observation(metric: &'static Metric, unit: &'static Unit, kind: Kind, value: Value) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit,
        modality: 0,
        kind,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

/// A reading that holds what was planted and is like no other.
fn reading(number: u64) -> Observation {
    match number % 3 {
        0 => {
            let text = Value::Text(format!("{DRUG}-{number:06}"));
            observation(&n::DRUG_NAME, &n::DIMENSIONLESS, Kind::Setting, text)
        }
        1 => {
            let value = Value::Decimal(Decimal::new(NUMBER + i64::try_from(number).unwrap(), -3));
            observation(&n::HEART_RATE, &n::PER_MINUTE, Kind::Measurement, value)
        }
        _ => {
            let (code, text) = (format!("{CODE}-{number:06}"), format!("{ALARM}-{number:06}"));
            let alarm =
                Alarm { code, text, phase: Phase::Start, priority: Priority::High, is_silenced: false };
            observation(&n::EVT_OCCL, &n::DIMENSIONLESS, Kind::Alarm, Value::Alarm(alarm))
        }
    }
}

fn identity() -> Identity {
    Identity { serial: Some(format!("{SERIAL}-0001")), ..Identity::default() }
}

/// The pipeline from report to disk, as the gateway puts it together.
struct Pipeline {
    gate: Gatekeeper,
    builders: Vec<(Lane, BlockBuilder)>,
    writer: Writer,
    reader: Reader,
}

impl Pipeline {
    fn open(home: &Path) -> Self {
        let ward = WardKey::load(&KeyFile::new(home.join("keys/ward"))).unwrap();
        let card = DeviceCard {
            id: "pump-1".to_owned(),
            model: "alaris-asena".to_owned(),
            pseudonym: ward.pseudonym(&format!("{ASSET}-0001")),
            location: None,
            security: "serial",
        };
        let elements = vec![&n::DRUG_NAME, &n::HEART_RATE, &n::EVT_OCCL];
        let header = BlockHeader { boot: BootId([1; 16]), run: 1, devices: vec![card.clone()] };
        let rule = DeviceRule {
            card,
            expects: identity(),
            trust: Trust::ReportedIdentity,
            elements,
            behind: None,
            quiet: None,
        };
        let mut gate = Gatekeeper::new(vec![rule]);
        for body in [ReportBody::Up, ReportBody::Identity(identity())] {
            gate.handle_report(Report { device: DeviceIndex(0), at: at(0), body });
        }
        let config = store::Config {
            folder: home.join("store"),
            anchor: None,
            cap: 512 * 1024 * 1024,
            alarm_reserve: 64 * 1024 * 1024,
            linger: Duration::ZERO,
        };
        let kek = Kek::load(&KeyFile::new(home.join("keys/kek"))).unwrap();
        let random = Arc::new(ring::rand::SystemRandom::new());
        let (writer, reader, _) = store::open(&config, kek.into(), BootId([1; 16]), at(0), random).unwrap();
        let builders = [Lane::Alarm, Lane::Vital].map(|lane| (lane, BlockBuilder::new(&header))).into();
        Self { gate, builders, writer, reader }
    }

    fn take(&mut self, number: u64) {
        let body = ReportBody::Observation(Ticket(number + 1), reading(number));
        let report = Report { device: DeviceIndex(0), at: at(number), body };
        let Verdict::Admit(admitted) = self.gate.handle_report(report) else { panic!("reading {number}") };
        let place = self.builders.iter_mut().find(|(lane, _)| *lane == admitted.lane());
        let (lane, builder) = place.unwrap_or_else(|| panic!("{:?}", admitted.lane()));
        builder.push(&admitted).unwrap();
        // Commits of all sizes, single ones among them, which compression cannot hide anything of.
        if builder.is_full() || number % 997 < 3 {
            self.writer.append(*lane, &builder.finish(), at(number)).unwrap();
        }
    }
}

/// `Debug` of a value hides it.
fn words_of(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Alarm(alarm) => format!("{} {}", alarm.code, alarm.text),
        Value::Decimal(decimal) => decimal.to_string(),
        Value::Absent(_) | Value::Bits(_) | Value::Samples(_) => String::new(),
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Contents and names. How many files and bytes were looked at.
fn nothing_in(folder: &Path, search: &Search) -> (usize, usize) {
    let files = files(folder);
    let mut bytes = 0;
    for path in &files {
        let content = std::fs::read(path).unwrap();
        bytes += content.len();
        for hay in [&content, path.as_os_str().as_encoded_bytes()] {
            let found: Vec<_> = search.find(hay).into_iter().map(|(at, needle)| (at, &needle.what)).collect();
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
    }
    (files.len(), bytes)
}

#[test]
fn of_a_hundred_thousand_readings_with_canaries_nothing_is_in_any_file() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("keys")).unwrap();
    atomic_file::write(&home.path().join("keys/kek"), KEK).unwrap();
    atomic_file::write(&home.path().join("keys/ward"), WARD).unwrap();
    let store = home.path().join("store");
    let search = Search::new(planted());
    let mut pipeline = Pipeline::open(home.path());
    for number in 0..READINGS {
        pipeline.take(number);
        if number % (READINGS / 4) == 1 {
            // While it is being written too.
            nothing_in(&store, &search);
        }
    }
    for (lane, builder) in &mut pipeline.builders {
        pipeline.writer.append(*lane, &builder.finish(), at(READINGS)).unwrap();
    }
    nothing_in(&store, &search);

    // It did go in: all of it comes out again, and there the search finds every canary.
    let mut read = 0;
    let mut seen = Vec::new();
    let mut next = |lane| match pipeline.reader.read_next(lane).unwrap() {
        None if lane == Lane::Vital => pipeline.reader.read_live().unwrap(),
        next => next,
    };
    for lane in [Lane::Alarm, Lane::Vital] {
        while let Some((_, block)) = next(lane) {
            let (_, entries) = block.read().unwrap();
            for entry in entries.iter().take(20) {
                let Entry::Observation(record) = entry else { panic!("{entry:?}") };
                seen.push(words_of(&record.observation.value));
            }
            read += u64::try_from(entries.len()).unwrap();
        }
    }
    assert_eq!(read, READINGS);
    pipeline.writer.close().unwrap();
    drop(pipeline.reader);
    for canary in [DRUG, ALARM, CODE, "8675309867"] {
        let control = Search::new(needle::text(canary));
        assert!(!control.find(seen.join("\n").as_bytes()).is_empty(), "{canary} can be found where it is");
    }
    let (files, bytes) = nothing_in(&store, &search);
    assert!(files > 6 && bytes > 1_000_000, "{files} files, {bytes} bytes");
    println!("{READINGS} readings: nothing in {files} files of {bytes} bytes");
}

/// Where the child that asks finds the socket.
const SOCKET: &str = "SECRETS_TEST_SOCKET";

/// A part of the test below, run as another user; by itself it does nothing.
#[test]
fn child_that_asks_for_the_status() {
    if let Ok(socket) = std::env::var(SOCKET) {
        println!("the answer: {:?}", status::ask(Path::new(&socket)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_in_files_log_topics_or_an_answer_to_a_stranger() {
    let mut bench = Bench::new().await;
    let drug = format!("{DRUG}-zebra");
    let values = alaris::Values { drug: drug.clone(), ..alaris::Values::default() };
    let pump = bench.pump("pump-1", SERIAL, values);
    let device = stage::serial_device("pump-1", "alaris-asena", &pump.path(), SERIAL);
    bench.configure(&device.replace("ASSET-pump-1", ASSET));
    let temporary = bench.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let temporary = temporary.display().to_string();
    // The most talkative level that there is.
    let mut daemon = bench.start_with(&[("WARDLINE_DAEMON__LOG", "trace"), ("TMPDIR", &temporary)]);
    bench.status("readings on disk", |status| status.lanes.iter().any(|lane| lane.records > 20)).await;
    let needles = [DRUG, SERIAL, ASSET].into_iter().flat_map(needle::text).collect();
    let search = Search::new(needles);
    let folder = bench.path().to_owned();
    let nothing_is_found = || {
        // What the person who wrote the allowlist said of the devices is his.
        let written = folder.join("devices.d");
        let kept = std::fs::read(written.join("ward.toml")).unwrap();
        assert!(!search.find(&kept).is_empty(), "the search finds it where it is");
        std::fs::remove_file(written.join("ward.toml")).unwrap();
        let looked_at = nothing_in(&folder, &search);
        atomic_file::write(&written.join("ward.toml"), &kept).unwrap();
        looked_at
    };
    assert!(nothing_is_found().0 > 6);

    // A stranger who got as far as the socket is told that he is one, and no more.
    let (own, around) = (std::fs::Permissions::from_mode(0o666), std::fs::Permissions::from_mode(0o755));
    std::fs::set_permissions(stage::socket(bench.path()), own).unwrap();
    std::fs::set_permissions(bench.path(), around).unwrap();
    let answer =
        asked_by_nobody(&stage::socket(bench.path()), "files::child_that_asks_for_the_status", SOCKET);
    let said = [answer.stdout, answer.stderr].concat();
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains("the answer: Err(") && text.contains("Refused"), "{text}");
    assert!(search.find(&said).is_empty(), "{text}");

    // It did go in: the consumer has it, in the payloads and not in a topic.
    bench.serve().await;
    let is_at = |text: &str| !search.find(text.as_bytes()).is_empty();
    within(
        "the canary at the consumer",
        bench.consumer.wait_for(|ledger| ledger.kept.iter().any(|(_, reading)| is_at(&reading.value))),
    )
    .await;
    bench.consumer.with(|ledger| {
        assert!(ledger.devices.contains_key("pump-1"));
        assert!(ledger.devices.keys().all(|device| !is_at(device)), "{:?}", ledger.devices.keys());
    });
    bench.status("an empty store", |status| status.lanes.iter().all(|lane| lane.records < 20)).await;
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    nothing_is_found();
    let log = std::fs::read_to_string(bench.path().join("daemon.log")).unwrap();
    assert!(log.contains("running") && log.contains("connected"), "{log}");
}
