//! A folder in the layout of the topics, walked as a gateway would.
//!
//! ```text
//!  root/1.json  root/2.json ...  g/icu-3/ts.json  g/icu-3/bundle/7.json
//! ```

use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

use serde::Serialize;

use crate::fleet::documents::{Bundle, Document, Role, RoleKind, Root, Timestamp};
use crate::fleet::dsse::Envelope;
use crate::fleet::refusal::Refusal;
use crate::fleet::trust::{Current, Freshness, Recipient, Trust, Verified};
use crate::host::atomic_file;
use crate::time::Now;

/// The file of a root, from the published folder.
pub(super) fn root_file(version: u64) -> String {
    format!("root/{version}.json")
}

/// The file of a group's timestamp.
pub(super) fn timestamp_file(group: &str) -> String {
    format!("g/{group}/ts.json")
}

/// The file of a group's bundle.
pub(super) fn bundle_file(group: &str, version: u64) -> String {
    format!("g/{group}/bundle/{version}.json")
}

/// What a gateway says of one document.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    /// From the folder.
    pub(super) file: String,
    /// Whether the gateway acts on it.
    pub(super) believed: bool,
    /// What it is, or why it is not believed.
    pub(super) says: String,
    /// The attack that it would be, were it no mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attack: Option<&'static str>,
}

impl Said {
    fn of(file: &str, outcome: Result<String, Refusal>) -> Self {
        let file = file.to_owned();
        match outcome {
            Ok(says) => Self { file, believed: true, says, attack: None },
            Err(refusal) => {
                Self { file, believed: false, says: refusal.to_string(), attack: refusal.why.attack() }
            }
        }
    }

    fn missing(file: &str) -> Self {
        Self { file: file.to_owned(), believed: false, says: "is not there".to_owned(), attack: None }
    }
}

/// What a gateway comes to.
pub(super) struct Walk {
    pub(super) said: Vec<Said>,
    pub(super) current: Option<Current>,
    pub(super) verified: Option<Verified>,
}

impl Walk {
    /// The first document that is not believed.
    pub(super) fn refused(&self) -> Option<&Said> {
        self.said.iter().find(|said| !said.believed)
    }
}

/// Where the documents are.
pub(super) type Source<'a> = &'a dyn Fn(&str, usize) -> io::Result<Option<Vec<u8>>>;

/// Whose eyes look.
pub(super) struct Eyes {
    pub(super) recipient: Recipient,
    pub(super) group: String,
    /// The root that was given by hand; none: the first one there.
    pub(super) root: Option<Vec<u8>>,
    pub(super) now: Now,
}

/// Walks the documents as a gateway does that has just been set up.
pub(super) fn walk(source: Source<'_>, eyes: Eyes) -> io::Result<Walk> {
    let mut walk = Walk { said: Vec::new(), current: None, verified: None };
    let Eyes { recipient, group, root, now } = eyes;
    let first = root_file(1);
    let given = match root {
        Some(bytes) => Some(bytes),
        None => source(&first, Root::CAP)?,
    };
    let Some(bytes) = given else {
        walk.said.push(Said::missing(&first));
        return Ok(walk);
    };
    let mut trust = match Trust::enrol(recipient, group.clone(), &bytes) {
        Ok(trust) => trust,
        Err(refusal) => {
            walk.said.push(Said::of(&first, Err(refusal)));
            return Ok(walk);
        }
    };
    let version = trust.root().version;
    walk.said.push(Said::of(&root_file(version), Ok(format!("root {version}, given by hand"))));
    next_roots(source, &mut trust, &mut walk)?;
    let file = timestamp_file(&group);
    let Some(bytes) = source(&file, Timestamp::CAP)? else {
        walk.said.push(Said::missing(&file));
        return Ok(walk);
    };
    let current = match trust.timestamp_offered(&bytes, &now) {
        Ok(current) => current,
        Err(refusal) => {
            walk.said.push(Said::of(&file, Err(refusal)));
            return Ok(walk);
        }
    };
    let freshness = match current.freshness() {
        Freshness::Known => "",
        Freshness::Unknown => "; whether it is still current is not known",
    };
    let words =
        format!("bundle {} is current until {}{freshness}", current.head().version, current.expires());
    walk.said.push(Said::of(&file, Ok(words)));
    let file = bundle_file(&group, current.head().version);
    match source(&file, Bundle::CAP)? {
        None => walk.said.push(Said::missing(&file)),
        Some(bytes) => {
            let outcome = trust.bundle_offered(&bytes, &current, &now);
            let words = outcome.as_ref().map(|verified| words_of(verified.bundle()));
            walk.said.push(Said::of(&file, words.map_err(Clone::clone)));
            walk.verified = outcome.ok();
        }
    }
    walk.current = Some(current);
    Ok(walk)
}

