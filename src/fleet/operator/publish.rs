//! `wardline-fleet publish`: a bundle that enough keys have signed becomes the one that is current.
//!
//! What goes out is looked at through the eyes of every member before it does, by the gateway's own verifier.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::folder::{Fleet, last};
use super::walk::{self, Eyes, bundle_file, root_file, timestamp_file};
use super::{At, Signer, after_days, at, guard, now, refused};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::{
    Bundle, Digest, Document as _, Head, MAX_TIMESTAMP_LIFE_MS, Role, RoleKind, Rollout, Root, SCHEMA, Stamp,
    Timestamp, Wave,
};
use crate::fleet::dsse::Envelope;
use crate::fleet::trust::Recipient;
use crate::host::atomic_file;
use crate::time::{Now, Wall};

const HOUR_MS: i64 = 60 * 60 * 1_000;
/// The shares of a roll-out, in percent, when nobody says.
const WAVES: [u16; 4] = [1, 5, 25, 100];

/// Make a bundle the current one, and write everything that a gateway needs to know it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline-fleet publish --group icu-3 --canary gw-1 --to /media/stick /srv/fleet\n  \
    wardline-fleet publish --group icu-3 --to /media/stick /srv/fleet    the same bundle again, before 48 hours are over\n\n\
    The folder has the layout of the topics: root/1.json, g/icu-3/ts.json, g/icu-3/bundle/7.json.")]
pub(super) struct Publish {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    group: String,
    /// The folder that is written to, beside the fleet's own copy.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The bundle; the newest when nothing is said.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// A gateway that goes first; as often as given.
    #[arg(long, value_name = "GATEWAY")]
    canary: Vec<String>,
    /// The share of a wave in percent; as often as given. [default: 1 5 25 100]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u16).range(1..=100))]
    wave: Vec<u16>,
    /// Hours between the waves.
    #[arg(long, value_name = "HOURS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(0..=168))]
    every: u16,
    /// Whoever has not begun waits.
    #[arg(long)]
    paused: bool,
    /// For how many hours the timestamp speaks.
    #[arg(long, value_name = "HOURS", default_value_t = 48, value_parser = clap::value_parser!(u16).range(1..=72))]
    hours: u16,
    #[command(flatten)]
    signer: Signer,
    /// Yes, so many devices are taken off the allowlist.
    #[arg(long, value_name = "N")]
    yes_remove: Option<usize>,
    /// Yes, though the root or the bundle expires within 14 days.
    #[arg(long)]
    yes_expires_soon: bool,
    #[command(flatten)]
    at: At,
    /// The fleet's folder.
    folder: PathBuf,
}

