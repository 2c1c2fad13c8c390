//! Completes a text of `gateway.toml`: its comments stay, what the site wrote stays.
//!
//! A value goes where its key stands already: in place of the line, also of one that is a comment. Only what stands
//! there as it was shipped is replaced.

use std::path::Path;

use crate::config::judge_text;

/// The file as it is shipped, with all its words.
pub(super) const SHIPPED: &str = include_str!("../../../configs/gateway.toml");
/// What the package puts above it.
const NOT_COMPLETE: &str = "# NOT COMPLETE:";

/// One value, as TOML writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// For instance `uplink.host`.
    pub(super) key: &'static str,
    pub(super) text: String,
}

impl Value {
    /// A text or a number, by the key.
    fn toml(&self) -> String {
        if self.key == "uplink.port" { self.text.clone() } else { format!("{:?}", self.text) }
    }
}

/// What the site wrote and is not what is wanted: (key, there, wanted).
pub(super) fn conflicts(text: &str, wanted: &[Value], folder: &Path) -> Vec<(&'static str, String, String)> {
    let (there, shipped) = (judge_text(text, folder).values, judge_text(SHIPPED, folder).values);
    let differs = |value: &&Value| {
        let found = there.get(value.key);
        found.is_some_and(|found| *found != value.text && shipped.get(value.key) != Some(found))
    };
    let shown =
        |value: &Value| (value.key, there.get(value.key).cloned().unwrap_or_default(), value.text.clone());
    wanted.iter().filter(differs).map(shown).collect()
}

/// The text with these values; why not, in words.
pub(super) fn complete(text: &str, wanted: &[Value], folder: &Path) -> Result<String, String> {
    let mut lines: Vec<String> = without_heading(text);
    let there = judge_text(text, folder).values;
    for value in wanted.iter().filter(|value| there.get(value.key) != Some(&value.text)) {
        put(&mut lines, value);
    }
    let done = lines.join("\n") + "\n";
    let judged = judge_text(&done, folder);
    if let Some(problem) = judged.problems.iter().next() {
        return Err(format!("it would not be valid: {problem}"));
    }
    match wanted.iter().find(|value| judged.values.get(value.key) != Some(&value.text)) {
        None => Ok(done),
        Some(value) => Err(format!("{} cannot be put in: write {} there by hand", value.key, value.toml())),
    }
}

fn without_heading(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::to_owned);
    if !text.starts_with(NOT_COMPLETE) {
        return lines.collect();
    }
    lines.skip_while(|line| !line.trim().is_empty()).skip(1).collect()
}

fn put(lines: &mut Vec<String>, value: &Value) {
    let (section, key) = value.key.rsplit_once('.').unwrap_or(("", value.key));
    let line = format!("{key} = {}", value.toml());
    let is_header = |line: &String| line.trim_start().starts_with('[');
    let header = format!("[{section}]");
    let found = if section.is_empty() {
        Some(0)
    } else {
        lines.iter().position(|line| line.trim() == header).map(|place| place + 1)
    };
    let Some(begin) = found else {
        lines.extend([String::new(), header, line]);
        return;
    };
    let end = lines.iter().skip(begin).position(is_header).map_or(lines.len(), |count| begin + count);
    let holds = |line: &String, is_comment: bool| {
        let rest = if is_comment {
            line.trim_start().strip_prefix('#').map(str::trim_start)
        } else {
            Some(line.trim_start())
        };
        let rest = rest.and_then(|rest| rest.strip_prefix(key));
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let find = |is_comment| {
        lines.iter().take(end).skip(begin).position(|line| holds(line, is_comment)).map(|count| begin + count)
    };
    match find(false).or_else(|| find(true)).and_then(|place| lines.get_mut(place)) {
        Some(there) => *there = line,
        None => lines.insert(begin, line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Vec<Value> {
        let pairs = [
            ("devices", "none"),
            ("gateway.organisation", "st-anna"),
            ("gateway.group", "icu-3"),
            ("gateway.id", "gw-1"),
            ("uplink.host", "mqtt.st-anna.example"),
            ("uplink.port", "18883"),
            ("fleet.folder", "/var/lib/wardline/fleet"),
        ];
        pairs.map(|(key, text)| Value { key, text: text.to_owned() }).to_vec()
    }

    /// As `packaging/build` makes it.
    fn packaged() -> String {
        let names = ["organisation", "group", "id", "host"];
        let is_name = |line: &str| names.iter().any(|name| line.starts_with(&format!("{name} = ")));
        let lines =
            SHIPPED.lines().map(|line| if is_name(line) { format!("# {line}") } else { line.to_owned() });
        format!("# NOT COMPLETE: names\n# and devices\n\n{}\n", lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_file_of_the_package_is_completed_and_its_words_stay() {
        let folder = Path::new("/etc/wardline");
        for text in [packaged(), SHIPPED.to_owned()] {
            let done = complete(&text, &wanted(), folder).unwrap();
            let judged = judge_text(&done, folder);
            assert!(judged.problems.is_empty(), "{judged:?}");
            for value in wanted() {
                assert_eq!(judged.values.get(value.key), Some(&value.text), "{}", value.key);
            }
            assert!(!done.contains("NOT COMPLETE"));
            let words = |text: &str| {
                text.lines().filter(|line| line.starts_with("# ") && !line.contains(" = ")).count()
            };
            assert_eq!(words(&done), words(SHIPPED));
            assert_eq!(complete(&done, &wanted(), folder).unwrap(), done, "a second time changes nothing");
        }
    }

    #[test]
    fn what_the_site_wrote_is_told_and_what_was_shipped_is_not() {
        let folder = Path::new("/etc/wardline");
        let site = SHIPPED.replace("broker.example.org", "mqtt.elsewhere.example");
        let found = conflicts(&site, &wanted(), folder);
        let told = ("uplink.host", "mqtt.elsewhere.example".to_owned(), "mqtt.st-anna.example".to_owned());
        assert_eq!(found, [told]);
        assert!(conflicts(SHIPPED, &wanted(), folder).is_empty());
    }

    #[test]
    fn what_is_written_in_another_way_is_left_to_a_person() {
        let folder = Path::new("/etc/wardline");
        let text = SHIPPED.replace("[gateway]", "[ gateway ]");
        assert!(complete(&text, &wanted(), folder).is_err());
    }
}
