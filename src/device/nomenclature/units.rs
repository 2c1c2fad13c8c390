//! Units of measurement that more than one driver knows.

use super::rows;

rows! { Unit UNITS:
    /// A plain number, a word or a set of bits.
    DIMENSIONLESS = { code: 0, ucum: "1", symbol: "" };
    /// `MDC_DIM_PERCENT`.
    PERCENT = { code: 262_688, ucum: "%", symbol: "%" };
    /// `MDC_DIM_BEAT_PER_MIN`.
    PER_MINUTE = { code: 264_864, ucum: "/min", symbol: "/min" };
    /// `MDC_DIM_MILLI_SEC`.
    MILLISECOND = { code: 264_338, ucum: "ms", symbol: "ms" };
    /// `MDC_DIM_SEC`.
    SECOND = { code: 264_320, ucum: "s", symbol: "s" };
    /// `MDC_DIM_MILLI_L`.
    MILLILITRE = { code: 263_762, ucum: "mL", symbol: "mL" };
    /// `MDC_DIM_MILLI_L_PER_HR`.
    MILLILITRE_PER_HOUR = { code: 265_266, ucum: "mL/h", symbol: "mL/h" };
    /// `MDC_DIM_MMHG`.
    MMHG = { code: 266_016, ucum: "mm[Hg]", symbol: "mmHg" };
    /// `MDC_DIM_KILO_PASCAL`.
    KILOPASCAL = { code: 265_987, ucum: "kPa", symbol: "kPa" };
    /// `MDC_DIM_JOULES` (`4::3968`) with the prefix kilo.
    KILOJOULE = { code: 266_115, ucum: "kJ", symbol: "kJ" };
    /// `MDC_DIM_MILLI_BAR`.
    MILLIBAR = { code: 266_098, ucum: "mbar", symbol: "mbar" };
    // glucose: the gram with the prefix of a thousandth.
    /// `MDC_DIM_MILLI_G`.
    MILLIGRAM = { code: 263_890, ucum: "mg", symbol: "mg" };
    // astm-lis.
    /// `MDC_DIM_MILLI_G_PER_DL`.
    MILLIGRAM_PER_DECILITRE = { code: 264_274, ucum: "mg/dL", symbol: "mg/dL" };
    /// `MDC_DIM_MILLI_MOLE_PER_L`.
    MILLIMOLE_PER_LITRE = { code: 266_866, ucum: "mmol/L", symbol: "mmol/L" };
    // draeger-medibus.
    /// `MDC_DIM_X_L`.
    LITRE = { code: 263_744, ucum: "L", symbol: "L" };
    /// `MDC_DIM_X_L_PER_MIN`.
    LITRE_PER_MINUTE = { code: 265_216, ucum: "L/min", symbol: "L/min" };
    /// `MDC_DIM_MILLI_L_PER_MIN`.
    MILLILITRE_PER_MINUTE = { code: 265_234, ucum: "mL/min", symbol: "mL/min" };
    /// `MDC_DIM_X_L_PER_SEC`.
    LITRE_PER_SECOND = { code: 265_184, ucum: "L/s", symbol: "L/s" };
    /// `MDC_DIM_MILLI_L_PER_SEC`.
    MILLILITRE_PER_SECOND = { code: 265_202, ucum: "mL/s", symbol: "mL/s" };
    /// `MDC_DIM_MILLI_L_PER_KG`.
    MILLILITRE_PER_KILOGRAM = { code: 265_330, ucum: "mL/kg", symbol: "mL/kg" };
    /// `MDC_DIM_MILLI_L_PER_M_SQ`.
    MILLILITRE_PER_M2 = { code: 263_570, ucum: "mL/m2", symbol: "mL/m²" };
    /// `MDC_DIM_X_L_PER_MIN_PER_M_SQ`.
    LITRE_PER_MINUTE_PER_SQUARE_METRE = { code: 264_992, ucum: "L/min/m2", symbol: "L/min/m²" };
    /// `MDC_DIM_KILO_G`.
    KILOGRAM = { code: 263_875, ucum: "kg", symbol: "kg" };
    /// `MDC_DIM_DEGC`.
    DEGREE_CELSIUS = { code: 268_192, ucum: "Cel", symbol: "°C" };
    /// `MDC_DIM_MIN`.
    MINUTE = { code: 264_352, ucum: "min", symbol: "min" };
    /// `MDC_DIM_HZ`.
    HERTZ = { code: 264_640, ucum: "Hz", symbol: "Hz" };
    /// `MDC_DIM_MILLI_M`.
    MILLIMETRE = { code: 263_442, ucum: "mm", symbol: "mm" };
    /// `MDC_DIM_DECIBEL`.
    DECIBEL = { code: 268_576, ucum: "dB", symbol: "dB" };
    /// `MDC_DIM_X_G_M_PER_M_SQ`.
    GRAM_METRE_PER_M2 = { code: 264_032, ucum: "g.m/m2", symbol: "g·m/m²" };
    /// `MDC_DIM_X_DYNE_PER_SEC_PER_CM5`.
    DYNE_SECOND_PER_CM5 = { code: 266_272, ucum: "dyn.s/cm5", symbol: "dyn·s/cm⁵" };
    /// No code in the standard that is known here: a private one.
    LITRE_PER_BAR = { code: 67_110_880, ucum: "L/bar", symbol: "L/bar" };
    /// No code in the standard that is known here: a private one.
    MILLIBAR_PER_LITRE_PER_SECOND = { code: 67_110_881, ucum: "mbar.s/L", symbol: "mbar/(L/s)" };
    /// No code in the standard that is known here: a private one.
    MILLIBAR_PER_LITRE = { code: 67_110_882, ucum: "mbar/L", symbol: "mbar/L" };
    /// No code in the standard that is known here: a private one.
    MILLIBAR_PER_SECOND = { code: 67_110_883, ucum: "mbar/s", symbol: "mbar/s" };
    /// No code in the standard that is known here: a private one.
    MMHG_PER_LITRE = { code: 67_110_884, ucum: "mm[Hg]/L", symbol: "mmHg/L" };
    /// No code in the standard that is known here: a private one.
    KILOPASCAL_PER_LITRE = { code: 67_110_885, ucum: "kPa/L", symbol: "kPa/L" };
    /// No code in the standard that is known here: a private one.
    PERCENT_PER_LITRE = { code: 67_110_886, ucum: "%/L", symbol: "%/L" };
    /// No code in the standard that is known here: a private one.
    PER_MINUTE_PER_LITRE = { code: 67_111_156, ucum: "/min/L", symbol: "/(min·L)" };
    /// No code in the standard that is known here: a private one.
    PER_MINUTE_PER_MILLILITRE = { code: 67_110_888, ucum: "/min/mL", symbol: "1/(min·mL)" };
    /// No code in the standard that is known here: a private one.
    TEN_MILLILITRE_PER_MINUTE = { code: 67_110_889, ucum: "10.mL/min", symbol: "10 mL/min" };
    /// No code in the standard that is known here: a private one.
    TEN_SQUARE_MILLILITRE_PER_SECOND = { code: 67_110_890, ucum: "10.mL2/s", symbol: "10 mL²/s" };
    /// `MDC_DIM_CM_H2O`.
    CMH2O = { code: 266_048, ucum: "cm[H2O]", symbol: "cmH2O" };
    /// `MDC_DIM_RESP_PER_MIN`.
    RESP_PER_MINUTE = { code: 264_928, ucum: "/min", symbol: "/min" };
    // Devices that the site describes.
    /// `MDC_DIM_MILLI_L_PER_CM_H2O` (`4::5906`, after mdrepo's ventilator drivers).
    MILLILITRE_PER_CMH2O = { code: 268_050, ucum: "mL/cm[H2O]", symbol: "mL/cmH2O" };
    /// `MDC_DIM_CM_H2O_PER_L_PER_SEC` (`4::5920`, after mdrepo's ventilator drivers).
    CMH2O_PER_LITRE_PER_SECOND = { code: 268_064, ucum: "cm[H2O]/(L/s)", symbol: "cmH2O/(L/s)" };
    /// `MDC_DIM_MILLI_VOLT`.
    MILLIVOLT = { code: 266_418, ucum: "mV", symbol: "mV" };
    /// `MDC_DIM_MICRO_VOLT`.
    MICROVOLT = { code: 266_419, ucum: "uV", symbol: "µV" };
    /// Elastance.
    CMH2O_PER_LITRE = { code: 67_111_153, ucum: "cm[H2O]/L", symbol: "cmH2O/L" };
    /// Work of breathing.
    JOULE_PER_LITRE = { code: 67_111_154, ucum: "J/L", symbol: "J/L" };
    /// Neuro-mechanical efficiency.
    CMH2O_PER_MICROVOLT = { code: 67_111_155, ucum: "cm[H2O]/uV", symbol: "cmH2O/µV" };
    /// `MDC_DIM_PER_MIN`.
    EVENTS_PER_MINUTE = { code: 264_672, ucum: "/min", symbol: "/min" };
    /// `MDC_DIM_FAHR`.
    FAHRENHEIT = { code: 266_560, ucum: "[degF]", symbol: "°F" };
    /// `MDC_DIM_HR`.
    HOUR = { code: 264_384, ucum: "h", symbol: "h" };
    /// No code in the standard that is known here: a private one.
    MILLIGRAM_PER_DECILITRE_PER_MINUTE = { code: 67_114_049, ucum: "mg/dL/min", symbol: "mg/dL/min" };
    /// `MDC_DIM_X_G`.
    GRAM = { code: 263_872, ucum: "g", symbol: "g" };
    // Personal health devices.
    /// `MDC_DIM_LB`.
    POUND = { code: 263_904, ucum: "[lb_av]", symbol: "lb" };
    /// `MDC_DIM_X_M`.
    METRE = { code: 263_424, ucum: "m", symbol: "m" };
    // BLE profiles.
    /// `MDC_DIM_CENTI_M`.
    CENTIMETRE = { code: 263_441, ucum: "cm", symbol: "cm" };
    /// `MDC_DIM_INCH`.
    INCH = { code: 263_520, ucum: "[in_i]", symbol: "in" };
    /// `MDC_DIM_KG_PER_M_SQ`.
    KILOGRAM_PER_M2 = { code: 264_096, ucum: "kg/m2", symbol: "kg/m²" };
    /// `MDC_DIM_INTL_UNIT`.
    INTERNATIONAL_UNIT = { code: 267_616, ucum: "[iU]", symbol: "IU" };
    /// `MDC_DIM_INTL_UNIT_PER_HR`.
    INTERNATIONAL_UNIT_PER_HOUR = { code: 267_840, ucum: "[iU]/h", symbol: "IU/h" };
    /// `MDC_DIM_PASCAL` (`4::3840`): the kilopascal without its prefix.
    PASCAL = { code: 265_984, ucum: "Pa", symbol: "Pa" };
    /// No code in the standard that is known here: a private one.
    PART_PER_BILLION = { code: 67_113_698, ucum: "[ppb]", symbol: "ppb" };
    /// No code in the standard that is known here: a private one.
    KILOGRAM_PER_M3 = { code: 67_113_697, ucum: "kg/m3", symbol: "kg/m³" };
    // insulin-delivery.
    /// `4::5600`.
    INTL_UNIT_PER_MILLILITRE = { code: 267_744, ucum: "[iU]/mL", symbol: "IU/mL" };
}
