//! The link to one device.
//!
//! In: reads and subscriptions. Out: their results, and the values of what was subscribed to, in the
//! order in which BlueZ handed them over. `open` waits, without end, until the device is there: so a
//! device that appears for seconds is connected to at once.
//!
//! What can go wrong: every step of connecting has its limit; what fails is disconnected before the
//! error is given. What never happens: two operations of one link at the same time, a value of
//! something that was not subscribed to, or the loss of an indication that BlueZ confirmed without a word:
//! a whole measurement ([`Leftover`]) that a connection leaves undelivered is delivered on the next one, once its
//! subscription stands, if that is within a minute. What is too much or too old for that, what a link holds when
//! it is dropped, what came over a connection that turned out not to be as secure as its rule demands, and what
//! came while nobody took the session's reports, is counted
//! ([`Status::values_lost`](super::Status::values_lost)). Notifications are not kept that long: they say what is
//! so now.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use btleplug::api::Peripheral as _;
use btleplug::api::bleuuid::BleUuid as _;
use btleplug::platform::Peripheral;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::central::{Peer, Radio, Up};
use super::connection::{
    Connection, OPERATION_LIMIT, Operations, Values, is_indicated, offered, radio_lost, read_value,
};
use super::keeper;
use super::pairing::proof::{Bond, PAIR_ANEW};
use super::pairing::{BondRule, Proofs};
use super::session::Session;
use super::undelivered::{Lost, Undelivered, Waiting};
use super::{Address, Handle, Security};
use crate::link::gatt::Leftover;
use crate::link::{Characteristic, Link, LinkCommand, LinkError, LinkEvent};

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

/// How many services of another device are named.
const SERVICES_NAMED: usize = 12;

/// Disconnecting was seen to take two to three seconds.
const DISCONNECT_LIMIT: Duration = Duration::from_secs(5);

/// BlueZ answers from its memory, or is not there any more.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// What the device's rule demands of the keys.
#[derive(Clone, Debug)]
pub enum Demand {
    /// Keys that are kept, of a trusted device, or no connection.
    Bonded,
    /// The same, and `wardline pair` has proved that they are what the rule demands.
    Proven(BondRule, Proofs),
    /// None: for devices that cannot bond, and every record says so.
    Open,
}

/// The link to one device of the allowlist.
pub struct BleLink {
    target: Target,
    connection: Option<Connection>,
    /// What BlueZ was asked to connect: to be disconnected whatever becomes of the attempt.
    held: Option<Held>,
    ready: VecDeque<LinkEvent>,
    /// Measurements that earlier connections left.
    kept: Waiting,
    /// What the device of the last connection indicates.
    indicated: Vec<Characteristic>,
    /// The connection has ended, and all its values are there.
    is_settled: bool,
}

/// A device, and the session that it is used over, which must not end before.
struct Held {
    peripheral: Peripheral,
    /// Until the connection has them.
    values: Option<Values>,
    /// Until it was disconnected: the device must not be told that nobody is subscribed any more.
    session: Session,
}

const UNTRUSTED: Left = Left::Discarded("they came over a connection that is not what its rule demands");
const UNTAKEN: Left = Left::Discarded("nobody took what was said before them");
const DROPPED: Left = Left::Discarded("nobody listens to the device any more");

/// What is to be made of what a connection leaves.
#[derive(Clone, Copy)]
enum Left {
    /// Measurements are given on the next connection.
    Kept,
    /// Nothing is, for this reason.
    Discarded(&'static str),
}

/// Which device, over which radio, and what is expected of it.
struct Target {
    central: Handle,
    address: Address,
    wanted: Vec<Characteristic>,
    /// What its entry calls that; empty: it has no name.
    profiles: String,
    demand: Demand,
}

impl BleLink {
    /// A link over the adapter of `central` to the device at `address`, which is expected to offer
    /// at least one of the characteristics in `wanted`.
    pub fn new(central: Handle, address: Address, wanted: Vec<Characteristic>, demand: Demand) -> Self {
        let target = Target { central, address, wanted, profiles: String::new(), demand };
        Self {
            target,
            held: None,
            connection: None,
            ready: VecDeque::new(),
            kept: Waiting::default(),
            indicated: Vec::new(),
            is_settled: false,
        }
    }

