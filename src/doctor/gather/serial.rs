//! Ports, looked at without being opened.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::bits;
use crate::config::{Config, Connection};
use crate::doctor::serial::{Facts, Holder, Node, Rights, User, user_of};

/// The user that the unit names.
const DAEMON: &str = "wardline";

pub(super) fn ports(root: &Path, config: &Config) -> Vec<Facts> {
    let users = bits::text(root, "etc/passwd").unwrap_or_default();
    let groups = bits::text(root, "etc/group").unwrap_or_default();
    // On a machine without the daemon's user, whoever asks runs it.
    let user = user_of(DAEMON, &users, &groups).unwrap_or_else(this_user);
    let ports: Vec<(&Path, &str)> = config
        .devices
        .iter()
        .filter_map(|device| match &device.connection {
            Connection::Serial { port, .. } => Some((port.as_path(), device.rule.card.id.as_str())),
            Connection::Part { .. } | Connection::Ble { .. } => None,
        })
        .collect();
    let (holders, makers) = holders(root);
    let look = |(port, device): (&Path, &str)| {
        let node = node(port);
        let group = match node {
            Node::Device(_, rights) => group_name(&groups, rights.group),
            Node::Absent | Node::Other => None,
        };
        let real = port.canonicalize().map(|real| real.display().to_string()).unwrap_or_default();
        Facts {
            port: port.display().to_string(),
            device: device.to_owned(),
            node,
            user: user.clone(),
            group,
            holders: held_by(&real, &holders, &makers),
        }
    };
    ports.into_iter().map(look).collect()
}

fn node(port: &Path) -> Node {
    match std::fs::metadata(port) {
        Err(_) => Node::Absent,
        Ok(found) if found.file_type().is_char_device() => {
            let rights = Rights { mode: found.mode() & 0o7777, owner: found.uid(), group: found.gid() };
            Node::Device(found.rdev(), rights)
        }
        Ok(_) => Node::Other,
    }
}

fn this_user() -> User {
    let id = rustix::process::geteuid().as_raw();
    let groups = rustix::process::getgroups().unwrap_or_default();
    let groups = groups.into_iter().map(rustix::fs::Gid::as_raw).chain([rustix::process::getegid().as_raw()]);
    User { name: format!("number {id}"), id, groups: groups.collect() }
}

fn group_name(groups: &str, number: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    })
}

/// Who has which character device open.
type Holders = BTreeMap<String, Vec<Holder>>;
/// Which processes made which pseudo-terminals, by the number of these.
type Makers = BTreeSet<(u32, String)>;

fn held_by(real: &str, holders: &Holders, makers: &Makers) -> Vec<Holder> {
    let number = real.strip_prefix("/dev/pts/").unwrap_or_default();
    let of = holders.get(real).into_iter().flatten().cloned();
    let made = |holder: Holder| {
        let is_other_end = makers.contains(&(holder.process, number.to_owned()));
        Holder { is_other_end, ..holder }
    };
    of.map(made).collect()
}

/// From `/proc/PID/fd` and, of pseudo-terminals' masters, `/proc/PID/fdinfo` (`tty-index`), as far as this user may see.
fn holders(root: &Path) -> (Holders, Makers) {
    let mut found = Holders::new();
    let mut makers = Makers::new();
    let own = std::process::id();
    for entry in std::fs::read_dir(root.join("proc")).into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if process == own {
            continue;
        }
        let descriptors = std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let targets = descriptors.filter_map(|descriptor| {
            Some((std::fs::read_link(descriptor.path()).ok()?, descriptor.file_name()))
        });
        for (target, number) in targets.filter(|(target, _)| target.starts_with("/dev")) {
            if target.ends_with("ptmx") {
                let info =
                    std::fs::read_to_string(entry.path().join("fdinfo").join(number)).unwrap_or_default();
                let index = info.lines().find_map(|line| line.strip_prefix("tty-index:"));
                makers.extend(index.map(|index| (process, index.trim().to_owned())));
            }
            let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let holder = Holder { process, program: comm.trim().to_owned(), is_other_end: false };
            let of = found.entry(target.display().to_string()).or_default();
            if !of.contains(&holder) {
                of.push(holder);
            }
        }
    }
    (found, makers)
}
