//! BLE profiles: one file each, two lines here each.
//!
//! In: one value of one characteristic. Out: observations, or a [`Fault`] that says which field
//! was missing. Pure. What never happens: a value that is cut short gives a part of its fields.
//!
//! Rules that hold for every profile (`GATT Specification Supplement`, and what real devices do):
//! reserved flag bits are ignored, octets after the known fields are kept out, a field that its
//! flag announces must be whole or the value is refused as a whole.

mod battery;
mod blood_pressure;
mod body_composition;
mod cgm;
mod clock;
mod collector;
mod consent;
mod elapsed_time;
mod environmental_sensing;
mod ghs;
mod glucose;
mod health_thermometer;
mod heart_rate;
mod insulin;
mod occasion;
mod octets;
mod pulse_oximeter;
mod records;
mod segments;
mod set_clock;
mod weight_scale;

pub use collector::{Collector, IDENTITY_PERIOD, SETUP_LIMIT, SILENCE_LIMIT};
pub use consent::{CONSENT_CODE, CONSENT_USER};
pub(super) use consent::{SETTINGS as CONSENT_SETTINGS, asks_for_consent};
pub use environmental_sensing::is_of_place;
pub use octets::MAX_VALUE;
pub(super) use records::SETTINGS as RECORD_SETTINGS;
pub(super) use set_clock::SETTINGS as CLOCK_SETTINGS;
pub use set_clock::{SET_CLOCK, keeps_its_clock, wants_clock_set};

use super::catalogue::BleProfile;
use super::observation::Observation;
use super::{Fault, FaultKind};
use crate::link::Characteristic;

/// The table of BLE profiles.
pub(super) static PROFILES: &[&BleProfile] = &[
    &battery::PROFILE,
    &blood_pressure::PROFILE,
    &body_composition::PROFILE,
    &cgm::PROFILE,
    &clock::PROFILE,
    &environmental_sensing::PROFILE,
    &ghs::PROFILE,
    &glucose::PROFILE,
    &health_thermometer::PROFILE,
    &heart_rate::PROFILE,
    &insulin::PROFILE,
    &pulse_oximeter::PROFILE,
    &weight_scale::PROFILE,
];

/// What one value of a characteristic says, whichever profile lists the characteristic, and as far as it
/// stands alone: nothing was read of the device before.
pub fn decode(uuid: u16, value: &[u8]) -> Result<Vec<Observation>, Fault> {
    let of = |profile: &'static BleProfile| {
        profile.subscribes.iter().chain(profile.asks).map(move |c| (profile, *c))
    };
    let known = || PROFILES.iter().copied().flat_map(of);
    let Some((profile, characteristic)) = known().find(|(_, known)| known.uuid == uuid) else {
        let list = known().map(|(profile, known)| format!("{:04X} ({})", known.uuid, profile.name));
        let list = list.collect::<Vec<_>>().join(", ");
        return Err(Fault::new(FaultKind::Unexpected, format!("{uuid:04X} is not known; known are {list}")));
    };
    let mut decoder = (profile.decoder)();
    let mut said = if profile.subscribes.contains(&characteristic) {
        decoder.handle_value(characteristic, value)?
    } else {
        decoder.handle_read(characteristic, Some(value))?
    };
    // Nothing follows that it could wait for.
    said.extend(decoder.handle_end());
    Ok(said)
}

/// The fault of a decoder that was handed a characteristic of another service.
fn not_of_this_profile(characteristic: Characteristic, profile: &BleProfile) -> Fault {
    let title = profile.title;
    Fault::new(FaultKind::Unexpected, format!("{characteristic:?} does not belong to {title}"))
}

#[cfg(test)]
mod tests;
