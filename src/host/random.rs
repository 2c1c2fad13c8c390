//! The operating system's random numbers, for whoever takes randomness as an argument.

use ring::rand::{SecureRandom, SystemRandom};

use crate::backoff::Random;

/// The operating system's generator.
#[derive(Clone, Debug)]
pub struct SystemRandomness(SystemRandom);

impl SystemRandomness {
    /// A generator.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemRandomness {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for SystemRandomness {
    /// A failing generator gives 0: for back-off that means "at once", which the ceiling of the
    /// next attempts bounds. Keys are never made through this function.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        match self.0.fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }
}