    /// The same, with what its entry calls that which is expected: for a person, when it is not there.
    #[must_use]
    pub fn of_profiles(mut self, names: &str) -> Self {
        names.clone_into(&mut self.target.profiles);
        self
    }

    /// What BlueZ said of the keys when the present connection was made.
    pub fn security(&self) -> Option<Security> {
        self.connection.as_ref().map(|connection| connection.security)
    }

    /// Lets the connection go, or what there is of one. Its last values are ready, or left.
    fn let_connection_go(&mut self, left: Left) {
        if let Some(mut connection) = self.connection.take() {
            self.ready.extend(connection.drain());
            self.count_early(connection.operations.take_lost());
            let early = connection.take_early();
            self.leave(early, left);
            match &self.held {
                Some(held) => held.session.let_go(connection),
                // A connection is never without what is held of it.
                None => drop(connection),
            }
        }
        let Some(held) = &mut self.held else { return };
        let Some(mut values) = held.values.take() else { return };
        // The attempt did not get as far as a connection, but BlueZ did.
        self.indicated = self.target.indicated(&held.peripheral);
        let (mut early, now) = (Vec::new(), self.target.central.now());
        while let Some(Some(value)) = values.next().now_or_never() {
            early.extend(read_value(value, now));
        }
        held.session.let_go(values);
        self.leave(early, left);
    }

    /// Keeps the measurements among these for the next connection, or counts them.
    fn leave(&mut self, values: impl IntoIterator<Item = Undelivered>, left: Left) {
        let (mut with_it, mut discarded, mut why) = (0, 0, "");
        for value in values.into_iter().filter(|value| self.indicated.contains(&value.of)) {
            match (Leftover::of(value.of), left) {
                (Leftover::Void, _) => {}
                (Leftover::Kept, Left::Kept) => self.kept.push(value),
                (Leftover::Lost, Left::Kept) => with_it += 1,
                (Leftover::Kept | Leftover::Lost, Left::Discarded(reason)) => {
                    discarded += 1;
                    why = reason;
                }
            }
        }
        self.count_lost(with_it, "they mean nothing without their connection, which has ended");
        self.count_lost(discarded, why);
        let lost = self.kept.take_lost();
        self.count_early(lost);
    }

    /// What is ready is left.
    fn leave_ready(&mut self, left: Left) {
        let at = self.target.central.now();
        let ready: Vec<LinkEvent> = self.ready.drain(..).collect();
        let values = ready.into_iter().filter_map(|event| match event {
            LinkEvent::Value(of, value) => Some(Undelivered { at, of, value }),
            LinkEvent::Up
            | LinkEvent::Bytes(_)
            | LinkEvent::ReadDone(..)
            | LinkEvent::Subscribed(..)
            | LinkEvent::Written(..)
            | LinkEvent::Down(_) => None,
        });
        self.leave(values, left);
    }

    fn count_early(&self, lost: Lost) {
        self.count_lost(lost.overflow, "too many came before their subscription");
        self.count_lost(lost.stale, "they came too long before their subscription");
    }

    fn count_lost(&self, values: u64, why: &str) {
        if values > 0 {
            let address = self.target.address;
            tracing::warn!(%address, values, "values are lost: {why}");
            self.target.central.handle_lost(values);
        }
    }

    /// Ends all that there is of a connection.
    async fn release(&mut self, left: Left) {
        self.disconnect().await;
        self.let_connection_go(left);
        self.leave_ready(left);
        self.end_session().await;
    }

    /// Ends what was held for a connection, and waits for it: the next session is another client of BlueZ, and
    /// while this one is still registered each value would come twice.
    async fn end_session(&mut self) {
        if let Some(Held { peripheral, values, session }) = self.held.take() {
            drop((peripheral, values));
            session.end().await;
        }
    }

