//! Which store a command is about, and the keys for it.
//!
//! In: the configuration, or a folder and a key file that are named instead of it. Out: a [`Target`]. What can go
//! wrong: the key is not at hand, which some commands can do without; that is said together with the
//! way to have it. What never happens: a token is asked for its key twice by one command, or goes on being
//! asked after it refused a PIN: it has few tries.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::super::Folder;
use super::super::exit::{Exit, Failure};
use super::super::keys::exit_of;
use crate::config::Config;
use crate::envelope::keys::{KeyPlace, KeyRing};
use crate::store::StoreError;

/// Which store.
#[derive(Debug, Args)]
pub(in super::super) struct Which {
    #[command(flatten)]
    folder: Folder,
    /// This store, for instance on a disk taken out of a gateway, in place of the configuration's.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    store: Option<PathBuf>,
    /// The file with the key of --store.
    #[arg(long, value_name = "FILE", requires = "store")]
    kek: Option<PathBuf>,
    /// The file with the key that --store is being moved from.
    #[arg(long, value_name = "FILE", requires = "kek")]
    kek_previous: Option<PathBuf>,
}

/// Why the keys are not at hand.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(in super::super) struct NoKeys {
    why: String,
    exit: Exit,
}

/// A store and what is known of it from outside.
pub(in super::super) struct Target {
    /// The store's folder.
    pub(in super::super) folder: PathBuf,
    /// The gateway's name, and how much the store may use: cap and alarm reserve.
    pub(in super::super) gateway: Option<(String, u64, u64)>,
    /// Its keys, or why they are not at hand.
    pub(in super::super) keys: Result<KeyRing, NoKeys>,
}

impl Which {
    /// With its keys.
    pub(in super::super) fn target(&self) -> Result<Target, Failure> {
        self.target_with(None)
    }

    /// With its keys, but for those in a token: `how` says how to have these.
    pub(in super::super) fn target_in_the_clear(&self, how: &str) -> Result<Target, Failure> {
        self.target_with(Some(how))
    }

    fn target_with(&self, how: Option<&str>) -> Result<Target, Failure> {
        let target = if let Some(store) = &self.store {
            let none =
                || NoKeys { why: "no key was named: name its file with --kek".to_owned(), exit: Exit::Keys };
            let place = |path: &PathBuf| KeyPlace::File(path.clone());
            let previous = self.kek_previous.as_ref().map(place);
            let kek = self.kek.as_ref().map(place).ok_or_else(none);
            let keys = kek.and_then(|kek| keys_in(&kek, previous.as_ref()));
            Target { folder: store.clone(), gateway: None, keys }
        } else {
            let config = self.folder.load_or_fail()?.config;
            match how.filter(|_| has_token(&config)) {
                Some(how) => {
                    let why = format!("the key is in a token, which was not asked: {how}");
                    Target::with(&config, Err(NoKeys { why, exit: Exit::Keys }))
                }
                None => Target::of(&config),
            }
        };
        target.must_exist()?;
        Ok(target)
    }
}

impl Target {
    /// The store of a configuration.
    pub(in super::super) fn of(config: &Config) -> Self {
        Self::with(config, keys_in(&config.keys.kek, config.keys.kek_previous.as_ref()))
    }

    fn with(config: &Config, keys: Result<KeyRing, NoKeys>) -> Self {
        Self {
            folder: config.store.folder.clone(),
            gateway: Some((config.uplink.gateway.clone(), config.store.cap, config.store.alarm_reserve)),
            keys,
        }
    }

    /// The store of a configuration, looked at once more; `None` where a token has a key: what it answered still holds, as nothing
    /// here changes a token.
    pub(in super::super) fn again(config: &Config) -> Option<Self> {
        (!has_token(config)).then(|| Self::of(config))
    }

    /// Ends what can go on without keys when that is because a token did not take its PIN: nobody would see it.
    pub(in super::super) fn must_not_be_refused(&self) -> Result<(), Failure> {
        match &self.keys {
            Err(error) if error.exit == Exit::Pin => {
                let way_out = "To go on without this key, take `pin-source` out of its URI";
                Err(Failure::new(Exit::Pin, anyhow!("{error}. {way_out}")))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(in super::super) fn must_exist(&self) -> Result<(), Failure> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let folder = self.folder.display();
        let error = anyhow!("there is no store in {folder}: the daemon makes it at its first start");
        Err(Failure::new(Exit::Store, error))
    }

    /// The keys, for what cannot be done without.
    pub(in super::super) fn need_keys(&self) -> Result<&KeyRing, Failure> {
        self.keys.as_ref().map_err(|error| Failure::new(error.exit, anyhow!("{error}")))
    }
}

/// Below this systemd keeps the credentials of its units, each while its unit runs.
const CREDENTIALS_ROOT: &str = "/run/credentials";

fn has_token(config: &Config) -> bool {
    let keys = &config.keys;
    [Some(&keys.kek), keys.kek_previous.as_ref()].into_iter().flatten().any(|key| key.token().is_some())
}

fn keys_in(kek: &KeyPlace, previous: Option<&KeyPlace>) -> Result<KeyRing, NoKeys> {
    KeyRing::load(kek, previous).map_err(|error| {
        let absent: Vec<String> = [Some(kek), previous].into_iter().flatten().filter_map(absent).collect();
        let why = if absent.is_empty() {
            error.to_string()
        } else {
            format!(
                "{error}\nCredentials are there only while the unit runs: with the daemon stopped, put this in \
                 front of the command:\n  systemd-run --pty --wait -q {}",
                absent.join(" ")
            )
        };
        NoKeys { why, exit: exit_of(&error) }
    })
}

/// What has systemd give this command a credential of the unit, when a key or its PIN is one that is not
/// there.
fn absent(place: &KeyPlace) -> Option<String> {
    let path = place.path().or_else(|| place.token()?.pin.as_deref())?;
    let name = path.file_name()?.to_string_lossy();
    let is_absent = path.starts_with(CREDENTIALS_ROOT) && !path.exists();
    is_absent.then(|| format!("-p LoadCredentialEncrypted={name}:wardline.{name}"))
}

/// What a refusal of the store means for the exit code.
pub(in super::super) fn failure(error: StoreError) -> Failure {
    let is_key = matches!(error, StoreError::WrongKey { .. } | StoreError::PreviousKey { .. });
    Failure::new(if is_key { Exit::Keys } else { Exit::Store }, error)
}
