//! Recorded and made-up captures, each with what it must give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use wardline::device::catalogue::{SerialModel, serial_models};
use wardline::device::observation::{Observation, Value};
use wardline::device::serial::{Decoded, decode_capture};
use wardline::device::settings::Settings;
use wardline::device::{Identity, Part};

use crate::support::shown;

/// A vector: a capture and what it must give.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    what: String,
    /// The capture as text, or
    capture: Option<String>,
    /// in hex digits, with white space wherever it helps.
    hex: Option<String>,
    /// Settings other than the defaults.
    #[serde(default)]
    settings: BTreeMap<String, serde_json::Value>,
    identity: Option<Who>,
    /// Who its parts say they are, by the names of their places.
    #[serde(default)]
    identities: BTreeMap<String, Who>,
    observations: Vec<Expected>,
    faults: Vec<String>,
    device_time: Option<String>,
}

impl Vector {
    /// What came over the line.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match (&self.capture, &self.hex) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(hex)) => {
                let digits: Vec<u32> =
                    hex.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
                assert!(digits.len().is_multiple_of(2), "{}: half a byte", self.what);
                digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
            }
            (Some(_), Some(_)) | (None, None) => panic!("{}: either `capture` or `hex`", self.what),
        }
    }

    fn settings(&self, model: &SerialModel) -> Settings {
        let mut settings = Settings::defaults(model.settings);
        for (name, value) in &self.settings {
            let row = model.settings.iter().find(|row| row.name == name).unwrap();
            match value.as_str() {
                Some(word) => settings.set_word(row, word).unwrap(),
                None => settings.set_number(row, value.as_i64().unwrap()).unwrap(),
            }
        }
        settings
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    #[serde(default)]
    model: Option<String>,
    serial: Option<String>,
    firmware: Option<String>,
}

impl Who {
    /// The model is compared only where the vector gives one.
    fn is(&self, said: &Identity) -> bool {
        (&self.serial, &self.firmware) == (&said.serial, &said.firmware)
            && (self.model.is_none() || self.model == said.model)
    }
}

#[derive(Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    #[serde(rename = "ref")]
    reference: String,
    value: Option<String>,
    absent: Option<String>,
    unit: String,
    kind: String,
    /// The name of the place of the part that it is of.
    #[serde(default)]
    part: Option<String>,
}

/// Every vector of a driver. A file that is not one fails.
pub(crate) fn vectors(driver: &str) -> Vec<(String, Vector)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(driver);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{driver} has no vectors: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        assert!(path.extension().is_some_and(|ending| ending == "json"), "{} is no vector", path.display());
        let text = std::fs::read_to_string(&path).unwrap();
        let vector =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path.file_stem().unwrap().to_string_lossy().into_owned(), vector)
    };
    paths.into_iter().map(read).collect()
}

fn expected(model: &SerialModel, part: Part, said: &Observation) -> Expected {
    let absent = if let Value::Absent(why) = said.value { Some(why.code().to_owned()) } else { None };
    Expected {
        reference: said.metric.reference.to_owned(),
        value: absent.is_none().then(|| shown(&said.value)),
        absent,
        unit: said.unit.ucum.to_owned(),
        kind: said.kind.as_str().to_owned(),
        part: model.parts.name(part).map(str::to_owned),
    }
}

