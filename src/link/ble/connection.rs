//! A connection that stands: its values, its operations, its end.
//!
//! In: reads, writes and subscriptions that wait for their turn. Out: link events, one at a time. Operations
//! run one after the other; values are delivered before the end that they preceded.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::time::Duration;

use btleplug::api::bleuuid::{BleUuid as _, uuid_from_u16};
use btleplug::api::{self, CharPropFlags, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::timeout;

use super::central::{Handle, Peer, Radio};
use super::undelivered::{Lost, Undelivered, Waiting};
use super::{Address, Security};
use crate::link::gatt::{DISCOVERED, GattWrite, listing};
use crate::link::{Characteristic, LinkCommand, LinkError, LinkEvent, NOT_OFFERED};
use crate::time::Mono;

/// A read or a subscription takes two or three connection intervals of at most four seconds. Without
/// a bond BlueZ waits 30 s for an agent that is not there.
pub(super) const OPERATION_LIMIT: Duration = Duration::from_secs(10);

/// How many operations may wait; a driver asks for four strings and a few subscriptions.
const OPERATIONS_WAITING: usize = 64;

/// A connection, as it was made, and what is asked of it.
pub(super) struct Connection {
    pub(super) address: Address,
    pub(super) peripheral: Peripheral,
    pub(super) values: Values,
    pub(super) central: Handle,
    pub(super) peer: watch::Receiver<Peer>,
    pub(super) radio: watch::Receiver<Radio>,
    /// How often the device was lost when the connection was made.
    pub(super) losses: u64,
    pub(super) security: Security,
    pub(super) operations: Operations,
}

/// The values of a device, as they come.
pub(super) type Values = BoxStream<'static, ValueNotification>;

/// What was asked of a connection.
#[derive(Default)]
pub(super) struct Operations {
    /// What will be subscribed to: a device that kept its subscriptions from an earlier connection sends
    /// before it is asked again, BlueZ confirms that, and it is the only time that it is sent.
    wanted: BTreeSet<Characteristic>,
    /// What came of it so far.
    early: Waiting,
    /// Values that were early and whose subscription stands now.
    due: VecDeque<LinkEvent>,
    /// What was read on this connection: its answers come as values too.
    read: BTreeSet<Characteristic>,
    subscribed: BTreeSet<Characteristic>,
    waiting: VecDeque<LinkCommand>,
    current: Option<BoxFuture<'static, LinkEvent>>,
}

impl Operations {
    /// Of a connection on which these will be subscribed to.
    pub(super) fn new(wanted: impl IntoIterator<Item = Characteristic>) -> Self {
        Self { wanted: wanted.into_iter().collect(), ..Self::default() }
    }

    /// Puts what earlier connections left before all that comes.
    pub(super) fn put_first(&mut self, left: VecDeque<Undelivered>) {
        self.early.put_first(left);
    }

    /// How many values were lost because they were early, since this was last asked.
    pub(super) fn take_lost(&mut self) -> Lost {
        self.early.take_lost()
    }

    /// What is to be made of a value: an event now, later, or never.
    fn take(&mut self, of: Characteristic, value: Bytes, at: Mono) -> Option<LinkEvent> {
        if self.subscribed.contains(&of) {
            if !self.early.has(of) {
                return Some(LinkEvent::Value(of, value));
            }
            // Behind what came earlier, or it would overtake it. Where there is no room the subscription is on
            // its way: rather a value before the word of it than none.
            let due = self.early.replace(Undelivered { at, of, value });
            return due.map(|due| LinkEvent::Value(due.of, due.value));
        }
        if self.wanted.contains(&of) && !self.read.contains(&of) {
            self.early.push(Undelivered { at, of, value });
        }
        None
    }

    /// A subscription stands: what came before it is due, in its order.
    fn release(&mut self, to: Characteristic, now: Mono) {
        let early = self.early.take(to, now).into_iter();
        self.due.extend(early.map(|early| LinkEvent::Value(early.of, early.value)));
    }
}

impl Connection {
    /// Puts a read or a subscription in line; or says why not.
    pub(super) fn ask(&mut self, command: LinkCommand) -> Result<(), &'static str> {
        if self.operations.waiting.len() >= OPERATIONS_WAITING {
            return Err("too many operations wait");
        }
        self.operations.waiting.push_back(command);
        Ok(())
    }

    /// What is there of what was subscribed to, without waiting: the connection is over.
    pub(super) fn drain(&mut self) -> Vec<LinkEvent> {
        let mut left: Vec<LinkEvent> = self.operations.due.drain(..).collect();
        while let Some(Some(value)) = self.values.next().now_or_never() {
            left.extend(self.value(value));
        }
        left
    }

    /// What was early and stays so.
    pub(super) fn take_early(&mut self) -> VecDeque<Undelivered> {
        self.operations.early.take_all()
    }

    /// Cancel-safe: values stay in their stream, and the operation that runs stays in `current`.
    pub(super) async fn next(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.operations.due.pop_front() {
                return event;
            }
            self.start_next_operation();
            let Self { values, peer, radio, losses, operations, .. } = self;
            // Values first: what came before a disconnection is delivered before it.
            let happened = tokio::select! {
                biased;
                value = values.next() => match value {
                    Some(value) => Happened::Value(value),
                    None => Happened::Lost("its notifications ended".to_owned()),
                },
                event = running(&mut operations.current) => Happened::Done(event),
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
                    self.operations.current = None;
                    match &event {
                        LinkEvent::Subscribed(characteristic, Err(_)) => {
                            self.operations.subscribed.remove(characteristic);
                        }
                        LinkEvent::Subscribed(characteristic, Ok(())) => {
                            self.operations.release(*characteristic, self.central.now());
                        }
                        LinkEvent::Up
                        | LinkEvent::Bytes(_)
                        | LinkEvent::Value(..)
                        | LinkEvent::ReadDone(..)
                        | LinkEvent::Written(..)
                        | LinkEvent::Down(_) => {}
                    }
                    return event;
                }
                // The end can overtake values that came in between the two looks of this wait.
                Happened::Lost(reason) => match self.values.next().now_or_never() {
                    Some(Some(value)) => {
                        if let Some(event) = self.value(value) {
                            return event;
                        }
                    }
                    Some(None) | None => {
                        return LinkEvent::Down(LinkError::Lost { what: self.address.to_string(), reason });
                    }
                },
            }
        }
    }

    /// Values of what was subscribed to, or will be; a value that was read comes this way too, and is dropped.
    fn value(&mut self, value: ValueNotification) -> Option<LinkEvent> {
        let Undelivered { at, of, value } = read_value(value, self.central.now())?;
        self.operations.take(of, value, at)
    }

    fn start_next_operation(&mut self) {
        let operations = &mut self.operations;
        if operations.current.is_some() {
            return;
        }
        let peripheral = self.peripheral.clone();
        operations.current = match operations.waiting.pop_front() {
            Some(LinkCommand::Read(of)) => {
                operations.read.insert(of);
                Some(read(peripheral, of).boxed())
            }
            Some(LinkCommand::Subscribe(to)) => {
                // Before the request: the first value can overtake its answer.
                let is_again = !operations.subscribed.insert(to);
                Some(subscribe(peripheral, to, is_again).boxed())
            }
            Some(LinkCommand::Write(write)) => Some(self::write(peripheral, write).boxed()),
            // The others are never put in line.
            Some(LinkCommand::Send(_) | LinkCommand::Fill(..) | LinkCommand::HangUp) | None => None,
        };
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
        pending::<()>().await;
    }
}

