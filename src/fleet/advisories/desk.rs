//! Where the advisories of the bundle that runs lie: whoever fetches documents puts them here, and whoever takes stock
//! reads them here.
//!
//! In: a bundle, documents from anywhere. Out: which documents are still wanted, what they say of devices. Behind a
//! lock that is held for as long as one document is read and kept, or all devices are judged: both are work for a thread
//! that may wait. The line from the devices to the store never asks for it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Policy;
use super::inventory::Device;
use super::library::{Entry, Judged, Library, NotTaken};
use crate::fleet::documents::inventory::Advisories;
use crate::fleet::documents::{Bundle, Digest};
use crate::fleet::topics::{Topic, What};
use crate::time::Wall;

/// The advisories of one gateway. Every copy is the same desk.
#[derive(Clone, Default)]
pub struct Desk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Apart, so that nobody waits for the disk who only wants to know whether there is anything new.
    generation: AtomicU64,
}

#[derive(Default)]
struct State {
    library: Library,
    policy: Policy,
    organisation: String,
    /// Whether it is known which bundle runs.
    is_told: bool,
    /// Where documents are kept; none: nowhere.
    folder: Option<PathBuf>,
}

/// What the advisories say at one moment.
#[derive(Clone, Debug)]
pub struct Opinion {
    /// The verdicts that somebody should look at.
    pub judged: Vec<Judged>,
    /// Which documents have been looked into.
    pub advisories: Advisories,
    /// Whether all documents of the bundle that runs have come.
    pub is_settled: bool,
    /// Devices that stay in quarantine, as what would lift it is not known.
    pub kept: Vec<String>,
}

impl Desk {
    /// A desk that keeps its documents in the fleet's folder.
    pub fn in_folder(folder: PathBuf) -> Self {
        let state = State { folder: Some(folder), ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), ..Shared::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A document that panics its reader has not been taken.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this bundle runs. Reads what the folder keeps of its advisories, so it blocks. Gives what is wrong
    /// with the folder, in words.
    pub fn handle_bundle(&self, bundle: &Bundle) -> Vec<String> {
        let mut state = self.lock();
        state.library.name(&bundle.advisories);
        state.is_told = true;
        state.policy = bundle.advisory_policy.clone();
        state.organisation.clone_from(&bundle.organisation);
        let wrong = state.folder.clone().map(|folder| state.library.load(&folder)).unwrap_or_default();
        self.is_new();
        wrong
    }

    /// Which documents are still to be fetched, at most so many: by digest, and the topic that each is retained on. On
    /// a stick each is `advisory/{sha256}.json`.
    pub fn wanted(&self, most: usize) -> Vec<(Digest, String)> {
        let state = self.lock();
        let topic = |digest| {
            let topic = Topic::new(&state.organisation, What::Advisory(digest))?;
            Some((digest, topic.to_string()))
        };
        state.library.wanted().filter_map(topic).take(most).collect()
    }

    /// Takes a document, wherever it comes from, and keeps it. `true`: it is new. Blocks while it is written.
    pub fn handle_document(&self, bytes: &[u8]) -> io::Result<Result<bool, NotTaken>> {
        let mut state = self.lock();
        let taken = match state.folder.clone() {
            Some(folder) => state.library.keep(&folder, bytes),
            None => Ok(state.library.handle_document(bytes)),
        };
        // One that cannot be kept, or cannot be read, is something new all the same.
        if !matches!(taken, Ok(Ok(false) | Err(NotTaken::Unnamed(_) | NotTaken::TooLong(_)))) {
            self.is_new();
        }
        taken
    }

    /// Goes up with everything that may change a judgement.
    pub fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    fn is_new(&self) {
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    /// What the advisories say of devices, which have been looked into, and which of those `held` (device, advisory) stay
    /// in quarantine though nothing judged now wants it. All of one moment: a document that comes meanwhile is in all of
    /// it or in nothing.
    pub fn look<'h>(
        &self,
        devices: &[Device],
        now: Option<Wall>,
        held: impl IntoIterator<Item = (&'h str, &'h str)>,
    ) -> Opinion {
        let state = self.lock();
        let mut advisories = Advisories::default();
        for (digest, entry) in state.library.entries() {
            match entry {
                Entry::Missing => advisories.missing.push(digest),
                Entry::Unreadable(_) => advisories.unreadable.push(digest),
                Entry::Read(_) => advisories.read.push(digest),
            }
        }
        let judged = state.library.judge(devices, &state.policy, now);
        let stays = |(id, advisory): &(&str, &str)| {
            let device = devices.iter().find(|device| device.id == *id);
            device.is_some_and(|device| {
                state.keeps(advisory, device, now)
                    || now.is_none() && state.is_unclear(advisory, device, &judged)
            })
        };
        let kept = held.into_iter().filter(stays).map(|(id, _)| id.to_owned()).collect();
        Opinion { is_settled: state.is_settled(), judged, advisories, kept }
    }
}

impl State {
    /// Whether a device that was in quarantine by an advisory stays so, as what would lift it is not known yet: the
    /// bundle that runs cannot be read, or documents that it names are missing, one of which may be a newer version of
    /// that advisory. A document that is there and cannot be read keeps nothing.
    fn keeps(&self, advisory: &str, device: &Device, now: Option<Wall>) -> bool {
        if !self.is_told {
            return self.folder.is_some();
        }
        let is = |found: fn(&Entry<'_>, &str) -> bool| {
            self.library.entries().any(|(_, entry)| found(&entry, advisory))
        };
        let is_missing = is(|entry, _| matches!(entry, Entry::Missing));
        let is_read = is(|entry, id| matches!(entry, Entry::Read(advisory) if advisory.id == id));
        is_missing && !is_read && self.policy.would_keep_out(advisory, device, now)
    }

