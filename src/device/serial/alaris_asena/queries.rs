//! The queries: everything that this gateway ever writes to an Asena pump, and how often.
//!
//! Each is a keyword without arguments: the protocol's writes all carry `^` and an argument or have
//! keywords of their own, and none of them is here.

use std::time::Duration;

use crate::link::{Request, RequestId};

/// Everything that may ever be written to the pump, in the order of [`Query::ALL`].
pub(super) static REQUESTS: [Request; 7] = [
    Request::fixed("INST_SERIALNO", b"!INST_SERIALNO|457D\r"),
    Request::fixed("COMMS_PROTOCOL", b"!COMMS_PROTOCOL|E8DA\r"),
    Request::fixed("COMMS_RESPONSE_MAX", b"!COMMS_RESPONSE_MAX|7E29\r"),
    Request::fixed("ALARM", b"!ALARM|50B2\r"),
    Request::fixed("INF", b"!INF|4961\r"),
    Request::fixed("INF_VTBI", b"!INF_VTBI|8456\r"),
    Request::fixed("SYRINGE_STATUS", b"!SYRINGE_STATUS|4102\r"),
];

/// The period of `ALARM`. An alarm has to be known within 2 s although one answer was lost: this
/// period, a wait in vain and the wait behind its repetition (0.5 s each), and the status that
/// confirms whose alarm it is make 1.6 s. The exchange takes 10 ms of the line.
const ALARM_PERIOD: Duration = Duration::from_millis(500);

/// The period of `INF`: what a person at the pump would see, soon enough to follow a bolus.
const STATUS_PERIOD: Duration = Duration::from_secs(2);

/// The period of `INF_VTBI`: a setting that people change.
const VTBI_PERIOD: Duration = Duration::from_secs(10);

/// The period of `SYRINGE_STATUS`: changes with the syringe.
const SYRINGE_PERIOD: Duration = Duration::from_secs(60);

/// The period of the identity: twice in the hour that is the longest allowed.
const IDENTITY_PERIOD: Duration = Duration::from_secs(30 * 60);

/// A query; its place is its [`RequestId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    Serial,
    Protocol,
    ResponseMax,
    Alarm,
    Status,
    Vtbi,
    Syringe,
}

impl Query {
    /// All, in the order of [`REQUESTS`]; the order in which they are asked when several are due.
    pub(super) const ALL: [Self; 7] = [
        Self::Serial,
        Self::Protocol,
        Self::ResponseMax,
        Self::Alarm,
        Self::Status,
        Self::Vtbi,
        Self::Syringe,
    ];

    pub(super) const fn place(self) -> u8 {
        match self {
            Self::Serial => 0,
            Self::Protocol => 1,
            Self::ResponseMax => 2,
            Self::Alarm => 3,
            Self::Status => 4,
            Self::Vtbi => 5,
            Self::Syringe => 6,
        }
    }

    pub(super) const fn id(self) -> RequestId {
        RequestId(self.place())
    }

    pub(super) fn keyword(self) -> &'static str {
        REQUESTS.get(usize::from(self.place())).map_or("", |request| request.name)
    }

    pub(super) const fn period(self) -> Duration {
        match self {
            Self::Serial | Self::Protocol | Self::ResponseMax => IDENTITY_PERIOD,
            Self::Alarm => ALARM_PERIOD,
            Self::Status => STATUS_PERIOD,
            Self::Vtbi => VTBI_PERIOD,
            Self::Syringe => SYRINGE_PERIOD,
        }
    }

    /// Whether the conversation goes on without an answer: not every revision knows the query.
    pub(super) const fn is_optional(self) -> bool {
        matches!(self, Self::Protocol | Self::ResponseMax | Self::Syringe)
    }

    /// Whether it may be asked of a pump that has not said who it is.
    pub(super) const fn asks_who(self) -> bool {
        matches!(self, Self::Serial | Self::Protocol | Self::ResponseMax)
    }
}
