//! What an insulin pump reports: codes of our private block from `0x0400_1501` on.
//!
//! The terms of ISO/IEEE 11073-10419 (insulin pump) are not openly known, so none of them is used.

#![allow(dead_code, unreachable_pub, reason = "the macro makes a public table; `READS` names each row")]

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, rows};

rows! { Metric CODES:
    /// Whether the pump runs its therapy, in words.
    THERAPY = { code: 67_114_241, reference: "IDS_THERAPY_CONTROL_STATE", label: "therapy", loinc: None, plausible: None };
    /// The state of the pump itself, in words.
    OPERATIONAL = { code: 67_114_242, reference: "IDS_OPERATIONAL_STATE", label: "pump state", loinc: None, plausible: None };
    /// Insulin left in the reservoir.
    RESERVOIR = { code: 67_114_243, reference: "IDS_RESERVOIR_REMAINING", label: "insulin left", loinc: None, plausible: None };
    /// Whether a reservoir is attached: 1 or 0.
    ATTACHED = { code: 67_114_244, reference: "IDS_RESERVOIR_ATTACHED", label: "reservoir attached", loinc: None, plausible: None };
    /// What has changed since somebody reset these bits, as sent.
    CHANGED = { code: 67_114_245, reference: "IDS_STATUS_CHANGED", label: "what changed", loinc: None, plausible: None };
    /// What the pump announces: its type, its number, how far it got. Its alarm is told beside it.
    ANNUNCIATION = { code: 67_114_246, reference: "IDS_ANNUNCIATION", label: "annunciation", loinc: None, plausible: None };
    /// The insulin that the pump is made for.
    CONCENTRATION = { code: 67_114_247, reference: "IDS_INSULIN_CONCENTRATION", label: "insulin concentration", loinc: None, plausible: None };
    /// The first 24 feature bits, as sent.
    FEATURES = { code: 67_114_248, reference: "IDS_FEATURES", label: "pump features", loinc: None, plausible: None };
    /// A history event whose fields are not read: its type, what it is called, its octets in hexadecimal.
    EVENT = { code: 67_114_249, reference: "IDS_HISTORY_EVENT", label: "history event", loinc: None, plausible: None };
    /// Seconds from a reference time of the pump to the event: told where it does not give a time, and of reference times themselves.
    EVENT_OFFSET = { code: 67_114_250, reference: "IDS_RELATIVE_OFFSET", label: "time since the reference time", loinc: None, plausible: None };
    /// Why the pump wrote its time down.
    CLOCK = { code: 67_114_251, reference: "IDS_REFERENCE_TIME", label: "reference time", loinc: None, plausible: None };
    /// The number of the bolus: what was programmed and what was delivered have the same.
    BOLUS_ID = { code: 67_114_252, reference: "IDS_BOLUS_ID", label: "bolus number", loinc: None, plausible: None };
    /// Fast, extended or both.
    BOLUS_TYPE = { code: 67_114_253, reference: "IDS_BOLUS_TYPE", label: "bolus type", loinc: None, plausible: None };
    /// The fast part of a bolus, as programmed.
    BOLUS_FAST_SET = { code: 67_114_254, reference: "IDS_BOLUS_FAST_PROGRAMMED", label: "bolus, fast part, programmed", loinc: None, plausible: None };
    /// The extended part of a bolus, as programmed.
    BOLUS_EXTENDED_SET = { code: 67_114_255, reference: "IDS_BOLUS_EXTENDED_PROGRAMMED", label: "bolus, extended part, programmed", loinc: None, plausible: None };
    /// How long the extended part is to take.
    BOLUS_TIME_SET = { code: 67_114_256, reference: "IDS_BOLUS_DURATION_PROGRAMMED", label: "bolus duration, programmed", loinc: None, plausible: None };
    /// The fast part of a bolus, as delivered.
    BOLUS_FAST = { code: 67_114_257, reference: "IDS_BOLUS_FAST_DELIVERED", label: "bolus, fast part, delivered", loinc: None, plausible: None };
    /// The extended part of a bolus, as delivered.
    BOLUS_EXTENDED = { code: 67_114_258, reference: "IDS_BOLUS_EXTENDED_DELIVERED", label: "bolus, extended part, delivered", loinc: None, plausible: None };
    /// How long the bolus took.
    BOLUS_TIME = { code: 67_114_259, reference: "IDS_BOLUS_DURATION_EFFECTIVE", label: "bolus duration", loinc: None, plausible: None };
    /// How long the bolus is to wait.
    BOLUS_DELAY = { code: 67_114_260, reference: "IDS_BOLUS_DELAY", label: "bolus delay", loinc: None, plausible: None };
    /// For a meal, for a correction, or both.
    BOLUS_REASON = { code: 67_114_261, reference: "IDS_BOLUS_REASON", label: "reason of the bolus", loinc: None, plausible: None };
    /// Who chose the bolus.
    BOLUS_ACTIVATION = { code: 67_114_262, reference: "IDS_BOLUS_ACTIVATION", label: "activation of the bolus", loinc: None, plausible: None };
    /// From when the bolus was programmed to when its delivery began.
    BOLUS_START = { code: 67_114_263, reference: "IDS_BOLUS_START_OFFSET", label: "start of the bolus", loinc: None, plausible: None };
    /// Why the bolus ended.
    BOLUS_END = { code: 67_114_264, reference: "IDS_BOLUS_END_REASON", label: "end of the bolus", loinc: None, plausible: None };
    /// The largest bolus that the pump allowed before.
    BOLUS_MAX_OLD = { code: 67_114_265, reference: "IDS_MAX_BOLUS_OLD", label: "largest bolus, before", loinc: None, plausible: None };
    /// The largest bolus that the pump allows.
    BOLUS_MAX = { code: 67_114_266, reference: "IDS_MAX_BOLUS", label: "largest bolus", loinc: None, plausible: None };
    /// The number of the template that was used.
    TEMPLATE = { code: 67_114_267, reference: "IDS_TEMPLATE_NUMBER", label: "template", loinc: None, plausible: None };
    /// The number of the annunciation that belongs to an event.
    EVENT_ANNUNCIATION = { code: 67_114_268, reference: "IDS_ANNUNCIATION_INSTANCE_ID", label: "number of the annunciation", loinc: None, plausible: None };
    /// The basal rate that was delivered before.
    BASAL_OLD = { code: 67_114_269, reference: "IDS_BASAL_RATE_OLD", label: "basal rate, before", loinc: None, plausible: None };
    /// The basal rate that is delivered.
    BASAL = { code: 67_114_270, reference: "IDS_BASAL_RATE", label: "basal rate", loinc: None, plausible: None };
    /// By what the basal rate was set.
    BASAL_CONTEXT = { code: 67_114_271, reference: "IDS_BASAL_DELIVERY_CONTEXT", label: "who set the basal rate", loinc: None, plausible: None };
    /// The basal rate of the profile that is active, without a temporary one.
    BASAL_PROFILE = { code: 67_114_272, reference: "IDS_BASAL_RATE_PROFILE", label: "basal rate of the profile", loinc: None, plausible: None };
    /// The number of the profile that is active.
    PROFILE = { code: 67_114_273, reference: "IDS_PROFILE_TEMPLATE_NUMBER", label: "profile", loinc: None, plausible: None };
    /// The number of the profile that was active before.
    PROFILE_OLD = { code: 67_114_274, reference: "IDS_PROFILE_TEMPLATE_NUMBER_OLD", label: "profile, before", loinc: None, plausible: None };
    /// What the profile is of.
    PROFILE_TYPE = { code: 67_114_275, reference: "IDS_PROFILE_TEMPLATE_TYPE", label: "type of the profile", loinc: None, plausible: None };
    /// Whether a temporary basal rate is a rate or a factor.
    TBR_TYPE = { code: 67_114_276, reference: "IDS_TBR_TYPE", label: "type of the temporary basal rate", loinc: None, plausible: None };
    /// A temporary basal rate.
    TBR_RATE = { code: 67_114_277, reference: "IDS_TBR_RATE", label: "temporary basal rate", loinc: None, plausible: None };
    /// A temporary basal rate as a factor of the profile's.
    TBR_FACTOR = { code: 67_114_278, reference: "IDS_TBR_FACTOR", label: "factor of the basal rate", loinc: None, plausible: None };
    /// The value of a temporary basal rate whose type is not known.
    TBR_VALUE = { code: 67_114_279, reference: "IDS_TBR_VALUE", label: "temporary basal rate, type not known", loinc: None, plausible: None };
    /// How long the temporary basal rate is to last.
    TBR_TIME_SET = { code: 67_114_280, reference: "IDS_TBR_DURATION_PROGRAMMED", label: "duration of the temporary basal rate", loinc: None, plausible: None };
    /// How long the temporary basal rate has lasted.
    TBR_TIME = { code: 67_114_281, reference: "IDS_TBR_DURATION", label: "time of the temporary basal rate so far", loinc: None, plausible: None };
    /// How long the temporary basal rate will last.
    TBR_LEFT = { code: 67_114_282, reference: "IDS_TBR_DURATION_REMAINING", label: "time left of the temporary basal rate", loinc: None, plausible: None };
    /// Why the temporary basal rate ended.
    TBR_END = { code: 67_114_283, reference: "IDS_TBR_END_REASON", label: "end of the temporary basal rate", loinc: None, plausible: None };
    /// All boluses of a day.
    DAY_BOLUS = { code: 67_114_284, reference: "IDS_TOTAL_DAILY_BOLUS", label: "boluses of a day", loinc: None, plausible: None };
    /// All basal insulin of a day.
    DAY_BASAL = { code: 67_114_285, reference: "IDS_TOTAL_DAILY_BASAL", label: "basal insulin of a day", loinc: None, plausible: None };
    /// The day that a daily total is of, on the pump's clock: year, month, day.
    DAY = { code: 67_114_286, reference: "IDS_TOTAL_DAILY_DATE", label: "day", loinc: None, plausible: None };
    /// Whether the pump ran its therapy before, in words.
    THERAPY_OLD = { code: 67_114_287, reference: "IDS_THERAPY_CONTROL_STATE_OLD", label: "therapy, before", loinc: None, plausible: None };
    /// The state of the pump before, in words.
    OPERATIONAL_OLD = { code: 67_114_288, reference: "IDS_OPERATIONAL_STATE_OLD", label: "pump state, before", loinc: None, plausible: None };
    /// Insulin that priming is to take.
    PRIMING_SET = { code: 67_114_289, reference: "IDS_PRIMING_PROGRAMMED", label: "priming, programmed", loinc: None, plausible: None };
    /// Insulin that priming took: none of it was the patient's.
    PRIMING = { code: 67_114_290, reference: "IDS_PRIMING_DELIVERED", label: "priming", loinc: None, plausible: None };
    /// Why priming ended.
    PRIMING_END = { code: 67_114_291, reference: "IDS_PRIMING_END_REASON", label: "end of priming", loinc: None, plausible: None };
    /// Insulin that is still at work, as the pump reckons it.
    ON_BOARD = { code: 67_114_292, reference: "IDS_INSULIN_ON_BOARD", label: "insulin on board", loinc: None, plausible: None };
    /// How long it will be at work.
    ON_BOARD_LEFT = { code: 67_114_293, reference: "IDS_INSULIN_ON_BOARD_REMAINING", label: "time until no insulin is on board", loinc: None, plausible: None };
}

