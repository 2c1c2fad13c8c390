//! A simulated B. Braun Space rack with up to 24 pumps, over BCC: it answers requests, block by block.
//!
//! A block that was not answered with ACK (06) holds up the rest of its reply for ever; NAK (15) has
//! it repeated; a new request calls the reply off. It knows the protocol's four reading requests and
//! refuses everything else. A pump that was put in since the last question for everything says so
//! (`GNNEW`), of one that was taken out the rack says once that it is gone (`GNERR` 39).

mod pump;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::pty::Pty;
use super::{Control, Minute, Plays, Running, Shown, Sim};
pub use pump::Pump;

/// How the simulated rack is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The stable path under which the port is found, as `/dev/serial/by-path` would give.
    pub link: Option<PathBuf>,
    /// What the pumps' serial numbers are made of: each is this number plus its place.
    pub identity: String,
    /// The rack's bed id.
    pub bed: String,
    /// The rack's version; `None` for one that does not know the request.
    pub version: Option<String>,
    /// Bits per second.
    pub baud: u32,
    /// How long the rack thinks before it answers a request.
    pub think: Duration,
    /// Whether it uses character stuffing.
    pub is_stuffed: bool,
    /// Whether it gives slots from the tenth on in two digits, as some with BCC 3.30 do.
    pub has_two_digits: bool,
    /// So many quadruples to a block; `None` for a pump to a block, as published racks do.
    pub per_block: Option<usize>,
    /// What the rack's clock shows at the beginning.
    pub seconds: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            link: None,
            identity: "36000".to_owned(),
            bed: "ComSystem".to_owned(),
            version: Some("V3.30".to_owned()),
            baud: 9_600,
            think: Duration::from_millis(20),
            is_stuffed: false,
            has_two_digits: false,
            per_block: None,
            seconds: 214,
        }
    }
}

/// A place: pillar 1 to 3, slot 1 to 24.
pub type Place = (u8, u8);

/// What the rack holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// The pumps by their places.
    pub pumps: BTreeMap<Place, Pump>,
    /// The barcode that was scanned last.
    pub barcode: String,
    /// What an experiment adds to every answer to a question for everything, in the protocol's words.
    pub extra: Vec<String>,
}

impl Default for Values {
    /// Two pumps in the first pillar.
    fn default() -> Self {
        Self::with([(1, 1), (1, 3)])
    }
}

impl Values {
    /// Usual pumps in these places.
    pub fn with(places: impl IntoIterator<Item = Place>) -> Self {
        let pumps = places.into_iter().map(|place| (place, Pump::default())).collect();
        Self { pumps, barcode: "_NV".to_owned(), extra: Vec::new() }
    }
}

impl Plays for Values {
    /// The recording has no pump in it: these infuse on.
    fn play(&mut self, minute: &Minute) {
        let infused = 140 + u64::from(minute.minute) / 2;
        for ((pillar, slot), pump) in &mut self.pumps {
            pump.volume = format!("{}.{:02}", infused / 100, infused % 100);
            // No two pumps of a rack show the same.
            pump.rate = format!("{pillar}.{slot:02}");
        }
    }

    fn shown(&self) -> Vec<Shown> {
        let of = |((pillar, slot), pump): (&Place, &Pump)| {
            let at = format!(
                "{pillar}-{}",
                char::from_digit(u32::from(*slot), 36).unwrap_or('?').to_ascii_uppercase()
            );
            [
                Shown::at(at.clone(), "MDC_VOL_FLUID_DELIV", &pump.volume),
                Shown::at(at, "MDC_FLOW_FLUID_PUMP", &pump.rate),
            ]
        };
        self.pumps.iter().flat_map(of).collect()
    }
}

