//! What the pump says of the present: Status (2B21), Annunciation Status (2B22), Status Changed (2B20).
//!
//! In: a value without counter and checksum. Out: observations, or a [`Fault`] that names what is wrong.
//! Layouts: Insulin Delivery Service 1.0.2.

use super::codes;
use super::hamming::{self, named, prohibited, word};
use super::protection::ended;
use super::{state, text};
use crate::device::ble::octets::Octets;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::Metric;
use crate::device::observation::{Kind, Observation, Priority, Value};
use crate::device::{Fault, FaultKind};

/// Status: therapy, pump, insulin left, whether a reservoir is attached.
pub(super) fn status(value: &[u8]) -> Result<Vec<Observation>, Fault> {
    const WHAT: &str = "IDD status";
    let mut octets = Octets::new(WHAT, value)?;
    let therapy = word(&mut octets, "therapy control state", hamming::THERAPY)?;
    let operational = word(&mut octets, "operational state", hamming::OPERATIONAL)?;
    let reservoir = octets.sfloat("reservoir remaining amount")?;
    let attached = octets.u8("flags")? & 1;
    ended(WHAT, &octets)?;
    Ok(vec![
        text(&codes::THERAPY, therapy),
        text(&codes::OPERATIONAL, operational),
        super::observed(&codes::RESERVOIR, reservoir, &mdc::INTERNATIONAL_UNIT, Kind::Measurement),
        state(&codes::ATTACHED, Value::Bits(attached.into())),
    ])
}

/// The bits of Status Changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed(pub(super) u16);

impl Changed {
    /// Therapy, pump, reservoir.
    const STATUS: u16 = 0b111;
    const ANNUNCIATION: u16 = 1 << 3;
    const BASAL_RATE: u16 = 1 << 5;
    const BOLUS: u16 = 1 << 6;

    pub(super) fn read(value: &[u8]) -> Result<Self, Fault> {
        const WHAT: &str = "IDD status changed";
        let mut octets = Octets::new(WHAT, value)?;
        let bits = octets.u16("flags")?;
        ended(WHAT, &octets)?;
        Ok(Self(bits))
    }

    pub(super) const fn is_of_status(self) -> bool {
        self.0 & Self::STATUS != 0
    }

    pub(super) const fn is_of_annunciation(self) -> bool {
        self.0 & Self::ANNUNCIATION != 0
    }

    pub(super) const fn is_of_basal_rate(self) -> bool {
        self.0 & Self::BASAL_RATE != 0
    }

    pub(super) const fn is_of_bolus(self) -> bool {
        self.0 & Self::BOLUS != 0
    }
}

/// How far an annunciation got.
const CONFIRMED: u8 = 0x55;
const SNOOZED: u8 = 0x3C;

/// One type of annunciation.
struct Kindred {
    code: u16,
    name: &'static str,
    /// The event code, where 11073 has one.
    metric: &'static Metric,
    /// `None`: it only informs, and is no alarm.
    priority: Option<Priority>,
}

/// The types of annunciations.
///
/// Their urgency is an inference: no specification at hand gives one, and 2B22 has no field for it. Where
/// Tidepool's `InsulinDeliveryLoopKit`, by an author of the service, rates a type, its rating is taken: critical
/// is high (mechanical issue, reservoir issue and empty, battery empty, occlusion), time-sensitive is medium
/// (priming issue, reservoir low, battery low, both cancellations). The rest is this project's: what keeps
/// insulin from the patient is high; what tells of a state as it should be (how full the battery is, a temporary
/// basal rate that ran to its end, a temperature report) informs; everything else is medium.
static TYPES: [Kindred; 22] = [
    row(0x000F, "system issue", HIGH),
    row(0x0033, "mechanical issue", HIGH),
    Kindred { metric: &mdc::EVT_OCCL, ..row(0x003C, "occlusion", HIGH) },
    row(0x0055, "reservoir issue", HIGH),
    row(0x005A, "reservoir empty", HIGH),
    row(0x0066, "reservoir low", MEDIUM),
    row(0x0069, "priming issue", MEDIUM),
    row(0x0096, "infusion set incomplete", HIGH),
    row(0x0099, "infusion set detached", HIGH),
    Kindred { metric: &mdc::EVT_POWER_PROB, ..row(0x00A5, "power source insufficient", HIGH) },
    Kindred { metric: &mdc::EVT_BATT_LO, ..row(0x00AA, "battery empty", HIGH) },
    Kindred { metric: &mdc::EVT_BATT_LO, ..row(0x00C3, "battery low", MEDIUM) },
    row(0x00CC, "battery medium", INFORMS),
    row(0x00F0, "battery full", INFORMS),
    row(0x00FF, "temperature out of range", MEDIUM),
    row(0x0303, "air pressure out of range", MEDIUM),
    row(0x030C, "bolus cancelled", MEDIUM),
    row(0x0330, "temporary basal rate over", INFORMS),
    row(0x033F, "temporary basal rate cancelled", MEDIUM),
    row(0x0356, "maximum delivery reached", MEDIUM),
    row(0x0359, "date and time issue", MEDIUM),
    row(0x0365, "temperature", INFORMS),
];

