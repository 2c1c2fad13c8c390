//! `wardline drivers`: the catalogue; with `--config`, the drivers that the site describes behind it.
//!
//! With `--json`, one object: `{"serial": [{"name", "title", "class", "identity", "line", "requests",
//! "parts", "settings", "quiet_ms", "reads"}], "ble": [{"name", "title", "service", "uuid",
//! "characteristics", "reads"}]}`, where `reads` is a list of `{"code", "ref", "label"}`, `parts` is
//! `{"word", "names"}` or `null` where one device stands behind the port, and `settings` is a list of
//! `{"name", "meaning", "default"}` with `words` or with `least` and `most`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Folder;
use super::exit::Failure;
use super::out::{self, Colour, Out};
use crate::config::Catalogue;
use crate::device::catalogue::{BleProfile, Class, IdentityProof, Parts, SerialModel};
use crate::device::nomenclature::Metric;
use crate::device::settings::{Setting, Values};
use crate::link::{Line, Parity};

/// List what this program can read: every serial driver and every BLE profile.
#[derive(Debug, Args)]
pub(super) struct Drivers {
    /// The folder that holds gateway.toml and devices.d: list the drivers that it describes too.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Drivers {
    pub(super) fn run(self) -> Result<(), Failure> {
        let catalogue = Catalogue::shipped();
        let described = match self.config {
            Some(config) => Folder { config }.load_or_fail()?.described,
            None => Vec::new(),
        };
        let serials: Vec<&SerialModel> = catalogue.serial.iter().copied().chain(described).collect();
        let mut out = out::stdout();
        if self.json {
            out.json(&json!({
                "serial": serials.into_iter().map(serial).collect::<Vec<_>>(),
                "ble": catalogue.ble.iter().copied().map(ble).collect::<Vec<_>>(),
            }))?;
        } else {
            print(&mut out, &serials, catalogue.ble)?;
        }
        out.finish()?;
        Ok(())
    }
}

fn serial(model: &SerialModel) -> Value {
    json!({
        "name": model.name,
        "title": model.title,
        "class": class(model.class),
        "identity": identity(model.identity),
        "line": line(model.line),
        "requests": model.requests.requests().iter().map(|request| request.name).collect::<Vec<_>>(),
        "parts": match model.parts {
            Parts::One => Value::Null,
            Parts::Many { word, names } => json!({ "word": word, "names": names }),
        },
        "settings": model.settings.iter().map(setting).collect::<Vec<_>>(),
        "quiet_ms": u64::try_from(model.quiet.as_millis()).unwrap_or(u64::MAX),
        "reads": reads(model.reads),
    })
}

fn setting(row: &Setting) -> Value {
    match row.values {
        Values::Word(words) => json!({
            "name": row.name, "meaning": row.meaning, "default": words.first(), "words": words,
        }),
        Values::Number { least, most, default } => json!({
            "name": row.name, "meaning": row.meaning, "default": default, "least": least, "most": most,
        }),
        Values::Secret => json!({ "name": row.name, "meaning": row.meaning, "default": null, "file": true }),
    }
}

fn ble(profile: &BleProfile) -> Value {
    let characteristics: Vec<String> =
        profile.subscribes.iter().map(|characteristic| format!("{:04X}", characteristic.uuid)).collect();
    json!({
        "name": profile.name,
        "title": profile.title,
        "service": format!("{:04X}", profile.service),
        "class": class(profile.class),
        "uuid": format!("{:08x}-0000-1000-8000-00805f9b34fb", profile.service),
        "characteristics": characteristics,
        "settings": profile.settings().iter().map(setting).collect::<Vec<_>>(),
        "reads": reads(profile.reads),
    })
}

fn reads(metrics: &[&Metric]) -> Vec<Value> {
    metrics
        .iter()
        .map(|metric| json!({ "code": metric.code, "ref": metric.reference, "label": metric.label }))
        .collect()
}

const fn class(class: Class) -> &'static str {
    match class {
        Class::Monitor => "monitor",
        Class::Therapy => "therapy",
    }
}

