//! `wardline --version`, and with `--json` what a fleet's inventory wants to know of it.

use serde_json::{Value, json};

use super::exit::Failure;
use super::out;
use crate::config::Catalogue;

/// Until when this release line gets security fixes; `SECURITY.md` says the same, and a test compares.
pub(super) const SUPPORTED_UNTIL: &str = "2028-12-31";

pub(super) fn print(as_json: bool) -> Result<(), Failure> {
    let mut out = out::stdout();
    if as_json {
        out.json(&told())?;
    } else {
        out.line(format_args!("wardline {}", env!("CARGO_PKG_VERSION")))?;
    }
    out.finish()?;
    Ok(())
}

/// What `--json` says.
pub(super) fn told() -> Value {
    let catalogue = Catalogue::shipped();
    json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "architecture": std::env::consts::ARCH,
        "system": std::env::consts::OS,
        "license": env!("CARGO_PKG_LICENSE"),
        "supported_until": SUPPORTED_UNTIL,
        "disclosure": "SECURITY.md",
        "lab": cfg!(feature = "lab"),
        "serial_drivers": catalogue.serial.iter().map(|row| row.name).collect::<Vec<_>>(),
        "ble_profiles": catalogue.ble.iter().map(|row| row.name).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_end_of_support_is_the_one_in_the_security_policy() {
        let policy = include_str!("../../SECURITY.md");
        assert!(policy.contains(super::SUPPORTED_UNTIL), "SECURITY.md names another date");
    }
}
