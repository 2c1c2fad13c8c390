//! A sound gateway, and the real `wardline doctor` beside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use wardline::host::status::{self, Snapshot};
use wardline::lab::bluez::{Bluez, Bus, Emulated};
use wardline::lab::pki::{Pair, Validity};
use wardline::lab::sim::{Control, masimo};
use wardline::lab::stage::{self, Daemon};

use crate::mosquitto::{Mosquitto, Setup};
use crate::support::Certificates;

pub(crate) const BELT: &str = "F1:00:00:00:00:01";
pub(crate) const BELT_SERIAL: &str = "HRM-CANARY-0001";
pub(crate) const SERIAL: &str = "0000056661";
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test changes of the sound gateway.
#[derive(Default)]
pub(crate) struct Change<'a> {
    /// Lines of the broker's access rules.
    pub(crate) acl: Option<&'a str>,
    /// The names in the broker's certificate.
    pub(crate) names: Option<&'a [&'a str]>,
    /// Whether the gateway's certificate has expired.
    pub(crate) is_expired: bool,
    /// What the oximeter says that it is.
    pub(crate) states: Option<&'a str>,
}

pub(crate) struct Bench {
    pub(crate) certificates: Certificates,
    pub(crate) broker: Mosquitto,
    pub(crate) oximeter: Control<masimo::Values>,
    pub(crate) bluez: Bluez,
    bus: Bus,
    _tasks: JoinSet<()>,
}

impl Bench {
    pub(crate) fn new(change: &Change<'_>) -> Self {
        let certificates = Certificates::new();
        let acl = certificates.path().join("acl");
        if let Some(rules) = change.acl {
            fs::write(&acl, rules).unwrap();
        }
        let names = change.names.map(|names| certificates.pki.server("other", names, Validity::Now).unwrap());
        let setup = Setup {
            server: names.as_ref().unwrap_or(&certificates.server),
            tls: "TLSv1.3",
            acl: change.acl.map(|_| acl.as_path()),
        };
        let broker = Mosquitto::start_with(&certificates, &setup);
        let bus = Bus::start().unwrap();
        let bluez = Bluez::start(&bus.address()).unwrap();
        bluez.add(Emulated::heart_rate(BELT, BELT_SERIAL));
        let mut tasks = JoinSet::new();
        let setup = masimo::Setup {
            link: Some(certificates.path().join("port")),
            serial: change.states.unwrap_or(SERIAL).to_owned(),
            baud: 1_000_000,
            cadence: masimo::Cadence::Every(Duration::from_millis(100)),
            ..masimo::Setup::default()
        };
        let values = masimo::Values { spo2: Some(97), bpm: Some(61), ..masimo::Values::default() };
        let (running, oximeter) = masimo::oximeter(setup, values).unwrap();
        tasks.spawn(async move { running.await.unwrap() });
        let bench = Self { certificates, broker, oximeter, bluez, bus, _tasks: tasks };
        bench.configure(change);
        bench.machine();
        bench
    }

    pub(crate) fn path(&self, rest: &str) -> PathBuf {
        self.certificates.path().join(rest)
    }

    pub(crate) fn gateway(&self) -> PathBuf {
        self.path("gateway")
    }

    fn configure(&self, change: &Change<'_>) {
        let validity = if change.is_expired { Validity::Expired } else { Validity::Now };
        let client: Pair = self.certificates.pki.client("gw-lab", validity).unwrap();
        let devices = stage::serial_device("canary-bed-8", "masimo-ascii1", &self.oximeter.path(), SERIAL)
            + &stage::ble_device("canary-belt", "heart-rate", BELT, BELT_SERIAL);
        stage::configure(&self.gateway(), &self.certificates.pki, &client, self.broker.port, &devices)
            .unwrap();
    }

