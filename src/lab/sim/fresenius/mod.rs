//! A simulated Fresenius Vial Base A with up to five Module DPS: STX, address, message, checksum, ETX, each
//! frame acknowledged, and life signs (ENQ) that want an answer (DC4).
//!
//! It answers DC, FC, LE, LF, LN and LP; everything that would change a module it refuses and counts. A
//! session that was not opened is refused as the protocol says (0D of the base, 1E of a module).

mod values;

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::pty::Pty;
use super::{Control, Running, Sim, paced};
pub use values::{Module, Setup, Values};

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "fresenius-base-a",
    title: "Fresenius Base A with Module DPS",
    identities: ["20101234", "20109876"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            identity: start.identity.clone().unwrap_or(usual.identity),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        Ok(Running::new(base(setup, Values::default())?))
    },
};

/// Makes a base: a future to run, and its control. The port exists as soon as this returns. Wants a tokio
/// runtime around it.
pub fn base(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.identity.clone(), pty.path().to_owned());
    let base = Base {
        last_identity: setup.identity.clone(),
        last_serials: [const { None }; 5],
        setup,
        control: control.clone(),
        heard: Vec::new(),
        is_inside: false,
        is_after_nak: false,
        last_frame: None,
        open: [false; 6],
        is_life_sign_owed: false,
    };
    Ok((base.run(pty), control))
}

struct Base {
    setup: Setup,
    control: Control<Values>,
    /// Who stood on the port, and on its places, when the sessions were opened.
    last_identity: String,
    last_serials: [Option<String>; 5],
    /// The command that is coming in.
    heard: Vec<u8>,
    is_inside: bool,
    is_after_nak: bool,
    /// The last answer, to be sent again once when it is refused.
    last_frame: Option<(String, Vec<u8>)>,
    open: [bool; 6],
    is_life_sign_owed: bool,
}

/// The longest message of the protocol.
const MESSAGE_MAX: usize = 80;

/// How many life signs a base asks for in a row when it was switched on.
const STORM: usize = 20;

impl Base {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        let mut life_signs = tokio::time::interval(self.setup.life_signs);
        life_signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.control.is_stopped() {
            let is_cycled = self.control.state().power_cycle.is_some();
            self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
            let Some(port) = &pty else { return Ok(()) };
            if is_cycled || std::mem::take(&mut self.control.state().is_clock_restarted) {
                self.open = [false; 6];
                self.storm(port).await;
            }
            let mut buffer = [0; 256];
            let count = tokio::select! {
                count = port.get(&mut buffer) => count?,
                () = self.control.changed() => {
                    self.control.state().sets.clear();
                    continue;
                }
                _ = life_signs.tick() => {
                    self.ask_for_life(port).await;
                    continue;
                }
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            self.control.take_received(bytes);
            for &byte in bytes {
                self.hear(port, byte).await;
            }
        }
        Ok(())
    }

