//! The BLE devices of the demo where the machine has no D-Bus: written to a file by the demo, played
//! by the daemon in place of the radio.
//!
//! One line each: the device's address, service and characteristic, milliseconds since the line
//! before, the value in hex; `read` in place of the milliseconds gives what a read answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;

use super::scene::{self, BELT, CLIP};
use crate::config::{Connection, Device};
use crate::envelope::block::hex;
use crate::gateway::sessions::Links;
use crate::lab::numerics::Minute;
use crate::link::replay::{ReplayLink, Timed};
use crate::link::{AllowSet, Characteristic, LinkEvent};

/// Device Information: model, serial number.
const MODEL: Characteristic = Characteristic { service: 0x180A, uuid: 0x2A24 };
const SERIAL: Characteristic = Characteristic { service: 0x180A, uuid: 0x2A25 };
const HEART_RATE: Characteristic = Characteristic { service: 0x180D, uuid: 0x2A37 };
const CONTINUOUS: Characteristic = Characteristic { service: 0x1822, uuid: 0x2A5F };

/// Writes what the belt and the clip will say.
pub(super) fn write(path: &Path, script: &[Minute], interval: Duration) -> anyhow::Result<()> {
    let mut text = String::new();
    let mut line = |address: &str, of: Characteristic, when: &str, value: &[u8]| {
        let value = hex(value);
        let _ = writeln!(text, "{address} {:04x} {:04x} {when} {value}", of.service, of.uuid);
    };
    for (address, serial) in [(BELT.1, BELT.2), (CLIP.1, CLIP.2)] {
        line(address, MODEL, "read", b"Lab 1");
        line(address, SERIAL, "read", serial.as_bytes());
    }
    let after = interval.as_millis().to_string();
    for minute in script {
        if let Some((_, value)) = scene::belt(minute) {
            line(BELT.1, HEART_RATE, &after, &value);
        }
        line(CLIP.1, CONTINUOUS, &after, &scene::clip(minute).2);
    }
    let mut file = std::fs::File::create(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

/// What a replay holds of one device.
#[derive(Default)]
struct Script {
    reads: Vec<(Characteristic, Bytes)>,
    values: Vec<Timed>,
}

/// A replay file in place of the radio.
pub struct ReplayFile(BTreeMap<String, Script>);

impl ReplayFile {
    /// Reads the file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut devices: BTreeMap<String, Script> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [address, service, uuid, when, value] = fields.as_slice() else {
                anyhow::bail!("line {number}: five fields are expected");
            };
            let of = Characteristic {
                service: u16::from_str_radix(service, 16)?,
                uuid: u16::from_str_radix(uuid, 16)?,
            };
            let value = Bytes::from(unhex(value).with_context(|| format!("line {number}: not hex"))?);
            let script = devices.entry((*address).to_owned()).or_default();
            if *when == "read" {
                script.reads.push((of, value));
            } else {
                let after = Duration::from_millis(when.parse()?);
                script.values.push(Timed { after, event: LinkEvent::Value(of, value) });
            }
        }
        Ok(Self(devices))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

impl Links for ReplayFile {
    fn replay(&self, device: &Device) -> Option<ReplayLink> {
        let Connection::Ble { address, .. } = &device.connection else { return None };
        let script = self.0.get(address)?;
        let mut link = ReplayLink::new(address, AllowSet::NONE).connection(script.values.iter().cloned());
        for (of, value) in &script.reads {
            link = link.value(*of, value.clone());
        }
        Some(link)
    }
}
