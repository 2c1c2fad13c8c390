//! The pages of metrics of a gateway with one of everything, for the parsers in `tests/metrics/`.

use std::path::Path;

use anyhow::Context as _;

use crate::host::atomic_file;
use crate::host::status::metrics::{Format, render};
use crate::host::status::sample;

/// Writes them into a folder, which is made if need be: `open.txt`, and `textfile.prom` for the node exporter; the same of
/// a daemon that is away as `away.txt` and `away.prom`.
pub fn sample_metrics(folder: &Path) -> anyhow::Result<()> {
    atomic_file::create_folder(folder).with_context(|| folder.display().to_string())?;
    let there = sample::snapshot();
    for (name, snapshot) in [("full", Some(&there)), ("away", None)] {
        for (end, format) in [("txt", Format::OpenMetrics), ("prom", Format::Textfile)] {
            let path = folder.join(format!("{name}.{end}"));
            atomic_file::write(&path, render(snapshot, format).as_bytes())?;
        }
    }
    Ok(())
}
