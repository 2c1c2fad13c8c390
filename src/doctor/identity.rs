//! `identity`: two of what there must be one of.

use super::Says;

/// Names.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The gateway's id, which is its client id at the broker.
    pub gateway: String,
    /// The host's name, if the kernel says.
    pub host: Option<String>,
    /// The id that the running daemon goes by.
    pub running: Option<String>,
    /// The daemon's last error at the broker.
    pub last_error: Option<String>,
    /// Ids of devices that share an address, and that address's place in words.
    pub shared: Vec<(String, String)>,
    /// Devices of which the daemon says that another one answers.
    pub strangers: Vec<String>,
    /// Devices that a bundle keeps in quarantine by an advisory.
    pub held: Vec<String>,
}

/// MQTT 5, section 3.14.2.1: another connection uses the same client id. As the MQTT library writes it.
const TAKEN_OVER: &str = "SessionTakenOver";

/// Says what is there twice.
pub fn judge(facts: &Facts) -> Says {
    let Facts { gateway, .. } = facts;
    let mut says = Says::default();
    if facts.last_error.as_ref().is_some_and(|error| error.contains(TAKEN_OVER)) {
        says = says.wrong(
            format!("another connection took over the session of {gateway}: a second gateway has the same id"),
            "find it in the broker's log by that client id; give each gateway its own gateway.id and certificate",
        );
    }
    if let Some(running) = facts.running.as_ref().filter(|running| *running != gateway) {
        says = says.wrong(
            format!("the daemon that runs is {running}, the configuration says {gateway}"),
            "systemctl restart wardline, or name the right --config",
        );
    }
    for (one, other) in &facts.shared {
        says = says.wrong(
            format!("{one} and {other} are the same device or port"),
            "correct `port` or `address` of one of them",
        );
    }
    for device in &facts.strangers {
        says = says.wrong(
            format!("what answers in the place of {device} is another device: everything of it is refused"),
            "wardline devices; plug in the right one, or correct what its entry expects",
        );
    }
    for device in &facts.held {
        says = says.note(
            format!("{device} is in quarantine by an advisory: nothing of it passes, its alarms neither"),
            "wardline status says which advisory, who wants it so and why; a bundle lifts it",
        );
    }
    if let Some(host) = facts.host.as_ref().filter(|host| is_other_number(host, gateway)) {
        says = says.note(
            format!("this host is called {host}, its gateway.id is {gateway}"),
            "is this the right card in the right box? Correct /etc/hostname or gateway.id",
        );
    }
    if says == Says::default() {
        says.ok(format!("{gateway}, and nobody else is seen to use that name"))
    } else {
        says
    }
}

/// Whether two names are the same but for their digits: `gw-icu-7` and `gw-icu-8`.
fn is_other_number(host: &str, gateway: &str) -> bool {
    let host = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let bare = |name: &str| name.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    host != gateway && host.chars().any(|c| c.is_ascii_digit()) && bare(&host) == bare(gateway)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn each_conflict_has_its_words() {
        let of = |change: &dyn Fn(&mut Facts)| {
            let mut facts =
                Facts { gateway: "gw-icu-7".into(), host: Some("gw-icu-7".into()), ..Facts::default() };
            change(&mut facts);
            facts
        };
        for (facts, verdict, words) in [
            (of(&|_| {}), Verdict::Ok, "nobody else"),
            (of(&|facts| facts.host = Some("raspberrypi".into())), Verdict::Ok, "gw-icu-7"),
            (of(&|facts| facts.host = Some("GW-ICU-7.ward".into())), Verdict::Ok, "gw-icu-7"),
            (of(&|facts| facts.host = Some("gw-icu-8".into())), Verdict::Note, "gw-icu-8"),
            (of(&|facts| facts.running = Some("gw-2".into())), Verdict::Wrong, "gw-2"),
            (
                of(&|facts| facts.last_error = Some("the broker disconnects: SessionTakenOver".into())),
                Verdict::Wrong,
                "a second gateway",
            ),
            (of(&|facts| facts.last_error = Some("timed out".into())), Verdict::Ok, "nobody else"),
            (of(&|facts| facts.shared.push(("a".into(), "b".into()))), Verdict::Wrong, "a and b"),
            (of(&|facts| facts.strangers.push("pump".into())), Verdict::Wrong, "in the place of pump"),
        ] {
            let says = judge(&facts);
            assert_eq!(says.verdict(), verdict, "{says:?}");
            assert!(says.iter().any(|said| said.text.contains(words)), "{words}: {says:?}");
        }
    }
}