/// The simulator's row.
pub static SIM: Sim = Sim {
    name: "bbraun-bcc",
    title: "B. Braun Space rack with infusion pumps",
    identities: ["36000", "47000"],
    start: |start| {
        let usual = Setup::default();
        let setup = Setup {
            link: start.link.clone(),
            identity: start.identity.clone().unwrap_or(usual.identity),
            baud: start.baud.unwrap_or(usual.baud),
            ..Setup::default()
        };
        let values = match start.parts {
            Some(count) => Values::with((0..count).map(|number| (number / 8, number % 8 + 1))),
            None => Values::default(),
        };
        Ok(Running::new(rack(setup, values)?))
    },
};

/// Makes a rack: a future to run, and its control. The port exists as soon as this returns. Wants a
/// tokio runtime around it.
pub fn rack(
    setup: Setup,
    values: Values,
) -> std::io::Result<(impl Future<Output = std::io::Result<()>> + Send, Control<Values>)> {
    let pty = Pty::open(setup.link.as_deref())?;
    let control = Control::new(values, setup.identity.clone(), pty.path().to_owned());
    let rack = Rack {
        first_second: setup.seconds,
        setup,
        control: control.clone(),
        began: instant(),
        heard: None,
        present: BTreeSet::new(),
        blocks: VecDeque::new(),
        last: None,
    };
    Ok((rack.run(pty), control))
}

struct Rack {
    setup: Setup,
    control: Control<Values>,
    began: Instant,
    first_second: u64,
    /// The request that is coming in, from its SOH on.
    heard: Option<Vec<u8>>,
    /// The places that were taken when everything was last asked for.
    present: BTreeSet<Place>,
    /// What is still to be sent of the reply.
    blocks: VecDeque<String>,
    /// What was sent and not acknowledged.
    last: Option<(String, bool)>,
}

/// The longest request that the rack listens to.
const REQUEST_MAX: usize = 128;

