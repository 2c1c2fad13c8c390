//! `wardline-fleet push`: what is published goes to the broker, where the gateways fetch it.
//!
//! Roots first, then the bundle, and the timestamp only when the broker has given both back: no gateway can hear of
//! a bundle that is not there. What never happens: a bundle is pushed that a member would refuse, or something that is
//! older than what the broker has by the word of our own keys.
//!
//! The bundle that the broker has already is not judged again: a pause and a renewal go out whatever has changed in the
//! register since. Roots go out alone where the newest one no longer covers the bundle: a key that was lost must not
//! count until the next bundle is signed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::advisory;
use super::broker::{self, Broker, Connection, Settings};
use super::folder::Fleet;
use super::outgoing::{self, Documents};
use super::plain::plain;
use super::tidy::{self, Kept};
use super::walk::{self, bundle_file, timestamp_file};
use super::{PROGRAM, Yes, diff, guard, now as at_moment, refused};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::{Bundle, Digest, Document as _, Head, Role, RoleKind, Root, Timestamp};
use crate::fleet::dsse::Envelope;
use crate::fleet::topics::{self, Topic, What};

/// Bring what is published to the broker, where the gateways fetch it.
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  \
    wardline-fleet push --group icu-3 /srv/fleet\n  \
    wardline-fleet push --group icu-3 --host 10.0.0.5 --port 8883 /srv/fleet\n  \
    wardline-fleet push --group icu-3 --tidy /srv/fleet    when a roll-out has reached all\n\n{}\n\n\
    Our certificate needs write access to c/v1/ORGANISATION/root/#, c/v1/ORGANISATION/g/GROUP/# and \
    c/v1/ORGANISATION/advisory/#, and read access to c/v1/ORGANISATION/#.", broker::HELP))]
pub(super) struct Push {
    /// The group: a ward.
    #[arg(long, value_name = "G")]
    group: String,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    yes: Yes,
    /// Then take away at the broker what nobody needs: old bundles of the group that no gateway runs, and advisories
    /// that no bundle names. The current bundle and the one before stay.
    #[arg(long)]
    tidy: bool,
    /// The fleet's folder.
    folder: PathBuf,
}

impl Push {
    pub(super) fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open(&self.folder)?;
        let settings = self.connection.settings(fleet.path())?;
        let load = Load::of(&fleet, &self.group)?;
        tell(load.push(&fleet, &settings, &Said::By(&self.yes))?)?;
        if self.tidy { load.tidy(&fleet, &settings) } else { Ok(()) }
    }
}

fn tell(lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut out = out::stdout();
    for line in lines {
        out.line(format_args!("{line}"))?;
    }
    Ok(out.finish()?)
}

/// Pushes what was published just now: every guard was asked then, and so many devices may go. Gives what was done, in
/// words.
pub(super) fn now(
    fleet: &Fleet,
    group: &str,
    settings: &Settings,
    removed: Option<usize>,
) -> Result<Vec<String>, Failure> {
    Load::of(fleet, group)?.push(fleet, settings, &Said::Before(removed))
}

/// What would be a mistake, were it not said.
enum Said<'a> {
    /// To this command.
    By(&'a Yes),
    /// When it was published just now: so many devices were to go at most.
    Before(Option<usize>),
}

impl Said<'_> {
    /// How many devices are said to be removed, when so many are.
    fn removed(&self, count: usize) -> Option<usize> {
        match self {
            Self::By(yes) => yes.remove,
            Self::Before(most) => most.map(|most| if count <= most { count } else { most }),
        }
    }

    const fn may_expire_soon(&self) -> bool {
        match self {
            Self::By(yes) => yes.expires_soon,
            Self::Before(_) => true,
        }
    }
}

/// What is to be at the broker: every root, the bundle, the timestamp, in this order.
struct Load {
    organisation: String,
    roots: Vec<Root>,
    timestamp: Timestamp,
    bundle: Bundle,
    documents: Documents,
}