    /// Switched on: the base asks for life signs in quick succession and knows no session.
    async fn storm(&mut self, port: &Pty) {
        for _ in 0..STORM {
            paced(port, self.setup.baud, &[0x05]).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.is_life_sign_owed = false;
    }

    /// A life sign that was not given closes all sessions. What modules say unasked comes with it.
    async fn ask_for_life(&mut self, port: &Pty) {
        if std::mem::replace(&mut self.is_life_sign_owed, true) && self.open.contains(&true) {
            self.control.refuse();
            self.open = [false; 6];
        }
        paced(port, self.setup.baud, &[0x05]).await;
        for (place, module) in self.control.values().modules.into_iter().enumerate() {
            if let Some(module) = module.filter(|module| module.is_talkative) {
                let message = format!("{}E;r{:08X}", place + 1, module.volume);
                let frame = framed(&message);
                self.control.send(port, self.setup.baud, &message, &frame).await;
            }
        }
    }

    async fn hear(&mut self, port: &Pty, byte: u8) {
        let is_reason = std::mem::take(&mut self.is_after_nak);
        match byte {
            0x14 => self.is_life_sign_owed = false,
            0x06 => self.last_frame = None,
            0x15 => self.is_after_nak = true,
            b'2' if is_reason => {
                if let Some((message, frame)) = self.last_frame.take() {
                    self.control.send(port, self.setup.baud, &message, &frame).await;
                }
            }
            0x02 => {
                self.heard.clear();
                self.is_inside = true;
            }
            0x03 if self.is_inside => {
                self.is_inside = false;
                self.understand(port).await;
            }
            _ if self.is_inside && self.heard.len() <= MESSAGE_MAX + 2 => self.heard.push(byte),
            _ => self.control.refuse(),
        }
    }

    async fn understand(&mut self, port: &Pty) {
        let text = String::from_utf8_lossy(&self.heard).into_owned();
        let split = text.len().checked_sub(2).and_then(|at| text.split_at_checked(at));
        let Some((message, _)) = split.filter(|(message, sum)| checksum(message) == *sum) else {
            self.control.refuse();
            paced(port, self.setup.baud, &[0x15, b'2']).await;
            return;
        };
        if let Some((_, "E" | "M")) = message.split_at_checked(1) {
            // The echo of what was said unasked.
            paced(port, self.setup.baud, &[0x06]).await;
            return;
        }
        let address = message.chars().next().and_then(|digit| digit.to_digit(10)).filter(|digit| *digit <= 5);
        let Some(address) = address else {
            self.control.refuse();
            paced(port, self.setup.baud, &[0x15, b'4']).await;
            return;
        };
        let is_dumb = self.module(address).is_some_and(|module| module.is_dumb);
        if is_dumb {
            return;
        }
        paced(port, self.setup.baud, &[0x06]).await;
        tokio::time::sleep(self.setup.think).await;
        let command = message.get(1..).unwrap_or_default();
        let answer = format!("{address}{}", self.answer(address, command));
        let frame = framed(&answer);
        self.last_frame = Some((answer.clone(), frame.clone()));
        self.control.send(port, self.setup.baud, &answer, &frame).await;
    }

    fn module(&self, address: u32) -> Option<Module> {
        let place = usize::try_from(address).ok()?.checked_sub(1)?;
        self.control.values().modules.get(place).cloned().flatten()
    }

    fn serial(&self, address: u32) -> Option<String> {
        let identity = self.control.state().identity.clone();
        if address == 0 {
            return Some(identity);
        }
        Some(self.module(address)?.serial.unwrap_or_else(|| format!("{identity}-{address}")))
    }

    /// A base or a module that is another one than the one whose session was opened knows of no session.
    fn close_strangers(&mut self) {
        let identity = self.control.state().identity.clone();
        if identity != self.last_identity {
            self.open = [false; 6];
            self.last_identity = identity;
        }
        for address in 1..=5u32 {
            let serial = self.serial(address);
            let is_open = self.module(address).is_some_and(|module| module.is_open);
            let place = usize::try_from(address).unwrap_or_default();
            let Some(last) = self.last_serials.get_mut(place - 1) else { continue };
            if *last != serial {
                *last = serial;
                self.set_open(address, false);
            }
            if is_open {
                self.set_open(address, true);
                self.set_open(0, true);
            }
        }
    }

    fn set_open(&mut self, address: u32, is_open: bool) {
        if let Some(open) = self.open.get_mut(usize::try_from(address).unwrap_or_default()) {
            *open = is_open;
        }
    }

    fn is_open(&self, address: u32) -> bool {
        self.open.get(usize::try_from(address).unwrap_or_default()).copied().unwrap_or_default()
    }

    /// The answer, without its origin.
    fn answer(&mut self, address: u32, command: &str) -> String {
        self.close_strangers();
        let is_there = address == 0 || self.module(address).is_some();
        let (word, argument) = command.split_once(';').unwrap_or((command, ""));
        match word {
            "DC" if address > 0 && !self.is_open(0) => return "I;0D".to_owned(),
            "DC" if !is_there => return "I;0E".to_owned(),
            "DC" | "FC" => {
                self.set_open(address, word == "DC");
                // What was owed before anybody was there is not held against the host.
                self.is_life_sign_owed = false;
                return "C".to_owned();
            }
            "LE" | "LF" | "LN" | "LP" => {}
            _ => {
                self.control.refuse();
                return "I;01".to_owned();
            }
        }
        match (self.is_open(0), is_there, self.is_open(address)) {
            (false, ..) => return "I;0D".to_owned(),
            (_, false, _) => return "I;0E".to_owned(),
            (.., false) => return "I;1E".to_owned(),
            (true, true, true) => {}
        }
        match (word, self.module(address)) {
            ("LN", _) => format!("C;{}", self.serial(address).unwrap_or_default()),
            ("LP", Some(module)) => format!("C;{}", module.drug),
            ("LF", _) if argument == "b" => format!("C;b{:02X}", if address == 0 { 0x0A } else { 0x1D }),
            ("LE", None) if argument == "b" => format!("C;b{:02X}", self.places()),
            ("LE", Some(module)) => self.variables(&module, argument),
            _ => "I;0A".to_owned(),
        }
    }

    fn places(&self) -> u32 {
        let modules = self.control.values().modules;
        modules.iter().rev().fold(0, |mask, module| mask * 2 + u32::from(module.is_some()))
    }

    fn variables(&self, module: &Module, letters: &str) -> String {
        if letters.len() > 1 && !self.setup.takes_lists {
            return "I;0B".to_owned();
        }
        let mut answer = "C".to_owned();
        for letter in letters.chars() {
            let value = match letter {
                'a' => match self.control.is_flooded() {
                    Some(left) if left % 2 == 0 => "0004".to_owned(),
                    Some(_) => "0020".to_owned(),
                    None => format!("{:04X}", module.alarm),
                },
                'e' => format!("{:02X}", module.error),
                'm' => format!("{:02X}", module.mode),
                'd' => format!("{:04X}", module.rate),
                'r' => format!("{:08X}", module.volume),
                'k' => "04B0".to_owned(),
                's' => "00000000".to_owned(),
                _ => return "I;0A".to_owned(),
            };
            answer = format!("{answer};{letter}{value}");
        }
        answer
    }
}

fn framed(message: &str) -> Vec<u8> {
    format!("\u{2}{message}{}\u{3}", checksum(message)).into_bytes()
}

/// What is left of FF after every byte was taken off it, one by one, round the corner below zero.
fn checksum(message: &str) -> String {
    let mut left = 255u32;
    for byte in message.bytes() {
        left = (left + 256 - u32::from(byte)) % 256;
    }
    format!("{left:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_facts() {
        for (message, sum) in
            [("0DC", "48"), ("1DC", "47"), ("1LE;dr", "2C"), ("1FC", "45"), ("1C;d0023;r00000BB8", "CE")]
        {
            assert_eq!(checksum(message), sum, "{message}");
        }
    }
}