/// Everything that the profile reports.
pub(super) static READS: &[&Metric] = &[
    &THERAPY,
    &OPERATIONAL,
    &RESERVOIR,
    &ATTACHED,
    &CHANGED,
    &ANNUNCIATION,
    &CONCENTRATION,
    &FEATURES,
    &EVENT,
    &EVENT_OFFSET,
    &CLOCK,
    &BOLUS_ID,
    &BOLUS_TYPE,
    &BOLUS_FAST_SET,
    &BOLUS_EXTENDED_SET,
    &BOLUS_TIME_SET,
    &BOLUS_FAST,
    &BOLUS_EXTENDED,
    &BOLUS_TIME,
    &BOLUS_DELAY,
    &BOLUS_REASON,
    &BOLUS_ACTIVATION,
    &BOLUS_START,
    &BOLUS_END,
    &BOLUS_MAX_OLD,
    &BOLUS_MAX,
    &TEMPLATE,
    &EVENT_ANNUNCIATION,
    &BASAL_OLD,
    &BASAL,
    &BASAL_CONTEXT,
    &BASAL_PROFILE,
    &PROFILE,
    &PROFILE_OLD,
    &PROFILE_TYPE,
    &TBR_TYPE,
    &TBR_RATE,
    &TBR_FACTOR,
    &TBR_VALUE,
    &TBR_TIME_SET,
    &TBR_TIME,
    &TBR_LEFT,
    &TBR_END,
    &DAY_BOLUS,
    &DAY_BASAL,
    &DAY,
    &THERAPY_OLD,
    &OPERATIONAL_OLD,
    &PRIMING_SET,
    &PRIMING,
    &PRIMING_END,
    &ON_BOARD,
    &ON_BOARD_LEFT,
    &mdc::EVT_OCCL,
    &mdc::EVT_BATT_LO,
    &mdc::EVT_POWER_PROB,
    &mdc::EVT_ALARM,
];