fn words_of(bundle: &Bundle) -> String {
    let (version, members, devices) = (bundle.version, bundle.members.len(), bundle.devices.len());
    format!("bundle {version}: {members} gateways, {devices} devices, until {}", bundle.expires.0)
}

/// The roots after the one that is trusted, as far as they go.
fn next_roots(source: Source<'_>, trust: &mut Trust, walk: &mut Walk) -> io::Result<()> {
    loop {
        let version = trust.root().version.saturating_add(1);
        let file = root_file(version);
        let Some(bytes) = source(&file, Root::CAP)? else { return Ok(()) };
        let outcome = trust.root_offered(&bytes);
        let is_next = matches!(outcome, Ok(true)) && trust.root().version == version;
        walk.said
            .push(Said::of(&file, outcome.map(|_| format!("root {version}, signed by the one before it"))));
        if !is_next {
            return Ok(());
        }
    }
}

/// Every root there is, from the first on, each judged by the one before it.
pub(super) fn chain(source: Source<'_>, organisation: &str) -> Result<Vec<Root>, String> {
    let recipient = Recipient { organisation: organisation.to_owned(), gateway: String::new() };
    let read = |file: &str| source(file, Root::CAP).map_err(|error| error.to_string());
    let first = read(&root_file(1))?.ok_or("root 1 is not there")?;
    let mut trust = Trust::enrol(recipient, String::new(), &first).map_err(|refusal| refusal.to_string())?;
    let mut roots = vec![trust.root().clone()];
    loop {
        let version = trust.root().version.saturating_add(1);
        let file = root_file(version);
        let Some(bytes) = read(&file)? else { return Ok(roots) };
        match trust.root_offered(&bytes) {
            Ok(true) if trust.root().version == version => roots.push(trust.root().clone()),
            Ok(_) => return Err(format!("{file}: holds another root than its name says")),
            Err(refusal) => return Err(format!("{file}: {refusal}")),
        }
    }
}

/// A timestamp of a group that the online key of one of these roots has signed.
pub(super) fn stamp(bytes: &[u8], roots: &[Root], group: &str) -> Result<Timestamp, String> {
    let envelope = Envelope::parse(bytes, Timestamp::CAP).map_err(|fault| fault.to_string())?;
    if envelope.payload_type() != Timestamp::PAYLOAD_TYPE {
        return Err("is no timestamp".to_owned());
    }
    let signed = |root: &Root| {
        let Role { keys, threshold } = root.role(RoleKind::Timestamp);
        envelope.signers(keys).len() >= *threshold
    };
    let Some(root) = roots.iter().find(|root| signed(root)) else {
        return Err("is not signed by the online key of this fleet".to_owned());
    };
    let stamp = Timestamp::read(envelope.payload())?;
    if stamp.group == group && stamp.organisation == root.organisation {
        return Ok(stamp);
    }
    Err(format!("is of group {:?} of {:?}, not of group {group:?}", stamp.group, stamp.organisation))
}

/// The documents of a folder. Of one that is too long no more is read than shows that it is.
pub(super) fn folder(path: &Path) -> impl Fn(&str, usize) -> io::Result<Option<Vec<u8>>> + '_ {
    move |file, cap| {
        let opened = match atomic_file::open_regular(&path.join(file)) {
            Ok(opened) => opened,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let most = u64::try_from(cap).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        opened.take(most).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
