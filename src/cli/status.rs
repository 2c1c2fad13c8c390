//! `wardline status`: how the running daemon is doing.
//!
//! With `--json`, the [`Snapshot`] as the daemon gave it. With `--watch` ([`watch`]), again and again.

mod watch;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::Folder;
use super::exit::{Exit, Failure};
use super::out::{self, Colour, Out};
use crate::config::show_size;
use crate::host::status::{Certificate, Device, Radio, Snapshot, StatusError, ask};

/// The socket of a daemon whose configuration names no other.
pub(super) const SOCKET: &str = "/run/wardline/status.sock";

/// Ask the running daemon how it is doing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  wardline status\n  wardline status --watch\n  \
    wardline status --json --socket /run/wardline/status.sock\n\n\
    Ends with 7 when no daemon answers, and with 6 when it does not answer this user. With --watch it goes on: the page \
    says that nothing is answered and how old its figures are; q or Ctrl-C ends it. With --watch and --json: a line at \
    each look, {\"error\":\"...\"} where nothing was answered.")]
pub(super) struct Status {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Show it on the whole terminal, and go on showing it.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    asked: Asked,
}

/// Which daemon is asked.
#[derive(Clone, Debug, Args)]
pub(crate) struct Asked {
    /// The daemon's socket.
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// The folder of the configuration that names the socket.
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    config: Option<PathBuf>,
}

impl Asked {
    /// Its socket.
    fn socket(&self) -> Result<PathBuf, Failure> {
        match &self.config {
            Some(config) => Ok(Folder { config: config.clone() }.load_or_fail()?.config.socket),
            None => Ok(self.socket.clone()),
        }
    }

    /// Asks it once.
    pub(crate) fn ask(&self) -> Result<Snapshot, Failure> {
        ask(&self.socket()?).map_err(failure)
    }
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.watch {
            return watch::run(&self.asked, self.json);
        }
        let snapshot = self.asked.ask()?;
        let mut out = out::stdout();
        if self.json {
            out.json(&snapshot)?;
        } else {
            print(&mut out, &snapshot)?;
        }
        out.finish()?;
        Ok(())
    }
}

/// What it means that the daemon could not be asked.
fn failure(error: StatusError) -> Failure {
    let exit = match &error {
        StatusError::NotRunning { .. } | StatusError::Hangs { .. } => Exit::NotRunning,
        StatusError::Refused { .. } => Exit::Refused,
        StatusError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Exit::Refused,
        StatusError::Io { .. }
        | StatusError::InTheWay { .. }
        | StatusError::Taken { .. }
        | StatusError::NoGroup { .. } => Exit::Failed,
    };
    Failure::new(exit, error)
}

fn print<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let Snapshot { gateway, version, started, .. } = snapshot;
    let name = out.paint(Colour::Strong, gateway);
    let up = age(Some(snapshot.uptime_ms));
    out.line(format_args!("{name}  wardline {version}, running for {up} (since {started})"))?;
    let clock = if snapshot.time_synced {
        format!("follows a reference, within {} ms", snapshot.time_max_error_us / 1_000)
    } else {
        out.paint(Colour::Bad, "not synchronised")
    };
    out.line(format_args!("clock    {clock}"))?;
    print_keys(out, snapshot)?;
    print_uplink(out, snapshot)?;
    print_store(out, snapshot)?;
    print_fleet(out, snapshot)?;
    print_radios(out, &snapshot.radios)?;
    print_lanes(out, snapshot)?;
    print_devices(out, &snapshot.devices)?;
    if !snapshot.unlisted.is_empty() {
        let count = snapshot.unlisted.len();
        out.line(format_args!(
            "\n{count} unlisted BLE device(s) seen, none connected to: see wardline devices"
        ))?;
    }
    for warning in &snapshot.warnings {
        let mark = out.paint(Colour::Bad, "!");
        out.line(format_args!("{mark} {}", clean(warning)))?;
    }
    Ok(())
}

/// Nothing for a daemon of a version that did not say.
fn print_keys<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let Snapshot { kek, key_protection, .. } = snapshot;
    if kek.is_empty() {
        return Ok(());
    }
    out.line(format_args!("key      {} (protection: {})", clean(kek), clean(key_protection)))?;
    let previous = match (&snapshot.key_rotation, &snapshot.kek_previous) {
        (Some(rotation), _) => format!(
            "the store is being moved to it: {} segment(s) still need key {}, keep keys.kek_previous",
            rotation.segments_left,
            clean(&rotation.from)
        ),
        (None, Some(previous)) => {
            format!("the previous key {} is no longer needed: remove keys.kek_previous", clean(previous))
        }
        (None, None) => return Ok(()),
    };
    out.line(format_args!("         {previous}"))
}

