//! Starting and ending, as a service manager sees it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use wardline::lab::sim::alaris;
use wardline::lab::stage;

use crate::support::{Bench, PATIENCE, within};

/// One datagram of the service manager's protocol, off the runtime.
async fn told(socket: &std::sync::Arc<UnixDatagram>, what: &str, wanted: &'static str) -> String {
    let socket = std::sync::Arc::clone(socket);
    let heard = tokio::task::spawn_blocking(move || {
        let mut buffer = [0; 1_024];
        loop {
            let count = socket.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(buffer.get(..count).unwrap()).into_owned();
            if text.contains(wanted) {
                return text;
            }
        }
    });
    within(what, heard).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_ready_feeds_the_watchdog_and_says_stopping() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let path = bench.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = std::sync::Arc::new(socket);
    let path = path.display().to_string();
    // A watchdog of 400 ms is fed every 200 ms.
    let mut daemon = bench.start_with(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "400000")]);
    told(&socket, "READY", "READY=1").await;
    for _ in 0..3 {
        told(&socket, "WATCHDOG", "WATCHDOG=1").await;
    }
    bench
        .status("a reading", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|device| device.admitted > 0)
        })
        .await;
    let ended = daemon.stop(PATIENCE).await.unwrap();
    told(&socket, "STOPPING", "STOPPING=1").await;
    assert_eq!(ended.code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_also_when_for_a_long_time_there_is_nothing_to_do() {
    // Each heart may stand still for 10 s. There is no broker and no reading.
    let mut bench = Bench::new().await;
    let silent = bench.oximeter("spo2-1", "0000056661", 9_600);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &silent.path(), "0000056661"));
    let path = bench.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let socket = std::sync::Arc::new(socket);
    let path = path.display().to_string();
    // A watchdog of 2 s is fed every second.
    let mut daemon = bench.start_with(&[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "2000000")]);
    for _ in 0..13 {
        told(&socket, "WATCHDOG", "WATCHDOG=1").await;
    }
    assert!(!daemon.last_words().contains("stands still"), "{}", daemon.last_words());
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_drains_what_was_read_to_the_disk_and_says_goodbye_to_the_broker() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let oximeter = bench.oximeter("spo2-1", "0000056661", 115_200);
    bench.configure(&stage::serial_device("spo2-1", "masimo-ascii1", &oximeter.path(), "0000056661"));
    let mut daemon = bench.start();
    bench
        .status("the port is open", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|device| device.link == "up")
        })
        .await;
    let values = wardline::lab::sim::masimo::Values { spo2: Some(97), bpm: Some(61), ..Default::default() };
    for _ in 0..50 {
        oximeter.set(values.clone());
    }
    let status = bench
        .status("readings", |status| {
            !status.devices.is_empty() && status.devices.iter().all(|device| device.admitted >= 100)
        })
        .await;
    let admitted: u64 = status.devices.iter().map(|device| device.admitted).sum();
    let ended = daemon.stop(PATIENCE).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", daemon.last_words());
    // A second start sends what the first could not; together they lost nothing.
    let mut second = bench.start();
    bench.status("the second daemon runs", |_| true).await;
    within("every reading at the consumer", bench.consumer.wait_for(|ledger| ledger.records >= admitted))
        .await;
    bench.end(&mut second).await;
    bench.consumer.with(|ledger| {
        assert_eq!((ledger.lost(), ledger.sum(|tally| tally.doubled)), (0, 0));
        assert_eq!(ledger.complaints, Vec::<String>::new());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_never_share_a_store() {
    let mut bench = Bench::new().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut first = bench.start();
    bench.status("the first daemon runs", |_| true).await;
    let mut second = bench.start();
    let ended = within("the second daemon refuses", async {
        loop {
            if let Some(status) = second.ended().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(ended.code(), Some(5), "{}", second.last_words());
    assert!(second.last_words().contains("in use by another process"), "{}", second.last_words());
    assert_eq!(first.stop(PATIENCE).await.unwrap().code(), Some(0));
}

/// Readings matter more than who may see the status.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_group_that_does_not_exist_is_a_warning_and_the_daemon_runs() {
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let mut daemon = bench.start_with(&[("WARDLINE_STATUS__GROUP", "no-such-group-here")]);
    within("its readings", bench.consumer.wait_for(|ledger| ledger.records > 10)).await;
    let status = bench.status("its status", |_| true).await;
    let told = |warning: &String| warning.contains("no group \"no-such-group-here\"");
    assert!(status.warnings.iter().any(told), "{:?}", status.warnings);
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

/// Who is on the allowlist is who is let in: that it changed is written down, however it changed.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_another_allowlist_is_in_the_audit_log() {
    let mut bench = Bench::new().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    let other = bench.pump("pump-2", "8002-51740", alaris::Values::default());
    let entry = |id: &str, port: &std::path::Path, serial: &str| {
        stage::serial_device(id, "alaris-asena", port, serial)
    };
    let first = entry("pump-1", &pump.path(), "8002-51733");
    let changed = entry("pump-1", &pump.path(), "8002-51799") + &entry("pump-2", &other.path(), "8002-51740");
    let last = entry("pump-2", &other.path(), "8002-51740");
    bench.configure(&first);
    for devices in [&first, &first, &changed, &last] {
        let file = bench.path().join("devices.d/ward.toml");
        wardline::host::atomic_file::write(&file, devices.as_bytes()).unwrap();
        let mut daemon = bench.start();
        bench.status("it runs", |_| true).await;
        assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
    }
    let mut found = Vec::new();
    let log = wardline::host::audit::AuditLog::beside(&bench.path().join("store"));
    log.read(&mut |entry| {
        let says = entry.says.unwrap();
        found.push(["action", "about"].map(|key| says[key].clone()));
        Ok(())
    })
    .unwrap();
    let line = |action: &str, id: &str| [serde_json::json!(action), serde_json::json!({"devices": id})];
    assert_eq!(
        found,
        [
            line("device-listed", "pump-1"),
            line("device-listed", "pump-2"),
            line("device-changed", "pump-1"),
            line("device-removed", "pump-1"),
        ]
    );
}
