//! `wardline decode`: what a captured payload says. One JSON object a line and observation.
//!
//! | key | | |
//! | --- | --- | --- |
//! | `code` | number | 11073 code |
//! | `ref` | text | 11073 reference id |
//! | `value` | text | a decimal number with the device's own precision; or instead of it: |
//! | `absent` | text | why there is none: `not-a-number`, `positive-infinity`, `negative-infinity`, `error`, `unknown` |
//! | `text` | text | a word of the device |
//! | `bits` | number | bits of the device, as sent |
//! | `alarm` | object | `code`, `text`, `phase` (`start`, `update`, `end`), `priority` (`unstated`, `low`, `medium`, `high`), `silenced` when it is |
//! | `samples` | object | a stretch of a wave: `period_us`, `exponent`, `values` |
//! | `unit` | text | UCUM; with `value`, `absent` and `samples` only |
//! | `kind` | text | `measurement`, `setting`, `state`, `alarm`, `wave` |
//! | `status` | text | `final`, `preliminary` |
//! | `quality` | list | what speaks against the value; empty when nothing does |
//! | `part` | text | the place of the part that said it; left out when the device itself did |
//! | `channel` | number | which of several like parts; left out when there is one |
//! | `record` | number | the device's own number of the record; left out when it gave none |
//! | `device_time` | text | the device's own clock, without a zone; left out when it gave none |
//! | `clock` | object | what is known of that clock: `offset_min`, `zone`, `ahead_ms`, `ticks`, `older`; left out when nothing is |
//! | `modality` | number | 11073 code of how it was got; left out when the device does not say |
//!
//! Exactly one of `value`, `absent`, `text`, `bits`, `alarm` and `samples` is there. A payload that must be
//! refused gives no object; the reason goes to standard error and the exit code is 6. Of a serial
//! capture, every observation that is good is printed and every fault is named on standard error;
//! the exit code is 6 when there was a fault, or nothing to read at all.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::Folder;
use super::exit::{Exit, Failure};
use super::out;
use crate::config::set_from_text;
use crate::device::catalogue::{SerialModel, serial_models};
use crate::device::observation::{DeviceTime, Observation, Samples, Value};
use crate::device::serial::{Decoded, site_line};
use crate::device::settings::Settings;
use crate::device::{Identity, ble, serial};

/// The longest value of a characteristic (Core Specification, Vol 3, Part F, 3.2.9).
const MAX_VALUE: usize = 512;
/// The largest capture: hours of the fastest line.
const MAX_CAPTURE: u64 = 64 * 1024 * 1024;
/// What follows the first eight digits of a UUID that the Bluetooth SIG assigned (Core
/// Specification, Vol 3, Part B, 2.5.1).
const BASE_UUID: &str = "-0000-1000-8000-00805F9B34FB";

/// Say what a captured payload means: one JSON object a line and observation.
#[derive(Debug, Args)]
pub(super) struct Decode {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One value of a BLE characteristic.
    #[command(after_help = "Example:\n  wardline decode ble 2A37 \"16 48 40 03\"\n\n\
        Ends with 6 when the payload must be refused; the reason is on standard error.")]
    Ble {
        /// The characteristic: 2A37, 0x2A37, or its 128-bit UUID.
        #[arg(value_name = "CHAR", value_parser = characteristic)]
        characteristic: u16,
        /// The value in hex; spaces, colons, commas, dashes and 0x are ignored.
        #[arg(value_name = "HEX", required = true)]
        hex: Vec<String>,
    },
    /// A capture of what a device sent on a serial line.
    #[command(
        after_help = "Example:\n  wardline decode serial alaris-asena capture.bin\n  wardline decode serial --config /etc/wardline site:acme-warmer capture.bin\n\n\
        Ends with 6 when something in it must be refused; the reasons are on standard error."
    )]
    Serial {
        /// The driver: see `wardline drivers`.
        driver: String,
        /// The folder that holds gateway.toml and devices.d, for a driver that it describes (`site:...`).
        #[arg(long, value_name = "DIR")]
        config: Option<PathBuf>,
        /// What is set for the driver, once for each setting: see `wardline drivers`.
        #[arg(long = "set", value_name = "NAME=VALUE")]
        settings: Vec<String>,
        /// The file with the bytes as they came; - for standard input.
        file: PathBuf,
    },
}

