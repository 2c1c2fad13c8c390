//! One port of the ward: a simulated device, the real driver in the real session, and what goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, watch};

use crate::backoff::{Bounds, Random};
use crate::device::catalogue::{Parts, SerialModel, serial_model};
use crate::device::memo::Blank;
use crate::device::session::{Context, Inheritance, Session};
use crate::device::settings::Settings;
use crate::device::{DeviceIndex, Part, Report, ReportBody, Settled, Ticket};
use crate::lab::disk::Draw;
use crate::lab::numerics::Minute;
use crate::lab::sim::wire::{FOLDER, MemoryLink};
use crate::lab::sim::{Remote, Shown, Sim, Start, Trouble};
use crate::time::Clock;

/// As in the daemon.
const BACKOFF: Bounds = Bounds {
    first: Duration::from_millis(500),
    most: Duration::from_secs(15),
    healthy_after: Duration::from_secs(60),
};

/// Minutes after a trouble in which a device may still be finding its way back.
const RECOVERY: u32 = 3;

/// Lines so far: several wards may live at the same time.
static LINES: AtomicU64 = AtomicU64::new(0);

/// Jitter that is the same on every run.
struct Drawn(Draw);

impl Random for Drawn {
    fn next_u64(&mut self) -> u64 {
        self.0.number()
    }
}

/// A port with everything at both of its ends.
pub(super) struct Port {
    model: &'static SerialModel,
    first: u16,
    remote: Arc<dyn Remote>,
    draw: Draw,
    usual: String,
    other: String,
    /// Until which minute the device may be out of step.
    unwell_until: u32,
    /// Until which minute another device stands there.
    swapped_until: Option<u32>,
    troubles: u64,
    /// What the device has shown since this minute's beginning, and in the last of the one before.
    shown: Vec<Shown>,
}

/// What every port shares.
pub(super) type Common<'a> = (&'a Arc<dyn Clock>, &'a mpsc::Sender<Report>, &'a watch::Receiver<bool>);

impl Port {
    /// Starts the device and its session.
    pub(super) fn start(sim: &Sim, first: u16, seed: u64, common: Common<'_>) -> anyhow::Result<Self> {
        let (clock, onward, stop) = common;
        let model = serial_model(sim.name).with_context(|| format!("{} has no driver", sim.name))?;
        let [usual, other] = sim.identities.map(str::to_owned);
        let line = LINES.fetch_add(1, Ordering::Relaxed);
        let path = Some(format!("{FOLDER}{line}/{}", sim.name).into());
        let running =
            (sim.start)(&Start { link: path, identity: Some(usual.clone()), baud: None, parts: Some(24) })?;
        #[expect(clippy::disallowed_methods, reason = "the ward takes the supervisor's place")]
        tokio::spawn(running.device);
        let (settled_in, settled) = watch::channel(Settled::default());
        let context = Context {
            device: DeviceIndex(first),
            parts: parts(model)
                .map(|part| (part, DeviceIndex(first + u16::from(part.0))))
                .collect::<BTreeMap<_, _>>(),
            clock: Arc::clone(clock),
            random: Box::new(Drawn(Draw::part(seed, u64::from(first)))),
            backoff: BACKOFF,
            quiet: Some(model.quiet),
            patience: Duration::from_secs(2),
            reports: durable_at_once(onward.clone(), DeviceIndex(first), settled_in),
            tickets: Arc::default(),
            settled,
            notebook: Box::new(Blank),
            stop: stop.clone(),
            lost: Box::new(|| {}),
            told: Inheritance::default(),
        };
        let driver = (model.driver)(&Settings::defaults(model.settings));
        let session = Session::new(MemoryLink::new(running.remote.path(), model.requests), driver, context);
        #[expect(clippy::disallowed_methods, reason = "the ward takes the supervisor's place")]
        tokio::spawn(session.run());
        let draw = Draw::part(seed, 1_000 + u64::from(first));
        let remote = running.remote;
        Ok(Self {
            model,
            first,
            remote,
            draw,
            usual,
            other,
            unwell_until: 0,
            swapped_until: None,
            troubles: 0,
            shown: Vec::new(),
        })
    }

    /// The next free device index.
    pub(super) fn end(&self) -> u16 {
        let most = parts(self.model).map(|part| part.0).max().unwrap_or_default();
        self.first + u16::from(most) + 1
    }

