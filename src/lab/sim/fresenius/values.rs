//! How a simulated base is set up, and what its modules show.

use std::path::PathBuf;
use std::time::Duration;

use crate::lab::sim::{Minute, Plays, Shown};

/// How the simulated base is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// What the base's own identification is; the modules' are made of it.
    pub identity: String,
    /// Bits per second.
    pub baud: u32,
    /// How long the base thinks before it answers.
    pub think: Duration,
    /// From one life sign asked for to the next.
    pub life_signs: Duration,
    /// Whether the modules take several variables in one LE.
    pub takes_lists: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            identity: "BA-2041".to_owned(),
            baud: 19_200,
            think: Duration::from_millis(5),
            life_signs: Duration::from_secs(1),
            takes_lists: true,
        }
    }
}

/// What one module shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its identification, when not the usual one of its place.
    pub serial: Option<String>,
    /// Tenths of mL/h.
    pub rate: u32,
    /// Thousandths of mL.
    pub volume: u32,
    /// The alarm word.
    pub alarm: u32,
    /// The error word.
    pub error: u32,
    /// The mode.
    pub mode: u32,
    /// The drug.
    pub drug: String,
    /// Whether it says its volume without being asked, as an earlier host may have wanted it.
    pub is_talkative: bool,
    /// Whether it answers at all.
    pub is_dumb: bool,
    /// Whether its session is open already: an earlier host opened it.
    pub is_open: bool,
}

impl Default for Module {
    fn default() -> Self {
        Self {
            serial: None,
            rate: 0x23,
            volume: 0xBB8,
            alarm: 0,
            error: 0,
            mode: 1,
            drug: "PROPOFOL 1%".to_owned(),
            is_talkative: false,
            is_dumb: false,
            is_open: false,
        }
    }
}

/// What the base shows: its five places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The modules, the first place first.
    pub modules: [Option<Module>; 5],
}

impl Default for Values {
    fn default() -> Self {
        Self { modules: [Some(Module::default()), Some(Module::default()), None, None, None] }
    }
}

impl Plays for Values {
    /// The recording has no pump in it: these infuse on.
    fn play(&mut self, minute: &Minute) {
        for module in self.modules.iter_mut().flatten() {
            module.volume = 0xBB8 + minute.minute * module.rate * 100 / 60;
        }
    }

    fn shown(&self) -> Vec<Shown> {
        let there = (1..).zip(&self.modules).filter_map(|(number, module)| Some((number, module.as_ref()?)));
        there
            .map(|(number, module): (u8, _)| {
                let volume = format!("{}.{:03}", module.volume / 1_000, module.volume % 1_000);
                Shown::at(number.to_string(), "MDC_VOL_FLUID_DELIV", volume)
            })
            .collect()
    }
}
