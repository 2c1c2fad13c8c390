//! One device of the ward: the peripheral, its link, the real driver in the real session, and what is durable.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::peripheral::Peripheral;
use super::radio::{Air, AirLink};
use crate::backoff::{Bounds, Random};
use crate::device::ble::Collector;
use crate::device::catalogue::{BleProfile, ble_profile};
use crate::device::memo::{Doing, Memo, Notebook};
use crate::device::session::{Context, Inheritance, Session};
use crate::device::settings::Settings;
use crate::device::{DeviceIndex, Identity, Report, Settled, Ticket};
use crate::lab::disk::Draw;
use crate::policy::{DeviceCard, DeviceRule, Trust};
use crate::time::Clock;

/// As in the daemon.
const BACKOFF: Bounds = Bounds {
    first: Duration::from_millis(500),
    most: Duration::from_secs(15),
    healthy_after: Duration::from_secs(60),
};

/// How long a reading is on its way to the disk.
const TO_DISK: Duration = Duration::from_millis(400);

/// Jitter that is the same on every run.
struct Drawn(Draw);

impl Random for Drawn {
    fn next_u64(&mut self) -> u64 {
        self.0.number()
    }
}

/// What a driver wanted remembered, over the end of its session.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Option<Memo>>>);

impl Notebook for Page {
    fn read(&mut self) -> Doing<'_, Option<Memo>> {
        let memo = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { memo })
    }

    fn write(&mut self, memo: Memo) -> Doing<'_, ()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(memo);
        Box::pin(async {})
    }
}

/// What all seats share.
pub(super) struct Common {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) began: Instant,
    pub(super) seed: u64,
}

/// A device and everything at both ends of its link.
pub(super) struct Seat {
    pub(super) index: u16,
    pub(super) serial: String,
    pub(super) profiles: Vec<&'static BleProfile>,
    pub(super) air: Air,
    tickets: Arc<AtomicU64>,
    settled: watch::Sender<Settled>,
    /// What will be durable, and when.
    way: VecDeque<(Instant, Settled)>,
    page: Page,
    session: Option<JoinHandle<()>>,
    sessions: u64,
    /// Whether the device has said who it is on the present connection.
    pub(super) is_identified: bool,
    pub(super) heard_this_minute: u64,
}

impl Seat {
    pub(super) fn new(index: u16, serial: &str, peripheral: Peripheral, common: &Common) -> Self {
        let wanted = [peripheral.kind.profile, "current-time", "battery"];
        let profiles = wanted.into_iter().filter_map(ble_profile).collect();
        let mut seat = Self {
            index,
            serial: serial.to_owned(),
            profiles,
            air: Air::new(peripheral, common.began),
            tickets: Arc::default(),
            settled: watch::channel(Settled::default()).0,
            way: VecDeque::new(),
            page: Page::default(),
            session: None,
            sessions: 0,
            is_identified: false,
            heard_this_minute: 0,
        };
        seat.start(common);
        seat
    }

    /// Ends the session where it is and makes another one: what was remembered is all that it knows.
    pub(super) fn restart(&mut self, common: &Common) {
        if let Some(session) = self.session.take() {
            session.abort();
        }
        self.air.at_now().account.forgets += 1;
        self.start(common);
    }

    fn start(&mut self, common: &Common) {
        let device = DeviceIndex(self.index);
        let part = u64::from(self.index) << 32 | self.sessions;
        self.sessions += 1;
        let context = Context {
            device,
            parts: BTreeMap::new(),
            clock: Arc::clone(&common.clock),
            random: Box::new(Drawn(Draw::part(common.seed, part))),
            backoff: BACKOFF,
            quiet: None,
            patience: Duration::from_secs(2),
            reports: common.reports.clone(),
            tickets: Arc::clone(&self.tickets),
            settled: self.settled.subscribe(),
            notebook: Box::new(self.page.clone()),
            stop: common.stop.clone(),
            lost: Box::new(|| {}),
            told: Inheritance::default(),
        };
        let driver = Box::new(Collector::with(self.profiles.clone(), &self.settings()));
        let session = Session::new(AirLink(self.air.clone()), driver, context);
        #[expect(clippy::disallowed_methods, reason = "the ward takes the supervisor's place")]
        let task = tokio::spawn(session.run());
        self.session = Some(task);
    }

    fn settings(&self) -> Settings {
        let rows: Vec<_> = self.profiles.iter().flat_map(|row| row.settings().iter().copied()).collect();
        let mut settings = Settings::defaults(&rows);
        if self.air.at_now().kind.is_emptied {
            for row in rows.iter().filter(|row| row.name == "delete_records") {
                // A word that the row has.
                let _ = settings.set_word(row, "when-durable");
            }
        }
        settings
    }

    pub(super) fn rule(&self) -> DeviceRule {
        let card = DeviceCard {
            id: format!("air-{}", self.index),
            model: self.profiles.first().map(|row| row.name.to_owned()).unwrap_or_default(),
            pseudonym: format!("{:032x}", self.index),
            location: None,
            security: "bonded",
        };
        let expects = Identity { serial: Some(self.serial.clone()), ..Identity::default() };
        let elements = self.profiles.iter().flat_map(|row| row.reads.iter().copied()).collect();
        DeviceRule { card, expects, trust: Trust::ReportedIdentity, elements, behind: None, quiet: None }
    }

    /// An observation has been judged: it is on its way to the disk, or refused for who the device is.
    pub(super) fn settle(&mut self, ticket: Ticket, is_refused: bool, now: Instant) {
        let before = self.way.back().map_or_else(|| *self.settled.borrow(), |(_, settled)| *settled);
        let refused = if is_refused { ticket } else { before.refused };
        self.way.push_back((now + TO_DISK, Settled { through: ticket, refused, ..Settled::default() }));
    }

    /// What is durable by now is told; all of it when it is to be durable at once.
    pub(super) fn tell_durable(&mut self, now: Instant, at_once: bool) {
        let mut last = None;
        while let Some((_, settled)) = self.way.front().filter(|(at, _)| at_once || *at <= now) {
            last = Some(*settled);
            self.way.pop_front();
        }
        if let Some(settled) = last {
            self.settled.send_replace(settled);
        }
    }

    /// When something will be durable.
    pub(super) fn due(&self) -> Option<Instant> {
        self.way.front().map(|(at, _)| *at)
    }
}
