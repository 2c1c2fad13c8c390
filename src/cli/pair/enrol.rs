//! The steps of pairing one device, and what is taken back when one fails.
//!
//! In: what the allowlist says of the device. Out: a bond that was shown to be what it must be; or the reason
//! why not, and then no bond that these steps made is left, unless the failure says so.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::mpsc;

use super::ledger::Ledger;
use super::typed::Typed;
use crate::cli::exit::Exit;
use crate::cli::out::remark;
use crate::config::Device;
use crate::device::Identity;
use crate::device::catalogue::BleProfile;
use crate::host::lock::Lock;
use crate::link::ble::Address;
use crate::link::ble::pairing::agent::{Reply, SharedGate};
use crate::link::ble::pairing::proof::{Bond, Proof};
use crate::link::ble::pairing::{Asked, BondClass, BondRule, Client, Method, Seen, Trouble, keys, rule};

/// How long is waited after the first and the second connection that failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// The call of `Pair` is given up this long after the window is over, which ends it first.
const BEYOND: Duration = Duration::from_secs(60);

/// What is to be done, to which device.
pub(super) struct Order<'a> {
    pub(super) device: &'a Device,
    pub(super) address: Address,
    pub(super) profiles: &'a [&'static BleProfile],
    pub(super) rule: BondRule,
    /// How long the device may take to be there and to be paired.
    pub(super) window: Duration,
    /// Whether keys that are there already are to be thrown away.
    pub(super) replaces: bool,
    /// Where what is done is written down, and where BlueZ keeps its keys.
    pub(super) ledger: &'a Ledger,
}

/// A bond that is what it must be.
pub(super) struct Paired {
    pub(super) class: BondClass,
    pub(super) identity: Identity,
    /// Whether it was there before.
    pub(super) is_old: bool,
    /// Whether a characteristic that the device protects was read over a new connection.
    pub(super) is_proven: bool,
}

/// Why there is no such bond.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) exit: Exit,
    pub(super) reason: String,
    pub(super) rest: Rest,
}

/// What a failure left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing was begun: all is as it was before.
    Nothing,
    /// What was begun was taken back.
    Removed,
    /// The same, and the bond that was there before is gone too.
    OldRemoved,
    /// Nobody knows: keys may be left at BlueZ.
    Unknown,
}

impl Failed {
    pub(super) fn new(exit: Exit, reason: impl Into<String>) -> Self {
        Self { exit, reason: reason.into(), rest: Rest::Nothing }
    }

    pub(super) fn refused(reason: impl Into<String>) -> Self {
        Self::new(Exit::Refused, reason)
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::new(Exit::Failed, trouble.to_string())
    }
}

/// What must be taken back.
#[derive(Default)]
struct Begun {
    is_pairable: bool,
    device: Option<String>,
    /// The bond that was there before is thrown away.
    is_old_gone: bool,
    /// Held until everything was taken back.
    lock: Option<Lock>,
}

impl Begun {
    /// What somebody else has made, or is about to, is not to be taken back.
    fn leave_to_others(&mut self, trouble: &Trouble) {
        let Trouble::Refused { name, .. } = trouble else { return };
        match name.as_str() {
            "org.bluez.Error.AlreadyExists" => self.device = None,
            // Their keys would not be kept: the adapter stays pairable until the time that was set is over.
            "org.bluez.Error.InProgress" => (self.device, self.is_pairable) = (None, false),
            _ => {}
        }
    }
}

/// Pairs, and takes everything back when that fails or `stop` comes.
pub(super) async fn enrol(
    order: &Order<'_>,
    client: &Client,
    gate: &SharedGate,
    stop: impl Future<Output = &'static str>,
) -> Result<Paired, Failed> {
    let mut begun = Begun::default();
    let work = Work { order, client, gate, doing: Cell::new("starting") };
    let ended = tokio::select! {
        biased;
        trouble = client.gone() => Err(trouble.into()),
        signal = stop => Err(Failed::new(Exit::Failed, format!("stopped by {signal} while {}", work.doing.get()))),
        done = work.run(&mut begun) => done,
    };
    gate.lock().close();
    match ended {
        Ok(paired) => Ok(paired),
        Err(failed) => Err(take_back(&work, begun, failed).await),
    }
}