fn print_uplink<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let uplink = &snapshot.uplink;
    let colour = if uplink.state == "connected" { Colour::Good } else { Colour::Bad };
    let state = out.paint(colour, &clean(&uplink.state));
    let since = age(uplink.state_age_ms);
    let (flying, done, refused) = (uplink.in_flight, uplink.acknowledged, uplink.refused);
    out.line(format_args!(
        "uplink   {state} for {since}; {flying} in flight, {done} acknowledged, {refused} refused"
    ))?;
    if uplink.no_consumer {
        let text = out.paint(Colour::Bad, "the broker says that nobody is subscribed: the data is kept");
        out.line(format_args!("         {text}"))?;
    }
    if let Some(error) = &uplink.last_error {
        out.line(format_args!("         last error: {}", clean(error)))?;
    }
    if let Some(certificate) = &uplink.certificate {
        return print_certificate(out, certificate);
    }
    if let Some(days) = uplink.certificate_days_left {
        let is_well = matches!(uplink.certificate_alarm.as_str(), "none" | "");
        let colour = if is_well { Colour::Good } else { Colour::Bad };
        let days = out.paint(colour, &format!("{days} days left"));
        out.line(format_args!("         certificate: {days}"))?;
    }
    Ok(())
}

/// One that the daemon renews by itself.
fn print_certificate<W: Write>(out: &mut Out<W>, certificate: &Certificate) -> io::Result<()> {
    let Certificate { valid_until, renewal, due, next_attempt_ms, alarm, key_protection, trouble } =
        certificate;
    let until = valid_until.as_deref().map_or_else(|| "-".to_owned(), clean);
    let colour = if alarm == "none" { Colour::Good } else { Colour::Bad };
    let until = out.paint(colour, &format!("valid until {until}"));
    let renewal = match renewal.as_str() {
        "good" => format!("renewed from {} on", due.as_deref().map_or_else(|| "-".to_owned(), clean)),
        "due" => "to be renewed now".to_owned(),
        "waiting" => format!("the certificate server decides, asked again in {}", age(*next_attempt_ms)),
        "trying" => "the next one is shown to the broker".to_owned(),
        "fallback" => {
            format!("the broker did not take the next one, shown again in {}", age(*next_attempt_ms))
        }
        "failed" => format!("the renewal failed, tried again in {}", age(*next_attempt_ms)),
        other => clean(other),
    };
    let key = if key_protection == "pkcs11" { "; its key is in a token" } else { "" };
    out.line(format_args!("         certificate: {until}; {renewal}{key}"))?;
    match trouble {
        Some(trouble) => out.line(format_args!("         last trouble: {}", clean(trouble))),
        None => Ok(()),
    }
}

fn print_store<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let store = &snapshot.store;
    out.line(format_args!("store    {} of {}", show_size(store.bytes), show_size(store.cap)))?;
    if store.quarantined_segments > 0 {
        let text = format!("{} segment(s) in quarantine", store.quarantined_segments);
        out.line(format_args!("         {}", out.paint(Colour::Bad, &text)))?;
    }
    for (count, what) in [
        (store.dropped, "record(s) dropped or lost, each told of in a gap record"),
        (store.faults, "time(s) something in the store was not as it was left"),
    ] {
        if count > 0 {
            out.line(format_args!("         {}", out.paint(Colour::Bad, &format!("{count} {what}"))))?;
        }
    }
    if let Some(error) = &store.last_error {
        out.line(format_args!("         last error: {}", clean(error)))?;
    }
    Ok(())
}

/// Nothing for a gateway that is in no fleet.
fn print_fleet<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let Some(fleet) = &snapshot.fleet else { return Ok(()) };
    let runs = fleet.bundle.map_or_else(|| "the files".to_owned(), |version| format!("bundle {version}"));
    let colour = match fleet.standing.as_str() {
        "failed" | "not-believed" | "not-listed" | "stale" | "locked" => Colour::Bad,
        _ => Colour::Good,
    };
    let runs = out.paint(colour, &runs);
    out.line(format_args!("fleet    {runs} of group {}; {}", clean(&fleet.group), clean(&fleet.detail)))?;
    if let Some(trial) = &fleet.trial {
        out.line(format_args!(
            "         bundle {} is on trial for another {}",
            trial.bundle,
            age(Some(trial.left_ms))
        ))?;
        for waits in &trial.waits_for {
            out.line(format_args!("         not yet: {}", clean(waits)))?;
        }
    }
    Ok(())
}