    pub(super) const fn model(&self) -> &'static SerialModel {
        self.model
    }

    pub(super) const fn first(&self) -> u16 {
        self.first
    }

    pub(super) fn remote(&self) -> &dyn Remote {
        self.remote.as_ref()
    }

    pub(super) const fn troubles(&self) -> u64 {
        self.troubles
    }

    /// What has to be heard this minute of one of its devices.
    pub(super) fn shown_by(&self, index: u16) -> impl Iterator<Item = &Shown> {
        let place = move |at: &str| if at.is_empty() { Some(Part::WHOLE) } else { self.model.parts.find(at) };
        let is_its = move |shown: &&Shown| {
            place(&shown.at).is_some_and(|part| u16::from(part.0) == index.saturating_sub(self.first))
        };
        self.shown.iter().filter(is_its)
    }

    /// Whether the device has to be heard in this minute, all of it.
    pub(super) const fn is_well(&self, minute: u32) -> bool {
        minute >= self.unwell_until
    }

    /// Whether another device has stood there for all of this minute.
    pub(super) fn is_swapped(&self, minute: u32) -> bool {
        self.swapped_until
            .is_some_and(|until| minute < until && minute + 1 >= self.unwell_until.saturating_sub(RECOVERY))
    }

    /// Shows the minute's values, and lets something go wrong now and then.
    pub(super) fn begin_minute(&mut self, minute: &Minute, is_calm: bool, now: u32) {
        self.remote.forget();
        self.remote.play(minute);
        self.shown = self.remote.shown();
        if self.swapped_until.is_some_and(|until| until <= now || is_calm) {
            self.remote.trouble(Trouble::Identity(self.usual.clone()));
            self.swapped_until = None;
            self.unwell_until = now + RECOVERY;
        }
        if is_calm || self.swapped_until.is_some() || self.draw.below(8) != 0 {
            return;
        }
        self.troubles += 1;
        let trouble = self.trouble();
        self.unwell_until = now + RECOVERY;
        if matches!(trouble, Trouble::Identity(_)) {
            self.swapped_until = Some(now + 5);
            self.unwell_until = now + 5 + RECOVERY;
        }
        self.remote.trouble(trouble);
    }

    fn trouble(&mut self) -> Trouble {
        let count = self.draw.place(400);
        match self.draw.below(11) {
            0 => Trouble::Noise((0..count).map(|_| self.draw.number().to_le_bytes()[0]).collect()),
            1 => Trouble::Torn,
            2 => Trouble::Corrupted,
            3 => Trouble::Late(Duration::from_millis(100 * self.draw.below(60))),
            4 => Trouble::Silent,
            5 => Trouble::Escaped,
            6 => Trouble::PowerCycle(Duration::from_secs(1 + self.draw.below(40))),
            7 => Trouble::Identity(self.other.clone()),
            8 => Trouble::AlarmFlood(u32::try_from(self.draw.below(20)).unwrap_or_default()),
            9 => Trouble::ClockRestart,
            _ => Trouble::WrongBaud(u32::try_from(1 + self.draw.below(6)).unwrap_or(1)),
        }
    }
}

/// The parts of a model.
pub(super) fn parts(model: &SerialModel) -> impl Iterator<Item = Part> + use<> {
    let count = match model.parts {
        Parts::One => 0,
        Parts::Many { names, .. } => names.len(),
    };
    (1..=u8::try_from(count).unwrap_or(u8::MAX)).map(Part)
}

/// Stands between a session and the ward: what passes is durable.
fn durable_at_once(
    onward: mpsc::Sender<Report>,
    device: DeviceIndex,
    settled: watch::Sender<Settled>,
) -> mpsc::Sender<Report> {
    let (reports_in, mut reports) = mpsc::channel::<Report>(16);
    #[expect(clippy::disallowed_methods, reason = "the ward takes the supervisor's place")]
    tokio::spawn(async move {
        while let Some(report) = reports.recv().await {
            let ticket = if let ReportBody::Observation(ticket, _) = &report.body {
                Some(*ticket).filter(|_| report.device == device)
            } else {
                None
            };
            if onward.send(report).await.is_err() {
                return;
            }
            if let Some(ticket) = ticket {
                settled.send_replace(Settled {
                    through: ticket,
                    refused: Ticket::default(),
                    ..Settled::default()
                });
            }
        }
    });
    reports_in
}
