//! What a person is shown who goes on looking, in a browser or at a terminal, from one look at the daemon to the next.
//! Pure: answers and a clock's readings in, values out.
//!
//! Every state comes with words, as a colour alone says nothing to whoever cannot tell it from another. No word tells an
//! age, so that words change only when something does. All durations are in milliseconds at the moment of the look.
//! Memory is bounded: [`MAX_EVENTS`] events, [`MAX_POINTS`] points. What never happens: a serial number, an address of a
//! device that is not listed or anything of a patient is in it.

mod changes;

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use self::changes::changes;
use crate::doctor::bundle::mask::without_adapters;
use crate::host::status::warnings::{self, Part};
use crate::host::status::{Device, Radio, Snapshot};
use crate::time::Mono;

/// How many events are kept, the newest.
pub(crate) const MAX_EVENTS: usize = 200;
/// How many points the line of the depth has.
pub(crate) const MAX_POINTS: usize = 300;

/// How something stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// As it should be.
    #[default]
    Good,
    /// Worth a look.
    Look,
    /// Somebody has to do something.
    Bad,
}

/// A state in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    /// How it stands.
    pub(crate) mark: Mark,
    /// In words.
    pub(crate) words: String,
}

impl Said {
    fn new(mark: Mark, words: impl Into<String>) -> Self {
        let words: String = words.into();
        let words = words.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
        Self { mark, words }
    }
}

/// One device of the allowlist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) driver: String,
    pub(crate) link: Said,
    pub(crate) security: Said,
    pub(crate) last_reading_age_ms: Option<u64>,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    pub(crate) faults: u64,
}

/// A line of what waits for the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    pub(crate) lane: String,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest_age_ms: Option<u64>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Event {
    /// No other has it.
    pub(crate) number: u64,
    pub(crate) age_ms: u64,
    pub(crate) mark: Mark,
    pub(crate) words: String,
}

/// Everything that is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct View {
    pub(crate) gateway: String,
    pub(crate) version: String,
    pub(crate) uptime_ms: u64,
    /// How long ago the daemon gave what is shown; `null`: it has given nothing yet.
    pub(crate) answer_age_ms: Option<u64>,
    /// The whole in a sentence.
    pub(crate) summary: Said,
    /// How the daemon, and with it everything else, stands.
    pub(crate) daemon: Said,
    pub(crate) uplink: Said,
    pub(crate) certificate: Option<Said>,
    pub(crate) clock: Said,
    pub(crate) store: Said,
    pub(crate) fleet: Option<Said>,
    pub(crate) radios: Vec<Said>,
    pub(crate) warnings: Vec<Said>,
    pub(crate) devices: Vec<Row>,
    pub(crate) lanes: Vec<Waiting>,
    pub(crate) unlisted: usize,
    /// Records that wait, all lanes together, one point for each look, the newest last.
    pub(crate) depth: Vec<u64>,
    /// The newest first.
    pub(crate) events: Vec<Event>,
}

/// Looks again and again, and remembers what changed.
#[derive(Debug, Default)]
pub(crate) struct Watcher {
    last: View,
    answered: Option<Mono>,
    depth: VecDeque<u64>,
    events: VecDeque<(Mono, Event)>,
    told: u64,
    has_looked: bool,
}

impl Watcher {
    /// Takes what the daemon answered, or why it did not, and gives what is shown then.
    pub(crate) fn handle_answer(&mut self, answer: Result<&Snapshot, &str>, now: Mono) -> View {
        let view = match answer {
            Ok(snapshot) => show(snapshot),
            // What was known is shown no longer: an old picture that looks like a live one is the worst of all.
            Err(reason) => View {
                gateway: self.last.gateway.clone(),
                version: self.last.version.clone(),
                daemon: Said::new(Mark::Bad, reason),
                ..View::default()
            },
        };
        if answer.is_ok() {
            let waiting = view.lanes.iter().fold(0u64, |sum, lane| sum.saturating_add(lane.records));
            push(&mut self.depth, waiting, MAX_POINTS);
            self.answered = Some(now);
        }
        if self.has_looked {
            for (mark, words) in changes(&self.last, &view) {
                self.told = self.told.saturating_add(1);
                push(
                    &mut self.events,
                    (now, Event { number: self.told, age_ms: 0, mark, words }),
                    MAX_EVENTS,
                );
            }
        }
        self.has_looked = true;
        self.last = view.clone();
        self.finished(view, now)
    }

