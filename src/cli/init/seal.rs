//! `systemd-creds`: what encrypts a key for this machine.
//!
//! In: bytes. Out: the credential, proven by opening it again before anybody relies on it. What never happens: a key
//! is an argument, or in a file in the clear on the way.

use std::io::Write as _;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

const PROGRAM: &str = "systemd-creds";

/// What keys are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
    /// Encrypted by this machine's TPM.
    Tpm,
    /// Encrypted by a key of this machine that is a file on its disk.
    Host,
    /// Not at all: files that only root reads.
    Files,
}

impl Protection {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Tpm => "credential-tpm2",
            Self::Host => "credential-host",
            Self::Files => "file",
        }
    }

    /// What it is worth, in plain words.
    pub(super) const fn worth(self) -> &'static str {
        match self {
            Self::Tpm => {
                "credentials that this machine's TPM encrypts: a disk or SD card that is stolen or copied opens nothing \
                 without this board. Root on this machine can read them, and who takes the whole machine has the board too"
            }
            Self::Host => {
                "credentials encrypted with a key of this machine, which is a file on its own disk \
                 (/var/lib/systemd/credential.secret): a copy of /etc alone opens nothing, but a stolen disk or SD card has \
                 both and is NOT protected. Against that: a TPM, a PKCS#11 token (keys.kek), or that file on another medium"
            }
            Self::Files => {
                "files that only root reads: other users of this machine are kept out; who takes the disk or SD card has key \
                 and data. It is NOT protected against theft"
            }
        }
    }
}

/// What `systemd-creds` can do here; `Files` and why, where it cannot.
pub(super) fn protection() -> Result<Protection, String> {
    let sealed = seal("probe", b"wardline init")?;
    drop(sealed);
    let tpm = Command::new(PROGRAM).args(["has-tpm2", "--quiet"]).stdin(Stdio::null()).status();
    Ok(if tpm.is_ok_and(|status| status.success()) { Protection::Tpm } else { Protection::Host })
}

/// The credential of this name, which was opened again and is the same.
pub(super) fn seal(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let sealed = call(&["encrypt", &format!("--name={name}"), "-", "-"], bytes)?;
    let opened = open(name, &sealed)?;
    if opened.as_slice() == bytes {
        return Ok(sealed.to_vec());
    }
    Err(format!("{PROGRAM} made a credential that does not open to what went in"))
}

/// What is in a credential.
pub(super) fn open(name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    call(&["decrypt", &format!("--name={name}"), "-", "-"], sealed)
}

fn call(arguments: &[&str], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{PROGRAM} {}: {what}", arguments.join(" "));
    let mut child = Command::new(PROGRAM)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    // Both are a few hundred bytes: neither fills a pipe. One that does not read says why when it ends.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(input));
    let done = child.wait_with_output().map_err(|error| failed(&error))?;
    let output = Zeroizing::new(done.stdout);
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        return Err(failed(&words.lines().last().unwrap_or("it gave no reason")));
    }
    match written {
        Some(Ok(())) => Ok(output),
        Some(Err(error)) => Err(failed(&error)),
        None => Err(failed(&"it has no input")),
    }
}
