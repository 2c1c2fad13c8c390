//! The registrations that stand before the driver has asked for its own.
//!
//! BlueZ confirms an indication by itself, and tells its value only while at least one D-Bus client is
//! registered for the characteristic (`StartNotify`; BlueZ 5.87, `src/shared/gatt-client.c`, `notify_cb`). A
//! bonded device remembers that it was subscribed to and may indicate at the moment it is connected, long
//! before the driver has asked for its subscription: such a value would be confirmed to nobody, and many
//! devices say it once.
//!
//! BlueZ takes a registration while the device is not connected and puts it to work before the first octet
//! from the device is read (`src/gatt-client.c`, `characteristic_start_notify` and
//! `btd_gatt_client_connected`). So before each connection the link registers for what the device is known to
//! indicate and the driver wants.
//!
//! It does so over the connection to the bus that its own subscriptions are made over later, and for this
//! reason: BlueZ tells a value once for each client that is registered for it (`notify_cb` calls each of them
//! back, and each writes the value anew, `src/gatt-client.c`). With a second client every indication would
//! come twice while both are registered, and nothing tells the two of a pair from two equal measurements, as
//! neither the moment at which the second registration begins nor that at which the first one ends is seen in
//! the stream of values. With one client there is no overlap and no gap: the subscription that the driver asks
//! for finds the registration at work, to which BlueZ says yes without another word. The registrations end
//! with that connection to the bus, so an end that was asked for late can never meet the next ones.
//!
//! Known is what BlueZ has objects of: it keeps those of a bonded device, and makes them at its first
//! connection since `bluetoothd` started. Before that there is nothing to register for. A device that was just
//! bonded loses nothing by it, as nobody has set its descriptors; one that was bonded before a restart of
//! `bluetoothd` may.

use std::time::Duration;

use btleplug::api::Peripheral as _;
use btleplug::platform::Peripheral;
use tokio::time::timeout;

use super::bus::Bus;
use super::connection::offered;
use crate::link::Characteristic;

/// BlueZ answers at once, as the device is not connected. One that was left connected is written to first.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Registers for those of the wanted characteristics that the device `id` is known to indicate; and learns which
/// characteristic a value is of, should the connection end before that is asked of the device. What cannot be
/// registered is left to the driver's subscription: a device must not be out of reach for it.
pub(super) async fn stand(bus: &Bus, id: &str, peripheral: &Peripheral, wanted: &[Characteristic]) {
    let known = match bus.indicated(id, wanted).await {
        Ok(known) => known,
        Err(error) => {
            tracing::debug!(id, %error, "what it indicates is not told");
            return;
        }
    };
    if known.is_empty() {
        return;
    }
    if !matches!(timeout(ANSWER_LIMIT, peripheral.discover_services()).await, Ok(Ok(()))) {
        tracing::debug!(id, "its services are not known ahead");
        return;
    }
    for characteristic in known {
        let Some(found) = offered(peripheral, characteristic) else { continue };
        match timeout(ANSWER_LIMIT, peripheral.subscribe(&found)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(id, ?characteristic, %error, "nothing is registered ahead"),
            // It may be registered all the same.
            Err(_) => tracing::debug!(id, ?characteristic, "BlueZ does not answer"),
        }
    }
}
