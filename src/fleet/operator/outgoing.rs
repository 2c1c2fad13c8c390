//! What goes out: every root, a bundle, and a timestamp that is signed for it here and now.
//!
//! In: a bundle that enough keys have signed, and a roll-out. Out: documents in the fleet's own copy and wherever
//! else they are wanted. What never happens: one of them is written before every place has been looked at and every
//! member would believe them all; a number that was not signed for counts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::advisory;
use super::broker::Connection;
use super::folder::{Fleet, last};
use super::walk::{self, Eyes, bundle_file, root_file, timestamp_file};
use super::{PROGRAM, SignedAt, Signer, after_days, at, refused};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::{
    Bundle, Digest, Document as _, Head, MAX_TIMESTAMP_LIFE_MS, RoleKind, Rollout, Root, SCHEMA, Stamp,
    Timestamp,
};
use crate::fleet::dsse::Envelope;
use crate::fleet::trust::Recipient;
use crate::host::atomic_file;
use crate::time::{Now, Wall};

const HOUR_MS: i64 = 60 * 60 * 1_000;

/// What goes out: by file, in the order in which it is written: every root, the advisories, the bundle, and last the
/// timestamp.
pub(super) type Documents = Vec<(String, Vec<u8>)>;

/// How a timestamp is signed and where it goes.
#[derive(Debug, Args)]
pub(super) struct Outgoing {
    /// A folder that is written to beside the fleet's own copy: a stick.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Bring it to the broker of broker.toml at once.
    #[arg(long)]
    push: bool,
    /// For how many hours the timestamp speaks.
    #[arg(long, value_name = "HOURS", default_value_t = 48, value_parser = clap::value_parser!(u16).range(1..=72))]
    hours: u16,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    at: SignedAt,
}

impl Outgoing {
    pub(super) fn now(&self) -> Result<Now, Failure> {
        self.at.now()
    }

    /// The timestamp of a group in the folder that is written to. One that is not believed counts for nothing.
    pub(super) fn there(&self, group: &str, root: &Root) -> Result<Option<Timestamp>, Failure> {
        let Some(to) = &self.to else { return Ok(None) };
        match last(to, group, std::slice::from_ref(root))? {
            None => Ok(None),
            Some(Ok(stamp)) => Ok(Some(stamp)),
            Some(Err(why)) => {
                let file = to.join(timestamp_file(group));
                out::remark_of(PROGRAM, format_args!("{} {why}: it is replaced", file.display()));
                Ok(None)
            }
        }
    }

    /// Signs that a bundle is current under this roll-out, and writes everything that a gateway needs to know it.
    pub(super) fn release(
        &self,
        fleet: &Fleet,
        root: &Root,
        (envelope, bundle): (&Envelope, &Bundle),
        rollout: Rollout,
    ) -> Result<Timestamp, Failure> {
        let now = self.now()?;
        let bytes = envelope.to_bytes();
        let head = Head { version: bundle.version, sha256: Digest::of(&bytes), root: root.version };
        let own = fleet.last(&bundle.group)?;
        // The same bundle once more: who believes it does so already, and a pause waits for nobody's guard.
        let is_again = own.as_ref().is_some_and(|own| own.head.sha256 == head.sha256);
        let there = self.there(&bundle.group, root)?;
        let version = [&own, &there].into_iter().flatten().map(|last| last.version).max().unwrap_or(0);
        let life = i64::from(self.hours).saturating_mul(HOUR_MS).min(MAX_TIMESTAMP_LIFE_MS);
        let timestamp = Timestamp {
            schema: SCHEMA,
            organisation: bundle.organisation.clone(),
            group: bundle.group.clone(),
            version: version.saturating_add(1),
            issued_at: Stamp(whole_second(now.wall)),
            expires: Stamp(whole_second(Wall::from_millis(now.wall.as_millis().saturating_add(life)))),
            head,
            rollout,
        };
        let key = self.signer.open(fleet.path())?;
        if !root.role(RoleKind::Timestamp).keys.contains(&key.public()) {
            return Err(refused(format!(
                "{} is no timestamp key of root {}",
                self.signer.name(),
                root.version
            )));
        }
        let payload = serde_json::to_vec_pretty(&timestamp).map_err(io::Error::other)?;
        let mut stamped = Envelope::new(Timestamp::PAYLOAD_TYPE, payload);
        stamped.sign(&key);
        let mut documents = roots(fleet, root.version)?;
        // Whoever has the bundle asks for these.
        documents.extend(advisory::documents(fleet, bundle)?);
        documents.push((bundle_file(&bundle.group, bundle.version), bytes));
        documents.push((timestamp_file(&bundle.group), stamped.to_bytes()));
        if is_again {
            let bytes = stamped.to_bytes();
            walk::stamp(&bytes, std::slice::from_ref(root), &bundle.group)
                .map_err(|why| refused(format!("a gateway would refuse the timestamp: it {why}")))?;
        } else {
            by_every_member(&documents, bundle, now)?;
        }
        let published = fleet.published();
        // First the fleet's own copy: a number that may have gone out is never given twice.
        let places: Vec<&Path> = std::iter::once(published.as_path()).chain(self.to.as_deref()).collect();
        for place in &places {
            fits(place, &documents)?;
        }
        for place in places {
            write(place, &documents)?;
        }
        Ok(timestamp)
    }

