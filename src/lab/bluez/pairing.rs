//! How an emulated device pairs.
//!
//! From the facts of the Bluetooth Core specification 5.4, Vol 3 Part H, 2.3.5.1, table 2.8: which method two
//! sides agree on follows from what each says it can show and type, and not from what anybody wants.

/// What an emulated device can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Nothing, and nothing can be typed there.
    Nothing,
    /// Six digits.
    Digits(u32),
    /// Six digits, and it has a key for yes and one for no.
    DigitsAndYesNo(u32),
}

/// How an emulated device pairs, and what it keeps for those who did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// What it can show.
    pub shows: Shows,
    /// Whether it knows LE Secure Connections.
    pub secure_connections: bool,
    /// How many octets of key it takes: 7 to 16.
    pub key_size: u8,
    /// Whether it makes its key with the debug key pair.
    pub debug_keys: bool,
    /// The characteristics that it gives only to whom it is bonded with.
    pub protected: Vec<u16>,
}

impl Default for Pairs {
    /// A device without display that does the best it can.
    fn default() -> Self {
        Self {
            shows: Shows::Nothing,
            secure_connections: true,
            key_size: 16,
            debug_keys: false,
            protected: Vec::new(),
        }
    }
}

impl Pairs {
    /// A meter that shows a passkey and protects its serial number.
    pub fn passkey(passkey: u32) -> Self {
        Self { shows: Shows::Digits(passkey), protected: vec![0x2A25], ..Self::default() }
    }

    /// What an agent of this capability is asked by this device; `None` for Just Works, of which BlueZ says
    /// nothing to the agent of the process that called `Pair`.
    pub(super) fn asks(&self, capability: &str) -> Option<Asks> {
        let can_compare = matches!(capability, "DisplayYesNo" | "KeyboardDisplay" | "");
        let can_type = matches!(capability, "KeyboardOnly" | "KeyboardDisplay" | "");
        match self.shows {
            Shows::DigitsAndYesNo(shown) if can_compare && self.secure_connections => {
                Some(Asks::Comparison(shown))
            }
            Shows::Digits(shown) | Shows::DigitsAndYesNo(shown) if can_type => Some(Asks::Passkey(shown)),
            Shows::Nothing | Shows::Digits(_) | Shows::DigitsAndYesNo(_) => None,
        }
    }

    /// What the kernel reports of a key (BlueZ, `doc/mgmt-api.txt`, New Long Term Key Event).
    pub(super) const fn key_type(&self, is_authenticated: bool) -> u8 {
        match (self.debug_keys, self.secure_connections, is_authenticated) {
            (true, _, _) => 4,
            (false, true, true) => 3,
            (false, true, false) => 2,
            (false, false, true) => 1,
            (false, false, false) => 0,
        }
    }
}

/// What an agent is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// For what the device shows.
    Passkey(u32),
    /// Whether the device shows the same.
    Comparison(u32),
    /// Whether somebody from outside may pair.
    Authorization,
}