impl Rack {
    async fn run(mut self, pty: Pty) -> std::io::Result<()> {
        let mut pty = Some(pty);
        while !self.control.is_stopped() {
            if self.control.state().power_cycle.is_some() {
                self.control.cycle_power(&mut pty, self.setup.link.as_deref()).await?;
                self.restart();
            }
            if std::mem::take(&mut self.control.state().is_clock_restarted) {
                self.restart();
            }
            let Some(port) = &pty else { return Ok(()) };
            let mut buffer = [0; 256];
            let count = tokio::select! {
                count = port.get(&mut buffer) => count?,
                () = self.control.changed() => {
                    self.control.state().sets.clear();
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

    /// As after a loss of power: the clock begins again, no pump was seen, nothing is to be sent.
    fn restart(&mut self) {
        (self.began, self.first_second) = (instant(), 0);
        self.present.clear();
        self.blocks.clear();
        (self.last, self.heard) = (None, None);
    }

    fn seconds(&self) -> u64 {
        self.first_second + self.began.elapsed().as_secs()
    }

    async fn hear(&mut self, port: &Pty, byte: u8) {
        match (byte, self.heard.take()) {
            (0x01, _) => self.heard = Some(vec![byte]),
            (0x04, Some(request)) => self.understand(port, &request).await,
            (_, Some(request)) if request.len() < REQUEST_MAX => {
                self.heard = Some([request, vec![byte]].concat());
            }
            (0x06, None) => {
                if self.last.take().is_some() {
                    self.send_next(port).await;
                }
            }
            (0x15, None) => self.repeat(port).await,
            (_, Some(_) | None) => self.control.refuse(),
        }
    }

    async fn understand(&mut self, port: &Pty, request: &[u8]) {
        let Some(command) = self.command_of(request) else {
            self.control.refuse();
            return;
        };
        self.blocks.clear();
        self.last = None;
        let blocks = self.reply(&command);
        self.blocks.extend(blocks);
        tokio::time::sleep(self.setup.think).await;
        self.send_next(port).await;
    }

    /// The command in a request, when its length, checksum and bed id are right.
    fn command_of(&self, request: &[u8]) -> Option<String> {
        let text = String::from_utf8(request.to_vec()).ok()?;
        let text = if self.setup.is_stuffed { unstuff(&text) } else { text };
        let (head, sum) = text.rsplit_once('\x03')?;
        let (length, body) = head.strip_prefix('\x01')?.split_once('\x02')?;
        let is_right = length == format!("{:05}", text.len() + 1) && sum == total(&format!("{head}\x03"));
        let (bed, command) = body.split_once("/1/1>")?;
        let is_for_me = bed == self.setup.bed || (bed == "1" && command == "ADMIN:ALIVE");
        (is_right && is_for_me).then(|| command.to_owned())
    }

    /// The blocks of the reply to a command.
    fn reply(&mut self, command: &str) -> Vec<String> {
        let seconds = self.seconds();
        let slot = command.strip_prefix("MEM:GETSLOT#").and_then(place_of);
        match (command, slot, &self.setup.version) {
            ("ADMIN:ALIVE", ..) => vec![format!("{seconds},50100,GNACK,0")],
            ("ADMIN:VERSION", _, Some(version)) => vec![format!("{seconds},50100,{version}")],
            ("MEM:GET", ..) => self.everything(seconds),
            (_, Some(place), _) => match self.control.values().pumps.get(&place) {
                Some(pump) => self.blocked(&[self.pump(seconds, place, pump, "GNMODEL")]),
                None => vec![format!("{seconds},{},GNERR,811", self.address(place))],
            },
            _ => {
                self.control.refuse();
                vec![format!("{seconds},50100,GNERR,68")]
            }
        }
    }

    fn everything(&mut self, seconds: u64) -> Vec<String> {
        let mut values = self.control.values();
        if let Some(left) = self.control.is_flooded() {
            let first = values.pumps.values_mut().next();
            if let Some(pump) = first {
                pump.alarms = if left % 2 == 0 { 1 << 2 } else { 1 << 4 };
            }
        }
        let barcode = &values.barcode;
        let rack = [
            "FMNOR,1",
            "FMSTAT,00051",
            "FMDONGLE,T",
            &format!("FMBANY,{barcode}"),
            "FMRT,FMS1NSNS",
            "FMRSTAT,00051",
        ];
        let mut groups: Vec<Vec<String>> = vec![rack.map(|word| format!("{seconds},50100,{word}")).to_vec()];
        let gone: Vec<Place> =
            self.present.iter().filter(|place| !values.pumps.contains_key(*place)).copied().collect();
        groups.extend(gone.iter().map(|place| vec![format!("{seconds},{},GNERR,39", self.address(*place))]));
        for (place, pump) in &values.pumps {
            let model = if self.present.contains(place) { "GNMODEL" } else { "GNNEW" };
            groups.push(self.pump(seconds, *place, pump, model));
        }
        self.present = values.pumps.keys().copied().collect();
        groups.extend((!values.extra.is_empty()).then(|| values.extra.clone()));
        if values.pumps.is_empty() {
            groups.push(vec![format!("{seconds},50100,GNERR,11")]);
        }
        // What the rack says of itself goes with the first pump.
        if groups.len() > 1 {
            let rack = groups.remove(0);
            groups.iter_mut().take(1).for_each(|first| *first = [rack.clone(), first.clone()].concat());
        }
        self.blocked(&groups)
    }

    /// Quadruples as the data of blocks.
    fn blocked(&self, groups: &[Vec<String>]) -> Vec<String> {
        match self.setup.per_block {
            None => groups.iter().map(|group| group.join("\x1E")).collect(),
            Some(count) => groups.concat().chunks(count).map(|group| group.join("\x1E")).collect(),
        }
    }

    fn pump(&self, seconds: u64, place: Place, pump: &Pump, model: &str) -> Vec<String> {
        let made: u32 = self.control.state().identity.parse().unwrap_or(36_000);
        let serial = pump.serial.unwrap_or(made + u32::from(place.0) * 24 + u32::from(place.1));
        let address = self.address(place);
        let words = pump.words(serial).into_iter();
        let words = std::iter::once(format!("{model},688F030006")).chain(words);
        words.map(|word| format!("{seconds},{address},{word}")).collect()
    }

    fn address(&self, (pillar, slot): Place) -> String {
        match slot {
            0..=9 => format!("501{pillar}{slot}"),
            _ if self.setup.has_two_digits => format!("501{pillar}{slot}"),
            _ => format!("501{pillar}{}", char::from(b'A' + (slot - 10))),
        }
    }

    async fn send_next(&mut self, port: &Pty) {
        if let Some(block) = self.blocks.pop_front() {
            let is_last = self.blocks.is_empty();
            self.send(port, &block, is_last).await;
        }
    }

    async fn repeat(&mut self, port: &Pty) {
        if let Some((block, is_last)) = self.last.clone() {
            self.send(port, &block, is_last).await;
        }
    }

    async fn send(&mut self, port: &Pty, block: &str, is_last: bool) {
        let end = if is_last { '\x03' } else { '\x17' };
        let text = format!("{}/1/1>{block}", self.setup.bed);
        // SOH, length, STX, text, end, checksum, EOT.
        let head = format!("\x01{:05}\x02{text}{end}", text.len() + 14);
        let frame = format!("{head}{}\x04", total(&head));
        let frame = if self.setup.is_stuffed { stuff(&frame) } else { frame };
        self.last = Some((block.to_owned(), is_last));
        self.control.send(port, self.setup.baud, block, frame.as_bytes()).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "a simulated device has a clock of its own")]
fn instant() -> Instant {
    Instant::now()
}

/// The checksum: all bytes added up as a number of any size, and what is left of it by 256.
fn total(text: &str) -> String {
    let sum: usize = text.bytes().map(usize::from).sum();
    format!("{:05}", sum % 256)
}

fn stuff(text: &str) -> String {
    text.replace('e', "ee").replace('E', "EE").replace('d', "ex").replace('D', "EX")
}

fn unstuff(text: &str) -> String {
    // A character of no alphabet stands for the one that was doubled while the others are replaced.
    let (low, high) = ("\u{10FFFE}", "\u{10FFFD}");
    let marked = text.replace("ee", low).replace("EE", high);
    marked.replace("ex", "d").replace("EX", "D").replace(low, "e").replace(high, "E")
}

fn place_of(slot: &str) -> Option<Place> {
    let mut characters = slot.chars();
    let pillar = characters.next()?.to_digit(4)?;
    let slot = match characters.next()? {
        digit @ '1'..='9' => digit.to_digit(10)?,
        letter @ 'A'..='O' => letter.to_digit(36)?,
        _ => return None,
    };
    let place = (u8::try_from(pillar).ok()?, u8::try_from(slot).ok()?);
    characters.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_published_frames() {
        for (text, sum) in [
            ("\x0100031\x021/1/1>ADMIN:ALIVE\x03", "00061"),
            ("\x0100041\x02ComSystem/1/1>ADMIN:VERSION\x03", "00102"),
            ("\x0100035\x02ComSystem/1/1>MEM:GET\x03", "00153"),
            ("\x0100042\x02ComSystem/1/1>MEM:GETSLOT#11\x03", "00094"),
            ("\x0100045\x02ComSystem/1/1>214,50100,GNACK,0\x03", "00070"),
            ("\x0100046\x02ComSystem/1/1>215,50113,GNERR,39\x03", "00162"),
        ] {
            assert_eq!(total(text), sum);
        }
    }

    #[test]
    fn stuffing_is_undone() {
        assert_eq!(stuff("ADMIN:ALIVE"), "AEXMIN:ALIVEE");
        for text in ["dDeE", "eedx", "exEX", "deed", "EeEe", "eeex"] {
            assert_eq!(unstuff(&stuff(text)), text);
        }
        assert_eq!(place_of("1C"), Some((1, 12)));
        assert_eq!((place_of("40"), place_of("10"), place_of("1P")), (None, None, None));
    }
}
