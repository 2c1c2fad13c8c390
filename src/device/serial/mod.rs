//! Drivers of devices on serial lines: one file each, two lines here each.
//!
//! Until its first [`LinkEvent::Up`] a driver listens: it reads whatever its device sends, in any
//! order, and asks for nothing. That is how a capture is decoded ([`decode_capture`]). From `Up`
//! on it holds the conversation, and takes only what it asked for.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::catalogue::SerialModel;
use super::nomenclature::{Metric, Unit};
use super::observation::{Kind, MAX_TEXT, Observation, Quality, Status, Value};
use super::settings::Settings;
use super::{Action, Fault, FaultKind, Identity, Part};
use crate::link::{LinkError, LinkEvent};
use crate::time::Now;

mod alaris_asena;
mod astm_lis;
mod bbraun_bcc;
mod draeger_medibus;
mod fresenius_base_a;
mod hospira_plum_aplus;
mod maquet_servo_i;
mod masimo_ascii1;
mod nellcor;
mod nonin;
mod philips_intellivue;
mod puritan_bennett_840;
pub mod site_line;

/// The table of serial device models, one a line.
#[rustfmt::skip]
pub(super) static MODELS: &[&SerialModel] = &[
    &alaris_asena::MODEL,
    &astm_lis::MODEL,
    &bbraun_bcc::MODEL,
    &draeger_medibus::MODEL,
    &fresenius_base_a::MODEL,
    &hospira_plum_aplus::MODEL,
    &maquet_servo_i::MODEL,
    &masimo_ascii1::MODEL,
    &nellcor::MODEL,
    &nonin::MODEL,
    &philips_intellivue::MODEL,
    &puritan_bennett_840::MODEL,
];

/// Units that drivers have besides the shared table: dose units of pumps.
pub(super) fn units() -> impl Iterator<Item = &'static Unit> {
    bbraun_bcc::units().iter()
}

/// A capture is fed to its driver in pieces of this size, as a port would.
const CAPTURE_CHUNK: usize = 1024;

/// The most faults that one event of the link reports one by one; the rest is summed up. A line
/// full of noise must not fill memory with words about it.
const FAULTS_AT_ONCE: usize = 64;

/// Reads what a device sent: a capture of its side of the line, or of both sides. Gives every
/// observation of every whole frame, what was wrong with the rest, and who the device last said it
/// was. Nothing at all in it is a fault too.
pub fn decode_capture(model: &SerialModel, settings: &Settings, bytes: &[u8]) -> Decoded {
    let mut driver = (model.driver)(settings);
    let Decoded { mut observations, mut faults, mut identities } = Decoded::default();
    let chunks = bytes.chunks(CAPTURE_CHUNK).map(|chunk| LinkEvent::Bytes(Bytes::copy_from_slice(chunk)));
    for event in chunks.chain([LinkEvent::Down(LinkError::HungUp)]) {
        driver.handle_event(&event, Now::default());
        while let Some(action) = driver.poll_action() {
            match action {
                Action::Observe(part, observation) => observations.push((part, observation)),
                Action::Report(fault) => faults.push(fault),
                Action::Identify(part, said) => {
                    identities.insert(part, said);
                }
                Action::Gone(part, _) => {
                    identities.remove(&part);
                }
                // A driver that listens has nothing to ask; a capture has nobody to ask, and is read once.
                Action::Command(_) | Action::Commit | Action::Remember(_) | Action::Pin(_) => {}
            }
        }
    }
    if observations.is_empty() && faults.is_empty() && identities.is_empty() {
        let detail = format!("no frame of {} in {} bytes", model.name, bytes.len());
        faults.push(Fault::new(FaultKind::Framing, detail));
    }
    Decoded { observations, faults, identities }
}

/// What a capture holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Every observation of every whole frame, in order, with the part of the device that it is of.
    pub observations: Vec<(Part, Observation)>,
    /// What was wrong with the rest.
    pub faults: Vec<Fault>,
    /// Who each part of the device last said it was.
    pub identities: BTreeMap<Part, Identity>,
}

/// Collects the faults of one event of the link, so many and not more.
#[derive(Debug, Default)]
struct Faults {
    told: Vec<Fault>,
    more: BTreeMap<FaultKind, usize>,
}

impl Faults {
    fn add(&mut self, kind: FaultKind, detail: impl Into<String>) {
        if self.told.len() < FAULTS_AT_ONCE {
            self.told.push(Fault::new(kind, detail));
        } else {
            *self.more.entry(kind).or_default() += 1;
        }
    }

    fn into_actions(self) -> impl Iterator<Item = Action> {
        let rest = self.more.into_iter().map(|(kind, count)| Fault::new(kind, format!("{count} more")));
        self.told.into_iter().chain(rest).map(Action::Report)
    }
}

/// An observation with nothing special about it.
fn observation(metric: &'static Metric, value: Value, unit: &'static Unit, kind: Kind) -> Observation {
    Observation {
        metric,
        channel: 0,
        value,
        unit,
        modality: 0,
        kind,
        record: None,
        device_time: None,
        status: Status::Final,
        quality: Quality::GOOD,
    }
}

/// A device's text as a value: cut to [`MAX_TEXT`] bytes at a character.
fn text(words: &str) -> String {
    let end = (0..=MAX_TEXT.min(words.len())).rev().find(|&at| words.is_char_boundary(at));
    words.get(..end.unwrap_or_default()).unwrap_or_default().to_owned()
}

/// What arrived, as text: UTF-8 where it is, else each byte its Latin-1 character. `None` when it
/// holds control characters, which no text of these protocols does.
fn printable(bytes: &[u8]) -> Option<String> {
    if bytes.iter().any(u8::is_ascii_control) {
        return None;
    }
    Some(match std::str::from_utf8(bytes) {
        Ok(words) => words.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    })
}

#[cfg(test)]
mod tests;
