//! What goes wrong with a peripheral, and when: all of it drawn from a seed.

use super::kinds::Manner;
use super::peripheral::{MINUTE, Millis, Peripheral};
use crate::lab::disk::Draw;

const SECOND: Millis = 1_000;

/// How long the effects of something may be felt after it is over: back-off, a stream that is found to be
/// silent, a connection that is cut.
const ECHO: Millis = 5 * MINUTE;

/// Faults that wait for their moment, and those that last.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own that waits or does not")]
pub(super) struct Troubles {
    draw: Draw,
    /// Nothing begins before, and nothing after.
    window: [Millis; 2],
    next_at: Millis,
    /// What lasts, and until when.
    pub(super) off_until: Millis,
    pub(super) slow_until: Millis,
    pub(super) silent_until: Millis,
    swap_back_at: Option<Millis>,
    set_clock_at: Option<Millis>,
    refusals: u64,
    loses_confirmation: bool,
    forgets_subscriptions: bool,
    is_busy: bool,
    cuts_next: bool,
}

impl Troubles {
    pub(super) fn new(mut draw: Draw, window: [Millis; 2]) -> Self {
        let next_at = window[0] + SECOND * draw.below(600);
        Self {
            draw,
            window,
            next_at,
            off_until: 0,
            slow_until: 0,
            silent_until: 0,
            swap_back_at: None,
            set_clock_at: None,
            refusals: 0,
            loses_confirmation: false,
            forgets_subscriptions: false,
            is_busy: false,
            cuts_next: false,
        }
    }

    pub(super) fn due(&self) -> Millis {
        [Some(self.next_at), self.swap_back_at, self.set_clock_at]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.next_at)
    }

    const fn is_calm(&self, now: Millis) -> bool {
        now < self.window[0] || now >= self.window[1]
    }

    pub(super) fn take_refusal(&mut self) -> bool {
        let refuses = self.refusals > 0;
        self.refusals = self.refusals.saturating_sub(1);
        refuses
    }

    pub(super) const fn take_lost_confirmation(&mut self) -> bool {
        std::mem::replace(&mut self.loses_confirmation, false)
    }

    pub(super) const fn take_forgotten_subscriptions(&mut self) -> bool {
        std::mem::replace(&mut self.forgets_subscriptions, false)
    }

    pub(super) const fn take_busy(&mut self) -> bool {
        std::mem::replace(&mut self.is_busy, false)
    }

    /// Whether the connection that begins now will be cut.
    pub(super) fn cuts(&mut self, now: Millis, draw: &mut Draw) -> bool {
        std::mem::replace(&mut self.cuts_next, false) || !self.is_calm(now) && draw.in_eight(1)
    }
}

impl Peripheral {
    /// The time of a trouble has come, or of its end.
    pub(super) fn handle_trouble(&mut self) {
        let now = self.now;
        if self.troubles.swap_back_at.is_some_and(|at| at <= now) {
            self.troubles.swap_back_at = None;
            self.swap();
        }
        if self.troubles.set_clock_at.is_some_and(|at| at <= now) {
            self.troubles.set_clock_at = None;
            self.set_clock();
        }
        if self.troubles.next_at > now {
            return;
        }
        self.troubles.next_at = now + SECOND * (120 + self.troubles.draw.below(900));
        if self.troubles.is_calm(now) {
            if now >= self.troubles.window[1] {
                self.troubles.next_at = Millis::MAX;
            }
            return;
        }
        if self.is_swapped() {
            return;
        }
        self.account.faults += 1;
        let until = self.begin_trouble();
        self.account.unwell_until = self.account.unwell_until.max(until + ECHO);
    }

    /// Begins one; until when it lasts.
    fn begin_trouble(&mut self) -> Millis {
        let (now, keeps) = (self.now, matches!(self.kind.manner, Manner::Kept { .. }));
        let lasts = now + SECOND * (10 + self.troubles.draw.below(170));
        match self.troubles.draw.below(11) {
            0 => self.troubles.refusals = 1 + self.troubles.draw.below(3),
            1 => self.lose("it went out of range"),
            2 => self.troubles.cuts_next = true,
            3 if !keeps => self.troubles.loses_confirmation = true,
            3 => {
                self.troubles.loses_confirmation = true;
                self.troubles.is_busy = true;
            }
            4 if keeps => self.troubles.forgets_subscriptions = true,
            5 | 4 => {
                self.troubles.slow_until = lasts;
                return lasts;
            }
            6 => {
                self.troubles.silent_until = lasts;
                return lasts;
            }
            7 => {
                self.lose_power();
                self.troubles.off_until = lasts;
                self.troubles.set_clock_at = Some(lasts + SECOND * (60 + self.troubles.draw.below(900)));
                return lasts;
            }
            8 if keeps => {
                self.begin_anew();
                self.troubles.off_until = lasts;
                return lasts;
            }
            8 | 9 => self.lose("the radio was jammed"),
            _ => {
                let back = lasts + 3 * MINUTE;
                self.swap();
                self.troubles.swap_back_at = Some(back);
                return back;
            }
        }
        now
    }
}
