//! The daemon under demonstration or test: the real code in a process of its own, with a
//! configuration folder as a gateway would have it.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::backoff::Random as _;
use crate::host::random::SystemRandomness;
use crate::lab::pki::{Pair, Pki};

/// Writes the configuration folder and its keys.
pub fn configure(folder: &Path, pki: &Pki, client: &Pair, broker: u16, devices: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder.join("devices.d"))?;
    let mut random = SystemRandomness::new();
    for name in ["kek", "ward"] {
        let words = [(); 4].map(|()| format!("{:016x}", random.next_u64()));
        write(&folder.join(name), &words.concat(), 0o600)?;
    }
    let text = |path: &Path| path.display().to_string();
    let gateway = format!(
        "[gateway]\norganisation = \"lab\"\ngroup = \"ward-7\"\nid = \"gw-lab\"\n\n\
         [uplink]\nhost = \"localhost\"\nport = {broker}\nauthorities = {authorities:?}\n\
         certificate = {certificate:?}\nkey = {key:?}\nbackoff_first = \"200ms\"\nbackoff_most = \"1s\"\n\n\
         [store]\nfolder = {store:?}\ncap = \"256MiB\"\nalarm_reserve = \"16MiB\"\n\n\
         [keys]\nkek = \"kek\"\nward = \"ward\"\n\n[status]\nsocket = {socket:?}\n",
        authorities = text(&pki.authorities()),
        certificate = text(&client.certificate),
        key = text(&client.key),
        store = text(&folder.join("store")),
        socket = text(&socket(folder)),
    );
    write(&folder.join("gateway.toml"), &gateway, 0o600)?;
    write(&folder.join("devices.d/ward.toml"), devices, 0o600)
}

/// A device on a serial port, as a section of `devices.d`.
pub fn serial_device(id: &str, driver: &str, port: &Path, serial: &str) -> String {
    let port = port.display().to_string();
    format!(
        "[[device]]\nid = {id:?}\nasset = \"ASSET-{id}\"\ndriver = {driver:?}\nport = {port:?}\n\
         allow_unstable_port = true\nelements = \"all\"\nexpects = {{ serial = {serial:?} }}\n\n"
    )
}

/// A device over BLE, as a section of `devices.d`.
pub fn ble_device(id: &str, profile: &str, address: &str, serial: &str) -> String {
    format!(
        "[[device]]\nid = {id:?}\nasset = \"ASSET-{id}\"\nprofiles = [{profile:?}]\naddress = {address:?}\n\
         security = \"open\"\nelements = \"all\"\nexpects = {{ serial = {serial:?} }}\n\n"
    )
}

/// Where the status socket is.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join("status.sock")
}

/// The running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a program as the daemon: `command` with `--config` and what the caller added.
    pub fn start(mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join("daemon.log");
        let output = std::fs::File::options().create(true).append(true).open(&log)?;
        command.arg("--config").arg(folder);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("cannot start the daemon")?;
        Ok(Self { child, log })
    }

    /// Kills it, as the power does.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends the signal that ends it here and now; [`Daemon::kill`] waits for it.
    pub fn kill_at_once(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill()?)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Tells it to stop and waits.
    pub async fn stop(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let id = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(id.context("no process id")?, rustix::process::Signal::TERM)?;
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return anyhow::Ok(status);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(patience, ended).await.context("the daemon does not end")?
    }

    /// The last lines that it logged.
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
