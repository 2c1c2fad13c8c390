//! The agent that BlueZ asks while something is paired: `org.bluez.Agent1`, exported by this process.
//!
//! In: BlueZ's calls. Out: each is put to the [`Gate`]; what it refuses is refused at once, what a person has
//! to answer goes to whoever opened the window. Without such a person, as in the daemon, everything is
//! refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dbus::channel::{MatchingReceiver, Sender, Token};
use dbus::message::MatchRule;
use dbus::nonblock::{Proxy, SyncConnection};
use dbus::{Message, Path};
use tokio::sync::mpsc;

use super::gate::{Callback, Decision, Gate, Question, Refusals};

const BLUEZ: &str = "org.bluez";
const AGENT: &str = "org.bluez.Agent1";
const MANAGER: &str = "org.bluez.AgentManager1";
const MANAGER_PATH: &str = "/org/bluez";
const KNOWN: &str = "org.bluez.Error.AlreadyExists";
const REJECTED: &str = "org.bluez.Error.Rejected";

/// Where the agent stands in this process.
const PATH: &str = "/org/wardline/agent";

/// The least that an agent can say of itself: for one that refuses everything.
const NOTHING: &str = "NoInputNoOutput";

/// BlueZ answers from its memory.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Questions that wait for an answer. BlueZ asks one at a time.
const QUESTIONS_WAITING: usize = 4;

/// A gate that an agent and others look at.
#[derive(Clone, Default)]
pub struct SharedGate(Arc<Mutex<Gate>>);

impl SharedGate {
    /// The gate. To be held for a moment only.
    pub fn lock(&self) -> MutexGuard<'_, Gate> {
        // Plain counters and a window: whoever panicked while holding them left them as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was refused so far.
    pub fn refusals(&self) -> Refusals {
        self.lock().refusals()
    }
}

/// What a person has to answer.
pub enum Asked {
    /// The six digits that the device shows.
    Passkey(Reply),
    /// Whether the device shows this number.
    Comparison(Reply, u32),
    /// BlueZ no longer waits for an answer.
    Cancelled,
}

/// The answer to one question. Dropped, it refuses.
pub struct Reply {
    connection: Weak<SyncConnection>,
    call: Option<Message>,
}

impl Reply {
    /// Answers with a passkey.
    pub fn passkey(mut self, passkey: u32) {
        if let Some(call) = self.call.take() {
            self.send(call.method_return().append1(passkey));
        }
    }

    /// Says yes.
    pub fn accept(mut self) {
        if let Some(call) = self.call.take() {
            self.send(call.method_return());
        }
    }

    fn send(&self, message: Message) {
        // A bus that is gone is found out by whoever waits for the end of the pairing.
        if let Some(connection) = self.connection.upgrade() {
            let _ = connection.send(message);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.send(rejection(&call));
        }
    }
}

/// An agent that BlueZ knows. Dropped, it answers nothing any more.
pub struct Agent {
    connection: Arc<SyncConnection>,
    token: Token,
}

impl Agent {
    /// Registers an agent that refuses everything, and makes it the default one. For each life of BlueZ anew.
    pub(in crate::link::ble) async fn refuse_all(
        connection: &Arc<SyncConnection>,
        gate: SharedGate,
    ) -> Result<Self, dbus::Error> {
        Self::register(connection, NOTHING, gate, None).await
    }

    /// Registers an agent that can do what its capability says, and makes it the default one.
    pub(super) async fn with_person(
        connection: &Arc<SyncConnection>,
        capability: &str,
        gate: SharedGate,
    ) -> Result<(Self, mpsc::Receiver<Asked>), dbus::Error> {
        let (asker, questions) = mpsc::channel(QUESTIONS_WAITING);
        Ok((Self::register(connection, capability, gate, Some(asker)).await?, questions))
    }

