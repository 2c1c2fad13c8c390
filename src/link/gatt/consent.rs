//! The consent of a user to a device that keeps what it measures by user (User Data 0x181C).

use std::fmt;

/// The consent of one user of a device: the place in its memory, and the code that was chosen there. The code
/// is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Consent {
    pub(super) user: u8,
    pub(super) code: u16,
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Consent(user {}, not shown)", self.user)
    }
}

impl Consent {
    /// Of a user's index and what the file with the code holds: one to four digits, as no code is above 9999,
    /// and one line end at most. The error says what is wrong with it, and nothing of what it is.
    pub fn read(user: u8, file: &[u8]) -> Result<Self, &'static str> {
        const WRONG: &str = "it must hold a number from 0 to 9999 and nothing else";
        let line = file.strip_suffix(b"\n").unwrap_or(file);
        if !(1..=4).contains(&line.len()) || !line.iter().all(u8::is_ascii_digit) {
            return Err(WRONG);
        }
        let code = line.iter().fold(0, |code: u16, digit| code * 10 + u16::from(digit - b'0'));
        Ok(Self { user, code })
    }

    /// The user's index.
    pub const fn user(self) -> u8 {
        self.user
    }
}
