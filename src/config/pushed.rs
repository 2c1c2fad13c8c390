//! What the fleet pushed, as a layer of the configuration.
//!
//! In: a bundle's settings, devices and described drivers, as JSON of the same shape as the files'. Out:
//! values that say where they came from, without what the floor does not let pass.

use figment::value::{Dict, Value};
use serde_json::Map;

use super::floor::{self, Floor};
use super::line_driver;
use super::problem::Problems;

/// What a bundle says of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pushed {
    /// What people call it, for instance `bundle 7`: problems and `check --show` name it.
    pub name: String,
    /// The group that it is of, and whose topics the readings go to; none: as the files say.
    pub group: Option<String>,
    /// Settings, section by section.
    pub settings: Map<String, serde_json::Value>,
    /// The devices of this gateway.
    pub devices: Vec<Map<String, serde_json::Value>>,
    /// The drivers that the site describes.
    pub line_drivers: Vec<Map<String, serde_json::Value>>,
    /// Revocation lists for the broker's chain, DER: beside those that `uplink.revocation_lists` names.
    pub revocations: Vec<Vec<u8>>,
}

impl Pushed {
    /// The settings, after the floor has judged each of them.
    pub(super) fn settings(&self, floor: &Floor, problems: &mut Problems) -> Dict {
        let settings = self.dict(&self.settings, problems);
        floor::refuse(&self.name, &settings, floor, problems);
        settings
    }

    /// The tables that a file of `devices.d` would hold.
    pub(super) fn tables(&self, floor: &Floor, problems: &mut Problems) -> Dict {
        for device in &self.devices {
            let device = self.dict(device, problems);
            floor::refuse_device(&self.name, &device, floor, problems);
        }
        let mut list = |tables: &[Map<String, serde_json::Value>]| {
            let tables: Vec<Value> =
                tables.iter().map(|table| Value::from(self.dict(table, problems))).collect();
            Value::from(tables)
        };
        let (devices, line_drivers) = (list(&self.devices), list(&self.line_drivers));
        Dict::from([("device".to_owned(), devices), (line_driver::TABLE.to_owned(), line_drivers)])
    }

    fn dict(&self, map: &Map<String, serde_json::Value>, problems: &mut Problems) -> Dict {
        let read = Value::serialize(map).map(Value::into_dict);
        let reason = match read {
            Ok(Some(dict)) => return dict,
            Ok(None) => "is not a table".to_owned(),
            Err(error) => error.kind.to_string(),
        };
        problems.push(&self.name, "", format!("cannot be read: {reason}"));
        Dict::new()
    }
}
