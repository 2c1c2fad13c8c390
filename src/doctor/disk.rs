//! `disk`: what the store stands on.

use super::{Looked, Says};
use crate::config::show_size;

/// What the kernel says of the file system below the store (statvfs(3), `/proc/PID/mountinfo`).
#[derive(Clone, Debug)]
pub struct Facts {
    /// The store's folder, or the nearest above it that is there.
    pub folder: String,
    /// Bytes that the daemon's user may still write.
    pub free: u64,
    /// Inodes that are free; none where the file system counts none.
    pub inodes: Option<u64>,
    /// Bytes that the store uses already.
    pub used: Looked<u64>,
    /// The most that the store may use.
    pub cap: u64,
    /// Whether nothing can be written.
    pub is_read_only: bool,
    /// `ext4`.
    pub kind: Option<String>,
    /// `rw,noatime`.
    pub options: Vec<String>,
}

/// A segment is a folder with a few files; the fleet's folder and the audit log need some too.
const FEW_INODES: u64 = 2_000;

/// In memory: gone with the power.
const VOLATILE: [&str; 3] = ["tmpfs", "ramfs", "zram"];
/// No rights, no hard links, no journal.
const FAT: [&str; 4] = ["vfat", "msdos", "exfat", "ntfs"];
/// Over a network, or of another system: what fdatasync(2) promises is the other side's to keep.
const FOREIGN: [&str; 7] = ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "virtiofs"];
/// They take the promise out of fdatasync(2) (ext4(5), xfs(5)).
const NO_BARRIERS: [&str; 3] = ["nobarrier", "barrier=0", "nobh"];

/// Says what is wrong with it.
pub fn judge(facts: &Facts) -> Says {
    let folder = &facts.folder;
    let mut says = judge_room(facts);
    if facts.is_read_only {
        says = says.wrong(
            format!("{folder} is on a file system that is read-only: nothing can be kept"),
            "dmesg says whether it was remounted after an error (then replace the card); else mount -o remount,rw",
        );
    }
    if facts.inodes.is_some_and(|left| left < FEW_INODES) {
        says = says.wrong(
            format!("only {} files can still be made below {folder}", facts.inodes.unwrap_or_default()),
            format!("df -i {folder}; remove what made so many small files"),
        );
    }
    if let Some(kind) = &facts.kind {
        says = says.and(judge_kind(folder, kind));
    }
    if let Some(option) = facts.options.iter().find(|option| NO_BARRIERS.contains(&option.as_str())) {
        says = says.wrong(
            format!("it is mounted with {option}: a power cut may undo what was promised to be kept"),
            "remove the option in /etc/fstab and mount it again",
        );
    }
    if facts.options.iter().any(|option| option == "sync") {
        says = says.note(
            "it is mounted with sync: every write waits, and a card wears out sooner",
            "remove the option in /etc/fstab: the store syncs what must be synced by itself",
        );
    }
    says
}

fn judge_room(facts: &Facts) -> Says {
    let (free, cap) = (facts.free, facts.cap);
    let used = match &facts.used {
        Ok(used) => *used,
        // Whatever it has already, it has room to grow to the most.
        Err(_) if free >= cap => {
            return Says::default().ok(format!(
                "{} free, the store may have {}",
                show_size(free),
                show_size(cap)
            ));
        }
        Err(unseen) => return Says::default().unseen(unseen),
    };
    let wanted = cap.saturating_sub(used);
    if free < wanted {
        return Says::default().wrong(
            format!(
                "the store may grow by another {}, the disk has {} left: it would be full before the store drops anything \
                 by its own rules",
                show_size(wanted),
                show_size(free)
            ),
            format!("make room below {}, or lower store.cap to {}", facts.folder, show_size(used.saturating_add(free))),
        );
    }
    let kind = facts.kind.as_deref().unwrap_or("unknown");
    let text = format!(
        "{} free on {kind}, the store has {} of {}",
        show_size(free),
        show_size(used),
        show_size(cap)
    );
    Says::default().ok(text)
}

fn judge_kind(folder: &str, kind: &str) -> Says {
    let is_in = |kinds: &[&str]| kinds.iter().any(|of| kind == *of || kind.starts_with(&format!("{of}.")));
    let says = Says::default();
    if is_in(&VOLATILE) {
        return says.wrong(
            format!("{folder} is in memory ({kind}): a power cut loses everything that waits for the broker"),
            "name a folder on a disk as store.folder",
        );
    }
    if is_in(&FAT) {
        return says.wrong(
            format!("{folder} is on {kind}, which keeps no rights and no journal"),
            "format it as ext4, or name another store.folder",
        );
    }
    if kind == "overlay" {
        return says.note(
            format!(
                "{folder} is on an overlay: when its upper layer is in memory, a power cut loses the store"
            ),
            "on a system with a read-only root, mount a partition of its own for the store",
        );
    }
    if is_in(&FOREIGN) {
        return says.note(
            format!("{folder} is on {kind}: whether what is synced is durable is another machine's to say"),
            "name a folder on a local disk as store.folder",
        );
    }
    says
}

