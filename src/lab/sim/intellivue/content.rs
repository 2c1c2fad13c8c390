//! What the simulated monitor's objects say.

use super::wire::{self, Object, attribute, list, sized};
use super::{Alert, Numeric, Values};

/// What is sent in full, as the journal shows it, and the objects.
pub(super) fn numerics(values: &Values, group: u16) -> (String, Vec<Object>) {
    let demonstration = if values.is_demonstration { 0x0400 } else { 0 };
    let mut message = "numerics".to_owned();
    let object = |numeric: &Numeric| {
        let encoded: Vec<Vec<u8>> = numeric
            .values
            .iter()
            .map(|(physio, state, unit, value)| wire::observed(*physio, state | demonstration, *unit, *value))
            .collect();
        for (physio, _, _, value) in &numeric.values {
            message = format!("{message} {physio}={value:08X}");
        }
        let mut attributes = Vec::new();
        if group == 0 {
            attributes.push(attribute(0x0921, &numeric.handle.to_be_bytes()));
            attributes.push(attribute(0x093F, &wire::specification(numeric.category)));
            attributes.push(attribute(0x0927, &wire::unicode("LABEL ")));
        }
        attributes.extend(values.name.iter().map(|name| attribute(0x095C, &wire::unicode(name))));
        match encoded.as_slice() {
            [one] => attributes.push(attribute(0x0950, one)),
            several => attributes.push(attribute(0x094B, &list(several))),
        }
        attributes.extend(numeric.time.iter().map(|time| attribute(0x0990, time)));
        (numeric.handle, attributes)
    };
    let objects = values.numerics.iter().map(object).collect();
    (message, objects)
}

/// The lists of alerts; of a flood another one each time.
pub(super) fn alerts(values: &Values, flood: Option<u32>) -> (String, Vec<Object>) {
    let mut patient = values.patient.clone();
    if let Some(left) = flood {
        let code = if left % 2 == 0 { 100 } else { 102 };
        let text = Some(format!("*** FLOOD {code}"));
        patient = vec![Alert { source: 16_770, code, kind: 1_024, state: 0, text }];
    }
    let state = if values.is_demonstration { 0x0100 } else { 0 };
    let encoded = |alerts: &[Alert]| {
        let one = |alert: &Alert| wire::alert(alert, alert.state | state);
        list(&alerts.iter().map(one).collect::<Vec<_>>())
    };
    let codes: Vec<String> =
        patient.iter().chain(&values.technical).map(|alert| alert.code.to_string()).collect();
    let attributes =
        vec![attribute(0x0902, &encoded(&patient)), attribute(0x0904, &encoded(&values.technical))];
    (format!("alerts {}", codes.join(" ")), vec![(0, attributes)])
}

/// Model, system id, bed and production specification.
pub(super) fn about_itself(serial: &str, states_serial: bool, bed: &str) -> Vec<Vec<u8>> {
    let mut attributes = vec![
        attribute(0x0986, &[0x00, 0x01, 0x00, 0x21]),
        attribute(0x0928, &[sized(b"PHI\0"), sized(b"MP70\0\0")].concat()),
        attribute(0x0984, &sized(&wire::system_id(serial))),
        attribute(0x091E, &wire::unicode(bed)),
    ];
    let software = [&[0, 4, 0, 0x58][..], &sized(b"J.10.40 ")].concat();
    let stated = states_serial.then(|| [&[0, 1, 0, 8][..], &sized(serial.as_bytes())].concat());
    let entries: Vec<Vec<u8>> = stated.into_iter().chain([software]).collect();
    attributes.push(attribute(0x092D, &list(&entries)));
    attributes
}
