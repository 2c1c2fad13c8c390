//! A gateway's folder with a store in it, and the binary run on it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use wardline::device::decimal::Decimal;
use wardline::device::nomenclature as n;
use wardline::device::observation::{Kind, Lane, Observation, Quality, Status, Value};
use wardline::device::{DeviceIndex, Identity, Report, ReportBody, Ticket};
use wardline::envelope::block::{BlockBuilder, BlockHeader, PlainBlock, hex};
use wardline::envelope::keys::load_kek;
use wardline::envelope::record::Gap;
use wardline::host::atomic_file;
use wardline::host::clock::SystemClock;
use wardline::policy::{DeviceCard, DeviceRule, Gatekeeper, Trust, Verdict};
use wardline::store::inspect::holder;
use wardline::store::{self, Config, Limits, Reader, Writer};
use wardline::time::{BootId, Clock, Now, Wall};

/// Records in each block that [`Gateway::fill`] stores.
pub(crate) const RECORDS: u64 = 25;
/// Blocks in each segment that it closes.
pub(crate) const BLOCKS: u64 = 4;

const KEK: &[u8; 32] = b"0123456789abcdef0123456789ABCDEF";

const TOML: &str = r#"
devices = "none"
[gateway]
organisation = "org"
group = "ward"
id = "gw-1"
[uplink]
host = "broker.example.org"
authorities = "ca.pem"
certificate = "own.pem"
[store]
folder = "state/store"
cap = "256MiB"
alarm_reserve = "16MiB"
[keys]
kek = "kek"
ward = "ward.key"
[status]
socket = "status.sock"
"#;

/// A gateway's folder.
pub(crate) struct Gateway {
    home: tempfile::TempDir,
}

/// What the binary did.
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        atomic_file::write(&home.path().join("gateway.toml"), TOML.as_bytes()).unwrap();
        atomic_file::write(&home.path().join("kek"), KEK).unwrap();
        Self { home }
    }

    /// With a store as it is after an outage: closed in order, some of it acknowledged.
    pub(crate) fn filled() -> Self {
        let gateway = Self::new();
        gateway.fill();
        gateway
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("state/store")
    }

    pub(crate) fn audit(&self) -> PathBuf {
        self.home.path().join("state/audit.jsonl")
    }

    pub(crate) fn kek(&self) -> PathBuf {
        self.home.path().join("kek")
    }

    /// Runs `wardline` with the gateway's configuration.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments).stdin(Stdio::null()))
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.args(arguments).arg("--config").arg(self.path()).env_clear();
        command
    }

    pub(crate) fn open(&self) -> (Writer, Reader) {
        let config = Config {
            folder: self.store(),
            anchor: Some(store::anchor_beside(&self.store())),
            cap: 256 << 20,
            alarm_reserve: 16 << 20,
            linger: Duration::ZERO,
        };
        let keys = load_kek(&self.kek()).unwrap().into();
        let limits = Limits { blocks: u32::try_from(BLOCKS).unwrap(), ..Limits::default() };
        let random = Arc::new(ring::rand::SystemRandom::new());
        let stamp = (BootId([1; 16]), now());
        let (writer, reader, _) = store::open_with_limits(&config, keys, stamp, random, limits).unwrap();
        (writer, reader)
    }

    /// Two alarm segments, four of vital of which five blocks are acknowledged, one of bulk that tells of a
    /// gap; each but the last of a lane is full.
    pub(crate) fn fill(&self) {
        let (mut writer, mut reader) = self.open();
        let mut ward = Ward::new();
        for (lane, blocks) in [(Lane::Alarm, 6), (Lane::Vital, 14), (Lane::Bulk, 2)] {
            for number in 0..blocks {
                writer.append(lane, &ward.block(), now()).unwrap();
                if lane == Lane::Vital && number < 5 {
                    let (seq, _) = reader.read_live().unwrap().unwrap();
                    reader.acknowledge(seq).unwrap();
                }
            }
        }
        writer.append(Lane::Bulk, &gap(), now()).unwrap();
        drop(reader);
        writer.close().unwrap();
        self.settle();
    }

    /// Waits until nobody holds the store: a child that another test starts at this moment has a copy of
    /// every descriptor until it runs its own program.
    pub(crate) fn settle(&self) {
        while holder(&self.store()).is_some() {
            std::thread::yield_now();
        }
    }

    /// What a process that is killed leaves behind.
    pub(crate) fn abandon(&self, open: (Writer, Reader)) {
        drop(open);
        self.settle();
    }

    /// Every file under the gateway's folder with its content.
    pub(crate) fn image(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        image(self.path())
    }
}

