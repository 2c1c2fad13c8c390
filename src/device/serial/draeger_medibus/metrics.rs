//! The private codes of what MEDIBUS devices report and no standard code says, and all that the driver
//! reads. A code once given stays: new ones go to the end.

#![expect(dead_code, unreachable_pub, reason = "the macro makes tables that are shared by all, too")]

use crate::device::nomenclature as mdc;
use crate::device::nomenclature::{Metric, rows};

rows! { Metric CODES:
    AIR_CONSUMED = { code: 67_110_657, reference: "DRAEGER_AIR_CONSUMED", label: "air consumed in this case", loinc: None, plausible: None };
    N2O_CONSUMED = { code: 67_110_658, reference: "DRAEGER_N2O_CONSUMED", label: "N2O consumed in this case", loinc: None, plausible: None };
    O2_CONSUMED = { code: 67_110_659, reference: "DRAEGER_O2_CONSUMED", label: "O2 consumed in this case", loinc: None, plausible: None };
    COMPL_FRAC = { code: 67_110_660, reference: "DRAEGER_COMPL_FRAC", label: "compliance with decimals", loinc: None, plausible: None };
    MV_SPONT_EXP = { code: 67_110_661, reference: "DRAEGER_MV_SPONT_EXP", label: "spontaneous expiratory minute volume", loinc: None, plausible: None };
    RES_PATIENT = { code: 67_110_662, reference: "DRAEGER_RES_PATIENT", label: "patient airway resistance", loinc: None, plausible: None };
    MV_MAND_EXP = { code: 67_110_663, reference: "DRAEGER_MV_MAND_EXP", label: "mandatory expiratory minute volume", loinc: None, plausible: None };
    CO2_SLOPE = { code: 67_110_664, reference: "DRAEGER_CO2_SLOPE", label: "slope of CO2 in phase III", loinc: None, plausible: None };
    O2_SUPPLY_PRESS = { code: 67_110_665, reference: "DRAEGER_O2_SUPPLY_PRESS", label: "O2 central supply pressure", loinc: None, plausible: None };
    DEVICE_FLOW = { code: 67_110_666, reference: "DRAEGER_DEVICE_FLOW", label: "mean device flow", loinc: None, plausible: None };
    VT_MAND = { code: 67_110_667, reference: "DRAEGER_VT_MAND", label: "mandatory tidal volume", loinc: None, plausible: None };
    ST_I = { code: 67_110_668, reference: "DRAEGER_ST_I", label: "ST deviation in lead I", loinc: None, plausible: None };
    ST_II = { code: 67_110_669, reference: "DRAEGER_ST_II", label: "ST deviation in lead II", loinc: None, plausible: None };
    HALOTH_CONSUMED = { code: 67_110_670, reference: "DRAEGER_HALOTH_CONSUMED", label: "halothane consumed", loinc: None, plausible: None };
    ENFL_CONSUMED = { code: 67_110_671, reference: "DRAEGER_ENFL_CONSUMED", label: "enflurane consumed", loinc: None, plausible: None };
    ISOFL_CONSUMED = { code: 67_110_672, reference: "DRAEGER_ISOFL_CONSUMED", label: "isoflurane consumed", loinc: None, plausible: None };
    DESFL_CONSUMED = { code: 67_110_673, reference: "DRAEGER_DESFL_CONSUMED", label: "desflurane consumed", loinc: None, plausible: None };
    SEVOFL_CONSUMED = { code: 67_110_674, reference: "DRAEGER_SEVOFL_CONSUMED", label: "sevoflurane consumed", loinc: None, plausible: None };
    STROKE_INDEX = { code: 67_110_675, reference: "DRAEGER_STROKE_INDEX", label: "stroke index", loinc: None, plausible: None };
    LVSWI = { code: 67_110_676, reference: "DRAEGER_LVSWI", label: "left ventricular stroke work index", loinc: None, plausible: None };
    RVSWI = { code: 67_110_677, reference: "DRAEGER_RVSWI", label: "right ventricular stroke work index", loinc: None, plausible: None };
    GAS_CONSUMED = { code: 67_110_678, reference: "DRAEGER_GAS_CONSUMED", label: "gas consumed", loinc: None, plausible: None };
    CASE_TIME = { code: 67_110_679, reference: "DRAEGER_CASE_TIME", label: "duration of the therapy", loinc: None, plausible: None };
    CORRELATION = { code: 67_110_680, reference: "DRAEGER_CORRELATION", label: "correlation factor", loinc: None, plausible: None };
    LV_DIA = { code: 67_110_681, reference: "DRAEGER_LV_DIA", label: "left ventricular pressure, diastolic", loinc: None, plausible: None };
    LV_SYS = { code: 67_110_682, reference: "DRAEGER_LV_SYS", label: "left ventricular pressure, systolic", loinc: None, plausible: None };
    LV_MEAN = { code: 67_110_683, reference: "DRAEGER_LV_MEAN", label: "left ventricular pressure, mean", loinc: None, plausible: None };
    RV_DIA = { code: 67_110_684, reference: "DRAEGER_RV_DIA", label: "right ventricular pressure, diastolic", loinc: None, plausible: None };
    RV_SYS = { code: 67_110_685, reference: "DRAEGER_RV_SYS", label: "right ventricular pressure, systolic", loinc: None, plausible: None };
    RV_MEAN = { code: 67_110_686, reference: "DRAEGER_RV_MEAN", label: "right ventricular pressure, mean", loinc: None, plausible: None };
    GP1_DIA = { code: 67_110_687, reference: "DRAEGER_GP1_DIA", label: "pressure channel 1, diastolic", loinc: None, plausible: None };
    GP1_SYS = { code: 67_110_688, reference: "DRAEGER_GP1_SYS", label: "pressure channel 1, systolic", loinc: None, plausible: None };
    GP1_MEAN = { code: 67_110_689, reference: "DRAEGER_GP1_MEAN", label: "pressure channel 1, mean", loinc: None, plausible: None };
    GP2_DIA = { code: 67_110_690, reference: "DRAEGER_GP2_DIA", label: "pressure channel 2, diastolic", loinc: None, plausible: None };
    GP2_SYS = { code: 67_110_691, reference: "DRAEGER_GP2_SYS", label: "pressure channel 2, systolic", loinc: None, plausible: None };
    GP2_MEAN = { code: 67_110_692, reference: "DRAEGER_GP2_MEAN", label: "pressure channel 2, mean", loinc: None, plausible: None };
    COMPL_DYN_MEAN = { code: 67_110_693, reference: "DRAEGER_COMPL_DYN_MEAN", label: "mean dynamic compliance", loinc: None, plausible: None };
    ST_III = { code: 67_110_694, reference: "DRAEGER_ST_III", label: "ST deviation in lead III", loinc: None, plausible: None };
    ST_AVL = { code: 67_110_695, reference: "DRAEGER_ST_AVL", label: "ST deviation in lead aVL", loinc: None, plausible: None };
    ST_AVF = { code: 67_110_696, reference: "DRAEGER_ST_AVF", label: "ST deviation in lead aVF", loinc: None, plausible: None };
    ST_AVR = { code: 67_110_697, reference: "DRAEGER_ST_AVR", label: "ST deviation in lead aVR", loinc: None, plausible: None };
    ST_V = { code: 67_110_698, reference: "DRAEGER_ST_V", label: "ST deviation in lead V", loinc: None, plausible: None };
    ST_V_PLUS = { code: 67_110_699, reference: "DRAEGER_ST_V_PLUS", label: "ST deviation in lead V+", loinc: None, plausible: None };
    O2_UPTAKE = { code: 67_110_700, reference: "DRAEGER_O2_UPTAKE", label: "O2 uptake", loinc: None, plausible: None };
    TEMP_SKIN_PERIPHERAL = { code: 67_110_701, reference: "DRAEGER_TEMP_SKIN_PERIPHERAL", label: "peripheral skin temperature", loinc: None, plausible: None };
    TEMP_SKIN_CENTRAL = { code: 67_110_702, reference: "DRAEGER_TEMP_SKIN_CENTRAL", label: "central skin temperature", loinc: None, plausible: None };
    VT_SPONT_INSP = { code: 67_110_703, reference: "DRAEGER_VT_SPONT_INSP", label: "spontaneous inspiratory tidal volume", loinc: None, plausible: None };
    TIME_PLATEAU = { code: 67_110_704, reference: "DRAEGER_TIME_PLATEAU", label: "plateau time", loinc: None, plausible: None };
    TEMP_MATTRESS = { code: 67_110_705, reference: "DRAEGER_TEMP_MATTRESS", label: "mattress temperature", loinc: None, plausible: None };
    PRESS_AMBIENT = { code: 67_110_706, reference: "DRAEGER_PRESS_AMBIENT", label: "ambient pressure", loinc: None, plausible: None };
    HUMIDITY = { code: 67_110_707, reference: "DRAEGER_HUMIDITY", label: "relative humidity", loinc: None, plausible: None };
    TEMP_AIR = { code: 67_110_708, reference: "DRAEGER_TEMP_AIR", label: "air temperature", loinc: None, plausible: None };
    HEATER_RADIANT = { code: 67_110_709, reference: "DRAEGER_HEATER_RADIANT", label: "radiant warmer power", loinc: None, plausible: None };
    TIME_INSP_SPONT = { code: 67_110_710, reference: "DRAEGER_TIME_INSP_SPONT", label: "spontaneous inspiratory time", loinc: None, plausible: None };
    FLOW_INSP_PEAK = { code: 67_110_711, reference: "DRAEGER_FLOW_INSP_PEAK", label: "inspiratory peak flow", loinc: None, plausible: None };
    MV_SPONT_FRAC = { code: 67_110_712, reference: "DRAEGER_MV_SPONT_FRAC", label: "spontaneous minute volume with decimals", loinc: None, plausible: None };
    RR_MAND = { code: 67_110_713, reference: "DRAEGER_RR_MAND", label: "mandatory respiratory rate", loinc: None, plausible: None };
    VT_SPONT = { code: 67_110_714, reference: "DRAEGER_VT_SPONT", label: "spontaneous tidal volume", loinc: None, plausible: None };
    VT_MAND_EXP = { code: 67_110_715, reference: "DRAEGER_VT_MAND_EXP", label: "mandatory expiratory tidal volume", loinc: None, plausible: None };
    VT_SPONT_EXP = { code: 67_110_716, reference: "DRAEGER_VT_SPONT_EXP", label: "spontaneous expiratory tidal volume", loinc: None, plausible: None };
    VT_MAND_INSP = { code: 67_110_717, reference: "DRAEGER_VT_MAND_INSP", label: "mandatory inspiratory tidal volume", loinc: None, plausible: None };
    VT_HF = { code: 67_110_718, reference: "DRAEGER_VT_HF", label: "tidal volume of high frequency oscillation", loinc: None, plausible: None };
    VT_INSP = { code: 67_110_719, reference: "DRAEGER_VT_INSP", label: "inspiratory tidal volume", loinc: None, plausible: None };
    NIF = { code: 67_110_720, reference: "DRAEGER_NIF", label: "negative inspiratory force", loinc: None, plausible: None };
    NIBP_AGE = { code: 67_110_721, reference: "DRAEGER_NIBP_AGE", label: "time since the last cuff pressure", loinc: None, plausible: None };
    HALOTH_UPTAKE = { code: 67_110_722, reference: "DRAEGER_HALOTH_UPTAKE", label: "halothane taken up", loinc: None, plausible: None };
    DESFL_UPTAKE = { code: 67_110_723, reference: "DRAEGER_DESFL_UPTAKE", label: "desflurane taken up", loinc: None, plausible: None };
    ISOFL_UPTAKE = { code: 67_110_724, reference: "DRAEGER_ISOFL_UPTAKE", label: "isoflurane taken up", loinc: None, plausible: None };
    SEVOFL_UPTAKE = { code: 67_110_725, reference: "DRAEGER_SEVOFL_UPTAKE", label: "sevoflurane taken up", loinc: None, plausible: None };
    ENFL_UPTAKE = { code: 67_110_726, reference: "DRAEGER_ENFL_UPTAKE", label: "enflurane taken up", loinc: None, plausible: None };
    MAC_INSP = { code: 67_110_727, reference: "DRAEGER_MAC_INSP", label: "multiple of MAC, inspiratory", loinc: None, plausible: None };
    MAC_EXP = { code: 67_110_728, reference: "DRAEGER_MAC_EXP", label: "multiple of MAC, expiratory", loinc: None, plausible: None };
    LEAKAGE = { code: 67_110_729, reference: "DRAEGER_LEAKAGE", label: "leakage of the breathing system", loinc: None, plausible: None };
    LEAKAGE_REL = { code: 67_110_730, reference: "DRAEGER_LEAKAGE_REL", label: "leakage of the inspiratory minute volume", loinc: None, plausible: None };
    RR_PRESS = { code: 67_110_731, reference: "DRAEGER_RR_PRESS", label: "respiratory rate, from pressure", loinc: None, plausible: None };
    RR_SPONT = { code: 67_110_732, reference: "DRAEGER_RR_SPONT", label: "spontaneous respiratory rate", loinc: None, plausible: None };
    MV_SPONT_REL = { code: 67_110_733, reference: "DRAEGER_MV_SPONT_REL", label: "spontaneous part of the minute volume", loinc: None, plausible: None };
    MV_SPONT = { code: 67_110_734, reference: "DRAEGER_MV_SPONT", label: "spontaneous minute volume", loinc: None, plausible: None };
    MV_CLASSIC = { code: 67_110_735, reference: "DRAEGER_MV_CLASSIC", label: "minute volume (code B8)", loinc: None, plausible: None };
    TEMP_2 = { code: 67_110_736, reference: "DRAEGER_TEMP_2", label: "temperature 2", loinc: None, plausible: None };
    TEMP_SKIN_DIFF = { code: 67_110_737, reference: "DRAEGER_TEMP_SKIN_DIFF", label: "skin temperature difference", loinc: None, plausible: None };
    TEMP_1 = { code: 67_110_738, reference: "DRAEGER_TEMP_1", label: "temperature 1", loinc: None, plausible: None };
    BATTERY = { code: 67_110_739, reference: "DRAEGER_BATTERY", label: "battery capacity", loinc: None, plausible: None };
    O2_BIAS = { code: 67_110_740, reference: "DRAEGER_O2_BIAS", label: "accuracy of the inspiratory O2", loinc: None, plausible: None };
    RSBI = { code: 67_110_741, reference: "DRAEGER_RSBI", label: "rapid shallow breathing index", loinc: None, plausible: None };
    RR_TRIGGERED = { code: 67_110_742, reference: "DRAEGER_RR_TRIGGERED", label: "rate of triggered mandatory breaths", loinc: None, plausible: None };
    RR_FLOW = { code: 67_110_743, reference: "DRAEGER_RR_FLOW", label: "respiratory rate, from volume or flow", loinc: None, plausible: None };
    RR_DERIVED = { code: 67_110_744, reference: "DRAEGER_RR_DERIVED", label: "respiratory rate, derived", loinc: None, plausible: None };
    N2O_FLOW = { code: 67_110_745, reference: "DRAEGER_N2O_FLOW", label: "N2O fresh gas flow", loinc: None, plausible: None };
    AIR_FLOW = { code: 67_110_746, reference: "DRAEGER_AIR_FLOW", label: "air fresh gas flow", loinc: None, plausible: None };
    PULSE_DERIVED = { code: 67_110_747, reference: "DRAEGER_PULSE_DERIVED", label: "pulse rate, derived", loinc: None, plausible: None };
    O2_FLOW = { code: 67_110_748, reference: "DRAEGER_O2_FLOW", label: "O2 fresh gas flow", loinc: None, plausible: None };
    IE_I = { code: 67_110_749, reference: "DRAEGER_IE_I", label: "I part of I:E", loinc: None, plausible: None };
    IE_E = { code: 67_110_750, reference: "DRAEGER_IE_E", label: "E part of I:E", loinc: None, plausible: None };
    HEATER_CONVECTIVE = { code: 67_110_751, reference: "DRAEGER_HEATER_CONVECTIVE", label: "convective heater power", loinc: None, plausible: None };
    PRESS_HF = { code: 67_110_752, reference: "DRAEGER_PRESS_HF", label: "pressure amplitude of high frequency oscillation", loinc: None, plausible: None };
    IE_I_SPONT = { code: 67_110_753, reference: "DRAEGER_IE_I_SPONT", label: "I part of I:E, spontaneous", loinc: None, plausible: None };
    IE_E_SPONT = { code: 67_110_754, reference: "DRAEGER_IE_E_SPONT", label: "E part of I:E, spontaneous", loinc: None, plausible: None };
    ELASTANCE = { code: 67_110_755, reference: "DRAEGER_ELASTANCE", label: "elastance", loinc: None, plausible: None };
    TIME_CONSTANT = { code: 67_110_756, reference: "DRAEGER_TIME_CONSTANT", label: "time constant", loinc: None, plausible: None };
    TIME_CONSTANT_EXP = { code: 67_110_757, reference: "DRAEGER_TIME_CONSTANT_EXP", label: "expiratory time constant", loinc: None, plausible: None };
    C20_PER_C = { code: 67_110_758, reference: "DRAEGER_C20_PER_C", label: "compliance of the last 20 % of inspiration over dynamic compliance", loinc: None, plausible: None };
    DCO2 = { code: 67_110_759, reference: "DRAEGER_DCO2", label: "CO2 elimination coefficient of high frequency oscillation", loinc: None, plausible: None };
    TOF_RATIO = { code: 67_110_760, reference: "DRAEGER_TOF_RATIO", label: "train-of-four ratio", loinc: None, plausible: None };
    PTC = { code: 67_110_761, reference: "DRAEGER_PTC", label: "post-tetanic count", loinc: None, plausible: None };
    TEMP_NMT = { code: 67_110_762, reference: "DRAEGER_TEMP_NMT", label: "NMT temperature", loinc: None, plausible: None };
    NMT_SINGLE = { code: 67_110_763, reference: "DRAEGER_NMT_SINGLE", label: "single twitch", loinc: None, plausible: None };
    TOF_COUNT = { code: 67_110_764, reference: "DRAEGER_TOF_COUNT", label: "train-of-four count", loinc: None, plausible: None };
    BIS = { code: 67_110_765, reference: "DRAEGER_BIS", label: "bispectral index", loinc: None, plausible: None };
    EMG = { code: 67_110_766, reference: "DRAEGER_EMG", label: "electromyogram power", loinc: None, plausible: None };
    SQI = { code: 67_110_767, reference: "DRAEGER_SQI", label: "signal quality index", loinc: None, plausible: None };
    BSR = { code: 67_110_768, reference: "DRAEGER_BSR", label: "burst suppression ratio", loinc: None, plausible: None };
    SEF95 = { code: 67_110_769, reference: "DRAEGER_SEF95", label: "spectral edge frequency", loinc: None, plausible: None };
    BURST_COUNT = { code: 67_110_770, reference: "DRAEGER_BURST_COUNT", label: "burst count", loinc: None, plausible: None };
    EEG_POWER = { code: 67_110_771, reference: "DRAEGER_EEG_POWER", label: "total EEG power", loinc: None, plausible: None };
    VT_EXP = { code: 67_110_772, reference: "DRAEGER_VT_EXP", label: "expiratory tidal volume", loinc: None, plausible: None };
    PRESS_END_INSP = { code: 67_110_773, reference: "DRAEGER_PRESS_END_INSP", label: "end-inspiratory pressure", loinc: None, plausible: None };
    TIME_LOW = { code: 67_110_774, reference: "DRAEGER_TIME_LOW", label: "expiratory time in APRV AutoRelease", loinc: None, plausible: None };
    VTCO2 = { code: 67_110_775, reference: "DRAEGER_VTCO2", label: "CO2 produced in a breath", loinc: None, plausible: None };
    PRESS_HIGH = { code: 67_110_776, reference: "DRAEGER_PRESS_HIGH", label: "upper pressure level in APRV or BIPAP", loinc: None, plausible: None };
    PRESS_LOW = { code: 67_110_777, reference: "DRAEGER_PRESS_LOW", label: "lower pressure level in APRV or BIPAP", loinc: None, plausible: None };
    VT_SPONT_MEAN = { code: 67_110_778, reference: "DRAEGER_VT_SPONT_MEAN", label: "mean spontaneous tidal volume", loinc: None, plausible: None };
    VT_SPONT_INSP_MEAN = { code: 67_110_779, reference: "DRAEGER_VT_SPONT_INSP_MEAN", label: "mean spontaneous inspiratory tidal volume", loinc: None, plausible: None };
    VT_SPONT_EXP_MEAN = { code: 67_110_780, reference: "DRAEGER_VT_SPONT_EXP_MEAN", label: "mean spontaneous expiratory tidal volume", loinc: None, plausible: None };
    VT_PER_IBW = { code: 67_110_781, reference: "DRAEGER_VT_PER_IBW", label: "tidal volume per ideal body weight", loinc: None, plausible: None };
    MV_LEAK = { code: 67_110_782, reference: "DRAEGER_MV_LEAK", label: "leakage minute volume", loinc: None, plausible: None };
    TIME_INSP = { code: 67_110_783, reference: "DRAEGER_TIME_INSP", label: "inspiratory time", loinc: None, plausible: None };
    LEAKAGE_MANUAL = { code: 67_110_784, reference: "DRAEGER_LEAKAGE_MANUAL", label: "leakage of bag and hoses", loinc: None, plausible: None };
    COMPL_SYSTEM = { code: 67_110_785, reference: "DRAEGER_COMPL_SYSTEM", label: "compliance of the breathing system", loinc: None, plausible: None };
    COMPL_HOSE = { code: 67_110_786, reference: "DRAEGER_COMPL_HOSE", label: "compliance of the hoses", loinc: None, plausible: None };
    RES_HOSE = { code: 67_110_787, reference: "DRAEGER_RES_HOSE", label: "resistance of the hoses", loinc: None, plausible: None };
    VT_DIFFERENCE = { code: 67_110_788, reference: "DRAEGER_VT_DIFFERENCE", label: "inspired less expired tidal volume", loinc: None, plausible: None };
    PRESS_VARIABILITY = { code: 67_110_789, reference: "DRAEGER_PRESS_VARIABILITY", label: "pressure variability", loinc: None, plausible: None };
    TIME_LOW_MAX = { code: 67_110_790, reference: "DRAEGER_TIME_LOW_MAX", label: "longest low pressure time", loinc: None, plausible: None };
    SIGH_INTERVAL = { code: 67_110_791, reference: "DRAEGER_SIGH_INTERVAL", label: "interval between sighs", loinc: None, plausible: None };
    TIME_EXP = { code: 67_110_792, reference: "DRAEGER_TIME_EXP", label: "expiratory time", loinc: None, plausible: None };
    PEEP_SIGH = { code: 67_110_793, reference: "DRAEGER_PEEP_SIGH", label: "additional PEEP of sighs", loinc: None, plausible: None };
    TIME_HIGH = { code: 67_110_794, reference: "DRAEGER_TIME_HIGH", label: "time of the upper pressure level", loinc: None, plausible: None };
    PRESS_SUPPORT = { code: 67_110_795, reference: "DRAEGER_PRESS_SUPPORT", label: "pressure support", loinc: None, plausible: None };
    PRESS_MAX = { code: 67_110_796, reference: "DRAEGER_PRESS_MAX", label: "pressure limit", loinc: None, plausible: None };
    SIGH_BREATHS = { code: 67_110_797, reference: "DRAEGER_SIGH_BREATHS", label: "breaths in a sigh", loinc: None, plausible: None };
    TRIGGER_PRESS = { code: 67_110_798, reference: "DRAEGER_TRIGGER_PRESS", label: "pressure trigger", loinc: None, plausible: None };
    TACHYPNEA_RATE = { code: 67_110_799, reference: "DRAEGER_TACHYPNEA_RATE", label: "rate that counts as tachypnoea", loinc: None, plausible: None };
    TACHYPNEA_TIME = { code: 67_110_800, reference: "DRAEGER_TACHYPNEA_TIME", label: "time that counts as tachypnoea", loinc: None, plausible: None };
    P01_INTERVAL = { code: 67_110_801, reference: "DRAEGER_P01_INTERVAL", label: "interval of the P0.1 manoeuvre", loinc: None, plausible: None };
    MV_HIGH_DELAY = { code: 67_110_802, reference: "DRAEGER_MV_HIGH_DELAY", label: "delay of the minute volume high alarm", loinc: None, plausible: None };
    MV_LOW_DELAY = { code: 67_110_803, reference: "DRAEGER_MV_LOW_DELAY", label: "delay of the minute volume low alarm", loinc: None, plausible: None };
    TEMP_SKIN = { code: 67_110_804, reference: "DRAEGER_TEMP_SKIN", label: "skin temperature", loinc: None, plausible: None };
    PLATEAU_REL = { code: 67_110_805, reference: "DRAEGER_PLATEAU_REL", label: "plateau part of the inspiratory time", loinc: None, plausible: None };
    TRIGGER_FLOW = { code: 67_110_806, reference: "DRAEGER_TRIGGER_FLOW", label: "flow trigger", loinc: None, plausible: None };
    HF_RATE = { code: 67_110_807, reference: "DRAEGER_HF_RATE", label: "rate of high frequency oscillation", loinc: None, plausible: None };
    SLOPE = { code: 67_110_808, reference: "DRAEGER_SLOPE", label: "pressure rise time", loinc: None, plausible: None };
    FRESH_GAS_FLOW = { code: 67_110_809, reference: "DRAEGER_FRESH_GAS_FLOW", label: "fresh gas flow", loinc: None, plausible: None };
    FLOW_ASSIST = { code: 67_110_810, reference: "DRAEGER_FLOW_ASSIST", label: "flow assist", loinc: None, plausible: None };
    VOLUME_ASSIST = { code: 67_110_811, reference: "DRAEGER_VOLUME_ASSIST", label: "volume assist", loinc: None, plausible: None };
    RR_MIN = { code: 67_110_812, reference: "DRAEGER_RR_MIN", label: "least respiratory rate", loinc: None, plausible: None };
    RR_APNEA = { code: 67_110_813, reference: "DRAEGER_RR_APNEA", label: "respiratory rate of apnoea ventilation", loinc: None, plausible: None };
    VT_APNEA = { code: 67_110_814, reference: "DRAEGER_VT_APNEA", label: "tidal volume of apnoea ventilation", loinc: None, plausible: None };
    PRESS_INSP = { code: 67_110_815, reference: "DRAEGER_PRESS_INSP", label: "inspiratory pressure", loinc: None, plausible: None };
    TUBE_COMPENSATION = { code: 67_110_816, reference: "DRAEGER_TUBE_COMPENSATION", label: "tube compensation", loinc: None, plausible: None };
    TUBE_DIAMETER = { code: 67_110_817, reference: "DRAEGER_TUBE_DIAMETER", label: "inner diameter of the tube", loinc: None, plausible: None };
    IE_REL = { code: 67_110_818, reference: "DRAEGER_IE_REL", label: "inspiration over expiration", loinc: None, plausible: None };
    WEIGHT = { code: 67_110_819, reference: "DRAEGER_WEIGHT", label: "weight for ventilation", loinc: None, plausible: None };
    FLOW_INSP = { code: 67_110_820, reference: "DRAEGER_FLOW_INSP", label: "inspiratory flow", loinc: None, plausible: None };
    DISCONNECT_TIME = { code: 67_110_821, reference: "DRAEGER_DISCONNECT_TIME", label: "disconnection alarm time", loinc: None, plausible: None };
    FLOW_ACCELERATION = { code: 67_110_822, reference: "DRAEGER_FLOW_ACCELERATION", label: "flow acceleration", loinc: None, plausible: None };
    AGENT_FRESH_GAS = { code: 67_110_823, reference: "DRAEGER_AGENT_FRESH_GAS", label: "agent in the fresh gas", loinc: None, plausible: None };
    ISOFL_FRESH_GAS = { code: 67_110_824, reference: "DRAEGER_ISOFL_FRESH_GAS", label: "isoflurane in the fresh gas", loinc: None, plausible: None };
    DESFL_FRESH_GAS = { code: 67_110_825, reference: "DRAEGER_DESFL_FRESH_GAS", label: "desflurane in the fresh gas", loinc: None, plausible: None };
    SEVOFL_FRESH_GAS = { code: 67_110_826, reference: "DRAEGER_SEVOFL_FRESH_GAS", label: "sevoflurane in the fresh gas", loinc: None, plausible: None };
    O2_FRESH_GAS = { code: 67_110_827, reference: "DRAEGER_O2_FRESH_GAS", label: "O2 in the fresh gas", loinc: None, plausible: None };
    FRESH_GAS_MIN = { code: 67_110_828, reference: "DRAEGER_FRESH_GAS_MIN", label: "least fresh gas flow", loinc: None, plausible: None };
    TIME_INSP_MAX = { code: 67_110_829, reference: "DRAEGER_TIME_INSP_MAX", label: "longest inspiratory time", loinc: None, plausible: None };
    O2_THERAPY_FLOW = { code: 67_110_830, reference: "DRAEGER_O2_THERAPY_FLOW", label: "flow of O2 therapy", loinc: None, plausible: None };
    HF_MEAN_PRESS = { code: 67_110_831, reference: "DRAEGER_HF_MEAN_PRESS", label: "mean airway pressure of high frequency oscillation", loinc: None, plausible: None };
    HF_IE_I = { code: 67_110_832, reference: "DRAEGER_HF_IE_I", label: "I part of I:E of high frequency oscillation", loinc: None, plausible: None };
    HF_IE_E = { code: 67_110_833, reference: "DRAEGER_HF_IE_E", label: "E part of I:E of high frequency oscillation", loinc: None, plausible: None };
    HF_SIGH_RATE = { code: 67_110_834, reference: "DRAEGER_HF_SIGH_RATE", label: "rate of sighs", loinc: None, plausible: None };
    HF_SIGH_TIME = { code: 67_110_835, reference: "DRAEGER_HF_SIGH_TIME", label: "inspiratory time of sighs", loinc: None, plausible: None };
    HF_SIGH_PRESS = { code: 67_110_836, reference: "DRAEGER_HF_SIGH_PRESS", label: "inspiratory pressure of sighs", loinc: None, plausible: None };
    INSP_TERMINATION = { code: 67_110_837, reference: "DRAEGER_INSP_TERMINATION", label: "inspiratory termination, of peak flow", loinc: None, plausible: None };
    EXP_TERMINATION = { code: 67_110_838, reference: "DRAEGER_EXP_TERMINATION", label: "expiratory termination, of peak flow", loinc: None, plausible: None };
    HF_SIGH_SLOPE = { code: 67_110_839, reference: "DRAEGER_HF_SIGH_SLOPE", label: "pressure rise time of sighs", loinc: None, plausible: None };
    HF_PRESS_MAX = { code: 67_110_840, reference: "DRAEGER_HF_PRESS_MAX", label: "greatest amplitude of high frequency oscillation", loinc: None, plausible: None };
    VT_MAX = { code: 67_110_841, reference: "DRAEGER_VT_MAX", label: "volume limit", loinc: None, plausible: None };
    MANUAL_PRESS = { code: 67_110_842, reference: "DRAEGER_MANUAL_PRESS", label: "pressure of a manual inspiration", loinc: None, plausible: None };
    MANUAL_TIME = { code: 67_110_843, reference: "DRAEGER_MANUAL_TIME", label: "longest manual inspiration", loinc: None, plausible: None };
    VENT_MODE = { code: 67_110_844, reference: "DRAEGER_VENT_MODE", label: "ventilation mode", loinc: None, plausible: None };
    MESSAGES = { code: 67_110_845, reference: "DRAEGER_MESSAGES", label: "messages shown", loinc: None, plausible: None };
    CLOCK = { code: 67_110_846, reference: "DRAEGER_CLOCK", label: "device clock", loinc: None, plausible: None };
    VT_FRAC = { code: 67_110_847, reference: "DRAEGER_VT_FRAC", label: "tidal volume with decimals", loinc: None, plausible: None };
}

