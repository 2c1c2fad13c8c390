//! What the devices showed against what the consumer has: pure comparison.
//!
//! Live readings pass the backlog, so the order of arrival is not the order in which a device showed
//! them. What is compared is the order of the records' own numbers, which must have no hole; and what
//! is live, and what is backlog, must each have arrived in that order.

use std::fmt::Write as _;
use std::time::Duration;

use crate::lab::ledger::Arrival;
use crate::time::Mono;

/// One thing that a device showed, in the words of a payload: code and value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shown {
    /// 11073 code.
    pub(super) code: u32,
    /// The value as a payload shows it, or the reason why there is none.
    pub(super) value: String,
}

impl Shown {
    /// Without the zeros that end a fraction: a reader of JSON drops them, though the payload has
    /// them.
    pub(super) fn plain(self) -> Self {
        if !self.value.contains('.') {
            return self;
        }
        let value = self.value.trim_end_matches('0').trim_end_matches('.').to_owned();
        Self { value, ..self }
    }
}

/// How one device came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The device.
    pub(super) device: String,
    /// How many of the compared readings it showed.
    pub(super) shown: usize,
    /// How many of them arrived, in the order of their numbers.
    pub(super) arrived: usize,
    /// How many did not.
    pub(super) lost: usize,
    /// How many arrived that it did not show, or not at their place.
    pub(super) strange: usize,
    /// How often a record arrived again (re-sent after the outage), before de-duplication.
    pub(super) again: u64,
    /// What is still there twice after de-duplication.
    pub(super) twice: u64,
    /// Holes in its numbers.
    pub(super) holes: u64,
    /// Readings that arrived after one with a higher number, both live or both backlog.
    pub(super) overtaken: u64,
    /// Alarms that arrived.
    pub(super) alarms: u64,
}

impl Line {
    /// Every reading once, and live and backlog each in order.
    pub(super) const fn is_good(&self) -> bool {
        let is_whole = self.lost == 0 && self.strange == 0 && self.twice == 0 && self.holes == 0;
        is_whole && self.overtaken == 0 && self.shown > 0
    }
}

/// One reading as it arrived: run and number of its record, and what it shows.
pub(super) type Arrived = ((String, u64), Shown);

/// What arrived, in the order of the records' numbers.
pub(super) fn by_number(mut arrived: Vec<Arrived>) -> Vec<Shown> {
    arrived.sort_by(|(one, _), (other, _)| one.cmp(other));
    arrived.into_iter().map(|(_, shown)| shown).collect()
}

/// Compares, code by code, what was shown with what arrived. Each code must stand in the order in
/// which the device showed it.
pub(super) fn compare(device: &str, shown: &[Shown], arrived: &[Shown]) -> Line {
    let mut codes: Vec<u32> = shown.iter().map(|shown| shown.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let mut line = Line { device: device.to_owned(), ..Line::default() };
    for code in codes {
        let of = |list: &[Shown]| -> Vec<String> {
            list.iter().filter(|s| s.code == code).map(|s| s.value.clone()).collect()
        };
        let (shown, arrived) = (of(shown), of(arrived));
        let matched = in_order(&shown, &arrived);
        line.shown += shown.len();
        line.arrived += matched;
        line.lost += shown.len() - matched;
        line.strange += arrived.len() - matched;
    }
    line
}

/// How many of `arrived` can be matched with `shown` without changing the order of either: their
/// longest common subsequence, but along the diagonal only, as a loss of thousands needs no exact
/// number.
fn in_order(shown: &[String], arrived: &[String]) -> usize {
    /// How far apart the two may drift and still be matched.
    const DRIFT: usize = 200;
    let (mut at, mut matched) = (0, 0);
    for value in arrived {
        let ahead = shown.iter().skip(at).take(DRIFT).position(|other| other == value);
        if let Some(ahead) = ahead {
            at += ahead + 1;
            matched += 1;
        }
    }
    matched
}

/// Whether all alarms of the outage came before the first reading of its backlog. `after` is what
/// arrived since the broker came back, in order: true for an alarm.
pub(super) fn alarms_came_first(after: &[bool], alarms_of_outage: usize) -> bool {
    after.iter().take(alarms_of_outage).all(|is_alarm| *is_alarm) && after.len() >= alarms_of_outage
}

/// The table that ends the demo.
pub(super) fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "  {:<14} {:>7} {:>8} {:>5} {:>8} {:>9} {:>7} {:>9} {:>7}\n",
        "device", "shown", "arrived", "lost", "strange", "overtaken", "re-sent", "duplicate", "alarms"
    );
    for line in lines {
        let Line { device, shown, arrived, lost, strange, overtaken, again, twice, alarms, .. } = line;
        let _ = writeln!(
            text,
            "  {device:<14} {shown:>7} {arrived:>8} {lost:>5} {strange:>8} {overtaken:>9} {again:>7} {twice:>9} {alarms:>7}"
        );
    }
    text + LEGEND
}

