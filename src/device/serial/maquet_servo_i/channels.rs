//! What is read of the ventilator, channel by channel, and how its numbers become values.
//!
//! The numbers of the channels are fixed (CIE manual 65 43 388, channel tables); what a number is
//! worth is not: gain, offset and unit differ between protocol versions (the expired minute volume
//! has a gain of 0.1 up to 004 and 0.01 in 005). So they are always what the ventilator itself says
//! in its answer to `RCCO`, and a channel of which it has said nothing gives no value.

use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit, rows};
use crate::device::observation::{Absent, Kind, Value};

rows! { Metric CODES:
    /// Inspired tidal volume.
    TIDAL_INSP = { code: 67_110_913, reference: "MAQUET_VTI", label: "inspired tidal volume", loinc: None, plausible: None };
    /// Barometric pressure.
    BAROMETER = { code: 67_110_914, reference: "MAQUET_BAROMETER", label: "barometric pressure", loinc: None, plausible: None };
    /// One of the two resistances.
    RESISTANCE_231 = { code: 67_110_915, reference: "MAQUET_RESISTANCE_231", label: "resistance (channel 231)", loinc: None, plausible: None };
    /// One of the two resistances.
    RESISTANCE_236 = { code: 67_110_916, reference: "MAQUET_RESISTANCE_236", label: "resistance (channel 236)", loinc: None, plausible: None };
    /// Leakage; the unit says which measure of it.
    LEAKAGE = { code: 67_110_917, reference: "MAQUET_LEAKAGE", label: "leakage", loinc: None, plausible: None };
    /// Rate of the spontaneous breaths.
    RATE_SPONT = { code: 67_110_918, reference: "MAQUET_RR_SPONT", label: "spontaneous breathing rate", loinc: None, plausible: Some((0, 200)) };
    /// Expired minute volume of the spontaneous breaths.
    MINUTE_SPONT = { code: 67_110_919, reference: "MAQUET_MVE_SPONT", label: "spontaneous expired minute volume", loinc: None, plausible: None };
    /// Airway occlusion pressure.
    P01 = { code: 67_110_920, reference: "MAQUET_P01", label: "P0.1", loinc: None, plausible: None };
    /// One of the two values of the diaphragm's electrical activity.
    EDI_255 = { code: 67_110_921, reference: "MAQUET_EDI_255", label: "Edi (channel 255)", loinc: None, plausible: None };
    /// One of the two values of the diaphragm's electrical activity.
    EDI_256 = { code: 67_110_922, reference: "MAQUET_EDI_256", label: "Edi (channel 256)", loinc: None, plausible: None };
    /// Stress index.
    STRESS_INDEX = { code: 67_110_923, reference: "MAQUET_STRESS_INDEX", label: "stress index", loinc: None, plausible: None };
    /// Set breathing rate.
    SET_RATE = { code: 67_110_924, reference: "MAQUET_SET_RR", label: "set breathing rate", loinc: None, plausible: None };
    /// Set minute volume.
    SET_MINUTE = { code: 67_110_925, reference: "MAQUET_SET_MV", label: "set minute volume", loinc: None, plausible: None };
    /// Set pressure control level.
    SET_PC = { code: 67_110_926, reference: "MAQUET_SET_PC", label: "set pressure control level", loinc: None, plausible: None };
    /// Set pressure support level.
    SET_PS = { code: 67_110_927, reference: "MAQUET_SET_PS", label: "set pressure support level", loinc: None, plausible: None };
    /// Set PEEP.
    SET_PEEP = { code: 67_110_928, reference: "MAQUET_SET_PEEP", label: "set PEEP", loinc: None, plausible: None };
    /// Patient range, the ventilator's own number.
    PATIENT_RANGE = { code: 67_110_929, reference: "MAQUET_PATIENT_RANGE", label: "patient range", loinc: None, plausible: None };
    /// Mute of the alarms, the ventilator's own number.
    MUTE = { code: 67_110_930, reference: "MAQUET_ALARM_MUTE", label: "alarm mute", loinc: None, plausible: None };
    /// Set oxygen.
    SET_O2 = { code: 67_110_931, reference: "MAQUET_SET_O2", label: "set oxygen", loinc: None, plausible: None };
    /// Set ratio of inspiration to expiration.
    SET_IE = { code: 67_110_932, reference: "MAQUET_SET_IE", label: "set I:E ratio", loinc: None, plausible: None };
    /// Set tidal volume.
    SET_TIDAL = { code: 67_110_933, reference: "MAQUET_SET_VT", label: "set tidal volume", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_353 = { code: 67_110_934, reference: "MAQUET_LIMIT_353", label: "alarm limit (channel 353)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_354 = { code: 67_110_935, reference: "MAQUET_LIMIT_354", label: "alarm limit (channel 354)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_355 = { code: 67_110_936, reference: "MAQUET_LIMIT_355", label: "alarm limit (channel 355)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_356 = { code: 67_110_937, reference: "MAQUET_LIMIT_356", label: "alarm limit (channel 356)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_357 = { code: 67_110_938, reference: "MAQUET_LIMIT_357", label: "alarm limit (channel 357)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_358 = { code: 67_110_939, reference: "MAQUET_LIMIT_358", label: "alarm limit (channel 358)", loinc: None, plausible: None };
    /// An alarm limit.
    LIMIT_359 = { code: 67_110_940, reference: "MAQUET_LIMIT_359", label: "alarm limit (channel 359)", loinc: None, plausible: None };
    /// A limit of the minute volume.
    LIMIT_MV_364 = { code: 67_110_941, reference: "MAQUET_LIMIT_MV_364", label: "minute volume limit (channel 364)", loinc: None, plausible: None };
    /// A limit of the minute volume.
    LIMIT_MV_365 = { code: 67_110_942, reference: "MAQUET_LIMIT_MV_365", label: "minute volume limit (channel 365)", loinc: None, plausible: None };
    /// What the ventilator does: `operating` or `standby`.
    STATE = { code: 67_110_943, reference: "MAQUET_STATE", label: "ventilator state", loinc: None, plausible: None };
    /// What it says of all alarms together (`RALO`), its own number; 0 is none.
    ALARM_STATE = { code: 67_110_944, reference: "MAQUET_ALARM_STATE", label: "alarm state", loinc: None, plausible: None };
    /// The phase of the breath at each sample of the curves: 1 inspiration, 2 pause, 3 expiration.
    CURVE_PHASE = { code: 67_110_945, reference: "MAQUET_BREATH_PHASE", label: "phase of the breath", loinc: None, plausible: None };
    /// A curve that is neither flow nor pressure; the unit says what it is of.
    CURVE_OTHER = { code: 67_110_946, reference: "MAQUET_CURVE", label: "curve", loinc: None, plausible: None };
}

/// A channel that is read.
#[derive(Debug)]
pub(super) struct Channel {
    /// Its number.
    pub(super) number: u16,
    /// What it tells.
    pub(super) metric: &'static Metric,
}

const fn row(number: u16, metric: &'static Metric) -> Channel {
    Channel { number, metric }
}

/// The channel of the ventilation mode, whose number is a word.
pub(super) const MODE: u16 = 310;

/// What is measured, breath by breath.
pub(super) static BREATH: [Channel; 26] = [
    row(200, &mdc::RESP_RATE),
    row(201, &mdc::VOL_AWAY_TIDAL),
    row(202, &TIDAL_INSP),
    row(203, &mdc::VENT_VOL_MINUTE_INSP),
    row(204, &mdc::VENT_VOL_MINUTE_EXP),
    row(205, &mdc::VENT_PRESS_AWAY_MAX),
    row(206, &mdc::VENT_PRESS_AWAY_MEAN),
    row(207, &mdc::VENT_PRESS_RESP_PLAT),
    row(208, &mdc::VENT_PRESS_AWAY_END_EXP_POS),
    row(209, &mdc::CONC_AWAY_O2_INSP),
    row(210, &BAROMETER),
    row(225, &mdc::CONC_AWAY_CO2_ET),
    row(231, &RESISTANCE_231),
    row(232, &mdc::COMPL_LUNG_STATIC),
    row(236, &RESISTANCE_236),
    row(238, &mdc::RATIO_IE),
    row(241, &mdc::COMPL_LUNG_DYNAMIC),
    row(242, &LEAKAGE),
    row(245, &mdc::PRESS_AWAY_END_EXP_POS_TOTAL),
    row(247, &RATE_SPONT),
    row(248, &MINUTE_SPONT),
    row(254, &P01),
    row(255, &EDI_255),
    row(256, &EDI_256),
    row(260, &mdc::CONC_AWAY_CO2_ET),
    row(261, &STRESS_INDEX),
];

/// What is set.
pub(super) static SETTINGS: [Channel; 20] = [
    row(300, &SET_RATE),
    row(305, &SET_MINUTE),
    row(306, &SET_PC),
    row(307, &SET_PS),
    row(308, &SET_PEEP),
    row(309, &PATIENT_RANGE),
    row(MODE, &mdc::VENT_MODE),
    row(322, &MUTE),
    row(323, &SET_O2),
    row(333, &SET_IE),
    row(334, &SET_TIDAL),
    row(353, &LIMIT_353),
    row(354, &LIMIT_354),
    row(355, &LIMIT_355),
    row(356, &LIMIT_356),
    row(357, &LIMIT_357),
    row(358, &LIMIT_358),
    row(359, &LIMIT_359),
    row(364, &LIMIT_MV_364),
    row(365, &LIMIT_MV_365),
];

/// The mode of channel 310 in words; what is not in the table is passed on as its number.
pub(super) fn mode(number: i64) -> String {
    let word = match number {
        2 => "PC",
        3 => "VC",
        4 => "PRVC",
        5 => "VS",
        6 => "SIMV (VC) + PS",
        7 => "SIMV (PC) + PS",
        8 => "PS/CPAP",
        9 => "not known to the interface",
        10 => "SIMV (PRVC) + PS",
        11 => "Bi-Vent",
        12 => "NIV PC",
        13 => "NIV PS/CPAP",
        14 => "nasal CPAP",
        15 => "NAVA",
        17 => "NIV NAVA",
        18 => "Automode PC",
        19 => "Automode VC",
        20 => "Automode PRVC",
        21 => "Automode PS (PC)",
        22 => "Automode VS (VC)",
        23 => "Automode VS (PRVC)",
        other => return format!("mode {other}"),
    };
    word.to_owned()
}

/// What the ventilator says that a channel's numbers are worth: value = raw x gain - offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    gain: Decimal,
    offset: Decimal,
    /// The unit of the value.
    pub(super) unit: &'static Unit,
    /// The time from one sample to the next of a curve, in the ventilator's own unit.
    pub(super) sampling: u32,
}

/// Raw numbers on a common exponent.
pub(super) struct Scaled {
    exponent: i8,
    mantissas: Vec<Option<i128>>,
}

impl Scale {
    /// Reads an answer to `RCCO`: `sampling;channel,gain,offset,unit,type,id;`, the last part as often
    /// as there are channels. `None` when it has another form.
    pub(super) fn read_all(text: &str) -> Option<Vec<(u16, Option<Self>)>> {
        let mut parts = text.split(';');
        let sampling = parts.next()?.trim().parse().ok()?;
        let parts: Vec<&str> = parts.filter(|part| !part.trim().is_empty()).collect();
        if parts.is_empty() {
            return None;
        }
        parts.into_iter().map(|part| Self::read(part, sampling)).collect()
    }

    fn read(part: &str, sampling: u32) -> Option<(u16, Option<Self>)> {
        let fields: Vec<&str> = part.split(',').map(str::trim).collect();
        let [channel, gain, offset, unit, ..] = fields.as_slice() else { return None };
        let number = channel.parse().ok()?;
        // A channel with a gain or a unit that cannot be read gives no values; the others do.
        let scale = || {
            let gain = number_of(gain, Decimal::new(1, 0))?;
            let offset = number_of(offset, Decimal::new(0, 0))?;
            (gain.mantissa != 0).then_some(Self { gain, offset, unit: unit_of(unit)?, sampling })
        };
        Some((number, scale()))
    }

    fn mantissa(&self, raw: i64) -> (i128, i8) {
        let exponent = self.gain.exponent.min(self.offset.exponent);
        let raised = |value: Decimal| {
            let places = u32::from(value.exponent.abs_diff(exponent));
            i128::from(value.mantissa).saturating_mul(10i128.saturating_pow(places))
        };
        let product = i128::from(raw).saturating_mul(raised(self.gain));
        // An offset of nothing must not add digits that the gain does not have.
        (product.saturating_sub(raised(self.offset)), exponent)
    }

    /// The value of a raw number.
    pub(super) fn value(&self, raw: i64) -> Value {
        let (mantissa, exponent) = self.mantissa(raw);
        i64::try_from(mantissa).map_or(Value::Absent(Absent::Error), |mantissa| {
            Value::Decimal(Decimal::new(mantissa, exponent))
        })
    }

    /// Samples as 16-bit numbers with the finest power of ten on which all have room.
    pub(super) fn samples(&self, raws: &[Option<u16>]) -> Scaled {
        let mantissas: Vec<Option<i128>> =
            raws.iter().map(|raw| raw.map(|raw| self.mantissa(i64::from(raw)).0)).collect();
        Scaled { exponent: self.mantissa(0).1, mantissas }
    }
}

impl Scaled {
    /// The exponent and the samples; what the ventilator did not have is `missing`.
    pub(super) fn into_narrow(mut self, missing: i16) -> (i8, Vec<i16>) {
        let has_room = |value: i128| value.abs() <= i128::from(i16::MAX);
        while !self.mantissas.iter().flatten().copied().all(has_room) {
            self.exponent = self.exponent.saturating_add(1);
            for mantissa in self.mantissas.iter_mut().flatten() {
                // To the nearest, halves away from zero.
                *mantissa = (*mantissa + 5 * mantissa.signum()) / 10;
            }
        }
        let narrow = |value: Option<i128>| value.and_then(|value| i16::try_from(value).ok());
        (self.exponent, self.mantissas.into_iter().map(|value| narrow(value).unwrap_or(missing)).collect())
    }
}

/// A number as `RCCO` writes it: `+1000E-004`. Dashes stand for nothing said. `None`: not a number.
fn number_of(field: &str, unsaid: Decimal) -> Option<Decimal> {
    if field.is_empty() || field.contains("--") {
        return Some(unsaid);
    }
    let (digits, power) = match field.find(['E', 'e']) {
        Some(at) => (field.get(..at)?, field.get(at..)?.get(1..)?.parse::<i8>().ok()?),
        None => (field, 0),
    };
    let mut number: Decimal = digits.parse().ok()?;
    if number.mantissa == 0 {
        return Some(Decimal::new(0, 0));
    }
    // 1000 x 10^-4 is how the interface writes 0.1: the zeros are no precision.
    number = number.shifted(power)?;
    while number.mantissa % 10 == 0 {
        number = Decimal::new(number.mantissa / 10, number.exponent.checked_add(1)?);
    }
    // A gain of a hundred has no decimals, but its zeros are digits.
    while number.exponent > 0 {
        number = Decimal::new(number.mantissa.checked_mul(10)?, number.exponent - 1);
    }
    let is_sound = number.exponent >= -9 && number.mantissa.unsigned_abs() <= 1_000_000_000;
    is_sound.then_some(number)
}

/// The unit behind a number of `RCCO` (servoscreen `source/ciedriver.py`, after the manual's table).
fn unit_of(field: &str) -> Option<&'static Unit> {
    if field.is_empty() || field.contains("--") {
        return Some(&mdc::DIMENSIONLESS);
    }
    Some(match field.parse::<u8>().ok()? {
        1 => &mdc::MILLILITRE,
        2 => &mdc::MILLILITRE_PER_SECOND,
        3 => &mdc::MILLILITRE_PER_MINUTE,
        4 => &mdc::CMH2O,
        5 => &mdc::MILLILITRE_PER_CMH2O,
        6 => &mdc::RESP_PER_MINUTE,
        7 => &mdc::PERCENT,
        8 => &mdc::LITRE_PER_MINUTE,
        9 => &mdc::CMH2O_PER_LITRE_PER_SECOND,
        10 => &mdc::MMHG,
        11 => &mdc::KILOPASCAL,
        12 => &mdc::MILLIBAR,
        13 => &mdc::MILLIVOLT,
        14 => &mdc::SECOND,
        15 => &mdc::LITRE_PER_SECOND,
        16 => &mdc::CMH2O_PER_LITRE,
        17 => &mdc::LITRE,
        18 => &mdc::JOULE_PER_LITRE,
        19 => &mdc::MICROVOLT,
        20 => &mdc::DIMENSIONLESS,
        21 => &mdc::CMH2O_PER_MICROVOLT,
        22 => &mdc::PER_MINUTE_PER_LITRE,
        23 => &mdc::MINUTE,
        _ => return None,
    })
}

/// What a curve is of: its unit says it.
pub(super) fn curve_metric(unit: &'static Unit) -> &'static Metric {
    let is_one_of = |units: &[&Unit]| units.contains(&unit);
    if is_one_of(&[
        &mdc::MILLILITRE_PER_SECOND,
        &mdc::LITRE_PER_SECOND,
        &mdc::LITRE_PER_MINUTE,
        &mdc::MILLILITRE_PER_MINUTE,
    ]) {
        &mdc::FLOW_AWAY
    } else if is_one_of(&[&mdc::CMH2O, &mdc::MILLIBAR]) {
        &mdc::PRESS_AWAY
    } else {
        &CURVE_OTHER
    }
}

/// What a channel tells, and of what kind it is.
pub(super) fn metric_of(number: u16) -> Option<(&'static Metric, Kind)> {
    let of = |rows: &'static [Channel]| rows.iter().find(|row| row.number == number).map(|row| row.metric);
    of(&BREATH)
        .map(|metric| (metric, Kind::Measurement))
        .or_else(|| of(&SETTINGS).map(|metric| (metric, Kind::Setting)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale(part: &str) -> Scale {
        Scale::read_all(&format!("020;{part};")).unwrap().remove(0).1.unwrap()
    }

    fn shown(value: &Value) -> String {
        let Value::Decimal(value) = value else { panic!("{value:?}") };
        value.to_string()
    }

    #[test]
    fn values_have_the_precision_of_their_gain() {
        for (gain, offset, raw, value) in [
            ("+1000E-004", "+0000E+000", 208, "20.8"),
            ("+1000E-005", "+0000E+000", 650, "6.50"),
            ("+1000E-003", "+0000E+000", 480, "480"),
            ("+1000E+000", "+0000E+000", 2, "2000"),
            ("+2713E-004", "+3333E+000", 12_288, "0.7344"),
            ("--", "--", 7, "7"),
            ("0.1", "5", 100, "5.0"),
        ] {
            let scale = scale(&format!("200,{gain},{offset},04,BT,x"));
            assert_eq!(shown(&scale.value(raw)), value, "{gain} {offset}");
        }
    }

    #[test]
    fn samples_are_as_fine_as_sixteen_bits_allow() {
        let flow = scale("100,+2713E-004,+3333E+000,02,CU,x");
        let (exponent, samples) = flow.samples(&[Some(12_288), None, Some(0)]).into_narrow(i16::MIN);
        assert_eq!((exponent, samples), (0, vec![1, i16::MIN, -3333]));
        let (exponent, samples) = flow.samples(&[Some(12_288), Some(12_300)]).into_narrow(i16::MIN);
        assert_eq!((exponent, samples), (-3, vec![734, 3990]));
    }

    #[test]
    fn what_cannot_be_read_gives_no_scale() {
        let read = |text| Scale::read_all(text);
        assert_eq!(read("020;200,x,+0000E+000,04,BT,x;"), Some(vec![(200, None)]));
        assert_eq!(read("020;200,+1000E-004,+0000E+000,99,BT,x;"), Some(vec![(200, None)]));
        assert_eq!(read("020;200,+0000E-004,+0000E+000,04,BT,x;"), Some(vec![(200, None)]));
        assert_eq!(read("020;200,+1000E-099,+0000E+000,04,BT,x;"), Some(vec![(200, None)]));
        for text in ["", "020", "020;", "x;200,1,0,04,BT,x;", "020;200,1;", "012300450123"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_table_has_room_in_a_definition_and_no_channel_twice() {
        let numbers: Vec<u16> = BREATH.iter().chain(&SETTINGS).map(|row| row.number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next));
        assert!(BREATH.len() <= 50 && SETTINGS.len() <= 75);
        assert_eq!(metric_of(204), Some((&mdc::VENT_VOL_MINUTE_EXP, Kind::Measurement)));
        assert_eq!(metric_of(400), None);
    }
}
