//! What the kernel says of this machine and of this process, and the arithmetic on it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// How large the machine is: without it no figure means anything.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::lab) struct Machine {
    /// The processor's name.
    pub(in crate::lab) processor: String,
    /// Cores that may be used.
    pub(in crate::lab) cores: usize,
    /// Memory in MiB.
    pub(in crate::lab) memory_mib: u64,
    /// The load of the last minute at the start: others who use the cores.
    pub(in crate::lab) load_before: f64,
    /// The same at the end.
    pub(in crate::lab) load_after: f64,
    /// The file system of the measurements.
    pub(in crate::lab) file_system: String,
    /// Whether its sync reaches a medium: in memory every figure of the disk is worth nothing.
    pub(in crate::lab) on_a_disk: bool,
    /// `release` or `dev`.
    pub(in crate::lab) build: &'static str,
}

impl Machine {
    /// Looks at it.
    pub(in crate::lab) fn look(folder: &Path) -> anyhow::Result<Self> {
        let (file_system, on_a_disk) = file_system(folder)?;
        Ok(Self {
            processor: line_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_mib: kib_of("/proc/meminfo", "MemTotal") / 1024,
            load_before: load(),
            load_after: 0.0,
            file_system,
            on_a_disk,
            build: if cfg!(debug_assertions) { "dev" } else { "release" },
        })
    }

    /// In words.
    pub(in crate::lab) fn said(&self) -> String {
        let mut text = format!(
            "{}: {} cores, {} MiB; {}; {} build; load {:.2} before, {:.2} after\n",
            self.processor,
            self.cores,
            self.memory_mib,
            self.file_system,
            self.build,
            self.load_before,
            self.load_after,
        );
        if !self.on_a_disk {
            text += "this file system is in memory: no figure of the disk is worth anything\n";
        }
        text
    }
}

/// The load of the last minute.
pub(in crate::lab) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

/// The name of a folder's file system (`statfs(2)`, `linux/magic.h`), and whether it is on a disk.
fn file_system(folder: &Path) -> anyhow::Result<(String, bool)> {
    let kind = rustix::fs::statfs(folder)?.f_type;
    let known: [(u32, &str, bool); 8] = [
        (0xEF53, "ext4", true),
        (0x5846_5342, "xfs", true),
        (0x9123_683E, "btrfs", true),
        (0x2FC1_2FC1, "zfs", true),
        (0xF2F5_2010, "f2fs", true),
        (0x794C_7630, "overlay", true),
        (0x0102_1994, "tmpfs", false),
        (0x8584_58F6, "ramfs", false),
    ];
    let found = known.iter().find(|(magic, _, _)| i128::from(*magic) == i128::from(kind));
    Ok(found.map_or_else(|| (format!("{kind:#x}"), true), |(_, name, disk)| ((*name).to_owned(), *disk)))
}

fn line_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib_of(file: &str, name: &str) -> u64 {
    let value = line_of(file, name).unwrap_or_default();
    value.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Memory of this process in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::lab) struct Memory {
    /// Resident, program text included (`VmRSS`).
    pub(in crate::lab) rss: f64,
    /// Of it what no file backs: heap and stacks (`RssAnon`).
    pub(in crate::lab) anonymous: f64,
    /// The most that was ever resident (`VmHWM`).
    pub(in crate::lab) most: f64,
}

impl Memory {
    /// Of this moment.
    pub(in crate::lab) fn now() -> Self {
        Self::of("self")
    }

    /// Of another process, by its number.
    pub(in crate::lab) fn of(process: &str) -> Self {
        let status = format!("/proc/{process}/status");
        let mib = |name| ratio(kib_of(&status, name), 1024);
        Self { rss: mib("VmRSS"), anonymous: mib("RssAnon"), most: mib("VmHWM") }
    }
}

/// Bytes that this process caused to be written to storage (`proc(5)`, `write_bytes`).
pub(in crate::lab) fn bytes_written() -> u64 {
    bytes_written_by("self")
}

/// The same for another process, by its number.
pub(in crate::lab) fn bytes_written_by(process: &str) -> u64 {
    kib_of(&format!("/proc/{process}/io"), "write_bytes")
}

/// What a folder and everything in it take on disk.
pub(in crate::lab) fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let path = entry.path();
            let own = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.blocks().saturating_mul(512));
            if path.is_dir() { own.saturating_add(disk_bytes(&path)) } else { own }
        })
        .sum()
}

/// Processor time of this process in seconds.
pub(in crate::lab) fn processor_seconds() -> f64 {
    processor_seconds_of("self")
}

/// The same of another process, by its number: fields 14 and 15 of `/proc/self/stat`, in hundredths.
pub(in crate::lab) fn processor_seconds_of(process: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        rest.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum();
    ratio(ticks, 100)
}

/// A quotient; 0 when there is nothing to divide by.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(in crate::lab) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How many each second.
pub(in crate::lab) fn per_second(count: u64, within: std::time::Duration) -> f64 {
    let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
    ratio(count, nanos) * 1e9
}

/// Half and the slowest hundredth of many waits, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::lab) struct Spread {
    /// Half took at most so long.
    pub p50: f64,
    /// 99 of 100 took at most so long.
    pub p99: f64,
    /// How many.
    pub(in crate::lab) count: usize,
}

impl Spread {
    /// Of waits in any order.
    pub(in crate::lab) fn of(mut waits: Vec<std::time::Duration>) -> Self {
        waits.sort_unstable();
        let at = |percent: usize| {
            let place = (waits.len() * percent).div_ceil(100).saturating_sub(1);
            waits.get(place).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
        };
        Self { p50: at(50), p99: at(99), count: waits.len() }
    }
}

/// The middle one of a few runs by a figure.
pub(in crate::lab) fn median<T>(mut runs: Vec<T>, figure: impl Fn(&T) -> f64) -> Option<T> {
    runs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
    let middle = runs.len() / 2;
    runs.into_iter().nth(middle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn half_and_the_slowest_hundredth_are_found_in_any_order() {
        let waits = (1..=200).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(waits);
        assert_eq!((spread.p50, spread.p99, spread.count), (100.0, 198.0, 200));
        assert_eq!(Spread::of(Vec::new()).count, 0);
    }

    #[test]
    fn this_process_has_memory_and_has_used_the_processor() {
        let memory = Memory::now();
        assert!(memory.rss > 0.0 && memory.anonymous > 0.0 && memory.most >= memory.rss, "{memory:?}");
        let mut turns = 0u64;
        while processor_seconds() <= 0.0 {
            turns += 1;
            assert!(turns < 10_000_000);
        }
    }

    #[test]
    fn the_median_is_the_middle_run() {
        assert_eq!(median(vec![3.0, 1.0, 2.0], |run| *run), Some(2.0));
        assert_eq!(median(Vec::<f64>::new(), |run| *run), None);
    }
}
