//! Everything that may ever be written to a characteristic: the allow set of BLE.
//!
//! In: what a profile needs of its device (stored records, live observations, the consent of a user, the
//! state of an insulin pump, the time of its clock). Out: a [`GattWrite`], which the link writes as it is. Its octets
//! are private and made here only, so what has no function here cannot be written: no start, stop or
//! change of a therapy, no alarm limit, no calibration, no session of a sensor, no reset, no user who is
//! registered or deleted.
//!
//! Sources: GATT Specification Supplement ("Record Access Control Point", "User Control Point"); the GHS
//! Control Point as two implementations have it (Philips' sensor simulator, Realtek's
//! `ghss_gatt_svc.h`; the Generic Health Sensor Service itself was not at hand); Insulin Delivery Service
//! 1.0.2, Status Reader Control Point and Record Access Control Point.

mod consent;

use std::fmt;

pub use consent::Consent;

use super::{Argument, Characteristic};
use crate::time::{Wall, civil};

/// The Record Access Control Point.
pub const RECORD_ACCESS: u16 = 0x2A52;
/// Current Time, and the service it stands in.
pub const CURRENT_TIME: Characteristic = Characteristic { service: 0x1805, uuid: 0x2A2B };
/// Current Elapsed Time: the clock of the Elapsed Time Service, by which a generic health sensor stamps.
pub const CURRENT_ELAPSED_TIME: Characteristic = Characteristic { service: 0x183F, uuid: 0x2BF2 };
/// The User Control Point of User Data.
pub const USER_CONTROL: Characteristic = Characteristic { service: 0x181C, uuid: 0x2A9F };
/// Not a characteristic: reading it gives [`listing`]'s octets of what the link found at the device.
pub const DISCOVERED: Characteristic = Characteristic { service: 0, uuid: 0 };
/// The Database Hash (Core Specification 5.1, volume 3, part G, 7.3): 16 octets over all that a device offers.
pub const DATABASE_HASH: Characteristic = Characteristic { service: 0x1801, uuid: 0x2B2A };
/// The control point of a generic health sensor.
pub const HEALTH_SENSOR_CONTROL: Characteristic = Characteristic { service: 0x1840, uuid: 0x2BF4 };
/// The Status Reader Control Point of an insulin pump.
pub const PUMP_STATUS_READER: Characteristic = Characteristic { service: 0x183A, uuid: 0x2B24 };
/// The Record Access Control Point of an insulin pump: other codes than [`RECORD_ACCESS`].
pub const PUMP_RECORD_ACCESS: Characteristic = Characteristic { service: 0x183A, uuid: 0x2B27 };

/// The service of an insulin pump.
const INSULIN_DELIVERY: u16 = 0x183A;

/// One write, with its octets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GattWrite {
    to: Characteristic,
    octets: Argument,
}

/// Shows no octets of the User Control Point: there is a code in them.
impl fmt::Debug for GattWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to == USER_CONTROL {
            return write!(f, "GattWrite({:?}, not shown)", self.to);
        }
        write!(f, "GattWrite({:?}, {:02X?})", self.to, self.octets())
    }
}

/// By what the records of a device are counted: the filter of its Record Access Control Point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// It knows only all of them (pulse oximeter).
    None,
    /// Sequence number, two octets (glucose meter); time offset in minutes (continuous glucose monitor).
    Short,
    /// Record number, four octets (generic health sensor).
    Long,
}

/// The permission to delete records on a device. There is none but what the device's own entry in the
/// configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayDelete(());

impl MayDelete {
    /// From the setting of the device's entry.
    pub const fn of_setting(is_allowed: bool) -> Option<Self> {
        if is_allowed { Some(Self(())) } else { None }
    }
}

/// Records of a device: all, or from a number on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// All.
    All,
    /// From this number on.
    From(u32),
}

/// What an insulin pump may be asked: reads of its state, none of which changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PumpQuery {
    /// The boluses that run.
    ActiveBolusIds,
    /// The basal rate that runs.
    ActiveBasalRate,
    /// Today's insulin.
    TotalDailyInsulin,
    /// Insulin that is still at work.
    InsulinOnBoard,
    /// Insulin delivered since the pump was made.
    DeliveredInsulin,
}

impl PumpQuery {
    /// The op code (Insulin Delivery Service 1.0.2, Status Reader Control Point).
    pub const fn code(self) -> u16 {
        match self {
            Self::ActiveBolusIds => 0x0330,
            Self::ActiveBasalRate => 0x0365,
            Self::TotalDailyInsulin => 0x0395,
            Self::DeliveredInsulin => 0x03C0,
            Self::InsulinOnBoard => 0x03F3,
        }
    }
}

