//! The one broker: a real mosquitto with client certificates, access lists and persistence, that can be killed.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::documents::{GROUP, ORGANISATION};
use crate::host::atomic_file;
use crate::host::clock::SystemClock;
use crate::lab::bench::broker::mosquitto;
use crate::lab::bench::machine::{Memory, processor_seconds_of};
use crate::lab::pki::{Pair, Pki, Validity};
use crate::lab::ports::free_port;
use crate::time::Clock as _;

/// The operator's name, by its certificate.
pub(super) const OPERATOR: &str = "operator";
/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A mosquitto.
pub(super) struct Broker {
    pub(super) port: u16,
    program: PathBuf,
    config: PathBuf,
    child: Child,
    /// Processor time of those that were killed, in seconds.
    spent: f64,
}

impl Broker {
    /// Starts one on the loopback, with its files in a folder. Also writes what the operator needs to reach it.
    pub(super) fn start(folder: &Path, pki: &Pki) -> anyhow::Result<Self> {
        let program = mosquitto().context("mosquitto is not installed")?;
        let Pair { certificate, key } = pki.server("server", &["localhost", "127.0.0.1"], Validity::Now)?;
        let port = free_port()?;
        let access = folder.join("acl");
        atomic_file::write(&access, access_list().as_bytes())?;
        let (authorities, place) = (pki.authorities(), folder.join("kept"));
        atomic_file::create_folder(&place)?;
        // What is kept is written every ten seconds; without `user root` it would give its rights away, and its files.
        let text = format!(
            "user root\nper_listener_settings false\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
             require_certificate true\nuse_identity_as_username true\nacl_file {}\npersistence true\n\
             persistence_location {}/\nautosave_interval 10\nmax_queued_messages 0\nmax_inflight_messages 100\n\
             set_tcp_nodelay true\nsys_interval 1\nlog_type error\n",
            authorities.display(),
            certificate.display(),
            key.display(),
            access.display(),
            place.display(),
        );
        let config = folder.join("mosquitto.conf");
        atomic_file::write(&config, text.as_bytes())?;
        let own = pki.client(OPERATOR, Validity::Now)?;
        let mut settings = format!("host = \"127.0.0.1\"\nport = {port}\n");
        for (name, path) in
            [("authorities", &authorities), ("certificate", &own.certificate), ("key", &own.key)]
        {
            writeln!(settings, "{name} = \"{}\"", path.display())?;
        }
        atomic_file::write(&folder.join("broker.toml"), settings.as_bytes())?;
        let child = launch(&program, &config)?;
        let mut broker = Self { port, program, config, child, spent: 0.0 };
        broker.wait()?;
        Ok(broker)
    }

    /// Ends it like a power cut.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.spent = self.processor_seconds();
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again, with what it had written down.
    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        self.child = launch(&self.program, &self.config)?;
        self.wait()
    }

    /// Resident memory in MiB.
    pub(super) fn memory(&self) -> f64 {
        Memory::of(&self.child.id().to_string()).rss
    }

    /// Processor time so far, in seconds.
    pub(super) fn processor_seconds(&self) -> f64 {
        self.spent + processor_seconds_of(&self.child.id().to_string())
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let clock = SystemClock::default();
        let began = clock.now().mono;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let said = || fs::read_to_string(self.config.with_extension("log")).unwrap_or_default();
            ensure!(self.child.try_wait()?.is_none(), "mosquitto ended at once: {}", said());
            ensure!(clock.now().mono.since(began) < PATIENCE, "mosquitto does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn launch(program: &Path, config: &Path) -> anyhow::Result<Child> {
    let log = fs::File::create(config.with_extension("log"))?;
    let mut command = Command::new(program);
    command.arg("-c").arg(config).stdout(Stdio::null()).stderr(log);
    command.spawn().context("mosquitto cannot be started")
}

/// Each gateway reads what is meant for all, and writes what is its own; `%u` is its certificate's name.
fn access_list() -> String {
    let (of, group) = (ORGANISATION, GROUP);
    format!(
        "user {OPERATOR}\ntopic readwrite c/v1/{of}/root/#\ntopic readwrite c/v1/{of}/g/#\ntopic read c/v1/{of}/#\n\
         topic read s/v1/{of}/#\ntopic read $SYS/#\npattern read c/v1/{of}/root/#\npattern read c/v1/{of}/g/{group}/#\n\
         pattern write c/v1/{of}/gw/%u/reported\npattern write s/v1/{of}/{group}/%u/#\n\
         pattern write d/v1/{of}/{group}/%u/#\npattern write e/v1/{of}/{group}/%u/#\n"
    )
}
