//! A private D-Bus: `dbus-daemon` in a folder of its own, for as long as the value lives.

use std::fs::{DirBuilder, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::BluezError;

/// A private bus. Dropping it ends the daemon, also when a test panics.
pub struct Bus {
    daemon: Child,
    folder: PathBuf,
    address: String,
}

impl Bus {
    /// Starts a daemon and waits until it listens.
    pub fn start() -> Result<Self, BluezError> {
        let folder = new_folder().map_err(|error| BluezError::Bus(error.to_string()))?;
        let started = start_daemon(&folder);
        match started {
            Ok((daemon, address)) => Ok(Self { daemon, folder, address }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// For `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn start_daemon(folder: &Path) -> Result<(Child, String), BluezError> {
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
    let address = address.trim().to_owned();
    if matches!(read, Some(Ok(_))) && !address.is_empty() {
        return Ok((daemon, address));
    }
    let _ = daemon.kill();
    let _ = daemon.wait();
    let mut said = String::new();
    let _ = daemon.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
    Err(BluezError::Bus(format!("dbus-daemon ended before it listened: {}", said.trim())))
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
    let folder = folder.display();
    format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={folder}/bus</listen>
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
