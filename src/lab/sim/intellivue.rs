//! A simulated Philips IntelliVue monitor on its MIB/RS232 port: Data Export, associated and polled.
//!
//! It accepts an association, says what it is, wants that confirmed, answers single and extended polls,
//! splits long answers, and ends an association on which it hears nothing. It does not answer more than
//! one poll for each kind of object in a second, and refuses whatever is no request that it knows.

mod content;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};
use wire::{Ear, Heard, frame};

/// How the simulated monitor is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// The serial number of the product; empty for a monitor that states none.
    pub serial: String,
    /// Bits per second.
    pub baud: u32,
    /// Whether extended polls are offered.
    pub is_extended: bool,
    /// Whether an extended poll is refused although it was offered.
    pub refuses_extended: bool,
    /// The most bytes of one command.
    pub longest: usize,
    /// How long it waits for a message before it ends the association.
    pub patience: Duration,
    /// Associations that are refused before one is accepted.
    pub refusals: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            serial: "DE61741234".to_owned(),
            baud: 115_200,
            is_extended: true,
            refuses_extended: false,
            longest: 1_000,
            patience: Duration::from_secs(10),
            refusals: 0,
        }
    }
}

/// One numeric object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numeric {
    /// Its handle.
    pub handle: u16,
    /// The category of its metric: 1 measured, 3 set, ...
    pub category: u16,
    /// Each value: identifier, state, unit, number. Several make a compound value.
    pub values: Vec<(u16, u16, u16, u32)>,
    /// When it was measured, in binary coded decimals, for a measurement that is not continuous.
    pub time: Option<[u8; 8]>,
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The source.
    pub source: u16,
    /// The code.
    pub code: u16,
    /// 1, 2, 4 of the technology, 256, 512, 1024 of the patient.
    pub kind: u16,
    /// The bits of its state.
    pub state: u16,
    /// What is shown; without it the short structure is sent.
    pub text: Option<String>,
}

/// What the monitor shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The numerics.
    pub numerics: Vec<Numeric>,
    /// The alerts of the patient.
    pub patient: Vec<Alert>,
    /// The alerts of the technology.
    pub technical: Vec<Alert>,
    /// Whether it runs in demonstration mode.
    pub is_demonstration: bool,
    /// A patient's name, put wherever there is room for one; it is sent although nobody asks.
    pub name: Option<String>,
}

/// A floating-point number of 11073.
pub const fn float(mantissa: i32, exponent: i8) -> u32 {
    (exponent.cast_unsigned() as u32) << 24 | (mantissa.cast_unsigned() & 0x00FF_FFFF)
}

/// "Not a number".
pub const NAN: u32 = 0x007F_FFFF;

impl Numeric {
    /// A measurement with one value.
    pub fn simple(handle: u16, physio: u16, unit: u16, value: u32) -> Self {
        let state = if value == NAN { 0x8000 } else { 0 };
        Self { handle, category: 1, values: vec![(physio, state, unit, value)], time: None }
    }
}

impl Default for Values {
    fn default() -> Self {
        let pressure = |physio, value| (physio, 0, 3_872, float(value, 0));
        let abp = vec![pressure(18_965, 120), pressure(18_966, 80), pressure(18_967, 93)];
        Self {
            numerics: vec![
                Numeric::simple(33_485, 16_770, 2_720, float(60, 0)),
                Numeric::simple(33_492, 20_490, 2_784, float(16, 0)),
                Numeric { handle: 33_670, category: 1, values: abp, time: None },
                Numeric::simple(33_807, 19_384, 544, float(970, -1)),
                Numeric::simple(33_816, 18_466, 2_720, float(60, 0)),
            ],
            patient: Vec::new(),
            technical: Vec::new(),
            is_demonstration: false,
            name: None,
        }
    }
}

