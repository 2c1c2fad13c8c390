//! Everything that this gateway ever writes to a MEDIBUS device, and how often.
//!
//! Of the protocol's commands only those that ask: each is ESC and a code without an argument. To
//! configure the device's answers (4A) or its real-time stream (53, 54, 56), to say that the time was
//! changed (49), to end the communication (55): none has a representation here. The rest are replies
//! (SOH), which the protocol demands of whoever is asked; the device may ask this side at any time.

use std::time::Duration;

use crate::link::{Request, RequestId};

/// Everything that may ever be written: the queries by their places, then the replies.
pub(super) static REQUESTS: [Request; 28] = [
    Request::fixed("ICC", b"\x1BQ6C\r"),
    Request::fixed("identification", b"\x1BR6D\r"),
    Request::fixed("alarms 1", b"\x1B'42\r"),
    Request::fixed("alarms 2", b"\x1B.49\r"),
    Request::fixed("measured data 1", b"\x1B$3F\r"),
    Request::fixed("measured data 2", b"\x1B+46\r"),
    Request::fixed("settings", b"\x1B)44\r"),
    Request::fixed("text messages", b"\x1B*45\r"),
    Request::fixed("date and time", b"\x1B(43\r"),
    Request::fixed("NOP", b"\x1B04B\r"),
    Request::fixed("answer to ICC", b"\x01Q52\r"),
    Request::fixed("answer to NOP", b"\x01031\r"),
    Request::fixed("answer to STOP", b"\x01U56\r"),
    Request::fixed("answer to time changed", b"\x01I4A\r"),
    Request::fixed("answer to a corrupt command", b"\x01\x1516\r"),
    Request::fixed("own identification", b"\x01R0000'WARDLINE'01.00:04.03D5\r"),
    Request::fixed("empty answer to 23", b"\x01#24\r"),
    Request::fixed("empty answer to 24", b"\x01$25\r"),
    Request::fixed("empty answer to 25", b"\x01%26\r"),
    Request::fixed("empty answer to 26", b"\x01&27\r"),
    Request::fixed("empty answer to 27", b"\x01'28\r"),
    Request::fixed("empty answer to 28", b"\x01(29\r"),
    Request::fixed("empty answer to 29", b"\x01)2A\r"),
    Request::fixed("empty answer to 2A", b"\x01*2B\r"),
    Request::fixed("empty answer to 2B", b"\x01+2C\r"),
    Request::fixed("empty answer to 2C", b"\x01,2D\r"),
    Request::fixed("empty answer to 2D", b"\x01-2E\r"),
    Request::fixed("empty answer to 2E", b"\x01.2F\r"),
];

/// Who this side is, as the device would be told: number, name, own revision, revision of MEDIBUS.
pub(super) const OWN_IDENTIFICATION: &[u8] = b"0000'WARDLINE'01.00:04.03";

/// The period of the alarms, of each code page. An alarm is to be known within 2 s, also when one
/// answer is late by the time that the longest other answer takes on the line (0.6 s at 9600 baud).
const ALARM_PERIOD: Duration = Duration::from_secs(1);

/// The period of the measured data: what a person at the device sees change from breath to breath.
const MEASURED_PERIOD: Duration = Duration::from_secs(2);

/// The period of the messages: mode, standby, a test that has begun.
const TEXTS_PERIOD: Duration = Duration::from_secs(5);

/// The period of what changes more slowly, or when somebody turns a knob.
const SLOW_PERIOD: Duration = Duration::from_secs(10);

/// The period of the device's clock.
const CLOCK_PERIOD: Duration = Duration::from_secs(60);

/// The period of the identification: twice in the hour that is the longest allowed.
const IDENTITY_PERIOD: Duration = Duration::from_secs(30 * 60);

/// A device ends the communication when it hears nothing for 3 s (MEDIBUS, time-out); this side has to
/// say something every 2 s. So often it does when it has nothing to ask.
pub(super) const NOP_PERIOD: Duration = Duration::from_millis(1_500);

/// A command; its place is its [`RequestId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Start,
    Who,
    Alarms1,
    Alarms2,
    Measured1,
    Measured2,
    Settings,
    Texts,
    Clock,
    Nop,
}

impl Query {
    /// How many there are.
    pub(super) const COUNT: usize = 10;