// Record Access Control Point: op codes and operators.
const REPORT: u8 = 0x01;
const DELETE: u8 = 0x02;
const ABORT: u8 = 0x03;
const COUNT: u8 = 0x04;
const ALL: u8 = 0x01;
const UP_TO: u8 = 0x02;
const FROM: u8 = 0x03;
/// The filter type of a number (sequence number, time offset, record number).
const BY_NUMBER: u8 = 0x01;

// The same of an insulin pump (Hamming codes).
const PUMP_REPORT: u8 = 0x33;
const PUMP_ABORT: u8 = 0x55;
const PUMP_FROM: u8 = 0x55;
const PUMP_BY_SEQUENCE: u8 = 0x0F;
const PUMP_NULL: u8 = 0x0F;

// GHS Control Point: op codes, which stand alone.
const START_LIVE: u8 = 0x01;
const STOP_LIVE: u8 = 0x02;

// Current Time: the reason of an adjustment (GATT Specification Supplement, "Current Time", bit 1).
const BY_EXTERNAL_REFERENCE: u8 = 0x02;

// User Control Point: the one op code that changes no user.
const CONSENT: u8 = 0x02;

impl GattWrite {
    fn new(to: Characteristic, octets: &[u8]) -> Option<Self> {
        Argument::new(octets).map(|octets| Self { to, octets })
    }

    /// Where it goes.
    pub const fn to(&self) -> Characteristic {
        self.to
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        self.octets.bytes()
    }

    /// Asks a service for stored records. `None` when its filter cannot say from where on.
    pub fn report(service: u16, filter: Filter, which: Records) -> Option<Self> {
        Self::records(service, REPORT, filter, which)
    }

    /// Asks how many records there are.
    pub fn count(service: u16, filter: Filter, which: Records) -> Option<Self> {
        Self::records(service, COUNT, filter, which)
    }

    /// Ends the procedure that runs.
    pub fn abort(service: u16) -> Option<Self> {
        Self::new(Characteristic { service, uuid: RECORD_ACCESS }, &[ABORT, 0])
    }

    /// Deletes the records up to a number, or all where the device cannot say up to which. Those must be
    /// durable.
    pub fn delete(service: u16, filter: Filter, last: u32, _may: MayDelete) -> Option<Self> {
        let to = Characteristic { service, uuid: RECORD_ACCESS };
        match filter {
            Filter::None => Self::new(to, &[DELETE, ALL]),
            Filter::Short => {
                let [low, high] = u16::try_from(last).ok()?.to_le_bytes();
                Self::new(to, &[DELETE, UP_TO, BY_NUMBER, low, high])
            }
            Filter::Long => {
                let [a, b, c, d] = last.to_le_bytes();
                Self::new(to, &[DELETE, UP_TO, BY_NUMBER, a, b, c, d])
            }
        }
    }

    fn records(service: u16, op_code: u8, filter: Filter, which: Records) -> Option<Self> {
        let to = Characteristic { service, uuid: RECORD_ACCESS };
        match (which, filter) {
            (Records::All, _) => Self::new(to, &[op_code, ALL]),
            (Records::From(_), Filter::None) => None,
            (Records::From(first), Filter::Short) => {
                let [low, high] = u16::try_from(first).ok()?.to_le_bytes();
                Self::new(to, &[op_code, FROM, BY_NUMBER, low, high])
            }
            (Records::From(first), Filter::Long) => {
                let [a, b, c, d] = first.to_le_bytes();
                Self::new(to, &[op_code, FROM, BY_NUMBER, a, b, c, d])
            }
        }
    }

    /// Says that a user of the device consents: what it keeps of this user it may give on this connection.
    pub fn consent(of: Consent) -> Option<Self> {
        let [low, high] = of.code.to_le_bytes();
        Self::new(USER_CONTROL, &[CONSENT, of.user, low, high])
    }

    /// Sets the clock of a device (Current Time, ten octets): to what is shown `offset` minutes ahead of UTC, with
    /// the day of the week, 1/256 s and the reason that it was an external reference. `None`: no year that a Date
    /// Time has.
    pub fn current_time(at: Wall, offset: i16) -> Option<Self> {
        let (date, clock, weekday) = civil(at.as_millis().checked_add(i64::from(offset) * 60_000)?)?;
        let ((year, month, day), (hour, minute, second, millis)) = (date, clock);
        let [low, high] = Some(year).filter(|year| (1582..=9999).contains(year))?.to_le_bytes();
        let fractions = u8::try_from(u32::from(millis) * 256 / 1_000).ok()?;
        let reason = BY_EXTERNAL_REFERENCE;
        Self::new(CURRENT_TIME, &[low, high, month, day, hour, minute, second, weekday, fractions, reason])
    }