async fn take_back(work: &Work<'_>, begun: Begun, mut failed: Failed) -> Failed {
    let client = work.client;
    if begun.is_pairable && client.set_not_pairable().await.is_err() {
        failed.reason += "; and the adapter may still be pairable for the rest of the window";
    }
    if begun.is_old_gone {
        failed.rest = Rest::OldRemoved;
    }
    if let Some(device) = &begun.device {
        if let Err(unwritten) = work.forget() {
            failed.reason = format!("{}; and {}", failed.reason, unwritten.reason);
        }
        client.cancel_pairing(device).await;
        failed.rest = match client.remove(device).await {
            Ok(()) if begun.is_old_gone => Rest::OldRemoved,
            Ok(()) => Rest::Removed,
            Err(trouble) => {
                failed.reason =
                    format!("{}; and what was made could not be removed: {trouble}", failed.reason);
                Rest::Unknown
            }
        };
    }
    drop(begun.lock);
    failed
}

pub(super) struct Work<'a> {
    pub(super) order: &'a Order<'a>,
    pub(super) client: &'a Client,
    gate: &'a SharedGate,
    doing: Cell<&'static str>,
}

impl Work<'_> {
    async fn run(&self, begun: &mut Begun) -> Result<Paired, Failed> {
        let Order { address, rule, ledger, .. } = self.order;
        let bond = self.bond();
        self.client.check_adapter().await?;
        // Who cannot read what a bond is worth makes none.
        let state = ledger.proofs().keys();
        let readable = keys::check_readable(state, bond.adapter);
        readable.map_err(|trouble| Failed::refused(trouble.to_string()))?;
        let doing = format!("pairs {}", self.order.device.rule.card.id);
        begun.lock = Some(ledger.lock(bond.adapter, &doing).map_err(Failed::refused)?);
        let old = self.client.device(*address).await?.filter(|seen| seen.paired || seen.bonded);
        if let Some(seen) = old.filter(|_| !self.order.replaces) {
            return self.look_at_old(&seen).await;
        }
        let was_asked = self.pair_in_window(begun).await?;

        self.doing.set("looking at what the bond is worth");
        let seen = self.seen().await?;
        if !seen.bonded {
            return Err(Failed::new(
                Exit::Failed,
                "BlueZ did not keep the keys: see journalctl -u bluetooth",
            ));
        }
        let class = rule::judge(rule, was_asked, keys::read(state, bond.adapter, *address))
            .map_err(|unfit| Failed::refused(unfit.to_string()))?;
        self.doing.set("reading who it is");
        self.connected(&seen).await?;
        let identity = self.identify(&seen).await?;

        remark(format_args!("keys are made: connecting anew with them"));
        self.doing.set("proving the bond");
        self.client.disconnect(&seen).await?;
        self.connect(&seen).await?;
        let is_proven = self.prove(&seen).await?;
        let written = ledger.prove(bond, Proof { method: rule.method, class });
        written.map_err(|error| unwritten("what was proved", &error))?;
        // The last step: a bond that is not trusted is one whose enrolment did not come to its end.
        self.client.trust(&seen.path).await?;
        Ok(Paired { class, identity, is_old: false, is_proven })
    }

    /// Finds and pairs the device within the window. Gives whether the question of its method was asked.
    async fn pair_in_window(&self, begun: &mut Begun) -> Result<bool, Failed> {
        let window = self.order.window;
        let capability = self.order.rule.method.capability();
        let (agent, mut asked) = self.client.agent(capability, self.gate.clone()).await?;
        begun.is_pairable = true;
        // Rounded up: to BlueZ zero seconds are for ever.
        let seconds = window.as_secs().saturating_add(1);
        self.client.set_pairable(u32::try_from(seconds).unwrap_or(u32::MAX)).await?;
        let done = tokio::time::timeout(window, self.find_and_pair(begun, &mut asked)).await;
        let was_asked = self.gate.lock().close();
        let Ok(done) = done else {
            let (seconds, doing) = (window.as_secs(), self.doing.get());
            let reason = format!("the window of {seconds} s is over, while {doing}: repeat it");
            return Err(Failed::new(Exit::Failed, reason));
        };
        done?;
        self.client.set_not_pairable().await?;
        begun.is_pairable = false;
        agent.unregister().await?;
        Ok(was_asked)
    }

    async fn find_and_pair(
        &self,
        begun: &mut Begun,
        asked: &mut mpsc::Receiver<Asked>,
    ) -> Result<(), Failed> {
        let Order { address, window, .. } = self.order;
        self.doing.set("waiting for the device to be heard");
        let seconds = window.as_secs();
        remark(format_args!(
            "waiting up to {seconds} s for {address}: put it into pairing mode, close to this gateway"
        ));
        self.client.start_scan().await?;
        let seen = self.client.until(async || Ok(self.device().await?.filter(is_here))).await?;
        // Whatever was proved of keys that were there: it is not of those that are made now.
        self.forget()?;
        let seen = if self.order.replaces && (seen.paired || seen.bonded) {
            remark(format_args!("it is here: throwing the old keys away"));
            let removed = self.client.remove(&seen.path).await;
            // Its proof is taken back already, and BlueZ may have done what it did not answer to.
            removed.map_err(|trouble| Failed { rest: Rest::Unknown, ..trouble.into() })?;
            begun.is_old_gone = true;
            // As a device that nobody knows.
            self.client.until(async || Ok(self.device().await?.filter(is_heard))).await?
        } else {
            seen
        };
        self.client.stop_scan().await;
        if let Some(strength) = seen.strength {
            remark(format_args!("heard at {strength} dBm: pairing"));
        }
        self.doing.set("pairing");
        // Noted before it is asked for: whatever comes of it is taken back.
        begun.device = Some(seen.path.clone());
        self.gate.lock().open(&seen.path, self.order.rule.method);
        self.pair(begun, &seen, asked).await
    }

    async fn pair(
        &self,
        begun: &mut Begun,
        seen: &Seen,
        asked: &mut mpsc::Receiver<Asked>,
    ) -> Result<(), Failed> {
        let mut typed = Typed::new();
        let mut pairing = pin!(self.client.pair(&seen.path, self.order.window.saturating_add(BEYOND)));
        let mut waits: Option<Waiting> = None;
        let mut why: Option<&'static str> = None;
        loop {
            tokio::select! {
                biased;
                done = &mut pairing => return done.map_err(|trouble| {
                    begun.leave_to_others(&trouble);
                    explained(trouble, why)
                }),
                Some(asked) = asked.recv() => {
                    waits = Waiting::new(asked);
                    self.doing.set(if waits.is_some() { "waiting for what the device shows" } else { "pairing" });
                    if waits.is_some() {
                        self.prompt();
                    }
                }
                number = typed.six_digits(again), if waits.is_some() => {
                    let number = number.map_err(|error| Failed::new(Exit::Failed, error.to_string()))?;
                    self.doing.set("pairing");
                    if let Some(waiting) = waits.take() {
                        why = waiting.answer(number);
                    }
                }
            }
        }
    }

    fn prompt(&self) {
        let id = &self.order.device.rule.card.id;
        match self.order.rule.method {
            // Against method confusion (CVE-2020-10134): a device that compares does not wait for a passkey.
            Method::Passkey => remark(format_args!(
                "type the six digits that {id} shows. If it asks you to confirm a number, stop: press Enter only"
            )),
            Method::Numeric => remark(format_args!(
                "type the six digits that {id} shows; they are compared here. Then confirm on the device"
            )),
            Method::JustWorks => {}
        }
    }

    /// A bond that was made before: nothing of it is changed, whatever is found.
    async fn look_at_old(&self, seen: &Seen) -> Result<Paired, Failed> {
        let Order { rule, ledger, .. } = self.order;
        remark(format_args!("BlueZ has keys of it already: looking whether they are good"));
        self.doing.set("looking at the old keys");
        let unfit = |why: String| Failed::refused(format!("{why}. Nothing was changed; {REPLACE}"));
        if !seen.trusted {
            return Err(unfit(
                "BlueZ has keys of it that wardline pair did not make, or not to the end".to_owned(),
            ));
        }
        let judged = ledger.proofs().judge(rule, self.bond());
        let class = judged.map_err(|unproven| unfit(unproven.to_string()))?;
        // A connection that stands belongs to the daemon, whose readings come over it.
        if !seen.connected {
            let connected = self.connect(seen).await;
            connected.map_err(|trouble| {
                Failed::new(Exit::Failed, format!("{trouble}. {LOST_OR_AWAY}; {REPLACE}"))
            })?;
        }
        let done = async {
            let is_proven = self.prove(seen).await?;
            Ok(Paired { class, identity: self.identify(seen).await?, is_old: true, is_proven })
        };
        let done = done.await;
        if !seen.connected {
            // What was connected for this look only.
            let _ = self.client.disconnect(seen).await;
        }
        done
    }

    /// Waits until its services are known. Some devices hang up as soon as they are paired.
    async fn connected(&self, seen: &Seen) -> Result<(), Trouble> {
        match self.client.resolved(seen.address).await {
            Err(Trouble::Refused { .. }) => self.connect(seen).await,
            done => done,
        }
    }

    /// Connects. First attempts are known to fail (bluez issue 179).
    async fn connect(&self, seen: &Seen) -> Result<(), Trouble> {
        for pause in PAUSES {
            match self.client.connect_device(seen).await {
                Err(Trouble::Refused { .. }) => tokio::time::sleep(pause).await,
                done => return done,
            }
        }
        self.client.connect_device(seen).await
    }

    async fn device(&self) -> Result<Option<Seen>, Trouble> {
        self.client.device(self.order.address).await
    }

    const fn bond(&self) -> Bond {
        Bond { adapter: self.client.address(), device: self.order.address }
    }

    /// Takes back what was proved of the bond.
    fn forget(&self) -> Result<(), Failed> {
        let done = self.order.ledger.forget(self.bond());
        done.map_err(|error| unwritten("that its old bond is not proved any more", &error))
    }

    async fn seen(&self) -> Result<Seen, Failed> {
        let seen = self.device().await?;
        seen.ok_or_else(|| {
            Failed::new(Exit::Failed, "BlueZ does not know it any more: see journalctl -u bluetooth")
        })
    }
}

