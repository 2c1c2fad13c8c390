//! The data of a reply: quadruples, gathered into what was said of one place in one breath.
//!
//! In: the data of a whole block. Out: segments. A quadruple is `seconds,address,parameter,value`, the
//! value may be left out and may hold commas; RS stands between quadruples. A segment ends where
//! another place, another second, a new pump (`GNNEW`), an error (`GNERR`) or a parameter that the
//! segment has already begins: from there on it may be another pump that speaks. A segment never goes
//! over the end of a block, as between two blocks a pump can be exchanged.

use super::places::Place;
use super::readings::shown;
use crate::device::FaultKind;
use crate::device::serial::{Faults, printable};

const RS: u8 = 0x1E;

/// What was said of one place in one breath.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) place: Place,
    /// Since the rack was started.
    pub(super) seconds: u64,
    fields: Vec<(String, Option<String>)>,
}

impl Segment {
    /// The value of a parameter, when it has one.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(known, _)| known == name)?;
        value.as_deref().filter(|value| !matches!(*value, "" | "_NV" | "_NA"))
    }

    /// The names of its parameters, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(name, _)| name.as_str())
    }

    /// The name of its only parameter.
    pub(super) fn only(&self) -> Option<&str> {
        match self.fields.as_slice() {
            [(name, _)] => Some(name),
            _ => None,
        }
    }

    /// What its place is called in a fault.
    pub(super) fn place_name(&self) -> String {
        shown(self.place)
    }

    fn goes_on_with(&self, place: Place, seconds: u64, name: &str) -> bool {
        let is_alone = |name: &str| name == "GNERR";
        (self.place, self.seconds) == (place, seconds)
            && name != "GNNEW"
            && !is_alone(name)
            && self.names().all(|known| known != name && !is_alone(known))
    }
}

/// Whether data is a request: what a host says, in a capture of both sides.
pub(super) fn is_request(data: &[u8]) -> bool {
    !data.contains(&b',') && data.contains(&b':')
}

/// Reads the data of a block. A quadruple that cannot be read is a fault and costs only itself, but
/// behind it another segment begins.
pub(super) fn segments(data: &[u8], faults: &mut Faults) -> Vec<Segment> {
    let mut all: Vec<Segment> = Vec::new();
    let mut is_whole = true;
    for bytes in data.split(|&byte| byte == RS).filter(|bytes| !bytes.is_empty()) {
        let Some((place, seconds, name, value)) = quadruple(bytes) else {
            faults.add(FaultKind::Malformed, format!("a quadruple of {} bytes cannot be read", bytes.len()));
            is_whole = false;
            continue;
        };
        match all.last_mut().filter(|last| is_whole && last.goes_on_with(place, seconds, &name)) {
            Some(last) => last.fields.push((name, value)),
            None => all.push(Segment { place, seconds, fields: vec![(name, value)] }),
        }
        is_whole = true;
    }
    all
}

fn quadruple(bytes: &[u8]) -> Option<(Place, u64, String, Option<String>)> {
    let words = printable(bytes)?;
    let mut parts = words.splitn(4, ',');
    let (seconds, address, name) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = (1..=10).contains(&seconds.len()) && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = seconds.parse().ok().filter(|_| is_number)?;
    let place = Place::read(address.as_bytes())?;
    let name = (1..=32).contains(&name.len()).then(|| name.to_owned())?;
    Some((place, seconds, name, parts.next().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> (Vec<String>, usize) {
        let mut faults = Faults::default();
        let shown = |segment: &Segment| {
            format!(
                "{} {}: {}",
                segment.seconds,
                segment.place_name(),
                segment.names().collect::<Vec<_>>().join(" ")
            )
        };
        let all = segments(data.replace('|', "\x1E").as_bytes(), &mut faults).iter().map(shown).collect();
        (all, faults.into_actions().count())
    }

    #[test]
    fn what_is_said_of_one_place_is_one_segment() {
        let (all, faults) =
            read("214,50100,FMNOR,1|214,50100,FMRT,X|214,50111,GNNEW,6|214,50111,INRT,0|214,501112,INRT,_NV");
        assert_eq!(all, ["214 the rack: FMNOR FMRT", "214 slot 1-1: GNNEW INRT", "214 slot 1-C: INRT"]);
        assert_eq!(faults, 0);
    }

    #[test]
    fn another_pump_begins_another_segment() {
        for (data, count) in [
            ("1,50111,INRT,1|1,50111,GNNEW,6", 2),
            ("1,50111,INRT,1|1,50111,INRT,2", 2),
            ("1,50111,INRT,1|2,50111,INVI,2", 2),
            ("1,50111,INRT,1|1,50111,GNERR,39|1,50111,INVI,2", 3),
            ("1,50111,INRT,1|1,50112,INVI,2|1,50111,INVI,2", 3),
            ("1,50111,INRT,1|what|1,50111,INVI,2", 2),
            ("1,50111,INRT,1|1,501101,INVI,2", 1),
        ] {
            assert_eq!(read(data).0.len(), count, "{data}");
        }
    }

    #[test]
    fn a_value_may_hold_commas_and_characters_of_private_use() {
        let mut faults = Faults::default();
        let all = segments(
            "1,50111,INSOL,NaCl 0,9%\x1E1,50111,INSOLSN,Arteren\u{E021}\x1E1,50111,V3.30".as_bytes(),
            &mut faults,
        );
        assert_eq!(all[0].get("INSOL"), Some("NaCl 0,9%"));
        assert_eq!(all[0].get("INSOLSN"), Some("Arteren\u{E021}"));
        assert_eq!((all[0].get("V3.30"), all[0].names().last()), (None, Some("V3.30")));
    }

    #[test]
    fn what_cannot_be_read_costs_only_itself() {
        for wrong in [
            "x",
            "1,50111",
            "-1,50111,INRT,1",
            "1,60111,INRT,1",
            "1,50111,,1",
            "1,50111,IN\x07,1",
            "12345678901,50111,INRT,1",
        ] {
            let (all, faults) = read(&format!("1,50111,INRT,1|{wrong}"));
            assert_eq!((all.len(), faults), (1, 1), "{wrong}");
        }
    }
}
