//! The link to one device.
//!
//! In: reads and subscriptions. Out: their results, and the values of what was subscribed to, in the
//! order in which BlueZ handed them over. `open` waits, without end, until the device is there: so a
//! device that appears for seconds is connected to at once.
//!
//! What can go wrong: every step of connecting has its limit; what fails is disconnected before the
//! error is given. What never happens: two operations of one link at the same time, or a value of
//! something that was not subscribed to.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::bleuuid::{BleUuid as _, uuid_from_u16};
use btleplug::api::{self, Central as _, CharPropFlags, Peripheral as _, ValueNotification};
use btleplug::platform::{Peripheral, PeripheralId};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::central::{Peer, Radio, Up};
use super::{Address, Handle, Security};
use crate::link::{Characteristic, Link, LinkCommand, LinkError, LinkEvent, NOT_OFFERED};

/// How long `open` waits for the radio before it says what is wrong with it.
const RADIO_PATIENCE: Duration = Duration::from_secs(10);

/// A device that BlueZ remembers is tried without having been heard after this long: some answer
/// to a connection although their advertisements are missed.
const REMEMBERED_GRACE: Duration = Duration::from_secs(15);

/// BlueZ gives up a connection after about 40 s by itself; services are known seconds later.
const CONNECT_LIMIT: Duration = Duration::from_secs(45);

/// Listing services only asks BlueZ, a few calls for each.
const DISCOVER_LIMIT: Duration = Duration::from_secs(30);

/// `ServicesResolved` can come before the objects (bluez issue 1489): look again after these waits.
const LOOK_AGAIN: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// A read or a subscription takes two or three connection intervals of at most four seconds. Without
/// a bond BlueZ waits 30 s for an agent that is not there.
const OPERATION_LIMIT: Duration = Duration::from_secs(10);

/// Disconnecting was seen to take two to three seconds.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How many operations may wait; a driver asks for four strings and a few subscriptions.
const OPERATIONS_WAITING: usize = 64;

/// What the device's rule demands of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Keys that are kept, or no connection.
    Bonded,
    /// None: for devices that cannot bond, and every record says so.
    Open,
}

/// The link to one device of the allowlist.
pub struct BleLink {
    target: Target,
    /// What BlueZ was asked to connect: to be disconnected whatever becomes of the attempt.
    held: Option<Peripheral>,
    connection: Option<Connection>,
    ready: VecDeque<LinkEvent>,
}

/// Which device, over which radio, and what is expected of it.
struct Target {
    central: Handle,
    address: Address,
    wanted: Vec<Characteristic>,
    demand: Demand,
}

struct Connection {
    address: Address,
    peripheral: Peripheral,
    values: BoxStream<'static, ValueNotification>,
    peer: watch::Receiver<Peer>,
    radio: watch::Receiver<Radio>,
    /// How often the device was lost when the connection was made.
    losses: u64,
    security: Security,
    subscribed: BTreeSet<Characteristic>,
    waiting: VecDeque<LinkCommand>,
    current: Option<BoxFuture<'static, LinkEvent>>,
}

impl BleLink {
    /// A link over the adapter of `central` to the device at `address`, which is expected to offer
    /// at least one of the characteristics in `wanted`.
    pub fn new(central: Handle, address: Address, wanted: Vec<Characteristic>, demand: Demand) -> Self {
        let target = Target { central, address, wanted, demand };
        Self { target, held: None, connection: None, ready: VecDeque::new() }
    }

    /// What BlueZ said of the keys when the present connection was made.
    pub fn security(&self) -> Option<Security> {
        self.connection.as_ref().map(|connection| connection.security)
    }

