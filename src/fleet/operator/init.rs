//! `wardline-fleet init`: the keys of a fleet, and its first root.

use std::path::PathBuf;

use clap::Args;

use super::folder::{KEYS, PUBLISHED, REGISTER};
use super::passphrase::Passphrases;
use super::{PassphraseFile, after_days, at, keyfile, now, refused, walk};
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use crate::fleet::documents::{Document as _, Role, RoleKind, Root, is_name};
use crate::fleet::dsse::Envelope;
use crate::fleet::key::PrivateKey;
use crate::host::atomic_file;

/// How many keys a role has and how many of them must sign: `3/2`.
#[derive(Clone, Copy, Debug)]
struct Share {
    keys: usize,
    threshold: usize,
}

impl Share {
    fn read(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(keys, threshold)| Some((keys.parse().ok()?, threshold.parse().ok()?)));
        match parts {
            Some((keys, threshold)) if (1..=16).contains(&keys) && (1..=keys).contains(&threshold) => {
                Ok(Self { keys, threshold })
            }
            _ => Err("write KEYS/NEEDED, for instance 3/2: at most 16 keys, of which 1 up to all must sign"
                .to_owned()),
        }
    }
}

/// Make the keys of a fleet, and the root that says who may sign what.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wardline-fleet init --organisation st-anna /srv/fleet\n\n\
    Move the root keys out of the folder afterwards, each to a place of its own. Whoever loses more of them than the \
    root can spare has to set up every gateway again.")]
pub(super) struct Init {
    /// The organisation: the first level of every topic.
    #[arg(long, value_name = "NAME")]
    organisation: String,
    /// Keys that sign roots, and how many of them must.
    #[arg(long, value_name = "N/T", default_value = "3/2", value_parser = Share::read)]
    root_keys: Share,
    /// Keys that sign bundles, and how many of them must.
    #[arg(long, value_name = "N/T", default_value = "3/2", value_parser = Share::read)]
    config_keys: Share,
    /// In how many days the root expires.
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u16).range(30..=3650))]
    days: u16,
    #[command(flatten)]
    passphrases: PassphraseFile,
    /// The folder; made when it is not there.
    folder: PathBuf,
}

struct Made {
    name: String,
    key: PrivateKey,
    text: zeroize::Zeroizing<String>,
}

impl Init {
    pub(super) fn run(self) -> Result<(), Failure> {
        if !is_name(&self.organisation) {
            return Err(Failure::new(
                Exit::Usage,
                anyhow::anyhow!(
                    "{:?}: a name is 1 to 32 of the characters a-z, 0-9 and -",
                    self.organisation
                ),
            ));
        }
        for name in [REGISTER, KEYS, PUBLISHED] {
            if self.folder.join(name).symlink_metadata().is_ok() {
                return Err(refused(format!(
                    "{} has a {name} already: nothing is overwritten; name another folder",
                    self.folder.display()
                )));
            }
        }
        let passphrases = Passphrases::from(self.passphrases.path())?;
        let shares = [
            (RoleKind::Root, self.root_keys),
            (RoleKind::Config, self.config_keys),
            (RoleKind::Timestamp, Share { keys: 1, threshold: 1 }),
        ];
        let made = make(&passphrases, &shares)?;
        let [root, config, timestamp] = shares.map(|(kind, share)| Role {
            keys: of_role(&made, kind).map(|made| made.key.public()).collect(),
            threshold: share.threshold,
        });
        let expires = after_days(now(None)?.wall, i64::from(self.days));
        let root =
            Root::new(self.organisation.clone(), 1, expires, [root, config, timestamp]).map_err(refused)?;
        let mut envelope = Envelope::new(Root::PAYLOAD_TYPE, root.to_payload());
        for made in of_role(&made, RoleKind::Root) {
            envelope.sign(&made.key);
        }
        self.write(&made, &envelope.to_bytes())?;
        self.tell(&made)
    }

    /// The register comes last: without it the folder is no fleet's.
    fn write(&self, made: &[Made], root: &[u8]) -> Result<(), Failure> {
        let keys = self.folder.join(KEYS);
        atomic_file::create_folder(&keys).map_err(at)?;
        for Made { name, text, .. } in made {
            atomic_file::create(&keys.join(format!("{name}.pem")), text.as_bytes()).map_err(at)?;
        }
        let file = self.folder.join(PUBLISHED).join(walk::root_file(1));
        atomic_file::create_folder(file.parent().unwrap_or(&self.folder)).map_err(at)?;
        atomic_file::create(&file, root).map_err(at)?;
        let register = format!(
            "# The gateways of this fleet and their groups; `wardline-fleet gateway add` adds one.\n\
             organisation = \"{}\"\n",
            self.organisation
        );
        atomic_file::write(&self.folder.join(REGISTER), register.as_bytes()).map_err(at)
    }

    fn tell(&self, made: &[Made]) -> Result<(), Failure> {
        let mut out = out::stdout();
        for Made { name, key, .. } in made {
            out.line(format_args!("{KEYS}/{name}.pem  {}", key.public().id()))?;
        }
        let (root, config) = (self.root_keys, self.config_keys);
        out.line(format_args!(
            "root 1 of {}: {} of {} root keys sign a root, {} of {} config keys a bundle",
            self.organisation, root.threshold, root.keys, config.threshold, config.keys
        ))?;
        out.line(format_args!(
            "next: move the root keys to safe places; wardline-fleet gateway add GW --group WARD {}",
            self.folder.display()
        ))?;
        Ok(out.finish()?)
    }
}

fn make(passphrases: &Passphrases, shares: &[(RoleKind, Share)]) -> Result<Vec<Made>, Failure> {
    let names = shares
        .iter()
        .flat_map(|(kind, share)| (1..=share.keys).map(move |number| format!("{}-{number}", kind.as_str())));
    let (mut made, mut taken) = (Vec::new(), Vec::new());
    for name in names {
        let passphrase = passphrases.of_new(&name, &taken)?;
        let (key, text) = keyfile::make(&passphrase).map_err(|fault| Failure::new(Exit::Keys, fault))?;
        taken.push(passphrase);
        made.push(Made { name, key, text });
    }
    Ok(made)
}

fn of_role(made: &[Made], kind: RoleKind) -> impl Iterator<Item = &Made> {
    made.iter().filter(move |made| made.name.rsplit_once('-').is_some_and(|(role, _)| role == kind.as_str()))
}
