//! The page's program from outside: what it answers, whom, and when it ends.

#![cfg(feature = "dashboard")]
#![expect(
    clippy::tests_outside_test_module,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "every function of this file is a test or the helper of one"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

const BINARY: &str = env!("CARGO_BIN_EXE_wardline-dashboard");
/// Less than a question that is never answered takes, and more than a busy machine needs.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The program, until it is dropped.
struct Page {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    /// `127.0.0.1:PORT`.
    at: String,
    key: String,
}

impl Page {
    fn start(socket: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.arg("--socket").arg(socket).args(more).env_clear();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap();
        let (at, key) = address.split_once("/#").unwrap();
        Self { child, stdout: Some(stdout), at: at.to_owned(), key: key.to_owned() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(AT_ONCE)).unwrap();
        stream
    }

    /// The whole answer to a request that ends its connection.
    fn ask(&self, path: &str, headers: &str) -> String {
        let mut stream = self.connect();
        let host = &self.at;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The first of an answer that does not end, up to these words.
    fn hear(&self, path: &str, headers: &str, until: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.at).unwrap();
        let (mut heard, mut bytes) = (String::new(), [0; 4_096]);
        while !heard.contains(until) {
            let count = stream.read(&mut bytes).unwrap();
            assert!(count > 0, "{until:?} is not in {heard}");
            heard.push_str(&String::from_utf8_lossy(bytes.get(..count).unwrap()));
        }
        heard
    }

    fn key(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.key)
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A daemon that takes every question and answers none.
struct Hung {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Hung {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        Self { folder, listener }
    }

    fn page(&self) -> Page {
        Page::start(&self.folder.path().join("s"), &[])
    }

    /// Until the daemon is asked: from then on the program waits for it.
    fn is_asked(&self) -> std::os::unix::net::UnixStream {
        self.listener.accept().unwrap().0
    }
}

#[test]
fn while_the_daemon_hangs_the_page_is_served_and_says_that_it_waits() {
    let hung = Hung::new();
    let page = hung.page();
    let _question = hung.is_asked();
    assert!(page.ask("/style.css", "").starts_with("HTTP/1.1 200 "));
    let heard = page.hear("/events", &page.key(), "has not answered");
    assert!(heard.contains("text/event-stream"), "{heard}");
}

#[test]
fn while_the_daemon_hangs_the_program_ends_when_it_is_told_to() {
    for signal in ["-INT", "-TERM"] {
        let hung = Hung::new();
        let mut page = hung.page();
        let _question = hung.is_asked();
        let pid = page.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let mut stdout = page.stdout.take().unwrap();
        let (tell, ended) = sync_channel(1);
        std::thread::spawn(move || tell.send(stdout.read_to_end(&mut Vec::new())));
        ended.recv_timeout(AT_ONCE).unwrap().unwrap();
        assert!(page.child.wait().unwrap().success());
    }
}

#[test]
fn the_key_is_in_no_cookie_and_in_no_request_but_its_own_and_without_it_nothing_is_told() {
    let hung = Hung::new();
    let page = hung.page();
    for path in ["/", "/app.js", "/style.css", "/icon.svg"] {
        let answer = page.ask(path, "");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        assert!(!answer.to_lowercase().contains("set-cookie"), "{path}: {answer}");
        assert!(!answer.contains(&page.key), "{path}");
    }
    let wrong = "0".repeat(32);
    for headers in [
        String::new(),
        format!("Authorization: Bearer {wrong}\r\n"),
        format!("Authorization: {}\r\n", page.key),
        format!("Cookie: wardline-dashboard={}\r\n", page.key),
    ] {
        let answer = page.ask("/events", &headers);
        assert!(answer.starts_with("HTTP/1.1 403 "), "{headers}: {answer}");
    }
    let answer = page.ask(&format!("/events?key={}", page.key), "");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn each_start_has_a_port_and_a_key_of_its_own() {
    let hung = Hung::new();
    let (first, second) = (hung.page(), hung.page());
    assert_ne!(first.at, second.at);
    assert_ne!(first.key, second.key);
    assert_eq!(first.key.len(), 32);
}
