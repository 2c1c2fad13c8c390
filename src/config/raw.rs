//! What a person writes, key by key. Nothing here is required and nothing is judged: that is the
//! next step's, so that one run can name everything that is wrong. Unknown keys are refused here.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};

/// `gateway.toml` with the layers below and above it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    pub(super) devices: Option<String>,
    pub(super) gateway: Option<Gateway>,
    pub(super) uplink: Option<Uplink>,
    pub(super) store: Option<Store>,
    pub(super) keys: Option<Keys>,
    pub(super) status: Option<Status>,
    pub(super) daemon: Option<Daemon>,
    pub(super) fleet: Option<Fleet>,
}

/// The sections of [`Root`]: what a file of `devices.d` must not hold.
pub(super) const SECTIONS: [&str; 8] =
    ["devices", "gateway", "uplink", "store", "keys", "status", "daemon", "fleet"];

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gateway {
    pub(super) organisation: Option<String>,
    pub(super) group: Option<String>,
    pub(super) id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Uplink {
    pub(super) host: Option<String>,
    pub(super) port: Option<i64>,
    pub(super) authorities: Option<String>,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) revocation_lists: Option<String>,
    pub(super) revocation: Option<String>,
    pub(super) payload: Option<String>,
    pub(super) require_subscriber: Option<bool>,
    pub(super) window: Option<i64>,
    pub(super) keep_alive: Option<String>,
    pub(super) stalled_after: Option<String>,
    pub(super) heartbeat: Option<String>,
    pub(super) backoff_first: Option<String>,
    pub(super) backoff_most: Option<String>,
    pub(super) healthy_after: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) folder: Option<String>,
    pub(super) cap: Option<String>,
    pub(super) alarm_reserve: Option<String>,
    pub(super) linger: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) kek: Option<String>,
    pub(super) kek_previous: Option<String>,
    pub(super) ward: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    pub(super) socket: Option<String>,
    pub(super) group: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Daemon {
    pub(super) log: Option<String>,
    pub(super) shutdown_grace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fleet {
    pub(super) folder: Option<String>,
    pub(super) inventory: Option<String>,
    pub(super) import: Option<String>,
    pub(super) trial: Option<String>,
}

/// `floor.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Floor {
    pub(super) host_suffix: Option<String>,
    pub(super) cap: Option<String>,
    pub(super) alarm_reserve: Option<String>,
    pub(super) heartbeat: Option<String>,
    pub(super) log: Option<String>,
    pub(super) trial: Option<String>,
    pub(super) unstable_ports: Option<bool>,
    pub(super) open_links: Option<bool>,
    pub(super) weak_bonds: Option<bool>,
    pub(super) link_only: Option<bool>,
    pub(super) removed: Option<i64>,
}

/// One `[[device]]` of a file in `devices.d`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    pub(super) id: Option<String>,
    pub(super) asset: Option<String>,
    pub(super) driver: Option<String>,
    pub(super) port: Option<String>,
    pub(super) allow_unstable_port: Option<bool>,
    pub(super) line: Option<Line>,
    pub(super) settings: Option<BTreeMap<String, SettingValue>>,
    pub(super) quiet: Option<String>,
    pub(super) end_of_support: Option<String>,
    pub(super) profiles: Option<Vec<Option<String>>>,
    pub(super) address: Option<String>,
    pub(super) adapter: Option<String>,
    pub(super) security: Option<String>,
    pub(super) pairing: Option<String>,
    pub(super) minimum_class: Option<String>,
    pub(super) protected: Option<String>,
    pub(super) location: Option<String>,
    pub(super) trust: Option<String>,
    pub(super) elements: Option<Elements>,
    pub(super) expects: Option<Identity>,
    /// An entry that was no table is `None`: it has been reported.
    pub(super) part: Option<Vec<Option<Part>>>,
}

/// One `[[device.part]]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) at: Option<String>,
    pub(super) id: Option<String>,
    pub(super) asset: Option<String>,
    pub(super) trust: Option<String>,
    pub(super) elements: Option<Elements>,
    pub(super) expects: Option<Identity>,
    pub(super) quiet: Option<String>,
    pub(super) end_of_support: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) baud: Option<i64>,
    pub(super) data_bits: Option<i64>,
    pub(super) parity: Option<String>,
    pub(super) stop_bits: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) maker: Option<String>,
    pub(super) model: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) firmware: Option<String>,
}

/// What a driver's setting is given: its rows in the catalogue judge it.
#[derive(Clone, Debug)]
pub(super) enum SettingValue {
    Word(String),
    Number(i64),
}

impl<'de> Deserialize<'de> for SettingValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrNumber;

        impl Visitor<'_> for WordOrNumber {
            type Value = SettingValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a word in double quotes")
            }

            fn visit_str<E>(self, word: &str) -> Result<SettingValue, E> {
                Ok(SettingValue::Word(word.to_owned()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<SettingValue, E> {
                Ok(SettingValue::Number(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<SettingValue, E> {
                // TOML has no whole number that does not fit.
                i64::try_from(number).map(SettingValue::Number).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(WordOrNumber)
    }
}

/// One word (`"all"`) or a list of reference ids. An entry that was not text is `None`: it has been
/// reported, and its place keeps the others' numbers right.
#[derive(Debug)]
pub(super) enum Elements {
    Word(String),
    List(Vec<Option<String>>),
}

impl<'de> Deserialize<'de> for Elements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrList;

        impl<'de> Visitor<'de> for WordOrList {
            type Value = Elements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\" or a list of reference ids")
            }

            fn visit_str<E>(self, word: &str) -> Result<Elements, E> {
                Ok(Elements::Word(word.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    list.push(entry);
                }
                Ok(Elements::List(list))
            }
        }

        deserializer.deserialize_any(WordOrList)
    }
}

/// Every key of [`Root`], as `section.key`: what each struct itself says when it is asked for one that it
/// does not know.
#[cfg(test)]
pub(super) fn keys() -> Vec<String> {
    use serde::de::value::{Error, MapDeserializer};

    fn fields<T: serde::de::DeserializeOwned>() -> Vec<String> {
        let asked: MapDeserializer<'_, _, Error> = MapDeserializer::new([("?", "")].into_iter());
        let answer = T::deserialize(asked).err().map(|error| error.to_string()).unwrap_or_default();
        // unknown field `?`, expected one of `a`, `b`
        answer.split('`').skip(3).step_by(2).map(ToOwned::to_owned).collect()
    }
    let sections: [(&str, Vec<String>); 7] = [
        ("gateway", fields::<Gateway>()),
        ("uplink", fields::<Uplink>()),
        ("store", fields::<Store>()),
        ("keys", fields::<Keys>()),
        ("status", fields::<Status>()),
        ("daemon", fields::<Daemon>()),
        ("fleet", fields::<Fleet>()),
    ];
    let mut keys = Vec::new();
    for name in fields::<Root>() {
        match sections.iter().find(|(section, _)| *section == name) {
            Some((section, inner)) => keys.extend(inner.iter().map(|key| format!("{section}.{key}"))),
            None => keys.push(name),
        }
    }
    keys
}