impl Decode {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Ble { characteristic, hex } => {
                let bytes = hex_bytes(&hex.join(" ")).map_err(|error| Failure::new(Exit::Usage, error))?;
                let observations = ble::decode(characteristic, &bytes)
                    .map_err(|fault| Failure::new(Exit::Refused, fault))?;
                print(observations.iter().map(Line::from))
            }
            What::Serial { driver, config, settings, file } => {
                let described = match config {
                    Some(config) => Folder { config }.load_or_fail()?.described,
                    None => Vec::new(),
                };
                decode_serial(find(&driver, &described)?, &settings, &file)
            }
        }
    }
}

/// The driver of a name: of this program, or one that the site describes.
fn find(driver: &str, described: &[&'static SerialModel]) -> Result<&'static SerialModel, Failure> {
    let mut all = serial_models().iter().chain(described).copied();
    all.find(|model| model.name == driver).ok_or_else(|| {
        let known: Vec<&str> = serial_models().iter().chain(described).map(|model| model.name).collect();
        let way_out = if driver.starts_with(site_line::PREFIX) && described.is_empty() {
            ": name the folder that describes it with --config"
        } else {
            ""
        };
        let error = anyhow!("{driver:?} is not a known driver{way_out}: known are {}", known.join(", "));
        Failure::new(Exit::Usage, error)
    })
}

fn decode_serial(model: &SerialModel, given: &[String], file: &Path) -> Result<(), Failure> {
    let settings = settings(model, given).map_err(|error| Failure::new(Exit::Usage, error))?;
    let bytes = capture(file).map_err(|error| Failure::new(Exit::Failed, error))?;
    let Decoded { observations, faults, identities } = serial::decode_capture(model, &settings, &bytes);
    for (part, identity) in &identities {
        match model.parts.name(*part) {
            None => out::remark(format_args!("the device says it is {}", shown(identity))),
            Some(name) => out::remark(format_args!("at {name}: the device says it is {}", shown(identity))),
        }
    }
    print(
        observations.iter().map(|(part, said)| Line { part: model.parts.name(*part), ..Line::from(said) }),
    )?;
    for fault in &faults {
        out::remark(format_args!("refused: {fault}"));
    }
    if !faults.is_empty() {
        return Err(Failure::silent(Exit::Refused));
    }
    if observations.is_empty() && identities.is_empty() {
        let error = anyhow!("nothing in these {} bytes is a whole frame of {}", bytes.len(), model.name);
        return Err(Failure::new(Exit::Refused, error));
    }
    Ok(())
}

/// What is set, or everything that is wrong with it.
fn settings(model: &SerialModel, given: &[String]) -> anyhow::Result<Settings> {
    let mut settings = Settings::defaults(model.settings);
    let wrong: Vec<String> =
        given.iter().filter_map(|text| set_from_text(&mut settings, model, text).err()).collect();
    if wrong.is_empty() { Ok(settings) } else { Err(anyhow!("--set: {}", wrong.join("; "))) }
}

fn print<'a>(lines: impl Iterator<Item = Line<'a>>) -> Result<(), Failure> {
    let mut out = out::stdout();
    for line in lines {
        out.json(&line)?;
    }
    out.finish()?;
    Ok(())
}

fn shown(identity: &Identity) -> String {
    let parts: Vec<String> = [
        ("maker", &identity.maker),
        ("model", &identity.model),
        ("serial", &identity.serial),
        ("firmware", &identity.firmware),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value:?}")))
    .collect();
    parts.join(", ")
}

fn capture(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_CAPTURE + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_CAPTURE + 1).read_to_end(&mut bytes))
    };
    let count = read.with_context(|| format!("{} cannot be read", file.display()))?;
    if u64::try_from(count).unwrap_or(u64::MAX) > MAX_CAPTURE {
        return Err(anyhow!("{} is larger than {MAX_CAPTURE} bytes: cut it", file.display()));
    }
    Ok(bytes)
}