    /// All, in the order in which they are asked when several are due. The messages come before the
    /// measured data: they say whether these are a patient's.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Start,
        Self::Who,
        Self::Alarms1,
        Self::Alarms2,
        Self::Texts,
        Self::Measured1,
        Self::Measured2,
        Self::Settings,
        Self::Clock,
        Self::Nop,
    ];

    pub(super) const fn place(self) -> u8 {
        match self {
            Self::Start => 0,
            Self::Who => 1,
            Self::Alarms1 => 2,
            Self::Alarms2 => 3,
            Self::Measured1 => 4,
            Self::Measured2 => 5,
            Self::Settings => 6,
            Self::Texts => 7,
            Self::Clock => 8,
            Self::Nop => 9,
        }
    }

    pub(super) const fn id(self) -> RequestId {
        RequestId(self.place())
    }

    pub(super) fn name(self) -> &'static str {
        REQUESTS.get(usize::from(self.place())).map_or("", |request| request.name)
    }

    /// The command's code, which its answer echoes.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Start => 0x51,
            Self::Who => 0x52,
            Self::Alarms1 => 0x27,
            Self::Alarms2 => 0x2E,
            Self::Measured1 => 0x24,
            Self::Measured2 => 0x2B,
            Self::Settings => 0x29,
            Self::Texts => 0x2A,
            Self::Clock => 0x28,
            Self::Nop => 0x30,
        }
    }

    pub(super) const fn period(self) -> Duration {
        match self {
            Self::Start | Self::Who => IDENTITY_PERIOD,
            Self::Alarms1 | Self::Alarms2 => ALARM_PERIOD,
            Self::Measured1 => MEASURED_PERIOD,
            Self::Texts => TEXTS_PERIOD,
            Self::Measured2 | Self::Settings => SLOW_PERIOD,
            Self::Clock => CLOCK_PERIOD,
            Self::Nop => NOP_PERIOD,
        }
    }

    /// Whether the conversation goes on without an answer: not every device has it.
    pub(super) const fn is_optional(self) -> bool {
        matches!(self, Self::Alarms2 | Self::Measured2 | Self::Settings | Self::Texts | Self::Clock)
    }
}

/// The reply that a command of the device gets: where it stands in [`REQUESTS`]. `None` for a command that
/// this side does not know. The protocol has a reply without data to whatever is not offered.
pub(super) fn answer_to(code: u8) -> Option<RequestId> {
    let after_queries = match code {
        0x51 => 0,
        0x30 => 1,
        0x55 => 2,
        0x49 => 3,
        0x52 => 5,
        0x23..=0x2E => 6 + (code - 0x23),
        _ => return None,
    };
    Some(RequestId(Query::Nop.place() + 1 + after_queries))
}

/// The reply to a command of the device that arrived with a wrong checksum.
pub(super) const CORRUPT: RequestId = RequestId(Query::Nop.place() + 1 + 4);

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(frame: &[u8]) -> String {
        format!("{:02X}", frame.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 256)
    }

    #[test]
    fn nothing_that_configures_sets_or_stops_can_be_said() {
        let queries: Vec<u8> = Query::ALL.iter().map(|query| query.code()).collect();
        for request in &REQUESTS {
            assert!(request.fill.is_none(), "{}", request.name);
            let [start, code, ..] = request.bytes else { panic!("{}", request.name) };
            let (body, end) = request.bytes.split_at(request.bytes.len() - 3);
            assert_eq!(format!("{}\r", sum(body)).as_bytes(), end, "{}", request.name);
            match *start {
                // Configure answers, time changed, real-time configuration, STOP, infusion pumps, trends.
                0x1B => {
                    assert!(
                        !matches!(code, 0x49 | 0x4A | 0x53..=0x59 | 0x6C | 0x6D),
                        "{} is a command that does more than ask",
                        request.name
                    );
                    assert!(queries.contains(code), "{}", request.name);
                    assert_eq!(request.bytes.len(), 5, "{} has an argument", request.name);
                }
                0x01 => {
                    let is_empty = request.bytes.len() == 5;
                    assert!(is_empty || body == [b"\x01R", OWN_IDENTIFICATION].concat(), "{}", request.name);
                }
                other => panic!("{} begins with {other:02X}", request.name),
            }
        }
    }

    #[test]
    fn each_answer_echoes_its_command() {
        for code in 0..=255u8 {
            let Some(id) = answer_to(code) else { continue };
            let request = &REQUESTS[usize::from(id.0)];
            assert_eq!(request.bytes[..2], [1, code], "{}", request.name);
        }
        assert_eq!(REQUESTS[usize::from(CORRUPT.0)].bytes, b"\x01\x1516\r");
        for query in Query::ALL {
            assert_eq!(REQUESTS[usize::from(query.place())].bytes[..2], [0x1B, query.code()]);
        }
    }
}