    /// Whether only the time says if a quarantine is waived: what stands is not lifted because nobody knows it.
    fn is_unclear(&self, advisory: &str, device: &Device, judged: &[Judged]) -> bool {
        judged.iter().any(|Judged { finding, .. }| {
            finding.device == device.id
                && finding.advisory == advisory
                && self.policy.wants_quarantine(finding, device)
        })
    }

    /// Whether all documents of the bundle that runs have come: until then what is not found may still be.
    fn is_settled(&self) -> bool {
        self.is_told && self.library.wanted().next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::Document as _;

    const PUMP: &[u8] = include_bytes!("../../../tests/data/csaf/icsma-17-017-02.json");

    fn bundle() -> Bundle {
        let bundle = serde_json::json!({
            "schema": 1, "organisation": "st-anna", "group": "icu-3", "version": 7, "min_agent": "0.1.0",
            "not_before": "2026-11-01T00:00:00Z", "expires": "2027-11-01T00:00:00Z", "members": ["gw-1"],
            "advisories": [Digest::of(PUMP).to_string()],
        });
        Bundle::read(&serde_json::to_vec(&bundle).unwrap()).unwrap()
    }

    #[test]
    fn what_a_bundle_names_is_asked_for_by_topic_and_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::in_folder(folder.path().to_owned());
        assert_eq!(desk.handle_bundle(&bundle()), Vec::<String>::new());
        let topic = format!("c/v1/st-anna/advisory/{}", Digest::of(PUMP));
        assert_eq!(desk.wanted(5), [(Digest::of(PUMP), topic)]);
        assert!(desk.wanted(0).is_empty());
        let before = desk.generation();
        assert!(desk.handle_document(b"{}").unwrap().is_err());
        assert_eq!(desk.generation(), before);
        assert_eq!(desk.handle_document(PUMP).unwrap(), Ok(true));
        assert_ne!(desk.generation(), before);
        assert!(desk.wanted(5).is_empty());
        let again = Desk::in_folder(folder.path().to_owned());
        assert_eq!(again.handle_bundle(&bundle()), Vec::<String>::new());
        let device = Device {
            id: "pc".to_owned(),
            make: Some("Alaris".to_owned()),
            model: Some("8015 PC unit".to_owned()),
            firmware: Some("9.7".to_owned()),
            ..Device::default()
        };
        let seen = again.look(&[device], None, []);
        assert_eq!((seen.judged.len(), seen.advisories.read.len()), (1, 1));
    }

