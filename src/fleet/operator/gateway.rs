//! `wardline-fleet gateway add`: registers a gateway, and makes what it is set up with.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::folder::{Fleet, REGISTER};
use super::walk::{self, root_file};
use super::{at, refused};
use crate::cli::exit::Failure;
use crate::cli::out;
use crate::fleet::documents::{Document as _, Root, is_name};
use crate::host::atomic_file;

/// The gateways of the fleet.
#[derive(Debug, Args)]
pub(super) struct Gateways {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Register a gateway, and make the package that it is set up with.
    Add(Add),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wardline-fleet gateway add gw-icu-3-01 --group icu-3 /srv/fleet")]
struct Add {
    /// The gateway's id.
    id: String,
    /// Its group: a ward.
    #[arg(long, value_name = "G")]
    group: String,
    /// The fleet's folder.
    folder: PathBuf,
}

impl Gateways {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Add(add) => add.run(),
        }
    }
}

impl Add {
    fn run(self) -> Result<(), Failure> {
        let fleet = Fleet::open_to_write(&self.folder, "gateway add")?;
        let Self { id, group, .. } = &self;
        if let Some(name) = [id, group].into_iter().find(|name| !is_name(name)) {
            return Err(refused(format!("{name:?}: a name is 1 to 32 of the characters a-z, 0-9 and -")));
        }
        if let Some(known) = fleet.register().group_of(id) {
            return Err(refused(format!(
                "gateway {id:?} is in {REGISTER} already, in group {known:?}: a gateway is in one group; its id is used once"
            )));
        }
        let root = fleet.root()?;
        let version = root.version;
        let source = walk::folder(&fleet.published())(&root_file(version), Root::CAP)?;
        let package = self.folder.join("enrol").join(id);
        if package.symlink_metadata().is_ok() {
            return Err(refused(format!("{} is there already: nothing is overwritten", package.display())));
        }
        atomic_file::create_folder(&package).map_err(at)?;
        let organisation = &fleet.register().organisation;
        let gateway =
            format!("[gateway]\norganisation = \"{organisation}\"\ngroup = \"{group}\"\nid = \"{id}\"\n");
        let readme = format!(
            "Gateway {id} of group {group}, organisation {organisation}.\n\n\
             1. Bring this folder to the gateway by hand: root.json says whose orders it takes from then on.\n\
             2. Put the lines of gateway.toml into the gateway's own gateway.toml.\n\
             3. Compare the SHA-256 of root.json with whoever keeps the keys:\n   {}\n\
             4. On the gateway, as the daemon's user: wardline enrol --root root.json\n   \
                with --server URL where its certificate comes from there, and with --timestamp FILE, the newest\n   \
                published/g/{group}/ts.json, where its clock follows no time server.\n",
            crate::fleet::documents::Digest::of(source.as_deref().unwrap_or_default())
        );
        let files = [
            ("root.json", source.as_deref().unwrap_or_default()),
            ("gateway.toml", gateway.as_bytes()),
            ("README", readme.as_bytes()),
        ];
        for (name, bytes) in files {
            atomic_file::create(&package.join(name), bytes).map_err(at)?;
        }
        fleet.register_gateway(id, group)?;
        let mut out = out::stdout();
        out.line(format_args!("{id} is of group {group}; its package: {}", package.display()))?;
        out.line(format_args!(
            "next: add it to the members of the ward's next bundle (wardline-fleet bundle new)"
        ))?;
        Ok(out.finish()?)
    }
}
