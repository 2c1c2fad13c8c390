//! `wardline pair`: makes the keys that a BLE device of the allowlist and this gateway share.
//!
//! With `--json`, one object:
//!
//! | key | | |
//! | --- | --- | --- |
//! | `device`, `address` | text | which one |
//! | `paired` | true, false | whether there is a bond that is what its entry demands |
//! | `method`, `class` | text | how it was paired, and what the bond is worth: `A` to `D` |
//! | `was_paired` | true, false | whether the bond was there before |
//! | `bond_proven` | true, false | whether a protected characteristic was read over a new connection |
//! | `identity` | object | `maker`, `model`, `serial`, `firmware`; what it did not state is left out |
//! | `reason` | text | why it is not paired; then `rest` says what was done: `nothing`, `removed` (what was made), `old-removed` (the bond before it too), `unknown` |
//! | `refused` | object | how many questions of BlueZ were refused meanwhile, by kind |
//!
//! With `--list --json`: `{"devices": [{"device", "address", "adapter", "strength_dbm", "paired"}]}`, of the
//! devices of the allowlist that are heard.
//!
//! It may run beside the daemon: the daemon does not connect to a device that lacks the bond which its entry
//! demands, and BlueZ asks the agent of the process that pairs. When the bond is there, the daemon finds it:
//! trusted by BlueZ, and in the record that stands beside the store (see [`ledger`]). One at a time pairs at an
//! adapter. Who does what, and how it ends, is in the audit log.

mod enrol;
pub(super) mod ledger;
mod look;
mod typed;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::Folder;
use super::exit::{Exit, Failure};
use super::out::{self, Colour};
use super::status::print_table;
use crate::config::{Connection, Device, duration};
use crate::device::catalogue::BleProfile;
use crate::host::status::Identity;
use crate::link::ble::Address;
use crate::link::ble::pairing::agent::SharedGate;
use crate::link::ble::pairing::{BondRule, Client, Method, Refusals, STATE_FOLDER, Seen, Trouble};
use enrol::{Failed, Order, Paired, Rest, enrol};
use ledger::Ledger;

/// How long a person has to put the device into pairing mode and to type.
const WINDOW: Duration = Duration::from_secs(120);

/// A door that stays open for longer is one that somebody forgot.
const MOST_WINDOW: Duration = Duration::from_secs(3_600);
const LEAST_WINDOW: Duration = Duration::from_millis(100);

/// How long is listened for what is there. Slow advertisers send once in a few seconds.
const LISTEN: Duration = Duration::from_secs(10);

/// Pair a BLE device of the allowlist, and prove that the bond holds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline pair --list                        which listed devices are heard, and how strongly?\n  \
    wardline pair oximeter-bed-8                pair it: type the passkey that it shows\n  \
    wardline pair 00:1C:05:00:43:21 --window 5m\n  \
    echo 123456 | wardline pair oximeter-bed-8 --passkey - --json\n  \
    wardline pair oximeter-bed-8 --replace      its bond is lost: make a new one\n\n\
    Run it as root: nobody else can read what a bond is worth. The daemon may go on running.\n\
    Only the device that is named and only the method of its entry (`pairing`) are accepted. It is paired when \
    its keys are those of `minimum_class` or better, it says that it is who its entry `expects`, and it can be \
    read over a new connection. Whatever goes wrong, the new keys are removed again. Run again for a device \
    that is paired, it looks whether the bond still holds, and changes nothing. A bond that was made by other \
    means is not trusted: --replace it. The audit log says who paired what, and how it ended.\n\
    Ends with 0 when it is paired, with 6 when it was refused (another device, keys that are too weak, nothing \
    typed, not root), with 1 when it did not work: it says what to do.")]
