//! Which configuration a gateway starts with: the files alone, the bundle that runs, or the one on trial.
//!
//! In: the fleet's folder and a way to load the configuration with what a bundle pushes. Out: what was
//! loaded, and which bundle is on trial. A staged bundle is tried in the head first: what would not load is
//! never begun. What never happens: a bundle on trial that does not load keeps the gateway from starting; a
//! bundle that once stood its trial is passed over in silence.

use super::change::{Change, Slot, Started};
use super::documents::{Bundle, Document as _};
use super::dsse::Envelope;
use super::folder::{Folder, FolderError};
use super::health::Baseline;
use super::share;
use crate::config::{Loaded, Problems, Pushed};

/// What a gateway starts with.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub loaded: Loaded,
    /// The bundle that it comes from; none: the files alone.
    pub bundle: Option<Slot>,
    /// Whether that bundle is on trial.
    pub is_trial: bool,
    /// What was taken back on the way, in words.
    pub taken_back: Vec<String>,
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The fleet's folder is not to be believed.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] Problems),
    /// A bundle that was kept cannot be read.
    #[error("bundle {version}, which runs, cannot be read by this program: {reason}")]
    Bundle {
        /// Its version.
        version: u64,
        /// Why.
        reason: String,
    },
}

/// Decides what the gateway starts with, and keeps what that means for the bundles.
pub fn start(
    folder: &mut Folder,
    gateway: &str,
    load: impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Start, StartError> {
    let mut taken_back = Vec::new();
    match folder.step(Change::started)? {
        Started::RolledBack(slot) => taken_back.push(format!(
            "bundle {} was on trial when the gateway was started again, twice: the one before runs",
            slot.version
        )),
        Started::Waiting(_) => {
            folder.step(|change| change.begin(Baseline::default()))?;
        }
        Started::AsBefore | Started::OnTrial(_) => {}
    }
    if let Some(slot) = folder.change().on_trial() {
        match read(folder, slot, gateway)
            .and_then(|pushed| load(Some(&pushed)).map_err(|fault| fault.to_string()))
        {
            Ok(loaded) => return Ok(Start { loaded, bundle: Some(slot), is_trial: true, taken_back }),
            Err(reason) => {
                let reason = format!("it does not load: {reason}");
                taken_back.push(format!("bundle {}: {reason}", slot.version));
                folder.step(|change| change.roll_back(&reason))?;
            }
        }
    }
    let Some(slot) = folder.change().running() else {
        return Ok(Start { loaded: load(None)?, bundle: None, is_trial: false, taken_back });
    };
    let pushed =
        read(folder, slot, gateway).map_err(|reason| StartError::Bundle { version: slot.version, reason })?;
    Ok(Start { loaded: load(Some(&pushed))?, bundle: Some(slot), is_trial: false, taken_back })
}

/// A bundle that was verified when it came. Who signed it is not asked again: a key that was dropped since
/// does not take a ward's devices away, and the digest in the state says that these are the bytes.
fn read(folder: &Folder, slot: Slot, gateway: &str) -> Result<Pushed, String> {
    let bytes = folder.bundle(slot).map_err(|error| error.to_string())?;
    let envelope = Envelope::parse(&bytes, Bundle::CAP).map_err(|fault| fault.to_string())?;
    share::of(&Bundle::read(envelope.payload())?, gateway)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Catalogue, Environment, load_with};
    use crate::fleet::workshop::{CONFIG, ONLINE, bundle_of, recipient, root};
    use crate::host::atomic_file;

    const GATEWAY: &str = "devices = \"none\"\n[gateway]\norganisation = \"st-anna\"\ngroup = \"icu-3\"\nid = \"gw-1\"\n\
        [uplink]\nhost = \"mqtt.st-anna.example\"\nauthorities = \"ca.pem\"\ncertificate = \"own.pem\"";

    struct Bench {
        place: tempfile::TempDir,
        folder: Folder,
        marks: crate::fleet::trust::Marks,
    }

    impl Bench {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            atomic_file::write(&place.path().join("gateway.toml"), GATEWAY.as_bytes()).unwrap();
            let root = root(1, &CONFIG, ONLINE, &[1, 2]);
            let path = place.path().join("fleet");
            let (folder, trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root).unwrap();
            Self { place, folder, marks: trust.marks().clone() }
        }

        /// Stages a bundle with these devices.
        fn stage(&mut self, version: u64, devices: Value) {
            let change = |bundle: &mut Value| {
                (bundle["version"], bundle["devices"]) = (json!(version), devices);
            };
            let bytes = bundle_of(change, &[11, 12]);
            let slot = Slot { version, sha256: crate::fleet::documents::Digest::of(&bytes) };
            assert!(self.folder.stage(slot, &bytes, &self.marks).unwrap());
        }

        /// A start of the daemon: the version that it has, whether on trial, its devices, what was taken back.
        fn start(&mut self) -> (Option<u64>, bool, Vec<String>, String) {
            // What is on the disk is all that a start knows.
            (self.folder, _) = Folder::open(&self.place.path().join("fleet"), recipient()).unwrap();
            let config = self.place.path().to_owned();
            let load = |pushed: Option<&Pushed>| {
                load_with(&config, &Environment::default(), &Catalogue::shipped(), pushed)
            };
            let start = start(&mut self.folder, "gw-1", load).unwrap();
            let devices = start.loaded.config.devices.iter().map(|device| device.rule.card.id.clone());
            let taken_back = start.taken_back.join("; ");
            (start.bundle.map(|slot| slot.version), start.is_trial, devices.collect(), taken_back)
        }
    }

    fn pump(id: &str, gateways: &[&str]) -> Value {
        json!({
            "id": id, "asset": id, "driver": "alaris-asena", "elements": "all", "trust": "link-only",
            "port": format!("/dev/serial/by-path/{id}"), "gateways": gateways,
        })
    }

    #[test]
    fn a_bundle_is_tried_kept_and_followed_by_the_next() {
        let mut bench = Bench::new();
        assert_eq!(bench.start(), (None, false, vec![], String::new()));
        bench.stage(7, json!([pump("pump-1", &["gw-1"]), pump("pump-2", &["gw-2"])]));
        assert_eq!(bench.start(), (Some(7), true, vec!["pump-1".to_owned()], String::new()));
        bench.folder.step(Change::commit).unwrap();
        assert_eq!(bench.start(), (Some(7), false, vec!["pump-1".to_owned()], String::new()));
        bench.stage(8, json!([pump("pump-2", &["gw-1", "gw-2"])]));
        assert_eq!(bench.start(), (Some(8), true, vec!["pump-2".to_owned()], String::new()));
        // A power cut while it is on trial, and another one.
        assert_eq!(bench.start().0, Some(8));
        let (version, is_trial, devices, taken_back) = bench.start();
        assert_eq!((version, is_trial, devices), (Some(7), false, vec!["pump-1".to_owned()]));
        assert!(taken_back.contains("bundle 8 was on trial"), "{taken_back}");
        assert_eq!(bench.start().3, "");
    }

    #[test]
    fn what_does_not_load_is_never_begun_and_what_runs_goes_on() {
        let mut bench = Bench::new();
        bench.stage(7, json!([pump("pump-1", &["gw-1"])]));
        bench.start();
        bench.folder.step(Change::commit).unwrap();
        let mut unknown = pump("pump-2", &["gw-1"]);
        unknown["driver"] = json!("alaris-asenna");
        for (version, devices, words) in [
            (8, json!([unknown]), "bundle 8: device[0].driver"),
            (9, json!([pump("pump-1", &["gw-1"]), pump("pump-1", &["gw-1"])]), "is taken by"),
            (10, json!([{ "gateways": "gw-1" }]), "which gateways have it"),
        ] {
            bench.stage(version, devices);
            let (running, is_trial, devices, taken_back) = bench.start();
            assert_eq!(
                (running, is_trial, devices),
                (Some(7), false, vec!["pump-1".to_owned()]),
                "{version}"
            );
            assert!(taken_back.contains("does not load") && taken_back.contains(words), "{taken_back}");
            let bad = bench.folder.change().bad().last().unwrap();
            assert!(bad.slot.version == version && bad.reason.contains(words), "{bad:?}");
        }
    }

    #[test]
    fn a_running_bundle_that_was_changed_on_the_disk_stops_the_start() {
        let mut bench = Bench::new();
        bench.stage(7, json!([pump("pump-1", &["gw-1"])]));
        bench.start();
        let slot = bench.folder.step(Change::commit).unwrap().unwrap();
        let name = format!("fleet/bundle-7-{}.json", &slot.sha256.to_string()[..8]);
        atomic_file::write(&bench.place.path().join(name), b"{}").unwrap();
        let never = |_: Option<&Pushed>| -> Result<Loaded, Problems> { panic!("nothing is loaded") };
        let fault = start(&mut bench.folder, "gw-1", never).unwrap_err().to_string();
        assert!(fault.contains("it was changed on the disk"), "{fault}");
    }
}
