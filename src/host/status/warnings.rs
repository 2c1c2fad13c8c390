//! What a person should look at, as far as the rest of a [`Snapshot`] says it too, in words.
//!
//! In: a snapshot. Out: its warnings, each with the part of the snapshot that says the same, so that whoever shows both
//! counts a trouble once. Pure.

use super::{Radio, Snapshot, Uplink};

/// A part of a snapshot that has a state of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A device.
    Device,
    /// A radio.
    Radio,
    /// The store.
    Store,
    /// The connection to the broker.
    Broker,
    /// The gateway's certificate.
    Certificate,
    /// The clock.
    Clock,
    /// The fleet.
    Fleet,
}

/// A line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Whose state says the same; none: it is said here alone.
    pub said_by: Option<Part>,
    /// In words.
    pub words: String,
}

impl Warning {
    fn of(part: Part, words: impl Into<String>) -> Self {
        Self { said_by: Some(part), words: words.into() }
    }

    fn alone(words: impl Into<String>) -> Self {
        Self { said_by: None, words: words.into() }
    }
}

/// What follows from the rest of a snapshot.
pub fn of(snapshot: &Snapshot) -> Vec<Warning> {
    let quarantined = snapshot.devices.iter().filter_map(|device| device.quarantine.as_ref());
    let mut warnings: Vec<Warning> = quarantined.map(|why| Warning::of(Part::Device, why)).collect();
    warnings.extend(snapshot.radios.iter().flat_map(of_radio));
    let store = snapshot.store.last_error.as_ref();
    warnings.extend(store.map(|why| Warning::of(Part::Store, format!("store: {why}"))));
    if snapshot.uplink.no_consumer {
        let words = "nobody subscribes to what is published: the data is kept";
        warnings.push(Warning::of(Part::Broker, words));
    }
    let certificate = of_certificate(&snapshot.uplink);
    warnings.extend(certificate.into_iter().map(|words| Warning::of(Part::Certificate, words)));
    if !snapshot.time_synced {
        warnings.push(Warning::of(Part::Clock, "the clock follows no reference: stamps say so"));
    }
    let fleet = snapshot.fleet.as_ref().and_then(|fleet| fleet.trouble.as_ref());
    warnings.extend(fleet.map(|why| Warning::of(Part::Fleet, format!("fleet: {why}"))));
    warnings
}

fn of_radio(radio: &Radio) -> Vec<Warning> {
    let name = &radio.adapter;
    let mut warnings = Vec::new();
    let down = radio.down.as_ref().map(|why| format!("radio {name} is down: {why}"));
    let deaf = radio.not_scanning.as_ref().map(|why| format!("radio {name} does not scan: {why}"));
    warnings.extend(down.into_iter().chain(deaf).map(|words| Warning::of(Part::Radio, words)));
    if radio.wants_usb_reset {
        let words = format!(
            "radio {name} hears nothing, and starting the scan again and switching it off and on did not \
             help: reset its USB device (unplug it and plug it in again) or move the gateway"
        );
        warnings.push(Warning::of(Part::Radio, words));
    }
    warnings.extend(radio.no_agent.as_ref().map(|why| {
        Warning::alone(format!(
            "radio {name}: BlueZ does not take the agent that refuses pairings, another may accept them: {why}"
        ))
    }));
    if radio.values_lost > 0 {
        warnings.push(Warning::alone(format!(
            "radio {name}: {} value(s) that their devices hold for received were lost: look for the devices and the reasons in the log",
            radio.values_lost
        )));
    }
    warnings
}

/// Where the daemon renews it, its age is judged by its life; otherwise somebody has to.
fn of_certificate(uplink: &Uplink) -> Vec<String> {
    if let Some(kept) = &uplink.certificate {
        let until = kept.valid_until.as_deref().unwrap_or("a time that is not known");
        let aged = match kept.alarm.as_str() {
            "expired" => Some(format!(
                "the certificate expired at {until}: readings are kept; enrol the gateway again (wardline enrol)"
            )),
            "soon" | "urgent" => Some(format!("the certificate is valid only until {until}")),
            _ => None,
        };
        return aged.into_iter().chain(kept.trouble.clone()).collect();
    }
    let words = match (uplink.certificate_alarm.as_str(), uplink.certificate_days_left) {
        ("expired", Some(days)) => format!("the certificate expired {} days ago: renew it", -days),
        ("soon" | "urgent", Some(days)) => format!("the certificate expires in {days} days: renew it"),
        _ => return Vec::new(),
    };
    vec![words]
}