impl Load {
    /// What is published of a group.
    fn of(fleet: &Fleet, group: &str) -> Result<Self, Failure> {
        let roots = fleet.roots()?;
        let timestamp = fleet.last(group)?.ok_or_else(|| {
            refused(format!("nothing of {group} is published yet: `publish` or `rollout start` comes first"))
        })?;
        let published = fleet.published();
        let source = walk::folder(&published);
        let read =
            |file: &str, cap| source(file, cap)?.ok_or_else(|| refused(format!("{file} is not there")));
        let newest = roots.last().map_or(0, |root| root.version);
        let mut documents = outgoing::roots(fleet, newest)?;
        let file = bundle_file(group, timestamp.head.version);
        let bytes = read(&file, Bundle::CAP)?;
        if Digest::of(&bytes) != timestamp.head.sha256 {
            return Err(refused(format!(
                "{file} is not the bundle that timestamp {} names: bring it back from a copy of the folder",
                timestamp.version
            )));
        }
        let bundle = opened(&bytes).ok_or_else(|| refused(format!("{file} holds no bundle")))?.1;
        documents.extend(advisory::documents(fleet, &bundle)?);
        documents.push((file, bytes));
        let file = timestamp_file(group);
        documents.push((file.clone(), read(&file, Timestamp::CAP)?));
        let organisation = fleet.register().organisation.clone();
        Ok(Self { organisation, roots, timestamp, bundle, documents })
    }

    fn push(&self, fleet: &Fleet, settings: &Settings, said: &Said<'_>) -> Result<Vec<String>, Failure> {
        let group = &self.bundle.group;
        let mut broker = Broker::connect(settings)?;
        let mut filters = vec![
            topics::every_root(&self.organisation),
            topics::every_bundle(&self.organisation, group),
            self.topic(&timestamp_file(group))?,
        ];
        for digest in &self.bundle.advisories {
            filters.push(self.topic(&advisory::advisory_file(*digest))?);
        }
        let retained = broker.retained(&filters)?;
        let before = self.judge(&retained)?;
        let is_again = before.as_ref().is_some_and(|head| head.sha256 == self.timestamp.head.sha256);
        let going = self.going(is_again);
        if !is_again && going.len() == self.documents.len() {
            self.first_time(fleet, (before, &retained), said)?;
        }
        let mut missing = Vec::new();
        for (file, bytes) in &going {
            let topic = self.topic(file)?;
            if retained.get(&topic) != Some(bytes) {
                missing.push((topic, bytes));
            }
        }
        let held = self.held(&going);
        if missing.is_empty() {
            let all = held.unwrap_or_else(|| format!("the broker has all of {group} already: nothing to do"));
            return Ok(vec![all]);
        }
        if going.iter().any(|(file, _)| **file == timestamp_file(group)) {
            self.expiry(said.may_expire_soon() || is_again)?;
        }
        let mut lines = Vec::new();
        // The documents are in this order: the timestamp is the last, and goes when the others were given back.
        for (topic, bytes) in missing {
            broker.retain(&topic, bytes)?;
            broker.read_back(&topic, bytes)?;
            lines.push(format!("pushed {topic}"));
        }
        let (version, until) = (self.bundle.version, self.timestamp.expires.0);
        lines.push(held.unwrap_or_else(|| {
            let paused = if self.timestamp.rollout.paused { ", paused" } else { "" };
            format!("bundle {version} of {group} is at the broker{paused}, current until {until}")
        }));
        Ok(lines)
    }

    /// What goes out of it: the bundle only when the newest root covers it, the timestamp when gateways have the bundle
    /// or get it. `is_again`: the broker has the same bundle already.
    fn going(&self, is_again: bool) -> Vec<(&String, &Vec<u8>)> {
        let Some(root) = self.roots.last() else { return Vec::new() };
        let is_ours = |file: &str, kind| {
            self.documents.iter().any(|(name, bytes)| name == file && is_signed(bytes, root, kind))
        };
        let bundle = bundle_file(&self.bundle.group, self.bundle.version);
        let stamp = timestamp_file(&self.bundle.group);
        let has_bundle = is_ours(&bundle, RoleKind::Config);
        let has_stamp = is_ours(&stamp, RoleKind::Timestamp) && (has_bundle || is_again);
        let goes = |file: &String| {
            if *file == bundle { has_bundle && has_stamp } else { *file != stamp || has_stamp }
        };
        self.documents.iter().filter(|(file, _)| goes(file)).map(|(file, bytes)| (file, bytes)).collect()
    }