    async fn register(
        connection: &Arc<SyncConnection>,
        capability: &str,
        gate: SharedGate,
        asker: Option<mpsc::Sender<Asked>>,
    ) -> Result<Self, dbus::Error> {
        let bus = "org.freedesktop.DBus";
        let proxy = Proxy::new(bus, "/org/freedesktop/DBus", CALL_LIMIT, &**connection);
        let (bluez,): (String,) = proxy.method_call(bus, "GetNameOwner", (BLUEZ,)).await?;
        let desk = Desk { bluez, gate, asker, connection: Arc::downgrade(connection) };
        let rule = MatchRule::new_method_call().with_path(PATH).with_interface(AGENT);
        let answer = Box::new(move |call: Message, connection: &SyncConnection| {
            if let Some(answer) = desk.handle(call) {
                let _ = connection.send(answer);
            }
            true
        });
        // Before BlueZ knows of it: the first call can come with the answer to the registration.
        let token = connection.start_receive(rule, answer);
        let agent = Self { connection: Arc::clone(connection), token };
        let manager = agent.manager();
        let registered: Result<(), dbus::Error> =
            manager.method_call(MANAGER, "RegisterAgent", (path(), capability)).await;
        // The same BlueZ knows it from before, when only the adapter went and came.
        registered.or_else(|error| if error.name() == Some(KNOWN) { Ok(()) } else { Err(error) })?;
        let (): () = manager.method_call(MANAGER, "RequestDefaultAgent", (path(),)).await?;
        Ok(agent)
    }

    /// Takes the agent back: the default one is the one before again.
    pub async fn unregister(self) -> Result<(), super::Trouble> {
        let done = self.manager().method_call(MANAGER, "UnregisterAgent", (path(),)).await;
        done.map_err(|error| super::Trouble::of("taking the agent back", &error))
    }

    fn manager(&self) -> Proxy<'_, &SyncConnection> {
        Proxy::new(BLUEZ, MANAGER_PATH, CALL_LIMIT, &*self.connection)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.connection.stop_receive(self.token);
    }
}

/// What answers the calls.
struct Desk {
    /// The bus name of BlueZ when the agent was registered.
    bluez: String,
    gate: SharedGate,
    asker: Option<mpsc::Sender<Asked>>,
    connection: Weak<SyncConnection>,
}

impl Desk {
    /// The answer; `None` when it comes later, from a person, or when none is wanted.
    fn handle(&self, call: Message) -> Option<Message> {
        let is_from_bluez = call.sender().is_some_and(|sender| *sender == *self.bluez);
        let member = call.member().map(|member| member.to_string()).unwrap_or_default();
        let question = match member.as_str() {
            "RequestPasskey" => Question::Passkey,
            // Without a number it cannot be the same as anything.
            "RequestConfirmation" => match call.get2::<Path<'_>, u32>().1 {
                Some(number) => Question::Confirmation(number),
                None => Question::Other,
            },
            "RequestAuthorization" => Question::Authorization,
            "AuthorizeService" => Question::Service,
            "Cancel" if is_from_bluez => {
                if let Some(asker) = &self.asker {
                    let _ = asker.try_send(Asked::Cancelled);
                }
                return Some(call.method_return());
            }
            "Release" if is_from_bluez => return Some(call.method_return()),
            _ => Question::Other,
        };
        let device = call.get1::<Path<'_>>().map(|path| path.to_string()).unwrap_or_default();
        let (decision, count) = {
            let mut gate = self.gate.lock();
            let decision = gate.handle_callback(&Callback { is_from_bluez, device, question });
            (decision, gate.refusals().total())
        };
        let reply = |call| Reply { connection: Weak::clone(&self.connection), call: Some(call) };
        let asked = match decision {
            Decision::Accept => return Some(call.method_return()),
            Decision::Refuse(refused) => {
                // Who tries without end shall not fill the log: told at 1, 10, 100.
                if count.checked_ilog10().is_some_and(|digits| 10_u64.pow(digits) == count) {
                    tracing::warn!(?refused, member, count, "a pairing was refused");
                }
                return Some(rejection(&call));
            }
            Decision::AskForPasskey => Asked::Passkey(reply(call)),
            Decision::AskToCompare(number) => Asked::Comparison(reply(call), number),
        };
        // What is not taken is dropped here, and a dropped reply refuses.
        if let Some(asker) = &self.asker {
            let _ = asker.try_send(asked);
        }
        None
    }
}

fn path() -> Path<'static> {
    Path::from(PATH)
}

fn rejection(call: &Message) -> Message {
    call.error(&REJECTED.into(), c"this gateway does not accept it")
}
