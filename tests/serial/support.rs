//! A simulated device on a pseudo-terminal, the real link, the real driver, and a session no cleverer than
//! it must be.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use wardline::device::catalogue::{SerialModel, serial_model};
use wardline::device::observation::{Observation, Value};
use wardline::device::settings::Settings;
use wardline::device::{Action, Driver, Fault, Identity, Part, Ticket};
use wardline::lab::sim::{Control, Sent};
use wardline::link::serial::SerialLink;
use wardline::link::{Link, LinkCommand, LinkError, LinkEvent};
use wardline::time::{Mono, Now};

/// How long anything that must happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How soon an alarm is known: two seconds on a machine that has the time, and a few more where everything runs at once.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// What a session tells, with the time since its start.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Up,
    Down(String),
    /// Of the device itself, or of a part of it.
    Identity(Part, Identity),
    Observation(Part, Box<Observation>),
    Gone(Part, String),
    Fault(Fault),
}

#[derive(Clone, Default)]
pub(crate) struct Record {
    pub(crate) log: Arc<Mutex<Vec<(Duration, Told)>>>,
    pub(crate) grown: Arc<Notify>,
}

impl Record {
    pub(crate) fn tell(&self, at: Duration, told: Told) {
        self.log.lock().unwrap().push((at, told));
        self.grown.notify_one();
    }

    pub(crate) fn all(&self) -> Vec<(Duration, Told)> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn observations(&self) -> Vec<Observation> {
        self.all()
            .into_iter()
            .filter_map(|(_, told)| if let Told::Observation(_, said) = told { Some(*said) } else { None })
            .collect()
    }

    /// The values of one element, as text.
    pub(crate) fn values(&self, reference: &str) -> Vec<String> {
        let said = self.observations();
        said.iter().filter(|said| said.metric.reference == reference).map(|said| shown(&said.value)).collect()
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.all()
            .into_iter()
            .filter_map(|(_, told)| if let Told::Fault(fault) = told { Some(fault) } else { None })
            .collect()
    }

    pub(crate) fn identities(&self) -> Vec<Option<String>> {
        self.all()
            .into_iter()
            .filter_map(
                |(_, told)| {
                    if let Told::Identity(_, identity) = told { Some(identity.serial) } else { None }
                },
            )
            .collect()
    }

    /// Waits until the record satisfies a condition; fails with what it holds after 30 s.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            while !condition(self) {
                self.grown.notified().await;
            }
        };
        let is_met = tokio::time::timeout(PATIENCE, wait).await.is_ok();
        let last: Vec<_> = self.all().into_iter().rev().take(6).collect();
        assert!(is_met, "waited in vain for {what}; the record ends with {last:?}");
    }
}

pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Decimal(value) => value.to_string(),
        Value::Text(words) => words.clone(),
        Value::Absent(why) => why.code().to_owned(),
        Value::Bits(bits) => format!("{bits:#x}"),
        Value::Samples(samples) => format!("{:?}", samples.values),
        Value::Alarm(alarm) => {
            format!("{} {} {}", alarm.code, alarm.phase.as_str(), alarm.priority.as_str())
        }
    }
}

/// Where observations of the device itself become durable: at once, or when they are released.
#[derive(Clone, Default)]
pub(crate) struct Storage {
    state: Arc<Mutex<Shelf>>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Shelf {
    is_held: bool,
    given: u64,
    durable: u64,
}

impl Storage {
    /// From here on nothing becomes durable, or all does.
    pub(crate) fn hold(&self, is_held: bool) {
        self.state.lock().unwrap().is_held = is_held;
        self.changed.notify_one();
    }

    /// How many observations are durable, the first ones that were told.
    pub(crate) fn durable(&self) -> usize {
        usize::try_from(self.state.lock().unwrap().durable).unwrap()
    }

    fn next_ticket(&self) -> Ticket {
        let mut kept = self.state.lock().unwrap();
        kept.given += 1;
        Ticket(kept.given)
    }