pub(super) struct Pair {
    /// The device: its id in the allowlist, or its address.
    #[arg(required_unless_present = "list", conflicts_with = "list")]
    device: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// List the devices of the allowlist that are heard.
    #[arg(long)]
    list: bool,
    /// Read what the device shows from standard input, for a script: six digits and a line feed. Never an
    /// argument: those can be seen by everybody on this machine.
    #[arg(long, value_name = "-", value_parser = ["-"], conflicts_with = "list")]
    passkey: Option<String>,
    /// How long the device may take to be there and to be paired (default 2m); or how long to listen for
    /// devices (default 10s).
    #[arg(long, value_name = "TIME", value_parser = window)]
    window: Option<Duration>,
    /// Throw away the keys that BlueZ has of it as soon as it is heard, and make new ones. When that fails, the
    /// old ones are gone.
    #[arg(long, conflicts_with = "list")]
    replace: bool,
    /// Where BlueZ keeps its keys.
    #[arg(long, value_name = "DIR", default_value = STATE_FOLDER)]
    bluez_state: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A window that a person can stand beside.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    let fits = (LEAST_WINDOW..=MOST_WINDOW).contains(&window);
    if fits { Ok(window) } else { Err("must be from 100ms to 1h".to_owned()) }
}

/// A BLE device of the allowlist.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) device: &'a Device,
    pub(super) address: Address,
    pub(super) adapter: &'a str,
    profiles: &'a [&'static BleProfile],
    bond: Option<BondRule>,
}

