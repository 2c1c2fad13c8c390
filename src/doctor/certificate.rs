//! `certificate`: what the gateway shows to the broker.

use super::{Says, Unseen, counted};
use crate::identity::renewal::{Alarm, Lifetime};
use crate::time::{ClockSync, Now, Wall};

const MILLIS_PER_DAY: i64 = 86_400_000;

/// What a leaf certificate says.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// From when.
    pub from: Wall,
    /// Until when.
    pub until: Wall,
    /// Its common name.
    pub name: Option<String>,
    /// Whether it may be shown by a client (RFC 5280, section 4.2.1.12: without the extension, by anybody).
    pub is_for_clients: bool,
    /// Whether its key may sign (RFC 5280, section 4.2.1.3), which TLS 1.3 asks it to.
    pub may_sign: bool,
}

/// Of the files that the configuration names.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the certificate is.
    pub path: String,
    /// What it says, or why it cannot be read.
    pub leaf: Result<Leaf, String>,
    /// How many certificates are in the file.
    pub chain: usize,
    /// Certificates of that file that the one before them does not name as its issuer.
    pub broken_at: Option<usize>,
    /// Whether the private key can be used and belongs to it; in words when not. An unseen key is one that is there
    /// only while the unit runs.
    pub key: Result<Result<(), String>, Unseen>,
    /// Rights of the certificate's file that let others than its owner change it.
    pub open_to: Option<u32>,
    /// The gateway's id.
    pub gateway: String,
    /// Whether the daemon gets the next one by itself.
    pub is_renewed: bool,
    /// Now.
    pub now: Now,
}

/// Says what is wrong with it.
pub fn judge(facts: &Facts) -> Says {
    let says = match &facts.leaf {
        Ok(leaf) => judge_leaf(facts, leaf),
        Err(why) => Says::default().wrong(why, "wardline enrol, or put the chain there that was issued"),
    };
    let says = match &facts.key {
        Ok(Ok(())) => says,
        Ok(Err(why)) => says.wrong(why, "install the pair that was issued together: wardline enrol"),
        Err(unseen) => says.unseen(unseen),
    };
    match facts.open_to {
        Some(mode) => {
            let path = &facts.path;
            says.wrong(
                format!("{path} has mode {mode:04o}: others can change it"),
                format!("chmod 0644 {path}"),
            )
        }
        None => says,
    }
}

fn judge_leaf(facts: &Facts, leaf: &Leaf) -> Says {
    let mut says = judge_dates(facts, leaf);
    if !leaf.is_for_clients {
        says = says.wrong(
            "it is not for TLS clients (extended key usage lacks clientAuth): a broker refuses it",
            "have one issued with extended key usage clientAuth",
        );
    }
    if !leaf.may_sign {
        says = says.wrong(
            "its key may not sign (key usage lacks digitalSignature), which TLS 1.3 needs",
            "have one issued with key usage digitalSignature",
        );
    }
    if let Some(place) = facts.broken_at {
        says = says.wrong(
            format!("the chain breaks: certificate {place} of the file was not issued by the one after it"),
            "put the certificate first, then each issuer in its order, without gaps",
        );
    }
    if leaf.name.as_ref().is_some_and(|name| *name != facts.gateway) {
        says = says.note(
            format!(
                "its common name is {}, the gateway's id {}: a broker that gives rights by the name gives those of another",
                leaf.name.as_deref().unwrap_or_default(),
                facts.gateway
            ),
            "check that this is the certificate of this gateway",
        );
    }
    says
}

fn judge_dates(facts: &Facts, leaf: &Leaf) -> Says {
    let says = Says::default();
    let (now, until) = (facts.now, leaf.until);
    let days = (until.as_millis() - now.wall.as_millis()).div_euclid(MILLIS_PER_DAY);
    let renew = if facts.is_renewed {
        "wardline status says why it was not renewed; wardline enrol gets one by hand"
    } else {
        "wardline enrol, or have one issued and put it there"
    };
    let life = Lifetime { from: leaf.from, until, draw: 0 };
    let alarm = life.alarm_by(now.wall);
    if now.sync == ClockSync::Unsynced && (alarm != Alarm::None || now.wall < leaf.from) {
        let how = match alarm {
            Alarm::Soon | Alarm::Urgent => format!("it is valid only until {until}"),
            Alarm::None | Alarm::Expired => format!("it is not valid now (until {until})"),
        };
        let why = format!("by a clock that follows no reference {how}: see clock");
        return says.unseen(&Unseen::with(why, "mend the clock first"));
    }
    if now.wall < leaf.from {
        return says.wrong(format!("it is not valid before {}", leaf.from), "check the clock, or wait");
    }
    if days < 0 {
        let ago = counted(days.unsigned_abs(), "day");
        return says.wrong(format!("it expired at {until}, {ago} ago"), renew);
    }
    let left = counted(days.unsigned_abs(), "day");
    let text = format!("valid until {until}, {left} left; {} in the file", counted_certificates(facts.chain));
    // Whoever has to have one issued by hand hears of it twice as early.
    let is_early = until.as_millis() - now.wall.as_millis() < life.soon().saturating_mul(2);
    match alarm {
        Alarm::Soon | Alarm::Urgent | Alarm::Expired => {
            says.wrong(format!("only {left} left, until {until}"), renew)
        }
        Alarm::None if is_early && !facts.is_renewed => says.note(text, renew),
        Alarm::None => says.ok(text),
    }
}

