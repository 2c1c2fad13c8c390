//! Is this gateway well: named checks, each with a verdict in plain words and a way out.
//!
//! In: [`Facts`], gathered by [`gather`] with a limit on how long each may take. Out: a [`Finding`] for each check.
//! Everything but `gather` is pure: the same facts give the same words. What can go wrong: a fact could not be had;
//! its check then says `unchecked` and why, and never that all is well. What never happens: a setting or a file is
//! changed; a token is asked for its PIN; the daemon's session at the broker is taken over; a reading, a key or a
//! serial number is in a finding.

pub mod broker;
pub mod bundle;
pub mod certificate;
pub mod clock;
pub mod configuration;
pub mod disk;
pub mod fleet;
pub mod gather;
pub mod identity;
pub mod keys;
pub mod machine;
pub mod radio;
pub mod serial;
pub mod store;
pub mod unit;

use serde::Serialize;

/// How a check ended, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Worth a word.
    Note,
    /// It could not be checked.
    Unchecked,
    /// Wrong.
    Wrong,
}

impl Verdict {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unchecked => "unchecked",
            Self::Wrong => "WRONG",
        }
    }
}

/// One thing that a check has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// How bad it is.
    pub verdict: Verdict,
    /// What is so, in plain words.
    pub text: String,
    /// What to do about it: words, or a command.
    pub remedy: Option<String>,
}

/// Everything that a check has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says(Vec<Said>);

impl Says {
    fn add(mut self, verdict: Verdict, text: impl Into<String>, remedy: Option<String>) -> Self {
        self.0.push(Said { verdict, text: text.into(), remedy });
        self
    }

    /// All is well with this.
    #[must_use]
    pub fn ok(self, text: impl Into<String>) -> Self {
        self.add(Verdict::Ok, text, None)
    }

    /// Worth a word.
    #[must_use]
    pub fn note(self, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        self.add(Verdict::Note, text, Some(remedy.into()))
    }

    /// Wrong, and what to do.
    #[must_use]
    pub fn wrong(self, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        self.add(Verdict::Wrong, text, Some(remedy.into()))
    }

    /// It could not be checked.
    #[must_use]
    pub fn unseen(self, unseen: &Unseen) -> Self {
        self.add(Verdict::Unchecked, unseen.why.clone(), unseen.remedy.clone())
    }

    /// One more thing.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The worst of it; nothing said is all well.
    pub fn verdict(&self) -> Verdict {
        self.0.iter().map(|said| said.verdict).max().unwrap_or(Verdict::Ok)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Said> {
        self.0.iter()
    }
}

/// Why something could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// In words.
    pub why: String,
    /// What would make it possible.
    pub remedy: Option<String>,
}

impl Unseen {
    /// With nothing that would help.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: None }
    }

    /// With what would make it possible.
    pub fn with(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: Some(remedy.into()) }
    }
}

/// What was learned, or why not.
pub type Looked<T> = Result<T, Unseen>;

/// What one check judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The kernel's word on the clock.
    Clock,
    /// The configuration.
    Configuration,
    /// This gateway's certificate.
    Certificate,
    /// The broker's name.
    BrokerName,
    /// The handshake with the broker.
    BrokerTls,
    /// A publish and its PUBACK.
    BrokerPuback,
    /// What the broker lets this gateway publish and subscribe to.
    TopicRights,
    /// The disk below the store.
    Disk,
    /// The store.
    Store,
    /// The local keys.
    Keys,
    /// The radio adapters.
    Adapters,
    /// `BlueZ`.
    Bluetoothd,
    /// The serial ports.
    Serial,
    /// Two of what there must be one of.
    Identity,
    /// The membership of a fleet.
    Fleet,
    /// Power and heat of a Raspberry Pi.
    Pi,
    /// Whether memory can reach a disk.
    Memory,
    /// The systemd unit.
    Unit,
}

impl Check {
    /// Every check with its name and what it looks at, in the order in which they are shown.
    pub const TABLE: [(Self, &'static str, &'static str); 18] = [
        (Self::Clock, "clock", "the clock follows a reference, how far off it may be, the year"),
        (Self::Configuration, "configuration", "what `wardline check` says"),
        (
            Self::Certificate,
            "certificate",
            "chain, days left, key, client authentication, rights of the files",
        ),
        (Self::BrokerName, "broker-name", "the broker's name resolves, and to which addresses"),
        (Self::BrokerTls, "broker-tls", "a real handshake with the configured authorities and certificate"),
        (
            Self::BrokerPuback,
            "broker-puback",
            "CONNECT under a client id of its own, a publish and its PUBACK",
        ),
        (Self::TopicRights, "topic-rights", "what the broker refuses of the topics that the gateway needs"),
        (Self::Disk, "disk", "free space and inodes, file system, mount options below the store"),
        (Self::Store, "store", "the store can be looked into and is sound"),
        (Self::Keys, "keys", "the local keys are there, for their owner alone, and what protects them"),
        (Self::Adapters, "adapters", "the Bluetooth adapters that devices name are there and on"),
        (Self::Bluetoothd, "bluetoothd", "BlueZ runs, its version, settings in main.conf that hurt"),
        (
            Self::Serial,
            "serial",
            "each port exists, may be opened by the daemon's user, is held by nobody else",
        ),
        (Self::Identity, "identity", "nobody else uses this gateway's name, no two devices one port"),
        (Self::Fleet, "fleet", "membership, the documents that are trusted, whether they are fresh"),
        (Self::Pi, "pi", "under-voltage and throttling of a Raspberry Pi"),
        (Self::Memory, "memory", "keys and readings in memory can reach neither swap nor a core dump"),
        (Self::Unit, "unit", "the systemd unit is enabled, and nothing weakens it"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(check, ..)| *check == self).map_or("", |(_, name, _)| name)
    }

