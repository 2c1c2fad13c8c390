//! The status socket: one question on a connection, one answer back.
//!
//! In: connections on a Unix socket, and the request line [`REQUEST`]. Out: one line of JSON, a
//! [`Snapshot`] or `{"error": "..."}`. For a collector of metrics that reaches HTTP over a Unix socket,
//! `GET /metrics HTTP/1.1` is a question too, and the answer is [`metrics`]'s page: nothing else of HTTP is known
//! here, and the socket is the same. Who asks is taken from the kernel (`SO_PEERCRED`, unix(7)):
//! root, the daemon's own user, and members of one configured group get an answer; anyone else is
//! refused and counted.
//!
//! What never happens: a connection holds up the next for longer than [`PATIENCE`] twice; a request
//! or an answer grows without bound; a symbolic link or a file in the socket's place is followed,
//! written to or removed; the socket exists for a moment with other permissions than its own.

pub mod metrics;
#[cfg(any(test, feature = "lab"))]
pub mod sample;
mod snapshot;
pub mod warnings;

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

pub use snapshot::{
    Certificate, Device, Identity, KeyRotation, Lane, MAX_UNLISTED, MAX_WARNINGS, Radio, Snapshot, Store,
    Unlisted, Uplink,
};

/// What is asked. The number is the version of the question.
pub const REQUEST: &str = "status 1\n";
/// How long either side waits for the other: a person waits no longer.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer is waited for: others may be asked before this one.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// The longest request line.
const MAX_REQUEST: u64 = 64;
/// The longest request of a collector, its headers included. They are read and passed over.
const MAX_HEADERS: u64 = 8 * 1024;
/// What a collector asks for.
const METRICS_LINES: [&str; 2] = ["GET /metrics HTTP/1.1\r\n", "GET /metrics HTTP/1.0\r\n"];
/// The largest answer: a thousand devices with room to spare.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// The system's users and groups, and the largest such file that is read.
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";
const MAX_GROUP_FILE: u64 = 1024 * 1024;
/// The socket's permissions: the owner and its group may connect.
const MODE: u32 = 0o660;

/// Why the socket could not be made or asked.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Something that is not a socket stands in its place.
    #[error("{path} is in the way of the status socket and is not a socket: remove it")]
    InTheWay {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another daemon answers there.
    #[error("another daemon answers on {path}: stop it first")]
    Taken {
        /// The socket's path.
        path: PathBuf,
    },
    /// There is no such group.
    #[error("there is no group {group:?}: create it, or give its number")]
    NoGroup {
        /// What the configuration says.
        group: String,
    },
    /// Nobody answers.
    #[error("no daemon answers on {path}: is it running? See systemctl status wardline")]
    NotRunning {
        /// The socket's path.
        path: PathBuf,
    },
    /// Somebody is there and says nothing.
    #[error(
        "the daemon that listens on {path} did not answer within {} s: it hangs; see journalctl -u wardline, then \
         systemctl restart wardline",
        .within.as_secs()
    )]
    Hangs {
        /// The socket's path.
        path: PathBuf,
        /// How long it was waited for.
        within: Duration,
    },
    /// The daemon does not answer this user, or cannot.
    #[error("the daemon refused: {reason}")]
    Refused {
        /// The daemon's words, or the system's.
        reason: String,
    },
    /// The system's own error.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

/// Who gets an answer beside root.
#[derive(Clone, Copy, Debug)]
struct Access {
    user: Option<u32>,
    group: Option<u32>,
}

impl Access {
    fn allows(self, user: u32, group: u32, is_listed: impl FnOnce(u32, u32) -> bool) -> bool {
        if user == 0 || self.user == Some(user) {
            return true;
        }
        self.group.is_some_and(|allowed| allowed == group || is_listed(user, allowed))
    }
}

/// The socket, from its making to its removal when dropped.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    place: (u64, u64),
    access: Access,
    groupless: Option<String>,
    refused: AtomicU64,
    patience: Duration,
}