    /// Disconnects what is held, and waits until the central knows: its word on this disconnection
    /// must not be taken for one of the next connection. BlueZ's answer comes over the link's own connection to
    /// the bus, behind the last values.
    async fn disconnect(&mut self) {
        // Nothing is taken: a `close` that is dropped half-way can be called again.
        let Some(peripheral) = self.held.as_ref().map(|held| held.peripheral.clone()) else { return };
        let radio_is_up = matches!(&*self.target.central.radio().borrow(), Radio::Up(_));
        if let Some(mut peer) = self.target.central.peer(self.target.address).filter(|_| radio_is_up) {
            let losses = peer.borrow().losses;
            let connected = timeout(DISCONNECT_LIMIT, peripheral.is_connected()).await;
            let _ = timeout(DISCONNECT_LIMIT, peripheral.disconnect()).await;
            if matches!(connected, Ok(Ok(true))) {
                let _ = timeout(DISCONNECT_LIMIT, peer.wait_for(|peer| peer.losses != losses)).await;
            }
        }
    }
}

impl Target {
    /// Connects; what BlueZ was asked to connect is put into `held` first.
    async fn connect(&self, held: &mut Option<Held>) -> Result<Connection, LinkError> {
        let Some(mut peer) = self.central.peer(self.address) else {
            return Err(self.denied("it is not on the allowlist of this adapter"));
        };
        let mut radio = self.central.radio();
        let up = self.radio_up(&mut radio).await?;
        let id = self.sighting(&mut peer, &mut radio).await?;
        let losses = peer.borrow_and_update().losses;

        let session = Session::open().await.map_err(|reason| self.lost("asking BlueZ", &reason))?;
        let peripheral = session.peripheral(&id).await.map_err(|reason| self.lost("finding it", &reason))?;
        if peripheral.address().to_string() != self.address.to_string() {
            return Err(self.denied("BlueZ has another device under its name"));
        }
        // Before it is connected too: a device without the bond that its rule demands is left to whoever pairs it.
        self.checked_security(&up, &id).await?;
        let held = held.insert(Held { peripheral: peripheral.clone(), values: None, session });
        tracing::debug!(address = %self.address, "connecting");
        // Before it is connected: a device that kept its subscriptions indicates at once, and BlueZ confirms.
        let values = self.within(OPERATION_LIMIT, "listening", peripheral.notifications()).await?.boxed();
        held.values = Some(values);
        keeper::stand(&up.bus, &id, &peripheral, &self.wanted).await;
        self.within(CONNECT_LIMIT, "connecting", held.session.connect(peripheral.clone())).await?;
        self.discover(&peripheral).await?;
        let security = self.checked_security(&up, &id).await?;
        tracing::debug!(address = %self.address, %security, "connected");
        let values = held.values.take().ok_or_else(|| self.lost("listening", &"nobody does"))?;
        let operations = Operations::new(self.wanted.iter().copied());
        let (address, central) = (self.address, self.central.clone());
        Ok(Connection { address, peripheral, values, central, peer, radio, losses, security, operations })
    }

    /// Which of the wanted characteristics a device indicates.
    fn indicated(&self, peripheral: &Peripheral) -> Vec<Characteristic> {
        self.wanted.iter().copied().filter(|wanted| is_indicated(peripheral, *wanted)).collect()
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
    ) -> Result<String, LinkError> {
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
        Err(self.other_kind(peripheral))
    }

    /// What it offers in the place of what its entry says.
    fn other_kind(&self, peripheral: &Peripheral) -> LinkError {
        let wanted: Vec<String> = self.wanted.iter().map(|wanted| format!("{wanted:?}")).collect();
        let wanted = wanted.join(", ");
        let services: BTreeSet<String> = peripheral
            .services()
            .iter()
            .map(|service| service.uuid.to_short_string().to_uppercase())
            .collect();
        let shown: Vec<&str> = services.iter().take(SERVICES_NAMED).map(String::as_str).collect();
        LinkError::OtherKind {
            what: self.address.to_string(),
            profiles: match self.profiles.as_str() {
                "" => wanted,
                names => format!("{names}: {wanted}"),
            },
            offered: match services.len().saturating_sub(shown.len()) {
                0 if shown.is_empty() => "none".to_owned(),
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            },
        }
    }