    /// The check of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|(_, of, _)| *of == name).map(|(check, ..)| *check)
    }
}

/// What one check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub check: Check,
    /// What it says.
    pub says: Says,
}

impl Finding {
    /// As JSON: `{"check", "verdict", "says": [{"verdict", "text", "remedy"}]}`.
    pub fn as_json(&self) -> serde_json::Value {
        serde_json::json!({
            "check": self.check.name(),
            "verdict": self.says.verdict(),
            "says": self.says.0,
        })
    }
}

/// Everything that was learned.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The clock.
    pub clock: clock::Facts,
    /// The configuration.
    pub configuration: configuration::Facts,
    /// The certificate.
    pub certificate: Looked<certificate::Facts>,
    /// The broker.
    pub broker: Looked<broker::Facts>,
    /// The disk.
    pub disk: Looked<disk::Facts>,
    /// The store.
    pub store: Looked<store::Facts>,
    /// The keys.
    pub keys: Looked<keys::Facts>,
    /// The radio.
    pub radio: Looked<radio::Facts>,
    /// The ports.
    pub serial: Looked<Vec<serial::Facts>>,
    /// Names.
    pub identity: Looked<identity::Facts>,
    /// The fleet.
    pub fleet: Looked<Option<fleet::Facts>>,
    /// The board.
    pub pi: Looked<machine::Pi>,
    /// Memory.
    pub memory: Looked<machine::Memory>,
    /// The unit.
    pub unit: Looked<unit::Facts>,
}

fn judged<T>(looked: &Looked<T>, judge: impl FnOnce(&T) -> Says) -> Says {
    match looked {
        Ok(facts) => judge(facts),
        Err(unseen) => Says::default().unseen(unseen),
    }
}

impl Facts {
    /// What these checks find.
    pub fn judge(&self, wanted: &[Check]) -> Vec<Finding> {
        let wanted = Check::TABLE.iter().map(|(check, ..)| *check).filter(|check| wanted.contains(check));
        wanted.map(|check| Finding { check, says: self.says(check) }).collect()
    }

    fn says(&self, check: Check) -> Says {
        match check {
            Check::Clock => clock::judge(&self.clock),
            Check::Configuration => configuration::judge(&self.configuration),
            Check::Certificate => judged(&self.certificate, certificate::judge),
            Check::BrokerName => judged(&self.broker, broker::judge_name),
            Check::BrokerTls => judged(&self.broker, broker::judge_tls),
            Check::BrokerPuback => judged(&self.broker, broker::judge_puback),
            Check::TopicRights => judged(&self.broker, broker::judge_rights),
            Check::Disk => judged(&self.disk, disk::judge),
            Check::Store => judged(&self.store, store::judge),
            Check::Keys => judged(&self.keys, keys::judge),
            Check::Adapters => judged(&self.radio, radio::judge_adapters),
            Check::Bluetoothd => judged(&self.radio, radio::judge_bluetoothd),
            Check::Serial => judged(&self.serial, |ports| serial::judge(ports)),
            Check::Identity => judged(&self.identity, identity::judge),
            Check::Fleet => judged(&self.fleet, |fleet| fleet::judge(fleet.as_ref())),
            Check::Pi => judged(&self.pi, machine::judge_pi),
            Check::Memory => judged(&self.memory, machine::judge_memory),
            Check::Unit => judged(&self.unit, unit::judge),
        }
    }
}

/// `1 day`, `3 days`.
fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_one_name_and_is_found_by_it() {
        for (place, (check, name, about)) in Check::TABLE.iter().enumerate() {
            assert_eq!(usize::from(*check as u8), place, "{name} is out of order");
            assert_eq!((check.name(), Check::named(name)), (*name, Some(*check)));
            assert!(!about.is_empty());
        }
        assert_eq!(Check::named("nothing"), None);
    }

    #[test]
    fn the_worst_that_is_said_is_the_verdict_and_what_was_not_seen_is_never_well() {
        let says = Says::default().ok("a").note("b", "c");
        assert_eq!(says.verdict(), Verdict::Note);
        assert_eq!(says.clone().unseen(&Unseen::new("x")).verdict(), Verdict::Unchecked);
        assert_eq!(says.wrong("d", "e").unseen(&Unseen::new("x")).verdict(), Verdict::Wrong);
        assert_eq!(judged::<()>(&Err(Unseen::new("no")), |()| Says::default()).verdict(), Verdict::Unchecked);
    }
}
