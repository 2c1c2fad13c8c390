//! The alarms that are on, over a restart of the gateway: one that is still on is not told to begin again, and
//! one that ended meanwhile is told to be over.
//!
//! What is remembered is what was on when the last edge became durable: the most urgent first, as many as the memo has
//! room for, which is more than a pump's decoder holds for on. What did not become durable is told again: twice rather
//! than never. What has no room is told again too while it is on, and is never told to be over: there is a fault.

use super::Collector;
use crate::device::FaultKind;
use crate::device::alarms::{Raised, rank};
use crate::device::memo::Memo;
use crate::device::nomenclature::metric;
use crate::device::observation::{Observation, Priority, Value};

/// What an alarm that was on before the restart is told to be over with.
const BEFORE: &str = "it was on before this connection";

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
    /// What is on is kept back at the gate: it is told, and to be remembered, when anything of the device is stored.
    is_kept_back: bool,
    /// Each as remembered.
    on: Vec<Vec<u8>>,
    /// How many had no room when that was told last.
    left_out: usize,
}

impl Collector {
    /// Something was put in line.
    pub(super) fn note_alarms(&mut self, said: &[Observation]) {
        let has_edge = said.iter().any(|one| matches!(one.value, Value::Alarm(_)));
        if has_edge || (self.open.is_kept_back && !said.is_empty()) {
            self.open.edge_at = Some(self.way.pushed());
        }
    }

    /// Something became durable; whether there is something new to be remembered.
    pub(super) fn keep_alarms(&mut self) -> bool {
        let way = &self.way;
        if self.open.edge_at.take_if(|place| way.is_durable(*place)).is_none() {
            return false;
        }
        self.open.is_kept_back = false;
        let mut on = Vec::new();
        for profile in &mut self.profiles {
            let service = profile.row.service;
            let alarms = profile.decoder.alarms();
            let level = alarms.iter().flat_map(|alarms| alarms.on());
            on.extend(
                level.filter_map(|(code, raised)| Some((rank(raised.priority), put(service, code, raised)?))),
            );
        }
        on.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        self.open.owner = self.owner;
        self.open.on = on.into_iter().map(|(_, one)| one).collect();
        true
    }

    /// Tells how many alarms had no room in what is remembered, when that is another number than before.
    pub(super) fn tell_left_out(&mut self, count: usize) {
        if std::mem::replace(&mut self.open.left_out, count) != count && count > 0 {
            let detail = format!(
                "{count} of {} alarms that are on have no room in what is remembered: their end is not told over a \
                 restart",
                self.open.on.len()
            );
            self.report(FaultKind::Unexpected, detail);
        }
    }

    /// The edges that are on their way tell nobody anything.
    pub(super) const fn drop_edges(&mut self) {
        self.open.edge_at = None;
    }

    /// Those that were told to be on are told to be over, and told anew when the quarantine is lifted: until then a
    /// restart begins with none. `true`: there is something new to be remembered.
    pub(super) fn untell_alarms(&mut self) -> bool {
        self.open.edge_at = None;
        self.open.is_kept_back = true;
        !std::mem::take(&mut self.open.on).is_empty()
    }

    /// Those that were told to be on were told under another entry of the allowlist: one that is still on is told to
    /// begin.
    pub(super) fn drop_told_alarms(&mut self) {
        self.open.on.clear();
        self.forget_alarms();
    }

    /// What is to be remembered of a device, as far as there is room; for how many there was none.
    pub(super) fn put_alarms(&self, out: &mut Vec<u8>, owner: u64) -> usize {
        let mut left_out = 0;
        for one in self.open.on.iter().filter(|_| self.open.owner == Some(owner)) {
            if out.len() + one.len() <= Memo::MOST {
                out.extend(one);
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    /// Goes on from what is durable of the device that it is now: that is what somebody was told.
    pub(super) fn take_up_alarms(&mut self) {
        if let Some(owner) = self.open.owner.filter(|owner| self.owner == Some(*owner))
            && let Some(alarms) = open_alarms(&std::mem::take(&mut self.open.on).concat())
        {
            self.recall_alarms(owner, alarms);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Action;
    use crate::device::catalogue::ble_profile;

    fn left_out(collector: &mut Collector) -> Vec<String> {
        let faults = collector.actions.drain(..);
        faults
            .filter_map(|one| if let Action::Report(fault) = one { Some(fault.detail) } else { None })
            .collect()
    }

    /// The least urgent ones find no room, and that is told once.
    #[test]
    fn the_most_urgent_ones_are_remembered_first_and_what_has_no_room_is_told() {
        let mut collector = Collector::new(vec![ble_profile("insulin-delivery").unwrap()]);
        let raised = |priority| Raised {
            metric: &crate::device::nomenclature::EVT_ALARM,
            priority,
            text: String::new(),
            is_silenced: false,
        };
        let alarms = collector.profiles[0].decoder.alarms().unwrap();
        for number in 0..30 {
            // In the order of their codes the less urgent ones come first.
            alarms.recall(format!("A{number:030}"), raised(Priority::Low));
            alarms.recall(format!("B{number:04}"), raised(Priority::High));
        }
        collector.owner = Some(7);
        collector.open.edge_at = Some(0);
        assert!(collector.keep_alarms());
        let mut out = Vec::new();
        let count = collector.put_alarms(&mut out, 7);
        let kept = open_alarms(&out).unwrap();
        assert!(kept.iter().take(30).all(|(_, code, _)| code.starts_with('B')), "{kept:?}");
        assert!(count > 0 && kept.len() == 60 - count && kept.len() > 30);
        collector.remember();
        collector.remember();
        let told = left_out(&mut collector);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("of 60 alarms that are on have no room"), "{told:?}");
    }
}
