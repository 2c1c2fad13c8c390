//! The alarms that are on, over a restart of the gateway: one that is still on is not told to begin again, and
//! one that ended meanwhile is told to be over.
//!
//! What is remembered is what was on when the last edge became durable, as many as the memo has room for. What has
//! no room, or did not become durable, is told again: twice rather than never.

use super::Collector;
use crate::device::alarms::Raised;
use crate::device::memo::Memo;
use crate::device::nomenclature::metric;
use crate::device::observation::{Observation, Priority, Value};

/// What an alarm that was on before the restart is told to be over with.
const BEFORE: &str = "it was on before the gateway was started anew";

/// The longest code that is remembered, in bytes.
const MAX_CODE: usize = 32;

/// By their place here.
const PRIORITIES: [Priority; 4] = [Priority::Unstated, Priority::Low, Priority::Medium, Priority::High];
const SILENCED: u8 = 0x08;

/// The alarms of the device that are durable.
#[derive(Default)]
pub(super) struct Open {
    /// Where the last edge that is not durable yet is on its way.
    edge_at: Option<u64>,
    owner: Option<u64>,
    /// Each as remembered.
    on: Vec<Vec<u8>>,
}

impl Collector {
    /// Something was put in line.
    pub(super) fn note_alarms(&mut self, said: &[Observation]) {
        if said.iter().any(|one| matches!(one.value, Value::Alarm(_))) {
            self.open.edge_at = Some(self.way.pushed());
        }
    }

    /// Something became durable; whether there is something new to be remembered.
    pub(super) fn keep_alarms(&mut self) -> bool {
        let way = &self.way;
        if self.open.edge_at.take_if(|place| way.is_durable(*place)).is_none() {
            return false;
        }
        let mut on = Vec::new();
        for profile in &mut self.profiles {
            let service = profile.row.service;
            let alarms = profile.decoder.alarms();
            let level = alarms.iter().flat_map(|alarms| alarms.on());
            on.extend(level.filter_map(|(code, raised)| put(service, code, raised)));
        }
        self.open.owner = self.owner;
        self.open.on = on;
        true
    }

    /// The edges that are on their way tell nobody anything.
    pub(super) const fn drop_edges(&mut self) {
        self.open.edge_at = None;
    }

    /// What is to be remembered of a device, as far as there is room.
    pub(super) fn put_alarms(&self, out: &mut Vec<u8>, owner: u64) {
        for one in self.open.on.iter().filter(|_| self.open.owner == Some(owner)) {
            if out.len() + one.len() <= Memo::MOST {
                out.extend(one);
            }
        }
    }

    /// Takes what was remembered.
    pub(super) fn recall_alarms(&mut self, owner: u64, remembered: Vec<OpenAlarm>) {
        self.open.owner = Some(owner);
        for (service, code, raised) in remembered {
            self.open.on.extend(put(service, &code, &raised));
            let profile = self.profiles.iter_mut().find(|profile| profile.row.service == service);
            if let Some(alarms) = profile.and_then(|profile| profile.decoder.alarms()) {
                alarms.recall(code, raised);
            }
        }
    }
}

/// The service, the device's code, and what is known of it.
pub(super) type OpenAlarm = (u16, String, Raised);

fn put(service: u16, code: &str, raised: &Raised) -> Option<Vec<u8>> {
    let length = u8::try_from(code.len()).ok().filter(|length| usize::from(*length) <= MAX_CODE)?;
    let priority = PRIORITIES.iter().position(|known| *known == raised.priority)?;
    let silenced = if raised.is_silenced { SILENCED } else { 0 };
    let mut out = service.to_le_bytes().to_vec();
    out.extend(raised.metric.code.to_le_bytes());
    out.push(u8::try_from(priority).ok()? | silenced);
    out.push(length);
    out.extend(code.as_bytes());
    Some(out)
}

/// Alarms up to the end; `None` when they do not read like this.
pub(super) fn open_alarms(mut octets: &[u8]) -> Option<Vec<OpenAlarm>> {
    let mut out = Vec::new();
    while let Some(([s0, s1, m0, m1, m2, m3, flags, length], rest)) = octets.split_first_chunk::<8>() {
        let (code, rest) = rest.split_at_checked(usize::from(*length))?;
        octets = rest;
        let raised = Raised {
            metric: metric(u32::from_le_bytes([*m0, *m1, *m2, *m3]))?,
            priority: *PRIORITIES.get(usize::from(flags & !SILENCED))?,
            text: BEFORE.to_owned(),
            is_silenced: flags & SILENCED != 0,
        };
        out.push((u16::from_le_bytes([*s0, *s1]), std::str::from_utf8(code).ok()?.to_owned(), raised));
    }
    octets.is_empty().then_some(out)
}