    async fn checked_security(&self, up: &Up, id: &str) -> Result<Security, LinkError> {
        let found = up.bus.security(id).await;
        let silent = |error| self.denied(&format!("BlueZ does not say whether it is bonded: {error}"));
        match (&self.demand, found) {
            (Demand::Open, found) => return Ok(found.unwrap_or(Security::Open)),
            (Demand::Bonded | Demand::Proven(..), found) => match found.map_err(silent)? {
                Security::Bonded => {}
                found @ Security::Unproven => {
                    return Err(self.insecure(format!("BlueZ says it is {found}; {PAIR_ANEW}")));
                }
                found @ (Security::Open | Security::Paired) => {
                    return Err(self.insecure(format!("BlueZ says it is {found}; pair it: wardline pair")));
                }
            },
        }
        if let Demand::Proven(rule, proofs) = &self.demand {
            let Some(adapter) = up.bus.adapter_of(id).await.map_err(silent)? else {
                return Err(self.denied("BlueZ gives no address of its adapter"));
            };
            let judged = proofs.judge(rule, Bond { adapter, device: self.address });
            judged.map_err(|unproven| self.insecure(unproven.for_daemon(proofs)))?;
        }
        Ok(Security::Bonded)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        doing: &str,
        step: impl Future<Output = Result<T, btleplug::Error>>,
    ) -> Result<T, LinkError> {
        match timeout(limit, step).await {
            Ok(done) => done.map_err(|error| self.classified(doing, &error)),
            Err(_) => Err(self.lost(doing, &format!("no answer in {} s", limit.as_secs()))),
        }
    }

    fn insecure(&self, reason: String) -> LinkError {
        LinkError::Insecure { what: self.address.to_string(), reason }
    }

    /// The device was bonded and does not know its keys any more, or refused them.
    fn classified(&self, doing: &str, error: &btleplug::Error) -> LinkError {
        let words = error.to_string();
        if words.contains("AuthenticationFailed") || words.contains("Authentication Failed") {
            return self.insecure(format!(
                "it refused the keys: {words}; if it was reset, pair it anew: wardline pair"
            ));
        }
        self.lost(doing, error)
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
        self.release(Left::Kept).await;
        match self.target.connect(&mut self.held).await {
            Ok(mut connection) => {
                self.indicated = self.target.indicated(&connection.peripheral);
                connection.operations.put_first(self.kept.take_all());
                self.connection = Some(connection);
                self.is_settled = false;
                Ok(())
            }
            Err(error) => {
                if self.held.is_some() {
                    // What came over a connection that is not what the rule demands is nobody's word.
                    let is_trusted = !matches!(
                        error,
                        LinkError::Insecure { .. } | LinkError::Denied { .. } | LinkError::OtherKind { .. }
                    );
                    self.release(if is_trusted { Left::Kept } else { UNTRUSTED }).await;
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
        let mut event = connection.next().await;
        if matches!(event, LinkEvent::Down(_)) && !self.is_settled {
            // The end is heard over another connection to the bus than the values. BlueZ's answer over
            // theirs comes after all that it sent before: then what is left comes before the end.
            let _ = timeout(SETTLE_LIMIT, connection.peripheral.is_connected()).await;
            self.is_settled = true;
            event = connection.next().await;
        }
        let lost = connection.operations.take_lost();
        if matches!(
            event,
            LinkEvent::Value(..)
                | LinkEvent::ReadDone(_, Ok(_))
                | LinkEvent::Subscribed(_, Ok(()))
                | LinkEvent::Written(_, Ok(()))
        ) {
            self.target.central.handle_delivery();
        }
        self.count_early(lost);
        if matches!(event, LinkEvent::Down(_)) {
            self.let_connection_go(Left::Kept);
            if let Some(first) = self.ready.pop_front() {
                self.ready.push_back(event);
                return first;
            }
        }
        event
    }

    async fn perform(&mut self, command: LinkCommand) -> Result<(), LinkError> {
        match command {
            LinkCommand::Send(request) | LinkCommand::Fill(request, _) => {
                return Err(LinkError::NotAllowed(request));
            }
            LinkCommand::HangUp => {
                self.disconnect().await;
                // What has come until then comes before the end.
                self.let_connection_go(Left::Kept);
                self.end_session().await;
                self.ready.push_back(LinkEvent::Down(LinkError::HungUp));
                return Ok(());
            }
            LinkCommand::Read(_) | LinkCommand::Subscribe(_) | LinkCommand::Write(_) => {}
        }
        let asked = self.connection.as_mut().ok_or("it is not connected").and_then(|open| open.ask(command));
        asked.map_err(|reason| self.target.lost("asking it", &reason))
    }

    async fn close(&mut self) {
        self.release(Left::Kept).await;
    }

    async fn abandon(&mut self) {
        self.release(UNTAKEN).await;
    }
}

impl Drop for BleLink {
    fn drop(&mut self) {
        self.let_connection_go(DROPPED);
        self.leave_ready(DROPPED);
        let kept = self.kept.take_all();
        self.leave(kept, DROPPED);
    }
}