pub(super) async fn radio_lost(radio: &mut watch::Receiver<Radio>) -> String {
    loop {
        if let Radio::Down(reason) = &*radio.borrow_and_update() {
            return reason.clone();
        }
        if radio.changed().await.is_err() {
            return "the radio's task has ended".to_owned();
        }
    }
}

/// A value as the drivers know it, if it is of a characteristic that the Bluetooth SIG has numbered.
pub(super) fn read_value(value: ValueNotification, at: Mono) -> Option<Undelivered> {
    let service = value.service_uuid.to_ble_u16()?;
    let uuid = value.uuid.to_ble_u16()?;
    Some(Undelivered { at, of: Characteristic { service, uuid }, value: Bytes::from(value.value) })
}

/// Whether the device indicates it: then what it sends was confirmed, and is not sent again.
pub(super) fn is_indicated(peripheral: &Peripheral, of: Characteristic) -> bool {
    offered(peripheral, of).is_some_and(|found| found.properties.contains(CharPropFlags::INDICATE))
}

/// The characteristic as btleplug knows it, if the device has it.
pub(super) fn offered(peripheral: &Peripheral, wanted: Characteristic) -> Option<api::Characteristic> {
    let (service, uuid) = (uuid_from_u16(wanted.service), uuid_from_u16(wanted.uuid));
    let service = peripheral.services().into_iter().find(|found| found.uuid == service)?;
    service.characteristics.into_iter().find(|found| found.uuid == uuid)
}

/// What the device offers, asked of BlueZ anew: when it was connected, not all of it had to be known yet.
async fn discovered(peripheral: &Peripheral) -> Result<Bytes, String> {
    answer(peripheral.discover_services()).await?;
    let characteristics = peripheral.services().into_iter().flat_map(|service| service.characteristics);
    let offers = characteristics
        .map(|found| (found.service_uuid.as_u128(), found.uuid.as_u128(), found.properties.bits()));
    Ok(Bytes::from(listing(offers)))
}

