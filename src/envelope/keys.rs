//! Keys: the key-encryption key (KEK) from outside, and the data keys (DEK) wrapped by it.
//!
//! In: a [`KeySource`], today a file. Out: a [`Kek`] that makes and unwraps the keys of segments,
//! and a [`WardKey`] that makes pseudonyms. What can go wrong: the key is not there, not readable,
//! open to others, or not a key; each says the file and the way out. What never happens: a key is
//! made here in place of one that is missing; a key is shown by `Debug`; key bytes outlive their
//! holder.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::SecureRandom;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::block::hex;
use super::seal::{self, DataKey, SealError, WRAPPED};

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be opened or read.
    #[error(
        "key file {path} cannot be read: {reason}; put the gateway's own key there (provisioning made it), \
         never a new one while the store holds data"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// It is a folder, a device, a pipe.
    #[error("key file {path} is not a regular file: name the file itself")]
    NotAFile {
        /// What was named.
        path: PathBuf,
    },
    /// Others may read or change it.
    #[error("key file {path} has mode {mode:04o}: others could read or change it; `chmod 0400 {path}`")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("key file {path} belongs to user {owner}: it must belong to root or to the daemon's own user")]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// It does not hold a key.
    #[error("key file {path} does not hold a key: {reason}; it must hold 32 bytes, raw or as 64 hex digits")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The library refused.
    #[error("the system gave no random bytes for a key: try again")]
    Random,
}

/// Where a key comes from. A file today; a PKCS#11 token or a TPM fit behind it.
pub trait KeySource {
    /// The 32 bytes of the key.
    fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError>;

    /// How the key is protected, for `status` and heartbeats.
    fn protection(&self) -> &'static str;
}

/// A key in a file: a systemd credential, or a file that only the daemon's user can read.
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
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(KeyError::Owner { path: path.to_owned(), owner });
    }
    Ok(file)
}

impl KeySource for KeyFile {
    fn load(&self) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let path = &self.0;
        let unreadable = |reason| KeyError::Unreadable { path: path.clone(), reason };
        let file = open_secret(path)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_FILE).unwrap_or_default()));
        file.take(MAX_FILE).read_to_end(&mut bytes).map_err(unreadable)?;
        parse(&bytes).map_err(|reason| KeyError::Content { path: path.clone(), reason })
    }

    fn protection(&self) -> &'static str {
        "file"
    }
}

/// 32 bytes, or 64 hex digits with at most one line end.
fn parse(bytes: &[u8]) -> Result<Zeroizing<[u8; 32]>, &'static str> {
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

/// HMAC-SHA-256.
fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    out
}

/// Authenticates small files: footers, cursors, the store's identity.
pub struct MacKey(hmac::Key);

impl MacKey {
    fn derive(key: &[u8; 32], label: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, Zeroizing::new(mac(key, &[label])).as_slice()))
    }

    /// The tag of a message.
    pub fn tag(&self, message: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(hmac::sign(&self.0, message).as_ref()) {
            *to = *from;
        }
        out
    }

    /// Whether the tag is the message's.
    pub fn is_tag(&self, message: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, message, tag).is_ok()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(hidden)")
    }
}

/// The name of a KEK: says which key a store belongs to, and nothing about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KekId(pub [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekId({self})")
    }
}

/// The key-encryption key.
pub struct Kek(Zeroizing<[u8; 32]>);

/// The keys that a store is opened with: the one that it is kept under from now on, and, while it is
/// being moved from one key to another, the one that it was kept under so far.
#[derive(Debug)]
pub struct KeyRing {
    /// New segments are wrapped with it.
    pub current: Kek,
    /// Only opens what it wrapped; needed until the store says that nothing is left of that.
    pub previous: Option<Kek>,
}

impl KeyRing {
    /// The key of a name.
    pub fn find(&self, id: KekId) -> Option<&Kek> {
        [Some(&self.current), self.previous.as_ref()].into_iter().flatten().find(|kek| kek.id() == id)
    }
}

impl From<Kek> for KeyRing {
    fn from(current: Kek) -> Self {
        Self { current, previous: None }
    }
}

/// The keys of one segment: for its blocks, and for its footer.
#[derive(Debug)]
pub struct SegmentKeys {
    /// Seals and opens its blocks.
    pub data: DataKey,
    /// Authenticates its footer.
    pub footer: MacKey,
}

impl Kek {
    /// Loads it.
    pub fn load(source: &dyn KeySource) -> Result<Self, KeyError> {
        source.load().map(Self)
    }

    /// Its name: the first 8 bytes of SHA-256 over a label and it.
    pub fn id(&self) -> KekId {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(b"wardline kek id v1");
        context.update(self.0.as_slice());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        KekId(id)
    }