/// Type and options of the mount that a folder is on, by the text of `/proc/self/mountinfo`: `36 35 98:0 / /mnt
/// rw,noatime master:1 - ext4 /dev/root rw,errors=continue`. Of two on one place the later one counts.
pub fn mount_of(mounts: &str, folder: &std::path::Path) -> Option<(String, Vec<String>)> {
    let rows = mounts.lines().filter_map(|line| {
        let (place, source) = line.split_once(" - ")?;
        let mut words = place.split(' ');
        let (point, options) = (unescaped(words.nth(4)?), words.next()?);
        let mut source = source.split(' ');
        let (kind, of_disk) = (source.next()?, source.nth(1).unwrap_or_default());
        let all = options.split(',').chain(of_disk.split(',')).map(str::to_owned).collect();
        folder.starts_with(&point).then(|| (point.len(), kind.to_owned(), all))
    });
    rows.max_by_key(|(length, ..)| *length).map(|(_, kind, options)| (kind, options))
}

/// Blanks are written in octal.
fn unescaped(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::super::{Unseen, Verdict};
    use super::*;
    use std::path::Path;

    const GIB: u64 = 1 << 30;

    fn facts() -> Facts {
        Facts {
            folder: "/var/lib/wardline/store".into(),
            free: 20 * GIB,
            inodes: Some(1_000_000),
            used: Ok(GIB),
            cap: 4 * GIB,
            is_read_only: false,
            kind: Some("ext4".into()),
            options: vec!["rw".into(), "noatime".into()],
        }
    }

    #[test]
    fn each_fault_of_a_disk_has_its_words() {
        let of = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            facts
        };
        let unseen = || Err(Unseen::new("not to be seen"));
        let kind = |kind: &'static str| of(&|facts| facts.kind = Some(kind.into()));
        let option = |option: &'static str| of(&|facts| facts.options.push(option.into()));
        for (facts, verdict, words) in [
            (facts(), Verdict::Ok, "20 GiB free on ext4"),
            (of(&|facts| facts.free = 3 * GIB), Verdict::Ok, "3 GiB free"),
            (of(&|facts| facts.free = 3 * GIB - 1), Verdict::Wrong, "another 3 GiB"),
            (of(&|facts| facts.used = unseen()), Verdict::Ok, "may have 4 GiB"),
            (
                of(&|facts| (facts.used, facts.free) = (unseen(), 4 * GIB - 1)),
                Verdict::Unchecked,
                "not to be seen",
            ),
            (of(&|facts| facts.is_read_only = true), Verdict::Wrong, "read-only"),
            (of(&|facts| facts.inodes = Some(100)), Verdict::Wrong, "only 100 files"),
            (of(&|facts| facts.inodes = None), Verdict::Ok, "free"),
            (kind("tmpfs"), Verdict::Wrong, "in memory"),
            (kind("vfat"), Verdict::Wrong, "no rights"),
            (kind("overlay"), Verdict::Note, "overlay"),
            (kind("fuse.sshfs"), Verdict::Note, "another machine"),
            (option("nobarrier"), Verdict::Wrong, "nobarrier"),
            (option("sync"), Verdict::Note, "sync"),
        ] {
            let says = judge(&facts);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
            40 22 0:35 / /var/lib rw,nosuid - tmpfs tmpfs rw,size=1k\n\
            41 22 0:36 / /var/lib/ward\\040line ro - vfat /dev/sda1 rw\n\
            bad line\n";
        let kind = |folder: &str| mount_of(mounts, Path::new(folder)).map(|(kind, _)| kind);
        assert_eq!(kind("/srv/store").as_deref(), Some("ext4"));
        assert_eq!(kind("/var/lib/wardline").as_deref(), Some("tmpfs"));
        assert_eq!(kind("/var/libx").as_deref(), Some("ext4"));
        let (kind, options) = mount_of(mounts, Path::new("/var/lib/ward line/store")).unwrap();
        assert_eq!((kind.as_str(), options.contains(&"ro".to_owned())), ("vfat", true));
        assert_eq!(mount_of("", Path::new("/")), None);
    }
}
