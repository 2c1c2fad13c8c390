//! The seal: AES-256-GCM over a compressed block. The only file that names the cipher.

/// A sealed block: what may touch a disk.
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