    fn news(&self) -> Option<Ticket> {
        let mut kept = self.state.lock().unwrap();
        let is_news = !kept.is_held && kept.durable < kept.given;
        if is_news {
            kept.durable = kept.given;
        }
        is_news.then_some(Ticket(kept.durable))
    }
}

/// One driver on one link, for ever: what the daemon's session does, without its care.
pub(crate) async fn session(link: SerialLink, driver: Box<dyn Driver>, record: Record) {
    session_with(link, driver, record, Storage::default()).await;
}

/// A session with a storage in the hands of the test.
pub(crate) async fn session_with(
    mut link: SerialLink,
    mut driver: Box<dyn Driver>,
    record: Record,
    storage: Storage,
) {
    let began = Instant::now();
    let now = || Now {
        mono: Mono::from_nanos(u64::try_from(began.elapsed().as_nanos()).unwrap()),
        ..Now::default()
    };
    let tell = |told| record.tell(began.elapsed(), told);
    loop {
        if link.open().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        tell(Told::Up);
        driver.handle_event(&LinkEvent::Up, now());
        let reason = converse(&mut link, driver.as_mut(), &now, &tell, &storage).await;
        tell(Told::Down(reason.to_string()));
        driver.handle_event(&LinkEvent::Down(reason), now());
        while driver.poll_action().is_some() {}
        link.close().await;
    }
}

pub(crate) async fn converse(
    link: &mut SerialLink,
    driver: &mut dyn Driver,
    now: &impl Fn() -> Now,
    tell: &impl Fn(Told),
    storage: &Storage,
) -> LinkError {
    loop {
        while let Some(action) = driver.poll_action() {
            match action {
                Action::Command(LinkCommand::HangUp) => return LinkError::HungUp,
                Action::Command(command) => {
                    if let Err(error) = link.perform(command).await {
                        return error;
                    }
                }
                Action::Identify(part, identity) => tell(Told::Identity(part, identity)),
                Action::Observe(part, said) => {
                    if part == Part::WHOLE {
                        driver.handle_ticket(storage.next_ticket());
                    }
                    tell(Told::Observation(part, Box::new(said)));
                }
                // Storage here is as fast as it gets.
                Action::Commit => {}
                Action::Gone(part, why) => tell(Told::Gone(part, why)),
                Action::Remember(memo) => panic!("{memo:?} of a serial device"),
                Action::Pin(pin) => panic!("{pin:?} of a serial device"),
                Action::Report(fault) => tell(Told::Fault(fault)),
            }
        }
        if let Some(through) = storage.news() {
            driver.handle_durable(through, now());
            continue;
        }
        let due = driver.poll_timeout();
        let wait = due.map_or(Duration::from_secs(3_600), |due| due.since(now().mono));
        tokio::select! {
            event = link.next() => {
                if let LinkEvent::Down(reason) = event {
                    return reason;
                }
                driver.handle_event(&event, now());
            }
            () = tokio::time::sleep(wait) => driver.handle_timeout(now()),
            () = storage.changed.notified() => {}
        }
    }
}

/// A simulated device with a session on it; both end with this value.
pub(crate) struct Bench<V> {
    pub(crate) control: Control<V>,
    pub(crate) record: Record,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    pub(crate) _folder: tempfile::TempDir,
}

impl<V> Drop for Bench<V> {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn model(name: &str) -> &'static SerialModel {
    serial_model(name).unwrap()
}

pub(crate) fn bench<V: Clone, F: Future<Output = std::io::Result<()>> + Send + 'static>(
    name: &str,
    folder: tempfile::TempDir,
    (device, control): (F, Control<V>),
) -> Bench<V> {
    let model = model(name);
    let record = Record::default();
    let link = SerialLink::new(control.path(), model.line, model.requests);
    let tasks = vec![
        tokio::spawn(async move { device.await.unwrap() }),
        tokio::spawn(session(link, (model.driver)(&Settings::defaults(model.settings)), record.clone())),
    ];
    Bench { control, record, tasks, _folder: folder }
}

/// A message's fields, split as the protocol says.
pub(crate) fn field(message: &str, at: usize) -> String {
    message.split('^').nth(at).unwrap_or_default().to_owned()
}

pub(crate) fn whole(journal: &[Sent], keyword: &str) -> Vec<String> {
    let is_of = |sent: &&Sent| sent.is_whole && field(&sent.message, 0) == keyword;
    journal.iter().filter(is_of).map(|sent| sent.message.clone()).collect()
}

/// Fails unless the bytes are requests of the model, one behind the other. Only for models whose requests
/// have no place that is filled in.
pub(crate) fn assert_only_requests(model: &SerialModel, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let request = model.requests.requests().iter().find(|request| bytes.starts_with(request.bytes));
        let Some(request) = request else {
            // The last one may be under way.
            let is_begun = model.requests.requests().iter().any(|request| request.bytes.starts_with(bytes));
            assert!(is_begun, "{}: {:?}", model.name, String::from_utf8_lossy(bytes));
            return;
        };
        bytes = &bytes[request.bytes.len()..];
    }
}
