//! `wardline-fleet bundle`: from a draft to a bundle that enough keys have signed.
//!
//! With `--json`, `check` prints `{"valid": bool, "problems": [{"gateway", "reason"}]}` and `diff` the shape
//! of `diff::Diff`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::advisory;
use super::diff::{Diff, diff};
use super::draft::{self, Beside, Head};
use super::folder::{Fleet, read_text};
use super::read::Read;
use super::{At, Signer, Yes, after_days, at, guard, now, refused, revocation};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{self, Colour};
use crate::fleet::documents::{Bundle, Digest, Document as _, Role, RoleKind, Root, Stamp};
use crate::fleet::dsse::Envelope;
use crate::fleet::key::PrivateKey;
use crate::fleet::trust::MAX_STEP;
use crate::host::atomic_file;

/// How long a new bundle holds unless the draft says otherwise.
pub(super) const LIFE_DAYS: i64 = 180;

/// Write, check, compare and sign what a ward runs.
#[derive(Debug, Args)]
#[command(after_help = "Example, in this order:\n  \
    wardline-fleet bundle new --group icu-3 /srv/fleet\n  \
    $EDITOR /srv/fleet/g/icu-3/draft.toml\n  \
    wardline-fleet bundle check --group icu-3 /srv/fleet\n  \
    wardline-fleet bundle diff --group icu-3 /srv/fleet\n  \
    wardline-fleet bundle sign --group icu-3 --key config-1 /srv/fleet\n  \
    wardline-fleet bundle diff --group icu-3 --version 7 /srv/fleet    what the second person reads\n  \
    wardline-fleet bundle countersign --group icu-3 --key config-2 /srv/fleet")]
pub(super) struct Bundles {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a draft to be edited: the first, or the next after one that was signed.
    New(Place),
    /// Say everything that is wrong with the draft, as each gateway would.
    Check(Look),
    /// Say what the draft starts, stops and changes, beside the last bundle that went out.
    Diff(Compare),
    /// Sign the draft: its bytes are fixed from then on.
    Sign(Sign),
    /// Add the signature of another key to the newest bundle.
    Countersign(Countersign),
}

/// Whose bundle.
#[derive(Debug, Args)]
struct Place {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    group: String,
    #[command(flatten)]
    at: At,
    /// The fleet's folder.
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct Look {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Compare {
    #[command(flatten)]
    look: Look,
    /// Of this bundle, as it was signed, instead of the draft.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

#[derive(Debug, Args)]
struct Sign {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    yes: Yes,
}

#[derive(Debug, Args)]
struct Countersign {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    signer: Signer,
    /// The bundle; the newest when nothing is said.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    #[command(flatten)]
    read: Read,
}

impl Bundles {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::New(place) => place.new_draft(),
            Command::Check(look) => look.check(),
            Command::Diff(compare) => compare.run(),
            Command::Sign(sign) => sign.run(),
            Command::Countersign(countersign) => countersign.run(),
        }
    }
}

impl Place {
    fn new_draft(&self) -> Result<(), Failure> {
        let fleet = Fleet::open_to_write(&self.folder, "bundle new")?;
        let file = fleet.draft_file(&self.group)?;
        let newest = fleet.newest(&self.group)?.unwrap_or(0);
        let now = now(self.at.moment())?.wall;
        let members = fleet.register().members(&self.group);
        let head = Head {
            group: &self.group,
            version: newest.saturating_add(1),
            members: &members,
            not_before: Stamp(now),
            expires: after_days(now, LIFE_DAYS),
        };
        let text = match read_text(&file)? {
            None => draft::first(&head),
            Some(text) => {
                // What cannot be read is being written: it is not touched.
                if !draft::version(&text).is_ok_and(|version| version <= newest) {
                    return Err(refused(format!(
                        "{} is there and not signed yet: edit it, or remove it; nothing is overwritten",
                        file.display()
                    )));
                }
                draft::next(&text, &head)
            }
        };
        if let Some(folder) = file.parent() {
            atomic_file::create_folder(folder).map_err(at)?;
        }
        atomic_file::write(&file, text.map_err(refused)?.as_bytes()).map_err(at)?;
        let mut out = out::stdout();
        out.line(format_args!("bundle {} of {}: edit {}", head.version, self.group, file.display()))?;
        Ok(out.finish()?)
    }

