//! A private D-Bus: `dbus-daemon` in a folder of its own, for as long as the value lives.

use std::fs::{DirBuilder, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::BluezError;

/// The name of the socket in the bus's folder.
const SOCKET: &str = "bus";

/// A private bus. Dropping it ends the daemon, also when a test panics.
pub struct Bus {
    daemon: Child,
    folder: PathBuf,
    /// Whether the folder goes with the daemon.
    owns_folder: bool,
}

impl Bus {
    /// Starts a daemon in a new folder and waits until it listens.
    pub fn start() -> Result<Self, BluezError> {
        let folder = new_folder().map_err(|error| BluezError::Bus(error.to_string()))?;
        match start_daemon(&folder) {
            Ok(daemon) => Ok(Self { daemon, folder, owns_folder: true }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Starts a daemon where another one was, which must have ended: the address is the same.
    pub fn start_in(folder: &Path) -> Result<Self, BluezError> {
        let _ = std::fs::remove_file(folder.join(SOCKET));
        let daemon = start_daemon(folder)?;
        Ok(Self { daemon, folder: folder.to_owned(), owns_folder: false })
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        address_in(&self.folder)
    }

    /// Where its socket is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The daemon's process.
    pub fn process(&self) -> u32 {
        self.daemon.id()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        if self.owns_folder {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn start_daemon(folder: &Path) -> Result<Child, BluezError> {
    let failed = |error: std::io::Error| BluezError::Bus(error.to_string());
    let config = folder.join("bus.conf");
    File::create(&config)
        .and_then(|mut file| file.write_all(configuration(folder).as_bytes()))
        .map_err(failed)?;
    let spawned = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--nopidfile", "--print-address=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut daemon = match spawned {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(BluezError::NoDaemon),
        other => other.map_err(failed)?,
    };
    // It prints its address when it listens.
    let mut address = String::new();
    let read = daemon.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut address));
    if matches!(read, Some(Ok(length)) if length > 0) {
        return Ok(daemon);
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    let mut said = String::new();
    let _ = daemon.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
    Err(BluezError::Bus(format!("dbus-daemon ended before it listened: {}", said.trim())))
}

/// Without the identifier that the daemon prints, which another daemon at this place would not have.
fn address_in(folder: &Path) -> String {
    format!("unix:path={}/{SOCKET}", folder.display())
}

/// A folder that only this user may enter, with a short name: a socket's path has at most 107 octets.
fn new_folder() -> std::io::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let folder = std::env::temp_dir().join(format!("wardline-bus-{process}-{number}"));
        match DirBuilder::new().mode(0o700).create(&folder) {
            // Left over by an earlier process of the same number.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => return other.map(|()| folder),
        }
    }
}

fn configuration(folder: &Path) -> String {
    let address = address_in(folder);
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>{address}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
  <!-- Far below the system bus's 512: a program that forgets to take its rules back is found out. -->
  <limit name="max_match_rules_per_connection">64</limit>
</busconfig>
"#
    )
}