impl Plays for Values {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 300 by the recording")]
    fn play(&mut self, minute: &Minute) {
        let number = |value: Option<f32>| value.map_or(NAN, |value| float((value * 10.0).round() as i32, -1));
        let shown = [
            (33_485, 16_770, 2_720, minute.heart_rate),
            (33_670, 18_967, 3_872, minute.mean_pressure),
            (33_807, 19_384, 544, minute.spo2),
            (33_816, 18_466, 2_720, minute.pulse),
        ];
        let numeric = |(handle, physio, unit, value)| Numeric::simple(handle, physio, unit, number(value));
        self.numerics = shown.into_iter().map(numeric).collect();
    }

    fn shown(&self) -> Vec<Shown> {
        let of = |physio: u16, reference| {
            let mut values = self.numerics.iter().flat_map(|numeric| &numeric.values);
            let (.., number) = values.find(|(known, _, _, number)| *known == physio && *number != NAN)?;
            // Tenths, as they are played.
            let tenths = number & 0x00FF_FFFF;
            Some(Shown::new(reference, format!("{}.{}", tenths / 10, tenths % 10)))
        };
        [of(16_770, "MDC_ECG_HEART_RATE"), of(19_384, "MDC_PULS_OXIM_SAT_O2")].into_iter().flatten().collect()
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "philips-intellivue",
    title: "Philips IntelliVue monitor",
    identities: ["DE44012345", "DE44054321"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            serial: start.identity.clone().unwrap_or(usual.serial),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(monitor(setup, Values::default())?))
    },
};

/// Makes a monitor: a future to run, and its control. The port exists as soon as this returns. Wants a tokio runtime
/// around it.
pub fn monitor(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.serial.clone(), pty.path().to_owned());
    let monitor = Monitor {
        refusals: setup.refusals,
        setup,
        control: control.clone(),
        ear: Ear::default(),
        association: None,
        ticks: 0,
        booted: 0,
    };
    Ok((monitor.run(pty), control))
}

/// The length of a tick, an eighth of a second.
const TICK: Duration = Duration::from_millis(125);

/// Ticks from one answer of an extended poll to the next.
const FEED_TICKS: u64 = 8;

struct Monitor {
    setup: Setup,
    control: Control<Values>,
    ear: Ear,
    association: Option<Association>,
    refusals: u32,
    /// Ticks since the simulator was made.
    ticks: u64,
    /// The tick at which the monitor was switched on.
    booted: u64,
}

/// An association with a host.
#[derive(Default)]
struct Association {
    is_confirmed: bool,
    /// The tick at which the host was last heard.
    heard: u64,
    feeds: Vec<Feed>,
    /// The tick of the last poll of each class.
    polled: Vec<(u16, u64)>,
}

/// An extended poll.
#[derive(Clone)]
struct Feed {
    poll: wire::Poll,
    until: u64,
    sequence: u16,
}

