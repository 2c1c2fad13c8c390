//! `wardline-fleet root`: the next root, when keys are lost, made or dropped, or before the last one expires.
//!
//! A root is believed when enough root keys of the one before it and enough of its own have signed it. Until then it
//! lies in the fleet's folder as `root-N.json` and goes nowhere.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::folder::{Fleet, KEYS};
use super::passphrase::Passphrases;
use super::read::Read;
use super::walk::{self, root_file};
use super::{PassphraseFile, Signer, after_days, at, keyfile, now, refused};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::fleet::documents::{Digest, Document as _, Role, RoleKind, Root};
use crate::fleet::dsse::Envelope;
use crate::fleet::key::PublicKey;
use crate::host::atomic_file;

/// The fewest digits by which a key is named.
const PREFIX: usize = 8;

/// Say who may sign what from now on: new keys, dropped keys, a later expiry.
#[derive(Debug, Args)]
#[command(after_help = "Example, when the card with config-2 was lost:\n  \
    wardline-fleet root show /srv/fleet\n  \
    wardline-fleet root new --make config --drop 3f2a90c1 /srv/fleet\n  \
    wardline-fleet root sign --key root-1 /srv/fleet\n  \
    wardline-fleet root sign --key /media/card/root-2.pem /srv/fleet\n  \
    wardline-fleet push --group icu-3 /srv/fleet              for every group: the key counts no longer\n  \
    wardline-fleet publish --group icu-3 --push /srv/fleet    where the bundle has signatures enough\n\n\
    Every root is kept: a gateway that slept for years goes from one to the next.")]
pub(super) struct Roots {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show who may sign what, and what the next root waits for.
    Show(Show),
    /// Draw up the next root; nothing holds of it before it is signed.
    New(New),
    /// Sign the next root; it is published when enough keys have.
    Sign(Sign),
}

#[derive(Debug, Args)]
struct Show {
    /// The fleet's folder.
    folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    wardline-fleet root new --days 730 /srv/fleet    the same keys, for two more years\n  \
    wardline-fleet root new --make timestamp --drop 51c09e77 /srv/fleet    another online key\n  \
    wardline-fleet root new --add config=HEX --threshold config=3 /srv/fleet    a key that somebody else made")]
struct New {
    /// Make a key for a role (root, config, timestamp); as often as given.
    #[arg(long, value_name = "ROLE", value_parser = kind)]
    make: Vec<RoleKind>,
    /// Add a key that was made elsewhere: its role and its public half, 64 hex digits.
    #[arg(long, value_name = "ROLE=HEX", value_parser = added)]
    add: Vec<(RoleKind, PublicKey)>,
    /// Drop a key, by the first digits of its id; at least 8.
    #[arg(long, value_name = "ID")]
    drop: Vec<String>,
    /// How many keys of a role must sign.
    #[arg(long, value_name = "ROLE=N", value_parser = threshold)]
    threshold: Vec<(RoleKind, usize)>,
    /// In how many days it expires.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(30..=3650))]
    days: u16,
    #[command(flatten)]
    passphrases: PassphraseFile,
    /// The fleet's folder.
    folder: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wardline-fleet root sign --key root-1 /srv/fleet")]
struct Sign {
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    read: Read,
    /// The fleet's folder.
    folder: PathBuf,
}

fn kind(text: &str) -> Result<RoleKind, String> {
    let found = RoleKind::ALL.into_iter().find(|kind| kind.as_str() == text);
    found.ok_or_else(|| "a role is root, config or timestamp".to_owned())
}

fn added(text: &str) -> Result<(RoleKind, PublicKey), String> {
    let (role, key) = text.split_once('=').ok_or("write ROLE=HEX")?;
    Ok((kind(role)?, PublicKey::from_hex(key).map_err(|fault| fault.to_string())?))
}

fn threshold(text: &str) -> Result<(RoleKind, usize), String> {
    let (role, number) = text.split_once('=').ok_or("write ROLE=N")?;
    Ok((kind(role)?, number.parse().map_err(|_| "N is a number")?))
}

impl Roots {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Show(show) => show.run(),
            Command::New(new) => new.run(),
            Command::Sign(sign) => sign.run(),
        }
    }
}

