//! What is asked when: the start of a conversation step by step, then rounds.

use std::collections::VecDeque;
use std::time::Duration;

use super::channels::{BREATH, Channel, SETTINGS};
use super::queries::{self, Asked, Group};
use super::{MaquetServoI, Stage};
use crate::time::Mono;

/// From one round to the next. With one answer lost and asked again an alarm is known within 4 s.
const ROUND: Duration = Duration::from_secs(2);

/// Readings are asked with every second round, settings with every fifth.
const BREATH_ROUNDS: u32 = 2;
const SETTING_ROUNDS: u32 = 5;

/// The period of what of the identity cannot change without a power cycle.
const SOFTWARE_PERIOD: Duration = Duration::from_secs(30 * 60);

/// The tables are defined again at most so often for readings that cannot be had: it takes seconds, in which
/// no alarm is read.
const RENEW_AFTER: Duration = Duration::from_secs(60);

impl MaquetServoI {
    /// The plan is done: makes the next one. False: there is nothing to do yet.
    pub(super) fn go_on(&mut self, now: Mono) -> bool {
        (self.stage, self.plan) = match self.stage {
            Stage::Identity => (Stage::Version, VecDeque::from([Asked::Highest])),
            Stage::Version => {
                let numbers = BREATH.iter().chain(&SETTINGS).map(|row| row.number);
                let all = numbers.chain(self.options.curves.iter().copied());
                (Stage::Scales, all.map(Asked::Config).collect())
            }
            Stage::Scales => {
                let groups = [Group::Breath, Group::Setting, Group::Alarm, Group::Curve];
                let wanted = groups.into_iter().filter(|&group| !self.chosen(group).is_empty());
                (Stage::Tables, wanted.map(Asked::Define).collect())
            }
            Stage::Tables => {
                (self.round, self.due, self.software_due) = (0, now, now + SOFTWARE_PERIOD);
                self.renew_at = now + RENEW_AFTER;
                (Stage::Rounds, VecDeque::new())
            }
            Stage::Rounds if self.due <= now => (Stage::Rounds, self.next_round(now)),
            Stage::Rounds => return false,
        };
        true
    }

    fn next_round(&mut self, now: Mono) -> VecDeque<Asked> {
        let round = self.round;
        self.round = round.wrapping_add(1);
        self.due = now + ROUND;
        (self.time, self.overview) = (None, None);
        self.drop_held();
        let is_breath = round.is_multiple_of(BREATH_ROUNDS) && !self.tables.breath.is_empty();
        let is_setting = round.is_multiple_of(SETTING_ROUNDS) && !self.tables.setting.is_empty();
        let is_software = self.software_due <= now;
        if is_software {
            self.software_due = now + SOFTWARE_PERIOD;
        }
        [
            (self.has_overview, Asked::Overview),
            (!self.tables.alarm.is_empty(), Asked::Read(Group::Alarm)),
            (self.has_time && is_breath, Asked::Time),
            (is_breath, Asked::Read(Group::Breath)),
            (is_setting, Asked::Read(Group::Setting)),
            (is_software, Asked::Software),
            (true, Asked::Serial),
        ]
        .into_iter()
        .filter_map(|(is_due, asked)| is_due.then_some(asked))
        .collect()
    }

    /// The channels of a group that are to be read: those whose numbers have a worth.
    pub(super) fn chosen(&self, group: Group) -> Vec<u16> {
        let scaled = |rows: &[Channel]| -> Vec<u16> {
            rows.iter().map(|row| row.number).filter(|number| self.scales.contains_key(number)).collect()
        };
        match group {
            Group::Breath => scaled(&BREATH),
            Group::Setting => scaled(&SETTINGS),
            Group::Alarm => {
                let most = self.alarm_most;
                queries::alarm_numbers().into_iter().filter(|&number| number <= most).collect()
            }
            Group::Curve => {
                let curves = self.options.curves.iter().copied();
                curves.filter(|number| self.scales.contains_key(number)).collect()
            }
        }
    }
}