    /// The daemon was asked and has not answered yet: what is shown stays, grows older and says so.
    pub(crate) fn handle_silence(&mut self, now: Mono) -> View {
        let mut view = self.last.clone();
        let age = self.answered.map_or(0, |at| age_ms(at, now));
        view.uptime_ms = view.uptime_ms.saturating_add(age);
        let readings = view.devices.iter_mut().map(|device| &mut device.last_reading_age_ms);
        let oldest = view.lanes.iter_mut().map(|lane| &mut lane.oldest_age_ms);
        for known in readings.chain(oldest).flatten() {
            *known = known.saturating_add(age);
        }
        if !self.has_looked {
            view.daemon = Said::new(Mark::Look, "has not answered yet");
        } else if view.daemon.mark == Mark::Good {
            view.daemon = Said::new(Mark::Look, "has not answered since: what is shown is from before");
        }
        self.finished(view, now)
    }

    fn finished(&self, mut view: View, now: Mono) -> View {
        view.answer_age_ms = self.answered.map(|at| age_ms(at, now));
        view.summary = summary(&view);
        view.depth = self.depth.iter().copied().collect();
        let aged = |(at, event): &(Mono, Event)| Event { age_ms: age_ms(*at, now), ..event.clone() };
        view.events = self.events.iter().rev().map(aged).collect();
        view
    }
}

fn age_ms(at: Mono, now: Mono) -> u64 {
    u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)
}

impl Row {
    /// The worst of it.
    pub(crate) fn mark(&self) -> Mark {
        self.link.mark.max(self.security.mark)
    }
}

impl View {
    /// Whether the state of a part is not as it should be.
    fn warns_of(&self, part: Part) -> bool {
        let mark = match part {
            Part::Device => self.devices.iter().map(|row| row.link.mark).max(),
            Part::Radio => self.radios.iter().map(|said| said.mark).max(),
            Part::Store => Some(self.store.mark),
            Part::Broker => Some(self.uplink.mark),
            Part::Certificate => self.certificate.as_ref().map(|said| said.mark),
            Part::Clock => Some(self.clock.mark),
            Part::Fleet => self.fleet.as_ref().map(|said| said.mark),
        };
        mark.is_some_and(|mark| mark != Mark::Good)
    }

    /// What is said of the gateway itself, with its name, in the order in which it is shown.
    pub(crate) fn states(&self) -> Vec<(&'static str, &Said)> {
        let mut states = vec![("Daemon", &self.daemon), ("Broker", &self.uplink)];
        states.extend(self.certificate.iter().map(|said| ("Certificate", said)));
        states.extend([("Clock", &self.clock), ("Store", &self.store)]);
        states.extend(self.fleet.iter().map(|said| ("Fleet", said)));
        states.extend(self.radios.iter().map(|said| ("Radio", said)));
        states.extend(self.warnings.iter().map(|said| ("Warning", said)));
        states.retain(|(_, said)| !said.words.is_empty());
        states
    }
}