pub(crate) fn finish(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// Every file under a folder with its content; folders end with a slash and have none.
pub(crate) fn image(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut image(&path));
            files.insert(path.join(""), Vec::new());
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.insert(path, bytes);
        }
    }
    files
}

pub(crate) fn now() -> Now {
    SystemClock::default().now()
}

/// One device that may speak.
pub(crate) struct Ward {
    gate: Gatekeeper,
    builder: BlockBuilder,
    next: u64,
}

impl Ward {
    pub(crate) fn new() -> Self {
        let card = DeviceCard {
            id: "pump-1".to_owned(),
            model: "alaris-asena".to_owned(),
            pseudonym: "0123456789abcdef0123456789abcdef".to_owned(),
            location: None,
            security: "serial",
        };
        let header = BlockHeader { boot: BootId([1; 16]), run: 77, devices: vec![card.clone()] };
        let expects = Identity::default();
        let elements = vec![&n::FLOW_FLUID_PUMP];
        let mut gate = Gatekeeper::new(vec![DeviceRule {
            card,
            expects,
            trust: Trust::LinkOnly,
            elements,
            behind: None,
            quiet: None,
        }]);
        gate.handle_report(Report { device: DeviceIndex(0), at: now(), body: ReportBody::Up });
        Self { gate, builder: BlockBuilder::new(&header), next: 0 }
    }

    /// A block of readings; the value of each counts them.
    pub(crate) fn block(&mut self) -> PlainBlock {
        for _ in 0..RECORDS {
            self.next += 1;
            let observation = Observation {
                metric: &n::FLOW_FLUID_PUMP,
                unit: &n::MILLILITRE_PER_HOUR,
                value: Value::Decimal(Decimal::new(i64::try_from(self.next).unwrap(), -1)),
                channel: 0,
                modality: 0,
                kind: Kind::Measurement,
                record: None,
                device_time: None,
                status: Status::Final,
                quality: Quality::GOOD,
            };
            let body = ReportBody::Observation(Ticket(self.next), observation);
            match self.gate.handle_report(Report { device: DeviceIndex(0), at: now(), body }) {
                Verdict::Admit(admitted) => self.builder.push(&admitted).unwrap(),
                verdict @ (Verdict::Refuse(_) | Verdict::Tell(_) | Verdict::Noted) => {
                    panic!("not admitted: {verdict:?}")
                }
            }
        }
        self.builder.finish()
    }
}

/// A block that tells of a gap.
pub(crate) fn gap() -> PlainBlock {
    let header = BlockHeader { boot: BootId([1; 16]), run: 77, devices: Vec::new() };
    let mut builder = BlockBuilder::new(&header);
    let (first, last) = (Wall::from_millis(1_000), Wall::from_millis(2_000));
    builder.push_gap(&Gap { lane: Lane::Bulk, count: 9, first, last, reason: "a test".to_owned() }).unwrap();
    builder.finish()
}

/// Flips one bit of a file.
pub(crate) fn flip(file: &Path, place: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.get_mut(place).unwrap() ^= 0x10;
    put(file, &bytes);
}

#[expect(clippy::disallowed_methods, reason = "what a test breaks need not be durable")]
pub(crate) fn put(file: &Path, bytes: &[u8]) {
    std::fs::write(file, bytes).unwrap();
}

/// Copies a folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (path, bytes) in image(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        if path.is_dir() {
            std::fs::create_dir_all(target).unwrap();
        } else {
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            put(&target, &bytes);
        }
    }
}

/// Runs a command with a terminal at which somebody types a line.
pub(crate) fn typed(command: &mut Command, line: &str) -> Done {
    let (mut person, terminal) = terminal();
    person.write_all(line.as_bytes()).unwrap();
    person.write_all(b"\n").unwrap();
    finish(command.stdin(Stdio::from(terminal)))
}

/// Both ends of a terminal: the person's and the program's.
pub(crate) fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    (File::from(person), File::from(terminal))
}

/// SHA-256, in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// The lines of the gateway's audit log.
pub(crate) fn audited(gateway: &Gateway) -> Vec<Json> {
    let text = std::fs::read_to_string(gateway.audit()).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