impl Pair {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let devices = config.devices;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ledger = Ledger::beside(&config.store.folder).with_keys_in(&self.bluez_state);
        match &self.device {
            None => runtime.block_on(self.list(&devices)),
            Some(name) => runtime.block_on(self.pair(find(&devices, name)?, &ledger)),
        }
    }

    async fn pair(&self, listed: Listed<'_>, ledger: &Ledger) -> Result<(), Failure> {
        let id = &listed.device.rule.card.id;
        let Some(rule) = listed.bond else {
            let error = anyhow!("{id} needs no pairing: its entry says security = \"open\"");
            return Err(Failure::new(Exit::Refused, error));
        };
        let types = rule.method != Method::JustWorks;
        if types && self.passkey.is_none() && !std::io::stdin().is_terminal() {
            let error =
                anyhow!("somebody must type what {id} shows: at a terminal, or piped in with --passkey -");
            return Err(Failure::new(Exit::Refused, error));
        }
        let order = Order {
            device: listed.device,
            address: listed.address,
            profiles: listed.profiles,
            rule,
            window: self.window.unwrap_or(WINDOW),
            replaces: self.replace,
            ledger,
        };
        let mut about = self.about(&listed, rule);
        let noted = ledger.note("pair", &about);
        noted.map_err(|failure| failure.because("nothing was paired"))?;
        let gate = SharedGate::default();
        let stop = stop()?;
        let done =
            on_adapter(listed.adapter, async |client| Ok(enrol(&order, &client, &gate, stop).await)).await;
        let done = done.unwrap_or_else(|trouble| {
            let lost = matches!(trouble, Trouble::Bus(_));
            let rest = if lost { Rest::Unknown } else { Rest::Nothing };
            Err(Failed { exit: Exit::Failed, reason: trouble.to_string(), rest })
        });
        let said = said(&done, gate.refusals());
        about.extend(said.clone());
        let noted = ledger.note("pair-end", &about);
        let concluded = self.conclude(&listed, rule, (gate.refusals(), said), done);
        concluded.and(noted.map_err(|failure| failure.because("it is paired, but not noted")))
    }

    /// For the audit log.
    fn about(&self, listed: &Listed<'_>, rule: BondRule) -> Map<String, Value> {
        let address = listed.address.to_string();
        let about = [
            ("device", json!(listed.device.rule.card.id)),
            ("address", json!(address)),
            ("adapter", json!(listed.adapter)),
            ("method", json!(rule.method.as_str())),
            ("replace", json!(self.replace)),
        ];
        about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    fn conclude(
        &self,
        listed: &Listed<'_>,
        rule: BondRule,
        (refusals, mut about): (Refusals, Map<String, Value>),
        done: Result<Paired, Failed>,
    ) -> Result<(), Failure> {
        let (id, address) = (&listed.device.rule.card.id, listed.address);
        if refusals.total() > 0 {
            let kinds = refusals.by_kind().into_iter().filter(|(_, count)| *count > 0);
            let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{kind} {count}")).collect();
            out::remark(format_args!("refused meanwhile: {}", kinds.join(", ")));
        }
        about.insert("device".to_owned(), json!(id));
        about.insert("address".to_owned(), json!(address.to_string()));
        about.insert("method".to_owned(), json!(rule.method.as_str()));
        let result = match done {
            Ok(paired) => {
                if !self.json {
                    print(listed, rule, &paired)?;
                }
                Ok(())
            }
            Err(Failed { exit, reason, rest }) => {
                let (_, sentence) = rest_in_words(rest);
                Err(Failure::new(exit, anyhow!("{id} is not paired: {reason}{sentence}")))
            }
        };
        if self.json {
            let mut out = out::stdout();
            out.json(&Value::Object(about))?;
            out.finish()?;
        }
        result
    }

    async fn list(&self, devices: &[Device]) -> Result<(), Failure> {
        let mut adapters: BTreeMap<&str, Vec<Listed<'_>>> = BTreeMap::new();
        for listed in devices.iter().filter_map(listed) {
            adapters.entry(listed.adapter).or_default().push(listed);
        }
        let window = self.window.unwrap_or(LISTEN);
        out::remark(format_args!("listening for {} s", window.as_secs()));
        let mut heard = Vec::new();
        for (adapter, listed) in adapters {
            let found = on_adapter(adapter, async |client| {
                client.check_adapter().await?;
                client.start_scan().await?;
                tokio::time::timeout(window, all_heard(&client, &listed)).await.unwrap_or(Ok(()))?;
                client.stop_scan().await;
                client.devices().await
            });
            let found = found.await.map_err(|trouble| Failure::new(Exit::Failed, trouble))?;
            for listed in listed {
                let seen = found.iter().find(|seen| seen.address == listed.address);
                heard.extend(seen.and_then(|seen| Some((listed, seen.strength?, pairing(seen)))));
            }
        }
        // The nearest first.
        heard.sort_by_key(|(_, strength, _)| std::cmp::Reverse(*strength));
        let mut out = out::stdout();
        if self.json {
            let devices: Vec<Value> = heard
                .iter()
                .map(|(listed, strength, paired)| {
                    json!({
                        "device": listed.device.rule.card.id,
                        "address": listed.address.to_string(),
                        "adapter": listed.adapter,
                        "strength_dbm": strength,
                        "paired": *paired == "yes",
                    })
                })
                .collect();
            out.json(&json!({ "devices": devices }))?;
        } else if heard.is_empty() {
            out.line(format_args!("no device of the allowlist is heard"))?;
        } else {
            let heading = ["device", "address", "adapter", "strength", "pairing", "paired"];
            let mut rows = vec![heading.map(str::to_owned).to_vec()];
            rows.extend(heard.iter().map(|(listed, strength, paired)| {
                vec![
                    listed.device.rule.card.id.clone(),
                    listed.address.to_string(),
                    listed.adapter.to_owned(),
                    format!("{strength} dBm"),
                    listed.bond.map_or("none: open", |bond| bond.method.as_str()).to_owned(),
                    (*paired).to_owned(),
                ]
            }));
            print_table(&mut out, &rows, |_| Colour::Strong)?;
        }
        out.finish()?;
        Ok(())
    }
}

/// What became of it, for the JSON object and for the audit log.
fn said(done: &Result<Paired, Failed>, refusals: Refusals) -> Map<String, Value> {
    let mut about = Map::new();
    let mut put = |key: &str, value: Value| drop(about.insert(key.to_owned(), value));
    put("paired", json!(done.is_ok()));
    put("refused", refusals.by_kind().into_iter().map(|(kind, n)| (kind.to_owned(), json!(n))).collect());
    match done {
        Ok(paired) => {
            put("class", json!(paired.class.as_str()));
            put("was_paired", json!(paired.is_old));
            put("bond_proven", json!(paired.is_proven));
            put("identity", json!(Identity::from(&paired.identity)));
        }
        Err(Failed { reason, rest, .. }) => {
            put("reason", json!(reason));
            put("rest", json!(rest_in_words(*rest).0));
        }
    }
    about
}

