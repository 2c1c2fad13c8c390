//! What is read of the ventilator, channel by channel, and how its numbers become values.
//!
//! The numbers of the channels are fixed (CIE manual 65 43 388, channel tables); what a number is
//! worth is not: gain, offset and unit differ between protocol versions (the expired minute volume
//! has a gain of 0.1 up to 004 and 0.01 in 005). So they are always what the ventilator itself says
//! in its answer to `RCCO`, and a channel of which it has said nothing gives no value.

use super::codes;
use crate::device::decimal::Decimal;
use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, Unit};
use crate::device::observation::{Absent, Kind, Value};

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
    row(202, &codes::TIDAL_INSP),
    row(203, &mdc::VENT_VOL_MINUTE_INSP),
    row(204, &mdc::VENT_VOL_MINUTE_EXP),
    row(205, &mdc::VENT_PRESS_AWAY_MAX),
    row(206, &mdc::VENT_PRESS_AWAY_MEAN),
    row(207, &mdc::VENT_PRESS_RESP_PLAT),
    row(208, &mdc::VENT_PRESS_AWAY_END_EXP_POS),
    row(209, &mdc::CONC_AWAY_O2_INSP),
    row(210, &codes::BAROMETER),
    row(225, &mdc::CONC_AWAY_CO2_ET),
    row(231, &codes::RESISTANCE_231),
    row(232, &mdc::COMPL_LUNG_STATIC),
    row(236, &codes::RESISTANCE_236),
    row(238, &mdc::RATIO_IE),
    row(241, &mdc::COMPL_LUNG_DYNAMIC),
    row(242, &codes::LEAKAGE),
    row(245, &mdc::PRESS_AWAY_END_EXP_POS_TOTAL),
    row(247, &codes::RATE_SPONT),
    row(248, &codes::MINUTE_SPONT),
    row(254, &codes::P01),
    row(255, &codes::EDI_255),
    row(256, &codes::EDI_256),
    row(260, &mdc::CONC_AWAY_CO2_ET),
    row(261, &codes::STRESS_INDEX),
];

/// What is set.
pub(super) static SETTINGS: [Channel; 20] = [
    row(300, &codes::SET_RATE),
    row(305, &codes::SET_MINUTE),
    row(306, &codes::SET_PC),
    row(307, &codes::SET_PS),
    row(308, &codes::SET_PEEP),
    row(309, &codes::PATIENT_RANGE),
    row(MODE, &mdc::VENT_MODE),
    row(322, &codes::MUTE),
    row(323, &codes::SET_O2),
    row(333, &codes::SET_IE),
    row(334, &codes::SET_TIDAL),
    row(353, &codes::LIMIT_353),
    row(354, &codes::LIMIT_354),
    row(355, &codes::LIMIT_355),
    row(356, &codes::LIMIT_356),
    row(357, &codes::LIMIT_357),
    row(358, &codes::LIMIT_358),
    row(359, &codes::LIMIT_359),
    row(364, &codes::LIMIT_MV_364),
    row(365, &codes::LIMIT_MV_365),
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
    /// The time from one sample to the next of a curve, in the ventilator's own unit; 0 when unsaid.
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
        let sampling = parts.next()?.trim();
        // Only a curve has to have one.
        let sampling =
            if sampling.is_empty() || sampling.contains("--") { 0 } else { sampling.parse().ok()? };
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
        i64::try_from(mantissa)
            .map_or(Value::Absent(Absent::Error), |mantissa| Value::Decimal(Decimal::new(mantissa, exponent)))
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
        &codes::CURVE_OTHER
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
    fn a_channel_without_a_sampling_time_has_its_scale() {
        let all = Scale::read_all("---;200,+1000E-004,+0000E+000,06,BT,x;").unwrap();
        assert_eq!(all[0].1.as_ref().map(|scale| scale.sampling), Some(0));
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
