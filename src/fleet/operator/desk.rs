//! The operator's desk for a program: what `push` and `rollout status --guard` do at the broker, without a folder of
//! keys. For the lab, which signs by itself.
//!
//! In: signed documents, a timestamp. Out: documents at the broker, each given back by it; how far the roll-out has
//! come by the reports, and whether it is to stop. It is the same code as the commands', so that what is measured
//! with it is theirs.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::broker::{Broker, Connection, Settings};
use super::progress::{Judge, Member, progress};
use super::proof::Authorities;
use super::view::{Sight, View};
use crate::cli::exit::Failure;
use crate::fleet::documents::Timestamp;
use crate::time::Wall;

/// How long the broker may take to say what it counted.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a fleet is led from.
pub(crate) struct Desk {
    settings: Settings,
    authorities: Authorities,
    organisation: String,
    group: String,
    members: Vec<String>,
}

/// How far a roll-out has come, by the reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// Members that run the bundle and have proven that.
    pub(crate) run: usize,
    /// Those that took it back.
    pub(crate) failed: Vec<String>,
    /// Reports that nothing proves.
    pub(crate) unproven: usize,
    /// Bytes of everything that was read for it.
    pub(crate) bytes: usize,
    /// Why it is to stop.
    pub(crate) stop: Option<String>,
}

impl Desk {
    /// A desk for one group; the broker is the one of `broker.toml` in the folder.
    pub(crate) fn open(
        folder: &Path,
        (organisation, group): (&str, &str),
        members: &[String],
    ) -> anyhow::Result<Self> {
        let settings = Connection::default().settings(folder).map_err(said)?;
        let authorities = Authorities::read(settings.of_gateways()).map_err(said)?;
        let (organisation, group) = (organisation.to_owned(), group.to_owned());
        Ok(Self { settings, authorities, organisation, group, members: members.to_vec() })
    }

    /// Has the broker retain documents, one after the other, and waits until it gives each of them back.
    pub(crate) fn push(&self, documents: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
        let mut broker = Broker::connect(&self.settings).map_err(said)?;
        for (topic, bytes) in documents {
            broker.retain(topic, bytes).map_err(said)?;
            broker.read_back(topic, bytes).map_err(said)?;
        }
        Ok(())
    }

    /// What `rollout status` would say of this timestamp now.
    pub(crate) fn judge(&self, stamp: &Timestamp, now: impl Fn() -> Wall) -> anyhow::Result<Judged> {
        let mut broker = Broker::connect(&self.settings).map_err(said)?;
        let retained = broker.retained(&View::filters(&self.organisation)).map_err(said)?;
        drop(broker);
        let now = now();
        let known = self.members.iter().map(|id| (id.as_str(), self.group.as_str()));
        let mut view = View::new(&self.organisation, known);
        let prove = |bytes: &[u8], report: &_, now| self.authorities.prove(bytes, report, now);
        for (topic, bytes) in &retained {
            view.take(topic, bytes, &Sight { is_live: false, now, prove: &prove });
        }
        let unheard = |id| Member { id, proven: None, unproven: None, heard: None, signed: None };
        let members: Vec<Member<'_>> = self
            .members
            .iter()
            .map(|id| view.of(id).map_or_else(|| unheard(id), |known| known.member(id)))
            .collect();
        let unproven = members.iter().filter(|member| member.unproven.is_some()).count();
        let progress = progress(stamp, &members, &Judge { except: &[], now, heartbeat: None });
        Ok(Judged {
            run: progress.shares.iter().map(|share| share.run).sum(),
            failed: progress.shares.into_iter().flat_map(|share| share.failed).collect(),
            unproven,
            bytes: retained.iter().map(|(topic, bytes)| topic.len().saturating_add(bytes.len())).sum(),
            stop: progress.stop,
        })
    }

    /// Numbers that the broker retains, by topic: what it counted (`$SYS`).
    pub(crate) fn numbers(&self, topics: &[&str]) -> anyhow::Result<BTreeMap<String, u64>> {
        let mut broker = Broker::connect(&self.settings).map_err(said)?;
        for topic in topics {
            broker.subscribe(topic).map_err(said)?;
        }
        let mut numbers = BTreeMap::new();
        while numbers.len() < topics.len() {
            let Some(heard) = broker.hear(PATIENCE).map_err(said)? else {
                anyhow::bail!("the broker does not say what it counted: {topics:?}");
            };
            let number = String::from_utf8_lossy(&heard.payload).trim().parse();
            numbers.insert(heard.topic, number.unwrap_or(0));
        }
        Ok(numbers)
    }
}

fn said(failure: Failure) -> anyhow::Error {
    failure.error.unwrap_or_else(|| anyhow::anyhow!("it failed without a word"))
}