    /// Disconnects what is held, and waits until the central knows: its word on this disconnection
    /// must not be taken for one of the next connection.
    async fn release(&mut self) {
        self.connection = None;
        self.ready.clear();
        // Taken only after the last await: a `close` that is dropped half-way can be called again.
        let Some(peripheral) = self.held.clone() else { return };
        let radio_is_up = matches!(&*self.target.central.radio().borrow(), Radio::Up(_));
        if let Some(mut peer) = self.target.central.peer(self.target.address).filter(|_| radio_is_up) {
            let losses = peer.borrow().losses;
            let connected = timeout(DISCONNECT_LIMIT, peripheral.is_connected()).await;
            let _ = timeout(DISCONNECT_LIMIT, peripheral.disconnect()).await;
            if matches!(connected, Ok(Ok(true))) {
                let _ = timeout(DISCONNECT_LIMIT, peer.wait_for(|peer| peer.losses != losses)).await;
            }
        }
        self.held = None;
    }
}

impl Target {
    /// Connects; what BlueZ was asked to connect is put into `held` first.
    async fn connect(&self, held: &mut Option<Peripheral>) -> Result<Connection, LinkError> {
        let Some(mut peer) = self.central.peer(self.address) else {
            return Err(self.denied("it is not on the allowlist of this adapter"));
        };
        let mut radio = self.central.radio();
        let up = self.radio_up(&mut radio).await?;
        let id = self.sighting(&mut peer, &mut radio).await?;
        let losses = peer.borrow_and_update().losses;

        let peripheral = up.adapter.peripheral(&id).await.map_err(|error| self.lost("finding it", &error))?;
        *held = Some(peripheral.clone());
        tracing::debug!(address = %self.address, "connecting");
        self.within(CONNECT_LIMIT, "connecting", peripheral.connect()).await?;
        self.discover(&peripheral).await?;
        let security = self.checked_security(&up, &id).await?;
        // Before anything is subscribed to: the first value would be missed otherwise.
        let values = self.within(OPERATION_LIMIT, "listening", peripheral.notifications()).await?.boxed();
        tracing::debug!(address = %self.address, %security, "connected");
        Ok(Connection {
            address: self.address,
            peripheral,
            values,
            peer,
            radio,
            losses,
            security,
            subscribed: BTreeSet::new(),
            waiting: VecDeque::new(),
            current: None,
        })
    }

    async fn radio_up(&self, radio: &mut watch::Receiver<Radio>) -> Result<Arc<Up>, LinkError> {
        let up = async {
            loop {
                if let Radio::Up(up) = &*radio.borrow_and_update() {
                    return Some(Arc::clone(up));
                }
                radio.changed().await.ok()?;
            }
        };
        if let Ok(Some(up)) = timeout(RADIO_PATIENCE, up).await {
            return Ok(up);
        }
        let reason = match &*radio.borrow() {
            Radio::Down(reason) => reason.clone(),
            Radio::Up(_) => "its task has ended".to_owned(),
        };
        Err(LinkError::Absent { what: format!("the radio {} ({reason})", self.central.adapter()) })
    }

