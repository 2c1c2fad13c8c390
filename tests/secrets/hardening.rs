//! The process itself: no core dump, nobody looks into it, also where it runs as a service user.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal};
use wardline::lab::sim::alaris;
use wardline::lab::stage::{self, Daemon};

use crate::support::{Bench, PATIENCE, within};

/// The user that nothing belongs to.
const NOBODY: u32 = 65_534;

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

/// Sent until it works: the first SIGSEGV that no fault of memory brought is taken by the runtime.
async fn end_by(daemon: &mut Daemon, signal: Signal) -> ExitStatus {
    within("the end of the daemon", async {
        loop {
            if let Some(status) = daemon.ended().unwrap() {
                return status;
            }
            rustix::process::kill_process(pid(daemon.id()), signal).unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await
}

/// A shell that lifts the limit on core dumps as far as it may, and becomes a program.
fn with_core_dumps(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).current_dir(folder);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_no_core_dump_whatever_kills_it() {
    let mut bench = Bench::new().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let folder = tempfile::tempdir().unwrap();
    // The same death of an ordinary program, so that this test says something here.
    let ordinary = with_core_dumps(folder.path()).args(["sh", "-c", "kill -SEGV $$"]).status().unwrap();
    assert_eq!(ordinary.signal(), Some(11));
    assert!(ordinary.core_dumped(), "this machine writes no core dumps at all: `ulimit -Hc` must not be 0");
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    // Not SIGQUIT: a shell that starts something in the background has it ignored.
    for signal in [Signal::SEGV, Signal::ABORT, Signal::ILL] {
        let mut command = with_core_dumps(folder.path());
        command.args([env!("CARGO_BIN_EXE_wardline"), "run"]).env_remove("NOTIFY_SOCKET");
        let mut daemon = Daemon::start(command, bench.path()).unwrap();
        bench.status("a reading", |status| status.devices.iter().any(|device| device.admitted > 0)).await;
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
        let limit = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(limit.split_ascii_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{limit}");
        let ended = end_by(&mut daemon, signal).await;
        assert_eq!(ended.signal(), Some(signal.as_raw()));
        assert!(!ended.core_dumped(), "{signal:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a file beside the daemon");
    }
}

/// As a service manager starts it: another user, no privilege.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(program)
        .stdin(Stdio::null());
    command
}

/// Hands a folder with all that is in it to the service user.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A program where the service user can reach it.
fn copy_of(program: &Path, folder: &Path) -> std::path::PathBuf {
    let to = folder.join(program.file_name().unwrap());
    std::fs::copy(program, &to).unwrap();
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).unwrap();
    to
}

/// Whether the same user can read the memory of a process of his.
fn can_look_into(process: u32) -> bool {
    let mut look = as_nobody(Path::new("dd"));
    look.arg(format!("if=/proc/{process}/mem")).args(["of=/dev/null", "bs=1", "count=0"]);
    look.stderr(Stdio::null()).status().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_a_service_user_it_works_and_not_even_that_user_can_look_into_it() {
    assert!(rustix::process::geteuid().is_root(), "only root can start a program as another user");
    let mut bench = Bench::new().await;
    bench.serve().await;
    let pump = bench.pump("pump-1", "8002-51733", alaris::Values::default());
    bench.configure(&stage::serial_device("pump-1", "alaris-asena", &pump.path(), "8002-51733"));
    let programs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = copy_of(Path::new(env!("CARGO_BIN_EXE_wardline")), programs.path());
    give(bench.path());
    std::os::unix::fs::chown(pump.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = as_nobody(&program);
    command.arg("run").env_remove("NOTIFY_SOCKET");
    let mut daemon = Daemon::start(command, bench.path()).unwrap();
    within("readings", bench.consumer.wait_for(|ledger| ledger.records > 10)).await;
    bench.status("what it is doing", |status| status.uplink.state == "connected").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534"), "{status}");

    // An ordinary process of that user, for comparison.
    let mut ordinary = as_nobody(Path::new("sleep")).arg("600").spawn().unwrap();
    // (The folder itself is always its user's.)
    let owner = |id: u32| std::fs::metadata(format!("/proc/{id}/mem")).unwrap().uid();
    let is_nobodys = within("the other user's process", async {
        while owner(ordinary.id()) != NOBODY {
            tokio::task::yield_now().await;
        }
        can_look_into(ordinary.id())
    })
    .await;
    ordinary.kill().unwrap();
    ordinary.wait().unwrap();
    assert!(is_nobodys, "the comparison holds");
    assert_eq!(owner(daemon.id()), 0, "what is not dumpable belongs to root in /proc");
    assert!(!can_look_into(daemon.id()));
    assert_eq!(daemon.stop(PATIENCE).await.unwrap().code(), Some(0), "{}", daemon.last_words());
}

/// For `files`: what somebody without any right is told by the status socket.
pub(crate) fn asked_by_nobody(socket: &Path, test: &str, variable: &str) -> std::process::Output {
    let programs = tempfile::tempdir().unwrap();
    std::fs::set_permissions(programs.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = copy_of(&std::env::current_exe().unwrap(), programs.path());
    let mut command = as_nobody(&program);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(variable, socket);
    command.output().unwrap()
}
