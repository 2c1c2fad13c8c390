//! Small files of the system.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The most that is read: the package manager's list of a desktop has some 5 MB.
const MOST: u64 = 32 << 20;

/// The text of a file below a root; none: it is not there, or not to be read.
pub(super) fn text(root: &Path, path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    // Files of /proc and /sys have no length beforehand; a link is followed, as the system does.
    File::open(root.join(path)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The version of an installed package (`/var/lib/dpkg/status`, deb-control(5)).
pub(super) fn package(root: &Path, name: &str) -> Option<String> {
    let list = text(root, "var/lib/dpkg/status")?;
    let wanted = format!("Package: {name}");
    let entry = list.split("\n\n").find(|entry| entry.lines().next() == Some(wanted.as_str()))?;
    let is_installed = entry.lines().any(|line| line == "Status: install ok installed");
    let version = entry.lines().find_map(|line| line.strip_prefix("Version: "))?;
    is_installed.then(|| version.to_owned())
}
