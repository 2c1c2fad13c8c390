//! Topics: where a publish goes.
//!
//! In: the ids of organisation, group, gateway and device. Out: topic names. What can go wrong: an
//! id that is not one. What never happens: a topic holds anything but ids and fixed words, so no
//! patient's data can be in one; and what is under `d/` is never retained.

use std::fmt;

/// The longest id, in characters.
pub const MAX_ID: usize = 32;

/// The device level of a gap: it speaks for no single device but for a lane of the gateway.
pub const WHOLE_GATEWAY: &str = "gateway";

/// The text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} id {id:?} may not stand in a topic: use 1 to 32 of a-z, 0-9 and -")]
pub struct TopicError {
    /// Whose id.
    pub what: &'static str,
    /// The id.
    pub id: String,
}

/// What sort of data a publish carries: the last level of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Readings, settings and states.
    Observations,
    /// Alarms.
    Alarm,
    /// Waveforms.
    Wave,
    /// Word of observations that had to be dropped.
    Gap,
    /// What the gateway itself has to say: not under `d/`, see [`Topics::events`].
    Event,
}

impl Class {
    /// As the topic has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observations => "obs",
            Self::Alarm => "alarm",
            Self::Wave => "wave",
            Self::Gap => "gap",
            Self::Event => "security",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The topics of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    place: String,
}

impl Topics {
    /// From the ids of the gateway's place.
    pub fn new(organisation: &str, group: &str, gateway: &str) -> Result<Self, TopicError> {
        let organisation = checked("organisation", organisation)?;
        let group = checked("group", group)?;
        let gateway = checked("gateway", gateway)?;
        Ok(Self { place: format!("{organisation}/{group}/{gateway}") })
    }

    /// Where data of a device goes. Never retained.
    pub fn data(&self, device: &str, class: Class) -> Result<String, TopicError> {
        let device = checked("device", device)?;
        Ok(format!("d/v1/{}/{device}/{class}", self.place))
    }

    /// Where the gateway says what concerns its safety. Never retained.
    pub fn events(&self) -> String {
        format!("e/v1/{}/{}", self.place, Class::Event)
    }

    /// Where the gateway says that it is online, and the broker that it is not. Retained.
    pub fn status(&self) -> String {
        format!("s/v1/{}/status", self.place)
    }

    /// Where the gateway says how it is. Retained.
    pub fn heartbeat(&self) -> String {
        format!("s/v1/{}/heartbeat", self.place)
    }
}

/// The id, if it is one.
fn checked<'a>(what: &'static str, id: &'a str) -> Result<&'a str, TopicError> {
    let of_the_alphabet = id.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if id.is_empty() || id.len() > MAX_ID || !of_the_alphabet {
        return Err(TopicError { what, id: id.chars().take(MAX_ID).collect() });
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn topics() -> Topics {
        Topics::new("north", "icu-2", "gw-7").unwrap()
    }

    #[test]
    fn topics_have_the_form_that_the_cloud_expects() {
        assert_eq!(topics().data("pump-1", Class::Alarm).unwrap(), "d/v1/north/icu-2/gw-7/pump-1/alarm");
        assert_eq!(topics().events(), "e/v1/north/icu-2/gw-7/security");
        assert_eq!(topics().status(), "s/v1/north/icu-2/gw-7/status");
        assert_eq!(topics().heartbeat(), "s/v1/north/icu-2/gw-7/heartbeat");
    }

    #[test]
    fn what_is_not_an_id_is_refused_and_named() {
        for id in ["", "A", "a/b", "+", "#", "a b", "ä", "$sys", &"a".repeat(33)] {
            assert!(Topics::new(id, "g", "w").is_err(), "{id:?}");
            assert_eq!(topics().data(id, Class::Gap).unwrap_err().what, "device");
        }
        assert!(topics().data(&"a".repeat(32), Class::Gap).is_ok());
    }

    proptest! {
        #[test]
        fn no_device_id_can_change_the_number_of_levels(id in any::<String>()) {
            if let Ok(topic) = topics().data(&id, Class::Observations) {
                prop_assert_eq!(topic.split('/').count(), 7);
                prop_assert!(!topic.contains(['+', '#', '\0']));
                prop_assert!(topic.len() <= 256);
            }
        }
    }
}
