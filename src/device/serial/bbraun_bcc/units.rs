//! The units of BCC: the numbers that stand in `INDCONU` and `INDORTU`.
//!
//! The numbers and what they stand for: `Models/BBraunUnitMap.cs` of
//! mindleaving/patient-monitor-datalogger. Three of them (91 to 93) all read "g(CH)" there. Where
//! ISO/IEEE 11073-10101 has a code that is known here, it is given; the others have a private one of
//! ours, `0x0400_0300` plus the number. Every one has a UCUM code; those that are no unit of a
//! quantity (a clock's format, a formula for the body's surface) have an annotation in braces, which
//! in UCUM stands for a plain number.

use crate::device::nomenclature::Unit;

/// Where the private codes of units begin.
const PRIVATE: u32 = 0x0400_0300;
/// Partition 4 of 11073.
const DIMENSIONS: u32 = 4 << 16;

/// The unit of a number.
pub(super) fn unit_of(number: &str) -> Option<&'static Unit> {
    let place = number.parse::<usize>().ok()?.checked_sub(1)?;
    UNITS.get(place)
}

/// The unit of a private code.
pub(in super::super) fn units() -> &'static [Unit] {
    &UNITS
}

/// The number is not needed here (it is the place), only shown.
const fn unit(number: u32, mdc: u32, ucum: &'static str, symbol: &'static str) -> Unit {
    let code = if mdc == 0 { PRIVATE + number } else { DIMENSIONS + mdc };
    Unit { code, ucum, symbol }
}

