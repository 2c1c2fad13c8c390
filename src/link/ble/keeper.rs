//! The registrations that stand while a link has none of its own.
//!
//! BlueZ confirms an indication by itself, and tells its value only while at least one D-Bus client is
//! registered for the characteristic (`StartNotify`; BlueZ 5.87, `src/shared/gatt-client.c`, `notify_cb`). A
//! bonded device remembers that it was subscribed to and may indicate at the moment it is connected, long
//! before the driver has asked for its subscription: such a value would be confirmed to nobody, and many
//! devices say it once.
//!
//! BlueZ takes a registration while the device is not connected and puts it to work before the first octet
//! from the device is read (`src/gatt-client.c`, `characteristic_start_notify` and
//! `btd_gatt_client_connected`). So before each connection the central's own bus connection, which is another
//! client than the link's, registers for what the device is known to indicate and the driver wants. The
//! values reach the link all the same: BlueZ tells them to everybody, and the link's match rules stand by
//! then. The central's own rules leave them out, so nothing is delivered twice.
//!
//! Known is what BlueZ has objects of: it keeps those of a bonded device, and makes them at its first
//! connection since `bluetoothd` started. Before that there is nothing to register for. A device that was just
//! bonded loses nothing by it, as nobody has set its descriptors; one that was bonded before a restart of
//! `bluetoothd` may.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bus::Bus;
use crate::link::Characteristic;

/// BlueZ answers at once, as the device is not connected. One that was left connected is written to first.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";

/// Registrations of the central's bus connection for one device. What is left of them ends with the value.
pub(super) struct Keeper {
    bus: Bus,
    /// The paths of the characteristics that are kept.
    kept: Mutex<BTreeMap<Characteristic, String>>,
}

impl Keeper {
    /// Registers for those of the wanted characteristics that the device `id` is known to indicate. What cannot
    /// be registered is left to the link: a device must not be out of reach for it.
    pub(super) async fn stand(bus: &Bus, id: &str, wanted: &[Characteristic]) -> Self {
        let keeper = Self { bus: bus.clone(), kept: Mutex::default() };
        let known = match bus.indicated(id, wanted).await {
            Ok(known) => known,
            Err(error) => {
                tracing::debug!(id, %error, "what it indicates is not told");
                return keeper;
            }
        };
        for (characteristic, path) in known {
            // Before the answer: who gives up waiting for it has registered all the same.
            keeper.kept().insert(characteristic, path.clone());
            let asked = bus.object(&path, ANSWER_LIMIT).method_call(CHARACTERISTIC, "StartNotify", ());
            let asked: Result<(), dbus::Error> = asked.await;
            if let Err(error) = asked {
                // Among others: it stands already.
                tracing::debug!(id, ?characteristic, %error, "nothing is registered ahead");
            }
        }
        keeper
    }

    /// Whether there is anything to register for.
    pub(super) fn keeps_any(&self) -> bool {
        !self.kept().is_empty()
    }

    /// Ends the registration for a characteristic: the link's own stands, or is to be made anew, which writes the
    /// descriptor only when nobody else is registered.
    pub(super) async fn release(&self, characteristic: Characteristic) {
        let Some(path) = self.kept().remove(&characteristic) else { return };
        let asked = self.bus.object(&path, ANSWER_LIMIT).method_call(CHARACTERISTIC, "StopNotify", ());
        let asked: Result<(), dbus::Error> = asked.await;
        if let Err(error) = asked {
            tracing::debug!(?characteristic, %error, "a registration does not end");
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Characteristic, String>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        for path in self.kept().values() {
            self.bus.tell(path, CHARACTERISTIC, "StopNotify");
        }
    }
}