fn summary(view: &View) -> Said {
    if view.daemon.mark != Mark::Good {
        return Said::new(view.daemon.mark, format!("The daemon: {}", view.daemon.words));
    }
    let (all, states) = (view.devices.len(), view.states());
    let devices = view.devices.iter().filter(|device| device.mark() != Mark::Good).count();
    let things = states.iter().filter(|(_, said)| said.mark != Mark::Good).count();
    let marks = view.devices.iter().map(Row::mark).chain(states.iter().map(|(_, said)| said.mark));
    let of_devices = || format!("{devices} of {}", counted(all, "device"));
    let of_gateway = || format!("{} of the gateway", counted(things, "thing"));
    let words = match (devices, things) {
        (0, 0) if all == 0 => "The gateway is well; no device is listed".to_owned(),
        (0, 0) => format!("The gateway and its {} are well", counted(all, "device")),
        (0, 1) => format!("{} needs a look", of_gateway()),
        (0, _) => format!("{} need a look", of_gateway()),
        (1, 0) => format!("{} needs a look", of_devices()),
        (_, 0) => format!("{} need a look", of_devices()),
        _ => format!("{} and {} need a look", of_devices(), of_gateway()),
    };
    Said::new(marks.max().unwrap_or_default(), words)
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    while queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn show(snapshot: &Snapshot) -> View {
    let mut view = View {
        gateway: snapshot.gateway.clone(),
        version: snapshot.version.clone(),
        uptime_ms: snapshot.uptime_ms,
        answer_age_ms: None,
        summary: Said::default(),
        daemon: Said::new(Mark::Good, "running"),
        uplink: uplink(snapshot),
        certificate: certificate(snapshot),
        clock: clock(snapshot),
        store: store(snapshot),
        fleet: fleet(snapshot),
        radios: snapshot.radios.iter().map(radio).collect(),
        warnings: Vec::new(),
        devices: snapshot.devices.iter().map(row).collect(),
        lanes: snapshot
            .lanes
            .iter()
            .map(|lane| Waiting {
                lane: lane.lane.clone(),
                records: lane.records,
                bytes: lane.bytes,
                oldest_age_ms: lane.oldest_age_ms,
            })
            .collect(),
        unlisted: snapshot.unlisted.len(),
        depth: Vec::new(),
        events: Vec::new(),
    };
    view.warnings = warnings_beside(&view, snapshot);
    view
}

/// Without those that tell of a device in quarantine, as their words name serial numbers: its row says that it is. And
/// without what a state of the view says: a trouble is shown and counted once.
fn warnings_beside(view: &View, snapshot: &Snapshot) -> Vec<Said> {
    let reasons: Vec<_> = snapshot.devices.iter().filter_map(|device| device.quarantine.as_deref()).collect();
    let of_states = warnings::of(snapshot).into_iter();
    let of_states = of_states.filter(|warning| warning.said_by.is_some_and(|part| view.warns_of(part)));
    let said: Vec<String> = of_states.map(|warning| warning.words).collect();
    let shown = snapshot.warnings.iter().filter(|text| !reasons.iter().any(|reason| text.contains(reason)));
    let shown = shown.filter(|text| !said.contains(text));
    shown.map(|warning| Said::new(Mark::Look, warning.as_str())).collect()
}

fn uplink(snapshot: &Snapshot) -> Said {
    let uplink = &snapshot.uplink;
    if uplink.state != "connected" {
        let error = uplink.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let nobody = if uplink.no_consumer { "; nobody was subscribed" } else { "" };
        return Said::new(Mark::Bad, format!("{}, readings are kept{error}{nobody}", uplink.state));
    }
    if uplink.no_consumer {
        return Said::new(Mark::Bad, "connected, but nobody is subscribed: readings are kept");
    }
    Said::new(Mark::Good, "connected")
}

fn certificate(snapshot: &Snapshot) -> Option<Said> {
    let days = snapshot.uplink.certificate_days_left?;
    let trouble = snapshot.uplink.certificate.as_ref().and_then(|certificate| certificate.trouble.as_deref());
    let mark = match snapshot.uplink.certificate_alarm.as_str() {
        "urgent" | "expired" => Mark::Bad,
        "soon" => Mark::Look,
        _ if trouble.is_some() => Mark::Look,
        _ => Mark::Good,
    };
    let left = match days {
        ..0 => "has expired".to_owned(),
        0 => "ends within a day".to_owned(),
        _ => format!("{} left", counted(usize::try_from(days).unwrap_or_default(), "day")),
    };
    let way_out = match (&snapshot.uplink.certificate, snapshot.uplink.certificate_alarm.as_str()) {
        (None, "soon" | "urgent" | "expired") => ": renew it",
        (Some(_), "expired") => ": enrol the gateway again (wardline enrol)",
        _ => "",
    };
    let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
    Some(Said::new(mark, format!("{left}{way_out}{trouble}")))
}

fn clock(snapshot: &Snapshot) -> Said {
    if snapshot.time_synced {
        return Said::new(Mark::Good, "follows a reference");
    }
    Said::new(Mark::Look, "follows no reference: readings are marked so")
}

fn store(snapshot: &Snapshot) -> Said {
    let store = &snapshot.store;
    let share =
        u128::from(store.bytes).saturating_mul(100).checked_div(u128::from(store.cap)).unwrap_or_default();
    let size = format!(
        "{} of {} ({share} %)",
        crate::config::show_size(store.bytes),
        crate::config::show_size(store.cap)
    );
    if let Some(error) = &store.last_error {
        return Said::new(Mark::Bad, format!("{size}; {error}"));
    }
    if store.dropped > 0 {
        return Said::new(
            Mark::Bad,
            format!("{size}; {} records dropped or lost, see gap records", store.dropped),
        );
    }
    if store.quarantined_segments > 0 || store.faults > 0 {
        return Said::new(
            Mark::Look,
            format!("{size}; something is not as it was left: wardline spool verify"),
        );
    }
    Said::new(if share >= 80 { Mark::Look } else { Mark::Good }, size)
}

fn fleet(snapshot: &Snapshot) -> Option<Said> {
    let fleet = snapshot.fleet.as_ref()?;
    let runs = fleet.bundle.map_or_else(|| "the files".to_owned(), |version| format!("bundle {version}"));
    let mark = match fleet.standing.as_str() {
        "failed" | "stale" | "locked" => Mark::Bad,
        _ if fleet.trouble.is_some() || fleet.trial.is_some() => Mark::Look,
        _ => Mark::Good,
    };
    // Where the gateway stands may be what is wrong.
    let trouble = fleet.trouble.as_ref().filter(|trouble| **trouble != fleet.detail);
    let trouble = trouble.map(|trouble| format!("; {trouble}")).unwrap_or_default();
    Some(Said::new(mark, format!("{runs} of group {}; {}{trouble}", fleet.group, fleet.detail)))
}

fn radio(radio: &Radio) -> Said {
    let (mark, state) = match (&radio.down, &radio.not_scanning) {
        (Some(reason), _) => (Mark::Bad, format!("cannot be used: {reason}")),
        (None, Some(reason)) => (Mark::Bad, format!("does not scan: {reason}")),
        (None, None) if radio.wants_usb_reset => {
            let words =
                "hears nothing: reset its USB device (unplug it and plug it in again) or move the gateway";
            (Mark::Look, words.to_owned())
        }
        (None, None) => (Mark::Good, "scans".to_owned()),
    };
    Said::new(mark, format!("{} {state}", radio.adapter))
}

fn row(device: &Device) -> Row {
    let sum =
        |counts: &BTreeMap<String, u64>| counts.values().fold(0u64, |sum, count| sum.saturating_add(*count));
    Row {
        id: device.id.clone(),
        driver: device.model.clone(),
        link: link(device),
        security: security(device),
        last_reading_age_ms: device.last_reading_age_ms,
        admitted: device.admitted,
        refused: sum(&device.refused),
        faults: sum(&device.faults),
    }
}

fn link(device: &Device) -> Said {
    // The reason names serial numbers, which are for who may ask for the status.
    if device.is_held {
        return Said::new(Mark::Bad, "in quarantine by an advisory: wardline status says why");
    }
    if device.quarantine.is_some() {
        return Said::new(Mark::Bad, "all of it is refused: wardline status says why");
    }
    if device.silent_ms.is_some() {
        return Said::new(Mark::Bad, "silent for longer than it may be");
    }
    match device.link.as_str() {
        "up" => Said::new(Mark::Good, "up"),
        "down" => Said::new(
            Mark::Look,
            // Who looks over a shoulder learns no serial number of an adapter: wardline status has it.
            device
                .link_reason
                .as_ref()
                .map_or_else(|| "down".to_owned(), |reason| format!("down: {}", without_adapters(reason))),
        ),
        _ => Said::new(Mark::Look, "not seen yet"),
    }
}

fn security(device: &Device) -> Said {
    if device.bond_refused {
        return Said::new(Mark::Bad, format!("bond not trusted: wardline pair {}", device.id));
    }
    match device.security.as_str() {
        "open" => Said::new(Mark::Look, "open link"),
        "bonded" => Said::new(Mark::Good, "bonded"),
        "serial" => Said::new(Mark::Good, "cable"),
        other => Said::new(Mark::Good, other),
    }
}

#[cfg(test)]
mod tests;
