//! The end of the demo: what every device showed against what the consumer has, in words.

use std::time::Duration;

use super::scene::{BELT, CLIP, OXIMETER, PUMPS, STRANGER, SWAPPED};
use super::screen::Screen;
use super::shown::{oximeter_shown, pump_shown};
use super::verdict::{self, Comeback, Line, Shown};
use super::{PATIENCE, Restored, Ward};
use crate::lab::ledger::{self, Arrival};

impl Ward {
    /// What every device showed, compared with what arrived of it.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (pump, (id, _)) in self.bedside.pumps.iter().zip(PUMPS) {
            lines.push(self.line(id, &pump_shown(&pump.journal())));
        }
        lines.push(self.line(OXIMETER.0, &oximeter_shown(&self.bedside.oximeter.journal())));
        lines.push(self.line(BELT.0, &self.belt_shown));
        lines.push(self.line(CLIP.0, &self.clip_shown));
        lines
    }

    fn line(&self, id: &str, shown: &[Shown]) -> Line {
        self.cloud.consumer.with(|ledger| {
            let arrived = ledger.kept.iter().filter(|(device, _)| device == id).map(|(_, reading)| {
                let place = (reading.run.clone(), reading.seq.unwrap_or_default());
                (place, Shown { code: reading.code, value: reading.value.clone() }.plain())
            });
            let line = verdict::compare(id, shown, &verdict::by_number(arrived.collect()));
            let tally = ledger.devices.get(id).cloned().unwrap_or_default();
            Line {
                again: tally.duplicates,
                twice: tally.doubled,
                holes: tally.lost(),
                overtaken: tally.out_of_order,
                alarms: tally.alarms,
                ..line
            }
        })
    }

    /// The verdict, in words.
    pub(super) async fn judge(&mut self, screen: &mut Screen) -> anyhow::Result<bool> {
        let lines = self.lines();
        let ended = self.daemon.stop(PATIENCE).await?;
        self.tasks.abort_all();
        let mut checks = vec![
            (
                lines.iter().all(Line::is_good),
                "every reading arrived once, live and backlog each in order: lost 0, duplicates 0".to_owned(),
            ),
            self.alarms_first(),
            self.comeback(),
            self.heartbeats(),
            (ended.success(), format!("the daemon drained and ended in order ({ended})")),
        ];
        checks.extend(self.nothing_foreign());
        screen.say(&format!("\n{}", verdict::table(&lines)));
        for (is_so, what) in &checks {
            screen.say(&format!("  {} {what}", if *is_so { "yes" } else { "NO " }));
        }
        let complaints = self.cloud.consumer.with(|ledger| ledger.complaints.clone());
        for complaint in &complaints {
            screen.say(&format!("  NO  a payload was wrong: {complaint}"));
        }
        let is_good = complaints.is_empty() && checks.iter().all(|(is_so, _)| *is_so);
        screen.say(if is_good { "\n  VERDICT: nothing was lost" } else { "\n  VERDICT: FAILED" });
        Ok(is_good)
    }

    /// Whether the alarms of the outage came before its backlog.
    fn alarms_first(&self) -> (bool, String) {
        let Some(Restored { kept, alarms, .. }) = self.restored else {
            return (false, "the broker came back".to_owned());
        };
        self.cloud.consumer.with(|ledger: &mut ledger::Ledger| {
            let after: Vec<bool> =
                ledger.kept.iter().skip(kept).map(|(_, reading)| reading.key.contains("-alarm-")).collect();
            let of_outage = after.iter().take_while(|is_alarm| **is_alarm).count();
            // Each pump rang once and fell silent again: four alarms at least waited.
            let is_so = of_outage >= 4 && verdict::alarms_came_first(&after, of_outage);
            (
                is_so,
                format!(
                    "alarms came first: {alarms} before the outage, {of_outage} ahead of {} readings",
                    after.len() - of_outage
                ),
            )
        })
    }

    /// How live readings and the backlog came back.
    fn comeback(&self) -> (bool, String) {
        let Some(Restored { kept, at, .. }) = self.restored else {
            return (false, "the broker came back".to_owned());
        };
        self.cloud.consumer.with(|ledger| {
            let after = ledger.kept.iter().zip(&ledger.arrivals).skip(kept);
            let of_vital = after.filter(|((_, reading), _)| reading.key.contains("-vital-"));
            let arrivals: Vec<Arrival> = of_vital.map(|(_, arrival)| *arrival).collect();
            let Comeback { first_live, last_backlog, live_before, backlog } = Comeback::of(at, &arrivals);
            let after =
                |time: Option<Duration>| time.map_or("never".to_owned(), |time| format!("after {} ms", time.as_millis()));
            (
                first_live.is_some() && last_backlog.is_some(),
                format!(
                    "the broker came back: the first live reading {}, the last of {backlog} of the backlog {}, \
                     {live_before} live ones before it",
                    after(first_live),
                    after(last_backlog)
                ),
            )
        })
    }

    /// Whether the gateway said how it is, and its store only went forward.
    fn heartbeats(&self) -> (bool, String) {
        self.cloud.consumer.with(|ledger| {
            let (beats, setbacks) = (ledger.heartbeats, ledger.setbacks.clone());
            // One for each of the two connections, and one at the end.
            let is_so = beats >= 3 && setbacks.is_empty();
            (is_so, format!("{beats} heartbeats, and the store never went backwards {}", setbacks.join("; ")))
        })
    }

    /// Whether devices that are not on the allowlist left no trace at the broker.
    fn nothing_foreign(&self) -> Vec<(bool, String)> {
        let of_swapped = self.cloud.consumer.with(|ledger| ledger.devices.contains_key(SWAPPED.0));
        let mut checks = vec![(
            !of_swapped,
            format!("the pump that is not the one on the list ({}) sent nothing to the broker", SWAPPED.0),
        )];
        if let Some((bluez, _)) = &self.bedside.radio {
            let calls = bluez.look(|world| world.calls_to(STRANGER.0).len());
            checks.push((
                calls == 0,
                format!("the unlisted BLE device was never connected to ({calls} calls)"),
            ));
        }
        checks
    }
}