fn pending_file(fleet: &Fleet, root: &Root) -> PathBuf {
    fleet.path().join(format!("root-{}.json", root.version.saturating_add(1)))
}

/// The next root that waits for signatures.
fn pending(file: &Path) -> Result<(Envelope, Root), Failure> {
    let bytes = atomic_file::read(file, Root::CAP).map_err(at)?;
    let judge = || {
        let envelope = Envelope::parse(&bytes, Root::CAP).map_err(|fault| fault.to_string())?;
        let root = Root::read(envelope.payload())?;
        Ok((envelope, root))
    };
    judge().map_err(|why: String| refused(format!("{}: {why}", file.display())))
}

impl Show {
    fn run(&self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let root = fleet.root()?;
        let mut out = out::stdout();
        out.line(format_args!("root {} of {} until {}", root.version, root.organisation, root.expires.0))?;
        for kind in RoleKind::ALL {
            let Role { keys, threshold } = root.role(kind);
            out.line(format_args!("{}: {threshold} of {} must sign", kind.as_str(), keys.len()))?;
            for key in keys {
                out.line(format_args!("  {}", key.id()))?;
            }
        }
        let file = pending_file(&fleet, &root);
        if file.exists() {
            let (envelope, next) = pending(&file)?;
            for line in changes(&root, &next).into_iter().chain(wants(&root, &next, &envelope)) {
                out.line(format_args!("{line}"))?;
            }
            out.line(format_args!("what is signed has SHA-256 {}", Digest::of(envelope.payload())))?;
        }
        Ok(out.finish()?)
    }
}

/// How many signatures of each side are missing, and whose keys could give them.
fn missing(root: &Root, next: &Root, envelope: &Envelope) -> [(usize, u64, Vec<String>); 2] {
    [root, next].map(|judge| {
        let Role { keys, threshold } = judge.role(RoleKind::Root);
        let have = envelope.signers(keys);
        let others = keys.iter().filter(|key| !have.contains(&key.id())).map(|key| key.id().to_string());
        (threshold.saturating_sub(have.len()), judge.version, others.collect())
    })
}

fn wants(root: &Root, next: &Root, envelope: &Envelope) -> Vec<String> {
    let sides = missing(root, next, envelope);
    let wanting = sides.iter().filter(|(count, ..)| *count > 0);
    wanting
        .map(|(count, version, keys)| {
            format!(
                "root {} wants {count} more of the root keys of root {version}: {}",
                next.version,
                keys.join(", ")
            )
        })
        .collect()
}

/// What the next root changes, in words.
fn changes(root: &Root, next: &Root) -> Vec<String> {
    let mut lines = vec![format!("root {} waits: it holds until {}", next.version, next.expires.0)];
    for kind in RoleKind::ALL {
        let (old, new) = (root.role(kind), next.role(kind));
        let name = kind.as_str();
        let without = |some: &[PublicKey], others: &[PublicKey]| -> Vec<String> {
            some.iter().filter(|key| !others.contains(key)).map(|key| key.id().to_string()).collect()
        };
        lines.extend(without(&new.keys, &old.keys).iter().map(|id| format!("  {name}: {id} is NEW")));
        lines.extend(without(&old.keys, &new.keys).iter().map(|id| format!("  {name}: {id} is DROPPED")));
        if old.threshold != new.threshold {
            lines.push(format!("  {name}: {} must sign, not {}", new.threshold, old.threshold));
        }
    }
    if lines.len() == 1 {
        lines.push("  the same keys may sign".to_owned());
    }
    lines
}