impl Monitor {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !self.control.is_stopped() {
            if self.control.state().power_cycle.is_some() {
                self.association = None;
                self.booted = self.ticks;
            }
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 512];
            tokio::select! {
                _ = ticks.tick() => self.tick(port).await,
                () = self.control.changed() => self.control.state().sets.clear(),
                count = port.get(&mut buffer) => {
                    let bytes = buffer.get(..count?).unwrap_or_default();
                    self.control.take_received(bytes);
                    for &byte in bytes {
                        if let Some(user_data) = self.ear.hear(byte) {
                            self.handle(port, user_data.ok().as_deref()).await;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn tick(&mut self, port: &Pty) {
        self.ticks += 1;
        if std::mem::take(&mut self.control.state().is_clock_restarted) {
            self.booted = self.ticks;
        }
        let now = self.ticks;
        let patience = u64::try_from(self.setup.patience.as_millis() / TICK.as_millis()).unwrap_or(u64::MAX);
        let Some(association) = &mut self.association else { return };
        if association.heard + patience < now {
            self.association = None;
            self.send(port, "abort", &wire::ABORT).await;
            return;
        }
        if !now.is_multiple_of(FEED_TICKS) {
            return;
        }
        association.feeds.retain(|feed| now < feed.until);
        for feed in &mut association.feeds {
            feed.sequence = feed.sequence.wrapping_add(1);
        }
        for feed in association.feeds.clone() {
            self.answer(port, &feed.poll, Some(feed.sequence)).await;
        }
    }

    async fn handle(&mut self, port: &Pty, user_data: Option<&[u8]>) {
        let heard = user_data.map_or(Heard::Nonsense, wire::understand);
        let now = self.ticks;
        if let Some(association) = &mut self.association {
            association.heard = now;
        }
        match heard {
            Heard::Associate if self.association.is_some() || self.refusals > 0 => {
                self.refusals = self.refusals.saturating_sub(1);
                self.send(port, "refuse", &wire::REFUSE).await;
            }
            Heard::Associate => {
                self.association = Some(Association { heard: now, ..Association::default() });
                let accept = wire::accept(self.setup.is_extended);
                self.send(port, "accept", &accept).await;
                let created = wire::created(77, self.relative(), &self.about_itself());
                self.send(port, "mds-create", &created).await;
            }
            Heard::Release => {
                if self.association.take().is_some() {
                    self.send(port, "released", &wire::RELEASED).await;
                }
            }
            Heard::Confirm(77) => {
                if let Some(association) = &mut self.association {
                    association.is_confirmed = true;
                }
            }
            Heard::Poll(poll) => self.handle_poll(port, poll).await,
            Heard::Confirm(_) | Heard::Nonsense => self.control.refuse(),
        }
    }

    async fn handle_poll(&mut self, port: &Pty, poll: wire::Poll) {
        let now = self.ticks;
        let Some(association) = self.association.as_mut().filter(|association| association.is_confirmed)
        else {
            self.control.refuse();
            return;
        };
        let soon = association.polled.iter().any(|(class, at)| *class == poll.class && now < at + 8);
        association.polled.retain(|(class, _)| *class != poll.class);
        association.polled.push((poll.class, now));
        // A second poll of the same class within a second is not answered; of numerics one is.
        if soon && poll.class != 6 {
            self.control.refuse();
            return;
        }
        let Some(time) = poll.time else {
            self.answer(port, &poll, None).await;
            return;
        };
        if self.setup.refuses_extended {
            self.send(port, "error", &wire::error(poll.invoke, 9)).await;
            return;
        }
        let until = now + u64::from(time) / 1_000;
        association.feeds.retain(|feed| feed.poll.class != poll.class);
        association.feeds.push(Feed { poll, until, sequence: 0 });
    }

    async fn answer(&mut self, port: &Pty, poll: &wire::Poll, sequence: Option<u16>) {
        let (message, objects) = match poll.class {
            6 => content::numerics(&self.control.values(), poll.group),
            33 => ("monitor".to_owned(), vec![(0, self.about_itself())]),
            54 => content::alerts(&self.control.values(), self.control.is_flooded()),
            _ => return self.control.refuse(),
        };
        let relative = self.relative();
        for part in wire::answers(poll, sequence, relative, &objects, self.setup.longest) {
            self.send(port, &message, &part).await;
        }
        let name = self.control.values().name.filter(|_| poll.class == 6);
        if let Some(name) = name {
            let patient = wire::Poll { class: 42, ..poll.clone() };
            let objects = [(1, wire::demographics(&name))];
            for part in wire::answers(&patient, sequence, relative, &objects, self.setup.longest) {
                self.send(port, "patient", &part).await;
            }
        }
    }

    fn about_itself(&self) -> Vec<Vec<u8>> {
        let serial = self.control.state().identity.clone();
        let name = self.control.values().name.unwrap_or_default();
        content::about_itself(&serial, !self.setup.serial.is_empty(), &name)
    }

    /// Eighths of a millisecond since it was switched on. Each monitor was switched on at another time.
    fn relative(&self) -> u32 {
        let identity = self.control.state().identity.clone();
        let offset =
            identity.bytes().fold(1_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let ticks = u32::try_from((self.ticks - self.booted) % (1 << 32)).unwrap_or_default();
        let offset = if self.booted == 0 { offset } else { 0 };
        ticks.wrapping_mul(1_000).wrapping_add(offset)
    }

    async fn send(&self, port: &Pty, message: &str, user_data: &[u8]) {
        self.control.send(port, self.setup.baud, message, &frame(user_data)).await;
    }
}
