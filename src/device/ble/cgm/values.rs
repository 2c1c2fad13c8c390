//! The values of the service, field by field, and the checksum that protects them.
//!
//! In: the octets of one value. Out: its fields, or a fault that names what is wrong. A device whose feature says
//! "E2E-CRC" puts one at the end of each value, and of each record of a measurement (GATT Specification
//! Supplement, "CRC calculation"): a value without it, or with another, is refused as a whole. Real transmitters
//! (Medtronic Guardian 4, as captured by `OpenGuardian`) send CRC-16/CCITT-FALSE there (polynomial 0x1021, not
//! reflected, start 0xFFFF): those are refused too, as nothing tells them from damaged ones.

use super::annunciation::Annunciation;
use super::session::SessionStart;
use crate::device::ble::octets::Octets;
use crate::device::observation::Value;
use crate::device::{Fault, FaultKind};
use crate::link::gatt::e2e_crc;

/// The octets of a CRC.
const CRC: usize = 2;

/// What stands in the feature's CRC of a device without E2E-CRC.
const NO_CRC: u16 = 0xFFFF;

/// The shortest record: size, flags, concentration, time offset.
const SHORTEST: usize = 6;

/// Feature bit 12: every value carries an E2E-CRC.
const E2E_SUPPORTED: u32 = 1 << 12;

/// CGM Feature 2AA8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Feature {
    /// 24 bits.
    pub(super) bits: u32,
    /// Sample type in the low nibble, sample location in the high one.
    pub(super) sample: u8,
}

impl Feature {
    /// Reads the value. Its CRC is always there.
    pub(super) fn read(value: &[u8]) -> Result<Self, Fault> {
        let what = "CGM feature";
        let mut octets = Octets::new(what, value)?;
        let feature = Self { bits: octets.u24("features")?, sample: octets.u8("sample type and location")? };
        let crc = octets.u16("E2E-CRC")?;
        if !octets.is_empty() {
            return Err(malformed(format!("{what} has {} octets, not 6", value.len())));
        }
        if feature.is_protected() {
            unsealed(what, value)?;
        } else if crc != NO_CRC {
            let detail = format!("{what} says that it has no E2E-CRC, and states {crc:04X} for it, not FFFF");
            return Err(Fault::new(FaultKind::Checksum, detail));
        }
        Ok(feature)
    }

    /// Whether every other value carries an E2E-CRC.
    pub(super) const fn is_protected(self) -> bool {
        self.bits & E2E_SUPPORTED != 0
    }

    /// All that it says, the sample above the features.
    pub(super) fn all(self) -> u32 {
        self.bits | u32::from(self.sample) << 24
    }
}

/// CGM Status 2AA9: what is on at this minute of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) offset: u16,
    pub(super) annunciation: Annunciation,
}

impl Status {
    pub(super) fn read(value: &[u8], is_protected: bool) -> Result<Self, Fault> {
        let mut octets = fixed("CGM status", value, 5, is_protected)?;
        let offset = octets.u16("time offset")?;
        let (status, calibration) = (octets.u8("status")?, octets.u8("calibration")?);
        let warning = octets.u8("warning")?;
        Ok(Self { offset, annunciation: Annunciation { status, calibration, warning } })
    }
}

impl SessionStart {
    /// CGM Session Start Time 2AAA.
    pub(super) fn read(value: &[u8], is_protected: bool) -> Result<Self, Fault> {
        let mut octets = fixed("CGM session start time", value, 9, is_protected)?;
        let at = octets.date_time("start time")?;
        Ok(Self { at, zone: octets.u8("time zone")?.cast_signed(), daylight: octets.u8("DST offset")? })
    }
}

/// CGM Session Run Time 2AAB, in hours.
pub(super) fn run_time(value: &[u8], is_protected: bool) -> Result<u16, Fault> {
    fixed("CGM session run time", value, 2, is_protected)?.u16("run time")
}

/// One record of a CGM Measurement 2AA7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// In mg/dL.
    pub(super) glucose: Value,
    /// Minutes since the session began.
    pub(super) offset: u16,
    /// `None` when no octet of it was sent.
    pub(super) annunciation: Option<Annunciation>,
    /// In mg/dL a minute.
    pub(super) trend: Option<Value>,
    /// In percent.
    pub(super) quality: Option<Value>,
}