fn counted_certificates(count: usize) -> String {
    counted(u64::try_from(count).unwrap_or(u64::MAX), "certificate")
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const DAY: i64 = MILLIS_PER_DAY;
    const NOW: i64 = 1_790_000_000_000;

    fn facts() -> Facts {
        Facts {
            path: "/etc/wardline/own.pem".into(),
            leaf: Ok(Leaf {
                from: Wall::from_millis(NOW - 300 * DAY),
                until: Wall::from_millis(NOW + 60 * DAY),
                name: Some("gw-1".into()),
                is_for_clients: true,
                may_sign: true,
            }),
            chain: 2,
            broken_at: None,
            key: Ok(Ok(())),
            open_to: None,
            gateway: "gw-1".into(),
            is_renewed: false,
            now: Now { wall: Wall::from_millis(NOW), sync: ClockSync::Synced, ..Now::default() },
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    fn leaf(change: impl FnOnce(&mut Leaf)) -> Facts {
        with(|facts| change(facts.leaf.as_mut().unwrap()))
    }

    #[test]
    fn each_fault_of_a_certificate_has_its_words() {
        let until = |days: i64| leaf(|leaf| leaf.until = Wall::from_millis(NOW + days * DAY));
        // Of ten days.
        let short = |days: i64| {
            leaf(|leaf| {
                leaf.until = Wall::from_millis(NOW + days * DAY);
                leaf.from = Wall::from_millis(NOW + (days - 10) * DAY);
            })
        };
        for (facts, verdict, words) in [
            (facts(), Verdict::Ok, "60 days left; 2 certificates"),
            (until(-3), Verdict::Wrong, "3 days ago"),
            (until(13), Verdict::Wrong, "only 13 days left"),
            (until(14), Verdict::Note, "14 days left"),
            (until(28), Verdict::Ok, "28 days left"),
            (short(6), Verdict::Ok, "6 days left"),
            (short(1), Verdict::Wrong, "only 1 day left"),
            (leaf(|leaf| leaf.from = Wall::from_millis(NOW + DAY)), Verdict::Wrong, "not valid before"),
            (leaf(|leaf| leaf.is_for_clients = false), Verdict::Wrong, "clientAuth"),
            (leaf(|leaf| leaf.may_sign = false), Verdict::Wrong, "digitalSignature"),
            (leaf(|leaf| leaf.name = Some("gw-2".into())), Verdict::Note, "gw-2"),
            (leaf(|leaf| leaf.name = None), Verdict::Ok, "60 days"),
            (with(|facts| facts.leaf = Err("no certificate".into())), Verdict::Wrong, "no certificate"),
            (with(|facts| facts.broken_at = Some(1)), Verdict::Wrong, "certificate 1"),
            (with(|facts| facts.key = Ok(Err("it belongs to another".into()))), Verdict::Wrong, "another"),
            (with(|facts| facts.key = Err(Unseen::new("only in the unit"))), Verdict::Unchecked, "unit"),
            (with(|facts| facts.open_to = Some(0o666)), Verdict::Wrong, "0666"),
        ] {
            let says = judge(&facts);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }

    #[test]
    fn without_a_clock_nothing_is_said_of_dates_and_a_renewed_one_is_not_worth_a_word_early() {
        let unsynced = |days: i64| {
            let mut facts = leaf(|leaf| leaf.until = Wall::from_millis(NOW + days * DAY));
            facts.now.sync = ClockSync::Unsynced;
            facts
        };
        assert_eq!(judge(&unsynced(-3)).verdict(), Verdict::Unchecked);
        assert_eq!(judge(&unsynced(60)).verdict(), Verdict::Ok);
        let mut renewed = leaf(|leaf| leaf.until = Wall::from_millis(NOW + 20 * DAY));
        renewed.is_renewed = true;
        assert_eq!(judge(&renewed).verdict(), Verdict::Ok);
    }
}