macro_rules! all {
    ($($standard:ident)*; $($own:ident)*) => { &[$(&mdc::$standard,)* $(&$own),*] };
}

/// Everything that the driver can report.
pub(super) static READS: &[&Metric] = all! {
    VOL_MINUTE_AWAY_EXP PRESS_AWAY VOL_MINUTE_AWAY_INSP COMPL_LUNG_DYN RES_AWAY FLOW_CO2_PROD_RESP
    OUTPUT_CARD_INDEX VOL_BLD_STROKE RES_VASC_SYS PRESS_INTRA_CRAN PRESS_CEREB_PERF
    PRESS_BLD_ATR_LEFT_MEAN CONC_AWAY_HALOTH_INSP CONC_AWAY_HALOTH_ET CONC_AWAY_ENFL_INSP
    CONC_AWAY_ENFL_ET CONC_AWAY_ISOFL_INSP CONC_AWAY_ISOFL_ET CONC_AWAY_DESFL_INSP CONC_AWAY_DESFL_ET
    CONC_AWAY_SEVOFL_INSP CONC_AWAY_SEVOFL_ET CONC_AWAY_AGENT_INSP CONC_AWAY_AGENT_ET PRESS_AWAY_MIN
    VENT_PRESS_OCCL PRESS_AWAY_INSP_MEAN PRESS_RESP_PLAT VENT_PRESS_AWAY_END_EXP_POS
    PRESS_AWAY_END_EXP_POS_INTRINSIC VENT_VOL_MINUTE_AWAY_MAND PRESS_AWAY_INSP_PEAK VENT_VOL_LUNG_TRAPD
    VOL_AWAY_TIDAL VENT_VOL_AWAY_DEADSP VENT_VOL_AWAY_DEADSP_REL PRESS_BLD_NONINV_DIA
    PRESS_BLD_NONINV_MEAN PRESS_BLD_NONINV_SYS OUTPUT_CARD PRESS_BLD_ART_PULM_DIA PRESS_BLD_VEN_CENT_MEAN
    PRESS_BLD_ART_PULM_MEAN PRESS_BLD_ATR_RIGHT_MEAN PRESS_BLD_ART_PULM_SYS VOL_MINUTE_AWAY TIME_PD_APNEA
    CONC_AWAY_O2 TEMP_AWAY VENT_CONC_AWAY_O2_DELTA PRESS_BLD_ART_PULM_WEDGE PRESS_BLD_ART_ABP_DIA
    PRESS_BLD_ART_ABP_MEAN PRESS_BLD_ART_ABP_SYS CO2_RESP_RATE RESP_RATE VENT_CONC_AWAY_CO2_INSP
    CONC_AWAY_CO2_ET HEART_RATE PULSE_OXIM_RATE AWAY_CO2_ET AWAY_CO2_INSP_MIN SPO2 CONC_AWAY_O2_ET
    CONC_AWAY_O2_INSP CONC_AWAY_N2O_INSP CONC_AWAY_N2O_ET COMPL_LUNG_STATIC VENT_FLOW_INSP EVT_ALARM
    EVT_BATT_LO EVT_COMM_LOST EVT_APNEA EVT_VENT_DISCONN EVT_O2_SUPPLY_LO EVT_MED_GAS_SUPPLY_LO
    EVT_PRESS_HI_GT_LIM EVT_VENT_TEMP_AWAY_HI EVT_SENSOR_DISCONN EVT_VENT_CO2_SENSOR_LINE_OBSTRUC
    EVT_CO2_WIND_OBSTRUC EVT_CO2_MSMT_FAIL EVT_VENT_GAS_MIXER_INOP EVT_VENT_VOL_MSMT_INOP
    EVT_VENT_BREATHING_SYS_LEAK EVT_VENT_BREATHING_SYS_VENTED EVT_POWER_SUPPLY_PROB EVT_RESPIRATOR_TEMP_HI;
    AIR_CONSUMED N2O_CONSUMED O2_CONSUMED COMPL_FRAC MV_SPONT_EXP RES_PATIENT MV_MAND_EXP CO2_SLOPE
    O2_SUPPLY_PRESS DEVICE_FLOW VT_MAND ST_I ST_II HALOTH_CONSUMED ENFL_CONSUMED ISOFL_CONSUMED
    DESFL_CONSUMED SEVOFL_CONSUMED STROKE_INDEX LVSWI RVSWI GAS_CONSUMED CASE_TIME CORRELATION LV_DIA
    LV_SYS LV_MEAN RV_DIA RV_SYS RV_MEAN GP1_DIA GP1_SYS GP1_MEAN GP2_DIA GP2_SYS GP2_MEAN COMPL_DYN_MEAN
    ST_III ST_AVL ST_AVF ST_AVR ST_V ST_V_PLUS O2_UPTAKE TEMP_SKIN_PERIPHERAL TEMP_SKIN_CENTRAL
    VT_SPONT_INSP TIME_PLATEAU TEMP_MATTRESS PRESS_AMBIENT HUMIDITY TEMP_AIR HEATER_RADIANT
    TIME_INSP_SPONT FLOW_INSP_PEAK MV_SPONT_FRAC RR_MAND VT_SPONT VT_MAND_EXP VT_SPONT_EXP VT_MAND_INSP
    VT_HF VT_INSP NIF NIBP_AGE HALOTH_UPTAKE DESFL_UPTAKE ISOFL_UPTAKE SEVOFL_UPTAKE ENFL_UPTAKE MAC_INSP
    MAC_EXP LEAKAGE LEAKAGE_REL RR_PRESS RR_SPONT MV_SPONT_REL MV_SPONT MV_CLASSIC TEMP_2 TEMP_SKIN_DIFF
    TEMP_1 BATTERY O2_BIAS RSBI RR_TRIGGERED RR_FLOW RR_DERIVED N2O_FLOW AIR_FLOW PULSE_DERIVED O2_FLOW
    IE_I IE_E HEATER_CONVECTIVE PRESS_HF IE_I_SPONT IE_E_SPONT ELASTANCE TIME_CONSTANT TIME_CONSTANT_EXP
    C20_PER_C DCO2 TOF_RATIO PTC TEMP_NMT NMT_SINGLE TOF_COUNT BIS EMG SQI BSR SEF95 BURST_COUNT EEG_POWER
    VT_EXP PRESS_END_INSP TIME_LOW VTCO2 PRESS_HIGH PRESS_LOW VT_SPONT_MEAN VT_SPONT_INSP_MEAN
    VT_SPONT_EXP_MEAN VT_PER_IBW MV_LEAK TIME_INSP LEAKAGE_MANUAL COMPL_SYSTEM COMPL_HOSE RES_HOSE
    VT_DIFFERENCE PRESS_VARIABILITY TIME_LOW_MAX SIGH_INTERVAL TIME_EXP PEEP_SIGH TIME_HIGH PRESS_SUPPORT
    PRESS_MAX SIGH_BREATHS TRIGGER_PRESS TACHYPNEA_RATE TACHYPNEA_TIME P01_INTERVAL MV_HIGH_DELAY
    MV_LOW_DELAY TEMP_SKIN PLATEAU_REL TRIGGER_FLOW HF_RATE SLOPE FRESH_GAS_FLOW FLOW_ASSIST VOLUME_ASSIST
    RR_MIN RR_APNEA VT_APNEA PRESS_INSP TUBE_COMPENSATION TUBE_DIAMETER IE_REL WEIGHT FLOW_INSP
    DISCONNECT_TIME FLOW_ACCELERATION AGENT_FRESH_GAS ISOFL_FRESH_GAS DESFL_FRESH_GAS SEVOFL_FRESH_GAS
    O2_FRESH_GAS FRESH_GAS_MIN TIME_INSP_MAX O2_THERAPY_FLOW HF_MEAN_PRESS HF_IE_I HF_IE_E HF_SIGH_RATE
    HF_SIGH_TIME HF_SIGH_PRESS INSP_TERMINATION EXP_TERMINATION HF_SIGH_SLOPE HF_PRESS_MAX VT_MAX
    MANUAL_PRESS MANUAL_TIME VENT_MODE MESSAGES CLOCK VT_FRAC
};
