//! `fleet`: the membership, what is trusted, and whether it is fresh.

use super::{Says, Unseen};
use crate::fleet::member::View;
use crate::time::Wall;

/// What the folder, the daemon and the broker say.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Root and group that are trusted; in words why the folder is not to be believed. Unseen: it could not be read.
    pub trusted: Result<Result<Trusted, String>, Unseen>,
    /// What the daemon says.
    pub view: Option<View>,
    /// The timestamp that the broker keeps: until when it speaks, or why it is not believed. Unseen: none came.
    pub timestamp: Result<Result<Wall, String>, Unseen>,
    /// Whether the clock can judge dates.
    pub is_time_known: bool,
    /// Now.
    pub now: Wall,
}

/// What is trusted.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The group.
    pub group: String,
    /// The root's version.
    pub root: u64,
    /// After this the root must be followed by another.
    pub root_expires: Wall,
}

const WARN_MILLIS: i64 = 30 * 86_400_000;

/// Says what is wrong with it.
pub fn judge(facts: Option<&Facts>) -> Says {
    let Some(facts) = facts else {
        return Says::default().ok("this gateway is in no fleet (no fleet.folder)");
    };
    let says = match &facts.trusted {
        Ok(Ok(trusted)) => judge_root(facts, trusted),
        Ok(Err(why)) => Says::default().wrong(
            format!("nothing of the fleet is believed: {why}"),
            "wardline enrol --root root.json, with the folder removed, makes it a member anew",
        ),
        Err(unseen) => Says::default().unseen(unseen),
    };
    let says = match &facts.timestamp {
        Ok(Ok(until)) if facts.is_time_known => says.ok(format!("the timestamp speaks until {until}")),
        Ok(Ok(until)) => says.note(
            format!("the timestamp speaks until {until}, by its own word: the clock follows no reference"),
            "see clock",
        ),
        Ok(Err(why)) => says.wrong(
            format!("the timestamp at the broker is not believed: {why}"),
            "the operator: wardline-fleet publish",
        ),
        // The daemon has one.
        Err(_) if facts.view.as_ref().is_some_and(is_current) => says,
        Err(unseen) => says.unseen(unseen),
    };
    match &facts.view {
        Some(view) => says.and(judge_view(view)),
        None => says,
    }
}

fn is_current(view: &View) -> bool {
    matches!(view.standing.as_str(), "current" | "waits" | "paused" | "fetches" | "under-way")
}

fn judge_root(facts: &Facts, trusted: &Trusted) -> Says {
    let Trusted { group, root, root_expires } = trusted;
    let left = root_expires.as_millis() - facts.now.as_millis();
    let text = format!("group {group}, root {root} until {root_expires}");
    let remedy = "the operator: wardline-fleet root new, signed by the root keys";
    match left {
        _ if !facts.is_time_known => Says::default().ok(text),
        ..0 => Says::default().wrong(format!("root {root} has run out at {root_expires}"), remedy),
        _ if left < WARN_MILLIS => Says::default().note(text, remedy),
        _ => Says::default().ok(text),
    }
}

fn judge_view(view: &View) -> Says {
    let mut says = Says::default();
    let detail = &view.detail;
    match view.standing.as_str() {
        "locked" => {
            says = says.wrong(format!("the daemon takes nothing from the fleet: {detail}"), "wardline enrol");
        }
        "stale" => {
            let text = format!("what the fleet says is too old: {detail}");
            says = says.wrong(text, "the operator: wardline-fleet publish");
        }
        "failed" => {
            let text = format!("a bundle did not stand its trial: {detail}");
            says = says.wrong(text, "the operator mends it and pushes the next version");
        }
        _ => {}
    }
    match &view.trouble {
        Some(trouble) if says == Says::default() => says.wrong(trouble, "wardline status"),
        Some(_) | None => says,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn facts() -> Facts {
        let root_expires = Wall::from_millis(NOW + 2 * WARN_MILLIS);
        Facts {
            trusted: Ok(Ok(Trusted { group: "icu-3".into(), root: 1, root_expires })),
            view: None,
            timestamp: Ok(Ok(Wall::from_millis(NOW + 1))),
            is_time_known: true,
            now: Wall::from_millis(NOW),
        }
    }

    #[test]
    fn each_fault_of_a_membership_has_its_words() {
        let of = |change: &dyn Fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            facts
        };
        let root = |millis: i64| {
            of(&|facts| {
                if let Ok(Ok(trusted)) = &mut facts.trusted {
                    trusted.root_expires = Wall::from_millis(NOW + millis);
                }
            })
        };
        let standing = |word: &str| {
            of(&|facts| {
                facts.view = Some(View { standing: word.into(), detail: "why".into(), ..View::default() });
            })
        };
        let unseen = |word: &str| Facts { timestamp: Err(Unseen::new("none came")), ..standing(word) };
        for (facts, verdict, words) in [
            (facts(), Verdict::Ok, "group icu-3, root 1"),
            (root(-1), Verdict::Wrong, "root 1 has run out"),
            (root(1), Verdict::Note, "root 1 until"),
            (of(&|facts| facts.is_time_known = false), Verdict::Note, "follows no reference"),
            (of(&|facts| facts.trusted = Ok(Err("it was changed".into()))), Verdict::Wrong, "it was changed"),
            (of(&|facts| facts.trusted = Err(Unseen::new("denied"))), Verdict::Unchecked, "denied"),
            (of(&|facts| facts.timestamp = Ok(Err("it ran out".into()))), Verdict::Wrong, "it ran out"),
            (of(&|facts| facts.timestamp = Err(Unseen::new("none came"))), Verdict::Unchecked, "none came"),
            (unseen("current"), Verdict::Ok, "icu-3"),
            (unseen("unheard"), Verdict::Unchecked, "none came"),
            (standing("current"), Verdict::Ok, "icu-3"),
            (standing("stale"), Verdict::Wrong, "too old: why"),
            (standing("locked"), Verdict::Wrong, "takes nothing"),
            (standing("failed"), Verdict::Wrong, "stand its trial"),
        ] {
            let says = judge(Some(&facts));
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
        assert_eq!(judge(None).verdict(), Verdict::Ok);
    }
}
