//! Reads payloads back without any of the code that wrote them: JSON and CBOR as data, by the
//! documented shape alone.

#![expect(clippy::indexing_slicing, reason = "a JSON value that is indexed gives null for what is not there")]
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else CBOR has is not in the schema")]

use anyhow::{Context as _, bail, ensure};
use minicbor::Decoder;
use minicbor::data::Type;
use serde_json::Value as Json;

/// How deep a payload may be nested: ours has six levels.
const MAX_DEPTH: u8 = 16;

/// One record or gap, as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its idempotency key.
    pub key: String,
    /// Number within device and run; `None` for a gap.
    pub seq: Option<u64>,
    /// The run of the gateway; empty for a gap.
    pub run: String,
    /// The 11073 code; 0 for a gap.
    pub code: u32,
    /// Wall time, milliseconds since 1970 (CBOR) or as text (FHIR).
    pub at: String,
    /// The value, shown; for a gap how many records are lost.
    pub value: String,
}

/// Reads a transaction Bundle.
pub fn read_fhir(payload: &[u8]) -> anyhow::Result<Vec<Reading>> {
    let bundle: Json = serde_json::from_slice(payload).context("not JSON")?;
    ensure!(
        bundle["resourceType"] == "Bundle" && bundle["type"] == "transaction",
        "not a transaction Bundle"
    );
    let entries = bundle["entry"].as_array().context("no entry")?;
    entries.iter().map(read_entry).collect()
}

fn read_entry(entry: &Json) -> anyhow::Result<Reading> {
    let resource = &entry["resource"];
    ensure!(resource["resourceType"] == "Observation", "not an Observation");
    let identifier = &resource["identifier"][0];
    ensure!(identifier["system"] == "urn:wardline:record", "no identifier of ours");
    let key = text(&identifier["value"]).context("identifier without value")?;
    // A record of the device's own is created once by the name that the device gave it.
    let condition = match resource["identifier"].get(1) {
        Some(name) => {
            ensure!(name["system"] == "urn:wardline:device-record", "a second identifier of another kind");
            format!("identifier=urn:wardline:device-record|{}", text(&name["value"]).context("no name")?)
        }
        None => format!("identifier=urn:wardline:record|{key}"),
    };
    ensure!(entry["request"]["ifNoneExist"] == condition.as_str(), "the condition is not the identifier");
    let parts = resource["extension"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|extension| extension["url"] == "urn:wardline:context")
        .and_then(|extension| extension["extension"].as_array())
        .context("no context extension")?;
    let part = |name: &str| parts.iter().find(|part| part["url"] == name);
    let seq = part("seq").and_then(|part| part["valueString"].as_str()).map(str::parse).transpose()?;
    let run = part("run").and_then(|part| text(&part["valueString"])).unwrap_or_default();
    let mdc = resource["code"]["coding"].as_array().into_iter().flatten();
    let code = mdc
        .filter(|coding| coding["system"] == "urn:iso:std:iso:11073:10101")
        .find_map(|coding| coding["code"].as_str()?.parse().ok())
        .unwrap_or(0);
    // When the gateway had it, where that is not when it was.
    let at = part("received")
        .and_then(|part| text(&part["valueInstant"]))
        .or_else(|| text(&resource["effectiveDateTime"]))
        .or_else(|| text(&resource["effectivePeriod"]["start"]))
        .context("no time")?;
    Ok(Reading { key, seq, run, code, at, value: fhir_value(resource)? })
}