impl New {
    fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open_to_write(&self.folder, "root new")?;
        let root = fleet.root()?;
        let file = pending_file(&fleet, &root);
        if file.symlink_metadata().is_ok() {
            return Err(refused(format!(
                "{} waits for signatures already: `root sign` it, or remove it; nothing is overwritten",
                file.display()
            )));
        }
        let mut roles = RoleKind::ALL.map(|kind| root.role(kind).clone());
        self.drop_keys(&mut roles)?;
        let passphrases = Passphrases::from(self.passphrases.path())?;
        let mut taken = Vec::new();
        let mut made = Vec::new();
        for kind in &self.make {
            let name = free_name(&fleet, *kind, &made);
            let passphrase = passphrases.of_new(&name, &taken)?;
            let (key, text) = keyfile::make(&passphrase).map_err(|fault| Failure::new(Exit::Keys, fault))?;
            taken.push(passphrase);
            of(&mut roles, *kind).keys.push(key.public());
            made.push((name, text, key.public().id()));
        }
        for (kind, key) in &self.add {
            of(&mut roles, *kind).keys.push(key.clone());
        }
        for (kind, number) in &self.threshold {
            of(&mut roles, *kind).threshold = *number;
        }
        let expires = after_days(now(None)?.wall, i64::from(self.days));
        let version = root.version.saturating_add(1);
        let next = Root::new(root.organisation.clone(), version, expires, roles)
            .map_err(|why| refused(format!("the next root {why}")))?;
        for (name, text, _) in &made {
            atomic_file::create(&fleet.path().join(KEYS).join(format!("{name}.pem")), text.as_bytes())
                .map_err(at)?;
        }
        let envelope = Envelope::new(Root::PAYLOAD_TYPE, next.to_payload());
        atomic_file::create(&file, &envelope.to_bytes()).map_err(at)?;
        let mut out = out::stdout();
        for (name, _, id) in &made {
            out.line(format_args!("{KEYS}/{name}.pem  {id}"))?;
        }
        for line in wants(&root, &next, &envelope) {
            out.line(format_args!("{line}"))?;
        }
        out.line(format_args!(
            "next: wardline-fleet root sign --key KEY {}, once for each",
            fleet.path().display()
        ))?;
        Ok(out.finish()?)
    }

    fn drop_keys(&self, roles: &mut [Role; 3]) -> Result<(), Failure> {
        for id in &self.drop {
            let named = |key: &PublicKey| id.len() >= PREFIX && key.id().to_string().starts_with(id.as_str());
            let count = roles.iter().flat_map(|role| &role.keys).filter(|key| named(key)).count();
            if count != 1 {
                return Err(refused(format!(
                    "--drop {id} names {count} keys: give at least {PREFIX} digits of one id, as `root show` has it"
                )));
            }
            for role in roles.iter_mut() {
                role.keys.retain(|key| !named(key));
            }
        }
        Ok(())
    }
}

fn of(roles: &mut [Role; 3], kind: RoleKind) -> &mut Role {
    let [root, config, timestamp] = roles;
    match kind {
        RoleKind::Root => root,
        RoleKind::Config => config,
        RoleKind::Timestamp => timestamp,
    }
}

/// A name that no key of the folder has, nor one that a card elsewhere is likely to have: numbers go on.
fn free_name<T, U>(fleet: &Fleet, kind: RoleKind, made: &[(String, T, U)]) -> String {
    let count = fleet.root().map_or(0, |root| root.role(kind).keys.len());
    let names = (count.saturating_add(1)..).map(|number| format!("{}-{number}", kind.as_str()));
    let is_free = |name: &String| {
        let file = fleet.path().join(KEYS).join(format!("{name}.pem"));
        file.symlink_metadata().is_err() && made.iter().all(|(taken, ..)| taken != name)
    };
    let mut free = names.filter(is_free);
    free.next().unwrap_or_default()
}