pub(super) const REPLACE: &str = "to make new keys, find out first why, then repeat with --replace";
const LOST_OR_AWAY: &str =
    "Either it is out of reach, or it has lost its keys or is another device with its address";

/// An advertisement of it was heard.
const fn is_heard(seen: &Seen) -> bool {
    seen.strength.is_some()
}

/// It is heard, or connected: then it need not advertise.
const fn is_here(seen: &Seen) -> bool {
    is_heard(seen) || seen.connected
}

fn unwritten(what: &str, error: &std::io::Error) -> Failed {
    Failed::new(Exit::Failed, format!("{what} could not be written down: {error}"))
}

/// A question that waits for what a person types.
enum Waiting {
    Passkey(Reply),
    Comparison(Reply, u32),
}

impl Waiting {
    fn new(asked: Asked) -> Option<Self> {
        match asked {
            Asked::Passkey(reply) => Some(Self::Passkey(reply)),
            Asked::Comparison(reply, number) => Some(Self::Comparison(reply, number)),
            Asked::Cancelled => None,
        }
    }

    /// Answers BlueZ. Gives why, when the answer is no.
    fn answer(self, number: Option<u32>) -> Option<&'static str> {
        match (self, number) {
            // A reply that is dropped refuses.
            (_, None) => Some("nothing was typed"),
            (Self::Passkey(reply), Some(number)) => {
                reply.passkey(number);
                None
            }
            (Self::Comparison(reply, shown), Some(number)) if number == shown => {
                reply.accept();
                None
            }
            (Self::Comparison(..), Some(_)) => {
                Some("the device shows another number than this gateway: somebody may stand between them")
            }
        }
    }
}

fn again() {
    remark(format_args!("these are not six digits: once more, or Enter only to end it"));
}

/// What became of `Pair`, with the way out; `why` is what this side had against it.
fn explained(trouble: Trouble, why: Option<&'static str>) -> Failed {
    match (why, &trouble) {
        (Some(why), _) => Failed::refused(why),
        (None, Trouble::Refused { name, text, .. }) => {
            Failed::new(Exit::Failed, format!("{text}: {}", rule::explain(name)))
        }
        (None, _) => trouble.into(),
    }
}