    /// The files of a Raspberry Pi on which everything is as it should be.
    fn machine(&self) {
        let unit = include_str!("../../systemd/wardline.service");
        for (path, text) in [
            ("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n"),
            ("proc/self/mountinfo", "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n"),
            ("proc/sys/kernel/hostname", "gw-lab\n"),
            ("proc/sys/kernel/osrelease", "6.12.25+rpt-rpi-v8\n"),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\ndialout:x:20:\ntty:x:5:\n"),
            ("etc/bluetooth/main.conf", "[General]\n#Experimental = false\n"),
            ("etc/systemd/system/wardline.service", unit),
            ("etc/systemd/system/multi-user.target.wants/keep", ""),
            ("sys/firmware/devicetree/base/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
            ("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n"),
            ("var/lib/dpkg/status", "Package: bluez\nStatus: install ok installed\nVersion: 5.82-1.1\n\n"),
        ] {
            self.system(path, text);
        }
        let wants = self.path("root/etc/systemd/system/multi-user.target.wants/wardline.service");
        symlink("/etc/systemd/system/wardline.service", wants).unwrap();
    }

    /// Writes a file of that machine.
    pub(crate) fn system(&self, path: &str, text: &str) {
        let path = self.path("root").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Changes the configuration.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.gateway().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    pub(crate) fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.arg("run").env_remove("NOTIFY_SOCKET").env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        Daemon::start(command, &self.gateway()).unwrap()
    }

    pub(crate) async fn status(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let asked = async {
            loop {
                let socket = stage::socket(&self.gateway());
                match tokio::task::spawn_blocking(move || status::ask(&socket)).await.unwrap() {
                    Ok(snapshot) if is_so(&snapshot) => return snapshot,
                    // The socket has no way to call back: ask again.
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(snapshot) => snapshot,
            Err(late) => {
                let log = fs::read_to_string(self.gateway().join("daemon.log")).unwrap_or_default();
                panic!("waited in vain for {what} ({late}); the daemon said:\n{log}");
            }
        }
    }

    /// `wardline` with the machine of the test, whose clock follows a reference.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.args(arguments).arg("--config").arg(self.gateway()).arg("--root").arg(self.path("root"));
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.bus.address());
        command.env("LD_PRELOAD", self.kernel("STA_PLL"));
        command
    }

    /// The kernel's word on the clock.
    pub(crate) fn kernel(&self, status: &str) -> PathBuf {
        let library = self.path(&format!("{status}.so"));
        if !library.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor/clock.c");
            let mut command = Command::new("cc");
            command.args(["-shared", "-fPIC", &format!("-DSTATUS={status}"), "-o"]).arg(&library).arg(source);
            assert!(command.status().expect("a C compiler, as for the build").success());
        }
        library
    }

    pub(crate) async fn doctor(&self, arguments: &[&str]) -> Report {
        let all = [&["doctor", "--json"], arguments].concat();
        report(self.command(&all)).await
    }
}

/// What the doctor said.
pub(crate) struct Report {
    pub(crate) exit: Option<i32>,
    pub(crate) value: Value,
}

/// Runs it beside what else runs in this test.
pub(crate) async fn report(mut command: Command) -> Report {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}{errors}"));
    Report { exit: output.status.code(), value }
}

impl Report {
    /// The names of the checks with this verdict.
    pub(crate) fn with(&self, verdict: &str) -> Vec<&str> {
        let checks = self.value["checks"].as_array().unwrap().iter();
        let of = checks.filter(|check| check["verdict"] == verdict);
        of.map(|check| check["check"].as_str().unwrap()).collect()
    }

    /// Exactly this check is wrong, its words hold these, and it has a way out.
    pub(crate) fn assert_wrong(&self, name: &str, words: &str) {
        assert_eq!(self.with("wrong"), [name], "{:#}", self.value);
        assert_eq!(self.exit, Some(10));
        let checks = self.value["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == name).unwrap();
        let said: Vec<&Value> =
            check["says"].as_array().unwrap().iter().filter(|said| said["verdict"] == "wrong").collect();
        assert!(
            said.iter().all(|said| said["remedy"].as_str().is_some_and(|text| !text.is_empty())),
            "{said:?}"
        );
        assert!(said.iter().any(|said| said["text"].as_str().unwrap().contains(words)), "{words}: {said:?}");
    }

    pub(crate) fn assert_well(&self) {
        assert_eq!((self.with("wrong"), self.with("unchecked")), (vec![], vec![]), "{:#}", self.value);
        assert_eq!((self.exit, &self.value["well"]), (Some(0), &Value::Bool(true)));
    }
}
