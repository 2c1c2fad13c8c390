//! `systemd-creds`: what encrypts a key for this machine.
//!
//! In: bytes. Out: the credential, proven by opening it again before anybody relies on it. What never happens: a key
//! is an argument, or in a file in the clear on the way.

use std::io::Write as _;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::KeysAs;

const PROGRAM: &str = "systemd-creds";
const OF_SYSTEMD: &str = "/var/lib/systemd";
/// Kinds of file systems that are in memory (statfs(2)).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
const RAMFS: rustix::fs::FsWord = 0x8584_58f6;

/// What keys are kept by, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protection {
    /// Not at all: files that only root reads.
    Files,
    /// Encrypted by a key of this machine that is a file on its disk.
    Host,
    /// Encrypted by this machine's TPM.
    Tpm,
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

/// What `--keys` says, and what there is to say of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) protection: Protection,
    /// Why it is not the best that there is.
    pub(super) remark: Option<String>,
}

/// The best that can be done here, of what is wanted: `works` tries one, with the reason why it does not.
///
/// A TPM that is there and cannot be used is not passed over in silence: what was made without it is moved by hand alone.
pub(super) fn choose(
    wanted: KeysAs,
    has_tpm: bool,
    works: &dyn Fn(Protection) -> Result<(), String>,
) -> Result<Choice, String> {
    if wanted == KeysAs::Files {
        return Ok(Choice { protection: Protection::Files, remark: None });
    }
    let Err(no_tpm) = works(Protection::Tpm) else {
        return Ok(Choice { protection: Protection::Tpm, remark: None });
    };
    let unused =
        has_tpm.then(|| format!("this machine has a TPM, and systemd-creds cannot use it ({no_tpm})"));
    match (works(Protection::Host), unused, wanted) {
        (Ok(()), Some(unused), KeysAs::Auto) => Err(format!(
            "{unused}. Debian's libraries for it: apt-get install libtss2-esys-3.0.2-0 libtss2-mu0 libtss2-rc0 \
             libtss2-tcti-device0. Nothing was done; --keys sealed does without the TPM"
        )),
        (Ok(()), remark, _) => Ok(Choice { protection: Protection::Host, remark }),
        (Err(reason), None, KeysAs::Auto) => {
            let remark = Some(format!("keys cannot be encrypted for this machine: {reason}"));
            Ok(Choice { protection: Protection::Files, remark })
        }
        (Err(reason), unused, _) => {
            let unused = unused.map(|unused| format!("{unused}; ")).unwrap_or_default();
            Err(format!(
                "{unused}{reason}. Nothing was done; --keys files keeps keys in the clear, for root alone"
            ))
        }
    }
}

/// Whether `systemd-creds` can do it here, and open it again after the next start.
pub(super) fn works(protection: Protection) -> Result<(), String> {
    // It looks itself with `auto` only.
    let kind = rustix::fs::statfs(OF_SYSTEMD).map(|volume| volume.f_type);
    if kind.is_ok_and(|kind| [TMPFS, RAMFS].contains(&kind)) {
        return Err(format!(
            "{OF_SYSTEMD}, where systemd keeps its own key, is in memory: after the next start no credential would open"
        ));
    }
    seal(protection, "probe", b"wardline init").map(drop)
}

/// The credential of this name, which was opened again and is the same.
pub(super) fn seal(protection: Protection, name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let name_is = format!("--name={name}");
    let with: &[&str] = match protection {
        // Said, and not left to `auto`: that one uses no TPM where the firmware is not UEFI, as on a Raspberry Pi. PCR
        // 23 is the applications', zero after each start (TCG PC Client Platform Firmware Profile 1.06, 3.3.4). The
        // default, 7, changes with an update of the firmware, and the daemon could not open its store any more; none
        // at all is what systemd 252 writes and cannot read.
        Protection::Tpm => &["--with-key=host+tpm2", "--tpm2-pcrs=23"],
        Protection::Host => &["--with-key=host"],
        Protection::Files => return Err("what is kept in a file is not encrypted".to_owned()),
    };
    let sealed = call(&[&["encrypt", &name_is], with, &["-", "-"]].concat(), bytes)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tpm_where_it_works_and_one_that_does_not_is_never_passed_over_in_silence() {
        let reason = |protection: Protection| format!("no {}", protection.word());
        for (wanted, has_tpm, works, chosen, words) in [
            (KeysAs::Auto, true, &[Protection::Tpm, Protection::Host][..], Some(Protection::Tpm), ""),
            // Where only systemd knows of it.
            (KeysAs::Sealed, false, &[Protection::Tpm, Protection::Host], Some(Protection::Tpm), ""),
            (KeysAs::Auto, false, &[Protection::Host], Some(Protection::Host), ""),
            (KeysAs::Auto, true, &[Protection::Host], None, "libtss2-esys"),
            (KeysAs::Sealed, true, &[Protection::Host], Some(Protection::Host), "no credential-tpm2"),
            (KeysAs::Auto, false, &[], Some(Protection::Files), "no credential-host"),
            (KeysAs::Auto, true, &[], None, "no credential-tpm2); no credential-host"),
            (KeysAs::Sealed, false, &[], None, "no credential-host"),
            (KeysAs::Files, true, &[Protection::Tpm], Some(Protection::Files), ""),
        ] {
            let works =
                |protection| if works.contains(&protection) { Ok(()) } else { Err(reason(protection)) };
            let choice = choose(wanted, has_tpm, &works);
            let said = match &choice {
                Ok(choice) => choice.remark.clone().unwrap_or_default(),
                Err(reason) => reason.clone(),
            };
            assert_eq!(choice.as_ref().ok().map(|choice| choice.protection), chosen, "{wanted:?} {said}");
            assert!(said.contains(words) && said.is_empty() == words.is_empty(), "{said}");
        }
    }
}
