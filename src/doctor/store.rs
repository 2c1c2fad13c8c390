//! `store`: whether what waits for the broker can be read, and is whole.

use super::{Says, counted};

/// What was seen of it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its folder.
    pub folder: String,
    /// Whether there is one.
    pub is_there: bool,
    /// Whether the daemon answered for it; otherwise it was looked into.
    pub is_asked: bool,
    /// Why it was not authenticated, if it was not.
    pub unchecked: Option<String>,
    /// Segments that are damaged.
    pub damaged: u64,
    /// Segments that were set aside.
    pub quarantined: u64,
    /// How often something was not as it was left.
    pub faults: u64,
    /// Records that were dropped or lost, each told of.
    pub dropped: u64,
    /// Records that wait for the broker, where they could be counted.
    pub waiting: Option<u64>,
    /// The daemon's last error with it.
    pub last_error: Option<String>,
    /// What looking into it has to say.
    pub remarks: Vec<String>,
}

/// Says what is wrong with it.
pub fn judge(facts: &Facts) -> Says {
    if !facts.is_there {
        return Says::default()
            .ok(format!("there is none yet in {}: the first start makes it", facts.folder));
    }
    let mut says = Says::default();
    let verify = "systemctl stop wardline; wardline spool verify";
    if facts.damaged > 0 {
        says = says.wrong(format!("{} damaged", counted(facts.damaged, "segment")), verify);
    }
    if facts.quarantined > 0 {
        let count = counted(facts.quarantined, "segment");
        says = says.wrong(format!("{count} set aside, as they did not authenticate"), "wardline spool list");
    }
    if let Some(error) = &facts.last_error {
        says = says
            .wrong(format!("the daemon's last error with it: {error}"), "see disk, then the daemon's log");
    }
    for remark in &facts.remarks {
        says = says.wrong(remark, verify);
    }
    if facts.faults > 0 && facts.quarantined == 0 {
        let count = counted(facts.faults, "time");
        says = says
            .note(format!("{count} something was not as it was left"), "journalctl -u wardline says what");
    }
    if facts.dropped > 0 {
        let count = counted(facts.dropped, "record");
        says = says.note(
            format!("{count} dropped or lost since the start, each told of at the broker"),
            "is the broker reached, and store.cap enough for an outage?",
        );
    }
    if let Some(why) = &facts.unchecked {
        return says.unseen(&super::Unseen::with(format!("it was not authenticated: {why}"), "see keys"));
    }
    let waiting =
        facts.waiting.map(|waiting| format!("; {} wait", counted(waiting, "record"))).unwrap_or_default();
    let who = if facts.is_asked { "the daemon says that it is sound" } else { "it was looked into: sound" };
    if says == Says::default() { says.ok(format!("{who}{waiting}")) } else { says }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_fault_of_a_store_has_its_words() {
        let of = |change: &dyn Fn(&mut Facts)| {
            let mut facts = Facts { is_there: true, waiting: Some(1), ..Facts::default() };
            change(&mut facts);
            facts
        };
        for (facts, verdict, words) in [
            (Facts::default(), Verdict::Ok, "none yet"),
            (of(&|_| {}), Verdict::Ok, "looked into: sound; 1 record wait"),
            (of(&|facts| facts.is_asked = true), Verdict::Ok, "the daemon says"),
            (of(&|facts| facts.damaged = 2), Verdict::Wrong, "2 segments damaged"),
            (of(&|facts| facts.quarantined = 1), Verdict::Wrong, "1 segment set aside"),
            (of(&|facts| facts.last_error = Some("ENOSPC".into())), Verdict::Wrong, "ENOSPC"),
            (of(&|facts| facts.remarks.push("no identity".into())), Verdict::Wrong, "no identity"),
            (of(&|facts| facts.faults = 1), Verdict::Note, "1 time"),
            (of(&|facts| facts.dropped = 7), Verdict::Note, "7 records"),
            (of(&|facts| facts.unchecked = Some("no key".into())), Verdict::Unchecked, "no key"),
        ] {
            let says = judge(&facts);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }
}