const fn class_words(class: Class) -> &'static str {
    match class {
        Class::Monitor => "a monitor",
        Class::Therapy => "a therapy device: only asked, never commanded",
    }
}

const fn identity(identity: IdentityProof) -> &'static str {
    match identity {
        IdentityProof::Reported => "reported",
        IdentityProof::PortOnly => "port-only",
    }
}

/// As people write it: `38400 8N1`.
fn line(line: Line) -> String {
    let parity = match line.parity {
        Parity::None => 'N',
        Parity::Even => 'E',
        Parity::Odd => 'O',
    };
    format!("{} {}{parity}{}", line.baud, line.data_bits, line.stop_bits)
}

fn print<W: std::io::Write>(
    out: &mut Out<W>,
    serials: &[&SerialModel],
    profiles: &[&BleProfile],
) -> std::io::Result<()> {
    out.line(format_args!("{}", out.paint(Colour::Strong, "Serial drivers")))?;
    for model in serials {
        let name = out.paint(Colour::Strong, model.name);
        out.line(format_args!("  {name}  {}", model.title))?;
        let class = class_words(model.class);
        let identity = match model.identity {
            IdentityProof::Reported => "states who it is",
            IdentityProof::PortOnly => "states no identity: its port vouches",
        };
        out.line(format_args!("    {class}; {identity}; {}", line(model.line)))?;
        out.line(format_args!(
            "    told to be silent after {} s without a reading (`quiet` in its entry)",
            model.quiet.as_secs()
        ))?;
        if let Parts::Many { word, names } = model.parts {
            out.line(format_args!(
                "    several devices at its port, each a [[device.part]]; `at` is the {word}:"
            ))?;
            out.line(format_args!("      {}", names.join(", ")))?;
        }
        for row in model.settings {
            out.line(format_args!("    {}", setting_line(row)))?;
        }
        print_reads(out, model.reads)?;
    }
    out.line(format_args!("{}", out.paint(Colour::Strong, "BLE profiles")))?;
    for profile in profiles {
        let name = out.paint(Colour::Strong, profile.name);
        out.line(format_args!("  {name}  {}, service 0x{:04X}", profile.title, profile.service))?;
        out.line(format_args!("    {}", class_words(profile.class)))?;
        for row in profile.settings() {
            out.line(format_args!("    {}", setting_line(row)))?;
        }
        print_reads(out, profile.reads)?;
    }
    Ok(())
}

fn setting_line(row: &Setting) -> String {
    format!("settings.{} = {}  {}; {}", row.name, row.default_text(), row.bounds(), row.meaning)
}

fn print_reads<W: std::io::Write>(out: &mut Out<W>, metrics: &[&Metric]) -> std::io::Result<()> {
    for metric in metrics {
        out.line(format_args!("    {:>10}  {:<28} {}", metric.code, metric.reference, metric.label))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_says_what_it_means_what_holds_and_what_it_can_be() {
        const ROWS: [Setting; 2] = [
            Setting { name: "sum", meaning: "see the manual", values: Values::Word(&["xor", "crc"]) },
            Setting {
                name: "poll",
                meaning: "seconds",
                values: Values::Number { least: 5, most: 60, default: 10 },
            },
        ];
        let [word, number] = [&ROWS[0], &ROWS[1]].map(setting);
        assert_eq!(
            word,
            json!({ "name": "sum", "meaning": "see the manual", "default": "xor", "words": ["xor", "crc"] })
        );
        assert_eq!(
            number,
            json!({ "name": "poll", "meaning": "seconds", "default": 10, "least": 5, "most": 60 })
        );
        assert_eq!(setting_line(&ROWS[0]), "settings.sum = \"xor\"  must be one of xor, crc; see the manual");
        assert_eq!(
            setting_line(&ROWS[1]),
            "settings.poll = 10  must be a whole number from 5 to 60; seconds"
        );
    }

    #[test]
    fn a_line_is_shown_as_people_write_it() {
        let shown = line(Line { baud: 38_400, data_bits: 7, parity: Parity::Even, stop_bits: 2 });
        assert_eq!(shown, "38400 7E2");
    }
}