    /// What does not go out, and the way on.
    fn held(&self, going: &[(&String, &Vec<u8>)]) -> Option<String> {
        let (group, version) = (&self.bundle.group, self.bundle.version);
        let root = self.roots.last().map_or(0, |root| root.version);
        let goes = |file: String| going.iter().any(|(name, _)| **name == file);
        match (goes(bundle_file(group, version)), goes(timestamp_file(group))) {
            (true, true) => None,
            (_, true) => Some(format!(
                "bundle {version} of {group} has too few signatures under root {root}: only roots and timestamp went to \
                 the broker; `bundle new`, sign, countersign and publish come next"
            )),
            (_, false) => Some(format!(
                "roots alone went to the broker: bundle {version} of {group} or its timestamp is not signed by keys of \
                 root {root}; `publish` signs the timestamp anew, and a bundle with too few signatures needs `bundle \
                 new`, sign and countersign before"
            )),
        }
    }

    /// What is asked of a bundle that the broker has not got yet.
    fn first_time(
        &self,
        fleet: &Fleet,
        (before, retained): (Option<Head>, &BTreeMap<String, Vec<u8>>),
        said: &Said<'_>,
    ) -> Result<(), Failure> {
        guard::valid(&self.bundle, &self.bundle.group, fleet)?;
        outgoing::by_every_member(&self.documents, &self.bundle, at_moment(None)?)?;
        let Some(head) = before else { return Ok(()) };
        let was = retained.values().find(|bytes| Digest::of(bytes) == head.sha256);
        let was = was.and_then(|bytes| opened(bytes)).map(|(_, bundle)| bundle);
        let diff = diff::diff(was.as_ref(), &self.bundle);
        guard::removal(&diff, said.removed(diff.removed.len()))
    }

    /// Takes away at the broker what nobody needs any more, and says before what that is.
    fn tidy(&self, fleet: &Fleet, settings: &Settings) -> Result<(), Failure> {
        let group = &self.bundle.group;
        let mut broker = Broker::connect(settings)?;
        let stamp = self.topic(&timestamp_file(group))?;
        let there = broker.retained(std::slice::from_ref(&stamp))?;
        let named = there.get(&stamp).and_then(|bytes| walk::stamp(bytes, &self.roots, group).ok());
        let named = named.ok_or_else(|| {
            refused(format!(
                "the timestamp of {group} at the broker is not signed by our keys: what is current there is not known, \
                 and nothing is taken away"
            ))
        })?;
        let retained = broker.retained(&tidy::filters(&self.organisation))?;
        let current = named.head.version.min(self.timestamp.head.version);
        let kept = Kept { organisation: &self.organisation, group, current };
        let needless = tidy::needless(&kept, &retained, &advisory::named(fleet)?);
        if needless.is_empty() {
            return tell([format!("nothing of {group} at the broker is needless")]);
        }
        tell(needless.iter().map(|one| format!("takes away {}: {}", one.topic, one.why)))?;
        tidy::clear(&mut broker, &needless)?;
        tell([format!("{} documents are gone from the broker; the folder has them still", needless.len())])
    }

    fn topic(&self, file: &str) -> Result<String, Failure> {
        let name = format!("c/v1/{}/{}", self.organisation, file.trim_end_matches(".json"));
        Topic::read(&name)
            .map(|topic| topic.to_string())
            .ok_or_else(|| refused(format!("{name} is no topic of the fleet")))
    }

    /// Whether what the broker has may be followed by this. What our keys have not signed there says nothing, and
    /// is replaced. Gives the bundle that is current there.
    fn judge(&self, retained: &BTreeMap<String, Vec<u8>>) -> Result<Option<Head>, Failure> {
        let mut before = None;
        for (topic, bytes) in retained {
            let Some(topic) = Topic::read(topic) else { continue };
            match topic.what() {
                What::Root(version) => self.beside_root(*version, bytes)?,
                What::Timestamp { group } => match walk::stamp(bytes, &self.roots, group) {
                    Ok(there) => {
                        // One of an online key that was dropped since can forbid nothing.
                        if self.roots.last().is_some_and(|root| is_signed(bytes, root, RoleKind::Timestamp)) {
                            self.after(&there, bytes)?;
                        }
                        before = Some(there);
                    }
                    Err(why) => remark(&format!("the timestamp at the broker {why}")),
                },
                What::Bundle { version, .. } => self.beside_bundle(*version, bytes)?,
                // Its name is its digest: another content is replaced.
                What::Advisory(_) | What::Reported { .. } | What::Inventory { .. } => {}
            }
        }
        Ok(before.map(|there| there.head))
    }

