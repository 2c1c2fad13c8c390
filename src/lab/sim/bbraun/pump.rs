//! One pump of a simulated rack, and its parameters in the protocol's words.

/// One pump, digit for digit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pump {
    /// Its serial number, when it is not made of the rack's identity and the place.
    pub serial: Option<u32>,
    /// mL/h.
    pub rate: String,
    /// The drug's long name; empty when none was chosen.
    pub drug: String,
    /// mL infused.
    pub volume: String,
    /// s; 65535 for none.
    pub time_left: u16,
    /// Concentration and dose rate with the numbers of their units, when the pump reckons in doses.
    pub dose: Option<(String, u8, String, u8)>,
    /// Flags `INM1` to `INM12`, the lowest bit is the first.
    pub modes: u16,
    /// Flags `INA1` to `INA15`.
    pub alarms: u16,
}

impl Default for Pump {
    fn default() -> Self {
        Self {
            serial: None,
            rate: "0.30".to_owned(),
            drug: "Arterenol4mg/50".to_owned(),
            volume: "1.4".to_owned(),
            time_left: 65_535,
            dose: None,
            modes: 0b1001_0100,
            alarms: 0,
        }
    }
}

impl Pump {
    /// Its parameters and their values, in the order of published blocks.
    pub(super) fn words(&self, serial: u32) -> Vec<String> {
        let word = |text: &str| if text.is_empty() { "_NV".to_owned() } else { text.to_owned() };
        let short: String = self.drug.chars().take(7).collect();
        let none = ("0".to_owned(), 32, "0".to_owned(), 50);
        let (concentration, its_unit, dose, dose_unit) = self.dose.clone().unwrap_or(none);
        let Pump { rate, volume, time_left, .. } = self;
        let mut words = vec![
            format!("INRT,{rate}"),
            format!("INSOL,{}", word(&self.drug)),
            format!("INSOLSN,{}\u{E021}", word(&short)),
            "INSOLID,33~4mg/5002".to_owned(),
            "INVOLACT,47.64".to_owned(),
            format!("INRMT,{time_left}"),
            format!("INDOCAL,{}", u8::from(self.dose.is_some())),
            format!("INDCON,{concentration}"),
            format!("INDCONU,{its_unit}"),
            format!("INDORT,{dose}"),
            format!("INDORTU,{dose_unit}"),
            format!("INVI,{volume}"),
            "INTIME,97".to_owned(),
            "INBORT,800.00".to_owned(),
            format!("INNR,6000{:04X}", serial % 65_536),
            "INP1,4".to_owned(),
            "INP2,35".to_owned(),
            "INSYR,50".to_owned(),
            "INSTBY,0".to_owned(),
            format!("INSERNUM,{serial}"),
            "INDTNR,6144".to_owned(),
            "DSSTATUS,00051".to_owned(),
            "INBOVAL,0.0".to_owned(),
            "INBOCNT,0".to_owned(),
        ];
        words.extend((1..=12).map(|flag| match flag {
            4 | 9 => format!("INM{flag},_NV"),
            _ => format!("INM{flag},{}", self.modes >> (flag - 1) & 1),
        }));
        words.extend((1..=15).map(|flag| match flag {
            6 | 10 | 13 => format!("INA{flag},_NV"),
            _ => format!("INA{flag},{}", self.alarms >> (flag - 1) & 1),
        }));
        words
    }
}
