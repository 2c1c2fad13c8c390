//! `broker-name`, `broker-tls`, `broker-puback`, `topic-rights`: the way to the broker, step by step.
//!
//! A step that fails leaves those after it unchecked: what is wrong is said once, where it is.

use std::net::IpAddr;
use std::time::Duration;

use super::{Says, Unseen};

/// What this gateway may need to do with a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The publish that [`judge_puback`] is about.
    Probe,
    /// Publish.
    Publish,
    /// Subscribe.
    Subscribe,
}

/// What came of asking the broker for one topic.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was tried.
    pub need: Need,
    /// The topic.
    pub topic: String,
    /// The reason code of PUBACK or SUBACK; none: no answer came.
    pub code: Option<u8>,
}

/// What came of a visit to the broker.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The broker, as the configuration has it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How long each step might take.
    pub limit: Duration,
    /// The addresses of its name; in words why not.
    pub name: Result<Vec<IpAddr>, String>,
    /// The handshake: the words of the uplink when it failed. Unseen: it was not tried.
    pub tls: Result<Result<(), String>, Unseen>,
    /// What the broker answered; the words of the uplink when CONNECT failed. Unseen: it was not tried.
    pub visit: Result<Result<Vec<Answer>, String>, Unseen>,
    /// The client id of the visit.
    pub client: String,
    /// Whether only the places beside the topics of the gateway's own words were tried.
    pub is_sparing: bool,
    /// Why the connection ended before everything was answered, if it did.
    pub ended: Option<String>,
    /// Whether the daemon lost its connection while the doctor had one.
    pub has_disturbed: bool,
}

/// Refused by the access rules (MQTT 5, section 2.4).
const NOT_AUTHORIZED: u8 = 0x87;
/// From here on a reason code is a failure (MQTT 5, section 2.4).
const FAILURE: u8 = 0x80;

/// Says whether the name resolves.
pub fn judge_name(facts: &Facts) -> Says {
    let host = &facts.host;
    match &facts.name {
        Ok(addresses) if !addresses.is_empty() => {
            let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Says::default().ok(format!("{host} is {}", shown.join(", ")))
        }
        Ok(_) => no_address(host, "it has no address"),
        Err(why) => no_address(host, why),
    }
}

fn no_address(host: &str, why: &str) -> Says {
    Says::default().wrong(
        format!("the broker's name {host} gives no address: {why}"),
        format!("getent hosts {host}; correct uplink.host, or the name servers in /etc/resolv.conf"),
    )
}

fn without_name(facts: &Facts) -> Option<Unseen> {
    let has_name = facts.name.as_ref().is_ok_and(|addresses| !addresses.is_empty());
    (!has_name).then(|| Unseen::with("the broker's name gives no address", "see broker-name"))
}

/// Says whether broker and gateway trust each other.
pub fn judge_tls(facts: &Facts) -> Says {
    if let Some(unseen) = without_name(facts) {
        return Says::default().unseen(&unseen);
    }
    match &facts.tls {
        Err(unseen) => Says::default().unseen(unseen),
        Ok(Ok(())) => Says::default().ok(format!(
            "{}:{} and this gateway take each other's certificates (TLS 1.3)",
            facts.host, facts.port
        )),
        Ok(Err(why)) => Says::default().wrong(
            why,
            format!(
                "to see its certificate: openssl s_client -connect {}:{} -servername {0} -showcerts </dev/null",
                facts.host, facts.port
            ),
        ),
    }
}

fn without_tls(facts: &Facts) -> Option<Unseen> {
    if without_name(facts).is_some() {
        return without_name(facts);
    }
    match &facts.tls {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(Unseen::with("there is no connection to the broker", "see broker-tls")),
        Err(unseen) => Some(unseen.clone()),
    }
}

/// Says whether a publish is answered.
pub fn judge_puback(facts: &Facts) -> Says {
    let says = match visited(facts) {
        Err(says) => return says,
        Ok(answers) => match answers.iter().find(|answer| answer.need == Need::Probe) {
            Some(Answer { code: Some(code), .. }) if *code < FAILURE || *code == NOT_AUTHORIZED => {
                let refused = if *code < FAILURE { "" } else { " (refused: see topic-rights)" };
                let client = &facts.client;
                Says::default().ok(format!("as client {client}: PUBACK 0x{code:02x}{refused}"))
            }
            Some(Answer { code: Some(code), topic, .. }) => Says::default().wrong(
                format!("the broker answers a publish on {topic} with 0x{code:02x}, {}", reason(*code)),
                "look for the client id in the broker's log",
            ),
            Some(Answer { code: None, topic, .. }) => Says::default().wrong(
                format!(
                    "no PUBACK came for a publish on {topic} within {} s: nothing would be acknowledged and the store \
                     would fill",
                    facts.limit.as_secs()
                ),
                "look into the broker's log: does it take publishes with QoS 1?",
            ),
            None => Says::default().unseen(&Unseen::new("nothing was published")),
        },
    };
    if facts.has_disturbed {
        return says.wrong(
            "the daemon lost its connection while this one was open: the broker gives both one client id",
            "have the broker take the client id that CONNECT gives (mosquitto: use_username_as_clientid false)",
        );
    }
    says
}

fn visited(facts: &Facts) -> Result<&Vec<Answer>, Says> {
    if let Some(unseen) = without_tls(facts) {
        return Err(Says::default().unseen(&unseen));
    }
    match &facts.visit {
        Err(unseen) => Err(Says::default().unseen(unseen)),
        Ok(Err(why)) => Err(Says::default().wrong(
            why,
            format!(
                "let the broker take client id {} with this certificate too, or see its log",
                facts.client
            ),
        )),
        Ok(Ok(answers)) => Ok(answers),
    }
}