    /// Has a generic health sensor send its live observations on this connection, or send them no more.
    /// What it measures, and what it keeps, stays the same.
    pub fn live_observations(start: bool) -> Option<Self> {
        Self::new(HEALTH_SENSOR_CONTROL, &[if start { START_LIVE } else { STOP_LIVE }])
    }

    /// Asks an insulin pump for its state. `counter` is the next one of this characteristic, where the pump
    /// protects its messages.
    pub fn pump_query(query: PumpQuery, counter: Option<u8>) -> Option<Self> {
        Self::protected(PUMP_STATUS_READER, &query.code().to_le_bytes(), counter)
    }

    /// Asks an insulin pump for its history: by sequence number, all of it from 0 on. Its filters say which
    /// events are counted, so an operator for all records without one would leave that open; Tidepool's
    /// `InsulinDeliveryServiceKit`, by an author of the service, asks in this way too.
    pub fn pump_report(which: Records, counter: Option<u8>) -> Option<Self> {
        let first = match which {
            Records::All => 0,
            Records::From(first) => first,
        };
        let [a, b, c, d] = first.to_le_bytes();
        let octets = [PUMP_REPORT, PUMP_FROM, PUMP_BY_SEQUENCE, a, b, c, d];
        Self::protected(PUMP_RECORD_ACCESS, &octets, counter)
    }

    /// Ends the transfer of an insulin pump's history.
    pub fn pump_abort(counter: Option<u8>) -> Option<Self> {
        Self::protected(PUMP_RECORD_ACCESS, &[PUMP_ABORT, PUMP_NULL], counter)
    }

    /// With counter and checksum, where the device protects its messages.
    fn protected(to: Characteristic, octets: &[u8], counter: Option<u8>) -> Option<Self> {
        let mut out = octets.to_vec();
        if let Some(counter) = counter {
            out.push(counter);
            let crc = e2e_crc(&out);
            out.extend(crc.to_le_bytes());
        }
        Self::new(to, &out)
    }
}

/// The E2E-CRC of continuous glucose monitors and insulin pumps: CRC-16/MCRF4XX (reflected polynomial
/// 0x8408, start 0xFFFF, no final change), little-endian at the end of what it protects.
pub fn e2e_crc(octets: &[u8]) -> u16 {
    octets.iter().fold(0xFFFF, |crc, octet| {
        (0..8).fold(crc ^ u16::from(*octet), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0x8408 } else { crc >> 1 })
    })
}

/// What becomes of a value that a device indicated, and so holds for received, when its connection ended before
/// anybody was given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// It is a measurement, whole in itself: it may be given on the next connection.
    Kept,
    /// It means nothing without its connection, and is lost with it.
    Lost,
    /// It is the answer to what was asked on its connection, or a state that is read anew on the next: nothing
    /// is lost with it.
    Void,
}

/// Measurements that a device indicates once and then forgets, each whole in one value (GATT Specification
/// Supplement): temperature, blood pressure and its enhanced form, body composition, weight, spot-check.
const WHOLE_MEASUREMENTS: [Characteristic; 6] = [
    Characteristic { service: 0x1809, uuid: 0x2A1C },
    Characteristic { service: 0x1810, uuid: 0x2A35 },
    Characteristic { service: 0x1810, uuid: 0x2B34 },
    Characteristic { service: 0x181B, uuid: 0x2A9C },
    Characteristic { service: 0x181D, uuid: 0x2A9D },
    Characteristic { service: 0x1822, uuid: 0x2A5E },
];

/// Control points outside the insulin pump: those that are written to here, and that of a continuous glucose
/// monitor's session.
const CONTROL_POINTS: [u16; 4] = [RECORD_ACCESS, USER_CONTROL.uuid, HEALTH_SENSOR_CONTROL.uuid, 0x2AAC];

impl Leftover {
    /// Of a value of this characteristic. Nothing of an insulin pump is kept: its messages are counted from 1 on
    /// every connection (Insulin Delivery Service 1.0.2, E2E-Counter), and one of an earlier connection would
    /// pass for a message that was lost or forged. The live observations of a generic health sensor come in
    /// segments that are counted for each connection too, and the rest of them is gone.
    pub fn of(characteristic: Characteristic) -> Self {
        if WHOLE_MEASUREMENTS.contains(&characteristic) {
            Self::Kept
        } else if characteristic.service == INSULIN_DELIVERY || CONTROL_POINTS.contains(&characteristic.uuid)
        {
            Self::Void
        } else {
            Self::Lost
        }
    }
}

