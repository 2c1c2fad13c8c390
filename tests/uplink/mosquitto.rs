//! A real mosquitto of one's own, and a proxy before it that can swallow what passes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wardline::lab::pki::Pair;

use super::support::{Certificates, PATIENCE};

pub(crate) struct Mosquitto {
    pub(crate) port: u16,
    config: PathBuf,
    child: Child,
}

/// How it is set up.
pub(crate) struct Setup<'a> {
    pub(crate) server: &'a Pair,
    /// The highest version of TLS, in OpenSSL's words.
    pub(crate) tls: &'a str,
    pub(crate) acl: Option<&'a Path>,
}

impl Mosquitto {
    pub(crate) fn start(certificates: &Certificates) -> Self {
        Self::start_with(certificates, &Setup { server: &certificates.server, tls: "TLSv1.3", acl: None })
    }

    pub(crate) fn start_with(certificates: &Certificates, setup: &Setup<'_>) -> Self {
        Self::start_from(certificates, setup, "")
    }

    /// With more lines in its configuration.
    pub(crate) fn start_and(certificates: &Certificates, lines: &str) -> Self {
        let setup = Setup { server: &certificates.server, tls: "TLSv1.3", acl: None };
        Self::start_from(certificates, &setup, lines)
    }

    fn start_from(certificates: &Certificates, setup: &Setup<'_>, lines: &str) -> Self {
        let port = wardline::lab::ports::free_port().unwrap();
        let mut text = format!(
            "user root\nper_listener_settings false\nlistener {port} 127.0.0.1\ncafile {}\ncertfile {}\nkeyfile {}\n\
             require_certificate true\nuse_identity_as_username true\n\
             persistence false\nmax_queued_messages 0\nmax_inflight_messages 100\nlog_type all\n",
            certificates.pki.authorities().display(),
            setup.server.certificate.display(),
            setup.server.key.display(),
        );
        if let Some(acl) = setup.acl {
            writeln!(text, "acl_file {}", acl.display()).unwrap();
        }
        text.push_str(lines);
        let config = certificates.path().join(format!("mosquitto-{port}.conf"));
        File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        // mosquitto can set only the lowest version itself.
        let openssl = config.with_extension("cnf");
        let limits = format!(
            "openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nMaxProtocol = {}\n",
            setup.tls
        );
        File::create(openssl).unwrap().write_all(limits.as_bytes()).unwrap();
        let child = launch(&config);
        Self { port, config, child }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it like a power cut.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port, with nothing remembered.
    pub(crate) fn restart(&mut self) {
        self.child = launch(&self.config);
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it and waits until it says that it runs.
#[expect(clippy::disallowed_methods, reason = "a thread reads the child's log until the child ends")]
fn launch(config: &Path) -> Child {
    let mut child = Command::new("mosquitto")
        .arg("-c")
        .arg(config)
        .env("OPENSSL_CONF", config.with_extension("cnf"))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("mosquitto must be installed (Debian package mosquitto)");
    let log = BufReader::new(child.stderr.take().unwrap());
    let (ready, is_ready) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut all = String::new();
        for line in log.lines().map_while(Result::ok) {
            if line.contains(" running") {
                let _ = ready.try_send(Ok(()));
            }
            all.push_str(&line);
            all.push('\n');
        }
        let _ = ready.try_send(Err(all));
    });
    is_ready.recv_timeout(PATIENCE).expect("mosquitto says that it runs").expect("mosquitto runs");
    child
}

/// A TCP proxy that can swallow everything in both directions, without a FIN.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    swallow: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (swallow, swallowed) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut links = JoinSet::new();
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let swallowed = swallowed.clone();
                links.spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else { return };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::join!(
                        pass(near_in, far_out, swallowed.clone()),
                        pass(far_in, near_out, swallowed)
                    );
                });
            }
        });
        Self { port, swallow, _tasks: tasks }
    }

    pub(crate) fn swallow(&self, swallow: bool) {
        self.swallow.send_replace(swallow);
    }
}

/// Passes bytes on. What comes in while swallowing is gone for good, and so is the link: a link that
/// lost bytes cannot be mended.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    swallowed: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut buffer = vec![0; 64 * 1024];
    let mut dead = false;
    while let Ok(count) = from.read(&mut buffer).await {
        dead |= *swallowed.borrow();
        if count == 0 || (!dead && to.write_all(&buffer[..count]).await.is_err()) {
            break;
        }
    }
    if dead {
        // No FIN either.
        std::future::pending::<()>().await;
    }
}