async fn read(peripheral: Peripheral, of: Characteristic) -> LinkEvent {
    if of == DISCOVERED {
        return LinkEvent::ReadDone(of, discovered(&peripheral).await);
    }
    let result = match offered(&peripheral, of) {
        None => Err(NOT_OFFERED.to_owned()),
        Some(found) => answer(peripheral.read(&found)).await.map(Bytes::from),
    };
    LinkEvent::ReadDone(of, result)
}

/// Subscribing again writes the descriptor anew, which BlueZ only does after an end: for a device that has
/// forgotten it. That end may fail; what counts is the subscription. For what was registered before the
/// connection (`keeper`) the first one changes nothing.
async fn subscribe(peripheral: Peripheral, to: Characteristic, is_again: bool) -> LinkEvent {
    let result = match offered(&peripheral, to) {
        None => Err(NOT_OFFERED.to_owned()),
        Some(found) if !found.properties.intersects(CharPropFlags::NOTIFY | CharPropFlags::INDICATE) => {
            // Legal where it may be read instead (battery, environment).
            Err(NOT_OFFERED.to_owned())
        }
        Some(found) => {
            if is_again {
                let _ = answer(peripheral.unsubscribe(&found)).await;
            }
            answer(peripheral.subscribe(&found)).await
        }
    };
    LinkEvent::Subscribed(to, result)
}

async fn write(peripheral: Peripheral, write: GattWrite) -> LinkEvent {
    let to = write.to();
    let result = match offered(&peripheral, to) {
        None => Err(NOT_OFFERED.to_owned()),
        Some(found) => answer(peripheral.write(&found, write.octets(), WriteType::WithResponse)).await,
    };
    LinkEvent::Written(to, result)
}

async fn answer<T>(operation: impl Future<Output = Result<T, btleplug::Error>>) -> Result<T, String> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer in {} s", OPERATION_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::undelivered::KEPT_OF_EACH;
    use super::*;

    const INDICATED: Characteristic = Characteristic { service: 0x1809, uuid: 0x2A1C };
    const AT: Mono = Mono::from_nanos(0);
    const OTHER: Characteristic = Characteristic { service: 0x180F, uuid: 0x2A19 };

    #[test]
    fn what_a_device_sends_before_it_is_asked_again_waits_for_its_subscription() {
        let mut operations = Operations::new([INDICATED, OTHER]);
        let value = |octet| Bytes::from(vec![octet]);
        assert_eq!(operations.take(INDICATED, value(1), AT), None);
        assert_eq!(operations.take(OTHER, value(2), AT), None);
        assert_eq!(operations.take(INDICATED, value(3), AT), None);
        operations.subscribed.insert(INDICATED);
        // The subscription is on its way: this one must not overtake the others.
        assert_eq!(operations.take(INDICATED, value(4), AT), None);
        operations.release(INDICATED, AT);
        let due: Vec<_> = operations.due.drain(..).collect();
        assert_eq!(due, [1, 3, 4].map(|octet| LinkEvent::Value(INDICATED, value(octet))));
        let early = operations.early.take_all();
        assert_eq!(early, [Undelivered { at: AT, of: OTHER, value: value(2) }]);
        assert_eq!(operations.take(INDICATED, value(5), AT), Some(LinkEvent::Value(INDICATED, value(5))));
    }

    #[test]
    fn the_answer_to_a_read_and_what_nobody_wants_are_kept_for_nobody() {
        let mut operations = Operations::new([OTHER]);
        operations.read.insert(OTHER);
        assert_eq!(operations.take(OTHER, Bytes::new(), AT), None);
        assert_eq!(operations.take(INDICATED, Bytes::new(), AT), None);
        assert!(operations.early.take_all().is_empty());
    }

    #[test]
    fn what_waits_is_bounded_and_what_has_no_room_is_counted() {
        let mut operations = Operations::new([INDICATED]);
        for _ in 0..1_000 {
            operations.take(INDICATED, Bytes::new(), AT);
            operations.take(OTHER, Bytes::new(), AT);
        }
        assert_eq!(operations.take_lost(), Lost { overflow: 1_000 - KEPT_OF_EACH as u64, stale: 0 });
        assert_eq!(operations.take_lost(), Lost::default());
        assert_eq!(operations.early.take_all().len(), KEPT_OF_EACH);
    }

    #[test]
    fn once_a_subscription_is_on_its_way_nothing_has_to_be_lost_or_to_overtake() {
        let mut operations = Operations::new([INDICATED]);
        let value = |octet| Bytes::from(vec![octet]);
        let mut told = Vec::new();
        for octet in 0..100 {
            told.extend(operations.take(INDICATED, value(octet), AT));
            operations.subscribed.insert(INDICATED);
        }
        operations.release(INDICATED, AT);
        told.extend(operations.due.drain(..));
        let all: Vec<_> = (0..100).map(|octet| LinkEvent::Value(INDICATED, value(octet))).collect();
        assert_eq!(told, all);
        assert_eq!(operations.take_lost(), Lost::default());
    }
}