    #[test]
    fn a_quarantine_stays_while_what_would_lift_it_has_not_come() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::in_folder(folder.path().to_owned());
        let pump = Device { id: "pump".to_owned(), ..Device::default() };
        let keeps = |desk: &Desk, advisory: &str| {
            let now = Wall::read("2026-11-22T12:00:00Z");
            desk.look(std::slice::from_ref(&pump), now, [("pump", advisory)]).kept == ["pump"]
        };
        assert!(keeps(&desk, "ICSMA-17-017-02"), "which bundle runs is not known");
        assert!(!keeps(&Desk::default(), "ICSMA-17-017-02"), "a gateway that is in no fleet");
        assert_eq!(desk.handle_bundle(&bundle()), Vec::<String>::new());
        assert!(!keeps(&desk, "ICSMA-17-017-02"), "no rule wants it any more");
        let rule = serde_json::json!({"for": {"device": "pump"}, "reason": "r", "by": "b"});
        let waiver = serde_json::json!({
            "advisory": "ICSMA-99-1", "for": {"device": "pump"}, "until": "2027-01-01T00:00:00Z", "reason": "r", "by": "b",
        });
        let policy = serde_json::json!({"quarantine": [rule], "waivers": [waiver]});
        let bundle = Bundle { advisory_policy: serde_json::from_value(policy).unwrap(), ..bundle() };
        desk.handle_bundle(&bundle);
        assert!(keeps(&desk, "ICSMA-17-017-02") && !desk.lock().is_settled());
        assert!(!keeps(&desk, "ICSMA-99-1"), "a person takes the risk");
        assert_eq!(desk.handle_document(PUMP).unwrap(), Ok(true));
        assert!(!keeps(&desk, "ICSMA-17-017-02"), "it is there, and judged by itself");
        assert!(!keeps(&desk, "ICSMA-18-1") && desk.lock().is_settled(), "all have come");
    }

    /// After a power cut without a clock a waiver that is over cannot be told from one that is not.
    #[test]
    fn a_quarantine_that_stands_is_not_lifted_because_the_time_is_not_known() {
        let advisory = "ICSMA-17-017-02";
        let device = |model: &str| Device {
            id: "pc".to_owned(),
            make: Some("Alaris".to_owned()),
            model: Some(model.to_owned()),
            firmware: Some("9.7".to_owned()),
            ..Device::default()
        };
        let rule = serde_json::json!({"for": {"device": "pc"}, "reason": "r", "by": "b"});
        let waiver = serde_json::json!({
            "advisory": advisory, "for": {"device": "pc"}, "until": "2026-11-20T00:00:00Z", "reason": "r", "by": "b",
        });
        let policy = serde_json::json!({"quarantine": [rule], "waivers": [waiver]});
        let desk = Desk::default();
        desk.handle_bundle(&Bundle { advisory_policy: serde_json::from_value(policy).unwrap(), ..bundle() });
        assert_eq!(desk.handle_document(PUMP).unwrap(), Ok(true));
        let kept = |model: &str, now: Option<Wall>| desk.look(&[device(model)], now, [("pc", advisory)]).kept;
        assert_eq!(kept("8015 PC unit", None), ["pc"]);
        assert!(desk.look(&[device("8015 PC unit")], None, []).kept.is_empty(), "none begins by it");
        // The waiver runs: a person takes the risk.
        assert!(kept("8015 PC unit", Wall::read("2026-11-19T00:00:00Z")).is_empty());
        assert!(kept("a scale", None).is_empty(), "the advisory is not about this one");
    }
}
