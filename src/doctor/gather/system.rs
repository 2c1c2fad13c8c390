//! The board, its memory, and the unit's files.

use std::collections::BTreeSet;
use std::path::Path;

use super::bits;
use crate::doctor::machine::{Memory, Pi};
use crate::doctor::unit::{Facts, File};
use crate::doctor::{Looked, Unseen};
use crate::host::{machine, process};
use crate::store::inspect::holder;

const NAME: &str = "wardline.service";
/// Drop-ins of this unit, and of all services.
const DROP_INS: [&str; 2] = ["service.d", "wardline.service.d"];
/// In the order in which they count (systemd.unit(5)): of `systemctl set-property`, the administrator's, of this start,
/// the vendor's.
const FOLDERS: [&str; 6] = [
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "etc/systemd/system",
    "run/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];
/// Raspberry Pi: the firmware's driver, and the sensor of the kernel's own.
const THROTTLED: [&str; 2] = [
    "sys/devices/platform/soc/soc:firmware/get_throttled",
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
];

pub(super) fn pi(root: &Path) -> Pi {
    let hardware = machine::under(root).hardware;
    if !hardware.contains("Raspberry Pi") {
        return Pi::No(hardware);
    }
    let bits = THROTTLED.into_iter().find_map(|path| {
        let text = bits::text(root, path)?;
        u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
    });
    match (bits, under_voltage(root)) {
        (Some(bits), _) => Pi::Throttled(bits),
        (None, Some(alarm)) => Pi::UnderVoltage(alarm),
        (None, None) => Pi::Silent,
    }
}

fn under_voltage(root: &Path) -> Option<bool> {
    let sensors = std::fs::read_dir(root.join("sys/class/hwmon")).ok()?;
    sensors.flatten().find_map(|sensor| {
        let text = |name: &str| std::fs::read_to_string(sensor.path().join(name)).ok();
        (text("name")?.trim() == "rpi_volt")
            .then(|| text("in0_lcrit_alarm"))
            .flatten()
            .map(|text| text.trim() == "1")
    })
}

/// Of the process that has the store open; without one, what the unit's files promise for it.
pub(super) fn memory(root: &Path, store: Option<&Path>, unit: &Facts) -> Looked<Memory> {
    let daemon = store.and_then(holder).map(|process| process.to_string());
    let Some(process) = daemon else {
        let has_controller = bits::text(root, "sys/fs/cgroup/cgroup.controllers")
            .is_some_and(|all| all.split_whitespace().any(|name| name == "memory"));
        let is_limited = has_controller && is_limited(unit);
        let swap = process::swap_warning_of(root, "self").filter(|_| !is_limited);
        return Ok(Memory { swap, is_of_daemon: false, core_limit: None });
    };
    let unseen = || Unseen::with("the kernel does not show the limits of the running daemon", "as root");
    let limits = bits::text(root, &format!("proc/{process}/limits")).ok_or_else(unseen)?;
    // `Max core file size        0        0        bytes`: the soft limit, then the hard one (proc_pid_limits(5)).
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
    let core_limit = line.and_then(|line| line.split_whitespace().next()).ok_or_else(unseen)?;
    let swap = process::swap_warning_of(root, &process);
    Ok(Memory { swap, is_of_daemon: true, core_limit: Some(core_limit.to_owned()) })
}

fn is_limited(unit: &Facts) -> bool {
    let files = unit.unit.iter().chain(&unit.drop_ins);
    let lines = files.filter_map(|file| file.text.as_deref()).flat_map(str::lines);
    lines.filter_map(|line| line.trim().strip_prefix("MemorySwapMax=")).next_back() == Some("0")
}

pub(super) fn unit(root: &Path) -> Facts {
    let mut facts = Facts::default();
    for folder in FOLDERS {
        let path = format!("{folder}/{NAME}");
        let is_link_to_nothing =
            std::fs::read_link(root.join(&path)).is_ok_and(|target| target == Path::new("/dev/null"));
        if is_link_to_nothing {
            facts.is_masked = true;
            break;
        }
        if root.join(&path).symlink_metadata().is_ok() {
            facts.unit = Some(file(root, &path));
            break;
        }
    }
    let wants = std::fs::read_dir(root.join("etc/systemd/system")).into_iter().flatten().flatten();
    facts.is_enabled = wants
        .filter(|entry| entry.file_name().to_string_lossy().ends_with(".wants"))
        .any(|entry| entry.path().join(NAME).symlink_metadata().is_ok());
    // The vendor's first, so that the administrator's, which count, come last.
    let mut seen = BTreeSet::new();
    for folder in FOLDERS.into_iter().rev() {
        // Since Debian 12 /lib is /usr/lib.
        if !std::fs::canonicalize(root.join(folder)).is_ok_and(|place| seen.insert(place)) {
            continue;
        }
        for name in DROP_INS {
            facts.drop_ins.extend(drop_ins(root, &format!("{folder}/{name}")));
        }
    }
    facts
}

/// With the lines joined that go on (systemd.syntax(7)).
fn file(root: &Path, path: &str) -> File {
    let text = bits::text(root, path).map(|text| text.replace("\\\n", " "));
    File { path: format!("/{path}"), text }
}

fn drop_ins(root: &Path, folder: &str) -> Vec<File> {
    let entries = std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| Path::new(name).extension().is_some_and(|end| end == "conf"));
    names.sort();
    names.into_iter().map(|name| file(root, &format!("{folder}/{name}"))).collect()
}