/// Says which topics are refused.
pub fn judge_rights(facts: &Facts) -> Says {
    let answers = match visited(facts) {
        Ok(answers) => answers,
        Err(says) if says.verdict() == super::Verdict::Wrong => {
            return Says::default()
                .unseen(&Unseen::with("the broker refuses the connection", "see broker-puback"));
        }
        Err(says) => return says,
    };
    let (mut says, mut granted) = (Says::default(), 0_u64);
    for answer in answers.iter().filter(|answer| answer.need != Need::Probe) {
        let (verb, word) = match answer.need {
            Need::Subscribe => ("subscribe to", "read"),
            Need::Publish | Need::Probe => ("publish on", "write"),
        };
        let topic = &answer.topic;
        match answer.code {
            Some(code) if code < FAILURE => granted += 1,
            Some(code) => {
                says = says.wrong(
                    format!(
                        "the broker does not let this gateway {verb} {topic}: 0x{code:02x}, {}",
                        reason(code)
                    ),
                    format!("in the broker's access rules, for this gateway's user: topic {word} {topic}"),
                );
            }
            None => {
                let ended = facts.ended.as_deref().unwrap_or("it took too long");
                let why = format!("no answer came to: {verb} {topic} ({ended})");
                says = says.unseen(&Unseen::with(why, "see broker-puback"));
            }
        }
    }
    let sparing = if facts.is_sparing {
        "; the topics of the gateway's own words were tried by their neighbour `doctor`, --every-topic tries them all"
    } else {
        ""
    };
    if granted > 0 { says.ok(format!("{granted} granted{sparing}")) } else { says }
}

/// MQTT 5, tables 3-4 and 3-8.
const fn reason(code: u8) -> &'static str {
    match code {
        0x87 => "not authorised",
        0x8f | 0x90 => "it does not take such a topic",
        0x97 => "a quota is exceeded",
        0x99 => "it does not take such a payload",
        0x9e | 0xa1 | 0xa2 => "it does not support that",
        _ => "for no reason that it names",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn facts() -> Facts {
        let answer = |need, topic: &str, code| Answer { need, topic: topic.into(), code: Some(code) };
        Facts {
            host: "mqtt.example".into(),
            port: 8883,
            limit: Duration::from_secs(5),
            name: Ok(vec!["192.0.2.1".parse().unwrap()]),
            tls: Ok(Ok(())),
            visit: Ok(Ok(vec![
                answer(Need::Subscribe, "c/v1/o/g/w/ts", 1),
                answer(Need::Probe, "d/v1/o/w/g/doctor/probe", 0x10),
                answer(Need::Publish, "d/v1/o/w/g/doctor/alarm", 0),
            ])),
            client: "g-doctor".into(),
            is_sparing: true,
            ended: None,
            has_disturbed: false,
        }
    }

    fn verdicts(facts: &Facts) -> [Verdict; 4] {
        [judge_name, judge_tls, judge_puback, judge_rights].map(|judge| judge(facts).verdict())
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    fn answered(place: usize, code: Option<u8>) -> Facts {
        with(|facts| {
            if let Ok(Ok(answers)) = &mut facts.visit {
                answers[place].code = code;
            }
        })
    }

    #[test]
    fn what_is_wrong_is_said_at_its_step_and_those_after_it_are_unchecked() {
        use Verdict::{Ok as Good, Unchecked, Wrong};
        for (facts, wanted) in [
            (facts(), [Good, Good, Good, Good]),
            (with(|facts| facts.name = Err("not known".into())), [Wrong, Unchecked, Unchecked, Unchecked]),
            (with(|facts| facts.name = Ok(vec![])), [Wrong, Unchecked, Unchecked, Unchecked]),
            (with(|facts| facts.tls = Ok(Err("hangs".into()))), [Good, Wrong, Unchecked, Unchecked]),
            (with(|facts| facts.tls = Err(Unseen::new("no key"))), [Good, Unchecked, Unchecked, Unchecked]),
            (with(|facts| facts.visit = Ok(Err("banned".into()))), [Good, Good, Wrong, Unchecked]),
            (with(|facts| facts.visit = Err(Unseen::new("x"))), [Good, Good, Unchecked, Unchecked]),
            (with(|facts| facts.has_disturbed = true), [Good, Good, Wrong, Good]),
            (answered(0, Some(0x87)), [Good, Good, Good, Wrong]),
            (answered(2, Some(0x87)), [Good, Good, Good, Wrong]),
            (answered(2, None), [Good, Good, Good, Unchecked]),
            (answered(1, None), [Good, Good, Wrong, Good]),
            (answered(1, Some(0x87)), [Good, Good, Good, Good]),
            (answered(1, Some(0x97)), [Good, Good, Wrong, Good]),
        ] {
            assert_eq!(verdicts(&facts), wanted, "{facts:?}");
        }
    }

    #[test]
    fn a_refused_topic_is_named_with_the_rule_that_would_grant_it() {
        let says = judge_rights(&answered(2, Some(0x87)));
        let said = says.iter().next().unwrap();
        assert!(said.text.contains("publish on d/v1/o/w/g/doctor/alarm: 0x87, not authorised"), "{said:?}");
        assert!(said.remedy.as_ref().unwrap().contains("topic write d/v1/o/w/g/doctor/alarm"), "{said:?}");
        let says = judge_rights(&answered(0, Some(0x87)));
        assert!(says.iter().next().unwrap().remedy.as_ref().unwrap().contains("topic read c/v1/o/g/w/ts"));
    }
}