impl StatusSocket {
    /// Makes the socket. What a daemon left behind that ended without clearing up is replaced;
    /// anything else in its place is an error. `group` is a name or a number; one that cannot be had costs the
    /// group its answers ([`groupless`](Self::groupless)) and nobody else anything.
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, StatusError> {
        refuse_what_is_there(path).await?;
        let io = |what| move |source| StatusError::Io { what, path: path.to_owned(), source };
        // Made under another name and moved into place when its permissions are right.
        let unfinished = unfinished(path);
        let _ = std::fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(io("make"))?;
        let finish = || {
            std::fs::set_permissions(&unfinished, PermissionsExt::from_mode(MODE))?;
            let given = group.map(|group| give_to(&unfinished, group)).transpose();
            std::fs::rename(&unfinished, path)?;
            Ok((std::fs::symlink_metadata(path)?, given))
        };
        let made = finish().inspect_err(|_| {
            let _ = std::fs::remove_file(&unfinished);
        });
        let (made, given) = made.map_err(io("set up"))?;
        let (group, groupless) = match given {
            Ok(group) => (group, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let access = Access { user: Some(rustix::process::geteuid().as_raw()), group };
        let place = (made.dev(), made.ino());
        Ok(Self {
            listener,
            path: path.to_owned(),
            place,
            access,
            groupless,
            refused: AtomicU64::new(0),
            patience: PATIENCE,
        })
    }

    /// Why the group gets no answer, when it cannot be had: then only root and the own user get one.
    pub fn groupless(&self) -> Option<&str> {
        self.groupless.as_deref()
    }

    /// How many connections were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers one connection after another, for ever. Cancel-safe: dropping it drops at most one
    /// unfinished answer.
    pub async fn serve(&self, snapshot: impl Fn() -> Snapshot) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => self.answer(stream, &snapshot).await,
                Err(error) => {
                    tracing::warn!(%error, "the status socket could not accept a connection");
                    // Out of descriptors: trying again at once would only spin.
                    tokio::time::sleep(self.patience).await;
                }
            }
        }
    }

    async fn answer(&self, mut stream: UnixStream, snapshot: &impl Fn() -> Snapshot) {
        let mut unread = false;
        let reply = match self.admit(&stream) {
            Ok(()) => match timeout(self.patience, read_request(&mut stream)).await {
                Ok(Some(Request::Status)) => render(&snapshot()),
                Ok(Some(Request::Metrics)) => page(&snapshot()),
                Ok(None) => error("the request is not one that this daemon knows"),
                Err(_) => return,
            },
            Err(reason) => {
                unread = true;
                let count = self.refused.fetch_add(1, Ordering::Relaxed).saturating_add(1);
                if crate::policy::should_log(count) {
                    tracing::warn!(count, reason, "a request for the status was refused");
                }
                error(&reason)
            }
        };
        // A client that went away or does not read has no answer to lose.
        let _ = timeout(self.patience, async {
            stream.write_all(&reply).await?;
            stream.shutdown().await?;
            if unread {
                // Closing on an unread request would reset the connection, and the reason with it.
                stream.take(MAX_REQUEST).read_to_end(&mut Vec::new()).await?;
            }
            Ok::<(), std::io::Error>(())
        })
        .await;
    }

    fn admit(&self, stream: &UnixStream) -> Result<(), String> {
        let peer = stream.peer_cred().map_err(|error| format!("who asks cannot be told: {error}"))?;
        if self.access.allows(peer.uid(), peer.gid(), is_listed) {
            return Ok(());
        }
        Err(format!(
            "user {} may not ask: become root or a member of the group in `status.group`",
            peer.uid()
        ))
    }
}

/// Removes the socket, if it is still this one.
impl Drop for StatusSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.place) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Asks the daemon. Blocking: for the commands.
pub fn ask(path: &Path) -> Result<Snapshot, StatusError> {
    ask_within(path, ANSWERS_WITHIN)
}

fn ask_within(path: &Path, within: Duration) -> Result<Snapshot, StatusError> {
    let io = |what| move |source| StatusError::Io { what, path: path.to_owned(), source };
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(|source| {
        let gone = [std::io::ErrorKind::NotFound, std::io::ErrorKind::ConnectionRefused];
        if gone.contains(&source.kind()) {
            return StatusError::NotRunning { path: path.to_owned() };
        }
        StatusError::Io { what: "connect to", path: path.to_owned(), source }
    })?;
    let patience = Some(within);
    stream.set_read_timeout(patience).map_err(io("set up"))?;
    stream.set_write_timeout(patience).map_err(io("set up"))?;
    // A daemon that refuses may have closed already: its answer, if there is one, is the last word.
    let written = stream.write_all(REQUEST.as_bytes());
    let mut answer = Vec::new();
    let cap = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
    let read = stream.take(cap + 1).read_to_end(&mut answer);
    let is_late = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
    };
    if [written.as_ref().err(), read.as_ref().err()].into_iter().flatten().any(is_late) {
        return Err(StatusError::Hangs { path: path.to_owned(), within });
    }
    if answer.is_empty() {
        written.map_err(io("write to"))?;
        read.map_err(io("read from"))?;
        return Err(StatusError::Refused { reason: "it closed the connection".to_owned() });
    }
    if let Ok(Failure { error }) = serde_json::from_slice(&answer) {
        return Err(StatusError::Refused { reason: error });
    }
    serde_json::from_slice(&answer)
        .map_err(|error| StatusError::Refused { reason: format!("its answer cannot be read: {error}") })
}

