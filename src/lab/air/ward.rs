//! The hours of the ward: who is there, what passes the gate, what is durable.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::account::Row;
use super::kinds::KINDS;
use super::peripheral::{MINUTE, Millis, Peripheral};
use super::seat::{Common, Seat};
use super::trouble::Troubles;
use super::{Outcome, Plan, Spoil};
use crate::device::catalogue::ble_profile;
use crate::device::{DeviceIndex, Report, ReportBody, Ticket};
use crate::lab::disk::Draw;
use crate::policy::{Gatekeeper, Verdict};
use crate::time::{Clock, ClockSync, Mono, Now, Wall};

/// How long everything is well at the beginning.
const WARM_UP: Millis = 2 * MINUTE;

/// How long everything is well at the end: what was kept meanwhile finds its way.
const COOL_DOWN: Millis = 14 * MINUTE;

/// From when on something is spoilt that is to be spoilt.
const SPOILT: u32 = 4;

/// The most reports that wait.
const REPORTS: usize = 10_000;

/// One in so many device minutes in which a session is ended and made anew.
const RESTARTS: u64 = 90;

/// The paused clock of the runtime, and a wall that began at a round time.
struct Simulated(Instant);

impl Clock for Simulated {
    fn now(&self) -> Now {
        let passed = self.0.elapsed();
        let millis = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        Now {
            mono: Mono::from_nanos(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)),
            wall: Wall::from_millis(1_790_000_000_000 + millis),
            sync: ClockSync::Synced,
            max_error_us: 1,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the runtime's paused clock is the time that is simulated")]
fn simulated_now() -> Instant {
    Instant::now()
}

/// Everybody, and who judges them.
struct Ward {
    seats: Vec<Seat>,
    gate: Gatekeeper,
    outcome: Outcome,
    spoil: Option<Spoil>,
}

/// The ward's hours, on a runtime whose clock is paused.
pub async fn live(plan: &Plan) -> Outcome {
    let began = simulated_now();
    let (reports_in, mut reports) = mpsc::channel(REPORTS);
    let (stop_in, stop) = watch::channel(false);
    let common =
        Common { clock: Arc::new(Simulated(began)), reports: reports_in, stop, began, seed: plan.seed };
    let mut ward = Ward::new(plan, &common);
    let mut draw = Draw::part(plan.seed, 7);
    let length = u64::from(plan.minutes) * MINUTE;
    for minute in 1..=plan.minutes {
        let end = began + Duration::from_secs(60) * minute;
        ward.spoil = ward.spoil.or(plan.spoil.filter(|_| minute == SPOILT));
        ward.pass(&mut reports, end).await;
        let now = u64::from(minute) * MINUTE;
        let may_restart = !plan.calm && now > WARM_UP && now + COOL_DOWN < length;
        ward.end_minute(now, |_| may_restart && draw.below(RESTARTS) == 0, &common);
    }
    stop_in.send_replace(true);
    ward.close(plan.minutes)
}

impl Ward {
    fn new(plan: &Plan, common: &Common) -> Self {
        let mut outcome = Outcome::default();
        let mut seats: Vec<Seat> = Vec::new();
        let length = u64::from(plan.minutes) * MINUTE;
        let window = if plan.calm { [0, 0] } else { [WARM_UP, length.saturating_sub(COOL_DOWN)] };
        let wanted = |profile: &str| plan.only.is_empty() || plan.only.iter().any(|only| only == profile);
        for kind in KINDS.iter().filter(|kind| wanted(kind.profile)) {
            if ble_profile(kind.profile).is_none() {
                if !outcome.left_out.contains(&kind.profile) {
                    outcome.left_out.push(kind.profile);
                }
                continue;
            }
            for _ in 0..kind.pieces {
                let index = u16::try_from(seats.len()).unwrap_or(u16::MAX);
                let serial = format!("SN-{index:04}");
                let drawn = |part: u64| Draw::part(plan.seed, part + u64::from(index));
                let troubles = Troubles::new(drawn(2_000), window);
                let peripheral = Peripheral::new(kind, &serial, drawn(1_000), troubles);
                seats.push(Seat::new(index, &serial, peripheral, common));
            }
        }
        let gate = Gatekeeper::new(seats.iter().map(Seat::rule).collect());
        Self { seats, gate, outcome, spoil: None }
    }

    /// Takes what is reported until then, and lets it become durable.
    async fn pass(&mut self, reports: &mut mpsc::Receiver<Report>, end: Instant) {
        loop {
            let due = self.seats.iter().filter_map(Seat::due).min().map_or(end, |due| due.min(end));
            match tokio::time::timeout_at(due, reports.recv()).await {
                Ok(Some(report)) => {
                    for report in self.spoilt(report) {
                        self.take(report);
                    }
                }
                Ok(None) => return,
                Err(_) if due == end => return,
                Err(_) => self.seats.iter_mut().for_each(|seat| seat.tell_durable(due, false)),
            }
        }
    }

    fn take(&mut self, report: Report) {
        let Some(seat) = self.seats.get_mut(usize::from(report.device.0)) else { return };
        match &report.body {
            ReportBody::Up | ReportBody::Down(_) => seat.is_identified = false,
            ReportBody::Identity(_) => seat.is_identified = true,
            ReportBody::Commit => seat.tell_durable(simulated_now(), true),
            ReportBody::Observation(_, said) if !seat.is_identified => {
                let reference = said.metric.reference;
                self.outcome.tell(format!("{}: {reference} before it said who it is", seat.serial));
            }
            ReportBody::Observation(..)
            | ReportBody::Pin(..)
            | ReportBody::Insecure
            | ReportBody::Fault(_)
            | ReportBody::Unlisted(_) => {}
        }
        if let ReportBody::Pin(ticket, _) = report.body {
            return self.take_pin(ticket, report);
        }
        let kept = if let ReportBody::Observation(ticket, said) = &report.body {
            Some((*ticket, said.clone()))
        } else {
            None
        };
        let verdict = self.gate.handle_report(report);
        while self.gate.poll_words().is_some() {}
        let Some((ticket, said)) = kept else { return };
        let is_refused = match &verdict {
            Verdict::Admit(admitted) => {
                seat.heard_this_minute += 1;
                seat.air.at_now().account.note_heard(admitted.observation());
                false
            }
            Verdict::Refuse(refusal) if refusal.is_of_identity() => {
                self.outcome.refused += 1;
                let mut peripheral = seat.air.at_now();
                if !peripheral.is_swapped() {
                    peripheral.account.note_refusal(&said);
                }
                true
            }
            Verdict::Refuse(refusal) => {
                self.outcome.tell(format!("{}: {refusal}", seat.serial));
                false
            }
            Verdict::Tell(_) | Verdict::Noted => false,
        };
        seat.settle(ticket, is_refused, simulated_now());
    }

    /// No device here ever changes what it is.
    fn take_pin(&mut self, ticket: Ticket, report: Report) {
        let Some(seat) = self.seats.get_mut(usize::from(report.device.0)) else { return };
        let is_refused = match self.gate.handle_report(report) {
            Verdict::Tell(event) => {
                self.outcome.tell(format!("{}: {}", seat.serial, event.detail));
                false
            }
            Verdict::Refuse(refusal) => refusal.is_of_identity(),
            Verdict::Admit(_) | Verdict::Noted => false,
        };
        seat.settle(ticket, is_refused, simulated_now());
    }

    /// What becomes of a report on the way.
    fn spoilt(&mut self, report: Report) -> Vec<Report> {
        let ReportBody::Observation(_, said) = &report.body else { return vec![report] };
        let Some(seat) = self.seats.get(usize::from(report.device.0)) else { return vec![report] };
        let is_judged = seat.air.at_now().account.knows(said);
        match self.spoil.take_if(|_| is_judged) {
            None => vec![report],
            Some(Spoil::Lose) => Vec::new(),
            Some(Spoil::Double) => vec![report.clone(), report],
            Some(Spoil::Mix) => {
                let next = (report.device.0 + 1) % u16::try_from(self.seats.len()).unwrap_or(1).max(1);
                vec![Report { device: DeviceIndex(next), ..report }]
            }
        }
    }

    /// A stream is heard in every minute in which all was well for a while.
    fn end_minute(&mut self, now: Millis, mut restarts: impl FnMut(u16) -> bool, common: &Common) {
        for seat in &mut self.seats {
            let (is_stream, unwell_until, name) = {
                let peripheral = seat.air.at_now();
                let is_stream = peripheral.kind.manner == super::kinds::Manner::Streamed;
                (is_stream, peripheral.account.unwell_until, peripheral.kind.name)
            };
            let is_well = now > 2 * MINUTE && now > unwell_until + MINUTE;
            if is_stream && is_well && seat.heard_this_minute == 0 {
                self.outcome.tell(format!(
                    "{name} {}: nothing heard in minute {}, and all was well",
                    seat.serial,
                    now / MINUTE
                ));
            }
            seat.heard_this_minute = 0;
            if restarts(seat.index) {
                seat.restart(common);
            }
        }
    }

    fn close(mut self, minutes: u32) -> Outcome {
        self.outcome.minutes = minutes;
        for seat in &self.seats {
            let mut peripheral = seat.air.at_now();
            peripheral.finish();
            let name = format!("{} {}", peripheral.kind.name, seat.serial);
            let row = Row { name: name.clone(), profile: peripheral.kind.profile, ..Row::default() };
            let (row, wrong) = peripheral.account.close(row);
            self.outcome.devices.push(row);
            for wrong in wrong {
                self.outcome.tell(format!("{name}: {wrong}"));
            }
        }
        self.outcome
    }
}
