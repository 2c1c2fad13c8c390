//! The codes for what a rack and its pumps tell and no standard code says.

#![expect(unreachable_pub, dead_code, reason = "the macro makes public rows and a table of them all")]

use crate::device::nomenclature::rows;

rows! { Metric CODES:
    /// How many pillars the rack says it has (`FMNOR`).
    PILLARS = { code: 0x0400_0301, reference: "BBRAUN_PILLARS", label: "pillars of the rack", loinc: None, plausible: None };
    /// The rack's clock: seconds since it was started, raw.
    UPTIME = { code: 0x0400_0302, reference: "BBRAUN_UPTIME", label: "time since the rack was started", loinc: None, plausible: None };
    /// The drug's short name, as on the pump's display (`INSOLSN`).
    DRUG_SHORT = { code: 0x0400_0303, reference: "BBRAUN_DRUG_SHORT_NAME", label: "drug, short name", loinc: None, plausible: None };
    /// The drug's id in the pump's drug library (`INSOLID`).
    DRUG_ID = { code: 0x0400_0304, reference: "BBRAUN_DRUG_ID", label: "drug, library id", loinc: None, plausible: None };
    /// The volume left in the syringe (`INVOLACT`).
    VOLUME_LEFT = { code: 0x0400_0305, reference: "BBRAUN_VOLUME_LEFT", label: "volume left in the syringe", loinc: None, plausible: Some((0, 10_000)) };
    /// How long the infusion has run (`INTIME`).
    INFUSION_TIME = { code: 0x0400_0306, reference: "BBRAUN_INFUSION_TIME", label: "infusion time", loinc: None, plausible: None };
    /// The rate of a bolus (`INBORT`).
    BOLUS_RATE = { code: 0x0400_0307, reference: "BBRAUN_BOLUS_RATE", label: "bolus rate", loinc: None, plausible: Some((0, 2_000)) };
    /// How many boluses were given (`INBOCNT`).
    BOLUS_COUNT = { code: 0x0400_0308, reference: "BBRAUN_BOLUS_COUNT", label: "boluses given", loinc: None, plausible: None };
    /// The level at which the pump alarms for pressure (`INP1`).
    PRESSURE_LEVEL = { code: 0x0400_0309, reference: "BBRAUN_PRESSURE_LEVEL", label: "pressure level set", loinc: None, plausible: None };
    /// The pressure, in percent of the highest (`INP2`).
    PRESSURE_PERCENT = { code: 0x0400_030A, reference: "BBRAUN_PRESSURE_PERCENT", label: "pressure, part of the highest", loinc: None, plausible: Some((0, 100)) };
    /// Whether the pump reckons in doses (`INDOCAL`).
    DOSE_MODE = { code: 0x0400_030B, reference: "BBRAUN_DOSE_MODE", label: "dose mode", loinc: None, plausible: None };
    /// All mode flags: bit 0 is `INM1`.
    MODE_FLAGS = { code: 0x0400_030C, reference: "BBRAUN_MODE_FLAGS", label: "mode flags", loinc: None, plausible: None };
    /// Whether the pump is on external power or on its battery (`INM8`).
    POWER = { code: 0x0400_030D, reference: "BBRAUN_POWER", label: "power", loinc: None, plausible: None };
}
