//! A key in a file, and the opening of any file that holds a secret.
//!
//! In: a path. Out: the 32 bytes, or an open file that nobody else could read or change. What can go
//! wrong: [`KeyError`], with the file's name and the way out. What never happens: the file is judged by
//! its name and another one read; a pipe keeps the daemon waiting; a key is made in place of one that is
//! missing: [`fresh`] is called by a person alone, through `wardline keys make`.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::rand::SecureRandom;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::{KeyBytes, KeyError, KeySource, Protection};

/// A key in a file that only the daemon's user can read.
#[derive(Clone, Debug)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// Names the file; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

/// No key file is longer than 64 hex digits and a line end; a little more is read to see that.
const MAX_FILE: u64 = 128;

/// What modes a key file may have: its owner's alone, or a systemd credential, which the service's
/// group may read (systemd.exec(5), `LoadCredential=`).
const MODES: [u32; 3] = [0o400, 0o600, 0o440];

/// Below this systemd keeps the credentials of units.
const CREDENTIALS: &str = "/run/credentials";

/// Opens a file that holds a secret: a regular file of ours or root's that nobody else can read.
pub fn open_secret(path: &Path) -> Result<std::fs::File, KeyError> {
    let unreadable = |reason| KeyError::Unreadable { path: path.to_owned(), reason };
    // Opened first and asked afterwards, so that nothing can be swapped in between; without
    // waiting, as a pipe in its place would wait for ever.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| unreadable(e.into()))?;
    let file = std::fs::File::from(descriptor);
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.to_owned() });
    }
    let mode = metadata.mode() & 0o7777;
    if !MODES.contains(&mode) {
        return Err(KeyError::Mode { path: path.to_owned(), mode });
    }
    let owner = metadata.uid();
    if !may_own(owner, rustix::process::geteuid().as_raw(), path) {
        return Err(KeyError::Owner { path: path.to_owned(), owner });
    }
    Ok(file)
}

/// Whether a secret may be a user's. Root also reads what systemd gave the daemon: its credentials belong to the unit's
/// user, and nobody but systemd can put a file there (systemd.exec(5), "CREDENTIALS").
fn may_own(owner: u32, user: u32, path: &Path) -> bool {
    owner == 0 || owner == user || (user == 0 && path.starts_with(CREDENTIALS))
}

impl KeySource for KeyFile {
    fn load(&self) -> Result<KeyBytes, KeyError> {
        let path = &self.0;
        let unreadable = |reason| KeyError::Unreadable { path: path.clone(), reason };
        let file = open_secret(path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default()));
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
        parse(&bytes).map_err(|reason| KeyError::Content { path: path.clone(), reason })
    }

    fn protection(&self) -> Protection {
        Protection::File
    }
}

/// The bytes of a new key, for who makes one on purpose.
pub fn fresh(random: &dyn SecureRandom) -> Result<KeyBytes, KeyError> {
    let mut key = Zeroizing::new([0; 32]);
    random.fill(key.as_mut_slice()).map_err(|_| KeyError::Random)?;
    Ok(key)
}

/// 32 bytes, or 64 hex digits with at most one line end.
fn parse(bytes: &[u8]) -> Result<KeyBytes, &'static str> {
    let mut key = Zeroizing::new([0; 32]);
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    if let Ok(raw) = <&[u8; 32]>::try_from(bytes) {
        *key = *raw;
    } else if line.len() == 64 {
        for (to, [high, low]) in key.iter_mut().zip(line.as_chunks::<2>().0) {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
            let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
                return Err("it has 64 characters that are not all hex digits");
            };
            *to = high << 4 | low;
        }
    } else if bytes.len() < 32 {
        return Err("it is too short");
    } else {
        return Err("it has another length");
    }
    let first = key.first().copied();
    if key.iter().all(|byte| Some(*byte) == first) {
        return Err("all its bytes are the same");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::envelope::block::hex;
    use crate::envelope::keys::load_kek;

    const RAW: [u8; 32] = *b"0123456789abcdef0123456789ABCDEF";

    fn key_file(content: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        crate::host::atomic_file::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    fn refusal(content: &[u8], mode: u32) -> String {
        let (_folder, path) = key_file(content, mode);
        let error = load_kek(&path).expect_err("refused").to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        error
    }

    #[test]
    fn a_key_is_read_raw_or_as_hex() {
        let hex_form = hex(&RAW);
        let contents = [RAW.to_vec(), hex_form.clone().into_bytes(), format!("{hex_form}\n").into_bytes()];
        for content in contents {
            for mode in MODES {
                let (_folder, path) = key_file(&content, mode);
                assert_eq!(*KeyFile::new(&path).load().unwrap(), RAW);
            }
        }
    }

    #[test]
    fn what_is_not_a_key_is_refused_with_the_files_name_and_a_way_out() {
        assert!(refusal(b"short", 0o400).contains("too short"));
        assert!(refusal(&[b'x'; 64], 0o400).contains("hex"));
        assert!(refusal(&[7; 40], 0o400).contains("another length"));
        assert!(refusal(&[0; 32], 0o400).contains("the same"));
        assert!(refusal(&RAW, 0o644).contains("chmod 0400"));
        assert!(refusal(&RAW, 0o660).contains("0660"));
        assert!(refusal(&RAW, 0o4400).contains("4400"));
    }

    #[test]
    fn a_missing_key_is_an_error_and_is_never_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let error = load_kek(&path).expect_err("refused").to_string();
        assert!(error.contains("never a new one while the store holds data"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_secret_is_ours_or_roots_and_root_reads_the_units_credentials() {
        let (credential, other) = ("/run/credentials/wardline.service/kek", "/etc/wardline/kek");
        for (owner, user, path, may) in [
            (0, 990, other, true),
            (990, 990, other, true),
            (1_000, 990, other, false),
            (1_000, 990, credential, false),
            (990, 0, other, false),
            (990, 0, "/run/credentials-of-others/kek", false),
            (990, 0, credential, true),
        ] {
            assert_eq!(may_own(owner, user, Path::new(path)), may, "{path} of {owner}, read by {user}");
        }
    }

    #[test]
    fn a_folder_and_a_pipe_are_not_key_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load_kek(folder.path()), Err(KeyError::NotAFile { .. })));
        let pipe = folder.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(matches!(load_kek(&pipe), Err(KeyError::NotAFile { .. })));
    }
}