/// What the columns mean.
const LEGEND: &str =
    "\n  arrived: found at the consumer, in the order of the gateway's own numbers, with the value shown
  strange: a value that the device did not show, or not at this place
  overtaken: came behind a later one. Live readings may pass the backlog (they need not wait for it);
             live among themselves and backlog among itself keep their order
  re-sent: came again after the outage, told by its key;  duplicate: there twice under two keys\n";

/// How long after the broker was there again live readings and the backlog came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Comeback {
    /// The first live reading.
    pub(super) first_live: Option<Duration>,
    /// The last reading of the backlog.
    pub(super) last_backlog: Option<Duration>,
    /// How many live readings came before it.
    pub(super) live_before: usize,
    /// How many readings the backlog had.
    pub(super) backlog: usize,
}

impl Comeback {
    /// From how each reading came since then, in the order of arrival.
    pub(super) fn of(restored: Mono, arrivals: &[Arrival]) -> Self {
        let since = |arrival: &Arrival| arrival.at.since(restored);
        let last = arrivals.iter().rposition(|arrival| arrival.historical);
        let before = arrivals.get(..last.unwrap_or_default()).unwrap_or_default();
        Self {
            first_live: arrivals.iter().find(|arrival| !arrival.historical).map(since),
            last_backlog: last.and_then(|last| arrivals.get(last)).map(since),
            live_before: before.iter().filter(|arrival| !arrival.historical).count(),
            backlog: arrivals.iter().filter(|arrival| arrival.historical).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[&str]) -> Vec<Shown> {
        values.iter().map(|value| Shown { code: 1, value: (*value).to_owned() }).collect()
    }

    #[test]
    fn a_loss_a_stranger_and_a_swap_are_all_found() {
        let shown = list(&["1", "2", "3", "4"]);
        let good = compare("x", &shown, &shown);
        assert_eq!((good.lost, good.strange, good.is_good()), (0, 0, true));
        for (arrived, lost, strange) in [
            (&["1", "2", "4"][..], 1, 0),
            (&["1", "2", "9", "3", "4"], 0, 1),
            (&["1", "3", "2", "4"], 1, 1),
            (&[], 4, 0),
        ] {
            let line = compare("x", &shown, &list(arrived));
            assert_eq!((line.lost, line.strange, line.is_good()), (lost, strange, false), "{arrived:?}");
        }
    }

    #[test]
    fn what_was_passed_by_live_readings_is_put_in_its_place_and_a_wrong_number_is_not() {
        let shown = list(&["1", "2", "3", "4"]);
        let arrived = |order: [(u64, usize); 4]| {
            by_number(order.map(|(seq, at)| (("run".to_owned(), seq), shown[at].clone())).to_vec())
        };
        assert!(compare("x", &shown, &arrived([(3, 2), (1, 0), (4, 3), (2, 1)])).is_good());
        assert!(!compare("x", &shown, &arrived([(1, 0), (2, 2), (3, 1), (4, 3)])).is_good());
    }

    #[test]
    fn a_hole_and_an_overtaken_reading_are_not_good() {
        let good = compare("x", &list(&["1"]), &list(&["1"]));
        assert!(good.is_good());
        assert!(!Line { holes: 1, ..good.clone() }.is_good());
        assert!(!Line { overtaken: 1, ..good }.is_good());
    }

    #[test]
    fn the_comeback_tells_when_live_and_backlog_came() {
        let restored = Mono::from_nanos(5_000_000);
        let came = |(millis, historical): (u64, bool)| Arrival {
            at: restored + Duration::from_millis(millis),
            historical,
        };
        let arrivals = [(10, true), (11, false), (12, false), (13, true), (14, false)].map(came);
        let comeback = Comeback::of(restored, &arrivals);
        assert_eq!(comeback.first_live, Some(Duration::from_millis(11)));
        assert_eq!(comeback.last_backlog, Some(Duration::from_millis(13)));
        assert_eq!((comeback.live_before, comeback.backlog), (2, 2));
        assert_eq!(Comeback::of(restored, &[]), Comeback::default());
    }

    #[test]
    fn a_device_that_showed_nothing_proves_nothing() {
        assert!(!compare("x", &[], &[]).is_good());
    }

    #[test]
    fn an_alarm_behind_the_backlog_is_found() {
        assert!(alarms_came_first(&[true, true, false, false], 2));
        assert!(alarms_came_first(&[true, true, false, true], 2));
        assert!(!alarms_came_first(&[true, false, true, false], 2));
        assert!(!alarms_came_first(&[true], 2));
    }
}