/// Whether it is paired, for a person.
const fn pairing(seen: &Seen) -> &'static str {
    match (seen.paired, seen.bonded && seen.trusted) {
        (false, _) => "no",
        (true, true) => "yes",
        (true, false) => "not proven",
    }
}

/// Waits until all of them were heard.
async fn all_heard(client: &Client, listed: &[Listed<'_>]) -> Result<(), Trouble> {
    client
        .until(async || {
            let seen = client.devices().await?;
            let is_heard = |address| seen.iter().any(|s| s.address == address && s.strength.is_some());
            Ok(listed.iter().all(|listed| is_heard(listed.address)).then_some(()))
        })
        .await
}

/// Does something with an adapter, for as long as the bus lasts.
pub(super) async fn on_adapter<T>(
    adapter: &str,
    work: impl AsyncFnOnce(Client) -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let (pump, client) = Client::connect(adapter)?;
    tokio::select! {
        lost = pump => Err(lost),
        done = async { work(client.await?).await } => done,
    }
}

/// The BLE device of the allowlist with this id or address.
pub(super) fn find<'a>(devices: &'a [Device], name: &str) -> Result<Listed<'a>, Failure> {
    let address = name.parse::<Address>().ok();
    let found = devices.iter().find(|device| {
        device.rule.card.id == name || listed(device).is_some_and(|listed| Some(listed.address) == address)
    });
    let Some(found) = found else {
        let error = anyhow!("{name} is not on the allowlist: see wardline devices");
        return Err(Failure::new(Exit::Usage, error));
    };
    listed(found).ok_or_else(|| {
        Failure::new(Exit::Usage, anyhow!("{name} is not a BLE device: there is nothing to pair"))
    })
}

fn listed(device: &Device) -> Option<Listed<'_>> {
    let Connection::Ble { address, adapter, profiles, bond, .. } = &device.connection else { return None };
    Some(Listed { device, address: address.parse().ok()?, adapter, profiles, bond: *bond })
}

/// Waits for a signal to stop.
fn stop() -> std::io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

const fn rest_in_words(rest: Rest) -> (&'static str, &'static str) {
    match rest {
        Rest::Nothing => ("nothing", ""),
        Rest::Removed => ("removed", ". What was made was removed again"),
        Rest::OldRemoved => (
            "old-removed",
            ". The old bond is gone, and nothing is read until it is paired: put it into pairing mode and repeat",
        ),
        Rest::Unknown => (
            "unknown",
            ". Whether BlueZ has kept keys of it is not known: run wardline unpair when it is back",
        ),
    }
}

fn print(listed: &Listed<'_>, rule: BondRule, paired: &Paired) -> Result<(), Failure> {
    let mut out = out::stdout();
    let (id, address, class) = (&listed.device.rule.card.id, listed.address, paired.class);
    let word = out.paint(Colour::Good, if paired.is_old { "paired before" } else { "paired" });
    out.line(format_args!("{word}: {id} ({address})"))?;
    out.line(format_args!("bond      class {class}"))?;
    let identity = &paired.identity;
    let parts = [&identity.maker, &identity.model, &identity.serial, &identity.firmware];
    let parts: Vec<String> = parts.into_iter().flatten().map(|part| super::status::clean(part)).collect();
    let parts = if parts.is_empty() { "it does not say".to_owned() } else { parts.join(", ") };
    out.line(format_args!("identity  {parts}"))?;
    match rule.protected {
        Some(protected) if paired.is_proven => {
            out.line(format_args!("proof     {protected:?}, which it protects, was read over a connection with these keys"))?;
        }
        _ => out.line(format_args!(
            "proof     none: its entry names no `protected` characteristic. Keys are kept here; that it demands them is not shown"
        ))?,
    }
    out.finish()?;
    Ok(())
}