/// `2A37`, `0x2A37`, `00002A37` or the 128-bit form on the base UUID.
fn characteristic(text: &str) -> Result<u16, String> {
    let upper = text.trim().to_ascii_uppercase();
    let short = upper.strip_suffix(BASE_UUID).unwrap_or(&upper);
    let digits = short.strip_prefix("0X").unwrap_or(short);
    let digits = if digits.len() == 8 { digits.strip_prefix("0000").unwrap_or(digits) } else { digits };
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("not a characteristic of the Bluetooth SIG: write for instance 2A37".to_owned());
    }
    u16::from_str_radix(digits, 16).map_err(|error| error.to_string())
}

/// Bytes of hex as people and tools write it.
fn hex_bytes(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '-')) {
        let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")).unwrap_or(word);
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(anyhow!("{word:?} is not hex"));
        }
        if digits.len() % 2 != 0 {
            return Err(anyhow!("{word:?} has an odd number of hex digits: write two for each byte"));
        }
        for pair in digits.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair)?;
            bytes.push(u8::from_str_radix(pair, 16)?);
        }
        if bytes.len() > MAX_VALUE {
            return Err(anyhow!("more than {MAX_VALUE} bytes: no characteristic is that long"));
        }
    }
    Ok(bytes)
}

/// One observation in its documented shape.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    code: u32,
    #[serde(rename = "ref")]
    reference: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bits: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alarm: Option<AlarmLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<SamplesLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    kind: &'a str,
    status: &'a str,
    quality: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<Clock>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modality: Option<u32>,
}

#[derive(Serialize)]
struct Clock {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset_min: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ahead_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticks: Option<u64>,
    older: bool,
}

impl From<DeviceTime> for Clock {
    fn from(time: DeviceTime) -> Self {
        let DeviceTime { offset, zone, ahead, ticks, is_of_older_timeline, .. } = time;
        Self { offset_min: offset, zone, ahead_ms: ahead, ticks, older: is_of_older_timeline }
    }
}

#[derive(Serialize)]
struct AlarmLine<'a> {
    code: &'a str,
    text: &'a str,
    phase: &'a str,
    priority: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    silenced: bool,
}

#[derive(Serialize)]
struct SamplesLine<'a> {
    period_us: u32,
    exponent: i8,
    values: &'a [i16],
}

impl<'a> From<&'a Observation> for Line<'a> {
    fn from(observation: &'a Observation) -> Self {
        let mut line = Self {
            code: observation.metric.code,
            reference: observation.metric.reference,
            value: None,
            absent: None,
            text: None,
            bits: None,
            alarm: None,
            samples: None,
            unit: None,
            kind: observation.kind.as_str(),
            status: observation.status.as_str(),
            quality: observation.quality.names().collect(),
            part: None,
            channel: (observation.channel != 0).then_some(observation.channel),
            record: observation.record,
            device_time: observation.device_time.map(|time| time.to_string()),
            clock: observation.device_time.filter(DeviceTime::says_more).map(Clock::from),
            modality: (observation.modality != 0).then_some(observation.modality),
        };
        match &observation.value {
            Value::Decimal(decimal) => {
                line.value = Some(decimal.to_string());
                line.unit = Some(observation.unit.ucum);
            }
            Value::Absent(absent) => {
                line.absent = Some(absent.code());
                line.unit = Some(observation.unit.ucum);
            }
            Value::Text(text) => line.text = Some(text),
            Value::Bits(bits) => line.bits = Some(*bits),
            Value::Alarm(alarm) => {
                line.alarm = Some(AlarmLine {
                    code: &alarm.code,
                    text: &alarm.text,
                    phase: alarm.phase.as_str(),
                    priority: alarm.priority.as_str(),
                    silenced: alarm.is_silenced,
                });
            }
            Value::Samples(samples) => {
                let Samples { period_us, exponent, values } = samples;
                line.samples = Some(SamplesLine { period_us: *period_us, exponent: *exponent, values });
                line.unit = Some(observation.unit.ucum);
            }
        }
        line
    }
}

#[cfg(test)]
mod tests;
