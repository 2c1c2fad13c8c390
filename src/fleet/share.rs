//! One gateway's share of a bundle, as the layer of its configuration.
//!
//! In: a bundle, and the gateway. Out: the settings, which are the whole ward's, and the devices that name
//! the gateway in `gateways`. What can go wrong: a device does not say which gateways have it, or names
//! one that is no member; in words.

use serde_json::{Map, Value};

use super::documents::Bundle;
use crate::config::Pushed;

/// The key of a device that the configuration of a gateway does not know.
const GATEWAYS: &str = "gateways";

/// What a bundle says of one gateway.
pub fn of(bundle: &Bundle, gateway: &str) -> Result<Pushed, String> {
    let mut devices = Vec::new();
    for (place, table) in bundle.devices.iter().enumerate() {
        let gateways = gateways(bundle, place, &table.0)?;
        if gateways.contains(&gateway) {
            devices.push(table.0.iter().filter(|(key, _)| *key != GATEWAYS).map(owned).collect());
        }
    }
    Ok(Pushed {
        name: format!("bundle {}", bundle.version),
        group: Some(bundle.group.clone()),
        settings: bundle.settings.0.clone(),
        devices,
        line_drivers: bundle.line_drivers.iter().map(|table| table.0.clone()).collect(),
        revocations: bundle.revocation_lists()?,
    })
}

fn owned((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

/// The gateways that have a device.
fn gateways<'a>(
    bundle: &Bundle,
    place: usize,
    device: &'a Map<String, Value>,
) -> Result<Vec<&'a str>, String> {
    let name = device
        .get("id")
        .and_then(Value::as_str)
        .map_or_else(|| format!("device {place}"), |id| format!("device {id:?}"));
    let list = device.get(GATEWAYS).and_then(Value::as_array);
    let names: Option<Vec<&str>> = list.and_then(|list| list.iter().map(Value::as_str).collect());
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return Err(format!("{name} does not say which gateways have it: add gateways = [\"...\"]"));
    };
    match names.iter().find(|name| !bundle.members.iter().any(|member| member == **name)) {
        Some(stranger) => Err(format!(
            "{name} is given to gateway {stranger:?}, which is no member: add it to members or take it out"
        )),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::documents::Document as _;

    fn bundle(devices: &str) -> Bundle {
        let text = format!(
            r#"{{"schema":1,"organisation":"st-anna","group":"icu-3","version":7,"min_agent":"0.1.0",
            "not_before":"2026-11-01T00:00:00Z","expires":"2027-11-01T00:00:00Z","members":["gw-1","gw-2"],
            "settings":{{"daemon":{{"log":"info"}}}},"devices":{devices}}}"#
        );
        Bundle::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_gateway_has_the_devices_that_name_it() {
        let bundle = bundle(r#"[{"id":"a","gateways":["gw-1"]},{"id":"b","gateways":["gw-1","gw-2"]}]"#);
        let ids = |gateway| -> Vec<Value> {
            of(&bundle, gateway).unwrap().devices.iter().map(|device| device["id"].clone()).collect()
        };
        assert_eq!((ids("gw-1"), ids("gw-2")), (vec!["a".into(), "b".into()], vec![Value::from("b")]));
        let share = of(&bundle, "gw-2").unwrap();
        assert_eq!((share.name.as_str(), share.devices[0].contains_key(GATEWAYS)), ("bundle 7", false));
        assert_eq!(share.settings, bundle.settings.0);
    }

    #[cfg(feature = "lab")]
    #[test]
    fn revocation_lists_are_every_gateways_and_bounded() {
        use crate::lab::pki::{Pki, Validity};
        use base64ct::{Base64, Encoding as _};

        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        let gone = pki.client("gone", Validity::Now).unwrap();
        let list = |times: usize| pki.revocation_list(&vec![&gone; times], (-1, 7)).unwrap();
        let with = |lists: &[String]| {
            let bundle = Bundle { revocations: lists.to_vec(), ..bundle("[]") };
            Bundle::read(&serde_json::to_vec(&bundle).unwrap())
        };
        let (small, large) = (Base64::encode_string(&list(1)), Base64::encode_string(&list(1_000)));
        let taken = with(&[small.clone(), large.clone()]).unwrap();
        assert_eq!(of(&taken, "gw-2").unwrap().revocations.len(), 2);
        assert!(of(&bundle("[]"), "gw-2").unwrap().revocations.is_empty());
        let cut = Base64::encode_string(&list(1)[..60]);
        for (lists, words) in [
            (vec![small.clone(), "no base64".to_owned()], "revocations[1]) that is not base64"),
            (vec![cut], "revocations[0]) that cannot be read"),
            (vec![small; 9], "9 revocations, at most 8"),
            (vec![large; 3], "at most 65536"),
        ] {
            let error = with(&lists).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_device_for_nobody_or_for_a_stranger_is_a_mistake_for_all() {
        for (device, words) in [
            (r#"{"id":"a"}"#, "\"a\" does not say which gateways"),
            (r#"{"gateways":[]}"#, "device 0 does not say"),
            (r#"{"id":"a","gateways":["gw-1",2]}"#, "does not say"),
            (r#"{"id":"a","gateways":["gw-3"]}"#, "\"gw-3\", which is no member"),
        ] {
            let error = of(&bundle(&format!("[{device}]")), "gw-1").unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