fn fhir_value(resource: &Json) -> anyhow::Result<String> {
    let quantity = &resource["valueQuantity"]["value"];
    if quantity.is_number() {
        return Ok(quantity.to_string());
    }
    text(&resource["valueSampledData"]["data"])
        .or_else(|| text(&resource["valueString"]))
        .or_else(|| text(&resource["valueDateTime"]))
        .or_else(|| text(&resource["valueCodeableConcept"]["coding"][0]["code"]))
        .or_else(|| text(&resource["valueCodeableConcept"]["text"]))
        .or_else(|| text(&resource["dataAbsentReason"]["coding"][0]["code"]))
        .context("neither a value nor why there is none")
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

/// A CBOR data item, as far as the schema uses them.
#[derive(Clone, Debug, PartialEq)]
enum Item {
    Int(i128),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(Vec<(Item, Item)>),
    Tag(u64, Box<Item>),
    Bool(bool),
    Null,
}

impl Item {
    fn int(&self) -> anyhow::Result<i128> {
        if let Self::Int(value) = self { Ok(*value) } else { bail!("{self:?} where a number must be") }
    }

    fn text(&self) -> anyhow::Result<&str> {
        if let Self::Text(value) = self { Ok(value) } else { bail!("{self:?} where a text must be") }
    }

    fn array(&self) -> anyhow::Result<&[Self]> {
        if let Self::Array(items) = self { Ok(items) } else { bail!("{self:?} where an array must be") }
    }

    fn get(&self, key: i128) -> Option<&Self> {
        let Self::Map(pairs) = self else { return None };
        pairs.iter().find(|(name, _)| *name == Self::Int(key)).map(|(_, value)| value)
    }
}

/// What an event says: detection, activity, device.
pub type Finding = (String, String, String);

/// The events of an OCSF payload: the key, and detection, activity and device of each.
pub fn read_events(payload: &[u8]) -> anyhow::Result<Vec<(String, Finding)>> {
    let findings: Vec<Json> = serde_json::from_slice(payload)?;
    let text = |value: &Json, path: &str| {
        let found = value.pointer(path).and_then(Json::as_str);
        found.map(str::to_owned).with_context(|| format!("no {path}"))
    };
    let read = |finding: &Json| {
        ensure!(finding.get("class_uid") == Some(&Json::from(2004)), "another class");
        let device = text(finding, "/resources/1/uid").unwrap_or_default();
        let said = (text(finding, "/finding_info/analytic/uid")?, text(finding, "/activity_name")?, device);
        Ok((text(finding, "/metadata/uid")?, said))
    };
    findings.iter().map(read).collect()
}

/// Reads a CBOR publish.
pub fn read_cbor(payload: &[u8]) -> anyhow::Result<Vec<Reading>> {
    let mut decoder = Decoder::new(payload);
    let publish = item(&mut decoder, 0)?;
    ensure!(decoder.position() == payload.len(), "bytes after the end");
    let field = |key| publish.get(key).with_context(|| format!("no field {key}"));
    ensure!(field(0)?.int()? == 1, "another version of the schema");
    let Item::Bytes(store) = field(1)? else { bail!("the store id is no bytes") };
    let store: String = store.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(hex).collect();
    let lane = match field(2)?.int()? {
        0 => "alarm",
        1 => "vital",
        2 => "bulk",
        other => bail!("no lane {other}"),
    };
    let prefix = format!("{store}-{lane}-{}-{}", field(3)?.int()?, field(4)?.int()?);
    let run = format!("{:016x}", field(6)?.int()?);
    let has_device = publish.get(8).is_some();
    let records = field(9)?.array()?;
    records.iter().map(|record| read_record(record.array()?, &prefix, &run, has_device)).collect()
}

fn read_record(record: &[Item], prefix: &str, run: &str, of_device: bool) -> anyhow::Result<Reading> {
    let at = |index: usize| record.get(index).context("a record is too short");
    let key = format!("{prefix}-{}", at(0)?.int()?);
    if !of_device {
        ensure!(record.len() == 6, "a gap has six fields");
        let (value, first) = (at(2)?.int()?.to_string(), at(3)?.int()?.to_string());
        return Ok(Reading { key, seq: None, run: String::new(), code: 0, at: first, value });
    }
    ensure!(record.len() == 16, "a record has sixteen fields");
    let seq = Some(u64::try_from(at(1)?.int()?)?);
    let (run, code) = (run.to_owned(), u32::try_from(at(5)?.int()?)?);
    Ok(Reading { key, seq, run, code, at: at(3)?.int()?.to_string(), value: cbor_value(at(13)?)? })
}

fn hex(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('?')
}

fn cbor_value(value: &Item) -> anyhow::Result<String> {
    match value {
        Item::Text(text) => Ok(text.clone()),
        Item::Tag(4, parts) => {
            let [exponent, mantissa] = parts.array()? else { bail!("a decimal has two parts") };
            let number = crate::device::decimal::Decimal::new(
                i64::try_from(mantissa.int()?)?,
                i8::try_from(exponent.int()?)?,
            );
            Ok(number.to_string())
        }
        Item::Array(parts) => match parts.as_slice() {
            [Item::Int(0), reason] => Ok(reason.text()?.to_owned()),
            [Item::Int(1), bits] => Ok(format!("0x{:08x}", bits.int()?)),
            [Item::Int(2), code, _, _, _, Item::Bool(_)] => Ok(code.text()?.to_owned()),
            [Item::Int(3), Item::Int(_), Item::Int(_), Item::Array(samples)] => {
                let sample = |sample: &Item| match sample {
                    Item::Null => Ok("E".to_owned()),
                    other => Ok(other.int()?.to_string()),
                };
                Ok(samples.iter().map(sample).collect::<anyhow::Result<Vec<_>>>()?.join(" "))
            }
            other => bail!("no value: {other:?}"),
        },
        Item::Int(_) | Item::Bytes(_) | Item::Map(_) | Item::Tag(..) | Item::Bool(_) | Item::Null => {
            bail!("no value: {value:?}")
        }
    }
}

fn item(decoder: &mut Decoder<'_>, depth: u8) -> anyhow::Result<Item> {
    ensure!(depth < MAX_DEPTH, "nested too deep");
    Ok(match decoder.datatype()? {
        Type::Bytes => Item::Bytes(decoder.bytes()?.to_vec()),
        Type::String => Item::Text(decoder.str()?.to_owned()),
        Type::Tag => Item::Tag(decoder.tag()?.as_u64(), Box::new(item(decoder, depth + 1)?)),
        Type::Bool => Item::Bool(decoder.bool()?),
        Type::Null => {
            decoder.null()?;
            Item::Null
        }
        Type::Array | Type::ArrayIndef => {
            let length = decoder.array()?;
            let mut items = Vec::new();
            while !ends(decoder, length, items.len())? {
                items.push(item(decoder, depth + 1)?);
            }
            Item::Array(items)
        }
        Type::Map => {
            let length = decoder.map()?;
            let mut pairs = Vec::new();
            while !ends(decoder, length, pairs.len())? {
                pairs.push((item(decoder, depth + 1)?, item(decoder, depth + 1)?));
            }
            Item::Map(pairs)
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => Item::Int(decoder.int()?.into()),
        other => bail!("{other} does not belong here"),
    })
}

/// Whether an array or map of this length ends here; without a length, at its break.
fn ends(decoder: &mut Decoder<'_>, length: Option<u64>, so_far: usize) -> anyhow::Result<bool> {
    if let Some(length) = length {
        return Ok(u64::try_from(so_far)? >= length);
    }
    let end = decoder.datatype()? == Type::Break;
    if end {
        decoder.skip()?;
    }
    Ok(end)
}