impl Sign {
    fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let roots = fleet.roots()?;
        let root = roots.last().ok_or_else(|| refused("there is no root"))?;
        let file = pending_file(&fleet, root);
        if file.symlink_metadata().is_err() {
            return Err(refused(format!("{} is not there: `root new` draws it up", file.display())));
        }
        let (mut envelope, next) = pending(&file)?;
        if next.version != root.version.saturating_add(1) || next.organisation != root.organisation {
            return Err(refused(format!("{} holds another root than its name says", file.display())));
        }
        let what = format!("root {}", next.version);
        self.read.agreed(&what, &changes(root, &next), envelope.payload())?;
        let key = self.signer.open(fleet.path())?;
        // Not held while a person read: what is signed is what was read, or nothing.
        let fleet = Fleet::open_to_write(&self.folder, "root sign")?;
        let (there, _) = pending(&file)?;
        if there.payload() != envelope.payload() || fleet.root()? != *root {
            return Err(refused(format!(
                "{} was changed meanwhile: look at it again; nothing was signed",
                file.display()
            )));
        }
        envelope = there;
        let may = [root, &next].iter().any(|judge| judge.role(RoleKind::Root).keys.contains(&key.public()));
        if !may {
            return Err(refused(format!(
                "{} is no root key of root {} nor of root {}: its signature would count for nothing",
                self.signer.name(),
                root.version,
                next.version
            )));
        }
        envelope.sign(&key);
        let bytes = envelope.to_bytes();
        let wants = wants(root, &next, &envelope);
        let mut out = out::stdout();
        if wants.is_empty() {
            publish(&fleet, &next, &bytes)?;
            atomic_file::remove(&file).map_err(at)?;
            out.line(format_args!("root {} is published, until {}", next.version, next.expires.0))?;
            for line in consequences(&fleet, root, &next)? {
                out.line(format_args!("{line}"))?;
            }
        } else {
            atomic_file::write(&file, &bytes).map_err(at)?;
            for line in wants {
                out.line(format_args!("{line}"))?;
            }
        }
        Ok(out.finish()?)
    }
}

/// Through the eyes of a gateway that has every root before it.
fn publish(fleet: &Fleet, next: &Root, bytes: &[u8]) -> Result<(), Failure> {
    let published = fleet.published();
    let there = walk::folder(&published);
    let file = root_file(next.version);
    let source =
        |name: &str, cap: usize| if name == file { Ok(Some(bytes.to_vec())) } else { there(name, cap) };
    let chain = walk::chain(&source, &next.organisation)
        .map_err(|why| refused(format!("a gateway would refuse it: {why}")))?;
    if chain.last() != Some(next) {
        return Err(refused("a gateway would not come to it"));
    }
    atomic_file::create(&published.join(file), bytes).map_err(at)
}

/// What is to be done in each group, now that others may sign.
fn consequences(fleet: &Fleet, root: &Root, next: &Root) -> Result<Vec<String>, Failure> {
    let groups: std::collections::BTreeSet<&str> =
        fleet.register().gateway.iter().map(|gateway| gateway.group.as_str()).collect();
    let mut lines = Vec::new();
    for group in groups {
        let Some(last) = fleet.last(group)? else { continue };
        let (envelope, bundle) = fleet.bundle(group, last.head.version)?;
        let Role { keys, threshold } = next.role(RoleKind::Config);
        if envelope.signers(keys).len() < *threshold {
            lines.push(format!(
                "bundle {} of {group} has too few signatures under root {}: bring the root to the broker at once \
                 (wardline-fleet push --group {group} {}), then `bundle new`, sign, countersign, publish; until then gateways \
                 go on with what they run, and take nothing new",
                bundle.version,
                next.version,
                fleet.path().display()
            ));
        } else {
            lines.push(format!(
                "next: wardline-fleet publish --group {group} --push {}",
                fleet.path().display()
            ));
        }
    }
    if root.role(RoleKind::Timestamp).keys != next.role(RoleKind::Timestamp).keys {
        lines.push(
            "the online key is another: gateways believe no timestamp of the old one any more".to_owned(),
        );
    }
    Ok(lines)
}
