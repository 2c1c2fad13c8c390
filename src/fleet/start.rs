//! Which configuration a gateway starts with, and whether a staged bundle can begin.
//!
//! In: the fleet's folder and a way to load the configuration with what a bundle pushes. Out: what was
//! loaded, and which bundle is on trial. A staged bundle does not begin at a start: nothing is known yet of the
//! roll-out. It begins when the agent says so ([`begin`]), and is tried in the head first.
//!
//! Two faults are kept apart. What the bundle says cannot be: it is marked bad and never tried again. This
//! gateway could not (its disk, a file that was changed on it, its own configuration, which does not load without
//! the bundle either): the bundle is let go, and the agent asks for it again.
//!
//! A bundle that once stood its trial may not load any more: the files run then, that is told as a trouble, and the
//! next bundle is compared with them. What never happens: a bundle that does not load keeps the gateway from starting,
//! or from being mended by another one; a bundle that once stood its trial is passed over in silence.

use std::collections::BTreeSet;
use std::fmt;

use super::change::{Change, Slot, Started};
use super::documents::{Bundle, Document as _};
use super::dsse::Envelope;
use super::folder::{Folder, FolderError};
use super::health::Baseline;
use super::share;
use crate::config::{FLOOR_FILE, Loaded, Problems, Pushed};
use crate::uplink;

/// What was taken back at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenBack {
    /// This bundle is marked bad; why.
    Bad(u64, String),
    /// This gateway could not go on with its trial; why. It is asked for again.
    Dropped(u64, String),
}

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(version, reason) => write!(f, "bundle {version} is taken back: {reason}"),
            Self::Dropped(version, reason) => write!(f, "bundle {version} is asked for again: {reason}"),
        }
    }
}

/// What a gateway starts with.
#[derive(Debug)]
pub struct Start {
    /// The configuration.
    pub loaded: Loaded,
    /// The bundle that it comes from; none: the files alone.
    pub bundle: Option<Slot>,
    /// Whether that bundle is on trial: the trial begins anew, with the baseline of `Change::baseline`.
    pub is_trial: bool,
    /// What was taken back on the way.
    pub taken_back: Vec<TakenBack>,
    /// Why the files run and not the bundle that once stood its trial.
    pub trouble: Option<String>,
}

/// What runs where no bundle is on trial.
#[derive(Debug)]
pub struct Base {
    /// The configuration.
    pub loaded: Loaded,
    /// The bundle that it comes from; none: the files alone.
    pub bundle: Option<Slot>,
    /// Why the files run and not the bundle that once stood its trial.
    pub trouble: Option<String>,
}

/// What became of a staged bundle that was to begin.
#[derive(Debug)]
pub enum Begun {
    /// Nothing is staged.
    Nothing,
    /// Its trial has begun, durably, and this is its configuration.
    Trial(Slot, Box<Loaded>),
    /// It cannot be run by any start of this gateway: it is marked bad; in words.
    Bad(Slot, String),
    /// This gateway could not: it is no longer staged, and the agent asks for it again once it is told
    /// (`Agent::handle_loss`); in words.
    Dropped(Slot, String),
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
        /// What was taken back before that was found.
        taken_back: Vec<TakenBack>,
    },
}

/// Whose fault it is that a bundle does not run; in words.
pub(super) enum Fault {
    Bundle(String),
    Gateway(String),
}

impl Fault {
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Bundle(words) | Self::Gateway(words) => words,
        }
    }
}