#[rustfmt::skip]
static UNITS: [Unit; 156] = [
    unit(1, 3122, "mL/h", "mL/h"),
    unit(2, 1618, "mL", "mL"),
    unit(3, 0, "{hh:mm}", "hh:mm"),
    unit(4, 0, "{min:sec}", "min:sec"),
    unit(5, 0, "a", "years"),
    unit(6, 1298, "mm", "mm"),
    unit(7, 0, "nL", "nL"),
    unit(8, 0, "deg", "°"),
    unit(9, 0, "N", "N"),
    unit(10, 3954, "mbar", "mbar"),
    unit(11, 0, "mm2", "mm²"),
    unit(12, 0, "mA", "mA"),
    unit(13, 2194, "ms", "ms"),
    unit(14, 0, "{unixtime}", "Unix time"),
    unit(15, 544, "%", "%"),
    unit(16, 0, "mV", "mV"),
    unit(17, 6048, "Cel", "°C"),
    unit(18, 0, "mA.h", "mAh"),
    unit(19, 1280, "m", "m"),
    unit(20, 0, "{BMI DuBois}", "BMI (DuBois)"),
    unit(21, 0, "{BMI Boyd}", "BMI (Boyd)"),
    unit(22, 1731, "kg", "kg"),
    unit(23, 1748, "ng", "ng"),
    unit(24, 1746, "mg", "mg"),
    unit(25, 1747, "ug", "µg"),
    unit(26, 1728, "g", "g"),
    unit(27, 0, "mmol", "mmol"),
    unit(28, 0, "meq", "mEq"),
    unit(29, 0, "[iU]", "IU"),
    unit(30, 2164, "ng/mL", "ng/mL"),
    unit(31, 2162, "mg/mL", "mg/mL"),
    unit(32, 2163, "ug/mL", "µg/mL"),
    unit(33, 2144, "g/mL", "g/mL"),
    unit(34, 0, "mmol/mL", "mmol/mL"),
    unit(35, 0, "meq/mL", "mEq/mL"),
    unit(36, 5600, "[iU]/mL", "IU/mL"),
    unit(37, 0, "ng/kg", "ng/kg"),
    unit(38, 0, "mg/kg", "mg/kg"),
    unit(39, 0, "ug/kg", "µg/kg"),
    unit(40, 0, "g/kg", "g/kg"),
    unit(41, 0, "mmol/kg", "mmol/kg"),
    unit(42, 0, "meq/kg", "mEq/kg"),
    unit(43, 0, "[iU]/kg", "IU/kg"),
    unit(44, 3348, "ng/min", "ng/min"),
    unit(45, 3380, "ng/h", "ng/h"),
    unit(46, 0, "ng/d", "ng/d"),
    unit(47, 3346, "mg/min", "mg/min"),
    unit(48, 3378, "mg/h", "mg/h"),
    unit(49, 0, "mg/d", "mg/d"),
    unit(50, 3347, "ug/min", "µg/min"),
    unit(51, 3379, "ug/h", "µg/h"),
    unit(52, 0, "ug/d", "µg/d"),
    unit(53, 3328, "g/min", "g/min"),
    unit(54, 3360, "g/h", "g/h"),
    unit(55, 0, "g/d", "g/d"),
    unit(56, 0, "mmol/min", "mmol/min"),
    unit(57, 0, "mmol/h", "mmol/h"),
    unit(58, 0, "mmol/d", "mmol/d"),
    unit(59, 0, "meq/min", "mEq/min"),
    unit(60, 0, "meq/h", "mEq/h"),
    unit(61, 0, "meq/d", "mEq/d"),
    unit(62, 0, "[iU]/min", "IU/min"),
    unit(63, 5696, "[iU]/h", "IU/h"),
    unit(64, 0, "[iU]/d", "IU/d"),
    unit(65, 3476, "ng/kg/min", "ng/kg/min"),
    unit(66, 3508, "ng/kg/h", "ng/kg/h"),
    unit(67, 0, "ng/kg/d", "ng/kg/d"),
    unit(68, 3474, "mg/kg/min", "mg/kg/min"),
    unit(69, 3506, "mg/kg/h", "mg/kg/h"),
    unit(70, 0, "mg/kg/d", "mg/kg/d"),
    unit(71, 3475, "ug/kg/min", "µg/kg/min"),
    unit(72, 3507, "ug/kg/h", "µg/kg/h"),
    unit(73, 0, "ug/kg/d", "µg/kg/d"),
    unit(74, 3456, "g/kg/min", "g/kg/min"),
    unit(75, 3488, "g/kg/h", "g/kg/h"),
    unit(76, 0, "g/kg/d", "g/kg/d"),
    unit(77, 0, "mmol/kg/min", "mmol/kg/min"),
    unit(78, 0, "mmol/kg/h", "mmol/kg/h"),
    unit(79, 0, "mmol/kg/d", "mmol/kg/d"),
    unit(80, 0, "meq/kg/min", "mEq/kg/min"),
    unit(81, 0, "meq/kg/h", "mEq/kg/h"),
    unit(82, 0, "meq/kg/d", "mEq/kg/d"),
    unit(83, 0, "[iU]/kg/min", "IU/kg/min"),
    unit(84, 0, "[iU]/kg/h", "IU/kg/h"),
    unit(85, 0, "[iU]/kg/d", "IU/kg/d"),
    unit(86, 3872, "mm[Hg]", "mmHg"),
    unit(87, 3843, "kPa", "kPa"),
    unit(88, 0, "[lb_av]", "lb"),
    unit(89, 4722, "mmol/L", "mmol/L"),
    unit(90, 2130, "mg/dL", "mg/dL"),
    unit(91, 0, "g{CH}", "g(CH)"),
    unit(92, 0, "g{CH}", "g(CH)"),
    unit(93, 0, "g{CH}", "g(CH)"),
    unit(94, 2240, "h", "h"),
    unit(95, 1297, "cm", "cm"),
    unit(96, 1376, "[in_i]", "in"),
    unit(97, 0, "ng/m2", "ng/m²"),
    unit(98, 0, "ng/m2/min", "ng/m²/min"),
    unit(99, 0, "ng/m2/h", "ng/m²/h"),
    unit(100, 0, "ng/m2/d", "ng/m²/d"),
    unit(101, 0, "ug/m2", "µg/m²"),
    unit(102, 0, "ug/m2/min", "µg/m²/min"),
    unit(103, 0, "ug/m2/h", "µg/m²/h"),
    unit(104, 0, "ug/m2/d", "µg/m²/d"),
    unit(105, 0, "mg/m2", "mg/m²"),
    unit(106, 0, "mg/m2/min", "mg/m²/min"),
    unit(107, 0, "mg/m2/h", "mg/m²/h"),
    unit(108, 0, "mg/m2/d", "mg/m²/d"),
    unit(109, 0, "g/m2", "g/m²"),
    unit(110, 0, "g/m2/min", "g/m²/min"),
    unit(111, 0, "g/m2/h", "g/m²/h"),
    unit(112, 0, "g/m2/d", "g/m²/d"),
    unit(113, 0, "[iU]/m2", "IU/m²"),
    unit(114, 0, "[iU]/m2/min", "IU/m²/min"),
    unit(115, 0, "[iU]/m2/h", "IU/m²/h"),
    unit(116, 0, "[iU]/m2/d", "IU/m²/d"),
    unit(117, 0, "m[iU]", "mIU"),
    unit(118, 0, "m[iU]/mL", "mIU/mL"),
    unit(119, 0, "m[iU]/kg", "mIU/kg"),
    unit(120, 0, "m[iU]/m2", "mIU/m²"),
    unit(121, 0, "m[iU]/min", "mIU/min"),
    unit(122, 0, "m[iU]/h", "mIU/h"),
    unit(123, 0, "m[iU]/d", "mIU/d"),
    unit(124, 0, "m[iU]/kg/min", "mIU/kg/min"),
    unit(125, 0, "m[iU]/kg/h", "mIU/kg/h"),
    unit(126, 0, "m[iU]/kg/d", "mIU/kg/d"),
    unit(127, 0, "m[iU]/m2/min", "mIU/m²/min"),
    unit(128, 0, "m[iU]/m2/h", "mIU/m²/h"),
    unit(129, 0, "m[iU]/m2/d", "mIU/m²/d"),
    unit(130, 0, "k[iU]", "kIU"),
    unit(131, 0, "k[iU]/mL", "kIU/mL"),
    unit(132, 0, "k[iU]/kg", "kIU/kg"),
    unit(133, 0, "k[iU]/h", "kIU/h"),
    unit(134, 0, "k[iU]/d", "kIU/d"),
    unit(135, 0, "k[iU]/kg/h", "kIU/kg/h"),
    unit(136, 0, "k[iU]/kg/d", "kIU/kg/d"),
    unit(137, 0, "M[iU]", "MIU"),
    unit(138, 0, "M[iU]/mL", "MIU/mL"),
    unit(139, 0, "M[iU]/kg", "MIU/kg"),
    unit(140, 0, "M[iU]/h", "MIU/h"),
    unit(141, 0, "M[iU]/d", "MIU/d"),
    unit(142, 0, "M[iU]/kg/h", "MIU/kg/h"),
    unit(143, 0, "M[iU]/kg/d", "MIU/kg/d"),
    unit(144, 0, "meq/m2", "mEq/m²"),
    unit(145, 0, "meq/m2/min", "mEq/m²/min"),
    unit(146, 0, "meq/m2/h", "mEq/m²/h"),
    unit(147, 0, "meq/m2/d", "mEq/m²/d"),
    unit(148, 0, "kcal", "kcal"),
    unit(149, 0, "kcal/kg", "kcal/kg"),
    unit(150, 0, "kcal/mL", "kcal/mL"),
    unit(151, 0, "kcal/d", "kcal/d"),
    unit(152, 0, "kcal/kg/d", "kcal/kg/d"),
    unit(153, 0, "mL/kg", "mL/kg"),
    unit(154, 0, "mL/mL", "mL/mL"),
    unit(155, 0, "mL/kg/h", "mL/kg/h"),
    unit(156, 0, "Mbit/s", "Mbit/s"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::nomenclature;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_has_a_unit_that_a_record_can_hold() {
        for number in 1..=156 {
            let unit = unit_of(&number.to_string()).unwrap();
            assert_eq!(nomenclature::unit(unit.code), Some(unit), "{number}");
        }
        for wrong in ["0", "157", "", "-1", "1.0", "x", "99999999999999999999999"] {
            assert_eq!(unit_of(wrong), None, "{wrong}");
        }
        let codes: BTreeSet<u32> = UNITS.iter().map(|unit| unit.code).collect();
        assert_eq!(codes.len(), UNITS.len());
    }

    #[test]
    fn the_numbers_stand_for_what_the_facts_page_says() {
        for (number, ucum) in [
            ("1", "mL/h"),
            ("2", "mL"),
            ("10", "mbar"),
            ("15", "%"),
            ("22", "kg"),
            ("23", "ng"),
            ("24", "mg"),
            ("25", "ug"),
            ("26", "g"),
            ("29", "[iU]"),
            ("30", "ng/mL"),
            ("31", "mg/mL"),
            ("32", "ug/mL"),
            ("48", "mg/h"),
            ("50", "ug/min"),
            ("51", "ug/h"),
            ("63", "[iU]/h"),
            ("69", "mg/kg/h"),
            ("71", "ug/kg/min"),
            ("72", "ug/kg/h"),
            ("86", "mm[Hg]"),
            ("89", "mmol/L"),
            ("155", "mL/kg/h"),
            ("49", "mg/d"),
            ("85", "[iU]/kg/d"),
            ("101", "ug/m2"),
            ("116", "[iU]/m2/d"),
            ("126", "m[iU]/kg/d"),
            ("130", "k[iU]"),
            ("143", "M[iU]/kg/d"),
            ("147", "meq/m2/d"),
            ("152", "kcal/kg/d"),
            ("156", "Mbit/s"),
        ] {
            assert_eq!(unit_of(number).unwrap().ucum, ucum, "{number}");
        }
        assert_eq!(unit_of("71").unwrap().code, 265_619);
        assert_eq!(unit_of("69").unwrap().code, 265_650);
        assert_eq!(unit_of("63").unwrap().code, 267_840);
        assert_eq!(unit_of("64").unwrap().code, 0x0400_0300 + 64);
    }
}