/// All records of one measurement value, in its order; at least one.
pub(super) fn records(value: &[u8], is_protected: bool) -> Result<Vec<Record>, Fault> {
    // Only for its bound, and to say of an empty value what is missing.
    Octets::new("CGM measurement", value)?.u8("size")?;
    let mut rest = value;
    let mut records = Vec::new();
    while let Some(size) = rest.first() {
        let size = usize::from(*size);
        if size < SHORTEST {
            return Err(malformed(format!(
                "a CGM record states a size of {size}, and {SHORTEST} is the least"
            )));
        }
        let Some((octets, after)) = rest.split_at_checked(size) else {
            let left = rest.len();
            return Err(malformed(format!(
                "a CGM record states a size of {size}, and {left} octets are left"
            )));
        };
        records.push(record(octets, is_protected)?);
        rest = after;
    }
    Ok(records)
}

/// The first octets of a record announce the others.
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const TREND: u8 = 1;
    const QUALITY: u8 = 1 << 1;
    const WARNING: u8 = 1 << 5;
    const CALIBRATION: u8 = 1 << 6;
    const STATUS: u8 = 1 << 7;

    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// The octets of a record with these flags, without its CRC.
    fn length(self) -> usize {
        let fields = [
            (Self::TREND, 2),
            (Self::QUALITY, 2),
            (Self::WARNING, 1),
            (Self::CALIBRATION, 1),
            (Self::STATUS, 1),
        ];
        fields.into_iter().filter(|(flag, _)| self.has(*flag)).fold(SHORTEST, |sum, (_, octets)| sum + octets)
    }
}

fn record(value: &[u8], is_protected: bool) -> Result<Record, Fault> {
    let what = "CGM record";
    let mut octets = Octets::new(what, value)?;
    octets.u8("size")?;
    let flags = Flags(octets.u8("flags")?);
    if is_protected {
        protected(what, value, flags.length())?;
    }
    let glucose = octets.sfloat("glucose concentration")?;
    let offset = octets.u16("time offset")?;
    let mut octet = |flag, field| if flags.has(flag) { octets.u8(field).map(Some) } else { Ok(None) };
    let status = octet(Flags::STATUS, "status octet")?;
    let calibration = octet(Flags::CALIBRATION, "calibration and temperature octet")?;
    let warning = octet(Flags::WARNING, "warning octet")?;
    let is_annunciated = status.or(calibration).or(warning).is_some();
    let annunciation = is_annunciated.then(|| Annunciation {
        status: status.unwrap_or_default(),
        calibration: calibration.unwrap_or_default(),
        warning: warning.unwrap_or_default(),
    });
    let mut number = |flag, field| if flags.has(flag) { octets.sfloat(field).map(Some) } else { Ok(None) };
    let trend = number(Flags::TREND, "trend")?;
    let quality = number(Flags::QUALITY, "quality")?;
    Ok(Record { glucose, offset, annunciation, trend, quality })
}

/// The fields of a value whose length never changes.
fn fixed<'a>(
    what: &'static str,
    value: &'a [u8],
    length: usize,
    is_protected: bool,
) -> Result<Octets<'a>, Fault> {
    let octets = Octets::new(what, value)?;
    if is_protected {
        protected(what, value, length)?;
    } else if value.len() != length {
        return Err(malformed(format!("{what} has {} octets, not {length}", value.len())));
    }
    Ok(octets)
}

/// Holds what has `length` octets of fields against its CRC.
fn protected(what: &str, value: &[u8], length: usize) -> Result<(), Fault> {
    if value.len() == length {
        return Err(malformed(format!("{what} has no E2E-CRC, and the device's feature says that all have")));
    }
    let whole = length + CRC;
    if value.len() != whole {
        return Err(malformed(format!("{what} has {} octets, not {whole}", value.len())));
    }
    unsealed(what, value)
}

/// Compares the last two octets with the E2E-CRC of all before them.
fn unsealed(what: &str, value: &[u8]) -> Result<(), Fault> {
    let Some((fields, crc)) = value.split_last_chunk::<CRC>() else {
        return Err(malformed(format!("{what} has {} octets and no E2E-CRC", value.len())));
    };
    let (stated, computed) = (u16::from_le_bytes(*crc), e2e_crc(fields));
    if stated == computed {
        return Ok(());
    }
    let detail = format!("{what} states the E2E-CRC {stated:04X}, its octets have {computed:04X}");
    Err(Fault::new(FaultKind::Checksum, detail))
}

fn malformed(detail: String) -> Fault {
    Fault::new(FaultKind::Malformed, detail)
}
