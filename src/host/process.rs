//! Keeps the process's memory to itself: keys and readings are in it.
//!
//! In: nothing. Out: a process that leaves no core dump and that nobody without the system's own
//! rights can look into, and a word on whether its memory may be written to a swap device. What can
//! go wrong: the kernel refuses; then the daemon does not start. (It asks by prctl(2) and prlimit64(2);
//! the unit's filter of system calls lets both pass.) What never happens: a key is loaded before
//! [`seal_off`] has returned.
//!
//! Memory is not locked (`mlockall`): what is locked counts against `RLIMIT_MEMLOCK`, 8 MiB where
//! nobody raised it, and a daemon that grows past it is refused memory and dies. The unit says
//! `MemorySwapMax=0` instead, which has no such edge. That works only where the kernel has the memory
//! controller of cgroup v2 switched on; some boards come without, and systemd then says nothing. So
//! what holds is looked up at each start.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core dump and, without `CAP_SYS_PTRACE`, no debugger and no look into `/proc/PID/mem`, whatever
/// user asks. From then on what `/proc` shows of this process belongs to root.
pub fn seal_off() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // The dumpable flag alone would do; but it is lost if this program ever starts another.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    Ok(())
}

/// How much memory of this process is resident, in bytes (proc(5), `VmRSS`); `None` when nobody says.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1_024)
}

/// Why this process's memory may be written to a disk, in words; `None` when it cannot.
pub fn swap_warning() -> Option<String> {
    swap_warning_of(Path::new("/"), "self")
}

/// The same of another process, by its number, on the machine whose files are below `root`.
pub fn swap_warning_of(root: &Path, process: &str) -> Option<String> {
    let swaps = std::fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    // The first line is a heading.
    let devices: Vec<&str> =
        swaps.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    if devices.is_empty() || is_kept_from_swap(root, process) {
        return None;
    }
    Some(format!(
        "swap is on ({}) and nothing keeps this process out of it, so keys and readings may be written to it: \
         run `swapoff -a`, or start through the unit (MemorySwapMax=0) with the kernel's memory controller on \
         (cgroup_enable=memory on its command line)",
        devices.join(", ")
    ))
}

/// Whether this process's control group, or one around it, allows no swap at all.
fn is_kept_from_swap(root: &Path, process: &str) -> bool {
    let groups = root.join("proc").join(process).join("cgroup");
    let groups = std::fs::read_to_string(groups).unwrap_or_default();
    // Version 2 has one line, `0::/path`; `memory.swap.max` exists nowhere else.
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let path = PathBuf::from(path);
    path.ancestors().any(|group| {
        let limit = root.join("sys/fs/cgroup").join(group).join("memory.swap.max");
        std::fs::read_to_string(limit).is_ok_and(|limit| limit.trim() == "0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of another machine.
    fn machine(swaps: &str, group: &str, limits: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let mut files = vec![("proc/swaps".to_owned(), swaps), ("proc/self/cgroup".to_owned(), group)];
        files.extend(
            limits.iter().map(|(group, limit)| (format!("sys/fs/cgroup/{group}memory.swap.max"), *limit)),
        );
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::host::atomic_file::write(&path, text.as_bytes()).unwrap();
        }
        root
    }

    const HEADING: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
    const UNIT: &str = "0::/system.slice/wardline.service\n";

    #[test]
    fn without_swap_there_is_nothing_to_say() {
        assert_eq!(swap_warning_of(machine(HEADING, UNIT, &[]).path(), "self"), None);
    }

    #[test]
    fn swap_that_no_limit_keeps_us_from_is_named_with_a_way_out() {
        let swaps = format!("{HEADING}/var/swap file 102396 0 -2\n/dev/zram0 partition 1000 0 100\n");
        for (group, limits) in [
            (UNIT, vec![]),
            (UNIT, vec![("system.slice/wardline.service/", "max\n"), ("system.slice/", "max\n")]),
            // Of another unit.
            (UNIT, vec![("system.slice/other.service/", "0\n")]),
            // Version 1 alone has no such limit.
            ("4:memory:/system.slice/wardline.service\n", vec![("system.slice/wardline.service/", "0\n")]),
        ] {
            let warning = swap_warning_of(machine(&swaps, group, &limits).path(), "self").expect("a warning");
            assert!(
                warning.contains("/var/swap, /dev/zram0") && warning.contains("MemorySwapMax=0"),
                "{warning}"
            );
        }
    }

    #[test]
    fn a_limit_of_nothing_on_us_or_around_us_is_enough() {
        let swaps = format!("{HEADING}/var/swap file 102396 0 -2\n");
        for group in ["system.slice/wardline.service/", "system.slice/", ""] {
            let root = machine(&swaps, UNIT, &[(group, "0\n")]);
            assert_eq!(swap_warning_of(root.path(), "self"), None, "{group}");
        }
    }
}
