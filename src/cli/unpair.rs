//! `wardline unpair`: has BlueZ forget a BLE device and the keys shared with it.
//!
//! With `--json`, one object: `{"device", "address", "was_known", "was_paired"}`.

use clap::Args;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::{Folder, confirm, out, pair};

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
        let devices = self.folder.load_or_fail()?.config.devices;
        let listed = pair::find(&devices, &self.device)?;
        let id = &listed.device.rule.card.id;
        if !self.yes {
            confirm::by_id(id, "removing its keys ends its readings", "--yes")?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = runtime.block_on(pair::on_adapter(listed.adapter, async |client| {
            let seen = client.device(listed.address).await?;
            if let Some(seen) = &seen {
                client.remove(&seen.path).await?;
            }
            Ok(seen)
        }));
        let seen = seen.map_err(|trouble| Failure::new(Exit::Failed, trouble))?;
        let (address, was_paired) = (listed.address, seen.as_ref().is_some_and(|seen| seen.paired));
        let mut out = out::stdout();
        if self.json {
            out.json(&json!({
                "device": id,
                "address": address.to_string(),
                "was_known": seen.is_some(),
                "was_paired": was_paired,
            }))?;
        } else if was_paired {
            out.line(format_args!("removed: BlueZ has no keys of {id} ({address}) any more"))?;
        } else {
            out.line(format_args!("BlueZ had no keys of {id} ({address})"))?;
        }
        out.finish()?;
        Ok(())
    }
}
