//! The page in a browser: the real daemon, a real mosquitto, simulated devices, and a real Chromium without a window.
//! `PAGE_PICTURES=FOLDER` keeps the screen shots.

#![cfg(all(target_os = "linux", feature = "dashboard", feature = "lab"))]
#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking, its helpers too"
)]

#[path = "uplink/mosquitto.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod mosquitto;
#[path = "uplink/support.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod support;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinSet;
use wardline::host::status::{self, Snapshot};
use wardline::lab::pki::Validity;
use wardline::lab::sim::masimo;
use wardline::lab::stage::{self, Daemon};

use self::mosquitto::Mosquitto;
use self::support::Certificates;

const SERIAL: &str = "0000056661";
/// What the device in the wrong place says that it is: a serial number belongs to whoever may ask for the status.
const CANARY: &str = "0000777123";

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn until(folder: PathBuf, is_so: impl Fn(&Snapshot) -> bool) {
    let mut last = String::new();
    let asked = async {
        loop {
            let socket = stage::socket(&folder);
            match tokio::task::spawn_blocking(move || status::ask(&socket)).await.unwrap() {
                Ok(snapshot) if is_so(&snapshot) => return,
                other => last = format!("{other:?}"),
            }
            // The socket has no way to call back: ask again.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), asked).await;
    assert!(waited.is_ok(), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Debian's chromium and chromium-driver: tests/run installs them"]
async fn the_page_in_a_browser() {
    let certificates = Certificates::new();
    let broker = Mosquitto::start(&certificates);
    let (mut tasks, mut devices) = (JoinSet::new(), String::new());
    let mut kept = Vec::new();
    for (id, says) in [("oximeter-bed-8", SERIAL), ("oximeter-bed-3", CANARY)] {
        let setup = masimo::Setup {
            link: Some(certificates.path().join(id)),
            serial: says.to_owned(),
            baud: 1_000_000,
            cadence: masimo::Cadence::Every(Duration::from_millis(500)),
            ..masimo::Setup::default()
        };
        let values = masimo::Values { spo2: Some(97), bpm: Some(61), ..masimo::Values::default() };
        let (running, control) = masimo::oximeter(setup, values).unwrap();
        tasks.spawn(async move { running.await.unwrap() });
        devices += &stage::serial_device(id, "masimo-ascii1", &control.path(), SERIAL);
        kept.push(control);
    }
    for bed in [1, 2, 4, 5] {
        let id = format!("pump-bed-{bed}");
        let nowhere = certificates.path().join(&id);
        devices += &stage::serial_device(&id, "alaris-asena", &nowhere, "8002-51734");
    }
    let folder = certificates.path().join("gateway");
    let client = certificates.pki.client("gw-lab", Validity::Now).unwrap();
    stage::configure(&folder, &certificates.pki, &client, broker.port, &devices).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.arg("run").env_remove("NOTIFY_SOCKET");
    let daemon = Daemon::start(command, &folder).unwrap();
    until(folder.clone(), |now| {
        now.uplink.state == "connected"
            && now.devices.iter().any(|device| device.quarantine.is_some())
            && now.devices.iter().any(|device| device.admitted > 0 && device.quarantine.is_none())
    })
    .await;

    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline-dashboard"));
    let mut page = command.arg("--config").arg(&folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(page.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let page = Running(page);
    let pictures =
        std::env::var_os("PAGE_PICTURES").map_or_else(|| certificates.path().join("pictures"), PathBuf::from);
    let mut browser = Command::new("python3");
    browser.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dashboard/browser.py"));
    browser.args([address.trim(), &daemon.id().to_string(), &page.0.id().to_string(), CANARY]).arg(pictures);
    let ended = tokio::task::spawn_blocking(move || browser.status().unwrap()).await.unwrap();
    assert!(ended.success());
}