#[test]
fn every_vector_of_every_driver_gives_what_it_must() {
    for model in serial_models() {
        let vectors = vectors(model.name);
        for (name, vector) in &vectors {
            let name = format!("{}/{name}: {}", model.name, vector.what);
            let decoded = decode_capture(model, &vector.settings(model), &vector.bytes());
            let Decoded { observations, faults, mut identities } = decoded;
            let said_so: Vec<Expected> =
                observations.iter().map(|(part, said)| expected(model, *part, said)).collect();
            for (said, expected) in said_so.iter().zip(&vector.observations) {
                assert_eq!(said, expected, "{name}");
            }
            assert_eq!(said_so.len(), vector.observations.len(), "{name}: {said_so:#?}");
            let kinds: Vec<String> = faults.iter().map(|fault| fault.kind.to_string()).collect();
            assert_eq!(kinds, vector.faults, "{name}: {faults:?}");
            let whole = identities.remove(&Part::WHOLE);
            let is_right = match (&vector.identity, &whole) {
                (Some(who), Some(said)) => who.is(said),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(is_right, "{name}: {whole:?}, expected {:?}", vector.identity);
            let named: BTreeMap<String, Identity> = identities
                .into_iter()
                .map(|(part, said)| (model.parts.name(part).unwrap().to_owned(), said))
                .collect();
            assert_eq!(
                named.keys().collect::<Vec<_>>(),
                vector.identities.keys().collect::<Vec<_>>(),
                "{name}"
            );
            for (place, who) in &vector.identities {
                assert!(who.is(&named[place]), "{name}: {place} is {:?}, expected {who:?}", named[place]);
            }
            let said: Vec<Observation> = observations.into_iter().map(|(_, said)| said).collect();
            if let Some(time) = &vector.device_time {
                assert!(said.iter().all(|said| said.device_time.unwrap().to_string() == *time), "{name}");
            }
            assert!(said.iter().all(|said| model.reads.contains(&said.metric)), "{name}: not in `reads`");
        }
        let (bad, good): (Vec<_>, Vec<_>) = vectors.iter().partition(|(name, _)| name.starts_with("bad-"));
        assert!(bad.len() >= 5 && good.len() >= 5, "{} has too few vectors", model.name);
        assert!(bad.iter().all(|(_, vector)| !vector.faults.is_empty()), "a bad capture has a fault");
    }
}

#[test]
fn every_published_frame_of_the_pump_is_among_the_vectors() {
    const PUBLISHED: [&str; 18] = [
        "!INF|4961",
        "!INF_VTBI|8456",
        "!ALARM|50B2",
        "!INST_SERIALNO|457D",
        "!COMMS_PROTOCOL|E8DA",
        "!COMMS_RESPONSE_MAX|7E29",
        "!SYRINGE_STATUS|4102",
        "!INF_RATE_MAX_SYRINGE|8F30",
        "!INF_RATE|8E6D",
        "!INF_VI|B42C",
        "!INST_SERIALNO^8002-51740|050B",
        "!INST_SERIALNO^8002-51733|ACFF",
        "!COMMS_PROTOCOL^Asena Rev 2.1.5|661A",
        "!COMMS_RESPONSE_MAX^4000^ms|DFDF",
        "!INF_RATE^0.10^ml/h|D407",
        "!INF_RATE^3.50^ml/h|3885",
        "!ALARM^AL_NOALM^ ^ |C73B",
        "!REMOTE_CTRL^ENABLED^****^PERMIT^0^ms|7BB0",
    ];
    let vectors = vectors("alaris-asena");
    for frame in PUBLISHED {
        let holds_it = |(_, vector): &(String, Vector)| {
            vector.capture.as_ref().is_some_and(|text| text.contains(frame)) && vector.faults.is_empty()
        };
        assert!(vectors.iter().any(holds_it), "{frame} is in no good vector");
    }
}

/// Frames with their checksums out of the tests of `python-astm` (`test_codecs.py`, `test_client.py`) and of its
/// successor `astmio` 1.0.0a3, both BSD; what is public with its text and not here stands in the driver's
/// module of the line.
#[test]
fn every_published_frame_of_an_analyser_is_among_the_vectors() {
    const PUBLISHED: [&str; 12] = [
        "\x021A|B|C|D\r\x03BF\r\n",
        "\x021H\r\x0389\r\n",
        "\x022P\r\x0392\r\n",
        "\x023O\r\x0392\r\n",
        "\x024L\r\x0390\r\n",
        "\x022A|0\r\x032F\r\n",
        "\x021H|foo\x1750\r\n",
        "\x022|bar\r\x03F3\r\n",
        "\x022|bar\r\x1707\r\n",
        "\x023L|bar\x1747\r\n",
        "\x024|baz\r\x03FD\r\n",
        "\x022P|1|2776833|||王^大^明||||||||||||||||||||\r\x034B\r\n",
    ];
    let vectors = vectors("astm-lis");
    for frame in PUBLISHED {
        let holds_it = |(_, vector): &(String, Vector)| {
            vector.capture.as_ref().is_some_and(|text| text.contains(frame))
                && !vector.faults.iter().any(|fault| fault == "checksum")
        };
        assert!(vectors.iter().any(holds_it), "{frame:?} is in no vector that reads it as whole");
    }
}