    fn draft(&self, fleet: &Fleet) -> Result<Bundle, Failure> {
        let file = fleet.draft_file(&self.group)?;
        let text = read_text(&file)?.ok_or_else(|| {
            refused(format!("{} is not there: `wardline-fleet bundle new` writes one", file.display()))
        })?;
        let folder = file.parent().unwrap_or(fleet.path());
        let now = now(self.at.moment())?.wall;
        let beside = Beside {
            advisory: &|name| advisory::digest(folder, name),
            revocation: &|entry| revocation::lists(folder, entry, now),
        };
        draft::read(&text, &fleet.register().organisation, &beside)
            .map_err(|why| Failure::new(Exit::Config, anyhow::anyhow!("{}: {why}", file.display())))
    }

    fn diff(&self, fleet: &Fleet, bundle: &Bundle) -> Result<Diff, Failure> {
        Ok(diff(fleet.last_bundle(&self.group)?.as_ref(), bundle))
    }
}

impl Look {
    fn check(&self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.place.folder)?;
        let bundle = self.place.draft(&fleet)?;
        let problems = guard::problems(&bundle, &self.place.group, fleet.register(), fleet.path())?;
        let mut out = out::stdout();
        if self.json {
            out.json(&json!({ "valid": problems.is_empty(), "problems": problems }))?;
        } else {
            for problem in &problems {
                out.line(format_args!(
                    "{}: {}",
                    problem.gateway.as_deref().unwrap_or("all"),
                    problem.reason
                ))?;
            }
            let verdict = if problems.is_empty() {
                out.paint(Colour::Good, "valid")
            } else {
                out.paint(Colour::Bad, "not valid")
            };
            let (members, devices) = (bundle.members.len(), bundle.devices.len());
            out.line(format_args!(
                "{verdict}: bundle {}, {members} gateways, {devices} devices",
                bundle.version
            ))?;
        }
        out.finish()?;
        if problems.is_empty() { Ok(()) } else { Err(Failure::silent(Exit::Config)) }
    }
}

impl Compare {
    fn run(&self) -> Result<(), Failure> {
        let Self { look: Look { place, json }, version } = self;
        let fleet = Fleet::open(&place.folder)?;
        let (bundle, digest) = match version {
            None => (place.draft(&fleet)?, None),
            Some(version) => {
                let (envelope, bundle) = fleet.bundle(&place.group, *version)?;
                (bundle, Some(Digest::of(envelope.payload())))
            }
        };
        let diff = place.diff(&fleet, &bundle)?;
        let mut out = out::stdout();
        if *json {
            out.json(&diff)?;
        } else {
            for line in diff.lines() {
                out.line(format_args!("{line}"))?;
            }
            if let Some(digest) = digest {
                out.line(format_args!("what is signed has SHA-256 {digest}"))?;
            }
        }
        Ok(out.finish()?)
    }
}

