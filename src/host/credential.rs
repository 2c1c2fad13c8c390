//! What encrypts a credential of systemd: the first bytes of its file say it.
//!
//! In: the file's text, Base64 of a header and a ciphertext. Out: [`SealedBy`], as the header's 128-bit identifier names
//! it (systemd, `src/shared/creds-util.h`, `CRED_AES256_GCM_BY_*`). Nothing is decrypted.

use base64ct::{Base64, Encoding as _};

/// A TPM 2.0 as the kernel hands it out (its in-kernel resource manager), below the root folder.
pub const TPM: &str = "dev/tpmrm0";

/// What the key of a credential comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealedBy {
    /// A file of the machine, `/var/lib/systemd/credential.secret`.
    Host,
    /// The TPM, with that file or without it.
    Tpm,
    /// Nothing: a key of no bytes, which everybody has.
    Nothing,
    /// Something that is not known here: a newer systemd, or no credential at all.
    Unknown,
}

/// So many letters of Base64 hold the identifier, in whole bytes.
const LETTERS: usize = 24;

/// The first 16 bytes, as `SD_ID128_MAKE` has them.
const KINDS: [(u128, SealedBy); 9] = [
    (0x5a1c_6a86_df9d_4096_b1d5_a65e_0862_f19a, SealedBy::Host),
    // ..._HOST_SCOPED: for one user.
    (0x55b9_ed1d_3859_4d43_a831_9d2e_bb33_2ac6, SealedBy::Host),
    (0x0c7c_c07b_1176_4591_9c4b_0bea_08bc_20fe, SealedBy::Tpm),
    // ..._WITH_PK: a signature on what the boot measured is asked for too.
    (0xfaf7_eb93_41e3_412c_a1a4_36f9_5a29_362f, SealedBy::Tpm),
    (0x93a8_9409_4874_4490_90ca_f2fc_93ca_b553, SealedBy::Tpm),
    (0xef4a_c136_79a9_480e_a7db_6889_7f9f_165d, SealedBy::Tpm),
    (0xaf49_50a8_4913_4eb1_a738_4630_4ff3_0c05, SealedBy::Tpm),
    (0xadbc_4ca3_efb6_4201_ba88_1b6f_2e40_95ea, SealedBy::Tpm),
    (0x0584_69da_f6f5_4324_8005_49da_0f8e_a2fb, SealedBy::Nothing),
];

/// What encrypts it.
pub fn sealed_by(text: &[u8]) -> SealedBy {
    let letters: Vec<u8> =
        text.iter().copied().filter(|letter| !letter.is_ascii_whitespace()).take(LETTERS).collect();
    let mut bytes = [0; LETTERS];
    let decoded = Base64::decode(letters.as_slice(), &mut bytes).unwrap_or_default();
    let id = decoded.first_chunk::<16>().map(|id| u128::from_be_bytes(*id));
    KINDS.iter().find(|(of, _)| Some(*of) == id).map_or(SealedBy::Unknown, |(_, by)| *by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_encrypts_it() {
        // First lines that systemd-creds 252 wrote, --with-key=host, tpm2, host+tpm2 and tpm2-absent.
        for (line, by) in [
            ("Whxqht+dQJax1aZeCGLxmiAAAAABAAAADAAAABAAAAC", SealedBy::Host),
            (
                "DHzAexF2RZGcSwvqCLwg/iAAAAABAAAADAAAABAAAACiqqYgmLYtSHhjYPkAAAAAAAAAAAAAAAD//yM\nA8AAAACAAAAAAng",
                SealedBy::Tpm,
            ),
            ("k6iUCUh0RJCQyvL8k8q1UyAAAAABAAAADAAAABAAAAA", SealedBy::Tpm),
            ("k6iUCUh0\nRJCQyvL8k8q1UyAAAAABAAAADAAAABAAAAA", SealedBy::Tpm),
            ("BYRp2vb1QySABUnaD46i+yAAAAABAAAADAAAABAAAAA", SealedBy::Nothing),
            ("", SealedBy::Unknown),
            ("Whxqht+dQJax1aZeCGLx", SealedBy::Unknown),
            ("Whxqht+dQJax1aZeCGLxmy==", SealedBy::Unknown),
            ("\u{0}\u{1}not Base64 at all, but long", SealedBy::Unknown),
        ] {
            assert_eq!(sealed_by(line.as_bytes()), by, "{line}");
        }
    }
}
