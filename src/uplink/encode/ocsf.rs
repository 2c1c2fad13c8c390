//! Events as OCSF 1.7 (Open Cybersecurity Schema Framework): a JSON array of Detection Findings (class
//! 2004), whichever format the observations have. What watches over a hospital's security reads this
//! without knowing anything of observations.
//!
//! Of the framework's fields: `metadata.uid` and `finding_info.uid` are the record's idempotency key,
//! `finding_info.analytic` names the rule, `activity_id` is 1 (create), 2 (update) or 3 (close), and
//! `resources` holds the gateway and, where the event concerns one, the device by its id.

use super::json::{raw, string, whole};
use super::key::Keys;
use crate::device::observation::Phase;
use crate::policy::event::Event;

/// The `schema` property of a publish.
pub const SCHEMA: &str = "ocsf/1.7.0";

/// Detection Finding, in the category Findings.
const CLASS: u64 = 2004;

/// Writes as many events as the limit allows, at least one. Gives their number.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    keys: &Keys,
    gateway: &str,
    events: impl Iterator<Item = (usize, &'a Event)>,
    limit: usize,
) -> usize {
    out.push(b'[');
    let mut count = 0;
    for (index, event) in events {
        if count > 0 {
            out.push(b',');
        }
        finding(out, &keys.of(index), gateway, event);
        count += 1;
        if out.len() >= limit {
            break;
        }
    }
    out.push(b']');
    count
}

fn finding(out: &mut Vec<u8>, key: &str, gateway: &str, event: &Event) {
    let (activity, name, status) = match event.phase {
        Phase::Start => (1, "Create", 1),
        Phase::Update => (2, "Update", 2),
        Phase::End => (3, "Close", 4),
    };
    let severity = event.detection.severity();
    number(out, "{", "activity_id", activity);
    text(out, ",", "activity_name", name);
    number(out, ",", "category_uid", 2);
    number(out, ",", "class_uid", CLASS);
    number(out, ",", "type_uid", CLASS * 100 + activity);
    number(out, ",", "severity_id", severity as u64);
    text(out, ",", "severity", severity.as_str());
    number(out, ",", "status_id", status);
    // A clock before 1970 is one that was never set.
    number(out, ",", "time", u64::try_from(event.at.wall.as_millis()).unwrap_or(0));
    text(out, ",", "message", &event.detail);
    raw(out, r#","metadata":{"version":"1.7.0","product":{"name":"Wardline","vendor_name":"Wardline""#);
    text(out, ",", "version", env!("CARGO_PKG_VERSION"));
    text(out, "},", "uid", key);
    text(out, r#"},"finding_info":{"#, "uid", key);
    text(out, ",", "title", event.detection.title());
    raw(out, r#","analytic":{"type_id":1"#);
    text(out, ",", "uid", event.detection.as_str());
    text(out, r#"}},"resources":[{"#, "uid", gateway);
    text(out, ",", "type", "gateway");
    if !event.device.is_empty() {
        text(out, "},{", "uid", &event.device);
        text(out, ",", "type", "device");
    }
    raw(out, "}]}");
}

fn number(out: &mut Vec<u8>, before: &str, name: &str, value: u64) {
    field(out, before, name);
    whole(out, value);
}

fn text(out: &mut Vec<u8>, before: &str, name: &str, value: &str) {
    field(out, before, name);
    string(out, value);
}

fn field(out: &mut Vec<u8>, before: &str, name: &str) {
    raw(out, before);
    string(out, name);
    out.push(b':');
}