    /// Says what is current and where it went, and brings it to the broker where that is wanted.
    pub(super) fn tell(
        &self,
        fleet: &Fleet,
        timestamp: &Timestamp,
        removed: Option<usize>,
    ) -> Result<(), Failure> {
        let published = fleet.published();
        let Timestamp { group, head, expires, rollout, .. } = timestamp;
        let mut out = out::stdout();
        out.line(format_args!(
            "bundle {} of {group} is current until {}: {}",
            head.version,
            expires.0,
            self.to.as_ref().unwrap_or(&published).display()
        ))?;
        for line in lines(rollout) {
            out.line(format_args!("{line}"))?;
        }
        if self.to.is_none() && !self.push {
            out.line(format_args!("next: wardline-fleet push --group {group} {}", fleet.path().display()))?;
        }
        if self.push {
            out.finish()?;
            out = out::stdout();
            for line in self.push(fleet, group, removed)? {
                out.line(format_args!("{line}"))?;
            }
        }
        Ok(out.finish()?)
    }

    /// Brings what is published to the broker, where that is wanted; gives what was done, in words.
    pub(super) fn push(
        &self,
        fleet: &Fleet,
        group: &str,
        removed: Option<usize>,
    ) -> Result<Vec<String>, Failure> {
        if !self.push {
            return Ok(Vec::new());
        }
        super::push::now(fleet, group, &Connection::default().settings(fleet.path())?, removed)
    }

    /// Whether the broker is told.
    pub(super) const fn pushes(&self) -> bool {
        self.push
    }

    /// Where it is written to beside the fleet's own copy.
    pub(super) fn to(&self) -> Option<&Path> {
        self.to.as_deref()
    }
}

/// A roll-out in words.
fn lines(rollout: &Rollout) -> Vec<String> {
    let Rollout { canaries, waves, paused, .. } = rollout;
    let mut lines = Vec::new();
    if !canaries.is_empty() {
        lines.push(format!("at once: {}", canaries.join(", ")));
    }
    lines.extend(
        waves.iter().map(|wave| format!("{} % from {}", f64::from(wave.share) / 100.0, wave.start.0)),
    );
    if *paused {
        lines.push("paused: whoever has not begun waits".to_owned());
    }
    lines
}

fn whole_second(wall: Wall) -> Wall {
    after_days(wall, 0).0
}

/// Every root up to one, as they went out.
pub(super) fn roots(fleet: &Fleet, newest: u64) -> Result<Documents, Failure> {
    let published = fleet.published();
    let source = walk::folder(&published);
    let read = |version| {
        let file = root_file(version);
        let root = source(&file, Root::CAP)?.ok_or_else(|| refused(format!("{file} is not there")))?;
        Ok((file, root))
    };
    (1..=newest).map(read).collect()
}

/// Each member would believe it all.
pub(super) fn by_every_member(documents: &Documents, bundle: &Bundle, now: Now) -> Result<(), Failure> {
    let by_file: BTreeMap<&str, &Vec<u8>> =
        documents.iter().map(|(file, bytes)| (file.as_str(), bytes)).collect();
    let source = |file: &str, _: usize| Ok(by_file.get(file).map(|bytes| (*bytes).clone()));
    for gateway in &bundle.members {
        let recipient = Recipient { organisation: bundle.organisation.clone(), gateway: gateway.clone() };
        let eyes = Eyes { recipient, group: bundle.group.clone(), root: None, now };
        if let Some(said) = walk::walk(&source, eyes)?.refused() {
            return Err(refused(format!("{gateway} would refuse {}: {}", said.file, said.says)));
        }
    }
    Ok(())
}

fn is_stamp(file: &str) -> bool {
    file.ends_with("/ts.json")
}

/// What is there under the same name must be the same, but for the timestamp.
fn fits(place: &Path, documents: &Documents) -> Result<(), Failure> {
    let source = walk::folder(place);
    for (file, bytes) in documents.iter().filter(|(file, _)| !is_stamp(file)) {
        if source(file, Bundle::CAP)?.is_some_and(|there| there != *bytes) {
            return Err(refused(format!(
                "{} has another content than what is published: it is of another fleet, or was changed; nothing is overwritten",
                place.join(file).display()
            )));
        }
    }
    Ok(())
}

fn write(place: &Path, documents: &Documents) -> Result<(), Failure> {
    for (file, bytes) in documents {
        let path = place.join(file);
        atomic_file::create_folder(path.parent().unwrap_or(place)).map_err(at)?;
        if is_stamp(file) || !path.exists() {
            atomic_file::write(&path, bytes).map_err(at)?;
        }
    }
    Ok(())
}