/// Decides what the gateway starts with, and keeps what that means for the bundles.
pub fn start(
    folder: &mut Folder,
    gateway: &str,
    load: impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Start, StartError> {
    let mut taken_back = Vec::new();
    if let Started::RolledBack(slot) = folder.step(Change::started)? {
        let reason = "it was on trial when the gateway was started again, twice".to_owned();
        taken_back.push(TakenBack::Bad(slot.version, reason));
    }
    if let Some(slot) = folder.change().on_trial() {
        match rehearse(folder, slot, gateway, &load) {
            Ok(loaded) => {
                return Ok(Start { loaded, bundle: Some(slot), is_trial: true, taken_back, trouble: None });
            }
            Err(Fault::Bundle(reason)) => {
                folder.step(|change| change.roll_back(&reason))?;
                taken_back.push(TakenBack::Bad(slot.version, reason));
            }
            Err(Fault::Gateway(reason)) => {
                folder.step(Change::abandon)?;
                taken_back.push(TakenBack::Dropped(slot.version, reason));
            }
        }
    }
    let Some(slot) = folder.change().running() else {
        return Ok(Start { loaded: load(None)?, bundle: None, is_trial: false, taken_back, trouble: None });
    };
    let pushed = read(folder, slot, gateway).map_err(|fault| {
        let reason = fault.into_words();
        StartError::Bundle { version: slot.version, reason, taken_back: taken_back.clone() }
    })?;
    let Base { loaded, bundle, trouble } = with(slot, &pushed, &load)?;
    Ok(Start { loaded, bundle, is_trial: false, taken_back, trouble })
}

/// Begins the trial of what is staged, if it loads. `baseline` is how the gateway is now.
pub fn begin(
    folder: &mut Folder,
    gateway: &str,
    baseline: Baseline,
    load: impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Begun, FolderError> {
    let Some(slot) = folder.change().staged() else { return Ok(Begun::Nothing) };
    let rehearsed = rehearse(folder, slot, gateway, &load).and_then(|loaded| {
        let before = base(folder, gateway, &load)?.loaded;
        check_removed(&before, &loaded)?;
        Ok((is_uplink_another(&before, &loaded), loaded))
    });
    Ok(match rehearsed {
        Ok((is_uplink_another, loaded)) => {
            let baseline = Baseline { is_uplink_another, ..baseline };
            folder.step(|change| change.begin(baseline))?;
            Begun::Trial(slot, Box::new(loaded))
        }
        Err(Fault::Bundle(reason)) => {
            folder.step(|change| change.reject(&reason))?;
            Begun::Bad(slot, reason)
        }
        Err(Fault::Gateway(reason)) => {
            folder.step(Change::unstage)?;
            Begun::Dropped(slot, reason)
        }
    })
}

/// Loads the configuration with a bundle, in the head.
fn rehearse(
    folder: &Folder,
    slot: Slot,
    gateway: &str,
    load: &impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Loaded, Fault> {
    let pushed = read(folder, slot, gateway)?;
    let problems = match load(Some(&pushed)) {
        Ok(loaded) => return Ok(loaded),
        Err(problems) => problems,
    };
    // What does not load without the bundle either is not its fault.
    base(folder, gateway, load)?;
    Err(Fault::Bundle(format!("it does not load: {problems}")))
}

/// What is to run without the bundle that is staged or on trial.
pub(super) fn base(
    folder: &Folder,
    gateway: &str,
    load: &impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Base, Fault> {
    let own = |own| Fault::Gateway(format!("the gateway's own configuration does not load: {own}"));
    let Some(slot) = folder.change().running() else {
        return Ok(Base { loaded: load(None).map_err(own)?, bundle: None, trouble: None });
    };
    let pushed = read(folder, slot, gateway).map_err(|fault| Fault::Gateway(fault.into_words()))?;
    with(slot, &pushed, load).map_err(own)
}

/// With a bundle that once stood its trial. Where it does not load any more (another program, a stricter
/// [`FLOOR_FILE`]) and the files do, the files run: a gateway that waited for the old bundle could not be mended by a
/// new one.
fn with(
    slot: Slot,
    pushed: &Pushed,
    load: &impl Fn(Option<&Pushed>) -> Result<Loaded, Problems>,
) -> Result<Base, Problems> {
    match load(Some(pushed)) {
        Ok(loaded) => Ok(Base { loaded, bundle: Some(slot), trouble: None }),
        // If the files alone do not load either, those problems are the ones to mend.
        Err(problems) => Ok(Base {
            loaded: load(None)?,
            bundle: None,
            trouble: Some(format!(
                "bundle {} does not load any more, the files run: {problems}",
                slot.version
            )),
        }),
    }
}

/// A bundle takes no more devices off the list than the floor lets it: whoever holds the keys of the fleet
/// cannot make a ward blind at once.
fn check_removed(before: &Loaded, loaded: &Loaded) -> Result<(), Fault> {
    let ids = |of: &Loaded| -> BTreeSet<String> {
        of.config.devices.iter().map(|device| device.rule.card.id.clone()).collect()
    };
    let (listed, gone) = (ids(before), ids(before).difference(&ids(loaded)).count());
    let most = before.config.floor.most_removed(listed.len());
    if gone <= most {
        return Ok(());
    }
    Err(Fault::Bundle(format!(
        "it takes {gone} of {} devices off the list, and {FLOOR_FILE} of this gateway lets {most} go at once",
        listed.len()
    )))
}

/// Whether the uplink goes elsewhere with a bundle, as somebody else, or trusts others there.
fn is_uplink_another(before: &Loaded, loaded: &Loaded) -> bool {
    let (old, new) = (&before.config.uplink, &loaded.config.uplink);
    let place = |of: &uplink::Config| (of.host.clone(), of.port, of.group.clone());
    let pair = |of: &uplink::Config| (of.authorities.clone(), of.certificate.clone(), of.key.clone());
    place(old) != place(new) || pair(old) != pair(new) || old.revocation != new.revocation
}

/// A bundle that was verified when it came. Who signed it is not asked again: a key that was dropped since
/// does not take a ward's devices away, and the digest in the state says that these are the bytes.
pub(super) fn read(folder: &Folder, slot: Slot, gateway: &str) -> Result<Pushed, Fault> {
    share::of(&bundle(folder, slot)?, gateway).map_err(does_not_load)
}

/// The whole of such a bundle.
pub(super) fn bundle(folder: &Folder, slot: Slot) -> Result<Bundle, Fault> {
    let bytes = folder.bundle(slot).map_err(|error| Fault::Gateway(error.to_string()))?;
    let envelope = Envelope::parse(&bytes, Bundle::CAP).map_err(|fault| does_not_load(fault.to_string()))?;
    Bundle::read(envelope.payload()).map_err(does_not_load)
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn does_not_load(fault: String) -> Fault {
    Fault::Bundle(format!("it does not load: {fault}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{Catalogue, Environment, load_with};
    use crate::fleet::change::Offer;
    use crate::fleet::workshop::{CONFIG, ONLINE, bundle_of, recipient, root};
    use crate::host::atomic_file;

    const GATEWAY: &str = "devices = \"none\"\n[gateway]\norganisation = \"st-anna\"\ngroup = \"icu-3\"\nid = \"gw-1\"\n\
        [uplink]\nhost = \"mqtt.st-anna.example\"\nauthorities = \"ca.pem\"\ncertificate = \"own.pem\"";

    struct Bench {
        place: tempfile::TempDir,
        folder: Folder,
        marks: crate::fleet::trust::Marks,
        /// A device that this program does not let a bundle have.
        refuses: Option<&'static str>,
    }

    impl Bench {
        fn new() -> Self {
            let place = tempfile::tempdir().unwrap();
            atomic_file::write(&place.path().join("gateway.toml"), GATEWAY.as_bytes()).unwrap();
            let root = root(1, &CONFIG, ONLINE, &[1, 2]);
            let path = place.path().join("fleet");
            let (folder, trust) = Folder::enrol(&path, recipient(), "icu-3".to_owned(), &root).unwrap();
            Self { place, folder, marks: trust.marks().clone(), refuses: None }
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

        fn load(&self, pushed: Option<&Pushed>) -> Result<Loaded, Problems> {
            let loaded =
                load_with(self.place.path(), &Environment::default(), &Catalogue::shipped(), pushed)?;
            match devices(&loaded).into_iter().find(|id| self.refuses == Some(id)) {
                Some(id) => Err(Problems::of(FLOOR_FILE, vec!["device"], &format!("does not let {id} be"))),
                None => Ok(loaded),
            }
        }

        /// The staged bundle is to begin: its devices, or in words why not.
        fn begin(&mut self) -> Result<Vec<String>, String> {
            let (mut folder, _) = Folder::open(&self.place.path().join("fleet"), recipient()).unwrap();
            let begun = begin(&mut folder, "gw-1", Baseline::default(), |pushed| self.load(pushed)).unwrap();
            self.folder = folder;
            match begun {
                Begun::Nothing => Err("nothing".to_owned()),
                Begun::Trial(_, loaded) => Ok(devices(&loaded)),
                Begun::Bad(_, reason) => Err(format!("bad: {reason}")),
                Begun::Dropped(_, reason) => Err(format!("dropped: {reason}")),
            }
        }

        /// A start of the daemon: the version that it has, whether on trial, its devices, what was taken back.
        fn start(&mut self) -> (Option<u64>, bool, Vec<String>, String) {
            // What is on the disk is all that a start knows.
            let (mut folder, _) = Folder::open(&self.place.path().join("fleet"), recipient()).unwrap();
            let start = start(&mut folder, "gw-1", |pushed| self.load(pushed)).unwrap();
            self.folder = folder;
            let said: Vec<String> =
                start.taken_back.iter().map(ToString::to_string).chain(start.trouble).collect();
            let taken_back = said.join("; ");
            (start.bundle.map(|slot| slot.version), start.is_trial, devices(&start.loaded), taken_back)
        }

        fn file_of(&self, slot: Slot) -> std::path::PathBuf {
            let digest = slot.sha256.to_string();
            self.place.path().join(format!("fleet/bundle-{}-{}.json", slot.version, &digest[..8]))
        }
    }

    fn devices(loaded: &Loaded) -> Vec<String> {
        loaded.config.devices.iter().map(|device| device.rule.card.id.clone()).collect()
    }

    fn pump(id: &str, gateways: &[&str]) -> Value {
        json!({
            "id": id, "asset": id, "driver": "alaris-asena", "elements": "all", "expects": { "serial": id },
            "port": format!("/dev/serial/by-path/{id}"), "gateways": gateways,
        })
    }

    #[test]
    fn a_bundle_is_tried_kept_and_followed_by_the_next() {
        let mut bench = Bench::new();
        assert_eq!(bench.start(), (None, false, vec![], String::new()));
        assert_eq!(bench.begin(), Err("nothing".to_owned()));
        bench.stage(7, json!([pump("pump-1", &["gw-1"]), pump("pump-2", &["gw-2"])]));
        // A start knows nothing of the roll-out, which may be paused by now.
        assert_eq!(bench.start(), (None, false, vec![], String::new()));
        assert_eq!(bench.begin(), Ok(vec!["pump-1".to_owned()]));
        bench.folder.step(Change::commit).unwrap();
        assert_eq!(bench.start(), (Some(7), false, vec!["pump-1".to_owned()], String::new()));
        bench.stage(8, json!([pump("pump-2", &["gw-1", "gw-2"])]));
        assert_eq!(bench.begin(), Ok(vec!["pump-2".to_owned()]));
        // A power cut while it is on trial, and another one.
        assert_eq!(bench.start(), (Some(8), true, vec!["pump-2".to_owned()], String::new()));
        let (version, is_trial, devices, taken_back) = bench.start();
        assert_eq!((version, is_trial, devices), (Some(7), false, vec!["pump-1".to_owned()]));
        assert!(taken_back.contains("bundle 8 is taken back: it was on trial"), "{taken_back}");
        assert_eq!(bench.start().3, "");
    }

    #[test]
    fn what_does_not_load_is_never_begun_and_what_runs_goes_on() {
        let mut bench = Bench::new();
        bench.stage(7, json!([pump("pump-1", &["gw-1"])]));
        bench.begin().unwrap();
        bench.folder.step(Change::commit).unwrap();
        let mut unknown = pump("pump-2", &["gw-1"]);
        unknown["driver"] = json!("alaris-asenna");
        for (version, devices, words) in [
            (8, json!([unknown]), "device[0].driver"),
            (9, json!([pump("pump-1", &["gw-1"]), pump("pump-1", &["gw-1"])]), "is taken by"),
            (10, json!([{ "gateways": "gw-1" }]), "which gateways have it"),
        ] {
            bench.stage(version, devices.clone());
            let reason = bench.begin().unwrap_err();
            assert!(reason.starts_with("bad: it does not load") && reason.contains(words), "{reason}");
            assert_eq!(bench.start(), (Some(7), false, vec!["pump-1".to_owned()], String::new()));
            let bad = bench.folder.change().bad().last().unwrap();
            assert!(bad.slot.version == version && bad.reason.contains(words), "{bad:?}");
            // The same for one that loaded when it began: another program was started since.
            bench.stage(version + 10, devices);
            bench.folder.step(|change| change.begin(Baseline::default())).unwrap();
            let (running, is_trial, _, taken_back) = bench.start();
            assert_eq!((running, is_trial), (Some(7), false), "{version}");
            assert!(taken_back.contains("does not load") && taken_back.contains(words), "{taken_back}");
            assert_eq!(bench.folder.change().bad().last().unwrap().slot.version, version + 10);
        }
    }

    #[test]
    fn what_this_gateway_could_not_do_leaves_the_bundle_good() {
        let mut bench = Bench::new();
        let config = bench.place.path().join("gateway.toml");
        for is_trial in [false, true] {
            for case in ["missing", "changed", "own configuration"] {
                bench.stage(7, json!([pump("pump-1", &["gw-1"])]));
                let slot = bench.folder.change().staged().unwrap();
                if is_trial {
                    bench.begin().unwrap();
                }
                match case {
                    "missing" => atomic_file::remove(&bench.file_of(slot)).unwrap(),
                    "changed" => atomic_file::write(&bench.file_of(slot), b"{}").unwrap(),
                    _ => atomic_file::write(&config, b"[gateway]").unwrap(),
                }
                if !is_trial {
                    let reason = bench.begin().unwrap_err();
                    assert!(reason.starts_with("dropped: "), "{case}: {reason}");
                } else if case == "own configuration" {
                    let failed = start(&mut bench.folder, "gw-1", |pushed| {
                        load_with(bench.place.path(), &Environment::default(), &Catalogue::shipped(), pushed)
                    });
                    assert!(matches!(failed, Err(StartError::Config(_))));
                } else {
                    let taken_back = bench.start().3;
                    assert!(taken_back.contains("bundle 7 is asked for again"), "{case}: {taken_back}");
                }
                atomic_file::write(&config, GATEWAY.as_bytes()).unwrap();
                let change = bench.folder.change();
                assert_eq!((change.offered(slot), change.effective()), (Offer::New, None), "{case}");
            }
        }
    }

    /// Another program, or another floor on the gateway: what stood its trial is not let any more.
    #[test]
    fn a_bundle_that_does_not_load_any_more_is_mended_by_the_next() {
        let mut bench = Bench::new();
        let (stands, refused) = (pump("pump-1", &["gw-1"]), pump("pump-2", &["gw-1"]));
        bench.stage(7, json!([stands, refused]));
        bench.begin().unwrap();
        bench.folder.step(Change::commit).unwrap();
        bench.refuses = Some("pump-2");
        let (version, is_trial, devices, told) = bench.start();
        assert_eq!((version, is_trial, devices), (None, false, vec![]));
        assert!(told.contains("bundle 7 does not load any more, the files run"), "{told}");
        // One that does not mend it is bad for what is in it, not asked for again for ever.
        bench.stage(8, json!([refused]));
        let reason = bench.begin().unwrap_err();
        assert!(reason.starts_with("bad: it does not load"), "{reason}");
        bench.stage(9, json!([stands]));
        assert_eq!(bench.begin(), Ok(vec!["pump-1".to_owned()]));
        bench.folder.step(Change::commit).unwrap();
        assert_eq!(bench.start(), (Some(9), false, vec!["pump-1".to_owned()], String::new()));
    }

    #[test]
    fn a_running_bundle_that_was_changed_on_the_disk_stops_the_start() {
        let mut bench = Bench::new();
        bench.stage(7, json!([pump("pump-1", &["gw-1"])]));
        bench.begin().unwrap();
        let slot = bench.folder.step(Change::commit).unwrap().unwrap();
        atomic_file::write(&bench.file_of(slot), b"{}").unwrap();
        let never = |_: Option<&Pushed>| -> Result<Loaded, Problems> { panic!("nothing is loaded") };
        let fault = start(&mut bench.folder, "gw-1", never).unwrap_err().to_string();
        assert!(fault.contains("it was changed on the disk"), "{fault}");
    }
}
