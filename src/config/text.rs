//! A text of `gateway.toml` judged by itself, before it is written anywhere.

use std::collections::BTreeMap;
use std::path::Path;

use figment::value::Value;

use super::layers::{self, GATEWAY_FILE};
use super::problem::Problems;
use super::scope::{Places, Scope};
use super::{gateway, load, peel};

/// What a text says, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Judged {
    /// Every value that is written in it, by its key; text without its quotes.
    pub values: BTreeMap<String, String>,
    /// What is wrong; what is missing too.
    pub problems: Problems,
}

impl Judged {
    /// Why this key's value is refused.
    pub fn refusal(&self, key: &str) -> Option<&str> {
        self.problems.iter().find(|problem| problem.key == key).map(|problem| problem.reason.as_str())
    }
}

/// Judges it as the `gateway.toml` of `folder`, over the built-in defaults.
pub fn judge_text(text: &str, folder: &Path) -> Judged {
    let mut judged = Judged::default();
    let problems = &mut judged.problems;
    let dict = match layers::parse(text) {
        Ok(dict) => dict,
        Err(reason) => {
            problems.push(GATEWAY_FILE, "", reason);
            return judged;
        }
    };
    for (key, value) in peel::leaves(&dict) {
        let shown = value.as_str().map_or_else(|| peel::show(value), str::to_owned);
        judged.values.insert(key, shown);
    }
    let figment = layers::text(dict, problems);
    let values = load::dict_of(&figment, GATEWAY_FILE, problems);
    let places = Places::new(folder, None);
    let mut scope = Scope::new(&figment, Value::from(values), GATEWAY_FILE, String::new(), problems);
    let _ = gateway::judge(&mut scope, &places);
    judged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_judged_without_a_file() {
        let text = "[gateway]\norganisation = \"St. Anna\"\nid = \"gw-1\"\n[uplink]\nport = 99999\n";
        let judged = judge_text(text, Path::new("/etc/wardline"));
        assert_eq!(judged.values.get("gateway.id").map(String::as_str), Some("gw-1"));
        assert!(judged.refusal("gateway.organisation").unwrap().contains("a-z"), "{judged:?}");
        assert!(judged.refusal("gateway.group").unwrap().contains("missing"), "{judged:?}");
        assert!(judged.refusal("uplink.port").unwrap().contains("65535"), "{judged:?}");
        assert!(judged.refusal("gateway.id").is_none());
        assert!(!judge_text("[gateway", Path::new("/")).problems.is_empty());
    }
}
