//! What a connected device says and gives: whether it is the one that its entry means, and whether the bond
//! holds.

use super::enrol::{Failed, REPLACE, Work};
use crate::cli::exit::Exit;
use crate::device::Identity;
use crate::link::Characteristic;
use crate::link::ble::pairing::Seen;
use crate::policy::mismatch;

/// Device Information (DIS 1.2): maker, model, serial number, firmware revision.
const DEVICE_INFORMATION: u16 = 0x180A;
const STRINGS: [u16; 4] = [0x2A29, 0x2A24, 0x2A25, 0x2A26];

/// Device Information strings are cut to this many characters, as the driver does.
const MAX_STRING: usize = 64;

impl Work<'_> {
    /// Who it says it is, which must be what its entry says, with the services that its entry says.
    pub(super) async fn identify(&self, seen: &Seen) -> Result<Identity, Failed> {
        let offered = self.client.offered(&seen.path).await?;
        for profile in self.order.profiles {
            if offered.iter().all(|(of, _)| of.service != profile.service) {
                let (service, title) = (profile.service, profile.title);
                return Err(Failed::refused(format!(
                    "it does not offer {title} ({service:04X}): it is another device, or correct its `profiles`"
                )));
            }
        }
        let mut strings = [const { None }; STRINGS.len()];
        for (slot, uuid) in strings.iter_mut().zip(STRINGS) {
            let string = Characteristic { service: DEVICE_INFORMATION, uuid };
            if let Some((_, path)) = offered.iter().find(|(of, _)| *of == string) {
                *slot = readable(&self.read(string, path).await?);
            }
        }
        let [maker, model, serial, firmware] = strings;
        let identity = Identity { maker, model, serial, firmware };
        match mismatch(&self.order.device.rule.expects, &identity) {
            None => Ok(identity),
            Some(found) => Err(Failed::refused(format!(
                "it is another device: its {} is {:?}, its entry expects {:?}",
                found.field, found.stated, found.expected
            ))),
        }
    }

    /// Reads what the entry says is protected. Without such an entry anything is read, which proves nothing
    /// but that it answers.
    pub(super) async fn prove(&self, seen: &Seen) -> Result<bool, Failed> {
        let offered = self.client.offered(&seen.path).await?;
        let Some(protected) = self.order.rule.protected else {
            if let Some((of, path)) = offered.iter().find(|(of, _)| of.service == DEVICE_INFORMATION) {
                self.read(*of, path).await?;
            }
            return Ok(false);
        };
        let Some((_, path)) = offered.iter().find(|(of, _)| *of == protected) else {
            let reason = format!("it does not offer {protected:?}: correct `protected` in its entry");
            return Err(Failed::refused(reason));
        };
        self.read(protected, path).await?;
        Ok(true)
    }

    async fn read(&self, of: Characteristic, path: &str) -> Result<Vec<u8>, Failed> {
        self.client.read(path).await.map_err(|trouble| {
            let what = if trouble.is_lack_of_keys() {
                format!("it does not give {of:?} to the keys that BlueZ has: its bond is lost or was changed. {REPLACE}")
            } else {
                format!("{of:?}: {trouble}")
            };
            Failed::new(Exit::Failed, what)
        })
    }
}

/// A Device Information string as a person would read it.
fn readable(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|octet| *octet == 0).unwrap_or(value.len());
    let text = String::from_utf8_lossy(value.get(..end)?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_STRING).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