    /// The key that authenticates the store's own small files.
    pub fn state_key(&self) -> MacKey {
        MacKey::derive(&self.0, b"wardline store state v1")
    }

    /// Makes the keys of a new segment, and the wrapped form that goes into its header; `about` is
    /// the rest of the header, authenticated with it.
    pub fn new_segment(
        &self,
        about: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<(SegmentKeys, [u8; WRAPPED]), SealError> {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(key.as_mut_slice()).map_err(|_| SealError::Internal)?;
        let wrapped = seal::wrap(&self.0, about, &key, random)?;
        Ok((SegmentKeys::new(&key)?, wrapped))
    }

    /// Wraps a segment's key, which `old` wrapped, anew with this key: the key itself and so the
    /// segment's data stay what they are.
    pub fn rewrap(
        &self,
        (old, old_about, wrapped): (&Self, &[u8], &[u8; WRAPPED]),
        about: &[u8],
        random: &dyn SecureRandom,
    ) -> Result<[u8; WRAPPED], SealError> {
        let key = seal::unwrap(&old.0, old_about, wrapped)?;
        seal::wrap(&self.0, about, &key, random)
    }

    /// The keys of a segment whose header was read.
    pub fn open_segment(&self, about: &[u8], wrapped: &[u8; WRAPPED]) -> Result<SegmentKeys, SealError> {
        SegmentKeys::new(&*seal::unwrap(&self.0, about, wrapped)?)
    }
}

impl SegmentKeys {
    fn new(key: &[u8; 32]) -> Result<Self, SealError> {
        Ok(Self { data: DataKey::new(key)?, footer: MacKey::derive(key, b"wardline segment footer v1") })
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({})", self.id())
    }
}

/// The ward's key: makes the pseudonyms under which assets leave the gateway.
pub struct WardKey(Zeroizing<[u8; 32]>);

impl WardKey {
    /// Loads it.
    pub fn load(source: &dyn KeySource) -> Result<Self, KeyError> {
        source.load().map(Self)
    }

    /// HMAC-SHA-256 of the asset's tag, first 16 bytes, lower-case hex.
    pub fn pseudonym(&self, asset: &str) -> String {
        let tag = mac(self.0.as_slice(), &[asset.as_bytes()]);
        hex(tag.first_chunk::<16>().map_or(&[][..], <[u8; 16]>::as_slice))
    }
}

impl fmt::Debug for WardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WardKey(hidden)")
    }
}

/// The same as [`KeyFile`] for callers that have only a path.
pub fn load_kek(path: &Path) -> Result<Kek, KeyError> {
    Kek::load(&KeyFile::new(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
                assert_eq!(*load_kek(&path).unwrap().0, RAW);
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
    fn a_folder_and_a_pipe_are_not_key_files() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load_kek(folder.path()), Err(KeyError::NotAFile { .. })));
        let pipe = folder.path().join("pipe");
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(matches!(load_kek(&pipe), Err(KeyError::NotAFile { .. })));
    }

    #[test]
    fn no_key_is_shown() {
        let kek = Kek(Zeroizing::new(RAW));
        let ward = WardKey(Zeroizing::new(RAW));
        let shown = format!("{kek:?} {ward:?} {:?}", kek.state_key());
        assert!(!shown.contains("0123") && !shown.contains(&hex(&RAW[..4])), "{shown}");
    }

    #[test]
    fn a_segments_keys_come_back_from_its_header_and_from_no_other() {
        let kek = Kek(Zeroizing::new(RAW));
        let random = ring::rand::SystemRandom::new();
        let (keys, wrapped) = kek.new_segment(b"header", &random).unwrap();
        let again = kek.open_segment(b"header", &wrapped).unwrap();
        assert!(again.footer.is_tag(b"x", &keys.footer.tag(b"x")));
        assert_eq!(kek.open_segment(b"headex", &wrapped).err(), Some(SealError::Forged));
        let other = Kek(Zeroizing::new([3; 32]));
        assert_ne!(other.id(), kek.id());
        assert_eq!(other.open_segment(b"header", &wrapped).err(), Some(SealError::Forged));
    }

    /// RFC 4231 test case 2 is HMAC-SHA-256 of this text under the key "Jefe".
    #[test]
    fn a_pseudonym_is_the_front_of_hmac_sha_256() {
        assert_eq!(
            hex(&mac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let ward = WardKey(Zeroizing::new(RAW));
        let pseudonym = ward.pseudonym("PUMP-0001");
        assert_eq!(pseudonym, hex(&mac(&RAW, &[b"PUMP-0001"])[..16]));
        assert_ne!(pseudonym, ward.pseudonym("PUMP-0002"));
    }
}
