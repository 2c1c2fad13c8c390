//! `wardline diag`: what support needs to know, in one archive, shown before it is written.
//!
//! What is in it, and what never is, says `doctor::bundle`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Args;

use super::exit::{Exit, Failure};
use super::{doctor, out, version};
use crate::config::{Config, DEVICES_FOLDER, Loaded, show_size};
use crate::doctor::Check;
use crate::doctor::bundle::{self, Part, archive, mask::Mask};
use crate::host::clock::SystemClock;
use crate::host::status::{Snapshot, ask};
use crate::host::{atomic_file, machine};
use crate::time::Clock as _;

/// Write what support needs to know, with no reading, key or name of a device in it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wardline diag                                 shows what would be in it\n  \
    wardline diag --out bundle.tar.gz\n  wardline diag --out - > bundle.tar.gz\n\n\
    A manifest says what is in it and what was left out; it is shown first, and at a terminal you are asked. Nothing is \
    sent anywhere. A name that ends with .tar is not wrapped by gzip."
)]
pub(super) struct Diag {
    #[command(flatten)]
    look: doctor::Look,
    /// The new file, or `-` for standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not ask before it is written.
    #[arg(long)]
    yes: bool,
}

impl Diag {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Some(path) = &self.out else {
            let (_, manifest) = self.parts()?;
            let mut out = out::stdout();
            for line in manifest.lines() {
                out.line(format_args!("{line}"))?;
            }
            out.finish()?;
            out::remark(format_args!("nothing was written: name a file with --out"));
            return Ok(());
        };
        let is_stdout = path == Path::new("-");
        if !is_stdout && path.symlink_metadata().is_ok() {
            let error = anyhow!("{} is there already: give a new name", path.display());
            return Err(Failure::new(Exit::Refused, error));
        }
        let (mut parts, manifest) = self.parts()?;
        writeln!(io::stderr(), "{manifest}")?;
        self.confirm()?;
        let listed = Part { name: "MANIFEST", about: "this list", bytes: manifest.into_bytes() };
        parts.insert(0, listed);
        let seconds =
            u64::try_from(SystemClock::default().now().wall.as_millis() / 1_000).unwrap_or_default();
        let tar = archive::tar("wardline-diag", &parts, seconds);
        let is_plain = path.extension().is_some_and(|end| end == "tar");
        let bytes = if is_plain { tar } else { archive::gzip(&tar) };
        if is_stdout {
            io::stdout().write_all(&bytes)?;
            return Ok(io::stdout().flush()?);
        }
        atomic_file::create(path, &bytes)?;
        out::remark(format_args!("wrote {} ({} bytes)", path.display(), bytes.len()));
        Ok(())
    }

    /// At a terminal; a script has been told by its author.
    fn confirm(&self) -> Result<(), Failure> {
        if self.yes || !io::stdin().is_terminal() {
            return Ok(());
        }
        write!(io::stderr(), "Write it? [y/N] ")?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(Failure::new(Exit::Refused, anyhow!("nothing was written")))
    }

    fn parts(&self) -> Result<(Vec<Part>, String), Failure> {
        let wanted = Check::TABLE.map(|(check, ..)| check);
        let (mut facts, loaded) = self.look.facts(&wanted)?;
        if loaded.is_none() {
            let told = &mut facts.configuration;
            told.problems = bundle::withheld(&told.problems, &told.folder);
        }
        let config = loaded.as_ref().map(|loaded| &loaded.config);
        let snapshot = config.and_then(|config| ask(&config.socket).ok());
        let mut mask = bundle::mask_of(config, snapshot.as_ref());
        for (place, file) in children(&self.look.folder.config.join(DEVICES_FOLDER)).iter().enumerate() {
            mask.hide(&name_of(file), &format!("file-{}.toml", place + 1));
        }
        let findings = facts.judge(&wanted);
        let mut parts = vec![
            Part::json("version.json", "this program", &version::told(), &Mask::default()),
            Part::text("kernel.txt", "board and kernel", &kernel(&self.look.root), &mask),
            Part::json("doctor.json", "what wardline doctor says", &doctor::as_json(&findings), &mask),
            configuration(loaded.as_ref(), &mask),
            Part::text("rights.txt", "modes, owners and sizes of files", &self.rights(config), &mask),
        ];
        if let Some(snapshot) = &snapshot {
            parts.extend(live(snapshot, &mask));
        }
        let gateway = config.map_or("?", |config| config.uplink.gateway.as_str());
        let manifest = bundle::manifest(&parts, gateway);
        Ok((parts, manifest))
    }

    /// `-0400 0:0 32 B kek`, a line for each file that the gateway needs.
    fn rights(&self, config: Option<&Config>) -> String {
        let folder = &self.look.folder.config;
        let mut lines = vec![line(folder, "(configuration)")];
        lines.extend(children(folder).iter().map(|path| line(path, &name_of(path))));
        let devices = children(&folder.join(DEVICES_FOLDER));
        // Such a file may be called by what stands at a bed.
        lines.extend(
            devices
                .iter()
                .enumerate()
                .map(|(place, path)| line(path, &format!("devices.d/file-{}", place + 1))),
        );
        let Some(config) = config else { return lines.join("\n") };
        let uplink = &config.uplink;
        for (path, name) in [
            (&uplink.authorities, "(authorities)"),
            (&uplink.certificate, "(certificate)"),
            (&config.store.folder, "(store)"),
            (&config.socket, "(status socket)"),
        ] {
            lines.push(line(path, name));
        }
        let keys =
            [("(private key)", &uplink.key), ("(kek)", &config.keys.kek), ("(ward)", &config.keys.ward)];
        for (name, place) in keys {
            lines.extend(place.path().map(|path| line(path, name)));
        }
        lines.join("\n")
    }
}

fn live(snapshot: &Snapshot, mask: &Mask) -> [Part; 3] {
    [
        Part::json("status.json", "what the daemon says of itself", &bundle::status(snapshot), mask),
        Part::json("store.json", "the store: numbers alone", &bundle::store(snapshot), mask),
        Part::text("warnings.txt", "the daemon's last warnings", &snapshot.warnings.join("\n"), mask),
    ]
}

fn configuration(loaded: Option<&Loaded>, mask: &Mask) -> Part {
    let settings = loaded.map_or(&[][..], |loaded| &loaded.settings);
    let value = bundle::configuration(loaded.map(|loaded| &loaded.config), settings);
    Part::json("configuration.json", "what is set, and where", &value, mask)
}

fn kernel(root: &Path) -> String {
    let machine::Machine { hardware, kernel } = machine::under(root);
    format!("hardware {hardware}\nkernel   {kernel}\n")
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn line(path: &Path, name: &str) -> String {
    match std::fs::symlink_metadata(path) {
        Ok(of) => {
            let (mode, kind) = (of.mode() & 0o7777, if of.is_dir() { 'd' } else { '-' });
            format!("{kind}{mode:04o} {}:{} {} {name}", of.uid(), of.gid(), show_size(of.len()))
        }
        Err(error) => format!("- {name}: {}", error.kind()),
    }
}