    /// Waits until the device is heard; or, for one that BlueZ remembers, a grace time.
    async fn sighting(
        &self,
        peer: &mut watch::Receiver<Peer>,
        radio: &mut watch::Receiver<Radio>,
    ) -> Result<PeripheralId, LinkError> {
        loop {
            let known = peer.borrow_and_update().clone();
            let grace = async {
                match &known.id {
                    Some(id) if known.sighted => id.clone(),
                    Some(id) => {
                        sleep(REMEMBERED_GRACE).await;
                        id.clone()
                    }
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                reason = radio_lost(radio) => return Err(self.lost("waiting for it", &reason)),
                id = grace => return Ok(id),
                changed = peer.changed() => {
                    if changed.is_err() {
                        return Err(self.lost("waiting for it", &"the radio's task has ended"));
                    }
                }
            }
        }
    }

    /// Learns the services, until one of the wanted characteristics is among them.
    async fn discover(&self, peripheral: &Peripheral) -> Result<(), LinkError> {
        for wait in LOOK_AGAIN.into_iter().map(Some).chain([None]) {
            self.within(DISCOVER_LIMIT, "finding its services", peripheral.discover_services()).await?;
            if self.wanted.iter().any(|wanted| offered(peripheral, *wanted).is_some()) {
                return Ok(());
            }
            match wait {
                Some(wait) => sleep(wait).await,
                None => break,
            }
        }
        let wanted = &self.wanted;
        Err(self.denied(&format!("it offers none of {wanted:?}: correct its `profiles`")))
    }

    async fn checked_security(&self, up: &Up, id: &PeripheralId) -> Result<Security, LinkError> {
        let found = up.bus.security(&id.to_string()).await;
        match (self.demand, found) {
            (Demand::Open, found) => Ok(found.unwrap_or(Security::Open)),
            (Demand::Bonded, Ok(Security::Bonded)) => Ok(Security::Bonded),
            (Demand::Bonded, Ok(found)) => {
                Err(self.denied(&format!("it is {found}, its rule demands a bond: pair it")))
            }
            (Demand::Bonded, Err(error)) => {
                Err(self.denied(&format!("BlueZ does not say whether it is bonded: {error}")))
            }
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        doing: &str,
        step: impl Future<Output = Result<T, btleplug::Error>>,
    ) -> Result<T, LinkError> {
        match timeout(limit, step).await {
            Ok(done) => done.map_err(|error| self.lost(doing, &error)),
            Err(_) => Err(self.lost(doing, &format!("no answer in {} s", limit.as_secs()))),
        }
    }

    fn lost(&self, doing: &str, reason: &dyn std::fmt::Display) -> LinkError {
        LinkError::Lost { what: self.address.to_string(), reason: format!("{doing}: {reason}") }
    }

    fn denied(&self, reason: &str) -> LinkError {
        LinkError::Denied { what: self.address.to_string(), reason: reason.to_owned() }
    }
}

impl Link for BleLink {
    async fn open(&mut self) -> Result<(), LinkError> {
        self.release().await;
        match self.target.connect(&mut self.held).await {
            Ok(connection) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => {
                if self.held.is_some() {
                    self.release().await;
                    self.target.central.forget_sighting(self.target.address);
                }
                Err(error)
            }
        }
    }

    async fn next(&mut self) -> LinkEvent {
        if let Some(event) = self.ready.pop_front() {
            return event;
        }
        let Some(connection) = &mut self.connection else {
            return LinkEvent::Down(LinkError::HungUp);
        };
        let event = connection.next().await;
        if matches!(event, LinkEvent::Down(_)) {
            self.connection = None;
        }
        event
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        match command {
            LinkCommand::Send(request) => return Err(LinkError::NotAllowed(request)),
            LinkCommand::HangUp => {
                self.release().await;
                self.ready.push_back(LinkEvent::Down(LinkError::HungUp));
                return Ok(());
            }
            LinkCommand::Read(_) | LinkCommand::Subscribe(_) => {}
        }
        let error = match &mut self.connection {
            None => "it is not connected",
            Some(connection) if connection.waiting.len() >= OPERATIONS_WAITING => "too many operations wait",
            Some(connection) => {
                connection.waiting.push_back(command);
                return Ok(());
            }
        };
        Err(self.target.lost("asking it", &error))
    }

    async fn close(&mut self) {
        self.release().await;
    }
}

impl Connection {
    /// Cancel-safe: values stay in their stream, and the operation that runs stays in `current`.
    async fn next(&mut self) -> LinkEvent {
        loop {
            if self.current.is_none() {
                self.current = self.waiting.pop_front().and_then(|command| self.operation(command));
            }
            let Self { values, current, peer, radio, losses, .. } = self;
            // Values first: what came before a disconnection is delivered before it.
            let happened = tokio::select! {
                biased;
                value = values.next() => match value {
                    Some(value) => Happened::Value(value),
                    None => Happened::Lost("its notifications ended".to_owned()),
                },
                event = running(current) => Happened::Done(event),
                () = device_lost(peer, *losses) => Happened::Lost("it disconnected".to_owned()),
                reason = radio_lost(radio) => Happened::Lost(reason),
            };
            match happened {
                Happened::Value(value) => {
                    if let Some(event) = self.value(value) {
                        return event;
                    }
                }
                Happened::Done(event) => {
                    self.current = None;
                    if let LinkEvent::Subscribed(characteristic, Err(_)) = &event {
                        self.subscribed.remove(characteristic);
                    }
                    return event;
                }
                Happened::Lost(reason) => {
                    return LinkEvent::Down(LinkError::Lost { what: self.address.to_string(), reason });
                }
            }
        }
    }

    /// Values of what was subscribed to; a value that was read comes this way too, and is dropped.
    fn value(&self, value: ValueNotification) -> Option<LinkEvent> {
        let service = value.service_uuid.to_ble_u16()?;
        let uuid = value.uuid.to_ble_u16()?;
        let characteristic = Characteristic { service, uuid };
        let asked_for = self.subscribed.contains(&characteristic);
        asked_for.then(|| LinkEvent::Value(characteristic, Bytes::from(value.value)))
    }

    fn operation(&mut self, command: LinkCommand) -> Option<BoxFuture<'static, LinkEvent>> {
        match command {
            LinkCommand::Read(of) => Some(read(self.peripheral.clone(), of).boxed()),
            LinkCommand::Subscribe(to) => {
                // Before the request: the first value can overtake its answer.
                self.subscribed.insert(to);
                Some(subscribe(self.peripheral.clone(), to).boxed())
            }
            // Never queued.
            LinkCommand::Send(_) | LinkCommand::HangUp => None,
        }
    }
}

/// What ended one wait of a connection.
enum Happened {
    Value(ValueNotification),
    Done(LinkEvent),
    Lost(String),
}

async fn running(current: &mut Option<BoxFuture<'static, LinkEvent>>) -> LinkEvent {
    match current {
        Some(operation) => operation.await,
        None => pending().await,
    }
}

async fn device_lost(peer: &mut watch::Receiver<Peer>, losses: u64) {
    // An error is the end of the radio's task, which `radio_lost` reports.
    if peer.wait_for(|peer| peer.losses != losses).await.is_err() {
        pending().await
    }
}

async fn radio_lost(radio: &mut watch::Receiver<Radio>) -> String {
    loop {
        if let Radio::Down(reason) = &*radio.borrow_and_update() {
            return reason.clone();
        }
        if radio.changed().await.is_err() {
            return "the radio's task has ended".to_owned();
        }
    }
}

fn offered(peripheral: &Peripheral, wanted: Characteristic) -> Option<api::Characteristic> {
    let (service, uuid) = (uuid_from_u16(wanted.service), uuid_from_u16(wanted.uuid));
    let service = peripheral.services().into_iter().find(|found| found.uuid == service)?;
    service.characteristics.into_iter().find(|found| found.uuid == uuid)
}

async fn read(peripheral: Peripheral, of: Characteristic) -> LinkEvent {
    let result = match offered(&peripheral, of) {
        None => Err(NOT_OFFERED.to_owned()),
        Some(found) => answer(peripheral.read(&found)).await.map(Bytes::from),
    };
    LinkEvent::ReadDone(of, result)
}

async fn subscribe(peripheral: Peripheral, to: Characteristic) -> LinkEvent {
    let result = match offered(&peripheral, to) {
        None => Err(NOT_OFFERED.to_owned()),
        Some(found) if !found.properties.intersects(CharPropFlags::NOTIFY | CharPropFlags::INDICATE) => {
            Err("it can neither notify nor indicate".to_owned())
        }
        Some(found) => answer(peripheral.subscribe(&found)).await,
    };
    LinkEvent::Subscribed(to, result)
}

async fn answer<T>(operation: impl Future<Output = Result<T, btleplug::Error>>) -> Result<T, String> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", OPERATION_LIMIT.as_secs())),
    }
}
