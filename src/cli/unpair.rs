//! `wardline unpair`: has BlueZ forget a BLE device and the keys shared with it.
//!
//! With `--json`, one object: `{"device", "address", "was_known", "was_paired"}`.

use anyhow::anyhow;
use clap::Args;
use serde_json::{Map, Value, json};

use super::exit::{Exit, Failure};
use super::pair::ledger::Ledger;
use super::{Folder, confirm, out, pair};
use crate::link::ble::Address;
use crate::link::ble::pairing::proof::Bond;
use crate::link::ble::pairing::{Client, Seen};

/// Remove the keys that a BLE device and this gateway share.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline unpair oximeter-bed-8          asks for its id once more\n  \
    wardline unpair oximeter-bed-8 --yes    for a script\n\n\
    Nothing more is read from a device whose entry demands a bond until it is paired again. The device itself \
    keeps its half of the keys: clear them there, by its manual.\n\
    Ends with 0 when BlueZ has no keys of it any more, with 6 when it was not confirmed.")]
pub(super) struct Unpair {
    /// The device: its id in the allowlist, or its address.
    device: String,
    #[command(flatten)]
    folder: Folder,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Unpair {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.folder.load_or_fail()?.config;
        let listed = pair::find(&config.devices, &self.device)?;
        let id = &listed.device.rule.card.id;
        if !self.yes {
            confirm::by_id(id, "removing its keys ends its readings", "--yes")?;
        }
        let ledger = Ledger::beside(&config.store.folder);
        let address = listed.address;
        let mut about = Map::new();
        about.insert("device".to_owned(), json!(id));
        about.insert("address".to_owned(), json!(address.to_string()));
        let noted = ledger.note("unpair", &about);
        noted.map_err(|failure| failure.because("nothing was removed"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(pair::on_adapter(listed.adapter, async |client| {
            Ok(remove(&client, &ledger, address, &format!("unpairs {id}")).await)
        }));
        let done = done.unwrap_or_else(|trouble| Err(Failure::new(Exit::Failed, trouble)));
        about.insert("removed".to_owned(), json!(done.is_ok()));
        if let Ok(seen) = &done {
            about.insert("was_known".to_owned(), json!(seen.is_some()));
            about.insert("was_paired".to_owned(), json!(seen.as_ref().is_some_and(|seen| seen.paired)));
        }
        let noted = ledger.note("unpair-end", &about);
        let was_paired = done?.is_some_and(|seen| seen.paired);
        noted.map_err(|failure| failure.because("its keys are removed, but that is not noted"))?;
        about.remove("removed");
        let mut out = out::stdout();
        if self.json {
            out.json(&Value::Object(about))?;
        } else if was_paired {
            out.line(format_args!("removed: BlueZ has no keys of {id} ({address}) any more"))?;
        } else {
            out.line(format_args!("BlueZ had no keys of {id} ({address})"))?;
        }
        out.finish()?;
        Ok(())
    }
}

/// Removes a device and its keys. Gives what BlueZ knew of it.
async fn remove(
    client: &Client,
    ledger: &Ledger,
    device: Address,
    doing: &str,
) -> Result<Option<Seen>, Failure> {
    let adapter = client.address();
    let lock = ledger.lock(adapter, doing).map_err(|reason| Failure::new(Exit::Refused, anyhow!(reason)))?;
    let failed = |trouble| Failure::new(Exit::Failed, trouble);
    let seen = client.device(device).await.map_err(failed)?;
    // First: a proof that outlives its keys could be taken for one of others.
    ledger.forget(Bond { adapter, device }).map_err(|error| Failure::new(Exit::Failed, error))?;
    if let Some(seen) = &seen {
        client.remove(&seen.path).await.map_err(failed)?;
    }
    drop(lock);
    Ok(seen)
}