/// What goes out: by file, in the order in which it is written.
type Documents = Vec<(String, Vec<u8>)>;

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let root = fleet.root()?;
        let group = &self.group;
        let version = self.version.or(fleet.newest(group)?).ok_or_else(|| {
            refused(format!(
                "no bundle of {group} was signed yet: bundle new, sign and countersign come first"
            ))
        })?;
        let (envelope, bundle) = fleet.bundle(group, version)?;
        if bundle.version != version {
            return Err(refused(format!(
                "bundle-{version}.json holds bundle {}: it was renamed",
                bundle.version
            )));
        }
        let now = now(self.at.moment())?;
        self.judge(&fleet, &root, (&envelope, &bundle), now.wall)?;
        let bytes = envelope.to_bytes();
        let head = Head { version, sha256: Digest::of(&bytes), root: root.version };
        let timestamp = self.timestamp(&fleet, head, &bundle, now.wall)?;
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
        let documents = documents(&fleet, &root, &bundle, bytes, stamped.to_bytes())?;
        by_every_member(&documents, &bundle, now)?;
        // First the fleet's own copy: a number that may have gone out is never given twice.
        for place in [&fleet.published(), &self.to] {
            write(place, &documents)?;
        }
        self.tell(&timestamp, &bundle)
    }

    /// Mistakes that are caught before a gateway sees them.
    fn judge(
        &self,
        fleet: &Fleet,
        root: &Root,
        (envelope, bundle): (&Envelope, &Bundle),
        now: Wall,
    ) -> Result<(), Failure> {
        guard::valid(bundle, &self.group, fleet)?;
        let Role { keys, threshold } = root.role(RoleKind::Config);
        let have = envelope.signers(keys).len();
        if have < *threshold {
            return Err(refused(format!(
                "bundle {} is signed by {have} of the {threshold} config keys that root {} wants: `bundle countersign` with {} more",
                bundle.version,
                root.version,
                threshold.saturating_sub(have)
            )));
        }
        let soon = self.yes_expires_soon;
        guard::expiry(
            &format!("root {}", root.version),
            root.expires,
            now,
            soon,
            "the root keys must sign the next root",
        )?;
        let what = format!("bundle {}", bundle.version);
        guard::expiry(&what, bundle.expires, now, soon, "`bundle new` with a later `expires`")?;
        for (whose, last) in
            [("the fleet", fleet.last(&self.group)?), ("the folder", last(&self.to, &self.group)?)]
        {
            if let Some(last) = last.filter(|last| last.head.version > bundle.version) {
                return Err(refused(format!(
                    "bundle {} is not higher than {}, the last one published in {whose}: gateways take no older one; \
                     put the old content into a new draft",
                    bundle.version, last.head.version
                )));
            }
        }
        if bundle.not_before.0 > now {
            return Err(refused(format!(
                "bundle {} holds from {} on: publish it then, or give the next draft an earlier `not_before`",
                bundle.version, bundle.not_before.0
            )));
        }
        let diff = super::diff::diff(fleet.last_bundle(&self.group)?.as_ref(), bundle);
        guard::removal(&diff, self.yes_remove)?;
        match self.canary.iter().find(|canary| !bundle.members.contains(canary)) {
            Some(stranger) => {
                Err(refused(format!("canary {stranger:?} is no member of bundle {}", bundle.version)))
            }
            None => Ok(()),
        }
    }

    fn timestamp(&self, fleet: &Fleet, head: Head, bundle: &Bundle, now: Wall) -> Result<Timestamp, Failure> {
        let own = fleet.last(&self.group)?;
        let there = last(&self.to, &self.group)?;
        let version = [&own, &there].into_iter().flatten().map(|last| last.version).max().unwrap_or(0);
        let again = own.filter(|own| {
            own.head.version == bundle.version && self.canary.is_empty() && self.wave.is_empty()
        });
        let rollout = match again {
            // The same bundle once more: whoever had his turn keeps it.
            Some(own) => Rollout { paused: self.paused, ..own.rollout },
            None => self.rollout(bundle, now)?,
        };
        let life = i64::from(self.hours).saturating_mul(HOUR_MS).min(MAX_TIMESTAMP_LIFE_MS);
        Ok(Timestamp {
            schema: SCHEMA,
            organisation: bundle.organisation.clone(),
            group: bundle.group.clone(),
            version: version.saturating_add(1),
            issued_at: Stamp(whole_second(now)),
            expires: Stamp(whole_second(Wall::from_millis(now.as_millis().saturating_add(life)))),
            head,
            rollout,
        })
    }

    /// Canaries at once, the first wave an hour after them.
    fn rollout(&self, bundle: &Bundle, now: Wall) -> Result<Rollout, Failure> {
        let shares = if self.wave.is_empty() { &WAVES[..] } else { &self.wave };
        if !shares.is_sorted_by(|one, next| one < next) {
            return Err(refused(
                "the waves do not grow: give them in rising order, for instance --wave 10 --wave 100",
            ));
        }
        let first = i64::from(!self.canary.is_empty());
        let starts = (first..).map(|place| {
            let later = place.saturating_mul(i64::from(self.every)).saturating_mul(HOUR_MS);
            Stamp(whole_second(Wall::from_millis(now.as_millis().saturating_add(later))))
        });
        let waves = shares
            .iter()
            .zip(starts)
            .map(|(percent, start)| Wave { share: percent.saturating_mul(100), start });
        Ok(Rollout {
            id: format!("r-{}", bundle.version),
            canaries: self.canary.clone(),
            waves: waves.collect(),
            paused: self.paused,
        })
    }

    fn tell(&self, timestamp: &Timestamp, bundle: &Bundle) -> Result<(), Failure> {
        let mut out = out::stdout();
        let Rollout { canaries, waves, paused, .. } = &timestamp.rollout;
        out.line(format_args!(
            "bundle {} of {} is current until {}: {}",
            bundle.version,
            self.group,
            timestamp.expires.0,
            self.to.display()
        ))?;
        if !canaries.is_empty() {
            out.line(format_args!("at once: {}", canaries.join(", ")))?;
        }
        for wave in waves {
            out.line(format_args!("{} % from {}", f64::from(wave.share) / 100.0, wave.start.0))?;
        }
        if *paused {
            out.line(format_args!("paused: whoever has not begun waits"))?;
        }
        Ok(out.finish()?)
    }
}

fn whole_second(wall: Wall) -> Wall {
    after_days(wall, 0).0
}

/// Every root, the bundle, and last the timestamp that names it.
fn documents(
    fleet: &Fleet,
    root: &Root,
    bundle: &Bundle,
    bytes: Vec<u8>,
    stamped: Vec<u8>,
) -> Result<Documents, Failure> {
    let published = fleet.published();
    let source = walk::folder(&published);
    let mut documents = Vec::new();
    for version in 1..=root.version {
        let file = root_file(version);
        let root = source(&file, Root::CAP)?.ok_or_else(|| refused(format!("{file} is not there")))?;
        documents.push((file, root));
    }
    documents.push((bundle_file(&bundle.group, bundle.version), bytes));
    documents.push((timestamp_file(&bundle.group), stamped));
    Ok(documents)
}

/// Each member would believe it all.
fn by_every_member(documents: &Documents, bundle: &Bundle, now: Now) -> Result<(), Failure> {
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

/// What is there under the same name must be the same, but for the timestamp.
fn write(place: &Path, documents: &Documents) -> Result<(), Failure> {
    let source = walk::folder(place);
    let is_stamp = |file: &str| file.ends_with("/ts.json");
    for (file, bytes) in documents {
        if !is_stamp(file) && source(file, Bundle::CAP)?.is_some_and(|there| there != *bytes) {
            return Err(refused(format!(
                "{} has another content than what is published: it is of another fleet, or was changed; nothing is overwritten",
                place.join(file).display()
            )));
        }
    }
    for (file, bytes) in documents {
        let path = place.join(file);
        atomic_file::create_folder(path.parent().unwrap_or(place)).map_err(at)?;
        if is_stamp(file) || !path.exists() {
            atomic_file::write(&path, bytes).map_err(at)?;
        }
    }
    Ok(())
}