/// A characteristic as a device offers it: its service's UUID, its own, and its properties (Core Specification,
/// volume 3, part G, 3.3.1.1).
pub type Offer = (u128, u128, u8);

/// What a device offers as octets, in one order however it was found: by service, characteristic and properties.
pub fn listing(offers: impl IntoIterator<Item = Offer>) -> Vec<u8> {
    let mut offers: Vec<Offer> = offers.into_iter().collect();
    offers.sort_unstable();
    let octets = |(service, uuid, properties): Offer| {
        service.to_be_bytes().into_iter().chain(uuid.to_be_bytes()).chain([properties])
    };
    offers.into_iter().flat_map(octets).collect()
}

/// The ATT error in the words of a failed operation, if they name one: BlueZ says `Operation failed with
/// ATT error: 0x80`.
pub fn att_error(words: &str) -> Option<u8> {
    let (_, code) = words.rsplit_once("ATT error: 0x")?;
    let digits: String = code.chars().take_while(char::is_ascii_hexdigit).collect();
    u8::from_str_radix(&digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_published_one() {
        // CRC catalogue, CRC-16/MCRF4XX, check value.
        assert_eq!(e2e_crc(b"123456789"), 0x6F91);
        assert_eq!(e2e_crc(&[]), 0xFFFF);
    }

    /// Published: two tests of another implementation, and the sample data of the specifications. `crc` is the
    /// number, which goes over the air little-endian.
    #[test]
    fn the_checksum_is_that_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/e2e-crc/vectors.json");
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let (hex, crc) = (vector["hex"].as_str().unwrap(), vector["crc"].as_str().unwrap());
            let pairs = (0..hex.len()).step_by(2);
            let octets: Vec<u8> = pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            assert_eq!(e2e_crc(&octets), u16::from_str_radix(crc, 16).unwrap(), "{}", vector["name"]);
        }
    }

    #[test]
    fn writes_have_the_octets_of_the_specifications() {
        let octets = |write: Option<GattWrite>| write.unwrap().octets().to_vec();
        assert_eq!(octets(GattWrite::report(0x1808, Filter::Short, Records::All)), [1, 1]);
        assert_eq!(octets(GattWrite::report(0x1808, Filter::Short, Records::From(0x0102))), [1, 3, 1, 2, 1]);
        assert_eq!(octets(GattWrite::count(0x1840, Filter::Long, Records::From(5))), [4, 3, 1, 5, 0, 0, 0]);
        assert_eq!(octets(GattWrite::abort(0x181F)), [3, 0]);
        assert_eq!(octets(GattWrite::live_observations(true)), [1]);
        assert_eq!(octets(GattWrite::live_observations(false)), [2]);
        let to = GattWrite::live_observations(true).unwrap().to();
        assert_eq!((to.service, to.uuid), (0x1840, 0x2BF4));
        assert_eq!(octets(GattWrite::pump_query(PumpQuery::ActiveBasalRate, None)), [0x65, 0x03]);
        let protected = octets(GattWrite::pump_report(Records::From(7), Some(3)));
        assert_eq!(protected[..8], [0x33, 0x55, 0x0F, 7, 0, 0, 0, 3]);
        assert_eq!(protected[8..], e2e_crc(&protected[..8]).to_le_bytes());
        // All of a pump: from the number 0 on, with the filter that says what is counted.
        assert_eq!(octets(GattWrite::pump_report(Records::All, None)), [0x33, 0x55, 0x0F, 0, 0, 0, 0]);
        let may = MayDelete::of_setting(true).unwrap();
        assert_eq!(octets(GattWrite::delete(0x1808, Filter::Short, 9, may)), [2, 2, 1, 9, 0]);
        assert_eq!(MayDelete::of_setting(false), None);
    }

    #[test]
    fn a_consent_has_its_octets_and_shows_none_of_them() {
        let consent = Consent::read(2, b"1234\n").unwrap();
        let write = GattWrite::consent(consent).unwrap();
        assert_eq!((write.to(), write.octets()), (USER_CONTROL, &[0x02, 2, 0xD2, 0x04][..]));
        let shown = format!("{consent:?} {write:?} {:?}", crate::link::LinkCommand::Write(write));
        assert!(
            !shown.contains("1234") && !shown.to_lowercase().contains("d2") && shown.contains("181C/2A9F")
        );
        let other = GattWrite::abort(0x1808).unwrap();
        assert_eq!(format!("{other:?}"), "GattWrite(1808/2A52, [03, 00])");
    }

    #[test]
    fn a_consent_code_is_a_number_of_up_to_four_digits_and_nothing_else() {
        let octets =
            |file: &[u8]| GattWrite::consent(Consent::read(0, file).ok()?).map(|w| w.octets().to_vec());
        assert_eq!(octets(b"0"), Some(vec![2, 0, 0, 0]));
        assert_eq!(octets(b"0007"), Some(vec![2, 0, 7, 0]));
        assert_eq!(octets(b"9999"), Some(vec![2, 0, 0x0F, 0x27]));
        for wrong in [
            &b""[..],
            b"\n",
            b"12345",
            b"00001",
            b"-1",
            b" 12",
            b"12 ",
            b"12\n\n",
            b"0x12",
            "１２".as_bytes(),
        ] {
            let error = Consent::read(0, wrong).unwrap_err();
            assert!(!error.contains("12345"));
        }
    }

    /// Worked out by hand: 1,795,304,400 s are 2026-11-21T23:40:00Z, a Saturday; 2026 is 0x07EA; 250 ms are 64/256.
    #[test]
    fn the_time_has_its_ten_octets() {
        let octets = |millis, offset| {
            let write = GattWrite::current_time(Wall::from_millis(millis), offset)?;
            assert_eq!(write.to(), CURRENT_TIME);
            Some(write.octets().to_vec())
        };
        let saturday = vec![0xEA, 0x07, 11, 21, 23, 40, 0, 6, 64, 2];
        assert_eq!(octets(1_795_304_400_250, 0), Some(saturday));
        // An hour ahead it is Sunday, the last day of the week.
        let sunday = vec![0xEA, 0x07, 11, 22, 0, 40, 0, 7, 255, 2];
        assert_eq!(octets(1_795_304_400_999, 60), Some(sunday));
        // 2028-02-28T23:30:00Z; half an hour behind midnight of the leap day, a Tuesday.
        assert_eq!(octets(1_835_393_400_000, 60), Some(vec![0xEC, 0x07, 2, 29, 0, 30, 0, 2, 0, 2]));
        assert_eq!(octets(-13_000_000_000_000, 0), None, "before 1582");
        assert_eq!(octets(i64::MAX, 60), None);
    }

    #[test]
    fn what_a_filter_cannot_say_is_not_said() {
        assert_eq!(GattWrite::report(0x1822, Filter::None, Records::From(1)), None);
        assert_eq!(GattWrite::report(0x1808, Filter::Short, Records::From(0x1_0000)), None);
    }

    #[test]
    fn what_a_device_offers_is_the_same_in_whatever_order_it_was_found() {
        let (one, two, three) = ((0x180D, 0x2A37, 0x10), (0x180D, 0x2A38, 2), (0x180A, 0x2A24, 2));
        assert_eq!(listing([one, two, three]), listing([three, two, one]));
        assert_eq!(listing([one, two, three]).len(), 3 * 33);
        assert_ne!(listing([one]), listing([(0x180D, 0x2A37, 0x20)]), "another property is another offer");
    }

    #[test]
    fn only_whole_measurements_outlive_their_connection() {
        let of = |service, uuid| Leftover::of(Characteristic { service, uuid });
        assert_eq!((of(0x1809, 0x2A1C), of(0x1822, 0x2A5E)), (Leftover::Kept, Leftover::Kept));
        // Whatever a pump indicates is counted on its connection, and so is a segment.
        for uuid in 0x2B20..=0x2B28 {
            assert_eq!(of(0x183A, uuid), Leftover::Void, "{uuid:04X}");
        }
        assert_eq!(of(0x1840, 0x2B8B), Leftover::Lost);
        for to in [PUMP_RECORD_ACCESS, PUMP_STATUS_READER, HEALTH_SENSOR_CONTROL, USER_CONTROL] {
            assert_eq!(Leftover::of(to), Leftover::Void, "{to:?}");
        }
        for service in [0x1808, 0x181F, 0x1822, 0x1840] {
            assert_eq!(of(service, RECORD_ACCESS), Leftover::Void, "{service:04X}");
        }
    }

    #[test]
    fn an_att_error_is_read_out_of_its_words() {
        assert_eq!(att_error("Operation failed with ATT error: 0xfd"), Some(0xFD));
        assert_eq!(att_error("Operation failed with ATT error: 0x80 (reserved)"), Some(0x80));
        assert_eq!(att_error("Not connected"), None);
    }
}
