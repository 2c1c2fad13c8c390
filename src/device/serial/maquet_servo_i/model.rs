//! The catalogue's row of the Servo ventilators, and what can be set for one.

use std::time::Duration;

use super::MaquetServoI;
use super::codes;
use super::queries::REQUESTS;
use crate::device::catalogue::{Class, IdentityProof, Parts, SerialModel};
use crate::device::nomenclature as mdc;
use crate::device::settings::{Setting, Settings, Values};
use crate::link::{AllowSet, Line, Parity};

/// The catalogue's row.
pub(in crate::device::serial) static MODEL: SerialModel = SerialModel {
    name: "maquet-servo-i",
    title: "Maquet / Getinge Servo-i, Servo-s ventilator (CIE)",
    class: Class::Therapy,
    line: Line { baud: 9_600, data_bits: 8, parity: Parity::Even, stop_bits: 1 },
    requests: AllowSet::new(&REQUESTS),
    reads: &READS,
    identity: IdentityProof::Reported,
    parts: Parts::One,
    settings: &SETTINGS,
    quiet: Duration::from_secs(30),
    driver: &|settings| Box::new(MaquetServoI::new(Options::of(settings))),
};

static READS: [&mdc::Metric; 60] = [
    &mdc::RESP_RATE,
    &mdc::VOL_AWAY_TIDAL,
    &mdc::VENT_VOL_MINUTE_INSP,
    &mdc::VENT_VOL_MINUTE_EXP,
    &mdc::VENT_PRESS_AWAY_MAX,
    &mdc::VENT_PRESS_AWAY_MEAN,
    &mdc::VENT_PRESS_RESP_PLAT,
    &mdc::VENT_PRESS_AWAY_END_EXP_POS,
    &mdc::PRESS_AWAY_END_EXP_POS_TOTAL,
    &mdc::CONC_AWAY_O2_INSP,
    &mdc::CONC_AWAY_CO2_ET,
    &mdc::COMPL_LUNG_STATIC,
    &mdc::COMPL_LUNG_DYNAMIC,
    &mdc::RATIO_IE,
    &mdc::VENT_MODE,
    &mdc::FLOW_AWAY,
    &mdc::PRESS_AWAY,
    &mdc::EVT_ALARM,
    &mdc::EVT_APNEA,
    &mdc::EVT_SUPPLY_PROB,
    &mdc::EVT_BATT_PROB,
    &mdc::EVT_ELEC_PWR_LINE_PROB,
    &mdc::EVT_SENSOR_PROB,
    &mdc::EVT_VENT_BREATHING_SYS_LEAK,
    &mdc::EVT_POWER_PROB,
    &mdc::EVT_VENT_CONC_O2_DELIV_LO,
    &codes::TIDAL_INSP,
    &codes::BAROMETER,
    &codes::RESISTANCE_231,
    &codes::RESISTANCE_236,
    &codes::LEAKAGE,
    &codes::RATE_SPONT,
    &codes::MINUTE_SPONT,
    &codes::P01,
    &codes::EDI_255,
    &codes::EDI_256,
    &codes::STRESS_INDEX,
    &codes::SET_RATE,
    &codes::SET_MINUTE,
    &codes::SET_PC,
    &codes::SET_PS,
    &codes::SET_PEEP,
    &codes::PATIENT_RANGE,
    &codes::MUTE,
    &codes::SET_O2,
    &codes::SET_IE,
    &codes::SET_TIDAL,
    &codes::LIMIT_353,
    &codes::LIMIT_354,
    &codes::LIMIT_355,
    &codes::LIMIT_356,
    &codes::LIMIT_357,
    &codes::LIMIT_358,
    &codes::LIMIT_359,
    &codes::LIMIT_MV_364,
    &codes::LIMIT_MV_365,
    &codes::STATE,
    &codes::ALARM_STATE,
    &codes::CURVE_PHASE,
    &codes::CURVE_OTHER,
];

static SETTINGS: [Setting; 5] = [
    Setting {
        name: "curves",
        meaning: "whether curves are streamed; they go into the bulk lane and take most of a 9600 baud line",
        values: Values::Word(&["off", "on"]),
    },
    Setting {
        name: "first_curve",
        meaning: "the channel of the first curve, see the manual's table of curve channels (100 is the flow in recorded streams)",
        values: Values::Number { least: 100, most: 199, default: 100 },
    },
    Setting {
        name: "second_curve",
        meaning: "the channel of a second curve, greater than the first, see the manual's table of curve channels; 0 is none",
        values: Values::Number { least: 0, most: 199, default: 0 },
    },
    Setting {
        name: "sample_unit_us",
        meaning: "the unit, in microseconds, of the sampling time that the ventilator states for a curve (first field of RCCO, see the manual)",
        values: Values::Number { least: 1, most: 1_000_000, default: 1_000 },
    },
    Setting {
        name: "identity_minutes",
        meaning: "how long curves may stream before the stream is stopped to ask who streams",
        values: Values::Number { least: 1, most: 30, default: 10 },
    },
];

/// What is set for this ventilator.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The channels of the curves; none when none are wanted.
    pub(super) curves: Vec<u16>,
    /// The unit of the sampling time that the ventilator states.
    pub(super) sample_unit_us: u32,
    /// How long a stream may go on before its sender is asked who it is.
    pub(super) identity_period: Duration,
}

impl Options {
    pub(super) fn of(settings: &Settings) -> Self {
        let number = |name| settings.number(name);
        let (first, second) = (number("first_curve"), number("second_curve"));
        let chosen = [Some(first), (second > first).then_some(second)];
        let curves = if settings.word("curves") == "on" { chosen } else { [None, None] };
        let minutes = u64::try_from(number("identity_minutes")).unwrap_or(10).clamp(1, 30);
        Self {
            curves: curves.into_iter().flatten().filter_map(|number| u16::try_from(number).ok()).collect(),
            sample_unit_us: u32::try_from(number("sample_unit_us")).unwrap_or(1_000),
            identity_period: Duration::from_secs(60 * minutes),
        }
    }
}
