//! The devices that the double plays: what they are called and what they offer.

/// An emulated device.
#[derive(Clone, Debug)]
pub struct Emulated {
    /// Its address, upper case with colons.
    pub address: String,
    /// Its advertised name.
    pub name: String,
    /// Whether it shares keys with the adapter.
    pub bonded: bool,
    /// Whether somebody called it trusted.
    pub trusted: bool,
    /// What it offers.
    pub services: Vec<EmulatedService>,
}

/// A service of an emulated device.
#[derive(Clone, Debug)]
pub struct EmulatedService {
    /// The 16-bit UUID.
    pub uuid: u16,
    /// Its characteristics.
    pub characteristics: Vec<EmulatedCharacteristic>,
}

/// A characteristic of an emulated device.
#[derive(Clone, Debug)]
pub struct EmulatedCharacteristic {
    /// The 16-bit UUID.
    pub uuid: u16,
    /// What may be done with it, in BlueZ's words: `read`, `notify`, `indicate`, `write`.
    pub flags: &'static [&'static str],
    /// What reading it gives.
    pub value: Vec<u8>,
}

impl Emulated {
    /// A heart rate belt that offers its control point too: whoever writes there is found out.
    pub fn heart_rate(address: &str, serial: &str) -> Self {
        let measurement = EmulatedCharacteristic { uuid: 0x2A37, flags: &["notify"], value: Vec::new() };
        let control = EmulatedCharacteristic { uuid: 0x2A39, flags: &["write"], value: Vec::new() };
        let heart = EmulatedService { uuid: 0x180D, characteristics: vec![measurement, control] };
        Self::new(address, "Belt", vec![heart, device_information("Belt 1", serial)])
    }

    /// A pulse oximeter with spot-check and continuous measurements.
    pub fn pulse_oximeter(address: &str, serial: &str) -> Self {
        let spot = EmulatedCharacteristic { uuid: 0x2A5E, flags: &["indicate"], value: Vec::new() };
        let continuous = EmulatedCharacteristic { uuid: 0x2A5F, flags: &["notify"], value: Vec::new() };
        let oximeter = EmulatedService { uuid: 0x1822, characteristics: vec![spot, continuous] };
        Self::new(address, "Oximeter", vec![oximeter, device_information("Oximeter 1", serial)])
    }

    /// A device with these services, not bonded.
    pub fn new(address: &str, name: &str, services: Vec<EmulatedService>) -> Self {
        Self { address: address.to_owned(), name: name.to_owned(), bonded: false, trusted: false, services }
    }

    /// The same, sharing keys with the adapter, and trusted: as `wardline pair` leaves it.
    #[must_use]
    pub fn bonded(self) -> Self {
        Self { bonded: true, trusted: true, ..self }
    }
}

pub(super) fn device_information(model: &str, serial: &str) -> EmulatedService {
    let string = |uuid, text: &str| EmulatedCharacteristic { uuid, flags: &["read"], value: text.into() };
    let strings = [(0x2A29, "Wardline Lab"), (0x2A24, model), (0x2A25, serial), (0x2A26, "1.0")];
    let characteristics = strings.into_iter().map(|(uuid, text)| string(uuid, text)).collect();
    EmulatedService { uuid: 0x180A, characteristics }
}
