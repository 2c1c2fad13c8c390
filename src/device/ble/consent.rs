//! User Data (0x181C): the consent of a user, without which some devices give nothing that they keep.
//!
//! In: what a User Control Point (2A9F) indicates. Out: whether it is the consent, or a [`Fault`] that names the
//! setting. Pure. Written is the consent alone (op code 0x02, in [`crate::link::gatt`]): no user is registered,
//! listed or deleted.
//!
//! Sources: GATT Specification Supplement, "User Control Point": the request is the user's index and the code,
//! little-endian. The response (0x20, the op code of the request, a response value) and its values are as three
//! implementations have them: Stanford's `SpeziBluetooth` (MIT), openScale's handler of standard scales (GPL-3,
//! facts only), and Dialog's `uds_common.h`. The User Data Service itself was not at hand.
//!
//! What a device does with a wrong code again and again is not known: it is asked once a connection.

use crate::device::nomenclature::Metric;
use crate::device::settings::{Setting, Values};
use crate::device::{Fault, FaultKind};

/// The name of the setting that says whose consent is given.
pub const CONSENT_USER: &str = "consent_user";
/// The name of the setting that says where the code is.
pub const CONSENT_CODE: &str = "consent_code";

/// What can be set for a device that keeps what it measures by user.
pub(crate) static SETTINGS: [Setting; 2] = [
    Setting {
        name: CONSENT_USER,
        meaning: "the index of the user, in the device's memory, whose consent is given on every connection; \
                  of use only with `consent_code`",
        values: Values::Number { least: 0, most: 254, default: 1 },
    },
    Setting {
        name: CONSENT_CODE,
        meaning: "the file with the consent code of that user, up to four digits as the device shows them when \
                  the user is made: a path, or `credential:NAME`; without it no consent is given",
        values: Values::Secret,
    },
];

/// Whose a measurement is: the index of a user in the device's memory, as sent. Who that is, is known to whoever gave
/// out the index, not here. A code of our private block, `0x0400_1161`.
pub(super) static USER_INDEX: Metric = Metric {
    code: 67_113_313,
    reference: "BLE_USER_INDEX",
    label: "user index in the device's memory",
    loinc: None,
    plausible: None,
};

/// The index of a measurement of which the device does not know whose it is.
pub(super) const UNKNOWN_USER: u8 = 0xFF;

/// Whether devices of a service are known to ask for it: Blood Pressure, where its feature has a bit for User
/// Data; Body Composition and Weight Scale, of which some give nothing without it.
pub(crate) const fn asks_for_consent(service: u16) -> bool {
    matches!(service, 0x1810 | 0x181B | 0x181D)
}

const RESPONSE: u8 = 0x20;
const CONSENT: u8 = 0x02;

/// Reads the answer to the consent of a user.
pub(super) fn read(value: &[u8], user: u8) -> Result<(), Fault> {
    let [RESPONSE, request, code, ..] = value else {
        let detail = format!("the user control point says {} octets that are no response", value.len());
        return Err(Fault::new(FaultKind::Malformed, detail));
    };
    if *request != CONSENT {
        let detail = format!("the user control point answers 0x{request:02X}, which nobody asked");
        return Err(Fault::new(FaultKind::Unexpected, detail));
    }
    let why = match code {
        0x01 => return Ok(()),
        0x02 => "does not know consents: remove `settings.consent_code`".to_owned(),
        0x03 => {
            format!(
                "has no user {user}, or no such code: correct `settings.consent_user` and `settings.consent_code`"
            )
        }
        0x04 => format!(
            "could not do it: is user {user} (`settings.consent_user`) registered at the device, with the code of \
             `settings.consent_code`?"
        ),
        0x05 => format!(
            "does not authorise user {user}: correct `settings.consent_code`, or `settings.consent_user`"
        ),
        other => format!(
            "answers 0x{other:02X}, which is not known; look at `settings.consent_user` and `settings.consent_code`"
        ),
    };
    Err(Fault::new(FaultKind::Refused, format!("consent was not given: the device {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::catalogue::ble_profile;

    #[test]
    fn every_response_says_what_to_do_and_the_user_but_never_the_code() {
        assert_eq!(read(&[0x20, 2, 1], 3), Ok(()));
        assert_eq!(read(&[0x20, 2, 1, 9, 9], 3), Ok(()), "what comes after is not for us");
        for (code, says) in [
            (2, "remove `settings.consent_code`"),
            (3, "no user 3"),
            (4, "is user 3 (`settings.consent_user`) registered"),
            (5, "does not authorise user 3: correct `settings.consent_code`"),
            (0, "0x00, which is not known"),
            (6, "0x06, which is not known"),
            (0xFF, "0xFF, which is not known"),
        ] {
            let fault = read(&[0x20, 2, code], 3).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Refused);
            assert!(fault.detail.contains(says) && fault.detail.contains("`settings.consent_"), "{fault:?}");
        }
    }

    #[test]
    fn what_is_no_response_to_a_consent_is_told_as_such() {
        for odd in [&[][..], &[0x20], &[0x20, 2], &[0x02, 1, 0, 0], &[0x21, 2, 1]] {
            assert_eq!(read(odd, 1).unwrap_err().kind, FaultKind::Malformed, "{odd:02X?}");
        }
        assert_eq!(read(&[0x20, 3, 1], 1).unwrap_err().kind, FaultKind::Unexpected);
    }

    #[test]
    fn only_profiles_of_such_devices_have_the_settings() {
        let has = |name: &str| {
            let settings = ble_profile(name).unwrap().settings();
            settings.iter().any(|row| row.name == CONSENT_CODE && row.values == Values::Secret)
        };
        assert!(has("weight-scale") && has("body-composition") && has("blood-pressure"));
        assert!(!has("heart-rate") && !has("glucose") && !has("insulin-delivery") && !has("battery"));
    }
}