fn print_radios<W: Write>(out: &mut Out<W>, radios: &[Radio]) -> io::Result<()> {
    for radio in radios {
        let state = match (&radio.down, &radio.not_scanning) {
            (None, None) => out.paint(Colour::Good, "scans"),
            (None, Some(_)) => out.paint(Colour::Bad, "does not scan"),
            (Some(_), _) => out.paint(Colour::Bad, "down"),
        };
        let heard = match radio.last_advert_age_ms {
            Some(ms) => format!("last heard a device {} ago", age(Some(ms))),
            None => "has heard no device yet".to_owned(),
        };
        out.line(format_args!(
            "radio    {} {state}, {heard}; {} scan restart(s), {} power cycle(s), {} USB reset(s) asked for, {} pairing(s) refused",
            clean(&radio.adapter),
            radio.restarts,
            radio.power_cycles,
            radio.usb_resets_asked,
            radio.pairing_refused
        ))?;
    }
    Ok(())
}

fn print_lanes<W: Write>(out: &mut Out<W>, snapshot: &Snapshot) -> io::Result<()> {
    let mut rows = vec![["lane", "waiting", "size", "oldest", "durable"].map(str::to_owned).to_vec()];
    for lane in &snapshot.lanes {
        rows.push(vec![
            clean(&lane.lane),
            lane.records.to_string(),
            show_size(lane.bytes),
            age(lane.oldest_age_ms),
            lane.durable_total.to_string(),
        ]);
    }
    print_table(out, &rows, |_| Colour::Good)
}

fn print_devices<W: Write>(out: &mut Out<W>, devices: &[Device]) -> io::Result<()> {
    let heading =
        ["device", "model", "link", "since", "identity", "last reading", "admitted", "refused", "faults"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for device in devices {
        let sum = |counts: &std::collections::BTreeMap<String, u64>| {
            counts.values().fold(0u64, |sum, count| sum.saturating_add(*count)).to_string()
        };
        rows.push(vec![
            clean(&device.id),
            clean(&device.model),
            clean(&device.link),
            age(device.link_age_ms),
            identity(device).to_owned(),
            age(device.last_reading_age_ms),
            device.admitted.to_string(),
            sum(&device.refused),
            sum(&device.faults),
        ]);
    }
    let colour = |row: usize| {
        let device = row.checked_sub(1).and_then(|place| devices.get(place));
        let well = device.is_none_or(|device| {
            device.link == "up" && device.quarantine.is_none() && device.silent_ms.is_none()
        });
        if well { Colour::Good } else { Colour::Bad }
    };
    print_table(out, &rows, colour)?;
    for device in devices {
        let reason = device.quarantine.as_ref().or(device.link_reason.as_ref());
        if let Some(reason) = reason {
            out.line(format_args!("  {}: {}", clean(&device.id), clean(reason)))?;
        }
        if device.bond_refused {
            let (id, count) = (clean(&device.id), device.bond_refusals);
            out.line(format_args!(
                "  {id}: not connected to {count} times, as its bond is not to be trusted"
            ))?;
        }
        if let Some(ms) = device.silent_ms {
            out.line(format_args!("  {}: nothing is known of it for {}", clean(&device.id), age(Some(ms))))?;
        }
    }
    Ok(())
}

fn identity(device: &Device) -> &'static str {
    match (device.quarantine.is_some(), device.identified, device.stated.is_some()) {
        (true, ..) => "WRONG",
        (false, true, _) => "as expected",
        (false, false, true) => "stated earlier",
        (false, false, false) => "not stated",
    }
}

/// Columns as wide as their widest cell; the first row is the heading. The colour is that of a row's
/// first cell.
pub(super) fn print_table<W: Write>(
    out: &mut Out<W>,
    rows: &[Vec<String>],
    colour: impl Fn(usize) -> Colour,
) -> io::Result<()> {
    if rows.len() < 2 {
        return Ok(());
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    out.line(format_args!(""))?;
    for (place, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let padded = format!("{cell:<width$}");
            let painted = match (place, column) {
                (0, _) => out.paint(Colour::Faint, &padded),
                (_, 0) => out.paint(colour(place), &padded),
                _ => padded,
            };
            line.push_str(&painted);
            line.push_str("  ");
        }
        out.line(format_args!("{}", line.trim_end()))?;
    }
    Ok(())
}

/// How long ago, in the two largest units.
pub(super) fn age(ms: Option<u64>) -> String {
    let Some(ms) = ms else { return "-".to_owned() };
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Without control characters: a device's own words must not steer the terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_shown_in_the_two_largest_units() {
        for (ms, shown) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(Some(ms)), shown);
        }
        assert_eq!(age(None), "-");
    }

    #[test]
    fn the_words_of_a_device_cannot_steer_the_terminal() {
        assert_eq!(clean("ok\x1b[2J\n"), "ok\u{FFFD}[2J\u{FFFD}");
    }
}
