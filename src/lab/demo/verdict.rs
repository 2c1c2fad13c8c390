//! What the devices showed against what the consumer has: pure comparison.

use std::fmt::Write as _;

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
    /// How many of them arrived, in order.
    pub(super) arrived: usize,
    /// How many did not.
    pub(super) lost: usize,
    /// How many arrived that it did not show, or out of order.
    pub(super) strange: usize,
    /// How often a record arrived again (re-sent after the outage), before de-duplication.
    pub(super) again: u64,
    /// What is still there twice after de-duplication.
    pub(super) twice: u64,
    /// Holes in its numbers.
    pub(super) holes: u64,
    /// Alarms that arrived.
    pub(super) alarms: u64,
}

impl Line {
    /// Every reading once and in order.
    pub(super) const fn is_good(&self) -> bool {
        self.lost == 0 && self.strange == 0 && self.twice == 0 && self.holes == 0 && self.shown > 0
    }
}

/// Compares, code by code, what was shown with what arrived. Each code must come in the order in
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
        "  {:<14} {:>7} {:>8} {:>5} {:>8} {:>7} {:>9} {:>7}\n",
        "device", "shown", "arrived", "lost", "strange", "re-sent", "duplicate", "alarms"
    );
    for line in lines {
        let Line { device, shown, arrived, lost, strange, again, twice, alarms, .. } = line;
        let _ = writeln!(
            text,
            "  {device:<14} {shown:>7} {arrived:>8} {lost:>5} {strange:>8} {again:>7} {twice:>9} {alarms:>7}"
        );
    }
    text
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
