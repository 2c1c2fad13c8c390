//! What the pumps are asked, and what can be set about it.

use crate::device::settings::{Setting, Values};
use crate::link::{Request, RequestId};

/// Everything that may ever be written: inquiries without arguments, numbers before alarms, pump by pump.
pub(super) static REQUESTS: [Request; 7] = [
    Request::fixed("ISTA to any pump", b"T@0;ISTA;2FAD\r"),
    Request::fixed("IDV1 VT1 TV1 DN1 to pump 1", b"T@1;IDV1;VT1;TV1;DN1;85E7\r"),
    Request::fixed("IALR STA to pump 1", b"T@1;IALR;STA;8097\r"),
    Request::fixed("IDV1 VT1 TV1 DN1 to pump 2", b"T@2;IDV1;VT1;TV1;DN1;382D\r"),
    Request::fixed("IALR STA to pump 2", b"T@2;IALR;STA;7E24\r"),
    Request::fixed("IDV1 VT1 TV1 DN1 to pump 3", b"T@3;IDV1;VT1;TV1;DN1;AB64\r"),
    Request::fixed("IALR STA to pump 3", b"T@3;IALR;STA;2BB5\r"),
];

/// What can be set: what the public facts leave open.
pub(super) static SETTINGS: [Setting; 6] = [
    Setting {
        name: "volumes",
        meaning: "which of the two volumes is which: `vt1-is-vtbi` takes VT1 for the volume to be infused and TV1 \
                  for the volume infused, as one host in the field does; `tv1-is-vtbi` the other way round; \
                  `as-sent` names neither. Compare both with the display of a running pump",
        values: Values::Word(&["vt1-is-vtbi", "tv1-is-vtbi", "as-sent"]),
    },
    Setting {
        name: "field1",
        meaning: "what the field behind the pump's number in each reply is; it is not public. `serial` takes it \
                  for the pump's own id and lets `expects.serial` be met by it: only when it was seen to differ \
                  from pump to pump and to stay the same",
        values: Values::Word(&["ignore", "serial"]),
    },
    Setting {
        name: "reply_crc",
        meaning: "whether the four digits at the end of a reply are checked. That they are the same CRC as that \
                  of a request is known of no capture: if every reply is told as a wrong CRC, `ignore` lets the \
                  form alone decide",
        values: Values::Word(&["check", "ignore"]),
    },
    Setting {
        name: "patience_ms",
        meaning: "how long a reply may take; at 1200 baud not under two seconds",
        values: Values::Number { least: 2_000, most: 10_000, default: 3_000 },
    },
    Setting {
        name: "pace_ms",
        meaning: "from one question to the next, at least",
        values: Values::Number { least: 300, most: 10_000, default: 1_000 },
    },
    Setting {
        name: "missed",
        meaning: "so many questions in a row without a reply, and the pump is gone",
        values: Values::Number { least: 2, most: 60, default: 12 },
    },
];

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The status of whoever is there.
    Probe,
    /// The numbers of a pump, counted from 0.
    Numbers(u8),
    /// The alarm of a pump, counted from 0.
    Alarm(u8),
}

impl Ask {
    pub(super) const fn id(self) -> RequestId {
        match self {
            Self::Probe => RequestId(0),
            Self::Numbers(pump) => RequestId(1 + 2 * pump),
            Self::Alarm(pump) => RequestId(2 + 2 * pump),
        }
    }

    pub(super) const fn pump(self) -> Option<u8> {
        match self {
            Self::Probe => None,
            Self::Numbers(pump) | Self::Alarm(pump) => Some(pump),
        }
    }

    /// What comes next in turn.
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Probe | Self::Alarm(2..) => Self::Numbers(0),
            Self::Numbers(pump) => Self::Alarm(pump),
            Self::Alarm(pump) => Self::Numbers(pump + 1),
        }
    }
}