    fn expiry(&self, soon: bool) -> Result<(), Failure> {
        let now = at_moment(None)?.wall;
        if self.timestamp.expires.0 <= now {
            return Err(refused(format!(
                "timestamp {} of {} expired at {}: no gateway would take it; `publish` signs it anew",
                self.timestamp.version, self.timestamp.group, self.timestamp.expires.0
            )));
        }
        // Who has begun goes on, and nobody begins: of a pause nothing more is asked.
        if self.timestamp.rollout.paused {
            return Ok(());
        }
        if let Some(root) = self.roots.last() {
            let what = format!("root {}", root.version);
            guard::expiry(&what, root.expires, now, soon, "`root new`, and the root keys sign it")?;
        }
        let what = format!("bundle {}", self.bundle.version);
        guard::expiry(&what, self.bundle.expires, now, soon, "`bundle new` with a later `expires`")
    }

    fn after(&self, there: &Timestamp, bytes: &[u8]) -> Result<(), Failure> {
        let (own, other) = (self.timestamp.version, there.version);
        let differs = || self.documents.last().is_none_or(|(_, own)| own != bytes);
        if other > own || (other == own && differs()) {
            return Err(refused(format!(
                "the broker has timestamp {other} of {}, signed at {}, and this folder has {own}: another copy of the \
                 folder was published since; use that one, or `publish` until the number is higher",
                there.group, there.issued_at.0
            )));
        }
        Ok(())
    }

    fn beside_root(&self, version: u64, bytes: &[u8]) -> Result<(), Failure> {
        let own = self.documents.iter().find(|(file, _)| *file == walk::root_file(version));
        if own.is_some_and(|(_, own)| own == bytes) {
            return Ok(());
        }
        if version == 1 {
            return Err(refused(format!(
                "the broker has another root 1 for {}: it is of another fleet; if that one is over, take its documents \
                 away at the broker",
                self.organisation
            )));
        }
        let judge = self.roots.iter().find(|root| root.version.checked_add(1) == Some(version));
        if judge.is_some_and(|root| is_signed(bytes, root, RoleKind::Root)) {
            return Err(refused(format!(
                "the broker has a root {version} that our root keys signed and this folder has not: this is an old copy \
                 of the folder; use the newer one"
            )));
        }
        remark(&format!("root {version} at the broker is not signed by our root keys"));
        Ok(())
    }

    fn beside_bundle(&self, version: u64, bytes: &[u8]) -> Result<(), Failure> {
        let is_ours = self.documents.iter().any(|(_, own)| own == bytes);
        let is_theirs = self.roots.iter().any(|root| is_signed(bytes, root, RoleKind::Config));
        if version != self.bundle.version || is_ours {
            return Ok(());
        }
        if is_theirs {
            return Err(refused(format!(
                "the broker has another bundle {version} of {} that our config keys signed: gateways that know it take \
                 no other of that number; `bundle new` makes the next",
                self.bundle.group
            )));
        }
        remark(&format!("bundle {version} at the broker is not signed by our config keys"));
        Ok(())
    }
}

fn remark(what: &str) {
    let what = plain(what);
    out::remark_of(PROGRAM, format_args!("{what}: it is not believed; look for who wrote it there"));
}

fn opened(bytes: &[u8]) -> Option<(Envelope, Bundle)> {
    let envelope = Envelope::parse(bytes, Bundle::CAP).ok()?;
    let bundle = Bundle::read(envelope.payload()).ok()?;
    Some((envelope, bundle))
}

fn is_signed(bytes: &[u8], root: &Root, kind: RoleKind) -> bool {
    let Role { keys, threshold } = root.role(kind);
    Envelope::parse(bytes, Bundle::CAP).is_ok_and(|envelope| envelope.signers(keys).len() >= *threshold)
}
