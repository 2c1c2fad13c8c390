//! Starts the certificate server of the tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The server, until this is dropped.
pub(crate) struct CertificateServer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    /// Where it listens.
    pub(crate) port: u16,
}

impl CertificateServer {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/est/server.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 and openssl run the certificate server of these tests");
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port: {line:?}"));
        Self { process, input, output, folder, port }
    }

    /// Its folder: `ca.pem`, `stranger.pem`, `old.pem` and `old.key`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address with a label, which says how it behaves.
    pub(crate) fn address(&self, label: &str) -> String {
        format!("https://localhost:{}/.well-known/est/{label}", self.port)
    }

    /// Makes a token that is good once.
    pub(crate) fn token(&mut self, user: &str, token: &str) {
        writeln!(self.input.as_mut().unwrap(), "{user} {token}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n");
    }

    /// What it saw of this operation.
    pub(crate) fn saw(&self, operation: &str) -> Vec<Value> {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["operation"] == operation).collect()
    }
}

impl Drop for CertificateServer {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
