//! Advisories as CISA published them, made-up ones where those are silent, and made-up inventories.

use super::csaf::Advisory;
use super::inventory::Device;

mod documents;
mod exports;
mod properties;
mod statuses;
mod table;
mod texts;

/// The seven documents of `tests/data/csaf`.
const DOCUMENTS: [(&str, &[u8]); 7] = [
    ("ICSMA-17-017-02", include_bytes!("../../../tests/data/csaf/icsma-17-017-02.json")),
    ("ICSMA-18-144-01", include_bytes!("../../../tests/data/csaf/icsma-18-144-01.json")),
    ("ICSMA-18-219-01", include_bytes!("../../../tests/data/csaf/icsma-18-219-01.json")),
    ("ICSMA-19-164-01", include_bytes!("../../../tests/data/csaf/icsma-19-164-01.json")),
    ("ICSMA-20-170-04", include_bytes!("../../../tests/data/csaf/icsma-20-170-04.json")),
    ("ICSMA-21-294-01", include_bytes!("../../../tests/data/csaf/icsma-21-294-01.json")),
    ("ICSMA-22-251-01", include_bytes!("../../../tests/data/csaf/icsma-22-251-01.json")),
];

fn advisory(id: &str) -> Advisory {
    let (_, bytes) = DOCUMENTS.iter().find(|(name, _)| *name == id).expect("a document of the seven");
    Advisory::read(bytes).expect("a document that is read")
}

/// A device; an empty text is not known.
fn device(make: &str, model: &str, firmware: &str) -> Device {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Device {
        id: "device-1".to_owned(),
        make: known(make),
        model: known(model),
        firmware: known(firmware),
        ..Device::default()
    }
}
