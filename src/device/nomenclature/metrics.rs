//! What can be observed, as far as more than one driver knows it or 11073 has a code for it.

use super::rows;

rows! { Metric METRICS:
    /// SpO2 from a pulse oximeter.
    SPO2 = { code: 150_456, reference: "MDC_PULS_OXIM_SAT_O2", label: "oxygen saturation", loinc: Some("2708-6"), plausible: Some((50, 100)) };
    /// Pulse rate from a pulse oximeter.
    PULSE_OXIM_RATE = { code: 149_530, reference: "MDC_PULS_OXIM_PULS_RATE", label: "pulse rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Perfusion index, relative.
    PERFUSION = { code: 150_448, reference: "MDC_PULS_OXIM_PERF_REL", label: "perfusion index", loinc: None, plausible: Some((0, 100)) };
    /// Heart rate from a chest belt or an ECG.
    HEART_RATE = { code: 147_842, reference: "MDC_ECG_HEART_RATE", label: "heart rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Infusion rate that the pump is set to deliver.
    FLOW_FLUID_PUMP = { code: 157_784, reference: "MDC_FLOW_FLUID_PUMP", label: "infusion rate", loinc: None, plausible: Some((0, 2_000)) };
    /// Volume to be infused.
    VOL_FLUID_TBI = { code: 157_884, reference: "MDC_VOL_FLUID_TBI", label: "volume to be infused", loinc: None, plausible: Some((0, 10_000)) };
    /// Volume infused.
    VOL_FLUID_DELIV = { code: 157_864, reference: "MDC_VOL_FLUID_DELIV", label: "volume infused", loinc: None, plausible: Some((0, 100_000)) };
    /// Line pressure at the pump.
    PRESS_FLUID_ACT = { code: 157_896, reference: "MDC_PRESS_FLUID_ACT", label: "line pressure", loinc: None, plausible: Some((-100, 2_000)) };
    /// Time until the infusion ends.
    TIME_PD_REMAIN = { code: 157_916, reference: "MDC_TIME_PD_REMAIN", label: "time left", loinc: None, plausible: None };
    /// The mode of the pump, in the pump's own word.
    PUMP_MODE = { code: 184_504, reference: "MDC_PUMP_MODE", label: "pump mode", loinc: None, plausible: None };
    /// The drug's name, as chosen at the pump.
    DRUG_NAME = { code: 184_330, reference: "MDC_DRUG_NAME_TYPE", label: "drug", loinc: None, plausible: None };
    /// An alarm that has no event code of its own; the device's code says which.
    EVT_ALARM = { code: 196_616, reference: "MDC_EVT_ALARM", label: "alarm", loinc: None, plausible: None };
    /// Occlusion.
    EVT_OCCL = { code: 196_688, reference: "MDC_EVT_OCCL", label: "occlusion", loinc: None, plausible: None };
    /// Battery low.
    EVT_BATT_LO = { code: 196_802, reference: "MDC_EVT_BATT_LO", label: "battery low", loinc: None, plausible: None };
    /// Communication with the device lost.
    EVT_COMM_LOST = { code: 196_748, reference: "MDC_EVT_COMM_LOST", label: "communication lost", loinc: None, plausible: None };
    /// Volume to be infused is complete.
    EVT_PUMP_VOL_TBI_COMP = { code: 197_194, reference: "MDC_EVT_PUMP_VOL_TBI_COMP", label: "volume complete", loinc: None, plausible: None };
    /// Time between two heart beats.
    RR_INTERVAL = { code: 147_240, reference: "MDC_ECG_TIME_PD_RR_GL", label: "RR interval", loinc: None, plausible: Some((200, 3_000)) };
    /// Energy expended since the device was reset (`129::119`).
    ENERGY_EXPENDED = { code: 8_454_263, reference: "MDC_HF_ENERGY", label: "energy expended", loinc: None, plausible: None };
    /// What a pulse oximeter says of itself and its sensor: the bits of 11073-10404.
    PULSE_OXIM_STATUS = { code: 150_604, reference: "MDC_PULS_OXIM_DEV_STATUS", label: "oximeter status", loinc: None, plausible: None };
    /// A device's own clock at the moment at which it was read.
    TIME_ABS = { code: 67_975, reference: "MDC_ATTR_TIME_ABS", label: "clock of the device", loinc: None, plausible: None };
    // Serial drivers.
    /// The size of the syringe in the pump.
    VOL_SYRINGE = { code: 157_880, reference: "MDC_VOL_SYRINGE", label: "syringe size", loinc: None, plausible: Some((1, 100)) };
    /// The end of the infusion: the syringe is empty or the infusion complete.
    EVT_PUMP_DELIV_COMP = { code: 197_292, reference: "MDC_EVT_PUMP_DELIV_COMP", label: "infusion complete", loinc: None, plausible: None };
    /// The infusion is near its end. The number is known from one pump simulator only, not checked
    /// against the standard.
    EVT_VOL_INFUS_NEAR_COMP = { code: 197_334, reference: "MDC_EVT_VOL_INFUS_NEAR_COMP", label: "infusion near its end", loinc: None, plausible: None };
    /// The make of the syringe, as chosen at the pump.
    ALARIS_SYRINGE = { code: 67_109_377, reference: "ALARIS_SYRINGE_TYPE", label: "syringe type", loinc: None, plausible: None };
    /// What the pump does when the volume to be infused is complete.
    ALARIS_VTBI_ACTION = { code: 67_109_378, reference: "ALARIS_VTBI_ACTION", label: "action at volume complete", loinc: None, plausible: None };
    /// Whether somebody controls the pump by its serial line.
    ALARIS_REMOTE_CONTROL = { code: 67_109_379, reference: "ALARIS_REMOTE_CONTROL", label: "remote control", loinc: None, plausible: None };
    /// Carboxyhaemoglobin.
    MASIMO_SPCO = { code: 67_109_121, reference: "MASIMO_SPCO", label: "carboxyhaemoglobin", loinc: None, plausible: Some((0, 100)) };
    /// Methaemoglobin.
    MASIMO_SPMET = { code: 67_109_122, reference: "MASIMO_SPMET", label: "methaemoglobin", loinc: None, plausible: Some((0, 100)) };
    /// Total haemoglobin; the line does not say in which unit, the oximeter's menu does.
    MASIMO_SPHB = { code: 67_109_123, reference: "MASIMO_SPHB", label: "total haemoglobin", loinc: None, plausible: None };
    /// Oxygen content; the line does not say in which unit.
    MASIMO_SPOC = { code: 67_109_124, reference: "MASIMO_SPOC", label: "oxygen content", loinc: None, plausible: None };
    /// Pleth variability index.
    MASIMO_PVI = { code: 67_109_125, reference: "MASIMO_PVI", label: "pleth variability index", loinc: None, plausible: Some((0, 100)) };
    /// Desaturation index.
    MASIMO_DESAT = { code: 67_109_126, reference: "MASIMO_DESAT", label: "desaturation index", loinc: None, plausible: None };
    /// Change of the perfusion index.
    MASIMO_PIDELTA = { code: 67_109_127, reference: "MASIMO_PIDELTA", label: "change of the perfusion index", loinc: None, plausible: None };
    /// All alarm bits of the oximeter, as sent.
    MASIMO_ALARM_BITS = { code: 67_109_128, reference: "MASIMO_ALARM_BITS", label: "alarm bits", loinc: None, plausible: None };
    /// All exception bits of the oximeter, as sent.
    MASIMO_EXCEPTION_BITS = { code: 67_109_129, reference: "MASIMO_EXCEPTION_BITS", label: "exception bits", loinc: None, plausible: None };
    /// The second word of exception bits of colour-display models, as sent.
    MASIMO_EXCEPTION1_BITS = { code: 67_109_130, reference: "MASIMO_EXCEPTION1_BITS", label: "more exception bits", loinc: None, plausible: None };
    // astm-lis.
    /// Glucose, where the specimen is not said more exactly.
    CONC_GLU_GEN = { code: 160_020, reference: "MDC_CONC_GLU_GEN", label: "glucose", loinc: None, plausible: None };
    /// Glucose in capillary whole blood.
    CONC_GLU_CAPILLARY_WHOLEBLOOD = { code: 160_184, reference: "MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD", label: "glucose, capillary whole blood", loinc: None, plausible: None };
    /// Glucose in capillary plasma.
    CONC_GLU_CAPILLARY_PLASMA = { code: 160_188, reference: "MDC_CONC_GLU_CAPILLARY_PLASMA", label: "glucose, capillary plasma", loinc: None, plausible: None };
    // Glucose by sample type, as BLE devices state it.
    /// Glucose in venous whole blood.
    CONC_GLU_VENOUS_WHOLEBLOOD = { code: 160_192, reference: "MDC_CONC_GLU_VENOUS_WHOLEBLOOD", label: "glucose, venous whole blood", loinc: None, plausible: None };
    /// Glucose in venous plasma.
    CONC_GLU_VENOUS_PLASMA = { code: 160_196, reference: "MDC_CONC_GLU_VENOUS_PLASMA", label: "glucose, venous plasma", loinc: None, plausible: None };
    /// Glucose in arterial whole blood.
    CONC_GLU_ARTERIAL_WHOLEBLOOD = { code: 160_200, reference: "MDC_CONC_GLU_ARTERIAL_WHOLEBLOOD", label: "glucose, arterial whole blood", loinc: None, plausible: None };
    /// Glucose in arterial plasma.
    CONC_GLU_ARTERIAL_PLASMA = { code: 160_204, reference: "MDC_CONC_GLU_ARTERIAL_PLASMA", label: "glucose, arterial plasma", loinc: None, plausible: None };
    /// Glucose in control solution: never a patient's.
    CONC_GLU_CONTROL = { code: 160_208, reference: "MDC_CONC_GLU_CONTROL", label: "glucose, control solution", loinc: None, plausible: None };
    /// Glucose in interstitial fluid.
    CONC_GLU_ISF = { code: 160_212, reference: "MDC_CONC_GLU_ISF", label: "glucose, interstitial fluid", loinc: None, plausible: None };
    /// Glucose in undetermined whole blood.
    CONC_GLU_UNDETERMINED_WHOLEBLOOD = { code: 160_364, reference: "MDC_CONC_GLU_UNDETERMINED_WHOLEBLOOD", label: "glucose, undetermined whole blood", loinc: None, plausible: None };
    /// Glucose in undetermined plasma.
    CONC_GLU_UNDETERMINED_PLASMA = { code: 160_368, reference: "MDC_CONC_GLU_UNDETERMINED_PLASMA", label: "glucose, undetermined plasma", loinc: None, plausible: None };
    // draeger-medibus: ISO/IEEE 11073-10101:2004, partition 2 (SCADA) and partition 3 (events).
    /// Respiration rate.
    RESP_RATE = { code: 151_562, reference: "MDC_RESP_RATE", label: "respiration rate", loinc: Some("9279-1"), plausible: Some((0, 150)) };
    /// Respiration rate from CO2.
    CO2_RESP_RATE = { code: 151_594, reference: "MDC_CO2_RESP_RATE", label: "respiration rate (CO2)", loinc: Some("9279-1"), plausible: Some((0, 150)) };
    /// Dynamic compliance.
    COMPL_LUNG_DYN = { code: 151_692, reference: "MDC_COMPL_LUNG_DYN", label: "dynamic compliance", loinc: None, plausible: None };
    /// Static compliance.
    COMPL_LUNG_STATIC = { code: 151_696, reference: "MDC_COMPL_LUNG_STATIC", label: "static compliance", loinc: None, plausible: None };
    /// Airway resistance.
    RES_AWAY = { code: 151_840, reference: "MDC_RES_AWAY", label: "airway resistance", loinc: None, plausible: None };
    /// CO2 production.
    FLOW_CO2_PROD_RESP = { code: 151_776, reference: "MDC_FLOW_CO2_PROD_RESP", label: "CO2 production", loinc: None, plausible: None };
    /// Airway pressure.
    PRESS_AWAY = { code: 151_792, reference: "MDC_PRESS_AWAY", label: "airway pressure", loinc: None, plausible: None };
    /// Minimum airway pressure.
    PRESS_AWAY_MIN = { code: 151_794, reference: "MDC_PRESS_AWAY_MIN", label: "minimum airway pressure", loinc: None, plausible: None };
    /// Plateau pressure.
    PRESS_RESP_PLAT = { code: 151_784, reference: "MDC_PRESS_RESP_PLAT", label: "plateau pressure", loinc: None, plausible: None };
    /// Peak inspiratory pressure.
    PRESS_AWAY_INSP_PEAK = { code: 151_817, reference: "MDC_PRESS_AWAY_INSP_PEAK", label: "peak airway pressure", loinc: None, plausible: Some((-20, 150)) };
    /// Mean airway pressure.
    PRESS_AWAY_INSP_MEAN = { code: 151_819, reference: "MDC_PRESS_AWAY_INSP_MEAN", label: "mean airway pressure", loinc: None, plausible: None };
    /// Positive end-expiratory pressure.
    VENT_PRESS_AWAY_END_EXP_POS = { code: 151_976, reference: "MDC_VENT_PRESS_AWAY_END_EXP_POS", label: "end-expiratory pressure", loinc: None, plausible: Some((-20, 100)) };
    /// Intrinsic positive end-expiratory pressure.
    PRESS_AWAY_END_EXP_POS_INTRINSIC = { code: 151_808, reference: "MDC_PRESS_AWAY_END_EXP_POS_INTRINSIC", label: "intrinsic positive end-expiratory pressure", loinc: None, plausible: None };
    /// Occlusion pressure.
    VENT_PRESS_OCCL = { code: 151_964, reference: "MDC_VENT_PRESS_OCCL", label: "occlusion pressure", loinc: None, plausible: None };
    /// Trapped volume.
    VENT_VOL_LUNG_TRAPD = { code: 151_992, reference: "MDC_VENT_VOL_LUNG_TRAPD", label: "trapped volume", loinc: None, plausible: None };
    /// Dead space.
    VENT_VOL_AWAY_DEADSP = { code: 151_984, reference: "MDC_VENT_VOL_AWAY_DEADSP", label: "dead space", loinc: None, plausible: None };
    /// Relative dead space.
    VENT_VOL_AWAY_DEADSP_REL = { code: 151_988, reference: "MDC_VENT_VOL_AWAY_DEADSP_REL", label: "relative dead space", loinc: None, plausible: None };
    /// Inspiratory flow.
    VENT_FLOW_INSP = { code: 151_948, reference: "MDC_VENT_FLOW_INSP", label: "inspiratory flow", loinc: None, plausible: None };
    /// Tidal volume.
    VOL_AWAY_TIDAL = { code: 151_868, reference: "MDC_VOL_AWAY_TIDAL", label: "tidal volume", loinc: None, plausible: None };
    /// Minute volume.
    VOL_MINUTE_AWAY = { code: 151_880, reference: "MDC_VOL_MINUTE_AWAY", label: "minute volume", loinc: None, plausible: None };
    /// Expiratory minute volume.
    VOL_MINUTE_AWAY_EXP = { code: 151_884, reference: "MDC_VOL_MINUTE_AWAY_EXP", label: "expired minute volume", loinc: None, plausible: None };
    /// Inspiratory minute volume.
    VOL_MINUTE_AWAY_INSP = { code: 151_888, reference: "MDC_VOL_MINUTE_AWAY_INSP", label: "inspiratory minute volume", loinc: None, plausible: None };
    /// Mandatory minute volume.
    VENT_VOL_MINUTE_AWAY_MAND = { code: 152_012, reference: "MDC_VENT_VOL_MINUTE_AWAY_MAND", label: "mandatory minute volume", loinc: None, plausible: None };
    /// Apnoea time.
    TIME_PD_APNEA = { code: 151_856, reference: "MDC_TIME_PD_APNEA", label: "apnoea", loinc: None, plausible: None };
    /// Airway temperature.
    TEMP_AWAY = { code: 150_356, reference: "MDC_TEMP_AWAY", label: "airway temperature", loinc: None, plausible: None };
    /// Oxygen concentration.
    CONC_AWAY_O2 = { code: 151_908, reference: "MDC_CONC_AWAY_O2", label: "oxygen concentration", loinc: None, plausible: Some((0, 100)) };
    /// Inspiratory oxygen concentration.
    CONC_AWAY_O2_INSP = { code: 152_196, reference: "MDC_CONC_AWAY_O2_INSP", label: "inspired oxygen", loinc: None, plausible: Some((0, 100)) };
    /// End-tidal oxygen concentration.
    CONC_AWAY_O2_ET = { code: 152_440, reference: "MDC_CONC_AWAY_O2_ET", label: "end-tidal oxygen concentration", loinc: None, plausible: Some((0, 100)) };
    /// Inspiratory less expiratory oxygen concentration.
    VENT_CONC_AWAY_O2_DELTA = { code: 151_912, reference: "MDC_VENT_CONC_AWAY_O2_DELTA", label: "inspiratory less expiratory oxygen concentration", loinc: None, plausible: None };
    /// End-tidal CO2 pressure.
    AWAY_CO2_ET = { code: 151_728, reference: "MDC_AWAY_CO2_ET", label: "end-tidal CO2", loinc: None, plausible: Some((0, 150)) };
    /// Inspiratory CO2 pressure.
    AWAY_CO2_INSP_MIN = { code: 151_738, reference: "MDC_AWAY_CO2_INSP_MIN", label: "inspired CO2, minimum", loinc: None, plausible: Some((0, 150)) };
    /// End-tidal CO2 concentration.
    CONC_AWAY_CO2_ET = { code: 151_708, reference: "MDC_CONC_AWAY_CO2_ET", label: "end-tidal CO2", loinc: None, plausible: Some((0, 100)) };
    /// Inspiratory CO2 concentration.
    VENT_CONC_AWAY_CO2_INSP = { code: 151_904, reference: "MDC_VENT_CONC_AWAY_CO2_INSP", label: "inspiratory CO2 concentration", loinc: None, plausible: None };
    /// Cardiac output.
    OUTPUT_CARD = { code: 150_276, reference: "MDC_OUTPUT_CARD", label: "cardiac output", loinc: None, plausible: Some((0, 30)) };
    /// Cardiac index.
    OUTPUT_CARD_INDEX = { code: 149_772, reference: "MDC_OUTPUT_CARD_INDEX", label: "cardiac index", loinc: None, plausible: Some((0, 20)) };
    /// Stroke volume.
    VOL_BLD_STROKE = { code: 150_404, reference: "MDC_VOL_BLD_STROKE", label: "stroke volume", loinc: None, plausible: None };
    /// Systemic vascular resistance.
    RES_VASC_SYS = { code: 150_312, reference: "MDC_RES_VASC_SYS", label: "systemic vascular resistance", loinc: None, plausible: None };
    /// Intracranial pressure.
    PRESS_INTRA_CRAN = { code: 153_608, reference: "MDC_PRESS_INTRA_CRAN", label: "intracranial pressure", loinc: None, plausible: None };
    /// Cerebral perfusion pressure.
    PRESS_CEREB_PERF = { code: 153_604, reference: "MDC_PRESS_CEREB_PERF", label: "cerebral perfusion pressure", loinc: None, plausible: Some((-30, 250)) };
    /// Left atrial pressure, mean.
    PRESS_BLD_ATR_LEFT_MEAN = { code: 150_067, reference: "MDC_PRESS_BLD_ATR_LEFT_MEAN", label: "left atrial pressure, mean", loinc: None, plausible: None };
    /// Right atrial pressure, mean.
    PRESS_BLD_ATR_RIGHT_MEAN = { code: 150_071, reference: "MDC_PRESS_BLD_ATR_RIGHT_MEAN", label: "right atrial pressure, mean", loinc: None, plausible: None };
    /// Cuff pressure, systolic.
    PRESS_BLD_NONINV_SYS = { code: 150_021, reference: "MDC_PRESS_BLD_NONINV_SYS", label: "non-invasive systolic pressure", loinc: Some("8480-6"), plausible: Some((0, 350)) };
    /// Cuff pressure, diastolic.
    PRESS_BLD_NONINV_DIA = { code: 150_022, reference: "MDC_PRESS_BLD_NONINV_DIA", label: "non-invasive diastolic pressure", loinc: Some("8462-4"), plausible: Some((0, 350)) };
    /// Cuff pressure, mean.
    PRESS_BLD_NONINV_MEAN = { code: 150_023, reference: "MDC_PRESS_BLD_NONINV_MEAN", label: "non-invasive mean pressure", loinc: Some("8478-0"), plausible: Some((0, 350)) };
    /// Arterial pressure, systolic.
    PRESS_BLD_ART_ABP_SYS = { code: 150_037, reference: "MDC_PRESS_BLD_ART_ABP_SYS", label: "arterial systolic pressure (ABP)", loinc: None, plausible: Some((0, 350)) };
    /// Arterial pressure, diastolic.
    PRESS_BLD_ART_ABP_DIA = { code: 150_038, reference: "MDC_PRESS_BLD_ART_ABP_DIA", label: "arterial diastolic pressure (ABP)", loinc: None, plausible: Some((0, 350)) };
    /// Arterial pressure, mean.
    PRESS_BLD_ART_ABP_MEAN = { code: 150_039, reference: "MDC_PRESS_BLD_ART_ABP_MEAN", label: "arterial mean pressure (ABP)", loinc: None, plausible: Some((0, 350)) };
    /// Pulmonary artery pressure, systolic.
    PRESS_BLD_ART_PULM_SYS = { code: 150_045, reference: "MDC_PRESS_BLD_ART_PULM_SYS", label: "pulmonary artery systolic pressure", loinc: None, plausible: Some((-20, 200)) };
    /// Pulmonary artery pressure, diastolic.
    PRESS_BLD_ART_PULM_DIA = { code: 150_046, reference: "MDC_PRESS_BLD_ART_PULM_DIA", label: "pulmonary artery diastolic pressure", loinc: None, plausible: Some((-20, 200)) };
    /// Pulmonary artery pressure, mean.
    PRESS_BLD_ART_PULM_MEAN = { code: 150_047, reference: "MDC_PRESS_BLD_ART_PULM_MEAN", label: "pulmonary artery mean pressure", loinc: None, plausible: Some((-20, 200)) };
    /// Pulmonary wedge pressure.
    PRESS_BLD_ART_PULM_WEDGE = { code: 150_052, reference: "MDC_PRESS_BLD_ART_PULM_WEDGE", label: "wedge pressure", loinc: None, plausible: Some((-20, 200)) };
    /// Central venous pressure, mean.
    PRESS_BLD_VEN_CENT_MEAN = { code: 150_087, reference: "MDC_PRESS_BLD_VEN_CENT_MEAN", label: "central venous pressure", loinc: None, plausible: Some((-30, 100)) };
    /// Inspiratory desflurane.
    CONC_AWAY_DESFL_INSP = { code: 152_168, reference: "MDC_CONC_AWAY_DESFL_INSP", label: "inspiratory desflurane", loinc: None, plausible: None };
    /// End-tidal desflurane.
    CONC_AWAY_DESFL_ET = { code: 152_084, reference: "MDC_CONC_AWAY_DESFL_ET", label: "end-tidal desflurane", loinc: None, plausible: None };
    /// Inspiratory enflurane.
    CONC_AWAY_ENFL_INSP = { code: 152_172, reference: "MDC_CONC_AWAY_ENFL_INSP", label: "inspiratory enflurane", loinc: None, plausible: None };
    /// End-tidal enflurane.
    CONC_AWAY_ENFL_ET = { code: 152_088, reference: "MDC_CONC_AWAY_ENFL_ET", label: "end-tidal enflurane", loinc: None, plausible: None };
    /// Inspiratory halothane.
    CONC_AWAY_HALOTH_INSP = { code: 152_176, reference: "MDC_CONC_AWAY_HALOTH_INSP", label: "inspiratory halothane", loinc: None, plausible: None };
    /// End-tidal halothane.
    CONC_AWAY_HALOTH_ET = { code: 152_092, reference: "MDC_CONC_AWAY_HALOTH_ET", label: "end-tidal halothane", loinc: None, plausible: None };
    /// Inspiratory sevoflurane.
    CONC_AWAY_SEVOFL_INSP = { code: 152_180, reference: "MDC_CONC_AWAY_SEVOFL_INSP", label: "inspiratory sevoflurane", loinc: None, plausible: None };
    /// End-tidal sevoflurane.
    CONC_AWAY_SEVOFL_ET = { code: 152_096, reference: "MDC_CONC_AWAY_SEVOFL_ET", label: "end-tidal sevoflurane", loinc: None, plausible: None };
    /// Inspiratory isoflurane.
    CONC_AWAY_ISOFL_INSP = { code: 152_184, reference: "MDC_CONC_AWAY_ISOFL_INSP", label: "inspiratory isoflurane", loinc: None, plausible: None };
    /// End-tidal isoflurane.
    CONC_AWAY_ISOFL_ET = { code: 152_100, reference: "MDC_CONC_AWAY_ISOFL_ET", label: "end-tidal isoflurane", loinc: None, plausible: None };
    /// Inspiratory N2O.
    CONC_AWAY_N2O_INSP = { code: 152_192, reference: "MDC_CONC_AWAY_N2O_INSP", label: "inspiratory N2O", loinc: None, plausible: None };
    /// End-tidal N2O.
    CONC_AWAY_N2O_ET = { code: 152_108, reference: "MDC_CONC_AWAY_N2O_ET", label: "end-tidal N2O", loinc: None, plausible: None };
    /// Inspiratory agent.
    CONC_AWAY_AGENT_INSP = { code: 152_464, reference: "MDC_CONC_AWAY_AGENT_INSP", label: "inspiratory agent", loinc: None, plausible: None };
    /// End-tidal agent.
    CONC_AWAY_AGENT_ET = { code: 152_460, reference: "MDC_CONC_AWAY_AGENT_ET", label: "end-tidal agent", loinc: None, plausible: None };
    /// Apnoea.
    EVT_APNEA = { code: 199_680, reference: "MDC_EVT_APNEA", label: "apnea", loinc: None, plausible: None };
    /// Ventilator disconnected.
    EVT_VENT_DISCONN = { code: 197_172, reference: "MDC_EVT_VENT_DISCONN", label: "ventilator disconnected", loinc: None, plausible: None };
    /// Oxygen supply low.
    EVT_O2_SUPPLY_LO = { code: 196_904, reference: "MDC_EVT_O2_SUPPLY_LO", label: "oxygen supply low", loinc: None, plausible: None };
    /// Gas supply low.
    EVT_MED_GAS_SUPPLY_LO = { code: 196_890, reference: "MDC_EVT_MED_GAS_SUPPLY_LO", label: "gas supply low", loinc: None, plausible: None };
    /// Pressure above its limit.
    EVT_PRESS_HI_GT_LIM = { code: 196_976, reference: "MDC_EVT_PRESS_HI_GT_LIM", label: "pressure above its limit", loinc: None, plausible: None };
    /// Airway temperature high.
    EVT_VENT_TEMP_AWAY_HI = { code: 197_112, reference: "MDC_EVT_VENT_TEMP_AWAY_HI", label: "airway temperature high", loinc: None, plausible: None };
    /// Sensor disconnected.
    EVT_SENSOR_DISCONN = { code: 196_916, reference: "MDC_EVT_SENSOR_DISCONN", label: "sensor disconnected", loinc: None, plausible: None };
    /// CO2 line blocked.
    EVT_VENT_CO2_SENSOR_LINE_OBSTRUC = { code: 197_144, reference: "MDC_EVT_VENT_CO2_SENSOR_LINE_OBSTRUC", label: "CO2 line blocked", loinc: None, plausible: None };
    /// CO2 window occluded.
    EVT_CO2_WIND_OBSTRUC = { code: 196_824, reference: "MDC_EVT_CO2_WIND_OBSTRUC", label: "CO2 window occluded", loinc: None, plausible: None };
    /// CO2 measurement failed.
    EVT_CO2_MSMT_FAIL = { code: 197_070, reference: "MDC_EVT_CO2_MSMT_FAIL", label: "CO2 measurement failed", loinc: None, plausible: None };
    /// Gas mixer inoperable.
    EVT_VENT_GAS_MIXER_INOP = { code: 197_158, reference: "MDC_EVT_VENT_GAS_MIXER_INOP", label: "gas mixer inoperable", loinc: None, plausible: None };
    /// Volume measurement inoperable.
    EVT_VENT_VOL_MSMT_INOP = { code: 197_120, reference: "MDC_EVT_VENT_VOL_MSMT_INOP", label: "volume measurement inoperable", loinc: None, plausible: None };
    /// Leak in the breathing system.
    EVT_VENT_BREATHING_SYS_LEAK = { code: 197_160, reference: "MDC_EVT_VENT_BREATHING_SYS_LEAK", label: "leak in the breathing system", loinc: None, plausible: None };
    /// Breathing system open.
    EVT_VENT_BREATHING_SYS_VENTED = { code: 197_140, reference: "MDC_EVT_VENT_BREATHING_SYS_VENTED", label: "breathing system open", loinc: None, plausible: None };
    /// Power supply problem.
    EVT_POWER_SUPPLY_PROB = { code: 197_066, reference: "MDC_EVT_POWER_SUPPLY_PROB", label: "power supply problem", loinc: None, plausible: None };
    /// Ventilator temperature high.
    EVT_RESPIRATOR_TEMP_HI = { code: 197_122, reference: "MDC_EVT_RESPIRATOR_TEMP_HI", label: "ventilator temperature high", loinc: None, plausible: None };
    /// Volume of a bolus.
    VOL_FLUID_BOLUS = { code: 157_860, reference: "MDC_VOL_FLUID_BOLUS", label: "bolus volume", loinc: None, plausible: Some((0, 10_000)) };
    /// The status of the pump, in the pump's own words.
    PUMP_STAT = { code: 184_508, reference: "MDC_PUMP_STAT", label: "pump status", loinc: None, plausible: None };
    /// Air in the line.
    EVT_FLUID_LINE_AIR = { code: 197_200, reference: "MDC_EVT_FLUID_LINE_AIR", label: "air in the line", loinc: None, plausible: None };
    /// Concentration of the drug.
    CONC_DRUG = { code: 157_760, reference: "MDC_CONC_DRUG", label: "drug concentration", loinc: None, plausible: None };
    /// The rate in doses of the drug.
    RATE_DOSE = { code: 157_924, reference: "MDC_RATE_DOSE", label: "dose rate", loinc: None, plausible: None };
    /// Time until the standby ends.
    TIME_PD_FLUID_STANDBY_REMAIN = { code: 157_764, reference: "MDC_TIME_PD_FLUID_STANDBY_REMAIN", label: "standby time left", loinc: None, plausible: None };
    /// Positive end-expiratory pressure.
    PRESS_AWAY_END_EXP_POS = { code: 151_804, reference: "MDC_PRESS_AWAY_END_EXP_POS", label: "PEEP", loinc: None, plausible: Some((-20, 100)) };
    /// The mode of the ventilator, in its own word.
    VENT_MODE = { code: 184_352, reference: "MDC_VENT_MODE", label: "ventilation mode", loinc: None, plausible: None };
    // Devices that the site describes.
    /// A temperature, wherever it is measured.
    TEMP = { code: 150_344, reference: "MDC_TEMP", label: "temperature", loinc: None, plausible: Some((0, 60)) };
    /// Inspired minute volume.
    VENT_VOL_MINUTE_INSP = { code: 152_004, reference: "MDC_VENT_VOL_MINUTE_INSP", label: "inspired minute volume", loinc: None, plausible: None };
    /// Expired minute volume of the ventilator.
    VENT_VOL_MINUTE_EXP = { code: 152_000, reference: "MDC_VENT_VOL_MINUTE_EXP", label: "expired minute volume of the ventilator", loinc: None, plausible: None };
    /// Highest inspiratory airway pressure.
    VENT_PRESS_AWAY_MAX = { code: 151_973, reference: "MDC_VENT_PRESS_AWAY_MAX", label: "highest inspiratory airway pressure", loinc: None, plausible: Some((-20, 150)) };
    /// Mean airway pressure.
    VENT_PRESS_AWAY_MEAN = { code: 151_975, reference: "MDC_VENT_PRESS_AWAY_MEAN", label: "mean airway pressure", loinc: None, plausible: Some((-20, 100)) };
    /// Plateau pressure.
    VENT_PRESS_RESP_PLAT = { code: 152_424, reference: "MDC_VENT_PRESS_RESP_PLAT", label: "plateau pressure", loinc: None, plausible: Some((-20, 150)) };
    /// Total PEEP.
    PRESS_AWAY_END_EXP_POS_TOTAL = { code: 152_788, reference: "MDC_PRESS_AWAY_END_EXP_POS_TOTAL", label: "total PEEP", loinc: None, plausible: Some((-20, 100)) };
    /// Dynamic compliance.
    COMPL_LUNG_DYNAMIC = { code: 152_600, reference: "MDC_COMPL_LUNG_DYNAMIC", label: "dynamic compliance", loinc: None, plausible: None };
    /// I:E ratio.
    RATIO_IE = { code: 151_832, reference: "MDC_RATIO_IE", label: "I:E ratio", loinc: None, plausible: None };
    /// Gas flow in the airway.
    FLOW_AWAY = { code: 151_764, reference: "MDC_FLOW_AWAY", label: "gas flow in the airway", loinc: None, plausible: None };
    /// Supply problem.
    EVT_SUPPLY_PROB = { code: 196_786, reference: "MDC_EVT_SUPPLY_PROB", label: "supply problem", loinc: None, plausible: None };
    /// Battery problem.
    EVT_BATT_PROB = { code: 196_806, reference: "MDC_EVT_BATT_PROB", label: "battery problem", loinc: None, plausible: None };
    /// Mains problem.
    EVT_ELEC_PWR_LINE_PROB = { code: 196_844, reference: "MDC_EVT_ELEC_PWR_LINE_PROB", label: "mains problem", loinc: None, plausible: None };
    /// Sensor problem.
    EVT_SENSOR_PROB = { code: 196_920, reference: "MDC_EVT_SENSOR_PROB", label: "sensor problem", loinc: None, plausible: None };
    /// Power problem.
    EVT_POWER_PROB = { code: 197_168, reference: "MDC_EVT_POWER_PROB", label: "power problem", loinc: None, plausible: None };
    /// Delivered oxygen low.
    EVT_VENT_CONC_O2_DELIV_LO = { code: 197_204, reference: "MDC_EVT_VENT_CONC_O2_DELIV_LO", label: "delivered oxygen low", loinc: None, plausible: None };
    /// Pulse rate from whatever source the monitor takes.
    PULS_RATE = { code: 149_514, reference: "MDC_PULS_RATE", label: "pulse rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Pulse rate from the plethysmogram.
    PLETH_PULS_RATE = { code: 149_538, reference: "MDC_PLETH_PULS_RATE", label: "pulse rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Pulse rate of a non-invasive measurement.
    PULS_RATE_NON_INV = { code: 149_546, reference: "MDC_PULS_RATE_NON_INV", label: "pulse rate", loinc: Some("8867-4"), plausible: Some((20, 300)) };
    /// Non-invasive blood pressure as a whole.
    PRESS_BLD_NONINV = { code: 150_020, reference: "MDC_PRESS_BLD_NONINV", label: "non-invasive blood pressure", loinc: None, plausible: Some((0, 350)) };
    /// Cuff pressure, systolic.
    PRESS_CUFF_SYS = { code: 150_301, reference: "MDC_PRESS_CUFF_SYS", label: "cuff systolic pressure", loinc: None, plausible: Some((0, 350)) };
    /// Cuff pressure, diastolic.
    PRESS_CUFF_DIA = { code: 150_302, reference: "MDC_PRESS_CUFF_DIA", label: "cuff diastolic pressure", loinc: None, plausible: Some((0, 350)) };
    /// Cuff pressure, mean.
    PRESS_CUFF_MEAN = { code: 150_303, reference: "MDC_PRESS_CUFF_MEAN", label: "cuff mean pressure", loinc: None, plausible: Some((0, 350)) };
    /// Arterial pressure at an unstated place, systolic.
    PRESS_BLD_ART_SYS = { code: 150_033, reference: "MDC_PRESS_BLD_ART_SYS", label: "arterial systolic pressure", loinc: None, plausible: Some((0, 350)) };
    /// Arterial pressure at an unstated place, diastolic.
    PRESS_BLD_ART_DIA = { code: 150_034, reference: "MDC_PRESS_BLD_ART_DIA", label: "arterial diastolic pressure", loinc: None, plausible: Some((0, 350)) };
    /// Arterial pressure at an unstated place, mean.
    PRESS_BLD_ART_MEAN = { code: 150_035, reference: "MDC_PRESS_BLD_ART_MEAN", label: "arterial mean pressure", loinc: None, plausible: Some((0, 350)) };
    /// Central venous pressure, systolic.
    PRESS_BLD_VEN_CENT_SYS = { code: 150_085, reference: "MDC_PRESS_BLD_VEN_CENT_SYS", label: "central venous systolic pressure", loinc: None, plausible: Some((-30, 100)) };
    /// Central venous pressure, diastolic.
    PRESS_BLD_VEN_CENT_DIA = { code: 150_086, reference: "MDC_PRESS_BLD_VEN_CENT_DIA", label: "central venous diastolic pressure", loinc: None, plausible: Some((-30, 100)) };
    /// Intracranial pressure, mean.
    PRESS_INTRA_CRAN_MEAN = { code: 153_611, reference: "MDC_PRESS_INTRA_CRAN_MEAN", label: "intracranial pressure", loinc: None, plausible: Some((-30, 150)) };
    /// Body temperature.
    TEMP_BODY = { code: 150_364, reference: "MDC_TEMP_BODY", label: "body temperature", loinc: Some("8310-5"), plausible: Some((15, 45)) };
    /// Core temperature.
    TEMP_CORE = { code: 150_368, reference: "MDC_TEMP_CORE", label: "core temperature", loinc: None, plausible: Some((15, 45)) };
    /// Oesophageal temperature.
    TEMP_ESOPH = { code: 150_372, reference: "MDC_TEMP_ESOPH", label: "oesophageal temperature", loinc: None, plausible: Some((15, 45)) };
    /// Nasopharyngeal temperature.
    TEMP_NASOPH = { code: 150_380, reference: "MDC_TEMP_NASOPH", label: "nasopharyngeal temperature", loinc: None, plausible: Some((15, 45)) };
    /// Skin temperature.
    TEMP_SKIN = { code: 150_388, reference: "MDC_TEMP_SKIN", label: "skin temperature", loinc: None, plausible: Some((15, 45)) };
    /// Tympanic temperature.
    TEMP_TYMP = { code: 150_392, reference: "MDC_TEMP_TYMP", label: "tympanic temperature", loinc: None, plausible: Some((15, 45)) };
    /// Arterial temperature.
    TEMP_ART = { code: 150_352, reference: "MDC_TEMP_ART", label: "arterial temperature", loinc: None, plausible: Some((15, 45)) };
    /// Venous temperature.
    TEMP_VEN = { code: 150_396, reference: "MDC_TEMP_VEN", label: "venous temperature", loinc: None, plausible: Some((15, 45)) };
    /// Rectal temperature.
    TEMP_RECT = { code: 188_420, reference: "MDC_TEMP_RECT", label: "rectal temperature", loinc: None, plausible: Some((15, 45)) };
    /// Oral temperature.
    TEMP_ORAL = { code: 188_424, reference: "MDC_TEMP_ORAL", label: "oral temperature", loinc: None, plausible: Some((15, 45)) };
    /// Respiration rate at the airway.
    AWAY_RESP_RATE = { code: 151_570, reference: "MDC_AWAY_RESP_RATE", label: "respiration rate (airway)", loinc: Some("9279-1"), plausible: Some((0, 150)) };
    /// Respiration rate from thoracic impedance.
    TTHOR_RESP_RATE = { code: 151_578, reference: "MDC_TTHOR_RESP_RATE", label: "respiration rate (thoracic)", loinc: Some("9279-1"), plausible: Some((0, 150)) };
    /// Body weight.
    MASS_BODY_ACTUAL = { code: 188_736, reference: "MDC_MASS_BODY_ACTUAL", label: "body weight", loinc: Some("29463-7"), plausible: None };
    /// Venous oxygen saturation.
    SAT_O2_VEN = { code: 150_332, reference: "MDC_SAT_O2_VEN", label: "venous oxygen saturation", loinc: None, plausible: Some((0, 100)) };
    /// Ventricular premature contractions.
    ECG_V_P_C_CNT = { code: 148_065, reference: "MDC_ECG_V_P_C_CNT", label: "ventricular premature contractions", loinc: None, plausible: None };
    /// QT interval.
    ECG_TIME_PD_QT_GL = { code: 147_232, reference: "MDC_ECG_TIME_PD_QT_GL", label: "QT interval", loinc: None, plausible: Some((100, 1_000)) };
    /// QT interval, corrected for the heart rate.
    ECG_TIME_PD_QTC = { code: 147_236, reference: "MDC_ECG_TIME_PD_QTc", label: "corrected QT interval", loinc: None, plausible: Some((100, 1_000)) };
    /// ST segment in lead I.
    ECG_AMPL_ST_I = { code: 131_841, reference: "MDC_ECG_AMPL_ST_I", label: "ST segment, lead I", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead II.
    ECG_AMPL_ST_II = { code: 131_842, reference: "MDC_ECG_AMPL_ST_II", label: "ST segment, lead II", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead III.
    ECG_AMPL_ST_III = { code: 131_901, reference: "MDC_ECG_AMPL_ST_III", label: "ST segment, lead III", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead AVR.
    ECG_AMPL_ST_AVR = { code: 131_902, reference: "MDC_ECG_AMPL_ST_AVR", label: "ST segment, lead AVR", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead AVL.
    ECG_AMPL_ST_AVL = { code: 131_903, reference: "MDC_ECG_AMPL_ST_AVL", label: "ST segment, lead AVL", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead AVF.
    ECG_AMPL_ST_AVF = { code: 131_904, reference: "MDC_ECG_AMPL_ST_AVF", label: "ST segment, lead AVF", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V.
    ECG_AMPL_ST_V = { code: 131_907, reference: "MDC_ECG_AMPL_ST_V", label: "ST segment, lead V", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V1.
    ECG_AMPL_ST_V1 = { code: 131_843, reference: "MDC_ECG_AMPL_ST_V1", label: "ST segment, lead V1", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V2.
    ECG_AMPL_ST_V2 = { code: 131_844, reference: "MDC_ECG_AMPL_ST_V2", label: "ST segment, lead V2", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V3.
    ECG_AMPL_ST_V3 = { code: 131_845, reference: "MDC_ECG_AMPL_ST_V3", label: "ST segment, lead V3", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V4.
    ECG_AMPL_ST_V4 = { code: 131_846, reference: "MDC_ECG_AMPL_ST_V4", label: "ST segment, lead V4", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V5.
    ECG_AMPL_ST_V5 = { code: 131_847, reference: "MDC_ECG_AMPL_ST_V5", label: "ST segment, lead V5", loinc: None, plausible: Some((-30, 30)) };
    /// ST segment in lead V6.
    ECG_AMPL_ST_V6 = { code: 131_848, reference: "MDC_ECG_AMPL_ST_V6", label: "ST segment, lead V6", loinc: None, plausible: Some((-30, 30)) };
    // Personal health devices (HL7 PHD guide, section "Nomenclature codes"; 11073-10101 by way of the tables of
    // openly licensed sensor software).
    /// How good the signal of a pulse oximeter is.
    SAT_O2_QUAL = { code: 150_320, reference: "MDC_SAT_O2_QUAL", label: "quality of the oximetry signal", loinc: None, plausible: None };
    /// Temperature in the ear.
    TEMP_EAR = { code: 188_428, reference: "MDC_TEMP_EAR", label: "temperature, ear", loinc: None, plausible: Some((20, 45)) };
    /// Temperature of a finger.
    TEMP_FINGER = { code: 188_432, reference: "MDC_TEMP_FINGER", label: "temperature, finger", loinc: None, plausible: Some((10, 45)) };
    /// Temperature of a toe.
    TEMP_TOE = { code: 188_448, reference: "MDC_TEMP_TOE", label: "temperature, toe", loinc: None, plausible: Some((10, 45)) };
    /// Temperature in the armpit.
    TEMP_AXILLA = { code: 188_452, reference: "MDC_TEMP_AXILLA", label: "temperature, armpit", loinc: None, plausible: Some((20, 45)) };
    /// Temperature in the gastrointestinal tract.
    TEMP_GIT = { code: 188_456, reference: "MDC_TEMP_GIT", label: "temperature, gastrointestinal", loinc: None, plausible: Some((20, 45)) };
    /// Body height.
    LEN_BODY_ACTUAL = { code: 188_740, reference: "MDC_LEN_BODY_ACTUAL", label: "body height", loinc: Some("8302-2"), plausible: None };
    /// Body fat, of the weight.
    BODY_FAT = { code: 188_748, reference: "MDC_BODY_FAT", label: "body fat", loinc: None, plausible: Some((0, 100)) };
    /// Body mass index.
    RATIO_MASS_BODY_LEN_SQ = { code: 188_752, reference: "MDC_RATIO_MASS_BODY_LEN_SQ", label: "body mass index", loinc: Some("39156-5"), plausible: None };
    /// Fat-free mass.
    MASS_BODY_FAT_FREE = { code: 188_756, reference: "MDC_MASS_BODY_FAT_FREE", label: "fat-free mass", loinc: None, plausible: None };
    /// Soft lean mass.
    MASS_BODY_SOFT_LEAN = { code: 188_760, reference: "MDC_MASS_BODY_SOFT_LEAN", label: "soft lean mass", loinc: None, plausible: None };
    /// Body water.
    BODY_WATER = { code: 188_764, reference: "MDC_BODY_WATER", label: "body water", loinc: None, plausible: None };
    /// Glycated haemoglobin.
    CONC_HBA1C = { code: 160_220, reference: "MDC_CONC_HBA1C", label: "HbA1c", loinc: None, plausible: Some((2, 25)) };
    /// What a glucose meter says of itself, its strip and its sample.
    GLU_METER_DEV_STATUS = { code: 8_417_752, reference: "MDC_GLU_METER_DEV_STATUS", label: "glucose meter status", loinc: None, plausible: None };
    /// Carbohydrate, at no stated meal.
    CTXT_GLU_CARB = { code: 8_417_764, reference: "MDC_CTXT_GLU_CARB", label: "carbohydrate", loinc: None, plausible: None };
    /// Carbohydrate: breakfast.
    CTXT_GLU_CARB_BREAKFAST = { code: 8_417_768, reference: "MDC_CTXT_GLU_CARB_BREAKFAST", label: "carbohydrate, breakfast", loinc: None, plausible: None };
    /// Carbohydrate: lunch.
    CTXT_GLU_CARB_LUNCH = { code: 8_417_772, reference: "MDC_CTXT_GLU_CARB_LUNCH", label: "carbohydrate, lunch", loinc: None, plausible: None };
    /// Carbohydrate: dinner.
    CTXT_GLU_CARB_DINNER = { code: 8_417_776, reference: "MDC_CTXT_GLU_CARB_DINNER", label: "carbohydrate, dinner", loinc: None, plausible: None };
    /// Carbohydrate: snack.
    CTXT_GLU_CARB_SNACK = { code: 8_417_780, reference: "MDC_CTXT_GLU_CARB_SNACK", label: "carbohydrate, snack", loinc: None, plausible: None };
    /// Carbohydrate: drink.
    CTXT_GLU_CARB_DRINK = { code: 8_417_784, reference: "MDC_CTXT_GLU_CARB_DRINK", label: "carbohydrate, drink", loinc: None, plausible: None };
    /// Carbohydrate: supper.
    CTXT_GLU_CARB_SUPPER = { code: 8_417_788, reference: "MDC_CTXT_GLU_CARB_SUPPER", label: "carbohydrate, supper", loinc: None, plausible: None };
    /// Carbohydrate: brunch.
    CTXT_GLU_CARB_BRUNCH = { code: 8_417_792, reference: "MDC_CTXT_GLU_CARB_BRUNCH", label: "carbohydrate, brunch", loinc: None, plausible: None };
    /// Medication, of no stated kind.
    CTXT_MEDICATION = { code: 8_417_796, reference: "MDC_CTXT_MEDICATION", label: "medication", loinc: None, plausible: None };
    /// Insulin: rapid-acting.
    CTXT_MEDICATION_RAPIDACTING = { code: 8_417_800, reference: "MDC_CTXT_MEDICATION_RAPIDACTING", label: "insulin, rapid-acting", loinc: None, plausible: None };
    /// Insulin: short-acting.
    CTXT_MEDICATION_SHORTACTING = { code: 8_417_804, reference: "MDC_CTXT_MEDICATION_SHORTACTING", label: "insulin, short-acting", loinc: None, plausible: None };
    /// Insulin: intermediate-acting.
    CTXT_MEDICATION_INTERMEDIATEACTING = { code: 8_417_808, reference: "MDC_CTXT_MEDICATION_INTERMEDIATEACTING", label: "insulin, intermediate-acting", loinc: None, plausible: None };
    /// Insulin: long-acting.
    CTXT_MEDICATION_LONGACTING = { code: 8_417_812, reference: "MDC_CTXT_MEDICATION_LONGACTING", label: "insulin, long-acting", loinc: None, plausible: None };
    /// Insulin: premixed.
    CTXT_MEDICATION_PREMIX = { code: 8_417_816, reference: "MDC_CTXT_MEDICATION_PREMIX", label: "insulin, premixed", loinc: None, plausible: None };
    /// The health of the patient at a glucose measurement.
    CTXT_GLU_HEALTH = { code: 8_417_820, reference: "MDC_CTXT_GLU_HEALTH", label: "health at the glucose measurement", loinc: None, plausible: None };
    /// Where the sample of a glucose measurement was taken.
    CTXT_GLU_SAMPLELOCATION = { code: 8_417_844, reference: "MDC_CTXT_GLU_SAMPLELOCATION", label: "site of the glucose sample", loinc: None, plausible: None };
    /// How a glucose measurement stands to a meal.
    CTXT_GLU_MEAL = { code: 8_417_864, reference: "MDC_CTXT_GLU_MEAL", label: "meal at the glucose measurement", loinc: None, plausible: None };
    /// Who made a glucose measurement.
    CTXT_GLU_TESTER = { code: 8_417_884, reference: "MDC_CTXT_GLU_TESTER", label: "who measured glucose", loinc: None, plausible: None };
    /// Doses that a dispenser of fixed doses gave (an inhaler).
    AI_MED_DISPENSED_FIXED = { code: 8_532_992, reference: "MDC_AI_MED_DISPENSED_FIXED", label: "doses dispensed", loinc: None, plausible: None };
    /// What a dispenser of variable doses gave (a pen).
    AI_MED_DISPENSED_VARIABLE = { code: 8_532_993, reference: "MDC_AI_MED_DISPENSED_VARIABLE", label: "medication dispensed", loinc: None, plausible: None };
    /// Temperature of the room.
    TEMP_ROOM = { code: 188_508, reference: "MDC_TEMP_ROOM", label: "room temperature", loinc: None, plausible: None };
    /// Relative humidity of the room.
    REL_HUMIDITY_MICROENV = { code: 184_292, reference: "MDC_REL_HUMIDITY_MICROENV", label: "relative humidity", loinc: None, plausible: None };
    /// Charge of the battery.
    ATTR_VAL_BATT_CHARGE = { code: 67_996, reference: "MDC_ATTR_VAL_BATT_CHARGE", label: "battery", loinc: None, plausible: Some((0, 100)) };
    /// What a blood pressure monitor says of its measurement.
    BLOOD_PRESSURE_MEASUREMENT_STATUS = { code: 8_410_608, reference: "MDC_BLOOD_PRESSURE_MEASUREMENT_STATUS", label: "blood pressure measurement status", loinc: None, plausible: None };
    /// Electrocardiogram, of no stated lead.
    ECG_ELEC_POTL = { code: 131_328, reference: "MDC_ECG_ELEC_POTL", label: "ECG", loinc: None, plausible: None };
    /// Electrocardiogram, lead I.
    ECG_ELEC_POTL_I = { code: 131_329, reference: "MDC_ECG_ELEC_POTL_I", label: "ECG, lead I", loinc: None, plausible: None };
    /// Electrocardiogram, lead II.
    ECG_ELEC_POTL_II = { code: 131_330, reference: "MDC_ECG_ELEC_POTL_II", label: "ECG, lead II", loinc: None, plausible: None };
    /// Electrocardiogram, lead V1.
    ECG_ELEC_POTL_V1 = { code: 131_331, reference: "MDC_ECG_ELEC_POTL_V1", label: "ECG, lead V1", loinc: None, plausible: None };
    /// Electrocardiogram, lead V2.
    ECG_ELEC_POTL_V2 = { code: 131_332, reference: "MDC_ECG_ELEC_POTL_V2", label: "ECG, lead V2", loinc: None, plausible: None };
    /// Electrocardiogram, lead V3.
    ECG_ELEC_POTL_V3 = { code: 131_333, reference: "MDC_ECG_ELEC_POTL_V3", label: "ECG, lead V3", loinc: None, plausible: None };
    /// Electrocardiogram, lead V4.
    ECG_ELEC_POTL_V4 = { code: 131_334, reference: "MDC_ECG_ELEC_POTL_V4", label: "ECG, lead V4", loinc: None, plausible: None };
    /// Electrocardiogram, lead V5.
    ECG_ELEC_POTL_V5 = { code: 131_335, reference: "MDC_ECG_ELEC_POTL_V5", label: "ECG, lead V5", loinc: None, plausible: None };
    /// Electrocardiogram, lead V6.
    ECG_ELEC_POTL_V6 = { code: 131_336, reference: "MDC_ECG_ELEC_POTL_V6", label: "ECG, lead V6", loinc: None, plausible: None };
    /// Electrocardiogram, lead III.
    ECG_ELEC_POTL_III = { code: 131_389, reference: "MDC_ECG_ELEC_POTL_III", label: "ECG, lead III", loinc: None, plausible: None };
    /// Electrocardiogram, lead AVR.
    ECG_ELEC_POTL_AVR = { code: 131_390, reference: "MDC_ECG_ELEC_POTL_AVR", label: "ECG, lead AVR", loinc: None, plausible: None };
    /// Electrocardiogram, lead AVL.
    ECG_ELEC_POTL_AVL = { code: 131_391, reference: "MDC_ECG_ELEC_POTL_AVL", label: "ECG, lead AVL", loinc: None, plausible: None };
    /// Electrocardiogram, lead AVF.
    ECG_ELEC_POTL_AVF = { code: 131_392, reference: "MDC_ECG_ELEC_POTL_AVF", label: "ECG, lead AVF", loinc: None, plausible: None };
    /// Plethysmogram of a pulse oximeter.
    PULS_OXIM_PLETH = { code: 150_452, reference: "MDC_PULS_OXIM_PLETH", label: "plethysmogram", loinc: None, plausible: None };
    // BLE profiles.
}
