//! The catalogue's row of the rack, and what can be set for it.

use std::time::Duration;

use super::requests::REQUESTS;
use super::{BbraunBcc, codes, places};
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::nomenclature as mdc;
use crate::device::settings::{Setting, Values};
use crate::link::{AllowSet, Line, Parity};

/// The catalogue's row.
pub(in super::super) static MODEL: SerialModel = SerialModel {
    name: "bbraun-bcc",
    title: "B. Braun Space rack of infusion pumps (SpaceStation with SpaceCom, BCC 3.3x)",
    class: Class::Therapy,
    line: Line { baud: 9_600, data_bits: 8, parity: Parity::None, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &[
        &codes::PILLARS,
        &codes::UPTIME,
        &mdc::PUMP_MODE,
        &codes::POWER,
        &codes::MODE_FLAGS,
        &mdc::FLOW_FLUID_PUMP,
        &mdc::VOL_FLUID_DELIV,
        &codes::INFUSION_TIME,
        &codes::VOLUME_LEFT,
        &mdc::VOL_SYRINGE,
        &codes::BOLUS_RATE,
        &mdc::VOL_FLUID_BOLUS,
        &codes::BOLUS_COUNT,
        &codes::PRESSURE_LEVEL,
        &codes::PRESSURE_PERCENT,
        &mdc::TIME_PD_FLUID_STANDBY_REMAIN,
        &mdc::DRUG_NAME,
        &codes::DRUG_SHORT,
        &codes::DRUG_ID,
        &mdc::TIME_PD_REMAIN,
        &codes::DOSE_MODE,
        &mdc::CONC_DRUG,
        &mdc::RATE_DOSE,
        &mdc::EVT_ALARM,
        &mdc::EVT_COMM_LOST,
    ],
    identity: IdentityProof::Reported,
    parts: Parts::Many { word: "slot", names: places::NAMES },
    settings: &SETTINGS,
    // A full rack takes 31 s for a round. When its answer is lost near the end, the last pump is heard after 85 s.
    quiet: Duration::from_secs(120),
    driver: &|settings| Box::new(BbraunBcc::new(settings)),
};

static SETTINGS: [Setting; 5] = [
    Setting {
        name: "poll",
        meaning: "seconds from one question for everything to the next; a rack wants at least 5, and at \
                  9600 baud each pump takes more than 1 s of it",
        values: Values::Number { least: 5, most: 15, default: 10 },
    },
    Setting {
        name: "stuffing",
        meaning: "whether the rack uses character stuffing: page \"BCC Protocol settings\" of SpaceOnline",
        values: Values::Word(&["off", "on"]),
    },
    Setting {
        name: "modes",
        meaning: "what to make of the flags INM1..INM8, whose meaning is inferred from captures: \
                  \"inferred\" tells state and power marked questionable, \"confirmed\" (after somebody \
                  compared them with the pumps' displays) without the mark, \"raw\" only the bits",
        values: Values::Word(&["inferred", "confirmed", "raw"]),
    },
    Setting {
        name: "kvo_flag",
        meaning: "which flag says that a pump keeps the vein open (KVO); not public: compare \
                  BBRAUN_MODE_FLAGS with a pump in KVO",
        values: Values::Word(&["none", "INM9", "INM10", "INM11", "INM12"]),
    },
    Setting {
        name: "time_left_unit",
        meaning: "the unit of INRMT, known from one source only: compare with a pump's display",
        values: Values::Word(&["s", "min"]),
    },
];