/// What is answered instead of a snapshot.
#[derive(serde::Serialize, serde::Deserialize)]
struct Failure {
    error: String,
}

async fn refuse_what_is_there(path: &Path) -> Result<(), StatusError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(StatusError::Io { what: "look at", path: path.to_owned(), source }),
    };
    if !found.file_type().is_socket() {
        return Err(StatusError::InTheWay { path: path.to_owned() });
    }
    match timeout(PATIENCE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(source)) => Err(StatusError::Io { what: "connect to", path: path.to_owned(), source }),
        Ok(Ok(_)) | Err(_) => Err(StatusError::Taken { path: path.to_owned() }),
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    /// The snapshot.
    Status,
    /// The metrics, over HTTP.
    Metrics,
}

async fn read_request(stream: &mut UnixStream) -> Option<Request> {
    let mut reader = BufReader::new(stream.take(MAX_HEADERS));
    let mut line = String::new();
    (&mut reader).take(MAX_REQUEST).read_line(&mut line).await.ok()?;
    if line == REQUEST {
        return Some(Request::Status);
    }
    if !METRICS_LINES.contains(&line.as_str()) {
        return None;
    }
    // Closing on unread headers would reset the connection, and the answer with it.
    loop {
        line.clear();
        if reader.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line.trim_end().is_empty() {
            return Some(Request::Metrics);
        }
    }
}

/// The metrics, as an answer of HTTP.
fn page(snapshot: &Snapshot) -> Vec<u8> {
    let body = metrics::render(Some(snapshot), metrics::Format::OpenMetrics);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        metrics::MEDIA_TYPE,
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn render(snapshot: &Snapshot) -> Vec<u8> {
    match serde_json::to_vec(snapshot) {
        Ok(mut bytes) if bytes.len() < MAX_ANSWER => {
            bytes.push(b'\n');
            bytes
        }
        Ok(bytes) => error(&format!("the answer would have {} bytes", bytes.len())),
        Err(reason) => error(&format!("the answer cannot be written: {reason}")),
    }
}

fn error(reason: &str) -> Vec<u8> {
    let failure = Failure { error: reason.to_owned() };
    let mut bytes = serde_json::to_vec(&failure).unwrap_or_else(|_| b"{\"error\":\"\"}".to_vec());
    bytes.push(b'\n');
    bytes
}

/// Lets a group connect to the socket.
fn give_to(socket: &Path, group: &str) -> Result<u32, StatusError> {
    let id = group_id(group)?;
    std::os::unix::fs::chown(socket, None, Some(id)).map_err(|source| StatusError::Io {
        what: "give to the group of status.group",
        path: socket.to_owned(),
        source,
    })?;
    Ok(id)
}

/// The number of a group: given as such, or looked up in `/etc/group`.
pub fn group_id(group: &str) -> Result<u32, StatusError> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let path = Path::new(GROUPS);
    let text = read_capped(path).map_err(|source| StatusError::Io {
        what: "read",
        path: path.to_owned(),
        source,
    })?;
    text.lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == group).then(|| fields.nth(1)?.parse().ok()).flatten()
        })
        .ok_or_else(|| StatusError::NoGroup { group: group.to_owned() })
}

/// Whether the system's files list a user in a group (passwd(5), group(5)). The kernel does not say
/// which groups beside the first the one who asks has, and the process's own page in `/proc` is hidden
/// from a sandboxed unit. Files that cannot be read vouch for nobody.
fn is_listed(user: u32, group: u32) -> bool {
    let (users, groups) = (read_capped(Path::new(USERS)), read_capped(Path::new(GROUPS)));
    users.is_ok_and(|users| groups.is_ok_and(|groups| is_member(&users, &groups, (user, group))))
}

fn is_member(users: &str, groups: &str, (user, group): (u32, u32)) -> bool {
    // name:password:number:... in both files; the members are the fourth field of a group.
    let number = |line: &str| line.split(':').nth(2).and_then(|number| number.parse::<u32>().ok());
    let name = users.lines().find(|line| number(line) == Some(user)).and_then(|line| line.split(':').next());
    let Some(name) = name.filter(|name| !name.is_empty()) else { return false };
    groups
        .lines()
        .filter(|line| number(line) == Some(group))
        .filter_map(|line| line.split(':').nth(3))
        .any(|members| members.split(',').any(|member| member.trim() == name))
}

fn read_capped(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_GROUP_FILE).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests;
