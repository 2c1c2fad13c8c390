//! What a gateway believes of the fleet: one folder of `fleet/attacks` for each attack of the TUF specification,
//! section 1.5.2, signed by somebody else's program (`fleet/make_attacks.py`).

#![expect(clippy::tests_outside_test_module, reason = "the whole file is one")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wardline::fleet::refusal::Refusal;
use wardline::fleet::trust::{Current, Recipient, Trust};
use wardline::time::{ClockSync, Mono, Now, Wall};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Story {
    says: String,
    organisation: String,
    group: String,
    gateway: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    offer: String,
    file: String,
    at: String,
    synced: bool,
    #[serde(default)]
    refused: Option<String>,
    #[serde(default)]
    attack: String,
}

/// A gateway, before and after it was given a root.
struct Gateway {
    story: Story,
    trust: Option<Trust>,
    current: Option<Current>,
}

impl Gateway {
    fn offered(&mut self, step: &Step, bytes: &[u8]) -> Result<(), Refusal> {
        let sync = if step.synced { ClockSync::Synced } else { ClockSync::Unsynced };
        let now = Now { mono: Mono::default(), wall: Wall::read(&step.at).unwrap(), sync, max_error_us: 0 };
        let Some(trust) = &mut self.trust else {
            let Story { organisation, group, gateway, .. } = &self.story;
            let recipient = Recipient { organisation: organisation.clone(), gateway: gateway.clone() };
            self.trust = Some(Trust::enrol(recipient, group.clone(), bytes)?);
            return Ok(());
        };
        match step.offer.as_str() {
            "root" => trust.root_offered(bytes).map(drop),
            "timestamp" => {
                self.current = Some(trust.timestamp_offered(bytes, &now)?);
                Ok(())
            }
            "bundle" => trust.bundle_offered(bytes, self.current.as_ref().unwrap(), &now).map(drop),
            other => panic!("{other}"),
        }
    }
}

/// What is wrong with how a gateway meets one story.
fn told(folder: &Path) -> Vec<String> {
    let mut story: Story = serde_json::from_slice(&fs::read(folder.join("story.json")).unwrap()).unwrap();
    assert!(!story.says.is_empty());
    let steps = std::mem::take(&mut story.steps);
    let mut gateway = Gateway { story, trust: None, current: None };
    let mut wrong = Vec::new();
    if steps.iter().all(|step| step.refused.is_none()) {
        wrong.push(format!("{}: nothing of it is refused, so it is no attack", folder.display()));
    }
    for step in &steps {
        let bytes = fs::read(folder.join(&step.file)).unwrap();
        let before = gateway.trust.as_ref().map(|trust| trust.marks().clone());
        let outcome = gateway.offered(step, &bytes);
        let after = gateway.trust.as_ref().map(|trust| trust.marks().clone());
        let is_as_told = match (&outcome, &step.refused) {
            (Ok(()), None) => true,
            (Err(refusal), Some(words)) => {
                let attack = refusal.why.attack().unwrap_or_default();
                // What is refused leaves no mark.
                refusal.to_string().contains(words) && attack == step.attack && before == after
            }
            _ => false,
        };
        if !is_as_told {
            wrong.push(format!("{}/{}: {outcome:?}, not {:?}", folder.display(), step.file, step.refused));
        }
    }
    wrong
}

fn folders() -> Vec<PathBuf> {
    let attacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fleet/attacks");
    let mut folders: Vec<_> = fs::read_dir(attacks).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

#[test]
fn every_attack_is_refused_with_its_name_and_leaves_no_mark() {
    let wrong: Vec<String> = folders().iter().flat_map(|folder| told(folder)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_attack_of_the_specification_has_its_folder() {
    let names: Vec<_> = folders().iter().map(|folder| folder.file_name().unwrap().to_owned()).collect();
    let of_the_specification = [
        "arbitrary-installation",
        "endless-data",
        "fast-forward",
        "indefinite-freeze",
        "key-compromise",
        "mix-and-match",
        "rollback",
        "wrong-recipient",
    ];
    for attack in of_the_specification {
        assert!(names.iter().any(|name| name == attack), "{attack}");
    }
}