const HIGH: Option<Priority> = Some(Priority::High);
const MEDIUM: Option<Priority> = Some(Priority::Medium);
const INFORMS: Option<Priority> = None;

const fn row(code: u16, name: &'static str, priority: Option<Priority>) -> Kindred {
    Kindred { code, name, metric: &mdc::EVT_ALARM, priority }
}

/// From here on the types are the maker's, in the set of Hamming codes or not.
pub(super) const MAKERS: std::ops::RangeInclusive<u16> = 0xF000..=0xFFF0;

/// One annunciation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annunciation {
    id: u16,
    kind: u16,
    status: u8,
    /// What the maker adds to it, as sent.
    pub(super) auxiliary: Vec<u16>,
}

impl Annunciation {
    /// Number, type and status, as they stand in 2B22 and in the history.
    pub(super) fn read(octets: &mut Octets<'_>) -> Result<Self, Fault> {
        let id = octets.u16("annunciation number")?;
        let kind = octets.u16("annunciation type")?;
        if !hamming::is_allowed(kind) && !MAKERS.contains(&kind) {
            return Err(prohibited("annunciation type", kind));
        }
        let status = hamming::code(octets, "annunciation status")?;
        Ok(Self { id, kind, status, auxiliary: Vec::new() })
    }

    /// The alarm's code: the type, and the number that the pump gave this one.
    pub(super) fn code(&self) -> String {
        format!("{:04X}/{}", self.kind, self.id)
    }

    fn kindred(&self) -> Option<&'static Kindred> {
        TYPES.iter().find(|row| row.code == self.kind)
    }

    pub(super) fn metric(&self) -> &'static Metric {
        self.kindred().map_or(&mdc::EVT_ALARM, |row| row.metric)
    }

    /// How urgent its type is, by this project's table; `None`: it only informs. A type that the table does not
    /// have is an alarm of unstated urgency.
    pub(super) fn priority(&self) -> Option<Priority> {
        self.kindred().map_or(Some(Priority::Unstated), |row| row.priority)
    }

    /// What it is, with what the maker adds.
    pub(super) fn name(&self) -> String {
        let unknown = if MAKERS.contains(&self.kind) { "of the maker's own" } else { "of an unknown type" };
        let name = self.kindred().map_or(unknown, |row| row.name);
        let added: Vec<String> = self.auxiliary.iter().map(|added| format!(" {added:04X}")).collect();
        if added.is_empty() { name.to_owned() } else { format!("{name} (auxiliary{})", added.concat()) }
    }

    pub(super) const fn is_confirmed(&self) -> bool {
        self.status == CONFIRMED
    }

    pub(super) const fn is_snoozed(&self) -> bool {
        self.status == SNOOZED
    }

    /// Everything that it says, as a state.
    pub(super) fn observed(&self) -> Observation {
        let status = named(hamming::ANNUNCIATION_STATUS, self.status.into())
            .map_or_else(|| format!("unknown 0x{:02X}", self.status), str::to_owned);
        text(&codes::ANNUNCIATION, format!("{} {}: {status}", self.code(), self.name()))
    }
}

/// Annunciation Status: the one that the pump shows, if any.
pub(super) fn annunciation(value: &[u8]) -> Result<Option<Annunciation>, Fault> {
    const WHAT: &str = "IDD annunciation status";
    const PRESENT: u8 = 1;
    let mut octets = Octets::new(WHAT, value)?;
    let flags = octets.u8("flags")?;
    let mut read = None;
    if flags & PRESENT != 0 {
        read = Some(Annunciation::read(&mut octets)?);
    }
    let added = auxiliary(&mut octets, flags >> 1, 5)?;
    ended(WHAT, &octets)?;
    match &mut read {
        Some(read) => read.auxiliary = added,
        None if added.is_empty() => {}
        None => {
            let detail = format!("{WHAT} adds to an annunciation that it does not have");
            return Err(Fault::new(FaultKind::Malformed, detail));
        }
    }
    Ok(read)
}

/// Auxiliary fields, one for each of the first `count` flags that is set.
pub(super) fn auxiliary(octets: &mut Octets<'_>, flags: u8, count: u8) -> Result<Vec<u16>, Fault> {
    let present = (0..count).filter(|bit| flags >> bit & 1 == 1);
    present.map(|_| octets.u16("auxiliary information")).collect()
}