impl Sign {
    fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open_to_write(&self.place.folder, "bundle sign")?;
        let group = &self.place.group;
        let bundle = self.place.draft(&fleet)?;
        guard::valid(&bundle, group, &fleet)?;
        let known = fleet.newest(group)?.max(fleet.last(group)?.map(|last| last.head.version));
        if known.is_some_and(|known| bundle.version <= known) {
            return Err(refused(format!(
                "the draft has version {}, and bundle {} of {group} was signed already: `bundle new` gives it the next one, \
                 `bundle countersign` adds a signature to what was signed",
                bundle.version,
                known.unwrap_or(0)
            )));
        }
        if known.is_some_and(|known| bundle.version.saturating_sub(known) > MAX_STEP) {
            return Err(refused(format!(
                "the draft has version {}, and {} is the last: gateways take a step of {MAX_STEP} at most; `bundle new` counts",
                bundle.version,
                known.unwrap_or(0)
            )));
        }
        let now = now(self.place.at.moment())?.wall;
        guard::expiry("the draft", bundle.expires, now, self.yes.expires_soon, "set a later `expires`")?;
        let diff = self.place.diff(&fleet, &bundle)?;
        guard::removal(&diff, self.yes.remove)?;
        let root = fleet.root()?;
        let key = self.signer.open(fleet.path())?;
        entitled(&root, &key, &self.signer.name())?;
        let mut envelope = Envelope::new(Bundle::PAYLOAD_TYPE, draft::payload(&bundle));
        envelope.sign(&key);
        // Room for every signature that may follow.
        let reserve = root.role(RoleKind::Config).keys.len().saturating_mul(256);
        let bytes = envelope.to_bytes();
        if bytes.len().saturating_add(reserve) > Bundle::CAP {
            return Err(refused(format!(
                "the bundle is {} bytes long, and a gateway reads {}: split the ward",
                bytes.len(),
                Bundle::CAP
            )));
        }
        advisory::keep(&fleet, &bundle)?;
        atomic_file::create(&fleet.bundle_file(group, bundle.version)?, &bytes).map_err(at)?;
        tell(&root, &envelope, &bundle, &diff)
    }
}

impl Countersign {
    fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.place.folder)?;
        let group = &self.place.group;
        let version = self.version.or(fleet.newest(group)?).ok_or_else(|| {
            refused(format!("no bundle of {group} was signed yet: `bundle sign` is the first signature"))
        })?;
        let (mut envelope, bundle) = fleet.bundle(group, version)?;
        guard::valid(&bundle, group, &fleet)?;
        if fleet.last(group)?.is_some_and(|last| last.head.version == version) {
            return Err(refused(format!(
                "bundle {version} went out as it is: another signature would make it another bundle"
            )));
        }
        let root = fleet.root()?;
        let diff = self.place.diff(&fleet, &bundle)?;
        self.read.agreed(&format!("bundle {version} of {group}"), &diff.lines(), envelope.payload())?;
        let key = self.signer.open(fleet.path())?;
        entitled(&root, &key, &self.signer.name())?;
        // Not held while a person read: what is signed is what was read, or nothing.
        let fleet = Fleet::open_to_write(&self.place.folder, "bundle countersign")?;
        let (there, _) = fleet.bundle(group, version)?;
        if there.payload() != envelope.payload() {
            return Err(refused(format!(
                "bundle-{version}.json was changed meanwhile: look at it again; nothing was signed"
            )));
        }
        envelope = there;
        if envelope.signers([&key.public()]).contains(&key.public().id()) {
            return Err(refused(format!(
                "{} has signed bundle {version} already: take another key",
                self.signer.name()
            )));
        }
        envelope.sign(&key);
        atomic_file::write(&fleet.bundle_file(group, version)?, &envelope.to_bytes()).map_err(at)?;
        tell(&root, &envelope, &bundle, &diff)
    }
}

fn entitled(root: &Root, key: &PrivateKey, name: &str) -> Result<(), Failure> {
    let id = key.public().id();
    if root.role(RoleKind::Config).keys.iter().any(|known| known.id() == id) {
        return Ok(());
    }
    Err(refused(format!(
        "{name} (key {id}) is no config key of root {}: its signature would count for nothing; name one with --key, such \
         as config-1",
        root.version
    )))
}

/// What was signed, and how far it has come.
fn tell(root: &Root, envelope: &Envelope, bundle: &Bundle, diff: &Diff) -> Result<(), Failure> {
    let Role { keys, threshold } = root.role(RoleKind::Config);
    let have = envelope.signers(keys).len();
    let mut out = out::stdout();
    for line in diff.lines() {
        out.line(format_args!("{line}"))?;
    }
    out.line(format_args!("what is signed has SHA-256 {}", Digest::of(envelope.payload())))?;
    let missing = threshold.saturating_sub(have);
    let next = if missing == 0 {
        "it can be published".to_owned()
    } else {
        format!("{missing} more must sign it: bundle countersign")
    };
    out.line(format_args!(
        "bundle {}: {have} signatures of the {threshold} that root {} wants; {next}",
        bundle.version, root.version
    ))?;
    Ok(out.finish()?)
}
